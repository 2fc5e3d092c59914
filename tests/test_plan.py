"""`dsjax plan`: axes from the chips, the search against brute force over them, what it says, bad input."""

import itertools
import json

import numpy as np
import pytest
from console import command

import dsjax
from dsjax.analysis.plan import axes, largest, pieces
from dsjax.commands.answers import plan_words
from dsjax.commands.tables import rows_over
from dsjax.errors import InputError
from dsjax.validation import kept

MODEL, HARDWARE, CHIPS = "Qwen3-30B-A3B", "H20", 4
LENGTHS = {"isl": 1024, "osl": 256}
FIXED = {"pipeline": "naive", "sp": 1}
LIMITS = {"max_tpot_p90": 0.008, "max_ttft_p90": 1.0}


def asked(**changes):
    given = {"hardware": HARDWARE, "chips": CHIPS, "tpot": "8ms", "ttft": "1 s", "fixed": FIXED} | LENGTHS | changes
    return dsjax.plan(MODEL, given.pop("hardware"), given.pop("chips"), **given)


@pytest.fixture(scope="module")
def found():
    return asked()


def spaces_of(chips, **fixed):
    chosen, catalog = pieces.choice(MODEL, HARDWARE, "CX7", "generic", None, fixed=FIXED | fixed)
    shape = pieces.shape_of(chosen)
    has, _ = pieces.precisions(chosen, shape, catalog)
    return chosen, pieces.of(chosen, shape, has, catalog["engine"], lambda chip: shape.sizes(chip, chips))


def every_point(chips, loads):
    """The most tokens per second and chip of every feasible point of the derived axes, by brute force."""
    chosen, parts = spaces_of(chips)
    best = {}
    for part in parts:
        grid = {"model": chosen.model, "phase": "serve", "axes": part.axes | {"concurrency": loads}}
        grid |= {"fixed": part.fixed | LENGTHS, "constraints": LIMITS}
        ds = dsjax.sweep(grid)
        value = ds["tps_per_chip"].where(ds["feasible"].astype(bool))
        over = [dim for dim in value.dims if dim != "precision"]
        for label, most in value.max(over).to_series().items():
            best[label] = max(best.get(label, 0.0), most)
    return best


def test_its_search_is_brute_force_over_the_derived_axes(found):
    best = every_point(CHIPS, [*range(1, 161)])
    first = found.isel(rank=0)
    assert (
        1.0 < float(first["concurrency"]) / float(first["instances"]) < 160.0
    )  # the end of what is tried is no answer
    np.testing.assert_allclose(float(first["tps_per_chip"]), max(best.values()), rtol=largest.EQUAL)
    assert float(first["tps_per_chip"]) <= max(best.values()) * (1.0 + 1e-9)


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


def test_limits_hold_at_the_percentile_and_a_user_more_breaks_one(found):
    first = found.isel(rank=0)
    assert float(first["tpot_p90"]) <= 0.008
    assert float(first["ttft_p90"]) <= 1.0
    assert str(first["binds"].item()) in ("max_tpot_p90", "max_ttft_p90")
    assert json.loads(found.attrs["limits"]) == LIMITS


def test_what_helps_is_what_a_better_chip_then_serves(found):
    """By a search of its own on the better chip, split as the best: a tenth more bandwidth."""
    gains = json.loads(found.attrs["helps"])
    assert list(gains.values()) == sorted(gains.values(), reverse=True)
    assert gains["memory bandwidth"] > 0.01
    row = found.isel(rank=0)
    own = {name: row[name].item() for name in ("pipeline", "batching", "precision")}
    own |= {name: int(row[name]) for name in ("tp", "moe_tp", "sp", "mtp")}
    bandwidth = {f"hardware.{HARDWARE}.hbm_bytes_per_s": 4.4e12}
    better = asked(fixed=own, settings=bandwidth, disaggregated=False)
    same = [int(x) for x in better["instances"].values].index(int(row["instances"]))
    gain = float(better["tps_per_chip"][same]) / float(row["tps_per_chip"]) - 1.0
    np.testing.assert_allclose(gains["memory bandwidth"], gain, atol=0.02)  # of whole users


def test_limits_of_the_mean_let_more_users_in(found):
    mean = asked(percentile="mean")
    assert float(mean["tps_per_chip"][0]) > float(found["tps_per_chip"][0])
    assert float(mean["tpot_mean"][0]) <= 0.008 < float(mean["tpot_p90"][0])


def test_instances_use_all_chips_and_every_split_is_whole(found):
    for row in found.to_dataframe().reset_index().itertuples():
        assert row.chips == CHIPS
        if row.kind == "aggregated":
            assert row.instances * row.chips_per_instance == CHIPS
            assert row.pp * row.tp * row.dp == row.pp * row.moe_tp * row.ep == row.chips_per_instance


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
    assert row["binds"] in plan_words.FULL and row["ttft_p90"] < 100.0
    assert fewer < (1.0 - 2 * largest.EQUAL) * own
    np.testing.assert_allclose([row["tps_per_chip"], own], more, rtol=2 * largest.EQUAL)


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


