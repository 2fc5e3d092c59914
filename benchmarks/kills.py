"""Sweeps and searches that are killed (-9) at random moments, or whose disk is full, and then go on.

    nice -n 10 python benchmarks/kills.py [--kills N] [--full N] [--race N] [--workers N] [--schedulers N] [--drivers N]
        [--searches N] [--seconds T] [--seed S] [--only KIND ...]

Every run is the command line in a process of its own, forked from this one. "lost": slabs that were finished and are
not any more, or were evaluated again, after `--resume`; "differ": outputs whose values are not bit for bit those of a
run that nobody disturbed; "untidy": more than one line on stderr, a traceback, or files beside the output. Kinds: `nc`
and `zarr` (sweeps), `search` (a streamed one: its answer afterwards), each in one process; and on a cluster of dask, a
scheduler and two workers that are processes of their own: `cluster-nc` and `cluster-zarr`, of which a worker, the
scheduler or the driver is killed `--workers`, `--schedulers` and `--drivers` times, and `cluster-best`,
`cluster-pareto`, `cluster-histogram`, of each of which one of the three is killed `--searches` times. A full disk is a
limit on the size of a file, of the process or of one worker; races are three processes that write one new output.
"""

import argparse
import collections
import contextlib
import hashlib
import importlib
import json
import os
import random
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from dsjax import cli
from dsjax.commands.search import large_sweep
from dsjax.results import netcdf
from dsjax.sweeps import outputs, resume

