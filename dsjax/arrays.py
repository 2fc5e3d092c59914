"""Array functions by their standard names, in the namespace of their operands.

A formula is written once. Of NumPy arrays NumPy evaluates it, by broadcasting; of JAX arrays JAX, which may trace, map
over and differentiate it; of `evaluation.recording` symbols it becomes a list of operations; of `duals` numbers it
carries derivatives. Operators find the right code by themselves, functions here by `namespace`: names and meanings are
those of the array API standard (2024.12), to which `where` of Python numbers and `choose` are added.
"""

import numpy as np

_PLAIN = (bool, int, float, np.ndarray, np.generic)


def namespace(*operands):
    """The namespace that evaluates a function of these operands: NumPy where none of them has another.

    Of several the one with the highest `PRIORITY` (0 where it names none): numbers that hold others come first.
    """
    found = np
    for x in operands:
        if not isinstance(x, _PLAIN):
            own = x.__array_namespace__()
            if found is np or getattr(own, "PRIORITY", 0) > getattr(found, "PRIORITY", 0):
                found = own
    return found


def where(condition, x, y):
    """`x` where a condition holds, else `y`."""
    return namespace(condition, x, y).where(condition, x, y)


def choose(index, *cases):
    """The case of an index: `cases[index]`, element by element."""
    found, *others = cases
    for i, case in enumerate(others, start=1):
        found = where(index == i, case, found)
    return found


def minimum(x, y):
    """The smaller one."""
    return namespace(x, y).minimum(x, y)


def maximum(x, y):
    """The larger one."""
    return namespace(x, y).maximum(x, y)


def clip(x, low, high):
    """`x` not below `low` and not above `high`."""
    return minimum(maximum(x, low), high)


def take(x, index):
    """The elements of an array of one axis at indices within it."""
    return x[index] if namespace(x, index) is np else namespace(x, index).take(x, index, mode="clip")


def absolute(x):
    """|x|."""
    return namespace(x).abs(x)


def sqrt(x):
    """The square root."""
    return namespace(x).sqrt(x)


def exp(x):
    """e^x."""
    return namespace(x).exp(x)


def expm1(x):
    """e^x - 1."""
    return namespace(x).expm1(x)


def log(x):
    """The natural logarithm."""
    return namespace(x).log(x)


def log1p(x):
    """ln(1 + x)."""
    return namespace(x).log1p(x)


def log2(x):
    """The logarithm to base 2."""
    return namespace(x).log2(x)


def ceil(x):
    """The smallest whole number that is not below x."""
    return namespace(x).ceil(x)


def round(x):
    """The nearest whole number; of two the even one."""
    return namespace(x).round(x)


def floor(x):
    """The largest whole number that is not above x."""
    return namespace(x).floor(x)


def erf(x):
    """The error function; of NumPy arrays that of SciPy, which JAX brings along."""
    if namespace(x) is np:
        from scipy import special
    else:
        from jax.scipy import special
    return special.erf(x)


def isnan(x):
    """Whether a number is NaN."""
    return namespace(x).isnan(x)


def asarray(x, dtype=None):
    """An array of a type; of its own where none is given.

    A number beyond the integers of a type becomes the last of them, NaN 0, as in XLA; NumPy alone leaves it open.
    """
    own = namespace(x)
    if dtype is None:
        return own.asarray(x)
    if own is np and np.dtype(dtype).kind == "i" and np.asarray(x).dtype.kind == "f":
        limits = np.iinfo(dtype)
        x = np.clip(np.nan_to_num(np.asarray(x, np.float64)), limits.min, limits.max)
    return own.asarray(x, dtype=dtype)


def full_like(x, value):
    """`value` in the type of `x`: a scalar, whatever the axes of x."""
    return np.asarray(value, x.dtype)


def zeros_like(x):
    """0 in the type of `x`."""
    return full_like(x, 0)


def ones_like(x):
    """1 in the type of `x`."""
    return full_like(x, 1)


def precision(*operands):
    """Spacing of floating-point numbers at 1 in the type of the first operand that has one."""
    kinds = (getattr(x, "dtype", None) for x in operands)
    return float(np.finfo(next((k for k in kinds if k is not None and k.kind == "f"), np.float64)).eps)
