"""Elasticities: laws, differences, kinks, files, the command line, bad input."""

import contextlib
import csv
import dataclasses
import io
import json
import runpy
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import dsjax
from dsjax import cli, evaluation
from dsjax.analysis import sensitivity
from dsjax.commands.answers import sensitivity as told
from dsjax.errors import InputError
from dsjax.space import grid, parameters
from grids import SEVEN_CHIPS

STUDY = "decode_gpu_2025"
GRIDS = (STUDY, "sg2260e", SEVEN_CHIPS)
EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.fixture(scope="module", params=GRIDS)
def of_time(request):
    """(name, elasticities of the step time over a whole grid by the default parameters)."""
    return request.param, dsjax.sensitivity(request.param, of="step_time", kinks=False, at="grid")


@pytest.fixture(scope="module")
def study_best():
    return dsjax.sensitivity(STUDY, at="best", wrt="all")


def parts(ds, *ends):
    """Sum of the elasticities of the parameters whose names end so."""
    chosen = [name for name in ds.parameter.values if name.endswith(ends)]
    return ds.elasticity.sel(parameter=chosen).sum("parameter")


def test_laws_over_whole_grids(of_time):
    name, ds = of_time
    assert np.isfinite(ds.elasticity.values).all() and ds.elasticity.dims[0] == "parameter"
    rates = parts(ds, "_per_s")
    times = parts(ds, *(n for n in ds.parameter.values if n.endswith("_s") and not n.endswith("_per_s")))
    np.testing.assert_allclose((rates - times).values, -1.0, atol=1e-9)
    if name == SEVEN_CHIPS:  # what is 0 moves nothing: no host time, no fp8 on A100
        assert not ds.elasticity.sel(parameter="hardware.step_s").values.any()
        assert not ds.elasticity.sel(parameter="hardware.fp8_flops_per_s", hardware="A100").values.any()
    space = grid.load(name)
    found = evaluation.evaluate(space, names=("exposed_memory", "exposed_network", "step_time"))
    shares = {k: xr.DataArray(a, dims=d) for k, (d, a) in found.items()}
    for resource, rates in (
        ("memory", ("hardware.hbm_bytes_per_s",)),
        ("network", ("scale_out_bytes_per_s", "scale_up_bytes_per_s")),
    ):
        share = -shares[f"exposed_{resource}"] / shares["step_time"]
        gap = abs(parts(ds, *rates).drop_vars(list(ds.coords), errors="ignore") - share)
        assert float(gap.max()) <= 1e-9, resource


def test_equal_to_differences_away_from_kinks(of_time):
    name, ds = of_time
    space = grid.load(name)
    names = parameters.named(space, ds.parameter.values.tolist())
    dims, sides = sensitivity.one_sided(space, "step_time", names)
    kept = total = 0
    gaps = []
    for i, (below, above) in enumerate(sides):
        smooth = np.abs(above - below) <= sensitivity.SHARP
        kept, total = kept + smooth.sum(), total + smooth.size
        ad = ds.elasticity.isel(parameter=i).transpose(*dims, missing_dims="ignore").values
        gaps.append(np.abs((below + above) / 2.0 - np.broadcast_to(ad, below.shape))[smooth])
    gaps = np.concatenate(gaps)
    assert kept >= 0.9 * total and np.median(gaps) <= 1e-9 and gaps.max() <= 1e-7


def test_every_parameter_at_a_point(study_best):
    ds = study_best
    smooth = ds.kink.values == 0
    middle = (ds.elasticity_below + ds.elasticity_above).values / 2.0
    np.testing.assert_allclose(ds.elasticity.values[smooth], middle[smooth], atol=1e-8)
    assert smooth.mean() >= 0.9 and np.count_nonzero(ds.elasticity.values) >= 12
    known = parameters.known(grid.load(STUDY))
    assert ds.parameter.values.tolist() == list(map(str, known))
    assert float(ds.parameter_value.sel(parameter="workload.context")) == 5120.0


