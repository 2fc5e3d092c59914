"""Sections 2, 4 and 6 of dsjax/MODEL.md in plain Python, for `oracle_core`: kernels, operators, parts, pipelines.

`s` holds the symbols of a point (`oracle_core.setting`), `z` the sizes of a pass (`oracle_core.sizes`).
"""

import math
from types import SimpleNamespace

import numpy as np
import oracle_attention as attention
import oracle_kinds as kinds
import oracle_network as network

WHOLE_BATCH = ("naive", "windows", "sbo")

# A cost is a vector, so that one expression of a pipeline gives the time and every tally of it.
SECONDS, FLOPS, BYTES, DISPATCH, COMBINE, ALL_REDUCE, KV_EXCHANGE = range(7)


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


# Section 4


def kernel(s, flops, moved, peak, e_c, e_m, start, loss=0.0, core=0.0):
    roofs = flops / (s.cores * peak * e_c), moved / (s.hw.hbm_bytes_per_s * e_m), core
    hidden = s.hw.roofline_overlap * (1 - loss)
    return cost(start + max(roofs) + (1 - hidden) * (sum(roofs) - max(roofs)), flops, moved)


def gemm(s, shape, kind, paid=1.0, grouped=False):
    """A GEMM (g, M, K, N) whose weights are of a kind ("w", "D", "h", "u", "e"); it pays a share of its start."""
    g, M, K, N = shape
    b_weights, peak, operand = s.kinds[kind]
    flops = 2 * g * M * K * N
    moved = g * K * N * b_weights + g * M * K * min(s.b_a, operand) + g * M * N * s.b_a
    name = ("expert" if grouped else "gemm") + {2: "", 1: "8", 9 / 16: "4"}[operand]
    if operand == 2 and b_weights < 2:  # widened on their way to the arithmetic
        name += "_w4" if b_weights < 1 else "_w8"

    def knot(what):
        return getattr(s.curve, f"{name}_{what}")

    start = paid * knot("start_s")
    if grouped:
        e_c = knot("compute") * (M + knot("rows")) / (M + 2 * knot("rows")) * K / (K + knot("fill"))
        start += s.slots * knot("slot_s")
    else:
        tiles = g * N * (M + 128)
        e_c = knot("compute") * tiles / (tiles + knot("tail"))
    return kernel(s, flops, moved, peak, e_c, knot("memory"), start, knot("loss"), paid * K * knot("depth_s"))


def pointwise(s, moved, launches):
    """Memory only; every launch pays its start."""
    seconds = launches * s.curve.pointwise_start_s + moved / (s.hw.hbm_bytes_per_s * s.curve.pointwise_memory)
    return cost(seconds, 0.0, moved)


# Section 2


def filled(s, size):
    """A size of a routed expert with the zeros that kernels keep and compute."""
    return math.ceil(size / s.tile) * s.tile if s.tile else size


