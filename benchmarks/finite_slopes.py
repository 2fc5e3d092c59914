"""Elasticities d ln y / d ln x of every continuous parameter, finite or not: of shipped grids, and at extremes.

Run by `differential.py --gradients`. Grids of at most `--points` points are evaluated at all of them, others on a part
of their axes drawn by seed; servers at one in 500 of so many points (their slopes are differences). At extremes one
parameter of a point at a time, and pairs of them, is 1e-30 to 1e30 times what it is, as far as its domain allows; kinds
of layer and engines are drawn.
"""

import time
from pathlib import Path

import numpy as np

from dsjax import evaluation
from dsjax.analysis import sensitivity
from dsjax.space import grid, parameters

GRIDS = sorted(path.stem for path in (Path(__file__).parent.parent / "grids").glob("*.toml"))
FACTORS = (1e-30, 1e-12, 1e-4, 0.1, 10.0, 1e4, 1e12, 1e30)
LEAST, MOST = 1e-30, 1e30  # numbers that `units.number` takes
SERVED = "serve", "disaggregated"


def outputs(space):
    return ("step_time", "memory_per_chip") if space.phases == ("prefill",) else ("tps_per_chip", "memory_per_chip")


def part(space, rng, points):
    """A space on at most about so many of its points: all values of an axis, or some drawn by seed."""
    axes = {axis: tuple(values) for axis, values in space.axes.items()}
    while np.prod([len(values) for values in axes.values()]) > points:
        axis = max(axes, key=lambda axis: len(axes[axis]))
        kept = np.sort(rng.permutation(len(axes[axis]))[: max(1, (len(axes[axis]) + 1) // 2)])
        axes[axis] = tuple(axes[axis][i] for i in kept)
    return space.with_axes(axes)


def of_grid(name, rng, points):
    """(points, numbers, those that are not finite, one of them) of a shipped grid."""
    space = grid.load(name)
    names = parameters.named(space, "all")
    if space.study.requests:
        return of_server(space, names, rng, max(1, points // 500))
    space = part(space, rng, points)
    total, bad, worst = 0, 0, ""
    for of in outputs(space):
        found = evaluation.evaluate(space, function=sensitivity.slopes(of, tuple(names)))
        for i, parameter in enumerate(names):
            values = found[f"elasticity/{i}"][1]
            wrong = int((~np.isfinite(values)).sum())
            total, bad, worst = total + values.size, bad + wrong, f"{of} {parameter}" if wrong else worst
    return space.points, total, bad, worst


def of_server(space, names, rng, points):
    total, bad, worst = 0, 0, ""
    for place in rng.permutation(space.points)[:points]:
        index = np.unravel_index(place, tuple(space.sizes.values()))
        one = space.only({axis: values[i] for (axis, values), i in zip(space.axes.items(), index, strict=True)})
        sides = np.array(sensitivity.one_sided_of_server(one, "tps_per_chip", names))
        wrong = ~np.isfinite(sides).all(axis=1)
        total, bad = total + sides.size, bad + int(wrong.sum())
        worst = f"{names[int(np.argmax(wrong))]} at {index}" if wrong.any() else worst
    return min(points, space.points), total, bad, worst


def within(meta, numbers):
    """Numbers inside a domain, and its ends where they belong to it."""
    low = max(meta["low"], LEAST if meta["open_low"] or meta["low"] == 0.0 else meta["low"])
    high = MOST if meta["high"] is None else meta["high"]
    ends = [meta["low"]] if not meta["open_low"] and np.isfinite(meta["low"]) else []
    ends += [meta["high"]] if meta["high"] is not None else []
    return sorted({*np.clip(numbers, low, high).tolist(), *ends})


def extremes(space, rng):
    """{(record, field): numbers} of samples of a point: one operand moved in each, or two of them."""
    known, numbers = parameters.known(space), evaluation.numbers(space)
    fields = {}
    for name, meta in known.items():
        key = (name.record, name.field)
        if key in numbers and parameters.continuous(name.record, meta) and np.isfinite(float(numbers[key])):
            now = float(numbers[key])
            fields[key] = within(meta, np.array(FACTORS) * (now if now != 0.0 else 1.0))
    moves = [{key: x} for key, values in fields.items() for x in values]
    pairs = rng.integers(len(moves), size=(len(moves), 2))
    moves += [moves[a] | moves[b] for a, b in pairs]
    return {key: np.array([move.get(key, numbers[key]) for move in moves], float) for key in fields}, moves


def at_extremes(space, rng):
    """(samples, numbers, those that are not finite, one of them) at one point of a space."""
    index = [int(rng.integers(n)) for n in space.sizes.values()]
    one = space.only({axis: values[i] for (axis, values), i in zip(space.axes.items(), index, strict=True)})
    values, moves = extremes(one, rng)
    names = tuple(parameters.named(one, "all"))
    total, bad, worst = 0, 0, ""
    for of in outputs(one):
        (found,) = evaluation.points([one], [values], function=sensitivity.slopes(of, names))
        for i, name in enumerate(names):
            wrong = ~np.isfinite(found[f"elasticity/{i}"])
            total, bad = total + wrong.size, bad + int(wrong.sum())
            worst = f"{of} by {name} at {moves[int(np.argmax(wrong))]}" if wrong.any() else worst
        wrong = ~np.isfinite(found[of])
        total, bad = total + wrong.size, bad + int(wrong.sum())
        worst = f"{of} at {moves[int(np.argmax(wrong))]}" if wrong.any() else worst
    return len(moves), total, bad, worst


def rows(points, seed, drawn, names=None):
    """[(name, points, numbers, not finite, one of them, seconds)]; `drawn`: spaces of models and engines."""
    rng = np.random.default_rng(seed)
    for name in GRIDS if names is None else names:
        start = time.perf_counter()
        yield (name, *of_grid(name, rng, points), time.perf_counter() - start)
        evaluation.forget()
    spaces = [(name, grid.load(name)) for name in GRIDS if name not in SERVED and (names is None or name in names)]
    for name, space in [*spaces, *(("drawn", space) for space in drawn)]:
        start = time.perf_counter()
        yield (f"{name}, extremes", *at_extremes(space, rng), time.perf_counter() - start)
        evaluation.forget()
