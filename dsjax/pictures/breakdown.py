"""Parts of the time of a step: stacked bars of the best configuration of every group."""

from typing import Any, NamedTuple

import numpy as np

from ..analysis import explain
from ..formulas.metrics import LIMITS
from ..search import ranking
from . import canvas, selection

MOST_BARS = 12
LEAST, MOST_BLOCKS = 0.05, 14  # the others make no more of any bar; blocks with a colour of their own
HATCHES = ("", "///", "\\\\\\", "...")


class Bars(NamedTuple):
    """What the picture shows."""

    by: tuple
    name: str  # the variable that the configurations are the best of
    chosen: dict  # {axis: value}
    count: int  # groups there are
    ranked: Any  # the best of every group, over rank
    steps: np.ndarray  # seconds
    parts: dict  # {part: seconds of every bar}
    others: list  # axes that the best is taken over
    says: str


def gather(results, at=None, by=None, of=None, blocks=False):
    """`Bars` of results."""
    space = results.space
    by, sense = selection.groups(space, by), selection.objective(space, of)
    cut, chosen, mask = selection.restricted(results, at, by=by)
    ranked = ranking.best(cut, by=by, objective=sense)
    count = ranked.sizes["rank"]
    if not count:
        raise selection.nothing(results, mask)
    ranked = ranked.isel(rank=slice(MOST_BARS))
    steps = ranked["step_time"].broadcast_like(ranked["rank"]).values
    parts = _of_blocks(cut.ds, space, ranked) if blocks else _exposed(ranked)
    others = selection.free(space, (*by, *chosen))
    first, total = max(parts, key=lambda part: parts[part][0]), float(sum(values[0] for values in parts.values()))
    made = f"{first} makes {parts[first][0] / total:.0%} of {canvas.quantity('s', total)}"
    won = selection.configuration(ranked.isel(rank=0), [*by, *others])
    says = f"{made} {'before overlap ' if blocks else ''}at {won}"
    name = (sense or space.objective).removeprefix("-")
    return Bars(by, name, chosen, count, ranked, steps, parts, others, says)


