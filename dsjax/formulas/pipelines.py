"""How compute and network of the layers overlap.

A pipeline is a function `pipeline(parts, batch) -> (Time, Parts)`: `parts(micro_batch)` gives the times of one micro
batch. The result is the time of a step, and the operators' own times over all micro batches before overlap.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp

from ..specs.fields import record
from .roofline import Time, alongside

# Pipelines that leave out what a real schedule cannot hide: no fill and drain, every window used.
LOWER_BOUNDS = ("windows", "tbo")


@record
class LayerTimes:
    """{operator: Time} of one MoE layer and one micro batch, in the order of execution.

    DeepSeek's decode schedule splits attention in two: `before` the core (projections) and the core with what
    follows.
    """

    before: dict
    after: dict
    dispatch: Time
    shared: dict
    routed: dict
    combine: Time
    closing: dict  # after the FFN

    def operators(self):
        """All operators by name."""
        network = {"dispatch": self.dispatch, "combine": self.combine}
        return {**self.before, **self.after, **self.shared, **self.routed, **network, **self.closing}


@record
class Parts:
    """A step of one micro batch: `layers` MoE layers alike, and everything else."""

    layer: LayerTimes
    layers: float
    rest: dict  # {block: Time}
    unhidden: float | None = None  # share of the shorter of two overlapped stretches that is not hidden; None: 0

    def twice(self):
        """Both of two halves."""
        double = functools.partial(jax.tree.map, lambda seconds: 2.0 * seconds)
        return dataclasses.replace(self, layer=double(self.layer), rest=double(self.rest))


def total(times):
    """{operator: Time} one after the other."""
    return functools.reduce(lambda a, b: a + b, times.values(), Time())


def in_sequence(x):
    """One layer: before + after + max(dispatch, shared) + routed + combine + closing."""
    return (
        total(x.before)
        + total(x.after)
        + alongside(x.dispatch, total(x.shared))
        + total(x.routed)
        + x.combine
        + total(x.closing)
    )


def naive(parts, batch):
    """One batch: T = rest + layers (before + after + max(dispatch, shared) + routed + combine + closing)."""
    x = parts(batch)
    return total(x.rest) + x.layers * in_sequence(x.layer), x


def dual_micro_batch(parts, batch):
    """Two halves of the batch, one computing while the other communicates.

    T = 2 (rest + layers (max(dispatch, before + shared) + routed + max(combine, after) + closing)), each of half the
    batch, and `unhidden` of the shorter side of either max. Source: DeepSeek-V3 (arXiv:2412.19437), section 3.4.2, and
    DeepSeek's published decode profile.
    """
    x = parts(batch / 2.0).twice()
    y = x.layer
    hidden = (
        alongside(y.dispatch, total(y.before) + total(y.shared), x.unhidden)
        + total(y.routed)
        + alongside(y.combine, total(y.after), x.unhidden)
    )
    hidden += total(y.closing)
    return total(x.rest) + x.layers * hidden, x


def single_batch_overlap(parts, batch):
    """SBO: the whole batch; dispatch beside the shared expert, combine beside the routed experts' down-projection.

    T = rest + layers (before + after + max(dispatch, shared) + routed without down + max(data, down) + fixed + closing),
    and `unhidden` of the shorter side of either max: what an expert has finished is sent while others compute. `fixed`,
    the absolute times of the combine, come after the last data and stay; `data` is the rest of it.
    Source: SGLang's single-batch overlap (2025).
    """
    x = parts(batch)
    y = x.layer
    down, fixed = y.routed["routed_down"], Time(exposed_latency=y.combine.exposed_latency)
    data = dataclasses.replace(y.combine, exposed_latency=None)
    layer = (
        total(y.before)
        + total(y.after)
        + alongside(y.dispatch, total(y.shared), x.unhidden)
        + total({name: t for name, t in y.routed.items() if name != "routed_down"})
        + alongside(data, down, x.unhidden)
        + fixed
        + total(y.closing)
    )
    return total(x.rest) + x.layers * layer, x


def windows(parts, batch):
    """Communication hides in windows of compute, none of them spent twice; the whole batch.

    T = rest + layers max(max(dispatch, attention + shared) + max(combine, routed), dispatch + combine + all-reduces):
    dispatch behind attention and the shared expert, combine behind the routed experts, the all-reduces behind what is
    left of the next layer. max(0, T_comm - T_window) of each collective, or the network's own time where that is
    longer. Source: formula chapter of the SG2260E deployment study (2025), which counts a window for each of them.
    """
    x = parts(batch)
    y = x.layer
    reduces = y.after["all_reduce"] + total(y.closing)
    attention = total(y.before) + total({name: t for name, t in y.after.items() if name != "all_reduce"})
    compute = alongside(y.dispatch, attention + total(y.shared)) + alongside(y.combine, total(y.routed))
    # Dispatch and combine are busy once, on the side of compute.
    network = dataclasses.replace(y.dispatch + y.combine + reduces, busy_network=reduces.busy_network)
    return total(x.rest) + x.layers * alongside(compute, network), x


def two_batch_overlap(parts, batch):
    """TBO: two halves of the batch, all their dispatch and combine beside all their compute.

    T = max(2 (rest + layers (before + after + shared + routed + closing)), 2 layers (dispatch + combine)), each of
    half the batch. Source: the SG2260E deployment study (2025), which assumes that the all-to-all hides entirely.
    """
    x = parts(batch / 2.0).twice()
    y = x.layer
    compute = total(x.rest) + x.layers * (
        total(y.before) + total(y.after) + total(y.shared) + total(y.routed) + total(y.closing)
    )
    return alongside(compute, x.layers * (y.dispatch + y.combine)), x


def whole(even):
    """Whether a batch suits a pipeline that does not split it: always."""
    return jnp.ones_like(even)


def halves(even):
    """Whether a batch suits a pipeline that halves it: if it is even."""
    return even
