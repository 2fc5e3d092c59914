"""Template of a grid: one of dsjax's own, its keys with their meaning, and what it leaves to the defaults."""

from .. import studies
from ..schemas import grid as schemas
from ..space import choices, grid
from ..space.space import LOADS
from ..specs.variables import LACKING, MEASURES, VARIABLES
from .lines import head, joined, line

# {phase: grid of dsjax's own that the values are of}
GRIDS = {"decode": "default", "prefill": "prefill", "serve": "serve", "disaggregated": "disaggregated"}
_STUDIES = {"serve": "server", "disaggregated": "disaggregated"}


def text(of, use):
    """A grid of the phase `of` that can be evaluated as it is; `use`: the command that does."""
    data, _, _ = grid.read(GRIDS[of])
    study, core = studies.get(_STUDIES.get(of, "core")), studies.get("core")
    given = {
        *data["axes"],
        *data.get("fixed", {}),
        *(f"{pool}_{key}" for pool in choices.POOLS for key in data.get(pool, ())),
    }
    unused = {load for phase, loads in LOADS.items() if phase != of for load in loads} - {*LOADS[of]}
    left = {key: x for key, x in study.data["defaults"].items() if key not in given | unused | {"phase", "model"}}
    found = [line(key, data[key], schemas.SECTIONS[key]) for key in ("title", "model", "phase")]
    found += _section("axes", data["axes"], study, "in order of the dims: a list, or { start, stop, step } of numbers")
    for pool in choices.POOLS:
        found += _section(pool, data[pool], core, schemas.SECTIONS[pool]) if pool in data else []
    found += _section("fixed", data.get("fixed", {}), study, "one value for the whole grid; any of them can be an axis")
    found += ["# What is left out, with its default."] + [
        line(key, x, _meaning(study, key), off=True) for key, x in left.items()
    ]
    defined = [name for name in MEASURES if name not in LACKING[of]]
    found += ["", "[constraints]" + " " * 28 + f"# {schemas.SECTIONS['constraints']}"]
    found += [line(key, x, _limit(key)) for key, x in data.get("constraints", {}).items()]
    found += [line("slo_margin", 0.1, "share that limits of what users feel are tightened by", off=True)]
    found += ["# Variables:", *(f"#   {name}: {VARIABLES[name][1]}{_unit(VARIABLES[name][0])}" for name in defined)]
    found += ["", "[objective]"]
    found += [line(key, x, schemas.OBJECTIVE.get(key, "")) for key, x in data["objective"].items()]
    return joined(*head("grid", f"A design space: {use}"), "", *found)


def _section(name, data, study, said):
    return ["", f"[{name}]".ljust(41) + f"# {said}", *(line(key, x, _meaning(study, key)) for key, x in data.items())]


def _meaning(study, key):
    found = schemas.value(study, key)
    names = found.get("enum")
    return found.get("description", "") + (f": {', '.join(map(str, names))}" if names else "")


def _limit(key):
    unit, doc = VARIABLES[key.partition("_")[2]]
    return doc + _unit(unit)


def _unit(unit):
    return "" if unit == "1" else f" [{unit}]"
