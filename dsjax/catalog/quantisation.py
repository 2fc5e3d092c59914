"""The settings of a `quantization_config`, method by method: a format of the linear layers, and which have another."""

import re
from typing import NamedTuple

from ..errors import InputError, unknown


class Format(NamedTuple):
    """How weights are stored, scales of 4-bit formats included, and the rate that their GEMMs are computed at."""

    name: str
    n_bytes: float
    rate: str
    bits: int


PLAIN = Format("bf16", 2.0, "bf16", 16)
FP8, INT8 = Format("fp8", 1.0, "fp8", 8), Format("int8", 1.0, "int8", 8)
NVFP4, MXFP4 = Format("nvfp4", 0.5625, "fp4", 4), Format("mxfp4", 0.53125, "bf16", 4)


class Scheme(NamedTuple):
    """Format of the linear layers, which keep another one, and bytes of an element of the cache."""

    format: Format
    kept: tuple = ()  # patterns of layers left in bf16: names, globs, regular expressions ("re:")
    own: tuple = ()  # (pattern, format) of layers that have another
    kv_bytes: float = 2.0
    experts_alone: bool = False  # all other layers are left in bf16


# ---- methods: settings -> Scheme


def _fp8(given, where):
    """DeepSeek-V4 has routed experts in MXFP4 beside it, computed with activations of fp8."""
    kind = given.get("expert_dtype")
    if kind not in (None, "fp8", "fp4"):
        raise InputError(f"{where}: expert_dtype: {str(kind)[:60]}; expected fp4 or fp8")
    own = (("*.experts.*", MXFP4._replace(rate="fp8")),) if kind == "fp4" else ()
    return Scheme(FP8, _listed(given, "modules_to_not_convert", "ignored_layers"), own)


def _mxfp4(given, where):
    del given, where
    return Scheme(MXFP4, experts_alone=True)


def _nvfp4(given, where):
    del where
    return Scheme(NVFP4, _listed(given, "ignore", "exclude_modules", "modules_to_not_convert"))


def _int8(given, where):
    del where
    return Scheme(INT8, _listed(given, "ignore", "modules_to_not_convert"))


def _grouped(given, where):
    """AWQ and GPTQ: integers of some bits in groups with a scale, and a zero point unless they are symmetric."""
    bits = _one(given, where, ("bits", "w_bit"), "bits of a weight", lambda x: x in (2, 3, 4, 8))
    size = _one(given, where, ("group_size", "q_group_size"), "weights of a group", lambda x: x == -1 or x > 0)
    zero = given.get("zero_point", not given.get("sym", True))
    return Scheme(_integers(bits, size, zero), _listed(given, "modules_to_not_convert"))


def _bitsandbytes(given, where):
    four = given.get("load_in_4bit")
    if not four and not given.get("load_in_8bit"):
        raise InputError(f"{where}: bits: missing; expected load_in_4bit or load_in_8bit")
    stored = Format("nf4", 0.5 + 4 / 64, "bf16", 4) if four else INT8
    return Scheme(stored, _listed(given, "llm_int8_skip_modules"))


_ALGORITHMS = {"FP8": FP8, "FP8_PB_WO": FP8, "FP8_PER_CHANNEL_PER_TOKEN": FP8, "NVFP4": NVFP4, "MXFP4": MXFP4}
_ALGORITHMS |= {"W8A8_SQ_PER_CHANNEL": INT8, "INT8": INT8, "W4A16_AWQ": Format("int4", 0.515625, "bf16", 4)}


def _modelopt(given, where):
    """NVIDIA's: an algorithm for all, or MIXED_PRECISION with one for each of `quantized_layers`."""
    algorithm, own = given.get("quant_algo"), ()
    if algorithm == "MIXED_PRECISION":
        layers = given.get("quantized_layers")
        if not isinstance(layers, dict) or not all(isinstance(x, dict) for x in layers.values()):
            raise InputError(f"{where}: quantized_layers: {str(layers)[:60]}; expected layers and their quant_algo")
        own = tuple((name, _algorithm(x.get("quant_algo"), f"{where}: {name}")) for name, x in layers.items())
        stored = FP8 if given.get("quant_method") == "fp8" else PLAIN
    else:
        stored = _algorithm(algorithm, where)
    cache = given.get("kv_cache_quant_algo", given.get("kv_cache_scheme"))
    beside = stored is FP8 and own  # what the algorithms leave out is as the checkpoint was before them
    kept = _listed(given, "modules_to_not_convert") if beside else _listed(given, "ignore", "exclude_modules")
    return Scheme(stored, kept, own, _cache_bytes(cache, where))


def _algorithm(name, where):
    if not isinstance(name, str) or name not in _ALGORITHMS:
        raise unknown(f"{where}: quant_algo", "quantisation", name, [*_ALGORITHMS, "MIXED_PRECISION"])
    return _ALGORITHMS[name]


