"""Parameters of norms, biases, scales and narrow gates beside those that operators and other fields count.

The operators count two norms a layer, the last one, those of the compressed queries and keys of MLA, two of the key
of an indexer; the fields `qk_norm`, `attention_sinks` and the biases theirs. Every function takes the `Reader` and the
row of a model, and returns parameters of the whole model.
"""


def _attention(found):
    return [mixer for mixer in found["mixers"] if mixer not in ("none", "linear")]


def _experts(found):
    return sum(ffn in ("experts", "both") for ffn in found["ffns"])


def shared_gate(reader, found):
    """The gate of the shared expert of Qwen: one column in each layer with experts."""
    return found["hidden_size"] * _experts(found) * bool(found["n_shared_experts"])


def head_gates(reader, found):
    """Gates of heads of Step 3.x: one column for each query head, so narrow that their time is left out."""
    own = found.get("sliding_layers", 0) if found.get("sliding_head_dim") else 0
    heads = (len(_attention(found)) - own) * found["num_attention_heads"] + own * found.get("sliding_heads", 0)
    return found["hidden_size"] * heads


def four_norms(reader, found):
    """Norms behind attention and FFN too."""
    return 2 * found["hidden_size"] * found["num_hidden_layers"]


def norm_biases(reader, found):
    """LayerNorm has a bias."""
    return found["hidden_size"] * (2 * found["num_hidden_layers"] + 1)


def head_bias(reader, found):
    """A bias of the head."""
    return found["vocab_size"] * reader.flag("lm_head_bias")


def wide_qk_norms(reader, found):
    """Norms of all query heads at once, and of all key heads ("per_layer"), or of each."""
    if not reader.flag("qk_norm"):
        return 0
    width = found["qk_nope_head_dim"]
    kind = reader.get("qk_norm_type")
    if kind not in ("per_layer", "per_head"):
        reader.fail("qk_norm_type", "per_layer or per_head")
    if kind == "per_head":
        return len(_attention(found)) * 2 * width
    return always_wide_qk_norms(reader, found)


def always_wide_qk_norms(reader, found):
    """Norms of all query heads at once, and of all key heads."""
    heads = found["num_attention_heads"] + found["num_key_value_heads"]
    return len(_attention(found)) * heads * found["qk_nope_head_dim"]


def streams(reader, found):
    """Base and scale of the mixings of hyper-connections: two a layer, and before the head."""
    n = reader.whole("residual_streams")
    return found["num_hidden_layers"] * 2 * ((2 + n) * n + 3) + n + 1


def streams_without_head(reader, found):
    """The streams are added up before the head: there is no product, which the operators count."""
    n = reader.whole("residual_streams")
    return found["num_hidden_layers"] * 2 * ((2 + n) * n + 3) - n * n * found["hidden_size"]


def compressed(reader, found):
    """Norms of DeepSeek-V4: of the whole key, again where positions are compressed; the indexer's has no bias."""
    width, rotary = found["v_head_dim"], found["qk_rope_head_dim"]
    csa, hca = found["csa_layers"], found["hca_layers"]
    index = csa * found["index_head_dim"] if csa else 0
    return found["num_hidden_layers"] * rotary + (csa + hca) * width - index


def attention_residuals(reader, found):
    """Kimi K3: norm and query of the residuals of former blocks, for attention, FFN and the end."""
    if not reader.whole("attn_res_block_size", 0, low=0):
        return 0
    return found["hidden_size"] * (4 * found["num_hidden_layers"] + 2)


def of_gemma4(reader, found):
    """Norms of queries and keys, of two widths; a scale of each layer; norms and scales around experts."""
    n, hidden, sliding = found["num_hidden_layers"], found["hidden_size"], found.get("sliding_layers", 0)
    heads = 2 * (n - sliding) * found["qk_nope_head_dim"] + 2 * sliding * found.get("sliding_head_dim", 0)
    return heads + n + _experts(found) * (4 * hidden + found["n_routed_experts"])


def window_sinks(reader, found):
    """MiMo-V2: a sink in each head of layers with a window, in those of the others where the config says so."""
    n = found["mixers"].count("window")
    heads = n * found.get("sliding_heads", 0) * reader.flag("add_swa_attention_sink_bias", default=True)
    others = (found["num_hidden_layers"] - n) * found["num_attention_heads"]
    return heads + others * reader.flag("add_full_attention_sink_bias")
