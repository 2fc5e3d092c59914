"""Result files of engines' benchmarks -> measured systems, in the form that `systems.read` reads."""

import datetime
import json
import math
import os
import tomllib
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import xarray as xr

from .. import __version__, types
from ..arguments import typed
from ..catalog import reader
from ..errors import InputError, Remark, shortened, unknown
from ..options import keyword, option
from ..results import files
from ..specs import fields
from ..units import number
from . import systems
from .benchmarks import doubts, genai_perf, inferencex, names, sglang, tensorrt_llm, vllm
from .benchmarks.record import records

# The more particular first: InferenceX and SGLang keep keys of vLLM's, AIPerf those of GenAI-Perf.
FORMATS = (inferencex.FORMAT, tensorrt_llm.FORMAT, genai_perf.AIPERF, genai_perf.GENAI_PERF, sglang.FORMAT, vllm.FORMAT)
# What a prediction of a run needs; what its file leaves open is an option.
REQUIRED = ("model", "hardware", "precision", "engine", "chips", "tp", "ep", "concurrency", "isl", "osl")
_MEASURED = ("id", "source", "metric", "value", "ttft", "tps_per_chip", "complete")
OPTIONS = (*(key for key in systems.KEYS if key not in _MEASURED), "dp")
_SIZES = {key: fields.count(key) for key in ("dp", "tp", "chips", "ep", "concurrency")}
_SIZES |= {key: fields.size("token", key) for key in ("isl", "osl")}
_FIRST = ("id", "date", "source", "evidence", "engine", "engine_version", "model", "hardware", "nic", "precision")


@typed
def ingest(
    paths: types.Path | Sequence[types.Path],
    *,
    output: types.Path | None = None,
    force: bool = False,
    study: str | None = None,
    where: Sequence[str] = (),
    allow_failures: bool = False,
    catalogs: Sequence[types.Path] = (),
    **options: Any,
) -> xr.Dataset:
    """Runs of benchmarks as measured systems, a Dataset over `system`; with `output` also a file for `validate`.

    `paths`: result files of `FORMATS`, told apart by what is in them. `options`: keys of a file of systems
    (`hardware`, `tp`, `concurrency`, ...) and `dp` (chips = tp dp), for all runs: what the files do not say, or other
    than they say. `study`: id of the study, the first file's name without one. `where`: runs that count, by keys of the
    files themselves ("hw=h200"). A run with requests that failed is refused without `allow_failures`; `catalogs` have
    rows that options may name.

    Variables: `value` of the `metric` (mean time of a token [s]; of one token a request the time to the first; without
    either, as without streaming, output tokens per second and chip), `ttft` [s], `tps_per_chip` [token/s], lengths,
    layout. Runs that no file of systems describes are `left_aside`. Attribute `text`: the TOML file.
    """
    paths = [paths] if isinstance(paths, str | os.PathLike) else paths
    if not isinstance(paths, list | tuple) or not all(isinstance(x, str | os.PathLike) for x in paths) or not paths:
        raise InputError(f"ingest: {paths!r}; expected paths of result files of benchmarks")
    _distinct(paths)
    if study is not None and (not isinstance(study, str) or not study.strip()):
        raise InputError(f"ingest: study: {study!r}; expected a text")
    if output is not None:
        files.apart([output], [*paths, *catalogs])
        files.check_text(output, force)
    known = _known(catalogs, options.get("model"))
    given = _checked(options, known)
    runs = [each for path in paths for each in _runs(path, _conditions(where), allow_failures)]
    if not runs:
        raise InputError(f"{_all_of(paths)}: no run with {', '.join(where)}; expected keys and values of a run there")
    rows, aside, missing, doubted = [], {}, {}, {}
    for path, record, form, run in runs:
        if run.aside and run.answer not in given:
            aside[_free(Path(path).stem, aside)] = record, path, run
            continue
        row, open_ = _row(path, record, form, run, given, known)
        missing |= {key: run.called.get(key) for key in open_ if key not in missing}
        rows.append(row)
        for what, said in doubts.found(record, form, run).items():
            doubted.setdefault(what, []).append(said)
    if missing:
        raise InputError(f"{_all_of(paths)}: {_leaves_open(missing)}")
    if not rows:
        record, _, run = next(iter(aside.values()))
        hint = f", or {option(run.answer)}" if run.answer else ""
        raise InputError(f"{record.where}: {run.aside}; expected a run of one instance with users who wait{hint}")
    aside = {name: f"{_named(record, path)}: {run.aside}" for name, (record, path, run) in aside.items()}
    ids: dict = {}
    for row in rows:
        row["id"] = _free(f"{row.pop('stem')}-{row['isl']:.0f}-{row['osl']:.0f}-C{row['concurrency']}", ids)
        ids[row["id"]] = row
    text = _text(study or Path(paths[0]).stem, rows, aside)
    found = systems.of_tables(tomllib.loads(text), _all_of(paths))
    for first, *others in doubted.values():
        more = f" (likewise {len(others)} more)" if others else ""
        warnings.warn(f"{shortened(first)}{more}", Remark, stacklevel=2)
    if output is not None:
        files.write_text(output, text, force)
    return _dataset(rows, found, text)


