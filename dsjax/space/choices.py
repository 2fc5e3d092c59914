"""What a grid chooses between: the study of its phase, lengths or a context, one load or another, one pool or both."""

from .. import studies
from ..errors import InputError
from .space import LOADS

POOLS = ("prefill", "decode")  # tables of a grid of pools: their axes and fixed values, without the pool's name


def study(file, data, general, sections, axes, fixed):
    """(study, {section: what the tables of pools add to it}, {(section, name): where it is}) of a grid.

    The study is that of a server where the phase is one of a server's, which stands alone; else `general`, as given.
    `sections`: [axes] and [fixed] of the file, `axes` and `fixed` what options give.
    """
    own = sections["axes"] | sections["fixed"]
    given = axes.get("phase", fixed.get("phase", own.get("phase")))
    given = given if isinstance(given, list | tuple) else [given]
    servers = {name: studies.get(name) for name in studies.SERVERS}
    of = {phase: server for server in servers.values() for phase in server.policies["phase"].choices}
    chosen = [of[name] for name in given if isinstance(name, str) and name in of]
    if general.general and chosen:
        if len(given) > 1:
            raise InputError(
                f"{file}: phase: {', '.join(given)}; expected a server's phase alone, or steps without one"
            )
        general = chosen[0]
    tables, places = {"axes": {}, "fixed": {}}, {}
    for name in POOLS:
        table = data.get(name, {})
        if not isinstance(table, dict) or (table and not general.pools):
            expected = "phase 'disaggregated'" if isinstance(table, dict) else f"a table [{name}]"
            raise InputError(f"{file}: {name}: {table!r}; expected {expected}")
        for key, value in table.items():
            target = "axes" if isinstance(value, list | tuple | dict) else "fixed"
            tables[target][f"{name}_{key}"] = value
            places[target, f"{name}_{key}"] = f"{file}: [{name}] {key}"
    return general, tables, places


def of_pools(study, given):
    """Names and values; in a study of pools one that has no pool's name is given to each of them."""
    if not study.pools:
        return given
    first, *_ = prefixes = [f"{name}_" for name in study.pools]
    own = (*study.kinds, *study.policies, *study.deployment)
    both = {name.removeprefix(first) for name in own if name.startswith(first)} & given.keys()
    found = {prefix + name: given[name] for name in given if name in both for prefix in prefixes}
    return found | {name: value for name, value in given.items() if name not in both}


def lengths(grid, overridden):
    """Either `context`, or `isl` and `osl`: what an option gives takes the place of what the file gives."""
    axes, fixed = (grid.sections[name] for name in ("axes", "fixed"))
    given, lengths = axes.keys() | fixed.keys(), {"isl", "osl"}
    if overridden & lengths and "context" not in overridden:
        axes.pop("context", None), fixed.pop("context", None)
    elif "context" in overridden and not overridden & lengths:
        for name in lengths:
            axes.pop(name, None), fixed.pop(name, None)
    elif "context" in given and given & lengths:
        where = grid.where("axes" if "context" in axes else "fixed", "context")
        raise InputError(f"{where}: beside {', '.join(sorted(given & lengths))}; expected one or the other")
    if "osl" in axes.keys() | fixed.keys() and "isl" not in axes.keys() | fixed.keys():
        raise InputError(f"{grid.where('axes' if 'osl' in axes else 'fixed', 'osl')}: without isl; expected both")


def load(grid, overridden):
    """One of two loads, `batch` or `concurrency`, of a server `concurrency` or `requests_per_s`.

    The one that an option gives takes the place of the other of the file.
    """
    axes, fixed = (grid.sections[name] for name in ("axes", "fixed"))
    given, loads = axes.keys() | fixed.keys(), {"batch", "concurrency"}
    if grid.study.requests:
        loads = set(LOADS["serve"])
        for name in ("batch", "prompts"):  # of a file of steps, whose phase an option replaces
            if "phase" in overridden and name not in overridden:
                axes.pop(name, None), fixed.pop(name, None)
        if not overridden & loads and not given & loads:
            both = " or ".join(LOADS["serve"])
            raise InputError(f"{grid.file}: [fixed] {both}: missing; expected one of the two")
    if len(overridden & loads) == 1:
        (own,), (other,) = overridden & loads, loads - overridden
        axes.pop(other, None), fixed.pop(other, None)
        by = grid.sections["objective"].get("by")
        if isinstance(by, list | tuple):
            grid.sections["objective"]["by"] = [own if name == other else name for name in by]
    elif loads <= given:
        where = grid.where("axes" if "concurrency" in axes else "fixed", "concurrency")
        (other,) = loads - {"concurrency"}
        raise InputError(f"{where}: beside {other}; expected one or the other")


def check_fractions(space, where):
    """Refuse shares of a prompt, found in the cache and in the memory of the host, that are more than all of it."""
    if not space.study.requests:
        return
    cached, host = (max(space.labels(name)) for name in ("cached_fraction", "host_fraction"))
    if cached + host > 1.0:
        place = where("axes" if "host_fraction" in space.axes else "fixed", "host_fraction")
        raise InputError(
            f"{place}: up to {host:g} beside cached_fraction up to {cached:g}; expected no more than 1 together"
        )
