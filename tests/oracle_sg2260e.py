"""Oracle: DeepSeek-V3 671B (W8A16) deployed on SG2260E chips with TP / DP / EP / SP, decode and prefill.

A second, deliberately plain implementation of the closed form.  It takes Python scalars, computes in IEEE double
precision and shares no code with any package; a vectorised implementation is right when it agrees with this one point
by point.

Words used below
    group    the `tp` chips that hold one copy of the attention weights; there are dp = chips / tp groups
    M        tokens of one group; every chip of the group sees all of them (tensor parallel), but where SP splits
    count    `batch`: decode = sequences PER CHIP (each advances one token); prefill = prompts in TOTAL
All times are seconds, all sizes bytes, all rates per second.  GiB = 2**30 in the tables this is compared with.
"""

import math

import numpy as np

# DeepSeek-V3 (fixed: the study has one model)
H, V = 7168, 129280
LAYERS, DENSE_LAYERS, MOE_LAYERS = 61, 3, 58
HEADS, Q_RANK, KV_RANK, ROPE, NOPE, V_DIM = 128, 1536, 512, 64, 128, 128
LATENT = KV_RANK + ROPE  # 576: cached elements per token and layer, shared by all heads
QK_DIM = NOPE + ROPE  # 192
I_DENSE, I_MOE = 18432, 2048
EXPERTS, TOP_K = 256, 8

# Chips per fast island (g) when a group of n is too large for one: the ring is then run inside islands and between
# them.
ISLAND = {8: 4, 16: 2, 32: 4}


def operator_time(flops, nbytes, *, flops_per_s, bytes_per_s, overlap):
    """Compute and DRAM time of one operator: overlap 1 is max(c, d), the roofline; 0 (this study) c + d."""
    compute, dram = flops / flops_per_s, nbytes / bytes_per_s
    return max(compute, dram) + (1.0 - overlap) * min(compute, dram)


def gemm(groups, m, k, n, *, weight_bytes, activation_in_bytes, activation_out_bytes):
    """(flops, bytes) of `groups` independent products [m, k] x [k, n]; weights are read once per group."""
    flops = 2.0 * groups * m * k * n
    nbytes = groups * (weight_bytes * k * n + activation_in_bytes * m * k + activation_out_bytes * m * n)
    return flops, nbytes


def ring_all_reduce(n, nbytes, rate, start_s):
    """A ring moves 2 (n-1)/n of the payload through each link.  Only n - 1 start-ups are charged, not 2 (n - 1)."""
    return 2.0 * (n - 1) / n * nbytes / rate + (n - 1) * start_s


