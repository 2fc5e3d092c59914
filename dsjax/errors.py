"""The errors that a user's input can raise."""

import contextlib
import difflib
import heapq
import itertools

LISTED = 12  # more names than these are not all listed in an error
# record -> what `dsjax catalog` calls its rows
CATALOGS = {"hardware": "hardware", "nic": "nics", "model": "models", "precision": "precisions", "curve": "curves"}
CATALOGS |= {"engine": "engines"}


class InputError(ValueError):
    """Bad input: one line naming the file, the key, the value and what was expected."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split("\n")))


class NothingFeasible(InputError):
    """The input is valid, but no point is feasible: an answer, exit code 1 of the command line."""


def unknown(where, what, name, known):
    """InputError for a name that is not among `known`: it lists all of `known` where they are few, else the nearest."""
    known = list(known)
    nearest = _nearest(name, known)
    near = difflib.get_close_matches(str(name), nearest, n=1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    if len(known) <= LISTED:
        wanted = f"one of {', '.join(map(str, known)) or 'none'}"
    else:
        wanted = f"one of {len(known)}, the nearest {', '.join(nearest)}"
        wanted += f" (dsjax catalog {CATALOGS[what]} lists them)" if what in CATALOGS else ""
    return InputError(f"{where}: unknown {what} {str(name)!r}{hint}; expected {wanted}")


def _nearest(name, known, most=3):
    """The nearest numbers, or the names most like `name`; those that hold it come first."""
    with contextlib.suppress(TypeError, ValueError):
        return [str(k) for k in heapq.nsmallest(most, known, key=lambda k: abs(float(k) - float(name)))]
    name, known = str(name), list(map(str, known))
    holding = [k for k in known if name.lower() in k.lower()]
    pools = (difflib.get_close_matches(name, pool, n=most, cutoff=0.0) for pool in (holding, known))
    return list(dict.fromkeys(itertools.chain(*pools)))[:most]
