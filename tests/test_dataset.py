"""What is written is read back, and makes sense without dsjax."""

import csv
import json
import subprocess
import sys

import numpy as np
import pytest
import xarray as xr
from click.testing import CliRunner

import dsjax
from dsjax import cli
from dsjax.results import csv_files
from dsjax.results.handle import Results
from dsjax.space import grid, restoring


@pytest.fixture(scope="module")
def path(study, tmp_path_factory):
    path = tmp_path_factory.mktemp("files") / "study.nc"
    dsjax.write_netcdf(study, path)
    return path


def test_file_is_read_back_identically(study, path):
    with xr.open_dataset(path) as ds:
        xr.testing.assert_identical(ds.load(), study)
        assert ds.feasible.dtype == bool and ds.bottleneck.dtype == np.int8
        assert set(ds.coords) == set(study.coords)


def test_file_explains_itself_without_dsjax(path):
    """Another process that must not import dsjax opens the file, reads flags and units, and selects by name."""
    code = f"""
import sys, xarray as xr
ds = xr.open_dataset({str(path)!r})
assert "dsjax" not in sys.modules
assert ds.attrs["Conventions"].startswith("CF-")
assert ds.attrs["title"] and ds.attrs["history"] and ds.attrs["dsjax_version"]
for name, variable in ds.variables.items():
    assert "long_name" in variable.attrs, name
    if variable.dtype.kind == "f":
        assert "units" in variable.attrs, name
meanings = ds.bottleneck.attrs["flag_meanings"].split()
assert len(meanings) == len(ds.bottleneck.attrs["flag_values"])
point = dict(hardware="H800", nic="CX7", ep=320, batch=128, precision="kv1-w1", mtp=1, pipeline="dual-mbatch")
print(float(ds.tps_per_chip.where(ds.feasible).max()), float(ds.tps_per_chip.sel(point)))
"""
    out = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True).stdout
    assert [round(float(x), 5) for x in out.split()] == [3702.83011, 3702.83011]


def test_cf_flags_and_compression_are_in_the_file(path):
    import netCDF4

    with netCDF4.Dataset(path) as file:
        for name in ("feasible", "ok_memory"):
            assert file[name].dtype == np.int8
            assert file[name].flag_values.tolist() == [0, 1]
        assert file["bottleneck"].flag_meanings == "compute memory network latency"
        filters = file["step_time"].filters()
        assert filters.get("zstd") or filters.get("zlib")
        assert file["step_time"].chunking() != "contiguous"
        assert not hasattr(file["step_time"], "_FillValue")


@pytest.fixture(scope="module")
def not_sweeps(tmp_path_factory):
    """Files that dsjax wrote, but no sweeps."""
    grid = {"study": "decode_gpu_2025", "axes": {"hardware": ["H800", "A100"], "batch": [16, 32]}}
    grid["fixed"] = {"nic": "CX7", "ep": 144, "precision": "kv1-w1", "mtp": 1, "pipeline": "naive"}
    found = {
        "slopes.nc": dsjax.sensitivity(grid, wrt="nic.scale_out_bytes_per_s", at="grid"),
        "one.nc": dsjax.explain(grid),
        "cut.nc": dsjax.sweep(grid).drop_vars("step_time"),
        "bare.nc": (sweep := dsjax.sweep(grid)).drop_vars([name for name in sweep if name.startswith("ok_")]),
    }
    folder = tmp_path_factory.mktemp("files")
    for name, ds in found.items():
        dsjax.write_netcdf(ds, folder / name)
    dsjax.write_netcdf(sweep, folder / "sweep.nc")
    return folder


MISSING = {
    "slopes.nc": "variable step_time",
    "one.nc": "no axis",
    "cut.nc": "variable step_time",
    "bare.nc": "variable ok_<constraint>",
}
PLOTS = ("pareto", "heatmap", "roofline", "breakdown", "tornado", "response")


@pytest.mark.parametrize("name", MISSING)
def test_a_file_that_holds_no_sweep_is_refused_by_name(not_sweeps, name):
    path, picture = str(not_sweeps / name), str(not_sweeps / "x.png")
    asked = [["best", path], ["pareto", path], ["compare", str(not_sweeps / "sweep.nc"), path]]
    asked += [["plot", kind, path, "-o", picture] for kind in PLOTS]
    for args in asked:
        found = CliRunner().invoke(cli.main, args)
        assert found.exit_code == 2, (args, found.output)
        assert found.output.startswith(f"error: {path}: {MISSING[name]}"), (args, found.output)
        assert found.output.count("\n") == 1 and "expected the results of a sweep" in found.output
    assert not (not_sweeps / "x.png").exists()