def test_the_number_of_one_row():
    """Counts where its row is in use, and is 0 elsewhere; the rows together are the number of all."""
    rows = ["nic.CX7.scale_out_bytes_per_s", "nic.E810.scale_out_bytes_per_s", "hardware.H800.hbm_bytes"]
    names = ["nic.scale_out_bytes_per_s", *rows]
    small = {"batch": [64], "ep": [320], "hardware": ["H800", "A100"]}
    for of in ("tps_per_chip", "memory_per_chip"):  # one that the bandwidth moves, one that it does not
        whole = dsjax.sensitivity(STUDY, of=of, wrt=names, axes=small, at="grid").elasticity.transpose("parameter", ...)
        np.testing.assert_array_equal(whole[1] + whole[2], whole[0])
    whole = dsjax.sensitivity(STUDY, wrt=names, axes=small, at="grid")
    assert (whole.elasticity[1].sel(nic="E810") == 0.0).all() and (whole.elasticity[1].sel(nic="CX7") > 0.0).any()
    for nic, used in (("CX7", 1), ("E810", 2)):
        one = dsjax.sensitivity(STUDY, wrt=names, axes=small, at={"nic": nic, "hardware": "H800"}, envelope=True)
        for name in ("elasticity", "elasticity_below", "elasticity_above", "elasticity_reoptimised"):
            expected = np.zeros(4)
            expected[[0, used]] = one[name].values[0]
            np.testing.assert_array_equal(one[name], expected, err_msg=name)
        assert one.elasticity.values[0] > 0.1 and np.isfinite(one.parameter_value).all()
        assert (
            "units" not in one.parameter_value.attrs and "`parameter_units`" in one.parameter_value.attrs["long_name"]
        )
    with pytest.raises(dsjax.InputError, match="did you mean 'CX7'"):
        dsjax.sensitivity(STUDY, wrt="nic.CX8.scale_out_bytes_per_s", at="grid")
    with pytest.raises(dsjax.InputError, match="overridden by nic_scale_out_bytes_per_s"):
        dsjax.sensitivity(STUDY, wrt=rows[0], fixed={"nic_scale_out_bytes_per_s": 5e10}, at="grid")


def test_a_point_is_the_grid_there(study_best):
    names = ["hardware.fp8_flops_per_s", "nic.scale_out_bytes_per_s"]
    small = {"batch": [64, 128], "ep": [320], "hardware": ["H800", "A100"]}
    whole = dsjax.sensitivity(STUDY, wrt=names, axes=small, at="grid")
    assert set(whole.kink.dims) <= set(whole.elasticity.dims) and whole.kink.attrs["flag_meanings"] == "smooth kink"
    at = {axis: study_best[axis].item() for axis in grid.load(STUDY).axes}
    np.testing.assert_allclose(whole.elasticity.sel(at), study_best.elasticity.sel(parameter=names), rtol=1e-12)
    named = dsjax.sensitivity(STUDY, wrt=names, at=at | {"batch": 64})
    assert {axis: named[axis].item() for axis in at} == at | {"batch": 64}
    np.testing.assert_allclose(named.elasticity, whole.elasticity.sel(at | {"batch": 64}), rtol=1e-12)
    single = dsjax.sensitivity(STUDY, wrt=names, axes=small, dtype="float32", at="grid")
    assert single.elasticity.dtype == np.float32 and "kink" not in single
    np.testing.assert_allclose(single.elasticity, whole.elasticity, atol=2e-6)


def test_a_dataset_is_asked_at_the_points_it_has_left(study):
    names = "nic.scale_out_bytes_per_s"
    cut = study.isel(batch=[0, 1], ep=[0]).sel(precision="kv1-w1")
    ds = dsjax.sensitivity(cut, wrt=names, at="grid")
    assert ds.sizes["batch"] == 2 and ds.attrs["of"] == "tps_per_chip"
    best = dsjax.best(study, by=())
    assert dsjax.sensitivity(best, wrt=names, at="best").batch.item() == best.batch.item()


