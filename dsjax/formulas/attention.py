"""Shapes of attention in one layer on one chip: MLA, absorbed and unfolded, grouped-query attention, the indexer.

Symbols: T tokens of a group, T / sp rows of a chip, B sequences, S context [token], H hidden_size, hd = heads / tp
heads of a chip, R_q and R_kv ranks of queries and of the latent cache, D_n, D_r, D_v head widths without position,
rotary, of values, D_qk = D_n + D_r, hd_kv heads of keys and values of a chip. A model has MLA where R_kv > 0, else
grouped queries; a shape of what a model lacks has a size of 0. Sources: DeepSeek-V2 (arXiv:2405.04434), section 2.1
and appendix C (MLA); Ainslie et al. (arXiv:2305.13245) (grouped queries).
"""

from fractions import Fraction

from .. import arrays
from .shapes import Attention, Pointwise, chosen, gemm, latent_width, like, over, query_width

# ---- products with weights


def query_down(model, work):
    """Compression of the queries (T / sp, H, R_q)."""
    return gemm(work.rows, model.hidden_size, model.q_lora_rank)


def query_up(model, work):
    """Queries of the heads: (T, R_q, hd D_qk) of MLA, from H where they are not compressed; (T, H, hd D_qk) of GQA."""
    return gemm(work.tokens, query_input(model), heads(model, work.tp) * query_width(model))


def key_value(model, work):
    """Keys and values to be cached: MLA (T / sp, H, R_kv + D_r), not split by tp; GQA (T, H, hd_kv (D_qk + D_v))."""
    rows = chosen(model.kv_lora_rank, work.rows, work.tokens)
    return gemm(rows, model.hidden_size, cache_width(model, work.tp))


def key_value_up(model, work):
    """Keys and values of the heads, unfolded from the latent cache (T, R_kv, hd (D_n + D_v)); T with what it has."""
    return gemm(work.attended, model.kv_lora_rank, heads(model, work.tp) * (model.qk_nope_head_dim + model.v_head_dim))


def absorb_keys(model, work):
    """W^UK absorbed into the queries, head by head (T, D_n, R_kv)."""
    return gemm(work.tokens, model.qk_nope_head_dim, model.kv_lora_rank, heads(model, work.tp))


def absorb_values(model, work):
    """W^UV absorbed into the output, head by head (T, R_kv, D_v)."""
    return gemm(work.tokens, model.kv_lora_rank, model.v_head_dim, heads(model, work.tp))


def output(model, work):
    """Output projection (T, hd D_v, H)."""
    return gemm(work.tokens, heads(model, work.tp) * model.v_head_dim, model.hidden_size)


# ---- the core


def absorbed(model, work):
    """The core in decode, keys and values as the cache keeps them; all positions attended to.

    2 T hd S (K + V) [FLOP], K = R_kv + D_r and V = R_kv of MLA, D_qk and D_v of GQA; reads S (R_kv + D_r), or
    S hd_kv (D_qk + D_v), elements a sequence: a latent cache has no heads to split. `kv_split` chips keep a share of
    the positions each, and so compute the heads of all of them on S / kv_split positions.
    """
    own, split, rank = heads(model, work.tp), work.kv_split, model.kv_lora_rank
    keys = chosen(rank, latent_width(model), query_width(model))
    values = chosen(rank, rank, model.v_head_dim)
    return Attention(
        flops=2 * work.tokens * own * work.context * (keys + values),
        inputs=work.tokens * own * split * keys,
        kv=over(work.sequences * work.context * cache_width(model, work.tp), split),
        outputs=work.tokens * own * split * values,
    )


def unfolded(model, work):
    """The core of whole prompts, keys and values per head, causal: B hd S^2 (D_qk + D_v) [FLOP].

    Of S^2 / 2 pairs the diagonal's S / 2 are left out. Reads hd (D_n + D_v) + D_r (MLA) or hd_kv (D_qk + D_v) (GQA)
    elements a token.
    """
    own, width = heads(model, work.tp), query_width(model) + model.v_head_dim
    latent = own * (model.qk_nope_head_dim + model.v_head_dim) + model.qk_rope_head_dim
    return Attention(
        flops=work.tokens * work.context * own * width,
        inputs=work.tokens * own * query_width(model),
        kv=work.attended * chosen(model.kv_lora_rank, latent, kv_heads(model, work.tp) * width),
        outputs=work.tokens * own * model.v_head_dim,
    )


