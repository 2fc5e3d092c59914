"""The command line: `dsjax` and its commands. JAX is imported only by the commands that compute."""

import os

import click

from . import __version__
from .commands import (
    best,
    calibrate,
    catalog,
    compare,
    count_,
    explain_,
    histogram_,
    pareto,
    plot,
    recommend,
    reproduce,
    sensitivity,
    solve,
    sweep,
    uncertainty,
    validate,
)
from .errors import InputError, NothingFeasible


class _Group(click.Group):
    """Turns bad input into one line and exit code 2."""

    def invoke(self, context):
        try:
            return super().invoke(context)
        except NothingFeasible as answer:
            click.echo(str(answer))
            context.exit(1)
        except InputError as error:
            click.echo(f"error: {error}", err=True)
            context.exit(2)
        except BrokenPipeError:
            raise  # click's own: the reader has what it wanted
        except OSError as error:
            click.echo(f"error: output cannot be written ({error.strerror})", err=True)
            os._exit(2)  # nothing more can be flushed


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="dsjax")
def main():
    """The whole design space of serving a DeepSeek-V3-class model in one tensor pass.

    \b
    dsjax sweep                              the default grid: ranked table, refusals per constraint
    dsjax sweep -o space.nc                  the same, and every point in a NetCDF file
    dsjax best space.nc --by hardware,nic    the best feasible point of every group
    dsjax explain space.nc --at batch=64     one configuration in full
    dsjax plot pareto space.nc -o front.svg  a picture: also heatmap, roofline, breakdown, tornado, response
    dsjax sensitivity                        which hardware number would help, and by how much
    dsjax pareto --by hardware               what no other point beats in two variables
    dsjax recommend --requests-per-s 10 ...  the fewest chips for a demand, decode and prefill
    dsjax reproduce                          published tables against computed ones
    dsjax count DeepSeek-V3                  parameters, FLOPs, bytes, volumes of one forward pass
    dsjax calibrate gemm.csv ...             efficiencies from your own measurements
    dsjax validate                           measured systems against predictions
    dsjax catalog hardware                   the numbers behind a name, and their source

    Exit codes: 0; 1 no feasible point, or a reproduction outside its tolerance; 2 bad input.
    """


for _command in (
    sweep.sweep,
    best.best,
    histogram_.histogram,
    explain_.explain,
    pareto.pareto,
    recommend.recommend,
    solve.solve,
    sensitivity.sensitivity,
    compare.compare,
    uncertainty.uncertainty,
    plot.plot,
    calibrate.calibrate,
    validate.validate,
    reproduce.reproduce,
    count_.count,
    catalog.catalog,
):
    main.add_command(_command)


if __name__ == "__main__":
    main()
