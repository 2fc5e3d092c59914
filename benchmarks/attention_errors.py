"""Errors of the attention kernels of the catalog's curves against the public tables of benchmarks/kernels/.

    python benchmarks/attention_errors.py                 |error| and bias of the curves as they are
    python benchmarks/attention_errors.py --left-out      fitted anew with each shape left out in turn (minutes)
    python benchmarks/attention_errors.py --fit hopper    the same of one family, with the knots

A row of the output is one kernel of one engine on the chips of one family (`attention_tables.py` has the samples);
`attention_published.csv` has figures of InferSim (github.com/alibaba/InferSim, Apache-2.0) and FlashMLA
(github.com/deepseek-ai/FlashMLA, MIT; its issues 19 and 30), `sparse.csv` the kernels of sparse attention. Bias: the
geometric mean of predicted over measured. A tile is not fitted but known: 64 rows of queries on Hopper (`TILES`).
"""

import argparse
import csv
from pathlib import Path

import numpy as np

from dsjax.calibration import fitting
from dsjax.calibration.forms import kernel
from dsjax.calibration.kind import Kind, Parameter, share, start
from dsjax.calibration.kinds import EXTENDED
from dsjax.catalog import reader
from dsjax.formulas.attention_kernels import Core, decode, prompts
from dsjax.formulas.efficiency import Efficiency

FOLDER = Path(__file__).parent / "kernels"
FAMILIES = {
    "hopper": ("H100", "H200"),
    "hopper-small": ("H20",),
    "blackwell": ("B200", "GB200"),
    "blackwell-ultra": ("B300", "GB300"),
    "ampere": ("A100",),
    "ada": ("L40S",),
}
ENGINES = {"sglang": "sglang", "trtllm": "tensorrt-llm", "vllm": "vllm"}
# (kernel of the knots, kind of measurement, file, precision of the products, of the cache)
KERNELS = (
    ("attention", "mla-decode", "mla_decode.csv", "bf16", "bf16"),
    ("attention_cast", "mla-decode", "mla_decode.csv", "bf16", "fp8"),
    ("attention8", "mla-decode", "mla_decode.csv", "fp8", "fp8"),
    ("gqa", "gqa-decode", "gqa_decode.csv", "bf16", "bf16"),
    ("gqa_cast", "gqa-decode", "gqa_decode.csv", "bf16", "fp8"),
    ("gqa8", "gqa-decode", "gqa_decode.csv", "fp8", "fp8"),
    ("prefill", "mla-prefill", "mla_prefill.csv", "bf16", "bf16"),
    ("prefill8", "mla-prefill", "mla_prefill.csv", "fp8", "fp8"),
    ("gqa_prefill", "gqa-prefill", "gqa_prefill.csv", "bf16", "bf16"),
    ("gqa_prefill8", "gqa-prefill", "gqa_prefill.csv", "fp8", "fp8"),
)
SPARSE = (
    ("sparse", "sparse-decode", "bf16", "fp8"),
    ("sparse_prefill", "sparse-prefill", "bf16", "bf16"),
    ("index", "scores-decode", "fp8", "fp8"),
    ("index_prefill", "scores-prefill", "fp8", "fp8"),
    ("select", "selection", "fp8", "fp8"),
)
# Queries that a kernel computes at least: rows of a tile of its matrix instruction, or what it pads heads to.
TILES = {
    ("hopper", "attention"): 64.0,
    ("hopper", "attention_cast"): 64.0,
    ("hopper", "attention_cast", "sglang"): 128.0,  # 128 heads hardly take longer than 64
    ("hopper", "gqa_cast"): 128.0,
    ("hopper-small", "attention"): 64.0,
    ("hopper", "sparse"): 64.0,
    ("hopper", "sparse_prefill"): 64.0,
    ("blackwell", "sparse_prefill"): 128.0,
    ("blackwell-ultra", "sparse_prefill"): 128.0,
}
LEAST_START_S = 3e-6  # no kernel starts sooner
WIDTH, RANK, PICKED = 1088.0, 512.0, 2048.0  # 2 R_kv + D_r and R_kv of DeepSeek-V3, positions picked


# ---- kernels of sparse attention, of which `dsjax calibrate` has no kind


def _call(shape, **numbers):
    one = dict.fromkeys(("latent", "picked", "rate", "kv_bytes", "width", "beside"), 1.0)
    return Core(**one, queries=shape["queries"] * shape["heads"], **numbers)


def sparse_work(shape, peaks):
    """Seconds at peak of tokens that gather 2,048 positions each; a prompt gathers from the chip's own caches."""
    tokens = shape["batch"] * shape["queries"] * shape["new_tokens"]
    rows = tokens * shape["heads"] * WIDTH
    gathered = tokens * PICKED * shape["is_decode"] * peaks["kv_bytes"] + tokens * (1.0 - shape["is_decode"]) * 2.0
    moved = rows * peaks["result_bytes"] + gathered * (WIDTH - RANK)
    return 2.0 * rows * PICKED / peaks["flops_per_s"], moved / peaks["hbm_bytes_per_s"]


