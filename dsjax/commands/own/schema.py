"""`dsjax schema`: what a file of one's own may hold, for editors."""

from pathlib import Path

import click

from .. import completion
from ..common import QUIET_OPTION
from ..help import command
from ..output import echo, raw


@command()
@click.argument("kind", metavar="grid|catalog|systems", shell_complete=completion.listed("grid", "catalog", "systems"))
@click.option("-o", "--output", metavar="FILE.json", help="Write it there (default: print it).")
@click.option("--force", is_flag=True, help="Overwrite FILE.json.")
@QUIET_OPTION
def schema(kind, output, force, quiet):
    """JSON schema of a grid, a catalog or systems, for editors.

    Every key with its meaning, unit, domain, default and, where it names a row, dsjax's own rows. An editor with taplo
    (Even Better TOML) reads it where the first line of a file says so: #:schema ./dsjax-grid.schema.json

    \b
    dsjax schema grid -o dsjax-grid.schema.json
    dsjax schema catalog -o dsjax-catalog.schema.json
    """
    from ... import schemas
    from ...results import files

    text = schemas.text(kind)
    if output is None:
        raw(text)
        return
    files.check_text(output, force)
    files.write_text(output, text, force)
    if not quiet:
        echo(f"wrote {output}: a file whose first line is #:schema ./{Path(output).name} is checked against it")
