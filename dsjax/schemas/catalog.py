"""Schema of a catalog: rows of hardware, NICs, precisions, engines, models, curves."""

from ..catalog import measured, reader, sources
from ..formulas import efficiency
from ..specs.fields import fields_of
from ..specs.records import RATES, RECORDS, Hardware
from . import values


def schema(records=RECORDS):
    """The schema of a catalog whose rows fill the classes of `records`."""
    kinds = {kind: _row(kind, cls) for kind, cls in records.items() if kind in reader.KINDS}
    kinds["curve"] = _curve()
    rows = {
        kind: values.tables({"$ref": f"#/$defs/{kind}"}, description=of["description"]) for kind, of in kinds.items()
    }
    return values.file(
        "Catalog of dsjax: rows of one's own", values.table(rows) | {"$defs": kinds | {"source": _source()}}
    )


def required(fields):
    """Fields that a row without `base` must give."""
    return [name for name, meta in fields.items() if "default" not in meta and "like" not in meta]


def texts(kind, cls):
    """{key of a row beside its numbers: schema}, those of its sources first."""
    docs = sources.KEYS | {"base": reader.BASE}
    entry = {"$ref": "#/$defs/source"}
    found = {
        "source": values.TEXT,
        "kind": values.choice(sources.KINDS),
        "sources": values.tables(entry),
        "unverified": values.array(values.choice(fields_of(cls)) if cls else values.TEXT, least=0),
        "base": values.TEXT,
    }
    found = {key: values.described(docs[key], part) for key, part in found.items()}
    if kind == "curve":
        found |= {key: values.described(doc, values.array(values.TEXT, least=0)) for key, doc in measured.LISTS.items()}
        found["form"] = values.described(reader.FORM, values.choice(efficiency.FORMS))
    if cls and issubclass(cls, Hardware):
        found["curve"] = values.described(reader.CURVE, values.name(reader.load()["curve"]))
        found["vendor"] = values.described(reader.VENDOR, values.TEXT)
    if kind == "engine":
        found["curves"] = values.described(reader.CURVES, values.tables(values.TEXT))
        found |= {key: values.described(doc, values.array(values.TEXT, least=0)) for key, doc in reader.CHOICES.items()}
    return found


def _row(kind, cls):
    fields = fields_of(cls)
    numbers = {name: _number(kind, name, meta) for name, meta in fields.items()}
    own = values.table(texts(kind, cls) | numbers, description=cls.__doc__.partition("\n")[0])
    return own | values.by_case([(values.given("base"), {})], {"required": [*required(fields), "source"]})


def _number(kind, name, meta):
    found = values.number(meta)
    if kind == "precision" and name.endswith("_rate"):
        return values.described(found["description"], {"enum": [*RATES, *range(len(RATES))]} | values.default(meta))
    if "like" in meta:
        found["description"] += f"; where it is left out: {meta['like']}"
    return found


def _curve():
    forms = {name: fields_of(form.record) for name, form in efficiency.FORMS.items()}
    common = texts("curve", None)
    knots = {name: values.number(meta) for fields in forms.values() for name, meta in fields.items()}
    named = [
        (form, {"propertyNames": {"enum": [*common, *fields]}}, required(fields)) for form, fields in forms.items()
    ]
    based = values.by_case([(values.given("form", form), keys) for form, keys, _ in named])
    whole = values.by_case([(values.given("form", form), keys | {"required": needed}) for form, keys, needed in named])
    text = "A curve: the shares of peak that kernels reach."
    case = values.by_case([(values.given("base"), based)], {"required": ["form", "source"]} | whole)
    return values.table(common | knots, description=text) | case


def _source():
    on = values.described(sources.ON, values.array(values.TEXT))
    entry = {"kind": values.choice(sources.KINDS), "text": values.TEXT, "on": on}
    return {"anyOf": [values.TEXT, values.table(entry, minProperties=1)]}
