"""One answer whatever evaluates it: NumPy, compiled, streamed; a chip alone or beside others; axes in either order."""

import dataclasses
import types

import numpy as np
import pytest

from dsjax import evaluation
from dsjax.catalog import reader
from dsjax.formulas import efficiency, routing
from dsjax.search import cells
from dsjax.space import grid

CHIPS = ["GB200", "GB300", "Ascend-910C", "H800"]  # domains of 72, 72, 384 and 8
FIXED = {"nic": "CX7", "precision": "bf16", "context": 4096, "expert_imbalance": 1.0, "pipeline": "dual-mbatch"}
EP = [9, 12, 18, 24, 36, 48, 56, 72, 96, 144, 384, 576]
CASES = {  # phase, axes beside hardware, what is fixed
    "decode": ("decode", {"ep": EP, "moe_tp": [1, 8, 9]}, {"batch": 64, "tp": 1, "mtp": 1, "unhidden": 0.0}),
    "prefill": ("prefill", {"ep": EP, "tp": [1, 3]}, {"prompts": 768}),
    # 49 x (1 / 49) rounds to less than 1. 49 prompts of 384 tokens on 49 cards are 512 rows of an expert, a step of
    # the curve; a domain of 49 makes as many domains of 392 cards as there are groups of experts.
    "sizes that round": (
        "prefill",
        {"ep": [49, 98, 392], "tp": [1, 49], "hardware_scale_up_domain": [49, 98], "curve": ["deepgemm-table"]},
        {"prompts": 49, "context": 384, "pipeline": "naive"},
    ),
}
TIGHT = 1e-12


def space_of(case, hardware=CHIPS):
    phase, axes, fixed = CASES[case]
    return grid.load({"phase": phase, "axes": {"hardware": list(hardware)} | axes, "fixed": FIXED | fixed})


def assert_same(found, expected, where=()):
    """Variables {name: (dims, array)}, the second at some places {axis: index} only; flags and counts exactly."""
    for name, (dims, array) in found.items():
        own, whole = expected[name]
        whole = whole[tuple(dict(where).get(axis, slice(None)) for axis in own)]
        order = [axis for axis in own if axis not in dict(where) or axis in dims]
        assert set(order) == set(dims), name
        whole = whole.transpose([order.index(axis) for axis in dims])
        if array.dtype.kind == "f":
            np.testing.assert_allclose(array, whole, rtol=TIGHT, atol=0.0, err_msg=name)
        else:
            np.testing.assert_array_equal(array, whole, err_msg=name)


@pytest.fixture(scope="module", params=CASES)
def by_numpy(request):
    return request.param, evaluation.evaluate(space_of(request.param), compiled=False)


def test_compiled_is_numpys(by_numpy):
    case, expected = by_numpy
    assert_same(evaluation.evaluate(space_of(case), compiled=True), expected)


def test_a_chip_alone_is_one_of_many(by_numpy):
    case, expected = by_numpy
    i = list(CASES).index(case)
    for compiled in (True, False):
        alone = evaluation.evaluate(space_of(case, CHIPS[i : i + 1]), compiled=compiled)
        assert_same(alone, expected, {"hardware": slice(i, i + 1)})


def test_axes_in_the_other_order(by_numpy):
    case, expected = by_numpy
    space = space_of(case)
    turned = dataclasses.replace(space, axes=dict(reversed(space.axes.items())))
    assert_same(evaluation.evaluate(turned, compiled=True), expected)


def test_a_streamed_search_sees_the_same(by_numpy):
    case, expected = by_numpy
    space = space_of(case)
    layout = cells.layout_of(space, ("hardware", "ep"), "float64")
    kept = cells.largest(space, layout, "tps_per_chip", 1, "float64")
    (dims, value), (of_ok, ok) = (expected[name] for name in ("tps_per_chip", "feasible"))
    assert dims[:2] == of_ok[:2] == layout.kept == ("hardware", "ep")
    most = np.where(ok.reshape(ok.shape + (1,) * (value.ndim - ok.ndim)), value, -np.inf)
    assert np.isfinite(most).any()
    most = most.reshape(len(CHIPS), len(space.axes["ep"]), -1).max(axis=-1)
    np.testing.assert_allclose(kept.reshape(-1, *most.shape).max(axis=0), most, rtol=2 * cells.ROUNDING["float64"])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_steps_of_a_curve_are_not_missed_by_rounding(dtype):
    rows = reader.load()["curve"]
    table = efficiency.DeepGemmTable(**reader.numbers(rows["deepgemm-table"]))

    def reached(m, k=7168.0):
        m, k = np.asarray(m, dtype), np.asarray(k, dtype)
        return efficiency.deepgemm_expert_gemm(table, "up", m, k, k)[0], efficiency.a100_gemm(table, m, k, k)[0]

    for step in (128, 256, 512, 1024, 2048):
        below = np.nextafter(np.asarray(step, dtype), np.asarray(0.0, dtype))
        np.testing.assert_allclose(reached(below), reached(step), rtol=1e-5)
        assert step == 2048 or reached(0.999 * step)[0] < reached(step)[0]
    np.testing.assert_allclose(reached(2048, below), reached(2048, 2048), rtol=1e-5)


def test_parts_of_whole_groups_are_decided_without_a_quotient():
    """n(p) jumps by some per mille where parts become as small as a group."""
    of = types.SimpleNamespace(num_experts_per_tok=8.0, n_group=8.0, topk_group=4.0, zero_experts=None)

    def visited(parts, over):
        return float(routing.visited(parts, of, 392.0, over))

    whole, less = visited(8.0, 1.0), visited(np.nextafter(8.0, 0.0), 1.0)
    assert abs(less - whole) > 1e-4 * whole
    for over in (3.0, 7.0, 49.0, 103.0):
        assert visited(8.0 * over, over) == pytest.approx(whole, rel=1e-12)


def test_numbers_that_round_to_no_domain_or_are_beyond_integers():
    """A domain of 0.3 chips holds one, one of 1e12 all of them; NumPy and the compiled program say the same."""
    axes = {"hardware_scale_up_domain": [0.3, 1, 8, 72, 3e9, 1e12], "model_num_key_value_heads": [0.3, 8, 1e10]}
    axes |= {"model_intermediate_size": [4096, 3e9, 4294967296], "tp": [1, 8], "ep": [8]}
    fixed = {"hardware": "H800", "nic": "CX7", "precision": "bf16", "context": 4096, "batch": 64, "pipeline": "naive"}
    space = grid.load({"model": "Qwen3-235B-A22B", "phase": "decode", "axes": axes, "fixed": fixed})
    one, other = (evaluation.evaluate(space, compiled=compiled) for compiled in (False, True))
    assert_same(one, other)
    dims, ok = one["ok_topology"]
    assert ok[dims.index("hardware_scale_up_domain") :].any()
    at = {axis: i for i, axis in enumerate(dims)}
    of_domain = np.moveaxis(ok, at["hardware_scale_up_domain"], 0)
    assert of_domain[-1].all() and of_domain[-2].all()
