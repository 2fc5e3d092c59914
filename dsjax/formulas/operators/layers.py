"""Shapes of every operator of a layer on one chip, attention apart (`attention`): FFNs, experts, router, norms, ends.

Every function takes a model and a `Work`, of Python integers or of arrays, sizes in numbers [1]. (M, K, N) is a
product of activations (M, K) and weights (K, N). Symbols: T tokens of a group, T / sp rows of a chip, T_h rows of the
head, H hidden_size, I width of an FFN, E routed experts, R routed rows of a card, G its experts, V vocabulary. Sources:
dsjax/MODEL.md, section 2; DeepSeek-V3 (arXiv:2412.19437), section 2.1 (layers, experts), 2.2, equations 21 to 23
(multi-token prediction).
"""

from ... import arrays
from . import attention, kinds, linear
from .shapes import Lookup, Pointwise, chosen, gemm, like, norm, number, or_else, over, query_width

# ---- norms; those of the residual stream are fused with its addition: they read and write 2 T H elements


def stream_norm(model, work):
    """Norm before attention or the FFN, fused with the residual addition: reads, and writes, 2 T / sp H elements.

    Half of it where hyper-connections add (`mix`).
    """
    streams = model.residual_streams
    return norm(work.rows, model.hidden_size, streams=2 if streams is None else chosen(streams, 1, 2))


def mix(model, work):
    """Streams of the residual collapsed before a layer, and mixed with its result: (4 n + 2) T / sp H elements.

    Before it 2 n read and one written, after it n + 1 read and n written; (2 + n) n by n H weights say how.
    """
    n, hidden = number(model.residual_streams), work.rows * model.hidden_size
    some = chosen(n, 1, 0)
    weights = (2 + n) * n * n * model.hidden_size
    return Pointwise(weights=weights, inputs=some * (3 * n + 1) * hidden, outputs=some * (n + 1) * hidden)


def last_mix(model, work):
    """Streams of the residual collapsed before the head: n T_h H elements read, T_h H written; n by n H weights."""
    n, hidden = number(model.residual_streams), work.head_rows * model.hidden_size
    return Pointwise(weights=n * n * model.hidden_size, inputs=n * hidden, outputs=chosen(n, 1, 0) * hidden)


def query_norm(model, work):
    """Norm of the compressed queries: T / sp rows of R_q."""
    return norm(work.rows, model.q_lora_rank)


def latent_norm(model, work):
    """Norm of the latent that the cache keeps: T / sp rows of R_kv."""
    return norm(work.rows, model.kv_lora_rank)


def head_norms(model, work):
    """Norms of query and key heads (Qwen3, GLM-4.5): T (h + h_kv) (D_n + D_r) elements; counted, never timed."""
    query = query_width(model)
    normed = work.tokens * model.qk_norm * (model.num_attention_heads + model.num_key_value_heads) * query
    return Pointwise(weights=2 * model.qk_norm * query, inputs=normed, outputs=normed)


def index_key_norm(model, work):
    """LayerNorm, with a bias, of the indexer's key: T D_i elements; counted, never timed."""
    key = work.tokens * model.index_head_dim
    return Pointwise(weights=2 * model.index_head_dim, inputs=key, outputs=key)


def final_norm(model, work):
    """Last norm, of the T_h tokens whose logits are wanted: reads and writes 2 T_h H elements."""
    return norm(work.head_rows, model.hidden_size, streams=2)


def draft_norms(model, work):
    """Three norms of the MTP module: of the embedding, of the last hidden state, and before its head."""
    once, last = norm(work.rows, model.hidden_size), norm(work.head_rows, model.hidden_size, streams=2)
    return Pointwise(
        weights=2 * once.weights + last.weights,
        inputs=2 * once.inputs + last.inputs,
        outputs=2 * once.outputs + last.outputs,
    )


# ---- biases and sinks, added in passing: parameters alone


def attention_bias(model, work):
    """Biases of queries, keys, values and output, and sinks: (h D_qk + h_kv (D_qk + D_v) + H + h) / tp.

    Values that are the keys have none.
    """
    query = query_width(model)
    values = model.v_head_dim  # made by a projection of their own
    if model.key_is_value is not None:
        values = chosen(model.key_is_value, 0, values)
    qkv = model.num_attention_heads * query + model.num_key_value_heads * (query + values)
    sinks = model.attention_sinks * model.num_attention_heads
    return _bias(over(model.qkv_bias * qkv + model.o_bias * model.hidden_size + sinks, work.tp))


