"""Validation by class and engine: the rule of a class, statistics by hand, what is counted, small instances."""

import json
import math

import numpy as np
import pytest
import xarray as xr
from click.testing import CliRunner

import dsjax
from dsjax.catalog import reader
from dsjax.cli import main
from dsjax.space import provenance
from dsjax.validation import agreement, engines, kept, measured, predict, systems, validate

KEPT = kept.statistics()


@pytest.fixture(scope="module")
def own():
    return validate.validate()


@pytest.fixture(scope="module")
def statistics(own):
    return agreement.statistics(own)


@pytest.fixture(scope="module")
def rows():
    return {row.used["id"]: row for row in systems.read().systems}


# The class of a system


SMALL = {"metric": "tpot", "chips": 8, "tp": 8, "concurrency": 8, "isl": 1024, "osl": 1024}


@pytest.mark.parametrize(
    "changes, kind",
    [
        ({}, "small TP decode"),  # 7 tokens of others' prompts a step
        ({"concurrency": 9}, "small TP decode"),  # 8
        ({"concurrency": 10}, "aggregated"),  # 9
        ({"isl": 8192, "concurrency": 2}, "small TP decode"),
        ({"isl": 8192, "concurrency": 3}, "aggregated"),
        ({"osl": 8192, "concurrency": 64}, "small TP decode"),
        ({"concurrency": 1}, "one user"),
        ({"concurrency": 1, "isl": 8192}, "one user"),
        ({"metric": "user", "concurrency": 1}, "one user"),
        ({"metric": "user", "concurrency": 64}, "small TP decode"),
        ({"tp": 4}, "wide EP"),
        ({"metric": "decode"}, "small TP decode"),
        ({"metric": "decode", "tp": 1}, "wide EP"),
        ({"metric": "layer", "tp": 1}, "wide EP"),
        ({"metric": "mixed", "tp": 1}, "aggregated"),
        ({"metric": "prefill"}, "prefill"),
        ({"metric": "ttft", "concurrency": 1}, "first token"),
    ],
)
def test_the_class_follows_from_the_fields(changes, kind):
    assert measured.System({}, SMALL | changes, (), "", {}, {}).kind == kind


def test_every_system_is_counted_or_the_reason_is_given(own, statistics):
    assert set(own["class"].values.tolist()) == set(measured.CLASSES)
    for name in ("classes", "engines", "studies"):
        *lines, whole = statistics[name]
        assert sum(x["rows"] for x in lines) == whole["rows"] == own.sizes["system"]
        assert sum(x["counted"] for x in lines) == whole["counted"]
    for line in statistics["classes"][:-1]:
        apart = sum(x["rows"] for x in statistics["excluded"] if x["class"] == line["group"])
        assert line["counted"] + apart == line["rows"]
    assert all(x["reason"] for x in statistics["excluded"])
    assert sum(x["rows"] for x in statistics["excluded"] if not x["class"]) == own.sizes["left_aside"]


def test_a_prediction_that_is_no_number_is_not_counted(own):
    broken = own.copy(deep=True)
    i = int(np.flatnonzero(own["complete"].values & (own["class"].values == "wide EP"))[0])
    for name in ("unfitted", "left_out", "left_out_error", "unfitted_error"):
        broken[name].values[i] = np.nan
    before, after = ({x["group"]: x for x in agreement.by_group(ds, "class")}["wide EP"] for ds in (own, broken))
    assert after["counted"] == before["counted"] - 1 and after["rows"] == before["rows"]
    assert {"class": "wide EP", "reason": "no finite prediction", "rows": 1} in agreement.excluded(broken)


# Statistics by hand


def by_hand():
    """Two studies of times, 1 and 2 s measured in either; one system of B leaves something open."""
    times = {"measured": [1.0, 2.0, 1.0, 2.0, 4.0], "unfitted": [1.1, 3.0, 2.0, 1.6, 4.0]}
    data = {name: ("system", values) for name, values in times.items()}
    for name in ("left_out", "by_engine_left_out", "roofline_left_out"):
        data[name] = ("system", times["unfitted"])
    ds = xr.Dataset(data)
    for name in ("unfitted", "left_out", "by_engine_left_out", "roofline_left_out"):
        ds[f"{name}_error"] = ds[name] / ds["measured"] - 1.0
    ds["uncertainty"] = ("system", [0.1, 0.1, 0.4, 0.12, 0.1])
    ds["kernel_uncertainty"] = ("system", [0.08, 0.3, 0.3, 0.3, 0.3])
    return ds.assign_coords(
        study=("system", ["A", "A", "B", "B", "B"]),
        metric=("system", ["tpot"] * 5),
        kind=("system", ["x", "x", "x", "y", "y"]),
        complete=("system", [True, True, True, True, False]),
    )


