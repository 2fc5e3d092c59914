"""Two pools for a demand: the fewest chips that compute prompts beside the fewest that decode, each of its own size."""

import dataclasses
from typing import NamedTuple

from ..fleet import disaggregated as fleet
from ..fleet import refusals
from . import disaggregated as two_pools


class Fleet(NamedTuple):
    """Two pools that have one layout each: their search, {pool: (layout, instances)}, instances of each."""

    search: fleet.Search
    chosen: dict
    instances: tuple
    chips: float
    users: None = None  # those that a demand brings along


class Search:
    """The best pair of pools of every hardware and precision, with one engine: of each pool the fewest chips alone.

    `pieces`: `pieces.Piece` of instances of one size each. A pool is looked for by itself, over the pieces one after
    the other; the two that are best together have the tables of their own layouts alone, and then as many instances
    as keep the limits.
    """

    def __init__(self, chosen, pieces, question, chips):
        self.question = dataclasses.replace(question, asked=question.asked | {"max_chips": chips}, mixed=False)
        alone: dict = {}  # {(hardware, precision, engine): {pool: (chips, piece of one layout)}}
        for piece in pieces:
            for pool, key, n, of in self._alone(chosen, piece):
                own = alone.setdefault(key, {})
                own[pool] = min(own.get(pool, (n, of)), (n, of), key=lambda x: x[0])
        best: dict = {}  # of the engines that which takes the fewest chips
        for key, own in alone.items():
            if len(own) == len(two_pools.POOLS) and (found := self._both(chosen, own)):
                best[key[:2]] = min(best.get(key[:2], found), found, key=lambda x: x.chips)
        self.found = sorted(best.values(), key=lambda x: x.chips)

    def _search(self, chosen, prefill, decode):
        space = two_pools.space(chosen, prefill, decode, self.question)
        return fleet.Search(space, self.question, one_precision=True)

    def _alone(self, chosen, piece):
        """[(pool, (hardware, precision, engine), chips, piece of the layout alone)] of pools of one piece."""
        search, found = self._search(chosen, piece, piece), []
        for pool, groups in search.alone().items():
            candidates = search.of[pool]
            for group, (layout, n) in groups.items():
                named = two_pools.named(candidates.layouts, pool, layout)
                axes = {name: [named[name]] for name in piece.axes if name in named}
                key = candidates.labels[group][0], *candidates.alike[group], piece.fixed["engine"]
                own = piece._replace(axes=piece.axes | axes)
                found.append((pool, key, n * candidates.layouts.chips[layout], own))
        return found

    def _both(self, chosen, own):
        search = self._search(chosen, *(own[pool][1] for pool in two_pools.POOLS))
        for first in search.found.values():
            sizes = {pool: search.of[pool].layouts.chips[layout] for pool, (layout, _) in first.items()}
            instances = tuple(int(n) for _, n in first.values())
            return Fleet(search, first, instances, sum(n * first[pool][1] for pool, n in sizes.items()))
        return None

    def answers(self, fleets):
        """[({variable: value}, masks among them, of a fleet; none of more)] of fleets."""
        return [({name: x[0].item() for name, x in of.search.answer([of.chosen]).items()}, {}) for of in fleets]

    @staticmethod
    def binds(of):
        """What a fleet would not keep with an instance less of a pool: "prefill max_ttft_p90"; "" of one of each."""
        (found,) = refusals.binding(of.search, [of.chosen])
        return "; ".join(f"{pool} {what}" for pool, what in found.items() if what != refusals.ONE)

    def chips_of(self, of):
        """Chips of a fleet."""
        return of.chips

    def named(self, of):
        """{pool: {axis: label or number}} of a fleet."""
        return {pool: two_pools.named(of.search.of[pool].layouts, pool, i) for pool, (i, _) in of.chosen.items()}

    def price(self, of):
        """Price of all chips of a fleet [USD/h]; NaN where one is unknown."""
        layouts = {pool: of.search.of[pool].layouts for pool in of.chosen}
        return sum(n * layouts[pool].chips[i] * layouts[pool].price[i] for pool, (i, n) in of.chosen.items())
