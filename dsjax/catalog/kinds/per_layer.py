"""What a config says layer by layer: what mixes the tokens of a layer, which FFN it has, which have an indexer.

Every function takes the `Reader` of a config and its number of layers. Mixers are "full", "window", "linear", "csa",
"hca" or "none"; FFNs "dense", "experts", "both" or "none".
"""

# What configs call the mixers of layers, and what that is here.
MIXERS = {
    "full_attention": "full",
    "attention": "full",
    "deepseek_sparse_attention": "full",
    "indexed_attention": "full",
    "minimax_m3_sparse": "full",
    "sliding_attention": "window",
    "chunked_attention": "window",
    "linear_attention": "linear",
    "mamba": "linear",
    "kda": "linear",
}
FFNS = {"dense": "dense", "sparse": "experts", "moe": "experts", "hash_moe": "experts"}


# ---- FFNs


def dense_layers(reader, n):
    """Which of n layers have a dense FFN: the first ones, those that a step or a list leaves out; as FFNs."""
    first = reader.whole("first_k_dense_replace", 0, low=0)
    if first > n:
        reader.fail("first_k_dense_replace", f"at most num_hidden_layers {n}")
    every = reader.get("moe_layer_freq")
    if isinstance(every, list):
        dense = [x == 0 for x in reader.listed("moe_layer_freq", n, (0, 1))]
        if first and any(not x for x in dense[:first]):
            reader.fail("moe_layer_freq", f"0 in the first {first} layers, as first_k_dense_replace says")
    else:
        step, only = reader.whole("moe_layer_freq", 1), reader.get("mlp_only_layers", [])
        if not isinstance(only, list) or not all(type(i) is int and 0 <= i < n for i in only):
            reader.fail("mlp_only_layers", f"a list of layers from 0 to {n - 1}")
        offset = 1 if "moe_layer_freq" in reader.names else 0  # a step named otherwise counts layers from 1
        dense = [i < first or (i + offset) % step != 0 or i in only for i in range(n)]
    given = any(reader.get(key) is not None for key in ("first_k_dense_replace", "moe_layer_freq", "mlp_only_layers"))
    experts = reader.indices("moe_layers", n)
    if experts is not None:
        if given and experts != {i for i in range(n) if not dense[i]}:
            reader.fail("moe_layers", f"the {n - sum(dense)} layers with experts that the other keys say")
        dense, given = [i not in experts for i in range(n)], True
    return ffn_types(reader, n, dense, given)


def ffn_types(reader, n, dense, given):
    """FFNs by `mlp_layer_types`, which must agree with `dense` where other keys have `given` that."""
    types = reader.listed("mlp_layer_types", n, tuple(FFNS), more=reader.whole("num_nextn_predict_layers", 0, low=0))
    if types is not None:
        found = [FFNS[x] == "dense" for x in types]
        if given and found != dense:
            reader.fail("mlp_layer_types", f"the {sum(dense)} dense layers that the other keys say")
        dense = found
    return ["dense" if x else "experts" for x in dense]


def numbered_experts(reader, n):
    """FFNs by a list of the layers with experts, a list or text of numbers; else all but the first ones."""
    key, found = reader.key("moe_layers"), reader.get("moe_layers")
    if isinstance(found, str):
        words = [word.strip() for word in found.split(",")]
        if not all(word.isdigit() and int(word) < n + reader.whole("num_nextn_predict_layers", 0, 0) for word in words):
            reader.fail(key, f"numbers of layers below {n}, with commas")
        found = {int(word) for word in words}
    elif found is not None:
        found = reader.indices("moe_layers", n)
    if found is None:
        return dense_layers(reader, n)
    return ffn_types(reader, n, [i not in found for i in range(n)], True)


# ---- mixers


def mixers(reader, n, default, known=tuple(MIXERS)):
    """Mixers by `layer_types`, else `default`."""
    types = reader.listed("layer_types", n, known, more=reader.whole("num_nextn_predict_layers", 0, low=0))
    return list(default) if types is None else [MIXERS[x] for x in types]


