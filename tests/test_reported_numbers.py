"""What is reported beside the step time: needed work, and the network's share of it."""

import numpy as np
import pytest

import dsjax
from dsjax import evaluate

FIXED = {"hardware": "H800", "nic": "CX7", "precision": "fp8", "ep": 32, "context": 4096, "expert_imbalance": 1.0}
PHASES = {"decode": {"batch": 64, "mtp": 1}, "prefill": {"prompts": 64}}
PIPELINES = ["naive", "windows", "dual-mbatch", "tbo", "sbo"]


@pytest.fixture(autouse=True)
def without_compiling():
    with evaluate.interpreting():
        yield


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("mode", ["normal", "low-latency", "auto"])
def test_needed_flops_depend_on_no_overlap_and_no_core(phase, mode):
    """mfu x step_time is needed flops / peak: whatever the cores are lent to, and however halves overlap."""
    axes = {"pipeline": PIPELINES, "hardware_exchange_cores": [0.0, 0.18, 0.6], "unhidden": [0.0, 0.3], "tp": [1, 4]}
    ds = dsjax.sweep({"phase": phase, "axes": axes, "fixed": FIXED | PHASES[phase] | {"dispatch_mode": mode}})
    for tp in axes["tp"]:
        values = (ds.mfu * ds.step_time).sel(tp=tp).values
        np.testing.assert_allclose(values, values.flat[0], rtol=1e-12)
    if mode == "normal" or (mode, phase) == ("auto", "prefill"):  # what is lent is missed
        halves = ds.step_time.sel(pipeline=["dual-mbatch", "tbo"])
        assert (halves.diff("hardware_exchange_cores") > 0.0).any()


def test_needed_flops_of_blocks_and_of_a_known_point():
    fixed = FIXED | PHASES["prefill"] | {"pipeline": "dual-mbatch"}
    del fixed["expert_imbalance"]
    axes = {"hardware_exchange_cores": [0.0, 0.18]}
    free, lent = (dsjax.explain({"phase": "prefill", "axes": axes, "fixed": fixed}, {"hardware_exchange_cores": x})
                  for x in axes["hardware_exchange_cores"])  # fmt: skip
    np.testing.assert_allclose(lent.block_flops, free.block_flops, rtol=1e-12)
    np.testing.assert_allclose(lent.block_ideal, free.block_ideal, rtol=1e-12)
    assert (lent.block_time >= free.block_time).all() and float(lent.step_time) > float(free.step_time)
    assert float(lent.mfu) * float(lent.step_time) == pytest.approx(float(free.mfu) * float(free.step_time), rel=1e-12)
    assert 100.0 * float(lent.mfu) == pytest.approx(37.3, abs=0.1)
