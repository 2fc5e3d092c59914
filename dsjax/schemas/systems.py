"""Schema of a file of measured systems, for `dsjax validate`."""

from ..catalog import reader
from ..serving.core import CORE
from ..specs.fields import fields_of
from ..specs.records import Workload
from ..units import pattern
from ..validation import keys
from ..validation.measured import METRICS
from . import values


def schema():
    """The schema of a file of systems."""
    own = {key: value(key) for key in keys.KEYS}
    common = {key: _ref(f"keys/{key}") for key in own}
    system = values.table(common, ("id",))
    study = values.table(common | {"system": values.array(system)}, ("id", "system"))
    study |= {"if": True, "then": _ref("needs")}
    spread = values.number(fields_of(Workload)["expert_cv"])
    defaults = {key: _default(key, common[key]) for key in keys.DEFAULTS}
    several = {key: values.array(x, least=0) for key, x in (defaults | dict.fromkeys(keys.BALANCES, spread)).items()}
    parts = {
        "defaults": values.table(defaults),
        "alternatives": values.table(several),
        "fixed": {"type": "object"},
        "roofline": {"type": "object"},
        "balance": values.table(dict.fromkeys(keys.BALANCES, spread)),
        "study": values.array(study),
        "not_described": values.tables(values.TEXT),
    }
    parts = {name: values.described(text, parts[name]) for name, text in keys.SECTIONS.items()}
    return values.file(
        "Measured systems, for dsjax validate", values.table(parts, ("study",)) | {"$defs": {"keys": own, **_needs()}}
    )


def _needs():
    """{name: schema of a study}, beginning with "needs": a required key is the study's, or all its systems'."""
    found, rest = {}, {}
    for key in (key for key in keys.REQUIRED if key != "id"):
        own = {"properties": {"system": values.array({"required": [key]})}}
        found[f"needs-{key}"] = values.by_case([(values.given(key), rest)], own | rest)
        rest = _ref(f"needs-{key}")
    return found | {"needs": rest}


def _ref(path):
    return {"$ref": f"#/$defs/{path}"}


def value(key):
    """Schema of the value of a key of a system."""
    if key == "value":
        units = dict.fromkeys(metric.units for metric in METRICS.values())
        metrics = "; ".join(f"{name}: {metric.doc} [{metric.units}]" for name, metric in METRICS.items())
        number = {"type": ["number", "string"], "exclusiveMinimum": 0, "pattern": "|".join(map(pattern, units))}
        return values.described(f"{keys.NUMBERS[key]['doc']}; {metrics}", number)
    if key in keys.NUMBERS:
        return values.number(keys.NUMBERS[key])
    if key in keys.FLAGS:
        return values.described(keys.FLAGS[key], {"type": "boolean"})
    known = keys.CHOICES.get(key)
    if key == "pipeline":
        known = CORE.policies["pipeline"].choices
    if known is None:
        part = values.name(reader.load()[key]) if key in reader.KINDS else values.TEXT
    else:
        part = values.choice(known)
    return values.described(keys.TEXTS[key], part)


def _default(key, part):
    return {"anyOf": [part, {"const": keys.RULES[key]}]} if key in keys.RULES else part
