"""Upper bounds of a variable in the cells of a grid that is never held: the first pass of a streamed search.

A cell is a block of points along the innermost axes. `evaluation.reduction` gives, slab by slab, the largest value of
a variable among the feasible points of every cell, off by rounding; it is raised by that much, and so is an upper
bound of what the second pass finds.
"""

import concurrent.futures
import dataclasses
import functools
import itertools
import math

import numpy as np

from .. import advance, arrays, evaluation, machine
from ..formulas.point import of_step
from ..specs import trees

# Bytes of a value at every point of a slab, at most: the C library gives larger buffers back to the system after each
# use, and touching fresh pages again takes longer than the arithmetic.
SLAB = 2**24
CELL = 2**13  # points of one cell, at least, where the axes allow
CELLS = 2**22  # of one grid, at most about; cells of a larger grid have more points
ROUNDING = {"float64": 1e-12, "float32": 1e-5}  # relative error of a reassociated sum and its bound
WINDOWS = 16  # by which a slab is longer than a window of a long axis, where the other axes allow


@dataclasses.dataclass(frozen=True)
class Layout:
    """Axes with an entry per cell, axes within a cell, and the size of a slab."""

    policies: tuple  # axes of labels that choose a function
    kept: tuple  # axes with an entry per cell, in the order of the grid
    inner: tuple  # axes of a cell, the longest last
    sizes: tuple  # ((axis, length), ...) of one slab
    long: str = ""  # an axis too long for a cell: both of them, kept by its windows, of one slab each, and inner

    def length(self, axis):
        """Points of one entry of a kept axis along it."""
        return dict(self.sizes)[axis] if axis == self.long else 1

    def shape(self, sizes):
        """Lengths of (policies, kept) of a space with axes of these `sizes`."""
        return tuple(math.ceil(sizes[axis] / self.length(axis)) for axis in (*self.policies, *self.kept))


@functools.lru_cache(maxsize=32)
def function_of(name, sign, relaxation):
    """Scalar function of a point: `sign` x the variable, larger is better, and whether the point is feasible.

    `ok` is the conjunction of all masks, the grid's own bounds relaxed by `relaxation`, so that rounding refuses
    nothing that is feasible.
    """

    def searched(step, point, bounds, **policies):
        wider = {key: trees.mapped(functools.partial(_wider, key), bound) for key, bound in bounds.items()}
        values = of_step(step(point, **policies), point, wider)
        return {"value": sign * values[name], "ok": values["feasible"]}

    def _wider(key, bound):
        return bound + (-1.0 if key.startswith("min") else 1.0) * relaxation * arrays.absolute(bound)

    return searched


def layout_of(space, by=(), dtype="float32"):
    """`Layout` of a space whose axes in `by` keep an entry per cell."""
    policies = tuple(axis for axis in (*space.study.policies, "curve") if axis in space.axes)
    lifted = [axis for axis in space.axes if axis not in policies]
    most = SLAB // np.dtype(dtype).itemsize // math.prod(space.sizes[axis] for axis in policies)
    inner, points, long, least = [], 1, "", max(CELL, space.points // CELLS)
    sizes = dict(space.sizes)
    room = max(most // WINDOWS, least)  # of a cell: a slab has several, which share what depends on few axes
    for axis in sorted((axis for axis in lifted if axis not in by), key=lambda axis: -space.sizes[axis]):
        if points >= least or long:
            break
        if points * sizes[axis] > room:
            long, sizes[axis] = axis, window(sizes[axis], max(1, room // points))
        inner.append(axis)
        points *= sizes[axis]
    kept = tuple(axis for axis in lifted if axis not in inner or axis == long)
    cut, room = {axis: sizes[axis] for axis in reversed(inner)}, max(1, most // points)
    # What does not depend on an axis is computed once in a slab: the axes that the fewest equations see go in first.
    seen = evaluation.equations_along(space, dtype)
    for axis in sorted((axis for axis in reversed(kept) if axis != long), key=lambda axis: seen[axis]):
        cut[axis] = max(n for n in range(1, min(room, sizes[axis]) + 1) if sizes[axis] % n == 0)
        room //= cut[axis]
    return Layout(policies, kept, tuple(reversed(inner)), tuple(cut.items()), long)


def window(n, most):
    """Length of the windows along a long axis: up to `most`, one that divides it where there is one near."""
    return next((length for length in range(most, most // 4, -1) if n % length == 0), most)


@functools.lru_cache(maxsize=64)
def mask_of(name):
    """Scalar function of a point: whether the constraint `ok_<name>` holds, or all of them ("feasible")."""

    def masked(step, point, bounds, **policies):
        return {"value": of_step(step(point, **policies), point, bounds)[name]}

    return masked


def largest(space, layout, name, sign, dtype="float32", searched=None):
    """Array over (policies, kept): the most that `sign` x the variable reaches in a cell, -inf where none is feasible.

    Every entry is at least the value, as `evaluate` gives it, of any feasible point of its cell. `searched`: function
    (space, layout, what, dtype, corners) -> pairs of `slab_of`, which looks at the slabs elsewhere.
    """
    found = _reduced(space, layout, (function_of, name, sign, ROUNDING[dtype]), dtype, np.dtype(dtype), searched)
    return found + ROUNDING[dtype] * np.abs(found, where=np.isfinite(found), out=np.zeros_like(found))


def count(space, layout, name, dtype="float32", searched=None):
    """Points at which the mask `name` holds; `searched` as in `largest`."""
    return int(_reduced(space, layout, (mask_of, name), dtype, np.dtype(np.int64), searched).sum())


def _reduced(space, layout, what, dtype, kind, searched):
    """Array over (policies, kept) of what `evaluation.reduction` makes of every cell.

    `what`: maker of the function, its arguments.
    """
    found, sizes = np.empty(layout.shape(space.sizes), kind), dict(layout.sizes)
    corners = itertools.product(*(range(0, space.sizes[axis], sizes[axis]) for axis in layout.kept))
    number = math.prod(math.ceil(space.sizes[axis] / sizes[axis]) for axis in layout.kept)
    if searched is not None:
        pairs = number * math.prod(space.sizes[axis] for axis in layout.policies)
        for place, values in advance.of(searched(space, layout, what, dtype, list(corners)), pairs):
            found[place] = values
        return found
    run = slab_of(space, layout, what, dtype)

    def slab(corner):
        for place, values in run(corner):
            found[place] = values

    # Every thread runs one slab at a time: compiled programs release the GIL.
    with concurrent.futures.ThreadPoolExecutor(max_workers=machine.cores()) as pool:
        slab(next(corners))  # compiles
        for _ in advance.of(pool.map(slab, corners), number):
            pass
    return found


def slab_of(space, layout, what, dtype):
    """Function of a corner, the first indices along the kept axes -> [(place among all cells, their values), ...]."""
    maker, *arguments = what
    sizes = dict(layout.sizes)
    kept = [axis for axis in layout.kept if axis != layout.long]
    run = evaluation.reduction(space, maker(*arguments), sizes, kept, layout.inner, dtype)

    def slab(corner):
        window = {axis: slice(i, i + sizes[axis]) for axis, i in zip(layout.kept, corner, strict=True)}
        place = [w.start // sizes[axis] if axis == layout.long else w for axis, w in window.items()]
        return [((*picks, *place), cells) for picks, cells in run(window)]

    return slab
