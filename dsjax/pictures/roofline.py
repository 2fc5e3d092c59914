"""The roofline of a chip with the operators of one configuration under it."""

import math
from typing import Any, NamedTuple

import numpy as np

from ..analysis import explain, refusals
from ..errors import InputError
from ..formulas.metrics import LIMITS
from ..results.handle import Results
from ..search import point
from ..specs import records
from . import canvas, selection
from .labels import Note, annotate


class Roofline(NamedTuple):
    """What the picture shows: operators with both flops and bytes (`on`) under the roofs of a chip."""

    one: Any  # the configuration in full
    hardware: str
    bandwidth: float
    peaks: dict  # {rate: FLOP/s}
    on: np.ndarray
    intensity: np.ndarray  # FLOP/B of the operators that are on
    achieved: np.ndarray  # FLOP/s
    limits: np.ndarray  # places in LIMITS
    share: np.ndarray  # of the time before overlap, of all operators
    whole: tuple  # intensity and FLOP/s of the step
    named: str
    says: str


def gather(results, at=None):
    """`Roofline` of the best configuration that `at` leaves."""
    return of_point(results.space, explain.explain(results, point.best(results) if at == "best" else at))


def of_point(space, one):
    """`Roofline` of one configuration in full."""
    numbers = refusals.numbers(
        Results.of(one).space, {name: v.values.item() for name, v in one.variables.items() if v.ndim == 0}
    )
    bandwidth, peaks = numbers["hardware_hbm_bytes_per_s"], _peaks(numbers)
    flops, n_bytes, seconds = (one[f"block_{k}"].values for k in ("flops", "bytes", "time"))
    on = (flops > 0.0) & (n_bytes > 0.0) & (seconds > 0.0)
    if not on.any():
        raise InputError("plot roofline: no operator has both flops and bytes; expected at least one")
    limits = np.array([one[f"block_{limit}"].values for limit in LIMITS]).argmax(axis=0)[on]
    share = seconds / seconds.sum()
    whole = float(flops.sum() / n_bytes.sum()), float(flops.sum() / one["step_time"])
    named = selection.configuration(one, [a for a, n in space.sizes.items() if n > 1])
    named += "" if bool(one["feasible"]) else " (refused)"
    most, part = _bound(limits, share[on])
    says = f"{most} bounds {part:.0%} of the time of the operators shown, {share[on].sum():.0%} of all, at {named}"
    spots = flops[on] / n_bytes[on], flops[on] / seconds[on], limits, share, whole
    return Roofline(one, numbers["hardware"], bandwidth, peaks, on, *spots, named, says)


