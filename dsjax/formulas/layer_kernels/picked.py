"""Kernels of attention to a window and to compressed or picked positions (dsjax/MODEL.md, section 4).

`compressed_` and `compressed_prefill_`: DeepSeek-V4's core on x entries of a cache whose keys are its values: those of
a window, and of blocks that were compressed to one entry each. `block_prefill_`: MiniMax-M3's core of prompts, on the
blocks of keys that its indexer picks, and `block_index_` the scores of that indexer; in decode that core is one of
grouped queries on as many positions, its scores those of `index_`.
"""

from ...specs.fields import amount, feature, like, record, seconds, share
from ..attention_kernels import decode, prompts


@record
class PickedKnots:
    """Knots of cores on compressed and picked positions."""

    compressed_compute: float = like("sparse_compute", share("compressed decode: share of peak compute"))
    compressed_rows: float = like("sparse_rows", amount("token", "compressed decode: entries that begin and end one"))
    compressed_memory: float = like("sparse_memory", share("compressed decode: share of memory bandwidth"))
    compressed_start_s: float = like("sparse_start_s", seconds("compressed decode: launch and ramp"))
    compressed_tile: float = like("sparse_tile", amount("1", "compressed decode: heads computed at least (0: any)"))
    compressed_prefill_compute: float = like("sparse_prefill_compute", share("compressed prefill: of peak compute"))
    compressed_prefill_rows: float = feature("token", "compressed prefill: entries that beginning a token is worth")
    compressed_prefill_memory: float = like("sparse_prefill_memory", share("compressed prefill: of memory bandwidth"))
    compressed_prefill_start_s: float = like("sparse_prefill_start_s", seconds("compressed prefill: launch and ramp"))
    compressed_prefill_fill: float = like(
        "sparse_prefill_fill", amount("1", "compressed prefill: tokens x heads, half")
    )
    compressed_prefill_tile: float = like("sparse_prefill_tile", amount("1", "compressed prefill: heads at least"))
    block_prefill_compute: float = like("gqa_prefill_compute", share("core on picked blocks, prefill: of peak compute"))
    block_prefill_rows: float = like("gqa_prefill_rows", amount("token", "core on picked blocks: to begin a token"))
    block_prefill_start_s: float = like("gqa_prefill_start_s", seconds("core and scores of blocks, prefill: launches"))
    block_index_compute: float = like("index_prefill_compute", share("scores of blocks, prefill: of peak compute"))


def compressed(curve, call, is_causal):
    """`decode` or `prompts` of an `attention_kernels.Core` on `call.positions` entries: the `compressed_` knots."""
    if is_causal:
        names = ("compute", "rows", "memory", "start_s", "fill", "tile")
        return prompts(call, **{name: getattr(curve, f"compressed_prefill_{name}") for name in names})
    names = ("compute", "rows", "memory", "start_s", "tile")
    return decode(call, **{name: getattr(curve, f"compressed_{name}") for name in names})


def blocks(curve, positions):
    """(share of peak compute, of the memory bandwidth, start [s]) of the core of prompts on x positions of a token.

    e_c = compute / (1 + rows / x); rows and results count at full bandwidth.
    """
    return curve.block_prefill_compute / (1.0 + curve.block_prefill_rows / positions), 1.0, curve.block_prefill_start_s


def block_scores(curve):
    """(share of peak compute, of the memory bandwidth, start [s]) of scores of prompts; their start is the core's."""
    return curve.block_index_compute, 1.0, None
