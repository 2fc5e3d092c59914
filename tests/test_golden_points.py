"""Every variable at a few points of every kind of model, layout and study, as in data/goldens/points.json."""

import functools

import goldens
import numpy as np
import pytest
from golden_grids import GRIDS

import dsjax
from dsjax.analysis.explain_server import largest
from dsjax.catalog import reader
from dsjax.formulas import efficiency
from dsjax.formulas.layer_kernels import recurrent

ALONE = {"hardware": "H800", "nic": "CX7", "context": 4096}
# One of every kind of attention, of layer and of experts.
MODELS = """DeepSeek-V3 DeepSeek-V3.2 DeepSeek-V4-Flash GLM-5.3-Flash MiniMax-M1 MiniMax-M3 Qwen3-Next-80B-A3B Kimi-K3
Kimi-Linear-48B-A3B Nemotron-H-56B Nemotron-3-Super-120B-A12B gpt-oss-20b Llama-3.1-8B Llama-4-Scout Gemma-3-27B
Gemma-4-26B-A4B LongCat-Flash MiMo-V2-Flash Step-3.7-Flash Phi-3.5-MoE""".split()
HYBRIDS = ("Kimi-Linear-48B-A3B", "Qwen3-Next-80B-A3B", "DeepSeek-V4-Flash", "LongCat-Flash", "Nemotron-H-56B")
BLOCKS = {"DeepSeek-V3": 1, "DeepSeek-V3.2": 1, "DeepSeek-V4-Flash": 1, "MiniMax-M3": 0, "Qwen3-Next-80B-A3B": 1}
BLOCKS |= {"Kimi-Linear-48B-A3B": 0, "Nemotron-H-56B": 0, "gpt-oss-20b": 0}
PIPELINES = ("naive", "windows", "dual-mbatch", "tbo", "sbo")
LAYOUTS = {
    "pipelines": {"axes": {"pipeline": PIPELINES, "unhidden": [0.0, 0.2]}, "fixed": {"tp": 4, "ep": 32, "batch": 64}},
    "modes": {
        "axes": {"dispatch_mode": ["normal", "low-latency", "auto"], "ep": [8, 72]},
        "fixed": {"tp": 2, "batch": 128},
    },
    "drafts": {"axes": {"mtp": [0, 1, 2], "tp": [8]}, "fixed": {"ep": 32, "batch": 32, "expert_cv": 0.4}},
    "split cache": {"axes": {"kv_split": [1, 4]}, "fixed": {"tp": 8, "mtp": 0, "ep": 16, "batch": 16}},
    "split experts": {"axes": {"moe_tp": [1, 4]}, "fixed": {"tp": 2, "mtp": 0, "ep": 8, "batch": 16}},
    "stages": {"axes": {"pp": [1, 2]}, "fixed": {"tp": 4, "ep": 16, "batch": 32, "mtp": 0}},
    "precisions": {"axes": {"precision": ["bf16", "fp8", "w8a16", "fp8-kv8"]}, "fixed": {"ep": 32, "batch": 64}},
    "chips": {"axes": {"hardware": ["A100", "H20", "B200", "GB300", "MI355X"]}, "fixed": {"ep": 32, "batch": 64}},
    "engines": {
        "axes": {"engine": ["generic", "sglang-deepep", "vllm", "tensorrt-llm"]},
        "fixed": {"ep": 32, "batch": 64},
    },
}
PROMPTS = {
    "sequences": {"axes": {"sp": [1, 4], "prompts": [1, 8]}, "fixed": {"tp": 4, "ep": 16}},
    "pipelines": {"axes": {"pipeline": PIPELINES}, "fixed": {"tp": 4, "ep": 32, "prompts": 16}},
}
SERVER = {"hardware": "H200", "nic": "CX7", "chips": 8, "tp": 8, "isl": 4096, "osl": 1024, "engine": "sglang"}
SERVERS = {
    "users": {"axes": {"batching": ["prefill-first", "chunked"], "concurrency": [1, 16, 500]}, "fixed": SERVER},
    "rates": {"axes": {"batching": ["prefill-first", "chunked"], "requests_per_s": [0.1, 2.0]}, "fixed": SERVER},
    "lengths": {"axes": {"isl_cv": [0.0, 1.0], "osl_cv": [0.0, 0.5]}, "fixed": SERVER | {"requests_per_s": 1.5}},
    "rounds": {
        "axes": {"batching": ["prefill-first", "chunked"], "requests_per_user": [1, 5], "osl_cv": [0.0, 0.1]},
        "fixed": SERVER | {"concurrency": 200},
    },
    "prefixes": {"axes": {"max_batch": [4, 256], "prefix_tokens": [0, 2048]}, "fixed": SERVER | {"concurrency": 64}},
}
SERVERS["prefixes"]["fixed"]["chunk_tokens"] = 1024
STUDIES = {
    "decode_gpu_2025": {"axes": {"hardware": ["H20", "H800"], "ep": [72, 320], "batch": [16, 96]}},
    "sg2260e_decode_128": {"axes": {"batch": [4, 12], "tp": [1, 8]}},
    "sg2260e_prefill_16": {"axes": {"tp": [1, 4]}},
}


