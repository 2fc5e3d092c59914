"""How long a file of results may take to be read: HDF5 reads some damaged files for ever, and says raw lines of others.

Nothing but the end of its process stops a library that does not come back. So the command line, which has a process of
its own, says what is around every reading (`with watched_by(...)`); elsewhere nothing is.
"""

import contextlib
import contextvars

from ..scoped import scoped

SECONDS, BYTES_PER_S = 20.0, 1e7  # of opening; of reading what is in a file, slower than any disk
_WATCH: contextvars.ContextVar = contextvars.ContextVar("watch", default=None)


def watched_by(watch):
    """Readings inside run in the context `watch(message, seconds)`, which gives up with the message after so long."""
    return scoped(_WATCH, watch)


def of(path, size, expected):
    """Context of reading `size` bytes of a file."""
    watch, seconds = _WATCH.get(), SECONDS + size / BYTES_PER_S
    if watch is None:
        return contextlib.nullcontext()
    return watch(f"{path}: cannot be read (not done after {seconds:,.0f} s); {expected}", seconds)