def test_what_a_phase_does_not_define_is_nan():
    axes = {"chips": [128], "tp": [4], "moe_tp": [1], "sp": [1], "batch": [10], "prompts": [4, 8]}
    ds = dsjax.sensitivity("sg2260e", of="tps_per_user", wrt="hardware.hbm_bytes_per_s", axes=axes, at="grid")
    assert np.isnan(ds.elasticity.sel(phase="prefill")).all() and np.isfinite(ds.elasticity.sel(phase="decode")).all()


def test_a_kink_has_two_sides():
    """Where dispatch is as long as the shared expert, a slower network costs more than a faster one gains."""
    axes = {"hardware": ["H800"], "nic": ["CX7"], "ep": [144], "batch": [64], "precision": ["kv1-w1"], "mtp": [1]}
    space = grid.load(STUDY, axes=axes, fixed={"pipeline": "naive", "nic_scale_out_bytes_per_s": 1e9})

    def at(rate):
        space_there = dataclasses.replace(space, fixed=space.fixed | {"nic_scale_out_bytes_per_s": rate})
        return sensitivity.sensitivity(space_there, "step_time", "nic.scale_out_bytes_per_s", {}).isel(parameter=0)

    def network(rate):  # seconds x rate: the bytes that count
        there = dataclasses.replace(space, fixed=space.fixed | {"nic_scale_out_bytes_per_s": rate})
        return evaluation.evaluate(there, names=("exposed_network",))["exposed_network"][1].item() * rate

    low, high = 1e9, 1e15
    most = network(low)
    while high / low > 1.0 + 1e-15:
        middle = (low * high) ** 0.5
        if middle in (low, high):
            break
        low, high = (middle, high) if network(middle) > 0.9 * most else (low, middle)
    ds, away = at(low), at(1.01 * low)
    assert ds.kink == 1 and away.kink == 0
    assert float(ds.elasticity_below) < float(ds.elasticity_above) - 0.01
    assert float(ds.elasticity_below) - 1e-9 <= float(ds.elasticity) <= float(ds.elasticity_above) + 1e-9


@pytest.mark.parametrize(
    "options, message",
    [
        ({"wrt": "hardware.hbm_byte_per_s"}, "did you mean 'hardware.hbm_bytes_per_s'"),
        ({"wrt": "nics"}, "did you mean 'nic'"),
        ({"wrt": "batch"}, "wrt: batch is discrete"),
        ({"wrt": "deployment.ep"}, "wrt: deployment.ep is discrete"),
        ({"wrt": "model.hidden_size"}, "wrt: model.hidden_size is discrete"),
        ({"wrt": "precision.weight_rate"}, "wrt: precision.weight_rate is discrete"),
        ({"wrt": []}, "expected names of parameters"),
        ({"of": "tps_per_chp"}, "did you mean 'tps_per_chip'"),
        ({"of": "bottleneck"}, "made of whole numbers"),
        ({"of": "dp"}, "made of whole numbers"),
        ({"of": "ttft"}, "of: ttft is not defined in decode"),
        ({"at": {"batchs": 64}}, "did you mean 'batch'"),
        ({"at": {"batch": 65}}, "unknown value of axis batch '65'"),
        ({"at": "worst"}, "expected 'best'"),
        ({"kinks": True, "dtype": "float32", "at": "grid"}, "expected float64"),
        ({"at": "grid", "envelope": True}, "with envelope; expected 'best'"),
        ({"dtype": "float16"}, "dtype: 'float16'"),
        ({"axis": {}}, "unknown option 'axis'"),
    ],
)
def test_bad_input(options, message):
    with pytest.raises(InputError, match=message.replace("(", r"\(")):
        dsjax.sensitivity(STUDY, **options)


def command(*args, code=0):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as stop:
        cli.main([str(arg) for arg in args], prog_name="dsjax")
    assert stop.value.code == code, err.getvalue()
    return out.getvalue() if code != 2 else err.getvalue()


