"""The analytic server beside the event-driven simulator: errors, and how long either takes.

    python benchmarks/bench_serving.py [--cases N] [--requests N] [--seed S] [--points N]

Random servers and loads as `tests/server_cases.py` draws them. errors: N cases of each kind of loop and of batching, of
`requests` simulated requests, or more where outputs are long; median, and 90th percentile, of the absolute error of
the analytic model [%], and simulated seconds of a case. Open loops are compared at the rate of the requests that came.
speed: points per second of the analytic model on `points` such cases, float64, means alone (`ttft_mean`, `tpot_mean`,
rate, `latency_mean`) and with all quantiles; NumPy, and a compiled program without and with what it takes to compile
[s]: pieces of `PIECE` points, best of `ROUNDS`.
"""

import argparse
import os
import sys
import time
from pathlib import Path

import jax
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import server_cases
from server_cases import BATCHINGS, LOOPS

SHOWN = ("requests_per_s_served", "tpot_mean", "ttft_mean", "ttft_p90", "ttft_p99", "tpot_p99")
PIECE, ROUNDS = 2048, 3
FEW = 3000.0  # sequences that must have decoded together often enough: requests over those that decode


def cases(seed, batching, loop, count):
    rng = np.random.default_rng([seed, BATCHINGS.index(batching), LOOPS.index(loop)])
    return [server_cases.drawn(rng, batching, loop) for _ in range(count)]


def errors(several, closed, requests):
    """(absolute errors [%], of cases and of `SHOWN`; seconds of the simulator for a case)."""
    found, seconds = [], 0.0
    for seed, case in enumerate(several):
        m, _, _ = server_cases.means(case, closed)
        start = time.perf_counter()
        seen = server_cases.simulated(case, closed, int(max(requests, min(10.0 * m.batch, FEW))), seed)
        seconds += time.perf_counter() - start
        if not closed:
            case = case._replace(amount=seen["requests_per_s_served"])
        here = server_cases.outputs(case, closed)
        found.append([100.0 * abs(float(here[name]) / seen[name] - 1.0) for name in SHOWN])
    return np.array(found), seconds / len(several)


def means_alone(case, closed):
    m, _, _ = server_cases.means(case, closed)
    rate = m.rate if closed else case.amount
    return m.ttft, m.tpot, rate, m.ttft + m.batch / rate


def speeds(several, batching, closed, what):
    """(points per second of NumPy, of a compiled program; seconds to compile)."""

    def of(case):
        return what(server_cases.of_kind(case, batching), closed)

    data = server_cases.stacked(several)
    pieces = [jax.tree.map(lambda x, i=i: x[i : i + PIECE], data) for i in range(0, len(several), PIECE)]
    start = time.perf_counter()
    of(pieces[0])
    numpy = len(pieces[0].amount) / (time.perf_counter() - start)
    with jax.enable_x64(True):
        start = time.perf_counter()
        program = jax.jit(jax.vmap(of))
        program = program.lower(pieces[0]).compile()
        compiling = time.perf_counter() - start
        walls = []
        for _ in range(ROUNDS):
            start = time.perf_counter()
            for piece in pieces:
                jax.block_until_ready(program(piece))
            walls.append(time.perf_counter() - start)
    return numpy, len(several) / min(walls), compiling


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=10, help="simulated, of each kind; 0: none")
    parser.add_argument("--requests", type=int, default=4000, help="of a simulation")
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument(
        "--points", type=int, default=4 * PIECE, help="of the analytic model, of each kind; a multiple of 2048"
    )
    given = parser.parse_args()
    kinds = [(batching, loop) for batching in BATCHINGS for loop in LOOPS]
    if given.cases:
        print(f"{'batching':14} {'loop':7} {'s/case':>7} ", *(f"{name.removesuffix('_served'):>15}" for name in SHOWN))
        for batching, loop in kinds:
            several = cases(given.seed, batching, loop, given.cases)
            found, seconds = errors(several, loop == "closed", given.requests)
            pairs = zip(np.median(found, axis=0), np.quantile(found, 0.9, axis=0), strict=True)
            print(f"{batching:14} {loop:7} {seconds:7.2f} ", *(f"{a:8.1f} /{b:5.1f}" for a, b in pairs), flush=True)
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.2f}; {given.points} points")
    print(f"{'batching':14} {'loop':7} {'what':9} {'NumPy/s':>10} {'compiled/s':>10} {'compiling s':>11}")
    for batching, loop in kinds:
        several = cases(given.seed + 1, batching, loop, PIECE) * (given.points // PIECE)
        for what, name in ((means_alone, "means"), (server_cases.outputs, "quantiles")):
            numpy, compiled, compiling = speeds(several, batching, loop == "closed", what)
            print(f"{batching:14} {loop:7} {name:9} {numpy:10.3g} {compiled:10.3g} {compiling:11.1f}", flush=True)


if __name__ == "__main__":
    main()