def all_reduce_time(n, nbytes, *, intra, inter, start_s):
    """All-reduce of `nbytes` over n chips; `intra` and `inter` are rates after utilisation.

    For n in 8, 16, 32 the two rings (inside islands of g, between q = n / g islands) overlap, so the slower one
    counts, and each moves the whole payload.  With inter = intra it is still the hierarchical form.
    """
    if n == 1:
        return 0.0
    if n not in ISLAND:
        return ring_all_reduce(n, nbytes, intra, start_s)
    g = ISLAND[n]
    return max(ring_all_reduce(g, nbytes, intra, start_s), ring_all_reduce(n // g, nbytes, inter, start_s))


def all_to_all_time(rows, element_bytes, moe_tp, *, intra, inter, start_s):
    """Dispatch or combine of `rows` routed token copies, one chip's share.

    The whole volume crosses `inter` (no locality factor (ep-1)/ep).  With expert TP each chip carries 1 / moe_tp
    of the hidden dimension and an all-gather over the moe_tp chips (always on `intra`) rebuilds the rows.
    """
    nbytes = rows * H * element_bytes / moe_tp
    return (nbytes / inter + start_s) + (moe_tp - 1) * (nbytes / intra + start_s)


def weight_memory(tp, moe_tp, ep, weight_bytes):
    """Weights on one chip: MLA down-projections, gate and embedding are replicated, the rest is split by tp or by
    moe_tp ep.
    """
    mla = (
        H * Q_RANK + H * LATENT + (Q_RANK * HEADS * QK_DIM + KV_RANK * HEADS * (NOPE + V_DIM) + HEADS * V_DIM * H) / tp
    )
    dense = 3 * H * I_DENSE / tp
    moe = 3 * H * I_MOE * EXPERTS / (moe_tp * ep) + 3 * H * I_MOE / tp + EXPERTS * H
    return weight_bytes * (LAYERS * mla + DENSE_LAYERS * dense + MOE_LAYERS * moe + V * H + V * H / tp)


def check(phase, chips, tp, moe_tp, ep, batch, sp):
    """Reject what the study does not define."""
    if phase not in ("decode", "prefill"):
        raise ValueError("phase is 'decode' or 'prefill'")
    if chips % tp or HEADS % tp:
        raise ValueError("tp must divide the chips and the 128 heads")
    if moe_tp * ep != chips or EXPERTS % ep:
        raise ValueError("moe_tp * ep must equal chips and ep must divide 256")
    if sp not in (1, tp) or (phase == "decode" and sp != 1):
        raise ValueError("sp is 1, or tp in prefill")
    if phase == "prefill" and batch % (chips // tp):
        raise ValueError("dp must divide the prompts")


def evaluate(
    *,
    phase,
    chips,
    tp,
    moe_tp,
    ep,
    batch,
    sp=1,
    inter_bytes_per_s,  # 16e9 two-layer switch, 64e9 one-layer switch
    intra_bytes_per_s=64e9,
    context=4096,  # KV length in decode, prompt length in prefill
    # hardware
    peak_flops_per_s=128e12,  # int8; only the MFU uses it
    matmul_flops_per_s=None,  # None: 64e12 x 40/48 in decode, 64e12 in prefill
    dram_bytes_per_s=273e9,
    dram_utilisation=0.893,
    dram_factor=0.965,  # on top of the utilisation, for operators but not for the embedding
    overlap=0.0,  # of compute and DRAM time inside one operator
    network_utilisation=0.95,
    message_start_s=0.59e-6,
    # software and number formats
    weight_bytes=1,
    activation_in_bytes=2,
    activation_out_bytes=2,
    embedding_passes=3,
    kv_read_bytes_per_token=0.42 * LATENT,  # 241.92: effective bytes read per token and layer (time)
    kv_cache_bytes_per_element=2,  # stored (memory)
    dispatch_bytes=1,
    combine_bytes=2,
    all_reduces_per_layer=None,  # None: 3 in decode, 2 (reduce-scatter + all-gather pairs) in prefill
    active_parameters=36.5e9,  # the linear part of the MFU's flops
):
    """One configuration.  Returns block times per layer [s], collectives [s], totals, MFU and memory; see the end of
    the function.
    """
    check(phase, chips, tp, moe_tp, ep, batch, sp)
    decode = phase == "decode"
    if matmul_flops_per_s is None:
        matmul_flops_per_s = 64e12 * 40 / 48 if decode else 64e12
    if all_reduces_per_layer is None:
        all_reduces_per_layer = 3 if decode else 2

    dram = dram_bytes_per_s * dram_utilisation
    intra = intra_bytes_per_s * network_utilisation
    inter = inter_bytes_per_s * network_utilisation
    links = {"intra": intra, "inter": inter, "start_s": message_start_s}

    def timed(flops, nbytes):
        return operator_time(
            flops, nbytes, flops_per_s=matmul_flops_per_s, bytes_per_s=dram * dram_factor, overlap=overlap
        )

    def mm(groups, m, k, n):
        return timed(
            *gemm(
                groups,
                m,
                k,
                n,
                weight_bytes=weight_bytes,
                activation_in_bytes=activation_in_bytes,
                activation_out_bytes=activation_out_bytes,
            )
        )

    def pieces(batch):
        """Everything that has a time, as a function of the batch (TBO evaluates it again at half of it)."""
        dp = chips // tp
        hd = HEADS // tp
        if decode:
            sequences = batch * tp  # of one group
            m = sequences  # one token each
            tokens_total = batch * chips
        else:
            sequences = batch / dp  # prompts of one group
            m = sequences * context
            tokens_total = context * batch
        m_sp = m / sp  # rows of the operators whose weights TP does not split

        t = {}
        # A table look-up; it runs at the plain DRAM rate.
        t["embedding"] = embedding_passes * m_sp * H * activation_in_bytes / dram

        # The KV up-projection is charged for all heads in decode and for this chip's heads in prefill.
        kv_up_heads = HEADS if decode else hd
        t["mm_qkv"] = (
            mm(1, m_sp, H, Q_RANK)
            + mm(1, m_sp, H, LATENT)
            + mm(1, m, Q_RANK, hd * QK_DIM)
            + mm(1, m, KV_RANK, kv_up_heads * (NOPE + V_DIM))
        )

        if decode:
            # Absorbed form: scores over 576, values over 512.  Every chip of the group reads the group's
            # whole latent cache.
            t["mla"] = timed(2.0 * m * hd * context * (LATENT + KV_RANK), m * context * kv_read_bytes_per_token)
        else:
            # Expanded form, no causal half; Q, K (192 wide), V, O (128 wide) each cross the DRAM once.
            t["mla"] = timed(
                2.0 * sequences * hd * context**2 * (QK_DIM + V_DIM),
                m * hd * (2 * QK_DIM + 2 * V_DIM) * activation_in_bytes,
            )

        t["attention_fc"] = mm(1, m, hd * V_DIM, H)
        t["dense_mlp"] = 2 * mm(1, m, H, I_DENSE / tp) + mm(1, m, I_DENSE / tp, H)

        # Balanced routing: tk rows reach this chip's experts, each expert gets a whole number of rows, and
        # the padded rows are paid for.
        experts = EXPERTS // ep
        tk = math.ceil(TOP_K * tokens_total / ep)
        rows = math.ceil(tk / experts)
        routed = 2 * mm(experts, rows, H, I_MOE / moe_tp) + mm(experts, rows, I_MOE / moe_tp, H)
        shared = 2 * mm(1, m, H, I_MOE / tp) + mm(1, m, I_MOE / tp, H)
        gate = mm(1, m_sp, H, EXPERTS)
        # The all-to-all moves the tk routed rows, not the padded ones.
        t["dispatch"] = all_to_all_time(tk, dispatch_bytes, moe_tp, **links)
        t["combine"] = all_to_all_time(tk, combine_bytes, moe_tp, **links)
        t["moe"] = routed + shared + gate + t["dispatch"] + t["combine"]

        # Only the last token of a prompt needs logits: sequences rows in either phase.  No gather over the
        # vocabulary shards.
        t["lm_head"] = mm(1, sequences, H, V / tp)

        # Every chip holds partial sums of all M rows, also under SP (reduce-scatter + all-gather moves what
        # an all-reduce does).
        t["all_reduce"] = all_reduce_time(tp, activation_out_bytes * m * H, **links)
        return t

    def step(t):
        return (
            t["embedding"]
            + LAYERS * (t["mm_qkv"] + t["mla"] + t["attention_fc"])
            + DENSE_LAYERS * t["dense_mlp"]
            + MOE_LAYERS * t["moe"]
            + t["lm_head"]
            + LAYERS * all_reduces_per_layer * t["all_reduce"]
        )

    t = pieces(batch)
    step_time = step(t)
    all_to_all = MOE_LAYERS * (t["dispatch"] + t["combine"])

    # Two-batch overlap hides the all-to-all entirely, but both halves read all weights.  Undefined where the
    # batch has no half.
    halves = batch % 2 == 0 and (decode or (batch // 2) % (chips // tp) == 0)
    if halves:
        half = pieces(batch // 2)
        tbo_step_time = 2.0 * (step(half) - MOE_LAYERS * (half["dispatch"] + half["combine"]))
    else:
        tbo_step_time = np.nan

    if decode:
        tokens = batch * chips
        core_flops = LAYERS * 2.0 * HEADS * context * (LATENT + KV_RANK) * tokens
        resident = batch  # sequences whose cache lies on one chip
    else:
        tokens = context * batch
        core_flops = LAYERS * 2.0 * batch * HEADS * context**2 * (QK_DIM + V_DIM)
        resident = batch / chips
    model_flops = 2.0 * active_parameters * tokens + core_flops
    kv_cache = resident * LAYERS * context * LATENT * kv_cache_bytes_per_element
    weights = weight_memory(tp, moe_tp, ep, weight_bytes)

    blocks = ("embedding", "mm_qkv", "mla", "attention_fc", "dense_mlp", "moe", "lm_head")
    out = {name: t[name] for name in blocks}  # `moe` includes dispatch and combine; no block includes an all-reduce
    out |= {
        "all_reduce": t["all_reduce"],  # one of them
        "all_reduce_count": all_reduces_per_layer,
        "dispatch": t["dispatch"],
        "combine": t["combine"],
        "step_time": step_time,  # TPOT in decode, FTL in prefill
        "tps_per_user": 1.0 / step_time,  # TPS/batch
        "tps_per_user_without_all_to_all": 1.0 / (step_time - all_to_all),  # the TBO criterion compares this with 20
        "tps_per_chip": tokens / chips / step_time,
        "tps_total": tokens / step_time,
        "mfu": model_flops / (chips * peak_flops_per_s * step_time),
        "weights_per_chip": weights,
        "kv_cache_per_chip": kv_cache,
        "memory_per_chip": weights + kv_cache,
        "tbo_step_time": tbo_step_time,  # nan where the batch has no half
    }
    return {name: value if name == "all_reduce_count" else np.float64(value) for name, value in out.items()}
