"""Best configurations under uncertain inputs: quantiles, chances, and shares of the variance by input."""

import numbers
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from .. import advance, evaluation, machine
from ..arguments import typed
from ..errors import InputError, unknown
from ..options import entry
from ..results import dataset
from ..search import ranking
from ..space import parameters
from ..specs.variables import VARIABLES
from ..sweeps import sources
from ..types import Amount, Names, Source
from ..units import domain, number
from . import sampling

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
STEP = 1e-4  # of ln x, for elasticities
SOBOL_SAMPLES = 2**14  # at least so many for the shares, whose error falls with their root only
OF_SERVERS = 2**12  # of servers, which take a hundred times as long as steps
MOST_SEED = 2**63 - 1
TRIED = 8  # times as many of the best points are tried as candidates are wanted: some are equals of others
EQUAL = 1e-9  # outputs closer than this, relative, are equal


@typed
def uncertainty(
    source: Source = "default",
    errors: Mapping[str, Amount] | None = None,
    *,
    samples: int = 1024,
    seed: int = 0,
    of: str | None = None,
    top: int = 10,
    by: Names | None = None,
    objective: str | None = None,
    **options: Any,
) -> xr.Dataset:
    """The best configurations under uncertain inputs, as a Dataset over `rank`, best first.

    `errors` {parameter: relative error}: a number or "5%", above 0 and below 1. A parameter is
    `<record>.<row>.<field>`, `<record>.<field>` (every row on its own), a field of the workload, or a record: all its
    continuous numbers. The more exact name wins. An input x0 with error s is x0 exp(s z), z standard normal,
    independent of the others: its median is x0, s is the standard deviation of ln x, and it stays positive. A draw
    above the upper bound of its domain (a share above 1) is set to the bound: `clipped` has the share of samples.
    An input that is 0 has no relative error and is left out.

    The candidates are the best feasible point of every group (`by`, default the grid's; () is one group), the first
    `top` of them; they stay as they are while the inputs move. In one group, configurations whose outputs are equal in
    every sample (two precisions of the same bytes and rates) are one candidate: `ties` counts the others, `tied` says
    how they differ. `objective`: what the best is the best in, "-name": less of it (default: the grid's). `of`: the
    output that is explained (the objective).
    `options` are those of `sweep`, for a grid only. Over `rank` and `quantile` every output; over `rank` `p_feasible`,
    `p_best` (share of the samples in which it is the best feasible candidate; equals share); over `constraint` and
    `rank` `p_refused`. Over `input`, at the first candidate: `elasticity`, and shares of the variance of `of`:
    `linear` (e s)^2 / sum (e s)^2, without clipping, `sobol` (first order) and `sobol_total` (with what it does
    together with others), by pick and freeze of at least 2^14 samples of their own (`sampling.sobol`), with their
    standard errors. The same seed gives the same numbers.
    """
    asked = sources.ask(source, "uncertainty", options)
    named = check(asked.space, errors, samples, seed, of, top, by, objective)
    how = {"samples": samples, "seed": seed, "of": of, "top": top, "by": by, "objective": objective}
    return of_results(asked.swept(), named, **how)


def check(space, errors, samples=1024, seed=0, of=None, top=10, by=None, objective=None):
    """[(`Input` of one row, relative error)]; what the space does not have is an InputError."""
    for name, value, least in (("samples", samples, 2), ("seed", seed, 0), ("top", top, 1)):
        if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < least:
            raise InputError(f"{name}: {value!r}; expected an integer of at least {least}")
    if seed > MOST_SEED:
        raise InputError(f"seed: {seed}; expected an integer of at most {MOST_SEED}")
    ranking.check(space, by, top, objective)
    if of is not None and of not in space.defined:
        raise unknown("of", "variable of this phase", of, space.defined)
    if not isinstance(errors, dict) or not errors:
        raise InputError(f"errors: {errors!r}; expected {{parameter: relative error}}")
    found = {}
    for name in sorted(errors, key=lambda name: str(name).count(".")):  # the more exact name comes later and wins
        where = entry("errors", name)
        sigma = number(where, errors[name], domain("1"))
        if sigma >= 1.0:
            raise InputError(f"{where}: {errors[name]!r}; expected a relative error above 0 and below 1")
        whole = name in space.rows
        given = parameters.of_record(where, name, space) if whole else [parameters.resolve(where, name, space)]
        rows = [x for each in given for x in each.by_row() if all(value > 0.0 for value in x.values.values())]
        if not rows:
            raise InputError(f"{where}: is 0 or unknown; expected a positive number, which has a relative error")
        found |= {x.name: (x, sigma) for x in rows}
    _check_size(space, samples, len(found), min(top, space.points))
    return list(found.values())


