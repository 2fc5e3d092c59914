"""Times of a server's steps by interpolation between the loads at which the core model was evaluated (11.10)."""

from typing import NamedTuple

import numpy as np

from ... import arrays
from ..server.lengths import column

PER_OCTAVE = 4
NODES = 2.0 ** (np.arange(60 * PER_OCTAVE) / PER_OCTAVE)  # more than any table has
_NODES = {np.dtype(kind): NODES.astype(kind) for kind in ("float32", "float64")}
FEW = 2**10


def nodes(most):
    """Loads 1, 2^(1/4), 2^(1/2), ... up to `most` or the next beyond it."""
    return NODES[: 1 + int(np.ceil(PER_OCTAVE * np.log2(max(most, 2.0))))]


class Rows(NamedTuple):
    """A table that points share: of point i the row `row[i]` of `values`."""

    values: np.ndarray
    row: np.ndarray


def interpolated(table, x):
    """Values at x of `table`, whose last axis is that of `nodes`: straight between two of them, and beyond the last.

    `x` has the shape of the table without its last axis, or one axis more, or is one number for all.
    """
    return _interpolated(x, table)[0]


def _interpolated(x, *tables):
    """[values at x of each of some tables that have the same nodes]."""
    row = tables[0].row if isinstance(tables[0], Rows) else None
    number = tables[0][..., 0] if row is None else row
    x = 0.0 * number + x if arrays.asarray(x).ndim == 0 else x
    scalar = x.ndim == number.ndim
    x = column(x) if scalar else x
    nodes_of = (tables[0] if row is None else tables[0].values).shape[-1]
    at = arrays.minimum(_last_below(arrays.maximum(x, 1.0)), nodes_of - 2)
    low = arrays.take(arrays.asarray(NODES, x.dtype), at)
    share, found = (x - low) / (low * (2.0 ** (1.0 / PER_OCTAVE) - 1.0)), []
    if row is None and isinstance(x, np.ndarray) and all(isinstance(table, np.ndarray) for table in tables):
        row = np.arange(number.size).reshape(number.shape)  # `take_along_axis` takes several times as long
    for table in tables:
        if row is None:
            along = arrays.namespace(table, x).take_along_axis
            first, second = along(table, at, -1), along(table, at + 1, -1)
        else:
            flat, place = (table.values if isinstance(table, Rows) else table).reshape(-1), column(row) * nodes_of + at
            first, second = arrays.take(flat, place), arrays.take(flat, place + 1)
        found.append(first + (second - first) * share)
    return [values[..., 0] for values in found] if scalar else found


def _last_below(x):
    """Index of the last of `nodes` that is not above x >= 1.

    Read off the bits of x: its exponent, and the quarter of the octave; a logarithm takes several times as long. Of few
    numbers NumPy finds them sooner among the nodes.
    """
    if isinstance(x, np.ndarray) and x.size < FEW:
        return np.searchsorted(_NODES[x.dtype], x, "right") - 1
    kind = np.finfo(x.dtype)
    bits = x.view(f"i{kind.bits // 8}")
    at = PER_OCTAVE * ((bits >> kind.nmant) - kind.maxexp + 1)
    for node in NODES[1:PER_OCTAVE].astype(x.dtype):
        at = at + ((bits & (2**kind.nmant - 1)) >= (node.view(bits.dtype) & (2**kind.nmant - 1)))
    return arrays.asarray(at, "int32")


def _beside(number, x):
    """A number of a server beside x, which may have an axis more."""
    return column(number) if x.ndim > number.ndim else number


class Table(NamedTuple):
    """Times of steps of many servers: one along the first axis of every array, nodes along the second."""

    decode_s: np.ndarray  # a step of decode, by sequences [s]
    prompts_s: np.ndarray  # a step of prompts that groups share, by new tokens at `pairs` each [s]
    prompts_pair_s: np.ndarray  # what a pair more adds to it [s]
    one_s: np.ndarray  # the same of a prompt alone, in one group
    one_pair_s: np.ndarray
    pairs: np.ndarray  # positions that a new token attends to, mean
    prompt_s: np.ndarray  # of the host, for each of many prompts [s]
    read_s: np.ndarray  # for each new token, to read what the host has of its prompt back [s]
    prompt: np.ndarray  # new tokens of a prompt, mean
    groups: np.ndarray
    decode_tokens: np.ndarray  # of a sequence in a step of decode
    decode_core_s: np.ndarray | None = None  # of a step of decode what is no product with weights [s]
    products_s: np.ndarray | None = None  # a step of prompts without the cores of attention, by tokens [s]

    def decode(self, sequences):
        """t_d: a step in which so many sequences decode [s]."""
        return interpolated(self.decode_s, sequences)

    def prompts(self, new, pairs):
        """A step of prompts of all groups, of so many new tokens and pairs [s]."""
        own = _beside(self.pairs, new)
        host = _beside(self.prompt_s / self.prompt + self.read_s / self.groups, new) * new
        time, pair = _interpolated(new, self.prompts_s, self.prompts_pair_s)
        return arrays.maximum(time + pair * (pairs - own * new) + host, 0.5 * time)

    def alone(self, new, pairs):
        """A step of one prompt, which one group computes [s]."""
        own = _beside(self.pairs, new)
        host = _beside(self.prompt_s * self.groups, new) + _beside(self.read_s, new) * new
        time, pair = _interpolated(new, self.one_s, self.one_pair_s)
        return arrays.maximum(time + pair * (pairs - own * new) + host, 0.5 * time)

    def mixed(self, sequences, new, pairs):
        """A step in which sequences decode beside new tokens of prompts: one pass over the weights [s].

        products(B g + n) + (t_d(B) - products of decode) + (t_p(n, p) - products(n)), g tokens of a sequence. What has
        no axis of lengths is looked up once for all of them.
        """
        n = arrays.maximum(new, 1.0)
        core = self.prompts(n, pairs / new * n) - interpolated(self.products_s, n)
        core = arrays.maximum(core, 0.0) * arrays.minimum(new, 1.0)
        tokens = sequences * _beside(self.decode_tokens, sequences) + new
        return interpolated(self.products_s, tokens) + interpolated(self.decode_core_s, sequences) + core
