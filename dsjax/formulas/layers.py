"""Shapes of every operator of a DeepSeek-V3-class model in one layer on one chip, attention apart (`attentions`).

Every function returns {operator: shape}, of Python integers or of JAX arrays (`shapes`).

Symbols: T tokens that the group of tp chips works on, H hidden_size, h heads, hd = h / tp heads per chip, R_q and
R_kv ranks of the query and of the latent cache, D_n, D_r, D_v head widths without position, rotary, of values, S
context [token], I width of an FFN, E routed experts, V vocabulary. Sources: DeepSeek-V2 (arXiv:2405.04434), section
2.1 and appendix C (MLA, absorbed and not); DeepSeek-V3 (arXiv:2412.19437), section 2.1 (layers, experts), 2.2
(multi-token prediction).
"""

from .shapes import Lookup, Pointwise, gemm, like, norm, over, query_width

# Every chip of a tensor-parallel group does the whole of these, so tp multiplies them.
REPLICATED = frozenset(
    ("attention_norm", "q_a", "q_a_norm", "kv_a", "kv_a_norm", "ffn_norm", "router", "router_bias", "final_norm")
    + ("embedding_norm", "hidden_norm", "eh_proj", "mtp_norm")
    + ("qk_norm", "index_q", "index_k", "index_k_norm", "index_scores")
)


def dense_ffn(model, tokens, tp):
    """SwiGLU FFN of the first layers: gate and up (T, H, 2 I / tp), down (T, I / tp, H); I intermediate_size."""
    tokens, tp = like(model, tokens, tp)
    return _swiglu("dense", tokens, model.hidden_size, over(model.intermediate_size, tp))


def shared_expert(model, tokens, tp):
    """The shared experts as one SwiGLU FFN of width N_s I; I moe_intermediate_size. tp = 1: replicated."""
    tokens, tp = like(model, tokens, tp)
    return _swiglu("shared", tokens, model.hidden_size, over(model.n_shared_experts * model.moe_intermediate_size, tp))


def router(model, tokens, sp=1):
    """Affinities of the tokens to the experts: (T / sp, H, E), replicated over tp."""
    tokens, sp, experts = like(model, tokens, sp, model.n_routed_experts)
    return {"router": gemm(over(tokens, sp), model.hidden_size, experts)}


def routed_experts(model, rows, experts, moe_tp):
    """`experts` experts of the chip with rows / experts rows each: SwiGLU FFNs of width I / moe_tp.

    `rows` counts every copy of a token: top-k x tokens of all groups / ep, when balanced. With `experts` the number
    hit, the weights are those read; with the number held, those stored. Flops do not depend on it.
    """
    rows, experts, moe_tp = like(model, rows, experts, moe_tp)
    width = over(model.moe_intermediate_size, moe_tp)
    return _swiglu("routed", over(rows, experts), model.hidden_size, width, experts)


def norms(model, tokens, sp=1):
    """RMSNorms of one layer, replicated over tp, rows split over sp.

    Those of the residual stream are fused with its addition: they read and write 2 T H elements.
    """
    tokens, sp = like(model, tokens, sp)
    rows = over(tokens, sp)
    return {
        "attention_norm": norm(rows, model.hidden_size, streams=2),
        "q_a_norm": norm(rows, model.q_lora_rank),
        "kv_a_norm": norm(rows, model.kv_lora_rank),
        "ffn_norm": norm(rows, model.hidden_size, streams=2),
    }


def attention_extras(model, tokens, tp):
    """Parameters of attention beside its products, for those models that have them.

    qk_norm: two norms of head width, of every query and key head; index_k_norm: LayerNorm of the indexer's key, with a
    bias; attention_bias: of queries, keys, values and the output projection, and the sinks, added in passing.
    """
    tokens, tp = like(model, tokens, tp)
    heads, kv, query = model.num_attention_heads, model.num_key_value_heads, query_width(model)
    qkv = heads * query + kv * (query + model.v_head_dim)
    biases = model.qkv_bias * qkv + model.o_bias * model.hidden_size + model.attention_sinks * heads
    normed, key = tokens * model.qk_norm * (heads + kv) * query, tokens * model.index_head_dim
    return {
        "qk_norm": Pointwise(weights=2 * model.qk_norm * query, inputs=normed, outputs=normed),
        "index_k_norm": Pointwise(weights=2 * model.index_head_dim, inputs=key, outputs=key),
        "attention_bias": _bias(over(biases, tp)),
    }


def dense_bias(model, tp):
    """Biases of gate, up and down of a dense FFN, for those models that have them."""
    return {"dense_bias": _bias(over(model.mlp_bias * (2 * model.intermediate_size + model.hidden_size), tp))}


def moe_biases(model, experts, moe_tp):
    """Biases of the router and of the `experts` routed experts of a card, for those models that have them."""
    each = model.mlp_bias * (2 * model.moe_intermediate_size + model.hidden_size)
    return {
        "router_bias": _bias(model.mlp_bias * model.n_routed_experts),
        "routed_bias": _bias(over(experts * each, moe_tp)),
    }


def _bias(weights):
    return Pointwise(weights=weights, inputs=0, outputs=0)


def embedding(model, tokens, tp=1, sp=1):
    """T / sp rows of the table (V, H), of which a chip holds V / tp; it finds 1 / tp of them, the others are zeros."""
    tokens, tp, sp = like(model, tokens, tp, sp)
    rows = over(tokens, sp)
    return {"embedding": Lookup(table=over(model.vocab_size, tp), found=over(rows, tp), m=rows, n=model.hidden_size)}


def head(model, rows, tp):
    """Last norm and output head (rows, H, V / tp); rows: every token in decode, the last of a prompt in prefill."""
    rows, tp = like(model, rows, tp)
    return {
        "final_norm": norm(rows, model.hidden_size, streams=2),
        "head": gemm(rows, model.hidden_size, over(model.vocab_size, tp)),
    }


def mtp_module(model, tokens, rows, layer, tp, sp=1):
    """One multi-token prediction module: [norm(embedding), norm(hidden)] (T / sp, 2 H, H), `layer`, norm and head.

    `layer` holds the operators of its one MoE layer; table and head are the model's own. eh_proj is replicated over
    tp. Source: DeepSeek-V3 (arXiv:2412.19437), section 2.2, equations 21 to 23.
    """
    tokens, rows, tp, sp = like(model, tokens, rows, tp, sp)
    hidden, mine = model.hidden_size, over(tokens, sp)
    return {
        "embedding_norm": norm(mine, hidden),
        "hidden_norm": norm(mine, hidden),
        "eh_proj": gemm(mine, 2 * hidden, hidden),
        **layer,
        "mtp_norm": norm(rows, hidden, streams=2),
        "mtp_head": gemm(rows, hidden, over(model.vocab_size, tp)),
    }


def _swiglu(name, rows, hidden, width, groups=1):
    return {
        f"{name}_gate_up": gemm(rows, hidden, 2 * width, groups),
        f"{name}_swiglu": Pointwise(weights=0, inputs=groups * rows * 2 * width, outputs=groups * rows * width),
        f"{name}_down": gemm(rows, width, hidden, groups),
    }
