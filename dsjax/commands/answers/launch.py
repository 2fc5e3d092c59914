"""`dsjax launch`: the command lines that start a configuration."""

import sys

import click

from ..common import QUIET_OPTION, grid_command, options_of, values_of
from ..help import command
from ..output import echo, raw
from ..progress import progress

OUTPUT = options_of(
    click.option("-o", "--output", metavar="FILE", help="Write the script there (default: print it)."),
    click.option("--force", is_flag=True, help="Overwrite FILE."),
    click.option(
        "--format", "form", type=click.Choice(["sh", "json"]), default="sh", show_default=True, help="What is printed."
    ),
    QUIET_OPTION,
)


@command()
@click.option(
    "--at",
    metavar="NAME=VALUE,...",
    help="Values of axes: batch=10,tp=4. The others are those of the best point there.",
)
@click.option("--engine", metavar="ENGINE", help="vllm, sglang or tensorrt-llm (default: the engine of the point).")
@click.option("--per-host", type=int, metavar="CHIPS", help="Chips of a host (default: of a domain, at most 8).")
@click.option("--instances", type=int, default=1, show_default=True, help="Instances that are alike, without pools.")
@grid_command(output=OUTPUT)
def launch(request, at, engine, per_host, instances, output, force):
    """What starts a configuration in vLLM, SGLang or TensorRT-LLM.

    The configuration is the best point of those that --at leaves, as in `dsjax explain`. One command, or a script whose
    first argument names one of several: an instance, its nodes, a pool, the router. What no configuration says (ports,
    addresses, a checkpoint) is a variable with a name, asked for when the script runs.

    Comments say what the engine does otherwise than the point; where it cannot start it at all, why, and the exit code
    is 1. Flags are those of the version that is named.

    \b
    dsjax launch serve --at hardware=H200,concurrency=64 --engine sglang
    dsjax launch space.nc --at hardware=H200,ep=72 --engine vllm -o start.sh
    dsjax launch disaggregated --engine tensorrt-llm --format json
    """
    from ...launching import launch as launching
    from ...results import files

    if output is not None:
        request.keep_inputs([output])
        files.check_text(output, force)
    chosen = values_of("--at", at)
    launching.check(engine, per_host, instances)
    asked = request.ask("launch", needs="space")
    with progress("choosing", request.quiet):
        found = launching.launch(asked, chosen, engine, per_host, instances)
    text = found.script if request.form == "sh" else files.to_json(found.as_dict()) + "\n"
    if output is None:
        raw(text)
    elif found.commands:
        files.write_text(output, text, force)
        if not request.quiet:
            said = [f"refused by dsjax: {name}: {why}" for name, why in found.refused.items()]
            echo("\n".join([*(f"differs: {line}" for line in found.differs), *said, f"wrote {output}"]))
    for line in found.unable if output is not None else ():
        echo(f"cannot be started: {line}")
    sys.exit(0 if found.commands and (chosen or not found.refused) else 1)