def test_a_demand_takes_the_fewest_chips(found):
    rate = float(found["requests_per_s"][0])
    some = asked(chips=None, requests_per_s=0.2 * rate)
    more = asked(chips=None, requests_per_s=3.0 * rate)
    assert int(some["chips"][0]) < int(more["chips"][0])
    assert float(more["tpot_p90"][0]) <= 0.008
    np.testing.assert_allclose(more["requests_per_s"][0], 3.0 * rate, rtol=1e-6)


def test_a_split_that_masks_itself_is_in_no_axis():
    _, parts = spaces_of(8)
    for part in parts:
        assert all(8 % n == 0 for name in ("tp", "moe_tp") for n in part.axes[name])
        assert not {3, 5, 6} & {*part.axes["tp"]}
    assert axes.divisors(12) == [1, 2, 3, 4, 6, 12]


def test_precisions_are_those_of_the_weights_that_the_checkpoint_stores():
    chosen, catalog = pieces.choice("DeepSeek-R1", "H20,A100", "CX7", "generic", None)
    has, why = pieces.precisions(chosen, pieces.shape_of(chosen), catalog)
    assert has["H20"] == ["fp8", "w8a16", "fp8-kv8", "fp8-mla8"]
    assert has["A100"] == ["w8a16"]  # it has no fp8
    assert "stores attention" in why


def test_an_engine_brings_its_other_deployments_and_their_pipelines():
    chosen, catalog = pieces.choice("DeepSeek-R1", "H20", "CX7", "sglang", None)
    assert chosen.engines == ("sglang", "sglang-deepep")
    shape = pieces.shape_of(chosen)
    parts = pieces.of(chosen, shape, {"H20": ["fp8"]}, catalog["engine"], lambda chip: [8])
    pipelines = {part.fixed["engine"]: part.axes["pipeline"] for part in parts}
    assert pipelines["sglang"] == ["naive"]
    assert "dual-mbatch" in pipelines["sglang-deepep"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"chips": 12, "model": "DeepSeek-R1"}, "the nearest number that can be used is 8"),
        (
            {"chips": 1, "model": "DeepSeek-R1"},
            "GB of weights in 92 GB of memory; the nearest number that can be used is 8",
        ),
        ({"model": "GLM-4.6", "hardware": "L40S", "chips": 8}, "can be used is 24, or precision='"),
        ({"model": "Deepseek-R9"}, "or the path of a model's config.json: model='PATH'"),
        ({"hardware": "H21"}, "hardware: unknown hardware 'H21'"),
        ({"engine": "sglong"}, "engine: unknown engine 'sglong'"),
        ({"chips": None}, "chips and requests_per_s: none given"),
        ({"isl": None}, "isl: not given"),
        ({"chips": 2.5}, "chips: 2.5 is not an integer"),
        ({"precision": "nvfp4", "chips": 8}, "has not the compute rates of precision nvfp4"),
        ({"fixed": {"concurrency": 4}}, "concurrency: is set by the question"),
        ({"tps_per_user": 20, "tpot": "40ms"}, "min_tps_per_user and max_tpot: both given"),
    ],
)
def test_bad_input_is_one_line(changes, said):
    given = {"model": MODEL, "hardware": HARDWARE, "chips": CHIPS} | LENGTHS | changes
    given.setdefault("fixed", FIXED)
    with pytest.raises(InputError) as error:
        dsjax.plan(**given)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_the_best_of_a_law_of_values_is_found_with_few_trials():
    """Layouts worth `a u / (b + u)`, which hold up to `c` users: against every number of users."""
    rng = np.random.default_rng(3)
    a, b, c = rng.uniform(50, 100, 400), rng.uniform(5, 50, 400), rng.integers(0, 300, 400)
    group, most = rng.integers(0, 3, 400), rng.integers(1, 400, 400)
    tries = []

    def tried(layouts, users):
        tries.append(len(layouts))
        return a[layouts] * users / (b[layouts] + users), users <= c[layouts], strain(users, c[layouts])

    def strain(users, most):  # nothing that is straight: it jumps where a limit is met
        return np.where(users <= most, 0.2 + 0.5 * (users / np.maximum(most, 1.0)) ** 2, 1.0 + users / 100.0)

    best, _ = largest.best(a * 1.2, most, group, tried)
    for g in range(3):
        users = np.minimum(c, most)
        values = np.where(users > 0, a * users / (b + users), -np.inf)
        layout, n, value = best[g][0]
        np.testing.assert_allclose(value, values[group == g].max(), rtol=largest.EQUAL)
        assert n == users[layout] or value >= values[group == g].max() * (1.0 - largest.EQUAL)
    assert sum(tries) < 0.2 * np.minimum(most, 400).sum()


