"""JAX primitive -> NumPy function of values with the axes of a space in front (see `numpy_programs`)."""

import numpy as np

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
    """The values, broadcast to the same axes in front."""
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


SHAPES = {
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
