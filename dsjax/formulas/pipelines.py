"""Pipelines: how compute and network of the layers overlap (dsjax/MODEL.md, section 6).

A pipeline overlaps by a function `overlap(parts, batch) -> (Time, Parts)`: `parts(micro_batch)` gives the times of one
micro batch [s]. The result is the `Time` of a step, and the `Parts` of all micro batches before overlap. `batch`: the
whole batch is 1.
"""

import dataclasses
import functools
import operator
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ..specs import trees
from ..specs.fields import record
from .roofline import Time, alongside

# Pipelines that leave out what a real schedule cannot hide: no fill and drain, every window used.
LOWER_BOUNDS = ("windows", "tbo")


@record
class LayerTimes:
    """Times of one MoE layer and one micro batch by part, in the order of execution.

    DeepSeek's decode schedule splits attention in two: `before` the core (projections) and the core with what
    follows.
    """

    before: Time  # attention up to its core
    after: Time  # the core, and what follows up to the FFN
    reduce: Time  # all-reduce after attention
    dispatch: Time
    shared: Time  # shared experts
    routed: Time  # routed experts without their down projection
    down: Time  # their down projection
    combine: Time
    closing: Time  # all-reduce after the FFN


@record
class Parts:
    """A step of one micro batch: `layers` MoE layers alike, and everything else."""

    layer: LayerTimes
    layers: float
    rest: Time
    blocks: dict  # {block: Time} of all of it, before overlap
    unhidden: float | None = None  # share of the shorter of two overlapped stretches that is not hidden; None: 0

    def twice(self):
        """The parts of two halves of a batch, this half counted twice."""
        double = functools.partial(trees.mapped, lambda seconds: 2.0 * seconds)
        both = {name: double(getattr(self, name)) for name in ("layer", "rest", "blocks")}
        return dataclasses.replace(self, **both)


def total(times):
    """Sum of several `Time`s, one after the other."""
    return functools.reduce(operator.add, times, Time())


def in_sequence(x):
    """One layer: before + after + reduce + max(dispatch, shared) + routed + down + combine + closing."""
    ffn = alongside(x.dispatch, x.shared) + x.routed + x.down + x.combine
    return x.before + x.after + x.reduce + ffn + x.closing


def naive(parts, batch):
    """One batch: T = rest + layers (before + after + reduce + max(dispatch, shared) + routed + down + combine +
    closing)."""
    x = parts(batch)
    return x.rest + x.layers * in_sequence(x.layer), x


def dual_micro_batch(parts, batch):
    """Two halves of the batch, one computing while the other communicates.

    T = 2 (rest + layers (max(dispatch, before + shared) + routed + down + max(combine, after + reduce) + closing)),
    each of half the batch, and `unhidden` of the shorter side of either max. Source: DeepSeek-V3 (arXiv:2412.19437),
    section 3.4.2, and DeepSeek's published decode profile.
    """
    x = parts(batch / 2.0).twice()
    y = x.layer
    layer = alongside(y.dispatch, y.before + y.shared, x.unhidden) + y.routed + y.down
    layer = layer + alongside(y.combine, y.after + y.reduce, x.unhidden) + y.closing
    return x.rest + x.layers * layer, x


def single_batch_overlap(parts, batch):
    """SBO: the whole batch; dispatch beside the shared expert, combine beside the routed experts' down-projection.

    T = rest + layers (before + after + reduce + max(dispatch, shared) + routed + max(data, down) + fixed + closing),
    and `unhidden` of the shorter side of the second max: what an expert has finished is sent while others compute. The
    first is that of `naive`.
    `fixed`, the absolute times of the combine, come after the last data and stay; `data` is the rest of it.
    Source: SGLang's single-batch overlap (2025).
    """
    x = parts(batch)
    y = x.layer
    fixed = Time(exposed_latency=y.combine.exposed_latency)
    data = dataclasses.replace(y.combine, exposed_latency=None)
    layer = y.before + y.after + y.reduce + alongside(y.dispatch, y.shared) + y.routed
    layer = layer + alongside(data, y.down, x.unhidden) + fixed + y.closing
    return x.rest + x.layers * layer, x


def windows(parts, batch):
    """Communication of the whole batch hides in windows of compute, each of which is spent once.

    T = rest + layers max(max(dispatch, attention + shared) + max(combine, routed), dispatch + combine + all-reduces):
    dispatch behind attention and the shared expert, combine behind the routed experts, the all-reduces behind what is
    left of the next layer. max(0, T_comm - T_window) of each collective, or the network's own time where that is
    longer. Source: formula chapter of the SG2260E deployment study (2025), which counts a window for each of them.
    """
    x = parts(batch)
    y = x.layer
    reduces = y.reduce + y.closing
    compute = alongside(y.dispatch, y.before + y.after + y.shared) + alongside(y.combine, y.routed + y.down)
    # Dispatch and combine are busy once, on the side of compute.
    network = dataclasses.replace(y.dispatch + y.combine + reduces, busy_network=reduces.busy_network)
    return x.rest + x.layers * alongside(compute, network), x


def two_batch_overlap(parts, batch):
    """TBO: two halves of the batch, all their dispatch and combine beside all their compute.

    T = max(2 (rest + layers (all but the all-to-all)), 2 layers (dispatch + combine)), each of
    half the batch. Source: the SG2260E deployment study (2025), which assumes that the all-to-all hides entirely.
    """
    x = parts(batch / 2.0).twice()
    y = x.layer
    layer = y.before + y.after + y.reduce + y.shared + y.routed + y.down + y.closing
    compute = x.rest + x.layers * layer
    return alongside(compute, x.layers * (y.dispatch + y.combine)), x


class Pipeline(NamedTuple):
    """A way to overlap, and the batches that suit it."""

    overlap: Callable  # (parts, batch) -> (Time, Parts)
    suits: Callable  # (whether the sequences of a group can be halved) -> bool


def whole(even):
    """Whether a batch suits a pipeline that does not split it: always."""
    return np.True_


def halves(even):
    """Whether a batch suits a pipeline that halves it: if it is even."""
    return even


PIPELINES = {
    "naive": Pipeline(naive, whole),
    "dual-mbatch": Pipeline(dual_micro_batch, halves),
    "windows": Pipeline(windows, whole),
    "tbo": Pipeline(two_batch_overlap, halves),
    "sbo": Pipeline(single_batch_overlap, whole),
}
