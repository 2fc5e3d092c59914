"""Distributions as mixtures of a shift, a uniform and an exponential part, and their quantiles (11.7)."""

import statistics
from typing import NamedTuple

import numpy as np

from ... import arrays
from .roots import quantile

MOST_EXPONENT = 700.0
FARTHEST = 40.0  # means of an exponential part: beyond them there is nothing
LEAST = 0.2501  # variation of a uniform part and an exponential one, at least
SHARE = 0.95  # of a standard deviation, the exponential part at most


class Mixture(NamedTuple):
    """Components along the last axis: weight, shift + U(0, width) + Exp(mean) each; all in seconds."""

    weight: np.ndarray
    shift: np.ndarray
    width: np.ndarray
    mean: np.ndarray

    def at(self):
        """Function of x: (F(x), its derivative).

        Of a component (H(y) - H(y - width)) / width, H(y) = y+ - mean (1 - e^(-y+ / mean)), y = x - shift; the
        derivative of H is 1 - e^(-y+ / mean).
        """
        weight, rate = self.weight / self.width, 1.0 / self.mean
        over_width = arrays.exp(-arrays.minimum(self.width * rate, MOST_EXPONENT))

        def at(x):
            y = x[..., None] - self.shift
            later = y > self.width
            y = arrays.maximum(y, 0.0)
            left = arrays.exp(-arrays.minimum(arrays.where(later, y - self.width, y) * rate, MOST_EXPONENT))
            density = arrays.where(later, left - left * over_width, 1.0 - left)
            share = arrays.minimum(y, self.width) - self.mean * density
            return (weight * share).sum(-1), (weight * density).sum(-1)

        return at

    def each(self):
        """(Mean, variance, third central moment) of every component."""
        variance = self.width * self.width / 12.0 + self.mean * self.mean
        return self.shift + 0.5 * self.width + self.mean, variance, 2.0 * self.mean**3

    def moments(self):
        """The same of the whole."""
        means, variances, thirds = self.each()
        mean = (self.weight * means).sum(-1)
        off = means - mean[..., None]
        variance = (self.weight * (variances + off * off)).sum(-1)
        return mean, variance, (self.weight * (thirds + 3.0 * off * variances + off**3)).sum(-1)

    def quantile(self, p):
        """x with F(x) = p."""
        low = 0.5 * arrays.maximum(self.shift.min(-1), 0.0) + 1e-12
        high = (self.shift + self.width + FARTHEST * self.mean).max(-1) + 1e-9
        mean, variance, _ = self.moments()
        return quantile(self.at(), p, low, high, mean + normal_score(p) * arrays.sqrt(arrays.maximum(variance, 1e-30)))


def of_moments(variance, third):
    """(width, mean) of the uniform and of the exponential part of a time of a variance and a third moment."""
    deviation = arrays.sqrt(variance)
    third = arrays.maximum(0.5 * third, 0.0) + (1e-3 * deviation) ** 3  # never 0: there the root has no derivative
    exponential = arrays.minimum(third ** (1.0 / 3.0), SHARE * deviation)
    return arrays.sqrt(12.0 * (variance - exponential * exponential)), exponential


def uniform_share(mean, variation):
    """Width of U(0, width), which with an exponential part has a mean, and where it can a squared deviation over it.

    `variation`: at least a quarter (`LEAST`); above 1 there is no uniform part left.
    """
    return 1.5 * mean * (1.0 - arrays.sqrt(1.0 - 4.0 / 3.0 * arrays.maximum(1.0 - variation, 0.0)))


def normal_score(p):
    """Where a standard normal number is below with a chance p."""
    return statistics.NormalDist().inv_cdf(p)


def normal_at(x, mean, deviation):
    """(Chance that a normal number of a mean and a standard deviation is below x, its derivative)."""
    z = (x - mean) / deviation
    below = 0.5 * (1.0 + arrays.erf(z / np.sqrt(2.0)))
    return below, arrays.exp(-0.5 * z * z) / (deviation * np.sqrt(2.0 * np.pi))