def operators(s, z, draft=False):
    """Operators of a layer on one chip, each as if the layer had it; the GEMMs of the dense FFN are under `dense`.

    What the model or the phase does not have is a cost of nothing, without a launch.
    """
    o = kinds.nothing() | dict.fromkeys(("shared", "swiglu_shared"), cost())
    o |= attention_rows(s, z)
    if s.L_w > 0:
        o |= {f"sliding_{name}": c for name, c in attention_rows(kinds.with_window(s), z).items()}
    kinds.operators(s, z, o, SimpleNamespace(kernel=kernel, gemm=gemm, pointwise=pointwise))
    launches = s.curve.pointwise_kernels * s.eng.pointwise_launches  # each pointwise kernel below has its share
    if s.n_s > 0:  # an ordinary GEMM to the curve; only its weights and rate are those of experts
        rows, width, paid = z.T * s.st / s.tp, s.n_s * s.I_e / s.st, 1 - s.eng.shared_beside
        o["shared"] = gemm(s, (1, rows, s.H, s.gates * width), "s", paid) + gemm(s, (1, rows, width, s.H), "s", paid)
        width = z.T * s.n_s * s.I_e / s.tp
        moved = (s.gates + 1) * width * s.b_a + recast(s, "s", width)
        o["swiglu_shared"] = pointwise(s, moved, paid * launches / 8)
    rows, hidden, own = z.R / z.G, filled(s, s.H_x), filled(s, s.I_e / s.moe_tp)
    o["down"] = gemm(s, (z.G, rows, own, hidden), "e", grouped=True)
    o["routed"] = gemm(s, (z.G, rows, hidden, s.gates * own), "e", grouped=True) + o["down"]
    o["router"] = gemm(s, (1, z.T_s, s.H, s.columns), "h")
    width = s.I / s.tp
    o["dense"] = gemm(s, (1, z.T, s.H, s.gates * width), "D") + gemm(s, (1, z.T, width, s.H), "D")
    o["head"] = gemm(s, (1, z.T_h, s.H, s.V / s.tp), "h")  # outside the layers
    seconds, z.fixed = network.exchange(s, z, s.mode, combining=True)
    o["combine"] = message(COMBINE, seconds)
    o["dispatch"] = message(DISPATCH, network.exchange(s, z, s.mode, combining=False)[0])
    o["all_reduce"] = message(ALL_REDUCE, network.all_reduce(s, z))
    operand = s.kinds["w"][2]
    quantised = kinds.output_operand(s, z, draft) * (s.b_a + operand) if operand < s.b_a else 0
    by_expert = z.R * s.H_x * (2 * s.b_d + s.b_c) if s.mode == "normal" else 0
    if s.mode == "all-gather" or s.one_group:
        by_expert = z.R * s.H_x * s.b_c
    norm = (2 if s.n > 0 else 4) * z.T_s * s.H * s.b_a  # those with streams mix them elsewhere
    o["norm"] = pointwise(s, norm + recast(s, "w", z.T_s * s.H), launches / 2)
    before_ffn = quantised + recast(s, "e" if s.L_m else "D", z.T_s * s.H)
    o["ffn_norm"] = pointwise(s, norm + before_ffn, launches / 4)
    width = z.R * own
    o["swiglu_routed"] = pointwise(s, (s.gates + 1) * width * s.b_a + recast(s, "e", width) + by_expert, launches / 8)
    width = z.T * s.I / s.tp
    o["swiglu_dense"] = pointwise(s, (s.gates + 1) * width * s.b_a + recast(s, "D", width), launches / 4)
    return o


def recast(s, kind, elements):
    """Bytes of operands made by passes of their own, where norms and SwiGLU do not write them."""
    width = s.kinds[kind][2]
    return s.eng.quantising * (s.b_a + width) * elements if width < s.b_a else 0


def attention_rows(s, z):
    """Operators of attention of the sizes of `s`."""
    o = dict.fromkeys(("q_a", "absorb_k", "absorb_v", "kv_b", "indexer", "gate", "o_a"), cost())
    attention_gemms(s, z, o)
    o["core"] = attention.core(s, z, kernel)
    o["kv_exchange"] = message(KV_EXCHANGE, network.kv_exchange(s, z))
    if s.mla:
        expanded = not s.decode and not s.v  # into keys and values of every head
        latents = z.T_s * s.R_q + (z.T * s.R_kv if expanded else 0)
        rotated = z.T * s.hd * (3 * s.D_r + 2 * s.D_n if expanded else 2 * s.D_r)
    else:
        latents, rotated = 0, 2 * z.T * (s.hd + s.hd_kv) * s.D_qk
    # Norms of latents and rotation, which share the launches of the norm before them.
    moved = (2 * z.T_s * (s.R_q + s.R_kv) + rotated) * s.b_a + recast(s, "w", latents)
    o["positions"] = pointwise(s, moved, 0)
    return o


