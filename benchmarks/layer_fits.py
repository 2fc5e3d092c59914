"""Knots of curves.toml of the kernels beside attention and GEMMs, fitted to the samples of `layer_tables.py`.

    python benchmarks/layer_fits.py [--family hopper] [--kernel scan]

The chips of a family are fitted together, each against its own peaks, of each layer the newest version; of every kernel
and engine the knots as a row has them, and the source: |error| over shapes left out, median and 90th percentile, and
the bias, the geometric mean of predicted over measured. The row of a family has the knots of vLLM, whose kernels are
those of FlashInfer, FlashKDA and FlashMLA; an engine's own row has its own. A start above `HOST_S` is time of the host,
which `prompt_layer_s` of an engine stands for: no row has it.

`blocks.csv` has whole modules of attention: the products with weights are taken off at `GEMM` of the peaks; what is
left is the core on at most 2,048 positions, the scores of all, and a start for all their launches. In decode the core's
and the scores' bytes bind, in prefill their flops.
"""

import argparse
import csv
from pathlib import Path

import numpy as np
from kernel_tables import order

from dsjax import arrays
from dsjax.calibration import fitting
from dsjax.calibration.kind import Kind, Parameter, share, start
from dsjax.calibration.kinds import KINDS
from dsjax.catalog import reader

FOLDER = Path(__file__).parent / "kernels"
FAMILIES = {
    "hopper": ("H100", "H200"),
    "blackwell": ("B200", "GB200"),
    "blackwell-ultra": ("B300", "GB300"),
    "ada": ("L40S",),
}
ENGINES = ("sglang", "vllm", "tensorrt-llm")
LEAST = 15  # lines that a fit needs
HOST_S = 2e-4
NAMES = {"sglang": "SGLang", "vllm": "vLLM", "tensorrt-llm": "TensorRT-LLM"}
TILES = {"hopper": 64.0, "blackwell": 128.0, "blackwell-ultra": 128.0}  # heads that a core computes at least
GEMM = 0.75, 0.83  # of peak compute, of bandwidth
PICKED, HIDDEN, WIDTH, GROUP = 2048.0, 6144.0, 128.0, 16.0  # MiniMax-M3: positions, model, head, heads of a key


def block_parts(shape, peaks):
    """Seconds at peak of a module of MiniMax-M3: products, core and scores, by flops and by bytes."""
    tokens, heads = shape["batch"] * shape["new_tokens"], shape["heads"]
    keys, last = heads / GROUP, shape["cached_tokens"] + shape["new_tokens"]
    weights = HIDDEN * WIDTH * (2.0 * heads + 3.0 * keys + 1.0)
    products = 2.0 * tokens * weights, 2.0 * weights + 2.0 * tokens * (2.0 * HIDDEN + 4.0 * heads * WIDTH)
    before = arrays.minimum(arrays.maximum(PICKED - shape["cached_tokens"], 0.0), shape["new_tokens"])
    early = before * (shape["cached_tokens"] + 0.5 * before)  # positions of the tokens that attend to all
    positions = (early + (shape["new_tokens"] - before) * PICKED) / shape["new_tokens"]
    seen = arrays.minimum(last, PICKED)
    core = 4.0 * tokens * heads * WIDTH * positions, 4.0 * shape["batch"] * seen * keys * WIDTH
    mean = shape["cached_tokens"] + 0.5 * (shape["new_tokens"] + 1.0)
    scores = 2.0 * tokens * keys * WIDTH * mean, 2.0 * shape["batch"] * last * WIDTH
    rates = peaks["flops_per_s"], peaks["hbm_bytes_per_s"]
    parts = [tuple(n / rate for n, rate in zip(part, rates, strict=True)) for part in (products, core, scores)]
    return parts, positions, seen


def block_work(shape, peaks):
    """Seconds at peak of all parts."""
    parts = block_parts(shape, peaks)[0]
    return sum(part[0] for part in parts), parts[0][1]


def block_prefill(parameters, shape, peaks):
    """t0 + products + core flops / (P e) (1 + rows / x) + scores' flops / (P e')."""
    (products, core, scores), positions, _ = block_parts(shape, peaks)
    longest = arrays.maximum(products[0] / GEMM[0], products[1] / GEMM[1])
    longer = core[0] / parameters["compute"] * (1.0 + parameters["rows"] / positions)
    return parameters["start_s"] + longest + longer + scores[0] / parameters["scores"]


def block_decode(parameters, shape, peaks):
    """t0 + products + core bytes / (BW e) (1 + rows / x) + scores' bytes / (BW e')."""
    (products, core, scores), _, seen = block_parts(shape, peaks)
    longest = arrays.maximum(products[0] / GEMM[0], products[1] / GEMM[1])
    longer = core[1] / parameters["compute"] * (1.0 + parameters["rows"] / seen)
    return parameters["start_s"] + longest + longer + scores[1] / parameters["scores"]


