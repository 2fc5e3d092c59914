"""Grid files -> a `Space`: named axes over catalog rows, parameters and policies, all names and numbers checked."""

import dataclasses
import itertools
import json
import os
from collections.abc import Sequence
from pathlib import Path

from .. import studies, types
from ..arguments import typed
from ..catalog import checkpoints, reader
from ..errors import Faults, InputError, among, unknown
from ..options import entry
from ..specs.fields import fields_of
from ..specs.variables import LACKING, MEASURES, VARIABLES, undefined
from . import choices, limits, parameters
from .axes import AxisReader
from .space import LOADS, Space, auxiliary, group_names, names_of, needed, numeric_axes

SECTIONS = ("title", "study", "model", "phase", "axes", "fixed", "constraints", "objective")
OBJECTIVE = ("maximize", "minimize", "by")
ALTERNATIVES = {"batch": "concurrency", "ep": "chips", "context": "isl and osl"}  # given in place of another
RESULTS = {".nc": "NetCDF file", ".zarr": "Zarr store"}  # suffix: what holds results, and no grid


def kind_of_results(path):
    """Kind of results that the name of a path stands for (by its suffix); "" where it can be a grid."""
    return RESULTS.get(Path(path).suffix.lower(), "")


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
    if kind_of_results(path):
        raise InputError(f"{path}: a file of results; expected a grid: the name of one, or a path ending in .toml")
    known = sorted(p.stem for p in folder().glob("*.toml"))
    if str(grid) in known:
        path = folder() / f"{grid}.toml"
    elif not path.suffix and not os.path.exists(path):
        raise unknown("grid", "grid", str(grid), [*known, "a path ending in .toml"])
    data, text = reader.read_toml(path, with_text=True)
    return data, text, os.path.relpath(path) if path.is_absolute() else str(path)


@typed
def load(
    grid: types.Grid = "default",
    *,
    axes: types.Named | None = None,
    fixed: types.Named | None = None,
    settings: types.Named | None = None,
    limits: types.Named | None = None,
    catalogs: Sequence[types.Path] = (),
    any_size: bool | float = False,
) -> Space:
    """`Space` of a grid (see `read`).

    `axes` {axis: values} replaces or adds axes, `fixed` {axis: value} fixes one instead, `settings`
    {"nic.CX7.<field>": number} changes catalog rows ("nic.<field>": all rows in use), `limits` {"min_tps_per_user":
    number, "max_ttft": "2 s", "slo_margin": number} replaces or adds limits, None lifts one; `catalogs` are paths of
    the user's own catalog files. `any_size`: also a grid that does not fit in memory. Raises InputError naming file,
    key, value and what was expected.
    """
    if not isinstance(any_size, bool | int | float):
        raise InputError(f"any_size: {any_size!r}; expected True, False or bytes of a disk")
    fixed, settings = dict(fixed or {}), dict(settings or {})
    for key in [key for key in settings if key.partition(".")[0] in ("workload", "deployment")]:
        fixed[key.partition(".")[2]] = settings.pop(key)  # their fields stand alone
    data, text, file = read(grid)
    return _Reader(data, file, axes or {}, fixed, limits or {}, any_size).space(text, settings, catalogs)


