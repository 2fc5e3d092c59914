"""The most users of every layout that keep the limits, looked for only where the layout may still be the best."""

import numpy as np

from ...specs.variables import PERCENTILES
from ..fleet.fewest import first

TRIALS = 6  # numbers of users of a layout that are tried at once, as long as nothing is known of its group
MANY, FEW = 12, 4  # layouts of a group of which many numbers are tried, at most, and where there are many groups
POINTS = 2**11  # tried at once
MOST_TRIALS = 16  # of one layout
EQUAL = 0.002  # values closer than this, of the larger one, are as good


class _Known:
    """What is known of every layout: the most users that hold, the fewest that fail, worth and strain at both."""

    def __init__(self, bound, most):
        n = len(bound)
        self.upper, self.worth = np.asarray(bound, float).copy(), np.full(n, -np.inf)
        self.holds, self.fails, self.at_fails = np.zeros(n), np.floor(most) + 1.0, np.full(n, np.inf)
        self.slack, self.strain = np.ones(n), np.full(n, np.inf)  # strain at those that hold, and that fail
        self.most = self.fails - 1.0

    def learn(self, layouts, users, values, kept, strain):
        order = np.lexsort((users, layouts))
        columns = (np.asarray(x)[order].tolist() for x in (layouts, users, values, kept, strain))
        for layout, n, value, ok, strained in zip(*columns, strict=True):
            if n >= self.fails[layout]:
                continue  # more than the fewest that fail
            if ok:
                self.holds[layout], self.worth[layout], self.slack[layout] = n, value, strained
            else:
                self.fails[layout], self.at_fails[layout], self.strain[layout] = n, value, strained
                self.upper[layout] = min(self.upper[layout], value)
        done = self.fails - self.holds <= 1.0
        self.upper = np.where(done, self.worth, self.upper)

    def open(self, least):
        """Whether layouts may be worth more than `least`, and how much is not yet known."""
        return (self.fails - self.holds > 1.0) & (self.upper > least * (1.0 + EQUAL)) & np.isfinite(self.upper)

    def edge(self, layouts):
        """(users at which the strain seems to be 1, what that seems to be worth) of layouts that hold some users.

        Straight in the logarithms; where no number fails yet, the strain seems to rise like the root of the users.
        """
        low, high, under, over = (x[layouts] for x in (self.holds, self.fails, self.slack, self.strain))
        worth, at_fails = self.worth[layouts], self.at_fails[layouts]
        known = np.isfinite(at_fails)
        with np.errstate(divide="ignore", invalid="ignore"):
            share = -np.log(under) / np.where(known, np.log(over / under), 0.5 * np.log(high / low))
        share = np.where(np.isfinite(share), np.clip(share, 0.0, 1.0), 0.5)
        users = low * (high / low) ** share
        return users, np.where(known, worth + share * (at_fails - worth), worth * np.sqrt(users / low))


