"""How far the fleets of `dsjax recommend` are to be trusted: precisions, kernels, measured systems of their kind."""

from ...space import provenance, restoring
from ...validation import kept, measured
from .. import marks, trust


def pools(row):
    """Pools of a fleet in the order of a request."""
    return [pool for pool in ("prefill", "decode") if row.get(f"{pool}_instances") is not None]


def spaces_of(ds):
    """{kind of a fleet: its space}."""
    found = {name.removesuffix("_spec"): x for name, x in ds.attrs.items() if name.endswith("_spec")}
    return {kind: restoring.space(text) for kind, text in found.items()}


def of(row, spaces, pool, name):
    """What a pool of a fleet has of a name: on its axis, or fixed in its space."""
    fixed = spaces[row["kind"]].fixed
    return row.get(f"{pool}_{name}") or fixed.get(f"{pool}_{name}") or fixed.get(name)


def precision(row, spaces):
    """The precision of a fleet, of both pools where they differ."""
    found = [of(row, spaces, pool, "precision") for pool in pools(row)]
    return " / ".join(dict.fromkeys(x for x in found if x)) or "-"


def notes(rows, spaces):
    """Sentences on fleets: how sure kernels of their chips are, weights that the checkpoint has not."""
    chips = {row.get(f"{pool}_hardware") for row in rows for pool in pools(row)}
    precisions = {of(row, spaces, pool, "precision") for row in rows for pool in pools(row)}
    lines = [line for space in spaces.values() for line in provenance.of_checkpoints(space, precisions)]
    return [*trust.kernels(*spaces.values(), chips=chips), *dict.fromkeys(lines)] if rows else []


def unmeasured(row, spaces):
    """Whether nobody has measured kernels of a chip of a fleet."""
    chips = {row.get(f"{pool}_hardware") for pool in pools(row)}
    known = provenance.of_space(spaces[row["kind"]]).items()
    return any(basis == "assumed" for (chip, _), (_, basis) in known if chip in chips)


def system_class(row, spaces, asked):
    """The class of measured systems that is of the kind of a fleet."""
    whole = row["kind"] == "aggregated"
    users = row["concurrency"] / (row["decode_instances"] if whole else 1.0)
    mixed = asked["isl"] / asked["osl"] if whole else 0.0
    return measured.served_kind(users, of(row, spaces, "decode", "tp") or 1, row["decode_chips_per_instance"], mixed)


def sure(row, spaces, asked, statistic):
    """How far off measured systems were that are of the kind of a fleet, and whether its percentiles are known."""
    said = trust.of_systems(kept.errors_of(system_class(row, spaces, asked)))
    outside = marks.of(row["outside_validity"], [f"{time}_{statistic}" for time in ("ttft", "tpot")])
    return said + (f"; its percentiles are not to be trusted ({marks.MARK} above)" if outside else "")
