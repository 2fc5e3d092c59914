"""The analytic server against the simulator, on random servers and loads of wide ranges.

The aim, at loads of at most 0.85: means of the rate and of TPOT within 3 %, of TTFT within 10 %, its quantiles within
15 to 20 %. In closed loops the means are much nearer. In open ones half of the servers are; where prompts take most of
the time TPOT is off by up to 7 %, its quantiles by 20 %, and a quantile of TTFT can be off by a third. Two kinds of
servers are not drawn since they are known to be further off: users whose outputs are all equal, who keep the step that
they start in, and servers that are full of sequences.
"""

import numpy as np
import pytest
from server_cases import BATCHINGS, LOOPS, drawn, means, outputs, simulated

from dsjax import arrays

CASES, REQUESTS = 6, 4000
NAMES = ("requests_per_s_served", "tpot_mean", "ttft_mean", "ttft_p90", "ttft_p99", "tpot_p90", "latency_mean")
STEPS = 4e5  # of a simulation, about


def of_kind(batching, loop):
    """Cases that a simulation of some seconds is enough for."""
    rng = np.random.default_rng([2026, BATCHINGS.index(batching), LOOPS.index(loop)])
    while True:
        case = drawn(rng, batching, loop)
        m, _, sizes = means(case, loop == "closed")
        enough = REQUESTS * sizes.steps < STEPS * arrays.maximum(m.batch, 1.0) and m.batch < 0.9 * case.server.cap
        if enough and (loop == "open" or sizes.spread * sizes.steps**2 > 100.0):
            yield case


def errors(batching, loop):
    """Relative errors: of cases, of `NAMES`."""
    found = []
    for case, seed in zip(of_kind(batching, loop), range(CASES), strict=False):
        expected = simulated(case, loop == "closed", REQUESTS, seed)
        if loop == "open":  # the rate of those who came
            case = case._replace(amount=expected["requests_per_s_served"])
        here = outputs(case, loop == "closed")
        found.append([abs(float(here[name]) / expected[name] - 1.0) for name in NAMES])
    return np.array(found)


BOUNDS = {  # of the median of the cases, and of the worst [%]
    ("prefill-first", "open"): [(0, 0), (4, 8), (3, 5), (3, 15), (8, 20), (12, 25), (4, 7)],
    ("chunked", "open"): [(0, 0), (2, 8), (4, 14), (4, 10), (7, 40), (4, 16), (2, 7)],
    ("prefill-first", "closed"): [(0.4, 1), (0.6, 2), (0.4, 1), (1, 9), (13, 30), (2, 11), (0.4, 1)],
    ("chunked", "closed"): [(0.6, 3), (0.4, 1), (1.2, 2), (1.5, 7), (7, 25), (3, 16), (0.6, 3)],
}


@pytest.mark.parametrize(("batching", "loop"), BOUNDS)
def test_agreement(batching, loop):
    found = 100.0 * errors(batching, loop)
    for name, of_cases, (median, most) in zip(NAMES, found.T, BOUNDS[batching, loop], strict=True):
        assert np.median(of_cases) <= median + 1e-9, (name, np.sort(of_cases))
        assert np.max(of_cases) <= most + 1e-9, (name, np.sort(of_cases))
