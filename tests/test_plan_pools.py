"""`dsjax plan`, two pools: against brute force over their axes, of users and of a demand."""

import itertools

import numpy as np
import pytest
from plans import CHIPS, FIXED, HARDWARE, LENGTHS, LIMITS, MODEL, asked, spaces_of

import dsjax
from dsjax.analysis.plan import disaggregated, largest, pieces
from dsjax.commands.answers import plan_words
from dsjax.commands.tables import rows_over

POOLS = ("prefill", "decode")


@pytest.fixture(scope="module")
def found():
    return asked()


def every_pair(chips, loads):
    """The same of two pools of one precision: all ways to share out the chips, all splits of both, all loads."""
    chosen, parts = spaces_of(chips)
    best = {}
    for both in itertools.product([part for part in parts if part.chips < chips], repeat=2):
        pools = {}
        for pool, part in zip(("prefill", "decode"), both, strict=True):
            pools[pool] = {name: x for name, x in (part.axes | part.fixed).items() if name not in ("batching", "sp")}
            pools[pool]["hardware"] = HARDWARE
        sizes = [part.chips for part in both]
        for several in itertools.product(range(1, chips), repeat=2):
            if sum(n * size for n, size in zip(several, sizes, strict=True)) != chips:
                continue
            fixed = {f"{pool}_instances": n for pool, n in zip(pools, several, strict=True)} | {"transfer_nic": "CX7"}
            grid = {"model": chosen.model, "phase": "disaggregated", "constraints": LIMITS}
            ds = dsjax.sweep(grid | pools | {"axes": {"concurrency": loads}, "fixed": LENGTHS | fixed})
            value = ds["tps_per_chip"].where(ds["feasible"].astype(bool))
            for label in ds["decode_precision"].values.tolist():
                most = float(value.sel(prefill_precision=label, decode_precision=label).max())
                best[label] = max(best.get(label, 0.0), most)
    return best


def test_its_search_of_two_pools_is_brute_force_over_theirs(found):
    best = every_pair(CHIPS, [*range(1, 81)])
    rows = found.isel(rank=np.flatnonzero(found["kind"].values == "disaggregated"))
    assert {*rows["precision"].values.tolist()} == {*best}
    for row in rows_over(rows, "rank"):
        assert 1 < row["concurrency"] < 80
        np.testing.assert_allclose(row["tps_per_chip"], best[row["precision"]], rtol=largest.EQUAL)


def test_two_pools_use_all_chips_and_are_what_a_grid_of_pools_says(found):
    row = found.isel(rank=int(np.flatnonzero(found["kind"].values == "disaggregated")[0]))
    pools = {pool: {} for pool in ("prefill", "decode")}
    for pool, own in pools.items():
        for name in ("tp", "moe_tp", "sp", "mtp", "pipeline", "dispatch_mode", "nic", "engine"):
            own[name] = row[f"{pool}_{name}"].item()
        own |= {"hardware": HARDWARE, "precision": row["precision"].item()}
        own["chips"] = int(row[f"{pool}_chips_per_instance"])
        own = {name: int(x) if isinstance(x, float) else x for name, x in own.items()}
        pools[pool] = own
    n = {pool: int(row[f"{pool}_instances"]) for pool in pools}
    assert sum(n[pool] * pools[pool]["chips"] for pool in pools) == CHIPS
    fixed = LENGTHS | {f"{pool}_instances": n[pool] for pool in pools} | {"transfer_nic": "CX7"}
    grid = {"model": MODEL, "phase": "disaggregated", "fixed": fixed, "constraints": LIMITS} | pools
    users = int(row["concurrency"])
    ds = dsjax.sweep(grid | {"axes": {"concurrency": [users, users + 1]}})
    np.testing.assert_array_equal(ds["feasible"], [1, 0])  # a user more breaks a limit
    np.testing.assert_allclose(ds["tps_per_chip"][0], row["tps_per_chip"], rtol=2e-3)  # of tables of other lengths


