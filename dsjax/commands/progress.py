"""A line on stderr for what takes longer than a second."""

import contextlib
import sys
import threading
import time

import click


@contextlib.contextmanager
def progress(what, quiet, points=None):
    """A line on stderr that counts seconds, for what takes longer than one.

    Yields a function `advance(points, found=False)`: with the number of all `points`, the line tells the share that is
    done, the rate of those that were not found finished, and the time left.
    """
    counter = Counter(what, points)
    if quiet or not sys.stderr.isatty():
        yield counter.advance
        return
    done = threading.Event()

    def tick():
        while not done.wait(1.0):
            click.echo(f"\r{counter.line():<78}", err=True, nl=False)

    ticker = threading.Thread(target=tick, daemon=True)
    ticker.start()
    try:
        yield counter.advance
    finally:
        done.set()
        ticker.join()
        if counter.seconds() > 1.0:
            click.echo(f"\r{counter.line(last=True):<78}", err=True)


class Counter:
    """What a line of progress says."""

    def __init__(self, what, points=None, clock=time.perf_counter):
        self.what, self.points, self.clock, self.start = what, points, clock, clock()
        self.found = self.done = 0
        self.lock = threading.Lock()

    def advance(self, points, found=False):
        """So many points are done; `found`: they were before."""
        with self.lock:
            self.done += points
            self.found += points if found else 0

    def seconds(self):
        """Since the start."""
        return self.clock() - self.start

    def line(self, last=False):
        """The line: seconds alone, or the share, the rate and the time left."""
        seconds, fresh = self.seconds(), self.done - self.found
        if not self.points or not fresh:
            return f"{self.what} ... {seconds:.1f} s" if last else f"{self.what} ... {seconds:.0f} s"
        text = f"{self.what} ... {self.done / self.points:.0%}, {fresh / seconds:.3g} points/s"
        left = (self.points - self.done) * seconds / fresh
        return f"{text}, {seconds:.1f} s" if last else f"{text}, {left:,.0f} s left"
