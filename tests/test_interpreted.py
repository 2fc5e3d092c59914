"""Programs evaluated with NumPy against compiled ones: studies, core model, single equations; when that is done."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from click.testing import CliRunner

import dsjax
from dsjax import cli, evaluation
from dsjax.evaluation import numpy_programs
from dsjax.evaluation import program as jaxprs
from dsjax.space import grid

ULP = 8  # up to 6 are seen; two stagings of one compiled program differ by up to 4
GRIDS = {
    "decode_gpu_2025": {},
    "sg2260e_decode_128": {},
    "sg2260e_prefill_16": {},
    "default": {"axes": {"batch": [7, 64], "hardware": ["H800", "A100"], "ep": [72], "tp": [1, 3]}},
    "prefill": {"axes": {"prompts": [3, 64], "hardware": ["H800", "A100"]}, "fixed": {"pipeline": "dual-mbatch"}},
}


def distance(a, b):
    """Largest distance in units in the last place of b."""
    known = ~np.isnan(b)
    assert (np.isnan(a) != known).all()
    return (np.abs(a - b)[known] / np.spacing(np.abs(b[known]))).max(initial=0.0)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", GRIDS)
def test_interpreted_equals_compiled(name, dtype, compilations):
    space = grid.load(name, **GRIDS[name])
    found = evaluation.evaluate(space, dtype, interpret=True)
    assert not compilations
    compiled = evaluation.evaluate(space, dtype, interpret=False)
    assert list(found) == list(compiled)
    for variable, (dims, array) in found.items():
        expected_dims, expected = compiled[variable]
        assert (dims, array.shape, array.dtype) == (expected_dims, expected.shape, expected.dtype), variable
        if array.dtype.kind == "f":
            assert distance(array, expected) <= ULP, variable
        else:
            np.testing.assert_array_equal(array, expected, err_msg=variable)


EDGES = np.array([0.0, -0.0, 1.0, -1.5, 2.5, 3e9, -3e9, np.inf, -np.inf, np.nan, 1e-300, 7.0])
WHOLE = np.array([0, 1, -1, 7, -7, 2, -2, 3, 2**31 - 1, -(2**31), 5, -5], np.int32)
EQUATIONS = {
    "whole quotient": lambda x, y, i, j: jax.lax.div(i, j),
    "whole remainder": lambda x, y, i, j: jax.lax.rem(i, j),
    "floor quotient": lambda x, y, i, j: i // j,
    "real remainder": lambda x, y, i, j: jax.lax.rem(x, y),
    "to whole": lambda x, y, i, j: x.astype(jnp.int32),
    "to real": lambda x, y, i, j: i.astype(jnp.float32) + jnp.float32(0.1),
    "to bool": lambda x, y, i, j: x.astype(bool) ^ ~(i > j),
    "maximum": lambda x, y, i, j: jnp.maximum(x, y) + jnp.minimum(x, -y),
    "clamp": lambda x, y, i, j: jax.lax.clamp(-1.0, x, 2.0),
    "select": lambda x, y, i, j: jnp.where(x >= y, x, y),
    "select of three": lambda x, y, i, j: jax.lax.select_n(i % 3, i, j, i + j),
    "round": lambda x, y, i, j: jnp.round(x),
    "powers": lambda x, y, i, j: jax.lax.integer_pow(x, 3),
    "vectors": lambda x, y, i, j: jnp.concatenate([jnp.stack([x, y, x])[1:], jnp.arange(3.0) * x]),
    "reduced": lambda x, y, i, j: jnp.stack([jnp.stack([x, y]), jnp.stack([y, 1.0 + y])]).T.max(axis=1).sum(),
    "mapped": lambda x, y, i, j: jax.vmap(lambda s: jnp.where(s > 1.5, s * x, y))(jnp.array([1.0, 2.0])),
    "split": lambda x, y, i, j: jnp.split(jnp.stack([x, y, x + y]), [1])[1],
}


@pytest.mark.parametrize("name", EQUATIONS)
def test_equations_are_those_of_jax(name):
    """Every pair of the edge cases along two axes, the scalar function's own dims behind them."""
    function = EQUATIONS[name]
    with jax.enable_x64(True):
        arguments = EDGES, EDGES, WHOLE, WHOLE
        lifted = jax.vmap(jax.vmap(function, in_axes=(None, 0, None, 0)), in_axes=(0, None, 0, None))
        expected = np.asarray(jax.jit(lifted)(*arguments))
        closed = jax.make_jaxpr(function)(*(x[0] for x in arguments))
    program = jaxprs.Program(4)
    ((slot, _),) = program.add(closed)
    leaves = [numpy_programs.lifted(x, axis, "ab") for x, axis in zip(arguments, "abab", strict=True)]
    (found,) = numpy_programs.prepared(numpy_programs.without_jax(program), [slot], 2)(leaves)
    found = np.broadcast_to(found, (12, 12, *found.shape[2:]))
    assert found.dtype == expected.dtype
    if name in ("maximum", "select", "clamp", "round", "to real") or expected.dtype.kind != "f":
        np.testing.assert_array_equal(found, expected)
    else:
        np.testing.assert_allclose(found, expected, rtol=1e-15, atol=1e-300)


