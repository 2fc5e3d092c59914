"""What a collective costs: bytes on the link of one chip, or time where messages have a start of their own."""

from ..formulas.roofline import alongside, transfer


def all_to_all_bytes(tokens, hidden_size, copies, element_bytes):
    """Bytes one chip sends in dispatch, or receives in combine: tokens x copies x H x b.

    `copies` = experts per token when one copy goes to every expert (low-latency mode). No share stays on the chip.
    Source: DeepEP, low-latency kernels.
    """
    return tokens * copies * hidden_size * element_bytes


def ring_all_reduce(members, n_bytes, bytes_per_s, step_s):
    """Ring all-reduce of b bytes over n chips: 2 (n - 1) / n b / bytes_per_s + (n - 1) step_s [s].

    A reduce-scatter and an all-gather; the starts of the second one are taken as hidden. One chip: 0.
    Source: P. Patarasuk, X. Yuan, Bandwidth optimal all-reduce algorithms, J. Parallel Distrib. Comput. 69 (2009).
    """
    return transfer(2.0 * (members - 1.0) / members * n_bytes, bytes_per_s, (members - 1.0) * step_s)


def island_all_reduce(members, island, n_bytes, inside, between):
    """All-reduce over n chips in n / g islands of g: max(ring over g inside, ring over n / g between), b bytes in
    both.

    `inside`, `between`: (bytes_per_s, step_s) of the links of an island and between islands. g = n is one ring.
    """
    return alongside(ring_all_reduce(island, n_bytes, *inside), ring_all_reduce(members / island, n_bytes, *between))


def gathered_all_to_all(n_bytes, moe_tp, inside, between):
    """Dispatch or combine of b bytes per chip, then an all-gather over the moe_tp chips that share an expert.

    b / B_between + start + (moe_tp - 1) (b / B_inside + start) [s]; no share stays on the chip.
    """
    (up_bytes_per_s, up_step_s), others = inside, moe_tp - 1.0
    return transfer(n_bytes, *between) + transfer(others * n_bytes, up_bytes_per_s, others * up_step_s)
