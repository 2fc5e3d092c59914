"""Resolve the source of a question (a Dataset, a file, a grid) and check its options; every question uses `ask`."""

import dataclasses
import os
import warnings

from ..errors import InputError, Remark, unknown
from ..results import files, netcdf, sampled
from ..results.handle import Results
from ..space import grid, inputs
from ..space.space import Space
from . import sweep

OF_GRID = ("axes", "fixed", "settings", "limits", "catalogs", "dtype")  # options of `sweep` that change a grid


@dataclasses.dataclass(frozen=True)
class Asked:
    """Resolved source of a question."""

    space: Space
    dtype: str
    results: Results | None = None  # None: a grid, which has not been evaluated

    @property
    def there(self):
        """Mask, over the axes, of the points that are there; None: all points."""
        return None if self.results is None else self.results.there

    def at(self, named):
        """This source at the values `named` {axis: value} of some axes, which keep their dims."""
        if self.results is None:
            axes = self.space.axes | {axis: (value,) for axis, value in named.items()}
            return dataclasses.replace(self, space=self.space.with_axes(axes))
        results = self.results.at(named)
        return dataclasses.replace(self, space=results.space, results=results)

    def swept(self, of=None, blocks=False, command="dsjax"):
        """`Results` of a sweep of the space: what is there, else evaluated now; of a grid, what finds the best `of`."""
        if self.results is not None and not self.results.missing:
            return self.results
        if of is None:
            ds = sweep.of_space(self.space, self.dtype, blocks, command)
        else:
            ds = sweep.swept(self.space, self.space, of, self.dtype)
        return Results(ds, self.space).limited(self.there)


def is_results(source):
    """Whether `source` holds results (a Dataset, or the path of a file or a store), and is no grid."""
    return isinstance(source, Results) or hasattr(source, "data_vars") or bool(_kind(source))


def _kind(source):
    return grid.kind_of_results(source) if isinstance(source, str | os.PathLike) else ""


def files_of(source, axes=None, fixed=None, catalogs=()):
    """Paths that a Dataset, a file of results, or a grid with its options is read from, those that are known."""
    source = source.results or source.space if isinstance(source, Asked) else source
    source = source.ds if isinstance(source, Results) else source
    if hasattr(source, "data_vars"):
        return files.read_from(source)
    if isinstance(source, Space):
        return list(inputs.of_catalogs())
    return [source] if is_results(source) else inputs.of_grid(source, axes, fixed, catalogs)


def ask(source, command, options, *, also=(), needs="points", any_size=False):
    """`Asked` of whatever a question may be put to; anything else, or an option that has no effect, is an InputError.

    `source`: a Dataset, the path of a file or of a store, a grid (its name, its path, a dict), a `Space`, `Results`, or
    `Asked`. `command` names the question in errors. `options` {name: value, None where it is not given}: those in
    OF_GRID, with the names and values of `dsjax.sweep`, change a grid; `also` names options of the question that go
    with a grid alone ("stream"). `needs`: "points" to choose from; "sweep", all of a sweep's variables, which a file
    must hold in any case; or "space", to evaluate again: then variables may be missing, and points over `rank` are
    taken at the first one. `any_size`: also a grid that does not fit in memory.
    """
    for name in options:
        if name not in (*OF_GRID, *also):
            raise unknown(command, "option", name, (*OF_GRID, *also))
    given = {name: value for name, value in options.items() if value is not None}
    if not (is_results(source) or isinstance(source, Asked)):
        return _of_grid(source, command, given, any_size)
    if given:
        raise InputError(f"{command}: {', '.join(given)} change a grid; expected a grid, not results")
    if isinstance(source, Asked):
        return source
    kind = _kind(source)
    ds, where = (netcdf.read(source), (str(source), kind)) if kind else (source, (command,))
    results = Results.of(ds, *where, first=needs == "space")
    if needs != "space":
        results.searchable(complete=needs == "sweep" or kind)
    if kind and (said := sampled.remark(results)):
        warnings.warn(said, Remark, stacklevel=3)
    return Asked(results.space, results.dtype, results)


def _of_grid(source, command, given, any_size):
    changes = {name: value for name, value in given.items() if name in OF_GRID and name != "dtype"}
    dtype = sweep.checked(given.get("dtype", "float64"))
    if not isinstance(source, Space):
        return Asked(grid.load(source, **changes, any_size=any_size), dtype)
    if changes:
        raise InputError(f"{command}: {', '.join(changes)} change a grid; expected a grid, not a resolved space")
    return Asked(source, dtype)
