"""Steps of a server, composed from the operators of the core model (dsjax/MODEL.md, 11.10).

A server's step is one of the core model at loads that need not be whole: sequences that decode, tokens of prompts. What
stands between them, the products with weights, is one pass over all tokens; the cores of attention are added.
"""

import dataclasses
import functools

from ... import arrays
from ...formulas import routing
from ...formulas.constraints import masks
from ...formulas.metrics import accepted_tokens
from ...formulas.point import fields_by_name
from ...formulas.roofline import Time
from .. import constraints, phases
from ..constraints import Case

WITHOUT = ("prompts", "even_batch", "memory")  # constraints of a step that a server does not have, or has its own for


def busiest(total, groups, piece, most=None):
    """What the busiest of `groups` groups has of a `total` that comes in pieces.

    Sequences, `most` None: each goes to the group that has least, total / groups + (1 - 1 / groups) piece / 2. Prompts
    of a step: groups have theirs by chance, as their sequences end; k = total / piece, the largest of so many counts of
    mean k / groups and variance v = k / groups (1 - 1 / groups) is k / groups + sqrt(v) z + (z^2 - 0.6) / 6, z the
    largest of as many normal numbers (`routing.largest_normal`, Cornish and Fisher); no more than `most` while the
    equal share is below it. At least one piece, and no more than all.
    """
    groups = arrays.maximum(groups, 1.0)  # tp beyond the chips: masked, and finite
    equal, one = total / groups, arrays.minimum(piece, total)
    if most is None:
        return arrays.minimum(arrays.maximum(equal + 0.5 * piece * (1.0 - 1.0 / groups), one), total)
    largest = routing.largest_normal(groups)
    spread = arrays.sqrt(equal / piece * (1.0 - 1.0 / groups) + 1e-24)
    skewed = arrays.where(groups > 1.0, arrays.maximum(largest * largest - 0.6, 0.0) / 6.0, 0.0)
    share = arrays.minimum(arrays.maximum(equal + piece * (spread * largest + skewed), one), total)
    return arrays.maximum(arrays.minimum(share, most), equal)


def decode_phase(loads, alone=False):
    """`phases.Phase` of a step in which `loads["sequences"]` sequences decode, a number of all groups.

    `alone`: without the module that makes drafts, and their host time.
    """

    def load(point, split):
        sequences = busiest(loads["sequences"], split.dp, 1.0)
        count = 1.0 if split.stages is None else arrays.clip(sequences, 1.0, split.stages)
        own = sequences / count
        return phases.Load(own, arrays.maximum(loads["sequences"] / count, own), count)

    def work(point, split, share):
        found, queries = load(point, split), 1.0 + arrays.asarray(point.deployment.mtp, point.workload.context.dtype)
        return phases.extended(point, split, share * found.sequences, share * found.of_all_groups, queries)

    def outcome(point, split):
        d, w = point.deployment, point.workload
        drafts = arrays.asarray(d.mtp, w.context.dtype)
        gained = 1.0 + accepted_tokens(w.acceptance, d.mtp, w.acceptance_decay)
        host = point.engine.step_s + (0.0 if alone else drafts * point.engine.draft_step_s)
        case, drafts = masks(constraints.DECODE, Case(point, split)), None if alone else drafts
        return _outcome(gained, loads["sequences"] * gained / split.chips, loads["sequences"], drafts, host, case)

    return phases.Phase(lambda workload: loads["context"], load, work, outcome)


def prompt_phase(loads):
    """`phases.Phase` of a step over `loads["tokens"]` new tokens of prompts, a number of all groups.

    Every token attends to `loads["pairs"]` positions in the mean; `loads["cached"]` positions of the cache belong to
    a token; prompts have `loads["prompt"]` new tokens, of which a group takes at most `loads["budget"]` in a step.
    One prompt alone is one whose `prompt` and `budget` are no less than the tokens.
    """

    def sizes(split):
        """(prompts of the busiest group, of all groups, tokens of one)."""
        total, prompt = loads["tokens"], loads["prompt"]
        tokens = busiest(total, split.dp, arrays.minimum(prompt, loads["budget"]), loads["budget"])
        queries = arrays.minimum(prompt, tokens)
        return tokens / queries, total / queries, queries

    def load(point, split):
        own, every, _ = sizes(split)
        count = 1.0 if split.stages is None else arrays.clip(own, 1.0, split.stages)
        return phases.Load(own / count, every / count, count)

    def work(point, split, share):
        found, queries = load(point, split), sizes(split)[2]
        prompts, tokens = share * found.sequences, share * found.sequences * queries
        rows = {"rows": tokens / split.sp, "head_rows": prompts, "context": point.workload.context, "causal": True}
        rows["cached"] = loads["cached"] * tokens
        return phases.composed(point, split, prompts, share * found.of_all_groups, queries, **rows)

    def outcome(point, split):
        tokens = loads["tokens"]
        case = masks(constraints.PREFILL[:1], Case(point, split))
        return _outcome(1.0 + 0.0 * tokens, tokens / split.chips, tokens, None, point.engine.step_s, case)

    return phases.Phase(lambda workload: 2.0 * loads["pairs"], load, work, outcome)


