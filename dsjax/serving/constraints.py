"""The constraints of the core model (dsjax/MODEL.md, section 9): a predicate each, and the sentence of a refusal."""

import functools
import operator
from typing import NamedTuple

import numpy as np

from .. import arrays
from ..formulas import roofline
from ..formulas.constraints import MEMORY, Constraint, divides
from ..formulas.exchange import Exchange
from ..formulas.operators.shapes import Work
from ..options import entry
from ..specs.records import RATES, Point
from .deployment import Split


class Case(NamedTuple):
    """Input of the predicates: a point, its split, and what its step found."""

    point: Point
    split: Split
    memory_bytes: float | None = None  # of one chip
    suits: bool | None = None  # whether the batch suits the pipeline
    work: Work | None = None  # of one micro batch
    mode: Exchange | None = None  # dispatch mode


def _parts(parts, *sizes):
    return functools.reduce(operator.and_, (arrays.asarray(size, "int32") % parts == 0 for size in sizes))


def _chips(case):
    d = case.split.counts
    whole = d.tp if d.pp is None else d.pp * d.tp
    cards = d.moe_tp if d.pp is None else d.pp * d.moe_tp
    return (cards * d.ep == d.chips) & (d.chips % whole == 0)


def _says_chips(v):
    stages = v.get("pp", 1)
    cards = stages * v.get("moe_tp", 1) * v["ep"]
    if cards != v["chips"]:
        pp = f"pp {stages:g} x " if stages > 1 else ""
        product = f"{pp}moe_tp {v.get('moe_tp', 1):g} x ep {v['ep']:g} = {cards:,.0f}"
        return f"{product} are not the {v['chips']:,.0f} chips"
    return divides("tp", v["tp"], (v["chips"] / stages, f"chips{' of a stage' if stages > 1 else ''}"))


def _pp(case):
    d = case.split.counts
    if d.pp is None:
        return np.True_
    return d.pp <= arrays.asarray(case.point.model.num_hidden_layers, "int32")


def _says_pp(v):
    return f"pp = {v['pp']:g} stages are more than the {v['model_num_hidden_layers']:g} layers"


def _tp(case):
    d, model = case.split.counts, case.point.model
    kv_heads = arrays.maximum(arrays.asarray(model.num_key_value_heads, "int32"), 1)
    grouped = _parts(d.tp, kv_heads) | (d.tp % kv_heads == 0)
    split = _parts(d.tp, model.num_attention_heads, model.vocab_size)
    # Of widths that differ from layer to layer only their mean is known, which need not be whole.
    width = model.intermediate_size
    split = split & (_parts(d.tp, width) | (width > arrays.asarray(arrays.asarray(width, "int32"), width.dtype)))
    for heads in (model.sliding_heads, model.linear_heads):
        split = split if heads is None else split & _parts(d.tp, heads)
    return split & ((model.kv_lora_rank > 0.0) | grouped)


def _says_tp(v):
    tp, own, kv_heads = v["tp"], v["model_num_attention_heads"], max(v["model_num_key_value_heads"], 1)
    if not v["model_kv_lora_rank"] and own % tp == 0 and kv_heads % tp and tp % kv_heads:
        return f"tp = {tp:g} neither divides the {kv_heads:g} heads of keys and values nor is a multiple of them"
    return divides(
        "tp",
        v["tp"],
        (v["model_num_attention_heads"], "heads"),
        (v["model_intermediate_size"], "columns of the dense FFN"),
        (v["model_vocab_size"], "tokens of the vocabulary"),
        (v.get("model_sliding_heads") or v["tp"], "heads of layers with a window"),
        (v.get("model_linear_heads") or v["tp"], "heads of linear layers"),
    )


def _moe_tp(case):
    return _parts(case.split.counts.moe_tp, case.point.model.moe_intermediate_size)


def _says_moe_tp(v):
    return divides("moe_tp", v["moe_tp"], (v["model_moe_intermediate_size"], "columns of an expert"))


def _shared_tp(case):
    d, model = case.split.counts, case.point.model
    return (d.tp % d.shared_tp == 0) & _parts(d.shared_tp, model.n_shared_experts * model.moe_intermediate_size)


def _says_shared_tp(v):
    columns = v["model_n_shared_experts"] * v["model_moe_intermediate_size"]
    parts = v.get("shared_tp") or v["tp"]
    return divides("shared_tp", parts, (v["tp"], "chips of a group (tp)"), (columns, "columns of the shared experts"))


def _kv_split(case):
    return case.split.counts.tp % case.split.counts.kv_split == 0


def _says_kv_split(v):
    return divides("kv_split", v["kv_split"], (v["tp"], "chips of a group (tp)"))


def _sp(case):
    return case.split.counts.tp % case.split.counts.sp == 0


def _no_sp(case):
    """Decode has no sequence parallelism: sp = 1."""
    return _sp(case) & (case.split.counts.sp == 1)


def says_sp(v):
    """Why a split of sequences is refused."""
    if v["tp"] % v["sp"]:
        return f"sp = {v['sp']:g} does not divide tp = {v['tp']:g}"
    return f"sp = {v['sp']:g} with tp = {v['tp']:g} is not a split this model has in {v.get('phase', 'decode')}"


