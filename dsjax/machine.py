"""Cores, memory and disk that are free on this machine, and pages that the process keeps."""

import ctypes
import math
import os
import shutil
import stat
from pathlib import Path

from .errors import InputError
from .options import option
from .units import domain, number

RESERVE = 0.3e9  # bytes that compiling and the libraries take beside arrays
LARGEST, KEPT = 2**25, 2**29  # bytes; the first is the most that glibc takes

# The folder, the user's alone, in which this process finds and leaves what another one can use; None: it has none. The
# command line has one. A process that puts functions of its own in the place of dsjax's must have none.
kept: Path | None = None


def gigabytes(n):
    """Bytes in words."""
    return f"{n / 1e9:,.1f} GB" if n >= 1e8 or n <= 0 else f"{n / 1e6:,.1f} MB"


def user_folder(variable, default):
    """The folder `dsjax` where XDG has such files: in what the variable names if it is absolute, else in the default.

    Source: XDG Base Directory Specification 0.8: paths are absolute, a relative one is ignored.
    """
    named = Path(os.environ.get(variable, ""))
    return (named if named.is_absolute() else home() / default) / "dsjax"


def cache():
    """The user's own folder of what can be made again, or None where there is none to trust, with the reason.

    It is made with mode 0700, as what leads there. One that belongs to another user, that others may write, or may put
    another in the place of (a folder on the way that they may write, and not sticky), is not used: compiled programs
    in it are run.
    """
    folder = user_folder("XDG_CACHE_HOME", ".cache")
    try:
        for place in (*reversed(folder.parents), folder):
            if not place.is_dir():
                place.mkdir(mode=0o700, exist_ok=True)
        found = folder.stat()  # of what a link leads to
        if not hasattr(os, "getuid"):  # not a POSIX system
            return folder, ""
        if found.st_uid != os.getuid() or folder.lstat().st_uid != os.getuid():
            return None, f"{folder}: belongs to another user; expected a folder of one's own"
        if found.st_mode & 0o022:
            return None, f"{folder}: others may write it; expected chmod go-w"
        for place in (*folder.parents, *folder.resolve().parents):
            if (mode := place.stat().st_mode) & 0o022 and not mode & stat.S_ISVTX:
                return None, f"{folder}: others may replace it, as they may write {place}; expected chmod go-w {place}"
    except OSError as error:
        return None, error.strerror or str(error)
    return folder, ""


def cores():
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def home():
    """The user's home folder; where nobody tells it, a path below which nothing is and nothing can be written."""
    try:
        return Path.home()
    except RuntimeError:  # no HOME, and a user whom the system does not know
        return Path(os.devnull)


def available_memory():
    """Free physical memory [B], within the container's limit; infinite where the system does not tell."""
    free = math.inf
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            lines = dict(line.split(":") for line in file)
        free = int(lines["MemAvailable"].split()[0]) * 1024
        with (
            open("/sys/fs/cgroup/memory.max", encoding="ascii") as limit,
            open("/sys/fs/cgroup/memory.current", encoding="ascii") as used,
        ):
            text = limit.read().strip()
            if text != "max":
                free = min(free, int(text) - int(used.read()))
    except (OSError, KeyError, ValueError):
        if math.isinf(free) and hasattr(os, "sysconf") and "SC_AVPHYS_PAGES" in os.sysconf_names:
            free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return free


def resident_memory():
    """Memory this process holds [B]; 0 where the system does not tell."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


def keep_pages():
    """Keep freed memory of this process for its next arrays: for a process that does nothing else, as the command line.

    The C library of Linux gives buffers of some megabytes back to the system after each use, and touching fresh pages
    takes longer than the arithmetic on them. True where it is told to keep up to KEPT bytes of buffers up to LARGEST.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):  # another C library
        return False
    return bool(mallopt(-3, LARGEST)) and bool(mallopt(-1, KEPT))  # M_MMAP_THRESHOLD, M_TRIM_THRESHOLD


def room(max_memory=None):
    """Bytes that arrays may take: what is free, or what a limit of the process's memory leaves of it.

    `max_memory`: bytes, or text like "4 GB".
    """
    free = available_memory()
    if max_memory is None:
        return free
    limit, held = number(option("max_memory"), max_memory, domain("B")), resident_memory() + RESERVE
    if limit <= held:
        given = option("max_memory", max_memory)
        raise InputError(f"{given}: dsjax itself takes {gigabytes(held)}; expected more than that")
    return min(free, limit - held)


def disk(path):
    """Free bytes where a file is to be written; 0 where there is no folder."""
    try:
        return shutil.disk_usage(Path(path).resolve().parent).free
    except OSError:
        return 0
