"""Kernels of attention: the knots of their curves, and the shares of the peaks that they reach (dsjax/MODEL.md, 4).

Knots are named by the kernel: `attention_` MLA in decode, `gqa_` grouped queries in decode, `prefill_` and
`gqa_prefill_` whole prompts, `sparse_` and `sparse_prefill_` MLA on the positions that an indexer picks, `index_` and
`index_prefill_` the scores of the indexer, `select_` the selection of the best. An 8 behind the name: computed at a
rate of 8 bit; `cast`: a cache of 8 bit, computed at 16. A row may leave out what it has no measurement of: it is then
like the kernel next to it.
"""

from typing import NamedTuple

from .. import arrays
from ..specs.fields import amount, feature, like, record, seconds, share


@record
class AttentionKnots:
    """Knots of the kernels of attention, at most seven each."""

    attention_compute: float = share("MLA decode: share of peak compute of a long cache")
    attention_rows: float = amount("token", "MLA decode: positions that beginning and ending a sequence is worth")
    attention_memory: float = share("MLA decode: share of memory bandwidth of a long cache")
    attention_start_s: float = seconds("MLA decode: launch and ramp")
    attention_split_s: float = feature("s", "MLA decode: time to join the parts of a long cache")
    attention_split_tokens: float = feature("token", "MLA decode: positions at which half of it is reached")
    attention_tile: float = feature("1", "MLA decode: queries of one key that the kernel computes at least (0: any)")
    attention_cast_compute: float = like("attention_compute", share("MLA decode, 8-bit cache at 16 bit: of compute"))
    attention_cast_rows: float = like("attention_rows", amount("token", "MLA decode, 8-bit cache: of begin and end"))
    attention_cast_memory: float = like("attention_memory", share("MLA decode, 8-bit cache at 16 bit: of bandwidth"))
    attention_cast_start_s: float = like("attention_start_s", seconds("MLA decode, 8-bit cache: launch and ramp"))
    attention_cast_split_s: float = like("attention_split_s", amount("s", "MLA decode, 8-bit cache: to join parts"))
    attention_cast_split_tokens: float = like(
        "attention_split_tokens", amount("token", "MLA decode, 8-bit cache: positions at which half of it is reached")
    )
    attention_cast_tile: float = like(
        "attention_tile", amount("1", "MLA decode, 8-bit cache: queries computed at least")
    )
    attention8_compute: float = like("attention_cast_compute", share("MLA decode at 8 bit: share of peak compute"))
    attention8_rows: float = like("attention_cast_rows", amount("token", "MLA decode at 8 bit: of begin and end"))
    attention8_memory: float = like("attention_cast_memory", share("MLA decode at 8 bit: share of memory bandwidth"))
    attention8_start_s: float = like("attention_cast_start_s", seconds("MLA decode at 8 bit: launch and ramp"))
    attention8_split_s: float = like("attention_cast_split_s", amount("s", "MLA decode at 8 bit: time to join parts"))
    attention8_split_tokens: float = like(
        "attention_cast_split_tokens", amount("token", "MLA decode at 8 bit: positions at which half of it is reached")
    )
    attention8_tile: float = like("attention_cast_tile", amount("1", "MLA decode at 8 bit: queries computed at least"))
    gqa_compute: float = like("attention_compute", share("GQA decode: share of peak compute of a long cache"))
    gqa_rows: float = like("attention_rows", amount("token", "GQA decode: positions of beginning and ending one"))
    gqa_memory: float = like("attention_memory", share("GQA decode: share of memory bandwidth of a long cache"))
    gqa_start_s: float = like("attention_start_s", seconds("GQA decode: launch and ramp"))
    gqa_split_s: float = like("attention_split_s", amount("s", "GQA decode: time to join the parts of a long cache"))
    gqa_split_tokens: float = like(
        "attention_split_tokens", amount("token", "GQA decode: positions at which half of it is reached")
    )
    gqa_tile: float = feature("1", "GQA decode: queries of one key that the kernel computes at least (0: any)")
    gqa_cast_compute: float = like("gqa_compute", share("GQA decode, 8-bit cache at 16 bit: share of peak compute"))
    gqa_cast_rows: float = like("gqa_rows", amount("token", "GQA decode, 8-bit cache: of begin and end"))
    gqa_cast_memory: float = like("gqa_memory", share("GQA decode, 8-bit cache at 16 bit: of memory bandwidth"))
    gqa_cast_start_s: float = like("gqa_start_s", seconds("GQA decode, 8-bit cache: launch and ramp"))
    gqa_cast_split_s: float = like("gqa_split_s", amount("s", "GQA decode, 8-bit cache: time to join parts"))
    gqa_cast_split_tokens: float = like(
        "gqa_split_tokens", amount("token", "GQA decode, 8-bit cache: positions at which half of it is reached")
    )
    gqa_cast_tile: float = like(
        "gqa_tile", amount("1", "GQA decode, 8-bit cache: queries of one key computed at least")
    )
    gqa8_compute: float = like("gqa_cast_compute", share("GQA decode at 8 bit: share of peak compute"))
    gqa8_rows: float = like("gqa_cast_rows", amount("token", "GQA decode at 8 bit: of begin and end"))
    gqa8_memory: float = like("gqa_cast_memory", share("GQA decode at 8 bit: share of memory bandwidth"))
    gqa8_start_s: float = like("gqa_cast_start_s", seconds("GQA decode at 8 bit: launch and ramp"))
    gqa8_split_s: float = like("gqa_cast_split_s", amount("s", "GQA decode at 8 bit: time to join parts"))
    gqa8_split_tokens: float = like(
        "gqa_cast_split_tokens", amount("token", "GQA decode at 8 bit: positions at which half of it is reached")
    )
    gqa8_tile: float = like("gqa_cast_tile", amount("1", "GQA decode at 8 bit: queries of one key computed at least"))
    sparse_compute: float = like("attention_compute", share("sparse decode: share of peak compute"))
    sparse_rows: float = like("attention_rows", amount("token", "sparse decode: positions of beginning and ending one"))
    sparse_memory: float = like("attention_memory", share("sparse decode: share of memory bandwidth"))
    sparse_start_s: float = like("attention_start_s", seconds("sparse decode: launch and ramp"))
    sparse_split_s: float = like("attention_split_s", amount("s", "sparse decode: time to join the parts of a cache"))
    sparse_split_tokens: float = like(
        "attention_split_tokens", amount("token", "sparse decode: positions at which half of it is reached")
    )
    sparse_tile: float = like("attention_tile", amount("1", "sparse decode: queries of a token computed at least"))
    sparse8_compute: float = like("sparse_compute", share("sparse decode at 8 bit: share of peak compute"))
    index_compute: float = like("attention_compute", share("scores of an indexer, decode: share of peak compute"))
    index_memory: float = like("attention_memory", share("scores of an indexer, decode: of memory bandwidth"))
    index_start_s: float = like("attention_start_s", seconds("scores of an indexer, decode: launch and ramp"))
    prefill_compute: float = like("attention_compute", share("MLA prefill: share of peak compute, long prompt"))
    prefill_rows: float = like("attention_rows", amount("token", "MLA prefill: tokens at which half is reached"))
    prefill_memory: float = like("attention_memory", share("MLA prefill: share of memory bandwidth"))
    prefill_start_s: float = like("attention_start_s", seconds("MLA prefill: launch and ramp"))
    prefill_short: float = feature("token", "MLA prefill: prompt at which half of its bandwidth is reached")
    prefill_fill: float = feature("1", "MLA prefill: tokens x heads at which half of the cores have work")
    prefill8_compute: float = like("prefill_compute", share("MLA prefill at 8 bit: share of peak compute"))
    prefill8_rows: float = like("prefill_rows", amount("token", "MLA prefill at 8 bit: tokens of half of it"))
    prefill8_memory: float = like("prefill_memory", share("MLA prefill at 8 bit: share of memory bandwidth"))
    prefill8_start_s: float = like("prefill_start_s", seconds("MLA prefill at 8 bit: launch and ramp"))
    prefill8_short: float = like("prefill_short", amount("token", "MLA prefill at 8 bit: prompt of half bandwidth"))
    prefill8_fill: float = like("prefill_fill", amount("1", "MLA prefill at 8 bit: tokens x heads of half the cores"))
    gqa_prefill_compute: float = like("prefill_compute", share("GQA prefill: share of peak, long prompt, wide heads"))
    gqa_prefill_rows: float = like("prefill_rows", amount("token", "GQA prefill: tokens at which half is reached"))
    gqa_prefill_memory: float = like("prefill_memory", share("GQA prefill: share of memory bandwidth"))
    gqa_prefill_start_s: float = like("prefill_start_s", seconds("GQA prefill: launch and ramp"))
    gqa_prefill_short: float = like("prefill_short", amount("token", "GQA prefill: prompt of half its bandwidth"))
    gqa_prefill_fill: float = like("prefill_fill", amount("1", "GQA prefill: tokens x heads of half the cores"))
    gqa_prefill_softmax: float = feature("1", "GQA prefill: width of keys + values that a softmax takes as long as")
    gqa_prefill8_compute: float = like("gqa_prefill_compute", share("GQA prefill at 8 bit: share of peak compute"))
    gqa_prefill8_rows: float = like("gqa_prefill_rows", amount("token", "GQA prefill at 8 bit: tokens of half of it"))
    gqa_prefill8_memory: float = like("gqa_prefill_memory", share("GQA prefill at 8 bit: of memory bandwidth"))
    gqa_prefill8_start_s: float = like("gqa_prefill_start_s", seconds("GQA prefill at 8 bit: launch and ramp"))
    gqa_prefill8_short: float = like(
        "gqa_prefill_short", amount("token", "GQA prefill at 8 bit: prompt of half its bandwidth")
    )
    gqa_prefill8_fill: float = like("gqa_prefill_fill", amount("1", "GQA prefill at 8 bit: tokens x heads, half used"))
    gqa_prefill8_softmax: float = like(
        "gqa_prefill_softmax", amount("1", "GQA prefill at 8 bit: width that a softmax takes as long as")
    )
    sparse_prefill_compute: float = like("prefill_compute", share("sparse prefill: share of peak compute"))
    sparse_prefill_memory: float = like("prefill_memory", share("sparse prefill: share of memory bandwidth"))
    sparse_prefill_start_s: float = like("prefill_start_s", seconds("sparse prefill: launch and ramp"))
    sparse_prefill_fill: float = feature("1", "sparse prefill: tokens x heads at which half of the cores have work")
    sparse_prefill_tile: float = feature("1", "sparse prefill: heads that the kernel computes at least (0: any)")
    sparse_prefill8_compute: float = like("sparse_prefill_compute", share("sparse prefill at 8 bit: of peak compute"))
    index_prefill_compute: float = like("prefill_compute", share("scores of an indexer, prefill: of peak compute"))
    index_prefill_rows: float = like("prefill_rows", amount("token", "scores, prefill: tokens of half of it"))
    index_prefill_memory: float = like("prefill_memory", share("scores of an indexer, prefill: of memory bandwidth"))
    index_prefill_start_s: float = like("prefill_start_s", seconds("scores of an indexer, prefill: launch and ramp"))
    select_memory: float = like("attention_memory", share("selection of the best scores: share of memory bandwidth"))
    select_rows: float = feature("token", "selection of the best scores: tokens at which half of that is reached")
    select_short: float = feature("token", "selection of the best scores: positions that beginning a token is worth")
    select_start_s: float = feature("s", "selection of the best scores: launch and ramp")


