"""Which layers the architectures have: `layers` functions of (reader, architecture) -> (mixers, FFNs, more fields)."""

from ..reading import MOST_LAYERS
from . import attention, per_layer


def depth(reader):
    """How many layers a config says."""
    n = reader.whole("num_hidden_layers")
    if n > MOST_LAYERS:
        reader.fail("num_hidden_layers", f"at most {MOST_LAYERS:,}")
    return n


def plain(reader, kind):
    """Attention and an FFN in every layer."""
    n = depth(reader)
    if kind.linear is None:
        reader.listed("attn_type_list", n, (1,))
    if kind.mixers is not None:
        mixers = kind.mixers(reader, kind, n)
    elif kind.pattern is not None:
        mixers = per_layer.windowed(reader, n, kind.pattern)
    else:
        mixers = per_layer.mixers(reader, n, ["full"] * n, ("full_attention", *FULL.get(kind.indexer, ())))
    return mixers, per_layer.dense_layers(reader, n) if kind.experts else ["dense"] * n, {}


FULL = {
    attention.sparse: ("deepseek_sparse_attention", "indexed_attention"),
    attention.sparse_blocks: ("minimax_m3_sparse",),
}


def compressed(reader, kind):
    """DeepSeek-V4: experts in every layer."""
    n = depth(reader)
    mixers, ratios = attention.compressed_layers(reader, kind, n)
    return mixers, ["experts"] * n, {"ratios": ratios}


def by_lists(reader, kind):
    """Linear and full attention by lists of layers, by their kinds, or by both."""
    n = depth(reader)
    part = reader.sub("linear_attn_config")
    lists = per_layer.hybrid_lists(reader, part, n, kind.first)
    types = reader.listed("layer_types", n, ("full_attention", *FULL[attention.sparse], "linear_attention"))
    mixers = [per_layer.MIXERS[x] for x in types] if types else None
    if lists is None and mixers is None:
        part.missing("kda_layers", "a list of layers") if kind.first else reader.missing("layer_types", "a list")
    if lists and mixers and lists != mixers:
        reader.fail("layer_types", "the layers that linear_attn_config names")
    return lists or mixers, per_layer.dense_layers(reader, n), {}


def lightning_layers(reader, kind, n):
    """MiniMax-01: by `attn_type_list` (0 linear, 1 full), or by `layer_types`."""
    types = reader.listed("attn_type_list", n, (0, 1))
    found = (
        ["full" if x else "linear" for x in types] if types else ["full" if (i + 1) % 2 else "linear" for i in range(n)]
    )
    return per_layer.mixers(reader, n, found, ("full_attention", "linear_attention"))


def gemma4(reader, kind):
    """Windows in all but each sixth layer; experts beside the dense FFN, or none."""
    n = depth(reader)
    for key in ("hidden_size_per_layer_input", "num_kv_shared_layers"):
        if reader.whole(key, 0, low=0):
            reader.fail(key, "0: embeddings of layers, and caches that they share, are not described")
    for key in ("use_double_wide_mlp", "per_layer_config"):
        if reader.get(key):
            reader.fail(key, "none")
    if reader.get("use_bidirectional_attention", "vision") != "vision":
        reader.fail("use_bidirectional_attention", "null or vision")
    mixers = per_layer.windowed(reader, n, kind.pattern)
    if "window" not in mixers:
        reader.fail("layer_types", "a layer with a sliding window")
    both = reader.flag("enable_moe_block")
    for key in () if both else ("n_routed_experts", "num_experts_per_tok", "moe_intermediate_size"):
        if reader.get(key):
            reader.fail(key, "null where enable_moe_block is not true")
    return mixers, ["both" if both else "dense"] * n, {}


# What a block of Nemotron-H is: a mixer or an FFN.
_BLOCKS = {
    "mamba": ("linear", "none"),
    "attention": ("full", "none"),
    "moe": ("none", "experts"),
    "mlp": ("none", "dense"),
}
_BLOCKS |= {"linear_attention": _BLOCKS["mamba"], "full_attention": _BLOCKS["attention"]}
_LETTERS = {"M": "mamba", "*": "attention", "E": "moe", "-": "mlp"}


