"""Measured systems whose time holds the prompts of other users: servers (dsjax/MODEL.md, section 11)."""

import numpy as np

from .. import evaluation

SECONDS = {"tpot": ("tpot_mean", False), "ttft": ("ttft_mean", False), "mixed": ("tps_per_chip", True)}
BESIDE = ("prefill_share", "request/prompt", "ttft_mean", "bottleneck")
# Numbers of a server that vary from sample to sample of one table of steps.
REQUESTS = ("isl", "osl", "isl_cv", "osl_cv", "concurrency", "max_prefill_tokens", "chunk_tokens")
REQUESTS += ("requests_per_user", "max_batch")


def points(cases):
    """[{variable: its value in each sample}] of `Case`s of servers.

    Systems of one layout, whatever their requests, are samples of one server: its equations are evaluated once for all.
    """
    groups: dict = {}
    for i, case in enumerate(cases):
        layout = {name: x for name, x in case.space.fixed.items() if name not in REQUESTS}
        groups.setdefault(repr(sorted(layout.items())), []).append(i)
    found: list = [None] * len(cases)
    for members in groups.values():
        some = [cases[i] for i in members]
        moved, counts = [case.moved for case in some], [len(case.samples) for case in some]
        keys = {key for each in moved for key in each} | {("workload", name) for name in REQUESTS}
        keys &= some[0].numbers.keys()

        def column(key, some=some, moved=moved, counts=counts):
            each = zip(some, moved, counts, strict=True)
            return np.concatenate([np.broadcast_to(own.get(key, case.numbers[key]), n) for case, own, n in each])

        values = {key: column(key) for key in keys}
        masks = tuple(name for name in evaluation.variables(some[0].space) if name.startswith("ok_"))
        names = tuple(dict.fromkeys((*BESIDE, *(name for name, _ in SECONDS.values()), *masks)))
        result = evaluation.samples(some[0].space, values, sum(counts), names)
        result = {name: np.broadcast_to(x, sum(counts)) for name, x in result.items()}
        for i, end, n in zip(members, np.cumsum(counts), counts, strict=True):
            found[i] = {name: x[end - n : end] for name, x in result.items()}
    return found


def seconds(metric, values):
    """What was measured as a time, in each sample [s]; of a rate the time of one token of a chip."""
    name, rate = SECONDS[metric]
    return 1.0 / values[name] if rate else values[name]


def share_of_others(metric, values):
    """Share of a time that is the prompts of others: of a first token all but the prompt of its own."""
    own = values["request/prompt"][0] / values["ttft_mean"][0]
    return 1.0 - own if metric == "ttft" else values["prefill_share"][0]
