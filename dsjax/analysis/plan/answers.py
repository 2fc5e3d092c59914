"""What a search found as a Dataset over `rank`, with its words in attributes."""

import collections
import dataclasses
import json
import os
from typing import NamedTuple

import numpy as np
import xarray as xr

from ...results.dataset import global_attributes, remarks
from ...results.files import plain
from ...space import provenance
from ...specs.variables import VARIABLES, WORDED
from ...validation import kept, measured
from .axes import LAYOUT
from .pieces import AXES, NIC

MORE = (1.01, 1.1, 1.25, 1.5, 2.0, 4.0, 16.0)  # times the demand of a single instance
NAMED = ("kind", "hardware", "precision")  # coordinates of a rank
SPLIT = ("engine", "nic", "tp", "moe_tp", "pp", "sp", "mtp", "pipeline", "dispatch_mode", "batching")
ANSWERED = (
    *(f"{time}_{s}" for time in ("ttft", "tpot") for s in ("mean", "p50", "p90", "p99")),
    *("latency_mean", "utilisation", "decode_batch", "prefill_share", "kv_occupancy", "memory_per_chip"),
)
# variable -> (units, long_name)
META = {
    "chips": ("1", "chips of all instances"),
    "instances": ("1", "instances"),
    "chips_per_instance": ("1", "chips of one instance"),
    "ep": ("1", "expert parallelism: groups of chips that share the routed experts"),
    "dp": ("1", "data-parallel groups of attention of an instance"),
    "concurrency": ("1", "users of all instances, each of whom asks again when the answer is there; or in flight"),
    "requests_per_s": ("1/s", "requests per second of all instances"),
    "tps_total": ("token/s", "output tokens per second of all instances"),
    "tps_per_chip": ("token/s", "output tokens per second and chip"),
    "tps_per_user": ("token/s", "output tokens per second and user: 1 / tpot_mean"),
    "cost_per_hour": ("USD/h", "price of all chips"),
    "cost_per_million_tokens": ("USD", "price of the chips per million output tokens"),
    "outside_validity": ("", VARIABLES["outside_validity"][1].removesuffix("; 0: they are held against simulations")),
    "curve_uncertainty": ("1", "relative standard error of the time of a kernel"),
    "curve_basis": ("", "kernels fitted to this hardware, to a sibling, or assumed of another design"),
    "system_class": ("", "class of measured systems that is of its kind (docs/accuracy.md)"),
    "systems": ("1", "measured systems of the class"),
    "error_median": ("1", "relative error of the times and rates of the class, median"),
    "error_p90": ("1", "relative error of the times and rates of the class, 90th percentile"),
    "ttft_error_median": ("1", "relative error of measured times to the first token, median"),
    "ttft_error_p90": ("1", "relative error of measured times to the first token, 90th percentile"),
    "binds": ("", "what would not be kept by a user more, or by an instance less"),
}


class Found(NamedTuple):
    """What was found on some hardware: without the tables that it was found in."""

    rows: list  # {variable: value}
    layouts: int
    fits: int
    refused: dict  # {mask: layouts}
    nearest: dict  # {time: (seconds, hardware)} of who is alone, where no row is


def of_searches(search, pools, question, chosen):
    """`Found` of a search of whole instances, and of one of two pools or None."""
    rows = _rows(search, question) + (_rows_of_pools(pools, question, chosen, search) if pools else [])
    own = search.instances
    return Found(rows, own.number, own.fits, own.refused, {} if rows else own.nearest(question.statistic))


