"""What the weights of a checkpoint are stored in, and which row of the precisions says the same.

A quantisation has a format for the linear layers, and names those that it leaves in bf16. Here it becomes a format and
a mean width for each use of weights that a precision knows.
"""

import fnmatch
import functools
import json
import math
import re

from .. import texts
from ..errors import InputError
from ..specs.model import LINEAR_RULES
from ..specs.records import RATES
from . import quantisation

_NAMES = {"weight": "attention", "dense": "dense FFNs", "expert": "routed experts", "shared": "shared experts"}
_NAMES |= {"head": "head", "embedding": "embedding"}
USES = tuple(_NAMES)  # of weights, as a precision has them


def file_beside(path):
    """(path, what it holds) of the `hf_quant_config.json` that belongs to a `config.json`; None where there is none."""
    path = path.with_name(path.name.removesuffix("config.json") + "hf_quant_config.json")
    if not path.is_file():
        return None
    text = texts.read(path, "a hf_quant_config.json")
    try:
        return str(path), json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not valid JSON ({error}); expected a hf_quant_config.json") from None


def linear_layers(model, layers=None):
    """[(use, names that it may have, parameters)] of the linear layers of a checkpoint; experts by their first.

    `layers`: (mixers, FFNs) of the layers, as `kinds.layers` has them; None: attention in all, the first ones dense.
    """
    n, dense = model["num_hidden_layers"], model["first_k_dense_replace"]
    mixers, ffns = layers or (["full"] * n, ["dense" if i < dense else "experts" for i in range(n)])
    attention, linear = _attention(model), _linear(model)
    found = [("head", ("lm_head",), 1)]
    for i, (mixer, ffn) in enumerate(zip(mixers, ffns, strict=True)):
        layer = f"model.layers.{i}"
        products = {"linear": linear, "none": {}}.get(mixer, attention)
        found += [("weight", _named(layer, names), size) for names, size in products.items()]
        if ffn in ("dense", "both"):
            names = ("mlp.{}_proj", "mlps.0.{}_proj", "feed_forward.{}_proj", "mixer.{}_proj")
            found += [("dense", _named(layer, names, name), 1) for name in ("gate", "up", "down")]
        if ffn in ("experts", "both"):
            found += _experts(model, layer, ffn)
    return found


def _named(layer, names, *words):
    return tuple(f"{layer}.{name}".format(*words) for name in (names if isinstance(names, tuple) else (names,)))


def _attention(model):
    """{names of a product of attention: parameters}."""
    hidden, heads = model["hidden_size"], model["num_attention_heads"]
    keys = model["qk_nope_head_dim"] + model["qk_rope_head_dim"]
    if rank := model["kv_lora_rank"]:
        values = heads * (model["qk_nope_head_dim"] + model["v_head_dim"])
        attention = {"kv_a_proj_with_mqa": hidden * (rank + model["qk_rope_head_dim"]), "kv_b_proj": rank * values}
        if queries := model["q_lora_rank"]:
            attention |= {"q_a_proj": hidden * queries, "q_b_proj": queries * heads * keys}
        else:
            attention |= {"q_proj": hidden * heads * keys}
    else:
        kv = hidden * model["num_key_value_heads"]
        attention = {"q_proj": hidden * heads * keys, "k_proj": kv * keys, "v_proj": kv * model["v_head_dim"]}
    attention["o_proj"] = heads * model["v_head_dim"] * hidden
    if groups := model.get("o_groups"):
        attention.pop("kv_b_proj")
        first = heads * model["v_head_dim"] * model["o_lora_rank"]
        attention |= {"o_a_proj": first, "o_proj": groups * model["o_lora_rank"] * hidden}
    return {(f"self_attn.{name}", f"attn.{name}", f"mixer.{name}"): size for name, size in attention.items()}


