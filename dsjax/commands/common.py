"""Options that commands share, and how they are read. JAX is imported only where something is computed."""

import contextlib
import dataclasses
import functools
import shlex
import sys

import click

from .. import machine
from ..errors import InputError
from . import completion
from .output import VERBOSE, WIDE, remark
from .process import split_cpu
from .progress import progress


def options_of(*options):
    """Several options of click as one decorator."""

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
        shell_complete=completion.of_axes,
        help="Replace or add an axis: batch=8:128:8 (start:stop:step, stop included) or nic=CX7,E810, or hardware=all.",
    ),
    click.option(
        "--fix",
        "fixed",
        multiple=True,
        metavar="NAME=VALUE",
        shell_complete=completion.of_axes,
        help="Fix an axis at one value: context=8192 (dsjax names axes).",
    ),
    click.option(
        "--set",
        "settings",
        multiple=True,
        metavar="ROW=NUMBER",
        shell_complete=completion.names("parameters", "="),
        help='Change a catalog number: nic.CX7.scale_out_bytes_per_s=5e10, or ="100 GB/s" (dsjax names parameters).',
    ),
    click.option(
        "--limit",
        "limits",
        multiple=True,
        metavar="NAME=VALUE",
        shell_complete=completion.names("limits", "="),
        help='Limit of the points: min_tps_per_user=30, max_ttft="2 s", slo_margin=0.1; none lifts one of the grid '
        "(dsjax names limits).",
    ),
    click.option(
        "--model", metavar="MODEL", shell_complete=completion.rows("model"), help="Shorthand of --fix model=MODEL."
    ),
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
QUIET_OPTION = click.option("--quiet", is_flag=True, help="No progress and no remarks.")
# Of questions about servers for a demand.
LENGTHS = options_of(
    click.option("--isl", metavar="TOKENS", help="Tokens of a prompt (input sequence length), mean."),
    click.option("--osl", metavar="TOKENS", help="Tokens of an answer (output sequence length), mean."),
)
PERCENTILE = click.option(
    "--percentile",
    type=click.Choice(["mean", "50", "90", "99"]),
    default="90",
    show_default=True,
    help="Of the requests, how many the limits hold for.",
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
    WIDE,
    VERBOSE,
    QUIET_OPTION,
)


