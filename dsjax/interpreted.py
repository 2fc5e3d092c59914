"""Programs evaluated with NumPy, equation by equation: a first result without waiting for a compiler.

Every value has the axes of a space in front, each of its own length or 1, and the dims of the scalar program behind:
broadcasting lifts the formula, and whatever lacks an axis is computed once along it. An equation costs a few
microseconds whatever its size, so it pays for results of few elements that are asked for once. The numbers are those
of the compiled program but for the last bits: same types, same truncation of integers, same NaN. (XLA flushes
denormal numbers to 0, NumPy keeps them.)
"""

import enum
import math
import operator
from typing import NamedTuple

import numpy as np

# Elements of the largest result below which NumPy is done before a compiler: the core model takes 0.02 s for 2e4 points,
# 0.07 s for 1.6e5 and 0.4 s for 6.7e5; a compiled program that is found in the cache costs 2 s of one core, a new one 5.
SMALL = 2**18


class Type(NamedTuple):
    """Shape and type of an operand of a scalar program."""

    shape: tuple
    dtype: np.dtype

    @property
    def ndim(self):
        return len(self.shape)


class Equation(NamedTuple):
    """An equation without JAX."""

    name: str  # of the primitive
    params: dict  # those of PARAMS: numbers, names, tuples
    types: tuple  # of the operands
    result: Type  # the first
    inputs: tuple  # slots
    outputs: tuple


# The parameters of primitives that are read here.
PARAMS = ("axes", "axis", "broadcast_dimensions", "dimension", "dimensions", "limit_indices", "out_dtype")
PARAMS += ("permutation", "rounding_method", "sizes", "start_indices", "strides", "y")


class Program(NamedTuple):
    """A `jaxprs.Program` without JAX."""

    constants: dict  # {slot: array}
    equations: tuple

    def needed(self, wanted):
        """The equations that the slots `wanted` need, in order."""
        live, found = set(wanted), []
        for equation in reversed(self.equations):
            if not live.isdisjoint(equation.outputs):
                found.append(equation)
                live.update(equation.inputs)
        return found[::-1]

    def plain(self):
        """The program as lists, texts and numbers, for a file."""
        types = {t: i for i, t in enumerate(dict.fromkeys(t for e in self.equations for t in (*e.types, e.result)))}
        return {
            "constants": [[slot, x.dtype.name, x.shape, x.tobytes().hex()] for slot, x in self.constants.items()],
            "types": [[t.shape, t.dtype.name] for t in types],
            "equations": [
                [e.name, e.params, [types[t] for t in e.types], types[e.result], e.inputs, e.outputs]
                for e in self.equations
            ],
        }

    @classmethod
    def from_plain(cls, data):
        """The program that `plain` wrote."""
        types = [Type(tuple(shape), np.dtype(name)) for shape, name in data["types"]]
        equations = tuple(
            Equation(name, _tuples(params), tuple(types[i] for i in of), types[result], tuple(inputs), tuple(outputs))
            for name, params, of, result, inputs, outputs in data["equations"]
        )
        constants = {
            slot: np.frombuffer(bytes.fromhex(text), np.dtype(name)).reshape(shape)
            for slot, name, shape, text in data["constants"]
        }
        return cls(constants, equations)


def _tuples(params):
    return {key: tuple(value) if isinstance(value, list) else value for key, value in params.items()}


def without_jax(program):
    """`Program` of a `jaxprs.Program`, with the same slots."""
    types = {}

    def type_of(atom):
        aval = atom.aval
        if aval not in types:
            types[aval] = Type(tuple(aval.shape), np.dtype(aval.dtype)) if hasattr(aval, "shape") else Type((), None)
        return types[aval]

    equations = []
    for node in program.nodes:
        equation, name = node.equation, node.equation.primitive.name
        try:
            params = {key: _plain(equation.params[key]) for key in PARAMS if key in equation.params}
        except TypeError:
            name, params = f"{name} of a kind not known here", {}
        operands, result = tuple(map(type_of, equation.invars)), type_of(equation.outvars[0])
        equations.append(Equation(name, params, operands, result, node.inputs, node.outputs))
    return Program(dict(program.constants), tuple(equations))


def _plain(value):
    """A parameter as a number, a text or a tuple of them; TypeError for any other."""
    if isinstance(value, tuple | list):
        return tuple(map(_plain, value))
    if isinstance(value, enum.Enum | np.dtype):
        return value.name
    if value is None or isinstance(value, str | bool | float):
        return value
    return operator.index(value)


