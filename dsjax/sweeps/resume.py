"""Resume folder of a sweep: a fingerprint of the request, and the slabs that are finished.

`FILE.parts/` holds `sweep.json`, a fingerprint of everything that decides the result; one file of counts for every
finished slab, written after its arrays and renamed into place; and the arrays, as the kind of output keeps them. Where
workers write, `session` names the process that asked them last: what another one asked before is written no more.
"""

import contextlib
import dataclasses
import functools
import json
import os
import secrets
import shutil
from pathlib import Path

from .. import __version__
from ..errors import InputError
from ..options import option
from ..results import files
from ..space import restoring
from ..units import domain, number
from . import slabs

FINGERPRINT, SESSION = "sweep.json", "session"
LENGTH = domain("1", low=1.0, open_low=False, integer=True)
IGNORED = ("text",)  # of a space: how the grid was written down


class Unwritable(InputError):
    """A folder of parts that cannot be written, though `kept` slabs are finished.

    One of a worker is put into words where it arrives: only the process that asked knows how it was asked.
    """

    def __init__(self, folder, reason, kept, where=""):
        self.what = folder, reason, kept
        super().__init__(
            f"{where}{folder}: cannot be written ({reason}); the {kept} slabs that are finished are kept: "
            f"expected room on the disk, and {option('resume', True)} to go on"
        )
        self.where = where

    def at(self, where):
        """The same, of another machine."""
        return Unwritable(*self.what, f"{where}: ")

    def __reduce__(self):
        return Unwritable, (*self.what, self.where)


@dataclasses.dataclass(frozen=True)
class Session:
    """A process that has workers write into a folder of parts, by a word that only it wrote there."""

    folder: str
    word: str

    def trouble(self):
        """Why workers that run here cannot write for it; "" where they can."""
        where, shared = self.folder, "expected a folder that all workers share with the process that asks"
        try:
            found = (Path(where) / SESSION).read_text("utf-8")
        except OSError as error:
            if not os.path.isdir(where):
                return f"does not see {where} ({error.strerror}); {shared}"
            found = ""
        if found != self.word:
            return f"sees another folder at {where}, or it is another process's by now; {shared}"
        return "" if os.access(where, os.W_OK) else f"may not write {where}; {shared}, and may write"


