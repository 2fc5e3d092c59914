"""How the command line ends where no answer ends it: interrupts, full disks, libraries that hang."""

import contextlib
import errno
import math
import os
import sys
import threading

from ..errors import shortened
from . import output

INTERRUPTED, UNREAD = 130, 141  # 128 + SIGINT, 128 + SIGPIPE, as shells have them
TICK = 0.25  # s


def interrupted(error):
    """Tell that the user stopped a command, and what is kept of it (the words of the interrupt)."""
    output.error("; ".join(["interrupted", *map(str, error.args)]))


def too_large(error):
    """What to make smaller where Python ran out of memory, or of levels of calls."""
    if isinstance(error, MemoryError):
        return "no memory is left; expected fewer values of the longest axis, one axis less, or a smaller file"
    return "tables or lists inside of each other have too many levels; expected a grid or a file with fewer"


@contextlib.contextmanager
def unwritable():
    """What cannot be written, as to a full disk, is one line and exit code 2; nothing more can be flushed.

    An error of a file that nobody told by its name is told here.
    """
    try:
        yield
    except OSError as error:
        if error.errno == errno.EPIPE:
            raise  # as in `unread`
        with contextlib.suppress(OSError):
            what = "output cannot be written" if error.filename is None else f"{error.filename}: cannot be used"
            output.error(f"{what} ({error.strerror})")
        os._exit(2)


@contextlib.contextmanager
def unread():
    """Where nobody reads on, as behind `head`, the command ends without a word: with no code that is an answer."""
    try:
        yield
    except BrokenPipeError:
        with contextlib.suppress(OSError):  # what Python still flushes at its end goes nowhere
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(UNREAD) from None


@contextlib.contextmanager
def at_once(own):
    """After an interrupt a process of its `own` ends here: threads of libraries that still write can crash its end."""
    try:
        yield
    except SystemExit as stop:
        if own and stop.code == INTERRUPTED:
            for stream in (sys.stdout, sys.stderr):
                with contextlib.suppress(OSError, AttributeError):
                    stream.flush()
            os._exit(INTERRUPTED)
        raise


@contextlib.contextmanager
def watch(message, seconds):
    """A library reads a file inside: after so many seconds the process ends with the message; raw lines are dropped."""
    with _silent() as tell:
        done = threading.Event()
        threading.Thread(target=_give_up, args=[done, seconds, tell, message], daemon=True).start()
        try:
            yield
        finally:
            done.set()


def _give_up(done, seconds, tell, message):
    """End the process where `done` is not set in time; while it is stopped, or the machine sleeps, no time passes."""
    for _ in range(math.ceil(seconds / TICK)):
        if done.wait(TICK):  # however long it was stopped in one
            return
    os.write(tell, f"error: {shortened(output.safe(message))}\n".encode(errors="backslashreplace"))
    os._exit(2)


@contextlib.contextmanager
def _silent():
    """Nothing reaches the descriptors of stdout and stderr inside; yields one that stands for stderr."""
    null, kept = os.open(os.devnull, os.O_WRONLY), {}
    try:
        for stream, number in ((sys.stdout, 1), (sys.stderr, 2)):
            with contextlib.suppress(OSError, AttributeError):  # closed, or none
                stream.flush()
            with contextlib.suppress(OSError):
                kept[number] = os.dup(number)
                os.dup2(null, number)
        yield kept.get(2, null)
    finally:
        for number, copy in kept.items():
            os.dup2(copy, number)
            os.close(copy)
        os.close(null)
