"""Fleets that serve a demand: instances that do all beside two pools, the cheapest of each for its hardware."""

from collections.abc import Sequence

import xarray as xr

from ... import advance
from ...arguments import typed
from ...errors import InputError
from ...types import Amount, Grid, Named, Names, Path
from . import aggregated, demand, spaces, tables
from . import disaggregated as pools


@typed
def fleets(
    serve: Grid | None = None,
    disaggregated: Grid | None = None,
    *,
    isl: Amount | None = None,
    osl: Amount | None = None,
    requests_per_s: Amount | None = None,
    concurrency: Amount | None = None,
    max_ttft: Amount | None = None,
    max_tpot: Amount | None = None,
    min_tps_per_user: Amount | None = None,
    percentile: int | str = 90,
    hardware: Names | None = None,
    nic: Names = "CX7",
    engine: Names | None = None,
    model: Path = "DeepSeek-V3",
    precision: Names | None = None,
    isl_cv: Amount | None = None,
    osl_cv: Amount | None = None,
    cached_fraction: Amount | None = None,
    kinds: Names = spaces.KINDS,
    mixed: bool = True,
    spare: int = 0,
    max_chips: Amount | None = None,
    minimize: str = "cost_per_hour",
    axes: Named | None = None,
    fixed: Named | None = None,
    settings: Named | None = None,
    limits: Named | None = None,
    catalogs: Sequence[Path] = (),
) -> xr.Dataset:
    """The cheapest fleet of every hardware for a demand, aggregated and disaggregated, as a Dataset over `rank`.

    The demand: `requests_per_s` R at random, or `concurrency` c users, of `isl` and `osl` tokens in the mean (spreads
    `isl_cv`, `osl_cv`, a share `cached_fraction` of prompts in the cache). Limits: `max_ttft` [s], `max_tpot` [s] (or
    `min_tps_per_user` [token/s]) hold at the `percentile`: 50, 90, 99, or "mean".

    Layouts come from grids, `serve` of servers (phase "serve") and `disaggregated` of two pools, or, where neither is
    given, from the catalog: `hardware` (default: all), `nic`, `engine`, `model`, `precision`, tp 1 to 16, 8 to 64 chips
    an instance. `axes`, `fixed`, `settings`, `limits`, `catalogs` as in `sweep`; a name goes to the kind of fleet that
    knows it.

    - aggregated: n instances that compute prompts and decode, each asked R / n (or c / n); the fewest that keep the
      limits.
    - disaggregated: n_p instances that compute prompts, from one queue, and n_d that decode. Each pool has the fewest
      instances that keep the limits beside an ideal other pool, and both together are then evaluated exactly; where a
      pair does not keep them, instances are added where that costs least.

    `spare` instances of each pool stand by; `mixed`: the pools may differ in their hardware; `kinds` of fleets wanted;
    `max_chips` of a fleet. A row is the best fleet of its kind, its hardware (of both pools) and its NIC: it minimizes
    `cost_per_hour`, or `chips` where a price is unknown (and where `minimize` says so); of equals it is the one with
    the least TPOT, of prompts the least TTFT. Rows whose price is known are first.
    """
    asked = {
        "requests_per_s": requests_per_s,
        "concurrency": concurrency,
        "isl": isl,
        "osl": osl,
        "min_tps_per_user": min_tps_per_user,
        "max_tpot": max_tpot,
        "max_ttft": max_ttft,
        "max_chips": max_chips,
    }
    own = {"isl_cv": isl_cv, "osl_cv": osl_cv, "cached_fraction": cached_fraction}
    question = demand.question(asked, percentile, spare, minimize, mixed, own)
    grids = {"aggregated": serve, "disaggregated": disaggregated}
    if serve is None and disaggregated is None:
        grids = spaces.of_catalog(model, hardware, nic, engine, precision, catalogs)
    kinds = [kinds] if isinstance(kinds, str) else list(kinds)
    if not kinds or set(kinds) - set(spaces.KINDS):
        raise InputError(f"kinds: {kinds!r}; expected one or both of {', '.join(spaces.KINDS)}")
    grids = {kind: grid for kind, grid in grids.items() if kind in kinds and grid is not None}
    if not grids:
        raise InputError(f"kinds: {', '.join(kinds)}; expected one of which a grid is given")
    changes = {"axes": axes, "fixed": fixed, "settings": settings, "limits": limits, "catalogs": catalogs}
    found = spaces.loaded(grids, question, **changes)
    return of_spaces(found, question, one_nic=serve is None and disaggregated is None)


def of_spaces(found, question, one_nic=True, command="dsjax.fleets"):
    """`fleets` of {kind: space}; `one_nic`: all of a fleet have the same NIC, the transfer too."""
    searches = {"aggregated": aggregated.Search, "disaggregated": pools.Search}
    of = {}
    for kind, space in advance.of(found.items()):
        options = {"one_nic": one_nic} if kind == "disaggregated" else {}
        of[kind] = searches[kind](space, question, **options)
    return tables.dataset_of(of, question, command)
