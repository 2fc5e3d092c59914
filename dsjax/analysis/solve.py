"""Inverse questions: at which value of one input does the best configuration reach a target, or another's best."""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from .. import evaluation, numerics
from ..arguments import typed
from ..errors import InputError
from ..formulas.metrics import LIMITS
from ..results import dataset
from ..results.handle import Results
from ..search import binding, ranking
from ..space import parameters
from ..specs.variables import VARIABLES
from ..sweeps import sources, sweep
from ..types import Amount, Named, Source
from ..units import number
from . import targets

PER_DECADE = 20  # values that are tried in every factor of ten
RANGE = 1e3  # how far to both sides of the present value
RELATIVE = 1e-10  # width of the interval that a crossing is narrowed to
CHECK = 1e-6  # how far beside a crossing it is verified


@typed
def solve(
    source: Source = "default",
    vary: str | None = None,
    until: str | None = None,
    *,
    break_even: Named | None = None,
    between: Sequence[Amount] | None = None,
    at: Named | None = None,
    **options: Any,
) -> xr.Dataset:
    """Values of one input at which the best feasible configuration reaches a target, re-optimised at every value.

    `vary`: `<record>.<row>.<field>`, `<record>.<field>` (all its rows get the same value) or a field of the workload.
    `until`: "<variable> >= <number>" or "<=". Of the objective: its best value. Of another variable: that a feasible
    configuration exists with it, so its largest (">=") or smallest ("<=") value over the feasible points. "feasible":
    that any configuration is feasible. `break_even` {axis: (label, label)} instead: where the best of two labels have
    the same objective. `between` (low, high): the range (default: a factor 1000 to both sides of the present value,
    inside the input's domain). `at` {axis: value} fixes axes; `options` are those of `sweep`, for a grid only.

    The response is tried at 20 values in every factor of ten, geometrically, and at the ends; every change of the
    answer between two neighbours is bisected to a relative 1e-10 and verified at (1 +- 1e-6) of it. What happens twice
    between two neighbours is not seen. Returns a Dataset: `value` over `crossing` (empty: none), `response` over
    `contender` and `scan`, and the best configuration at the ends, at present and beside every crossing over `row`.
    """
    asked = sources.ask(source, "solve", options, needs="space")
    asked = asked.at(parameters.chosen(asked.space, at))
    varied = parameters.resolve("vary", vary, asked.space)
    question = targets.of(asked.space, until, break_even)
    low, high = _range(varied, between)
    asked = _Responses(asked, varied, question)

    n = 1 + max(1, math.ceil(PER_DECADE * math.log10(high / low)))
    values = sorted({*np.geomspace(low, high, n).tolist()[1:-1], low, high})
    values = sorted({*values, *(v for v in varied.values.values() if low < v < high)})
    crossings = []
    for left, right in itertools.pairwise(values):
        crossings += _crossings(asked, left, right)
    return _dataset(asked, values, crossings)


_WORDS = {
    "place": "which value of the input: an end, the present one, or beside a crossing",
    "at": "value of the input",
    "of": "contender whose best configuration this is",
    "feasible": "feasible points",
    "refused": "points that each constraint refuses",
    "binding": "constraints that alone refuse a better point",
}


class _Responses:
    """A question about a space, evaluated at values of an input; each value once."""

    def __init__(self, asked, varied, question):
        self.space, self.dtype, self.there = asked.space, asked.dtype, asked.there
        self.varied, self.question, self.known = varied, question, {}
        self.names = tuple({question.variable: None, "feasible": None})

    def responses(self, x):
        """The best value of every contender at `x`; infinite on the bad side where none is feasible."""
        if x not in self.known:
            found = evaluation.evaluate(self.varied.moved(self.space, x), self.dtype, self.names)
            self.known[x] = self._best(found)
        return self.known[x]

    def state(self, x):
        return self.question.state(self.responses(x))

    def _best(self, found):
        question, sizes = self.question, self.space.sizes
        arrays = []
        for name in (question.variable, "feasible"):
            dims, array = found[name]
            arrays.append(array.reshape([sizes[axis] if axis in dims else 1 for axis in sizes]))
        arrays[1] = arrays[1] if self.there is None else arrays[1] & self.there
        best = []
        for _, index in question.contenders:
            value, feasible = (_at(array, sizes, index) for array in arrays)
            feasible = feasible & ~np.isnan(value)  # a cost without a price
            if question.variable == "feasible":
                best.append(float(feasible.any()))
            else:
                best.append(question.sense * float(np.where(feasible, question.sense * value, -np.inf).max()))
        return tuple(best)


