"""How many chips serve a demand: fleets of the layouts of two grids of steps, one of decode and one of prefill."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import xarray as xr

from ...arguments import typed
from ...errors import InputError
from ...space.limits import tightened
from ...types import Amount, Dtype, Grid, Named, Path
from ..plan import sizes
from . import demand, fleets, spaces

OWN = {"decode": "default", "prefill": "prefill"}  # grids of sweeps, whose sizes of an instance are not those of fleets
LOADS = ("batch", "prompts", "concurrency", "requests_per_s")  # how much runs at once follows from the demand


@typed
def recommend(
    decode: Grid = "default",
    prefill: Grid = "prefill",
    *,
    isl: Amount | None = None,
    osl: Amount | None = None,
    requests_per_s: Amount | None = None,
    concurrency: Amount | None = None,
    min_tps_per_user: Amount | None = None,
    max_tpot: Amount | None = None,
    max_ttft: Amount | None = None,
    percentile: int | str = 90,
    aggregated: bool = True,
    mixed: bool = False,
    spare: int = 0,
    max_chips: Amount | None = None,
    axes: Named | None = None,
    fixed: Named | None = None,
    settings: Named | None = None,
    limits: Named | None = None,
    catalogs: Sequence[Path] = (),
    dtype: Dtype = "float64",
) -> xr.Dataset:
    """The fewest chips for a demand, as a Dataset over `rank`, fewest chips first: `fleets` of two grids of steps.

    `decode`, `prefill`: grids of the core model, whose layouts the pools have; how many sequences and prompts run at
    once follows from the demand, so their `batch` and `prompts` are not read. Of dsjax's own grids, `default` and
    `prefill`, sizes of an instance (chips, tp, moe_tp, sp) are not read either, but for those that `axes` and `fixed`
    give: they follow from the chips (`plan.axes`), up to 64 an instance. `isl`, `osl`: tokens of a prompt and of an
    answer, in the mean. The demand is `requests_per_s` r at random, or `concurrency` c, users who send the next request
    when they have the last token. `min_tps_per_user` or `max_tpot`, and `max_ttft`, replace what the grids ask, as
    `limits` do ({"slo_margin": 0.1} too); all of them hold at the `percentile` (50, 90, 99 or "mean"), tightened by the
    grid's `slo_margin`. `axes` and `fixed` go to the grid that names them, to both where none does, or to the requests
    (`isl_cv`, `cached_fraction`, `batching`, ...); `settings`, `catalogs` as in `sweep`, `dtype` of the numbers of the
    answer.

    A row is the best fleet of a kind, hardware and NIC, `aggregated` ones (instances of the decode grid's layouts that
    compute prompts too) beside disaggregated ones; the pools have different hardware only where they may be `mixed`.
    `spare` instances of each pool stand by. Where a chip has a price: cost_per_hour = price x chips, per million output
    tokens / (3600 r osl) 1e6.
    """
    asked = {
        "min_tps_per_user": min_tps_per_user,
        "max_tpot": max_tpot,
        "max_ttft": max_ttft,
        "isl": isl,
        "osl": osl,
        "requests_per_s": requests_per_s,
        "concurrency": concurrency,
        "max_chips": max_chips,
    }
    changes = {"axes": axes, "fixed": fixed, "settings": settings, "limits": limits, "catalogs": catalogs}
    how = {"percentile": percentile, "aggregated": aggregated, "mixed": mixed, "spare": spare}
    found, question = spaces_of(decode, prefill, asked, changes, **how)
    if dtype not in ("float64", "float32"):
        raise InputError(f"dtype: {dtype!r}; expected float64 or float32")
    ds = fleets.of_spaces(found, question, command="dsjax.recommend")
    return ds.map(lambda x: x.astype(dtype) if np.issubdtype(x.dtype, np.floating) else x, keep_attrs=True)


def spaces_of(decode, prefill, asked, changes, *, percentile=90, aggregated=True, mixed=False, spare=0):
    """({kind: space}, `Question`) of two grids of steps and a demand `asked`; `changes` as options of `grid.load`."""
    how = {"spare": spare, "minimize": "chips", "mixed": mixed}
    question = demand.question(asked, percentile, **how)
    options, own = {}, {}
    for part in ("axes", "fixed"):
        options[part], own[part] = spaces.apart(changes.get(part) or {})
        for name in options[part].keys() & {"isl", "osl", "phase", *LOADS}:
            raise InputError(f"{name}: is set by the question; expected no axis and no fixed value of this name")
    options |= {part: changes.get(part) for part in ("settings", "limits", "catalogs")}
    sources = {"decode": decode, "prefill": prefill}
    sources = {phase: _sized(phase, source, options) for phase, source in sources.items()}
    steps = spaces.steps(sources, question, options)
    question = demand.question(_limits(question, steps), percentile, **how)
    question = dataclasses.replace(question, margins={phase: space.margin for phase, space in steps.items()})
    grids = spaces.of_steps(steps["decode"], steps["prefill"])
    kinds = spaces.KINDS if aggregated else spaces.KINDS[1:]
    left = {"settings": changes.get("settings"), "catalogs": changes.get("catalogs") or ()}
    return spaces.loaded({kind: grids[kind] for kind in kinds}, question, **own, **left), question


def _sized(phase, source, options):
    """A grid, with sizes of an instance that follow from the chips where it is dsjax's own."""
    return sizes.of_grid(source, phase, options) if source == OWN[phase] else source


def _limits(question, steps):
    """What is asked, with the limits of the grids where no others are given, and tightened by their margins."""
    asked = dict(question.asked)
    for phase, space in steps.items():
        names = ("min_tps_per_user", "max_tpot") if phase == "decode" else ("max_ttft",)
        given = [name for name in names if asked[name] is not None]
        margin = {name: asked[name] for name in given}
        own = {key: bound for key, bound in space.bounds.items() if not (given and key in names)}
        for key in own:
            if key not in names:
                raise InputError(f"[constraints] {key} of the {phase} grid: expected one of {', '.join(names)}")
        asked |= own | tightened(margin, space.margin)
    if asked["min_tps_per_user"] is not None and asked["max_tpot"] is not None:  # a grid may ask both
        asked |= {"max_tpot": min(asked["max_tpot"], 1.0 / asked["min_tps_per_user"]), "min_tps_per_user": None}
    return asked
