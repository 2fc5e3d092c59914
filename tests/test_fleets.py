"""`recommend` against brute force over servers and pools, the demand's limits, bad input, the command line."""

import contextlib
import functools
import io
import json
import math

import numpy as np
import pytest
from console import command

import dsjax
from dsjax.analysis.fleet import demand
from dsjax.analysis.fleet import recommend as fleets
from dsjax.analysis.fleet.tables import pool_ratio
from dsjax.commands.answers import recommend_tables, recommend_trust
from dsjax.commands.answers.recommend_tables import show
from dsjax.commands.tables import rows_over

DECODE = {
    "axes": {
        "hardware": ["H800", "H20", "H200"],
        "nic": ["CX7", "E810"],
        "tp": [1, 8],
        "ep": [8, 16],
        "batch": [2, 64],
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
LENGTHS = {"isl": ISL, "osl": OSL}
POOL = {"nic": "CX7", "precision": "fp8"}


@functools.cache
def recommended(**demand):
    return dsjax.recommend(DECODE, PREFILL, isl=ISL, osl=OSL, **demand)


def row_of(ds, kind, hardware, nic="CX7"):
    found = ds.isel(rank=np.flatnonzero((ds.kind == kind) & (ds.hardware == hardware) & (ds.nic == nic)))
    return found.isel(rank=0)


def swept(phase, axes, limits, **pools):
    grid = {"phase": phase, "axes": axes, "fixed": LENGTHS, "constraints": limits, **pools}
    return dsjax.sweep(grid).drop_attrs()


def servers(load, values, limits, **layout):
    """A sweep of aggregated instances of the decode grid, each asked one of these `values`."""
    axes = {"hardware": ["H800", "H200"], "tp": [1, 8], "ep": [8, 16], "batching": ["prefill-first", "chunked"]}
    return swept("serve", {k: [v] for k, v in layout.items()} | {load: values, "nic": ["CX7"], "precision": ["fp8"]} | {
        k: x for k, x in axes.items() if k not in layout
    }, limits)  # fmt: skip


def pairs(hardware, load, prefill_instances, decode_instances, limits, layout=()):
    """A sweep of pairs of pools of one hardware."""
    counts = {"prefill_instances": prefill_instances, "decode_instances": decode_instances}
    prefill, decode = {"tp": [4, 8], "chips": [8, 16]}, {"tp": [1, 8], "ep": [8, 16]}
    for name, value in dict(layout).items():
        pool, axis = name.split("_")
        (prefill if pool == "prefill" else decode)[axis] = [value]
    both = {"prefill": POOL | {"hardware": hardware} | prefill, "decode": POOL | {"hardware": hardware} | decode}
    return swept("disaggregated", counts | {name: [x] for name, x in load.items()}, limits, **both)


def limits_of(statistic="p90"):
    return {f"max_ttft_{statistic}": 2.0, f"max_tpot_{statistic}": 0.05}


@pytest.mark.parametrize("rate", [0.3, 6.0, 45.0])
def test_aggregated_fleets_equal_brute_force(rate):
    ds = recommended(requests_per_s=rate)
    for hardware in ("H800", "H200"):
        found = row_of(ds, "aggregated", hardware)
        most = int(found.decode_chips) // 8  # instances of the smallest layout for as many chips
        swept = servers("requests_per_s", [rate / n for n in range(1, most + 1)], limits_of(), hardware=hardware)
        chips = swept.chips * xr_of(swept, np.arange(1, most + 1))
        good = swept.feasible & (swept.ttft_mean <= 2.0) & (swept.tpot_mean <= 0.05)
        assert float(chips.where(good).min()) == float(found.chips)
        best = chips.where(good) == float(found.chips)
        assert float(found.tpot) == pytest.approx(float(swept.tpot_p90.where(best).min()), rel=1e-8)


def xr_of(swept, numbers):
    return swept.requests_per_s * 0 + numbers


@pytest.mark.parametrize("rate", [6.0, 30.0])
def test_disaggregated_fleets_equal_brute_force(rate):
    ds = recommended(requests_per_s=rate)
    for hardware in ("H800", "H200"):
        found = row_of(ds, "disaggregated", hardware)
        numbers = [range(1, int(found[f"{pool}_chips"]) // 8 + 2) for pool in ("prefill", "decode")]
        swept = pairs(hardware, {"requests_per_s": rate}, *(list(x) for x in numbers), limits_of())
        assert float(swept.chips.where(swept.feasible).min()) == float(found.chips)


@pytest.mark.parametrize("users", [5, 700])
def test_users_are_served_and_by_no_fewer(users):
    ds = recommended(concurrency=users)
    for hardware in ("H800", "H200"):
        row = row_of(ds, "aggregated", hardware)
        layout = {name: row[f"decode_{name}"].item() for name in ("tp", "ep", "batching")} | {"hardware": hardware}
        n = int(row.decode_instances)
        each = [math.ceil(users / k) for k in dict.fromkeys((n, max(n - 1, 1)))]
        good = servers("concurrency", sorted(each), limits_of(), **layout).feasible.values.ravel().tolist()
        assert good in ([True], [True, False])
        row = row_of(ds, "disaggregated", hardware)
        numbers = [int(row[f"{pool}_instances"]) for pool in ("prefill", "decode")]
        layout = {name: row[name].item() for name in ("prefill_tp", "decode_tp", "decode_ep")}
        layout["prefill_chips"] = int(row.prefill_chips_per_instance)
        tried = [sorted({max(n - 1, 1), n}) for n in numbers]
        good = pairs(hardware, {"concurrency": users}, *tried, limits_of(), layout).feasible.squeeze()
        assert bool(
            good.sel(prefill_instances=numbers[0], decode_instances=numbers[1]) if good.ndim == 2 else good.max()
        )
        assert int(good.sum()) == 1
        rate, latency = float(row.requests_per_s), float(row.latency_mean)
        assert float(row.concurrency) == pytest.approx(rate * latency)
        assert float(row.concurrency) == pytest.approx(users, rel=0.03)  # Little


def test_one_instance_less_breaks_what_binds():
    ds = recommended(requests_per_s=45.0)
    words = {"max_ttft_p90", "max_tpot_p90", "throughput", "one instance"}
    assert {*ds.decode_binds.values.tolist(), *ds.prefill_binds.values.tolist()} <= words | {""}
    for i in range(ds.sizes["rank"]):
        row = ds.isel(rank=i)
        assert (row.decode_instances == 1) == (row.decode_binds == "one instance")
        assert float(row.decode_load) < 1 and float(row.ttft) <= 2 and float(row.tpot) <= 0.05
        pools = ["decode", "prefill"] if row.kind == "disaggregated" else ["decode"]
        for pool in pools:
            tokens = 45.0 * (OSL if pool == "decode" else ISL)
            assert float(row[f"{pool}_tokens_per_s"]) == pytest.approx(tokens)
            load = tokens / (row[f"{pool}_instances"] * row[f"{pool}_tps_total"])
            assert float(row[f"{pool}_load"]) == pytest.approx(float(load))
            size = row[f"{pool}_chips_per_instance"] * row[f"{pool}_instances"]
            assert float(row[f"{pool}_chips"]) == float(size)
        assert float(row.chips) == sum(float(row[f"{pool}_chips"]) for pool in pools)


def test_more_demand_never_takes_fewer_chips():
    last = {}
    for rate in (0.3, 6.0, 45.0):
        ds = recommended(requests_per_s=rate)
        for key, chips in zip(zip(ds.kind.values, ds.hardware.values, ds.nic.values), ds.chips.values.tolist()):
            assert chips >= last.get(key, 0)
            last[key] = chips
    assert len(last) == 8 and last["aggregated", "H800", "CX7"] >= 80


def test_a_stricter_percentile_never_takes_fewer_chips():
    found = [recommended(requests_per_s=45.0, percentile=x) for x in ("mean", 90, 99)]
    for kind, hardware in (("aggregated", "H800"), ("aggregated", "H20"), ("disaggregated", "H200")):
        chips = [float(row_of(ds, kind, hardware).chips) for ds in found]
        assert chips == sorted(chips)
    assert [ds.attrs["statistic"] for ds in found] == ["mean", "p90", "p99"]
    assert float(row_of(found[2], "aggregated", "H20").chips) > float(row_of(found[0], "aggregated", "H20").chips)


def test_spare_instances_stand_by():
    ds, base = recommended(requests_per_s=6.0, spare=1), recommended(requests_per_s=6.0)
    for i in range(ds.sizes["rank"]):
        row = ds.isel(rank=i)
        pools = ["decode", "prefill"] if row.kind == "disaggregated" else ["decode"]
        for pool in pools:
            whole = (row[f"{pool}_instances"] + 1) * row[f"{pool}_chips_per_instance"]
            assert float(row[f"{pool}_chips"]) == float(whole) and float(row[f"{pool}_spare"]) == 1
        assert float(row.chips) > float(row_of(base, row.kind.item(), row.hardware.item(), row.nic.item()).chips)


def test_ratio_of_the_pools():
    row = row_of(recommended(requests_per_s=45.0), "disaggregated", "H200")
    speeds = float(row.prefill_tps_per_chip), float(row.decode_tps_per_chip)
    assert float(row.chips_ratio) == pytest.approx(pool_ratio(ISL, OSL, *speeds))
    assert pool_ratio(1000, 1000, 300.0, 100.0) == pytest.approx(1 / 3)  # 1000 / 300 against 1000 / 100 chips s
    assert pool_ratio(3000, 1000, 100.0, 100.0) == pytest.approx(3.0)


def test_price_and_power_of_a_fleet():
    ds = recommended(requests_per_s=6.0)
    price = {"H800": 2.0, "H200": 2.9, "H20": math.nan}
    each = np.array([price[name] for name in ds.hardware.values.tolist()])
    np.testing.assert_allclose(ds.cost_per_hour, each * ds.chips)
    np.testing.assert_allclose(ds.cost_per_million_tokens, ds.cost_per_hour / (3600 * 6 * OSL) * 1e6)
    np.testing.assert_allclose(ds.power[ds.hardware != "H20"], 700 * ds.chips[ds.hardware != "H20"])
    prices = {"hardware.H800.usd_per_hour": 0, "hardware.H200.usd_per_hour": "1.5 USD/h"}
    other = dsjax.recommend(DECODE, PREFILL, isl=ISL, osl=OSL, requests_per_s=6.0, settings=prices)
    for kind in ("aggregated", "disaggregated"):
        assert math.isnan(float(row_of(other, kind, "H800").cost_per_hour))
        row = row_of(other, kind, "H200")
        assert float(row.cost_per_hour) == 1.5 * float(row.chips)


def test_limits_replace_those_of_the_grids():
    def limits(ds):
        return json.loads(ds.attrs["limits"])["aggregated"]

    base = recommended(requests_per_s=6.0)
    assert limits(base) == {"max_tpot_p90": 0.05, "max_ttft_p90": 2}
    by_time = recommended(requests_per_s=6.0, max_tpot="25 ms", max_ttft=0.5)
    assert limits(by_time) == {"max_tpot_p90": 0.025, "max_ttft_p90": 0.5}
    assert bool((by_time.tpot <= 0.025).all()) and bool((by_time.ttft <= 0.5).all())
    assert bool((base.tpot > 0.025).any())
    by_rate = recommended(requests_per_s=6.0, min_tps_per_user=40, max_ttft=0.5)
    assert by_rate.chips.values.tolist() == by_time.chips.values.tolist()


def of_grids(decode, prefill, changes=(), **limits):
    asked = LENGTHS | {"requests_per_s": 1} | limits
    return fleets.spaces_of(decode, prefill, asked, dict(changes))


def test_the_grids_margin_holds_for_given_limits(files, tmp_path):
    tight = DECODE | {"constraints": {"min_tps_per_user": 20, "slo_margin": "10 %"}}

    def limits(**given):
        return of_grids(tight, PREFILL, **given)[1].limits

    assert limits() == limits(min_tps_per_user=20) == {"max_tpot_p90": 1 / 22, "max_ttft_p90": 2}
    assert limits(max_tpot=0.05, max_ttft=1.5) == {"max_tpot_p90": 0.05 / 1.1, "max_ttft_p90": 1.5}
    path = tmp_path / "tight.toml"
    path.write_text(files[0].read_text() + "\nslo_margin = 0.1\n")
    printed = command("recommend", path, *files[1:], "--requests-per-s", 1, "--min-tps-per-user", 20)
    assert "TPOT within 45.45 ms for 90 % of the requests (with the SLO margin: 10 % of the decode grid)" in printed
    assert "TTFT within 2 s" in printed


def test_results_are_no_grid():
    for grids in (("space.nc", PREFILL), (DECODE, "space.nc")):
        with pytest.raises(dsjax.InputError, match="space.nc: a file of results; expected a grid"):
            dsjax.recommend(*grids, isl=ISL, osl=OSL, requests_per_s=1)


def test_changes_go_to_the_grid_that_names_the_axis():
    changes = {"axes": {"ep": [16], "chips": [8]}, "fixed": {"hardware": "H800", "expert_imbalance": 2, "isl_cv": 0}}
    found, _ = of_grids(DECODE, PREFILL, changes)
    servers, pools = found["aggregated"], found["disaggregated"]
    assert servers.axes["ep"] == (16,) and "chips" not in servers.axes
    assert pools.axes["decode_ep"] == (16,) and pools.axes["prefill_chips"] == (8,)
    assert pools.axes["prefill_tp"] == (4, 8) and pools.axes["decode_tp"] == servers.axes["tp"] == (1, 8)
    for space in found.values():
        assert (space.fixed["expert_imbalance"], space.fixed["isl_cv"]) == (2, 0)
        assert (space.fixed["isl"], space.fixed["osl"]) == (ISL, OSL)
    for name in ("hardware", "prefill_hardware", "decode_hardware"):
        space = servers if name == "hardware" else pools
        assert space.fixed[name] == "H800"
    assert (servers.fixed["phase"], pools.fixed["phase"]) == ("serve", "disaggregated")


def test_nobody_keeps_the_limit():
    ds = recommended(requests_per_s=1.0, min_tps_per_user=1e6)
    assert ds.sizes["rank"] == 0 and json.loads(ds.attrs["largest"]) == {}
    refused = [row for row in json.loads(ds.attrs["refused"]) if row["pool"] == "decode"]
    assert len(refused) == 6 + 6
    alone = [row for row in refused if row["refused"] == {"not in the grid of the other pool": 0}]
    assert len(alone) == 4  # the prefill grid has two of three, and one NIC
    for row in (row for row in refused if row not in alone):
        assert row["refused"]["ok_tpot"] >= 1 and 1e-3 < row["best"]["tpot_p90"] < 0.05


def test_what_so_many_chips_can_do():
    ds = recommended(requests_per_s=48.0, max_chips=32)
    largest = json.loads(ds.attrs["largest"])
    assert ds.sizes["rank"] == 0 and largest["chips"] <= 32
    assert recommended(requests_per_s=largest["amount"], max_chips=32).sizes["rank"] > 0
    assert recommended(requests_per_s=1.1 * largest["amount"], max_chips=32).sizes["rank"] == 0
    assert largest["binds"] in ("throughput", "max_ttft_p90", "max_tpot_p90")
    assert (64 * largest["amount"] / 48.0) % 1.0 == 0.0  # to one part in 64


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"requests_per_s": None}, "requests_per_s concurrency none one of the two"),
        ({"concurrency": 5}, "requests_per_s concurrency both one of the two"),
        ({"requests_per_s": 0}, "requests_per_s: 0 number above 0"),
        ({"requests_per_s": "fast"}, "requests_per_s: 'fast' number"),
        ({"requests_per_s": float("inf")}, "requests_per_s: inf not finite"),
        ({"requests_per_s": None, "concurrency": -1}, "concurrency: -1 number at least 1"),
        ({"isl": None}, "isl: not given number"),
        ({"osl": 0}, "osl: 0 number above 0"),
        ({"max_tpot": "3 token"}, "max_tpot: '3 token' unit [s]"),
        ({"max_ttft": 0}, "max_ttft: 0 above 0"),
        ({"max_tpot": 0.1, "min_tps_per_user": 10}, "min_tps_per_user max_tpot both"),
        ({"max_chips": 0}, "max_chips: 0 above 0"),
        ({"percentile": 95}, "percentile: 95 mean, 50, 90 or 99"),
        ({"spare": 1.5}, "spare: 1.5 integer"),
        ({"spare": -1}, "spare: -1 out of range"),
        ({"decode": "decode_gpu_2025"}, "decode_gpu_2025 study core model decode"),
        ({"prefill": "nothing"}, "grid: unknown 'nothing' prefill"),
        ({"decode": DECODE | {"constraints": {"min_mfu": 0.1}}}, "min_mfu decode grid min_tps_per_user, max_tpot"),
        ({"prefill": PREFILL | {"model": "DeepSeek-R1"}}, "model DeepSeek-R1 DeepSeek-V3 one value"),
        ({"fixed": {"isl": 3}}, "isl: set by the question"),
        ({"axes": {"batch": [1, 2]}}, "batch: set by the question"),
        ({"axes": {"phase": ["decode"]}}, "phase: set by the question"),
        ({"axes": {"isl_cv": [0, 1]}}, "isl_cv: 2 values one in common"),
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


def test_questions_are_checked_once():
    asked = LENGTHS | {"requests_per_s": "3", "max_tpot": "50 ms"}
    question = demand.question(asked, percentile="p99", spare=np.int64(2))
    assert (question.amount, question.spare, question.statistic) == (3.0, 2, "p99")
    assert question.limits == {"max_tpot_p99": 0.05} and question.open


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The grids as files."""
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
    row = next(row for row in found["rows"] if row["kind"] == "disaggregated")
    total = f"{row['prefill_chips']:,.0f} prefill + {row['decode_chips']:,.0f} decode = {row['chips']:,.0f} chips"
    assert total in text
    assert "60 requests/s x 500 = 30,000 output tokens/s" in text and "60 requests/s x 2,000 = 120,000 prompt" in text
    for words in ("Little's law", "USD per million output tokens", "ratio", "aggregated", "one less would not keep"):
        assert words in text
    assert f"{row['cost_per_hour']:,.2f} / (3600 s x 30,000 output tokens/s) x 1e6 = " in text
    assert found["asked"]["requests_per_s"] == 60 and len(found["rows"]) == 8
    assert {("H20", "CX7", "decode"), ("H800", "E810", "decode")} <= {
        (r["hardware"], r["nic"], r["pool"]) for r in found["refused"]
    }
    assert "not in the grid of the other pool" in text.split("No fleet")[1]
    fewest, sure, *_ = text.split("next:")[0].split("\n\n")[-1].splitlines()
    assert fewest.startswith("Fewest chips") and sure.startswith("sure: ") and "measured systems" in sure
    assert found["model"] == "DeepSeek-V3" and text.startswith("DeepSeek-V3: 60 requests/s, 2,000 prompt")
    alone = command("recommend", *asked, "--no-aggregated", "--format", "csv", "--quiet").splitlines()
    assert alone[0].startswith("rank,") and len(alone) == 3


def test_no_price_no_column(capsys):
    ds = recommended(requests_per_s=6.0).copy()
    for name in ("cost_per_hour", "cost_per_million_tokens"):
        ds[name] = np.nan * ds[name]
    show(ds, "table", False)
    text = capsys.readouterr().out
    assert "USD" not in text and "Fewest chips: " in text and "Cheapest" not in text


def test_exit_codes(files):
    text = command("recommend", *files, "--concurrency", 10, "--max-ttft", "1 us", code=1)
    assert "No fleet: no hardware keeps the limits, however many instances" in text and "ok_ttft" in text
    text = command("recommend", *files, "--requests-per-s", 500, "--max-chips", 32, code=1)
    assert "No fleet of at most 32 chips serves that: " in text and "requests/s at most; " in text
    assert "one of the two" in command("recommend", *files, code=2)
    assert "osl: not given" in command("recommend", "--concurrency", 10, "--isl", 5, code=2)


@pytest.mark.parametrize("how", [{"axes": {"tp": [8]}}, {"fixed": {"tp": 8}}], ids=["axis", "fixed"])
def test_what_is_fixed_is_told_as_what_is_chosen(how):
    """Precision and tp decide the next plan and the class of measured systems, on an axis or fixed."""
    axes = {"hardware": ["B200", "MI300X"], "ep": [8]} | how.get("axes", {})
    fixed = {"nic": "CX7", "precision": "nvfp4-kv8"} | how.get("fixed", {})
    ds = dsjax.recommend(requests_per_s=10, isl=4096, osl=1024, axes=axes, fixed=fixed, aggregated=False)
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        recommend_tables.show(ds, "table", False)
    said = " ".join(text.getvalue().split())
    assert "29 measured systems of this kind (small TP decode)" in said and said.count("kernel times:") == 1
    assert "(4 bit) evaluates other ones" in said and "fp8-kv8" not in said
    (following,) = recommend_tables.after(ds, "DeepSeek-V3")
    assert "--precision nvfp4-kv8" in following


def test_of_one_user_the_systems_of_one_user_are_told():
    ds = recommended(concurrency=1)
    spaces = recommend_trust.spaces_of(ds)
    row = rows_over(ds, "rank")[0]
    assert recommend_trust.system_class(row, spaces, json.loads(ds.attrs["asked"])) == "one user"
