"""Lengths of requests: their distribution over nodes, and the moments that a server needs (dsjax/MODEL.md, 11.2)."""

import math
from typing import NamedTuple

import numpy as np

from ... import arrays

EDGES = np.linspace(-3.6, 3.6, 21)  # of the bins of a standard normal score
NODES = 0.5 * (EDGES[1:] + EDGES[:-1])
LONGEST = 4.0  # means: longer requests are cut


def _below(scores):
    return np.array([0.5 * (1.0 + math.erf(x / math.sqrt(2.0))) for x in scores])


BELOW = _below(EDGES)
WEIGHTS = np.diff(np.concatenate([[0.0], BELOW[1:-1], [1.0]]))


class Load(NamedTuple):
    """Requests as they come."""

    isl: float  # mean tokens of a prompt
    osl: float  # mean tokens of an output
    isl_cv: float = 0.0  # standard deviation over mean of the prompts' lengths
    osl_cv: float = 0.0  # the same of the outputs'
    cached_fraction: float = 0.0  # share of a prompt that is found in the cache
    uniform: bool = False  # even between 80 and 100 % of the nominal lengths, in place of lognormal ones
    tokens_per_step: float = 1.0  # g: of a sequence in a step of decode; more than one where drafts are accepted


class Lengths(NamedTuple):
    """What a server needs of the lengths: nodes along the last axis, and moments."""

    new: np.ndarray  # tokens of a prompt that are computed, at the nodes
    pairs: np.ndarray  # positions that they attend to, summed over them, at the nodes
    new_edges: np.ndarray  # tokens that are computed, at the edges of the bins
    pair_edges: np.ndarray
    steps_each: np.ndarray  # steps of decode of a request, at the nodes: (O - 1) / g
    step_edges: np.ndarray
    prompt: np.ndarray  # E[L]
    mean_new: np.ndarray
    mean_pairs: np.ndarray
    mean_output: np.ndarray  # E[O]
    tokens_per_step: np.ndarray  # g
    per_step: np.ndarray  # E[g / (O - 1)]: of what a request waits for once, the part of a step
    reserved: np.ndarray  # positions of the cache that a sequence holds, seen while it decodes: E[L] + E[O^2] / E[O]
    context: np.ndarray  # S: mean context of a sequence that decodes
    spread: np.ndarray  # squared standard deviation over mean of the outputs
    shorter: np.ndarray  # chi: E[min(O1, O2)] / E[O]

    @property
    def steps(self):
        """q = (E[O] - 1) / g: steps of decode of a request, whose first token comes out of its prompt."""
        return arrays.maximum((self.mean_output - 1.0) / self.tokens_per_step, 1e-9)


def column(x):
    """A number of a point beside nodes: one axis more."""
    return arrays.asarray(x)[..., None]


def _at(nominal, variation, uniform, scores):
    """Lengths at standard normal scores: lognormal and cut, or uniform."""
    nominal, variation = column(nominal), column(variation)
    sigma = arrays.sqrt(arrays.log1p(variation * variation) + 1e-36)  # never 0: there it has no derivative
    drawn = nominal * arrays.minimum(arrays.exp(sigma * scores - 0.5 * sigma * sigma), LONGEST)
    return arrays.where(column(uniform), nominal * (0.8 + 0.2 * _below(scores)), drawn)


def mean(values):
    """E[.] of values at the nodes."""
    return (WEIGHTS * values).sum(-1)


def lengths(load):
    """`Lengths` of a load; numbers of it may be arrays of one shape."""
    prompt, at_edges = (_at(load.isl, load.isl_cv, load.uniform, scores) for scores in (NODES, EDGES))
    output, edges = (arrays.maximum(_at(load.osl, load.osl_cv, load.uniform, x), 1.0) for x in (NODES, EDGES))
    hit = column(load.cached_fraction)
    new, new_edges = (arrays.maximum((1.0 - hit) * x, 1.0) for x in (prompt, at_edges))
    pairs, pair_edges = (n * hit * x + 0.5 * n * n for n, x in ((new, prompt), (new_edges, at_edges)))
    first, second = mean(output), mean(output * output)
    steps = (output - 1.0) / column(load.tokens_per_step)
    spread = arrays.maximum(second / (first * first) - 1.0, 0.0)
    # Of two outputs of a lognormal distribution the shorter one.
    shorter = 1.0 + arrays.erf(-0.5 * arrays.sqrt(arrays.log1p(spread) + 1e-24))
    return Lengths(
        new=new,
        pairs=pairs,
        new_edges=new_edges,
        pair_edges=pair_edges,
        steps_each=steps,
        step_edges=(edges - 1.0) / column(load.tokens_per_step),
        prompt=mean(prompt),
        mean_new=mean(new),
        mean_pairs=mean(pairs),
        mean_output=first,
        tokens_per_step=load.tokens_per_step,
        per_step=mean(1.0 / arrays.maximum(steps, 1.0)),
        reserved=mean(prompt) + second / first,
        context=mean(prompt) + 0.5 * second / first,
        spread=spread,
        shorter=shorter,
    )


def context_cv(load):
    """Standard deviation over mean of the contexts that decode at a time: of L + u O', u even in (0, 1).

    O' is the output of a sequence that decodes, long ones more often: E[u O'] = E[O^2] / (2 E[O]), E[(u O')^2] =
    E[O^3] / (3 E[O]).
    """
    prompt = _at(load.isl, load.isl_cv, load.uniform, NODES)
    output = arrays.maximum(_at(load.osl, load.osl_cv, load.uniform, NODES), 1.0)
    first, passed = mean(output), mean(output * output) / (2.0 * mean(output))
    variance = mean(prompt * prompt) - mean(prompt) ** 2 + mean(output**3) / (3.0 * first) - passed * passed
    return arrays.sqrt(arrays.maximum(variance, 0.0)) / (mean(prompt) + passed)
