"""What the commands share: options, reading them, progress. JAX is imported only where something is computed."""

import contextlib
import functools
import os
import shlex
import sys
import threading
import time
from pathlib import Path

import click

from ..errors import InputError


def options_of(*options):
    def decorate(command):
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


GRID_OPTIONS = options_of(
    click.option(
        "--axis",
        "axes",
        multiple=True,
        metavar="NAME=VALUES",
        help="Replace or add an axis: batch=8:128:8 (start:stop:step, stop included) or nic=CX7,E810.",
    ),
    click.option("--fix", "fixed", multiple=True, metavar="NAME=VALUE", help="Fix an axis at one value: context=8192."),
    click.option(
        "--set",
        "settings",
        multiple=True,
        metavar="ROW=NUMBER",
        help='Change a catalog number: nic.CX7.scale_out_bytes_per_s=5e10, or ="100 GB/s".',
    ),
    click.option("--model", metavar="MODEL", help="Shorthand of --fix model=MODEL."),
    click.option("--catalog", "catalogs", multiple=True, metavar="FILE.toml", help="Rows of your own, over dsjax's."),
    click.option(
        "--dtype",
        type=click.Choice(["float64", "float32"]),
        help="Floating-point type of the evaluation (default: float64).",
    ),
)
MEMORY_OPTION = click.option(
    "--max-memory", metavar="BYTES", help='Memory the process may hold: "4 GB" (default: what is free).'
)
STREAM_OPTION = click.option(
    "--stream/--no-stream",
    default=None,
    help="Search without ever holding the whole grid (default: where it would not fit in memory).",
)
SCHEDULER_OPTION = click.option(
    "--scheduler", metavar="tcp://HOST:PORT", help="Search a grid, streamed, on the workers of a dask scheduler."
)
OUTPUT_OPTIONS = options_of(
    click.option(
        "--format",
        "form",
        type=click.Choice(["table", "csv", "json"]),
        default="table",
        show_default=True,
        help="What is printed.",
    ),
    click.option("--quiet", is_flag=True, help="No progress and no remarks."),
)


def space_of(grid, axes, fixed, settings, model, catalogs, any_size=False):
    from ..space import grid as grids

    return grids.load(grid, **changes_of(axes, fixed, settings, model, catalogs), any_size=any_size)


def changes_of(axes, fixed, settings, model, catalogs):
    """The options of a grid as those of `grid.load`."""
    axes, fixed, settings = (
        _named(option, texts) for option, texts in (("--axis", axes), ("--fix", fixed), ("--set", settings))
    )
    if both := axes.keys() & fixed.keys():
        raise InputError(f"--fix {min(both)}={fixed[min(both)]}: also given with --axis; expected one of the two")
    if model:
        fixed["model"] = model
    return {
        "axes": {name: _values(name, text) for name, text in axes.items()},
        "fixed": {name: _scalar(text) for name, text in fixed.items()},
        "settings": settings,
        "catalogs": catalogs,
    }


def sweep_of(space, dtype, blocks, quiet, max_memory=None, devices=None):
    from ..sweeps import sweep

    command = shlex.join(["dsjax", *sys.argv[1:]])
    with progress(f"evaluating {space.points:,} points", quiet, space.points) as advance, compilation_cache():
        return sweep.of_space(space, dtype or "float64", blocks, command, max_memory, devices, advance)


def searched(space, dtype, quiet, stream, max_memory, materialised, streamed, counts=True, scheduler=None):
    """(result, counts or None) of a search of a space: of its Dataset, or streamed, also by a scheduler's workers."""
    from ..search import best
    from ..sweeps import workers

    command = shlex.join(["dsjax", *sys.argv[1:]])
    if scheduler and stream is False:
        raise InputError("--scheduler: workers search a grid that is not held; expected it without --no-stream")
    connected = workers.connected(scheduler) if scheduler else contextlib.nullcontext()
    with connected as client, progress(f"searching {space.points:,} points", quiet), compilation_cache():
        streamed = functools.partial(streamed, client=client) if client else streamed
        how = (space, dtype or "float64", stream or (True if client else None), materialised, streamed, command)
        return best.of_space(*how, counts=counts, max_memory=max_memory, client=client)


def is_file(source, *changes):
    """Whether `source` is a file of results, which no option of a grid can change."""
    if not source.lower().rstrip("/").endswith((".nc", ".zarr")):
        return False
    if any(changes):
        raise InputError(f"{source}: --axis, --fix, --set, ... change a grid; expected a grid, not a file of results")
    return True


def values_of(option, text):
    """ "name=value,..." -> {name: value}, values as numbers where they are."""
    return {name: _scalar(value) for name, value in _named(option, text.split(",") if text else ()).items()}


def _named(option, texts):
    """["name=value", ...] -> {name: value}."""
    given = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name or not value:
            raise InputError(f"{option} {text}: expected NAME=VALUE")
        if name in given:
            raise InputError(f"{option} {text}: {name} is given twice; expected it once")
        given[name] = value
    return given


def _values(name, text):
    if ":" in text:
        parts = [_scalar(part) for part in text.split(":")]
        if len(parts) != 3 or any(isinstance(part, str) for part in parts):
            raise InputError(f"--axis {name}={text}: expected numbers start:stop:step")
        return dict(zip(("start", "stop", "step"), parts, strict=True))
    if not all(text.split(",")):
        raise InputError(f"--axis {name}={text}: has the empty value ''; expected values separated by commas")
    return [_scalar(part) for part in text.split(",")]


def _scalar(text):
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text)
    return text


@contextlib.contextmanager
def compilation_cache():
    """Small grids are evaluated without compiling; programs, compiled or not, are kept in the user's cache folder."""
    import jax

    from .. import machine
    from ..evaluation import evaluate, trace_cache

    machine.keep_pages()
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dsjax"
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        jax.config.update("jax_compilation_cache_dir", str(folder))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    with evaluate.interpreting(), trace_cache.kept(folder / "outlines"):
        yield


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
