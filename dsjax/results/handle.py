"""`Results`: a Dataset that dsjax made, and the space of the coordinates that it has left."""

import dataclasses

import numpy as np
import xarray as xr

from ..errors import InputError, unknown
from ..space import restoring
from ..space.space import Space
from ..specs.variables import FLAGS, VARIABLES, WORDED

FLOATS = (np.float32, np.float64)  # of measures


@dataclasses.dataclass(frozen=True)
class Results:
    """A Dataset and its `Space`, checked against each other; functions inside the package take it for a Dataset.

    A Dataset may have been cut: by `.sel` and `.isel`, whose scalar coordinates are fixed values of the space, and by
    `.where`, whose NaN in `feasible` are points that are not there. These are not feasible and nothing refuses them.
    """

    ds: xr.Dataset
    space: Space
    where: str = "dataset"  # names the Dataset in errors
    kind: str = "dataset"
    there: np.ndarray | None = None  # mask of the points that are there, over the axes; None: all points

    @classmethod
    def of(cls, ds, where="dataset", kind="dataset", first=False):
        """Results of a Dataset; one that dsjax did not make, or that does not fit its `dsjax_spec`, is an InputError.

        `first`: of points over `rank`, the first one; they are an error otherwise.
        """
        if isinstance(ds, cls):
            return ds
        wanted = f"expected a {kind} that dsjax wrote"
        whole = space_of(ds, where, kind)
        if "rank" in ds.dims:
            if not ds.sizes["rank"]:
                raise InputError(f"{where}: no ranked point is left; expected a dataset with one")
            if not first:
                raise InputError(f"{where}: points over rank; expected a sweep, or one point: .isel(rank=0)")
            ds = ds.isel(rank=0)
        ds = ds.drop_vars("rank", errors="ignore")
        axes = {axis: _left(ds, axis, values, where, wanted) for axis, values in whole.axes.items()}
        fixed = {axis: values[0] for axis, values in axes.items() if not ds.variables[axis].dims}
        if fixed and len(fixed) == len(axes):  # one point: a grid has an axis
            fixed.popitem()
            ds = ds.expand_dims([axis for axis in axes if axis not in fixed])
        axes = {axis: values for axis, values in axes.items() if axis not in fixed}
        space = whole if axes == whole.axes else whole.with_axes(axes, fixed)
        return cls(ds, space, where, kind)._read()

    def _read(self):
        """The Dataset with boolean masks, also where `.where` made them numbers, and floating-point measures.

        What holds no numbers is refused. Numbers have the unit that they were written in, whatever their `units` say.
        """
        masks = {name: x for name, x in self.ds.data_vars.items() if name == "feasible" or str(name).startswith("ok_")}
        loose, read = {name: x.variable for name, x in masks.items() if x.dtype != bool}, {}
        for name in self.space.defined:
            if name not in self.ds.data_vars or (dtype := self.ds.variables[name].dtype.newbyteorder("=")) in FLOATS:
                continue
            if dtype.kind not in "fiub":
                wanted = f"expected the numbers of a {self.kind} that dsjax wrote"
                raise InputError(f"{self.where}: variable {name}: holds {dtype}; {wanted}")
            if name not in FLAGS:
                read[name] = self.ds.variables[name].astype(np.float64)
        for name in [*masks, *(name for name in WORDED if name in self.ds)]:
            self._check_flag(name, len(WORDED.get(name, (0, 1))))
        read |= {name: x == 1 if name == "feasible" else x != 0 for name, x in loose.items()}  # NaN refuses nothing
        for name in [name for name in WORDED if loose and name in self.ds]:
            read[name] = self.ds.variables[name].fillna(0).astype(np.int8)
        units = {name: {"units": VARIABLES[name][0]} for name in self.space.defined if name in self.ds.data_vars}
        for name, own in units.items():
            if name not in read and str(self.ds.variables[name].attrs.get("units")) != own["units"]:
                read[name] = self.ds.variables[name].copy(deep=False)
        if not read:
            return self
        for name, variable in read.items():
            variable.attrs = self.ds[name].attrs | units.get(name, {})
        there = self.in_grid_order("feasible") if "feasible" in self.ds else np.zeros(())
        there = None if not (holes := np.isnan(there.astype(float))).any() else ~holes
        return dataclasses.replace(self, ds=self.ds.assign(read), there=there)

    def _check_flag(self, name, number):
        """Refuse a flag that has a value beside its `number` ones, and what `.where` left out."""
        values = self.ds.variables[name].values
        if values.dtype.kind == "b":
            return
        if values.dtype.kind in "iu":
            good = not values.size or (values.min() >= 0 and values.max() < number)
        else:
            good = values.dtype.kind == "f" and (np.isnan(values) | np.isin(values, np.arange(number))).all()
        if not good:
            wanted = f"expected whole numbers from 0 to {number - 1}"
            raise InputError(f"{self.where}: variable {name}: a value that no flag of a {self.kind} has; {wanted}")

    @property
    def shape(self):
        """Lengths of the axes."""
        return tuple(self.space.sizes.values())

    @property
    def points(self):
        """Number of points that are there."""
        return self.space.points if self.there is None else int(np.broadcast_to(self.there, self.shape).sum())

    @property
    def dtype(self):
        """Name of the type of the objective."""
        name = self.space.objective
        return str(self.ds[name].dtype) if name in self.ds else "float64"

    @property
    def masks(self):
        """Names of the constraints' masks."""
        return [str(name) for name in self.ds.data_vars if str(name).startswith("ok_")]

    @property
    def missing(self):
        """First variable of a sweep that is missing; "" where all are there."""
        named = (*self.space.defined, "bottleneck", "feasible")
        first = next((name for name in named if name not in self.ds.variables), "")
        return first or ("" if self.masks else "ok_<constraint>")

    def searchable(self, complete=False):
        """The results, where they are points of a sweep, `complete` with all of its variables; else an InputError."""
        wanted = f"expected the results of a sweep, a {self.kind} that dsjax sweep wrote"
        if not self.space.axes:
            raise InputError(f"{self.where}: no axis: one configuration; {wanted}")
        if complete and (name := self.missing):
            raise InputError(f"{self.where}: variable {name}: missing; {wanted}")
        return self

    def variable(self, name):
        """A variable over axes of the space."""
        if name not in self.ds.variables:
            raise InputError(f"{self.where}: variable {name}: missing; expected a {self.kind} that dsjax wrote")
        variable = self.ds.variables[name]  # not ds[name]: that transposes its coordinates too
        if others := [dim for dim in variable.dims if dim not in self.space.axes]:
            raise InputError(f"{self.where}: variable {name}: over {others[0]}; expected axes of its dsjax_spec")
        return variable

    def in_grid_order(self, name):
        """A variable's values with length-1 dims for the axes it lacks: broadcasts over the grid."""
        variable, sizes = self.variable(name), self.space.sizes
        variable = variable.transpose(*(axis for axis in sizes if axis in variable.dims))
        return variable.values.reshape([sizes[axis] if axis in variable.dims else 1 for axis in sizes])

    def with_feasible(self, mask):
        """These results with the points of `mask` as the feasible ones."""
        feasible = (tuple(self.space.axes), np.broadcast_to(mask, self.shape), self.ds["feasible"].attrs)
        return dataclasses.replace(self, ds=self.ds.assign(feasible=feasible))

    def limited(self, there):
        """These results with the points of `there`, a mask over the axes, and no others; None: all points."""
        if there is None:
            return self
        return dataclasses.replace(self.with_feasible(self.in_grid_order("feasible") & there), there=there)

    def at(self, named):
        """The results at these values {axis: value} of some axes, which keep their dims."""
        places = {axis: [self.space.axes[axis].index(value)] for axis, value in named.items()}
        space = self.space.with_axes(self.space.axes | {axis: (value,) for axis, value in named.items()})
        there = self.there
        for position, axis in enumerate(self.space.axes if there is not None else ()):
            if axis in places and there.shape[position] > 1:
                there = there.take(places[axis], position)
        return dataclasses.replace(self, ds=self.ds.isel(places), space=space, there=there)


