"""Space -> operands: the arrays that a program takes, and the axis of each."""

import dataclasses

import numpy as np

from ..formulas import efficiency
from ..formulas.point import evaluate_point
from ..space import ranges
from ..specs import fields, trees
from ..specs.records import Deployment, Workload


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is evaluated, the numbers, lengths and dtype apart: the key of traces and programs."""

    function: object  # (study step, point, bounds, **policies) -> {name: scalar}
    step: object
    axes: tuple  # all axes, in the order of the dims
    structure: tuple  # of the operands, a tree
    leaf_axes: tuple  # axis of every leaf, or None
    policies: tuple  # ((axis or None, choices, choices not in the space), ...), a choice is ((argument, function), ...)


def unlifted(plan):
    """A plan without its axes."""
    policies = tuple((None, choices, others) for _, choices, others in plan.policies)
    return dataclasses.replace(plan, axes=(), leaf_axes=(None,) * len(plan.leaf_axes), policies=policies)


def operand_types(plan, dtype):
    """Types of the flat operands: integers stay integers."""
    n = len(plan.leaf_axes)
    records, _, engines, _ = trees.filled(plan.structure, range(n))
    integers = set(engines)
    for record in records.values():
        integers |= {getattr(record, name) for name, meta in fields.fields_of(type(record)).items() if meta["integer"]}
    return [np.dtype("int32" if i in integers else dtype) for i in range(n)]


def plan(space, function=evaluate_point):
    """(`Plan`, operands as float64 / int32 NumPy leaves) of a space."""
    records, axes_of = {}, {}
    for record, cls in space.study.records.items():
        records[record], axes_of[record] = _record(space, record, cls, space.rows[record])
    for record, cls in (("workload", Workload), ("deployment", Deployment)):
        records[record], axes_of[record] = _record(space, record, cls, {})
    knots, forms = [((), ())], [()]  # of a study without curves
    if space.study.curve:
        labels = space.axes.get("curve", (space.fixed.get("curve"),))
        rows = [space.rows_of_curve(label) for label in labels]
        own = [efficiency.FORMS[next(iter(of[0].values()))["form"]] for of in rows]
        along = ["" if label in space.rows["curve"] else "hardware" for label in labels]
        knots = [_by_engine(space, form.record, *of) for form, *of in zip(own, rows, along, strict=True)]
        forms = [(("curve", form),) for form in own]
    engines = np.arange(len(space.axes["engine"]), dtype=np.int32) if "engine" in space.axes else None
    bounds = trees.mapped(np.float64, space.bounds)
    operands = (records, tuple(record for record, _ in knots), () if engines is None else (engines,), bounds)
    tags = (
        axes_of,
        tuple(axes for _, axes in knots),
        () if engines is None else ("engine",),
        trees.mapped(lambda _: "", bounds),
    )
    leaf_axes = tuple(tag or None for tag in trees.leaves(tags))

    policies = []
    for axis, policy in space.study.policies.items():
        rows = {label: ((policy.argument, choice),) for label, choice in policy.choices.items()}
        chosen = space.axes.get(axis, (space.fixed.get(axis),))
        others = tuple(rows[label] for label in rows if label not in chosen and axis in space.axes)
        policies.append((axis if axis in space.axes else None, tuple(rows[label] for label in chosen), others))
    policies.append(("curve" if "curve" in space.axes else None, tuple(forms), ()))
    how = Plan(function, space.study.step, tuple(space.axes), trees.structure(operands), leaf_axes, tuple(policies))
    return how, trees.leaves(operands)


# Derived from others, or not meant, where they are not given: None says so.
DERIVED = ("ep", "chips", "isl", "osl", "shared_tp", "pp", "concurrency")


def _by_engine(space, cls, rows, along):
    """(knots, axes) of a curve: a record of each, or a list of them where the engine decides."""
    found = [_record(space, "curve", cls, of, along) for of in rows]
    return found[0] if len(found) == 1 else ([knots for knots, _ in found], [axes for _, axes in found])


def _record(space, record, cls, rows, along=None):
    """(record of arrays, record of axis names): a parameter's own axis or fixed value wins over the rows.

    `along`: the axis that the rows are those of, where it is not the record.
    """
    along = record if along is None else along
    values, axes = {}, {}
    for field, meta in fields.fields_of(cls).items():
        name = field if record in ("workload", "deployment") else f"{record}_{field}"
        if name in space.axes:
            raw, axis = space.axes[name], name
        elif name in space.fixed:
            raw, axis = space.fixed[name], ""
        elif rows:
            raw = [row[field] for row in rows.values()]
            raw, axis = (raw, along) if along in space.axes else (raw[0], "")
        elif field in DERIVED:
            values[field] = axes[field] = None
            continue
        else:
            raw, axis = 1, ""  # a field this study does not read
        if "kind" in meta and name not in space.axes and not np.any(raw):
            values[field] = axes[field] = None
            continue
        dtype = np.dtype(np.int32 if meta["integer"] else np.float64)
        values[field] = ranges.Operand(raw, dtype) if isinstance(raw, ranges.Range) else np.asarray(raw, dtype)
        axes[field] = axis
    return cls(**values), cls(**axes)


def positions(how):
    """{(record, field): position of its operand} of a plan of one curve."""
    records, curves, _, _ = trees.filled(how.structure, range(len(how.leaf_axes)))
    named = [*records.items(), *(("curve", record) for record in curves if dataclasses.is_dataclass(record))]
    found = {(name, x.name): getattr(record, x.name) for name, record in named for x in dataclasses.fields(record)}
    return {key: position for key, position in found.items() if position is not None}
