"""Output of `dsjax explain`: one configuration as text, as one JSON object, or its operators as CSV."""

import json
import math

import click
import numpy as np

from ...formats import milliseconds
from ...formulas.pipelines import LOWER_BOUNDS
from ...results import files
from ...space import limits, restoring
from ...space.space import load_of
from ...specs.variables import LIMITS, VARIABLES, WORDED
from .. import output, trust
from ..output import REFUSED, echo
from ..tables import records, rows_over, table
from . import explain_memory

ROOM = 110  # columns of the list of values
_SPLIT = ("exposed", "busy")


def show(ds, form, quiet=False):
    """Print an explained configuration."""
    if form == "csv":
        records(blocks(ds), "csv")
    elif form == "json":
        click.echo(files.to_json(as_dict(ds)))
    else:
        in_sections(_sections(ds, as_dict(ds), quiet))


def in_sections(sections):
    """Print paragraphs and tables with a line between them."""
    for i, text in enumerate(sections):
        echo("\n" * (i > 0) + text, colour=REFUSED if text.startswith("Refused") else None)


# What a dispatch mode sends.
_COPIES = {
    "low-latency": "dispatch and combine send one copy of a token per expert",
    "layered": "dispatch sends one copy of a token per scale-up domain, forwarded inside; combine as low-latency",
    "normal": "dispatch and combine send one copy of a token per scale-up domain it visits, forwarded inside",
    "all-gather": "every token is gathered to every chip once, and the sums are scattered",
}
# What `auto` stands for, by the engine's library: in decode, in prefill.
_AUTOMATIC = (("all-gather", "all-gather"), ("low-latency", "normal"), ("layered", "normal"))


def _mode_of(space):
    """The dispatch mode of a point, `auto` resolved; None of a study without modes."""
    fixed = space["fixed"]
    if fixed.get("dispatch_mode") != "auto":
        return fixed.get("dispatch_mode")
    library = fixed.get("engine_library", space["rows"]["engine"][fixed["engine"]]["library"])
    return _AUTOMATIC[int(library)][fixed["phase"] == "prefill"]


def verdict(ds):
    """What any explanation begins with, of a step or of a server: the configuration, refusals, variables, SI."""
    space = json.loads(ds.attrs["dsjax_spec"])
    numbers = {name: ds[name].item() for name in VARIABLES if name in ds.variables and ds[name].ndim == 0}
    numbers |= {name: WORDED[name][int(numbers[name])] for name in WORDED if name in numbers}
    return {
        "title": ds.attrs["title"],
        "study": ds.attrs["study"],
        "point": space["fixed"],
        "feasible": bool(ds["feasible"]),
        "refused": {row["constraint"]: row["why"] for row in rows_over(ds, "constraint") if row["why"]},
        "metrics": numbers,
        "remarks": trust.told_by(ds),
    }


def as_dict(ds):
    """The whole explanation as one dict of plain values, SI."""
    space, begun = json.loads(ds.attrs["dsjax_spec"]), verdict(ds)
    path = {
        limit: {f"{kind}_s": float(ds[f"{kind}_{limit}"]) for kind in _SPLIT if f"{kind}_{limit}" in ds}
        for limit in LIMITS
    }
    result = begun | {
        "arithmetic": arithmetic(ds, space["fixed"]),
        "blocks": blocks(ds),
        "network": rows_over(ds, "collective"),
        "dispatch_mode": _mode_of(space),
        "critical_path": path,
        "memory": {
            "parts": {row["part"]: row["memory_part"] for row in rows_over(ds, "part")},
            "capacity": float(ds["memory_capacity"]),
            "kept_free": float(ds["memory_kept_free"]),
        },
        "largest": {
            "of": load_of(space["fixed"]),
            "in_memory": int(ds["largest_in_memory"]),
            "feasible": int(ds["largest_feasible"]),
            "stopped_at": int(ds["largest_stopped_at"]),
            "stopped_by": str(ds["largest_stopped_by"].item()),
        },
    }
    if "alternative" in ds.dims:
        result["pipelines"] = rows_over(ds, "alternative")
    if criterion := would_tbo_pay(ds, space["bounds"]):
        result["tbo"] = criterion
    return result | {"sources": rows_over(ds, "row"), "numbers": rows_over(ds, "number")}


def blocks(ds):
    """One dict per block: seconds, what binds, how near to the speed of light, flops and bytes."""
    seconds, layers = ds["block_time"].values, ds["layers"].values
    exposed = np.array([ds[f"block_{limit}"].values for limit in LIMITS])
    share = seconds / max(seconds.sum(), np.finfo(float).tiny)
    rows = []
    for i, name in enumerate(ds["block"].values.tolist()):
        rows.append(
            {
                "block": name,
                "layers": float(layers[i]),
                "seconds": float(seconds[i]),
                "seconds_per_layer": float(seconds[i] / layers[i]) if layers[i] else math.nan,
                "share": float(share[i]),
                "bound_by": LIMITS[int(exposed[:, i].argmax())] if seconds[i] > 0.0 else "",
                **{f"{limit}_s": float(x) for limit, x in zip(LIMITS, exposed[:, i])},
                "of_light": float(ds["block_ideal"].values[i] / seconds[i]) if seconds[i] > 0.0 else math.nan,
                "flops": float(ds["block_flops"].values[i]),
                "bytes": float(ds["block_bytes"].values[i]),
            }
        )
    return rows


