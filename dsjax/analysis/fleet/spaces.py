"""Design spaces of fleets: from the catalog, from grids of servers and of pools, or from grids of steps."""

from ...catalog import reader
from ...errors import InputError
from ...serving.instances.study import LENGTHS, POOLS, SERVER
from ...space import grid, parameters
from ...space.space import numeric_axes
from ...specs.variables import LACKING

SIZES = {"tp": [1, 2, 4, 8, 16], "chips": [8, 16, 32, 64]}  # axes of an instance, where nobody gives others
BUDGETS = ("max_prefill_tokens", "chunk_tokens")  # lengths that are not of requests
KINDS = ("aggregated", "disaggregated")


def of_catalog(model, hardware, nic, engine, precision, catalogs=()):
    """{kind: grid} of all layouts of `SIZES` of the rows that are named; all hardware of the catalog where none is."""
    of = {"hardware": hardware, "nic": nic, "engine": engine, "precision": precision}
    given = {name: [rows] if isinstance(rows, str) else rows for name, rows in of.items() if rows is not None}
    given.setdefault("hardware", [*reader.load(reader.RECORDS, *reader.users(catalogs))["hardware"]])
    pool = {name: given[name] for name in given} | SIZES
    head = {"model": model}
    nics = given["nic"] if isinstance(given["nic"], list | tuple) else [given["nic"]]
    axes = pool | {"batching": [*SERVER.policies["batching"].choices]}
    return {
        "aggregated": head | {"phase": "serve", "axes": axes},
        "disaggregated": head
        | {"phase": "disaggregated", "prefill": pool, "decode": pool, "axes": {"transfer_nic": [*nics]}},
    }


def steps(sources, question, options):
    """{"decode": space, "prefill": space} of the steps of two grids, with the lengths of the question.

    `options` are the changes of `grid.load`; an axis or a fixed value goes to the grid that names it, to both where
    none does.
    """
    named, spaces = {phase: _named(phase, source) for phase, source in sources.items()}, {}
    for phase, source in sources.items():
        others = set().union(*(names for other, names in named.items() if other != phase)) - named[phase]
        changes = {
            part: {name: value for name, value in options[part].items() if name not in others}
            for part in ("axes", "fixed")
        }
        lengths = {name: question.asked[name] for name in ("isl", "osl")}
        changes["fixed"] |= lengths | {"phase": phase}
        changes["limits"] = {
            name: bound for name, bound in (options["limits"] or {}).items() if _limits(phase, name, sources)
        }
        left = {"settings": options["settings"], "catalogs": options["catalogs"] or ()}
        spaces[phase] = grid.load(source, **changes, **left, any_size=True)
    return spaces


def _limits(phase, name, phases):
    """Whether a limit goes to the grid of a phase: to those that define its variable, to all where none does."""
    lacking = {other for other in phases if name.partition("_")[2] in LACKING[other]}
    return phase not in lacking or lacking == {*phases}


def _named(phase, source):
    """Names of the axes and of the fixed values of a grid of the core model."""
    data, _, file = grid.read(source)
    if "study" in data:
        raise InputError(f"{file}: study: {data['study']!r}; expected a grid of the core model for {phase}")
    parts = (data.get(part) for part in ("axes", "fixed"))
    return {name for part in parts if isinstance(part, dict) for name in part}


