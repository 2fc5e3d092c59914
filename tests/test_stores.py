"""A Zarr store that `sweep` wrote is read wherever a NetCDF file is."""

import sys

import numpy as np
import pytest
from click.testing import CliRunner

import dsjax
from dsjax import cli, machine
from dsjax.results.handle import Results
from dsjax.space import grid
from dsjax.sweeps import sweep

STUDY = "decode_gpu_2025"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The same sweep as a file and as a store."""
    pytest.importorskip("zarr")
    paths = [tmp_path_factory.mktemp("results") / f"x.{suffix}" for suffix in ("nc", "zarr")]
    for path in paths:
        sweep.write(grid.load(STUDY, fixed={"nic": "CX7"}), path, blocks=False)
    return paths


def printed(*args):
    return CliRunner().invoke(cli.main, [str(x) for x in args])


def test_the_dataset_is_the_same(files):
    ds, other = map(dsjax.open_netcdf, files)
    assert set(ds.variables) == set(other.variables)
    for name, variable in ds.variables.items():
        np.testing.assert_array_equal(variable, other[name], err_msg=name)
        assert variable.dims == other[name].dims and variable.dtype.kind == other[name].dtype.kind, name
    assert Results.of(other).space == Results.of(ds).space


@pytest.mark.parametrize(
    "command",
    [
        ["best", "--by", "hardware", "--top", 3],
        ["pareto"],
        ["histogram"],
        ["explain", "--at", "hardware=H20", "--format", "json"],
    ],
)
def test_commands_print_the_same(files, command):
    name, *options = command
    first, second = (printed(name, path, *options) for path in files)
    assert first.exit_code == second.exit_code == 0, second.output
    assert first.output.replace(str(files[0]), "FILE") == second.output.replace(str(files[1]), "FILE")
    assert dsjax.best(files[1]).tps_per_chip[0] == dsjax.best(files[0]).tps_per_chip[0]


def test_a_picture_of_a_store(files, tmp_path):
    pytest.importorskip("matplotlib")
    done = printed("plot", "pareto", files[1], "-o", tmp_path / "x.png")
    assert done.exit_code == 0 and (tmp_path / "x.png").stat().st_size > 1000, done.output


def test_what_cannot_be_read(files, tmp_path, monkeypatch):
    missing, other = tmp_path / "no.zarr", tmp_path / "other.zarr"
    other.mkdir()
    for path, reason in ((missing, "cannot be read"), (other, "cannot be read")):
        refused = printed("best", path)
        assert refused.exit_code == 2 and reason in refused.output and "expected a Zarr store" in refused.output
        assert refused.output.count("\n") == 1
    refused = printed("best", files[1], "--fix", "nic=CX7")
    assert refused.exit_code == 2 and "expected a grid, not a file of results" in refused.output
    with monkeypatch.context() as patch:
        patch.setattr(machine, "available_memory", lambda: 1e3)
        refused = printed("best", files[1])
        assert refused.exit_code == 2 and "of memory is free" in refused.output
    monkeypatch.setitem(sys.modules, "zarr", None)
    refused = printed("best", files[1])
    assert refused.exit_code == 2 and "zarr: is not installed; expected the extra: pip install" in refused.output
