"""Marks of percentiles that are not to be trusted, and the reasons, one sentence each."""

from ..specs.variables import OUTSIDE, reasons

MARK = "!"


def concerned(bounds, shown):
    """Variables that a table is about: those `shown`, and those with a limit, {"min_<variable>" ...}."""
    return {*shown, *(key.partition("_")[2] for key in bounds)}


def of(outside, names):
    """Reasons of a value of `outside_validity`, also in words, that concern one of the variables `names`."""
    found = outside.split() if isinstance(outside, str) else reasons(outside)
    return [reason for reason in found if {*OUTSIDE[reason][1]} & {*names}]


def column(values, names):
    """A mark, or nothing, for each row; None where no row has one. `values`: of `outside_validity`."""
    marked = [MARK if of(value, names) else "" for value in values]
    return marked if any(marked) else None


def remarks(values, names):
    """A sentence for each reason that one of the rows has."""
    found = dict.fromkeys(reason for value in values for reason in of(value, names))
    return [f"{MARK} {_what(OUTSIDE[reason][1])} not to be trusted: {OUTSIDE[reason][0]}" for reason in found]


def _what(variables):
    return "percentiles" if len(variables) > 1 else variables[0]
