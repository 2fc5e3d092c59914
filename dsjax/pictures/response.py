"""Variables of the best configuration along one axis of the results, or along any continuous number behind them."""

from typing import Any, NamedTuple

import numpy as np

from ..analysis import solve, targets
from ..errors import InputError
from ..space.space import LOADS, numeric_axes
from ..specs.variables import SENSE
from . import along, canvas, response_curves, selection

MOST_PANELS = 4
VALUES = 41  # of a number that is not an axis


class Response(NamedTuple):
    """What the picture shows."""

    names: list  # variables, one panel each
    x: str
    varied: Any  # `Input` that is moved; None: `x` is an axis
    by: tuple
    best: str  # the variable that every point is the best of
    sense: int  # 1: more of it is better
    chosen: dict  # {axis: value}
    shown: dict  # {label: Curve}
    count: int  # groups there are
    line: Any  # the axis across
    question: Any  # target, or None
    met: str  # what a crossing of it is called
    where: dict  # {label: values of x where it is met}
    over: str  # what the best is taken over, what is hollow, where a line ends
    says: str


def gather(results, at=None, x=None, y=None, by=None, of=None, until=None, between=None):
    """`Response` of results."""
    ds, space = results.ds, results.space
    question = None if until is None else targets.of(space, until)
    if question is not None and question.bound is None:
        raise InputError(f"until: {until!r}; expected '<variable> >= <number>' or '<variable> <= <number>'")
    names = _variables(space, y, question)
    x, varied = _along(space, x, between)
    by = tuple(name for name in selection.groups(space, by) if name != x)
    of = _objective(space, of, names, question)
    best = (of or space.objective).removeprefix("-")
    cut, chosen, mask = selection.restricted(results, at, (x,), by)
    wanted = list(dict.fromkeys([*names, best]))
    values = None if varied is None else along.values(varied, "x", between, VALUES)
    if varied is None:
        found = response_curves.along_axis(cut, mask, x, by, of, wanted)
    else:
        found = response_curves.along_input(results, varied, values, chosen, by, of, wanted)
    if not found:
        raise selection.nothing(results, mask)
    sense = space.sense if of is None else -1 if of.startswith("-") else 1
    shown = response_curves.leading(space, found, best, sense)
    ends = _ends(results, mask, x, varied, values, shown)

    where = {} if question is None else _crossings(results, varied, values, until, question, shown, chosen)
    beside = [v * (1.0 + side) for found in where.values() for v in found for side in (-1e-6, 1e-6) if varied]
    if beside:  # where the answer changes the curve may jump
        more = response_curves.along_input(results, varied, beside, chosen, by, of, wanted)
        shown = {
            name: response_curves.merged(curve, more[name]) if name in more else curve for name, curve in shown.items()
        }

    line = response_curves.Line.of(ds, space, x, varied, shown)
    met = f"last {x} with {until}" if varied is None else f"crossing of {until}"
    few = f" The best {len(shown)} of {len(found)} groups." if len(found) > len(shown) else ""
    others = selection.free(space, (x, *by, *chosen))
    over = f"Each point: the feasible configuration with the best {best} over {', '.join(others)}." if others else ""
    refused = any(not curve.feasible.all() for curve in shown.values())
    words = " and ".join(name.removeprefix("ok_") for name in selection.asked(space))
    over += f" Hollow: refused by {words} alone." if refused else ""
    says = _answers(where, line, met) if question is not None else _said(ds, shown, names, best, sense, line)
    over = f"{over}{few}{ends}".strip()
    return Response(
        names, x, varied, by, best, sense, chosen, shown, len(found), line, question, met, where, over, says
    )


def draw(figure, results, at=None, x=None, y=None, by=None, of=None, until=None, between=None):
    """Draw one panel per variable and one line per group; returns where the target is met, or the best point."""
    ds, space, found = results.ds, results.space, gather(results, at, x, y, by, of, until, between)
    names, shown, line, varied, question, where = (
        getattr(found, name) for name in ("names", "shown", "line", "varied", "question", "where")
    )
    panels = [figure.add_subplot(len(names), 1, i + 1) for i in range(len(names))]
    handles = {}
    for panel, name in zip(panels, names):
        target = question.bound if question is not None and question.variable == name else None
        handles |= _panel(panel, ds, space, name, shown, line, target, len(names))
        if varied is not None:
            handles |= _present(panel, varied, line)
        line.label(panel, panel is panels[-1])
    if any(where.values()):
        panel = panels[names.index(question.variable)]
        handles[found.met] = _rings(panel, ds, where, shown, question.variable, question.bound, line, found.met)
    canvas.legend(panels[0], list(handles.values()), ", ".join(found.by) or None)
    shares = sorted({f"{100 * x:.0f}" for c in shown.values() if (x := selection.band(ds, c.group))}, key=int)
    bands = (
        f" Bands: +-{' to '.join(dict.fromkeys((shares[0], shares[-1])))} % of the kernels' times." if shares else ""
    )
    about = f"{space.title}. {found.over}{bands}".strip()
    title = found.says if question is not None else _title(ds, shown, found.best, found.sense, line)
    canvas.titles(figure, panels[0], title, about, selection.fixed(space, found.chosen))
    return found.says


