"""Linear layers of a config as fields of `records.Model`: gated delta nets, Kimi delta attention, Mamba-2, lightning.

Every function takes the `Reader` of a config and what is known of the row so far, and returns the fields; vectors of
these layers (decays, biases, norms) are in `vector_parameters`, of all of them.
"""

from ...specs.model import LINEAR_RULES

CHUNK = 64  # tokens that kernels of linear attention take at once where a config does not say


def gated_delta(reader, kind, found):
    """Gated delta net of Qwen3-Next and its successors: queries, keys, values and a gate, beta and decay of heads."""
    keys, values = reader.whole("linear_num_key_heads"), reader.whole("linear_num_value_heads")
    width, value_width = reader.whole("linear_key_head_dim"), reader.whole("linear_value_head_dim")
    reader.divided("linear_num_value_heads", values, keys, "linear_num_key_heads")
    channels = 2 * keys * width + values * value_width
    vectors = 2 * values + value_width  # A_log, dt_bias; the gated norm
    return _row(
        found,
        rule="gated-delta",
        heads=(values, keys),
        widths=(width, value_width),
        columns=channels + values * value_width + 2 * values,
        conv=(reader.whole("linear_conv_kernel_dim"), channels),
        state_bytes=_state_bytes(reader, "mamba_ssm_dtype"),
        vectors=vectors,
    )


def kimi_delta(reader, kind, found):
    """Kimi delta attention: decays of every channel through a low rank, as is the output gate unless it is full."""
    part = reader.sub("linear_attn_config")
    heads = part.whole("num_heads", reader.get("linear_num_heads"))
    width = part.whole("head_dim", reader.get("linear_head_dim"))
    kernel = part.whole("short_conv_kernel_size", reader.get("linear_conv_kernel_dim"))
    full = part.flag("use_full_rank_gate")
    for name, value in (("linear_num_heads", heads), ("linear_head_dim", width), ("linear_conv_kernel_dim", kernel)):
        if reader.whole(name, value) != value:
            reader.fail(name, f"{value}, as linear_attn_config says")
    inner = heads * width
    vectors = heads + inner + width  # A_log, dt_bias; the norm of the output
    found = _row(
        found,
        rule="channel-gated-delta",
        heads=(heads, heads),
        widths=(width, width),
        columns=3 * inner + heads + (inner if full else 0),
        conv=(kernel, 3 * inner),
        state_bytes=4,
        vectors=vectors,
    )
    return found | {"linear_gates": 1 if full else 2, "linear_gate_rank": width}


def mamba2(reader, kind, found):
    """Mamba-2: x and its gate, B and C of groups, a step of every head."""
    heads, width = reader.whole("mamba_num_heads"), reader.whole("mamba_head_dim")
    groups, state = reader.whole("n_groups"), reader.whole("ssm_state_size")
    inner = heads * width
    if heads % groups:
        reader.fail("n_groups", f"a divisor of mamba_num_heads {heads}")
    for flag in ("mamba_proj_bias", "use_bias"):
        if reader.flag(flag):
            reader.fail(flag, "false: projections have no biases")
    reader.get("expand")  # mamba_num_heads mamba_head_dim says it
    channels = inner + 2 * groups * state
    bias = channels * reader.flag("use_conv_bias", default=True)
    row = _row(
        found,
        rule="state-space",
        heads=(heads, groups),
        widths=(state, width),
        columns=inner + channels + heads,
        conv=(reader.whole("conv_kernel"), channels),
        state_bytes=_state_bytes(reader, "mamba_ssm_cache_dtype"),
        vectors=3 * heads + inner + bias,  # dt_bias, A_log, D; the gated norm
    )
    return row | {"linear_chunk": reader.whole("chunk_size", CHUNK)}


def lightning(reader, kind, found):
    """Lightning attention of MiniMax-01: queries, keys, values and an output gate, a decay that nobody learned."""
    heads, width = found["num_attention_heads"], found["qk_nope_head_dim"]
    inner = heads * width
    row = _row(
        found,
        rule="decay",
        heads=(heads, heads),
        widths=(width, width),
        columns=4 * inner,
        conv=(0, 0),
        state_bytes=4,
        vectors=inner,
    )
    return row | {"linear_chunk": reader.whole("block_size", 256)}


def _row(found, *, rule, heads, widths, columns, conv, state_bytes, vectors):
    layers = found["mixers"].count("linear")
    if not layers:
        return {}
    return {
        "linear_layers": layers,
        "linear_rule": LINEAR_RULES.index(rule),
        "linear_heads": heads[0],
        "linear_key_heads": heads[1],
        "linear_key_dim": widths[0],
        "linear_value_dim": widths[1],
        "linear_columns": columns,
        "linear_conv": conv[0],
        "linear_conv_channels": conv[1],
        "linear_chunk": CHUNK,
        "linear_state_bytes": state_bytes,
        "vector_parameters": layers * vectors,
    }


def _state_bytes(reader, name):
    """Bytes of an element of the state: 4 of float32, which is what models without a word of it keep it in."""
    kinds = {"float32": 4, "bfloat16": 2, "float16": 2}
    kind = reader.get(name, "float32")
    if not isinstance(kind, str) or kind.removeprefix("torch.") not in kinds:
        reader.fail(name, " or ".join(kinds))
    return kinds[kind.removeprefix("torch.")]
