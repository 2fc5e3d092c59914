"""Every question takes whatever holds points, by one door, and drops no option."""

import inspect
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import dsjax
from dsjax import cli
from dsjax.space import grid
from dsjax.sweeps import sources

GRID = {
    "study": "decode_gpu_2025",
    "axes": {"hardware": ["H800", "H20"], "ep": [72, 144], "batch": [32, 64]},
    "fixed": {"nic": "CX7", "precision": "kv1-w1", "mtp": 1, "pipeline": "naive", "context": 5120},
}
VARY = "nic.CX7.scale_out_bytes_per_s"


@pytest.fixture(scope="module", autouse=True)
def interpreted():
    yield


@pytest.fixture(scope="module")
def kinds(tmp_path_factory):
    """{what a question may be asked of: an example}."""
    folder = tmp_path_factory.mktemp("door")
    ds = dsjax.sweep(GRID)
    dsjax.write_netcdf(ds, folder / "space.nc")
    dsjax.write_netcdf(ds, folder / "UPPER.NC")
    dsjax.sweep(GRID, output=folder / "space.zarr")
    texts = [
        f"[{part}]\n" + "\n".join(f"{k} = {json.dumps(v)}" for k, v in GRID[part].items()) for part in ("axes", "fixed")
    ]
    (folder / "space.toml").write_text('study = "decode_gpu_2025"\n' + "\n".join(texts))
    return {
        "dict": GRID,
        "space": grid.load(GRID),
        "grid file": str(folder / "space.toml"),
        "dataset": ds,
        "netcdf": str(folder / "space.nc"),
        "upper case": str(folder / "UPPER.NC"),
        "zarr": str(folder / "space.zarr"),
        "slash": f"{folder / 'space.zarr'}/",
        "path": Path(folder / "space.zarr"),
    }


QUESTIONS = {
    "best": lambda x, **options: dsjax.best(x, **options).tps_per_chip,
    "pareto": lambda x, **options: dsjax.pareto(x, **options).tps_per_chip,
    "histogram": lambda x, **options: dsjax.histogram(x, **options)["count"],
    "explain": lambda x, **options: dsjax.explain(x, **options).step_time,
    "sensitivity": lambda x, **options: dsjax.sensitivity(x, wrt=VARY, at="best", **options).elasticity,
    "solve": lambda x, **options: dsjax.solve(x, VARY, "feasible", between=(1e10, 1e11), **options).response,
    "uncertainty": lambda x, **options: dsjax.uncertainty(x, {VARY: 0.1}, samples=4, **options).tps_per_chip,
    "compare": lambda x, **options: dsjax.compare(x, x, **options).objective,
    "plot": lambda x, **options: dsjax.plot("heatmap", x, **options).axes[0].collections[0].get_array(),
}


@pytest.mark.parametrize("name", QUESTIONS)
def test_every_question_takes_every_source(kinds, name):
    answers = {kind: np.asarray(QUESTIONS[name](source)) for kind, source in kinds.items()}
    for kind, answer in answers.items():
        np.testing.assert_allclose(answer, answers["dataset"], rtol=1e-12, err_msg=kind)


@pytest.mark.parametrize("name", QUESTIONS)
def test_no_option_is_dropped(kinds, name):
    question = QUESTIONS[name]
    for option, value in {"output": "none.nc", "resume": True, "blocks": True, "devices": 1, "axis": {}}.items():
        with pytest.raises(
            dsjax.InputError, match=f"unknown option '{option}'|{option}: True is an option of breakdown"
        ):
            question(GRID, **{option: value})
    with pytest.raises(dsjax.InputError, match=r"did you mean 'fixed'\?"):
        question(GRID, fixd={})
    for source in (kinds["dataset"], "nowhere.nc", Path("NOWHERE.ZARR"), "nowhere.zarr/"):
        for option, value in {
            "axes": {"ep": [72]},
            "fixed": {"ep": 72},
            "settings": {VARY: 1e9},
            "dtype": "float32",
        }.items():
            with pytest.raises(dsjax.InputError, match=f"{name}: {option} change a grid"):
                question(source, **{option: value})
    with pytest.raises(dsjax.InputError, match="not a resolved space"):
        question(kinds["space"], axes={"ep": [72]})


