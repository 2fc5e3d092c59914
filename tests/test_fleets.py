"""Fleets against brute force over both grids, Little's law, the demand's limits, bad input, the command line."""

import json
import math

import numpy as np
import pytest
from console import command

import dsjax
from dsjax.analysis import demand
from dsjax.analysis import recommend as fleets
from dsjax.commands.answers.recommend import show

DECODE = {
    "axes": {
        "hardware": ["H800", "H20", "H200"],
        "nic": ["CX7", "E810"],
        "tp": [1, 2],
        "ep": [32, 72],
        "batch": [2, 16, 64],
    },
    "fixed": {"context": 4096, "precision": "fp8"},
    "constraints": {"min_tps_per_user": 20},
}
PREFILL = {
    "phase": "prefill",
    "axes": {"hardware": ["H200", "H800"], "chips": [8, 16], "tp": [4, 8], "prompts": [1, 2, 4, 8]},
    "fixed": {"nic": "CX7", "context": 4096, "precision": "fp8"},
    "constraints": {"max_ttft": 2},
}
ISL, OSL = 3000, 700


@pytest.fixture(scope="module")
def pools():
    """Every feasible point of both grids as plain dicts, by hardware and NIC."""
    found = {}
    for phase, data in (("decode", DECODE), ("prefill", PREFILL)):
        ds = dsjax.sweep(data, fixed={"isl": ISL, "osl": OSL, "phase": phase}, blocks=False)
        frame = ds.drop_vars(["hardware_watts"]).to_dataframe().reset_index()
        for row in frame[frame.feasible].to_dict("records"):
            found.setdefault((phase, row["hardware"], row["nic"]), []).append(row)
    return found


def recommend(**demand):
    return dsjax.recommend(DECODE, PREFILL, isl=ISL, osl=OSL, **demand)


def fewest(points, instances, slowness):
    """(chips, instances, point) by trying every point."""
    tried = [(instances(p) * p["chips"], p[slowness], -p.get("batch", 0), i) for i, p in enumerate(points)]
    chips, *_, i = min(tried)
    return chips, instances(points[i]), points[i]


@pytest.mark.parametrize(
    "demand",
    [{"requests_per_s": r} for r in (0.01, 3.0, 40.0, 1e4)] + [{"concurrency": c} for c in (1, 700, 64 * 72, 1e6)],
)
def test_equals_brute_force(pools, demand):
    ds = recommend(**demand)
    rate, users = demand.get("requests_per_s"), demand.get("concurrency")
    expected = {}
    for hardware, nic in [("H800", "CX7"), ("H200", "CX7")]:
        decode = pools["decode", hardware, nic]

        def decodes(p):
            return math.ceil(users / p["batch_total"] if users else rate * OSL / p["tps_total"] - 1e-12)

        chips, n, point = fewest(decode, decodes, "tpot")
        asked = rate or users / (OSL * point["tpot"])

        def prefills(p, asked=asked):
            return math.ceil(asked * ISL / p["tps_total"])

        more, m, prompt = fewest(pools["prefill", hardware, nic], prefills, "ttft")
        expected[hardware] = (chips + more, n, m, point, prompt, asked)
    order = sorted(expected, key=lambda name: expected[name][0])
    assert sorted(ds.hardware.values.tolist()) == sorted(order)
    assert ds.chips.values.tolist() == [expected[name][0] for name in order]
    for i, name in enumerate(ds.hardware.values.tolist()):
        chips, n, m, point, prompt, asked = expected[name]
        row = ds.isel(rank=i)
        assert (row.chips, row.decode_instances, row.prefill_instances) == (chips, n, m)
        for axis in ("tp", "ep", "batch"):
            assert row[f"decode_{axis}"] == point[axis]
        for axis in ("tp", "prompts"):
            assert row[f"prefill_{axis}"] == prompt[axis]
        assert float(row.requests_per_s) == pytest.approx(asked, rel=1e-12)
        assert float(row.concurrency) == pytest.approx(asked * OSL * point["tpot"], rel=1e-12)


def test_pools_hold_their_demand_and_one_instance_less_does_not():
    for rate in np.random.default_rng(0).uniform(0.1, 500, 12).tolist():
        ds = recommend(requests_per_s=rate)
        for phase, tokens in (("decode", OSL), ("prefill", ISL)):
            n, each = ds[f"{phase}_instances"], ds[f"{phase}_tps_total"]
            assert bool((n * each >= rate * tokens * (1 - 1e-9)).all())
            assert bool(((n - 1) * each < rate * tokens).all())
            np.testing.assert_allclose(ds[f"{phase}_load"], rate * tokens / (n * each), rtol=1e-12)
            np.testing.assert_allclose(ds[f"{phase}_chips"], n * ds[f"{phase}_chips_per_instance"])
        assert bool((ds.concurrency <= ds.decode_instances * ds.decode_batch_total * (1 + 1e-9)).all())  # Little
        assert bool((ds.tps_per_user >= 20).all()) and bool((ds.ttft <= 2).all())