def _at(array, sizes, index):
    for position, axis in enumerate(sizes):
        if axis in index and array.shape[position] > 1:
            array = np.take(array, [index[axis]], axis=position)
    return array


def _range(varied, between):
    meta = varied.meta
    if between is None:
        present = [value for value in varied.values.values() if value > 0.0]
        if not present:
            raise InputError(f"vary: {varied.name} is 0 or unknown now; expected a range: from, to")
        low, high = max(min(present) / RANGE, meta["low"]), max(present) * RANGE
        if varied.units == "token":  # whole ones, and at least one
            low, high = max(1.0, float(math.floor(low))), float(math.ceil(high))
        return low, high if meta["high"] is None else meta["high"]
    if isinstance(between, str) or not hasattr(between, "__len__") or len(between) != 2:
        raise InputError(f"between: {between!r}; expected (low, high)")
    low, high = (number(f"{side}: {varied.name}", x, meta) for side, x in zip(("from", "to"), between))
    if not 0.0 < low < high:
        raise InputError(f"from, to: {low:g}, {high:g}; expected 0 < from < to [{varied.units}]")
    return low, high


def _geometric(below, above):
    return below * math.sqrt(above / below)


def _crossings(asked, left, right):
    """[(below, above)]: neighbours, RELATIVE apart, between which the state changes; from `left` to `right`."""
    state = asked.state(left)
    if asked.state(right) == state or left >= right:
        return []
    below, above = numerics.bisect(lambda x: asked.state(x) == state, left, right, middle=_geometric, relative=RELATIVE)
    return [(below, above), *_crossings(asked, above, right)]


def _dataset(asked, values, crossings):
    question, varied = asked.question, asked.varied
    text = f"value of {varied.name}"
    found = [_verified(asked, *crossing) for crossing in crossings]
    places = [("from", values[0]), ("present", None)]
    for i, crossing in enumerate(found, start=1):
        places += [(f"below {i}", crossing["below"]), (f"above {i}", crossing["above"])]
    places += [("to", values[-1])]
    rows = [row for place, x in places for row in _examined(asked, place, x)]
    names = {
        "kind": "what the value is",
        "value": f"{text} where the answer changes, on the side that meets what is asked",
        "below": f"value (1 - {CHECK:g}), where it is verified",
        "above": f"value (1 + {CHECK:g}), where it is verified",
        "state_below": "answer just below",
        "state_above": "answer just above",
        "verified": "the answers at `below` and `above` are these",
    }
    kinds = dict.fromkeys(("value", "below", "above"), float) | {"verified": bool}
    data = {}
    for name, long_name in names.items():
        meta = {"units": varied.units} if kinds.get(name) is float else {}
        column = np.array([crossing[name] for crossing in found], kinds.get(name, object))
        data[name] = ("crossing", column, {**meta, "long_name": long_name})
    unit = VARIABLES[question.variable][0]
    responses = np.array([asked.responses(x) for x in values]).T
    meta = {"units": unit, "long_name": f"best {question.variable} over the feasible points; infinite where none is"}
    data["response"] = (("contender", "scan"), responses, meta)
    states = np.array([question.states[asked.state(x)] for x in values], object)
    data["state"] = ("scan", states, {"long_name": "answer at the value"})
    for name in rows[0]:
        column = [row[name] for row in rows]
        kind = object if isinstance(column[0], str) else None
        meta = {"units": varied.units if name == "at" else VARIABLES[name][0]} if kind is None else {}
        data[name] = (
            "row",
            np.array(column, kind),
            {**meta, "long_name": _WORDS.get(name, VARIABLES.get(name, ("", name))[1])},
        )
    coords = {"scan": ("scan", values, {"units": varied.units, "long_name": f"{text} that was tried"})}
    labels = np.array([label for label, _ in question.contenders], object)
    coords["contender"] = ("contender", labels, {"long_name": "whose best configuration: a label, or all points"})
    numbered = {"units": "1", "long_name": "change of the answer, smallest value first"}
    coords["crossing"] = ("crossing", np.arange(1, len(found) + 1), numbered)
    present = [x for x in varied.values.values() if math.isfinite(x)]
    attrs = {"title": asked.space.title, "vary": varied.name, "units": varied.units, "until": question.text}
    attrs |= {"present": sorted(set(present)), "variable": question.variable}
    answered = any(c["kind"] != "change" for c in found)
    attrs["answered"] = int(answered or asked.state(values[0]) in question.everywhere)
    attrs |= {"dsjax_spec": asked.space.to_json(), **dataset.remarks(asked.space)}
    return xr.Dataset(data, coords, attrs)


