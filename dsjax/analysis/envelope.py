"""How the optimum moves: the batch of a configuration relaxed to a real number, and chosen anew for every parameter.

At the discrete choices of one point (tp, ep, precision, ...) the load b (`batch` in decode, `prompts` in prefill)
becomes real. The relaxed optimum maximises the objective y over b where every limit g_j(b, x) <= 0 holds: the chip's
memory and the grid's bounds, g = ln(value / bound), or its negative for a lower bound. Where limit j is active,

    d ln y* / d ln x     = y_x - y_b g_x / g_b         (subscripts: d / d ln; the limit keeps its bound)
    d ln y* / d ln bound = +-y_b / g_b                 its shadow price

and y_x where b* lies inside. What asks for whole numbers stays out: `ok_even_batch` and `ok_prompts` are ignored, and a
ceiling over b lets it through.
"""

import dataclasses
import functools
import math
from typing import NamedTuple

import numpy as np

from .. import arrays, evaluation, numerics
from ..formulas import constraints
from ..formulas.point import evaluate_point, fields_by_name
from ..results import dataset
from ..search.ranking import sense_of
from ..space import parameters
from ..specs.variables import COUNTS, MEASURES, VARIABLES, undefined
from . import neighbours

LOAD = "relaxed_load"  # operand of the lifted function, beside the bounds
MOST = 2.0**16  # sequences or prompts
RATIO = 2.0**0.125  # of neighbouring samples of b
LINE = 1e-6  # a slope below this is flat; a limit nearer than this is reached
NOISE = 1e-12  # a slope below this is rounding: on a plateau it has no sign
NUDGE = 1e-4  # of a parameter, where the optimum is a kink


class Limit(NamedTuple):
    """A bound that the relaxed load has to keep."""

    variable: str
    side: str  # "min" or "max"
    bounded: bool  # by the grid; else by the memory of the chip

    @property
    def name(self):
        return f"{self.side}_{self.variable}" if self.bounded else "memory"


class Optimum(NamedTuple):
    """The relaxed optimum: where it is, what holds it there."""

    load: float
    active: int  # index of the limit; -1: none
    kind: str  # "limit", "interior", "kink" of the objective, "jump" of limit or objective, "end" of the search


def variables(results, one, of, names):
    """Variables of the optimum at the discrete choices of the point `one` of a space, and around it.

    Over `parameter`: `elasticity_reoptimised`, and whether the best point of the grid changes when the parameter is
    1 % less or more in all rows (`switch_less`, `switch_more`, texts). Over `limit`: `active`, `slack`, `shadow_price`.
    Over `neighbour`: the next values of every numeric axis, all others of a named one. `relaxed_load` is b*; NaN where
    no load is feasible, and so is what follows from it. `results`: of the space, with `of` and the masks.
    """
    problem = Problem(one, of, names, sense_of(results.space, of))
    found = problem.result(problem.optimum())
    return found | neighbours.neighbours(results, one, of) | neighbours.switches(results, of, names)


def limits_of(space, of):
    """The `Limit`s of a point that its load can reach."""
    lacking = undefined(space.phases)
    found = [Limit("memory_per_chip", "max", False)]
    for key in space.bounds:
        side, _, variable = key.partition("_")
        if variable in MEASURES and variable not in (*lacking, *COUNTS):
            found.append(Limit(variable, side, True))
    return tuple(found)


@functools.lru_cache(maxsize=64)
def relaxed(of, names, load, limits, reserve):
    """Function of one point at a real load: `log/<i>` of ln y and of g of each limit, `slope/<i>/<j>` d log i / d ln j.

    j: one of `names`, then the load. The load comes as LOAD among the bounds; `reserve`: the study keeps a share of the
    memory free.
    """

    def function(step, point, bounds, **policies):
        bounds = dict(bounds)
        real = bounds.pop(LOAD) * evaluation.along(1.0, len(names))
        values = evaluate_point(step, point, bounds, **policies)
        readable = fields_by_name(point) | values
        room = point.hardware.hbm_bytes * (1.0 - point.workload.memory_reserve if reserve else 1.0)
        logs = [arrays.log(values[of])]
        for limit in limits:
            bound = room
            if limit.bounded:
                bound = bounds[f"{limit.side}_{limit.variable}"]
                bound = constraints.at_length(bound, constraints.prompt_length(readable))
            excess = arrays.log(values[limit.variable] / bound)
            logs.append(excess if limit.side == "max" else -excess)
        whole = getattr(point.deployment, load)
        factors = parameters.scaled(point, names, [evaluation.along(1.0, j) for j in range(len(names))])
        factors[whole] = evaluation.continued(whole, real)
        found = {}
        for name, x in evaluation.substituted({f"{i}": x for i, x in enumerate(logs)}, factors).items():
            found[f"log/{name}"] = evaluation.value(x)
            found |= {f"slope/{name}/{j}": evaluation.tangent(x, j) for j in range(len(names) + 1)}
        return found

    return function


