"""`dsjax count`."""

import sys

import click

from .common import OUTPUT_OPTIONS


@click.command()
@click.argument("model", default="DeepSeek-V3")
@click.option("--phase", default="decode", show_default=True, help="decode or prefill.")
@click.option("--batch", default="1", show_default=True, help="Sequences in the whole instance.")
@click.option(
    "--context", default="4096", show_default=True, help="Tokens in the KV cache (decode), of a prompt (prefill)."
)
@click.option("--precision", default="bf16", show_default=True, help="Row of the precisions.")
@click.option("--tp", default="1", show_default=True, help="Chips that share attention and dense layers.")
@click.option("--ep", help="Cards that share the experts (default: as few as tp and MoE TP allow).")
@click.option("--moe-tp", default="1", show_default=True, help="Chips that share one expert: a card.")
@click.option("--catalog", "catalogs", multiple=True, metavar="FILE.toml", help="Rows of your own, over dsjax's.")
@click.option(
    "--against-published", is_flag=True, help="Instead, the figures of a published formula chapter beside their counts."
)
@OUTPUT_OPTIONS
def count(model, phase, batch, context, precision, tp, ep, moe_tp, catalogs, against_published, form, quiet):
    """Parameters, FLOPs, bytes moved and bytes sent of one forward pass of MODEL, per operator, layer and in all.

    MODEL is a row of the models (default: DeepSeek-V3) or the path of a Hugging Face config.json.

    \b
    dsjax count DeepSeek-V3
    dsjax count --batch 64 --tp 8 --ep 64 --precision fp8
    dsjax count --phase prefill --context 8192 --format csv > operators.csv
    dsjax count --against-published
    """
    from ..analysis import count
    from ..reproduction import formula_chapter
    from . import count as listing

    if against_published:
        rows = formula_chapter.against_published(model)
        listing.against_published(rows, form, quiet)
        sys.exit(0 if all(row["agrees"] or row["why"] for row in rows) else 1)
    options = {"phase": phase, "batch": batch, "context": context, "precision": precision}
    listing.counts(count.count(model, **options, tp=tp, ep=ep, moe_tp=moe_tp, catalogs=catalogs), form, quiet)
