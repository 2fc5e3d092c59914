"""How the SG2260E deployment study of DeepSeek-V3 (2025) lays the model out, and what decode and prefill ask of it."""

from typing import NamedTuple

import numpy as np

from .. import arrays
from ..formulas.constraints import MEMORY, Constraint, divides, masks
from ..formulas.operators import shapes
from ..serving import constraints
from ..specs import fields
from . import operators


@fields.record
class Layout:
    """Sizes of the deployment as floating-point numbers, finite also where it is impossible."""

    tp: float
    moe_tp: float
    ep: float
    chips: float
    dp: float
    groups: int  # whole ones: floor(dp), at least 1
    heads: float  # per chip
    experts: float  # per chip


@fields.record
class Phase:
    """What one pass over `sequences` sequences of the whole instance asks for."""

    sequences: float
    tokens: float  # of one sequence in one pass
    sp: float
    up_heads: float  # heads whose keys and values a chip unfolds
    score_width: float  # elements per head of one score and of the value it weighs
    core_bytes: float  # of the attention core, per token of the group and chip
    matmul_utilisation: float
    all_reduces: float  # per layer
    divisible: int  # what micro batches must divide
    is_prefill: bool
    ok_prompts: bool


class Case(NamedTuple):
    """Input of the predicates of the study."""

    point: object
    ep: object
    chips: object


def _chips(case):
    d = case.point.deployment
    return (case.chips // d.moe_tp == case.ep) & (case.chips % d.moe_tp == 0) & (case.chips % d.tp == 0)


def _tp(case):
    return arrays.asarray(case.point.model.num_attention_heads, "int32") % case.point.deployment.tp == 0


def _ep(case):
    """The study has no redundant experts."""
    return case.point.model.n_routed_experts % case.ep == 0


def _says_ep(v):
    return divides("ep", v["ep"], (v["model_n_routed_experts"], "experts, and none is held twice"))


def _sp(case):
    return (case.point.deployment.sp == 1) | (case.point.deployment.sp == case.point.deployment.tp)


LAYOUT = (
    constraints.CONSTRAINTS["chips"]._replace(holds=_chips),
    constraints.CONSTRAINTS["tp"]._replace(holds=_tp),
    Constraint("ep", _ep, _says_ep),
    constraints.CONSTRAINTS["sp"]._replace(holds=_sp),
    Constraint("precision", lambda case: constraints.has_rates(case.point), constraints.says_precision),
)
STEP = (  # of (phase, micro batches)
    Constraint("prompts", lambda case: case[0].ok_prompts, constraints.says_prompts),
    Constraint("even_batch", lambda case: case[0].divisible % case[1] == 0, constraints.says_even_batch),
)
CONSTRAINTS = {c.name: c for c in (MEMORY, *LAYOUT, *STEP)}


def layout(point):
    """(`Layout`, masks): chips = moe_tp ep, dp = chips / tp; of `ep` and `chips` the one that is 0 is derived."""
    d, model = point.deployment, point.model
    ep = arrays.maximum(d.chips // d.moe_tp, 1) if d.ep is None else d.ep
    chips = d.moe_tp * ep if d.chips is None else d.chips
    found = masks(LAYOUT, Case(point, ep, chips))
    chips, dtype = arrays.maximum(chips, 1), point.workload.context.dtype
    numbers = {"tp": d.tp, "moe_tp": d.moe_tp, "ep": ep, "chips": chips}
    sizes = {name: arrays.asarray(x, dtype) for name, x in numbers.items()}
    sizes |= {"dp": shapes.quotient(chips, d.tp, dtype), "groups": arrays.maximum(chips // d.tp, 1)}
    experts = shapes.quotient(model.n_routed_experts, ep, dtype)
    return Layout(**sizes, heads=model.num_attention_heads / sizes["tp"], experts=experts), found


def decode(point, parts):
    """`batch` sequences per chip extend by one token each: absorbed MLA over the latent cache, no SP."""
    hw, model, context = point.hardware, point.model, point.workload.context
    batch = arrays.asarray(point.deployment.batch, context.dtype)
    true = np.True_
    return Phase(
        sequences=batch * parts.chips,
        tokens=arrays.ones_like(context),
        sp=arrays.ones_like(context),
        up_heads=model.num_attention_heads,
        score_width=2.0 * model.kv_lora_rank + model.qk_rope_head_dim,
        core_bytes=operators.mla_kv_bytes(context, model, hw.kv_read_bytes),
        matmul_utilisation=hw.decode_matmul_utilisation,
        all_reduces=hw.decode_all_reduces,
        divisible=point.deployment.batch,
        is_prefill=~true,
        ok_prompts=true,
    )


def prefill(point, parts):
    """`prompts` prompts in the whole instance are read: Q, K, V unfolded; SP splits what TP does not.

    `ok_prompts`: dp divides the prompts.
    """
    hw, model, context, d = point.hardware, point.model, point.workload.context, point.deployment
    prompts, sp = (arrays.asarray(x, context.dtype) for x in (d.prompts, d.sp))
    width = model.qk_nope_head_dim + model.qk_rope_head_dim + model.v_head_dim
    return Phase(
        sequences=prompts,
        tokens=context,
        sp=sp,
        up_heads=parts.heads,
        score_width=width,
        core_bytes=parts.heads * 2.0 * width * point.precision.activation_bytes,
        matmul_utilisation=hw.prefill_matmul_utilisation,
        all_reduces=hw.prefill_all_reduces,
        divisible=d.prompts // parts.groups,
        is_prefill=np.True_,
        ok_prompts=d.prompts % parts.groups == 0,
    )
