"""A second implementation of the core model, in float64 and plain loops, written from dsjax/MODEL.md alone.

`evaluate` takes records as plain dicts and returns a dict of numbers and booleans.  It shares no code with the package,
so that a slip of either side shows as a difference.  Only the `kernel` form of the efficiency curve is known here.

Results that the page does not define, as read here:
  flops, hbm_bytes   one chip and one step, drafts included, rows R with the imbalance (the busiest card); a pipeline
                     of two halves counts both, so that its weights are read twice
  *_s_per_step       seconds on the wire before overlap and before `software_factor`, drafts included, both halves
  operators          one layer of either kind, and `head`, at the whole batch; `shared`, `routed` and `dense` are their
                     two GEMMs without SwiGLU, `all_reduce` is ONE of the two, `kv_exchange` its gather and its scatter
"""

import math
from types import SimpleNamespace

import numpy as np

PIPELINES = ("naive", "dual-mbatch", "windows", "tbo", "sbo")
WHOLE_BATCH = ("naive", "windows", "sbo")
MODES = ("auto", "low-latency", "normal")

# A cost is a vector, so that one expression of a pipeline gives the time and every tally of it.
SECONDS, FLOPS, BYTES, DISPATCH, COMBINE, ALL_REDUCE, KV_EXCHANGE = range(7)
TALLIES = {"flops": FLOPS, "hbm_bytes": BYTES, "dispatch_s_per_step": DISPATCH, "combine_s_per_step": COMBINE}
TALLIES |= {"all_reduce_s_per_step": ALL_REDUCE, "kv_exchange_s_per_step": KV_EXCHANGE}


def cost(seconds=0.0, flops=0.0, moved=0.0):
    return np.array([seconds, flops, moved, 0.0, 0.0, 0.0, 0.0])


def message(kind, seconds):
    """Time on the wire; it is both part of the step and a tally of its own."""
    c = cost(seconds)
    c[kind] = seconds
    return c


def alongside(x, y, unhidden=0.0):
    """Two things at once: the longer one counts as time and a share of the other, the work of both is done."""
    c = x + y
    c[SECONDS] = max(x[SECONDS], y[SECONDS]) + unhidden * min(x[SECONDS], y[SECONDS])
    return c


