"""Bisection: the neighbours that it returns are on both sides, and as near as asked."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsjax import numerics

SOMEWHERE = st.floats(0.001, 0.999)


@given(SOMEWHERE, st.booleans(), st.floats(1e-12, 1e-2))
def test_both_sides_of_a_step(step, rising, width):
    def holds(x):
        return (x >= step) == rising

    yes, no = numerics.bisect(holds, *((1.0, 0.0) if rising else (0.0, 1.0)), width=width)
    assert holds(yes) and not holds(no) and 0.0 < abs(yes - no) <= width
    assert min(yes, no) <= step <= max(yes, no)


@given(SOMEWHERE)
def test_neighbouring_floats_unless_told(step):
    yes, no = numerics.bisect(lambda x: x >= step, 1.0, 0.0)
    assert yes == step == math.nextafter(no, 1.0)


@given(st.floats(-140.0, 140.0))
def test_orders_of_magnitude_by_a_geometric_mean(exponent):
    calls, root = [], 10.0**exponent

    def holds(x):
        calls.append(x)
        return x < root

    low, high = numerics.bisect(holds, 1e-150, 1e150, middle=lambda a, b: a * math.sqrt(b / a), relative=1e-10)
    assert low < root <= high <= low * (1.0 + 1.001e-10) and len(calls) < 50


@pytest.mark.parametrize("width", [0.0, 1.0])
def test_nothing_between(width):
    assert numerics.bisect(pytest.fail, 1.0, math.nextafter(1.0, 2.0), width=width) == (1.0, math.nextafter(1.0, 2.0))