def _check_size(space, samples, n, candidates):
    """Refuse more samples of `n` inputs than fit in the memory that is free: draws, and the outputs of candidates."""
    kinds = evaluation.variables(space)
    outputs = sum(kinds[name][1].itemsize for name in _outputs_of(space))
    # Twice the draws, their bits, and a table with one column of another; a candidate's chunks, then joined.
    needed = _of_shares(space, samples) * (6 * 8 * n + outputs * (candidates + 2))
    available = machine.available_memory()
    if needed > available:
        raise InputError(
            f"samples: {samples:,} of {n} inputs for {candidates} candidates need {machine.gigabytes(needed)} and "
            f"{machine.gigabytes(available)} of memory is free; expected fewer samples, inputs or candidates"
        )


def of_results(results, named, *, samples=1024, seed=0, of=None, top=10, by=None, objective=None):
    """`uncertainty` of `Results` of `sweep`; `named` as `check` returns it."""
    space = results.space
    _, name, sense = ranking.check(space, by, top, objective)
    of = of or name
    normal, _ = _draws(seed, samples, len(named))
    best, candidates, drawn = _candidates(results, named, normal, top, by, objective)
    result = _outputs(space, best, drawn)
    if drawn:
        result |= _chances(drawn, name, sense)
        again = (int(seed) + 1) % (MOST_SEED + 1)
        result |= _shares(candidates[0], *_draws(again, _of_shares(space, samples), len(named)), of)
        result |= _clipped(named, normal)
    coords = {name: best.variables[name] for name in (*space.axes, "rank")}
    attrs = {"title": space.title, "of": of, "samples": samples, "seed": seed, "objective": name}
    attrs |= {"axes": list(space.axes), "dsjax_spec": space.to_json(), **dataset.remarks(space)}
    text = "share of the samples that are smaller"
    coords |= {"quantile": ("quantile", list(QUANTILES), {"units": "1", "long_name": text})}
    return xr.Dataset(result, coords, attrs)


def _of_shares(space, samples):
    """Number of samples that the shares of the variance are of."""
    return max(samples, OF_SERVERS if space.study.requests else SOBOL_SAMPLES)


def _draws(seed, samples, n):
    """Two independent tables of standard normals, (samples, n)."""
    return np.random.default_rng(seed).standard_normal((2, samples, n))


def _candidates(results, named, normal, top, by, objective):
    """(best points over `rank`, their `_Candidate`s, their outputs in every sample); equals of one group are one."""
    space, (_, name, _) = results.space, ranking.check(results.space, by, top, objective)
    one = not len(space.by if by is None else by)
    best = ranking.best(results, by=by, top=TRIED * top if one else 1, objective=objective)
    names, kept, drawn, tied = _outputs_of(space), {}, [], []
    for i in advance.of(range(best.sizes["rank"])):
        point = {axis: best[axis].values[i].item() for axis in space.axes}
        candidate = _Candidate(space, point, named)
        found = candidate.outputs(normal, names)
        twin = next((k for k, other in enumerate(drawn) if one and _equal(found, other)), None)
        if twin is not None:
            tied[twin].append(_difference(best, list(kept)[twin], point))
        elif len(kept) < top:
            kept[i] = candidate
            drawn.append(found)
            tied.append([])
        elif not one or not np.isclose(*best[name].values[[i, max(kept)]], rtol=EQUAL, atol=0.0):
            break  # what comes later equals none
    best = best.isel(rank=np.array(list(kept), int))
    best = best.assign_coords(rank=best["rank"].copy(data=np.arange(1, len(kept) + 1)))
    texts = np.array(["; ".join(words) for words in tied], object)
    best["ties"] = ("rank", [len(words) for words in tied], _TIES)
    best["tied"] = ("rank", texts, {"long_name": "what differs in them"})
    return best, list(kept.values()), drawn


_TIES = {"units": "1", "long_name": "other configurations with the same outputs in every sample"}


def _equal(one, other):
    """Whether two candidates have the same outputs in every sample."""
    return all(np.allclose(one[name], other[name], rtol=EQUAL, atol=0.0, equal_nan=True) for name in one)


def _difference(best, i, point):
    """The axes of a point that differ from the i-th best point's."""
    return ", ".join(f"{axis} {value}" for axis, value in point.items() if best[axis].values[i] != value)


def _clipped(named, normal):
    """Share of the samples in which each input is set to the upper bound of its domain."""
    shares = np.zeros(len(named))
    for i, (x, sigma) in enumerate(named):
        if x.meta["high"] is not None:
            shares[i] = np.mean(next(iter(x.values.values())) * np.exp(sigma * normal[:, i]) > x.meta["high"])
    names = np.array([x.name for x, _ in named], object)
    text = "share of samples in which it is set to the upper bound of its domain"
    return {
        "drawn": ("drawn", names, {"long_name": "uncertain input of any candidate"}),
        "clipped": ("drawn", shares, {"units": "1", "long_name": text}),
    }


