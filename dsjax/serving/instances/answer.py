"""A server's variables at many points: room for requests, means, quantiles, masks (dsjax/MODEL.md, 11.10)."""

from typing import NamedTuple

import numpy as np

from ... import arrays
from ..server import closed_loop, goodput, open_loop, profiles, prompts, quantiles, rounds
from ..server.lengths import Load, lengths
from . import validity
from .table import Table, interpolated


class Points(NamedTuple):
    """Servers and their requests, one along the first axis of every array."""

    table: Table
    load: Load
    asked: np.ndarray  # requests per second of an open loop, users of a closed one
    rounds: np.ndarray  # requests of each user who starts with all others; 0: the steady state
    budget: np.ndarray  # tokens of a step of prompts (or of any, where they are cut) of a group
    max_batch: np.ndarray  # of a group; 0: no limit
    prefix_tokens: np.ndarray  # positions of a group's cache that prefixes keep
    reserved_output: np.ndarray  # share of an output that is reserved when it is admitted
    groups: np.ndarray
    room_bytes: np.ndarray  # of a chip
    spare_bytes: np.ndarray  # of what is kept free, for activations
    held_bytes: np.ndarray  # weights and what the engine keeps
    position_bytes: np.ndarray  # of a position of a sequence
    state_positions: np.ndarray  # positions that the state of a sequence, however long, is worth
    decode_live: np.ndarray  # activations, by sequences
    prompts_live: np.ndarray  # the same, by new tokens of prompts
    limits: goodput.Limits | None = None  # that requests should keep


class Room(NamedTuple):
    """Requests that a server can hold."""

    cap: np.ndarray  # sequences of all groups
    positions: np.ndarray  # of all groups
    live: np.ndarray  # activations of a chip [B]
    fits: np.ndarray  # weights and activations leave room
    one: np.ndarray  # and one request fits in it


def room(points, sizes, prompts_too=True):
    """`Room`: what weights and activations leave, over the positions that a request keeps; half a request less.

    cap = groups min(`max_batch`, K / (E[L] + (1 + r) E[O^2] / (2 E[O])) - 1/2), K positions of a group without those of
    prefixes, r `reserved_output`; activations beyond what is kept free for them, of an instance that computes
    `prompts_too` or only decodes.
    """
    groups, kept = points.groups, held_positions(points, sizes)
    most = arrays.where(points.max_batch > 0.0, points.max_batch, 1e6)
    live = 0.0 * groups
    if prompts_too:
        live = interpolated(points.prompts_live, groups * arrays.minimum(points.budget, most * sizes.mean_new))

    def left(live):
        free = points.room_bytes - points.held_bytes - arrays.maximum(live - points.spare_bytes, 0.0)
        positions = free / points.position_bytes - points.prefix_tokens
        return positions, arrays.minimum(most, positions / kept - 0.5)

    _, first = left(live)
    live = arrays.maximum(live, interpolated(points.decode_live, arrays.maximum(groups * first, 1.0)))
    positions, cap = left(live)
    largest = sizes.prompt + sizes.mean_output + points.state_positions
    return Room(
        cap=arrays.maximum(cap, 1.0) * groups,
        positions=arrays.maximum(positions, 1.0) * groups,
        live=live,
        fits=positions > 0.0,
        one=positions >= largest,
    )


def held_positions(points, sizes):
    """Positions of the cache that a sequence that decodes holds, in the mean: its context, and what is reserved.

    A state beside them counts as the positions that it is worth.
    """
    return sizes.context + points.reserved_output * (sizes.reserved - sizes.context) + points.state_positions


def largest_rate(step, sizes, server):
    """Requests per second that a server takes at most: full of sequences, and others wait for their room [1/s].

    `prefill-first`: the rate of a closed loop of as many users as fit. `chunked`: lam T = B / q beside as many as fit,
    or fewer, B = q d b / (E[n] + q), beside which every step is full of the prompts that replace those who end.
    """
    if not server.chunked:
        return closed_loop.means(step, sizes, server, server.cap).rate
    q = sizes.steps
    held = arrays.minimum(server.cap, q * server.groups * server.budget / (sizes.mean_new + q))
    decode_s = step.decode(held)

    found = prompts.chunks(step, sizes, held, server.budget, server.groups)
    high = arrays.minimum(held / (q * decode_s), 1.0 / found.service)  # no prompts; nothing but prompts
    return arrays.clip(prompts.rate_of(step, sizes, found, held, decode_s, held / q), 1e-6 * high, high)


