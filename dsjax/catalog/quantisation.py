"""Width of the weights of a checkpoint, from its `quantization_config`; it does not choose a precision."""

from ..errors import InputError, unknown

# Bits of a weight by `quant_method`; None: the config gives them, under one of `_BITS`.
QUANTISATIONS = {"fp8": 8, "fbgemm_fp8": 8, "mxfp4": 4, "nvfp4": 4, "w8a8_int8": 8, "gptq": None, "awq": None}
QUANTISATIONS |= {"compressed-tensors": None, "bitsandbytes": None, "modelopt": None}
_NOT_WEIGHTS = ("input_activations", "output_activations", "kv_cache_scheme")
_BITS = ("bits", "w_bit", "num_bits", "quant_algo")
_ALGORITHMS = {"FP8": 8, "NVFP4": 4, "W4A16_AWQ": 4, "MXFP4": 4, "W8A8_SQ_PER_CHANNEL": 8, "INT8": 8}


def of(config, where):
    """{"method", "bits"} of the weights a checkpoint stores, None where they are not quantised."""
    given = config.get("quantization_config")
    if given is None:
        return None
    if not isinstance(given, dict):
        raise InputError(f"{where}: quantization_config: {str(given)[:60]}; expected an object")
    method = given.get("quant_method")
    if not isinstance(method, str) or method not in QUANTISATIONS:
        raise unknown(f"{where}: quantization_config: quant_method", "quantisation", method, QUANTISATIONS)
    bits = QUANTISATIONS[method] or _bits(given, f"{where}: quantization_config")
    return {"method": method, "bits": bits}


def _bits(given, where):
    """Bits of a weight of a method that leaves them open, wherever in its settings they are."""
    if given.get("load_in_4bit") or given.get("load_in_8bit"):
        return 4 if given.get("load_in_4bit") else 8
    for key in _BITS:
        value = _find(given, key)
        bits = _ALGORITHMS.get(value) if isinstance(value, str) else value
        if type(bits) is int and bits in (2, 3, 4, 8):
            return bits
        if value is not None:
            raise InputError(f"{where}: {key}: {value!r}; expected bits of a weight, or {', '.join(_ALGORITHMS)}")
    raise InputError(f"{where}: bits: missing; expected the bits of a weight, as one of {', '.join(_BITS)}")


def _find(settings, key, depth=5):
    """The first value of `key` in nested settings, those of activations and of the cache apart."""
    if not isinstance(settings, dict) or depth == 0:
        return None
    if settings.get(key) is not None:
        return settings[key]
    found = (_find(inner, key, depth - 1) for name, inner in settings.items() if name not in _NOT_WEIGHTS)
    return next((value for value in found if value is not None), None)
