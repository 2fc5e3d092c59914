"""`dsjax catalog`: the numbers behind a name, and their source."""

import json

import click

from ...errors import CATALOGS, unknown
from ..common import OUTPUT_OPTIONS
from ..tables import records, table


@click.command()
@click.argument("record", required=False)
@OUTPUT_OPTIONS
def catalog(record, form, quiet):
    """Rows of the catalogs: hardware, nics, models, precisions, engines, curves, in SI units.

    Every row has a source, every number a kind: published, measured, fitted, derived, assumed, or unverified: nobody
    has checked it against a good source. A source is shown where it is not the row's own (", as in the line above).

    \b
    dsjax catalog
    dsjax catalog hardware --format csv
    """
    from ... import studies
    from ...catalog import reader

    record = {name: kind for kind, name in CATALOGS.items()}.get(record, record)
    if record is not None and record not in reader.KINDS:
        raise unknown("catalog", "catalog", record, CATALOGS.values())
    rows = []
    for origin, study in [("dsjax", None), *((name, studies.get(name)) for name in studies.names())]:
        loaded = reader.load(*((study.records, (study.tables, study.path.name)) if study else ()))
        for kind in [record] if record else reader.KINDS:
            for name, row in loaded[kind].items():
                if study is None or name in study.tables.get(kind, {}):
                    rows.append({"catalog": kind, "row": name, "of": origin, **row})
    if form != "table":
        records([_flat(row, form) for row in rows], form)
    elif record is None:
        columns = ["catalog", "row", "of", "source"]
        click.echo(table(columns, [[row[name] for name in columns] for row in rows]))
    else:
        for row in rows:
            click.echo(f"{row['row']}  ({row['of']}: {row['source']})")
            fields, left_out = _fields(row)
            click.echo(table(["field", "value", "kind", "source"], fields))
            click.echo(f"  none or unknown: {left_out}\n" if left_out else "")


def _flat(row, form):
    """A row with its lists as texts, and the kind and source of every number: as an object, in CSV its JSON."""
    from ...catalog import reader, sources

    entries = {field: sources.of_field(row, field) for field in reader.numbers(row)}
    texts = {key: " ".join(x) for key, x in row.items() if isinstance(x, list)}
    if "curves" in row:
        texts["curves"] = " ".join(f"{family}:{own}" for family, own in row["curves"].items())
    if "quantisation" in row:
        texts["quantisation"] = "{method}, {bits} bit".format(**row["quantisation"])
    if doubted := sources.of_kind(row, "unverified"):
        texts["unverified"] = " ".join(doubted)
    return row | texts | {"sources": entries if form == "json" else json.dumps(entries)}


def _fields(row):
    """([field, value, kind, source where it is not the row's] of a row, the fields that it leaves out as a text)."""
    from ...catalog import reader, sources
    from ...specs.fields import fields_of
    from ...specs.records import RECORDS

    known = fields_of(RECORDS[row["catalog"]]) if row["catalog"] in RECORDS else {}
    shown, left_out, above = [], [], None
    for field, value in reader.numbers(row).items():
        entry = sources.of_field(row, field)
        source = sources.said(entry) * (sources.said(entry) != row["source"])
        if value == 0 and "default" in known.get(field, {}) and entry["kind"] != "unverified":
            left_out.append(
                f"{field} ({source})" if entry["kind"] == sources.UNKNOWN and source != sources.LEFT_OUT else field
            )
        else:
            shown.append([field, value, entry["kind"], '"' if source and source == above else source])
            above = source
    texts = [[key, " ".join(x), "", ""] for key, x in row.items() if isinstance(x, list)]
    texts += [["kernels", f"{family}: {own}", "", ""] for family, own in row.get("curves", {}).items()]
    texts += [[key, row[key], "", ""] for key in ("form", "curve") if key in row]
    return shown + texts, ", ".join(left_out)
