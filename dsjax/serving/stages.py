"""Pipeline parallelism: layers in stages, micro batches in flight (dsjax/MODEL.md, section 6)."""

import dataclasses

from .. import arrays
from ..formulas import roofline
from .operators import Stage

# Layers that are spread over all stages evenly.
IN_PROPORTION = (
    "sliding_layers",
    "index_layers",
    "attention_free_layers",
    "ffn_free_layers",
    "dense_beside_layers",
    "unpicked_layers",
    "csa_layers",
    "hca_layers",
    "linear_layers",
)


def whole(model):
    """All layers and both ends."""
    return Stage(model)


def stages(model, pp):
    """The first of pp `Stage`s, the one before the last, and the last: one of them takes longest, and holds most.

    floor(L / pp) layers each; what is left of L, r layers, goes one each to the stages before the last, from its end.
    Source: vLLM, `get_pp_indices`. `pp` is a whole number.
    """
    dtype = model.num_hidden_layers.dtype
    layers = arrays.asarray(model.num_hidden_layers, "int32")
    each, left = layers // pp, layers % pp
    one = pp == 1
    first = each + arrays.where((left == pp - 1) & ~one, 1, 0)
    before = each + arrays.where(left > 0, 1, 0)

    def number(x):
        return arrays.asarray(x, dtype)

    layers, dense, both = number(layers), model.first_k_dense_replace, number(arrays.where(one, 1, 0))
    first, before, last = number(first), number(before), number(each)

    def stage(n, start, **ends):
        own = arrays.clip(dense - start, 0.0, n)
        ratio, first = n / layers, own
        if model.ffn_free_layers is not None:  # dense FFNs are then between others, not at the start
            first = arrays.where(model.ffn_free_layers > 0.0, ratio * dense, own)
        of_kinds = {name: getattr(model, name) for name in IN_PROPORTION}
        few = dataclasses.replace(
            model,
            num_hidden_layers=n,
            first_k_dense_replace=first,
            **{name: ratio * count for name, count in of_kinds.items() if count is not None},
        )
        return Stage(few, **ends)

    return (
        stage(first, 0.0, first=1.0, last=both),
        stage(before, arrays.maximum(layers - last - before, 0.0), first=both, last=both),
        stage(last, layers - last, first=both, last=1.0),
    )


def in_flight(total, parts, send, pp, micro_batches, causal):
    """Time of a step of pp stages with m = `micro_batches` in flight.

    Every micro batch passes all stages, P = `total` and pp - 1 sends, and the slowest stage with its send, S, works on
    all of them: max(P, m S) in decode, where the next token of a micro batch follows at once; P + (m - 1) S in prefill,
    which fills and drains. Busy and ideal seconds are those of a chip in the mean, m / pp of `total`. `parts`: times of
    the stages that may be the slowest.
    """
    passing = total + (pp - 1.0) * send
    slowest = roofline.longest(*parts) + arrays.where(pp > 1.0, 1.0, 0.0) * send
    filled = passing + (micro_batches - 1.0) * slowest
    found = filled if causal else roofline.longest(passing, micro_batches * slowest)
    share = micro_batches / pp
    mean = {name: share * x for name, x in vars(passing).items() if name not in roofline.EXPOSED and x is not None}
    return dataclasses.replace(found, **mean)


def fullest(held):
    """{part: B} of the stage that holds most, of several."""
    found = held[0]
    for other in held[1:]:
        more = sum(other.values()) > sum(found.values())
        found = {name: arrays.where(more, other[name], x) for name, x in found.items()}
    return found