def test_statistics_of_a_group_by_hand():
    x, y, whole = (
        agreement.by_group(by_hand(), "kind", ("y", "x"))[::-1][1:] + agreement.by_group(by_hand(), "kind")[2:]
    )
    assert (x["group"], x["rows"], x["counted"]) == ("x", 3, 3) and (y["group"], y["rows"], y["counted"]) == ("y", 2, 1)
    assert x["median"] == pytest.approx(0.5) and x["p90"] == pytest.approx(0.9)  # 0.1, 0.5, 1
    assert x["bias"] == pytest.approx((1.1 * 1.5 * 2.0) ** (1 / 3))
    # One pair of one study: 2 measured, 3 / 1.1 predicted, in order.
    assert x["pairs"] == 1 and x["ratio"] == pytest.approx(math.log(3.0 / 1.1 / 2.0)) and x["order"] == 1.0
    # |ln| 0.095, 0.405, 0.693 against 0.1, 0.1, 0.4, and against 0.08, 0.3, 0.3.
    assert [x[f"within_{n}"] for n in (1, 2)] == pytest.approx([1 / 3, 2 / 3])
    assert [x[f"printed_{n}"] for n in (1, 2)] == pytest.approx([0.0, 2 / 3])
    assert y["pairs"] == 0 and math.isnan(y["ratio"]) and y["median"] == pytest.approx(0.2)
    # Of all: A in order, B not (2 s and 1.6 s against 1 s and 2 s).
    assert whole["pairs"] == 2 and whole["order"] == 0.5


def test_engines_are_passed(rows):
    assert rows["OSS-H100-TP2-1k-1k-C4"].grid("decode")["fixed"]["engine"] == "vllm"
    assert rows["SGL-H100-DEC-2K"].grid("decode")["fixed"]["engine"] == "sglang-deepep"


# How sure a prediction is


@pytest.mark.parametrize(
    "name, error", [("R1-H200-S12-TP8-8k-1k-C64", 0.08), ("DS-PROFILE-DEC", 0.15), ("VLLM-H200-PF-EP8", 0.08)]
)
def test_uncertainty_is_that_of_slower_kernels(rows, name, error):
    """Each kind of kernel 1 % slower, by the numbers of its curve; kinds are off independently."""
    row, step = rows[name], 0.01
    found = predict.predictions([row])[0]
    of = dsjax.load_grid(row.grid(row.phases[0]))
    name = of.curve_of(row.used["hardware"], row.used["engine"])
    curve = reader.load()["curve"][name]
    kinds = [key.removesuffix("_compute") for key in curve if key.endswith("_compute")]
    before, variance, slopes = found.fixed_s + found.scaled_s, 0.0, []
    for kind in [*kinds, "pointwise"]:
        ends = {"_compute": -1, "_memory": -1, "_start_s": 1, "_split_s": 1, "_depth_s": 1, "_slot_s": 1}
        numbers = {
            f"curve.{name}.{kind}{end}": curve[f"{kind}{end}"] * (1.0 + step) ** p
            for end, p in ends.items()
            if f"{kind}{end}" in curve
        }
        slow = predict.predictions([row], settings=numbers)[0]
        slopes.append(math.log((slow.fixed_s + slow.scaled_s) / before) / math.log(1.0 + step))
        variance += (slopes[-1] * (provenance.UNCERTAINTY["assumed"] if kind == "pointwise" else error)) ** 2
    assert found.kernel_uncertainty == error and 0.5 < sum(slopes) <= 1.0 + 1e-6
    assert found.uncertainty == pytest.approx(math.sqrt(variance), rel=0.02)


# Numbers of engines


