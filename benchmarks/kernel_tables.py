"""Samples of published kernel tables as CSV files that `dsjax calibrate` reads.

    python benchmarks/kernel_tables.py WHEEL [WHEEL ...] [-o benchmarks/kernels]

WHEEL: wheels of aiconfigurator-core or aisimulate (NVIDIA, Apache-2.0), which hold one Parquet file per chip, engine,
version and operator; read in memory, with pyarrow. Of every chip, engine and precision the newest version counts, of
one version the last wheel. `TABLES` says which rows of an operator are meant by the model of dsjax and how many are
drawn from each stratum, with a fixed seed: the same wheels give the same files. One file per operator and chip, and a
README.md that says what is in them.
"""

import argparse
import csv
import io
import re
import sys
import zipfile
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

CHIPS = {
    "a100_sxm": "A100", "h100_sxm": "H100", "h200_sxm": "H200", "h20_sxm": "H20", "b200_sxm": "B200", "gb200": "GB200",
    "b300_sxm": "B300", "gb300": "GB300", "l40s": "L40S",
}  # fmt: skip
ENGINES = {"sglang": "sglang", "vllm": "vllm", "trtllm": "tensorrt-llm"}
MEMBER = re.compile(r"(\w+)/systems/data/(\w+)/(\w+)/(\w+)/([^/]+)/(\w+)_perf\.parquet")
LEAST = 400  # rows of a version that count as a table; less is an addition to an older one
HOST = 0.05  # ms; where the shortest time of a version is longer it is that of the host (vLLM 0.24, 0.27: fp8 GEMMs)
# Versions of SGLang and vLLM in which experts' times with ep > 1 follow another rule.
OLD = ("0.5.10", "0.5.6.post2", "0.19.0", "0.22.0")
SLOW = ("0.19.0",)  # Marlin in vLLM, four times as slow as later
FEW = 3  # models that a version of the experts' table should have, where one has so many


class Table(NamedTuple):
    """An operator's tables. `rows`: function of one file's columns -> them, those rows and labels that count."""

    doc: str
    files: tuple[str, ...]  # names in the wheels, without `_perf.parquet`
    dtype: str  # the column of the precision
    columns: tuple[str, ...]  # of the sample, beside engine, version and the precision
    model: tuple[str, ...]  # columns that are one model's, of which a version should have `FEW`; () where none is
    rows: Callable
    stratum: Callable  # columns -> the stratum of every row
    each: int  # rows drawn from a stratum


def gemm(columns):
    """GEMMs of at least 128 columns and 128 elements of K."""
    keep = (columns["n"] >= 128) & (columns["k"] >= 128) & _known(columns["gemm_dtype"], GEMM_DTYPES)
    found = {name: x[keep] for name, x in columns.items()}
    # 8- and 4-bit times hold the pass that makes the operands of bf16 rows: they grow with M K beyond any GEMM's
    # traffic, bf16 times do not. With weights alone narrow there is none to make.
    return found | {"quantised": _known(found["gemm_dtype"], ("fp8", "fp8_block", "nvfp4")).astype(int)}


def experts(columns):
    """Routed experts of DeepSeek-class models, rows spread evenly ("balanced", "uniform"), split over 8 chips at most.

    Left out: experts with one product in place of gate and up (kernels "nongated"; the models of top 22, and of 1,024
    and 2,688 elements a token), top 1 and 2 and below 32 experts, DeepSeek-V3's own shape (7,168 and 256 experts),
    whose grouped routing hits half of the experts only, less than one row per card; kernels that an engine uses for few
    of its models, and TensorRT-LLM's low-latency one of nvfp4; SGLang's Triton kernel of mxfp4, whose times are those
    of weights of 2 bytes: it widens them when they are loaded; versions that count tokens otherwise, but for one card.
    """
    tokens, hidden, top, total = (columns[x] for x in ("num_tokens", "hidden_size", "topk", "num_experts"))
    even = _known(columns["distribution"], ("balanced", "uniform")) & (columns["moe_tp_size"] <= 8)
    gated = (top != 22) & (hidden != 1024) & (hidden != 2688)
    gated &= np.array(["nongated" not in x and "min_latency" not in x for x in columns["kernel_source"]], bool)
    usual = (top >= 4) & (total >= 32) & ~((hidden == 2816) & (total == 128))
    own = (hidden == 7168) & (total == 256) & (columns["op_name"] != "moe_generation")
    keep = even & gated & usual & ~own & (tokens * top >= columns["moe_ep_size"])
    keep &= _known(columns["moe_dtype"], MOE_DTYPES)
    widened = np.array([x.startswith("sglang_fused_moe_triton") for x in columns["kernel_source"]], bool)
    keep &= ~(widened & (columns["moe_dtype"] == "w4a16_mxfp4"))
    if columns["version"][0] in OLD and columns["op_name"][0] == "moe":
        keep &= columns["moe_ep_size"] == 1
    return _usual_kernel({name: x[keep] for name, x in columns.items()})


