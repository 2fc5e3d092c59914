"""Commands that go on from an answer, as their user writes them."""

import shlex

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


def show(request, *commands):
    """Print the commands that a reader may want next; none beside data, or where remarks are not wanted."""
    if request.form == "table" and not request.quiet:
        say(*commands)


def say(*commands):
    """Print commands to be copied, each on lines of its own."""
    columns = width()
    for text in commands:
        echo(*command(f"next: {safe(text)}", columns).split("\n"))
