"""Catalog files -> validated rows of numbers in SI units.

A catalog file is TOML: `[record.row]` tables, one key per field of the record in `specs`, and where the numbers come
from (`sources`). `base = "row"` takes the missing fields from another row of the same record, except optional ones
(prices, power): those belong to their row and are 0, unknown, where it does not give them. Values are SI numbers, or
text with a unit ("3.3 TiB/s", "1233/1979"). A row is kept as {field: SI number} plus `source`, `kind`, `sources`
(`form` of a curve, `quantisation` of a model, `curve` and `vendor` of hardware). The models are Hugging Face configs
(`configs`).
"""

import collections.abc
import functools
import json
import os
import tomllib
from pathlib import Path

from .. import machine, texts
from ..errors import Faults, InputError, unknown
from ..formulas import efficiency
from ..specs.fields import completed, fields_of
from ..specs.records import RATES, RECORDS, Hardware
from ..units import number
from . import configs, measured, sources

DATA = Path(__file__).parents[1] / "data"
KINDS = (*RECORDS, "curve")
# file of the shared catalog -> record
_FILES = {"hardware.toml": "hardware", "nics.toml": "nic", "precisions.toml": "precision", "curves.toml": "curve"}
_FILES |= {"engines.toml": "engine"}


def read_toml(path, with_text=False):
    """TOML file -> dict, or (dict, text); unreadable, non-UTF-8 and non-TOML files are InputErrors."""
    text = texts.read(path, "a TOML file")
    try:
        data = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not valid TOML ({error}); expected a TOML file") from None
    return (data, text) if with_text else data


class Rows(collections.abc.Mapping):
    """{row: {field: number, "source": text}} of one record; a row is validated when it is first read.

    `raw` {row: (file, row as written)}, `records` the classes that rows fill.
    """

    def __init__(self, raw, records, record):
        self._raw, self._records, self._record, self._read = raw, records, record, {}

    def __getitem__(self, name):
        if name not in self._read:
            of = self._raw, self._records, self._record, name
            self._read[name] = dict(_common(self._record, name)) if _is_common(*of) else _row(*of)
        return self._read[name]

    def __contains__(self, name):
        return name in self._raw

    def __iter__(self):
        return iter(self._raw)

    def __len__(self):
        return len(self._raw)


def load(records=RECORDS, *own, models=()):
    """{record: `Rows`} of the shared catalog, shadowed by the tables of `own`, the last one first.

    `records` are the classes the rows must fill; `own` are pairs of a parsed catalog file (a study's, a user's) and
    what its errors call it. Those of `models` that mean a Hugging Face config, and no row of the catalog, are rows too.
    """
    raw = {record: _Written() for record in KINDS}
    for file, record in _FILES.items():
        if record == "curve" or records.get(record) is RECORDS[record]:  # else a study has rows of its own, or none
            raw[record] |= {name: (file, row) for name, row in _shared(file).items()}
    raw["model"].update(_models())
    for tables, file in own:
        for record, table in tables.items():
            if record not in KINDS:
                raise unknown(file, "table", record, KINDS)
            if not isinstance(table, dict) or not all(isinstance(row, dict) for row in table.values()):
                raise InputError(f"{file}: [{record}]: expected tables [{record}.<row>]")
            raw[record] |= {name: (file, row) for name, row in table.items()}
    for name in models:
        if isinstance(name, str) and name not in raw["model"] and (path := configs.path_of(name)):
            raw["model"][name] = (str(path), configs.read(path))
    return {record: Rows(rows, records, record) for record, rows in raw.items()}


@functools.cache
def _shared(file):
    """A file of the shared catalog, as parsed: nobody changes it."""
    return read_toml(DATA / file)


def _is_common(raw, records, record, name):
    """Whether a row and those that it takes the rest from are rows of the shared catalog, and of its classes."""
    file = next((file for file, of in _FILES.items() if of == record), None)
    if file is None or (record != "curve" and records.get(record) is not RECORDS[record]):
        return False
    shared = _shared(file)
    while isinstance(name, str) and name in raw and raw[name][1] is shared.get(name):
        if "base" not in shared[name]:
            return True
        name = shared[name]["base"]
    return False


