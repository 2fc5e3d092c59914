"""What dsjax predicts of measured systems: the time of what was measured, what it is made of, and how sure it is.

All systems are points of few programs, and are evaluated together; every number that is moved (the software factor,
kernel times for the uncertainty) is a sample more of the same point.
"""

import dataclasses
import math
from typing import NamedTuple

import numpy as np

from .. import evaluation
from ..errors import InputError, unknown
from ..formulas.metrics import LIMITS
from ..space import grid, parameters, provenance
from ..specs import fields, records
from . import continuous_batching, measured

FILLED = {"start": 8, "stop": 4096, "step": 8}  # batches among which the largest that fits is looked for
# What differs from system to system, or is fitted.
OWN = ("model", "hardware", "phase", "chips", "tp", "moe_tp", "ep", "batch", "prompts", "mtp", "isl", "osl", "context")
OWN += ("concurrency", "pp", "software_factor", "engine")
STEP = 1e-4  # of the logarithm of a kernel's time
FACTOR, LAYERS = ("workload", "software_factor"), ("model", "num_hidden_layers")
SLOWER = {
    "_compute": -1,
    "_memory": -1,
    "_start_s": 1,
    "_split_s": 1,
    "_depth_s": 1,
    "_slot_s": 1,
}  # knots whose powers make all of a kernel's time
UNMEASURED = ("pointwise",)  # kinds of kernel that are assumed on every chip


@dataclasses.dataclass(frozen=True)
class Prediction:
    """Seconds of what was measured: fixed_s + factor scaled_s. Beside it what they are made of.

    `steps`, `drafts` and `requests` in those seconds: what the host's time of each would add. `uncertainty`: relative
    standard error of them all, where the kernels of a kind are off together, by the standard error that the tables of
    dsjax give (`kernel_uncertainty`), and kinds independently; networks are taken as right.
    """

    fixed_s: float
    scaled_s: float
    steps: float
    drafts: float
    requests: float
    uncertainty: float
    kernel_uncertainty: float
    prompts: float  # share of the time that is the prompts of others
    refused: tuple
    bottleneck: str
    batch: int  # sequences of a chip, or of the instance under `concurrency`; prompts of the instance in prefill
    blocks: dict  # {block: s of a step of the first phase, before overlap}


def predictions(rows, fixed=None, settings=None, catalogs=()):
    """[`Prediction`] of systems; `fixed` {name: value} holds for all, `settings` and `catalogs` as in `sweep`."""
    rows, fixed, settings, used = list(rows), dict(fixed or {}), dict(settings or {}), set()
    for name in OWN:
        if name in fixed:
            raise InputError(f"--fix {name}: differs from system to system, or is fitted; expected another name")
    cases = [_case(row, phase, fixed, settings, catalogs, used) for row in rows for phase in row.phases]
    for key in settings:
        if key not in used:
            raise unknown("--set", "parameter of the systems", key, sorted(used))
    values = evaluation.points([x.space for x in cases], [x.moved for x in cases])
    phases = iter([_phase(case, value) for case, value in zip(cases, values, strict=True)])
    return [_prediction(row, [next(phases) for _ in row.phases]) for row in rows]


def ideal():
    """{name of a grid: value} of the roofline: every share 1, every absolute time 0."""
    found = {}
    for record in ("hardware", "nic", "engine"):
        for field, meta in fields.fields_of(records.RECORDS[record]).items() if record in records.RECORDS else ():
            if meta["units"] == "s":
                found[f"{record}_{field}"] = 0.0
            elif meta["units"] == "1" and meta["high"] == 1.0 and meta["open_low"]:
                found[f"{record}_{field}"] = 1.0
    return found


class _Case(NamedTuple):
    """One phase of a system: a space of one point, and what moves in its samples."""

    row: measured.System
    phase: str
    space: object
    batch: int
    moved: dict  # {(record, field): numbers}
    kinds: dict  # {kind of kernel: relative standard error of its time}


def _case(row, phase, fixed, settings, catalogs, used):
    """`_Case` of a phase of a system; what is wrong with it is said of the system."""
    try:
        given = row.grid(phase)
        if given["fixed"].get("batch") == measured.FILLS:
            given["fixed"]["batch"] = _filling(given, fixed, settings, catalogs)
        space = _space(given, fixed, settings, catalogs, used)
    except InputError as error:
        if str(error).startswith("--"):
            raise
        raise InputError(f"{row.where}: {str(error).removeprefix('grid: [fixed] ')}") from None
    space = space.only({"software_factor": 1.0})
    numbers = evaluation.numbers(space)
    kinds = _kinds(space, numbers)
    samples = [{}, {FACTOR: 2.0}]
    for kind in kinds:
        samples += [_slowed(numbers, kind, STEP), _slowed(numbers, kind, -STEP)]
    if row.used["metric"] == "layer":
        samples += [each | {LAYERS: numbers[LAYERS] + 1} for each in samples]
    keys = {key for each in samples for key in each}
    moved = {key: np.array([each.get(key, numbers[key]) for each in samples]) for key in keys}
    return _Case(row, phase, space, given["fixed"][space.load], moved, kinds)


