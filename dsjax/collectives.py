"""Bytes each collective puts on the link of one chip."""


def all_to_all_bytes(tokens, hidden_size, copies, element_bytes):
    """Bytes one chip sends in dispatch, or receives in combine: tokens x copies x H x b.

    `copies` = experts per token when one copy goes to every expert (low-latency mode). No share stays on the chip.
    Source: DeepEP, low-latency kernels.
    """
    return tokens * copies * hidden_size * element_bytes