def _title(ds, shown, best, sense, line):
    """The best that is drawn, in words."""
    value, x, label = _top(shown, best, sense)
    value_at = line.text(x) if line.units in canvas.SCALED else canvas.text(x)
    where = x if line.kind == "names" else f"{line.name.rpartition('.')[2]} {value_at}"
    return f"{selection.amount(ds, best, value)} at best, at {where} ({label})"


def _said(ds, shown, names, best, sense, line):
    """The extremes of the variables, in one line."""
    extremes = [_extreme(ds, shown, best, sense, line, "best")]
    for name in names:
        if name != best:
            way = SENSE.get(name, 1)
            extremes.append(_extreme(ds, shown, name, way, line, "largest" if way > 0 else "smallest"))
    return "; ".join(extremes)


def _variables(space, y, question):
    """Variables to show: as given, the target's, or the rates per user and per chip."""
    if y is None:
        rates = [name for name in ("tps_per_user", "ttft", "tps_per_chip") if name in space.defined]
        y = rates if question is None or question.variable not in space.defined else [question.variable]
    y = [name for name in y.split(",") if name] if isinstance(y, str) else list(y)
    if not 1 <= len(y) <= MOST_PANELS or len(set(y)) < len(y):
        raise InputError(f"y: {', '.join(y) or 'empty'}; expected 1 to {MOST_PANELS} different variables")
    for name in y:
        selection.variable(space, name, "y")
    if question is not None and question.variable not in y:
        raise InputError(
            f"until: {question.variable} is not among y ({', '.join(y)}); expected a variable that is shown"
        )
    return y


def _along(space, x, between):
    """(name, None) of an axis, (name, `Input`) of another number; by default the load, or the longest axis."""
    if x is None:
        x = next((a for loads in LOADS.values() for a in loads if a in space.axes), None)
        x = x or max(space.axes, key=lambda a: (a in numeric_axes(space.study), space.sizes[a]))
    return along.of(space, x, "x", between)


def _objective(space, of, names, question):
    """What the best is the best of: the target's variable, or as given, or the first one shown."""
    if question is None:
        return selection.objective(space, of or names[0])
    if of is not None and of.removeprefix("-") != question.variable:
        raise InputError(f"of: {of!r} beside a target of {question.variable}; expected the same variable")
    return question.objective


def _panel(ax, ds, space, name, shown, line, bound, panels):
    """One variable of every group; legend entries {text: artist}."""
    values = [curve.values[name] for curve in shown.values()]
    low, high = min(v.min() for v in values), max(v.max() for v in values)
    factor, unit = canvas.scale(ds[name].attrs["units"], high)
    log = low > 0.0 and high > 50.0 * low
    handles, under = [], response_curves.hidden(list(shown.values()), name, log)
    for i, (label, curve) in enumerate(shown.items()):
        xs, ys, ok = line.places(curve.x), factor * curve.values[name], curve.feasible
        style = {"color": canvas.COLOURS[i], "zorder": 3}
        on = min(under[i], 1)  # a curve below others shows on both sides of them
        wide, mark = 1.5 + 1.5 * on, 4.0 + 1.6 * on
        if (share := selection.band(ds, curve.group)) and ds[name].attrs["units"] in ("s", "token/s"):
            widths = {"color": canvas.COLOURS[i], "alpha": 0.13, "lw": 0, "zorder": 1, "label": f"_{label} band"}
            ax.fill_between(
                xs, np.where(ok, ys / (1 + share), np.nan), np.where(ok, ys / (1 - share), np.nan), **widths
            )
        near = ~ok | np.append(~ok[1:], False) | np.insert(~ok[:-1], 0, False)
        if near.any():  # from the last feasible point through the refused ones
            hollow = {"marker": canvas.MARKERS[i], "ms": mark, "mfc": "white"}
            ax.plot(
                xs,
                np.where(near, ys, np.nan),
                ls=line.dashes(":"),
                lw=1.0,
                label=f"_{label} refused",
                **hollow,
                **style,
            )
        marker = {"marker": canvas.MARKERS[i], "ms": mark} if line.grid and len(xs) <= 24 else {}
        handles += ax.plot(
            xs, np.where(ok, ys, np.nan), ls=line.dashes(canvas.DASHES[i]), lw=wide, **marker, label=label, **style
        )
    if log:
        ax.set_yscale("log")
    else:
        ax.set_ylim(min(0.0, 1.05 * factor * low), 1.08 * factor * high)
    canvas.numbers(ax.yaxis, ax.get_yscale() == "log")
    ax.set_ylabel(canvas.label(name, ds[name].attrs, unit, panels))
    units = ds[name].attrs["units"]
    levels = [(v, words, "--") for v, words in selection.bounds(space, name, units) if low <= v <= high and v != bound]
    if bound is not None:
        levels.append((bound, f"target: {name} = {canvas.quantity(units, bound)}", "-."))
    for value, words, dashes in levels:
        handles.append(ax.axhline(factor * value, color=canvas.GREY, ls=dashes, lw=1.1, zorder=2, label=words))
    return {handle.get_label(): handle for handle in handles}


