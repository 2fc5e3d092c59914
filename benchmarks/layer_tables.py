"""Samples of public tables of the kernels beside attention and GEMMs, written to benchmarks/kernels/.

    python benchmarks/layer_tables.py aisimulate-0.13.0.dev202610270000000085-*.whl

Linear attention (the gated delta rule of Qwen3.5, the channel-wise one of Kimi and GLM-5.3), the short convolution
before it and before Mamba-2, hyper-connections, the compressed attention of DeepSeek-V4, the block-sparse one of
MiniMax-M3 (whole modules, projections among them). Of every chip and engine the newest version counts that has all the
models that any has; of its lines those that

- are no fallback and not bound by the host: no phase of a version of which the shortest time is above
  `HOST`;
- are no reading of what a repeated call finds in the chip's own cache, as in `attention_tables`;
- are not faster than the peak bandwidth of the chip (`moved`): an engine with more than one in five such lines times
  something else (TensorRT-LLM's convolution of the gated delta rule), and none of them counts;

and of them a random sample, the same at every run (seed: the name of the table, chip and engine). `device` is a chip of
dsjax's catalog; sizes are those of one chip; `sites` mixing sites are in one time. Mamba-2's scan and its state are in
no public table. `LEFT_OUT` says what else does not count, and why.
"""

import argparse
import csv
import re
import zipfile
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from attention_tables import CHIPS, FOLDER, ROOT, SECOND_LEVEL, read
from kernel_tables import order

from dsjax.catalog import reader

HOST = 50e-6  # s
CHUNK = 64  # tokens that the kernels of a scan take at once
STATE_BYTES = 4.0
ENTRY_BYTES = 584.0  # of DeepSeek-V4's cache: 448 of 1 B, 64 of 2 B, scales
BEATEN = 0.2  # share of lines faster than the peak bandwidth from which on none counts
NAMES = {"sglang": "sglang", "trtllm": "tensorrt-llm", "vllm": "vllm"}
SIZES = {
    "batch": "batch_size",
    "seq_len": "seq_len",
    "k_heads": "num_k_heads",
    "v_heads": "num_v_heads",
    "k_dim": "head_k_dim",
    "v_dim": "head_v_dim",
}
CORE = {"batch": "batch_size", "new_tokens": "isl", "cached_tokens": "step", "heads": "num_heads"}


class Table(NamedTuple):
    """A sample: its tables in the wheel, the lines that count, columns, bytes that a line moves at least."""

    files: tuple  # folder and name
    chosen: object  # columns -> mask
    columns: dict  # {column of the sample: column of the table}
    moved: object  # columns -> (bytes moved, bytes that a repeated call finds)
    each: int  # lines of one chip, engine and table
    host: bool = True  # whether HOST tells of one; times of whole modules are longer
    models: str = "model_name"  # the column of what a version should have as much of as any


def _is(x, part):
    return np.array([part in text for text in x["kernel_source"]], bool)


def _recurrent(x):
    return ~_is(x, "conv") & (x["phase"] != "context")


def _scan(x):
    return ~_is(x, "conv") & (x["phase"] == "context") & (x["seq_len"] >= 16)


def _convolution(x):
    padded = (x["framework"] == "TRTLLM") & (x["phase"] == "context")  # every sequence to 512 tokens, one by one
    return _is(x, "conv") & ~padded


def _state(x):
    elements = x["batch_size"] * x["num_v_heads"] * x["head_k_dim"] * x["head_v_dim"] * STATE_BYTES
    return elements * (1.0 + x["seq_len"]), elements


def _rows(x):
    """Queries, keys, values and results of a scan, whatever the caches hold."""
    tokens = 2.0 * x["batch_size"] * x["seq_len"]
    rows = 2.0 * tokens * (x["num_k_heads"] * x["head_k_dim"] + x["num_v_heads"] * x["head_v_dim"])
    return rows, 10.0 * rows  # with what its kernels write between them


def _channels(x):
    x["channels"] = (
        x["nheads"] * x["head_dim"] + 2 * x["n_groups"] * x["d_state"]
        if "nheads" in x
        else 2 * x["num_k_heads"] * x["head_k_dim"] + x["num_v_heads"] * x["head_v_dim"]
    )
    x["is_prefill"] = (x["phase"] == "context").astype(int)
    x["seq_len"] = np.maximum(np.nan_to_num(x["seq_len"].astype(float), nan=1.0), 1.0).astype(int)
    rows = x["batch_size"] * x["channels"] * 2.0
    state = np.where(x["is_prefill"], 0.0, 2.0 * (x["d_conv"] - 1))
    return rows * (2.0 * x["seq_len"] + state), rows * (2.0 * x["seq_len"] + state) / 2.0


def _mixed(x):
    streams = x["num_tokens"] * x["num_sites"] * x["hidden_size"] * 2.0
    return streams * (x["hc_mult"] + 1.0), streams * x["hc_mult"]


def _compressed(x):
    tokens, before = x["batch_size"] * x["isl"], x["step"] + 0.5 * (x["isl"] + 1.0)
    x["positions"] = np.round(np.minimum(before, 128.0) + before / x["compress_ratio"], 1)
    results = tokens * x["num_heads"] * 512 * 4.0
    return results, results + np.where(x["isl"] == 1, tokens * x["positions"] * ENTRY_BYTES, 0.0)


def _module(x):
    weights = 6144.0 * 128.0 * 2.0 * (2.0 * x["num_heads"] + 3.0 * x["num_heads"] / 16.0 + 1.0)
    return weights, np.inf + 0.0 * x["latency"]


