"""Slabs as tasks of `dask.distributed`: workers compile for themselves and write into a shared Zarr store.

What travels is the path of the folder of parts and the number of a slab. A task that is lost with its worker is run
again by the scheduler; a slab that is finished twice is written twice, with the same bytes.
"""

import contextlib
import logging
import os
import re

from .. import __version__
from ..errors import InputError
from ..options import option
from . import resume, storage

PER_THREAD = 3  # tasks that wait at a worker, for each of its threads
TIMEOUT_S = 10.0
RETRIES = 3


@contextlib.contextmanager
def connected(address):
    """A `Client` of the scheduler at an address like tcp://host:8786."""
    distributed = package()
    if not re.fullmatch(r"\w+://\S+|\S+:\d+", address):
        raise InputError(f"--scheduler {address}: is no address; expected one like tcp://host:8786")
    try:
        client = distributed.Client(address, timeout=TIMEOUT_S, set_as_default=False)
    except (OSError, ValueError) as error:  # TimeoutError is an OSError
        reason = str(error).split("\n")[0][:200]
        raise InputError(
            f"--scheduler {address}: cannot be reached ({reason}); expected the address of a running dask scheduler, "
            "tcp://host:port"
        ) from None
    log = logging.getLogger("distributed.client")
    level = log.level
    log.setLevel(logging.CRITICAL)  # of a scheduler that is gone it prints tracebacks, beside the error that is raised
    try:
        with client:
            yield client
    finally:
        log.setLevel(level)


def package():
    """The package `distributed`."""
    try:
        import distributed
    except ImportError:
        raise InputError(
            "distributed: is not installed; expected the extra: pip install 'dsjax[distributed]'"
        ) from None
    return distributed


def check(client, folder=None):
    """Refuse workers that are not there, have another dsjax, or do not see the folder of the parts, if there is one."""
    workers = client.scheduler_info(n_workers=-1)["workers"]
    if not workers:
        raise InputError("scheduler: has no workers; expected at least one: dask worker tcp://host:port --nthreads 1")
    found = client.run(_seen, folder and str(folder), on_error="return")
    for worker, seen in found.items():
        if isinstance(seen, BaseException):
            raise InputError(f"worker {worker}: dsjax cannot be used there ({seen}); expected dsjax {__version__}")
        version, shared = seen
        if version != __version__:
            raise InputError(f"worker {worker}: has dsjax {version}; expected {__version__}, as here")
        if not shared:
            raise InputError(f"worker {worker}: does not see {folder}; expected a folder that all workers share")


def each(client, folder, indices, advance):
    """Evaluate the slabs `indices` on the workers of a client; `advance(points)` after every one."""
    distributed = package()
    check(client, folder)
    indices, threads = iter(indices), sum(client.nthreads().values())
    waiting = distributed.as_completed(with_results=True, loop=client.loop)

    def submit():
        for index in indices:
            if client.status != "running":  # of a task that is sent to nobody, nothing is heard any more
                raise distributed.CancelledError("the connection is lost")
            waiting.add(client.submit(run, str(folder), index, pure=False, retries=RETRIES))
            return

    with failures(
        "a slab could not be evaluated",
        f"; what is finished is kept in {folder}: expected {option('resume', True)} to go on",
    ):
        for _ in range(max(1, threads) * PER_THREAD):
            submit()
        for points in results_of(waiting):
            advance(points)
            submit()


@contextlib.contextmanager
def failures(what, then):
    """Tasks or a scheduler that fail inside end in an `InputError`: what could not be done, the reason, what then."""
    distributed = package()
    try:
        yield
    except (distributed.KilledWorker, distributed.CancelledError, OSError, RuntimeError) as error:
        raise InputError(f"scheduler: {what} ({str(error)[:200]}){then}") from None


def results_of(waiting):
    """Results of tasks in the order in which they end; a task that failed, or that its scheduler forgot, raises."""
    for _, result in waiting:
        if isinstance(result, BaseException):  # of a task that is cancelled, in place of a result
            raise result
        yield result


def run(folder, index):
    """A task: evaluate and write one slab; its number of points."""
    settle()
    held, cut, dtype, names = resume.of_folder(folder, resume.stamp_of(folder))
    return storage.evaluate_slab(held, cut, dtype, names, index)


def settle():
    """Settings of the process of a worker, its own: a task changes them, and never the process that asks (but where
    a cluster without processes runs its tasks there).

    A worker uses as many cores as it has threads, each of which evaluates a slab of its own.
    """
    os.environ.setdefault("PJRT_NPROC", "1")


def _seen(folder):
    return __version__, folder is None or os.path.exists(os.path.join(folder, resume.FINGERPRINT))
