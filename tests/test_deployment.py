"""Choices of the deployment beside TP, DP and EP: split cache, replicated shared expert, windows, SLOs with margin."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from click.testing import CliRunner

import dsjax
from dsjax import cli, evaluation
from dsjax.analysis import explain
from dsjax.formulas import pipelines
from dsjax.formulas.roofline import Time
from dsjax.space import grid
from dsjax.specs.records import RATES
from grids import SEVEN_CHIPS

FIXED = {"context": 16384, "hardware": "H800", "nic": "CX7", "precision": "fp8", "expert_imbalance": 1.0}
DECODE = {"ep": 64, "batch": 32, "mtp": 1}
PREFILL = {"ep": 64, "prompts": 64}


def sweep(phase, axes, **fixed):
    given = FIXED | (DECODE if phase == "decode" else PREFILL) | fixed
    fixed = {k: v for k, v in given.items() if k not in axes}
    return dsjax.sweep({"phase": phase, "axes": axes, "fixed": fixed})


@pytest.mark.parametrize("phase", ["decode", "prefill"])
def test_a_split_cache_takes_its_share_of_memory_and_reads_its_share(phase):
    ds = sweep(phase, {"kv_split": [1, 2, 4, 8], "tp": [8]}).squeeze("tp")
    points = [dsjax.explain(ds, at={"kv_split": c}) for c in (1, 2, 4, 8)]
    cache = [float(p.memory_part.sel(part="kv_cache")) for p in points]
    np.testing.assert_allclose(cache, cache[0] / np.array([1, 2, 4, 8]), rtol=1e-12)
    flops = [float(p.block_flops.sel(block="core")) for p in points]
    np.testing.assert_allclose(flops, flops[0], rtol=1e-12)
    assert (np.diff([float(p.block_bytes.sel(block="core")) for p in points]) < 0).all()
    exchange = ds.block_time.sel(block="kv_exchange").values
    if phase == "decode":
        assert exchange[0] == 0 and (np.diff(exchange) > 0).all()
    else:
        assert (exchange == 0).all()


def test_the_exchange_of_a_split_cache_is_a_gather_and_a_scatter():
    """Queries to T c hd (R_kv + D_r), results of T c hd R_kv elements, (c - 1) / c of them over the links."""
    ds = sweep("decode", {"kv_split": [4], "tp": [8]}, mtp=0)
    tokens, heads, latent, rank = 32 * 8, 128 / 8, 576, 512
    space = grid.load({"axes": {"kv_split": [4]}, "fixed": FIXED | DECODE | {"tp": 8}})
    hw = space.rows["hardware"]["H800"]
    rate = hw["scale_up_bytes_per_s"] * hw["scale_up_utilisation"]
    starts = 2 * hw["all_reduce_start_s"] + 2 * 3 * hw["scale_up_step_s"]
    expected = 3 / 4 * tokens * 4 * heads * (latent + rank) * 2 / rate + starts
    np.testing.assert_allclose(ds.block_time.sel(block="kv_exchange").item() / 61, expected, rtol=1e-12)


def test_a_replicated_shared_expert_keeps_its_flops_and_costs_memory():
    """Rows instead of columns are shared out: the same flops, the whole weights on every chip."""
    ds = sweep("decode", {"shared_tp": [8, 4, 2, 1], "tp": [8]})
    points = [dsjax.explain(ds, at={"shared_tp": n}) for n in (8, 1)]
    whole, split = (float(p.block_flops.sel(block="shared")) for p in points)
    np.testing.assert_allclose(whole, split, rtol=1e-12)
    weights = 58 * 3 * 7168 * 2048 * 1.0  # + that of the MTP layer
    np.testing.assert_allclose(float(np.diff(ds.memory_per_chip.values[[0, -1], 0])[0]), 59 / 58 * weights * 7 / 8)
    default = sweep("decode", {"tp": [8]})
    np.testing.assert_array_equal(ds.step_time.sel(shared_tp=8), default.step_time)


def test_splits_that_do_not_divide_are_masked_and_explained():
    ds = sweep("decode", {"tp": [2, 8], "kv_split": [1, 3, 4], "shared_tp": [1, 8]})
    np.testing.assert_array_equal(ds.ok_kv_split.sel(tp=2), [True, False, False])
    np.testing.assert_array_equal(ds.ok_kv_split.sel(tp=8), [True, False, True])
    np.testing.assert_array_equal(ds.ok_shared_tp, [[True, False], [True, True]])
    assert np.isfinite(ds.step_time.values).all()
    point = dsjax.explain(ds, at={"tp": 2, "kv_split": 3, "shared_tp": 8})
    why = {str(name): str(text.values) for name, text in zip(point.constraint.values, point.why, strict=True)}
    assert why["ok_kv_split"] == "kv_split = 3 does not divide the 2 chips of a group (tp)"
    assert why["ok_shared_tp"] == "shared_tp = 8 does not divide the 2 chips of a group (tp)"


def test_flops_of_what_tp_splits_are_conserved_and_of_what_it_replicates_multiply():
    """On the model that gives the times: N chips at a fixed batch per chip do the same work at any tp."""
    rates = {f"hardware_{rate}_flops_per_s": 1.0 for rate in RATES}
    fixed = FIXED | DECODE | rates | {"mtp": 0}
    space = grid.load({"axes": {"tp": [1, 2, 4, 8]}, "fixed": fixed})
    found = evaluation.evaluate(space, function=explain.everything)
    blocks = {k.split("/")[1]: v for k, (_, v) in found.items() if k.endswith("/ideal_compute")}
    for name in ("q_b", "core", "o", "kv_b", "dense", "shared", "routed", "head"):
        np.testing.assert_allclose(blocks[name], blocks[name].flat[0], rtol=1e-12, err_msg=name)
    for name in ("q_a", "kv_a", "router"):
        np.testing.assert_allclose(blocks[name], blocks[name].flat[0] * np.array([1, 2, 4, 8]), err_msg=name)


@pytest.mark.parametrize("seed", range(20))
def test_windows_are_the_formula_of_the_source_where_none_is_spent_twice(seed):
    """T = compute + sum of max(0, T_comm - T_window); beyond all windows together, the network's own time."""
    rng = np.random.default_rng(seed)
    before, core, o, shared, routed, dispatch, combine, reduce, rest = rng.uniform(0.1, 1.0, 9)
    with jax.enable_x64(True):

        def compute(seconds):
            return Time(exposed_compute=jnp.asarray(seconds), busy_compute=jnp.asarray(seconds))

        def network(seconds):
            return Time(exposed_network=jnp.asarray(seconds), busy_network=jnp.asarray(seconds))

        layer = pipelines.LayerTimes(
            before=compute(before),
            after=compute(core) + compute(o),
            reduce=network(reduce),
            dispatch=network(dispatch),
            shared=compute(shared),
            routed=compute(0.25 * routed),
            down=compute(0.75 * routed),
            combine=network(combine),
            closing=network(reduce),
        )
        parts = pipelines.Parts(layer=layer, layers=3.0, rest=compute(rest), blocks={})
        time, _ = pipelines.windows(lambda share: parts, 1.0)
    attention = before + core + o + shared
    exposed = max(0, dispatch - attention) + max(0, combine - routed)
    left = max(0, attention - dispatch) + max(0, routed - combine)  # of the windows, for the all-reduces
    expected = rest + 3.0 * (attention + routed + exposed + max(0, 2 * reduce - left))
    np.testing.assert_allclose(float(time.total), expected, rtol=1e-12)
    np.testing.assert_allclose(float(time.busy_network), 3.0 * (dispatch + combine + 2 * reduce), rtol=1e-12)
    np.testing.assert_allclose(float(time.busy_compute), rest + 3.0 * (attention + routed), rtol=1e-12)
    assert all(float(x) >= 0 for x in (time.exposed_compute, time.exposed_network))


