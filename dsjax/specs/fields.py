"""Kinds of field of a record: unit, meaning, domain; what a row may leave out."""

import dataclasses
import typing

from ..units import domain
from . import trees

_waiting: list = []  # records that JAX does not know
_jax: list = []  # what makes a record a pytree of JAX, where that was asked for


@typing.dataclass_transform(frozen_default=True)
def record(cls):
    """Frozen, keyword-only dataclass of numbers."""
    cls = dataclasses.dataclass(frozen=True, kw_only=True)(cls)
    setattr(cls, trees.RECORD, True)
    _waiting.append(cls)
    for register in _jax:
        register()
    return cls


def register_with_jax():
    """Make every record a JAX pytree, those to come too: for who maps over records, or differentiates, with JAX."""
    import jax

    def register():
        while _waiting:
            jax.tree_util.register_dataclass(_waiting.pop())

    _jax[:] = [register]
    register()


def _field(units, doc, *, default=None, **limits):
    meta = domain(units, **limits) | {"doc": doc}
    if default is None:
        return dataclasses.field(metadata=meta)
    return dataclasses.field(default=default, metadata=meta | {"default": default})


def rate(units, doc):
    """A positive rate; its name ends in `_per_s`."""
    return _field(units, doc)


def size(units, doc):
    """A positive amount."""
    return _field(units, doc)


def amount(units, doc):
    """An amount that may be zero."""
    return _field(units, doc, open_low=False)


def optional(units, doc):
    """An amount that a row may leave out: then it is 0, which means unknown, and is not taken from `base`."""
    return dataclasses.field(default=0.0, metadata=feature(units, doc).metadata | {"lent": False})


def feature(units, doc, high=None):
    """An amount that a row may leave out: then it is 0, which means that there is none."""
    return _field(units, doc, open_low=False, high=high, default=0.0)


def kind(units, doc, high=None):
    """A `feature` of some models: None in what formulas read where no model of a space has it, so they leave it out."""
    return dataclasses.field(default=0.0, metadata=feature(units, doc, high).metadata | {"kind": True})


def like(other, field):
    """`field` that a row may leave out: then it has the value of the field `other` of that row."""
    return dataclasses.field(metadata=field.metadata | {"like": other})


def factor(doc):
    """A factor of at least 1, or 0: to be derived."""
    found = _field("1", doc, low=1.0, open_low=False)
    return dataclasses.field(metadata=found.metadata | {"or_zero": True})


def seconds(doc):
    """An absolute time, zero allowed; its name ends in `_s`."""
    return _field("s", doc, open_low=False)


def share(doc):
    """An efficiency or a probability in (0, 1]."""
    return _field("1", doc, high=1.0)


def fraction(doc, high=1.0):
    """A number from 0 to `high`, both included."""
    return _field("1", doc, open_low=False, high=high)


def count(doc, *, low=1, high=None, units="1", default=None):
    """A whole number, kept as an integer so that ceilings and divisibility are exact in float32 too."""
    return _field(units, doc, low=low, open_low=False, high=high, integer=True, default=default)


def fields_of(cls):
    """{field: metadata} of a record class: its `units.domain`, `doc`, and `default` where it has one."""
    return {f.name: f.metadata for f in dataclasses.fields(cls)}


def completed(fields, row):
    """`row` with the fields that it leaves out and may: their default, or the value of the field they are like."""
    row = {name: meta["default"] for name, meta in fields.items() if "default" in meta} | row
    for name, meta in fields.items():  # one may be like another that is like a third, which comes before them
        if name not in row and meta.get("like") in row:
            row[name] = row[meta["like"]]
    return row
