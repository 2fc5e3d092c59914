"""Names that users write, with unit and meaning: axes, variables, limits, parameters."""

from .. import studies
from ..errors import InputError, nearest
from ..formulas import efficiency
from ..specs import fields, records
from ..specs.variables import LACKING, MEASURES, SENSE, VARIABLES
from ..units import expected
from . import limits
from .space import numeric_axes

PHASES = {"core": ("decode", "prefill"), "server": ("serve",), "disaggregated": ("disaggregated",)}


def names(kind, words=()):
    """[{name, unit, meaning, ...}] of a kind of `KINDS` whose name, unit or meaning has all the words."""
    if kind not in KINDS:
        raise InputError(f"names: unknown kind {kind!r}; expected one of {', '.join(KINDS)}")
    rows = KINDS[kind]()
    found = [row for row in rows if _has(row, words)]
    if not found:
        near = ", ".join(nearest(" ".join(words), [row["name"] for row in rows]))
        raise InputError(f"names: no {kind} with {' '.join(words)!r}; expected other words, the nearest name is {near}")
    return sorted(found, key=lambda row: row["name"].lower() != " ".join(words).lower())  # the one of this name first


def _has(row, words):
    text = " ".join(map(str, row.values())).lower()
    return all(word.lower() in text for word in words)


def axes():
    """Axes, and what may be fixed; `of_row`: a number of a row of a catalog. A name of all pools is there once."""
    found: dict = {}
    for study in (studies.get(name) for name in PHASES):
        for name, row in _axes(study).items():
            known = found.setdefault(name, row | {"phases": []})
            known["phases"] += PHASES[study.name]
            if name == "phase" and known is not row:
                known["values"] = ", ".join(dict.fromkeys(f"{known['values']}, {row['values']}".split(", ")))
    rows = [row | {"phases": _phases(row["phases"])} for row in found.values()]
    return sorted(rows, key=lambda row: row["of_row"])


def _axes(study):
    """{name without its pool's: row} of a study."""
    both = [f"{pool}_" for pool in study.pools]
    given = {*study.workload, *study.deployment, *study.requests}
    rows = {}
    for name, kind in study.kinds.items():
        cls = records.RECORDS.get(kind)
        meaning = cls.__doc__.partition("\n")[0].rstrip(".") if cls else "the shares of peak that kernels reach"
        catalog = f"rows of dsjax catalog {kind if kind == 'hardware' else f'{kind}s'}"
        rows[name] = {"unit": "", "meaning": meaning, "values": catalog, "of_row": False}
    for name, policy in study.policies.items():
        rows[name] = {"unit": "", "meaning": policy.doc, "values": ", ".join(policy.choices), "of_row": False}
    for name, meta in numeric_axes(study).items():
        rows[name] = _number(meta) | {"values": expected(meta | {"units": "1"}), "of_row": name not in given}
    bare = {}
    for name, row in rows.items():
        own = next((name.removeprefix(pool) for pool in both if name.startswith(pool)), name)
        bare.setdefault(own, {"name": own} | row)
    return bare


def _phases(names):
    return "all" if {*names} == {*LACKING} else ", ".join(names)


def _number(meta):
    return {"unit": "" if meta["units"] == "1" else meta["units"], "meaning": meta["doc"]}


def variables():
    """Variables of results; `phases` that define them."""
    rows = []
    for name, (units, meaning) in VARIABLES.items():
        phases = _phases([phase for phase, lacking in LACKING.items() if name not in lacking])
        row = {"name": name, "unit": "" if units == "1" else units, "meaning": meaning}
        rows.append(row | {"better": {1: "more", -1: "less"}.get(SENSE.get(name), ""), "phases": phases})
    return rows


def limits_of_variables():
    """Limits on variables, the side that keeps the better ones first, and the margin."""
    rows = []
    for row in (row for row in variables() if row["name"] in MEASURES):
        sides = {"min": f"least {row['meaning']}", "max": f"most {row['meaning']}"}
        order = ("max", "min") if row["better"] == "less" else ("min", "max")
        for side in order:
            limit = {"name": f"{side}_{row['name']}", "unit": row["unit"], "meaning": sides[side]}
            rows.append(limit | {"phases": row["phases"]})
    margin = {"name": limits.MARGIN, "unit": "", "meaning": limits.MARGIN_META["doc"], "phases": "all"}
    return [*rows, margin]


def parameters():
    """Numbers of the rows of catalogs and of the workload, by the names of --set, `solve` and `sensitivity`."""
    of: list[tuple[str, type]] = [("", cls) for cls in (records.Workload, records.Requests, records.Deployment)]
    of += [*records.RECORDS.items(), *(("curve", form.record) for form in efficiency.FORMS.values())]
    rows: dict = {}
    for record, cls in of:
        for field, meta in fields.fields_of(cls).items():
            name, axis = (f"{record}{join}{field}".lstrip("._") for join in "._")
            rows.setdefault(name, {"name": name} | _number(meta) | {"as an axis": axis})
    return [*rows.values()]
    return rows


KINDS = {"axes": axes, "variables": variables, "limits": limits_of_variables, "parameters": parameters}