def test_users_of_two_pools_without_a_limit_are_no_more_than_they_serve():
    """Without a limit that ends them users would fill the queue for the whole of the time that is looked at."""
    ds = asked(ttft=None, tpot=None, precision="bf16", axes={"tp": [1, 2], "ep": [1, 2]})
    row = next(row for row in rows_over(ds, "rank") if row["kind"] == "disaggregated")
    pools = {name: {"hardware": HARDWARE, "precision": "bf16", "nic": "CX7"} for name in ("prefill", "decode")}
    for name, own in pools.items():
        own |= {of: int(row[f"{name}_{of}"]) for of in ("tp", "moe_tp", "instances")}
        own["chips"] = int(row[f"{name}_chips_per_instance"])
    fixed = (
        LENGTHS | {"transfer_nic": "CX7"} | {f"{name}_instances": own.pop("instances") for name, own in pools.items()}
    )
    users = int(row["concurrency"])
    grid = {
        "model": MODEL,
        "phase": "disaggregated",
        "fixed": fixed,
        "axes": {"concurrency": [users // 2, users, 4096]},
    }
    fewer, own, more = dsjax.sweep(grid | pools)["tps_per_chip"].values.tolist()
    assert row["binds"] in plan_words.FULL and row["ttft_p90"] < 20.0
    assert fewer < (1.0 - 2 * disaggregated.WAIT) * own
    np.testing.assert_allclose([row["tps_per_chip"], own], more, rtol=disaggregated.WAIT + largest.EQUAL)


def test_two_pools_of_a_demand_are_the_fewest_chips_of_every_pair():
    """Of one precision: all splits of both, of instances of 1 and 2 chips, 1 to 8 of each pool."""
    rate, most = 3.0, 8
    ds = asked(chips=None, requests_per_s=rate, precision="bf16", axes={"tp": [1, 2], "ep": [1, 2]})
    row = next(row for row in rows_over(ds, "rank") if row["kind"] == "disaggregated")
    pool = {"hardware": HARDWARE, "precision": "bf16", "nic": "CX7", "tp": [1, 2], "moe_tp": [1, 2], "chips": [1, 2]}
    axes = {f"{name}_instances": [*range(1, most + 1)] for name in ("prefill", "decode")}
    grid = {"model": MODEL, "phase": "disaggregated", "prefill": pool, "decode": pool, "axes": axes}
    fixed = LENGTHS | {"transfer_nic": "CX7", "requests_per_s": rate}
    every = dsjax.sweep(grid | {"fixed": fixed, "constraints": LIMITS})
    chips = sum(every[f"{name}_instances"] * every[f"{name}_chips"] for name in ("prefill", "decode"))
    fewest = float(chips.where(every["feasible"].astype(bool)).min())
    assert 2 < fewest <= most
    assert row["chips"] == fewest
    at = {f"{name}_{of}": row[f"{name}_{of}"] for name in ("prefill", "decode") for of in ("instances", "tp", "moe_tp")}
    at |= {f"{name}_chips": row[f"{name}_chips_per_instance"] for name in ("prefill", "decode")}
    own = every.sel(at)
    assert bool(own["feasible"])
    np.testing.assert_allclose([row["tpot_p90"], row["ttft_p90"]], [own["tpot_p90"], own["ttft_p90"]], rtol=1e-6)


def test_pools_of_a_fleet_have_caches_of_one_width():
    """Precisions of 8 and of 16 bit of which pools of H20 are best apart: fp8-kv8 of prompts, w8a8 that decodes."""
    one = {"hardware": "H20", "nic": "CX7", "pipeline": "dual-mbatch", "mtp": 1}
    ds = dsjax.recommend(requests_per_s=10, isl=4096, osl=1024, fixed=one)
    widths = {"fp8-kv8": 1, "nvfp4-kv8": 1, "w8a8": 2}
    assert "disaggregated" in ds["kind"].values
    for row in rows_over(ds, "rank"):
        if row["kind"] == "disaggregated":
            assert widths[row["prefill_precision"]] == widths[row["decode_precision"]]


def test_several_precisions_are_judged_by_kernels_of_their_own():
    """Pools of one precision have the error of that one, though whole instances may have others."""
    ds = asked(precision=["fp8", "bf16"], tpot=None, ttft=None, fixed=FIXED | {"mtp": 0})
    for row in rows_over(ds, "rank"):
        assert row["curve_basis"] in ("fitted", "sibling", "assumed")
    assert {"fp8", "bf16"} <= {*ds["precision"].values.tolist()}


def test_an_instance_has_all_that_the_others_leave():
    """64 chips are 5 instances of 8 and one of 24, which no divisor is: a fifth more than 6 of 8 and one of 16."""
    shape = pieces.shape_of(pieces.choice("Kimi-K2", "GB200,H200", "CX7", "generic", None)[0])
    assert shape.left_over("GB200", 64, [4, 8, 16]) == [8, 16, 24, 32, 40, 48, 56]
    assert shape.left_over("GB200", 96, [64]) == [32] and shape.left_over("GB200", 512, [8])[-1] == 72
    assert shape.left_over("H200", 20, [8, 16]) == [4]  # 12 are no whole domains
    narrow = {"precision": "fp8-mla8", "fixed": {"tp": 1, "pipeline": "sbo", "moe_tp": 1}}
    asked = {"hardware": "GB200", "isl": 4096, "osl": 1024, "tps_per_user": 25} | narrow
    best = dsjax.plan("Kimi-K2", chips=64, **asked).isel(rank=0)
    pools = {name: [int(best[f"{name}_{of}"]) for of in ("instances", "chips_per_instance")] for name in POOLS}
    assert pools == {"prefill": [5, 8], "decode": [1, 24]}
    own = {"hardware": "GB200", "nic": "CX7", "engine": "generic", "precision": "fp8-mla8", "tp": 1, "pipeline": "sbo"}
    load = {"isl": 4096, "osl": 1024, "transfer_nic": "CX7"}
    grid = {"model": "Kimi-K2", "phase": "disaggregated", "constraints": {"max_tpot_p90": 0.04}, "fixed": load}
    found = []
    for several in ((5, 8, 1, 24), (6, 8, 1, 16)):
        of = dict(zip(POOLS, (several[:2], several[2:]), strict=True))
        grid |= {name: own | {"instances": n, "chips": size} for name, (n, size) in of.items()}
        users = [*range(4000, 9000, 100), int(best["concurrency"])]
        ds = dsjax.sweep(grid | {"axes": {"concurrency": users}})
        found.append(float(ds["tps_per_chip"].where(ds["feasible"].astype(bool)).max()))
    assert found[0] > 1.15 * found[1]
    np.testing.assert_allclose(best["tps_per_chip"], found[0], rtol=0.015)  # fewer users, who wait less
