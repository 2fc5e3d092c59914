"""Inverse questions: against closed forms, against sweeps on both sides, at the command line."""

import json

import numpy as np
import pytest
import test_cli

import dsjax
from dsjax.analysis import solve

command = test_cli.command
NIC = "nic.CX7.scale_out_bytes_per_s"
GRID = {
    "study": "decode_gpu_2025",
    "axes": {
        "hardware": ["H800", "H20"],
        "ep": [72, 320],
        "batch": [16, 32, 64, 128],
        "precision": ["kv1-w1", "kv1-w2"],
        "pipeline": ["naive", "dual-mbatch"],
    },
    "fixed": {"nic": "CX7", "mtp": 1, "context": 5120},
    "constraints": {"min_tps_per_user": 20},
    "objective": {"maximize": "tps_per_chip", "by": ["hardware"]},
}
CORE = {
    "model": "DeepSeek-V3",
    "phase": "decode",
    "axes": {"batch": [32, 64]},
    "fixed": {"hardware": "H800", "nic": "CX7", "tp": 1, "ep": 144, "precision": "fp8", "context": 5120, "mtp": 0}
    | {"pipeline": "naive", "hardware_step_s": 0.0},
    "objective": {"maximize": "tps_per_chip"},
}


def best(grid=GRID, objective=None, **options):
    """The best value of a fresh sweep; NaN where nothing is feasible."""
    ds = dsjax.best(dsjax.sweep(grid, **options), by=(), objective=objective)
    name = (objective or "tps_per_chip").removeprefix("-")
    return float(ds[name][0]) if ds.sizes["rank"] else np.nan


def test_closed_form_of_the_software_factor():
    """Without host time the step is proportional to the factor, so half the rate is reached at twice the factor."""
    now = best(CORE)
    found = dsjax.solve(CORE, "software_factor", f"tps_per_chip >= {now / 2:.17g}")
    assert found["value"].values == pytest.approx([2.0], rel=2e-10)
    assert found["kind"].values.tolist() == ["largest"] and found["verified"].values.all()
    assert found.attrs["present"] == [1.0]


def test_closed_form_of_the_memory():
    """The least capacity with a feasible point: the least memory among the points that meet all else."""
    ds = dsjax.sweep(GRID, fixed={"hardware": "H20"})
    least = float(ds.memory_per_chip.where(ds.ok_tps_per_user).min())
    found = dsjax.solve(ds, "hardware.H20.hbm_bytes", "feasible")
    assert found["value"].values == pytest.approx([least], rel=2e-10) and found["kind"].item() == "smallest"


@pytest.mark.parametrize(
    ("vary", "until", "kind"),
    [
        (NIC, "tps_per_chip >= 3900", "smallest"),
        ("context", "tps_per_chip >= 2000", "largest"),
        ("hardware.H800.thread_all_reduce_s", "tps_per_chip >= 3300", "largest"),
        ("hardware.fp8_flops_per_s", "tps_per_user >= 70", "smallest"),
        ("acceptance", "tps_per_chip >= 3500", "smallest"),
    ],
)
def test_a_sweep_on_either_side_agrees(vary, until, kind):
    found = dsjax.solve(GRID, vary, until)
    assert found["kind"].values.tolist() == [kind] and found["verified"].values.all()
    name, _, bound = until.split()
    met = {}
    for side in ("below", "above"):
        x = found[side].item()
        change = {"settings": {vary: x}} if "." in vary else {"fixed": {vary: x}}
        met[side] = best(objective=name, **change) >= float(bound)
    assert met == {"below": kind == "largest", "above": kind == "smallest"}
    rows = found.sel(row=found["place"].values == "above 1")
    changed = {"settings": {vary: found["above"].item()}} if "." in vary else {"fixed": {vary: found["above"].item()}}
    assert rows[name].item() == pytest.approx(best(objective=name, **changed), rel=1e-12)


def test_more_of_a_rate_never_slows():
    found = dsjax.solve(GRID, NIC, "tps_per_chip >= 3900")
    response = found["response"].values[0]
    assert (response[1:] >= response[:-1]).all() and response[0] == -np.inf
    assert found["scan"].values[[0, -1]] == pytest.approx(np.array([1e-3, 1e3]) * found.attrs["present"][0])


