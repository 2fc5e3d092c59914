"""Section 3.1 of dsjax/MODEL.md in plain Python, for `oracle_core`: kinds of layer, what they compute and keep.

`s` holds the symbols of a point, `z` the sizes of a pass. All fields of a model of one kind are 0, and nothing changes.
`tools` are `kernel`, `gemm` and `pointwise` of `oracle_layers`.
"""

import copy
from types import SimpleNamespace

import numpy as np

# Operators of the two parts of attention, by what layers have them (`shares`).
ROWS = ("q_a", "kv_a", "q_b", "absorb_k", "kv_b", "gate", "positions")
BEFORE = {"norm": ("norm", "attention_mix"), "plain": ROWS, "window": tuple(f"sliding_{name}" for name in ROWS)}
BEFORE |= {"indexer": ("indexer",), "compress": ("compress",), "compress_more": ("compress_more",)}
BEFORE |= {"linear": ("linear_in", "linear_gate_a", "linear_gate_b", "linear_conv")}
ROWS = ("core", "kv_exchange", "absorb_v", "o_a", "o")
AFTER = {"plain": ROWS, "window": tuple(f"sliding_{name}" for name in ROWS)}
AFTER |= {"linear": ("linear_core", "linear_norm", "linear_out")}

GATED, CHANNEL_GATED, STATE_SPACE, DECAY = range(4)  # `linear_rule`


def read(s, m):
    """The symbols of section 3.1, and what they change in those of section 1."""
    s.L_0, s.L_f, s.L_b = m.attention_free_layers, m.ffn_free_layers, m.dense_beside_layers
    s.gates = 2 - m.ungated  # columns of gate_up, in widths of an FFN
    s.H_x = m.expert_hidden_size or s.H  # at which experts read and write
    s.columns = s.E + m.zero_experts  # of the router
    s.k = s.k * s.E / s.columns
    s.gate, s.v, s.L_u, s.chunked = m.attention_gate, m.key_is_value, m.unpicked_layers, m.sliding_chunked
    s.own = SimpleNamespace(
        h=m.sliding_heads, h_kv=m.sliding_key_value_heads, D_qk=m.sliding_head_dim, D_v=m.sliding_v_head_dim,
        v=m.sliding_key_is_value,
    )  # fmt: skip
    s.L_w = s.L_s if s.own.D_qk > 0 else 0  # layers with a window and sizes of their own
    s.L_4, s.r_4, s.L_h, s.r_h = m.csa_layers, m.csa_ratio, m.hca_layers, m.hca_ratio
    s.compressed = s.L_4 + s.L_h > 0
    s.block, s.joined = m.index_block, max(m.index_pool, 1)  # positions of one index key
    if s.L_4 > 0:
        s.L_i, s.joined = s.L_4, s.r_4
    s.g_o, s.o_rank, s.n = m.o_groups, m.o_lora_rank, m.residual_streams
    s.L_l, s.rule, s.n_l, s.n_k = m.linear_layers, m.linear_rule, m.linear_heads, m.linear_key_heads
    s.D_k, s.D_w, s.C, s.e = m.linear_key_dim, m.linear_value_dim, m.linear_columns, m.linear_conv
    s.g, s.r, s.X, s.c_l = m.linear_gates, m.linear_gate_rank, m.linear_conv_channels, m.linear_chunk
    s.b_S, s.vectors, s.vision = m.linear_state_bytes, m.vector_parameters, m.vision_parameters
    s.L_A = s.L - s.L_0 - s.L_l
    s.L_m = s.L - s.L_d - s.L_f
    if s.mla and s.v:  # the latent is the value
        s.D_v = s.R_kv + s.D_r


def with_window(s):
    """The symbols as the rows `sliding_*` have them."""
    w = copy.copy(s)
    w.mla, w.R_q, w.R_kv, w.k_i, w.h_i, w.g_o = False, 0, 0, 0, 0, 0
    w.L_A, w.L_s, w.L_w, w.L_u, w.compressed = s.L_w, s.L_w, 0, 0, False
    w.h, w.h_kv, w.D_qk, w.D_v, w.v = s.own.h, s.own.h_kv, s.own.D_qk, s.own.D_v, s.own.v
    w.hd, w.hd_kv = w.h / s.tp, max(1, w.h_kv / s.tp)
    w.query, w.result = w.D_qk, w.D_v
    w.y = w.hd_kv * (w.D_qk + w.D_v) * s.b_kv
    return w


def shares(s, draft=False):
    """{kind: share of the layers}; of the layer of a draft, which has attention without a window of its own sizes.

    `norm`: norm, mixing and all-reduce of attention; `plain`: attention of the sizes of section 1.
    """
    if draft:
        each = max(s.L_A, 1)
        counts = {"norm": each, "plain": each, "indexer": each}
        counts |= dict.fromkeys(("window", "linear", "compress", "compress_more"), 0)
    else:
        each = s.L
        counts = {"norm": s.L - s.L_0, "plain": s.L_A - s.L_w, "indexer": s.L_i, "window": s.L_w, "linear": s.L_l}
        counts |= {"compress": s.L_4, "compress_more": s.L_h}
    return SimpleNamespace(**{kind: count / each for kind, count in counts.items()})


