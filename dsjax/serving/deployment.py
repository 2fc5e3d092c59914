"""`Split` of a deployment over its chips: sizes as numbers of the step, impossible ones replaced."""

import dataclasses

from .. import arrays
from ..formulas.routing import expert_slots
from ..formulas.shapes import quotient
from ..specs.fields import record
from ..specs.records import Deployment


@record
class Split:
    """Sizes of the deployment as floating-point numbers, impossible ones replaced by finite stand-ins."""

    tp: float
    shared_tp: float
    kv_split: float
    moe_tp: float
    ep: float
    sp: float
    chips: float
    dp: float
    groups: int  # whole ones: floor(dp), at least 1
    slots: float  # experts one card holds
    counts: Deployment  # the sizes as integers, those that were not given derived: ceilings and divisibility are exact


def split(deployment, model, dtype):
    """`Split` of a deployment: chips = moe_tp ep, dp = chips / tp; of `ep` and `chips` the one that is 0 is derived.

    `shared_tp` 0: as tp.
    """
    d = deployment
    ep = arrays.where(d.ep > 0, d.ep, arrays.maximum(d.chips // d.moe_tp, 1))
    chips = arrays.where(d.chips > 0, d.chips, d.moe_tp * ep)
    shared_tp = arrays.where(d.shared_tp > 0, d.shared_tp, d.tp)
    counts = dataclasses.replace(d, ep=ep, chips=chips, shared_tp=shared_tp)
    slots = expert_slots(model.n_routed_experts + d.redundant_experts, ep)
    names = ("tp", "shared_tp", "kv_split", "moe_tp", "ep", "sp", "chips")
    sizes = {name: arrays.asarray(getattr(counts, name), dtype) for name in names}
    dp, groups = quotient(chips, d.tp, dtype), arrays.maximum(chips // d.tp, 1)
    return Split(**sizes, dp=dp, groups=groups, slots=arrays.asarray(slots, dtype), counts=counts)
