"""Points per second on one grid: a Python loop, NumPy on the flattened grid, dsjax on the named axes.

    python benchmarks/bench_grid.py [--quick]        (--quick: without the largest grids)

A point is one cell of the grid. Every row but the last computes all variables of the study `decode_gpu_2025`, masks and
block times included, from the same catalog rows, and agrees with the loop on a sample of points (relative 1e-12 in
float64, 1e-6 in float32). Every value along every axis changes the step time or the memory somewhere: asserted.

- loop        the formulas on Python floats, one dict per point; on at most 20,000 points, seconds extrapolated
- numpy       the same formulas on flat arrays, inputs and outputs full length; at most 1e5 points at once
- dsjax       `evaluation.evaluate`: every variable over the dims it depends on; axes in the order of the shipped grid
- dsjax long  the same with the long axes (context, batch) last
- sweep       `dsjax.sweep` from grid to Dataset: with block times, stacked over all axes, up to a million points
- core        `evaluation.evaluate` of the core model over seven chips with batch and context enlarged;
              agrees with the same in one compiled stage and float64 on the ends and the middle of the long axes

Each row is a process of its own. wall, cpu: medians over the runs after the first call [s], cpu of all threads; min,
max: of the wall; first: what the first call took longer [s], in dsjax tracing and compiling; peak: largest resident
memory of the process [MB], base: the same before its first call.
"""

import argparse
import functools
import importlib.metadata
import itertools
import json
import math
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
import types
from pathlib import Path

import jax
import numpy as np

import dsjax
from dsjax import evaluation
from dsjax.space import grid

AXES = {"hardware": ["H800", "H20", "A100", "L20"], "nic": ["CX7", "E810"], "ep": None, "batch": None, "context": None}
AXES |= {"precision": ["kv2-w2", "kv1-w2", "kv1-w1"], "mtp": [0, 1], "pipeline": ["dual-mbatch", "naive"]}
EP = [256, 128, 86, 64, 52, 43, 37, 32, 29, 26, 24, 22, 20, 19, 18, 16]  # ceil(256 / ep) differs for each
SIZES = {
    "1e3": {"ep": EP[:2], "batch": [16, 64, 128], "context": [2560, 5120]},
    "1e6": {"ep": EP[:8], "batch": [*range(1, 129)], "context": [*range(1024, 10241, 1024)]},
    "1e7": {"ep": EP, "batch": [*range(1, 129)], "context": [*range(512, 26113, 512)]},
}
SEVEN_CHIPS = str(Path(__file__).parents[1] / "tests" / "data" / "seven_chips.toml")  # default.toml changes
CORE = {"batch": [*range(1, 129)], "context": [*range(512, 29697, 512)]}
TOLERANCE = {"float64": 1e-12, "float32": 1e-6}
MOST = 100_000  # points at once in NumPy
LEAST_TPS = 20.0  # bound on tps_per_user
BEFORE, AFTER = ("q_down", "q_up", "q_absorb", "kv_compress"), ("s_kv_up", "output")

# The formulas, once for floats and for arrays.

LOOP = types.SimpleNamespace(
    maximum=max, minimum=min, log2=math.log2, ceil=math.ceil, where=lambda condition, yes, no: yes if condition else no
)
NUMPY = types.SimpleNamespace(maximum=np.maximum, minimum=np.minimum, log2=np.log2, ceil=np.ceil, where=np.where)


def gemm_share(ns, curve, m, k, n):
    """Share of peak of a GEMM (m, k) x (k, n); k and n are plain numbers."""
    by_k = curve["gemm_large_k"] if k >= 1024 else curve["gemm_small_k"]
    if 64 <= k < 1024:
        by_k = by_k + (curve["gemm_middle_k"] - by_k) / 3.0 * (math.log2(k) - 6.0)
    small, low = ns.minimum(m, n), curve["gemm_small_mn"]
    line = low + (curve["gemm_middle_mn"] - low) / 3.0 * (ns.log2(small) - 8.0)
    by_mn = ns.where(small >= 2048, curve["gemm_large_mn"], ns.where(small >= 256, line, low))
    if k > 4096:
        long_k = (ns.maximum(m, n) >= 1536) & (small >= 64)
        by_mn = ns.where(long_k, ns.maximum(by_mn, curve["gemm_long_k"]), by_mn)
    return ns.where(k < small, by_k, by_mn)


