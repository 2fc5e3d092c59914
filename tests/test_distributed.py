"""Sweeps on the workers of a dask scheduler: processes of one thread on this machine."""

import os
import re
import signal
import socket
import warnings

import numpy as np
import pytest
from click.testing import CliRunner

import dsjax
from dsjax import cli
from dsjax.results import netcdf
from dsjax.search import cells, streaming
from dsjax.space import grid
from dsjax.sweeps import outputs, resume, scheduler, slabs, sweep, workers

distributed = pytest.importorskip("distributed")
pytest.importorskip("zarr")

STUDY = "decode_gpu_2025"
MOST = 400
SLABS = 16

# Sockets and loops of a cluster are closed by its threads, some after the test: not this package's warnings.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


@pytest.fixture(autouse=True)
def small_slabs(monkeypatch):
    monkeypatch.setattr(outputs, "POINTS", MOST)


@pytest.fixture(scope="module")
def client():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with (
            distributed.LocalCluster(
                n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=50
            ) as cluster,
            distributed.Client(cluster) as client,
        ):
            yield client


@pytest.fixture(scope="module")
def space():
    return grid.load(STUDY)


@pytest.fixture(scope="module")
def whole(space, tmp_path_factory):
    """The same store, written by this process."""
    path = tmp_path_factory.mktemp("here") / "x.zarr"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(outputs, "POINTS", MOST)
        sweep.write(space, path, blocks=False, command="test")
    return arrays_of(path)


def arrays_of(path):
    """{file of an array's values: bytes} of a store."""
    files = (p for p in path.rglob("*") if p.is_file() and p.name != "zarr.json")
    return {str(p.relative_to(path)): p.read_bytes() for p in files}


def test_workers_write_the_same_store(space, whole, client, tmp_path):
    seen = []
    counts = sweep.write(
        space,
        tmp_path / "x.zarr",
        blocks=False,
        client=client,
        progress=lambda points, found=False: seen.append(points),
    )
    assert counts["points"] == sum(seen) == space.points and counts["feasible"] == 659
    assert arrays_of(tmp_path / "x.zarr") == whole and len(whole) > 100
    assert [p.name for p in tmp_path.iterdir()] == ["x.zarr"]
    assert set(client.run(os.getenv, "PJRT_NPROC").values()) == {"1"}


def test_a_worker_that_is_killed_loses_nothing(space, whole, client, tmp_path):
    killed = []

    def progress(points, found=False):
        if not found and not killed:
            killed.append(next(iter(client.run(os.getpid).values())))
            os.kill(killed[0], signal.SIGKILL)

    sweep.write(space, tmp_path / "x.zarr", blocks=False, client=client, progress=progress)
    assert killed and arrays_of(tmp_path / "x.zarr") == whole
    client.wait_for_workers(2, timeout=30)
    assert killed[0] not in client.run(os.getpid).values()


def test_what_workers_began_is_resumed_here(space, whole, client, tmp_path):
    seen = []

    def progress(points, found=False):
        seen.append(found)
        if len(seen) == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweep.write(space, tmp_path / "x.zarr", blocks=False, client=client, progress=progress)
    assert not (tmp_path / "x.zarr").exists()
    seen.clear()
    sweep.write(
        space,
        tmp_path / "x.zarr",
        blocks=False,
        resume=True,
        progress=lambda points, found=False: seen.append(found),
    )
    assert seen[0] and 1 < len(seen) < SLABS
    assert arrays_of(tmp_path / "x.zarr") == whole


def test_python_returns_the_dataset(study, client, tmp_path):
    with dsjax.sweep(STUDY, output=tmp_path / "x.zarr", client=client, blocks=False) as ds:
        np.testing.assert_array_max_ulp(ds.step_time.values, study.step_time.values, maxulp=4)


def test_a_worker_with_another_version_is_refused(space, client, tmp_path):
    client.run(_pretend, "0.0.9")
    try:
        with pytest.raises(dsjax.InputError, match=r"worker tcp://.*: has dsjax 0\.0\.9; expected 0\."):
            sweep.write(space, tmp_path / "x.zarr", client=client)
    finally:
        client.run(_pretend, dsjax.__version__)


def test_a_worker_that_joins_later_answers_what_it_lacks(client, tmp_path):
    """Tasks ask again: nobody asked a worker that was not there at first."""
    (tmp_path / "x.zarr.parts").mkdir()
    session, own = resume.Parts(tmp_path / "x.zarr").session(), workers.own()
    cases = [((session, 0, ("0.0.9", own[1])), f"has dsjax {dsjax.__version__}; expected 0.0.9, as here")]
    cases += [((session, 0, (own[0], "0")), "has other files than the one here; expected the same")]
    other = resume.Session(session.folder, "of another")
    cases += [((other, 0, own), r"sees another folder at .*x\.zarr\.parts.*; expected a folder that all workers share")]
    cases += [((resume.Session("/nowhere", ""), 0, own), r"does not see /nowhere \(No such file")]
    for args, said in cases:
        answer = client.submit(workers.run, *args, pure=False).result(timeout=60)
        assert isinstance(answer, dsjax.InputError) and re.match(f"worker tcp://.* on .*: .*{said}", str(answer))


