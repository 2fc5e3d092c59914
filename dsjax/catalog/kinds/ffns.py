"""FFNs and experts of a config as fields of `records.Model`.

Every function takes the `Reader` of a config, its `Architecture`, and what is known of the row so far.
"""


def ffns(reader, kind, found):
    """Experts, and how many layers have them; widths that no layer has are those of the others."""
    layers = found["ffns"]
    experts = layers.count("experts") + layers.count("both")
    row = {"first_k_dense_replace": layers.count("dense"), "mlp_bias": _bias(reader, kind)}
    row |= {"ungated": 1} if kind.ungated else {}
    row |= {"ffn_free_layers": layers.count("none")} if "none" in layers else {}
    row |= {"dense_beside_layers": layers.count("both")} if "both" in layers else {}
    if not kind.experts:
        width = reader.whole("intermediate_size")
        none = {"n_routed_experts": 1, "n_shared_experts": 0, "num_experts_per_tok": 1}
        return row | none | {"intermediate_size": width, "moe_intermediate_size": width}
    if not experts and not reader.get("n_routed_experts"):
        reader.get("n_shared_experts"), reader.get("num_experts_per_tok"), reader.get("moe_intermediate_size")
        width = reader.whole("shared_width") if kind.shared_alone else reader.whole("intermediate_size")
        none = {"n_routed_experts": 1, "n_shared_experts": 0, "num_experts_per_tok": 1}
        return row | none | {"intermediate_size": width, "moe_intermediate_size": width}
    return row | routed(reader, kind, found, experts)


def routed(reader, kind, found, layers):
    """Routed and shared experts; `layers`: how many have them."""
    experts, chosen = reader.whole("n_routed_experts"), reader.whole("num_experts_per_tok")
    zero = reader.whole("zero_expert_num", 0, low=0)
    if chosen > experts + zero:
        reader.fail("num_experts_per_tok", f"at most {reader.key('n_routed_experts')} {experts + zero}")
    width = reader.whole("moe_intermediate_size", default_width(reader, kind))
    dense = "dense" in found["ffns"] or "both" in found["ffns"]
    if dense or (reader.get("intermediate_size") is not None and not kind.one_width):
        intermediate = reader.whole("intermediate_size")
    else:
        intermediate = width
    row = {
        "n_routed_experts": experts,
        "n_shared_experts": shared(reader, kind, width),
        "num_experts_per_tok": chosen,
        "moe_intermediate_size": width,
        "intermediate_size": intermediate,
    }
    row |= {"zero_experts": zero} if zero else {}
    if latent := reader.whole("expert_hidden_size", 0, low=0):
        row |= {"expert_hidden_size": latent}
        row |= {"vector_parameters": layers * latent} if reader.flag("latent_moe_use_norm") else {}
    return row | groups(reader, experts, chosen)


def default_width(reader, kind):
    """Width of an expert where a config has one width for all."""
    return reader.get("intermediate_size") if kind.one_width else None


def shared(reader, kind, width):
    """Shared experts, in experts of the routed ones' width."""
    total = reader.whole("shared_width", 0, low=0)
    number = reader.whole("n_shared_experts", kind.shared if not total else 1, low=0)
    if not total:
        return number
    if not number:
        return 0
    return number * total / width if total % width else number * total // width


def groups(reader, experts, chosen):
    """Groups of experts of node-limited routing; one group, or all of them, is no limit."""
    count, reach = reader.whole("n_group", 1), reader.whole("topk_group", 1)
    if experts % count:
        reader.fail("n_group", f"a divisor of {reader.key('n_routed_experts')} {experts}")
    if reach > count:
        reader.fail("topk_group", f"at most n_group {count}")
    if count > 1 and chosen > experts // count * reach:
        reader.fail("topk_group", f"groups with num_experts_per_tok {chosen} experts at least")
    return {"n_group": count, "topk_group": reach} if reach < count else {}


def _bias(reader, kind):
    if isinstance(kind.mlp_bias, str):
        return reader.flag(kind.mlp_bias)
    reader.get("mlp_bias")
    return int(kind.mlp_bias) or (reader.flag("mlp_bias"))