def output_operand(s, z, draft):
    """Elements that o and its like read, of a layer with an FFN in the mean."""
    plain = z.T * s.hd * s.D_v
    if draft:
        return plain
    read = (s.L_A - s.L_w) * plain + s.L_l * z.T * s.n_l * s.D_w / s.tp
    if s.L_w > 0:
        read += s.L_w * z.T * s.own.h / s.tp * s.own.D_v
    return read / (s.L - s.L_f) if s.L > s.L_f else 0.0


def operators(s, z, o, tools):
    """What section 3.1 adds to the operators of a layer."""
    gemm, pointwise = tools.gemm, tools.pointwise
    if s.compressed:
        o["compress"] = gemm(s, (1, z.T_s, s.H, 4 * (s.R_kv + s.D_r)), "w")
        o["compress_more"] = gemm(s, (1, z.T_s, s.H, 2 * (s.R_kv + s.D_r)), "w")
    if s.H_x != s.H:
        o["latent_down"] = gemm(s, (1, z.T_s, s.H, s.H_x), "s")
        o["latent_up"] = gemm(s, (1, z.T_s, s.H_x, s.H), "s")
    if s.n > 0:
        o["attention_mix"] = o["ffn_mix"] = mix(s, z, tools)
    if s.L_l > 0:
        linear(s, z, o, gemm, pointwise, tools.kernel)


def mix(s, z, tools):
    """Hyper-connections around attention or the FFN: two kernels that read and write the streams."""
    moved = (2 * s.n + 1) * z.T_s * s.H * s.b_a
    pre = tools.kernel(s, 0, moved, s.P_b, 1, s.curve.mixing_pre_memory, s.curve.mixing_pre_start_s)
    return pre + tools.kernel(s, 0, moved, s.P_b, 1, s.curve.mixing_post_memory, s.curve.mixing_post_start_s)


def linear(s, z, o, gemm, pointwise, kernel):
    values = s.n_l * s.D_w / s.tp
    o["linear_in"] = gemm(s, (1, z.T, s.H, s.C / s.tp), "w")
    if s.g > 0:
        o["linear_gate_a"] = gemm(s, (1, z.T_s, s.H, s.g * s.r), "w")
        o["linear_gate_b"] = gemm(s, (s.g, z.T, s.r, values), "w")
    if s.e > 0:
        moved = 2 * (z.T + z.B * (s.e - 1)) * s.X / s.tp * s.b_a
        o["linear_conv"] = kernel(s, 0, moved, s.P_b, 1, s.curve.convolution_memory, s.curve.convolution_start_s)
    o["linear_core"] = linear_core(s, z, kernel)
    o["linear_norm"] = pointwise(s, 3 * z.T * values * s.b_a, 1)
    o["linear_out"] = gemm(s, (1, z.T, values, s.H), "w")


def linear_around(s, z):
    """Elements that the core of a linear layer reads as activations and writes."""
    return z.T * (2 * max(1, s.n_k / s.tp) * s.D_k + 2 * s.n_l / s.tp * s.D_w)


def linear_core(s, z, kernel):
    n_l, n_k, k = s.n_l / s.tp, max(1, s.n_k / s.tp), s.curve
    state, delta = n_l * s.D_k * s.D_w, s.rule in (GATED, CHANNEL_GATED)
    moved = linear_around(s, z) * s.b_a
    if s.decode:
        moved += z.B * (1 + z.T / z.B) * state * s.b_S
        return kernel(s, (6 if delta else 4) * z.T * state, moved, s.P_b, 1, k.recurrent_memory, k.recurrent_start_s)
    inside = n_l * (3 * s.D_k + 2 * s.D_w) if delta else n_k * s.D_k + n_l * s.D_w
    flops = z.T * (s.c_l * inside + (6 if delta else 4) * state)
    name = {GATED: "scan", CHANNEL_GATED: "channel_scan"}.get(s.rule, "state_scan")
    compute, rows, start, depth, loss = (
        getattr(k, f"{name}_{knot}") for knot in ("compute", "rows", "start_s", "depth_s", "loss")
    )
    moved += 2 * z.B * state * s.b_S
    return kernel(s, flops, moved, s.P_b, compute / (1 + rows / s.S), 1, start, loss, s.S * depth)


# Section 8


