"""What an instance takes at most, from the times of its steps alone, no queue solved (dsjax/MODEL.md, 11.5, 11.8)."""

from typing import NamedTuple

import numpy as np

from ...serving.instances import answer
from ...serving.instances.table import PER_OCTAVE, interpolated
from ...serving.server import prompts
from ...serving.server.lengths import BELOW, lengths, mean
from ...specs.variables import PERCENTILES

LOOSE = 1.01  # bounds are looser than the equations say: those are approximations themselves


class Most(NamedTuple):
    """What an instance of each layout takes at most, and what refuses it whatever its load."""

    rate: np.ndarray  # requests per second
    users: np.ndarray  # of a closed loop
    refused: dict  # {mask: layouts that it refuses}
    prompt_s: np.ndarray  # a prompt of mean length alone [s]
    step_s: np.ndarray  # a step of one sequence [s]


def of_all(most, places, number):
    """`Most` of `number` layouts, from that of those at `places`; the others are refused elsewhere and take nothing."""

    def whole(numbers):
        found = np.zeros(number, numbers.dtype)
        found[places] = numbers
        return found

    columns = {name: whole(getattr(most, name)) for name in ("rate", "users", "prompt_s", "step_s")}
    return Most(refused={name: whole(x) for name, x in most.refused.items()}, **columns)


def strictest(limits, time):
    """The least of the limits on a mean or a high percentile of `time`; infinite without one.

    A limit on a high percentile is one on the mean too (`candidates.kept`); one on the median says nothing of it.
    """
    names = (time, f"{time}_mean", f"{time}_p90", f"{time}_p99")
    found = [limits[f"max_{name}"] for name in names if f"max_{name}" in limits]
    if time == "tpot" and "min_tps_per_user" in limits:
        found.append(1.0 / limits["min_tps_per_user"])
    return min(found, default=np.inf)


def of_servers(record, chunked, load, limits):
    """`Most` of instances that compute prompts and decode.

    Of B sequences in flight, lam = B / (q T) and TPOT = T / g, T the time from a step to the next; B is the largest
    that room and TPOT allow. T is at least t_d(B) + B s / q, s the least time of a prompt in a full step, and in TPOT
    t_d(B) + (B - 1) s / q, as a sequence waits for no prompt of its own; of prompts in chunks the lesser of two:
    tau(B, S, n, p), all steps with the n = B E[n] / q new tokens and p = B E[p] / q pairs of a mean one, or some full
    of prompts and the others without; and lam is at most that of full steps alone.
    """
    sizes, step = lengths(load), record.table
    room = answer.room(record, sizes)
    most = np.maximum(record.budget * record.groups / sizes.mean_new, 1.0)
    if chunked:

        def mean_step(batch, beside):
            some = np.maximum(beside, 1e-9)  # none: a step of decode alone
            share = some / _along(most * sizes.steps, batch)  # of the steps, where prompts fill those that have any
            new, pairs = (_along(most * x, batch) for x in (sizes.mean_new, sizes.mean_pairs))
            even, alone = step.mixed(batch, share * new, share * pairs), step.decode(batch)
            filled = alone + np.minimum(share, 1.0) * np.maximum(
                step.mixed(batch, new + 0.0 * batch, pairs) - alone, 0.0
            )
            return np.where(beside > 0.0, np.minimum(even, filled), alone)

        found = _decode(step, sizes, room.cap, mean_step, limits)
        filled = step.mixed(np.ones_like(most), most * sizes.mean_new, most * sizes.mean_pairs)
        rate = np.minimum(found.rate, LOOSE * most / filled)
    else:
        found = _decode(step, sizes, room.cap, _between(step, sizes, _in_full_steps(step, sizes, most)), limits)
        rate = found.rate
    refused = found.refused | {"ok_memory": ~room.fits, "ok_kv": ~room.one}
    refused |= _late_prompts(step, sizes, limits, record.budget if chunked else np.inf)
    return found._replace(rate=rate, refused=refused)


def _along(numbers, batch):
    return numbers[:, None] if batch.ndim > 1 else numbers


