"""Numbers of engines fitted to whole systems: few, counted, and judged by the studies that did not fit them.

First tokens, most of which is the host's work, are left to the host time of a request.

The time of a system is linear in them: fixed_s + software_factor scaled_s + step_s steps + draft_step_s drafts +
request_s requests. They are fitted by least squares of the logarithm of predicted over measured time; an absolute time
is not below 0. At most one number is fitted per `ROWS` rows, and none that acts on fewer rows than that.
"""

import itertools
from typing import NamedTuple

import numpy as np

ROWS = 5  # rows that every fitted number needs
NUMBERS = {  # name: (value without a fit, what it multiplies in a `Prediction`, meaning)
    "software_factor": (1.0, "scaled_s", "factor on the time of kernels and networks"),
    "step_s": (0.0, "steps", "host time of a step"),
    "draft_step_s": (0.0, "drafts", "host time of a draft token"),
    "request_s": (0.0, "requests", "host time of a request before its first token"),
}
ALL = "generic"  # what all engines together give: the numbers of those with too few rows


class Engine(NamedTuple):
    """What was fitted to the rows of one engine, or of all together."""

    numbers: dict  # {name of `NUMBERS`: value}, also those that were not fitted
    fitted: tuple  # names
    rows: int


class Fit(NamedTuple):
    """Numbers by engine, and the time of every system with them."""

    engines: dict  # {engine, or `ALL`: `Engine`}
    of: tuple  # of each row, the key of `engines`
    predicted_s: np.ndarray
    left_out_s: np.ndarray  # with the numbers that the other studies give


def fit(rows, found, names=("software_factor",), together=False):
    """`Fit` of systems' `Prediction`s: `names` in the order in which they are fitted, as far as the rows reach.

    `together`: one set of numbers for all engines.
    """
    table = Table(rows, found, together)
    which, studies = fitted_to(rows, names), np.array([row.used["study"] for row in rows])
    engines, of = _fitted(table, which, names)
    left_out = np.zeros(len(rows))
    for study in dict.fromkeys(studies.tolist()):
        out = studies == study
        without, keys = _fitted(table, which & ~out, names)
        left_out[out] = [table.seconds(without[keys[i]].numbers)[i] for i in np.flatnonzero(out)]
    predicted = np.array([table.seconds(engines[key].numbers)[i] for i, key in enumerate(of)])
    return Fit(engines, of, predicted, left_out)


def fitted_to(rows, names):
    """Whether `names` are fitted to each system: the complete ones, first tokens only with a host time of a request."""
    return np.array([row.complete if "request_s" in names else row.fits for row in rows], bool)


class Table:
    """Predictions as columns: what each number multiplies, and what was measured."""

    def __init__(self, rows, found, together=False):
        self.engine = [ALL if together else row.used["engine"] for row in rows]
        value, rate = (np.array(x) for x in zip(*[(row.used["value"], row.metric.rate) for row in rows], strict=True))
        self.measured_s = np.where(rate, 1.0 / value, value)
        self.fixed_s = np.array([x.fixed_s for x in found])
        self.columns = {name: np.array([getattr(x, of) for x in found]) for name, (_, of, _) in NUMBERS.items()}

    def seconds(self, numbers):
        """Time of every row [s]."""
        return self.fixed_s + sum(numbers[name] * column for name, column in self.columns.items())


def _fitted(table, which, names):
    """({engine: `Engine`}, engine of every row): of its own where it has rows enough, else of all engines."""
    groups = {name: which & (np.array(table.engine) == name) for name in dict.fromkeys(table.engine) if name != ALL}
    groups = {ALL: which} | {name: rows for name, rows in groups.items() if rows.sum() >= ROWS}
    of = tuple(name if name in groups else ALL for name in table.engine)
    return {name: _engine(table, rows, names) for name, rows in groups.items()}, of


def _engine(table, which, names):
    n = int(which.sum())
    known = [name for name in names if (table.columns[name][which] > 0.0).sum() >= ROWS][: n // ROWS]
    neutral = {name: value for name, (value, *_) in NUMBERS.items()}
    if not known:
        return Engine(neutral, (), n)
    base = table.fixed_s + sum(neutral[x] * column for x, column in table.columns.items() if x not in known)
    columns = np.array([table.columns[x][which] for x in known]).T
    found = least_squares(base[which], columns, table.measured_s[which], [neutral[x] for x in known])
    return Engine(neutral | dict(zip(known, found.tolist(), strict=True)), tuple(known), n)


def least_squares(base, columns, measured, bound):
    """Coefficients x >= 0 with the least sum of ln^2((base + columns x) / measured).

    `columns` (rows, n); `bound` the answer where none would be above 0. Coefficients that would be negative are 0:
    every choice of them is tried, each by Gauss-Newton steps that are halved until the sum falls.
    """
    n, best, least = columns.shape[1], np.asarray(bound, float), np.inf
    for size in range(n, 0, -1):
        for free in map(list, itertools.combinations(range(n), size)):
            start = measured.mean() / (size * columns[:, free].mean(axis=0))
            x = _gauss_newton(base, columns[:, free], measured, start)
            cost = _cost(base, columns[:, free], measured, x)
            if (x >= 0.0).all() and cost < least:
                best, least = np.zeros(n), cost
                best[free] = x
    return best


def _gauss_newton(base, columns, measured, x, steps=60):
    cost = _cost(base, columns, measured, x)
    for _ in range(steps if np.isfinite(cost) else 0):
        total = base + columns @ x
        move = np.linalg.lstsq(columns / total[:, None], -np.log(total / measured), rcond=None)[0]
        share = 1.0
        while share > 1e-9 and not _cost(base, columns, measured, x + share * move) < cost:
            share *= 0.5
        if share <= 1e-9:
            break
        x = x + share * move
        cost = _cost(base, columns, measured, x)
    return x


def _cost(base, columns, measured, x):
    """Sum of squares; infinite where a time is not positive."""
    total = base + columns @ x
    return np.sum(np.log(total / measured) ** 2) if (total > 0.0).all() else np.inf