def expert_share(ns, curve, side, m):
    """Share of peak of an expert GEMM with m rows."""
    share = curve[f"expert_{side}_64"]
    for rows in (128, 256, 512, 1024):
        share = ns.where(m >= rows, curve[f"expert_{side}_{rows}"], share)
    return share


def kernel(ns, hw, rate, share, m, k, n, groups, in_bytes, out_bytes):
    """(exposed compute, exposed memory, busy compute, busy memory, needed flops at peak) of a GEMM [s]."""
    work = 2.0 * groups * k * n
    c = work * ns.maximum(m, 64.0) / (rate * share)
    d = groups * ((m * k + k * n) * in_bytes + m * n * out_bytes) / hw["hbm_bytes_per_s"]
    rest, longer = 1.0 - hw["roofline_overlap"], c >= d
    return ns.where(longer, c, rest * c), ns.where(longer, rest * d, d), c, d, work * m / rate


def add(first, *others):
    """One kernel after the other."""
    for t in others:
        first = (first[0] + t[0], first[1] + t[1], first[2] + t[2], first[3] + t[3], first[4] + t[4])
    return first


def attention(ns, hw, model, precision, rate, micro, queries, context):
    """(as of `kernel`, exposed latency) of decode attention [s]."""
    rows, charged = model["num_attention_heads"] * queries, context + 128.0
    share = ns.where(rows >= 256.0, hw["attention_256_rows"], hw["attention_128_rows"])
    latent = model["kv_lora_rank"] + model["qk_rope_head_dim"]
    scores, values = (micro * 2.0 * rows * width * charged for width in (latent, model["kv_lora_rank"]))
    g0, g1 = scores / (rate * share), values / (rate * share)
    both = ns.minimum(ns.maximum(hw["softmax_overlap"] - 1.0, 0.0), 1.0)
    one = ns.minimum(ns.maximum(hw["softmax_overlap"], 0.0), 1.0)
    hidden, alone = both * g0 + one * g1, (1.0 - both) * g0 + (1.0 - one) * g1
    cycles = 1.0 / hw["exp2_per_cycle"] + 2.0 / hw["reduce_per_cycle"]
    softmax = micro * rows * context * cycles / (hw["sms"] * hw["clock_cycles_per_s"])
    latency = micro * hw["thread_all_reduce_s"]
    longer = softmax + latency >= hidden
    compute, latency = alone + ns.where(longer, softmax, hidden), ns.where(longer, latency, 0.0)
    read = micro * (context * latent * precision["kv_bytes"]) / hw["hbm_bytes_per_s"]
    longer = compute + latency >= read
    exposed, busy = (ns.where(longer, compute, 0.0), ns.where(longer, 0.0, read)), (hidden + alone + softmax, read)
    return (*exposed, *busy, context / charged * (scores + values) / rate), ns.where(longer, latency, 0.0)


