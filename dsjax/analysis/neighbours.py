"""Neighbours of the best point of a grid: next values of every axis, and whether another point becomes the best."""

import numpy as np

from ..formats import label
from ..results import dataset
from ..results.handle import Results
from ..search import ranking
from ..space import parameters
from ..specs.variables import VARIABLES
from ..sweeps import sweep

SWITCH = 0.01  # of a parameter
MOST_SWITCHES = 1_000_000  # points of a grid that is searched again for every parameter


def neighbours(results, one, of):
    """The variable at the next values of every axis, and what refuses them."""
    ds, space = results.ds, results.space
    point = {axis: one.fixed[axis] for axis in space.axes}
    position = {axis: values.index(point[axis]) for axis, values in space.axes.items()}
    there = True if results.there is None else np.broadcast_to(results.there, results.shape)

    def at(name, position):
        return ds[name].values[tuple(position[axis] for axis in ds[name].dims)]

    here, rows = float(at(of, position)), []
    for axis, values in space.axes.items():
        ordered = sorted(range(len(values)), key=lambda i: values[i]) if not isinstance(values[0], str) else None
        others = [i for i in range(len(values)) if i != position[axis]]
        if ordered:
            place = ordered.index(position[axis])
            others = ordered[max(place - 1, 0) : place] + ordered[place + 1 : place + 2]
        for i in others:
            beside = position | {axis: i}
            if there is not True and not there[tuple(beside.values())]:
                continue
            value = float(at(of, beside))
            refused = ", ".join(name.removeprefix("ok_") for name in results.masks if not at(name, beside))
            rows.append((axis, label(values[i]), value, value / here - 1.0, refused))
    columns = list(zip(*rows)) or [()] * 5
    texts = [np.array(column, dtype=object) for column in (columns[0], columns[1], columns[4])]
    return dataset.over(
        "neighbour",
        [f"{axis}={value}" for axis, value, *_ in rows],
        "next value of an axis",
        neighbour_axis=(texts[0], "", "axis that is changed"),
        neighbour_value=(texts[1], "", "its value there"),
        neighbour_of=(np.array(columns[2], float), VARIABLES[of][0], f"{of} there"),
        neighbour_change=(np.array(columns[3], float), "1", f"relative change of {of}"),
        neighbour_refused_by=(texts[2], "", "constraints that refuse it; empty: feasible"),
    )


def switches(results, of, names):
    """Whether the best point of the grid changes when a parameter is 1 % less or more."""
    space, texts = results.space, {-1.0: [], 1.0: []}
    searched = space.points <= MOST_SWITCHES
    before = _best(results, space, of) if searched else None
    for sign, found in texts.items():
        for name in names:
            changed = parameters.multiplied(space, name, 1.0 + sign * SWITCH)
            after = _best(results, changed, of) if searched else None
            found.append(_change(before, after))
    meaning = "what changes at the best point of the grid where the parameter is 1 % {}; empty: nothing"
    return {
        f"switch_{word}": dataset.variable("parameter", np.array(texts[s], object), "", meaning.format(word))
        for s, word in ((-1.0, "less"), (1.0, "more"))
    }


def _best(results, at, of):
    """{axis: value} of the best feasible point of a moved space, None where none is feasible."""
    space = results.space
    swept = Results(sweep.swept(space, at, of, "float64"), space).limited(results.there)
    return ranking.best_place(swept, ranking.search_for(space, of))


def _change(before, after):
    if before == after:
        return ""
    if after is None or before is None:
        return "none is feasible" if after is None else "some are feasible"
    return ", ".join(f"{axis} {x} -> {after[axis]}" for axis, x in before.items() if after[axis] != x)