def sparse_decode(parameters, shape, peaks):
    """`decode` on 2,048 positions."""
    call = _call(shape, positions=PICKED, sequences=shape["batch"], length=PICKED)
    return kernel(sparse_work(shape, peaks), Efficiency(*decode(call, **parameters)))


def sparse_prefill(parameters, shape, peaks):
    """`prompts` on 2,048 positions of every token."""
    call = _call(shape, positions=PICKED, sequences=shape["batch"], length=shape["new_tokens"])
    return kernel(sparse_work(shape, peaks), Efficiency(*prompts(call, rows=0.0, **parameters)))


def scores_work(shape, peaks):
    """Seconds at peak of the scores of all positions before a token, heads of width 128."""
    tokens = shape["batch"] * shape["queries"] * shape["new_tokens"]
    before = shape["positions"] - 0.5 * (1.0 - shape["is_decode"]) * shape["new_tokens"]
    moved = shape["batch"] * shape["positions"] * 128.0 + 2.0 * tokens * shape["heads"] * 128.0
    return 2.0 * tokens * shape["heads"] * 128.0 * before / peaks["flops_per_s"], moved / peaks["hbm_bytes_per_s"]


def scores(parameters, shape, peaks):
    """t0 + max(flops / (P e_c) (1 + rows / S), bytes / (BW e_m))."""
    filled = 1.0 + parameters.get("rows", 0.0) / shape["positions"]
    reached = Efficiency(parameters["compute"] / filled, parameters["memory"], parameters["start_s"])
    return kernel(scores_work(shape, peaks), reached)


def selection_work(shape, peaks):
    """Seconds at peak of reading 4 bytes a score, of all positions before a token."""
    tokens = shape["batch"] * shape["new_tokens"]
    moved = 4.0 * tokens * (shape["positions"] - 0.5 * shape["new_tokens"])
    return 0.0 * moved, moved / peaks["hbm_bytes_per_s"]


def selection(parameters, shape, peaks):
    """t0 + bytes / (BW e_m) (1 + rows / tokens) (1 + short / positions)."""
    each = shape["positions"] - 0.5 * shape["new_tokens"]
    filled = (1.0 + parameters["rows"] / shape["new_tokens"]) * (1.0 + parameters["short"] / each)
    memory = parameters["memory"] / filled
    return kernel(selection_work(shape, peaks), Efficiency(1.0, memory, parameters["start_s"]))


def _sparse_kind(form, work, *more):
    parameters = {
        "compute": share("share of peak compute", "", 0.4),
        "memory": share("share of bandwidth", ""),
        "start_s": start("", guess=1e-5),
        "split_s": start("", guess=1e-5),
        "fill": Parameter("1", "tokens x heads", 1e3, 1e-1, 1e7, ""),
        "rows": Parameter("token", "positions", 1e2, 1e-3, 1e5, ""),
        "short": Parameter("token", "positions", 1e4, 1.0, 1e6, ""),
    }
    names = ("compute", "memory", "start_s", *more)
    columns = dict.fromkeys(("batch", "queries", "new_tokens", "positions", "heads", "is_decode"), ("1", ""))
    chosen = {name: parameters[name] for name in names}
    return Kind("", form, work, chosen, columns, ("batch", "new_tokens", "positions"))


SPARSE_KINDS = {
    "sparse-decode": _sparse_kind(lambda p, s, x: sparse_decode({"rows": 0.0} | p, s, x), sparse_work, "split_s"),
    "sparse-prefill": _sparse_kind(sparse_prefill, sparse_work, "fill"),
    "scores-decode": _sparse_kind(scores, scores_work),
    "scores-prefill": _sparse_kind(scores, scores_work, "rows"),
    "selection": _sparse_kind(selection, selection_work, "rows", "short"),
}


# ---- what was measured


def lines(file):
    """Lines {column: text} of a file of benchmarks/kernels/."""
    with (FOLDER / file).open(encoding="utf-8", newline="") as opened:
        return list(csv.DictReader(opened))


def cases():
    """(family, engine, kernel, `Kind`, lines) of everything that was measured."""
    public = lines("attention_published.csv")
    for family, chips in FAMILIES.items():
        for engine in ENGINES:
            for name, kind, file, precision, cache in KERNELS:
                some = [x for x in lines(file) if x["device"] in chips and x["engine"] == engine]
                some = [x for x in some if (x["precision"], x["kv_dtype"]) == (precision, cache)]
                if len(some) >= 30:
                    yield family, engine, name, EXTENDED[kind], some
        published = chips + (("H800",) if family == "hopper" else ())
        for name, kind, _, precision, cache in KERNELS:
            length = {"kv_len": "positions", "isl": "positions"}
            some = [x for x in public if x["kernel"] == kind and x["device"] in published]
            some = [x for x in some if (x["precision"], x["kv_dtype"]) == (precision, cache)]
            if len(some) >= 5:
                yield family, "", name, EXTENDED[kind], [x | {c: x[old] for c, old in length.items()} for x in some]
        for name, kind, precision, cache in SPARSE:
            some = [x for x in public if x["kernel"] == kind and x["device"] in published]
            if len(some) >= 5:
                yield family, "", name, SPARSE_KINDS[kind], [x | {"is_decode": "decode" in kind} for x in some]
            of = {"sparse-prefill": "core", "scores-prefill": "scores", "selection": "selection"}.get(kind)
            some = [x for x in lines("sparse.csv") if x["device"] in chips and x["kernel"] == of]
            if some:
                own = {"precision": precision, "kv_dtype": cache, "is_decode": 0}
                yield (
                    family,
                    "sglang",
                    name,
                    SPARSE_KINDS[kind],
                    [x | own | {"positions": int(x["cached_tokens"]) + int(x["new_tokens"])} for x in some],
                )


