"""Aggregated fleets: n whole instances that share nothing, the cheapest of every hardware and NIC."""

import numpy as np

from . import bounds
from .answers import Servers
from .candidates import Candidates, kept

IDLE = 1e-6  # requests per second


class Search:
    """The search, and what it found: {(labels of the group): {"decode": (layout, instances)}}."""

    KIND = "aggregated"
    loads = {"decode": "utilisation"}  # of a pool, in an answer

    def __init__(self, space, question):
        self.space, self.question, self.limits = space, question, question.limits_of(space)
        self.servers = Servers(space, self.limits)
        most = np.inf if question.open else max(np.floor(question.amount), 1.0)  # one for each user
        layouts = self.servers.layouts
        self.of = {"decode": Candidates(layouts, ("hardware", "nic"), question, self._bound(), most)}
        self.configurations, self.groups = layouts.number, {"decode": range(len(self.of["decode"].labels))}
        self.found = self.at(question.amount)

    def _bound(self):
        """`bounds.Most` of all layouts, those of each way of batching in their places."""
        found, n = [], self.servers.layouts.number
        for ids, chunked, record in self.servers.kinds:
            found.append((ids, bounds.of_servers(record, chunked, record.load, self.limits)))

        def placed(parts):
            whole = np.zeros(n, parts[0].dtype)
            for (ids, _), part in zip(found, parts, strict=True):
                whole[ids] = part
            return whole

        columns = {
            name: placed([getattr(x, name) for _, x in found]) for name in ("rate", "users", "prompt_s", "step_s")
        }
        refused = {name: placed([x.refused[name] for _, x in found]) for name in found[0][1].refused}
        return bounds.Most(refused=refused, **columns)

    def at(self, amount):
        """{(hardware, NIC): fleet} at so many requests per second, or users."""
        candidates, self.amount = self.of["decode"], amount
        most = candidates.bound.rate if self.question.open else candidates.bound.users
        found = candidates.cheapest(amount, most, self._keeps, self._keys)
        return {candidates.labels[group]: {"decode": chosen} for (_, group), chosen in found.items()}

    def _keeps(self, layouts, amounts, numbers):
        each = amounts / numbers
        return kept(lambda at, quantiles: self.servers.at(layouts[at], each[at], quantiles), len(layouts), self.limits)

    def _keys(self, layouts, amounts, numbers):
        values = self.servers.at(layouts, amounts / numbers, True)
        return [values[f"{time}_{self.question.statistic}"] for time in ("tpot", "ttft")]

    def answer(self, fleets):
        """{variable: values} of one instance of every fleet."""
        layouts, numbers = (np.array(x) for x in zip(*(fleet["decode"] for fleet in fleets), strict=True))
        return self.servers.at(layouts, self.amount / numbers, True)

    def idle(self, pool, layouts):
        """{variable: values} of instances with next to nothing to do."""
        del pool
        return self.servers.at(layouts, IDLE if self.question.open else 1.0, True)
