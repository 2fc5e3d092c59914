"""Names of rows as users write them: in any case, a model with its owner at Hugging Face too.

A name is a row's own spelling, or that spelling in another case where no second row differs in case alone. A model may
stand as OWNER/NAME: the repository that its row's `source` names, or, of a row whose source names none, any OWNER.
"""

import contextlib
import re

from ..errors import InputError, unknown

_REPOSITORY = re.compile(r"([\w.-]+/[\w.-]+) \(Hugging Face\)")


def canonical(where, what, name, rows, *, owners=False):
    """The row's own spelling of `name` among `rows` {row: numbers}; `owners`: whether OWNER/NAME means one too.

    Raises InputError at `where`, of what is unknown or ambiguous; `what` is what errors call it.
    """
    if not isinstance(name, str):
        raise unknown(where, what, name, rows)
    if name in rows:
        return name
    found = _same(name, rows)
    if owners and not found and name.count("/") == 1:
        repositories = {row: _repository(rows, row) for row in rows}
        found = [row for row, repository in repositories.items() if repository.casefold() == name.casefold()]
        found = found or [row for row in _same(name.partition("/")[2], rows) if not repositories[row]]
    if len(found) > 1:
        raise InputError(f"{where}: {what} {name!r} is ambiguous; expected one of {', '.join(found)}")
    if not found:
        raise unknown(where, what, name, rows)
    return found[0]


def spelt(name, rows):
    """`name` as `rows` spell it, as it is where they have none like it."""
    with contextlib.suppress(InputError):
        return canonical("", "", name, rows)
    return name


def _same(name, rows):
    return [row for row in rows if isinstance(row, str) and row.casefold() == name.casefold()]


def _repository(rows, row):
    """OWNER/NAME that the source of a row names, "" where it names none, or cannot be read."""
    with contextlib.suppress(InputError):
        found = _REPOSITORY.search(rows[row]["source"])
        return found.group(1) if found else ""
    return ""
