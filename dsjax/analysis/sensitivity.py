"""Elasticities d ln y / d ln x of a variable with respect to every continuous number of the records.

Formulas are those of the model: what a variable needs of them runs once more on numbers that carry derivatives
(`evaluation.substituted`). The tangent of a parameter has the rank of the axes that it meets, which keeps most of it
cheap over a grid. Of a server, whose queues are roots and quantiles, slopes are differences on both sides.
"""

import functools
from typing import Any

import numpy as np
import xarray as xr

from .. import arrays, evaluation, machine
from ..arguments import typed
from ..errors import InputError, unknown
from ..formulas.point import evaluate_point
from ..results import dataset
from ..results.handle import Results
from ..search import point, ranking
from ..space import parameters
from ..specs.variables import COUNTS, FLAGS, MEASURES, NEEDS, undefined
from ..sweeps import sources
from ..types import Named, Names, Source
from . import envelope as relaxation

STEP = 1e-6  # relative step of one-sided slopes
STEP_OF_SERVERS = 1e-5  # roots are found to 1e-11
# Sides that differ by more, relative to the larger where that is above 1, are a kink; smooth ones differ by 1e-6.
SHARP = 1e-4
# Slopes are evaluated again on both sides of every point up to this many points x parameters.
MOST_WITH_KINKS = 2_000_000
# Variables of `evaluate_point` that stand beside the elasticities.
BESIDE = ("bottleneck", "feasible")


@typed
def sensitivity(
    source: Source = "default",
    of: str | None = None,
    wrt: Names | None = None,
    at: Named | str | None = "best",
    *,
    kinks: bool | None = None,
    envelope: bool = False,
    **options: Any,
) -> xr.Dataset:
    """Elasticity d ln y / d ln x of the variable `of` with respect to continuous parameters x, as a Dataset.

    `source`: a Dataset of dsjax's (evaluated again at the points its coordinates name), a file, or a grid (`options`
    are those of `sweep`). `at`: "best", the best feasible point (where none is feasible, the best of those that the
    fewest constraints refuse); "grid" or None, the whole grid; or {axis: value}, the best of the points with these
    values.
    `wrt`: None, the rates, times and utilisations of hardware and NIC and the start times of the curve; a name like
    "hardware.hbm_bytes_per_s", a record ("hardware", "nic", "curve", "precision", "workload") for all of its numbers,
    "all", or a list of these. A parameter is one number for all its rows: x dy/dx is taken at each point's own value;
    "hardware.H800.hbm_bytes_per_s" is the number of one row, and 0 where another row is in use.

    `elasticity(parameter, ...)` over the axes it can depend on. Where x is 0 (no latency, a rate that the chip
    lacks) it is 0: x dy/dx / y. `kink(parameter, ...)`: 1 where the elasticities on both sides, which at one point
    are given as `elasticity_below` and `elasticity_above`, differ by more than 1e-4 (of those above 1 by so large a
    share), or where y jumps: there the
    elasticity is one of many. Over a grid it is found in float64, up to 2e6 values (`kinks` True or False decides);
    at one point always, in float64. NaN only where the phase, or an unknown price, leaves y undefined; impossible
    points have the finite slopes of their stand-ins.

    `of`: None is "tps_per_chip". With `envelope` it is the grid's objective, and the sensitivity of the optimum stands
    beside (`envelope.variables`): the load of one point relaxed to a real number, the limits that hold it, shadow
    prices, re-optimised elasticities, the next values of every axis, and where the grid's best point changes. Raises
    `InputError`.
    """
    asked = sources.ask(source, "sensitivity", options, needs="space")
    space = asked.space
    names = parameters.named(space, wrt)
    of = of or (space.objective if envelope else "tps_per_chip")
    check_output(space, of)
    if at == "grid" and envelope:
        raise InputError("at: 'grid': with envelope; expected 'best' or {axis: value}")
    at = None if at == "grid" else at
    if at is None and not envelope:
        return over_grid(asked, of, names, kinks)
    if envelope and space.study.requests:
        raise InputError("envelope: relaxes the load of one step; expected a grid of steps, or no envelope")
    if isinstance(at, str) and at != "best":
        raise InputError(f"at: {at!r}; expected 'best' or {{axis: value}}")
    swept = functools.cache(lambda: asked.swept(of if envelope else space.objective))
    objective = ranking.search_for(space, of) if envelope else None
    one = point.point_of(space, None if at == "best" else at, swept, objective)
    check_output(one, of)
    ds = at_point(one, of, names, space)
    if not envelope:
        return ds
    ds.attrs |= {"load": one.load, "sense": ranking.sense_of(space, of)}
    return ds.assign(relaxation.variables(swept(), one, of, names))


