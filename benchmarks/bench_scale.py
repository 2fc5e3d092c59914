"""Scale: searches that hold no grid, start-up, files, floors, and a peer, in one run; results as JSON.

    python benchmarks/bench_scale.py [--quick] [-o FILE.json] [--peer PYTHON]

- stream      `dsjax.best` of the study `decode_gpu_2025` (1e4 to 1e10 points) and of the core model (1e8 on), never
              materialised, float32; every axis changes the step time or the memory. slope: growth of the time above
              1e7 points, d log t / d log n
- counts      feasible points and refusals per constraint of the largest grid
- workers     `dsjax.best` of the largest grid of the core model by one and by two dask workers of one core each
- full rank   14 variables of the study at every point, beside a copy of as many bytes and the variables' own dims
- broadcast   all variables of the study by NumPy over named axes
- gradients   ten elasticities at every point, of the study and of the core model
- netcdf      a Dataset of 1.2e7 points to a file
- first       rows of first_calls.py: every question in a fresh interpreter, every command as a process
- compile     CPU seconds until a compiled program of the core model is there: all variables, ten derivatives
- grid        rows of bench_grid.py: the formulas in plain Python and in NumPy on flat arrays, one core; all variables
              of the study and of the core model at their own dims
- peer        configurations per second of `aiconfigurator` in its own environment (`--peer /path/to/its/python`):
              in process with tables loaded, decode of DeepSeek-V3; and of its own sweep command, from its log;
              skipped where it is not installed

`--quick`: without the largest grids, full rank, broadcast and workers. first: the first call, compiling [s].
Every measurement is a process of its own. wall: median of the runs after the first [s]; cpu: of all threads; peak:
largest resident memory [MB]; load: of the machine when the row started.
"""

import argparse
import concurrent.futures
import contextvars
import importlib.metadata
import json
import math
import os
import platform
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import first_calls

LONG = {"context": {"start": 1024, "stop": 65536, "step": 1024}, "batch": {"start": 8, "stop": 1024, "step": 8}}
# Values of the NIC's and of the memory's bandwidth, of the context and of the batch.
SCALES = {
    "1e4": (1, 1, 4, 8),
    "1e5": (1, 1, 16, 16),
    "1e6": (1, 1, 32, 64),
    "1e7": (1, 2, 64, 128),
    "1e8": (2, 16, 64, 128),
    "1e9": (16, 16, 64, 128),
    "1e10": (160, 16, 64, 128),
}
FULL = "step_time tpot tps_per_user tps_per_chip tps_total memory_per_chip mfu mbu busy_compute busy_memory".split()
FULL += "busy_network exposed_compute exposed_memory exposed_network".split()


def spread(low, high, n):
    """`n` values from low to high as a grid file has them."""
    return {"start": low, "stop": high, "step": (high - low) / (n - 1)} if n > 1 else [low]


def space(model, scale):
    """A grid in which every axis changes the step time or the memory."""
    import bench_grid

    from dsjax.space import grid

    nic, hbm, contexts, batches = SCALES[scale]
    axes = {"nic_scale_out_bytes_per_s": spread(1e10, 1e11, nic), "hardware_hbm_bytes_per_s": spread(1e12, 8e12, hbm)}
    long = {"context": LONG["context"] | {"stop": 1024 * contexts}, "batch": LONG["batch"] | {"stop": 8 * batches}}
    if model == "study":
        axes = {"ep": {"start": 32, "stop": 320, "step": 32}} | axes | long
        return grid.load("decode_gpu_2025", axes=axes, fixed={"nic": "CX7"}, any_size=True)
    axes = {"hardware": ["H800", "H20", "H200", "B200"], "ep": [64, 72, 144, 256, 320]} | axes | long
    return grid.load(bench_grid.SEVEN_CHIPS, axes=axes, fixed={"nic": "CX7", "pipeline": "dual-mbatch"}, any_size=True)


