"""Questions of `solve`: does the best configuration reach a target, or equal the best of another label?"""

import dataclasses
import math
import re

from ..catalog import names
from ..errors import InputError, unknown
from ..space.space import numeric_axes
from ..specs.variables import VARIABLES
from ..units import domain, number

EVEN, NONE = 0, 2  # states of a break-even: both equally good, neither feasible
EQUAL = 1e-12  # two bests closer than this, relative to the larger, are equal


@dataclasses.dataclass(frozen=True)
class Question:
    """A question about the best value of every contender: `state(responses)` is one of `states`."""

    text: str
    variable: str  # of the response
    sense: int  # 1: the largest value over the feasible points, -1: the smallest
    contenders: tuple  # ((label, {axis: index}), ...)
    states: dict  # {state: words}
    state: object
    met: tuple = ()  # the states in which the target is met; () for a break-even
    bound: float | None = None  # of a target on a variable [SI]

    @property
    def everywhere(self):
        """The states that answer the question where they hold at every value."""
        return self.met or (EVEN,)

    def kind(self, below, above):
        """Kind of crossing between the state `below` a value and the state `above` it."""
        if self.met or {below, above} == {EVEN, NONE}:  # equal wherever one is feasible
            return "smallest" if above in self.everywhere else "largest"
        return "change" if NONE in (below, above) else "break-even"

    @property
    def objective(self):
        """The objective as `ranking.best` takes it."""
        return None if self.variable == "feasible" else ("" if self.sense > 0 else "-") + self.variable


def of(space, until=None, break_even=None):
    """The `Question` of `until` or `break_even`, of which one is given; see `solve.solve`."""
    if (until is None) == (break_even is None):
        raise InputError("solve: expected one of until and break_even")
    return _target(space, until) if break_even is None else _break_even(space, break_even)


def _target(space, until):
    if not isinstance(until, str):
        raise InputError(f"until: {until!r}; expected a text like 'tps_per_user >= 20'")
    states = {0: "not met", 1: "met"}
    if until.strip() == "feasible":
        text = "a configuration is feasible"
        return Question(text, "feasible", 1, (("best", {}),), states, lambda r: int(r[0] > 0.0), (1,))
    match = re.fullmatch(r"\s*([A-Za-z_]\w*)\s*(>=|<=)\s*(.+?)\s*", until)
    if not match:
        raise InputError(f"until: {until!r}; expected '<variable> >= <number>', '<variable> <= <number>' or 'feasible'")
    name, sign, text = match.groups()
    if name not in space.defined:
        raise unknown("until", "variable of this phase", name, space.defined)
    units = VARIABLES[name][0]
    bound = number(f"until: {name}", text, domain(units, low=-math.inf))
    up = 1 if sign == ">=" else -1
    best = name == space.objective
    what = "the best" if best else "a feasible configuration has"
    shown = f"{bound:,.6g}" + ("" if units == "1" else f" {units}")

    def state(responses):
        return int(math.isfinite(responses[0]) and up * responses[0] >= up * bound)

    sense = space.sense if best else up
    return Question(f"{what} {name} {sign} {shown}", name, sense, (("best", {}),), states, state, (1,), bound)


def _break_even(space, break_even):
    if not isinstance(break_even, dict) or len(break_even) != 1:
        raise InputError(f"break_even: {break_even!r}; expected {{axis: (label, label)}}")
    ((axis, labels),) = break_even.items()
    named = [name for name in space.axes if name not in numeric_axes(space.study)]
    if axis not in named:
        raise unknown("break_even", "axis of names", axis, named)
    two = not isinstance(labels, str) and hasattr(labels, "__len__") and len(labels) == 2
    rows = {name: space.rows.get(axis, {}).get(name) for name in space.axes[axis]}
    found = [names.canonical("break_even", axis, x, rows, owners=axis == "model") for x in labels] if two else [""]
    one, other = labels = found[0], found[-1]
    if one == other:
        raise InputError(f"break_even: {axis} = {labels!r}; expected two different labels")
    states = {1: f"{one} better", EVEN: "equal", -1: f"{other} better", NONE: "none feasible"}

    def state(responses):
        a, b = (space.sense * r for r in responses)
        if a == b:
            return EVEN if math.isfinite(a) else NONE
        close = math.isfinite(a) and math.isfinite(b) and abs(a - b) <= EQUAL * max(abs(a), abs(b))
        return EVEN if close else 1 if a > b else -1

    contenders = tuple((label, {axis: space.axes[axis].index(label)}) for label in labels)
    text = f"the best {space.objective} of {one} and of {other} are equal"
    return Question(text, space.objective, space.sense, contenders, states, state)
