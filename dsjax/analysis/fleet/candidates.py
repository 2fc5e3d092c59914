"""Layouts that may be part of a fleet: what bounds leave of them, their groups, and the fewest instances of each."""

import numpy as np

from ...specs.variables import PERCENTILES
from .bounds import strictest
from .fewest import cheapest, ties

SCREENED = 2**8  # fleets: fewer are not worth a look at their means alone


class Candidates:
    """Layouts of instances, of which the cheapest of every group is looked for.

    `names`: axes that make groups, `labels` of each; `alike`: labels of every layout that make groups too, one of each
    in `alike`; `bound`: `bounds.Most` of an instance; `most` instances, of which so many `points` are tried at once.
    `refused`: {mask: layouts that it refuses whatever their load}, `can`: the others.
    """

    def __init__(self, layouts, names, question, bound, most=np.inf, points=2**10, alike=()):
        self.layouts, self.question, self.bound, self.points = layouts, question, bound, points
        self.group, labels = layouts.groups(names, *alike)
        self.labels = [label[: len(names)] for label in labels]
        self.alike = [label[len(names) :] for label in labels]
        masks = layouts.masks(np.arange(layouts.number), 1.0)
        self.refused = {name: ~ok for name, ok in masks.items()} | bound.refused
        self.can = ~np.logical_or.reduce([*self.refused.values()])
        priced = (layouts.price > 0.0) & (question.minimize != "chips")
        self.cost = layouts.chips * np.where(priced, layouts.price, 1.0)
        chips = question.asked["max_chips"]
        chips = np.inf if chips is None else np.floor(chips / layouts.chips) - question.spare
        self.most = np.minimum(np.full(layouts.number, float(most)), chips)

    def cheapest(self, amounts, most_of_one, keeps, keys):
        """{(place of an amount, group): (layout, instances)} of the cheapest that keep the limits at each amount.

        `most_of_one`: the part of an amount that an instance of each layout takes at most. `keeps(layouts, amounts,
        numbers)`; of equals the one with the least `keys(layouts, amounts, numbers)`, values one after the other.
        """
        n, groups = self.layouts.number, len(self.labels)
        amounts = np.atleast_1d(np.asarray(amounts, float))
        with np.errstate(divide="ignore", invalid="ignore"):
            low = np.ceil(amounts[:, None] / most_of_one - 1e-9)
        low = np.where(self.can, np.maximum(low, 1.0), np.inf).ravel()
        group = (np.arange(len(amounts))[:, None] * groups + self.group).ravel()
        cost, most = (np.tile(x, len(amounts)) for x in (self.cost, self.most))

        def keep(which, numbers):
            return keeps(which % n, amounts[which // n], numbers)

        numbers = cheapest(low, cost, group, keep, most, self.question.spare, self.points)
        found = np.flatnonzero(numbers)
        if not len(found):
            return {}
        first = found[ties(group[found], *keys(found % n, amounts[found // n], numbers[found]))]
        return {divmod(int(group[i]), groups): (int(i % n), float(numbers[i])) for i in first}


def kept(at, number, limits):
    """Whether fleets keep all limits; of many, quantiles are computed of those alone that means do not refuse.

    `at(places, quantiles)`: {variable: values} of some of `number` fleets. A limit on a high percentile is one on the
    mean too: a few requests do not wait so long that the mean is above it.
    """
    of_quantiles = any(key.rpartition("_")[2] in PERCENTILES for key in limits)
    found = np.ones(number, bool)
    for quantiles in (False, True) if of_quantiles and number > SCREENED else (of_quantiles,):
        left = np.flatnonzero(found)
        if len(left):
            values = at(left, quantiles)
            good = [x for name, x in values.items() if name.startswith("ok_")]
            good += [values[f"{time}_mean"] <= strictest(limits, time) for time in ("ttft", "tpot")]
            found[left] = np.logical_and.reduce(good)
    return found
