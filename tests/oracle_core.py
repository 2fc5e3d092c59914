"""A second implementation of the core model, in float64 and plain loops, written from dsjax/MODEL.md alone.

`evaluate` takes records as plain dicts and returns a dict of numbers and booleans.  It shares no code with the package,
so that a slip of either side shows as a difference.  Only the `kernel` form of the efficiency curve is known here.
Here: sections 1, 7, 8 and 9; `oracle_layers`: 2, 3, 4 and 6; `oracle_network`: 5.

Results that the page does not define, as read here:
  flops, hbm_bytes   one chip and one micro batch through all stages, drafts included, rows R with the imbalance (the
                     busiest card); a pipeline of two halves counts both, so that its weights are read twice
  *_s_per_step       seconds on the wire before overlap and before `software_factor`, drafts included, both halves
  operators          one layer of either kind, and `head`, of a whole micro batch; `shared`, `routed` and `dense` are
                     their two GEMMs without SwiGLU, `all_reduce` is ONE of the two, `kv_exchange` its gather and its
                     scatter; `send` from one stage to the next
"""

import math
from types import SimpleNamespace

import oracle_attention as attention
import oracle_kinds as kinds
import oracle_layers as layers
import oracle_network as network

PIPELINES = ("naive", "dual-mbatch", "windows", "tbo", "sbo")
MODES = ("auto", "low-latency", "layered", "normal", "all-gather")
OPERANDS = (2, 1, 1, 9 / 16)  # bytes of an operand at the rates bf16, fp8, int8, fp4
INDEX_SCALE_BYTES = 4  # of each 128 elements of an index key

TALLIES = {"flops": layers.FLOPS, "hbm_bytes": layers.BYTES, "dispatch_s_per_step": layers.DISPATCH}
TALLIES |= {"combine_s_per_step": layers.COMBINE, "all_reduce_s_per_step": layers.ALL_REDUCE}
TALLIES |= {"kv_exchange_s_per_step": layers.KV_EXCHANGE}


def setting(model, hardware, nic, precision, curve, engine, workload, deployment, phase, mode):
    """Section 1: all symbols that do not depend on the size of the batch."""
    m, hw, net, w = (SimpleNamespace(**record) for record in (model, hardware, nic, workload))
    s = SimpleNamespace(decode=phase == "decode", hw=hw, net=net, w=w)
    s.curve, s.eng, s.dep = (SimpleNamespace(**record) for record in (curve, engine, deployment))
    s.H, s.L, s.L_d, s.h = m.hidden_size, m.num_hidden_layers, m.first_k_dense_replace, m.num_attention_heads
    s.R_q, s.R_kv, s.D_n, s.D_r = m.q_lora_rank, m.kv_lora_rank, m.qk_nope_head_dim, m.qk_rope_head_dim
    s.D_v, s.I, s.I_e, s.E = m.v_head_dim, m.intermediate_size, m.moe_intermediate_size, m.n_routed_experts
    s.n_s, s.k, s.V, s.tied = m.n_shared_experts, m.num_experts_per_tok, m.vocab_size, m.tie_word_embeddings
    s.h_kv, s.D_qk, s.mla = m.num_key_value_heads, s.D_n + s.D_r, s.R_kv > 0
    s.W, s.L_s, s.modules = m.sliding_window, m.sliding_layers, m.num_nextn_predict_layers
    s.k_i, s.h_i, s.D_i, s.L_i = m.index_topk, m.index_n_heads, m.index_head_dim, m.index_layers
    s.q_n, s.q_b, s.o_b, s.m_b, s.a_s = m.qk_norm, m.qkv_bias, m.o_bias, m.mlp_bias, m.attention_sinks
    s.groups, s.top_groups = (m.n_group, m.topk_group) if m.n_group > 0 else (1, 1)  # G_n and t
    kinds.read(s, m)
    lay_out(s)
    widths(s, hw, SimpleNamespace(**precision))
    lengths(s)
    s.d, s.t_up = hw.scale_up_domain, hw.scale_up_step_s
    s.O, s.t_out = net.scale_out_bytes_per_s * net.scale_out_utilisation, net.scale_out_step_s
    s.mode = mode
    if mode == "auto":
        library = ("all-gather", "low-latency", "layered")[int(s.eng.library)]
        s.mode = library if s.decode or library == "all-gather" else "normal"
    s.buffered = (
        s.dp > 1
        and s.L_m > 0
        and (mode in ("low-latency", "layered") or (mode == "auto" and s.decode and s.eng.library > 0))
    )
    s.cores = 1.0
    return s


