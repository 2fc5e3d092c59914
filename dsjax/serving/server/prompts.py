"""What prompts take of a server: their own time, and the share of the wall time that decoding lacks (11.3)."""

from typing import NamedTuple

import numpy as np

from ... import arrays
from .lengths import column, mean
from .roots import root

NOBODY = 1e-13  # the least s of `batch`: a prompt has a step for itself
NEWTON = 5  # steps of Newton's method, from where they are enough
LEAST = 1e-3  # of wall time left for decoding: an overloaded server is masked, its numbers stay finite


class Prompts(NamedTuple):
    """Prompts beside B sequences that decode."""

    own: np.ndarray  # time of a prompt alone, at the nodes [s]
    edges: np.ndarray  # the same at the edges of the bins
    own_mean: np.ndarray  # T1
    variation: np.ndarray  # c_s^2: squared standard deviation over mean of it
    most: np.ndarray  # M: prompts in a step at most
    batched: np.ndarray  # k: 1 - 1 / M where prompts share steps, else 0
    first: (
        np.ndarray
    )  # alpha: of a step of prompts, what does not grow with their number; chunked: t_C, a full step [s]
    each: np.ndarray  # sigma: what one prompt more adds [s]
    service: np.ndarray  # s: time that a prompt takes of the server [s]
    share: np.ndarray  # phi: of the wall time
    per_step: np.ndarray  # P: steps of prompts per step of decode (prefill-first); N: steps of a prompt (chunked)
    between: np.ndarray  # S1: time of prompts per step of decode (prefill-first); 0
    whole: np.ndarray  # T: a step of decode with its share of prompts [s]


def most_in_a_step(sizes, budget, groups=1.0):
    """M = d (b / E[n] - (1 - v_n^2)+ / 2), at least 1: whole prompts, one after the other, of d groups in a step.

    v_n^2 the squared standard deviation over mean of the new tokens; of equal prompts half a one does not fit in the
    mean (the number of renewals in an interval).
    """
    spread = mean(sizes.new * sizes.new) / (sizes.mean_new * sizes.mean_new) - 1.0
    return arrays.maximum(groups * (budget / sizes.mean_new - 0.5 * arrays.maximum(1.0 - spread, 0.0)), 1.0)


def taken(step, sizes, m):
    """T(m): a step of m prompts of mean length [s]."""
    return step.prompts(m * sizes.mean_new, m * sizes.mean_pairs)


def during_a_step(m, beside=0.0):
    """y >= 0 with y `beside` + y / (1 - e^-y) = m: requests that come during a step of decode, in the mean.

    Newton's method from above: the left side is convex.
    """
    y = arrays.maximum(arrays.minimum(m / (1.0 + beside), (m - 1.0) / (0.5 + beside)), 1e-12)
    for _ in range(NEWTON):
        chance = -arrays.expm1(-y)
        due = y / chance
        slope = arrays.where(y < 1e-3, 0.5 + y / 6.0, (chance - y * (1.0 - chance)) / (chance * chance))
        y = arrays.maximum(y - (y * beside + due - m) / (beside + slope), 1e-12)
    return y


def batch(s, most):
    """m = M^s, at most M: what is looked for in place of m, 0 < s < 1, and beyond what else changes, 1 < s < 2."""
    return arrays.exp(arrays.log(most) * arrays.minimum(s, 1.0))


def prefill_first(step, sizes, rate, decode_s, m, most):
    """`Prompts` that run before anybody decodes, m in a step; `decode_s` t_d, `rate` lam [1/s].

    Steps of prompts follow each other as long as somebody came during the last one. Of m prompts of mean length, T(m):

        m - lam T(m) = D e^(-lam T(m)),  D = y / (1 - e^-y),  y = lam t_d,  P = y / (m - lam T(m)),  phi = lam T(m) / m

    In a closed loop nobody comes but at the end of a step: m - lam T(m) = D.
    """
    own, edges = step.alone(sizes.new, sizes.pairs), step.alone(sizes.new_edges, sizes.pair_edges)
    own_mean, together = mean(own), taken(step, sizes, m)
    first, each = secant(step, sizes, m)
    service = together / m
    share = arrays.minimum(rate * service, 1.0 - LEAST)
    per_step = rate * decode_s / arrays.maximum(m - rate * together, LEAST * m)
    variation = mean(own * own) / (own_mean * own_mean) - 1.0
    return Prompts(
        own=own,
        edges=edges,
        own_mean=own_mean,
        variation=arrays.maximum(variation, 0.0),
        most=most,
        batched=1.0 - 1.0 / most,
        first=first,
        each=each,
        service=service,
        share=share,
        per_step=per_step,
        between=per_step * together,
        whole=decode_s / (1.0 - share),
    )


