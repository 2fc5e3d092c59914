"""The analytic server against the simulator, on random servers and loads of wide ranges.

The aim, at loads of at most 0.85, median and 90th percentile of the servers: the rate within 1 and 2 %, the mean of
TPOT within 1 and 3 %, of TTFT within 2 and 8 %, other percentiles within 5 and 15 %. Where prompts take most of the
time of an open loop TPOT is off by up to 7 %, its quantiles by 20 %; a 99th percentile of TTFT can be off by a third,
and in pools half of the 90th and 99th ones are off by 8 and 13 %. Two kinds of servers are not drawn since they are
known to be further off: users whose outputs are all equal, who keep the step that they start in, and servers that are
full of sequences.
"""

import numpy as np
import pytest
from server_cases import (
    BATCHINGS,
    LOOPS,
    at,
    drawn,
    drawn_pools,
    means,
    means_of_pools,
    outputs,
    outputs_of_pools,
    simulated,
    simulated_pools,
)

from dsjax import arrays

CASES, REQUESTS = 6, 4000
NAMES = ("requests_per_s_served", "tpot_mean", "ttft_mean", "ttft_p90", "ttft_p99")
NAMES += ("tpot_p50", "tpot_p90", "tpot_p99", "latency_mean", "latency_p90", "latency_p99")
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
    ("prefill-first", "open"): [
        (0, 0),
        (3.3, 7),
        (2.5, 4),
        (2.4, 13),
        (6.5, 18),
        (1.2, 20),
        (4.2, 21),
        (6.5, 21),
        (3.7, 6),
        (3.8, 9),
        (6, 20),
    ],
    ("chunked", "open"): [
        (0, 0),
        (1, 7),
        (3.3, 13),
        (3, 9),
        (6, 38),
        (1.4, 7),
        (3.2, 14),
        (5, 26),
        (1.8, 6),
        (3, 8),
        (4, 9),
    ],
    ("prefill-first", "closed"): [
        (0.4, 1),
        (0.6, 2),
        (0.4, 1),
        (1, 8),
        (12, 28),
        (0.4, 2),
        (1.2, 10),
        (3, 19),
        (0.4, 1),
        (0.5, 3),
        (2, 4),
    ],
    ("chunked", "closed"): [
        (0.5, 3),
        (0.3, 1),
        (1.1, 2),
        (1, 6),
        (5, 23),
        (0.3, 3),
        (2, 15),
        (6, 27),
        (0.5, 3),
        (2.4, 7),
        (3, 9),
    ],
}


@pytest.mark.parametrize(("batching", "loop"), BOUNDS)
def test_agreement(batching, loop):
    hold(errors(batching, loop), BOUNDS[batching, loop])


def hold(errors, bounds):
    for name, of_cases, (median, most) in zip(NAMES, 100.0 * errors.T, bounds, strict=True):
        assert np.median(of_cases) <= median + 1e-9, (name, np.sort(of_cases))
        assert np.max(of_cases) <= most + 1e-9, (name, np.sort(of_cases))


def errors_of_pools(loop):
    """The same of two pools."""
    closed, found = loop == "closed", []
    many, pools = drawn_pools(loop, 60)
    m, sizes = means_of_pools(many, pools, closed)
    enough = REQUESTS * sizes.steps < STEPS * np.maximum(m.batch, 1.0)
    enough &= (m.batch < 0.9 * pools.cap * pools.decode_instances) & (many.load.osl_cv > 0.0)
    for i in np.flatnonzero(enough)[:CASES]:
        case, two = at(many, i), at(pools, i)
        expected = simulated_pools(case, two, closed, REQUESTS, i)
        if not closed:
            case = case._replace(amount=np.asarray(expected["requests_per_s_served"]))
        here = outputs_of_pools(case, two, closed)
        found.append([abs(float(here[name]) / expected[name] - 1.0) for name in NAMES])
    return np.array(found)


OF_POOLS = {
    "open": [(0, 0), (0.3, 15), (3, 14), (9, 16), (15, 21), (0.5, 3), (0.5, 28), (1.6, 28), (2, 11), (3, 6), (3.2, 24)],
    "closed": [(1, 2), (0.7, 4), (1.6, 17), (2.2, 8), (4, 8), (0.4, 5), (0.8, 7), (2, 5), (1, 2), (1.7, 4), (1.8, 4)],
}


@pytest.mark.parametrize("loop", LOOPS)
def test_agreement_of_pools(loop):
    hold(errors_of_pools(loop), OF_POOLS[loop])
