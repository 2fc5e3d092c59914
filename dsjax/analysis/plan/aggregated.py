"""Whole instances on given chips: the most users that keep the limits, the quickest answers, or the fewest chips."""

from typing import NamedTuple

import numpy as np

from ..fleet import fewest
from ..fleet.answers import holds
from ..fleet.bounds import strictest
from ..fleet.candidates import kept
from . import largest

AT_ONCE = 2**12  # layouts that are evaluated at once
FIRST = 16  # of a group, whose quantiles are looked at together


class Fleet(NamedTuple):
    """Instances of one layout; `asked` of each: users, or requests per second."""

    layout: int
    instances: int
    asked: float


class Search:
    """The best fleet of every hardware and precision."""

    def __init__(self, instances, question, chips):
        self.instances, self.question, self.chips = instances, question, chips
        self.osl = question.asked["osl"]
        self.hardware, self.precision = (instances.labels(name) for name in ("hardware", "precision"))
        found = {"chips": self._at_demand, "speed": self._quickest, "tokens": self._most_users}
        self.found = found[question.wanted]()

    def _groups(self):
        """Number of the hardware and precision of every layout."""
        both = [f"{chip} {precision}" for chip, precision in zip(self.hardware, self.precision, strict=True)]
        return np.unique(both, return_inverse=True)[1]

    # ---- as many users as there may be

    def _most_users(self):
        own = self.instances
        bound = np.where(own.possible, own.rate * self.osl / own.chips, -np.inf)

        def tried(layouts, users):
            values = own.at(layouts, users, largest.limited(own.limits))
            worth = values["requests_per_s_served"] * self.osl / own.chips[layouts]
            return worth, holds(values), largest.strain(values, own.limits)

        found, _ = largest.best(bound, own.cap, self._groups(), tried, own.chips)
        rows = [row for rows in found.values() for row in rows]
        rows.sort(key=lambda row: -row[2])
        return [Fleet(layout, round(self.chips / own.chips[layout]), users) for layout, users, _ in rows]

    # ---- so many users

    def _quickest(self):
        """Of every hardware and precision the layout of the least mean latency that keeps the limits, of few chips."""
        own, users, limits = self.instances, self.question.amount, self.instances.limits
        n = np.minimum(np.floor(self.chips / own.chips), users)  # an instance without a user serves nobody
        left, group = np.flatnonzero(own.possible & (n > 0.0)), self._groups()
        latency, good = np.full(own.number, np.inf), np.zeros(own.number, bool)
        for part in (left[i : i + AT_ONCE] for i in range(0, len(left), AT_ONCE)):
            values = own.at(part, users / n[part], False)
            latency[part] = values["latency_mean"]
            means = [values[f"{time}_mean"] <= strictest(limits, time) for time in ("ttft", "tpot")]
            good[part] = np.logical_and.reduce([holds(values), *means])
        named = largest.limited(limits)
        found: dict = {}
        order = left[np.lexsort((own.chips[left], latency[left]))]
        order = order[good[order]]
        while len(order):
            first = fewest.first(order, group, latency, FIRST)
            ok = holds(own.at(first, users / n[first], named)) if named else np.ones(len(first), bool)
            for i in first[ok].tolist():
                found.setdefault(int(group[i]), Fleet(i, int(n[i]), users / float(n[i])))
            order = order[~np.isin(order, first) & ~np.isin(group[order], [*found])]
        return sorted(found.values(), key=lambda fleet: latency[fleet.layout])

    # ---- a demand

    def _at_demand(self):
        own, amount = self.instances, self.question.amount
        with np.errstate(divide="ignore"):
            low = np.where(own.possible, np.maximum(np.ceil(amount / own.rate - 1e-9), 1.0), np.inf)
        most = np.floor(self.chips / own.chips) if self.chips else np.full(own.number, np.inf)
        group, named = self._groups(), largest.limited(own.limits)

        def keep(layouts, numbers):
            def at(which, quantiles):
                return own.at(layouts[which], amount / numbers[which], quantiles and named)

            return kept(at, len(layouts), own.limits)

        numbers = fewest.cheapest(low, own.chips, group, keep, most)
        left = np.flatnonzero(numbers)
        if not len(left):
            return []
        values = own.at(left, amount / numbers[left])
        times = [values[f"{time}_{self.question.statistic}"] for time in ("tpot", "ttft")]
        first = left[fewest.ties(group[left], *times)]
        fleets = [Fleet(int(i), int(numbers[i]), amount / float(numbers[i])) for i in first]
        return sorted(fleets, key=lambda x: x.instances * own.chips[x.layout])