def _compressed(given, where):
    """Groups of layers, by class or by name, each with the numbers that its weights and activations are."""
    groups = given.get("config_groups")
    if not isinstance(groups, dict) or not groups or not all(isinstance(group, dict) for group in groups.values()):
        raise InputError(f"{where}: config_groups: {str(groups)[:60]}; expected groups and their weights")
    stored, own = PLAIN, []
    for name, group in groups.items():
        found, targets = _numbers(group, f"{where}: {name}"), _listed(group, "targets") or ("Linear",)
        named = [target for target in targets if "." in target or target.startswith("re:")]
        own += [(target, found) for target in named]
        stored = stored if named else found
    cache = _cache_bytes(given.get("kv_cache_scheme"), where)
    return Scheme(stored, _listed(given, "ignore"), tuple(own), cache)


def _numbers(group, where):
    """Format of {weights: {num_bits, type, group_size}, input_activations}."""
    weights = group.get("weights")
    if not isinstance(weights, dict):
        raise InputError(f"{where}: weights: {str(weights)[:60]}; expected num_bits and type")
    bits = _one(weights, f"{where}: weights", ("num_bits",), "bits of a weight", lambda x: x in (2, 3, 4, 8))
    size, computed = weights.get("group_size") or -1, bool(group.get("input_activations"))
    if weights.get("type", "float" if bits == 8 else "int") == "int":
        return INT8 if computed and bits == 8 else _integers(bits, size, not weights.get("symmetric", True))
    if bits == 8:
        return FP8 if computed else FP8._replace(rate="bf16")
    if bits != 4 or size not in (16, 32):
        raise InputError(f"{where}: weights: {bits} bit in groups of {size}; expected 8, or 4 in groups of 16 or 32")
    return (NVFP4 if size == 16 else MXFP4)._replace(rate="fp4" if computed else "bf16")


def _integers(bits, size, zero):
    """Weights computed in bf16; of a group of `size` (-1: a whole column) a scale of 2 bytes, and a zero point."""
    beside = 0.0 if size < 0 else (2.0 + (bits / 8 if zero else 0.0)) / size
    return Format(f"int{bits}", bits / 8 + beside, "bf16", bits)


METHODS = {"fp8": _fp8, "fbgemm_fp8": _fp8, "mxfp4": _mxfp4, "nvfp4": _nvfp4, "w8a8_int8": _int8, "gptq": _grouped}
METHODS |= {"awq": _grouped, "compressed-tensors": _compressed, "bitsandbytes": _bitsandbytes, "modelopt": _modelopt}


def scheme_of(given, where):
    """(method, Scheme) of a `quantization_config`."""
    if not isinstance(given, dict):
        raise InputError(f"{where}: {str(given)[:60]}; expected an object")
    method = given.get("quant_method")
    by_nvidia = "quant_algo" in given and (method in (None, "modelopt") or given["quant_algo"] == "MIXED_PRECISION")
    if by_nvidia or method in ("modelopt_fp4", "modelopt_fp8"):
        method = "modelopt"
    if not isinstance(method, str) or method not in METHODS:
        raise unknown(f"{where}: quant_method", "quantisation", method, METHODS)
    scheme = METHODS[method](given, where)
    for pattern in (*scheme.kept, *(name for name, _ in scheme.own)):
        if pattern.startswith("re:"):
            try:
                re.compile(pattern[3:])
            except re.error as error:
                raise InputError(f"{where}: {pattern[:60]!r}: {error}; expected a regular expression") from None
    return method, scheme


# ---- settings


def _listed(given, *keys):
    found = next((given[key] for key in keys if given.get(key)), [])
    return tuple(x for x in found if isinstance(x, str)) if isinstance(found, list | tuple) else ()


def _one(given, where, keys, meaning, good):
    key = next((key for key in keys if given.get(key) is not None), None)
    if key is None:
        raise InputError(f"{where}: {keys[0]}: missing; expected the {meaning}, as one of {', '.join(keys)}")
    value = given[key]
    if type(value) is not int or not good(value):
        raise InputError(f"{where}: {key}: {value!r}; expected the {meaning}")
    return value


def _cache_bytes(given, where):
    """Bytes of an element of the cache, of "FP8" or {num_bits}."""
    if given is None:
        return 2.0
    bits = given.get("num_bits") if isinstance(given, dict) else {"FP8": 8, "INT8": 8, "NVFP4": 4}.get(str(given))
    if type(bits) is not int or bits not in (4, 8):
        raise InputError(f"{where}: cache: {str(given)[:60]}; expected FP8, or num_bits 8 or 4")
    return 0.5625 if bits == 4 else 1.0
