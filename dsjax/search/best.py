"""Best points and Pareto fronts of a Dataset, a file, a grid, or a grid too large to hold in memory."""

import functools
import json
from typing import Any

import xarray as xr

from .. import advance, evaluation, machine
from ..arguments import typed
from ..errors import InputError
from ..results.handle import Results
from ..sweeps import sources, sweep
from ..types import Amount, Names, Source
from . import ranking, streaming
from .pareto import check, of_dataset

LOOKED_FOR = 0.3  # share of the time of a streamed search that looks for points; the rest counts, one mask by another


@typed
def best(
    source: Source = "default",
    by: Names | None = None,
    top: int = 1,
    objective: str | None = None,
    stream: bool | None = None,
    max_memory: Amount | None = None,
    client: Any = None,
    **options: Any,
) -> xr.Dataset:
    """The best feasible points of a Dataset, of a file dsjax wrote, or of a grid; see `ranking.best`.

    `options` are those of `sweep`, for a grid only. `stream`: search the grid without ever holding it (default: where
    it would not fit in memory, or in `max_memory`: bytes, or text like "4 GB"); the same points come out. `client`: the
    workers of this `dask.distributed.Client` search a grid, streamed.
    """
    materialised = functools.partial(ranking.best, by=by, top=top, objective=objective)
    streamed = functools.partial(streaming.best, by=by, top=top, objective=objective, client=client)
    how = streams(stream, client), max_memory
    return of(source, "best", lambda s: ranking.check(s, by, top, objective), materialised, streamed, *how, options)


@typed
def pareto(
    source: Source = "default",
    x: str | None = None,
    y: str = "tps_per_chip",
    by: Names | None = None,
    stream: bool | None = None,
    max_memory: Amount | None = None,
    client: Any = None,
    **options: Any,
) -> xr.Dataset:
    """The Pareto front of two variables over the feasible points: a Dataset over `rank`, group by group, x ascending.

    `source`: a Dataset, a file dsjax wrote, or a grid (`options` are those of `sweep`, for a grid only). `x`, `y`:
    variables of the phase (x None: tokens/s of a user; of prompts alone the time to the first token, of both phases
    that of a step); rates and utilisation are better larger, times, memory, chips and costs smaller; "+name" and
    "-name" say otherwise. `by`: axes or numbers of their rows, one front for each of their values (default: one front
    of all). Dominance is exact: a point is on the front if no other one is at least as good in both and better in one.
    Down the front from the best x, points within `ranking.TOLERANCE` of it in both variables are equal to it, and the
    study's tie rule picks one of them; `ties` counts them. Points where x or y is unknown take no part. `stream`,
    `max_memory` and `client` as in `best`.
    """
    materialised = functools.partial(of_dataset, x=x, y=y, by=by)
    streamed = functools.partial(streaming.pareto, x=x, y=y, by=by, client=client)
    how = streams(stream, client), max_memory
    return of(source, "pareto", lambda s: check(s, x, y, by), materialised, streamed, *how, options)


def streams(stream, client):
    """Whether a search streams: always on workers."""
    if client is not None and stream is False:
        raise InputError("client: workers search a grid that is not held; expected it without stream=False")
    return True if client is not None else stream


def of(source, command, check, materialised, streamed, stream, max_memory, options):
    """Result of a search of any `source`: `materialised(results)` or `streamed(space, dtype=, command=)`."""
    options = options | {"stream": stream, "max_memory": max_memory}
    asked = sources.ask(source, command, options, also=("stream", "max_memory"), any_size=stream is not False)
    if asked.results is not None:
        return materialised(asked.results)
    check(asked.space)
    call = sweep.history(*(options.get(name) for name in ("axes", "fixed", "settings", "limits")), asked.dtype, command)
    return of_space(asked.space, asked.dtype, stream, materialised, streamed, call, max_memory=max_memory)[0]


def of_space(space, dtype, stream, materialised, streamed, command, counts=False, max_memory=None, client=None):
    """(result, `ranking.counted` if `counts`) of a search of a space, streamed where `stream` or the memory says so."""
    if stream or (stream is None and not fits(space, dtype, max_memory)):
        dtype = sweep.checked(dtype)
        with advance.part(0.0, LOOKED_FOR if counts and not space.study.requests else 1.0):
            found = streamed(space, dtype=dtype, command=command)
        searched = found.attrs.pop("searched", None)  # of servers, counted on the way
        if not counts:
            return found, None
        if searched:
            return found, json.loads(searched)
        with advance.part(LOOKED_FOR, 1.0):
            return found, streaming.counted(space, dtype, client)
    results = Results(sweep.of_space(space, dtype, False, command, max_memory), space)
    return materialised(results), ranking.counted(results) if counts else None


def fits(space, dtype, max_memory=None):
    """Whether all variables of a space fit in half the memory that is free (a search needs the other half)."""
    sizes = evaluation.nbytes(space, dtype)
    needed = sum(size for name, size in sizes.items() if not name.startswith("block_time/"))
    return needed <= machine.room(max_memory) / 2
