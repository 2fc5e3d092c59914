"""Sweeps written in parts: the same results, whatever interrupts them."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
import types
import zipfile

import jax
import numpy as np
import pytest
import xarray as xr

import dsjax
from dsjax import cli
from dsjax.space import grid
from dsjax.sweeps import outputs, resume, slabs, storage, sweep

STUDY = "decode_gpu_2025"
MOST = 400  # points of a slab here
SLABS = 16
KINDS = ("nc", "zarr")


@pytest.fixture(autouse=True)
def small_slabs(monkeypatch):
    monkeypatch.setattr(outputs, "POINTS", MOST)


@pytest.fixture(scope="module")
def space():
    return grid.load(STUDY)


def bytes_of(path):
    """{relative path: bytes} of a file or a folder."""
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    return {str(file.relative_to(path)): file.read_bytes() for file in files}


def write(space, path, stop_after=None, **options):
    """The counts of a sweep into a file, stopped after so many slabs where that is given."""
    seen = []

    def progress(points, found=False):
        seen.append(found)
        if stop_after is not None and len(seen) > stop_after:
            raise KeyboardInterrupt

    return sweep.write(space, path, command="test", progress=progress, **options), seen


def values_of(path):
    with outputs.opened(path) as ds:
        return {name: x.values for name, x in ds.variables.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_written_in_parts_is_the_dataset(study, space, tmp_path, kind):
    path = tmp_path / f"x.{kind}"
    counts, seen = write(space, path, blocks=True)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    assert len(seen) == 1 + slabs.cut(space, MOST).number == 1 + SLABS
    assert counts["points"] == 4320 and counts["feasible"] == 659
    assert counts["refused"] == {"ok_memory": 1016, "ok_tps_per_user": 3661}
    with outputs.opened(path) as file:
        ds = file.load()
    assert set(ds.coords) == set(study.coords) and set(ds.data_vars) == set(study.data_vars)
    for name, x in study.variables.items():
        found = ds.variables[name]
        assert found.dims == x.dims
        assert all(np.array_equal(found.attrs[key], value) for key, value in x.attrs.items()), name
        if x.dtype.kind == "f" and name in study.data_vars:
            assert found.dtype == x.dtype
            np.testing.assert_array_max_ulp(found.values, x.values, maxulp=4)
        else:
            np.testing.assert_array_equal(found.values, x.values)
    assert (ds.feasible.dtype, ds.bottleneck.dtype) == (bool, np.int8)
    assert {**ds.attrs, "history": ""} == {**study.attrs, "history": ""}
    best = dsjax.best(ds, by=["hardware"])
    xr.testing.assert_allclose(best.tps_per_chip, dsjax.best(study, by=["hardware"]).tps_per_chip, rtol=1e-14)


def test_a_store_becomes_a_netcdf_file(space, study, tmp_path):
    write(space, tmp_path / "x.zarr", blocks=True)
    with xr.open_zarr(tmp_path / "x.zarr", chunks=None) as store:
        store.to_netcdf(tmp_path / "x.nc")
    ds = dsjax.open_netcdf(tmp_path / "x.nc")
    xr.testing.assert_allclose(ds, study, rtol=1e-14)


def test_the_file_is_compressed_in_whole_slabs(space, tmp_path):
    import netCDF4

    write(space, tmp_path / "x.nc")
    cut = slabs.cut(space, MOST)
    with netCDF4.Dataset(tmp_path / "x.nc") as file:
        step_time = file["step_time"]
        assert step_time.dtype == np.float64 and (step_time.filters()["zstd"] or step_time.filters()["zlib"])
        for dim, n in zip(step_time.dimensions, step_time.chunking()):
            assert cut.sizes[dim] % n == 0
        assert not hasattr(step_time, "_FillValue")


@pytest.mark.parametrize("kind", KINDS)
def test_an_interrupted_sweep_goes_on(space, tmp_path, kind):
    whole, path = tmp_path / f"whole.{kind}", tmp_path / f"x.{kind}"
    write(space, whole)
    with pytest.raises(KeyboardInterrupt):
        write(space, path, stop_after=5)
    folder = tmp_path / f"x.{kind}.parts"
    finished = len(list(folder.glob("[0-9]*.json")))
    assert not path.exists() and 5 <= finished < SLABS
    with pytest.raises(
        dsjax.InputError, match=rf"holds {finished} of {SLABS} slabs .* resume=True to go on, or force=True"
    ):
        write(space, path)
    _, seen = write(space, path, resume=True)
    assert len(seen) == 1 + SLABS - finished and seen[0] and not any(seen[1:])
    assert not folder.exists()
    for name, values in values_of(whole).items():
        np.testing.assert_array_equal(values_of(path)[name], values)
    if kind == "zarr":
        ours, theirs = bytes_of(path), bytes_of(whole)
        assert ours.keys() == theirs.keys()
        assert [k for k in ours if ours[k] != theirs[k] and not k.endswith("zarr.json")] == []  # histories differ


def test_force_starts_again(space, tmp_path):
    path = tmp_path / "x.nc"
    with pytest.raises(KeyboardInterrupt):
        write(space, path, stop_after=5)
    _, seen = write(grid.load(STUDY, fixed={"context": 4000}), path, force=True)
    assert len(seen) == 1 + SLABS and not (tmp_path / "x.nc.parts").exists()
    assert float(values_of(path)["context"]) == 4000


@pytest.mark.parametrize(
    ("change", "options", "reason"),
    [
        ({"fixed": {"context": 5000}}, {}, "space.fixed.context was 5120.0 and is 5000.0"),
        (
            {"settings": {"nic.CX7.scale_out_bytes_per_s": 5e10}},
            {},
            "space.rows.nic.CX7.scale_out_bytes_per_s was 42949672960.0 and is 50000000000.0",
        ),
        ({"axes": {"batch": [16, 24]}}, {}, "space.axes.batch was 15 values"),
        ({"limits": {"min_tps_per_user": 30}}, {}, "space.bounds.min_tps_per_user was 20.0 and is 30.0"),
        ({}, {"dtype": "float32"}, 'dtype was "float64" and is "float32"'),
        ({}, {"blocks": False}, "variables was"),
    ],
)
def test_another_input_is_refused_with_the_reason(space, tmp_path, change, options, reason):
    path = tmp_path / "x.nc"
    with pytest.raises(KeyboardInterrupt):
        write(space, path, stop_after=3)
    before = bytes_of(tmp_path / "x.nc.parts")
    with pytest.raises(dsjax.InputError) as error:
        write(grid.load(STUDY, **change), path, resume=True, **options)
    assert reason in str(error.value) and "expected the same input to resume" in str(error.value)
    assert bytes_of(tmp_path / "x.nc.parts") == before


def test_another_version_is_refused(space, tmp_path, monkeypatch):
    with pytest.raises(KeyboardInterrupt):
        write(space, tmp_path / "x.nc", stop_after=3)
    monkeypatch.setattr(resume, "__version__", "9.9")
    with pytest.raises(dsjax.InputError, match='dsjax_version was "0.*" and is "9.9"'):
        write(space, tmp_path / "x.nc", resume=True)


def test_only_the_text_of_the_grid_may_differ(space):
    one = json.loads(space.to_json())
    assert resume.difference(one, one | {"text": "# another comment"}) == ""
    for key in one.keys() - {"text"}:
        assert resume.difference(one, one | {key: "x"}).startswith(f"{key} was"), key
    assert resume.difference({"a": {"b": 1}}, {"a": {}}) == "a.b is only there"
    assert resume.difference({}, {"c": 1}) == "c is only here"


def test_the_slabs_of_the_first_run_are_kept(space, tmp_path, monkeypatch):
    """Another limit of memory would cut otherwise: what was begun is finished as it was."""
    with pytest.raises(KeyboardInterrupt):
        write(space, tmp_path / "x.nc", stop_after=3)
    monkeypatch.setattr(outputs, "POINTS", 5000)
    _, seen = write(space, tmp_path / "x.nc", resume=True)
    assert len(seen) > 5


@pytest.mark.parametrize("kind", KINDS)
def test_killed_and_resumed_is_bit_identical(space, tmp_path, kind):
    path = tmp_path / f"x.{kind}"
    code = f"""