def test_traces_are_merged_and_marks_leave_no_equation():
    def function(a, b, mark, other):
        shared = jnp.sqrt(a) * b
        result = shared + 1.0 if other else shared - 1.0
        return jax.lax.optimization_barrier((result, mark))[0], a

    program = jaxprs.Program(2)
    traces = [jax.make_jaxpr(function, static_argnums=3)(1.0, 2.0, 0.0, other) for other in (False, True)]
    ((one, of_one), (operand, of_operand)), ((two, of_two), _) = map(program.add, traces)
    assert (of_one, of_two, of_operand, operand) == (0b111, 0b111, 0b001, 0)
    assert [node.equation.primitive.name for node in program.nodes] == ["sqrt", "mul", "sub", "add"]
    assert [node.equation.primitive.name for node in program.needed([two])] == ["sqrt", "mul", "add"]
    leaves = [np.full((), 9.0, np.float32), np.full((), 2.0, np.float32)]
    assert (
        program.run(leaves, [one, two])
        == numpy_programs.prepared(numpy_programs.without_jax(program), [one, two], 0)(leaves)
        == [5.0, 7.0]
    )


def in_order(step, point, bounds, **policies):
    """With an equation that is not interpreted."""
    times = step(point, **policies).time
    return {"step_time": jnp.sort(jnp.stack([times.busy_memory, times.busy_compute]))[0]}


def test_an_unknown_equation_is_compiled(compilations):
    space = grid.load("decode_gpu_2025")
    busy = evaluation.evaluate(space, names=("busy_memory", "busy_compute"), interpret=True)
    assert not compilations
    found = evaluation.evaluate(space, function=in_order, interpret=True)["step_time"][1]
    assert compilations
    dims = [axis for axis in space.axes if any(axis in of for of, _ in busy.values())]
    arrays = [array.reshape([space.sizes[a] if a in of else 1 for a in dims]) for of, array in busy.values()]
    np.testing.assert_allclose(found, np.minimum(*arrays).reshape(found.shape), rtol=1e-13)


def test_only_small_first_questions_are_interpreted(compilations):
    """Programs are forgotten before each question, so that a compilation is seen."""
    space, names = grid.load("decode_gpu_2025"), ("step_time", "feasible")

    def compiles(of=space, **how):
        evaluation.forget()
        compilations.clear()
        evaluation.evaluate(of, names=names, **how)
        return bool(compilations)

    assert compiles()
    with dsjax.interpreting():
        assert not compiles()
        assert compiles(interpret=False)
        assert not compiles(grid.load("decode_gpu_2025", axes={"batch": list(range(8, 7288, 8))}))  # 2^18 points: 910
        assert compiles(grid.load("decode_gpu_2025", axes={"batch": list(range(8, 7296, 8))}))
        for _ in range(60):  # one program, whatever the lengths of the axes
            evaluation.evaluate(space, names=names)
        assert not compiles()  # the 64th time
        assert compiles()
    with dsjax.interpreting():
        assert not compiles()
    assert compiles()


def test_the_command_line_does_not_compile_a_small_grid(compilations):
    evaluation.forget()
    for command in (
        ["sweep", "decode_gpu_2025"],
        ["best", "decode_gpu_2025", "--by", ""],
        ["explain", "decode_gpu_2025"],
    ):
        result = CliRunner().invoke(cli.main, [*command, "--quiet"])
        assert result.exit_code == 0 and result.output, result.output
    assert not compilations
    dsjax.sweep("decode_gpu_2025")  # outside
    assert compilations
