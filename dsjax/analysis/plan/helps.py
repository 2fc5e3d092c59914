"""What would help first: how many tokens more a split serves within its limits where one number is a tenth better."""

import dataclasses

import numpy as np

from ...specs.records import RATES
from . import instances, largest, pieces

BETTER = 1.1
USERS = np.array([0.9, 0.95, 1.0, 1.04, 1.08, 1.12, 1.2])  # of those of the answer, between which limits are met
# {what it is: fields of a row}, all of them better by as much
NUMBERS = {
    "compute": ("hardware", tuple(f"{rate}_flops_per_s" for rate in RATES)),
    "memory bandwidth": ("hardware", ("hbm_bytes_per_s",)),
    "bandwidth inside a domain": ("hardware", ("scale_up_bytes_per_s",)),
    "bandwidth of the NIC": ("nic", ("scale_out_bytes_per_s",)),
    "memory": ("hardware", ("hbm_bytes",)),
}


def named_of(row, pool=""):
    """{axis or fixed value: label or number} of an instance of a row of an answer, or of one of its pools."""
    names = [name for name in (*pieces.AXES, "nic", "engine") if f"{pool}{name}" in row or name in row]
    found = {name: row.get(f"{pool}{name}", row.get(name)) for name in names}
    found |= {name: int(x) for name, x in found.items() if isinstance(x, float)}
    return found | {"chips": int(row[f"{pool}chips_per_instance"])}


def piece(chosen, named, axes=()):
    """`pieces.Piece` of one instance, `named` {axis or fixed value: label or number}; `axes` {name: values} instead."""
    found = {name: [named[name]] for name in pieces.AXES if name in named} | {"nic": [named["nic"]]} | dict(axes)
    fixed = {name: named[name] for name in ("engine", "chips")} | chosen.fixed
    return pieces.Piece(named["chips"], found, {name: x for name, x in fixed.items() if name not in found})


def of(chosen, named, users, question):
    """{what is a tenth better: by which share a split is then better, as a plan wants it}, most first.

    More tokens per second of as many users as then keep the limits; of a number of users quicker answers, 1 / latency.
    `named` {axis or fixed value: label or number} of an instance with so many `users`. All are one space, whose chips
    and NICs are those of the split and better ones.
    """
    space = pieces.space(piece(chosen, named), chosen, question.load)
    rows = {record: dict(space.rows[record]) for record in ("hardware", "nic")}
    for what, (record, fields) in NUMBERS.items():
        row = space.rows[record][named[record]]
        rows[record][what] = row | {field: BETTER * row[field] for field in fields if row[field]}
    space = dataclasses.replace(space, rows=space.rows | rows)
    space = space.with_axes(space.axes | {record: (*of,) for record, of in rows.items()})
    own = instances.Instances([space], question.limits)
    labels = {record: own.labels(record) for record in rows}

    def place(**better):
        of = {record: better.get(record, named[record]) for record in rows}
        (layout,) = np.flatnonzero(np.logical_and.reduce([labels[record] == label for record, label in of.items()]))
        return layout

    layouts = np.array([place(), *(place(**{record: what}) for what, (record, _) in NUMBERS.items())])
    if question.wanted == "speed":
        worth = 1.0 / own.at(layouts, users, False)["latency_mean"]
    else:
        worth = most(own, layouts, users, question)
    return dict(sorted(zip(NUMBERS, (worth[1:] / worth[0] - 1.0).tolist(), strict=True), key=lambda x: -x[1]))


def most(own, layouts, users, question):
    """Requests per second of layouts, at the number near `users`, a real one, at which a limit is just kept.

    Where none is met among `USERS`, at the last of them, or where all is full.
    """
    tried = np.repeat(layouts, len(USERS)), np.tile(users * USERS, len(layouts))
    values = own.at(*tried, largest.limited(question.limits))
    share = largest.strain(values, question.limits).reshape(len(layouts), -1)
    served = values["requests_per_s_served"].reshape(len(layouts), -1)
    found = []
    for layout, strains, rates in zip(layouts, share, served, strict=True):
        at = np.interp(1.0, np.maximum.accumulate(strains), USERS)
        found.append(np.interp(min(float(at), max(float(own.cap[layout] / users), USERS[0])), USERS, rates))
    return np.array(found)