def test_command_line(tmp_path):
    path = tmp_path / "e.nc"
    text = command("sensitivity", STUDY, "-o", path)
    lines = text.splitlines()
    assert "hardware.fp8_flops_per_s" in lines[6] and "+0.4972" in lines[6] and "PFLOP/s" in lines[6]
    assert "no effect here: " in text and "others (-v names them)" in text
    assert "Most valuable: hardware.fp8_flops_per_s: 1 % more improves tps_per_chip by 0.50 %." in lines
    with xr.open_dataset(path) as ds:
        assert ds.elasticity.attrs["units"] == "1" and "dsjax_spec" in ds.attrs and ds.attrs["of"] == "tps_per_chip"
        rows = json.loads(command("sensitivity", STUDY, "--format", "json"))["parameters"]
        found = dict(zip(ds.parameter.values.tolist(), ds.elasticity.values.tolist()))
    assert {row["parameter"]: row["elasticity"] for row in rows} == pytest.approx(found, abs=1e-12)
    again = list(csv.DictReader(io.StringIO(command("sensitivity", path, "--format", "csv"))))
    assert [row["parameter"] for row in again] == [row["parameter"] for row in rows]
    assert float(again[-1]["elasticity"]) == 0.0 and float(again[0]["elasticity"]) == pytest.approx(0.497, abs=1e-3)
    whole = command("sensitivity", STUDY, "--at", "grid", "--wrt", "nic.scale_out_bytes_per_s,acceptance")
    assert "659 feasible points" in whole and "Counts most: " in whole
    assert "exists" in command("sensitivity", STUDY, "-o", path, code=2)
    assert "discrete" in command("sensitivity", STUDY, "--wrt", "tp", code=2)
    assert "--at grid" in command("sensitivity", STUDY, "--at", "grid", "--envelope", code=2)
    assert "expected NAME=VALUE" in command("sensitivity", STUDY, "--at", "batch", code=2)


def test_no_feasible_point_is_answered_with_exit_code_1():
    options = ["--fix", "hardware=L20", "--fix", "batch=128", "--wrt", "nic"]
    assert "not feasible" in command("sensitivity", STUDY, *options, code=1)


@pytest.mark.parametrize(
    "name, words",
    [
        ("h20_tp", ["tp 2 is best", "min_tps_per_user"]),
        ("sg2260e_network", ["-5.0 % (the study", "-6.1 % (the study", "+22.0 %"]),
    ],
)
def test_examples(name, words, capsys):
    runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    printed = capsys.readouterr().out
    assert all(word in printed for word in words), printed


def test_the_best_point_is_what_is_asked_by_default():
    """As on the command line."""
    axes = {"ep": [144], "batch": [16, 32], "hardware": ["H800"]}
    default, best = (dsjax.sensitivity(STUDY, axes=axes, **given) for given in ({}, {"at": "best"}))
    assert default["elasticity"].dims == ("parameter",) and default.drop_attrs().identical(best.drop_attrs())


@pytest.mark.parametrize("load", ["requests_per_s", "concurrency"])
@pytest.mark.parametrize("feasible", [True, False])
def test_where_nothing_improves_the_demand_may_bind(load, feasible):
    """A server whose requests come at a rate of their own serves no more of them, however fast it is."""
    spec = json.dumps({"fixed": {load: 0.5}})
    ds = xr.Dataset({"feasible": feasible}, attrs={"of": "tps_per_chip", "dsjax_spec": spec})
    said = told.conclusion(ds, [{"parameter": "x", "buys_percent": 0.0}])
    binds = ": the demand binds, and all of it is served, 0.5 requests/s" * (load == "requests_per_s" and feasible)
    assert said == f"none of the 1 parameters improves tps_per_chip here{binds}"


def test_a_kink_of_steep_sides_is_a_share_of_them():
    below, above = np.array([4.1220, 4.0, 0.5, 0.5]), np.array([4.1223, 4.1, 0.5003, 0.50005])
    assert sensitivity._sharp(below, above).tolist() == [False, True, True, False]
