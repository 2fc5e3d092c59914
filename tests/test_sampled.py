"""Results against their own spec: what was changed in a file is told, and nothing else is."""

import contextlib
import io
import json
import warnings

import numpy as np
import pytest
import xarray as xr

import dsjax
from dsjax import cli
from dsjax.errors import Remark
from dsjax.results import sampled
from dsjax.results.handle import Results
from grids import SEVEN_CHIPS

SMALL = {"hardware": ["H800", "H20"], "nic": ["CX7"], "tp": [1, 2], "ep": [72], "batch": [16, 32]}


@pytest.fixture(scope="module")
def ds():
    return dsjax.sweep(SEVEN_CHIPS, axes=SMALL)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("source", [SEVEN_CHIPS, "prefill", "serve", "decode_gpu_2025", "sg2260e"])
def test_what_was_written_agrees(source, dtype):
    axes = {"serve": {"hardware": ["H200"]}, "prefill": {"hardware": ["H200", "H20"], "ep": [32]}}.get(source)
    axes = SMALL if source == SEVEN_CHIPS else axes
    assert sampled.remark(Results.of(dsjax.sweep(source, axes=axes, dtype=dtype))) == ""


def test_a_part_of_a_file_agrees(ds):
    for part in (ds.isel(batch=0), ds.sel(hardware=["H20"]), ds.where(ds.tp == 2), ds.isel(batch=[1, 0])):
        assert sampled.remark(Results.of(part)) == ""


@pytest.mark.parametrize(
    "name", ["step_time", "tps_per_chip", "memory_per_chip", "ok_memory", "feasible", "bottleneck"]
)
def test_a_changed_variable_is_told(ds, name):
    values = ds[name].values
    other = ~values if values.dtype == bool else (values + 1) % 4 if name == "bottleneck" else values * (1 + 1e-6)
    found = sampled.remark(Results.of(ds.assign({name: ds[name].copy(data=other)})))
    assert found.startswith(f"dataset: {name} at hardware ") and "by its dsjax_spec: it was changed" in found


def test_a_changed_number_or_limit_is_told(ds):
    for old, new in (('"min_tps_per_user": 20', '"min_tps_per_user": 90'), ('"context": 5120', '"context": 1024')):
        assert old in ds.attrs["dsjax_spec"]
        changed = ds.assign_attrs(dsjax_spec=ds.attrs["dsjax_spec"].replace(old, new))
        assert "by its dsjax_spec" in sampled.remark(Results.of(changed))


@pytest.mark.parametrize("record", ["hardware", "nic", "precision"])
def test_a_changed_number_of_any_row_is_told(record):
    """All rows are looked at around each point: a file of 24 rows is not known by three of them."""
    axes = {"hardware": ["H800", "H20", "A100", "H200", "B200"], "nic": ["CX7", "E810"], "precision": ["fp8", "bf16"]}
    ds = dsjax.sweep(SEVEN_CHIPS, axes=axes | {"batch": [16, 32], "ep": [72, 144]}, fixed={"tp": 1})
    field = {"hardware": "hbm_bytes_per_s", "nic": "scale_out_bytes_per_s", "precision": "weight_bytes"}[record]
    for label in axes[record]:
        spec = json.loads(ds.attrs["dsjax_spec"])
        spec["rows"][record][label][field] *= 1.01
        found = sampled.remark(Results.of(ds.assign_attrs(dsjax_spec=json.dumps(spec))))
        assert f"{record} {label}, " in found and found.endswith("by its dsjax_spec: it was changed"), label


def test_a_changed_point_that_is_not_there_is_none(ds):
    """Rows are looked at where they are there, whatever the order of the axes."""
    left = ds.where(ds.hardware == "H20").transpose("batch", ...)
    assert sampled.remark(Results.of(left)) == ""
    spec = ds.attrs["dsjax_spec"]
    for label, told in (("H20", True), ("H800", False)):
        changed = json.loads(spec)
        changed["rows"]["hardware"][label]["hbm_bytes_per_s"] *= 1.01
        found = sampled.remark(Results.of(left.assign_attrs(dsjax_spec=json.dumps(changed))))
        assert ("by its dsjax_spec" in found) == told, label


def test_another_version_is_named(ds):
    ds = ds.assign_attrs(dsjax_version="0.0.1").assign(step_time=2 * ds.step_time)
    assert sampled.remark(Results.of(ds)).endswith("dsjax 0.0.1 wrote it, or it was changed")


def test_a_file_is_remarked_on_once_and_answered(ds, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    dsjax.write_netcdf(ds, "x.nc")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dsjax.best("x.nc")
    with xr.open_dataset("x.nc") as file:
        changed = file.load().assign(step_time=2 * file.step_time)
    changed.to_netcdf("y.nc")
    with pytest.warns(Remark, match="y.nc: step_time at hardware .*: it was changed"):
        best = dsjax.best("y.nc")
    assert np.array_equal(best.tps_per_chip, dsjax.best("x.nc").tps_per_chip)


def test_the_command_line_says_it_beside_the_answer(ds, tmp_path):
    path = tmp_path / "y.nc"
    dsjax.write_netcdf(ds.assign(step_time=2 * ds.step_time), path)
    out, err = told("best", path)
    assert "tok/s/chip" in out and err.count("y.nc: step_time at hardware") == 1 and err.count("\n") == 1
    assert told("best", path, "--quiet")[1] == ""


def told(*args):
    """(stdout, stderr) of a command that answers."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as stop:
        cli.main([str(arg) for arg in args], prog_name="dsjax")
    assert stop.value.code == 0
    return out.getvalue(), err.getvalue()


@pytest.mark.parametrize("value", [77, -1, 0.5])
def test_a_flag_that_is_none_is_named(ds, tmp_path, value):
    ds["bottleneck"].to_dataset()  # what is changed is there
    changed = ds.assign(bottleneck=ds.bottleneck.astype(float) * 0.0 + value)
    for ask in (dsjax.best, lambda x: dsjax.write_csv(x, tmp_path / "x.csv")):
        with pytest.raises(dsjax.InputError, match="variable bottleneck: a value that no flag"):
            ask(changed)