def _usual_kernel(columns):
    """Of each precision, with and without expert parallelism, rows of the kernel that most rows use."""
    alone, kernels = columns["moe_ep_size"] == 1, columns["kernel_source"]
    keep = np.zeros(len(alone), bool)
    for dtype in set(columns["moe_dtype"]):
        for group in (alone, ~alone):
            rows = (columns["moe_dtype"] == dtype) & group
            names, counts = np.unique(kernels[rows], return_counts=True)
            if len(names):
                keep |= rows & (kernels == names[counts.argmax()])
    return {name: x[keep] for name, x in columns.items()}


GEMM_DTYPES = ("bfloat16", "fp8", "fp8_block", "nvfp4", "int8_wo", "int4_wo")
MOE_DTYPES = ("bfloat16", "fp8", "fp8_block", "nvfp4", "int4_wo", "w4a16_mxfp4")
SHAPE = ("moe_dtype", "num_tokens", "hidden_size", "inter_size", "topk", "num_experts", "moe_tp_size", "moe_ep_size")
TABLES = {
    "gemm": Table(
        "GEMM (m, k) x (k, n)",
        ("gemm",),
        "gemm_dtype",
        ("quantised", "m", "n", "k"),
        (),
        gemm,
        lambda columns: np.round(np.log2(columns["m"])),
        8,
    ),
    "moe": Table(
        "routed experts of one card, tokens of all cards",
        ("moe",),
        "moe_dtype",
        SHAPE[1:],
        ("hidden_size", "inter_size", "num_experts"),
        experts,
        lambda columns: columns["num_tokens"],
        4,
    ),
    "moe_dispatched": Table(
        "routed experts of one card after a dispatch, tokens of all cards",
        ("wideep_generation_moe",),
        "moe_dtype",
        SHAPE[1:],
        (),
        experts,
        lambda columns: columns["num_tokens"],
        99,
    ),
}


def _known(column, values):
    return np.isin(column, values)


def read(wheels, table):
    """{(chip, engine, version): columns} of the files of a table."""
    try:
        import pyarrow.parquet as parquet
    except ImportError:
        sys.exit("kernel_tables: pyarrow is not installed; expected `pip install pyarrow`")
    found = {}
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            for member in sorted(archive.namelist()):
                match = MEMBER.fullmatch(member)
                if not match or match[6] not in table.files or match[2] not in CHIPS or match[4] not in ENGINES:
                    continue
                if match[5].startswith("dev"):
                    continue
                columns = parquet.read_table(io.BytesIO(archive.read(member))).to_pydict()
                columns = {name: np.array(x) for name, x in columns.items()}
                if len(columns["latency"]):
                    found[match[2], match[4], match[5]] = table.rows(columns)
    return found


def newest(table, found):
    """[(chip, engine, version, columns)] of each precision's newest version."""
    versions = defaultdict(list)
    for (chip, engine, version), columns in found.items():
        for dtype in np.unique(columns[table.dtype]):
            rows = columns[table.dtype] == dtype
            own = {name: x[rows] for name, x in columns.items()}
            if own["latency"].min() > HOST or version in SLOW:
                continue
            models = len(set(zip(*(own[x] for x in table.model), strict=True))) if table.model else 1
            versions[chip, engine, str(dtype)].append((rows.sum() >= LEAST, models, order(version), version, own))
    chosen = []
    for (chip, engine, dtype), several in sorted(versions.items()):
        if dtype == "fp8" and (chip, engine, "fp8_block") in versions:
            continue  # blocks of 128, the scales of DeepSeek's checkpoints, stand for 8 bit
        most = max(models for _, models, *_ in several)
        usual = [x for x in several if x[1] >= min(FEW, most)]
        best = max(usual, key=lambda x: (x[0], x[2]))
        chosen.append((chip, engine, dtype, best[3], best[4]))
    return chosen