def _distinct(paths):
    """Refuses one file under two names: its runs would count twice."""
    names: dict = {}
    for path in paths:
        if (real := os.path.realpath(path)) in names:
            beside = "" if str(path) == str(names[real]) else f", also as {names[real]}"
            raise InputError(f"ingest: {path}: given twice{beside}; expected each result file once")
        names[real] = path


def _known(catalogs, model):
    """{key: rows that it may name}; a `model` may be the path of a config.json."""
    rows = reader.load(reader.RECORDS, *reader.users(catalogs), models=[model])
    return {key: rows[key] for key in ("model", "hardware", "nic", "precision", "engine")}


def _checked(options, known):
    """The options that are given, rows and sizes checked; `dp` gone into `chips`."""
    given = {key: getattr(value, "item", lambda x=value: x)() for key, value in options.items() if value is not None}
    for key, value in given.items():
        if key not in OPTIONS:
            raise unknown("ingest", "option", key, OPTIONS)
        if not isinstance(value, str | int | float) or (isinstance(value, float) and not math.isfinite(value)):
            raise InputError(f"ingest: {key}: {value!r}; expected a text or a finite number")
        if key in known and value not in known[key]:
            raise unknown(f"ingest: {key}", key, value, known[key])
        if key == "date":
            given[key] = str(value)  # a year is a number on the command line
            systems.day("ingest: date", given[key])
        if key in _SIZES:
            given[key] = number(f"ingest: {key}", value, _SIZES[key].metadata)
    if "dp" in given:
        if "tp" not in given:
            raise InputError("ingest: dp: without tp; expected both, as chips = tp dp")
        chips = given.pop("dp") * given["tp"]
        if given.setdefault("chips", chips) != chips:
            raise InputError(f"ingest: chips: {given['chips']}; expected tp dp = {chips}, or no dp")
    return given


def _conditions(where):
    """{key: text} of "key=text" conditions."""
    if isinstance(where, str) or not all(isinstance(x, str) and "=" in x[1:] for x in where):
        raise InputError(f"where: {where!r}; expected conditions KEY=VALUE")
    return dict(x.split("=", 1) for x in where)


def _runs(path, conditions, allow_failures):
    """[(path, record, format, run)] of a file; a run that did not do what was asked is refused."""
    found = []
    for record in records(path):
        if any(str(record.get(key)).lower() != text.lower() for key, text in conditions.items()):
            continue
        form = next((x for x in FORMATS if x.holds(record.data)), None)
        if form is None:
            keys = ", ".join(map(str, list(record.data)[:6])) or "none"
            formats = ", ".join(x.name for x in FORMATS)
            raise InputError(f"{record.where}: keys {keys[:80]}: of no format that is read; expected one of {formats}")
        run = form.read(record)
        if run.requests == 0:
            raise InputError(f"{record.where}: no request was answered; expected a run of {form.name} that measured")
        if run.failed and not allow_failures:
            told = f"{run.failed} of {(run.requests or 0) + run.failed} requests failed"
            raise InputError(f"{record.where}: {told}; expected a run without, or {option('allow_failures', True)}")
        found.append((path, record, form, run))
    return found


def _row(path, record, form, run, given, known):
    """(system of a run, keys that are still open)."""
    said = {key: value for key, value in run.said.items() if value not in (None, "")}
    meant = {key: names.row(key, text, known[key]) for key, text in run.called.items() if key in known and text}
    said |= {key: name for key, name in meant.items() if name}
    if run.requests and "concurrency" in said:
        said["concurrency"] = min(said["concurrency"], run.requests)  # a limit above them limits nothing
    row = said | given
    if said.get("mtp") == 0:
        row["mtp"] = 0  # an option is for the runs with drafts
    if run.requests and "concurrency" in row and not run.aside:
        row.setdefault("requests_per_user", run.requests / row["concurrency"])
    model = known["model"].get(row.get("model"))
    if model is not None and model["n_routed_experts"] <= 1:  # dense
        row.setdefault("ep", 1)
    open_ = [key for key in (*REQUIRED, *run.needs) if key not in row]
    other = [key for key in sorted(given) if given[key] != said.get(key, given[key])]
    added = [key for key in sorted(given) if key not in said]
    notes = [
        f"{text}: {', '.join(keys)}" for text, keys in (("not in the file", added), ("not as there", other)) if keys
    ]
    if "date" in row:
        systems.day(f"{record.where}: date", row["date"], f", there or by {keyword('date')}")
    else:
        row["date"] = _changed(path)
        notes.append("date of the file's last change")
    notes += [f"{run.failed} requests failed"] if run.failed else []
    notes += [run.aside] if run.aside else []
    row.setdefault("evidence", "result file")
    row["source"] = f"{_named(record, path)}: {form.name}, version {run.version or 'not in the file'}"
    if notes:
        row["caveat"] = "; ".join([*([row["caveat"]] if "caveat" in row else []), *notes])
    if not open_:
        row |= _measured(record, form, run, row["chips"], row["osl"])
    lengths = {key: int(row[key]) for key in ("isl", "osl") if key in row and float(row[key]).is_integer()}
    return row | lengths | {"stem": Path(path).stem}, open_


