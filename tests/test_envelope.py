"""The optimum with its batch chosen anew: against the optimum solved again, the grid, and whole batches."""

import dataclasses
import math

import numpy as np
import pytest

import dsjax
from dsjax import evaluation
from dsjax.analysis import envelope
from dsjax.search import ranking
from dsjax.space import grid, parameters
from grids import SEVEN_CHIPS

STEP = 1e-4


def problem(name, at, names=None, of=None, **options):
    """The relaxed problem at a point of a grid."""
    space = grid.load(name, **options)
    of = of or space.objective
    one = space.only(parameters.chosen(space, at) | {k: v[0] for k, v in space.axes.items() if len(v) == 1})
    return envelope.Problem(one, of, parameters.named(space, names), ranking.sense_of(space, of))


@pytest.fixture(scope="module")
def held_by_slo():
    return problem("sg2260e_decode_128", {"nic": "one-layer", "tp": 4, "moe_tp": 1, "batch": 10})


def core():
    """The core model, naive: the SLO holds a small batch."""
    axes = {"hardware": ["H20"], "nic": ["CX7"], "tp": [2], "ep": [320], "batch": [24], "precision": ["fp8"]}
    axes |= {"mtp": [1], "pipeline": ["naive"]}
    names = ["hardware.bf16_flops_per_s", "hardware.hbm_bytes", "curve.gemm_start_s", "workload.context"]
    return problem(SEVEN_CHIPS, {}, names, axes=axes)


@pytest.fixture(scope="module")
def problems(held_by_slo):
    return {"sg2260e": held_by_slo, "core": core()}


def best_value(problem):
    found = problem.optimum()
    return problem.at(found.load)[0][0], found


@pytest.mark.parametrize("name", ["sg2260e", "core"])
def test_equal_to_the_optimum_solved_again(problems, name):
    """d ln y* / d ln x and the shadow price against central differences of the optimum itself."""
    x = problems[name]
    value, found = best_value(x)
    assert found.kind == "limit" and x.limits[found.active].name == "min_tps_per_user"
    near = (found.load / 1.1, found.load * 1.1)

    def change(up, down):
        ends = [p.at(p.optimum(*near).load)[0][0] for p in (up, down)]
        return (ends[0] - ends[1]) / (2.0 * STEP)

    moves = x.elasticities(found)
    for i, parameter in list(enumerate(x.names))[:5]:
        difference = change(x.moved(parameter, 1.0 + STEP), x.moved(parameter, 1.0 - STEP))
        assert moves[i] == pytest.approx(difference, abs=2e-6), parameter
    prices = x.shadow_prices(found)
    bounds = x.space.bounds
    for key in bounds:
        ends = []
        for factor in (1.0 + STEP, 1.0 - STEP):
            there = dataclasses.replace(x.space, bounds=bounds | {key: factor * bounds[key]})
            ends.append(envelope.Problem(there, x.of, x.names, x.sense))
        price = prices[[limit.name for limit in x.limits].index(key)]
        assert price == pytest.approx(change(*ends), abs=2e-6), key
    assert prices[found.active] < 0.0 and np.count_nonzero(prices) == 1
    loads = np.geomspace(1.0, 2.0 * found.load, 300)
    brute = [x.at(load)[0] for load in loads]
    assert max(logs[0] for logs in brute if not (logs[1:] > 0.0).any()) <= value + 1e-12


def test_a_whole_load_is_the_model_itself(held_by_slo):
    """At whole batches the relaxed model is the model; between them it is continuous."""
    x = held_by_slo
    batches = (8, 10, 12)
    fixed = {name: value for name, value in x.space.fixed.items() if name != "batch"}
    at = dataclasses.replace(x.space, fixed=fixed, axes={"batch": batches})
    found = evaluation.evaluate(at, names=("tps_per_chip", "tps_per_user", "memory_per_chip"))
    for i, batch in enumerate(batches):
        logs, slopes = x.at(batch)
        assert logs[0] == pytest.approx(math.log(found["tps_per_chip"][1][i]), abs=1e-12)
        excess = dict(zip((limit.name for limit in x.limits), logs[1:]))
        assert excess["min_tps_per_user"] == pytest.approx(-math.log(found["tps_per_user"][1][i] / 10.0), abs=1e-12)
        assert excess["max_memory_per_chip"] == pytest.approx(
            math.log(found["memory_per_chip"][1][i] / (60 * 2**30)), abs=1e-12
        )
        up, down = x.at(batch * (1.0 + 1e-6))[0], x.at(batch * (1.0 - 1e-6))[0]
        np.testing.assert_allclose(slopes[:, -1], (up - down) / 2e-6, atol=1e-7)


