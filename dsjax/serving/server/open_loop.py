"""Means of an open loop: requests at random times, at a rate (dsjax/MODEL.md, 11.4 and 11.5)."""

from typing import NamedTuple

import numpy as np

from ... import arrays
from . import prompts, queues
from .lengths import column
from .roots import root

# Waits for room over those of lives of exponential length, which vary more than outputs do: seen in simulations.
SHORTER = 0.45
LENGTHENED = 6  # times that the number of prompts on their way is taken from the time that they then take


class Server(NamedTuple):
    """What a server is beside its steps."""

    budget: float  # b: tokens of a step of prompts, or of any step where prompts are cut into chunks, of one group
    cap: float  # sequences that it holds at most, all groups together
    chunked: bool = False
    groups: float = 1.0  # d: data-parallel groups that step together, each with sequences and a budget of its own


class Means(NamedTuple):
    """Means of a server, and what its quantiles are made of."""

    ttft: np.ndarray
    tpot: np.ndarray  # per token
    batch: np.ndarray  # sequences in flight after their first token: lam (latency - TTFT)
    decoding: queues.Decoding
    prompts: prompts.Prompts
    decode_s: np.ndarray  # t_d of a step as a request sees it
    decode_alone: np.ndarray  # of the mean number of sequences
    clump_s: np.ndarray  # of `decode_s`, what comes of those who came together
    slope: np.ndarray  # its growth with a sequence more
    wait: np.ndarray  # for the first step of prompts, without room that is lacking
    rest: np.ndarray  # R: of steps of prompts that a request waits for after its own
    mates: np.ndarray
    busy: np.ndarray  # rho_b
    room_wait: np.ndarray  # mean wait for room
    room_chance: np.ndarray


def slope(step, sequences):
    """Growth of the time of a step of decode with a sequence more [s]."""
    low = arrays.maximum(sequences, 1.0) - 0.5
    return step.decode(low + 1.0) - step.decode(low)


def _first(step, sizes, server, rate):
    """(B, `Prompts`, t_d) of prefill-first, B = lam q t_d(1 + B) / (1 - phi).

    Of a number m of prompts in a step y = lam t_d follows, and of it B. Where B would be more than `cap`, prompts wait
    for room until their steps are as full as they must be; where steps are full, m = M, B is what it must be.
    """
    q, cap, most = sizes.steps, server.cap, prompts.most_in_a_step(sizes, server.budget, server.groups) + 0.0 * rate

    def free(m):
        """(1 - phi, B) without those limits."""
        during = rate * prompts.taken(step, sizes, m)
        left = arrays.maximum(1.0 - during / m, prompts.LEAST)
        came = prompts.during_a_step((m - during) * arrays.exp(arrays.minimum(during, 50.0)))
        return left, arrays.minimum(q * came / left, cap)

    alone = 0.5 * rate * q * step.decode(arrays.ones_like(rate))  # with nobody else it would be twice as many
    _, full = free(most)
    full = arrays.clip(full, arrays.minimum(alone, 0.5 * cap), cap)

    def at(s):
        m = prompts.batch(s, most)
        left, field = free(m)
        beyond = full * arrays.exp(arrays.log(cap / full) * (s - 1.0))
        return m, left, arrays.where(s > 1.0, beyond, field)

    def lacking(s):
        _, left, field = at(s)
        return field * left / q - rate * step.decode(1.0 + field)

    m, _, field = at(root(lacking, prompts.NOBODY, 2.0))
    decode_s = step.decode(1.0 + field)
    return field, prompts.prefill_first(step, sizes, rate, decode_s, m, most), decode_s


def _chunked(step, sizes, server, rate):
    """The same of chunked prompts."""
    q, cap = sizes.steps, server.cap

    def at(field):
        decode_s = step.decode(1.0 + field)
        found = prompts.chunks(step, sizes, field, server.budget, server.groups)
        return prompts.beside(step, sizes, found, field, decode_s, rate, field / q), decode_s

    def lacking(field):
        return field - rate * q * at(field)[0].whole

    shortest = step.decode(arrays.ones_like(rate))
    filled = prompts.chunks(step, sizes, cap, server.budget, server.groups).full_s
    longest = arrays.maximum(step.decode(1.0 + cap), filled)
    low, high = (rate * q * x for x in (0.5 * shortest, 2.0 * longest))  # twice as many as decode alone, half as many
    high = arrays.minimum(high, cap)
    field = root(lacking, arrays.minimum(low, 0.5 * high), high)
    return field, *at(field)


