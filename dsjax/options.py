"""What a message asks its reader for: arguments, options where the command line asked, parameters alone on a page."""

import contextlib
import contextvars

from .scoped import scoped

# argument of Python -> option of the command line, where that is not its name with dashes.
_OPTIONS = {"axes": "axis", "fixed": "fix", "settings": "set", "limits": "limit", "catalogs": "catalog"}
_OPTIONS |= {"client": "scheduler", "errors": "error"}
_READER = contextvars.ContextVar("reader", default="Python")


def of_command_line():
    """Messages of the block speak of options."""
    return scoped(_READER, "command line")


def of_page():
    """Sentences of the block name parameters and values alone: who reads a page need not have asked."""
    return scoped(_READER, "page")


def by_reader(command_line, python):
    """Words for who reads them: of the command line, or others."""
    return command_line if _READER.get() == "command line" else python


def option(name, value=None):
    """An argument, or an option: wrt or --wrt; force=True or --force; max_memory='4 GB' or --max-memory 4 GB."""
    if _READER.get() == "command line":
        given = f"--{_OPTIONS.get(name, name.replace('_', '-'))}"
        text = f'"{value}"' if isinstance(value, str) and "=" in value and " " in value else value
        return given if value is None or value is True else f"{given} {text}"
    return name if value is None else f"{name}={value!r}"


def entry(name, key, value=None):
    """One entry of an argument, or one option: fixed={'tp': 8} or --fix tp=8; without a value fixed['tp'] or --fix tp.

    On a page tp = 8, or tp. `value`: as the command line would have it, "8,16", or "8:128:8"; None where the entry
    itself is named.
    """
    if _READER.get() == "command line":
        return f"{option(name)} {key}" if value is None else f"{option(name)} {key}={value}"
    if _READER.get() == "page":
        return key if value is None else f"{key} = {value}"
    return f"{name}[{key!r}]" if value is None else f"{name}={{{key!r}: {_python(name, value)}}}"


def keyword(name):
    """A keyword argument of any name, or what --fix gives: mtp or --fix mtp=..."""
    return by_reader(entry("fixed", name, "..."), name)


def together(entries):
    """Entries that are given at once."""
    return by_reader(" ", ", ").join(entries)


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