def measured(kind, some):
    """(shapes with the peaks of every line's chip, seconds)."""
    chips = reader.load()["hardware"]

    def numbers(column, default=1.0):
        return np.array([default if x.get(column, "") == "" else float(x[column]) for x in some])

    shapes = {name: numbers(name) for name in kind.columns}
    shapes |= {name: numbers(name, default) for name, default in kind.optional.items()}
    shapes["flops_per_s"] = np.array([chips[x["device"]][f"{x['precision']}_flops_per_s"] for x in some])
    shapes["hbm_bytes_per_s"] = np.array([chips[x["device"]]["hbm_bytes_per_s"] for x in some])
    shapes["kv_bytes"] = np.array([1.0 if x["kv_dtype"] == "fp8" else 2.0 for x in some])
    shapes["result_bytes"] = np.full(len(some), 2.0)
    return shapes, 1e-6 * numbers("latency_us")


def with_fixed(kind, fixed):
    """The kind with some parameters given, peaks read off the shapes."""
    free = {name: x for name, x in kind.parameters.items() if name not in fixed}
    return kind._replace(form=lambda p, shape, _: kind.form(fixed | p, shape, shape), parameters=free)


def knots(row, name, kind):
    """Parameters of a kind's form as a curve row has them."""
    return {x: row[f"{name}_{x}"] for x in (*kind.parameters, "tile") if f"{name}_{x}" in row}


def fitted(family, engine, name, kind, some):
    """(`fitting.Fit`, what is given, kind, shapes, seconds) of a case."""
    given = {"tile": TILES.get((family, name, engine), TILES.get((family, name), 0.0))}
    if name.startswith(("index", "gqa_prefill", "prefill")):
        given = {}
    if name == "select":
        given = {"compute": 1.0}
    if name == "sparse":
        given |= {"rows": 0.0, "split_tokens": 0.0, "memory": 0.8}  # compute is what it waits for
    if name.startswith("gqa") and "prefill" not in name and not (family == "hopper-small" or given["tile"]):
        given["compute"] = 0.5  # groups of at most 16 heads never wait for it
    free = with_fixed(kind, given)
    shapes, seconds = measured(kind, some)
    result = fitting.fit(free, shapes, seconds, {})
    if "split_tokens" in free.parameters and result.parameters["start_s"] < LEAST_START_S:
        given |= {"split_s": 0.0, "split_tokens": 0.0}  # a launch that many sequences save is none
        free = with_fixed(kind, given)
        result = fitting.fit(free, shapes, seconds, {})
    return result, given, free, shapes, seconds


def show(label, predicted, seconds):
    """One line of the table."""
    median, p90 = fitting.summary(predicted, seconds)
    bias = float(np.exp(np.mean(np.log(predicted / seconds))))
    print(f"{label:56} {len(seconds):5} {100 * median:7.1f} {100 * p90:7.1f} {bias:7.2f}", flush=True)


def main():
    """Prints the table, or the knots."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--left-out", action="store_true")
    arguments.add_argument("--fit", metavar="FAMILY")
    chosen = arguments.parse_args()
    print(f"{'curve, kernel':56} {'lines':>5} {'median':>7} {'p90 %':>7} {'bias':>7}")
    rows = reader.load()["curve"]
    for family, engine, name, kind, some in cases():
        if chosen.fit not in (None, family):
            continue
        curve = f"{family}-{ENGINES[engine]}" if engine else family
        if not chosen.left_out and not chosen.fit:
            shapes, seconds = measured(kind, some)
            row = rows[curve if curve in rows else family]
            show(f"{curve}, {name}", kind.form(knots(row, name, kind), shapes, shapes), seconds)
            continue
        result, given, free, shapes, seconds = fitted(family, engine, name, kind, some)
        show(f"{curve}, {name}", fitting.cross_validate(free, shapes, seconds, {})[0], seconds)
        if chosen.fit:
            for k, x in (given | result.parameters).items():
                note = " (given)" if k in given else " (not determined)" if np.isinf(result.errors[k]) else ""
                print(f"    {name}_{k} = {x:.4g}{note}")


if __name__ == "__main__":
    main()