def study(ns, model, curve, *, hardware, nic, precision, ep, batch, context, mtp, pipeline):
    """{variable: value} of one point (`ns` LOOP), or of flat arrays of points (NUMPY)."""
    micro = ns.where(pipeline, batch / 2.0, batch)
    rows = micro * (mtp + 1.0)
    hidden, heads, width = model["hidden_size"], model["num_attention_heads"], model["moe_intermediate_size"]
    nope, rope, value = model["qk_nope_head_dim"], model["qk_rope_head_dim"], model["v_head_dim"]
    q_rank, kv_rank = model["q_lora_rank"], model["kv_lora_rank"]
    rate, expert_rate, attention_rate = (
        ns.where(precision[f"{use}_rate"] == 1, hardware["fp8_flops_per_s"], hardware["bf16_flops_per_s"])
        for use in ("weight", "expert", "attention")
    )

    def linear(k, n, groups=1.0, out_bytes=2.0):
        share = gemm_share(ns, curve, rows, k, n)
        return kernel(ns, hardware, rate, share, rows, k, n, groups, precision["weight_bytes"], out_bytes)

    def experts(m, count, needed):
        up, down = expert_share(ns, curve, "up", m), expert_share(ns, curve, "down", m)
        up = kernel(ns, hardware, expert_rate, up, m, hidden, 2.0 * width, 1.0, precision["expert_bytes"], 4.0)
        down = kernel(ns, hardware, expert_rate, down, m, width, hidden, 1.0, precision["expert_bytes"], 4.0)
        return tuple(n * t for n, t in zip((count, count, count, count, needed), add(up, down)))

    slots = ns.ceil(model["n_routed_experts"] / ep)
    expert_rows = ns.where(pipeline, rows, micro)
    blocks = {
        "q_down": linear(q_rank, nope, out_bytes=4.0),
        "q_up": linear(nope, heads * (nope + rope)),
        "q_absorb": linear(nope, kv_rank, groups=heads),
        "kv_compress": linear(hidden, kv_rank + rope),
        "s_kv_up": linear(kv_rank, value, groups=heads),
        "output": linear(heads * value, hidden),
        "shared": experts(expert_rows, model["n_shared_experts"], model["n_shared_experts"]),
        "moe": experts(model["num_experts_per_tok"] * expert_rows, slots, 1.0),
    }
    mla, latency = attention(ns, hardware, model, precision, attention_rate, micro, mtp + 1.0, context)
    sent = rows * model["num_experts_per_tok"] * hidden / nic["scale_out_bytes_per_s"]
    dispatch, combine = sent * precision["dispatch_bytes"], sent * precision["combine_bytes"]

    # Dual: max(dispatch, before + shared) + moe + max(combine, after); naive: only dispatch and shared side by side.
    before, after = add(*(blocks[name] for name in BEFORE)), add(mla, *(blocks[name] for name in AFTER))
    beside = [shared + ns.where(pipeline, t, 0.0) for shared, t in zip(blocks["shared"][:2], before)]
    waits = dispatch >= beside[0] + beside[1]
    hides = ns.where(pipeline, combine >= after[0] + after[1] + latency, False)
    exposed = [
        ns.where(waits, 0.0, beside[i])
        + ns.where(pipeline, 0.0, before[i])
        + (blocks["moe"][i] + ns.where(hides, 0.0, after[i]))
        for i in (0, 1)
    ]
    exposed.append(ns.where(waits, dispatch, 0.0) + ns.where(pipeline, ns.where(hides, combine, 0.0), combine))
    exposed.append(ns.where(hides, 0.0, latency))
    scale = model["num_hidden_layers"] * (batch / micro)
    exposed = [scale * t for t in exposed]
    busy = [scale * t for t in add(before, after, blocks["shared"], blocks["moe"])[2:]]
    step_time = exposed[0] + exposed[1] + exposed[2] + exposed[3]
    most, bottleneck = exposed[0], 0
    for i in (1, 2, 3):
        bottleneck, most = ns.where(exposed[i] > most, i, bottleneck), ns.maximum(exposed[i], most)

    weights = hidden * (q_rank + kv_rank + rope) + kv_rank * heads * (nope + value)
    weights = weights + q_rank * heads * (nope + rope) + heads * value * hidden
    layer = 3.0 * hidden * width * (slots + model["n_shared_experts"]) * precision["expert_bytes"]
    layer = layer + batch * (context * (kv_rank + rope) * precision["kv_bytes"]) + weights * precision["weight_bytes"]
    memory = model["num_hidden_layers"] * layer + 2.0 * model["vocab_size"] * hidden * precision["weight_bytes"]
    tokens = 1.0 + ns.where(mtp >= 1, model["acceptance"], 0.0)
    per_user = tokens / step_time
    fits, fast = memory <= hardware["hbm_bytes"], per_user >= LEAST_TPS
    values = {"step_time": step_time, "tpot": step_time / tokens, "ttft": math.nan, "memory_per_chip": memory}
    values |= {"tps_per_user": per_user, "tps_per_chip": batch * per_user, "tps_total": ep * (batch * per_user)}
    values |= {"mfu": busy[2] / step_time, "mbu": busy[1] / step_time, "bottleneck": bottleneck}
    values |= {"busy_compute": busy[0], "busy_memory": busy[1], "busy_network": scale * (dispatch + combine)}
    values |= zip(("exposed_compute", "exposed_memory", "exposed_network", "exposed_latency"), exposed)
    values |= {"chips": ep, "dp": ep, "ep": ep, "batch_total": batch * ep}
    values |= {"ok_memory": fits, "ok_tps_per_user": fast, "feasible": fits & fast}
    times = {name: t[0] + t[1] for name, t in blocks.items()}
    times |= {"dispatch": dispatch, "combine": combine, "flash_mla": mla[0] + mla[1] + latency}
    return values | {f"block_time/{name}": scale * t for name, t in times.items()}


