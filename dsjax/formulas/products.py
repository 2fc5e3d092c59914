"""Knots of products with weights: GEMMs, and grouped GEMMs of experts, by the width of what they multiply.

A curve with them has a field for every set of `SETS` and knot of `KNOTS`: gemm8_tail, expert_w4_memory. A row may leave
out every set but the first: then it has the numbers of another (`SETS`). What the knots do: `efficiency.wide`,
`efficiency.grouped`.
"""

import functools
from collections.abc import Callable

from .. import arrays
from ..specs.fields import amount, feature, fraction, like, seconds, share

# suffix -> (what is multiplied, the set that a row takes it from where it leaves it out)
SETS = {
    "": ("16 bit", None),
    "8": ("8 bit", ""),
    "4": ("4 bit", "8"),
    "_w8": ("8-bit weights, 16-bit arithmetic", ""),
    "_w4": ("4-bit weights, 16-bit arithmetic", "_w8"),
}

_size = functools.partial(amount, "1")
_LOSS = (fraction, "share of what is not longest, of compute, memory and one core, that is not hidden")
_DEPTH = (seconds, "time of one core per element of K")
KNOTS: dict[str, dict[str, tuple[Callable, str]]] = {
    "gemm": {
        "compute": (share, "share of peak compute of a large one"),
        "tail": (_size, "result elements at which half of that is reached"),
        "memory": (share, "share of memory bandwidth"),
        "start_s": (seconds, "launch and ramp"),
        "depth_s": _DEPTH,
        "loss": _LOSS,
    },
    "expert": {
        "compute": (share, "share of peak compute with many rows and a long K"),
        "rows": (_size, "rows of one expert at which two thirds of that are reached, and half with few"),
        "fill": (_size, "elements of K at which half of that is reached"),
        "memory": (share, "share of memory bandwidth"),
        "start_s": (seconds, "launch and ramp"),
        "slot_s": (seconds, "time of every expert that a card holds, read or not"),
        "depth_s": _DEPTH,
        "loss": _LOSS,
    },
}
_MAY_LACK = {"slot_s": "s", "depth_s": "s", "fill": "1", "loss": "1"}  # and then it is 0
_WORDS = {"gemm": "GEMM", "expert": "grouped GEMM"}


def with_knots(cls):
    """A class of knots, with those of products."""
    for kind, knots in KNOTS.items():
        for suffix, (what, base) in SETS.items():
            for knot, (make, doc) in knots.items():
                field = make(f"{_WORDS[kind]}, {what}: {doc}")
                if base is not None:
                    field = like(f"{kind}{base}_{knot}", field)
                elif knot in _MAY_LACK:
                    field = feature(_MAY_LACK[knot], field.metadata["doc"], high=1.0 if knot == "loss" else None)
                cls.__annotations__[f"{kind}{suffix}_{knot}"] = float
                setattr(cls, f"{kind}{suffix}_{knot}", field)
    return cls


def operands(rate, weight_bytes):
    """Index into `SETS` of a product at `RATES[rate]` with weights of `weight_bytes` [B].

    At the 16-bit rate weights below 2 bytes, and below 1, are widened on their way to the arithmetic: own sets.
    """
    widened = arrays.where(weight_bytes < 1.0, 4, arrays.where(weight_bytes < 2.0, 3, 0))
    return arrays.where(rate == 0, widened, arrays.where(rate == 3, 2, 1))


def knots(curve, kind, index):
    """{knot: number} of `kind` ("gemm", "expert") on a curve, of the set at `index` of `SETS`."""
    return {knot: arrays.choose(index, *(getattr(curve, f"{kind}{s}_{knot}") for s in SETS)) for knot in KNOTS[kind]}
