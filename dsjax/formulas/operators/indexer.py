"""Shapes of the indexer of sparse attention, the same on every chip of a group (dsjax/MODEL.md, 2, 3 and 3.1).

Symbols as in `attention`; h_i `index_n_heads`, D_i `index_head_dim`. Sources: DeepSeek-V3.2 (2025), section 2.1,
equation 1; DeepSeek-V4 (2026), section 2.3.1 (compressed keys).
"""

from .attention import query_input
from .shapes import Attention, Pointwise, chosen, gemm, number, or_else, over


def index_query(model, work):
    """Queries of the indexer (T / sp, R_q, h_i D_i); h_i `index_n_heads`, D_i `index_head_dim`."""
    return gemm(work.rows, query_input(model), model.index_n_heads * model.index_head_dim)


def index_key(model, work):
    """One key of the indexer, and the weights of its heads (T / sp, H, D_i + h_i); of GQA the key alone.

    D_i columns more where keys are pooled (a gate), 4 D_i where positions are compressed (key and gate, twice).
    """
    width = model.index_head_dim
    if model.index_pool is not None:
        width = chosen(model.index_pool, 2 * width, width)
    if model.csa_layers is not None:
        width = chosen(model.csa_layers, 4 * model.index_head_dim, width)
    return gemm(work.rows, model.hidden_size, width + chosen(model.kv_lora_rank, model.index_n_heads, 0))


def positions(model, context):
    """Keys of the indexer for so many positions: one each, or one for `index_pool` or `csa_ratio` of them."""
    for count, ratio in ((model.index_pool, model.index_pool), (model.csa_layers, model.csa_ratio)):
        if count is not None:
            context = over(context, chosen(count, ratio, 1))
    return context


def index_scores(model, work):
    """Scores of all keys: 2 T h_i S D_i [FLOP], half of it if causal; reads a key of D_i elements of each.

    `kv_split` chips score a share of the positions each in decode. S: `positions`.
    """
    width, split = model.index_head_dim, 1 if work.causal else work.kv_split
    keys = positions(model, work.context)
    flops = (1 if work.causal else 2) * work.rows * model.index_n_heads * keys * width
    return Attention(
        flops=over(flops, split),
        inputs=work.rows * model.index_n_heads * width,
        kv=over(work.sequences * keys * width, split),
        outputs=0 * work.rows,
    )


def choices(model, context):
    """What is picked among, of so many positions: keys of the indexer, or blocks of `index_block` positions."""
    keys = positions(model, context)
    return keys if model.index_block is None else over(keys, or_else(model.index_block, 1))


def index_selection(model, work):
    """Scores among which the best are selected: T / sp S / kv_split (half of it if causal); none if all are taken.

    S: `choices`.
    """
    split, keys = 2 if work.causal else work.kv_split, choices(model, work.context)
    wanted = model.index_topk
    for together in (model.index_pool, model.index_block):
        wanted = wanted if together is None else over(wanted, or_else(together, 1))
    left_out = model.index_topk * (keys - wanted)
    some = chosen(left_out * model.index_n_heads, 1, 0)
    return Pointwise(weights=0, inputs=over(some * work.rows * keys, split), outputs=0)


def index_embedding(model, work):
    """Parameters of positions in pooled or compressed keys of an indexer: p D_i, or 2 `csa_ratio` D_i."""
    del work
    found = number(model.index_pool) * model.index_head_dim
    if model.csa_layers is not None:
        found = chosen(model.csa_layers, 2 * number(model.csa_ratio) * model.index_head_dim, found)
    return Pointwise(weights=found, inputs=0, outputs=0)


def key_bytes(elements):
    """Bytes of so many elements of the indexer's keys: one each, and a scale of 4 bytes for 128."""
    return elements + over(elements, 32)
