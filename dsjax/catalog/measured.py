"""On which hardware the kernels of a curve were measured: kernel by kernel, as a row and its bases say it.

`fitted` and `siblings` of a row name the hardware that its own numbers were measured on, and chips of its design with
other rates. A number that a row takes from a base is measured where the base says; one that is assumed nowhere; `on` of
a source names the hardware of the numbers that it is of, where that is not the row's. A kernel is measured where its
start is, which every fit tells, or else its share of the bandwidth or of the compute rate: what nothing waits for (a
share of compute where bytes bind) no fit tells. One of which a row and its bases give no number is like another, and
not measured.
"""

from typing import NamedTuple

from ..errors import InputError
from . import sources

# Lists of a row, and what is in them; what a chip is then.
LISTS = {"fitted": "whose kernels it is fitted to", "siblings": "of their family, with other rates"}
BASES = ("fitted", "sibling", "assumed")
_TELLING = ("start_s", "memory", "compute")


class Hardware(NamedTuple):
    """Names of hardware that a kernel was measured on, and of their siblings."""

    fitted: tuple = ()
    siblings: tuple = ()


def lists(where, row):
    """`Hardware` that a row as written names."""
    found = {key: row.get(key, []) for key in LISTS}
    for key, names in found.items():
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise InputError(f"{where} {key}: {names!r}; expected a list of hardware")
    return Hardware(*(tuple(found[key]) for key in LISTS))


def basis(lists, row, name):
    """Whose kernels `lists` of hardware name, for a chip: fitted to it, to a sibling with other rates, or assumed."""
    chips = {name, *row.get("same_chip", ())}
    return next((of for of, names in zip(BASES, lists) if chips.intersection(names)), BASES[-1])


def of_curve(curve, row, name):
    """`basis` of most of the kernels of a row of the curves, by its own lists."""
    return basis([curve.get(key, ()) for key in LISTS], row, name)


def by_kernel(chain, fields, resolved, named):
    """{kernel: `Hardware`} of a curve. `chain`: (where, name, what it gives) of the row and its bases.

    `fields` {field: metadata} of the record, `resolved`: `sources.resolved` of the row; `named` {row of the chain:
    `lists` of it}.
    """
    owners: dict = {}
    for _, name, row in reversed(chain):
        owners |= dict.fromkeys(row, name)
    ends = {field: f"_{knot}" for field in fields for knot in _TELLING if field.endswith(f"_{knot}")}
    found = {field.removesuffix(end): Hardware() for field, end in ends.items()}
    for knot in reversed(_TELLING):  # the first of them last: what it says holds
        for field, owner in owners.items():
            if field.endswith(f"_{knot}"):
                entry, own = sources.of_field(resolved, field), named[owner]
                if entry["kind"] in ("assumed", "unverified"):
                    own = Hardware()
                elif "on" in entry:
                    on = tuple(entry["on"])
                    own = Hardware(on, tuple(x for x in (*own.fitted, *own.siblings) if x not in on))
                found[field.removesuffix(f"_{knot}")] = own
    return found
