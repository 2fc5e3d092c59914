"""What commands print: sentences and tables no wider than the terminal, names without control characters.

As wide as the terminal, or as `COLUMNS` says; where neither is known, a pipe, nothing is folded or dropped. Colours
only on a terminal, and not where `NO_COLOR` or `TERM=dumb` asks for none.
"""

import contextlib
import os
import re
import sys
import warnings

import click

from ..errors import Remark, shortened
from . import process

ACCENT, REFUSED = "green", "red"  # of the best row; of what is refused, and of errors
HANG = 2  # columns by which what is folded is further in
# Of bidirectional text: marks, embeddings, overrides, isolates; and separators of lines.
_TURNING = (0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x2028, 0x2029)
_CONTROLS = (*range(0x20), *range(0x7F, 0xA0), *_TURNING, *range(0xD800, 0xE000))
_SHOWN = {code: f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" for code in _CONTROLS}
_LINES = {code: text for code, text in _SHOWN.items() if code != ord("\n")}
_WORD = r"""(?:[^\s"']|"(?:\\.|[^"\\])*"|'[^']*'|["'])+"""
_WORDS = re.compile(_WORD)
_UNITS = re.compile(rf"(?:--?[a-z][\w-]*(?= [^-\s]) )?{_WORD}")  # words, options with their values


def _flag(name, *options, text):
    """An option of every command that prints, kept with the call and read by `wide` and `verbose`."""

    def keep(context, parameter, value):
        context.meta[f"dsjax.{name}"] = value

    return click.option(*options, name, is_flag=True, expose_value=False, callback=keep, help=text)


WIDE = _flag("wide", "--wide", text="Every column of a table, however wide the terminal.")
VERBOSE = _flag("verbose", "-v", "--verbose", text="Also every default, and the sources of the numbers.")


def _asked(name):
    context = click.get_current_context(silent=True)
    return bool(context and context.meta.get(f"dsjax.{name}"))


def wide():
    """Whether tables show all columns."""
    return _asked("wide")


def verbose():
    """Whether defaults and sources are shown."""
    return _asked("verbose")


def width():
    """Columns that a line may take; None where nothing limits them."""
    columns = os.environ.get("COLUMNS", "")
    if columns.isdecimal() and int(columns):
        return int(columns)
    if not sys.stdout.isatty():
        return None
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or 80
    except (OSError, ValueError):
        return 80


def coloured(stream=None):
    """Whether a stream, by default what commands print to, shows colours."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") in ("dumb", "unknown")
    return (stream or sys.stdout).isatty() and not plain


def safe(text, lines=True):
    """A text whose control characters are shown, not sent: a terminal would obey them. `lines`: it may have some."""
    return text.translate(_LINES if lines else _SHOWN)


def cells(text):
    """Columns that a text takes on a terminal."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def filled(text, columns, right=False):
    """A text with blanks up to so many columns of a terminal."""
    blanks = " " * (columns - cells(text))
    return blanks + text if right else text + blanks


def wrapped(text, columns):
    """A line as lines of at most so many columns, broken between words where they allow it."""
    if cells(text) <= columns:
        return [text]
    from rich.console import Console
    from rich.text import Text

    return [line.plain.rstrip() for line in Text(text).wrap(Console(), max(columns, 1), tab_size=1)]


def folded(line, columns):
    """A line of at most so many columns, or several, those after the first further in."""
    if columns is None or cells(line) <= columns:
        return line
    body = line.lstrip(" ")
    indent = " " * (len(line) - len(body))
    first, *others = wrapped(body, columns - len(indent) - HANG)
    return "\n".join([indent + first, *(" " * HANG + indent + other for other in others)])


def pairs(named, indent="  "):
    """Lines of names and texts, the texts one below the other; `named`: pairs of them."""
    named, columns = list(named), width()
    beside = max(cells(name) for name, _ in named)
    lines = []
    for name, text in named:
        room = None if columns is None else max(columns - len(indent) - beside - 2, 1)
        first, *others = [text] if room is None else wrapped(safe(text), room)
        lines.append(f"{indent}{filled(name, beside)}  {first}")
        lines += [" " * (len(indent) + beside + 2) + other for other in others]
    return "\n".join(lines)


def command(line, columns):
    """A command for a shell as lines of at most so many columns, each but the last with a backslash at its end.

    An option stays beside its value. A word that is too long goes on at the start of the next line, after a comma.
    """
    if columns is None or cells(line) <= columns:
        return line
    indent = " " * (len(line) - len(line.lstrip(" ")))
    lines, now = [], ""
    fits = [[unit] if cells(unit) + 6 <= columns else _WORDS.findall(unit) for unit in _UNITS.findall(line)]
    for unit in (word for words in fits for word in words):
        if cells(now) + cells(unit) + 3 <= columns or not now:
            now += f"{' ' if now else indent}{unit}"
        else:
            lines, now = [*lines, f"{now} \\"], f"{indent}    {unit}"
        while cells(now) > max(columns - 2, 0) and "'" not in now:
            end = now.rfind(",", 0, columns - 1) + 1 or max(columns - 1, 1)
            lines, now = [*lines, f"{now[:end]}\\"], now[end:]
    return "\n".join([*lines, now])


def echo(*parts, colour=None):
    """Print sentences and tables, one below the other; lines of sentences are folded.

    A part is a text, or what has `styled(columns)`: its lines as pairs (text, colour or None).
    """
    columns, lines = width(), []
    for part in parts:
        if isinstance(part, str):
            lines += [(folded(line, columns), colour) for line in safe(part).split("\n")]
        else:
            lines += part.styled(columns)
    shows = coloured()
    click.echo("\n".join(click.style(text, fg=own) if own and shows else text for text, own in lines))


def raw(text):
    """Print a file as it is; on a terminal with its control characters shown."""
    click.echo(safe(text) if sys.stdout.isatty() else text, nl=False)


def error(text):
    """A line about an error, on stderr."""
    word, text = "error: ", shortened(safe(text))  # control characters are longer where they are shown
    click.echo((click.style(word, fg=REFUSED) if coloured(sys.stderr) else word) + text, err=True)


def remark(text):
    """A sentence beside the answer, on stderr."""
    click.echo(folded(safe(text), width() if sys.stderr.isatty() else None), err=True)


@contextlib.contextmanager
def remarks():
    """Remarks of the block are sentences on stderr, each once; with --quiet they are not told."""
    said, show = set(), warnings.showwarning

    def told(message, category, *where, **more):
        if process.replaced(str(message)):
            return
        if not issubclass(category, Remark):
            show(message, category, *where, **more)
        elif (text := str(message)) not in said and not _quiet():
            said.add(text)
            remark(text)

    with warnings.catch_warnings():
        warnings.simplefilter("always", Remark)
        warnings.showwarning = told
        yield


def _quiet():
    context = click.get_current_context(silent=True)
    return bool(context and context.params.get("quiet"))