def check_output(space, of):
    """Refuse a variable that has no derivative, or that no phase of the space defines."""
    differentiable = [name for name in MEASURES if name not in COUNTS]
    if of in (*COUNTS, *FLAGS):
        raise InputError(f"of: {of} is made of whole numbers; expected one of {', '.join(differentiable)}")
    if of not in differentiable:
        raise unknown("of", "variable", of, differentiable)
    if of in undefined(space.phases):
        raise InputError(f"of: {of} is not defined in {space.phases[0]}; expected one of {', '.join(space.defined)}")
    if of in NEEDS and of not in space.defined:
        raise InputError(f"of: {of} needs {'.'.join(NEEDS[of])}, which is unknown here; set it")


@functools.lru_cache(maxsize=64)
def slopes(of, names):
    """Function to lift: the variables of `evaluate_point`, and `elasticity/<i>` of the i-th of `names`.

    d ln y / d ln x_i is the tangent of y along a factor of x_i, over y; 0 where y is 0, which a time or a rate only is
    where nothing moves it.
    """

    def function(step, point, bounds, **policies):
        found = evaluate_point(step, point, bounds, **policies)
        factors = parameters.scaled(point, names, [evaluation.along(1.0, i) for i in range(len(names))])
        y, moved = found[of], evaluation.substituted({of: found[of]}, factors)[of]
        inverse = arrays.where(y == 0.0, 0.0, 1.0 / arrays.where(y == 0.0, 1.0, y))
        elasticities = {f"elasticity/{i}": evaluation.tangent(moved, i) * inverse for i in range(len(names))}
        return {name: x for name, x in found.items() if "/" not in name} | elasticities

    return function


def one_sided(space, of, names):
    """(dims, [(d ln y / d ln x for less of x, the same for more of x) of every parameter]) in float64.

    Differences over STEP: the parameter moves in the operands.
    """

    def values(at):
        return evaluation.evaluate(at, "float64", (of,))[of]

    step = STEP_OF_SERVERS if space.study.requests else STEP
    dims, y = values(space)
    inverse = 1.0 / (step * np.where(y == 0.0, np.inf, y))
    sides = []
    for name in names:
        below, above = (values(parameters.multiplied(space, name, 1.0 + s * step))[1] for s in (-1.0, 1.0))
        sides.append(((y - below) * inverse, (above - y) * inverse))
    return dims, sides


def one_sided_of_server(space, of, names):
    """The same of a server at one point, all parameters at once: each moves in two samples of its own."""
    numbers, n = evaluation.numbers(space), 2 * len(names) + 1
    moved = {}
    for i, name in enumerate(names):
        key = name.record, name.field
        if key in numbers:
            moved.setdefault(key, np.full(n, numbers[key], float))
            moved[key][2 * i + 1 : 2 * i + 3] *= 1.0 - STEP_OF_SERVERS, 1.0 + STEP_OF_SERVERS
    y = evaluation.samples(space, moved, n, (of,))[of]
    inverse = 0.0 if y[0] == 0.0 else 1.0 / (STEP_OF_SERVERS * y[0])
    return [((y[0] - y[i]) * inverse, (y[i + 1] - y[0]) * inverse) for i in range(1, n, 2)]


def at_point(space, of, names, whole):
    """`sensitivity` at the one point of a space, in float64; `whole` has the rows that are not in use there."""
    server = bool(space.study.requests)
    found = evaluation.evaluate(space) if server else evaluation.evaluate(space, function=slopes(of, names))
    plain = {name: value for name, value in found.items() if "/" not in name}
    ds = dataset.to_dataset(space, {k: plain[k] for k in evaluation.known(space, plain)}, "dsjax sensitivity")
    used = [parameters.in_use(space, name)[1] for name in names]
    sides = one_sided_of_server(space, of, names) if server else one_sided(space, of, names)[1]
    below, above = (np.where(used, side, 0.0) if server else side for side in np.array(sides).T)
    own = 0.5 * (below + above) if server else [found[f"elasticity/{i}"][1] for i in range(len(names))]
    ad = np.where(used, own, 0.0)
    ds = ds.assign_coords(_coordinate(names)).assign(
        elasticity=_variable(("parameter",), ad, of),
        elasticity_below=_variable(("parameter",), below, of, ", for less of x"),
        elasticity_above=_variable(("parameter",), above, of, ", for more of x"),
        kink=_kink(("parameter",), _sharp(below, above)),
    )
    known, units = parameters.known(whole), "parameter_units"
    values = [_present(space if mine else whole, name) for mine, name in zip(used, names, strict=True)]
    text = f"present value, in the unit that `{units}` names"
    ds["parameter_value"] = dataset.variable("parameter", values, "", text)
    symbols = np.array([known[name.of_all_rows]["units"] for name in names], object)
    ds[units] = dataset.variable("parameter", symbols, "", "unit of parameter x")
    ds.attrs |= {"of": of}
    return ds


