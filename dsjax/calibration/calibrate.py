"""Calibration: efficiency parameters of one kind of kernel on one chip, from measured times, as a catalog row."""

import datetime
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import xarray as xr

from .. import __version__, types
from ..arguments import typed
from ..catalog import names, reader
from ..errors import InputError, unknown
from ..formulas import products
from ..options import option
from ..specs import records
from ..specs.fields import fields_of
from ..units import number
from . import fitting, measurements, precisions
from .kinds import FORMS
from .precisions import PRECISIONS

_KERNELS = ("gemm", "expert", "attention", "gqa_prefill", "gqa", "prefill")  # what names of knots begin with
_KV_DTYPES = ("kv_cache_dtype", "kv_dtype")
FAST = 3.0  # so much faster than memory or network can be the work of a cache; more is a wrong unit
SLOW = 0.02  # shares of a peak below this may be a wrong unit


@typed
def calibrate(
    path: types.Path,
    kind: str,
    hardware: str,
    *,
    precision: str | None = None,
    nic: str = "CX7",
    where: Sequence[str] = (),
    time: str | None = None,
    form: str = "kernel",
    peak: types.Amount | None = None,
    catalogs: Sequence[types.Path] = (),
) -> xr.Dataset:
    """Dataset of a form fitted to the measurements of a CSV file, with its cross-validation by shapes left out.

    `kind`: gemm, grouped-gemm, experts, fused-experts, mla-decode, gqa-decode, mla-prefill, gqa-prefill, dispatch,
    combine, all-reduce; recurrent, scan, channel-scan, state-scan, convolution, mixing-pre, mixing-post,
    compressed-decode, compressed-prefill; columns: see `measurements`. `hardware`, `nic`: rows of the catalog (and of
    `catalogs`) with the peaks. `precision` bf16, fp8, int8, fp4, nvfp4, of weights alone w8a16, int4-a16, mxfp4-a16, or
    the file's word for one: lines of another do not count; `peak` [FLOP/s] in place of the row's rate. `where`: lines
    that count ("device=H100", "kv_len>=256").
    `time`: the column of the time, "COLUMN" or "COLUMN=ms". `form`: "kernel", or "extended", with more parameters
    where they pay.

    Variables: `value` and `uncertainty` (of its logarithm; NaN at a bound, infinite where nothing depends on it) of
    each `parameter`; `measured`, `predicted`, `cross_validated` [s], `used`, `faster_than_memory` of each `point`;
    `median_error`, `p90_error`, `cv_median_error`, `cv_p90_error`. Faster than the peak rate: not used. The attribute
    `row` is a catalog row (see `write_row`).
    """
    if form not in FORMS:
        raise unknown("calibrate", "form", form, FORMS)
    found = measurements.read(path, kind, where, time, precision)
    of = FORMS[form][kind]
    hardware, nic = _spelt(hardware, nic, catalogs)
    precision = precisions.measured(path, kind, found.labels, precision)
    chip, link = _rows(hardware, nic, catalogs)
    peaks = _peaks(kind, chip, link, hardware, precision, peak, found.labels)
    found = measurements.in_bytes(found, peaks["operand_bytes"])
    used, cached = _light(path, of, found, peaks)
    shapes, seconds = {name: x[used] for name, x in found.shapes.items()}, found.seconds[used]
    if len(seconds) < len(of.parameters) + 1:
        wanted = f"at least {len(of.parameters) + 1} for {len(of.parameters)} parameters"
        raise InputError(f"{path}: {len(seconds)} points of different shape that can be used; expected {wanted}")
    try:
        validated, folds = fitting.cross_validate(of, shapes, seconds, peaks)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    result = fitting.fit(of, shapes, seconds, peaks)
    predicted = fitting.predict(of, result.parameters, found.shapes, peaks)
    crossed = np.full(len(found.seconds), np.nan)
    crossed[used] = validated
    times = {"measured": found.seconds, "predicted": predicted, "cross_validated": crossed}
    ds = _dataset(of, found, times, used, cached, result)
    for name, (x, y) in {"": (result.predicted, seconds), "cv_": (validated, seconds)}.items():
        median, p90 = fitting.summary(x, y)
        meta = {"units": "1", "long_name": f"of |predicted / measured - 1|{', shape left out' if name else ''}"}
        ds[f"{name}median_error"], ds[f"{name}p90_error"] = ((), median, meta), ((), p90, meta)
    ds.attrs |= {
        "title": f"{of.doc} on {hardware}, {precision}: {Path(path).name}",
        "kind": kind,
        "hardware": hardware,
        "precision": precision,
        "kv_bytes": peaks["kv_bytes"],
        "form": form,
        "file": str(path),
        "where": ", ".join(where),
        "of_precision": found.of_precision,
        "equation": of.form.__doc__,
        "lines": found.lines,
        "incomplete": found.incomplete,
        "merged": found.merged,
        "folds": folds,
        "left_out": ", ".join(of.group),
        "is_curve": int(of.is_curve),
        "fixed": json.dumps(of.fixed),
        "nic": nic,
        "curve": chip["curve"],
        "dsjax_version": __version__,
    }
    ds.attrs["row"] = row_of(ds)
    return ds


