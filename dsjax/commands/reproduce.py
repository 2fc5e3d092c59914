"""Commands that show what dsjax knows: reproduce, count, catalog."""

import sys

import click

from .common import OUTPUT_OPTIONS, compilation_cache, progress


@click.command()
@click.argument("study", required=False)
@click.option(
    "--corrected", is_flag=True, help="Instead, every row with the study's slips corrected, and what each contributes."
)
@OUTPUT_OPTIONS
def reproduce(study, corrected, form, quiet):
    """Published results against computed ones; exit code 1 if one is outside its tolerance.

    Row by row for one STUDY; one line each for all of them.

    \b
    dsjax reproduce
    dsjax reproduce decode_gpu_2025
    dsjax reproduce sg2260e --format csv > rows.csv
    dsjax reproduce decode_gpu_2025 --corrected
    """
    if corrected:
        from ..reproduction import corrections

        with progress("correcting", quiet), compilation_cache():
            found = corrections.corrected(*([] if study is None else [study]))
        corrections.show(found, form, quiet)
        return
    from .. import studies
    from ..reproduction import reproduce
    from . import ranked

    names = reproduce.studies_of_results() if study is None else [studies.get(study).name]
    with progress(f"reproducing {', '.join(names)}", quiet), compilation_cache():
        results = [reproduce.reproduce(name) for name in names]
    if study is None:
        ranked.summaries(results, form)
    else:
        ranked.reproduction(results[0], form, quiet)
    sys.exit(0 if all(map(reproduce.passed, results)) else 1)


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


@click.command()
@click.argument("record", required=False)
@OUTPUT_OPTIONS
def catalog(record, form, quiet):
    """Rows of the catalogs (hardware, nics, models, precisions, curves) in SI units, with their source.

    A field that nobody has checked against a good source is marked as unverified.

    \b
    dsjax catalog
    dsjax catalog hardware --format csv
    """
    from .. import studies
    from ..catalog import reader
    from ..errors import unknown
    from . import ranked
    from .tables import table

    names = {"nics": "nic", "models": "model", "precisions": "precision", "curves": "curve"}
    record = names.get(record, record)
    if record is not None and record not in reader.KINDS:
        raise unknown("catalog", "catalog", record, ["hardware", *names])
    rows = []
    for origin, study in [("dsjax", None), *((name, studies.get(name)) for name in studies.names())]:
        loaded = reader.load(*((study.records, (study.tables, study.path.name)) if study else ()))
        for kind in [record] if record else reader.KINDS:
            for name, row in loaded[kind].items():
                if study is None or name in study.tables.get(kind, {}):
                    rows.append({"catalog": kind, "row": name, "of": origin, **row})
    if form != "table":
        ranked.records([_flat(row) for row in rows], form)
    elif record is None:
        click.echo(
            table(["catalog", "row", "of", "source"], [[r["catalog"], r["row"], r["of"], r["source"]] for r in rows])
        )
    else:
        for row in rows:
            click.echo(f"{row['row']}  ({row['of']}: {row['source']})")
            fields, left_out = _fields(row)
            click.echo(
                table(["field", "value", ""], fields) + f"\n  none or unknown: {left_out}" * bool(left_out) + "\n"
            )


def _flat(row):
    """A row with its lists as text."""
    texts = {key: " ".join(x) for key, x in row.items() if isinstance(x, list)}
    stored = {"quantisation": "{method}, {bits} bit".format(**row["quantisation"])} if "quantisation" in row else {}
    return row | texts | stored


def _fields(row):
    """([field, value, what is to be said of it] of a row, the fields that it leaves out as a text)."""
    from ..specs.fields import fields_of
    from ..specs.records import RECORDS

    doubted = row.get("unverified", ())
    known = fields_of(RECORDS[row["catalog"]]) if row["catalog"] in RECORDS else {}
    names = [k for k in row if k not in ("catalog", "row", "of", "source", "unverified", "quantisation")]
    left_out = [k for k in names if row[k] == 0 and "default" in known.get(k, {}) and k not in doubted]
    shown = _flat({k: row[k] for k in names if k not in left_out})
    return [[k, x, "unverified" if k in doubted else ""] for k, x in shown.items()], ", ".join(left_out)
