"""Schema of a grid: axes, fixed values, constraints, objective; of the core model, of servers, of each study."""

import math

from .. import studies
from ..catalog import reader
from ..space import choices, limits
from ..space.axes import EVERY
from ..space.space import auxiliary, numeric_axes
from ..specs.fields import fields_of
from ..specs.variables import MEASURES, VARIABLES
from ..units import domain
from . import values

SECTIONS = {
    "title": "what tables are headed with",
    "study": "a published study instead of the core model",
    "model": "row of the models, OWNER/NAME, or path of a Hugging Face config.json",
    "phase": "what a step does, or a server",
    "axes": "every key is a dimension, in this order",
    "fixed": "one value for the whole grid",
    "constraints": "limits: min_ or max_ and a variable",
    "objective": "what the best point is the best of, in each group",
    "prefill": "axes and fixed values of the pool that computes prompts",
    "decode": "axes and fixed values of the pool that decodes",
}
_STEPS = ("start", "stop", "step")
LABELS = {"anyOf": [{"const": EVERY}, values.array({"type": "string"})]}
NUMBERS = values.table({key: {"type": "number"} for key in _STEPS}, _STEPS)  # a list, or { start, stop, step }
NUMBERS |= {"type": ["array", "object"], "minItems": 1, "uniqueItems": True}


def schema():
    """The schema of a grid file."""
    core = [studies.get(name) for name in ("core", *studies.SERVERS)]
    published = {name: studies.get(name) for name in studies.names()}
    phases = [phase for study in core for phase in study.policies["phase"].choices]
    parts = {
        "title": {"type": "string"},
        "study": values.choice(published),
        "model": values.name(reader.load()["model"]),
        "phase": values.choice(phases),
        **_known(core),
        "objective": _objective(),
    }
    parts = {name: values.described(SECTIONS[name], part) for name, part in parts.items()}
    cases = {name: [study] for name, study in published.items()}
    of = [(values.given("study", name), _parts(name, several)) for name, several in cases.items()]
    items = {name: _items(several) for name, several in ({"core": core} | cases).items()}
    items |= {"labels": LABELS, "numbers": NUMBERS, "limits": _limits()}
    case = values.by_case(of, _parts("core", core))
    return values.file("Grid of dsjax: a named design space", values.table(parts) | case | {"$defs": items})


def _known(core):
    """{section: names of the core model with their meaning}, for completion: which may be, depends on the study."""
    items = _items(core)
    named = {name for study in core for name in (*study.kinds, *study.policies)}
    soft = {name: {"description": item.get("description", "")} for name, item in items.items()}
    for name in named & items.keys():
        known = items[name].get("anyOf", [items[name]])[0]["enum"]
        soft[name] |= values.name(known)
    lists = {name: values.described(part["description"], {"items": part}) for name, part in soft.items()}
    sections = {"axes": lists, "fixed": soft, "constraints": {name: _ref("limits", name) for name in _limits()}}
    own = [name for name in names(studies.get("core")) if name in items]
    of_pools = {
        name: values.described(soft[name]["description"], {"anyOf": [soft[name], {"type": "array"} | lists[name]]})
        for name in own
    }
    sections |= dict.fromkeys(choices.POOLS, of_pools)
    return {name: {"type": "object", "properties": of} for name, of in sections.items()}


def _ref(*path):
    return {"$ref": f"#/$defs/{'/'.join(path)}"}


def value(study, name):
    """Schema of one value of an axis of a study."""
    if name in study.kinds:
        kind = study.kinds[name]
        cls = study.records.get(name)
        text = cls.__doc__.partition("\n")[0].rstrip(".") if cls else "Curve: the shares of peak that kernels reach"
        known = (
            reader.load(study.records, (study.tables, study.path.name))[kind]
            if not study.pools
            else reader.load()[kind]
        )
        return values.described(text, values.name(known))
    if name in study.policies:
        return values.described(study.policies[name].doc, values.choice(study.policies[name].choices))
    found = values.number(numeric_axes(study)[name], study.data["accepts"].get(name, ()))
    given = study.data["defaults"].get(name)
    return found if given is None else found | {"default": given}


def names(study):
    """Names of the axes that a study has."""
    return [*study.kinds, *study.policies, *numeric_axes(study)]


def _bare(study, name):
    """The name of an axis without that of its pool."""
    pool = next((pool for pool in study.pools if name.startswith(f"{pool}_")), "")
    bare = name.removeprefix(f"{pool}_")
    return bare if pool and bare in names(studies.get("core")) else name


def _items(several):
    """{name of an axis: schema of its values} of the studies that a grid may be of; a pool's are those of one."""
    return {
        name: value(study, name) for study in reversed(several) for name in names(study) if _bare(study, name) == name
    }


def _parts(case, several):
    """{section: schema} of the sections whose names depend on the study."""
    bare = {name: _bare(study, name) for study in several for name in names(study)}
    refs = {name: _ref(case, own) for name, own in bare.items()}
    numeric = {name for study in several for name in numeric_axes(study)}
    axes = {name: _ref("numbers" if name in numeric else "labels") | {"items": ref} for name, ref in refs.items()}
    found = {"axes": values.table(axes), "fixed": values.table(refs), "constraints": _constraints(several)}
    for pool in choices.POOLS:
        of = {
            name.removeprefix(f"{pool}_"): name for name in bare if bare[name] != name and name.startswith(f"{pool}_")
        }
        found[pool] = values.table({own: {"anyOf": [refs[name], axes[name]]} for own, name in of.items()})
    return {"properties": found}


def _limits():
    found = {
        f"{side}_{name}": _limit(VARIABLES[name][0], f"{said} {VARIABLES[name][1]}")
        for name in MEASURES
        for side, said in (("min", "least"), ("max", "most"))
    }
    by_length = {"type": "object", "minProperties": 1, "additionalProperties": values.number(domain("s"))}
    most = found["max_ttft"]
    found["max_ttft"] = values.described(most["description"] + ", or by prompt length", {"anyOf": [most, by_length]})
    return found | {limits.MARGIN: values.number(limits.MARGIN_META)}


def _constraints(several):
    others: dict = {}  # {unit: names}
    for study in several:
        for record, cls in study.records.items():
            for name, meta in fields_of(cls).items():
                others.setdefault(meta["units"], {})[auxiliary(record, name)] = None
        for name, meta in numeric_axes(study).items():
            others.setdefault(meta["units"], {})[name] = None
    patterns = {f"^(min|max)_({'|'.join(names)})$": _limit(unit) for unit, names in others.items()}
    return values.table({name: _ref("limits", name) for name in _limits()}, patternProperties=patterns)


def _limit(unit, text=""):
    return values.number(domain(unit, low=-math.inf) | {"doc": text})


OBJECTIVE = {
    "maximize": "variable of which more is better",
    "minimize": "variable of which less is better",
    "by": "axes, or numbers of their rows: each group has a best point",
}


def _objective():
    parts = {side: values.choice(MEASURES) for side in ("maximize", "minimize")}
    both = {"not": {"required": [*parts]}}
    parts["by"] = {"anyOf": [values.array(values.TEXT, least=0), {"type": "string"}]}
    return values.table({key: values.described(text, parts[key]) for key, text in OBJECTIVE.items()}, **both)
