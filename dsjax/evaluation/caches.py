"""Caches of traces and compiled programs of a process, and `forget`, which clears them."""

import functools

_caches = []


def remembered(most):
    """Decorator: keep the last `most` results of a function until `forget`."""

    def decorate(function):
        _caches.append(functools.lru_cache(maxsize=most)(function))
        return _caches[-1]

    return decorate


def forget() -> None:
    """Drop every trace and every compiled program of this process; the next evaluation traces and compiles again.

    For a process that lives long and asks of many grids: a compiled program of the core model holds about 70 MB, and up
    to 64 of them are kept, and 32 of streamed searches. Their memory is free for what comes next.
    """
    for cache in _caches:
        cache.cache_clear()
