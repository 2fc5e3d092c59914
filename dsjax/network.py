"""Time of collectives over two levels: a scale-up domain of some chips, and NICs between domains."""

import jax.numpy as jnp

from .roofline import Time
from .specs import record


@record
class Links:
    """What one chip reaches, one way, utilisation included."""

    up_bytes_per_s: float
    out_bytes_per_s: float
    up_step_s: float
    out_step_s: float
    domain: float  # chips of one scale-up domain


def links(hardware, nic):
    """`Links` of a chip and its NIC: bandwidth x utilisation."""
    return Links(
        up_bytes_per_s=hardware.scale_up_bytes_per_s * hardware.scale_up_utilisation,
        out_bytes_per_s=nic.scale_out_bytes_per_s * nic.scale_out_utilisation,
        up_step_s=hardware.scale_up_step_s,
        out_step_s=nic.scale_out_step_s,
        domain=hardware.scale_up_domain,
    )


def all_gather(n_bytes, chips, net):
    """Ring all-gather to b bytes on each of n chips, inside the domains and between them, one after the other.

    g = min(n, domain), q = n / g:  (g - 1) / g b / U + (g - 1) t_up + (q - 1) / q (b / g) / O + (q - 1) t_out [s].
    U, O bandwidth inside and outside the domain, t_up, t_out time of one step. One chip: 0.
    """
    inside = jnp.minimum(chips, net.domain)
    domains = chips / inside
    seconds = (inside - 1.0) / inside * n_bytes / net.up_bytes_per_s
    seconds += (domains - 1.0) / domains * (n_bytes / inside) / net.out_bytes_per_s
    steps = (inside - 1.0) * net.up_step_s + (domains - 1.0) * net.out_step_s
    return Time(exposed_network=seconds, exposed_latency=steps, busy_network=seconds)


def reduce_scatter(n_bytes, chips, net):
    """Ring reduce-scatter of b bytes on each of n chips: the volume and the steps of an all-gather, the other way."""
    return all_gather(n_bytes, chips, net)


def all_reduce(n_bytes, chips, net):
    """Ring all-reduce of b bytes over n chips: a reduce-scatter and an all-gather."""
    return reduce_scatter(n_bytes, chips, net) + all_gather(n_bytes, chips, net)


def all_to_all(n_bytes, ep, moe_tp, net):
    """Dispatch or combine of the b bytes one card receives or sends, a share of them on each of its moe_tp chips.

    e = max(1, min(ep, domain / moe_tp)) cards of the domain, f_in = (e - 1) / ep, f_out = 1 - e / ep; 1 / ep stays.
    max(f_in b' / U, f_out b' / O) + [f_in > 0] t_up + [f_out > 0] t_out, b' = b / moe_tp, and an all-gather inside
    the card: (moe_tp - 1) (b' / U + t_up) [s].
    """
    share = n_bytes / moe_tp
    cards = jnp.maximum(1.0, jnp.minimum(ep, net.domain / moe_tp))
    inside, outside = (cards - 1.0) / ep, 1.0 - cards / ep
    up, out = inside * share / net.up_bytes_per_s, outside * share / net.out_bytes_per_s
    gather = (moe_tp - 1.0) * share / net.up_bytes_per_s
    steps = jnp.where(inside > 0.0, net.up_step_s, 0.0) + jnp.where(outside > 0.0, net.out_step_s, 0.0)
    steps = steps + (moe_tp - 1.0) * net.up_step_s
    seconds = jnp.maximum(up, out) + gather
    return Time(exposed_network=seconds, exposed_latency=steps, busy_network=up + out + gather)


def fits(split, domain):
    """Whether groups and cards fit into scale-up domains: tp, moe_tp <= d; beyond one domain d | N, moe_tp | d."""
    tp, moe_tp, chips, domain = (
        jnp.asarray(jnp.round(x), jnp.int32) for x in (split.tp, split.moe_tp, split.chips, domain)
    )
    whole = (chips % domain == 0) & (domain % moe_tp == 0)
    return (tp <= domain) & (moe_tp <= domain) & ((chips <= domain) | whole)
