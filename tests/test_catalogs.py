"""Accelerators, networks, precisions: what their rows say, every model on every accelerator, windows, sparsity."""

import csv
import io
import json

import numpy as np
import pytest
from click.testing import CliRunner

import dsjax
from dsjax import cli
from dsjax.catalog import reader, sources
from dsjax.formulas import efficiency
from dsjax.specs import records

HARDWARE = """A100 H100 H800 H20 H200 L20 L40S B200 GB200 B300 GB300 MI300X MI325X MI355X Ascend-910B Ascend-910C
TPU-v5e TPU-v5p TPU-v6e TPU-v7 SG2260E VR200 GH200 H100-PCIe H100-NVL H200-NVL A800 A10 L4 RTX-4090 RTX-5090
RTX-PRO-6000 RTX-PRO-6000-Server DGX-Spark MI350X MI308X MI455X MI450X Ascend-950PR Ascend-950DT Gaudi3 Trainium2
Trainium3""".split()
# Rates that are not two (8 bit) or four to six (4 bit) times bf16, and why.
OWN_RATES = {
    "B300": "int8 was cut",
    "GB300": "int8 was cut",
    "VR200": "int8 was cut, fp8 and fp4 are wider",
    "TPU-v5p": "fp8 as bf16",
    "Gaudi3": "fp8 as bf16",
    "DGX-Spark": "fp8 as bf16",
    "RTX-4090": "accumulation in FP32 halves all but int8",
    "RTX-5090": "accumulation in FP32 halves all but int8 and fp4",
    "Trainium3": "MXFP8 and MXFP4 alike",
}
ROWS = reader.load()
EVERY = {
    "phase": "decode",
    "axes": {
        "model": list(ROWS["model"]),
        "hardware": list(ROWS["hardware"]),
        "tp": [1, 8],
        "ep": [1, 8, 64],
        "batch": [1, 64],
        "precision": ["bf16", "fp8", "w8a8", "nvfp4", "mxfp4"],
        "mtp": [0, 1],
    },
    "fixed": {"nic": "CX7", "context": 4096},
}


@pytest.fixture(scope="module")
def every():
    return dsjax.sweep(EVERY, blocks=False)


def command(*args, code=0):
    result = CliRunner().invoke(cli.main, list(args))
    assert result.exit_code == code, result.output
    return result.output


# ---- rows


def test_accelerators_are_there_and_their_rows_make_sense():
    assert set(HARDWARE) <= set(ROWS["hardware"])
    for name, row in ROWS["hardware"].items():
        rates = [row[f"{rate}_flops_per_s"] for rate in records.RATES]
        assert 5e13 < rates[0] < 1.1e16, name
        usual = [1.9 < x / rates[0] < 2.1 for x in rates[1:3] if x] + [3.9 < x / rates[0] < 6.3 for x in rates[3:] if x]
        assert all(usual) != (name in OWN_RATES), name
        assert rates[1] == 0 or (rates[0] <= rates[1] and (rates[3] == 0 or rates[1] <= rates[3])), name
        assert 2e11 < row["hbm_bytes_per_s"] < 2.5e13 and 1e10 < row["hbm_bytes"] < 4.5e11, name
        # A box gives its capacity in 1e9 or in 2^30 bytes; what a process has lies between, less a little.
        assert not (sold := row["hbm_advertised_bytes"]) or 0.98 < row["hbm_bytes"] / sold < 1.09, name
        assert row["scale_up_bytes_per_s"] < 0.7 * row["hbm_bytes_per_s"], name
        assert 0 <= row["usd_per_hour"] < 20 and 0 <= row["watts"] < 2000, name
        assert row["vendor"], name
        assert row["scale_up_peer_bytes_per_s"] * 7 <= 1.01 * row["scale_up_bytes_per_s"] or row["scale_up_torus"], name


# Row: dense PFLOP/s in bf16, fp8, fp4, memory in TB/s and GB as sold, scale-up in GB/s one way and its chips.
SHEETS = {
    "VR200": (4, 17.5, 35, 22, 288, 1800, 72),
    "MI350X": (2.3, 4.6, 9.2, 8, 288, 538, 8),
    "MI308X": (0.2949, 0.5898, 0, 5.3, 192, 448, 8),
    "MI455X": (10, 20, 40, 23.3, 432, 1800, 72),
    "Trainium2": (0.667, 1.299, 0, 2.9, 96 * 1.073741824, 640, 64),
    "Trainium3": (0.671, 2.517, 2.517, 4.9, 144 * 1.073741824, 1280, 144),
    "Gaudi3": (1.835, 1.835, 0, 3.67, 128, 525, 8),
    "Ascend-950DT": (0.5, 1, 2, 4, 144, 1000, 8192),
    "H100-PCIe": (0.756, 1.513, 0, 2, 80, 300, 2),
    "H200-NVL": (0.8355, 1.6705, 0, 4.8, 141, 450, 4),
    "L4": (0.121, 0.2425, 0, 0.3, 24, 32, 8),
    "RTX-5090": (0.2095, 0.419, 1.676, 1.792, 32, 64, 8),
}


