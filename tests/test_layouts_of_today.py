"""What people deploy: one user on a group, groups over nodes, pipeline stages, meshes, engines without a library.

Right values by hand, each with its source where it was published; the oracle (test_core) has the numbers of the page.
"""

import dataclasses
import math

import numpy as np
import pytest

import dsjax
from dsjax.formulas import exchange, network
from dsjax.serving import phases, stages, step
from dsjax.serving.core import CORE
from dsjax.serving.deployment import split
from dsjax.space import grid
from dsjax.specs import records

R1 = {"model": "DeepSeek-R1", "hardware": "H200", "nic": "CX7", "precision": "fp8", "mtp": 0, "context": 4096}
OF_DRAFTS = {name: value for name, value in R1.items() if name != "mtp"}
TP8 = R1 | {"tp": 8, "moe_tp": 8, "ep": 1}
OF_TIME = ("compute", "memory", "network", "latency")


def swept(axes, fixed, phase="decode"):
    return dsjax.sweep({"phase": phase, "axes": axes, "fixed": {"pipeline": "naive", **fixed}})


def same(a, b, names=("step_time", "tps_per_chip", "memory_per_chip", "mfu", "mbu")):
    for name in names:
        np.testing.assert_array_equal(a[name].squeeze().values, b[name].squeeze().values, err_msg=name)


# ---- concurrency


def test_as_many_in_every_group_is_a_batch():
    for layout in ({"tp": 1, "ep": 32}, {"tp": 4, "ep": 32}, {"tp": 8, "ep": 8}):
        batches = [1, 4, 32]
        many = swept({"concurrency": [layout["ep"] * b for b in batches]}, R1 | layout)
        same(swept({"batch": batches}, R1 | layout), many)


def test_one_user_is_served_by_any_group():
    one = swept({"tp": [1, 2, 4, 8]}, R1 | {"chips": 8, "concurrency": 1})
    assert one.feasible.sel(tp=[2, 4, 8]).all() and (one.batch_total == 1).all()
    alone = swept({"batch": [1]}, TP8)  # eight sequences: the least that a batch of a chip can say
    assert swept({"concurrency": [1]}, TP8).step_time.item() < alone.step_time.item()
    np.testing.assert_allclose(one.tps_total, 1.0 / one.step_time, rtol=1e-14)


def test_the_busiest_group_holds_the_ceiling():
    """33 sequences on 32 groups: one has two, as if all had; what is sent and computed by experts is that of 33."""
    found = swept({"concurrency": [32, 33, 64]}, R1 | {"tp": 1, "ep": 32})
    memory = found.memory_per_chip.values
    assert memory[0] < memory[1] == pytest.approx(memory[2], rel=1e-3)
    times = found.block_time.sel(block=["core", "routed"]).values
    assert times[0, 1] == times[0, 2] > times[0, 0] and times[1, 0] < times[1, 1] < times[1, 2]
    np.testing.assert_allclose(found.tps_total, found.concurrency / found.step_time, rtol=1e-14)


# ---- nothing is sent to whom has it


@pytest.mark.parametrize("mode", exchange.MODES)
@pytest.mark.parametrize("layout", [(8, 8, 1), (8, 1, 8), (8, 2, 4), (16, 16, 1), (16, 2, 8)])
def test_a_group_that_has_all_tokens_sends_none(layout, mode):
    tp, moe_tp, ep = layout
    for phase, load in (("decode", {"concurrency": 4}), ("prefill", {"prompts": 2})):
        fixed = R1 | {"tp": tp, "moe_tp": moe_tp, "ep": ep, "dispatch_mode": mode} | load
        found = swept({"unhidden": [0.1]}, fixed, phase)
        sent = found.block_time.sel(block=["dispatch", "combine"])
        assert float(sent.sum()) == 0.0 and float(found.block_time.sel(block="all_reduce").sum()) > 0.0


def test_gathers_by_hand():
    """16 groups of two chips on 4 domains: each ring has four places in a domain and four domains."""
    fixed = R1 | {"tp": 2, "ep": 32, "batch": 4, "dispatch_mode": "all-gather", "unhidden": 0.0}
    found = swept({"software_factor": [1.0]}, fixed)
    rows = dsjax.load_grid({"phase": "decode", "axes": {"batch": [4]}, "fixed": R1 | {"ep": 32}}).rows
    hw, nic, model = rows["hardware"]["H200"], rows["nic"]["CX7"], rows["model"]["DeepSeek-R1"]
    n_bytes = 4 * 32 * model["hidden_size"]
    up = hw["scale_up_bytes_per_s"] * hw["scale_up_utilisation"]
    out = nic["scale_out_bytes_per_s"] * nic["scale_out_utilisation"]
    for block, width in (("dispatch", 1), ("combine", 2)):
        b = n_bytes * width
        time = hw["all_reduce_start_s"] + 3 / 4 * b / up + 3 * hw["scale_up_step_s"]
        time += 3 / 4 * (b / 4) / out + 3 * nic["scale_out_step_s"]
        assert float(found.block_time.sel(block=block).squeeze()) == pytest.approx(58 * time, rel=1e-12)


