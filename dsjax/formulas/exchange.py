"""Dispatch of tokens to their experts, and combine of the results: how engines exchange them.

Equations: dsjax/MODEL.md, section 5. A card is the `moe_tp` chips that share one set of experts; a group the `tp` chips
that share the attention of the same sequences, and so hold the same tokens. Volumes [B], times [s], numbers [1].
"""

from collections.abc import Callable
from typing import NamedTuple

from .. import arrays
from ..specs.fields import record
from .network import Links, all_gather, bisected, links, meshed, partly_hidden, reduce_scatter
from .operators import kinds, layers
from .roofline import Time, chosen
from .routing import visited


@record
class Traffic:
    """Bytes of one step that an exchange moves, to be sent to the experts and back."""

    dispatch_rows: float  # of the rows of a card [B]
    combine_rows: float
    dispatch_tokens: float  # of the tokens of all groups, each once [B]
    combine_tokens: float


def exchange_links(hardware, nic, chips, utilisation, start_s, hidden_s=None):
    """`Links` of a dispatch or combine: bandwidth x its `utilisation` [1] inside the domain, fixed time `start_s` [s].

    Of `chips` inside the domain, a mesh or torus has less for an even exchange (`network.meshed`, `bisected`). The NIC
    has a utilisation and a start of its own; its start is added where bytes leave the domain.
    """
    up = meshed(hardware.scale_up_bytes_per_s, hardware.scale_up_peer_bytes_per_s, chips)
    return Links(
        up_bytes_per_s=bisected(up, hardware.scale_up_torus, chips) * utilisation,
        out_bytes_per_s=nic.scale_out_bytes_per_s * nic.exchange_utilisation,
        up_step_s=start_s,
        out_step_s=nic.exchange_start_s,
        domain=hardware.scale_up_domain,
        hidden_s=hidden_s,
    )


def low_latency(point, split, traffic, causal):
    """Low-latency mode, a copy of a token per expert: (dispatch, combine, bytes re-ordered on the chip).

    It takes no cores, and rows arrive in the order of the experts, so no bytes are re-ordered. Source: DeepEP,
    low-latency kernels; dsjax/MODEL.md, section 5.
    """
    del causal
    shares = copy_per_expert(split.ep, split.moe_tp, point.hardware.scale_up_domain, split.tp)
    times = _both(point, split, traffic, (shares, shares), _low_latency_links(point.hardware), 0.0)
    return *times, summed(split, traffic, 0.0)


def summed(split, traffic, n_bytes):
    """Bytes re-ordered: `n_bytes`, or where one group has all tokens the results of a token, read to be summed [B]."""
    return arrays.where(split.several, n_bytes, traffic.combine_rows)


def layered(point, split, traffic, causal):
    """Low-latency mode that dispatches a copy of a token per domain, forwarded inside it: as `low_latency`, which its
    combine and its fixed times are. Source: DeepEP, layered low-latency dispatch (2025-11)."""
    del causal
    domain = point.hardware.scale_up_domain
    there = copy_per_domain(point.model, split, domain)
    back = copy_per_expert(split.ep, split.moe_tp, domain, split.tp)
    times = _both(point, split, traffic, (there, back), _low_latency_links(point.hardware), 0.0)
    return *times, summed(split, traffic, 0.0)


def _low_latency_links(hw):
    return (
        (hw.exchange_utilisation, hw.exchange_start_s, hw.exchange_hidden_s),
        (hw.combine_utilisation, hw.combine_start_s, hw.combine_hidden_s),
    )