def of_model(name):
    decode = {"axes": {"batch": [16, 256]}, "fixed": ALONE | {"tp": 1, "ep": 8}}
    prefill = {"axes": {"prompts": [4]}, "fixed": ALONE | {"tp": 2, "ep": 8}}
    return {
        "decode": dsjax.sweep({"model": name, "phase": "decode", **decode}),
        "prefill": dsjax.sweep({"model": name, "phase": "prefill", **prefill}),
    }


def of_fp8(name):
    """Operands in 8 bit, made after norms, of layers of several kinds, as engines make them."""
    of = {"axes": {"engine": ["generic", "vllm", "sglang"]}, "fixed": ALONE | {"ep": 8, "tp": 2, "precision": "fp8"}}
    decode, prefill = ({"model": name, "phase": phase} | of for phase in ("decode", "prefill"))
    decode["axes"], prefill["axes"] = of["axes"] | {"batch": [64]}, of["axes"] | {"prompts": [4]}
    return {"decode": dsjax.sweep(decode), "prefill": dsjax.sweep(prefill)}


def blocks_of(name, mtp):
    """Flops, bytes and times of every operator of a step."""
    fixed = ALONE | {"tp": 2, "ep": 8, "mtp": mtp}
    ds = dsjax.explain({"model": name, "phase": "decode", "axes": {"batch": [32]}, "fixed": fixed})
    return ds[[x for x in ds.data_vars if ds[x].dims == ("block",)]].drop_attrs(deep=False)


def of_layout(phase, how):
    fixed = {key: x for key, x in (ALONE | how["fixed"]).items() if key not in how["axes"]}
    return dsjax.sweep({"model": "DeepSeek-V3", "phase": phase, "axes": how["axes"], "fixed": fixed})


def of_server(how):
    fixed = {key: x for key, x in how["fixed"].items() if key not in how["axes"]}
    return dsjax.sweep({"model": "DeepSeek-R1", "phase": "serve", "axes": how["axes"], "fixed": fixed})


def largest_rate(name):
    """The largest rate of the servers of a grid, and what limits it."""
    return largest.largest_rate(dsjax.load_grid(GRIDS[name]))


def kernels():
    """What kernels of every rule take of their curves, and counts of flops."""
    rows = reader.load()["curve"]
    found = {}
    for name in ("hopper", "blackwell", "hopper-sglang"):
        curve = efficiency.Kernel(**reader.numbers(rows[name]))
        found[name] = [efficiency.kernel_scan(curve, 1000.0, np.int32(rule)) for rule in range(4)]
    flops = [recurrent.delta_step_flops(10.0), recurrent.state_bytes(3.0, 2.0), recurrent.delta_scan_flops(5, 2, 3, 7)]
    return found | {"flops": flops}


CASES = {f"model: {name}": functools.partial(of_model, name) for name in MODELS}
CASES |= {f"fp8: {name}": functools.partial(of_fp8, name) for name in HYBRIDS}
CASES |= {f"blocks: {name}": functools.partial(blocks_of, name, mtp) for name, mtp in BLOCKS.items()}
CASES |= {f"decode: {name}": functools.partial(of_layout, "decode", how) for name, how in LAYOUTS.items()}
CASES |= {f"prefill: {name}": functools.partial(of_layout, "prefill", how) for name, how in PROMPTS.items()}
CASES |= {f"server: {name}": functools.partial(of_server, how) for name, how in SERVERS.items()}
CASES |= {name: functools.partial(dsjax.sweep, name, **how) for name, how in STUDIES.items()}
CASES["kernels"] = kernels
CASES |= {f"largest rate: {name}": functools.partial(largest_rate, name) for name in ("users", "rates", "pools")}


@pytest.mark.parametrize("name", CASES)
def test_every_variable_is_the_one_that_is_kept(name):
    goldens.check("points", name, CASES[name]())