@functools.cache
def _common(record, name):
    """A row of the shared catalog, read once."""
    file = next(file for file, of in _FILES.items() if of == record)
    return _row({row: (file, written) for row, written in _shared(file).items()}, RECORDS, record, name)


class _Written(dict):
    """{row: (file, row as written)}, or the path of dsjax's own config of a model, read when it is asked for."""

    def __getitem__(self, name):
        found = super().__getitem__(name)
        return _config(found) if isinstance(found, Path) else found


@functools.cache
def _models():
    """{model: path} of dsjax's own configs."""
    return {path.stem: path for path in sorted((DATA / "models").glob("*.json"))}


@functools.cache
def _config(path):
    return path.name, configs.row(json.loads(path.read_text(encoding="utf-8")), path.name)


def users(paths=()):
    """(tables, file) of the user's own catalogs: every *.toml in the configuration folder, then `paths`."""
    paths = (paths,) if isinstance(paths, str | os.PathLike) else paths
    if not isinstance(paths, list | tuple) or not all(isinstance(path, str | os.PathLike) for path in paths):
        raise InputError(f"catalogs: {paths!r}; expected paths of catalog files")
    return [(read_toml(path), str(path)) for path in (*user_files(), *paths)]


def user_files():
    """Paths of the catalogs in the user's configuration folder."""
    return sorted(machine.user_folder("XDG_CONFIG_HOME", ".config").glob("*.toml"))


def record_class(records, record, row):
    """The class that a row of `record` fills."""
    return efficiency.FORMS[row["form"]].record if record == "curve" else records[record]


def _row(raw, records, record, name):
    file, written = raw[name]
    where = f"{file}: [{record}.{name}]"
    chain, faults = [(where, name, written)], Faults(where)
    with faults.caught():
        chain = _chain(raw, records, record, name)
    merged = {key: x for *_, row in reversed(chain) for key, x in row.items()}
    based = merged.pop("base", None) is not None
    for key in sources.KEYS:
        merged.pop(key, None)
    if record == "curve" and not (isinstance(form := merged.get("form"), str) and form in efficiency.FORMS):
        faults.tell()
        raise unknown(f"{where} form", "form", form, efficiency.FORMS)
    fields = fields_of(record_class(records, record, merged))
    allowed, extra = {*fields} | ({"form"} if record == "curve" else set()), {}
    with faults.caught():
        extra = _texts(where, record, records, merged)
    faults.among("key", [key for key in merged if key not in allowed], sorted({*allowed, *sources.KEYS}))
    numbers = {}
    given = {key: merged[key] for key in allowed & merged.keys()}
    merged = completed(fields, given)
    for key in [*sorted(given), *(key for key in fields if key in merged and key not in given)]:
        if key in given or fields[key].get("like", key) in {key, *numbers}:  # not what another's fault already says
            with faults.caught():
                numbers[key] = value(f"{where} {key}", record, key, merged[key], fields)
    numbers = dict(sorted(numbers.items()))
    missing = {key for key in allowed - merged.keys() if "like" not in fields.get(key, {})}  # those need the other one
    missing = set() if based and len(chain) == 1 else missing  # of a base that is not there
    missing |= {"source"} - written.keys() if not based else set()
    faults.lacks(sorted(missing), f"every field of {record}")
    with faults.caught():
        origin = sources.resolved(chain, fields)
    faults.tell()
    if "curve" in extra:
        extra["same_chip"] = [
            base for _, base, _ in chain[1:] if _same_rates(numbers, _row(raw, records, record, base))
        ]
    if record == "curve":
        extra["kernels"] = _kernels(raw, chain, fields, origin) if merged["form"] == "kernel" else {}
    return numbers | origin | {key: found for key, found in extra.items() if found}


