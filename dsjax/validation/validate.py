"""Predicted against measured end-to-end systems, with nothing set for one system alone."""

import dataclasses
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr

from .. import arrays, evaluation, types
from ..errors import InputError, unknown
from ..formulas.metrics import LIMITS
from ..formulas.point import evaluate_point
from ..space import grid, parameters
from ..specs import fields, records
from . import agreement, continuous_batching, systems

FILLED = {"start": 8, "stop": 4096, "step": 8}  # batches among which the largest that fits is looked for
# What differs from system to system, or is fitted.
OWN = ("model", "hardware", "phase", "chips", "tp", "moe_tp", "ep", "batch", "prompts", "mtp", "isl", "osl", "context")
OWN += ("software_factor",)


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
    speed is 1 over the complete systems; for a file of one's own fitted to dsjax's systems), `left_out` (the factor
    from the other studies alone), `unfitted` (no factor), `roofline` and `roofline_left_out` (peak rates, no launches,
    no latencies, with a factor of its own, fitted in the same way); `error` and so on: value / measured - 1. `assumed`
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


def predictions(rows, fixed=None, settings=None, catalogs=()):
    """[`Prediction`] of systems; options as in `validate`."""
    fixed, settings, used = dict(fixed or {}), dict(settings or {}), set()
    for name in OWN:
        if name in fixed:
            raise InputError(f"--fix {name}: differs from system to system, or is fitted; expected another name")
    found = [_prediction(row, fixed, settings, catalogs, used) for row in rows]
    for key in settings:
        if key not in used:
            raise unknown("--set", "parameter of the systems", key, sorted(used))
    return found


class Fit(NamedTuple):
    """Values of all systems, with a factor fitted to the complete ones."""

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

    complete = np.array([row.complete for row in rows])
    if factor is not None:
        return Fit(factor, np.full(len(rows), factor), values(factor), values(factor), values(1.0))
    factor = factor_of(complete)
    others = agreement.left_out(factor_of, [row.used["study"] for row in rows], complete)
    return Fit(factor, others, values(factor), values(others), values(1.0))


def ideal():
    """{name of a grid: value} of the roofline: every share 1, every absolute time 0."""
    found = {}
    for record in ("hardware", "nic"):
        for field, meta in fields.fields_of(records.RECORDS[record]).items():
            if meta["units"] == "s":
                found[f"{record}_{field}"] = 0.0
            elif meta["units"] == "1" and meta["high"] == 1.0 and meta["open_low"]:
                found[f"{record}_{field}"] = 1.0
    return found


@dataclasses.dataclass(frozen=True)
class Prediction:
    """Seconds per token, or per layer: fixed_s + factor scaled_s. Beside it what the step is made of."""

    fixed_s: float
    scaled_s: float
    refused: tuple
    bottleneck: str
    batch: int  # sequences of a chip, or of the instance under `concurrency`; prompts of the instance in prefill
    blocks: dict  # {block: s of a step of the first phase, before overlap}

    def value(self, rate, factor):
        """The measured quantity as predicted with a software factor."""
        seconds = self.fixed_s + factor * self.scaled_s
        return 1.0 / seconds if rate else seconds


def _prediction(row, fixed, settings, catalogs, used):
    """`Prediction` of one system; of output with its prefill under continuous batching."""
    try:
        parts = [_phase(row, phase, fixed, settings, catalogs, used) for phase in row.metric.phases]
    except InputError as error:
        if str(error).startswith("--"):
            raise
        raise InputError(f"{row.where}: {str(error).removeprefix('grid: [fixed] ')}") from None
    once, twice = _mixed(row, *parts) if len(parts) > 1 else parts[0].seconds
    refused = tuple(dict.fromkeys(name for part in parts for name in part.refused))
    first = parts[0]
    return Prediction(2.0 * once - twice, twice - once, refused, first.bottleneck, first.batch, first.blocks)


class Phase(NamedTuple):
    """One phase of a system, at software factors 1 and 2 where there are two numbers."""

    seconds: tuple  # per token, or per layer
    step_s: tuple
    refused: tuple
    bottleneck: str
    batch: int
    blocks: dict  # {block: s of a step, before overlap}


