"""`dsjax count`: parameters, FLOPs, bytes of one forward pass."""

import shlex
import sys

import click

from .. import completion, steps
from ..common import OUTPUT_OPTIONS
from ..help import command
from ..output import echo
from ..tables import records, rows_over, table

# column -> (heading, divisor, format)
_COLUMNS = {
    "parameters": ("M param.", 1e6, ",.2f"),
    "flops": ("GFLOP", 1e9, ",.3f"),
    "weight_bytes": ("weights MB", 1e6, ",.2f"),
    "activation_bytes": ("activ. MB", 1e6, ",.2f"),
    "kv_bytes": ("KV MB", 1e6, ",.2f"),
    "communication_bytes": ("sent MB", 1e6, ",.2f"),
}


@command()
@click.argument("model", default="DeepSeek-V3", shell_complete=completion.rows("model"))
@click.option("--phase", default="decode", show_default=True, help="decode or prefill.")
@click.option("--batch", default="1", show_default=True, help="Sequences in the instance: a grid's `concurrency`.")
@click.option(
    "--context", default="4096", show_default=True, help="Tokens in the KV cache (decode), of a prompt (prefill)."
)
@click.option("--precision", help="Row of the precisions (default: that of the checkpoint).")
@click.option("--tp", default="1", show_default=True, help="Chips that share attention and dense layers.")
@click.option("--ep", help="Cards that share the experts (default: as few as tp and MoE TP allow).")
@click.option("--moe-tp", default="1", show_default=True, help="Chips that share one expert: a card.")
@click.option("--catalog", "catalogs", multiple=True, metavar="FILE.toml", help="Rows of your own, over dsjax's.")
@click.option(
    "--against-published", is_flag=True, help="Instead, the figures of a published formula chapter beside their counts."
)
@OUTPUT_OPTIONS
def count(model, phase, batch, context, precision, tp, ep, moe_tp, catalogs, against_published, form, quiet):
    """Parameters, FLOPs, bytes moved and sent of one forward pass.

    Also per layer and in all. MODEL is a row of the models (default: DeepSeek-V3) or the path of a Hugging Face
    config.json.

    \b
    dsjax count DeepSeek-V3
    dsjax count --batch 64 --tp 8 --ep 64 --precision fp8
    dsjax count --phase prefill --context 8192 --format csv > operators.csv
    dsjax count --against-published
    """
    from ...analysis import count
    from ...reproduction import formula_chapter

    if against_published:
        rows = formula_chapter.against_published(model)
        _show_published(rows, form, quiet)
        sys.exit(0 if all(row["agrees"] or row["why"] for row in rows) else 1)
    options = {"phase": phase, "batch": batch, "context": context, "precision": precision}
    _show(count.count(model, **options, tp=tp, ep=ep, moe_tp=moe_tp, catalogs=catalogs), form, quiet)
    if form == "table" and not quiet:
        own = [word for path in catalogs for word in ("--catalog", path)]
        steps.say(shlex.join(["dsjax", "best", "--model", model, *own]))


def _show(ds, form, quiet):
    """A count as a table with its totals, as CSV with a line per operator, or as JSON with all of it."""
    operators = rows_over(ds, "operator")
    if form == "table":
        _table(ds, operators, quiet)
        return
    scalars = {name: x.item() for name, x in {**ds.coords, **ds.data_vars}.items() if not x.dims}
    records(operators, form, scalars | {"layers": rows_over(ds, "layer")})


def _show_published(rows, form, quiet):
    """Published figures beside their counts, and why they differ."""
    if form != "table":
        records(rows, form)
        return
    reasons = list(dict.fromkeys(row["why"] for row in rows if row["why"]))
    lines = []
    for row in rows:
        number = f" = {_number(row['published'])}" if row["formula"] and row["published"] else ""
        at = f"{row['phase']} {row['batch']} x {row['context']}"
        at += "".join(f", {name} {row[name]}" for name in ("tp", "ep") if row[name] > 1)
        verdict = "ok" if row["agrees"] else f"[{reasons.index(row['why']) + 1}]"
        counted, error = f"{_number(row['computed'])} {row['units'].removeprefix('1')}", f"{100 * row['error']:+.2f}"
        lines.append([str(row["article"]), row["figure"], at, row["printed"] + number, counted, error, verdict])
    echo(table(["article", "figure", "at", "published", "count", "diff. %", ""], lines))
    if not quiet:
        for i, reason in enumerate(reasons, start=1):
            echo(f"  [{i}] {reason}")
        agree = sum(row["agrees"] for row in rows)
        echo(f"{agree} of {len(rows)} published figures agree with the count; every other one has its reason above")


