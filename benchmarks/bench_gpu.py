"""dsjax on an NVIDIA GPU, in one run of at most four minutes on a fresh machine; results as JSON.

    python benchmarks/bench_gpu.py [--install [FOLDER]] [--cpu] [--budget 240] [-o FILE.json]

- check        the default grid and both studies, compiled, against NumPy on the CPU: the same masks and bottlenecks,
               every other value within a relative 1e-12, float64; and the best points of a streamed search of the
               study against those of the grid that is held
- stream       `dsjax.best` of the study `decode_gpu_2025` and of the core model, never materialised, float32
- full rank    14 variables of the study at every one of 7.9e6 points, float32, in memory of the host: wall of the sweep
               (of all variables, at their own dims) and of spreading the 14 over all axes
- gradients    ten elasticities at every point, study and core model, as in bench_gradients.py, float32 and float64

`--install`: dsjax and JAX with CUDA 12 in an environment of their own (in FOLDER, which is kept, or in a temporary
one), before the budget begins. `--budget`: seconds; what is left then is skipped and named. `--cpu`: a rehearsal of the
same on the CPU, with small grids. Without a GPU and without `--cpu` the exit code is 2; 1 where a check or a row fails.

Every row is a process of its own, and has at most a third of the budget. wall: median of the runs after the first [s];
walls: each of them; first: the first call, compiling [s]; gpu bytes: most that JAX held on the GPU.
"""

import argparse
import functools
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path

from bench_grid import SEVEN_CHIPS
from bench_scale import FULL, LONG, spread

ROOT = Path(__file__).resolve().parents[1]
RELATIVE = 1e-12  # compiled against NumPy, float64: as tests/test_evaluators_agree.py
MOST = 1 / 3  # of the budget, for one row: compiling may take long
ROWS = (
    *(["check", name] for name in ("default", "decode_gpu_2025", "sg2260e", "search")),
    *(["stream", "study"], ["full rank"], ["gradients", "study", "float32"], ["gradients", "study", "float64"]),
    *(["stream", "core"], ["gradients", "core", "float32"], ["gradients", "core", "float64"]),
)


def timed(call, least=3, seconds=3.0):
    """(Record of a call, its result): the first time, then the median of at least `least` runs."""
    start = time.perf_counter()
    result = call()
    first, walls = time.perf_counter() - start, []
    while len(walls) < least or (sum(walls) < seconds and len(walls) < 15):
        start = time.perf_counter()
        call()
        walls.append(time.perf_counter() - start)
    return {"wall": statistics.median(walls), "walls": walls, "first": first}, result


def rated(record, points):
    return record | {"points": points, "points/s": points / record["wall"]}


def check(name, small):
    """Compiled against NumPy; `search`: a streamed search of the study against one that holds the grid."""
    import dsjax

    result = functools.partial(dsjax.sweep, name)
    options = {}
    if name == "search":
        result = functools.partial(dsjax.best, "decode_gpu_2025", by=["hardware", "nic"])
        options = {"stream": True, "dtype": "float64"}
    held = result()  # NumPy's: these are small
    with dsjax.compiled():
        found = result(**options)
    off = list(differences(found, held))
    wrong = sorted({variable for variable, _, good in off if not good})
    variable, largest, _ = max(off, key=lambda each: each[1])
    record = {"variables": len(off), "largest difference": largest, "of": variable, "bound": RELATIVE}
    return record | ({"failed": f"beyond the bound: {', '.join(wrong)}"} if wrong else {})


def differences(found, held):
    """(Variable, largest relative difference, whether within the bound) of two Datasets, coordinates included."""
    import numpy as np
    import xarray as xr

    for name in held.variables:
        # What is the same at every point has no dims in the one, and those of all in the other.
        both = xr.broadcast(*(xr.DataArray(ds[name].variable) for ds in (found, held)))
        a, b = (array.values for array in both)
        if b.dtype.kind != "f":
            yield name, float((a != b).any()), bool((a == b).all())
            continue
        with np.errstate(divide="ignore", invalid="ignore"):
            off = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, np.abs(a - b) / np.abs(b))
        largest = float(np.nan_to_num(off, nan=math.inf).max(initial=0.0))
        yield name, largest, largest <= RELATIVE


def stream(model, small):
    import dsjax

    axes = {"hardware_hbm_bytes_per_s": spread(1e12, 8e12, 4 if small else 16)} | LONG
    axes |= {} if small else {"nic_scale_out_bytes_per_s": spread(1e10, 1e11, 160)}
    name, fixed = "decode_gpu_2025", {"nic": "CX7"}
    axes["ep"] = {"start": 32, "stop": 320, "step": 32}
    if model == "core":
        name, fixed = SEVEN_CHIPS, {"nic": "CX7", "pipeline": "dual-mbatch"}
        axes |= {"ep": [64, 72, 144, 256, 320], "hardware": ["H800", "H20", "H200", "B200"]}
    options = {"axes": axes, "fixed": fixed}
    with dsjax.compiled():
        search = functools.partial(dsjax.best, name, by=["hardware"], stream=True, dtype="float32", **options)
        record, _ = timed(search, least=2)
    return rated(record, dsjax.load_grid(name, **options, any_size=True).points)


