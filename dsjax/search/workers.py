"""Streamed search as tasks of `dask.distributed`: cells of slabs come back."""

import functools
import math
import weakref

from .. import machine
from ..space import restoring
from ..sweeps import scheduler
from ..sweeps.workers import RETRIES, answer, check, own
from . import cells

TASKS = 16  # of a search, for each thread of a worker
_checked: weakref.WeakSet = weakref.WeakSet()  # clients: a search asks for many things, and its tasks ask too


def runner(client):
    """`searched` with the workers of `client`; None where `client` is None."""
    return None if client is None else functools.partial(searched, client)


def searched(client, space, layout, what, dtype, corners):
    """(place, values) pairs of `cells.slab_of` at all `corners`, looked at by the workers of a client.

    A worker looks at some slabs at a time and sends back their cells alone.
    """
    if client not in _checked:
        check(client)
        _checked.add(client)
    tasks = scheduler.Tasks(client)
    with scheduler.failures(
        client, "slabs could not be searched", "expected the same command again, once workers go on"
    ):
        most = math.ceil(len(corners) / (TASKS * max(1, sum(client.nthreads().values()))))
        # A task of its own: what is large among the arguments of a task is sent with each.
        text = client.submit(str, space.to_json(), pure=False, retries=RETRIES)
        for i in range(0, len(corners), most):
            tasks.add(search, corners[i : i + most], text, layout, what, dtype, own(), retries=RETRIES)
        for found in tasks.results():
            yield from found


def search(corners, text, layout, what, dtype, asked):
    """A task: what the cells of some slabs hold."""
    return answer(asked, functools.partial(_cells, corners, text, layout, what, dtype))


def _cells(corners, text, layout, what, dtype):
    machine.keep_pages()
    run = cells.slab_of(restoring.space(text), layout, what, dtype)
    return [pair for corner in corners for pair in run(corner)]
