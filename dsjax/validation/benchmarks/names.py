"""What result files call models, chips, precisions and engines -> the rows of the catalogs that are the same."""

import re

# Ends of a checkpoint's name that leave its shape as it is: dates, formats, tuning, versions of these.
_ENDS = re.compile(
    r"-(\d{4}|fp8|fp4|nvfp4|mxfp4|bf16|int4|w4a16|awq|gptq|kv|dynamic|block|instruct|chat|thinking|it|hf|preview|v\d+)$"
)
_MAKER = re.compile(r"^meta-")
# Words of a driver's name of a chip beside the chip: its maker, memory, and module.
_WORDS = re.compile(r"\b(nvidia|amd|instinct|oam|sxm\d?|hbm\d\w?|\d+gb)\b")
# Precisions as tools write them; what says nothing of the cache, or may be one of several rows, is asked for.
_PRECISIONS = {"bf16": "bf16", "bfloat16": "bf16", "fp8": "fp8", "fp8_block_scales": "fp8"}
_PRECISIONS |= {f"{name}, cache fp8": "fp8-kv8" for name in ("fp8", "fp8_block_scales")}
_PRECISIONS |= {f"{name}, cache fp8": "bf16-kv8" for name in ("bf16", "bfloat16")}
_ENGINES = {"sglang": "sglang", "vllm": "vllm", "trt": "tensorrt-llm", "trtllm": "tensorrt-llm"}


def _models(text):
    """Names that a checkpoint's may stand for, the longest first."""
    name = _MAKER.sub("", text.lower().rstrip("/").rpartition("/")[2])
    found = [name]
    while name != (name := _ENDS.sub("", name)):
        found.append(name)
    return found


def _chips(text):
    return [" ".join(_WORDS.sub(" ", text.lower()).split())]


_SPELT = {"model": _models, "hardware": _chips}
_TABLES = {"precision": _PRECISIONS, "engine": _ENGINES}


def row(key, text, known):
    """The row of `known` that a file's own name of a model, a chip, a precision or an engine means; None: no one row.

    A model is its checkpoint's name without what leaves its shape as it is (DeepSeek-R1-0528-FP4: DeepSeek-R1), a chip
    the driver's name without maker and memory (NVIDIA H100 80GB HBM3: H100; H100 PCIe is another chip).
    """
    if key in _TABLES:
        found = _TABLES[key].get(text.lower())
        return found if found in known else None
    lower = {name.lower(): name for name in known}
    return next((lower[name] for name in (text.lower(), *_SPELT[key](text)) if name in lower), None)
