"""`python -m dsjax` is the command line."""

from .cli import main

main(prog_name="dsjax")
