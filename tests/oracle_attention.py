"""Section 3 of dsjax/MODEL.md, and attention of section 4, in plain Python, for `oracle_layers`: the core, the indexer.

`s` holds the symbols of a point, `z` the sizes of a pass; z.S is the context of the busiest group. `kernel(s, flops,
bytes, peak, e_c, e_m, start)` gives the cost of a kernel.
"""

import functools


def knot(s, sparse, name):
    """The knot of the kernel that runs, 0 where it has none of that name."""
    kind = "sparse" if sparse else ("attention" if s.decode else "") if s.mla else "gqa"
    kind = kind if s.decode else "_".join(filter(None, (kind, "prefill")))
    for variant in ("8" if s.eight else "_cast" if s.cast else "", ""):
        if hasattr(s.curve, f"{kind}{variant}_{name}"):
            return getattr(s.curve, f"{kind}{variant}_{name}")
    return 0


def picks(s, z):
    """Whether an indexer picks some of the positions."""
    return s.mla and 0 < s.k_i < z.S


def core_at(s, z, P, kernel):
    """Of a layer whose tokens attend to P positions."""
    sparse = s.mla and s.k_i > 0 if s.decode else picks(s, z)
    if s.decode:
        flops = 2 * z.T * s.hd * P * (s.query + s.result)
        cached = (z.T if sparse else z.B) * P / s.c  # positions read on this chip
    else:
        flops = 2 * z.B * s.hd * (P * s.S - P**2 / 2) * (2 * s.R_kv + s.D_r if sparse else s.D_qk + s.D_v)
        cached = z.T / s.c
    moved = cached * s.y
    e_c, e_m, start = decode_shares(s, z, P, moved, sparse) if s.decode else prefill_shares(s, z, P, sparse)
    return kernel(s, flops, moved + z.X * s.b_a, s.P_a, e_c, e_m, start)


def decode_shares(s, z, P, moved, sparse):
    k, x = functools.partial(knot, s, sparse), P / s.c
    keys = 1 if s.mla else s.hd_kv
    n, r = z.T / z.B * s.c * s.hd / keys, z.X * s.b_a / moved
    e_c = k("compute") / (1 + k("rows") / x) * min(1, n / k("tile") if k("tile") else 1)
    joined = k("split_s") / (1 + k("split_tokens") / x + z.B * keys / 128)
    return e_c, k("memory") / (1 + k("rows") / (x * (1 + r))), k("start_s") + joined


def prefill_shares(s, z, P, sparse):
    k = functools.partial(knot, s, sparse)
    e_c = k("compute") / (1 + k("rows") / (2 * P - P**2 / s.S) + k("fill") / (z.T * s.hd))
    e_c = e_c / (1 + k("softmax") / (s.D_qk + s.D_v)) * min(1, s.hd / k("tile") if k("tile") else 1)
    if sparse:
        e_c *= (P * s.S - P**2 / 2) / (P * s.S)
    return e_c, k("memory") / (1 + k("short") / s.S), k("start_s")


def core(s, z, kernel):
    """The mean of the layers with a window and of the others."""
    elsewhere = core_at(s, z, min(z.S, s.k_i) if s.k_i > 0 else z.S, kernel)
    if s.L_s == 0:
        return elsewhere
    return (s.L - s.L_s) / s.L * elsewhere + s.L_s / s.L * core_at(s, z, min(z.S, s.W), kernel)


def index_scores(s, z, kernel):
    """Every position against every token, and the selection of the best scores."""
    queries, k, positions = z.T_s * s.h_i * s.D_i, s.curve, z.S / s.c if s.decode else z.S / 2
    if s.decode:
        moved = z.B * positions * s.key + queries * s.b_a
        found = kernel(s, 2 * queries * positions, moved, s.P_i, k.index_compute, k.index_memory, k.index_start_s)
    else:
        e_c = k.index_prefill_compute / (1 + k.index_prefill_rows / s.S)
        moved = z.B * s.S * s.key + queries * s.b_a
        starts = k.index_prefill_memory, k.index_prefill_start_s
        found = kernel(s, 2 * queries * positions, moved, s.P_i, e_c, *starts)
    if picks(s, z):
        e_m = k.select_memory / (1 + k.select_rows / z.T_s) / (1 + k.select_short / positions)
        found = found + kernel(s, 0, 4 * z.T_s * positions, s.P_i, 1, e_m, k.select_start_s)
    return found
