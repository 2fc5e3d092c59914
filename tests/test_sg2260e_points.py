"""The SG2260E deployment study point by point: an independent oracle, impossible points, laws, gradients."""

import numpy as np
import oracle_sg2260e as oracle
import pytest

import dsjax
from dsjax import evaluation
from dsjax.formulas.point import evaluate_point
from dsjax.space import grid
from dsjax.specs import fields
from dsjax.studies import sg2260e

STUDY = "sg2260e"
CHIP, NICS, ROW = "hardware.SG2260E", ("one-layer", "two-layer"), "precision.w8a16"
BLOCKS = ("Embedding", "MM_QKV", "MLA", "Attention_FC", "Dense_MLP", "MoE", "LM_Head")
DECODE = {"nic": list(NICS), "chips": [48, 64, 128, 256], "tp": [1, 2, 4, 8, 16, 32, 128], "moe_tp": [1, 2, 8]}
PREFILL = {"nic": list(NICS), "chips": [16, 32, 48], "tp": [1, 4, 8, 16], "sp": [1, 2, 4, 8], "moe_tp": [1, 4]}


def perturbed(rng):
    """(settings of the catalog, arguments of the oracle): every constant of the chip, the networks and the formats."""
    x = {name: float(rng.uniform(0.5, 2.0)) for name in ("dram", "rate", "up", "start", "out1", "out2", "kv", "count")}
    shares = {name: float(rng.uniform(0.3, 1.0)) for name in ("hbm", "op", "link", "decode", "prefill")}
    overlap, passes, reduces = float(rng.uniform()), float(rng.integers(0, 5)), [int(n) for n in rng.integers(0, 5, 2)]
    sizes = {name: float(rng.integers(1, 5)) for name in ("weight", "activation", "kv", "dispatch", "combine")}
    settings = {
        f"{CHIP}.hbm_bytes_per_s": 273e9 * x["dram"],
        f"{CHIP}.hbm_utilisation": shares["hbm"],
        f"{CHIP}.operator_hbm_utilisation": shares["op"],
        f"{CHIP}.bf16_flops_per_s": 64e12 * x["rate"],
        f"{CHIP}.int8_flops_per_s": 1e14 * x["count"],
        f"{CHIP}.decode_matmul_utilisation": shares["decode"],
        f"{CHIP}.prefill_matmul_utilisation": shares["prefill"],
        f"{CHIP}.scale_up_bytes_per_s": 64e9 * x["up"],
        f"{CHIP}.scale_up_utilisation": shares["link"],
        f"{CHIP}.scale_up_step_s": 1e-6 * x["start"],
        f"{CHIP}.roofline_overlap": overlap,
        f"{CHIP}.embedding_passes": passes,
        f"{CHIP}.kv_read_bytes": x["kv"],
        f"{CHIP}.decode_all_reduces": reduces[0],
        f"{CHIP}.prefill_all_reduces": reduces[1],
        f"{CHIP}.counted_parameters": 3e10 * x["count"],
        f"{ROW}.expert_bytes": sizes["weight"],
        **{f"{ROW}.{name}_bytes": size for name, size in sizes.items()},
    }
    out = {"one-layer": 64e9 * x["out1"], "two-layer": 16e9 * x["out2"]}
    for nic in NICS:
        settings |= {
            f"nic.{nic}.scale_out_bytes_per_s": out[nic],
            f"nic.{nic}.scale_out_utilisation": shares["link"],
            f"nic.{nic}.scale_out_step_s": 1e-6 * x["start"],
        }

    def inputs(phase, nic):
        return {
            "phase": phase,
            "inter_bytes_per_s": out[nic],
            "intra_bytes_per_s": 64e9 * x["up"],
            "peak_flops_per_s": 1e14 * x["count"],
            "matmul_flops_per_s": 64e12 * x["rate"] * shares[phase],
            "dram_bytes_per_s": 273e9 * x["dram"],
            "dram_utilisation": shares["hbm"],
            "dram_factor": shares["op"],
            "overlap": overlap,
            "network_utilisation": shares["link"],
            "message_start_s": 1e-6 * x["start"],
            "weight_bytes": sizes["weight"],
            "activation_in_bytes": sizes["activation"],
            "activation_out_bytes": sizes["activation"],
            "embedding_passes": passes,
            "kv_read_bytes_per_token": x["kv"] * 576,
            "kv_cache_bytes_per_element": sizes["kv"],
            "dispatch_bytes": sizes["dispatch"],
            "combine_bytes": sizes["combine"],
            "all_reduces_per_layer": reduces[phase == "prefill"],
            "active_parameters": 3e10 * x["count"],
        }

    return settings, inputs


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("phase", ["decode", "prefill"])
def test_random_points_agree_with_the_oracle(phase, seed):
    """Off the published values: perturbed constants, any batch and context; what the oracle refuses is masked."""
    rng = np.random.default_rng(seed)
    settings, inputs = perturbed(rng)
    load = "batch" if phase == "decode" else "prompts"
    loads = sorted({8, 16, *(int(n) for n in rng.choice(np.arange(17, 60), 4, replace=False))})
    axes = (DECODE if phase == "decode" else PREFILL) | {load: loads, "pipeline": ["naive", "tbo"]}
    fixed = {"phase": phase, "context": float(rng.integers(1, 20_000))}
    ds = dsjax.sweep({"study": STUDY, "axes": axes, "fixed": fixed}, settings=settings)
    names = list(axes)
    variables = ("step_time", "tps_per_chip", "tps_total", "mfu", "memory_per_chip")
    defined = "tps_per_user" if phase == "decode" else "ttft"
    full = {n: ds[n].broadcast_like(ds.step_time).transpose(*names).values for n in (*variables, defined)}
    ok = {n: ds[n].broadcast_like(ds.step_time).transpose(*names).values for n in ds.data_vars if n.startswith("ok_")}
    possible = np.all([v for n, v in ok.items() if n not in ("ok_memory", "ok_even_batch")], axis=0)
    blocks = (ds.block_time / ds.layers).transpose("block", *names)
    compared = 0
    for index in np.ndindex(possible.shape):
        point = {name: values[i] for (name, values), i in zip(axes.items(), index)}
        layout = {n: point[n] for n in ("chips", "tp", "moe_tp")} | {"sp": point.get("sp", 1)}
        given = inputs(phase, point["nic"]) | layout | {"batch": point[load], "context": int(fixed["context"])}
        try:
            expected = oracle.evaluate(**given, ep=point["chips"] // point["moe_tp"])
        except ValueError:
            assert not possible[index], point
            continue
        assert possible[index], point
        compared += 1
        assert ok["ok_even_batch"][index] == (point["pipeline"] == "naive" or np.isfinite(expected["tbo_step_time"]))
        if point["pipeline"] == "naive":
            for name, values in full.items():
                wanted = expected["step_time" if name == "ttft" else name]
                np.testing.assert_allclose(values[index], wanted, rtol=1e-12, err_msg=f"{name} at {point}")
            times = blocks[(slice(None), *index)].values
            wanted = [expected[name.lower()] for name in BLOCKS]
            wanted.append(expected["all_reduce"] * expected["all_reduce_count"])
            np.testing.assert_allclose(times, wanted, rtol=1e-12, err_msg=str(point))
        elif ok["ok_even_batch"][index]:
            np.testing.assert_allclose(full["step_time"][index], expected["tbo_step_time"], rtol=1e-12)
    assert compared >= (1000 if phase == "decode" else 200)


@pytest.mark.parametrize(
    ("changed", "refused"),
    [
        ({}, set()),
        ({"tp": 3, "chips": 192, "ep": 64, "moe_tp": 3}, {"ok_tp"}),
        ({"tp": 64, "chips": 96, "ep": 32, "moe_tp": 3}, {"ok_chips"}),
        ({"ep": 64}, {"ok_chips"}),
        ({"chips": 512, "ep": 512}, {"ok_ep"}),
        ({"chips": 120, "ep": 120}, {"ok_ep"}),
        ({"sp": 2}, {"ok_sp"}),
        ({"sp": 8}, {"ok_sp"}),
        ({"sp": 4}, set()),
        ({"batch": 11}, set()),
        ({"batch": 11, "pipeline": "tbo"}, {"ok_even_batch"}),
        ({"phase": "prefill", "prompts": 33}, {"ok_prompts"}),
        ({"phase": "prefill", "prompts": 32, "pipeline": "tbo"}, {"ok_even_batch"}),
        ({"phase": "prefill", "prompts": 64, "sp": 4, "pipeline": "tbo"}, set()),
        ({"precision": "kv1-w1"}, {"ok_precision"}),
    ],
    ids=str,
)
def test_impossible_points_are_finite_and_say_why(changed, refused):
    fixed = {"phase": "decode", "tp": 4, "moe_tp": 1, "ep": 128, "sp": 1, "prompts": 32} | changed
    given = {"chips": [fixed.pop("chips", 128)], "batch": [fixed.pop("batch", 10)]}
    grid_ = {"study": STUDY, "axes": {"nic": ["one-layer"], **given}, "fixed": fixed}
    ds = dsjax.sweep(grid_, blocks=False)
    assert {n for n in ds.data_vars if n.startswith("ok_") and n != "ok_memory" and not ds[n].all()} == refused
    assert np.isfinite(ds.step_time).all() and np.isfinite(ds.memory_per_chip).all()


SMALL = {
    "study": STUDY,
    "axes": {
        "phase": ["decode", "prefill"],
        "pipeline": ["naive", "tbo"],
        "nic": list(NICS),
        "tp": [1, 3, 4, 8, 16],
        "sp": [1, 4],
        "moe_tp": [1, 4],
        "ep": [16, 96, 128, 512],
    },
    "fixed": {"batch": 9, "prompts": 8},
}


@pytest.fixture(scope="module")
def small():
    """Both phases and pipelines, possible and impossible."""
    return dsjax.sweep(SMALL)


@pytest.mark.parametrize("factor", [0.5, 3.0])
def test_time_is_homogeneous(small, factor):
    settings = {}
    for record, rows in grid.load(SMALL).rows.items():
        for row, numbers in rows.items():
            for field, number in numbers.items():
                if field.endswith("_per_s"):
                    settings[f"{record}.{row}.{field}"] = number * factor
                elif field.endswith("_s"):
                    settings[f"{record}.{row}.{field}"] = number / factor
    scaled = dsjax.sweep(SMALL, settings=settings)
    np.testing.assert_allclose(scaled.step_time * factor, small.step_time, rtol=1e-13)
    np.testing.assert_allclose(scaled.mfu, small.mfu, rtol=1e-13)


def test_float32_rounds_up_the_same_rows(small):
    fixed = {"phase": "prefill", "pipeline": "tbo"}
    single = dsjax.sweep(SMALL, fixed=fixed, dtype="float32")
    for name in ("step_time", "memory_per_chip", "mfu", "busy_compute"):
        np.testing.assert_allclose(single[name], small.sel(fixed)[name], rtol=3e-6)


CONTINUOUS = [
    (record, field)
    for record, cls in {"hardware": sg2260e.Hardware, "nic": sg2260e.Nic}.items()
    for field, meta in fields.fields_of(cls).items()
    if not meta["integer"] and field not in ("fp8_flops_per_s", "hbm_bytes")
]


def elasticities(step, point, bounds, **policies):
    """d ln step time / d ln x of every constant of the chip and the network."""

    time = evaluate_point(step, point, bounds, **policies)["step_time"]
    numbers = {name: getattr(getattr(point, name[0]), name[1]) for name in CONTINUOUS}
    moved = evaluation.substituted({"time": time}, {x: x * evaluation.along(1.0, name) for name, x in numbers.items()})
    return {".".join(name): evaluation.tangent(moved["time"], name) / time for name in CONTINUOUS}


def test_gradients_are_finite_and_sum_to_minus_one():
    space = grid.load(SMALL, fixed={"pipeline": "naive"})
    found = evaluation.evaluate(space, function=elasticities)
    for name, (_, values) in found.items():
        assert np.isfinite(values).all(), name
    total = 0.0
    for name, (dims, values) in found.items():
        sign = 1.0 if name.endswith("_per_s") else -1.0 if name.endswith("_s") else 0.0
        total = total + sign * values.reshape([n if a in dims else 1 for a, n in space.sizes.items()])
    np.testing.assert_allclose(total, -1.0, rtol=1e-12)
