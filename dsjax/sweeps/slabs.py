"""Slabs of a space: pieces of one shape along its outermost axes, evaluated one after the other.

One program serves all slabs, memory beyond the results is that of a few of them, and every slab can be written, or
computed elsewhere, on its own.
"""

import concurrent.futures
import contextlib
import contextvars
import dataclasses
import functools
import math
import threading

import numpy as np

from .. import evaluation
from ..errors import InputError
from ..options import option
from ..results import dataset
from ..space.space import Space

POINTS = 2**20  # of one slab, about
WORKING = 3  # memory while a slab is evaluated, in sizes of its results: intermediates, and the copy that is kept
AHEAD = 2  # slabs at a time: one is copied or written while the next one is evaluated


@dataclasses.dataclass(frozen=True)
class Slabs:
    """The slabs of a space: windows along its cut axes, numbered in the order of the grid.

    Every slab is evaluated in one shape. Where the length of a window does not divide its axis, the last one is
    evaluated further back, and what it shares with the one before is left out.
    """

    space: Space
    cuts: tuple  # ((axis, length of a window), ...), outermost first

    @functools.cached_property
    def counts(self):
        """Windows along every cut axis."""
        return tuple(math.ceil(self.space.sizes[axis] / length) for axis, length in self.cuts)

    @property
    def number(self):
        """Number of slabs."""
        return math.prod(self.counts)

    @functools.cached_property
    def sizes(self):
        """{axis: length} of one evaluated slab."""
        return self.space.sizes | dict(self.cuts)

    @property
    def points(self):
        """Points of one evaluated slab."""
        return math.prod(self.sizes.values())

    def window(self, index):
        """{cut axis: slice of the space} of slab `index`."""
        at = np.unravel_index(index, self.counts)
        sizes = self.space.sizes
        return {axis: slice(int(i) * n, min((int(i) + 1) * n, sizes[axis])) for (axis, n), i in zip(self.cuts, at)}

    def piece(self, index):
        """The space of slab `index`, in the shape that all slabs have."""
        axes = dict(self.space.axes)
        for axis, window in self.window(index).items():
            last = min(window.start + self.sizes[axis], len(axes[axis]))
            axes[axis] = axes[axis][last - self.sizes[axis] : last]
        return self.space.with_axes(axes)

    def axes_of(self, index):
        """{axis: values} of the points that slab `index` adds."""
        window = self.window(index)
        return {axis: values[window.get(axis, slice(None))] for axis, values in self.space.axes.items()}

    def points_of(self, index):
        """Number of points that slab `index` adds."""
        return math.prod(map(len, self.axes_of(index).values()))

    @functools.cached_property
    def coordinates(self):
        """Names of the coordinates of the dataset."""
        one = {axis: values[:1] for axis, values in self.space.axes.items()}
        return frozenset(dataset.coordinates(self.space.with_axes(one)))

    def trimmed(self, index, arrays):
        """{variable: (dims, array)} of the piece of slab `index` without what belongs to the slab before."""
        own = {axis: slice(part.start - part.stop, None) for axis, part in self.window(index).items()}
        return {n: (dims, array[tuple(own.get(a, slice(None)) for a in dims)]) for n, (dims, array) in arrays.items()}

    def placed(self, index, arrays):
        """{variable: (place in the whole array, values)} of trimmed arrays: what slab `index` adds."""
        places = self.places(index, {name: dims for name, (dims, _) in arrays.items()})
        return {name: (place, arrays[name][1]) for name, place in places.items()}

    def places(self, index, dims_of):
        """{variable: its part of the whole array} of the variables {name: dims} that slab `index` adds to.

        A variable that lacks a cut axis is there in the first slab along that axis only.
        """
        window = self.window(index)
        return {
            name: tuple(window.get(axis, slice(None)) for axis in dims)
            for name, dims in dims_of.items()
            if all(axis in dims or part.start == 0 for axis, part in window.items())
        }


