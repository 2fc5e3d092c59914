"""Plain NumPy (float64) oracle of a published decode model, independent of the package under test.

Equation source: the 2025 GPU decode study (decode-only estimate for DeepSeek-V3 under expert
parallelism), tables of 66 rows. The study is reproduced as published, slips included.

Every piece of work is a 2 x 4 array over the kinds (compute, memory, network, latency): row 0
holds the seconds it adds to the critical path, row 1 the seconds it keeps that kind busy.
One after the other is `a + b`, side by side is `overlap(a, b)`.
"""

import numpy as np

# The study multiplies G and T by powers of 1024, for rates as well as for bytes.
GI, TI = 1024.0**3, 1024.0**4

# DeepSeek-V3, all 61 layers taken as sparse ones.
LAYERS = 61
HIDDEN = 7168
HEADS = 128
HEAD_DIM = 128
Q_LORA = 1536
Q_UP_OUT = 24576
LATENT = 512
KV_DIM = 576  # latent + 64 rope
EXPERTS = 256
TOP_K = 8
EXPERT_WIDTH = 2048
VOCAB = 129280

LAYER_PARAMS = (  # per layer, without the experts: the true shapes, which the Q GEMMs below miss
    HIDDEN * Q_LORA + Q_LORA * Q_UP_OUT + HIDDEN * KV_DIM + 2 * LATENT * HEADS * HEAD_DIM + HEADS * HEAD_DIM * HIDDEN
)
EXPERT_PARAMS = 3 * HIDDEN * EXPERT_WIDTH

EXTRA_TOKENS = 128  # FlashMLA's GEMMs (only they) see this many tokens beyond the context
MIN_ROWS = 64  # a GEMM is charged the flops of at least this many rows

DEEPGEMM = (  # (least M, gate+up, down), TFLOPS of 1979
    (1024, 1233, 925),
    (512, 1040, 916),
    (256, 932, 815),
    (128, 533, 510),
    (0, 287, 295),
)


def _gpu(hbm_bytes_per_s, bf16, fp8, sms_ghz, overlap, m128, m256, hbm_bytes):
    return dict(
        hbm_bytes_per_s=hbm_bytes_per_s,
        bf16_flops_per_s=bf16 * TI,
        fp8_flops_per_s=fp8 * TI,
        vector_ops_per_s=16 * sms_ghz * GI,
        softmax_overlap=overlap,
        flash_mla_m128=m128,
        flash_mla_m256=m256,
        thread_all_reduce_s=0.5e-6,
        hbm_bytes=hbm_bytes,
    )


# Keyword arguments of `evaluate`. The capacities are decimal and of low confidence.
GPUS = {
    "H800": _gpu(3.3 * TI, 989.5, 1979, 132 * 1.83, 1, 510 / 989, 550 / 989, 80e9),
    "H20": _gpu(4 * TI, 148, 296, 78 * 1.83, 1, 125 / 148, 125 / 148, 96e9),
    "A100": _gpu(2 * TI, 312, 624, 108 * 1.41, 0, 510 / 989, 550 / 989, 80e9),
    "L20": _gpu(864 * GI, 119.5, 239, 92 * 2.235, 0, 510 / 989, 550 / 989, 32e9),
}
NICS = {"CX7": 40 * GI, "E810": 10 * GI}  # nic_bytes_per_s


def work(compute=0.0, memory=0.0, network=0.0, latency=0.0):
    kinds = compute, memory, network, latency
    return np.array([kinds, kinds], dtype=np.float64)


def seconds(a):
    return float(a[0].sum())


def overlap(a, b):
    """Side by side: the longer one (the first on a tie) is exposed, both are busy."""
    longer = a if seconds(a) >= seconds(b) else b
    return np.array([longer[0], a[1] + b[1]])


def a100_curve(m, k, n):
    """Share of the peak rate a GEMM reaches; m, k, n of one head."""
    small = min(m, n)
    if k < small:
        log_k = np.log2(k)
        if log_k >= 10:
            return 260 / 312
        if log_k >= 6:
            return (50 + 50 * (log_k - 6)) / 312
        return 50 / 312
    log_small = np.log2(small)
    if log_small >= 11:
        share = 260 / 312
    elif log_small >= 8:
        share = (30 + 200 / 3 * (log_small - 8)) / 312
    else:
        share = 30 / 312
    if k > 4096 and max(m, n) >= 1536 and small >= 64:
        share = max(share, 289 / 1979)
    return share


def deepgemm_shares(m):
    for least, up, down in DEEPGEMM:
        if m >= least:
            return up / 1979, down / 1979


