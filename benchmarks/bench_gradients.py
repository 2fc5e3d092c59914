"""Per-point gradients per second: ten elasticities at every point of a grid, beside the materialised primal.

    python benchmarks/bench_gradients.py [--quick]        (--quick: without the core model)

All in one process and one run, float32 and float64: `primal` is one variable (tps_per_chip) over the whole grid,
`numpy` the same, the bottleneck, feasibility and ten elasticities as `dsjax.sensitivity` evaluates them, without a
compiler, `compiled` the same by a compiled program. Freed pages are kept (`machine.keep_pages`). Rounds alternate;
wall: median [ms]; ratio: of the medians; points/s: grid points whose whole gradient is there. first: what the first
call took longer [s].
"""

import argparse
import os
import statistics
import time

import bench_grid
import numpy as np

from dsjax import evaluation, machine
from dsjax.analysis import sensitivity
from dsjax.space import grid, parameters

OF = "tps_per_chip"
SHARED = ("hbm_bytes_per_s", "bf16_flops_per_s", "fp8_flops_per_s", "int8_flops_per_s")
STUDY = (*(f"hardware.{x}" for x in (*SHARED, "clock_cycles_per_s", "thread_all_reduce_s")),)
STUDY += ("nic.scale_out_bytes_per_s", "workload.context", "precision.dispatch_bytes", "precision.combine_bytes")
CORE = (*(f"hardware.{x}" for x in (*SHARED, "scale_up_bytes_per_s", "scale_up_step_s", "step_s")),)
CORE += ("nic.scale_out_bytes_per_s", "nic.scale_out_step_s", "curve.gemm8_start_s")
ROUNDS = 15


def spaces(quick):
    """(name, space, parameters): the study in its own order of axes and with the long one last; the core model."""
    study = grid.load("decode_gpu_2025", axes={"batch": list(range(1, 4097))})
    yield "study", study, STUDY
    axes = dict(study.axes)
    axes["batch"] = axes.pop("batch")
    yield "study, batch last", type(study)(**{**vars(study), "axes": axes}), STUDY
    if not quick:
        core = grid.load(bench_grid.SEVEN_CHIPS, axes={"batch": list(range(1, 769))})
        axes = dict(core.axes)
        axes["batch"] = axes.pop("batch")
        yield "core, batch last", type(core)(**{**vars(core), "axes": axes}), CORE


def timed(call):
    start = time.perf_counter()
    result = call()
    return result, time.perf_counter() - start


def asked(space, parameters_):
    """Arguments of `evaluation.evaluate` for the elasticities of a space, the type apart."""
    names = parameters.named(space, list(parameters_))
    wanted = (OF, "bottleneck", "feasible", *(f"elasticity/{i}" for i in range(len(names))))
    return {"names": wanted, "function": sensitivity.slopes(OF, names)}


def measure(name, space, parameters_, dtype):
    what = asked(space, parameters_)
    calls = {
        "primal": lambda: evaluation.evaluate(space, dtype, (OF,), compiled=True),
        "numpy": lambda: evaluation.evaluate(space, dtype, **what, compiled=False),
        "compiled": lambda: evaluation.evaluate(space, dtype, **what, compiled=True),
    }
    found, first, walls = {}, {}, {row: [] for row in calls}
    for row, call in calls.items():
        found[row], first[row] = timed(call)
    for i, parameter in enumerate(parameters_):
        (dims, a), (others, b) = (found[row][f"elasticity/{i}"] for row in ("numpy", "compiled"))
        if dims != others or not np.allclose(a, b, atol=1e-5 if dtype == "float32" else 1e-12):
            raise SystemExit(f"{name}: d ln {OF} / d ln {parameter}: NumPy and the compiled program differ")
    found.clear()
    for _ in range(ROUNDS):
        for row, call in calls.items():
            walls[row].append(timed(call)[1])
    wall = {row: statistics.median(times) for row, times in walls.items()}
    for row, seconds in wall.items():
        rate, ratio = space.points / seconds, seconds / wall["primal"]
        print(
            f"{name:18} {space.points:>9,} {dtype:8} {row:8} {1e3 * seconds:8.1f} {1e3 * min(walls[row]):8.1f} "
            f"{ratio:6.2f} {rate:10.3g} {max(0.0, first[row] - seconds):6.1f} {os.getloadavg()[0]:6.2f}",
            flush=True,
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="without the core model")
    quick = parser.parse_args().quick
    machine.keep_pages()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.2f}; {len(STUDY)} parameters")
    columns = ("wall ms", "min ms", "ratio", "points/s", "first s", "load")
    print(f"{'grid':18} {'points':>9} {'dtype':8} {'row':8} {columns[0]:>8} {columns[1]:>8} {columns[2]:>6} ", end="")
    print(f"{columns[3]:>10} {columns[4]:>6} {columns[5]:>6}")
    for name, space, of in spaces(quick):
        for dtype in ("float32", "float64"):
            measure(name, space, of, dtype)


if __name__ == "__main__":
    main()