def draw(figure, results, at=None):
    """Draw the roofline of one configuration, the best one that `at` leaves; what bounds the most time."""
    space, found = results.space, gather(results, at)
    one, hardware, bandwidth, peaks, on, intensity, achieved, limits, share, whole, named, says = found
    factor, unit = canvas.scale("FLOP/s", max(peaks.values()))
    whole = whole[0], factor * whole[1]

    ax = figure.add_subplot(xscale="log", yscale="log")
    roofs = _roofs(ax, bandwidth, peaks, intensity, factor)
    handles = list(roofs)
    for i, limit in enumerate(LIMITS):
        if (limits == i).any():
            here = limits == i
            ax.scatter(
                intensity[here],
                factor * achieved[here],
                s=_size(share[on][here]),
                color=canvas.LIMIT_COLOURS[limit],
                marker=canvas.MARKERS[i],
                alpha=0.75,
                edgecolor="white",
                lw=0.7,
                zorder=4,
                label=limit,
            )
            handles.append(_dot(canvas.LIMIT_COLOURS[limit], canvas.MARKERS[i], f"operator bound by {limit}"))
    ax.plot(*([v] for v in whole), marker="*", ms=11, color="black", ls="", zorder=5, label="whole step")
    ax.set_ylim(0.5 * factor * min(*achieved, whole[1] / factor), 2.2 * factor * max(peaks.values()))
    ax.set_xlabel("arithmetic intensity: needed flops / needed bytes [FLOP/B]")
    ax.set_ylabel(f"needed flops / time of the operator [{unit}]")
    most, part = _bound(limits, share[on])
    left_out = ~on & (share > 0.0)
    names = one["block"].values[left_out]
    largest = sorted(zip(share[left_out], names), key=lambda pair: -pair[0])
    entries = [f"{name} {_percent(x)}" for x, name in largest]
    handles += [_dot("none", "", "\n".join(["without flops or bytes:", *entries]))] * bool(entries)
    canvas.legend(ax, handles)
    without = (
        f" Without flops or bytes: {', '.join(names)}, {share[~on].sum():.0%} of the blocks' time."
        if len(names)
        else ""
    )
    canvas.titles(
        figure,
        ax,
        f"{most} bounds {part:.0%} of the time of these operators on {hardware}",
        f"{space.title}: {named}. Area of a point: its share of the time before overlap.{without}",
        f"{selection.fixed(space)}. {selection.operators(one['block'].values[share > 0.0])}",
    )
    order = np.argsort(-share[on])
    names, parts = one["block"].values[on], share[on]
    spots = zip(intensity, factor * achieved, names, parts)
    notes = [Note(x, y, f"{name} {_percent(part)}", radius=_size(part) ** 0.5 / 2) for x, y, name, part in spots]
    canvas.numbers(ax.xaxis, log=True)
    canvas.numbers(ax.yaxis, log=True)
    whole_step = Note(*whole, "whole step", radius=5.0)
    annotate(ax, [*(notes[i] for i in order), whole_step], roofs)
    return says


def _peaks(numbers):
    """{rate: peak [FLOP/s]} of the compute rates that the precision uses on this chip."""
    peaks = {}
    for use in ("weight", "expert", "attention"):
        rate = records.RATES[int(numbers[f"{use}_rate"])]
        rate = rate if numbers[f"hardware_{rate}_flops_per_s"] else records.RATES[0]  # bf16 stands in for what it lacks
        peaks[rate] = numbers[f"hardware_{rate}_flops_per_s"]
    return peaks


def _roofs(ax, bandwidth, peaks, intensity, factor):
    """The roofs, from left of the operators to right of the ridges; legend entries."""
    highest = max(peaks.values())
    ends = 0.4 * min(intensity), 3.0 * max(*intensity, highest / bandwidth)
    handles = []
    for i, (rate, peak) in enumerate(sorted(peaks.items(), key=lambda item: -item[1])):
        ridge = peak / bandwidth
        words = f"{rate} {canvas.quantity('FLOP/s', peak)},\nridge {ridge:,.0f} FLOP/B"
        style = {"color": "black", "ls": canvas.DASHES[i], "lw": 1.3, "zorder": 2}
        handles += ax.plot([ridge, ends[1]], [factor * peak] * 2, label=words, **style)
    top = highest / bandwidth
    slope = f"memory {canvas.quantity('B/s', bandwidth)}"
    handles += ax.plot(
        [ends[0], top],
        [factor * ends[0] * bandwidth, factor * highest],
        color=canvas.LIMIT_COLOURS["memory"],
        lw=1.6,
        label=slope,
        zorder=2,
    )
    ax.set_xlim(*ends)
    return handles


def _dot(colour, marker, words):
    from matplotlib.lines import Line2D

    return Line2D([], [], color=colour, marker=marker, ls="", ms=7, label=words)


def _bound(limits, share):
    """(resource that bounds most of the time, its share)."""
    sums = [math.fsum(share[limits == i]) for i in range(len(LIMITS))]
    i = int(np.argmax(sums))
    return LIMITS[i], sums[i] / math.fsum(share)


def _percent(share):
    return f"{share:.0%}" if share >= 0.005 else "<1%"


def _size(share):
    """Area of a point [pt2]."""
    return 18.0 + 600.0 * share
