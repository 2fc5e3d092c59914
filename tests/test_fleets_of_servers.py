"""`fleets`: what it searches, its bounds, its answers against sweeps, the search for the fewest instances."""

import functools
import json

import numpy as np
import pytest

import dsjax
from dsjax.analysis.fleet import bounds, demand, disaggregated, fewest, pairs, spaces
from dsjax.analysis.fleet.answers import Pools, Servers
from dsjax.specs.variables import PERCENTILES

HARDWARE = ["H200", "B200", "H20"]
SIZES = {"tp": [1, 8], "chips": [8, 16]}
ASKED = {"isl": 4000, "osl": 500, "requests_per_s": 20.0, "max_ttft": 2.0, "max_tpot": 0.05}
MODEL = "DeepSeek-R1"


@functools.cache
def found(**changes):
    return dsjax.fleets(**ASKED | {"hardware": HARDWARE, "model": MODEL, "axes": SIZES} | changes)


def spaces_of(question, nic="CX7", **changes):
    grids = spaces.of_catalog(MODEL, HARDWARE, nic, None, None)
    return spaces.loaded(grids, question, **{"axes": SIZES} | changes)


# ---- the search for the fewest


@pytest.mark.parametrize("seed", range(40))
def test_cheapest_equals_trying_every_number(seed):
    rng = np.random.default_rng(seed)
    n = rng.integers(1, 300)
    group = np.unique(rng.integers(0, rng.integers(1, 9), n), return_inverse=True)[1]
    true = np.floor(10 ** rng.uniform(0, 4, n))
    true[rng.random(n) < 0.2] = np.inf  # keeps the limits with no number
    low = np.where(np.isfinite(true), np.maximum(1, np.floor(true * rng.uniform(0.05, 1, n))), 3.0)
    low[rng.random(n) < 0.05] = np.inf
    cost = rng.choice([8.0, 16, 32, 64], n) * rng.choice([1, 2.3], n)
    most, spare = np.full(n, rng.choice([np.inf, 50.0, 3000.0])), int(rng.integers(0, 3))
    tried = []

    def keeps(layouts, numbers):
        assert (numbers >= low[layouts]).all() and (numbers <= most[layouts]).all()
        tried.append(len(layouts))
        return numbers >= true[layouts]

    chosen = fewest.cheapest(low, cost, group, keeps, most, spare)
    true = np.where(np.isinf(low) | (true > most), np.inf, true)
    best = np.array([np.min((true + spare)[group == i] * cost[group == i]) for i in range(group.max() + 1)])
    wanted = np.isfinite(true) & ((true + spare) * cost <= best[group] * (1 + 1e-9))
    np.testing.assert_array_equal(chosen, np.where(wanted, true, 0))
    assert len(tried) <= 12


@pytest.mark.parametrize("exact", [True, False])
def test_pairs_end_where_no_pool_can_lack_an_instance(exact):
    rng = np.random.default_rng(0)
    n = 200
    need = rng.integers(1, 30, n), rng.integers(1, 30, n)
    work = rng.uniform(0.5, 3, n)  # what both lack together: 1 / x + 1 / y below it
    cost = [rng.choice([8.0, 16], n), rng.choice([8.0, 64], n)]

    def keeps(own, instances):
        x, y = instances
        slack = need[0][own] / np.maximum(x, 0.1) + need[1][own] / np.maximum(y, 0.1)
        return (x >= need[0][own]) & (y >= need[1][own]) & (slack <= work[own])

    start = need if exact else [x + rng.integers(0, 9, n) for x in need]
    x, y = pairs.fewest(start, cost, [np.full(n, np.inf)] * 2, keeps, exact)
    assert np.isfinite(x).all() and keeps(np.arange(n), (x, y)).all()
    for fewer in ((x - 1, y), (x, y - 1)):
        assert not keeps(np.arange(n), fewer).any()
    limited = pairs.fewest(need, cost, [np.full(n, 5.0)] * 2, keeps, exact)
    assert not (np.isfinite(limited[0]) & ((limited[0] > 5) | (limited[1] > 5))).any()


