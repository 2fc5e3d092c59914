"""Time of collectives over two levels: a scale-up domain of some chips, and NICs between domains.

Equations: dsjax/MODEL.md, section 5. Volumes `n_bytes` [B], rates [B/s], numbers of chips [1], times [s].
"""

from .. import arrays
from ..specs.fields import record
from .roofline import Time


@record
class Links:
    """Bandwidth of one chip in one direction, utilisation included [B/s], and the fixed time of a step [s]."""

    up_bytes_per_s: float
    out_bytes_per_s: float
    up_step_s: float
    out_step_s: float
    domain: float  # chips of one scale-up domain
    peer_bytes_per_s: float | None = None  # of the link to one other chip of a mesh or torus; 0, None: a switch
    hidden_s: float | None = None  # part of an exchange's fixed time in which data moves already; None: none

    def inside(self, chips):
        """Bandwidth of one chip among `chips` of a domain: min(U, (g - 1) u), u of the link to one other chip."""
        if self.peer_bytes_per_s is None:
            return self.up_bytes_per_s
        return meshed(self.up_bytes_per_s, self.peer_bytes_per_s, chips)


def links(hardware, nic):
    """`Links` of a chip and its NIC: bandwidth x utilisation."""
    return Links(
        up_bytes_per_s=hardware.scale_up_bytes_per_s * hardware.scale_up_utilisation,
        out_bytes_per_s=nic.scale_out_bytes_per_s * nic.scale_out_utilisation,
        up_step_s=hardware.scale_up_step_s,
        out_step_s=nic.scale_out_step_s,
        domain=hardware.scale_up_domain,
        peer_bytes_per_s=hardware.scale_up_peer_bytes_per_s * hardware.scale_up_utilisation,
    )


def meshed(bytes_per_s, peer_bytes_per_s, chips):
    """Bandwidth of one chip among g = `chips` of a mesh: min(U, (g - 1) u) [B/s]; U where u = `peer_bytes_per_s` is 0.

    Every chip has a link of u to each other one, so that two of them share one link. One chip: that of two.
    """
    links_used = arrays.maximum(chips - 1.0, 1.0)
    limit = arrays.where(peer_bytes_per_s > 0.0, links_used * peer_bytes_per_s, bytes_per_s)
    return arrays.minimum(bytes_per_s, limit)


def bisected(bytes_per_s, dimensions, chips):
    """Bandwidth of one chip in an even all-to-all among g = `chips` of a torus: min(U, 4 U / (D g^(1 / D))) [B/s].

    U over the 2 D links of a chip, D = `dimensions` (0: no torus, U). Half of all bytes cross the middle of a cube of
    side n = g^(1 / D), which 2 n^(D - 1) links of U / (2 D) cross each way: g/4 b = 2 n^(D - 1) U / (2 D) t.
    """
    some = dimensions > 0.0
    d = arrays.where(some, dimensions, 1.0)
    limit = 4.0 * bytes_per_s / (d * chips ** (1.0 / d))
    return arrays.where(some, arrays.minimum(bytes_per_s, limit), bytes_per_s)


def all_gather(n_bytes, chips, net, spans=None):
    """Ring all-gather to b bytes on each of n chips, inside the domains and between them, one after the other.

    g = min(n, domain), q = n / g:  (g - 1) / g b / U + (g - 1) t_up + (q - 1) / q (b / g) / O + (q - 1) t_out [s].
    b = `n_bytes` [B], n = `chips` [1]; of the links `net`: U, O bandwidth inside and outside the domain [B/s], t_up,
    t_out time of one step [s]. `spans`: whether n > domain, where neither is a whole number. One chip: 0. Source:
    dsjax/MODEL.md, section 5.
    """
    inside = arrays.minimum(chips, net.domain)
    domains = arrays.where(chips > net.domain if spans is None else spans, chips / inside, 1.0)
    seconds = (inside - 1.0) / inside * n_bytes / net.inside(inside)
    seconds = seconds + (domains - 1.0) / domains * (n_bytes / inside) / net.out_bytes_per_s
    steps = (inside - 1.0) * net.up_step_s + (domains - 1.0) * net.out_step_s
    return Time(exposed_network=seconds, exposed_latency=steps, busy_network=seconds)


