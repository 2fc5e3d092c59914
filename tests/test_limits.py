"""Limits on any command and in Python: they replace those of the grid, and every table names those in force."""

import json
import math

import numpy as np
import pytest
from console import command

import dsjax
from dsjax.errors import InputError
from dsjax.space import grid, limits
from grids import SEVEN_CHIPS

GRID = {"fixed": {"nic": "CX7", "hardware": "H800", "mtp": 1, "precision": "fp8"}, "axes": {"ep": [72, 144]}}
FIX = [word for name, value in GRID["fixed"].items() for word in ("--fix", f"{name}={value}")] + ["--axis", "ep=72,144"]


def words(**given):
    return limits.words(grid.load(SEVEN_CHIPS, limits=given))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "limits: tps_per_user at least 20 token/s"),
        ({"min_tps_per_user": None}, "limits: none"),
        ({"min_tps_per_user": "30 token/s"}, "limits: tps_per_user at least 30 token/s"),
        ({"slo_margin": 0.1}, "limits: tps_per_user at least 22 token/s (slo_margin 0.1 counted in)"),
        (
            {"min_tps_per_user": None, "max_tpot": "50 ms", "min_mfu": "20 %", "max_memory_per_chip": "60 GiB"},
            "limits: tpot at most 50 ms; mfu at least 0.2; memory_per_chip at most 64.4245 GB",
        ),
        ({"max_batch": 64, "min_tps_per_user": None}, "limits: batch at most 64 sequence"),
        ({"max_weight_bytes": 1, "min_tps_per_user": None}, "limits: weight_bytes at most 1 B"),
    ],
)
def test_words(given, said):
    assert words(**given) == said


def test_limits_that_contradict_each_other_are_told():
    low, high = ({"min_tps_per_user": 20, "max_tps_per_user": most} for most in (10, 20))
    assert limits.words(grid.load(SEVEN_CHIPS, limits=low)).endswith("at most 10 token/s (no value is both)")
    assert "no value is both" not in limits.words(grid.load(SEVEN_CHIPS, limits=high))


def test_by_length_of_the_prompt():
    space = grid.load("prefill", axes={"context": [1024, 4096]}, limits={"max_ttft": {1024: "500 ms", 8192: 3}})
    assert limits.words(space).endswith("ttft at most 500 ms up to 1,024 tokens, 3 s up to 8,192 tokens")


def test_a_limit_is_that_of_a_file():
    given = {"constraints": {"min_tps_per_user": 35, "max_memory_per_chip": 6e10, "slo_margin": 0.1}}
    own = dsjax.load_grid(SEVEN_CHIPS).text
    data, _, _ = grid.read(SEVEN_CHIPS)
    of_file = dsjax.sweep(data | given, **GRID)
    by_option = dsjax.sweep(
        SEVEN_CHIPS, **GRID, limits={"min_tps_per_user": 35, "max_memory_per_chip": "60 GB", "slo_margin": "10 %"}
    )
    assert np.array_equal(of_file["feasible"], by_option["feasible"]) and 0 < int(by_option["feasible"].sum())
    assert int(by_option["feasible"].sum()) < int(dsjax.sweep(SEVEN_CHIPS, **GRID)["feasible"].sum()) and own
    assert "limits={'min_tps_per_user': 35" in by_option.attrs["history"]


@pytest.mark.parametrize(
    "args",
    [
        ("sweep",),
        ("best",),
        ("best", "--stream", "--dtype", "float32"),
        ("pareto",),
        ("histogram",),
        ("explain",),
        ("sensitivity",),
        ("sensitivity", "--at", "grid"),
        ("solve", "--vary", "context", "--until", "feasible"),
        ("uncertainty", "--error", "nic=10%", "--samples", "16"),
    ],
    ids=" ".join,
)
def test_tables_name_the_limits(args):
    out = command(args[0], SEVEN_CHIPS, *args[1:], *FIX, "--limit", "min_tps_per_user=30")
    assert "limits: tps_per_user at least 30 token/s" in [line.strip() for line in out.splitlines()]


def test_json_has_the_limits():
    for args in (("best",), ("pareto",), ("solve", "--vary", "context", "--until", "feasible"), ("sensitivity",)):
        found = json.loads(
            command(args[0], SEVEN_CHIPS, *args[1:], *FIX, "--limit", "max_tpot=40ms", "--format", "json")
        )
        assert found["limits"] == {"min_tps_per_user": 20.0, "max_tpot": 0.04}


