"""Long axes given as { start, stop, step }: their values are made where they are read, not before.

Value i is start + step i to 15 significant digits (so that 0.1 + 2 x 0.1 is 0.3), an integer where the axis is one;
the last value is `stop` itself. Decimals are added as integers and divided by a power of ten, which rounds once.
"""

import collections.abc
import dataclasses
import decimal
import functools

import numpy as np

DIGITS = 15  # significant ones of a value: so many decimal ones every double holds
LONG = 2**16  # values of an axis that are kept as a tuple, at most


def of(start, stop, step, length, integer):
    """The values of an axis: a tuple, or a `Range` of a long one."""
    values = Range(start, stop, step, length, integer)
    return values if length > LONG else tuple(values.array().tolist())


def restored(data):
    """The values of an axis from its JSON."""
    return Range(**data) if isinstance(data, dict) else tuple(data)


@dataclasses.dataclass(frozen=True, eq=False)
class Range(collections.abc.Sequence):
    """The values of a long axis, as a tuple of them would be; a slice of it is a tuple."""

    start: float
    stop: float
    step: float
    length: int
    integer: bool

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        if isinstance(index, slice):
            first, last, stride = index.indices(self.length)
            return tuple(self.array(first, max(first, last)).tolist()[::stride]) if stride > 0 else tuple(self)[index]
        i = int(index) + (self.length if index < 0 else 0)
        if not 0 <= i < self.length:
            raise IndexError(index)
        return self.array(i, i + 1).tolist()[0]

    def __iter__(self):
        for first in range(0, self.length, LONG):
            yield from self.array(first, min(first + LONG, self.length)).tolist()

    def __eq__(self, other):
        if isinstance(other, Range):
            return dataclasses.astuple(self) == dataclasses.astuple(other)
        return isinstance(other, tuple) and len(other) == self.length and all(a == b for a, b in zip(self, other))

    def __hash__(self):
        return hash(dataclasses.astuple(self))

    def __contains__(self, value):
        return self._place(value) is not None

    def index(self, value, start=0, stop=None):
        """Place of a value; ValueError where it is not there."""
        found = self._place(value)
        if found is None or not start <= found < (self.length if stop is None else stop):
            raise ValueError(f"{value!r} is not one of the values")
        return found

    def count(self, value):
        return int(value in self)

    def _place(self, value):
        try:
            near = round((value - self.start) / self.step)
        except (TypeError, ValueError, OverflowError):
            return None
        return next((i for i in (near - 1, near, near + 1) if 0 <= i < self.length and self[i] == value), None)

    def __array__(self, dtype=None, copy=None):
        return self.array() if dtype is None else self.array().astype(dtype)

    @functools.lru_cache(maxsize=4)  # noqa: B019 (slabs that follow each other read the same values)
    def array(self, first=0, last=None):
        """Values [first, last) as a NumPy array, not to be written to."""
        last = self.length if last is None else last
        (start, step), scale = _whole(self.start, self.step)
        if abs(start) + abs(step) * last < 10**DIGITS and scale <= 10**22:  # both sides of the division are exact
            found = (start + step * np.arange(first, last)) / float(scale)
        else:
            found = self.start + self.step * np.arange(first, last)
            found = np.array([float(f"{x:.{DIGITS}g}") for x in found.tolist()])
        if self.integer:
            found = found.astype(np.int64)
        elif last == self.length and last > first:
            found[-1] = self.stop
        found.flags.writeable = False
        return found

    def to_json(self):
        """Plain values that `restored` takes."""
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True, eq=False)
class Operand:
    """The array of a long axis as an operand of a program: made where it is cut, or changed in type."""

    values: Range
    dtype: np.dtype

    @property
    def shape(self):
        return (len(self.values),)

    @property
    def size(self):
        """Number of values, which NumPy would else make all of to count them."""
        return len(self.values)

    def __len__(self):
        return len(self.values)

    def __getitem__(self, window):
        first, last, _ = window.indices(len(self.values))
        return self.values.array(first, last).astype(self.dtype)

    def __array__(self, dtype=None, copy=None):
        return self.values.array().astype(self.dtype if dtype is None else dtype)

    def astype(self, dtype):
        return dataclasses.replace(self, dtype=np.dtype(dtype))


def _whole(*numbers):
    """(integers, scale): decimal numbers, as they are written, times the least power of ten that makes them whole."""
    written = [decimal.Decimal(str(x)).normalize() for x in numbers]
    places = max(0, *(-int(x.as_tuple().exponent) for x in written))
    return [int(x.scaleb(places)) for x in written], 10**places
