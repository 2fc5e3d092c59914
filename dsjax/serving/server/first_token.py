"""The distribution of the time to the first token: own prompt and wait (dsjax/MODEL.md, 11.7)."""

import numpy as np

from ... import arrays
from .lengths import WEIGHTS, column, mean
from .mixtures import LEAST, Mixture, uniform_share

THIN = 1e-3  # of the mean: least width of a part, so that a distribution has no steps


def waiting(wait, chance, residual, variation):
    """Parts (weight, constant, width, mean of the exponential) of a wait: a residual U(0, residual), or more by chance.

    The second part has what is left of the mean, and a squared standard deviation over mean of `variation`: a uniform
    and an exponential one below 1 (a constant too below 1/4), two exponential ones above.
    """
    chance = arrays.clip(chance, 1e-9, 1.0)
    least = 1e-9 + 1e-3 * arrays.maximum(wait, 0.0)  # steps of a table may make a wait that is none a bit less
    given = arrays.maximum(wait - 0.5 * (1.0 - chance) * residual, least) / chance
    variation = arrays.clip(variation, 1e-6, 6.0)
    changing = given * arrays.sqrt(arrays.minimum(4.0 * variation, 1.0))
    constant = given - changing
    variation = arrays.maximum(variation, LEAST)
    width = uniform_share(changing, variation)
    rest = changing - 0.5 * width
    lean = arrays.sqrt(
        arrays.maximum(variation - 1.0, 1e-24) / (variation + 1.0)
    )  # never 0: there it has no derivative
    return [
        (1.0 - chance, 0.0 * rest, residual, 1e-9 + 0.0 * rest),
        (0.5 * chance * (1.0 + lean), constant, width, rest / (1.0 + lean)),
        (0.5 * chance * (1.0 - lean), constant, width, rest / (1.0 - lean)),
    ]


def variation_of_waits(own, share):
    """Squared standard deviation over mean of a wait that is not none, of one server of service times `own`."""
    first, second, third = (mean(own**n) for n in (1, 2, 3))
    rate, left = share / first, 1.0 - share
    w1 = rate * second / (2.0 * left)
    w2 = 2.0 * w1 * w1 + rate * third / (3.0 * left)
    return w2 * share / (w1 * w1) - 1.0


def distribution(own, edges, parts, average):
    """`Mixture` of own prompt (at the nodes, and at the edges of their bins) plus one of the `parts` of a wait."""
    spread = edges[..., 1:] - edges[..., :-1]
    weights, shifts, widths, means = [], [], [], []
    for weight, constant, width, exponential in parts:
        both = arrays.sqrt(spread**2 + column(width) ** 2 + column(THIN * average) ** 2)
        weights.append(WEIGHTS * column(weight))
        shifts.append(arrays.maximum(own + column(constant) + 0.5 * column(width) - 0.5 * both, 0.0))
        widths.append(both)
        means.append(column(exponential) + 0.0 * own)
    return Mixture(*(joined(x) for x in (weights, shifts, widths, means)))


def joined(several):
    """Arrays one after the other along the last axis."""
    shape = np.broadcast_shapes(*map(np.shape, several))
    own = arrays.namespace(*several)
    return own.concatenate([own.broadcast_to(x, shape) for x in several], axis=-1)
