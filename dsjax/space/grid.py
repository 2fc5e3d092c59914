"""Grid files -> a `Space`: named axes over catalog rows, parameters and policies, all names and numbers checked."""

import collections
import json
import math
import os
import sys
from pathlib import Path

from .. import machine, studies
from ..catalog import reader
from ..errors import InputError, unknown
from ..specs.fields import fields_of
from ..specs.variables import MEASURES, VARIABLES
from ..units import number
from . import limits, ranges
from .space import Space, auxiliary, group_names, parameters, unknown_variables, used_rows

SECTIONS = ("title", "study", "model", "phase", "axes", "fixed", "constraints", "objective")
MOST_VALUES = 10_000_000  # of one axis that is held
MOST_SEARCHED = 2_000_000_000  # of one axis of a grid that is searched without being held
MOST_AXES = 32
LISTED = 100  # bytes of a value in a list


def folder():
    """The grids that come with dsjax: inside the installed package, or beside it in a checkout."""
    inside = Path(__file__).parents[1] / "grids"
    return inside if inside.is_dir() else inside.parent.parent / "grids"


def read(grid):
    """(dict, text, name) of a grid: a dict, the path of a file, or the name of one of dsjax's own."""
    if isinstance(grid, dict):
        return grid, json.dumps(grid, default=repr), "grid"
    if not isinstance(grid, str | os.PathLike):
        raise InputError(f"grid: {grid!r} is a {type(grid).__name__}; expected a name, a path or a dict")
    path = Path(grid)
    if path.suffix.lower() in (".nc", ".zarr"):
        raise InputError(f"{path}: a file of results; expected a grid: the name of one, or a path ending in .toml")
    known = sorted(p.stem for p in folder().glob("*.toml"))
    if str(grid) in known:
        path = folder() / f"{grid}.toml"
    elif not path.suffix and not os.path.exists(path):
        raise unknown("grid", "grid", str(grid), [*known, "a path ending in .toml"])
    data, text = reader.read_toml(path, with_text=True)
    return data, text, os.path.relpath(path) if path.is_absolute() else str(path)


def load(grid="default", *, axes=None, fixed=None, settings=None, catalogs=(), any_size=False):
    """`Space` of a grid (see `read`).

    `axes` {axis: values} replaces or adds axes, `fixed` {axis: value} fixes one instead, `settings`
    {"nic.CX7.<field>": number} changes catalog rows ("nic.<field>": all rows in use), `catalogs` are paths of the
    user's own catalog files. `any_size`: also a grid that does not fit in memory. Raises InputError naming file, key, value and what was expected.
    """
    for name, given in (("axes", axes), ("fixed", fixed), ("settings", settings)):
        if given is not None and not (isinstance(given, dict) and all(isinstance(key, str) for key in given)):
            raise InputError(f"{name}: {given!r}; expected a dict of names")
    fixed, settings = dict(fixed or {}), dict(settings or {})
    for key in [key for key in settings if key.partition(".")[0] in ("workload", "deployment")]:
        fixed[key.partition(".")[2]] = settings.pop(key)  # their fields stand alone
    data, text, file = read(grid)
    return _Reader(data, file, axes or {}, fixed, any_size).space(text, settings, catalogs)