class Core(NamedTuple):
    """One call of a core of attention on one chip."""

    latent: float  # rank of a latent cache; 0: keys and values of grouped queries
    picked: float  # whether it reads positions that an indexer picks (> 0)
    rate: float  # index into `records.RATES`
    kv_bytes: float  # of an element of the cache
    positions: float  # that a token attends to on this chip; of a prompt, twice their mean
    sequences: float  # x the heads of keys on this chip
    queries: float  # that read one key: tokens of a sequence x heads
    length: float  # of a prompt
    width: float  # of a key and a value
    beside: float  # bytes of queries and results over those read of the cache


SPLIT = 128.0  # sequences x heads of keys at which half of them are not split any more: about the cores of a chip


def decode(call, compute, rows, memory, start_s, split_s=0.0, split_tokens=0.0, tile=0.0):
    """(share of peak compute, share of the memory bandwidth, start [s]) of one new token, or a few, a sequence.

    e_c = compute / (1 + rows / x) / max(1, tile / n), e_m = memory / (1 + rows / (x (1 + r))), t0 = start_s + split_s /
    (1 + split_tokens / x + U / 128): x positions on the chip, n queries of one key, U sequences times heads of keys, r
    the bytes of queries and results over those of the cache. What a sequence costs to begin and to end is worth `rows`
    positions; fewer than `tile` queries are computed as so many; a cache of many positions is split over the cores and
    its parts are joined, many sequences fill the cores whole.
    """
    longer, read = 1.0 + rows / call.positions, 1.0 + rows / (call.positions * (1.0 + call.beside))
    padded = arrays.maximum(1.0, tile / call.queries)
    parts = 1.0 / (1.0 + split_tokens / call.positions + call.sequences / SPLIT)
    return compute / (longer * padded), memory / read, start_s + split_s * parts


