"""Efficiency curves: the share of peak a GEMM reaches, as differentiable data.

A curve is a record of knots and functions of it: `gemm(curve, m, k, n, groups, rate)`, `expert_gemm(curve, side, m, k,
n, rate)` with `side` "up" (gate and up, fused) or "down" and `rate` an index into `records.RATES`, `attention(curve,
call, is_causal)` of an `attention_kernels.Core`, `scores(curve, positions, is_causal)`, `selection(curve, rows,
positions)`, `pointwise(curve)`; each returns an `Efficiency`. A row of the catalog picks a form and gives its knots.
Sizes m, k, n, groups, rows and positions are numbers [1]; shares are of the peak [1]; start times are in seconds.
Equations: dsjax/MODEL.md, section 4.
"""

from collections.abc import Callable
from typing import NamedTuple

from .. import arrays
from ..specs.fields import amount, feature, like, record, seconds, share
from . import attention_kernels
from .attention_kernels import AttentionKnots


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
class Kernel(AttentionKnots):
    """Smooth kernel times, a few parameters each (dsjax/MODEL.md, section 4).

    GEMMs have a set of knots for operands of 16, 8 and 4 bit; a row may leave out the narrower ones.
    """

    gemm_compute: float = share("GEMM, 16 bit: share of peak compute of a large one")
    gemm_tail: float = amount("1", "GEMM, 16 bit: result elements at which half of that is reached")
    gemm_memory: float = share("GEMM, 16 bit: share of memory bandwidth of a wide one")
    gemm_columns: float = feature("1", "GEMM, 16 bit: columns at which half of that is reached")
    gemm_start_s: float = seconds("GEMM, 16 bit: launch and ramp")
    gemm8_compute: float = like("gemm_compute", share("GEMM, 8 bit: share of peak compute of a large one"))
    gemm8_tail: float = like("gemm_tail", amount("1", "GEMM, 8 bit: result elements at which half of it is reached"))
    gemm8_memory: float = like("gemm_memory", share("GEMM, 8 bit: share of memory bandwidth of a wide one"))
    gemm8_columns: float = like("gemm_columns", amount("1", "GEMM, 8 bit: columns at which half of that is reached"))
    gemm8_start_s: float = like("gemm_start_s", seconds("GEMM, 8 bit: launch and ramp"))
    gemm4_compute: float = like("gemm8_compute", share("GEMM, 4 bit: share of peak compute of a large one"))
    gemm4_tail: float = like("gemm8_tail", amount("1", "GEMM, 4 bit: result elements at which half of it is reached"))
    gemm4_memory: float = like("gemm8_memory", share("GEMM, 4 bit: share of memory bandwidth of a wide one"))
    gemm4_columns: float = like("gemm8_columns", amount("1", "GEMM, 4 bit: columns at which half of that is reached"))
    gemm4_start_s: float = like("gemm8_start_s", seconds("GEMM, 4 bit: launch and ramp"))
    expert_compute: float = share("grouped GEMM, 16 bit: share of peak compute with many rows per expert")
    expert_rows: float = amount("1", "grouped GEMM, 16 bit: rows per expert at which half of that is reached")
    expert_memory: float = share("grouped GEMM, 16 bit: share of memory bandwidth")
    expert_start_s: float = seconds("grouped GEMM, 16 bit: launch and ramp")
    expert8_compute: float = like("expert_compute", share("grouped GEMM, 8 bit: share of peak compute, many rows"))
    expert8_rows: float = like("expert_rows", amount("1", "grouped GEMM, 8 bit: rows at which half of it is reached"))
    expert8_memory: float = like("expert_memory", share("grouped GEMM, 8 bit: share of memory bandwidth"))
    expert8_start_s: float = like("expert_start_s", seconds("grouped GEMM, 8 bit: launch and ramp"))
    expert4_compute: float = like("expert8_compute", share("grouped GEMM, 4 bit: share of peak compute, many rows"))
    expert4_rows: float = like("expert8_rows", amount("1", "grouped GEMM, 4 bit: rows at which half of it is reached"))
    expert4_memory: float = like("expert8_memory", share("grouped GEMM, 4 bit: share of memory bandwidth"))
    expert4_start_s: float = like("expert8_start_s", seconds("grouped GEMM, 4 bit: launch and ramp"))
    pointwise_memory: float = share("norms, residuals, activations: share of memory bandwidth")
    pointwise_start_s: float = seconds("norms, residuals, activations: launch of one kernel")
    pointwise_kernels: float = amount("1", "norms, residuals, activations: launches per layer")


@record
class ByHardware:
    """No knots of its own: every hardware has the curve that its row names."""


class Efficiency(NamedTuple):
    """Efficiency of a kernel: shares of peak compute and of memory bandwidth [1], and its start [s]; None: no start."""

    compute: float
    memory: float = 1.0
    start_s: float | None = None


