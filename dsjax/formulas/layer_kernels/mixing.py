"""Kernels of hyper-connections: a layer's residual is n streams, mixed before and after each block (MODEL.md, 4).

`mixing_pre_`: the mixture that a block reads, and the weights of both mixtures; `mixing_post_`: streams mixed among
themselves and with what the block returns. Bytes bind: the weights' flops are few.
"""

from ...specs.fields import like, record, seconds, share


@record
class MixingKnots:
    """Knots of hyper-connections, of one block's pair of kernels."""

    mixing_post_memory: float = like("pointwise_memory", share("streams after a block: share of memory bandwidth"))
    mixing_post_start_s: float = like("pointwise_start_s", seconds("streams after a block: launch and ramp"))
    mixing_pre_memory: float = like("mixing_post_memory", share("mixture before a block: share of memory bandwidth"))
    mixing_pre_start_s: float = like("mixing_post_start_s", seconds("mixture before a block: launches and ramp"))


def mixing_bytes(tokens, hidden, streams, element_bytes):
    """Bytes of either kernel of one block [B]: T D b (2 n + 1).

    Before a block the n streams are read twice, for the weights and for the mixture, which is one of them wide; after
    it they and the result are read and n are written. Source: Xie et al., mHC (arXiv:2512.24880).
    """
    return tokens * hidden * element_bytes * (2.0 * streams + 1.0)


def mixing_flops(tokens, hidden, streams):
    """Flops of the weights of one block's mixtures: 2 T n D (n^2 + 2 n), one product of the joined streams."""
    return 2.0 * tokens * streams * hidden * (streams * streams + 2.0 * streams)


def mixing(curve, side):
    """(share of peak compute, share of the memory bandwidth, start [s]) of the kernel on a side: "pre" or "post"."""
    return 1.0, getattr(curve, f"mixing_{side}_memory"), getattr(curve, f"mixing_{side}_start_s")
