"""`dsjax init`: a template of a file of one's own."""

import shlex

import click

from .. import completion, steps
from ..common import QUIET_OPTION
from ..help import command
from ..output import echo, raw

RUN = ("grid", "systems")  # which run as they are, with nothing filled in


@command()
@click.argument(
    "what",
    metavar="chip|grid|systems|measurements",
    shell_complete=completion.listed("chip", "grid", "systems", "measurements"),
)
@click.option("-o", "--output", metavar="FILE", help="Write it there (default: print it).")
@click.option("--kind", help="Phase of a grid (decode), or kind of kernel of measurements: gemm, mla-decode, ...")
@click.option("--name", help="Name of the chip (MyChip).")
@click.option("--force", is_flag=True, help="Overwrite FILE.")
@QUIET_OPTION
def init(what, output, kind, name, force, quiet):
    """A template of a chip, a grid, systems or measurements.

    What must be given comes first; what may be is commented out with its default; comments say meaning, unit and domain
    of every key. A grid and a file of systems can be run as they are; a chip has numbers to fill in, and what is still
    missing is told at once; measurements have a header.

    \b
    dsjax init chip -o my.toml        then  dsjax sweep --catalog my.toml --fix hardware=MyChip
    dsjax init grid -o grid.toml      then  dsjax sweep grid.toml
    dsjax init systems -o mine.toml   then  dsjax validate mine.toml
    dsjax init measurements --kind gemm -o gemm.csv
    """
    from ... import templates
    from ...results import files

    text = templates.text(what, kind, name, output or "FILE")
    if output is None:
        raw(text)
        return
    files.check_text(output, force)
    files.write_text(output, text, force)
    if not quiet:
        echo(f"wrote {output}")
        if what in RUN:
            steps.say(templates.use_of(what, kind, name and shlex.quote(name), shlex.quote(output)))
