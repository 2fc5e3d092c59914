"""What single numbers of a question decide against is not evaluated, and no result changes."""

import numpy as np
import pytest

import dsjax
from dsjax import evaluation
from dsjax.evaluation import assembly, by_numpy, choice, lift, operands, pruning
from dsjax.space import grid
from grids import SEVEN_CHIPS

GRIDS = {
    SEVEN_CHIPS: {},
    "prefill": {},
    "no drafts, one library": {"mtp": 0, "engine": "vllm"},
    "grouped queries": {"model": "Qwen3-235B-A22B", "precision": "bf16", "mtp": 0},
    "windows": {"model": "gpt-oss-120b", "precision": "mxfp4", "mtp": 0, "ep": 8},
    "sparse": {"model": "DeepSeek-V3.2", "mtp": 0, "dispatch_mode": "all-gather"},
}


def space_of(name):
    return grid.load(name if name in (SEVEN_CHIPS, "prefill") else SEVEN_CHIPS, fixed=GRIDS[name])


def steps(space, whole):
    """Operations on arrays that a question takes: of the whole formula, or of what is left of it."""
    how, leaves = operands.plan(space)
    names = lift.known(space, evaluation.variables(space))
    sizes = {axis: len(leaf) for leaf, axis in zip(leaves, how.leaf_axes) if axis}
    every = assembly.assembly(how, "float64", names, tuple(sizes.items()))
    given = {i: by_numpy.lifted(x, a, every.axes) for i, (x, a) in enumerate(zip(leaves, how.leaf_axes))}
    kept = every if whole else pruning.pruned(every, given)
    return sum(n > 1 for node, n in kept.elements.items() if kept.graph.nodes[node].name)


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("name", GRIDS)
def test_no_result_changes(name, compiled, monkeypatch):
    space = space_of(name)
    found = evaluation.evaluate(space, compiled=compiled)
    monkeypatch.setattr(choice, "pruned", lambda assembly, operands, records=None: assembly)
    whole = evaluation.evaluate(space, compiled=compiled)
    for variable, (dims, values) in whole.items():
        assert found[variable][0] == dims
        tight = {"rtol": 1e-12 if compiled and values.dtype.kind == "f" else 0.0, "atol": 0.0}
        np.testing.assert_allclose(found[variable][1], values, **tight, err_msg=variable)


def test_less_is_evaluated():
    assert steps(space_of("no drafts, one library"), False) < 0.75 * steps(space_of("no drafts, one library"), True)


def test_another_number_decides_anew():
    """The same question with a number that decides otherwise: the other branch, not the one that was kept."""
    given = {"axes": {"batch": [8, 16, 32]}, "fixed": {"hardware": "H800", "nic": "CX7", "tp": 1, "ep": 32}}
    given["fixed"] |= {"precision": "fp8", "context": 4096}
    times = {}
    for library in (1, 0, 1, 2, 0):
        now = dsjax.sweep(given, fixed={"engine_library": library}).step_time.values
        np.testing.assert_array_equal(times.setdefault(library, now), now)
    assert len({x.tobytes() for x in times.values()}) == 3
    none, some = (dsjax.sweep(given, fixed={"mtp": mtp}).step_time for mtp in (0, 1))
    assert (some > none).all()