def test_more_demand_never_takes_fewer_chips():
    last = {}
    for rate in (0.1, 1, 10, 30, 100, 1000):
        ds = recommend(requests_per_s=rate)
        for name, chips in zip(ds.hardware.values.tolist(), ds.chips.values.tolist()):
            assert chips >= last.get(name, 0)
            last[name] = chips
    assert last["H800"] > 500


def test_a_large_fleet_has_the_ratio_of_the_pools():
    ds = recommend(requests_per_s=1e6)
    np.testing.assert_allclose(ds.prefill_chips / ds.decode_chips, ds.chips_ratio, rtol=1e-3)
    for i in range(ds.sizes["rank"]):
        speeds = float(ds.prefill_tps_per_chip[i]), float(ds.decode_tps_per_chip[i])
        assert float(ds.chips_ratio[i]) == fleets.pool_ratio(ISL, OSL, *speeds)
    assert fleets.pool_ratio(1000, 1000, 300.0, 100.0) == pytest.approx(1 / 3)  # 1000 / 300 against 1000 / 100 chips s
    assert fleets.pool_ratio(3000, 1000, 100.0, 100.0) == pytest.approx(3.0)


def test_price_and_power_of_a_fleet():
    ds = recommend(requests_per_s=40.0)
    priced = dict(zip(ds.hardware.values.tolist(), ds.cost_per_hour.values.tolist()))
    chips = dict(zip(ds.hardware.values.tolist(), ds.chips.values.tolist()))
    assert priced == {"H800": 2.0 * chips["H800"], "H200": pytest.approx(2.3 * chips["H200"])}
    np.testing.assert_allclose(ds.cost_per_million_tokens, ds.cost_per_hour / (3600 * 40 * OSL) * 1e6)
    np.testing.assert_allclose(ds.power, 700 * ds.chips)
    other = recommend(
        requests_per_s=40.0, settings={"hardware.H800.usd_per_hour": 0, "hardware.H200.usd_per_hour": "1.5 USD/h"}
    )
    prices = dict(zip(other.hardware.values.tolist(), other.cost_per_hour.values.tolist()))
    assert math.isnan(prices["H800"]) and prices["H200"] == 1.5 * chips["H200"]


def test_limits_replace_those_of_the_grids():
    base = recommend(requests_per_s=40.0)
    assert json.loads(base.attrs["bounds"]) == {"min_tps_per_user": 20, "max_ttft": 2}
    by_time = recommend(requests_per_s=40.0, max_tpot="25 ms", max_ttft=0.5)
    assert json.loads(by_time.attrs["bounds"]) == {"max_tpot": 0.025, "max_ttft": 0.5}
    assert bool((by_time.tpot <= 0.025).all()) and bool((by_time.ttft <= 0.5).all())
    assert bool((base.tpot > 0.025).any())
    by_rate = recommend(requests_per_s=40.0, min_tps_per_user=40, max_ttft=0.5)
    assert by_rate.chips.values.tolist() == by_time.chips.values.tolist()


def test_the_grids_margin_holds_for_given_limits(files, tmp_path):
    asked = dict.fromkeys(demand.ASKED) | {"isl": ISL, "osl": OSL, "requests_per_s": 1}
    tight = DECODE | {"constraints": {"min_tps_per_user": 20, "slo_margin": "10 %"}}

    def bounds(**limits):
        return [space.bounds for space in demand.spaces_of(tight, PREFILL, asked | limits, {})]

    assert bounds() == bounds(min_tps_per_user=20) == [{"min_tps_per_user": 22.0}, {"max_ttft": 2}]
    assert bounds(max_tpot=0.05, max_ttft=1.5) == [{"max_tpot": 0.05 / 1.1}, {"max_ttft": 1.5}]
    path = tmp_path / "tight.toml"
    path.write_text(files[0].read_text() + "\nslo_margin = 0.1\n")
    printed = command("recommend", path, *files[1:], "--requests-per-s", 1, "--min-tps-per-user", 20)
    assert "min_tps_per_user 22, max_ttft 2 (with the SLO margin: 10 % of the decode grid)" in printed
    assert "SLO margin" not in command("recommend", *files, "--requests-per-s", 1)


def test_results_are_no_grid():
    for grids in (("space.nc", PREFILL), (DECODE, "space.nc")):
        with pytest.raises(dsjax.InputError, match="space.nc: a file of results; expected a grid"):
            dsjax.recommend(*grids, isl=ISL, osl=OSL, requests_per_s=1)


def test_changes_go_to_the_grid_that_names_the_axis():
    asked = dict.fromkeys(demand.ASKED) | {"isl": ISL, "osl": OSL, "requests_per_s": 1}
    changes = {"axes": {"batch": [16], "prompts": [2]}, "fixed": {"hardware": "H800", "expert_imbalance": 2}}
    decode, prefill = demand.spaces_of(DECODE, PREFILL, asked, changes)
    assert decode.axes["batch"] == (16,) and prefill.axes["prompts"] == (2,)
    assert "prompts" not in decode.axes and "batch" not in prefill.axes
    for space in (decode, prefill):
        assert (space.fixed["hardware"], space.fixed["expert_imbalance"]) == ("H800", 2)
        assert (space.fixed["isl"], space.fixed["osl"]) == (ISL, OSL)
    assert (decode.fixed["phase"], prefill.fixed["phase"]) == ("decode", "prefill")