def _table(ds, operators, quiet):
    point = {
        name: ds[name].item() for name in ("phase", "batch_total", "context", "precision", "tp", "dp", "moe_tp", "ep")
    }
    if not quiet:
        chips = ds["chips"].item()
        echo(
            f"{ds['model'].item()}, one {{phase}} pass of {{batch_total:,}} x {{context:,}} tokens in {{precision}} on "
            f"{chips:,} chip{'' if chips == 1 else 's'} (tp {{tp}} x dp {{dp}} = moe_tp {{moe_tp}} x ep {{ep}}); "
            "all chips together, all layers".format(**point)
        )
    lines = [
        [row["operator"], str(row["layers"]), row["shape"], *_cells(row), "x tp" if row["replicated"] else ""]
        for row in operators
        if any(row[name] for name in _COLUMNS)
    ]
    for row in rows_over(ds, "layer"):
        cells = _cells({name: row[f"layer_{name}"] for name in _COLUMNS})
        lines.append([f"one {row['layer']} layer", "", "", *cells, ""])
    lines.append(["total", "", "", *_cells({name: ds[f"total_{name}"].item() for name in _COLUMNS}), ""])
    echo(table(["operator", "layers", "on one chip", *(x[0] for x in _COLUMNS.values()), ""], lines))
    if quiet:
        return
    v = {name: _number(x.item()) for name, x in ds.data_vars.items() if not x.dims}
    replicated = [row["operator"] for row in operators if row["replicated"] and row["flops"]]
    grouped = any(row["block"] == "gqa" for row in operators)
    kind = ", causal," if point["phase"] == "prefill" else "" if grouped else ", absorbed,"
    module = f"; an MTP module beside them {v['mtp_parameters']}" if ds["mtp_parameters"].item() else ""
    echo(f"  parameters {v['total_parameters']}{module}")
    active, embedded = v["active_parameters_without_embedding"], v["total_active_parameters"]
    echo(f"  active per token {active}, with the embedding {embedded}")
    echo(f"  FLOPs {v['total_flops']} = linear {v['linear_flops']} + attention{kind} {v['attention_flops']}")
    echo(f"    attention with keys and values of every head, no causal half: {v['attention_flops_unfolded']}")
    echo(f"    tp multiplies {', '.join([*replicated, 'norms'])}: {v['replicated_flops']} FLOPs are repeats")
    echo(f"  bytes moved {v['bytes_moved']}, sent {v['total_communication_bytes']}")
    copies = "split over tp chips, as far as there are heads of keys" if grouped else "a copy on each of tp chips"
    echo(f"  bytes stored: weights {v['total_stored_bytes']}; KV cache {v['kv_cache_bytes']}, {copies}")
    own = [ds[name].item() for name in ("stored_bytes_per_chip", "kv_cache_bytes_per_chip")]
    sizes = [f"{_number(n)} ({n / 2**30:,.2f} GiB)" for n in own]
    echo(f"    on one chip {' and '.join(sizes)}")
    if ds["state_bytes"].item():
        echo(f"    states of linear layers {v['state_bytes']}, whatever the context, split over tp chips")
    if left_out := ds.attrs.get("left_out"):
        echo(f"  {left_out}")
    held = ds["checkpoint_bytes"].item()
    echo(f"  {ds.attrs['checkpoint']}: {_number(held)} B = {held / 2**30:,.2f} GiB as it is")


def _cells(row):
    return [format(row[name] / divisor, form) if row[name] else "" for name, (_, divisor, form) in _COLUMNS.items()]


def _number(value):
    return f"{value:,.0f}" if value == int(value) else f"{value:,.6g}"
