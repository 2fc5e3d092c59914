"""Whole instances on given chips: as many users as keep the limits, or a demand on as few chips as serve it."""

from typing import NamedTuple

import numpy as np

from ..fleet.candidates import kept
from ..fleet.fewest import cheapest, ties
from . import largest

NEAREST = 64  # layouts of the best precision that the other ones are tried at


class Fleet(NamedTuple):
    """Instances of one layout; `asked` of each: users, or requests per second."""

    layout: int
    instances: int
    asked: float


class Search:
    """The best fleet of every hardware, and of every other precision at the splits that come nearest to it."""

    def __init__(self, instances, question, chips):
        self.instances, self.question, self.chips = instances, question, chips
        self.osl = question.asked["osl"]
        self.hardware, self.precision = (instances.labels(name) for name in ("hardware", "precision"))
        self.found = self._at_demand() if question.demanded else self._most_users()

    def kept(self, values):
        """Whether all masks hold."""
        return np.logical_and.reduce([x for name, x in values.items() if name.startswith("ok_")])

    # ---- as many users as there may be

    def _most_users(self):
        own = self.instances
        bound = np.where(own.possible, own.rate * self.osl / own.chips, -np.inf)
        _, group = np.unique(self.hardware.astype(str), return_inverse=True)

        def tried(layouts, users):
            values = own.at(layouts, users, largest.limited(own.limits))
            worth = values["requests_per_s_served"] * self.osl / own.chips[layouts]
            return worth, self.kept(values), largest.strain(values, own.limits)

        found, known = largest.best(bound, own.cap, group, tried, own.chips)
        others = np.full(own.number, -np.inf)
        near = self._near(known.worth, {rows[0][0] for rows in found.values()})
        others[near] = bound[near]
        both = [f"{chip} {precision}" for chip, precision in zip(self.hardware, self.precision, strict=True)]
        _, by_precision = np.unique(np.array(both), return_inverse=True)
        more, _ = largest.best(others, own.cap, by_precision, tried, own.chips) if len(near) else ({}, None)
        rows = [row for of in (found, more) for rows in of.values() for row in rows]
        rows.sort(key=lambda row: -row[2])
        return [Fleet(layout, round(self.chips / own.chips[layout]), users) for layout, users, _ in rows]

    def _near(self, worth, best):
        """Layouts of other precisions than the best of their hardware, split as those that came nearest to it."""
        chosen = {(self.hardware[i], self.precision[i]) for i in best}
        order = np.argsort(-worth, kind="stable")[: NEAREST * len(best)]
        splits = {self._split(i) for i in order.tolist() if np.isfinite(worth[i])}
        return [
            i
            for i in np.flatnonzero(self.instances.possible).tolist()
            if (self.hardware[i], self.precision[i]) not in chosen and self._split(i) in splits
        ]

    def _split(self, layout):
        piece = int(self.instances.piece[layout])
        layouts, own = self.instances.layouts[piece], layout - self.instances.start[piece]
        return (piece, *(int(places[own]) for axis, places in layouts.index.items() if axis != "precision"))

    # ---- a demand

    def _at_demand(self):
        own, amount = self.instances, self.question.amount
        with np.errstate(divide="ignore"):
            low = np.where(own.possible, np.maximum(np.ceil(amount / own.rate - 1e-9), 1.0), np.inf)
        most = np.floor(self.chips / own.chips) if self.chips else np.full(own.number, np.inf)
        both = [f"{chip} {precision}" for chip, precision in zip(self.hardware, self.precision, strict=True)]
        _, group = np.unique(np.array(both), return_inverse=True)

        named = largest.limited(own.limits)

        def keep(layouts, numbers):
            def at(which, quantiles):
                return own.at(layouts[which], amount / numbers[which], quantiles and named)

            return kept(at, len(layouts), own.limits)

        numbers = cheapest(low, own.chips, group, keep, most)
        left = np.flatnonzero(numbers)
        if not len(left):
            return []
        values = own.at(left, amount / numbers[left])
        times = [values[f"{time}_{self.question.statistic}"] for time in ("tpot", "ttft")]
        first = left[ties(group[left], *times)]
        fleets = [Fleet(int(i), int(numbers[i]), amount / float(numbers[i])) for i in first]
        return sorted(fleets, key=lambda x: x.instances * own.chips[x.layout])
