"""Efficiency curves: the share of peak a GEMM reaches, as differentiable data.

A curve is a record of knots and functions of it: `gemm(curve, m, k, n, groups)`, `expert_gemm(curve, side, m, k, n)`
with `side` "up" (gate and up, fused) or "down", `attention(curve, size)`, `pointwise(curve)`; each returns an
`Efficiency`. A row of the catalog picks a form and gives its knots.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp

from .specs import amount, record, seconds, share


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
class Kernel:
    """Smooth kernel times, few parameters each (dsjax/MODEL.md, section 4); to be calibrated."""

    gemm_compute: float = share("GEMM: share of peak compute of a large one")
    gemm_tail: float = amount("1", "GEMM: result elements at which half of that is reached")
    gemm_memory: float = share("GEMM: share of memory bandwidth")
    gemm_start_s: float = seconds("GEMM: launch and ramp")
    expert_compute: float = share("grouped GEMM: share of peak compute with many rows per expert")
    expert_rows: float = amount("1", "grouped GEMM: rows per expert at which half of that is reached")
    expert_memory: float = share("grouped GEMM: share of memory bandwidth")
    expert_start_s: float = seconds("grouped GEMM: launch and ramp")
    attention_compute: float = share("attention: share of peak compute of a long one")
    attention_rows: float = amount("token", "attention: tokens at which half of that is reached")
    attention_memory: float = share("attention: share of memory bandwidth")
    attention_start_s: float = seconds("attention: launch and ramp")
    pointwise_memory: float = share("norms, residuals, activations: share of memory bandwidth")
    pointwise_start_s: float = seconds("norms, residuals, activations: launch of one kernel")
    pointwise_kernels: float = amount("1", "norms, residuals, activations: launches per layer")


class Efficiency(NamedTuple):
    """What a kernel reaches: shares of peak compute and of memory bandwidth, and the time it takes to start [s]."""

    compute: float
    memory: float = 1.0
    start_s: float | None = None


def a100_gemm(curve, m, k, n, groups=1.0):
    """Share of peak of one GEMM (m, k) x (k, n), by its smallest side.

    K < min(M, N): a line in log2 K through (64, small) and (512, middle), `large` from 1024 on, never below `small`.
    Otherwise the same with min(M, N) through (256, small) and (2048, middle), `large` from 2048 on, and at least
    `gemm_long_k` where K > 4096, max(M, N) >= 1536 and min(M, N) >= 64. Steps stay where the source has steps.
    Thresholds compare the size itself: log2 of a power of two may come out below the integer.

    Source: NVIDIA, Matrix Multiplication Background User's Guide (A100 figures), linearised by the 2025 decode study.
    """
    del groups  # the guide's shapes are those of one product
    small_mn = jnp.minimum(m, n)
    by_k = _line(k, 6.0, curve.gemm_small_k, 9.0, curve.gemm_middle_k)
    by_k = jnp.where(k >= 1024, curve.gemm_large_k, jnp.where(k >= 64, by_k, curve.gemm_small_k))
    by_mn = _line(small_mn, 8.0, curve.gemm_small_mn, 11.0, curve.gemm_middle_mn)
    by_mn = jnp.where(small_mn >= 2048, curve.gemm_large_mn, jnp.where(small_mn >= 256, by_mn, curve.gemm_small_mn))
    long_k = (k > 4096) & (jnp.maximum(m, n) >= 1536) & (small_mn >= 64)
    by_mn = jnp.where(long_k, jnp.maximum(by_mn, curve.gemm_long_k), by_mn)
    return Efficiency(jnp.where(k < small_mn, by_k, by_mn))


def _line(x, log2_x0, y0, log2_x1, y1):
    return y0 + (y1 - y0) / (log2_x1 - log2_x0) * (jnp.log2(x) - log2_x0)


def a100_expert_gemm(curve, side, m, k, n):
    """The experts on the curve of every other GEMM."""
    del side
    return a100_gemm(curve, m, k, n)


def deepgemm_expert_gemm(curve, side, m, k, n):
    """Step table over the rows m of one expert GEMM.  Source: DeepGEMM's published performance table (H800)."""
    del k, n
    value = getattr(curve, f"expert_{side}_64")
    for rows in (128, 256, 512, 1024):
        value = jnp.where(m >= rows, getattr(curve, f"expert_{side}_{rows}"), value)
    return Efficiency(value)


def kernel_gemm(curve, m, k, n, groups=1.0):
    """e_c = `gemm_compute` / (1 + `gemm_tail` / (g M N)): few result elements leave cores idle."""
    del k
    return Efficiency(
        curve.gemm_compute / (1.0 + curve.gemm_tail / (groups * m * n)), curve.gemm_memory, curve.gemm_start_s
    )


def kernel_expert_gemm(curve, side, m, k, n):
    """e_c = `expert_compute` M / (M + `expert_rows`), M rows of one expert."""
    del side, k, n
    return Efficiency(curve.expert_compute * m / (m + curve.expert_rows), curve.expert_memory, curve.expert_start_s)


def kernel_attention(curve, size):
    """e_c = `attention_compute` x / (x + `attention_rows`), x = context x sequences in decode, context in prefill."""
    share = curve.attention_compute * size / (size + curve.attention_rows)
    return Efficiency(share, curve.attention_memory, curve.attention_start_s)


def kernel_pointwise(curve, layers=None):
    """Norms, residuals, activations: `pointwise_kernels` launches in a layer, one launch outside the layers."""
    launches = 1.0 if layers is None else layers * curve.pointwise_kernels
    return Efficiency(1.0, curve.pointwise_memory, launches * curve.pointwise_start_s)


def perfect(curve, *shape):
    """The peak, at once: for what a source has no figures of."""
    del curve, shape
    return Efficiency(1.0)


class Form(NamedTuple):
    """A kind of curve: the record of its knots and the functions that read it."""

    record: type
    gemm: Callable
    expert_gemm: Callable
    attention: Callable = perfect
    pointwise: Callable = perfect


FORMS = {
    "a100-guide": Form(A100Guide, a100_gemm, a100_expert_gemm),
    "deepgemm-table": Form(DeepGemmTable, a100_gemm, deepgemm_expert_gemm),
    "kernel": Form(Kernel, kernel_gemm, kernel_expert_gemm, kernel_attention, kernel_pointwise),
}