def named(kind, form, name=None, base=None, catalogs=()):
    """The base of a row as its own row spells it, None without one; a name that is none, or a base that is no row
    of what a fit of this kind becomes, is refused.
    """
    if name is not None and not name.strip():
        raise InputError(f"calibrate: {option('name')}: {name!r}; expected a text")
    if base is None or kind not in FORMS.get(form, ()):
        return None
    record = "curve" if FORMS[form][kind].is_curve else "hardware"
    rows = reader.load(records.RECORDS, *reader.users(catalogs))[record]
    return names.canonical(f"calibrate: {option('base')}", record, base, rows)


def row_of(ds, name=None, base=None):
    """TOML text of the fitted row: a curve of the catalog, or the chip and NIC of a network, where the core model has a
    form of it; else a table `fit`. `base`: the row that gives the rest (of a network the chip's own, if no other).
    """
    a = ds.attrs
    name = name or f"{a['hardware']}-{a['kind']}-{a['precision']}"
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    errors = [f"{100 * float(ds[x]):.1f}" for x in ("cv_median_error", "cv_p90_error")]
    conditions = ", ".join(filter(None, (a["where"], a["of_precision"])))
    where = f" where {conditions}" if conditions else ""
    source = (
        f"fitted by dsjax {__version__} on {today} to {int(ds['used'].sum())} points of {Path(a['file']).name}{where}; "
        f"{a['kind']} on {a['hardware']}, {a['precision']}; |error| over shapes left out: median {errors[0]} %, 90th "
        f"percentile {errors[1]} %"
    )
    fields, found = dict(zip(ds["parameter"].values.tolist(), ds["field"].values.tolist(), strict=True)), {}
    tables = _tables(a, fields)
    for parameter, field in fields.items():
        x = ds.sel(parameter=parameter)
        if field and not np.isinf(float(x["uncertainty"])):  # else the base row's stays
            record, field = field.split(".") if field.startswith("nic.") else (tables[0], field)
            field = parameter if record == "fit" else _knot(field, a) if record == "curve" else field
            found.setdefault(record, []).append(f"{field} = {float(x['value']):.5g}")
    for field, value in json.loads(a["fixed"]).items():
        field = _knot(field, a) if tables[0] == "curve" else field
        found.setdefault(tables[0], []).append(f"{field} = {value:.5g}")
    of = {"hardware": base or a["hardware"], "nic": a["nic"], "curve": base or a["curve"]}
    text = []
    for record in [table for table in tables if table in found]:
        label = f"{a['nic']}-{name}" if record == "nic" else name
        above = f"form = {json.dumps(a['equation'])}" if record == "fit" else f"base = {json.dumps(of[record])}"
        source_line = f"source = {json.dumps(source, ensure_ascii=False)}" + '\nkind = "fitted"' * (record != "fit")
        fitted = [f"fitted = {json.dumps([a['hardware']])}"] if record == "curve" else []
        text.append("\n".join([f"[{record}.{json.dumps(label)}]", above, source_line, *fitted, *found[record]]))
    return "\n\n".join(text) + "\n"


def _tables(attrs, fields):
    """Records of the catalog that hold the fitted fields; `fit` where none does."""
    if attrs["is_curve"]:
        return ("curve",)
    known = {f"nic.{field}" for field in fields_of(records.Nic)} | fields_of(records.Hardware).keys()
    return ("hardware", "nic") if known.issuperset(fields.values()) else ("fit",)


def _knot(field, attrs):
    """The knot of a curve for the width of the operands, and of the cache."""
    kind = next((x for x in _KERNELS if field.startswith(f"{x}_")), None)
    if kind is None:
        return field  # of a kernel that has one set of knots
    name = field.removeprefix(f"{kind}_")
    rate, weight_bytes = PRECISIONS[attrs["precision"]][:2]
    if kind in products.KNOTS:
        return f"{kind}{list(products.SETS)[int(products.operands(records.RATES.index(rate), weight_bytes))]}_{name}"
    if attrs["kind"].endswith("-decode") and rate == "bf16" and attrs["kv_bytes"] < 2.0:
        return f"{kind}_cast_{name}"
    return f"{kind}{'' if rate == 'bf16' else '8'}_{name}"