def dataset_of(found, question, chips, chosen, why, spaces):
    """Dataset over `rank` of all that was found, `Found` of each hardware; `spaces`: theirs."""
    rows = [row for of in found for row in of.rows]
    best = {"chips": lambda row: row["chips"], "speed": lambda row: row["latency_mean"]}
    rows.sort(key=best.get(question.wanted, lambda row: -row["tps_per_chip"]))
    data = {}
    for name in dict.fromkeys([*NAMED, *(name for row in rows for name in row), *META]):
        column = [row.get(name) for row in rows]
        text = any(isinstance(x, str) for x in column)
        column = [("" if text else np.nan) if x is None else x for x in column]
        units, said = META.get(name, VARIABLES.get(name, ("", name.replace("_", " "))))
        data[name] = ("rank", np.array(column), {"long_name": said} | ({"units": units} if units else {}))
    coords = {name: data.pop(name) for name in NAMED}
    coords["rank"] = ("rank", np.arange(1, len(rows) + 1), {"long_name": "rank, best first"})
    ds = xr.Dataset(data, coords=coords)
    attrs = global_attributes(spaces[0], "dsjax.plan")
    refused = sum((collections.Counter(of.refused) for of in found), collections.Counter())
    ds.attrs = {name: attrs[name] for name in ("Conventions", "history", "dsjax_version")} | {
        "title": f"What to run of {chosen.model}",
        "model": chosen.model,
        "asked": json.dumps(question.asked | {"chips": chips, "wanted": question.wanted}),
        "statistic": question.statistic,
        "limits": json.dumps(question.limits),
        "changes": json.dumps(_changes(chosen), default=plain),
        "checkpoint": why,
        "layouts": sum(of.layouts for of in found),
        "possible": sum(of.fits for of in found),
        "refused": json.dumps(refused),
        **remarks(*(dataclasses.replace(space, bounds=question.limits) for space in spaces)),
    }
    if not rows:
        near = [(time, *x) for of in found for time, x in of.nearest.items()]
        ds.attrs["nearest"] = json.dumps({time: (x, chip) for time, x, chip in sorted(near, key=lambda x: -x[1])})
    return ds


def _rows(search, question):
    """{variable: value} of every fleet of whole instances, best first."""
    if not search.found:
        return []
    own = search.instances
    layouts, n, asked = (np.array(x) for x in zip(*search.found, strict=True))
    more = _more(question, n, asked)
    every = own.at(np.tile(layouts, len(more) + 1), np.concatenate([asked, *more]))
    values, *more = (
        {name: x[k : k + len(n)] for name, x in every.items()} for k in range(0, len(n) * (len(more) + 1), len(n))
    )
    rows = []
    for k, fleet in enumerate(search.found):
        named, chips = own.named(fleet.layout), float(own.chips[fleet.layout])
        at = {name: x[k].item() for name, x in values.items()}
        beyond = [{name: bool(x[k]) for name, x in of.items() if name.startswith("ok_")} for of in more]
        beyond = next((masks for masks in beyond if not all(masks.values())), {})
        space = own.spaces[int(own.piece[fleet.layout])]
        row = {"kind": "aggregated", "hardware": named["hardware"], "precision": named["precision"]}
        row |= _layout(named, chips, int(n[k]))
        users = None if question.demanded else float(n[k] * asked[k])
        hour = float(n[k] * chips * own.price[fleet.layout])
        row |= _served(at, question, int(n[k]), float(n[k] * chips), users, hour, _basis(space, named))
        mixed = question.asked["isl"] / question.asked["osl"]
        row |= kept.errors_of(measured.served_kind(row["concurrency"] / n[k], row["tp"], chips, mixed))
        cap, admitted = float(own.cap[fleet.layout]), named["max_batch"] * row["dp"]
        full = "max_batch" if 0.0 < admitted <= cap * (1.0 + 1e-9) else "memory of the cache"
        inside = question.wanted != "tokens" or asked[k] + 1.0 <= cap
        rows.append(row | {"binds": _binds(beyond, question, "" if inside else full)})
    return rows


def _changes(chosen):
    """What a user fixed beside a layout, set, and brought along: a command about an answer needs it too.

    `layout`: what of a layout was given, which a command about an answer has from the answer.
    """
    fixed = {name: x for name, x in chosen.fixed.items() if name not in (*AXES, *LAYOUT)}
    own = chosen.changes
    catalogs = own["catalogs"] or ()
    catalogs = [str(x) for x in ((catalogs,) if isinstance(catalogs, str | os.PathLike) else catalogs)]
    layout = {"fixed": {name: x for name, x in chosen.fixed.items() if name not in fixed}, "axes": chosen.axes}
    layout |= {"nic": "" if chosen.nic == NIC else chosen.nic, "precision": ",".join(chosen.precision or ())}
    return {"fixed": fixed, "settings": dict(own["settings"] or {}), "catalogs": catalogs, "layout": layout}


