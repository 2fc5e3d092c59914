"""The sheet a picture is drawn on: style, titles, legends, units, labels that keep clear of each other, files."""

import contextlib
import itertools
import math
import re
import textwrap
from pathlib import Path

from ..errors import InputError
from ..results import files

# Okabe and Ito's colours, told apart by colour-blind readers, without the yellow that white paper swallows.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C8C8C")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p")
DASHES = ("-", (0, (5, 1.5)), (0, (1, 1)), (0, (5, 1, 1, 1)), (0, (8, 2)), (0, (3, 1, 1, 1, 1, 1)), (0, (2, 2)), "-")
LIMIT_COLOURS = {"compute": "#0072B2", "memory": "#E69F00", "network": "#009E73", "latency": "#CC79A7"}
GREY = "#555555"
STYLE = {
    "font.size": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#E3E3E3",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "axes.labelsize": 9.5,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "hatch.linewidth": 0.7,
    "lines.linewidth": 1.6,
    "svg.hashsalt": "dsjax",  # names inside an SVG file are the same in every run
}
SCALED = ("s", "B", "B/s", "FLOP", "FLOP/s", "Hz")  # units with prefixes
_PREFIXES = ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
MOST_PIXELS = 20_000  # on a side


def check(path, size, dpi, force=False):
    """Refuse a size, a path or a suffix that no picture can have, and say where matplotlib is missing."""
    sides = size if isinstance(size, tuple | list) and len(size) == 2 else ()
    if not sides or any(isinstance(x, bool) or not isinstance(x, int | float) or not 3 <= x <= 60 for x in sides):
        raise InputError(f"size: {size!r}; expected width and height from 3 to 60 [inch]")
    if isinstance(dpi, bool) or not isinstance(dpi, int | float) or not 30 <= dpi <= 1200:
        raise InputError(f"dpi: {dpi!r}; expected a number from 30 to 1200 [dots per inch]")
    if max(sides) * dpi > MOST_PIXELS:
        raise InputError(f"dpi: {dpi!r}: {max(sides) * dpi:,.0f} dots on a side; expected at most {MOST_PIXELS:,}")
    if path is not None:
        if Path(path).suffix.lower() not in (".png", ".svg"):
            raise InputError(f"{path}: suffix {Path(path).suffix!r}; expected a path ending in .png, .svg or .html")
        files.check_output(path, force)
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError:
        raise InputError("plot: matplotlib is not installed; expected it: pip install dsjax[plot]") from None


@contextlib.contextmanager
def style():
    """dsjax's style, whatever the user's own is; theirs is back afterwards."""
    import matplotlib.style

    with matplotlib.style.context(["default", STYLE]):
        yield


def figure(size, dpi):
    """An empty figure with a canvas of its own: pyplot and its state are not involved."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    result = Figure(figsize=tuple(size), dpi=dpi, layout="constrained")
    FigureCanvasAgg(result)
    return result


_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufffe\uffff]")  # not in XML, nor of a font


def save(fig, path, force, conclusion):
    """Write a figure under a temporary name and rename it; the same picture is the same bytes."""
    form = Path(path).suffix.lower().removeprefix(".")
    extra = {"Date": None, "Creator": "dsjax"} if form == "svg" else {"Software": "dsjax"}
    files.check_output(path, force)
    with files.replacing(path, force) as temporary:
        description = _CONTROL.sub(" ", conclusion)
        fig.savefig(temporary, format=form, dpi=fig.dpi, metadata={"Description": description, **extra})
        if form == "svg":  # a name that holds one would be no XML
            drawn = Path(temporary).read_text(encoding="utf-8")
            Path(temporary).write_text(_CONTROL.sub(" ", drawn), encoding="utf-8")


def titles(fig, ax, title, subtitle, footer=""):
    """What is seen; what is shown, above the axes; what is fixed, at the foot; wrapped to the room there is."""
    size = 11.5 if fig.get_figwidth() >= 8.0 else 9.5
    title, subtitle, footer = map(text, (title, subtitle, footer))
    fig.suptitle(
        _wrapped(fig, title, size, fig.bbox.width, fontweight="bold"),
        fontsize=size,
        fontweight="bold",
        x=0.01,
        ha="left",
    )
    if footer:
        fig.supxlabel(_wrapped(fig, footer, 7.0, fig.bbox.width), fontsize=7.0, color=GREY, x=0.01, ha="left")
    for _ in range(2):  # labels on more lines move the axes
        _labels_within(fig)
        fig.draw_without_rendering()
        room = fig.bbox.width - ax.get_window_extent().x0
        words = _wrapped(fig, subtitle, size - 3.0, room)
        ax.set_title(words, fontsize=size - 3.0, color=GREY, loc="left", pad=8)


def _labels_within(fig):
    """Labels of axes that are longer than what they stand beside, on more lines."""
    fig.draw_without_rendering()
    for ax in fig.axes:
        frame = ax.get_window_extent()
        middle = (frame.x0 + frame.x1) / 2.0
        wide = 2.0 * min(middle, fig.bbox.width - middle)
        for words, side, room in ((ax.yaxis.label, "height", frame.height), (ax.xaxis.label, "width", wide)):
            long, text = getattr(words.get_window_extent(), side), words.get_text()
            if not text or long <= 0.98 * room:
                continue
            text = text.replace("\n", " ")
            words.set(fontsize=8.0)
            for more in range(2, 4):
                columns = max(8, math.ceil(1.1 * len(text) / more))
                words.set_text(textwrap.fill(text, columns, break_long_words=False))
                if getattr(words.get_window_extent(), side) <= 0.98 * room:
                    break
            else:  # its name and unit alone
                name, unit = (re.search(pattern, text) for pattern in (r"\((\w+)\)", r"\[.+\]$"))
                words.set_text("\n".join([name[1] if name else text] + ([unit[0]] if unit else [])))
                words.set(fontsize=7.0)


def _wrapped(fig, words, size, room, **style):
    """A text broken into lines of at most `room` pixels."""
    if not words:
        return ""
    probe = fig.text(0.0, 0.0, words, fontsize=size, **style)
    columns = max(20, int(room / probe.get_window_extent().width * len(words)))
    while columns > 20:  # lines of wide letters
        probe.set_text(textwrap.fill(words, columns))
        if probe.get_window_extent().width <= 0.98 * room:
            break
        columns -= 2
    probe.remove()
    return textwrap.fill(words, columns)


def small(fig):
    """Keywords of a legend: its size by that of the sheet."""
    size = 7.5 if fig.get_figwidth() >= 8.0 else 6.0
    return {"fontsize": size, "title_fontsize": size, "handlelength": 2.0, "handletextpad": 0.5, "labelspacing": 0.35}


def legend(ax, handles, title=None):
    """Legend right of the axes, where there are no data."""
    place = {"loc": "upper left", "bbox_to_anchor": (1.005, 1.0), "borderaxespad": 0.2}
    return ax.legend(handles=handles, title=title, alignment="left", **place, **small(ax.figure))


def legend_below(ax, handles):
    """Legend under the label of the axis across."""
    from matplotlib.transforms import ScaledTranslation

    fig = ax.figure
    _labels_within(fig)
    fig.draw_without_rendering()
    down = (ax.get_window_extent().y0 - ax.get_tightbbox().y0) / fig.dpi + 0.05
    under = ax.transAxes + ScaledTranslation(0.0, -down, fig.dpi_scale_trans)
    return ax.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=(0.0, 0.0),
        bbox_transform=under,
        borderaxespad=0.0,
        **small(fig),
    )


def numbers(axis, log=False):
    """Ticks as a reader writes numbers: 3,000 and 0.1, not 10^-1."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.set_major_formatter(FuncFormatter(lambda value, _: text(value)))
    if log:
        low, high = sorted(axis.get_view_interval())
        subs = (1.0, 2.0, 5.0) if high < 1e3 * low else (1.0,)
        axis.set_major_locator(LogLocator(subs=subs))
        axis.set_minor_formatter(NullFormatter())