def _linear(model):
    """{names of a product of linear attention: parameters}."""
    if not model.get("linear_layers"):
        return {}
    columns, inner = model["linear_columns"], model["linear_heads"] * model["linear_value_dim"]
    begin, end = {
        "gated-delta": (("linear_attn.in_proj_qkv", "linear_attn.in_proj_qkvz"), "linear_attn.out_proj"),
        "channel-gated-delta": ("self_attn.q_proj", "self_attn.o_proj"),
        "state-space": ("mixer.in_proj", "mixer.out_proj"),
        "decay": ("self_attn.qkv_proj", "self_attn.out_proj"),
    }[LINEAR_RULES[int(model["linear_rule"])]]
    return {begin: model["hidden_size"] * columns, end: inner * model["hidden_size"]}


def _experts(model, layer, ffn):
    """Of the experts of a layer; beside a dense FFN they are no part of it, but for those of LongCat."""
    found = []
    for name, other in (("gate", "w1"), ("up", "w3"), ("down", "w2")):
        names = (
            "mlp.experts.0.{}_proj",
            "block_sparse_moe.experts.0.{1}",
            "ffn.experts.0.{1}",
            "mixer.experts.0.{}_proj",
        )
        if ffn == "both" and not model.get("zero_experts"):
            names = ("experts.0.{}_proj", "moe.experts.0.{}_proj")
        names = tuple(text.replace("{}", "{0}") for text in names)
        found.append(("expert", _named(layer, names, name, other), 1))
        if model["n_shared_experts"]:
            places = (
                "mlp.shared_experts",
                "mlp.shared_expert",
                "block_sparse_moe.shared_experts",
                "mixer.shared_experts",
            )
            names = (*(f"{place}.{name}_proj" for place in places), f"ffn.shared_experts.{other}")
            found.append(("shared", _named(layer, names), 1))
    return found


def of(config, where, model, beside=None, layers=None):
    """What a checkpoint stores, None where it is all bf16: {"method", "bits", "holds", "kv_bytes"}.

    "holds" {use: [format, mean bytes of a weight, rate]}. `beside`: (path, what it holds) of a `hf_quant_config.json`;
    `model` {field: number}: its shape; `layers`: their kinds, as `linear_layers` takes them.
    """
    found, place = None, f"{where}: quantization_config"
    if config.get("quantization_config") is not None:
        given = config["quantization_config"]
        if config.get("expert_dtype") is not None and isinstance(given, dict):
            given = {"expert_dtype": config["expert_dtype"]} | given
        found = quantisation.scheme_of(given, place)
    if beside is not None:
        path, given = beside
        given = given.get("quantization") if isinstance(given, dict) else None
        if not isinstance(given, dict):
            raise InputError(f"{path}: quantization: missing; expected an object with quant_algo")
        if given.get("quant_algo") is not None:
            mixed = given["quant_algo"] == "MIXED_PRECISION"  # what has no algorithm of its own is as the config says
            own = (config.get("quantization_config") or {}).get("quant_method") if mixed else None
            other = quantisation.scheme_of({**given, "quant_method": own}, path)
            texts = [f"{s.format.name}, cache of {8 * s.kv_bytes:g} bit" for _, s in (other, found or other)]
            if texts[0] != texts[1]:
                raise InputError(f"{path}: {texts[0]}, but {place}: {texts[1]}; expected the same in both")
            found = other
    if found is None:
        return None
    method, scheme = found
    holds = _held(scheme, linear_layers(model, layers))
    bits = min([scheme.format.bits, *(format_.bits for _, format_ in scheme.own)])
    return {"method": method, "bits": bits, "holds": holds, "kv_bytes": scheme.kv_bytes}


def _held(scheme, layers):
    """{use: [format of most of its layers, mean bytes, rate]}; embedding and whatever has no layers are bf16."""
    formats = {}
    for use, names, parameters in layers:
        formats.setdefault(use, []).append((_format(scheme, use, names), parameters))
    holds = {}
    for use in USES:
        some = formats.get(use, [(quantisation.PLAIN, 1)])
        kinds = [format_ for format_, _ in some]
        most = max(dict.fromkeys(kinds), key=kinds.count)
        mean = sum(f.n_bytes * n for f, n in some) / sum(n for _, n in some)
        holds[use] = [most.name, mean, most.rate]
    return holds


