"""Disaggregated fleets: a pool of instances that compute prompts and one that decodes, of every pair of hardware."""

import functools
import itertools

import numpy as np

from . import bounds, pairs
from .aggregated import IDLE
from .answers import Pools
from .candidates import Candidates, kept

POOLS = ("prefill", "decode")
POINTS = 2**13  # of a pool that are tried at once


class Search:
    """The search, and what it found: {labels of both groups: {pool: (layout, instances)}}.

    Both pools have caches of one width: what is transferred is read as it was written. `one_nic`: they and the transfer
    between them have the same NIC; `one_precision`: they have the same precision.
    """

    KIND = "disaggregated"
    loads = {"prefill": "prefill_utilisation", "decode": "decode_utilisation"}  # of a pool, in an answer

    def __init__(self, space, question, one_nic=True, one_precision=False):
        self.space, self.question, self.limits = space, question, question.limits_of(space)
        self.pools, self.of = Pools(space, self.limits), {}
        for pool, bound in (("prefill", bounds.of_prefill), ("decode", bounds.of_decode)):
            names = [f"{pool}_hardware", f"{pool}_nic", *(["transfer_nic"] if pool == "decode" else [])]
            most = max(space.axes.get(f"{pool}_instances", (np.inf,)))
            layouts = self.pools.layouts[pool]
            own = bounds.of_all(bound(*self.pools.record(pool), self.limits), layouts.possible, layouts.number)
            self.of[pool] = Candidates(layouts, names, question, own, most, POINTS, [self._alike(pool, one_precision)])
        self.pairs = self._pairs(one_nic)
        self.groups = {pool: {pair[i] for pair in self.pairs} for i, pool in enumerate(POOLS)}
        sizes = [np.bincount(self.of[pool].group) for pool in POOLS]
        self.configurations = int(sum(sizes[0][i] * sizes[1][j] for i, j in self.pairs))

    @functools.cached_property
    def found(self):
        """What was found for the demand."""
        return self.at(self.question.amount)

    def _alike(self, pool, one_precision):
        """What the layouts of a pool have in common with those of the other: a precision, or a width of the cache."""
        labels = self.pools.layouts[pool].labels(f"{pool}_precision")
        widths = {label: row["kv_bytes"] for label, row in self.space.rows[f"{pool}_precision"].items()}
        return labels if one_precision else np.array([widths[label] for label in labels.tolist()])

    def _pairs(self, one_nic):
        """[(group of prefill, group of decode)] that may be one fleet."""
        found = []
        for (i, prefill), (j, decode) in itertools.product(*(enumerate(self.of[pool].labels) for pool in POOLS)):
            nics = {*prefill[1:], *decode[1:]}
            alike = self.of["prefill"].alike[i] == self.of["decode"].alike[j]
            if alike and (self.question.mixed or prefill[0] == decode[0]) and not (one_nic and len(nics) > 1):
                found.append((i, j))
        return found

    def at(self, amount):
        """{labels of both groups: fleet} at so many requests per second, or users."""
        self.amount, decodes = amount, self._decodes(amount)
        if not decodes:
            return {}
        layouts, numbers = (np.array(x) for x in zip(*decodes.values(), strict=True))
        rates = np.full(len(layouts), float(amount))
        if not self.question.open:  # users send as fast as the pool that decodes lets them
            rates = self.pools.at(None, layouts, amount, (None, numbers), False)["requests_per_s_served"]
        rates, place = np.unique(rates, return_inverse=True)
        place = dict(zip(decodes, place.tolist(), strict=True))
        candidates = self.of["prefill"]
        prefills = candidates.cheapest(rates, candidates.bound.rate, self._keeps_prompts, self._of_prompts)
        wanted = [(i, j) for i, j in self.pairs if j in decodes and (place[j], i) in prefills]
        chosen = [prefills[place[j], i] for i, j in wanted], [decodes[j] for _, j in wanted]
        return self._together(amount, wanted, *chosen)

    # ---- one pool beside an ideal other one

    def alone(self):
        """{pool: {group: (layout, instances)}} of what comes at a rate: the cheapest of each pool by itself."""
        candidates = self.of["prefill"]
        rates = np.array([self.question.amount])
        found = candidates.cheapest(rates, candidates.bound.rate, self._keeps_prompts, self._of_prompts)
        prefills = {group: chosen for (_, group), chosen in found.items()}
        return {"prefill": prefills, "decode": self._decodes(self.question.amount)}

    def _decodes(self, amount):
        """{group: (layout, instances)} of the pool that decodes."""
        candidates = self.of["decode"]
        most = candidates.bound.rate if self.question.open else candidates.bound.users
        found = candidates.cheapest(amount, most, self._keeps_decode, self._of_decode)
        return {group: chosen for (_, group), chosen in found.items()}

    def _keeps_decode(self, layouts, amounts, numbers):
        def at(own, quantiles):
            return self.pools.at(None, layouts[own], amounts[own], (None, numbers[own]), quantiles)

        return kept(at, len(layouts), self.limits)

    def _of_decode(self, layouts, amounts, numbers):
        return [self.pools.at(None, layouts, amounts, (None, numbers), True)[f"tpot_{self.question.statistic}"]]

    def _keeps_prompts(self, layouts, rates, numbers):
        def at(own, quantiles):
            return self.pools.at(layouts[own], None, rates[own], (numbers[own], None), quantiles, open_=True)

        return kept(at, len(layouts), self.limits)

    def _of_prompts(self, layouts, rates, numbers):
        values = self.pools.at(layouts, None, rates, (numbers, None), True, open_=True)
        return [values[f"ttft_{self.question.statistic}"]]

    # ---- both

    def _together(self, amount, wanted, *chosen):
        """{labels: fleet} of pairs of groups, of which each pool alone has the `chosen` (layout, instances)."""
        if not wanted:
            return {}
        (first, least), (second, fewest) = (np.array(x).T for x in chosen)
        layouts = [first.astype(int), second.astype(int)]
        of = [self.of[pool] for pool in POOLS]

        def keeps(own, instances):
            def at(part, quantiles):
                i, j = (x[own][part] for x in layouts)
                return self.pools.at(i, j, amount, [x[part] for x in instances], quantiles)

            return kept(at, len(own), self.limits)

        sizes, most = ([getattr(x, name)[own] for x, own in zip(of, layouts, strict=True)] for name in ("cost", "most"))
        chips = [x.layouts.chips[own] for x, own in zip(of, layouts, strict=True)]
        priced = np.logical_and.reduce([x.layouts.price[own] > 0.0 for x, own in zip(of, layouts, strict=True)])
        sizes = [np.where(priced, price, size) for price, size in zip(sizes, chips, strict=True)]
        instances = pairs.fewest((least, fewest), sizes, most, keeps, exact=self.question.open)
        total = sum((n + self.question.spare) * size for n, size in zip(instances, chips, strict=True))
        limit = self.question.asked["max_chips"]
        good = np.isfinite(total) & (total <= (np.inf if limit is None else limit))
        good = np.flatnonzero(good)
        if not len(good):
            return {}
        # Groups of several widths may have the same labels: the cheapest of them, of equals the least TPOT.
        values = self.pools.at(*(x[good] for x in layouts), amount, [x[good] for x in instances], True)
        price = sum((n + self.question.spare) * size for n, size in zip(instances, sizes, strict=True))[good]
        best: dict = {}  # {labels: place}
        for k in good[np.lexsort((values[f"tpot_{self.question.statistic}"], price))].tolist():
            best.setdefault(tuple(x.labels[group] for x, group in zip(of, wanted[k], strict=True)), k)
        found = {}
        for names, k in sorted(best.items(), key=lambda x: x[1]):
            fleet = ((int(own[k]), float(n[k])) for own, n in zip(layouts, instances, strict=True))
            found[names] = dict(zip(POOLS, fleet, strict=True))
        return found

    def answer(self, fleets):
        """{variable: values} of fleets."""
        (i, n), (j, m) = (np.array([fleet[pool] for fleet in fleets]).T for pool in POOLS)
        return self.pools.at(i.astype(int), j.astype(int), self.amount, (n, m), True)

    def idle(self, pool, layouts):
        """{variable: values} of an instance with next to nothing to do, beside an ideal other pool."""
        of = (None, layouts) if pool == "decode" else (layouts, None)
        if pool == "decode" and not self.question.open:
            return self.pools.at(*of, 1.0, (1.0, 1.0), True)
        return self.pools.at(*of, IDLE, (1.0, 1.0), True, open_=True)
