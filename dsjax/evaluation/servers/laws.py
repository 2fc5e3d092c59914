"""Requests of a space: every law of their lengths, and the loads that are asked of servers."""

import math

import numpy as np

from ...serving.instances import study
from ...serving.server.lengths import Load, context_cv, lengths

LENGTHS = "lengths"  # hidden axis of a table: laws of lengths
LOADS = (
    "concurrency",
    "requests_per_s",
    "max_batch",
    "requests_per_user",
    "prefix_tokens",
    "host_bytes_per_s",
    "reserved_output",
)
LOADS += ("prefill_instances", "decode_instances")


class Laws:
    """Laws of the lengths of a space: every combination of its axes that decides them, flat along `LENGTHS`.

    `varied` {(record, field): numbers}: of samples; where a law of lengths varies, every sample has one of its own.
    """

    def __init__(self, space, varied):
        self.space, self.varied = space, varied
        self.by_sample = any(name in study.LENGTHS for _, name in varied)
        self.batching = space.labels("batching") if "batching" in space.study.policies else ("prefill-first",)
        labels = [study.LENGTH_LAWS[label] for label in space.labels("length_law")]
        self.axes = {name: self.values(name) for name in study.LENGTHS}
        self.axes |= {"length_law": np.array(labels), "batching": np.arange(len(self.batching))}
        if self.by_sample:
            mesh = np.broadcast_arrays(*self.axes.values())
        else:
            mesh = np.meshgrid(*self.axes.values(), indexing="ij")
        self.numbers = {name: values.ravel() for name, values in zip(self.axes, mesh, strict=True)}
        cut = np.array([study.BATCHING[label] for label in self.batching])
        self.chunked = cut[self.numbers["batching"]]
        self.budget = np.where(self.chunked, self.numbers["chunk_tokens"], self.numbers["max_prefill_tokens"])
        load = self.load(slice(None))
        self.sizes = lengths(load)
        self.context, self.spread = self.sizes.context, context_cv(load)
        self.prompt, self.pairs = self.sizes.mean_new, self.sizes.mean_pairs / self.sizes.mean_new
        self.cached = load.cached_fraction * self.sizes.prompt / self.prompt  # positions of a new token
        self.read_back = self.numbers["host_fraction"] * self.sizes.prompt / self.prompt  # of them, from the host

    def __len__(self):
        return len(self.budget)

    def values(self, name):
        """Numbers of a field of the requests: of samples, along its own axis, or the one that is fixed; else NaN."""
        varied = self.varied.get(("workload", name))
        if varied is not None:
            return np.asarray(varied, float)
        if name in self.space.axes:
            return np.asarray(list(self.space.axes[name]), float)
        return np.asarray([self.space.fixed.get(name, math.nan)], float)

    def load(self, law, tokens_per_step=1.0):
        """`Load` of laws by their index."""
        isl, osl, isl_cv, osl_cv, cached, host = (self.numbers[name][law] for name in study.LENGTHS[:6])
        cached = np.minimum(cached + host, 1.0)
        return Load(isl, osl, isl_cv, osl_cv, cached, self.numbers["length_law"][law].astype(bool), tokens_per_step)

    def of(self, index, points):
        """Index of the law of every point; `index` {axis: indices}."""
        if self.by_sample:
            return index["sample"]
        place = [index.get(name, np.zeros(points, int)) for name in self.axes]
        return np.ravel_multi_index(place, tuple(len(values) for values in self.axes.values()))

    def asked(self, index, points):
        """{name: numbers of `LOADS`} of points."""
        found = {}
        for name in LOADS:
            along = "sample" if ("workload", name) in self.varied else name
            found[name] = self.values(name)[index.get(along, np.zeros(points, int))]
        return found
