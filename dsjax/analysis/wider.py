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

    def sentence(self, values):
        """Where the points are of an axis of these values, and the option that asks for more."""
        named = sorted({*values, self.beyond})
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
    found: dict = {}
    n = min(ranked.sizes["rank"], POINTS)
    columns = {axis: np.broadcast_to(ranked[axis].values, ranked.sizes["rank"])[:n].tolist() for axis in space.axes}
    points = [{axis: column[i] for axis, column in columns.items()} for i in range(n)]
    asked = []  # (place of a point, axis, its value, one beyond)
    for axis in space.axes:
        if axis not in space.study.deployment or axis in by or not 1 < space.sizes[axis] <= LONGEST:
            continue
        of_ends = beyond(space, axis)
        asked += [(i, axis, end, x) for i in range(n) for end in [points[i][axis]] for x in of_ends.get(end, ())]
    if not asked:
        return {}
    tried = [points[i] | {axis: x} for i, axis, _, x in asked]
    at = evaluation.at(space, points + tried, (name, "feasible"), dtype)
    of, ok = at[name][n:], at["feasible"][n:]
    with np.errstate(divide="ignore", invalid="ignore"):  # of a best that is 0 nothing is a share
        gains = sense * (of / at[name][[i for i, *_ in asked]] - 1.0)
    best: dict = {}
    gains = np.where(ok & np.isfinite(gains), gains, -math.inf).tolist()
    for (i, axis, end, x), gain in zip(asked, gains, strict=True):
        best[i, axis] = max(best.get((i, axis), (-math.inf,)), (gain, x, end))
    for (i, axis), (gain, x, end) in best.items():
        if gain > LEAST:
            found.setdefault(i, []).append(End(axis, end, x, gain))
    return found


def beyond(space, axis):
    """{the first, or the last, value of a numeric axis: values beyond it that a better point may have}."""
    values, numeric = sorted(space.axes[axis]), numeric_axes(space.study)[axis]
    ends = {values[0]: _before(values), values[-1]: _beyond(values)}
    return {end: _valid(space, numeric, axis, of) for end, of in ends.items()}


def sentences(space, found):
    """One sentence for each end of an axis at which there are points, about the one that would gain most."""
    of: dict = {}
    for end in (end for several in found.values() for end in several):
        known = of.setdefault((end.axis, end.mark), end)
        of[end.axis, end.mark] = max(known, end, key=lambda x: x.gain)
    return [end.sentence(space.axes[end.axis]) for end in of.values()]


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
            number(axis, value, numeric)
            good += [value] if value not in space.axes[axis] and (not accepted or value in accepted) else []
    return tuple(good)