def _present(ax, varied, line):
    """Marks of the values that the rows in use have now; legend entries {text: artist}."""
    rows = {}
    for row, value in varied.values.items():
        rows.setdefault(value, []).append(row)
    handles = {}
    for value, names in sorted(rows.items()):
        if line.values[0] <= value <= line.values[-1]:
            words = f"present: {canvas.quantity(line.units, value)}" + (f"\n({', '.join(names)})" if any(names) else "")
            dashes = canvas.DASHES[1 + len(handles) % (len(canvas.DASHES) - 2)]
            style = {"color": canvas.GREY, "ls": dashes, "lw": 1.2, "zorder": 2}
            handles[words] = ax.axvline(line.factor * value, label=words, **style)
    return handles


def _ends(results, mask, x, varied, values, shown):
    """Where a line ends and why, in words."""
    if varied is not None:
        gaps = any(len(curve.x) < len(values) for curve in shown.values())
        return " A line is missing where no point is feasible." if gaps else ""
    parts = []
    for label, (missing, why) in response_curves.impossible(results, mask, x, shown).items():
        last = shown[label].x[-1]
        ordered = not isinstance(last, str) and min(missing) > max(shown[label].x)
        where = f"above {canvas.text(last)}" if ordered else f"at {', '.join(map(canvas.text, missing))}"
        parts.append(f"{label} {where} ({why})")
    return f" Impossible, so not drawn: {'; '.join(parts)}." if parts else ""


def _crossings(results, varied, values, until, question, shown, chosen):
    """{group: values of x}: the last values of an axis that meet the target, or where the answer changes."""
    if varied is None:
        return {label: _last_met(curve, question) for label, curve in shown.items()}
    found = {}
    for label, curve in shown.items():
        for name in curve.group:
            selection.axis_of(results.space, name, "by, beside until")
        solved = solve.solve(
            results, varied.name, until, between=(values[0], values[-1]), at=dict(chosen) | curve.group
        )
        found[label] = solved["value"].values.tolist()
    return found


def _last_met(curve, question):
    """Feasible values of x that meet the target, beside a neighbour that does not or is refused."""
    answers = [question.state((y,)) in question.met for y in curve.values[question.variable].tolist()]
    met = [answer and ok for answer, ok in zip(answers, curve.feasible.tolist())]
    if all(met):
        return []
    beside = [(met[i - 1] if i else True) and (met[i + 1] if i + 1 < len(met) else True) for i in range(len(met))]
    return [x for x, ok, inner in zip(curve.x, met, beside) if ok and not inner]


def _rings(ax, ds, where, shown, variable, bound, line, words):
    """Rings around the places where the target is met; legend entry."""
    factor, _ = canvas.scale(ds[variable].attrs["units"], max(curve.values[variable].max() for curve in shown.values()))
    xs, ys = [], []
    for label, values in where.items():
        curve = shown[label]
        for x in values:
            xs += line.places([x])
            ys.append(factor * (curve.values[variable][curve.x.index(x)] if x in curve.x else bound))
    return ax.plot(xs, ys, ls="", marker="o", ms=10, mfc="none", mec="black", mew=1.3, zorder=5, label=words)[0]


def _answers(where, line, met):
    """Where every group meets the target, as one line."""
    parts = [f"{label}: {', '.join(map(line.text, values)) or 'nowhere between'}" for label, values in where.items()]
    return f"{met} at {line.name} = " + "; ".join(parts)


def _extreme(ds, shown, best, sense, line, word):
    """The extreme of a variable over all feasible points that are drawn, in words."""
    value, x, label = _top(shown, best, sense)
    return f"{word} {best} {canvas.quantity(ds[best].attrs['units'], value)} at {line.name} = {line.text(x)} ({label})"


def _top(shown, best, sense):
    """(value, x, group) of the best feasible point that is drawn."""
    every = [(v, x, label) for label, c in shown.items() for v, x, ok in zip(c.values[best], c.x, c.feasible) if ok]
    return max(every, key=lambda item: sense * item[0])
