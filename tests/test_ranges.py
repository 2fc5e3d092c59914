"""Long axes made where they are read: the values of a tuple, and searches that find the same in windows of them."""

import json
import math
from decimal import Decimal, localcontext
from fractions import Fraction

import numpy as np
import pytest

import dsjax
from dsjax import evaluation, machine
from dsjax.search import cells, histogram, pareto, ranking, streaming
from dsjax.space import grid, ranges, restoring
from dsjax.sweeps import sweep

STUDY = "decode_gpu_2025"
FIXED = {"nic": "CX7", "ep": 144, "context": 4096, "precision": "kv1-w1", "mtp": 1}


@pytest.mark.parametrize(
    ("start", "stop", "step", "n"),
    [(1, 200, 1, 200), (8, 1600, 8, 200), (0.1, 20, 0.1, 200), (1e10, 1e11, 9e10 / 159, 160), (1.0, 3.0, 0.5, 5)],
)
def test_a_range_is_the_tuple_of_its_values(start, stop, step, n):
    integer = isinstance(step, int)
    one = ranges.Range(start, stop, step, n, integer)
    kind = int if integer else lambda x: float(f"{x:.15g}")
    truth = (*(kind(start + step * i) for i in range(n - 1)), stop)
    assert tuple(one) == truth == one[:] and one == truth and len(one) == n and one[-1] == stop
    assert one[3:100:7] == truth[3:100:7] and one[::-1] == truth[::-1] and one[50:10] == ()
    assert [one.index(value) for value in truth] == list(range(n)) and all(value in one for value in truth)
    assert start - step not in one and start + step / 3 not in one and "H800" not in one
    assert all(type(value) is type(truth[0]) for value in one)
    np.testing.assert_array_equal(np.array(one), np.array(truth))
    assert ranges.restored(json.loads(json.dumps(one.to_json()))) == one
    assert one != truth[:-1] and one != ranges.Range(start, stop, step, n - 1, integer)
    for wrong in (n, -n - 1):
        with pytest.raises(IndexError):
            one[wrong]
    with pytest.raises(ValueError):
        one.index(stop + step)


def decimal(rng, digits, low, high):
    """A number of so many significant decimal digits, of any order of magnitude between two."""
    return float(f"{10 ** rng.uniform(low, high):.{digits}g}")


def test_a_decimal_range_is_the_exact_sum_rounded_once():
    """3,000 ranges against fractions; where the sum needs more than 15 digits, against its text."""
    rng, long = np.random.default_rng(0), 0
    for _ in range(3000):
        start = decimal(rng, rng.integers(1, 7), -12, 12)
        step, n = decimal(rng, rng.integers(1, 5), math.log10(start) - 6, math.log10(start) + 1), 2000
        one = ranges.Range(start, start + step * (n - 1), step, n, False)
        exact = [Fraction(str(start)) + Fraction(str(step)) * i for i in range(0, n - 1, 97)]
        rounded = [float(f"{decimal_text(x):.15g}") for x in exact]
        long += [float(x) for x in exact] != rounded
        assert one[: n - 1 : 97] == tuple(rounded), (start, step)
    assert long < 300


def decimal_text(x):
    """A fraction over a power of ten as a `Decimal`, exactly."""
    with localcontext(prec=60):
        return Decimal(x.numerator) / Decimal(x.denominator)


@pytest.mark.parametrize(
    ("start", "step"), [(1e10, 9e10 / 159), (1 / 3, 1e-9), (1e15, 0.1), (1e-300, 1e-301), (7, 1e-23)]
)
def test_other_ranges_keep_fifteen_digits_of_the_sum(start, step):
    one = ranges.Range(start, start + step * 199, step, 200, False)
    assert one[:199] == tuple(float(f"{start + step * i:.15g}") for i in range(199))


@pytest.fixture(scope="module")
def spaces():
    """(The same space with a tuple and with a `Range`, Dataset)."""
    return both("batch", 1, 701, 1)


def both(name, start, stop, step):
    axes = {"hardware": ["H800", "H20"], "batch": [64, 100], name: {"start": start, "stop": stop, "step": step}}
    held = grid.load(STUDY, axes=axes, fixed=FIXED)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranges, "LONG", 100)
        lazy = grid.load(STUDY, axes=axes, fixed=FIXED, any_size=True)
    assert isinstance(lazy.axes[name], ranges.Range) and isinstance(held.axes[name], tuple)
    return held, lazy, sweep.of_space(held, "float64", False)


