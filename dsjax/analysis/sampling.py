"""Statistics of samples: which input makes a variance, which candidate is the best."""

import numpy as np

STILL = 1e-6  # standard deviations: what moves by less does not move, a share of the variance of 1e-12


def linear(elasticity, sigma):
    """Share of every input of Var(ln y) ~ sum (e s)^2, s the standard deviation of ln x; zeros where y is constant."""
    parts = (elasticity * sigma) ** 2
    total = parts.sum()
    return parts / total if total > 0.0 else np.zeros_like(parts)


def sobol(value, normal, other, columns, likely):
    """(first-order, total) Sobol indices of y = value(draws) per column, and their standard errors: pick and freeze.

    A = `normal`, B = `other`: two independent tables of draws, A_B^i is A with column i of B.
    S_i = mean (y_B - m) (y_AB^i - y_A) / Var y, m the mean (Saltelli), T_i = mean (y_A - y_AB^i)^2 / (2 Var y)
    (Jansen): both exactly 0 for an input without effect. Standard errors are those of these means, Var y as known.
    Columns that are not `likely` (mask) to have an effect are taken from B together: where no sample of y moves by
    more than `STILL` standard deviations, none of them has an effect; else by halves.
    Source: Saltelli et al., Comput. Phys. Commun. 181 (2010) 259; Jansen, Comput. Phys. Commun. 117 (1999) 35.
    """
    first, second = value(normal), value(other)
    together = np.concatenate([first, second])
    mean, variance = together.mean(), together.var()
    terms, still = np.zeros((len(columns), 4)), STILL * np.sqrt(variance)
    if not variance > 1e-24 * mean**2:
        return tuple(terms.T)

    def fill(places):
        """Set the terms of the columns at `places` that have an effect."""
        mixed = normal.copy()
        taken = [columns[i] for i in places]
        mixed[:, taken] = other[:, taken]
        y = value(mixed)
        if (np.abs(y - first) <= still).all():
            return
        if len(places) > 1:
            for half in (places[: len(places) // 2], places[len(places) // 2 :]):
                fill(half)
            return
        parts = (second - mean) * (y - first) / variance, (first - y) ** 2 / (2.0 * variance)
        terms[places[0]] = [part.mean() for part in parts] + [part.std() / np.sqrt(len(part)) for part in parts]

    for i in np.flatnonzero(likely):
        fill([i])
    if not all(likely):
        fill(np.flatnonzero(~likely))
    return tuple(terms.T)


def chance_of_best(values, feasible, tolerance=1e-9):
    """Share of samples in which each candidate has the largest value of those that are feasible; equals share it.

    `values`, `feasible` over (candidate, sample). A sample in which none is feasible counts for nobody.
    """
    values = np.where(feasible & ~np.isnan(values), values, -np.inf)
    best = values.max(axis=0)
    some = np.isfinite(best)
    close = values >= best - tolerance * np.abs(np.where(some, best, 0.0))
    wins = np.where(some, close, False)
    return (wins / np.maximum(wins.sum(axis=0), 1)).mean(axis=1)