def weights(s):
    """Bytes of attention of one layer of the sizes of `s` on a chip, without the norm before it."""
    made = 0 if s.v else s.D_v  # of a head of keys and values
    out = s.h * s.D_v * s.H
    if s.g_o > 0:
        out = s.h * s.D_v * s.o_rank + s.g_o * s.o_rank * s.H
    queries = s.h * s.D_qk * (s.R_q if s.mla and s.R_q else s.H)
    bytes_ = (queries + out + s.gate * s.H * s.h * s.D_v) / s.tp * s.b_w
    if s.mla:
        bytes_ += s.H * (s.R_q + s.R_kv + s.D_r) * s.b_w
        absorbed = s.b_u if s.decode else s.b_w
        bytes_ += 0 if s.v else s.R_kv * s.h * (s.D_n + s.D_v) / s.tp * absorbed
    else:
        bytes_ += s.H * s.hd_kv * (s.D_qk + made) * s.b_w
    biases = s.q_b * (s.h * s.D_qk + s.h_kv * (s.D_qk + made)) + s.o_b * s.H + s.a_s * s.h
    return bytes_ + (s.R_q + s.R_kv + 2 * s.q_n * s.D_qk + biases / s.tp) * s.b_w


def key_columns(s):
    """Columns of index_k: keys, gates of keys that positions share, weights of the heads."""
    keys = 4 if s.L_4 > 0 else 2 if s.joined > 1 else 1
    return keys * s.D_i + (s.h_i if s.mla else 0)


def indexer_weights(s):
    of_positions = 2 * s.r_4 if s.L_4 > 0 else s.joined if s.joined > 1 else 0
    queries = (s.R_q if s.mla and s.R_q else s.H) * s.h_i * s.D_i
    return (queries + s.H * key_columns(s) + 2 * s.D_i + of_positions * s.D_i) * s.b_w


def linear_weights(s):
    projections = s.H * s.C / s.tp + s.H * s.g * s.r + (s.g * s.r + s.H) * s.n_l * s.D_w / s.tp
    return (projections + s.e * s.X / s.tp) * s.b_w


def stored(s, draft=False):
    """Bytes of attention and what stands for it, of a layer in the mean, with the norms before it and the FFN."""
    share = shares(s, draft)
    entry = s.R_kv + s.D_r
    ffn = 1 if draft else (s.L - s.L_f) / s.L
    found = share.plain * weights(s) + (share.norm + ffn) * s.H * s.b_w
    if s.L_w > 0:
        found += share.window * weights(with_window(s))
    if s.h_i > 0:
        found += share.indexer * indexer_weights(s)
    if s.compressed:
        found += share.compress * (4 * s.H + 2 * s.r_4) * entry * s.b_w
        found += share.compress_more * (2 * s.H + s.r_h) * entry * s.b_w
    found += share.linear * linear_weights(s)
    return found + (share.norm + ffn) * (2 + s.n) * s.n * s.n * s.H * s.b_h


def cached_positions(s):
    """S' of the layers of the sizes of section 1 in the mean: positions that their cache keeps."""
    window = min(s.S, s.W)
    if s.compressed:
        entries = (s.L_4 * s.S / s.r_4 if s.L_4 else 0) + (s.L_h * s.S / s.r_h if s.L_h else 0)
        return window + entries / s.L_A
    if s.L_w > 0 or s.L_s == 0:
        return s.S
    return ((s.L_A - s.L_s) * s.S + s.L_s * window) / s.L_A


def cache(s, layers, mtp):
    """Bytes of the cache of a sequence in so many layers and, where `mtp` is 1, the one of a draft."""
    part, kept = layers / s.L, 0.0
    if s.L_A > 0:
        kept = (part * (s.L_A - s.L_w) + mtp) * cached_positions(s) * s.y
    if s.L_w > 0:
        kept += part * s.L_w * min(s.S, s.W) * with_window(s).y
    return kept + (part * s.L_i + mtp) * s.S / s.joined * s.key


def state(s, layers):
    """Bytes of the states of a sequence in so many layers."""
    convolved = max(s.e - 1, 0) * s.X * s.b_a
    return layers / s.L * s.L_l * (s.n_l * s.D_k * s.D_w * s.b_S + convolved) / s.tp


def nothing():
    """{operator of section 3.1: what it costs a model that has none of it}."""
    names = {name for part in (BEFORE, AFTER) for names in part.values() for name in names}
    return dict.fromkeys(names | {"ffn_mix", "latent_down", "latent_up"}, np.zeros(7))


def layers_of(s):
    """{operator: number of layers that have it}, without those of drafts."""
    share = vars(shares(s))
    found = {name: share[kind] * s.L for part in (BEFORE, AFTER) for kind in part for name in part[kind]}
    experts = ("router", "dispatch", "combine", "shared", "routed", "latent_down", "latent_up")
    found |= dict.fromkeys(experts, s.L_m) | {"dense": s.L_d + s.L_b}
    return found | {"ffn_mix": s.L - s.L_f, "all_reduce": s.L - s.L_0 + s.L - s.L_f}
