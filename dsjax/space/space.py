"""A resolved design space, and the names of what can vary in it."""

import dataclasses
import json
import math

from .. import studies
from ..formulas import efficiency
from ..serving import definition
from ..specs import fields, records
from ..specs.variables import NEEDS
from . import ranges

# What the core model did before it could be asked: of a file older than the question.
BEFORE = {"dispatch_mode": "low-latency", "unhidden": 0.0, "redundant_experts": 0}


@dataclasses.dataclass(frozen=True)
class Space:
    """A resolved design space. Every number it needs is inside: it can be rebuilt from its JSON alone."""

    study: definition.Study
    title: str
    axes: dict  # {axis: tuple of labels or numbers, or a `ranges.Range`}, in the order of the dims
    fixed: dict  # {axis: label or number}, defaults of the study included
    rows: dict  # {record: {row: {field: number, "source": text}}} of the rows that are used
    bounds: dict  # {"min_<variable>" | "max_<variable>": number}; of max_ttft also ((up to this length, number), ...)
    objective: str
    sense: int  # 1 maximize, -1 minimize
    by: tuple
    defined: tuple  # variables that every phase of the space defines
    text: str  # the grid as given
    margin: float = 0.0  # by which `bounds` are tighter than the grid says (`slo_margin`)

    @property
    def sizes(self):
        """{axis: length}."""
        return {name: len(values) for name, values in self.axes.items()}

    @property
    def points(self):
        """Number of points."""
        return math.prod(self.sizes.values())

    def rows_of_curve(self, label):
        """{label of what varies: row}: one row of a curve of its own, else that of each hardware of the space."""
        rows = self.rows["curve"]
        if label in rows:
            return {label: rows[label]}
        hardware = self.axes.get("hardware", (self.fixed.get("hardware"),))
        return {name: rows[self.rows["hardware"][name]["curve"]] for name in hardware}

    def to_json(self):
        """The resolved space as JSON text; `from_json` is its inverse."""
        return json.dumps(vars(self) | {"study": self.study.name}, default=ranges.Range.to_json)

    @classmethod
    def from_json(cls, text):
        """The space a dataset's `dsjax_spec` describes."""
        data = json.loads(text)
        data["study"] = studies.get(data["study"])
        data["axes"] = {name: ranges.restored(values) for name, values in data["axes"].items()}
        for record, rows in data["rows"].items():  # a file older than an optional field lacks it
            for name, row in rows.items():
                of = efficiency.FORMS[row["form"]].record if record == "curve" else data["study"].records[record]
                rows[name] = fields.completed(fields.fields_of(of), row)
        if data["study"].name == "core":
            for name, value in BEFORE.items():
                if name not in data["axes"]:
                    data["fixed"].setdefault(name, value)
        return cls(**data | {"by": tuple(data["by"]), "defined": tuple(data["defined"])})


def parameters(study):
    """{axis name: metadata} of every numeric axis a study knows."""
    known = fields.fields_of(records.Workload) | fields.fields_of(records.Deployment)
    numeric = {name: known[name] for name in (*study.workload, *study.deployment)}
    for record, cls in study.records.items():
        numeric |= {f"{record}_{field}": meta for field, meta in fields.fields_of(cls).items()}
    for form in efficiency.FORMS.values() if study.curve else ():
        numeric |= {f"curve_{field}": meta for field, meta in fields.fields_of(form.record).items()}
    return numeric


def unknown_variables(axes, fixed, rows):
    """Variables that need a number which is 0, unknown, at every point of a space (`variables.NEEDS`)."""
    found = []
    for variable, (record, field) in NEEDS.items():
        name = f"{record}_{field}"
        values = axes.get(name, (fixed[name],) if name in fixed else [r.get(field, 0.0) for r in rows[record].values()])
        if not any(values):
            found.append(variable)
    return found


def used_rows(axes, fixed, catalog):
    """{record: names of its rows that the axes, or what is fixed, name}; of a curve by hardware, those that each
    hardware names. `catalog` {record: {row: fields}}."""
    used = {record: axes.get(record, (fixed.get(record),)) for record in catalog}
    if "curve" in used:
        own = [name for name in used["hardware"] if name in catalog["hardware"]]
        by_hardware = dict.fromkeys(catalog["hardware"][name].get("curve") for name in own)
        of = {}
        for name in used["curve"]:
            row = catalog["curve"].get(name)  # a space has no row of the name, where its rows are those of hardware
            of |= by_hardware if row is None or row["form"] == "by-hardware" else {name: None}
        used["curve"] = tuple(of)
    return used


def auxiliary(record, field):
    """Name of the coordinate that carries a named row's number."""
    return field if record == "precision" else f"{record}_{field}"


def group_names(study, axes):
    """What points may be grouped by: the axes and the numbers of their rows."""
    names = list(axes)
    for record, cls in study.records.items():
        if record in axes:
            names += [auxiliary(record, field) for field in fields.fields_of(cls)]
    return names


def with_rows_in_use(space):
    """A space without the rows that its axes, or what is fixed, no longer name."""
    used = used_rows(space.axes, space.fixed, space.rows)
    return dataclasses.replace(space, rows={r: {name: space.rows[r][name] for name in used[r]} for r in used})


def only(space, point):
    """The space of one point {axis: value}: every axis fixed."""
    point = {axis: point[axis] for axis in space.axes}
    return with_rows_in_use(dataclasses.replace(space, axes={}, fixed={**point, **space.fixed}, by=()))


def moved(space, **fixed):
    """The point of a space with other numbers: the compiled program stays the same."""
    return dataclasses.replace(space, fixed=space.fixed | fixed)


def load_of(fixed):
    """What is batched at a point."""
    return "prompts" if fixed.get("phase") == "prefill" else "batch"
