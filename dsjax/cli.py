"""The command line: `dsjax` and its commands, each imported when it is called or its help is asked for."""

import contextlib
import importlib

import click

from . import __version__, options
from .commands import ends, output, process
from .errors import InputError, NothingFeasible, shortened
from .results import patience

# Package of `commands` -> (task group of `dsjax --help`, {command, a module there: what it answers}).
COMMANDS = {
    "search": (
        "Search a design space",
        {
            "sweep": "A whole grid: the best points, and why others are refused.",
            "best": "The best feasible points of a grid or of a file, per group.",
            "pareto": "The front of two variables: what no other point beats in both.",
            "histogram": "How a variable is distributed over the feasible points.",
        },
    ),
    "answers": (
        "Ask about a design space or one configuration",
        {
            "plan": "What to run on so many chips: the split, what it serves.",
            "explain": "One configuration in full: the best one, or any other.",
            "sensitivity": "Which hardware number would help most: elasticities.",
            "solve": "The value of an input at which a target is reached.",
            "compare": "The optimum of every group in A and in B, and why they differ.",
            "uncertainty": "The best configurations when inputs are uncertain.",
            "recommend": "The fewest chips for a demand, in one or in two pools.",
            "launch": "What starts a configuration in vLLM, SGLang or TensorRT-LLM.",
        },
    ),
    "share": (
        "Ask about a design space or one configuration",
        {
            "report": "A grid or a file of results as one HTML page.",
            "plot": "A picture of a grid or of a file of results: PNG, SVG or HTML.",
        },
    ),
    "evidence": (
        "See what the numbers rest on",
        {
            "validate": "Measured end-to-end systems against predictions.",
            "ingest": "Results of engines' benchmarks as measured systems.",
            "calibrate": "Efficiencies fitted to measured times of kernels.",
            "reproduce": "Published results against computed ones.",
            "count": "Parameters, FLOPs, bytes moved and sent of one forward pass.",
            "names": "Names of axes, variables, limits, parameters: unit, meaning.",
            "catalog": "Rows of hardware, nics, models, precisions, engines, curves.",
        },
    ),
    "own": (
        "Bring your own chips, grids, systems and measurements",
        {
            "init": "A template of a chip, a grid, systems or measurements.",
            "schema": "JSON schema of a grid, a catalog or systems, for editors.",
        },
    ),
}


class _Commands(click.Group):
    """The commands of the registry, imported one by one; bad input is one line and exit code 2."""

    def list_commands(self, context):
        return [name for _, lines in COMMANDS.values() for name in lines]

    def get_command(self, context, name):
        for package, (_, lines) in COMMANDS.items():
            if name in lines:
                return getattr(importlib.import_module(f".commands.{package}.{name}", __package__), name)
        return None

    def format_commands(self, context, formatter):
        widest = max(map(len, self.list_commands(context)))
        groups: dict = {}  # packages may share one
        for group, lines in COMMANDS.values():
            groups.setdefault(group, {}).update(lines)
        for group, lines in groups.items():
            with formatter.section(group):
                formatter.write_dl([(name.ljust(widest), line) for name, line in lines.items()])

    def format_options(self, context, formatter):
        """Commands alone: what there is beside them, `--help` and `--version`, is said above."""
        self.format_commands(context, formatter)

    def make_context(self, *args, **options):
        with ends.unread(), _usage():
            return super().make_context(*args, **options)

    def main(self, *args, **extra):
        own = not args and extra.keys() <= {"prog_name"}  # nobody else's process
        with ends.unwritable(), ends.at_once(own):  # help, and what is flushed at the end
            return super().main(*args, **extra)

    def invoke(self, context):
        try:
            with ends.unread(), _usage(), options.of_command_line(), output.remarks(), patience.watched_by(ends.watch):
                return super().invoke(context)
        except NothingFeasible as answer:
            output.echo(str(answer))
            context.exit(1)
        except InputError as error:
            output.error(str(error))
            context.exit(2)
        except (MemoryError, RecursionError) as error:
            output.error(ends.too_large(error))
            context.exit(2)
        except KeyboardInterrupt as stop:
            ends.interrupted(stop)
            context.exit(ends.INTERRUPTED)


@contextlib.contextmanager
def _usage():
    """What click says about a wrong command line: no control characters and no more than the ends of long words."""
    try:
        yield
    except click.ClickException as error:
        error.message = shortened(output.safe(error.message))
        raise


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="dsjax")
def main():
    """Speed and cost of serving a language model, over a whole design space.

    \b
    dsjax sweep -o space.nc                every point of the default grid
    dsjax explain space.nc --at batch=64   one configuration in full
    dsjax COMMAND --help                   options and examples of a command

    Exit codes: 0; 1 none feasible, or outside a tolerance; 2 bad input.
    """
    process.start()


if __name__ == "__main__":
    main()
