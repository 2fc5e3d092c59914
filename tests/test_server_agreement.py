"""The analytic server against the simulator, on random servers and loads of wide ranges.

The aim, at loads of at most 0.85, median and 90th percentile of the servers: the rate within 1 and 2 %, the mean of
TPOT within 1 and 3 %, of TTFT within 2 and 8 %, 90th and 99th percentiles within 5 and 15 %. 24 of the 200 cases of
`benchmarks/bench_serving.py`, half of them with steps of the core model. Means of TPOT are within the aim but for two
servers (4 to 14 %: most of the time in prompts; few users whose prompts queue); the mean of TTFT in pools is not (6 %
median), nor is its 99th percentile in open loops (10 to 14 %), nor percentiles of TPOT of few users with long prompts
(33 %). Two kinds of servers are not drawn since they are known to be further off: users whose outputs are all equal,
who keep the step that they start in, and servers that are full of sequences.
"""

import numpy as np
import pytest
from server_cases import analysed, compared, seeded

CASES = 4
REQUESTS = {"open": 12000, "closed": 4000}  # of a simulation: a queue forgets slowly, users are few
NAMES = ("requests_per_s_served", "tpot_mean", "ttft_mean", "ttft_p90", "ttft_p99")
NAMES += ("tpot_p50", "tpot_p90", "tpot_p99", "latency_mean", "latency_p90", "latency_p99")
STEPS = 100.0  # of decode for a request, at most


def of_kind(kind, loop):
    """Of the cases of `benchmarks/bench_serving.py` those that a simulation of some seconds is enough for."""
    for case, two in seeded(kind, loop, 30):
        m, sizes = analysed(case, two, loop == "closed")
        places = case.server.cap * (1.0 if two is None else two.decode_instances)
        enough = sizes.steps < STEPS * np.maximum(m.batch, 1.0) and m.batch < 0.9 * places
        if enough and (loop == "open" or sizes.spread * sizes.steps**2 > 100.0):
            yield case, two


def errors(kind, loop):
    """Absolute errors [%]: of cases, of `NAMES`."""
    drawn = zip(of_kind(kind, loop), range(CASES), strict=False)
    found = [compared(case, two, loop == "closed", REQUESTS[loop], seed) for (case, two), seed in drawn]
    return 100.0 * np.abs([[of[name] for name in NAMES] for of in found])


BOUNDS = {  # of the median of the cases, and of the worst [%]
    ("prefill-first", "open"): [
        (0, 0),
        (0.5, 7.5),
        (0.7, 4),
        (4, 6),
        (11, 27),
        (10.5, 20),
        (0.7, 3),
        (6, 22),
        (0.5, 7),
        (2.5, 7),
        (6.5, 28),
    ],
    ("chunked", "open"): [
        (0, 0),
        (1.1, 1.5),
        (3.2, 11),
        (6, 10),
        (12.5, 20),
        (0.9, 2),
        (2.1, 6),
        (5.2, 12),
        (1, 1.5),
        (1.2, 5),
        (2.5, 7),
    ],
    ("two pools", "open"): [
        (0, 0),
        (0.5, 3),
        (6, 13.5),
        (4.2, 21),
        (14, 34),
        (1.4, 2.2),
        (1.5, 6),
        (2, 7),
        (1.2, 7),
        (1.7, 5),
        (6.8, 25),
    ],
    ("prefill-first", "closed"): [
        (0.4, 0.6),
        (0.5, 2.4),
        (0.8, 2),
        (5.4, 53),
        (5, 11),
        (0.6, 7),
        (0.6, 14),
        (0.9, 22),
        (0.5, 0.7),
        (3.8, 6.5),
        (1.4, 7.5),
    ],
    ("chunked", "closed"): [
        (0.7, 1.3),
        (0.9, 2),
        (2.2, 3.2),
        (2.4, 6),
        (0.5, 15),
        (2.1, 20),
        (6, 19),
        (10, 33),
        (0.7, 1.2),
        (6, 11),
        (7.2, 18),
    ],
    ("two pools", "closed"): [
        (1.4, 2),
        (0.5, 15),
        (7, 12),
        (6, 9),
        (12, 23),
        (0.8, 17),
        (0.7, 17),
        (1.1, 13.5),
        (1.3, 2),
        (1.3, 2.2),
        (2.6, 5.2),
    ],
}


@pytest.mark.parametrize(("kind", "loop"), BOUNDS)
def test_agreement(kind, loop):
    for name, of_cases, (median, most) in zip(NAMES, errors(kind, loop).T, BOUNDS[kind, loop], strict=True):
        assert np.median(of_cases) <= median + 1e-9, (name, np.sort(of_cases))
        assert np.max(of_cases) <= most + 1e-9, (name, np.sort(of_cases))
