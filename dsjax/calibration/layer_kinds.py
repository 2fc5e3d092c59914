"""Kinds of kernel beside attention and GEMMs that measurements are of: form, parameters, columns of a file."""

from . import layer_forms as forms
from .kind import Kind, Parameter, loss, share, start

_BATCH = {"batch": ("sequence", "sequences")}
_PROMPT = {"isl": ("token", "new tokens of one sequence")}
_STATE = {
    "v_heads": ("1", "heads of values, each with a state"),
    "k_dim": ("1", "width of a key"),
    "v_dim": ("1", "width of a value"),
}
_STATE_NAMES = {"v_heads": ("num_v_heads",), "k_dim": ("head_k_dim",), "v_dim": ("head_v_dim",)}
_CORE = {
    "heads": ("1", "query heads"),
    "new_tokens": ("token", "new tokens of one sequence"),
    "positions": ("token", "entries that a token attends to"),
}
_OF_ATTENTION = dict.fromkeys(("kv_len", "kv_lora_rank", "qk_rope_head_dim", "head_dim"), "attention to a cache")
OF_STATES = dict.fromkeys(("v_heads", "num_v_heads", "head_k_dim", "d_state", "d_conv"), "layers with a state")


def _bytes(kernel):
    """Parameters of a kernel whose bytes bind."""
    return {
        "memory": share("share of memory bandwidth", f"{kernel}_memory"),
        "start_s": start(f"{kernel}_start_s", guess=4e-6, low=1e-6),
    }


def _scan(kernel):
    rows = "tokens that beginning a sequence is worth"
    return {
        "compute": share("share of peak compute of many", f"{kernel}_compute", 0.1)._replace(low=1e-3),
        "rows": Parameter("token", rows, 3e1, 1e-3, 1e4, f"{kernel}_rows"),
        "start_s": start(f"{kernel}_start_s", guess=2e-5),
        "depth_s": start(f"{kernel}_depth_s", "time of one core per token of a sequence", 3e-8, 1e-6, low=1e-11),
        "loss": loss(f"{kernel}_loss"),
    }


def _compressed(kernel, *more):
    parameters = {
        "compute": share("share of peak compute on many entries", f"{kernel}_compute", 0.5),
        "rows": Parameter("token", "entries that beginning one is worth", 1e2, 1e-3, 1e5, f"{kernel}_rows"),
        "memory": share("share of memory bandwidth", f"{kernel}_memory"),
        "start_s": start(f"{kernel}_start_s", guess=1e-5),
        "fill": Parameter("1", "tokens x heads at which half of the cores have work", 1e3, 1.0, 1e6, f"{kernel}_fill"),
    }
    return {name: x for name, x in parameters.items() if name != "fill" or name in more}


KINDS = {
    "recurrent": Kind(
        "new tokens of layers with a state of fixed size",
        forms.recurrent,
        forms.recurrent_work,
        _bytes("recurrent"),
        _BATCH | _STATE,
        ("batch", "v_heads"),
        {"queries": 1.0, "state_bytes": 4.0},
        foreign=_OF_ATTENTION,
        also=_STATE_NAMES | {"queries": ("seq_len",)},
    ),
    "scan": Kind(
        "prompts in layers with a state, in chunks of 64 tokens",
        forms.scan,
        forms.scan_work,
        _scan("scan"),
        _BATCH | _PROMPT | {"k_heads": ("1", "heads of queries and keys")} | _STATE,
        ("isl", "k_heads", "v_heads"),
        {"state_bytes": 4.0},
        foreign=_OF_ATTENTION,
        also=_STATE_NAMES | {"k_heads": ("num_k_heads",)},
    ),
    "convolution": Kind(
        "short convolution of layers with a state",
        forms.convolution,
        forms.convolution_work,
        _bytes("convolution"),
        _BATCH | {"channels": ("1", "channels")},
        ("batch", "isl", "channels", "is_prefill"),
        {"isl": 1.0, "taps": 4.0, "is_prefill": 0.0},
        foreign=_OF_ATTENTION,
        also={"taps": ("d_conv",)},
    ),
    "mixing-pre": Kind(
        "hyper-connections before a block: weights and mixture of the streams",
        forms.mixing,
        forms.mixing_work,
        _bytes("mixing_pre"),
        {"num_tokens": ("token", "tokens"), "hidden_size": ("1", "elements of a stream")},
        ("num_tokens", "hidden_size"),
        {"streams": 4.0, "sites": 1.0},
        foreign=_OF_ATTENTION | OF_STATES,
        also={"streams": ("hc_mult",), "sites": ("num_sites",)},
    ),
    "compressed-decode": Kind(
        "attention to a window and to compressed entries, a token of each sequence",
        forms.compressed_decode,
        forms.compressed_decode_work,
        _compressed("compressed"),
        _BATCH | {name: x for name, x in _CORE.items() if name != "new_tokens"},
        ("batch", "heads", "positions"),
        {"new_tokens": 1.0},
        fixed={"compressed_tile": 0.0},
        foreign=OF_STATES,
    ),
    "compressed-prefill": Kind(
        "attention of prompts to a window and to compressed entries",
        forms.compressed_prefill,
        forms.compressed_prefill_work,
        _compressed("compressed_prefill", "fill"),
        _BATCH | _CORE,
        ("batch", "heads", "new_tokens", "positions"),
        fixed={"compressed_prefill_tile": 0.0},
        foreign=OF_STATES,
    ),
}
KINDS["mixing-post"] = KINDS["mixing-pre"]._replace(
    doc="hyper-connections after a block: streams mixed with its result", parameters=_bytes("mixing_post")
)
KINDS["channel-scan"] = KINDS["scan"]._replace(
    doc="prompts in layers with a state whose gates are those of every channel", parameters=_scan("channel_scan")
)
KINDS["state-scan"] = KINDS["scan"]._replace(
    doc="prompts in layers of a state space, in chunks of `chunk` tokens",
    form=forms.state_scan,
    work=forms.state_scan_work,
    parameters=_scan("state_scan"),
    optional={"state_bytes": 4.0, "chunk": 256.0},
    also={
        "v_heads": ("nheads",),
        "k_heads": ("n_groups",),
        "k_dim": ("d_state",),
        "v_dim": ("head_dim",),
        "chunk": ("chunk_size",),
    },
    foreign={name: x for name, x in _OF_ATTENTION.items() if name != "head_dim"},
)
