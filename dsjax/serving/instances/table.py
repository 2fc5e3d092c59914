"""Times of a server's steps by interpolation between the loads at which the core model was evaluated (11.10)."""

from typing import NamedTuple

import numpy as np

from ... import arrays
from ..server.lengths import column

PER_OCTAVE = 4


def nodes(most):
    """Loads 1, 2^(1/4), 2^(1/2), ... up to `most` or the next beyond it."""
    last = int(np.ceil(PER_OCTAVE * np.log2(max(most, 2.0))))
    return 2.0 ** (np.arange(last + 1) / PER_OCTAVE)


def interpolated(table, x):
    """Values at x of `table`, whose last axis is that of `nodes`: straight between two of them, and beyond the last.

    `x` has the shape of the table without its last axis, or one axis more, or is one number for all.
    """
    x = 0.0 * table[..., 0] + x if arrays.asarray(x).ndim == 0 else x
    scalar = x.ndim < table.ndim
    x = column(x) if scalar else x
    place = arrays.clip(arrays.floor(PER_OCTAVE * arrays.log2(arrays.maximum(x, 1.0))), 0.0, table.shape[-1] - 2.0)
    low = 2.0 ** (place / PER_OCTAVE)
    at = arrays.asarray(place, "int32")
    taken = arrays.namespace(table, x).take_along_axis
    first, second = taken(table, at, -1), taken(table, at + 1, -1)
    found = first + (second - first) * (x - low) / (low * (2.0 ** (1.0 / PER_OCTAVE) - 1.0))
    return found[..., 0] if scalar else found


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
        found = interpolated(self.prompts_s, new) + interpolated(self.prompts_pair_s, new) * (pairs - own * new) + host
        return arrays.maximum(found, 0.5 * interpolated(self.prompts_s, new))

    def alone(self, new, pairs):
        """A step of one prompt, which one group computes [s]."""
        own = _beside(self.pairs, new)
        host = _beside(self.prompt_s * self.groups, new) + _beside(self.read_s, new) * new
        found = interpolated(self.one_s, new) + interpolated(self.one_pair_s, new) * (pairs - own * new) + host
        return arrays.maximum(found, 0.5 * interpolated(self.one_s, new))

    def mixed(self, sequences, new, pairs):
        """A step in which sequences decode beside new tokens of prompts: one pass over the weights [s].

        products(B g + n) + (t_d(B) - products of decode) + (t_p(n, p) - products(n)), g tokens of a sequence.
        """
        shape = np.broadcast_shapes(*(x.shape for x in (sequences, new, pairs)))
        space = arrays.namespace(sequences, new, pairs, self.decode_s)
        b, n, p = (space.broadcast_to(x, shape) for x in (sequences, new, pairs))
        core = self.prompts(arrays.maximum(n, 1.0), p / n * arrays.maximum(n, 1.0))
        core = core - interpolated(self.products_s, arrays.maximum(n, 1.0))
        core = arrays.maximum(core, 0.0) * arrays.minimum(n, 1.0)
        tokens = b * _beside(self.decode_tokens, b) + n
        return interpolated(self.products_s, tokens) + interpolated(self.decode_core_s, b) + core