@pytest.fixture
def windows(monkeypatch):
    """Cells and slabs so small that the long axis is cut, and not evenly."""
    monkeypatch.setattr(cells, "CELL", 2**6)
    monkeypatch.setattr(cells, "SLAB", 2**12)
    monkeypatch.setattr(cells, "WINDOWS", 2)


@pytest.mark.parametrize("axis", [("batch", 1, 701, 1), ("nic_scale_out_bytes_per_s", 1e10, 1.7e11, 2.5e8)])
def test_the_space_and_its_dataset_are_the_same(axis):
    held, lazy, ds = both(*axis)
    assert lazy.axes == held.axes and restoring.space(lazy.to_json()) == lazy
    for name in ("tps_per_chip", "feasible"):
        ((_, values),) = evaluation.evaluate(lazy, names=(name,)).values()
        np.testing.assert_array_equal(values, ds[name])
    again = sweep.of_space(lazy, "float64", False)
    assert again.drop_attrs().identical(ds.drop_attrs())
    np.testing.assert_array_equal(ranking.best(again).tps_per_chip, ranking.best(ds).tps_per_chip)


def test_windows_of_a_long_axis_find_what_the_whole_dataset_holds(spaces, windows):
    held, lazy, ds = spaces
    layout = cells.layout_of(lazy, (), "float64")
    assert layout.long in layout.kept and layout.long in layout.inner
    assert lazy.sizes[layout.long] % layout.length(layout.long)  # the last window is shorter
    for by, top, objective in (((), 5, None), (("hardware",), 2, "-memory_per_chip")):
        found = streaming.best(lazy, by=by, top=top, objective=objective, dtype="float64")
        truth = ranking.best(ds, by=by, top=top, objective=objective)
        for name in (*held.axes, "ties", "rank"):
            np.testing.assert_array_equal(found[name], truth[name], err_msg=name)
        np.testing.assert_allclose(found.tps_per_chip, truth.tps_per_chip, rtol=1e-12)
    found, truth = streaming.pareto(lazy, dtype="float64"), pareto.of_dataset(ds)
    for name in held.axes:
        np.testing.assert_array_equal(found[name], truth[name], err_msg=name)


def test_counts_over_windows(spaces, windows, monkeypatch):
    _, lazy, ds = spaces
    monkeypatch.setattr(streaming, "MOST_CANDIDATES", 100)
    assert streaming.counted(lazy, "float64") == ranking.counted(ds)
    found = histogram.of_space(lazy, of="tps_per_user", bins=1, quantiles=(), dtype="float64")
    assert int(found["count"].sum()) == ranking.count_feasible(ds)


def test_a_billion_values(monkeypatch):
    long = {"start": 1, "stop": 1_000_000_000, "step": 1}
    space = grid.load(STUDY, axes={"batch": long}, fixed=FIXED, any_size=True)
    assert space.sizes["batch"] == 10**9 and space.axes["batch"][123456788] == 123456789
    assert len(space.to_json()) < 20_000
    with monkeypatch.context() as patched:  # counting values does not make them
        patched.setattr(ranges.Range, "array", lambda *_: pytest.fail("a billion values were made"))
        assert np.size(ranges.Operand(space.axes["batch"], np.dtype("int32"))) == 10**9
    layout = cells.layout_of(space, (), "float32")
    assert np.prod(layout.shape(space.sizes)) < 2 * cells.CELLS
    with pytest.raises(dsjax.InputError, match="batch.*: 1e.09 values do not fit in memory; expected a larger step"):
        dsjax.sweep(STUDY, axes={"batch": long}, fixed=FIXED)
    with pytest.raises(dsjax.InputError, match="needs? .* of memory is free; expected a smaller grid"):
        dsjax.best(STUDY, axes={"batch": long | {"stop": 9_000_000}}, stream=False, dtype="float32")
    monkeypatch.setattr(machine, "available_memory", lambda: 1e10)
    with pytest.raises(dsjax.InputError, match="batch.*: a list of 1,000,000,000 values takes 100.0 GB .* start, stop"):
        dsjax.best(STUDY, axes={"batch": range(1, 10**9 + 1)}, fixed=FIXED)
    with pytest.raises(dsjax.InputError, match="3e.09 values .* at most 2,000,000,000"):
        dsjax.best(STUDY, axes={"batch": long | {"stop": 3_000_000_001}}, fixed=FIXED)
    with pytest.raises(dsjax.InputError, match=r"1e\+09 cells|cells, more than .* expected fewer groups"):
        dsjax.best(STUDY, axes={"batch": long}, fixed=FIXED, by=["batch"], stream=True)