def widths(s, hw, p):
    """Bytes and rates by kind of weight, and what the cache keeps of a position."""
    s.b_w, s.b_D, s.b_h, s.b_m = p.weight_bytes, p.dense_bytes, p.head_bytes, p.embedding_bytes
    s.b_u, s.b_e, s.b_a, s.b_kv = p.absorbed_bytes, p.expert_bytes, p.activation_bytes, p.kv_bytes
    s.b_d, s.b_c = p.dispatch_bytes, p.combine_bytes
    peaks = (hw.bf16_flops_per_s, hw.fp8_flops_per_s, hw.int8_flops_per_s, hw.fp4_flops_per_s)
    of_kind = {"w": (s.b_w, p.weight_rate), "D": (s.b_D, p.dense_rate), "h": (s.b_h, p.head_rate)}
    of_kind |= {"u": (s.b_u, p.absorbed_rate), "e": (s.b_e, p.expert_rate), "s": (p.shared_bytes, p.shared_rate)}
    rates = [rate for _, rate in of_kind.values()] + [p.attention_rate]
    s.has_rates = all(peaks[int(rate)] > 0 for rate in rates)

    def peak(rate):
        return peaks[int(rate)] if peaks[int(rate)] > 0 else hw.bf16_flops_per_s

    # {kind: (bytes of a weight, peak rate, bytes of an operand)}
    s.kinds = {kind: (width, peak(rate), OPERANDS[int(rate)]) for kind, (width, rate) in of_kind.items()}
    s.P_a, s.P_i, s.P_b = peak(p.attention_rate), peak(p.index_rate), hw.bf16_flops_per_s
    s.eight, s.cast = int(p.attention_rate) > 0, p.kv_bytes < 2  # of the kernels of attention
    s.hd_kv = max(1, s.h_kv / s.dep.tp)
    # What a head of the core takes and gives in decode, and bytes of a position in the cache.
    s.query, s.result = (s.R_kv + s.D_r, s.D_v if s.v else s.R_kv) if s.mla else (s.D_qk, s.D_v)
    s.y = (s.R_kv + s.D_r if s.mla else s.hd_kv * (s.D_qk + s.D_v)) * s.b_kv
    if s.k_i > 0 and s.mla and s.b_kv < 2:  # the layout of the engine
        rotary = s.eng.cache_rope_bytes if s.eng.cache_rope_bytes > 0 else s.b_kv
        s.y = s.R_kv * s.b_kv + s.R_kv / 128 * s.eng.cache_scale_bytes + s.D_r * rotary
    s.key = s.D_i * (1 + INDEX_SCALE_BYTES / 128)
    s.b_s, s.tile = p.shared_bytes, p.expert_tile


