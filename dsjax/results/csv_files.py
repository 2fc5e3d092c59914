"""Points of a dataset as CSV."""

import numpy as np
import xarray as xr

from ..arguments import typed
from ..specs.variables import WORDED
from ..types import Path
from .files import apart, check_text, read_from, replacing
from .handle import Results
from .netcdf import CHUNK


def columns(results, flat):
    """{name: values} of the points with flat indices `flat` of the grid: its dims, then every variable over them."""
    ds, space = results.ds, results.space
    where = dict(zip(space.axes, np.unravel_index(flat, results.shape)))
    result = {axis: ds[axis].values[index] for axis, index in where.items()}
    result |= {name: np.broadcast_to(np.array(value), len(flat)) for name, value in space.fixed.items()}
    for name, variable in ds.data_vars.items():
        if "block" not in variable.dims:
            values = variable.values[tuple(where[axis] for axis in variable.dims)]
            values = np.broadcast_to(values, len(flat))
            result[name] = np.array(WORDED[name], dtype=object)[values] if name in WORDED else values
    return result


@typed
def write_csv(ds: xr.Dataset, path: Path, feasible_only: bool = False, force: bool = False) -> None:
    """CSV of all points or of the feasible ones, one line each, in the order of the grid."""
    import pandas as pd

    results = Results.of(ds)
    apart([path], read_from(results.ds))
    check_text(path, force)
    kept = results.in_grid_order("feasible") if feasible_only else results.there
    kept = None if kept is None else np.broadcast_to(kept, results.shape).ravel()
    points = results.space.points
    with replacing(path, force) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        for start in range(0, points, CHUNK):
            flat = np.arange(start, min(start + CHUNK, points))
            flat = flat if kept is None else flat[kept[flat]]
            frame = pd.DataFrame(columns(results, flat))
            flags = {name: frame[name].astype(int) for name in frame if frame[name].dtype == bool}
            frame.assign(**flags).to_csv(file, index=False, header=start == 0)