def _rows_of_pools(search, question, chosen, whole):
    """{variable: value} of every fleet of two pools."""
    rows = []
    for fleet, (at, more) in zip(search.found, search.answers(search.found), strict=True):
        named, beyond = search.named(fleet), {name: x for name, x in more.items() if name.startswith("ok_")}
        row = {
            "kind": "disaggregated",
            "hardware": named["decode"]["hardware"],
            "precision": named["decode"]["precision"],
        }
        for (pool, of), n in zip(named.items(), fleet.instances, strict=True):
            row |= {f"{pool}_{name}": x for name, x in _layout(of, float(of["chips"]), n).items()}
        basis = _basis(_same(whole.instances.spaces, named["decode"]), named["decode"])
        row |= _served(at, question, 1, search.chips_of(fleet), fleet.users, search.price(fleet), basis)
        row |= kept.errors_of(measured.served_kind(row["concurrency"], row["decode_tp"], named["decode"]["chips"]))
        binds = search.binds(fleet) if question.demanded else _binds(beyond, question)
        if binds == "nothing":  # more users only wait for the busier pool
            binds = f"{max(named, key=lambda pool: at[f'{pool}_utilisation'])} pool"
        rows.append(row | {"engine": named["decode"]["engine"], "nic": chosen.nic, "binds": binds})
    return rows


def _same(spaces, named):
    """A space of whole instances of the same chips, engine and precision: its kernels are those of a pool."""
    names = ("hardware", "engine", "precision")
    return next((x for x in spaces if all(named[name] in x.labels(name) for name in names)), spaces[0])


def _layout(named, chips, n):
    """How instances are split."""
    pp = named.get("pp") or 1
    row = {name: named[name] for name in SPLIT if name in named} | {"pp": pp}
    row |= {"instances": n, "chips_per_instance": int(chips)}
    return row | {"ep": int(chips / pp / named["moe_tp"]), "dp": int(chips / pp / named["tp"])}


def _served(at, question, n, chips, users, hour, basis):
    """What `n` instances, of which `at` is the answer of one, serve and cost."""
    rate = n * at["requests_per_s_served"]
    total = rate * question.asked["osl"]
    row = {"chips": int(chips), "requests_per_s": rate, "tps_total": total, "tps_per_chip": total / chips}
    row |= {
        "concurrency": rate * at["latency_mean"] if users is None else float(users),
        "tps_per_user": 1.0 / at["tpot_mean"],
    }
    row |= {name: at[name] for name in ANSWERED}
    row |= {"cost_per_hour": hour, "cost_per_million_tokens": hour / (3600.0 * total) * 1e6}
    row |= {"outside_validity": WORDED["outside_validity"][int(at["outside_validity"])]}
    return row | {"curve_basis": basis, "curve_uncertainty": provenance.UNCERTAINTY[basis]}


def _basis(space, named):
    """Whether kernels of a chip in a precision are fitted to it, to a sibling, or assumed."""
    one = space.only({axis: named[axis] if named.get(axis) in x else x[0] for axis, x in space.axes.items()})
    return provenance.of_space(one).get((named["hardware"], named["engine"]), ("", "assumed"))[1]


def _more(question, n, asked):
    """[what instances are asked instead], each a little more than the one before, to see what does not keep it.

    A user more; of a demand what is left to one instance less, or, of a single one, up to what `MORE` says.
    """
    if question.wanted == "tokens":
        return [asked + 1.0]
    if question.wanted == "speed":
        return []
    fewer = np.where(n > 1, n / np.maximum(n - 1.0, 1.0), 0.0)
    return [asked * np.where(n > 1, fewer, more) for more in MORE]


def _binds(masks, question, full=""):
    """What a user more, or an instance less, would not keep, limits first; `full`: what admits no more, if anything."""
    limits = {key.split("_", 1)[1]: key for key in question.limits}
    found = sorted(
        (name.removeprefix("ok_") for name, ok in masks.items() if not ok), key=lambda name: name not in limits
    )
    if found:
        return limits.get(found[0], found[0])
    return full or ("nothing" if question.wanted == "tokens" else "")
