"""Uncertain inputs: against closed forms of lognormal laws, against sweeps of single samples."""

import json

import numpy as np
import pytest
import test_cli
from test_inverse import CORE, GRID, NIC

import dsjax
from dsjax.analysis import sampling, uncertainty
from dsjax.space import grid

command = test_cli.command
ERRORS = {"hardware.fp8_flops_per_s": 0.08, "nic": "10%", "acceptance": 0.05}


@pytest.fixture(scope="module")
def found():
    return dsjax.uncertainty(GRID, ERRORS, by=(), top=6)


def test_sobol_and_linear_shares_of_a_power_law():
    """y = c prod x_i^a_i, x_i lognormal: S_i = (exp(v_i) - 1) / (exp(sum v) - 1), v_i = (a_i s_i)^2."""
    powers, sigma = np.array([1.0, -2.0, 0.0, 0.5]), np.array([0.3, 0.2, 0.5, 0.4])

    def law(z):
        return 3.0 * np.exp(z @ (powers * sigma))

    normal, other = uncertainty._draws(0, 2**17, 4)
    first, total, *errors = sampling.sobol(law, normal, other, range(4), powers != 0.0)
    v = (powers * sigma) ** 2
    np.testing.assert_allclose(first, np.expm1(v) / np.expm1(v.sum()), atol=0.015)
    np.testing.assert_allclose(total, np.expm1(v) * np.exp(v.sum() - v) / np.expm1(v.sum()), atol=0.015)
    assert first[2] == total[2] == errors[0][2] == errors[1][2] == 0.0
    exact = np.expm1(v) / np.expm1(v.sum()), np.expm1(v) * np.exp(v.sum() - v) / np.expm1(v.sum())
    smaller = sampling.sobol(law, normal[: 2**13], other[: 2**13], range(4), powers != 0.0)
    for k in (0, 1):
        assert (np.abs((first, total)[k] - exact[k]) <= 4.0 * errors[k]).all() and (errors[k] < 0.01).all()
        np.testing.assert_allclose(smaller[2 + k], 4.0 * errors[k], rtol=0.3)  # 16 times fewer samples
    np.testing.assert_allclose(sampling.linear(powers, sigma), v / v.sum(), rtol=1e-12)
    assert (sampling.linear(np.zeros(2), sigma[:2]) == 0.0).all()
    flat = sampling.sobol(lambda z: np.ones(len(z)), normal, other, range(4), powers != 0.0)
    assert not np.any(flat)
    quantiles = np.quantile(law(normal), (0.05, 0.5, 0.95))
    np.testing.assert_allclose(quantiles, 3.0 * np.exp(np.sqrt(v.sum()) * np.array([-1.6449, 0, 1.6449])), rtol=0.01)


def test_inputs_that_may_have_no_effect_are_looked_at_together():
    """Of 64 inputs two matter, one of them only where the other is small: the same indices as one by one, sooner."""
    normal, other = uncertainty._draws(1, 2**12, 64)
    calls = []

    def law(z):
        calls.append(z)
        return np.maximum(z[:, 5], 0.5 + 0.3 * z[:, 40])

    one_by_one = np.array(sampling.sobol(law, normal, other, range(64), np.ones(64, bool)))
    every, calls[:] = len(calls), []
    together = np.array(sampling.sobol(law, normal, other, range(64), np.arange(64) == 5))
    np.testing.assert_array_equal(together, one_by_one)
    assert np.flatnonzero(together[1]).tolist() == [5, 40] and every == 66 and len(calls) == 2 + 1 + 13


def test_outputs_are_equal_to_a_billionth():
    one = {"tpot": np.array([2.0, np.nan]), "ttft": np.array([1.0, 3.0])}
    for more, same in ((0.9e-9, True), (1.1e-9, False)):
        for i in (0, 1):
            other = one | {"ttft": one["ttft"] * (1.0 + more * (np.arange(2) == i))}
            assert uncertainty._equal(one, other) == uncertainty._equal(other, one) == same


def test_chance_of_best():
    values = np.array([[3.0, 3.0, 1.0, 9.0], [2.0, 3.0, 2.0, 9.0], [9.0, 1.0, 9.0, 9.0]])
    feasible = np.array([[True, True, True, False], [True, True, True, False], [False, True, False, False]])
    assert sampling.chance_of_best(values, feasible).tolist() == [0.375, 0.375, 0.0]


def test_a_factor_of_the_step_has_the_quantiles_of_the_factor():
    """Without host time step_time = factor T, exactly lognormal."""
    samples, error = 4096, 0.2
    result = dsjax.uncertainty(CORE, {"software_factor": error}, samples=samples, seed=3, of="step_time")
    z = uncertainty._draws(3, samples, 1)[0][:, 0]
    factor = np.exp(error * np.quantile(z, result["quantile"].values))
    # a quantile between two samples is interpolated on another scale
    np.testing.assert_allclose(result["step_time"][0] / result["nominal_step_time"][0], factor, rtol=1e-4)
    analytic = np.exp(error * np.array([-1.6449, -0.6745, 0.0, 0.6745, 1.6449]))
    np.testing.assert_allclose(factor, analytic, rtol=0.02)
    assert result["elasticity"].item() == pytest.approx(1.0, rel=1e-8)
    assert result["linear"].item() == 1.0
    assert result["sobol"].item() == pytest.approx(1.0, abs=0.05)
    assert result["sobol_total"].item() == pytest.approx(1.0, abs=0.05)


