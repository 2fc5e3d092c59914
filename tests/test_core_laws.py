"""Laws of the core model: monotone, homogeneous, conserved; the network against explicit routings."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dsjax
from dsjax import evaluation
from dsjax.catalog import reader
from dsjax.formulas import efficiency, exchange, network
from dsjax.space import grid
from dsjax.specs import fields, records

FIXED = {"context": 4096, "hardware": "H800", "nic": "CX7", "precision": "fp8", "expert_imbalance": 1.0}
PHASES = {
    "decode": {"ep": 64, "batch": 32, "mtp": 1, "tp": 2},
    "prefill": {"ep": 64, "prompts": 64, "tp": 4, "sp": 2},
}
PIPELINES = ["naive", "windows", "dual-mbatch", "tbo"]
RATES = (
    "hardware_hbm_bytes_per_s hardware_bf16_flops_per_s hardware_fp8_flops_per_s hardware_scale_up_bytes_per_s "
    "nic_scale_out_bytes_per_s"
).split()


def sweep(phase, axes, **fixed):
    axes = {"pipeline": PIPELINES} | axes
    given = FIXED | PHASES[phase] | fixed
    fixed = {k: v for k, v in given.items() if k not in axes and not (k == "context" and "isl" in given)}
    return dsjax.sweep({"phase": phase, "axes": axes, "fixed": fixed})


@settings(max_examples=10, deadline=None, derandomize=True)
@given(
    phase=st.sampled_from(sorted(PHASES)),
    rate=st.sampled_from(RATES),
    factor=st.floats(1.01, 1000),
    context=st.floats(1, 2e5),
    tp=st.sampled_from([1, 2, 8]),
    kv_split=st.sampled_from([1, 2, 8]),
    shared_tp=st.sampled_from([1, 2, 8]),
)
def test_more_of_any_rate_never_slows(phase, rate, factor, context, tp, kv_split, shared_tp):
    record, field = rate.split("_", 1)
    base = reader.load()[record][FIXED[record]][field]
    choices = {"context": context, "tp": tp, "sp": 1, "kv_split": kv_split, "shared_tp": shared_tp}
    time = sweep(phase, {rate: [base / factor, base, base * factor]}, **choices).step_time
    steps = time.transpose(rate, "pipeline").values
    assert (np.diff(steps, axis=0) <= 1e-12 * steps[1:]).all()


@pytest.mark.parametrize("phase", PHASES)
def test_longer_context_never_speeds_up(phase):
    ds = sweep(phase, {"context": [1.0, 100.0, 4096.0, 8192.0, 131072.0], "tp": [1, 4]}, sp=1)
    assert bool((ds.step_time.diff("context") >= 0).all())
    assert bool((ds.memory_per_chip.diff("context") > 0).all())


@pytest.mark.parametrize("phase", PHASES)
def test_a_step_is_between_its_longest_part_and_their_sum(phase):
    ds = sweep(phase, {"tp": [1, 2, 4], "ep": [16, 64], "kv_split": [1, 2]}, sp=1)
    assert bool((ds.step_time <= ds.block_time.sum("block") * (1 + 1e-12)).all())
    assert bool((ds.step_time >= ds.block_time.max("block") * (1 - 1e-12)).all())
    parts = sum(ds[f"exposed_{name}"] for name in ("compute", "memory", "network", "latency"))
    np.testing.assert_allclose(parts.transpose(*ds.step_time.dims), ds.step_time, rtol=1e-12)


def test_weights_per_chip_never_rise_with_the_split():
    """KV per chip grows with tp at a fixed batch per chip: every chip of a group reads all its latents."""
    ds = sweep("decode", {"tp": [1, 2, 4, 8], "moe_tp": [1, 2, 4], "ep": [16, 64, 256]}, batch=1, context=1, mtp=0)
    weights = ds.memory_per_chip
    for axis in ("tp", "moe_tp", "ep"):
        assert bool((weights.diff(axis) <= 1e-9 * weights.max()).all()), axis
    long = sweep("decode", {"tp": [1, 2, 4, 8]}, batch=64, context=1e5, mtp=0)
    assert bool((long.memory_per_chip.diff("tp") > 0).all())


def test_a_split_that_is_impossible_is_masked_not_rounded():
    axes = {"tp": [1, 3, 8, 16], "chips": [64, 100], "moe_tp": [1, 3, 8]}
    fixed = {k: v for k, v in (FIXED | PHASES["decode"]).items() if k not in ("ep", "tp")}
    ds = dsjax.sweep({"phase": "decode", "axes": axes, "fixed": fixed})
    for index in np.ndindex(4, 2, 3):
        tp, chips, moe_tp = (axes[name][i] for name, i in zip(axes, index, strict=True))
        point = ds.isel(dict(zip(axes, index, strict=True)))
        assert bool(point.ok_chips) == (chips % tp == 0 and chips % moe_tp == 0)
        assert bool(point.ok_tp) == (128 % tp == 0)
        assert bool(point.ok_topology) == (
            chips <= 8 or (chips % 8 == 0 and all(8 % size == 0 or size % 8 == 0 for size in (tp, moe_tp)))
        )
        assert np.isfinite(float(point.step_time))


def links(**numbers):
    base = {"up_bytes_per_s": 1e11, "out_bytes_per_s": 1e10, "up_step_s": 1e-6, "out_step_s": 1e-5, "domain": 8.0}
    with jax.enable_x64(True):
        return network.Links(**{k: jnp.asarray(v, jnp.float64) for k, v in (base | numbers).items()})


@pytest.mark.parametrize("domain", [1.0, 16.0])
def test_hierarchical_all_reduce_of_one_level_is_the_ring(domain):
    with jax.enable_x64(True):
        net = links(domain=domain)
        time = network.all_reduce(jnp.asarray(1e8), jnp.asarray(16.0), net)
        rate, step = (net.out_bytes_per_s, net.out_step_s) if domain == 1 else (net.up_bytes_per_s, net.up_step_s)
        ring = 2 * 15 / 16 * 1e8 / rate + 2 * 15 * step
        np.testing.assert_allclose(time.total, ring, rtol=1e-14)
        assert float(network.all_reduce(jnp.asarray(1e8), jnp.asarray(1.0), net).total) == 0


@pytest.mark.parametrize(("ep", "domain"), [(8, 8), (8, 4), (16, 4), (16, 8)])
def test_all_to_all_volume_is_the_mean_over_explicit_routings(ep, domain):
    """Every copy of every token of a small cluster is counted: what a card receives from its domain and outside."""
    rng = np.random.default_rng(0)
    experts, top_k, tokens, draws = 4 * ep, 4, 16, 60
    inside = outside = 0
    for _ in range(draws):
        for source in range(ep):
            for _ in range(tokens):
                cards = rng.choice(experts, top_k, replace=False) // (experts // ep)
                away = cards[cards != source]
                same = away // domain == source // domain
                inside, outside = inside + same.sum(), outside + (~same).sum()
    rows = top_k * tokens * ep / ep  # received by one card, its own included
    with jax.enable_x64(True):
        received = []
        for slow in ("up_bytes_per_s", "out_bytes_per_s"):
            fast = {"up_bytes_per_s": 1e30, "out_bytes_per_s": 1e30, "up_step_s": 0.0, "out_step_s": 0.0}
            net = links(**fast | {slow: 1.0}, domain=float(domain))
            shares = exchange.copy_per_expert(jnp.asarray(float(ep)), 1.0, net.domain)
            time = exchange.all_to_all(jnp.asarray(float(rows)), shares, net)
            received.append(float(time.exposed_network))
    for mean, formula in zip((inside, outside), received, strict=True):
        assert abs(mean / draws / ep - formula) <= 0.03 * rows


CONTINUOUS = [
    (record, field)
    for record, cls in {"hardware": records.Hardware, "nic": records.Nic}.items()
    for field in fields.fields_of(cls)
    if field.endswith(("_per_s", "_s"))
]
KNOTS = [field for field in efficiency.FORMS["kernel"].record.__dataclass_fields__ if field.endswith("_s")]


def time_elasticities(step, point, bounds, **policies):
    """d ln step_time / d ln x for every rate and every absolute time."""

    time = step(point, **policies).time.total
    numbers = {(r, f): getattr(getattr(point, r), f) for r, f in (*CONTINUOUS, *(("curve", knot) for knot in KNOTS))}
    moved = evaluation.substituted({"time": time}, {x: x * evaluation.along(1.0, name) for name, x in numbers.items()})
    return {".".join(name): evaluation.tangent(moved["time"], name) / time for name in numbers}


@pytest.mark.parametrize("phase", PHASES)
def test_time_is_homogeneous_and_gradients_are_finite_also_where_masked(phase):
    """The last tp is no divisor, A100 has no fp8: masked points, and finite."""
    axes = {"hardware": ["H800", "A100"], "tp": [1, 8, 3], "pipeline": PIPELINES, "ep": [64, 72]}
    fixed = {k: v for k, v in (FIXED | PHASES[phase] | {"sp": 1, "hardware_step_s": 1e-4}).items() if k not in axes}
    space = grid.load({"phase": phase, "axes": axes, "fixed": fixed})
    found = evaluation.evaluate(space, function=time_elasticities)
    total = 0.0
    for name, (dims, array) in found.items():
        assert np.isfinite(array).all(), name
        full = array.reshape([space.sizes[a] if a in dims else 1 for a in space.axes])
        total = total + (full if name.endswith("_per_s") else -full)
    np.testing.assert_allclose(total, -1.0, atol=1e-9)


def test_input_and_output_lengths_give_the_mean_context():
    decode = sweep("decode", {}, isl=4000, osl=2000)  # lengths between 4000 and 6000, evenly
    assert_same_time(decode, sweep("decode", {}, context=5000, context_cv=2000 / math.sqrt(12.0) / 5000))
    assert (decode.step_time > sweep("decode", {}, context=5000).step_time).all()
    assert_same_time(sweep("prefill", {}, isl=4000, osl=2000), sweep("prefill", {}, context=4000))


def assert_same_time(a, b):
    np.testing.assert_allclose(a.step_time, b.step_time, rtol=1e-14)


def test_a_chip_of_ones_own(tmp_path):
    own = tmp_path / "mine.toml"
    own.write_text('[hardware.Mine]\nbase = "H800"\nsource = "a wish"\nhbm_bytes_per_s = "8 TB/s"\n', encoding="utf-8")
    axes = {"hardware": ["H800", "Mine"], "batch": [32]}
    fixed = {"nic": "CX7", "ep": 64, "precision": "fp8", "context": 4096}
    ds = dsjax.sweep({"axes": axes, "fixed": fixed}, catalogs=[own])
    assert float(ds.busy_memory.sel(hardware="Mine")[0]) < float(ds.busy_memory.sel(hardware="H800")[0])
    with pytest.raises(dsjax.InputError, match="Mine"):
        dsjax.sweep({"axes": axes, "fixed": fixed})
    own.write_text('[hardware.Mine]\nbase = "H800"\nsource = "a wish"\nhbm_bytes_per_s = "8 TB"\n', encoding="utf-8")
    with pytest.raises(dsjax.InputError, match="mine.toml: .hardware.Mine. hbm_bytes_per_s: '8 TB'"):
        dsjax.sweep({"axes": axes, "fixed": fixed}, catalogs=[own])
