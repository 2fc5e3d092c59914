"""Python as people use it: `ds.dsjax`, its words and tables, notebooks, units, defaults of both front ends."""

import inspect
import json
import os
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from click.testing import CliRunner
from console import command

import dsjax
from dsjax import cli, options
from dsjax.accessor import Accessor
from dsjax.accessor.kinds import KINDS, kind_of
from dsjax.commands import steps

SMALL = {"axes": {"batch": [16, 64], "hardware": ["H20", "H800"]}, "fixed": {"nic": "CX7", "precision": "fp8"}}
OPTIONS = ("--axis", "batch=16,64", "--axis", "hardware=H20,H800", "--fix", "nic=CX7", "--fix", "precision=fp8")
VARY = "nic.CX7.scale_out_bytes_per_s"
PLAN = {"model": "DeepSeek-R1", "hardware": "H20", "chips": 8, "isl": 4096, "osl": 1024, "tps_per_user": 25}


def fresh(code, *args):
    """What a new interpreter prints."""
    env = os.environ | {"JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *map(str, args)], capture_output=True, text=True, env=env
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def ds():
    return dsjax.sweep("default", **SMALL)


@pytest.fixture(scope="module")
def answers(ds):
    """{kind: an answer of it}."""
    few = {"concurrency": [16, 64]}
    return {
        "sweep": ds,
        "best": ds.dsjax.best(),
        "pareto": ds.dsjax.pareto(by=["hardware"]),
        "histogram": ds.dsjax.histogram(bins=5),
        "explain": ds.dsjax.explain(),
        "explain server": dsjax.explain("serve", {"concurrency": 64}),
        "sensitivity": ds.dsjax.sensitivity(),
        "solve": ds.dsjax.solve(VARY, "tps_per_chip >= 1000"),
        "uncertainty": ds.dsjax.uncertainty({"hardware.hbm_bytes_per_s": "5%"}, samples=16),
        "compare": dsjax.compare(ds, ds),
        "count": dsjax.count("DeepSeek-V3"),
        "plan": dsjax.plan(**PLAN),
        "fleets": dsjax.recommend(requests_per_s=1, isl=4096, osl=1024, axes={"hardware": ["H200"]}),
        "a sweep of servers": dsjax.sweep("serve", axes=few),
        "over a grid": ds.dsjax.sensitivity(at="grid", wrt="nic"),
    }


# The accessor


@pytest.mark.parametrize("first", ["import dsjax, xarray as xr", "import xarray as xr, dsjax"])
def test_a_file_that_xarray_opens_has_the_accessor(ds, tmp_path, first):
    dsjax.write_netcdf(ds, tmp_path / "x.nc")
    code = f"{first}; import sys; print(float(xr.open_dataset(sys.argv[1]).dsjax.best(by=()).tps_per_chip[0]))"
    assert float(fresh(code, tmp_path / "x.nc")) == float(dsjax.best(ds, by=()).tps_per_chip[0])


def test_importing_dsjax_imports_nothing_large():
    large = ("xarray", "numpy", "pandas", "jax", "click")
    code = f"import dsjax, sys; n = len(sys.meta_path); print([name for name in {large} if name in sys.modules], n)"
    without, n = fresh(code).rsplit(" ", 1)
    assert without == "[]"
    assert int(fresh("import dsjax, xarray, sys; print(len(sys.meta_path))")) == int(n) - 1  # nothing stays behind


@pytest.mark.parametrize("name", ["best", "pareto", "histogram", "explain", "sensitivity", "solve", "uncertainty"])
def test_methods_take_what_functions_take(name):
    """The same names and defaults, in the same order, as far as a method names them; a grid's own options are not."""
    own = list(inspect.signature(getattr(Accessor, name)).parameters.values())[1:]
    of = list(inspect.signature(getattr(dsjax, name)).parameters.values())[1:]
    own = [(p.name, p.default) for p in own if p.kind is not p.VAR_KEYWORD]
    required = {"vary": inspect.Parameter.empty, "errors": inspect.Parameter.empty}
    assert own == [(p.name, required.get(p.name, p.default)) for p in of][: len(own)]


def test_methods_answer_as_functions_do(ds):
    xr.testing.assert_identical(ds.dsjax.best(by=[], top=3), dsjax.best(ds, by=[], top=3))
    xr.testing.assert_identical(ds.dsjax.pareto("tpot"), dsjax.pareto(ds, "tpot"))
    at = {"hardware": "H20"}
    for name in ("explain", "sensitivity"):
        one, other = (f(at=at) for f in (getattr(ds.dsjax, name), lambda at: getattr(dsjax, name)(ds, at=at)))  # noqa: B023
        xr.testing.assert_equal(one, other)
    assert ds.dsjax.plot("pareto", dpi=50).axes


def test_a_report_is_that_of_dsjax(ds, monkeypatch, tmp_path):
    monkeypatch.setattr(dsjax, "report", lambda of, path, **how: (of, path, how), raising=False)
    of, path, how = ds.dsjax.report(tmp_path / "x.html", force=True)
    assert of is ds and path == tmp_path / "x.html" and how == {"force": True}


def test_every_answer_is_told_by_what_is_in_it(answers):
    assert {kind_of(x) for x in answers.values()} == set(KINDS)
    assert [name for name, x in answers.items() if name in KINDS and kind_of(x) != name] == []
    foreign = xr.Dataset({"x": ("t", [1.0])})
    for ask in (repr, lambda x: x._repr_html_(), lambda x: x.table()):
        with pytest.raises(dsjax.InputError, match="is no answer of dsjax's"):
            ask(foreign.dsjax)


# Words


OPTION = re.compile(r"(^|[\s(])-(v\b|-[a-z])")
TOLD = {
    "sweep": ("best", *OPTIONS),
    "explain": ("explain", *OPTIONS),
    "sensitivity": ("sensitivity", *OPTIONS),
    "histogram": ("histogram", *OPTIONS, "--bins", 5),
    "solve": ("solve", *OPTIONS, "--vary", VARY, "--until", "tps_per_chip >= 1000"),
    "uncertainty": ("uncertainty", *OPTIONS, "--error", "hardware.hbm_bytes_per_s=5%", "--samples", 16),
}


@pytest.mark.parametrize("kind", TOLD)
def test_words_are_those_of_the_command_line(answers, kind):
    """But for what follows: options that a reader of Python does not write."""
    said, printed = repr(answers[kind].dsjax), command(*TOLD[kind]).partition("\nnext: ")[0].rstrip("\n")
    pairs = [*zip(said.split("\n"), printed.split("\n"), strict=True)]
    unlike = [b for a, b in pairs if a != b]
    assert all(OPTION.search(line) for line in unlike) and len(unlike) < 5 and len(pairs) > 5


def test_words_name_no_option(answers):
    found = {kind: [line for line in repr(x.dsjax).split("\n") if OPTION.search(line)] for kind, x in answers.items()}
    assert not any(found.values()), found


def test_the_next_questions_of_a_plan_are_of_python(answers, monkeypatch):
    _, asked, *_ = repr(answers["plan"].dsjax).split("\nnext: ")
    monkeypatch.setattr(dsjax, "explain", lambda *args, **how: (args, how), raising=False)
    (grid,), how = eval(asked, {"dsjax": dsjax})
    assert grid == "serve" and how["fixed"]["hardware"] == "H20" and how["fixed"]["concurrency"] > 0
    with options.of_command_line():
        command = steps.asked("explain", "serve", *how.items())
    assert command.startswith("dsjax explain serve --fix hardware=H20 ") and "--limit max_tpot_p90=0.04" in command


def test_words_of_a_plan_and_of_fleets(answers):
    assert "  run     1 x 8 H20" in repr(answers["plan"].dsjax)
    assert "1 requests/s, 4,096 prompt + 1,024 output tokens" in repr(answers["fleets"].dsjax)
    assert "Where the time of a request goes:" in repr(answers["explain server"].dsjax)


# Tables, also in notebooks


def test_every_answer_is_a_table(answers):
    for name, x in answers.items():
        frame = x.dsjax.table()
        assert isinstance(frame, pd.DataFrame) and len(frame) and 3 <= len(frame.columns) <= 25, name


def test_a_table_has_numbers_in_the_units_of_its_headings(answers):
    best = answers["best"]
    frame = best.dsjax.table()
    np.testing.assert_allclose(frame["TPOT ms"], 1e3 * best["tpot"])
    np.testing.assert_allclose(frame["GB/chip"], 1e-9 * best["memory_per_chip"])
    assert list(frame["hardware"]) == best["hardware"].values.tolist() and frame.index.tolist()[0] == 1
    assert frame["tok/s/chip"].is_monotonic_decreasing
    assert list(answers["sweep"].dsjax.table()["tok/s/chip"]) == list(frame["tok/s/chip"])
    top = answers["sensitivity"].dsjax.table()
    assert abs(top["elasticity"].iloc[0]) == abs(answers["sensitivity"]["elasticity"]).max()
    step = answers["explain"].dsjax.table()
    assert step["share %"].sum() == pytest.approx(100.0)
    spread = answers["over a grid"].dsjax.table()
    assert (spread["least"] <= spread["median"]).all() and (spread["median"] <= spread["most"]).all()


def test_notebooks_show_a_short_table(answers):
    for name, x in answers.items():
        html = x.dsjax._repr_html_()
        assert html.count("<table") == 1 and html.count("<tr") <= 22 and "<details>" in html, name
    html = answers["best"].dsjax._repr_html_()
    assert "GPU decode of DeepSeek-V3" in html and "tps_per_user at least 20 token/s" in html
    assert "<th>tok/s/chip</th>" in html and "<script" not in html
    named = answers["best"].assign_attrs(title="<b>x</b>").dsjax._repr_html_()
    assert "<b>x</b>" not in named and "&lt;b&gt;x&lt;/b&gt;" in named


# Faults of version 0.1.0: what a user of Python met


def test_the_first_call_of_an_interpreter_compiles_nothing():
    code = (
        "import dsjax, sys; ds = dsjax.sweep('default'); ds.dsjax.pareto(); ds.dsjax.explain(); "
        "ds.dsjax.sensitivity(); ds.dsjax.uncertainty({'nic': 0.1}, samples=16); print('jax' in sys.modules)"
    )
    assert fresh(code).strip() == "False"


def test_a_cut_dataset_is_a_dataset(ds):
    assert ds.sel(ep=144).dsjax.best(by=()).ep == 144
    assert ds.where(ds.hardware == "H20", drop=True).dsjax.table()["hardware"].unique().tolist() == ["H20"]


ALIKE = ("best", "pareto", "histogram", "explain", "sensitivity", "solve", "compare", "uncertainty", "plan")


@pytest.mark.parametrize("name", ALIKE)
def test_defaults_are_those_of_the_command_line(name):
    """What both have under one name has one default; nothing given is None, (), "" or False."""
    options = {p.name: p.default for p in cli.main.get_command(None, name).params if type(p).__name__ == "Option"}
    given = {p.name: p.default for p in inspect.signature(getattr(dsjax, name)).parameters.values()}
    both = [x for x in given.keys() & options.keys() if given[x] is not inspect.Parameter.empty]

    def plain(x):
        return None if not x or "UNSET" in repr(x).upper() else str(x)

    unlike = {x: (given[x], options[x]) for x in both if plain(given[x]) != plain(options[x])}
    assert not unlike and (both or name == "explain")


def test_the_best_point_by_default_and_the_whole_grid_where_it_is_asked_for(ds):
    assert dsjax.sensitivity(ds).elasticity.dims == ("parameter",)
    assert "batch" in ds.dsjax.sensitivity(at="grid", wrt="nic").elasticity.dims


def test_catalogs_can_be_read_from_and_no_more():
    from dsjax.catalog import reader

    rows = reader.load()["hardware"]
    assert set(rows) == set(dsjax.rows("hardware").index) and len(rows) == len([*rows])
    with pytest.raises(TypeError):
        rows["Mine"] = rows["H800"]
    with pytest.raises(TypeError):
        del rows["H800"]


def test_the_best_under_uncertainty_is_by_the_objective_that_is_asked_for(ds):
    """By cost, H800 at 0.3 USD/Mtok and its chances; by less of TPOT, the quickest point."""
    slow, quick = (ds.dsjax.uncertainty({"nic": 0.1}, samples=64, by=(), top=4, objective=x) for x in (None, "-tpot"))
    assert (slow.attrs["objective"], quick.attrs["objective"]) == ("tps_per_chip", "tpot")
    feasible = ds["tpot"].where(ds["feasible"])
    assert float(quick["nominal_tpot"][0]) == float(feasible.min()) < float(slow["nominal_tpot"][0])
    assert quick.attrs["of"] == "tpot" and float(quick["p_best"].sum()) == pytest.approx(1.0)
    args = ["uncertainty", *OPTIONS, "--error", "nic=10%", "--samples", "64", "--by", "", "--top", "4"]
    found = CliRunner().invoke(cli.main, [*args, "--objective", "-tpot", "--format", "json", "--quiet"])
    rows = json.loads(found.output)["rows"]
    assert [row["nominal_tpot"] for row in rows] == quick["nominal_tpot"].values.tolist()
    with pytest.raises(dsjax.InputError, match="objective: unknown variable of this phase 'speed'"):
        ds.dsjax.uncertainty({"nic": 0.1}, objective="speed")


# Units


def test_every_unit_is_one_of_pint(answers):
    pytest.importorskip("pint_xarray")
    registry = dsjax.units_registry()
    assert dsjax.units_registry() is registry
    for name, x in answers.items():
        units = {v: x[v].attrs["units"] for v in x.variables if "units" in x[v].attrs}
        assert units and not [v for v, unit in units.items() if registry.parse_units(unit) is None], name
        assert x.pint.quantify() is not None


def test_quantities_convert(ds):
    pytest.importorskip("pint_xarray")
    dsjax.units_registry()
    q = ds.pint.quantify()
    np.testing.assert_allclose((1 / q["tps_per_user"]).pint.to("ms").pint.dequantify(), 1e3 * ds["tpot"])
    np.testing.assert_allclose(q["memory_per_chip"].pint.to("GB").pint.dequantify(), 1e-9 * ds["memory_per_chip"])
    price = q["hardware_usd_per_hour"] / q["tps_per_chip"]
    assert price.pint.to("USD/token").pint.units is not None  # money is no number


def test_hvplot_draws_results(ds):
    pytest.importorskip("hvplot")
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of libraries that hvplot imports
        import hvplot.xarray  # noqa: F401

        best = ds.tps_per_chip.where(ds.feasible).max(["tp", "ep", "mtp", "pipeline"])
        drawn = best.hvplot.line(x="batch", by="hardware")
    assert {str(key) for key in drawn.keys()} == {"H20", "H800"}  # noqa: SIM118


def test_an_answer_of_no_point_says_why():
    """As the command line does, of the part that was cut out."""
    ds = dsjax.sweep("default", axes={"hardware": ["H200", "B200"]}, fixed={"model": "Kimi-K2", "nic": "CX7", "tp": 1})
    spec = ds.attrs["dsjax_spec"]
    for cut, why in (
        ({"mtp": 1}, "ok_mtp: mtp = 1, and Kimi-K2 has no MTP module"),
        ({"hardware": "H200", "precision": "nvfp4-kv8"}, "ok_precision: H200 has not the compute rates"),
    ):
        for found in (ds.sel(cut).dsjax.best(), ds.sel(cut).dsjax.pareto()):
            text = repr(found.dsjax)
            assert found.sizes["rank"] == 0 and "no feasible point\n" in text and why in text, text
            assert "some are feasible with fixed={" in text and "--fix" not in text
    assert ds.attrs["dsjax_spec"] == spec