def _measured(record, form, run, chips, osl):
    """{metric, value, ...} of a run: the time of a token where it has one."""
    rate = {"tps_per_chip": run.tokens_per_s / chips} if run.tokens_per_s else {}
    first = {"ttft": run.ttft} if run.ttft else {}
    if run.tpot:
        return {"metric": "tpot", "value": run.tpot} | first | rate
    if first and osl <= 1:
        return {"metric": "ttft", "value": run.ttft}
    if rate:
        return {"metric": "mixed", "value": rate["tps_per_chip"]} | first
    raise InputError(f"{record.where}: neither a time of a token nor a rate of output; expected one from {form.name}")


def _leaves_open(missing):
    """A sentence on what is left open, with what the file calls it where dsjax has no one row of that name."""
    told = [f"{key} ({text!r} there)" if text else key for key, text in missing.items()]
    wanted = ", ".join(option(key) if key in (*REQUIRED, "nic") else keyword(key) for key in missing)
    return f"leaves open {', '.join(told)}; expected {wanted}"


def _all_of(paths):
    return f"{paths[0]}" + (f" and {len(paths) - 1} more" if len(paths) > 1 else "")


def _named(record, path):
    return Path(path).name + record.where.removeprefix(str(path)).replace(":", ",")


def _changed(path):
    return datetime.datetime.fromtimestamp(Path(path).stat().st_mtime, datetime.UTC).date().isoformat()


def _free(name, taken):
    """A name that is not taken."""
    if name not in taken:
        return name
    return next(x for i in range(2, len(taken) + 3) if (x := f"{name}-{i}") not in taken)


def _text(study, rows, aside):
    """The file of systems: what all of them have in common stands with the study."""
    keys = dict.fromkeys([*_FIRST, *systems.KEYS])
    same = {
        key: rows[0][key]
        for key in keys
        if key not in ("id", "metric", "value") and all(row.get(key) == rows[0].get(key) is not None for row in rows)
    }
    lines = [f"# Written by dsjax ingest {__version__}; the form is that of dsjax/data/systems.toml."]
    lines += ["# Seconds, tokens, tokens per second and chip.", "", "[[study]]", f"id = {_toml(study)}"]
    lines += [f"{key} = {_toml(value)}" for key, value in same.items()]
    for row in rows:
        lines += ["", "[[study.system]]"]
        lines += [f"{key} = {_toml(row[key])}" for key in keys if key in row and key not in same]
    if aside:
        lines += ["", "[not_described]", *(f"{_toml(key)} = {_toml(why)}" for key, why in aside.items())]
    return "\n".join(lines) + "\n"


def _toml(value):
    """A value as TOML; texts on one line, without what UTF-8 or TOML cannot hold."""
    if not isinstance(value, str):
        return json.dumps(value)
    text = value.encode("utf-8", "replace").decode("utf-8")
    return json.dumps("".join(x if x.isprintable() else " " for x in text), ensure_ascii=False)


_NUMBERS = {"tps_per_chip": "token/s", "isl": "token", "osl": "token", "concurrency": "sequence"}
_NUMBERS |= {"chips": "1", "tp": "1", "ep": "1"}
_LABELS = ("model", "hardware", "precision", "engine", "metric", "date", "source", "caveat")


def _dataset(rows, file, text):
    """The systems as a Dataset."""
    data = {"value": ("system", [float(row["value"]) for row in rows], {"long_name": "value of the metric, SI"})}
    for name, units in _NUMBERS.items():
        data[name] = ("system", [float(row.get(name, "nan")) for row in rows], {"units": units})
    first = [row["value"] if row["metric"] == "ttft" else row.get("ttft", math.nan) for row in rows]
    data["ttft"] = ("system", first, {"units": "s", "long_name": "mean time to the first token"})
    coords = {name: ("system", [str(row.get(name, "")) for row in rows]) for name in _LABELS}
    coords |= {"system": ("system", [row["id"] for row in rows])}
    coords |= {"left_aside": ("left_aside", list(file.not_described))}
    coords |= {"left_aside_why": ("left_aside", list(file.not_described.values()))}
    return xr.Dataset(data, coords, {"title": "Runs of benchmarks as measured systems", "text": text})
