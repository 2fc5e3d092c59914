"""The core model against an oracle written from dsjax/MODEL.md, and the laws of that page."""

import numpy as np
import oracle_core as oracle
import pytest

import dsjax
from dsjax import catalog, specs
from dsjax.core import CORE

MODEL = catalog.numbers(catalog.load()["model"]["DeepSeek-V3"])
CURVE = catalog.numbers(catalog.load()["curve"]["kernel-assumed"])
WORKLOAD = specs.fields(specs.Workload).keys() - {"isl", "osl"}


def space(axes, fixed, **more):
    return {"model": "DeepSeek-V3", "axes": axes, "fixed": fixed, **more}


def full(ds, name):
    return ds[name].broadcast_like(ds.step_time).transpose(*ds.step_time.dims).values


def compare(ds, deployment, rtol=1e-12):
    """Every point of a dataset against the oracle; returns how many there were."""
    rows = catalog.load()
    names = ("step_time", "tps_per_user", "tps_per_chip", "ttft", "memory_per_chip", "chips", "dp", "ep")
    masks = [name for name in ds.data_vars if name.startswith("ok_")]
    values = {name: full(ds, name) for name in (*names, *masks) if name in ds.data_vars}
    for index in np.ndindex(ds.step_time.shape):
        point = {name: ds[name].values[i].item() for name, i in zip(ds.step_time.dims, index, strict=True)}
        point |= {name: ds[name].item() for name in ds.coords if ds[name].ndim == 0}
        given = {
            record: catalog.numbers(rows[record][point[record]])
            | {f: point[f"{record}_{f}"] for f in rows[record][point[record]] if f"{record}_{f}" in point}
            for record in ("hardware", "nic", "precision", "curve", "model")
        }
        expected = oracle.evaluate(
            **given,
            workload={name: point[name] for name in WORKLOAD},
            deployment={"ep": 0, "chips": 0, "batch": 1, "prompts": 1}
            | {k: point[k] for k in CORE.deployment if k in point},
            phase=point["phase"],
            pipeline=point["pipeline"],
        )
        for name, array in values.items():
            if name.startswith("ok_"):
                assert bool(array[index]) == expected[name], (name, point)
            elif not (np.isnan(array[index]) and np.isnan(expected[name])):
                assert abs(array[index] - expected[name]) <= rtol * abs(expected[name]), (name, point)
    return ds.step_time.size


def random_space(seed, phase):
    rng = np.random.default_rng(seed)

    def around(number):
        return float(number * np.exp(rng.uniform(-1, 1)))

    axes = {
        "hardware": ["H800", "SG2260E"],
        "pipeline": ["naive", "dual-mbatch", "tbo"],
        "precision": ["fp8", "w8a8"],
        "tp": [int(x) for x in rng.choice([1, 2, 3, 4, 8, 16], 3, replace=False)],
        "moe_tp": [1, int(rng.choice([2, 3, 4]))],
        "ep": [int(x) for x in rng.choice([8, 16, 36, 64, 72, 144, 256, 320], 2, replace=False)],
        "nic_scale_out_bytes_per_s": [around(2e10), around(5e10)],
        "expert_imbalance": [1.0, around(1.5)],
    }
    if phase == "decode":
        axes |= {"batch": [int(rng.integers(1, 200))], "mtp": [0, int(rng.integers(1, 4))]}
        axes["expert_imbalance"] = axes["expert_imbalance"][1:]
    else:
        axes |= {"prompts": [int(rng.integers(1, 65)), 64], "sp": [1, 2]}
        axes["expert_imbalance"] = axes["expert_imbalance"][1:]
    numbers = {
        "hardware_hbm_bytes_per_s": around(2e12), "hardware_scale_up_bytes_per_s": around(2e11), "hardware_step_s": 1e-4,
        "hardware_roofline_overlap": rng.uniform(), "hardware_scale_up_domain": float(rng.choice([4, 8, 32])),
        "nic_scale_out_step_s": 1e-5, "context": float(rng.integers(100, 20000)), "acceptance": rng.uniform(),
        "software_factor": 1.2, "memory_reserve": 0.07, "curve_gemm_tail": around(1e5), "curve_pointwise_kernels": 11.0,
    }  # fmt: skip
    return space(axes, {"nic": "CX7", "phase": phase, **numbers})


@pytest.mark.parametrize(("seed", "phase"), [(0, "decode"), (1, "decode"), (2, "prefill"), (3, "prefill")])
def test_oracle_agrees_at_random_points(seed, phase):
    ds = dsjax.sweep(random_space(seed, phase), blocks=False)
    assert compare(ds, None) >= 500
