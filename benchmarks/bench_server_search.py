"""A search of servers that are not held: how long it takes, and how much memory.

    python benchmarks/bench_server_search.py 1e6|1e7|1e8|1e9 [--limit means|p99]

DeepSeek-R1 on 16 chips of four kinds, tensor parallelism over one box or two, both ways of batching, lengths, users,
limits on the sequences: the best tokens per second and chip within a limit on the mean, or on the 99th percentile, of
the first token and of the time of a token. Points per second of wall time and of the time of all cores; the largest
memory of the process.
"""

import argparse
import os
import resource
import time

BATCHINGS = ("prefill-first", "chunked")
# Lengths of the axes isl, osl, concurrency, max_batch and reserved_output; chip, tp and batching have 4, 2 and 2.
SCALES = {
    "1e6": (4, 4, 256, 16, 1),
    "1e7": (4, 4, 256, 16, 10),
    "1e8": (8, 8, 512, 20, 10),
    "1e9": (16, 16, 1000, 25, 10),
}


def space(scale, limit):
    """Grid of servers of so many configurations."""
    from dsjax.space import grid

    isl, osl, users, batch, reserved = SCALES[scale]
    axes = {
        "hardware": ["H20", "H200", "H800", "B200"],
        "tp": [8, 16],
        "batching": list(BATCHINGS),
        "isl": [512 * (i + 1) for i in range(isl)],
        "osl": [128 * (i + 1) for i in range(osl)],
        "concurrency": [2 * (i + 1) for i in range(users)],
        "max_batch": [32 * (i + 1) for i in range(batch)],
        "reserved_output": [i / 10 for i in range(reserved)],
    }
    name = "" if limit == "means" else f"_{limit}"
    text = {"model": "DeepSeek-R1", "phase": "serve", "axes": axes, "fixed": {"nic": "CX7", "chips": 16}}
    text |= {"constraints": {f"max_ttft{name}": 2.0, f"max_tpot{name}": 0.05}}
    return grid.load(text | {"objective": {"maximize": "tps_per_chip"}}, any_size=True)


def search(scale, limit):
    """Prints what a search of so many configurations takes."""
    from dsjax.search import slabwise

    grid = space(scale, limit)
    wall, cpu = time.perf_counter(), time.process_time()
    found = slabwise.best(grid)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0
    print(f"{grid.points:.3g} points, {limit}: {wall:.1f} s, {grid.points / wall:.3g}/s; CPU {cpu:.1f} s,", end=" ")
    print(f"{grid.points / cpu:.3g}/s; {memory:.0f} MB; {found['tps_per_chip'].values[0]:.6g} tokens/s per chip")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("configurations", choices=SCALES)
    parser.add_argument("--limit", choices=("means", "p99"), default="means")
    given = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.2f}")
    search(given.configurations, given.limit)


if __name__ == "__main__":
    main()