def nemotron(reader, kind):
    """Blocks by their names or by letters; each has a norm."""
    pattern, n = reader.get("hybrid_override_pattern"), reader.get("num_hidden_layers")
    names = next((reader.get(key) for key in ("layers_block_type", "layer_types") if reader.get(key) is not None), None)
    key = "layers_block_type" if reader.config.get("layers_block_type") is not None else "layer_types"
    if pattern is not None:
        if not isinstance(pattern, str) or not pattern or not set(pattern) <= _LETTERS.keys():
            reader.fail("hybrid_override_pattern", f"letters {' '.join(_LETTERS)} for the layers")
        if names is not None and names != [_LETTERS[x] for x in pattern]:
            reader.fail("hybrid_override_pattern", f"the layers that {key} names")
        names, key = [_LETTERS[x] for x in pattern], "hybrid_override_pattern"
    if names is None:
        reader.missing("layers_block_type", f"a list of blocks: {', '.join(_LETTERS.values())}")
    if not isinstance(names, list) or not names or any(not isinstance(x, str) or x not in _BLOCKS for x in names):
        reader.fail(key, f"a list of blocks: {', '.join(_LETTERS.values())}")
    if len(names) > MOST_LAYERS:
        reader.fail(key, f"at most {MOST_LAYERS:,} layers")
    if n is not None and depth(reader) != len(names):
        reader.fail("num_hidden_layers", f"the {len(names)} blocks of {key}")
    for block in ("full", "linear"):
        if all(_BLOCKS[x][0] != block for x in names):
            reader.fail(key, "blocks of attention and of mamba")
    found = [_BLOCKS[x] for x in names]
    return [mixer for mixer, _ in found], [ffn for _, ffn in found], {}


def step_layers(reader, kind, n):
    """Windows where `layer_types` says so."""
    return per_layer.windowed(reader, n, 0) if reader.get("layer_types") is not None else ["full"] * n


def step(reader, kind):
    """Step 3.x: experts by `moe_layers_enum`, else in all but the first three layers."""
    n = depth(reader)
    if not reader.flag("use_head_wise_attn_gate", default=True):
        reader.fail("use_head_wise_attn_gate", "true")
    reader.get("num_sliding_attention_heads")  # which says nothing where no layer has a window
    return step_layers(reader, kind, n), per_layer.numbered_experts(reader, n), {}


def mimo(reader, kind):
    """MiMo-V2: windows by `hybrid_layer_pattern` (1: a window) or `layer_types`."""
    n = depth(reader)
    pattern = reader.listed("hybrid_layer_pattern", n, (0, 1))
    default = [("window" if x else "full") for x in pattern] if pattern else None
    if default is None:
        default = ["full" if i == 0 or (i + 1) % 6 == 0 else "window" for i in range(n)]
    mixers = per_layer.mixers(reader, n, default, ("full_attention", "sliding_attention"))
    if pattern and mixers != default:
        reader.fail("layer_types", "the layers that hybrid_layer_pattern says")
    return mixers, per_layer.dense_layers(reader, n), {}


def granite(reader, kind):
    """Granite 4: attention or Mamba-2 by `layer_types`; experts in every layer, or none in any."""
    n = depth(reader)
    mixers = per_layer.mixers(reader, n, ["linear"] * n, ("mamba", "attention", "linear_attention", "full_attention"))
    if "full" not in mixers:
        reader.fail("layer_types", "a layer with attention")
    experts = reader.whole("n_routed_experts", 0, low=0)
    if not experts and reader.whole("num_experts_per_tok", 0, low=0):
        reader.fail("num_experts_per_tok", "0 where there are no experts")
    return mixers, ["experts" if experts else "dense"] * n, {}


def longcat(reader, kind):
    """A layer of LongCat-Flash is two here, each with attention and a dense FFN, the first with experts beside it."""
    n = depth(reader)
    return ["full"] * 2 * n, ["both", "dense"] * n, {}


def ernie(reader, kind):
    """Ernie 4.5: experts from one layer to another, each so-many-th."""
    n = depth(reader)
    first, step = reader.whole("moe_layer_start_index", 1, low=0), reader.whole("moe_layer_interval", 1)
    last = reader.get("moe_layer_end_index", n - 1)
    last = n - 1 if last == -1 else reader.whole("moe_layer_end_index", n - 1, low=0)
    experts = [first <= i <= last and (i + 1) % step == 0 for i in range(n)]
    return ["full"] * n, ["experts" if x else "dense" for x in experts], {}
