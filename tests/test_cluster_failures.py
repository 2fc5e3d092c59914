"""A cluster that fails, by the command line: workers, scheduler, driver killed; workers that cannot do their part.

Each process is started by hand. Workers stop at a slab where a file tells them to, so that what is killed is killed
while slabs are finished and others are not.
"""

import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from clusters import START_S, cluster, waited_for, waited_for_workers, worker

import dsjax
from dsjax import cli
from dsjax.results import netcdf
from dsjax.sweeps import resume, scheduler

distributed = pytest.importorskip("distributed")
pytest.importorskip("zarr")
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

GRID = ("decode_gpu_2025", "--fix", "pipeline=naive", "--fix", "mtp=0", "--quiet")
SLABS = 8
COMMAND_S = 240.0  # most that is waited for
# The command line with small slabs, one that has little patience with a scheduler without workers.
COMMAND = """
import sys
from dsjax import cli
from dsjax.sweeps import outputs, scheduler
outputs.POINTS, scheduler.ALONE_S = 200, 2.0
cli.main(sys.argv[1:], prog_name="dsjax")
"""
# Of a worker: while the file HOLD is there it does one task, and waits at the next one.
HOLD = """
import os, time
from dsjax.search import workers as searches
from dsjax.sweeps import storage

def stamp():
    try:
        return os.stat({hold!r}).st_mtime_ns
    except FileNotFoundError:
        return None

def held(function, done=[None]):
    def run(*args):
        while (now := stamp()) and now == done[0]:
            time.sleep(0.02)
        done[0] = now
        return function(*args)
    return run

storage.evaluate_slab = held(storage.evaluate_slab)
searches._cells = held(searches._cells)
"""
FULL = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
"""


def begun(*args):
    command = [sys.executable, "-c", COMMAND, *map(str, args)]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def ended(process):
    """(exit code, stderr) of a command, by its end."""
    try:
        _, errors = process.communicate(timeout=COMMAND_S)
    finally:
        process.kill()
    return process.returncode, errors.decode()


def said(process):
    """The one line of a command that is refused."""
    code, errors = ended(process)
    assert code == 2 and errors.startswith("error: ") and errors.count("\n") == 1 and len(errors) < 310, errors
    return errors


def is_like_undisturbed(path, whole):
    """Whether an output has the values of a sweep that nobody disturbed, bit for bit, and nothing is left beside it."""
    found = netcdf.read(path)
    return found.drop_attrs().identical(whole) and [p.name for p in path.parent.iterdir()] == [path.name]


def finished(path):
    return resume.Parts(path).finished()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Values of the sweep, evaluated by one process."""
    path = tmp_path_factory.mktemp("whole") / "x.nc"
    assert ended(begun("sweep", *GRID, "-o", path, "--resume")) == (0, "")
    return netcdf.read(path).drop_attrs()


class Held:
    """A cluster of two workers, which wait at their second task while the file `hold` is there."""

    def __init__(self, folder, at, processes):
        self.at, self.folder, self.hold = at, folder, folder / "hold"
        self.scheduler, *self.workers = processes

    @contextlib.contextmanager
    def holding(self):
        self.hold.touch()
        try:
            yield
        finally:
            self.hold.unlink(missing_ok=True)

    @contextlib.contextmanager
    def during(self, *command, done):
        """A command on the cluster, `done()` being true and all of its workers waiting."""
        with self.holding():
            process = begun(*command, "--scheduler", self.at)
            try:
                waited_for(done, [self.scheduler, *self.workers, process], self.folder)
                yield process
            finally:
                process.kill()


@contextlib.contextmanager
def held(folder, workers=2):
    folder.mkdir()
    script = folder / "held.py"
    script.write_text(HOLD.format(hold=str(folder / "hold")))
    with cluster(folder, workers, ("--preload", str(script))) as (at, processes):
        yield Held(folder, at, processes)


@pytest.fixture(scope="module")
def there(tmp_path_factory):
    """A cluster for tests that leave it as it was."""
    with held(tmp_path_factory.mktemp("there") / "cluster") as found:
        yield found


@pytest.fixture
def own(tmp_path):
    """A cluster for a test that kills some of it."""
    with held(tmp_path / "cluster") as found:
        yield found


@pytest.fixture
def path(tmp_path):
    (tmp_path / "shared").mkdir()
    return tmp_path / "shared" / "x.nc"


# What is killed


