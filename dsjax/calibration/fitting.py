"""Least squares on log time: parameters of a form from measured times, and how well it predicts shapes left out.

Parameters are positive: the optimiser works on their logarithms, between their bounds. Residuals are ln(t_form /
t_measured), so a point that takes ten seconds weighs as much as one that takes ten microseconds; a smooth loss that
grows linearly beyond `SCALE` (soft L1) keeps a few strange points from bending the rest. `scipy.optimize.least_squares`
with Jacobians from numbers that carry derivatives.
"""

from typing import NamedTuple

import numpy as np

from .. import arrays, evaluation
from ..errors import InputError

SCALE = 0.1  # residual from which a point counts less than by its square
FOLDS = 10  # cross-validation: at most so many fits
STRANGE = 0.5  # |relative error| of a point that the form does not explain
_STARTS = (1.0, 0.3, 3.0)  # factors on the first guess of what is no share


class Fit(NamedTuple):
    """Parameters, standard errors of their logarithms (NaN: at a bound; inf: not determined), predicted times [s]."""

    parameters: dict
    errors: dict
    predicted: np.ndarray


def fit(kind, shapes, seconds, peaks, robust=True):
    """`Fit` of a kind's form to times `seconds` [point] of `shapes` {column: [point]} on a chip with `peaks`.

    Peaks are numbers, or one of every point: then the chips of a family are fitted together.
    """
    optimiser = _optimiser()
    names = list(kind.parameters)
    low, high = (np.log([getattr(p, end) for p in kind.parameters.values()]) for end in ("low", "high"))
    guess = np.log([p.guess for p in kind.parameters.values()])
    is_share = np.array([p.high <= 1.0 for p in kind.parameters.values()])
    loss = {"loss": "soft_l1", "f_scale": SCALE} if robust else {}
    log_seconds, found = np.log(seconds), []
    for factor in _STARTS:
        start = np.clip(guess + np.where(is_share, 0.0, np.log(factor)), low + 1e-6, high - 1e-6)
        found.append(
            optimiser(
                lambda x: log_times(kind.form, names, x, shapes, peaks) - log_seconds,
                start,
                jac=lambda x: jacobian(kind.form, names, x, shapes, peaks),
                bounds=(low, high),
                xtol=1e-9,
                **loss,
            )
        )
    best = min(found, key=lambda result: result.cost)
    predicted = np.exp(log_times(kind.form, names, best.x, shapes, peaks))
    errors = _errors(best, np.minimum(best.x - low, high - best.x) < 1e-3, len(seconds))
    return Fit(dict(zip(names, np.exp(best.x), strict=True)), dict(zip(names, errors, strict=True)), predicted)


def predict(kind, parameters, shapes, peaks):
    """Times [s] of a kind's form at `shapes` {column: [point]}."""
    log_parameters = np.log([parameters[name] for name in kind.parameters])
    return np.exp(log_times(kind.form, kind.parameters, log_parameters, shapes, peaks))


def cross_validate(kind, shapes, seconds, peaks, robust=True):
    """Times [s] that fits without the point's own shape (the columns `kind.group`) predict; and the number of fits."""
    groups, index = np.unique(np.stack([shapes[name] for name in kind.group]), axis=1, return_inverse=True)
    count = groups.shape[1]
    if count < 2:
        raise InputError(f"one shape only ({', '.join(kind.group)} are the same in every row); expected two or more")
    # A fixed shuffle: neighbours in size are spread over the folds.
    fold = np.random.default_rng(0).permutation(count)[index.ravel()] % FOLDS
    predicted = np.empty(len(seconds))
    for left_out in np.unique(fold):
        out = fold == left_out
        rest = fit(kind, _at(shapes, ~out), seconds[~out], _at(peaks, ~out), robust)
        predicted[out] = predict(kind, rest.parameters, _at(shapes, out), _at(peaks, out))
    return predicted, len(np.unique(fold))


def _at(numbers, points):
    return {name: x[points] if np.ndim(x) else x for name, x in numbers.items()}


def summary(predicted, seconds):
    """Median and 90th percentile of |t_form / t_measured - 1|."""
    error = np.abs(np.asarray(predicted) / np.asarray(seconds) - 1.0)
    return float(np.median(error)), float(np.quantile(error, 0.9))


def log_times(form, names, log_parameters, shapes, peaks):
    """ln t_form [point] of ln parameters, which may carry derivatives."""
    parameters = {name: arrays.exp(x) for name, x in zip(names, log_parameters, strict=True)}
    return arrays.log(form(parameters, shapes, peaks))


def jacobian(form, names, log_parameters, shapes, peaks):
    """d `log_times` / d ln parameters (point, parameter)."""
    found = log_times(form, names, [evaluation.along(x, i) for i, x in enumerate(log_parameters)], shapes, peaks)
    points = np.shape(evaluation.value(found))
    return np.stack([np.broadcast_to(evaluation.tangent(found, i), points) for i in range(len(names))], axis=-1)


def _errors(result, at_bound, points):
    """Standard errors of the logarithms from the Jacobian: NaN at a bound, infinite where no point depends on it."""
    determined = np.linalg.norm(result.jac, axis=0) > 1e-9
    free = determined & ~at_bound
    errors = np.where(determined, np.nan, np.inf)
    if free.any() and points > free.sum():
        jacobian = result.jac[:, free]
        variance = 2.0 * result.cost / (points - free.sum())
        errors[free] = np.sqrt(np.diag(np.linalg.pinv(jacobian.T @ jacobian)) * variance)
    return errors


def _optimiser():
    try:
        from scipy.optimize import least_squares
    except ImportError:
        raise InputError("calibrate: SciPy is not installed; expected `pip install dsjax[calibrate]`") from None
    return least_squares
