"""Records of a result file, read once, and what a format makes of one: a `Run`."""

import contextlib
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from ... import texts
from ...errors import InputError
from ...units import domain, number

LARGEST = 64 * 2**20  # bytes of a result file; those with every token of every request in them are larger
SECONDS = {"s": 1.0, "sec": 1.0, "seconds": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}  # of a unit in one second
AT_A_RATE = "requests come at a rate ({}), not from users who wait for their answers"
_POSITIVE, _FROM_ZERO = domain("1"), domain("1", open_low=False)
_COUNT, _FROM_NONE = domain("1", integer=True), domain("1", open_low=False, integer=True)


class Record(NamedTuple):
    """One run of a result file; a key may be a path of keys, "world_info.tp_size"."""

    where: str  # what errors call it
    data: dict

    def get(self, key):
        """The value of a key, None where it is missing or null."""
        found = self.data
        for i, part in enumerate(parts := key.split(".")):
            if found is None:
                return None
            if not isinstance(found, dict):
                raise self.wrong(".".join(parts[:i]), found, "a table")
            found = found.get(part)
        return found

    def wrong(self, key, value, wanted):
        """InputError of a value that is not what its format has there."""
        said = "missing" if value is None else f"{str(value)[:40]!r}"
        return InputError(f"{self.where}: {key}: {said}; expected {wanted}")

    def text(self, key):
        """A text, "" where there is none."""
        value = self.get(key)
        if value is not None and not isinstance(value, str):
            raise self.wrong(key, value, "a text")
        return value or ""

    def flag(self, key):
        """Whether a key is true, or says "true"."""
        value = self.get(key)
        if value is not None and not isinstance(value, bool) and str(value).lower() not in ("", "true", "false"):
            raise self.wrong(key, value, "true or false")
        return str(value).lower() == "true"

    def amount(self, key, zero=False, needed=False):
        """A positive number, or 0 with `zero`; None where there is none."""
        return self._number(key, _FROM_ZERO if zero else _POSITIVE, needed)

    def count(self, key, zero=False, needed=False):
        """A whole number of at least 1, or 0 with `zero`; None where there is none."""
        return self._number(key, _FROM_NONE if zero else _COUNT, needed)

    def rate(self, tokens, duration, units="s"):
        """What is under a key over what is under another, a time [1/s]; None where one of them is missing."""
        amount, time = self.figure(tokens), self.figure(duration)
        return amount * SECONDS[units] / time if amount and time else None

    def figure(self, key):
        """A positive number that others are compared with, which no run needs: None for anything else."""
        with contextlib.suppress(InputError):
            return self.amount(key)
        return None

    def _number(self, key, meta, needed):
        value = self.get(key)
        if value is None and not needed:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.wrong(key, value, "a number")
        return number(f"{self.where}: {key}", value, meta)

    def seconds(self, key, units="ms", zero=False):
        """A time written in `units` [s]."""
        value = self.amount(key, zero)
        return None if value is None else value / SECONDS[units]


@dataclasses.dataclass(frozen=True)
class Run:
    """What a record says of a run, in SI and in the words of a file of systems."""

    requests: int | None  # that were answered; None where the file does not count them
    said: dict = dataclasses.field(default_factory=dict)  # {key of a system: value}, what is None is not said
    called: dict = dataclasses.field(default_factory=dict)  # {key: the file's own name of a row of a catalog}
    ttft: float | None = None  # mean time to the first token [s]
    tpot: float | None = None  # mean time of a token after it [s]
    tokens_per_s: float | None = None  # output tokens per second of all chips
    failed: int = 0  # requests that were not answered
    version: str = ""  # of the tool
    needs: tuple = ()  # keys that must be known beside those of every run
    aside: str = ""  # why no file of systems can describe it
    answer: str = ""  # the key that describes it all the same
    asked: int | None = None  # requests that were sent
    counted_per_s: float | None = None  # output tokens / duration, where the file has both
    in_flight: float | None = None  # mean requests in flight, where the file has measured it


class Keys(NamedTuple):
    """What a tool calls figures of a run: paths of `Record.get`, and words of what a rate was counted from."""

    ttft: str = "mean_ttft_ms"
    tpot: str = "mean_tpot_ms"
    rate: str = "output_throughput"
    counted: str = "total_output_tokens / duration"
    units: str = "ms"  # of the times; "": each says its own


class Format(NamedTuple):
    """A tool's result file."""

    name: str
    holds: Callable  # whether a record's dict is of this format
    read: Callable  # `Record` -> `Run`
    keys: Keys = Keys()


def records(path):
    """[`Record`] of a result file: one JSON value, or several after one another; a list is a record for each item."""
    path = Path(path)
    text = texts.read(path, "the result file of a benchmark", LARGEST, "without the details of every request")
    values = _values(path, text)
    values = [x for value in values for x in (value if isinstance(value, list) else [value])]
    if not values:
        raise InputError(f"{path}: empty; expected the result file of a benchmark")
    several = len(values) > 1
    found = [Record(f"{path}: record {i}" if several else str(path), x) for i, x in enumerate(values, start=1)]
    for record in found:
        if not isinstance(record.data, dict):
            raise InputError(f"{record.where}: {str(record.data)[:40]!r}; expected a table of results")
    return found


def _values(path, text):
    """The JSON values of a text, one after the other: as one value, or as lines."""
    decoder, found, place = json.JSONDecoder(), [], 0
    try:
        while place < len(text):
            if text[place].isspace() or text[place] == "\x1e":
                place += 1
                continue
            value, place = decoder.raw_decode(text, place)
            found.append(value)
    except json.JSONDecodeError as error:
        raise InputError(f"{path}: line {error.lineno}: {error.msg}; expected JSON, or JSON lines") from None
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, lists inside lists
        raise InputError(f"{path}: {str(error)[:60]}; expected JSON, or JSON lines") from None
    return found
