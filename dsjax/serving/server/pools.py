"""Means of two pools: instances that compute prompts, and instances that decode (dsjax/MODEL.md, 11.8)."""

from typing import NamedTuple

import numpy as np

from ... import arrays
from . import prompts, queues
from .lengths import column, mean
from .open_loop import slope
from .roots import root


class Pools(NamedTuple):
    """Two pools and what lies between them."""

    budget: float  # b: tokens of a step of prompts of one group
    cap: float  # sequences that an instance that decodes holds at most
    prefill_instances: float  # n_p
    decode_instances: float  # n_d
    transfer_s: float  # to send the cache of a prompt of mean length, where nobody else does [s]
    prefill_groups: float = 1.0  # d: data-parallel groups of an instance that computes prompts, a budget each
    link_s: float = 0.0  # of it, that a link is busy: others wait [s]
    links: float = 1.0  # groups that send, or that receive, whichever are fewer


class Prefill(NamedTuple):
    """The queue of prompts."""

    own: np.ndarray  # time of a prompt alone, at the nodes [s]
    edges: np.ndarray  # the same at the edges of the bins
    own_mean: np.ndarray  # T1
    most: np.ndarray  # M: prompts in a step at most
    together: np.ndarray  # m: prompts in a step
    load: np.ndarray  # rho: of an instance
    wait: np.ndarray
    chance: np.ndarray  # of a wait for an instance


class Means(NamedTuple):
    """Means of two pools, and what their quantiles are made of."""

    rate: np.ndarray
    ttft: np.ndarray
    tpot: np.ndarray  # per token
    batch: np.ndarray  # sequences of all instances that decode
    decoding: queues.Decoding
    prefill: Prefill
    transfer_s: np.ndarray  # to send the cache of a prompt, and before it the wait for a link
    step_s: np.ndarray  # a step of decode
    slope: np.ndarray  # its growth with a sequence more on every instance
    room_wait: np.ndarray  # mean wait for room to decode
    room_chance: np.ndarray


def prefill(step, sizes, pools, rate):
    """`Prefill` at a rate: n_p servers that take up to M prompts at once.

    m (1 - w) = 1 - w / rho (1 - e^-x), rho = lam T(m) / (m n_p), x = lam T(m) / n_p, w = rho^(sqrt(2 (n_p + 1)) - 1):
    of the steps of m prompts some follow another at once, since somebody came during it; the others begin with one
    that finds an idle instance.
    """
    n = pools.prefill_instances
    own, edges = step.alone(sizes.new, sizes.pairs), step.alone(sizes.new_edges, sizes.pair_edges)
    own_mean = mean(own)
    squared = mean(own * own)
    most = prompts.most_in_a_step(sizes, pools.budget, pools.prefill_groups)
    power = arrays.sqrt(2.0 * (n + 1.0)) - 1.0

    def taken(m):
        return step.prompts(m * sizes.mean_new, m * sizes.mean_pairs)

    def at(m, most):
        load = arrays.clip(rate * taken(m) / (m * n), 1e-12, most)
        return load, load**power

    def lacking(m):
        # Steps of so few prompts that they do not keep up have a load above 1, and more prompts are looked for.
        load, chance = at(m, 2.0 - queues.FULLEST)
        return m * (1.0 - chance) - 1.0 - chance / load * arrays.expm1(-rate * taken(m) / n)

    m = root(lacking, 1.0 + 0.0 * own_mean * rate, most + 0.0 * own_mean * rate)
    load, chance = at(m, queues.FULLEST)
    _, each = prompts.secant(step, sizes, m)
    first = taken(m) - each * m
    again = arrays.minimum(
        rate * each / n, queues.FULLEST
    )  # share of a step that is for those who came in the last one
    second = (first * first + m * (2.0 * first * each + each * each + squared - own_mean * own_mean)) / (
        1.0 - again * again
    )
    residual = second / (taken(m) * (n + 1.0))  # to the first end of n steps
    x, k = rate * residual, 1.0 - 1.0 / most
    behind = each * x * (most - 1.0) / arrays.maximum(most - 1.0 + 2.0 * x, 1e-12)
    variation = arrays.maximum(squared / (own_mean * own_mean) - 1.0, 0.0)
    alone = queues.wait(n, rate * taken(most) / (most * n), taken(1.0), variation)
    waiting = chance * (k * residual * (1.0 + again) + behind) + (1.0 - k) * alone
    return Prefill(own, edges, own_mean, most, m, load, waiting, chance)


