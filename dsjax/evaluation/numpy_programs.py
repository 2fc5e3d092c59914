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

from .numpy_primitives import ELEMENTWISE, SHAPES

# Elements of the largest result below which NumPy is done before a compiler: the core model takes 0.02 s for 2e4
# points, 0.07 s for 1.6e5 and 0.4 s for 6.7e5; a compiled program of the cache costs 2 s of one core, a new one 5.
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


def needed(equations, wanted):
    """The equations (with `inputs` and `outputs`) that the slots `wanted` need, in order."""
    live, found = set(wanted), []
    for equation in reversed(equations):
        if not live.isdisjoint(equation.outputs):
            found.append(equation)
            live.update(equation.inputs)
    return found[::-1]


class Program(NamedTuple):
    """A `program.Program` as plain data, without JAX."""

    constants: dict  # {slot: array}
    equations: tuple

    def needed(self, wanted):
        """The equations that the slots `wanted` need, in order."""
        return needed(self.equations, wanted)

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
    """The `Program` of a `program.Program`, its slots numbered alike."""
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
    if name in SHAPES:
        return SHAPES[name](params, equation.types, equation.result, lead)
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


def lifted(leaf, axis, axes):
    """A leaf that varies along `axis`, or a number, with all `axes` in front."""
    return np.reshape(leaf, [math.prod(np.shape(leaf)) if each == axis else 1 for each in axes])


def over(array, axes, dims, sizes):
    """A result with all `axes` in front -> an array over `dims`, some of the axes, of the lengths `sizes`."""
    kept = tuple(axis for axis in axes if axis in dims)
    shape = [sizes[axis] if axis in dims else 1 for axis in axes]
    return np.broadcast_to(array, shape).reshape([sizes[axis] for axis in kept]).copy()
