"""Layouts of instances by flat index: their labels, prices and masks, and which of them are the same."""

import functools
import hashlib
import math

import numpy as np

from ...evaluation.servers import tables
from ...evaluation.servers.points import Points
from ...serving.instances import study
from ...specs import trees

PIECE = 2**12  # points that are evaluated at once
OF_PREFILL, OF_DECODE = ("max_prefill_tokens",), ("max_batch", "transfer_nic")  # axes of pairs without a pool's name


class Layouts:
    """Layouts along some axes of a space, by flat index; `found`: the tables of their steps."""

    def __init__(self, space, axes, found):
        self.space, self.axes, self.found = space, axes, found
        sizes = [len(space.axes[axis]) for axis in axes]
        self.number = math.prod(sizes)
        places = np.unravel_index(np.arange(self.number), sizes) if sizes else ()
        self.index = dict(zip(axes, places, strict=True))
        self.law = np.zeros(self.number, int)  # of their lengths: all have the same, but for budgets
        self.chips, price, watts = (self.numbers(name) for name in ("chips", "usd_per_hour", "watts"))
        self.price, self.watts = (np.where(x > 0.0, x, np.nan) for x in (price, watts))  # 0: unknown

    def numbers(self, name):
        """A number of the layouts, whatever their load."""
        return np.asarray(tables.first(tables.taken(self.found[name], self.index, self.law)), float)

    def labels(self, axis):
        """Labels or numbers of an axis at all layouts; one for all where it is fixed."""
        if axis in self.axes:
            return np.asarray(list(self.space.axes[axis]))[self.index[axis]]
        return np.full(self.number, self.space.fixed.get(axis))

    def named(self, pool, layout):
        """{axis with the name of the pool: label or number} of a layout."""
        own = {axis: self.labels(axis)[layout].item() for axis in self.axes if not axis.endswith("chips")}
        shared = (f"{pool}_", *OF_PREFILL, *OF_DECODE) if any(axis.startswith(f"{pool}_") for axis in self.axes) else ()
        return {axis if axis.startswith(shared or "-") else f"{pool}_{axis}": x for axis, x in own.items()}

    def groups(self, names, *more):
        """(number of the group of every layout, labels of every group) by axes, and by `more` columns of labels."""
        columns = [*(self.labels(name) for name in names), *more]
        codes = np.stack([np.unique(column, return_inverse=True)[1].reshape(-1) for column in columns])
        _, first, group = np.unique(codes, axis=1, return_index=True, return_inverse=True)
        return group.reshape(-1), [tuple(column[i].item() for column in columns) for i in first]

    @functools.cached_property
    def possible(self):
        """Layouts that no mask of a step refuses whatever the load, in order; the first where none is."""
        masks = self.masks(np.arange(self.number), 1.0)
        found = np.flatnonzero(np.logical_and.reduce([*masks.values()]))
        return found if len(found) else np.zeros(1, int)

    def masks(self, layouts, sequences):
        """{"ok_<mask of a step>": whether it holds} of layouts whose instances decode so many sequences."""
        index, law = {axis: places[layouts] for axis, places in self.index.items()}, self.law[layouts]
        sequences = np.broadcast_to(np.asarray(sequences, float), len(layouts))
        names = [f"ok_{name}" for name in study.OF_STEPS]
        return {name: Points.mask(self.found[name], sequences, index, law) for name in names}


def rows(record, places):
    """Rows of a record of arrays."""
    return trees.mapped(lambda x: np.asarray(x)[places], record)


def distinct(record):
    """Place of the first row of a record of arrays that is the same, of every row.

    Instances inside a scale-up domain are the same whatever the NIC.
    """
    leaves = [np.asarray(x, float) for x in trees.leaves(record)]
    table = np.concatenate([x.reshape(len(x), -1) for x in leaves], axis=1)
    first: dict = {}  # of every digest of a row: 20 bytes, no two rows of which are the same
    digests = (hashlib.sha1(row, usedforsecurity=False).digest() for row in table)
    return np.array([first.setdefault(digest, i) for i, digest in enumerate(digests)], int)


def evaluated(function, *columns):
    """{variable: values} of a function of columns of one length: of every distinct row once, piece by piece."""
    _, first, same = np.unique(np.stack(columns), axis=1, return_index=True, return_inverse=True)
    columns = [x[first] for x in columns]
    parts = [function(*(x[i : i + PIECE] for x in columns)) for i in range(0, len(first), PIECE)]
    return {name: np.concatenate([part[name] for part in parts])[same.reshape(-1)] for name in parts[0]}
