"""The errors that a user's input can raise."""

import difflib


class InputError(ValueError):
    """Bad input: one line naming the file, the key, the value and what was expected."""

    def __init__(self, message):
        super().__init__(" ".join(message.split("\n")))


class NothingFeasible(InputError):
    """The input is good, but no point is feasible: asked and answered, exit code 1 of the command line."""


def unknown(where, what, name, known):
    """InputError for a name that is not among `known`, with the nearest one."""
    known = [str(k) for k in known]
    near = difflib.get_close_matches(str(name), known, n=1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    return InputError(f"{where}: unknown {what} {str(name)!r}{hint}; expected one of {', '.join(known) or 'none'}")
