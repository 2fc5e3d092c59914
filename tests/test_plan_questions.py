"""`dsjax plan` of a number of users, of a demand without a limit, of hardware that falls out, at the end of an axis."""

import itertools
import json

import numpy as np
import pytest
from console import command
from plans import CHIPS, FIXED, HARDWARE, LENGTHS, LIMITS, MODEL, asked, spaces_of

import dsjax
from dsjax.commands.answers import plan_words
from dsjax.commands.tables import rows_over
from dsjax.errors import InputError
from dsjax.specs.variables import MOST_LOAD

USERS = 6


def quickest(users):
    """{precision: least mean latency} of whole instances on `CHIPS`, or fewer: all with as many users."""
    best = {}
    for size in (1, 2, 4):
        chosen, parts = spaces_of(size)
        n = min(CHIPS // size, users)
        for part in parts:
            grid = {"model": chosen.model, "phase": "serve", "axes": part.axes, "constraints": LIMITS}
            ds = dsjax.sweep(grid | {"fixed": part.fixed | LENGTHS | {"concurrency": users // n}})
            value = ds["latency_mean"].where(ds["feasible"].astype(bool))
            for label, least in value.min([x for x in value.dims if x != "precision"]).to_series().items():
                best[label] = min(best.get(label, np.inf), least)
    return best


@pytest.mark.parametrize("users", [1, 8])
def test_the_quickest_for_some_users_is_brute_force(users):
    best = quickest(users)
    ds = asked(concurrency=users, disaggregated=False)
    found = dict(zip(ds["precision"].values.tolist(), ds["latency_mean"].values.tolist(), strict=True))
    assert found.keys() == {label for label, x in best.items() if np.isfinite(x)}
    for label, latency in found.items():
        np.testing.assert_allclose(latency, best[label], rtol=1e-6)
    assert list(found.values()) == sorted(found.values())
    assert float(ds["concurrency"][0]) == users and float(ds["chips"][0]) <= CHIPS


def test_two_pools_for_some_users_are_brute_force():
    """Of one precision: every split of two pools, of 1 and 2 chips, as many instances as there may be."""
    ds = asked(concurrency=USERS, precision="bf16", axes={"tp": [1, 2], "ep": [1, 2]}, tpot="10ms")
    row = next(row for row in rows_over(ds, "rank") if row["kind"] == "disaggregated")
    least = np.inf
    for sizes in itertools.product((1, 2, 3), repeat=2):
        if sum(sizes) > CHIPS:
            continue
        for n in range(1, CHIPS // sizes[0] + 1):
            m = min((CHIPS - n * sizes[0]) // sizes[1], USERS)
            if not m:
                continue
            pools = {}
            for name, size, count in zip(("prefill", "decode"), sizes, (n, m), strict=True):
                own = {"hardware": HARDWARE, "precision": "bf16", "nic": "CX7", "chips": size, "instances": count}
                pools[name] = own | {"tp": [1, 2], "moe_tp": [1, 2]}
            grid = {"model": MODEL, "phase": "disaggregated", "constraints": LIMITS | {"max_tpot_p90": 0.01}} | pools
            every = dsjax.sweep(grid | {"fixed": LENGTHS | {"transfer_nic": "CX7", "concurrency": USERS}})
            value = every["latency_mean"].where(every["feasible"].astype(bool))
            least = np.fmin(least, float(value.min()))
    np.testing.assert_allclose(row["latency_mean"], least, rtol=2e-3)
    assert row["chips"] <= CHIPS and row["concurrency"] == USERS


def test_the_quickest_says_what_makes_it_quicker():
    ds = asked(concurrency=1, disaggregated=False)
    gains = json.loads(ds.attrs["helps"])
    assert gains["memory bandwidth"] > 0.01
    row = ds.isel(rank=0)
    own = {name: row[name].item() for name in ("pipeline", "batching", "precision")}
    own |= {name: int(row[name]) for name in ("tp", "moe_tp", "sp", "mtp")}
    better = {f"hardware.{HARDWARE}.hbm_bytes_per_s": 1.1 * 4.0e12}
    quick = asked(concurrency=1, fixed=own, settings=better, disaggregated=False)
    same = [int(x) for x in quick["chips"].values].index(int(row["chips"]))
    gain = float(row["latency_mean"]) / float(quick["latency_mean"][same]) - 1.0
    np.testing.assert_allclose(gains["memory bandwidth"], gain, rtol=1e-6)


def test_a_demand_without_a_limit_on_the_first_token_leaves_room():
    """The fewest chips that keep up are no answer where nothing says how long requests may wait for them."""
    ds = asked(chips=None, requests_per_s=20.0, ttft=None, tpot=None)
    assert json.loads(ds.attrs["limits"]) == {"max_utilisation": MOST_LOAD}
    assert (ds["utilisation"] <= MOST_LOAD).all() and (ds["ttft_mean"] < 5.0).all()
    row = next(row for row in rows_over(ds, "rank") if row["kind"] == "aggregated" and row["instances"] > 1)
    n = row["instances"]
    assert row["utilisation"] * n / (n - 1.0) > MOST_LOAD and row["binds"] == "max_utilisation"
    assert "an instance less would break it" in plan_words._binding(row, json.loads(ds.attrs["asked"]), {})
    limited = asked(chips=None, requests_per_s=20.0, tpot=None)
    assert "max_utilisation" not in json.loads(limited.attrs["limits"])


def test_what_a_demand_would_not_keep_with_an_instance_less():
    ds = asked(chips=None, requests_per_s=30.0)
    for row in rows_over(ds, "rank"):
        said = plan_words._binding(row, json.loads(ds.attrs["asked"]), {})
        if row["kind"] == "aggregated" and row["instances"] > 1:
            assert row["binds"] in LIMITS
            assert "an instance less would break it" in said
        if row["kind"] == "disaggregated":
            n = [row["prefill_instances"], row["decode_instances"]]
            parts = [part.split(" ") for part in row["binds"].split("; ") if part]
            assert [pool for pool, _ in parts] == [x for x, k in zip(("prefill", "decode"), n, strict=True) if k > 1]


def test_hardware_without_an_answer_is_told():
    line = f"plan --model {MODEL} --hardware H20,A100,RTX-4090 --chips 2 --isl 1024 --osl 256 --precision fp8"
    text = command(*line.split(), "--fix", "sp=1", "--fix", "pipeline=naive", "--no-disaggregated")
    assert "without: A100: no compute rate for it" in text
    one = asked(hardware="H20,L40S", chips=1, precision="bf16", fixed=FIXED, disaggregated=False, ttft=None, tpot=None)
    assert json.loads(one.attrs["without"]) == {"no room for the weights": ["L40S"]}
    slow = asked(hardware="H20,L40S", chips=4, tpot="6ms", disaggregated=False)
    assert json.loads(slow.attrs["without"]) == {"the limits not kept": ["L40S"]}


def test_the_end_of_an_axis_is_marked_and_wider_is_as_much_better():
    narrow = asked(axes={"tp": [1, 2]}, concurrency=1, disaggregated=False)
    end = json.loads(narrow.attrs["ends"])["tp"]
    assert (end["value"], end["beyond"]) == (2, 4)
    row = narrow.isel(rank=0)
    own = {name: row[name].item() for name in ("batching", "precision")} | {"moe_tp": int(row["moe_tp"])}
    wide = asked(axes={"tp": [4]}, fixed=FIXED | own, concurrency=1, disaggregated=False)
    assert int(wide["chips"][0]) == int(row["chips"]) == CHIPS
    gain = float(row["latency_mean"]) / float(wide["latency_mean"][0]) - 1.0
    np.testing.assert_allclose(end["gain"], gain, rtol=1e-6)
    line = f"plan --model {MODEL} --hardware {HARDWARE} --chips {CHIPS} --isl 1024 --osl 256 --concurrency 1"
    more = ["--axis", "tp=1,2", "--fix", "pipeline=naive", "--fix", "sp=1", "--no-disaggregated"]
    text = command(*line.split(), *more)
    assert " tp2+ " in text and "--axis tp=1,2,4" in text
    assert json.loads(asked(concurrency=1, disaggregated=False).attrs["ends"]) == {}  # every split was looked at


def test_draft_tokens_have_an_end_of_their_own():
    """DeepSeek-R1 with drafts that are nearly always right: more than three of them are better."""
    fixed = {"tp": 8, "moe_tp": 8, "sp": 1, "pipeline": "naive", "batching": "prefill-first"}
    fixed |= {"acceptance": 0.99, "acceptance_decay": 1.0}
    given = {"isl": 1024, "osl": 256, "fixed": fixed, "precision": "fp8"}
    ds = dsjax.plan("DeepSeek-R1", "H200", 8, concurrency=1, disaggregated=False, **given)
    end = json.loads(ds.attrs["ends"])["mtp"]
    assert end["value"] == 3 and end["beyond"] > 3 and end["gain"] > 0.1
    of_tokens = dsjax.plan("DeepSeek-R1", "H200", 8, tpot="15ms", disaggregated=False, **given)
    assert json.loads(of_tokens.attrs["ends"])["mtp"]["value"] == 3


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"chips": None, "concurrency": 4}, "chips: not given; expected how many the users of concurrency may have"),
        ({"concurrency": 2.5}, "concurrency: 2.5 is not an integer"),
        ({"concurrency": 0}, "concurrency: 0"),
        ({"concurrency": 4, "requests_per_s": 1}, "requests_per_s and concurrency: both given"),
    ],
)
def test_bad_input_is_one_line(changes, said):
    with pytest.raises(InputError) as error:
        asked(**changes)
    assert said in str(error.value) and "\n" not in str(error.value)


def test_a_mask_that_refuses_every_split_is_told():
    line = f"plan --model {MODEL} --hardware {HARDWARE} --chips 2 --isl 1024 --osl 256 --fix mtp=1 --fix sp=1"
    text = command(*line.split(), code=1)
    assert f"ok_mtp: mtp = 1, and {MODEL} has no MTP module that makes draft tokens" in text


PLAIN = {"kind": "aggregated", "tp": 8.0, "dp": 1.0, "ep": 1.0, "moe_tp": 1.0, "pp": 1.0, "sp": 1.0, "mtp": 0.0}
PLAIN |= {"pipeline": "naive", "dispatch_mode": "auto", "batching": "chunked"}


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, "tp8 dp1 ep1 chunked"),
        ({"moe_tp": 2.0}, "tp8 dp1 ep1 moe_tp2 chunked"),
        ({"pp": 2.0, "sp": 2.0}, "tp8 dp1 ep1 pp2 sp2 chunked"),
        ({"mtp": 1.0, "ep": 8.0}, "tp8 dp1 ep8 mtp1 chunked"),
        ({"pipeline": "sbo", "dispatch_mode": "normal", "batching": ""}, "tp8 dp1 ep1 sbo normal"),
    ],
)
def test_a_split_is_told_by_what_it_splits(changes, text):
    assert plan_words._split(PLAIN | changes) == text