def test_memory_holds_where_nothing_else_does():
    """Its price is the elasticity with respect to the capacity of the chip."""
    given = {"study": "sg2260e", "axes": {"tp": [4], "batch": [10]}}
    given["fixed"] = {"phase": "decode", "chips": 128, "nic": "one-layer", "moe_tp": 1}
    x = problem(given, {}, ["hardware.hbm_bytes", "hardware.hbm_bytes_per_s"])
    _, found = best_value(x)
    assert (found.kind, x.limits[found.active].name) == ("limit", "memory")
    assert found.load > 20.0 and x.shadow_prices(found)[0] > 0.0
    assert x.elasticities(found)[0] == pytest.approx(x.shadow_prices(found)[0], rel=1e-12)
    np.testing.assert_allclose(x.at(found.load)[0][1], 0.0, atol=1e-12)


def test_least_load_where_more_is_worse():
    x = problem("sg2260e_decode_128", {"nic": "one-layer", "tp": 4, "moe_tp": 1, "batch": 10}, of="tps_per_user")
    found = x.optimum()
    assert (found.kind, found.load) == ("end", 1.0)
    np.testing.assert_array_equal(x.elasticities(found), x.at(1.0)[1][0, :-1])


def test_jumps_of_a_step_table():
    """The study's efficiencies jump with the rows of an expert: no load may beat the optimum, whatever holds it."""
    at = {"hardware": "H800", "nic": "CX7", "ep": 320, "batch": 128, "precision": "kv1-w1", "mtp": 1}
    x = problem("decode_gpu_2025", at | {"pipeline": "dual-mbatch"}, ["hardware.fp8_flops_per_s"])
    value, found = best_value(x)
    assert found.kind == "jump" and found.load == pytest.approx(128.0, rel=1e-9)
    for load in np.geomspace(1.0, 400.0, 200):
        logs, _ = x.at(load)
        assert (logs[1:] > 0.0).any() or logs[0] <= value + 1e-12


def test_no_load_is_feasible():
    at = {"hardware": "L20", "nic": "E810", "ep": 72, "batch": 16, "precision": "kv2-w2", "mtp": 0}
    ds = dsjax.sensitivity("decode_gpu_2025", wrt="nic", at=at | {"pipeline": "naive"}, envelope=True)
    assert np.isnan(ds.relaxed_load) and ds.relaxed_kind.item() == "none" and not ds.active.any()
    assert np.isnan(ds.elasticity_reoptimised).all() and np.isfinite(ds.elasticity).all()


@pytest.fixture(scope="module")
def whole():
    names = ["hardware.hbm_bytes_per_s", "nic.scale_out_bytes_per_s"]
    return dsjax.sensitivity("sg2260e_decode_256", wrt=names, envelope=True), dsjax.sweep("sg2260e_decode_256")


def test_neighbours_are_points_of_the_grid(whole):
    ds, swept = whole
    axes = grid.load("sg2260e_decode_256").axes
    here = {axis: ds[axis].item() for axis in axes}
    assert here["batch"] == 12 and ds.neighbour.values.tolist()[0] == "nic=two-layer"
    assert {"batch=10", "batch=16", "tp=2", "tp=8", "moe_tp=2"} <= set(ds.neighbour.values.tolist())
    for i, axis in enumerate(ds.neighbour_axis.values):
        value = type(here[axis])(ds.neighbour_value.values[i])
        there = swept.sel(here | {axis: value})
        assert float(ds.neighbour_of[i]) == pytest.approx(float(there.tps_per_chip), rel=1e-12)
        assert float(ds.neighbour_change[i]) == pytest.approx(float(there.tps_per_chip / ds.tps_per_chip) - 1.0)
        assert bool(there.feasible) == (ds.neighbour_refused_by.values[i] == "")


def test_switches_are_those_of_the_grid_searched_again(whole):
    """A bound that the best point just meets: a little less memory bandwidth, and a smaller batch is best."""
    ds, _ = whole
    just = float(ds.tps_per_user) * 0.999
    given = {
        "study": "sg2260e",
        "axes": {"tp": [2, 4], "batch": [8, 10, 12]},
        "constraints": {"min_tps_per_user": just},
    }
    given["fixed"] = {"phase": "decode", "chips": 256, "nic": "one-layer", "moe_tp": 1}
    tight = dsjax.sensitivity(given, wrt="hardware.hbm_bytes_per_s", envelope=True)
    assert tight.batch.item() == 12
    rate = float(tight.parameter_value[0])
    again = dsjax.best(given, by=(), settings={"hardware.hbm_bytes_per_s": 0.99 * rate})
    assert tight.switch_less.item() == f"batch 12 -> {again.batch.item()}" and again.batch.item() < 12
    assert tight.switch_more.item() == ""


def test_prefill_relaxes_its_prompts():
    given = {"study": "sg2260e", "axes": {"prompts": [4]}, "constraints": {"max_ttft": 3}}
    given["fixed"] = {"phase": "prefill", "chips": 16, "nic": "one-layer", "tp": 4, "sp": 4, "moe_tp": 1}
    ds = dsjax.sensitivity(given, wrt="hardware", envelope=True)
    assert ds.attrs["load"] == "prompts" and 4.0 < float(ds.relaxed_load) < 10.0
    assert ds.limit.values[ds.active.values].tolist() == ["max_ttft"] and float(ds.shadow_price.max()) > 0.0