def dense_bias(model, work):
    """Biases of gate, up and down of a dense FFN: (2 I + H) / tp parameters."""
    return _bias(over(model.mlp_bias * (_inner(model) * model.intermediate_size + model.hidden_size), work.tp))


def router_bias(model, work):
    """Bias of the router: E + z parameters."""
    del work
    return _bias(model.mlp_bias * choices(model))


def routed_bias(model, work):
    """Biases of gate, up and down of the G routed experts of a card: G (2 I + H) / moe_tp parameters."""
    each = model.mlp_bias * (_inner(model) * model.moe_intermediate_size + expert_hidden(model))
    return _bias(over(work.experts * each, work.moe_tp))


def vectors(model, work):
    """Norms, biases and scales that no other operator has: parameters of the whole model."""
    del work
    return _bias(number(model.vector_parameters))


def towers(model, work):
    """Parameters of towers for pictures and sound, over tp."""
    return _bias(over(number(model.vision_parameters), work.tp))


def _bias(weights):
    return Pointwise(weights=weights, inputs=0, outputs=0)


# ---- FFNs: gate and up (T, H, 2 I / tp) in one product, SwiGLU, down (T, I / tp, H)


def dense_up(model, work):
    """Gate and up of a dense FFN: (T, H, 2 I / tp); of one without a gate (T, H, I / tp)."""
    return gemm(work.tokens, model.hidden_size, _inner(model) * _dense_width(model, work))


def dense_swiglu(model, work):
    """SwiGLU of the dense FFN: reads 2 T I / tp elements, writes T I / tp."""
    return _swiglu(model, work.tokens, _dense_width(model, work))


def dense_down(model, work):
    """Down projection of the dense FFN: (T, I / tp, H)."""
    return gemm(work.tokens, _dense_width(model, work), model.hidden_size)


def _dense_width(model, work):
    return over(model.intermediate_size, work.tp)


def router(model, work):
    """Affinities of the tokens to the experts (T / sp, H, E + z), z those that compute nothing."""
    return gemm(work.rows, model.hidden_size, choices(model))


def choices(model):
    """Columns of the router: E + z, z experts that compute nothing."""
    return like(model, model.n_routed_experts)[0] + number(model.zero_experts)


def shared_up(model, work):
    """Gate and up of the shared experts as one FFN of width N_s I / `shared_tp`, on T `shared_tp` / tp tokens."""
    return gemm(_shared_rows(work), model.hidden_size, _inner(model) * _shared_width(model, work))


def shared_swiglu(model, work):
    """SwiGLU of the shared experts: reads 2 T N_s I / tp elements, writes T N_s I / tp."""
    return _swiglu(model, _shared_rows(work), _shared_width(model, work))


def shared_down(model, work):
    """Down projection of the shared experts: (T `shared_tp` / tp, N_s I / `shared_tp`, H)."""
    return gemm(_shared_rows(work), _shared_width(model, work), model.hidden_size)


def _shared_rows(work):
    return over(work.tokens * work.shared_tp, work.tp)


def _shared_width(model, work):
    return over(model.n_shared_experts * model.moe_intermediate_size, work.shared_tp)


def routed_up(model, work):
    """Gate and up of the routed experts of a card, R / experts rows each, R `routed_rows`; width I / moe_tp.

    With `experts` the number that is hit, the weights are those read; with the number held, those stored. Flops do not
    depend on it.
    """
    rows = over(work.routed_rows, work.experts)
    return gemm(rows, filled(expert_hidden(model), work), _inner(model) * routed_width(model, work), work.experts)


def routed_swiglu(model, work):
    """SwiGLU of the routed experts: reads 2 R I / moe_tp elements, writes R I / moe_tp."""
    return _swiglu(model, over(work.routed_rows, work.experts), routed_width(model, work), work.experts)


def routed_down(model, work):
    """Down projection of the routed experts: G products (R / G, I / moe_tp, H)."""
    rows = over(work.routed_rows, work.experts)
    return gemm(rows, routed_width(model, work), filled(expert_hidden(model), work), work.experts)