def test_windows_are_never_slower_than_no_overlap():
    ds = sweep("decode", {"pipeline": ["naive", "windows"], "batch": [8, 64, 256], "tp": [1, 4]}, mtp=0)
    naive, windows = (ds.step_time.sel(pipeline=name) for name in ("naive", "windows"))
    assert bool((windows.drop_vars("pipeline") < naive.drop_vars("pipeline")).all())


def test_limits_of_ttft_by_prompt_length_and_a_margin():
    given = {"phase": "prefill", "axes": {"context": [2048, 4096, 6000, 8192, 16384]}}
    given["fixed"] = {k: v for k, v in (FIXED | PREFILL | {"tp": 8}).items() if k != "context"}
    time = dsjax.sweep(given).ttft.values
    limits = {"4096": float(time[1]), "8192": f"{1e3 * float(time[2])} ms"}
    ds = dsjax.sweep(given | {"constraints": {"max_ttft": limits}})
    np.testing.assert_array_equal(ds.ok_ttft, [True, True, True, False, False])
    tight = dsjax.sweep(given | {"constraints": {"max_ttft": limits, "slo_margin": 0.01}})
    np.testing.assert_array_equal(tight.ok_ttft, [True, False, False, False, False])
    again = dsjax.explain(tight, at={"context": 16384})  # the limits come back from the file's own text
    assert str(again.why.sel(constraint="ok_ttft").values).endswith(f"is above {time[2] / 1.01:,.4g} s")
    fixed = given | {"axes": {"sp": [1]}, "fixed": given["fixed"] | {"context": 5000}}
    spec = json.loads(dsjax.sweep(fixed | {"constraints": {"max_ttft": {"4096": 3, "8192": 5}}}).attrs["dsjax_spec"])
    assert spec["bounds"] == {"max_ttft": 5.0}


