"""Best points at the end of an axis are marked where a value beyond is better: what is named is so in a sweep."""

import json

import pytest
from console import command

import dsjax
from dsjax.analysis import wider
from dsjax.commands.tables import table
from dsjax.space import grid
from grids import SEVEN_CHIPS

FIXED = {"hardware": "B200", "nic": "CX7", "ep": 72, "precision": "fp8", "pipeline": "naive", "mtp": 1}


def found(axes, objective=None, by=(), fixed=None, **given):
    space = grid.load(SEVEN_CHIPS, axes=axes, fixed=FIXED | (fixed or {}), **given)
    ranked = dsjax.best(SEVEN_CHIPS, axes=axes, fixed=FIXED | (fixed or {}), by=by, objective=objective, **given)
    return space, wider.ends(space, ranked, by, objective)


def test_a_larger_batch_would_be_better():
    space, of = found({"tp": [1], "batch": [16, 32]})
    ((place, (end,)),) = of.items()
    assert (place, end.axis, end.value, end.beyond, end.mark) == (0, "batch", 32, 64, "+")
    of_batch = {"tp": [1], "batch": [32, 64]}
    low, high = dsjax.sweep(SEVEN_CHIPS, axes=of_batch, fixed=FIXED)["tps_per_chip"].values.ravel().tolist()
    assert end.gain == pytest.approx(high / low - 1.0, rel=1e-9)
    said = f"+ at the end of batch: 32; 64 would be up to {100 * end.gain:.1f} % better: "
    said += "axes={'batch': [16, 32, 64]}"
    assert wider.sentences(space, of) == [said]


def test_a_smaller_one_too():
    _, of = found({"tp": [1, 2], "batch": [32, 64]}, objective="-tpot")
    assert [(end.axis, end.value, end.beyond, end.mark) for end in of[0]][-1] == ("batch", 32, 16, "-")


def test_no_mark_where_the_limit_ends_it():
    """The last batch that keeps 20 tokens per second is no end of an axis to widen."""
    ds = dsjax.sweep(SEVEN_CHIPS, axes={"batch": list(range(8, 257, 8)), "tp": [1, 2]}, fixed=FIXED)
    last = dsjax.best(ds, by=())["batch"].values.item()
    _, of = found({"tp": [1], "batch": list(range(8, last + 1, 8))})
    assert last < 256 and of == {}
    _, of = found({"tp": [1], "batch": list(range(8, last - 7, 8))})
    assert [end.beyond for end in of[0]] == [last]


def test_axes_of_the_groups_are_asked_for():
    _, of = found({"tp": [1, 2], "batch": [16, 32]}, by=("batch",))
    assert {end.axis for several in of.values() for end in several} <= {"tp"}


def test_values_that_a_study_does_not_take_are_not_named():
    space = grid.load("decode_gpu_2025")
    ranked = dsjax.best("decode_gpu_2025", by=())
    assert all(end.axis != "mtp" for several in wider.ends(space, ranked).values() for end in several)


def test_tables_mark_the_value():
    small = ("--axis", "batch=16,32,64", "--fix", "nic=CX7", "--axis", "hardware=B200,H20")
    args = ("best", SEVEN_CHIPS, "--by", "hardware", *small)
    out = command(*args)
    first, second = (next(line for line in out.splitlines() if f"  {name} " in line) for name in ("B200", "H20"))
    assert "  64+  " in first and "  16   " in second
    assert out.count("at the end of batch: 64; ") == 1 and ": --axis batch=16,32,64," in out
    ends = json.loads(command(*args, "--format", "json"))["at_ends"]
    assert [(end["rank"], end["axis"], end["value"]) for end in ends] == [(1, "batch", 64)]


def test_marked_numbers_are_set_right():
    lines = table(["x"], [["128+"], [" 64-"], ["-"]]).splitlines()
    assert [line.rstrip()[-1] for line in lines[2:]] == ["+", "-", "-"] and len({len(line) for line in lines[2:]}) == 1


def test_of_a_best_that_is_0_no_end_is_named():
    """Nothing is a share better than no time on a network: no mark, and no warning of a division."""
    grid_of = {"model": "Llama-3.1-8B", "phase": "decode", "axes": {"chips": [1, 2], "batch": [16, 32]}}
    grid_of["fixed"] = {"hardware": "H200", "nic": "CX7", "precision": "bf16", "context": 2048, "tp": 1}
    ranked = dsjax.best(grid_of, by=(), objective="-exposed_network")
    assert ranked["exposed_network"].values.tolist() == [0.0] and ranked["chips"].values.ravel().tolist() == [1]
    assert wider.ends(grid.load(grid_of), ranked, (), "-exposed_network") == {}