def best(bound, most, group, tried, size=None, keep=1):
    """(`ranked` layouts of every group, each with the most users, what is known of all).

    `bound`: what a layout is worth at most, -inf of those that are out; `most` users that may be in it; `size`: in
    proportion to which users are. `tried(layouts, users)`: (value, whether the limits are kept, the largest share of a
    limit): the value never falls with users, and limits once broken stay so. A layout is tried as long as what it may
    be worth, by its bound or by a number of users at which it keeps no limits, is more than the `keep`-th best of its
    group: at the number at which it seems to be worth just that. The most users of those that seem best are looked for
    first, so that what the others have to beat is known.
    """
    known, groups = _Known(bound, most), int(np.max(group, initial=-1)) + 1
    size = np.ones(len(group)) if size is None else size
    while True:
        least = _least(known.worth, group, groups, keep)
        waits = np.flatnonzero(known.open(least[group]))
        if not len(waits):
            break
        fresh = ~np.isfinite(least[group[waits]])
        some = int(np.clip(POINTS // (2 * TRIALS * len(np.unique(group[waits]))), FEW, MANY))
        parts = [_spread(known, first(waits[fresh], group, -known.upper, some))]
        seen = waits[~fresh]
        both = seen[known.holds[seen] > 0.0]
        narrowed, late = both, np.zeros(groups, bool)
        if len(both):
            worth = np.full(len(group), -np.inf)
            worth[both] = known.edge(both)[1]
            narrowed = first(both[worth[both] > least[group[both]]], group, -worth, some)
            parts.append(_narrowed(known, narrowed))
            late[group[narrowed]] = True
        others = np.setdiff1d(seen[~late[group[seen]]], narrowed)
        per = max(POINTS // (2 * max(len(np.unique(group[others])), 1)), MANY)
        others = first(others, group, -known.upper, per)
        parts.append(_aimed(known, others, least[group], _users(known, group, groups, size)[group] * size))
        layouts, users = np.unique(np.concatenate(parts, axis=1), axis=1)
        layouts = layouts.astype(int)
        known.learn(layouts, users, *tried(layouts, users))
    return ranked(known, group, keep), known


def ranked(known, group, keep):
    """{group: [(layout, users, value), ...]} of the `keep` best layouts of every group."""
    order = np.lexsort((np.arange(len(group)), -known.worth, group))
    found: dict = {}
    for i in order[np.isfinite(known.worth[order])].tolist():
        rows = found.setdefault(int(group[i]), [])
        if len(rows) < keep:
            rows.append((i, int(known.holds[i]), float(known.worth[i])))
    return found


def _least(worth, group, groups, keep):
    """The `keep`-th best value of every group so far."""
    least, order = np.full(groups, -np.inf), np.lexsort((-worth, group))
    _, start, number = np.unique(group[order], return_index=True, return_counts=True)
    full = number >= keep
    least[group[order[start[full]]]] = worth[order[start[full] + keep - 1]]
    return least


def _spread(known, layouts):
    """[layouts, users] between the most that hold and the fewest that fail, evenly in the logarithm."""
    low, high = known.holds[layouts] + 1.0, known.fails[layouts] - 1.0
    share = np.arange(1, TRIALS + 1) / TRIALS
    share = np.where((high == known.most[layouts])[:, None], share, (share - 0.5 / TRIALS))
    users = np.floor(low[:, None] * (high / low)[:, None] ** share)
    return np.stack([np.repeat(layouts, TRIALS), users.ravel()])


def _narrowed(known, layouts):
    """[layouts, users] on both sides of where a limit seems to be met, and evenly between what holds and fails."""
    low, high = known.holds[layouts], known.fails[layouts]
    at = np.floor(known.edge(layouts)[0])
    share = np.arange(1, TRIALS + 1) / (TRIALS + 1)
    between = np.round(low * (high / low) ** share[:, None])
    users = np.clip(np.concatenate([[at, at + 1.0], between]), low + 1.0, high - 1.0)
    return np.stack([np.tile(layouts, len(users)), users.ravel()])


def _users(known, group, groups, size):
    """Users for what the best of every group is worth, over its size."""
    each = np.zeros(groups)
    order = np.lexsort((-known.worth, group))
    of, first = np.unique(group[order], return_index=True)
    at = order[first]
    found = np.isfinite(known.worth[at]) & (known.worth[at] > 0.0)
    each[of[found]] = (known.holds[at] / (np.where(found, known.worth[at], 1.0) * size[at]))[found]
    return each


def _aimed(known, layouts, least, users):
    """[layouts, users] at which each seems to be worth just a little more than `least`.

    Nothing is known of a layout: as many `users` for what it is worth as of the best. Else by what it is worth where it
    holds or fails: that rises less and less with users, by about their root at least.
    """
    low, high, wanted = known.holds[layouts], known.fails[layouts], least[layouts] * (1.0 + 0.5 * EQUAL)
    at_low, at_high = known.worth[layouts], known.at_fails[layouts]
    held, failed = np.isfinite(at_low), np.isfinite(at_high)
    fresh = users[layouts] * wanted
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(failed, wanted / np.where(failed, at_high, 1.0), 1.0)
        straight = low + np.clip((wanted - at_low) / (at_high - at_low), 0.0, 1.0) * (high - low)
        up = low * (wanted / at_low) ** 2
    first = np.where(held, np.where(failed, straight, low * wanted / at_low), np.where(failed, high * ratio, fresh))
    second = np.where(held, up, np.where(failed, high * ratio * ratio, fresh))
    n = int(np.clip(0.2 * POINTS // max(len(layouts), 1), 0, MOST_TRIALS))
    between = [low + (high - low) * (i + 1.0) / (n + 1.0) for i in range(n if n > 1 else 0)]
    users = np.stack([np.floor(first), np.floor(second), *map(np.round, between)])
    users = np.clip(users, low + 1.0, high - 1.0)
    return np.stack([np.tile(layouts, len(users)), users.ravel()])


def limited(limits):
    """Names of the quantiles that limits are on; False: none."""
    return tuple(name for key in limits if (name := key.split("_", 1)[1]).rpartition("_")[2] in PERCENTILES) or False


def strain(values, limits):
    """The largest share of a limit, above 1 where one is broken; not above 1e3."""
    found = np.zeros(len(values["tpot_mean"]))
    for key, limit in limits.items():
        side, name = key.split("_", 1)
        if name in values:
            with np.errstate(divide="ignore", invalid="ignore"):
                share = values[name] / limit if side == "max" else limit / values[name]
            found = np.maximum(found, np.where(np.isnan(share), 1e3, np.minimum(share, 1e3)))
    return found
