"""How compute and network of the layers overlap.

A pipeline is a function `pipeline(parts, batch) -> (Time, Parts)`: `parts(micro_batch)` gives the times of one micro
batch. The result is the time of a step, and the operators' own times over all micro batches before overlap.
"""

import functools

import jax

from .roofline import Time, alongside
from .specs import record


@record
class LayerTimes:
    """{operator: Time} of one MoE layer and one micro batch, in the order of execution.

    DeepSeek's decode schedule splits attention in two: `before` the core (projections) and the core with what
    follows.
    """

    before: dict
    after: dict
    dispatch: Time
    shared: Time
    routed: Time
    combine: Time

    def operators(self):
        """All operators by name."""
        network = {"dispatch": self.dispatch, "combine": self.combine}
        return {**self.before, **self.after, "shared": self.shared, "moe": self.routed, **network}


@record
class Parts:
    """A step of one micro batch: `layers` MoE layers alike, and everything else."""

    layer: LayerTimes
    layers: float
    rest: Time

    def twice(self):
        """Both of two halves."""
        double = functools.partial(jax.tree.map, lambda seconds: 2.0 * seconds)
        return Parts(layer=double(self.layer), layers=self.layers, rest=double(self.rest))


def total(times):
    """{operator: Time} one after the other."""
    return functools.reduce(lambda a, b: a + b, times.values(), Time())


def in_sequence(x):
    """One layer: before + after + max(dispatch, shared) + routed + combine."""
    return total(x.before) + total(x.after) + alongside(x.dispatch, x.shared) + x.routed + x.combine


def naive(parts, batch):
    """One batch: T = rest + layers (before + after + max(dispatch, shared) + routed + combine)."""
    x = parts(batch)
    return x.rest + x.layers * in_sequence(x.layer), x


def dual_micro_batch(parts, batch):
    """Two halves of the batch, one computing while the other communicates.

    T = 2 (rest + layers (max(dispatch, before + shared) + routed + max(combine, after))), each of half the batch.
    Source: DeepSeek-V3 (arXiv:2412.19437), section 3.4.2, and DeepSeek's published decode profile.
    """
    x = parts(batch / 2.0).twice()
    y = x.layer
    hidden = alongside(y.dispatch, total(y.before) + y.shared) + y.routed + alongside(y.combine, total(y.after))
    return x.rest + x.layers * hidden, x


def two_batch_overlap(parts, batch):
    """TBO: two halves of the batch, all their dispatch and combine beside all their compute.

    T = max(2 (rest + layers (before + after + shared + routed)), 2 layers (dispatch + combine)), each of half the
    batch. Source: the SG2260E deployment study (2025), which assumes that the all-to-all hides entirely.
    """
    x = parts(batch / 2.0).twice()
    y = x.layer
    compute = x.rest + x.layers * (total(y.before) + total(y.after) + y.shared + y.routed)
    return alongside(compute, x.layers * (y.dispatch + y.combine)), x
