"""Numbers that carry derivatives: a value, and its tangent along every direction that reaches it.

Forward mode: d f(a, b) = f_a da + f_b db along each direction. A direction that does not reach a number has no tangent
there, so that a tangent is never wider than what it meets. Values and tangents may be of any kind that formulas take:
NumPy arrays, JAX arrays, symbols. Where two branches meet (the maximum of equal numbers) each has half of the slope, as
in JAX. Source: A. Griewank, A. Walther, Evaluating Derivatives (2nd ed., 2008), chapter 3.
"""

import math

import numpy as np

from .. import arrays


class Dual:
    """`value` and {direction: tangent}.

    `real`: of a whole number that is continued to a real one, the real number in its place where it turns into a
    floating-point number. `smooth`: made of such a number, so that a ceiling lets it through.
    """

    __slots__ = ("real", "smooth", "tangents", "value")
    __array_ufunc__ = None  # of NumPy's operators the reflected one here is used
    __hash__ = object.__hash__

    def __init__(self, value, tangents, smooth=False, real=None):
        self.value, self.tangents, self.smooth, self.real = value, tangents, smooth, real

    @property
    def dtype(self):
        """Type of the value."""
        return self.value.dtype if hasattr(self.value, "dtype") else np.asarray(self.value).dtype

    def __array_namespace__(self, api_version=None):
        return Functions

    def __bool__(self):
        raise TypeError("a formula branches on a number of its point; expected arrays.where")

    def __add__(self, other):
        return _combined(self, other, lambda a, b: a + b, _same, _same)

    __radd__ = __add__

    def __sub__(self, other):
        return _combined(self, other, lambda a, b: a - b, _same, lambda t: -t)

    def __rsub__(self, other):
        return _combined(other, self, lambda a, b: a - b, _same, lambda t: -t)

    def __mul__(self, other):
        if not _is_number(other):
            return NotImplemented
        a, b = value(self), value(other)
        return _combined(self, other, lambda a, b: a * b, lambda t: t * b, lambda t: a * t)

    __rmul__ = __mul__

    def __truediv__(self, other):
        return _quotient(self, other)

    def __rtruediv__(self, other):
        return _quotient(other, self)

    def __pow__(self, other):
        return self * self if isinstance(other, int | float) and other == 2 else _power(self, other)

    def __rpow__(self, other):
        return _power(other, self)

    def __neg__(self):
        return _chained(self, -self.value, lambda t: -t)


def value(x):
    """The value of a number, which may carry derivatives."""
    return x.value if isinstance(x, Dual) else x


def applied(function, x):
    """A number with `function` of its value and of every tangent."""
    if not isinstance(x, Dual):
        return function(x)
    real = None if x.real is None else applied(function, x.real)
    return Dual(function(x.value), {key: function(t) for key, t in x.tangents.items()}, x.smooth, real)


def tangent(x, direction):
    """The derivative of a number along a direction: 0 where it does not reach the number."""
    return x.tangents.get(direction, 0.0) if isinstance(x, Dual) else 0.0


def along(number, direction):
    """A number that moves along a direction, one for one."""
    return Dual(number, {direction: 1.0})


def continued(whole, real):
    """The whole number `whole` with a real number in its place where it turns into a floating-point number.

    What stays on whole numbers (parity, divisibility) keeps it; a ceiling lets the real number through.
    """
    real = Dual(value(real), real.tangents if isinstance(real, Dual) else {}, smooth=True)
    return Dual(whole, {}, real=real)


def _is_number(x):
    return isinstance(x, Dual | bool | int | float | np.ndarray | np.generic) or hasattr(x, "__array_namespace__")


def _same(t):
    return t


def _tangents(x):
    return x.tangents if isinstance(x, Dual) else {}


def _smooth(*numbers):
    return any(isinstance(x, Dual) and x.smooth for x in numbers)


def _chained(x, found, slope):
    """A function's value, and `slope` of every tangent of its operand."""
    return Dual(found, {key: slope(t) for key, t in _tangents(x).items()}, _smooth(x))


def _combined(a, b, function, of_a, of_b):
    """function(a, b), its tangents `of_a` those of a plus `of_b` those of b."""
    if not (_is_number(a) and _is_number(b)):
        return NotImplemented
    tangents = {key: of_a(t) for key, t in _tangents(a).items()}
    for key, t in _tangents(b).items():
        t = of_b(t)
        tangents[key] = tangents[key] + t if key in tangents else t
    return Dual(function(value(a), value(b)), tangents, _smooth(a, b))


