"""Types of what the public functions are given."""

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    import xarray as xr

Path: TypeAlias = str | os.PathLike[str]
Grid: TypeAlias = Path | Mapping[str, Any]  # name of a grid of dsjax's, path of a grid file, or the same as a dict
Source: TypeAlias = "Grid | xr.Dataset"  # a grid, or results: a Dataset, a NetCDF file, a Zarr store
Named: TypeAlias = Mapping[str, Any]  # {axis or parameter: value or values}
Names: TypeAlias = str | Sequence[str]
Amount: TypeAlias = float | str  # a number in SI units, or text with a unit: "4 GB"
Dtype: TypeAlias = Literal["float64", "float32"]
