"""A bit that flips, or a chunk that is lost, is said; it is not a value."""

import json
import re
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

import dsjax
from dsjax.errors import Remark
from dsjax.results import damage, netcdf
from dsjax.space import grid
from dsjax.sweeps import outputs, sweep

STUDY = "decode_gpu_2025"
SCRIPT = Path(__file__).parents[1] / "benchmarks" / "flips.py"
FLIPS = 12


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    pytest.importorskip("zarr")
    folder = tmp_path_factory.mktemp("results")
    for suffix in ("nc", "zarr"):
        sweep.write(grid.load(STUDY, fixed={"nic": "CX7", "precision": "fp8"}), folder / f"x.{suffix}", blocks=False)
    return folder


@pytest.fixture
def store(files, tmp_path):
    return shutil.copytree(files / "x.zarr", tmp_path / "x.zarr")


def flip(path, byte):
    content = bytearray(path.read_bytes())
    content[byte] ^= 1
    path.write_bytes(content)


def chunks(store, name):
    return sorted(p for p in (store / name).rglob("*") if p.is_file() and p.name != "zarr.json")


def test_no_bit_changes_a_value_unnoticed():
    pytest.importorskip("zarr")
    done = subprocess.run([sys.executable, SCRIPT, "--flips", str(FLIPS)], capture_output=True, text=True, timeout=300)
    heading, *lines = done.stdout.splitlines()
    names = re.split(r"  +", heading.strip())
    found = {line.split()[0]: dict(zip(names, map(int, line.split()[1:]), strict=True)) for line in lines}
    assert found.keys() == {".nc", ".zarr"}, done
    for counts in found.values():
        told = [counts[name] for name in ("same", "refused", "remarked")]
        assert sum(told) == FLIPS and counts["refused"] > FLIPS / 4, done.stdout


def test_a_bit_of_a_chunk_of_a_file(files, tmp_path):
    """Some chunk of whatever is in the middle of the file, where nearly all is chunks."""
    path = shutil.copy(files / "x.nc", tmp_path / "x.nc")
    flip(path, path.stat().st_size // 2)
    with pytest.raises(dsjax.InputError, match=r"x\.nc: variable \w+: chunk [0/]+ is damaged \("):
        netcdf.read(path)


def test_all_of_a_file_has_checksums(files):
    import netCDF4

    with netCDF4.Dataset(files / "x.nc") as file:
        filters = {name: x.filters() for name, x in file.variables.items() if x.ndim and x.size > 1}
        stored = {name for name in filters if name not in netcdf.read(files / "x.nc").coords}
    assert len(stored) > 15 and all(filters[name]["fletcher32"] for name in stored)


def test_a_bit_of_a_chunk_of_a_store(store):
    file = chunks(store, "step_time")[0]
    flip(file, file.stat().st_size // 2)
    chunk = file.name.removeprefix("c.").replace(".", "/")
    with pytest.raises(dsjax.InputError, match=rf"x\.zarr: variable step_time: chunk {chunk} is damaged \(.*checksum"):
        netcdf.read(store)


@pytest.mark.parametrize("name", ["step_time", "hardware", "feasible"])
def test_a_chunk_of_a_store_that_is_missing(store, name):
    """Also of zeros, which Zarr by itself would not write."""
    file = chunks(store, name)[0]
    file.unlink()
    said = rf"x\.zarr: variable {name}: chunk {file.relative_to(store / name)} is missing: the store is damaged"
    for read in (netcdf.read, outputs.opened):
        with pytest.raises(dsjax.InputError, match=said):
            read(store)


def test_metadata_of_a_store_that_was_changed(store):
    path = store / "zarr.json"
    metadata = json.loads(path.read_text())
    metadata["consolidated_metadata"]["metadata"]["step_time"]["attributes"]["units"] = "ms"
    path.write_text(json.dumps(metadata))
    with pytest.warns(Remark, match=r"x\.zarr: zarr\.json is not as dsjax wrote it"):
        netcdf.read(store)
    path.write_text(path.read_text()[:-9])
    with pytest.raises(dsjax.InputError, match=r"x\.zarr: zarr\.json is damaged"):
        netcdf.read(store)


def test_a_store_that_does_not_say_that_all_is_there(store, tmp_path):
    """Of dsjax 0.1.0, or written by another: what is missing is a fill value, as Zarr has it."""
    with outputs.opened(store) as ds, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # consolidated metadata are an extension of the format
        ds.to_zarr(tmp_path / "other.zarr")
    for path in (store, tmp_path / "other.zarr"):
        metadata = json.loads((path / "zarr.json").read_text())
        assert (damage.ALL_THERE in metadata["attributes"]) == (path == store)
        metadata["attributes"].pop(damage.ALL_THERE, None)
        (path / "zarr.json").write_text(json.dumps(metadata))
        for file in chunks(path, "step_time"):
            file.unlink()
        assert netcdf.read(path).step_time.isnull().all()


def test_the_reason_of_a_library_is_its_first_120_characters():
    class Lost:
        dims, encoding = (), {}

        def load(self):
            raise OSError("x" * 200 + "\nmore")

    with pytest.raises(dsjax.InputError) as error:
        damage.load(type("", (), {"variables": {"tpot": Lost()}}), "x.nc")
    assert f"x.nc: variable tpot: is damaged ({'x' * 120}); expected" in str(error.value)


def test_the_reason_that_a_store_is_damaged_is_as_short(store, monkeypatch):
    def broken():
        raise ValueError("y" * 200 + "\nmore")

    monkeypatch.setattr(damage, "zarr_package", broken)
    with pytest.raises(dsjax.InputError) as error:
        damage.check_store(store)
    assert f"zarr.json is damaged ({'y' * 120}); expected" in str(error.value)