def test_a_dataset_that_holds_no_sweep_is_refused(not_sweeps):
    cut, one = (dsjax.open_netcdf(not_sweeps / name) for name in ("cut.nc", "one.nc"))
    sweep = dsjax.open_netcdf(not_sweeps / "sweep.nc")
    with pytest.raises(dsjax.InputError, match="variable step_time: missing"):
        dsjax.compare(sweep, cut)
    with pytest.raises(dsjax.InputError, match="plot: variable step_time: missing"):
        dsjax.plot("breakdown", cut)
    with pytest.raises(dsjax.InputError, match="best: no axis"):
        dsjax.best(one)
    assert dsjax.best(cut, by=()).sizes["rank"] == 1  # what it needs is there


def test_what_is_evaluated_again_needs_no_sweep(not_sweeps):
    names = ("slopes.nc", "cut.nc", "sweep.nc")
    slopes, cut, sweep = (dsjax.explain(not_sweeps / name, {"hardware": "A100"}) for name in names)
    assert float(slopes["step_time"]) == float(cut["step_time"]) == float(sweep["step_time"])


def test_provenance_rebuilds_the_space(study, path):
    ds = dsjax.open_netcdf(path)
    space = Results.of(ds).space
    from dsjax.sweeps import sweep

    xr.testing.assert_equal(sweep.of_space(space), study)
    spec = json.loads(ds.attrs["dsjax_spec"])
    assert spec["rows"]["nic"]["CX7"]["scale_out_bytes_per_s"] == 40 * 2**30
    assert 'study = "decode_gpu_2025"' in ds.attrs["grid"]


def test_provenance_holds_the_users_changes():
    ds = dsjax.sweep(
        "decode_gpu_2025", settings={"nic.CX7.scale_out_bytes_per_s": "50 GB/s"}, fixed={"context": 77}, blocks=False
    )
    space = Results.of(ds).space
    assert space.rows["nic"]["CX7"]["scale_out_bytes_per_s"] == 5e10
    assert space.fixed["context"] == 77 and float(ds.context) == 77
    assert float(ds.nic_scale_out_bytes_per_s.sel(nic="CX7")) == 5e10


def test_numeric_axes_of_any_record():
    axes = {
        "nic_scale_out_bytes_per_s": [1e10, 4e10], "hardware_hbm_bytes_per_s": [1e12, 2e12, 3e12],
        "curve_gemm_large_mn": [0.5, 0.8], "model_n_routed_experts": [128, 256], "precision_kv_bytes": [1, 2],
        "acceptance": [0.5, 0.9], "batch": [3, 5],
    }  # fmt: skip
    fixed = {"hardware": "H20", "nic": "CX7", "precision": "kv2-w2", "ep": 32, "mtp": 1}
    ds = dsjax.sweep({"study": "decode_gpu_2025", "axes": axes, "fixed": fixed}, blocks=False)
    assert ds.tps_per_chip.dims == tuple(axes)
    assert ds.memory_per_chip.dims == ("model_n_routed_experts", "precision_kv_bytes", "batch")
    assert ds.nic_scale_out_bytes_per_s.attrs["units"] == "B/s"
    one = dsjax.sweep(
        {
            "study": "decode_gpu_2025",
            "axes": {"batch": [5]},
            "fixed": fixed | {"acceptance": 0.9, "nic_scale_out_bytes_per_s": 1e10},
        },
        blocks=False,
    )
    assert ds.busy_network.dims == ("nic_scale_out_bytes_per_s", "batch")
    np.testing.assert_allclose(
        one.busy_network, ds.busy_network.sel(nic_scale_out_bytes_per_s=1e10, batch=[5]), rtol=1e-13
    )


def test_csv_of_all_and_of_feasible_points(study, tmp_path):
    dsjax.write_csv(study, tmp_path / "all.csv")
    dsjax.write_csv(study, tmp_path / "feasible.csv", feasible_only=True)
    rows, feasible = (
        list(csv.DictReader((tmp_path / f"{name}.csv").read_text().splitlines())) for name in ("all", "feasible")
    )
    assert (len(rows), len(feasible)) == (4320, 659)
    assert [row for row in rows if row["feasible"] == "1"] == feasible
    for position in (0, 1234, 4319):
        row = rows[position]
        labels = {
            axis: study[axis].values[i]
            for axis, i in zip(study.step_time.dims, np.unravel_index(position, study.step_time.shape))
        }
        assert {axis: row[axis] for axis in labels} == {axis: str(label) for axis, label in labels.items()}
        assert float(row["step_time"]) == float(study.step_time.values.flat[position])
        assert float(row["memory_per_chip"]) == float(
            study.memory_per_chip.sel({k: labels[k] for k in study.memory_per_chip.dims})
        )
        assert row["bottleneck"] in ("compute", "memory", "network", "latency")


