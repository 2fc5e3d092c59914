"""Time of collectives over two levels: a scale-up domain of some chips, and NICs between domains.

Equations: dsjax/MODEL.md, section 5. Volumes `n_bytes` [B], rates [B/s], numbers of chips and cards [1], times [s]. A
card is the `moe_tp` chips that share one set of experts.
"""

from collections.abc import Callable
from typing import NamedTuple

from .. import arrays
from ..specs.fields import record
from .roofline import Time
from .routing import visited


@record
class Links:
    """Bandwidth of one chip in one direction, utilisation included [B/s], and the fixed time of a step [s]."""

    up_bytes_per_s: float
    out_bytes_per_s: float
    up_step_s: float
    out_step_s: float
    domain: float  # chips of one scale-up domain
    hidden_s: float | None = None  # part of an exchange's fixed time in which data moves already; None: none


def links(hardware, nic):
    """`Links` of a chip and its NIC: bandwidth x utilisation."""
    return Links(
        up_bytes_per_s=hardware.scale_up_bytes_per_s * hardware.scale_up_utilisation,
        out_bytes_per_s=nic.scale_out_bytes_per_s * nic.scale_out_utilisation,
        up_step_s=hardware.scale_up_step_s,
        out_step_s=nic.scale_out_step_s,
        domain=hardware.scale_up_domain,
    )


def exchange_links(hardware, nic, utilisation, start_s, hidden_s=None):
    """`Links` of a dispatch or combine: bandwidth x its `utilisation` [1] inside the domain, fixed time `start_s` [s].

    The NIC has a utilisation and a start of its own; its start is added where bytes leave the domain.
    """
    return Links(
        up_bytes_per_s=hardware.scale_up_bytes_per_s * utilisation,
        out_bytes_per_s=nic.scale_out_bytes_per_s * nic.exchange_utilisation,
        up_step_s=start_s,
        out_step_s=nic.exchange_start_s,
        domain=hardware.scale_up_domain,
        hidden_s=hidden_s,
    )


def low_latency(point, split, n_bytes, causal):
    """Low-latency mode, a copy of a token per expert: (dispatch, combine, bytes re-ordered on the chip).

    `n_bytes` = (dispatched, combined) of a card [B]. It takes no cores, and rows arrive in the order of the experts, so
    no bytes are re-ordered. Source: DeepEP, low-latency kernels; dsjax/MODEL.md, section 5.
    """
    del causal
    hw = point.hardware
    shares = copy_per_expert(split.ep, split.moe_tp, hw.scale_up_domain)
    reached = (
        (hw.exchange_utilisation, hw.exchange_start_s, hw.exchange_hidden_s),
        (hw.combine_utilisation, hw.combine_start_s, hw.combine_hidden_s),
    )
    return *_both(point, split, n_bytes, shares, reached, 0.0), 0.0


def normal(point, split, n_bytes, causal):
    """Normal mode, a copy of a token per domain it visits: (dispatch, combine, bytes re-ordered on the chip).

    `n_bytes` = (dispatched, combined) of a card [B]. `exchange_cores` of the chip send tokens and forward them inside
    the domain. Rows arrive by sender: they are read and written once more to be in the order of the experts, and their
    results are read once more to be summed. Source: DeepEP, normal kernels; dsjax/MODEL.md, section 5.
    """
    del causal
    hw = point.hardware
    shares = copy_per_domain(point.model, split, hw.scale_up_domain)
    reached = 2 * ((hw.normal_utilisation, hw.normal_start_s),)
    times = _both(point, split, n_bytes, shares, reached, hw.exchange_cores * hw.exchange_cores_bytes_per_s)
    return *times, 2.0 * n_bytes[0] + n_bytes[1]


def automatic(point, split, n_bytes, causal):
    """`normal` in prefill (`causal`), `low_latency` in decode; arguments and result are theirs."""
    return (normal if causal else low_latency)(point, split, n_bytes, causal)


def _both(point, split, n_bytes, shares, reached, cores_bytes_per_s):
    card = links(point.hardware, point.nic)
    return tuple(
        all_to_all(b, shares, split.moe_tp, exchange_links(point.hardware, point.nic, *of), card, cores_bytes_per_s)
        for b, of in zip(n_bytes, reached, strict=True)
    )


# Share of the cores that a dispatch mode takes from the kernels it overlaps; None: it takes none.
def no_cores(hardware, causal):
    """Share of the cores that the low-latency mode takes: None."""
    del hardware, causal


def all_cores(hardware, causal):
    """Share of the cores that the normal mode takes: `exchange_cores`."""
    del causal
    return hardware.exchange_cores


