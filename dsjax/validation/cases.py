"""A phase of a measured system as a space of one point, and the samples of it that are evaluated."""

import math
from typing import NamedTuple

import numpy as np

from .. import evaluation
from ..catalog import names
from ..errors import InputError
from ..options import is_entry
from ..space import grid, parameters, provenance
from . import measured

FILLED = {"start": 8, "stop": 4096, "step": 8}  # batches among which the largest that fits is looked for
STEP = 1e-4  # of the logarithm of a kernel's time
HOST_S = 1e-5  # by which a time of the host is moved [s]
FACTOR, LAYERS = ("workload", "software_factor"), ("model", "num_hidden_layers")
HOST = {name: ("engine", name) for name in ("step_s", "draft_step_s", "request_s")}
SLOWER = {
    "_compute": -1,
    "_memory": -1,
    "_start_s": 1,
    "_split_s": 1,
    "_depth_s": 1,
    "_slot_s": 1,
}  # knots whose powers make all of a kernel's time
UNMEASURED = ("pointwise",)  # kinds of kernel that are assumed on every chip


class Case(NamedTuple):
    """One phase of a system: a space of one point, and what moves in its samples."""

    row: measured.System
    phase: str
    space: object
    load: int  # sequences of a chip, or of the instance under `concurrency`; prompts of the instance in prefill
    numbers: dict  # {(record, field): number}
    kinds: dict  # {kind of kernel: relative standard error of its time}

    @property
    def samples(self):
        """[{(record, field): number that differs}]: as it is, twice the software factor, each kind slower and faster.

        Of a server also each time of the host longer by `HOST_S`; of a layer all of them with one layer more.
        """
        found = [{}, {FACTOR: 2.0}]
        for kind in self.kinds:
            found += [self.slowed(kind, STEP), self.slowed(kind, -STEP)]
        if self.phase == "serve":
            found += [{key: self.numbers[key] + HOST_S} for key in HOST.values()]
        elif self.row.used["metric"] == "layer":
            found += [each | {LAYERS: self.numbers[LAYERS] + 1} for each in found]
        return found

    @property
    def moved(self):
        """{(record, field): its number in each sample} of what differs in any."""
        samples = self.samples
        keys = {key for each in samples for key in each}
        return {key: np.array([each.get(key, self.numbers[key]) for each in samples]) for key in keys}

    def slowed(self, kind, log):
        """{(record, field): number} with which every kernel of a kind takes e^log as long."""
        knots = {("curve", f"{kind}{end}"): power for end, power in SLOWER.items()}
        return {key: self.numbers[key] * math.exp(power * log) for key, power in knots.items() if key in self.numbers}

    def moving(self, step_s):
        """Kinds of kernel that a step takes any time for, from the `step_s` of these samples."""
        pairs = enumerate(self.kinds, start=1)
        return {kind for i, kind in pairs if not step_s[0] == step_s[2 * i] == step_s[2 * i + 1]}


def of(row, phase, fixed, settings, catalogs, used):
    """`Case` of a phase of a system; what is wrong with it is said of the system.

    `fixed` {name: value} holds for all, `settings` and `catalogs` as in `sweep`; `used` collects the parameters that
    settings may be of.
    """
    try:
        given = row.grid(phase)
        for load, chips in (("batch", 1), ("concurrency", row.used["chips"])):
            if given["fixed"].get(load) == measured.FILLS:
                given["fixed"][load] = chips * _filling(row.grid("decode"), fixed, settings, catalogs)
        space = _space(given, fixed, settings, catalogs, used)
    except InputError as error:
        if is_entry(str(error)):
            raise
        raise InputError(f"{row.where}: {str(error).removeprefix('grid: [fixed] ')}") from None
    space = space.only({"software_factor": 1.0})
    numbers = evaluation.numbers(space)
    return Case(row, phase, space, given["fixed"][space.load], numbers, _kinds(space, numbers))


def _kinds(space, numbers):
    """{kind of kernel: relative standard error of its time}, of a curve that has one for its chip."""
    error, known = error_of(space), provenance.of_space(space)
    if known and not space.study.pools:
        ((hardware, _), (curve, _)), *_ = known.items()
        of = {kind: provenance.UNCERTAINTY[x] for kind, x in provenance.by_kernel(space, curve, hardware).items()}
    else:
        of = {}
    names = [name.removesuffix("_compute") for record, name in numbers if record == "curve" and "_compute" in name]
    assumed = provenance.UNCERTAINTY["assumed"]
    whole = {kind: of.get(kind, error) for kind in names if ("curve", f"{kind}_start_s") in numbers}
    return whole | {kind: assumed for kind in UNMEASURED if ("curve", f"{kind}_start_s") in numbers}


def error_of(space):
    """Relative standard error of the time of most kernels that run, 0 where no curve is one of measured kernels."""
    basis = next(iter(provenance.of_space(space).values()), None)
    return provenance.UNCERTAINTY[basis[1]] if basis else 0.0


def _space(given, fixed, settings, catalogs, used):
    """The space of a system's grid, with those of the settings whose row it has; `used` collects what they may be."""
    bare = grid.load(given, fixed=fixed, catalogs=catalogs)
    known = [f"{record}.{row}.<field>" for record, rows in bare.rows.items() for row in rows]
    mine = {key: x for key, x in settings.items() if _has(bare.rows, parameters.parse(key))}
    used.update(mine, known)
    return grid.load(given, fixed=fixed, settings=mine, catalogs=catalogs) if mine else bare


def _has(rows, parameter):
    of = rows.get(parameter.record)
    return of is not None and names.spelt(parameter.row, of) in ("", *of)


def _filling(given, fixed, settings, catalogs):
    """The largest batch of `FILLED` that fits into the memory, the smallest where none does."""
    axes = {"batch": FILLED}
    rest = {name: value for name, value in given["fixed"].items() if name != "batch"}
    space = _space(given | {"axes": axes, "fixed": rest}, fixed, settings, catalogs, set())
    _, fits = evaluation.evaluate(space, names=("ok_memory",))["ok_memory"]
    batches = np.array(space.axes["batch"])
    return int(batches[fits].max(initial=batches[0]))