def test_csv_in_pieces_is_the_same(study, tmp_path, monkeypatch):
    dsjax.write_csv(study, tmp_path / "whole.csv", feasible_only=True)
    monkeypatch.setattr(csv_files, "CHUNK", 1000)
    dsjax.write_csv(study, tmp_path / "pieces.csv", feasible_only=True)
    assert (tmp_path / "whole.csv").read_bytes() == (tmp_path / "pieces.csv").read_bytes()


def test_a_variable_may_have_no_values(tmp_path):
    path = tmp_path / "x.nc"
    dsjax.write_netcdf(xr.Dataset({"left_aside": ("system", np.empty(0)), "one": ((), 1.0)}), path)
    with xr.open_dataset(path) as ds:
        assert ds["left_aside"].shape == (0,) and ds["one"] == 1.0


@pytest.mark.parametrize("write", [dsjax.write_netcdf, dsjax.write_csv])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(study, tmp_path, monkeypatch, write):
    target = tmp_path / "result"
    target.write_text("precious")
    with pytest.raises(dsjax.InputError, match="exists"):
        write(study, target)

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(xr.Dataset, "to_netcdf", full)
    monkeypatch.setattr("pandas.DataFrame.to_csv", full)
    with pytest.raises(dsjax.InputError, match="No space left"):
        write(study, target, force=True)
    assert target.read_text() == "precious"
    assert [p.name for p in tmp_path.iterdir()] == ["result"]


def test_blocks_are_times_before_overlap_in_order_of_execution(study):
    assert study.block.values.tolist()[:4] == ["q_down", "q_up", "q_absorb", "kv_compress"]
    assert (study.layers == 61).all()
    network = study.block_time.sel(block=["dispatch", "combine"]).sum("block")
    np.testing.assert_allclose(
        *xr.broadcast(
            network, study.busy_network.transpose(*[d for d in network.dims if d in study.busy_network.dims])
        ),
        rtol=1e-12,
    )


def test_plain_plot_of_the_file(path):
    """`.plot()` makes its labels of named dims, ordered coordinates, units and long names."""
    with xr.open_dataset(path) as ds:
        line = ds.tps_per_chip.sel(hardware="H800", ep=320, precision="kv1-w1", mtp=1, pipeline="dual-mbatch")
        assert line.dims == ("nic", "batch")
        assert line.attrs == {"units": "token/s", "long_name": "tokens/s per chip"}
        assert line.batch.attrs["long_name"] and (np.diff(line.batch) > 0).all()


def test_space_round_trips_through_json():
    space = grid.load("decode_gpu_2025")
    assert restoring.space(space.to_json()) == space


def test_layers_follow_the_model(study):
    ds = dsjax.sweep("decode_gpu_2025", fixed={"model_num_hidden_layers": 30, "batch": 16, "hardware": "H20"})
    assert (ds.layers == 30).all()
    whole = study.block_time.sel(batch=16, hardware="H20") / 61 * 30
    np.testing.assert_allclose(ds.block_time, whole.transpose(*ds.block_time.dims), rtol=1e-12)


def test_an_output_that_is_a_link_is_followed(study, tmp_path):
    (tmp_path / "real.nc").write_text("old")
    (tmp_path / "link.nc").symlink_to(tmp_path / "real.nc")
    dsjax.write_netcdf(study, tmp_path / "link.nc", force=True)
    assert (tmp_path / "link.nc").is_symlink() and dsjax.open_netcdf(tmp_path / "real.nc").sizes == study.sizes


@pytest.mark.parametrize("units", [None, "x", np.array([1, 2]), "seconds since 1970-01-01"], ids=str)
def test_numbers_have_the_unit_that_they_were_written_in(units):
    """Whatever the attribute says, or where it is gone: pictures and pages read it (a traceback of `report`)."""
    ds = dsjax.sweep("decode_gpu_2025", axes={"batch": [16, 32]})
    changed = ds.copy()
    for name in ("tps_per_user", "tps_per_chip", "tpot"):
        changed[name].attrs.pop("units")
        changed[name].attrs |= {} if units is None else {"units": units}
    for kind in ("pareto", "response"):
        more = {"x": "batch"} if kind == "response" else {}
        here, there = (dsjax.plot(kind, x, **more).axes[0] for x in (ds, changed))
        assert (here.get_xlabel(), here.get_ylabel()) == (there.get_xlabel(), there.get_ylabel())
    assert changed["tpot"].attrs.get("units") is units
