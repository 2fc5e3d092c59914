"""Bytes of one chip beside its weights: KV cache and live activations (dsjax/MODEL.md, section 8)."""

from .. import arrays
from .operators import attention, indexer, kinds, layers, linear
from .operators.shapes import chosen


def kv_cache(model, work, count, index_layers, kv_bytes):
    """KV cache of the sequences of a group [B]: B / kv_split (L S' w b + L_i S (D_i + D_i / 32)).

    B sequences, L = `count` layers, L_i = `index_layers` of them with an indexer, S' `kept_positions`, w `cache_width`,
    b = `kv_bytes` an element (`element_bytes`) [B]; S context, D_i elements of a key of the indexer (`key_bytes`).
    """
    kept = attention.kept_positions(model, work.context) * attention.cache_width(model, work.tp) * kv_bytes
    keys = indexer.positions(model, work.context) * indexer.key_bytes(model.index_head_dim)
    return work.sequences / work.kv_split * (count * kept + index_layers * keys)


def live_elements(model, work):
    """Elements of the activations that live at once: 2 max(4 T_s H, T_s H + X, R (H + I_e / moe_tp), T_h V / tp).

    In this order: a norm; the residual stream beside what the core of attention reads and writes (X, of the kind of
    layer with most); the routed rows with their gate; the logits.
    """
    hidden = model.hidden_size
    live = work.rows * hidden + _around_core(model, work)
    live = arrays.maximum(live, work.routed_rows * (layers.expert_hidden(model) + layers.routed_width(model, work)))
    return 2.0 * arrays.maximum(
        live, arrays.maximum(4.0 * work.rows * hidden, work.head_rows * model.vocab_size / work.tp)
    )


def _around_core(model, work):
    """Elements that the core of attention, or of a linear layer, reads as activations and writes: X."""
    few = kinds.common(model)
    most = _moved(few, work)
    if few is not model or kinds.attentions(model) is not model.num_hidden_layers:
        most = chosen(kinds.attentions(few), most, 0.0)
    others = []
    if model.unpicked_layers is not None:
        others.append((model.unpicked_layers, _moved(few, work, sparse=False)))
    if model.sliding_head_dim is not None:
        others.append((kinds.own_sized(model), _moved(kinds.windowed(model), work)))
    if model.linear_layers is not None:
        core = linear.core(model, work)
        others.append((model.linear_layers, core.inputs + core.outputs))
    for count, moved in others:
        most = arrays.maximum(most, chosen(count, moved, 0.0))
    return most


def _moved(model, work, sparse=True):
    if not work.causal:
        core = attention.absorbed(model, work)
        return core.inputs + core.outputs
    core = attention.prompt(model, work, sparse)
    return core.inputs + core.outputs + core.kv
