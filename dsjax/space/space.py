"""`Space`: a resolved design space, and the names of what can vary in it."""

import dataclasses
import json
import math

from .. import studies
from ..errors import InputError
from ..formulas import efficiency
from ..serving import definition
from ..specs import fields, records
from ..specs.variables import LACKING, MEASURES, NEEDS
from . import ranges

# {phase: what is batched, one of these}
LOADS = {"decode": ("concurrency", "batch"), "prefill": ("prompts",)}
LOADS |= dict.fromkeys(("serve", "disaggregated"), ("concurrency", "requests_per_s"))


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
    chosen: dict = dataclasses.field(default_factory=dict)  # {axis: why it has its value, where nobody gave one}
    restored: bool = dataclasses.field(default=False, compare=False)  # from results: of names nobody here gave

    @property
    def sizes(self) -> dict[str, int]:
        """{axis: length}."""
        return {name: len(values) for name, values in self.axes.items()}

    @property
    def points(self) -> int:
        """Number of points."""
        return math.prod(self.sizes.values())

    def labels(self, name: str) -> tuple:
        """The values of an axis, or the one that is fixed instead, as a tuple."""
        return self.axes.get(name, (self.fixed.get(name),))

    @property
    def phases(self) -> tuple:
        """The phases of the space; a study without a choice of them decodes."""
        return self.axes.get("phase", (self.fixed.get("phase", "decode"),))

    @property
    def load(self) -> str:
        """Name of the batched number of a space of one phase: `batch` or `prompts`."""
        return load_of(self.axes | self.fixed)

    @property
    def pools(self) -> dict:
        """{name of a pool: its space of the steps of the core model}, names without the pool's; {} of one pool."""
        return {name: self._pool(f"{name}_") for name in self.study.pools}

    def _pool(self, prefix):
        core = studies.get("core")
        own = {*core.kinds, *core.policies, *numeric_axes(core)} - {"context", "batch", "prompts", "concurrency"}
        shared = {name for name in own if name == "model" or name.startswith("model_")} | {*core.workload}

        def stripped(named):
            of = {name: name if name in shared else name.removeprefix(prefix) for name in named}
            return {
                of[name]: x
                for name, x in named.items()
                if of[name] in own and (of[name] in shared) != (of[name] != name)
            }

        rows = {kind: self.rows[name] for name, kind in self.study.kinds.items() if name in (prefix + kind, "model")}
        axes, fixed = stripped(self.axes), stripped(self.fixed) | {"phase": "decode"}
        return dataclasses.replace(self, study=core, axes=axes, fixed=fixed, rows=rows, bounds={}, by=(), defined=())

    @property
    def unknown_variables(self) -> list[str]:
        """Variables that need a number which is 0, unknown, at every point (`variables.NEEDS`)."""
        if self.study.pools:
            return sorted({name for pool in self.pools.values() for name in pool.unknown_variables})
        found = []
        for variable, (record, field) in NEEDS.items():
            name = f"{record}_{field}"
            given = name in self.axes or name in self.fixed
            if not any(self.labels(name) if given else (row.get(field, 0.0) for row in self.rows[record].values())):
                found.append(variable)
        return found

    @property
    def known_variables(self) -> tuple[str, ...]:
        """Variables that every phase of the space defines and no unknown number makes NaN at every point."""
        lacking = self.unknown_variables + [name for phase in self.phases for name in LACKING[phase]]
        return tuple(name for name in MEASURES if name not in lacking)

    def curve_of(self, hardware: str, engine: str) -> str:
        """Name of the curve of a chip under an engine: the engine's for the family of the chip, else the chip's."""
        family = self.rows["hardware"][hardware].get("curve")
        return self.rows.get("engine", {}).get(engine, {}).get("curves", {}).get(family, family)

    def rows_of_curve(self, label: str) -> list[dict[str, dict]]:
        """[{label of what varies: row}]: one row of a curve of its own, else those of each hardware, by engine."""
        rows = self.rows["curve"]
        if label in rows:
            return [{label: rows[label]}]
        chips = self.labels("hardware")
        return [{chip: rows[self.curve_of(chip, engine)] for chip in chips} for engine in self.labels("engine")]

    def with_rows_in_use(self):
        """The space without the rows that its axes, or what is fixed, do not name.

        Of a curve by hardware, for which there may be a row of that form or none, those that each hardware names.
        """
        if self.study.pools:
            pools = {name: pool.with_rows_in_use().rows for name, pool in self.pools.items()}
            rows = {f"{name}_{kind}": own for name, of in pools.items() for kind, own in of.items() if kind != "model"}
            others = [name for name in self.rows if name not in rows]
            rows |= {name: {label: self.rows[name][label] for label in self.labels(name)} for name in others}
            return dataclasses.replace(self, rows={name: rows[name] for name in self.rows})
        used = {record: self.labels(record) for record in self.rows}
        if "curve" in used:
            engines = used.get("engine", (None,))
            by_hardware = dict.fromkeys(self.curve_of(chip, name) for chip in used["hardware"] for name in engines)
            curves = {}
            for name in used["curve"]:
                row = self.rows["curve"].get(name)
                curves |= by_hardware if row is None or row["form"] == "by-hardware" else {name: None}
            used["curve"] = tuple(curves)
        rows = {record: {name: self.rows[record][name] for name in names} for record, names in used.items()}
        return dataclasses.replace(self, rows=rows)

    def with_axes(self, axes, fixed=()):
        """The space with `axes` {axis: values} and `fixed` {axis: value}, as a grid with them would make it."""
        groups = group_names(self.study, axes)  # what is fixed makes one group
        by = tuple(key for key in self.by if key in groups)
        left = dataclasses.replace(self, axes=axes, fixed={**dict(fixed), **self.fixed}, by=by).with_rows_in_use()
        return dataclasses.replace(left, defined=left.known_variables)

    def only(self, point):
        """The space with every axis fixed at `point` {axis: value}."""
        return self.with_axes({}, {axis: point[axis] for axis in self.axes})

    def with_fixed(self, **numbers):
        """The space with these `numbers` fixed."""
        return dataclasses.replace(self, fixed=self.fixed | numbers)

    def to_json(self) -> str:
        """The resolved space as JSON text; `restoring.space` is its inverse."""
        kept = {key: x for key, x in vars(self).items() if key != "restored"}
        return json.dumps(kept | {"study": self.study.name}, default=ranges.Range.to_json)