def test_a_copy_per_domain_sends_less_and_never_more():
    fixed = {"tp": 1, "batch": 64, "engine_exchange_tokens": 0.0}
    found = swept({"ep": [8, 16, 32, 64, 256], "dispatch_mode": ["low-latency", "layered"]}, R1 | fixed)
    sent = found.block_time.sel(block="dispatch")
    one, few = sent.sel(dispatch_mode="low-latency"), sent.sel(dispatch_mode="layered")
    assert (few.sel(ep=[16, 32, 64]) < one.sel(ep=[16, 32, 64])).all() and (few <= one * (1 + 1e-12)).all()
    combine = found.block_time.sel(block="combine")  # a copy per expert comes back in either
    np.testing.assert_array_equal(combine.sel(dispatch_mode="layered"), combine.sel(dispatch_mode="low-latency"))


def test_buffers_of_a_low_latency_exchange():
    """1.9 GB at 128 tokens of a chip and 256 experts; at most 1,024 tokens (DeepEP; SGLang, pull request 28994)."""
    held = {}
    for batch, tokens in ((128, 128), (1024, 1024), (1032, 1032)):
        ds = dsjax.explain({"phase": "decode", "axes": {"batch": [batch]}, "fixed": R1 | {"tp": 1, "ep": 64}})
        held[tokens] = float(ds.memory_part.sel(part="exchange"))
        assert bool(ds.ok_exchange) == (tokens <= 1024)
    assert held[128] == pytest.approx(1.908e9, rel=1e-3) and held[1024] == pytest.approx(15.3e9, rel=1e-2)
    for fixed in ({"dispatch_mode": "normal"}, {"engine": "vllm"}, {"tp": 8, "ep": 8}):
        grid_ = {"phase": "decode", "axes": {"batch": [128]}, "fixed": R1 | {"tp": 1, "ep": 64} | fixed}
        assert float(dsjax.explain(grid_).memory_part.sel(part="exchange")) == 0.0


# ---- groups over domains, meshes, tori


def test_a_group_may_span_domains_and_is_slower_for_it():
    fixed = R1 | {"hardware": "H100", "moe_tp": 16, "ep": 1, "tp": 16, "concurrency": 1}
    found = swept({"hardware_scale_up_domain": [8.0, 16.0]}, fixed)
    assert found.feasible.all() and (found.step_time[0] > found.step_time[1]).all()
    reduced = found.block_time.sel(block="all_reduce").squeeze()
    assert float(reduced[0]) > 122 * 2 * 14e-6  # two steps out, twice a layer
    odd = swept({"tp": [12]}, R1 | {"chips": 24, "ep": 24, "concurrency": 1})
    assert not odd.ok_topology.any()


def test_two_chips_of_a_mesh_share_one_link():
    """Llama-70B in bf16, 8 prompts of 2,048: about 186 ms of transfer at TP2 on MI300X (64 of 448 GB/s)."""
    fixed = {"model": "Llama-3.1-70B", "nic": "CX7", "precision": "bf16", "context": 2048, "prompts": 8, "ep": 8}
    seconds = {}
    for chip in ("MI300X", "H200"):
        ds = dsjax.explain({"phase": "prefill", "axes": {"tp": [2, 8]}, "fixed": fixed | {"hardware": chip}}, {"tp": 2})
        seconds[chip] = dict(zip(ds.collective.values.tolist(), ds.transfer_time.values))["all-reduce"]
    assert seconds["MI300X"] == pytest.approx(0.186, rel=0.1) and seconds["MI300X"] > 4 * seconds["H200"]


@pytest.mark.parametrize(
    ("chip", "chips", "gigabytes"), [("TPU-v5e", 256, 25.0), ("TPU-v6e", 256, 50.0), ("TPU-v5p", 512, 100.0)]
)
def test_an_even_exchange_on_a_torus_is_that_of_its_bisection(chip, chips, gigabytes):
    """1.6 TB/s across the middle of 256 chips of v5e, 3.2 of v6e: 25 and 50 GB/s a chip (docs.cloud.google.com/tpu)."""
    row = grid.load({"phase": "decode", "axes": {"batch": [1]}, "fixed": R1 | {"hardware": chip, "ep": 8}}).rows
    hw = row["hardware"][chip]
    up = network.meshed(hw["scale_up_bytes_per_s"], hw["scale_up_peer_bytes_per_s"], float(chips))
    assert network.bisected(up, hw["scale_up_torus"], float(chips)) == pytest.approx(gigabytes * 1e9, rel=1e-12)
    assert 0.8 * up < network.bisected(up, hw["scale_up_torus"], 4.0) <= up  # a few chips: nearly a switch