def lay_out(s):
    dep = s.dep
    if not dep.chips and not dep.ep:
        raise ValueError("one of chips and ep must be given")
    s.tp, s.moe_tp, s.pp, s.m = dep.tp, dep.moe_tp, dep.pp or 1, dep.mtp
    s.st, s.c = dep.shared_tp or dep.tp, dep.kv_split or 1
    s.N = dep.chips or s.pp * s.moe_tp * dep.ep
    s.ep = dep.ep or max(1, s.N // (s.pp * s.moe_tp))  # at least one card; a wrong quotient is masked
    s.dp, s.hd = s.N / (s.pp * s.tp), s.h / s.tp
    s.whole_dp = max(1, s.N // (s.pp * s.tp))
    s.slots = -(-int(s.E + dep.redundant_experts) // int(s.ep))  # ceil in integers
    s.batch = dep.batch
    if s.decode and dep.concurrency:
        busiest = -(-dep.concurrency // s.whole_dp)
        s.M = min(s.pp, busiest)
        s.B, s.batch = -(-busiest // s.M), dep.concurrency / s.N
        s.of_all = max(dep.concurrency / s.M, s.B)  # sequences of all groups
    elif s.decode:
        s.M = s.pp
        s.B = dep.batch * s.tp
        s.of_all = s.B * s.dp
    else:
        s.M = min(s.pp, max(1, dep.prompts // s.whole_dp))
        s.B, s.of_all = dep.prompts / (s.dp * s.M), dep.prompts / s.M


def lengths(s):
    w = s.w
    s.S, square = w.context, w.context_cv**2
    if w.isl:
        s.S = w.isl + w.osl / 2 if s.decode else w.isl
        square += (w.osl / (math.sqrt(12) * s.S)) ** 2
    s.kappa = math.sqrt(square)
    s.l, s.mu = w.expert_imbalance, w.unhidden
    s.one_group = s.N <= s.pp * s.tp
    s.sigma = w.expert_cv_placed if s.ep * s.slots > s.E else w.expert_cv


def sizes(s, share=1.0, draft=False):
    """Sections 1, 2 and 3: one micro batch; `share` is the part of it, `draft` a pass of the MTP module."""
    q = 1 if draft or not s.decode else 1 + s.m
    z = SimpleNamespace(B=s.B * share, S=s.S)
    if s.decode:
        z.T = z.T_s = z.T_h = z.B * q
        z.A = s.of_all * q * share
        z.S = s.S * (1 + s.kappa * largest(s.dp) / math.sqrt(z.B))  # of the busiest group
    else:
        z.T = z.B * s.S
        z.T_s, z.T_h = z.T / s.dep.sp, z.B
        z.A = s.of_all * s.S * share
    load = s.l if s.l > 0 else expected_load(s, z.A)
    z.R = min(load * s.k * z.A / s.ep, z.A * min(s.k, s.slots))
    z.G = slots_hit(s, z.A)
    return z


def largest(n):
    """m of section 2: the largest of n normal numbers, expected; none of one or less."""
    if n <= 1:
        return 0.0
    x = math.sqrt(-2 * math.log(0.625 / (n + 0.25)))
    below = (2.515517 + 0.802853 * x + 0.010328 * x**2) / (1 + 1.432788 * x + 0.189269 * x**2 + 0.001308 * x**3)
    return max(0.0, x - below)


def expected_load(s, A):
    """Section 2: rows of the busiest card over the mean, by chance and by the favour of experts."""
    M, mean, m = s.ep * s.slots, A * s.k / s.ep, largest(s.ep)
    theta = max(M - s.k, 0) / max(M - 1, 1)
    return 1 + m * math.sqrt(theta / mean + s.sigma**2 / s.slots) + max(m**2 - 0.6, 0) / 6 * theta / mean


def slots_hit(s, A):
    """Section 2: slots of a card that are hit, in the mean where l is given, else of the card with most of them."""
    M, m, share = s.ep * s.slots, largest(s.ep), s.k / (s.ep * s.slots)
    x = -A * math.log1p(-share) if share < 1 else math.inf
    g = s.slots * (1 - math.exp(-math.log1p(s.sigma**2 * x) / s.sigma**2 if s.sigma else -x))
    if s.l > 0:
        return g
    phi = (M - s.slots) / max(M - 1, 1)
    v = g * (1 - g / s.slots) * phi
    skew = max(m**2 - 0.6, 0) / 6 * max(1 - 2 * g / s.slots, 0) * phi
    return min(s.slots, A * min(s.k, s.slots), g + m * math.sqrt(v) + skew)


def memory(s):
    """Section 8: of the fullest of the stages."""
    return max((memory_of(s, stage) for stage in layers.stages(s)), key=lambda parts: sum(parts.values()))


def memory_of(s, stage):
    z = sizes(s)
    width = layers.filled(s, s.I_e / s.moe_tp)
    ffn = s.gates + 1  # tables of an FFN
    routed = s.slots * (ffn * layers.filled(s, s.H_x) * width + s.m_b * (s.gates * s.I_e + s.H_x) / s.moe_tp)
    experts = routed * s.b_e + s.n_s * ffn * s.H * s.I_e / s.st * s.b_s + (s.H + s.m_b) * s.columns * s.b_h
    experts += 2 * s.H * s.H_x * s.b_s if s.H_x != s.H else 0
    mtp = stage.last if s.m > 0 and s.decode else 0
    table = s.V * s.H / s.tp
    embedding = stage.first * (1 - s.tied) * table * s.b_m + stage.last * (table * s.b_h + s.H * s.b_w)
    if s.pp > 1:
        embedding += stage.first * s.tied * table * s.b_m  # a copy of the one table
    embedding += stage.last * s.n * s.n * s.H * s.b_h  # of the streams before the head
    embedding += stage.first * s.vision / s.tp * s.b_h
    around_core, experts_in = z.T_s * s.H + around_cores(s, z), z.R * (s.H_x + width)
    widest = max(4 * z.T_s * s.H, around_core, experts_in, z.T_h * s.V / s.tp)
    buffers = s.eng.exchange_buffers * z.T / s.tp * s.ep * s.slots * s.H_x * s.b_c
    return {
        "attention": stage.L * kinds.stored(s) + s.vectors * s.b_w,
        "dense": stage.L_D * (ffn * s.H * s.I + s.m_b * (s.gates * s.I + s.H)) / s.tp * s.b_D,
        "experts": stage.L_m * experts,
        "embedding": embedding,
        "mtp": mtp * (kinds.stored(s, draft=True) + experts + (2 * s.H**2 + 3 * s.H) * s.b_w),
        "kv_cache": s.M * z.B / s.c * kinds.cache(s, stage.L, mtp),
        "state": s.M * z.B * kinds.state(s, stage.L),
        "activations": 2 * s.b_a * widest,
        "exchange": buffers if s.buffered else 0.0,
        "engine": s.eng.memory_bytes + s.eng.logit_bytes * s.V,
    }


def around_cores(s, z):
    """X of section 8: elements that the core reads as activations and writes, of the kind of layer with most."""
    found = [attention.around(s, z, attention.runs(s, z))] if s.L_A > s.L_w else []
    if s.L_u > 0:
        found.append(attention.around(s, z, "dense"))
    if s.L_w > 0:
        found.append(attention.around(kinds.with_window(s), z, "dense"))
    if s.L_l > 0:
        found.append(kinds.linear_around(s, z))
    return max(found, default=0.0)


def masks(s, pipeline, used):
    """Section 9."""
    dep = s.dep
    sequences = s.B if s.decode else dep.prompts // s.whole_dp // s.M  # of a micro batch of a group
    fits = all(s.d % width == 0 or width % s.d == 0 for width in (s.tp, s.moe_tp))
    most = s.eng.exchange_tokens
    return {
        "ok_chips": s.pp * s.moe_tp * s.ep == s.N and s.N % (s.pp * s.tp) == 0,
        "ok_pp": s.pp <= s.L,
        "ok_tp": all(width % s.tp == 0 for width in (s.h, s.V, s.own.h, s.n_l))
        and (s.I % s.tp == 0 or s.I % 1 > 0)
        and (s.mla or s.h_kv % s.tp == 0 or s.tp % s.h_kv == 0),
        "ok_mtp": not s.decode or s.m == 0 or s.modules > 0,
        "ok_moe_tp": s.I_e % s.moe_tp == 0,
        "ok_shared_tp": s.tp % s.st == 0 and s.n_s * s.I_e % s.st == 0,
        "ok_kv_split": s.tp % s.c == 0,
        "ok_sp": s.tp % dep.sp == 0 and (dep.sp == 1 or not s.decode),
        "ok_prompts": s.decode or (dep.prompts % s.whole_dp == 0 and dep.prompts // s.whole_dp % s.M == 0),
        "ok_even_batch": pipeline in layers.WHOLE_BATCH or sequences % 2 == 0,
        "ok_topology": s.N <= s.d or (s.N % s.d == 0 and fits),
        "ok_engine": s.whole_dp >= s.eng.fewest_groups,
        "ok_exchange": not (s.buffered and most > 0) or sizes(s).T / s.tp <= most,
        "ok_precision": s.has_rates,
        "ok_memory": used <= s.hw.hbm_bytes * (1 - s.w.memory_reserve),
    }


def evaluate(
    *, model, hardware, nic, precision, curve, engine, workload, deployment, phase, pipeline, mode="auto",
):  # fmt: skip
    if phase not in ("decode", "prefill") or pipeline not in PIPELINES or mode not in MODES:
        raise ValueError((phase, pipeline, mode))
    records = (model, hardware, nic, precision, curve, engine, workload, deployment)
    s = setting(*records, phase, mode)
    total, T_pp = layers.schedule(s, sizes, pipeline)
    host = s.eng.step_s + (s.m * s.eng.draft_step_s if s.decode else s.dep.prompts / s.dp * s.eng.request_s)
    step_time = s.w.software_factor * T_pp + s.hw.step_s + host
    if s.decode:
        a, gamma = s.w.acceptance, s.w.acceptance_decay
        accepted = sum(a**i * gamma ** (i * (i - 1) / 2) for i in range(1, int(s.m) + 1))
        per_user = (1 + accepted) / step_time
        per_chip, ttft = s.batch * per_user, math.nan
    else:
        per_user, per_chip, ttft = math.nan, s.dep.prompts * s.S / s.N / step_time, step_time

    held = memory(s)
    used = sum(held.values())
    operators = {name: float(c[layers.SECONDS]) for name, c in layers.operators(s, sizes(s)).items()}
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
        "operators": operators | {"send": network.send(s, sizes(s))},
        "layers": kinds.layers_of(s),
        **{name: bool(ok) for name, ok in masks(s, pipeline, used).items()},
    }
