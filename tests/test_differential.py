"""The benchmarks that compare evaluators, look for slopes that are not finite, and put faults into the code: small."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))

import differential
import faults
import finite_slopes
import mutations

from dsjax import evaluation
from dsjax.space import grid

CHECKS = [name for name in differential.CHECKS if "oracle" in name or "at" in name]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", CHECKS)
def test_evaluators_and_oracles_agree(name):
    ((_, tally, _),) = differential.rows(40, 3, [name])
    assert tally.points > 0 and tally.numbers > 0
    assert tally.largest <= differential.MOST and tally.flags == 0, tally.worst


@pytest.mark.parametrize("check", [differential.compiled, differential.searched, differential.one_by_one])
def test_evaluators_agree_on_a_study(check):
    space = grid.load("decode_gpu_2025", axes={"batch": [16, 24], "hardware": ["H800", "L20"]})
    tally = differential.Tally()
    check(space, evaluation.evaluate(space, compiled=False), np.random.default_rng(3), tally)
    assert tally.points > 0 and tally.largest <= differential.MOST and tally.flags == 0, tally.worst


def test_differences_are_seen():
    tally = differential.Tally()
    nan = float("nan")
    tally.compare("x", [1.0, nan, np.inf, 0.0], [1.0, nan, np.inf, 0.0])
    tally.compare("ok", np.array([True, False]), np.array([True, False]))
    assert (tally.numbers, tally.largest, tally.flags, tally.worst) == (6, 0.0, 0, "")
    tally.compare("y", [2.0], [2.0 + 1e-6])
    assert tally.largest == pytest.approx(5e-7, rel=1e-3) and tally.worst.startswith("y")
    tally.compare("z", [nan], [1.0])
    tally.compare("ok", np.array([True, False]), np.array([True, True]))
    assert tally.largest == np.inf and tally.flags == 1
    part = differential.Tally()
    part.compare("exposed_memory", [1e-12], [0.0], scale=1.0)  # of a step of a second
    assert part.largest == 1e-12


@pytest.mark.parametrize("name", ["decode_gpu_2025", "sg2260e", "serve"])
def test_slopes_are_finite(name):
    for _, points, numbers, bad, worst, _ in finite_slopes.rows(100, 1, (), [name]):
        assert points > 0 and numbers > 0 and bad == 0, worst


def test_a_slope_that_is_not_finite_is_seen(monkeypatch):
    def broken(of, names):
        def function(step, point, bounds, **policies):
            found = slopes(of, names)(step, point, bounds, **policies)
            return found | {"elasticity/0": found["elasticity/0"] / (point.nic.scale_out_bytes_per_s < 1.0)}

        return function

    slopes = finite_slopes.sensitivity.slopes
    monkeypatch.setattr(finite_slopes.sensitivity, "slopes", broken)
    with np.errstate(all="ignore"):
        assert finite_slopes.of_grid("decode_gpu_2025", np.random.default_rng(0), 50)[2] > 0


CODE = '''"""Not 1 + 1."""
__all__ = ["a", "b"]


@limited(most=3)
def some(x: Literal[1], flag=True):
    """Nor 2 < 3."""
    if x < 4 and not (flag or x == 5):
        raise InputError("expected " + x * 6)
    return f"{x + 7}" if x is None else max(x, 2.5) - 1
'''


def test_faults_are_made_in_code_alone():
    found = faults.Sites("x.py", CODE).found
    made = sorted((fault.old, fault.new) for fault in found)
    assert made == sorted([
        ("True", "False"), ("x < 4 and not (flag or x == 5)", "not (x < 4 and not (flag or x == 5))"), ("<", "<="),
        ("4", "5"), ("and", "or"), ("or", "and"), ("==", "!="), ("5", "6"), ("is", "is not"), ("max", "min"),
        ("2.5", "5.0"), ("-", "+"), ("1", "2"),
    ])  # fmt: skip
    for fault in found:
        changed = CODE.encode()[: fault.start] + fault.new.encode() + CODE.encode()[fault.end :]
        compile(changed, "x.py", "exec")


def test_a_draw_is_repeated_by_its_seed_and_goes_over_all_folders():
    drawn = faults.draw(1, 60)
    assert drawn == faults.draw(1, 60) != faults.draw(2, 60)
    assert len({(fault.path, fault.start, fault.new) for fault in drawn}) == 60
    assert len({Path(fault.path).parent for fault in drawn}) > 35
    assert all(mutations.tests_of(fault, 4) for fault in drawn[::20])


def test_faults_that_change_nothing_are_still_in_the_code():
    """Each with an argument; what is no longer there is to be deleted."""
    for row in mutations.listed()["equivalent"]:
        file = mutations.ROOT / row["path"]
        made = {(f.code, f.old, f.new) for f in faults.Sites(row["path"], file.read_text()).found}
        assert (row["code"], row["old"], row["new"]) in made and row["because"].endswith("."), row
