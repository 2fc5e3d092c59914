"""What a message asks its reader for: arguments of Python, or options where the command line asked."""

import contextlib
import contextvars

from .scoped import scoped

# argument of Python -> option of the command line, where that is not its name with dashes.
_OPTIONS = {"axes": "axis", "fixed": "fix", "settings": "set", "limits": "limit", "catalogs": "catalog"}
_OPTIONS |= {"client": "scheduler", "errors": "error"}
_COMMAND_LINE = contextvars.ContextVar("of_command_line", default=False)


def of_command_line():
    """Messages of the block speak of options."""
    return scoped(_COMMAND_LINE, True)


def option(name, value=None):
    """An argument, or an option: wrt or --wrt; force=True or --force; max_memory='4 GB' or --max-memory 4 GB."""
    if _COMMAND_LINE.get():
        given = f"--{_OPTIONS.get(name, name.replace('_', '-'))}"
        text = f'"{value}"' if isinstance(value, str) and "=" in value and " " in value else value
        return given if value is None or value is True else f"{given} {text}"
    return name if value is None else f"{name}={value!r}"


def entry(name, key, value=None):
    """One entry of an argument, or one option: fixed={'tp': 8} or --fix tp=8; without a value fixed['tp'] or --fix tp.

    `value`: as the command line would have it, "8,16", or "8:128:8"; None where the entry itself is named.
    """
    if _COMMAND_LINE.get():
        return f"{option(name)} {key}" if value is None else f"{option(name)} {key}={value}"
    return f"{name}[{key!r}]" if value is None else f"{name}={{{key!r}: {_python(name, value)}}}"


def keyword(name):
    """A keyword argument of any name, or what --fix gives: mtp or --fix mtp=..."""
    return entry("fixed", name, "...") if _COMMAND_LINE.get() else name


def together(entries):
    """Entries that are given at once."""
    return (" " if _COMMAND_LINE.get() else ", ").join(entries)


def is_entry(message):
    """Whether a message is about one entry of an argument: it begins with it."""
    return message.startswith(("--", *(f"{name}[" for name in ("axes", "fixed", "settings", "limits"))))


def _python(name, value):
    """A value of the command line as Python has it."""
    if value == "...":
        return value
    if name == "axes":
        parts = str(value).split(":")
        if len(parts) == 3:
            return "{" + ", ".join(f"{k!r}: {_plain(x)}" for k, x in zip(("start", "stop", "step"), parts)) + "}"
        return "[" + ", ".join(_plain(x) for x in str(value).split(",")) + "]"
    return _plain(value)


def _plain(text):
    """A number as it is, anything else as a text."""
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            kind(text)
            return str(text)
    return repr(text)