def full_rank(small):
    import numpy as np

    import dsjax

    long = {name: axis | {"stop": axis["stop"] // (8 if small else 1)} for name, axis in LONG.items()}
    axes = {"ep": {"start": 32, "stop": 320, "step": 32}} | long
    with dsjax.compiled():
        record, ds = timed(lambda: dsjax.sweep("decode_gpu_2025", axes=axes, dtype="float32", blocks=False))
    dims, shape = list(ds.sizes), list(ds.sizes.values())
    out = {name: np.zeros(shape, np.float32) for name in FULL}

    def fill():
        for name, array in out.items():
            own = ds[name].transpose(*(axis for axis in dims if axis in ds[name].dims))
            array[...] = own.values.reshape([n if axis in own.dims else 1 for axis, n in zip(dims, shape)])

    spreading, _ = timed(fill)
    points = math.prod(shape)
    both = record["wall"] + spreading["wall"]
    return rated(record, points) | {"spreading": spreading["wall"], "points/s, spread": points / both}


def gradients(model, dtype, small):
    import bench_gradients as b

    import dsjax

    name, most, wrt = ("decode_gpu_2025", 4096, b.STUDY) if model == "study" else (SEVEN_CHIPS, 768, b.CORE)
    path = Path(name) if name == SEVEN_CHIPS else ROOT / "grids" / f"{name}.toml"
    grid = tomllib.loads(path.read_text(encoding="utf-8"))
    del grid["axes"]["batch"]
    grid["axes"]["batch"] = {"start": 1, "stop": most // (16 if small else 1), "step": 1}  # last, where it is fastest
    with dsjax.compiled():
        record, _ = timed(lambda: dsjax.sensitivity(grid, of=b.OF, wrt=list(wrt), kinks=False, dtype=dtype, at="grid"))
    return rated(record, dsjax.load_grid(grid).points)


KINDS = {"check": check, "stream": stream, "full rank": full_rank, "gradients": gradients}


def row(kind, *of, small):
    """A row, in this process."""
    import jax

    record = KINDS[kind](*of, small)
    held = (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use", 0)
    if jax.default_backend() == "gpu" and not held:
        record["failed"] = "nothing was held on the GPU"
    return record | {"gpu bytes": held}


def about():
    """The device that JAX uses, and versions, in this process."""
    import importlib.metadata

    import jax

    names = ("jax", "jaxlib", "jax-cuda12-plugin", "jax-cuda13-plugin", "numpy", "xarray")
    versions = {each.metadata["name"]: each.version for each in importlib.metadata.distributions()}
    return {
        "backend": jax.default_backend(),
        "device": jax.devices()[0].device_kind,
        "cores": os.cpu_count(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: versions[name] for name in names if name in versions},
    }


def child(arguments, cpu, left):
    """The last line of JSON that this file prints in a process of its own, or {"failed" or "skipped": why}."""
    command = [sys.executable, "-W", "ignore", __file__, *arguments, *(["--cpu"] if cpu else [])]
    env = os.environ | {"PYTHONPATH": str(ROOT)} | ({"JAX_PLATFORMS": "cpu"} if cpu else {})
    try:
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=left)
    except subprocess.TimeoutExpired:
        return {"skipped": f"not done in the {left:.0f} s that it was given"}
    if done.returncode:
        return {"failed": (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]}
    return json.loads(done.stdout.splitlines()[-1])


def installed(folder, arguments):
    """Exit code of this file run with `arguments` in an environment that has dsjax and JAX with CUDA 12."""
    python = Path(folder) / "bin" / "python"
    wanted = "jax" if "--cpu" in arguments else "jax[cuda12]"
    pip = [python, "-m", "pip", "install", "-q", "-c", ROOT / "requirements-tested.txt", "-e", ROOT, wanted]
    for command in ([sys.executable, "-m", "venv", folder], pip):
        if subprocess.run(command, check=False).returncode:
            return 2
    return subprocess.run([python, __file__, *arguments], check=False).returncode


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--install", metavar="FOLDER", nargs="?", const="")
    parser.add_argument("--cpu", action="store_true")
    parser.add_argument("--budget", type=float, default=240.0)
    parser.add_argument("-o", "--output", metavar="FILE.json")
    parser.add_argument("--row", nargs="+", help=argparse.SUPPRESS)
    parser.add_argument("--about", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.row or options.about:
        print(json.dumps(row(*options.row, small=options.cpu) if options.row else about()))
        return 0
    if options.install is not None:
        rest = ["--budget", str(options.budget), *(["--cpu"] if options.cpu else [])]
        rest += ["-o", options.output] if options.output else []
        with tempfile.TemporaryDirectory(prefix="dsjax-") as folder:
            return installed(options.install or folder, rest)
    began = time.perf_counter()
    machine = child(["--about"], options.cpu, options.budget)
    if not options.cpu and machine.get("backend") != "gpu":
        why = machine.get("failed") or f"JAX sees {machine.get('device', 'nothing in time')}"
        print(f"no GPU: {why}; expected an NVIDIA GPU and JAX with CUDA (--install), or --cpu", file=sys.stderr)
        return 2
    print("  ".join(f"{key} {value}" for key, value in machine.items()), flush=True)
    results = []
    for arguments in ROWS:
        left = min(options.budget - (time.perf_counter() - began), options.budget * MOST)
        found = {"skipped": "the budget was used up"} if left <= 0 else child(["--row", *arguments], options.cpu, left)
        results.append({"row": " ".join(arguments)} | found)
        print("  ".join(f"{key} {shown(value)}" for key, value in results[-1].items()), flush=True)
    print(f"{time.perf_counter() - began:.0f} s of {options.budget:.0f} s")
    if options.output:
        text = json.dumps({"machine": machine, "budget": options.budget, "results": results}, indent=2)
        Path(options.output).write_text(text + "\n", encoding="utf-8")
    return 1 if any("failed" in record for record in results) else 0


def shown(value):
    if isinstance(value, list):
        return f"of {len(value)}"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    sys.exit(main())
