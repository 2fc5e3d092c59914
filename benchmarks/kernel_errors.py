"""Errors of the kernel curves in dsjax/data/curves.toml against the samples of `kernel_tables.py`.

    python benchmarks/kernel_errors.py [--table gemm] [--chip H200] [--row hopper]

One line for each table, chip, engine and precision: n, median and 90th percentile of |predicted / measured - 1| and the
geometric mean of predicted / measured. Predicted with the row of the engine (`<family>-<engine>`), or `--row`. Rows
faster than the peaks are left out. Experts without a dispatch are told apart: one card (ep 1), and more of them, where
only rows count in which what a card does with the rows of other cards' experts (not in the curve) is less than a tenth.
"""

import argparse
import csv
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dsjax.calibration import calibrate, measurements, precisions
from dsjax.calibration.kinds import KINDS
from dsjax.catalog import reader
from dsjax.specs import records

FOLDER = Path(__file__).parent / "kernels"
ENGINES = ("sglang", "vllm", "tensorrt-llm")


class Table(NamedTuple):
    """How the samples of a table are predicted. `parts`: {name: function (shapes, seconds, peaks) -> rows}."""

    kind: str
    dtype: str  # column of the precision
    parts: dict[str, Callable]
    row: str = "{family}-{engine}"


def _all(shapes, seconds, peaks):
    del shapes, peaks
    return np.ones(len(seconds), bool)


def _one(shapes, seconds, peaks):
    del seconds, peaks
    return shapes["ep_size"] == 1


def _several(shapes, seconds, peaks):
    """ep > 1, where other cards' rows, walked over three times, would take less than a tenth of the time."""
    rows = shapes["num_tokens"] * shapes["topk"] * (1.0 - 1.0 / shapes["ep_size"])
    width = shapes["hidden_size"] + 3.0 * shapes["inter_size"] / shapes["moe_tp_size"]
    walked = 3.0 * rows * width * peaks["result_bytes"] / peaks["hbm_bytes_per_s"]
    return (shapes["ep_size"] > 1) & (walked < 0.1 * seconds)


TABLES = {
    "gemm": Table("gemm", "gemm_dtype", {"": _all}),
    "moe": Table("fused-experts", "moe_dtype", {" ep 1": _one, " ep > 1": _several}),
    "moe_dispatched": Table("experts", "moe_dtype", {"": _all}, "{family}-{engine}-dispatched"),
}


def errors(table, chip, row=None):
    """[(engine, precision, part, n, median, p90, bias)] of a chip."""
    of, rows = TABLES[table], reader.load(records.RECORDS)
    path, kind = FOLDER / f"{table}_{chip.lower()}.csv", KINDS[TABLES[table].kind]
    if not path.exists():
        return
    family = rows["hardware"][chip]["curve"]
    for engine in ENGINES:
        name = row or of.row.format(family=family, engine=engine)
        curve = rows["curve"].get(name) or rows["curve"][family]
        with path.open(encoding="utf-8", newline="") as file:
            dtypes = sorted({line[of.dtype] for line in csv.DictReader(file) if line["engine"] == engine})
        for dtype in dtypes:
            found = measurements.read(path, of.kind, [f"engine={engine}", f"{of.dtype}={dtype}"])
            precision = precisions.spelt(dtype)
            chips = rows["hardware"][chip], rows["nic"]["CX7"]
            peaks = calibrate._peaks(of.kind, *chips, chip, precision, None, found.labels)
            knots = {
                parameter: curve[calibrate._knot(p.field, precision)] if p.field else 0.0
                for parameter, p in kind.parameters.items()
            }
            predicted = np.asarray(kind.form(knots, found.shapes, peaks))
            compute, moved = (np.asarray(x) for x in kind.work(found.shapes, peaks))
            used = (found.seconds >= compute) & (found.seconds >= 0.97 * moved)
            for part, chosen in of.parts.items():
                ratio = (predicted / found.seconds)[used & chosen(found.shapes, found.seconds, peaks)]
                if len(ratio):
                    off = np.abs(ratio - 1.0)
                    bias = np.exp(np.log(ratio).mean())
                    yield engine, dtype + part, len(ratio), np.median(off), np.quantile(off, 0.9), bias


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--table", action="append", choices=TABLES)
    parser.add_argument("--chip", action="append")
    parser.add_argument("--row", help="one row of curves.toml for all, in place of the engine's")
    args = parser.parse_args()
    chips = args.chip or ["A100", "L40S", "H100", "H200", "B200", "GB200", "B300", "GB300"]
    print(f"{'table':<15}{'chip':<6}{'engine':<14}{'precision':<24}{'n':>5}{'median':>9}{'p90':>9}{'bias':>7}")
    for table in args.table or TABLES:
        for chip in chips:
            for engine, what, n, median, p90, bias in errors(table, chip, args.row):
                line = f"{table:<15}{chip:<6}{engine:<14}{what:<24}{n:5d}"
                print(f"{line}{100 * median:8.1f}%{100 * p90:8.1f}%{bias:7.2f}")


if __name__ == "__main__":
    main()