def _cpu_seconds():
    """Of this process and of those it has waited for, all threads."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in used)


def timed(call, least=3, seconds=5.0):
    """Record of a call: the first time, then the median of at least `least` runs."""
    start = time.perf_counter()
    call()
    first, walls, cpus = time.perf_counter() - start, [], []
    while len(walls) < least or (sum(walls) < seconds and len(walls) < 30):
        cpu, wall = _cpu_seconds(), time.perf_counter()
        call()
        walls.append(time.perf_counter() - wall)
        cpus.append(_cpu_seconds() - cpu)
    wall = statistics.median(walls)
    return {"wall": wall, "cpu": statistics.median(cpus), "first": first, "runs": len(walls)}


def stream(model, scale):
    from dsjax import machine
    from dsjax.search import streaming

    machine.keep_pages()
    grid = space(model, scale)
    record = timed(lambda: streaming.best(grid, by=("hardware",), dtype="float32"), least=2 if scale == "1e10" else 3)
    return record | {"points": grid.points, "points/s": grid.points / record["wall"]}


def counts(model, scale):
    from dsjax.search import streaming

    grid = space(model, scale)
    record = timed(lambda: streaming.counted(grid, "float32"), least=2)
    return record | {"points": grid.points, "points/s": grid.points / record["wall"]}


def full_rank():
    """14 variables at every point, into arrays that are there already, beside a copy of as many bytes.

    Both by as many threads as there are cores; the arrays are the same in every run.
    """
    import numpy as np

    from dsjax import evaluation, machine
    from dsjax.space import grid
    from dsjax.sweeps import slabs

    machine.keep_pages()
    whole = grid.load("decode_gpu_2025", axes={"ep": {"start": 32, "stop": 320, "step": 32}} | LONG)
    cut, threads = slabs.cut(whole, 2**21), len(_cores())
    out, other = ({name: np.zeros(tuple(whole.sizes.values()), np.float32) for name in FULL} for _ in range(2))

    def place(index):
        window = cut.window(index)
        return tuple(window.get(axis, slice(None)) for axis in whole.axes)

    def fill(index):
        for name, (dims, array) in slabs.evaluated(cut, index, "float32", FULL).items():
            sizes = dict(zip(dims, array.shape))
            out[name][place(index)] = array.reshape([sizes.get(axis, 1) for axis in whole.axes])

    def copy(index):
        for name in FULL:
            other[name][place(index)] = out[name][place(index)]

    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        with evaluation.compiled():  # of which a thread knows nothing by itself
            contexts = [contextvars.copy_context() for _ in range(cut.number)]
        record = timed(lambda: list(pool.map(lambda i: contexts[i].run(fill, i), range(cut.number))))
        floor = timed(lambda: list(pool.map(copy, range(cut.number))))
    assert all(array.any() for array in other.values())
    native = timed(lambda: evaluation.evaluate(whole, "float32", FULL, compiled=True))
    n_bytes = 2 * sum(array.nbytes for array in out.values())  # read and written
    return record | {
        "points": whole.points,
        "points/s": whole.points / record["wall"],
        "points per cpu-s": whole.points / record["cpu"],
        "native points/s": whole.points / native["wall"],
        "native points per cpu-s": whole.points / native["cpu"],
        "copy bytes/s": n_bytes / floor["wall"],
        "share of the copy": floor["wall"] / record["wall"],
        "share of the copy, cpu": floor["cpu"] / record["cpu"],
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


def first(*row):
    """One row of first_calls.py: `cold` before it where caches are empty."""
    return first_calls.measured(row[-1], cold=row[0] == "cold")


def compiling(what):
    """CPU seconds of the first call of a compiled program less those of a warm one; core model, 1e7 and 1e6 points.

    JAX has started, and compiled something, before.
    """
    import bench_gradients
    import bench_grid

    from dsjax import evaluation, machine
    from dsjax.space import grid

    machine.keep_pages()
    evaluation.evaluate(grid.load("decode_gpu_2025"), "float32", compiled=True)
    asked, space_ = {}, grid.load(bench_grid.SEVEN_CHIPS, axes=bench_grid.CORE)
    if what == "derivatives":
        _, space_, names = list(bench_gradients.spaces(False))[-1]
        asked = bench_gradients.asked(space_, names)
    seconds = []
    for _ in range(4):
        cpu = _cpu_seconds()
        evaluation.evaluate(space_, "float32", **asked, compiled=True)
        seconds.append(_cpu_seconds() - cpu)
    return {"cpu": seconds[0] - statistics.median(seconds[1:]), "points": space_.points}


PEER = """
import json, time
from aiconfigurator.sdk import common, config
from aiconfigurator.sdk.backends.factory import get_backend
from aiconfigurator.sdk.inference_session import InferenceSession
from aiconfigurator.sdk.models import get_model
from aiconfigurator.sdk.perf_database import get_database, get_latest_database_version
system, backend = "h200_sxm", "trtllm"
database = get_database(system, backend, get_latest_database_version(system, backend))
setting = config.ModelConfig(tp_size=1, pp_size=1, moe_tp_size=1, moe_ep_size=8, attention_dp_size=8,
    gemm_quant_mode=common.GEMMQuantMode.fp8_block, moe_quant_mode=common.MoEQuantMode.fp8_block,
    kvcache_quant_mode=common.KVCacheQuantMode.bfloat16, fmha_quant_mode=common.FMHAQuantMode.bfloat16,
    comm_quant_mode=common.CommQuantMode.half)