def inputs(space, number):
    """(model, curve, {axis: values}) with every row a dict of numbers and the dual pipeline True."""
    rows = {
        record: [
            {name: number(x) for name, x in row.items() if not isinstance(x, str | dict)} for row in table.values()
        ]
        for record, table in space.rows.items()
    }
    axes = {name: rows.get(name, values) for name, values in space.axes.items()}
    axes["pipeline"] = [label == "dual-mbatch" for label in space.axes["pipeline"]]
    return rows["model"][0] | {"acceptance": number(space.fixed["acceptance"])}, rows["curve"][0], axes


def loop(space, flat):
    """[{variable: value}] of the points with flat indices `flat`."""
    model, curve, axes = inputs(space, float)
    picks = zip(*(index.tolist() for index in np.unravel_index(flat, tuple(space.sizes.values()))))
    return [study(LOOP, model, curve, **{name: axes[name][i] for name, i in zip(axes, pick)}) for pick in picks]


def numpy_grid(space, dtype):
    """{variable: (dims, array)}, all full length; at most `MOST` points at once, along the outer axes."""
    model, curve, axes = inputs(space, dtype)
    shape, results = tuple(space.sizes.values()), {}
    outer = next(i for i in range(len(shape)) if math.prod(shape[i:]) <= MOST)
    length = math.prod(shape[outer:])

    def view(values, place):
        """The values of an axis at every point; {field: such a view} of rows."""
        if isinstance(values[0], dict):
            return {name: view([row[name] for row in values], place) for name in values[0]}
        values = np.array(values, bool if isinstance(values[0], bool) else dtype)
        return np.broadcast_to(values.reshape([-1] + [1] * (len(shape) - place - 1)), shape)

    views = {name: view(values, place) for place, (name, values) in enumerate(axes.items())}
    for chunk, picks in enumerate(np.ndindex(*shape[:outer])):
        point = jax.tree.map(lambda values, picks=picks: values[picks].ravel(), views)
        for name, values in study(NUMPY, model, curve, **point).items():
            if name not in results:
                kind = {"bottleneck": np.int8, "ttft": dtype}.get(name) or values.dtype
                results[name] = np.empty(space.points, kind)
            results[name][chunk * length : (chunk + 1) * length] = values
    return {name: (tuple(axes), array.reshape(shape)) for name, array in results.items()}


# One row, in a process of its own.


def agree(space, results, dtype, blocks):
    """Exit if {variable: (dims, array)} differs from the loop, or from a small grid of the core model, in a sample."""
    if space.study.name == "core":
        small = evaluation.evaluate(grid.load(SEVEN_CHIPS, axes={axis: values[::39] for axis, values in CORE.items()}))
        wanted = {name: array for name, (_, array) in small.items()}
        where = {axis: slice(None, None, 39 if axis in CORE else 1) for axis in space.axes}
    else:
        flat = np.random.default_rng(0).integers(0, space.points, 2000)
        points = loop(space, flat)
        wanted = {name: np.array([point[name] for point in points]) for name in points[0]}
        where = dict(zip(space.axes, np.unravel_index(flat, tuple(space.sizes.values()))))
    names = {name for name in wanted if blocks or "/" not in name}
    if names != results.keys():
        sys.exit(f"variables of only one side: {sorted(names ^ results.keys())}")
    for name, (dims, array) in results.items():
        got, exact = array[tuple(where[axis] for axis in dims)], array.dtype.kind in "bi"
        close = np.isclose(got.astype(float), wanted[name], 0 if exact else TOLERANCE[dtype], 0, equal_nan=True)
        if not close.all() or not (exact or got.dtype == dtype):
            sys.exit(f"{name} ({got.dtype}): not what is expected in {1 - close.mean():.2%} of the sample")


def distinct(space, results):
    """Exit if two adjacent values of an axis give the same step time and memory everywhere."""
    for axis in space.axes:
        changes = False
        for dims, array in (results["step_time"], results["memory_per_chip"]):
            if axis in dims:
                slices = itertools.pairwise(np.moveaxis(array, dims.index(axis), 0))
                changes = changes | np.array([(a != b).any() for a, b in slices])
        if not np.all(changes):
            sys.exit(f"axis {axis}: adjacent values that change nothing")


