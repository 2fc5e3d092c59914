"""Names that users may write: listed with unit and meaning, and pointed to where one is unknown."""

import json

import pytest
from console import command

import dsjax
from dsjax.errors import LONGEST, InputError, nearest, unknown
from dsjax.space import grid, listing
from dsjax.space.space import numeric_axes
from dsjax.specs.variables import MEASURES
from grids import SEVEN_CHIPS


def listed(kind, *words):
    return {row["name"]: row for row in listing.names(kind, words)}


def test_every_axis_of_a_grid_is_listed():
    axes = listed("axes")
    for name in ("default", "prefill", "serve"):
        space = grid.load(name)
        assert {*space.axes, *space.fixed, *numeric_axes(space.study)} <= axes.keys()
    pools = grid.load("disaggregated")
    bare = {name.removeprefix("prefill_").removeprefix("decode_") for name in (*pools.axes, *pools.fixed)}
    assert bare <= axes.keys()


@pytest.mark.parametrize(
    "name", ["batch", "concurrency", "nic_scale_out_bytes_per_s", "curve_gemm_compute", "memory_reserve"]
)
def test_a_number_that_is_listed_as_an_axis_is_one(name):
    row = listed("axes")[name]
    with pytest.raises(InputError, match=rf"fixed\['{name}'\]: .* is not a number; expected a number") as error:
        grid.load(SEVEN_CHIPS, fixed={name: "one two"})
    assert row["unit"] in str(error.value) and "unknown axis" not in str(error.value)


def test_axes_of_labels():
    axes = listed("axes")
    assert axes["pipeline"]["values"].split(", ")[:2] == ["naive", "dual-mbatch"]
    assert axes["phase"]["values"] == "decode, prefill, serve, disaggregated" and axes["phase"]["phases"] == "all"
    assert (
        axes["nic"]["values"] == "rows of dsjax catalog nics"
        and axes["requests_per_s"]["phases"] == "serve, disaggregated"
    )


def test_every_limit_that_is_listed_is_one():
    limits = listed("limits")
    assert limits.keys() == {f"{side}_{name}" for name in MEASURES for side in ("min", "max")} | {"slo_margin"}
    for name, row in limits.items():
        grids = {"decode": "default", "prefill": "prefill", "serve": "serve", "disaggregated": "disaggregated"}
        phase = "decode" if row["phases"] == "all" else row["phases"].split(", ")[0]
        if name != "slo_margin":
            assert grid.load(grids[phase], limits={name: 1}).bounds[name] == 1


def test_every_variable_of_a_sweep_is_listed():
    ds = dsjax.sweep(SEVEN_CHIPS, axes={"batch": [16]}, fixed={"hardware": "H800"})
    variables = listed("variables")
    for name in (str(name) for name in ds.data_vars if not str(name).startswith("ok_")):
        assert variables[name]["unit"] == ds[name].attrs.get("units", "1").removeprefix("1")
    assert all(variables[name]["phases"] == "all" or "decode" in variables[name]["phases"] for name in ("tpot", "mfu"))


def test_every_parameter_that_is_listed_is_one():
    space = grid.load(SEVEN_CHIPS)
    for name in listed("parameters"):
        record, _, field = name.rpartition(".")
        known = space.study.records.get(record)
        assert not known or field in known.__dataclass_fields__
    assert {"nic.scale_out_bytes_per_s", "curve.gemm8_start_s", "context", "engine.step_s"} <= listed(
        "parameters"
    ).keys()
    dsjax.sweep(SEVEN_CHIPS, axes={"batch": [16]}, settings={"engine.step_s": 1e-3, "nic.scale_out_bytes_per_s": 5e10})


def test_words_keep_the_names_that_have_them_all():
    assert listed("limits", "p99", "TTFT").keys() == {"max_ttft_p99", "min_ttft_p99"}
    with pytest.raises(InputError, match="no variables with 'tpsuser'; expected .* tps_per_user"):
        listing.names("variables", ["tpsuser"])
    with pytest.raises(InputError, match="unknown kind 'axis'; expected one of axes, "):
        listing.names("axis")


def test_the_command():
    short, long = command("names", "axes"), command("names", "axes", "hbm")
    assert "hardware_hbm_bytes " not in short and "numbers of rows of the catalogs: dsjax names axes WORD" in short
    assert "hardware_hbm_bytes " in long and "  B/s " in long
    rows = json.loads(command("names", "variables", "--format", "json"))
    assert "tps_per_chip" in {row["name"] for row in rows}


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (("best", "--fix", "ppp=3"), "names axes"),
        (("best", "--objective", "tps"), "names variables"),
        (("best", "--by", "batches"), "names axes"),
        (("pareto", "--x", "tps"), "names variables"),
        (("solve", "--vary", "hbm", "--until", "feasible"), "names parameters"),
        (("best", "--set", "hardware.H20.hbm=1"), "catalog hardware --fields"),
        (("best", "--limit", "max_tft=1"), "names limits"),
        (("best", "--limit", "max_ttft=1"), "names variables"),
        (("best", "--fix", "hardware=h2000"), "catalog hardware"),
    ],
    ids=lambda x: " ".join(x) if isinstance(x, tuple) else "",
)
def test_errors_name_the_nearest_and_where_the_list_is(args, told):
    line = command(*args, code=2)
    assert len(line) <= LONGEST and line.count("\n") == 1
    assert f"(dsjax {told} lists them)" in line and ", the nearest " in line


def test_names_that_begin_so_come_first():
    known = ["scale_out_bytes_per_s", "scale_out_utilisation", "scale_out_step_s", "exchange_start_s"]
    assert nearest("scale_out", known) == known[:3]
    assert "did you mean 'scale_out_bytes_per_s'?" in str(unknown("x", "field", "scale_out", known))


def test_a_few_long_names_are_not_all_told():
    line = str(unknown("x", "field", "y", [f"{'a' * 60}{i}" for i in range(12)]))
    assert len(line) <= LONGEST and "one of 12, the nearest" in line


def test_the_one_of_the_name_is_first():
    assert [listing.names("axes", [word])[0]["name"] for word in ("ep", "tp", "batch")] == ["ep", "tp", "batch"]
    assert len(listing.names("axes", ["ep"])) > 3
