"""`dsjax report` and `dsjax.report`: a space as one self-contained HTML page."""

from typing import Any

from .. import types
from ..analysis import explain
from ..arguments import typed
from ..errors import InputError
from ..options import of_page
from ..pages import parts, sheet
from ..pictures import charted, roofline, tornado
from ..pictures.charts import roofline as roofline_chart
from ..pictures.charts import tornado as tornado_chart
from ..results import files
from ..search import ranking
from ..space.space import load_of
from ..sweeps import sources, sweep
from . import answer, configuration, evidence, words


@typed
def report(
    source: types.Source = "default", path: types.Path | None = None, *, force: bool = False, **options: Any
) -> str:
    """A space as one self-contained HTML page, returned as text; written to `path` (.html) where one is given.

    `source`: a Dataset, a file dsjax wrote, or a grid (`options` are those of `sweep`, for a grid only); a grid is
    evaluated whole. The question, the best point in words, the Pareto front and a map with the reasons of refusals,
    the best point in full, what would help, memory, every number that the answer reads with its source, how accurate
    such answers were. Nothing is fetched; an existing file is replaced only with `force`. Raises `InputError`.
    """
    if path is not None:
        changes = (options.get(name) or () for name in ("axes", "fixed", "catalogs"))
        files.apart([path], sources.files_of(source, *changes))
        sheet.check(path, force)
    asked = sources.ask(source, "report", options, needs="sweep")
    call = sweep.history(
        *(options.get(n) for n in ("axes", "fixed", "settings", "limits")), options.get("dtype"), "report"
    )
    made = page(asked.swept(blocks=False, command=call), call)
    return sheet.html(made) if path is None else sheet.write(made, path, force)


@of_page()
def page(results, command):
    """The `parts.Page` of `Results`; `command` is told as what made it."""
    space, counts = results.space, ranking.counted(results)
    one = explain.explain(results)
    one.attrs["point"] = space.fixed | {axis: one[axis].item() for axis in space.axes}
    moved = _elasticities(results)
    read = evidence.numbers(space, one)
    feasible = bool(counts["feasible"])
    sections = [answer.answer(results, one, moved, counts, evidence.unverified(read)), answer.question(results, counts)]
    sections += [answer.best(results, counts)]
    if feasible:
        sections += [parts.Section("The front", _fronts(results), "front")]
        sections += [parts.Section("What refuses the rest", found, "map")] if (found := _maps(results)) else []
    sections += [configuration.section(space, one, _charts(results, one, feasible))]
    if moved is not None:
        chart = answer.without_fixed(tornado_chart.shown(space, moved))
        sections += [parts.Section("What would help", [chart, _parameters(moved)], "helps")]
    sections += [memory] if (memory := configuration.memory(one)) else []
    sections += [evidence.assumptions(space, read), evidence.accuracy(space, one), evidence.made(results, command)]
    lead = f"{_models(space)}, {', '.join(space.phases)}: {counts['points']:,} points, {counts['feasible']:,} feasible"
    attributes = {"description": f"{space.title}: {lead}", "dsjax-command": command}
    return parts.Page(space.title, f"{lead}.", sections, _made(results), attributes)


def conclusion(page):
    """The answer of a page in one line."""
    return page.sections[0].parts[0].lines[0]


def _models(space):
    return ", ".join(map(str, space.labels("model"))) if space.labels("model")[0] else space.study.name


def _made(results):
    return f"dsjax {results.ds.attrs.get('dsjax_version', '')}. Predictions, not measurements: see How accurate."


def _elasticities(results):
    try:
        return tornado.gather(results)
    except InputError:  # an objective that nothing moves, or that has no derivative
        return None


def _fronts(results):
    space, ds = results.space, results.ds
    found = [charted("pareto", results)]
    if space.study.requests:
        found.append(charted("pareto", results, x="ttft_p90", y="tps_per_chip"))
        if any(name in space.axes and space.sizes[name] > 1 for name in ("concurrency", "requests_per_s")):
            found.append(charted("latency", results))
    front = found[0].specs[0]["datasets"]["front"]
    names = [name for name in front if not name.endswith("_")]
    rows = list(zip(*([_cell(ds, name, v) for v in _column(front[name])] for name in names), strict=True))
    table = parts.table(names, rows, caption="Points of the front", folded=True)
    return [answer.without_fixed(chart) for chart in found] + [table]


def _column(packed):
    return [packed["values"][i] for i in packed["at"]] if isinstance(packed, dict) else packed


def _cell(ds, name, text):
    try:
        return text, float(text.partition(" ")[0].replace(",", ""))
    except ValueError:
        return parts.Cell(text)


def _maps(results):
    """Map of the load over the groups; none where nothing else than one axis varies."""
    space = results.space
    long = sorted((axis for axis, n in space.sizes.items() if n > 1), key=lambda axis: -space.sizes[axis])
    if len(long) < 2:
        return []
    load = load_of({**space.axes, **space.fixed, "phase": space.phases[-1]})
    x = load if load in long else long[0]
    y = next((name for name in space.by if name in long and name != x), next(axis for axis in long if axis != x))
    return [answer.without_fixed(charted("heatmap", results, x=x, y=y))]


def _charts(results, one, feasible):
    found = [answer.without_fixed(charted("breakdown", results))] if feasible else []
    if "block" in one.dims:
        try:
            shown = roofline_chart.shown(results.space, roofline.of_point(results.space, one))
            found.append(answer.without_fixed(shown))
        except InputError:  # no operator has both flops and bytes
            pass
    return found


def _parameters(moved):
    rows = []
    for i in moved.order:
        f = moved.found
        name, units = str(f["parameter"].values[i]), str(f["parameter_units"].values[i])
        values = [float(f[x].values[i]) for x in ("elasticity", "elasticity_below", "elasticity_above")]
        cells = [(f"{v:+.4f}", v) for v in values]
        now = float(f["parameter_value"].values[i])
        rows.append([name, (words.quantity(now, units), now), *cells, "yes" if int(f["kink"].values[i]) else "no"])
    head = ["parameter x", "present value", f"d ln {moved.of} / d ln x", "for less of it", "for more of it", "kink"]
    return parts.table(head, rows, caption="Elasticities", folded=True)