def test_all_crossings_of_a_response_that_comes_and_goes():
    """Nothing feasible, then a best of at most 3000, then a better one."""
    found = dsjax.solve(GRID, NIC, "tps_per_chip <= 3000")
    assert found["kind"].values.tolist() == ["smallest", "largest"]
    assert (np.diff(found["value"].values) > 0).all() and found["verified"].values.all()
    low, high = found["value"].values
    for x, met in ((low * 0.999, False), (low * 1.001, True), (high * 0.999, True), (high * 1.001, False)):
        value = best(settings={NIC: float(x)})
        assert (value <= 3000) is met, x  # NaN, where nothing is feasible, does not meet it


def test_break_even_has_equal_bests():
    pair = {"pipeline": ("naive", "dual-mbatch")}
    found = dsjax.solve(GRID, NIC, break_even=pair, at={"hardware": "H800"})
    at = list(found["kind"].values).index("break-even")
    x = found["value"].values[at]
    assert found["verified"].values.all()
    assert [found[f"state_{side}"].values[at] for side in ("below", "above")] == ["dual-mbatch better", "naive better"]
    fixed = {"hardware": "H800"}
    each = [best(fixed=fixed | {"pipeline": label}, settings={NIC: float(x)}) for label in pair["pipeline"]]
    assert each[0] == pytest.approx(each[1], rel=1e-8)
    sided = [best(fixed=fixed | {"pipeline": label}, settings={NIC: float(1.01 * x)}) for label in pair["pipeline"]]
    assert sided[0] > sided[1]


def test_a_range_ends_where_the_domain_does():
    """An acceptance is at most 1, also a factor 1000 above the present one, and beside a crossing at 1."""
    asked = {"vary": "acceptance", "between": (0.5, 1.0)}
    assert dsjax.solve(GRID, "acceptance", "feasible")["scan"].values[-1] == 1.0
    top = best(fixed={"acceptance": 1.0})
    found = dsjax.solve(GRID, until=f"tps_per_chip >= {top:.17g}", **asked)
    assert found["above"].values.tolist() == [1.0] and found["verified"].values.all()


def test_all_rows_of_a_record_get_the_value():
    grid = GRID | {"axes": GRID["axes"] | {"nic": ["CX7", "E810"]}, "fixed": {"mtp": 1, "context": 5120}}
    one = dsjax.solve(GRID, "nic.scale_out_bytes_per_s", "tps_per_chip >= 3900")
    both = dsjax.solve(grid, "nic.scale_out_bytes_per_s", "tps_per_chip >= 3900")
    assert both["value"].item() == pytest.approx(one["value"].item(), rel=1e-9)
    assert len(both.attrs["present"]) == 2


def test_what_is_equal_everywhere_is_even_at_every_value():
    """Two NICs that differ in one number, which is set to the same value in both."""
    grid = GRID | {"axes": GRID["axes"] | {"nic": ["CX7", "E810"]}, "fixed": {"mtp": 1, "context": 5120}}
    asked = {"break_even": {"nic": ("CX7", "E810")}, "between": (2e10, 1e12)}
    found = dsjax.solve(grid, "nic.scale_out_bytes_per_s", **asked)
    assert found.attrs["answered"] and not found.sizes["crossing"] and set(found["state"].values) == {"equal"}
    never = dsjax.solve(grid, "nic.E810.scale_out_bytes_per_s", **asked | {"between": (1e9, 4e10)})
    assert not never.attrs["answered"] and set(never["state"].values) == {"CX7 better"}


def test_equal_wherever_one_is_feasible(tmp_path):
    """From the value on at which the SLO is met: an answer, although nothing is feasible below."""
    grid = GRID | {"axes": GRID["axes"] | {"nic": ["CX7", "E810"]}, "fixed": {"mtp": 1, "context": 5120}}
    found = dsjax.solve(grid, "nic.scale_out_bytes_per_s", break_even={"nic": ("CX7", "E810")})
    assert found.attrs["answered"] and found["kind"].values.tolist() == ["smallest"]
    x = found["value"].item()
    assert np.isnan(best(grid, settings={"nic.scale_out_bytes_per_s": 0.999 * x}))
    above = [
        best(grid, fixed={"nic": nic}, settings={f"nic.{nic}.scale_out_bytes_per_s": x}) for nic in ("CX7", "E810")
    ]
    assert above[0] == above[1] > 0
    path = tmp_path / "study.nc"
    dsjax.write_netcdf(dsjax.sweep(grid), path)
    text = command("solve", path, "--vary", "nic.scale_out_bytes_per_s", "--break-even", "nic=CX7,E810")
    assert "Equal wherever one is feasible: from " in text and "At no value" not in text


