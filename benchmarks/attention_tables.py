"""Samples of public tables of attention kernels, written to benchmarks/kernels/: what the curves' knots are fitted to.

    python benchmarks/attention_tables.py aisimulate-0.13.0.dev202610270000000085-*.whl

The tables are those of NVIDIA's aisimulate wheel (Apache-2.0; folder `aisimulate_core/systems/data`), one Parquet file
a chip, engine, version and kernel; needs pyarrow. Of every table that `TABLES` names the lines are taken that

- are of a kernel the engine means to run: no fallback (Triton, groups of more than 16 heads), head widths 64, 128, 256,
  no sliding window, at least 64 cached or prompt tokens;
- are not faster than the peak of the chip (`calibration.kinds`, the catalog's rates);
- are no reading of a cache that a repeated call finds in the chip's own cache (`SECOND_LEVEL` bytes) while its bytes
  take more than a tenth of the time at peak bandwidth: in a step the other layers come between;

and of them a random sample, the same at every run (seed: the name of the table). Columns: `device` a chip of dsjax's
catalog; `engine`, `version` as the table has them; `precision` of the products, `kv_dtype` of the
cache; the shape; `latency_us`.
"""

import argparse
import csv
import io
import zipfile
import zlib
from pathlib import Path

import numpy as np

from dsjax.calibration.kinds import KINDS
from dsjax.catalog import reader

FOLDER = Path(__file__).parent / "kernels"
ROOT = "aisimulate_core/systems/data"
CHIPS = {
    "h100_sxm": "H100",
    "h200_sxm": "H200",
    "b200_sxm": "B200",
    "gb200": "GB200",
    "b300_sxm": "B300",
    "gb300": "GB300",
    "a100_sxm": "A100",
    "l40s": "L40S",
}
SECOND_LEVEL = {"H100": 50e6, "H200": 50e6, "A100": 40e6, "L40S": 96e6} | dict.fromkeys(
    ("B200", "GB200", "B300", "GB300"), 126e6
)
NEWEST = {"sglang": "0.5.14", "trtllm": "1.3.0rc20", "vllm": "0.25.0"}
OLDER = {
    ("a100_sxm", "sglang"): "0.5.10",
    ("a100_sxm", "trtllm"): "1.0.0",
    ("a100_sxm", "vllm"): "0.14.0",
    ("l40s", "vllm"): "0.24.0",
}
_SHORT = {"bfloat16": "bf16", "fp8_e4m3": "fp8"}
_GROUPED = {"heads": "num_heads", "kv_heads": "num_key_value_heads", "head_dim": "head_dim"}
# {file: (kind, folder and table of the wheel, chips, engines, lines of a table and precision, shape)}
TABLES = {
    "mla_decode.csv": ("mla-decode", "mla", "generation_mla", 110, {"heads": "num_heads"}),
    "mla_prefill.csv": ("mla-prefill", "mla", "context_mla", 70, {"heads": "num_heads"}),
    "gqa_decode.csv": ("gqa-decode", "attention", "generation_attention", 100, _GROUPED),
    "gqa_prefill.csv": ("gqa-prefill", "attention", "context_attention", 75, _GROUPED),
}
SPARSE = {"core": "glm5_dsa_attn_module", "scores": "glm5_mqa_logits_module", "selection": "glm5_topk_module"}
FEWER = ("gb200", "gb300")  # chips of which the tables of grouped queries are left out, for size


def main():
    """Writes the samples."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("wheel", type=Path)
    with zipfile.ZipFile(arguments.parse_args().wheel) as wheel:
        FOLDER.mkdir(exist_ok=True)
        for file, table in TABLES.items():
            write(FOLDER / file, list(lines(wheel, *table)))
        write(FOLDER / "sparse.csv", list(sparse_lines(wheel)))


def write(path, found):
    """One CSV file of lines {column: text}."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(found[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(found)
    print(f"{path.name}: {len(found)} lines, {path.stat().st_size / 1e3:.0f} kB")


def lines(wheel, kind, folder, table, count, shape):
    """Sampled lines of the tables of one kernel."""
    for chip, device in CHIPS.items():
        for engine, newest in NEWEST.items():
            version = OLDER.get((chip, engine), newest)
            if folder == "mla" and (engine == "vllm" or (chip, engine) == ("l40s", "trtllm")):
                continue  # whole modules alone, products with weights among them
            if folder == "attention" and chip in FEWER:
                continue
            columns = read(wheel, f"{chip}/{folder}/{engine}/{version}/{table}")
            if columns is None:
                continue
            names = {"batch": "batch_size", "kv_len" if kind.endswith("decode") else "isl": None} | shape
            for precision, cache in sorted(set(zip(columns["precision"], columns["kv_dtype"], strict=True))):
                right = (columns["precision"] == precision) & (columns["kv_dtype"] == cache)
                label = f"{file_of(kind)} {chip} {engine} {precision} {cache}"
                kept = np.flatnonzero(right & usable(kind, columns, device, cache, engine))
                for i in sample(kept, count, label):
                    yield {
                        "device": device,
                        "engine": engine,
                        "version": version,
                        "precision": rate(device, kind, precision, cache),
                        "kv_dtype": cache,
                        **{name: int(columns[column or "length"][i]) for name, column in names.items()},
                        "latency_us": f"{1e3 * columns['latency'][i]:.4g}",
                    }