def a100_gemm(curve, m, k, n, groups=1.0, rate=0):
    """Share of peak of one GEMM (m, k) x (k, n), by its smallest side.

    K < min(M, N): a line in log2 K through (64, small) and (512, middle), `large` from 1024 on, never below `small`.
    Otherwise the same with min(M, N) through (256, small) and (2048, middle), `large` from 2048 on, and at least
    `gemm_long_k` where K > 4096, max(M, N) >= 1536 and min(M, N) >= 64. Steps stay where the source has steps.
    Thresholds compare the size itself: log2 of a power of two may come out below the integer.

    Source: NVIDIA, Matrix Multiplication Background User's Guide (A100 figures), linearised by the 2025 decode study.
    """
    del groups, rate  # the guide's shapes are those of one product, and its shares those of every precision
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


def a100_expert_gemm(curve, side, m, k, n, rate=0):
    """`a100_gemm` of one expert GEMM (m, k) x (k, n): the guide knows no grouped GEMM."""
    del side, rate
    return a100_gemm(curve, m, k, n)


def deepgemm_expert_gemm(curve, side, m, k, n, rate=0):
    """Share of peak by the rows m of one expert: the knot of the last step reached, per `side` ("up" or "down").

    Source: DeepGEMM's published performance table (H800).
    """
    del k, n, rate
    value = getattr(curve, f"expert_{side}_64")
    for rows in (128, 256, 512, 1024):
        value = arrays.where(_from(m, rows), getattr(curve, f"expert_{side}_{rows}"), value)
    return Efficiency(value)


# What the knots of GEMMs are called at each of `records.RATES`: by the width of the operands.
GEMMS, EXPERTS = ("gemm", "gemm8", "gemm8", "gemm4"), ("expert", "expert8", "expert8", "expert4")


READERS = 512.0  # rows of a GEMM from which its tiles along the rows read too


def wide(knots, m, n, groups=1.0):
    """`Efficiency` of a GEMM: e_c = compute / (1 + tail / (g M N)), e_m = memory / (1 + columns / (g N (1 + M / 512))).

    Few result elements leave cores idle, and few columns leave too few of them reading weights; many rows make up for
    it, beyond what was measured: no public file has memory-bound GEMMs of few columns and many rows. `knots`
    {name: number}.
    """
    memory = knots["memory"] / (1.0 + knots["columns"] / (groups * n * (1.0 + m / READERS)))
    return Efficiency(knots["compute"] / (1.0 + knots["tail"] / (groups * m * n)), memory, knots["start_s"])


def filled(knots, size):
    """`Efficiency` with e_c = compute / (1 + rows / x), x = `size`: rows of an expert."""
    return Efficiency(knots["compute"] / (1.0 + knots["rows"] / size), knots["memory"], knots["start_s"])


def kernel_gemm(curve, m, k, n, groups=1.0, rate=0):
    """`wide` of `groups` GEMMs (m, k) x (k, n), with the knots for the operand width of `RATES[rate]`."""
    del k
    return wide(_of_rate(curve, GEMMS, rate, ("compute", "tail", "memory", "columns", "start_s")), m, n, groups)


def kernel_expert_gemm(curve, side, m, k, n, rate=0):
    """`filled` by the m rows of one expert, with the knots for the operand width of `RATES[rate]`."""
    del side, k, n
    return filled(_of_rate(curve, EXPERTS, rate, ("compute", "rows", "memory", "start_s")), m)


def _of_rate(curve, kinds, rate, names):
    return {name: arrays.choose(rate, *(getattr(curve, f"{kind}_{name}") for kind in kinds)) for name in names}


def kernel_attention(curve, call, is_causal=False):
    """The core of attention, an `attention_kernels.Core`, with the knots of the kernel that runs."""
    return Efficiency(*attention_kernels.core(curve, call, is_causal))


def kernel_scores(curve, positions, is_causal=False):
    """Scores of an indexer over so many positions, with the `index_` knots."""
    return Efficiency(*attention_kernels.scores(curve, positions, is_causal))


def kernel_selection(curve, rows, positions):
    """Selection of the best scores of so many tokens, with the `select_` knots."""
    return Efficiency(*attention_kernels.selection(curve, rows, positions))


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


FORMS = {
    "a100-guide": Form(A100Guide, a100_gemm, a100_expert_gemm),
    "deepgemm-table": Form(DeepGemmTable, a100_gemm, deepgemm_expert_gemm),
    "by-hardware": Form(ByHardware, perfect, perfect),
    "kernel": Form(
        Kernel, kernel_gemm, kernel_expert_gemm, kernel_attention, kernel_pointwise, kernel_scores, kernel_selection
    ),
}
