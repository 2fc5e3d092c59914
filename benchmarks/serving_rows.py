"""Measured servers through `phase = "serve"`: time of a token, output, time to the first token; nothing is fitted.

    python benchmarks/serving_rows.py              by class and engine, and by engine
    python benchmarks/serving_rows.py --rows       every system beside
    python benchmarks/serving_rows.py --all        also systems whose source leaves something open

The systems are those of dsjax/data that give a time per token or an output rate at a number of users (InferenceX,
NVIDIA's own collection, TensorRT-LLM's best practice), as their sources describe them. |error| is |predicted / measured
- 1|; time ratio is the geometric mean of predicted over measured time (of output: of measured over predicted). One row
of `--rows` is one run. Where a first token is far off, `dsjax validate --rows` says why where that is known.
"""

import argparse
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from dsjax.validation import cases, served, systems

GOALS = {"tpot": (0.08, 0.20), "output": (0.08, 0.20), "ttft": (0.20, 0.50)}  # median and p90 of |error|
SHOWN = {"tpot": "TPOT", "output": "output tokens/s", "ttft": "TTFT"}


class Run(NamedTuple):
    """One measured run of a server: predicted over measured time of each quantity that its source gives."""

    name: str
    kind: str  # class of `dsjax validate`
    engine: str
    ratios: dict  # {quantity of `GOALS`: predicted over measured time}


def runs(everything=False):
    """`Run`s of all measured servers; `everything`: also those whose source leaves something open."""
    rows = [row for row in systems.read().systems if row.complete or everything]
    rows = [row for row in rows if row.used["metric"] in ("tpot", "mixed")]
    points = [cases.of(row, "serve", {}, {}, (), set())._replace(kinds={}) for row in rows]
    return [_run(row, values) for row, values in zip(rows, served.points(points), strict=True)]


def _run(row, values):
    predicted = {name: float(values[of][0]) for name, of in PREDICTED.items()}
    measured = {name: row.used.get(key) for name, key in (("output", "tps_per_chip"), ("ttft", "ttft"))}
    measured["output" if row.metric.rate else "tpot"] = row.used["value"]
    ratios = {name: predicted[name] / measured[name] for name in GOALS if measured.get(name)}
    if "output" in ratios:
        ratios["output"] = 1.0 / ratios["output"]
    return Run(row.used["id"], row.kind, row.used["engine"], ratios)


PREDICTED = {"tpot": "tpot_mean", "output": "tps_per_chip", "ttft": "ttft_mean"}


def statistics(found: Iterable[Run]):
    """[{group, quantity: {runs, median, p90, ratio}}] by class and engine, by engine, and of all.

    `median`, `p90` of |predicted / measured - 1|; `ratio`: geometric mean of predicted over measured time.
    """
    found = list(found)
    groups = [*sorted({(x.kind, x.engine) for x in found}), *sorted({(x.engine,) for x in found}), ()]
    lines = []
    for group in groups:
        some = [x for x in found if set(group) <= {x.kind, x.engine}]
        each = {name: [x.ratios[name] for x in some if name in x.ratios] for name in GOALS}
        lines.append({"group": ", ".join(group) or "all"} | {name: _of(name, x) for name, x in each.items() if x})
    return lines


def _of(name, ratios):
    times = np.array(ratios)
    off = np.abs((1.0 / times if name == "output" else times) - 1.0)
    found = {"median": np.median(off), "p90": np.percentile(off, 90.0), "ratio": np.exp(np.log(times).mean())}
    return {"runs": len(ratios)} | {key: float(x) for key, x in found.items()}


def table(statistics):
    """(heads, lines) of a table of `statistics`."""
    heads = ["", *(f"{SHOWN[name]}: runs, median / p90 %, time ratio" for name in GOALS)]
    lines = [[x["group"], *(_cell(x.get(name)) for name in GOALS)] for x in statistics]
    goals = [f"{100 * median:.0f} / {100 * p90:.0f} %" for median, p90 in GOALS.values()]
    return heads, [*lines, ["goal", *goals]]


def _cell(x):
    if x is None:
        return "-"
    return f"{x['runs']}, {100 * x['median']:.1f} / {100 * x['p90']:.1f} %, {x['ratio']:.2f}"


def show(lines):
    """Print lines in columns."""
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", action="store_true", help="every system beside")
    parser.add_argument("--all", action="store_true", help="also systems whose source leaves something open")
    options = parser.parse_args()
    found = runs(options.all)
    if options.rows:
        lines = [["", *(f"{SHOWN[name]} %" for name in GOALS)]]
        for x in found:
            off = {name: (1.0 / r if name == "output" else r) - 1.0 for name, r in x.ratios.items()}
            lines.append([x.name, *(f"{100 * off[name]:+.1f}" if name in off else "-" for name in GOALS)])
        show(lines)
        print()
    heads, lines = table(statistics(found))
    show([heads, *lines])


if __name__ == "__main__":
    main()
