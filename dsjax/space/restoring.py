"""The space in a file's `dsjax_spec`, checked as a grid and its rows are: files are edited, cut and damaged."""

import itertools
import json
import math

import numpy as np

from .. import studies
from ..catalog import reader, sources
from ..errors import InputError, unknown
from ..formulas import efficiency
from ..specs import fields
from ..specs.variables import MEASURES
from ..units import domain, expected, number
from . import choices, ranges
from .limits import MARGIN_META
from .space import LOADS, Space, group_names, needed, numeric_axes

# Defaults for files written before these options existed.
BEFORE = {"dispatch_mode": "low-latency", "unhidden": 0.0, "redundant_experts": 0, "engine": "generic"}
BEFORE |= {"context_cv": 0.0, "acceptance_decay": 1.0, "expert_cv": 0.0, "expert_cv_placed": 0.0}
KEPT = ("memory_bytes", "exchange_buffers", "exchange_tokens", "cache_scale_bytes", "cache_rope_bytes")  # were not
# Keys of a space -> what JSON has in them; those behind may be missing.
_KEYS = {"study": str, "title": str, "axes": dict, "fixed": dict, "rows": dict, "bounds": dict, "objective": str}
_KEYS |= {"sense": int, "by": list, "defined": list, "text": str, "margin": int | float, "chosen": dict}
_LATER = ("margin", "chosen")
# Keys of a row that are no numbers -> what JSON has in them.
_OF_ROWS = dict.fromkeys(("source", "kind", "form", "curve", "vendor", "left_out"), str)
_OF_ROWS |= dict.fromkeys(
    ("same_chip", "pipelines", "dispatch_modes", "deployments", "lacks", "fitted", "siblings"), list
)
_OF_ROWS |= dict.fromkeys(("sources", "curves", "kernels", "quantisation"), dict)
_WHOLE = domain("1", low=1.0, open_low=False, high=2e9, integer=True)
_ANY = domain("1", low=-math.inf)
_WORDS = {dict: "a table", str: "a text", list: "a list", int: "a whole number", int | float: "a number"}


def space(text):
    """The `Space` of a `dsjax_spec`; what dsjax would not have written is an InputError that begins with its key."""
    data = _data(text)
    study = data["study"] = studies.get(data["study"])
    numeric = numeric_axes(study)
    if "engine" in study.records and "engine" not in data["rows"] and study.general:
        generic = reader.load()["engine"]["generic"]
        data["rows"]["engine"] = {"generic": generic | {name: 0.0 for name in generic if name in KEPT}}
    data["rows"] = {record: _rows(study, record, rows) for record, rows in data["rows"].items()}
    if missing := [record for record in study.kinds if record not in data["rows"]]:
        raise InputError(f"rows: {missing[0]}: missing; expected the rows of every axis that names some")
    data["axes"] = {name: _axis(study, data["rows"], numeric, name, x) for name, x in data["axes"].items()}
    if study.general:
        for name, value in BEFORE.items():
            if name not in data["axes"] and name in study.data["defaults"]:
                data["fixed"].setdefault(name, value)
    for name, value in data["fixed"].items():
        _values(study, data["rows"], numeric, f"fixed.{name}", name, (value,))
    both = data["axes"].keys() & data["fixed"].keys()
    if both or not (data["axes"] or data["fixed"]):
        raise InputError(f"axes: {min(both, default='empty')}; expected axes, and what is fixed apart from them")
    _complete(study, data["axes"] | data["fixed"], data["axes"].get("phase", (data["fixed"].get("phase", "decode"),)))
    data["bounds"] = {key: _bound(key, value) for key, value in data["bounds"].items()}
    if data["objective"] not in MEASURES:
        raise unknown("objective", "variable", data["objective"], MEASURES)
    if data["sense"] not in (1, -1):
        raise InputError(f"sense: {data['sense']}; expected 1 or -1")
    for key, known in (("by", group_names(study, data["axes"])), ("defined", MEASURES)):
        for name in data[key]:
            if name not in known:
                raise unknown(key, "name", name, known)
        data[key] = tuple(data[key])
    number("margin", data.get("margin", 0.0), MARGIN_META)
    found = Space(**data, restored=True)
    choices.check_fractions(found, lambda section, key: f"{section}.{key}")
    for of in (found, *found.pools.values()):
        _curves(of)
    return found