def test_up_to_four_instances_more_of_each_are_tried_at_once():
    """All 25 pairs of them, the cheapest is taken; only where none keeps the limits is it more, in threes."""
    tried = []

    def keeps(own, instances):
        tried.append({*zip(*(x.tolist() for x in instances), strict=True)})
        return instances[0] + instances[1] >= least

    cost, most = [np.array([3.0]), np.array([1.0])], [np.array([np.inf])] * 2
    for least, steps, found in ((9.0, range(5), (4.0, 5.0)), (12.0, range(0, 13, 3), (1.0, 11.0))):
        tried.clear()
        x, y = pairs.fewest([np.ones(1), np.ones(1)], cost, most, keeps, True)
        assert tried[0] == {(1.0, 1.0)}
        assert {(1.0 + a, 1.0 + b) for a in steps for b in steps} in tried
        assert x + y >= least and (float(x[0]), float(y[0])) == found


# ---- answers and bounds


def limits_of(**given):
    return demand.question(ASKED | given).limits


@functools.cache
def both(users=False):
    load = {"requests_per_s": None, "concurrency": 900} if users else {}
    question = demand.question(ASKED | load)
    of = spaces_of(question, axes=SIZES | {"batching": ["prefill-first", "chunked"]})
    return Servers(of["aggregated"], question.limits), Pools(of["disaggregated"], question.limits), question


@pytest.mark.parametrize("users", [False, True])
def test_answers_are_those_of_sweeps(users):
    servers, pools, _ = both(users)
    load, amount = ("concurrency", 60) if users else ("requests_per_s", 2.0)
    layouts = np.array([0, 3, 10, 17, 23])
    values = servers.at(layouts, amount, True)
    space = servers.layouts
    for k, i in enumerate(layouts.tolist()):
        own = {axis: space.labels(axis)[i].item() for axis in space.axes}
        grid = {"model": MODEL, "phase": "serve", "fixed": {"isl": 4000, "osl": 500, load: amount} | own}
        point = dsjax.sweep(grid | {"fixed": grid["fixed"] | {"nic": "CX7"}}).squeeze()
        for name in ("ttft_mean", "ttft_p99", "tpot_p90", "latency_mean", "utilisation"):
            assert values[name][k] == pytest.approx(float(point[name]), rel=1e-9)
        assert bool(values["ok_memory"][k]) == bool(point.ok_memory)
    i, j = np.array([0, 5, 9]), np.array([4, 8, 1])
    values = pools.at(i, j, 20.0 if not users else 900, ([7, 8, 40], [5, 3, 6]), True)
    labels = pools.layouts["prefill"], pools.layouts["decode"]
    for k in range(3):
        own = {axis: of.labels(axis)[x[k]].item() for of, x in zip(labels, (i, j)) for axis in of.axes}
        counts = {"prefill_instances": (7, 8, 40)[k], "decode_instances": (5, 3, 6)[k]}
        fixed = {"isl": 4000, "osl": 500, "nic": "CX7", load: 900 if users else 20.0} | own | counts
        point = dsjax.sweep({"model": MODEL, "phase": "disaggregated", "fixed": fixed}).squeeze()
        for name in ("ttft_mean", "ttft_p99", "tpot_p90", "prefill_utilisation", "decode_utilisation"):
            assert values[name][k] == pytest.approx(float(point[name]), rel=1e-9)


def kept(values):
    return np.logical_and.reduce([x for name, x in values.items() if name.startswith("ok_")])


def could(most):
    return ~np.logical_or.reduce([*most.refused.values()])


def test_no_instance_takes_more_than_its_bound():
    servers, pools, question = both()
    for limits in (question.limits, {"max_ttft_p99": 6.0}, {"max_tpot_mean": 0.03}):
        servers.limits = pools.limits = limits
        tight = 0
        for ids, chunked, record in servers.kinds:
            most = bounds.of_servers(record, chunked, record.load, limits)
            can = could(most)
            assert not kept(servers.at(ids, 1.02 * np.where(can, most.rate, 1e3), True)).any()
            assert can.all() or not kept(servers.at(ids[~can], 1e-3, True)).any()
            tight += kept(servers.at(ids[can], 0.3 * most.rate[can], True)).sum()
        assert tight >= 4
        every = np.arange(12)
        most = bounds.of_prefill(*pools.record("prefill"), limits)
        assert not kept(pools.at(every, None, 1.02 * np.where(could(most), most.rate, 1e3), (1.0, None), True)).any()
        most = bounds.of_decode(*pools.record("decode"), limits)
        assert not kept(pools.at(None, every, 1.02 * np.where(could(most), most.rate, 1e3), (None, 1.0), True)).any()
    servers.limits = pools.limits = question.limits