_BLOCKS = {
    "compute": share("share of the peak, core", "", 0.3),
    "rows": Parameter("token", "positions that beginning is worth", 1e2, 1e-3, 1e4, ""),
    "scores": share("share of the peak, scores", "", 0.3),
    "start_s": start("", guess=5e-5),
}
_COLUMNS = dict.fromkeys(("batch", "new_tokens", "cached_tokens", "heads"), ("1", ""))
_GROUP = ("batch", "new_tokens", "heads", "cached_tokens")
# {kernel of the knots: (what it is, sample, condition on its lines, kind)}
KERNELS = {
    "recurrent": ("decode of a state", "recurrent", lambda x: True, KINDS["recurrent"]),
    "scan": ("scan of the gated delta rule", "scan", lambda x: x["layer"] == "gdn", KINDS["scan"]),
    "channel_scan": ("scan, gates of channels", "scan", lambda x: x["layer"] == "kda", KINDS["channel-scan"]),
    "convolution": ("short convolution", "convolution", lambda x: True, KINDS["convolution"]),
    "mixing_pre": ("streams mixed before a block", "mixing", lambda x: x["side"] == "pre", KINDS["mixing-pre"]),
    "mixing_post": ("streams mixed after a block", "mixing", lambda x: x["side"] == "post", KINDS["mixing-post"]),
    "compressed": (
        "compressed decode",
        "compressed",
        lambda x: x["new_tokens"] == "1",
        KINDS["compressed-decode"],
    ),
    "compressed_prefill": (
        "compressed prefill",
        "compressed",
        lambda x: x["new_tokens"] != "1",
        KINDS["compressed-prefill"],
    ),
    "block_prefill": (
        "core and scores of blocks, prefill, of whole modules",
        "blocks",
        lambda x: x["layer"] == "msa_context",
        Kind("", block_prefill, block_work, _BLOCKS, _COLUMNS, _GROUP),
    ),
    "block_decode": (
        "core and scores of blocks, decode, of whole modules (no row has them)",
        "blocks",
        lambda x: x["layer"] == "msa_generation",
        Kind("", block_decode, block_work, _BLOCKS, _COLUMNS, _GROUP),
    ),
}


def lines(name):
    """Lines {column: text} of a sample."""
    with (FOLDER / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def measured(kind, some):
    """(shapes with the peaks of every line's chip, seconds)."""
    chips = reader.load()["hardware"]

    def column(name, default=None):
        names = (name, *kind.also.get(name, ()), *({"isl": ("seq_len",)}.get(name, ())))
        found = next((x for x in names if x in some[0]), None)
        return np.array([float(x[found]) if found else default for x in some])

    shapes = {name: column(name, kind.optional.get(name)) for name in (*kind.columns, *kind.optional)}
    shapes |= {x: np.array([chips[line["device"]][x] for line in some]) for x in ("hbm_bytes_per_s",)}
    shapes["flops_per_s"] = np.array([chips[line["device"]]["bf16_flops_per_s"] for line in some])
    return shapes | {"result_bytes": np.full(len(some), 2.0)}, 1e-6 * column("latency_us")


def chosen(family, name, engine):
    """Lines of a kernel and engine on the chips of a family, of each layer the newest version that has `LEAST`."""
    _, sample, condition, _ = KERNELS[name]
    found = [x for x in lines(sample) if x["device"] in FAMILIES[family] and x["engine"] == engine and condition(x)]
    kept = []
    for layer in sorted({x["layer"] for x in found}):
        own = [x for x in found if x["layer"] == layer]
        newest = sorted({x["version"] for x in own}, key=order)[-1]
        kept += [x for x in own if x["version"] == newest]
    return kept


def fitted(family, name, engine):
    """(lines, knots, predicted with the shape left out, seconds) of a kernel; None where too little is measured."""
    some = chosen(family, name, engine)
    if len(some) < LEAST:
        return None
    kind = KERNELS[name][3]
    given = {"tile": TILES[family]} if name.startswith("compressed") else {}
    free = kind._replace(form=lambda p, shape, _: kind.form(given | p, shape, shape))
    shapes, seconds = measured(kind, some)
    predicted = fitting.cross_validate(free, shapes, seconds, {})[0]
    return some, given | fitting.fit(free, shapes, seconds, {}).parameters, predicted, seconds


def row(name, engine, some, knots, predicted, seconds):
    """(lines of a row, line of its sources) of a fit."""
    median, p90 = fitting.summary(predicted, seconds)
    bias = float(np.exp(np.mean(np.log(predicted / seconds))))
    versions, chips = (dict.fromkeys(x[key] for x in some) for key in ("version", "device"))
    text = (
        f"{KERNELS[name][0]}, {NAMES[engine]} {', '.join(versions)} on {', '.join(chips)}, {len(some)} points of "
        f"{KERNELS[name][1]}.csv: {100 * median:.1f} / {100 * p90:.1f} %, bias {bias:.2f}"
    )
    fields = {f"{name}_{knot}": x for knot, x in knots.items() if knot != "start_s" or x < HOST_S}
    if name == "block_decode":
        return [], f"# {text}: {', '.join(f'{knot} {x:.3g}' for knot, x in knots.items())}"
    if name == "block_prefill":
        fields["block_index_compute"] = fields.pop(f"{name}_scores")
    units = {"_start_s": (1e6, "us"), "_depth_s": (1e9, "ns")}
    found = []
    for field, x in fields.items():
        factor, unit = next((u for end, u in units.items() if field.endswith(end)), (1.0, ""))
        found.append(f'{field} = "{factor * x:.3g} {unit}"' if unit else f"{field} = {x:.3g}")
    return found, f'"{" ".join(fields)}" = {{ kind = "fitted", text = "{text}" }}'


def main():
    """Prints knots and sources, with the errors."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--family", choices=FAMILIES)
    arguments.add_argument("--kernel", choices=KERNELS)
    asked = arguments.parse_args()
    for family in [asked.family] if asked.family else FAMILIES:
        for engine in ENGINES:
            print(f"# {family}-{engine}")
            for name in [asked.kernel] if asked.kernel else KERNELS:
                found = fitted(family, name, engine)
                if found:
                    knots, source = row(name, engine, *found)
                    print("\n".join([*knots, source]), flush=True)


if __name__ == "__main__":
    main()