def cores_in_prefill(hardware, causal):
    """Share of the cores that the automatic mode takes: `exchange_cores` in prefill, None in decode."""
    return all_cores(hardware, causal) if causal else None


class Exchange(NamedTuple):
    """A dispatch mode: how rows reach their experts, and the cores that this takes."""

    send: Callable  # (point, split, bytes dispatched and combined, causal) -> (Time, Time, bytes re-ordered)
    cores: Callable  # (hardware, causal) -> share of the cores taken from what it overlaps; None: none


MODES = {
    "auto": Exchange(automatic, cores_in_prefill),
    "low-latency": Exchange(low_latency, no_cores),
    "normal": Exchange(normal, all_cores),
}


def all_gather(n_bytes, chips, net):
    """Ring all-gather to b bytes on each of n chips, inside the domains and between them, one after the other.

    g = min(n, domain), q = n / g:  (g - 1) / g b / U + (g - 1) t_up + (q - 1) / q (b / g) / O + (q - 1) t_out [s].
    b = `n_bytes` [B], n = `chips` [1]; of the links `net`: U, O bandwidth inside and outside the domain [B/s], t_up,
    t_out time of one step [s]. One chip: 0. Source: dsjax/MODEL.md, section 5.
    """
    inside = arrays.minimum(chips, net.domain)
    domains = arrays.where(chips > net.domain, chips / inside, 1.0)
    seconds = (inside - 1.0) / inside * n_bytes / net.up_bytes_per_s
    seconds = seconds + (domains - 1.0) / domains * (n_bytes / inside) / net.out_bytes_per_s
    steps = (inside - 1.0) * net.up_step_s + (domains - 1.0) * net.out_step_s
    return Time(exposed_network=seconds, exposed_latency=steps, busy_network=seconds)


def reduce_scatter(n_bytes, chips, net):
    """Ring reduce-scatter of `n_bytes` [B] on each of `chips` [1]: volume and steps are those of `all_gather`."""
    return all_gather(n_bytes, chips, net)


def all_reduce(n_bytes, chips, net, start_s=0.0, rise_s=0.0, direct=0.0, peak_bytes_per_s=1.0):
    """All-reduce of b = `n_bytes` [B] over n = `chips` [1]: reduce-scatter and all-gather, or direct if sooner [s].

    t0 [n > 1] + min(ring, everything) with t0 = `start_s`: ring = 2 (reduce-scatter) + sqrt(t2 v), v = 2 (g - 1) / g b
    / U the time of a ring inside the domain at peak U = `peak_bytes_per_s`, t2 = `rise_s`; everything = (n - 1) b /
    (U u1), every chip to all others at once, u1 = `direct` [1], inside one domain (0: never). Half of the root is
    network, half latency: it grows with the root of either.
    """
    ring = reduce_scatter(n_bytes, chips, net) + all_gather(n_bytes, chips, net)
    inside = arrays.minimum(chips, net.domain)
    under = rise_s * 2.0 * (inside - 1.0) / inside * n_bytes / peak_bytes_per_s
    rise = arrays.where(under > 0.0, arrays.sqrt(arrays.where(under > 0.0, under, 1.0)), 0.0)
    ring = ring + Time(exposed_network=0.5 * rise, exposed_latency=0.5 * rise, busy_network=rise)
    may = (direct > 0.0) & (chips <= net.domain)
    everything = (chips - 1.0) * n_bytes / (peak_bytes_per_s * arrays.where(may, direct, 1.0))
    sooner = may & (everything < ring.total)
    network, busy = (arrays.where(sooner, everything, x) for x in (ring.exposed_network, ring.busy_network))
    latency = arrays.where(sooner, 0.0, ring.exposed_latency) + arrays.where(chips > 1.0, start_s, 0.0)
    return Time(exposed_network=network, exposed_latency=latency, busy_network=busy)


def spans_domains(ep, moe_tp, domain):
    """Whether ep cards of moe_tp chips need more than one domain of `domain` chips: ep > 1 and ep moe_tp > domain.

    Products of whole numbers are exact, quotients are not: 1 - cards / ep may be 1e-17 where it is 0.
    """
    return (ep > 1.0) & (ep * moe_tp > domain)


def cards_of_domain(ep, moe_tp, domain):
    """Cards of experts in one scale-up domain: max(1, min(ep, domain / moe_tp)), ep exactly where one holds all."""
    return arrays.where(spans_domains(ep, moe_tp, domain), arrays.maximum(1.0, arrays.minimum(ep, domain / moe_tp)), ep)


