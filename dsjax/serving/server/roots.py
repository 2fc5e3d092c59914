"""Roots of increasing functions, array by array, with the gradient of the implicit function."""

import numpy as np

from ... import arrays

CLOSE = 1e-10  # width of a bracket, relative, in which a root is no longer looked for
CLOSE_BY_NEWTON = 1e-7  # length of a step, relative, after which the next one would be shorter than `CLOSE`
MOST = 60  # evaluations
LEAST_LEFT = 0.02  # of what a quantile leaves: below, Newton's method is for F itself


def root(function, low, high):
    """x in (low, high), both positive, where an increasing `function` of arrays changes its sign; else the nearer end.

    By Chandrupatla's method in ln x: inverse quadratic interpolation where it is safe, else bisection. Of JAX arrays
    the derivative by what the function depends on is that of the implicit function; at an end, of the end.
    Source: T. R. Chandrupatla, Advances in Engineering Software 28 (1997).
    """
    at_high = function(high)
    own = arrays.namespace(at_high)
    low, high = (own.broadcast_to(own.asarray(x, at_high.dtype), np.shape(at_high)) for x in (low, high))
    at_low = function(low)

    def search(function, _):
        ends = arrays.log(low), at_low, arrays.log(high), at_high
        return arrays.exp(_searched(function, ends))

    x = search(function, None) if own is np else implicit(function, search, high)
    return arrays.where(at_high < 0.0, high, arrays.where(at_low > 0.0, low, x))


def implicit(function, search, guess):
    """What `search` finds, with the derivative of the implicit function: -(df / dp) / (df / dx)."""
    import jax
    import jax.numpy as jnp

    def of_tangent(linear, y):
        slope = linear(jnp.ones_like(y))
        steep = slope > 0.0
        return jnp.where(steep, y / jnp.where(steep, slope, 1.0), 0.0)  # flat: no derivative

    return jax.lax.custom_root(function, guess, search, of_tangent)


def _searched(function, ends):
    """ln x in a bracket (ln low, f(low), ln high, f(high)).

    A round takes what was found at x, and only then looks at the next x: compilers compute a value again in each of the
    places that use it, and here there is only one.
    """
    low, at_low, high, at_high = ends

    def narrowed(state):
        x1, f1, x2, f2, x3, f3, x, f, found = state
        same = (f > 0.0) == (f1 > 0.0)
        others = [arrays.where(same, a, b) for a, b in ((x1, x2), (f1, f2), (x2, x1), (f2, f1))]
        points = [
            arrays.where(found, old, new) for old, new in zip((x3, f3, x2, f2, x1, f1), (*others, x, f), strict=True)
        ]
        x3, f3, x2, f2, x1, f1 = points
        found = found | (arrays.absolute(x2 - x1) < CLOSE) | (f1 == 0.0)
        x = x1 + _next(x1, f1, x2, f2, x3, f3) * (x2 - x1)
        return x1, f1, x2, f2, x3, f3, x, function(arrays.exp(x)), found

    middle, found = 0.5 * (low + high), (at_low >= 0.0) | (at_high <= 0.0)
    state = (high, at_high, low, at_low, high, at_high, middle, function(arrays.exp(middle)), found)
    x1, f1, x2, f2, *_ = repeated(narrowed, state, MOST)
    return arrays.where(arrays.absolute(f1) < arrays.absolute(f2), x1, x2)


def _next(x1, f1, x2, f2, x3, f3):
    """Share of the way from x1 to x2 where to look next."""
    width = arrays.maximum(arrays.absolute(x2 - x1), 1e-300)
    d32, d12, d31 = (_not_none(x) for x in (f3 - f2, f1 - f2, f3 - f1))
    xi, phi = (x1 - x2) / _not_none(x3 - x2), arrays.clip(d12 / d32, -2.0, 2.0)
    safe = (phi * phi < xi) & ((1.0 - phi) * (1.0 - phi) < 1.0 - xi)
    between = f1 / d12 * f3 / d32 + (x3 - x1) / _not_none(x2 - x1) * f1 / d31 * f2 / d32
    least = arrays.minimum(0.5 * CLOSE / width, 0.5)
    return arrays.clip(arrays.where(safe, between, 0.5), least, 1.0 - least)


def _not_none(x):
    return arrays.where(arrays.absolute(x) < 1e-150, 1e-150, x)


def repeated(function, state, most):
    """`function` applied to a state until its last part is true everywhere, `most` times at most."""
    if arrays.namespace(*state) is np:
        for _ in range(most):
            if np.all(state[-1]):
                break
            state = function(state)
        return state
    import jax
    import jax.numpy as jnp

    def going(counted):
        return (counted[0] < most) & ~jnp.all(counted[1][-1])

    return jax.lax.while_loop(going, lambda counted: (counted[0] + 1, function(counted[1])), (0, tuple(state)))[1]


def quantile(distribution, p, low, high, start):
    """x in (low, high) below which a share p lies; `distribution` of x gives (that share, its derivative).

    Newton's method on ln(1 - F), which is straight where a tail is exponential; a bisection of ln x where a step leaves
    the bounds or is not half as long as the last one. The derivative is that of the implicit function, as in `root`.
    """

    def nearer(state):
        x, share, density, low, high, last, found = state
        left = arrays.maximum((1.0 - share) / (1.0 - p), LEAST_LEFT)
        low, high = arrays.where(share < p, x, low), arrays.where(share < p, high, x)
        lacking = arrays.where(left > LEAST_LEFT, arrays.log(left) * left * (1.0 - p), p - share)
        step = lacking / arrays.maximum(density, 1e-300)
        good = (x + step >= low) & (x + step <= high) & (arrays.absolute(step) <= 0.5 * last)
        following = arrays.where(good, x + step, arrays.sqrt(low * high))
        length = arrays.absolute(following - x)
        enough = arrays.where(good, CLOSE_BY_NEWTON, CLOSE)
        following = arrays.where(found, x, following)
        return following, *distribution(following), low, high, length, found | (length < enough * x)

    def search(_, x):
        return repeated(nearer, (x, *distribution(x), low, high, high - low, low >= high), MOST)[0]

    start = arrays.clip(start, low, high)
    if arrays.namespace(start) is np:
        return search(None, start)
    return implicit(lambda x: distribution(x)[0] - p, search, start)
