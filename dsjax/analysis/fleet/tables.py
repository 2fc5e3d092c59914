"""Fleets as a Dataset over `rank`: what they are made of, what they cost, what users feel, and what binds."""

import dataclasses
import json

import numpy as np
import xarray as xr

from ...results.dataset import global_attributes, remarks
from ...results.files import plain
from ...specs.variables import VARIABLES, WORDED
from . import refusals

POOLS = ("decode", "prefill")
NAMED = ("kind", "hardware", "nic")  # coordinates of a rank
# variable -> (units, long_name)
_FLEET = {
    "requests_per_s": ("1/s", "requests per second"),
    "concurrency": ("1", "requests in flight, those that wait included"),
    "chips": ("1", "chips of all instances, spare ones included"),
    "cost_per_hour": ("USD/h", "price of all chips"),
    "cost_per_million_tokens": ("USD", "price of all chips per million output tokens"),
    "power": ("W", "rated power of all chips: without host, network and cooling"),
    "ttft": ("s", "time to first token (TTFT) at the statistic that is asked for"),
    "tpot": ("s", "time per output token of a request (TPOT) at the statistic that is asked for"),
    "tps_per_user": ("token/s", "tokens per second and user: 1 / tpot"),
    "outside_validity": ("", VARIABLES["outside_validity"][1].removesuffix("; 0: they are held against simulations")),
    "chips_ratio": ("1", "prefill chips per decode chip at which both pools are equally busy"),
}
_OF_ANSWER = ("ttft_mean", "tpot_mean", "latency_mean", "kv_occupancy", "transfer_time", "transfer_share")
_POOL = {
    "chips_per_instance": ("1", "chips of one {} instance"),
    "instances": ("1", "{} instances that work"),
    "spare": ("1", "{} instances that stand by"),
    "chips": ("1", "chips of the {} pool, spare instances included"),
    "tps_total": ("token/s", "tokens per second that one {} instance takes at most"),
    "tps_per_chip": ("token/s", "tokens per second and chip that a {} instance takes at most"),
    "tokens_per_s": ("token/s", "tokens per second asked of the {} pool"),
    "batch_total": ("sequence", "sequences or prompts at work in one {} instance, mean"),
    "load": ("1", "of what the {} pool can take, the share that is asked"),
    "binds": ("", "what the {} pool would not keep with an instance less"),
}


def pool_ratio(isl, osl, prefill_tps_per_chip, decode_tps_per_chip):
    """Prefill chips per decode chip = (isl / prefill_tps_per_chip) / (osl / decode_tps_per_chip).

    Both pools then serve the same requests per second; rates in token/s, lengths in token.
    """
    return (isl / prefill_tps_per_chip) / (osl / decode_tps_per_chip)


def dataset_of(searches, question, command):
    """Dataset over `rank` of what {kind: search} found."""
    fleets = [row for search in searches.values() for row in _rows(search, question)]
    fleets.sort(key=lambda row: _order(row, question))
    meta = dict(_FLEET) | {name: VARIABLES[name] for name in _OF_ANSWER}
    for pool in POOLS:
        meta |= {f"{pool}_{name}": (units, text.format(pool)) for name, (units, text) in _POOL.items()}
    names = dict.fromkeys([*NAMED, *(name for row in fleets for name in row), *meta])
    data = {}
    for name in names:
        column = [row.get(name) for row in fleets]
        text = any(isinstance(x, str) for x in column)
        column = [("" if text else np.nan) if x is None else x for x in column]
        units, said = meta.get(name, ("", name.replace("_", ": ", 1)))
        data[name] = ("rank", np.array(column), {"long_name": said} | ({"units": units} if units else {}))
    coords = {name: data.pop(name) for name in NAMED}
    coords["rank"] = ("rank", np.arange(1, len(fleets) + 1), {"long_name": f"rank, {_words(question)} first"})
    ds = xr.Dataset(data, coords=coords)
    ds.attrs = _attributes(searches, question, command)
    return ds


def _words(question):
    return "fewest chips" if question.minimize == "chips" else "cheapest"


def _order(row, question):
    """Cheapest first, then what has no known price by its chips; or fewest chips first."""
    cost = np.nan_to_num(row["cost_per_hour"], nan=np.inf)
    return (row["chips"], cost) if question.minimize == "chips" else (cost, row["chips"])