def prepared(program, wanted, lead):
    """`function(leaves) -> [arrays]` of the slots `wanted` of a `Program`; None where it has an equation that is not
    known here.

    The leaves and the results have `lead` axes in front; of a result an axis that it does not depend on has length 1.
    """
    steps, last = [], {}
    equations = program.needed(wanted)
    for i, equation in enumerate(equations):
        last.update(dict.fromkeys(equation.inputs, i))
    keep = {*wanted, *program.constants}
    for i, equation in enumerate(equations):
        function = _function(equation, lead)
        if function is None:
            return None
        slots = {*equation.inputs, *equation.outputs}
        dead = [slot for slot in slots if last.get(slot, i) == i and slot not in keep]
        steps.append((function, equation.inputs, equation.outputs, dead))
    constants = {slot: value.reshape((1,) * lead + value.shape) for slot, value in program.constants.items()}

    def run(leaves):
        values = dict(enumerate(leaves)) | constants
        with np.errstate(all="ignore"):
            for function, inputs, outputs, dead in steps:
                result = function(*[values[slot] for slot in inputs])
                if len(outputs) == 1:
                    values[outputs[0]] = result
                else:
                    values.update(zip(outputs, result, strict=True))
                for slot in dead:
                    del values[slot]
        return [values[slot] for slot in wanted]

    return run


def _function(equation, lead):
    """NumPy function of the operands of an equation, or None."""
    name, params = equation.name, equation.params
    if name in _SHAPES:
        return _SHAPES[name](params, equation.types, equation.result, lead)
    if name not in ELEMENTWISE:
        return None
    function = ELEMENTWISE[name](params, equation.result.dtype)
    ranks = [each.ndim for each in equation.types]
    return function if function is None or len(set(ranks)) == 1 else _aligned(function, ranks)


def _aligned(function, ranks):
    """`function` of operands of which some are scalars: theirs get dims behind the axes."""
    missing = [max(ranks) - rank for rank in ranks]

    def aligned(*values):
        return function(*(v.reshape(v.shape + (1,) * n) if n else v for v, n in zip(values, missing, strict=True)))

    return aligned


# ---- elementwise: {primitive: (parameters, dtype of the result) -> function, or None}


def _always(function):
    return lambda params, dtype: function


def _division(params, dtype):
    return np.divide if np.issubdtype(dtype, np.inexact) else _truncated


def _truncated(a, b):
    """Integer quotient rounded towards 0; -1 by 0, as XLA has it."""
    divisor = np.where(b == 0, b.dtype.type(1), b)
    quotient = a // divisor
    quotient += (a - quotient * divisor != 0) & ((a < 0) ^ (divisor < 0))
    return np.where(b == 0, a.dtype.type(-1), quotient)


def _remainder(params, dtype):
    return np.fmod if np.issubdtype(dtype, np.inexact) else lambda a, b: np.where(b == 0, a, np.fmod(a, b))


def _product(params, dtype):
    return np.multiply if params.get("out_dtype") in (None, dtype.name) else None


def _conversion(params, dtype):
    def convert(x):
        if x.dtype.kind != "f" or dtype.kind not in "iu":
            return x.astype(dtype, copy=False)
        ends = np.iinfo(dtype)  # XLA saturates, and NaN is 0
        inside = (x > float(ends.min) - 1.0) & (x < float(ends.max) + 1.0)
        edge = np.where(x > 0, ends.max, np.where(x < 0, ends.min, 0)).astype(dtype)
        return np.where(inside, np.where(inside, x, 0).astype(dtype), edge)

    return convert


def _selection(params, dtype):
    def select(which, *cases):
        if which.dtype == bool:
            return np.where(which, cases[1], cases[0])
        return np.choose(which, cases, mode="clip")

    return select


def _whole_power(params, dtype):
    return (lambda x: np.power(x, dtype.type(params["y"]))) if params["y"] > 0 else None


def _rounding(params, dtype):
    return np.rint if params["rounding_method"] == "TO_NEAREST_EVEN" else None


