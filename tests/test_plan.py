"""`dsjax plan`: axes from the chips, the search against brute force over them, what it says, bad input."""

import json

import numpy as np
import pytest
from console import command
from plans import CHIPS, FIXED, HARDWARE, LENGTHS, LIMITS, MODEL, asked, spaces_of

import dsjax
from dsjax import options
from dsjax.analysis.plan import axes, largest, pieces
from dsjax.commands.answers import plan_words
from dsjax.commands.tables import rows_over
from dsjax.errors import InputError
from dsjax.validation import kept


@pytest.fixture(scope="module")
def found():
    return asked()


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


def test_the_nearest_number_of_chips_is_looked_for_to_twice_as_many_and_a_thousand():
    assert axes.nearest(8, lambda n: n % 6 == 0) == 6 and axes.nearest(9, lambda n: n % 6 == 0) == 6
    assert axes.nearest(10, lambda n: n == 1034) == 1034 and axes.nearest(3000, lambda n: n == 9000) == 9000
    for chips, far in ((10, 1035), (3000, 9001)):
        with pytest.raises(InputError, match=f"chips: {chips}: no number near it"):
            axes.nearest(chips, lambda n, far=far: n == far)


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


def test_chips_that_hold_no_instance_are_an_answer():
    """Exit code 1, as of the grids of `best` where nothing fits: the question is understood, and the answer is no."""
    lengths = ("--isl", 1024, "--osl", 256, "--tps-per-user", 5)
    for given in (("--chips", 8), ("--chips", 24, "--precision", "nvfp4")):
        command("plan", "--model", "GLM-4.6", "--hardware", "L40S", *given, *lengths, code=1)


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
    assert [text.split()[0] for text in commands] == ["explain", "plot", "plan"]
    assert "tokens/s" in command(*commands[0].split())
    started = command(*commands[2].split())  # of an engine that is started, the same question
    assert (
        lines[0].partition(" (")[0] == started.splitlines()[0].partition(" (")[0] and "\nnext: dsjax launch" in started
    )
    row = json.loads(command(*args, "--format", "json"))["rows"][0]
    assert row["rank"] == 1 and row["hardware"] == HARDWARE
    assert f"{row['tps_per_chip']:,.0f} tokens/s/chip" in lines[2]


@pytest.mark.parametrize(
    ("given", "binds"), [({"max_batch": 3}, "max_batch"), ({"max_batch": 0}, "memory of the cache")]
)
def test_what_admits_no_more_is_named(given, binds):
    """Sequences that a group admits, or the cache: with loose limits one of them is in the way."""
    loose = {"tpot": "900ms", "ttft": "500 s", "isl": 8192, "fixed": FIXED | given, "chips": 1, "axes": {"tp": [1]}}
    ds = asked(**loose, disaggregated=False, precision="bf16")
    assert str(ds["binds"].values[0]) == binds
    if binds == "max_batch":
        assert float(ds["concurrency"][0]) == 3.0


def test_the_question_for_an_engine_that_starts_is_the_same():
    args = f"plan --model {MODEL} --hardware {HARDWARE} --chips 2 --isl 1024 --osl 256 --tpot 8ms --ttft 1s --nic E810"
    more = ["--axis", "tp=1,2", "--fix", "mtp=0", "--fix", "isl_cv=0", "--precision", "bf16"]
    line = command(*args.split(), *more).strip().splitlines()[-1]
    for option in (
        "--axis tp=1,2",
        "--fix mtp=0",
        "--fix isl_cv=0",
        "--precision bf16",
        "--nic E810",
        "--engine sglang",
    ):
        assert option in line, option


@pytest.mark.parametrize("osl", [1, 2, 3])
@pytest.mark.parametrize("batching", ["chunked", "prefill-first"])
def test_a_user_alone_waits_for_no_prompt_but_its_own(osl, batching):
    """Of few tokens: a prompt for each takes longer than the limit on what is between two tokens."""
    limit = 0.012
    ds = asked(concurrency=1, osl=osl, isl=8192, tpot=limit, ttft=None, axes={"batching": [batching]}, chips=1)
    assert ds.sizes["rank"] and float(ds["tpot_p90"].max()) <= limit and float(ds["ttft_mean"].min()) > limit * osl


def test_a_limit_in_seconds_that_was_meant_in_ms_is_remarked():
    ds = asked(tpot=40, ttft=1, chips=1, disaggregated=False)
    assert ds.attrs["remarks"] == "max_tpot_p90 = 40 s is a second or more for a token: ms?"
    assert "remarks" not in asked(tpot="40ms", chips=1, disaggregated=False).attrs


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


def test_requests_and_prices_of_a_user_are_those_of_both_pools_and_of_the_next_commands():
    """What is fixed or set beside the sizes; the commands of an engine that `dsjax launch` knows begin it."""
    more = {"axes": {"tp": [2]}, "fixed": {"isl_cv": 0, "moe_tp": 2, "sp": 1, "mtp": 0}}
    ds = asked(engine="vllm", settings={f"hardware.{HARDWARE}.usd_per_hour": 2}, precision="bf16", **more)
    assert {*ds["kind"].values.tolist()} == {"aggregated", "disaggregated"}
    np.testing.assert_allclose(ds["cost_per_hour"], 2.0 * CHIPS)
    for row in rows_over(ds, "rank"):
        with options.of_command_line():
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


@pytest.mark.parametrize("engine", ["sglang", "vllm", "tensorrt-llm"])
def test_what_an_engine_lacks_is_no_axis_of_its_plan(engine):
    """No engine splits a group's prompts (sp); with DeepEP experts are spread over all chips (moe_tp 1)."""
    chosen, catalog = pieces.choice(MODEL, HARDWARE, "CX7", engine, None)
    shape = pieces.shape_of(chosen)
    has, _ = pieces.precisions(chosen, shape, catalog)
    parts = pieces.of(chosen, shape, has, catalog["engine"], lambda chip: shape.sizes(chip, 8))
    assert {part.fixed["engine"] for part in parts} == {engine, *catalog["engine"][engine].get("deployments", ())}
    for part in parts:
        assert part.axes["sp"] == [1]
        assert "deepep" not in part.fixed["engine"] or part.axes["moe_tp"] == [1]
    assert any(part.axes["moe_tp"] != [1] for part in parts)
    own, _ = pieces.choice(MODEL, HARDWARE, "CX7", engine, None, fixed={"sp": 2})  # what a user asks for stays
    assert any(part.axes["sp"] == [2] for part in pieces.of(own, shape, has, catalog["engine"], lambda _: [8]))


def test_a_demand_that_no_split_can_take_and_numbers_of_numpy():
    with pytest.raises(InputError, match="no split"):
        dsjax.plan(MODEL, HARDWARE, requests_per_s=1, fixed={"pp": 47}, **LENGTHS)
    ds = asked(fixed=FIXED | {"max_batch": np.int64(64), "tp": 4, "mtp": 0}, disaggregated=False)
    assert json.loads(ds.attrs["changes"])["fixed"] == {"max_batch": 64}
