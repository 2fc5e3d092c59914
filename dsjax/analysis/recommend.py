"""How many chips serve a demand: pools of decode and of prefill instances, sized apart.

Assumptions (`ASSUMPTIONS`): the pools are independent and the KV cache reaches the decode pool at no cost; demand is
steady, so nothing waits; every request has `isl` and `osl` tokens and decode runs at the mean context isl + osl / 2.
"""

import dataclasses
import itertools
import json
from collections.abc import Sequence

import numpy as np
import xarray as xr

from ..results.handle import Results
from ..search import ranking
from ..space.space import Space
from ..sweeps import sweep
from ..types import Amount, Dtype, Grid, Named, Path
from . import demand as demands

ASSUMPTIONS = (
    "independent pools; moving the KV cache from prefill to decode is not counted; steady demand without queues or "
    "bursts; every request alike, decode at the mean context isl + osl / 2"
)
GROUPS = ("hardware", "nic")


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
    axes: Named | None = None,
    fixed: Named | None = None,
    settings: Named | None = None,
    catalogs: Sequence[Path] = (),
    dtype: Dtype = "float64",
) -> xr.Dataset:
    """The fewest chips for a demand, as a Dataset over `rank`: one row per hardware and NIC, fewest chips first.

    `decode`, `prefill`: grids of the core model; `isl`, `osl`: tokens of a prompt and of an answer. The demand is
    `requests_per_s` r or `concurrency` c, users who are being answered at once; c = r osl tpot (Little's law).
    `min_tps_per_user` or `max_tpot`, and `max_ttft`, replace what the grids ask; the grid's `slo_margin` holds for
    them too. `axes` and `fixed` go to the grid
    that names them, to both where none does; `settings`, `catalogs`, `dtype` as in `sweep`.

    A pool is n whole instances of one configuration of N chips: decode n = ceil(r osl / tps_total), or
    ceil(c / batch_total); prefill n = ceil(r isl / tps_total). Of the feasible points of the grid the pool takes the
    one with the fewest chips n N; of equals the fastest for a user, then the study's tie rule; decode is chosen first,
    and where the demand is a concurrency its tpot sets the rate. Where the hardware has
    a price: cost_per_hour = price x chips, per million output tokens / (3600 r osl) 1e6. See `ASSUMPTIONS`.
    """
    asked = dict(zip(demands.ASKED, (requests_per_s, concurrency, isl, osl, min_tps_per_user, max_tpot, max_ttft)))
    options = {"axes": axes, "fixed": fixed, "settings": settings, "catalogs": catalogs}
    return of_spaces(*demands.spaces_of(decode, prefill, asked, options), asked, dtype)


def pool_ratio(isl, osl, prefill_tps_per_chip, decode_tps_per_chip):
    """Prefill chips per decode chip = (isl / prefill_tps_per_chip) / (osl / decode_tps_per_chip).

    Both pools then serve the same requests per second; rates in token/s, lengths in token.
    """
    return (isl / prefill_tps_per_chip) / (osl / decode_tps_per_chip)


@dataclasses.dataclass(frozen=True)
class _Points:
    """The feasible points of a pool's grid."""

    ds: xr.Dataset
    space: Space
    labels: list  # (hardware, nic) of every group
    group: np.ndarray  # of every feasible point
    flat: np.ndarray
    at: dict

    def of(self, name):
        """Values of a variable at the feasible points."""
        return ranking.values_at(self.ds, name, self.at, len(self.flat))

    def fewest(self, instances, slowness):
        """{(hardware, nic): feasible point} with the fewest chips; `instances` is NaN where none can be."""
        chips = instances * self.of("chips")
        keys = [ranking.tie_key(self.ds, key, self.at, len(self.flat)) for key in self.space.study.ties]
        order = np.lexsort((self.flat, *reversed(keys), slowness, chips, self.group))
        order = order[~np.isnan(chips[order])]
        groups, first = np.unique(self.group[order], return_index=True)
        return {self.labels[g]: int(order[i]) for g, i in zip(groups, first)}


