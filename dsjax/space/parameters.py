"""Numbers of a space by name: `<record>.<field>`, `<record>.<row>.<field>`; a field of the workload stands alone too.

The same names are those of `--set`, of what `solve` varies and `uncertainty` draws, and of the parameters of
`sensitivity`.
"""

import dataclasses
import math
from typing import NamedTuple

import numpy as np

from ..catalog import names, reader, sources
from ..errors import InputError, unknown
from ..formats import label
from ..options import entry
from ..specs.fields import fields_of
from ..specs.records import Deployment, Requests, Workload
from ..units import number
from .space import numeric_axes

# {record that a grid fills, and no row of a catalog: its fields}; the requests of a server are of the workload.
ALONE = {"workload": fields_of(Workload) | fields_of(Requests), "deployment": fields_of(Deployment)}
RECORDS = ("hardware", "nic", "engine", "curve", "precision", "workload")  # whose continuous numbers have an elasticity
# Records whose numbers without a unit are counts of parts, also where they are kept as floats.
_COUNTED = ("hardware", "nic", "model")


class Parameter(NamedTuple):
    """The name of a number of a space."""

    record: str
    field: str
    row: str = ""  # "": one number for all rows in use

    @property
    def axis(self):
        """Name of the axis or fixed value of a grid that overrides the number."""
        return self.field if self.record in ALONE else f"{self.record}_{self.field}"

    @property
    def of_all_rows(self):
        return self._replace(row="")

    def __str__(self):
        return ".".join(part for part in (self.record, self.row, self.field) if part)


@dataclasses.dataclass(frozen=True)
class Input:
    """A parameter that no axis varies, and the numbers that it has now."""

    parameter: Parameter
    meta: dict
    values: dict  # {row: present SI number}; the row of what a grid fixes is ""

    @property
    def name(self):
        return self.parameter.field if self.parameter.record in ALONE else str(self.parameter)

    @property
    def units(self):
        return self.meta["units"]

    def moved(self, space, value):
        """The space with this number at `value`, in every row of it."""
        return moved(space, self.parameter, lambda _: value)

    def by_row(self):
        """One `Input` for each row."""
        of_row = self.parameter._replace
        return [dataclasses.replace(self, parameter=of_row(row=row), values={row: x}) for row, x in self.values.items()]


def parse(text):
    """`Parameter` of a name; its field is "" where the name is that of a record, or of nothing."""
    record, _, rest = text.partition(".")
    row, _, field = rest.rpartition(".")
    if not rest:
        record, field = next(((alone, text) for alone, fields in ALONE.items() if text in fields), (text, ""))
    return Parameter(record, field, row)


def find(where, text, space, known):
    """(`Parameter`, metadata) of a name; what the space lacks is an InputError, with the nearest of `known`."""
    found = record, field, row = parse(text)
    if row and record in space.rows:
        of, is_model = space.rows[record], record == "model"
        row = names.canonical(where, f"{record} of this grid", row, of, owners=is_model)
        found = found._replace(row=row)
    fields = _fields(space, record, row)
    if field in fields:
        return found, fields[field]
    if row and fields:
        raise unknown(where, f"field of {record}", field, fields)
    raise unknown(where, "parameter", text, [str(Parameter(record, name)) for name in fields] or known)


def _fields(space, record, row=""):
    """{field: metadata} of a record, of all curves in use or of one; {} of a record that has no such row."""
    if record in ALONE:
        fields, read = {} if row else ALONE[record], (*space.study.workload, *space.study.requests)
        return {name: meta for name, meta in fields.items() if record == "deployment" or name in read}
    found = {}
    for name, numbers in space.rows.get(record, {}).items():
        if row in ("", name):
            found |= fields_of(space.study.row_class(record, numbers))
    return found


def _kind(record):
    """Kind of a record, that of a pool without the pool's name."""
    kind = record.partition("_")[2]
    return kind if kind in RECORDS else record


def continuous(record, meta):
    """Whether a field can take any real number of its domain, and not whole numbers only."""
    counted = _kind(record) in _COUNTED and meta["units"] == "1" and meta["high"] is None
    return not meta["integer"] and not counted