class _Reader:
    """Reader of one grid; `where(section, key)` names the place of a key in errors."""

    def __init__(self, data, file, axes, fixed, bounds, any_size=False):
        self.file, self.overridden, self.any_size = file, {}, any_size
        self.faults = Faults(file)
        self.faults.among("key", data, (*SECTIONS, *choices.POOLS))
        self.title = data.get("title", "")
        if not isinstance(self.title, str):
            self.faults.errors.append(InputError(f"{file}: title: {self.title!r}; expected a text"))
            self.title = ""
        self.model = data.get("model") if "model" in {*axes, *fixed} else None  # which options replace, as in the title
        if data.get("study") in ("core", "server"):  # what no study is
            raise unknown(f"{file}: study", "study", data["study"], studies.names())
        self.study = studies.get(data.get("study", "core"), f"{file}: study")
        self.sections = {}
        for name in SECTIONS[4:]:
            section = data.get(name, {})
            if not isinstance(section, dict):
                self.faults.errors.append(InputError(f"{file}: {name}: {section!r}; expected a table [{name}]"))
                self.faults.tell()
            self.sections[name] = dict(section)
        for name in ("model", "phase"):
            if name in data:
                self.sections["fixed"].setdefault(name, data[name])
        own = self.sections["axes"].get("phase", [self.sections["fixed"].get("phase", "decode")])
        own = own if isinstance(own, list | tuple) else ()
        self.phases_of_file = [name for name in own if isinstance(name, str) and name in LACKING]
        self.study, tables, where = choices.study(file, data, self.study, self.sections, axes, fixed)
        self.overridden |= where
        for target, table in tables.items():
            self.sections[target] |= table
        self.sections["fixed"] = choices.of_pools(self.study, self.sections["fixed"])
        for given, target, other in ((axes, "axes", "fixed"), (fixed, "fixed", "axes")):
            for key, value in choices.of_pools(self.study, given).items():
                self.sections[target][key] = value
                self.sections[other].pop(key, None)
                self.overridden[target, key] = entry(target, key)
        for key, bound in bounds.items():
            self.sections["constraints"].pop(key, None)
            self.sections["constraints"] |= {} if bound is None else {key: bound}
            self.overridden["constraints", key] = entry("limits", key)
        choices.lengths(self, {*axes, *fixed})
        choices.load(self, {*axes, *fixed})

    def where(self, section, key):
        return self.overridden.get((section, key), f"{self.file}: [{section}] {key}")

    def titled(self, axes, fixed):
        """The title, with the models that options give in place of the file's."""
        if not isinstance(self.model, str):
            return self.title
        models = axes.get("model", (fixed.get("model"),))
        return self.title.replace(self.model, " and ".join(models) if len(models) <= 2 else f"{len(models)} models")

    def space(self, text, settings, catalogs):
        own = (self.study.tables, self.study.path.name)
        given = self.sections["axes"].get("model", ())
        given = (*given, self.sections["fixed"].get("model")) if isinstance(given, list | tuple) else ()
        records = self.study.extends.records if self.study.pools else self.study.records
        catalog = reader.load(records, own, *reader.users(catalogs), models=given)
        rows = {name: catalog[kind] for name, kind in self.study.kinds.items()}
        values = AxisReader(self.study, rows, self.file, self.where, self.any_size)
        axes, fixed = values.read(self.sections["axes"], self.sections["fixed"], self.faults)
        self.gather(rows, axes, fixed)
        chosen = self.checkpoints(axes, fixed, rows)
        fixed |= {name: value for name, (value, _) in chosen.items()}
        why = {name: text for name, (_, text) in chosen.items()}
        title, later = (
            self.titled(axes, fixed) or self.study.title,
            {"objective": "", "sense": 1, "by": (), "defined": ()},
        )
        given = {"axes": axes, "fixed": fixed, "chosen": why}
        space = Space(study=self.study, title=title, rows=rows, bounds={}, text=text, **given, **later)
        self.check_load(space)
        choices.check_fractions(space, self.where)
        self.check_curves(space)
        space = parameters.replaced(space.with_rows_in_use(), settings)
        self.check_overrides(space)
        space = dataclasses.replace(space, defined=space.known_variables)
        objective, sense, by = self.objective(space)
        bounds = self.bounds(axes | fixed)
        self.check_limits(space)
        margin = limits.margin(self.sections["constraints"], self.where)
        return dataclasses.replace(space, bounds=bounds, margin=margin, objective=objective, sense=sense, by=by)

    def gather(self, rows, axes, fixed):
        """Tell at once all that is wrong with the names and values of the grid: `axes` and `fixed` are those it reads.

        What is missing depends on the phases: it is not told beside a wrong one.
        """
        given = {*self.sections["axes"], *self.sections["fixed"], *fixed}
        with self.faults.caught():
            self.bounds(axes | fixed, given, self.faults)
        for key in self.sections["objective"]:
            if key not in OBJECTIVE:
                self.faults.errors.append(unknown(self.where("objective", key), "key", key, OBJECTIVE))
        names, wrong = [*rows, *self.study.policies], given - {*axes, *fixed}
        if "phase" not in wrong:
            names += needed(self.study, given, axes.get("phase", (fixed.get("phase", "decode"),)))
        chosen = {name for name, kind in self.study.kinds.items() if kind == "precision" and self.study.general}
        missing = [name for name in names if name not in given and name not in chosen]
        pools = [f"{pool}_" for pool in self.study.pools] or [""]
        for one, other in [(pool + one, pool + other) for one, other in ALTERNATIVES.items() for pool in pools]:
            if one in missing and other.split()[0] in numeric_axes(self.study):
                missing[missing.index(one)] = f"{one} (or {other})"
                missing = [name for name in missing if name != other]
        self.faults.lacks(missing, "an axis in [axes] or a value in [fixed]")
        self.faults.tell()

    def bounds(self, values, given=None, faults=None):
        """The limits of the grid (`limits.read`) on its variables and `given` names, those of its `values`."""
        known = self.measures(values if given is None else given)
        return limits.read(self.sections["constraints"], self.where, known, values, faults)

    def checkpoints(self, axes, fixed, rows):
        """{"precision": (row, why)} that the checkpoints of the models have, where none is given to the core model."""
        models = axes.get("model", (fixed.get("model"),))
        names = [name for name, kind in self.study.kinds.items() if kind == "precision"]
        names = [name for name in names if name not in axes and name not in fixed]
        if not self.study.general or not names:
            return {}
        found = {name: checkpoints.row_of(name, rows["model"][name], rows[names[0]]) for name in models}
        if len({row for row, _ in found.values()}) > 1:
            of: dict = {}
            for name, (row, _) in found.items():
                of.setdefault(row, []).append(name)
            rest = {row: f" and {len(names) - 1} more" if names[1:] else "" for row, names in of.items()}
            said = [f"{row} of {names[0]}{rest[row]}" for row, names in of.items()]
            raise InputError(
                f"{self.file}: [axes] precision: missing, and checkpoints differ: {', '.join(said)}; expected an axis"
            )
        row, why = next(iter(found.values()))[0], "; ".join(text for _, text in found.values())
        return dict.fromkeys(names, (row, why))

    def check_limits(self, space):
        """Refuse a limit on a variable that no phase defines: it would refuse nothing.

        A phase that an option chose among several of the file leaves the file's limits for the others as they are.
        """
        of_file = undefined(self.own_phases(space))
        for key in self.sections["constraints"]:
            name, by_option = key.partition("_")[2], ("constraints", key) in self.overridden
            lacking = undefined(space.phases) if by_option else of_file
            if name in lacking:
                known = among("variable", name, [name for name in MEASURES if name not in lacking])
                where = f"{self.where('constraints', key)}: {name} is not defined in {' or '.join(space.phases)}"
                raise InputError(f"{where}; expected a limit on {known}")

    def own_phases(self, space):
        """Phases of the file where an option chose among them, else those of the space."""
        return self.phases_of_file if set(space.phases) <= set(self.phases_of_file) else space.phases

    def check_load(self, space):
        """Refuse a load, given by an option, that no phase of the space, or of its file, reads."""
        read = [load for phase in self.own_phases(space) for load in LOADS.get(phase, ())]
        for section, name in self.overridden:
            if name not in read and any(name in loads for loads in LOADS.values()):
                phases, expected = " or ".join(space.phases), " or ".join(read)
                raise InputError(f"{self.where(section, name)}: {phases} does not read it; expected {expected}")

    def check_curves(self, space):
        """A curve by hardware needs rows of one form, which the rows of the hardware name."""
        for pool in space.pools.values():
            self.check_curves(pool)
        labels = space.labels("curve") if "curve" in space.rows else ()
        if any(space.rows["curve"][name]["form"] == "by-hardware" for name in labels):
            for name, engine in itertools.product(space.labels("hardware"), space.labels("engine")):
                curve, where = space.curve_of(name, engine), f"{self.file}: hardware {name}: curve"
                if curve is None:
                    study = f"study {self.study.name}"
                    raise InputError(f"{where}: the hardware of {study} names none; expected a curve of its own knots")
                if curve not in space.rows["curve"]:
                    raise unknown(where, "curve", curve, space.rows["curve"])
                if (form := space.rows["curve"][curve]["form"]) != "kernel":
                    raise InputError(f"{where}: {curve} has form {form}; expected one of form kernel")

    def check_overrides(self, space):
        """A numeric axis over a curve's knot needs the knot in every curve that is used."""
        curves = [name for name, kind in self.study.kinds.items() if kind == "curve"]
        for curve, name in itertools.product(curves, (*space.axes, *space.fixed)):
            if name.startswith(f"{curve}_"):
                for row, fields in space.rows[curve].items():
                    if name.removeprefix(f"{curve}_") not in fields:
                        where = self.where("axes" if name in self.sections["axes"] else "fixed", name)
                        known = [f"{curve}_{k}" for k in reader.numbers(fields)]
                        raise unknown(where, f"knot of curve {row!r}", name, known)

    def measures(self, given):
        """{name: units} a constraint may bound: variables, numeric axes, numbers of named rows."""
        numeric = {name: meta["units"] for name, meta in numeric_axes(self.study).items() if name in given}
        rows = {}
        for record, cls in self.study.records.items():
            rows |= {auxiliary(record, f): m["units"] for f, m in fields_of(cls).items()}
        return {name: VARIABLES[name][0] for name in MEASURES} | numeric | rows

    def objective(self, space):
        """(variable, sense, groups) of [objective]."""
        section = self.sections["objective"]
        for key in section:
            if key not in OBJECTIVE:
                raise unknown(self.where("objective", key), "key", key, OBJECTIVE)
        if len(section.keys() & {"maximize", "minimize"}) > 1:
            raise InputError(f"{self.where('objective', 'minimize')}: beside maximize; expected one of the two")
        side = "minimize" if "minimize" in section else "maximize"
        name = section.get(side, "tps_per_chip")
        if name not in space.defined:
            raise unknown(self.where("objective", side), "variable of this phase", name, space.defined)
        by = names_of(section.get("by", []), self.where("objective", "by"), "a list of axes or of their numbers")
        known = group_names(self.study, space.axes | space.fixed)
        for key in by:
            if key not in known:
                raise unknown(self.where("objective", "by"), "group", key, known)
        groups = group_names(self.study, space.axes)  # what is fixed makes one group
        return name, (1 if side == "maximize" else -1), tuple(key for key in by if key in groups)
