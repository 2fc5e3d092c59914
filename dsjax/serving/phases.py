"""Decode and prefill: how many tokens each part of a step works on, and the shapes of attention."""

import jax
import jax.numpy as jnp

from ..formulas import attention
from ..formulas.metrics import accepted_tokens
from ..formulas.shapes import Attention, Gemm
from ..specs.fields import record


@record
class Load:
    """What one group of tp chips, and one card of experts, works on in a micro batch."""

    sequences: float  # of a group
    tokens: float  # of a group
    rows: float  # of a group, per chip under sequence parallelism
    all_tokens: float  # of all groups
    head_rows: float
    before: dict  # {operator: Gemm} of attention before the core
    core: Attention  # of a layer whose tokens see all of the context
    positions: float  # of one sequence on a chip, that this core attends to
    kv_elements: float  # of the KV cache one layer reads (decode) or writes (prefill)
    kv_as_activations: float  # keys and values that are read as activations (prefill)
    exchanged: tuple  # elements of queries and of results that the chips of a split cache exchange (decode)
    after: dict  # {operator: Gemm} of attention after the core

    @property
    def causal(self):
        """Whether whole prompts are worked on: known while tracing, as only decode exchanges anything."""
        return not self.exchanged


def decode(point, parts, share):
    """Every sequence extends by one token and its drafts: B = share batch tp sequences, T = B (1 + mtp) tokens."""
    context = point.workload.context
    queries = 1.0 + jnp.asarray(point.deployment.mtp, context.dtype)
    sequences = share * jnp.asarray(point.deployment.batch, context.dtype) * parts.tp
    return decode_load(point, parts, sequences, queries)


def decode_load(point, parts, sequences, queries):
    """`Load` of `sequences` sequences of a group with `queries` tokens each."""
    sizes = (point.model, sequences, queries, point.workload.context, parts.tp, parts.kv_split)
    shapes = _of_kind(point.model, attention.mla_decode(*sizes), attention.gqa_decode(*sizes))
    tokens = sequences * queries
    return Load(
        sequences=sequences,
        tokens=tokens,
        rows=tokens,
        all_tokens=tokens * parts.dp,
        head_rows=tokens,
        before={"q_a": shapes["q_a"], "kv_a": shapes["kv_a"], "q_b": shapes["q_b"], "kv_b": shapes["absorb_k"]},
        core=shapes["attention"],
        positions=point.workload.context / parts.kv_split,
        kv_elements=shapes["attention"].kv,
        exchanged=(shapes["attention"].inputs, shapes["attention"].outputs),
        kv_as_activations=jnp.zeros_like(tokens),
        after={"absorb_v": shapes["absorb_v"], "o": shapes["o"]},
    )


def _of_kind(model, latent, grouped):
    """{operator: shape} of MLA where the cache holds a latent, else of GQA: its projections are `q_b` and `kv_a`.

    What a model does not have is a shape without groups, and takes no time.
    """
    is_mla = model.kv_lora_rank > 0.0
    others = grouped | {"q_b": grouped["q"], "kv_a": grouped["kv"]}
    absent = Gemm(groups=0.0, m=1.0, k=1.0, n=1.0)

    def chosen(a, b):
        return jnp.where(is_mla, a, b)

    return {name: jax.tree.map(chosen, shape, others.get(name, absent)) for name, shape in latent.items()}


def prefill(point, parts, share):
    """Whole prompts: B = share prompts / dp of a group, T = B S tokens, T / sp of them on a chip under SP."""
    model, context = point.model, point.workload.context
    prompts = share * jnp.asarray(point.deployment.prompts, context.dtype) / parts.dp
    latent = attention.mla_prefill(model, prompts, context, parts.tp, parts.sp)
    shapes = _of_kind(model, latent, attention.gqa_prefill(model, prompts, context, parts.tp))
    tokens = prompts * context
    return Load(
        sequences=prompts,
        tokens=tokens,
        rows=tokens / parts.sp,
        all_tokens=tokens * parts.dp,
        head_rows=prompts,
        before={name: shapes[name] for name in ("q_a", "kv_a", "q_b", "kv_b")},
        core=shapes["attention"],
        positions=context,
        kv_elements=tokens * attention.cache_width(model, parts.tp) / parts.kv_split,
        exchanged=(),
        kv_as_activations=shapes["attention"].kv,
        after={"o": shapes["o"]},
    )


@record
class Outcome:
    """What a step of a phase gives its users."""

    tokens_per_user: float  # a sequence gains per step; NaN in prefill
    tokens_per_chip: float  # produced (decode) or read (prefill) per step and chip
    batch_total: float  # sequences or prompts in flight
    drafts: float | None  # draft tokens the MTP module makes per step; None in prefill
    ttft_steps: float | None  # steps until the first token; None in decode
    masks: dict  # {constraint: bool}
    even: bool  # a group's sequences can be halved


def decode_outcome(point, parts):
    """1 + sum a^i tokens per user and step; `ok_sp`: sequence parallelism is for prefill; `ok_mtp`: has a module."""
    d, w = point.deployment, point.workload
    batch, drafts = (jnp.asarray(x, w.context.dtype) for x in (d.batch, d.mtp))
    gained = 1.0 + accepted_tokens(w.acceptance, d.mtp)
    return Outcome(
        tokens_per_user=gained,
        tokens_per_chip=batch * gained,
        batch_total=batch * parts.chips,
        drafts=drafts,
        ttft_steps=None,
        masks={
            "sp": parts.masks["sp"] & (d.sp == 1),
            "prompts": jnp.ones((), bool),
            "mtp": (d.mtp == 0) | (point.model.num_nextn_predict_layers > 0.0),
        },
        even=(d.batch % 2 == 0) | (d.tp % 2 == 0),
    )


def prefill_outcome(point, parts):
    """The first token after one step; `ok_prompts`: every group works on the same number of whole prompts."""
    d, context = point.deployment, point.workload.context
    prompts = jnp.asarray(d.prompts, context.dtype)
    groups = parts.groups
    return Outcome(
        tokens_per_user=jnp.full((), jnp.nan, context.dtype),
        tokens_per_chip=prompts * context / parts.chips,
        batch_total=prompts,
        drafts=None,
        ttft_steps=jnp.ones((), context.dtype),
        masks={"sp": parts.masks["sp"], "prompts": d.prompts % groups == 0, "mtp": jnp.ones((), bool)},
        even=(d.prompts // groups) % 2 == 0,
    )


def decode_context(workload):
    """Mean context over the generation, isl + osl / 2, where an input length is given; else the context."""
    return jnp.where(workload.isl > 0.0, workload.isl + workload.osl / 2.0, workload.context)


def prefill_context(workload):
    """The input length where it is given; else the context."""
    return jnp.where(workload.isl > 0.0, workload.isl, workload.context)


# A phase: what it gives the step of the core model.
DECODE = {"context": decode_context, "load": decode, "outcome": decode_outcome}
PREFILL = {"context": prefill_context, "load": prefill, "outcome": prefill_outcome}
