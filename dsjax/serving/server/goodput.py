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
    """Share of the requests that keep all limits: sum_i w_i F_TPOT,i min(F_TTFT(its limit), F_TTFT,i(what is left)).

    TTFT and TPOT of a request as if independent. Of a limit on the latency the mean steps of decode of node i leave the
    first token so much time; F_TTFT,i is that of parts as much wider as these steps vary, and as the bin of node i is
    long. A request of one token keeps any limit on TPOT.
    """
    tokens, average, variance = quantiles.token_times(seen, sizes)
    first = quantiles.first_tokens(seen)
    kept = 1.0 + 0.0 * average
    if limits.tpot is not None:
        decodes = sizes.steps_each * column(sizes.tokens_per_step) > 0.5
        kept = arrays.where(decodes, _below(tokens, column(limits.tpot * sizes.tokens_per_step)), kept)
    soon = 1.0 + 0.0 * average if limits.ttft is None else column(first.at()(limits.ttft)[0]) + 0.0 * average
    if limits.latency is not None:
        steps = sizes.steps_each
        varies = (
            12.0 * steps * steps * variance + ((sizes.step_edges[..., 1:] - sizes.step_edges[..., :-1]) * average) ** 2
        )
        left = column(limits.latency) - steps * average
        rest = [_wider(first, varies[..., i]).at()(left[..., i])[0] for i in range(steps.shape[-1])]
        soon = arrays.minimum(soon, arrays.namespace(soon).stack(rest, -1))
    return arrays.clip((WEIGHTS * kept * soon).sum(-1), 0.0, 1.0)


def _wider(mixture, squared):
    """A `Mixture` of parts whose widths are longer, by a squared width, about the same middle."""
    width = arrays.sqrt(mixture.width**2 + column(squared))
    return mixture._replace(shift=mixture.shift + 0.5 * (mixture.width - width), width=width)


def _below(mixture, x):
    """Chance of each component of a `Mixture`, alone, to be below x."""
    return Mixture(*(column(part) for part in mixture._replace(weight=1.0 + 0.0 * mixture.weight))).at()(x)[0]
