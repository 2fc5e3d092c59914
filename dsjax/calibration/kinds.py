"""Kinds of kernel and collective that measurements are of: form, parameters, columns of a file."""

from collections.abc import Callable
from typing import NamedTuple

from .forms import (
    all_reduce,
    all_reduce_extended,
    all_reduce_work,
    exchange,
    exchange_extended,
    exchange_work,
    experts,
    experts_work,
    gemm,
    gemm_work,
    grouped_gemm,
    grouped_work,
    mla_decode,
    mla_decode_extended,
    mla_decode_work,
    mla_prefill,
    mla_prefill_extended,
    mla_prefill_work,
)


class Parameter(NamedTuple):
    """A number to fit: its units, meaning, first guess, bounds (all positive), and its field in a catalog row."""

    units: str
    doc: str
    guess: float
    low: float
    high: float
    field: str


class Kind(NamedTuple):
    """A kind of measurement. `columns` of the shape; `group`: what one shape is in the cross-validation."""

    doc: str
    form: Callable
    work: Callable
    parameters: dict  # {name: Parameter}
    columns: dict  # {column: (units, meaning)}
    group: tuple  # columns
    optional: dict = {}  # {column: value where a file does not have it}
    is_curve: bool = True  # whether the form is that of a `kernel` curve, so that its row can be used as one
    fixed: dict = {}  # {field of a catalog row: value} that the form takes for granted


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
    """Parameters of a dispatch ("exchange") or combine; both share those outside the domain."""
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