def _verified(asked, below, above):
    """One crossing: its value, its sides, and whether the answers 1e-6 beside it are those of the sides."""
    before, after = asked.state(below), asked.state(above)
    met = asked.question.everywhere
    value = above if after in met else below if before in met else math.sqrt(below * above)
    high = asked.varied.meta["high"]
    down, up = value * (1.0 - CHECK), value * (1.0 + CHECK)
    up = up if high is None else max(above, min(up, high))
    return {
        "kind": asked.question.kind(before, after),
        "value": value,
        "below": down,
        "above": up,
        "state_below": asked.question.states[before],
        "state_above": asked.question.states[after],
        "verified": (asked.state(down), asked.state(up)) == (before, after),
    }


def _examined(asked, place, x):
    """Rows of the best configuration of every contender at `x` (None: the space as it is)."""
    space = asked.space if x is None else asked.varied.moved(asked.space, x)
    results = Results(sweep.of_space(space, asked.dtype, blocks=False), space).limited(asked.there)
    present = set(asked.varied.values.values())
    value = x if x is not None else present.pop() if len(present) == 1 else math.nan
    rows = []
    for label, index in asked.question.contenders:
        part = results.at({axis: space.axes[axis][i] for axis, i in index.items()})
        rows.append({"place": place, "at": value, "of": label} | _row(asked, part))
    return rows


def _row(asked, results):
    space = results.space
    best = ranking.best(results, by=(), objective=asked.question.objective)
    some = best.sizes["rank"] > 0
    point = best.isel(rank=0) if some else None
    row = {axis: str(point[axis].values) if some else "" for axis in space.axes}
    names = list(dict.fromkeys([space.objective, asked.question.variable, "step_time"]))
    names += [f"exposed_{limit}" for limit in LIMITS]
    row |= {name: float(point[name]) if some else math.nan for name in names if name != "feasible"}
    if "outside_validity" in results.ds:
        row["outside_validity"] = int(point["outside_validity"]) if some else 0
    refused = {name: n for name, n in ranking.refusals(results).items() if n}
    name, sense = asked.question.variable, asked.question.sense
    limits = {}
    if name != "feasible":
        limits = binding.improvements(results, name, sense, sense * float(point[name]) if some else -math.inf)
    return row | {
        "bottleneck": LIMITS[int(point["bottleneck"])] if some else "",
        "feasible": ranking.count_feasible(results),
        "refused": ", ".join(f"{name} {n:,}" for name, n in refused.items()) or "none",
        "binding": ", ".join(f"{mask} (best without it {value:,.6g})" for mask, value in limits.items()) or "none",
    }
