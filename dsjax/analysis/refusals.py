"""Sentences: why a constraint refuses a point, and what kind of source a number has."""

from ..catalog import reader
from ..formulas import constraints
from ..specs import records
from ..specs.variables import VARIABLES

_PREFIXED = ("hardware", "nic", "model")


def numbers(space, values):
    """{name as in a grid: number} of a point: its rows, what is fixed, and its variables."""
    named = {}
    for record, rows in space.rows.items():
        row = rows.get(space.fixed.get(record), {})
        prefix = f"{record}_" if record in _PREFIXED else ""
        named |= {f"{prefix}{field}": value for field, value in reader.numbers(row).items()}
    given = space.fixed | {name.removeprefix("precision_"): value for name, value in space.fixed.items()}
    return named | given | {name: value for name, value in values.items() if "/" not in name}


def why(space, values, mask):
    """Why the constraint called `mask` refuses the point; "" where it holds."""
    if values[f"ok_{mask}"]:
        return ""
    v = numbers(space, values)
    if mask in _SENTENCES:
        return _SENTENCES[mask](v)
    bounds = [(side, space.bounds[f"{side}_{mask}"]) for side in ("min", "max") if f"{side}_{mask}" in space.bounds]
    for side, bound in bounds:
        bound = constraints.at_length(bound, v["isl"] if v.get("isl") else v["context"])
        if v[mask] < bound if side == "min" else v[mask] > bound:
            beyond = "below" if side == "min" else "above"
            return f"{mask} = {_quantity(mask, v[mask])} is {beyond} {_quantity(mask, float(bound))}"
    return f"{mask} is outside what is asked for"


def _quantity(name, value):
    units = VARIABLES.get(name, ("1",))[0]
    if units == "B":
        return f"{value / 1e9:,.2f} GB"
    return f"{value:,.4g}" if units == "1" else f"{value:,.4g} {units}"


def _tp(v):
    return _divides(
        "tp",
        v["tp"],
        (v["model_num_attention_heads"], "heads"),
        (v["model_intermediate_size"], "columns of the dense FFN"),
        (v["model_vocab_size"], "tokens of the vocabulary"),
    )


def _shared_tp(v):
    columns = v["model_n_shared_experts"] * v["model_moe_intermediate_size"]
    parts = v.get("shared_tp") or v["tp"]
    return _divides("shared_tp", parts, (v["tp"], "chips of a group (tp)"), (columns, "columns of the shared experts"))


def _divides(name, parts, *sizes):
    for size, what in sizes:
        if size % parts:
            return f"{name} = {parts:g} does not divide the {size:,.0f} {what}"
    return f"{name} = {parts:g} does not divide the model"


def _chips(v):
    cards = v.get("moe_tp", 1) * v["ep"]
    if cards != v["chips"]:
        return f"moe_tp {v.get('moe_tp', 1):g} x ep {v['ep']:g} = {cards:,.0f} are not the {v['chips']:,.0f} chips"
    return _divides("tp", v["tp"], (v["chips"], "chips"))


def _sp(v):
    if v["tp"] % v["sp"]:
        return f"sp = {v['sp']:g} does not divide tp = {v['tp']:g}"
    return f"sp = {v['sp']:g} with tp = {v['tp']:g} is not a split this model has in {v.get('phase', 'decode')}"


def _prompts(v):
    return f"{v['prompts']:,.0f} prompts are not the same whole number in each of {v['dp']:,.4g} groups"


def _even_batch(v):
    load = "prompts" if v.get("phase") == "prefill" else "batch"
    sizes = f"{load} = {v[load]:,.0f}" + (f", dp = {v['dp']:,.4g}" if load == "prompts" else "")
    return f"{sizes}: the sequences of a group do not make the two equal halves of pipeline {v['pipeline']}"


def _topology(v):
    domain = v["hardware_scale_up_domain"]
    for name in ("tp", "moe_tp"):
        if v[name] > domain:
            return f"{name} = {v[name]:g} is more than the {domain:g} chips of a scale-up domain"
    if v["chips"] % domain:
        return f"{v['chips']:,.0f} chips are not whole scale-up domains of {domain:g}"
    return _divides("moe_tp", v["moe_tp"], (domain, "chips of a scale-up domain"))


def _precision(v):
    uses = {use: records.RATES[int(v[f"{use}_rate"])] for use in ("weight", "expert", "attention")}
    lacking = {use: rate for use, rate in uses.items() if not v[f"hardware_{rate}_flops_per_s"]}
    asked = ", ".join(f"{rate} for {use}" for use, rate in lacking.items())
    return f"{v['hardware']} has not the compute rates that precision {v['precision']} asks for: {asked}"


def _memory(v):
    capacity, reserve = v["hardware_hbm_bytes"], v.get("memory_reserve", 0.0)
    kept = f", of which {reserve:.0%} are kept free" if reserve else ""
    return f"{v['memory_per_chip'] / 1e9:,.2f} GB do not fit into the {capacity / 1e9:,.2f} GB of a chip{kept}"


_SENTENCES = {
    "mtp": lambda v: f"mtp = {v['mtp']:g} draft tokens, and the model comes without a module that makes them",
    "tp": _tp,
    "moe_tp": lambda v: _divides("moe_tp", v["moe_tp"], (v["model_moe_intermediate_size"], "columns of an expert")),
    "ep": lambda v: _divides("ep", v["ep"], (v["model_n_routed_experts"], "experts, and none is held twice")),
    "chips": _chips,
    "shared_tp": _shared_tp,
    "kv_split": lambda v: _divides("kv_split", v["kv_split"], (v["tp"], "chips of a group (tp)")),
    "sp": _sp,
    "prompts": _prompts,
    "even_batch": _even_batch,
    "topology": _topology,
    "precision": _precision,
    "memory": _memory,
}
