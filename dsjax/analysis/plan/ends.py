"""Whether the best split stands at the end of an axis that was cut, not at the end of what there is."""

import numpy as np

from .. import wider
from ..fleet.answers import Pools, holds
from . import disaggregated as two_pools
from . import helps, instances, largest, pieces
from .axes import MTP

NUMERIC = ("tp", "moe_tp", "sp", "mtp")


def of(chosen, row, question):
    """({axis: `wider.End`} of the best `row`, {axis: its values}): of axes that a user named, and of draft tokens.

    Better of whole instances are more tokens within the limits, or an instance less; of two pools more tokens, of a
    number of users quicker ones, for as many users as the row has.
    """
    axes = {name: [*chosen.axes[name]] for name in NUMERIC if len(chosen.axes.get(name, ())) > 1}
    if row["mtp" if row["kind"] == "aggregated" else "decode_mtp"] and "mtp" not in {*chosen.axes, *chosen.fixed}:
        axes["mtp"] = [*MTP]
    found, worth = {}, _of_instances if row["kind"] == "aggregated" else _of_pools
    for axis, values in axes.items():
        gains = worth(chosen, row, question, axis, values)
        beyond = max(gains, key=gains.get, default=None)
        if beyond is not None and gains[beyond] > wider.LEAST:
            at = int(row[axis if row["kind"] == "aggregated" else f"decode_{axis}"])
            found[axis] = wider.End(axis, at, beyond, gains[beyond])
    return found, axes


def _of_instances(chosen, row, question, axis, values):
    """{value beyond the end of an axis at which whole instances are: by which share they are better there}."""
    named = helps.named_of(row)
    beyond = wider.beyond(pieces.space(helps.piece(chosen, named, {axis: values}), chosen, question.load), axis)
    if not beyond.get(named[axis]):
        return {}
    tried = [named[axis], *beyond[named[axis]]]
    space = pieces.space(helps.piece(chosen, named, {axis: tried}), chosen, question.load)
    own = instances.Instances([space], question.limits)
    layouts, n, each = np.arange(own.number), row["instances"], row["concurrency"] / row["instances"]
    order = own.labels(axis).astype(int)
    now = order.tolist().index(named[axis])
    if question.wanted == "tokens":
        most = helps.most(own, layouts, each, question)
        gains = most / most[now] - 1.0
    elif question.wanted == "speed":
        values = own.at(layouts, each, largest.limited(question.limits))
        gains = np.where(holds(values), values["latency_mean"][now] / values["latency_mean"] - 1.0, -1.0)
    elif n > 1:
        values = own.at(layouts, question.amount / (n - 1.0), largest.limited(question.limits))
        gains = np.where(holds(values), 1.0 / (n - 1.0), -1.0)
    else:
        return {}
    return {x: float(gain) for x, gain in zip(order.tolist(), gains, strict=True) if x != named[axis]}


def _of_pools(chosen, row, question, axis, values):
    """The same of the pool that decodes, for as many users, or requests, as both now have."""
    if question.demanded:
        return {}
    both = [helps.named_of(row, f"{pool}_") for pool in two_pools.POOLS]

    def space(values):
        own = [helps.piece(chosen, both[0]), helps.piece(chosen, both[1], {axis: values})]
        return two_pools.space(chosen, *own, question)

    at, name = both[1][axis], f"decode_{axis}"
    beyond = wider.beyond(space(values), name).get(at) if at in (min(values), max(values)) else ()
    if not beyond:
        return {}
    pools = Pools(space([at, *beyond]), question.limits)
    decode = pools.layouts["decode"]
    layouts, numbers = np.arange(decode.number), [int(row[f"{pool}_instances"]) for pool in two_pools.POOLS]
    answers = pools.at(0 * layouts, layouts, row["concurrency"], numbers, largest.limited(question.limits))
    order = decode.labels(name).astype(int)
    better = answers["requests_per_s_served" if question.wanted == "tokens" else "latency_mean"]
    now = better[order.tolist().index(at)]
    gains = np.where(holds(answers), (better / now if question.wanted == "tokens" else now / better) - 1.0, -1.0)
    return {x: float(gain) for x, gain in zip(order.tolist(), gains, strict=True) if x != at}