def normal(point, split, traffic, causal):
    """Normal mode, a copy of a token per domain it visits: (dispatch, combine, bytes re-ordered on the chip).

    `exchange_cores` of the chip send tokens and forward them inside the domain. Rows arrive by sender: they are read
    and written once more to be in the order of the experts, and their results are read once more to be summed. Source:
    DeepEP, normal kernels; dsjax/MODEL.md, section 5.
    """
    del causal
    hw = point.hardware
    shares = copy_per_domain(point.model, split, hw.scale_up_domain)
    reached = 2 * ((hw.normal_utilisation, hw.normal_start_s),)
    times = _both(point, split, traffic, (shares, shares), reached, hw.exchange_cores * hw.exchange_cores_bytes_per_s)
    return *times, summed(split, traffic, 2.0 * traffic.dispatch_rows + traffic.combine_rows)


def gathered(point, split, traffic, causal):
    """No library: an all-gather of the tokens of all groups to every chip, a reduce-scatter of the results.

    Each token once, over the dp chips of the same place in their groups; nothing where one group has all. Source:
    vLLM, `allgather_reducescatter`, the default of its data-parallel attention; dsjax/MODEL.md, section 5.
    """
    del causal
    hw, dp = point.hardware, arrays.maximum(split.dp, 1.0)
    net = links(hw, point.nic)
    # Places of a ring: one chip of each group of a domain.
    ring = Links(**vars(net) | {"domain": arrays.maximum(net.domain / split.tp, 1.0)})
    start = Time(exposed_latency=arrays.where(split.several, hw.all_reduce_start_s, 0.0))
    held = net.domain if split.stages is None else split.stages * net.domain  # by a domain in each stage
    spans = arrays.where(split.tp < net.domain, split.chips > held, split.several)
    dispatch = all_gather(traffic.dispatch_tokens, dp, ring, spans) + start
    combine = reduce_scatter(traffic.combine_tokens, dp, ring, spans) + start
    return dispatch, combine, traffic.combine_rows


def automatic(point, split, traffic, causal):
    """What the engine's library does: `gathered` without one, else `normal` in prefill (`causal`), and in decode
    `low_latency` or `layered`; arguments and result are theirs."""
    several = (gathered, normal, normal) if causal else (gathered, low_latency, layered)
    found = [mode(point, split, traffic, causal) for mode in several[: 2 if causal else 3]]
    library = point.engine.library
    library = arrays.minimum(library, len(found) - 1)
    dispatch, combine = (chosen(library, *(of[i] for of in found)) for i in (0, 1))
    return dispatch, combine, arrays.choose(library, *(of[2] for of in found))


def _both(point, split, traffic, shares, reached, cores_bytes_per_s):
    hw, nic = point.hardware, point.nic
    card, chips = links(hw, nic), arrays.minimum(split.ep * split.moe_tp, hw.scale_up_domain)
    rows, tokens = (
        (traffic.dispatch_rows, traffic.combine_rows),
        (traffic.dispatch_tokens, traffic.combine_tokens),
    )
    spread = gather_share(point.model, split)
    found = []
    for b, every, sent, of in zip(rows, tokens, shares, reached, strict=True):
        between = all_to_all(b / split.moe_tp, sent, exchange_links(hw, nic, chips, *of), cores_bytes_per_s)
        found.append(between + within_card(spread * every, split, card))
    return found


def within_card(n_bytes, split, net):
    """Gather inside a card of `n_bytes` [B] that each of its chips lacks: b / U, or b / O beyond a domain, and steps.

    Nothing where the card is one chip, or every group holds all tokens (dp = 1).
    """
    inside = arrays.minimum(split.moe_tp, net.domain)
    beyond = arrays.where(split.moe_tp > net.domain, split.moe_tp / inside, 1.0)
    seconds = n_bytes / net.inside(inside) + (beyond - 1.0) / beyond * n_bytes / inside / net.out_bytes_per_s
    steps = (inside - 1.0) * net.up_step_s + (beyond - 1.0) * net.out_step_s
    # Whether a card is one chip is often one number, which then decides for all.
    seconds, steps = (
        arrays.where(split.moe_tp > 1.0, arrays.where(split.several, x, 0.0), 0.0) for x in (seconds, steps)
    )
    return Time(exposed_network=seconds, exposed_latency=steps, busy_network=seconds)


