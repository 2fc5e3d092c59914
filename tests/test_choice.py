"""Which evaluator answers: NumPy what is sooner done without a compiler; asked again, what was moved alone."""

import subprocess
import sys

import numpy as np
import pytest

import dsjax
from dsjax import evaluation
from dsjax.evaluation import by_numpy, choice
from dsjax.evaluation.recording import Graph
from dsjax.space import grid
from dsjax.sweeps import slabs
from grids import SEVEN_CHIPS

NAMES = ("tps_per_chip", "feasible")


def small(**options):
    return grid.load(SEVEN_CHIPS, axes={"hardware": ["H800", "H20"], "ep": [72]}, **options)


@pytest.fixture(autouse=True)
def forgotten():
    evaluation.forget()
    yield
    evaluation.forget()


def test_a_small_grid_is_not_compiled(compilations):
    dsjax.sweep(SEVEN_CHIPS)
    assert not compilations


def test_compiled_compiles_all_and_gives_the_same(compilations):
    plain = dsjax.sweep(SEVEN_CHIPS, axes={"hardware": ["H800"]})
    with dsjax.compiled():
        forced = dsjax.sweep(SEVEN_CHIPS, axes={"hardware": ["H800"]})
    assert compilations
    for name, array in plain.data_vars.items():
        if array.dtype.kind == "f":
            np.testing.assert_allclose(forced[name], array, rtol=1e-12, err_msg=name)
        else:
            np.testing.assert_array_equal(forced[name], array, err_msg=name)
    compilations.clear()
    dsjax.sweep(SEVEN_CHIPS, axes={"hardware": ["H800"], "ep": [72]})
    assert not compilations  # outside the block again


def test_how_often_a_question_is_asked_does_not_change_its_bits(compilations):
    once = evaluation.evaluate(small(), names=NAMES)
    for _ in range(100):
        again = evaluation.evaluate(small(), names=NAMES)
    assert not compilations
    for name, (_, array) in once.items():
        assert array.tobytes() == again[name][1].tobytes()


def test_a_long_question_asked_often_is_compiled(monkeypatch, compilations):
    """NumPy counts as 0.5 s, a compiler as 1 s, its program as a third of NumPy's time: it pays the fourth time."""
    monkeypatch.setattr(choice, "numpy_seconds", lambda _: 0.5)
    monkeypatch.setattr(choice, "compiler_seconds", lambda _: 1.0)
    for _ in range(3):
        evaluation.evaluate(small(), names=NAMES)
        assert not compilations
    evaluation.evaluate(small(), names=NAMES)
    assert compilations
    compilations.clear()
    evaluation.evaluate(small(fixed={"mtp": 1}), names=NAMES)  # another question
    assert not compilations


def test_slabs_are_compiled_inside_the_block_too(compilations):
    """The threads that evaluate them know of the block that their caller is in."""
    cut = slabs.cut(grid.load("decode_gpu_2025"), 500)
    plain = slabs.arrays_of(cut, "float64", NAMES)
    assert cut.number > 3 and not compilations
    with dsjax.compiled():
        forced = slabs.arrays_of(cut, "float64", NAMES)
    assert compilations
    np.testing.assert_allclose(forced["tps_per_chip"][1], plain["tps_per_chip"][1], rtol=1e-12)
    np.testing.assert_array_equal(forced["feasible"][1], plain["feasible"][1])


def test_a_question_that_takes_long_is_compiled_at_once(monkeypatch, compilations):
    monkeypatch.setattr(choice, "numpy_seconds", lambda _: 10.0)
    monkeypatch.setattr(choice, "compiler_seconds", lambda _: 1.0)
    evaluation.evaluate(small(), names=NAMES)
    assert compilations


@pytest.mark.parametrize(("batches", "pays"), [(15, False), (200_000, True)])
def test_estimates_grow_with_the_grid(batches, pays):
    space = grid.load(SEVEN_CHIPS, axes={"batch": list(range(1, batches + 1))})
    assert evaluation.pays(space, "float32", NAMES, 1) == pays


def test_what_nothing_moved_is_not_evaluated_again(monkeypatch):
    """A graph of two operands, asked three times: only what the moved operand reaches runs the third time."""
    graph = Graph(["float64"] * 2, "float64")
    x, y = graph.symbols()
    prepared = by_numpy.Prepared(graph, [((x * x) + (y + y)).node])
    one = {0: np.array([1.0, 2.0]), 1: np.array([3.0])}
    assert prepared.again(one)[0].tolist() == [7.0, 10.0]
    ran = []
    prepared.steps = [
        (lambda *v, f=f, node=node: ran.append(graph.nodes[node].name) or f(*v), node, *rest)
        for f, node, *rest in prepared.steps
    ]
    assert prepared.again(one | {1: np.array([4.0])})[0].tolist() == [9.0, 12.0]
    assert ran == ["add", "add"]  # y + y, and the sum
    assert prepared.again(one)[0].tolist() == [7.0, 10.0]


def test_moved_numbers_are_seen_whatever_was_kept():
    """Every question alone, in a process that keeps nothing, against the same questions one after the other."""
    settings = [{}, {"nic.CX7.scale_out_bytes_per_s": 1e11}, {"hardware.H20.hbm_bytes_per_s": 1e12}, {}]
    spaces = [small(settings=x) for x in settings]
    alone = []
    for space in spaces:
        evaluation.forget()
        alone.append(evaluation.evaluate(space, names=NAMES))
    evaluation.forget()
    evaluation.evaluate(spaces[0], names=NAMES)
    for space, expected in zip(spaces, alone, strict=True):
        for name, (_, array) in evaluation.evaluate(space, names=NAMES).items():
            assert array.tobytes() == expected[name][1].tobytes()
            array[...] = 0  # a caller may change what it got


@pytest.mark.parametrize("module", ["jax", "dask.array", "matplotlib", "scipy"])
def test_a_small_sweep_imports_nothing_it_does_not_need(module):
    """Half a second of imports each; dask's, where it is installed, is xarray's to ask for."""
    code = "import sys; from dsjax.cli import main; main(['sweep', '--quiet'], standalone_mode=False); "
    code += f"assert {module!r} not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