def prompts(call, compute, rows, memory, start_s, short=0.0, fill=0.0, softmax=0.0, tile=0.0):
    """(share of peak compute, share of the memory bandwidth, start [s]) of whole prompts.

    e_c = compute / ((1 + rows / x + fill / (B S h)) (1 + softmax / (K + V)) max(1, tile / h)), e_m = memory / (1 +
    short / S): x twice the positions that a token attends to in the mean, S where it attends to all before it, B S h
    tokens times heads, K + V the width of a key and a value. A tile of queries is half empty at the edge of what it
    attends to; few of them leave cores idle; exponentials take as long whatever the width; prompts below a tile take a
    whole one.
    """
    filled = 1.0 + rows / call.positions + fill / (call.sequences * call.length * call.queries)
    padded = (1.0 + softmax / call.width) * arrays.maximum(1.0, tile / call.queries)
    return compute / (filled * padded), memory / (1.0 + short / call.length), start_s


def core(curve, call, is_causal):
    """The core of attention: `decode` or `prompts` with the knots of the kernel that runs."""
    find = _knot(curve, call, is_causal)
    if not is_causal:
        names = ("compute", "rows", "memory", "start_s", "split_s", "split_tokens", "tile")
        return decode(call, *(find(name) for name in names))
    names = ("compute", "rows", "memory", "start_s", "short", "fill", "softmax", "tile")
    return prompts(call, *(find(name) for name in names))