def test_a_margin_is_the_same_as_tighter_slos():
    given = {"axes": {"batch": list(range(2, 300, 2))}, "fixed": FIXED | DECODE}
    given["fixed"].pop("batch")
    one = dsjax.sweep(given | {"constraints": {"min_tps_per_user": 20, "max_tpot": 0.06, "slo_margin": 0.1}})
    two = dsjax.sweep(given | {"constraints": {"min_tps_per_user": 22, "max_tpot": 0.06 / 1.1}})
    assert 0 < int(one.feasible.sum()) < 149
    np.testing.assert_array_equal(one.feasible, two.feasible)


@pytest.mark.parametrize(
    ("constraints", "message"),
    [
        ({"max_ttft": {"x": 1}}, "max_ttft: 'x'; expected prompt lengths in tokens"),
        ({"max_ttft": {"-5": 1}}, "max_ttft -5: -5.0 is out of range"),
        ({"max_ttft": {"4096": "1 GB"}}, "max_ttft 4096"),
        ({"max_ttft": {"4096": -1}}, "max_ttft 4096: -1 is out of range"),
        ({"max_ttft": {"4096": 3, "4096.0": 5}}, "4096 tokens are there twice"),
        ({"max_ttft": {"4096": 5, "8192": 3}}, "5 s up to 4096 tokens, 3 s up to 8192; expected no fall"),
        ({"max_ttft": {}}, r"max_ttft: \{\} is a dict; expected a number"),
        ({"max_tpot": {"4096": 1}}, "max_tpot: .* is a dict; expected a number"),
        ({"slo_margin": 0.1}, "slo_margin: 0.1; expected it beside one of min_tps_per_user"),
        ({"slo_margin": -0.1, "max_tpot": 1}, "slo_margin: -0.1 is out of range"),
        ({"slo_margn": 0.1, "max_tpot": 1}, "did you mean 'slo_margin'"),
    ],
)
def test_bad_constraints(constraints, message):
    with pytest.raises(dsjax.InputError, match=message):
        dsjax.sweep({"axes": {"tp": [1]}, "fixed": FIXED | DECODE, "constraints": constraints})