def reduce_scatter(n_bytes, chips, net, spans=None):
    """Ring reduce-scatter of `n_bytes` [B] on each of `chips` [1]: volume and steps are those of `all_gather`."""
    return all_gather(n_bytes, chips, net, spans)


def all_reduce(n_bytes, chips, net, start_s=0.0, rise_s=0.0, direct=0.0, peak_bytes_per_s=1.0, peer_bytes_per_s=None):
    """All-reduce of b = `n_bytes` [B] over n = `chips` [1]: reduce-scatter and all-gather, or direct if sooner [s].

    t0 [n > 1] + min(ring, everything) with t0 = `start_s`: ring = 2 (reduce-scatter) + sqrt(t2 v), v = 2 (g - 1) / g b
    / U the time of a ring inside the domain at peak U = `peak_bytes_per_s`, t2 = `rise_s`; everything = (n - 1) b /
    (U u1), every chip to all others at once, u1 = `direct` [1], inside one domain (0: never). Half of the root is
    network, half latency: it grows with the root of either.
    """
    ring = reduce_scatter(n_bytes, chips, net) + all_gather(n_bytes, chips, net)
    inside = arrays.minimum(chips, net.domain)
    if peer_bytes_per_s is not None:
        peak_bytes_per_s = meshed(peak_bytes_per_s, peer_bytes_per_s, inside)
    under = rise_s * 2.0 * (inside - 1.0) / inside * n_bytes / peak_bytes_per_s
    rise = arrays.where(under > 0.0, arrays.sqrt(arrays.where(under > 0.0, under, 1.0)), 0.0)
    ring = ring + Time(exposed_network=0.5 * rise, exposed_latency=0.5 * rise, busy_network=rise)
    may = (direct > 0.0) & (chips <= net.domain)
    everything = (chips - 1.0) * n_bytes / (peak_bytes_per_s * arrays.where(may, direct, 1.0))
    sooner = may & (everything < ring.total)
    network, busy = (arrays.where(sooner, everything, x) for x in (ring.exposed_network, ring.busy_network))
    latency = arrays.where(sooner, 0.0, ring.exposed_latency) + arrays.where(chips > 1.0, start_s, 0.0)
    return Time(exposed_network=network, exposed_latency=latency, busy_network=busy)


def send(n_bytes, chips, total, net):
    """A tensor of b = `n_bytes` [B] from the group of one pipeline stage to that of the next, n = `chips` each [s].

    Each chip sends its share to one of the next stage, b / n over U or, where the `total` chips of the instance are
    more than a domain, over O; then the share is gathered there: t_L + b / (n L) + `all_gather`.
    """
    within = total <= net.domain
    bandwidth = arrays.where(within, net.inside(2.0), net.out_bytes_per_s)
    seconds = n_bytes / (chips * bandwidth)
    step = arrays.where(within, net.up_step_s, net.out_step_s)
    return Time(exposed_network=seconds, exposed_latency=step, busy_network=seconds) + all_gather(n_bytes, chips, net)


def partly_hidden(seconds, hidden_s):
    """(network, latency) [s] that a transfer of v s adds when data already moves in the last h s of its fixed time.

    The sum is r - h with r = sqrt(h^2 + v^2): about 0 below h, v - h far above it. Network is its slope d / d ln v, v^2
    / r; latency its slope d / d ln h, h^2 / r - h <= 0. `seconds` v, `hidden_s` h. dsjax/MODEL.md, section 5.
    """
    some = hidden_s > 0.0
    h = arrays.where(some, hidden_s, 1.0)
    r = arrays.sqrt(h * h + seconds * seconds)
    return arrays.where(some, seconds * seconds / r, seconds), arrays.where(some, h * h / r - h, 0.0)