def scores(curve, positions, is_causal):
    """Scores of an indexer, with the `index_` knots whatever the rate: e_c = compute / (1 + rows / x) in prefill."""
    if not is_causal:
        return curve.index_compute, curve.index_memory, curve.index_start_s
    compute = curve.index_prefill_compute / (1.0 + curve.index_prefill_rows / positions)
    return compute, curve.index_prefill_memory, curve.index_prefill_start_s


def selection(curve, rows, positions):
    """Selection of the best scores, a core for each token: e_m = memory / ((1 + rows / T) (1 + short / x)).

    T = `rows` tokens, x = `positions` of each.
    """
    filled = (1.0 + curve.select_rows / rows) * (1.0 + curve.select_short / positions)
    return 1.0, curve.select_memory / filled, curve.select_start_s


def _knot(curve, call, is_causal):
    """Function of a knot's name: its number for the kernel that runs; 0 where no such kernel has it."""
    kinds = ("prefill", "gqa_prefill", "sparse_prefill") if is_causal else ("attention", "gqa", "sparse")
    narrow, at_8, has_latent, is_sparse = call.kv_bytes < 2.0, call.rate > 0, call.latent > 0.0, call.picked > 0.0

    def find(name):
        latent, grouped, sparse = (of(kind, name) for kind in kinds)
        return _either(is_sparse, sparse, _either(has_latent, latent, grouped))

    def of(kind, name):
        at_16 = getattr(curve, f"{kind}_{name}", 0.0)
        cast = _either(narrow, getattr(curve, f"{kind}_cast_{name}", at_16), at_16)
        return _either(at_8, getattr(curve, f"{kind}8_{name}", at_16), cast)

    return find


def _either(condition, x, y):
    return x if x is y else arrays.where(condition, x, y)
