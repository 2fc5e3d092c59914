"""Two pools on given chips: one that computes prompts beside one that decodes, every way to share out the chips."""

import itertools
from typing import NamedTuple

import numpy as np

from ...evaluation.servers import tables
from ...serving.instances import study
from ...serving.server.lengths import lengths
from ...serving.server.pools import largest_prefill
from ...space import grid
from ..fleet import bounds
from ..fleet.answers import Pools, holds
from ..fleet.fewest import ties
from . import largest

# Splits of a pool, of one precision and one hardware: those that bounds on their rate rank first, and the quickest.
RANKED, QUICKEST = 8, 3
PARTS = 16  # so many numbers of users at once take hardly longer than one
WAIT = 0.01  # of what is served: users who add less only wait
FEWER = 0.9  # of the users that a limit allows: where so few are served as much, the others only wait
POOLS = ("prefill", "decode")
UNREAD = ("batching", "requests_per_user", "chunk_tokens")  # names of servers that pools do not have
MINE = {"prefill": {"mtp": [0]}, "decode": {"sp": [1]}}  # what a pool alone has no use for


class Fleet(NamedTuple):
    """Two pools of a place of `Search.places`: layouts and instances of each, users of both."""

    place: int
    layouts: tuple
    instances: tuple
    users: int