def _mixed(row, decode, prefill):
    """Seconds per output token and chip, at two factors, of `continuous_batching.step_time`.

    The fixed time of a step (`hardware.step_s`) is counted once.
    """
    x = row.used
    groups = x["chips"] // x["tp"]
    tokens = [time / seconds for time, seconds in zip(decode.step_s, decode.seconds, strict=True)]  # of a step and chip
    mean = continuous_batching.prompts_per_step(x["tp"] * tokens[0], x["osl"])
    pieces, most = 1, math.inf
    if "prefill_tokens" in x:
        limit = x["prefill_tokens"] * x["tp"]
        pieces, most = (
            continuous_batching.chunks(x["isl"], limit),
            continuous_batching.most_prompts(x["isl"], limit, x["tp"] * x["batch"]),
        )
    shared, prompt_s = continuous_batching.shared_part(prefill.blocks), prefill.step_s[1] - prefill.step_s[0]
    steps = [
        continuous_batching.step_time(time, factor * prompt_s, shared, mean, groups, pieces, most)
        for factor, time in zip((1.0, 2.0), decode.step_s, strict=True)
    ]
    return [step / of_step for step, of_step in zip(steps, tokens, strict=True)]


def _phase(row, phase, fixed, settings, catalogs, used):
    """`Phase` of one system."""
    given = row.grid(phase)
    if given["fixed"].get("batch") == systems.FILLS:
        given["fixed"]["batch"] = _filling(given, fixed, settings, catalogs)
    space = _space(given, fixed, settings, catalogs, used)
    if not row.metric.rate:
        layers = space.rows["model"][given["model"]]["num_hidden_layers"]
        given["axes"]["model_num_hidden_layers"] = [layers, layers + 1]
        space = _space(given, fixed, settings, catalogs, used)
    function = of_instance if "concurrency" in row.used and phase == "decode" else evaluate_point
    found = evaluation.evaluate(space, function=function)
    dims, times = found["step_time"]
    if row.metric.rate:
        name = "tps_per_user" if row.used["metric"] == "user" else "tps_per_chip"
        seconds = 1.0 / np.broadcast_to(found[name][1], 2)
    else:
        seconds = np.diff(times, axis=dims.index("model_num_hidden_layers")).ravel()
    refused = tuple(name for name, (_, ok) in found.items() if name.startswith("ok_") and not np.all(ok))
    blocks = {name.partition("/")[2]: float(x.flat[0]) for name, (_, x) in found.items() if "/" in name}
    limit = LIMITS[int(np.asarray(found["bottleneck"][1]).flat[0])]
    batch = given["fixed"]["batch" if phase == "decode" else "prompts"]
    both = [np.take(times, i, axis=dims.index("software_factor")).flat[0] for i in (0, 1)]
    return Phase(tuple(map(float, seconds)), tuple(map(float, both)), refused, limit, batch, blocks)


def of_instance(step, point, bounds, **policies):
    """`evaluate_point` where `batch` counts the sequences of the whole instance: a chip may have part of one.

    A group has batch / dp of them; where a pipeline halves them, that must be even (`ok_even_batch`).
    """
    d = point.deployment
    batch, chips = (arrays.asarray(x, point.workload.context.dtype) for x in (d.batch, d.chips))
    deployment = dataclasses.replace(d, batch=batch / chips)
    values = evaluate_point(step, dataclasses.replace(point, deployment=deployment), bounds, **policies)
    even = policies["pipeline"].suits(batch * arrays.asarray(d.tp, batch.dtype) / chips % 2.0 == 0.0)
    return values | {"ok_even_batch": values["ok_even_batch"] & even, "feasible": values["feasible"] & even}


def _space(given, fixed, settings, catalogs, used):
    """The space of a system's grid, with those of the settings whose row it has; `used` collects what they may be."""
    bare = grid.load(given, fixed=fixed, catalogs=catalogs)
    known = [f"{record}.{row}.<field>" for record, rows in bare.rows.items() for row in rows]
    mine = {key: x for key, x in settings.items() if _has(bare.rows, parameters.parse(key))}
    used.update(mine, known)
    return grid.load(given, fixed=fixed, settings=mine, catalogs=catalogs) if mine else bare