def test_an_ideal_other_pool_is_never_worse():
    _, pools, _ = both()
    rng = np.random.default_rng(1)
    i, j, n, m = (rng.integers(0, 12, 60), rng.integers(0, 12, 60), rng.integers(1, 60, 60), rng.integers(1, 20, 60))
    together = pools.at(i, j, 20.0, (n, m), True)
    good = kept(together)
    assert 5 < good.sum() < 55
    prompts, alone = pools.at(i, None, 20.0, (n, None), True), pools.at(None, j, 20.0, (None, m), True)
    assert kept(prompts)[good].all() and kept(alone)[good].all()
    for values in (prompts, alone):
        for name in ("ttft_mean", "ttft_p99", "transfer_share"):
            assert (values[name] <= together[name] * (1 + 1e-9))[good].all()
    assert alone["ttft_mean"][good].max() < 0.2 * together["ttft_mean"][good].min()  # the transfer alone
    assert prompts["tpot_mean"].max() < 1e-6
    np.testing.assert_allclose(alone["tpot_p90"][good], together["tpot_p90"][good], rtol=1e-9)


# ---- fleets


def test_a_row_for_each_kind_and_pair_of_hardware():
    ds = found()
    keys = list(zip(ds.kind.values.tolist(), ds.prefill_hardware.values.tolist(), ds.decode_hardware.values.tolist()))
    assert len(set(keys)) == len(keys) == 3 + 9
    assert [key for key in keys if key[0] == "aggregated" and key[1] != key[2]] == []
    hardware = dict(zip(keys, ds.hardware.values.tolist()))
    assert hardware["disaggregated", "H20", "B200"] == "H20 + B200" and hardware["aggregated", "H20", "H20"] == "H20"
    cost = ds.cost_per_hour.values
    known = ~np.isnan(cost)
    assert (np.diff(cost[known]) >= 0).all() and known[: known.sum()].all()  # unknown prices last
    assert (np.diff(ds.chips.values[~known]) >= 0).all() and known.sum() == 6
    assert json.loads(ds.attrs["configurations"]) == {"aggregated": 24, "disaggregated": 144}
    same = found(mixed=False)
    assert same.sizes["rank"] == 6
    assert set(same.chips.values) <= set(ds.chips.values)
    alone = found(kinds="aggregated")
    assert alone.kind.values.tolist() == ["aggregated"] * 3 and "prefill_instances" in alone


def test_fewest_chips_where_they_are_asked_for():
    ds, cheapest = found(minimize="chips"), found()
    assert (np.diff(ds.chips.values) >= 0).all()
    assert float(ds.chips[0]) <= float(cheapest.chips[0])
    assert float(ds.cost_per_hour[0]) >= float(cheapest.cost_per_hour[0])