def absorbed_prompt(model, work):
    """The core of whole prompts on a latent cache, causal: B hd S^2 (2 R_kv + D_r) [FLOP], all positions attended to.

    Queries (R_kv + D_r wide) in, results (R_kv) out, the cache read once: all that tokens of a prompt gather stays in
    the caches of the chip.
    """
    own, rank, keys = heads(model, work.tp), model.kv_lora_rank, latent_width(model)
    return Attention(
        flops=work.tokens * work.context * own * (keys + rank),
        inputs=work.tokens * own * keys,
        kv=work.attended * keys,
        outputs=work.tokens * own * rank,
    )


def prompt(model, work):
    """The core of whole prompts as kernels run it: `absorbed_prompt` where an indexer picks positions, else `unfolded`.

    It picks where there are more than `index_topk`; engines compute shorter prompts unfolded, over all positions.
    """
    picked = picks(model, work)
    absorbed, dense = vars(absorbed_prompt(model, work)), vars(unfolded(model, work))
    return Attention(**{name: chosen(picked, absorbed[name], dense[name]) for name in dense})


def picks(model, work):
    """Whether kernels of sparse attention run (> 0): always in decode, of a prompt where positions are left out."""
    return model.kv_lora_rank * model.index_topk * (work.context - model.index_topk if work.causal else 1)


def pair_flops(model):
    """FLOPs of one token with one position, keys and values unfolded: 2 h (D_qk + D_v)."""
    return 2 * model.num_attention_heads * (query_width(model) + model.v_head_dim)


def attended(model, work, shape):
    """The core of attention, mean of all layers: less where it is sparse or has a sliding window."""
    pair = shares(model, work.context)
    share = mean_of_layers(model, [causal_pairs(x) if work.causal else x for x in pair])
    # Keys and values of a prompt are read once whoever attends to them; in decode every token gathers its own picks.
    read = 1 if work.causal else share * gathers(model, work)
    return Attention(flops=share * shape.flops, inputs=shape.inputs, kv=read * shape.kv, outputs=shape.outputs)


def gathers(model, work):
    """Times that the positions of a sequence are read in decode: once, or by each of its tokens what it picks."""
    return chosen(picks(model, work), work.queries, 1)


def rotation(model, work):
    """Rotation of queries and keys, and what puts rotary and other parts together.

    MLA: 2 T hd D_r elements, the queries in place; unfolded also the keys, read and put beside the shared rotary one: T
    hd (2 D_n + D_r). GQA: 2 T (hd + hd_kv) D_qk, queries and keys in place.
    """
    own = heads(model, work.tp)
    latent = 2.0 * model.qk_rope_head_dim
    if work.causal:
        latent = latent + 2.0 * model.qk_nope_head_dim + model.qk_rope_head_dim
    grouped = 2.0 * (own + kv_heads(model, work.tp)) * query_width(model)
    moved = work.tokens * chosen(model.kv_lora_rank, own * latent, grouped)
    return Pointwise(weights=0, inputs=0.5 * moved, outputs=0.5 * moved)


# ---- the indexer of sparse attention: the same on every chip.  Source: DeepSeek-V3.2 (2025), section 2.1, equation 1.


def index_query(model, work):
    """Queries of the indexer (T / sp, R_q, h_i D_i); h_i `index_n_heads`, D_i `index_head_dim`."""
    return gemm(work.rows, query_input(model), model.index_n_heads * model.index_head_dim)


def index_key(model, work):
    """One key of the indexer, and the weights of its heads (T / sp, H, D_i + h_i)."""
    return gemm(work.rows, model.hidden_size, model.index_head_dim + model.index_n_heads)


def index_scores(model, work):
    """Scores of all positions: 2 T h_i S D_i [FLOP], half of it if causal; reads a key of D_i elements of each.

    `kv_split` chips score a share of the positions each in decode.
    """
    width, split = model.index_head_dim, 1 if work.causal else work.kv_split
    flops = (1 if work.causal else 2) * work.rows * model.index_n_heads * work.context * width
    return Attention(
        flops=over(flops, split),
        inputs=work.rows * model.index_n_heads * width,
        kv=over(work.sequences * work.context * width, split),
        outputs=0 * work.rows,
    )


