"""What the answer rests on: numbers with their sources, how accurate such answers were, how the page was made."""

import json
import math

from .. import __version__
from ..formats import quantity
from ..pages.parts import Cell, Section, Words, table
from ..space import plausible, provenance
from ..specs.fields import fields_of
from ..validation import kept, measured
from .words import NOTHING


def numbers(space, one):
    """[(name, value, units, kind, source)] of the numbers of the catalog that a point reads."""
    rows = {f"{record}.{name}": (record, name) for record, of in space.rows.items() for name in of}
    found = []
    for label, kind, source in zip(
        *(one[x].values.tolist() for x in ("number", "number_kind", "number_source")), strict=True
    ):
        row, _, field = label.rpartition(".")
        record, name = rows[row]
        of = space.rows[record][name]
        meta = fields_of(space.study.row_class(record, of)).get(field, {})
        axis = f"{record}_{field}"
        value = one[axis].item() if axis in one.coords else of.get(field, math.nan)
        found.append((label, value, meta.get("units", "1"), kind, source))
    return found


def unverified(found):
    """Names of the numbers that nobody has verified."""
    return [label for label, _, _, kind, _ in found if kind == "unverified"]


def assumptions(space, found):
    """Section on the numbers that are read."""
    rows, counts = [], {}
    for label, value, units, kind, source in found:
        known = isinstance(value, int | float) and math.isfinite(value)
        shown = Cell(quantity(float(value), units), float(value)) if known else Cell(str(value))
        mark = {"unverified": "bad", "assumed": "warn"}.get(kind, "")
        rows.append([label, shown, Cell(kind, None, mark), Cell(source, None, "wide")])
        counts[kind] = counts.get(kind, 0) + 1
    said = ", ".join(f"{n} {kind}" for kind, n in sorted(counts.items(), key=lambda x: -x[1]))
    lead = f"{len(rows)} numbers of the catalog change this answer: {said}. Beside them, the question's own."
    doubts = plausible.remarks(space)
    parts = [Words([lead]), *([Words(doubts, "list")] if doubts else [])]
    parts += [table(["number", "value", "kind", "source"], rows)]
    return Section("Assumptions and sources", parts, "sources")


def accuracy(space, one):
    """Section on how far such answers were off."""
    parts = []
    errors = provenance.UNCERTAINTY
    rows = []
    for (chip, engine), (curve, basis) in provenance.of_space(space).items():
        other: dict = {}
        for kernel, of in provenance.by_kernel(space, curve, chip).items():
            if of != basis:
                other.setdefault(of, []).append(kernel)
        but = "; ".join(f"{', '.join(x)}: {of}, ± {100 * errors[of]:.0f} %" for of, x in other.items())
        mark = {"assumed": "warn"}.get(basis, "")
        error = (f"{100 * errors[basis]:.0f}", errors[basis])
        rows.append([chip, str(engine), curve, Cell(basis, None, mark), error, but or "-"])
    if rows:
        note = "fitted: to kernels measured on this chip; sibling: on one of the same design; assumed: not measured."
        head = ["chip", "engine", "curve", "most kernels", "± %", "other kernels"]
        parts.append(table(head, rows, caption="Kernel times of the chips of the space", note=note))
    parts += _validation(space, one)
    parts.append(Words(provenance.remarks(space, ("cost_per_million_tokens",)), "list"))
    return Section("How accurate", parts, "accuracy")


def of_class(space, one):
    """Statistics of the measured systems that a point is nearest to; None of a study."""
    if not space.study.general:
        return None
    point = {name: one[name].item() for name in ("tp", "chips", "concurrency") if name in one.variables}
    return kept.of_class(kept.class_of(one.attrs["point"].get("phase", "decode"), point))


def _validation(space, one):
    own = of_class(space, one)
    if own is None:
        return []
    here, rows = own["group"], []
    for x in kept.statistics()["classes"]:
        name = f"{x['group']} (as here)" if x["group"] == here else x["group"]
        mark = Cell(name, None, "here" if x["group"] == here else "", measured.CLASSES.get(x["group"], ""))
        numbers = [(f"{100 * x[k]:.1f}", x[k]) if x[k] is not None else ("-", NOTHING) for k in ("median", "p90")]
        bias = (f"{x['bias']:.2f}", x["bias"]) if x["bias"] is not None else ("-", NOTHING)
        rows.append([mark, (f"{x['counted']} of {x['rows']}", x["counted"]), *numbers, bias])
    note = "|predicted / measured - 1| of published systems, no number set for one alone. "
    note += f"{here}: {measured.CLASSES[here]}."
    head = ["class of systems", "counted", "median error %", "90th percentile %", "predicted / measured time"]
    return [table(head, rows, caption="Measured end-to-end systems against dsjax's predictions", note=note)]


def made(results, command):
    """Section on how the page was made."""
    ds = results.ds
    lines = [f"dsjax {__version__}", f"$ {command}"]
    lines += [f"results: {ds.attrs['history']}"] if ds.attrs.get("history") else []
    text = results.space.text
    grid = text.splitlines() if not text.startswith("{") else json.dumps(json.loads(text), indent=1).splitlines()
    return Section("How it was made", [Words(lines, "code"), Words(["The grid:"]), Words(grid, "code")], "made")