def write_row(ds, path, name=None, base=None, force=False, catalogs=()):
    """The row of a calibration as a TOML file that `--catalog` reads; written whole or not at all.

    `catalogs` have rows that `base` may name.
    """
    from ..results import files

    files.apart([path], [ds.attrs["file"]])
    files.check_text(path, force)
    base = named(ds.attrs["kind"], ds.attrs["form"], name, base, catalogs)
    files.write_text(path, row_of(ds, name, base), force)


def _spelt(hardware, nic, catalogs):
    """The names of the chip and of its NIC as their rows spell them."""
    rows = reader.load(records.RECORDS, *reader.users(catalogs))
    return [names.canonical("calibrate", x, name, rows[x]) for x, name in (("hardware", hardware), ("nic", nic))]


def _rows(hardware, nic, catalogs):
    """Rows of the chip and of its NIC."""
    rows = reader.load(records.RECORDS, *reader.users(catalogs))
    return rows["hardware"][hardware], rows["nic"][nic]


def _peaks(kind, chip, link, hardware, precision, peak, labels):
    """Peaks of the chip and its NIC `link`, and bytes per element, as the forms read them."""
    rate, weights, read, written = PRECISIONS[precision]
    flops = chip.get(f"{rate}_flops_per_s", 0.0)
    if peak is not None:
        flops = number("calibrate: peak", peak, fields_of(records.Hardware)["bf16_flops_per_s"])
    if not flops:
        if kind not in precisions.COMPUTES_NOTHING:
            wanted = f"{option('peak')}, its FLOP/s"
            raise InputError(f"calibrate: {hardware} has no {rate} rate in the catalog; expected {wanted}")
        flops = 1.0  # exchanges compute nothing
    kv = {precisions.spelt(x) for column in _KV_DTYPES for x in labels.get(column, ()) if x}
    if len(kv) > 1:
        raise InputError(
            f"calibrate: the KV cache has {', '.join(sorted(kv))}; expected one of them ({option('where')})"
        )
    return {
        "flops_per_s": flops,
        "hbm_bytes_per_s": chip["hbm_bytes_per_s"],
        "scale_up_bytes_per_s": chip["scale_up_bytes_per_s"],
        "scale_out_bytes_per_s": link["scale_out_bytes_per_s"],
        "weight_bytes": weights,
        "operand_bytes": read,
        "result_bytes": written,
        "kv_bytes": PRECISIONS.get(kv.pop() if kv else precision, (None, None, read))[2],
    }


def _light(path, kind, found, peaks):
    """(points not faster than peak compute, points faster than peak memory or network); a wrong unit is refused."""
    compute, moved = (np.asarray(x) for x in kind.work(found.shapes, peaks))
    impossible = (found.seconds < compute) | (found.seconds < moved / FAST)
    if impossible.mean() > 0.5:
        i = int(np.argmax(np.maximum(compute, moved / FAST) / found.seconds))
        shape = ", ".join(f"{name} {x[i]:g}" for name, x in found.shapes.items())
        raise InputError(
            f"{path}: {impossible.sum()} of {len(impossible)} times beat the peak rates of the chip: {shape} in "
            f"{found.seconds[i]:.3g} s, at peak {max(compute[i], moved[i]):.3g} s; expected times in the unit that the "
            f"column names, and the chip and precision measured"
        )
    return found.seconds >= compute, found.seconds < moved


def _dataset(kind, found, times, used, cached, result):
    parameters = kind.parameters
    coords = {name: ("point", x, {"long_name": name}) for name, x in found.shapes.items()}
    for name, (units, doc) in kind.columns.items():
        coords[name] = ("point", found.shapes[name], {"units": units, "long_name": doc})
    coords |= {
        "parameter": ("parameter", list(parameters), {"long_name": "parameter of the form"}),
        "units": ("parameter", [p.units for p in parameters.values()], {"long_name": "units of the value"}),
        "meaning": ("parameter", [p.doc for p in parameters.values()], {"long_name": "what it is"}),
        "field": ("parameter", [p.field for p in parameters.values()], {"long_name": "field of the catalog row"}),
    }
    ds = xr.Dataset(coords=coords)
    ds["value"] = ("parameter", [float(result.parameters[name]) for name in parameters], {"long_name": "fitted value"})
    meta = {"units": "1", "long_name": "standard error of the logarithm"}
    ds["uncertainty"] = ("parameter", [float(result.errors[name]) for name in parameters], meta)
    for name, x in times.items():
        ds[name] = ("point", x, {"units": "s", "long_name": f"{name.replace('_', '-')} time"})
    flags = {"flag_values": np.array([0, 1], np.int8), "flag_meanings": "no yes"}
    ds["used"] = ("point", used.astype(np.int8), {"long_name": "not faster than the peak rate", **flags})
    ds["faster_than_memory"] = (
        "point",
        cached.astype(np.int8),
        {"long_name": "faster than peak memory or network bandwidth", **flags},
    )
    return ds