def _kinds(space, numbers):
    """{kind of kernel: relative standard error of its time}, of a curve that has one for its chip."""
    error = _error_of(space)
    names = [name.removesuffix("_compute") for record, name in numbers if record == "curve" and "_compute" in name]
    assumed = provenance.UNCERTAINTY["assumed"]
    whole = {kind: error for kind in names if ("curve", f"{kind}_start_s") in numbers}
    return whole | {kind: assumed for kind in UNMEASURED if ("curve", f"{kind}_start_s") in numbers}


def _error_of(space):
    """Relative standard error of the time of a kernel, 0 where no curve is one of measured kernels."""
    basis = next(iter(provenance.of_space(space).values()), None)
    return provenance.UNCERTAINTY[basis[1]] if basis else 0.0


def _slowed(numbers, kind, log):
    """{(record, field): number} with which every kernel of a kind takes e^log as long."""
    knots = {("curve", f"{kind}{end}"): power for end, power in SLOWER.items()}
    return {key: numbers[key] * math.exp(power * log) for key, power in knots.items() if key in numbers}


class _Phase(NamedTuple):
    """One phase of a system; arrays over the samples."""

    step_s: np.ndarray
    tokens: np.ndarray  # of a step: of a chip, or of a user where what was measured is a user's
    refused: tuple
    bottleneck: str
    batch: int
    blocks: dict  # {block: s of a step, before overlap}
    case: _Case


def _phase(case, values):
    step, row = values["step_time"], case.row
    if row.used["metric"] == "layer":
        n = len(step) // 2
        step, tokens = step[n:] - step[:n], np.ones(n)
    elif case.phase == "prefill" and not row.metric.rate:
        tokens = np.ones(len(step))  # the prompt of a user gives one token
    else:
        tokens = step * values["tps_per_user" if row.used["metric"] in ("user", "tpot") else "tps_per_chip"]
    refused = tuple(name for name, ok in values.items() if name.startswith("ok_") and not ok[0])
    blocks = {name.partition("/")[2]: float(x[0]) for name, x in values.items() if "/" in name}
    return _Phase(step, tokens, refused, LIMITS[int(values["bottleneck"][0])], case.batch, blocks, case)


def _prediction(row, phases):
    """`Prediction` of one system; of decode with the prompts of others under continuous batching."""
    first = phases[0]
    step = _together(row, *phases) if len(phases) > 1 else first.step_s
    seconds = step / first.tokens
    once, twice = seconds[0], seconds[1]
    variance = 0.0
    for i, error in enumerate(first.case.kinds.values(), start=1):
        slope = math.log(seconds[2 * i] / seconds[2 * i + 1]) / (2.0 * STEP)
        variance += (error * slope) ** 2
    steps = 0.0 if row.used["metric"] == "layer" else 1.0 / first.tokens[0]
    return Prediction(
        fixed_s=float(2.0 * once - twice),
        scaled_s=float(twice - once),
        steps=float(steps),
        drafts=float(steps * row.used.get("mtp", 0)) if "decode" in row.phases else 0.0,
        requests=float(row.used["metric"] == "ttft"),
        uncertainty=math.sqrt(variance),
        kernel_uncertainty=_error_of(first.case.space),
        prompts=float(1.0 - first.step_s[0] / step[0]),
        refused=tuple(dict.fromkeys(name for phase in phases for name in phase.refused)),
        bottleneck=first.bottleneck,
        batch=first.batch,
        blocks=first.blocks,
    )


def _together(row, decode, prefill):
    """Seconds of a step in which prompts start, over the samples: `continuous_batching.step_time`.

    The prompts of the whole instance for a rate; for the time of a user's token those of the other users, who share
    the groups evenly. The fixed time of a step (`hardware.step_s`) is counted once.
    """
    x, lengths = row.used, row.lengths
    groups = x["chips"] // x["tp"]
    sequences = x["concurrency"] / groups if "concurrency" in x else x["tp"] * x["batch"]  # of a group
    if row.metric.rate:
        mean = continuous_batching.prompts_per_step(x["tp"] * decode.tokens[0], lengths["osl"])
    else:
        others = (x["concurrency"] - 1) / groups
        mean = continuous_batching.prompts_per_step(others * decode.tokens[0], lengths["osl"])
    pieces, most = 1, math.inf
    if "prefill_tokens" in x:
        limit = x["prefill_tokens"] * x["tp"]
        pieces = continuous_batching.chunks(lengths["isl"], limit)
        most = continuous_batching.most_prompts(lengths["isl"], limit, sequences)
    shared = continuous_batching.shared_part(prefill.blocks)
    fixed_s = 2.0 * prefill.step_s[0] - prefill.step_s[1]
    times = zip(decode.step_s, prefill.step_s - fixed_s, strict=True)
    return np.array([continuous_batching.step_time(d, p, shared, mean, groups, pieces, most) for d, p in times])


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
