"""Phases, decode and prefill: `Work` of a chip in a micro batch, `Outcome` of a step (dsjax/MODEL.md, section 1)."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .. import arrays
from ..formulas.constraints import masks
from ..formulas.metrics import accepted_tokens
from ..formulas.routing import routed_rows
from ..formulas.work import Work
from ..specs.fields import record
from . import constraints


class Phase(NamedTuple):
    """A phase of serving, a policy of the step of the core model."""

    context: Callable  # workload -> positions that a token may attend to
    work: Callable  # (point, split, share of the batch) -> Work
    outcome: Callable  # (point, split) -> Outcome


def decode_work(point, split, share):
    """Every sequence extends by one token and its drafts: B = share batch tp sequences, T = B (1 + mtp) tokens."""
    context = point.workload.context
    queries = 1.0 + arrays.asarray(point.deployment.mtp, context.dtype)
    sequences = share * arrays.asarray(point.deployment.batch, context.dtype) * split.tp
    return extended(point, split, sequences, queries)


def extended(point, split, sequences, queries):
    """`Work` of `sequences` sequences of a group that extend by `queries` tokens each."""
    tokens = sequences * queries
    return _work(point, split, sequences, queries, rows=tokens, head_rows=tokens, causal=False)


def prefill_work(point, split, share):
    """Whole prompts: B = share prompts / dp of a group, T = B S tokens, T / sp of them on a chip under SP."""
    context = point.workload.context
    prompts = share * arrays.asarray(point.deployment.prompts, context.dtype) / split.dp
    return _work(point, split, prompts, context, rows=prompts * context / split.sp, head_rows=prompts, causal=True)


def _work(point, split, sequences, queries, **rows):
    tokens = sequences * queries
    routed, hit = routed_rows(point.model, point.workload, split, tokens * split.dp)
    return Work(
        sequences=sequences,
        queries=queries,
        tokens=tokens,
        all_tokens=tokens * split.dp,
        context=point.workload.context,
        routed_rows=routed,
        experts=hit,
        tp=split.tp,
        kv_split=split.kv_split,
        shared_tp=split.shared_tp,
        moe_tp=split.moe_tp,
        **rows,
    )


@record
class Outcome:
    """Result of a step of a phase for its users, and the masks of the phase."""

    tokens_per_user: float  # a sequence gains per step; NaN in prefill
    tokens_per_chip: float  # produced (decode) or read (prefill) per step and chip
    batch_total: float  # sequences or prompts in flight
    drafts: float | None  # draft tokens the MTP module makes per step; None in prefill
    ttft_steps: float | None  # steps until the first token; None in decode
    masks: dict  # {constraint: bool}
    even: bool  # a group's sequences can be halved


def decode_outcome(point, split):
    """`Outcome` of decode: 1 + sum over i = 1..mtp of acceptance^i tokens per user and step."""
    d, w = point.deployment, point.workload
    batch, drafts = (arrays.asarray(x, w.context.dtype) for x in (d.batch, d.mtp))
    gained = 1.0 + accepted_tokens(w.acceptance, d.mtp)
    return Outcome(
        tokens_per_user=gained,
        tokens_per_chip=batch * gained,
        batch_total=batch * split.chips,
        drafts=drafts,
        ttft_steps=None,
        masks={"prompts": np.True_} | masks(constraints.DECODE, constraints.Case(point, split)),
        even=(d.batch % 2 == 0) | (d.tp % 2 == 0),
    )


def prefill_outcome(point, split):
    """`Outcome` of prefill: the first token comes after one step."""
    d, context = point.deployment, point.workload.context
    prompts = arrays.asarray(d.prompts, context.dtype)
    return Outcome(
        tokens_per_user=arrays.full_like(context, math.nan),
        tokens_per_chip=prompts * context / split.chips,
        batch_total=prompts,
        drafts=None,
        ttft_steps=arrays.ones_like(context),
        masks={"mtp": np.True_} | masks(constraints.PREFILL, constraints.Case(point, split)),
        even=(d.prompts // split.groups) % 2 == 0,
    )


def decode_context(workload):
    """Mean context over the generation, isl + osl / 2, where an input length is given; else the context."""
    return arrays.where(workload.isl > 0.0, workload.isl + workload.osl / 2.0, workload.context)


def prefill_context(workload):
    """The input length where it is given; else the context."""
    return arrays.where(workload.isl > 0.0, workload.isl, workload.context)


DECODE = Phase(decode_context, decode_work, decode_outcome)
PREFILL = Phase(prefill_context, prefill_work, prefill_outcome)
