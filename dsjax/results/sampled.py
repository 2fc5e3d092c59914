"""Stored results against their own `dsjax_spec`: evaluated again at a few points."""

import numpy as np

from .. import __version__, evaluation
from ..formats import label
from ..specs.variables import WORDED

POINTS = 3
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
    """The first stored value that differs from what the `dsjax_spec` gives, in words; "" where none does."""
    space = results.space
    if not space.axes:
        return ""
    tolerance = TOLERANCE.get(results.dtype, 1e-4)
    for point in _points(results):
        one = space.with_axes({axis: (value,) for axis, value in point.items()})
        stored = _at(results, point)
        names = [name for name in evaluation.variables(one) if name in stored]
        for name, (_, array) in evaluation.evaluate(one, "float64", names).items():
            now, then = float(np.ravel(array)[0]), stored[name]
            if not _same(now, then, tolerance):
                where = ", ".join(f"{axis} {label(value)}" for axis, value in point.items())
                words = WORDED.get(name)
                then, now = (f"{x:.6g}" if words is None else words[int(x)] for x in (then, now))
                return f"{name} at {where} is {then}, and {now} by its dsjax_spec"
    return ""


def _same(now, then, tolerance):
    return (now != now and then != then) or now == then or abs(now - then) <= tolerance * max(abs(now), abs(then))


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


def _at(results, point):
    """{variable: its stored value} at a point, of what is over axes alone."""
    place = {axis: results.space.axes[axis].index(value) for axis, value in point.items()}
    found = {}
    for name, variable in results.ds.data_vars.items():
        if set(variable.dims) <= place.keys() and variable.dtype.kind in "fiub":
            found[name] = float(variable.variable.values[tuple(place[axis] for axis in variable.dims)])
    return found
