"""The analytic server beside the event-driven simulator: errors, and how long either takes.

    python benchmarks/bench_serving.py [--cases N] [--kind KIND] [--requests N] [--seed S] [--points N] [--rows]

errors: `CASES` random servers and loads, or N of each kind, as `tests/server_cases.py` draws them: prompts first, in
chunks, in a pool of their own; requests at random (at most 0.85 of what the server can do) and of users; every second
one with steps of the core model (DeepSeek-R1 on four kinds of chips). None is left out: equal outputs and full servers
are among them. Simulated are `requests` requests, fewer where they would be more than `STEPS` steps and more where many
are in flight. Median, and 90th percentile, of the absolute error of the analytic model [%], and simulated seconds of a
case. Open loops are compared at the rate of the requests that came. The lines below a kind are of parts of it: without
what section 11.9 of dsjax/MODEL.md calls known to be off (users of equal outputs), and what is full (a request finds no
room, with a chance of `FULL`).
speed: points per second of the analytic model on `points` such cases, float64, means alone (`ttft_mean`, `tpot_mean`,
rate, `latency_mean`) and with all quantiles; NumPy, and a compiled program without and with what it takes to compile
[s]: pieces of `PIECE` points, best of `ROUNDS`.

`--search`: `dsjax.best` of a grid of servers that is not held, of 1e6 to 1e9 configurations: most tokens a chip where
the mean (or the 99th percentile) of TTFT is within 2 s and that of TPOT within 50 ms; wall and CPU time, both with
compiling, points per second of either, and the largest resident memory. Axes: chip, tp, batching, lengths, users,
`max_batch`, `reserved_output`.
"""

import argparse
import os
import sys
import time
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import server_cases
from server_cases import BATCHINGS, LOOPS, POOLS

SHOWN = ("requests_per_s_served", "tpot_mean", "tpot_p50", "tpot_p90", "tpot_p99")
SHOWN += ("ttft_mean", "ttft_p50", "ttft_p90", "ttft_p99", "latency_mean", "latency_p90", "latency_p99")
KINDS = [(kind, loop) for kind in (*BATCHINGS, POOLS) for loop in LOOPS]
CASES = (34, 34, 34, 34, 32, 32)  # 200 of all kinds
PIECE, ROUNDS = 2048, 3
STEPS = 4e5  # of decode in a simulation, about
FEWEST, IN_FLIGHT = 600, 12.0  # requests of a simulation; the same over those in flight
FULL = 0.05


class Case(NamedTuple):
    """A case that was simulated."""

    errors: np.ndarray  # relative, of `SHOWN`
    seconds: float
    core: bool  # steps of the core model
    equal: bool  # users whose outputs are all equal
    full: bool  # requests of an open loop that find no room


def simulated(case, two, closed, requests, seed):
    """`Case`."""
    start = time.perf_counter()
    m, sizes = server_cases.analysed(case, two, closed)
    batch = max(float(m.batch[0]), 1.0)
    count = int(max(min(requests, STEPS * batch / sizes.steps[0]), IN_FLIGHT * batch, FEWEST))
    found = server_cases.compared(case, two, closed, count, seed)
    errors = np.array([found[name] for name in SHOWN])
    core = not isinstance(case.step, server_cases.Step)
    equal, full = closed and case.load.osl_cv == 0.0, not closed and float(m.room_chance[0]) > FULL
    return Case(errors, time.perf_counter() - start, core, equal, full)


def show(name, several):
    """Print a line of the table."""
    if several:
        absolute = 100.0 * np.abs([case.errors for case in several])
        pairs = zip(np.median(absolute, axis=0), np.quantile(absolute, 0.9, axis=0), strict=True)
        seconds = np.mean([case.seconds for case in several])
        print(f"{name:26} {len(several):3} {seconds:6.1f} ", *(f"{a:6.1f} /{b:5.1f}" for a, b in pairs), flush=True)


def agreement(counts, kinds, requests, seed, rows):
    """Print the table of errors."""
    print(f"{'kind':26} {'':3} {'s/case':>6} ", *(f"{name.removesuffix('_per_s_served'):>13}" for name in SHOWN))
    every = {loop: [] for loop in LOOPS}
    for (kind, loop), count in zip(KINDS, counts, strict=True):
        if kind not in kinds:
            continue
        drawn = enumerate(server_cases.seeded(kind, loop, count, seed))
        found = [simulated(case, two, loop == "closed", requests, i) for i, (case, two) in drawn]
        for i, case in enumerate(found) if rows else ():
            print(f"  {i:3} {'core' if case.core else '':5}", *(f"{100.0 * x:6.1f}" for x in case.errors))
        show(f"{kind}, {loop}", found)
        show("  simple steps", [case for case in found if not case.core])
        show("  steps of the core model", [case for case in found if case.core])
        show("  without equal outputs", [case for case in found if not case.equal] if loop == "closed" else [])
        show("  full", [case for case in found if case.full])
        every[loop] += found
    for loop, found in every.items():
        show(f"all, {loop}", found)
        show("  neither", [case for case in found if not case.equal and not case.full])


def cases(seed, batching, loop, count):
    rng = np.random.default_rng([seed, BATCHINGS.index(batching), LOOPS.index(loop)])
    return [server_cases.drawn(rng, batching, loop) for _ in range(count)]


def means_alone(case, closed):
    m, _, _ = server_cases.means(case, closed)
    rate = m.rate if closed else case.amount
    return m.ttft, m.tpot, rate, m.ttft + m.batch / rate


def compiler_options():
    """As `evaluation.servers` has them compiled."""
    return {"xla_cpu_use_fusion_emitters": True}


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
        program = jax.jit(of, compiler_options=compiler_options())
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
    parser.add_argument("--cases", type=int, help="simulated, of each kind; 0: none; else the 200")
    parser.add_argument("--kind", choices=(*BATCHINGS, POOLS), help="simulated; else all")
    parser.add_argument("--requests", type=int, default=4000, help="of a simulation")
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--rows", action="store_true", help="errors of every case")
    parser.add_argument(
        "--points", type=int, default=4 * PIECE, help="of the analytic model, of each kind; a multiple of 2048; 0: none"
    )
    given = parser.parse_args()
    counts = CASES if given.cases is None else (given.cases,) * len(KINDS)
    if max(counts) > 0:
        kinds = (given.kind,) if given.kind else (*BATCHINGS, POOLS)
        agreement(counts, kinds, given.requests, given.seed, given.rows)
    if not given.points:
        return
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.2f}; {given.points} points")
    print(f"{'batching':14} {'loop':7} {'what':9} {'NumPy/s':>10} {'compiled/s':>10} {'compiling s':>11}")
    for batching, loop in KINDS[:4]:
        several = cases(given.seed + 1, batching, loop, PIECE) * (given.points // PIECE)
        for what, name in ((means_alone, "means"), (server_cases.outputs, "quantiles")):
            numpy, compiled, compiling = speeds(several, batching, loop == "closed", what)
            print(f"{batching:14} {loop:7} {name:9} {numpy:10.3g} {compiled:10.3g} {compiling:11.1f}", flush=True)


if __name__ == "__main__":
    main()
