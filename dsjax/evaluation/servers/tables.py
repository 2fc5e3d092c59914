"""Tables of a server's steps: the core model at some loads, over the axes of the layouts and of the laws of lengths."""

import dataclasses

import numpy as np

from ...serving.core import CORE
from ...serving.instances import steps, table
from ...specs import trees
from ..assembly import layout
from ..flat import evaluated
from ..operands import plan, positions
from .laws import LENGTHS

LOADS = "loads"  # hidden axis of a table: loads of a step
PAIRS = 1.5  # times as many pairs, for what one more adds
ALONE = 1e9  # tokens: more than any prompt has
MOST_SEQUENCES = 1e5  # of a table of decode
# Loads of a step of decode, and the hidden axes that they vary along.
DECODE = {"sequences": (LOADS, 1.0), "context": (LENGTHS, 1.0), "spread": (LENGTHS, 0.0)}


class Layouts:
    """The layouts of a space, or of one pool of it: a space of the core model's steps without their loads.

    `prefix`: of the names that the pool's axes have in the whole space. `varied` {(record, field): numbers} of samples,
    named as in the core model; `along`: the axis of these.
    """

    def __init__(self, space, prefix="", varied=(), along="sample"):
        self.prefix, self.along = prefix, along
        self.varied = dict(varied)
        fixed = space.fixed | {"phase": "decode", "context": 1.0, "context_cv": 0.0, "batch": 1, "prompts": 1}
        self.space = dataclasses.replace(space, study=CORE, fixed=fixed)

    def plan(self, function, loads, variants=1):
        """(`Plan`, operands) of a function of a step at `loads` {name: (hidden axis, numbers)}."""
        bounds = {name: numbers for name, (_, numbers) in loads.items()}
        how, leaves = plan(dataclasses.replace(self.space, bounds=bounds), function)
        *_, bounds = trees.filled(how.structure, range(len(leaves)))
        along, own = list(how.leaf_axes), positions(how) if self.varied else {}
        for name, position in bounds.items():
            along[position] = loads[name][0] or None
        for key, numbers in self.varied.items():
            if key in own:
                position, numbers = own[key], np.tile(numbers, variants if self.along == LENGTHS else 1)
                leaves[position], along[position] = np.asarray(numbers, leaves[position].dtype), self.along
        over = (*how.axes, "sample", LENGTHS, LOADS)
        return dataclasses.replace(how, axes=over, leaf_axes=tuple(along)), leaves

    def over(self, function, loads, dtype="float64"):
        """{variable: (dims in the whole space, dtype)} of a function of a step."""
        found = layout(self.plan(function, loads)[0], dtype)
        return {name: (self.named(dims), kind) for name, (dims, kind) in found.items()}

    def named(self, dims):
        """Dims by their names in the whole space."""
        hidden = ("sample", LENGTHS, LOADS)
        return tuple(dim if dim in hidden or is_shared(dim) else self.prefix + dim for dim in dims)

    def evaluated(self, function, loads, variants=1, names=None, left_out=()):
        """{variable: (dims, array)} of a function of a step, over axes of layouts and hidden ones.

        Of `names`, None all, without those that begin with one of `left_out`. Choices of policies that are not in the
        space are not even looked at: a variable may lack dims that it has in `over`, where another choice depends on
        them.
        """
        loads, place = self._distinct(loads)
        how, leaves = self.plan(function, loads, variants)
        how = dataclasses.replace(how, policies=tuple((axis, choices, ()) for axis, choices, _ in how.policies))
        known = {name: x for name, x in layout(how, "float64").items() if names is None or name in names}
        known = {name: x for name, x in known.items() if not name.startswith((*left_out, "-"))}
        found = evaluated(how, "float64", tuple(known), leaves)
        if place is not None:
            at = {name: dims.index(LENGTHS) for name, (dims, _) in known.items() if LENGTHS in dims}
            found |= {name: np.take(found[name], place, axis) for name, axis in at.items()}
        return {name: (self.named(known[name][0]), found[name]) for name in known}

    def _distinct(self, loads):
        """(`loads` of which those along `LENGTHS` are there once, the place of each of them); None: as they are."""
        columns = {name: numbers for name, (axis, numbers) in loads.items() if axis == LENGTHS}
        if self.along == LENGTHS or not columns:
            return loads, None
        columns = dict(zip(columns, np.broadcast_arrays(*columns.values()), strict=True))
        _, first, place = np.unique(np.stack([*columns.values()]), axis=1, return_index=True, return_inverse=True)
        if len(first) == place.size:
            return loads, None
        return loads | {name: (LENGTHS, x[first]) for name, x in columns.items()}, place.ravel()