def test_least_squares_by_hand():
    columns = np.array([[1.0, 0.0], [1.0, 1.0], [2.0, 1.0], [3.0, 2.0]])
    assert engines.least_squares(np.zeros(4), columns, columns @ [0.5, 0.2], [1.0, 0.0]) == pytest.approx([0.5, 0.2])
    base = np.array([1.0, 2.0, 1.0, 1.0])
    assert engines.least_squares(base, columns, base + columns @ [0.5, 3.0], [1.0, 0.0]) == pytest.approx([0.5, 3.0])
    # The best without a bound has a negative time: 0, and the geometric mean for the factor.
    slow = columns[:, 0] * np.array([1.2, 1.0, 1.0, 1.0])
    x = engines.least_squares(np.zeros(4), columns, slow, [1.0, 0.0])
    assert x == pytest.approx([1.2**0.25, 0.0])
    assert engines.least_squares(np.array([5.0]), np.array([[1.0]]), np.array([2.0]), [0.0]).tolist() == [0.0]


def case(engine, study, value, scaled_s, complete=True, steps=1.0, drafts=0.0, metric="tpot", requests=0.0):
    used = {"engine": engine, "study": study, "value": value, "metric": metric, "complete": complete}
    row = measured.System({}, used, (), "", {}, {})
    return row, predict.Prediction(0.0, scaled_s, steps, drafts, requests, 0.1, 0.1, 0.0, (), "", 1, {})


def test_numbers_need_five_systems_each():
    """Engine a: 6 systems at twice the time; b: 4 at half of it, which take what all give."""
    a = [case("a", f"a{i % 2}", 2.0 * x, x) for i, x in enumerate((1.0, 2.0, 3.0, 4.0, 5.0, 6.0))]
    b = [case("b", "b", 0.5 * x, x) for x in (1.0, 2.0, 3.0, 4.0)]
    fit = engines.fit(*zip(*a + b), names=("software_factor", "step_s"))
    assert fit.of == ("a",) * 6 + ("generic",) * 4 and fit.engines.keys() == {"a", "generic"}
    assert fit.engines["a"].fitted == ("software_factor",) and fit.engines["a"].rows == 6
    assert fit.engines["a"].numbers == pytest.approx(
        {"software_factor": 2.0} | dict.fromkeys(list(engines.NUMBERS)[1:], 0.0)
    )
    assert fit.engines["generic"].fitted == ("software_factor", "step_s") and fit.engines["generic"].rows == 10
    assert fit.predicted_s[:6] == pytest.approx(2.0 * np.arange(1.0, 7.0))
    # Without study a0 three systems of a are left: both engines take what the 7 others give together, one number.
    assert fit.left_out_s[0] == pytest.approx(np.exp((3 * math.log(2.0) + 4 * math.log(0.5)) / 7))
    assert fit.left_out_s[6:] == pytest.approx(2.0 * np.arange(1.0, 5.0))  # all that is left is of a


def test_a_number_acts_on_five_systems_or_is_not_fitted():
    some = [case("a", "s", 2.0 * x, x, drafts=float(i < 4)) for i, x in enumerate(np.arange(1.0, 13.0))]
    names = ("draft_step_s", "software_factor")
    assert engines.fit(*zip(*some), names=names).engines["a"].fitted == ("software_factor",)
    some[4] = case("a", "s", 10.0, 5.0, drafts=1.0)
    assert engines.fit(*zip(*some), names=names).engines["a"].fitted == names


def test_first_tokens_fit_the_host_time_of_a_request_alone():
    some = [case("a", "s", 2.0 * x, x) for x in np.arange(1.0, 7.0)]
    firsts = [case("a", "s", 9.0, x, metric="ttft", requests=1.0) for x in np.arange(1.0, 6.0)]
    one = engines.fit(*zip(*some + firsts)).engines["a"]
    assert one.rows == 6 and one.numbers["software_factor"] == pytest.approx(2.0)
    two = engines.fit(*zip(*some + firsts), names=("software_factor", "request_s")).engines["a"]
    assert two.rows == 11 and two.fitted == ("software_factor", "request_s") and two.numbers["request_s"] > 1.0


def test_incomplete_systems_fit_no_number():
    some = [case("a", "s", 2.0 * x, x, complete=x < 6.0) for x in np.arange(1.0, 9.0)]
    wrong = [(row, found) if row.complete else case("a", "s", 99.0, 1.0, False) for row, found in some]
    one, other = (engines.fit(*zip(*x)).engines["a"] for x in (some, wrong))
    assert one == other and one.rows == 5


