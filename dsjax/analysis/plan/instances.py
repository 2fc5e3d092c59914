"""Layouts of whole instances, of all pieces one after the other: what bounds say of them, and what they answer."""

import numpy as np

from ...evaluation.servers.points import Points
from ...serving.instances import answer, study
from ...serving.server.lengths import lengths
from ...specs import trees
from ..fleet import bounds
from ..fleet.answers import bounded
from ..fleet.layouts import Layouts

IDLE = 1e-6  # requests per second
CHUNK = 2**12  # layouts that are bounded at once


class Instances:
    """Layouts of instances that compute prompts and decode, by flat index over the spaces of all pieces."""

    def __init__(self, spaces, limits):
        self.spaces, self.limits = spaces, limits
        self.open = any("requests_per_s" in space.fixed for space in spaces)
        self.points = [Points(space, ()) for space in spaces]
        self.layouts = [
            Layouts(space, tuple(space.axes), points.decode.found)
            for space, points in zip(spaces, self.points, strict=True)
        ]
        sizes = [layouts.number for layouts in self.layouts]
        self.number = sum(sizes)
        self.piece = np.repeat(np.arange(len(sizes)), sizes)
        self.start = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(int)
        self.chips = self.column("chips")
        price = self.column("usd_per_hour")
        self.price = np.where(price > 0.0, price, np.nan)  # 0: unknown
        self.fits = 0  # layouts that fit, whatever the limits
        self.quick: list = []  # of every piece the layouts that fit whose prompt, and whose step, is the shortest
        self.rate, self.cap, self.possible, self.refused = self._bounds()

    def column(self, name):
        """A number of all layouts, whatever their load."""
        return np.concatenate([layouts.numbers(name) for layouts in self.layouts])

    def labels(self, name):
        """Labels, or numbers, of an axis at all layouts, or what is fixed in its place."""
        return np.concatenate([np.asarray(layouts.labels(name), object) for layouts in self.layouts])

    def named(self, layout):
        """{axis: label or number} of a layout, with what its space has fixed instead."""
        i = int(self.piece[layout])
        own, space = layout - self.start[i], self.spaces[i]
        return {**space.fixed, **{axis: self.layouts[i].labels(axis)[own].item() for axis in space.axes}}

    # ---- bounds

    def _bounds(self):
        """(most requests per second, most sequences, whether possible at all, {mask: layouts that it refuses})."""
        rate, cap, possible = (np.zeros(self.number, kind) for kind in (float, float, bool))
        counts: dict = {}
        for i, layouts in enumerate(self.layouts):
            every = np.arange(layouts.number)
            masks = layouts.masks(every, 1.0)
            good = np.logical_and.reduce([*masks.values()])
            for name, ok in masks.items():
                counts[name] = counts.get(name, 0) + int(np.sum(~ok))
            left = every[good]
            for chunked in (False, True):
                own = left[self._chunked(i, left) == chunked]
                for part in (own[k : k + CHUNK] for k in range(0, len(own), CHUNK)):
                    record = self._record(i, part, np.ones(len(part)), chunked)
                    most = bounds.of_servers(record, chunked, record.load, self.limits)
                    room = answer.room(record, lengths(record.load))
                    for name, refuses in most.refused.items():
                        counts[name] = counts.get(name, 0) + int(refuses.sum())
                    at = self.start[i] + part
                    rate[at], cap[at] = most.rate, room.cap
                    fits = np.flatnonzero(~(most.refused["ok_memory"] | most.refused["ok_kv"]))
                    self.fits += len(fits)
                    if len(fits):
                        self.quick += [int(at[fits[np.argmin(x[fits])]]) for x in (most.prompt_s, most.step_s)]
                    possible[at] = ~np.logical_or.reduce([*most.refused.values()])
        return rate, cap, possible, {name: n for name, n in counts.items() if n}

    def _chunked(self, i, layouts):
        """Whether prompts are cut in layouts of a piece."""
        labels = self.points[i].laws.batching
        place = self.layouts[i].index.get("batching", np.zeros(self.layouts[i].number, int))[layouts]
        return np.array([study.BATCHING[label] for label in labels])[place]

    def _record(self, i, layouts, asked, chunked):
        """`answer.Points` of layouts of a piece that are asked so much each."""
        points, n = self.points[i], len(layouts)
        index = {axis: places[layouts] for axis, places in self.layouts[i].index.items()}
        record = points.points(index, points.laws.of(index, n), points.laws.asked(index, n), chunked)
        return record._replace(asked=np.asarray(asked, float))

    # ---- answers

    def at(self, ids, asked, quantiles=True):
        """{variable: values}, masks among them, of layouts that are asked so much each; `quantiles` as of answers."""
        ids, asked = np.asarray(ids), np.broadcast_to(np.asarray(asked, float), len(ids))
        found: dict = {}
        kinds = np.concatenate([self._chunked(i, ids[self.piece[ids] == i] - self.start[i]) for i in self._pieces(ids)])
        order = np.concatenate([np.flatnonzero(self.piece[ids] == i) for i in self._pieces(ids)])
        chunked = np.empty(len(ids), bool)
        chunked[order] = kinds
        for kind in np.unique(chunked).tolist():
            own = np.flatnonzero(chunked == kind)
            parts, placed = [], []
            for i in self._pieces(ids[own]):
                of = own[self.piece[ids[own]] == i]
                parts.append(self._record(i, ids[of] - self.start[i], asked[of], kind))
                placed.append(of)
            values = answer.variables(joined(parts), chunked=kind, open_=self.open, with_quantiles=quantiles)
            for name, x in values.items():
                found.setdefault(name, np.empty(len(ids), x.dtype))[np.concatenate(placed)] = x
        masks: dict = {}
        for i in self._pieces(ids):
            of = np.flatnonzero(self.piece[ids] == i)
            for name, ok in self.layouts[i].masks(ids[of] - self.start[i], found["decode_batch"][of]).items():
                masks.setdefault(name, np.ones(len(ids), bool))[of] = ok
        return found | masks | bounded(found, self.limits)

    def nearest(self, statistic):
        """{time: (least seconds at the statistic of who is alone in an instance, hardware)}; {} where nothing fits."""
        if not self.quick:
            return {}
        ids = np.unique(self.quick)
        values = self.at(ids, IDLE if self.open else 1.0)
        found = {}
        for time in ("ttft", "tpot"):
            x = values[f"{time}_{statistic}"]
            found[time] = (float(x.min()), self.named(int(ids[np.argmin(x)]))["hardware"])
        return found

    def _pieces(self, ids):
        return np.unique(self.piece[ids]).tolist()


def joined(records):
    """One record of the rows of several; nodes of a table are continued by its last, beyond which no load is."""
    columns = list(zip(*(trees.leaves(record) for record in records), strict=True))
    return trees.filled(trees.structure(records[0]), [_stacked(column) for column in columns])


def _stacked(arrays):
    widest = max(x.shape[-1] if x.ndim > 1 else 0 for x in arrays)
    padded = [
        np.concatenate([x, np.repeat(x[:, -1:], widest - x.shape[-1], 1)], 1)
        if x.ndim > 1 and x.shape[-1] < widest
        else x
        for x in arrays
    ]
    return np.concatenate(padded)
