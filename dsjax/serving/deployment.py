"""`Split` of a deployment over its chips: sizes as numbers of the step, impossible ones replaced."""

import dataclasses

from .. import arrays
from ..formulas.operators.shapes import quotient
from ..formulas.routing import expert_slots
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
    chips: float  # of the instance, all stages of its pipeline
    dp: float
    groups: int  # whole ones: floor(dp), at least 1
    several: bool  # whether there is more than one: chips > pp tp
    slots: float  # experts one card holds
    copies: bool  # whether cards have more slots than there are experts
    counts: Deployment  # the sizes as integers, those that were not given derived: ceilings and divisibility are exact
    stages: float | None  # of the pipeline of layers; None: one, and no other is asked for


def split(deployment, model, dtype):
    """`Split` of a deployment: chips = pp moe_tp ep, dp = chips / (pp tp); of `ep` and `chips` what is None is derived.

    `shared_tp` None: as tp. `pp` None: 1.
    """
    d = deployment
    cards = d.moe_tp if d.pp is None else d.pp * d.moe_tp  # chips that hold one share of the experts
    ep = arrays.maximum(d.chips // cards, 1) if d.ep is None else d.ep
    chips = cards * ep if d.chips is None else d.chips
    shared_tp = d.tp if d.shared_tp is None else d.shared_tp
    counts = dataclasses.replace(d, ep=ep, chips=chips, shared_tp=shared_tp)
    slots = expert_slots(model.n_routed_experts + d.redundant_experts, ep)
    names = ("tp", "shared_tp", "kv_split", "moe_tp", "ep", "sp", "chips")
    sizes = {name: arrays.asarray(getattr(counts, name), dtype) for name in names}
    share = d.tp if d.pp is None else d.pp * d.tp  # chips that hold one group, all layers
    dp, groups = quotient(chips, share, dtype), arrays.maximum(chips // share, 1)
    stages = None if d.pp is None else arrays.asarray(d.pp, dtype)
    copies, slots = ep * slots > model.n_routed_experts, arrays.asarray(slots, dtype)
    of_groups = {"dp": dp, "groups": groups, "several": chips > share}
    return Split(**sizes, **of_groups, slots=slots, copies=copies, counts=counts, stages=stages)
