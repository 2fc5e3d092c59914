"""`dsjax plan`: what to run on some chips, asked and answered in a user's words."""

import sys

import click

from .. import completion
from ..common import LENGTHS, OUTPUT_OPTIONS, PERCENTILE, GridRequest, names_of, options_of
from ..help import command
from ..progress import progress

CHANGES = options_of(
    click.option("--axis", "axes", multiple=True, metavar="NAME=VALUES", help="Values to look at: tp=4,8 or mtp=0,1."),
    click.option("--fix", "fixed", multiple=True, metavar="NAME=VALUE", help="One value: pipeline=naive, isl_cv=0."),
    click.option("--set", "settings", multiple=True, metavar="ROW=NUMBER", help="Change a catalog number."),
    click.option("--catalog", "catalogs", multiple=True, metavar="FILE.toml", help="Rows of your own, over dsjax's."),
)


@command()
@click.option(
    "--model",
    default="DeepSeek-V3",
    show_default=True,
    metavar="MODEL",
    help="A row, or a config.json.",
    shell_complete=completion.models,
)
@click.option(
    "--hardware",
    default="H20",
    show_default=True,
    metavar="CHIPS",
    help="One, several (H20,H200), or any.",
    shell_complete=completion.several("hardware", "any"),
)
@click.option("--chips", metavar="N", help="Chips that there are.")
@click.option("--requests-per-s", metavar="R", help="Demand, at random: then the fewest chips that serve it.")
@click.option("--concurrency", metavar="N", help="Users, who ask again and again: then the quickest answers.")
@LENGTHS
@click.option("--tps-per-user", metavar="RATE", help="Least tokens per second of a user.")
@click.option("--tpot", metavar="TIME", help="Or: longest time per output token, 40ms.")
@click.option("--ttft", metavar="TIME", help="Longest time to the first token, 2s.")
@PERCENTILE
@click.option(
    "--engine",
    default="generic",
    show_default=True,
    metavar="ENGINE",
    help="Software that serves.",
    shell_complete=completion.rows("engine"),
)
@click.option(
    "--nic",
    default="CX7",
    show_default=True,
    metavar="NIC",
    help="Network between scale-up domains.",
    shell_complete=completion.rows("nic"),
)
@click.option(
    "--precision",
    metavar="NAMES",
    help="Precisions; default: of the checkpoint's own weights.",
    shell_complete=completion.several("precision"),
)
@click.option("--disaggregated/--no-disaggregated", default=True, help="Two pools, too.")
@options_of(CHANGES, OUTPUT_OPTIONS)
def plan(
    model,
    hardware,
    chips,
    engine,
    nic,
    precision,
    disaggregated,
    percentile,
    axes,
    fixed,
    settings,
    catalogs,
    form,
    quiet,
    **asked,
):
    """What to run on so many chips: the split, what it serves.

    The axes follow from the chips: every size of an instance that divides them, every tp, moe_tp, ep, dp and sp that
    fits, pipelines of the engine, precisions of the checkpoint, users up to what the memory holds. As many users as
    keep the limits for 90 % of the requests (--percentile), of --requests-per-s the fewest chips, of --concurrency the
    quickest answers.

    \b
    dsjax plan --model DeepSeek-R1 --hardware H20 --chips 16 --isl 4096 --osl 1024 --tps-per-user 25
    dsjax plan --model DeepSeek-R1 --hardware H20,H200 --chips 16 --isl 4096 --osl 1024 --tpot 40ms --ttft 2s
    dsjax plan --model DeepSeek-R1 --hardware H200 --requests-per-s 3 --isl 4096 --osl 1024 --tps-per-user 25
    """
    from ...analysis.plan import plan as of
    from . import plan_words

    changes = GridRequest(axes=axes, fixed=fixed, settings=settings, catalogs=catalogs).changes()
    del changes["limits"]  # those of a plan are options of their own
    with progress("looking for what to run", quiet):
        ds = of.plan(
            model,
            hardware,
            chips,
            engine=engine,
            disaggregated=disaggregated,
            nic=nic,
            precision=names_of(precision),
            percentile=percentile,
            **asked,
            **changes,
        )
    plan_words.show(ds, form, quiet)
    sys.exit(0 if ds.sizes["rank"] else 1)