GRID = "decode_gpu_2025"
POINTS = 400  # of a slab: 16 slabs
# What is asked of each kind.
SMALL = (GRID, "--fix", "pipeline=naive", "--fix", "mtp=0", "--format", "json")
ASKED = {
    "search": ("best", GRID, "--by", "hardware", "--stream", "--format", "json"),
    "cluster-best": ("best", *SMALL, "--by", "hardware"),
    "cluster-pareto": ("pareto", *SMALL),
    "cluster-histogram": ("histogram", *SMALL, "--bins", "3"),
}
KINDS = ("nc", "zarr", "search", "cluster-nc", "cluster-zarr", *list(ASKED)[1:])
VICTIMS = ("worker", "scheduler", "driver")
IMPORTED = ("zarr", "netCDF4", "scipy.stats", "pint", "dask.array", "distributed", "jinja2")  # of what a run imports
COLUMNS = ("runs", "finished", "killed", "refused", "slabs kept", "lost", "differ", "untidy")
LIMIT_S = 600


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--full", type=int, default=20)
    parser.add_argument("--race", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin no run after so long")
    parser.add_argument("--seed", type=int, default=0)
    for victim in VICTIMS:
        parser.add_argument(f"--{victim}s", type=int, default=10)
    parser.add_argument("--searches", type=int, default=9)
    parser.add_argument("--only", nargs="+", default=KINDS, choices=KINDS)
    given = parser.parse_args(arguments)
    rng, counts = random.Random(given.seed), collections.defaultdict(collections.Counter)
    outputs.POINTS, large_sweep.MOST_POINTS_AT_ONCE = POINTS, 0
    resume.Parts.close = _noted(resume.Parts.close)
    os.environ["XDG_CACHE_HOME"] = os.devnull
    on_cluster = [kind for kind in given.only if kind.startswith("cluster")]
    for name in IMPORTED:  # before the forks, once: about a second of each run
        importlib.import_module(name)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        folder = Path(folder)
        cluster = stack.enter_context(Cluster(folder)) if on_cluster else None
        runs = {kind: Run(kind, folder, cluster if kind in on_cluster else None) for kind in given.only}
        todo = _spread("killed", given.kills, [kind for kind in given.only if kind not in on_cluster])
        files = [kind for kind in ("nc", "zarr") if kind in runs]
        todo += _spread("disk full", given.full, [*files, *(kind for kind in on_cluster if kind not in ASKED)])
        todo += _spread("three at once", given.race, files)
        for victim in VICTIMS:
            times = getattr(given, f"{victim}s")
            todo += _spread(f"{victim} killed", times, [kind for kind in on_cluster if kind not in ASKED])
            some = [kind for kind in on_cluster if kind in ASKED]
            todo += _spread(f"{victim} killed", given.searches * len(some) // len(VICTIMS), some)
        rng.shuffle(todo)
        end = time.monotonic() + given.seconds
        with contextlib.suppress(KeyboardInterrupt):  # what was found is printed
            for how, kind in todo:
                if time.monotonic() < end:
                    runs[kind].one(how, rng, counts[f"{kind}, {how}"])
    print(f"{'':36}" + "".join(f"{name:>12}" for name in COLUMNS))
    for name, found in sorted(counts.items()):
        print(f"{name:36}" + "".join(f"{found[column]:12}" for column in COLUMNS), flush=True)
    return int(any(found["lost"] or found["differ"] or found["untidy"] for found in counts.values()))


def _spread(how, times, kinds):
    """[(how, kind), ...], so many, in turns."""
    return [(how, kinds[i % len(kinds)]) for i in range(times if kinds else 0)]


class Run:
    """Runs of one kind: what they write, and how long it takes undisturbed."""

    def __init__(self, kind, folder, cluster):
        self.kind, self.folder, self.cluster = kind, folder / f"{kind}s", cluster
        self.folder.mkdir()
        self.path = self.folder / f"x.{'nc' if kind.endswith('nc') else 'zarr'}"
        begun = time.monotonic()
        first = Command(self.arguments())
        assert first.wait() == 0, (kind, first.status, first.said())
        self.seconds = time.monotonic() - begun
        self.whole = self.found(first)
        print(f"{kind}: {self.seconds:.1f} s undisturbed", file=sys.stderr, flush=True)
        self.clean()

    def arguments(self, *more):
        there = ["--scheduler", self.cluster.address] if self.cluster else []
        if self.kind in ASKED:
            return [*ASKED[self.kind], *there]
        return ["sweep", GRID, "-o", str(self.path), "--format", "json", "--quiet", *there, *more]

    def found(self, command):
        """What a run found: its output, or its answer."""
        if self.kind in ASKED:
            return command.said()[0]
        reader = Command(lambda: print(_digest(self.path)))  # no library's threads are in the process that forks
        assert reader.wait() == 0, reader.said()
        return reader.said()[0]

    def clean(self):
        for path in self.folder.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def one(self, how, rng, counts):
        """A run that is disturbed."""
        if how == "three at once":
            self.race(counts)
        elif how == "disk full":
            self.full(rng, counts)
        else:
            self.killed(how, rng, counts)

    def killed(self, how, rng, counts):
        """Something is killed at a random moment, and the command resumed."""
        command = Command(self.arguments())
        command.wait(rng.uniform(0.0, 1.1) * self.seconds)
        if how.startswith("scheduler"):
            self.cluster.scheduler.kill()
        elif how.startswith("worker"):
            rng.choice(self.cluster.workers).kill()
        elif command.status is None:
            os.kill(command.pid, signal.SIGKILL)
        self.then(command.wait(), command, counts)

    def full(self, rng, counts):
        """With no room for files above a random size, and resumed."""
        largest = max(self.sizes)
        limit = int(1000 * (largest / 1000) ** rng.random())  # what is said goes into a file too
        if self.cluster:
            self.cluster.fill(limit)
        command = Command(self.arguments(), None if self.cluster else limit)
        status = command.wait()
        if self.cluster:
            self.cluster.workers[0].kill()
        self.then(status, command, counts)

    @property
    def sizes(self):
        """Bytes of files that a run writes, about."""
        return [200_000] if self.kind.endswith("nc") else [20_000]

    def then(self, status, command, counts):
        """Count how a run ended, and how the one ends that goes on."""
        if self.cluster:
            self.cluster.whole()
        counts["runs"] += 1
        counts["killed"] += status == -signal.SIGKILL
        counts["finished"] += status == 0
        counts["refused"] += status == 2
        if not _tidy(status, command.said()[1]):
            counts["untidy"] += 1
            sys.stderr.write(f"{self.kind}, exit {status}: {command.said()[1]}\n")
        parts = resume.Parts(self.path)
        before = _times(parts)
        counts["slabs kept"] += len(before)
        if status != 0 and not (self.path.exists() and self.kind not in ASKED):
            command = Command(self.arguments(*(["--resume"] if self.kind not in ASKED else [])))
            if command.wait():
                sys.stderr.write(f"{self.kind}: {command.said()}\n")
                counts["untidy"] += 1
                return self.clean()
            after = json.loads(_note(parts).read_text()) if before else {}
            counts["lost"] += sum(after.get(name) != stamp for name, stamp in before.items())
        counts["differ"] += self.found(command) != self.whole
        left = {path.name for path in self.folder.iterdir()} - {self.path.name, _note(parts).name, parts.folder.name}
        if left:
            counts["untidy"] += 1
            sys.stderr.write(f"{self.kind}: left: {sorted(left)}\n")
        return self.clean()

    def race(self, counts):
        """Three at once: one wins."""
        commands = [Command(self.arguments()) for _ in range(3)]
        ends = [command.wait() for command in commands]
        counts["runs"] += 3
        counts["finished"] += ends.count(0)
        counts["refused"] += ends.count(2)
        counts["untidy"] += ends.count(0) != 1
        counts["untidy"] += sum(not _tidy(end, command.said()[1]) for end, command in zip(ends, commands, strict=True))
        counts["differ"] += self.found(commands[0]) != self.whole
        self.clean()


class Command:
    """The command line, or a function, in a process that is forked from this one."""

    def __init__(self, what, largest_file=None):
        self.files = [tempfile.TemporaryFile() for _ in range(2)]  # noqa: SIM115 (they go with the object)
        self.status = None
        sys.stdout.flush()
        if not (pid := os.fork()):
            for at, file in enumerate(self.files, 1):
                os.dup2(file.fileno(), at)
            if largest_file:
                resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
            status = 70
            try:
                what() if callable(what) else cli.main(what, prog_name="dsjax")
                status = 0
            except SystemExit as end:
                status = end.code or 0
            finally:
                with contextlib.suppress(OSError):
                    sys.stdout.flush()
                os._exit(status)
        self.pid = pid

    def wait(self, seconds=LIMIT_S):
        """Its exit status, a negative signal; None where it goes on for longer."""
        end = time.monotonic() + seconds
        while self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
            elif time.monotonic() > end:
                break
            time.sleep(0.002)
        return self.status

    def said(self):
        """(stdout, stderr)."""
        return [os.pread(file.fileno(), 2**20, 0).decode("utf-8", "replace") for file in self.files]


def _tidy(status, errors):
    """Whether a process ended as it should: killed or finished in silence, or refused in one line."""
    if status == 2:
        return errors.startswith("error: ") and errors.count("\n") == 1
    return status in (0, -signal.SIGKILL) and not errors


def _digest(path):
    """A digest of all values in a file or a store, bit for bit."""
    digest = hashlib.sha256()
    for name, x in sorted(netcdf.read(path).variables.items()):
        digest.update(f"{name} {x.dtype} {x.shape}".encode() + x.values.tobytes())
    return digest.hexdigest()


def _times(parts):
    """{finished slab: when it was} of a folder of parts."""
    return {str(index): (parts.folder / f"{index:09d}.json").stat().st_mtime_ns for index in parts.finished()}


def _note(parts):
    return parts.folder.with_suffix(".times")


def _noted(close):
    """`Parts.close` that leaves what `_times` says of the folder."""

    def noted(parts):
        _note(parts).write_text(json.dumps(_times(parts)))
        close(parts)

    return noted


class Cluster:
    """A scheduler with two workers of one thread; what was killed of them is started again."""

    def __init__(self, folder):
        self.folder, self.processes = folder, []
        self.environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(folder / "jax")}
        self.environment["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *error):
        for process in self.processes:
            process.kill()
            process.wait()

    @property
    def scheduler(self):
        return self.processes[0]

    @property
    def workers(self):
        return self.processes[1:]

    def start(self):
        """All of it, at a new address."""
        self.__exit__()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.address = f"tcp://127.0.0.1:{port}"
        self.processes = [self.one("dask_scheduler", "--port", str(port), "--no-show")]
        self.processes += [self.worker() for _ in range(2)]
        self.wait()

    def worker(self, *options):
        options = ("--nthreads", "1", "--no-nanny", "--local-directory", str(self.folder), *options)
        return self.one("dask_worker", self.address, *options)

    def one(self, name, *options):
        command = [sys.executable, "-m", f"distributed.cli.{name}", *options, "--host", "127.0.0.1", "--no-dashboard"]
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        return subprocess.Popen(command, env=self.environment, **quiet)

    def whole(self):
        """Start again what is gone; its workers go with a scheduler."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.scheduler.wait(0.2)
            return self.start()
        for process in self.processes[1:]:  # who was killed a moment ago is gone soon
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.2)
        gone = [i for i, process in enumerate(self.processes) if i and process.poll() is not None]
        for i in gone:
            self.processes[i] = self.worker()
        return self.wait() if gone else None

    def fill(self, limit):
        """One of the workers has no room for files above a size any more."""
        resource.prlimit(self.workers[0].pid, resource.RLIMIT_FSIZE, (limit, limit))

    def wait(self):
        """Until both workers are there; asked by another process, for no library's threads are in one that forks."""
        asking = Command(lambda: _until_there(self.address))
        assert asking.wait() == 0, asking.said()


def _until_there(address):
    import distributed

    with distributed.Client(address, timeout=LIMIT_S, set_as_default=False) as client:
        client.wait_for_workers(2, timeout=LIMIT_S)


if __name__ == "__main__":
    sys.exit(main())
