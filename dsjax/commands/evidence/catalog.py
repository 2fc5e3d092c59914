"""`dsjax catalog`: the numbers behind a name, and their source."""

import json
import shlex

import click

from ...errors import CATALOGS, InputError
from .. import completion, output, steps
from ..common import OUTPUT_OPTIONS
from ..help import command
from ..output import echo
from ..tables import records, table
from . import catalog_tables


@command()
@click.argument("record", required=False, metavar="[CATALOG]", shell_complete=completion.listed(*CATALOGS.values()))
@click.argument("words", nargs=-1, metavar="[WORD]...")
@click.option("--sources", "whole", is_flag=True, help="Every number of the rows, with its kind and source.")
@click.option("--fields", is_flag=True, help="What the fields of the catalog mean, and their units.")
@click.option("--catalog", "catalogs", multiple=True, metavar="FILE.toml", help="Rows of your own, over dsjax's.")
@OUTPUT_OPTIONS
def catalog(record, words, whole, fields, catalogs, form, quiet):
    """Rows of hardware, nics, models, precisions, engines, curves.

    A catalog is a table, one line a row, in units that people use; --sources or -v show every number of its rows.
    WORDs keep the rows that have all of them in their name, vendor, curve or source, or the row that is called so.
    Every row has a source, every number a kind: published, measured, fitted, derived, assumed, or unverified: nobody
    has checked it against a good source. A source is shown where it is not the row's own (", as in the line above).

    \b
    dsjax catalog
    dsjax catalog hardware
    dsjax catalog hardware amd                the rows of a vendor, of a family of kernels (blackwell), of a name
    dsjax catalog hardware H20 --sources
    dsjax catalog models Kimi-K2 -v
    dsjax catalog hardware --fields
    dsjax catalog hardware --format csv
    """
    from ...catalog import frame, reader

    record = None if record is None else frame.record_of(record)
    if fields:
        _show_fields(record, form)
        return
    rows, more = _rows([record] if record else reader.KINDS, words, catalogs)
    if form != "table":
        records([_flat(row, form) for row in rows], form)
    elif record is None:
        columns = ["catalog", "row", "of", "source"]
        echo(table(columns, [[row[name] for name in columns] for row in rows]))
        if not quiet:
            steps.say("dsjax catalog hardware")
    elif whole or output.verbose():
        for row in rows:
            echo(f"{row['row']}  ({row['of']}: {row['source']})")
            shown, left_out = _fields(row)
            echo(table(["field", "value", "kind", "source"], shown))
            echo(f"  none or unknown: {left_out}\n" if left_out else "")
    else:
        catalog_tables.show(record, rows, reader.load(reader.RECORDS, *reader.users(catalogs)), quiet)
    if more and form == "table" and not quiet:
        echo(f"  more rows with {' '.join(words)}: {', '.join(more)}")
    if record and form == "table" and not (whole or output.verbose() or quiet):
        own = [word for path in catalogs for word in ("--catalog", path)]
        steps.say(shlex.join(["dsjax", "catalog", CATALOGS[record], rows[0]["row"], "--sources", *own]))


def _rows(kinds, words, catalogs):
    """(rows of the catalogs and of the studies that have all the words, names of those left for a row called so).

    `of` a row: whose it is. A row that is called what the words are, in any case, stands without those that have them
    too: Kimi-K2 without Kimi-K2.5.
    """
    from ... import studies
    from ...catalog import reader

    rows, own = [], reader.users(catalogs)
    for origin, study in [("dsjax", None), *((name, studies.get(name)) for name in studies.names())]:
        added = [(study.tables, study.path.name)] if study else own
        loaded = reader.load(study.records if study else reader.RECORDS, *added)
        for kind in kinds:
            for name, row in loaded[kind].items():
                file = next((file for tables, file in reversed(added) if name in tables.get(kind, {})), None)
                if study is None or file:
                    of = origin if study or file is None else file
                    rows.append({"catalog": kind, "row": name, "of": of, **row})
    texts = [" ".join(str(row.get(key, "")) for key in ("row", "vendor", "curve", "source")).lower() for row in rows]
    found = [row for row, text in zip(rows, texts, strict=True) if all(word.lower() in text for word in words)]
    if words and not found:
        raise InputError(f"catalog: no row with {' '.join(words)!r}; expected words of a row's name, vendor or source")
    named = [row for row in found if row["row"].lower() == " ".join(words).lower()]
    return named or found, list(dict.fromkeys(row["row"] for row in found if row not in named)) if named else []


def _show_fields(record, form):
    """Meaning, unit and default of the fields of a record, or of all."""
    from ...catalog import frame, reader

    lines = [
        {
            "catalog": CATALOGS[kind],
            "field": field,
            "unit": meta["units"],
            "meaning": meta["doc"],
            "left out": _absent(meta),
        }
        for kind in ([record] if record else reader.KINDS)
        for field, meta in frame.fields(kind).items()
    ]
    if form != "table":
        records(lines, form)
        return
    columns = [name for name in lines[0] if record is None or name != "catalog"]
    echo(table(columns, [[line[name] for name in columns] for line in lines]))


def _absent(meta):
    """What a row means that leaves the field out."""
    if "like" in meta:
        return f"as {meta['like']}"
    if "default" not in meta:
        return "only with a base"
    return "unknown" if not meta.get("lent", True) else f"{meta['default']:g}"


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
