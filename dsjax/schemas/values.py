"""Parts of a schema: numbers with a unit, names, lists, tables."""

import math

from ..units import pattern

DRAFT = "https://json-schema.org/draft/2020-12/schema"
TEXT = {"type": "string", "minLength": 1}


def number(meta, accepted=()):
    """A number in a domain, or text with a unit; `accepted`: the only ones that a study takes."""
    found = {"type": ["integer" if meta["integer"] else "number", "string"], "pattern": pattern(meta["units"])}
    if math.isfinite(meta["low"]):
        found["exclusiveMinimum" if meta["open_low"] else "minimum"] = meta["low"]
    if meta["high"] is not None:
        found["maximum"] = meta["high"]
    if meta.get("or_zero"):
        found = {"anyOf": [found, {"const": 0}]}
    if accepted:
        found = {"enum": [*accepted]}
    return described(meaning(meta), found | default(meta))


def meaning(meta):
    """Meaning of a field and its unit."""
    units = "" if meta["units"] == "1" else f" [{meta['units']}]"
    return meta.get("doc", "") + units


def default(meta):
    """The default of a field as a part of its schema; nothing where it has none."""
    return {"default": meta["default"]} if "default" in meta else {}


def described(text, schema):
    """A schema with what it describes."""
    return {"description": text} | schema if text else schema


def choice(names):
    """One of these names."""
    return {"type": "string", "enum": list(names)}


def name(known):
    """A name that editors complete from `known`, of which a user may have more."""
    return {"anyOf": [choice(known), TEXT]}


def table(properties, required=(), **more):
    """A table of these keys and no others."""
    found = {"type": "object", "properties": properties, "additionalProperties": False}
    return found | ({"required": list(required)} if required else {}) | more


def array(items, least=1, **more):
    """A list."""
    return {"type": "array", "items": items} | ({"minItems": least} if least else {}) | more


def tables(rows, **more):
    """Tables of one kind, each under a name of its own."""
    return {"type": "object", "additionalProperties": rows} | more


def by_case(cases, otherwise=None):
    """The schema of the first of `cases` [(condition, schema)] that holds, else `otherwise`.

    A chain of `if`s and no `allOf`: editors complete keys beside the one, and none beside the other.
    """
    found = otherwise or {}
    for condition, part in reversed(cases):
        found = {"if": condition, "then": part, "else": found}
    return found


def given(key, value=None):
    """The condition that a table has a key, or this value of it."""
    return {"required": [key]} | ({} if value is None else {"properties": {key: {"const": value}}})


def file(title, schema):
    """The schema of a whole file."""
    return {"$schema": DRAFT, "title": title} | schema