def variables(points, chunked, open_, with_quantiles):
    """{variable: array} of all points: means, masks `ok_<constraint>`, and quantiles.

    `with_quantiles`: True all of them, False none, names those alone.
    """
    step, sizes = points.table, lengths(points.load)
    found = room(points, sizes)
    server = open_loop.Server(points.budget, found.cap, chunked, points.groups)
    most = largest_rate(step, sizes, server)
    if open_:
        asked = points.asked
        rate = arrays.minimum(asked, most)  # of what is more than it can take, the most: masked, and finite
        means = open_loop.means(step, sizes, server, rate)
        # Sequences that do not fit hold up the prompts behind them: what the server then takes is not known.
        stable, busy, users = (asked < most) & (means.batch <= found.cap), means.busy, None
        no_room = means.room_chance
    else:
        means = closed_loop.means(step, sizes, server, points.asked)
        asked = rate = means.rate
        stable, busy, users = rate > 0.0, 0.0 * rate, points.asked
        no_room = arrays.where(users > found.cap, 1.0, 0.0 * rate)
    mixed, _, _ = profiles.gap_of(means, server, rate if open_ else means.seen, busy)
    ttft, tpot, steady = means.ttft, means.tpot, means.batch / rate
    if not open_:
        ttft, tpot = rounds.means(means, step, sizes, server, points.asked, points.rounds)
        steady = steady + (tpot - means.tpot) * (sizes.mean_output - 1.0)
    decode_s = sizes.steps * means.decode_s
    held = arrays.minimum(means.batch, found.cap)
    own = arrays.minimum(means.prompts.own_mean, ttft)
    waits = arrays.minimum(means.room_wait, ttft - own)
    out = {
        "ttft_mean": ttft,
        "tpot_mean": tpot,
        "latency_mean": ttft + steady,
        "requests_per_s_served": rate,
        "requests_per_s_max": most,
        "utilisation": asked / most,
        "decode_batch": means.batch,
        "prefill_share": arrays.maximum(means.prompts.share, 0.0),
        "mixed_share": mixed,
        "kv_occupancy": held * held_positions(points, sizes) / found.positions,
        "step_time": means.prompts.whole,
        "tps_total": rate * sizes.mean_output,
        "memory_per_chip": points.held_bytes
        + found.live
        + points.position_bytes * (held / points.groups * held_positions(points, sizes) + points.prefix_tokens),
        "ok_memory": found.fits,
        "ok_kv": found.one,
        "ok_stable": stable,
        "ok_budget": points.budget * points.groups > found.cap if chunked else found.cap > 0.0,
        "step/sequences": held,
        "memory/held": points.held_bytes,
        "memory/activations": found.live,
        "memory/cache": points.position_bytes * held / points.groups * held_positions(points, sizes),
        "memory/prefixes": points.position_bytes * points.prefix_tokens,
        "memory/positions": points.position_bytes * found.positions / points.groups,  # of requests, in use or not
        "memory/inside": found.positions / held_positions(points, sizes) - 0.5 * points.groups,
        "request/room": waits,
        "request/queue": ttft - own - waits,
        "request/prompt": own,
        "request/decode": arrays.minimum(decode_s, steady),
        "request/interruptions": arrays.maximum(steady - decode_s, 0.0),
    }
    load = 0.0 * rate if users is not None else asked / most  # users wait as long as it takes
    out["outside_validity"] = validity.outside(load, no_room, mixed, sizes, users)
    if with_quantiles:
        seen = profiles.of_open_loop(means, sizes, server, rate) if open_ else None
        seen = profiles.of_closed_loop(means, sizes, server, points.asked) if seen is None else seen
        out |= of_distributions(seen, sizes, rate, points.limits, out, with_quantiles)
    return out


def of_distributions(seen, sizes, rate, limits, known, names=True):
    """{variable: array} of percentiles, and of the requests that keep `limits`; without what is `known`."""
    values = quantiles.outputs(seen, sizes, None if names is True else names)
    found = {name: x for name, x in values.items() if name not in known}
    return found if limits is None else found | {"goodput": rate * goodput.share(seen, sizes, limits)}
