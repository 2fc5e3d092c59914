"""Shapes of operators: flops, parameters and elements moved are read off one shape, so they cannot disagree.

Sizes may be Python integers (counts are then exact, of any size, and a split that does not divide is a `Fraction`) or
arrays, or what stands for them (the sizes take the floating-point type of the model's numbers).
"""

import dataclasses
from fractions import Fraction

from ... import arrays
from ...specs.fields import record


@record
class Work:
    """One layer of one micro batch on one chip, in tokens, sequences, rows and sizes of the deployment.

    Numbers of Python, and then exact (`count`), or arrays of one floating-point type (a step). Groups of `tp` chips
    share their sequences; cards of `moe_tp` chips share their experts.
    """

    sequences: float  # of a group
    queries: float  # tokens of a sequence in this pass
    tokens: float  # of a group: sequences x queries
    rows: float  # of a group, per chip under sequence parallelism
    all_tokens: float  # of all groups
    head_rows: float  # tokens whose logits are wanted
    context: float  # positions that a token may attend to
    routed_rows: float  # of the experts of a card, of the busiest one in a step
    experts: float  # of a card: those that are read (a step), or those that it holds (parameters)
    tp: float
    kv_split: float
    shared_tp: float
    moe_tp: float
    expert_tile: float | None  # sizes of a routed expert are filled up to a multiple of it; 0, None: they are not
    cached: float | None = None  # of a group: positions of prompts that the cache has, which new tokens attend to
    causal: bool = dataclasses.field(metadata={"static": True})  # whole prompts, keys and values unfolded; else decode

    @property
    def attended(self):
        """Positions whose keys and values a pass over prompts reads: its own tokens, and those that the cache has."""
        return self.tokens if self.cached is None else self.tokens + self.cached


@record
class Gemm:
    """`groups` products of activations (m, k) and weights (k, n)."""

    groups: float
    m: float
    k: float
    n: float

    @property
    def flops(self):
        """2 G M K N [FLOP]."""
        return 2 * self.groups * self.m * self.k * self.n

    @property
    def weights(self):
        """G K N [parameter]."""
        return self.groups * self.k * self.n

    @property
    def inputs(self):
        """G M K [element]."""
        return self.groups * self.m * self.k

    @property
    def outputs(self):
        """G M N [element]."""
        return self.groups * self.m * self.n


@record
class Attention:
    """The two products Q K^T and P V of all heads on the chip."""

    flops: float  # [FLOP]
    inputs: float  # queries [element]
    kv: float  # keys and values read, each once: the latent cache in decode, those of every head in prefill [element]
    outputs: float  # [element]

    @property
    def weights(self):
        """No weights: 0 [parameter]."""
        return 0


@record
class Pointwise:
    """Elements read, changed and written; its few flops are no matrix product and are not counted."""

    weights: float  # [parameter]
    inputs: float  # [element]
    outputs: float  # [element]

    @property
    def flops(self):
        """None [FLOP]."""
        return 0


@record
class Lookup:
    """`m` rows of width `n`, `found` of them in the `table` rows that are here, the others zeros."""

    table: float
    found: float
    m: float
    n: float

    @property
    def flops(self):
        """None [FLOP]."""
        return 0

    @property
    def weights(self):
        """Table x N [parameter]."""
        return self.table * self.n

    @property
    def inputs(self):
        """Found x N, rows of the table that are read [element]."""
        return self.found * self.n

    @property
    def outputs(self):
        """M N [element]."""
        return self.m * self.n


def over(total, parts):
    """total / parts, exact on Python integers."""
    if isinstance(total, int | Fraction) and isinstance(parts, int | Fraction):
        ratio = Fraction(total, parts)
        return ratio.numerator if ratio.denominator == 1 else ratio
    return total / parts


def chosen(number, yes, no):
    """`yes` where a number is positive, else `no`; of Python numbers, or of arrays."""
    if isinstance(number, int | Fraction):
        return yes if number > 0 else no
    return arrays.where(number > 0.0, yes, no)


def number(x):
    """A number that a model may lack: 0 for None."""
    return 0 if x is None else x


def or_else(x, otherwise):
    """A number that a model may lack, or what stands for it where it is None or 0."""
    return otherwise if x is None else chosen(x, x, otherwise)


def gemm(m, k, n, groups=1):
    """`groups` products (m, k) x (k, n)."""
    return Gemm(groups=groups, m=m, k=k, n=n)


def norm(rows, width, streams=1, written=None):
    """Norm of `rows` rows: reads and writes `streams` x rows x width elements (2 where it adds a residual).

    `written`: streams that it writes, where those are others.
    """
    written = streams if written is None else written
    return Pointwise(weights=width, inputs=streams * rows * width, outputs=written * rows * width)


def latent_width(model):
    """Elements of a token in the latent cache: R_kv + D_r."""
    return model.kv_lora_rank + model.qk_rope_head_dim


def query_width(model):
    """Width of a query head: D_n + D_r."""
    return model.qk_nope_head_dim + model.qk_rope_head_dim


def like(model, *sizes):
    """Arrays in the floating-point type of the model's numbers (integers of 32 bit would overflow); others as is."""
    dtype = getattr(model.hidden_size, "dtype", None)
    return [arrays.asarray(x, dtype) if dtype is not None and hasattr(x, "dtype") else x for x in sizes]


def quotient(total, parts, dtype):
    """total / parts of integers: exact where it is a whole number, also on backends whose division rounds it."""
    ratio = arrays.asarray(total, dtype) / arrays.asarray(parts, dtype)
    return arrays.where(total % parts == 0, arrays.asarray(total // parts, dtype), ratio)