GROUPED = """
[model.grouped]
base = "DeepSeek-V3"
source = "a model of these tests: GQA, 8 KV heads, one head of 128 + 64"
num_key_value_heads = 8
q_lora_rank = 0
kv_lora_rank = 0

[model.dense]
base = "grouped"
source = "a model of these tests: no experts"
first_k_dense_replace = 61
n_routed_experts = 1
n_shared_experts = 0
num_experts_per_tok = 1
"""


@pytest.fixture
def own_models(tmp_path):
    (tmp_path / "models.toml").write_text(GROUPED, encoding="utf-8")
    return [tmp_path / "models.toml"]


def test_kv_of_gqa_stays_per_chip_until_tp_exceeds_the_kv_heads(own_models):
    """At a fixed batch per chip a group has tp times the sequences, a chip 1 / tp of their heads, down to one."""
    fixed = {k: v for k, v in (FIXED | DECODE).items() if k != "hardware"} | {"hardware_scale_up_domain": 64}
    space = grid.load(
        {"model": "grouped", "axes": {"tp": [1, 2, 4, 8, 16, 32]}, "fixed": fixed | {"hardware": "H800"}},
        catalogs=own_models,
    )
    found = evaluation.evaluate(space, function=explain.everything)
    cache = found["memory/kv_cache"][1]
    expected = 32 * 16384 * 62 * 8 * (192 + 128) * 2.0  # layers and the MTP one, 8 heads of keys and values
    np.testing.assert_allclose(cache, expected * np.array([1, 1, 1, 1, 2, 4]), rtol=1e-12)
    weights = found["memory/attention"][1]
    assert (np.diff(weights) < 0).all()


def test_a_dense_model_sends_nothing_to_experts_and_has_none(own_models):
    given = {"model": "dense", "axes": {"tp": [1, 2, 8]}, "fixed": FIXED | {"batch": 8, "ep": 8, "mtp": 0}}
    ds = dsjax.sweep(given, catalogs=own_models)
    blocks = ds.block_time.sum("tp")
    for name in ("q_a", "shared", "routed", "dispatch", "combine", "router", "mtp"):
        assert float(blocks.sel(block=name)) == 0.0, name
    assert bool((ds.block_time.sel(block="dense") > 0).all())
    point = dsjax.explain(ds, at={"tp": 8})
    assert float(point.memory_part.sel(part="experts")) == 0.0
    weights = 61 * (3 * 7168 * 18432 + (16 + 1) * 320 * 7168 * 8) + 2 * 2 * 129280 * 7168
    parts = point.memory_part.sel(part=["attention", "dense", "embedding"]).sum()
    norms = (2 * 61 + 1) * 7168  # on every chip
    np.testing.assert_allclose(float(parts), weights / 8 + norms, rtol=1e-12)  # fp8, both ends bf16


def test_both_kinds_of_attention_in_one_sweep(own_models):
    fixed = FIXED | DECODE
    both = dsjax.sweep({"axes": {"model": ["DeepSeek-V3", "grouped"]}, "fixed": fixed}, catalogs=own_models)
    for name in ("DeepSeek-V3", "grouped"):
        one = dsjax.sweep({"model": name, "axes": {"tp": [1]}, "fixed": fixed}, catalogs=own_models)
        np.testing.assert_allclose(both.step_time.sel(model=name), one.step_time, rtol=1e-14)
    assert bool((both.memory_per_chip.diff("model") > 0).all())  # a latent is what MLA is for


