"""A scalar function at every point of a space.

The names below are the package's interface, and other packages use no others. Callers give a space and a dtype;
traces, programs, compilers and NumPy stay inside the package.
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
