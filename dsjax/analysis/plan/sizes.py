"""Grids of steps whose sizes of an instance follow from the chips, for fleets of them."""

from ...space import grid
from . import axes as derived

SIZES = ("tp", "moe_tp", "ep", "sp", "chips", "pp")
LARGEST, MOST_TP = 64, 16  # chips of an instance, of a group


def of_grid(source, phase, changes):
    """A grid of steps as a dict, its sizes of an instance derived but for those that `changes` give.

    Every size of an instance that holds the weights of some of the chips, every tp and, of prompts, sp up to `MOST_TP`
    that divides one, every moe_tp that divides all. `changes` as options of `grid.load`.
    """
    data, _, _ = grid.read(source)
    given = {*(changes.get("axes") or {}), *(changes.get("fixed") or {})}
    if given & {"ep", "chips"}:  # the size of an instance is the user's: the grid says the rest
        return source
    data = {name: x for name, x in data.items() if name != "objective"}  # whose groups may be sizes
    kept = {
        part: {name: x for name, x in data[part].items() if name not in SIZES}
        for part in ("axes", "fixed")
        if part in data
    }
    load = {"batch": 1} if phase == "decode" else {"prompts": 1}
    one = kept["axes"] | {name: [x] for name, x in load.items()} | {"tp": [1], "chips": [1]}
    own = {name: changes.get(name) for name in ("axes", "fixed", "settings")}
    lengths = {} if given & {"isl", "osl", "context"} else {"context": 1}
    space = grid.load(
        data | {"axes": one, "fixed": kept.get("fixed", {}) | lengths},
        axes=own["axes"],
        fixed=own["fixed"],
        settings=own["settings"],
        catalogs=changes.get("catalogs") or (),
        any_size=True,
    )
    sizes = _sizes(derived.Shape(space), space)
    left = {name: values for name, values in sizes.items() if name not in given}
    left = left if phase == "prefill" else {name: x for name, x in left.items() if name != "sp"}
    return data | {"axes": kept["axes"] | left, "fixed": kept.get("fixed", {})}


def _sizes(shape, space):
    """{name: values} of all chips of a space together; what one of them refuses is masked."""
    found = {name: set() for name in ("chips", "tp", "moe_tp", "sp")}
    for chip in space.labels("hardware"):
        for n in shape.every_size(chip, LARGEST):
            if any(shape.fits(chip, precision, n) for precision in space.labels("precision")):
                for split in shape.splits(chip, n, {"pp": [1]}):
                    found["chips"].add(n)
                    for name in ("tp", "moe_tp", "sp"):
                        found[name] |= {*split[name]}
    least = min(found["chips"], default=1)  # which all cards divide: a card of more chips than there are is nowhere
    found = {name: {x for x in values if name != "moe_tp" or least % x == 0} for name, values in found.items()}
    return {name: sorted(x for x in values if name == "chips" or x <= MOST_TP) for name, values in found.items()}