def _has(rows, parameter):
    return parameter.record in rows and parameter.row in ("", *rows[parameter.record])


def _filling(given, fixed, settings, catalogs):
    """The largest batch of `FILLED` that fits into the memory, the smallest where none does."""
    axes = {"batch": FILLED}
    rest = {name: value for name, value in given["fixed"].items() if name != "batch"}
    space = _space(given | {"axes": axes, "fixed": rest}, fixed, settings, catalogs, set())
    _, fits = evaluation.evaluate(space, names=("ok_memory",))["ok_memory"]
    batches = np.array(space.axes["batch"])
    return int(batches[fits].max(initial=batches[0]))


def _dataset(file, model, bare, given):
    rows, apart = file.systems, file.not_described
    measured = np.array([row.used["value"] for row in rows])
    complete = np.array([row.complete for row in rows])
    ours, roofline = fit(rows, model, given[0]), fit(rows, bare, given[1])
    data = {"measured": measured, "predicted": ours.predicted, "left_out": ours.left_out, "unfitted": ours.unfitted}
    data |= {"roofline": roofline.predicted, "roofline_left_out": roofline.left_out}
    factors = {"left_out_factor": ours.others, "roofline_left_out_factor": roofline.others}
    attrs = {"software_factor": ours.factor, "roofline_factor": roofline.factor}
    attrs["fitted_to"] = "the complete systems" if given[0] is None else "dsjax's own systems"
    errors = {
        ("error" if k == "predicted" else f"{k}_error"): data[k] / measured - 1.0 for k in data if k != "measured"
    }
    ds = xr.Dataset({name: ("system", x, _meta(name)) for name, x in (data | errors | factors).items()})
    blocks = list(dict.fromkeys(name for x in model for name in x.blocks))
    ds["block_time"] = (
        ("system", "block"),
        np.array([[x.blocks.get(name, 0.0) for name in blocks] for x in model]),
        {"units": "s", "long_name": "time of a block in a step of the first phase, before overlap, without factor"},
    )
    ds["assumed"] = ("system", [len(row.assumed) for row in rows], {"units": "1", "long_name": "choices from defaults"})
    coords = {name: ("system", [str(row.used.get(key, "")) for row in rows]) for name, key in _LABELS.items()}
    coords |= {
        "system": ("system", [row.used["id"] for row in rows]),
        "units": ("system", [row.metric.units for row in rows]),
        "complete": ("system", complete),
        "in_house": ("system", [row.used.get("in_house", False) for row in rows]),
        "assumed_keys": ("system", [" ".join(row.assumed) for row in rows]),
        "refused": ("system", [" ".join(x.refused) for x in model]),
        "bottleneck": ("system", [x.bottleneck for x in model]),
        "load": ("system", [x.batch for x in model]),
        "block": ("block", blocks),
        "left_aside": ("left_aside", list(apart)),
        "left_aside_why": ("left_aside", list(apart.values())),
    }
    ds = ds.assign_coords(coords)
    for name, doc in _DOCS.items():
        ds[name].attrs["long_name"] = doc
    ds.attrs = {"title": "Measured systems against predictions", **attrs}
    return ds


_LABELS = {name: name for name in ("study", "hardware", "model", "metric", "evidence")}
_LABELS |= {name: name for name in ("why", "caveat", "known", "source")}
_DOCS = {
    "metric": "what was measured: " + "; ".join(f"{name}: {m.doc}" for name, m in systems.METRICS.items()),
    "units": "units of measured and predicted",
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
}


def _meta(name):
    if name.endswith("factor"):
        return {"units": "1", "long_name": "factor fitted to the other studies"}
    if name.endswith("error"):
        of = name.removesuffix("error").rstrip("_") or "predicted"
        return {"units": "1", "long_name": f"{of} / measured - 1"}
    return {"long_name": f"{_NAMES[name]} (units: coordinate units)"}
