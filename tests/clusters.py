"""Clusters of dask that are started by hand: a scheduler and workers, each a process of its own."""

import contextlib
import json
import subprocess
import sys
import time

import pytest

distributed = pytest.importorskip("distributed")

START_S = 180.0  # most that is waited for


@contextlib.contextmanager
def started(folder, name, *args, before=(), **how):
    """A process `python -m distributed.cli.<name>` that listens on 127.0.0.1 alone, and is gone after the block.

    `before`: words of a command that starts it in its own place.
    """
    command = [*before, sys.executable, "-m", f"distributed.cli.{name}", *args, "--host", "127.0.0.1", "--no-dashboard"]
    with open(folder / f"{name}-{time.monotonic_ns()}.log", "wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=folder, **how)
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


def waited_for_workers(address, number, processes, folder):
    """Wait until a scheduler knows so many workers."""
    with distributed.Client(address, timeout=START_S, set_as_default=False) as client:
        waited_for(lambda: len(client.nthreads()) == number, processes, folder)


def worker(folder, address, *options, **how):
    """A worker of one thread, see `started`."""
    options = ("--nthreads", "1", "--no-nanny", "--local-directory", str(folder), *options)
    return started(folder, "dask_worker", address, *options, **how)


@contextlib.contextmanager
def cluster(folder, workers=2, options=()):
    """(address of a scheduler on a free port, processes, its own first) with so many workers of one thread."""
    file = folder / "scheduler.json"

    def address():
        with contextlib.suppress(OSError, ValueError, KeyError):
            return json.loads(file.read_text("utf-8"))["address"]

    with contextlib.ExitStack() as stack:
        own = ("--port", "0", "--no-show", "--scheduler-file", str(file))
        processes = [stack.enter_context(started(folder, "dask_scheduler", *own))]
        at = waited_for(address, processes, folder)
        assert at.startswith("tcp://127.0.0.1:")
        processes += [stack.enter_context(worker(folder, at, *options)) for _ in range(workers)]
        waited_for_workers(at, workers, processes, folder)
        yield at, processes


def arrays_of(path):
    """{file of an array's values: bytes} of a store."""
    files = (p for p in path.rglob("*") if p.is_file() and p.name != "zarr.json")
    return {str(p.relative_to(path)): p.read_bytes() for p in files}
