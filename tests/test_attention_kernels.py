"""Kernels of attention: hand-computed times, laws, which knots a kernel reads, and what sparse attention runs."""

import numpy as np
import pytest

import dsjax
from dsjax.calibration import attention_forms, kinds
from dsjax.catalog import reader
from dsjax.formulas import attention_kernels, efficiency
from dsjax.formulas.attention_kernels import Core
from dsjax.formulas.operators import attention
from dsjax.serving.kernels import Kernels
from dsjax.serving.operators import OPERATORS

ROWS = reader.load()
CURVES = {name: row for name, row in ROWS["curve"].items() if row["form"] == "kernel"}
CALL = {"latent": 512.0, "picked": 0.0, "rate": 0, "kv_bytes": 2.0, "positions": 1000.0, "sequences": 64.0}
CALL |= {"queries": 16.0, "length": 1000.0, "width": 320.0, "beside": 0.25}
DECODE = {"compute": 0.6, "rows": 250.0, "memory": 0.8, "start_s": 1e-5, "split_s": 4e-6, "split_tokens": 500.0}
PROMPTS = {"compute": 0.6, "rows": 500.0, "memory": 0.8, "start_s": 1e-5, "short": 250.0, "fill": 256_000.0}


def call(**changes):
    return Core(**CALL | changes)


def test_shares_of_decode_by_hand():
    compute, memory, start = attention_kernels.decode(call(), **DECODE, tile=64.0)
    assert compute == pytest.approx(0.6 / 1.25 / 4)  # 1,000 positions and 250 more; 16 queries computed as 64
    assert memory == pytest.approx(0.8 / (1 + 0.25 / 1.25))  # the cache alone grows, 4 bytes of 5
    assert start == pytest.approx(1e-5 + 4e-6 / (1 + 0.5 + 0.5))
    assert attention_kernels.decode(call(queries=64.0), **DECODE, tile=64.0)[0] == pytest.approx(0.6 / 1.25)


def test_shares_of_prompts_by_hand():
    compute, memory, start = attention_kernels.prompts(call(), **PROMPTS, softmax=160.0, tile=32.0)
    # Edges 500 / 1000, cores 256,000 / (64 x 1,000 x 16), exponentials 160 / 320, 16 heads computed as 32.
    assert compute == pytest.approx(0.6 / (1 + 0.5 + 0.25) / 1.5 / 2)
    assert (memory, start) == (pytest.approx(0.8 / 1.25), 1e-5)


def test_times_of_measured_calls_by_hand():
    peaks = {"flops_per_s": 1e15, "hbm_bytes_per_s": 4e12, "result_bytes": 2.0, "kv_bytes": 1.0}
    shape = {"batch": 128.0, "kv_len": 4096.0, "heads": 32.0, "kv_heads": 8.0, "head_dim": 128.0, "queries": 2.0}
    flops, rows = 4 * 128 * 2 * 32 * 4096 * 128, 128 * 2 * 32 * 128
    moved = 2 * (128 * 4096 * 8 * 128 + 2 * rows)
    assert attention_forms.gqa_decode_work(shape, peaks) == pytest.approx((flops / 1e15, moved / 4e12))
    given = {"compute": 0.5, "rows": 0.0, "memory": 0.5, "start_s": 1e-5}
    assert attention_forms.gqa_decode(given, shape, peaks) == pytest.approx(1e-5 + moved / 2e12)
    prompt = {"batch": 2.0, "isl": 1000.0, "heads": 32.0, "kv_heads": 8.0, "head_dim": 128.0}
    work = 4 * 2 * 32 * 1000**2 / 2 * 128 / 1e15, 2 * 2 * 1000 * 40 * 128 * 2 / 4e12
    assert attention_forms.gqa_prefill_work(prompt, peaks) == pytest.approx(work)
    assert attention_forms.gqa_prefill(given, prompt, peaks) == pytest.approx(1e-5 + 2 * work[0])


