"""Functions recorded as operations: NumPy's results are those of JAX called with the same function, dims are right."""

import math

import jax
import numpy as np
import pytest

from dsjax import arrays, evaluation
from dsjax.evaluation import by_numpy, operands, stages
from dsjax.evaluation.recording import Graph
from dsjax.formulas.point import evaluate_point
from dsjax.space import grid
from dsjax.specs import trees
from dsjax.specs.records import Point

FUNCTIONS = {
    "arithmetic": lambda x, y, n: (x + 2) * y - 3.0 / x + (1 - y) / 2 - (-x),
    "power": lambda x, y, n: x**2 + x**y + 2.0**y,
    "whole": lambda x, y, n: arrays.asarray((n // 3) * 2 + n % 5 + 7 // (n + 1), x.dtype) * x,
    "masks": lambda x, y, n: (x >= y) & ~(n == 2) | (x < 1.0) & (y != x),
    "where": lambda x, y, n: arrays.where(n > 2, x, 1) + arrays.where(x > y, 1.0, 0.0),
    "choose": lambda x, y, n: arrays.choose(n % 4, 1.0, x, y, 0.5),
    "extremes": lambda x, y, n: arrays.minimum(x, 1.0) + arrays.maximum(y, x) + arrays.clip(x - y, 0.0, 1.0),
    "roots": lambda x, y, n: arrays.sqrt(x) + arrays.log(y) + arrays.log1p(x) + arrays.log2(y) + arrays.expm1(-x),
    "steps": lambda x, y, n: arrays.ceil(x) + arrays.round(y) + arrays.absolute(x - y),
    "nan": lambda x, y, n: arrays.isnan(arrays.where(x > y, math.nan, x)),
    "numbers of other types": lambda x, y, n: x * 2**20 + arrays.asarray(n * np.int32(3), x.dtype),
    "a power of a whole number": lambda x, y, n: arrays.asarray(n + 1, x.dtype) ** -1 + abs(-x),
    "likes": lambda x, y, n: arrays.full_like(x, math.nan) + arrays.ones_like(x) + arrays.zeros_like(y),
}


def graph_of(function, dtype):
    graph = Graph([dtype, dtype, "int32"], dtype)
    return graph, graph.symbol(function(*graph.symbols()))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_operations_are_those_of_jax(name, dtype):
    """Of scalars, as JAX maps a function over points; in the type that JAX gives."""
    rng = np.random.default_rng(0)
    operands = [rng.uniform(0.1, 3.0, 50).astype(dtype), rng.uniform(0.1, 3.0, 50).astype(dtype)]
    operands.append(rng.integers(0, 9, 50).astype("int32"))
    graph, result = graph_of(FUNCTIONS[name], dtype)
    with np.errstate(all="raise"):  # what NumPy warns of is not the caller's
        (found,) = by_numpy.Prepared(graph, [result.node])(dict(enumerate(operands)))
    with stages.precision(dtype):
        expected = np.asarray(jax.vmap(FUNCTIONS[name])(*operands))
    assert found.dtype == expected.dtype == result.dtype
    if found.dtype.kind == "f":
        np.testing.assert_allclose(np.broadcast_to(found, 50), expected, rtol=1e-6 if dtype == "float32" else 1e-14)
    else:
        np.testing.assert_array_equal(found, expected)


def test_an_operation_is_there_once_and_what_is_not_needed_is_not_evaluated(monkeypatch):
    graph, _ = graph_of(lambda x, y, n: (x + y) * (x + y) + 0.0 * arrays.log(y) * 0.0, "float64")
    assert [node.name for node in graph.nodes].count("add") == 2
    _, other = graph_of(lambda x, y, n: x + y, "float64")
    calls = []
    monkeypatch.setattr(np, "log", lambda x: calls.append(x))
    (found,) = by_numpy.Prepared(other.graph, [other.node])({0: np.float64(1.0), 1: np.float64(2.0)})
    assert found == 3.0 and not calls


def test_a_factor_of_one_leaves_no_operation():
    _, result = graph_of(lambda x, y, n: 1.0 * x * 1.0 / 1.0, "float64")
    assert result.node == 0
    _, other = graph_of(lambda x, y, n: 1.0 / x, "float64")
    assert other.graph.nodes[other.node].name == "divide"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_numbers_beyond_the_integers_become_the_last_of_them(dtype):
    """As in XLA; without a word, and NaN becomes 0."""
    numbers = np.array([1e12, -1e12, 3e9, 2147483647.0, math.inf, -math.inf, math.nan, 2.9, -2.9], dtype)
    graph, result = graph_of(lambda x, y, n: arrays.asarray(x, "int32"), dtype)
    (found,) = by_numpy.Prepared(graph, [result.node])({0: numbers})
    with stages.precision(dtype):
        expected = np.asarray(jax.jit(lambda x: x.astype("int32"))(numbers))
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(arrays.asarray(numbers, "int32"), expected)


def test_a_number_takes_the_type_of_what_it_is_beside():
    graph, result = graph_of(lambda x, y, n: x * 2**40 + np.float64(0.5) * y + np.int64(2) * x, "float32")
    (found,) = by_numpy.Prepared(graph, [result.node])({0: np.float32(2.0), 1: np.float32(4.0)})
    assert found == np.float32(2**41 + 6) and found.dtype == result.dtype == np.float32


@pytest.mark.parametrize("number", [1j, "1", np.array([1.0, 2.0])])
def test_what_is_no_number_is_refused(number):
    with pytest.raises(TypeError):
        graph_of(lambda x, y, n: x * number, "float64")


def test_sources_are_what_a_result_depends_on():
    graph, result = graph_of(lambda x, y, n: arrays.where(n > 0, x.marked(5), 1.0), "float64")
    assert result.sources == 0b100101
    assert graph.nodes[result.node].sources == 0b101  # a mark leaves no operation


def test_no_formula_branches_on_a_number_of_its_point():
    with pytest.raises(TypeError, match=r"expected arrays\.where"):
        graph_of(lambda x, y, n: x if n > 2 else y, "float64")


@pytest.mark.parametrize(("name", "dtype"), [("default", "float64"), ("prefill", "float32"), ("sg2260e", "float64")])
def test_jax_maps_the_same_formulas(name, dtype):
    """`jax.vmap` of `evaluate_point` over an axis gives what a sweep gives: records are pytrees where that is asked."""
    axis = "prompts" if name == "prefill" else "batch"
    space = grid.load(name)
    space = grid.load(name, axes={a: values[:1] for a, values in space.axes.items() if a != axis})
    found = evaluation.evaluate(space, dtype)
    how, leaves = operands.plan(space)
    policies = {argument: function for _, choices, _ in how.policies for argument, function in choices[0]}

    def at(leaves):
        records, curves, _, bounds = trees.filled(how.structure, leaves)
        return evaluate_point(how.step, Point(**records, curve=curves[0] if curves else None), bounds, **policies)

    leaves = [np.asarray(x, "int32" if x.dtype == np.int32 else dtype) for x in leaves]
    leaves = [x if a == axis else x.reshape(()) for x, a in zip(leaves, how.leaf_axes, strict=True)]
    with stages.precision(dtype):
        mapped = jax.jit(jax.vmap(at, in_axes=([0 if a == axis else None for a in how.leaf_axes],)))(leaves)
    assert mapped.keys() >= found.keys()
    for key, (_, array) in found.items():
        whole = np.broadcast_to(np.squeeze(array), len(space.axes[axis]))
        if array.dtype.kind == "f":
            np.testing.assert_allclose(mapped[key], whole, rtol=1e-5 if dtype == "float32" else 1e-12, err_msg=key)
        else:
            np.testing.assert_array_equal(mapped[key], whole, err_msg=key)