def _points(ds, space):
    flat, at, _ = ranking.candidates(Results(ds, space), ("chips",))
    rows = [space.axes.get(name, (space.fixed.get(name),)) for name in GROUPS]
    group = np.zeros(len(flat), np.int64)
    for name, labels in zip(GROUPS, rows):
        group = group * len(labels) + (at[name] if name in space.axes else 0)
    return _Points(ds, space, list(itertools.product(*rows)), group, flat, at)


def _whole(x):
    """Whole instances: x rounded up, but not by its last digits."""
    return np.maximum(np.ceil(x * (1.0 - 1e-12)), 1.0)


def of_spaces(decode, prefill, asked, dtype="float64"):
    """`recommend` of two resolved spaces."""
    asked = demands.checked(asked)
    decode, prefill = (_points(sweep.of_space(s, dtype, False, "dsjax.recommend"), s) for s in (decode, prefill))
    isl, osl, rate, users = (asked[name] for name in ("isl", "osl", "requests_per_s", "concurrency"))
    if users is None:
        instances = _whole(rate * osl / decode.of("tps_total"))
    else:
        instances = _whole(users / decode.of("batch_total"))
    chosen = decode.fewest(instances, decode.of("tpot"))
    # Users who get their tokens sooner ask again sooner.
    rates = {key: rate or users / (osl * decode.of("tpot")[i]) for key, i in chosen.items()}
    demand = np.array([rates.get(label, np.nan) for label in prefill.labels])[prefill.group]
    prompts = _whole(demand * isl / prefill.of("tps_total"))
    prefills = prefill.fewest(prompts, prefill.of("ttft"))
    rows = []
    for key in [key for key in chosen if key in prefills]:
        i, j = chosen[key], prefills[key]
        rows.append(_row(asked, rates[key], (decode, i, instances[i]), (prefill, j, prompts[j])) | _named(key))
    rows.sort(key=lambda row: (row["chips"], np.nan_to_num(row["cost_per_hour"], nan=np.inf)))
    return _dataset(rows, asked, decode, prefill)


def _named(key):
    return dict(zip(GROUPS, key))


def _row(asked, rate, decode, prefill):
    """{variable: value} of a fleet."""
    row, totals = {}, {"chips": 0.0, "cost_per_hour": 0.0, "power": 0.0}
    for phase, tokens, (points, i, instances) in (
        ("decode", asked["osl"], decode),
        ("prefill", asked["isl"], prefill),
    ):
        own = {name: points.of(name)[i].item() for name in ("tps_total", "tps_per_chip", "batch_total", "chips")}
        chips = instances * own["chips"]
        row |= {
            f"{phase}_{axis}": points.of(axis)[i].item()
            for axis in points.space.axes
            if axis not in (*GROUPS, "chips", "hardware_usd_per_hour", "hardware_watts")
        }
        row |= {
            f"{phase}_chips_per_instance": own["chips"],
            f"{phase}_instances": instances.item(),
            f"{phase}_chips": chips.item(),
            f"{phase}_tps_total": own["tps_total"],
            f"{phase}_tps_per_chip": own["tps_per_chip"],
            f"{phase}_batch_total": own["batch_total"],
            f"{phase}_tokens_per_s": rate * tokens,
            f"{phase}_load": rate * tokens / (instances * own["tps_total"]).item(),
        }
        totals["chips"] += chips.item()
        totals["cost_per_hour"] += chips.item() * _number(points, "usd_per_hour", i)
        totals["power"] += chips.item() * _number(points, "watts", i)
    points, i, _ = decode
    row |= {name: points.of(name)[i].item() for name in ("tps_per_user", "tpot")}
    row["ttft"] = prefill[0].of("ttft")[prefill[1]].item()
    ratio = pool_ratio(asked["isl"], asked["osl"], row["prefill_tps_per_chip"], row["decode_tps_per_chip"])
    return (
        row
        | totals
        | {
            "requests_per_s": rate,
            "concurrency": rate * asked["osl"] * row["tpot"],
            "chips_ratio": ratio,
            "cost_per_million_tokens": totals["cost_per_hour"] / (3600.0 * rate * asked["osl"]) * 1e6,
        }
    )


