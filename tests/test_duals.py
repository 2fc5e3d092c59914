"""Numbers that carry derivatives: those of JAX for the same functions, each tangent at the rank of what it meets."""

import dataclasses
import operator

import jax
import numpy as np
import pytest

from dsjax import arrays, evaluation
from dsjax.evaluation import duals, operands, stages
from dsjax.formulas.point import evaluate_point
from dsjax.space import grid, parameters
from dsjax.specs import trees
from dsjax.specs.records import Point

FUNCTIONS = {
    "sums": lambda x, y: (x + 2.0) - (3.0 - y) + (-x) - y,
    "products": lambda x, y: x * y * x + 2.0 * x / y + 1.0 / x + y / 4.0,
    "powers": lambda x, y: x**2 + x**3.0 + x**y + 2.0**y,
    "zeros": lambda x, y: (x - x) ** 2.0 + (x - x) ** (y + 1.0),
    "roots": lambda x, y: arrays.sqrt(x) + arrays.log(y) + arrays.log1p(x) + arrays.log2(y),
    "exponentials": lambda x, y: arrays.exp(-x) + arrays.expm1(y) + arrays.absolute(x - y),
    "extremes": lambda x, y: arrays.maximum(x, y) + arrays.minimum(x, 1.0) + arrays.clip(x - y, -0.5, 0.5),
    "equals": lambda x, y: arrays.maximum(x, 1.0 * x) + arrays.minimum(y, y * 1.0),
    "choices": lambda x, y: arrays.where(x > y, x * y, y) + arrays.where(y > 1.0, 1.0, x),
    "steps": lambda x, y: arrays.ceil(x) * x + arrays.round(y),
    "constants": lambda x, y: arrays.full_like(x, 3.0) + 0.0 * y,
}


def carried(function, *numbers):
    """(value, [derivative along each number])."""
    found = function(*(evaluation.along(x, i) for i, x in enumerate(numbers)))
    return evaluation.value(found), [evaluation.tangent(found, i) for i in range(len(numbers))]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_derivatives_are_those_of_jax(name):
    x, y = np.random.default_rng(0).uniform(0.2, 2.0, (2, 40))
    value, slopes = carried(FUNCTIONS[name], x, y)
    with jax.enable_x64(True):
        expected, gradient = jax.vmap(jax.value_and_grad(FUNCTIONS[name], (0, 1)))(x, y)
    np.testing.assert_allclose(np.broadcast_to(value, 40), expected, rtol=1e-14)
    for found, wanted in zip(slopes, gradient, strict=True):
        np.testing.assert_allclose(np.broadcast_to(found, 40), wanted, rtol=1e-12, atol=1e-14)


def test_a_tangent_has_the_rank_of_what_it_meets():
    x, y = np.ones((3, 1)), np.ones((1, 4))
    value, (dx, dy) = carried(lambda x, y: x * 2.0 + y, x, y)
    assert value.shape == (3, 4) and np.shape(dx) == np.shape(dy) == ()
    value, (dx, _) = carried(lambda x, y: x * x + 0.0 * y, x, y)
    assert value.shape == (3, 4) and dx.shape == (3, 1)


def test_comparisons_and_whole_numbers_carry_nothing():
    x = evaluation.along(np.float64(2.5), 0)
    for found in (x > 2.0, x == 2.5, 1.0 <= x, x // 1, x % 2, arrays.isnan(x), arrays.asarray(x, "int32")):
        assert not isinstance(found, duals.Dual)
    with pytest.raises(TypeError, match=r"expected arrays\.where"):
        bool(x)


def test_a_whole_number_is_continued_to_real_numbers():
    """x / 2 and ceil(x / 3) are continued; whether x is even is asked of the whole number."""

    def function(whole, factor):
        x = arrays.asarray(whole, factor.dtype)
        return factor * x / 2.0 + arrays.ceil(x / 3.0) + arrays.where(whole % 2 == 0, 0.0, 100.0)

    whole, one = np.int32(4), np.float64(1.0)
    for real in (4.0, 4.5, 7.0):
        found = function(evaluation.continued(whole, evaluation.along(np.float64(real), "load")), one)
        np.testing.assert_allclose(evaluation.value(found), real / 2 + real / 3, rtol=1e-14)
        np.testing.assert_allclose(evaluation.tangent(found, "load"), 1 / 2 + 1 / 3, rtol=1e-14)


@pytest.mark.parametrize(
    ("name", "of"), [("default", "step_time"), ("prefill", "ttft"), ("decode_gpu_2025", "tps_per_chip")]
)
def test_every_derivative_of_a_model_is_jaxs(name, of):
    """All continuous numbers of the records, at the middle point of a grid, in float64."""
    space = grid.load(name)
    space = space.only({axis: values[len(values) // 2] for axis, values in space.axes.items()})
    names = [x for x in parameters.named(space, "all") if not x.row]
    how, leaves = operands.plan(space)
    policies = {argument: function for _, choices, _ in how.policies for argument, function in choices[0]}

    def at(factors, leaves):
        records, curves, _, bounds = trees.filled(how.structure, leaves)
        point = Point(**records, curve=curves[0])
        for (record, field, _), factor in zip(names, factors, strict=True):
            row = getattr(point, record)
            row = dataclasses.replace(row, **{field: getattr(row, field) * factor})
            point = dataclasses.replace(point, **{record: row})
        return evaluate_point(how.step, point, bounds, **policies)[of]

    leaves = [x.reshape(()) for x in leaves]
    found = at([evaluation.along(1.0, i) for i in range(len(names))], leaves)
    with stages.precision("float64"):
        value, slopes = jax.jit(jax.value_and_grad(at))([1.0] * len(names), leaves)
    np.testing.assert_allclose(evaluation.value(found), value, rtol=1e-13)
    own = [evaluation.tangent(found, i) for i in range(len(names))]
    np.testing.assert_allclose(own, slopes, rtol=1e-9, atol=1e-12 * float(value))
    assert sum(x != 0.0 for x in own) > 5


class Other:
    """What is no number, and knows what to do with one."""

    def mine(self, other):
        return "mine"

    __radd__ = __rsub__ = __rmul__ = __rtruediv__ = __rpow__ = mine
    __add__ = __sub__ = __mul__ = __truediv__ = __pow__ = mine


@pytest.mark.parametrize("name", ["add", "sub", "mul", "truediv", "pow"])
def test_what_is_no_number_decides_itself(name):
    number, act = evaluation.along(2.0, "x"), getattr(operator, name)
    assert act(number, Other()) == act(Other(), number) == "mine"
