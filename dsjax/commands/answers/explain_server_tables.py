"""Output of `dsjax explain` for a server: one configuration as text, as one JSON object, or its stages as CSV."""

import dataclasses
import math

import click

from ... import formats
from ...errors import InputError
from ...formats import milliseconds, quantity, rounded
from ...results import files
from ...space.parameters import chosen
from ...space.space import LOADS
from ...specs.variables import LIMITS, OF_DISTRIBUTIONS, PERCENTILES
from ...sweeps import sources
from .. import marks, steps
from ..tables import records, rows_over, table
from . import explain_tables

STATISTICS = ("mean", *PERCENTILES)
# {quantity with percentiles: (heading, seconds in its unit)}
TIMES = {"ttft": ("TTFT ms", 1e3), "tpot": ("TPOT ms", 1e3), "itl": ("ITL ms", 1e3), "latency": ("latency s", 1.0)}
TWICE = {
    "prompts": "prompts in half the time",
    "steps of decode": "steps of decode in half the time",
    "room": "room for twice as many",
}
_NO_TIMES = ("ok_kv", "ok_stable", "ok_transfer")  # constraints without which requests have no mean time
STEPS = {"decode": "concurrency", "prefill": "prompts"}  # {phase of a step: its load}


def show(ds, request, asked):
    """Print an explained server; `request` and `asked`: what it is the answer to."""
    if request.form == "csv":
        records(stages(ds), "csv")
    elif request.form == "json":
        click.echo(files.to_json(as_dict(ds)))
    else:
        x = as_dict(ds)
        remarks = [] if request.quiet else [explain_tables.remarks(ds, x, "its steps read")]
        explain_tables.in_sections([*_sections(ds, x), *remarks])
        steps.show(request, *([] if request.quiet else _next(x, request, asked.space)))


def stages(ds):
    """One dict per stage of a mean request."""
    names = {"stage": "stage", "stage_time": "seconds", "stage_share": "share", "stage_meaning": "meaning"}
    return [{names[name]: value for name, value in row.items()} for row in rows_over(ds, "stage")]


def as_dict(ds):
    """The whole explanation as one dict of plain values, SI."""
    begun = explain_tables.verdict(ds)
    numbers = begun["metrics"]
    result = begun | {
        "stages": stages(ds),
        "percentiles": {name: {s: numbers.get(f"{name}_{s}") for s in STATISTICS} for name in TIMES},
        "limits": rows_over(ds, "bound"),
        "step": {
            limit: {
                f"{kind}_s": numbers[f"{kind}_{limit}"] for kind in ("exposed", "busy") if f"{kind}_{limit}" in numbers
            }
            for limit in LIMITS
        },
    }
    for dim, name, field in (("activity", "activities", "activity_share"), ("pool", "pools", "pool_load")):
        if dim in ds.dims:
            result[name] = {row[dim]: row[field] for row in rows_over(ds, dim)}
    if "resource" in ds.dims:
        result["capacity"] = {
            "requests_per_s": numbers["requests_per_s_max"],
            "requests_inside": ds["requests_inside_max"].item(),
            "held_by": ds["held_by"].item(),
            "with_twice": {row["resource"]: row["resource_requests_per_s_max"] for row in rows_over(ds, "resource")},
        }
        result["memory"] = {
            "parts": {row["part"]: row["memory_part"] for row in rows_over(ds, "part")},
            "capacity": float(ds["memory_capacity"]),
            "kept_free": float(ds["memory_kept_free"]),
        }
    return result | {"sources": rows_over(ds, "row"), "numbers": rows_over(ds, "number")}


def _sections(ds, x):
    yield explain_tables.configuration(ds, x, ("chips", "dp", "ep"))
    known = not any(name in _NO_TIMES or name.endswith("_memory") for name in x["refused"])
    if known:
        yield _summary(x)
    if x["refused"]:
        without = "" if known else " (no time of a request has a mean: none is shown)"
        yield f"Refused{without}:\n" + "\n".join(f"  {name}: {text}" for name, text in x["refused"].items())
    if known:
        yield _stages_table(x)
        yield _percentiles_table(x, ds["outside_validity"].item())
        if x["limits"]:
            yield _limits_table(x)
        yield _time_table(x)
    if "pools" in x:
        yield _pools_table(x)
    if "capacity" in x:
        yield _capacity_table(x)
    if "memory" in x and known:
        yield _memory_table(x)


def _tokens(point):
    """What a request is, in words."""
    tokens = f"{point['isl']:,.0f} + {point['osl']:,.0f} tokens"
    if point["length_law"] == "uniform":
        return f"80 to 100 % of {tokens}"
    return f"{tokens} in the mean" if point["isl_cv"] or point["osl_cv"] else tokens


def _summary(x):
    m, point = x["metrics"], x["point"]
    rate, most = rounded(m["requests_per_s_served"]), rounded(m["requests_per_s_max"])
    latency, first = _seconds(m["latency_mean"]), _seconds(m["ttft_mean"])
    served = f"{rate} requests/s = {m['tps_total']:,.4g} tokens/s"
    served += f" = {m['tps_per_chip']:,.4g} tokens/s/chip x {m['chips']:,.0f} chips"
    if "concurrency" in point:
        served = f"{point['concurrency']:,.0f} user{'s' * (point['concurrency'] > 1)} / {latency} = {served}"
    each = milliseconds(m["tpot_mean"])
    lines = [
        f"A request of {_tokens(point)} takes {latency}: its first token {first}, each further one {each}",
        f"{served}; 1 / {each} = {m['tps_per_user']:.4g} tokens/s/user",
        f"{100.0 * m['utilisation']:.0f} % of the {most} requests/s that the server can take at most; "
        f"{rounded(m['decode_batch'])} sequences decode at a time",
    ]
    return "\n".join(f"  {line}" for line in lines)