def gather_share(model, split):
    """Share of the tokens of all groups, each once, that a chip of a card gets from the other chips of it.

    v / ep ((1 - 1 / dp) - (1 - c / dp) / moe_tp), c = max(1, moe_tp / tp): v of ep cards are visited by a token; a chip
    holds those of its own group, and the exchange brings it 1 / moe_tp of those of other cards.
    """
    dp, own = arrays.maximum(split.dp, 1.0), arrays.maximum(split.moe_tp / split.tp, 1.0)
    lacks = (1.0 - 1.0 / dp) - (1.0 - own / dp) / split.moe_tp
    return visited(split.ep, model, split.ep * split.slots) / split.ep * arrays.maximum(lacks, 0.0)


# Share of the cores that a dispatch mode takes from the kernels it overlaps; None: it takes none.
def no_cores(point, causal):
    """Share of the cores that gathers and the low-latency modes take: None."""
    del point, causal


def some_cores(point, causal):
    """Share of the cores that the normal mode takes: `exchange_cores` of the chip x `exchange_share` of the engine."""
    del causal
    return point.hardware.exchange_cores * point.engine.exchange_share


def cores_in_prefill(point, causal):
    """Share of the cores that the automatic mode takes: that of `normal` in prefill with a library, None in decode."""
    return arrays.where(point.engine.library > 0, some_cores(point, causal), 0.0) if causal else None


# Whether a mode keeps buffers for the tokens of every expert, and so has a most number of tokens.
def never(point, causal):
    """Gathers and the normal mode keep no such buffers."""
    del point, causal
    return False


def always(point, causal):
    """The low-latency modes keep them, for models that have routed experts."""
    del causal
    return kinds.experts(point.model) > 0.0


def by_library(point, causal):
    """The automatic mode keeps them in decode, where the engine has a library."""
    return False if causal else always(point, causal) & (point.engine.library > 0)


class Exchange(NamedTuple):
    """A dispatch mode: how rows reach their experts, and the cores and memory that this takes."""

    send: Callable  # (point, split, Traffic, causal) -> (Time, Time, bytes re-ordered)
    cores: Callable  # (point, causal) -> share of the cores taken from what it overlaps; None: none
    buffers: Callable  # (point, causal) -> whether it keeps buffers for the tokens of every expert


MODES = {
    "auto": Exchange(automatic, cores_in_prefill, by_library),
    "low-latency": Exchange(low_latency, no_cores, always),
    "layered": Exchange(layered, no_cores, always),
    "normal": Exchange(normal, some_cores, never),
    "all-gather": Exchange(gathered, no_cores, never),
}


def cards_of_group(tp, moe_tp):
    """Cards whose chips hold the tokens of one group: max(1, tp / moe_tp)."""
    return arrays.maximum(tp / moe_tp, 1.0)


def sent_beyond(ep, moe_tp, domain, tp):
    """(whether rows go to other cards of the domain, to cards outside): there are cards beyond those of the group.

    Decided by products of whole numbers, as `spans_domains`.
    """
    own, spans = arrays.maximum(tp, moe_tp), spans_domains(ep, moe_tp, domain)
    beyond = ep * moe_tp > own
    return beyond & (~spans | (domain > own)), beyond & spans


def spans_domains(ep, moe_tp, domain):
    """Whether ep cards of moe_tp chips need more than one domain of `domain` chips: ep > 1 and ep moe_tp > domain.

    Products of whole numbers are exact, quotients are not: 1 - cards / ep may be 1e-17 where it is 0.
    """
    return (ep > 1.0) & (ep * moe_tp > domain)


def cards_of_domain(ep, moe_tp, domain):
    """Cards of experts in one scale-up domain: max(1, min(ep, domain / moe_tp)), ep exactly where one holds all."""
    return arrays.where(spans_domains(ep, moe_tp, domain), arrays.maximum(1.0, arrays.minimum(ep, domain / moe_tp)), ep)


