"""A scheduler of `dask.distributed`: reached, listened to, lost.

What answers at an address is asked who it is before a client is made: a client waits for ever for a program that says
nothing, and believes any other. What dask logs of a scheduler or a worker that is gone stands in the one error too.
"""

import asyncio
import contextlib
import logging
import queue
import re
import threading
import time

from ..errors import InputError
from ..options import option

TIMEOUT_S = 10.0
POLL_S = 1.0  # between two looks at a scheduler from which nothing is heard
ALONE_S = 60.0  # that a scheduler may be without workers: some start again
RESULT_S = 30.0  # of fetching one result, before its scheduler is looked at
LOGS = ("distributed", "tornado", "asyncio")
LOST = "the connection is lost"


def package():
    """The package `distributed`."""
    try:
        import distributed
    except ImportError:
        raise InputError(
            "distributed: is not installed; expected the extra: pip install 'dsjax[distributed]'"
        ) from None
    return distributed


@contextlib.contextmanager
def connected(address):
    """A `Client` of the scheduler at an address like tcp://host:8786, in a process whose logs nobody else reads."""
    distributed = package()
    if not re.fullmatch(r"\w+://\S+|\S+:\d+", address):
        raise InputError(f"{option('client', address)}: is no address; expected one like tcp://host:8786")
    with _silent():
        try:
            kind = _within(TIMEOUT_S, _asked(distributed, address))
            client = distributed.Client(address, timeout=TIMEOUT_S, set_as_default=False) if not kind else None
        except Exception as error:  # another program may answer anything
            kind = f"cannot be reached ({_first_line(error)})"
        if kind:
            raise InputError(
                f"{option('client', address)}: {kind}; expected the address of a running dask scheduler, tcp://host:port"
            )
        try:
            yield client
        finally:
            with contextlib.suppress(Exception):  # of a scheduler that is gone, which was said
                client.close()


async def _asked(distributed, address):
    """What answers at an address, in words; "" of a scheduler."""
    secured = distributed.Security().get_connection_args("client")
    there = distributed.rpc(address, timeout=TIMEOUT_S, connection_args=secured)
    found = await there.identity()
    await there.close_rpc()
    kind = found.get("type") if isinstance(found, dict) else None
    return "" if kind == "Scheduler" else f"is a dask {str(kind).lower()}" if kind else "is another program"


def _within(seconds, asked):
    """The result of a coroutine, after so long at most: dask's end neither then nor when they are cancelled."""
    ended = queue.SimpleQueue()

    def run():
        try:
            loop = asyncio.new_event_loop()
            ended.put((loop.run_until_complete(asked), None))
            loop.close()
        except Exception as error:
            ended.put((None, error))

    threading.Thread(target=run, daemon=True).start()
    try:
        result, error = ended.get(timeout=seconds + POLL_S)
    except queue.Empty:
        raise TimeoutError from None
    if error is not None:
        raise error
    return result


def _first_line(error):
    if isinstance(error, TimeoutError) and not str(error):
        return f"no answer within {TIMEOUT_S:g} s"
    if isinstance(error, package().comm.CommClosedError):
        return "what answers closes the connection"
    if isinstance(error, MemoryError):  # of a message as long as the first bytes of another protocol say
        return "another program answers"
    return (str(error) or type(error).__name__).split("\n")[0][:150]


@contextlib.contextmanager
def _silent():
    """What dask and its event loop log, of the block, is dropped."""
    named = [n for n in logging.root.manager.loggerDict if n.split(".")[0] in LOGS]
    before = {log: log.level for log in map(logging.getLogger, {*LOGS, *named})}
    for log in before:
        log.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for log, level in before.items():
            log.setLevel(level)


@contextlib.contextmanager
def failures(client, what, then):
    """Tasks or a scheduler that fail inside end in an `InputError`: what could not be done, the reason, what then."""
    distributed = package()
    address = client.scheduler.address
    try:
        yield
    except InputError:
        raise
    except distributed.KilledWorker as error:
        reason = (
            f"{error.allowed_failures + 1} workers ended while they ran it, the last one {error.last_worker.address}"
        )
    except distributed.CancelledError:
        reason = LOST
    except TaskFailed as error:
        reason = str(error)
    except OSError as error:  # TimeoutError and dask's own of connections are
        reason = f"{LOST}: {_first_line(error)}" if str(error) else LOST
    else:
        return
    raise InputError(f"scheduler {address}: {what} ({reason[:200]}); {then}") from None


class TaskFailed(Exception):
    """A task ended in an error that is none of its input."""


class Tasks:
    """Tasks of a client, and their results in the order in which they end."""

    def __init__(self, client):
        self.client, self.ended, self.left = client, queue.SimpleQueue(), 0
        self.alone = None  # since when there are no workers

    def add(self, call, *args, **how):
        """One task more: `call(*args)` on some worker."""
        self.connection()
        self.left += 1
        self.client.submit(call, *args, pure=False, **how).add_done_callback(self.ended.put)

    def results(self):
        """Results one by one; one that is an error, a task that failed, and a scheduler that is lost, raise."""
        while self.left:
            try:
                future = self.ended.get(timeout=POLL_S)
            except queue.Empty:
                self.look()
                continue
            result = self.result_of(future)
            self.left -= 1
            if isinstance(result, BaseException):  # what a worker says of what it was given
                raise result
            yield result

    def result_of(self, future):
        """The result of a task that has ended; where it was lost with its worker, the task is run again."""
        while True:
            try:
                return future.result(timeout=RESULT_S)
            except Exception as error:
                if future.status == "error":  # the task's own, or none of its workers came to its end
                    if isinstance(error, (InputError, package().KilledWorker)):
                        raise
                    raise TaskFailed(f"{type(error).__name__}: {_first_line(error)}") from None
                if not isinstance(error, TimeoutError):
                    raise
            self.look()

    def look(self):
        """Look at a scheduler from which nothing is heard: an error where it is lost, or stays without workers."""
        self.connection()
        if self.client.nthreads():
            self.alone = None
        elif self.alone is None:
            self.alone = time.monotonic()
        elif time.monotonic() - self.alone > ALONE_S:
            raise TaskFailed(f"no worker is left, for {ALONE_S:g} s now")

    def connection(self):
        """Raise where the connection is lost: of a task that is sent to nobody, nothing is heard any more."""
        if self.client.status != "running":
            raise package().CancelledError(LOST)