def transfer(pools, rate):
    """(time to send the cache of a prompt [s], share of the time in which a link is busy), at a rate.

    t = start + sent (1 + rho / (2 (1 - rho))), rho = lam sent / links: a queue of one server and constant service.
    """
    share = rate * pools.link_s / pools.links
    busy = arrays.minimum(share, queues.FULLEST)
    return pools.transfer_s + pools.link_s * 0.5 * busy / (1.0 - busy), share


def largest_prefill(step, sizes, budget, groups, instances):
    """n_p M / T(M): requests per second of instances that compute full steps of prompts [1/s]."""
    most = prompts.most_in_a_step(sizes, budget, groups)
    return instances * most / prompts.taken(step, sizes, most)


def decode(step, sizes, pools, rate):
    """(`Decoding` of all instances, time of a step).

    A request goes to the emptiest instance: one birth-death process of all, whose k sequences are spread evenly.
    """
    q, n = sizes.steps, pools.decode_instances
    cap = n * pools.cap

    def lacking(sequences):
        return sequences - rate * q * step.decode(1.0 + sequences / n)

    field = root(lacking, 1e-6, cap)
    wide, growth = rate * q, slope(step, field / n) / n

    def work(k):
        return column(wide) * step.decode(arrays.maximum(k / column(n), 1.0))

    beyond = wide * step.decode(arrays.maximum(pools.cap, 1.0)) / cap
    found = queues.birth_and_death(work, field, wide * growth, cap, beyond, 0.0 * field)
    return found, found.mean / (rate * q)


def open_means(prefill_step, decode_step, sizes, pools, rate):
    """`Means` of an open loop at a rate."""
    p = prefill(prefill_step, sizes, pools, rate)
    found, step_s = decode(decode_step, sizes, pools, rate)
    sent, _ = transfer(pools, rate)
    return _means(rate, found, p, sent, decode_step, step_s, found.queue / rate, sizes, pools)


def closed_means(prefill_step, decode_step, sizes, pools, users):
    """`Means` of users, who wait for what is full: instances of either pool, or the links between them."""
    q, n, tagged = sizes.steps, pools.decode_instances, (users - 1.0) / users
    least = arrays.minimum(1e-6, 1e-9 * q)  # of the users who decode
    full = n * pools.cap

    def at(rate):
        p = prefill(prefill_step, sizes, pools, tagged * rate + 1e-12)

        def lacking(sequences):
            return sequences - rate * q * decode_step.decode(arrays.maximum(sequences / n, 1.0))

        return p, root(lacking, least * users, users)

    def others(p, step_s, rate):
        return 0.5 * step_s + p.wait + p.own_mean + transfer(pools, tagged * rate)[0]

    def lacking(rate):
        p, count = at(rate)
        return count + rate * others(p, decode_step.decode(arrays.maximum(count / n, 1.0)), rate) - users

    fastest = decode_step.decode(arrays.ones_like(users))
    free = root(lacking, least * users / (q * fastest), users / (q * fastest))
    largest = full / (q * decode_step.decode(arrays.maximum(pools.cap, 1.0)))
    most = largest_prefill(prefill_step, sizes, pools.budget, pools.prefill_groups, pools.prefill_instances)
    sent = queues.FULLEST * pools.links / arrays.maximum(pools.link_s, 1e-15)
    rate = arrays.minimum(arrays.minimum(free, most), arrays.minimum(sent, largest))
    p, count = at(rate)
    step_s = decode_step.decode(arrays.maximum(count / n, 1.0))
    left = arrays.maximum((users - count) / rate - others(p, step_s, rate), 0.0)
    at_prompts, at_links = most < arrays.minimum(sent, largest), sent < arrays.minimum(most, largest)
    p = p._replace(wait=p.wait + arrays.where(at_prompts, left, 0.0))
    transfer_s = transfer(pools, tagged * rate)[0] + arrays.where(at_links, left, 0.0)
    room = arrays.where(at_prompts | at_links, 0.0, left)
    spread = arrays.maximum(tagged * count * (1.0 - count / users), 0.0)
    waits = arrays.where(room > 1e-9 * others(p, step_s, rate), 1.0, 0.0)
    found = queues.Decoding(count, spread, waits, rate * room, 0.0 * count)
    return _means(rate, found, p, transfer_s, decode_step, step_s, room, sizes, pools)


def _means(rate, found, p, sent, step, step_s, room, sizes, pools):
    """Half a step is what one that comes waits for the next one."""
    growth = slope(step, found.mean / pools.decode_instances)
    ttft = p.wait + p.own_mean + sent + room
    tpot = step_s * (1.0 + 0.5 * sizes.per_step) / sizes.tokens_per_step
    batch = rate * step_s * (sizes.steps + 0.5)
    return Means(rate, ttft, tpot, batch, found, p, sent, step_s, growth, room, found.waits)
