"""Streamed search as tasks of `dask.distributed`: cells of slabs come back."""

import functools
import math

from .. import machine
from ..space import restoring
from ..sweeps.workers import RETRIES, check, failures, package, results_of, settle
from . import cells

TASKS = 16  # of a search, for each thread of a worker


def runner(client):
    """`searched` with the workers of `client`; None where `client` is None."""
    return None if client is None else functools.partial(searched, client)


def searched(client, space, layout, what, dtype, corners):
    """(place, values) pairs of `cells.slab_of` at all `corners`, looked at by the workers of a client.

    A worker looks at some slabs at a time and sends back their cells alone.
    """
    distributed = package()
    check(client)
    most = math.ceil(len(corners) / (TASKS * max(1, sum(client.nthreads().values()))))
    some = [corners[i : i + most] for i in range(0, len(corners), most)]
    # A task of its own: what is large among the arguments of `map` is a task that the scheduler knows as "text", as
    # it knows that of any other search.
    text = client.submit(str, space.to_json(), pure=False, retries=RETRIES)
    tasks = client.map(search, some, text=text, layout=layout, what=what, dtype=dtype, pure=False, retries=RETRIES)
    with failures("slabs could not be searched", "; expected workers with the memory of a process"):
        for found in results_of(distributed.as_completed(tasks, with_results=True, loop=client.loop)):
            yield from found


def search(corners, text, layout, what, dtype):
    """A task: what the cells of some slabs hold."""
    settle()
    machine.keep_pages()
    run = cells.slab_of(restoring.space(text), layout, what, dtype)
    return [pair for corner in corners for pair in run(corner)]
