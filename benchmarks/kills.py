"""Sweeps and searches that are killed (-9) at random moments, or whose disk is full, and then go on.

    nice -n 10 python benchmarks/kills.py [--kills N] [--full N] [--race N] [--seconds T] [--seed S] [--only KIND ...]

Every run is the command line in a process of its own, forked from this one. "lost": slabs that were finished and are
not any more, or were evaluated again, after `--resume`; "differ": outputs whose values are not bit for bit those of a
run that nobody disturbed; "untidy": more than one line on stderr, a traceback, or files beside the output. Kinds: `nc`
and `zarr` (sweeps), `cluster` (a sweep into a store by two dask workers: the driver or a worker is killed), `search`
(a streamed one: its answer afterwards). A full disk is a limit on the size of a file; races are three processes that
write one new output.
"""

import argparse
import collections
import contextlib
import hashlib
import json
import os
import random
import resource
import shutil
import signal
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
COLUMNS = ("runs", "finished", "killed", "refused", "slabs kept", "lost", "differ", "untidy")
LIMIT_S = 120


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--full", type=int, default=20)
    parser.add_argument("--race", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin no run after so long")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", default=["nc", "zarr", "cluster", "search"])
    given = parser.parse_args(arguments)
    rng, counts = random.Random(given.seed), collections.defaultdict(collections.Counter)
    outputs.POINTS, large_sweep.MOST_POINTS_AT_ONCE = POINTS, 0
    resume.Parts.close = _noted(resume.Parts.close)
    os.environ["XDG_CACHE_HOME"] = os.devnull
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        folder = Path(folder)
        runs = {}
        for kind in given.only:
            more = ["--scheduler", stack.enter_context(_cluster(folder))] if kind == "cluster" else []
            runs[kind] = Run(kind, folder, more)
        todo = [("killed", given.only[i % len(given.only)]) for i in range(given.kills)]
        files = [kind for kind in ("nc", "zarr") if kind in runs]
        todo += [("disk full", files[i % len(files)]) for i in range(given.full if files else 0)]
        todo += [("three at once", files[i % len(files)]) for i in range(given.race if files else 0)]
        rng.shuffle(todo)
        end = time.monotonic() + given.seconds
        for how, kind in todo:
            if time.monotonic() < end:
                runs[kind].one(how, rng, counts[f"{kind}, {how}"])
    print(f"{'':22}" + "".join(f"{name:>12}" for name in COLUMNS))
    for name, found in counts.items():
        print(f"{name:22}" + "".join(f"{found[column]:12}" for column in COLUMNS), flush=True)
    return int(any(found["lost"] or found["differ"] or found["untidy"] for found in counts.values()))


class Run:
    """Runs of one kind: what they write, and how long it takes undisturbed."""

    def __init__(self, kind, folder, more):
        self.kind, self.folder = kind, folder / f"{kind}s"
        self.folder.mkdir()
        self.more, self.path = more, self.folder / f"x.{'nc' if kind == 'nc' else 'zarr'}"
        begun = time.monotonic()
        first = Command(self.arguments())
        assert first.wait() == 0, (kind, first.status, first.said())
        self.seconds = time.monotonic() - begun
        self.whole = self.found(first)
        print(f"{kind}: {self.seconds:.1f} s undisturbed", file=sys.stderr, flush=True)
        self.clean()

    def arguments(self, *more):
        if self.kind == "search":
            return ["best", GRID, "--by", "hardware", "--stream", "--format", "json"]
        return ["sweep", GRID, "-o", str(self.path), "--format", "json", "--quiet", *self.more, *more]

    def found(self, command):
        """What a run found: its output, or its answer."""
        if self.kind == "search":
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
            self.killed(rng, counts)

    def killed(self, rng, counts):
        """Killed at a random moment, and resumed."""
        command = Command(self.arguments())
        victim = command.pid
        if self.kind == "cluster" and rng.random() < 0.5:
            victim = rng.choice(_workers(self.more[-1]))
        command.wait(rng.uniform(0.0, 1.1) * self.seconds)
        with contextlib.suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)
        self.then(command.wait(), command, counts)

    def full(self, rng, counts):
        """With no room for files above a random size, and resumed."""
        largest = max(self.sizes)
        limit = int(1000 * (largest / 1000) ** rng.random())  # what is said goes into a file too
        command = Command(self.arguments(), limit)
        self.then(command.wait(), command, counts)

    @property
    def sizes(self):
        """Bytes of files that a run writes, about."""
        return [200_000] if self.kind == "nc" else [20_000]

    def then(self, status, command, counts):
        """Count how a run ended, and how the one ends that goes on."""
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
        if status != 0 and not (self.path.exists() and self.kind != "search"):
            command = Command(self.arguments(*(["--resume"] if self.kind != "search" else [])))
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


@contextlib.contextmanager
def _cluster(folder):
    """Address of a scheduler with two workers of one thread, which are started again when they are killed."""
    import distributed

    with distributed.LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        processes=True,
        dashboard_address=None,
        silence_logs=50,
        local_directory=str(folder),
    ) as cluster:
        yield cluster.scheduler_address


def _workers(address):
    """Process numbers of the workers."""
    import distributed

    with distributed.Client(address, set_as_default=False) as client:
        client.wait_for_workers(2, timeout=LIMIT_S)
        return list(client.run(os.getpid).values())


if __name__ == "__main__":
    sys.exit(main())
