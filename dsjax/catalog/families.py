"""Families of architectures: what the configs of each call things, what kinds of layer it has, and what all have.

Names and defaults are those of the `configuration_*.py` of Hugging Face transformers 5.24 and of the models' own files;
shapes of tensors those of their modeling files.
"""

import dataclasses
from collections.abc import Callable

from .kinds import attention, ffns, layers, linear, per_layer, vectors


@dataclasses.dataclass(frozen=True)
class Architecture:
    """How the configs of one architecture name what a model record holds. Texts are keys of flags ("!": else true)."""

    attention: Callable = attention.grouped
    linear: Callable | None = None
    indexer: Callable | None = None
    ffns: Callable = ffns.ffns
    layers: Callable = layers.plain  # what mixes tokens in each layer, and its FFN
    mixers: Callable | None = None  # of `plain`, where layers differ
    windows: bool = False  # layers may have a window; `pattern` says so too
    pattern: int | None = None  # each so-many-th layer has no window (0: all have one); None: no layer has
    experts: bool = False
    one_width: bool = False  # dense FFNs and experts have one width
    shared: int = 0  # shared experts where the config has no word of them
    shared_alone: bool = False  # without experts, the FFN is what the shared expert would be
    ungated: bool = False
    value_width: bool = False  # values may have another width than keys
    chunks: bool = False  # windows are chunks
    own_sizes: Callable | None = None  # of layers with a window
    pooled: bool = False  # keys of the indexer may be pooled
    first: int = 0  # number of the first layer in lists of layers
    streams: bool = False  # hyper-connections
    gate: str | bool = False  # of the output of attention
    qk_norm: str | bool = "use_qk_norm"
    qkv_bias: str | bool = "attention_bias"
    o_bias: str | bool = "attention_bias"
    sinks: bool = False
    mlp_bias: str | bool = False
    vectors: tuple = ()  # of `vectors`: parameters of norms and scales beside those that all models have
    names: dict = dataclasses.field(default_factory=dict)  # {name of the record: keys of the config}
    defaults: dict = dataclasses.field(default_factory=dict)
    ignored: tuple = ()  # keys that change nothing here
    said: dict = dataclasses.field(
        default_factory=dict
    )  # {key, "" always: what a config with it leaves out of the time}


def like(kind, **changes):
    """A family like another one but for what changes; names and defaults are added."""
    for key in ("names", "defaults"):
        changes[key] = getattr(kind, key) | changes.get(key, {})
    return dataclasses.replace(kind, **changes)