def _rows(search, question):
    """One dict of every fleet that a search found."""
    fleets = list(search.found.values())
    if not fleets:
        return []
    values, binds = search.answer(fleets), refusals.binding(search, fleets)
    return [
        _row(search, question, fleet, {name: x[k].item() for name, x in values.items()}, binds[k])
        for k, fleet in enumerate(fleets)
    ]


def _row(search, question, fleet, values, binds):
    """{variable: value} of a fleet: {pool: (layout, instances)}, what it answers, and what binds each pool."""
    one = fleet["decode"][1] if search.KIND == "aggregated" else 1.0  # instances that the answer is not about
    rate = one * values["requests_per_s_served"]
    sizes, totals = {}, dict.fromkeys(("chips", "cost_per_hour", "power"), 0.0)
    for pool, (layout, instances) in fleet.items():
        candidates = search.of[pool]
        layouts, length = candidates.layouts, question.asked["osl" if pool == "decode" else "isl"]
        size, load = layouts.chips[layout], values[search.loads[pool]]
        most = rate / load / instances * length
        work = one * values["decode_batch"] if pool == "decode" else rate * values["request/prompt"]
        chips = (instances + question.spare) * size
        own = {
            "chips_per_instance": size,
            "instances": instances,
            "spare": float(question.spare),
            "chips": chips,
            "tps_total": most,
            "tps_per_chip": most / size,
            "tokens_per_s": rate * length,
            "batch_total": work / instances,
            "load": load,
            "binds": binds[pool],
        }
        sizes |= layouts.named(pool, layout) | {f"{pool}_{name}": x for name, x in own.items()}
        sizes |= dict(zip((f"{pool}_hardware", f"{pool}_nic"), candidates.labels[candidates.group[layout]]))
        for name, each in (("chips", 1.0), ("cost_per_hour", layouts.price[layout]), ("power", layouts.watts[layout])):
            totals[name] += float(chips * each)
    row = {"kind": search.KIND}
    for name in ("hardware", "nic"):
        row[name] = " + ".join(dict.fromkeys(sizes[f"{pool}_{name}"] for pool in fleet))
        sizes.setdefault(f"prefill_{name}", row[name])
    row |= sizes | totals | {name: values[name] for name in _OF_ANSWER if name in values}
    ttft, tpot = (values[f"{time}_{question.statistic}"] for time in ("ttft", "tpot"))
    row |= {"ttft": ttft, "tpot": tpot, "tps_per_user": 1.0 / tpot}
    row["outside_validity"] = WORDED["outside_validity"][int(values["outside_validity"])]
    row |= {"requests_per_s": rate, "concurrency": rate * values["latency_mean"]}
    row["cost_per_million_tokens"] = totals["cost_per_hour"] / (3600.0 * rate * question.asked["osl"]) * 1e6
    if "prefill" in fleet:
        speeds = (sizes[f"{pool}_tps_per_chip"] for pool in ("prefill", "decode"))
        row["chips_ratio"] = pool_ratio(question.asked["isl"], question.asked["osl"], *speeds)
    return row


def _attributes(searches, question, command):
    space = next(iter(searches.values())).space
    attrs = global_attributes(space, command)
    found = {name: attrs[name] for name in ("Conventions", "history", "dsjax_version")}
    limits = {kind: search.limits for kind, search in searches.items()}
    found |= {
        "title": f"Fleets for a demand, {_words(question)} first",
        "asked": json.dumps(question.asked | question.own, default=plain),
        "model": ", ".join(space.axes.get("model") or [space.fixed["model"]]),
        "statistic": question.statistic,
        "spare": question.spare,
        "margins": json.dumps(question.margins),
        "limits": json.dumps(limits),
        "configurations": json.dumps({kind: search.configurations for kind, search in searches.items()}),
        "refused": json.dumps([x for search in searches.values() for x in refusals.of_search(search)]),
    }
    if not any(search.found for search in searches.values()):
        found["largest"] = json.dumps(refusals.largest(searches))
    found |= remarks(*(dataclasses.replace(search.space, bounds=search.limits) for search in searches.values()))
    return found | {f"{kind}_spec": search.space.to_json() for kind, search in searches.items()}
