"""The most users of every layout that keep the limits, looked for only where the layout may still be the best."""

import numpy as np

TRIALS = 6  # numbers of users of a layout that are tried at once, as long as nothing is known of its group
FIRST, TRIED = 12, 384  # layouts of a group that are tried at once: then, and later
POINTS, MOST_TRIALS = 384, 16  # tried at once of few layouts, and of one of them
EQUAL = 0.002  # values closer than this, of the larger one, are as good


class _Known:
    """What is known of every layout: the most users that hold, the fewest that fail, what it is worth at both."""

    def __init__(self, bound, most):
        n = len(bound)
        self.upper, self.worth = np.asarray(bound, float).copy(), np.full(n, -np.inf)
        self.holds, self.fails, self.at_fails = np.zeros(n), np.floor(most) + 1.0, np.full(n, np.inf)
        self.most = self.fails - 1.0

    def learn(self, layouts, users, values, kept):
        for layout, n, value, ok in sorted(
            zip(layouts.tolist(), users.tolist(), values.tolist(), kept.tolist(), strict=True)
        ):
            if n >= self.fails[layout]:
                continue  # more than the fewest that fail
            if ok:
                self.holds[layout], self.worth[layout] = n, value
            else:
                self.fails[layout], self.at_fails[layout] = n, value
                self.upper[layout] = min(self.upper[layout], value)
        done = self.fails - self.holds <= 1.0
        self.upper = np.where(done, self.worth, self.upper)

    def open(self, least):
        """Whether layouts may be worth more than `least`, and how much is not yet known."""
        return (self.fails - self.holds > 1.0) & (self.upper > least * (1.0 + EQUAL)) & np.isfinite(self.upper)


def best(bound, most, group, tried, keep=1):
    """(`ranked` layouts of every group, each with the most users, what is known of all).

    `bound`: what a layout is worth at most, -inf of those that are out; `most` users that may be in it. `tried(layouts,
    users)`: (value, whether the limits are kept): the value never falls with users, and limits once broken stay so. A
    layout is tried as long as what it may be worth, by its bound or by a number of users at which it keeps no limits,
    is more than the `keep`-th best of its group: at the number at which it seems to be worth just that.
    """
    known, groups = _Known(bound, most), int(np.max(group, initial=-1)) + 1
    while True:
        least = _least(known.worth, group, groups, keep)
        waits = np.flatnonzero(known.open(least[group]))
        if not len(waits):
            break
        fresh = ~np.isfinite(least[group[waits]])
        parts = [_spread(known, _first(waits[fresh], group, known.upper, FIRST))]
        parts.append(_aimed(known, _first(waits[~fresh], group, known.upper, TRIED), least[group]))
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


def _first(waits, group, upper, number):
    """The layouts of each group that are tried next, those that may be worth most."""
    order = waits[np.lexsort((-upper[waits], group[waits]))]
    _, start, sizes = np.unique(group[order], return_index=True, return_counts=True)
    return order[np.arange(len(order)) - np.repeat(start, sizes) < number]


def _spread(known, layouts):
    """[layouts, users] between the most that hold and the fewest that fail, evenly in the logarithm."""
    low, high = known.holds[layouts] + 1.0, known.fails[layouts] - 1.0
    share = np.arange(1, TRIALS + 1) / TRIALS
    share = np.where((high == known.most[layouts])[:, None], share, (share - 0.5 / TRIALS))
    users = np.floor(low[:, None] * (high / low)[:, None] ** share)
    return np.stack([np.repeat(layouts, TRIALS), users.ravel()])


def _aimed(known, layouts, least):
    """[layouts, users] at which each seems to be worth a little more than `least`.

    What a layout is worth rises less and less with its users: straight between two numbers it is underrated, straight
    in the logarithms of both it is overrated; both are tried.
    """
    low, high = known.holds[layouts], known.fails[layouts]
    wanted = least[layouts]
    at_low, at_high = (
        np.maximum(known.worth[layouts], 0.0),
        np.where(np.isfinite(known.at_fails[layouts]), known.at_fails[layouts], known.upper[layouts]),
    )
    share = np.clip((wanted - at_low) / np.maximum(at_high - at_low, 1e-30), 0.0, 1.0)
    straight = low + share * (high - low)
    first, at_first = np.maximum(low, 0.5), np.where(low > 0.0, at_low, np.maximum(at_high, 1e-30) * 0.5 / high)
    slope = np.log(np.maximum(at_high / np.maximum(at_first, 1e-30), 1.0 + 1e-9)) / np.log(high / first)
    curved = first * np.exp(np.clip(np.log(np.maximum(wanted / np.maximum(at_first, 1e-30), 1.0)) / slope, 0.0, 50.0))
    n = int(np.clip(POINTS // max(len(layouts), 1), 0, MOST_TRIALS))
    between = [low + (high - low) * (i + 1.0) / (n + 1.0) for i in range(n if n > 1 else 0)]
    users = np.stack([np.ceil(straight), np.ceil(curved), *map(np.round, between)])
    users = np.clip(users, low + 1.0, high - 1.0)
    return np.stack([np.tile(layouts, len(users)), users.ravel()])