def test_a_sample_is_a_sweep_at_its_inputs():
    space = grid.load(GRID)
    named = uncertainty.check(space, {"hardware.H20.fp8_flops_per_s": 0.3, NIC: 0.2, "context": 0.1})
    normal = uncertainty._draws(1, 3, 3)[0]
    point = {"hardware": "H20", "ep": 320, "batch": 32, "precision": "kv1-w1", "pipeline": "naive"}
    outputs = uncertainty._Candidate(space, point, named).outputs(normal, uncertainty._outputs_of(space))
    assert outputs["step_time"].shape == (3,)
    for i in range(3):
        moved = {x.name: next(iter(x.values.values())) * np.exp(s * normal[i, k]) for k, (x, s) in enumerate(named)}
        fixed = {"context": float(moved.pop("context"))}
        settings = {name: float(value) for name, value in moved.items()}
        swept = dsjax.sweep(GRID, fixed=fixed, settings=settings).sel(point)
        for name in ("step_time", "tps_per_chip", "exposed_network", "memory_per_chip"):
            assert outputs[name][i] == pytest.approx(float(swept[name]), rel=1e-12), name
        assert outputs["feasible"][i] == bool(swept.feasible)


def test_rows_are_independent_and_the_exact_name_wins():
    named = uncertainty.check(
        grid.load(GRID), {"hardware.H20.fp8_flops_per_s": 0.3, "hardware": 0.1, "hardware.fp8_flops_per_s": "20%"}
    )
    errors = {x.name: s for x, s in named}
    assert errors["hardware.H20.fp8_flops_per_s"] == 0.3
    assert errors["hardware.H800.fp8_flops_per_s"] == 0.2
    assert errors["hardware.H800.hbm_bytes_per_s"] == 0.1
    assert not any(name.endswith((".sms", "H800.int8_flops_per_s")) for name in errors)  # discrete, 0


def test_chances_are_shares(found):
    assert ((found["p_best"] >= 0) & (found["p_best"] <= found["p_feasible"])).all()
    assert 0.0 < float(found["p_best"].sum()) <= 1.0 + 1e-12
    assert (found["p_feasible"] <= 1.0 - found["p_refused"].max("constraint") + 1e-12).all()
    assert (found["p_feasible"] >= 1.0 - found["p_refused"].sum("constraint") - 1e-12).all()
    assert (found["tps_per_chip"].diff("quantile") >= 0).all()
    assert found["linear"].sum() == pytest.approx(1.0) and found["sobol"].sum() == pytest.approx(1.0, abs=0.05)
    assert (found["sobol_total"] >= -1e-12).all()
    ranked = dsjax.best(GRID, by=(), top=6)
    np.testing.assert_allclose(found["nominal_tps_per_chip"], ranked["tps_per_chip"], rtol=1e-12)


def test_the_seed_decides(found):
    again = dsjax.uncertainty(GRID, ERRORS, by=(), top=6)
    assert again.identical(found)
    other = dsjax.uncertainty(GRID, ERRORS, by=(), top=6, seed=1)
    assert (other["tps_per_chip"] != found["tps_per_chip"]).all()
    np.testing.assert_allclose(other["tps_per_chip"], found["tps_per_chip"], rtol=0.03)


def test_a_share_stays_a_share():
    """Tokens per step are 1 + acceptance, so at most 2, however large the error."""
    result = dsjax.uncertainty(GRID, {"acceptance": 0.9}, top=1)
    tokens = result["tps_per_user"][0] * result["nominal_step_time"][0]
    assert float(tokens[-1]) == pytest.approx(2.0, rel=1e-12) and float(tokens[0]) < 1.5


def test_what_is_clipped_is_said():
    z = uncertainty._draws(0, 1024, 1)[0][:, 0]
    result = dsjax.uncertainty(GRID, {"acceptance": 0.3}, top=1)
    assert result["drawn"].values.tolist() == ["acceptance"]
    assert result["clipped"].item() == np.mean(0.85 * np.exp(0.3 * z) > 1.0) > 0.2
    assert (dsjax.uncertainty(GRID, {NIC: 0.3}, top=1)["clipped"] == 0.0).all()
    at_bound = dsjax.uncertainty(GRID, {"acceptance": 0.3}, fixed={"acceptance": 1.0}, top=1)
    # tokens per step 1 + a: the elasticity a / (1 + a) is that of the formula, not half of it
    assert at_bound["elasticity"].item() == pytest.approx(0.5, rel=1e-6)
    asked = ["uncertainty", "decode_gpu_2025", "--top", 1, "--by", "", "--error", "acceptance=30%", "--error", "nic=1%"]
    text = command(*asked)
    assert "acceptance: set to the upper bound of its domain in " in text and "linear %, unclipped" in text
    assert "nic.CX7.scale_out_bytes_per_s: set" not in text and " +- " in text
    assert list(json.loads(command(*asked, "--format", "json"))["clipped"]) == ["acceptance"]


