"""Means of a closed loop: users who send the next request when the last token has come (dsjax/MODEL.md, 11.6)."""

from typing import NamedTuple

import numpy as np

from ... import arrays
from . import prompts, queues
from .lengths import mean
from .roots import root


class Means(NamedTuple):
    """Means of a closed loop, and what its quantiles are made of."""

    rate: np.ndarray  # X: requests per second
    ttft: np.ndarray
    tpot: np.ndarray  # per token
    batch: np.ndarray  # sequences that decode
    prompts: prompts.Prompts
    decode_s: np.ndarray  # a step of decode
    wait: np.ndarray  # for the first step of prompts
    waits: np.ndarray  # chance of it
    room_wait: np.ndarray  # of the users beyond the sequences that fit
    seen: np.ndarray  # rate of the prompts of others while a user is not in one

    @property
    def decode_alone(self):
        """Time of a step of decode, as open loops call it."""
        return self.decode_s


def means(step, sizes, server, users):
    """`Means` of `users` of a `Server`."""
    inside = arrays.minimum(users, server.cap)
    found = _chunked if server.chunked else _prefill_first
    rate, whole, waiting, chance, p, decode_s, batch = found(step, sizes, server, inside)
    room = (users - inside) / rate
    seen = others(rate, inside, p.own_mean)
    tpot = whole / sizes.tokens_per_step
    return Means(rate, p.own_mean + waiting + room, tpot, batch, p, decode_s, waiting, chance, room, seen)


def others(rate, inside, own_s):
    """Rate of the prompts of others while a user is not in one: theirs run then, and only then [1/s]."""
    # Where not even one sequence fits there are no others.
    return rate * arrays.maximum(inside - 1.0, 0.0) / inside / arrays.maximum(1.0 - rate * own_s / inside, 0.02) + 1e-12


def _prefill_first(step, sizes, server, inside):
    """All who are inside decode in every step of decode; who comes, comes at the end of one."""
    decode_s, q = step.decode(inside), sizes.steps
    most = prompts.most_in_a_step(sizes, server.budget, server.groups) + 0.0 * inside
    own_mean, full = mean(step.alone(sizes.new, sizes.pairs)), prompts.taken(step, sizes, most)
    largest = prompts.during_a_step(most, full / decode_s) / decode_s  # rate of full steps, and no more

    def at(s):
        m = prompts.batch(s, most)
        together = prompts.taken(step, sizes, m)
        seen = prompts.during_a_step(m, together / decode_s) / decode_s
        room = arrays.maximum((1.0 - prompts.LEAST) * most / full / largest, 1.0 + 1e-9)
        seen = arrays.where(s > 1.0, largest * arrays.exp(arrays.log(room) * (s - 1.0)), seen)
        _, each = prompts.secant(step, sizes, m)
        share = arrays.minimum(seen * together / m, 1.0 - prompts.LEAST)
        whole, ahead = decode_s / (1.0 - share), seen * decode_s / (1.0 - share)
        waiting = ahead * ((1.0 - 1.0 / most) * each + 0.5 / most * prompts.taken(step, sizes, 1.0))
        return m, seen, whole, ahead, waiting, inside / (q * whole + own_mean + waiting)

    def lacking(s):
        _, seen, *_, rate = at(s)
        return seen - others(rate, inside, own_mean)

    m, seen, whole, ahead, waiting, rate = at(root(lacking, prompts.NOBODY, 2.0))
    p = prompts.prefill_first(step, sizes, seen, decode_s, m, most)
    rate, waiting = _at_most(most / full, rate, waiting, inside, q * whole + own_mean)
    return rate, whole, waiting, -arrays.expm1(-ahead), p, decode_s, rate * q * whole


def _chunked(step, sizes, server, inside):
    """B = X q T of them decode beside prompts; all do in a step without."""
    q, decode_s = sizes.steps, step.decode(inside)

    def at(batch):
        found = prompts.chunks(
            step, sizes, batch * arrays.maximum(inside - 1.0, 0.0) / inside, server.budget, server.groups
        )

        def seen(whole):
            return others(batch / (q * whole), inside, found.own_mean)

        p = prompts.sharing(step, sizes, found, batch, decode_s, seen)
        ahead = seen(p.whole) * p.whole
        filled = server.groups * arrays.maximum(server.budget - batch / server.groups, 1.0)
        load = arrays.minimum(ahead * sizes.mean_new / filled, queues.FULLEST)
        crowd = p.service * p.most * (load - 0.5 * load * (1.0 - p.variation)) / (1.0 - load)
        return p, p.batched * ahead * p.each + (1.0 - p.batched) * crowd, load, ahead

    def lacking(batch):
        p, waiting, _, _ = at(batch)
        return batch + batch / (q * p.whole) * (p.own_mean + waiting) - inside

    batch = root(lacking, arrays.minimum(1e-6, 1e-9 * q) * inside, inside)
    p, waiting, load, ahead = at(batch)
    chance = arrays.where(p.batched > 0.0, -arrays.expm1(-ahead), load)
    rate, waiting = _at_most(1.0 / p.service, batch / (q * p.whole), waiting, inside, q * p.whole + p.own_mean)
    return rate, p.whole, waiting, chance, p, decode_s, rate * q * p.whole


def _at_most(limit, rate, waiting, inside, rest):
    """(X, W): no more than full steps of prompts take, and then the wait that is left of X (W + rest) = c'."""
    full = rate > limit
    return arrays.where(full, limit, rate), arrays.where(full, inside / limit - rest, waiting)
