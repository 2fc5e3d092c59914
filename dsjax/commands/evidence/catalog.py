"""`dsjax catalog`: the numbers behind a name, and their source."""

import json
import shlex

import click

from ...errors import CATALOGS, InputError
from ...formats import rounded
from .. import completion, steps
from ..common import OUTPUT_OPTIONS
from ..help import command
from ..output import echo
from ..tables import marked, records, table

# Columns of a catalog's table: heading, field, factor; a rate of 0 is one that the chip lacks.
_CHIPS = (
    *((rate, f"{rate}_flops_per_s", 1e-12) for rate in ("bf16", "fp8", "int8", "fp4")),
    ("HBM TB/s", "hbm_bytes_per_s", 1e-12),
    ("HBM GB", "hbm_bytes", 1e-9),
    ("link GB/s", "scale_up_bytes_per_s", 1e-9),
    ("chips", "scale_up_domain", 1.0),
    ("W", "watts", 1.0),
    ("USD/h", "usd_per_hour", 1.0),
)
_NICS = (
    ("GB/s", "scale_out_bytes_per_s", 1e-9),
    ("reached", "scale_out_utilisation", 1.0),
    ("step us", "scale_out_step_s", 1e6),
    ("by dispatch", "exchange_utilisation", 1.0),
    ("start us", "exchange_start_s", 1e6),
)
_COLUMNS = {"hardware": _CHIPS, "nic": _NICS}
_MEANING = {
    "hardware": (
        "bf16 to fp4: dense TFLOP/s; GB: what a process can have; link: in a scale-up domain of so many chips, one way",
        "kernels: the curve, and whether it is fitted to the chip, to a sibling, or assumed; ? nobody has verified it",
    ),
    "nic": ("per chip, one way; reached: share of it in transfers; ? nobody has verified it",),
}


@command()
@click.argument("record", required=False, metavar="[CATALOG]", shell_complete=completion.listed(*CATALOGS.values()))
@click.argument("words", nargs=-1, metavar="[WORD]...")
@click.option("--sources", "whole", is_flag=True, help="Every number of the rows, with its kind and source.")
@click.option("--fields", is_flag=True, help="What the fields of the catalog mean, and their units.")
@click.option("--catalog", "catalogs", multiple=True, metavar="FILE.toml", help="Rows of your own, over dsjax's.")
@OUTPUT_OPTIONS
def catalog(record, words, whole, fields, catalogs, form, quiet):
    """Rows of hardware, nics, models, precisions, engines, curves.

    Hardware and nics are a table, in units that people use; --sources, and the other catalogs, show every number.
    WORDs keep the rows that have all of them in their name, vendor, curve or source. Every row has a source, every
    number a kind: published, measured, fitted, derived, assumed, or unverified: nobody has checked it against a good
    source. A source is shown where it is not the row's own (", as in the line above).

    \b
    dsjax catalog
    dsjax catalog hardware
    dsjax catalog hardware amd                the rows of a vendor, of a family of kernels (blackwell), of a name
    dsjax catalog hardware H20 --sources
    dsjax catalog hardware --fields
    dsjax catalog hardware --format csv
    """
    from ...catalog import frame, reader

    record = None if record is None else frame.record_of(record)
    if fields:
        _show_fields(record, form)
        return
    rows = _rows([record] if record else reader.KINDS, words, catalogs)
    if form != "table":
        records([_flat(row, form) for row in rows], form)
    elif record is None:
        columns = ["catalog", "row", "of", "source"]
        echo(table(columns, [[row[name] for name in columns] for row in rows]))
        if not quiet:
            steps.say("dsjax catalog hardware")
    elif record in _COLUMNS and not whole:
        _show_table(record, rows, catalogs, quiet)
    else:
        for row in rows:
            echo(f"{row['row']}  ({row['of']}: {row['source']})")
            shown, left_out = _fields(row)
            echo(table(["field", "value", "kind", "source"], shown))
            echo(f"  none or unknown: {left_out}\n" if left_out else "")


def _rows(kinds, words, catalogs):
    """Rows of the catalogs and of the studies that have all the words; `of`: whose they are."""
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
    return found


def _show_table(record, rows, catalogs, quiet):
    """One line a row: the figures that decide, in units that people use."""
    from ... import studies
    from ...catalog import measured, reader, sources

    loaded = reader.load(reader.RECORDS, *reader.users(catalogs))
    rows = [row for row in rows if row["of"] not in studies.names()]  # which lack fields, or are rows of dsjax too
    columns = {"": [row["row"] for row in rows]}
    if record == "hardware":
        columns["vendor"] = [row.get("vendor") or "-" for row in rows]
    for heading, field, factor in _COLUMNS[record]:
        texts = [rounded(factor * row[field]) if row[field] else "-" for row in rows]
        columns[heading] = marked(texts, [field in sources.of_kind(row, "unverified") for row in rows], "?")
    if record == "hardware":
        prices = {row["row"]: sources.price(row) for row in rows}
        usual = sources.most(prices.values())
        columns["USD/h"] = marked(columns["USD/h"], [price not in (usual, None) for price in prices.values()])
        columns["link"] = [_link(row) for row in rows]
        curves = loaded["curve"]
        columns["kernels"] = [
            f"{row['curve']} ({measured.of_curve(curves.get(row['curve'], {}), row, row['row'])})" for row in rows
        ]
    else:
        columns["source"] = [row["source"] for row in rows]
    at = list(columns).index
    least = [at(name) for name in ("kernels", "link", "link GB/s", "W", "int8", "vendor", "source") if name in columns]
    echo(table(list(columns), list(zip(*columns.values(), strict=True)), least=least))
    if quiet:
        return
    for line in _MEANING[record]:
        echo(f"  {line}")
    if record == "hardware" and usual:
        others = " / ".join(dict.fromkeys(text for text in prices.values() if text not in (usual, None)))
        echo(f"  USD/h: {usual}" + (f"; * other sources, not to be compared with it: {others}" if others else ""))
    own = [word for path in catalogs for word in ("--catalog", path)]
    steps.say(shlex.join(["dsjax", "catalog", CATALOGS[record], rows[0]["row"], "--sources", *own]))


def _link(row):
    """What joins the chips of a scale-up domain."""
    if row["scale_up_domain"] == 1:
        return "-"
    if row["scale_up_torus"]:
        return f"{row['scale_up_torus']:.0f}D torus"
    return "mesh" if row["scale_up_peer_bytes_per_s"] else "switch"


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