LLAMA = Architecture()
MISTRAL = Architecture(pattern=0)
PHI3 = Architecture(pattern=0, vectors=(vectors.head_bias,), ignored=("full_attn_mod",))
QWEN2 = Architecture(pattern=0, qkv_bias=True, o_bias=False, defaults={"use_sliding_window": False})
QWEN3 = Architecture(pattern=0, qk_norm="use_qk_norm!")
QWEN_EXPERTS = {"n_routed_experts": ("num_experts", "num_local_experts"), "moe_layer_freq": ("decoder_sparse_step",)}
SHARED = {"shared_width": ("shared_expert_intermediate_size",)}
QWEN3_MOE = like(QWEN3, experts=True, names=QWEN_EXPERTS)
QWEN2_MOE = like(QWEN2, experts=True, qkv_bias="qkv_bias!", names=QWEN_EXPERTS | SHARED, vectors=(vectors.shared_gate,))
QWEN3_NEXT = Architecture(
    linear=linear.gated_delta,
    mixers=lambda reader, kind, n: per_layer.every_so_many(reader, n, "full_attention_interval", 4),
    experts=True,
    gate="attn_output_gate!",
    qk_norm=True,
    vectors=(vectors.shared_gate,),
    names=QWEN_EXPERTS | SHARED | {"num_nextn_predict_layers": ("num_nextn_predict_layers", "mtp_num_hidden_layers")},
)
QWEN35 = like(QWEN3_NEXT, experts=False, vectors=())
DEEPSEEK = Architecture(
    attention=attention.latent,
    experts=True,
    names={"n_routed_experts": ("n_routed_experts", "num_experts", "num_local_experts")},
)
SPARSE = like(DEEPSEEK, indexer=attention.sparse)
DEEPSEEK_V4 = Architecture(
    attention=attention.compressed,
    layers=layers.compressed,
    experts=True,
    streams=True,
    vectors=(vectors.compressed, vectors.streams),
    names={"residual_streams": ("hc_mult",)},
    ignored=("num_hash_layers", "mlp_layer_types", "compress_rate_csa", "compress_rate_hca"),
)
KIMI_LINEAR = Architecture(
    attention=attention.latent,
    linear=linear.kimi_delta,
    layers=layers.by_lists,
    experts=True,
    first=1,
    vectors=(vectors.attention_residuals,),
    said={"attn_res_block_size": "attention residuals are counted only"},
    names={
        "n_routed_experts": ("num_experts", "n_routed_experts"),
        "num_experts_per_tok": ("num_experts_per_token", "num_experts_per_tok"),
        "n_shared_experts": ("num_shared_experts", "n_shared_experts"),
        "n_group": ("num_expert_group", "n_group"),
        "expert_hidden_size": ("routed_expert_hidden_size",),
    },
)
GLM5_NEXT = Architecture(
    attention=attention.latent,
    linear=linear.kimi_delta,
    layers=layers.by_lists,
    indexer=attention.sparse,
    experts=True,
    pooled=True,
    streams=True,
    vectors=(vectors.streams_without_head,),
    names={"residual_streams": ("hc_mult",)},
    defaults={"index_kpool": 16, "qk_rope_head_dim": 0},
    ignored=("mhc",),
)
GLM4_MOE = Architecture(experts=True, o_bias=False)
MINIMAX_M2 = Architecture(
    experts=True,
    one_width=True,
    qk_norm=False,
    vectors=(vectors.wide_qk_norms,),
    names={
        "n_routed_experts": ("num_local_experts",),
        "num_nextn_predict_layers": ("num_mtp_modules",),
        "shared_width": ("shared_intermediate_size",),
        "moe_intermediate_size": ("moe_intermediate_size", "intermediate_size"),
        "qk_norm": ("use_qk_norm",),
    },
    defaults={"qk_norm_type": "per_layer", "qk_norm": True},
    ignored=("use_mtp", "mlp_intermediate_size", "shared_moe_mode"),
)
MINIMAX_M3 = Architecture(
    indexer=attention.sparse_blocks,
    experts=True,
    qk_norm="use_qk_norm!",
    gate="attention_output_gate",
    names={
        "n_routed_experts": ("num_local_experts",),
        "num_nextn_predict_layers": ("num_mtp_modules",),
        "shared_width": ("shared_intermediate_size",),
        "intermediate_size": ("dense_intermediate_size",),
        "moe_intermediate_size": ("moe_intermediate_size", "intermediate_size"),
    },
    ignored=("num_nextn_predict_layers", "qk_norm_type", "index_local_blocks"),
)
MINIMAX_M1 = Architecture(
    linear=linear.lightning,
    mixers=layers.lightning_layers,
    experts=True,
    one_width=True,
    names={"n_routed_experts": ("num_local_experts",), "shared_width": ("shared_intermediate_size",)},
    ignored=("postnorm", "shared_moe_mode", "attention_type"),
)
LLAMA4 = Architecture(
    windows=True,
    mixers=lambda reader, kind, n: per_layer.chunked(reader, n),
    experts=True,
    shared=1,
    chunks=True,
    qk_norm=False,
    names={
        "n_routed_experts": ("num_local_experts",),
        "moe_layer_freq": ("interleave_moe_layer_step",),
        "moe_intermediate_size": ("intermediate_size",),
        "intermediate_size": ("intermediate_size_mlp",),
    },
    ignored=("use_qk_norm", "for_llm_compressor"),
)
MIXTRAL = Architecture(
    experts=True, one_width=True, pattern=0, names={"n_routed_experts": ("num_local_experts", "num_experts")}
)
GPT_OSS = like(
    MIXTRAL,
    pattern=2,
    sinks=True,
    mlp_bias=True,
    names={"num_experts_per_tok": ("num_experts_per_tok", "experts_per_token")},
)
GEMMA2 = Architecture(
    pattern=2,
    o_bias="attention_bias",
    vectors=(vectors.four_norms,),
    names={"sliding_window_pattern": ("sliding_window_pattern", "_sliding_window_pattern")},
    defaults={"tie_word_embeddings": True},
)
GEMMA3 = like(
    GEMMA2,
    pattern=6,
    qk_norm=True,
    defaults={"num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256, "vocab_size": 262208},
)
GEMMA4 = Architecture(
    pattern=6,
    layers=layers.gemma4,
    experts=True,
    own_sizes=attention.of_gemma4,
    vectors=(vectors.four_norms, vectors.of_gemma4),
    names={"n_routed_experts": ("num_experts",), "num_experts_per_tok": ("top_k_experts",)},
    defaults={"tie_word_embeddings": True, "sliding_window": 512},
)
NEMOTRON_H = Architecture(
    linear=linear.mamba2,
    layers=layers.nemotron,
    experts=True,
    ungated=True,
    names={
        "head_dim": ("head_dim", "attention_head_dim"),
        "shared_width": ("moe_shared_expert_intermediate_size",),
        "expert_hidden_size": ("moe_latent_size",),
        "n_groups": ("n_groups", "mamba_n_groups"),
        "conv_kernel": ("conv_kernel", "mamba_d_conv"),
        "expand": ("expand", "mamba_expand"),
        "use_conv_bias": ("use_conv_bias", "mamba_conv_bias"),
        "chunk_size": ("chunk_size", "mamba_chunk_size"),
    },
)
STEP3 = Architecture(
    pattern=0,
    mixers=layers.step_layers,
    layers=layers.step,
    experts=True,
    own_sizes=attention.of_step,
    qk_norm=True,
    vectors=(vectors.head_gates,),
    names={
        "n_routed_experts": ("moe_num_experts", "num_experts", "n_routed_experts", "num_local_experts"),
        "num_experts_per_tok": ("moe_top_k", "num_experts_per_tok"),
        "num_key_value_heads": ("num_attention_groups", "num_key_value_heads"),
        "shared_width": ("share_expert_dim", "share_expert_dims"),
        "moe_layers": ("moe_layers_enum",),
        "num_nextn_predict_layers": ("num_nextn_predict_layers", "num_mtp_layers"),
    },
    defaults={"first_k_dense_replace": 3},
    ignored=("zero_centered", "use_moe", "moe_every_n_layer", "att_impl_type", "use_qk_norm", "gating"),
    said={"": "gates of heads are counted only"},
)
MIMO_V2 = Architecture(
    windows=True,
    layers=layers.mimo,
    experts=True,
    value_width=True,
    own_sizes=attention.of_mimo,
    o_bias=False,
    vectors=(vectors.window_sinks,),
    names={"sliding_window": ("sliding_window", "sliding_window_size", "attention_chunk_size")},
    ignored=("hybrid_block_size", "attention_projection_layout"),
)
LONGCAT = Architecture(
    attention=attention.latent,
    layers=layers.longcat,
    experts=True,
    names={
        "num_hidden_layers": ("num_layers",),
        "intermediate_size": ("ffn_hidden_size",),
        "moe_intermediate_size": ("expert_ffn_hidden_size",),
        "num_experts_per_tok": ("moe_topk",),
        "num_nextn_predict_layers": ("num_nextn_predict_layers", "mtp_num_layers"),
    },
    ignored=("num_hidden_layers",),
)
PHIMOE = like(MIXTRAL, vectors=(vectors.norm_biases, vectors.head_bias))
ERNIE = Architecture(
    qkv_bias="use_bias", o_bias="use_bias", mlp_bias="use_bias", defaults={"tie_word_embeddings": True}
)
OLMO2 = Architecture(pattern=4, qk_norm=False, vectors=(vectors.always_wide_qk_norms,))
GRANITE_SHARED = Architecture(
    experts=True,
    one_width=True,
    names={"n_routed_experts": ("num_local_experts",), "shared_width": ("shared_intermediate_size",)},
)
GRANITE_HYBRID = like(
    GRANITE_SHARED,
    linear=linear.mamba2,
    layers=layers.granite,
    shared_alone=True,
    names={
        "mamba_num_heads": ("mamba_n_heads",),
        "mamba_head_dim": ("mamba_d_head",),
        "n_groups": ("mamba_n_groups",),
        "ssm_state_size": ("mamba_d_state",),
        "conv_kernel": ("mamba_d_conv",),
        "expand": ("mamba_expand",),
        "use_conv_bias": ("mamba_conv_bias",),
        "chunk_size": ("mamba_chunk_size",),
    },
    ignored=("normalization_function",),
)
