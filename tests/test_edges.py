"""Helpers at the ends of their ranges: exact answers on either side of every bound that a table is folded or cut at."""

import numpy as np
import pytest

from dsjax import errors, machine
from dsjax.accessor import page
from dsjax.analysis import wider
from dsjax.commands import output
from dsjax.errors import InputError
from dsjax.pictures import labels, pareto
from dsjax.search import cells
from dsjax.space import restoring
from dsjax.specs import variables


@pytest.mark.parametrize(
    ("line", "columns", "lines"),
    [
        ("  one two", None, ["  one two"]),
        ("  one two", 9, ["  one two"]),
        ("  one two", 8, ["  one", "    two"]),
        ("one two three", 9, ["one two", "  three"]),
    ],
)
def test_a_line_is_folded_where_it_is_wider_than_the_terminal(line, columns, lines):
    assert output.folded(line, columns).split("\n") == lines


@pytest.mark.parametrize(
    ("line", "columns", "lines"),
    [
        ("dsjax best --by tp", None, ["dsjax best --by tp"]),
        ("dsjax best --by tp", 18, ["dsjax best --by tp"]),
        ("dsjax best --by tp", 17, ["dsjax best \\", "    --by tp"]),
        ("dsjax best --by tp", 12, ["dsjax best \\", "    --by \\", "    tp"]),
        ("  dsjax best x", 13, ["  dsjax \\", "      best \\", "      x"]),
        ("dsjax --by aaa,bbb,ccc", 14, ["dsjax --by \\", "    aaa,bbb,\\", "ccc"]),
    ],
)
def test_a_command_is_folded_between_its_options(line, columns, lines):
    assert output.command(line, columns).split("\n") == lines


def test_texts_are_filled_by_what_they_take_on_a_terminal():
    assert [output.filled("ab", 4), output.filled("ab", 4, right=True), output.filled("ab", 2)] == [
        "ab  ",
        "  ab",
        "ab",
    ]
    assert [output.cells("ab"), output.cells("\u4e2d"), output.filled("\u4e2d", 3)] == [2, 2, "\u4e2d "]


@pytest.mark.parametrize(
    ("cell", "shown"),
    [
        (True, True), ("H800", "H800"), (None, None), (np.nan, "-"), (np.float64(3.0), "3"), (1234, "1,234"),
        (999999999.0, "999,999,999"), (1e9, "1.000e+09"), (-1e9, "-1.000e+09"), (2.5, "2.500"), (1234.5, "1,234"),
        (0.0, "0"), (123456.5, "123,456"),
    ],
)  # fmt: skip
def test_a_cell_of_a_notebook(cell, shown):
    assert page._cell(cell) == shown


@pytest.mark.parametrize(
    ("values", "before", "beyond"),
    [
        ((1, 2), [0], [3, 4]),
        ((2, 4), [0, 1], [6, 8]),
        ((8, 16, 32), [0, 4], [48, 64]),
        ((6, 10), [2, 4, 3], [14, 16, 20]),
        ((0.5, 1.5), [-0.5, 0.0, 0.25], [2.5, 2.0, 3.0]),
        ((-2, 0), [-4, 0, -1], [2, 1, 0]),
    ],
)
def test_values_next_to_an_axis(values, before, beyond):
    """One step further, the next power of two, half or double."""
    assert [*wider._before(values)] == before
    assert [*wider._beyond(values)] == beyond


@pytest.mark.parametrize(("length", "is_good"), [(2, True), (2_000_000_000, True), (2_000_000_001, False), (0, False)])
def test_the_longest_axis_of_a_file(length, is_good):
    data = {"start": 0.0, "stop": max(length - 1.0, 0.0), "step": 1.0, "length": length, "integer": True}
    if is_good:
        assert len(restoring._range("axes.batch", data)) == length
    else:
        with pytest.raises(InputError, match=r"axes\.batch"):
            restoring._range("axes.batch", data)


