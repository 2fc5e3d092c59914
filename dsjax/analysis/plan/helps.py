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


def of(chosen, named, users, question):
    """{what is a tenth better: tokens per second more, over those served now} of a split, most first.

    `named` {axis or fixed value: label or number} of an instance with so many `users`; as many as then keep the limits.
    All are one space, whose chips and NICs are those of the split and better ones.
    """
    axes = {name: [named[name]] for name in pieces.AXES if name in named} | {"nic": [named["nic"]]}
    fixed = {name: named[name] for name in ("engine", "chips")} | chosen.fixed
    piece = pieces.Piece(named["chips"], axes, {name: x for name, x in fixed.items() if name not in axes})
    space = pieces.space(piece, chosen, question.load)
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

    layouts = [place(), *(place(**{record: what}) for what, (record, _) in NUMBERS.items())]
    tried = np.repeat(layouts, len(USERS)), np.tile(users * USERS, len(layouts))
    values = own.at(*tried, largest.limited(question.limits))
    values = {name: x.reshape(len(layouts), -1) for name, x in values.items()}
    now, *more = (
        _most(own.cap[layout] / users, {name: x[i] for name, x in values.items()}, question)
        for i, layout in enumerate(layouts)
    )
    return dict(sorted(zip(NUMBERS, (x / now - 1.0 for x in more), strict=True), key=lambda x: -x[1]))


def _most(full, values, question):
    """Requests per second at the number of users, a real one, at which the first limit is just kept, or all is full."""
    share = largest.strain(values, question.limits)
    at = min(float(np.interp(1.0, np.maximum.accumulate(share), USERS)), max(float(full), USERS[0]))
    return float(np.interp(at, USERS, values["requests_per_s_served"]))
