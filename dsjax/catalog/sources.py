"""Where each number of a row comes from: a kind and a text, as the row and its bases say them.

The `source` of a row and its `kind` ("published" where it gives none) hold for every number that the row gives, but
for those that its table `sources` names; what an entry leaves out stays as it was:

    [hardware.Mine.sources]
    watts = { kind = "measured", text = "a meter, 2026-03-01" }
    "scale_up_step_s all_reduce_*" = "nccl-tests"                   # several; `*`: all that are given and begin so
    base = { kind = "assumed", text = "network as of H800" }        # all numbers taken from `base`

A number taken from another row keeps that row's kind and text. `on` of an entry of a curve names the hardware that was
measured, where that is not the row's (`measured`). `unverified = ["watts"]` is the kind of those fields.
"""

from typing import NamedTuple

from ..errors import InputError, unknown

KINDS = ("published", "measured", "fitted", "derived", "assumed", "unverified")
# No row writes these: of a number that was set, of optional fields left out, of a file older than kinds.
LEFT_OUT = "left out"
USER, UNKNOWN, NONE, UNSTATED = "set by the user", "unknown", "none", "unstated"
ON = "hardware that these numbers of a curve were measured on, where that is not the row's"  # of an entry
# Of a row as written.
KEYS = {
    "source": "where the numbers come from that `sources` does not name",
    "kind": "what kind of evidence that is",
    "sources": "of single fields: a text, or kind and text; `base`: of all that is taken from the base",
    "unverified": "fields that nobody has checked against a good source",
}


class _Stated(NamedTuple):
    """Entries of one row: of what it gives, of what it takes from its base, of the fields that it names."""

    own: dict
    base: dict
    named: dict


def resolved(chain, fields):
    """{"source", "kind", "sources": {field: entry}} of a row; `sources` lacks the fields of the row's source and kind.

    `chain`: (where, name, what it gives as written) of the row and its bases; `fields` {field: metadata} of the record.
    An entry is {"kind", "text"}, and "row" where the number is that of a base and the row does not name its source.
    """
    given = {field for *_, row in chain for field in row}
    stated = [_stated(where, row, fields, given) for where, _, row in chain]
    own, found = stated[0].own, {}
    for field, meta in fields.items():
        owner = next((i for i, (_, _, row) in enumerate(chain) if field in row), None)
        entry = _left_out(meta) if owner is None else stated[owner].own
        for of in reversed(stated[: (owner or 0) + 1]):
            entry = entry | (of.base if owner and of is not stated[owner] else {}) | of.named.get(field, {})
        if owner and field not in stated[0].named:
            entry = entry | {"row": chain[owner][1]}
        if entry != own:
            found[field] = entry
    return {"source": own["text"], "kind": own["kind"], "sources": found}


def of_field(row, field):
    """{"kind", "text"} of a number of a row, and "row", the base that it is taken from."""
    return row["sources"].get(field, {"kind": row["kind"], "text": row["source"]})


def said(entry):
    """The source of a number as a text."""
    return f"of {entry['row']}: {entry['text']}" if "row" in entry else entry["text"]


def of_kind(row, kind):
    """The fields of a row whose numbers are of a kind."""
    return sorted(f for f, x in row.items() if isinstance(x, int | float) and of_field(row, f)["kind"] == kind)


def price(row):
    """Source of the price of a chip: prices are alike where it is the same. None: the row has no price."""
    entry = of_field(row, "usd_per_hour")
    return (entry["kind"] if entry["kind"] == USER else said(entry)) if row.get("usd_per_hour") else None


def most(prices):
    """The source of most of the prices, the first of equally many; None where there is no price."""
    known = [text for text in prices if text is not None]
    return max(known, key=known.count, default=None)


def with_number(row, field, value, text):
    """The row with a number that the user set, by the option that `text` repeats."""
    return row | {field: value, "sources": row["sources"] | {field: {"kind": USER, "text": text}}}


def restored(row):
    """A row as a file has it; one older than kinds says which numbers are unverified, and nothing of the others."""
    doubted = {"kind": "unverified", "text": row["source"]}
    row = {"kind": UNSTATED, "sources": dict.fromkeys(row.get("unverified", ()), doubted)} | row
    for entry in ({"kind": row["kind"], "text": row["source"]}, *row["sources"].values()):
        if not all(isinstance(entry[key], str) for key in ("kind", "text")):
            raise ValueError(f"{entry}: no kind and text of a source")
    return {key: x for key, x in row.items() if key != "unverified"}


def _left_out(meta):
    """Entry of a field that neither a row nor its bases give."""
    if meta.get("default"):
        return {"kind": "assumed", "text": f"{LEFT_OUT}: the usual"}
    if "like" in meta:
        return {"kind": "derived", "text": f"{LEFT_OUT}: as {meta['like']}"}
    return {"kind": NONE if meta.get("lent", True) else UNKNOWN, "text": LEFT_OUT}


def _stated(where, row, fields, given):
    """What a row says of where its numbers come from, checked; `given`: fields that it or a base gives."""
    own = {"kind": "published" if "source" in row else "unverified", "text": row.get("source", "none given")}
    if not isinstance(own["text"], str) or not own["text"].strip():
        raise InputError(f"{where} source: {own['text']!r}; expected a text that names the source")
    if "kind" in row:
        own["kind"] = _kind(f"{where} kind", row["kind"])
    table, doubted = row.get("sources", {}), row.get("unverified", [])
    if not isinstance(table, dict):
        raise InputError(f"{where} sources: {table!r}; expected a table of fields")
    if not isinstance(doubted, list) or not all(isinstance(field, str) for field in doubted):
        raise InputError(f"{where} unverified: {doubted!r}; expected a list of fields")
    for field in doubted:
        if field not in fields:
            raise unknown(f"{where} unverified", "field", field, fields)
    base, named = {}, []
    for key, value in table.items():
        entry = _entry(f"{where} sources {key}", value)
        if key == "base":
            base = entry
        named += [(word, entry) for word in key.split() or [key] if key != "base"]
    found = {}
    for word, entry in sorted(named, key=lambda pair: ("*" not in pair[0], len(pair[0]))):  # the nearest name holds
        several = [field for field in fields if field == word or (word[-1:] == "*" and field.startswith(word[:-1]))]
        if not several:
            raise unknown(f"{where} sources", "field", word, [*fields, "base"])
        found |= {f: entry for f in several if f == word or f in given}
    return _Stated(own, base, found | {field: found.get(field, {}) | {"kind": "unverified"} for field in doubted})


def _entry(where, value):
    """{"kind", "text"}, or only one of the keys, of a value of `sources`."""
    entry = {"text": value} if isinstance(value, str) else value
    if not isinstance(entry, dict) or not entry or not entry.keys() <= {"kind", "text", "on"}:
        raise InputError(f"{where}: {value!r}; expected a text, or {{ kind, text }}")
    on = entry.get("on", [])
    if not isinstance(on, list) or not all(isinstance(name, str) for name in on):
        raise InputError(f"{where} on: {on!r}; expected a list of hardware")
    if "kind" in entry:
        _kind(f"{where} kind", entry["kind"])
    if not isinstance(entry.get("text", "-"), str) or not entry.get("text", "-").strip():
        raise InputError(f"{where}: {value!r}; expected a text that names the source")
    return entry


def _kind(where, value):
    if value not in KINDS:
        raise unknown(where, "kind", value, KINDS)
    return value