def secant(step, sizes, m):
    """(alpha, sigma): a step of m prompts of mean length takes alpha + sigma m, from 1 to max(m + 1/2, 3/2)."""
    more = arrays.maximum(m + 0.5, 1.5)
    one = step.prompts(sizes.mean_new, sizes.mean_pairs)
    each = (step.prompts(more * sizes.mean_new, more * sizes.mean_pairs) - one) / (more - 1.0)
    return one - each, each


class Chunks(NamedTuple):
    """Prompts in chunks beside B = `sequences` that decode, whatever their rate."""

    own: np.ndarray
    edges: np.ndarray
    own_mean: np.ndarray
    variation: np.ndarray
    number: np.ndarray  # E[N]: steps that a prompt takes
    fits: np.ndarray  # whether a prompt of mean length fits into a step of its group
    most: np.ndarray
    full_s: np.ndarray  # t_C: a step filled with prompts [s]
    service: np.ndarray
    groups: np.ndarray  # d


def chunks(step, sizes, sequences, budget, groups=1.0):
    """`Chunks` of at most C = b - B / d tokens of a step of a group.

    M = max(1, d C / E[n]); s = t_C / M where E[n] < C, else t_C E[n] / (d C).
    """
    room = arrays.maximum(budget - sequences / groups, 1.0)
    own, full = alone(step, sequences, room, sizes.new, sizes.pairs)
    edges, _ = alone(step, sequences, room, sizes.new_edges, sizes.pair_edges)
    own_mean = mean(own)
    variation = arrays.maximum(mean(own * own) / (own_mean * own_mean) - 1.0, 0.0)
    fits, filled = sizes.mean_new < room, groups * room
    most = arrays.maximum(filled / sizes.mean_new, 1.0)
    full_s = step.mixed(sequences, filled, sizes.mean_pairs / sizes.mean_new * filled)
    service = arrays.where(fits, full_s / most, full_s * sizes.mean_new / filled)
    return Chunks(
        own, edges, own_mean, variation, mean(full) + 1.0, fits, most, full_s, service, groups + 0.0 * own_mean
    )


def alone(step, sequences, room, new, pairs):
    """(time of prompts of lengths along the last axis in chunks of `room` tokens [s], chunks before the last one)."""
    c, b = column(room), column(sequences)
    full = arrays.maximum(-arrays.floor(-new / c) - 1.0, 0.0)
    rest, density = new - full * c, pairs / new
    return full * step.mixed(b, c, density * c) + step.mixed(b, rest, density * rest), full


def added(step, sizes, found, sequences, decode_s, rate, came):
    """(m, G): prompts in a step that has any, where `came` lam T come in a step, and the time that each adds [s]."""
    came = arrays.maximum(came, 1e-12)
    m = arrays.clip(-came / arrays.expm1(-came), 1.0, found.most)
    together = (step.mixed(sequences, m * sizes.mean_new, m * sizes.mean_pairs) - decode_s) / m
    alone, filled = _alone_and_filled(found, decode_s)
    load = arrays.clip(rate * found.service, 0.0, 1.0)
    one = (1.0 - load) * alone + load * filled
    each = arrays.where(found.groups > 1.0, _by_groups(found, rate, decode_s, alone, filled), one)
    return m, arrays.where(found.fits, together, each)


def _alone_and_filled(found, decode_s):
    """(a, f): what a prompt alone adds, whose last step is partly empty, and one whose last step others fill [s]."""
    return found.own_mean - found.number * decode_s, found.service * (1.0 - decode_s / found.full_s)


