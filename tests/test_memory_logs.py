"""Memory of one chip against what engines log: weights, and tokens of cache that fit. GiB as they print them."""

import json

import pytest

import dsjax
from dsjax.catalog import reader

GIB = 2.0**30
H100_4 = {"hardware": "H100", "tp": 4, "moe_tp": 4, "chips": 4}
H200_8 = {"hardware": "H200", "tp": 8, "moe_tp": 8, "chips": 8}


def memory_of(model, precision, *, hardware, engine="generic", memory_reserve=0.1, context=8192, settings=(), **layout):
    """({part: GiB} without the cache, tokens of cache that fit in what is left) of one user."""
    fixed = {"model": model, "precision": precision, "hardware": hardware, "engine": engine, "context": context}
    fixed |= {"memory_reserve": memory_reserve, "nic": "CX7", "mtp": 0, "pipeline": "naive", "phase": "decode"}
    grid = {"axes": {"concurrency": [1]}, "fixed": fixed | layout}
    ds = dsjax.explain(grid, {"concurrency": 1}, settings=dict(settings))
    parts = dict(zip(ds.part.values.tolist(), (ds.memory_part / GIB).values.tolist(), strict=True))
    token = parts.pop("kv_cache") / context
    room = float(ds.memory_capacity) / GIB * (1.0 - memory_reserve)
    return parts, (room - sum(parts.values())) / token


def weights(parts):
    return sum(parts[name] for name in ("attention", "dense", "experts", "embedding"))


# (model, precision, deployment, GiB of weights, tokens of cache), each as logged or None; its source.
LOGS = [
    # llm-d-benchmark issue 345: Llama-3.3-70B FP8, one H200, vLLM at 0.9; 67.72 GiB, 53.20 for the cache.
    ("Llama-3.1-70B", "fp8", {"hardware": "H200", "tp": 1, "chips": 1, "engine": "vllm"}, 67.72, 174_336),
    # vLLM issue 21348: Qwen3-235B-A22B-FP8, 4 H100, TP4, vLLM; 8.11 GiB for the cache.
    ("Qwen3-235B-A22B", "fp8", H100_4 | {"engine": "vllm"}, None, 178_880),
    # The same issue: SGLang at 0.93; twice 8.23 GiB.
    ("Qwen3-235B-A22B", "fp8", H100_4 | {"engine": "sglang", "memory_reserve": 0.07}, None, 367_404),
    # vLLM issue 6746: Llama-3.1-405B-Instruct-FP8, 8 H100, TP8; the FFNs of two layers are bf16 (AutoFP8 issue 37).
    ("Llama-3.1-405B", "fp8-ffn", {"hardware": "H100", "tp": 8, "chips": 8, "engine": "vllm"}, 57.752, None),
    # vLLM issues 33155 (Triton) and 23278 (Marlin): gpt-oss-120b on one H100, sizes of experts filled.
    ("gpt-oss-120b", "mxfp4", {"hardware": "H100", "tp": 1, "chips": 1, "engine": "vllm"}, 64.38, None),
    ("gpt-oss-120b", "mxfp4", {"hardware": "H100", "tp": 1, "chips": 1, "engine": "vllm"}, 65.97, None),
    # SGLang log of 2025-08: DeepSeek-R1 FP4, 4 B200, TP4.
    ("DeepSeek-R1", "nvfp4-kv8", H100_4 | {"hardware": "B200", "engine": "sglang"}, 94.50, None),
    # TensorRT-LLM log of 2026-01: DeepSeek-R1, 8 H200, TP8; 41.11 GiB of 35,136 B a token, 0.85 of what was free.
    (
        "DeepSeek-R1",
        "fp8-mla8",
        H200_8 | {"engine": "tensorrt-llm", "memory_reserve": 0.15 * (139.81 - 91.46) / 139.81},
        None,
        41.11 * GIB / 35_136,
    ),
    # By arithmetic, no log: V3 on 8 H20 of 95 GiB, 0.9 of it less 84.8 GB of weights and 0.6 of head, router and kv_b
    # in 16 bit, nothing for the engine.
    (
        "DeepSeek-V3",
        "fp8",
        H200_8 | {"hardware": "H20", "settings": {"engine.generic.memory_bytes": 0}},
        84.8e9 / GIB,
        102_000 * 6.6 / 7.2,
    ),
]


@pytest.mark.parametrize(("model", "precision", "deployment", "gib", "tokens"), LOGS)
def test_memory_is_what_engines_log(model, precision, deployment, gib, tokens):
    parts, fit = memory_of(model, precision, **deployment)
    if gib is not None:
        assert weights(parts) == pytest.approx(gib, rel=0.045)
    if tokens is not None:
        assert fit == pytest.approx(tokens, rel=0.08)


def test_one_h100_holds_gpt_oss_only_beyond_the_default():
    """VLLM issue 27508: -2.14 GiB are left for its cache at the default, 1.71 at 0.95."""
    deployment = {"hardware": "H100", "tp": 1, "chips": 1, "engine": "vllm"}
    assert memory_of("gpt-oss-120b", "mxfp4", **deployment)[1] < 0.0
    assert memory_of("gpt-oss-120b", "mxfp4", memory_reserve=0.05, **deployment)[1] > 0.0


