"""What a question is asked of: a Dataset, a file that dsjax wrote, or a grid."""

from ..errors import InputError, unknown
from ..results import dataset
from ..space import grid
from . import sweep

OF_GRID = ("axes", "fixed", "settings", "catalogs", "dtype")  # options of `sweep` that change a grid


def is_results(source):
    """Whether `source` holds results (a Dataset, or the path of a file), and not a grid."""
    return hasattr(source, "data_vars") or str(source).lower().rstrip("/").endswith((".nc", ".zarr"))


def space_of(source, command, options):
    """(`Space`, dtype, Dataset or None where it has not been evaluated) of a Dataset, a file, or a grid.

    `options` are those of `sweep` without `blocks`, for a grid only; `command` names the caller in errors.
    """
    if is_results(source):
        if options:
            raise InputError(f"{command}: {', '.join(options)} change a grid; expected a grid, not results")
        ds = source if hasattr(source, "data_vars") else dataset.open_netcdf(source)
        space = dataset.space_of(ds, command)
        return space, str(ds[space.objective].dtype), ds
    for name in options:
        if name not in OF_GRID:
            raise unknown(command, "option", name, OF_GRID)
    changes = {name: options[name] for name in OF_GRID if name in options and name != "dtype"}
    return grid.load(source, **changes), options.get("dtype") or "float64", None


def dataset_of(source, command, options):
    """Dataset of a Dataset, a file, or a grid, which is evaluated (see `space_of`)."""
    space, dtype, ds = space_of(source, command, options)
    if ds is not None:
        dataset.results_of(ds, command if hasattr(source, "data_vars") else str(source))
    return sweep.of_space(space, dtype, blocks=False, command=f"dsjax.{command}") if ds is None else ds
