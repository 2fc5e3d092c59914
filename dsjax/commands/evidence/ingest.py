"""`dsjax ingest`: result files of engines' benchmarks as measured systems."""

import math
import shlex

import click

from .. import steps
from ..common import OUTPUT_OPTIONS, GridRequest
from ..help import command
from ..output import echo, raw
from ..tables import records, rows_over, table

_ROWS = (
    ("model", "models, or the path of a config.json"),
    ("hardware", "hardware"),
    ("nic", "nics"),
    ("precision", "precisions"),
    ("engine", "engines"),
)
_COUNTS = (
    ("chips", "Chips of the instance."),
    ("tp", "Chips that share the attention of a sequence."),
    ("dp", "Groups of --tp chips, in place of --chips: chips = tp dp."),
    ("ep", "Groups of chips that share the experts; 1: every expert is split over all chips."),
    ("concurrency", "Users, each with one request in flight."),
    ("isl", "Mean tokens of an input."),
    ("osl", "Mean tokens of an output."),
)


def _said(command):
    """Decorator: options of what a file does not say."""
    for name, text in reversed(_COUNTS):
        command = click.option(f"--{name}", metavar="N", help=text)(command)
    for name, rows in reversed(_ROWS):
        command = click.option(f"--{name}", metavar="ROW", help=f"Row of dsjax catalog {rows}.")(command)
    return command


@command()
@click.argument("logs", metavar="LOG.json...", nargs=-1, required=True)
@_said
@click.option("--fix", "fixed", multiple=True, metavar="NAME=VALUE", help="Any other key of a system: mtp=1.")
@click.option("--where", multiple=True, metavar="KEY=VALUE", help="Runs that count, by the files' own keys: hw=h200.")
@click.option("--study", metavar="ID", help="Id of the study (default: the name of the first file).")
@click.option("--allow-failures", is_flag=True, help="Also runs with requests that failed.")
@click.option("--catalog", "catalogs", multiple=True, metavar="FILE.toml", help="Rows of your own, over dsjax's.")
@click.option("-o", "--output", metavar="FILE.toml", help="Write the systems, for dsjax validate.")
@click.option("--force", is_flag=True, help="Overwrite FILE.toml.")
@OUTPUT_OPTIONS
def ingest(logs, fixed, where, study, allow_failures, catalogs, output, force, form, quiet, **options):
    """Results of engines' benchmarks as measured systems.

    \b
    Formats, told apart by what is in the file; lines of JSON and lists are a run each:
      vllm bench serve --save-result [--append-result]     JSON
      python -m sglang.bench_serving --output-file         JSON lines
      trtllm-bench ... --streaming --report_json           JSON
      aiperf, genai-perf: profile_export_aiperf.json, profile_export_genai_perf.json
      InferenceX (InferenceMAX): agg_*.json

    What a file does not say is an option, the same for all runs; an option wins over the file, and the row says so.
    Runs at a rate, of several instances or of stages are left aside with the reason. Files of up to 67 MB, as
    results without the details of every request are. Without -o the systems are printed.

    \b
    dsjax ingest run.json --hardware H200 --tp 8 --chips 8 --ep 1 --precision fp8 --engine vllm -o systems.toml
    dsjax ingest agg_bmk.json --where hw=h200 --where precision=fp8 -o systems.toml
    dsjax ingest c1.jsonl c2.jsonl --hardware H800 --precision fp8 --fix requests_per_user=10 -o systems.toml
    dsjax validate systems.toml --rows
    """
    from ...errors import InputError
    from ...validation import ingest

    more = GridRequest(fixed=fixed).changes()["fixed"]
    if both := sorted(name for name in more if options.get(name) is not None):
        raise InputError(f"--fix {both[0]}: also given as --{both[0]}; expected one of the two")
    how = {
        "output": output,
        "force": force,
        "study": study,
        "where": where,
        "allow_failures": allow_failures,
        "catalogs": catalogs,
    }
    ds = ingest.ingest(logs, **how, **{name: x for name, x in options.items() if x is not None} | more)
    if form != "table":
        records(rows_over(ds, "system"), form)
    elif output is None:
        raw(ds.attrs["text"].rstrip() + "\n")
    else:
        _show(ds, quiet)
        if not quiet:
            echo(f"wrote {output}")
            steps.say(shlex.join(["dsjax", "validate", output, "--rows"]))


def _show(ds, quiet):
    """One line for each run, and the runs that no file of systems describes."""
    lines = []
    for i in range(ds.sizes["system"]):
        x = ds.isel(system=i)
        labels = [x[name].item() for name in ("system", "hardware", "engine")]
        sizes = [f"{float(x[name]):g}" for name in ("chips", "tp", "ep", "concurrency", "isl", "osl")]
        times = [_ms(float(x["ttft"])), _ms(float(x["value"])) if x["metric"].item() == "tpot" else "-"]
        rate = float(x["tps_per_chip"]) if x["metric"].item() != "mixed" else float(x["value"])
        lines.append([*labels, *sizes, *times, "-" if math.isnan(rate) else f"{rate:,.1f}"])
    heads = ["system", "chip", "engine", "chips", "tp", "ep", "users", "isl", "osl", "TTFT ms", "TPOT ms", "tok/s/chip"]
    echo(table(heads, lines))
    if not quiet:
        for name, why in zip(ds["left_aside"].values, ds["left_aside_why"].values, strict=True):
            echo(f"left aside: {name}: {why}")


def _ms(seconds):
    return "-" if math.isnan(seconds) else f"{1e3 * seconds:,.2f}"
