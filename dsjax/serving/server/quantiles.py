"""What requests see: quantiles of the first token, of the time of a token, of gaps and of the whole (11.7)."""

from typing import NamedTuple

import numpy as np

from ... import arrays
from . import first_token
from .first_token import joined, waiting
from .lengths import WEIGHTS, column, mean
from .mixtures import LEAST, Mixture, normal_at, normal_score, of_moments, uniform_share
from .roots import quantile

LEVELS = {"p50": 0.5, "p90": 0.9, "p99": 0.99}


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
    regular: np.ndarray  # whether interruptions come evenly: those of users do


def first_tokens(seen):
    """`Mixture` of the time to the first token."""
    found = first_token.distribution(seen.own, seen.edges, seen.parts, seen.ttft)
    return found._replace(shift=found.shift + column(seen.later))


class Tokens(NamedTuple):
    """The mean time of a request's steps: its distribution over requests, and its mean at the nodes."""

    mixture: Mixture
    weights: np.ndarray  # of the nodes; of those of one token, who have no time of a token, nothing
    average: np.ndarray


class Varying(NamedTuple):
    """Why requests of one length differ in the time of a step: variances, and the third moment of all."""

    number: np.ndarray  # how many others decode
    prompts: np.ndarray  # interruptions
    rest: np.ndarray  # of a rest of exponential length
    late: np.ndarray  # chance that anybody is behind: of a rest
    clumps: np.ndarray
    third: np.ndarray


def varying(seen, sizes):
    """`Varying` at the nodes.

    Of the number of others a request of x times the mean output sees the mean over its steps: where the number forgets
    exponentially that varies by l = 2 (x + e^-x - 1) / x^2 of what the number does at an instant. And who interrupts
    also decodes beside it, in the mean for l / 2 of the steps of a request.
    """
    left, busy = column(1.0 - seen.share), column(seen.busy)
    o = sizes.steps_each + 1.0  # steps that it is in, with that of its prompt
    service, open_, starts = column(seen.service), 1.0 - busy, column(seen.rate * seen.step_s)
    one = service * column(seen.share_of_step)
    squared = one * one * (1.0 + column(seen.variation))
    second = squared / open_**3
    third = service * second / open_ * (1.0 + 2.0 * busy)
    x = o / column(sizes.steps)
    life = 2.0 * (x + arrays.expm1(-x)) / (x * x)
    # A table of steps may fall a little where a kernel does: more sequences never take away from a variance.
    grows, m = arrays.maximum(column(seen.growth), 0.0) / left, column(seen.clump_s) / left
    number, beside = life * grows * grows * column(seen.variance), life * grows * starts / left
    after = column(seen.rest) / arrays.maximum(sizes.steps_each, 1.0)
    behind = column(seen.rest) * open_ / arrays.maximum(service, 1e-12)
    skew = starts * third / (o * o) + 1.5 * beside * (squared / o + one * grows)
    skew = skew + number**1.5 / arrays.sqrt(column(seen.batch) + 0.3) + 2.0 * after**3 + 6.0 * m**3
    late = -arrays.expm1(-arrays.maximum(behind, 1e-9))
    return Varying(number, starts * second / o + beside * one, after * after, late, 1.7 * m * m, skew)