def names_of(by, where="by", expected="a list of names"):
    """Names of groups: a list of them, or a text with commas between them."""
    by = [name.strip() for name in by.split(",") if name.strip()] if isinstance(by, str) else by
    if not hasattr(by, "__iter__") or isinstance(by, dict):
        raise InputError(f"{where}: {by!r}; expected {expected}")
    return [*by]


def needed(study, given, phases):
    """Numbers that must be given: `context` or `isl` and `osl`, `ep` or `chips`, the load of the phases in use."""
    unused = {load for phase, loads in LOADS.items() if phase not in phases for load in loads}
    unused |= {load for loads in LOADS.values() if given & set(loads) for load in loads} - given
    lengths = {"context"} if "isl" in given else {"isl", "osl"}
    lengths = set() if study.requests else lengths  # without a default, and always read
    derived = set()
    for pool in [f"{name}_" for name in study.pools] or [""]:
        derived |= {f"{pool}shared_tp", f"{pool}pp"}
        ep, chips = f"{pool}ep", f"{pool}chips"
        derived |= {chips} if ep in given else {ep} if chips in given else set()
    fields = (*study.workload, *study.deployment, *study.requests)
    return [name for name in fields if name not in unused | derived | lengths]


def numeric_axes(study):
    """{axis name: metadata} of every numeric axis a study knows."""
    known = fields.fields_of(records.Workload) | fields.fields_of(records.Deployment)
    known |= fields.fields_of(records.Requests)
    known |= {
        f"{pool}_{name}": meta for pool in study.pools for name, meta in fields.fields_of(records.Deployment).items()
    }
    numeric = {name: known[name] for name in (*study.workload, *study.deployment, *study.requests)}
    for record, cls in study.records.items():
        numeric |= {f"{record}_{field}": meta for field, meta in fields.fields_of(cls).items()}
    for curve in (name for name, kind in study.kinds.items() if kind == "curve"):
        for form in efficiency.FORMS.values():
            numeric |= {f"{curve}_{field}": meta for field, meta in fields.fields_of(form.record).items()}
    return numeric


def auxiliary(record, field):
    """Name of the coordinate that carries a named row's number."""
    return field if record == "precision" else f"{record}_{field}"


def group_names(study, axes):
    """Names that points may be grouped by: the axes and the numbers of their rows."""
    names = list(axes)
    for record, cls in study.records.items():
        if record in axes:
            names += [auxiliary(record, field) for field in fields.fields_of(cls)]
    return names


def load_of(given):
    """Name of the batched number, `batch`, `concurrency` or `prompts`, at a point, or in a space, {name: value}."""
    loads = LOADS[given.get("phase", "decode")]
    return next((name for name in loads if name in given), loads[-1])
