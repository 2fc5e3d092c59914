"""Slabs as tasks of `dask.distributed`: workers compile for themselves and write into the shared folder of the parts.

What travels is the path of the folder, the number of a slab, and what a worker has to agree to: the code of dsjax, and
the session of the process that asks, which stands in the folder. A worker that joins later is asked with each task. A
task that is lost with its worker is run again by the scheduler; a slab that is finished twice is written twice, with
the same bytes. What a worker finishes for a process that is gone counts until another one takes the folder.
"""

import functools
import hashlib
import os
import socket
from pathlib import Path

from .. import __version__
from ..errors import InputError
from ..options import option
from . import resume, scheduler, storage

PER_THREAD = 3  # tasks that wait at a worker, for each of its threads
RETRIES = 3
SOURCES = (".py", ".toml")  # of what a result depends on


@functools.cache
def digest():
    """Of the files of dsjax that decide results, as they were when this process first asked."""
    found, package = hashlib.sha256(), Path(__file__).parent.parent
    for path in sorted(path for path in package.rglob("*") if path.suffix in SOURCES):
        found.update(f"{path.relative_to(package).as_posix()}\0".encode() + path.read_bytes())
    return found.hexdigest()


def own():
    """(version, digest) of the dsjax of this process."""
    return __version__, digest()


def unlike(asked):
    """Why this process cannot work for one with another `own`; "" where they are the same."""
    version, files = asked
    if __version__ != version:
        return f"has dsjax {__version__}; expected {version}, as here"
    if digest() != files:
        return (
            f"its dsjax {version} has other files than the one here; expected the same, and a worker that was started "
            "after they were last changed"
        )
    return ""


def check(client, session=None):
    """Refuse workers that are not there, have another dsjax, or do not share the folder of a session, if there is one.

    One that does not answer is left to its scheduler, as long as another one does.
    """
    with scheduler.failures(client, "workers could not be asked", "expected a scheduler that goes on"):
        found = client.run(_seen, own(), session, on_error="return") if client.nthreads() else {}
    if not found:
        at = client.scheduler.address
        raise InputError(f"scheduler {at}: has no workers; expected at least one: dask worker {at} --nthreads 1")
    mute = [worker for worker, seen in found.items() if isinstance(seen, OSError)]
    for worker, seen in found.items():
        if worker in mute and len(mute) < len(found):
            continue
        if isinstance(seen, BaseException):
            reason = str(seen).split("\n")[0] or type(seen).__name__
            raise InputError(f"worker {worker}: dsjax cannot be used there ({reason}); expected dsjax {__version__}")
        host, trouble = seen
        if trouble:
            raise InputError(f"worker {worker} on {host}: {trouble}")


def _seen(asked, session):
    """What `check` asks a worker: its host, and why it cannot be used."""
    return socket.gethostname(), unlike(asked) or (session.trouble() if session else "")


def each(client, held, indices, advance):
    """{index: counts} of the slabs `indices` of the parts `held`, evaluated on the workers of a client.

    `advance(points)` is called after each.
    """
    session = held.session()
    check(client, session)
    indices, tasks, found = iter(indices), scheduler.Tasks(client), {}

    def submit():
        if (index := next(indices, None)) is not None:
            tasks.add(run, session, index, own(), retries=RETRIES)

    kept = f"what is finished is kept in {held.folder}: expected {option('resume', True)} to go on"
    with scheduler.failures(client, "a slab could not be evaluated", kept):
        for _ in range(max(1, sum(client.nthreads().values())) * PER_THREAD):
            submit()
        for index, counts in tasks.results():
            found[index] = counts
            advance(counts["points"])
            submit()
    return found


def run(session, index, asked):
    """A task: evaluate and write one slab; (index, its counts)."""
    return answer(asked, functools.partial(_slab, session, index))


def _slab(session, index):
    held, cut, dtype, names = resume.of_session(session)
    return index, storage.evaluate_slab(held, cut, dtype, names, index)


def answer(asked, task):
    """What a task finds, or the `InputError` of a worker that cannot do it, which names the worker.

    That is an answer, no failure: a task that fails is run again, maybe by the same worker. `asked`: `own` of who asks.
    """
    where = f"worker {scheduler.package().get_worker().address} on {socket.gethostname()}"
    if reason := unlike(asked):
        return InputError(f"{where}: {reason}")
    settle()
    try:
        return task()
    except resume.Unwritable as error:
        return error.at(where)
    except InputError as error:
        return InputError(f"{where}: {error}")


def settle():
    """Settings of the process of a worker, its own: a task changes them, and never the process that asks (but where
    a cluster without processes runs its tasks there).

    A worker uses as many cores as it has threads, each of which evaluates a slab of its own.
    """
    os.environ.setdefault("PJRT_NPROC", "1")
