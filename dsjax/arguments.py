"""Arguments of the public functions: checked by their annotations, and made what the functions read."""

import functools
import os
import types
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypeVar, Union, get_args, get_origin

import numpy as np

from .errors import InputError
from .options import entry
from .types import Grid, Named, Path

Function = TypeVar("Function", bound=Callable[..., Any])

# What a function passes on to a sweep, whatever its own annotations; None is not given.
PASSED_ON = dict.fromkeys(("axes", "fixed", "settings", "limits"), Named | None)
CATALOGS = Path | Sequence[Path] | None
_LISTS = (Sequence, list, tuple)
# What arguments of a form of their own are.
_OF_ARGUMENTS = {
    "catalogs": "paths of catalog files",
    "at": "{axis: value}",
    "between": "(low, high)",
    "break_even": "{axis: (label, label)}",
}
_WORDS = {str: "a text", bool: "True or False", Mapping: "a dict of names", os.PathLike: "a path"}


def typed(function: Function) -> Function:
    """The same function, of arguments that are what its annotations say: InputError names the one that is not.

    Numbers, and grids, are left to who reads them; an annotation that is a text is of a Dataset or a grid. Paths among
    values are texts then, and an array without a dim is the number in it.
    """
    given = {name: x for name, x in function.__annotations__.items() if name not in ("return", "options")}
    names, wanted = [*given], {name: _parts(x) for name, x in given.items()}
    wanted |= {name: _parts(x) for name, x in PASSED_ON.items()} | {"catalogs": _parts(CATALOGS)}

    def read(name, value):
        return _read(name, value, wanted.get(name, (Any,)))

    @functools.wraps(function)
    def asked(*args, **options):
        read_of = [read(name, value) for name, value in zip(names, args, strict=False)]  # of too many Python tells
        return function(*read_of, *args[len(names) :], **{name: read(name, value) for name, value in options.items()})

    return asked  # type: ignore[return-value]


def _parts(annotation):
    """Kinds that an annotation takes."""
    return get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)


_GRID = {*_parts(Grid)}


def _read(name, value, parts):
    """The value of an argument as a function reads it."""
    value = plain(value)
    if name == "client" and value is not None and not hasattr(value, "scheduler"):
        raise InputError(f"client: {value!r}; expected a dask.distributed.Client")
    if not {*parts} >= _GRID:
        if not _is_any(value, parts):
            raise InputError(f"{name}: {value!r}; expected {_words(name, parts)}")
        if isinstance(value, np.bool_):
            value = bool(value)
        if _lists(parts) and _holds(value) and not isinstance(value, list | tuple):
            value = [*value]
    if name == "catalogs" and isinstance(value, str):
        return (value,)
    if name == "axes":
        for axis, values in (value or {}).items():
            _check_values(axis, values)
    return value


def plain(value):
    """A value with texts in place of paths and numbers in place of arrays without a dim, all the way down."""
    if isinstance(value, np.ndarray) and value.ndim == 0:
        return value.item()
    if isinstance(value, os.PathLike):
        return path if isinstance(path := os.fspath(value), str) else value
    if isinstance(value, Mapping) and not hasattr(value, "data_vars"):  # which is a Dataset
        return {key: plain(x) for key, x in value.items()}
    if type(value) in (list, tuple) and any(isinstance(x, os.PathLike | np.ndarray | Mapping) for x in value):
        return type(value)(plain(x) for x in value)
    return value


def _check_values(axis, values):
    """Refuse what holds no values of an axis; names, and whether a text or a range means some, are left to readers."""
    if isinstance(values, str | dict):
        return
    if not hasattr(values, "__len__") or not hasattr(values, "__iter__"):
        expected = "expected a list of values or { start, stop, step }"
        raise InputError(f"{entry('axes', axis)}: {values!r}; {expected}")
    if len(values) == 0:
        raise InputError(f"{entry('axes', axis)}: empty; expected at least one value")


def _is_any(value, parts):
    return any(_is(value, part) for part in parts)


def _is(value, part):
    """Whether a value is what one kind of an annotation says; numbers and texts of annotations are left to readers."""
    kind = get_origin(part) or part
    if part is None or part is type(None):
        return value is None
    if kind is str or kind is os.PathLike:
        return isinstance(value, kind)
    if kind is bool:
        return isinstance(value, bool | np.bool_)
    if kind is Mapping:
        return isinstance(value, dict) and all(isinstance(key, str) for key in value)
    if kind in _LISTS:
        of = _parts(get_args(part)[0])
        return _holds(value) and (of == (Any,) or all(_is_any(x, of) for x in value))
    if getattr(kind, "__name__", "") == "Dataset":
        return hasattr(value, "data_vars")
    return True


def _holds(value):
    """Whether a value is a list, whatever its type: no text, and no table."""
    return isinstance(value, Collection) and not isinstance(value, str | bytes | dict)


def _lists(parts):
    return any(get_origin(part) in _LISTS for part in parts)


def _words(name, parts):
    """What was expected, of an annotation."""
    if name in _OF_ARGUMENTS:
        return _OF_ARGUMENTS[name]
    kinds = {get_origin(part) or part for part in parts} - {type(None)}
    found = [] if os.PathLike in kinds else [_WORDS[str]] if str in kinds else []
    found += [_WORDS[kind] for kind in (os.PathLike, bool, Mapping) if kind in kinds]
    for part in parts:
        if get_origin(part) in _LISTS:
            of = {get_origin(x) or x for x in _parts(get_args(part)[0])}
            found.append(f"a list of {'paths' if os.PathLike in of else 'numbers' if float in of else 'texts'}")
    if any(getattr(kind, "__name__", "") == "Dataset" for kind in kinds):
        found.append("an xarray.Dataset")
    return ", or ".join(dict.fromkeys(found))