def copy_per_expert(ep, moe_tp, domain, tp=1.0):
    """(inside the domain, outside) of the rows of a card that are sent, one copy per expert.

    e cards of a domain, h = max(1, tp / moe_tp) whose chips hold the tokens of a group: max(e - h, 0) / ep and
    1 - max(e, h) / ep. Either share is 0 exactly where nothing is sent: h = ep where one group has all tokens.
    """
    cards, held = cards_of_domain(ep, moe_tp, domain), cards_of_group(tp, moe_tp)
    within, leaves = sent_beyond(ep, moe_tp, domain, tp)
    outside = arrays.where(leaves, 1.0 - arrays.maximum(cards, held) / ep, 0.0)
    return arrays.where(within, (cards - held) / ep, 0.0), outside


def copy_per_domain(model, split, domain):
    """(inside the domain, outside) of the rows of a card that are sent, one copy of a token per domain it visits.

    Outside (D / k) (1 - 1 / q): D of the q = ep / e domains visited, one copy each but for its own. It arrives at the
    card of the same place in the domain, which forwards it to every card visited, C in all: inside (C / k) (1 - h / e),
    h cards whose chips hold the token already; h > e: none, and outside 1 - h / ep for 1 - 1 / q.
    """
    ep, moe_tp, held = split.ep, split.moe_tp, cards_of_group(split.tp, split.moe_tp)
    cards, slots, copies = cards_of_domain(ep, moe_tp, domain), ep * split.slots, layers.copies(model)
    within, leaves = sent_beyond(ep, moe_tp, domain, split.tp)
    inside = arrays.where(within, visited(ep, model, slots) / copies * (1.0 - held / cards), 0.0)
    spans = spans_domains(ep, moe_tp, domain)
    # q as a ratio of whole numbers: ep moe_tp chips of d a domain, or a card in each where none holds a whole one.
    fits_card = moe_tp <= domain
    parts = arrays.where(spans, arrays.where(fits_card, ep * moe_tp, ep), 1.0)
    of = arrays.where(spans & fits_card, domain, 1.0)
    own = arrays.maximum(of / parts, held / ep)
    outside = visited(parts, model, slots, of) / copies * (1.0 - own)
    return inside, arrays.where(leaves, outside, 0.0)


def all_to_all(share, shares, net, cores_bytes_per_s=0.0):
    """Dispatch or combine of the b = `share` bytes that one chip receives or sends.

    `shares` (f_in, f_out) of b stay inside the domain and leave it; U, O, t0, t1 of the links `net`: t0 [anything is
    sent] + t1 [f_out > 0] + max(f_in b / U, f_out b / O, (f_in + f_out) b / C), C = `cores_bytes_per_s` what the cores
    that copy can move (0: no limit), `partly_hidden` in t0 [s].
    """
    inside, outside = shares
    up, out = inside * share / net.up_bytes_per_s, outside * share / net.out_bytes_per_s
    limited = cores_bytes_per_s > 0.0
    copied = arrays.where(limited, (inside + outside) * share / arrays.where(limited, cores_bytes_per_s, 1.0), 0.0)
    sent = inside + outside > 0.0
    steps = arrays.where(sent, net.up_step_s, 0.0) + arrays.where(outside > 0.0, net.out_step_s, 0.0)
    seconds = arrays.maximum(arrays.maximum(up, out), copied)
    if net.hidden_s is not None:
        seconds, less = partly_hidden(seconds, net.hidden_s)
        steps = steps + arrays.where(sent, less, 0.0)
    return Time(exposed_network=seconds, exposed_latency=steps, busy_network=up + out)


def all_to_all_bytes(tokens, hidden_size, copies, element_bytes):
    """Bytes one chip sends in dispatch, or receives in combine: tokens x copies x H x b.

    `copies` = experts per token when one copy goes to every expert (low-latency mode). No share stays on the chip.
    Source: DeepEP, low-latency kernels.
    """
    return tokens * copies * hidden_size * element_bytes
