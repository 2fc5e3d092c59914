"""Stored results against their own `dsjax_spec`: evaluated again at a few points."""

import numpy as np

from .. import __version__, evaluation
from ..formats import label
from ..specs.variables import WORDED

POINTS = 3
MOST = 4096  # combinations of rows around the first
TOLERANCE = {"float64": 1e-8, "float32": 1e-4}  # of versions whose sums are in another order


def remark(results):
    """A sentence where results are not what their `dsjax_spec` gives: they were changed, or another version wrote them.

    "" where all stored values agree at up to POINTS points of the `Results` that are there, spread over the grid.
    """
    if not (found := difference(results)):
        return ""
    version = results.ds.attrs.get("dsjax_version", "")
    why = "it was changed" if version == __version__ else f"dsjax {version} wrote it, or it was changed"
    return f"{results.where}: {found}: {why}"


def difference(results):
    """The first stored value that differs from what the `dsjax_spec` gives, in words; "" where none does.

    Around the first point all rows are looked at, every chip with every link and precision, in hardly more time.
    """
    space = results.space
    if not space.axes:
        return ""
    tolerance = TOLERANCE.get(results.dtype, 1e-4)
    for i, point in enumerate(_points(results)):
        rows = {} if i else _rows(space)
        one = space.with_axes({axis: space.axes[axis] if axis in rows else (x,) for axis, x in point.items()})
        place = tuple(slice(None) if axis in rows else space.axes[axis].index(x) for axis, x in point.items())
        names = [name for name in evaluation.variables(one) if _is_stored(results, name)]
        for name, (dims, array) in evaluation.evaluate(one, "float64", names).items():
            now = _over(space.axes, dims, array)[tuple(x if isinstance(x, slice) else 0 for x in place)]
            then = _at(results, name, place)
            wrong = ~_same(now, then, tolerance) & _there(results, place)
            if wrong.any():
                return _told(name, point, rows, wrong, then, now)
    return ""


def _told(name, point, rows, wrong, then, now):
    """The first difference of a variable, in words."""
    index = tuple(int(i) for i in np.argwhere(wrong)[0])
    labels = dict(zip(rows, index, strict=True))
    point = {axis: rows[axis][labels[axis]] if axis in rows else x for axis, x in point.items()}
    where = ", ".join(f"{axis} {label(value)}" for axis, value in point.items())
    words, both = WORDED.get(name), (float(np.broadcast_to(x, wrong.shape)[index]) for x in (then, now))
    then, now = (f"{x:.6g}" if words is None else words[int(x)] for x in both)
    return f"{name} at {where} is {then}, and {now} by its dsjax_spec"


def _rows(space):
    """{axis: labels} of the axes of rows, as many as make no more than MOST points together."""
    found, n = {}, 1
    for axis, labels in space.axes.items():
        if axis in space.study.kinds and n * len(labels) <= MOST:
            found[axis], n = labels, n * len(labels)
    return found


def _is_stored(results, name):
    """Whether numbers of a variable are there, over axes alone."""
    variable = results.ds.data_vars.get(name)
    return variable is not None and set(variable.dims) <= results.space.axes.keys() and variable.dtype.kind in "fiub"


def _over(axes, dims, array):
    """An array with every axis among its dims, in their order."""
    found = np.transpose(array, [dims.index(axis) for axis in axes if axis in dims])
    return found[tuple(slice(None) if axis in dims else np.newaxis for axis in axes)]


def _at(results, name, place):
    """Stored numbers at a place of the grid: what does not vary along an axis is the same all along it."""
    variable = results.ds.variables[name]
    return _whole(_over(results.space.axes, variable.dims, variable.values), place).astype(float)


def _there(results, place):
    """Which of the points at a place are there."""
    return np.True_ if results.there is None else _whole(results.there, place)


def _whole(array, place):
    """An array at a place; along what it does not vary, its only value."""
    one = (x if isinstance(x, slice) else min(x, n - 1) for x, n in zip(place, array.shape, strict=True))
    return array[tuple(one)]


def _same(now, then, tolerance):
    with np.errstate(invalid="ignore"):  # infinity less infinity
        near = np.abs(now - then) <= tolerance * np.maximum(np.abs(now), np.abs(then))
    return (np.isnan(now) & np.isnan(then)) | (now == then) | near


def _points(results):
    """Points {axis: value} that are there, the same ones of a grid each time."""
    space, there = results.space, results.there
    flat = np.flatnonzero(np.broadcast_to(there, results.shape)) if there is not None else None
    n = space.points if flat is None else len(flat)
    chosen = np.random.default_rng(n).choice(n, min(POINTS, n), replace=False)
    policies = {}  # another choice is another trace, which takes longer than all points of one
    for index in chosen if flat is None else flat[chosen]:
        place = np.unravel_index(int(index), results.shape)
        point = {axis: values[int(i)] for (axis, values), i in zip(space.axes.items(), place, strict=True)}
        policies = policies or {axis: x for axis, x in point.items() if axis in space.study.policies}
        yield point | policies if flat is None else point
