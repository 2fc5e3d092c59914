"""The rows of `gate.py`: what each process of a side runs, by the public functions and the command line alone.

    python gate_rows.py FUNCTION          (the `dsjax` on the path, which must be the one in the working directory)

- help              `dsjax --help`, ten processes
- command-sweep     `dsjax sweep` of 20,160 points of the core model, a process that finds its caches
- first-sweep       `dsjax.sweep` of the same in a fresh interpreter, its start included
- second-sweep      then another sweep, of axes of other lengths
- sensitivity-best  `dsjax.sensitivity(at="best")` in a fresh interpreter
- sensitivity-grid  two elasticities at every point of them in a fresh interpreter
- solve             `dsjax.solve` of the study in a fresh interpreter
- compiled-sweep    1.0e6 points of the core model, once it is compiled
- stream            a search over 6.3e8 points of the study that holds no grid, once it is compiled
- stream-core       the same over 3.5e8 points of the core model, whose sums are longer
- best, pareto      of a Dataset of 6e5 points that is held, 25 times

A figure is CPU seconds, of all threads and of processes waited for. A function that measures itself yields rows: a name
and None for the time since the row before (from the start, for the first), or a call: the least of `CALLS` after its
first, which other processes of the machine disturb less than a median.
"""

import contextlib
import json
import resource
import sys
from pathlib import Path
from typing import NamedTuple

CALLS = 8
SMALL = 25  # of one call, where it takes milliseconds
LONG = {"context": {"start": 1024, "stop": 65536, "step": 1024}, "batch": {"start": 8, "stop": 1024, "step": 8}}
# The layouts of the core model's rows, written out: the default grid is another one from commit to commit.
CHIPS = {"hardware": ["H800", "H20", "A100", "L20", "H100", "H200", "B200"], "ep": [72, 144, 320]}
CHIPS |= {"precision": ["fp8", "w8a8"], "pipeline": ["dual-mbatch", "naive"]}
SMALL_SWEEP = CHIPS | {"batch": {"start": 16, "stop": 128, "step": 8}}  # 20,160 points
RATES = {"nic_scale_out_bytes_per_s": [4e10 + 2e9 * i for i in range(4)]}
RATES |= {"hardware_hbm_bytes_per_s": [1e12 + 2e11 * i for i in range(16)]}


def sweeps():
    import dsjax

    dsjax.sweep(axes=SMALL_SWEEP)
    yield "first-sweep", None
    dsjax.sweep(axes=SMALL_SWEEP | {"batch": [16, 32, 64, 96], "ep": [72, 144]})
    yield "second-sweep", None


def sensitivity_best():
    import dsjax

    dsjax.sensitivity(axes=SMALL_SWEEP, at="best")


def sensitivity_grid():
    import dsjax

    wrt = ["hardware.hbm_bytes_per_s", "nic.scale_out_bytes_per_s"]
    dsjax.sensitivity(axes=SMALL_SWEEP, wrt=wrt, kinks=False, at="grid")


def solve():
    import dsjax

    dsjax.solve("decode_gpu_2025", vary="nic.CX7.scale_out_bytes_per_s", until="tps_per_chip >= 2000")


def compiled_sweep():
    import dsjax

    axes = CHIPS | {"batch": {"start": 1, "stop": 768, "step": 1}}
    with compiling():
        yield "compiled-sweep", lambda: dsjax.sweep(axes=axes, dtype="float32", blocks=False)


def stream():
    import dsjax

    axes = {"ep": {"start": 32, "stop": 320, "step": 32}} | RATES | LONG
    options = {"axes": axes, "fixed": {"nic": "CX7"}, "dtype": "float32"}
    with compiling():
        yield "stream", lambda: dsjax.best("decode_gpu_2025", by=["hardware"], stream=True, **options)


def stream_core():
    import dsjax

    axes = {"hardware": ["H800", "H20"], "ep": [64, 144, 320]} | RATES | LONG
    axes["nic_scale_out_bytes_per_s"] = {"start": 1e10, "stop": 6.4e10, "step": 1e9}
    fixed = {"nic": "CX7", "pipeline": "dual-mbatch", "precision": "fp8"}
    with compiling():
        options = {"axes": axes, "fixed": fixed, "dtype": "float32", "stream": True}
        yield "stream-core", lambda: dsjax.best("default", by=["hardware"], **options)


def held():
    import dsjax

    axes = {"batch": {"start": 1, "stop": 512, "step": 1}, "context": [2560, 5120, 10240, 20480]}
    with compiling():
        ds = dsjax.sweep("decode_gpu_2025", axes=axes, blocks=False)
    yield "best", lambda: [dsjax.best(ds, by=["hardware"], top=3) for _ in range(SMALL)]
    yield "pareto", lambda: [dsjax.pareto(ds, by=["hardware"]) for _ in range(SMALL)]


def compiling():
    """A block in which grids of any size are compiled; commits without the name do that anyway."""
    import dsjax

    return dsjax.compiled() if hasattr(dsjax, "compiled") else contextlib.nullcontext()


def options(axes):
    """Axes as options of the command line."""
    ranges = {a: x if isinstance(x, list) else [*range(x["start"], x["stop"] + 1, x["step"])] for a, x in axes.items()}
    return [word for a, x in ranges.items() for word in ("--axis", f"{a}={','.join(map(str, x))}")]


class Work(NamedTuple):
    rows: tuple  # that one process measures
    run: object  # a function of this file, or arguments of `python -m dsjax`
    times: int = 1  # processes whose sum is one figure
    keeps: bool = False  # JAX keeps compiled programs on disk: where compiling is not what is measured


WORKS = (
    Work(("help",), ("--help",), times=10),
    Work(("command-sweep",), ("sweep", "--quiet", *options(SMALL_SWEEP))),
    Work(("first-sweep", "second-sweep"), sweeps),
    Work(("sensitivity-best",), sensitivity_best),
    Work(("sensitivity-grid",), sensitivity_grid),
    Work(("solve",), solve),
    Work(("compiled-sweep",), compiled_sweep, keeps=True),
    Work(("stream",), stream, keeps=True),
    Work(("stream-core",), stream_core, keeps=True),
    Work(("best", "pareto"), held, keeps=True),
)


def used():
    """CPU seconds of this process and of those it has waited for, all threads."""
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in both)


def calls(call):
    """CPU seconds of `CALLS` calls after the first."""
    call()
    for _ in range(CALLS):
        before = used()
        call()
        yield used() - before


def main(name):
    import dsjax

    if Path(dsjax.__file__).resolve().parents[1] != Path.cwd().resolve():
        sys.exit("another dsjax was imported than the one of this commit")
    before = 0.0
    for row, call in globals()[name]() or ():
        seconds = used() - before if call is None else min(calls(call))
        print(json.dumps({row: seconds}), flush=True)
        before = used()


if __name__ == "__main__":
    main(sys.argv[1])
