"""Predicted against measured end-to-end systems, with nothing set for one system alone."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr

from .. import types
from ..arguments import typed
from . import agreement, engines, measured, systems
from .predict import ideal, predictions


@typed
def validate(
    source: types.Path | None = None,
    *,
    fixed: types.Named | None = None,
    settings: types.Named | None = None,
    catalogs: Sequence[types.Path] = (),
) -> xr.Dataset:
    """Measured systems beside what dsjax predicts, as a Dataset over `system`.

    `source`: the path of a file of systems (`systems.read`), dsjax's own published ones without. `fixed` {name:
    value} holds for all systems ({"curve": "mine"}), `settings` and `catalogs` as in `sweep`.

    `measured`, `predicted` (with one software factor, fitted so that the geometric mean of predicted over measured
    speed is 1 over the complete systems, first tokens aside; for a file of one's own fitted to dsjax's systems),
    `left_out` (the factor from the other studies alone), `unfitted` (no factor), `roofline` and `roofline_left_out`
    (peak rates, no launches, no latencies, with a factor of its own, fitted in the same way), `by_engine` and
    `by_engine_left_out` (a factor for each engine with `engines.ROWS` such systems, that of all for the others);
    `error` and so on: value / measured - 1. `uncertainty`: relative standard error of the time, of kernels as uncertain
    as `kernel_uncertainty`, which the tables of a sweep print. `class` of a system: `measured.CLASSES`. `assumed`
    counts what comes from the defaults, `refused` names the constraints that the model thinks the system breaks.
    Attributes `software_factor`, `roofline_factor`. Statistics: `statistics(ds)`.
    """
    file, fixed = systems.read(source), dict(fixed or {})
    model = predictions(file.systems, fixed, settings, catalogs)
    bare = predictions(file.systems, fixed | ideal() | file.roofline, settings, catalogs)
    return _dataset(file, model, bare, factors(source))


def factors(source):
    """Factors (ours, of the roofline) fitted to dsjax's own systems for a file of one's own; None, None for dsjax's.

    A few systems would fit any factor to themselves.
    """
    if source is None:
        return None, None
    own = systems.read()
    return tuple(fit(own.systems, predictions(own.systems, fixed)).factor for fixed in ({}, ideal() | own.roofline))


class Fit(NamedTuple):
    """Values of all systems, with a factor fitted to those that fit one (`System.fits`)."""

    factor: float
    others: np.ndarray  # the factor fitted to all other studies
    predicted: np.ndarray  # with `factor`
    left_out: np.ndarray  # with `others`
    unfitted: np.ndarray  # without any


def fit(rows, found, factor=None):
    """`Fit` of the systems' `Prediction`s; nothing is fitted where a factor is given."""
    measured = np.array([row.used["value"] for row in rows])
    rate = np.array([row.metric.rate for row in rows])
    fixed_s, scaled_s = (np.array([getattr(x, name) for x in found]) for name in ("fixed_s", "scaled_s"))
    seconds = np.where(rate, 1.0 / measured, measured)

    def factor_of(which):
        return agreement.fitted_factor(fixed_s[which], scaled_s[which], seconds[which])

    def values(factor):
        time = fixed_s + factor * scaled_s
        return np.where(rate, 1.0 / time, time)

    fits = np.array([row.fits for row in rows])
    if factor is not None:
        return Fit(factor, np.full(len(rows), factor), values(factor), values(factor), values(1.0))
    factor = factor_of(fits)
    others = agreement.left_out(factor_of, [row.used["study"] for row in rows], fits)
    return Fit(factor, others, values(factor), values(others), values(1.0))


