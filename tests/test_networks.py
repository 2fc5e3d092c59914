"""Dispatch modes, expected loads and overlap against explicit routings, the calibrated forms and what was before."""

import dataclasses
import json
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dsjax
from dsjax.calibration import forms
from dsjax.catalog import reader
from dsjax.formulas import exchange, metrics, network, pipelines, roofline, routing
from dsjax.space import restoring
from dsjax.specs import fields, records

OF_STUDY = {"hardware": "SG2260E", "nic": "one-layer", "precision": "w8a8", "tp": 4, "kv_split": 2, "context": 4096}
PHASES = {"decode": {"batch": 32, "mtp": 1}, "prefill": {"prompts": 64}}


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


def model(k, groups=0, reach=0):
    sizes = {"num_experts_per_tok": k, "n_group": groups, "topk_group": reach, "n_routed_experts": 256}
    return types.SimpleNamespace(zero_experts=None, **{name: jnp.float64(x) for name, x in sizes.items()})


def routes(rng, tokens, experts, k, groups=1, reach=1):
    """[token, k] experts: `reach` of the groups, and k different experts of theirs, evenly."""
    scores = rng.random((tokens, experts))
    near = np.argsort(rng.random((tokens, groups)), axis=1)[:, :reach]
    far = np.ones((tokens, groups), bool)
    np.put_along_axis(far, near, False, axis=1)
    return np.argsort(scores + np.repeat(far, experts // groups, axis=1), axis=1)[:, :k]


ROUTINGS = [
    (256, 8, 8, 4, 32),
    (256, 8, 8, 4, 4),
    (256, 8, 1, 1, 8),
    (128, 8, 8, 2, 2),
    (160, 6, 8, 3, 16),
    (64, 4, 1, 1, 64),
]


@pytest.mark.parametrize(("experts", "k", "groups", "reach", "parts"), ROUTINGS)
def test_parts_that_a_token_visits(experts, k, groups, reach, parts):
    found = routes(np.random.default_rng(0), 4000, experts, k, groups, reach) // (experts // parts)
    mean = np.mean([len(set(row)) for row in found])
    of = model(k, groups if groups > 1 else 0, reach if groups > 1 else 0)
    assert float(routing.visited(jnp.float64(parts), of, float(experts))) == pytest.approx(mean, rel=0.02)


@pytest.mark.parametrize(("ep", "domain"), [(8, 8), (16, 4), (32, 8)])
def test_normal_volumes_are_the_mean_over_explicit_routings(ep, domain):
    """A copy to the card of the sender's place in every domain visited; from there to every card visited."""
    experts, k, tokens = 64, 4, 250
    rng = np.random.default_rng(1)
    inside = outside = 0
    for source in range(ep):
        for row in routes(rng, tokens, experts, k):
            cards = set(row // (experts // ep))
            outside += len({card // domain for card in cards} - {source // domain})
            inside += sum(card % domain != source % domain for card in cards)
    split = types.SimpleNamespace(ep=jnp.float64(ep), moe_tp=1.0, slots=experts / ep, tp=1.0, dp=float(ep))
    shares = exchange.copy_per_domain(model(k), split, float(domain))
    per_row = tokens * ep * k
    assert [float(x) for x in shares] == pytest.approx([inside / per_row, outside / per_row], rel=0.02, abs=1e-12)


def test_normal_sends_no_more_out_of_the_domain_and_no_more_inside_one():
    for ep in (1, 2, 8, 16, 72, 256):
        for domain in (1, 4, 8, 72, 256):
            for groups, reach in ((0, 0), (8, 4), (8, 1)):
                split = types.SimpleNamespace(
                    ep=jnp.float64(ep), moe_tp=1.0, slots=float(-(-256 // ep)), tp=1.0, dp=float(ep)
                )
                normal = [float(x) for x in exchange.copy_per_domain(model(8, groups, reach), split, float(domain))]
                single = [float(x) for x in exchange.copy_per_expert(split.ep, 1.0, float(domain))]
                assert min(normal) >= 0.0 and normal[1] <= single[1] + 1e-12
                assert domain < ep or normal[0] <= single[0] + 1e-12
                assert ep > 1 or normal == single == [0.0, 0.0]


LOADS = [(256, 8, 8, 8), (256, 8, 32, 16), (256, 8, 64, 256), (128, 4, 4, 32), (72, 6, 32, 64), (16, 2, 2, 32)]


@pytest.mark.parametrize(("experts", "k", "ep", "tokens"), LOADS)
def test_expected_load_of_the_busiest_card(experts, k, ep, tokens):
    slots, rng = -(-experts // ep), np.random.default_rng(2)  # 72 experts on 32 cards: 24 redundant copies
    busiest = [np.bincount((routes(rng, tokens, ep * slots, k) // slots).ravel()).max() for _ in range(300)]
    expected = routing.expected_imbalance(model(k), jnp.float64(ep), jnp.float64(slots), jnp.float64(tokens))
    assert float(expected) == pytest.approx(np.mean(busiest) / (tokens * k / ep), rel=0.04)


def test_expected_load_is_smooth_and_at_least_one():
    def load(tokens, ep, slots):
        return routing.expected_imbalance(model(8), ep, slots, tokens)

    for ep, slots in ((1.0, 256.0), (1.0, 8.0), (8.0, 1.0), (72.0, 4.0), (320.0, 1.0)):
        values = [float(load(a, ep, slots)) for a in (8.0, 64.0, 1e4, 1e7)]
        assert values == sorted(values, reverse=True) and values[-1] >= 1.0
        slope = float(jax.grad(load)(64.0, ep, slots))
        assert slope == pytest.approx(
            float(load(64.01, ep, slots) - load(63.99, ep, slots)) / 0.02, rel=1e-4, abs=1e-12
        )
    # One card has all rows, whatever is chosen: within what the quantile is good to.
    assert float(load(64.0, 1.0, 256.0)) == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize(("ep", "slots", "tokens"), [(1, 256, 3), (8, 32, 1), (64, 4, 1), (256, 1, 5)])
def test_a_card_has_no_more_rows_than_its_slots_and_the_tokens_allow(ep, slots, tokens):
    """R = min(l k A / ep, A min(k, s)), whatever l is asked for, or chance makes of few tokens."""
    split = types.SimpleNamespace(ep=jnp.float64(ep), slots=jnp.float64(slots), copies=False)
    for given in (1.0, 2.0, 1e6, 0.0):
        favour = {"expert_cv": jnp.float64(0.0), "expert_cv_placed": jnp.float64(9.0)}
        workload = types.SimpleNamespace(expert_imbalance=jnp.float64(given), **favour)
        rows, _ = routing.routed_rows(model(8), workload, split, jnp.float64(tokens))
        most = tokens * min(8, slots)
        even = 8 * tokens / ep
        load = given or float(routing.expected_imbalance(model(8), split.ep, split.slots, jnp.float64(tokens)))
        assert float(rows) == pytest.approx(min(load * even, most), rel=1e-12) and float(rows) <= most
        assert given != 1e6 or float(rows) == most


def test_the_largest_part_is_the_first_of_equals():
    for values, index in (
        ((2.0, 2.0, 1.0, 0.0), 0),
        ((1.0, 3.0, 2.0, 3.0), 1),
        ((0.0,) * 4, 0),
        ((1.0, 2.0, 3.0, 3.0), 2),
    ):
        assert int(metrics.largest([jnp.float64(x) for x in values])) == index


def test_the_core_takes_as_long_as_the_calibrated_forms():
    """An exchange and an all-reduce of the core model, and the forms that `dsjax calibrate` fits."""
    row = reader.numbers(reader.load()["hardware"]["H100"])
    hw, nic = records.Hardware(**row), records.Nic(**reader.numbers(reader.load()["nic"]["CX7"]))
    peaks = {
        "operand_bytes": 1.0,
        "scale_up_bytes_per_s": hw.scale_up_bytes_per_s,
        "scale_out_bytes_per_s": nic.scale_out_bytes_per_s,
    }
    for ep in (8.0, 32.0):
        fitted = {"inside": hw.exchange_utilisation, "outside": nic.exchange_utilisation}
        fitted |= {"start_s": hw.exchange_start_s, "outside_s": nic.exchange_start_s}
        shape = {"num_token": 128.0, "topk": 8.0, "hidden_size": 7168.0, "ep_size": ep, "node_num": ep / 8.0}
        net = exchange.exchange_links(hw, nic, 8.0, hw.exchange_utilisation, hw.exchange_start_s)
        shares = exchange.copy_per_expert(jnp.float64(ep), 1.0, 8.0)
        time = exchange.all_to_all(128.0 * 8.0 * 7168.0, shares, net)
        assert float(time.total) == pytest.approx(float(forms.exchange(fitted, shape, peaks)), rel=1e-12)
        net = exchange.exchange_links(hw, nic, 8.0, hw.exchange_utilisation, hw.exchange_start_s, 7e-6)
        time = exchange.all_to_all(128.0 * 8.0 * 7168.0, shares, net)
        own = forms.exchange_extended(fitted | {"hidden_s": 7e-6}, shape, peaks)
        assert float(time.total) == pytest.approx(float(own), rel=1e-12)
    fitted = {"inside": hw.scale_up_utilisation, "start_s": hw.all_reduce_start_s}
    fitted |= {"step_s": hw.scale_up_step_s, "rise_s": hw.all_reduce_rise_s}
    for direct, of in ((0.0, forms.all_reduce), (0.6, forms.all_reduce_extended)):
        slow = (hw.all_reduce_start_s, hw.all_reduce_rise_s, direct, hw.scale_up_bytes_per_s)
        for n, size in ((2.0, 1e3), (8.0, 1e8)):
            time = network.all_reduce(jnp.float64(size), jnp.float64(n), network.links(hw, nic), *slow)
            form = of(fitted | {"direct": direct}, {"num_gpus": n, "bytes": size}, peaks)
            assert float(time.total) == pytest.approx(float(form), rel=1e-12)
    assert float(network.all_reduce(jnp.float64(1e8), jnp.float64(1.0), network.links(hw, nic), *slow).total) == 0.0


def test_what_is_overlapped_is_a_partition_and_unhidden_zero_hides_all():
    a = roofline.Time(exposed_compute=3.0, exposed_latency=1.0, busy_compute=3.0)
    b = roofline.Time(exposed_network=2.0, busy_network=2.0)
    for unhidden in (0.0, 0.1, 0.3):
        both = roofline.alongside(a, b, unhidden)
        assert float(both.total) == pytest.approx(4.0 + 2.0 * unhidden)
        assert float(both.exposed_network) == pytest.approx(2.0 * unhidden) and float(both.busy_network) == 2.0
        assert float(roofline.alongside(b, a, unhidden).total) == pytest.approx(4.0 + 2.0 * unhidden)


def test_fields_left_out_are_like_others_in_turn():
    row = {"scale_up_utilisation": 0.8, "scale_up_step_s": 2e-6, "combine_start_s": 5e-6}
    full = fields.completed(fields.fields_of(records.Hardware), row)
    assert (full["exchange_utilisation"], full["combine_utilisation"], full["normal_utilisation"]) == (0.8, 0.8, 0.8)
    assert (full["exchange_start_s"], full["combine_start_s"], full["normal_start_s"]) == (2e-6, 5e-6, 2e-6)
    assert full["all_reduce_start_s"] == full["exchange_cores"] == 0.0


@pytest.mark.parametrize("phase", PHASES)
def test_a_row_that_says_nothing_of_its_exchanges_has_one_start_and_one_bandwidth(phase):
    fixed = OF_STUDY | PHASES[phase] | {"dispatch_mode": "low-latency", "pipeline": "naive", "ep": 32}
    grid = {"phase": phase, "axes": {"expert_imbalance": [1.0, 1.2]}, "fixed": fixed}
    chip = reader.load()["hardware"]["SG2260E"]
    names = ("scale_up_utilisation", "scale_up_step_s")
    said = {f"hardware_{what}_{name.removeprefix('scale_up_').replace('step_s', 'start_s')}": chip[name]
            for name in names for what in ("exchange", "combine", "normal")}  # fmt: skip
    ds, other = dsjax.sweep(grid), dsjax.sweep(grid | {"fixed": fixed | said})
    np.testing.assert_array_equal(ds.step_time, other.step_time)
    slower = dsjax.sweep(grid | {"fixed": fixed | said | {"hardware_exchange_start_s": chip["scale_up_step_s"] + 1e-5}})
    more = slower.block_time.sel(block="dispatch") - ds.block_time.sel(block="dispatch")
    np.testing.assert_allclose(more, 58 * 1e-5, rtol=1e-9)


def test_dispatch_mode_and_unhidden_share_of_prefill():
    axes = {"ep": [32, 64], "pipeline": ["naive", "dual-mbatch"], "unhidden": [0.0, 0.2]}
    axes |= {"dispatch_mode": ["low-latency", "normal", "auto"]}
    ds = dsjax.sweep({"phase": "prefill", "axes": axes, "fixed": OF_STUDY | PHASES["prefill"]})
    normal, automatic = (ds.step_time.sel(dispatch_mode=name) for name in ("normal", "auto"))
    np.testing.assert_array_equal(normal, automatic)
    sent = ds.busy_network.sel(pipeline="naive", ep=32)  # one domain: normal sends no more
    assert (sent.sel(dispatch_mode="normal") < sent.sel(dispatch_mode="low-latency")).all()
    dual = ds.step_time.sel(pipeline="dual-mbatch")
    assert (dual.sel(unhidden=0.2) > dual.sel(unhidden=0.0)).all()
    parts = sum(ds[f"exposed_{name}"] for name in ("compute", "memory", "network", "latency"))
    np.testing.assert_allclose(parts.transpose(*ds.step_time.dims), ds.step_time, rtol=1e-12)
    # A file older than the questions says nothing of them.
    data = json.loads(ds.attrs["dsjax_spec"])
    for name in ("unhidden", "dispatch_mode"):
        del data["axes"][name]
    older = restoring.space(json.dumps(data))
    assert (older.fixed["unhidden"], older.fixed["dispatch_mode"]) == (0.0, "low-latency")


def test_normal_mode_takes_cores_where_batches_overlap():
    fixed = {"hardware": "H800", "nic": "CX7", "precision": "fp8", "context": 4096, "prompts": 64, "ep": 64}
    rates = {"hardware_exchange_cores_bytes_per_s": [1e11, 2e12, 0.0], "hardware_exchange_cores": [0.0, 0.18, 0.6]}
    axes = rates | {"pipeline": ["naive", "dual-mbatch", "sbo"]}
    ds = dsjax.sweep({"phase": "prefill", "axes": axes, "fixed": fixed})
    busy = ds.busy_compute.transpose("hardware_exchange_cores", "pipeline", ...)
    naive, halves = (busy.sel(pipeline=name) for name in ("naive", "dual-mbatch"))
    assert np.ptp(naive.values) == 0.0 and (halves.diff("hardware_exchange_cores") > 0).all()
    # Without a bandwidth of their own, cores do not limit the exchange; little of one does.
    sent = ds.block_time.sel(block="dispatch", pipeline="naive")
    free = sent.sel(hardware_exchange_cores_bytes_per_s=0.0)
    assert np.ptp(free.values) == 0.0
    limited = sent.sel(hardware_exchange_cores_bytes_per_s=1e11, hardware_exchange_cores=[0.18, 0.6])
    assert (limited.diff("hardware_exchange_cores") < 0).all() and (limited > free.max()).all()
    # Overlap within one batch is between none and all of what it hides.
    naive, single = (ds.step_time.sel(pipeline=name) for name in ("naive", "sbo"))
    hidden = ds.block_time.sel(pipeline="naive", block="combine")
    assert (single < naive).all() and (single > naive - hidden).all()


def test_single_batch_overlap_hides_the_combine_behind_the_second_gemm():
    def network_time(seconds):
        return roofline.Time(exposed_network=jnp.float64(seconds))

    work = {name: roofline.Time(exposed_compute=jnp.float64(seconds)) for name, seconds in (("up", 5.0), ("down", 3.0))}
    layer = pipelines.LayerTimes(
        before=roofline.Time(),
        after=roofline.Time(),
        reduce=roofline.Time(),
        dispatch=network_time(2.0),
        shared=roofline.Time(exposed_compute=jnp.float64(1.0)),
        routed=work["up"],
        down=work["down"],
        combine=network_time(4.0),
        closing=roofline.Time(),
    )
    parts = pipelines.Parts(layer=layer, layers=10.0, rest=network_time(7.0), blocks={}, unhidden=0.1)
    time, _ = pipelines.single_batch_overlap(lambda batch: parts, 1.0)
    assert float(time.total) == pytest.approx(7.0 + 10.0 * (2.0 + 5.0 + 4.0 + 0.1 * 3.0))
    twice = dataclasses.replace(parts).twice()
    assert twice.unhidden == 0.1 and float(twice.layer.combine.total) == 8.0


def test_groups_of_a_config(tmp_path):
    config = json.loads((reader.DATA / "models" / "DeepSeek-V3.json").read_text(encoding="utf-8"))
    of = reader.load()["model"]["DeepSeek-V3"]
    assert (of["n_group"], of["topk_group"]) == (8, 4)
    assert reader.load()["model"]["Kimi-K2"]["n_group"] == 0
    for key, value, text in (
        ("n_group", 7, "a divisor of n_routed_experts 256"),
        ("topk_group", 9, "at most n_group 8"),
        ("num_experts_per_tok", 200, "num_experts_per_tok 200"),
    ):
        path = tmp_path / "config.json"
        path.write_text(json.dumps(config | {key: value}), encoding="utf-8")
        with pytest.raises(dsjax.InputError, match=text):
            reader.load(models=[str(path)])["model"][str(path)]


@pytest.mark.parametrize("seconds", [0.0, 1e-7, 5e-6, 1e-3])
def test_transfers_hide_in_the_fixed_time_and_both_parts_are_slopes(seconds):
    """Network is what rates change, latency what times change; nothing hidden is nothing changed."""

    def total(v, h):
        return sum(network.partly_hidden(v, h))

    assert float(total(seconds, 0.0)) == seconds
    network_s, latency_s = network.partly_hidden(seconds, 5e-6)
    by_v, by_h = jax.grad(total, (0, 1))(seconds, 5e-6)
    np.testing.assert_allclose([network_s, latency_s], [seconds * by_v, 5e-6 * by_h], rtol=1e-9, atol=1e-18)
    assert max(0.0, seconds - 5e-6) <= float(network_s + latency_s) + 1e-18 <= seconds + 2e-18
    assert np.isfinite(jax.grad(total, (0, 1))(seconds, 0.0)).all()


def test_hidden_time_makes_combine_sooner_and_its_parts_still_add_up():
    axes = {"ep": [32, 64], "hardware_combine_hidden_s": [0.0, 8e-6]}
    ds = dsjax.sweep({"axes": axes, "fixed": OF_STUDY | PHASES["decode"] | {"pipeline": "naive"}})
    none, some = (ds.sel(hardware_combine_hidden_s=x) for x in (0.0, 8e-6))
    assert (some.step_time < none.step_time).all() and (some.step_time > 0.5 * none.step_time).all()
    parts = sum(ds[f"exposed_{name}"] for name in ("compute", "memory", "network", "latency"))
    np.testing.assert_allclose(parts, ds.step_time, rtol=1e-12)
