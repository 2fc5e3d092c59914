"""A bar on stderr, with the time left, for what takes longer than a second."""

import contextlib
import sys
import threading
import time

from .. import advance


@contextlib.contextmanager
def progress(what, quiet, points=None):
    """A bar on a terminal while the body runs: how far its loops have come, time so far, time left.

    Yields a function `done(points, found=False)` for what counts `points` itself; those `found` done take no time.
    Nothing is shown where stderr is no terminal, where `quiet`, or within the first second, before rich is imported.
    """
    counter, own = advance.Counter(), [0, points or 0]

    def done(some, found=False):
        own[1 if found else 0] += -some if found else some
        counter.at(own[0] / own[1] if own[1] else 1.0)

    with advance.told(counter), contextlib.nullcontext() if quiet or not sys.stderr.isatty() else _bar(what, counter):
        yield done


@contextlib.contextmanager
def _bar(what, counter):
    ended, start = threading.Event(), time.perf_counter()

    def show():
        if ended.wait(1.0):
            return
        from rich import progress
        from rich.console import Console

        words, times = (progress.TextColumn(f"{{task.{of}}}", markup=False) for of in ("description", "fields[times]"))
        columns = words, progress.BarColumn(), progress.TaskProgressColumn(), times
        with progress.Progress(*columns, console=Console(stderr=True), transient=True) as bars:
            bar = bars.add_task(what, total=None, times="")
            while True:
                share, so_far = counter.done, time.perf_counter() - start
                left = f", {so_far * (1.0 / share - 1.0):,.0f} s left" if share else ""
                bars.update(bar, completed=share, total=1.0 if share else None, times=f"{so_far:,.0f} s{left}")
                if ended.wait(0.1):
                    return

    shown = threading.Thread(target=show, daemon=True)
    shown.start()
    try:
        yield
    finally:
        ended.set()
        shown.join()
