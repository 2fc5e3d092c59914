"""Text files that users name: read whole, once what they are and how large they are is known."""

import os
import stat
from pathlib import Path

from .errors import InputError

LARGEST = 2**24  # bytes of what somebody writes by hand, unless the caller says otherwise


def read(path, expected, largest=LARGEST, remedy=""):
    """The text of a UTF-8 file, a byte-order mark left out.

    A folder, a pipe or a device (which might never end), more than `largest` bytes, other bytes than UTF-8, and what
    cannot be read are an InputError that ends in what was `expected`; `remedy`: what a smaller file would leave out.
    """
    path = Path(path)
    try:
        found = os.stat(path)
        if stat.S_ISDIR(found.st_mode):
            raise InputError(f"{path}: is a folder; expected {expected}")
        if not stat.S_ISREG(found.st_mode):
            raise InputError(f"{path}: is no regular file; expected {expected}")
        size, content = found.st_size, b""
        if size <= largest:
            with open(path, "rb") as file:
                content = file.read(largest + 1)  # a file may have grown since
            size = len(content)
        if size > largest:
            more = f", {remedy}" if remedy else ""
            raise InputError(f"{path}: {size:,} bytes; expected {expected} of at most {largest:,} bytes{more}")
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: byte {error.start} is not UTF-8; expected {expected} in UTF-8") from None
    except (OSError, ValueError) as error:  # ValueError: a name with a null byte
        if isinstance(error, InputError):
            raise
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path}: cannot be read ({reason}); expected {expected}") from None