def test_another_target_compiles_nothing(compilations):
    dsjax.solve(GRID, NIC, "tps_per_chip >= 3900")
    compilations.clear()
    dsjax.solve(GRID, "hardware.H800.hbm_bytes_per_s", "tps_per_chip >= 3800", between=(1e12, 1e13))
    assert not compilations


def test_unreachable_says_why():
    found = dsjax.solve(GRID, NIC, "tps_per_chip >= 99999")
    assert found.sizes["crossing"] == 0 and not found.attrs["answered"]
    last = found.isel(row=-1)
    assert last["bottleneck"].item() == "compute" and float(last["tps_per_chip"]) < 99999
    everywhere = dsjax.solve(GRID, NIC, "tps_per_chip >= 1", between=(1e10, 1e11))
    assert everywhere.sizes["crossing"] == 0 and everywhere.attrs["answered"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"vary": "nic.CX7.scale_out_bytes"}, "did you mean 'scale_out_bytes_per_s'"),
        ({"vary": "nik.scale_out_bytes_per_s"}, "did you mean 'nic.scale_out_bytes_per_s'"),
        ({"vary": "nic.E810.scale_out_bytes_per_s"}, "unknown nic of this grid 'E810'"),
        ({"vary": "batch"}, "is an axis"),
        ({"vary": "mtp"}, "discrete"),
        ({"vary": "hardware.H800.sms"}, "discrete"),
        ({"vary": "precision.weight_rate"}, "discrete"),
        ({"vary": None}, "expected the name of a parameter"),
        ({"until": "tps_per_usr >= 20"}, "did you mean 'tps_per_user'"),
        ({"until": "tps_per_user > 20"}, "expected '<variable> >= <number>'"),
        ({"until": "tps_per_user >= fast"}, "not a number"),
        ({"until": "ttft <= 2"}, "unknown variable of this phase"),
        ({"until": None}, "one of until and break_even"),
        ({"break_even": {"hardware": ("H800", "H20")}}, "one of until and break_even"),
        ({"until": None, "break_even": {"hardware": ("H800", "H21")}}, "did you mean 'H20'"),
        ({"until": None, "break_even": {"hardware": ("H20", "H20")}}, "two different labels"),
        ({"until": None, "break_even": {"ep": (72, 320)}}, "unknown axis of names"),
        ({"between": (1e11, 1e10)}, "0 < from < to"),
        ({"between": (-1.0, 1e10)}, "out of range"),
        ({"between": 5.0}, "expected (low, high)"),
        ({"at": {"batch": 17}}, "unknown value of axis batch"),
        ({"fixd": {}}, "did you mean 'fixed'"),
    ],
)
def test_bad_input(options, words):
    with pytest.raises(dsjax.InputError) as error:
        dsjax.solve(GRID, **{"vary": NIC, "until": "tps_per_user >= 20"} | options)
    assert words in str(error.value)


def test_an_input_that_is_zero_needs_a_range():
    with pytest.raises(dsjax.InputError, match="0 or unknown now"):
        dsjax.solve(GRID, "hardware.H800.int8_flops_per_s", "feasible")
    with pytest.raises(dsjax.InputError, match="overridden by"):
        fixed = {"nic_scale_out_bytes_per_s": 1e10}
        dsjax.solve(GRID, NIC, "feasible", fixed=fixed)


def test_command_line(tmp_path):
    path = tmp_path / "study.nc"
    dsjax.write_netcdf(dsjax.sweep(GRID), path)
    asked = ("solve", path, "--vary", NIC, "--until", "tps_per_chip >= 3900")
    answer = json.loads(command(*asked, "--format", "json"))
    expected = solve.solve(GRID, NIC, "tps_per_chip >= 3900")
    assert answer["crossings"][0]["value"] == expected["value"].item()
    assert [row["place"] for row in answer["rows"]] == ["from", "present", "below 1", "above 1", "to"]
    text = command(*asked)
    assert "smallest value: x = " in text and "met at x (1 + 1e-6): verified" in text
    none = command("solve", path, "--vary", NIC, "--until", "tps_per_chip >= 99999", code=1)
    assert "bound by compute" in none and "no value" in none.lower()
    assert command(*asked, "--format", "csv").count("\n") == 2