def scale(units, largest):
    """(factor, unit) in which a quantity of this size reads best: seconds as ms, B/s as TB/s."""
    if units == "s":
        steps = ((1.0, 1.0, "s"), (1e-3, 1e3, "ms"), (0.0, 1e6, "µs"))
        return next((factor, unit) for low, factor, unit in steps if largest >= low)
    if units in SCALED:
        return next(((1.0 / size, prefix + units) for size, prefix in _PREFIXES if largest >= size), (1.0, units))
    return 1.0, "" if units == "1" else units


def label(name, attrs, unit, lines=1):
    """Text of an axis: what is shown and its unit; on two `lines`, or only its name (3) where there is little room."""
    if lines > 2:
        return f"{name}\n[{unit}]" if unit else name
    text = str(attrs.get("long_name", name)).partition(":")[0]
    text = name if len(text) > 60 else text
    known = re.search(rf"\b{re.escape(name)}\b", text, re.IGNORECASE) or "units" not in attrs
    named = text if known else f"{text}{chr(10) if lines > 1 else ' '}({name})"
    return named + (f" [{unit}]" if unit else "")


def text(value):
    """A number or a label as a reader writes it; what no font draws and no XML holds is a question mark."""
    if isinstance(value, str):
        return _CONTROL.sub("?", value)
    value = float(value)
    if value == int(value) and abs(value) < 1e6:
        return f"{value:,.0f}"
    if abs(value) >= 1e6:
        factor, prefix = next((size, prefix) for size, prefix in _PREFIXES if abs(value) >= size)
        return f"{value / factor:.4g} {prefix}"
    return f"{value:,.0f}" if abs(value) >= 1e4 else f"{value:,.4g}"


def quantity(units, value):
    """A value with its unit: 70.9 ms."""
    factor, unit = scale(units, abs(value))
    return f"{text(float(f'{factor * value:.4g}'))} {unit}".rstrip()


def ticks(axis, values):
    """One tick per value where they fit, else every second, third, ..."""
    shown = [list(values)[i] for i in few(values, 16 if axis.figure.get_figwidth() >= 8.0 else 8)]
    axis.set_ticks(shown, labels=[text(v) for v in shown])
    axis.set_ticks([], minor=True)


STEPS = tuple(digit * 10**power for power in range(6) for digit in (1, 2, 4, 5, 8))


def few(values, most):
    """Places of at most so many of the values: round multiples of an even axis, else every second, third, ..."""
    n = len(values)
    if n <= most:
        return [*range(n)]
    steps = {b - a for a, b in itertools.pairwise(values)} if not isinstance(values[0], str) else ()
    if len(steps) == 1 and not any(v != int(v) for v in values):
        for step in sorted({*STEPS, 16, 32, 64, 128, 256, 512, 1024}):
            there = [i for i, v in enumerate(values) if v % step == 0]
            if 3 <= len(there) <= most and len({values[j] - values[i] for i, j in itertools.pairwise(there)}) == 1:
                return there
    return [*range(0, n, math.ceil(n / most))]
