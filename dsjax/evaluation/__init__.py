"""A scalar function at every point of a space.

These names are the package's face: nothing outside it uses another one. Space and dtype say what is wanted; traces,
programs, compilers and NumPy are its own affair.
"""

from .caches import forget
from .derivatives import continued, differentiated, forward, reverse
from .lift import evaluate, interpreting, known, nbytes, numbers, samples, variables
from .reductions import equations_along, reduction
from .trace_cache import traces_kept

__all__ = [
    "continued",
    "differentiated",
    "equations_along",
    "evaluate",
    "forget",
    "forward",
    "interpreting",
    "known",
    "nbytes",
    "numbers",
    "reduction",
    "reverse",
    "samples",
    "traces_kept",
    "variables",
]