def attention_gemms(s, z, o):
    compressed = s.mla and s.R_q > 0  # queries
    paid = 1 - s.eng.fused_projections  # of the start of kv_a
    if compressed:
        o["q_a"] = gemm(s, (1, z.T_s, s.H, s.R_q), "w")
    o["q_b"] = gemm(s, (1, z.T, s.R_q if compressed else s.H, s.hd * s.D_qk), "w")
    if not s.mla:
        o["kv_a"] = gemm(s, (1, z.T, s.H, s.hd_kv * (s.D_qk + (0 if s.v else s.D_v))), "w", paid)
    else:
        o["kv_a"] = gemm(s, (1, z.T_s, s.H, s.R_kv + s.D_r), "w", paid)
        if s.v:
            pass  # the latent is keys and values
        elif s.decode:
            o["absorb_k"] = gemm(s, (s.hd, z.T, s.D_n, s.R_kv), "u")
            o["absorb_v"] = gemm(s, (s.hd, z.T, s.R_kv, s.D_v), "u")
        else:
            o["kv_b"] = gemm(s, (1, z.T, s.R_kv, s.hd * (s.D_n + s.D_v)), "w")
    if s.h_i > 0:
        index_q = gemm(s, (1, z.T_s, s.R_q if compressed else s.H, s.h_i * s.D_i), "w")
        index_k = gemm(s, (1, z.T_s, s.H, kinds.key_columns(s)), "w")
        o["indexer"] = index_q + index_k + attention.index_scores(s, z, kernel)
    if s.gate > 0:
        o["gate"] = gemm(s, (1, z.T, s.H, s.gate * s.hd * s.D_v), "w", paid)
    if s.g_o > 0:
        o["o_a"] = gemm(s, (s.g_o / s.tp, z.T, s.h * s.D_v / s.g_o, s.o_rank), "w")
    o["o"] = gemm(s, (1, z.T, s.g_o * s.o_rank / s.tp if s.g_o > 0 else s.hd * s.D_v, s.H), "w")


# Section 6


def parts(s, z, draft=False):
    """The parts of the mean MoE layer; `attention`, what a layer without experts has too, and `ffn` of a dense one."""
    o, share = operators(s, z, draft), vars(kinds.shares(s, draft))

    def mean(parts):
        return sum(share[kind] * sum(o[name] for name in names) for kind, names in parts.items())

    p = SimpleNamespace(dispatch=o["dispatch"], combine=o["combine"], closing=o["all_reduce"] + o["latent_up"])
    p.before, p.all_reduce = mean(kinds.BEFORE), share["norm"] * o["all_reduce"]
    after = mean(kinds.AFTER) + p.all_reduce
    p.attention, p.ffn = p.before + after, o["ffn_norm"] + o["ffn_mix"] + o["all_reduce"]
    p.after = after + o["ffn_norm"] + o["ffn_mix"] + o["router"] + o["latent_down"]
    p.shared, p.routed, p.down = o["shared"] + o["swiglu_shared"], o["routed"] + o["swiglu_routed"], o["down"]
    p.fixed = cost(z.fixed)  # of the combine
    return p


def in_turn(p):
    return p.before + p.after + alongside(p.dispatch, p.shared) + p.routed + p.combine + p.closing


def in_windows(p):
    """Everything of the layer counts once as work; its time is that of the windows or that of the network alone."""
    layer = p.before + p.after + p.shared + p.routed + p.dispatch + p.combine + p.closing
    before, after, shared, routed, dispatch, combine, all_reduce, closing = (
        part[SECONDS]
        for part in (p.before, p.after, p.shared, p.routed, p.dispatch, p.combine, p.all_reduce, p.closing)
    )
    windows = max(dispatch, before + after - all_reduce + shared) + max(combine, routed)
    layer[SECONDS] = max(windows, dispatch + combine + all_reduce + closing)
    return layer


