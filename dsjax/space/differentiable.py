"""What can be differentiated: continuous numbers of the records by name, and variables made of more than counts."""

import dataclasses
import math

import numpy as np

from ..catalog import reader
from ..errors import InputError, unknown
from ..specs import fields
from ..specs.records import Deployment, Model, Precision, Workload
from ..specs.variables import MEASURES, NEEDS
from . import parameters as inputs

COUNTS = ("chips", "dp", "ep", "batch_total")  # made of whole numbers alone
RECORDS = ("hardware", "nic", "curve", "precision", "workload")


def parameters(space, wrt=None):
    """[(record, field)] of the parameters that `wrt` names (see `sensitivity`); of one row, "<row>.<field>"."""
    known = known_parameters(space)
    if wrt is None:
        return tuple(name for name in known if _by_default(*name))
    wanted = wrt.split(",") if isinstance(wrt, str) else wrt
    if not hasattr(wanted, "__iter__") or not all(isinstance(name, str) for name in wanted) or not list(wanted):
        raise InputError(f"wrt: {wrt!r}; expected names of parameters, of records, or 'all'")
    found = {}
    for name in wanted:
        found |= dict.fromkeys(_named(space, known, name.strip()))
    return tuple(found)


def known_parameters(space):
    """{(record, field): metadata} of every continuous parameter that the study of a space reads."""
    known = {}
    for record in RECORDS:
        known |= {(record, k): meta for k, meta in _fields(space, record).items() if inputs.continuous(record, meta)}
    return known


def _fields(space, record):
    if record == "curve":
        classes = [reader.record_class(space.study.records, record, row) for row in space.rows.get(record, {}).values()]
        return {k: meta for cls in classes for k, meta in fields.fields_of(cls).items()}
    if record == "workload":
        return {k: meta for k, meta in fields.fields_of(Workload).items() if k in space.study.workload}
    return fields.fields_of(space.study.records[record])


def _by_default(record, field):
    if record == "curve":
        return field.endswith("_s")
    return record in ("hardware", "nic") and field.endswith(("_s", "_utilisation"))


def _named(space, known, name):
    if name == "all":
        return list(known)
    if name in RECORDS and name in {record for record, _ in known}:
        return [key for key in known if key[0] == name]
    record, _, field = name.partition(".")
    if not field:  # fields of the workload stand alone
        record, field = "workload", name
    if (record, field) in known:
        return [(record, field)]
    if row_of(field) and record in space.rows and record in RECORDS:
        return [_of_row(space, known, name)]
    records = {"deployment": Deployment, "model": Model, "precision": Precision}
    discrete = {f"{r}.{k}" for r, cls in records.items() for k in fields.fields_of(cls)}
    discrete |= {f"{r}.{k}" for r in ("hardware", "nic") for k in _fields(space, r)} | set(fields.fields_of(Deployment))
    if name in discrete - {f"{r}.{k}" for r, k in known}:
        raise InputError(
            f"wrt: {name} is discrete: a count or a choice; expected a parameter that changes continuously"
        )
    everything = [*(f"{r}.{k}" for r, k in known), *dict.fromkeys(r for r, _ in known), "all"]
    raise unknown("wrt", "parameter", name, everything)


def _of_row(space, known, name):
    """(record, "<row>.<field>") of a name with a row; a row or a number that the space does not read is an error."""
    record, _, rest = name.partition(".")
    row, _, field = rest.rpartition(".")
    if row not in space.rows[record]:
        raise unknown("wrt", f"{record} of this grid", row, space.rows[record])
    _named(space, known, f"{record}.{field}")  # raises where it has no such parameter
    if f"{record}_{field}" in space.axes or f"{record}_{field}" in space.fixed:
        given = f"{record}_{field}"
        raise InputError(f"wrt: {name} is overridden by {given} of the grid; expected {record}.{field}")
    return record, rest