def test_both_sides():
    of_b = ("--limit-b", "max_tpot=30ms", "--limit-b", "min_mfu=0.1")
    out = command("compare", SEVEN_CHIPS, *FIX, "--limit", "max_tpot=40ms", *of_b)
    assert "A: limits: tps_per_user at least 20 token/s; tpot at most 40 ms\n" in out
    assert "B: limits: tps_per_user at least 20 token/s; tpot at most 30 ms; mfu at least 0.1\n" in out
    assert command("compare", SEVEN_CHIPS, *FIX, "--fix-b", "tp=2").count("\nlimits: ") == 1


def test_demands():
    asked = ["recommend", "--requests-per-s", "1", "--isl", "1024", "--osl", "128", "--axis", "hardware=H200"]
    out = command(*asked, "--limit", "max_ttft=1.5", "--limit", "min_tps_per_user=25")
    assert "TTFT within 1.5 s and TPOT within 40 ms" in out
    line = command(*asked, "--limit", "max_mfu=1", code=2)
    assert "max_mfu" in line and "expected one of min_tps_per_user, max_tpot" in line


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"max_ttft": 2}, "limits['max_ttft']: ttft is not defined in decode; expected a limit on "),
        ({"min_tps_per_usr": 2}, "limits['min_tps_per_usr']: unknown constraint 'min_tps_per_usr' (did you mean"),
        ({"max_tpot": "2 GB"}, "limits['max_tpot']: '2 GB' has the unit 'GB'; expected a number [s]"),
        ({"min_tps_per_user": None, "slo_margin": 0.1}, "limits['slo_margin']: 0.1; expected it beside one of "),
    ],
)
def test_bad_limits(given, said):
    with pytest.raises(InputError) as error:
        dsjax.sweep(SEVEN_CHIPS, limits=given)
    assert str(error.value).startswith(said)


def test_a_limit_of_the_option_is_about_the_phase_that_is_asked():
    both = {"axes": {"phase": ["decode", "prefill"], "prompts": [32]}, "limits": {"max_ttft": 5}}
    assert grid.load(SEVEN_CHIPS, **both).bounds["max_ttft"] == 5
    with pytest.raises(InputError, match="not defined in decode"):
        grid.load(dict(grid.read(SEVEN_CHIPS)[0], phase="decode"), fixed={"phase": "decode"}, limits={"max_ttft": 5})


@pytest.mark.parametrize("name", ["min_tps_per_user", "max_ttft_p99", "slo_margin", "min_batch"])
def test_a_limit_is_no_axis(name):
    with pytest.raises(InputError, match=f"a limit, and no axis; expected it with limits=..{name}"):
        grid.load(SEVEN_CHIPS, fixed={name: 3})


@pytest.mark.parametrize("phase", ["serve", "disaggregated"])
def test_no_tokens_at_least_are_no_limit(phase):
    """1 / 0 s for a token: goodput and what is feasible are those without a limit."""
    fixed = {"hardware": "H200", "tp": 8, "engine": "vllm"} if phase == "serve" else {"requests_per_s": 1.0}
    axes = {"batching": ["chunked"], "concurrency": [1, 64]} if phase == "serve" else None
    none, zero = (
        dsjax.sweep(phase, axes=axes, fixed=fixed, limits={"max_tpot_p90": None, "min_tps_per_user": least})
        for least in (None, 0)
    )
    for name in ("goodput", "feasible", "ttft_p90"):
        np.testing.assert_allclose(none[name], zero[name], rtol=1e-12)


def test_a_demand_without_a_least_rate():
    asked = {
        "requests_per_s": 1.0,
        "isl": 1024,
        "osl": 100,
        "axes": {"hardware": ["H200"]},
        "fixed": {"tp": 8, "nic": "CX7"},
    }
    none, zero = (dsjax.recommend(**asked, limits={"min_tps_per_user": least}) for least in (None, 0))
    assert none.sizes["rank"] > 0
    np.testing.assert_array_equal(none["chips"], zero["chips"])


def test_a_lifted_limit_lets_more_points_pass():
    many = dsjax.best(SEVEN_CHIPS, **GRID, by=(), limits={"min_tps_per_user": None})
    few = dsjax.best(SEVEN_CHIPS, **GRID, by=())
    assert float(many["tps_per_chip"][0]) > float(few["tps_per_chip"][0])
    assert float(many["tps_per_user"][0]) < 20 <= float(few["tps_per_user"][0]) and math.isfinite(float(many["mfu"][0]))