def micro_batch(s, sizes, pipeline):
    """The parts of one MoE layer, a dense layer, and the ends, at the batch or the half of it that a pipeline takes."""
    share = 1.0 if pipeline in WHOLE_BATCH else 0.5
    taken = s.hw.exchange_cores * s.eng.exchange_share if s.mode == "normal" and share < 1 else 0
    z = sizes(s, share)
    whole = operators(s, z)  # on all cores
    s.cores = 1 - taken
    p = parts(s, z)
    p.dense = whole["dense"] + whole["swiglu_dense"]
    p.embedding = pointwise(s, 2 * z.T_s * s.H * s.b_a, 1)
    p.ends = pointwise(s, 4 * z.T_h * s.H * s.b_a, 1) + whole["head"]
    if s.n > 0:  # streams are joined
        p.ends = p.ends + pointwise(s, (s.n + 1) * z.T_h * s.H * s.b_a, 1)
    for _ in range(int(s.m) if s.decode else 0):
        z = sizes(s, share, draft=True)
        s.cores = 1 - taken
        layer = in_turn(parts(s, z, draft=True))
        s.cores = 1.0
        p.ends = p.ends + pointwise(s, 8 * z.B * s.H * s.b_a, 1) + gemm(s, (1, z.B, 2 * s.H, s.H), "w") + layer
        p.ends = p.ends + operators(s, z)["head"]
    s.cores = 1.0
    return p


def through(s, p, pipeline, stage):
    """Time of one micro batch through the layers of a stage."""
    rest = (stage.L - stage.L_m) * p.attention + stage.L_d * p.ffn + stage.L_D * p.dense
    rest = rest + stage.first * p.embedding + stage.last * p.ends
    if pipeline == "naive":
        return rest + stage.L_m * in_turn(p)
    if pipeline == "windows":
        return rest + stage.L_m * in_windows(p)
    if pipeline == "sbo":
        layer = p.before + p.after + alongside(p.dispatch, p.shared) + (p.routed - p.down) + p.closing
        return rest + stage.L_m * (layer + alongside(p.combine - p.fixed, p.down, s.mu) + p.fixed)
    if pipeline == "dual-mbatch":
        layer = alongside(p.dispatch, p.before + p.shared, s.mu) + p.routed
        layer = layer + alongside(p.combine, p.after, s.mu) + p.closing
        return 2 * rest + 2 * stage.L_m * layer
    compute = 2 * (rest + stage.L_m * (p.before + p.after + p.shared + p.routed + p.closing))
    return alongside(compute, 2 * stage.L_m * (p.dispatch + p.combine))


def whole(s):
    return SimpleNamespace(L=s.L, L_d=s.L_d, L_m=s.L_m, L_D=s.L_d + s.L_b, first=1, last=1)


def stages(s):
    """The first stage, the one before the last and the last; of one stage the whole model."""
    if s.pp == 1:
        return [whole(s)]
    each, more = divmod(s.L, s.pp)
    found = []
    for i in dict.fromkeys((0, s.pp - 2, s.pp - 1)):
        # Of the stages before the last one the last `more` have one layer more.
        before = i * each + max(0, i - (s.pp - 1 - more))
        layers = each + (1 if s.pp - 1 - more <= i < s.pp - 1 else 0)
        dense, part = min(max(s.L_d - before, 0), layers), layers / s.L
        if s.L_f > 0:  # dense layers may be anywhere
            dense = s.L_d * part
        at = {"first": int(i == 0), "last": int(i == s.pp - 1)}
        at |= {"L_m": layers - dense - s.L_f * part, "L_D": dense + s.L_b * part}
        found.append(SimpleNamespace(L=layers, L_d=dense, **at))
    return found


def schedule(s, sizes, pipeline):
    """(cost of one micro batch through all layers, T_pp of all of them)."""
    p = micro_batch(s, sizes, pipeline)
    total = through(s, p, pipeline, whole(s))
    sent = network.send(s, sizes(s))
    alone = total[SECONDS] + (s.pp - 1) * sent
    slowest = max(through(s, p, pipeline, stage)[SECONDS] for stage in stages(s)) + (sent if s.pp > 1 else 0)
    return total, max(alone, s.M * slowest) if s.decode else alone + (s.M - 1) * slowest
