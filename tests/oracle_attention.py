"""Section 3 of dsjax/MODEL.md, and attention of section 4, in plain Python, for `oracle_layers`: the core, the indexer.

`s` holds the symbols of a point, `z` the sizes of a pass; z.S is the context of the busiest group. `kernel(s, flops,
bytes, peak, e_c, e_m, start)` gives the cost of a kernel.
"""

import functools


def knot(s, kind, name):
    """The knot of the kernel that runs, 0 where it has none of that name."""
    if kind in ("dense", "picked"):
        kind = ("attention" if s.decode else "") if s.mla else "gqa"
    kind = kind if s.decode else "_".join(filter(None, (kind, "prefill")))
    for variant in ("8" if s.eight else "_cast" if s.cast else "", ""):
        if hasattr(s.curve, f"{kind}{variant}_{name}"):
            return getattr(s.curve, f"{kind}{variant}_{name}")
    return 0


def picks(s, z):
    """Whether an indexer picks some of the positions (of the compressed ones, where they are)."""
    return 0 < s.k_i < (z.S / s.joined if s.compressed else z.S)


def runs(s, z):
    """The kernels of attention of layers with an indexer and of those with a window."""
    if s.compressed:
        return "compressed"
    if not s.mla:
        return "dense" if s.k_i == 0 else "picked" if s.decode or s.block == 0 else "block"
    return "sparse" if (s.k_i > 0 if s.decode else picks(s, z)) else "dense"


def around(s, z, kind):
    """Elements that the core reads as activations and writes."""
    if s.decode:
        return z.T * s.c * s.hd * (s.query + s.result)
    if not s.mla:
        return z.T * (s.hd + s.hd_kv) * (s.D_qk + s.D_v)
    if absorbed(s, kind):
        return z.T * (s.hd * (s.query + s.result) + s.R_kv + s.D_r)
    return z.T * (s.hd * (2 * s.D_n + s.D_r + 2 * s.D_v) + s.D_r)


def absorbed(s, kind):
    """Whether prompts run so too."""
    return s.mla and (kind in ("sparse", "compressed") or s.v > 0)


def core_at(s, z, kind, P, pairs, kernel):
    """Of a layer whose tokens attend to P positions, in prefill to so many pairs of a sequence."""
    gathered = kind in ("sparse", "compressed", "picked")
    if s.decode:
        flops = 2 * z.T * s.hd * P * (s.query + s.result)
        cached = (z.T if gathered else z.B) * P / s.c  # positions read on this chip
    else:
        width = s.query + s.result if absorbed(s, kind) else s.D_qk + s.D_v
        flops, cached = 2 * z.B * s.hd * pairs * width, z.T / s.c
    moved, rest = cached * s.y, around(s, z, kind) * s.b_a
    shares = decode_shares(s, z, P, rest / moved, kind) if s.decode else prefill_shares(s, z, P, pairs, kind)
    return kernel(s, flops, moved + rest, s.P_a, *shares)


def decode_shares(s, z, P, r, kind):
    k, x = functools.partial(knot, s, kind), P / s.c
    keys = 1 if s.mla else s.hd_kv
    n = z.T / z.B * s.c * s.hd / keys
    e_c = k("compute") / (1 + k("rows") / x) * min(1, n / k("tile") if k("tile") else 1)
    joined = k("split_s") / (1 + k("split_tokens") / x + z.B * keys / 128) if k("split_s") else 0
    return e_c, k("memory") / (1 + k("rows") / (x * (1 + r))), k("start_s") + joined


def prefill_shares(s, z, P, pairs, kind):
    k = functools.partial(knot, s, kind)
    mean = pairs / s.S  # positions, or entries, of a token
    if kind == "block":
        return k("compute") / (1 + k("rows") / mean), 1, k("start_s")
    x = mean if kind == "compressed" else 2 * mean
    e_c = k("compute") / (1 + k("rows") / x + k("fill") / (z.T * s.hd))
    e_c = e_c / (1 + k("softmax") / (s.D_qk + s.D_v)) * min(1, s.hd / k("tile") if k("tile") else 1)
    if kind == "sparse":
        e_c *= pairs / (P * s.S)
    return e_c, k("memory") / (1 + k("short") / s.S), k("start_s")


def of_positions(s, z, kind, P, kernel):
    return core_at(s, z, kind, P, P * s.S - P**2 / 2, kernel)


def in_window(s, z, kernel):
    kind = runs(s, z)
    if s.chunked and z.S > s.W:
        return core_at(s, z, kind, s.W / 2, s.S * s.W / 2, kernel)
    return of_positions(s, z, kind, min(z.S, s.W), kernel)


def compressed_core(s, z, layers, kernel):
    """The mean of the three kinds."""
    window = min(z.S, s.W)
    w = window / z.S
    counts = {"csa": s.L_4, "hca": s.L_h, "none": layers - s.L_4 - s.L_h}
    total = 0
    for kind, count in counts.items():
        if count == 0:
            continue
        P, part = window, w * (2 - w)
        if kind == "csa":
            x = min(z.S, s.k_i * s.r_4) / z.S
            P, part = P + min(z.S / s.r_4, s.k_i), part + x * (2 - x) / s.r_4
        elif kind == "hca":
            P, part = P + z.S / s.r_h, part + 1 / s.r_h
        total = total + count / layers * core_at(s, z, "compressed", P, part * z.S**2 / 2, kernel)
    return total


def core(s, z, kernel):
    """The mean of the layers that have these sizes."""
    if s.compressed:
        return compressed_core(s, z, s.L_A, kernel)
    windows = 0 if s.L_w > 0 else s.L_s
    layers = max(s.L_A - s.L_w, 1)  # of none that of a draft
    mean = 0
    if layers - windows - s.L_u > 0:
        P = min(z.S, s.k_i) if s.k_i > 0 else z.S
        mean = (layers - windows - s.L_u) / layers * of_positions(s, z, runs(s, z), P, kernel)
    if s.L_u > 0:
        mean = mean + s.L_u / layers * of_positions(s, z, "dense", z.S, kernel)
    return mean + windows / layers * in_window(s, z, kernel) if windows > 0 else mean


def index_scores(s, z, kernel):
    """Every key against every token, and the selection of the best scores."""
    S, k, queries = z.S / s.joined, s.curve, z.T_s * s.h_i * s.D_i
    positions = S / s.c if s.decode else S / 2
    if s.decode:
        moved = z.B * positions * s.key + queries * s.b_a
        found = kernel(s, 2 * queries * positions, moved, s.P_i, k.index_compute, k.index_memory, k.index_start_s)
    else:
        moved, flops = z.B * S * s.key + queries * s.b_a, 2 * queries * positions
        if s.mla:
            e_c = k.index_prefill_compute / (1 + k.index_prefill_rows / S)
            found = kernel(s, flops, moved, s.P_i, e_c, k.index_prefill_memory, k.index_prefill_start_s)
        else:
            found = kernel(s, flops, moved, s.P_i, k.block_index_compute, 1, 0)
    if picks(s, z):
        scores = positions / (s.block if s.block > 0 else 1)
        e_m = k.select_memory / (1 + k.select_rows / z.T_s) / (1 + k.select_short / scores)
        found = found + kernel(s, 0, 4 * z.T_s * scores, s.P_i, 1, e_m, k.select_start_s)
    return found