def windowed(reader, n, pattern):
    """Mixers of a model whose layers may have a sliding window, all but each `pattern`-th one; 0: all after the
    first `max_window_layers`. By `layer_types` or its summary where there is one, or by letters: L a window, G none."""
    window, known = reader.whole("sliding_window", 0, low=0), ("full_attention", "sliding_attention")
    if not window or not reader.flag("use_sliding_window", default=True):
        reader.get("sliding_window_pattern")
        return _all(reader, n, known, "sliding_window")
    summary, first = reader.get("layer_types_summary"), reader.whole("max_window_layers", 0, low=0)
    default = ["window" if i >= first else "full" for i in range(n)]
    letters = reader.get("sliding_window_pattern")
    if isinstance(letters, str) and letters and set(letters) <= set("LG"):
        default = ["window" if letters[i % len(letters)] == "L" else "full" for i in range(n)]
    elif every := reader.whole("sliding_window_pattern", pattern, low=0):
        default = ["window" if (i + 1) % every else "full" for i in range(n)]
    if summary is not None:
        counts = isinstance(summary, dict) and all(k in known and type(x) is int for k, x in summary.items())
        if not counts or sum(summary.values()) != n or min(summary.values()) < 0:
            reader.fail("layer_types_summary", f"numbers of {' and '.join(known)} that add up to num_hidden_layers {n}")
        default = ["window"] * summary.get("sliding_attention", 0)
        default += ["full"] * (n - len(default))
    return mixers(reader, n, default, known)


def chunked(reader, n):
    """Mixers of Llama 4: layers without rotary positions see all, the others a chunk."""
    every, rotary = reader.whole("no_rope_layer_interval", 4), reader.get("no_rope_layers")
    flags = reader.listed("no_rope_layers", n, (0, 1)) if rotary else [int((i + 1) % every != 0) for i in range(n)]
    known = ("full_attention", "chunked_attention")
    if not reader.whole("attention_chunk_size", 0, low=0):
        return _all(reader, n, known, "attention_chunk_size")
    return mixers(reader, n, ["window" if x else "full" for x in flags], known)


def _all(reader, n, known, window):
    """Mixers of a model without a `window`: `layer_types` must not say that there is one."""
    found = mixers(reader, n, ["full"] * n, known)
    if "window" in found:
        reader.fail("layer_types", f"full_attention in every layer: no {window} is in use")
    return found


def every_so_many(reader, n, name, default):
    """Mixers of a model that has full attention in each so-many-th layer, linear attention in the others."""
    every = reader.whole(name, default)
    found = ["linear" if (i + 1) % every else "full" for i in range(n)]
    types = mixers(reader, n, found, ("full_attention", "linear_attention"))
    if types != found and reader.config.get(name) is not None:
        reader.fail("layer_types", f"the layers that {name} {every} says")
    return types


def hybrid_lists(reader, part, n, first):
    """Mixers by lists of layers, counted from `first` on, in `linear_attn_config`."""
    linear, full = part.indices("kda_layers", n, first), part.indices("full_attn_layers", n, first)
    if linear is None and full is None:
        return None
    linear = linear if linear is not None else set(range(n)) - full
    if full is not None and (linear & full or len(linear | full) != n):
        part.fail("kda_layers", f"with full_attn_layers each of the {n} layers once")
    return ["linear" if i in linear else "full" for i in range(n)]


# ---- indexers


def index_layers(reader, layers):
    """Layers with an indexer of their own among `layers`; the others take the picks of the last one that has.

    By the list `indexer_types`, by the letters of `index_topk_pattern` (F full, S shared), or by `index_topk_freq`:
    every one so many from layer `index_skip_topk_offset` - 1 on, and all before it. Those that are given must agree.
    """
    said, n = {}, len(layers)
    types = reader.listed("indexer_types", n, ("full", "shared"))
    if types is not None:
        said["indexer_types"] = [x == "full" for x in types]
    pattern = reader.get("index_topk_pattern")
    if pattern is not None:
        if not isinstance(pattern, str) or len(pattern) != n or not set(pattern) <= set("FS"):
            reader.fail("index_topk_pattern", f"null or num_hidden_layers {n} letters, F or S")
        said["index_topk_pattern"] = [x == "F" for x in pattern]
    every, first = reader.whole("index_topk_freq", 1), reader.get("index_skip_topk_offset")
    if every > 1:
        first = reader.whole("index_skip_topk_offset")
        said["index_topk_freq"] = [max(i - first + 1, 0) % every == 0 for i in range(n)]
    for key, own in said.items():
        if own != next(iter(said.values())):
            reader.fail(key, f"the layers that {next(iter(said))} names")
        if not own[layers.index(True)]:
            reader.fail(key, "an indexer in the first layer: there are no picks before it")
    return sum(own and layer for own, layer in zip(next(iter(said.values()), layers), layers, strict=True))