session = InferenceSession(get_model("deepseek-ai/DeepSeek-V3", setting, backend), database, get_backend(backend))
def once(batch, isl):
    return session.run_static(config.RuntimeConfig(batch_size=batch, beam_width=1, isl=isl, osl=2), mode="static_gen")
once(8, 1024)
start, n = time.perf_counter(), 0
while time.perf_counter() - start < 5.0:
    once(1 + n % 128, 1024 + 8 * (n % 500))
    n += 1
print(json.dumps({"points/s": n / (time.perf_counter() - start)}))
"""
PEER_SWEEP = (
    "cli default --model deepseek-ai/DeepSeek-V3 --backend trtllm --total-gpus 32 --system h200_sxm --ttft 3000"
)
PEER_SWEEP += " --tpot 50 --isl 4096 --osl 1024"


def peer(what, python=None):
    """`aiconfigurator`: configurations per second in process, tables loaded; or of its own sweep command."""
    if python is None:
        return {"skipped": "no environment of it was named: --peer /path/to/its/python"}
    command = [python, "-W", "ignore", "-c", PEER]
    if what == "sweep":
        command = [str(Path(python).parent / "aiconfigurator"), *PEER_SWEEP.split()]
    try:
        with tempfile.TemporaryDirectory() as folder:
            more, wall = (["--save-dir", folder] if what == "sweep" else []), time.perf_counter()
            done = subprocess.run([*command, *more], capture_output=True, text=True, check=False)
            wall = time.perf_counter() - wall
    except OSError as error:
        return {"skipped": str(error)}
    if done.returncode:
        return {"skipped": (done.stderr.strip().splitlines() or ["it failed"])[-1]}
    if what == "process":
        return json.loads(done.stdout.splitlines()[-1])
    return swept(done.stdout + done.stderr) | {"whole command": wall}


def swept(text):
    """Configurations per second of the peer's sweep of one deployment, from the times in its log."""
    line = r"^(\d+):(\d+):(\d+) .*"
    began = re.search(line + "Starting experiment: agg", text, re.MULTILINE)
    ended = re.search(line + r"Experiment agg completed with (\d+) results", text, re.MULTILINE)
    if not (began and ended):
        return {"skipped": "its log tells no number of configurations"}
    (h, m, s), (*end, n) = (list(map(int, match.groups())) for match in (began, ended))
    seconds = max(1, (end[0] - h) % 24 * 3600 + (end[1] - m) * 60 + end[2] - s)
    return {"points": n, "wall": seconds, "points/s": n / seconds}