def index_selection(model, work):
    """Scores among which the best are selected: T / sp S / kv_split (half of it if causal); none if all are taken."""
    split = 2 if work.causal else work.kv_split
    left_out = model.kv_lora_rank * model.index_topk * (work.context - model.index_topk)
    some = chosen(left_out * model.index_n_heads, 1, 0)
    return Pointwise(weights=0, inputs=over(some * work.rows * work.context, split), outputs=0)


# ---- sizes


def heads(model, tp):
    """Query heads of a chip: h / tp."""
    return over(model.num_attention_heads, tp)


def kv_heads(model, tp):
    """Heads of keys and values on one chip of GQA: max(1, h_kv / tp)."""
    own = over(model.num_key_value_heads, tp)
    return max(1, own) if isinstance(own, int | Fraction) else arrays.maximum(1.0, own)


def key_heads(model, tp):
    """Heads that have keys of their own on a chip: one latent of MLA, max(1, h_kv / tp) of GQA."""
    return chosen(model.kv_lora_rank, 1, kv_heads(model, tp))


def query_input(model):
    """Columns that queries are made from: R_q of MLA, H where they are not compressed and of GQA."""
    compressed = chosen(model.q_lora_rank, model.q_lora_rank, model.hidden_size)
    return chosen(model.kv_lora_rank, compressed, model.hidden_size)


def cache_width(model, tp):
    """Elements of the KV cache of one token in one layer on one chip: R_kv + D_r (MLA), else hd_kv (D_qk + D_v)."""
    grouped = kv_heads(model, tp) * (query_width(model) + model.v_head_dim)
    return chosen(model.kv_lora_rank, latent_width(model), grouped)


def element_bytes(model, precision, engine):
    """Bytes of an element of the KV cache, mean of its parts: b_kv.

    Of the latent cache of a sparse model in less than 2 bytes as the `engine` lays it out: (R_kv b_kv + R_kv / 128
    `cache_scale_bytes` + D_r b_r) / (R_kv + D_r), b_r `cache_rope_bytes` [B], or b_kv where that is 0. Source: vLLM,
    `flashmla_sparse.py` (656 B = 512 + 4 x 4 + 64 x 2); TensorRT-LLM: 576 B, one scale for all.
    """
    width, rank = precision.kv_bytes, model.kv_lora_rank
    sparse = chosen(model.index_topk, rank, 0 * rank)
    rotary = chosen(engine.cache_rope_bytes, engine.cache_rope_bytes, width)
    laid_out = rank * width + over(rank, 128) * engine.cache_scale_bytes + model.qk_rope_head_dim * rotary
    mean = over(laid_out, chosen(sparse, latent_width(model), 1))
    return chosen(sparse, chosen(2 - width, mean, width), width)


def key_bytes(elements):
    """Bytes of so many elements of the indexer's keys: one each, and a scale of 4 bytes for 128."""
    return elements + over(elements, 32)


def shares(model, context):
    """(P / S of a layer that sees all positions, P / S of a layer with a sliding window): positions a token attends to.

    min(S, `index_topk`) / S where attention is sparse, else 1; min(S, `sliding_window`) / S. Source: DeepSeek-V3.2
    (2025), section 2.1 (sparse); Beltagy et al. (arXiv:2004.05150) (window).
    """
    return tuple(_share(limit, *like(model, context)) for limit in (model.index_topk, model.sliding_window))


def _share(limit, context):
    if isinstance(limit, int | Fraction) and isinstance(context, int | Fraction):
        return over(min(context, limit), context) if limit else 1
    return arrays.where(limit > 0.0, arrays.minimum(context, limit) / context, 1.0)


def causal_pairs(share):
    """Pairs of a prompt whose tokens attend to at most share x S positions, of S^2 / 2: share (2 - share)."""
    return share * (2 - share)


def sliding_share(model):
    """Share of the layers that have a sliding window."""
    return over(model.sliding_layers, model.num_hidden_layers)


def mean_of_layers(model, pair):
    """Mean of all layers of (a value of those that see everything, of those with a sliding window)."""
    sliding = sliding_share(model)
    return (1 - sliding) * pair[0] + sliding * pair[1]


def kept_positions(model, context):
    """Positions whose keys and values a layer keeps, mean of all: S, and min(S, W) in those with a sliding window."""
    sliding = sliding_share(model)
    return context * (1 - sliding + sliding * shares(model, context)[1])