def test_the_config_of_llama_405b_fp8_has_what_is_logged(tmp_path):
    """Attention of all layers and the FFNs of the first and the last are in bf16: 57.752 GiB on each of 8 cards."""
    kept = [f"model.layers.{i}.self_attn.{name}_proj" for i in range(126) for name in "qkvo"]
    kept += [f"model.layers.{i}.mlp.{name}_proj" for i in (0, 125) for name in ("gate", "up", "down")]
    config = json.loads((reader.DATA / "models" / "Llama-3.1-405B.json").read_text())
    config["quantization_config"] = {"quant_method": "fbgemm_fp8", "modules_to_not_convert": [*kept, "lm_head"]}
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config), encoding="utf-8")
    ds = dsjax.count(str(path))
    assert ds["precision"] == "fp8-ffn"
    assert float(ds["checkpoint_bytes"]) / 8 / GIB == pytest.approx(57.752, rel=0.02)


# ---- layouts of the cache


@pytest.mark.parametrize(
    ("model", "precision", "engine", "n_bytes"),
    [
        # vLLM 0.33.0, flashmla_sparse.py and deepseek_v2.py: 656 B a layer, and a key of 132 B.
        ("DeepSeek-V3.2", "fp8-kv8", "vllm", 656 + 132),
        ("DeepSeek-V3.2", "fp8-kv8", "sglang", 656 + 132),
        ("DeepSeek-V3.2", "fp8-kv8", "tensorrt-llm", 576 + 132),  # NVIDIA's tech blog 15
        ("DeepSeek-V3.2", "fp8", "vllm", 1152 + 132),
        ("DeepSeek-V3", "fp8-kv8", "vllm", 576),  # dense: one scale for all
        ("DeepSeek-V3", "fp8", "sglang", 1152),
        ("Qwen3-235B-A22B", "fp8-kv8", "vllm", 2 * 4 * 128),
    ],
)
def test_cache_of_a_token_and_layer(model, precision, engine, n_bytes):
    rows = reader.load()
    layers = rows["model"][model]["num_hidden_layers"]
    fixed = {"model": model, "precision": precision, "engine": engine, "hardware": "B200", "nic": "CX7", "mtp": 0}
    grid = {"axes": {"context": [10_000, 30_000]}, "fixed": fixed | {"tp": 1, "ep": 8, "batch": 4, "pipeline": "naive"}}
    held = dsjax.sweep(grid)["memory_per_chip"].values
    core = 4.0 * (30_000 - 10_000) * layers * n_bytes
    assert held[1] - held[0] == pytest.approx(core, rel=1e-4)  # the core's operands grow with nothing
    if engine == "vllm":
        counted = dsjax.count(model, precision=precision, context=1000)  # of the generic engine, whose layout it is
        assert counted["kv_cache_bytes"] == 1000 * layers * n_bytes


def test_buffers_of_an_exchange_and_its_ceiling():
    """DeepEP: 1.9 GB of low-latency buffers for 128 tokens of a rank and 256 experts, none beyond 1,024 tokens."""
    fixed = {"hardware": "H200", "nic": "CX7", "precision": "fp8", "context": 128, "mtp": 0, "ep": 32, "tp": 1}
    given = {"axes": {"batch": [128, 1024, 1025]}, "fixed": fixed | {"dispatch_mode": "low-latency"}}
    ds = dsjax.sweep(given)
    assert ds["ok_exchange"].values.tolist() == [True, True, False]
    parts = dsjax.explain(given, {"batch": 128})
    assert float(parts.memory_part.sel(part="exchange")) == pytest.approx(4 * 256 * 128 * 14_560, rel=1e-12)


def test_experts_are_filled_up_to_their_tile():
    def experts(tile, moe_tp=1):
        fixed = {"hardware": "B200", "nic": "CX7", "precision": "mxfp4", "model": "gpt-oss-120b", "mtp": 0}
        fixed |= {"precision_expert_tile": tile, "tp": moe_tp, "moe_tp": moe_tp, "chips": moe_tp, "context": 1024}
        ds = dsjax.explain({"axes": {"batch": [8]}, "fixed": fixed}, {"batch": 8})
        routed = float(ds.block_time.sel(block="routed"))
        return float(ds.memory_part.sel(part="experts")), routed

    router = 36 * 2880 * 128 * 2 + 36 * 128 * 2
    plain, filled, whole = (experts(tile) for tile in (0, 128, 2880))
    biases = 36 * 128 * (2 * 2880 + 2880) * 0.53125
    assert plain == whole and filled[1] > plain[1]
    ratio = (filled[0] - router - biases) / (plain[0] - router - biases)
    assert ratio == pytest.approx((2944 / 2880) ** 2, rel=1e-9)
    split, split_filled = experts(0, 8), experts(128, 8)  # 360 columns of a chip, 384 with the tile
    each = (split_filled[0] - router - biases / 8) / (split[0] - router - biases / 8)
    assert each == pytest.approx(2944 / 2880 * 384 / 360, rel=1e-9)