def test_flashmla_on_h100_as_reported():
    """128 sequences of 4,096 (deepseek-ai/FlashMLA issue 19): heads x queries hardly count up to a tile of 64."""
    row, chip = CURVES["hopper"], ROWS["hardware"]["H100"]
    names = (*kinds.EXTENDED["mla-decode"].parameters, "tile")
    peaks = {"flops_per_s": chip["bf16_flops_per_s"], "hbm_bytes_per_s": chip["hbm_bytes_per_s"]}
    for heads, queries, reported in ((16, 1, 215), (16, 2, 218), (32, 1, 218), (32, 2, 223), (64, 1, 223)):
        shape = kinds.KINDS["mla-decode"].optional | {"batch": 128.0, "kv_len": 4096.0, "heads": float(heads)}
        seconds = attention_forms.mla_decode(
            {name: row[f"attention_{name}"] for name in names},
            shape | {"queries": float(queries)},
            peaks | {"result_bytes": 2.0, "kv_bytes": 2.0},
        )
        assert seconds == pytest.approx(1e-6 * reported, rel=0.05)


@pytest.mark.parametrize("row", sorted(CURVES))
def test_more_sequences_and_positions_never_take_less_time(row):
    """Of every row of the catalog, decode and prefill, latent and grouped, at 16 and 8 bit."""
    for kind, kernels in {
        "mla-decode": ("attention", "attention_cast", "attention8"),
        "gqa-decode": ("gqa", "gqa_cast", "gqa8"),
        "mla-prefill": ("prefill", "prefill8"),
        "gqa-prefill": ("gqa_prefill", "gqa_prefill8"),
    }.items():
        of = kinds.EXTENDED[kind]
        peaks = {"flops_per_s": 1e15, "hbm_bytes_per_s": 4e12, "result_bytes": 2.0, "kv_bytes": 2.0}
        b, s = np.meshgrid([1.0, 2.0, 8.0, 64.0, 128.0, 512.0], [1.0, 64.0, 300.0, 1e3, 1e4, 1e5], indexing="ij")
        shape = of.optional | {"batch": b, "kv_len": s, "isl": s, "heads": 8.0, "kv_heads": 2.0, "head_dim": 128.0}
        for kernel in kernels:
            parameters = {name: CURVES[row].get(f"{kernel}_{name}", 0.0) for name in of.parameters}
            times = of.form(parameters, shape, peaks)
            assert (np.diff(times, axis=1) > 0).all(), (kernel, times)
            # Less to join is hardly more than what more sequences take.
            assert (times[1:] > 0.9 * times[:-1]).all(), (kernel, times)


def curve_of(**changes):
    """A `Kernel` whose knots of attention are all different."""
    knots = {name: x for name, x in CURVES["hopper"].items() if isinstance(x, float | int)}
    names = attention_kernels.AttentionKnots.__dataclass_fields__
    return efficiency.Kernel(**knots | {name: 0.001 * (i + 1) for i, name in enumerate(names)} | changes)


@pytest.mark.parametrize(
    ("changes", "causal", "kernel"),
    [
        ({}, False, "attention"),
        ({"kv_bytes": 1.0}, False, "attention_cast"),
        ({"rate": 1}, False, "attention8"),
        ({"rate": 2, "kv_bytes": 1.0}, False, "attention8"),
        ({"latent": 0.0}, False, "gqa"),
        ({"latent": 0.0, "kv_bytes": 1.0}, False, "gqa_cast"),
        ({"latent": 0.0, "rate": 1}, False, "gqa8"),
        ({"picked": 1.0}, False, "sparse"),
        ({}, True, "prefill"),
        ({"rate": 1}, True, "prefill8"),
        ({"latent": 0.0}, True, "gqa_prefill"),
        ({"latent": 0.0, "rate": 1}, True, "gqa_prefill8"),
        ({"picked": 1.0}, True, "sparse_prefill"),
    ],
)
def test_each_kernel_reads_knots_of_its_own(changes, causal, kernel):
    curve, one = curve_of(), call(**changes)
    names = ("compute", "rows", "memory", "start_s")
    names += ("short", "fill", "softmax", "tile") if causal else ("split_s", "split_tokens", "tile")
    own = {name: getattr(curve, f"{kernel}_{name}") for name in names if hasattr(curve, f"{kernel}_{name}")}
    function = attention_kernels.prompts if causal else attention_kernels.decode
    expected = function(one, **{"rows": 0.0} | own)
    np.testing.assert_allclose(attention_kernels.core(curve, one, causal), expected, rtol=1e-15)


