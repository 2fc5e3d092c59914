"""How compute and network of one MoE layer overlap.

A pipeline is a function `pipeline(layer, batch) -> (Time, busy)`: `layer(micro_batch)` gives the operators' times of
one micro batch as `LayerTimes`, the result is the layer's time over all micro batches and the operators' own times
(`LayerTimes`, summed over micro batches) before overlap.
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


def _sum(times):
    return functools.reduce(lambda a, b: a + b, times.values())


def naive(layer, batch):
    """One batch; only the dispatch runs beside the shared expert.

    T = before + after + max(dispatch, shared) + routed + combine
    """
    x = layer(batch)
    return _sum(x.before) + _sum(x.after) + alongside(x.dispatch, x.shared) + x.routed + x.combine, x


def dual_micro_batch(layer, batch):
    """Two half batches, one computing while the other communicates.

    T = 2 (max(dispatch, before + shared) + routed + max(combine, after)), each of half the batch.
    Source: DeepSeek-V3 (arXiv:2412.19437), section 3.4.2, and DeepSeek's published decode profile.
    """
    x = layer(batch / 2.0)
    half = alongside(x.dispatch, _sum(x.before) + x.shared) + x.routed + alongside(x.combine, _sum(x.after))
    return 2.0 * half, jax.tree.map(lambda leaf: 2.0 * leaf, x)