class _Candidate:
    """One configuration, evaluated at many values of its inputs at once."""

    def __init__(self, space, point, named):
        self.space = space.only(point)
        self.numbers = evaluation.numbers(self.space)
        self.names = []  # of the inputs it reads
        self.used = []  # (column of the draws, (record, field), relative error, upper bound) of each
        for column, (x, sigma) in enumerate(named):
            row, operand = next(iter(x.values)), (x.parameter.record, x.parameter.field)
            of_another = row and row not in self.space.rows[x.parameter.record]
            if not of_another and operand in self.numbers:
                self.names.append(x.name)
                self.used.append((column, operand, sigma, x.meta["high"]))

    def outputs(self, normal, names, clip=True):
        """{variable: value in every sample} for standard normals (sample, input); within their domains by `clip`."""
        values = {}
        for column, operand, sigma, high in self.used:
            moved = self.numbers[operand] * np.exp(sigma * normal[:, column])
            values[operand] = np.minimum(moved, high) if clip and high is not None else moved
        return evaluation.samples(self.space, values, len(normal), names)


def _outputs_of(space):
    """Names of the variables of a space, without the times of its blocks."""
    return [name for name in evaluation.variables(space) if not name.startswith("block_time/")]


def _outputs(space, best, drawn):
    """Quantiles of every output over all samples, feasible or not, and its value without errors."""
    result = {name: best[name].variable for name in ("ties", "tied")}
    for name in space.defined:
        if name not in best.data_vars:
            continue
        meta = {"units": VARIABLES[name][0], "long_name": VARIABLES[name][1]}
        table = [np.quantile(values[name], QUANTILES) for values in drawn]
        result[name] = (("rank", "quantile"), np.reshape(table, (len(drawn), len(QUANTILES))), meta)
        nominal = np.broadcast_to(best[name].values, len(drawn)).astype(float)
        result[f"nominal_{name}"] = ("rank", nominal, meta | {"long_name": f"{meta['long_name']}, without errors"})
    return result


def _chances(drawn, name, sense):
    feasible = np.array([values["feasible"] for values in drawn])
    objective = np.array([values[name] for values in drawn])
    masks = [name for name in drawn[0] if name.startswith("ok_")]
    refused = np.array([[np.mean(~values[name]) for values in drawn] for name in masks])
    meta = {"units": "1"}
    return {
        "constraint": ("constraint", np.array(masks, object), {"long_name": "constraint"}),
        "p_refused": (("constraint", "rank"), refused, meta | {"long_name": "share of samples it refuses"}),
        "p_feasible": ("rank", feasible.mean(axis=1), meta | {"long_name": "share of samples in which it is feasible"}),
        "p_best": (
            "rank",
            sampling.chance_of_best(sense * objective, feasible),
            meta | {"long_name": "share of samples in which it is the best feasible candidate; equals share"},
        ),
    }


def _shares(candidate, normal, other, of):
    """Shares of the variance of `of` at one candidate, per input that it reads (none: those of other candidates)."""
    columns = [column for column, *_ in candidate.used]
    sigma = np.array([sigma for _, _, sigma, _ in candidate.used])

    def value(draws, clip=True):
        return candidate.outputs(draws, (of,), clip)[of]

    moves = np.zeros((len(columns), normal.shape[1]))
    moves[np.arange(len(columns)), columns] = STEP / sigma
    elasticity = (
        np.zeros(0) if not columns else (np.log(value(moves, False)) - np.log(value(-moves, False))) / (2.0 * STEP)
    )
    likely = np.abs(elasticity * sigma) > sampling.STILL * np.linalg.norm(elasticity * sigma)
    first, total, *errors = sampling.sobol(value, normal, other, columns, likely)
    meta = {"units": "1"}
    return {
        "input": ("input", np.array(candidate.names, object), {"long_name": "uncertain input of the first candidate"}),
        "error": ("input", sigma, meta | {"long_name": "relative error: standard deviation of ln x"}),
        "elasticity": ("input", elasticity, meta | {"long_name": f"d ln {of} / d ln x, central difference"}),
        "linear": (
            "input",
            sampling.linear(elasticity, sigma),
            meta | {"long_name": f"share of the variance of {of}: linear, without clipping"},
        ),
        "sobol": ("input", first, meta | {"long_name": f"share of the variance of {of}: Sobol, first order"}),
        "sobol_total": ("input", total, meta | {"long_name": f"share of the variance of {of}: Sobol, total"}),
        "sobol_error": ("input", errors[0], meta | {"long_name": "standard error of sobol, from its samples"}),
        "sobol_total_error": ("input", errors[1], meta | {"long_name": "standard error of sobol_total"}),
    }
