"""Histogram and quantiles of a variable over the feasible points of a Dataset, a file, or a grid, held or streamed."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from .. import advance, numerics
from ..arguments import typed
from ..errors import NothingFeasible
from ..results import dataset
from ..results.handle import Results
from ..specs.variables import VARIABLES
from ..types import Amount, Source
from ..units import domain, number
from . import best, cells, ranking, slabwise, workers

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
PRECISION = 1e-4  # of a streamed quantile, relative to the range of the variable
MOST = 1e30  # the largest number that dsjax knows (`units.number`)
BINS = domain("1", low=1, open_low=False, high=1000, integer=True)
_SHARE = domain("1", open_low=False, high=1.0)


@typed
def histogram(
    source: Source = "default",
    of: str | None = None,
    bins: int = 20,
    quantiles: Sequence[float] = QUANTILES,
    stream: bool | None = None,
    max_memory: Amount | None = None,
    client: Any = None,
    **options: Any,
) -> xr.Dataset:
    """Counts of the feasible points in `bins` equal ranges of a variable, and its quantiles: a Dataset.

    `of`: the variable (default: the grid's objective). `source`, `stream`, `max_memory`, `client` and `options` as in
    `best`.
    Ranges are closed below and open above, but for the last. A quantile q is the smallest value that a share q of the
    points does not exceed; of steps that are not held it is found from above, to 1e-4 of the range of the variable
    (attribute `error` of `value`, in its unit). Points where the variable is unknown take no part. Over `bin`: `count`,
    `lower`, `upper`; over `quantile`: `value`.
    """
    bins = number("bins", bins, BINS)
    shares = tuple(number("quantiles", q, _SHARE) for q in quantiles)
    held = functools.partial(of_dataset, of=of, bins=bins, quantiles=shares)
    streamed = functools.partial(of_space, of=of, bins=bins, quantiles=shares, client=client)
    how = best.streams(stream, client), max_memory
    return best.of(source, "histogram", lambda space: variable(space, of), held, streamed, *how, options)


def variable(space, of):
    """The variable that is counted; one that the space does not define is an InputError."""
    return ranking.check(space, (), 1, of)[1]


def of_dataset(ds, of=None, bins=20, quantiles=QUANTILES):
    """`histogram` of a Dataset, or of `Results`."""
    results = Results.of(ds)
    space, name = results.space, variable(results.space, of)
    _, _, (values,) = ranking.candidates(results, (name,))
    return _counted(space, name, values, bins, quantiles, "dsjax.histogram")


def _counted(space, name, values, bins, quantiles, command):
    """`histogram` of the values of all feasible points."""
    values = np.sort(values.astype(float))
    if not len(values):
        raise NothingFeasible(f"histogram: no feasible point has {name}")
    edges = np.linspace(values[0], values[-1], bins + 1)
    counts, _ = np.histogram(values, edges)
    found = values[np.clip(np.ceil(np.array(quantiles) * len(values)).astype(int) - 1, 0, None)]
    return _described(space, name, edges, counts, quantiles, found, command)


def of_space(space, of=None, bins=20, quantiles=QUANTILES, dtype="float32", command="dsjax", client=None):
    """`histogram` of a space that is never held: points above an edge are counted, one pass for each edge.

    Of servers, which take a thousand times as long, the values of all feasible points are kept.
    """
    name = variable(space, of)
    if space.study.requests:
        return _counted(space, name, slabwise.values(space, name, client), bins, quantiles, command)
    layout, searched = cells.layout_of(space, (), dtype), workers.runner(client)
    with advance.part(0.0, 0.05):
        most, least = (cells.largest(space, layout, name, sign, dtype, searched).max() for sign in (1, -1))
    if most == -np.inf:
        raise NothingFeasible(f"histogram: no feasible point has {name}")
    low, high = float(-least), float(most)

    @functools.cache
    def above(edge):
        """Feasible points with at least this value, and those where it is unknown."""
        key = f"min_{name}"
        bounds = space.bounds | {key: max(edge, space.bounds.get(key, -np.inf))}
        return cells.count(dataclasses.replace(space, bounds=bounds), layout, "feasible", dtype, searched)

    def below(edge):
        return points - (above(edge) - unknown)

    unknown, beyond = above(MOST), high + 1e-4 * (high - low)
    points = above(low) - unknown
    edges = np.linspace(low, high, bins + 1)
    with advance.part(0.05, 0.3):
        reached = np.array([above(float(edge)) for edge in advance.of(edges[:-1])] + [unknown])
    with advance.part(0.3, 1.0):
        found = [_quantile(q, points, below, low, beyond) for q in advance.of(quantiles)]
    ds = _described(space, name, edges, -np.diff(reached), quantiles, found, command)
    ds["value"].attrs["error"] = PRECISION * (beyond - low)
    return ds


def _quantile(share, points, below, low, high):
    """The value that a share of the points is below, by bisection."""
    width = PRECISION * (high - low)
    return numerics.bisect(lambda edge: below(edge) >= share * points, high, low, width=width)[0]


def _described(space, name, edges, counts, quantiles, found, command):
    units = {"units": VARIABLES[name][0]}
    data = {
        "count": ("bin", np.asarray(counts, np.int64), {"units": "1", "long_name": "feasible points in the range"}),
        "value": ("quantile", np.asarray(found, float), units | {"long_name": f"quantile of {name}"}),
    }
    coords = {
        "lower": ("bin", edges[:-1], units | {"long_name": f"{name} from"}),
        "upper": ("bin", edges[1:], units | {"long_name": f"{name} to"}),
        "quantile": ("quantile", np.array(quantiles), {"units": "1", "long_name": "share of the feasible points"}),
    }
    ds = xr.Dataset(data, coords)
    return ds.assign_attrs(dataset.global_attributes(space, command) | {"of": name})