def _present(space, parameter):
    """The number of a parameter at the one point of a space; NaN for a knot that its curve lacks."""
    return next(
        iter(parameters.values_of(space, parameter).values()), 0.0 if parameter.record == "workload" else np.nan
    )


def over_grid(asked, of, names, kinks=None):
    """`sensitivity` at every point of `Asked`."""
    space, dtype = asked.space, asked.dtype
    if kinks and dtype != "float64":
        raise InputError(f"kinks: {kinks!r} in {dtype}; expected float64, which resolves the slopes on both sides")
    if kinks is None:
        kinks = dtype == "float64" and space.points * len(names) <= MOST_WITH_KINKS
    needed = space.points * len(names) * np.dtype(dtype).itemsize * 2
    if needed > machine.available_memory():
        raise InputError(
            f"grid: {space.points:,} points x {len(names)} parameters need {machine.gigabytes(needed)} and "
            f"{machine.gigabytes(machine.available_memory())} of memory is free; expected a smaller grid or fewer wrt"
        )
    if space.study.requests:
        dims, sides = one_sided(space, of, names)
        found = evaluation.evaluate(space, dtype, (of, *BESIDE))
        found |= {f"elasticity/{i}": (dims, 0.5 * (below + above)) for i, (below, above) in enumerate(sides)}
    else:
        wanted = (of, *BESIDE, *(f"elasticity/{i}" for i in range(len(names))))
        found = evaluation.evaluate(space, dtype, wanted, slopes(of, names))
    ds = dataset.to_dataset(space, {name: x for name, x in found.items() if "/" not in name}, "dsjax sensitivity")
    ds = ds.assign_coords(_coordinate(names))
    ds["elasticity"] = _variable(*_stacked(space, found, names), of)
    if kinks:
        dims, sides = (dims, sides) if space.study.requests else one_sided(space, of, names)
        sharp = [_sharp(below, above) for below, above in sides]
        ds["kink"] = _kink(("parameter", *dims), np.array(sharp))
    if asked.there is not None:
        ds = Results(ds, space).limited(asked.there).ds
        there = xr.DataArray(asked.there, dims=tuple(space.axes))
        ds["elasticity"] = ds["elasticity"].where(there).transpose("parameter", ...)
    ds.attrs |= {"of": of}
    return ds


def _stacked(space, found, names):
    """(dims, array) of `elasticity/<i>` of all `names`: dim `parameter` first, then the axes that any of them has."""
    parts = [_of_row(space, name, *found[f"elasticity/{i}"]) for i, name in enumerate(names)]
    axes = tuple(axis for axis in space.axes if any(axis in dims for dims, _ in parts))
    stacked = np.empty((len(names), *(space.sizes[axis] for axis in axes)), parts[0][1].dtype)
    for slot, (dims, array) in zip(stacked, parts, strict=True):
        slot[...] = array.reshape([space.sizes[axis] if axis in dims else 1 for axis in axes])
    return ("parameter", *axes), stacked


def _of_row(space, name, dims, array):
    """An elasticity, 0 at the points that do not use the parameter's row: its formula can depend on the row's axis."""
    axes, used = parameters.in_use(space, name)
    if not set(axes) <= set(dims):
        return dims, np.zeros_like(array)
    used = used.transpose([axes.index(dim) for dim in dims if dim in axes])
    used = used.reshape([space.sizes[dim] if dim in axes else 1 for dim in dims])
    return dims, array * used.astype(array.dtype)


def _coordinate(names):
    labels = np.array([str(name) for name in names], dtype=object)
    return {"parameter": ("parameter", labels, {"long_name": "parameter x"})}


def _variable(dims, values, of, side=""):
    return dataset.variable(dims, values, "1", f"elasticity d ln {of} / d ln x{side}")


def _sharp(below, above):
    """Whether one-sided elasticities make a kink."""
    return np.abs(above - below) > SHARP * np.maximum(np.maximum(np.abs(below), np.abs(above)), 1.0)


def _kink(dims, values):
    flags = {"flag_values": np.array([0, 1], dtype=np.int8), "flag_meanings": "smooth kink"}
    text = "the elasticities for less and for more of x differ"
    return xr.Variable(dims, np.asarray(values, np.int8), {"long_name": text} | flags)
