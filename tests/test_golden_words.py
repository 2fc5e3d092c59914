"""What every command prints, as a table, as JSON and as CSV, as it is kept in data/goldens/words.json."""

import contextlib
import csv
import functools
import itertools
import json
import re
import tempfile

import goldens
import pytest
from click.testing import CliRunner
from golden_grids import CORE, NOTHING, POOLS, PREFILL, RATES, USERS

from dsjax import cli
from dsjax.templates import lines

NIC = "nic.CX7.scale_out_bytes_per_s"
LENGTHS = "--isl 1024 --osl 256"
GRIDS = {"core.toml": CORE, "users.toml": USERS, "nothing.toml": NOTHING, "pools.toml": POOLS, "prompts.toml": PREFILL}
GRIDS |= {"rates.toml": RATES}
# Commands that print a table, JSON and CSV.
ALL = {
    "sweep": "sweep core.toml",
    "sweep of nothing": "sweep nothing.toml",
    "best": "best core.toml --by hardware,ep --top 2",
    "best of servers": "best users.toml --by hardware,tp",
    "pareto": "pareto core.toml --by hardware",
    "histogram": "histogram core.toml --bins 4",
    "explain": "explain core.toml --at hardware=B200,tp=4",
    "explain of a server": "explain users.toml --at hardware=H200,tp=8,concurrency=64",
    "explain of nothing": "explain nothing.toml",
    "sensitivity": "sensitivity core.toml --wrt hardware,nic",
    "sensitivity over a grid": "sensitivity core.toml --at grid --wrt hardware",
    "solve": f"solve core.toml --vary {NIC} --until tps_per_chip>=1800",
    "solve of a limit": f"solve core.toml --vary {NIC} --until tpot<=0.02 --at hardware=H800",
    "compare": f"compare core.toml --set-b {NIC}=1e11",
    "uncertainty": "uncertainty core.toml --error nic=10% --error hardware=5% --samples 16",
    "uncertainty of one input": "uncertainty core.toml --error nic.CX7.scale_out_bytes_per_s=10% --samples 16",
    "catalog": "catalog hardware",
    "catalog of NICs": "catalog nics",
    "catalog of engines": "catalog engines",
    "catalog of precisions": "catalog precisions",
    "a row": "catalog hardware H800",
    "count": "count Qwen3-30B-A3B --batch 16 --ep 8",
    "count of a pass of prompts": "count DeepSeek-V3 --phase prefill --context 512 --tp 2 --ep 4",
    "count of an absorbed pass": "count DeepSeek-V3 --batch 64 --ep 8",
    "count of states": "count Kimi-Linear-48B-A3B --tp 2",
    "calibrate": "calibrate gemm.csv --kind gemm --hardware H800 --precision bf16",
}
# Commands whose words alone are kept, or that write a file.
SOME = {
    "names": "names axes",
    "names of variables": "names variables",
    "names of a chip": "names parameters",
    "launch": "launch serve --at hardware=H200 --engine vllm",
    "sweep to a file": "sweep core.toml -o out.nc --force",
    "plot": "plot pareto core.toml -o out.png",
    "plot of nothing": "plot breakdown nothing.toml -o out.png",
    "plot of a point that is refused": "plot breakdown nothing.toml --at nic=one-layer,tp=1,batch=4 -o out.png",
    "plot along an axis of nothing": "plot response nothing.toml --x batch -o out.png --size 8x5",
    "roofline of a point that is refused": "plot roofline nothing.toml --at nic=one-layer,tp=1,batch=4 -o out.png",
    "roofline of nothing": "plot roofline nothing.toml -o out.png",
    "plot along a parameter, of nothing": f"plot response core.toml --x {NIC[:4]}scale_out_bytes_per_s"
    " --limit min_tps_per_user=75 --at hardware=H800,tp=4,ep=16 -o out.png",
    "plot of a bad size": "plot pareto core.toml -o out.png --size 8:5",
    "report": "report users.toml -o out.html",
    "report of nothing": "report nothing.toml -o out.html",
    "init": "init grid -o grid.toml",
    "init of a chip": "init chip -o chip.toml --name Own",
    "init of systems": "init systems -o systems.toml",
    "schema": "schema grid -o grid.schema.json",
    "ingest": "ingest bench.json --hardware H200 --tp 8 --chips 8 --ep 1 --engine vllm --precision fp8 -o mine.toml",
    "reproduce": "reproduce decode_gpu_2025",
}
# Commands whose words on a terminal of 100 columns are kept.
WORDS = {
    "best of pools": "best pools.toml",
    "best of prompts": "best prompts.toml --by hardware --top 2",
    "best of rates": "best rates.toml --by batching",
    "the dearest": "best core.toml --objective cost_per_million_tokens",
    "front of servers": "pareto users.toml --x ttft_p90 --by hardware",
    "front of prompts": "pareto prompts.toml",
    "histogram of pools": "histogram pools.toml --of ttft_p90 --bins 3",
    "explain of pools": "explain pools.toml --at requests_per_s=4",
    "explain of an overload": "explain pools.toml --at requests_per_s=200",
    "explain of prompts": "explain prompts.toml --at hardware=H20",
    "explain of a rate": "explain rates.toml --at batching=chunked,requests_per_s=1",
    "sensitivity of a server": "sensitivity users.toml --at hardware=H200 --of ttft_p90 --wrt hardware,workload",
    "envelope": "sensitivity core.toml --envelope --wrt hardware",
    "solve of an axis": "solve core.toml --vary context --until tps_per_user>=20 --at hardware=H800",
    "solve of a break-even": f"solve core.toml --vary {NIC} --break-even hardware=H800,B200",
    "explain of few sequences": "explain users.toml --at hardware=H200,tp=1,concurrency=64 --fix max_batch=4",
    "solve of nothing": f"solve core.toml --vary {NIC} --until tps_per_user>=1e6",
    "compare of servers": "compare users.toml --set-b hardware.H200.hbm_bytes_per_s=6e12",
    "launch of pools": "launch pools.toml --at requests_per_s=4 --engine sglang",
    "names of limits": "names limits",
    "reproduce the other one": "reproduce sg2260e",
    "validate": "validate",
    "validate with rows": "validate --rows",
    "validate with engines": "validate --engines",
    "a model": "catalog models DeepSeek-V3",
    "a curve": "catalog curves hopper",
    "catalog of curves": "catalog curves",
    "catalog of models": "catalog models",
}
QUIET = ("init", "schema", "sweep to a file", "plot", "report")


