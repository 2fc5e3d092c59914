"""Template of a catalog with one chip: what a row must give, then what it may."""

import json

from ..catalog import reader
from ..schemas import catalog
from ..specs.fields import fields_of
from ..specs.records import RECORDS
from ..units import expected
from .lines import head, joined, line

NAME = "MyChip"
OPEN = "?"  # of a number that is to be filled in, with its unit


def text(name, use):
    """A row of the hardware called `name`, whose numbers are to be filled in; `use`: the command that reads it."""
    cls = RECORDS["hardware"]
    fields, texts = fields_of(cls), catalog.texts("hardware", cls)
    needed = catalog.required(fields)
    said = (f'A chip of one\'s own: fill in what says "{OPEN}", and the source; then {use}',)
    said += ('Numbers are in SI units, or text with a unit: "3.35 TB/s", "80 GiB", "0.65 us".',)
    row = [line("source", "", texts["source"]["description"])]
    row += [line(key, f"{OPEN} {fields[key]['units']}".removesuffix(" 1"), meaning(fields[key])) for key in needed]
    more = [
        line("base", next(iter(reader.load()["hardware"])), texts["base"]["description"], off=True),
        line("curve", reader.USUAL_CURVE, texts["curve"]["description"], off=True),
        line("kind", "published", f"{texts['kind']['description']}: {', '.join(texts['kind']['enum'])}", off=True),
        line("unverified", [], texts["unverified"]["description"], off=True),
    ]
    more += [optional(key, meta) for key, meta in fields.items() if key not in needed]
    sources = [f"# [hardware.{_key(name)}.sources]", f'# {needed[0]} = {{ kind = "measured", text = "..." }}']
    return joined(
        *head("catalog", *said),
        "",
        f"[hardware.{_key(name)}]",
        *row,
        "",
        "# What may be left out, with what it is then.",
        *more,
        "",
        f"# {texts['sources']['description']}",
        *sources,
    )


def meaning(meta):
    """Meaning of a field, which numbers are good, and their unit."""
    return f"{meta['doc']}; {expected(meta)}"


def optional(key, meta):
    """The line of a field that may be left out: its default, or the field that it is like."""
    if "like" in meta:
        return line(key, OPEN, f"as {meta['like']} where it is left out; {meaning(meta)}", off=True)
    return line(key, meta["default"], meaning(meta), off=True)


def _key(name):
    return name if name.replace("-", "").replace("_", "").isalnum() and name.isascii() else json.dumps(name)
