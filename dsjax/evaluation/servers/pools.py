"""Variables of two pools at points of a space: every pair of layouts, a table of steps for each pool alone."""

import functools
import types

import numpy as np

from ...formulas import metrics
from ...serving.instances import pool_answer, study
from ..caches import remembered
from . import tables
from .laws import LENGTHS
from .points import HIDDEN, Points, layouts_of

CHIPS = ("usd_per_hour", "watts")
LINK = "transfer_nic"  # record of the links between the pools
_OF_LINK = tuple(f"scale_out_{name}" for name in ("bytes_per_s", "utilisation", "step_s"))


def link_of(space):
    """{field: number} of the links of a space of one pair of pools."""
    row = next(iter(space.rows[LINK].values()))
    return {field: space.fixed.get(f"{LINK}_{field}", row[field]) for field in _OF_LINK}


class Pairs(Points):
    """Points of a space of two pools, or samples of the one that it has."""

    def tables(self, varied):
        """Tables of the steps of each pool."""
        along = LENGTHS if self.laws.by_sample else "sample"
        self.pool, self.varied = {}, varied
        for name, space in self.space.pools.items():
            own = {_of_pool(key, name): numbers for key, numbers in varied.items() if _of_pool(key, name)}
            layouts = layouts_of(space, own, along, f"{name}_")
            decode = tables.Decode(layouts, self.laws, (), self.left_out)
            self.pool[name] = decode, tables.Prompts(layouts, self.laws, decode.groups, self.left_out)
        self.decode, _ = self.pool["decode"]

    @functools.cached_property
    def of_layouts(self):
        """{variable: (dims, array)} of the layouts of one pool alone."""
        found = {}
        for name, (decode, prompts) in self.pool.items():
            own = decode.found | {"ok_sp": prompts.found["ok_sp"]}
            of_steps = {f"ok_{name}_{mask}": own[f"ok_{mask}"] for mask in study.OF_STEPS}
            found |= {mask: x for mask, x in of_steps.items() if not {tables.LOADS, LENGTHS} & set(x[0])}
        return found

    def program(self, chunked, quantiles):
        """Function of `pool_answer.Points`."""
        del chunked
        return _program(self.open, quantiles)

    def points(self, index, law, asked, chunked):
        """`pool_answer.Points` of points."""
        of = {name: self._instance(name, index, law, asked) for name in self.pool}
        link = {name: self._link(name, index, len(law)) for name in ("bytes_per_s", "utilisation", "step_s")}
        gained = self.number(self.decode.found, "gained", index, law)
        return pool_answer.Points(
            **of,
            load=self.laws.load(law, gained),
            **{name: x for name, x in self.requests(asked).items() if name not in of},
            link_bytes_per_s=link["bytes_per_s"] * link["utilisation"],
            link_step_s=link["step_s"],
        )

    def requests(self, asked):
        """{field of `pool_answer.Points`: numbers} that the requests of points decide."""
        own = super().requests(asked)
        instances = {name: asked[name] for name in ("prefill_instances", "decode_instances")}
        return instances | {"asked": own["asked"], "prefill": own, "decode": own}

    def _instance(self, name, index, law, asked):
        """`answer.Points` of an instance of a pool; what only the other pool does is there and not read."""
        return _Instance(self, *self.pool[name]).points(index, law, asked, chunked=False)

    def _link(self, field, index, points):
        """A number of the links of the transfer at points."""
        record, name = LINK, f"scale_out_{field}"
        axis = f"{record}_{name}"
        if (record, name) in self.varied:
            return np.broadcast_to(self.varied[record, name], self.sizes["sample"])[index["sample"]]
        if axis in self.space.axes or axis in self.space.fixed:
            values, along = self.laws.values(axis), axis
        else:
            values, along = np.array([row[name] for row in self.space.rows[record].values()]), record
        return values[index[along]] if along in self.space.axes else np.full(points, values[0])

    def derived(self, values, index, law, asked):
        """Variables that follow from others; chips, prices and power are those of all instances."""
        found = {"ttft": values["ttft_mean"], "tpot": values["tpot_mean"], "tps_per_user": 1.0 / values["tpot_mean"]}
        total = dict.fromkeys(("chips", *CHIPS), 0.0)
        for name, (decode, _) in self.pool.items():
            chips = asked[f"{name}_instances"] * self.number(decode.found, "chips", index, law)
            total["chips"] = total["chips"] + chips
            for number in CHIPS:  # 0, unknown, of either pool: of both
                each = chips * self.number(decode.found, number, index, law)
                total[number] = np.where(each > 0.0, total[number] + each, np.nan)
        found["chips"] = total["chips"]
        found["tps_per_chip"] = values["tps_total"] / total["chips"]
        found["batch_total"] = values["requests_per_s_served"] * values["latency_mean"]
        each = {name: np.nan_to_num(total[name] / total["chips"], nan=0.0) for name in CHIPS}
        with np.errstate(divide="ignore", invalid="ignore"):
            return found | metrics.per_token(types.SimpleNamespace(**each), found["tps_per_chip"])

    def parts(self, values, index, law):
        """Where a step of decode goes."""
        mean = self.shares(self.decode.found, np.maximum(values["step/sequences"], 1.0), index, law)
        return self.of_shares(values["step_time"], mean)

    def masks_of_steps(self, values, index, law):
        """Masks of the steps of both pools."""
        found = {}
        for name, (decode, prompts) in self.pool.items():
            own = decode.found | {"ok_sp": prompts.found["ok_sp"]}
            load = values["step/sequences"]
            found |= {f"ok_{name}_{mask}": self.mask(own[f"ok_{mask}"], load, index, law) for mask in study.OF_STEPS}
        return found


class _Instance(Points):
    """One pool, in place of a space of servers."""

    def __init__(self, pairs, decode, prompts):
        self.laws, self.open, self.decode, self.prompts = pairs.laws, pairs.open, decode, prompts


def _of_pool(key, pool):
    """{(record, field)} of a pool as the core model calls it; None of the other pool's."""
    record, field = key
    if record.startswith(f"{pool}_"):
        return record.removeprefix(f"{pool}_"), field
    if record in ("workload", "deployment") and field.startswith(f"{pool}_"):
        return record, field.removeprefix(f"{pool}_")
    return key if record in ("model", "workload") and field not in HIDDEN else None


@remembered(16)
def _program(open_, with_quantiles):
    return functools.partial(pool_answer.variables, open_=open_, with_quantiles=with_quantiles)