def toml(grid):
    """A grid as a file has it."""
    return "\n".join(f"{key} = {lines.toml(value)}" for key, value in grid.items())


@contextlib.contextmanager
def folder():
    """A folder with the grids and measurements, to run commands in."""
    with tempfile.TemporaryDirectory() as name, contextlib.chdir(name):
        for file, grid in GRIDS.items():
            with open(file, "w", encoding="utf-8") as text:
                text.write(toml(grid))
        sizes = itertools.product((64, 512), (2048, 7168), (512, 4096))
        rows = [f"{m},{n},{k},{(m * n * k * 2 / 4e14 + 5e-6) * 1e6}" for m, n, k in sizes]
        with open("gemm.csv", "w", encoding="utf-8") as text:
            text.write("\n".join(["m,n,k,latency_us", *rows, *rows]))
        own = ["[engine.Own]", 'base = "sglang"', 'source = "measured here"', 'request_s = "3 ms"', 'step_s = "100 us"']
        with open("own.toml", "w", encoding="utf-8") as text:
            text.write("\n".join(own))
        bench = goldens.FOLDER.parent / "benchmarks" / "vllm_0.11.json"
        with open("bench.json", "w", encoding="utf-8") as text:
            text.write(bench.read_text(encoding="utf-8"))
        yield


def run(line, *more, columns="120", most=500):
    """[exit code, lines on standard output, lines on standard error] of a command; sizes of files are left out."""
    with folder():
        done = CliRunner().invoke(cli.main, [*line.split(), *more], env={"COLUMNS": columns}, prog_name="dsjax")
    texts = (re.sub(r"\([\d.,]+ [kM]?B\)", "()", text) for text in (done.stdout, done.stderr))
    return [done.exit_code, *(shortened(text.splitlines(), most) for text in texts)]


def formats(line):
    """A command's table, and the first rows of its JSON and its CSV."""
    (code, out, err), rows = (run(line, "--format", name, most=10**6) for name in ("json", "csv"))
    data = shortened(json.loads("\n".join(out))) if out else err
    cells = [[*map(number, row)] for row in csv.reader(rows[1])]
    return {"table": run(line), "json": [code, data], "csv": [rows[0], shortened(cells), rows[2]]}


def shortened(x, most=6):
    """JSON whose long lists end early."""
    if isinstance(x, dict):
        return {key: shortened(value, most) for key, value in x.items()}
    if isinstance(x, list):
        return [shortened(value, most) for value in x[:most]] + [f"of {len(x)}"] * (len(x) > most)
    return x


def number(text):
    try:
        return float(text)
    except ValueError:
        return text


CASES = {name: functools.partial(formats, line) for name, line in ALL.items()}
CASES |= {name: functools.partial(run, line) for name, line in SOME.items()}
CASES |= {f"quiet: {name}": functools.partial(run, SOME[name], "--quiet") for name in QUIET}
CASES |= {f"narrow: {name}": functools.partial(run, line, columns="60") for name, line in ALL.items()}
CASES |= {name: functools.partial(run, line, columns="100") for name, line in WORDS.items()}
CASES |= {
    f"wide: catalog of {name}": functools.partial(run, f"catalog {name} --wide", columns="400")
    for name in ("hardware", "nics", "models", "precisions", "engines", "curves")
}
CASES["wide: catalog of an own engine"] = functools.partial(
    run, "catalog engines Own --catalog own.toml --wide", columns="400"
)
CASES |= {f"with sources: {name}": functools.partial(run, ALL[name], "-v") for name in ("best", "best of servers")}


def test_what_is_kept_is_an_answer():
    """No command is kept that is not understood, but for the one that says why a size is none."""
    codes = {name: found["table"][0] if name in ALL else found[0] for name, found in goldens.kept("words").items()}
    assert {name for name, code in codes.items() if code not in (0, 1)} == {"plot of a bad size"}


@pytest.mark.parametrize("name", CASES)
def test_a_command_prints_what_is_kept(name):
    goldens.check("words", name, CASES[name]())