@pytest.mark.parametrize(("off", "is_good"), [(0.0099, True), (0.0101, False)])
def test_the_ends_of_an_axis_meet(off, is_good):
    data = {"start": 2.0, "stop": 8.0 + 2.0 * off, "step": 2.0, "length": 4, "integer": False}
    if is_good:
        assert len(restoring._range("axes.batch", data)) == 4
    else:
        with pytest.raises(InputError, match="expected them to meet"):
            restoring._range("axes.batch", data)


@pytest.mark.parametrize(("more", "is_good"), [(0.0, False), (1e6, True)])
def test_memory_that_a_process_may_hold_is_more_than_it_holds(more, is_good, monkeypatch):
    monkeypatch.setattr(machine, "resident_memory", lambda: 1e9)
    monkeypatch.setattr(machine, "available_memory", lambda: 5e9)
    if is_good:
        assert machine.room(1e9 + machine.RESERVE + more) == more and machine.room() == 5e9 == machine.room(9e9)
    else:
        with pytest.raises(InputError, match=r"dsjax itself takes 1\.3 GB"):
            machine.room(1e9 + machine.RESERVE + more)


def test_every_reason_has_a_bit_of_its_own():
    names = [*variables.OUTSIDE]
    assert [variables.reasons(1 << i) for i in range(len(names))] == [[name] for name in names]
    assert variables.reasons(0) == [] and variables.reasons(2 ** len(names) - 1) == names


class Grid:
    """Stands in for a space of one axis."""

    def __init__(self, n):
        self.axes, self.sizes = {"i": range(n)}, {"i": n}


def test_points_are_thinned_to_one_a_cell(monkeypatch):
    """At 400 x 300 cells: of points half a cell apart every other one is drawn, of those a cell apart all."""
    assert pareto.MOST_FAINT == (400, 300)
    for step, kept in ((1.0, 301), (0.5, 301), (2.0, 151)):
        y = np.arange(0.0, 300.0 + step / 2, step)
        columns = {"x": np.zeros_like(y), "y": y}
        monkeypatch.setattr(pareto.ranking, "values_at", lambda ds, name, at, n, columns=columns: columns[name])
        flat, (xs, ys) = pareto.thinned(None, Grid(len(y)), np.arange(len(y)), ("x", "y"))
        assert len(flat) == len(xs) == len(ys) == kept
        np.testing.assert_array_equal(ys, y[:: 2 if step == 0.5 else 1])


@pytest.mark.parametrize(
    ("n", "most", "length"), [(720, 100, 90), (720, 101, 90), (77, 10, 7), (77, 28, 11), (76, 76, 76), (26, 50, 26)]
)
def test_windows_of_a_long_axis_divide_it_where_they_can(n, most, length):
    """The longest divisor up to `most`."""
    assert cells.window(n, most) == length


@pytest.mark.parametrize(("n", "most"), [(101, 40), (2 * 101, 8), (3 * 101, 12), (4 * 101, 17)])
def test_windows_are_the_longest_where_no_divisor_is_near(n, most):
    """No divisor in (most / 4, most]: the last window is shorter."""
    assert cells.window(n, most) == most


@pytest.mark.parametrize("side", range(4))
def test_a_text_may_touch_the_edge_of_its_room(side):
    """A box is within itself, and not where one side is beyond; boxes that touch do not overlap."""
    room = [0.0, 0.0, 10.0, 5.0]
    over = [x + (0.5 if side > 1 else -0.5) * (i == side) for i, x in enumerate(room)]
    assert labels._within(room, room) and not labels._within(over, room) and labels._within(room, over)
    beside = [x + (10.0, 5.0)[side % 2] * (i % 2 == side % 2) for i, x in enumerate(room)]
    assert not labels._overlap(room, beside) and not labels._overlap(beside, room) and labels._overlap(room, over)


def test_a_line_of_the_longest_length_is_whole():
    """300 characters, however long its words are; one more, and they lose their middle."""
    line = "a" * 200 + " " + "b" * 99
    assert errors.LONGEST == 300 == len(line) and errors.shortened(line) == line
    cut = errors.shortened(f"{line}b")
    assert len(cut) <= 300 and "..." in cut and cut.startswith("a" * 30) and cut.endswith("b" * 30)
