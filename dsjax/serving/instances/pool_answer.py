"""Variables of two pools at many points: room, transfer, means, quantiles, masks (dsjax/MODEL.md, 11.10)."""

from typing import NamedTuple

import numpy as np

from ... import arrays
from ..server import goodput, pools, profiles
from ..server.lengths import Load, lengths
from . import answer, validity
from .table import interpolated


class Points(NamedTuple):
    """Pairs of pools and their requests, one along the first axis of every array."""

    prefill: answer.Points  # an instance that computes prompts: its steps and its memory
    decode: answer.Points  # one that decodes
    load: Load
    asked: np.ndarray  # requests per second of an open loop, users of a closed one
    prefill_instances: np.ndarray
    decode_instances: np.ndarray
    link_bytes_per_s: np.ndarray  # of a link of a chip, utilisation included
    link_step_s: np.ndarray  # fixed time of a transfer
    limits: goodput.Limits | None = None  # that requests should keep


def link_s(points, sizes):
    """L y / b: time that the cache of a prompt takes on its link [s].

    L positions of a prompt (and those that a state is worth), y bytes of one on a chip that decodes, b bytes per second
    of the link of a chip.
    """
    return (sizes.prompt + points.decode.state_positions) * points.decode.position_bytes / points.link_bytes_per_s


def largest_rates(points, sizes, cap):
    """(requests per second that the pool of prompts takes at most, and the pool that decodes) [1/s].

    n_p M / T(M) in full steps; n_d cap / (q t_d(cap)).
    """
    p = points.prefill
    prefill = pools.largest_prefill(p.table, sizes, p.budget, p.groups, points.prefill_instances)
    return prefill, points.decode_instances * cap / (sizes.steps * points.decode.table.decode(cap))


def variables(points, open_, with_quantiles):
    """{variable: array} of all points, as `answer.variables`."""
    sizes = lengths(points.load)
    d, p = points.decode, points.prefill
    room = answer.room(d, sizes, prompts_too=False)
    tokens = arrays.where(p.max_batch > 0.0, arrays.minimum(p.budget, p.max_batch * sizes.mean_new), p.budget)
    live = interpolated(p.prompts_live, p.groups * tokens)
    over = arrays.maximum(live - p.spare_bytes, 0.0)
    spare = p.room_bytes - p.held_bytes - over  # of an instance that computes prompts: for the caches of a batch
    of_prefill, of_decode = largest_rates(points, sizes, room.cap)
    sent = link_s(points, sizes)
    links = arrays.minimum(points.prefill_instances * p.groups, points.decode_instances * d.groups)
    most = arrays.minimum(arrays.minimum(of_prefill, of_decode), links / arrays.maximum(sent, 1e-30))
    bound = arrays.minimum(points.asked, most) if open_ else points.asked
    found = pools.Pools(
        budget=p.budget,
        cap=room.cap,
        prefill_instances=points.prefill_instances,
        decode_instances=points.decode_instances,
        transfer_s=points.link_step_s + sent,
        prefill_groups=p.groups,
        link_s=sent,
        links=links,
    )
    of = pools.open_means if open_ else pools.closed_means
    means = of(p.table, d.table, sizes, found, bound)
    rate, kept = means.rate, answer.held_positions(d, sizes)
    _, share = pools.transfer(found, rate)
    asked = points.asked if open_ else rate
    waits = means.prefill.wait
    out = {
        "ttft_mean": means.ttft,
        "tpot_mean": means.tpot,
        "latency_mean": means.ttft + means.batch / rate,
        "requests_per_s_served": rate,
        "requests_per_s_max": most,
        "utilisation": asked / most,
        "prefill_utilisation": asked / of_prefill,
        "decode_utilisation": asked / of_decode,
        "transfer_share": share,
        "transfer_time": means.transfer_s,
        "balanced_ratio": points.prefill_instances / of_prefill * of_decode / points.decode_instances,
        "decode_batch": means.batch,
        "prefill_share": 0.0 * rate,
        "mixed_share": 0.0 * rate,
        "kv_occupancy": means.batch * kept / (room.positions * points.decode_instances),
        "step_time": means.step_s,
        "tps_total": rate * sizes.mean_output,
        "memory_per_chip": arrays.maximum(
            p.held_bytes + live,
            d.held_bytes + room.live + d.position_bytes * means.batch * kept / points.decode_instances / d.groups,
        ),
        "ok_prefill_memory": spare > 0.0,
        "ok_decode_memory": room.fits,
        "ok_kv": room.one & (spare >= p.position_bytes * (sizes.prompt + p.state_positions)),
        "ok_stable": asked < most if open_ else rate > 0.0,
        "ok_transfer": share < 1.0,
        "step/sequences": arrays.minimum(means.batch / points.decode_instances, room.cap),
        "request/room": means.room_wait,
        "request/queue": waits,
        "request/prompt": means.prefill.own_mean,
        "request/transfer": means.transfer_s,
        "request/decode": means.batch / rate,
    }
    load = arrays.maximum(asked / most, share) if open_ else 0.0 * rate
    users = None if open_ else points.asked
    out["outside_validity"] = validity.outside(load, means.room_chance, 0.0 * rate, sizes, users)
    if with_quantiles:
        seen = profiles.of_pools(means, sizes, found, closed=not open_)
        out |= answer.of_distributions(seen, sizes, rate, points.limits, out, with_quantiles)
    return out
