"""Judge dsjax by the measured systems, and fill the tables of docs/accuracy.md and README.md with what comes out.

    python benchmarks/accuracy_page.py

The statistics are kept in dsjax/data/accuracy.json, which dsjax tells beside an answer too; between
`<!-- table: NAME -->` and `<!-- end -->` of a page stands what this makes of them, no figure is written by hand.
`--check`: nothing is run; the exit code is 1 where a page differs from the statistics that are kept.
"""

import argparse
import json
import math
import sys
from pathlib import Path

from speed_page import filled

ROOT = Path(__file__).parents[1]
PAGES, STATISTICS = (ROOT / "docs" / "accuracy.md", ROOT / "README.md"), ROOT / "dsjax" / "data" / "accuracy.json"
DIGITS = 6  # of what is kept


def measured():
    """{name: statistics} of dsjax's own systems."""
    import serving_rows

    import dsjax
    from dsjax.validation import agreement
    from dsjax.validation.engine_numbers import engine_numbers
    from dsjax.validation.measured import CLASSES

    ds = dsjax.validate()
    found = {name: x for name, x in agreement.statistics(ds).items() if name in KEPT}
    found["factors"] = {
        "one": ds.attrs["software_factor"],
        "roofline": ds.attrs["roofline_factor"],
    }
    refused = {}
    for masks in filter(None, ds["refused"].values.tolist()):
        refused[masks] = refused.get(masks, 0) + 1
    numbers = engine_numbers()
    columns = {name: numbers[name].values.tolist() for name in [*numbers.coords, *numbers.data_vars] if name != "fit"}
    found["numbers"] = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    choices = int(ds["assumed"].sum())
    found["served"] = serving_rows.statistics(serving_rows.runs())
    return rounded(found | {"rules": CLASSES, "refused": refused, "choices": choices, "unhidden": unhidden()})


def unhidden():
    """What two micro batches do not hide, fitted by least squares of ln(predicted / measured time), in steps of `STEP`.

    Of the complete systems that have two: {"systems", "best", "studies": {study left out: best of the others}, "tried":
    [(value, geometric mean of predicted over measured time, root mean square of ln)]}.
    """
    import numpy as np

    from dsjax.validation import predict, systems

    rows = [row for row in systems.read().systems if row.complete and row.used["pipeline"] in ("dual-mbatch", "tbo")]
    measured = np.array([1.0 / x if row.metric.rate else x for row in rows for x in [row.used["value"]]])
    values = np.round(np.arange(0.0, 0.7, STEP), 2)
    found = [predict.predictions(rows, {"unhidden": float(value)}) for value in values]
    off = np.log([[x.fixed_s + x.scaled_s for x in each] for each in found] / measured)
    studies = np.array([row.used["study"] for row in rows])

    def best(which):
        return float(values[np.argmin((off[:, which] ** 2).sum(axis=1))])

    tried = [(float(v), float(np.exp(x.mean())), float(np.sqrt((x**2).mean()))) for v, x in zip(values, off)]
    left_out = {study: best(studies != study) for study in dict.fromkeys(studies.tolist())}
    return {"systems": len(rows), "best": best(studies != ""), "studies": left_out, "tried": tried[::2]}


STEP = 0.05
KEPT = ("classes", "engines", "studies", "excluded")


def rounded(x):
    """Numbers with `DIGITS` digits, null where there is none."""
    if isinstance(x, dict):
        return {key: rounded(value) for key, value in x.items()}
    if isinstance(x, list):
        return [rounded(value) for value in x]
    if isinstance(x, float):
        return None if math.isnan(x) else float(f"{x:.{DIGITS}g}")
    return x


def table(heads, lines):
    """Lines of a table."""
    return [f"| {' | '.join(map(str, line))} |" for line in (heads, ["---"] * len(heads), *lines)]


def percent(x):
    """A share as text."""
    return "" if x is None else f"{100.0 * x:.1f}"


def times(x):
    """A ratio of times as text."""
    return "" if x is None else f"{x:.2f}"