def space_of(ds, where="dataset", kind="dataset"):
    """The space in a Dataset's `dsjax_spec`; where dsjax did not write it, an InputError."""
    wanted = f"expected a {kind} that dsjax wrote"
    if not hasattr(ds, "data_vars"):
        raise InputError(f"{where}: {str(ds)[:60]!r} is a {type(ds).__name__}; expected a Dataset that dsjax made")
    if "dsjax_spec" not in ds.attrs:
        raise InputError(f"{where}: attribute dsjax_spec: missing; {wanted}")
    try:
        return restoring.space(ds.attrs["dsjax_spec"])
    except InputError as error:
        raise InputError(f"{where}: attribute dsjax_spec: {str(error).partition('; expected')[0]}; {wanted}") from None


def _left(ds, axis, values, where, wanted):
    """The values of an axis that a Dataset still has."""
    if axis not in ds.coords:
        raise InputError(f"{where}: coordinate {axis}: missing; {wanted}")
    if (dims := ds.variables[axis].dims) not in ((), (axis,)):
        raise InputError(f"{where}: coordinate {axis}: over {', '.join(map(str, dims))}; expected an axis of its own")
    found, known = np.atleast_1d(ds.variables[axis].values), np.array(values)
    if np.array_equal(found, known):
        return values
    for i in np.flatnonzero(~np.isin(found, known))[:1]:
        raise unknown(where, f"value of axis {axis}", found[i], values)
    left = tuple(found.tolist())
    if not left or len(set(left)) < len(left):
        says = "has a value twice" if left else "has no value left"
        raise InputError(f"{where}: axis {axis}: {says}; expected distinct values of its dsjax_spec")
    return left
