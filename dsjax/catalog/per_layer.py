"""What a Hugging Face config says layer by layer: which have experts, an indexer, a sliding window.

Every function takes the reader of a config (`configs`: `config`, `whole`, `fail`) and its number of layers.
"""

# Keys of an indexer that are understood; two of them change no size: how it rotates, and that drafts share its picks.
INDEXER = (
    "index_topk",
    "index_n_heads",
    "index_head_dim",
    "indexer_types",
    "index_topk_pattern",
    "index_topk_freq",
    "index_skip_topk_offset",
    "indexer_rope_interleave",
    "index_share_for_mtp_iteration",
)


def listed(reader, key, n, names):
    """A list of one of `names` for each of n layers; None where the key is missing or null."""
    found = reader.config.get(key)
    if found is None:
        return None
    if not isinstance(found, list) or len(found) != n or not all(isinstance(x, str) and x in names for x in found):
        reader.fail(key, f"a list of num_hidden_layers {n} names, {' or '.join(names)}")
    return found


def dense_layers(reader, kind, n):
    """Layers without experts: the first ones, those that a step leaves out, those that a list names."""
    first = reader.whole(kind.dense_layers, 0, low=0) if kind.dense_layers else 0
    if first > n:
        reader.fail(kind.dense_layers, f"at most num_hidden_layers {n}")
    step = reader.whole(kind.every, 1) if kind.every else 1
    only = reader.config.get("mlp_only_layers") or []
    if not isinstance(only, list) or not all(type(i) is int and 0 <= i < n for i in only):
        reader.fail("mlp_only_layers", f"a list of layers from 0 to {n - 1}")
    offset = 0 if kind.dense_layers else 1  # a step counts layers from 0 where the first ones are dense, else from 1
    dense = [i < first or (i + offset) % step != 0 or i in only for i in range(n)]
    types = listed(reader, "mlp_layer_types", n, ("dense", "sparse"))
    if types is not None and [x == "dense" for x in types] != dense:
        reader.fail("mlp_layer_types", f"the {sum(dense)} dense layers that the other keys say")
    return sum(dense)


def indexer(reader, n):
    """The indexer of sparse attention, and the layers with one of their own."""
    unknown = [key for key in reader.config if key.startswith("index") and key not in INDEXER]
    if unknown:
        reader.fail(unknown[0], f"of an indexer no keys but {', '.join(INDEXER)}")
    listed(reader, "layer_types", n, ("deepseek_sparse_attention",))
    sizes = {key: reader.whole(key) for key in ("index_topk", "index_n_heads", "index_head_dim")}
    return sizes | {"index_layers": index_layers(reader, n)}


def index_layers(reader, n):
    """Layers with an indexer of their own; the others take the picks of the last one that has.

    By the list `indexer_types`, by the letters of `index_topk_pattern` (F full, S shared), or by `index_topk_freq`:
    every one so many from layer `index_skip_topk_offset` - 1 on, and all before it. Those that are given must agree.
    """
    said = {}
    types = listed(reader, "indexer_types", n, ("full", "shared"))
    if types is not None:
        said["indexer_types"] = [x == "full" for x in types]
    pattern = reader.config.get("index_topk_pattern")
    if pattern is not None:
        if not isinstance(pattern, str) or len(pattern) != n or not set(pattern) <= set("FS"):
            reader.fail("index_topk_pattern", f"null or num_hidden_layers {n} letters, F or S")
        said["index_topk_pattern"] = [x == "F" for x in pattern]
    every = reader.whole("index_topk_freq", 1)
    if every > 1:
        first = reader.whole("index_skip_topk_offset")
        said["index_topk_freq"] = [max(i - first + 1, 0) % every == 0 for i in range(n)]
    for key, layers in said.items():
        if layers != next(iter(said.values())):
            reader.fail(key, f"the layers that {next(iter(said))} names")
        if not layers[0]:
            reader.fail(key, "an indexer in the first layer: there are no picks before it")
    return sum(next(iter(said.values()))) if said else n


def sliding_layers(reader, n):
    """Layers with a sliding window: those of `layer_types` or of its summary; else all after the first ones."""
    known, summary = ("full_attention", "sliding_attention"), reader.config.get("layer_types_summary")
    types = listed(reader, "layer_types", n, known)
    if types is not None:
        return types.count("sliding_attention")
    if summary is None:
        return max(0, n - reader.whole("max_window_layers", 0, low=0))
    counts = isinstance(summary, dict) and all(k in known and type(x) is int for k, x in summary.items())
    if not counts or sum(summary.values()) != n:
        reader.fail("layer_types_summary", f"numbers of {' and '.join(known)} that add up to num_hidden_layers {n}")
    return summary.get("sliding_attention", 0)
