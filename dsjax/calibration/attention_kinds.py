"""Kinds of attention core that measurements are of: form, parameters, columns of a file."""

from .attention_forms import (
    gqa_decode,
    gqa_decode_work,
    gqa_prefill,
    gqa_prefill_work,
    mla_decode,
    mla_decode_work,
    mla_prefill,
    mla_prefill_work,
)
from .kind import Kind, Parameter, share, start
from .layer_kinds import OF_STATES


def _decode(kernel):
    return {
        "compute": share("share of peak compute of a long cache", f"{kernel}_compute", guess=0.5),
        "rows": Parameter(
            "token", "positions that beginning and ending a sequence is worth", 1e2, 1e-3, 1e5, f"{kernel}_rows"
        ),
        "memory": share("share of memory bandwidth of a long cache", f"{kernel}_memory"),
        "start_s": start(f"{kernel}_start_s", guess=1e-5),
    }


def _joined(kernel):
    """Further parameters of decode, where they pay."""
    return {
        "split_s": start(f"{kernel}_split_s", "to join the parts of a long cache", 1e-5),
        "split_tokens": Parameter(
            "token", "positions at which half of it is reached", 1e3, 1e-3, 1e6, f"{kernel}_split_tokens"
        ),
        "tile": Parameter("1", "queries of one key that are computed at least", 6e1, 1.0, 256.0, f"{kernel}_tile"),
    }


def _prompts(kernel):
    return {
        "compute": share("share of peak compute of a long prompt", f"{kernel}_compute"),
        "rows": Parameter("token", "tokens at which half of that is reached", 5e2, 1e-3, 1e6, f"{kernel}_rows"),
        "memory": share("share of memory bandwidth", f"{kernel}_memory"),
        "start_s": start(f"{kernel}_start_s", guess=1e-5),
    }


def _tiled(kernel):
    """Further parameters of prefill, where they pay."""
    return {
        "short": Parameter(
            "token", "prompt at which half of the bandwidth is reached", 3e1, 1e-3, 1e4, f"{kernel}_short"
        ),
        "fill": Parameter("1", "tokens x heads at which half of the cores have work", 1e4, 1e-1, 1e7, f"{kernel}_fill"),
    }


_SOFTMAX = {
    "softmax": Parameter(
        "1", "width of keys + values that a softmax takes as long as", 1e2, 1e-2, 1e4, "gqa_prefill_softmax"
    )
}
_BATCH = {"batch": ("sequence", "sequences")}
_CACHE = {"kv_len": ("token", "cached tokens of one sequence")}
_PROMPT = {"isl": ("token", "tokens of one prompt")}
_GROUPS = {
    "heads": ("1", "query heads"),
    "kv_heads": ("1", "heads of keys and values"),
    "head_dim": ("1", "width of a head"),
}
_OF_GROUPS = (
    dict.fromkeys(("kv_heads", "num_key_value_heads", "num_kv_heads", "head_dim"), "grouped queries") | OF_STATES
)
_OF_LATENT = (
    dict.fromkeys(("kv_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim", "heads_per_kv"), "a latent cache")
    | OF_STATES
)

KINDS = {
    "mla-decode": Kind(
        "attention core of absorbed MLA, a few tokens a sequence",
        mla_decode,
        mla_decode_work,
        _decode("attention"),
        _BATCH | _CACHE,
        ("kv_len", "heads"),
        {"heads": 128.0, "queries": 1.0, "kv_lora_rank": 512.0, "qk_rope_head_dim": 64.0},
        fixed={"attention_split_s": 0.0, "attention_tile": 0.0},
        foreign=_OF_GROUPS,
    ),
    "gqa-decode": Kind(
        "attention core of grouped queries, a few tokens a sequence",
        gqa_decode,
        gqa_decode_work,
        _decode("gqa"),
        _BATCH | _CACHE | _GROUPS,
        ("kv_len", "heads", "kv_heads", "head_dim"),
        {"queries": 1.0},
        fixed={"gqa_split_s": 0.0, "gqa_tile": 0.0},
        foreign=_OF_LATENT,
    ),
    "mla-prefill": Kind(
        "causal attention core of MLA, not absorbed",
        mla_prefill,
        mla_prefill_work,
        _prompts("prefill"),
        _BATCH | _PROMPT,
        ("isl", "heads"),
        {"heads": 128.0, "heads_per_kv": 1.0, "qk_nope_head_dim": 128.0, "qk_rope_head_dim": 64.0, "v_head_dim": 128.0},
        fixed={"prefill_short": 0.0, "prefill_fill": 0.0},
        foreign=_OF_GROUPS,
    ),
    "gqa-prefill": Kind(
        "causal attention core of grouped queries",
        gqa_prefill,
        gqa_prefill_work,
        _prompts("gqa_prefill"),
        _BATCH | _PROMPT | _GROUPS,
        ("isl", "heads", "kv_heads", "head_dim"),
        fixed={"gqa_prefill_short": 0.0, "gqa_prefill_fill": 0.0, "gqa_prefill_softmax": 0.0},
        foreign=_OF_LATENT,
    ),
}


def _more(kind, parameters):
    """`KINDS` of a kind with further parameters in place of what its form takes for granted."""
    return KINDS[kind]._replace(parameters=KINDS[kind].parameters | parameters, fixed={})


# With all the parameters of their kernels, where they pay.
EXTENDED = {
    "mla-decode": _more("mla-decode", _joined("attention")),
    "gqa-decode": _more("gqa-decode", _joined("gqa")),
    "mla-prefill": _more("mla-prefill", _tiled("prefill")),
    "gqa-prefill": _more("gqa-prefill", _tiled("gqa_prefill") | _SOFTMAX),
}
