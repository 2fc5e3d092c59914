"""What is reported beside the step time: needed work, and the network's share of it."""

import numpy as np
import pytest

import dsjax

FIXED = {"hardware": "H800", "nic": "CX7", "precision": "fp8", "ep": 32, "context": 4096, "expert_imbalance": 1.0}
PHASES = {"decode": {"batch": 64, "mtp": 1}, "prefill": {"prompts": 64}}
PIPELINES = ["naive", "windows", "dual-mbatch", "tbo", "sbo"]


@pytest.fixture(autouse=True)
def without_compiling():
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
    fixed |= {"expert_imbalance": 1.1, "unhidden": 0.1}
    axes = {"hardware_exchange_cores": [0.0, 0.18]}
    free, lent = (dsjax.explain({"phase": "prefill", "axes": axes, "fixed": fixed}, {"hardware_exchange_cores": x})
                  for x in axes["hardware_exchange_cores"])  # fmt: skip
    np.testing.assert_allclose(lent.block_flops, free.block_flops, rtol=1e-12)
    np.testing.assert_allclose(lent.block_ideal, free.block_ideal, rtol=1e-12)
    assert (lent.block_time >= free.block_time * (1.0 - 1e-12)).all() and float(lent.step_time) > float(free.step_time)
    assert float(lent.mfu) * float(lent.step_time) == pytest.approx(float(free.mfu) * float(free.step_time), rel=1e-12)
    assert 100.0 * float(lent.mfu) == pytest.approx(39.0, abs=0.1)


NETWORKS = {
    "prefill, one domain and more": ("prefill", {"ep": 32, "pipeline": "naive"}),
    "prefill, halves": ("prefill", {"ep": 32, "pipeline": "dual-mbatch", "tp": 4, "sp": 4}),
    "low latency": ("decode", {"pipeline": "naive"}),
    "normal, all-reduce": ("decode", {"dispatch_mode": "normal", "tp": 8, "pipeline": "tbo"}),
    "split cache": ("decode", {"tp": 8, "kv_split": 4, "mtp": 0, "pipeline": "sbo"}),
    "split experts": ("decode", {"moe_tp": 4, "ep": 8, "tp": 2, "mtp": 0, "pipeline": "dual-mbatch"}),
    "windows": ("decode", {"tp": 8, "pipeline": "windows"}),
}
ROWS = {"dispatch": "dispatch", "combine": "combine", "all-reduce": "all_reduce", "KV exchange": "kv_exchange"}


@pytest.mark.parametrize("name", NETWORKS)
def test_network_table_is_the_network_of_the_blocks(name):
    phase, of = NETWORKS[name]
    ds = dsjax.explain({"phase": phase, "axes": {"unhidden": [0.1]}, "fixed": FIXED | PHASES[phase] | of})
    seconds, exposed = (
        dict(zip(ds.collective.values.tolist(), ds[f"transfer_{x}"].values)) for x in ("time", "exposed")
    )
    own = dict(zip(ds.block.values.tolist(), ds.block_network.values))
    for row, block in ROWS.items():
        at = seconds.get(row, 0.0)
        drafts = own["mtp"] * (own[block] > 0.0)  # the one layer of a draft has all of them too
        assert own[block] <= at * (1 + 1e-12) and at <= (own[block] + drafts) * (1 + 1e-12), row
        assert 0.0 <= exposed.get(row, 0.0) <= at * (1 + 1e-12), row
    assert sum(seconds.values()) == pytest.approx(sum(own.values()), rel=1e-12)
    assert sum(exposed.values()) == pytest.approx(float(ds.exposed_network), rel=1e-12)
    assert bool(seconds["all-reduce"]) == ("tp" in of) and ("KV exchange" in seconds) == ("kv_split" in of)


def test_network_table_of_rings_and_copies_is_what_they_are_by_hand():
    plain = {"hardware_all_reduce_rise_s": 0.0, "hardware_all_reduce_direct": 0.0}
    plain |= dict.fromkeys(("hardware_exchange_hidden_s", "hardware_combine_hidden_s"), 0.0)
    own = {"ep": 8, "tp": 2, "batch": 32, "mtp": 0, "pipeline": "naive"}
    ds = dsjax.explain({"phase": "decode", "axes": {"unhidden": [0.0]}, "fixed": FIXED | own | plain})
    space = dsjax.load_grid({"phase": "decode", "axes": {"unhidden": [0.0]}, "fixed": FIXED | own})
    hw, model, precision = (space.rows[x][space.fixed[x]] for x in ("hardware", "model", "precision"))
    tokens, hidden = 32.0 * 8.0, model["hidden_size"]
    ring = 2.0 * 1.0 / 2.0 * tokens / 4.0 * hidden * precision["activation_bytes"]
    ring /= hw["scale_up_bytes_per_s"] * hw["scale_up_utilisation"]
    sent = 6.0 / 8.0 * tokens * model["num_experts_per_tok"] / 8.0 * hidden / hw["scale_up_bytes_per_s"]
    dispatch = sent * precision["dispatch_bytes"] / hw["exchange_utilisation"]
    combine = sent * precision["combine_bytes"] / hw["combine_utilisation"]
    layers, sparse = model["num_hidden_layers"], model["num_hidden_layers"] - model["first_k_dense_replace"]
    expected = [sparse * dispatch, sparse * combine, 2.0 * layers * ring]
    np.testing.assert_allclose(ds.transfer_time, expected, rtol=1e-12)
