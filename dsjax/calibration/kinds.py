"""Kinds of kernel and collective that measurements are of: form, parameters, columns of a file."""

from . import attention_kinds as attention
from . import layer_kinds
from .forms import (
    all_reduce,
    all_reduce_extended,
    all_reduce_work,
    exchange,
    exchange_extended,
    exchange_work,
    experts,
    experts_work,
    fused_experts,
    gemm,
    gemm_work,
    grouped_gemm,
    grouped_work,
)
from .kind import Kind, Parameter, depth, loss, share, start

_GEMM = {
    "compute": share("share of peak compute of a large one", "gemm_compute"),
    "tail": Parameter("1", "result elements at which half of that is reached", 2e5, 1.0, 1e9, "gemm_tail"),
    "memory": share("share of memory bandwidth", "gemm_memory", 0.85),
    "start_s": start("gemm_start_s"),
    "depth_s": depth("gemm_depth_s"),
    "loss": loss("gemm_loss"),
}


_GROUPED = {
    "compute": share("share of peak compute with many rows per expert and a long K", "expert_compute"),
    "rows": Parameter("1", "rows of one expert at which 2/3 of that are reached", 30.0, 1e-2, 1e4, "expert_rows"),
    "fill": Parameter("1", "elements of K at which half of that is reached", 3e2, 1.0, 1e4, "expert_fill"),
    "memory": share("share of memory bandwidth", "expert_memory", 0.85),
    "start_s": start("expert_start_s"),
    "depth_s": depth("expert_depth_s"),
    "loss": loss("expert_loss"),
}


# Of kernels that take the place of a dispatch: a card holds more experts than have rows, so that both tell apart; and
# `idle` is no number of the core model, so of no row.
_FUSED = _GROUPED | {
    "slot_s": start("expert_slot_s", "time of every expert that a card holds", 1e-8, 1e-5, low=1e-11),
    "idle": Parameter("1", "times that rows of other cards' experts are walked over", 1.0, 1e-3, 30.0, ""),
}


def _exchange(side):
    """Parameters of a dispatch ("exchange") or combine; both share those outside the domain."""
    return {
        "inside": share("share of the bandwidth inside the domain", f"{side}_utilisation"),
        "outside": share("share of the bandwidth outside the domain", "nic.exchange_utilisation"),
        "start_s": start(f"{side}_start_s", "fixed time", 2e-5),
        "outside_s": start("nic.exchange_start_s", "fixed time on top where tokens leave the domain", 2e-5),
    }


_ALL_REDUCE = {
    "inside": share("share of the bandwidth of large messages", "scale_up_utilisation"),
    "start_s": start("all_reduce_start_s", "fixed time"),
    "step_s": start("scale_up_step_s", "time per step, of which there are two per further chip", 5e-7),
    "rise_s": start("all_reduce_rise_s", "how slowly the bandwidth rises with the message", 1e-6),
}


_OF_EXPERTS = dict.fromkeys(
    ("num_groups", "num_local_experts", "m_per_group", "tokens_per_expert", "num_experts", "topk"), "experts"
)
_MNK = {"n": ("1", "columns of the weight"), "k": ("1", "inner size")}


_EXPERTS = {
    "num_tokens": ("token", "tokens of all cards"),
    "hidden_size": ("1", "elements of a token"),
    "inter_size": ("1", "width of one expert, whole"),
    "num_experts": ("1", "routed experts"),
    "ep_size": ("1", "cards that share them"),
}


_TOKENS = {
    "ep_size": ("1", "chips that exchange"),
    "num_token": ("token", "tokens of one chip"),
    "hidden_size": ("1", "elements of a token"),
}


KINDS = {
    "gemm": Kind(
        "GEMM",
        gemm,
        gemm_work,
        _GEMM,
        {"m": ("1", "rows"), **_MNK},
        ("n", "k"),
        {"quantised": 0.0},
        foreign=_OF_EXPERTS,
    ),
    "grouped-gemm": Kind(
        "grouped GEMM of the experts of one card",
        grouped_gemm,
        grouped_work,
        _GROUPED,
        {"num_groups": ("1", "experts"), "m_per_group": ("1", "rows of one expert"), **_MNK},
        ("num_groups", "n", "k"),
        fixed={"expert_slot_s": 0.0},
    ),
    "experts": Kind(
        "routed experts of one card after a dispatch: gate + up, activation, down",
        experts,
        experts_work,
        _GROUPED,
        _EXPERTS,
        ("num_tokens", "ep_size"),
        {"topk": 8.0, "moe_tp_size": 1.0},
        fixed={"expert_slot_s": 0.0},
    ),
    "fused-experts": Kind(
        "routed experts of one card without a dispatch: order of the rows, gate + up, activation, down, sum",
        fused_experts,
        experts_work,
        _FUSED,
        _EXPERTS,
        ("hidden_size", "inter_size", "num_experts", "ep_size", "moe_tp_size"),
        {"topk": 8.0, "moe_tp_size": 1.0},
    ),
    **attention.KINDS,
    **layer_kinds.KINDS,
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
    hidden = start(f"{side}_hidden_s", "part of the fixed time in which data moves already", 5e-6)
    return {"form": exchange_extended, "parameters": _exchange(side) | {"hidden_s": hidden}, "fixed": {}}


# Forms with five parameters, where they pay.
EXTENDED = KINDS | {
    "dispatch": KINDS["dispatch"]._replace(**_exchange_extended("exchange")),
    "combine": KINDS["combine"]._replace(**_exchange_extended("combine")),
    **attention.EXTENDED,
    "all-reduce": KINDS["all-reduce"]._replace(
        form=all_reduce_extended,
        parameters=_ALL_REDUCE | {"direct": share("share of the bandwidth of small messages", "all_reduce_direct")},
    ),
}


FORMS = {"kernel": KINDS, "extended": EXTENDED}