def order(version):
    """Versions in order: 1.3.0rc20 after 1.3.0rc9, 0.5.6.post2 after 0.5.6."""
    return [int(x) if x.isdigit() else {"rc": -1, "post": 1}.get(x, 0) for x in re.findall(r"\d+|[a-z]+", version)]


def sample(table, columns):
    """Indices of the rows drawn: `each` of every stratum, of the models in turn where the table has models."""
    random = np.random.default_rng(0)
    strata, drawn = table.stratum(columns), []
    for stratum in np.unique(strata):
        rows = random.permutation(np.flatnonzero(strata == stratum))
        if table.model:  # the first of every model, then the second, and so on
            seen = defaultdict(int)
            turns = []
            for i in rows:
                model = tuple(columns[x][i] for x in table.model)
                turns.append(seen[model])
                seen[model] += 1
            rows = rows[np.argsort(turns, kind="stable")]
        drawn.extend(sorted(rows[: table.each].tolist()))
    return drawn


def write(table, name, chosen, folder):
    """CSV files of a table, one per chip; [line of the README] about each engine and precision."""
    lines, by_chip = [], defaultdict(list)
    for chip, engine, dtype, version, columns in chosen:
        rows = sample(table, columns)
        for i in rows:
            values = [columns[x][i] for x in table.columns]
            by_chip[chip].append([ENGINES[engine], version, dtype, *values, f"{1e3 * columns['latency'][i]:.4g}"])
        kernels = ", ".join(sorted(set(columns["kernel_source"][rows])))
        lines.append(f"| {name} | {CHIPS[chip]} | {ENGINES[engine]} {version} | {dtype} | {len(rows)} | {kernels} |")
    for chip, rows in by_chip.items():
        with (folder / f"{name}_{CHIPS[chip].lower()}.csv").open("w", encoding="utf-8", newline="") as file:
            out = csv.writer(file, lineterminator="\n")
            out.writerow(["engine", "version", table.dtype, *table.columns, "latency_us"])
            out.writerows(rows)
    return lines


README = """# Samples of kernel tables

Measured times of kernels, drawn from the tables in the wheels {wheels} (NVIDIA, Apache-2.0) by
`benchmarks/kernel_tables.py`, which says what is left out and why. Files `<table>_<chip>.csv`; columns as in those
tables, `latency_us` in microseconds, `quantised` 1 where the time holds the pass that makes 8- or 4-bit operands of
16-bit rows. `num_tokens` counts the tokens of all `moe_ep_size` cards. `dsjax calibrate` reads them:

    dsjax calibrate benchmarks/kernels/moe_h200.csv --kind fused-experts --hardware H200 --where engine=vllm \\
        --where moe_dtype=fp8_block

Samples of kernels of attention (`mla_*`, `gqa_*`, `sparse`, columns in `benchmarks/attention_tables.py`) and of layers
beside it (`benchmarks/layer_tables.py`, which says what is left out): `recurrent`, `scan`, `convolution` (linear
attention, Mamba-2's convolution), `mixing` (hyper-connections), `compressed` (DeepSeek-V4's core), `blocks` (modules of
attention of MiniMax-M3). `*_published.csv`: figures from elsewhere, each with its source.

{tables}

| table | chip | engine | precision | rows | kernels |
|---|---|---|---|---|---|
{lines}
"""


def main():
    """Write the samples."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wheels", nargs="+", type=Path)
    parser.add_argument("-o", "--output", type=Path, default=Path(__file__).parent / "kernels")
    parser.add_argument("--table", action="append", choices=TABLES, help="only this table (README.md stays)")
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    lines = []
    for name in args.table or TABLES:
        lines += write(TABLES[name], name, newest(TABLES[name], read(args.wheels, TABLES[name])), args.output)
        print(f"{name}: {len(lines)} lines of README.md")
    if not args.table:
        tables = "\n".join(f"- `{name}`: {x.doc}; {x.rows.__doc__.strip()}" for name, x in TABLES.items())
        wheels = " and ".join("-".join(path.name.split("-")[:2]) for path in args.wheels)
        text = README.format(wheels=wheels, tables=tables, lines="\n".join(lines))
        (args.output / "README.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