def _narrowed(yes, no, holds):
    """Two loads as near to each other as numbers get, between one where a condition holds and one where not."""
    return numerics.bisect(holds, yes, no, middle=lambda a, b: math.sqrt(a * b), relative=1e-15)


class Problem:
    """The relaxed problem at one point: max over b of sense ln y(b), g_j(b) <= 0."""

    def __init__(self, space, of, names, sense):
        self.space, self.of, self.names, self.sense = space, of, names, sense
        self.load, self.limits = space.load, limits_of(space, of)
        reserve = "memory_reserve" in space.study.workload
        self.function = relaxed(of, names, self.load, self.limits, reserve)

    def at(self, load):
        """(logs, slopes) at a real load, see `relaxed`."""
        n, m = len(self.limits) + 1, len(self.names) + 1
        slopes = self._values(load, [f"slope/{i}/{j}" for i in range(n) for j in range(m)])
        return self.logs(load), slopes.reshape(n, m)

    def logs(self, load):
        """ln y, and g of each limit, at a real load."""
        return self._values(load, [f"log/{i}" for i in range(len(self.limits) + 1)])

    def _values(self, load, names):
        space = dataclasses.replace(self.space, bounds=self.space.bounds | {LOAD: float(load)})
        return np.array([x for _, x in evaluation.evaluate(space, names=names, function=self.function).values()])

    def objective(self, load):
        return self.sense * self.logs(load)[0]

    def slope(self, load):
        """d objective / d ln b."""
        return self.sense * self._values(load, [f"slope/0/{len(self.names)}"])[0]

    def feasible(self, load):
        return not (self.logs(load)[1:] > 0.0).any()

    def optimum(self, low=1.0, high=MOST):
        """The `Optimum` between two loads; None where no load is feasible."""
        samples, values = self._samples(low, high)
        if not np.isfinite(values).any():
            return None
        best = int(np.argmax(values))
        left = samples[max(best - 1, 0)]
        right = samples[min(best + 1, len(samples) - 1)]
        middle = samples[best]
        if best + 1 < len(samples) and not np.isfinite(values[best + 1]):
            right, beyond = _narrowed(middle, right, self.feasible)
            if self.slope(right) >= 0.0 or self.objective(right) >= max(
                values[best], self.objective(right / (1 + LINE))
            ):
                return self._at_edge(right, beyond)
        if best > 0 and not np.isfinite(values[best - 1]):
            left, beyond = _narrowed(middle, left, self.feasible)
            if self.slope(left) < 0.0:
                return self._at_edge(left, beyond)
        if (
            left == right
            or (best == len(samples) - 1 and self.slope(right) > 0.0)
            or (best == 0 and self.slope(left) < 0.0)
        ):
            return Optimum(middle, -1, "end")
        return self._inside(left, middle, right)

    def _samples(self, low, high):
        """Loads and the objective there, -inf where a limit refuses, as far as the memory goes."""
        n = max(2, math.ceil(math.log(high / low) / math.log(RATIO)))
        samples = {low * (high / low) ** (i / n) for i in range(n + 1)}
        if low <= self.space.fixed[self.load] <= high:
            samples.add(float(self.space.fixed[self.load]))
        kept, values = [], []
        for load in sorted(samples):
            logs = self.logs(load)
            ok = not (logs[1:] > 0.0).any()
            kept.append(load)
            values.append(self.sense * logs[0] if ok else -math.inf)
            if logs[1] > 0.0:
                break  # memory only grows with the load
        return kept, np.array(values)

    def _at_edge(self, inside, outside):
        active = int(np.argmax(self.logs(outside)[1:]))
        reached = self.logs(inside)[1:][active] > -LINE
        return Optimum(inside, active, "limit" if reached else "jump")

    def _inside(self, left, middle, right):
        """The best load between two that are worse than `middle`."""
        rising = self.slope(middle) > NOISE
        low, high = (middle, right) if rising else (left, middle)
        low, high = _narrowed(low, high, lambda load: self.slope(load) > NOISE)
        value = self.objective(middle)
        if max(self.objective(low), self.objective(high)) < value:  # a jump of the objective hides the best load
            inner, _ = _narrowed(middle, right if rising else left, lambda load: self.objective(load) >= value)
            return Optimum(inner, -1, "jump")
        below, above = self.at(low), self.at(high)
        if abs(above[0][0] - below[0][0]) > LINE:
            return Optimum(low if self.objective(low) > self.objective(high) else high, -1, "jump")
        flat = min(abs(below[1][0, -1]), abs(above[1][0, -1])) < LINE
        return Optimum(low, -1, "interior" if flat else "kink")

    def elasticities(self, best):
        """d ln y* / d ln x of every parameter."""
        _, slopes = self.at(best.load)
        if best.kind == "limit":
            limit = slopes[1 + best.active]
            return slopes[0, :-1] - slopes[0, -1] * limit[:-1] / limit[-1]
        if best.kind != "kink":
            return slopes[0, :-1]
        ends = [[self.moved(name, 1.0 + s * NUDGE).value_near(best.load) for name in self.names] for s in (1.0, -1.0)]
        return (np.array(ends[0]) - np.array(ends[1])) / (2.0 * NUDGE)

    def value_near(self, load):
        """ln y* of the optimum near a load."""
        found = self.optimum(load / 1.05, load * 1.05)
        return self.logs(found.load)[0]

    def moved(self, name, factor):
        """This problem with one parameter multiplied by `factor`."""
        return Problem(parameters.multiplied(self.space, name, factor), self.of, self.names, self.sense)

    def shadow_prices(self, best):
        """d ln y* / d ln bound of every limit: 0 where it is not active."""
        prices = np.zeros(len(self.limits))
        if best.kind == "limit":
            slopes = self.at(best.load)[1]
            sign = 1.0 if self.limits[best.active].side == "max" else -1.0
            prices[best.active] = sign * slopes[0, -1] / slopes[1 + best.active, -1]
        return prices

    def result(self, best):
        """Variables of the relaxed optimum."""
        n, m = len(self.names), len(self.limits)
        variable, units = dataset.variable, VARIABLES[self.of][0]
        nothing = best is None
        value = math.nan if nothing else math.exp(self.logs(best.load)[0])
        moves = np.full(n, math.nan) if nothing else self.elasticities(best)
        moves = np.where([parameters.in_use(self.space, name)[1] for name in self.names], moves, 0.0)  # of another row
        excess = np.full(m, math.nan) if nothing else self.logs(best.load)[1:]
        active = np.zeros(m, bool)
        if not nothing and best.active >= 0:
            active[best.active] = True
        labels = [limit.name for limit in self.limits]
        return {
            "relaxed_load": variable(
                (), math.nan if nothing else best.load, "sequence", f"real {self.load} that is best"
            ),
            "relaxed_value": variable((), value, units, f"{self.of} there"),
            "relaxed_kind": variable((), np.array("none" if nothing else best.kind, object), "", "what holds it there"),
            "elasticity_reoptimised": variable(
                "parameter", moves, "1", f"d ln {self.of} / d ln x of the relaxed optimum, {self.load} chosen anew"
            ),
        } | dataset.over(
            "limit",
            labels,
            "limit of the load",
            active=(active, "", "holds the relaxed optimum"),
            slack=(-excess, "1", "|ln(value / bound)| that is left at the relaxed optimum"),
            shadow_price=(
                np.full(m, math.nan) if nothing else self.shadow_prices(best),
                "1",
                f"d ln {self.of} / d ln bound of the relaxed optimum",
            ),
        )