def _kernels(raw, chain, fields, resolved):
    """{kernel: lists of hardware} of a curve whose kernel was measured elsewhere than on the row's own hardware."""
    named = {name: measured.lists(where, raw[name][1]) for where, name, _ in chain}
    own = named[chain[0][1]]
    found = measured.by_kernel(chain, fields, resolved, named)
    return {kernel: [list(x.fitted), list(x.siblings)] for kernel, x in found.items() if x != own}


def _chain(raw, records, record, name):
    """[(where, name, what it gives)] of a row and of the rows that it takes the rest from, as written."""
    file, row = raw[name]
    where = f"{file}: [{record}.{name}]"
    chain, fields = [(where, name, row)], fields_of(records[record]) if record in records else {}
    while "base" in row:
        base, names = row["base"], [name for _, name, _ in chain]
        if isinstance(base, str) and base in names:
            raise InputError(f"{where} base: {base!r} takes its numbers from this row; expected a row that does not")
        if not isinstance(base, str) or base not in raw:
            raise unknown(f"{where} base", record, base, [n for n in raw if n not in names])
        file, row = raw[base]
        own = {key for key, meta in fields.items() if not meta.get("lent", True)} | {*measured.LISTS, "vendor"}
        chain.append((f"{file}: [{record}.{base}]", base, {key: x for key, x in row.items() if key not in own}))
    return chain


def _same_rates(row, base):
    """Whether a chip computes and reads memory as fast as another: then its kernels take as long."""
    names = ("hbm_bytes_per_s", *(f"{rate}_flops_per_s" for rate in RATES))
    return all(row[name] == base[name] for name in names)


# Texts of a row beside its numbers and their sources.
BASE = "row that gives the numbers that this one leaves out, prices and power apart"
FORM = "equations that its knots are of"
USUAL_CURVE = "kernel-assumed"  # of a chip that names none
CURVE = "row of the curves: the shares of peak that its kernels reach"
VENDOR = "who makes it; words of `dsjax catalog hardware` look here too"
CHOICES = {f"{axis}s": f"choices of the axis {axis} that an engine has" for axis in ("pipeline", "dispatch_mode")}
CHOICES["deployments"] = "rows of the engines that are an engine deployed otherwise"
CHOICES["lacks"] = "sizes of a deployment that an engine has not, 1 then: sp, moe_tp"
CURVES = "curves of its own kernels in place of those of a family of chips: { curve of a chip = own curve }"


def _texts(where, record, records, merged):
    """Texts of a row beside its numbers, removed from `merged`."""
    if record == "model":
        return {key: merged.pop(key, None) for key in ("quantisation", "left_out")}
    if record == "curve":
        found = {key: merged.pop(key, []) for key in measured.LISTS}
        measured.lists(where, found)
        return found
    if record == "hardware" and issubclass(records[record], Hardware):
        found = {"curve": merged.pop("curve", USUAL_CURVE), "vendor": merged.pop("vendor", "")}
        for key, text in found.items():
            if not isinstance(text, str):
                raise InputError(f"{where} {key}: {text!r}; expected the name of a {key}")
        return found
    if record == "engine":
        curves = merged.pop("curves", {})
        if not isinstance(curves, dict) or not all(isinstance(name, str) for name in curves.values()):
            raise InputError(f"{where} curves: {curves!r}; expected {{ curve of a hardware = curve of the engine }}")
        choices = {key: merged.pop(key, []) for key in CHOICES}
        for key, names in choices.items():
            if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
                raise InputError(f"{where} {key}: {names!r}; expected a list of names")
        return {"curves": curves} | choices
    return {}


def value(where, record, key, raw, fields):
    """One validated field of a row: a text for `form`, the index of a rate, else an SI number."""
    if key == "form":
        return raw
    if record == "precision" and key.endswith("_rate") and isinstance(raw, str):
        if raw not in RATES:
            raise unknown(where, "rate", raw, RATES)
        return RATES.index(raw)
    return number(where, raw, fields[key])


def numbers(row):
    """A row without its texts."""
    return {key: v for key, v in row.items() if isinstance(v, int | float)}
