"""Template of a file of measured times: the columns of a kind of kernel, with their meaning."""

from ..calibration.kinds import KINDS

TIME = "latency_us"


def text(of, use):
    """A CSV file without lines of the kind `of`; `use`: the command that reads it."""
    kind = KINDS[of]
    said = [f"{kind.doc}: one measured time per line; then {use}"]
    said += [f"{name}: {doc}{'' if unit == '1' else f' [{unit}]'}" for name, (unit, doc) in kind.columns.items()]
    said += [f"{TIME}: the time [us]; {TIME.replace('us', 'ms')} or {TIME.replace('us', 's')} in other units"]
    said += [f"may be added, {value:g} where it is left out: {name}" for name, value in kind.optional.items()]
    said += ["any other column is a label for --where"]
    return "\n".join([*(f"# {line}" for line in said), ",".join([*kind.columns, TIME])]) + "\n"