def _prompts(case):
    """Every group works on the same number of whole prompts, and every micro batch of it."""
    d, groups = case.split.counts, case.split.groups
    even = d.prompts % groups == 0
    if d.pp is None:
        return even
    own = arrays.maximum(d.prompts // groups, 1)
    return even & (own % arrays.minimum(d.pp, own) == 0)


def says_prompts(v):
    """Why a number of prompts is refused."""
    stages = f" and in each of {v['pp']:g} micro batches of it" if v.get("pp", 1) > 1 else ""
    return f"{v['prompts']:,.0f} prompts are not the same whole number in each of {v['dp']:,.4g} groups{stages}"


def _mtp(case):
    return (case.split.counts.mtp == 0) | (case.point.model.num_nextn_predict_layers > 0.0)


def _says_mtp(v):
    model = v["model"]
    given = f"{entry('settings', f'model.{model}.num_nextn_predict_layers', 1)} gives it one"
    return f"mtp = {v['mtp']:g}, and {model} has no MTP module that makes draft tokens ({given})"


def _topology(case):
    """Groups and cards are parts of a scale-up domain d or whole ones: tp | d or d | tp, moe_tp likewise, d | N.

    None of it matters where the domain holds all N chips.
    """
    d, domain = case.split.counts, arrays.asarray(arrays.round(case.point.hardware.scale_up_domain), "int32")
    domain = arrays.maximum(domain, 1)
    parts = [(domain % size == 0) | (size % domain == 0) for size in (d.tp, d.moe_tp)]
    return (d.chips <= domain) | ((d.chips % domain == 0) & parts[0] & parts[1])


def _says_topology(v):
    domain = v["hardware_scale_up_domain"]
    if v["chips"] % domain:
        return f"{v['chips']:,.0f} chips are not whole scale-up domains of {domain:g}"
    for name in ("tp", "moe_tp"):
        if domain % v[name] and v[name] % domain:
            return f"{name} = {v[name]:g} is neither a part of a scale-up domain of {domain:g} chips nor whole ones"
    return "groups of chips are neither parts of a scale-up domain nor whole ones"


USES = ("weight", "dense", "head", "absorbed", "expert", "shared", "attention")  # of compute rates of a precision


def has_rates(point):
    """Whether the chip has the compute rates that the precision asks for."""
    rates = (getattr(point.precision, f"{use}_rate") for use in USES)
    return functools.reduce(operator.and_, (roofline.has_rate(point.hardware, rate) for rate in rates))


def says_precision(v):
    """Which compute rates a chip lacks."""
    uses = {use: RATES[int(v[f"{use}_rate"])] for use in USES if f"{use}_rate" in v}
    lacking = {use: rate for use, rate in uses.items() if not v[f"hardware_{rate}_flops_per_s"]}
    asked = ", ".join(f"{rate} for {use}" for use, rate in lacking.items())
    return f"{v['hardware']} has not the compute rates that precision {v['precision']} asks for: {asked}"


def says_even_batch(v):
    """Why a batch does not suit a pipeline that halves it."""
    load = "prompts" if v.get("phase") == "prefill" else "concurrency" if "concurrency" in v else "batch"
    sizes = f"{load} = {v[load]:,.0f}" + (f", dp = {v['dp']:,.4g}" if load != "batch" else "")
    return f"{sizes}: the sequences of a group do not make the two equal halves of pipeline {v['pipeline']}"


def _fits(case):
    room = case.point.hardware.hbm_bytes * (1.0 - case.point.workload.memory_reserve)
    return case.memory_bytes <= room


def _exchange(case):
    """A low-latency dispatch has buffers for so many tokens of a chip, and no more."""
    buffered = case.mode.buffers(case.point, case.work.causal)
    if buffered is False:
        return np.True_
    most = case.point.engine.exchange_tokens
    return (most <= 0.0) | (case.work.tokens <= most * case.work.tp) | ~(case.split.several & buffered)


def _says_exchange(v):
    most = v["engine_exchange_tokens"]
    return f"a low-latency dispatch of engine {v['engine']} takes at most {most:,.0f} tokens of a chip"


def _engine(case):
    """Kernels that run after a dispatch are for layouts that dispatch."""
    return case.split.groups >= case.point.engine.fewest_groups


def _says_engine(v):
    return (
        f"engine {v['engine']} is for {v['engine_fewest_groups']:g} groups of attention or more, and dp = {v['dp']:g}"
    )


# Of the deployment, whatever the phase.
LAYOUT = (
    Constraint("chips", _chips, _says_chips),
    Constraint("tp", _tp, _says_tp),
    Constraint("moe_tp", _moe_tp, _says_moe_tp),
    Constraint("shared_tp", _shared_tp, _says_shared_tp),
    Constraint("kv_split", _kv_split, _says_kv_split),
    Constraint("pp", _pp, _says_pp),
    Constraint("engine", _engine, _says_engine),
)
# Of one phase; in the other one they hold.
DECODE = (Constraint("sp", _no_sp, says_sp), Constraint("mtp", _mtp, _says_mtp))
PREFILL = (Constraint("sp", _sp, says_sp), Constraint("prompts", _prompts, says_prompts))
# Of the step on its hardware.
STEP = (
    MEMORY._replace(holds=_fits),
    Constraint("topology", _topology, _says_topology),
    Constraint("precision", lambda case: has_rates(case.point), says_precision),
    Constraint("even_batch", lambda case: case.suits, says_even_batch),
    Constraint("exchange", _exchange, _says_exchange),
)
# In the order in which a result has their masks.
NAMES = (
    *("memory", "chips", "tp", "moe_tp", "sp", "shared_tp", "kv_split", "pp", "mtp", "prompts"),
    *("topology", "precision", "even_batch", "exchange", "engine"),
)
CONSTRAINTS = {c.name: c for c in (*LAYOUT, *DECODE, *PREFILL, *STEP)}