def draw(figure, results, at=None, by=None, of=None, blocks=False):
    """Draw one bar per group; returns the first one's largest part in one line."""
    space = results.space
    by, name, chosen, count, ranked, steps, parts, others, says = gather(results, at, by, of, blocks)
    sums = np.sum(list(parts.values()), axis=0)
    factor, unit = canvas.scale("s", max(*steps, *sums))

    ax = figure.add_subplot()
    ax.grid(False, axis="y")
    rows, left = np.arange(len(steps)), np.zeros(len(steps))
    handles, notes, size = [], [], 8.5 if figure.get_figwidth() >= 8.0 else 6.5
    own = [canvas.COLOURS[i % 7] for i in range(len(parts) - 1)]
    colours = (*own, "#C9C9C9") if blocks else tuple(canvas.LIMIT_COLOURS.values())
    for i, ((part, values), colour) in enumerate(zip(parts.items(), colours)):
        hatch = HATCHES[(i % 7 + 2 * (i // 7)) % len(HATCHES)]
        bars = ax.barh(rows, factor * values, left=factor * left, height=0.62, color=colour, label=part)
        for bar in bars:
            bar.set(hatch=hatch, edgecolor="white", linewidth=0.5)
        handles.append(bars)
        left = left + values
    for row, total, step in zip(rows, sums, steps):
        words = (
            canvas.quantity("s", step)
            if not blocks
            else f"{canvas.quantity('s', total)}, step {canvas.quantity('s', step)}"
        )
        notes.append(ax.text(factor * total, row, f"  {words}", va="center", fontsize=size, fontweight="bold"))
        if blocks:
            style = {"color": "black", "lw": 2.0, "label": "step time"}
            marks = ax.plot([factor * step] * 2, [row - 0.4, row + 0.4], **style)
            handles += marks if row == 0 else []
    names = _names(ranked, by, others)
    if figure.get_figheight() < 5.0 and len(rows) > 6:  # no room for three lines each
        names = [name.partition("\n")[0] for name in names]
    lines = len(rows) * max(name.count("\n") + 1 for name in names)
    ax.set_yticks(rows, labels=names, fontsize=max(5.0, min(9.0, 72.0 * 0.55 * figure.get_figheight() / lines)))
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.set_xlim(0.0, factor * max(sums.max(), steps.max()) * (1.45 if blocks else 1.17))
    ax.spines["left"].set_visible(False)
    ax.tick_params(axis="y", length=0)
    what = (
        "time of the blocks of a step, all layers, before overlap"
        if blocks
        else "time of one step: critical path given to what binds"
    )
    ax.set_xlabel(f"{what} [{unit}]")
    canvas.legend(ax, handles, "block" if blocks else "critical path on")
    first = max(parts, key=lambda part: parts[part][0])
    made = f"{first} makes {parts[first][0] / sums[0]:.0%} of {canvas.quantity('s', float(sums[0]))}"
    few = f" Best {len(steps)} of {count} groups." if count > len(steps) else ""
    bars = f"One bar per {', '.join(by)}: its" if by else "The"
    canvas.titles(
        figure,
        ax,
        f"{made}{f' on {names[0].partition(chr(10))[0]}' if by else ''}{' before overlap' if blocks else ''}",
        f"{space.title}. {bars} feasible configuration with the best {name}, best first.{few}",
        f"{selection.fixed(space, chosen)}{'. ' + selection.operators(parts) if blocks else ''}",
    )
    _room(ax, notes)
    return says


def _room(ax, notes):
    """Widen the axis until every text beside a bar is inside."""
    ax.figure.draw_without_rendering()
    wide = ax.get_window_extent().width
    ends = [note.get_position()[0] / (0.97 - min(0.7, note.get_window_extent().width / wide)) for note in notes]
    ax.set_xlim(0.0, max(ends))


def _exposed(ranked):
    return {limit: ranked[f"exposed_{limit}"].broadcast_like(ranked["rank"]).values for limit in LIMITS}


def _of_blocks(ds, space, ranked):
    """{block: seconds per bar}, the largest first, the small ones as one."""
    if "block_time" in ds:
        names = ds["block"].values.tolist()
        table = ranked["block_time"].broadcast_like(ranked["rank"]).transpose("block", "rank").values
    else:  # a large file is kept without them: the points are evaluated again
        each = [_again(space, ranked.isel(rank=i)) for i in range(ranked.sizes["rank"])]
        names, table = each[0]["block"].values.tolist(), np.transpose([one["block_time"].values for one in each])
    order = np.argsort(-table.max(axis=1), kind="stable")
    left = [(table[order[n:]].sum(axis=0) / table.sum(axis=0)).max() for n in range(len(order) + 1)]
    n = min(MOST_BLOCKS, next(n for n, share in enumerate(left) if share <= LEAST))
    parts, rest = {names[i]: table[i] for i in order[:n]}, order[n:]
    return parts | {f"{len(rest)} others": table[rest].sum(axis=0)}


def _again(space, point):
    return explain.explain(space, {axis: point[axis].values.item() for axis in space.axes})


def _names(ranked, by, others):
    """Two lines per bar: the group, and the rest of its configuration."""
    groups = selection.labels(ranked, by)
    rest = [selection.configuration(ranked.isel(rank=i), others) for i in range(len(groups))]
    half = [_halved(text) for text in rest]
    return [f"{group}\n{text}" if text else group for group, text in zip(groups, half)]


def _halved(text):
    """A long list of values on two lines."""
    parts = text.split(", ")
    if len(text) <= 34:
        return text
    middle = (len(parts) + 1) // 2
    return ", ".join(parts[:middle]) + ",\n" + ", ".join(parts[middle:])
