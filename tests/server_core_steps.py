"""Steps of the core model for cases of `server_cases`: a table of them for the equations, and for the simulator.

Both take the same times, so that what is compared is the equations of queues. One group of chips (tp = chips): the
simulator knows no groups. A step of decode is known at three mean contexts, and straight between them.
"""

import math
from typing import NamedTuple

import numpy as np

from dsjax.evaluation import servers
from dsjax.serving.instances import table
from dsjax.space import grid

CHIPS = ("H20", "H100", "H200", "B200")
CONTEXTS = (0.25, 1.0, 4.0)  # prompts at whose contexts decode is evaluated, over the mean one
MIDDLE = CONTEXTS.index(1.0)


class CoreStep(NamedTuple):
    """Times of the steps of one server, for both."""

    table: table.Table  # of one server
    contexts: tuple  # S of the rows of `decode`
    rows: dict  # {name of a part of the table: lists of its values, one for each context of those of decode}
    context: float = 0.0

    def decode(self, sequences):
        return self.table.decode(sequences)

    def prompts(self, new, pairs):
        return self.table.prompts(new, pairs)

    def mixed(self, sequences, new, pairs):
        return self.table.mixed(sequences, new, pairs)

    alone = prompts  # one group

    def tau(self, B, S, n, p):
        if not n:
            return self._of_context("decode_s", B, S)
        prompts = self._prompts(n, p)
        if not B:
            return prompts
        products = self.rows["products_s"][0]
        core = self._of_context("decode_core_s", B, S) + max(prompts - between(products, n), 0.0)
        return between(products, B + n) + core

    def _prompts(self, n, p):
        at, host = between(self.rows["prompts_s"][0], n), self.rows["host_s"] * n
        return max(at + between(self.rows["prompts_pair_s"][0], n) * (p - self.rows["pairs"] * n) + host, 0.5 * at)

    def _of_context(self, name, B, S):
        i = 0 if S < self.contexts[MIDDLE] else 1
        low, high = (between(row, B) for row in self.rows[name][i : i + 2])
        return low + (high - low) * (S - self.contexts[i]) / (self.contexts[i + 1] - self.contexts[i])


def between(row, x):
    """`table.interpolated` of one number."""
    place = min(int(table.PER_OCTAVE * math.log2(x)) if x > 1.0 else 0, len(row) - 2)
    low = 2.0 ** (place / table.PER_OCTAVE)
    return row[place] + (row[place + 1] - row[place]) * (x - low) / (low * (2.0 ** (1.0 / table.PER_OCTAVE) - 1.0))


def drawn(rng, requests, server):
    """`CoreStep` of DeepSeek-R1 on chips that are drawn, for requests and a `open_loop.Server`."""
    budget = "chunk_tokens" if server.chunked else "max_prefill_tokens"
    fixed = {"hardware": str(rng.choice(CHIPS)), "engine": str(rng.choice(["sglang", "vllm"])), "nic": "CX7"}
    chips = 16 if fixed["hardware"] == "H100" else 8
    fixed |= {"tp": chips, "chips": chips, "osl": requests.osl, "isl_cv": requests.isl_cv, "osl_cv": requests.osl_cv}
    fixed |= {"cached_fraction": requests.cached_fraction, "concurrency": 1, "max_batch": server.cap}
    fixed |= {"batching": "chunked" if server.chunked else "prefill-first", budget: server.budget}
    prompts = [requests.isl * x for x in CONTEXTS]
    space = grid.load({"model": "DeepSeek-R1", "phase": "serve", "axes": {"isl": prompts}, "fixed": fixed})
    points, law = servers.Points(space, ("ttft_mean",)), np.arange(len(prompts))
    index = {"isl": law}
    found = points.steps(index, law, points.laws.asked(index, len(law)), server.chunked)
    of_decode, of_prompts = ("decode_s", "decode_core_s"), ("prompts_s", "prompts_pair_s", "products_s")
    rows = {name: getattr(found, name) for name in of_decode + of_prompts}
    rows = {name: x if name in of_decode else x[MIDDLE:] for name, x in rows.items() if x is not None}
    rows = {name: x.tolist() for name, x in rows.items()}
    middle = type(found)(*(None if x is None else x[MIDDLE : MIDDLE + 1] for x in found))
    rows["host_s"] = float(middle.prompt_s[0] / middle.prompt[0] + middle.read_s[0])
    rows["pairs"] = float(middle.pairs[0])
    return CoreStep(middle, tuple(points.laws.context), rows)