def token_times(seen, sizes):
    """`Tokens`: a step of decode, and what interruptions, a rest, the number of others and clumps add to it.

    An output at a node has a mean, a variance and a third moment. Where a uniform and an exponential part have these
    and stay above half a step, they are it; else a step to which, by a chance, something is added, as in `waiting`: no
    rest for those who have nobody behind them.
    """
    step_s, steps, of = column(seen.step_s), sizes.steps_each, varying(seen, sizes)
    average = step_s / column(1.0 - seen.share) + column(seen.rest) / arrays.maximum(steps, 1.0)
    least = (1e-3 * average) ** 2
    width, exponential = of_moments(of.number + of.prompts + of.rest + of.clumps + least, of.third)
    shift = average - exponential - 0.5 * width
    plain = shift > 0.5 * step_s
    apart = step_s - column(seen.clump_s)  # beside nobody of the same clump
    even = arrays.minimum(12.0 * (of.number + least), apart * apart)  # squared width about it; more is of what is added
    added = of.prompts + of.rest * (2.0 / of.late - 1.0) + of.clumps + of.number - even / 12.0
    more = arrays.maximum(average - apart, 1e-3 * average)
    nobody = arrays.exp(-column(seen.rate * seen.step_s * (1.0 - seen.busy)) * steps)
    chance = 1.0 - arrays.where(column(seen.regular), 0.0, nobody * (1.0 - of.late))
    given = more / chance
    parts = waiting(more, chance, 0.0 * more, ((added + more * more) / chance - given * given) / (given * given))
    decodes = steps * column(sizes.tokens_per_step) > 0.5  # a request of one token has no time of a token
    weights = arrays.where(decodes, WEIGHTS, 0.0) + 1e-12
    weights = weights / weights.sum(-1)[..., None]
    several = []
    for i, (weight, constant, wide, mean_) in enumerate(parts):
        both = arrays.sqrt(wide * wide + even)
        start = arrays.maximum(apart + constant + 0.5 * (wide - both), 0.0)
        pairs = (float(i == 1), weight), (shift, start), (width, both), (exponential, mean_)
        weight, *part = (arrays.where(plain, x, y) for x, y in pairs)
        several.append((weights * weight, *part))
    return Tokens(Mixture(*(joined(x) for x in zip(*several, strict=True))), weights, average)


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


def wholes(seen, sizes, first, tokens):
    """`Mixture` of the time from the arrival to the last token: parts of a token times the steps, and the first token.

    Means, variances and third moments of these and of a bin of outputs add up; where a uniform and an exponential part
    that have them would begin before 0, those of this mean and variance that begin there.
    """
    mixture, several = tokens.mixture, tokens.mixture.weight.shape[-1] // len(WEIGHTS)
    bins = (sizes.step_edges[..., 1:] - sizes.step_edges[..., :-1]) * tokens.average
    of_all = sizes.steps_each, bins, WEIGHTS / tokens.weights
    steps, bins, again = (joined([x + 0.0 * tokens.average] * several) for x in of_all)
    parts, (_, spread, skew) = mixture.each(), (column(x) for x in first.moments())
    average = column(seen.ttft) + steps * parts[0]
    variance = spread + steps * steps * parts[1] + bins * bins / 12.0
    width, exponential = of_moments(variance, skew + steps**3 * parts[2])
    wide = uniform_share(average, arrays.clip(variance / (average * average), LEAST, 1.0 - 1e-4))
    before = average - exponential - 0.5 * width < 0.0
    width, exponential = arrays.where(before, wide, width), arrays.where(before, average - 0.5 * wide, exponential)
    return Mixture(mixture.weight * again, average - exponential - 0.5 * width, width, exponential)


def outputs(seen, sizes, names=None):
    """{variable: value}: means and quantiles of what requests see; those of `names` alone, None all."""
    first, tokens, q = first_tokens(seen), token_times(seen, sizes), {}

    def levels(time):
        return {f"{time}_{name}": p for name, p in LEVELS.items() if names is None or f"{time}_{name}" in names}

    q |= {name: first.quantile(p) for name, p in levels("ttft").items()}
    q |= {name: tokens.mixture.quantile(p) / sizes.tokens_per_step for name, p in levels("tpot").items()}
    if levels("itl"):
        at, low, high, guess = gaps(seen)
        q |= {name: quantile(at, p, low, high, guess(p)) for name, p in levels("itl").items()}
    if levels("latency"):
        whole = wholes(seen, sizes, first, tokens)
        q |= {name: whole.quantile(p) for name, p in levels("latency").items()}
    return q | {"latency_mean": seen.ttft + mean(sizes.steps_each * tokens.average)}