def test_a_box_of_cards_is_a_domain():
    fixed = {"model": "Qwen3-30B-A3B", "hardware": "L20", "nic": "CX7", "precision": "fp8", "context": 2048}
    found = swept({"tp": [1, 2, 4, 8]}, fixed | {"ep": 8, "concurrency": 8, "mtp": 0})
    assert found.ok_topology.all() and found.feasible.all()


# ---- stages


def test_one_stage_is_none():
    for phase, load in (("decode", {"batch": 4}), ("prefill", {"prompts": 8})):
        same(swept({"software_factor": [1.0]}, TP8 | load, phase), swept({"pp": [1]}, TP8 | load, phase))


def test_weights_of_the_first_of_four_stages():
    """DeepSeek-V3 on 32 cards, TP8 x PP4: 16.96 GiB a card of the first stage (deepseek-ai/DeepSeek-V3, issue 205)."""
    fixed = R1 | {"model": "DeepSeek-V3", "hardware": "L20", "tp": 8, "moe_tp": 8, "ep": 1, "pp": 4, "concurrency": 1}
    point, first = point_of(fixed)
    own = split(point.deployment, point.model, np.dtype("float64"))
    work = phases.decode_work(point, own, 1.0)
    weights = step.memory_of(point, own, first[0], work, np.float64(0.0))
    total = sum(weights[part] for part in ("attention", "dense", "experts", "embedding"))
    assert total / 2**30 == pytest.approx(16.96, rel=0.03)
    assert [float(stage.model.num_hidden_layers) for stage in first] == [15.0, 16.0, 15.0]


def point_of(fixed):
    space = grid.load({"phase": "decode", "axes": {"unhidden": [0.1]}, "fixed": {"pipeline": "naive", **fixed}})
    rows = {}
    for record, cls in records.RECORDS.items():
        row = space.rows[record][space.fixed[record]]
        rows[record] = cls(**{f.name: np.asarray(row[f.name]) for f in dataclasses.fields(cls)})
    given = {f.name: space.fixed.get(f.name) for f in dataclasses.fields(records.Deployment)}
    deployment = records.Deployment(**{k: None if v is None else np.int32(v) for k, v in given.items()})
    work = {f.name: np.float64(space.fixed.get(f.name) or 0.0) for f in dataclasses.fields(records.Workload)}
    work |= {"isl": None, "osl": None}
    point = records.Point(**rows, curve=None, workload=records.Workload(**work), deployment=deployment)
    return point, stages.stages(point.model, deployment.pp)


def test_stages_hold_less_and_pass_on():
    axes = {"pp": [1, 2, 4, 8]}
    found = swept(axes, R1 | {"tp": 8, "moe_tp": 8, "ep": 1, "concurrency": 64})
    assert found.feasible.all() and (found.chips == 8 * found.pp).all()
    assert (found.memory_per_chip.diff("pp") < 0).all()
    assert (found.tps_total.diff("pp") > 0).all() and (found.tps_per_chip.diff("pp") < 0).all()
    one = swept(axes, R1 | {"tp": 8, "moe_tp": 8, "ep": 1, "concurrency": 1})
    assert (one.step_time.diff("pp") > 0).all()  # a token passes all stages and what is sent between them
    exposed = sum(one[f"exposed_{name}"] for name in OF_TIME)
    np.testing.assert_allclose(exposed, one.step_time, rtol=1e-12)


def test_prefill_fills_and_drains():
    """P + (M - 1) Y of 4 stages alike, what is not in layers apart: 7/4 of one pass for 4 micro batches."""
    fixed = R1 | {"model": "Llama-3.1-70B", "precision": "bf16", "tp": 8, "ep": 8, "context": 8192, "prompts": 4}
    fixed |= {"model_num_hidden_layers": 80.0, "model_first_k_dense_replace": 80.0}
    one, four = (swept({"pp": [pp]}, fixed | {"prompts": n, "ep": 8}, "prefill") for pp, n in ((1, 1), (4, 4)))
    assert four.step_time.item() == pytest.approx(7 / 4 * one.step_time.item(), rel=0.02)
    assert not swept({"pp": [4]}, fixed | {"prompts": 6}, "prefill").ok_prompts.any()


