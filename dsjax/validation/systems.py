"""Published end-to-end measurements -> grids: read, checked, and completed from one table of defaults.

A file of systems is TOML. A `[[study]]` is one publication; each of its `[[study.system]]` tables is one measured
system, and takes from the study what it does not say itself. What both leave open comes from `[defaults]`, the same for
every system, and is counted: `System.assumed`. Nothing else is set for one system alone.
"""

import datetime
import functools
import re
from typing import NamedTuple

from ..catalog import names, reader
from ..errors import Faults, InputError, unknown
from ..space import inputs
from ..specs import fields, records
from ..units import number
from .keys import BALANCES, CHOICES, DEFAULTS, FLAGS, KEYS, NUMBERS, REQUIRED, RULES, SECTIONS, TEXTS
from .measured import METRICS, System

# dsjax's own: the first has the tables that hold for all, the others have systems only.
FILES = (reader.DATA / "systems.toml", reader.DATA / "instances.toml")
FILE = FILES[0]
_DAY = re.compile("[0-9]{4}(-[0-9]{2}){0,2}")


class File(NamedTuple):
    """Content of a file of systems."""

    systems: tuple
    not_described: dict  # {id: why}
    roofline: dict  # keys of a grid
    defaults: dict  # [defaults] and [balance]
    alternatives: dict  # {key of `defaults`: (values, ...)}


def files_of(path, catalogs=()):
    """Paths that measured systems, dsjax's own without a `path`, and the rows they name are read from."""
    own = [] if path is None else [path]
    return [*own, *inputs.of_catalogs(catalogs), *inputs.of_models([reader.read_toml(each) for each in own])]


def read(path=None, replaced=None):
    """A file of systems, dsjax's own without a path: `File`.

    One of a user's may leave out [defaults], [alternatives], [fixed], [roofline] and [balance], or any key of them:
    dsjax's own hold there. `replaced` {key: value}: of [defaults] and [balance], for this reading only.
    """
    if path is not None:
        return of_tables(reader.read_toml(path), str(path), replaced)
    more = [(each.name, reader.read_toml(each)) for each in FILES[1:]]
    return of_tables(reader.read_toml(FILE), FILE.name, replaced, more)


def of_tables(data, file, replaced=None, more=()):
    """`File` of the tables of a file of systems, which errors call `file`; `more` are [(file, tables)] beside them."""
    own = reader.read_toml(FILE)
    for name, tables in ((file, data), *more):
        _all_known(name, tables, SECTIONS)
    defaults = own["defaults"] | _table(data, file, "defaults", DEFAULTS)
    defaults |= own["balance"] | _table(data, file, "balance", BALANCES) | (replaced or {})
    for key, value in defaults.items():
        defaults[key] = _default(f"{file}: [{'balance' if key in BALANCES else 'defaults'}]", key, value)
    alternatives = own["alternatives"] | _table(data, file, "alternatives", (*DEFAULTS, *BALANCES))
    alternatives = {key: _alternatives(f"{file}: [alternatives]", key, found) for key, found in alternatives.items()}
    fixed, ideal = (own[name] | _table(data, file, name) for name in ("fixed", "roofline"))
    loads = {name: defaults[name] for name in BALANCES}
    found: dict[str, System] = {}
    for name, tables in ((file, data), *more):
        for row in _all_rows(name, tables.get("study")):
            if isinstance(row.get("id"), str) and row["id"] in found:
                raise InputError(f"{name}: id: {row['id']!r} is there twice; expected distinct ids")
            system = _completed(name, row, defaults, loads, fixed)
            found[system.used["id"]] = system
    if not found:
        raise InputError(f"{file}: no system; expected tables [[study.system]]")
    apart = {key: why for name, x in ((file, data), *more) for key, why in _table(x, name, "not_described").items()}
    return File(tuple(found.values()), apart, ideal, defaults, alternatives)


def _default(where, key, value):
    """One checked value of [defaults] or of [balance]."""
    if key in BALANCES:
        return number(f"{where} {key}", value, fields.fields_of(records.Workload)["expert_cv"])
    return value if RULES.get(key) == value else _value(where, key, value)


def _alternatives(where, key, values):
    if not isinstance(values, list):
        raise InputError(f"{where} {key}: {values!r}; expected a list of values")
    return tuple(_default(where, key, value) for value in values)


def _table(data, file, name, known=None):
    table = data.get(name, {})
    if not isinstance(table, dict):
        raise InputError(f"{file}: {name}: {table!r}; expected a table [{name}]")
    _all_known(f"{file}: [{name}]", table, known or table)
    return table


def _all_known(where, keys, known):
    faults = Faults(where)
    faults.among("key", keys, known)
    faults.tell()


def _all_rows(file, studies):
    """Systems of all studies of a file."""
    if not isinstance(studies, list) or not all(isinstance(x, dict) for x in studies):
        raise InputError(f"{file}: study: {'missing' if studies is None else repr(studies)[:40]}; expected [[study]]")
    return [row for study in studies for row in _rows(file, study)]


def _rows(file, study):
    """Systems of a study, each with what the study says of all of them."""
    common = dict(study)
    name, systems = common.pop("id", None), common.pop("system", None)
    where = f"{file}: study {name!r}"
    if not isinstance(name, str) or not name:
        raise InputError(f"{file}: [[study]] id: {name!r}; expected a text")
    if not isinstance(systems, list) or not systems or not all(isinstance(x, dict) for x in systems):
        raise InputError(f"{where}: no system; expected tables [[study.system]]")
    _all_known(where, common, KEYS)
    return [each for row in systems for each in _of_run(common | row | {"study": name})]


