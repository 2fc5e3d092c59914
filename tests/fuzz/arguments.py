"""Values of every option of every command, and environments."""

import os

import click

from dsjax import cli

from . import damage
from .fixtures import GRIDS

# What options and arguments take, by their name.
GOOD = {
    "--axis": ["batch=8:64:8", "hardware=H20,H800", "nic=CX7", "tp=1,2", "precision=fp8,bf16"],
    "--fix": ["context=4096", "hardware=H20", "nic=CX7", "mtp=1", "engine=vllm"],
    "--set": ["nic.CX7.scale_out_bytes_per_s=5e10", "hardware.hbm_bytes=141 GB", "workload.context=100"],
    "--limit": ["min_tps_per_user=30", "max_tpot=2 s", "slo_margin=0.1", "min_tps_per_user=none"],
    "--model": ["DeepSeek-V3", "DeepSeek-R1"],
    "--by": ["hardware", "hardware,batch"],
    "--at": ["batch=16", "hardware=H20,batch=32", "best"],
    "--of": ["tps_per_chip", "step_time"],
    "--vary": ["context", "hardware.hbm_bytes_per_s"],
    "--until": ["feasible", "tps_per_user>=30", "tpot<=20 ms"],
    "--chips": ["8", "16"],
    "--requests-per-s": ["1"],
    "--isl": ["4096"],
    "--osl": ["512"],
    "--hardware": ["H20", "H200", "H20,H200"],
    "--ttft": ["2 s"],
    "--tpot": ["50 ms"],
    "--tps-per-user": ["20"],
    "--output": ["y.nc", "y.svg", "y.html", "y.csv", "y.zarr", "y.json", "y", "sub/y.nc"],
    "--catalog": ["c.toml"],
    "--max-memory": ["4 GB"],
    "--engine": ["vllm", "sglang", "tensorrt-llm"],
    "--error": ["hardware.hbm_bytes_per_s=0.1"],
    "--samples": ["4"],
    "--kind": ["gemm", "decode"],
    "--from": ["1"],
    "--to": ["1e5"],
    "--bins": ["5"],
}
SOURCES = ["core.toml", "core.toml", "core.toml", "serve.toml", "pools.toml", "core.nc", "core.zarr"]
ODD = ["", "x", "=", "=1", "a=", "batch=", "batch=,", "batch=1:2", "batch=1:2:0", "batch=0:1e18:1", "batch=nan", "tp=0"]
ODD += [
    "batch=1e400",
    "hardware=all",
    "hardware=",
    "nic.CX7=5",
    "nic.CX7.x=5",
    "a.b.c.d=1",
    "min_x=3",
    "-1",
    "0",
    "inf",
]
ODD += ["1e400", "9" * 400, "\x1b[31m", "\u00e9", "a\udcffb", "x" * 5000, ".", "..", "/", "/dev/null", "fifo", "folder"]
ODD += [
    "none",
    "all",
    "best",
    "nan",
    "5 parsecs",
    "1e-400",
    "tps_per_chip>=nan",
    "a,b,c",
    ",",
    "--",
    "batch=16,batch=16",
]
NAMES = [name for name in cli.main.list_commands(None) if name not in ("reproduce", "validate")]
HEAVY = {"plan": 0.3, "recommend": 0.3, "report": 0.3, "plot": 0.5}  # share of their cases that are run


def values_for(rng, name):
    """A value for an option: mostly what it takes, at times anything."""
    good = GOOD.get(name)
    return rng.choice(good) if good and rng.random() < 0.6 else rng.choice(ODD)


def arguments(rng, base):
    """A command with some of its options."""
    name = rng.choice(NAMES)
    if rng.random() > HEAVY.get(name, 1.0):
        name = "best"
    command = cli.main.get_command(None, name)
    args, outputs = [name], ["y.nc", "y.svg", "y.html", "y.csv", "y.zarr", "y.json", "y"]
    for parameter in command.params:
        option = parameter.opts[-1]
        if isinstance(parameter, click.Argument):
            word = (
                rng.choice(SOURCES)
                if parameter.name in ("source", "a", "b")
                else rng.choice(["pareto", "axes", "chip", *ODD])
            )
            args.append(word if rng.random() < 0.9 else rng.choice(ODD))
    if name == "plan":
        args += ["--hardware", "H20", "--chips", "8", "--isl", "1024", "--osl", "128", "--tps-per-user", "10"]
    if name == "recommend":
        args += ["--requests-per-s", "1", "--isl", "1024", "--osl", "128", "--max-chips", "64"]
    options = [p for p in command.params if isinstance(p, click.Option) and p.opts[-1] not in ("--scheduler", "--help")]
    for parameter in rng.sample(options, min(len(options), rng.choice([0, 1, 1, 2, 3]))):
        option = parameter.opts[-1]
        if parameter.is_flag:
            args.append(rng.choice([*parameter.opts, *parameter.secondary_opts]))
        elif isinstance(parameter.type, click.Choice) and rng.random() < 0.8:
            args += [option, rng.choice(list(parameter.type.choices))]
        else:
            args += [option, values_for(rng, option)]
    files = {f"{n}.toml": damage.toml(GRIDS[n]).encode() for n in ("core", "serve", "pools")}
    files |= {"c.toml": b'[nic.mine]\nbase = "CX7"\n', "core.nc": (base / "core.nc").read_bytes()}
    files |= {"core.zarr": base / "core.zarr"}
    return {"args": tuple(args), "files": files, "outputs": tuple(outputs), "changes": (strange,)}


def strange(folder):
    """A pipe and a folder."""
    os.mkfifo(folder / "fifo")
    (folder / "folder").mkdir()


def environment(rng, base):
    """A command in an environment where something is missing or nonsense."""
    values = {
        "COLUMNS": ["", "0", "-5", "x", "1", "3", "9" * 30, "\u00b2"],
        "XDG_CACHE_HOME": ["", "g.toml", "missing", "/proc/none", "x" * 300],
        "XDG_CONFIG_HOME": ["", "g.toml", "missing", "x" * 300],
        "HOME": [None, "", "g.toml", "/proc/none", "."],
        "NO_COLOR": ["1"],
        "TERM": ["", "dumb", "x"],
        "LANG": ["C", "xx_YY", ""],
        "LC_ALL": ["C", "POSIX", "xx"],
        "TMPDIR": ["missing", "g.toml"],
        "JAX_PLATFORMS": ["", "cpu"],
    }
    environ = {name: rng.choice(values[name]) for name in rng.sample(list(values), rng.randint(1, 4))}
    files = {"g.toml": damage.toml(GRIDS["core"]).encode(), ".config/dsjax/a.toml": b'[nic.mine]\nbase = "CX7"\n'}
    args = rng.choice([("best", "g.toml"), ("explain", "g.toml"), ("catalog", "nics"), ("names", "axes"), ("--help",)])
    return {"args": args, "files": files, "environ": environ}
