"""What is loaded: the checkpoint of a model, and what of a precision its files do not say themselves."""

import math
import re
from typing import NamedTuple

from ..catalog import checkpoints, reader
from ..specs.records import RATES

USES = ("weight", "dense", "expert", "shared")  # of a precision, whose weights a checkpoint stores
_CACHES = {2.0: "bf16", 1.0: "fp8", 0.5625: "nvfp4"}  # bytes of an element -> type of the cache
_OWNER = re.compile(r"config\.json of ([\w.-]+/[\w.-]+) \(Hugging Face\)")
_SAME = 0.03  # of the logarithm to base 2 of two widths


class Checkpoint(NamedTuple):
    """What an engine loads."""

    path: str | None  # at Hugging Face; None: no source says which
    says: str  # what it must be, where `path` is None
    quantisation: str | None  # what the engine makes of its weights as it loads them; None: they stay as they are
    kv: str | None  # type of the cache, where it is not the checkpoint's own


def of(name, row, precision, given):
    """`Checkpoint` of the model row `row` called `name` under a precision called `precision`.

    `given` {name as in a grid: number}: those of the point. Weights are the checkpoint's own where the precision has
    the widths and rates of the row that says what it stores (`checkpoints.row_of`).
    """
    precisions = reader.load()["precision"]
    own = precisions[checkpoints.row_of(name, row, precisions)[0]]
    stored = row.get("quantisation") or {}
    found = _OWNER.search(row["source"])
    path, kv = found and found[1], stored.get("kv_bytes", 2.0)
    quantisation, says = None, f"checkpoint of {name}"
    if not all(_same(use, own, given) for use in _read(given)):
        if not stored and all(_is_fp8(use, given) for use in _read(given)):
            quantisation = "fp8"
        else:
            path, says, kv = None, f"checkpoint of {name} with weights as in precision {precision}", None
    bytes_ = given["kv_bytes"]
    return Checkpoint(path, says, quantisation, None if kv == bytes_ else _CACHES.get(bytes_))


def _read(given):
    """Uses of the weights that a model has, of a precision."""
    dense, layers = given["model_first_k_dense_replace"], given["model_num_hidden_layers"]
    has = {"weight": True, "dense": dense > 0, "expert": dense < layers, "shared": given["model_n_shared_experts"] > 0}
    return [use for use in USES if has[use]]


def _is_fp8(use, given):
    return given[f"{use}_bytes"] == 1.0 and RATES[int(given[f"{use}_rate"])] == "fp8"


def _same(use, own, given):
    near = abs(math.log2(given[f"{use}_bytes"] / own[f"{use}_bytes"])) <= _SAME
    return near and int(given[f"{use}_rate"]) == int(own[f"{use}_rate"])
