"""Parameters, FLOPs, bytes and volumes of one forward pass, per operator, per layer and in all.

`batch` is the number of sequences in the whole instance, so a total does not change with tp, except for what every
chip of a tensor-parallel group does again (`replicated`).
"""

import dataclasses
import math
from collections.abc import Sequence
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import xarray as xr

from .. import __version__
from ..arguments import typed
from ..catalog import checkpoints, names, reader
from ..errors import InputError, unknown
from ..formulas.operators import attention, shapes
from ..formulas.operators.shapes import over
from ..specs import records
from ..specs.fields import fields_of
from ..types import Path
from ..units import number
from . import tally
from .tally import COUNTS, LAYER_KINDS, Layout, whole

PHASES = ("decode", "prefill")
SCALARS = {
    "active_parameters_without_embedding": ("1", "parameters one token is multiplied with"),
    "mtp_parameters": ("1", "parameters of one MTP module beside the shared embedding and head; part of no total"),
    "linear_flops": ("FLOP", "FLOPs of the products with weights"),
    "attention_flops": ("FLOP", "FLOPs of attention: absorbed in decode, causal in prefill"),
    "attention_flops_unfolded": ("FLOP", "FLOPs of attention, keys and values per head, no causal half"),
    "replicated_flops": ("FLOP", "FLOPs beyond the first time, of operators that tensor parallelism replicates"),
    "bytes_moved": ("B", "weights, activations and KV cache moved between memory and chips"),
    "kv_cache_bytes": ("B", "KV cache of all sequences, each stored once"),
    "kv_cache_bytes_per_chip": ("B", "KV cache on one chip, mean"),
    "state_bytes": ("B", "states of linear layers of all sequences, each stored once"),
    "stored_bytes_per_chip": ("B", "weights on one chip"),
    "checkpoint_bytes": ("B", "weights of the checkpoint as it stores them, without MTP module"),
}
# Expectations and means: floating point whatever the values
_REAL = ("weight_bytes", "communication_bytes", "bytes_moved", "kv_cache_bytes_per_chip", "stored_bytes_per_chip")
_REAL += ("checkpoint_bytes",)
_INT64 = 2**63 - 1
_LAYERS = 10_000  # a model has no more: a mean over its layers is a fraction of so many at most


@typed
def count(
    model: Path = "DeepSeek-V3",
    *,
    phase: str = "decode",
    batch: int = 1,
    context: int = 4096,
    precision: str | None = None,
    tp: int = 1,
    ep: int | None = None,
    moe_tp: int = 1,
    catalogs: Sequence[Path] = (),
) -> xr.Dataset:
    """Dataset over `operator` of one forward pass of `batch` sequences; totals are `total_*`, sums of a layer
    `layer_*`.

    Decode: one new token per sequence, attending to `context`. Prefill: whole prompts of `context` tokens. `model`
    and `precision` are rows of the catalog; a model may be the path of a Hugging Face config.json too, and `catalogs`
    are paths of catalogs of one's own. Without `precision`, the row that says what the checkpoint stores. Without `ep`,
    the experts are spread over the fewest chips that tp and moe_tp allow. Counts are int64; where one passes 2^63 - 1,
    float64 with a `comment`. Reads of weights (an expectation), communication and means per chip are float64.
    """
    loaded = reader.load(records.RECORDS, *reader.users(catalogs), models=[model])
    _known("phase", phase, PHASES)
    model = names.canonical("count: model", "model", model, loaded["model"], owners=True)
    shape = shape_of(model, loaded["model"])
    row, why = checkpoints.row_of(model, loaded["model"][model], loaded["precision"])
    precision = row if precision is None else precision
    precision = names.canonical("count: precision", "precision", precision, loaded["precision"])
    sequences = fields_of(records.Deployment)["batch"]
    batch = number("count: batch", batch, sequences)
    context = number("count: context", context, sequences | {"units": "token"})
    layout = _layout(shape, tp, ep, moe_tp)
    width = _widths(shape, loaded["precision"][precision], loaded["engine"]["generic"])
    operators = tally.exact(shape, phase, batch, context, width, layout)
    stored = checkpoints.widths(loaded["model"][model])
    totals = tally.scalars(operators, shape, phase, batch, context, width, layout, stored)
    layout = dataclasses.asdict(layout) | {"dp": layout.dp, "chips": layout.chips}
    fixed = {"model": model, "phase": phase, "batch_total": batch, "context": context, "precision": precision} | layout
    ds = _dataset(operators, totals, fixed)
    said = loaded["model"][model].get("left_out")
    ds = ds.assign_attrs(left_out=said) if said else ds
    return ds.assign_attrs(checkpoint=why if precision == row else why.partition(": ")[2])


def _widths(model, precision, engine):
    """{field of the precision: exact bytes}, of the cache the mean over its parts."""
    width = {key: whole(Fraction(b)) for key, b in precision.items() if key.endswith("_bytes")}
    kept = SimpleNamespace(**{key: whole(Fraction(engine[key])) for key in ("cache_scale_bytes", "cache_rope_bytes")})
    return width | {"kv_bytes": attention.element_bytes(model, SimpleNamespace(**width), kept)}


def shape_of(name, models):
    """The model called `name` as a record of exact Python numbers: integers, and fractions, means over its layers."""
    _known("model", name, models)
    row = reader.numbers(models[name])
    return records.Model(**{key: whole(Fraction(value).limit_denominator(_LAYERS)) for key, value in row.items()})


