"""Traces as plain data, cached on disk so that a new process need not trace.

Tracing the core model takes about a second. An outline (equations for NumPy, and what each variable depends on) is data
alone, so the command line keeps its outlines in the user's cache folder. A file is found by a digest of everything that
a trace is made of: the source text of the whole package, the versions of Python, JAX and NumPy, JAX's settings, the
names of the functions and records, the type. Its content carries a digest of its own: what is damaged is not read.
"""

import contextlib
import contextvars
import functools
import hashlib
import json
import platform
import secrets
import sys
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from . import numpy_programs, operands
from .caches import remembered
from .trace import traced

MOST_FILES = 128  # kept: about 0.3 MB each
PACKAGE = __name__.partition(".")[0]


class Outline(NamedTuple):
    """A `trace.Trace` as plain data, without JAX."""

    program: numpy_programs.Program
    slots: dict  # {(index of the choice of each policy): {variable: slot of the program}}
    sources: dict  # {variable: indices, as bits, of the operands and, after them, of the policies it can depend on}
    dtypes: dict  # {variable: dtype}


_folder = contextvars.ContextVar("outlines", default=None)


@contextlib.contextmanager
def traces_kept(folder):
    """Inside the block outlines are read from `folder` and written to it; None: neither."""
    before = _folder.set(folder)
    try:
        yield
    finally:
        _folder.reset(before)


def outline(plan, dtype):
    """`Outline` of a plan, the same for all axes over the same records and policies."""
    return _outline(operands.unlifted(plan), dtype)


@remembered(256)
def _outline(plan, dtype):
    path = _path(plan, dtype)
    found = None if path is None else _read(path)
    if found is None:
        trace = traced(plan, dtype)
        dtypes = {name: np.dtype(dtype) for name, dtype in trace.dtypes.items()}
        found = Outline(numpy_programs.without_jax(trace.program), trace.slots, trace.sources, dtypes)
        if path is not None:
            _write(path, found)
    return found


# ---- the name of a file


class _Nameless(Exception):
    """Something in a plan that no text identifies."""


def _path(plan, dtype):
    """File of a plan's outline; None where none is kept."""
    if _folder.get() is None:
        return None
    try:
        named = _named((plan.function, plan.step, plan.policies)), _records(plan.treedef), str(plan.treedef)
        settings = _settings()
    except _Nameless:
        return None
    versions = platform.python_version(), jax.__version__, np.__version__
    text = repr((_sources(), versions, settings, named, str(dtype)))
    return Path(_folder.get()) / f"{hashlib.sha256(text.encode()).hexdigest()}.json"


def _named(value):
    """Text, numbers and functions, nested, with the name of each function: of the package, and found by that name."""
    if isinstance(value, tuple):
        return tuple(_named(each) for each in value)
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, functools.partial):
        return "partial", _named(value.func), _named(value.args), _named(tuple(sorted(value.keywords.items())))
    module, name = getattr(value, "__module__", None) or "", getattr(value, "__qualname__", "")
    if module.partition(".")[0] != PACKAGE or getattr(sys.modules.get(module), name, None) is not value:
        raise _Nameless
    return f"{module}:{name}"


def _records(treedef):
    """The classes of all nodes of a tree, nested."""
    data = treedef.node_data()
    if data is None:
        return None  # a leaf
    plain = data[0] in (dict, tuple, type(None))
    name = data[0].__name__ if plain else _named(data[0])
    return name, *(_records(child) for child in treedef.children())


def _settings():
    """JAX's settings, but for those that say where and when something is kept."""
    values = getattr(jax.config, "values", None)
    if not isinstance(values, dict):  # another JAX
        raise _Nameless
    return sorted((name, repr(value)) for name, value in values.items() if "cache" not in name)


@functools.cache
def _sources():
    """Digest of the package's source files and their names."""
    digest, folder = hashlib.sha256(), Path(__file__).parents[1]
    for path in sorted(folder.rglob("*.py")):
        text = path.read_bytes()
        digest.update(f"{path.relative_to(folder).as_posix()} {len(text)}\n".encode())
        digest.update(text)
    return digest.hexdigest()


# ---- the content of a file: a digest, and JSON


def _read(path):
    """`Outline` of a file; None where there is none, or it is damaged."""
    try:
        digest, _, text = path.read_bytes().partition(b"\n")
    except OSError:
        return None
    if digest.decode(errors="replace") != hashlib.sha256(text).hexdigest():
        return None
    data = json.loads(text)
    program = numpy_programs.Program.from_plain(data["program"])
    slots = {tuple(picks): of for picks, of in data["slots"]}
    return Outline(program, slots, data["sources"], {name: np.dtype(kind) for name, kind in data["dtypes"].items()})


def _write(path, found):
    """Leave a file under a temporary name and rename it; a folder that takes none is no error."""
    slots = [[list(picks), of] for picks, of in found.slots.items()]
    dtypes = {name: dtype.name for name, dtype in found.dtypes.items()}
    data = {"program": found.program.plain(), "slots": slots, "sources": found.sources, "dtypes": dtypes}
    text = json.dumps(data, separators=(",", ":")).encode()
    own = path.with_name(f"{path.stem}.{secrets.token_hex(4)}.part")
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            own.write_bytes(hashlib.sha256(text).hexdigest().encode() + b"\n" + text)
            own.replace(path)
        finally:
            own.unlink(missing_ok=True)
        _tidy(path.parent)


def _tidy(folder):
    """Of more files than are kept, the oldest go, and so does what an interrupted process left half written."""
    ages = []
    for path in folder.iterdir():
        with contextlib.suppress(OSError):  # another process was sooner
            ages.append((path.stat().st_mtime, path))
    for _, path in sorted(ages)[:-MOST_FILES]:
        path.unlink(missing_ok=True)
