"""First answers: every question once in a fresh interpreter and on the command line, with warm and with empty caches.

    python benchmarks/first_calls.py [-o FILE.json]

Python rows ask in an interpreter of their own, after `import dsjax`; a question about results begins with its sweep,
which is not counted. Every row is a process; wall and CPU seconds, medians of three; peak: resident memory [MB].
`first` is the wall of a question, `start` that of the whole process.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROUNDS = 3
# {row: (what comes before, the question)}: Python, in an interpreter of its own.
PYTHON = {
    "sweep": ("", "dsjax.sweep('default')"),
    "sweep of other lengths": ("dsjax.sweep('default')", "dsjax.sweep('default', axes={'batch': [*range(3, 40)]})"),
    "sweep over other axes": ("dsjax.sweep('default')", "dsjax.sweep('default', axes={'context': [1024, 8192]})"),
    "sensitivity, whole grid": ("ds = dsjax.sweep('default')", "dsjax.sensitivity(ds, at='grid')"),
    "sensitivity, best point": ("ds = dsjax.sweep('default')", "dsjax.sensitivity(ds, at='best')"),
    "sensitivity, envelope": ("", "dsjax.sensitivity('default', at='best', envelope=True)"),
    "solve": (
        "",
        "dsjax.solve('default', 'nic.CX7.scale_out_bytes_per_s', until='tps_per_chip >= 2500', "
        "fixed={'hardware': 'H800'})",
    ),
    "uncertainty": ("", "dsjax.uncertainty('default', {'hardware.hbm_bytes_per_s': 0.05, 'nic': 0.1})"),
    "recommend": ("", "dsjax.recommend(requests_per_s=10, isl=4096, osl=1024)"),
    "pareto": ("", "dsjax.pareto('default')"),
    "explain": ("", "dsjax.explain('default')"),
    "compare": (
        "",
        "dsjax.compare('default', dsjax.load_grid('default', settings={'nic.CX7.scale_out_bytes_per_s': '100 GB/s'}))",
    ),
}
COMMANDS = {
    "--help": ["--help"],
    "sweep": ["sweep"],
    "sensitivity": ["sensitivity"],
    "sensitivity --envelope": ["sensitivity", "--envelope"],
    "solve": [
        *("solve", "--fix", "hardware=H800", "--vary", "nic.CX7.scale_out_bytes_per_s"),
        *("--until", "tps_per_chip >= 2500"),
    ],
    "uncertainty": ["uncertainty", "--error", "hardware.hbm_bytes_per_s=5%", "--error", "nic=10%"],
    "recommend": ["recommend", "--requests-per-s", "10", "--isl", "4096", "--osl", "1024"],
    "pareto": ["pareto"],
    "explain": ["explain"],
    "compare": ["compare", "--set-b", "nic.CX7.scale_out_bytes_per_s=100 GB/s"],
}
ASK = """
import json, time
import dsjax
{before}
wall, cpu = time.perf_counter(), time.process_time()
{question}
print(json.dumps({{"first": time.perf_counter() - wall, "first cpu": time.process_time() - cpu}}))
"""


def process(command, env):
    """{wall, cpu, peak} of one process, and what its last line says where that is JSON."""
    wall = time.perf_counter()
    with tempfile.TemporaryFile("w+") as out, subprocess.Popen(command, stdout=out, stderr=out, env=env) as running:
        _, status, used = os.wait4(running.pid, 0)
        running.returncode = os.waitstatus_to_exitcode(status)
        wall = time.perf_counter() - wall
        out.seek(0)
        text = out.read()
    if running.returncode not in (0, 1):
        raise SystemExit(f"{command}: {text.splitlines()[-1:]}")
    scale = 1 if sys.platform == "darwin" else 1024
    record = {"wall": wall, "cpu": used.ru_utime + used.ru_stime, "peak": used.ru_maxrss * scale / 1e6}
    last = (text.splitlines() or [""])[-1]
    return record | (json.loads(last) if last.startswith("{") else {})


def median(command, cold=False):
    """Medians of several processes; `cold`: each with an empty cache."""
    records = []
    with tempfile.TemporaryDirectory() as folder:
        for i in range(ROUNDS + (not cold)):
            env = os.environ | {"XDG_CACHE_HOME": f"{folder}/{i if cold else ''}"}
            records.append(process(command, env))
    records = records[not cold :]  # the first one fills the cache
    return {key: statistics.median(record[key] for record in records) for key in records[0]}


NAMES = [*(f"Python: {row}" for row in PYTHON), *(f"dsjax {row}" for row in COMMANDS)]


def measured(name, cold=False):
    """The record of one of NAMES; `cold`: with empty caches."""
    interpreter = [sys.executable, "-W", "ignore"]
    if name.startswith("Python: "):
        before, question = PYTHON[name.removeprefix("Python: ")]
        return median([*interpreter, "-c", ASK.format(before=before, question=question)], cold)
    return median([*interpreter, "-m", "dsjax", *COMMANDS[name.removeprefix("dsjax ")]], cold)


def rows():
    """(row, its record) of all."""
    for name in ("Python: sweep", "dsjax sweep"):
        yield f"{name}, empty caches", measured(name, cold=True)
    yield from ((name, measured(name)) for name in NAMES)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", metavar="FILE.json")
    options = parser.parse_args()
    found = {}
    for row, record in rows():
        found[row] = record
        print(f"{row:36}", "  ".join(f"{key} {value:.2f}" for key, value in record.items()), flush=True)
    if options.output:
        Path(options.output).write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
