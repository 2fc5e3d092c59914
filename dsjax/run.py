"""Grid -> Dataset: what `dsjax sweep` and `dsjax.sweep` do."""

import numpy as np

from . import dataset, evaluate, grid, machine
from .errors import InputError

# Above this many points `block_time` (one full grid per block) is left out unless asked for.
MOST_POINTS_WITH_BLOCKS = 1_000_000


def sweep(source="default", *, axes=None, fixed=None, settings=None, catalogs=(), dtype="float64", blocks=None):
    """Evaluate a whole grid and return it as an `xarray.Dataset`.

    `source`: the name of a grid of dsjax's, the path of a grid file, or the same thing as a dict. `axes` {name:
    values} replaces or adds axes, `fixed` {name: value} fixes one, `settings` {"nic.CX7.scale_out_bytes_per_s":
    number} changes catalog rows. `dtype` "float64" or "float32". `blocks`: keep `block_time` (default: up to a
    million points). Raises `InputError` on bad input, before computing.
    """
    space = grid.load(source, axes=axes, fixed=fixed, settings=settings, catalogs=catalogs)
    return of_space(space, dtype, blocks, history(axes, fixed, settings, dtype))


def history(axes, fixed, settings, dtype, command="sweep"):
    """A call of Python's, for the history of a dataset."""
    changes = {"axes": axes, "fixed": fixed, "settings": settings, "dtype": dtype}
    given = ", ".join(f"{name}={value}" for name, value in changes.items() if value is not None)
    return f"dsjax.{command}({given})"


def of_space(space, dtype="float64", blocks=None, command="dsjax"):
    """Evaluate a resolved space; see `sweep`. `command` goes into the history of the dataset."""
    dtype = checked(dtype)
    blocks = space.points <= MOST_POINTS_WITH_BLOCKS if blocks is None else blocks
    check_size(space, dtype, blocks)
    names = None if blocks else [name for name in evaluate.nbytes(space, dtype) if not name.startswith("block_time/")]
    return dataset.to_dataset(space, evaluate.evaluate(space, dtype, names), command)


def checked(dtype):
    """Name of a floating-point type dsjax evaluates in."""
    try:
        dtype = np.dtype(dtype).name
    except TypeError:
        dtype = str(dtype)
    if dtype not in ("float64", "float32"):
        raise InputError(f"dtype: {dtype!r}; expected float64 or float32")
    return dtype


def check_size(space, dtype, blocks):
    """Refuse a grid whose result does not fit in the memory that is free, and say how to shrink it."""
    sizes = evaluate.nbytes(space, dtype)
    stacked = {name: size for name, size in sizes.items() if name.startswith("block_time/")}
    needed = sum(sizes.values()) - sum(stacked.values())
    if blocks and stacked:
        needed += len(stacked) * space.points * (8 if dtype == "float64" else 4)
    available = machine.available_memory()
    if needed > available:
        largest = max(space.sizes, key=space.sizes.get)
        advice = "; float32 halves it" if dtype == "float64" else ""
        raise InputError(
            f"grid: {space.points:,} points need {machine.gigabytes(needed)} and {machine.gigabytes(available)} of "
            f"memory is free; expected a smaller grid: axis {largest} has {space.sizes[largest]:,} values{advice}"
        )
