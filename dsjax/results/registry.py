"""Units of results for pint and pint-xarray."""

from typing import TYPE_CHECKING

from ..errors import InputError

if TYPE_CHECKING:
    import pint

# What pint does not know. Counts have no dimension, so that 1 / (token/s) is a time; money has one of its own.
_DEFINED = {
    "token": "token = count",
    "sequence": "sequence = count",
    "FLOP": "FLOP = count = _ = flop",
    "USD": "USD = [currency]",
}


def units_registry() -> "pint.UnitRegistry":
    """The application's registry of pint, with the units of dsjax's results beside pint's own.

    After one call `ds.pint.quantify()` of pint-xarray reads every result: `token`, `sequence` and `FLOP` are counts,
    `USD` is money, the others (s, B, J, W, Hz, h) are pint's. Raises `InputError` where pint is not installed.
    """
    try:
        import pint
    except ImportError:
        raise InputError("units_registry: pint is not installed; expected it beside pint-xarray") from None
    registry = pint.get_application_registry()
    for name, definition in _DEFINED.items():
        if name not in registry:
            registry.define(definition)
    return registry