def peak_mb():
    """Largest resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6


def measure(row, size, dtype):
    """The record of one row."""
    axes = AXES | SIZES[size]
    if row == "dsjax long":
        axes |= {name: axes.pop(name) for name in ("context", "batch")}
    given = {"study": "decode_gpu_2025", "axes": axes, "constraints": {"min_tps_per_user": LEAST_TPS}}
    space = grid.load(SEVEN_CHIPS, axes=CORE) if row == "core" else grid.load(given)
    points = np.linspace(0, space.points - 1, min(space.points, 20_000)).astype(int)
    scale = space.points / len(points) if row == "loop" else 1.0
    call = {
        "loop": functools.partial(loop, space, points),
        "numpy": functools.partial(numpy_grid, space, np.dtype(dtype).type),
        "sweep": lambda: dsjax.sweep(given, dtype=dtype),
    }.get(row, functools.partial(evaluation.evaluate, space, dtype, compiled=True))

    def timed():
        wall, cpu = time.perf_counter(), time.process_time()
        results = call()
        return results, scale * (time.perf_counter() - wall), scale * (time.process_time() - cpu)

    base = peak_mb()
    results, first, _ = timed()
    runs, until = [], time.perf_counter() + 2.0
    while len(runs) < 3 or (len(runs) < 50 and time.perf_counter() < until):
        del results
        results, *took = timed()
        runs.append(took)
    peak, blocks = peak_mb(), row != "sweep" or "block_time" in results
    if row == "sweep":
        parts = {f"block_time/{part.block.item()}": part for part in results.get("block_time", ())}
        parts |= {name: part for name, part in results.items() if name != "block_time"} | {"ep": results.ep}
        results = {name: (part.dims, part.values) for name, part in parts.items()}
    if row != "loop":
        agree(space, results, dtype, blocks)
    if row in ("dsjax", "core") and dtype == "float64":
        distinct(space, results)
    walls, cpus = zip(*runs)
    wall = statistics.median(walls)
    record = {"row": row, "size": size, "points": space.points, "dtype": dtype, "backend": jax.default_backend()}
    record |= {"wall": wall, "min": min(walls), "max": max(walls), "cpu": statistics.median(cpus)}
    record |= {"points/s": space.points / wall, "first": max(0.0, first - wall) / scale}
    return record | {"peak": peak, "base": base, "runs": len(runs)}


# All rows.


def cases(sizes):
    """(row, size, dtype) of every row; the loop is float64 only, the smallest grid has no variants."""
    for size in sizes:
        yield "loop", size, "float64"
        rows = ("numpy", "dsjax", "dsjax long", "sweep", "core")
        for row in rows[: {"1e3": 2, "1e6": 4}.get(size)]:
            yield from ((row, size, dtype) for dtype in TOLERANCE)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="without the largest grids")
    parser.add_argument("--row", nargs=3, metavar=("ROW", "SIZE", "DTYPE"), help="measure one row, print it as JSON")
    options = parser.parse_args()
    if options.row:
        print(json.dumps(measure(*options.row)))
        return
    about = {"load": os.getloadavg(), "cores": os.cpu_count(), "python": platform.python_version()}
    about |= {name: importlib.metadata.version(name) for name in ("dsjax", "jax", "numpy")}
    print(", ".join(f"{name} {value}" for name, value in about.items()), end="\n\n")
    columns = ("wall", "min", "max", "cpu", "points/s", "first", "peak", "base", "runs")
    print(f"{'row':10} {'points':>8} {'dtype':7}", *(f"{name:>8}" for name in columns))
    records, started = {}, time.perf_counter()
    for case in cases(list(SIZES)[: 2 if options.quick else 3]):
        done = subprocess.run([sys.executable, __file__, "--row", *case], stdout=subprocess.PIPE, text=True)
        if done.returncode:
            sys.exit(f"{' '.join(case)}: failed")
        r = records[case] = json.loads(done.stdout.splitlines()[-1])
        cells = (f"{r[name]:8.{4 if name in ('peak', 'base') else 3}g}" for name in columns)
        print(f"{r['row']:10} {r['points']:8} {r['dtype']:7}", *cells, flush=True)
    print("\ntimes as fast as, by wall (by cpu), same size and dtype; the loop is always float64")
    print(f"{'row':10} {'points':>8} {'dtype':7} {'loop':>20} {'numpy':>20}")
    for (row, size, dtype), r in records.items():
        if row.startswith(("dsjax", "sweep")):
            others = records["loop", size, "float64"], records["numpy", size, dtype]
            ratios = (f"{o['wall'] / r['wall']:.3g} ({o['cpu'] / r['cpu']:.3g})" for o in others)
            print(f"{row:10} {r['points']:8} {dtype:7}", *(f"{ratio:>20}" for ratio in ratios))
    print(f"\nbackend {r['backend']}, {time.perf_counter() - started:.0f} s, load after {os.getloadavg()}")


if __name__ == "__main__":
    main()