def cut(space, most=POINTS):
    """`Slabs` of about `most` points.

    Axes of labels that choose a function (pipeline, phase, curve) stay whole: another choice is another program.
    """
    whole = {*space.study.policies, "curve"}
    cuts, left = [], space.points
    for axis, n in space.sizes.items():
        if left <= most:
            break
        if axis not in whole and n > 1:
            rest = left // n
            windows = math.ceil(n / max(1, most // rest))
            cuts.append((axis, math.ceil(n / windows)))
            left = rest * cuts[-1][1]
    return Slabs(space, tuple(cuts))


def names_of(space, dtype, blocks):
    """Names that `evaluate` gives for a space, with or without the times of the blocks."""
    return tuple(name for name in evaluation.nbytes(space, dtype) if blocks or not name.startswith("block_time/"))


def nbytes(space, dtype, names):
    """Bytes of the results of a space, blocks stacked."""
    sizes = evaluation.nbytes(space, dtype)
    stacked = [name for name in names if name.startswith("block_time/")]
    return sum(sizes[name] for name in names if name not in stacked) + (
        len(stacked) * space.points * np.dtype(dtype).itemsize
    )


def within(space, dtype, names, room, most=POINTS):
    """`Slabs` that are evaluated within `room` bytes; where not even the smallest fit it is an InputError."""
    while True:
        slabs = cut(space, most)
        needed = AHEAD * WORKING * nbytes(slabs.piece(0), dtype, names)
        if needed <= room:
            return slabs
        smaller = slabs.points // 2
        if smaller < 1 or cut(space, smaller).points == slabs.points:
            raise InputError(
                f"memory: one slab of {slabs.points:,} points takes {needed / 1e6:,.1f} MB and {room / 1e6:,.1f} MB is "
                f"left for it; expected a larger {option('max_memory')}"
            )
        most = smaller


def evaluated(slabs, index, dtype, names):
    """{variable: (dims, array)} of `evaluate` at the points of slab `index`, bit for bit in any order of slabs.

    All slabs of a space are answered by one evaluator, chosen by their sizes alone.
    """
    piece = slabs.piece(index)
    compiled = evaluation.pays(piece, dtype, names, slabs.number) if slabs.number > 1 else None
    return slabs.trimmed(index, evaluation.evaluate(piece, dtype, names, compiled=compiled))


def arrays_of(slabs, dtype, names, advance=None, devices=()):
    """{variable: (dims, array)} of `evaluate` over the whole space, computed slab by slab.

    `advance(points)` is called after every slab; `devices`: JAX devices that take turns.
    """
    over, sizes = evaluation.variables(slabs.space, dtype), slabs.space.sizes
    arrays = {name: (over[name][0], np.empty([sizes[a] for a in over[name][0]], over[name][1])) for name in names}

    def fill(index):
        for name, (place, values) in slabs.placed(index, evaluated(slabs, index, dtype, names)).items():
            arrays[name][1][place] = values
        if advance:
            advance(slabs.points_of(index))

    each(fill, range(slabs.number), devices)
    return arrays


def each(function, indices, devices=()):
    """`function(index)` for every slab, a few at a time; the first one alone, because it may compile.

    `devices`: JAX devices that take turns. An error, or an interrupt, stops the rest: what other threads have begun
    is finished, and nothing is begun after it.
    """
    devices = tuple(devices) or (None,)
    stopped = threading.Event()

    def run(index, context=None):
        if context is not None:  # a thread knows nothing of the blocks that its caller is in
            context.run(run, index)
            return
        if stopped.is_set():
            return
        device = devices[index % len(devices)]
        try:
            with contextlib.nullcontext() if device is None else _on(device):
                function(index)
        except BaseException:
            stopped.set()
            raise

    indices = iter(indices)
    with concurrent.futures.ThreadPoolExecutor(max(AHEAD, len(devices))) as pool:
        try:
            for index in indices:
                run(index)
                break
            indices = list(indices)
            for _ in pool.map(run, indices, [contextvars.copy_context() for _ in indices]):
                pass
        except BaseException:
            stopped.set()
            pool.shutdown(cancel_futures=True)
            raise


def _on(device):
    import jax

    return jax.default_device(device)


def template(slabs, dtype, names):
    """{variable of the dataset: (dims, shape, dtype, attributes)} of the whole space, without evaluating it."""
    space = slabs.space
    over = evaluation.variables(space, dtype)
    one = dataclasses.replace(space, axes={axis: values[:1] for axis, values in space.axes.items()})
    empty = {name: (over[name][0], np.empty([1] * len(over[name][0]), over[name][1])) for name in names}
    return {
        name: (dims, tuple(space.sizes.get(axis, n) for axis, n in zip(dims, array.shape)), array.dtype, attrs)
        for name, (dims, array, attrs) in dataset.variables(one, empty, slabs.coordinates).items()
    }


def local_devices(number):
    """The first `number` devices of this machine: GPUs where JAX has them, else parts of the CPU.

    How many parts a CPU has is a setting of the process, which is not changed here.
    """
    if isinstance(number, bool) or not isinstance(number, int) or number < 1:
        raise InputError(f"devices: {number!r}; expected a positive integer")
    import jax

    found = jax.local_devices()
    if len(found) < number:
        kind = found[0].platform
        advice = f", or JAX_NUM_CPU_DEVICES={number} in the environment before JAX starts" if kind == "cpu" else ""
        raise InputError(
            f"devices: {number} wanted and {len(found)} of kind {kind} there; expected at most as many{advice}"
        )
    return found[:number]


def header(cut, names, command):
    """Dataset of the whole space without its variables: coordinates and attributes."""
    ds = dataset.to_dataset(cut.space, {}, command)
    return ds.assign_coords(dataset.block_coordinates(cut.space, names))