def test_pairs_cost_least_of_their_hardware():
    """Of all pairs of layouts and numbers, tried one by one."""
    ds, (_, pools, question) = found(), both()
    labels = {pool: pools.layouts[pool].labels(f"{pool}_hardware") for pool in ("prefill", "decode")}
    for prefill, decode in (("H200", "H200"), ("H200", "B200"), ("B200", "H200")):
        of = (ds.kind == "disaggregated") & (ds.prefill_hardware == prefill) & (ds.decode_hardware == decode)
        row = ds.isel(rank=np.flatnonzero(of)[0])
        own = [np.flatnonzero(labels[pool] == name) for pool, name in (("prefill", prefill), ("decode", decode))]
        numbers = [np.arange(1, int(row[f"{pool}_chips"]) // 8 + 3) for pool in ("prefill", "decode")]
        i, j, n, m = (x.ravel() for x in np.meshgrid(*own, *numbers, indexing="ij"))
        price = [pools.layouts[pool].chips * pools.layouts[pool].price for pool in ("prefill", "decode")]
        cost = n * price[0][i] + m * price[1][j]
        below = np.flatnonzero(cost < float(row.cost_per_hour) * (1 + 1e-9))
        good = kept(pools.at(i[below], j[below], question.amount, (n[below], m[below]), True))
        assert cost[below][good].min() == pytest.approx(float(row.cost_per_hour))


@pytest.mark.parametrize("minimize", ["cost_per_hour", "chips"])
def test_what_an_instance_costs(minimize):
    question = demand.question(ASKED, minimize=minimize)
    search = disaggregated.Search(spaces_of(question)["disaggregated"], question)
    price = {"H200": 2.9, "B200": 3.7, "H20": 1.0} if minimize == "cost_per_hour" else {}  # H20: of no known price
    for pool, candidates in search.of.items():
        hardware = candidates.layouts.labels(f"{pool}_hardware").tolist()
        np.testing.assert_allclose(candidates.cost, candidates.layouts.chips * [price.get(x, 1.0) for x in hardware])


def test_one_nic_for_a_fleet():
    ds = found(nic=("CX7", "E810"))
    assert set(ds.nic.values.tolist()) == {"CX7", "E810"} and ds.sizes["rank"] == 2 * 12
    for name in ("prefill_nic", "decode_nic"):
        assert (ds[name] == ds.nic).all()
    assert json.loads(ds.attrs["configurations"])["disaggregated"] == 2 * 144
    slow = [
        float(ds.transfer_time[np.flatnonzero((ds.nic == x) & (ds.kind == "disaggregated"))].min())
        for x in ("CX7", "E810")
    ]
    assert slow[1] > 3 * slow[0]


def test_grids_of_servers_and_of_pools():
    serve = {"model": MODEL, "phase": "serve", "axes": {"hardware": ["H200"], "nic": ["CX7"], "tp": [1, 8]}}
    serve |= {"fixed": {"chips": 8, "isl": 10, "osl": 10, "concurrency": 3}, "constraints": {"max_itl_p99": 0.5}}
    pool = {"hardware": ["H200"], "tp": [1, 8], "chips": 8, "nic": "CX7"}
    pools = {"model": MODEL, "phase": "disaggregated", "prefill": pool, "decode": pool}
    pools |= {"axes": {"prefill_instances": [1], "requests_per_s": [1.0]}, "fixed": {"isl": 10, "osl": 10}}
    pools["constraints"] = {"max_ttft": 0.001}  # the question's limit takes its place
    ds = dsjax.fleets(serve, pools, **ASKED)
    limits = json.loads(ds.attrs["limits"])
    assert limits["aggregated"] == {"max_itl_p99": 0.5, "max_ttft_p90": 2.0, "max_tpot_p90": 0.05}
    assert limits["disaggregated"] == {"max_ttft_p90": 2.0, "max_tpot_p90": 0.05}
    assert ds.kind.values.tolist() == ["aggregated"]  # more instances for prompts are needed than the grid has
    ds = dsjax.fleets(None, pools, **ASKED | {"requests_per_s": 4.0})
    assert ds.kind.values.tolist() == ["disaggregated"] and float(ds.prefill_instances[0]) == 1
    ds = dsjax.fleets(None, pools, **ASKED)
    assert ds.sizes["rank"] == 0 and 4 < json.loads(ds.attrs["largest"])["amount"] < 20


def test_other_numbers_of_rows_and_of_requests():
    base = found(hardware="H200")
    ds = found(hardware="H200", settings=None, cached_fraction=0.5)
    assert float(ds.chips[0]) < float(base.chips[0])
    ds = dsjax.fleets(
        **ASKED,
        hardware="H200",
        model=MODEL,
        axes=SIZES,
        settings={"hardware.H200.usd_per_hour": 9, "nic.scale_out_step_s": 0},
    )
    assert ds.chips.values.tolist() == base.chips.values.tolist()
    np.testing.assert_allclose(ds.cost_per_hour, 9 * ds.chips)
    ds = found(hardware="H200", isl_cv=0, osl_cv=0, percentile="mean")
    assert (ds.ttft == ds.ttft_mean).all() and (ds.tpot == ds.tpot_mean).all()


def test_all_chips_of_the_catalog_and_of_ones_own(tmp_path):
    own = tmp_path / "own.toml"
    own.write_text('[hardware.Twice]\nbase = "H200"\nsource = "own"\nhbm_bytes_per_s = "9.8 TB/s"\n')
    question = demand.question(ASKED)
    grids = spaces.of_catalog(MODEL, None, "CX7", None, None, (str(own),))
    assert "Twice" in grids["aggregated"]["axes"]["hardware"] and "H200" in grids["disaggregated"]["decode"]["hardware"]
    space = spaces.loaded(grids, question, catalogs=(str(own),))["disaggregated"]
    assert space.rows["decode_hardware"]["Twice"]["hbm_bytes_per_s"] == 9.8e12
    assert (
        set(space.axes["prefill_hardware"]) == set(space.axes["decode_hardware"])
        and len(space.rows["prefill_hardware"]) > 20
    )


def test_why_there_is_none():
    ds = found(max_ttft=0.02)
    assert ds.sizes["rank"] == 0
    refused = json.loads(ds.attrs["refused"])
    assert {row["kind"] for row in refused} == {"aggregated", "disaggregated"}
    for row in refused:
        if row["pool"] == "prefill" or row["kind"] == "aggregated":
            assert row["best"]["ttft_p90"] > 0.02 and row["refused"]["ok_ttft"] > 0
    decode = [row for row in refused if row["kind"] == "disaggregated" and row["pool"] == "decode"]
    assert all("ttft_p90" not in row["best"] for row in decode)


def test_users_of_a_fleet_are_those_of_its_instances():
    ds = found(requests_per_s=None, concurrency=900)
    for i in range(ds.sizes["rank"]):
        row = ds.isel(rank=i)
        assert float(row.concurrency) == pytest.approx(900, rel=0.03)
        assert float(row.ttft) <= 2 and float(row.tpot) <= 0.05
    assert ds.sizes["rank"] == 12


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"kinds": "both"}, "kinds: ['both'] aggregated, disaggregated"),
        ({"kinds": []}, "kinds: [] aggregated"),
        ({"kinds": "aggregated", "disaggregated": "disaggregated"}, "kinds: aggregated of which a grid is given"),
        ({"catalogs": 3}, "catalogs: 3 paths"),
        ({"minimize": "money"}, "minimize: unknown 'money' cost_per_hour, chips"),
        ({"percentile": "p95"}, "percentile: 'p95' mean, 50, 90 or 99"),
        ({"hardware": "H2000"}, "hardware 'H2000' H200"),
        ({"axes": {"isl_cv": [0, 1]}}, "isl_cv: 2 values one"),
        ({"axes": {"concurrency": [1]}, "requests_per_s": None, "concurrency": 3}, "concurrency: set by the question"),
        ({"fixed": {"no_such": 1}}, "unknown axis 'no_such'"),
        ({"settings": {"hardware.H100.usd_per_hour": 1}}, "unknown hardware of this grid 'H100'"),
        ({"kinds": "disaggregated", "fixed": {"batching": "chunked"}}, "unknown axis 'batching'"),
        ({"isl": None}, "isl: not given"),
    ],
)
def test_bad_input(changes, words):
    asked = ASKED | {"hardware": ["H200"], "model": MODEL, "axes": SIZES} | changes
    with pytest.raises(dsjax.InputError) as error:
        dsjax.fleets(**asked)
    message = str(error.value)
    assert "\n" not in message and all(word in message for word in words.split()), message


def test_limits_that_more_instances_may_break_are_refused():
    serve = {"model": MODEL, "phase": "serve", "axes": {"hardware": ["H200"], "tp": [8]}}
    serve |= {"fixed": {"nic": "CX7", "chips": 8, "isl": 1, "osl": 1, "concurrency": 1}}
    with pytest.raises(dsjax.InputError, match="min_tps_per_chip: a limit that more instances may break; expected one"):
        dsjax.fleets(serve | {"constraints": {"min_tps_per_chip": 100}}, **ASKED)


def test_strictest_limit():
    limits = {"max_ttft_p90": 2.0, "max_ttft_p99": 1.5, "max_tpot": 0.1, "min_tps_per_user": 20.0, "max_ttft_p50": 0.1}
    assert bounds.strictest(limits, "ttft") == 1.5 and bounds.strictest(limits, "tpot") == 0.05
    assert bounds.strictest({}, "tpot") == np.inf and set(PERCENTILES) == {"p50", "p90", "p99"}
    assert disaggregated.POOLS == ("prefill", "decode")