@pytest.mark.parametrize("suffix", ["nc", "zarr"])
def test_a_driver_that_is_killed_loses_nothing(there, whole, path, suffix):
    path = path.with_suffix(f".{suffix}")
    with there.during("sweep", *GRID, "-o", path, done=lambda: len(finished(path)) >= 2) as process:
        process.kill()
        process.wait()
        before = finished(path)
        refused = said(begun("sweep", *GRID, "-o", path))
        assert f"holds {len(before)} of {SLABS} slabs of a sweep that was interrupted; expected --resume" in refused
    again = begun("sweep", *GRID, "-o", path, "--scheduler", there.at, "--resume")
    assert ended(again) == (0, "") and 1 <= len(before) < SLABS
    assert is_like_undisturbed(path, whole)


def test_workers_that_are_killed_one_by_one_lose_nothing(own, whole, path):
    """One is killed, and the other one does its part; then there is none."""
    with own.during("sweep", *GRID, "-o", path, done=lambda: len(finished(path)) >= 2) as process:
        own.workers[0].kill()
        own.hold.unlink()
        assert ended(process) == (0, "")
    assert is_like_undisturbed(path, whole)
    path.unlink()
    path = path.with_suffix(".zarr")
    own.workers.pop(0)
    with own.during("sweep", *GRID, "-o", path, done=lambda: len(finished(path)) >= 1) as process:
        own.workers[0].kill()
        line = said(process)
    assert line.startswith(f"error: scheduler {own.at}: a slab could not be evaluated (no worker is left, for 2 s now)")
    assert f"kept in {path}.parts: expected --resume to go on" in line
    assert ended(begun("sweep", *GRID, "-o", path, "--resume")) == (0, "") and is_like_undisturbed(path, whole)


def test_a_scheduler_that_is_killed_loses_nothing(own, whole, path):
    with own.during("sweep", *GRID, "-o", path, done=lambda: len(finished(path)) >= 2) as process:
        own.scheduler.kill()
        line = said(process)
    assert re.match(f"error: scheduler {own.at}: a slab could not be evaluated \\(the connection is lost.*\\); ", line)
    assert line.endswith(f"what is finished is kept in {path}.parts: expected --resume to go on\n")
    kept = len(finished(path))
    assert ended(begun("sweep", *GRID, "-o", path, "--resume")) == (0, "") and 2 <= kept < SLABS
    assert is_like_undisturbed(path, whole)


def test_a_search_answers_the_same_though_a_worker_is_killed(own):
    """The scheduler gives what the worker had to do, and what it had found and nobody had fetched, to the other one."""
    asked = ("best", *GRID, "--by", "hardware", "--format", "json")
    with distributed.Client(own.at, timeout=START_S, set_as_default=False) as client:
        known = lambda: client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.tasks))  # noqa: E731
        with own.during(*asked, done=lambda: known() > 1) as process:
            own.workers[0].kill()
            own.hold.unlink()
            answer, errors = process.communicate(timeout=COMMAND_S)
    assert process.returncode == 0 and not errors
    here = subprocess.run([sys.executable, "-m", "dsjax", *asked], capture_output=True, timeout=COMMAND_S)
    assert answer == here.stdout and b'"feasible": ' in answer


# Workers that cannot do their part


@contextlib.contextmanager
def worse(there, folder, *options, **how):
    """One more worker of a cluster, that leaves it again."""
    folder.mkdir()
    with worker(folder, there.at, *options, **how) as process:
        waited_for_workers(there.at, 3, [process], folder)
        yield
    waited_for_workers(there.at, 2, there.workers, folder)


@pytest.mark.parametrize("case", ["version", "files", "none"])
def test_a_worker_of_another_dsjax_is_refused_before_anything_is_computed(there, tmp_path, path, case):
    copy = tmp_path / "other" / "dsjax"
    copy.parent.mkdir()
    if case == "none":
        copy.mkdir()
        (copy / "__init__.py").write_text("raise ImportError('no dsjax here')\n")
    else:
        shutil.copytree(Path(dsjax.__file__).parent, copy, ignore=shutil.ignore_patterns("__pycache__"))
        changed = copy / ("__init__.py" if case == "version" else "formulas/roofline.py")
        text = changed.read_text()
        changed.write_text(
            re.sub('__version__ = ".*"', '__version__ = "0.0.9"', text) if case == "version" else text + "#"
        )
    expected = {
        "version": f"has dsjax 0.0.9; expected {dsjax.__version__}, as here",
        "files": f"its dsjax {dsjax.__version__} has other files than the one here; expected the same, and a",
        "none": f"dsjax cannot be used there (ImportError('no dsjax here')); expected dsjax {dsjax.__version__}",
    }
    environment = {**os.environ, "PYTHONPATH": str(copy.parent)}
    with worse(there, tmp_path / "worker", env=environment):
        line = said(begun("sweep", *GRID, "-o", path, "--scheduler", there.at))
    assert re.match(r"error: worker tcp://127\.0\.0\.1:\d+", line) and expected[case] in line
    assert not finished(path)


