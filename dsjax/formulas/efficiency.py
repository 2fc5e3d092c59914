"""Efficiency curves: the share of peak a GEMM reaches, as differentiable data.

A curve is a record of knots and functions of it: `gemm(curve, m, k, n, groups, operands)`, `expert_gemm(curve, side, m,
k, n, operands, slots)` with `side` "up" (gate and up, fused) or "down", `operands` an index into `products.SETS` and
`slots` the experts that a card holds, `attention(curve, call, is_causal)` of an `attention_kernels.Core`,
`scores(curve, positions, is_causal)`, `selection(curve, rows, positions)`, `pointwise(curve)`; of layers beside
attention (`layer_kernels`) `recurrent(curve)`, `scan(curve, length, rule)`, `convolution(curve)`, `mixing(curve,
side)`, `compressed(curve, call, is_causal)`, `blocks(curve, positions)`, `block_scores(curve)`; each returns an
`Efficiency`. A row of the catalog picks a form and gives its knots. Sizes m, k, n, groups, slots, rows and positions
are numbers [1]; shares are of the peak [1]; start times are in seconds. Equations: dsjax/MODEL.md, section 4.
"""

from collections.abc import Callable
from typing import NamedTuple

from .. import arrays
from ..specs.fields import amount, record, seconds, share
from . import attention_kernels, products
from .attention_kernels import AttentionKnots
from .layer_kernels import mixing, picked, recurrent


@record
class A100Guide:
    """Knots of NVIDIA's matrix-multiplication guide for A100, as read by the 2025 decode study."""

    gemm_small_k: float = share("share of peak at K = 64, K the smallest side")
    gemm_middle_k: float = share("share of peak the line from K = 64 is drawn to, at K = 512")
    gemm_large_k: float = share("share of peak from K = 1024 on, K the smallest side")
    gemm_small_mn: float = share("share of peak at min(M, N) = 256 and below")
    gemm_middle_mn: float = share("share of peak the line from 256 is drawn to, at min(M, N) = 2048")
    gemm_large_mn: float = share("share of peak from min(M, N) = 2048 on")
    gemm_long_k: float = share("least share of peak with K > 4096, one of M, N >= 1536 and both >= 64")


@record
class DeepGemmTable(A100Guide):
    """The guide, and DeepGEMM's published step table for the experts: one knot per side and number of rows."""

    expert_up_64: float = share("share of peak of gate + up below 128 rows")
    expert_up_128: float = share("share of peak of gate + up from 128 rows on")
    expert_up_256: float = share("share of peak of gate + up from 256 rows on")
    expert_up_512: float = share("share of peak of gate + up from 512 rows on")
    expert_up_1024: float = share("share of peak of gate + up from 1024 rows on")
    expert_down_64: float = share("share of peak of down below 128 rows")
    expert_down_128: float = share("share of peak of down from 128 rows on")
    expert_down_256: float = share("share of peak of down from 256 rows on")
    expert_down_512: float = share("share of peak of down from 512 rows on")
    expert_down_1024: float = share("share of peak of down from 1024 rows on")


@record
@products.with_knots
class Kernel(mixing.MixingKnots, recurrent.RecurrentKnots, picked.PickedKnots, AttentionKnots):
    """Smooth kernel times, at most eight parameters each (dsjax/MODEL.md, section 4)."""

    pointwise_memory: float = share("norms, residuals, activations: share of memory bandwidth")
    pointwise_start_s: float = seconds("norms, residuals, activations: launch of one kernel")
    pointwise_kernels: float = amount("1", "norms, residuals, activations: launches per layer")


@record
class ByHardware:
    """No knots of its own: every hardware has the curve that its row names."""


class Efficiency(NamedTuple):
    """Efficiency of a kernel: shares of peak compute and of memory bandwidth [1], its start [s]; None: no start.

    loss: share of what is not longest that a perfect overlap leaves unhidden [1]; None: no loss. core_s: time of one
    core, beside that of all [s]; None: none.
    """

    compute: float
    memory: float = 1.0
    start_s: float | None = None
    loss: float | None = None
    core_s: float | None = None


def either(condition, one, other):
    """The `Efficiency` of one kernel where a condition holds, else of another; what neither has stays None."""

    def pick(name, x, y):
        if x is y or (x is None and y is None):
            return x
        missing = 1.0 if name in ("compute", "memory") else 0.0
        x, y = (missing if value is None else value for value in (x, y))
        return arrays.where(condition, x, y)

    return Efficiency(*map(pick, Efficiency._fields, one, other))


