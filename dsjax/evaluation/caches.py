"""What a process remembers of its programs, and how it forgets them."""

import functools

_caches = []


def remembered(most):
    """Decorator: keep the last `most` results of a function until `forget`."""

    def decorate(function):
        _caches.append(functools.lru_cache(maxsize=most)(function))
        return _caches[-1]

    return decorate


def forget() -> None:
    """Drop every trace and every compiled program of this process, and the memory they take; the next call makes anew
    what it needs.

    For a process that lives long and asks of many grids: a compiled program takes tens of megabytes, and up to 64 of
    them, and 32 of streamed searches, are kept.
    """
    for cache in _caches:
        cache.cache_clear()
