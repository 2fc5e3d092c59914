"""Shapes of attention in one layer on one chip: MLA, absorbed and unfolded, grouped-query attention, the indexer.

Symbols: T tokens of a group, T / sp rows of a chip, B sequences, S context [token], H hidden_size, hd = heads / tp
heads of a chip, R_q and R_kv ranks of queries and of the latent cache, D_n, D_r, D_v head widths without position,
rotary, of values, D_qk = D_n + D_r, hd_kv heads of keys and values of a chip. A model has MLA where R_kv > 0, else
grouped queries; a shape of what a model lacks has a size of 0. Sources: DeepSeek-V2 (arXiv:2405.04434), section 2.1
and appendix C (MLA); Ainslie et al. (arXiv:2305.13245) (grouped queries).
"""

from fractions import Fraction

from ... import arrays
from . import kinds
from .shapes import Attention, Pointwise, chosen, gemm, latent_width, number, or_else, over, query_width

# ---- products with weights


def query_down(model, work):
    """Compression of the queries (T / sp, H, R_q)."""
    return gemm(work.rows, model.hidden_size, model.q_lora_rank)


def query_up(model, work):
    """Queries of the heads: (T, R_q, hd D_qk) of MLA, from H where they are not compressed; (T, H, hd D_qk) of GQA."""
    return gemm(work.tokens, query_input(model), heads(model, work.tp) * query_width(model))


def key_value(model, work):
    """Keys and values to be cached: MLA (T / sp, H, R_kv + D_r), not split by tp; GQA (T, H, hd_kv (D_qk + D_v)).

    Of GQA hd_kv D_qk columns where keys are values too.
    """
    rows, columns = chosen(model.kv_lora_rank, work.rows, work.tokens), cache_width(model, work.tp)
    if model.key_is_value is not None:
        keys = chosen(model.kv_lora_rank, columns, kv_heads(model, work.tp) * query_width(model))
        columns = chosen(model.key_is_value, keys, columns)
    return gemm(rows, model.hidden_size, columns)


def gate(model, work):
    """Gate of the output of attention (T, H, hd D_v); none where the model lacks it."""
    columns = number(model.attention_gate) * heads(model, work.tp) * model.v_head_dim
    return gemm(work.tokens, model.hidden_size, columns)


def key_value_up(model, work):
    """Keys and values of the heads, unfolded from the latent cache (T, R_kv, hd (D_n + D_v)); T with what it has."""
    columns = _absorbed_heads(model, work) * (model.qk_nope_head_dim + model.v_head_dim)
    return gemm(work.attended, model.kv_lora_rank, columns)


def absorb_keys(model, work):
    """W^UK absorbed into the queries, head by head (T, D_n, R_kv)."""
    return gemm(work.tokens, model.qk_nope_head_dim, model.kv_lora_rank, _absorbed_heads(model, work))


def absorb_values(model, work):
    """W^UV absorbed into the output, head by head (T, R_kv, D_v)."""
    return gemm(work.tokens, model.kv_lora_rank, model.v_head_dim, _absorbed_heads(model, work))


def _absorbed_heads(model, work):
    """Heads with products between a latent and their keys and values: none where the latent is both."""
    own = heads(model, work.tp)
    return own if model.key_is_value is None else (1 - model.key_is_value) * own


def output(model, work):
    """Output projection (T, hd D_v, H); from g_o `o_lora_rank` / tp columns of `output_down` where it has groups."""
    columns = heads(model, work.tp) * model.v_head_dim
    if model.o_groups is not None:
        columns = or_else(over(model.o_groups * number(model.o_lora_rank), work.tp), columns)
    return gemm(work.tokens, columns, model.hidden_size)


def results(model, work):
    """Elements that the core writes: T hd D_v."""
    return work.tokens * (heads(model, work.tp) * model.v_head_dim)


def output_down(model, work):
    """Output projection of each group of heads, of low rank: (g_o / tp; T, h D_v / g_o, `o_lora_rank`)."""
    groups = or_else(model.o_groups, 1)
    width, rank = over(model.num_attention_heads * model.v_head_dim, groups), number(model.o_lora_rank)
    return gemm(work.tokens, width, rank, over(groups, work.tp))


def compress(model, work):
    """Compression with overlap of `csa_layers`: key and gate twice, (T / sp, H, 4 (R_kv + D_r))."""
    return gemm(work.rows, model.hidden_size, 4 * latent_width(model))


def compress_more(model, work):
    """Compression of `hca_layers`: key and gate, (T / sp, H, 2 (R_kv + D_r))."""
    return gemm(work.rows, model.hidden_size, 2 * latent_width(model))


# ---- the core