def of_steps(decode, prefill):
    """{kind: grid} of two spaces of steps: layouts of both, without their loads; servers have the decode layouts."""
    pools, shared = {"decode": {}, "prefill": {}}, {}
    for name, space in (("prefill", prefill), ("decode", decode)):
        given = {key: x for key, x in (space.axes | space.fixed).items() if key not in space.chosen}
        for key, value in given.items():
            value = [*value] if key in space.axes else value
            if key in _known(POOLS) and key not in ("phase", *LENGTHS, "concurrency"):
                if shared.setdefault(key, value) != value:
                    raise InputError(
                        f"{key}: {shared[key]} in the prefill grid, {value} in the decode grid; expected one value"
                    )
            elif key not in ("phase", *LENGTHS, "concurrency"):
                pools[name][key] = value
    pools = {name: {k: x for k, x in of.items() if f"{name}_{k}" in _known(POOLS)} for name, of in pools.items()}
    nics = pools["decode"]["nic"]
    both = shared | {"transfer_nic": nics}
    alone = {key: value for key, value in (shared | pools["decode"]).items() if key in _known(SERVER)}
    return {
        "aggregated": {"phase": "serve"} | _sections(alone | {"batching": [*SERVER.policies["batching"].choices]}),
        "disaggregated": {"phase": "disaggregated"} | pools | _sections(both),
    }


def _sections(given):
    axes = {name: value for name, value in given.items() if isinstance(value, list)}
    return {"axes": axes, "fixed": {name: value for name, value in given.items() if name not in axes}}


def _known(study):
    return {*study.kinds, *study.policies, *numeric_axes(study)}


def _accepted(study):
    """Names of axes that a study knows, and those that it gives to each of its pools."""
    known = _known(study)
    return known | {name.partition("_")[2] for name in known if name.startswith(study.pools or ("-",))}


def apart(named):
    """({names that a grid of steps may have}, {names of servers alone}) of changes {name: value}."""
    alone = (_known(SERVER) | {"transfer_nic"}) - _known(SERVER.extends)
    own = {name: value for name, value in named.items() if name in alone}
    return {name: value for name, value in named.items() if name not in own}, own


def loaded(grids, question, *, axes=None, fixed=None, settings=None, limits=None, catalogs=()):
    """{kind: space} of {kind: grid}, with changes; a name goes to the kinds that know it, else to all, which say so.

    `settings` of hardware, of a NIC, ... are of both pools.
    """
    spaces = {}
    every = {kind: _accepted(POOLS if kind == "disaggregated" else SERVER) for kind in grids}
    for kind, source in grids.items():
        study = POOLS if kind == "disaggregated" else SERVER
        own, known = every[kind], set().union(*every.values())
        changes = {
            part: {name: value for name, value in (given or {}).items() if name in own or name not in known}
            for part, given in (("axes", axes), ("fixed", fixed))
        }
        for part in changes:
            for name in changes[part].keys() & {"phase", *question.load}:
                raise InputError(f"{name}: is set by the question; expected no axis and no fixed value of this name")
        load = question.load | {"phase": study.data["defaults"]["phase"]}
        load |= {} if study.pools else {"requests_per_user": 0}
        alone = {
            name: x for name, x in (settings or {}).items() if name.partition(".")[0] in ("workload", "deployment")
        }
        changes["fixed"] |= load
        space = grid.load(source, **changes, settings=alone, limits=limits, catalogs=catalogs, any_size=True)
        space = _set(space, {name: x for name, x in (settings or {}).items() if name not in alone})
        spaces[kind] = _checked(space)
    return spaces


def _set(space, settings):
    """The space with other numbers of rows; a record that pools have is that of each pool that uses the row."""
    own = {}
    for text, value in settings.items():
        record, _, rest = text.partition(".")
        row = rest.rpartition(".")[0]
        targets = [name for name, kind in space.study.kinds.items() if record in (name, kind)]
        used = [name for name in targets if not row or row in space.rows.get(name, {})]
        own |= {f"{name}.{rest}": value for name in used or targets[:1] or [record]}
    return parameters.replaced(space, own)


def _checked(space):
    """A space in which all fleets have the same model and the same requests."""
    shared = {"model", "length_law", *space.study.workload, *LENGTHS, "requests_per_user"} - {*BUDGETS}
    for name in space.axes:
        if name in shared or name.startswith("model_"):
            raise InputError(f"{name}: {len(space.axes[name])} values; expected one, which all fleets have in common")
    return space
