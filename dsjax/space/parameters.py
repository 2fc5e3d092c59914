"""Continuous numbers of a space by name: `<record>.<field>`, `<record>.<row>.<field>`, or a field of the workload."""

import dataclasses
import math

from ..catalog import reader
from ..errors import InputError, unknown
from ..specs import records
from ..specs.fields import fields_of
from ..units import number
from .space import parameters

# Records whose numbers without a unit are counts of parts, also where they are kept as floats.
_COUNTED = ("hardware", "nic", "model")


@dataclasses.dataclass(frozen=True)
class Input:
    """A number of a space that can be moved; of all rows in use where its name has no row."""

    name: str
    record: str  # "workload" for what a grid fixes
    field: str
    meta: dict
    values: dict  # {row: present SI number}; the row of what a grid fixes is ""

    @property
    def units(self):
        return self.meta["units"]

    def moved(self, space, value):
        """The space with this number at `value`, in every row: the compiled program stays the same."""
        if "" in self.values:
            name = self.field if self.record == "workload" else f"{self.record}_{self.field}"
            return dataclasses.replace(space, fixed=space.fixed | {name: value})
        rows = {row: space.rows[self.record][row] | {self.field: value} for row in self.values}
        return dataclasses.replace(space, rows=space.rows | {self.record: space.rows[self.record] | rows})

    def by_row(self):
        """One `Input` for each row."""
        if "" in self.values:
            return [self]
        return [
            dataclasses.replace(self, name=f"{self.record}.{row}.{self.field}", values={row: value})
            for row, value in self.values.items()
        ]


def continuous(record, meta):
    """Whether a field can take any real number of its domain, and not whole numbers only."""
    counted = record in _COUNTED and meta["units"] == "1" and meta["high"] is None
    return not meta["integer"] and not counted


def resolve(where, name, space):
    """The `Input` called `name`; an unknown, a discrete, or an overridden one is an InputError at `where`."""
    if not isinstance(name, str):
        raise InputError(f"{where}: {name!r}; expected the name of a parameter, like nic.scale_out_bytes_per_s")
    alone = fields_of(records.Workload) | fields_of(records.Deployment)
    record, _, rest = name.partition(".")
    if record in ("workload", "deployment") and rest:
        record, rest = rest, ""
    if record in alone and not rest:
        return _alone(where, record, alone[record], space)
    if record not in space.rows or not rest:
        known = [f"{r}.{f}" for r in space.rows for f, meta in _fields(space, r).items() if continuous(r, meta)]
        known += [f for f in space.study.workload if f in space.fixed]
        raise unknown(where, "parameter", name, known)
    row, _, field = rest.rpartition(".")
    if row and row not in space.rows[record]:
        raise unknown(where, f"{record} of this grid", row, space.rows[record])
    fields = _fields(space, record, row)
    if field not in fields:
        raise unknown(where, f"field of {record}", field, fields)
    if not continuous(record, fields[field]):
        raise InputError(f"{where}: {name} is discrete; expected a number that can change a little")
    return _of_rows(where, name, record, row, field, fields[field], space)


def of_record(where, record, space):
    """Every continuous and positive `Input` of a record, its rows together."""
    fields = [field for field, meta in _fields(space, record).items() if continuous(record, meta)]
    free = [field for field in fields if f"{record}_{field}" not in space.axes]
    found = [resolve(where, f"{record}.{field}", space) for field in free]
    found = [x for x in found if any(value > 0.0 for value in x.values.values())]
    if not found:
        raise InputError(f"{where}: {record} has no continuous number; expected one of {', '.join(space.rows)}")
    return found


def _alone(where, field, meta, space):
    if field in space.axes:
        raise InputError(f"{where}: {field} is an axis of the grid; expected a number that no axis varies")
    if not continuous("workload", meta):
        raise InputError(f"{where}: {field} is discrete; expected a number that can change a little")
    if field not in space.fixed:
        given = [f for f in space.study.workload if f in space.fixed]
        raise unknown(where, "number that this grid gives", field, given)
    return Input(field, "workload", field, meta, {"": float(space.fixed[field])})


def _of_rows(where, name, record, row, field, meta, space):
    axis = f"{record}_{field}"
    if axis in space.axes:
        raise InputError(f"{where}: {axis} is an axis of the grid; expected a number that no axis varies")
    if axis in space.fixed:
        if row:
            raise InputError(f"{where}: {name} is overridden by {axis} of the grid; expected {record}.{field}")
        return Input(name, record, field, meta, {"": float(space.fixed[axis])})
    rows = {row: space.rows[record][row]} if row else space.rows[record]
    return Input(name, record, field, meta, {r: float(n[field]) for r, n in rows.items() if field in n})


def _fields(space, record, row=""):
    """{field: metadata} of a record; of a curve, of the form of its row or of all rows in use."""
    if record != "curve":
        return fields_of(space.study.records[record])
    rows = [space.rows[record][row]] if row else space.rows[record].values()
    found = {}
    for each in rows:
        found |= fields_of(reader.record_class(space.study.records, record, each))
    return found


def chosen(space, at):
    """{axis: value} that `at` names; what the space does not have is an InputError."""
    if at is not None and not isinstance(at, dict):
        raise InputError(f"at: {at!r}; expected {{axis: value}}")
    numeric, named = parameters(space.study), {}
    for axis, value in (at or {}).items():
        if axis not in space.axes:
            raise unknown("at", "axis", axis, space.axes)
        values = space.axes[axis]
        if axis in numeric:
            si = number(f"at: {axis}", value, numeric[axis])
            near = [v for v in values if math.isclose(v, si, rel_tol=1e-12)]
        else:
            near = [v for v in values if v == value]
        if not near:
            raise unknown("at", f"value of axis {axis}", value, values)
        named[axis] = near[0]
    return named
