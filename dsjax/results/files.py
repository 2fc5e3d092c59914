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
from ..options import option
from ..space.grid import kind_of_results


def zarr_package():
    """The package `zarr`."""
    try:
        import zarr
    except ImportError:
        raise InputError("zarr: is not installed; expected the extra: pip install 'dsjax[zarr]'") from None
    return zarr


def check_output(path, force=False):
    """Refuse an output path that exists (without `force`), is a folder, or cannot be written."""
    path = named(path)
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
        raise taken(path)
    if not path.parent.is_dir():
        raise InputError(f"{path}: folder {path.parent} does not exist; expected an existing folder")
    if len(os.fsencode(_beside(path).name)) > 255:
        raise InputError(
            f"{path}: the name is too long; expected at most {255 - len(_beside(Path('x')).name) + 1} bytes"
        )
    if not os.access(path.parent, os.W_OK) or (mode is not None and not os.access(path, os.W_OK)):
        raise InputError(f"{path}: cannot be written; expected a writable path")


def taken(path, when=""):
    """The error of an output path where something is."""
    return InputError(f"{path}: exists{when}; expected a new path, or {option('force', True)} to overwrite")


def named(path):
    """A path whose name every library can write: of UTF-8, without a null byte."""
    if "\0" in str(path):
        raise InputError(f"{str(path)!r}: a null byte in it; expected the path of a file")
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise InputError(f"{path}: is not UTF-8; expected a path in UTF-8") from None
    return Path(path)


def check_netcdf(path, force=False):
    """Refuse what `check_output` refuses, and a name that does not say that it is a NetCDF file."""
    check_output(path, force)
    if kind_of_results(path) != "NetCDF file":
        raise InputError(f"{path}: suffix {Path(path).suffix!r}; expected a name ending in .nc")


def check_text(path, force=False):
    """Refuse what `check_output` refuses, and a name that says that results are in it."""
    check_output(path, force)
    if kind_of_results(path):
        raise InputError(f"{path}: suffix {Path(path).suffix!r}, of results; expected another for text")


def apart(outputs, inputs=()):
    """Refuse an output that is an input, or another output; None in `outputs` is skipped.

    Files are compared by what they are, not by how they are named: links are followed, a store is all that is inside
    it, and an output has the folder of its parts too.
    """
    outputs = [output for output in outputs if output is not None]
    for i, output in enumerate(outputs):
        for place in _places(output):
            for other in inputs:
                if _meet(place, other):
                    raise InputError(f"{output}: would overwrite the input {other}; expected another output")
            for other in outputs[:i]:
                if any(_meet(place, its) for its in _places(other)):
                    raise InputError(
                        f"{output}: named for two outputs, also as {other}; expected a path of its own for each"
                    )


def read_from(ds):
    """Path of the file or store that a dataset was read from, where it is known."""
    return [ds.encoding["source"]] if ds.encoding.get("source") else []


def _places(output):
    return str(output), f"{os.path.realpath(named(output))}.parts"


def _meet(one, other):
    """Whether two paths are one file, or one is inside the other."""
    with contextlib.suppress(OSError, ValueError):  # a path that is not there yet is no file
        if os.path.samefile(one, other):
            return True
    if "\0" in str(other):  # an input that nobody can read
        return False
    one, other = (Path(os.path.realpath(path)) for path in (one, other))
    return one == other or one in other.parents or other in one.parents


def _beside(path):
    """A temporary name in the same folder, so that renaming is atomic."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")


def sync(path):
    """Have what is in a file, or the names in a folder, on the disk before what follows."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError:
        if not os.path.isdir(path):  # not every file system can do it for a folder
            raise
    finally:
        os.close(handle)


def place(temporary, target, force):
    """Give a complete file its name, in one step that without `force` fails where the name is taken by now."""
    sync(temporary)
    if force:
        os.replace(temporary, target)
    else:
        try:
            os.link(temporary, target)  # a rename would take the place of what is there
        except FileExistsError:
            raise taken(target, " by now") from None
        except OSError:  # a file system without links: the name is claimed first
            os.close(os.open(target, os.O_CREAT | os.O_EXCL))
            os.replace(temporary, target)
    sync(Path(target).parent)


@contextlib.contextmanager
def replacing(path, force):
    """A temporary path beside `path` that takes its name (`place`) when the block ends well, and vanishes otherwise."""
    target = Path(os.path.realpath(path))  # a link is followed, not replaced
    temporary = _beside(target)
    try:
        yield temporary
        place(temporary, target, force)
    except (OSError, RuntimeError) as error:  # the NetCDF library raises RuntimeError when a write fails
        reason = getattr(error, "strerror", None) or error
        free = machine.gigabytes(machine.disk(target))
        raise InputError(f"{path}: cannot be written ({reason}; {free} of disk is free); expected room there") from None
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path, text, force):
    """A text as a file, written whole or not at all; over another file only with `force`."""
    with replacing(path, force) as temporary:
        temporary.write_text(text, encoding="utf-8")


def records(ds_columns):
    """Columns -> a list of plain dicts, for JSON."""
    names = list(ds_columns)
    rows = zip(*(np.asarray(ds_columns[name]).tolist() for name in names))
    return [_finite(dict(zip(names, row))) for row in rows]


def plain(value):
    """What JSON has for a number of NumPy, or for another value that it does not know: `default` of `json.dumps`."""
    return value.item() if hasattr(value, "item") else str(value)


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
