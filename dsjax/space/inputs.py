"""Paths of the files that a grid and its catalogs are read from, so that no output replaces an input."""

import contextlib

from ..catalog import configs, reader
from . import grid


def of_grid(source, axes=None, fixed=None, catalogs=()):
    """Paths that a grid is read from: its own, catalogs, and every config that it, or an option, may name."""
    data, _, path = grid.read(source)
    own = [] if isinstance(source, dict) else [path]
    return [*own, *of_catalogs(catalogs), *of_models((data, axes, fixed))]


def of_catalogs(paths=()):
    """Paths of all catalogs that are read: dsjax's own, the user's, and `paths`."""
    return [*reader.DATA.glob("*.toml"), *reader.user_files(), *paths]


def of_models(data):
    """Paths of the Hugging Face configs that texts under a key `model`, at any depth, may mean."""
    found, left = [], [("", data)]
    while left:
        key, value = left.pop()
        if isinstance(value, dict):
            left += value.items()
        elif isinstance(value, list | tuple):
            left += [(key, one) for one in value]
        elif key == "model":
            with contextlib.suppress(OSError):  # no path at all
                found += [path] if (path := configs.path_of(value)) else []
    return found