def groups(name):
    """Statistics by group, one line each."""
    heads = [name, "counted", "median %", "p90 %", "time ratio", "one factor %", "by engine %", "roofline %"]
    heads += ["pairs", "ratio %", "order %", "in +- %", "in 2 +- %", "in printed +- %", "in 2 printed +- %"]
    first, last = ("median", "p90"), ("one_median", "engine_median", "roofline_median")
    pairs = ("ratio", "order", "within_1", "within_2", "printed_1", "printed_2")

    def lines(run):
        found = []
        for x in run[{"class": "classes", "study": "studies"}.get(name, f"{name}s")]:
            cells = [x["group"], f"{x['counted']} of {x['rows']}", *(percent(x[key]) for key in first)]
            cells += [times(x["bias"]), *(percent(x[key]) for key in last), x["pairs"]]
            found.append([*cells, *(percent(x[key]) for key in pairs)])
        return table(heads, found)

    return lines


def summary(run):
    """A few columns of the statistics by class."""
    heads = ["class", "systems", "median error %", "90th percentile %", "predicted / measured", "pairs in order %"]
    lines = []
    for x in run["classes"]:
        errors = [percent(x["median"]), percent(x["p90"]), times(x["bias"]), percent(x["order"])]
        lines.append([x["group"], x["counted"], *errors])
    return table(heads, lines)


def served(run):
    """Servers: time of a token, output, first token."""
    heads = ["class, engine"]
    for name in ("TPOT", "output/s", "TTFT"):
        heads += [f"{name}: runs", "median %", "p90 %", "time ratio"]
    lines = []
    for x in run["served"]:
        each = [x.get(name) for name in ("tpot", "output", "ttft")]
        cells = [
            [y["runs"], percent(y["median"]), percent(y["p90"]), times(y["ratio"])] if y else [""] * 4 for y in each
        ]
        lines.append([x["group"], *(cell for some in cells for cell in some)])
    return table(heads, lines)


def rules(run):
    """The class of a system."""
    return table(["class", "systems"], run["rules"].items())


def fitted(run):
    """What was fitted to what."""
    heads = ["numbers", "of", "fitted", "systems", "factor", "step ms", "draft step ms", "request ms"]
    lines = []
    for x in run["numbers"]:
        names = x["fitted_names"].split()
        host = [f"{1e3 * x[key]:.2f}" if key in names else "" for key in ("step_s", "draft_step_s", "request_s")]
        numbers = [len(names), x["systems"], f"{x['software_factor']:.3f}", *host]
        asked = x["names"].replace(" ", ", ")
        lines.append([asked, x["engine"], *numbers, percent(x["error"]), percent(x["left_out_error"])])
    return table([*heads, "median error %", "of other studies' numbers %"], lines)


def factors(run):
    """The one factor, and that of the roofline."""
    x = run["factors"]
    line = f"One software factor fitted to all of these: {x['one']:.3f}; of the roofline: {x['roofline']:.3f}."
    return [line + f" Choices from the table of defaults: {run['choices']}."]


def overlap(run):
    """What is not hidden, and how far the systems of two micro batches are off with it."""
    x = run["unhidden"]
    others = ", ".join(f"{value:.2f} without {study}" for study, value in x["studies"].items())
    lines = table(
        ["`unhidden`", "time ratio", "root mean square of ln, %"],
        [[f"{value:.1f}", times(ratio), percent(error)] for value, ratio, error in x["tried"]],
    )
    return [f"Least squares over {x['systems']} systems: {x['best']:.2f}; {others}.", "", *lines]


def uncounted(run):
    """Systems that are not counted, with the reason."""
    lines = [[x["class"] or "no class", x["rows"], x["reason"]] for x in run["excluded"]]
    return table(["class", "systems", "because"], lines)


def refused(run):
    """Systems that were measured and that the model refuses; they are counted like the others."""
    return table(["constraint", "systems"], run["refused"].items())


TABLES = {
    "summary": summary,
    "served": served,
    "rules": rules,
    "classes": groups("class"),
    "engines": groups("engine"),
    "studies": groups("study"),
    "factors": factors,
    "fitted": fitted,
    "overlap": overlap,
    "uncounted": uncounted,
    "refused": refused,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="run and change nothing")
    check = parser.parse_args().check
    if not check:
        STATISTICS.write_text(json.dumps(measured(), indent=1) + "\n", encoding="utf-8")
    run = json.loads(STATISTICS.read_text(encoding="utf-8"))
    texts = {page: page.read_text(encoding="utf-8") for page in PAGES}
    wanted = {page: filled(text, run, TABLES) for page, text in texts.items()}
    if check:
        sys.exit(int(wanted != texts))
    for page, text in wanted.items():
        page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