class _Reader:
    """One grid while it is checked; `where(section, key)` names the place of a key in errors."""

    def __init__(self, data, file, axes, fixed, any_size=False):
        self.file, self.overridden, self.any_size = file, {}, any_size
        for key in data:
            if key not in SECTIONS:
                raise unknown(file, "key", key, SECTIONS)
        self.title = data.get("title", "")
        if not isinstance(self.title, str):
            raise InputError(f"{file}: title: {self.title!r}; expected a text")
        if "model" in fixed and isinstance(data.get("model"), str) and fixed["model"] != data["model"]:
            self.title = self.title.replace(data["model"], str(fixed["model"]))
        if data.get("study") == "core":
            raise unknown(f"{file}: study", "study", "core", studies.names())  # the core model is what no study is
        self.study = studies.get(data.get("study", "core"), f"{file}: study")
        self.numeric = parameters(self.study)
        # axes whose values are rows of a catalog
        self.named = [kind for kind in reader.KINDS if kind in self.study.records or self.study.curve]
        self.sections = {}
        for name in SECTIONS[4:]:
            section = data.get(name, {})
            if not isinstance(section, dict):
                raise InputError(f"{file}: {name}: {section!r}; expected a table [{name}]")
            self.sections[name] = dict(section)
        for name in ("model", "phase"):
            if name in data:
                self.sections["fixed"].setdefault(name, data[name])
        for given, target, other in ((axes, "axes", "fixed"), (fixed, "fixed", "axes")):
            for key, value in given.items():
                self.sections[target][key] = value
                self.sections[other].pop(key, None)
                self.overridden[target, key] = f"--{'axis' if target == 'axes' else 'fix'} {key}"
        self.choose_lengths({*axes, *fixed})

    def choose_lengths(self, overridden):
        """Either `context`, or `isl` and `osl`: what an option gives takes the place of what the file gives."""
        axes, fixed = (self.sections[name] for name in ("axes", "fixed"))
        given, lengths = axes.keys() | fixed.keys(), {"isl", "osl"}
        if overridden & lengths and "context" not in overridden:
            axes.pop("context", None), fixed.pop("context", None)
        elif "context" in overridden and not overridden & lengths:
            for name in lengths:
                axes.pop(name, None), fixed.pop(name, None)
        elif "context" in given and given & lengths:
            where = self.where("axes" if "context" in axes else "fixed", "context")
            raise InputError(f"{where}: beside {', '.join(sorted(given & lengths))}; expected one or the other")
        if "osl" in axes.keys() | fixed.keys() and "isl" not in axes.keys() | fixed.keys():
            raise InputError(f"{self.where('axes' if 'osl' in axes else 'fixed', 'osl')}: without isl; expected both")

    def where(self, section, key):
        return self.overridden.get((section, key), f"{self.file}: [{section}] {key}")

    def space(self, text, settings, catalogs):
        own = self.study.data
        self.catalog = reader.load(
            self.study.records, (self.study.tables, self.study.path.name), *reader.users(catalogs)
        )
        given = self.sections["axes"].get("model", ())
        given = (*given, self.sections["fixed"].get("model")) if isinstance(given, list | tuple) else ()
        reader.add_configs(self.catalog, given)
        if not self.sections["axes"]:
            raise InputError(f"{self.file}: [axes]: missing or empty; expected at least one axis")
        if len(self.sections["axes"]) > MOST_AXES:
            raise InputError(f"{self.file}: [axes]: {len(self.sections['axes'])} axes; expected at most {MOST_AXES}")
        self.check_points(self.sections["axes"])
        axes = {name: self.axis(name, values) for name, values in self.sections["axes"].items()}
        fixed = {name: self.value("fixed", name, value) for name, value in self.sections["fixed"].items()}
        if both := sorted(axes.keys() & fixed.keys()):
            raise InputError(f"{self.file}: [fixed] {both[0]}: also an axis; expected one of the two")
        for name, value in own["defaults"].items():
            if name not in axes:
                fixed.setdefault(name, value)
        for name in (*self.named, *self.study.policies, *self.needed(axes, fixed)):
            if name not in axes and name not in fixed:
                raise InputError(f"{self.file}: [axes] {name}: missing; expected an axis or a [fixed] value")
        named = {record: self.catalog[record] for record in self.named}
        self.check_curves(axes, fixed)
        used = used_rows(axes, fixed, named)
        _apply(self.catalog, self.study.records, settings, used)
        rows = {record: {row: named[record][row] for row in used[record]} for record in self.named}
        self.check_overrides(rows, axes | fixed)
        self.unknown = unknown_variables(axes, fixed, rows)
        objective, sense, by = self.objective(axes, fixed)
        return Space(
            study=self.study,
            title=self.title or self.study.title,
            axes=axes,
            fixed=fixed,
            rows=rows,
            bounds=limits.read(self.sections["constraints"], self.where, self.measures(axes | fixed), axes | fixed),
            objective=objective,
            sense=sense,
            by=by,
            defined=tuple(self.defined(axes, fixed)),
            text=text,
            margin=limits.margin(self.sections["constraints"], self.where),
        )

    def defined(self, axes, fixed):
        """Variables that every phase of the space defines and no unknown number makes NaN at every point."""
        phases = axes.get("phase", (fixed.get("phase", "decode"),))
        lacking = {"decode": {"ttft"}, "prefill": {"tpot", "tps_per_user"}}
        lacking = self.unknown + [name for phase in phases for name in lacking[phase]]
        return [name for name in MEASURES if name not in lacking]

    def needed(self, axes, fixed):
        """Fields that must be given: `context` or `isl` and `osl`, `ep` or `chips`, the load of the phases in use."""
        given = axes.keys() | fixed.keys()
        phases = axes.get("phase", (fixed.get("phase", "decode"),))
        unused = {load for load, phase in (("batch", "decode"), ("prompts", "prefill")) if phase not in phases}
        lengths = {"context"} if "isl" in given else {"isl", "osl"}
        derived = {"chips"} if "ep" in given else {"ep"} if "chips" in given else set()
        fields = (*self.study.workload, *self.study.deployment)
        return [name for name in fields if name not in unused | derived | lengths | {"shared_tp"}]

    def axis(self, name, values):
        where = self.where("axes", name)
        if isinstance(values, dict):
            return self.range(where, name, values)
        values = tuple(self.value("axes", name, value) for value in values)
        if len(set(values)) < len(values):
            twice = next(v for v, n in collections.Counter(values).items() if n > 1)
            raise InputError(f"{where}: {twice!r} is there twice; expected distinct values")
        return values

    def length(self, name, values):
        """Number of values of an axis as given, without making them."""
        where = self.where("axes", name)
        meta = self.kind(where, name)
        if isinstance(values, dict):
            if meta is None or set(values) != {"start", "stop", "step"}:
                raise InputError(f"{where}: {values!r}; expected a list of values or numbers {{ start, stop, step }}")
            return self.steps(where, **values) + 1
        if isinstance(values, str) or not hasattr(values, "__len__") or not hasattr(values, "__iter__"):
            raise InputError(f"{where}: {values!r}; expected a list of values or {{ start, stop, step }}")
        if len(values) == 0:
            raise InputError(f"{where}: empty; expected at least one value")
        return len(values)

    def steps(self, where, start, stop, step):
        for key, x in (("start", start), ("stop", stop), ("step", step)):
            if isinstance(x, bool) or not isinstance(x, int | float) or not abs(x) <= sys.float_info.max:
                raise InputError(f"{where}: {key} = {repr(x)[:40]}; expected a finite number")
        if step <= 0 or stop < start:
            raise InputError(f"{where}: start {start}, stop {stop}, step {step}; expected step > 0 and stop >= start")
        steps = float(stop - start) / step
        most = MOST_SEARCHED if self.any_size is True else MOST_VALUES
        if not steps < most:
            raise InputError(
                f"{where}: {steps:.3g} values do not fit in memory; expected a larger step, for at most {most:,}"
            )
        if abs(steps - round(steps)) > min(1e-2, 1e-9 * max(1.0, steps)):
            last = start + step * math.floor(steps)
            raise InputError(
                f"{where}: step {step} from {start} overshoots stop {stop}; expected stop {last} or {last + step}"
            )
        return round(steps)

    def range(self, where, name, spec):
        """Values of { start, stop, step }, stop included: valid where the first, the second and the last are."""
        start, stop, step = (spec[key] for key in ("start", "stop", "step"))
        n = self.steps(where, start, stop, step)
        for value in {start, start + step * min(n, 1), stop}:
            self.value("axes", name, value)
        meta = self.kind(where, name)
        if accepted := self.study.data["accepts"].get(name):
            return tuple(self.value("axes", name, start + step * i) for i in range(min(n + 1, len(accepted) + 1)))
        return ranges.of(start, stop if meta["integer"] else float(stop), step, n + 1, meta["integer"])

    def check_points(self, axes):
        """Refuse a grid of which not even one variable fits in the memory that is free, before its axes are made.

        `any_size`, where it is a number of bytes, is the room on a disk, which is as good.
        """
        lengths = {name: self.length(name, values) for name, values in axes.items()}
        points, free = math.prod(lengths.values()), machine.available_memory()
        for name, n in lengths.items():
            if not isinstance(axes[name], dict) and LISTED * n > free:
                raise InputError(
                    f"{self.where('axes', name)}: a list of {n:,} values takes {machine.gigabytes(LISTED * n)} and "
                    f"{machine.gigabytes(free)} of memory is free; expected {{ start, stop, step }}, or fewer values"
                )
        disk = self.any_size if self.any_size is not True else math.inf
        if 4 * points > max(free, disk):
            largest = max(lengths, key=lengths.get)
            raise InputError(
                f"{self.file}: [axes]: {points:,} points need more than {machine.gigabytes(4 * points)} and "
                f"{machine.gigabytes(free)} of memory{f' and {machine.gigabytes(disk)} of disk' if disk else ''} is free; "
                f"expected a smaller grid: axis {largest} has {lengths[largest]:,} values"
            )

    def kind(self, where, name):
        """Metadata of a numeric axis, None of an axis of labels."""
        if name in self.named or name in self.study.policies:
            return None
        if name not in self.numeric:
            raise unknown(where, "axis", name, [*self.named, *self.study.policies, *self.numeric])
        return self.numeric[name]

    def value(self, section, name, value):
        where = self.where(section, name)
        meta = self.kind(where, name)
        if meta is None:
            known = self.study.policies[name].choices if name in self.study.policies else self.catalog[name]
            if not isinstance(value, str) or value not in known:
                raise unknown(where, name, value, known)
            return value
        si = number(where, value, meta)
        accepted = self.study.data["accepts"].get(name)
        if accepted and si not in accepted:
            raise InputError(f"{where}: {value!r}; expected one of {accepted} (study {self.study.name})")
        return si

    def check_curves(self, axes, fixed):
        """A curve by hardware needs rows of one form, which the rows of the hardware name."""
        labels = axes.get("curve", (fixed.get("curve"),)) if "curve" in self.named else ()
        if any(self.catalog["curve"][name]["form"] == "by-hardware" for name in labels):
            for name in axes.get("hardware", (fixed.get("hardware"),)):
                curve, where = self.catalog["hardware"][name].get("curve"), f"hardware {name}: curve"
                if curve is None:
                    study = f"study {self.study.name}"
                    raise InputError(f"{where}: the hardware of {study} names none; expected a curve of its own knots")
                if curve not in self.catalog["curve"]:
                    raise unknown(where, "curve", curve, self.catalog["curve"])
                if (form := self.catalog["curve"][curve]["form"]) != "kernel":
                    raise InputError(f"{where}: {curve} has form {form}; expected one of form kernel")

    def check_overrides(self, rows, given):
        """A numeric axis over a curve's knot needs the knot in every curve that is used."""
        for name in given:
            if name.startswith("curve_"):
                for row, fields in rows["curve"].items():
                    if name.removeprefix("curve_") not in fields:
                        where = self.where("axes" if name in self.sections["axes"] else "fixed", name)
                        raise unknown(
                            where, f"knot of curve {row!r}", name, [f"curve_{k}" for k in reader.numbers(fields)]
                        )

    def measures(self, axes):
        """{name: units} a constraint may bound: variables, numeric axes, numbers of named rows."""
        numeric = {name: meta["units"] for name, meta in self.numeric.items() if name in axes}
        rows = {}
        for record, cls in self.study.records.items():
            rows |= {auxiliary(record, f): m["units"] for f, m in fields_of(cls).items()}
        return {name: VARIABLES[name][0] for name in MEASURES} | numeric | rows

    def objective(self, axes, fixed):
        section = self.sections["objective"]
        for key in section:
            if key not in ("maximize", "minimize", "by"):
                raise unknown(self.where("objective", key), "key", key, ("maximize", "minimize", "by"))
        if len(section.keys() & {"maximize", "minimize"}) > 1:
            raise InputError(f"{self.where('objective', 'minimize')}: beside maximize; expected one of the two")
        side = "minimize" if "minimize" in section else "maximize"
        name = section.get(side, "tps_per_chip")
        defined = self.defined(axes, fixed)
        if name not in defined:
            raise unknown(self.where("objective", side), "variable of this phase", name, defined)
        by = section.get("by", [])
        if not isinstance(by, list | tuple):
            raise InputError(f"{self.where('objective', 'by')}: {by!r}; expected a list of axes or of their numbers")
        known = group_names(self.study, axes | fixed)
        for key in by:
            if key not in known:
                raise unknown(self.where("objective", "by"), "group", key, known)
        groups = group_names(self.study, axes)  # what is fixed makes one group
        return name, (1 if side == "maximize" else -1), tuple(key for key in by if key in groups)


def _apply(rows, records, settings, used):
    """Change catalog rows in place: {"<record>.<row>.<field>" or "<record>.<field>", all rows in use: number}."""
    for key, raw in settings.items():
        where = f"--set {key}"
        record, _, rest = str(key).partition(".")
        row, _, field = rest.rpartition(".")
        if record not in rows or not rest:
            raise unknown(where, "parameter", key, [f"{r}.<row>.<field>" for r in rows])
        if row and row not in used[record]:
            raise unknown(where, f"{record} of this grid", row, [name for name in used[record] if name])
        for name in [row] if row else used[record]:
            fields = fields_of(reader.record_class(records, record, rows[record][name]))
            if field not in fields:
                raise unknown(where, f"field of {record}", field, fields)
            changed = {field: reader.value(where, record, field, raw, fields)}
            source = f"{rows[record][name]['source']}; {field} set by the user"
            rows[record][name] = rows[record][name] | changed | {"source": source}