def test_fp8_of_dense_mla_on_hopper_takes_the_time_of_its_cache_and_says_that_it_is_assumed():
    for name in ("hopper", "hopper-sglang", "hopper-tensorrt-llm"):
        row = CURVES[name]
        assert row["attention8_compute"] == pytest.approx(row["attention_cast_compute"] / 2, rel=0.01)
        assert row["sources"]["attention8_compute"]["kind"] == "assumed"
        assert "no public kernel" in row["sources"]["attention8_compute"]["text"]


def test_sources_of_a_row_say_chip_engine_and_errors_of_every_kernel():
    measured = {"hopper": "H100, H200", "blackwell": "B200", "blackwell-ultra": "B300"}
    measured["ampere-tensorrt-llm"] = "A100"
    for name, chips in measured.items():
        row = CURVES[name]
        for knot in ("gqa_memory", "attention_memory", "gqa_prefill_compute"):
            entry = row["sources"][knot]
            assert entry["kind"] == "fitted" and chips in entry["text"] and "points of" in entry["text"], (name, knot)
    assert "SGLang 0.5.14" in CURVES["hopper-sglang"]["sources"]["gqa_memory"]["text"]


# ---- sparse attention in a step


def core(phase, **fixed):
    """(core's seconds a layer, its needed flops, indexer's seconds a layer)."""
    given = {"phase": phase, "model": "DeepSeek-V3.2", "nic": "CX7", "hardware": "H200", "tp": 1, "ep": 8}
    given |= {"precision": "fp8-kv8", "batch": 8} if phase == "decode" else {"precision": "fp8-kv8", "prompts": 8}
    axes = {"context": [float(x) for x in fixed.pop("context")]}
    ds = dsjax.sweep({"axes": axes | {"pipeline": ["naive"]}, "fixed": given | fixed}).squeeze("pipeline")
    return ds.block_time.sel(block="core").values / 61, ds.block_time.sel(block="indexer").values / 61


def test_a_sparse_prefill_is_absorbed_from_the_picks_on():
    """The core: unfolded up to 2,048 tokens; then 2 (512 + 576) flops a pair, all picks of every token."""
    row, chip = CURVES["hopper"], ROWS["hardware"]["H200"]
    context = np.array([2048.0, 2050.0, 32_768.0])
    seconds, _ = core("prefill", context=context)
    for s, found in zip(context[1:], seconds[1:], strict=True):
        flops = 2 * s * 128 * 2048 * 1088  # one prompt a chip
        filled = 1 + row["sparse_prefill_rows"] / 2048 if "sparse_prefill_rows" in row else 1.0
        filled += row["sparse_prefill_fill"] / (s * 128)
        c = flops / (chip["bf16_flops_per_s"] * row["sparse_prefill_compute"]) * filled
        assert found == pytest.approx(c + row["sparse_prefill_start_s"], rel=1e-9)
    assert seconds[1] > 2 * seconds[0]  # 3.4 times the flops of a pair, twice the pairs
    flops = {
        s: int(dsjax.count("DeepSeek-V3.2", phase="prefill", context=s, batch=1)["attention_flops"])
        for s in (2048, 32_768)
    }
    scores = 61 * 64 * 128
    assert flops[2048] == 2048**2 * (61 * 128 * 320 + scores)
    pairs = 2048 * 32_768 - 2048**2 // 2
    assert flops[32_768] == 61 * 2 * pairs * 128 * 1088 + 32_768**2 * scores
    # A token and layer at 32K: 0.553 GFLOP where unfolded would be 0.163.
    assert 2 * pairs * 128 * 1088 / 32_768 == pytest.approx(0.553e9, rel=1e-3)


