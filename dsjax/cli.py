"""The command line: `dsjax` and its commands, each imported when it is called or its help is asked for."""

import importlib
import os

import click

from . import __version__, options
from .commands import output, process
from .errors import InputError, NothingFeasible

# Package of `commands` -> (task group of `dsjax --help`, {command, a module there: first line of its help}).
COMMANDS = {
    "search": (
        "Search a design space",
        {
            "sweep": "Evaluate a whole grid, print the best points and why the others are refused.",
            "best": "The best feasible points of a grid or of a file, per group.",
            "pareto": "The Pareto front of two variables: the points that no other feasible point beats in both.",
            "histogram": "How a variable is distributed over the feasible points: counts per range, and quantiles.",
        },
    ),
    "answers": (
        "Ask about a design space or one configuration",
        {
            "plan": "What to run on so many chips: the split, what it serves, what binds.",
            "explain": "One configuration in full: the best feasible point, or any other; refused ones too.",
            "sensitivity": "Which hardware number would help: elasticities d ln y / d ln x, largest first.",
            "solve": "The value of one input at which the best feasible configuration reaches a target.",
            "compare": "The optimum of every group in A and in B: what changed, by how much, and why.",
            "uncertainty": "The best configurations when inputs are uncertain: quantiles, chances, inputs that matter.",
            "recommend": "The fewest chips for a demand, in one or in two pools, queues and percentiles counted.",
            "launch": "The command lines that start a configuration under vLLM, SGLang or TensorRT-LLM.",
            "plot": "A picture of a grid or of a file of results: a PNG or an SVG, by its suffix.",
        },
    ),
    "evidence": (
        "See what the numbers rest on",
        {
            "validate": "Measured end-to-end systems against predictions, with no number set for one system alone.",
            "ingest": "Result files of engines' benchmarks as measured systems, which `validate` reads.",
            "calibrate": "Fit efficiencies to measured times: least squares on log time, checked on shapes left out.",
            "reproduce": "Published results against computed ones; exit code 1 if one is outside its tolerance.",
            "count": "Parameters, FLOPs, bytes moved and bytes sent of one forward pass of MODEL, per operator.",
            "names": "Names of axes, variables, limits or parameters, with unit and meaning.",
            "catalog": "Rows of the catalogs: hardware, nics, models, precisions, engines, curves, in SI units.",
        },
    ),
    "own": (
        "Bring your own chips, grids, systems and measurements",
        {
            "init": "A commented template of a chip, a grid, a file of systems or one of measurements.",
            "schema": "JSON schema (2020-12) of a grid, a catalog or a file of systems, for editors.",
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
        for group, lines in COMMANDS.values():
            with formatter.section(group):
                formatter.write_dl([(name.ljust(widest), line) for name, line in lines.items()])

    def invoke(self, context):
        try:
            with options.of_command_line(), output.remarks():
                return super().invoke(context)
        except NothingFeasible as answer:
            output.echo(str(answer))
            context.exit(1)
        except InputError as error:
            output.error(str(error))
            context.exit(2)
        except BrokenPipeError:
            raise  # click's own: the reader has what it wanted
        except OSError as error:
            output.error(f"output cannot be written ({error.strerror})")
            os._exit(2)  # nothing more can be flushed


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="dsjax")
def main():
    """The whole design space of serving a DeepSeek-V3-class model in one tensor pass.

    \b
    dsjax sweep -o space.nc                  the default grid: ranked table, refusals; every point in a file
    dsjax best space.nc --by hardware,nic    the best feasible point of every group
    dsjax explain space.nc --at batch=64     one configuration in full
    dsjax COMMAND --help                     options and examples of a command

    Exit codes: 0; 1 no feasible point, a reproduction outside its tolerance, what an engine cannot start; 2 bad input.
    """
    process.start()


if __name__ == "__main__":
    main()
