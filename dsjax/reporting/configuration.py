"""The best point in full: where a step, or a request, spends its time; memory."""

import math

import numpy as np

from .. import formats
from ..formats import quantity
from ..formulas.pipelines import LOWER_BOUNDS
from ..pages import vega
from ..pages.parts import Cell, Chart, Section, Words, table
from ..specs.variables import LIMITS, OF_DISTRIBUTIONS, OUTSIDE, PERCENTILES, reasons
from . import words

TIMES = ("ttft", "tpot", "itl", "latency")


def section(space, one, charts):
    """Section on one explained configuration; `charts`: of it, and of the best of other groups."""
    own = [*_request(one), *_operators(one), _path(one), *_network(one), *_pipelines(one)]
    title = "The best point" if bool(one["feasible"]) else "A point that few constraints refuse"
    head = [Words([f"{words.configuration(space, one)}."])]
    why = [f"{c}: {text}" for c, text in zip(one["constraint"].values, one["why"].values, strict=True) if text]
    return Section(title, [*head, *([Words(why, "list")] if why else []), *charts, *own], "point")


def _operators(one):
    if "block" not in one.dims:
        return []
    seconds = one["block_time"].values
    exposed = np.array([one[f"block_{limit}"].values for limit in LIMITS])
    rows = []
    for i, name in enumerate(one["block"].values.tolist()):
        if not seconds[i]:
            continue
        light = float(one["block_ideal"].values[i] / seconds[i])
        rows.append(
            [
                name,
                (f"{one['layers'].values[i]:g}", float(one["layers"].values[i])),
                (f"{1e3 * seconds[i]:,.3f}", float(seconds[i])),
                (f"{100 * seconds[i] / seconds.sum():.1f}", float(seconds[i])),
                LIMITS[int(exposed[:, i].argmax())],
                (f"{100 * light:.1f}", light) if math.isfinite(light) else ("-", words.NOTHING),
                (f"{one['block_flops'].values[i] / 1e9:,.2f}", float(one["block_flops"].values[i])),
                (f"{one['block_bytes'].values[i] / 1e6:,.2f}", float(one["block_bytes"].values[i])),
            ]
        )
    head = ["operator", "layers", "ms per step", "share %", "bound by", "of light %", "GFLOP", "MB"]
    hidden = float(one["hidden_time"])
    note = "Before overlap. Of light: needed flops or bytes at the peak of the chip / time. Per step and chip."
    note += f" Overlap hides {quantity(hidden, 's', 4)} of them." if hidden else ""
    return [table(head, rows, caption="Operators of a step", note=note)]


def _path(one):
    step, rows = words.scalar(one, "step_time"), []
    for limit in LIMITS:
        exposed, busy = words.scalar(one, f"exposed_{limit}"), words.scalar(one, f"busy_{limit}")
        busy = (f"{1e3 * busy:,.3f}", busy) if math.isfinite(busy) else ("-", words.NOTHING)
        rows.append([limit, (f"{1e3 * exposed:,.3f}", exposed), (f"{100 * exposed / step:.1f}", exposed), busy])
    caption = f"Critical path of a step, {quantity(step, 's', 4)}"
    return table(["resource", "exposed ms", "share %", "busy ms"], rows, caption=caption)


def _network(one):
    if "collective" not in one.dims:
        return []
    names = ("transfer_time", "transfer_exposed", "transfer_hidden")
    rows = [
        [name, *((f"{1e3 * float(one[x].values[i]):,.3f}", float(one[x].values[i])) for x in names)]
        for i, name in enumerate(one["collective"].values.tolist())
    ]
    head = ["transfer", "ms per step", "exposed", "hidden"]
    return [table(head, rows, caption="Network; the starts of messages are latency")]


def _pipelines(one):
    if "alternative" not in one.dims:
        return []
    rows = []
    for i, name in enumerate(one["alternative"].values.tolist()):
        step, rate = float(one["alternative_step_time"].values[i]), float(one["alternative_tps_per_chip"].values[i])
        fits = "yes" if one["alternative_feasible"].values[i] else "no"
        name += " (lower bound)" * (name in LOWER_BOUNDS)
        rows.append([name, (f"{1e3 * step:,.3f}", step), (f"{rate:,.1f}", rate), fits])
    return [
        table(["pipeline", "step ms", "tps_per_chip", "feasible"], rows, caption="The same point in every pipeline")
    ]