def test_memory_is_an_option_of_searches_alone():
    with pytest.raises(dsjax.InputError, match="unknown option 'max_memory'"):
        dsjax.explain(GRID, max_memory="1 kB")
    with pytest.raises(dsjax.InputError, match="stream, max_memory change a grid"):
        dsjax.histogram(dsjax.sweep(GRID), stream=True, max_memory="1 kB")
    assert dsjax.best(GRID, max_memory="1 TB").sizes["rank"]


@pytest.mark.parametrize("name", ["best", "pareto", "histogram"])
def test_streamed_searches_enter_by_the_same_door(kinds, name):
    for kind in ("dict", "space", "grid file"):
        answers = [np.asarray(QUESTIONS[name](kinds[kind], stream=stream)) for stream in (True, False)]
        np.testing.assert_allclose(*answers, rtol=1e-9)


COMMANDS = {
    "best": [],
    "pareto": [],
    "histogram": [],
    "explain": [],
    "sensitivity": ["--wrt", VARY],
    "solve": ["--vary", VARY, "--until", "feasible", "--from", "1e10", "--to", "1e11"],
    "uncertainty": ["--error", f"{VARY}=10%", "--samples", "4"],
}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_takes_every_source(kinds, name):
    texts = {}
    for kind, source in kinds.items():
        if isinstance(source, str):
            found = CliRunner().invoke(cli.main, [name, source, *COMMANDS[name], "--quiet"])
            assert found.exit_code == 0, (kind, found.output)
            texts[kind] = found.output
    assert len(set(texts.values())) == 1, texts


@pytest.mark.parametrize("kind", ["netcdf", "upper case", "zarr", "slash"])
def test_changes_of_the_grid_beside_results_are_for_the_grid(kinds, kind):
    args = ["compare", kinds[kind], kinds["grid file"], "--set", f"{VARY}=1e11", "--format", "json", "--quiet"]
    found = CliRunner().invoke(cli.main, args)
    assert found.exit_code == 0, found.output
    truth = dsjax.compare(GRID, dsjax.sweep(GRID, settings={VARY: 1e11}))
    ratios = [row["ratio"] for row in json.loads(found.output)["rows"]]
    assert min(ratios) > 1.0
    np.testing.assert_allclose(ratios, truth.ratio, rtol=1e-9)
    for own in ("--set-a", "--fix-a"):
        found = CliRunner().invoke(cli.main, [*args[:3], own, f"{VARY}=1e11"])
        assert found.exit_code == 2 and "change a grid" in found.output
    found = CliRunner().invoke(cli.main, ["compare", kinds[kind], "--set-b", f"{VARY}=1e11"])
    assert found.exit_code == 2 and "cannot be changed" in found.output


def test_what_is_no_source_is_one_line(tmp_path):
    (tmp_path / "text.nc").write_text("no file of results")
    for source, words in ((None, "is a NoneType"), (3, "is a int"), (tmp_path / "text.nc", "cannot be read")):
        for question in (dsjax.best, dsjax.explain, dsjax.solve, dsjax.uncertainty, QUESTIONS["plot"]):
            with pytest.raises(dsjax.InputError) as error:
                question(source)
            assert words in str(error.value) and "\n" not in str(error.value)


def test_one_module_knows_what_a_path_holds():
    """A second test of the suffixes would know another set of them."""
    package = Path(inspect.getfile(dsjax)).parent
    known = [path for path in package.rglob("*.py") if any(s in path.read_text() for s in ('== ".zarr"', '".nc"'))]
    assert [str(path.relative_to(package)) for path in known] == ["space/grid.py"]


def test_what_was_asked_may_be_asked_again(kinds):
    asked = sources.ask(kinds["netcdf"], "best", {})
    assert sources.ask(asked, "explain", {}) is asked
    assert dsjax.explain(asked).step_time == dsjax.explain(kinds["dataset"]).step_time
    assert dsjax.best(asked).tps_per_chip.values.tolist() == dsjax.best(asked.results).tps_per_chip.values.tolist()