def evaluate(
    *,
    hbm_bytes_per_s,
    bf16_flops_per_s,
    fp8_flops_per_s,
    vector_ops_per_s,
    softmax_overlap,
    flash_mla_m128,
    flash_mla_m256,
    thread_all_reduce_s,
    hbm_bytes,
    nic_bytes_per_s,
    context,
    batch,
    ep,
    mtp,
    kv_bytes,
    weight_bytes,
    pipeline,
    deepgemm=True,
    acceptance=0.85,
):
    """Times in seconds, of one card; operators are per layer and micro batch.

    batch: sequences per card; mtp: draft tokens; weight_bytes: per non-expert parameter (experts
    always take 1); softmax_overlap: 0 none, 1 with one GEMM, 2 with both.
    """
    if pipeline not in ("naive", "dual-mbatch"):
        raise ValueError(f"unknown pipeline {pipeline!r}")
    if softmax_overlap not in (0, 1, 2):
        raise ValueError(f"unknown softmax_overlap {softmax_overlap!r}")
    # float64 throughout, so that a narrow integer argument cannot overflow
    context, batch, nm, kvc = float(context), float(batch), float(weight_bytes), float(kv_bytes)
    q = 1 + int(mtp)
    naive = pipeline == "naive"
    count = 1 if naive else 2
    mb = batch / count
    rows = mb * q

    def peak(elem):
        return fp8_flops_per_s if elem == 1 else bf16_flops_per_s

    def gemm(m, k, n, elem, acc, heads=1, share=None):
        if share is None:
            share = a100_curve(m, k, n)
        nbytes = heads * (m * k * elem + k * n * elem + m * n * acc)  # the real m
        flops = 2 * heads * max(MIN_ROWS, m) * k * n
        return overlap(work(memory=nbytes / hbm_bytes_per_s), work(compute=flops / (peak(elem) * share)))

    def expert(m):
        up_share, down_share = deepgemm_shares(m) if deepgemm else (None, None)
        return gemm(m, HIDDEN, 2 * EXPERT_WIDTH, 1, 4, share=up_share) + gemm(
            m, EXPERT_WIDTH, HIDDEN, 1, 4, share=down_share
        )

    # Projections. Slip: Q down and up take the ranks for the widths they belong to.
    q_down = gemm(rows, Q_LORA, HEAD_DIM, nm, 4)
    q_up = gemm(rows, HEAD_DIM, Q_UP_OUT, nm, 2)
    q_absorb = gemm(rows, HEAD_DIM, LATENT, nm, 2, heads=HEADS)
    kv_compress = gemm(rows, HIDDEN, KV_DIM, nm, 2)
    s_kv_up = gemm(rows, LATENT, HEAD_DIM, nm, 2, heads=HEADS)
    output = gemm(rows, HEADS * HEAD_DIM, HIDDEN, nm, 2)

    # Experts. Slips: each expert on the card sees the whole micro batch; naive forgets q.
    tokens = batch if naive else rows
    experts_on_card = float(np.ceil(EXPERTS / ep))
    shared = expert(tokens)
    moe = experts_on_card * expert(TOP_K * tokens)

    # FlashMLA: a row of scores per head and query token. The study has discounts for two sizes.
    m = HEADS * q
    if m not in (128, 256):
        raise ValueError(f"no FlashMLA discount for mtp = {mtp}")
    rate = peak(nm) * (flash_mla_m128 if m == 128 else flash_mla_m256)
    qk = work(compute=mb * 2 * m * KV_DIM * (context + EXTRA_TOKENS) / rate)
    pv = work(compute=mb * 2 * m * LATENT * (context + EXTRA_TOKENS) / rate)
    softmax = work(
        compute=mb * 3 * m * context / vector_ops_per_s,  # 1 exp2, 2 reduce
        latency=mb * thread_all_reduce_s,
    )
    if softmax_overlap == 2:
        core = overlap(softmax, qk + pv)
    elif softmax_overlap == 1:
        core = qk + overlap(softmax, pv)
    else:
        core = qk + pv + softmax
    flash_mla = overlap(core, work(memory=mb * context * KV_DIM * kvc / hbm_bytes_per_s))

    dispatch = work(network=HIDDEN * TOP_K * rows / nic_bytes_per_s)  # always 1 byte per element
    combine = work(network=HIDDEN * nm * TOP_K * rows / nic_bytes_per_s)

    att0 = q_down + q_up + q_absorb + kv_compress
    att1 = flash_mla + s_kv_up + output
    if naive:
        layer = att0 + att1 + overlap(dispatch, shared) + moe + combine
    else:
        layer = 2 * (overlap(dispatch, att0 + shared) + moe + overlap(combine, att1))
    step = LAYERS * layer
    step_time = seconds(step)
    tps_per_user = (1 + sum(acceptance**i for i in range(1, q))) / step_time

    memory = (
        LAYERS * (LAYER_PARAMS * nm + EXPERT_PARAMS * (1 + experts_on_card))
        + 2 * VOCAB * HIDDEN * nm  # embedding and head
        + batch * context * KV_DIM * LAYERS * kvc
    )

    operators = dict(
        q_down=q_down,
        q_up=q_up,
        q_absorb=q_absorb,
        kv_compress=kv_compress,
        flash_mla=flash_mla,
        s_kv_up=s_kv_up,
        output=output,
        shared=shared,
        moe=moe,
        dispatch=dispatch,
        combine=combine,
    )
    result = {name: seconds(op) for name, op in operators.items()}
    result.update(
        layer=seconds(layer),
        step_time=step_time,
        tps_per_user=float(tps_per_user),
        tps_per_chip=float(batch * tps_per_user),
        memory_per_chip=float(memory),
        ok_memory=bool(memory <= hbm_bytes),
    )
    for i, kind in enumerate(("compute", "memory", "network", "latency")):
        result[f"exposed_{kind}"] = float(step[0, i])
        if kind != "latency":
            result[f"busy_{kind}"] = float(step[1, i])
    return result