def known(space, records=None):
    """{`Parameter`: metadata} of every continuous number of the records of a space, of all rows together."""
    records = RECORDS if records is None and not space.study.pools else records
    records = [x for x in (*space.study.kinds, "workload") if _kind(x) in RECORDS] if records is None else records
    fields = ((record, field, meta) for record in records for field, meta in _fields(space, record).items())
    given = space.axes.keys() | space.fixed.keys()
    return {
        Parameter(record, field): meta
        for record, field, meta in fields
        if continuous(record, meta) and (record not in ALONE or field in given)  # else derived, and no number
    }


def resolve(where, text, space):
    """The `Input` called `text`; an unknown, a discrete, or an overridden one is an InputError at `where`."""
    if not isinstance(text, str):
        raise InputError(f"{where}: {text!r}; expected the name of a parameter, like nic.scale_out_bytes_per_s")
    given = [field for field in (*space.study.workload, *space.study.requests) if field in space.fixed]
    found, meta = find(where, text, space, [*map(str, known(space, space.rows)), *given])
    if found.axis in space.axes:
        first = label(space.axes[found.axis][0], meta["units"])
        raise InputError(
            f"{where}: {found.axis} is an axis of the grid; expected a number that no axis varies: "
            f"{entry('fixed', found.axis, first)}, and {where} moves it"
        )
    _check(where, text, found, space, continuous(found.record, meta))
    values = values_of(space, found)
    if not values and found.record in ALONE:
        raise unknown(where, "number that this grid gives", found.field, given)
    return Input(found, meta, values)


def of_record(where, record, space):
    """Every continuous and positive `Input` of a record, its rows together."""
    free = [found for found in known(space, (record,)) if found.axis not in space.axes]
    found = [resolve(where, str(parameter), space) for parameter in free]
    found = [x for x in found if any(value > 0.0 for value in x.values.values())]
    if not found:
        raise InputError(f"{where}: {record} has no continuous number; expected one of {', '.join(space.rows)}")
    return found


def named(space, wrt=None):
    """(`Parameter`, ...) that `wrt` names, by itself, by its record, as one of "all"; by default rates and times."""
    numbers = known(space)
    if wrt is None:
        return tuple(filter(_by_default, numbers))
    texts = wrt.split(",") if isinstance(wrt, str) else wrt
    if not hasattr(texts, "__iter__") or not all(isinstance(text, str) for text in texts) or not list(texts):
        raise InputError(f"wrt: {wrt!r}; expected names of parameters, of records, or 'all'")
    groups = {}
    for parameter in numbers:
        groups.setdefault(parameter.record, []).append(parameter)
    groups["all"] = list(numbers)
    found = {}
    for text in map(str.strip, texts):
        if text not in groups:
            parameter, _ = find("wrt", text, space, [*map(str, numbers), *groups])
            _check("wrt", text, parameter, space, parameter.of_all_rows in numbers)
            groups[text] = [parameter]
        found |= dict.fromkeys(groups[text])
    return tuple(found)


def _check(where, text, parameter, space, is_continuous):
    """Refuse a discrete number, and one of a row that the grid overrides."""
    if not is_continuous:
        raise InputError(
            f"{where}: {text} is discrete: a count or a choice; expected a number that can change a little"
        )
    if parameter.row and parameter.axis in (*space.axes, *space.fixed):
        whole = parameter.of_all_rows
        raise InputError(f"{where}: {text} is overridden by {parameter.axis} of the grid; expected {whole}")


def _by_default(parameter):
    kind = _kind(parameter.record)
    if kind == "curve":
        return parameter.field.endswith("_s")
    return kind in ("hardware", "nic") and parameter.field.endswith(("_s", "_utilisation"))


def values_of(space, parameter):
    """{row: present number} of a parameter at what is fixed: "" where a grid fixes it, else the rows that have it."""
    if parameter.axis in space.fixed:
        return {"": float(space.fixed[parameter.axis])}
    rows = space.rows.get(parameter.record, {}).items()
    return {row: float(of[parameter.field]) for row, of in rows if _of_row(parameter, row, of)}


def _of_row(parameter, row, numbers):
    return parameter.row in ("", row) and parameter.field in numbers