def _outcome(gained, per_chip, total, drafts, host_s, held):
    return phases.Outcome(
        tokens_per_user=gained,
        tokens_per_chip=per_chip,
        batch_total=total,
        drafts=drafts,
        host_s=host_s,
        ttft_steps=None,
        masks={"mtp": True, "prompts": True} | held,
        even=True,
    )


# What attends to positions: of a step of decode and prompts each has its own.
CORES = ("attention", "sliding_attention", "linear_core", "kv_exchange", "index_scores", "index_selection")
PARTS = tuple(f.name for f in dataclasses.fields(Time))


def _parts(time):
    """{"part/<field of Time>": seconds} of a step."""
    none = arrays.zeros_like(time.total)
    return {f"part/{name}": none if (own := getattr(time, name)) is None else own for name in PARTS}


def decode_at(fields=()):
    """Function to lift: a step of decode, memory and masks at a load; and the `fields` of the point, by name."""
    return _decode_at(tuple(fields))


@functools.lru_cache(maxsize=64)
def _decode_at(fields):

    def function(of, point, loads, *, phase, **policies):
        del phase
        found = of(_at(point, loads), phase=decode_phase(loads), **policies)
        cache = found.memory["kv_cache"]
        state = found.memory.get("state")
        held = sum(found.memory.values()) - cache - found.memory["activations"]
        sequences = busiest(loads["sequences"], found.dp, 1.0)
        named = fields_by_name(point)
        values = {
            "seconds": found.time.total,
            "held_bytes": held,
            # Of a position of a group's sequence, on a chip; a model without a cache has one of a byte.
            "position_bytes": arrays.maximum(cache / (sequences * loads["context"]), 1.0),
            "live_bytes": found.memory["activations"],
            "room_bytes": point.hardware.hbm_bytes * (1.0 - point.workload.memory_reserve),
            "spare_bytes": point.engine.activations_reserved * point.hardware.hbm_bytes * point.workload.memory_reserve,
            "gained": found.tokens_per_user,
            "tokens": 1.0 + arrays.asarray(point.deployment.mtp, point.workload.context.dtype),  # of a sequence
            "chips": found.chips,
            "dp": found.dp,
            "ep": found.ep,
            "usd_per_hour": point.hardware.usd_per_hour,
            "watts": point.hardware.watts,
        }
        if state is not None:  # of a sequence, however long
            values |= {"held_bytes": held - state, "state_bytes": state / sequences}
        values |= {f"ok_{name}": ok for name, ok in found.masks.items() if name not in WITHOUT} | _parts(found.time)
        return values | {f"field/{name}": named[name] for name in fields}

    return function


def prompts_at(of, point, loads, *, phase, **policies):
    """Function to lift: a step of prompts at a load, its activations, and what the host adds for a prompt."""
    del phase
    found = of(_at(point, loads), phase=prompt_phase(loads), **policies)
    # The host launches ahead of the chip, or the chip waits for it.
    host = point.model.num_hidden_layers * point.engine.prompt_layer_s
    time = found.time + Time(exposed_latency=arrays.maximum(host - found.time.total, 0.0))
    return {
        "seconds": time.total,
        "live_bytes": found.memory["activations"],
        "prompt_s": point.engine.request_s / found.dp,  # of one of many prompts, spread over the groups
        "ok_sp": found.masks["sp"],
    } | _parts(time)


def decode_products(of, point, loads, *, phase, **policies):
    """Function to lift: the products with weights of a step of decode at a load, without what drafts add."""
    del phase
    found = of(_at(point, loads), phase=decode_phase(loads, alone=True), without=CORES, **policies)
    return {"seconds": found.time.total}


def prompt_products(of, point, loads, *, phase, **policies):
    """Function to lift: the same of a step of prompts."""
    del phase
    found = of(_at(point, loads), phase=prompt_phase(loads), without=CORES, **policies)
    return {"seconds": found.time.total}


def _at(point, loads):
    """A point whose lengths are those of a load."""
    spread = loads.get("spread", point.workload.context_cv)
    return dataclasses.replace(
        point, workload=dataclasses.replace(point.workload, isl=None, osl=None, context_cv=spread)
    )
