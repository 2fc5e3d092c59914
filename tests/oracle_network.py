"""Section 5 of dsjax/MODEL.md in plain Python, for `oracle_core`: bandwidths, collectives, dispatch and combine.

`s` holds the symbols of a point (`oracle_core.setting`), `z` the sizes of a pass (`oracle_core.sizes`).
"""

import math


def bandwidth(s, g, torus=False):
    """Among g chips of a domain, without utilisation; `torus`: of an even all-to-all."""
    linked, one = s.hw.scale_up_bytes_per_s, s.hw.scale_up_peer_bytes_per_s
    if one > 0:
        linked = min(linked, max(g - 1, 1) * one)
    dimensions = s.hw.scale_up_torus
    if torus and dimensions > 0:
        linked = min(linked, 4 * linked / (dimensions * g ** (1 / dimensions)))
    return linked


def U(s, g):
    return bandwidth(s, g) * s.hw.scale_up_utilisation


def gather(s, b, chips, places):
    """(moving, steps) of an all-gather to b bytes or a reduce-scatter of b bytes, `places` of the chips in a domain."""
    g = min(chips, places)
    n = chips / g
    moving = (g - 1) / g * b / U(s, g) + (n - 1) / n * (b / g) / s.O
    return moving, (g - 1) * s.t_up + (n - 1) * s.t_out


def all_reduce(s, z):
    if s.tp == 1:
        return 0.0
    b, g = z.T * s.H * s.b_a, min(s.tp, s.d)
    moving, steps = gather(s, b, s.tp, s.d)
    rise = math.sqrt(s.hw.all_reduce_rise_s * 2 * (g - 1) / g * b / bandwidth(s, g))
    seconds = 2 * moving + 2 * steps + rise
    if s.hw.all_reduce_direct > 0 and s.tp <= s.d:
        seconds = min(seconds, (s.tp - 1) * b / (bandwidth(s, g) * s.hw.all_reduce_direct))
    return s.hw.all_reduce_start_s + seconds


def kv_exchange(s, z):
    """Queries gathered before the core of decode, its results scattered after it; prefill exchanges nothing."""
    if not s.decode or s.c == 1:
        return 0.0
    elements = z.T * s.c * s.hd
    queries, results = (gather(s, elements * width * s.b_a, s.c, s.d) for width in (s.query, s.result))
    return 2 * s.hw.all_reduce_start_s + sum(queries) + sum(results)


def send(s, z):
    """From one stage of a pipeline of layers to the next."""
    b = z.T * s.H * s.b_a
    link, step = (U(s, 2), s.t_up) if s.N <= s.d else (s.O, s.t_out)
    return b / (s.tp * link) + step + sum(gather(s, b, s.tp, s.d))


def visited(s, p, whole_groups):
    """n(p): parts, of p equal ones, that the experts of a token lie in; `whole_groups`: p >= G_n."""
    M, near = s.ep * s.slots, s.top_groups / s.groups

    def within(parts):
        return parts * near * (1 - max(0, 1 - (1 / parts) / (near - (s.k - 1) / (2 * M))) ** s.k)

    hit = within(s.groups)
    across = p * (1 - max(0, 1 - (s.groups / p) / (s.groups - (hit - 1) / 2)) ** hit)
    return min(s.k, p, within(p) if whole_groups else across)


def cards(s):
    """(e, q, h) of dispatch: cards of a domain, domains, cards that hold the tokens of a group anyhow."""
    e = max(1, min(s.ep, s.d / s.moe_tp))
    return e, s.ep / e, max(1, s.tp / s.moe_tp)


def shares(s, mode, combining):
    """(f_in, f_out), parts of the rows of a card that are sent inside a domain and between domains."""
    e, q, h = cards(s)
    leaves = s.ep > h and s.moe_tp * s.ep > s.d
    if mode == "normal" or (mode == "layered" and not combining):
        f_in = visited(s, s.ep, s.ep >= s.groups) / s.k * max(1 - h / e, 0)
        # q = ep / e as a quotient of products: of the cards of a domain there is at least one.
        of_groups = s.ep >= s.groups * e if e in (1, s.ep) else s.ep * s.moe_tp >= s.groups * s.d
        return f_in, visited(s, q, of_groups) / s.k * (1 - max(1 / q, h / s.ep)) if leaves else 0
    return max(e - h, 0) / s.ep, 1 - max(e, h) / s.ep if leaves else 0


def inside_card(s, z, b_x):
    """(moving, steps) of the gather among the chips of a card, each token once."""
    dp = max(1, s.dp)
    if s.moe_tp == 1 or dp == 1:
        return 0.0, 0.0
    own = max(1, s.moe_tp / s.tp) / dp
    w = visited(s, s.ep, s.ep >= s.groups) / s.ep * max(0, (1 - 1 / dp) - (1 - own) / s.moe_tp)
    i = min(s.moe_tp, s.d)
    j = max(1, s.moe_tp / i)
    moving = w * z.A * s.H_x * b_x * (1 / U(s, i) + (j - 1) / j / i / s.O)
    return moving, (i - 1) * s.t_up + (j - 1) * s.t_out


def exchange(s, z, mode, combining):
    """(seconds, fixed) of a dispatch or a combine; `fixed`, a part of the seconds, is its absolute times."""
    hw, b_x = s.hw, s.b_c if combining else s.b_d
    if mode == "all-gather":
        dp = max(1, s.dp)
        moving, steps = gather(s, z.A * s.H_x * b_x, dp, max(1, s.d / s.tp))
        fixed = steps + (hw.all_reduce_start_s if dp > 1 else 0)
        return moving + fixed, fixed
    if mode == "normal":
        u, start, hidden = hw.normal_utilisation, hw.normal_start_s, 0.0
    elif combining:
        u, start, hidden = hw.combine_utilisation, hw.combine_start_s, hw.combine_hidden_s
    else:
        u, start, hidden = hw.exchange_utilisation, hw.exchange_start_s, hw.exchange_hidden_s
    f_in, f_out = shares(s, mode, combining)
    moving, fixed = inside_card(s, z, b_x)
    if f_in + f_out > 0:
        b = z.R * s.H_x * b_x / s.moe_tp
        inside = bandwidth(s, min(s.moe_tp * s.ep, s.d), torus=True) * u
        v = max(f_in * b / inside, f_out * b / (s.net.scale_out_bytes_per_s * s.net.exchange_utilisation))
        copied = hw.exchange_cores * hw.exchange_cores_bytes_per_s if mode == "normal" else 0
        if copied > 0:
            v = max(v, (f_in + f_out) * b / copied)
        data = v**2 / math.hypot(hidden, v)  # the rest of the root counts as latency
        fixed += start + (s.net.exchange_start_s if f_out > 0 else 0) + math.hypot(hidden, v) - hidden - data
        moving += data
    return moving + fixed, fixed