def _data(text):
    """The JSON of a space, with the keys that it has, of their types."""
    try:
        data = json.loads(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"no JSON ({str(error)[:80]}); expected that of a space") from None
    _typed("space", data, dict)
    for key in data:
        if key not in _KEYS:
            raise unknown("space", "key", key, _KEYS)
    for key, kind in _KEYS.items():
        if key in data:
            _typed(key, data[key], kind)
        elif key not in _LATER:
            raise InputError(f"{key}: missing; expected {_WORDS[kind]}")
    return data


def _typed(where, value, kind):
    if not isinstance(value, kind) or isinstance(value, bool):
        raise InputError(f"{where}: {_short(value)}; expected {_WORDS[kind]}")


def _short(value):
    return f"{str(value)[:40]!r}, a {type(value).__name__}"


def _rows(study, record, rows):
    """The rows of a record: every field a number of its domain; what a row older than a field lacks is its default."""
    if record not in study.kinds:
        raise unknown("rows", "record", record, study.kinds)
    _typed(f"rows.{record}", rows, dict)
    return {name: _row(study, record, f"rows.{record}.{name}", row) for name, row in rows.items()}


def _row(study, record, where, row):
    _typed(where, row, dict)
    if study.kinds[record] == "curve":
        form = row.get("form")
        if not isinstance(form, str) or form not in efficiency.FORMS:
            raise unknown(where, "form", form, efficiency.FORMS)
    known = fields.fields_of(study.row_class(record, row))
    for key, kind in {"source": str, **_OF_ROWS}.items():
        if key in row or key == "source":
            _typed(f"{where}.{key}", row.get(key), kind)
    for field, entry in row.get("sources", {}).items():
        _typed(f"{where}.sources.{field}", entry, dict)
        if not all(isinstance(entry.get(key), str) for key in ("kind", "text")):
            raise InputError(f"{where}.sources.{field}: {_short(entry)}; expected a kind and a text")
    for name, label in row.get("curves", {}).items():
        _typed(f"{where}.curves.{name}", label, str)
    row = sources.restored(fields.completed(known, row))
    for name, meta in known.items():
        if name not in row:
            raise InputError(f"{where}.{name}: missing; expected {expected(meta)}")
        _typed(f"{where}.{name}", row[name], int | float)
        number(f"{where}.{name}", row[name], meta)
    return row


def _axis(study, rows, numeric, name, values):
    """The values of an axis, distinct ones."""
    where = f"axes.{name}"
    if isinstance(values, dict):
        values = _range(where, values)
        _values(study, rows, numeric, where, name, (values.start, values.stop))
        return values
    _typed(where, values, list)
    values = tuple(values)
    _values(study, rows, numeric, where, name, values)
    if not values or len(set(values)) < len(values):
        raise InputError(f"{where}: {'a value twice' if values else 'empty'}; expected distinct values")
    return values


def _range(where, data):
    """A long axis given by its ends and its step."""
    if data.keys() != {"start", "stop", "step", "length", "integer"} or not isinstance(data["integer"], bool):
        raise InputError(f"{where}: {_short(data)}; expected start, stop, step, length and integer")
    start, stop, step = (number(f"{where}.{key}", data[key], _ANY) for key in ("start", "stop", "step"))
    length = number(f"{where}.length", data["length"], _WHOLE)
    if step <= 0 or abs(start + step * (length - 1) - stop) > 0.01 * step:
        raise InputError(f"{where}: {length:,} values from {start:g} by {step:g} to {stop:g}; expected them to meet")
    return ranges.restored(data)


