"""Caches of traces and programs of a process, and `forget`, which clears them."""

import functools

_clear: list = []  # functions, one for each cache


def remembered(most):
    """Decorator: keep the last `most` results of a function until `forget`."""

    def decorate(function):
        cached = functools.lru_cache(maxsize=most)(function)
        _clear.append(cached.cache_clear)
        return cached

    return decorate


def when_forgotten(function):
    """Decorator: call a function whenever all is forgotten."""
    _clear.append(function)
    return function


def forget() -> None:
    """Drop every trace and every program of this process; the next evaluation traces, and compiles, again.

    For a process that lives long and asks of many grids: up to 64 compiled programs are kept, and 32 of streamed
    searches, some megabytes each, and up to 128 MB of results of the question that was asked last, which is quicker
    when it is asked again with another number.
    """
    for clear in _clear:
        clear()