def _format(scheme, use, names):
    if scheme.experts_alone and use != "expert":
        return quantisation.PLAIN
    for pattern, format_ in scheme.own:
        if any(_matcher((pattern,)).match(name) for name in names):
            return format_
    kept = use == "head" or (scheme.kept and any(_matcher(scheme.kept).match(name) for name in names))
    return quantisation.PLAIN if kept else scheme.format


@functools.lru_cache(maxsize=512)
def _matcher(patterns):
    """Regular expression of names, globs and expressions ("re:"): of a layer, or of a part of the model that has it."""
    parts = []
    for pattern in patterns:
        if pattern.startswith("re:"):
            parts.append(f"(?:{pattern[3:]})")
            continue
        plain = pattern.replace("language_model.model.", "model.").replace("model.language_model.", "model.")
        plain = plain.replace("backbone.layers.", "model.layers.").removeprefix("language_model.")
        parts.append(rf"(?:.*\.)?{fnmatch.translate(plain).removesuffix(_END)}(?:\..*)?$")
    return re.compile("|".join(parts))


_END = fnmatch.translate("x").removeprefix("(?s:x)")  # what closes the expression of a glob


# ---- precisions


def row_of(name, model, precisions):
    """(row of the precisions, sentence) for the checkpoint of a model row called `name`: the first row that says what
    it holds, else the nearest; `precisions` {row: numbers}."""
    stored = model.get("quantisation") or {}
    holds, kv_bytes = stored.get("holds", {use: ["bf16", 2.0, "bf16"] for use in USES}), stored.get("kv_bytes", 2.0)
    compared, dense = {"weight": 2.0, "head": 0.25, "expert": 4.0}, model["first_k_dense_replace"]
    if dense == model["num_hidden_layers"]:
        holds = holds | {"expert": holds["dense"]}
    if dense:
        compared["dense"] = 1.0
    if model["n_shared_experts"]:
        compared["shared"] = 0.5

    def distance(row):
        far = abs(math.log2(row["kv_bytes"] / kv_bytes))
        for use, weight in compared.items():
            kind, mean, rate = holds[use]
            ratio = abs(math.log2(row[f"{use}_bytes"] / _WIDTHS.get(kind, mean)))
            far += weight * (ratio * (ratio > _SAME) + 2.0 * (RATES[int(row[f"{use}_rate"])] != rate))
        return far

    far = {row: distance(numbers) for row, numbers in precisions.items()}
    best = min(far, key=far.get)
    near = "" if far[best] == 0.0 else ", the nearest row"
    return best, f"precision {best}{near}: the checkpoint of {name} stores {said(stored)}"


_SAME = 0.03  # of the logarithm to base 2 of two widths
_FORMATS = (quantisation.PLAIN, quantisation.FP8, quantisation.INT8, quantisation.NVFP4, quantisation.MXFP4)
_WIDTHS = {format_.name: format_.n_bytes for format_ in _FORMATS}


def widths(model):
    """{use: mean bytes of a weight} of the checkpoint of a model row."""
    holds = (model.get("quantisation") or {}).get("holds", {})
    return {use: holds[use][1] if use in holds else 2.0 for use in USES}


def said(stored):
    """A checkpoint's weights in words: "attention, routed experts in fp8, the rest in bf16 (fp8, 8 bit)"."""
    if not stored:
        return "bf16"
    formats = {}
    for use, (kind, mean, _) in stored.get("holds", {}).items():
        mixed = kind in _WIDTHS and abs(mean - _WIDTHS[kind]) > 0.02 * mean
        if mixed or kind != "bf16":
            formats.setdefault(kind, []).append(_NAMES[use] + f" ({mean:.2f} B in the mean)" * mixed)
    text = "; ".join(f"{', '.join(uses)} in {kind}" for kind, uses in formats.items())
    text = f"{text}, the rest in bf16" if text else f"{stored['bits']}-bit weights"
    cache = "" if stored.get("kv_bytes", 2.0) == 2.0 else f", cache of {8 * stored['kv_bytes']:g} bit"
    return f"{text}{cache} ({stored['method']}, {stored['bits']} bit)"