def parameters(name, models):
    """(parameters of the model called `name`, those that one token is multiplied with), exact, without draft modules.

    `models` {name: row of the catalog}. The numbers of `count`: total_parameters, active_parameters_without_embedding.
    """
    shape, any_width = shape_of(name, models), dict.fromkeys(fields_of(records.Precision), 1)
    operators = tally.exact(shape, "decode", 1, 1, any_width, Layout())
    whole, active = (sum(o.counts[key] for o in operators.values()) for key in ("parameters", "active_parameters"))
    return whole, active - operators["embedding"].counts["parameters"]


def _known(what, name, names):
    if not isinstance(name, str) or name not in names:
        raise unknown(f"count: {what}", what, name, names)


def _layout(model, tp, ep, moe_tp):
    fields = fields_of(records.Deployment)
    tp, moe_tp = number("count: tp", tp, fields["tp"]), number("count: moe_tp", moe_tp, fields["moe_tp"])
    ep = math.lcm(tp, moe_tp) // moe_tp if ep is None else number("count: ep", ep, fields["ep"])
    shared = model.n_shared_experts * model.moe_intermediate_size
    for option, parts, name, total in (
        ("tp", tp, "num_attention_heads", model.num_attention_heads),
        ("tp", tp, "intermediate_size", model.intermediate_size),
        ("tp", tp, "the width of the shared experts", shared),
        ("tp", tp, "vocab_size", model.vocab_size),
        ("moe_tp", moe_tp, "moe_intermediate_size", model.moe_intermediate_size),
        ("tp", tp, "the chips, moe_tp x ep =", moe_tp * ep),
    ):
        if total % parts and total == int(total):  # of widths that differ from layer to layer only their mean is known
            raise InputError(f"count: {option}: {parts} does not divide {name} {total}; expected a divisor of it")
    return Layout(tp=tp, ep=ep, moe_tp=moe_tp)


def _dataset(operators, scalars, fixed):
    held = {o.block: 0 for o in operators.values()}
    for o in operators.values():  # an operator that some layers of a block lack is shared out over all of them
        held[o.block] = max(held[o.block], o.layers)
    kinds = {
        kind: {name: o for name, o in operators.items() if o.block in blocks}
        for kind, blocks in LAYER_KINDS.items()
        if kind in held
    }
    data = {}
    for name, (units, text) in COUNTS.items():
        every = {key: o.counts[name] for key, o in operators.items()}
        each = [sum(over(every[key], held[o.block]) for key, o in layer.items()) for layer in kinds.values()]
        data[name] = _variable(name, ("operator",), list(every.values()), units, f"{text}; all layers")
        data[f"layer_{name}"] = _variable(name, ("layer",), each, units, f"{text}; one layer")
        data[f"total_{name}"] = _variable(name, (), [scalars[f"total_{name}"]], units, f"{text}; all operators")
    for name, (units, text) in SCALARS.items():
        data[name] = _variable(name, (), [scalars[name]], units, text)
    replicated = np.array([o.replicated for o in operators.values()], np.int8)
    flags = {
        "flag_values": np.array([0, 1], np.int8),
        "flag_meanings": "split_over_tp done_by_every_chip_of_a_tp_group",
    }
    data["replicated"] = (("operator",), replicated, {"long_name": "whether tp multiplies the work"} | flags)
    held = np.array([o.layers for o in operators.values()])
    coords = {
        "operator": ("operator", list(operators), {"long_name": "operator or collective"}),
        "block": ("operator", [o.block for o in operators.values()], {"long_name": "block of the model"}),
        "layers": ("operator", held, {"units": "1", "long_name": "layers that hold the operator"}),
        "shape": (
            "operator",
            [_text(o.shape) for o in operators.values()],
            {"long_name": "matrix product on one chip"},
        ),
        "layer": ("layer", list(kinds), {"long_name": "kind of layer"}),
        "batch_total": ((), fixed["batch_total"], {"units": "sequence", "long_name": "sequences in the instance"}),
        "context": ((), fixed["context"], {"units": "token", "long_name": "tokens in the KV cache, or in a prompt"}),
    }
    title = f"Counts of {fixed['model']}, {fixed['phase']}"
    attrs = {"Conventions": "CF-1.11", "title": title, "dsjax_version": __version__}
    return xr.Dataset(data, fixed | coords, attrs)


def _variable(name, dims, values, units, text):
    """int64 for whole numbers that fit, float64 for the others and for expectations."""
    attrs = {"units": units, "long_name": text}
    if name not in _REAL and all(isinstance(v, int) and v <= _INT64 for v in values):
        array = np.array(values, np.int64)
    else:
        array = np.array(values, np.float64)
        attrs |= {} if name in _REAL else {"comment": "rounded: a value is not whole or passes 2^63 - 1"}
    return dims, array if dims else array[0], attrs


def _text(shape):
    """ "groups x (m, k) (k, n)" of a product with weights."""
    if not isinstance(shape, shapes.Gemm):
        return ""
    g, m, k, n = (
        str(x) if isinstance(x, int) else f"{float(x):.4g}" for x in (shape.groups, shape.m, shape.k, shape.n)
    )
    return f"{'' if g == '1' else f'{g} x '}({m}, {k}) ({k}, {n})"
