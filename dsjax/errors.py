"""The errors that a user's input can raise."""

import contextlib
import difflib
import heapq
import itertools
import math

LISTED = 12  # more names than these are not all listed in an error
LONGEST = 300  # characters of a line; of several faults those that go beyond are counted
# record -> what `dsjax catalog` calls its rows
CATALOGS = {"hardware": "hardware", "nic": "nics", "model": "models", "precision": "precisions", "curve": "curves"}
CATALOGS |= {"engine": "engines"}
LONGEST_LIST = 200  # characters of the names that an error lists
# what an error calls a name -> the command that lists them
LISTS = {"constraint": "names limits", "parameter": "names parameters", "axis": "names axes", "group": "names axes"}
LISTS |= {f"variable{of}": "names variables" for of in ("", " of this phase", " of this space")}
LISTS |= {f"field of {record}": f"catalog {name} --fields" for record, name in CATALOGS.items()}


class InputError(ValueError):
    """Bad input: one line, of at most `LONGEST`, naming the file, the key, the value and what was expected."""

    longest: float = LONGEST

    def __init__(self, message: str) -> None:
        super().__init__(shortened(" ".join(message.split("\n")), self.longest))


class NothingFeasible(InputError):
    """The input is valid, but no point is feasible: an answer, exit code 1 of the command line."""

    longest = math.inf


def shortened(text, longest=LONGEST):
    """A line of at most `longest`: names and values that are long lose their middle, then lists their end."""
    for most in (100, 50, 25):
        if len(text) <= longest:
            return text
        text = " ".join(_cut(word, most) for word in text.split(" "))
    if len(text) <= longest:
        return text
    what, semicolon, expected = text.rpartition("; expected ")
    if not semicolon:
        return _cut(text, longest)
    expected = _cut(semicolon + expected, longest // 3, end=True)
    return _cut(what, longest - len(expected)) + expected


def _cut(text, most, end=False):
    """A text of at most `most` characters, without its middle or its end."""
    if len(text) <= most:
        return text
    first = most - 3 if end else (most - 3) // 2
    return f"{text[:first]}...{text[len(text) - (most - 3 - first) :]}"


class Remark(UserWarning):
    """What a user should know of an input that is taken as it is."""


class Faults:
    """What is wrong with one thing, a row, a grid or a system, gathered so that its user is told all of it at once.

    `where` is what its errors call it: they begin so.
    """

    def __init__(self, where):
        self.where, self.errors, self.missing, self.wanted = where, [], [], ""

    @contextlib.contextmanager
    def caught(self):
        """Keeps an `InputError` of the block."""
        try:
            yield
        except InputError as error:
            self.errors.append(error)

    def among(self, what, names, known):
        """Keeps that some of `names` are not `known`."""
        self.errors += [unknown(self.where, what, name, known) for name in names if name not in known]

    def lacks(self, names, expected):
        """Keeps the names of what is missing, and what was expected."""
        self.missing += [name for name in names if name not in self.missing]
        self.wanted = expected

    def __bool__(self):
        return bool(self.errors or self.missing)

    def tell(self):
        """Raises what was found, if anything: one fault in its own words, several in one line of `LONGEST`."""
        if not self:
            return
        if len(self.errors) == 1 and not self.missing:
            raise self.errors[0]
        lines = []
        for expected in (True, False):  # what was expected is left out before a name is
            texts = [self._short(error, expected) for error in self.errors]
            more = f"; expected {self.wanted}" if expected and not texts else ""
            lines.append(f"{self.where}: {_listed(texts, self.missing)}{more}")
        n = len(texts) + len(self.missing)
        lines += [f"{self.where}: {_listed(texts, self.missing, left)}" for left in range(1, n)]
        raise InputError(next((line for line in lines if len(line) <= LONGEST), lines[-1]))

    def _short(self, error, with_expected):
        """An error without the place of all of them; of a name that is unknown, without the names that are known."""
        text, _, expected = str(error).removeprefix(self.where).lstrip(": ").partition("; expected ")
        is_told = with_expected and expected and ": unknown " not in f": {text}"
        return f"{text} (expected {expected})" if is_told else text


def _listed(texts, missing, left=0):
    """The faults as one text but for the last `left` of them, which are counted."""
    shown = len(texts) + len(missing) - left
    parts = texts[:shown]
    if names := missing[: max(shown - len(texts), 0)]:
        parts = [*parts, f"missing {', '.join(names)}"]
    return "; ".join(parts) + (f" and {left} more" if left else "")


def unknown(where, what, name, known):
    """InputError for a name that is not among `known`: it lists all of `known` where they are few, else the nearest."""
    known = list(known)
    near = _begun(name, known)[:1] or difflib.get_close_matches(str(name), nearest(name, known), n=1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    return InputError(f"{where}: unknown {what} {str(name)!r}{hint}; expected {among(what, name, known)}")


def among(what, name, known):
    """ "one of a, b" of a few names; of many, or of long ones, those nearest to `name`, and where all are listed."""
    known = [*map(str, known)]
    every = f"one of {', '.join(known) or 'none'}"
    if len(known) <= LISTED and len(every) <= LONGEST_LIST:
        return every
    told = LISTS.get(what) or (f"catalog {CATALOGS[what]}" if what in CATALOGS else "")
    where = f" (dsjax {told} lists them)" if told else ""
    return f"one of {len(known)}, the nearest {', '.join(nearest(name, known))}{where}"


def nearest(name, known, most=3):
    """The nearest numbers, or the names most like `name`: several that begin with it first, then those that hold it."""
    with contextlib.suppress(TypeError, ValueError):
        return [str(k) for k in heapq.nsmallest(most, known, key=lambda k: abs(float(k) - float(name)))]
    name, known = str(name), list(map(str, known))
    holding = [k for k in known if name.lower() in k.lower()]
    pools = (difflib.get_close_matches(name, pool, n=most, cutoff=0.0) for pool in (holding, known))
    return list(dict.fromkeys(itertools.chain(_begun(name, known), *pools)))[:most]


def _begun(name, known):
    """Names, more than one, that go on where `name` ends: scale_out_bytes_per_s, ... of scale_out."""
    start = f"{name}_".lower()
    found = [k for k in map(str, known) if k.lower().startswith(start)]
    return found if name and len(found) > 1 else []