@pytest.mark.parametrize("name", SHEETS)
def test_rows_are_those_of_the_data_sheets(name):
    row = ROWS["hardware"][name]
    names = ("bf16_flops_per_s", "fp8_flops_per_s", "fp4_flops_per_s", "hbm_bytes_per_s", "hbm_advertised_bytes")
    names += ("scale_up_bytes_per_s", "scale_up_domain")
    scales = (1e15, 1e15, 1e15, 1e12, 1e9, 1e9, 1.0)
    np.testing.assert_allclose([row[n] / s for n, s in zip(names, scales, strict=True)], SHEETS[name], rtol=1e-9)


def test_rows_that_were_wrong_once_are_right():
    """Figures against their data sheets, and what nobody measured is said to be assumed."""
    rows = ROWS["hardware"]
    assert rows["H20"]["watts"] == 500 and rows["TPU-v5p"]["fp8_flops_per_s"] == 459e12
    assert rows["B300"]["fp4_flops_per_s"] == 108e15 / 8
    ultra, older = ROWS["curve"]["blackwell-ultra"], ROWS["curve"]["blackwell"]
    assert ultra["prefill8_compute"] > 1.4 * older["prefill8_compute"]  # twice the exponentials a clock
    for name in ("EFA-400", "EFA-Trn2", "Slingshot-11"):
        for field in ("exchange_utilisation", "scale_out_utilisation", "exchange_start_s"):
            entry = sources.of_field(ROWS["nic"][name], field)
            assert entry["kind"] == "assumed" and "optimistic" in entry["text"], (name, field)


def test_chips_that_nobody_measured_say_so():
    """Kernels of chips that are in no list of a curve are assumed; one with the rates of its base is that chip."""
    new = dict.fromkeys(
        ("VR200", "RTX-5090", "RTX-4090", "A10", "MI455X", "Gaudi3", "Trainium2", "Ascend-950DT"), "assumed"
    )
    new |= dict.fromkeys(("GH200", "H100-PCIe", "H200-NVL", "L4"), "sibling") | {"A800": "fitted"}
    ds = dsjax.sweep(
        {
            "axes": {"hardware": list(new)},
            "fixed": {
                "phase": "decode",
                "ep": 64,
                "precision": "bf16",
                "batch": 1,
                "nic": "CX7",
                "tp": 1,
                "context": 1024,
            },
        }
    )
    assert dict(zip(ds.hardware.values.tolist(), ds.curve_basis.values.tolist())) == new


def test_what_nobody_verified_is_shown():
    doubted = {name: sources.of_kind(row, "unverified") for name, row in ROWS["hardware"].items()}
    doubted = {name: fields for name, fields in doubted.items() if fields}
    assert {"watts"} == set(doubted["H800"])
    assert "bf16_flops_per_s" not in doubted["Ascend-910B"] and len(doubted["Ascend-910B"]) == 6
    assert not doubted.keys() & {"H100", "H200", "H20", "A100", "SG2260E"}  # those with a base do not take its doubts
    lines = command("catalog", "hardware", "--sources").split("\n\n")
    of_910b = next(text for text in lines if text.startswith("Ascend-910B"))
    assert of_910b.count("unverified") == 6
    assert all(text in of_910b for text in ("fp4_flops_per_s, ", "usd_per_hour (no price)", "watts (310 to 400 W)"))
    rows = list(csv.DictReader(io.StringIO(command("catalog", "hardware", "--format", "csv"))))
    told = {row["row"]: row["unverified"].split() for row in rows if row["of"] == "dsjax" and row["unverified"]}
    assert told == doubted
    whole = json.loads(command("catalog", "models", "--format", "json"))
    assert next(row["quantisation"] for row in whole if row["row"] == "Kimi-K2") == "fp8, 8 bit"


