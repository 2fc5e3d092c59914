"""DeciLM (Nemotron NAS): a search chose the sizes of every layer; a record has their mean where the counts stay exact.

Every function takes the `Reader` of a config, its architecture, and what is known of the row so far.
"""

from . import attention
from .layers import depth


def layers(reader, kind):
    """Layers of Nemotron NAS: some lack attention or the FFN, which have widths of their own in the others."""
    n, blocks = depth(reader), reader.get("block_configs")
    if not isinstance(blocks, list) or len(blocks) != n or not all(isinstance(block, dict) for block in blocks):
        reader.fail("block_configs", f"a list of num_hidden_layers {n} objects")
    return *_kinds(reader, blocks), {}


def _kinds(reader, blocks):
    return [(_part(reader, b, "attention") and "full") or "none" for b in blocks], [
        (_part(reader, b, "ffn") and "dense") or "none" for b in blocks
    ]


def _part(reader, block, name):
    """Attention or FFN of a block; None where it has none."""
    part = block.get(name)
    if not isinstance(part, dict):
        reader.fail("block_configs", f"in every block an object {name}")
    size = {"attention": "n_heads_in_group", "ffn": "ffn_mult"}[name]
    for key, value in part.items():
        if value and key not in (size, "no_op"):
            reader.fail("block_configs", f"of {name} no {key} {str(value)[:20]}: it is not understood")
    if part.get("no_op"):
        return None
    value = part.get(size)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e6:
        reader.fail("block_configs", f"a positive {size} in every block that has {name}")
    return value


def grouped(reader, kind, found):
    """Grouped queries; heads of keys and values in the mean of the layers: parameters and cache are exact, and time is
    where it goes with their number (not where tp is beyond what some layers have)."""
    heads = found["num_attention_heads"]
    parts = [_part(reader, block, "attention") for block in reader.get("block_configs")]
    groups = []
    for part in parts:
        if part is not None:
            if heads % part:
                reader.fail("block_configs", f"n_heads_in_group that divides num_attention_heads {heads}")
            groups.append(heads // part)
    if not groups:
        reader.fail("block_configs", "a block with attention")
    reader.get("num_key_value_heads")
    mean = sum(groups) / len(groups)
    row = attention.grouped(reader, kind, found)
    return row | {"num_key_value_heads": int(mean) if mean == int(mean) else mean}


def ffns(reader, kind, found):
    """Dense FFNs, of the mean width of the layers, down to a multiple of 32 that chips can share.

    What that leaves out (0.1 % of Llama-3.3-Nemotron-Super-49B) is in `vector_parameters`, so that parameters are
    exact. The time is that of a layer of mean width; products grow with the width, their fixed times do not.
    """
    hidden = found["hidden_size"]
    parts = [_part(reader, block, "ffn") for block in reader.get("block_configs")]
    widths = [ffn_width(part, hidden) for part in parts if part is not None]
    if not widths:
        reader.fail("block_configs", "a block with an FFN")
    reader.get("intermediate_size")
    width = max(sum(widths) // len(widths) // SHARED * SHARED, 1)
    free = found["ffns"].count("none")
    row = {"first_k_dense_replace": len(widths), "mlp_bias": reader.flag("mlp_bias")}
    row |= {"ffn_free_layers": free} if free else {}
    row |= {"n_routed_experts": 1, "n_shared_experts": 0, "num_experts_per_tok": 1}
    row |= {"intermediate_size": width, "moe_intermediate_size": width}
    return row | {"vector_parameters": (sum(widths) - width * len(widths)) * 3 * hidden}


SHARED = 32  # of a mean width


def ffn_width(factor, hidden):
    """Width of an FFN by its factor of the hidden size: two thirds of it, up to a multiple of 256."""
    return -(-int(2 * factor * hidden / 3) // 256) * 256