def test_every_draft_token_gathers_its_own_positions():
    class Sizes:
        kv_lora_rank, index_topk, csa_layers, hca_layers = 512, 2048, None, None

    class Job:
        context, queries, causal = 50_000, 3, False

    assert attention.gathers(Sizes, Job) == 3
    Job.context = 1024
    assert attention.gathers(Sizes, Job) == 3  # by the same kernel
    Sizes.index_topk = 0
    assert attention.gathers(Sizes, Job) == 1  # all there is, once a sequence
    ratio = {}
    for mtp in (0, 1):
        ds = dsjax.sweep(
            {
                "axes": {"batch": [64], "mtp": [mtp], "pipeline": ["naive"]},
                "fixed": {"phase": "decode", "model": "DeepSeek-V3.2", "nic": "CX7", "hardware": "H200", "tp": 1}
                | {"ep": 8, "precision": "fp8-kv8", "context": 50_000.0, "hardware_hbm_bytes_per_s": 1e9},
            }
        )
        ratio[mtp] = ds.block_time.sel(block="core").item()
    assert ratio[1] == pytest.approx(2 * ratio[0], rel=1e-3)  # bound by memory so slow: twice the bytes


def test_the_indexer_has_a_rate_of_its_own_and_falls_back():
    slow = {"context": [131_072.0], "precision_index_rate": 0}
    fp8, bf16 = (core("prefill", **options)[1] for options in ({"context": [131_072.0]}, slow))
    assert 1.8 < (bf16 / fp8).item() < 2.0
    assert ROWS["precision"]["bf16"]["index_rate"] == 1
    none = {"context": [131_072.0], "hardware": "A100", "precision": "bf16"}  # no fp8: at bf16, and not refused for it
    lacking = core("prefill", **none)[1]
    assert np.isfinite(lacking).all() and (lacking > fp8).all()


def test_prefill_and_decode_of_the_table_use_these_kernels():
    shapes = {row.causal: row.shape for row in OPERATORS if row.kernel is Kernels.attention}
    assert shapes == {True: attention.prompt, False: attention.absorbed}


# ---- bad input


@pytest.mark.parametrize(
    ("kind", "header", "words"),
    [
        ("mla-decode", "batch,kv_len,num_heads,num_kv_heads,head_dim,latency_us,dtype", "num_kv_heads grouped queries"),
        ("mla-prefill", "isl,num_heads,head_dim,latency_us,dtype", "head_dim grouped queries mla-prefill"),
        ("gqa-decode", "batch,kv_len,heads,kv_heads,head_dim,kv_lora_rank,latency_us,dtype", "kv_lora_rank latent"),
        ("gqa-prefill", "isl,heads,kv_heads,latency_us,dtype", "head_dim missing"),
        (
            "gqa-decode",
            "batch,kv_len,heads,kv_heads,head_dim,window_size,latency_us,dtype",
            "window_size window_size=0",
        ),
    ],
)
def test_a_table_of_another_kernel_is_refused(kind, header, words, tmp_path):
    path = tmp_path / "table.csv"
    columns = header.split(",")
    lines = [",".join("bf16" if c == "dtype" else str(16 + i) for c in columns) for i in range(9)]
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    with pytest.raises(dsjax.InputError) as error:
        dsjax.calibrate(path, kind, "H800")
    for word in (str(path), *words.split()):
        assert word in str(error.value), str(error.value)


def test_grouped_queries_are_fitted_from_their_tables(tmp_path):
    of, path = kinds.KINDS["gqa-decode"], tmp_path / "gqa.csv"
    peaks = {"flops_per_s": 989e12, "hbm_bytes_per_s": 3350e9, "result_bytes": 2.0, "kv_bytes": 1.0}
    true = {"compute": 0.5, "rows": 80.0, "memory": 0.7, "start_s": 9e-6}
    lines = [
        "batch_size,kv_len,num_heads,num_key_value_heads,head_dim,window_size,latency_us,attn_dtype,kv_cache_dtype"
    ]
    for b in (1.0, 16.0, 128.0):
        for s in (64.0, 512.0, 4096.0, 32768.0):
            for h, k in ((32.0, 8.0), (64.0, 4.0)):
                shape = {"batch": b, "kv_len": s, "heads": h, "kv_heads": k, "head_dim": 128.0, "queries": 1.0}
                lines.append(f"{b},{s},{h},{k},128,0,{1e6 * float(of.form(true, shape, peaks))!r},bfloat16,fp8")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    ds = dsjax.calibrate(path, "gqa-decode", "H100")
    for name in ("rows", "memory", "start_s"):
        assert float(ds["value"].sel(parameter=name)) == pytest.approx(true[name], rel=1e-3), name
    assert "gqa_cast_memory = 0.7" in ds.attrs["row"]  # a cache of 8 bit, computed at 16