def a100_gemm(curve, m, k, n, groups=1.0, operands=0):
    """Share of peak of one GEMM (m, k) x (k, n), by its smallest side.

    K < min(M, N): a line in log2 K through (64, small) and (512, middle), `large` from 1024 on, never below `small`.
    Otherwise the same with min(M, N) through (256, small) and (2048, middle), `large` from 2048 on, and at least
    `gemm_long_k` where K > 4096, max(M, N) >= 1536 and min(M, N) >= 64. Steps stay where the source has steps.
    Thresholds compare the size itself: log2 of a power of two may come out below the integer.

    Source: NVIDIA, Matrix Multiplication Background User's Guide (A100 figures), linearised by the 2025 decode study.
    """
    del groups, operands  # the guide's shapes are those of one product, and its shares those of every precision
    small_mn = arrays.minimum(m, n)
    by_k = _line(k, 6.0, curve.gemm_small_k, 9.0, curve.gemm_middle_k)
    by_k = arrays.where(_from(k, 1024), curve.gemm_large_k, arrays.where(_from(k, 64), by_k, curve.gemm_small_k))
    by_mn = _line(small_mn, 8.0, curve.gemm_small_mn, 11.0, curve.gemm_middle_mn)
    above_256 = arrays.where(_from(small_mn, 256), by_mn, curve.gemm_small_mn)
    by_mn = arrays.where(_from(small_mn, 2048), curve.gemm_large_mn, above_256)
    long_k = ~_from(4096, k) & _from(arrays.maximum(m, n), 1536) & _from(small_mn, 64)
    by_mn = arrays.where(long_k, arrays.maximum(by_mn, curve.gemm_long_k), by_mn)
    return Efficiency(arrays.where(_from(k, small_mn), by_mn, by_k))


def _from(size, step):
    """Whether a size has reached a step, also where it is a quotient that rounding left just below."""
    return size >= step * (1.0 - 64.0 * arrays.precision(size, step))


def _line(x, log2_x0, y0, log2_x1, y1):
    return y0 + (y1 - y0) / (log2_x1 - log2_x0) * (arrays.log2(x) - log2_x0)


def a100_expert_gemm(curve, side, m, k, n, operands=0, slots=0.0):
    """`a100_gemm` of one expert GEMM (m, k) x (k, n): the guide knows no grouped GEMM."""
    del side, operands, slots
    return a100_gemm(curve, m, k, n)


def deepgemm_expert_gemm(curve, side, m, k, n, operands=0, slots=0.0):
    """Share of peak by the rows m of one expert: the knot of the last step reached, per `side` ("up" or "down").

    Source: DeepGEMM's published performance table (H800).
    """
    del k, n, operands, slots
    value = getattr(curve, f"expert_{side}_64")
    for rows in (128, 256, 512, 1024):
        value = arrays.where(_from(m, rows), getattr(curve, f"expert_{side}_{rows}"), value)
    return Efficiency(value)


TILE = 128.0  # rows of a GEMM below which fewer rows do not leave more cores idle: the tile is what it is


def wide(knots, m, k, n, groups=1.0):
    """`Efficiency` of g GEMMs: e_c = compute / (1 + tail / (g N (M + 128))), e_m = memory, l = K depth_s.

    Few tiles leave cores idle. One core works its way along K in l, whatever the memory bandwidth: on H100 and H200, of
    the same cores, 8-bit GEMMs of few rows and up to about 2,500 columns take equally long. `knots` {name: number}.
    """
    compute = knots["compute"] / (1.0 + knots["tail"] / (groups * n * (m + TILE)))
    return Efficiency(compute, knots["memory"], knots["start_s"], knots["loss"], k * knots["depth_s"])


def grouped(knots, m, k, slots):
    """`Efficiency` of a grouped GEMM: e_c = compute / ((1 + rows / (M + rows)) (1 + fill / K)), e_m = memory.

    t0 = start_s + s slot_s, s `slots` that a card holds; l = K depth_s. Tiles of few rows are half empty, and starting
    and finishing a tile takes the time of `fill` elements of K. Where rows are few, work per row is a constant: then
    the weights' bytes alone set the time.
    """
    compute = knots["compute"] / ((1.0 + knots["rows"] / (m + knots["rows"])) * (1.0 + knots["fill"] / k))
    start = knots["start_s"] + slots * knots["slot_s"]
    return Efficiency(compute, knots["memory"], start, knots["loss"], k * knots["depth_s"])


