"""Output files: checked before anything is computed, written to a temporary name, renamed."""

import contextlib
import json
import math
import os
import secrets
import stat
from pathlib import Path

import numpy as np

from .. import machine
from ..errors import InputError


def zarr_package():
    """The package `zarr`."""
    try:
        import zarr
    except ImportError:
        raise InputError("zarr: is not installed; expected the extra: pip install 'dsjax[zarr]'") from None
    return zarr


def check_output(path, force=False):
    """Refuse an output path that exists (without `force`), is a folder, or cannot be written."""
    path = Path(path)
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        mode = None
        if os.path.islink(path):
            raise InputError(f"{path}: is a link to nothing; expected a path that can be written") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror}); expected a writable path") from None
    if mode is not None and stat.S_ISDIR(mode):
        raise InputError(f"{path}: is a folder; expected the path of a file")
    if mode is not None and not stat.S_ISREG(mode):
        raise InputError(f"{path}: is not a regular file; expected the path of a file")
    if mode is not None and not force:
        raise InputError(f"{path}: exists; expected a new path, or --force to overwrite")
    if not path.parent.is_dir():
        raise InputError(f"{path}: folder {path.parent} does not exist; expected an existing folder")
    if len(os.fsencode(_beside(path).name)) > 255:
        raise InputError(
            f"{path}: the name is too long; expected at most {255 - len(_beside(Path('x')).name) + 1} bytes"
        )
    if not os.access(path.parent, os.W_OK) or (mode is not None and not os.access(path, os.W_OK)):
        raise InputError(f"{path}: cannot be written; expected a writable path")


def _beside(path):
    """A temporary name in the same folder, so that renaming is atomic."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")


@contextlib.contextmanager
def replacing(path):
    """A temporary path beside `path` that takes its name when the block ends well, and vanishes otherwise."""
    target = Path(os.path.realpath(path))  # a link is followed, not replaced
    temporary = _beside(target)
    try:
        yield temporary
        os.replace(temporary, target)
    except (OSError, RuntimeError) as error:  # the NetCDF library raises RuntimeError when a write fails
        reason = getattr(error, "strerror", None) or error
        free = machine.gigabytes(machine.disk(target))
        raise InputError(f"{path}: cannot be written ({reason}; {free} of disk is free); expected room there") from None
    finally:
        temporary.unlink(missing_ok=True)


def records(ds_columns):
    """Columns -> a list of plain dicts, for JSON."""
    names = list(ds_columns)
    rows = zip(*(np.asarray(ds_columns[name]).tolist() for name in names))
    return [_finite(dict(zip(names, row))) for row in rows]


def to_json(value):
    """JSON text of plain values; null for what is not finite."""
    return json.dumps(_finite(value), indent=2, allow_nan=False)


def _finite(value):
    """Plain values with None in place of NaN and infinity, all the way down."""
    if isinstance(value, dict):
        return {name: _finite(x) for name, x in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(x) for x in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
