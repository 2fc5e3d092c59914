"""Damaged grids, catalogs, configs, measurements, systems and result files of benchmarks."""

import json
import tomllib
from pathlib import Path

from dsjax.calibration.kinds import EXTENDED
from dsjax.catalog import reader

from . import damage
from .fixtures import GRIDS

BENCHMARKS = Path(__file__).parents[1] / "data" / "benchmarks"
MODELS = sorted((reader.DATA / "models").glob("*.json"))
CATALOGS = {"hardware": "H20", "nic": "CX7", "precision": "fp8", "curve": None, "engine": "vllm", "model": None}
ASKED = [("best",), ("best",), ("best",), ("explain",), ("pareto",), ("histogram",), ("sensitivity",)]
ASKED += [
    ("sweep", "-o", "y.nc"),
    ("best", "--format", "json"),
    ("uncertainty", "--samples", "4", "--error", "hardware=0.1"),
    ("launch",),
]


def grid(rng, base):
    """A grid, asked one of several questions."""
    name = rng.choice([*GRIDS, "core", "core", "study"])
    text = damage.written(rng, damage.toml(damage.tree(rng, GRIDS[name])))
    command, *more = rng.choice(ASKED)
    files, named = {"g.toml": text}, ("g.toml", "launch: ", "--error ")
    return {"args": (command, "g.toml", *more), "files": files, "named": named, "outputs": ("y.nc",)}


def catalog(rng, base):
    """Rows of a user's own, over those that a grid reads."""
    tables = {"hardware": "hardware", "nic": "nics", "precision": "precisions", "curve": "curves", "engine": "engines"}
    record = rng.choice(list(tables))
    data = tomllib.loads((reader.DATA / f"{tables[record]}.toml").read_text("utf-8"))
    rows = data.get(record, data)
    like = {"hardware": "H20", "nic": "CX7", "precision": "fp8"}.get(record) or rng.choice(sorted(rows))
    written = {
        record: {"mine": rows[like] if rng.random() < 0.5 else {"base": like, "source": "mine"} | some(rng, rows[like])}
    }
    text = damage.written(rng, damage.toml(damage.tree(rng, written)))
    files = {"c.toml": text, "g.toml": damage.toml(GRIDS["core"]).encode()}
    args = rng.choice([("best", "g.toml"), ("best", "g.toml"), ("catalog", tables[record]), ("explain", "g.toml")])
    fixed = ("--fix", f"{record}=mine") if args[0] != "catalog" else ()
    return {"args": (*args, "--catalog", "c.toml", *fixed), "files": files, "named": ("c.toml", "g.toml", "--fix")}


def some(rng, row):
    """One or two entries of a row."""
    return {key: row[key] for key in rng.sample(sorted(row), min(len(row), rng.randint(1, 2)))}


def config(rng, base):
    """A config.json, at times with an hf_quant_config.json beside it."""
    data = json.loads(rng.choice(MODELS).read_text("utf-8"))
    if rng.random() < 0.3:
        data["quantization_config"] = {"quant_method": "fp8", "fmt": "e4m3", "weight_block_size": [128, 128]}
    files = {"m/config.json": damage.written(rng, json.dumps(damage.tree(rng, data)))}
    if rng.random() < 0.3:
        quantised = {"producer": {"name": "modelopt"}, "quantization": {"quant_algo": "NVFP4", "group_size": 16}}
        quantised["quantization"] |= {"kv_cache_quant_algo": "FP8", "exclude_modules": ["lm_head", "*.self_attn*"]}
        files["m/hf_quant_config.json"] = damage.written(rng, json.dumps(damage.tree(rng, quantised)))
        files["m/config.json"] = json.dumps(data).encode()
    files["g.toml"] = damage.toml(GRIDS["core"]).encode()
    args = rng.choice([("count", "m/config.json"), ("count", "m"), ("best", "g.toml", "--model", "m/config.json")])
    return {"args": args, "files": files, "named": ("m/", "m:")}


def measurements(rng, base):
    """Times of one kind of kernel."""
    kind = rng.choice(list(EXTENDED))
    optional = list(EXTENDED[kind].optional)
    columns = [*EXTENDED[kind].columns, *rng.sample(optional, min(len(optional), rng.randint(0, 1)))]
    columns = list(dict.fromkeys(columns))
    size = {"batch": 8, "kv_len": 4096, "isl": 2048, "ep_size": 8, "num_gpus": 8, "topk": 8, "node_num": 1}
    rows = [[*columns, "latency_us"]]
    for _ in range(rng.randint(1, 12)):
        rows.append([str(size.get(c, 64) * 2 ** rng.randint(0, 5)) for c in columns] + [f"{10 ** rng.uniform(0, 4):g}"])
    rows = damage.cells(rng, rows) if rng.random() < 0.8 else rows
    text = "\n".join(",".join(row) for row in rows) + "\n"
    args = ("calibrate", "m.csv", "--kind", kind, "--hardware", "H800", "-o", "c.toml")
    if rng.random() < 0.8:
        args += ("--precision", rng.choice(["fp8", "bf16"]))
    if rng.random() < 0.4:
        args += rng.choice(
            [("--form", "extended"), ("--precision", "fp8"), ("--where", "m>=64"), ("--peak", "9 PFLOP/s")]
        )
    return {
        "args": args,
        "files": {"m.csv": damage.written(rng, text)},
        "named": ("m.csv", "--"),
        "outputs": ("c.toml",),
    }


def systems(rng, base):
    """Measured systems."""
    study = {"id": "mine", "date": "2025-02-27", "source": "log", "model": "DeepSeek-V3", "hardware": "H800"}
    study |= {"precision": "fp8"}
    one = {"id": "a", "metric": "decode", "value": 2324.75, "chips": 128, "evidence": "table", "engine": "sglang"}
    one |= {"tp": 1, "ep": 128, "batch": 128, "context": 4096}
    two = {"id": "b", "metric": "tpot", "value": 0.04, "chips": 16, "evidence": "table", "engine": "vllm"}
    two |= {"tp": 8, "ep": 16, "concurrency": 64, "isl": 1024, "osl": 512, "batching": "chunked", "ttft": 0.7}
    data = {"study": [study | {"system": [one, two]}]}
    if rng.random() < 0.3:
        data["defaults"] = {"prefill_tokens": 8192, "acceptance": 0.9}
    text = damage.written(rng, damage.toml(damage.tree(rng, data)))
    args = ("validate", "s.toml", *rng.choice([(), ("--rows",), ("-o", "v.nc")]))
    return {"args": args, "files": {"s.toml": text}, "named": ("s.toml",), "outputs": ("v.nc",)}


def benchmarks(rng, base):
    """A result file of a benchmark, of every engine."""
    path = rng.choice(sorted(BENCHMARKS.iterdir()))
    text = path.read_text("utf-8")
    parts = [json.loads(line) for line in text.splitlines()] if path.suffix == ".jsonl" else [json.loads(text)]
    text = "\n".join(json.dumps(damage.tree(rng, part)) for part in parts)
    given = {"--hardware": "H800", "--precision": "fp8", "--tp": "8", "--ep": "8", "--chips": "8", "--engine": "vllm"}
    given |= {"--concurrency": "32", "--isl": "1024", "--osl": "512", "--model": "DeepSeek-R1"}
    names = rng.sample(list(given), rng.choice([7, 9, 10, 10, 10]))
    name = f"b{path.suffix}"
    args = ("ingest", name, *(word for key in names for word in (key, given[key])), "-o", "s.toml")
    return {"args": args, "files": {name: damage.written(rng, text)}, "named": (name, "ingest"), "outputs": ("s.toml",)}
