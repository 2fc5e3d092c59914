"""What would help first: how many tokens more a split serves within its limits where one number is a tenth better."""

import numpy as np

from ...specs.records import RATES
from . import instances, pieces

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
    """
    axes = {name: [named[name]] for name in pieces.AXES if name in named}
    fixed = {name: named[name] for name in ("nic", "engine", "chips")} | chosen.fixed
    piece = pieces.Piece(named["chips"], axes, {name: x for name, x in fixed.items() if name not in axes})
    rows = {"hardware": named["hardware"], "nic": named["nic"]}
    base = pieces.space(piece, chosen, question.load)
    now = _served(base, users, question)
    found = {}
    for what, (record, fields) in NUMBERS.items():
        row = base.rows[record][rows[record]]
        better = {f"{record}.{rows[record]}.{field}": BETTER * row[field] for field in fields if row[field]}
        changes = chosen.changes | {"settings": dict(chosen.changes["settings"] or {}) | better}
        found[what] = (
            _served(pieces.space(piece, chosen._replace(changes=changes), question.load), users, question) / now - 1.0
        )
    return dict(sorted(found.items(), key=lambda x: -x[1]))


def _served(space, users, question):
    """Requests per second at the number of users, a real one, at which the first limit is just kept."""
    own = instances.Instances([space], question.limits)
    values = own.at(np.zeros(len(USERS), int), users * USERS)
    limits = {key.removeprefix("max_"): limit for key, limit in question.limits.items()}
    share = np.max([values[name] / limit for name, limit in limits.items()], axis=0)
    full = float(own.cap[0]) / users
    at = min(float(np.interp(1.0, np.maximum.accumulate(share), USERS)), max(full, USERS[0]))
    return float(np.interp(at, USERS, values["requests_per_s_served"]))