@pytest.mark.parametrize("copied", [False, True], ids=["none", "another"])
def test_a_worker_without_the_shared_folder_is_refused(there, whole, tmp_path, path, copied):
    """Where its folder should be, it has one of its own: a file system that is mounted for it alone."""
    mount = f"mount -t tmpfs none {path.parent}" + (f" && mkdir {path}.parts" if copied else "")
    before = ("unshare", "-Urm", "sh", "-c", f'{mount} && exec "$@"', "sh")
    if not shutil.which("unshare") or subprocess.run([*before, "true"], capture_output=True).returncode:
        pytest.skip("this system lets nobody mount for one process alone")
    with worse(there, tmp_path / "worker", before=before):
        line = said(begun("sweep", *GRID, "-o", path, "--scheduler", there.at))
    what = "sees another folder at" if copied else "does not see"
    assert re.match(rf"error: worker tcp://127\.0\.0\.1:\d+ on {socket.gethostname()}: {what} {path}\.parts", line)
    assert "expected a folder that all workers share with the process that asks" in line
    assert ended(begun("sweep", *GRID, "-o", path, "--scheduler", there.at, "--resume")) == (0, "")
    assert is_like_undisturbed(path, whole)


def test_a_full_disk_on_a_worker_keeps_what_is_finished(there, whole, tmp_path, path):
    """A disk without room for a file above a size: the two others wait after one slab each, so that it has its turn."""
    script = tmp_path / "full.py"
    script.write_text(FULL)
    with worse(there, tmp_path / "worker", "--preload", str(script)), there.holding():
        line = said(begun("sweep", *GRID, "-o", path, "--scheduler", there.at))
    where = rf"error: worker tcp://127\.0\.0\.1:\d+ on {socket.gethostname()}: {path}\.parts: cannot be written"
    assert re.match(rf"{where} \(File too large\); the \d slabs that are finished are kept: expected room on the", line)
    assert line.endswith("disk, and --resume to go on\n")
    assert ended(begun("sweep", *GRID, "-o", path, "--scheduler", there.at, "--resume")) == (0, "")
    assert is_like_undisturbed(path, whole)


# What is no scheduler


@contextlib.contextmanager
def program(greeting):
    """Address of a program that greets who connects, or says nothing (None: and hangs up)."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        guests = []

        def greet():
            with contextlib.suppress(OSError):
                while True:
                    guest, _ = listening.accept()
                    guest.sendall(greeting or b"")
                    guest.close() if greeting is None else guests.append(guest)

        threading.Thread(target=greet, daemon=True).start()
        yield f"tcp://127.0.0.1:{listening.getsockname()[1]}"
        listening.shutdown(socket.SHUT_RDWR)
        for guest in guests:
            guest.close()


@pytest.mark.parametrize("greeting", [b"", None, b"SSH-2.0-OpenSSH_9.6\r\n", bytes(range(256)) * 64])
def test_another_program_is_no_scheduler(greeting, monkeypatch, capsys):
    monkeypatch.setattr(scheduler, "TIMEOUT_S", 1.0)
    with program(greeting) as address:
        assert re.match(
            rf"error: --scheduler {address}: cannot be reached \(.+\); expected the", refused(address, capsys)
        )


def test_a_worker_is_no_scheduler(there, capsys):
    with distributed.Client(there.at, timeout=START_S, set_as_default=False) as client:
        address = next(iter(client.nthreads()))
    assert f"--scheduler {address}: is a dask worker; expected the address of a running" in refused(address, capsys)


def refused(address, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["best", *GRID, "--scheduler", address], prog_name="dsjax")
    out, err = capsys.readouterr()
    assert stop.value.code == 2 and not out and err.count("\n") == 1
    return err
