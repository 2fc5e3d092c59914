"""How a deployment splits the model: sizes, divisibility."""

import functools
import operator

import jax.numpy as jnp

from ..formulas.routing import expert_slots
from ..formulas.shapes import quotient
from ..specs.fields import record


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
    masks: dict  # {constraint: bool}


def split(deployment, model, dtype):
    """`Split` of a deployment: chips = moe_tp ep, dp = chips / tp; of `ep` and `chips` the one that is 0 is derived.

    `ok_chips`: moe_tp ep = chips and tp divides chips; `ok_tp`, `ok_moe_tp`: heads and widths split; `ok_sp`,
    `ok_shared_tp`, `ok_kv_split`: divide tp; `shared_tp` 0: as tp. Ceilings and divisibility are exact: integers.
    """
    d = deployment
    ep = jnp.where(d.ep > 0, d.ep, jnp.maximum(d.chips // d.moe_tp, 1))
    chips = jnp.where(d.chips > 0, d.chips, d.moe_tp * ep)
    shared_tp = jnp.where(d.shared_tp > 0, d.shared_tp, d.tp)
    kv_heads = jnp.asarray(model.num_key_value_heads, jnp.int32)
    shared_width = model.n_shared_experts * model.moe_intermediate_size

    def divides(parts, *sizes):
        return functools.reduce(operator.and_, (jnp.asarray(size, jnp.int32) % parts == 0 for size in sizes))

    masks = {
        "chips": (d.moe_tp * ep == chips) & (chips % d.tp == 0),
        "tp": divides(d.tp, model.num_attention_heads, model.intermediate_size, model.vocab_size)
        & ((model.kv_lora_rank > 0.0) | divides(d.tp, kv_heads) | (d.tp % kv_heads == 0)),
        "moe_tp": divides(d.moe_tp, model.moe_intermediate_size),
        "sp": d.tp % d.sp == 0,
        "shared_tp": (d.tp % shared_tp == 0) & divides(shared_tp, shared_width),
        "kv_split": d.tp % d.kv_split == 0,
    }
    slots = expert_slots(model.n_routed_experts + d.redundant_experts, ep)
    sizes = {"tp": d.tp, "shared_tp": shared_tp, "kv_split": d.kv_split, "moe_tp": d.moe_tp, "ep": ep, "sp": d.sp}
    sizes = {name: jnp.asarray(x, dtype) for name, x in (sizes | {"chips": chips, "slots": slots}).items()}
    dp, groups = quotient(chips, d.tp, dtype), jnp.maximum(chips // d.tp, 1)
    return Split(**sizes, dp=dp, groups=groups, masks=masks)
