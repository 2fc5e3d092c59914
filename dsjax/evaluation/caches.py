"""Caches of traces and programs: of a process, and `forget`, which clears them; of traces, on disk too."""

import contextlib
import dataclasses
import functools
import hashlib
import marshal
import os
import sys
import tempfile
import types
from pathlib import Path

import numpy as np

from .. import machine

MOST = 128  # results that are kept on disk
FORM = 1  # of what is kept

_clear: list = []  # functions, one for each cache


def remembered(most):
    """Decorator: keep the last `most` results of a function until `forget`."""

    def decorate(function):
        cached = functools.lru_cache(maxsize=most)(function)
        _clear.append(cached.cache_clear)
        return cached

    return decorate


def when_forgotten(function):
    """Decorator: call a function whenever all is forgotten."""
    _clear.append(function)
    return function


def forget() -> None:
    """Drop every trace and every program of this process; the next evaluation traces, and compiles, again.

    For a process that lives long and asks of many grids: up to 64 compiled programs are kept, and 32 of streamed
    searches, some megabytes each, and up to 128 MB of results of the question that was asked last, which is quicker
    when it is asked again with another number.
    """
    for clear in _clear:
        clear()


def stored(key, make, packed, unpacked):
    """`make()`, or what a process before made of the same `key` by the same code, in the folder `machine.kept`.

    `packed(result)` is of numbers, texts, bytes, tuples, lists and dicts alone; `unpacked` of it the result. Nothing is
    kept of a key with a function that is not dsjax's. A damaged file is made anew.
    """
    path = None
    if machine.kept is not None:
        with contextlib.suppress(Foreign):
            text = repr((FORM, sys.version_info[:2], np.__version__, stamp(), described(key)))
            path = machine.kept / "traces" / hashlib.sha256(text.encode()).hexdigest()
    if path is None:
        return make()
    with contextlib.suppress(OSError, ValueError, EOFError, TypeError):
        data = path.read_bytes()
        if hashlib.sha256(data[32:]).digest() == data[:32]:
            return unpacked(marshal.loads(data[32:]))
    result = make()
    with contextlib.suppress(OSError):
        _write(path, marshal.dumps(packed(result)))
    return result


def _write(path, data):
    """A file with its checksum in front, complete or not there; the oldest of too many go."""
    path.parent.mkdir(mode=0o700, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent)
    try:
        with open(handle, "wb") as file:
            file.write(hashlib.sha256(data).digest() + data)
        os.replace(name, path)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise
    found = sorted(path.parent.iterdir(), key=lambda one: one.stat().st_mtime)
    for one in found[:-MOST]:
        one.unlink(missing_ok=True)


class Foreign(Exception):
    """Of a key that another process may not write in the same way."""


@functools.cache
def stamp():
    """What the code and the data of dsjax are: names, sizes and times of all files."""
    found, left = [], [str(Path(__file__).parents[1])]
    while left:
        with os.scandir(left.pop()) as entries:
            for entry in entries:
                if entry.is_dir():
                    left += [entry.path] if entry.name != "__pycache__" else []
                else:
                    state = entry.stat()
                    found.append((entry.path, state.st_size, state.st_mtime_ns))
    return hashlib.sha256(repr(sorted(found)).encode()).hexdigest()


def described(x):
    """A part of a key as tuples and texts that are the same in every process, and others where it is another one."""
    if x is None or isinstance(x, bool | int | float | str | bytes):
        return repr(x)
    if isinstance(x, np.ndarray | np.generic | np.dtype):
        return type(x).__name__, str(getattr(x, "dtype", x)), x.tobytes() if hasattr(x, "tobytes") else ""
    if isinstance(x, type):
        return "type", x.__module__, x.__qualname__
    if isinstance(x, dict):
        return "dict", tuple((described(name), described(part)) for name, part in x.items())
    if isinstance(x, tuple | list):
        return described(type(x)), tuple(map(described, x))
    if dataclasses.is_dataclass(x):
        return described(type(x)), tuple(described(getattr(x, of.name)) for of in dataclasses.fields(x))
    if isinstance(x, functools.partial):
        return "partial", described((x.func, x.args, x.keywords))
    if isinstance(x, types.FunctionType) and x.__module__.partition(".")[0] == __name__.partition(".")[0]:
        code, inside = x.__code__, tuple(cell.cell_contents for cell in x.__closure__ or ())
        place = x.__module__, x.__qualname__, code.co_firstlineno, code.co_linetable
        return place, described(inside), described((x.__defaults__, x.__kwdefaults__))
    raise Foreign(type(x).__name__)
