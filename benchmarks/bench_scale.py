"""Scale: searches that hold no grid, start-up, files, floors, and a peer, in one run; results as JSON.

    python benchmarks/bench_scale.py [--quick] [-o FILE.json] [--peer PYTHON]

- stream      `dsjax.best` of the study `decode_gpu_2025` and of the core model over 1e8 to 1e10 points, never
              materialised, float32; every axis changes the step time or the memory. slope: growth of the time from
              1e8 points on, d log t / d log n
- counts      feasible points and refusals per constraint of the same grid
- full rank   14 variables of the study at every point (`--quick`: left out), beside a copy of as many bytes
- netcdf      a Dataset of 1.2e7 points to a file
- start       `dsjax --help`, and `dsjax sweep` with an empty and a warm compilation cache, as processes
- loop        the study's formulas in plain Python, one core (bench_grid.py has them)
- peer        configurations per second of `aiconfigurator` in its own environment (`--peer /path/to/its/python`):
              tables loaded, in process, decode of DeepSeek-V3; skipped where it is not installed

Every measurement is a process of its own. wall: median of the runs after the first [s]; cpu: of all threads; peak:
largest resident memory [MB]; load: of the machine when the row started.
"""

import argparse
import importlib.metadata
import json
import math
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

LONG = {"context": {"start": 1024, "stop": 65536, "step": 1024}, "batch": {"start": 8, "stop": 1024, "step": 8}}
SCALES = {"1e8": (2, 16), "1e9": (16, 16), "1e10": (160, 16)}  # values of the NIC's and of the memory's bandwidth
FULL = "step_time tpot tps_per_user tps_per_chip tps_total memory_per_chip mfu mbu busy_compute busy_memory".split()
FULL += "busy_network exposed_compute exposed_memory exposed_network".split()


def spread(low, high, n):
    """`n` values from low to high as a grid file has them."""
    return {"start": low, "stop": high, "step": (high - low) / (n - 1)}


def space(model, scale):
    """A grid in which every axis changes the step time or the memory."""
    from dsjax import grid

    nic, hbm = SCALES[scale]
    axes = {"nic_scale_out_bytes_per_s": spread(1e10, 1e11, nic), "hardware_hbm_bytes_per_s": spread(1e12, 8e12, hbm)}
    if model == "study":
        axes = {"ep": {"start": 32, "stop": 320, "step": 32}} | axes | LONG
        return grid.load("decode_gpu_2025", axes=axes, fixed={"nic": "CX7"}, any_size=True)
    axes = {"hardware": ["H800", "H20", "H200", "B200"], "ep": [64, 72, 144, 256, 320]} | axes | LONG
    return grid.load("default", axes=axes, fixed={"nic": "CX7", "pipeline": "dual-mbatch"}, any_size=True)


def timed(call, least=3, seconds=5.0):
    """Record of a call: the first time, then the median of at least `least` runs."""
    start = time.perf_counter()
    call()
    first, walls, cpus = time.perf_counter() - start, [], []
    while len(walls) < least or (sum(walls) < seconds and len(walls) < 30):
        cpu, wall = time.process_time(), time.perf_counter()
        call()
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    wall = statistics.median(walls)
    return {"wall": wall, "cpu": statistics.median(cpus), "first": first, "runs": len(walls)}


def stream(model, scale):
    from dsjax import streams

    grid = space(model, scale)
    record = timed(lambda: streams.best(grid, by=("hardware",), dtype="float32"), least=2 if scale == "1e10" else 3)
    return record | {"points": grid.points, "points/s": grid.points / record["wall"]}


def counts(model, scale):
    from dsjax import streams

    grid = space(model, scale)
    record = timed(lambda: streams.counted(grid, "float32"), least=2)
    return record | {"points": grid.points, "points/s": grid.points / record["wall"]}


def full_rank():
    """14 variables at every point, into arrays that are there already, beside a copy of as many bytes."""
    import numpy as np

    from dsjax import evaluate, grid

    axes = {"ep": {"start": 32, "stop": 320, "step": 32}} | LONG
    axes |= {"context": {"start": 1024, "stop": 16384, "step": 1024}}
    whole = grid.load("decode_gpu_2025", axes=axes)
    shape = tuple(whole.sizes.values())
    out = {name: np.zeros(shape, np.float32) for name in FULL}
    other = {name: np.zeros(shape, np.float32) for name in FULL}

    def call():
        for name, (dims, array) in evaluate.evaluate(whole, "float32", FULL).items():
            out[name][...] = array.reshape([whole.sizes[axis] if axis in dims else 1 for axis in whole.axes])

    def copy():
        for name in FULL:
            other[name][...] = out[name]

    native = timed(lambda: evaluate.evaluate(whole, "float32", FULL))
    record, floor = timed(call), timed(copy)
    n_bytes = 2 * sum(array.nbytes for array in out.values())  # read and written
    return record | {
        "points": whole.points,
        "points/s": whole.points / record["wall"],
        "native points/s": whole.points / native["wall"],
        "copy bytes/s": n_bytes / floor["wall"],
        "share of the copy": floor["wall"] / record["wall"],
    }


def netcdf():
    import dsjax

    axes = {"batch": {"start": 1, "stop": 512, "step": 1}, "context": spread(1024, 16384, 81)}
    ds = dsjax.sweep("decode_gpu_2025", axes=axes, dtype="float32", blocks=False)
    points = math.prod(ds.sizes[axis] for axis in ds.step_time.dims)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.nc"
        record = timed(lambda: dsjax.write_netcdf(ds, path, force=True))
        size = path.stat().st_size
    return record | {"points": points, "bytes": ds.nbytes, "file bytes": size, "bytes/s": ds.nbytes / record["wall"]}