import time
from dsjax.space import grid
from dsjax.sweeps import outputs, sweep
outputs.POINTS = {MOST}
sweep.write(grid.load({STUDY!r}), {str(path)!r}, command="test", progress=lambda n, found=False: time.sleep(0.2))
"""
    process = subprocess.Popen([sys.executable, "-c", code])
    folder, deadline = tmp_path / f"x.{kind}.parts", time.monotonic() + 60
    while len(list(folder.glob("[0-9]*.json"))) < 4:
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not path.exists() and len(list(folder.glob("[0-9]*.json"))) < SLABS
    write(space, path, resume=True)
    write(space, tmp_path / f"whole.{kind}")
    one, other = values_of(path), values_of(tmp_path / f"whole.{kind}")
    for name in other:
        assert one[name].tobytes() == other[name].tobytes() if other[name].dtype.kind != "T" else True, name
    assert sorted(p.name for p in tmp_path.iterdir()) == [f"whole.{kind}", path.name]


@pytest.mark.parametrize("kind", KINDS)
def test_a_full_disk_is_one_clear_line_and_can_be_resumed(space, tmp_path, kind, monkeypatch):
    """The limit of a file's size stands for the disk; it is a process's own, so this one gets it back."""
    path, before = tmp_path / f"x.{kind}", resource.getrlimit(resource.RLIMIT_FSIZE)
    count = []
    saved = storage.kind_of(path).save

    def filling(held, index, data):
        count.append(index)
        if len(count) == 6:
            resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
        saved(held, index, data)

    monkeypatch.setattr(storage.kind_of(path), "save", filling)
    try:
        with pytest.raises(dsjax.InputError) as error:
            write(space, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "x." in str(error.value) and "cannot be written (File too large)" in str(error.value)
    assert "are kept: expected room on the disk, and resume=True to go on" in str(error.value)
    monkeypatch.undo()
    assert not path.exists()
    counts, seen = write(space, path, resume=True)
    assert counts["points"] == space.points and 3 < len(seen) <= SLABS


def test_a_damaged_part_is_named(space, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        write(space, tmp_path / "x.nc", stop_after=3)
    finished = (tmp_path / "x.nc.parts").glob("[0-9]*.json")  # a slab that was stopped has arrays and no counts
    part = next(finished).with_suffix(".npz")
    with zipfile.ZipFile(part) as members:
        largest = max(members.infolist(), key=lambda member: member.compress_size)
    data = bytearray(part.read_bytes())
    data[largest.header_offset + largest.compress_size // 2] ^= 0xFF  # in the middle of its array
    part.write_bytes(data)
    with pytest.raises(dsjax.InputError, match=f"{part.name}.*is damaged .* resume=True, which evaluates it again"):
        write(space, tmp_path / "x.nc", resume=True)
    _, seen = write(space, tmp_path / "x.nc", resume=True)
    assert len(seen) == 2


def interrupted_store(space, tmp_path):
    """(a whole store, the path of one that was interrupted, what is in its parts)."""
    whole, path = tmp_path / "whole.zarr", tmp_path / "x.zarr"
    write(space, whole)
    with pytest.raises(KeyboardInterrupt):
        write(space, path, stop_after=5)
    return whole, path, tmp_path / "x.zarr.parts" / "store"


def test_metadata_and_coordinates_of_an_interrupted_store_are_written_again(space, tmp_path):
    whole, path, store = interrupted_store(space, tmp_path)
    (store / "zarr.json").write_text("{")
    (store / "step_time" / "zarr.json").write_text('{"zarr_format": 3}')
    (store / "tpot" / "zarr.json").unlink()
    (store / "batch" / "c" / "0").write_bytes(b"")
    write(space, path, resume=True)
    ours, theirs = bytes_of(path), bytes_of(whole)
    assert [k for k in theirs if ours.get(k) != theirs[k] and k != "zarr.json"] == []  # histories differ
    assert ours.keys() == theirs.keys()


@pytest.mark.parametrize("damage", ["missing", "empty"])
def test_a_chunk_that_a_finished_slab_lost_is_named_and_evaluated_again(space, tmp_path, damage):
    whole, path, store = interrupted_store(space, tmp_path)
    chunk = next(p for p in sorted((store / "step_time").iterdir()) if p.name.startswith("c"))
    chunk.unlink() if damage == "missing" else chunk.write_bytes(b"")
    with pytest.raises(dsjax.InputError, match=f"{chunk.name}: is missing or empty; expected resume=True"):
        write(space, path, resume=True)
    assert not path.exists()
    _, seen = write(space, path, resume=True)
    assert len(seen) == 2  # what was found, and the slab
    np.testing.assert_equal(values_of(path), values_of(whole))


def test_a_folder_of_something_else_is_left_alone(space, tmp_path):
    (tmp_path / "x.nc.parts").mkdir()
    (tmp_path / "x.nc.parts" / "thesis.txt").write_text("precious")
    for options in ({}, {"force": True}, {"resume": True}):
        with pytest.raises(dsjax.InputError, match="is not a folder of parts"):
            write(space, tmp_path / "x.nc", **options)
    assert (tmp_path / "x.nc.parts" / "thesis.txt").read_text() == "precious"


def test_one_process_at_a_time(space, tmp_path):
    held = resume.Parts(tmp_path / "x.nc")
    refused = pytest.raises(dsjax.InputError, match="another process is writing it")
    with held.started(slabs.cut(space, MOST), "float64", ("step_time",), False, False), refused:
        write(space, tmp_path / "x.nc", force=True)


@pytest.mark.parametrize("kind", KINDS)
def test_outputs_that_are_there_or_cannot_be(space, tmp_path, kind):
    path = tmp_path / f"x.{kind}"
    write(space, path)
    before = bytes_of(path)
    with pytest.raises(dsjax.InputError, match="exists; expected a new path, or force=True"):
        write(space, path, resume=True)
    assert bytes_of(path) == before
    write(grid.load(STUDY, fixed={"context": 3000}), path, force=True)
    assert float(values_of(path)["context"]) == 3000
    with pytest.raises(dsjax.InputError, match="folder .* does not exist"):
        write(space, tmp_path / "nowhere" / f"x.{kind}")
    with pytest.raises(dsjax.InputError, match="unknown kind of output; expected a name ending in .nc or .zarr"):
        write(space, tmp_path / "x.csv")
    with pytest.raises(dsjax.InputError, match="is not a Zarr store"):
        (tmp_path / "other.zarr").mkdir()
        write(space, tmp_path / "other.zarr", force=True)


@pytest.mark.parametrize("kind", KINDS)
def test_an_output_that_another_process_wrote_meanwhile_is_kept(space, tmp_path, kind):
    """The check before a sweep and the name at its end are far apart; what is finished is kept."""
    path, seen = tmp_path / f"x.{kind}", []

    def progress(points, found=False):
        seen.append(points)
        if len(seen) == 3:
            path.mkdir() if kind == "zarr" else None
            (path / "other" if kind == "zarr" else path).write_text("another's")

    with pytest.raises(dsjax.InputError, match=f"{path.name}: exists by now; expected a new path, or force=True"):
        sweep.write(space, path, command="test", progress=progress)
    assert list(bytes_of(path).values()) == [b"another's"]
    path = path.rename(tmp_path / "elsewhere") and path
    _, again = write(space, path, resume=True)
    assert len(again) == 1 and not path.with_name(f"{path.name}.parts").exists()
    assert "tps_per_chip" in values_of(path)


def test_memory_limit(space, tmp_path):
    with pytest.raises(dsjax.InputError, match="max_memory='10 MB': dsjax itself takes"):
        write(space, tmp_path / "x.nc", max_memory="10 MB")
    with pytest.raises(dsjax.InputError, match=r"max_memory: '4 GB/s' has the unit 'GB/s'; expected a number \[B\]"):
        write(space, tmp_path / "x.nc", max_memory="4 GB/s")
    assert list(tmp_path.iterdir()) == []


def test_python_reads_from_the_file(tmp_path):
    with dsjax.sweep(STUDY, output=tmp_path / "x.nc", fixed={"context": 2000}) as ds:
        assert float(ds.context) == 2000 and "dsjax.sweep(" in ds.attrs["history"]
        assert dsjax.best(ds).sizes["rank"] > 0
    for option, value in (("resume", True), ("force", True), ("client", types.SimpleNamespace(scheduler=None))):
        with pytest.raises(dsjax.InputError, match=f"{option}: goes with an output"):
            dsjax.sweep(STUDY, **{option: value})


@pytest.fixture
def command(monkeypatch, capsys):
    """A function that runs a command and returns (exit code, stdout, stderr)."""
    monkeypatch.setenv("XDG_CACHE_HOME", os.devnull)

    def run_it(*args):
        with pytest.raises(SystemExit) as stop:
            cli.main([str(arg) for arg in args], prog_name="dsjax")
        return stop.value.code, *capsys.readouterr()

    return run_it


def test_the_command_writes_in_parts_and_goes_on(space, tmp_path, command):
    path = tmp_path / "x.nc"
    with pytest.raises(KeyboardInterrupt):
        write(space, path, stop_after=5)
    code, out, err = command("sweep", STUDY, "-o", path)
    assert (code, out) == (2, "") and "expected --resume to go on, or --force to start again" in err
    code, out, err = command("sweep", STUDY, "-o", path, "--resume")
    assert (code, err) == (0, "") and f"wrote {path}" in out
    assert "659 of 4,320 points are feasible; refused by ok_memory 1,016, ok_tps_per_user 3,661" in out
    first = next(line for line in out.splitlines() if line.split()[:1] == ["1"])
    assert first.split()[1:9] == ["H800", "CX7", "320", "128", "kv1-w1", "1", "dual-mbatch", "28.93"]
    assert dsjax.open_netcdf(path).sizes["batch"] == 15


def test_the_command_ranks_what_it_cannot_hold(tmp_path, command, monkeypatch):
    args = ("sweep", STUDY, "--fix", "pipeline=naive", "--fix", "nic=CX7", "--no-blocks", "--format", "json", "-o")
    held = command(*args, tmp_path / "held.nc")
    monkeypatch.setattr("dsjax.commands.search.large_sweep.MOST_POINTS_AT_ONCE", 0)
    monkeypatch.setattr("dsjax.sweeps.slabs.AHEAD", 0)  # so that slabs need nothing of the megabyte that is free
    monkeypatch.setattr("dsjax.machine.available_memory", lambda: 100_000)
    streamed = command(*args, tmp_path / "x.nc")
    assert (streamed[0], streamed[2]) == (0, "") and held[0] == 0
    one, other = json.loads(held[1]), json.loads(streamed[1])
    assert one["refused"] == other["refused"] and one["feasible"] == other["feasible"] > 0
    axes = list(other["rows"][0])[1:5]
    assert [[row[name] for name in axes] for row in one["rows"]] == [
        [row[name] for name in axes] for row in other["rows"]
    ]
    code, _, err = command(*args, tmp_path / "y.nc", "--csv-all", tmp_path / "y.csv")
    assert code == 2 and "do not fit in memory" in err and not (tmp_path / "y.nc").exists()


@pytest.mark.parametrize(
    ("args", "reason"),
    [
        (("--resume",), "--resume: goes with an output; expected -o FILE.nc or -o FILE.zarr"),
        (("--scheduler", "tcp://127.0.0.1:1"), "--scheduler: goes with an output; expected -o FILE.nc or -o FILE.zarr"),
        (("--max-memory", "1 MB"), "--max-memory 1 MB: dsjax itself takes"),
        (("--max-memory", "much"), "--max-memory: 'much' is not a number; expected a number [B]"),
        (("--devices", "0"), "devices: 0; expected a positive integer"),
        (("--devices", "99"), "devices: 99 wanted and"),
    ],
)
def test_bad_options(command, args, reason):
    jax.devices()  # a process whose JAX has not started would split its CPU into as many as are asked for
    code, out, err = command("sweep", STUDY, *args)
    assert (code, out) == (2, "") and reason in err


def test_searches_take_a_limit_of_memory(command):
    for name in ("best", "pareto"):
        code, out, err = command(name, STUDY, "--max-memory", "1 MB")
        assert (code, out) == (2, "") and "--max-memory 1 MB: dsjax itself takes" in err
        code, out, err = command(name, STUDY, "--stream", "--max-memory", "hardware")
        assert (code, out) == (2, "") and "--max-memory: 'hardware' is not a number; expected a number [B]" in err
    assert dsjax.best(STUDY, by=["hardware"], max_memory="20 GB").sizes["rank"] > 0


def test_a_grid_larger_than_the_disk_is_refused_before_it_is_begun(space, tmp_path, monkeypatch):
    monkeypatch.setattr("dsjax.machine.disk", lambda path: 100_000)
    with pytest.raises(dsjax.InputError, match="4,320 points need .* of disk and .* is free; expected a smaller grid"):
        write(space, tmp_path / "x.nc")
    axes = {"batch": {"start": 1, "stop": 2_000_000, "step": 1}, "context": {"start": 1, "stop": 2_000_000, "step": 1}}
    with pytest.raises(dsjax.InputError, match="of memory and .* of disk is free; expected a smaller grid"):
        dsjax.sweep(STUDY, axes=axes, output=tmp_path / "x.nc")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("option", ["force", "resume"])
def test_parts_that_are_a_link_are_left_alone(space, tmp_path, kind, option):
    path, other = tmp_path / f"x.{kind}", tmp_path / "other.nc.parts"
    with pytest.raises(KeyboardInterrupt):
        write(space, tmp_path / "other.nc", stop_after=3)
    os.symlink(other, f"{path}.parts")
    before = bytes_of(other)
    with pytest.raises(dsjax.InputError, match=rf"x\.{kind}\.parts: is a link; expected"):
        write(space, path, **{option: True})
    assert bytes_of(other) == before and not path.exists()


def test_starting_again_does_not_follow_links_inside_the_parts(space, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        write(space, tmp_path / "x.nc", stop_after=3)
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").write_text("kept")
    os.symlink(tmp_path / "kept", tmp_path / "x.nc.parts" / "link")
    write(space, tmp_path / "x.nc", force=True)
    assert [p.name for p in (tmp_path / "kept").iterdir()] == ["file"] and not (tmp_path / "x.nc.parts").exists()


def test_an_old_output_is_not_the_one_that_was_asked_for(space, tmp_path, monkeypatch):
    """All slabs are finished, and the old file of the same grid in another type is still there: it is not kept."""
    path = tmp_path / "x.nc"
    write(space, path)
    real = outputs.kind_of(path).complete
    monkeypatch.setattr(outputs.kind_of(path), "complete", lambda *args: (_ for _ in ()).throw(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        write(space, path, dtype="float32", force=True)
    monkeypatch.setattr(outputs.kind_of(path), "complete", real)
    write(space, path, dtype="float32", force=True, resume=True)
    assert values_of(path)["tps_per_chip"].dtype == "float32"


def test_other_files_in_the_parts_are_no_slabs(space, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        write(space, tmp_path / "x.nc", stop_after=3)
    folder = tmp_path / "x.nc.parts"
    one = next(folder.glob("[0-9]*.json"))
    (folder / f"{one.stem} copy.json").write_text(one.read_text())
    counts, _ = write(space, tmp_path / "x.nc", resume=True)
    assert counts["points"] == space.points
