"""Small grids that kept answers are of."""

import functools

import dsjax

CORE = {
    "title": "Golden points",
    "model": "DeepSeek-V3",
    "phase": "decode",
    "axes": {"hardware": ["H800", "L20", "B200"], "tp": [1, 4], "ep": [16, 32], "batch": [16, 64, 256]},
    "fixed": {"nic": "CX7", "precision": "fp8", "context": 4096},
    "constraints": {"min_tps_per_user": 15},
    "objective": {"maximize": "tps_per_chip", "by": ["hardware"]},
}
USERS = {
    "title": "Golden servers",
    "model": "DeepSeek-R1",
    "phase": "serve",
    "axes": {"hardware": ["H20", "H200"], "tp": [8, 1], "concurrency": [1, 16, 64, 1000]},
    "fixed": {"nic": "CX7", "chips": 8, "isl": 4096, "osl": 1024, "engine": "sglang"},
    "constraints": {"max_ttft_p90": 2.0, "max_tpot_p90": 0.045},
    "objective": {"maximize": "tps_per_chip", "by": ["hardware"]},
}
POOLS = {
    "title": "Golden pools",
    "model": "DeepSeek-R1",
    "phase": "disaggregated",
    "axes": {"requests_per_s": [0.5, 4.0, 200.0], "decode_instances": [1, 2]},
    "prefill": {"hardware": ["H20", "H200"], "tp": 8, "chips": 8, "nic": "CX7", "engine": "sglang"},
    "decode": {"hardware": ["B200"], "tp": 8, "chips": 8, "nic": "CX7", "engine": "vllm"},
    "fixed": {"isl": 4096, "osl": 1024, "transfer_nic": "CX7"},
    "constraints": {"max_ttft_p90": 2.0},
}
PREFILL = {
    "title": "Golden prompts",
    "model": "DeepSeek-V3",
    "phase": "prefill",
    "axes": {"hardware": ["H800", "H20"], "tp": [1, 2, 4], "ep": [16], "prompts": [1, 4]},
    "fixed": {"nic": "CX7", "precision": "fp8", "context": 4096},
    "constraints": {"max_ttft": 4.0},
    "objective": {"maximize": "tps_per_chip"},
}
RATES = USERS | {
    "title": "Golden rates",
    "axes": {"batching": ["prefill-first", "chunked"], "requests_per_s": [0.05, 1.0, 3.0]},
    "fixed": USERS["fixed"] | {"hardware": "H200", "tp": 8},
    "objective": {"maximize": "tps_per_chip"},
}
NOTHING = {
    "title": "Golden refusals",
    "study": "sg2260e",
    "axes": {"nic": ["one-layer", "two-layer"], "tp": [1, 2], "batch": [4, 8, 12]},
    "fixed": {"phase": "decode", "chips": 128, "moe_tp": 1},
    "constraints": {"min_tps_per_user": 4000, "max_memory_per_chip": "60 GiB"},
    "objective": {"maximize": "tps_per_chip", "by": ["nic"]},
}
WIDE = CORE | {
    "title": "Golden loads",
    "axes": {"hardware": ["H200", "MI300X"], "batch": [1, 4, 32, 256, 1024], "context": [512, 65536]},
    "fixed": {"nic": "CX7", "precision": "fp8", "tp": 1, "ep": 16},
    "constraints": {},
}
CHIPS = WIDE | {
    "title": "Golden chips",
    "axes": {
        "hardware": ["A100", "H20", "H800", "H100", "H200", "B200", "MI300X", "L20"],
        "batch": [1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256],
    },
    "fixed": WIDE["fixed"] | {"context": 4096},
}
GRIDS = {
    "chips": CHIPS,
    "core": CORE,
    "wide": WIDE,
    "users": USERS,
    "pools": POOLS,
    "prefill": PREFILL,
    "rates": RATES,
    "nothing": NOTHING,
}


@functools.cache
def swept(name):
    return dsjax.sweep(GRIDS[name])
