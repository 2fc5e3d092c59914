"""The largest rate that a server of a space can take, and what limits it there: what to ask where none takes more."""

import numpy as np

from ... import evaluation
from . import capacity

MOST = 2**20  # points that are looked at
OF_RATE = ("stable", "transfer")  # constraints that a lower rate may keep


def largest_rate(space):
    """{"requests_per_s", "point" {axis: value}, "limited_by", "inside", "held_by"} of the server that takes most.

    Whatever rate is asked, and whatever limits there are on times; {} where no server has room for a request, or there
    are too many to look at. `limited_by`: what would help most if there were twice as much of it, of pools the fuller
    one; `inside` and `held_by`, not of pools: the sequences that fit, and what admits no more.
    """
    axes = {axis: values[:1] if axis == "requests_per_s" else values for axis, values in space.axes.items()}
    space = space.with_axes(axes)
    if space.points > MOST:
        return {}
    masks = [f"ok_{name}" for name in space.study.constraints if name not in OF_RATE]
    found = evaluation.evaluate(space, names=("requests_per_s_max", *masks))
    shape = tuple(space.sizes.values())
    rate, *possible = (
        np.broadcast_to(x.reshape([n if axis in dims else 1 for axis, n in space.sizes.items()]), shape)
        for dims, x in found.values()
    )
    most = np.where(np.logical_and.reduce(possible), rate, -np.inf)
    if not np.isfinite(most).any():
        return {}
    place = np.unravel_index(np.argmax(most), shape)
    at = {axis: values[i] for (axis, values), i in zip(space.axes.items(), place, strict=True)}
    point = {axis: value for axis, value in at.items() if axis != "requests_per_s"}
    return {"requests_per_s": float(most[place]), "point": point} | _limits(space.only(at))


def _limits(one):
    """What limits the rate of a space of one server."""
    if one.study.pools:
        loads = {"prefill": "prefill_utilisation", "decode": "decode_utilisation", "transfer": "transfer_share"}
        found = evaluation.evaluate(one, names=tuple(loads.values()))
        return {"limited_by": max(loads, key=lambda pool: found[loads[pool]][1].item())}
    ((_, groups),) = evaluation.evaluate(one, names=("dp",)).values()
    found = capacity.room(one, {"dp": groups.item()})
    rates = found["resource_requests_per_s_max"].values
    return {
        "limited_by": found["resource"].values[int(np.argmax(rates))],
        "inside": float(found["requests_inside_max"].values),
        "held_by": str(found["held_by"].values),
    }