ELEMENTWISE = {
    name: _always(function)
    for name, function in {
        "abs": np.abs,
        "add": np.add,
        "add_any": np.add,
        "and": np.bitwise_and,
        "ceil": np.ceil,
        "clamp": lambda low, x, high: np.minimum(np.maximum(low, x), high),
        "copy": lambda x: x,
        "eq": np.equal,
        "exp": np.exp,
        "expm1": np.expm1,
        "floor": np.floor,
        "ge": np.greater_equal,
        "gt": np.greater,
        "is_finite": np.isfinite,
        "le": np.less_equal,
        "log": np.log,
        "log1p": np.log1p,
        "lt": np.less,
        "max": np.maximum,
        "min": np.minimum,
        "ne": np.not_equal,
        "neg": np.negative,
        "not": np.invert,
        "or": np.bitwise_or,
        "sign": np.sign,
        "sqrt": np.sqrt,
        "square": np.square,
        "sub": np.subtract,
        "xor": np.bitwise_xor,
    }.items()
} | {
    "convert_element_type": _conversion,
    "div": _division,
    "integer_pow": _whole_power,
    "mul": _product,
    "pow": lambda params, dtype: lambda x, y: np.power(x, y.astype(dtype, copy=False)),
    "rem": _remainder,
    "round": _rounding,
    "select_n": _selection,
}


# ---- shapes: {primitive: (parameters, types of the operands, type of the result, axes in front) -> function, or None}


def _broadcast(params, types, result, lead):
    if len(types) > 1:
        return None  # shapes that are operands
    kept = [1] * result.ndim
    for dim, n in zip(params["broadcast_dimensions"], types[0].shape, strict=True):
        kept[dim] = n

    def broadcast(x):
        front = x.shape[:lead]
        return np.broadcast_to(x.reshape(front + tuple(kept)), front + result.shape)

    return broadcast


def _reshape(params, types, result, lead):
    if len(types) > 1 or params["dimensions"] is not None:
        return None
    return _squeeze(params, types, result, lead)


def _squeeze(params, types, result, lead):
    return lambda x: x.reshape(x.shape[:lead] + result.shape)


def _transpose(params, types, result, lead):
    order = (*range(lead), *(lead + dim for dim in params["permutation"]))
    return lambda x: x.transpose(order)


def _slice(params, types, result, lead):
    steps = params["strides"] or (1,) * result.ndim
    window = zip(params["start_indices"], params["limit_indices"], steps, strict=True)
    where = (slice(None),) * lead + tuple(slice(*each) for each in window)
    return lambda x: x[where]


def _together(values, lead):
    """Values with the same axes in front."""
    front = np.broadcast_shapes(*(value.shape[:lead] for value in values))
    return [np.broadcast_to(value, front + value.shape[lead:]) for value in values]


def _stack(params, types, result, lead):
    return lambda *values: np.stack(_together(values, lead), axis=lead + params["axis"])


def _concatenate(params, types, result, lead):
    return lambda *values: np.concatenate(_together(values, lead), axis=lead + params["dimension"])


def _split(params, types, result, lead):
    ends = np.cumsum(params["sizes"])[:-1]
    if len(params["sizes"]) == 1:
        return lambda x: x
    return lambda x: np.split(x, ends, axis=lead + params["axis"])


def _iota(params, types, result, lead):
    if types:
        return None
    numbers = np.arange(result.shape[params["dimension"]]).astype(result.dtype)
    numbers = numbers.reshape([n if dim == params["dimension"] else 1 for dim, n in enumerate(result.shape)])
    numbers = np.broadcast_to(numbers, result.shape).reshape((1,) * lead + result.shape)
    return lambda: numbers


def _reduction(function):
    def reduction(params, types, result, lead):
        axes = tuple(lead + axis for axis in params["axes"])
        return lambda x: function(x, axis=axes).astype(result.dtype, copy=False)

    return reduction


_SHAPES = {
    "broadcast_in_dim": _broadcast,
    "concatenate": _concatenate,
    "iota": _iota,
    "reduce_and": _reduction(np.all),
    "reduce_max": _reduction(np.max),
    "reduce_min": _reduction(np.min),
    "reduce_or": _reduction(np.any),
    "reduce_prod": _reduction(np.prod),
    "reduce_sum": _reduction(np.sum),
    "reshape": _reshape,
    "slice": _slice,
    "split": _split,
    "squeeze": _squeeze,
    "stack": _stack,
    "transpose": _transpose,
}


def lifted(leaf, axis, axes):
    """A leaf that varies along `axis`, or a number, with all `axes` in front."""
    return np.reshape(leaf, [math.prod(np.shape(leaf)) if each == axis else 1 for each in axes])


def over(array, axes, dims, sizes):
    """A result with all `axes` in front as an array over `dims` of them, of these `sizes`."""
    kept = tuple(axis for axis in axes if axis in dims)
    shape = [sizes[axis] if axis in dims else 1 for axis in axes]
    return np.broadcast_to(array, shape).reshape([sizes[axis] for axis in kept]).copy()
