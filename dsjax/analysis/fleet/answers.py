"""What any number of instances of layouts answers: servers that share nothing, or pairs of pools."""

import numpy as np

from ...evaluation.servers.points import Points
from ...evaluation.servers.pools import Pairs
from ...serving.instances import answer, pool_answer
from .layouts import OF_DECODE, OF_PREFILL, Layouts, distinct, evaluated, rows

# Of the other pool where one is looked at alone: its times and its room, over those of a real one, and its instances.
SMALL, LARGE, MANY = 1e-9, 1e9, 1e6


def bounded(values, limits):
    """Masks of the limits on variables that are there; the mean is what steps call `ttft` and `tpot`."""
    values = values | {"ttft": values["ttft_mean"], "tpot": values["tpot_mean"]}
    values |= {"tps_per_user": 1.0 / values["tpot"]}
    found = {}
    for key, limit in limits.items():
        side, name = key.split("_", 1)
        if name in values:
            ok = values[name] >= limit if side == "min" else values[name] <= limit
            found[f"ok_{name}"] = found.get(f"ok_{name}", True) & ok
    return found


def holds(values):
    """Whether all masks among {variable: values} hold."""
    return np.logical_and.reduce([x for name, x in values.items() if name.startswith("ok_")])


class Servers:
    """Instances that compute prompts and decode: layouts, those that are possible, of servers without their load."""

    def __init__(self, space, limits):
        self.limits, self.open = limits, "requests_per_s" in space.fixed
        points = Points(space, ())
        self.layouts = Layouts(space, tuple(space.axes), points.decode.found)
        index, n = self.layouts.index, self.layouts.number
        self.layouts.law = points.laws.of(index, n)
        self.kinds, self.kind, self.place = [], np.zeros(n, int), np.zeros(n, int)
        for ids, chunked in points.batches(self.layouts.possible):
            own, law = {axis: places[ids] for axis, places in index.items()}, self.layouts.law[ids]
            record = points.points(own, law, points.laws.asked(own, len(ids)), chunked)
            self.kind[ids], self.place[ids] = len(self.kinds), distinct(record)
            self.kinds.append((ids, chunked, record))

    def at(self, layouts, asked, quantiles):
        """{variable: values}, masks among them, of instances each of which is asked so much (requests/s, or users)."""
        asked, found = np.broadcast_to(np.asarray(asked, float), len(layouts)), {}
        for kind, (_, chunked, record) in enumerate(self.kinds):
            own = np.flatnonzero(self.kind[layouts] == kind)
            if len(own):

                def at(places, asked, record=record, chunked=chunked):
                    points = rows(record, places.astype(int))._replace(asked=asked)
                    return answer.variables(points, chunked=chunked, open_=self.open, with_quantiles=quantiles)

                for name, x in evaluated(at, self.place[layouts[own]], asked[own]).items():
                    found.setdefault(name, np.empty(len(layouts), x.dtype))[own] = x
        return found | self.layouts.masks(layouts, found["decode_batch"]) | bounded(found, self.limits)


class Pools:
    """Pairs of a pool that computes prompts and one that decodes, each pool's layouts that are possible once."""

    def __init__(self, space, limits):
        self.limits, self.open = limits, "requests_per_s" in space.fixed
        pairs = Pairs(space, ())
        prefill, self.prefills = self._pool(space, pairs, "prefill", OF_PREFILL)
        decode, self.decodes = self._pool(space, pairs, "decode", OF_DECODE)
        self.layouts = {"prefill": prefill, "decode": decode}
        self.ideal_prefill, self.ideal_decode = self._ideal()
        records = {"prefill": self.prefills.prefill, "decode": self.decodes._replace(prefill=None)}
        self.same = {pool: np.zeros(layouts.number, int) for pool, layouts in self.layouts.items()}
        for pool, record in records.items():  # of what is impossible nobody asks
            self.same[pool][self.layouts[pool].possible] = distinct(record)

    def _ideal(self):
        """(A pool that computes prompts, one that decodes) in no time, with room for all and the best links."""
        decodes = self.decodes
        first = np.zeros(1, int)
        prefill, decode = rows(self.prefills.prefill, first), rows(decodes, first)
        room = np.full(1, LARGE * np.max(decodes.decode.room_bytes))
        table = prefill.table
        times = {name: SMALL * x for name, x in table._asdict().items() if name.endswith("_s") and x is not None}
        prefill = prefill._replace(table=table._replace(**times), room_bytes=room)
        table = decode.decode.table
        own = decode.decode._replace(
            table=table._replace(decode_s=SMALL * table.decode_s),
            room_bytes=room,
            position_bytes=np.min(decodes.decode.position_bytes, keepdims=True),
            state_positions=np.zeros(1),
        )
        return prefill, decode._replace(decode=own, link_bytes_per_s=np.max(decodes.link_bytes_per_s, keepdims=True))

    @staticmethod
    def _pool(space, pairs, name, others):
        axes = [axis for axis in space.axes if axis.startswith(f"{name}_") and not axis.endswith("_instances")]
        axes += [axis for axis in others if axis in space.axes]
        decode, prompts = pairs.pool[name]
        layouts = Layouts(space, tuple(axes), decode.found | {"ok_sp": prompts.found["ok_sp"]})
        index = dict.fromkeys(space.axes, np.zeros(layouts.number, int)) | layouts.index
        layouts.law = pairs.laws.of(index, layouts.number)
        index = {axis: places[layouts.possible] for axis, places in index.items()}
        asked = pairs.laws.asked(index, len(layouts.possible))
        return layouts, pairs.points(index, layouts.law[layouts.possible], asked, chunked=False)

    def record(self, pool):
        """(`answer.Points` of the layouts of a pool that are possible, their `Load`)."""
        points = self.prefills if pool == "prefill" else self.decodes
        return getattr(points, pool), points.load

    def at(self, prefill, decode, asked, instances, quantiles, open_=None):
        """{variable: values}, masks among them, of fleets: layouts of both pools, what is asked, (instances of each).

        A pool that is None is an ideal one: it takes no time and has room for all. `open_`: whether a rate is asked,
        where it is not what the space says.
        """
        open_ = self.open if open_ is None else open_
        given = dict(zip(self.layouts, (prefill, decode), strict=True))
        n = len(decode if prefill is None else prefill)
        none = np.zeros(n, int)
        places = [none if own is None else self.same[pool][own] for pool, own in given.items()]
        instances = [MANY if own is None else x for own, x in zip(given.values(), instances, strict=True)]
        numbers = [np.broadcast_to(np.asarray(x, float), n) for x in (asked, *instances)]

        def at(i, j, asked, prefill_instances, decode_instances):
            of = rows(self.ideal_decode if decode is None else self.decodes, j.astype(int))._replace(
                prefill=rows(self.ideal_prefill if prefill is None else self.prefills.prefill, i.astype(int)),
                asked=asked,
                prefill_instances=prefill_instances,
                decode_instances=decode_instances,
            )
            return pool_answer.variables(of, open_=open_, with_quantiles=quantiles)

        values, masks = evaluated(at, *places, *numbers), {}
        for pool, own in given.items():
            if own is not None:
                found = self.layouts[pool].masks(own, values["decode_batch"] / numbers[-1])
                masks |= {f"ok_{pool}_{mask.removeprefix('ok_')}": ok for mask, ok in found.items()}
        return values | masks | bounded(values, self.limits)
