"""Whether the best points of a space stand at the end of an axis beyond which a better one is."""

import contextlib
import itertools
import math
from typing import NamedTuple

import numpy as np

from .. import evaluation
from ..errors import InputError
from ..formats import label
from ..options import entry
from ..space.space import numeric_axes
from ..units import number

LONGEST = 10_000  # values of an axis that are looked at
POINTS = 40  # of a table that are looked at
MOST = 20_000  # points of one evaluation
LEAST = 1e-3  # gain that is worth a mark
MORE, FEWER = "+", "-"


class End(NamedTuple):
    """The end of an axis: the value that points have there, and the one beyond it that is better for some of them."""

    axis: str
    value: float
    beyond: float
    gain: float  # the most that it is worth to one of the points, as a share

    @property
    def mark(self):
        return MORE if self.beyond > self.value else FEWER

    def sentence(self, space):
        """Where the points are, and the option that asks for more."""
        named = sorted({*space.axes[self.axis], self.beyond})
        steps = {round(b - a, 9) for a, b in itertools.pairwise(named)}
        texts = [label(named[0]), label(named[-1]), label(steps.pop())] if len(steps) == 1 < len(named) - 1 else None
        values = ":".join(texts) if texts else ",".join(map(label, named))
        better = f"{label(self.beyond)} would be up to {100 * self.gain:.1f} % better"
        return (
            f"{self.mark} at the end of {self.axis}: {label(self.value)}; {better}: {entry('axes', self.axis, values)}"
        )


def ends(space, ranked, by=(), objective=None, dtype="float64"):
    """{place of a ranked point: [`End`]} of the axes of a layout and its load, apart from those of the groups `by`.

    Beyond an end are the next step, the next power of two, and twice or half the value; one of them counts where the
    point with it alone changed is feasible and better.
    """
    name, sense = _objective(space, objective)
    numeric, found = numeric_axes(space.study), {}
    n = min(ranked.sizes["rank"], POINTS)
    columns = {axis: np.broadcast_to(ranked[axis].values, ranked.sizes["rank"])[:n].tolist() for axis in space.axes}
    points = [{axis: column[i] for axis, column in columns.items()} for i in range(n)]
    for axis in space.axes:
        if axis not in space.study.deployment or axis in by or not 1 < space.sizes[axis] <= LONGEST:
            continue
        values = sorted(space.axes[axis])
        beyond = {values[0]: _valid(space, numeric, axis, _before(values))}
        beyond |= {values[-1]: _valid(space, numeric, axis, _beyond(values))}
        at = [i for i in range(n) if beyond.get(points[i][axis])]
        tried = tuple(dict.fromkeys(x for end, others in beyond.items() for x in (end, *others)))
        gains_of = _gains(space, [points[i] for i in at], axis, tried, name, sense, dtype) if at else ()
        for i, gains in zip(at, gains_of, strict=True):
            end = points[i][axis]
            gain, value = max((gains[x], x) for x in beyond[end])
            if gain > LEAST:
                found.setdefault(i, []).append(End(axis, end, value, gain))
    return found


def sentences(space, found):
    """One sentence for each end of an axis at which there are points, about the one that would gain most."""
    of: dict = {}
    for end in (end for several in found.values() for end in several):
        known = of.setdefault((end.axis, end.mark), end)
        of[end.axis, end.mark] = max(known, end, key=lambda x: x.gain)
    return [end.sentence(space) for end in of.values()]


def _objective(space, objective):
    if objective is None:
        return space.objective, space.sense
    return objective.removeprefix("-"), -1 if objective.startswith("-") else 1


def _beyond(values):
    step, most = values[-1] - values[-2], values[-1]
    power = 2 ** (math.floor(math.log2(most)) + 1) if most > 0 else 1
    return dict.fromkeys((most + step, type(most)(power), 2 * most))


def _before(values):
    step, least = values[1] - values[0], values[0]
    power = 2 ** (math.ceil(math.log2(least)) - 1) if least > 1 else 0
    return dict.fromkeys((least - step, type(least)(power), least // 2 if isinstance(least, int) else least / 2))


def _valid(space, numeric, axis, values):
    """Those of `values` that an axis takes and has not."""
    accepted = space.study.data["accepts"].get(axis)
    good = []
    for value in values:
        with contextlib.suppress(InputError):
            number(axis, value, numeric[axis])
            good += [value] if value not in space.axes[axis] and (not accepted or value in accepted) else []
    return tuple(good)


def _gains(space, points, axis, values, name, sense, dtype):
    """[{value: gain over that of the point, -inf where it is not feasible}] of points, in one evaluation.

    All combinations of the values that the points have are evaluated: these are few where the points are the best.
    """
    axes = {other: tuple(dict.fromkeys(point[other] for point in points)) for other in space.axes} | {axis: values}
    if math.prod(map(len, axes.values())) > MOST:
        half = len(points) // 2
        parts = (points[:half], points[half:]) if half else ()
        return [gain for part in parts for gain in _gains(space, part, axis, values, name, sense, dtype)]
    found = evaluation.evaluate(space.with_axes(axes), dtype, (name, "feasible"))

    def along(key, point):
        dims, array = found[key]
        at = tuple(slice(None) if dim == axis else axes[dim].index(point[dim]) for dim in dims)
        return np.broadcast_to(np.asarray(array)[at], len(values))

    gains = []
    for point in points:
        of, ok = along(name, point), along("feasible", point)
        gain = sense * (of / of[values.index(point[axis])] - 1.0)
        gains.append(dict(zip(values, np.where(ok & ~np.isnan(gain), gain, -math.inf).tolist(), strict=True)))
    return gains