def _number(points, field, i):
    """Number of the hardware at a point; NaN where it is unknown."""
    name = f"hardware_{field}"
    if name in points.ds.variables:
        value = points.of(name)[i].item()
    else:
        value = points.space.rows["hardware"][points.space.fixed["hardware"]][field]
    return value or float("nan")


# variable -> (units, long_name); `decode_` and `prefill_` before what a pool has
_FLEET = {
    "requests_per_s": ("s-1", "requests per second"),
    "concurrency": ("1", "users who are being answered at once"),
    "chips": ("1", "chips of both pools"),
    "chips_ratio": ("1", "prefill chips per decode chip at which both pools are equally busy"),
    "tps_per_user": ("token/s", "tokens per second and user"),
    "tpot": ("s", "time per output token of one user (TPOT)"),
    "ttft": ("s", "time to first token (TTFT), without waiting"),
    "cost_per_hour": ("USD/h", "price of both pools"),
    "cost_per_million_tokens": ("USD", "price of both pools per million output tokens"),
    "power": ("W", "rated power of the chips of both pools: without host, network and cooling"),
}
_POOL = {
    "chips_per_instance": ("1", "chips of one {} instance"),
    "instances": ("1", "instances of the {} pool"),
    "chips": ("1", "chips of the {} pool"),
    "tps_total": ("token/s", "tokens per second of one {} instance"),
    "tps_per_chip": ("token/s", "tokens per second and chip in {}"),
    "batch_total": ("sequence", "sequences or prompts in flight in one {} instance"),
    "tokens_per_s": ("token/s", "tokens per second asked of the {} pool"),
    "load": ("1", "of what the {} pool can do, the share that is asked"),
}


def _dataset(rows, asked, decode, prefill):
    meta = dict(_FLEET)
    for phase in ("decode", "prefill"):
        meta |= {f"{phase}_{name}": (units, text.format(phase)) for name, (units, text) in _POOL.items()}
    names = list(rows[0]) if rows else [*GROUPS, *meta]
    data = {}
    for name in names:
        units, text = meta.get(name, ("", name.replace("_", ": ", 1)))
        attrs = {"long_name": text} | ({"units": units} if units else {})
        data[name] = ("rank", [row[name] for row in rows], attrs)
    coords = {name: data.pop(name) for name in GROUPS}
    coords["rank"] = ("rank", np.arange(1, len(rows) + 1), {"long_name": "rank, fewest chips first"})
    ds = xr.Dataset(data, coords=coords)
    history = decode.ds.attrs
    ds.attrs = {name: history[name] for name in ("Conventions", "history", "dsjax_version")}
    ds.attrs |= {
        "title": "Fewest chips for a demand: " + ASSUMPTIONS,
        "asked": json.dumps(asked),
        "bounds": json.dumps(decode.space.bounds | prefill.space.bounds),
        "margins": json.dumps({"decode": decode.space.margin, "prefill": prefill.space.margin}),
        "refused": json.dumps(_refused(decode, prefill, rows)),
        "decode_spec": decode.space.to_json(),
        "prefill_spec": prefill.space.to_json(),
    }
    return ds


def _refused(decode, prefill, rows):
    """[hardware, nic, phase, points, {constraint: points refused}] of every pool that stops a fleet."""
    served = {tuple(row[name] for name in GROUPS) for row in rows}
    found = []
    for phase, points, other in (("decode", decode, prefill), ("prefill", prefill, decode)):
        found += [[*label, phase, 0, {"not in this grid": 0}] for label in other.labels if label not in points.labels]
        feasible = set(points.group.tolist())
        for i, label in enumerate(points.labels):
            if label not in served and i not in feasible:
                found.append([*label, phase, *_refusals(points, label)])
    return found


def _refusals(points, label):
    space = points.space
    at = {name: space.axes[name].index(row) for name, row in zip(GROUPS, label) if name in space.axes}
    total = space.points // int(np.prod([space.sizes[name] for name in at]))
    counts = {}
    for name, mask in points.ds.data_vars.items():
        if name.startswith("ok_"):
            part = mask.isel({axis: i for axis, i in at.items() if axis in mask.dims}).values
            counts[name] = int((~part).sum()) * total // part.size
    return total, {name: n for name, n in sorted(counts.items(), key=lambda x: -x[1]) if n}
