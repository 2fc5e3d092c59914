"""What requests see: quantiles of the first token, of the time of a token, of gaps and of the whole (11.7)."""

from typing import NamedTuple

import numpy as np

from ... import arrays
from . import first_token
from .lengths import WEIGHTS, column, mean
from .mixtures import Mixture, normal_at, normal_score
from .roots import quantile

LEVELS = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
LIFE = 0.67  # variance of the mean of B over a life against its variance at an instant


class Seen(NamedTuple):
    """A server as its requests see it: what the distributions are made of."""

    ttft: np.ndarray  # mean
    own: np.ndarray  # a prompt alone, at the nodes and at the edges of their bins
    edges: np.ndarray
    parts: list  # of the wait: (weight, constant, width, mean of the exponential)
    later: np.ndarray  # added to every wait: a transfer, users who wait outside
    step_s: np.ndarray  # a step of decode
    share: np.ndarray  # of wall time that prompts take from it
    rest: np.ndarray  # R
    rate: np.ndarray  # of prompts that interrupt
    service: np.ndarray  # of one of them
    variation: np.ndarray
    share_of_step: np.ndarray  # eta: of such a step, what is not decode
    busy: np.ndarray
    growth: np.ndarray  # of a step with a sequence more
    variance: np.ndarray  # of their number
    batch: np.ndarray
    clump_s: np.ndarray  # of a step, what comes of those who came together
    mixed: np.ndarray  # chance that a gap between tokens holds prompts
    gap: np.ndarray  # such a gap, at the nodes of prompts
    gap_tail: np.ndarray  # and the mean of what more prompts add to it


def first_tokens(seen):
    """`Mixture` of the time to the first token."""
    found = first_token.distribution(seen.own, seen.edges, seen.parts, seen.ttft)
    return found._replace(shift=found.shift + column(seen.later))


def token_times(seen, sizes):
    """(`Mixture` of the mean time of a request's steps; its mean, its variance, at the nodes)."""
    left = column(1.0 - seen.share)
    o = sizes.steps_each + 1.0  # steps that it is in, with that of its prompt
    after = column(seen.rest) / arrays.maximum(sizes.steps_each, 1.0)
    average = column(seen.step_s) / left + after
    open_ = 1.0 - column(seen.busy)
    second = column(seen.service**2 * (1.0 + seen.variation) * seen.share_of_step**2) / open_**3
    third = column(seen.service) * second / open_ * (1.0 + 2.0 * column(seen.busy))
    starts = column(seen.rate * seen.step_s)
    f = LIFE * (column(seen.growth) / left) ** 2 * column(seen.variance)
    m = column(seen.clump_s) / left
    variance = starts * second / o + after**2 + f + 1.7 * m * m
    skew = starts * third / (o * o) + 2.0 * after**3 + f**1.5 / arrays.sqrt(column(seen.batch) + 0.3) + 6.0 * m**3
    deviation = arrays.sqrt(variance + (1e-3 * average) ** 2)
    exponential = arrays.minimum((0.5 * skew + 1e-36) ** (1.0 / 3.0), 0.95 * deviation)
    width = arrays.sqrt(12.0 * (deviation * deviation - exponential * exponential))
    shift = arrays.maximum(average - exponential - 0.5 * width, 0.0)
    decodes = sizes.steps_each * column(sizes.tokens_per_step) > 0.5  # a request of one token has no time of a token
    weight = arrays.where(decodes, WEIGHTS, 0.0) + 1e-12
    return Mixture(weight / weight.sum(-1)[..., None], shift, width, exponential), average, variance


def gaps(seen):
    """(function of x: (chance that a gap is below x, its derivative); bounds; function of p: a guess)."""
    deviation = arrays.sqrt(seen.variance) * seen.growth + 1e-3 * seen.step_s
    tail = Mixture(WEIGHTS + 0.0 * seen.gap, seen.gap, 1e-3 * seen.gap, column(seen.gap_tail) + 1e-4 * seen.gap)

    tail = tail.at()

    def at(x):
        parts = zip(normal_at(x, seen.step_s, deviation), tail(x), strict=True)
        return tuple((1.0 - seen.mixed) * short + seen.mixed * long for short, long in parts)

    longest = (seen.gap + 40.0 * column(seen.gap_tail)).max(-1)
    mixed = mean(seen.gap) + seen.gap_tail

    def guess(p):
        return arrays.where(seen.mixed > 1.0 - p, mixed, seen.step_s + normal_score(p) * deviation)

    return at, 0.3 * seen.step_s, longest + 2.0 * seen.step_s, guess


def wholes(seen, sizes, average, variance, spread):
    """The same of the time from the arrival to the last token: normal at every length of output."""
    steps = sizes.steps_each
    bins = (sizes.step_edges[..., 1:] - sizes.step_edges[..., :-1]) * average
    middle = column(seen.ttft) + steps * average
    deviation = arrays.sqrt(column(spread) + steps * steps * variance + bins * bins / 12.0) + 1e-4 * middle

    def at(x):
        return tuple((WEIGHTS * part).sum(-1) for part in normal_at(column(x), middle, deviation))

    top = (middle + 6.0 * deviation).max(-1)
    first = mean(middle)
    whole = arrays.sqrt(mean(middle * middle + deviation * deviation) - first * first)
    return at, 1e-3 * top, top, lambda p: first + normal_score(p) * whole


def outputs(seen, sizes):
    """{variable: value}: means and quantiles of what requests see."""
    first = first_tokens(seen)
    tokens, average, variance = token_times(seen, sizes)
    q = {"ttft_" + name: first.quantile(p) for name, p in LEVELS.items()}
    q |= {"tpot_" + name: tokens.quantile(p) / sizes.tokens_per_step for name, p in LEVELS.items()}
    spread = ((q["ttft_p90"] - q["ttft_p50"]) / 1.28) ** 2
    others = {"itl": gaps(seen), "latency": wholes(seen, sizes, average, variance, spread)}
    for variable, (at, low, high, guess) in others.items():
        q |= {f"{variable}_{name}": quantile(at, p, low, high, guess(p)) for name, p in LEVELS.items()}
    return q | {"latency_mean": seen.ttft + mean(sizes.steps_each * average)}