def arithmetic(ds, point):
    """The headline metrics, each line a calculation that can be done again."""
    v = {name: float(ds[name]) for name in ("step_time", "tps_per_chip", "tps_total", "chips", "hidden_time")}
    made = ds["block_time"].values.sum()
    step = f"{milliseconds(made)} of blocks"
    if v["hidden_time"]:
        step += f" - {milliseconds(v['hidden_time'])} hidden by pipeline {point['pipeline']}"
    pipeline = float(ds["time_of_pipeline"])
    if not math.isclose(made - v["hidden_time"], pipeline, rel_tol=1e-6):  # stages of layers
        step += f" + {milliseconds(pipeline - made + v['hidden_time'])} of other micro batches in the slowest stage"
    if not math.isclose(pipeline, v["step_time"], rel_tol=1e-6):
        step += f" = {milliseconds(pipeline)}, with software and host time"
    lines = [f"{step} = {milliseconds(v['step_time'])} per step"]
    whole = f"{v['tps_per_chip']:,.6g} tokens/s/chip x {v['chips']:,.0f} chips = {v['tps_total']:,.0f} tokens/s"
    if load_of(point) == "prompts":
        tokens = v["tps_total"] * v["step_time"] / point["prompts"]
        rate = (
            f"{point['prompts']:,.0f} prompts x {tokens:,.0f} tokens / {v['step_time']:.4g} s / {v['chips']:,.0f} chips"
        )
        return [*lines, f"TTFT {float(ds['ttft']):,.4g} s: the first token after one step", f"{rate} = {whole}"]
    tpot, user = float(ds["tpot"]), float(ds["tps_per_user"])
    batch = f"{point[load_of(point)]:,.0f} sequences"
    if load_of(point) == "concurrency":
        batch = f"{batch} / {v['chips']:,.0f} chips"
    return [
        *lines,
        f"{milliseconds(v['step_time'])} / {v['step_time'] / tpot:.4g} tokens = {milliseconds(tpot)} per token "
        f"= 1 / {user:.6g} tokens/s/user",
        f"{user:.6g} tokens/s/user x {batch} = {whole}",
    ]


def would_tbo_pay(ds, bounds):
    """Whether hiding the all-to-all behind a second batch would pay: the published criterion, and the step itself.

    Criterion: without the all-to-all, tokens/s/user >= twice what the grid asks for, as two batches take turns.
    """
    if "step_time_without_all_to_all" not in ds:
        return None
    times = dict(zip(ds["alternative"].values.tolist(), ds["alternative_step_time"].values.tolist()))
    free, rate = float(ds["step_time_without_all_to_all"]), float(ds["tps_per_user_without_all_to_all"])
    asked = 2.0 * bounds["min_tps_per_user"] if "min_tps_per_user" in bounds else math.nan
    return {
        "step_time_without_all_to_all": free,
        "tps_per_user_without_all_to_all": rate,
        "criterion": asked,
        "criterion_met": None if math.isnan(asked) or math.isnan(rate) else rate >= asked,
        "step_time_naive": times["naive"],
        "step_time_tbo": times["tbo"],
        "pays": times["tbo"] < times["naive"],
    }


def _sections(ds, x, quiet):
    yield configuration(ds, x)
    yield "\n".join(f"  {line}" for line in x["arithmetic"]) + "\n" + _utilisation(x["metrics"])
    if x["refused"]:
        yield "Refused:\n" + "\n".join(f"  {name}: {text}" for name, text in x["refused"].items())
    yield _blocks_table(x["blocks"], x["point"].get("pp", 1))
    yield _network_table(x)
    yield _path_table(x)
    yield explain_memory.bar_of(x)
    if "pipelines" in x:
        yield _pipelines_table(x)
    if not quiet:
        yield remarks(ds, x)


def remarks(ds, x, read="the step reads"):
    """What the numbers rest on: in short, with --verbose row by row."""
    if output.verbose():
        return "\n".join([*(f"  {line}" for line in trust.slips(ds)), _sources_table(x, read)])
    lines = trust.footer(restoring.space(ds.attrs["dsjax_spec"]), ())
    return "\n".join(f"  {line}" for line in lines)


def _sources_table(x, read="the step reads"):
    """Rows of the catalog whose numbers were read, by kind and source."""
    found = {}
    for r in x["numbers"]:
        row, _, field = r["number"].rpartition(".")
        found.setdefault((row, r["number_kind"]), {}).setdefault(r["number_source"], []).append(field)
    lines, above = [], ""
    for (row, kind), texts in found.items():
        n = sum(map(len, texts.values()))
        lines.append([row if row != above else "", kind, n, "; ".join(texts)])
        above = row
    return f"Numbers from (those that {read}):\n" + table(["row", "kind", "", "source"], lines)