def moved(space, parameter, change):
    """The space with `change(number)` for a parameter: on its axis, where it is fixed, or in its row or rows."""
    axis, record = parameter.axis, parameter.record
    if axis in space.axes:
        return dataclasses.replace(space, axes=space.axes | {axis: tuple(change(x) for x in space.axes[axis])})
    if axis in space.fixed:
        return space.with_fixed(**{axis: change(space.fixed[axis])})
    rows = {
        row: of | {parameter.field: change(of[parameter.field])} if _of_row(parameter, row, of) else of
        for row, of in space.rows.get(record, {}).items()
    }
    return dataclasses.replace(space, rows=space.rows | {record: rows}) if rows else space


def multiplied(space, parameter, factor):
    """The space with a parameter multiplied by `factor`, as `moved` does it."""
    return moved(space, parameter, lambda x: factor * x)


def replaced(space, settings):
    """The space with numbers of its rows as the user sets them: {name: number, or text with a unit}."""
    rows = {record: dict(of) for record, of in space.rows.items()}
    for text, raw in settings.items():
        where, (record, field, row) = entry("settings", text), parse(str(text))
        if record not in rows or not field:
            raise unknown(where, "parameter", text, [f"{record}.<row>.<field>" for record in rows])
        for given in [row] if row else rows[record]:
            (_, _, name), _ = find(where, str(Parameter(record, field, given)), space, ())
            value = reader.value(where, record, field, raw, _fields(space, record, name))
            rows[record][name] = sources.with_number(rows[record][name], field, value, entry("settings", text, raw))
    return dataclasses.replace(space, rows=rows)


def scaled(point, parameters, factors):
    """{number of a point: the same times the factors of the parameters that name it}; a curve may lack a knot.

    A point does not know its rows: what names one is multiplied in all of them (see `in_use`).
    """
    found: dict = {}
    for (record, field, _), factor in zip(parameters, factors, strict=True):
        number = getattr(getattr(point, record), field, None)
        if number is not None:
            found[number] = found.get(number, number) * factor
    return found


def in_use(space, parameter):
    """(dims, bools): whether a parameter is of the rows that are in use at the points of a space."""
    if not parameter.row:
        return (), np.array(True)
    dims, rows = _rows_at(space, parameter.record)
    return dims, np.asarray(rows == parameter.row)


def _rows_at(space, record):
    """(dims, names of a record's rows) over the axes of a space that choose them."""
    labels = np.array(space.axes.get(record, space.fixed.get(record)), object)
    dims = (record,) if record in space.axes else ()
    own = np.reshape([label in space.rows[record] for label in labels.flat], labels.shape)
    if own.all():
        return dims, labels
    hardware = np.array(space.axes.get("hardware", space.fixed.get("hardware")), object)  # a curve by hardware
    engines = np.array(space.axes.get("engine", space.fixed.get("engine")), object)
    curves = [space.curve_of(chip, engine) for chip in hardware.flat for engine in engines.flat]
    curves = np.reshape(np.array(curves, object), hardware.shape + engines.shape)
    along = (("hardware",) if hardware.ndim else ()) + (("engine",) if engines.ndim else ())
    labels, own = (x.reshape(x.shape + (1,) * len(along)) for x in (labels, own))
    return dims + along, np.where(own, labels, curves)


def chosen(space, at):
    """{axis: value} that `at` names; what the space does not have is an InputError."""
    if at is not None and not isinstance(at, dict):
        raise InputError(f"at: {at!r}; expected {{axis: value}}")
    numeric, found = numeric_axes(space.study), {}
    for axis, value in (at or {}).items():
        if axis in space.fixed and label(value) == label(space.fixed[axis]):
            continue
        if axis in space.fixed:
            raise InputError(
                f"at: {axis}: is fixed at {label(space.fixed[axis])}; expected one of {', '.join(space.axes)}"
            )
        if axis not in space.axes:
            raise unknown("at", "axis", axis, space.axes)
        values = space.axes[axis]
        if axis in numeric:
            si = number(f"at: {axis}", value, numeric[axis])
            near = [v for v in values if math.isclose(v, si, rel_tol=1e-12)]
        else:
            of = {v: space.rows.get(axis, {}).get(v) for v in values}
            near = [names.canonical("at", f"value of axis {axis}", value, of, owners=axis == "model")]
        if not near:
            raise unknown("at", f"value of axis {axis}", value, values)
        found[axis] = near[0]
    return found
