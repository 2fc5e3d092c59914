"""What a kind of measurement is: `Kind`, and the `Parameter`s of its form."""

from collections.abc import Callable
from typing import NamedTuple


class Parameter(NamedTuple):
    """A number to fit: its units, meaning, first guess, bounds (all positive), its field in a catalog row, if any."""

    units: str
    doc: str
    guess: float
    low: float
    high: float
    field: str


class Kind(NamedTuple):
    """A kind of measurement. `columns` of the shape; `group`: what one shape is in the cross-validation."""

    doc: str
    form: Callable
    work: Callable
    parameters: dict  # {name: Parameter}
    columns: dict  # {column: (units, meaning)}
    group: tuple  # columns
    optional: dict = {}  # {column: value where a file does not have it}
    is_curve: bool = True  # whether the form is that of a `kernel` curve, so that its row can be used as one
    fixed: dict = {}  # {field of a catalog row: value} that the form takes for granted
    foreign: dict = {}  # {column that speaks of another kernel: that kernel}
    also: dict = {}  # {column: other names that public tables of this kind have for it}


def share(doc, field, guess=0.7):
    """A share of a peak."""
    return Parameter("1", doc, guess, 0.01, 1.0, field)


def start(field, doc="launch and ramp", guess=5e-6, high=1e-2, low=1e-8):
    """A fixed time."""
    return Parameter("s", doc, guess, low, high, field)


def loss(field):
    """A share of what overlaps."""
    return Parameter("1", "share of what is not longest that is not hidden", 0.2, 1e-3, 1.0, field)


def depth(field):
    """Time of one core on its way along K."""
    return start(field, "time of one core per element of K", 5e-10, 7e-9, low=1e-12)