def copy_per_expert(ep, moe_tp, domain):
    """(inside the domain, outside) of the rows of a card that are sent, one copy per expert: (e - 1) / ep, 1 - e / ep.

    e cards of a domain; 1 / ep of the rows stay where they are. Either share is 0 exactly where nothing is sent.
    """
    cards = cards_of_domain(ep, moe_tp, domain)
    return (cards - 1.0) / ep, arrays.where(spans_domains(ep, moe_tp, domain), 1.0 - cards / ep, 0.0)


def copy_per_domain(model, split, domain):
    """(inside the domain, outside) of the rows of a card that are sent, one copy of a token per domain it visits.

    Outside (D / k) (1 - 1 / q): D of the q = ep / e domains visited, one copy each but for its own. It arrives at the
    card of the same place in the domain, which forwards it to every card visited, C in all: inside (C / k) (1 - 1 / e).
    """
    ep, moe_tp = split.ep, split.moe_tp
    cards, slots, copies = cards_of_domain(ep, moe_tp, domain), ep * split.slots, model.num_experts_per_tok
    inside = visited(ep, model, slots) / copies * (1.0 - 1.0 / cards)
    spans = spans_domains(ep, moe_tp, domain)
    # q as a ratio of whole numbers: ep moe_tp chips of d a domain, or a card in each where none holds a whole one.
    fits_card = moe_tp <= domain
    parts = arrays.where(spans, arrays.where(fits_card, ep * moe_tp, ep), 1.0)
    of = arrays.where(spans & fits_card, domain, 1.0)
    outside = visited(parts, model, slots, of) / copies * (1.0 - of / parts)
    return inside, arrays.where(spans, outside, 0.0)


def partly_hidden(seconds, hidden_s):
    """(network, latency) [s] that a transfer of v s adds when data already moves in the last h s of its fixed time.

    The sum is r - h with r = sqrt(h^2 + v^2): about 0 below h, v - h far above it. Network is its slope d / d ln v, v^2
    / r; latency its slope d / d ln h, h^2 / r - h <= 0. `seconds` v, `hidden_s` h. dsjax/MODEL.md, section 5.
    """
    some = hidden_s > 0.0
    h = arrays.where(some, hidden_s, 1.0)
    r = arrays.sqrt(h * h + seconds * seconds)
    return arrays.where(some, seconds * seconds / r, seconds), arrays.where(some, h * h / r - h, 0.0)


def all_to_all(n_bytes, shares, moe_tp, net, card=None, cores_bytes_per_s=0.0):
    """Dispatch or combine of the b = `n_bytes` bytes one card receives or sends, b / moe_tp on each of its chips.

    `shares` (f_in, f_out) of b' = b / moe_tp stay inside the domain and leave it; U, O, t0, t1 of the links `net`:
    t0 [anything is sent] + t1 [f_out > 0] + max(f_in b' / U, f_out b' / O, (f_in + f_out) b' / C), C =
    `cores_bytes_per_s` what the cores that copy can move (0: no limit), `partly_hidden` in t0, and an all-gather inside
    the card over the links `card`: (moe_tp - 1) (b' / U + t_up) [s].
    """
    share, (inside, outside), card = n_bytes / moe_tp, shares, card or net
    up, out = inside * share / net.up_bytes_per_s, outside * share / net.out_bytes_per_s
    limited = cores_bytes_per_s > 0.0
    copied = arrays.where(limited, (inside + outside) * share / arrays.where(limited, cores_bytes_per_s, 1.0), 0.0)
    gather = (moe_tp - 1.0) * share / card.up_bytes_per_s
    sent = inside + outside > 0.0
    steps = arrays.where(sent, net.up_step_s, 0.0) + arrays.where(outside > 0.0, net.out_step_s, 0.0)
    steps = steps + (moe_tp - 1.0) * card.up_step_s
    seconds = arrays.maximum(arrays.maximum(up, out), copied)
    if net.hidden_s is not None:
        seconds, less = partly_hidden(seconds, net.hidden_s)
        steps = steps + less
    seconds = seconds + gather
    return Time(exposed_network=seconds, exposed_latency=steps, busy_network=up + out + gather)


def all_to_all_bytes(tokens, hidden_size, copies, element_bytes):
    """Bytes one chip sends in dispatch, or receives in combine: tokens x copies x H x b.

    `copies` = experts per token when one copy goes to every expert (low-latency mode). No share stays on the chip.
    Source: DeepEP, low-latency kernels.
    """
    return tokens * copies * hidden_size * element_bytes