def grid_row(*row):
    """A row of bench_grid.py: the plain Python loop, NumPy on flat arrays, all variables at their own dims."""
    script = str(Path(__file__).parent / "bench_grid.py")
    done = subprocess.run([sys.executable, script, "--row", *row], capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def broadcast():
    """The study's formulas by NumPy, broadcast over the named axes: what answers for small grids, on a large one."""
    from dsjax import evaluation
    from dsjax.space import grid

    whole = grid.load("decode_gpu_2025", axes=LONG)
    record = timed(lambda: evaluation.evaluate(whole, "float32", compiled=False), seconds=2.0)
    return record | {"points": whole.points, "points/s": whole.points / record["wall"]}


def gradients(model):
    """One variable, the bottleneck, feasibility and ten elasticities at every point, forward mode."""
    import bench_gradients as b

    from dsjax import evaluation, machine

    machine.keep_pages()
    name = {"study": "study, batch last", "core": "core, batch last"}[model]
    whole, parameters = next((s, p) for n, s, p in b.spaces(False) if n == name)
    record = timed(lambda: evaluation.evaluate(whole, "float32", **b.asked(whole, parameters), compiled=True))
    return record | {"points": whole.points, "points/s": whole.points / record["wall"]}


def workers(number):
    """A streamed search of the core model by dask workers of one thread and one core each, largest grid."""
    import distributed

    from dsjax.search import streaming

    whole, cores = space("core", "1e10"), _cores()
    how = {"n_workers": int(number), "threads_per_worker": 1, "dashboard_address": None, "silence_logs": 50}
    with distributed.LocalCluster(**how) as cluster, distributed.Client(cluster) as client:
        client.run(_pin, cores)
        record = timed(lambda: streaming.best(whole, by=("hardware",), client=client), least=2, seconds=0.0)
    return record | {"points": whole.points, "points/s": whole.points / record["wall"]}


def _cores():
    """Cores this process may use."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count()))


def _pin(cores, dask_worker=None):
    """One core for each worker."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {cores[int(dask_worker.name) % len(cores)]})


ROWS = {
    "stream": stream,
    "counts": counts,
    "full rank": full_rank,
    "netcdf": netcdf,
    "first": first,
    "compile": compiling,
    "grid": grid_row,
    "broadcast": broadcast,
    "gradients": gradients,
    "workers": workers,
    "peer": peer,
}


def about():
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
        print(json.dumps({"peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale / 1e6} | record))
        return
    results, began = [], time.perf_counter()
    for row in rows_of(options.quick, options.peer):
        load = os.getloadavg()[0]
        command = [sys.executable, "-W", "ignore", __file__, "--row", *row]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        found = {"failed": (done.stderr.strip().splitlines() or [str(done.returncode)])[-1]}
        if not done.returncode:
            found = json.loads(done.stdout.splitlines()[-1])
        name = " ".join(row[:2] if row[0] == "peer" else row)
        record = {"row": name, "load": load} | {key: value for key, value in found.items() if key != "row"}
        results.append(record)
        print("  ".join(f"{k} {v:.3g}" if isinstance(v, float) else f"{k} {v}" for k, v in record.items()), flush=True)
    ratios = compared(results)
    for name, value in ratios.items():
        print(f"{name}: {value:,.4g}")
    print(f"{time.perf_counter() - began:.0f} s, load {os.getloadavg()[0]:.2f}")
    if options.output:
        text = json.dumps({"machine": about(), "results": results, "ratios": ratios}, indent=2)
        Path(options.output).write_text(text + "\n", encoding="utf-8")
    sys.exit(1 if any("failed" in record for record in results) else 0)


def rows_of(quick, python):
    """The arguments of every measurement."""
    most = "1e9" if quick else "1e10"
    rows = [["stream", "study", scale] for scale in SCALES if float(scale) <= float(most)]
    rows += [["stream", "core", scale] for scale in SCALES if 1e8 <= float(scale) <= float(most)]
    rows += [["counts", "study", most], ["netcdf"], ["gradients", "study"]]
    rows += [["compile", what] for what in ("values", "derivatives")] + [["grid", "loop", "1e3", "float64"]]
    rows += [["first", "cold", "Python: sweep"], ["first", "cold", "dsjax sweep"]]
    rows += [["first", name] for name in first_calls.NAMES]
    if not quick:
        rows += [["full rank"], ["broadcast"], ["gradients", "core"], ["workers", "1"], ["workers", "2"]]
        rows += [["grid", row, "1e7", "float32"] for row in ("numpy", "dsjax long", "core")]
    return rows + [["peer", what, *([python] if python else [])] for what in ("process", "sweep")]


def compared(results):
    """Ratios of one run."""
    rate = {record["row"]: record["points/s"] for record in results if "points/s" in record}
    wall = {record["row"]: record["wall"] for record in results if "wall" in record}
    ratios = {}
    for model in ("study", "core"):
        found = [r for r in results if r["row"].startswith(f"stream {model}") and r.get("points", 0) > 1e7]
        if len(found) > 1:
            n, t = (_logs([r[key] for r in found]) for key in ("points", "wall"))
            ratios[f"slope of the time above 1e7 points, {model}"] = statistics.linear_regression(n, t).slope
        best = max((r["points/s"] for r in found), default=math.nan)
        for other in ("grid loop 1e3 float64", "peer process", "peer sweep"):
            if other in rate:
                ratios[f"{model} / {other}"] = best / rate[other]
    if "workers 1" in wall and "workers 2" in wall:
        ratios["wall of two workers / one"] = wall["workers 2"] / wall["workers 1"]
    return ratios


def _logs(values):
    return [math.log(x) for x in values]


if __name__ == "__main__":
    main()