def _by_groups(found, rate, decode_s, alone, filled):
    """G of prompts longer than a chunk: k of them are on their way at a time, in as many of the d groups, 1 <= k <= d.

    e(k) = a + (d f - a) (k - 1) / (d - 1) seconds more than decode for k together, a of one alone, f of each where all
    groups have one; k = lam (N t_d + e(k)) by Little's law, and G = e(k) / k.
    """
    d, rise = found.groups, _rise(found, alone, filled)
    left = arrays.maximum(1.0 - rate * rise, 1e-9)
    k = arrays.clip(rate * (found.number * decode_s + alone - rise) / left, 1.0, arrays.maximum(d, 1.0))
    return (alone + rise * (k - 1.0)) / k


def _rise(found, alone, filled):
    return arrays.maximum((found.groups * filled - alone) / arrays.maximum(found.groups - 1.0, 1e-9), 0.0)


def rate_of(step, sizes, found, sequences, decode_s, came):
    """lam at which `came` = lam T prompts come in a step beside B = `sequences` that decode [1/s]: came / T.

    Of T = t_d + came G as in `sharing`. Of prompts that do not fit lam is in G too: one group, lam (t_d + came a) +
    lam^2 s came (f - a) = came; several, k = came N.
    """
    _, together = added(step, sizes, found, sequences, decode_s, 0.0 * came, came)
    alone, filled = _alone_and_filled(found, decode_s)
    k = arrays.clip(came * found.number, 1.0, arrays.maximum(found.groups, 1.0))
    several = decode_s + came * (alone + _rise(found, alone, filled) * (k - 1.0)) / k
    linear = decode_s + came * alone
    squared = linear * linear + 4.0 * found.service * came * came * (filled - alone)
    one = 0.5 * (linear + arrays.sqrt(arrays.maximum(squared, 1e-30)))
    whole = arrays.where(found.groups > 1.0, several, one)
    whole = arrays.where(found.fits, decode_s + came * together, whole)
    return came / arrays.clip(whole, decode_s, arrays.maximum(found.full_s, decode_s))


def sharing(step, sizes, found, sequences, decode_s, rate):
    """`Prompts` of `Chunks` where they come at a `rate`, a function of the time T of a step: T = t_d + lam T G."""
    longest = arrays.maximum(found.full_s, decode_s) + 0.0 * rate(found.full_s)

    def lacking(whole):
        each = rate(whole)
        came = each * whole
        return whole - decode_s - came * added(step, sizes, found, sequences, decode_s, each, came)[1]

    whole = root(lacking, decode_s + 0.0 * longest, longest)
    each = rate(whole)
    m, adds = added(step, sizes, found, sequences, decode_s, each, each * whole)
    return of_chunks(step, sizes, found, sequences, decode_s, whole, m, adds)


def beside(step, sizes, found, sequences, decode_s, rate, came):
    """`Prompts` of `Chunks` where `came` lam T come in a step, at a `rate` lam: T = t_d + came G, at most t_C."""
    m, adds = added(step, sizes, found, sequences, decode_s, rate, came)
    whole = arrays.clip(decode_s + came * adds, decode_s, arrays.maximum(found.full_s, decode_s))
    return of_chunks(step, sizes, found, sequences, decode_s, whole, m, adds)


def of_chunks(step, sizes, found, sequences, decode_s, whole, m, adds):
    """`Prompts` of `Chunks` once the time T of a step is known."""
    more, fewer = m + 0.5, arrays.maximum(m - 0.5, 0.5)
    upper, lower = (step.mixed(sequences, x * sizes.mean_new, x * sizes.mean_pairs) for x in (more, fewer))
    marginal = arrays.where(found.fits, (upper - lower) / (more - fewer), adds)
    batched = arrays.where(found.fits, 1.0 - 1.0 / found.most, 0.0)
    return Prompts(
        own=found.own,
        edges=found.edges,
        own_mean=found.own_mean,
        variation=found.variation,
        most=found.most,
        batched=batched,
        first=found.full_s,
        each=marginal,
        service=found.service,
        share=1.0 - decode_s / whole,
        per_step=found.number,
        between=0.0 * whole,
        whole=whole,
    )
