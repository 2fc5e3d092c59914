"""Phases, decode and prefill: `Work` of a chip in a micro batch, `Outcome` of a step (dsjax/MODEL.md, section 1)."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .. import arrays
from ..formulas.constraints import masks
from ..formulas.metrics import accepted_tokens
from ..formulas.operators.shapes import Work
from ..formulas.routing import largest_normal, routed_rows
from ..specs.fields import record
from . import constraints


class Phase(NamedTuple):
    """A phase of serving, a policy of the step of the core model."""

    context: Callable  # workload -> positions that a token may attend to
    load: Callable  # (point, split) -> Load
    work: Callable  # (point, split, share of the batch) -> Work
    outcome: Callable  # (point, split) -> Outcome


class Load(NamedTuple):
    """Sequences of one micro batch, and the micro batches in flight (1: the pipeline of layers has one stage)."""

    sequences: float  # of the busiest group B
    of_all_groups: float  # A / q
    micro_batches: float = 1.0  # m


def decode_load(point, split):
    """`Load` of decode: `batch` tp sequences of every group; or `concurrency` C, of which the busiest group has s.

    s = ceil(C / dp) in m = min(pp, s) micro batches: B = ceil(s / m), A / q = max(C / m, B).
    """
    d, dtype = point.deployment, point.workload.context.dtype
    stages = 1.0 if split.stages is None else split.stages
    if d.concurrency is None:
        sequences = arrays.asarray(d.batch, dtype) * split.tp
        return Load(sequences, sequences * split.dp, stages)
    own = (d.concurrency - 1) // split.groups + 1
    count = 1 if d.pp is None else arrays.minimum(d.pp, own)
    sequences = arrays.asarray((own - 1) // count + 1, dtype)
    count = 1.0 if d.pp is None else arrays.asarray(count, dtype)
    return Load(sequences, arrays.maximum(arrays.asarray(d.concurrency, dtype) / count, sequences), count)


def decode_work(point, split, share):
    """Every sequence extends by one token and its drafts: B sequences of a group, T = B (1 + mtp) tokens."""
    load = decode_load(point, split)
    queries = 1.0 + arrays.asarray(point.deployment.mtp, point.workload.context.dtype)
    return extended(point, split, share * load.sequences, share * load.of_all_groups, queries)


def extended(point, split, sequences, of_all_groups, queries):
    """`Work` of `sequences` sequences of a group, `of_all_groups` of all, that extend by `queries` tokens each."""
    tokens = sequences * queries
    # Groups wait for the one with most positions in its cache.
    spread = length_spread(point.workload) * largest_normal(arrays.maximum(split.dp, 1.0))
    context = point.workload.context * (1.0 + spread / arrays.sqrt(sequences))
    rows = {"rows": tokens, "head_rows": tokens, "context": context, "causal": False}
    return composed(point, split, sequences, of_all_groups, queries, **rows)


def length_spread(workload):
    """Standard deviation over mean of the lengths that decode: of `context_cv`, and of osl evenly passed through.

    sqrt(context_cv^2 + (osl / (sqrt(12) S))^2), the second term where isl and osl are given; S their mean context.
    """
    if workload.osl is None:
        return workload.context_cv
    through = workload.osl / (math.sqrt(12.0) * workload.context)
    variance = workload.context_cv * workload.context_cv + through * through
    return arrays.where(variance > 0.0, arrays.sqrt(arrays.where(variance > 0.0, variance, 1.0)), 0.0)


def prefill_load(point, split):
    """`Load` of prefill: prompts / dp of a group in m = min(pp, of a group) micro batches."""
    d, dtype = point.deployment, point.workload.context.dtype
    prompts, count = arrays.asarray(d.prompts, dtype), 1.0
    if d.pp is not None:
        count = arrays.asarray(_micro_prompts(point, split), dtype)
    return Load(prompts / split.dp / count, prompts / count, count)


def _micro_prompts(point, split):
    return arrays.minimum(point.deployment.pp, arrays.maximum(point.deployment.prompts // split.groups, 1))


def prefill_work(point, split, share):
    """Whole prompts: B of a group, T = B S tokens, T / sp of them on a chip under SP."""
    context, load = point.workload.context, prefill_load(point, split)
    prompts, of_all = share * load.sequences, share * load.of_all_groups
    sizes = {"rows": prompts * context / split.sp, "head_rows": prompts, "context": context, "causal": True}
    return composed(point, split, prompts, of_all, context, **sizes)


def composed(point, split, sequences, of_all_groups, queries, **rows):
    """`Work` of `sequences` sequences of a group, `of_all_groups` of all, of `queries` tokens each."""
    tokens, all_tokens = sequences * queries, of_all_groups * queries
    routed, hit = routed_rows(point.model, point.workload, split, all_tokens)
    return Work(
        sequences=sequences,
        queries=queries,
        tokens=tokens,
        all_tokens=all_tokens,
        routed_rows=routed,
        experts=hit,
        tp=split.tp,
        kv_split=split.kv_split,
        shared_tp=split.shared_tp,
        moe_tp=split.moe_tp,
        expert_tile=point.precision.expert_tile,
        **rows,
    )


@record
class Outcome:
    """Result of a step of a phase for its users, and the masks of the phase."""

    tokens_per_user: float  # a sequence gains per step; NaN in prefill
    tokens_per_chip: float  # produced (decode) or read (prefill) per step and chip
    batch_total: float  # sequences or prompts in flight
    drafts: float | None  # draft tokens the MTP module makes per step; None in prefill
    host_s: float  # time of the engine on the host in a step that nothing hides [s]
    ttft_steps: float | None  # steps until the first token; None in decode
    masks: dict  # {constraint: bool}
    even: bool  # a group's sequences can be halved


def decode_outcome(point, split):
    """`Outcome` of decode: 1 + sum over i = 1..mtp of acceptance^i tokens per user and step."""
    d, w = point.deployment, point.workload
    drafts = arrays.asarray(d.mtp, w.context.dtype)
    gained = 1.0 + accepted_tokens(w.acceptance, d.mtp, w.acceptance_decay)
    if d.concurrency is None:
        batch, even = arrays.asarray(d.batch, w.context.dtype), (d.batch % 2 == 0) | (d.tp % 2 == 0)
        total = batch * split.chips
    else:
        total, even = arrays.asarray(d.concurrency, w.context.dtype), decode_load(point, split).sequences % 2.0 == 0.0
        batch = total / split.chips
    return Outcome(
        tokens_per_user=gained,
        tokens_per_chip=batch * gained,
        batch_total=total,
        drafts=drafts,
        host_s=point.engine.step_s + drafts * point.engine.draft_step_s,
        ttft_steps=None,
        masks={"prompts": np.True_} | masks(constraints.DECODE, constraints.Case(point, split)),
        even=even,
    )


def prefill_outcome(point, split):
    """`Outcome` of prefill: the first token comes after one step."""
    d, context = point.deployment, point.workload.context
    prompts = arrays.asarray(d.prompts, context.dtype)
    even = d.prompts // split.groups
    if d.pp is not None:
        even = even // _micro_prompts(point, split)
    return Outcome(
        tokens_per_user=arrays.full_like(context, math.nan),
        tokens_per_chip=prompts * context / split.chips,
        batch_total=prompts,
        drafts=None,
        host_s=point.engine.step_s + prompts / split.dp * point.engine.request_s,
        ttft_steps=arrays.ones_like(context),
        masks={"mtp": np.True_} | masks(constraints.PREFILL, constraints.Case(point, split)),
        even=even % 2 == 0,
    )


def decode_context(workload):
    """Mean context over the generation, isl + osl / 2, where an input length is given; else the context."""
    if workload.isl is None:
        return workload.context
    return workload.isl if workload.osl is None else workload.isl + workload.osl / 2.0


def prefill_context(workload):
    """The input length where it is given; else the context."""
    return workload.context if workload.isl is None else workload.isl


DECODE = Phase(decode_context, decode_load, decode_work, decode_outcome)
PREFILL = Phase(prefill_context, prefill_load, prefill_work, prefill_outcome)
