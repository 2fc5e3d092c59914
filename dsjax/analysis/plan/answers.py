"""What a search found as a Dataset over `rank`, with its words in attributes."""

import json

import numpy as np
import xarray as xr

from ...results.dataset import global_attributes
from ...space import provenance
from ...specs.variables import VARIABLES, WORDED

LAYOUT = ("engine", "nic", "tp", "moe_tp", "pp", "sp", "mtp", "pipeline", "dispatch_mode", "batching")
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
    "binds": ("", "what would not be kept by a user, or a request, more"),
}


def dataset_of(search, question, chosen, why):
    """Dataset over `rank` of the fleets that a search found."""
    rows = _rows(search, question)
    names = dict.fromkeys([*("kind", "hardware", "precision"), *(name for row in rows for name in row), *META])
    data = {}
    for name in names:
        column = [row.get(name) for row in rows]
        units, said = META.get(name, VARIABLES.get(name, ("", name.replace("_", " "))))
        data[name] = ("rank", np.array(column), {"long_name": said} | ({"units": units} if units else {}))
    coords = {name: data.pop(name) for name in ("kind", "hardware", "precision")}
    coords["rank"] = ("rank", np.arange(1, len(rows) + 1), {"long_name": "rank, best first"})
    ds = xr.Dataset(data, coords=coords)
    space = search.instances.spaces[0]
    attrs = global_attributes(space, "dsjax.plan")
    ds.attrs = {name: attrs[name] for name in ("Conventions", "history", "dsjax_version")} | {
        "title": f"What to run of {chosen.model}",
        "model": chosen.model,
        "asked": json.dumps(question.asked | {"chips": search.chips, "demanded": question.demanded}),
        "statistic": question.statistic,
        "limits": json.dumps(question.limits),
        "checkpoint": why,
        "layouts": search.instances.number,
        "possible": int(search.instances.possible.sum()),
        "refused": json.dumps(search.instances.refused),
    }
    return ds


def _rows(search, question):
    """{variable: value} of every fleet, best first."""
    if not search.found:
        return []
    own = search.instances
    layouts, n, asked = (np.array(x) for x in zip(*search.found, strict=True))
    values = own.at(layouts, asked)
    step = np.maximum(0.01 * asked, 1e-9) if question.demanded else 1.0
    more = own.at(layouts, asked + step)
    rows = []
    for k, fleet in enumerate(search.found):
        named, chips = own.named(fleet.layout), float(own.chips[fleet.layout])
        rate = float(n[k] * values["requests_per_s_served"][k])
        total = rate * question.asked["osl"]
        used = float(n[k] * chips)
        hour = used * own.price[fleet.layout]
        space = own.spaces[int(own.piece[fleet.layout])]
        _, basis = provenance.of_space(space).get((named["hardware"], named["engine"]), ("", "assumed"))
        pp = named.get("pp", 1)
        row = {"kind": "aggregated", "hardware": named["hardware"], "precision": named["precision"]}
        row |= {name: named[name] for name in LAYOUT if name != "pp"} | {"pp": pp}
        row |= {"instances": int(n[k]), "chips_per_instance": int(chips), "chips": int(used)}
        row |= {"ep": int(chips / pp / named["moe_tp"]), "dp": int(chips / pp / named["tp"])}
        row |= {"requests_per_s": rate, "tps_total": total, "tps_per_chip": total / used}
        row |= {"concurrency": rate * float(values["latency_mean"][k]) if question.demanded else float(n[k] * asked[k])}
        row |= {"tps_per_user": 1.0 / float(values["tpot_mean"][k])}
        row |= {name: float(values[name][k]) for name in ANSWERED}
        row |= {"cost_per_hour": hour, "cost_per_million_tokens": hour / (3600.0 * total) * 1e6}
        row |= {"outside_validity": WORDED["outside_validity"][int(values["outside_validity"][k])]}
        row |= {"curve_basis": basis, "curve_uncertainty": provenance.UNCERTAINTY[basis]}
        row |= {
            "binds": _binds(
                more, k, question, asked[k] + step > own.cap[fleet.layout] if not question.demanded else False
            )
        }
        rows.append(row)
    return rows


def _binds(values, k, question, full):
    """What would not be kept."""
    found = [name.removeprefix("ok_") for name, ok in values.items() if name.startswith("ok_") and not ok[k]]
    limits = {key.split("_", 1)[1]: key for key in question.limits}
    found.sort(key=lambda name: name not in limits)
    if found:
        return limits.get(found[0], found[0])
    return "memory of the cache" if full else ("" if question.demanded else "nothing")