def _values(study, rows, numeric, where, name, values):
    """Refuse what is not a value of a name: a label of a row or of a choice, or a number in its domain."""
    if name in study.kinds or name in study.policies:
        known = rows[name] if name in study.kinds else study.policies[name].choices
        free = study.kinds.get(name) == "curve"  # of a curve by hardware there need not be a row
        for value in values:
            _typed(where, value, str)
            if value not in known and not free:
                raise unknown(where, name, value, known)
        return
    if name not in numeric:
        raise unknown(where, "axis", name, [*study.kinds, *study.policies, *numeric])
    meta, accepted = numeric[name], study.data["accepts"].get(name)
    for value in values if len(values) <= 16 else ():
        _typed(where, value, int | float)
        number(where, value, meta)
    if len(values) > 16:
        _many(where, values, meta)
    for value in values if accepted else ():
        if value not in accepted:
            raise InputError(f"{where}: {value!r}; expected one of {accepted} (study {study.name})")


def _complete(study, given, phases):
    """Refuse a space that lacks what its formulas read, or has two names of one number."""
    for name in (*study.kinds, *study.policies, *needed(study, given.keys(), phases)):
        if name not in given:
            raise InputError(f"axes: {name}: missing; expected an axis, or a value in fixed")
    loads = LOADS["serve" if study.requests else "decode"]
    if study.requests and not given.keys() & set(loads):
        raise InputError(f"axes: {' or '.join(loads)}: missing; expected one of the two")
    for one, other in (loads, ("context", "isl")):
        if one in given and other in given:
            raise InputError(f"axes: {one}: beside {other}; expected one or the other")


def _curves(space):
    """Refuse numbers of knots that a curve in use lacks, and a curve by hardware of chips that name none.

    A label without a row is a curve by hardware, as is a row of that form.
    """
    rows = space.rows.get("curve", {})
    for name in (*space.axes, *space.fixed):
        for label, row in rows.items() if name.startswith("curve_") else ():
            if row["form"] != "by-hardware" and name.removeprefix("curve_") not in row:
                known = [f"curve_{knot}" for knot in reader.numbers(row)]
                raise unknown(f"axes.{name}", f"knot of curve {label!r}", name, known)
    labels = space.labels("curve") if "curve" in space.rows else ()
    if all(rows.get(name, {"form": "by-hardware"})["form"] != "by-hardware" for name in labels):
        return
    for chip, engine in itertools.product(space.labels("hardware"), space.labels("engine")):
        name = space.curve_of(chip, engine)
        if name not in rows or rows[name]["form"] != "kernel":
            raise unknown(f"rows.hardware.{chip}.curve", "curve of form kernel", name, rows)


def _many(where, values, meta):
    """Refuse a number outside its domain, of many."""
    strange = [x for x in values if type(x) not in (int, float) or (type(x) is int and abs(x) >= 2**63)]
    array = np.array([] if strange else values, float)
    wrong = ~np.isfinite(array) | (array < meta["low"]) | (meta["open_low"] & (array == meta["low"]))
    wrong |= array > (math.inf if meta["high"] is None else meta["high"])
    wrong |= meta["integer"] & (array != np.round(array))
    for value in [*strange, *array[wrong & ~((array == 0) & bool(meta.get("or_zero")))].tolist()][:1]:
        _typed(where, value, int | float)
        number(where, value, meta)


def _bound(key, value):
    """A limit: a number, or pairs (up to this prompt length, limit)."""
    where, (side, _, name) = f"bounds.{key}", key.partition("_")
    if side not in ("min", "max") or not name:
        raise InputError(f"{where}: expected min_<variable> or max_<variable>")
    if isinstance(value, list):
        if not value or not all(isinstance(pair, list) and len(pair) == 2 for pair in value):
            raise InputError(f"{where}: {_short(value)}; expected pairs of a prompt length and a limit")
        return tuple(tuple(number(where, x, _ANY) for x in pair) for pair in value)
    _typed(where, value, int | float)
    number(where, value, _ANY)
    return value