def latent_down(model, work):
    """Hidden states at the width of the routed experts, where that is another: (T / sp, H, H_e)."""
    return gemm(work.rows, model.hidden_size, number(model.expert_hidden_size))


def latent_up(model, work):
    """Results of routed experts of another width back: (T / sp, H_e, H)."""
    return gemm(work.rows, number(model.expert_hidden_size), model.hidden_size)


def expert_hidden(model):
    """Width at which routed experts read and write: H_e, or the hidden size."""
    return or_else(model.expert_hidden_size, model.hidden_size)


def copies(model):
    """Routed experts of a token that compute: k, or k E / (E + z) of k choices where z of them compute nothing."""
    choices = model.num_experts_per_tok
    if model.zero_experts is None:
        return choices
    every = like(model, model.n_routed_experts)[0]
    return over(choices * every, every + model.zero_experts)


def routed_width(model, work):
    """Width of a routed expert on a chip: I / moe_tp, filled."""
    return filled(over(model.moe_intermediate_size, work.moe_tp), work)


def filled(size, work):
    """A size of a routed expert as its kernels have it: the next multiple of `expert_tile`, where there is one.

    Source: vLLM, `mxfp4.py`: sizes of gpt-oss rounded up to 128 (Marlin) and 256 (TensorRT-LLM's kernels).
    """
    if work.expert_tile is None:
        return size
    tile = arrays.where(work.expert_tile > 0.0, work.expert_tile, 1.0)
    return arrays.where(work.expert_tile > 0.0, tile * arrays.ceil(size / tile), size)


def _inner(model):
    """Products that an FFN begins with: gate and up, or up alone."""
    return 2 if model.ungated is None else 2 - model.ungated


def _swiglu(model, rows, width, groups=1):
    return Pointwise(weights=0, inputs=groups * rows * _inner(model) * width, outputs=groups * rows * width)


def output_operands(model, work, of_module=False):
    """Elements of the operand of the output projection, T hd D_v, mean of the layers with an FFN; `of_module`: of the
    layer of an MTP module."""
    others = model.attention_free_layers, model.ffn_free_layers, model.linear_layers, model.sliding_head_dim
    if of_module or all(x is None for x in others):
        return attention.results(model, work)
    total = kinds.attentions(kinds.common(model)) * attention.results(kinds.common(model), work)
    if model.sliding_head_dim is not None:
        own = kinds.windowed(model)
        total = total + kinds.attentions(own) * attention.results(own, work)
    if model.linear_layers is not None:
        total = total + model.linear_layers * linear.output(model, work).inputs
    return over(total, or_else(kinds.ffns(model), 1))


# ---- both ends


def embedding(model, work):
    """Embedding: T / sp rows of the table (V, H). A chip holds V / tp rows and finds 1 / tp of the tokens there."""
    table, found = over(model.vocab_size, work.tp), over(work.rows, work.tp)
    return Lookup(table=table, found=found, m=work.rows, n=model.hidden_size)


def head(model, work):
    """Output head: (T_h, H, V / tp); T_h is every token in decode, the last of each prompt in prefill."""
    return gemm(work.head_rows, model.hidden_size, over(model.vocab_size, work.tp))


def draft_projection(model, work):
    """Projection of [embedding, hidden state] of a draft token to the MTP module's layer: (T / sp, 2 H, H)."""
    return gemm(work.rows, 2 * model.hidden_size, model.hidden_size)


# ---- what crosses the network


def hidden_states(model, work):
    """Hidden states of the tokens of a group, which an all-reduce sums: T H elements."""
    return Pointwise(weights=0, inputs=0, outputs=work.tokens * model.hidden_size)


def routed_states(model, work):
    """Hidden states that dispatch brings to a card and combine takes back: R H_e elements."""
    return Pointwise(weights=0, inputs=0, outputs=work.routed_rows * expert_hidden(model))


def split_attention(model, work):
    """Queries and results that the chips of a split KV cache exchange: inputs and outputs of the core."""
    core = attention.absorbed(model, work)
    return Pointwise(weights=0, inputs=core.inputs, outputs=core.outputs)
