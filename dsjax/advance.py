"""How far a long computation has come: its loops tell, and who asked to be told shows it."""

import contextlib
import contextvars

from .scoped import scoped


class Counter:
    """A share of the work that is done, from 0 to 1; None before any loop told it."""

    def __init__(self):
        self.done = None
        self.low, self.span = 0.0, 1.0  # what the loop that runs now stands for

    def at(self, share):
        """A share of what the loop stands for is done."""
        self.done = max(self.done or 0.0, self.low + self.span * share)


_TOLD: contextvars.ContextVar = contextvars.ContextVar("counter", default=None)


def told(counter):
    """Loops inside tell this `Counter`."""
    return scoped(_TOLD, counter)


@contextlib.contextmanager
def part(low, high):
    """Loops inside stand for the shares `low` to `high` of the loop around them."""
    counter = _TOLD.get()
    if counter is None:
        yield
        return
    before = counter.low, counter.span
    counter.low, counter.span = before[0] + low * before[1], (high - low) * before[1]
    try:
        yield
        counter.at(1.0)
    finally:
        counter.low, counter.span = before


def of(items, number=None):
    """The items one by one, told when each is done; `number` of them, for what has no length."""
    if _TOLD.get() is None:
        yield from items
        return
    number = len(items) if number is None else number
    for i, item in enumerate(items):
        with part(i / number, (i + 1) / number):
            yield item