@dataclasses.dataclass(frozen=True)
class GridRequest:
    """What a user asks a command of, a grid with changes or a file of results, and how the answer is printed."""

    source: str = "default"
    axes: tuple = ()  # NAME=VALUES
    fixed: tuple = ()  # NAME=VALUE
    settings: tuple = ()  # ROW=NUMBER
    limits: tuple = ()  # NAME=VALUE
    model: str | None = None
    catalogs: tuple = ()
    dtype: str | None = None
    stream: bool | None = None
    max_memory: str | None = None
    scheduler: str | None = None
    form: str = "table"
    quiet: bool = False
    told: set = dataclasses.field(default_factory=set, compare=False)  # sentences, those of other sides included

    def ask(self, command, needs="points", any_size=False):
        """`Asked` of the source, see `sources.ask`; what it chose for its user is said beside the answer."""
        asked = self._asked(command, needs, any_size)
        if self.max_memory is not None:
            machine.room(self.max_memory)  # said before anything is computed, also where nothing is held
        self.say_chosen(asked.space)
        return asked

    def say_chosen(self, space):
        """Sentences on what was chosen for the user, a precision by its checkpoint."""
        for why in () if self.quiet else space.chosen.values():
            if why not in self.told:
                remark(why)
            self.told.add(why)

    def _asked(self, command, needs, any_size):
        from ..sweeps import sources

        if not sources.is_results(self.source):
            return sources.ask(self.source, command, self.changes() | {"dtype": self.dtype}, any_size=any_size)
        if any(getattr(self, name) for name in FOR_GRIDS):
            raise InputError(
                f"{self.source}: --axis, --fix, --limit, ... change a grid; expected a grid, not a file of results"
            )
        return sources.ask(self.source, command, {}, needs=needs)

    def changes(self):
        """The changes of a grid as the options of `grid.load`."""
        texts = {"--axis": self.axes, "--fix": self.fixed, "--set": self.settings, "--limit": self.limits}
        axes, fixed, settings, limits = (_named(option, given) for option, given in texts.items())
        if both := axes.keys() & fixed.keys():
            raise InputError(f"--fix {min(both)}={fixed[min(both)]}: also given with --axis; expected one of the two")
        if self.model:
            fixed["model"] = self.model
        return {
            "axes": {name: _values(name, text) for name, text in axes.items()},
            "fixed": {name: _scalar(text) for name, text in fixed.items()},
            "settings": settings,
            "limits": {name: None if text == "none" else _scalar(text) for name, text in limits.items()},
            "catalogs": self.catalogs,
        }

    def keep_inputs(self, outputs):
        """Refuse an output that is read too, or that is another output."""
        from ..results import files
        from ..sweeps import sources

        changes = self.changes()
        files.apart(outputs, sources.files_of(self.source, changes["axes"], changes["fixed"], self.catalogs))

    def swept(self, asked, blocks=False, devices=None):
        """`Results` of what is asked: from its file, else of a sweep."""
        from ..results.handle import Results
        from ..sweeps import sweep

        space = asked.space
        if asked.results is not None:
            return asked.results
        split_cpu(devices)
        with progress(f"evaluating {space.points:,} points", self.quiet, space.points) as advance:
            how = (asked.dtype, blocks, command_line(), self.max_memory, devices, advance)
            return Results(sweep.of_space(space, *how), space)

    def searched(self, asked, held, streamed, counts=True):
        """(result, counts or None) of a search: `held` of `Results`; `streamed`, also by a scheduler's workers."""
        from ..search import best, ranking
        from ..sweeps import scheduler

        space, results = asked.space, asked.results
        if results is not None:
            return held(results), ranking.counted(results) if counts else None
        if self.scheduler and self.stream is False:
            raise InputError("--scheduler: workers search a grid that is not held; expected it without --no-stream")
        connected = scheduler.connected(self.scheduler) if self.scheduler else contextlib.nullcontext()
        with connected as client, progress(f"searching {space.points:,} points", self.quiet):
            streamed = functools.partial(streamed, client=client) if client else streamed
            how = (space, asked.dtype, self.stream or (True if client else None), held, streamed, command_line())
            return best.of_space(*how, counts=counts, max_memory=self.max_memory, client=client)


# What a file of results takes none of.
FOR_GRIDS = ("axes", "fixed", "settings", "limits", "model", "catalogs", "dtype", "stream", "max_memory", "scheduler")


def grid_command(*options, source="[GRID|FILE.nc|FILE.zarr]", output=OUTPUT_OPTIONS):
    """Decorator: the options of a grid, handed to the command as its first argument, a `GridRequest`.

    `options`: more of its fields. `source`: how help writes the argument; None for a command with its own arguments.
    """
    named = {"default": "default", "metavar": source, "shell_complete": completion.grids}
    argument = [click.argument("source", **named)] if source else []

    def decorate(command):
        @functools.wraps(command)
        def called(**given):
            names = {field.name for field in dataclasses.fields(GridRequest)} & given.keys()
            return command(GridRequest(**{name: given.pop(name) for name in names}), **given)

        return options_of(*argument, *options, GRID_OPTIONS, output)(called)

    return decorate


def command_line():
    """The command as its user wrote it, for the history of a file."""
    return shlex.join(["dsjax", *sys.argv[1:]])


def values_of(option, text):
    """ "name=value,..." -> {name: value}, values as numbers where they are."""
    return {name: _scalar(value) for name, value in _named(option, text.split(",") if text else ()).items()}


def names_of(text):
    """ "a,b" -> ["a", "b"]; None, where the option is not given, stays."""
    return None if text is None else [name for name in text.split(",") if name]


def between(low, high):
    """The values of --from and --to; None where neither is given."""
    if (low is None) != (high is None):
        raise InputError(f"--{'to' if high is None else 'from'}: missing; expected both --from and --to, or neither")
    return None if low is None else (low, high)


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
