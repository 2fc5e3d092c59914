"""Pictures of results, for `dsjax plot` and `dsjax.plot`. matplotlib is imported only when a picture is drawn."""

import importlib
import inspect
import pathlib
from typing import TYPE_CHECKING, Any

from ..arguments import typed
from ..errors import InputError, unknown
from ..pages import parts, sheet
from ..results import files
from ..sweeps import sources
from ..types import Path, Source
from . import canvas, selection

if TYPE_CHECKING:
    import matplotlib.figure

# kind -> module, whose `draw`(figure, results, **options) returns one line that says what is seen; in `charts` the one
# whose `chart`(results, **options) is the same as a chart of a page
KINDS = {
    "pareto": "pareto",
    "heatmap": "heatmap",
    "roofline": "roofline",
    "breakdown": "breakdown",
    "tornado": "tornado",
    "response": "response",
    "latency": "latency",
}


@typed
def plot(
    kind: str,
    source: Source = "default",
    path: Path | None = None,
    *,
    size: tuple[float, float] = (9.0, 6.0),
    dpi: float = 150,
    force: bool = False,
    **options: Any,
) -> "matplotlib.figure.Figure | parts.Chart":
    """A picture of results as a matplotlib `Figure`; written to `path` (.png or .svg) where one is given.

    With a `path` ending in .html it is a page with the values of every mark on hover, and what is returned holds its
    Vega-Lite specifications (`specs`).

    `kind`: "pareto" (x, y, by), "heatmap" (of, x, y), "roofline", "breakdown" (by, of, blocks), "tornado" (of, wrt),
    "response" (x, y, by, of, until, between), "latency" (by, of; servers alone). All take `at`: {axis: value}, the only
    values that are shown, or "best". The other `options` are those of `sweep`. `source`: a Dataset, a file dsjax wrote,
    or a grid. `size` [inch], `dpi` [dots per inch]; an existing file is replaced only with `force`. No state of
    matplotlib is changed. Raises `InputError` for bad input, `NothingFeasible`, one of them, where no feasible point is
    left to be shown.
    """
    return drawn(kind, source, path, size, dpi, force, options)[0]


def drawn(kind, source, path, size, dpi, force, options):
    """(figure, one line that says what it shows) of `plot`."""
    if path is not None:
        changes = (options.get(name) or () for name in ("axes", "fixed", "catalogs"))
        files.apart([path], sources.files_of(source, *changes))
    check(kind, path, size, dpi, force, options)
    wanted = {name: value for name, value in options.items() if name in allowed(kind)}
    given = {name: value for name, value in options.items() if name not in wanted and value is not None}
    results = sources.ask(source, "plot", given, needs="sweep").swept(blocks=None, command="dsjax.plot")
    wanted = {name: value for name, value in wanted.items() if value is not None}
    if results.space.study.requests and (kind == "roofline" or wanted.get("blocks")):
        phases = ", ".join(results.space.phases)
        raise InputError(
            f"plot {kind}: phase {phases}: its operators are those of steps; expected phase decode or prefill"
        )
    if is_page(path):
        chart = charted(kind, results, **wanted)
        section = parts.Section("", [chart])
        attributes = {"description": chart.says, "grid": results.ds.attrs.get("grid", "")}
        made = f"dsjax plot {kind}; {results.ds.attrs.get('history', '')}"
        sheet.write(parts.Page(results.space.title, "", [section], made, attributes), path, force)
        return chart, chart.says
    with canvas.style():
        figure = canvas.figure(size, dpi)
        conclusion = _draw(kind)(figure, results, **wanted)
        if path is not None:
            canvas.save(figure, path, force, f"{conclusion}. {selection.fixed(results.space, whole=True)}")
    return figure, conclusion


def check(kind, path, size, dpi, force, options):
    """Refuse what no results could make right, before anything is computed."""
    if not isinstance(kind, str) or kind not in KINDS:
        raise unknown("plot", "kind", kind, KINDS)
    known = (*allowed(kind), *sources.OF_GRID)
    for name, value in options.items():
        if name not in known and value is not None:
            others = [k for k in KINDS if name in allowed(k)]
            if others:
                raise InputError(
                    f"plot {kind}: {name}: {value!r} is an option of {', '.join(others)}; expected one of "
                    f"{', '.join(allowed(kind))}"
                )
            raise unknown(f"plot {kind}", "option", name, known)
    if is_page(path):
        sheet.check(path, force)
    else:
        canvas.check(path, size, dpi, force)


def is_page(path):
    """Whether a picture is to be a page."""
    return path is not None and pathlib.Path(path).suffix.lower() == sheet.SUFFIX


def charted(kind, results, **options):
    """A kind of picture as a chart of a page."""
    return importlib.import_module(f".charts.{KINDS[kind]}", __name__).chart(results, **options)


def allowed(kind):
    """Options of a kind of picture."""
    return tuple(inspect.signature(_draw(kind)).parameters)[2:]


def _draw(kind):
    return importlib.import_module(f".{KINDS[kind]}", __name__).draw