def configuration(ds, x, derived=("chips", "dp", "ep", "batch_total")):
    """The title, the verdict, and every name of the configuration with its value, the `derived` ones too."""
    space = restoring.space(ds.attrs["dsjax_spec"])
    point = trust.told(space)
    derived = {name: float(ds[name]) for name in derived if name in ds and name not in x["point"]}
    texts = [f"{k} {v:,.10g}" if isinstance(v, int | float) else f"{k} {v}" for k, v in (point | derived).items()]
    lines, line, room = [], " ", min(output.width() or ROOM, ROOM)
    for text in texts:
        if len(line) + len(text) + 2 > room:
            lines, line = [*lines, line], " "
        line += f" {text},"
    verdict = "feasible" if x["feasible"] else f"refused by {', '.join(x['refused'])}"
    lines += [line.rstrip(","), f"  {limits.words(space)}"]
    return "\n".join([f"{x['title']}: {verdict}", *lines])


def _utilisation(m):
    texts = [f"MFU {100 * m['mfu']:.1f} %", f"MBU {100 * m['mbu']:.1f} %"]
    return f"  {', '.join(texts)}, bound by {m['bottleneck']}"


def _blocks_table(rows, stages=1):
    lines = []
    for r in rows:
        if not r["seconds"]:
            continue
        light = "" if math.isnan(r["of_light"]) else f"{100 * r['of_light']:.1f}"
        work = [f"{r['flops'] / 1e9:,.2f}", f"{r['bytes'] / 1e6:,.2f}"]
        times = [f"{1e3 * r['seconds']:,.3f}", f"{1e6 * r['seconds_per_layer']:,.2f}", f"{100 * r['share']:.1f}"]
        lines.append([r["block"], f"{r['layers']:g}", *times, r["bound_by"], light, *work])
    least = (7, 8, 1, 3)  # GFLOP, MB, layers, us per layer
    headings = ["block", "layers", "ms per step", "us per layer", "share %", "bound by", "of light %", "GFLOP", "MB"]
    note = (
        "  of light: needed flops or bytes at the peak of the chip / seconds. Before overlap; GFLOP, MB per step, chip."
    )
    if stages > 1:
        note += f"\n  Of one micro batch through all {stages} stages; network and critical path below are of the step."
    return f"{table(headings, lines, least=least)}\n{note}"


def _network_table(x):
    rows = [
        [r["collective"], *(f"{1e3 * r[f'transfer_{kind}']:,.3f}" for kind in ("time", "exposed", "hidden"))]
        for r in x["network"]
    ]
    mode = x["dispatch_mode"]
    sends = any(r["transfer_time"] for r in x["network"] if r["collective"] in ("dispatch", "combine"))
    note = f"\n  {mode}: {_COPIES[mode]}" if mode and sends else ""
    if mode and not sends:
        routed = any(r["seconds"] for r in x["blocks"] if r["block"] == "routed")
        note = "\n  no dispatch, no combine: one group has all tokens" if routed else ""
    heading = "Network (transfers; the starts of messages are latency):"
    return f"{heading}\n{table(['', 'ms per step', 'exposed', 'hidden'], rows)}{note}"


def _path_table(x):
    step, rows = x["metrics"]["step_time"], []
    for name, path in x["critical_path"].items():
        busy = f"{1e3 * path['busy_s']:,.3f}" if "busy_s" in path else ""
        rows.append([name, f"{1e3 * path['exposed_s']:,.3f}", f"{100 * path['exposed_s'] / step:.1f}", busy])
    heading = f"Critical path, {milliseconds(step)}; bottleneck {x['metrics']['bottleneck']}:"
    return f"{heading}\n{table(['', 'exposed ms', 'share %', 'busy ms'], rows)}"


def _pipelines_table(x):
    rows = [
        [
            r["alternative"] + " (lower bound)" * (r["alternative"] in LOWER_BOUNDS),
            f"{1e3 * r['alternative_step_time']:,.3f}",
            f"{r['alternative_tps_per_chip']:,.1f}",
            "yes" if r["alternative_feasible"] else "no",
        ]
        for r in x["pipelines"]
    ]
    text = f"The same point in every pipeline:\n{table(['pipeline', 'step ms', 'tok/s/chip', 'feasible'], rows)}"
    if tbo := x.get("tbo"):
        step = milliseconds(tbo["step_time_without_all_to_all"])
        text += f"\n  Would TBO pay? Without the all-to-all a step takes {step}"
        if not math.isnan(tbo["tps_per_user_without_all_to_all"]):
            text += f", {tbo['tps_per_user_without_all_to_all']:.1f} tokens/s/user"
        if tbo["criterion_met"] is not None:
            met = "met" if tbo["criterion_met"] else "not met"
            text += f"; the published criterion, at least {tbo['criterion']:g} (twice what is asked for), is {met}"
        ratio = tbo["step_time_tbo"] / tbo["step_time_naive"]
        text += f".\n  By the step itself, TBO / naive = {ratio:.3f}: it {'pays' if tbo['pays'] else 'does not pay'}."
    return text
