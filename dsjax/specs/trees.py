"""Trees: records, tuples, lists and dicts of numbers, nested; None is a tree without numbers."""

import dataclasses
from typing import NamedTuple

RECORD = "__record__"  # what `fields.record` marks a dataclass with


class Static(NamedTuple):
    """The value of a field that is no number of a record but part of its structure: metadata {"static": True}."""

    value: object


def structure(tree):
    """A tree without its numbers, to be filled with others: equal, and of equal hash, where all but numbers is equal.

    (type of the node, names of its children, their structures); None of a number.
    """
    kind = type(tree)
    if hasattr(tree, RECORD):
        of = dataclasses.fields(tree)
        parts = ((getattr(tree, x.name), x.metadata.get("static")) for x in of)
        return (
            kind,
            tuple(x.name for x in of),
            tuple(Static(part) if static else structure(part) for part, static in parts),
        )
    if isinstance(tree, dict):
        return kind, tuple(tree), tuple(map(structure, tree.values()))
    if isinstance(tree, list | tuple):
        return kind, (), tuple(map(structure, tree))
    return (kind, (), ()) if tree is None else None


def leaves(tree):
    """The numbers of a tree, in order."""
    if hasattr(tree, RECORD):
        tree = [getattr(tree, x.name) for x in dataclasses.fields(tree) if not x.metadata.get("static")]
    if isinstance(tree, dict):
        tree = tree.values()
    elif not isinstance(tree, list | tuple):
        return [] if tree is None else [tree]
    return [leaf for part in tree for leaf in leaves(part)]


def filled(structure, numbers):
    """A tree of a structure with these numbers, in order."""
    return _filled(structure, iter(numbers))


def _filled(structure, left):
    if structure is None:
        return next(left)
    if isinstance(structure, Static):
        return structure.value
    kind, names, parts = structure
    values = [_filled(part, left) for part in parts]
    if kind is dict:
        return dict(zip(names, values, strict=True))
    if hasattr(kind, RECORD):
        return kind(**dict(zip(names, values, strict=True)))
    if kind is type(None):
        return None
    return kind(values) if kind in (list, tuple) else kind(*values)  # the latter a named tuple


def mapped(function, tree):
    """`function` of every number of a tree."""
    return filled(structure(tree), [function(leaf) for leaf in leaves(tree)])
