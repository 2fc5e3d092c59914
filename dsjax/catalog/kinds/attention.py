"""Attention of a config as fields of `records.Model`: grouped queries, latent, compressed; indexers, windows, biases.

Every function takes the `Reader` of a config, its `Architecture`, and what is known of the row so far.
"""

from . import per_layer

# ---- kinds


def grouped(reader, kind, found):
    """Grouped queries, of one group (MQA) up to as many as heads (MHA)."""
    heads, hidden = found["num_attention_heads"], found["hidden_size"]
    if reader.get("head_dim") is None and hidden % heads:
        reader.fail("num_attention_heads", f"a divisor of hidden_size {hidden}, or a head_dim beside it")
    width = reader.whole("head_dim", hidden // heads)
    sizes = {
        "num_key_value_heads": _groups(reader, "num_key_value_heads", heads, heads),
        "q_lora_rank": 0,
        "kv_lora_rank": 0,
        "qk_nope_head_dim": width,
        "qk_rope_head_dim": 0,
        "v_head_dim": reader.whole("v_head_dim", width) if kind.value_width else width,
    }
    return sizes | _extras(reader, kind) | {"attention_gate": _flag(reader, kind.gate)}


def latent(reader, kind, found):
    """MLA."""
    sizes = {key: reader.whole(key) for key in ("kv_lora_rank", "qk_nope_head_dim", "v_head_dim")}
    heads = found["num_attention_heads"]
    if reader.flag("attention_bias"):
        reader.fail("attention_bias", "false with latent attention")
    if reader.whole("num_key_value_heads", heads) != heads:
        reader.fail("num_key_value_heads", f"the {heads} query heads: latent attention has no fewer")
    sizes |= {"q_lora_rank": reader.whole("q_lora_rank", 0, low=0), "num_key_value_heads": heads}
    sizes["qk_rope_head_dim"] = reader.whole("qk_rope_head_dim", low=0)
    width = sizes["qk_nope_head_dim"] + sizes["qk_rope_head_dim"]
    if reader.whole("qk_head_dim", width, low=0) != width:
        reader.fail("qk_head_dim", f"{width}: qk_nope_head_dim and qk_rope_head_dim")
    reader.get("head_dim")  # of whatever rotates, or of nothing: latent attention has the sizes above
    return sizes | _extras(reader, kind) | {"attention_gate": reader.flag("mla_use_output_gate")}


def compressed(reader, kind, found):
    """DeepSeek-V4: one key for all heads, which is the value too; layers that compress positions by two ratios."""
    width, rotary = reader.whole("head_dim"), reader.whole("qk_rope_head_dim")
    if rotary >= width:
        reader.fail("qk_rope_head_dim", f"less than head_dim {width}")
    if reader.whole("num_key_value_heads", 1) != 1:
        reader.fail("num_key_value_heads", "1: all heads share one key")
    heads, groups = found["num_attention_heads"], reader.whole("o_groups")
    reader.divided("o_groups", heads, 1, "1")
    if heads % groups:
        reader.fail("o_groups", f"a divisor of num_attention_heads {heads}")
    sizes = {
        "num_key_value_heads": heads,
        "q_lora_rank": reader.whole("q_lora_rank"),
        "kv_lora_rank": width - rotary,
        "qk_nope_head_dim": width - rotary,
        "qk_rope_head_dim": rotary,
        "v_head_dim": width,
        "key_is_value": 1,
        "o_groups": groups,
        "o_lora_rank": reader.whole("o_lora_rank"),
        "sliding_window": reader.whole("sliding_window"),
        "sliding_layers": found["num_hidden_layers"],
        "attention_sinks": 1,
    }
    if reader.flag("attention_bias"):
        reader.fail("attention_bias", "false with compressed attention")
    csa, hca = found["mixers"].count("csa"), found["mixers"].count("hca")
    ratios = found["ratios"]
    sizes |= {"csa_layers": csa, "csa_ratio": ratios["csa"] * bool(csa)}
    sizes |= {"hca_layers": hca, "hca_ratio": ratios["hca"] * bool(hca)}
    index = {key: reader.whole(key) for key in ("index_topk", "index_n_heads", "index_head_dim")}
    return sizes | (index | {"index_layers": csa} if csa else {})


def compressed_layers(reader, kind, n):
    """(mixers, {kind: ratio}) of DeepSeek-V4 by `compress_ratios`, of MTP modules too, or by `layer_types`."""
    drafts = reader.whole("num_nextn_predict_layers", 0, low=0)
    rates = reader.sub("compress_rates")
    ratios = {
        "csa": rates.whole("compressed_sparse_attention", 4),
        "hca": rates.whole("heavily_compressed_attention", 128),
    }
    found = reader.get("compress_ratios")
    if found is not None:
        good = isinstance(found, list) and len(found) in (n, n + drafts)
        if not good or any(x not in (0, *ratios.values()) or type(x) is not int for x in found):
            reader.fail(
                "compress_ratios", f"a list of num_hidden_layers {n} ratios: 0, {ratios['csa']} or {ratios['hca']}"
            )
        names = {0: "window", ratios["csa"]: "csa", ratios["hca"]: "hca"}
        return [names[x] for x in found[:n]], ratios
    names = {"sliding_attention": "window", "compressed_sparse_attention": "csa", "heavily_compressed_attention": "hca"}
    types = reader.listed("layer_types", n, tuple(names))
    if types is None:
        reader.missing("compress_ratios", f"a list of num_hidden_layers {n} ratios")
    return [names[x] for x in types], ratios


# ---- beside them


def windows(reader, kind, found):
    """Layers with a sliding window; where no layer of an architecture can have one, no key of it is read."""
    if not kind.windows and kind.pattern is None:
        return {}
    sliding = found["mixers"].count("window")
    name = "attention_chunk_size" if kind.chunks else "sliding_window"
    window = reader.whole(name, 0, low=0)
    if not sliding or not window:
        return {}
    sizes = {"sliding_window": window, "sliding_layers": sliding}
    return (
        sizes
        | ({"sliding_chunked": 1} if kind.chunks else {})
        | (kind.own_sizes(reader, found) if kind.own_sizes else {})
    )


def sparse(reader, kind, found):
    """An indexer that picks the positions to attend to, in all layers with attention."""
    known = INDEXER + POOLS * kind.pooled
    unknown = [key for key in reader.config if key.startswith("index") and key not in known]
    if unknown:
        reader.fail(unknown[0], f"of an indexer no keys but {', '.join(known)}")
    sizes = {key: reader.whole(key) for key in ("index_topk", "index_n_heads", "index_head_dim")}
    layers = [mixer == "full" for mixer in found["mixers"]]
    pool = reader.whole("index_kpool", 1) if kind.pooled else 1
    if kind.pooled and not reader.flag("index_kpool_compress", default=True):
        reader.fail("index_kpool_compress", "true: pooled keys are compressed ones")
    return sizes | {"index_layers": per_layer.index_layers(reader, layers)} | ({"index_pool": pool} if pool > 1 else {})


# Keys of an indexer that are understood.
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
POOLS = ("index_kpool", "index_kpool_compress", "index_kpool_always_select_tail")


def sparse_blocks(reader, kind, found):
    """MiniMax-M3: an indexer in some layers that picks blocks of positions; the others attend to all."""
    given, n = reader.sub("sparse_attention_config"), found["num_hidden_layers"]
    nested = bool(given.config)
    if nested and not given.flag("use_sparse_attention", default=True):
        return {}
    part = given if nested else reader
    names = ("sparse_block_size", "sparse_topk_blocks", "sparse_index_dim", "sparse_num_index_heads")
    flat = ("index_block_size", "index_topk_blocks", "index_head_dim", "index_n_heads")
    size, blocks, width, heads = (part.whole(name) for name in (names if nested else flat))
    if nested:
        on = given.listed("sparse_attention_freq", n, (0, 1)) or [1] * n
        given.listed("sparse_disable_index_value", n, (0, 1))
    else:
        types = reader.listed("layer_types", n, ("full_attention", "minimax_m3_sparse")) or ["minimax_m3_sparse"] * n
        on = [x == "minimax_m3_sparse" for x in types]
    if not sum(on):
        return {}
    sizes = {"index_topk": size * blocks, "index_block": size, "index_head_dim": width, "index_n_heads": heads}
    return sizes | {"index_layers": sum(on)} | ({"unpicked_layers": n - sum(on)} if sum(on) < n else {})


def _groups(reader, name, heads, default):
    found = reader.whole(name, default)
    if heads % found:
        reader.fail(name, f"a divisor of num_attention_heads {heads}")
    return found


def _extras(reader, kind):
    """Biases, and norms of queries and keys."""
    return {
        "qkv_bias": _flag(reader, kind.qkv_bias),
        "o_bias": _flag(reader, kind.o_bias),
        "qk_norm": _flag(reader, kind.qk_norm),
        "attention_sinks": _flag(reader, kind.sinks),
    }


def _flag(reader, which):
    """0 or 1: what all models of an architecture have, or the flag that says so, with "!" true where it is missing."""
    if isinstance(which, str):
        return reader.flag(which.rstrip("!"), default=which.endswith("!"))
    return int(which)


# ---- layers with a window of sizes of their own


def of_mimo(reader, found):
    """MiMo-V2: twice the heads of keys and values unless the config gives them; a sink in each head (a vector)."""
    heads, width = found["num_attention_heads"], found["qk_nope_head_dim"]
    own = {
        "sliding_heads": reader.whole("swa_num_attention_heads", heads),
        "sliding_head_dim": reader.whole("swa_head_dim", width),
        "sliding_v_head_dim": reader.whole("swa_v_head_dim", found["v_head_dim"]),
    }
    groups = _groups(reader, "swa_num_key_value_heads", own["sliding_heads"], 2 * found["num_key_value_heads"])
    return own | {"sliding_key_value_heads": groups}


def of_step(reader, found):
    """Step 3.x: heads of their own, by `attention_other_setting` or `num_sliding_attention_heads`."""
    heads, groups, width = (found[key] for key in ("num_attention_heads", "num_key_value_heads", "qk_nope_head_dim"))
    other = reader.sub("attention_other_setting")
    if other.get("attention_type", "sliding_attention") != "sliding_attention":
        other.fail("attention_type", "sliding_attention")
    own = other.whole("num_attention_heads", reader.whole("num_sliding_attention_heads", heads))
    width_, groups_ = other.whole("head_dim", width), other.whole("num_attention_groups", groups)
    other.get("true_head_dim")
    if (own, groups_, width_) == (heads, groups, width):
        return {}
    if own % groups_:
        other.fail("num_attention_heads", f"a multiple of num_attention_groups {groups_}")
    sizes = {"sliding_heads": own, "sliding_key_value_heads": groups_}
    return sizes | {"sliding_head_dim": width_, "sliding_v_head_dim": width_}


def of_gemma4(reader, found):
    """Gemma 4: the sizes of the config are those of layers with a window; the others have `global_` ones."""
    heads = found["num_attention_heads"]
    own = {
        "sliding_heads": heads,
        "sliding_key_value_heads": found["num_key_value_heads"],
        "sliding_head_dim": found["qk_nope_head_dim"],
        "sliding_v_head_dim": found["v_head_dim"],
    }
    return own | global_sizes(reader, found)


def global_sizes(reader, found):
    """Of the layers of Gemma 4 that attend to all positions."""
    width, equal = reader.whole("global_head_dim", 512), reader.flag("attention_k_eq_v")
    groups = found["num_key_value_heads"]
    if equal:
        groups = _groups(reader, "num_global_key_value_heads", found["num_attention_heads"], groups)
    reader.get("num_global_key_value_heads")
    return {"qk_nope_head_dim": width, "v_head_dim": width, "num_key_value_heads": groups, "key_is_value": equal}
