"""Fleets for a demand: configurations, seconds cold and warm, and how many of them are evaluated; one process.

    python benchmarks/bench_fleets.py [--quick] [-o FILE.json]      (--quick: eight chips in place of all)

The question: 100 requests/s of 8,192 + 1,024 tokens of DeepSeek-R1, TTFT within 2 s and TPOT within 50 ms for 99 % of
the requests, any chip of the catalog, aggregated or not, pools of unlike chips too; every tp of 1 to 16, 8 to 64 chips
an instance, 0, 1 and 3 drafts; and the same of 5,000 users. A configuration is a layout of aggregated instances or a
pair of layouts of two pools, with whatever number of instances. cold: the first question of this kind in the process,
warm: the second one; cpu: of all threads, warm.

- search       all of `dsjax.fleets`, tables of steps and the Dataset included
- evaluated    fleets whose means or quantiles were evaluated in the warm run, and the seconds that took
- evaluation   fleets per second of the evaluation alone: aggregated instances and pairs, means and quantiles
"""

import argparse
import json
import os
import platform
import time

import numpy as np

import dsjax
from dsjax.analysis.fleet import answers, demand, spaces

ASKED = {"isl": 8192, "osl": 1024, "max_ttft": 2, "max_tpot": 0.05, "percentile": 99}
LAYOUTS = {"model": "DeepSeek-R1", "nic": "CX7", "axes": {"mtp": [0, 1, 3]}}
DEMANDS = {"100 requests/s": {"requests_per_s": 100}, "5,000 users": {"concurrency": 5000}}
FEW = ["H20", "H100", "H200", "H800", "B200", "B300", "MI300X", "MI355X"]


class Evaluated:
    """Counts what is evaluated, and the seconds of it, while it is entered."""

    def __init__(self):
        self.fleets, self.seconds, self.was = 0, 0.0, {}

    def __enter__(self):
        for cls in (answers.Servers, answers.Pools):
            self.was[cls] = cls.at
            cls.at = self.counted(cls.at)
        return self

    def counted(self, at):
        def counting(*args, **named):
            start = time.perf_counter()
            found = at(*args, **named)
            self.seconds += time.perf_counter() - start
            self.fleets += len(next(iter(found.values())))
            return found

        return counting

    def __exit__(self, *_):
        for cls, at in self.was.items():
            cls.at = at


def timed(function):
    start = time.perf_counter()
    found = function()
    return found, time.perf_counter() - start


def question(words, asked, hardware):
    """Row of one question."""
    given = ASKED | LAYOUTS | asked | {"hardware": hardware}
    _, cold = timed(lambda: dsjax.fleets(**given))
    cpu = time.process_time()
    with Evaluated() as counted:
        ds, warm = timed(lambda: dsjax.fleets(**given))
    cpu, counts = time.process_time() - cpu, json.loads(ds.attrs["configurations"])
    best = {kind: ds.isel(rank=np.flatnonzero(ds.kind == kind)[0]) for kind in set(ds.kind.values.tolist())}
    return {
        "row": words,
        "configurations": sum(counts.values()),
        "cold_s": cold,
        "warm_s": warm,
        "cpu_s": cpu,
        "evaluated": counted.fleets,
        "evaluation_s": counted.seconds,
        "configurations_per_s": sum(counts.values()) / warm,
        "rows": ds.sizes["rank"],
        "best": {kind: f"{float(row.chips):.0f} {row.hardware.item()}" for kind, row in best.items()},
    }


def evaluation(hardware, number):
    """Rows of the evaluation alone: random layouts and loads that an instance can take."""
    asked = demand.question({name: ASKED[name] for name in ("isl", "osl")} | {"requests_per_s": 100})
    grids = spaces.of_catalog("DeepSeek-R1", hardware, "CX7", None, None)
    of = spaces.loaded(grids, asked, axes=LAYOUTS["axes"])
    rng = np.random.default_rng(0)
    servers, pools = answers.Servers(of["aggregated"], {}), answers.Pools(of["disaggregated"], {})
    layouts = rng.integers(0, servers.layouts.number, number)
    rates = rng.uniform(0.1, 2.0, number)
    i, j = (rng.integers(0, layouts.number, number) for layouts in pools.layouts.values())
    counts = rng.integers(20, 200, number), rng.integers(5, 60, number)
    rows = []
    for quantiles in (False, True):
        for kind, at in (
            ("aggregated", lambda q=quantiles: servers.at(layouts, rates, q)),
            ("disaggregated", lambda q=quantiles: pools.at(i, j, 100.0, counts, q)),
        ):
            at()
            _, seconds = timed(at)
            what = "means and quantiles" if quantiles else "means"
            rows.append({"row": f"{kind}, {what}", "fleets_per_s": number / seconds})
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="eight chips in place of all")
    parser.add_argument("-o", "--output", help="results as JSON")
    options = parser.parse_args()
    hardware = FEW if options.quick else None
    found = {"machine": platform.machine(), "cores": len(os.sched_getaffinity(0)), "load": os.getloadavg()[0]}
    found["questions"] = [question(words, asked, hardware) for words, asked in DEMANDS.items()]
    found["evaluation"] = evaluation(hardware, 2**11 if options.quick else 2**13)
    for row in found["questions"]:
        best = ", ".join(f"{kind} {text}" for kind, text in sorted(row["best"].items()))
        print(
            f"{row['row']}: {row['configurations']:,} configurations, {row['configurations_per_s']:,.0f}/s; best {best}"
        )
        print(f"  {row['cold_s']:.2f} s cold, {row['warm_s']:.2f} s warm ({row['cpu_s']:.2f} s of CPU)")
        print(f"  evaluated: {row['evaluated']:,} fleets in {row['evaluation_s']:.2f} s; {row['rows']:,} rows")
    for row in found["evaluation"]:
        print(f"{row['row']}: {row['fleets_per_s']:,.0f} fleets/s evaluated")
    print(f"({found['cores']} cores, load {found['load']:.1f} at the start)")
    if options.output:
        with open(options.output, "w", encoding="utf-8") as file:
            json.dump(found, file, indent=1)


if __name__ == "__main__":
    main()