def test_a_process_that_takes_the_folder_ends_what_another_had_asked(space, tmp_path):
    """What workers evaluate for a process that was killed is written no more once another one takes the folder."""
    cut, parts = slabs.cut(space, MOST), resume.Parts(tmp_path / "x.nc")
    names = slabs.names_of(space, "float64", False)
    with parts.started(cut, "float64", names, resume=False, force=False):
        asked = resume.Parts(tmp_path / "x.nc", parts.session())
        asked.check()
    for how in ({"resume": True, "force": False}, {"resume": False, "force": True}):
        with parts.started(cut, "float64", names, **how):
            for late in (asked.check, lambda: asked.finish(3, {})):
                with pytest.raises(dsjax.InputError, match="another process's by now"):
                    late()
            parts.session()
            with pytest.raises(dsjax.InputError, match="another process's by now"):
                asked.check()
    assert not parts.finished()


def test_workers_search_and_count_as_this_process_does(client, monkeypatch):
    monkeypatch.setattr(cells, "CELL", 2**6)
    monkeypatch.setattr(cells, "SLAB", 2**13)
    here = dsjax.best(STUDY, by=["hardware"], top=2, stream=True)
    there = dsjax.best(STUDY, by=["hardware"], top=2, client=client)
    assert there.drop_attrs().identical(here.drop_attrs()) and there.sizes["rank"] > 2
    with pytest.raises(dsjax.InputError, match="client: workers search a grid that is not held"):
        dsjax.best(STUDY, client=client, stream=False)
    monkeypatch.setattr(streaming, "MOST_CANDIDATES", 1000)
    assert streaming.counted(grid.load(STUDY), client=client)["feasible"] == 659


def test_the_commands_search_on_a_scheduler(client, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", os.devnull)
    address = ["--scheduler", client.scheduler.address]
    alone, there = (CliRunner().invoke(cli.main, ["best", STUDY, *more]) for more in ([], address))
    assert there.exit_code == 0 and there.output == alone.output
    refused = CliRunner().invoke(cli.main, ["best", STUDY, "--no-stream", *address])
    assert refused.exit_code == 2 and "--scheduler: workers search a grid that is not held" in refused.output


def test_workers_write_a_netcdf_file(space, client, tmp_path):
    sweep.write(space, tmp_path / "there.nc", blocks=False, command="test", client=client)
    sweep.write(space, tmp_path / "here.nc", blocks=False, command="test")
    there, here = (netcdf.read(tmp_path / f"{name}.nc").drop_attrs() for name in ("there", "here"))
    assert there.identical(here) and len(here) > 20
    assert sorted(path.name for path in tmp_path.iterdir()) == ["here.nc", "there.nc"]


def test_workers_count_a_histogram(client):
    grid = {"source": STUDY, "fixed": {"pipeline": "naive", "mtp": 0}, "bins": 3, "quantiles": (0.5,)}
    here, there = dsjax.histogram(**grid, stream=True), dsjax.histogram(**grid, client=client)
    assert there.drop_attrs().identical(here.drop_attrs()) and int(there["count"].sum()) > 100


def test_an_unreachable_scheduler(monkeypatch):
    monkeypatch.setattr(scheduler, "TIMEOUT_S", 0.5)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{taken.getsockname()[1]}"  # bound, and nobody listens
        expected = pytest.raises(dsjax.InputError, match=f"client='{address}': cannot be reached")
        with expected, scheduler.connected(address):
            pass
    for wrong in ("nonsense://x", "tcp://localhost:notaport"):
        with pytest.raises(dsjax.InputError, match="cannot be reached"), scheduler.connected(wrong):
            pass


def test_the_command_uses_a_scheduler(client, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", os.devnull)
    path = tmp_path / "x.zarr"
    with pytest.raises(SystemExit) as stop:
        cli.main(["sweep", STUDY, "-o", str(path), "--scheduler", client.scheduler.address], prog_name="dsjax")
    out, err = capsys.readouterr()
    assert (stop.value.code, err) == (0, "") and f"wrote {path}" in out
    assert "659 of 4,320 points are feasible" in out
    assert slabs.cut(grid.load(STUDY), MOST).number == SLABS


def _pretend(version):
    workers.__version__ = version
