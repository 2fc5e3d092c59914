"""The fewest instances: of every layout that may be the cheapest of its group, by trying many numbers at once."""

import numpy as np

FAR = 2**40  # instances: one of so many is idle
TRIALS = 5  # numbers of a layout that are tried at once
GROWTH = 1.8  # from a number to the next one, where nothing is known above
EQUAL = 1e-9  # costs closer than this, of the larger one, are equal


def cheapest(low, cost, group, keeps, most, spare=0, points=2**10):
    """The fewest instances of the layouts that cost least of their group, all that are equal; 0 of all others.

    `low`: fewest that bounds allow, infinite where none do; `cost` of an instance; `group`: numbers 0, 1, ...;
    `most`: instances of a layout at most; `spare`: instances beside them, which cost too. `keeps(layouts, numbers)`:
    whether fleets keep all limits, which more instances never break; it is asked of about so many `points` at once. A
    layout is looked at as long as the next number that may keep them costs no more than the best that is known of its
    group.
    """
    most = np.minimum(most, FAR)
    fails = np.where(low <= most, np.maximum(low, 1.0) - 1.0, np.inf)  # the most that does not, the fewest that does
    passes = np.full(len(low), np.inf)
    groups = int(np.max(group, initial=-1)) + 1
    while True:
        best = np.full(groups, np.inf)
        np.minimum.at(best, group, (passes + spare) * cost)
        dearest = best[group] * (1.0 + EQUAL)
        worth = np.minimum(most, np.floor(dearest / cost) - spare)
        waits = np.flatnonzero((fails + 1.0 < passes) & (fails + 1.0 <= worth))
        if not len(waits):
            return np.where(np.isfinite(passes) & ((passes + spare) * cost <= dearest), passes, 0.0)
        each = max(1, points // (TRIALS * len(np.unique(group[waits]))))
        layouts = first(waits, group, (fails + 1.0 + spare) * cost, each)
        high = np.minimum(passes - 1.0, worth)[layouts]
        layouts, numbers = _trials(layouts, fails[layouts] + 1.0, high, most[layouts])
        kept = keeps(layouts, numbers)
        np.minimum.at(passes, layouts[kept], numbers[kept])
        below = ~kept & (numbers < passes[layouts])
        np.maximum.at(fails, layouts[below], numbers[below])


def first(waits, group, key, number):
    """Of the layouts `waits` so many of each group, those of the least `key`; of equals the earliest."""
    order = waits[np.lexsort((key[waits], group[waits]))]
    _, start, sizes = np.unique(group[order], return_index=True, return_counts=True)
    return order[np.arange(len(order)) - np.repeat(start, sizes) < number]


def _trials(layouts, low, high, most):
    """(layouts, numbers) from `low` to `high`: both, and some between; where `high` is far, the nearest, and `most`."""
    growth = np.minimum((high / low) ** (1.0 / (TRIALS - 1)), GROWTH)
    numbers = np.floor(low[:, None] * growth[:, None] ** np.arange(TRIALS))
    numbers = np.minimum(np.maximum(numbers, low[:, None] + np.arange(TRIALS)), high[:, None])
    numbers[:, -1] = np.where(high >= most, most, numbers[:, -1])
    found = np.unique(np.stack([np.repeat(layouts, TRIALS), numbers.ravel()]), axis=1)
    return found[0].astype(int), found[1]


def ties(group, *keys):
    """Places of the first of every group: the least by `keys`, one after the other, then the earliest."""
    order = np.lexsort((np.arange(len(group)), *(_coarse(key) for key in reversed(keys)), group))
    _, first = np.unique(group[order], return_index=True)
    return order[first]


def _coarse(values):
    """Values of which those that differ by rounding alone are equal."""
    return np.round(np.log(np.maximum(values, 1e-30)), 9)