def test_a_base_lends_features_and_doubts_but_neither_price_nor_power(tmp_path):
    text = """
        [hardware.Mine]
        base = "MI355X"
        source = "own"
        bf16_flops_per_s = 2e15
        [model.Sparse]
        base = "DeepSeek-V3.2"
        source = "own"
        num_hidden_layers = 30
    """
    (tmp_path / "own.toml").write_text(text)
    rows = reader.load(records.RECORDS, *reader.users([tmp_path / "own.toml"]))
    mine, sparse = rows["hardware"]["Mine"], rows["model"]["Sparse"]
    assert (mine["fp4_flops_per_s"], mine["watts"], mine["bf16_flops_per_s"]) == (10.066e15, 0, 2e15)
    doubted = set(sources.of_kind(rows["hardware"]["MI355X"], "unverified"))
    assert set(sources.of_kind(mine, "unverified")) == doubted - {"bf16_flops_per_s"} != set()
    assert (sparse["index_topk"], sparse["num_hidden_layers"]) == (2048, 30)


# ---- every model on every accelerator


def test_no_number_is_missing(every):
    assert set(every.dims) == set(EVERY["axes"])
    rows = every.hardware.values.tolist()
    for name, variable in every.data_vars.items():
        missing = np.isnan(variable) if variable.dtype.kind == "f" else np.zeros(1, bool)
        known = {"cost_per_million_tokens": "usd_per_hour", "energy_per_token": "watts"}.get(name)
        if known:
            for chip in rows:
                assert missing.sel(hardware=chip).all() == (ROWS["hardware"][chip][known] == 0), (name, chip)
        else:
            assert missing.all() if name == "ttft" else not missing.any(), name


def test_every_chip_serves_the_default_model():
    """Of each phase there is a feasible layout on every chip, and every number is finite."""
    for phase, load in (("decode", {"batch": [1, 8]}), ("prefill", {"prompts": [64, 1024]})):
        axes = {"hardware": list(ROWS["hardware"]), "ep": [64, 256], "precision": ["fp8", "w8a8", "bf16"], **load}
        axes |= {"tp": [1, 8]}
        fixed = {"phase": phase, "nic": "CX7", "context": 1024}
        ds = dsjax.sweep({"axes": axes, "fixed": fixed}, blocks=False)
        rest = [dim for dim in ds.dims if dim != "hardware"]
        fits = ds.feasible.any(rest)
        assert fits.all(), (phase, ds.hardware.values[~fits.values].tolist())
        for name in ("step_time", "tps_per_chip", "memory_per_chip", "mfu", "mbu", "exposed_network"):
            assert np.isfinite(ds[name]).all() and (ds[name] >= 0).all(), (phase, name)


def test_masks_say_what_a_row_lacks(every):
    for precision, needed in {"nvfp4": "fp4", "fp8": "fp8", "w8a8": "int8"}.items():
        ok = every.ok_precision.sel(precision=precision)
        for chip in every.hardware.values.tolist():
            assert ok.sel(hardware=chip).all() == (ROWS["hardware"][chip][f"{needed}_flops_per_s"] > 0), chip
    for name in every.model.values.tolist():
        assert every.ok_mtp.sel(model=name, mtp=0).all()
        assert every.ok_mtp.sel(model=name, mtp=1).all() == (ROWS["model"][name]["num_nextn_predict_layers"] > 0)
    fits = (every.ok_memory & every.feasible).any(("hardware", "tp", "ep", "batch", "precision", "mtp"))
    assert fits.all()  # somewhere
    assert not every.ok_memory.sel(model="Kimi-K2", ep=8, tp=1, precision="bf16", hardware="H100").any()


def test_best_points_are_plausible(every):
    chip, best = ROWS["hardware"]["H200"], {}
    for name in every.model.values.tolist():
        one = every.sel(model=name, hardware="H200", mtp=0)
        rate = one.tps_per_chip.where(one.feasible)
        best[name] = float(rate.max())
        active = int(dsjax.count(name)["active_parameters_without_embedding"])
        assert best[name] < chip["fp8_flops_per_s"] / (2 * active), name
        assert best[name] > 0.001 * chip["fp8_flops_per_s"] / (2 * active), name  # a small one reads its cache
        assert (one.mfu < 1).all() and (one.mbu < 1).all(), name
    assert best["Qwen3-30B-A3B"] > best["Qwen3-235B-A22B"] and best["Llama-3.1-70B"] > best["Llama-3.1-405B"]
    assert best["DeepSeek-V3"] == best["DeepSeek-R1"]  # the same shapes
    assert 1000 < best["DeepSeek-V3"] < 3000
    chips = every.tps_per_chip.where(every.feasible).max(("tp", "ep", "batch", "precision", "mtp"))
    assert (chips.sel(hardware="B200") > chips.sel(hardware="H200")).all()