def test_the_optimum_has_the_keys_of_the_study(tmp_path):
    path = tmp_path / "optimum.json"
    args = ["sweep", "sg2260e_decode_128", "--axis", "nic=one-layer", "--quiet", "--json-best", str(path)]
    result = CliRunner().invoke(cli.main, args)
    assert result.exit_code == 0, result.output
    found = json.loads(path.read_text(encoding="utf-8"))
    assert found["chip_count"] == 128
    config = {"MLA_TP": 4, "MLA_DP": 32, "MOE_TP": 1, "MOE_EP": 128, "batch_per_chip": 10, "total_batch": 1280}
    assert found["optimal_config"] == config
    assert found["point"] | {"nic": "one-layer", "tp": 4, "batch": 10, "pipeline": "naive"} == found["point"]
    assert round(found["performance"]["tps_per_chip"]) == 108
    printed = CliRunner().invoke(cli.main, ["best", *args[1:5], "--format", "json"])
    printed = json.loads(printed.output)
    assert {key: printed[key] for key in found} == found
    assert CliRunner().invoke(cli.main, args).exit_code == 2  # exists
    prefill = CliRunner().invoke(cli.main, ["best", "sg2260e_prefill_16", "--format", "json"])
    prefill = json.loads(prefill.output)
    assert "batch_per_chip" not in prefill["optimal_config"] and "tps_per_batch" not in prefill["performance"]
    assert prefill["performance"]["FTL"] == prefill["rows"][0]["ttft"]


def test_an_optimum_of_nothing_is_an_empty_object(tmp_path):
    path = tmp_path / "optimum.json"
    args = ["sweep", "sg2260e_decode_128", "--axis", "batch=16", "--axis", "tp=32", "--json-best", str(path)]
    assert CliRunner().invoke(cli.main, args).exit_code == 1
    assert json.loads(path.read_text(encoding="utf-8")) == {}


def test_a_context_or_input_and_output_lengths():
    """What an option gives takes the place of what the file gives; both at once are refused."""
    lengths = dsjax.load_grid(SEVEN_CHIPS, fixed={"isl": 4096, "osl": 1024})
    assert "context" not in lengths.fixed and lengths.fixed["isl"] == 4096
    ds = dsjax.sweep(SEVEN_CHIPS, axes={"hardware": ["H800"], "batch": [64]}, fixed={"isl": 4096, "osl": 1024})
    assert "context" not in ds.coords and ds.isl == 4096
    again = dsjax.load_grid({"axes": {"tp": [1]}, "fixed": FIXED | DECODE}, axes={"isl": [4096]}, fixed={"osl": 10})
    assert "context" not in again.fixed
    back = {"axes": {"tp": [1]}, "fixed": {k: v for k, v in (FIXED | DECODE).items() if k != "context"}}
    back["fixed"] |= {"isl": 4096, "osl": 1024}
    assert dsjax.load_grid(back, fixed={"context": 77}).fixed["context"] == 77
    for wrong, message in (
        (back["fixed"] | {"context": 5}, "context: beside isl, osl"),
        (FIXED | DECODE | {"osl": 5}, "context: beside osl"),
    ):
        with pytest.raises(dsjax.InputError, match=message):
            dsjax.load_grid({"axes": {"tp": [1]}, "fixed": wrong})
    with pytest.raises(dsjax.InputError, match=r"fixed\['osl'\]: without isl"):
        dsjax.load_grid(SEVEN_CHIPS, fixed={"osl": 4096})


def test_the_title_names_the_model_in_use(own_models):
    space = dsjax.load_grid(SEVEN_CHIPS, fixed={"model": "grouped"}, catalogs=own_models)
    assert space.title == "GPU decode of grouped"


def test_explain_names_what_the_network_carries():
    ds = dsjax.explain({"axes": {"kv_split": [1, 8]}, "fixed": FIXED | DECODE | {"tp": 8}}, at={"kv_split": 8})
    assert ds.collective.values.tolist() == ["dispatch", "combine", "all-reduce", "KV exchange"]
    text = (
        CliRunner().invoke(cli.main, ["explain", "prefill", "--axis", "hardware=H800", "--at", "tp=8,chips=16"]).output
    )
    assert "TTFT" in text and "windows (lower bound)" in text and "tbo (lower bound)" in text
