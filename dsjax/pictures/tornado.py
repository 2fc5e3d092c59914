"""Tornado of one point: the elasticity of each parameter, the largest first."""

from typing import Any, NamedTuple

import numpy as np

from ..analysis import sensitivity
from ..errors import InputError
from ..options import option
from ..specs import fields
from . import canvas, selection

MOST_BARS = 16
LEAST = 0.01  # of the longest bar: a shorter one would not be seen


class Elasticities(NamedTuple):
    """What the picture shows."""

    of: str
    found: Any  # `dsjax.sensitivity`
    values: np.ndarray  # of all parameters
    order: list  # of those that move it, the strongest first
    named: str
    says: str


def gather(results, at="best", of=None, wrt=None):
    """`Elasticities` of a point of results."""
    space = results.space
    of = selection.variable(space, of or space.objective)
    found = sensitivity.sensitivity(results, of=of, wrt=wrt, at=at)
    values = np.asarray(found["elasticity"].values, float)
    names = [str(name) for name in found["parameter"].values]
    order = [i for i in np.argsort(-np.abs(values), kind="stable") if abs(values[i]) > 1e-12]
    if not order:
        others = f"{option('of')}, {option('wrt')} or {option('at')}"
        raise InputError(f"plot tornado: no parameter moves {of} here; expected another {others}")
    named = selection.configuration(found, [a for a, n in space.sizes.items() if n > 1 and a in found.coords])
    says = f"1 % more of {names[order[0]]} changes {of} by {values[order[0]]:+.3g} % at {named}"
    return Elasticities(of, found, values, order, named, says)


def draw(figure, results, at="best", of=None, wrt=None):
    """Draw one bar per parameter; returns the strongest in one line."""
    from matplotlib.patches import Patch

    space = results.space
    of, found, values, order, named, says = gather(results, at, of, wrt)
    names = [str(name) for name in found["parameter"].values]
    zero, total = len(names) - len(order), len(order)
    order = [i for i in order[:MOST_BARS] if abs(values[i]) >= LEAST * abs(values[order[0]])]
    bars, rows = values[order], np.arange(len(order))
    kinks = found["kink"].values[order].astype(bool)

    ax = figure.add_subplot()
    ax.grid(False, axis="y")
    up, down = canvas.COLOURS[0], canvas.COLOURS[1]
    drawn = ax.barh(rows, bars, height=0.62, color=[up if v > 0 else down for v in bars])
    for bar, value, kink in zip(drawn, bars, kinks):
        bar.set_hatch("" if value > 0 else "///")
        bar.set_edgecolor("white")
        ax.annotate(  # right of zero: names are left of it
            f"{value:+.3g}{' *' if kink else ''}",
            (max(value, 0.0), bar.get_y() + 0.31),
            xytext=(3, 0),
            textcoords="offset points",
            va="center",
            ha="left",
            fontsize=8,
        )
    ax.axvline(0.0, color="black", lw=0.8)
    present = zip(found["parameter_value"].values[order], found["parameter_units"].values[order])
    values_now = [canvas.quantity(str(units), float(value)) for value, units in present]
    ax.set_yticks(
        rows,
        labels=[f"{names[i]}  {now}" for i, now in zip(order, values_now)],
        fontsize=8.5 if figure.get_figheight() >= 5.0 else 6.5,
    )
    ax.set_ylim(len(rows) - 0.4, -0.6)
    low, high = min(0.0, bars.min()), max(0.0, bars.max())
    ax.set_xlim(1.1 * low, high + 0.24 * (high - low))  # room for the numbers
    ax.spines["left"].set_visible(False)
    ax.tick_params(axis="y", length=0)
    canvas.numbers(ax.xaxis)
    ax.set_xlabel(f"elasticity: change of {of} in % per 1 % more of the parameter")
    words = ((up, "", f"more of it raises {of}"), (down, "///", f"more of it lowers {of}"))
    signs = [bars.max() > 0, bars.min() < 0]
    canvas.legend_below(
        ax, [Patch(facecolor=c, hatch=h, edgecolor="white", label=w) for (c, h, w), s in zip(words, signs) if s]
    )
    left_out = [f"{total - len(order)} smaller ones are not shown"] * (total > len(order))
    left_out += [f"{zero} without effect here"] * (zero > 0)
    left_out += ["* less and more of it weigh differently (a kink)"] * bool(kinks.any())
    more = f" {'; '.join(left_out)}." if left_out else ""
    words = f"{values[order[0]]:+.3g} % {_words(results.ds, of)} by 1 % more of {_meaning(space, names[order[0]])}"
    canvas.titles(figure, ax, words, f"{space.title}: what moves {of}, at {named}.{more}", selection.fixed(space))
    return says


def _words(ds, name):
    return str(ds[name].attrs.get("long_name", name)).partition(":")[0]


def _meaning(space, name):
    """A parameter in words, where its record has some."""
    record, _, field = name.rpartition(".")
    cls = space.study.records.get(record.partition(".")[0])
    known = fields.fields_of(cls).get(field, {}) if cls else {}
    return known.get("doc") or name