# Bad input


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"metric": '"ttft"', "osl": None}, "expected isl and osl, as the first token waits for others"),
        ({"batching": '"both"'}, "expected one of prefill-first, chunked"),
        ({"ttft": '"soon"'}, "ttft: 'soon'"),
        ({"tps_per_chip": "0"}, "tps_per_chip: 0"),
        ({"requests_per_user": "-1"}, "requests_per_user: -1"),
        ({"chunk_tokens": "0"}, "chunk_tokens: 0"),
        ({"memory_reserve": "2"}, "memory_reserve: 2"),
        ({"concurrency": None}, "concurrency: missing"),
        ({"osl": None}, "expected isl and osl"),
        ({"length_factor": "1.2"}, "length_factor: 1.2 is out of range"),
        ({"engine": "3"}, "expected a text"),
        ({"engine_version": '""'}, "expected a text"),
        ({"value": '"9.7 parsecs"'}, "value"),
        ({"length": "0.9"}, "unknown key 'length'"),
        ({"tp": "16"}, "tp: 16; expected a divisor of chips = 8"),
        ({"tp": "3"}, "tp: 3; expected a divisor of chips = 8"),
        ({"concurrency": "0"}, "out of range"),
    ],
)
def test_bad_rows(tmp_path, changes, said):
    row = {"id": '"a"', "isl": "1024", "osl": "1024", "concurrency": "4", "tp": "8", "value": '"9.7 ms"'} | changes
    study = 'id = "A"\ndate = "2026"\nsource = "a bench"\nmodel = "DeepSeek-R1"\nhardware = "H200"\nprecision = "fp8"\n'
    cells = ", ".join(f"{key} = {value}" for key, value in row.items() if value is not None)
    metric = "" if "metric" in changes else 'metric = "tpot"\n'
    path = tmp_path / "bad.toml"
    path.write_text(f"[[study]]\n{study}{metric}chips = 8\nep = 1\nsystem = [{{ {cells} }}]\n")
    with pytest.raises(dsjax.InputError, match="bad.toml") as error:
        systems.read(path)
    assert said in str(error.value) and "\n" not in str(error.value)


# The command line, and the figures that are kept


def run(*arguments):
    result = CliRunner().invoke(main, ["validate", *arguments])
    return result.exit_code, result.output


def test_tables(own):
    code, text = run()
    assert code == 0 and all(f"\n  {name} " in text for name in measured.CLASSES)
    assert "Not counted:" in text and "Software factor by engine, one number each" in text
    assert "R1-H200-S12-TP8-1k-1k-C4" not in text
    code, text = run("--rows")
    assert code == 0 and all(name in text for name in own["system"].values)
    code, text = run("--engines")
    assert code == 0 and "draft step ms" in text and "tensorrt-llm" in text
    assert run("--engines", "--rows")[0] == run("--defaults", "--engines")[0] == 2


def test_engines_as_records(tmp_path):
    out = tmp_path / "e.nc"
    code, text = run("--engines", "--format", "json", "-o", str(out))
    found = json.loads(text)["rows"]
    assert code == 0 and len(found) == len(KEPT["numbers"])
    with xr.open_dataset(out) as ds:
        assert ds["step_s"].attrs["units"] == "s" and ds["engine"].values.tolist() == [x["engine"] for x in found]


def test_statistics_are_those_that_are_kept(own, statistics):
    """data/accuracy.json is the one place of all golden statistics: python benchmarks/accuracy_page.py renews it."""
    for name in ("classes", "engines", "studies"):
        assert len(statistics[name]) == len(KEPT[name])
        for line, golden in zip(statistics[name], KEPT[name], strict=True):
            for key, wanted in golden.items():
                value = line[key]
                if isinstance(wanted, float):
                    assert value == pytest.approx(wanted, rel=2e-3, abs=2e-3), (name, golden["group"], key)
                else:
                    assert value == wanted or (wanted is None and math.isnan(value)), (name, golden["group"], key)
    assert statistics["excluded"] == KEPT["excluded"]
    assert own.attrs["software_factor"] == pytest.approx(KEPT["factors"]["one"], rel=1e-3)