def kernel_gemm(curve, m, k, n, groups=1.0, operands=0):
    """`wide` of `groups` GEMMs (m, k) x (k, n), with the knots of the set `operands` (`products.SETS`)."""
    return wide(products.knots(curve, "gemm", operands), m, k, n, groups)


def kernel_expert_gemm(curve, side, m, k, n, operands=0, slots=0.0):
    """`grouped` of experts with m rows each, (m, k) x (k, n), with the knots of the set `operands`."""
    del side, n
    return grouped(products.knots(curve, "expert", operands), m, k, slots)


def kernel_attention(curve, call, is_causal=False):
    """The core of attention, an `attention_kernels.Core`, with the knots of the kernel that runs."""
    return Efficiency(*attention_kernels.core(curve, call, is_causal))


def kernel_scores(curve, positions, is_causal=False):
    """Scores of an indexer over so many positions, with the `index_` knots."""
    return Efficiency(*attention_kernels.scores(curve, positions, is_causal))


def kernel_selection(curve, rows, positions):
    """Selection of the best scores of so many tokens, with the `select_` knots."""
    return Efficiency(*attention_kernels.selection(curve, rows, positions))


def kernel_recurrent(curve):
    """New tokens of layers with a state, with the `recurrent_` knots."""
    return Efficiency(*recurrent.recurrent(curve))


def kernel_scan(curve, length, rule=0):
    """Prompts of `length` tokens in layers with a state, with the knots of `recurrent.SCANS[rule]`."""
    return Efficiency(*recurrent.scan(curve, length, rule))


def kernel_convolution(curve):
    """The short convolution of layers with a state."""
    return Efficiency(*recurrent.convolution(curve))


def kernel_mixing(curve, side):
    """Hyper-connections of one block, `side` "pre" or "post"."""
    return Efficiency(*mixing.mixing(curve, side))


def kernel_compressed(curve, call, is_causal=False):
    """The core of compressed attention, an `attention_kernels.Core` on `call.positions` entries."""
    return Efficiency(*picked.compressed(curve, call, is_causal))


def kernel_blocks(curve, positions):
    """The core of prompts on so many positions of picked blocks."""
    return Efficiency(*picked.blocks(curve, positions))


def kernel_block_scores(curve):
    """Scores of prompts of an indexer of blocks."""
    return Efficiency(*picked.block_scores(curve))


def kernel_pointwise(curve, layers=None):
    """Norms, residuals, activations: `layers` x `pointwise_kernels` launches; one launch where `layers` is None.

    Each takes `pointwise_start_s` [s] and reaches `pointwise_memory` of the memory bandwidth.
    """
    launches = 1.0 if layers is None else layers * curve.pointwise_kernels
    return Efficiency(1.0, curve.pointwise_memory, launches * curve.pointwise_start_s)


def perfect(curve, *shape):
    """`Efficiency` of 1 without a start: for kernels of which a source has no figures."""
    del curve, shape
    return Efficiency(1.0)


class Form(NamedTuple):
    """A kind of curve: the record of its knots and the functions that read it."""

    record: type
    gemm: Callable
    expert_gemm: Callable
    attention: Callable = perfect
    pointwise: Callable = perfect
    scores: Callable = perfect
    selection: Callable = perfect
    compressed: Callable = perfect
    blocks: Callable = perfect
    block_scores: Callable = perfect
    recurrent: Callable = perfect
    scan: Callable = perfect
    convolution: Callable = perfect
    mixing: Callable = perfect


FORMS = {
    "a100-guide": Form(A100Guide, a100_gemm, a100_expert_gemm),
    "deepgemm-table": Form(DeepGemmTable, a100_gemm, deepgemm_expert_gemm),
    "by-hardware": Form(ByHardware, perfect, perfect),
    "kernel": Form(
        Kernel,
        kernel_gemm,
        kernel_expert_gemm,
        attention=kernel_attention,
        pointwise=kernel_pointwise,
        scores=kernel_scores,
        selection=kernel_selection,
        recurrent=kernel_recurrent,
        scan=kernel_scan,
        convolution=kernel_convolution,
        mixing=kernel_mixing,
        compressed=kernel_compressed,
        blocks=kernel_blocks,
        block_scores=kernel_block_scores,
    ),
}
