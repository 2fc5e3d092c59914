"""Requests that keep limits on their times (dsjax/MODEL.md, 11.7)."""

from typing import NamedTuple

import numpy as np

from ... import arrays
from . import quantiles
from .lengths import WEIGHTS, column
from .mixtures import Mixture


class Limits(NamedTuple):
    """Longest times of a request [s]; None: none."""

    ttft: np.ndarray | None = None
    tpot: np.ndarray | None = None
    latency: np.ndarray | None = None


def share(seen, sizes, limits):
    """Share of the requests that keep all limits: sum_i w_i min(F_TPOT,i F_TTFT, F_latency,i), each of its limit.

    TTFT and TPOT of a request as if independent; a request of one token keeps any limit on TPOT.
    """
    tokens, first = quantiles.token_times(seen, sizes), quantiles.first_tokens(seen)
    kept = 1.0 + 0.0 * tokens.average
    if limits.tpot is not None:
        decodes = sizes.steps_each * column(sizes.tokens_per_step) > 0.5
        in_time = _below(tokens.mixture, tokens.weights, limits.tpot * sizes.tokens_per_step)
        kept = arrays.where(decodes, in_time, kept)
    if limits.ttft is not None:
        kept = kept * column(first.at()(limits.ttft)[0])
    if limits.latency is not None:
        whole = quantiles.wholes(seen, sizes, first, tokens)
        kept = arrays.minimum(kept, _below(whole, WEIGHTS, limits.latency))
    return arrays.clip((WEIGHTS * kept).sum(-1), 0.0, 1.0)


def _below(mixture, weights, x):
    """Chance at every node to be below x, of a `Mixture` of several parts for each node of these weights."""
    alone = Mixture(*(column(part) for part in mixture._replace(weight=1.0 + 0.0 * mixture.weight)))
    chances, nodes = mixture.weight * alone.at()(column(x))[0], weights.shape[-1]
    return sum(chances[..., i : i + nodes] for i in range(0, chances.shape[-1], nodes)) / weights
