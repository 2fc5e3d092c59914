"""Commands that go on from an answer, as their user writes them."""

import shlex

from ..options import by_reader, option
from .output import command, echo, safe, width

CHANGES = (("axis", "axes"), ("fix", "fixed"), ("set", "settings"), ("limit", "limits"), ("catalog", "catalogs"))


def of(name, request, *options, at=None, source=None):
    """`dsjax NAME` of the grid of a request with its changes, or of a file of results; `at` {axis: value}."""
    words = [source or request.source]
    if not source:
        words = [] if request.source == "default" else words
        for option, field in CHANGES:
            words += [word for value in getattr(request, field) for word in (f"--{option}", value)]
        words += ["--model", request.model] if request.model else []
    words += ["--at", ",".join(f"{axis}={value}" for axis, value in at.items())] if at else []
    return shlex.join(["dsjax", *name.split(), *words, *map(str, options)])


def asked(name, grid, *changes):
    """A question of a grid in the words of who reads it: `dsjax NAME GRID --fix tp=8`, `dsjax.name('grid', fixed=...)`.

    `grid`: None of a question that has none; `changes`: (argument, {key: value}, a list, or one value), one after the
    other.
    """
    if by_reader(True, False):
        words = ["dsjax", *name.split(), *([grid] if grid else [])]
        for argument, given in changes:
            several = [f"{k}={_text(x)}" for k, x in given.items()] if isinstance(given, dict) else given
            for value in several if isinstance(several, list) else [several]:
                words += ["-o" if argument == "path" else option(argument), _text(value)]
        return shlex.join(words)
    arguments: dict = {}
    for argument, value in changes:
        arguments[argument] = arguments.get(argument, {}) | value if isinstance(value, dict) else value
    name, *kind = name.split()
    keys = [f"{key}={_python(x)}" for key, x in arguments.items() if x or x == 0]
    return f"dsjax.{name}({', '.join([*map(repr, filter(None, [*kind, grid])), *keys])})"


def _text(x):
    """A value on the command line."""
    if isinstance(x, list):
        return ",".join(map(_text, x))
    return "none" if x is None else f"{x:.10g}" if isinstance(x, int | float) else str(x)


def _python(x):
    """A value in Python."""
    if isinstance(x, dict):
        return "{" + ", ".join(f"{key!r}: {_python(own)}" for key, own in x.items()) + "}"
    if isinstance(x, list):
        return f"[{', '.join(map(_python, x))}]"
    return _text(x) if isinstance(x, int | float) else repr(x)


def show(request, *commands):
    """Print the commands that a reader may want next; none beside data, or where remarks are not wanted."""
    if request.form == "table" and not request.quiet:
        say(*commands)


def say(*commands):
    """Print commands to be copied, each on lines of its own."""
    columns = by_reader(width(), None)  # backslashes are a shell's
    for text in commands:
        echo(*command(f"next: {safe(text)}", columns).split("\n"))
