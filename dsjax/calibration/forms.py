"""Kinds of measurement that `dsjax calibrate` can fit: their shapes, what bounds them, and the form of their time.

A form is a scalar function (parameters, shape, peaks) -> seconds, three dicts of numbers in SI units: `parameters` are
fitted, `shape` comes from a measurement, `peaks` from the catalog: `flops_per_s` (P) at the precision measured,
`hbm_bytes_per_s` (BW), `scale_up_bytes_per_s` (U), `scale_out_bytes_per_s` (O), `operand_bytes` (of an element read),
`result_bytes` (of an element written), `kv_bytes`. Every fixed time is a `*_s` parameter, so that all rates x a and all
of these / a give time / a. A work function (shape, peaks) -> (s at peak rate, s at peak bandwidth) is what no
measurement can beat. The shares of peak of kernels are those of the `kernel` curves (`curves.wide`, `curves.filled`).
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp

from ..formulas import network
from ..formulas.efficiency import cached, causal, filled, wide


class Parameter(NamedTuple):
    """A number to fit: its units, meaning, first guess, bounds (all positive), and its field in a catalog row."""

    units: str
    doc: str
    guess: float
    low: float
    high: float
    field: str


class Kind(NamedTuple):
    """One kind of measurement. `columns` of the shape; `group`: what one shape is in the cross-validation."""

    doc: str
    form: Callable
    work: Callable
    parameters: dict  # {name: Parameter}
    columns: dict  # {column: (units, meaning)}
    group: tuple  # columns
    optional: dict = {}  # {column: value where a file does not have it}
    is_curve: bool = True  # whether the form is that of a `kernel` curve, so that its row can be used as one
    fixed: dict = {}  # {field of a catalog row: value} that the form takes for granted


def gemm_work(shape, peaks):
    """Seconds of (M, K) x (K, N) at peak: 2 M N K / P; ((M + N) K b + M N b') / BW."""
    m, n, k = shape["m"], shape["n"], shape["k"]
    moved = (m + n) * k * peaks["operand_bytes"] + m * n * peaks["result_bytes"]
    return 2.0 * m * n * k / peaks["flops_per_s"], moved / peaks["hbm_bytes_per_s"]


def kernel(work, efficiency):
    """t0 + max(c / e_c, d / e_m) of work (c, d) [s] at the peaks: `roofline.kernel` with perfect overlap."""
    compute, moved = work
    return efficiency.start_s + jnp.maximum(compute / efficiency.compute, moved / efficiency.memory)


def gemm(parameters, shape, peaks):
    """t0 + max(2 M N K / (P e_c) (1 + tail / (M N)), bytes / (BW e_m) (1 + columns / (N (1 + M / 512)))): few result
    elements leave cores idle, few columns leave too few of them reading weights."""
    return kernel(gemm_work(shape, peaks), wide(parameters, shape["m"], shape["n"]))


def grouped_work(shape, peaks):
    """Seconds of G products of m rows at peak, w = N K weights each: 2 G m w / P; (G w b + G m (K b + N b')) / BW."""
    rows = shape["num_groups"] * shape["m_per_group"]
    weights = shape["n"] * shape["k"]
    moved = (shape["num_groups"] * weights + rows * shape["k"]) * peaks["operand_bytes"]
    moved = moved + rows * shape["n"] * peaks["result_bytes"]
    return 2.0 * rows * weights / peaks["flops_per_s"], moved / peaks["hbm_bytes_per_s"]


def grouped_gemm(parameters, shape, peaks):
    """t0 + max(2 G (m + m0) N K / (P e_c), bytes / (BW e_m)): tiles are filled up by m0 rows."""
    return kernel(grouped_work(shape, peaks), filled(parameters, shape["m_per_group"]))


POINTWISE = 0.7  # share of memory bandwidth, as in the core model's curves


def _experts(shape):
    """Both products of the G experts of a card that have rows, spread evenly; (shapes, elements between them)."""
    rows = shape["num_tokens"] * shape["topk"] / shape["ep_size"]
    hit = jnp.minimum(shape["num_experts"] / shape["ep_size"], rows)
    hidden, width = shape["hidden_size"], shape["inter_size"]
    both = {"num_groups": hit, "m_per_group": rows / hit}
    return [both | {"n": 2.0 * width, "k": hidden}, both | {"n": hidden, "k": width}], 3.0 * rows * width


def experts_work(shape, peaks):
    """Seconds at peak of both grouped GEMMs, `grouped_work`, and of the activation between them."""
    products, between = _experts(shape)
    (up, read_up), (down, read_down) = (grouped_work(product, peaks) for product in products)
    return up + down, read_up + read_down + between * peaks["result_bytes"] / peaks["hbm_bytes_per_s"]


def experts(parameters, shape, peaks):
    """`grouped_gemm` of gate + up and of down, and 3 R I b' / (0.7 BW) of the activation between them."""
    products, between = _experts(shape)
    activation = between * peaks["result_bytes"] / (POINTWISE * peaks["hbm_bytes_per_s"])
    return sum(grouped_gemm(parameters, product, peaks) for product in products) + activation


def mla_decode_work(shape, peaks):
    """Seconds of absorbed MLA at peak: 2 B q h S (2 R + D_r) / P; (B S (R + D_r) b_kv + B q h (2 R + D_r) b') / BW."""
    rank, rope = shape["kv_lora_rank"], shape["qk_rope_head_dim"]
    heads = shape["batch"] * shape["queries"] * shape["heads"] * (2.0 * rank + rope)
    moved = shape["batch"] * shape["kv_len"] * (rank + rope) * peaks["kv_bytes"] + heads * peaks["result_bytes"]
    return 2.0 * heads * shape["kv_len"] / peaks["flops_per_s"], moved / peaks["hbm_bytes_per_s"]


def mla_decode(parameters, shape, peaks):
    """t0 + max(flops / (P e_c) (1 + w / (B S)), bytes / (BW e_m)): few cached tokens leave cores idle."""
    return mla_decode_extended(parameters | {"split_s": 0.0, "split_tokens": 0.0}, shape, peaks)


def mla_decode_extended(parameters, shape, peaks):
    """t0 + t1 / (1 + s1 / S + B / 128) + max(flops / (P e_c), bytes / (BW e_m)): long caches are split and joined."""
    efficiency = cached({"rows": 0.0} | parameters, shape["kv_len"], shape["batch"])
    return kernel(mla_decode_work(shape, peaks), efficiency)


def mla_prefill_work(shape, peaks):
    """Seconds of causal attention of B prompts at peak: 2 B h (S^2 / 2) (D_n + D_r + D_v) / P; Q, K, V, O once / BW.

    K and V of h / `heads_per_kv` heads.
    """
    width = shape["qk_nope_head_dim"] + shape["qk_rope_head_dim"] + shape["v_head_dim"]
    elements = shape["batch"] * shape["isl"] * shape["heads"] * width
    moved = elements * (1.0 + 1.0 / shape["heads_per_kv"]) * peaks["result_bytes"]
    return elements * shape["isl"] / peaks["flops_per_s"], moved / peaks["hbm_bytes_per_s"]


def mla_prefill(parameters, shape, peaks):
    """t0 + max(flops / (P e_c) (1 + s0 / S), bytes / (BW e_m)): blocks on the diagonal are half empty, and short rows
    start often."""
    return mla_prefill_extended(parameters | {"short": 0.0}, shape, peaks)


def mla_prefill_extended(parameters, shape, peaks):
    """t0 + max(flops / (P e_c) (1 + s0 / S), bytes / (BW e_m) (1 + s1 / S)): prompts below a tile take a whole one."""
    return kernel(mla_prefill_work(shape, peaks), causal(parameters, shape["isl"], shape["isl"]))


def exchange_volumes(shape, element_bytes):
    """(bytes inside the domain, bytes that leave it) of one chip: T k H b, of which 1 / ep stays on the chip."""
    volume = shape["num_token"] * shape["topk"] * shape["hidden_size"] * element_bytes
    inside = shape["ep_size"] / shape["node_num"]
    return volume * (inside - 1.0) / shape["ep_size"], volume * (1.0 - inside / shape["ep_size"])


def exchange_work(shape, peaks):
    """Seconds of the bytes sent at peak: none to compute; max(V_in / U, V_out / O)."""
    inside, outside = exchange_volumes(shape, peaks["operand_bytes"])
    slower = jnp.maximum(inside / peaks["scale_up_bytes_per_s"], outside / peaks["scale_out_bytes_per_s"])
    return 0.0 * slower, slower


def exchange(parameters, shape, peaks):
    """t0 + t1 [leaves the domain] + max(V_in / (U u_in), V_out / (O u_out)), V_in and V_out one copy per expert."""
    return exchange_extended(parameters | {"hidden_s": jnp.zeros(())}, shape, peaks)


def exchange_extended(parameters, shape, peaks):
    """t0 + t1 [leaves the domain] + sqrt(t2^2 + v^2) - t2, v = max(V_in / (U u_in), V_out / (O u_out)): data moves in
    a part t2 of the fixed time already."""
    inside, outside = exchange_volumes(shape, peaks["operand_bytes"])
    slower = jnp.maximum(
        inside / (peaks["scale_up_bytes_per_s"] * parameters["inside"]),
        outside / (peaks["scale_out_bytes_per_s"] * parameters["outside"]),
    )
    leaves = jnp.where(shape["node_num"] > 1.0, parameters["outside_s"], 0.0)
    return parameters["start_s"] + leaves + sum(network.partly_hidden(slower, parameters["hidden_s"]))


def all_reduce_work(shape, peaks):
    """Seconds of a ring at peak: none to compute; 2 (n - 1) / n b / U."""
    n = shape["num_gpus"]
    sent = 2.0 * (n - 1.0) / n * shape["bytes"]
    return 0.0 * sent, sent / peaks["scale_up_bytes_per_s"]


def all_reduce(parameters, shape, peaks):
    """t0 + 2 t1 (n - 1) + v / u + sqrt(t2 v), v = 2 (n - 1) / n b / U: the root is the rise to full bandwidth."""
    _, ring = all_reduce_work(shape, peaks)
    steps = parameters["start_s"] + 2.0 * parameters["step_s"] * (shape["num_gpus"] - 1.0)
    return steps + ring / parameters["inside"] + jnp.sqrt(parameters["rise_s"] * ring)


def all_reduce_extended(parameters, shape, peaks):
    """t0 + min(2 t1 (n - 1) + v / u + sqrt(t2 v), (n - 1) b / (U u1)): small ones are sent whole to all others."""
    whole = (shape["num_gpus"] - 1.0) * shape["bytes"] / peaks["scale_up_bytes_per_s"] / parameters["direct"]
    ring = all_reduce(parameters, shape, peaks) - parameters["start_s"]
    return parameters["start_s"] + jnp.minimum(ring, whole)


def _share(doc, field, guess=0.7):
    return Parameter("1", doc, guess, 0.01, 1.0, field)


def _start(field, doc="launch and ramp", guess=5e-6, high=1e-2):
    return Parameter("s", doc, guess, 1e-8, high, field)


_GEMM = {
    "compute": _share("share of peak compute of a large one", "gemm_compute"),
    "tail": Parameter("1", "result elements at which half of that is reached", 2e5, 1.0, 1e9, "gemm_tail"),
    "memory": _share("share of memory bandwidth of a wide one", "gemm_memory"),
    "columns": Parameter("1", "columns at which half of that is reached", 1e2, 1e-2, 1e5, "gemm_columns"),
    "start_s": _start("gemm_start_s"),
}
_GROUPED = {
    "compute": _share("share of peak compute with many rows per expert", "expert_compute"),
    "rows": Parameter("1", "rows per expert at which half of that is reached", 1e2, 1e-3, 1e5, "expert_rows"),
    "memory": _share("share of memory bandwidth", "expert_memory"),
    "start_s": _start("expert_start_s"),
}
_DECODE = {
    "compute": _share("share of peak compute of a large one", "attention_compute"),
    "rows": Parameter("token", "cached tokens at which half of that is reached", 8e3, 1e-3, 1e8, "attention_rows"),
    "memory": _share("share of memory bandwidth", "attention_memory"),
    "start_s": _start("attention_start_s", guess=1e-5),
}
_PREFILL = {
    "compute": _share("share of peak compute of a long prompt", "prefill_compute"),
    "rows": Parameter("token", "tokens at which half of that is reached", 5e2, 1e-3, 1e6, "prefill_rows"),
    "memory": _share("share of memory bandwidth", "prefill_memory"),
    "start_s": _start("prefill_start_s", guess=1e-5),
}


def _exchange(side):
    """Parameters of a dispatch ("exchange") or combine; what is outside the domain is the same for both."""
    return {
        "inside": _share("share of the bandwidth inside the domain", f"{side}_utilisation"),
        "outside": _share("share of the bandwidth outside the domain", "nic.exchange_utilisation"),
        "start_s": _start(f"{side}_start_s", "fixed time", 2e-5),
        "outside_s": _start("nic.exchange_start_s", "fixed time on top where tokens leave the domain", 2e-5),
    }


_ALL_REDUCE = {
    "inside": _share("share of the bandwidth of large messages", "scale_up_utilisation"),
    "start_s": _start("all_reduce_start_s", "fixed time"),
    "step_s": _start("scale_up_step_s", "time per step, of which there are two per further chip", 5e-7),
    "rise_s": _start("all_reduce_rise_s", "how slowly the bandwidth rises with the message", 1e-6),
}
_MNK = {"n": ("1", "columns of the weight"), "k": ("1", "inner size")}
_TOKENS = {
    "ep_size": ("1", "chips that exchange"),
    "num_token": ("token", "tokens of one chip"),
    "hidden_size": ("1", "elements of a token"),
}

KINDS = {
    "gemm": Kind("GEMM", gemm, gemm_work, _GEMM, {"m": ("1", "rows"), **_MNK}, ("n", "k")),
    "grouped-gemm": Kind(
        "grouped GEMM of the experts of one card",
        grouped_gemm,
        grouped_work,
        _GROUPED,
        {"num_groups": ("1", "experts"), "m_per_group": ("1", "rows of one expert"), **_MNK},
        ("num_groups", "n", "k"),
    ),
    "experts": Kind(
        "routed experts of one card: gate + up, activation, down",
        experts,
        experts_work,
        _GROUPED,
        {
            "num_tokens": ("token", "tokens of all cards"),
            "hidden_size": ("1", "elements of a token"),
            "inter_size": ("1", "width of one expert"),
            "num_experts": ("1", "routed experts"),
            "ep_size": ("1", "cards that share them"),
        },
        ("num_tokens", "ep_size"),
        {"topk": 8.0},
    ),
    "mla-decode": Kind(
        "attention core of absorbed MLA, one token a sequence",
        mla_decode,
        mla_decode_work,
        _DECODE,
        {"batch": ("sequence", "sequences"), "kv_len": ("token", "cached tokens of one sequence")},
        ("kv_len", "heads"),
        {"heads": 128.0, "queries": 1.0, "kv_lora_rank": 512.0, "qk_rope_head_dim": 64.0},
        fixed={"attention_split_s": 0.0},
    ),
    "mla-prefill": Kind(
        "causal attention core of MLA, not absorbed",
        mla_prefill,
        mla_prefill_work,
        _PREFILL,
        {"batch": ("sequence", "prompts"), "isl": ("token", "tokens of one prompt")},
        ("isl", "heads"),
        {"heads": 128.0, "heads_per_kv": 1.0, "qk_nope_head_dim": 128.0, "qk_rope_head_dim": 64.0, "v_head_dim": 128.0},
        fixed={"prefill_short": 0.0},
    ),
    "dispatch": Kind(
        "all-to-all to the experts, one copy per expert",
        exchange,
        exchange_work,
        _exchange("exchange"),
        _TOKENS,
        ("num_token", "hidden_size"),
        {"topk": 8.0, "node_num": 1.0},
        False,
        {"exchange_hidden_s": 0.0},
    ),
    "combine": Kind(
        "all-to-all back from the experts, one copy per expert",
        exchange,
        exchange_work,
        _exchange("combine"),
        _TOKENS,
        ("num_token", "hidden_size"),
        {"topk": 8.0, "node_num": 1.0},
        False,
        {"combine_hidden_s": 0.0},
    ),
    "all-reduce": Kind(
        "all-reduce inside one domain",
        all_reduce,
        all_reduce_work,
        _ALL_REDUCE,
        {"num_gpus": ("1", "chips"), "bytes": ("B", "bytes that one chip holds")},
        ("bytes",),
        {},
        False,
    ),
}


def _exchange_extended(side):
    """`KINDS` of an exchange with the part of its fixed time in which data moves already."""
    hidden = _start(f"{side}_hidden_s", "part of the fixed time in which data moves already", 5e-6)
    return {"form": exchange_extended, "parameters": _exchange(side) | {"hidden_s": hidden}, "fixed": {}}


# Forms with five parameters, where they pay.
EXTENDED = KINDS | {
    "dispatch": KINDS["dispatch"]._replace(**_exchange_extended("exchange")),
    "combine": KINDS["combine"]._replace(**_exchange_extended("combine")),
    "mla-decode": KINDS["mla-decode"]._replace(
        form=mla_decode_extended,
        parameters={name: x for name, x in _DECODE.items() if name != "rows"}
        | {
            "split_s": _start("attention_split_s", "to join the parts of a long cache", 1e-5),
            "split_tokens": Parameter(
                "token", "cached tokens at which half of it is reached", 1e3, 1e-3, 1e6, "attention_split_tokens"
            ),
        },
        fixed={"attention_rows": 0.0},
    ),
    "mla-prefill": KINDS["mla-prefill"]._replace(
        form=mla_prefill_extended,
        fixed={},
        parameters=_PREFILL
        | {
            "short": Parameter(
                "token", "prompt at which half of the bandwidth is reached", 1e2, 1e-3, 1e4, "prefill_short"
            )
        },
    ),
    "all-reduce": KINDS["all-reduce"]._replace(
        form=all_reduce_extended,
        parameters=_ALL_REDUCE | {"direct": _share("share of the bandwidth of small messages", "all_reduce_direct")},
    ),
}
FORMS = {"kernel": KINDS, "extended": EXTENDED}