def test_nobody_meets_the_limit():
    ds = recommend(requests_per_s=1.0, min_tps_per_user=1e6)
    assert ds.sizes["rank"] == 0
    refused = json.loads(ds.attrs["refused"])
    decode = [row for row in refused if row[2] == "decode" and row[3]]
    assert len(decode) == 6 and all(row[3] == 12 and row[4]["ok_tps_per_user"] == 12 for row in decode)


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"requests_per_s": None}, "requests_per_s concurrency none one of the two"),
        ({"concurrency": 5}, "requests_per_s concurrency both one of the two"),
        ({"requests_per_s": 0}, "requests_per_s: 0 number above 0"),
        ({"requests_per_s": "fast"}, "requests_per_s: 'fast' number"),
        ({"requests_per_s": float("inf")}, "requests_per_s: inf not finite"),
        ({"requests_per_s": None, "concurrency": -1}, "concurrency: -1 number above 0"),
        ({"isl": None}, "isl: not given number"),
        ({"osl": 0}, "osl: 0 number above 0"),
        ({"max_tpot": "3 token"}, "max_tpot: '3 token' unit [s]"),
        ({"max_ttft": 0}, "max_ttft: 0 above 0"),
        ({"max_tpot": 0.1, "min_tps_per_user": 10}, "min_tps_per_user max_tpot both"),
        ({"decode": "decode_gpu_2025"}, "decode_gpu_2025 study core model decode"),
        ({"prefill": "nothing"}, "grid: unknown 'nothing' prefill"),
        ({"fixed": {"isl": 3}}, "isl: set by the question"),
        ({"axes": {"phase": ["decode"]}}, "phase: set by the question"),
        ({"fixed": {"hardware": "H80"}}, "hardware 'H80' 'H800'"),
        ({"dtype": "int8"}, "dtype: 'int8' float64"),
    ],
)
def test_bad_input(changes, words):
    asked = {"decode": DECODE, "prefill": PREFILL, "isl": ISL, "osl": OSL, "requests_per_s": 1.0} | changes
    with pytest.raises(dsjax.InputError) as error:
        dsjax.recommend(asked.pop("decode"), asked.pop("prefill"), **asked)
    message = str(error.value)
    assert "\n" not in message and all(word in message for word in words.split()), message


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The grids as files: the same compiled programs."""
    paths = []
    for name, data in (("decode", DECODE), ("prefill", PREFILL)):
        paths.append(tmp_path_factory.mktemp("grids") / f"{name}.toml")
        lines = [f'phase = "{name}"'] if "phase" in data else []
        for part in ("axes", "fixed", "constraints"):
            lines += [f"[{part}]", *(f"{key} = {json.dumps(value)}" for key, value in data[part].items())]
        paths[-1].write_text("\n".join(lines))
    return [paths[0], "--prefill", paths[1], "--isl", 2000, "--osl", 500]


def test_command_line_prints_arithmetic_that_adds_up(files):
    asked = [*files, "--requests-per-s", 60]
    text = command("recommend", *asked)
    found = json.loads(command("recommend", *asked, "--format", "json"))
    row = found["rows"][0]
    assert (
        f"{row['decode_chips']:,.0f} decode + {row['prefill_chips']:,.0f} prefill = {row['chips']:,.0f} chips" in text
    )
    assert "60 requests/s x 500 = 30,000 output tokens/s" in text and "60 requests/s x 2,000 = 120,000 prompt" in text
    for words in ("Little's law", "assumed: independent pools", "USD per million output tokens", "ratio"):
        assert words in text
    assert f"{row['cost_per_hour']:,.2f} / (3600 s x 30,000 output tokens/s) x 1e6 = " in text
    assert found["asked"]["requests_per_s"] == 60 and len(found["rows"]) == 2
    assert {("H20", "prefill"), ("H800", "prefill")} <= {(r["hardware"], r["pool"]) for r in found["refused"]}
    assert text.splitlines()[-1].startswith(("Fewest chips", "(the decode grid"))
    assert "not in this grid" in text.split("No fleet")[1]
    lines = command("recommend", *asked, "--format", "csv", "--quiet").splitlines()
    assert lines[0].startswith("rank,") and len(lines) == 3


def test_no_price_no_column(capsys):
    ds = recommend(requests_per_s=3.0)
    for name in ("cost_per_hour", "cost_per_million_tokens"):
        ds[name] = np.nan * ds[name]
    show(ds, "table", False)
    text = capsys.readouterr().out
    assert "USD" not in text and "Fewest chips: " in text and "Cheapest" not in text


def test_exit_codes(files):
    text = command("recommend", *files, "--concurrency", 10, "--max-ttft", "1 us", code=1)
    assert "No fleet: no hardware has a feasible point in both pools" in text and "ok_ttft" in text
    assert "one of the two" in command("recommend", *files, code=2)
    assert "osl: not given" in command("recommend", "--concurrency", 10, "--isl", 5, code=2)
