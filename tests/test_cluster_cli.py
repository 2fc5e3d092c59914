"""The commands on a cluster started by hand: a scheduler and two workers, each a process; nobody holds a client."""

import contextlib
import json
import signal
import subprocess
import sys
import threading
import time

import pytest

from dsjax.errors import InputError
from dsjax.space import grid
from dsjax.sweeps import outputs, resume, sweep, workers

distributed = pytest.importorskip("distributed")
pytest.importorskip("zarr")

STUDY = "decode_gpu_2025"
START_S, COMMAND_S = 60.0, 120.0  # most that is waited for
MOST = 400  # points of a slab, where slabs are many

# Sockets and loops of a client are closed by its threads, some after the test: not this package's warnings.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


@contextlib.contextmanager
def started(folder, name, *args):
    """A process `python -m distributed.cli.<name>` that listens on 127.0.0.1 alone, and is gone after the block."""
    command = [sys.executable, "-m", f"distributed.cli.{name}", *args, "--host", "127.0.0.1", "--no-dashboard"]
    with open(folder / f"{name}-{time.monotonic_ns()}.log", "wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=folder)
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(10.0)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10.0)


def waited_for(found, processes, folder):
    """What `found()` returns once it is true; a process that ended, or START_S, is a failure with the logs."""
    end = time.monotonic() + START_S
    while time.monotonic() < end and all(process.poll() is None for process in processes):
        if result := found():
            return result
        time.sleep(0.1)
    pytest.fail("\n".join(path.read_text("utf-8", "replace") for path in folder.glob("*.log")))


@contextlib.contextmanager
def cluster(folder, workers=2):
    """(address of a scheduler on a free port, processes, its own first) with so many workers of one thread."""
    file = folder / "scheduler.json"

    def address():
        with contextlib.suppress(OSError, ValueError, KeyError):
            return json.loads(file.read_text("utf-8"))["address"]

    def all_there():
        with contextlib.suppress(OSError), distributed.Client(at, timeout=5.0, set_as_default=False) as client:
            return len(client.scheduler_info(n_workers=-1)["workers"]) == workers

    with contextlib.ExitStack() as stack:
        options = ("--port", "0", "--no-show", "--scheduler-file", str(file))
        processes = [stack.enter_context(started(folder, "dask_scheduler", *options))]
        at = waited_for(address, processes, folder)
        assert at.startswith("tcp://127.0.0.1:")
        options = ("--nthreads", "1", "--no-nanny", "--local-directory", str(folder))
        processes += [stack.enter_context(started(folder, "dask_worker", at, *options)) for _ in range(workers)]
        waited_for(all_there, processes, folder)
        yield at, processes


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    with cluster(tmp_path_factory.mktemp("cluster")) as (at, _):
        yield at


def dsjax(*args, code=0, timeout=COMMAND_S):
    """(stdout, stderr) of the command line, a process of its own."""
    command = [sys.executable, "-m", "dsjax", *map(str, args)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout)
    out, err = done.stdout.decode(), done.stderr.decode()
    assert done.returncode == code, f"{out}\n{err}"
    return out, err


def written(path, **options):
    """The store that this process writes, all slabs of it in `COMMAND_S`; an error is raised here."""
    found = []

    def work():
        try:
            sweep.write(grid.load(STUDY), path, blocks=False, **options)
        except BaseException as error:
            found.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(COMMAND_S)
    assert not thread.is_alive(), "still waiting"
    if found:
        raise found[0]
    return path


def arrays_of(path):
    """{file of an array's values: bytes} of a store."""
    files = (p for p in path.rglob("*") if p.is_file() and p.name != "zarr.json")
    return {str(p.relative_to(path)): p.read_bytes() for p in files}


# 24,001 contexts: the text of the space is more than a graph of dask's keeps inside a task.
LONG = ("--axis", "context=1000:25000:1", "--axis", "batch=32,64", "--fix", "pipeline=naive", "--fix", "hardware=H800")


@pytest.mark.parametrize(
    "asked",
    [("best", "--by", "hardware"), ("pareto", "--by", "hardware"), ("pareto", "--stream", *LONG)],
    ids=["best", "pareto", "a long axis"],
)
def test_a_search_by_the_command_line_is_that_of_one_process(address, asked):
    command, *options = asked
    asked = (command, STUDY, *options, "--format", "json")
    there, here = dsjax(*asked, "--scheduler", address), dsjax(*asked)
    assert there == here and json.loads(here[0])["feasible"] > 600 and not here[1]


def test_a_sweep_by_the_command_line_is_that_of_one_process(address, tmp_path):
    out, err = dsjax("sweep", STUDY, "-o", tmp_path / "there.zarr", "--scheduler", address)
    assert "659 of 4,320 points are feasible" in out and not err
    sweep.write(grid.load(STUDY), tmp_path / "here.zarr")
    there, here = (arrays_of(tmp_path / f"{name}.zarr") for name in ("there", "here"))
    assert there == here and len(here) > 20
    assert sorted(path.name for path in tmp_path.iterdir()) == ["here.zarr", "there.zarr"]


def test_many_slabs_need_no_client_of_the_process(address, tmp_path, monkeypatch):
    monkeypatch.setattr(outputs, "POINTS", MOST)
    with pytest.raises(ValueError, match="No client"):
        distributed.default_client()
    with workers.connected(address) as client:
        written(tmp_path / "there.zarr", client=client)
    written(tmp_path / "here.zarr")
    there, here = (arrays_of(tmp_path / f"{name}.zarr") for name in ("there", "here"))
    assert there == here and len(here) > 100


def test_a_sweep_whose_scheduler_is_lost_keeps_what_is_finished(tmp_path, monkeypatch):
    monkeypatch.setattr(outputs, "POINTS", MOST)
    path, seen = tmp_path / "x.zarr", []
    (tmp_path / "cluster").mkdir()
    with cluster(tmp_path / "cluster", workers=1) as (at, processes):

        def advance(points, found=False):
            seen.append(found)
            if len(seen) == 4:  # the first call is about what was finished before
                processes[0].kill()

        said = pytest.raises(InputError, match=r"scheduler: a slab could not be evaluated .*expected resume=True")
        with workers.connected(at) as client, said:
            written(path, client=client, progress=advance)
    assert not path.exists() and 3 <= len(resume.Parts(path).finished()) < 16
    assert arrays_of(written(path, resume=True)) == arrays_of(written(tmp_path / "here.zarr"))


def test_a_search_whose_scheduler_is_lost_ends_in_one_line(tmp_path):
    """A worker that is stopped answers nothing, so that the scheduler is lost while all of the search is ahead."""
    with cluster(tmp_path, workers=1) as (at, (scheduler, worker)):
        command = [sys.executable, "-m", "dsjax", "best", STUDY, "--scheduler", at]
        asked = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            with distributed.Client(at, timeout=5.0, set_as_default=False) as client:
                tasks = lambda: client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.tasks))  # noqa: E731
                waited_for(tasks, [scheduler, worker, asked], tmp_path)
                worker.send_signal(signal.SIGSTOP)
            scheduler.kill()
            out, err = asked.communicate(timeout=START_S)
        finally:
            asked.kill()
            worker.kill()
    assert asked.returncode == 2 and not out and len(err.splitlines()) == 1, err.decode()
    assert err.startswith(b"error: scheduler: slabs could not be searched (")