def file_of(kind):
    """The name that seeds a sample."""
    return kind.replace("-", "_")


def rate(device, kind, precision, cache):
    """Precision of the products: kernels of Blackwell compute at fp8 where the cache is fp8, those before do not."""
    blackwell = device in ("B200", "GB200", "B300", "GB300")
    return cache if kind.endswith("decode") and blackwell else precision


def read(wheel, name, plain=False):
    """{column: array} of a table of the wheel, `plain`: as they are; None where there is none."""
    import pyarrow.parquet as parquet

    path = f"{ROOT}/{name}_perf.parquet"
    if path not in wheel.namelist():
        return None
    table = parquet.read_table(io.BytesIO(wheel.read(path))).to_pydict()
    columns = {key: np.array(values) for key, values in table.items()}
    if plain:
        return columns
    products = next(key for key in ("mla_dtype", "attn_dtype") if key in columns)
    for key, column in {"precision": products, "kv_dtype": "kv_cache_dtype"}.items():
        columns[key] = np.array([_SHORT.get(x, x) for x in columns[column]])
    columns["length"] = columns["isl"] + columns["step"]  # of decode: the new token and what is cached
    return columns


def usable(kind, columns, device, cache, engine):
    """Mask of the lines that count (see above)."""
    of, chip = KINDS[kind], reader.load()["hardware"][device]
    one = np.ones(len(columns["latency"]))
    shape = {name: value * one for name, value in of.optional.items()}
    shape |= {"batch": columns["batch_size"], "kv_len": columns["length"], "isl": columns["length"]}
    shape["heads"] = columns["num_heads"]
    good = (columns["length"] >= 64) & (columns["latency"] > 0)
    if kind.startswith("gqa"):
        shape |= {"kv_heads": columns["num_key_value_heads"], "head_dim": columns["head_dim"]}
        window = columns.get("window_size", 0 * one)
        own = np.array(["triton" not in source for source in columns["kernel_source"]])
        good &= own & (window == 0) & np.isin(shape["head_dim"], (64, 128, 256)) & (shape["kv_heads"] > 0)
        good &= shape["heads"] <= 16 * np.maximum(shape["kv_heads"], 1)
    shape = {name: np.asarray(value, float) for name, value in shape.items()}
    if kind.startswith("mla-prefill") and (device in ("H100", "H200", "L40S") and engine == "sglang"):
        return good & False  # an absorbed kernel, which prompts do not run: FlashAttention-3 computes them unfolded
    peaks = {"hbm_bytes_per_s": chip["hbm_bytes_per_s"], "result_bytes": 2.0, "kv_bytes": 2.0 - (cache == "fp8")}
    peaks["flops_per_s"] = max(chip["bf16_flops_per_s"], chip["fp8_flops_per_s"] * (cache == "fp8"))
    shape["kv_heads"] = np.maximum(shape.get("kv_heads", one), 1.0)
    compute, memory = of.work(shape, peaks)
    seconds = 1e-3 * columns["latency"]
    good &= (seconds >= compute) & (seconds >= memory)
    if kind.endswith("decode"):
        held = memory * chip["hbm_bytes_per_s"]
        good &= ~((held < SECOND_LEVEL[device]) & (memory > 0.1 * seconds))
    return good


def sample(kept, count, label):
    """At most `count` of the lines, in their order."""
    random = np.random.default_rng(zlib.crc32(label.encode()))
    return np.sort(random.permutation(kept)[:count])


def sparse_lines(wheel):
    """Kernels of sparse attention, of GLM-5: the core on 2,048 picked positions, the scores, the selection."""
    for chip, device in CHIPS.items():
        for kernel, table in SPARSE.items():
            columns = read(wheel, f"{chip}/sparse_attention/sglang/0.5.14/{table}")
            if columns is None:
                continue
            shortest = 64 if kernel == "core" else 512  # tokens of a chunk; scores of fewer run on few cores
            good = (columns["isl"] >= shortest) & (columns["batch_size"] <= 64) & (columns["length"] >= 2048)
            if kernel == "selection":  # one token and many; more than one prompt are taken one after the other
                good = (columns["score_mode"] == "flat") & (columns["batch_size"] == 1) & (columns["length"] > 2048)
            for i in sample(np.flatnonzero(good), 60, f"{kernel} {chip}"):
                yield {
                    "device": device,
                    "kernel": kernel,
                    "kernel_source": columns["kernel_source"][i],
                    "batch": int(columns["batch_size"][i]),
                    "heads": 64 if kernel == "core" else 32,
                    "new_tokens": int(columns["isl"][i]),
                    "cached_tokens": int(columns["step"][i]),
                    "latency_us": f"{1e3 * columns['latency'][i]:.4g}",
                }


if __name__ == "__main__":
    main()
