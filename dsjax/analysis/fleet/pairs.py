"""Instances of two pools together: from the fewest of each alone to the fewest that keep the limits as one fleet."""

import numpy as np

ADDED = np.arange(5)  # instances that are added to a pool at once
GROWTH = 3  # of them, from round to round
FEWER = 2 ** np.arange(6)  # that are taken away
ROUNDS = 12  # of adding; of a pair that then keeps no limits nothing is found


def fewest(instances, cost, most, keeps, exact):
    """Instances of each pool of pairs that keep the limits: (prefill, decode), infinite where none do.

    From `instances`, below which no pool keeps its limits, up: of all that are tried at once the pair that costs least
    is taken. Then down again, one pool at a time, as long as the limits are kept, where more than one was added, or
    where the start is not `exact`. `keeps(pairs, (numbers of each pool))`.
    """
    start = [np.asarray(x, float) for x in instances]
    now = [np.full(len(start[0]), np.inf) for _ in start]
    left, added = np.arange(len(start[0])), ADDED[:1]
    again = [np.zeros(0, int)] if exact else [left]
    for i in range(ROUNDS):
        if not len(left):
            break
        steps = np.stack(np.meshgrid(added, added, indexing="ij")).reshape(2, -1)
        found = _best(left, [x[left] for x in start], steps, cost, most, keeps)
        good = np.isfinite(found[0])
        for pool, x in zip(now, found, strict=True):
            pool[left[good]] = x[good]
        if i > 1:
            again.append(left[good])
        left, added = left[~good], ADDED * GROWTH**i
    _reduced(np.unique(np.concatenate(again)), now, cost, keeps)
    return now


def _best(own, start, steps, cost, most, keeps):
    """[numbers of each pool] of the pairs `own`: those of `start` and one of the `steps`, the cheapest that keeps."""
    tried = [x[:, None] + added for x, added in zip(start, steps, strict=True)]
    price = sum(of[own][:, None] * x for of, x in zip(cost, tried, strict=True))
    possible = np.logical_and.reduce([x <= of[own][:, None] for x, of in zip(tried, most, strict=True)])
    which = np.flatnonzero(possible)
    ok = np.zeros(possible.size, bool)
    ok[which] = keeps(np.repeat(own, steps.shape[1])[which], [x.ravel()[which] for x in tried])
    price = np.where(ok.reshape(price.shape), price, np.inf)
    best = np.argmin(price, axis=1)
    some = np.isfinite(price[np.arange(len(own)), best])
    return [np.where(some, x[np.arange(len(own)), best], np.inf) for x in tried]


def _reduced(left, now, cost, keeps):
    """Take instances away from the pairs `left`, first of the pool whose cost most, as long as the limits are kept."""
    left = left[np.isfinite(now[0][left])]
    dearest = np.argmax([of[left] for of in cost], axis=0)
    while len(left):
        moved = np.zeros(len(left), bool)
        for pool in (dearest, 1 - dearest):
            before = [x[left] for x in now]
            fewer = [np.where(pool == i, -1, 0)[:, None] * FEWER for i in range(2)]
            tried = [np.maximum(x[:, None] + less, 1.0) for x, less in zip(before, fewer, strict=True)]
            ok = keeps(np.repeat(left, len(FEWER)), [x.ravel() for x in tried]).reshape(len(left), -1)
            most = np.where(ok.any(1), ok.shape[1] - 1 - np.argmax(ok[:, ::-1], axis=1), -1)
            for x, other in zip(now, tried, strict=True):
                x[left] = np.where(most < 0, x[left], other[np.arange(len(left)), most])
            moved |= np.logical_or.reduce([x[left] != old for x, old in zip(now, before, strict=True)])
        left, dearest = left[moved], dearest[moved]
