"""Forms of the time of an attention core that `dsjax calibrate` can fit, and what bounds it (see `forms`).

The shares of peak are those of the `kernel` curves (`attention_kernels.decode`, `prompts`).
"""

from ..formulas.attention_kernels import Core, decode, prompts
from ..formulas.efficiency import Efficiency
from .forms import kernel


def _call(positions, sequences, queries, width, beside=0.0):
    """`Core` of a measured call; what only picks knots is left open."""
    one = dict.fromkeys(("latent", "picked", "rate", "kv_bytes"), 0.0)
    sizes = {"positions": positions, "sequences": sequences, "queries": queries, "length": positions, "width": width}
    return Core(**one, **sizes, beside=beside)


def mla_decode_work(shape, peaks):
    """Seconds of absorbed MLA at peak: 2 B q h S (2 R + D_r) / P; (B S (R + D_r) b_kv + B q h (2 R + D_r) b') / BW."""
    rank, rope = shape["kv_lora_rank"], shape["qk_rope_head_dim"]
    heads = shape["batch"] * shape["queries"] * shape["heads"] * (2.0 * rank + rope)
    moved = shape["batch"] * shape["kv_len"] * (rank + rope) * peaks["kv_bytes"] + heads * peaks["result_bytes"]
    return 2.0 * heads * shape["kv_len"] / peaks["flops_per_s"], moved / peaks["hbm_bytes_per_s"]


def mla_decode(parameters, shape, peaks):
    """t0 + max(flops / (P e_c) max(1, tile / (q h)) (1 + s0 / S), bytes with s0 positions more / (BW e_m)) + t1 / (1 +
    s1 / S + B / 128): a sequence costs to begin and to end, few heads are computed as a tile, caches are joined."""
    queries, width = shape["queries"] * shape["heads"], 2.0 * shape["kv_lora_rank"] + shape["qk_rope_head_dim"]
    cached = shape["kv_len"] * (shape["kv_lora_rank"] + shape["qk_rope_head_dim"]) * peaks["kv_bytes"]
    call = _call(shape["kv_len"], shape["batch"], queries, width, queries * width * peaks["result_bytes"] / cached)
    return kernel(mla_decode_work(shape, peaks), Efficiency(*decode(call, **parameters)))


def gqa_decode_work(shape, peaks):
    """Seconds of grouped queries at peak: 4 B q h S D / P; 2 (B S h_kv D b_kv + B q h D b') / BW."""
    rows = shape["batch"] * shape["queries"] * shape["heads"] * shape["head_dim"]
    cached = shape["batch"] * shape["kv_len"] * shape["kv_heads"] * shape["head_dim"]
    moved = 2.0 * (cached * peaks["kv_bytes"] + rows * peaks["result_bytes"])
    return 4.0 * rows * shape["kv_len"] / peaks["flops_per_s"], moved / peaks["hbm_bytes_per_s"]


def gqa_decode(parameters, shape, peaks):
    """t0 + max(flops / (P e_c) max(1, tile h_kv / (q h)) (1 + s0 / S), bytes with s0 positions more / (BW e_m)) + t1 /
    (1 + s1 / S + B h_kv / 128): as of MLA, each head of keys a sequence of its own."""
    queries = shape["queries"] * shape["heads"] / shape["kv_heads"]
    beside = queries * peaks["result_bytes"] / (shape["kv_len"] * peaks["kv_bytes"])
    call = _call(shape["kv_len"], shape["batch"] * shape["kv_heads"], queries, 2.0 * shape["head_dim"], beside)
    return kernel(gqa_decode_work(shape, peaks), Efficiency(*decode(call, **parameters)))


def mla_prefill_work(shape, peaks):
    """Seconds of causal attention of B prompts at peak: 2 B h (S^2 / 2) (D_n + D_r + D_v) / P; Q, K, V, O once / BW.

    K and V of h / `heads_per_kv` heads.
    """
    width = shape["qk_nope_head_dim"] + shape["qk_rope_head_dim"] + shape["v_head_dim"]
    elements = shape["batch"] * shape["isl"] * shape["heads"] * width
    moved = elements * (1.0 + 1.0 / shape["heads_per_kv"]) * peaks["result_bytes"]
    return elements * shape["isl"] / peaks["flops_per_s"], moved / peaks["hbm_bytes_per_s"]


def mla_prefill(parameters, shape, peaks):
    """t0 + max(flops / (P e_c) (1 + s0 / S + f / (B S h)), bytes / (BW e_m) (1 + s1 / S)): blocks on the diagonal are
    half empty, few of them leave cores idle, prompts below a tile take a whole one."""
    width = shape["qk_nope_head_dim"] + shape["qk_rope_head_dim"] + shape["v_head_dim"]
    call = _call(shape["isl"], shape["batch"], shape["heads"], width)
    return kernel(mla_prefill_work(shape, peaks), Efficiency(*prompts(call, **parameters)))


def gqa_prefill_work(shape, peaks):
    """Seconds of causal attention of B prompts at peak: 4 B h (S^2 / 2) D / P; 2 B S (h + h_kv) D b' / BW."""
    tokens = shape["batch"] * shape["isl"] * shape["head_dim"]
    moved = 2.0 * tokens * (shape["heads"] + shape["kv_heads"]) * peaks["result_bytes"]
    flops = 2.0 * tokens * shape["heads"] * shape["isl"]
    return flops / peaks["flops_per_s"], moved / peaks["hbm_bytes_per_s"]


def gqa_prefill(parameters, shape, peaks):
    """t0 + max(flops / (P e_c) (1 + s0 / S + f / (B S h)) (1 + w / 2 D), bytes / (BW e_m) (1 + s1 / S)): as of MLA; the
    exponentials of a pair take as long whatever the width of a head."""
    call = _call(shape["isl"], shape["batch"], shape["heads"], 2.0 * shape["head_dim"])
    return kernel(gqa_prefill_work(shape, peaks), Efficiency(*prompts(call, **parameters)))
