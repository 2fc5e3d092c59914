"""Do the tests bite: small faults put into dsjax one at a time, and what the tests of the module say.

python benchmarks/mutations.py [--seed 1] [--number 60] [--only N ...] [--jobs 2] [--list] [--full]

Faults are drawn by seed, folder after folder of dsjax/: an operator, a comparison, a boolean condition or a constant
becomes another one. Docstrings, messages, annotations, decorators, lists of names and how a picture looks stay. Every
fault goes into a copy of the tree, where the files of tests nearest to its module run until one fails: those that
`mutations.toml` names for its folder, that import the module or what imports it, that name the changed function. A
fault is caught where a test fails that passes without it, or where the tests take over `--seconds` of a processor that
they do not take without it. Faults that change nothing are listed in `mutations.toml`, each with its argument. The exit
code is 1 where another one survives.
"""

import argparse
import ast
import concurrent.futures
import functools
import json
import os
import queue
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import tomllib
from pathlib import Path

from faults import draw

ROOT = Path(__file__).parent.parent
COPIED = ("dsjax", "tests", "grids", "docs", "examples", "benchmarks", "pyproject.toml", "README.md", "CONTRIBUTING.md")
COPIED += ("CHANGELOG.md", "mkdocs.yml", "requirements-tested.txt", "LICENSE")

# Which tests concern a module


@functools.cache
def imports_of(path):
    """Modules of dsjax that a file imports, by their dotted names."""
    names = set()
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.Import):
            names.update(a.name for a in node.names)
        if isinstance(node, ast.ImportFrom) and node.module:
            names.update({node.module} | {f"{node.module}.{a.name}" for a in node.names})
    return {name for name in names if name.startswith("dsjax")}


@functools.cache
def texts_of_tests():
    return {file.name: file.read_text() for file in sorted((ROOT / "tests").glob("test_*.py"))}


@functools.cache
def listed():
    return tomllib.loads((Path(__file__).parent / "mutations.toml").read_text())


def tests_of(fault, most):
    """Files of tests of a fault, the nearest first."""
    path = Path(fault.path)
    module = ".".join(path.with_suffix("").parts).removesuffix(".__init__")
    package = module.rpartition(".")[0]
    users = {
        ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for file in (ROOT / "dsjax").rglob("*.py")
        if module in imports_of(str(file.relative_to(ROOT)))
    }
    score = dict.fromkeys(texts_of_tests(), 0.0)
    for prefix, files in listed()["tests"].items():
        if module == prefix or module.startswith(f"{prefix}."):
            for place, name in enumerate(files):
                score[f"test_{name}.py"] += 6 + 2 * prefix.count(".") - place
    stem = path.stem.strip("_")
    for name, text in texts_of_tests().items():
        known = imports_of(f"tests/{name}")
        score[name] += 10 * (module in known) + 6 * (len(stem) > 3 and stem in name)
        score[name] += 4 * bool(len(fault.function) > 5 and re.search(rf"\b{fault.function}\b", text))
        score[name] += 2 * bool(known & users) + (package != "dsjax" and any(k.startswith(package) for k in known))
    for name in listed()["slow"]:
        score[f"test_{name}.py"] -= 4
    best = sorted(score, key=lambda name: (-score[name], len(texts_of_tests()[name])))
    return [name for name in best if score[name] > 0][:most]


# Running them


def run(tree, tests, seconds, without=()):
    """(the first test that fails or "", whether the processor's time ran out) in a copy of the tree.

    `without`: tests left out.
    """
    arguments = ["-n", "0", "-x", "-q", "-rfE", "--no-header", "-p", "no:cacheprovider", "--tb=no"]
    arguments += [*(f"--deselect=tests/{test}" for test in without), *(f"tests/{test}" for test in tests)]
    done = tree.asked(arguments, seconds)
    if done["code"] < 0 or done["code"] == 137:
        return "", True
    if done["code"] == 0:
        return "", False
    failed = re.search(r"^(?:FAILED|ERROR) tests/([^\n]*?)(?: - |\n|$)", done["out"], re.MULTILINE)
    return (failed.group(1) if failed else tests[0]), False


def forget(tree, path):
    """Bytecode of a module, which is told from another by its size and second alone."""
    for file in (tree.folder / path).parent.glob(f"__pycache__/{Path(path).stem}.*.pyc"):
        file.unlink()