def start(what):
    """A command as a process; `cold`: with an empty compilation cache."""
    command = [sys.executable, "-m", "dsjax", *(["--help"] if what == "help" else ["sweep", "--quiet"])]
    with tempfile.TemporaryDirectory() as folder:
        env = os.environ | {"XDG_CACHE_HOME": folder}

        def call():
            subprocess.run(command, env=env, check=True, stdout=subprocess.DEVNULL)

        if what != "cold":
            return timed(call)
        wall = time.perf_counter()
        call()
        return {"wall": time.perf_counter() - wall, "runs": 1}


PEER = """
import json, time
from aiconfigurator.sdk import common, config, models
from aiconfigurator.sdk.backends.factory import get_backend
from aiconfigurator.sdk.inference_session import InferenceSession
from aiconfigurator.sdk.perf_database import get_database
name, system, backend = "deepseek-ai/DeepSeek-V3", "h200_sxm", "trtllm"
import os
versions = __import__("aiconfigurator.sdk.perf_database", fromlist=["x"]).get_latest_database_version(system, backend)
database = get_database(system=system, backend=backend, version=versions)
setting = config.ModelConfig(tp_size=1, pp_size=1, moe_tp_size=1, moe_ep_size=8, attention_dp_size=8,
    gemm_quant_mode=common.GEMMQuantMode.fp8_block, moe_quant_mode=common.MoEQuantMode.fp8_block,
    kvcache_quant_mode=common.KVCacheQuantMode.float16, fmha_quant_mode=common.FMHAQuantMode.float16,
    comm_quant_mode=common.CommQuantMode.half)
model = models.get_model(name, setting, backend)
session = InferenceSession(model, database, get_backend(backend))
def once(batch, isl):
    return session.run_static(config.RuntimeConfig(batch_size=batch, beam_width=1, isl=isl, osl=2), mode="static_gen")
once(8, 1024)
start, n = time.perf_counter(), 0
while time.perf_counter() - start < 5.0:
    once(1 + n % 128, 1024 + 8 * (n % 500))
    n += 1
print(json.dumps({"configurations/s": n / (time.perf_counter() - start)}))
"""


def peer(python):
    if python is None:
        return {"skipped": "no environment of it was named: --peer /path/to/python"}
    done = subprocess.run([python, "-c", PEER], capture_output=True, text=True, check=False)
    if done.returncode:
        return {"skipped": (done.stderr.strip().splitlines() or ["it failed"])[-1]}
    return json.loads(done.stdout.splitlines()[-1])


def loop():
    """Points per second of bench_grid's plain Python loop."""
    done = subprocess.run(
        [sys.executable, str(Path(__file__).parent / "bench_grid.py"), "--row", "loop", "1e3", "float64"],
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


ROWS = {"stream": stream, "counts": counts, "full rank": full_rank, "netcdf": netcdf, "start": start}


def machine():
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()
    versions = {name: importlib.metadata.version(name) for name in ("jax", "jaxlib", "numpy", "xarray", "netcdf4")}
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"platform": platform.platform(), "cores": cores, "python": platform.python_version()} | {
        "versions": versions,
        "commit": commit,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="without the largest grids")
    parser.add_argument("-o", "--output", metavar="FILE.json")
    parser.add_argument("--peer", metavar="PYTHON")
    parser.add_argument("--row", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.row:
        record = ROWS[options.row[0]](*options.row[1:])
        scale = 1 if sys.platform == "darwin" else 1024
        print(json.dumps(record | {"peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale / 1e6}))
        return
    scales = list(SCALES)[:2] if options.quick else list(SCALES)
    rows = [["stream", model, scale] for model in ("study", "core") for scale in scales]
    rows += [["counts", "study", scales[-1]], ["netcdf"]] + ([] if options.quick else [["full rank"]])
    rows += [["start", what] for what in ("help", "cold", "warm")]
    results = []
    for row in rows:
        load = os.getloadavg()[0]
        command = [sys.executable, __file__, "--row", *row]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"{' '.join(row)}: {done.stderr.strip()}")
        record = {"row": " ".join(row), "load": load} | json.loads(done.stdout.splitlines()[-1])
        results.append(record)
        print("  ".join(f"{k} {v:.3g}" if isinstance(v, float) else f"{k} {v}" for k, v in record.items()), flush=True)
    results += [{"row": "loop"} | loop(), {"row": "peer"} | peer(options.peer)]
    for record in results[-2:]:
        print("  ".join(f"{k} {v:.3g}" if isinstance(v, float) else f"{k} {v}" for k, v in record.items()), flush=True)
    ratios = compared(results)
    for name, value in ratios.items():
        print(f"{name}: {value:,.3g}")
    if options.output:
        text = json.dumps({"machine": machine(), "results": results, "ratios": ratios}, indent=2)
        Path(options.output).write_text(text + "\n", encoding="utf-8")


def compared(results):
    """Ratios of one run."""
    rate = {record["row"]: record.get("points/s", record.get("configurations/s")) for record in results}
    ratios = {}
    for model in ("study", "core"):
        walls = [(r["points"], r["wall"]) for r in results if r["row"].startswith(f"stream {model}")]
        (n, t), (m, s) = walls[0], walls[-1]
        ratios[f"slope of the time, {model}"] = math.log(s / t) / math.log(m / n)
        best = max(value for row, value in rate.items() if row.startswith(f"stream {model}"))
        ratios[f"{model} / loop"] = best / rate["loop"]
        if rate["peer"]:
            ratios[f"{model} / peer"] = best / rate["peer"]
    return ratios


if __name__ == "__main__":
    main()
