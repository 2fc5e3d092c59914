"""A scalar function at every point of a space.

The names below are the package's interface, and other packages use no others. Callers give a space and a dtype;
traces, programs, compilers and NumPy stay inside the package.
"""

from .caches import forget
from .choice import compiled
from .derivatives import substituted
from .duals import along, continued, tangent, value
from .lift import at, evaluate, known, nbytes, numbers, pays, points, samples, variables
from .reductions import equations_along, reduction
from .servers import request_stages, server_memory, servers_at, shares_tables

__all__ = [
    "along",
    "at",
    "compiled",
    "continued",
    "equations_along",
    "evaluate",
    "forget",
    "known",
    "nbytes",
    "numbers",
    "pays",
    "points",
    "reduction",
    "request_stages",
    "samples",
    "server_memory",
    "servers_at",
    "shares_tables",
    "substituted",
    "tangent",
    "value",
    "variables",
]