class Search:
    """The best pair of pools of every hardware and precision, of few splits of each pool, chosen by their bounds.

    `pieces`: `pieces.Piece` of instances of one size each; both pools have the hardware, the precision and the engine
    in common. Prompts of pools are not cut.
    """

    def __init__(self, chosen, pieces, question, chips):
        self.question, self.chips, self.osl = question, chips, question.asked["osl"]
        self.places = []  # (`Pools`, instances of each pool)
        columns = []
        for prefill, decode in itertools.product(pieces, pieces):
            several = self._several(prefill.chips, decode.chips)
            same = [chip for chip in prefill.axes["hardware"] if chip in decode.axes["hardware"]]
            if prefill.fixed["engine"] == decode.fixed["engine"] and several and same:
                both = (part._replace(axes=part.axes | {"hardware": same}) for part in (prefill, decode))
                pools = Pools(space(chosen, *both, question), question.limits)
                columns += self._pairs(pools, several)
        self.number = len(columns)
        self.found = self._best(columns) if columns else []

    def _several(self, prefill, decode):
        """[(instances of prompts, instances that decode)] of these sizes: all that use all chips; no more than users.

        For a number of users as many that decode as there may be, whatever chips are left.
        """
        users = self.question.amount if self.question.wanted == "speed" else None
        found = [(n, (self.chips - n * prefill) // decode) for n in range(1, self.chips // prefill + 1)]
        if users is None:
            return [(n, m) for n, m in found if m and n * prefill + m * decode == self.chips]
        return [(n, min(m, int(users))) for n, m in found if m and n <= users]

    def _pairs(self, pools, several):
        """[(place, layouts of both, requests per second at most, users at most, label of the group)]."""
        found, best = [], {}
        for pool, bound in (("prefill", bounds.of_prefill), ("decode", bounds.of_decode)):
            layouts = pools.layouts[pool]
            record, load = pools.record(pool)
            most = bound(record, load, pools.limits)
            if pool == "prefill":  # of two pools the equations reach full steps, and no more
                sizes = lengths(load)
                full = largest_prefill(record.table, sizes, record.budget, record.groups, np.ones_like(most.rate))
                most = most._replace(rate=np.minimum(most.rate, full * (1.0 + 1e-9)))
            most = bounds.of_all(most, layouts.possible, layouts.number)
            masks = layouts.masks(np.arange(layouts.number), 1.0)
            can = np.logical_and.reduce([*masks.values(), *(~x for x in most.refused.values())])
            labels = list(zip(*(layouts.labels(f"{pool}_{name}") for name in ("hardware", "precision")), strict=True))
            for key, number in ((-most.rate, RANKED), (most.prompt_s if pool == "prefill" else most.step_s, QUICKEST)):
                counts: dict = {}
                for i in np.argsort(key, kind="stable").tolist():
                    own = best.setdefault(pool, {}).setdefault(labels[i], {})
                    if can[i] and i not in own and counts.get(labels[i], 0) < number:
                        counts[labels[i]] = counts.get(labels[i], 0) + 1
                        own[i] = float(most.rate[i])
        for instances in several:
            place = len(self.places)
            self.places.append((pools, instances))
            for label, first in best.get("prefill", {}).items():
                other = best.get("decode", {}).get(label, {})
                for (i, quick), (j, wide) in itertools.product(first.items(), other.items()):
                    rate = min(instances[0] * quick, instances[1] * wide)
                    found.append((place, (i, j), rate, label))
        return found

    def _best(self, columns):
        """`Fleet` of every hardware and precision: of the most tokens, or, of a number of users, the quickest."""
        places, layouts, rates = (np.array([column[i] for column in columns]) for i in range(3))
        labels = [column[3] for column in columns]
        _, group = np.unique([" ".join(label) for label in labels], return_inverse=True)
        limits = self.question.limits

        def tried(pairs, users):
            """(tokens per second and chip, whether limits are kept, the largest share of one, mean latency)."""
            found = [np.empty(len(pairs), kind) for kind in (float, bool, float, float)]
            for place in np.unique(places[pairs]).tolist():
                own = np.flatnonzero(places[pairs] == place)
                values = self._at(place, layouts[pairs[own]], users[own], largest.limited(limits))
                worth = values["requests_per_s_served"] * self.osl / self.chips
                for x, of in zip(
                    found, (worth, holds(values), largest.strain(values, limits), values["latency_mean"]), strict=True
                ):
                    x[own] = of
            return found

        if self.question.wanted == "speed":
            pairs = np.arange(len(columns))
            users = np.full(len(columns), float(self.question.amount))
            _, kept, _, latency = tried(pairs, users)
            pairs = pairs[kept][ties(group[kept], latency[kept])]
            order = -latency
        else:
            # A request is inside no longer than its limits say; without them, than a thousand seconds.
            longest = bounds.strictest(limits, "ttft"), bounds.strictest(limits, "tpot") * self.osl
            inside = float(np.sum(np.where(np.isfinite(longest), longest, 1e3)))
            most = np.maximum(np.floor(2.0 * inside * rates), 1.0)
            found, known = largest.best(rates * self.osl / self.chips, most, group, lambda *asked: tried(*asked)[:3])
            pairs = np.array([row[0] for rows in found.values() for row in rows], int)
            users, order = np.zeros(len(columns)), known.worth
            users[pairs] = self._busy(pairs, known, tried)
        pairs = pairs[np.argsort(-order[pairs], kind="stable")].tolist()
        return [
            Fleet(int(places[i]), tuple(layouts[i].tolist()), self.places[places[i]][1], int(users[i])) for i in pairs
        ]

    @staticmethod
    def _busy(pairs, known, tried):
        """Users of the best pairs: the fewest that are served all but `WAIT`; more only wait for the busier pool.

        What is served never falls with users: the span between too few and enough is cut into `PARTS` until the two are
        one. Where a limit ends the users, and not many fewer are served as much, those that it allows.
        """
        high, low, worth = known.holds[pairs].copy(), np.zeros(len(pairs)), known.worth[pairs]
        share = np.arange(1, PARTS)[:, None] / PARTS
        while len(left := np.flatnonzero(high - low > 1.0)):
            users = np.clip(np.floor(low[left] + share * (high - low)[left]), low[left] + 1.0, high[left] - 1.0)
            served = tried(np.tile(pairs[left], PARTS - 1), users.ravel())[0].reshape(users.shape)
            enough = served >= worth[left] * (1.0 - WAIT)
            high[left] = np.where(enough, users, high[left]).min(axis=0)
            low[left] = np.where(enough | (users >= high[left]), low[left], users).max(axis=0)
        ended = (known.fails - known.holds)[pairs] <= 1.0
        return np.where(ended & (high > FEWER * known.holds[pairs]), known.holds[pairs], high)

    def _at(self, place, layouts, users, quantiles=True):
        pools, instances = self.places[place]
        return pools.at(layouts[:, 0], layouts[:, 1], users, instances, quantiles)

    def answers(self, fleets):
        """[({variable: value}, masks among them, of a fleet, and of one with a user more)] of fleets.

        Of a number of users nobody is more.
        """
        found = {}
        for place in {fleet.place for fleet in fleets}:
            own = [fleet for fleet in fleets if fleet.place == place]
            layouts, users = np.array([fleet.layouts for fleet in own]), np.array([float(fleet.users) for fleet in own])
            values = self._at(place, np.tile(layouts, (2, 1)), np.concatenate([users, users + 1.0]))
            for k, fleet in enumerate(own):
                found[fleet] = tuple({name: x[i].item() for name, x in values.items()} for i in (k, k + len(own)))
        return [found[fleet] for fleet in fleets]

    def named(self, fleet):
        """{pool: {axis: label or number}} of a fleet, with what its space has fixed instead."""
        layouts = self.places[fleet.place][0].layouts
        return {pool: named(layouts[pool], pool, i) for pool, i in zip(POOLS, fleet.layouts, strict=True)}

    def chips_of(self, fleet):
        """Chips of a fleet."""
        pools, instances = self.places[fleet.place]
        each = zip(POOLS, fleet.layouts, instances, strict=True)
        return float(sum(n * pools.layouts[pool].chips[i] for pool, i, n in each))

    def price(self, fleet):
        """Price of all chips of a fleet [USD/h]; NaN where one is unknown."""
        pools, instances = self.places[fleet.place]
        each = zip(POOLS, fleet.layouts, instances, strict=True)
        return sum(n * pools.layouts[pool].chips[i] * pools.layouts[pool].price[i] for pool, i, n in each)


def named(layouts, pool, layout):
    """{axis without the name of the pool: label or number} of a layout of a pool."""
    of = {**layouts.space.fixed, **{axis: layouts.labels(axis)[layout].item() for axis in layouts.axes}}
    return {name.removeprefix(f"{pool}_"): x for name, x in of.items() if name.startswith(f"{pool}_")}


def space(chosen, prefill, decode, question):
    """The space of two pools of instances of these pieces; what is of the requests, or the model, is of both."""
    shared = {"axes": {}, "fixed": {name: x for name, x in question.load.items() if name != "requests_per_user"}}
    shared["fixed"]["transfer_nic"] = chosen.nic
    head = {"model": chosen.model, "phase": "disaggregated"}
    for pool, piece in zip(POOLS, (prefill, decode), strict=True):
        head[pool] = {}
        for part, values in (("axes", piece.axes), ("fixed", piece.fixed)):
            own = {name: x for name, x in values.items() if name not in UNREAD}
            shared[part] |= {name: x for name, x in own.items() if _is_shared(name)}
            head[pool] |= {name: x for name, x in own.items() if not _is_shared(name)}
        head[pool] |= {name: x for name, x in MINE[pool].items() if name in piece.axes}
    changes = chosen.changes | {"settings": settings_of_pools(chosen.changes["settings"] or {})}
    return grid.load(head | shared, any_size=True, **changes)


def settings_of_pools(settings):
    """Settings {"hardware.<row>.<field>": number} as those of both pools, and of the transfer, are called."""
    found = {}
    for key, x in settings.items():
        record = key.partition(".")[0]
        names = [f"{pool}_{record}" for pool in POOLS if f"{pool}_{record}" in study.POOLS.records] or [record]
        names += [f"transfer_{record}"] if f"transfer_{record}" in study.POOLS.records else []
        found |= {f"{name}{key.removeprefix(record)}": x for name in names}
    return found


def _is_shared(name):
    return tables.is_shared(name) or name in study.POOLS.requests or name == "length_law"