class Parts:
    """The parts of one output file; `asked`: the `Session` that has them written here."""

    def __init__(self, output, asked=None):
        self.folder = Path(f"{output}.parts")
        self.asked = asked

    @contextlib.contextmanager
    def started(self, cut, dtype, names, resume, force):
        """The `Slabs` to evaluate: those given, or those that the folder was begun with.

        A folder that was begun is an InputError without `resume` or `force` (which removes it), and with `resume`
        where it was begun with another input. Only one process at a time may hold it.
        """
        now = _fingerprint(cut, dtype, names)
        if self.folder.is_symlink():
            raise InputError(f"{self.folder}: is a link; expected a folder that an interrupted sweep left, or nothing")
        if os.path.lexists(self.folder):
            before = self.read()
            if before is not None and not (resume or force):
                wanted = f"{option('resume', True)} to go on, or {option('force', True)} to start again"
                there = f"{len(self.finished())} of {self.slabs(before).number} slabs"
                raise InputError(f"{self.folder}: holds {there} of a sweep that was interrupted; expected {wanted}")
            with self.locked():
                if before is not None and resume:
                    self.compare(before, now)
                    (self.folder / SESSION).unlink(missing_ok=True)
                    yield self.slabs(before)
                    return
                self.remove()
        with self.writing(), contextlib.suppress(FileExistsError):
            self.folder.mkdir()
        with self.locked():
            self.write(FINGERPRINT, json.dumps(now))
            yield cut

    def read(self):
        """The fingerprint of a folder that was begun; None where that was all."""
        try:
            return _checked(json.loads((self.folder / FINGERPRINT).read_text("utf-8")))
        except (OSError, ValueError, RecursionError) as error:
            if self.folder.is_dir() and not any(p.name != "lock" for p in self.folder.iterdir()):
                return None  # killed before its first line
            reason = getattr(error, "strerror", None) or str(error)[:80]
            raise InputError(
                f"{self.folder}: is not a folder of parts ({FINGERPRINT}: {reason}); expected to find what an "
                "interrupted sweep left, or nothing"
            ) from None

    def slabs(self, fingerprint):
        """The `Slabs` of a fingerprint."""
        try:
            space = restoring.space(json.dumps(fingerprint["space"]))
            cuts = tuple((axis, number("cuts", length, LENGTH)) for axis, length in fingerprint["cuts"])
            if strange := [axis for axis, length in cuts if length > space.sizes.get(axis, 0)]:
                raise ValueError(f"cuts: {strange[0]!r} is no axis of as many values")
        except (ValueError, TypeError) as error:  # TypeError: no pairs, or no names in them
            raise InputError(
                f"{self.folder}: {FINGERPRINT}: {str(error)[:150]}; expected {option('force', True)} to start again"
            ) from None
        return slabs.Slabs(space, cuts)

    def compare(self, before, now):
        """Refuse to resume with another request, and say what differs."""
        found = difference({**before, "cuts": None}, {**now, "cuts": None})
        if found:
            raise InputError(
                f"{self.folder}: was begun with another input: {found}; expected the same input to "
                f"{option('resume')}, or {option('force', True)} to start again"
            )

    def finished(self):
        """{index: counts} of the finished slabs."""
        found = {int(path.stem): _counts(path) for path in self.folder.glob(f"{9 * '[0-9]'}.json")}
        return {index: counts for index, counts in found.items() if counts is not None}

    def session(self):
        """A new `Session` of this process; what was asked of workers before is written no more."""
        session = Session(str(self.folder), secrets.token_hex(16))
        self.write(SESSION, session.word)
        return session

    def check(self):
        """Refuse to write for a session that is over, or that is none of this folder."""
        if self.asked and (trouble := self.asked.trouble()):
            raise InputError(trouble)

    def finish(self, index, counts):
        """Mark a slab as finished, its arrays being in place."""
        self.check()
        self.write(f"{index:09d}.json", json.dumps(counts))

    def forget(self, index):
        """Take back that a slab is finished."""
        (self.folder / f"{index:09d}.json").unlink(missing_ok=True)

    def write(self, name, text):
        """A small file, whole or not at all."""
        with self.writing(), self.replacing(name) as temporary:
            temporary.write_text(text, "utf-8")

    @contextlib.contextmanager
    def replacing(self, name):
        """A temporary path that takes the name of a file of the folder when the block ends well."""
        with self.temporary(name) as path:
            yield path
            files.place(path, self.folder / name, force=True)

    @contextlib.contextmanager
    def temporary(self, name):
        """A path in the folder that is gone when the block ends, under this name."""
        temporary = self.folder / f".{name}.{secrets.token_hex(4)}.tmp"
        try:
            yield temporary
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)

    @contextlib.contextmanager
    def writing(self):
        """A write that fails is an InputError that says what is kept."""
        try:
            yield
        except (OSError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and type(error) is not RuntimeError:
                raise  # only the NetCDF library raises the class itself
            reason = getattr(error, "strerror", None) or error
            with contextlib.suppress(OSError):
                kept = len(list(self.folder.glob("[0-9]*.json")))
                raise Unwritable(str(self.folder), str(reason), kept) from None
            raise

    @contextlib.contextmanager
    def locked(self):
        """Held by one process; the lock of a process that was killed is gone with it."""
        try:
            import fcntl
        except ImportError:  # not a POSIX system
            yield
            return
        with self.writing():
            file = open(self.folder / "lock", "a", encoding="utf-8")  # noqa: SIM115 (closed below)
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise InputError(
                    f"{self.folder}: another process is writing it; expected to wait for it, or another output"
                ) from None
            except OSError:  # a file system without locks
                pass
            yield

    def remove(self):
        """Remove everything but the lock."""
        for path in self.folder.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            elif path.name != "lock":
                path.unlink()

    def close(self):
        """Remove the folder: its output is complete."""
        shutil.rmtree(self.folder, ignore_errors=True)


@functools.lru_cache(maxsize=8)
def of_session(session):
    """(`Parts`, `Slabs`, dtype, names) of the folder of a session."""
    parts = Parts(session.folder.removesuffix(".parts"), session)
    parts.check()
    begun = parts.read()
    return parts, parts.slabs(begun), begun["dtype"], tuple(begun["variables"])


def _fingerprint(cut, dtype, names):
    return {
        "dsjax_version": __version__,
        "dtype": dtype,
        "variables": list(names),
        "cuts": [list(axis) for axis in cut.cuts],
        "space": json.loads(cut.space.to_json()),
    }


def _counts(path):
    """The counts of a finished slab; None where the file is damaged, and the slab to be evaluated again."""
    try:
        found = json.loads(path.read_text("utf-8"))
        whole = [found["points"], found["feasible"], *found["refused"].values()]
    except (OSError, ValueError, RecursionError, TypeError, KeyError, AttributeError):
        return None
    return found if all(type(n) is int for n in whole) else None


def _checked(fingerprint):
    """A fingerprint as it was written; anything else is a ValueError."""
    kinds = {"dsjax_version": str, "dtype": str, "variables": list, "cuts": list, "space": dict}
    for key, kind in kinds.items() if isinstance(fingerprint, dict) else [("", dict)]:
        if not (isinstance(fingerprint, dict) and isinstance(fingerprint.get(key), kind)):
            raise ValueError(f"{key or 'what it holds'} is no {kind.__name__}")
    return fingerprint


def difference(before, now, path=""):
    """The first key in which two fingerprints differ, with both values; "" where they agree."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in [*before, *(key for key in now if key not in before)]:
            if key in IGNORED:
                continue
            inner = f"{path}.{key}" if path else key
            if key not in before or key not in now:
                return f"{inner} is only {'there' if key in before else 'here'}"
            if found := difference(before[key], now[key], inner):
                return found
        return ""
    same = before == now or (before != before and now != now)
    return "" if same else f"{path} was {_short(before)} and is {_short(now)}"


def _short(value):
    text = json.dumps(value)
    if isinstance(value, list) and len(text) > 60:
        return f"{len(value)} values {text[:40]} ..."
    return text if len(text) <= 60 else f"{text[:56]} ..."
