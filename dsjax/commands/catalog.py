"""`dsjax catalog`: the numbers behind a name, and their source."""

import click

from .common import OUTPUT_OPTIONS


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
