"""Parameters of a model by the fields of its record, written from sections 8 and 3.1 of dsjax/MODEL.md alone."""


def total(m):
    """Parameters of the main model: without drafts, without towers."""
    hidden, layers = m["hidden_size"], m["num_hidden_layers"]
    norms = 2 * layers - m["attention_free_layers"] - m["ffn_free_layers"] + 1
    ends = (2 - m["tie_word_embeddings"]) * m["vocab_size"] * hidden
    return (
        norms * hidden
        + ends
        + attention(m)
        + indexers(m)
        + compression(m)
        + streams(m)
        + linear(m)
        + ffns(m)
        + vectors(m)
    )


def vectors(m):
    return m["vector_parameters"]


def grouped(m, heads, groups, width, values, shared):
    """Queries, keys, values unless keys are the values, output, gate."""
    hidden = m["hidden_size"]
    out = heads * values
    return hidden * (heads * width + groups * (width + (1 - shared) * values) + out + m["attention_gate"] * out)


def attention(m):
    hidden, heads, groups = m["hidden_size"], m["num_attention_heads"], m["num_key_value_heads"]
    width, values = m["qk_nope_head_dim"] + m["qk_rope_head_dim"], m["v_head_dim"]
    layers = m["num_hidden_layers"] - m["attention_free_layers"] - m["linear_layers"]
    biases = m["qkv_bias"] * (heads * width + groups * (width + values)) + m["o_bias"] * hidden
    beside = biases + 2 * m["qk_norm"] * width + m["attention_sinks"] * heads
    if not m["kv_lora_rank"]:
        own = m["sliding_layers"] if m["sliding_head_dim"] else 0
        sizes = (
            "sliding_heads",
            "sliding_key_value_heads",
            "sliding_head_dim",
            "sliding_v_head_dim",
            "sliding_key_is_value",
        )
        of_windows = grouped(m, *(m[key] for key in sizes))
        return (
            layers * beside
            + (layers - own) * grouped(m, heads, groups, width, values, m["key_is_value"])
            + own * of_windows
        )
    rank, queries = m["kv_lora_rank"], m["q_lora_rank"]
    one = hidden * (rank + m["qk_rope_head_dim"]) + rank + queries
    one += (hidden + heads * width) * queries if queries else hidden * heads * width
    one += 0 if m["key_is_value"] else rank * heads * (m["qk_nope_head_dim"] + values)
    if m["o_groups"]:
        one += heads * values * m["o_lora_rank"] + m["o_groups"] * m["o_lora_rank"] * hidden
    else:
        one += heads * values * hidden
    return layers * (one + beside + m["attention_gate"] * hidden * heads * values)


def indexers(m):
    if not m["index_topk"]:
        return 0
    hidden, heads, width = m["hidden_size"], m["index_n_heads"], m["index_head_dim"]
    one = (m["q_lora_rank"] or hidden) * heads * width + 2 * width
    if m["csa_layers"]:
        one += hidden * (4 * width + heads) + 2 * m["csa_ratio"] * width
    else:
        pooled = 2 if m["index_pool"] else 1  # keys, and what weighs them
        one += m["index_pool"] * width
        one += hidden * (pooled * width + (heads if m["kv_lora_rank"] else 0))
    return m["index_layers"] * one


def compression(m):
    width = m["kv_lora_rank"] + m["qk_rope_head_dim"]
    csa = m["csa_layers"] * 2 * (2 * m["hidden_size"] + m["csa_ratio"]) * width
    return csa + m["hca_layers"] * (2 * m["hidden_size"] + m["hca_ratio"]) * width


def streams(m):
    n, hidden = m["residual_streams"], m["hidden_size"]
    return m["num_hidden_layers"] * 2 * n * hidden * (2 + n) * n + n * hidden * n


def linear(m):
    hidden, inner = m["hidden_size"], m["linear_heads"] * m["linear_value_dim"]
    gates = m["linear_gates"] * m["linear_gate_rank"] * (hidden + inner)
    conv = m["linear_conv"] * m["linear_conv_channels"]
    return m["linear_layers"] * (hidden * m["linear_columns"] + gates + conv + inner * hidden)


def ffns(m):
    hidden, width, expert = m["hidden_size"], m["intermediate_size"], m["moe_intermediate_size"]
    dense, bias, products = m["first_k_dense_replace"], m["mlp_bias"], 3 - m["ungated"]
    layers = m["num_hidden_layers"] - dense - m["ffn_free_layers"]
    latent = m["expert_hidden_size"] or hidden
    experts = m["n_routed_experts"] * (products * latent * expert + bias * (2 * expert + hidden))
    shared = m["n_shared_experts"] * products * hidden * expert
    router = (hidden + bias) * (m["n_routed_experts"] + m["zero_experts"]) + 2 * hidden * m["expert_hidden_size"]
    dense_ffns = (dense + m["dense_beside_layers"]) * (products * hidden * width + bias * (2 * width + hidden))
    return dense_ffns + layers * (experts + shared + router)