def _between(step, sizes, service):
    """T(B, b) = t_d(B) + b s / q: from a step to the next, `service` s of each of b prompts between them [s]."""
    return lambda batch, beside: step.decode(batch) + _along(service / sizes.steps, batch) * beside


def of_prefill(record, load, limits):
    """`Most` of instances that compute prompts only: 1 / s, s the time of a prompt in a full step."""
    sizes, step = lengths(load), record.table
    most = np.maximum(record.budget * record.groups / sizes.mean_new, 1.0)
    free = record.room_bytes - record.held_bytes - interpolated(record.prompts_live, record.budget * record.groups)
    rate = LOOSE / _in_full_steps(step, sizes, most)
    refused = {"ok_memory": free <= 0.0} | _late_prompts(step, sizes, limits, np.inf)
    return Most(rate, np.full_like(rate, np.inf), refused, mean(step.alone(sizes.new, sizes.pairs)), 0.0 * rate)


def of_decode(record, load, limits):
    """`Most` of instances that decode only: lam = B / (q t_d(B)), B as of servers."""
    sizes = lengths(load)
    room = answer.room(record, sizes, prompts_too=False)
    found = _decode(record.table, sizes, room.cap, lambda batch, _: record.table.decode(batch), limits)
    return found._replace(refused=found.refused | {"ok_memory": ~room.fits, "ok_kv": ~room.one})


def _in_full_steps(step, sizes, most):
    """Time of a prompt where as many are together as there can be, or one alone, whichever is less [s]."""
    return np.minimum(prompts.taken(step, sizes, most) / most, prompts.taken(step, sizes, 1.0))


def _decode(step, sizes, cap, seconds, limits):
    """`Most` by sequences in flight alone; `seconds(batch, beside)`: from a step to the next, at least [s].

    A sequence waits for the prompts of the others: of few tokens, and few sequences, its own would be most of them.
    """
    limit = LOOSE * strictest(limits, "tpot") * sizes.tokens_per_step
    nodes = 2.0 ** (np.arange(step.decode_s.shape[-1]) / PER_OCTAVE)
    seen = seconds(np.broadcast_to(nodes, step.decode_s.shape), nodes - 1.0)
    good = np.maximum.accumulate(seen, axis=-1) <= limit[:, None]
    last = good.sum(-1) - 1  # the last node within the limit; straight on to the next one
    first, after = np.maximum(last, 0), np.minimum(last + 1, len(nodes) - 1)
    at = np.arange(len(last))
    rise = np.maximum(seen[at, after] - seen[at, first], 1e-30)
    share = np.clip((np.where(np.isfinite(limit), limit, 0.0) - seen[at, first]) / rise, 0.0, 1.0)
    inside = np.where(last == len(nodes) - 1, cap, nodes[first] + share * (nodes[after] - nodes[first]))
    batch = LOOSE * np.minimum(inside, cap)
    rate = LOOSE * batch / (sizes.steps * seconds(batch, batch))
    waiting = strictest(limits, "ttft")
    users = np.where(np.isfinite(waiting), batch + rate * waiting, np.inf)
    refused = {"ok_tpot": last < 0}
    return Most(rate, users, refused, mean(step.alone(sizes.new, sizes.pairs)), step.decode_s[:, 0])


def _late_prompts(step, sizes, limits, chunk):
    """{"ok_ttft": where a prompt alone, of the length that a limit on the first token is about, takes longer}.

    Of prompts longer than `chunk` tokens, whose steps are others, nothing is said.
    """
    late = np.zeros(len(step.pairs), bool)
    own, edges = step.alone(sizes.new, sizes.pairs), step.alone(sizes.new_edges, sizes.pair_edges)
    for key, limit in limits.items():
        name = key.removeprefix("max_ttft").removeprefix("_")
        if key.startswith("max_ttft"):
            place = int(np.searchsorted(BELOW[1:-1], PERCENTILES.get(name, 0.0)))
            shortest = edges[..., place] if name in PERCENTILES else mean(own)
            late |= (shortest > LOOSE * limit) & (sizes.new_edges[..., place] <= chunk)
    return {"ok_ttft": late}
