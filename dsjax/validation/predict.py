"""What dsjax predicts of measured systems: the time of what was measured, what it is made of, and how sure it is.

All systems are points of few programs, and are evaluated together; every number that is moved (the software factor,
kernel times for the uncertainty) is a sample more of the same point.
"""

import dataclasses
import math

import numpy as np

from .. import evaluation
from ..catalog import reader
from ..errors import InputError, unknown
from ..formulas.metrics import LIMITS
from ..options import entry, option
from ..space import plausible
from ..specs import fields, records
from . import cases, served

# What differs from system to system, or is fitted.
OWN = ("model", "hardware", "phase", "chips", "tp", "moe_tp", "ep", "batch", "prompts", "mtp", "isl", "osl", "context")
OWN += ("concurrency", "pp", "software_factor", "engine", "batching", "length_law")


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
    remarks: tuple = ()  # on numbers of the user's rows that are likely slips


def predictions(rows, fixed=None, settings=None, catalogs=()):
    """[`Prediction`] of systems; `fixed` {name: value} holds for all, `settings` and `catalogs` as in `sweep`.

    Those of dsjax's own rows are kept: a system that was seen just so is not evaluated again.
    """
    rows, fixed, settings = list(rows), dict(fixed or {}), dict(settings or {})
    for name in OWN:
        if name in fixed:
            raise InputError(
                f"{entry('fixed', name)}: differs from system to system, or is fitted; expected another name"
            )
    if settings or catalogs or any(row.used["model"] not in reader.load()["model"] for row in rows):
        return _evaluated(rows, fixed, settings, catalogs)
    keys = [repr((sorted(_that_matters(row).items()), sorted(fixed.items()))) for row in rows]
    new = {key: row for key, row in zip(keys, rows, strict=True) if key not in _seen}
    if len(_seen) + len(new) > MOST_SEEN:
        _seen.clear()
        new = dict(zip(keys, rows, strict=True))
    _seen.update(zip(new, _evaluated(list(new.values()), fixed, settings, catalogs), strict=True))
    return [_seen[key] for key in keys]


_seen: dict = {}
MOST_SEEN = 2**14


def _that_matters(row):
    """{key: value} of a system: without a NIC that carries nothing, a balance as its number, and what is the same."""
    idle = {"nic"} - row.given.keys() - {*row.assumed}
    found = {key: x for key, x in row.used.items() if key not in idle}
    return found | {"balance": row.loads[row.used["balance"]], "fixed": sorted(row.fixed.items())}


def _evaluated(rows, fixed, settings, catalogs):
    """[`Prediction`] of systems; a server beside the steps that it is made of, which say what kernels it depends on."""
    used: set = set()
    given = fixed, settings, catalogs, used
    steps = [[cases.of(row, phase, *given) for phase in row.phases] for row in rows]
    servers = {i: cases.of(row, "serve", *given) for i, row in enumerate(rows) if row.phase == "serve"}
    for key in settings:
        if key not in used:
            raise unknown(option("settings"), "parameter of the systems", key, sorted(used))
    flat = [case for each in steps for case in each]
    found = iter(evaluation.points([case.space for case in flat], [case.moved for case in flat]))
    values = [[next(found) for _ in each] for each in steps]
    for i, case in servers.items():
        moving = set().union(*(x.moving(each["step_time"]) for x, each in zip(steps[i], values[i], strict=True)))
        servers[i] = case._replace(kinds={kind: error for kind, error in case.kinds.items() if kind in moving})
    answers = dict(zip(servers, served.points(list(servers.values())), strict=True))
    firsts = zip(steps, values, strict=True)
    found = [
        _of_server(servers[i], answers[i], each[0]) if i in servers else _of_step(own[0], each[0])
        for i, (own, each) in enumerate(firsts)
    ]
    if not settings and not catalogs:
        return found
    said = [[line for line in plausible.remarks(own[0].space) if "." in line.partition(" ")[0]] for own in steps]
    return [dataclasses.replace(one, remarks=tuple(lines)) for one, lines in zip(found, said, strict=True)]


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


def _of_step(case, values):
    """`Prediction` of a system that is a step, or a layer of it."""
    step, row = values["step_time"], case.row
    if row.used["metric"] == "layer":
        n = len(step) // 2
        step, tokens = step[n:] - step[:n], np.ones(n)
    elif case.phase == "prefill" and not row.metric.rate:
        tokens = np.ones(len(step))  # the prompt of a user gives one token
    else:
        tokens = step * values["tps_per_user" if row.used["metric"] in ("user", "tpot") else "tps_per_chip"]
    steps = 0.0 if row.used["metric"] == "layer" else 1.0 / tokens[0]
    return _prediction(
        case,
        step / tokens,
        values,
        values,
        steps=float(steps),
        drafts=float(steps * row.used.get("mtp", 0)) if case.phase == "decode" else 0.0,
        requests=float(row.used["metric"] == "ttft"),
        prompts=0.0,
    )


def _of_server(case, values, step):
    """`Prediction` of a system that is a server; `step` has the values of a step of its first phase."""
    metric = case.row.used["metric"]
    seconds = served.seconds(metric, values)
    host = (seconds[-len(cases.HOST) :] - seconds[0]) / cases.HOST_S
    more = dict(zip(("steps", "drafts", "requests"), host.tolist(), strict=True))
    return _prediction(case, seconds, values, step, prompts=float(served.share_of_others(metric, values)), **more)


def _prediction(case, seconds, values, step, **more):
    """`Prediction` from the seconds of all samples; `values` of the system, `step` of its first phase."""
    once, twice = seconds[0], seconds[1]
    variance = 0.0
    for i, error in enumerate(case.kinds.values(), start=1):
        slope = math.log(seconds[2 * i] / seconds[2 * i + 1]) / (2.0 * cases.STEP)
        variance += (error * slope) ** 2
    return Prediction(
        fixed_s=float(2.0 * once - twice),
        scaled_s=float(twice - once),
        uncertainty=math.sqrt(variance),
        kernel_uncertainty=cases.error_of(case.space),
        refused=tuple(name for name, ok in values.items() if name.startswith("ok_") and not ok[0]),
        bottleneck=LIMITS[int(values["bottleneck"][0])],
        batch=case.load,
        blocks={name.partition("/")[2]: float(x[0]) for name, x in step.items() if name.startswith("block_time/")},
        **more,
    )