def setting(model, hardware, nic, precision, curve, workload, deployment, phase):
    """Section 1: all symbols that do not depend on the size of the batch."""
    m, hw, net, p, w, dep = (SimpleNamespace(**r) for r in (model, hardware, nic, precision, workload, deployment))
    s = SimpleNamespace(decode=phase == "decode", curve=SimpleNamespace(**curve), hw=hw, dep=dep, w=w)
    s.H, s.L, s.L_d, s.h = m.hidden_size, m.num_hidden_layers, m.first_k_dense_replace, m.num_attention_heads
    s.L_m = s.L - s.L_d
    s.R_q, s.R_kv, s.D_n, s.D_r = m.q_lora_rank, m.kv_lora_rank, m.qk_nope_head_dim, m.qk_rope_head_dim
    s.D_v, s.I, s.I_e, s.E = m.v_head_dim, m.intermediate_size, m.moe_intermediate_size, m.n_routed_experts
    s.n_s, s.k, s.V, s.w_tied = m.n_shared_experts, m.num_experts_per_tok, m.vocab_size, m.tie_word_embeddings
    s.h_kv, s.D_qk, s.mla = m.num_key_value_heads, s.D_n + s.D_r, s.R_kv > 0
    s.W, s.L_s, s.K, s.modules = m.sliding_window, m.sliding_layers, m.index_topk, m.num_nextn_predict_layers
    s.h_i, s.D_i = m.index_n_heads, m.index_head_dim
    s.q_n, s.q_b, s.o_b, s.m_b, s.a_s = m.qk_norm, m.qkv_bias, m.o_bias, m.mlp_bias, m.attention_sinks
    s.b_w, s.b_e, s.b_a, s.b_kv = p.weight_bytes, p.expert_bytes, p.activation_bytes, p.kv_bytes
    s.b_d, s.b_c = p.dispatch_bytes, p.combine_bytes
    peaks = (hw.bf16_flops_per_s, hw.fp8_flops_per_s, hw.int8_flops_per_s, hw.fp4_flops_per_s)
    rates = [peaks[int(i)] for i in (p.weight_rate, p.expert_rate, p.attention_rate)]
    s.has_rates = all(r > 0 for r in rates)
    # Knots of GEMMs go by the width of the operands: bf16, fp8, int8, fp4.
    s.width_w, s.width_e = (("", "8", "8", "4")[int(i)] for i in (p.weight_rate, p.expert_rate))
    s.P_w, s.P_e, s.P_a = (r if r > 0 else hw.bf16_flops_per_s for r in rates)
    if not dep.chips and not dep.ep:
        raise ValueError("one of chips and ep must be given")
    s.tp, s.moe_tp, s.m = dep.tp, dep.moe_tp, dep.mtp
    s.st, s.c = dep.shared_tp or dep.tp, dep.kv_split
    s.N = dep.chips or dep.moe_tp * dep.ep
    s.ep = dep.ep or max(1, s.N // dep.moe_tp)  # floor, at least one card; a wrong quotient is masked
    s.dp, s.hd, s.hd_kv = s.N / s.tp, s.h / s.tp, max(1, s.h_kv / s.tp)
    # What a head of the core takes and gives in decode, and what the cache keeps of one position.
    s.query, s.result = (s.R_kv + s.D_r, s.R_kv) if s.mla else (s.D_qk, s.D_v)
    s.Z = s.R_kv + s.D_r if s.mla else s.hd_kv * (s.D_qk + s.D_v)
    s.slots = -(-int(s.E + dep.redundant_experts) // int(s.ep))  # ceil in integers
    s.S, s.l = w.context, w.expert_imbalance
    s.domain = hw.scale_up_domain
    s.U, s.t_up = hw.scale_up_bytes_per_s * hw.scale_up_utilisation, hw.scale_up_step_s
    s.O, s.t_out = net.scale_out_bytes_per_s * net.scale_out_utilisation, net.scale_out_step_s
    s.G, s.top_groups = (m.n_group, m.topk_group) if m.n_group > 0 else (1, 1)
    s.net, s.mu, s.normal, s.cores = net, w.unhidden, None, 1.0
    return s


def sizes(s, share=1.0, draft=False):
    """Sections 1, 2 and X of 8; `share` is the part of the batch, `draft` a pass of the MTP module (q = 1)."""
    z = SimpleNamespace()
    if s.decode:
        q = 1 if draft else 1 + s.m
        z.B = s.dep.batch * s.tp * share
        z.T = z.T_s = z.T_h = z.B * q
        z.A = s.dep.batch * s.N * q * share
        z.X = z.T * s.c * s.hd * (s.query + s.result)
    else:
        z.B = s.dep.prompts / s.dp * share
        z.T = z.B * s.S
        z.T_s, z.T_h = z.T / s.dep.sp, z.B
        z.A = s.dep.prompts * s.S * share
        mla, gqa = s.hd * (2 * s.D_n + s.D_r + 2 * s.D_v) + s.D_r, (s.hd + s.hd_kv) * (s.D_qk + s.D_v)
        z.X = z.T * (mla if s.mla else gqa)
    load = s.l if s.l > 0 else expected_load(s, z.A)
    z.R = min(load * s.k * z.A / s.ep, z.A * min(s.k, s.slots))
    z.G = s.slots * (1 - (1 - s.k / (s.ep * s.slots)) ** z.A)
    return z


def expected_load(s, A):
    """Section 2: rows of the busiest card over the mean, by chance alone."""
    M, mean = s.ep * s.slots, A * s.k / s.ep
    t = math.sqrt(-2 * math.log(0.625 / (s.ep + 0.25)))
    m = t - (2.515517 + 0.802853 * t + 0.010328 * t**2) / (1 + 1.432788 * t + 0.189269 * t**2 + 0.001308 * t**3)
    m = max(m, 0)
    theta = max(M - s.k, 0) / max(M - 1, 1)
    return 1 + m * math.sqrt(theta / mean) + max(m**2 - 0.6, 0) / 6 * theta / mean


def kernel(s, flops, moved, peak, e_c, e_m, start):
    """Section 4."""
    c, d = flops / (s.cores * peak * e_c), moved / (s.hw.hbm_bytes_per_s * e_m)
    return cost(start + max(c, d) + (1 - s.hw.roofline_overlap) * min(c, d), flops, moved)


def gemm(s, g, M, K, N, b_weights, peak, width, grouped=False):
    flops = 2 * g * M * K * N
    b_in = min(s.b_a, {"": 2, "8": 1, "4": 9 / 16}[width])
    moved = g * K * N * b_weights + g * M * K * b_in + g * M * N * s.b_a

    def knot(name):
        return getattr(s.curve, f"{'expert' if grouped else 'gemm'}{width}_{name}")

    if grouped:
        e_c = knot("compute") * M / (M + knot("rows"))
        return kernel(s, flops, moved, peak, e_c, knot("memory"), knot("start_s"))
    e_c = knot("compute") / (1 + knot("tail") / (g * M * N))
    e_m = knot("memory") / (1 + knot("columns") / (g * N * (1 + M / 512)))
    return kernel(s, flops, moved, peak, e_c, e_m, knot("start_s"))


def pointwise(s, elements, launches, more=0):
    """Memory only; every launch pays its start."""
    moved = elements * s.b_a + more
    seconds = launches * s.curve.pointwise_start_s + moved / (s.hw.hbm_bytes_per_s * s.curve.pointwise_memory)
    return cost(seconds, 0.0, moved)


def core_at(s, z, P):
    """Section 3, of a layer whose tokens attend to P positions."""
    if s.decode:
        flops = 2 * z.T * s.hd * P * (s.query + s.result)
        cached = z.B * P / s.c  # positions on this chip
    else:
        flops = 2 * z.B * s.hd * (P * s.S - P**2 / 2) * (s.D_qk + s.D_v)
        cached = z.T / s.c
    return attention(s, z, flops, cached * s.Z * s.b_kv + z.X * s.b_a, P)


def attention(s, z, flops, moved, P):
    """Section 4, attention: tokens that attend to P positions."""
    if s.decode:
        knots, x = s.curve, z.B * P / s.c
        e_c, e_m = knots.attention_compute * x / (x + knots.attention_rows), knots.attention_memory
        joined = knots.attention_split_s / (1 + knots.attention_split_tokens * s.c / P + z.B / 128)
        return kernel(s, flops, moved, s.P_a, e_c, e_m, knots.attention_start_s + joined)
    e_c = s.curve.prefill_compute * P / (P + s.curve.prefill_rows)
    e_m = s.curve.prefill_memory * s.S / (s.S + s.curve.prefill_short)
    return kernel(s, flops, moved, s.P_a, e_c, e_m, s.curve.prefill_start_s)


def core(s, z):
    """Section 3: the mean of the layers with a window and of the others."""
    elsewhere = core_at(s, z, min(s.S, s.K) if s.K > 0 else s.S)
    if not s.L_s:
        return elsewhere
    return (s.L - s.L_s) / s.L * elsewhere + s.L_s / s.L * core_at(s, z, min(s.S, s.W))


def index_scores(s, z):
    """Section 3: every position against every token, one byte for an element of a key."""
    queries = z.T_s * s.h_i * s.D_i
    if s.decode:
        return attention(s, z, 2 * queries * s.S / s.c, z.B * s.S / s.c * s.D_i + queries * s.b_a, s.S)
    return attention(s, z, 2 * queries * s.S / 2, z.B * s.S * s.D_i + queries * s.b_a, s.S)


def half_all_reduce(s, b, chips):
    """Section 5: an all-gather to b bytes or a reduce-scatter of b bytes, inside the domain and then across."""
    g = min(chips, s.domain)
    n = chips / g
    inside = (g - 1) / g * b / s.U + (g - 1) * s.t_up
    return inside + (n - 1) / n * (b / g) / s.O + (n - 1) * s.t_out


def all_reduce(s, z):
    b, g = z.T * s.H * s.b_a, min(s.tp, s.domain)
    seconds = 2 * half_all_reduce(s, b, s.tp)
    ring = 2 * (g - 1) / g * b / s.hw.scale_up_bytes_per_s
    seconds += math.sqrt(s.hw.all_reduce_rise_s * ring)
    if s.hw.all_reduce_direct > 0 and s.tp <= s.domain:
        seconds = min(seconds, (s.tp - 1) * b / s.hw.scale_up_bytes_per_s / s.hw.all_reduce_direct)
    return message(ALL_REDUCE, seconds + (s.hw.all_reduce_start_s if s.tp > 1 else 0))


def kv_exchange(s, z):
    """Queries gathered before the core of decode, its results scattered after it; prefill exchanges nothing."""
    if not s.decode:
        return message(KV_EXCHANGE, 0.0)
    elements = z.T * s.c * s.hd
    queries = half_all_reduce(s, elements * s.query * s.b_a, s.c)
    queries += 2 * s.hw.all_reduce_start_s if s.c > 1 else 0
    return message(KV_EXCHANGE, queries + half_all_reduce(s, elements * s.result * s.b_a, s.c))


def visited(s, p):
    """Section 5: parts, of p equal ones, that the experts of a token lie in."""
    M, near = s.ep * s.slots, s.top_groups / s.G

    def small(parts):
        return parts * near * (1 - max(0, 1 - 1 / (parts * (near - (s.k - 1) / (2 * M)))) ** s.k)

    hit = small(s.G)
    many = p * (1 - max(0, 1 - s.G / p / (s.G - (hit - 1) / 2)) ** hit)
    return min(s.k, p, small(p) if p >= s.G else many)


def all_to_all(s, z, b_x, kind):
    b, hw = z.R * s.H * b_x / s.moe_tp, s.hw
    e = max(1, min(s.ep, s.domain / s.moe_tp))
    q = s.ep / e
    if s.normal:
        u, start, hidden = hw.normal_utilisation, hw.normal_start_s, 0
        f_in, f_out = visited(s, s.ep) / s.k * (1 - 1 / e), visited(s, q) / s.k * (1 - 1 / q)
    else:
        own = kind == DISPATCH
        u = hw.exchange_utilisation if own else hw.combine_utilisation
        start = hw.exchange_start_s if own else hw.combine_start_s
        hidden = hw.exchange_hidden_s if own else hw.combine_hidden_s
        f_in, f_out = (e - 1) / s.ep, 1 - e / s.ep
    rates = [hw.scale_up_bytes_per_s * u, s.net.scale_out_bytes_per_s * s.net.exchange_utilisation]
    seconds = max(f_in * b / rates[0], f_out * b / rates[1])
    copied = hw.exchange_cores * hw.exchange_cores_bytes_per_s if s.normal else 0
    if copied > 0:
        seconds = max(seconds, (f_in + f_out) * b / copied)
    data = seconds**2 / math.hypot(hidden, seconds) if seconds > 0 else 0.0  # its share of what depends on both
    z.fixed = math.hypot(hidden, seconds) - hidden - data + (s.moe_tp - 1) * s.t_up
    z.fixed += (start if f_in + f_out > 0 else 0) + (s.net.exchange_start_s if f_out > 0 else 0)
    return message(kind, data + z.fixed + (s.moe_tp - 1) * b / s.U)


def operators(s, z):
    """Section 2: operators of a layer on one chip; the GEMMs of the dense FFN are here too, under `dense`.

    What the model or the phase does not have is a cost of nothing, without a launch.
    """
    shared, routed, dense = s.n_s * s.I_e / s.st, s.I_e / s.moe_tp, s.I / s.tp
    o = dict.fromkeys(("q_a", "absorb_k", "absorb_v", "kv_b", "shared", "swiglu_shared", "indexer"), cost())
    compressed = s.mla and s.R_q > 0  # queries
    if compressed:
        o["q_a"] = gemm(s, 1, z.T_s, s.H, s.R_q, s.b_w, s.P_w, s.width_w)
    o["q_b"] = gemm(s, 1, z.T, s.R_q if compressed else s.H, s.hd * s.D_qk, s.b_w, s.P_w, s.width_w)
    if s.mla:
        o["kv_a"] = gemm(s, 1, z.T_s, s.H, s.R_kv + s.D_r, s.b_w, s.P_w, s.width_w)
    else:
        o["kv_a"] = gemm(s, 1, z.T, s.H, s.hd_kv * (s.D_qk + s.D_v), s.b_w, s.P_w, s.width_w)
    if s.mla and s.decode:
        o["absorb_k"] = gemm(s, s.hd, z.T, s.D_n, s.R_kv, s.b_w, s.P_w, s.width_w)
        o["absorb_v"] = gemm(s, s.hd, z.T, s.R_kv, s.D_v, s.b_w, s.P_w, s.width_w)
    elif s.mla:
        o["kv_b"] = gemm(s, 1, z.T, s.R_kv, s.hd * (s.D_n + s.D_v), s.b_w, s.P_w, s.width_w)
    o["core"] = core(s, z)
    if s.h_i > 0:
        o["indexer"] = gemm(s, 1, z.T_s, s.R_q or s.H, s.h_i * s.D_i, s.b_w, s.P_w, s.width_w)
        o["indexer"] += gemm(s, 1, z.T_s, s.H, s.D_i + s.h_i, s.b_w, s.P_w, s.width_w) + index_scores(s, z)
    o["o"] = gemm(s, 1, z.T, s.hd * s.D_v, s.H, s.b_w, s.P_w, s.width_w)
    o["router"] = gemm(s, 1, z.T_s, s.H, s.E, s.b_w, s.P_w, s.width_w)
    launches = s.curve.pointwise_kernels  # of a layer; each pointwise kernel below has its share
    if s.n_s > 0:  # the shared expert is an ordinary GEMM to the curve; only its weights and rate are those of experts
        rows = z.T * s.st / s.tp
        o["shared"] = gemm(s, 1, rows, s.H, 2 * shared, s.b_e, s.P_e, s.width_e) + gemm(
            s, 1, rows, shared, s.H, s.b_e, s.P_e, s.width_e
        )
        o["swiglu_shared"] = pointwise(s, 3 * z.T * s.n_s * s.I_e / s.tp, launches / 8)
    rows = z.R / z.G
    o["routed"] = gemm(s, z.G, rows, s.H, 2 * routed, s.b_e, s.P_e, s.width_e, True)
    o["down"] = gemm(s, z.G, rows, routed, s.H, s.b_e, s.P_e, s.width_e, True)
    o["routed"] += o["down"]
    o["dense"] = gemm(s, 1, z.T, s.H, 2 * dense, s.b_w, s.P_w, s.width_w) + gemm(
        s, 1, z.T, dense, s.H, s.b_w, s.P_w, s.width_w
    )
    o["dispatch"] = all_to_all(s, z, s.b_d, DISPATCH)
    o["combine"] = all_to_all(s, z, s.b_c, COMBINE)
    o["all_reduce"], o["kv_exchange"] = all_reduce(s, z), kv_exchange(s, z)
    o["head"] = gemm(s, 1, z.T_h, s.H, s.V / s.tp, s.b_w, s.P_w, s.width_w)  # outside the layers

    rotated = 2 * z.T * (s.hd + s.hd_kv) * s.D_qk
    if s.mla:
        rotated = z.T * s.hd * (2 * s.D_r if s.decode else 3 * s.D_r + 2 * s.D_n)
    width = {"": 2, "8": 1, "4": 9 / 16}[s.width_w]
    quantised = z.T * s.hd * s.D_v * (s.b_a + width) if width < s.b_a else 0
    by_expert = z.R * s.H * (2 * s.b_d + s.b_c) if s.normal else 0
    o["norms"] = pointwise(s, 4 * z.T_s * s.H + 2 * z.T_s * (s.R_q + s.R_kv) + rotated, launches / 2)
    o["ffn_norm"] = pointwise(s, 4 * z.T_s * s.H, launches / 4, quantised)
    o["swiglu_routed"] = pointwise(s, 3 * z.R * routed, launches / 8, by_expert)
    o["swiglu_dense"] = pointwise(s, 3 * z.T * dense, launches / 4)
    return o


def parts(s, z):
    """Section 6: the parts of one MoE layer, and `dense_layer`."""
    o = operators(s, z)
    p = SimpleNamespace(dispatch=o["dispatch"], combine=o["combine"], closing=o["all_reduce"], head=o["head"])
    p.before = o["norms"] + o["q_a"] + o["kv_a"] + o["q_b"] + o["absorb_k"] + o["kv_b"] + o["indexer"]
    after = o["core"] + o["kv_exchange"] + o["absorb_v"] + o["o"] + o["all_reduce"] + o["ffn_norm"]  # of any layer
    p.after = after + o["router"]
    p.shared, p.routed = o["shared"] + o["swiglu_shared"], o["routed"] + o["swiglu_routed"]
    p.fixed = cost(z.fixed)  # of the combine, the last exchange of a layer
    p.down, p.dense_layer = o["down"], p.before + after + p.closing
    return p


def layer_in_turn(p):
    return p.before + p.after + alongside(p.dispatch, p.shared) + p.routed + p.combine + p.closing


def layer_in_windows(p):
    """Everything of the layer counts once as work; its time is that of the windows or that of the network alone."""
    layer = p.before + p.after + p.shared + p.routed + p.dispatch + p.combine + p.closing
    before, after, shared, routed, dispatch, combine, all_reduce = (
        part[SECONDS] for part in (p.before, p.after, p.shared, p.routed, p.dispatch, p.combine, p.closing)
    )
    attention = before + after - all_reduce  # the all-reduce after attention is as long as `closing`
    windows = max(dispatch, attention + shared) + max(combine, routed)
    layer[SECONDS] = max(windows, dispatch + combine + 2 * all_reduce)
    return layer


def batch_parts(s, share):
    """The parts of one MoE layer and `rest`, at a share of the batch."""
    z = sizes(s, share)
    o = operators(s, z)  # on all cores
    s.cores = 1 - s.hw.exchange_cores if s.normal and share < 1 else 1.0
    p = parts(s, z)
    p.head, p.dense_layer = o["head"], p.dense_layer + o["dense"] + o["swiglu_dense"]
    embedding, last_norm = pointwise(s, 2 * z.T_s * s.H, 1), pointwise(s, 4 * z.T_h * s.H, 1)
    p.rest = s.L_d * p.dense_layer + embedding + last_norm + p.head
    for _ in range(int(s.m) if s.decode else 0):
        z = sizes(s, share, draft=True)
        kept, draft = s.cores, parts(s, z)
        s.cores = 1.0
        into = pointwise(s, 8 * z.B * s.H, 1) + gemm(s, 1, z.B, 2 * s.H, s.H, s.b_w, s.P_w, s.width_w)
        p.rest = p.rest + into + layer_in_turn(draft) + operators(s, z)["head"]
        s.cores = kept
    s.cores = 1.0
    return p


def schedule(s, pipeline):
    if pipeline in WHOLE_BATCH:
        p = batch_parts(s, 1.0)
        if pipeline == "sbo":
            layer = p.before + p.after + alongside(p.dispatch, p.shared, s.mu) + (p.routed - p.down) + p.closing
            return p.rest + s.L_m * (layer + alongside(p.combine - p.fixed, p.down, s.mu) + p.fixed)
        return p.rest + s.L_m * (layer_in_turn(p) if pipeline == "naive" else layer_in_windows(p))
    p = batch_parts(s, 0.5)
    if pipeline == "dual-mbatch":
        layer = alongside(p.dispatch, p.before + p.shared, s.mu) + p.routed
        layer = layer + alongside(p.combine, p.after, s.mu) + p.closing
        return 2 * p.rest + 2 * s.L_m * layer
    compute = 2 * (p.rest + s.L_m * (p.before + p.after + p.shared + p.routed + p.closing))
    return alongside(compute, 2 * s.L_m * (p.dispatch + p.combine))


def memory(s):
    """Section 8."""
    z = sizes(s)
    if s.mla:
        divided = (s.R_q or s.H) * s.h * s.D_qk + s.R_kv * s.h * (s.D_n + s.D_v) + s.h * s.D_v * s.H
        attention = (s.H * (s.R_q + s.R_kv + s.D_r) + divided / s.tp) * s.b_w
    else:
        attention = s.H * (s.hd + s.hd_kv) * (s.D_qk + s.D_v) * s.b_w
    attention += ((s.R_q or s.H) * s.h_i * s.D_i + s.H * (s.D_i + s.h_i)) * s.b_w
    biases = s.q_b * (s.h * s.D_qk + s.h_kv * (s.D_qk + s.D_v)) + s.o_b * s.H + s.a_s * s.h
    attention += (2 * s.H + s.R_q + s.R_kv + 2 * s.q_n * s.D_qk + 2 * s.D_i + biases / s.tp) * s.b_w
    kept = s.S if not s.L_s else ((s.L - s.L_s) * s.S + s.L_s * min(s.S, s.W)) / s.L
    routed = s.slots * (3 * s.H * s.I_e + s.m_b * (2 * s.I_e + s.H)) / s.moe_tp
    experts = (routed + s.n_s * 3 * s.H * s.I_e / s.st) * s.b_e + (s.H + s.m_b) * s.E * s.b_w
    has_mtp = 1 if s.m > 0 and s.decode else 0
    around_core, experts_in = z.T_s * s.H + z.X, z.R * (s.H + s.I_e / s.moe_tp)
    widest = max(4 * z.T_s * s.H, around_core, experts_in, z.T_h * s.V / s.tp)
    return {
        "attention": s.L * attention,
        "dense": s.L_d * (3 * s.H * s.I + s.m_b * (2 * s.I + s.H)) / s.tp * s.b_w,
        "experts": s.L_m * experts,
        "embedding": ((2 - s.w_tied) * s.V * s.H / s.tp + s.H) * s.b_w,
        "mtp": has_mtp * (attention + experts + (2 * s.H**2 + 3 * s.H) * s.b_w),
        "kv_cache": z.B / s.c * (s.L + has_mtp) * (kept * s.Z * s.b_kv + s.S * s.D_i),
        "activations": 2 * s.b_a * widest,
    }


def masks(s, pipeline, used):
    """Section 9."""
    dep, d = s.dep, s.domain
    groups = s.N // s.tp
    sequences = dep.batch * s.tp if s.decode else dep.prompts // max(1, groups)  # of a group
    return {
        "ok_chips": s.moe_tp * s.ep == s.N and s.N % s.tp == 0,
        "ok_tp": all(width % s.tp == 0 for width in (s.h, s.I, s.V))
        and (s.mla or s.h_kv % s.tp == 0 or s.tp % s.h_kv == 0),
        "ok_mtp": not s.decode or s.m == 0 or s.modules > 0,
        "ok_moe_tp": s.I_e % s.moe_tp == 0,
        "ok_shared_tp": s.tp % s.st == 0 and s.n_s * s.I_e % s.st == 0,
        "ok_kv_split": s.tp % s.c == 0,
        "ok_sp": s.tp % dep.sp == 0 and (dep.sp == 1 or not s.decode),
        "ok_prompts": s.decode or (groups > 0 and dep.prompts % groups == 0),
        "ok_even_batch": pipeline in WHOLE_BATCH or sequences % 2 == 0,
        "ok_topology": max(s.tp, s.moe_tp) <= d and (s.N <= d or (s.N % d == 0 and d % s.moe_tp == 0)),
        "ok_precision": s.has_rates,
        "ok_memory": used <= s.hw.hbm_bytes * (1 - s.w.memory_reserve),
    }


def evaluate(*, model, hardware, nic, precision, curve, workload, deployment, phase, pipeline, mode="auto"):
    if phase not in ("decode", "prefill") or pipeline not in PIPELINES or mode not in MODES:
        raise ValueError((phase, pipeline, mode))
    s = setting(model, hardware, nic, precision, curve, workload, deployment, phase)
    s.normal = mode == "normal" or (mode == "auto" and phase == "prefill")
    total = schedule(s, pipeline)
    step_time = s.w.software_factor * total[SECONDS] + s.hw.step_s
    if s.decode:
        per_user = (1 + sum(s.w.acceptance**i for i in range(1, int(s.m) + 1))) / step_time
        per_chip, ttft = s.dep.batch * per_user, math.nan
    else:
        per_user, per_chip, ttft = math.nan, s.dep.prompts * s.S / s.N / step_time, step_time

    held = memory(s)
    used = sum(held.values())
    return {
        "step_time": float(step_time),
        "tps_per_user": float(per_user),
        "tps_per_chip": float(per_chip),
        "ttft": float(ttft),
        "memory": {name: float(x) for name, x in held.items()},
        "memory_per_chip": float(used),
        "chips": s.N,
        "dp": s.dp,
        "ep": s.ep,
        **{name: float(total[i]) for name, i in TALLIES.items()},
        "operators": {name: float(c[SECONDS]) for name, c in operators(s, sizes(s)).items()},
        **{name: bool(ok) for name, ok in masks(s, pipeline, used).items()},
    }