def means(step, sizes, server, rate):
    """`Means` at a `rate` [1/s] of a `Server` whose steps take the times of `step`."""
    q, cap = sizes.steps, server.cap
    field, p, decode_s = (_chunked if server.chunked else _first)(step, sizes, server, rate)
    growth = slope(step, field)
    wide = rate * q / (1.0 - p.share)
    beyond = wide * step.decode(cap) / cap
    if server.chunked:
        busy, eta = arrays.minimum(rate * p.service, queues.FULLEST), 1.0 - decode_s / p.first
    else:
        busy, eta = p.share, 1.0
        beyond = arrays.minimum(beyond, _replaced(step, sizes, rate, cap, p.most))
    mates = eta * ((busy + busy * busy * p.variation) / (1.0 - busy) ** 2 + busy / (1.0 - busy))

    def work(k):
        return column(wide) * step.decode(k)

    at = work, field, wide * growth, cap, beyond
    found = queues.birth_and_death(*at, mates * sizes.shorter)
    apart = queues.birth_and_death(*at, 0.0 * mates)
    waiting, came = (_chunked_wait if server.chunked else _first_wait)(p, rate, decode_s, 1.0 - found.nobody)
    if server.chunked:
        cut = (server.groups > 1.0) & (p.batched == 0.0)
        waiting = arrays.where(cut, _wait_for_group(step, sizes, server.groups, p, rate, field, found.nobody), waiting)
    room_wait = SHORTER * (1.0 + sizes.spread / 3.0) * found.queue / rate
    ttft = (1.0 - found.waits) * waiting + room_wait + p.own_mean
    done = _done(p, rate, waiting, came, ttft) if server.chunked else _behind(came, p.most)
    after = arrays.maximum(rate * ttft - done, 0.0) * p.service / (1.0 - busy)
    if server.chunked:
        after = after * arrays.maximum(1.0 - p.whole / p.first, 0.0)
    step_s, single = (x.mean / wide for x in (found, apart))
    whole = step_s / (1.0 - p.share)
    tpot = (whole + after * sizes.per_step) / sizes.tokens_per_step
    return Means(
        ttft=ttft,
        tpot=tpot,
        batch=rate * (q * whole + after),
        decoding=found,
        prompts=p,
        decode_s=step_s,
        decode_alone=decode_s,
        clump_s=arrays.maximum(step_s - single, 0.0),
        slope=growth,
        wait=waiting,
        rest=after,
        mates=mates,
        busy=busy,
        room_wait=room_wait,
        room_chance=found.waits,
    )


def _replaced(step, sizes, rate, cap, most):
    """lam (q t_d(cap) / cap + T(m) / m): load of a full server, where m prompts take the room that a step has left."""
    q = sizes.steps
    m = arrays.clip(cap / q, 1.0, most)
    return rate * (q * step.decode(cap) / cap + prompts.taken(step, sizes, m) / m)


def _first_wait(p, rate, decode_s, somebody):
    """(wait before a step of prompts, prompts that come while it waits) of prefill-first."""
    squared = p.each**2 + p.variation * p.own_mean**2
    each = arrays.minimum(rate * p.each, queues.FULLEST)
    period = decode_s + p.between
    second = p.first**2 * p.per_step + (2.0 * p.first * each + rate * squared) * period + (each * decode_s) ** 2
    second = second / (1.0 - each * each)
    residual = (decode_s**2 * somebody + second) / (2.0 * period)
    came = rate * residual
    single = p.each + p.first
    full = rate * (p.each + p.first / p.most)  # load of steps as full as they can be
    alone = 0.5 * decode_s * somebody + queues.wait(1.0, full, single, p.variation)
    together = p.batched * residual * (1.0 + each) + (1.0 - p.batched) * alone
    return together + p.each * _behind(came, p.most), came


def _behind(x, most):
    """Of x prompts that come later those who ride in its step."""
    return x * (most - 1.0) / arrays.maximum(most - 1.0 + 2.0 * x, 1e-12)


def _done(p, rate, waiting, came, ttft):
    """Of the prompts that came while a request of chunked prompts had no token, what its decoding does not wait for.

    Its last chunk has some of them beside it, half of the step where there are enough. And its own end leaves as many
    unfinished as ends do: in the mean over time lam (W + T1 (1 + v_s^2) / 2), but ends come in steps, T / t_C times as
    often in one with prompts as this is long.
    """
    held = p.first / p.service
    beside = arrays.where(p.batched > 0.0, came / (1.0 + 2.0 * came / held), -0.5 * held * arrays.expm1(-rate * ttft))
    return beside + rate * (waiting + 0.5 * p.own_mean * (1.0 + p.variation)) * p.whole / p.first


def _chunked_wait(p, rate, decode_s, somebody):
    """The same of chunked prompts."""
    alone = p.own_mean - p.per_step * decode_s
    residual = decode_s * (1.0 + p.share) * somebody + rate * (alone**2 + p.variation * p.own_mean**2)
    residual = residual / (2.0 * (1.0 - p.share**2))
    came = rate * residual
    load = arrays.minimum(rate * p.service, queues.FULLEST)
    longer = arrays.where(p.batched > 0.0, 1.0, (p.own_mean / p.service) ** (2.0 * (1.0 - load)))
    queued = queues.wait(p.most, load, p.service * p.most, p.variation) * longer
    together = p.batched * residual * (1.0 + p.share) + (1.0 - p.batched) * 0.5 * decode_s * somebody
    return together + p.each * _behind(came, p.most) + queued, came


def _wait_for_group(step, sizes, groups, p, rate, sequences, nobody):
    """W of prompts of several chunks, of which every group has one at a time: K = lam S of them are on their way.

    S: N steps beside the others, T(k) one of k groups with a chunk of mean length; W is what S is longer than T1, the
    wait for the end of a step, and for a group, of d servers: where all have prompts others fill what one leaves.
    """
    tokens, pairs = sizes.mean_new / p.per_step, sizes.mean_pairs / p.per_step
    others = (groups - 1.0) / groups

    def longer(k):
        return p.per_step * step.mixed(sequences, k * tokens, k * pairs)

    alone = longer(1.0 + 0.0 * rate)
    slowest = p.own_mean + arrays.maximum(longer(groups + 0.0 * rate) - alone, 0.0)
    lasts = p.own_mean
    for _ in range(LENGTHENED):
        met = 1.0 + arrays.minimum(rate * lasts, groups) * others
        lasts = arrays.minimum(p.own_mean + arrays.maximum(longer(met) - alone, 0.0), slowest)
    rounding = slowest / (groups * p.service)
    load = arrays.minimum(rate * lasts / (groups * rounding), queues.FULLEST)
    queued = queues.wait(groups, load, lasts / rounding, p.variation) * rounding ** (2.0 * (1.0 - load))
    stepping = 1.0 - nobody * arrays.exp(-rate * lasts)
    return 0.5 * p.whole * stepping + lasts - p.own_mean + queued