def test_the_command_answers_in_words_and_its_commands_work():
    line = f"plan --model {MODEL} --hardware {HARDWARE} --chips {CHIPS} --isl 1024 --osl 256 --tpot 8ms --ttft 1s"
    args = [*line.split(), "--fix", "pipeline=naive", "--fix", "sp=1"]
    lines = command(*args).splitlines()
    assert "for 90 % of the requests" in lines[0]
    assert [text.split()[0] for text in lines[1:6]] == ["run", "serves", "sure", "binds", "costs"]
    commands = [text.removeprefix("next: dsjax ") for text in lines if text.startswith("next: dsjax ")]
    assert [text.split()[0] for text in commands] == ["explain", "plot"]
    assert "tokens/s" in command(*commands[0].split())
    row = json.loads(command(*args, "--format", "json"))["rows"][0]
    assert row["rank"] == 1 and row["hardware"] == HARDWARE
    assert f"{row['tps_per_chip']:,.0f} tokens/s/chip" in lines[2]


def test_limits_that_nothing_reaches_are_an_answer():
    line = f"plan --model {MODEL} --hardware {HARDWARE} --chips 2 --isl 1024 --osl 256 --tpot 10us --fix sp=1"
    text = command(*line.split(), code=1)
    assert "Nothing keeps the limits: TPOT" in text and "beside 0.01 ms is the least" in text
    assert len(text.strip().splitlines()) <= 3


def test_recommend_takes_the_sizes_of_its_fleets_from_the_chips():
    one = {"hardware": "H200", "nic": "CX7", "pipeline": "naive", "precision": "fp8"}
    ds = dsjax.recommend(requests_per_s=10, isl=4096, osl=1024, fixed=one)
    assert float(ds["chips"][0]) == 16.0
    own = dsjax.recommend(requests_per_s=10, isl=4096, osl=1024, fixed=one | {"mtp": 0}, axes={"ep": [72]})
    assert set(own["decode_chips_per_instance"].values.tolist()) == {72.0}  # a size that is given is kept


def test_pools_of_a_fleet_have_caches_of_one_width():
    """Precisions of 8 and of 16 bit of which pools of H20 are best apart: fp8-kv8 of prompts, w8a8 that decodes."""
    one = {"hardware": "H20", "nic": "CX7", "pipeline": "dual-mbatch", "mtp": 1}
    ds = dsjax.recommend(requests_per_s=10, isl=4096, osl=1024, fixed=one)
    widths = {"fp8-kv8": 1, "nvfp4-kv8": 1, "w8a8": 2}
    assert "disaggregated" in ds["kind"].values
    for row in rows_over(ds, "rank"):
        if row["kind"] == "disaggregated":
            assert widths[row["prefill_precision"]] == widths[row["decode_precision"]]


def test_requests_and_prices_of_a_user_are_those_of_both_pools_and_of_the_next_commands():
    """What is fixed or set beside the sizes; the commands of an engine that `dsjax launch` knows begin it."""
    more = {"axes": {"tp": [2]}, "fixed": {"isl_cv": 0, "moe_tp": 2, "sp": 1, "mtp": 0}}
    ds = asked(engine="vllm", settings={f"hardware.{HARDWARE}.usd_per_hour": 2}, precision="bf16", **more)
    assert {*ds["kind"].values.tolist()} == {"aggregated", "disaggregated"}
    np.testing.assert_allclose(ds["cost_per_hour"], 2.0 * CHIPS)
    for row in rows_over(ds, "rank"):
        lines = [*plan_words._next(ds, row, json.loads(ds.attrs["asked"]))]
        assert all(" --fix isl_cv=0 " in line and "usd_per_hour=2" in line for line in lines)
        assert [line.split()[1] for line in lines if "launch" in line] == ["launch"]
        for line in lines:
            if "plot" not in line:
                assert command(*line.split()[1:])


def test_it_says_how_far_off_measured_systems_of_the_kind_are(found):
    for row in rows_over(found, "rank"):
        own = kept.of_class(row["system_class"])
        assert (row["error_median"], row["error_p90"]) == (own["median"], own["p90"])
        said = plan_words._sure(row, "p90")
        assert f"median {own['median']:.0%}, 9 of 10 within {own['p90']:.0%}" in said
    kinds = {"aggregated": "aggregated", "disaggregated": ("wide EP", "small TP decode")}
    assert all(row["system_class"] in kinds[row["kind"]] for row in rows_over(found, "rank"))


def test_lengths_beyond_those_of_the_model_are_remarked(found):
    assert "remarks" not in found.attrs
    long = asked(isl=60_000, osl=2_000, fixed=FIXED | {"tp": 4, "mtp": 0}, tpot=None, ttft=None, disaggregated=False)
    said = f"isl + osl = 62,000 tokens is beyond the 40,960 positions that {MODEL} was made for"
    assert long.attrs["remarks"] == said
