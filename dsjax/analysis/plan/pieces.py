"""Spaces of instances whose axes follow from the chips: one for each size, number of stages and engine."""

import itertools
from typing import NamedTuple

from ...catalog import checkpoints, names, reader
from ...errors import InputError
from ...options import option
from ...serving.instances.study import SERVER
from ...space import grid
from ...specs.records import RECORDS
from . import axes as derived

ONE = {"chips": 1, "tp": 1, "isl": 1, "osl": 1, "concurrency": 1}  # of a space whose rows alone are read


AXES = (
    "hardware",
    "precision",
    "tp",
    "moe_tp",
    "sp",
    "pp",
    "pipeline",
    "mtp",
    "dispatch_mode",
    "batching",
)  # of a piece


NIC = "CX7"  # where none is chosen


class Choice(NamedTuple):
    """What a user chooses by name, what is theirs to change, and what they ask of it."""

    model: str
    hardware: tuple
    nic: str
    engines: tuple
    precision: tuple | None  # None: those of the checkpoint
    axes: dict
    fixed: dict
    changes: dict  # settings, catalogs


class Piece(NamedTuple):
    """Instances of one size: `axes` {name: values} of a space and what it has `fixed`."""

    chips: int
    axes: dict
    fixed: dict


def choice(model, hardware, nic, engine, precision, axes=None, fixed=None, settings=None, catalogs=()):
    """(`Choice` of names as their rows spell them, the catalog)."""
    catalog = reader.load(RECORDS, *reader.users(catalogs), models=[model])
    try:
        model = names.canonical("model", "model", model, catalog["model"], owners=True)
    except InputError as error:
        raise InputError(f"{error}; or the path of a model's config.json: {option('model', 'PATH')}") from None
    chips = _named("hardware", hardware, catalog["hardware"], [*catalog["hardware"]] if _any(hardware) else None)
    engine = names.canonical("engine", "engine", engine, catalog["engine"])
    engines = tuple(derived.deployments(engine, catalog["engine"]))
    axes, fixed = dict(axes or {}), dict(fixed or {})
    for part in (axes, fixed):
        for name in part.keys() & {
            "isl",
            "osl",
            "phase",
            "chips",
            "concurrency",
            "requests_per_s",
            "hardware",
            "nic",
            "engine",
            "model",
        }:
            raise InputError(f"{name}: is set by the question; expected no axis and no fixed value of this name")
    for part in (axes, fixed):
        if "precision" in part:
            precision = part.pop("precision")
    precision = None if precision is None else _named("precision", precision, catalog["precision"])
    changes = {"settings": settings, "catalogs": catalogs}
    nic = names.canonical("nic", "nic", nic, catalog["nic"])
    return Choice(model, chips, nic, engines, precision, axes, fixed, changes), catalog


def _any(names):
    given = [names] if isinstance(names, str) else list(names)
    return len(given) == 1 and str(given[0]).strip().lower() == "any"


def _named(where, given, rows, every=None):
    if every is not None:
        return tuple(every)
    given = [x.strip() for x in given.split(",") if x.strip()] if isinstance(given, str) else list(given)
    if not given:
        raise InputError(f"{where}: no name given; expected names of rows, separated by commas")
    return tuple(dict.fromkeys(names.canonical(where, where, name, rows) for name in given))


def shape_of(chosen):
    """`axes.Shape` of what is chosen."""
    head = {"model": chosen.model, "phase": "serve", "axes": {"hardware": [*chosen.hardware], "precision": "all"}}
    own = {name: x for name, x in chosen.fixed.items() if name.startswith("model_") or name == "memory_reserve"}
    own |= {name: min(values) for name, values in chosen.axes.items() if name == "memory_reserve"}
    fixed = ONE | {"nic": chosen.nic, "engine": chosen.engines[0]} | own
    return derived.Shape(grid.load(head | {"fixed": fixed}, **chosen.changes))


def precisions(chosen, shape, catalog):
    """{chip: precisions that it has, of the checkpoint or of those that are named}; and why: a sentence."""
    rows = shape.space.rows["precision"]
    row, why = checkpoints.row_of(chosen.model, catalog["model"][chosen.model], rows)
    if chosen.precision is None:
        return {chip: shape.precisions(chip, row, rows) for chip in chosen.hardware}, why
    return {chip: [p for p in chosen.precision if shape.has_rates(chip, p)] for chip in chosen.hardware}, why


def of(chosen, shape, has, engines, sizes):
    """[`Piece`] of instances: of every hardware the `sizes(hardware)` whose memory holds the weights.

    `has` {chip: precisions}; `engines`: their rows. Hardware of which all is the same is in one piece.
    """
    given = {name: [*_values(chosen, name)] for name in derived.LAYOUT if name in chosen.axes or name in chosen.fixed}
    found: dict = {}
    for chip in chosen.hardware:
        for n in sizes(chip):
            own = [p for p in has[chip] if shape.fits(chip, p, n)]
            for split in shape.splits(chip, n, given) if own else ():
                key = n, tuple(own), tuple((name, tuple([x] if name == "pp" else x)) for name, x in split.items())
                found.setdefault(key, []).append(chip)
    pieces, staged = [], any(dict(split)["pp"] != (1,) for _, _, split in found)
    for ((n, own, split), chips), engine in itertools.product(found.items(), chosen.engines):
        split = dict(split)
        (stages,) = split.pop("pp")
        groups = engines[engine]["fewest_groups"]
        if groups * min(split["tp"]) * stages > n:
            continue
        lacking = {name: (1,) for name in engines[engine].get("lacks", ()) if name in split and name not in given}
        if any(1 not in split[name] for name in lacking):
            continue
        split |= lacking
        split |= {"pp": (stages,)} if staged else {}  # of all or of none: one program evaluates their steps
        pieces.append(_piece(chosen, shape, n, split, engine, engines[engine], chips, own))
    return pieces


def _values(chosen, name):
    return chosen.axes[name] if name in chosen.axes else [chosen.fixed[name]]


def _piece(chosen, shape, n, split, engine, row, chips, own):
    axes = {"hardware": [*chips], "precision": [*own]} | {name: [*x] for name, x in split.items()}
    axes |= {"pipeline": row.get("pipelines") or ["naive"], "mtp": [*derived.MTP] if shape.drafts else [0]}
    axes["dispatch_mode"] = (row.get("dispatch_modes") or ["auto"]) if shape.moe else ["auto"]
    axes["batching"] = [*SERVER.policies["batching"].choices]
    fixed = {"nic": chosen.nic, "engine": engine, "chips": n}
    for part, other, given in ((axes, fixed, chosen.axes), (fixed, axes, chosen.fixed)):
        for name in given.keys() - {*derived.LAYOUT}:
            part[name] = given[name]
            other.pop(name, None)
    return Piece(n, axes, fixed)


def space(piece, chosen, load, phase="serve"):
    """The `Space` of a piece at a load {name: number}."""
    head = {"model": chosen.model, "phase": phase, "axes": piece.axes, "fixed": piece.fixed | load}
    return grid.load(head, any_size=True, **chosen.changes)
