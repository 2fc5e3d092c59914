"""What stops a fleet: the limit that one instance less would break, and why a hardware has none at all."""

import numpy as np

from .answers import holds
from .demand import STATISTICS

ONE = "one instance"  # what a demand takes at least
ALONE = "not in the grid of the other pool"
FINEST, HALVINGS, MORE = 64, 20, 1.1  # of the largest rate that chips allow
LIMITS_FIRST = ("ok_stable", "ok_transfer")


def binding(search, fleets):
    """[{pool: what it would not keep with an instance less}] of fleets."""
    found = [dict.fromkeys(fleet, ONE) for fleet in fleets]
    for pool in search.of:
        several = [k for k, fleet in enumerate(fleets) if fleet[pool][1] > 1.0]
        if several:
            fewer = [fleets[k] | {pool: (fleets[k][pool][0], fleets[k][pool][1] - 1.0)} for k in several]
            masks = {name: ok for name, ok in search.answer(fewer).items() if name.startswith("ok_")}
            order = _ordered(masks, search)
            for i, k in enumerate(several):
                found[k][pool] = next((_word(name, search.limits) for name in order if not masks[name][i]), "nothing")
    return found


def _word(mask, limits):
    """A mask as a user calls it."""
    name = mask.removeprefix("ok_")
    words = {"stable": "throughput", "transfer": "links of the transfer", "kv": "room in the cache"}
    return next((key for key in limits if key.split("_", 1)[1] == name), words.get(name, name))


def largest(searches):
    """What could be served at most where nobody serves all: {amount, kind, hardware, chips, binds}; {} of nothing.

    The most of what is asked, to one part in `FINEST`, that a fleet of no more than the chips, or the instances, that
    there may be takes within the limits; `binds`: what it would not keep at a little more.
    """
    asked = next(iter(searches.values())).question.amount
    if not any(np.isfinite(candidates.most).any() for search in searches.values() for candidates in search.of.values()):
        return {}
    low, high, best = 0.0, asked, None
    while high - low > asked / FINEST and high > asked / 2**HALVINGS:
        middle = 0.5 * (low + high)
        found = {kind: fleets for kind, search in searches.items() if (fleets := search.at(middle))}
        low, high = (middle, high) if found else (low, middle)
        best = (middle, found) if found else best
    if best is None:
        return {}
    amount, found = best
    kind, fleets = next(iter(found.items()))
    search, fleet = searches[kind], next(iter(fleets.values()))
    search.amount = amount * MORE
    masks = {name: ok for name, ok in search.answer([fleet]).items() if name.startswith("ok_")}
    binds = next((_word(name, search.limits) for name in _ordered(masks, search) if not masks[name][0]), "nothing")
    of = {pool: search.of[pool].labels[search.of[pool].group[layout]][0] for pool, (layout, _) in fleet.items()}
    chips = sum(x[1] * search.of[pool].layouts.chips[x[0]] for pool, x in fleet.items())
    hardware = " + ".join(dict.fromkeys(of.values()))
    return {"amount": amount, "kind": kind, "hardware": hardware, "chips": float(chips), "binds": binds}


def _ordered(masks, search):
    return sorted(masks, key=lambda name: (name not in LIMITS_FIRST, f"max_{name[3:]}" in search.limits))


def of_search(search):
    """[{kind, hardware, nic, pool, layouts, refused {mask: layouts}, best {time: seconds}}] of what has no fleet.

    Of hardware whose instances do not keep the limits even where next to nothing is asked of them, or which the other
    pool does not have; `best`: the times of the quickest of the layouts that fit.
    """
    found = []
    for pool, candidates in search.of.items():
        served = {candidates.labels[candidates.group[fleet[pool][0]]] for fleet in search.found.values()}
        paired = {candidates.labels[group] for group in search.groups[pool]}
        for label in dict.fromkeys(candidates.labels):
            (hardware, *nics), refused, best = label, {ALONE: 0}, {}
            own = np.flatnonzero([candidates.labels[group] == label for group in candidates.group.tolist()])
            if label in served or (label not in paired and len(set(nics)) > 1):
                continue
            if label in paired:
                idle = _idle(search, pool, own)
                if idle is not None and holds(idle).any():
                    continue
                refused = _counts(candidates, own, idle or {})
                times = [name for name in _times(pool, search) if idle and f"max_{name}" in search.limits]
                best = {name: float(idle[name].min()) for name in times}
            row = {"kind": search.KIND, "hardware": hardware, "nic": nics[0], "pool": pool, "layouts": len(own)}
            found.append(row | {"refused": refused, "best": best})
    return found


def _counts(candidates, layouts, idle):
    """{mask: layouts that it refuses}, the most first; of those that nothing refuses, what `idle` ones do not keep."""
    counts = {name: int(refuses[layouts].sum()) for name, refuses in candidates.refused.items()}
    left = int(candidates.can[layouts].sum())
    counts |= {name: left for name, ok in idle.items() if name.startswith("ok_") and not ok.any()}
    return dict(sorted(((name, n) for name, n in counts.items() if n), key=lambda x: -x[1]))


def _idle(search, pool, layouts):
    """{variable: values} of the two quickest layouts that fit, where next to nothing is asked; None where none fits."""
    candidates = search.of[pool]
    limited = {"ok_ttft", "ok_tpot"}
    fits = ~np.logical_or.reduce([x for name, x in candidates.refused.items() if name not in limited])
    fitting = layouts[fits[layouts]]
    if not len(fitting):
        return None
    quick = {int(fitting[np.argmin(x[fitting])]) for x in (candidates.bound.prompt_s, candidates.bound.step_s)}
    return search.idle(pool, np.array(sorted(quick)))


def _times(pool, search):
    """Times that a pool alone decides, by the names of limits."""
    own = ("ttft", "tpot") if len(search.of) == 1 else ("ttft",) if pool == "prefill" else ("tpot",)
    return [f"{time}{suffix}" for time in own for suffix in ("", *(f"_{statistic}" for statistic in STATISTICS))]