def tried(fault, trees, tests, seconds, fails):
    """(test that fails or "", whether time ran out) with a fault in one of the copies.

    `fails`: {test: whether it fails without the fault too}; those that do are left out.
    """
    tree = trees.get()
    file = tree.folder / fault.path
    text = file.read_bytes()
    try:
        file.write_bytes(text[: fault.start] + fault.new.encode() + text[fault.end :])
        forget(tree, fault.path)
        while True:
            failed, late = run(tree, tests, seconds, [test for test, own in fails.items() if own])
            if not failed or fails.get(failed):  # the one that is left out fails again: its name is not understood
                return "", late
            fails.setdefault(failed, any(trees.without((failed,), seconds)))
            if not fails[failed]:
                return failed, late
    finally:
        file.write_bytes(text)
        forget(tree, fault.path)
        trees.put(tree)


class Tree:
    """A copy of the tree, and a process in it whose forks run tests (`forks.py`)."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir()
        for name in COPIED:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
            elif (ROOT / name).exists():
                shutil.copy2(ROOT / name, folder / name)
        own = {"PYTHONPATH": str(folder), "JAX_PLATFORMS": "cpu", "COLUMNS": "500", "OMP_NUM_THREADS": "1"}
        command = [sys.executable, str(folder / "benchmarks" / "forks.py")]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen(command, cwd=folder, env=os.environ | own, **pipes)

    def asked(self, arguments, seconds):
        """What the process answers to arguments of pytest."""
        print(json.dumps({"arguments": arguments, "seconds": seconds}), file=self.process.stdin, flush=True)
        return json.loads(self.process.stdout.readline())

    def end(self):
        """End the process, which reads no more."""
        self.process.communicate()


class Trees(queue.SimpleQueue):
    """Copies of the tree to put faults into, and one that stays `clean`."""

    def __init__(self, folder, number):
        self.clean_lock = threading.Lock()
        self.all = [Tree(folder / name) for name in ("clean", *(f"copy{i}" for i in range(number)))]
        self.clean, *copies = self.all
        for tree in copies:
            self.put(tree)

    def without(self, tests, seconds):
        """What `run` says of tests without any fault."""
        with self.clean_lock:
            return run(self.clean, tests, seconds)

    def end(self):
        for tree in self.all:
            tree.end()


def argument_of(fault):
    """Why a fault changes nothing, as `mutations.toml` has it, or None."""
    for row in listed().get("equivalent", []):
        if (row["path"], row["code"], row["old"], row["new"]) == (fault.path, fault.code, fault.old, fault.new):
            return row["because"]
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--number", type=int, default=60, help="faults drawn")
    parser.add_argument("--only", type=int, nargs="+", metavar="N", help="these of the faults drawn, from 1")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--files", type=int, default=5, help="files of tests run at most for a fault")
    parser.add_argument("--seconds", type=int, default=120, help="of a processor, for the tests of a fault")
    parser.add_argument("--tests", nargs="+", metavar="FILE", help="of tests/ to run, instead of the nearest")
    parser.add_argument("--list", action="store_true", help="faults and their tests, without running them")
    given = parser.parse_args()
    faults = dict(enumerate(draw(given.seed, given.number), start=1))
    faults = {i: fault for i, fault in faults.items() if not given.only or i in given.only}
    if given.list:
        for i, fault in faults.items():
            print(f"{i:3} {fault}\n      {' '.join(tests_of(fault, given.files))}")
        return 0
    counts = dict.fromkeys(("caught", "survived", "equivalent"), 0)
    with tempfile.TemporaryDirectory() as folder, concurrent.futures.ThreadPoolExecutor(given.jobs) as pool:
        trees = Trees(Path(folder), given.jobs)
        fails = {}

        def judged(i):
            if because := argument_of(faults[i]):
                return i, "equivalent", because
            tests = given.tests or tests_of(faults[i], given.files)
            failed, late = tried(faults[i], trees, tests, given.seconds, fails)
            if late and trees.without(tests, given.seconds)[1]:
                return i, "survived", "no end, and none without it"
            return i, *(("caught", failed or "no end") if failed or late else ("survived", " ".join(tests)))

        for done in concurrent.futures.as_completed([pool.submit(judged, i) for i in faults]):
            i, outcome, why = done.result()
            counts[outcome] += 1
            print(f"{i:3} {outcome:10} {faults[i]}\n      {why}", flush=True)
        trees.end()
    if left_out := [test for test, own in fails.items() if own]:
        print(f"fail without any fault, and left out: {', '.join(left_out)}")
    print(f"seed {given.seed}: {len(faults)} faults: " + ", ".join(f"{n} {name}" for name, n in counts.items()))
    return 1 if counts["survived"] else 0


if __name__ == "__main__":
    sys.exit(main())