def _quotient(a, b):
    """a / b: da / b - db (a / b) / b."""
    if not (_is_number(a) and _is_number(b)):
        return NotImplemented
    numerator, inverse = value(a), 1.0 / value(b)
    return _combined(a, b, lambda a, b: a / b, lambda t: t * inverse, lambda t: -(t * (numerator * inverse * inverse)))


def _power(a, b):
    """a^b: b a^(b - 1) da + ln(a) a^b db, 0 for each where the other factor is 0."""
    if not (_is_number(a) and _is_number(b)):
        return NotImplemented
    x, y = value(a), value(b)
    found, tangents = x**y, {}
    if _tangents(a):
        slope = arrays.where(y == 0.0, 0.0, y * x ** arrays.where(y == 0.0, 1.0, y - 1.0))
        tangents = {key: t * slope for key, t in _tangents(a).items()}
    if _tangents(b):
        slope = arrays.log(arrays.where(x == 0.0, 1.0, x)) * found
        for key, t in _tangents(b).items():
            tangents[key] = tangents[key] + t * slope if key in tangents else t * slope
    return Dual(found, tangents, _smooth(a, b))


def _of_values(name):
    """Operator of the values, without derivatives: comparisons, whole numbers."""

    def operator(self, other):
        return getattr(value(self), name)(value(other))

    return operator


for _name in ("lt", "le", "gt", "ge", "eq", "ne", "floordiv", "rfloordiv", "mod", "rmod"):
    setattr(Dual, f"__{_name}__", _of_values(f"__{_name}__"))


def _extreme(name, a, b):
    """The larger or smaller of two numbers: the slope of the one that it is, half of each where they are equal."""
    x, y = value(a), value(b)
    first = x > y if name == "maximum" else x < y
    share = arrays.where(first, 1.0, arrays.where(x == y, 0.5, 0.0))
    found = getattr(arrays, name)(x, y)
    return _combined(a, b, lambda x, y: found, lambda t: t * share, lambda t: t * (1.0 - share))


def _stepped(name):
    """A function that is flat between its steps; what was continued passes."""

    def function(x):
        return x if x.smooth else getattr(arrays, name)(x.value)

    return staticmethod(function)


def _smooth_function(name, slope):
    """A function of one number whose derivative is slope(its operand, its value)."""

    def function(x):
        found = getattr(arrays, name)(x.value)
        if not x.tangents:
            return Dual(found, {}, x.smooth)
        factor = slope(x.value, found)
        return _chained(x, found, lambda t: t * factor)

    return staticmethod(function)


class Functions:
    """Namespace of numbers that carry derivatives: functions by their standard names."""

    PRIORITY = 1  # they hold numbers of other namespaces

    sqrt = _smooth_function("sqrt", lambda x, found: 0.5 / found)
    exp = _smooth_function("exp", lambda x, found: found)
    expm1 = _smooth_function("expm1", lambda x, found: found + 1.0)
    log = _smooth_function("log", lambda x, found: 1.0 / x)
    log1p = _smooth_function("log1p", lambda x, found: 1.0 / (1.0 + x))
    log2 = _smooth_function("log2", lambda x, found: 1.0 / (x * math.log(2.0)))
    abs = _smooth_function("absolute", lambda x, found: arrays.where(x > 0.0, 1.0, arrays.where(x < 0.0, -1.0, 0.0)))
    ceil, round = _stepped("ceil"), _stepped("round")

    @staticmethod
    def where(condition, x, y):
        """The tangents of the branch that is taken."""
        condition = value(condition)

        def chosen(a, b):
            return arrays.where(condition, a, b)

        of_x, of_y = _tangents(x), _tangents(y)
        tangents = {key: chosen(of_x.get(key, 0.0), of_y.get(key, 0.0)) for key in of_x | of_y}
        return Dual(chosen(value(x), value(y)), tangents, _smooth(x, y))

    @staticmethod
    def maximum(a, b):
        """The larger one."""
        return _extreme("maximum", a, b)

    @staticmethod
    def minimum(a, b):
        """The smaller one."""
        return _extreme("minimum", a, b)

    @staticmethod
    def isnan(x):
        """Whether the value is NaN."""
        return arrays.isnan(x.value)

    @staticmethod
    def asarray(x, dtype=None):
        """A number in another type; a whole number that is continued becomes its real number."""
        if dtype is None or np.dtype(dtype) == x.dtype:
            return x
        if np.dtype(dtype).kind != "f":
            return arrays.asarray(x.value, dtype)
        if x.real is not None:
            return x.real
        return _chained(
            x, arrays.asarray(x.value, dtype), lambda t: t if isinstance(t, float) else arrays.asarray(t, dtype)
        )
