"""Rows of a catalog as a table: a pandas DataFrame, whose columns are the fields of the record."""

from typing import TYPE_CHECKING

from ..arguments import typed
from ..errors import CATALOGS, unknown
from ..formulas import efficiency
from ..specs.fields import fields_of
from ..specs.records import RECORDS
from ..types import Path
from . import measured, reader, sources

if TYPE_CHECKING:
    import pandas

TEXTS = ("vendor", "curve", "form", "kind", "source")  # of a row, beside its numbers


def record_of(catalog):
    """The record whose rows a catalog has: "nic" of "nics"."""
    record = {name: kind for kind, name in CATALOGS.items()}.get(catalog, catalog)
    if record not in reader.KINDS:
        raise unknown("catalog", "catalog", catalog, CATALOGS.values())
    return record


def fields(record):
    """{field: metadata} of a record; of a curve, those of every form."""
    if record in RECORDS:
        return fields_of(RECORDS[record])
    return {field: meta for form in efficiency.FORMS.values() for field, meta in fields_of(form.record).items()}


@typed
def rows(catalog: str, catalogs: Path | list[Path] | tuple[Path, ...] = ()) -> "pandas.DataFrame":
    """Rows of a catalog as a DataFrame, one line a row, indexed by its name.

    Numbers are SI; NaN where a price or a power is unknown, or a curve of this form has no such knot. Texts follow:
    `vendor`, `curve`, `source`, `kind` (of the numbers that `source` is of); of hardware `kernels`, whether those of
    its curve are fitted to it, to a sibling or assumed; `unverified`, fields that nobody has checked against a good
    source. `attrs["units"]` and `attrs["meanings"]` are {column: text}.

    Args:
        catalog: "hardware", "nics", "models", "precisions", "engines" or "curves".
        catalogs: paths of catalog files of your own, whose rows come too, as those in ~/.config/dsjax do.

    Raises:
        InputError: there is no such catalog, or a file of `catalogs` is none.
    """
    import pandas

    record = record_of(catalog)
    loaded, known = reader.load(RECORDS, *reader.users(catalogs)), fields(record)
    lines = {}
    for name, row in loaded[record].items():
        line = {
            field: row[field] if row[field] or meta.get("lent", True) else None
            for field, meta in known.items()
            if field in row
        }
        if record == "hardware":
            line["kernels"] = measured.of_curve(loaded["curve"].get(row["curve"], {}), row, name)
        line |= {key: row[key] for key in TEXTS if key in row}
        lines[name] = line | {"unverified": " ".join(sources.of_kind(row, "unverified"))}
    frame = pandas.DataFrame.from_dict(lines, orient="index").rename_axis(record)
    columns = [field for field in known if field in frame]
    frame = frame[[*columns, *(name for name in frame if name not in known)]].astype(dict.fromkeys(columns, float))
    frame = frame.fillna({key: "" for key in TEXTS if key in frame})
    frame.attrs["units"] = {field: known[field]["units"] for field in columns}
    frame.attrs["meanings"] = {field: known[field]["doc"] for field in columns}
    return frame