def is_shared(name):
    """Whether two pools have a field in common: those of the model and of the workload are of both."""
    return name == "model" or name.startswith("model_") or name in CORE.workload


class Decode:
    """Steps of decode of layouts: {variable: (dims, array)} of `steps.decode_at`, but for those `left_out`."""

    def __init__(self, layouts, laws, fields=(), left_out=()):
        at = {"sequences": ("", 1.0), "context": (LENGTHS, laws.context), "spread": (LENGTHS, laws.spread)}
        one = layouts.evaluated(steps.decode_at(fields), at, names=("dp", "room_bytes", "position_bytes"))
        self.groups = np.max(one["dp"][1])
        at["sequences"] = (LOADS, table.nodes(self.most(one, laws)))
        self.found = layouts.evaluated(steps.decode_at(fields), at, left_out=left_out)
        if np.any(laws.chunked):
            self.found["products"] = layouts.evaluated(steps.decode_products, at)["seconds"]

    def most(self, one, laws):
        """Sequences that a server may hold, at most."""
        held = np.max(one["room_bytes"][1]) / np.min(one["position_bytes"][1]) / np.min(laws.sizes.context)
        admitted = laws.values("max_batch")
        admitted = np.max(admitted) if np.min(admitted) > 0.0 else np.inf
        return float(np.clip(self.groups * min(held, admitted), 2.0, MOST_SEQUENCES))


class Prompts:
    """Steps of prompts of layouts: {variable: (dims, array)} of `steps.prompts_at`, by variants of the load.

    Those that groups share, the same with more pairs, one prompt alone, and that with more pairs.
    """

    VARIANTS = 4

    def __init__(self, layouts, laws, groups, left_out=()):
        alone, prompt, pairs = np.full(len(laws), ALONE), laws.prompt, laws.pairs
        budget = np.where(laws.chunked, laws.budget, np.maximum(laws.budget, prompt))
        shares = ((prompt, budget, pairs), (prompt, budget, PAIRS * pairs))
        alones = ((alone, alone, pairs), (alone, alone, PAIRS * pairs))
        columns = [np.concatenate(column) for column in zip(*shares, *alones, strict=True)]
        loads = {name: (LENGTHS, x) for name, x in zip(("prompt", "budget", "pairs"), columns, strict=True)}
        loads["cached"] = LENGTHS, np.tile(laws.cached, self.VARIANTS)
        most = max(np.max(laws.sizes.new_edges), groups * np.max(laws.budget) + np.max(prompt))
        loads["tokens"] = LOADS, table.nodes(1.5 * float(most))
        self.nodes = loads["tokens"][1]
        self.found = layouts.evaluated(steps.prompts_at, loads, self.VARIANTS, left_out=left_out)
        if np.any(laws.chunked):
            first = {name: (axis, x[: len(laws)] if axis == LENGTHS else x) for name, (axis, x) in loads.items()}
            self.found["products"] = layouts.evaluated(steps.prompt_products, first)["seconds"]


def taken(source, index, law, variant=0, laws=0):
    """A (dims, array) of a table at points, nodes along the last axis where it has them; of one of its variants."""
    dims, array = source
    where = index | {LENGTHS: law + variant * laws}
    found = array[tuple(where[axis] for axis in dims if axis != LOADS)]
    return np.broadcast_to(found, (len(law), *(array.shape[-1:] if LOADS in dims else ())))


def along_nodes(values, nodes):
    """Values with an axis of nodes, the same at all of them where they had none."""
    return values if values.ndim > 1 else np.broadcast_to(values[:, None], (len(values), nodes))


def first(values):
    """Values without their axis of nodes, where they have one: the first."""
    return values[:, 0] if values.ndim > 1 else values