def test_twins_are_one_candidate():
    """Two precisions of the same bytes and rates: the same in every sample, unless one of the rows moves."""
    axes = {"batch": [64, 32], "precision": ["fp8", "w8a8"], "hardware": ["B200"]}
    grid_ = CORE | {"axes": axes, "fixed": {k: v for k, v in CORE["fixed"].items() if k not in axes} | {"ep": 72}}
    result = dsjax.uncertainty(grid_, {"nic": 0.1}, by=(), samples=64)
    assert result["batch"].values.tolist() == [64, 32]
    assert result["ties"].values.tolist() == [1, 1] and set(result["tied"].values) == {"precision w8a8"}
    assert float(result["p_best"][0]) == float(result["p_feasible"][0]) == 1.0
    apart = dsjax.uncertainty(grid_, {"precision.fp8.weight_bytes": 0.1}, by=(), samples=64)
    assert apart.sizes["rank"] == 4 and (apart["ties"] == 0).all()
    first = dsjax.uncertainty(grid_, {"nic": 0.1}, by=(), samples=64, top=1)
    assert first["ties"].values.tolist() == [1]


def test_inputs_of_other_candidates_have_no_share():
    result = dsjax.uncertainty(GRID, {"hardware.H20.fp8_flops_per_s": 0.1})
    assert result.sizes["input"] == 0 and result["hardware"].values.tolist() == ["H800", "H20"]
    spread = (result["tps_per_chip"].isel(quantile=-1) - result["tps_per_chip"].isel(quantile=0)).values
    assert spread[0] == 0.0 and spread[1] > 0.0
    empty = dsjax.uncertainty(GRID, ERRORS, fixed={"context": 9e6})
    assert empty.sizes["rank"] == 0


@pytest.mark.parametrize(
    ("errors", "options", "words"),
    [
        ({"nic.CX7.scale_out_bytes": 0.1}, {}, "did you mean 'scale_out_bytes_per_s'"),
        ({"nics": 0.1}, {}, "unknown parameter 'nics'"),
        ({NIC: 0.0}, {}, "out of range"),
        ({NIC: -0.1}, {}, "out of range"),
        ({NIC: 1.0}, {}, "above 0 and below 1"),
        ({NIC: "150%"}, {}, "above 0 and below 1"),
        ({NIC: "much"}, {}, "not a number"),
        ({"batch": 0.1}, {}, "is an axis"),
        ({"mtp": 0.1}, {}, "discrete"),
        ({"model": 0.1}, {}, "no continuous number"),
        ({"hardware.H800.int8_flops_per_s": 0.1}, {}, "is 0 or unknown"),
        ({}, {}, "relative error"),
        ({NIC: 0.1}, {"of": "tps_per_usr"}, "did you mean 'tps_per_user'"),
        ({NIC: 0.1}, {"samples": 1}, "at least 2"),
        ({NIC: 0.1}, {"samples": 10.5}, "expected an integer"),
        ({NIC: 0.1}, {"seed": -1}, "at least 0"),
        ({NIC: 0.1}, {"seed": 10**23}, "at most 9223372036854775807"),
        ({NIC: 0.1}, {"samples": 10**11}, "of memory is free; expected fewer samples"),
        ({NIC: 0.1}, {"top": 0}, "expected"),
        ({NIC: 0.1}, {"by": ["hardwear"]}, "did you mean 'hardware'"),
    ],
)
def test_bad_input(errors, options, words):
    with pytest.raises(dsjax.InputError) as error:
        dsjax.uncertainty(GRID, errors, **options)
    assert words in str(error.value)


def test_command_line(tmp_path, found):
    path = tmp_path / "study.nc"
    dsjax.write_netcdf(dsjax.sweep(GRID), path)
    asked = ["uncertainty", path, "--by", "", "--top", 6]
    for name, share in ERRORS.items():
        asked += ["--error", f"{name}={share}"]
    printed = json.loads(command(*asked, "--format", "json"))
    assert [row["p_best"] for row in printed["rows"]] == found["p_best"].values.tolist()
    assert [row["tps_per_chip_p95"] for row in printed["rows"]] == found["tps_per_chip"].values[:, -1].tolist()
    assert [x["input"] for x in printed["inputs"]] == found["input"].values.tolist()
    text = command(*asked)
    assert "Share of the variance of tps_per_chip" in text and "of the samples" in text
    assert command(*asked, "--format", "csv").count("\n") == 7


def test_configurations_that_nothing_moves_are_one_line():
    """Points of one scale-up domain send nothing through a NIC."""
    asked = ["uncertainty", "--error", "nic=10%", "--samples", "64", "--top", "3"]
    text = command(*asked)
    assert "  1, 2, 3: none of what is uncertain moves tps_per_chip or a limit of them" in text
    assert "50 %" not in text
    moved = command(*asked, "--error", "hardware.hbm_bytes_per_s=5%")
    assert "none of what is uncertain" not in moved and "50 %" in moved