# ---- windows and sparsity in the core model


@pytest.fixture(scope="module")
def windows():
    """GQA with 0, half or all layers windowed, and sparse MLA with a few tokens picked, or more than there are."""
    axes = {
        "model": ["gpt-oss-120b", "DeepSeek-V3", "DeepSeek-V3.2"],
        "model_sliding_layers": [0.0, 18.0, 36.0],
        "model_index_topk": [0.0, 2048.0, 1e9],
        "context": [1000.0, 20_000.0],
    }
    fixed = {"phase": "decode", "nic": "CX7", "hardware": "H200", "precision": "fp8", "tp": 1, "ep": 8, "batch": 8}
    fixed |= {"model_sliding_window": 4000.0}
    return dsjax.sweep({"axes": axes, "fixed": fixed})


def test_a_window_saves_only_beyond_itself(windows):
    ds = windows.sel(model="gpt-oss-120b", model_index_topk=0.0)
    for name in ("step_time", "memory_per_chip"):
        short, long = (ds[name].sel(context=c).values for c in (1000.0, 20_000.0))
        np.testing.assert_allclose(short, short[0], rtol=1e-14)
        np.testing.assert_allclose(long[1], (long[0] + long[2]) / 2, rtol=1e-12)  # layers follow each other
        assert long[2] < long[0], name
    cache = 2 * 8 * 64 * 2 * 8 * (20_000 - 4000)  # bytes of the positions beyond the window, one layer
    saved = ds.memory_per_chip.sel(context=20_000.0).values
    assert saved[0] - saved[2] == pytest.approx(36 * cache, rel=1e-9)


def test_sparse_attention_costs_its_indexer_and_saves_the_core(windows):
    ds = windows.sel(model_sliding_layers=0.0)
    plain, sparse = (ds.sel(model=name) for name in ("DeepSeek-V3", "DeepSeek-V3.2"))
    core, indexer = (sparse.block_time.sel(block=name) for name in ("core", "indexer"))
    for context in (1000.0, 20_000.0):  # nothing is picked, or all there is
        at = {"context": context, "model_index_topk": [0.0, 1e9]}
        np.testing.assert_allclose(core.sel(at), plain.block_time.sel(block="core", **at), rtol=1e-14)
    assert (plain.block_time.sel(block="indexer") == 0).all() and (indexer > 0).all()
    picked, whole = (core.sel(context=20_000.0, model_index_topk=k).item() for k in (2048.0, 1e9))
    assert picked < 0.5 * whole
    times = sparse.step_time.sel(context=20_000.0).values
    assert times[1] < times[2]  # in the whole step
    keys = 61 * 8 * 20_000 * (128 + 4)
    weights = 61 * (1536 * 64 * 128 + 7168 * (128 + 64) + 2 * 128)  # fp8: a byte each; the key's norm has a bias
    more = sparse.memory_per_chip - plain.memory_per_chip
    assert more.sel(context=20_000.0, model_index_topk=2048.0).item() == pytest.approx(keys + weights, rel=1e-12)


@pytest.mark.parametrize("model", ["gpt-oss-120b", "DeepSeek-V3.2"])
def test_gradients_are_finite_and_time_is_homogeneous(model):
    fixed = EVERY["fixed"] | {"hardware": "H200", "model": model, "precision": "fp8", "phase": "decode", "tp": 1}
    fixed |= {"hardware_exchange_start_s": 0.0, "hardware_combine_start_s": 0.0}
    rates = ["hardware.hbm_bytes_per_s", "hardware.fp8_flops_per_s", "hardware.bf16_flops_per_s"]
    rates += ["hardware.scale_up_bytes_per_s", "nic.scale_out_bytes_per_s"]
    knots = efficiency.Kernel.__dataclass_fields__
    starts = [f"curve.{knot}" for knot in knots if knot.endswith("_s")]
    grid = {"axes": {"ep": [8], "batch": [16, 32]}, "fixed": fixed | {"context": 10_000}}
    ds = dsjax.sensitivity(grid, of="step_time", wrt=[*rates, *starts, "context"], at={"ep": 8, "batch": 16})
    slopes = dict(zip(ds.parameter.values.tolist(), ds.elasticity.values.tolist()))
    assert np.isfinite(list(slopes.values())).all()
    assert sum(slopes[name] for name in rates) - sum(slopes[name] for name in starts) == pytest.approx(-1.0, abs=1e-9)
    assert 0.0 < slopes["workload.context"] < 0.5
