"""Points of servers by compiled programs, piece by piece, on all cores of the process.

Points share what their requests do not decide: records of `rows`, each of which many points take. A program takes the
rows as they are, and of every point its row and its requests: a point's own copy of its tables would be kilobytes.
"""

import concurrent.futures
import contextvars
import math

import numpy as np

from ... import arrays, machine
from ...serving.instances.table import Rows
from ...specs import trees
from ..caches import remembered
from ..stages import jitted, precision

PIECE = 2**11  # points that a program takes at once: what it holds of them stays in a core's cache
COMPILED = 2**15  # points from which a program is compiled
SHARED = 2**13  # rows that are kept, at most
SIZES = (2**6, 2**9, PIECE, SHARED)  # numbers of rows that programs are compiled for


def split(ids):
    """Pieces of an array of indices."""
    return [ids[start : start + PIECE] for start in range(0, len(ids), PIECE)]


def each(function, parts, together):
    """`function` of every part, in order; where parts go `together`, on all cores, the first alone: it may compile."""
    parts = iter(parts)
    if not together or machine.cores() == 1:
        yield from map(function, parts)
        return
    for part in parts:
        yield function(part)
        break
    with concurrent.futures.ThreadPoolExecutor(machine.cores()) as pool:
        # A thread knows nothing of the blocks that its caller is in.
        tasks = [pool.submit(contextvars.copy_context().run, function, part) for part in parts]
        try:
            for task in tasks:
                yield task.result()
        finally:
            pool.shutdown(cancel_futures=True)


def shares(sizes):
    """Whether the rows of axes {name: length} are few enough to be held."""
    return math.prod(sizes.values()) <= SHARED


def shared(points):
    """A record of rows on the device, the last row repeated up to one of `SIZES`."""
    import jax

    n, device = len(points.asked), getattr(jax.config, "jax_default_device", None)
    size = next(size for size in SIZES if size >= n)
    with precision("float64"):
        whole = trees.mapped(lambda x: np.concatenate([x, np.repeat(x[-1:], size - n, 0)]), points)
        return trees.mapped(lambda x: jax.device_put(x, device), whole)


def run(program, whole, row, requests):
    """`program` of the points that have these rows of `whole`, at most `PIECE`, and these `requests`."""
    import jax

    n = len(row)
    row, requests = (trees.mapped(lambda x: np.resize(x, PIECE), x) for x in (row.astype(np.int32), requests))
    with precision("float64"), jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        found = jax.device_get(_jitted(program)(whole, row, requests))
    return {name: x[:n] for name, x in found.items()}


@remembered(64)
def _jitted(program):
    def of_rows(whole, row, requests):
        points = trees.mapped(lambda x: Rows(x, row) if x.ndim == 2 else arrays.take(x, row), whole)
        return program(_replaced(points, requests))

    return jitted(of_rows, emitters=True)


def _replaced(record, values):
    """A record with fields of it, and of records in it, replaced."""
    found = {k: _replaced(getattr(record, k), x) if isinstance(x, dict) else x for k, x in values.items()}
    return record._replace(**found)