def row_of(field):
    """Row that a parameter's field names; "" where it is one number for all rows."""
    return field.rpartition(".")[0]


def field_of(field):
    """A parameter's field without its row."""
    return field.rpartition(".")[2]


def in_use(space, record, field):
    """(dims, bools): whether a parameter is of the rows that are in use at the points of a space."""
    row = row_of(field)
    if not row:
        return (), np.array(True)
    dims, rows = _rows_at(space, record)
    return dims, np.asarray(rows == row)


def _rows_at(space, record):
    """(dims, names of a record's rows) over the axes of a space that choose them."""
    labels = np.array(space.axes.get(record, space.fixed.get(record)), object)
    dims = (record,) if record in space.axes else ()
    own = np.reshape([label in space.rows[record] for label in labels.flat], labels.shape)
    if own.all():
        return dims, labels
    hardware = np.array(space.axes.get("hardware", space.fixed.get("hardware")), object)  # a curve by hardware
    curves = np.reshape([space.rows["hardware"][name]["curve"] for name in hardware.flat], hardware.shape)
    along = ("hardware",) if hardware.ndim else ()
    if along:
        labels, own = labels[..., None], own[..., None]
    return dims + along, np.where(own, labels, curves.astype(object))


def check_output(space, of):
    """Refuse a variable that has no derivative, or that no phase of the space defines."""
    differentiable = [name for name in MEASURES if name not in COUNTS]
    if of in (*COUNTS, "bottleneck", "feasible"):
        raise InputError(f"of: {of} is made of whole numbers; expected one of {', '.join(differentiable)}")
    if of not in differentiable:
        raise unknown("of", "variable", of, differentiable)
    phases = space.axes.get("phase", (space.fixed.get("phase", "decode"),))
    lacking = {"decode": {"ttft"}, "prefill": {"tpot", "tps_per_user"}}
    if all(of in lacking[phase] for phase in phases):
        raise InputError(f"of: {of} is not defined in {phases[0]}; expected one of {', '.join(space.defined)}")
    if of in NEEDS and of not in space.defined:
        raise InputError(f"of: {of} needs {'.'.join(NEEDS[of])}, which is unknown here; set it")


def scaled(point, names, factors):
    """The point with each parameter multiplied by its factor; a curve without the knot stays as it is.

    A point does not know its rows: what names one is multiplied in all of them (see `in_use`).
    """
    for (record, field), factor in zip(names, factors, strict=True):
        of, field = getattr(point, record), field_of(field)
        if hasattr(of, field):
            changed = dataclasses.replace(of, **{field: getattr(of, field) * factor})
            point = dataclasses.replace(point, **{record: changed})
    return point


def moved(space, record, field, factor):
    """The space with a parameter multiplied, in its row, or in every row and value of an axis.

    The compiled program stays the same.
    """
    only, field = row_of(field), field_of(field)
    name = field if record == "workload" else f"{record}_{field}"
    if name in space.axes:
        return dataclasses.replace(space, axes=space.axes | {name: tuple(factor * x for x in space.axes[name])})
    if name in space.fixed:
        return dataclasses.replace(space, fixed=space.fixed | {name: factor * space.fixed[name]})
    if record not in space.rows:
        return space  # not given, and not read
    rows = dict(space.rows[record])
    for label, row in rows.items():
        if field in row and only in ("", label):
            rows[label] = row | {field: factor * row[field]}
    return dataclasses.replace(space, rows=space.rows | {record: rows})


def value_of(space, record, field):
    """Present value of a parameter at the one point of a space; NaN for a knot, or a row, that is not in use."""
    row, field = row_of(field), field_of(field)
    name = field if record == "workload" else f"{record}_{field}"
    if name in space.fixed:
        return float(space.fixed[name])
    rows = space.rows.get(record, {})
    row = rows.get(row, {}) if row else next(iter(rows.values()), {})
    return float(row.get(field, 0.0 if record == "workload" else math.nan))