def _of_run(row):
    """The systems of one run: the row, and the first token that it gives beside, ID-first."""
    if "ttft" not in row:
        return [row]
    beside = {"id": f"{row.get('id')}-first", "metric": "ttft", "value": row["ttft"]}
    return [row, {key: x for key, x in row.items() if key not in ("ttft", "tps_per_chip")} | beside]


def _completed(file, row, defaults, loads, fixed):
    """The `System` of one row: checked, and what it leaves open taken from the defaults."""
    where = f"{file}: {row.get('id') or row['study']}"
    faults = Faults(where)
    faults.among("key", [key for key in row if key != "study"], KEYS)
    faults.lacks([key for key in REQUIRED if key not in row], ", ".join(REQUIRED))
    given = {}
    for key, value in row.items():
        with faults.caught():
            given[key] = value if key == "study" else _value(where, key, value)
    faults.tell()
    metric = METRICS[given["metric"]]
    for key, text in _contradictions(given, metric):
        faults.errors.append(InputError(f"{where} {key}: {text}"))
    with faults.caught():
        given["value"] = number(f"{where} value", given["value"], fields.size(metric.units, "").metadata)
    faults.tell()
    open_ = [key for key in _needed(given, metric, defaults) if key not in given]
    chosen = {key: defaults[key] for key in open_}
    if "mtp" in given | chosen and "tokens_per_step" in given:
        tokens, most = given["tokens_per_step"], 1 + (given | chosen)["mtp"]
        if not 1.0 <= tokens <= most:
            raise InputError(f"{where} tokens_per_step: {tokens:g}; expected 1 to 1 + mtp = {most}")
    # Where nothing leaves the scale-up domain the choice of a NIC is none, nor of a balance where one card has all.
    idle = {"nic"} if given["chips"] <= _domain(given["hardware"]) else set()
    idle |= {"balance"} if given.get("ep") == 1 else set()
    counted = tuple(key for key in open_ if key not in idle)
    return System(given, given | chosen, counted, where, loads, fixed)


def _contradictions(given, metric):
    """(key, what is wrong and what was expected) of what a system says against what else it says."""
    lengths = {"isl", "osl"} <= given.keys()
    if not given.get("complete", True) and "why" not in given:
        yield "why", "missing; expected what its source leaves open, as complete = false"
    for key in ("tp", "ep"):
        if given["chips"] % given.get(key, 1):
            yield key, f"{given[key]}; expected a divisor of chips = {given['chips']}"
    if "batch" in given and "concurrency" in given:
        yield "concurrency", "beside batch; expected one of the two"
    if "context" in given and given.keys() & {"isl", "osl"}:
        yield "context", "beside isl or osl; expected one or the other"
    elif len(metric.phases) > 1 and not lengths:
        yield "osl", "missing; expected isl and osl, as its output includes prefill"
    elif given["metric"] == "ttft" and given.get("concurrency", 1) > 1 and not lengths:
        yield "osl", "missing; expected isl and osl, as the first token waits for others"
    if given["metric"] in ("tpot", "ttft") and "concurrency" not in given:
        yield "concurrency", "missing; expected the users that the time was measured with"


def _needed(given, metric, defaults):
    """Keys that must be known to predict what was measured."""
    needed = ["nic", "tp", "ep", "pipeline", "balance", "engine"]
    server = System(given, given, (), "", {}, {}).phase == "serve"
    if "decode" in metric.phases or server:
        needed += ["mtp"]
        if given.get("mtp", defaults["mtp"]) and "tokens_per_step" not in given:
            needed += ["acceptance"]
        if "concurrency" not in given:
            needed += ["batch"]
    if metric.phases == ("prefill",) and "concurrency" not in given:
        needed += ["prefill_tokens"]
    if "context" not in given:
        needed += ["isl"]
    if server:
        needed += ["requests_per_user"]
    return needed


@functools.cache
def _domain(hardware):
    """Chips of a scale-up domain of dsjax's own rows; those of others are taken to use their NIC."""
    rows = reader.load()["hardware"]
    hardware = names.spelt(hardware, rows)
    return rows[hardware]["scale_up_domain"] if hardware in rows else 1


def day(where, text, more=""):
    """Refuses a text that is no day, month or year."""
    try:
        if _DAY.fullmatch(text):
            datetime.date.fromisoformat(f"{text}-01-01"[: len("YYYY-MM-DD")])
            return
    except ValueError:
        pass
    raise InputError(f"{where}: {text!r}; expected a date, YYYY-MM-DD, YYYY-MM or YYYY{more}")


def _value(where, key, value):
    """One checked value of a row or of the defaults."""
    if key in FLAGS:
        if not isinstance(value, bool):
            raise InputError(f"{where} {key}: {value!r}; expected true or false")
        return value
    if key in TEXTS:
        if not isinstance(value, str) or not value.strip():
            raise InputError(f"{where} {key}: {value!r}; expected a text")
        if key == "date":
            day(f"{where} {key}", value)
        known = CHOICES.get(key, (value,))
        if value not in known:
            raise unknown(f"{where} {key}", key, value, known)
        return value
    return number(f"{where} {key}", value, NUMBERS[key]) if "low" in NUMBERS.get(key, ()) else value
