"""Rows of curves.toml: the kernel forms of GEMMs and experts fitted to the samples of `kernel_tables.py`.

    python benchmarks/kernel_fits.py [--engine sglang] [--family hopper] > rows.toml

The chips of a family are fitted together, each against its own peaks, so that what does not change with the memory
bandwidth shows as time of a core. Sources say what a set is fitted to and |error| over shapes left out. The row of a
family pools the engines; its 8-bit experts are those after a dispatch (DeepGEMM's), for wide expert parallelism. The
row of an engine has the kernels that take the place of a dispatch, and `<family>-sglang-dispatched` those after one.
"""

import argparse
import itertools
import json
import warnings
from pathlib import Path

import numpy as np

from dsjax.calibration import calibrate, fitting, measurements, precisions
from dsjax.calibration.kinds import KINDS
from dsjax.catalog import reader
from dsjax.errors import InputError
from dsjax.specs import records

FOLDER = Path(__file__).parent / "kernels"
FAMILIES = {
    "hopper": ["H100", "H200"],
    "ampere": ["A100"],
    "ada": ["L40S"],
    "blackwell": ["B200", "GB200"],
    "blackwell-ultra": ["B300", "GB300"],
}
SIBLINGS = {"hopper": ["H800"], "ada": ["L20"]}
# Families whose 4-bit weights are those of int4 checkpoints in Marlin, of many shapes; else of gpt-oss, of one. vLLM's
# Triton kernel of gpt-oss on Hopper takes equally long on H100 and H200: no bandwidth tells what it waits for.
MARLIN = ("hopper", "ampere", "ada")
SOURCE = "benchmarks/kernel_fits.py; |error| over shapes left out, median / 90th percentile"
ENGINES = ("sglang", "vllm", "tensorrt-llm")
# table -> (kind, column of the precision, precisions in the order of their sets); the first fit of a set counts
TABLES = {
    "gemm": ("gemm", "gemm_dtype", ("bfloat16", "fp8_block", "fp8", "nvfp4", "int8_wo", "int4_wo")),
    "moe_dispatched": ("experts", "moe_dtype", ("fp8_block",)),
    "moe": ("fused-experts", "moe_dtype", ("bfloat16", "fp8_block", "fp8", "nvfp4", "w4a16_mxfp4", "int4_wo")),
}


def load(table, chips, engines, dtype):
    """(shapes, seconds, peaks of every point, versions) of a table's rows; None where there are none."""
    kind, column, _ = TABLES[table]
    parts = []
    rows = reader.load(records.RECORDS)
    for chip, engine in itertools.product(chips, engines):
        path = FOLDER / f"{table}_{chip.lower()}.csv"
        if not path.exists():
            continue
        try:
            found = measurements.read(path, kind, [f"engine={engine}", f"{column}={dtype}"])
        except InputError:
            continue
        precision = precisions.spelt(dtype)
        peaks = calibrate._peaks(kind, rows["hardware"][chip], rows["nic"]["CX7"], chip, precision, None, found.labels)
        compute, moved = (np.asarray(x) for x in KINDS[kind].work(found.shapes, peaks))
        used = (found.seconds >= compute) & (found.seconds >= 0.97 * moved)  # else out of a cache, or wrong
        peaks = {name: np.full(used.sum(), value) for name, value in peaks.items()}
        shapes = {name: x[used] for name, x in found.shapes.items()}
        parts.append((shapes, found.seconds[used], peaks, f"{engine} {' and '.join(found.labels['version'])}"))
    if not parts:
        return None
    shapes, peaks = ({k: np.concatenate([part[i][k] for part in parts]) for k in parts[0][i]} for i in (0, 2))
    return shapes, np.concatenate([part[1] for part in parts]), peaks, ", ".join(sorted({part[3] for part in parts}))


def fitted(table, chips, engines, dtype):
    """(knots {name: value}, source) of one set."""
    found = load(table, chips, engines, dtype)
    if found is None:
        return None
    shapes, seconds, peaks, versions = found
    kind, _, _ = TABLES[table]
    of = KINDS[kind]
    validated, _ = fitting.cross_validate(of, shapes, seconds, peaks)
    median, p90 = (100.0 * x for x in fitting.summary(validated, seconds))
    bias = float(np.exp(np.mean(np.log(validated / seconds))))
    result = fitting.fit(of, shapes, seconds, peaks)
    precision = precisions.spelt(dtype)
    knots = {
        calibrate._knot(parameter.field, precision): result.parameters[name]
        for name, parameter in of.parameters.items()
        if parameter.field
    } | {calibrate._knot(field, precision): value for field, value in of.fixed.items()}
    idle = ""
    if np.isfinite(result.errors.get("idle", np.inf)):
        idle = f", rows of other cards walked over {result.parameters['idle']:.2g} times"
    source = (
        f"{' and '.join(chips)} {dtype}, {versions}, {len(seconds)} points of kernels/{table}_*.csv: "
        f"{median:.1f} / {p90:.1f} %, bias {bias:.2f}{idle}"
    )
    return knots, source


def number(name, value):
    """A knot as TOML."""
    if name.endswith(("depth_s", "slot_s")):
        return f'"{1e9 * value:.3g} ns"'
    return f'"{1e6 * value:.3g} us"' if name.endswith("_s") else f"{value:.3g}"


def _pattern(knots):
    """What names the knots of a set in a table of sources: gemm_* would name those of gemm_w4_ too."""
    prefix = next(iter(knots)).removesuffix("_compute")
    return " ".join(knots) if prefix in ("gemm", "expert") else f"{prefix}_*"


def row(name, base, family, engines, tables):
    """A row of curves.toml, as text; empty where there is nothing to fit."""
    knots, sources = {}, {}
    for table in tables:
        dtypes = TABLES[table][2]
        if family in MARLIN:
            dtypes = sorted(dtypes, key="int4_wo".__ne__)
        for dtype in dtypes:
            found = fitted(table, FAMILIES[family], engines, dtype)
            if found and not set(found[0]) & set(knots):
                knots |= found[0]
                sources[_pattern(found[0])] = found[1]
    if not knots:
        return ""
    lines = [f"[{name}]", f'base = "{base}"', f"source = {json.dumps(SOURCE)}", 'kind = "fitted"']
    lines.append(f"fitted = {json.dumps(FAMILIES[family])}")
    if family in SIBLINGS:
        lines.append(f"siblings = {json.dumps(SIBLINGS[family])}")
    lines += [f"{name} = {number(name, value)}" for name, value in knots.items()]
    lines += [f"[{name}.sources]", 'base = { kind = "assumed", text = "as the row of the family" }']
    lines += [f'"{pattern}" = {json.dumps(text)}' for pattern, text in sources.items()]
    return "\n".join(lines) + "\n"


def main():
    """Print the rows."""
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--engine", action="append", choices=("generic", *ENGINES))
    parser.add_argument("--family", action="append", choices=FAMILIES)
    args = parser.parse_args()
    for family in args.family or FAMILIES:
        for engine in args.engine or ("generic", *ENGINES):
            if engine == "generic":
                print(row(family, "kernel-assumed", family, ENGINES, TABLES), flush=True)
                continue
            print(row(f"{family}-{engine}", family, family, [engine], ("gemm", "moe")), flush=True)
            if engine == "sglang":
                name = f"{family}-{engine}"
                print(row(f"{name}-dispatched", name, family, [engine], ("moe_dispatched",)), flush=True)


if __name__ == "__main__":
    main()