def _request(one):
    """Tables of a server."""
    if "stage" not in one.dims:
        return []
    rows = []
    for name, seconds, share, meaning in zip(
        *(one[x].values.tolist() for x in ("stage", "stage_time", "stage_share", "stage_meaning")), strict=True
    ):
        rows.append(
            [name, (quantity(seconds, "s", 4), seconds), (f"{100 * share:.1f}", share), Cell(meaning, None, "wide")]
        )
    found = [table(["stage", "time", "share %", "what it is"], rows, caption="Where the time of a mean request goes")]
    rows, why = [], reasons(one["outside_validity"].item()) if "outside_validity" in one else []
    doubted = {name for reason in why for name in OUTSIDE[reason][1]}
    for name in TIMES:
        cells = []
        for of in ("mean", *PERCENTILES):
            value, mark = words.scalar(one, f"{name}_{of}"), "*" * (f"{name}_{of}" in doubted)
            cells.append((quantity(value, "s", 4) + mark, value) if math.isfinite(value) else ("-", words.NOTHING))
        rows.append([name.upper() if name != "latency" else name, *cells])
    note = "ITL: of the gaps between two tokens. "
    note += " ".join(f"* {', '.join(x for x in OUTSIDE[r][1] if x in OF_DISTRIBUTIONS)}: {OUTSIDE[r][0]}." for r in why)
    found.append(
        table(["time", "mean", *PERCENTILES], rows, caption="Times of requests: mean and percentiles", note=note)
    )
    rows = []
    for i, key in enumerate(one["bound"].values.tolist() if "bound" in one.dims else []):
        side, _, name = key.partition("_")
        here, asked = (words.amount(name, one[x].values[i]) for x in ("bound_reached", "bound_value"))
        met = "yes" if one["bound_met"].values[i] else "no"
        rows.append([name, here, f"{'at most' if side == 'max' else 'at least'} {asked}", met])
    found += [table(["limit", "here", "asked for", "met"], rows, caption="Limits of the grid")] if rows else []
    if "activity" in one.dims:
        shares = zip(one["activity"].values.tolist(), one["activity_share"].values.tolist(), strict=True)
        found.append(Words([f"Of the server's time: {', '.join(f'{name} {x:.1%}' for name, x in shares)}."]))
    return found


def memory(one):
    """Section on the memory of a chip; None where it is not told."""
    if "part" not in one.dims:
        return None
    capacity, kept = words.scalar(one, "memory_capacity"), words.scalar(one, "memory_kept_free")
    parts = dict(zip(one["part"].values.tolist(), one["memory_part"].values.tolist(), strict=True))
    used = math.fsum(parts.values())
    free = {"free": capacity - kept - used} if used < capacity - kept else {}
    shown = parts | free | ({"kept free": kept} if kept and free else {})
    names = list(shown)
    columns = {
        "part_": names,
        "gb_": [x / 1e9 for x in shown.values()],
        "text_": [formats.memory(x) for x in shown.values()],
        "share_": [f"{x / capacity:.1%}" for x in shown.values()],
        "kind_": ["used" if name in parts else "free" for name in names],
    }
    kinds = [kind for kind in ("used", "free") if kind in columns["kind_"]]
    layers = [
        vega.layer(
            "parts",
            {"type": "bar", "height": {"band": 0.7}},
            [("part_", "part"), ("text_", "memory"), ("share_", "of the chip")],
            x=vega.number("gb_", "GB of one chip", zero=True),
            y=vega.names("part_", None, names),
            color=vega.colour("kind_", kinds, [vega.COLOURS[0] if kind == "used" else vega.FAINT for kind in kinds]),
        )
    ]
    says = f"{formats.memory(used)} of {formats.memory(capacity)} are used."
    chart = Chart("Memory of one chip", says, [vega.spec({"parts": columns}, layers, 30 + 24 * len(names))])
    rows = [
        [name, (f"{x / 1e9:,.2f}", x), (f"{x / 2**30:,.2f}", x), (f"{100 * x / capacity:.1f}", x)]
        for name, x in shown.items()
    ]
    return Section("Memory", [chart, table(["part", "GB", "GiB", "%"], rows)], "memory")
