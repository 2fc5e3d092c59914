"""`Seen` of an open loop, of a closed loop and of pools, from their means (dsjax/MODEL.md, 11.7)."""

from ... import arrays
from . import first_token
from .lengths import column, mean
from .quantiles import Seen


def of_open_loop(m, sizes, server, rate):
    """A server whose requests come at random times."""
    p, left = m.prompts, 1.0 - m.room_chance
    somebody = -arrays.expm1(-m.decoding.mean)
    residual = (p.whole if server.chunked else m.decode_alone) * somebody
    chance = p.share
    if server.chunked:
        alone = arrays.minimum(rate * p.service, 1.0)
        many = alone * (1.0 + (p.own_mean / p.service - 1.0) * (1.0 - alone))
        chance = arrays.where(p.batched > 0.0, p.share, arrays.clip(many, 0.0, 1.0))
    longer = 1.0 - (1.0 - chance) * arrays.exp(-p.batched * rate * m.decode_alone)
    waits = first_token.variation_of_waits(p.own, arrays.clip(chance, 1e-6, 0.999))
    parts = [(w * left, *part) for w, *part in first_token.waiting(m.wait, longer, residual, waits)]
    parts.append(for_room(m))
    mixed, gap, tail = gap_of(m, server, rate, m.busy)
    eta = 1.0 - m.decode_alone / p.first if server.chunked else 1.0
    return Seen(
        ttft=m.ttft,
        own=p.own,
        edges=p.edges,
        parts=parts,
        later=0.0 * m.ttft,
        step_s=m.decode_s,
        share=p.share,
        rest=m.rest,
        rate=rate,
        service=p.service,
        variation=p.variation,
        share_of_step=eta,
        busy=m.busy,
        growth=m.slope,
        variance=m.decoding.variance,
        batch=m.decoding.mean,
        clump_s=m.clump_s,
        mixed=mixed,
        gap=gap,
        gap_tail=tail,
        regular=0.0 * m.ttft > 0.0,
    )


def for_room(m):
    """Part of a wait: those who find no room."""
    chance = arrays.maximum(m.room_chance, 1e-12)
    return m.room_chance, 0.0 * m.room_wait, 1e-9 + 0.0 * m.room_wait, m.room_wait / chance + 1e-9


def of_users(parts, users_waiting, rate):
    """(Parts of a wait beside that of a number of users for room, of deviation sqrt(number) / X; half of its width).

    It is never wider than twice its mean: nobody waits less than no time.
    """
    users_waiting = arrays.maximum(users_waiting, 0.0)  # a difference that may be rounded
    outside = arrays.minimum(arrays.sqrt(12.0 * users_waiting + 1e-24), 2.0 * users_waiting) / rate
    wider = [arrays.sqrt(x * x + outside * outside + 1e-36) for _, _, x, _ in parts]
    return [(w, constant, x, e) for (w, constant, _, e), x in zip(parts, wider, strict=True)], 0.5 * outside


def of_few(variation, wait, rate, variance, service_variation):
    """Variation of a wait for users: theirs varies by the number of those who are elsewhere, and by what is ahead.

    At most (Var B + Q c_s^2) / Q^2, Q = X W of them wait: nearly constant where the prompts are the bottleneck.
    """
    queue = arrays.maximum(rate * wait, 1e-9)
    return arrays.minimum(variation, (variance + queue * service_variation + 0.1) / (queue * queue))


def gap_of(m, server, rate, busy):
    """(chance that a gap holds prompts, such a gap at the nodes, mean of what more of them add)."""
    p = m.prompts
    if server.chunked:
        often = rate * p.whole
        mixed = arrays.where(p.batched > 0.0, -arrays.expm1(-often), often * p.per_step)
        return arrays.clip(mixed, 0.0, 1.0), arrays.minimum(p.own, column(p.first)), 0.0 * p.share
    mixed = -arrays.expm1(-rate * m.decode_alone)
    return mixed, column(m.decode_alone) + p.own, p.own_mean * busy / (1.0 - busy)


def of_closed_loop(m, sizes, server, users):
    """A server whose users send the next request when they have the last token."""
    p, inside = m.prompts, arrays.minimum(users, server.cap)
    waits = arrays.clip(m.waits, 1e-9, 1.0)
    ahead = -arrays.log1p(-arrays.minimum(waits, 0.999999))
    variation = (1.0 + 1.0 / ahead) * waits - 1.0
    decoding = arrays.minimum(m.batch / inside, 1.0)
    variation = of_few(variation, m.wait, m.rate, m.batch * (1.0 - decoding), p.variation)
    parts, half = of_users(first_token.waiting(m.wait, waits, 0.0 * m.wait + 1e-9, variation), users - inside, m.rate)
    later = m.room_wait - half
    mixed, gap, _ = gap_of(m, server, m.seen, 0.0)
    eta = 1.0 - m.decode_s / p.first if server.chunked else 1.0
    none = 0.0 * m.ttft
    return Seen(
        ttft=m.ttft,
        own=p.own,
        edges=p.edges,
        parts=parts,
        later=later,
        step_s=m.decode_s,
        share=p.share,
        rest=none,
        rate=m.seen,
        service=p.service,
        variation=p.variation,
        share_of_step=eta,
        busy=none,
        growth=none,
        variance=none,
        batch=m.batch,
        clump_s=none,
        mixed=mixed,
        gap=gap,
        gap_tail=none,
        regular=0.0 * m.ttft > -1.0,
    )


def of_pools(m, sizes, pools, closed=False):
    """Two pools, whose steps of decode no prompt interrupts; in a `closed` loop the wait for room hardly varies."""
    p, n = m.prefill, pools.decode_instances
    # Of a wait for one of many instances: exponential where nothing else is known.
    waits = first_token.variation_of_waits(p.own, arrays.clip(p.load, 1e-6, 0.999))
    waits = 1.0 + (waits - 1.0) / pools.prefill_instances
    none = 0.0 * m.ttft
    if closed:
        second = p.own / p.own_mean[..., None] - 1.0
        waits = of_few(waits, p.wait, m.rate, m.decoding.variance, mean(second * second))
    parts, later = first_token.waiting(p.wait, p.chance, none + 1e-9, waits), none + m.transfer_s
    if closed:
        parts, half = of_users(parts, m.decoding.queue, m.rate)
        later = later + m.room_wait - half
    else:
        parts = [(w * (1.0 - m.room_chance), *part) for w, *part in parts] + [for_room(m)]
    return Seen(
        ttft=m.ttft,
        own=p.own,
        edges=p.edges,
        parts=parts,
        later=later,
        step_s=m.step_s,
        share=none,
        rest=0.5 * m.step_s,
        rate=none,
        service=none,
        variation=none,
        share_of_step=none,
        busy=none,
        growth=m.slope,
        variance=m.decoding.variance / (n * n),
        batch=m.decoding.mean / n,
        clump_s=none,
        mixed=none,
        gap=p.own,
        gap_tail=none,
        regular=0.0 * m.ttft > (-1.0 if closed else 0.0),
    )