def _seconds(value):
    return f"{rounded(value)} s" if value >= 1.0 else milliseconds(value)


def _amount(value, units):
    return _seconds(value) if units == "s" else quantity(value, units, 4)


def _stages_table(x):
    rows = [[r["stage"], f"{r['seconds']:,.4f}", f"{100.0 * r['share']:.1f}", r["meaning"]] for r in x["stages"]]
    total = math.fsum(r["seconds"] for r in x["stages"])
    rows.append(["latency", f"{total:,.4f}", "100.0", "all of them"])
    return f"Where the time of a request goes:\n{table(['stage', 'seconds', 'share %', ''], rows)}"


def _percentiles_table(x, outside):
    rows = []
    for name, (heading, factor) in TIMES.items():
        values = [x["percentiles"][name][statistic] for statistic in STATISTICS]
        rows.append([heading, *("-" if v is None else f"{factor * v:,.2f}" for v in values)])
    notes = [
        "TTFT, TPOT, latency of requests; ITL of the gaps between two tokens.",
        *marks.remarks([outside], OF_DISTRIBUTIONS),
    ]
    heading = f"Percentiles{marks.MARK if len(notes) > 1 else ''}"
    return f"{heading}:\n{table(['', *STATISTICS], rows)}\n" + "\n".join(f"  {note}" for note in notes)


def _limits_table(x):
    rows = []
    for r in x["limits"]:
        side, _, name = r["bound"].partition("_")
        value, asked = (_amount(r[key], r["bound_units"]) for key in ("bound_reached", "bound_value"))
        rows.append([name, value, f"{'at most' if side == 'max' else 'at least'} {asked}", bool(r["bound_met"])])
    return f"Limits of the grid:\n{table(['', 'here', 'asked for', 'met'], rows)}"


def _time_table(x):
    m, rows = x["metrics"], []
    for name, path in x["step"].items():
        exposed = [f"{1e3 * path['exposed_s']:,.3f}", f"{100.0 * path['exposed_s'] / m['step_time']:.1f}"]
        rows.append([name, *exposed, f"{1e3 * path['busy_s']:,.3f}" if "busy_s" in path else ""])
    shares = ", ".join(f"{name} {100.0 * share:.1f} %" for name, share in x.get("activities", {}).items())
    heading = f"Where the server's time goes: {shares}.\n" if shares else ""
    heading += f"A step of decode{' with its share of prompts' * bool(shares)}, {milliseconds(m['step_time'])}"
    heading += f"; bottleneck {m['bottleneck']}, MFU {100.0 * m['mfu']:.1f} %, MBU {100.0 * m['mbu']:.1f} %:"
    return f"{heading}\n{table(['', 'exposed ms', 'share %', 'busy ms'], rows)}"


def _pools_table(x):
    rows = [[name, f"{100.0 * load:.1f}"] for name, load in x["pools"].items()]
    most = f"The most that it can take: {rounded(x['metrics']['requests_per_s_max'])} requests/s"
    limit = max(x["pools"], key=x["pools"].get)
    return f"{most}; limited most by {limit}:\n{table(['', 'of its most %'], rows)}"


def _capacity_table(x):
    capacity = x["capacity"]
    most, rates = capacity["requests_per_s"], capacity["with_twice"]
    why = "max_batch admits" if capacity["held_by"] == "max_batch" else "the cache holds"
    rows = [[TWICE[name], f"{rate:,.4g}", f"{100.0 * (rate / most - 1.0):+.1f}"] for name, rate in rates.items()]
    inside = f"{capacity['requests_inside']:,.0f} inside: {why} no more"
    heading = f"The most that it can take: {rounded(most)} requests/s ({inside}); limited most by"
    return f"{heading} {max(rates, key=rates.get)}:\n{table(['', 'requests/s', '%'], rows)}"


def _memory_table(x):
    memory = x["memory"]
    parts = memory["parts"] | ({"kept free": memory["kept_free"]} if memory["kept_free"] else {})
    rows = [
        [name, f"{n / 1e9:.2f}", f"{n / 2**30:.2f}", f"{100.0 * n / memory['capacity']:.1f}"]
        for name, n in parts.items()
    ]
    occupancy = f"the cache is {100.0 * x['metrics']['kv_occupancy']:.0f} % full in the mean"
    used = f"{formats.memory(x['metrics']['memory_per_chip'])} of {formats.memory(memory['capacity'])}"
    return f"Memory of one chip, {used}; {occupancy}:\n{table(['', 'GB', 'GiB', '%'], rows)}"


def _next(x, request, space):
    """Commands that go on from here, with the changes that this one makes to its grid."""
    load = next(name for name in LOADS["serve"] if name in x["point"])
    at = {name: x["point"][name] for name in space.axes}
    others = {name: value for name, value in at.items() if name != load}
    yield steps.of("sensitivity", request, "--of", "ttft_p90", at=at)
    if load in at:
        yield steps.of("plot latency", request, "-o", "latency.png", at=others)
    for phase, number in STEPS.items():
        sequences = max(round(x["metrics"]["decode_batch"]), 1) if phase == "decode" else 1
        one = dataclasses.replace(request, fixed=(*request.fixed, f"phase={phase}", f"{number}={sequences}"), limits=())
        if _loads(one, others):
            yield steps.of("explain", one, at=others)


def _loads(request, at):
    """Whether a request is one of a grid that has such a point."""
    if sources.is_results(request.source):
        return False
    try:
        chosen(sources.ask(request.source, "explain", request.changes()).space, at)
    except InputError:
        return False
    return True