def absorbed(model, work):
    """The core in decode, keys and values as the cache keeps them; all positions attended to.

    2 T hd S (K + V) [FLOP], K = R_kv + D_r and V = R_kv of MLA, D_qk and D_v of GQA; reads S (R_kv + D_r), or
    S hd_kv (D_qk + D_v), elements a sequence: a latent cache has no heads to split. `kv_split` chips keep a share of
    the positions each, and so compute the heads of all of them on S / kv_split positions.
    """
    own, split, rank = heads(model, work.tp), work.kv_split, model.kv_lora_rank
    keys = chosen(rank, latent_width(model), query_width(model))
    values = chosen(rank, latent_values(model), model.v_head_dim)
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
    own, rank, keys = heads(model, work.tp), latent_values(model), latent_width(model)
    return Attention(
        flops=work.tokens * work.context * own * (keys + rank),
        inputs=work.tokens * own * keys,
        kv=work.attended * keys,
        outputs=work.tokens * own * rank,
    )


def prompt(model, work, sparse=True):
    """The core of whole prompts as kernels run it: `unfolded`, or `absorbed_prompt` of a latent that is picked from.

    An indexer picks where there are more positions than `index_topk`; engines compute shorter prompts unfolded, over
    all positions, and so layers that are not `sparse`. A latent that is key and value in one has no other form than the
    absorbed.
    """
    latent = model.kv_lora_rank * (picks(model, work) if sparse else 0)
    if model.key_is_value is not None:
        latent = chosen(model.key_is_value, model.kv_lora_rank, latent)
    absorbed, dense = vars(absorbed_prompt(model, work)), vars(unfolded(model, work))
    return Attention(**{name: chosen(latent, absorbed[name], dense[name]) for name in dense})


def picks(model, work):
    """Whether kernels of sparse attention run (> 0): always in decode, of a prompt where positions are left out.

    Where positions are compressed: always.
    """
    found = model.index_topk * (work.context - model.index_topk if work.causal else 1)
    for count in (model.csa_layers, model.hca_layers):
        found = found if count is None else chosen(count, count, found)
    return found


def pair_flops(model):
    """FLOPs of one token with one position, keys and values unfolded: 2 h (D_qk + D_v)."""
    return 2 * model.num_attention_heads * (query_width(model) + model.v_head_dim)


def attended(model, work, shape):
    """The core of attention, mean of the layers that have it: less where it is sparse or has a sliding window."""
    seen = kinds.seen(model, work.context)
    share = kinds.mean(seen, [kind.pairs if work.causal else kind.share for kind in seen])
    # Keys and values of a prompt are read once whoever attends to them; in decode every token gathers its own picks.
    read = 1 if work.causal else share * gathers(model, work)
    return Attention(flops=share * shape.flops, inputs=shape.inputs, kv=read * shape.kv, outputs=shape.outputs)


def gathers(model, work):
    """Times that the positions of a sequence are read in decode: once, or by each of its tokens what it picks."""
    return chosen(picks(model, work), work.queries, 1)


def rotation(model, work):
    """Rotation of queries and keys, and what puts rotary and other parts together.

    MLA: 2 T hd D_r elements, the queries in place; unfolded also the keys, read and put beside the shared rotary one: T
    hd (2 D_n + D_r), unless the latent is key and value in one. GQA: 2 T (hd + hd_kv) D_qk, queries and keys in place.
    """
    own = heads(model, work.tp)
    latent = 2.0 * model.qk_rope_head_dim
    if work.causal:
        keys = 2.0 * model.qk_nope_head_dim + model.qk_rope_head_dim
        latent = latent + (keys if model.key_is_value is None else (1 - model.key_is_value) * keys)
    grouped = 2.0 * (own + kv_heads(model, work.tp)) * query_width(model)
    moved = work.tokens * chosen(model.kv_lora_rank, own * latent, grouped)
    return Pointwise(weights=0, inputs=0.5 * moved, outputs=0.5 * moved)


# ---- positions of compressed attention


def compression_embedding(model, work):
    """Parameters of positions of the compression with overlap: 2 `csa_ratio` (R_kv + D_r)."""
    del work
    return Pointwise(weights=2 * number(model.csa_ratio) * latent_width(model), inputs=0, outputs=0)


def more_compression_embedding(model, work):
    """Parameters of positions of the other compression: `hca_ratio` (R_kv + D_r)."""
    del work
    return Pointwise(weights=number(model.hca_ratio) * latent_width(model), inputs=0, outputs=0)


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


def latent_values(model):
    """Width of the values of a latent cache: R_kv, all of it where the latent is key and value in one."""
    rank = model.kv_lora_rank
    return rank if model.key_is_value is None else rank + model.key_is_value * model.qk_rope_head_dim


def kept_positions(model, context):
    """Positions whose keys and values a layer keeps, mean of all: S, and min(S, W) in those with a sliding window."""
    seen = kinds.seen(model, context)
    return context * kinds.mean(seen, [kind.kept for kind in seen])