def test_more_stages_than_layers_are_refused():
    found = swept({"pp": [61, 62]}, R1 | {"tp": 1, "ep": 1, "concurrency": 1})
    assert found.ok_pp.values.tolist() == [True, False]
    with pytest.raises(dsjax.InputError, match="pp: 0 is out of range; expected an integer from 1 to 1024"):
        swept({"pp": [0]}, R1 | {"ep": 8, "batch": 1})


# ---- chance


def test_groups_wait_for_the_longest_cache():
    """Lengths with a spread of 0.5: the core of EP32, batch 32 takes about 20 % more."""
    found = swept({"context_cv": [0.0, 0.5]}, R1 | {"ep": 32, "batch": 32, "context": 16384})
    core = found.block_time.sel(block="core").squeeze()
    assert float(core[1] / core[0]) == pytest.approx(1.18, abs=0.03)
    rng = np.random.default_rng(1)
    most = rng.gamma(4.0, 0.25, (400, 32, 32)).sum(2).max(1).mean() / 32.0
    assert most == pytest.approx(1.0 + 0.5 / math.sqrt(32.0) * 2.07, rel=0.03)


def test_drafts_are_accepted_less_and_less():
    """1.92, 2.58, 2.82, 2.99, 3.01 tokens a step at 1 to 5 drafts (DeepSeek-R1, TensorRT-LLM, technical blog 1)."""
    found = swept({"mtp": [1, 2, 3, 4, 5]}, OF_DRAFTS | {"ep": 32, "batch": 8})
    tokens = (found.tps_per_user * found.step_time).squeeze()
    np.testing.assert_allclose(tokens, [1.92, 2.58, 2.82, 2.99, 3.01], rtol=0.02)


def test_favour_of_experts_is_evened_out_by_many_on_a_card():
    fixed = R1 | {"batch": 4096, "tp": 1, "context": 128, "engine_exchange_tokens": 0.0}
    rows = {}
    for cv in (0.0, 0.4):
        found = swept({"ep": [8, 64, 256]}, fixed | {"expert_cv": cv})
        rows[cv] = found.block_time.sel(block="routed").squeeze()
    ratio = (rows[0.4] / rows[0.0]).values
    assert (np.diff(ratio) > 0.05).all() and ratio[0] < 1.15 and ratio[2] > 1.5
    placed = swept({"redundant_experts": [0, 32]}, fixed | {"ep": 32}).block_time.sel(block="routed").squeeze()
    assert float(placed[1]) < float(placed[0])


# ---- engines


def test_what_an_engine_fuses_and_hides_is_not_paid():
    fixed = TP8 | {"concurrency": 1}
    names = {"pointwise_launches": (1.0, 0.5), "fused_projections": (0.0, 1.0), "shared_beside": (0.0, 1.0)}
    for name, values in names.items():
        more, less = (swept({"unhidden": [0.1]}, fixed | {f"engine_{name}": x}) for x in values)
        assert float(less.step_time) < float(more.step_time) and float(less.exposed_latency) < float(
            more.exposed_latency
        )
        assert (less.exposed_memory >= more.exposed_memory).all()  # what hid beside a core on its way along K shows
    fixed = OF_DRAFTS | {"tp": 8, "moe_tp": 8, "ep": 1, "concurrency": 1}
    slow = swept({"mtp": [0, 2]}, fixed | {"engine_step_s": 1e-3, "engine_draft_step_s": 2e-3})
    bare = swept({"mtp": [0, 2]}, fixed | {"engine_step_s": 0.0, "engine_draft_step_s": 0.0})
    np.testing.assert_allclose((slow.step_time - bare.step_time).squeeze(), [1e-3, 5e-3], rtol=1e-9)


def test_engines_are_an_axis():
    found = swept({"engine": ["generic", "sglang", "vllm", "tensorrt-llm"]}, TP8 | {"concurrency": 8})
    assert found.step_time.dims == ("engine",) and len(set(found.step_time.values.tolist())) == 4
    for name in found.engine.values.tolist():
        same(found.sel(engine=name), swept({"concurrency": [8]}, TP8 | {"engine": name}))
    assert set(CORE.records) == {"hardware", "nic", "precision", "model", "engine"}


def test_bad_input():
    for fixed, words in (
        ({"concurrency": 8, "batch": 8}, "concurrency: beside batch; expected one or the other"),
        ({"batch": 8, "engine": "slang"}, r"unknown engine 'slang' \(did you mean 'sglang'\?\)"),
        ({"concurrency": 0}, "concurrency: 0 is out of range; expected an integer from 1"),
    ):
        with pytest.raises(dsjax.InputError, match=words):
            swept({"tp": [1]}, R1 | {"ep": 8} | fixed)
