"""The commands on a cluster started by hand: a scheduler and two workers, each a process; nobody holds a client."""

import json
import signal
import subprocess
import sys
import threading

import pytest
from clusters import START_S, arrays_of, cluster, waited_for

from dsjax.errors import InputError
from dsjax.space import grid
from dsjax.sweeps import outputs, resume, scheduler, sweep

distributed = pytest.importorskip("distributed")
pytest.importorskip("zarr")

STUDY = "decode_gpu_2025"
COMMAND_S = 120.0  # most that is waited for
MOST = 400  # points of a slab, where slabs are many

# Sockets and loops of a client are closed by its threads, some after the test: not this package's warnings.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


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
    with scheduler.connected(address) as client:
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

        said = pytest.raises(
            InputError, match=r"scheduler tcp://.*: a slab could not be evaluated .*expected resume=True"
        )
        with scheduler.connected(at) as client, said:
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
    assert err.startswith(f"error: scheduler {at}: slabs could not be searched (".encode())