def _dataset(file, model, bare, given):
    rows, apart = file.systems, file.not_described
    values = np.array([row.used["value"] for row in rows])
    rate = np.array([row.metric.rate for row in rows])
    complete = np.array([row.complete for row in rows])
    ours, roofline = fit(rows, model, given[0]), fit(rows, bare, given[1])
    data = {"measured": values, "predicted": ours.predicted, "left_out": ours.left_out, "unfitted": ours.unfitted}
    data |= {"roofline": roofline.predicted, "roofline_left_out": roofline.left_out}
    fitted = engines.fit(rows, model)
    for name, seconds in (("by_engine", fitted.predicted_s), ("by_engine_left_out", fitted.left_out_s)):
        data[name] = np.where(rate, 1.0 / seconds, seconds)
    factors = {"left_out_factor": ours.others, "roofline_left_out_factor": roofline.others}
    attrs = {"software_factor": ours.factor, "roofline_factor": roofline.factor}
    if said := dict.fromkeys(line for one in model for line in one.remarks):
        attrs["remarks"] = "\n".join(said)
    attrs["fitted_to"] = "the complete systems, first tokens aside" if given[0] is None else "dsjax's own systems"
    errors = {("error" if k == "predicted" else f"{k}_error"): data[k] / values - 1.0 for k in data if k != "measured"}
    ds = xr.Dataset({name: ("system", x, _meta(name)) for name, x in (data | errors | factors).items()})
    blocks = list(dict.fromkeys(name for x in model for name in x.blocks))
    ds["block_time"] = (
        ("system", "block"),
        np.array([[x.blocks.get(name, 0.0) for name in blocks] for x in model]),
        {"units": "s", "long_name": "time of a block in a step of the first phase, before overlap, without factor"},
    )
    numbers = {name: [getattr(x, name) for x in model] for name in ("uncertainty", "kernel_uncertainty", "prompts")}
    numbers["assumed"] = [len(row.assumed) for row in rows]
    numbers["concurrency"] = [row.used.get("concurrency", 0) for row in rows]
    numbers |= {name: [row.used[name] for row in rows] for name in ("chips", "tp")}
    ds = ds.assign({name: ("system", x, {"units": "1"}) for name, x in numbers.items()})
    own = list(fitted.engines.items())
    ds["engine_factor"] = ("fitted", [x.numbers["software_factor"] for _, x in own], {"units": "1"})
    ds["engine_numbers"] = ("fitted", [len(x.fitted) for _, x in own], {"units": "1"})
    ds["engine_systems"] = ("fitted", [x.rows for _, x in own], {"units": "1"})
    coords = {name: ("system", [str(row.used.get(key, "")) for row in rows]) for name, key in _LABELS.items()}
    coords |= {
        "system": ("system", [row.used["id"] for row in rows]),
        "class": ("system", [row.kind for row in rows]),
        "units": ("system", [row.metric.units for row in rows]),
        "complete": ("system", complete),
        "in_house": ("system", [row.used.get("in_house", False) for row in rows]),
        "assumed_keys": ("system", [" ".join(row.assumed) for row in rows]),
        "refused": ("system", [" ".join(x.refused) for x in model]),
        "bottleneck": ("system", [x.bottleneck for x in model]),
        "load": ("system", [x.batch for x in model]),
        "block": ("block", blocks),
        "fitted": ("fitted", [name for name, _ in own]),
        "left_aside": ("left_aside", list(apart)),
        "left_aside_why": ("left_aside", list(apart.values())),
    }
    ds = ds.assign_coords(coords)
    for name, doc in _DOCS.items():
        ds[name].attrs["long_name"] = doc
    ds.attrs = {"title": "Measured systems against predictions", **attrs}
    return ds


_LABELS = {name: name for name in ("study", "engine", "hardware", "model", "metric", "evidence")}
_LABELS |= {name: name for name in ("why", "caveat", "known", "source")}
_DOCS = {
    "metric": "what was measured: " + "; ".join(f"{name}: {m.doc}" for name, m in systems.METRICS.items()),
    "units": "units of measured and predicted",
    "class": "; ".join(f"{name}: {rule}" for name, rule in measured.CLASSES.items()),
    "uncertainty": "relative standard error of the time without a factor, from that of kernels",
    "kernel_uncertainty": "relative standard error of the time of a kernel of the chip",
    "prompts": "share of the time that is the prompts of others",
    "assumed": "choices from defaults",
    "concurrency": "sequences in flight in the instance; 0: a batch of a chip is given, or none",
    "chips": "chips of the instance",
    "tp": "chips that share the attention of a sequence",
    "fitted": "engine with a software factor of its own; generic: all together, for the others",
    "engine_factor": "software factor of an engine",
    "engine_numbers": "numbers fitted",
    "engine_systems": "complete systems that they are fitted to",
    "assumed_keys": "what comes from the defaults",
    "refused": "constraints that the model thinks the system breaks",
    "load": "sequences of a chip (of the instance for one user), prompts of the instance in prefill",
    "complete": "whether the source gives all that matters",
    "why": "what the source leaves open",
    "known": "why the prediction is far off, where that is known",
    "left_aside": "systems that the catalog cannot describe",
}
_NAMES = {
    "measured": "as published",
    "predicted": "predicted with the fitted software factor",
    "left_out": "predicted with the software factor of the other studies",
    "unfitted": "predicted without a factor",
    "roofline": "peak rates without launches, with a fitted factor",
    "roofline_left_out": "peak rates without launches, with the factor of the other studies",
    "by_engine": "predicted with the software factor of the engine",
    "by_engine_left_out": "predicted with the software factor that the other studies give the engine",
}


def _meta(name):
    if name.endswith("factor"):
        return {"units": "1", "long_name": "factor fitted to the other studies"}
    if name.endswith("error"):
        of = name.removesuffix("error").rstrip("_") or "predicted"
        return {"units": "1", "long_name": f"{of} / measured - 1"}
    return {"long_name": f"{_NAMES[name]} (units: coordinate units)"}