def _blocks(x):
    whole = np.isin(x["num_heads"], (16, 32, 64)) & (x["kv_cache_dtype"] == "bfloat16")
    many = (x["isl"] >= 64) & (x["batch_size"] * x["isl"] >= 512)
    long = np.where(x["op_name"] == "msa_generation_module", x["step"] >= 64, many)
    return whole & (x["gemm_type"] == "bfloat16") & long & (x["step"] <= 131072)


LINEAR = ("linear_attention/gdn", "kda/kda")
TABLES = {
    "recurrent.csv": Table(LINEAR, _recurrent, {"kernel": "kernel_source"} | SIZES, _state, 28),
    "scan.csv": Table(LINEAR, _scan, {"kernel": "kernel_source"} | SIZES, _rows, 40),
    "convolution.csv": Table(
        (*LINEAR, "linear_attention/mamba2"),
        _convolution,
        {"kernel": "kernel_source", "is_prefill": "is_prefill", "batch": "batch_size", "seq_len": "seq_len"}
        | {"channels": "channels", "taps": "d_conv"},
        _channels,
        28,
    ),
    "mixing.csv": Table(
        ("mhc/mhc_module",),
        lambda x: np.isin(x["op_name"], ("pre", "post")),
        {"side": "op_name", "num_tokens": "num_tokens", "hidden_size": "hidden_size", "streams": "hc_mult"}
        | {"sites": "num_sites"},
        _mixed,
        44,
        models="hidden_size",
    ),
    "compressed.csv": Table(
        ("sparse_attention/dsv4_hca_attn_module",),
        lambda x: (x["isl"] == 1) | (x["isl"] >= 64),
        CORE | {"positions": "positions"},
        _compressed,
        90,
        models="num_heads",
    ),
    "blocks.csv": Table(("msa/msa_context_module", "msa/msa_generation_module"), _blocks, CORE, _module, 60, False),
}
# {(sample, engine), (sample, engine, table) or (chip, engine, version, table): why}
LEFT_OUT = {
    ("blocks.csv", "trtllm"): "no kernel: seconds a call",
    ("compressed.csv", "sglang"): "no table",
    ("recurrent.csv", "trtllm"): "a state of 2 bytes",
    ("convolution.csv", "trtllm", "gdn"): "faster than the peak bandwidth on half of the chips",
    ("h200_sxm", "sglang", "0.5.14", "gdn"): "five times slower than H100 from 10,000 tokens on; other engines are not",
}


def main():
    """Writes the samples."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("wheel", type=Path)
    with zipfile.ZipFile(arguments.parse_args().wheel) as wheel:
        names = versions(wheel)
        for file, table in TABLES.items():
            found = [x for chip in CHIPS for engine in NAMES for x in lines(wheel, names, file, table, chip, engine)]
            with (FOLDER / file).open("w", encoding="utf-8", newline="") as opened:
                writer = csv.DictWriter(opened, list(found[0]), lineterminator="\n")
                writer.writeheader()
                writer.writerows(found)
            print(f"{file}: {len(found)} lines, {(FOLDER / file).stat().st_size / 1e3:.0f} kB")


def versions(wheel):
    """{(chip, engine, folder and name): versions, newest first} of the wheel."""
    pattern, found = re.compile(rf"{ROOT}/(\w+)/(\w+)/(\w+)/([^/]+)/(\w+)_perf\.parquet"), {}
    for name in wheel.namelist():
        match = pattern.fullmatch(name)
        if match and not match[4].startswith("dev"):
            found.setdefault((match[1], match[3], f"{match[2]}/{match[5]}"), []).append(match[4])
    return {key: sorted(x, key=order, reverse=True) for key, x in found.items()}


def lines(wheel, names, file, table, chip, engine):
    """Sampled lines of one chip and engine."""
    for name in table.files if (file, engine) not in LEFT_OUT else ():
        best = None
        for version in names.get((chip, engine, name), ()):
            kernel = name.partition("/")[2]
            if {(chip, engine, version, kernel), (file, engine, kernel)} & LEFT_OUT.keys():
                continue
            x = columns(wheel, chip, engine, version, name)
            kept = usable(x, table, chip)
            models = len(set(x.get(table.models, ("",))))
            if len(kept) and (best is None or models > best[2]):
                best = x, kept, models, version
        if best is None:
            continue
        x, kept, _, version = best
        random = np.random.default_rng(zlib.crc32(f"{file} {chip} {engine} {name}".encode()))
        for i in np.sort(random.permutation(kept)[: table.each]):
            yield {
                "device": CHIPS[chip],
                "engine": NAMES[engine],
                "version": version.split("+")[0],
                "layer": name.partition("/")[2].removesuffix("_module"),
                **{column: x[of][i].item() for column, of in table.columns.items()},
                "latency_us": f"{1e3 * x['latency'][i]:.4g}",
            }


def columns(wheel, chip, engine, version, name):
    """{column: array} of a table of the wheel."""
    folder, _, table = name.partition("/")
    return read(wheel, f"{chip}/{folder}/{engine}/{version}/{table}", plain=True)


def usable(x, table, chip):
    """Lines that count (see above)."""
    row, seconds = reader.load()["hardware"][CHIPS[chip]], 1e-3 * x["latency"]
    moved, held = table.moved(x)
    chosen = table.chosen(x) & (seconds > 0.0)
    phases = x.get("phase", x["op_name"])
    for phase in set(phases) if table.host else ():
        own = chosen & (phases == phase)
        chosen &= ~(own & (np.min(seconds, where=own, initial=np.inf) > HOST))
    chosen &= ~((held < SECOND_LEVEL[CHIPS[chip]]) & (moved / row["hbm_bytes_per_s"] > 0.1 * seconds))
    beaten = chosen & (seconds < moved / row["hbm_bytes_per_s"])
    return np.flatnonzero(chosen & ~beaten & (beaten.sum() <= BEATEN * chosen.sum()))


if __name__ == "__main__":
    main()
