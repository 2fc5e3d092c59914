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
import os
import queue
import random
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
COPIED = ("dsjax", "tests", "grids", "docs", "examples", "benchmarks", "pyproject.toml", "README.md", "CONTRIBUTING.md")
COPIED += ("CHANGELOG.md", "mkdocs.yml", "requirements-tested.txt", "LICENSE")
OPERATORS = {ast.Add: "-", ast.Sub: "+", ast.Mult: "/", ast.Div: "*", ast.FloorDiv: "/", ast.Mod: "*", ast.Pow: "*"}
COMPARISONS = {ast.Lt: "<=", ast.LtE: "<", ast.Gt: ">=", ast.GtE: ">", ast.Eq: "!=", ast.NotEq: "=="}
COMPARISONS |= {ast.In: "not in", ast.NotIn: "in", ast.Is: "is not", ast.IsNot: "is"}
EXTREMES = {"min": "max", "max": "min", "minimum": "maximum", "maximum": "minimum", "floor": "ceil", "ceil": "floor"}
LOOKS = {"ms", "lw", "ls", "zorder", "alpha", "fontsize", "labelsize", "figsize", "pad", "strokeWidth", "fontSize"}
WORDED = {"InputError", "Remark", "Faults", "say", "echo", "secho", "print", "warn", "group", "option", "command"}


class Fault(NamedTuple):
    """One change of a module: bytes `start` to `end` of its text become `new`."""

    path: str
    line: int
    start: int
    end: int
    old: str
    new: str
    function: str
    code: str  # the line as it was

    def __str__(self):
        return f"{self.path}:{self.line} `{self.old}` -> `{self.new}` in: {self.code}"


# What may be changed


def is_worded(node):
    """Whether a sum or a product makes text."""
    return any(
        isinstance(n, ast.JoinedStr) or (isinstance(n, ast.Constant) and isinstance(n.value, str))
        for n in ast.walk(node)
    )


def name_of(call):
    return getattr(call.func, "attr", getattr(call.func, "id", ""))


def left_out(node):
    """Parts of a node in which nothing is changed: annotations, decorators, messages, lists of names."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        yield from (*node.decorator_list, node.returns)
    if isinstance(node, ast.ClassDef):
        yield from node.decorator_list
    if isinstance(node, (ast.arg, ast.AnnAssign)):
        yield node.annotation
    if isinstance(node, (ast.Raise, ast.JoinedStr, ast.Assert, ast.Import, ast.ImportFrom)):
        yield node
    if isinstance(node, ast.Call) and name_of(node) in WORDED:
        yield node
    if isinstance(node, ast.Assign) and any(getattr(t, "id", "") in ("__all__", "_PUBLIC") for t in node.targets):
        yield node
    if isinstance(node, ast.keyword) and node.arg in {"strict", *LOOKS}:  # lengths are equal by construction
        yield node.value
    if isinstance(node, ast.Dict):
        yield from (x for key, x in zip(node.keys, node.values) if getattr(key, "value", None) in LOOKS)
    if isinstance(node, ast.Call) and name_of(node) in ("ljust", "rjust"):
        yield from node.args
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
        yield node


def replacement(number):
    """A constant that is another one."""
    if isinstance(number, bool):
        return str(not number)
    return repr(number + 1 if isinstance(number, int) or number == 0 else number * 2)


class Sites(ast.NodeVisitor):
    """Faults of one module, in the order of its text."""

    def __init__(self, path, text):
        self.path, self.text = path, text.encode()
        self.starts = [0]
        for line in self.text.splitlines(keepends=True):
            self.starts.append(self.starts[-1] + len(line))
        self.functions, self.hidden, self.found = [], set(), []
        self.visit(ast.parse(text))

    def visit(self, node):
        self.hidden.update(id(part) for part in left_out(node) if part is not None)
        if id(node) in self.hidden:
            return
        inside = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
        if inside:
            self.functions.append(node.name)
        getattr(self, f"of_{type(node).__name__}", lambda node: None)(node)
        self.generic_visit(node)
        if inside:
            self.functions.pop()

    def add(self, start, end, new):
        line = self.text[:start].count(b"\n") + 1
        code = self.text[self.starts[line - 1] : self.starts[line]].decode().strip()
        function = self.functions[-1] if self.functions else ""
        self.found.append(Fault(self.path, line, start, end, self.text[start:end].decode(), new, function, code))

    def span(self, node):
        start = self.starts[node.lineno - 1] + node.col_offset
        return start, self.starts[node.end_lineno - 1] + node.end_col_offset

    def between(self, left, right, pattern, new):
        """Where an operator stands between two nodes, brackets and all."""
        start, end = self.span(left)[1], self.span(right)[0]
        if found := re.search(pattern, self.text[start:end]):
            self.add(start + found.start(), start + found.end(), new)

    def of_BinOp(self, node):
        if type(node.op) in OPERATORS and not is_worded(node):
            self.between(node.left, node.right, rb"\*\*|//|[-+*/%]", OPERATORS[type(node.op)])

    def of_Compare(self, node):
        for left, op, right in zip([node.left, *node.comparators], node.ops, node.comparators):
            self.between(left, right, rb"not\s+in|is\s+not|[<>=!]=|[<>]|\bin\b|\bis\b", COMPARISONS[type(op)])

    def of_BoolOp(self, node):
        other = "or" if isinstance(node.op, ast.And) else "and"
        for left, right in zip(node.values, node.values[1:]):
            self.between(left, right, rb"\band\b|\bor\b", other)

    def of_UnaryOp(self, node):
        start, end = self.span(node)[0], self.span(node.operand)[0]
        if isinstance(node.op, ast.Not):
            self.add(start, end, "" if end - start == 4 else "(")
            if end - start != 4:
                self.found.pop()  # brackets of its own

    def of_If(self, node):
        start, end = self.span(node.test)
        self.add(start, end, f"not ({self.text[start:end].decode()})")

    def of_Call(self, node):
        name = name_of(node)
        if name in EXTREMES and node.args:
            end = self.span(node.func)[1]
            self.add(end - len(name), end, EXTREMES[name])

    def of_Constant(self, node):
        if isinstance(node.value, (bool, int, float)):
            self.add(*self.span(node), replacement(node.value))


def draw(seed, number):
    """Faults by seed: folders of dsjax/ in turn, so that all have their share; no place twice."""
    folders = {}
    for file in sorted((ROOT / "dsjax").rglob("*.py")):
        path = file.relative_to(ROOT)
        if found := Sites(str(path), file.read_text()).found:
            folders.setdefault(str(path.parent), []).extend(found)
    source = random.Random(seed)
    faults = []
    while len(faults) < number and folders:
        for folder in source.sample(sorted(folders), len(folders)):
            faults.append(folders[folder].pop(source.randrange(len(folders[folder]))))
            if not folders[folder]:
                del folders[folder]
    return faults[:number]


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


def run(tree, tests, seconds):
    """(the first test that fails or "", whether the processor's time ran out) in a copy of the tree."""

    def limited():
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 5))

    command = [sys.executable, "-m", "pytest", "-n", "0", "-x", "-q", "-rfE", "--no-header", "-p", "no:cacheprovider"]
    environment = os.environ | {
        "PYTHONPATH": str(tree),
        "JAX_PLATFORMS": "cpu",
        "COLUMNS": "500",
        "OMP_NUM_THREADS": "1",
    }
    try:
        done = subprocess.run(
            [*command, "--tb=no", *(f"tests/{test}" for test in tests)],
            cwd=tree,
            env=environment,
            preexec_fn=limited,
            timeout=10 * seconds,
            capture_output=True,
            text=True,
            start_new_session=True,
        )
    except subprocess.TimeoutExpired:
        return "", True
    if done.returncode < 0 or done.returncode == 137:
        return "", True
    if done.returncode == 0:
        return "", False
    failed = re.search(r"^(?:FAILED|ERROR) tests/([^\n]*?)(?: - |\n|$)", done.stdout, re.MULTILINE)
    return (failed.group(1) if failed else tests[0]), False


def forget(tree, path):
    """Bytecode of a module, which is told from another by its size and second alone."""
    for file in (tree / path).parent.glob(f"__pycache__/{Path(path).stem}.*.pyc"):
        file.unlink()


def tried(fault, trees, most, seconds):
    """(test that fails or "", whether time ran out, tests run) with a fault in one of the copies."""
    tree = trees.get()
    tests = tests_of(fault, most)
    file = tree / fault.path
    text = file.read_bytes()
    try:
        file.write_bytes(text[: fault.start] + fault.new.encode() + text[fault.end :])
        forget(tree, fault.path)
        failed, late = run(tree, tests, seconds)
        return failed, late, tests
    finally:
        file.write_bytes(text)
        forget(tree, fault.path)
        trees.put(tree)


def copy_to(folder):
    folder.mkdir()
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        elif (ROOT / name).exists():
            shutil.copy2(ROOT / name, folder / name)
    return folder


def argument_of(fault):
    """Why a fault changes nothing, as `mutations.toml` has it, or None."""
    for row in listed()["equivalent"]:
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
        trees = queue.SimpleQueue()
        for i in range(given.jobs):
            trees.put(copy_to(Path(folder) / f"copy{i}"))
        clean = copy_to(Path(folder) / "clean")
        fails = functools.cache(lambda tests: run(clean, tests, given.seconds))

        def judged(i):
            fault = faults[i]
            if because := argument_of(fault):
                return i, "equivalent", because
            failed, late, tests = tried(fault, trees, given.files, given.seconds)
            if late:
                return i, *(
                    ("survived", "no end, and none without it") if fails(tuple(tests))[1] else ("caught", "no end")
                )
            if failed and any(fails((failed,))):
                return i, "survived", f"{failed} fails without it"
            return i, *(("caught", failed) if failed else ("survived", " ".join(tests)))

        for done in concurrent.futures.as_completed([pool.submit(judged, i) for i in faults]):
            i, outcome, why = done.result()
            counts[outcome] += 1
            print(f"{i:3} {outcome:10} {faults[i]}\n      {why}", flush=True)
    print(f"seed {given.seed}: {len(faults)} faults: " + ", ".join(f"{n} {name}" for name, n in counts.items()))
    return 1 if counts["survived"] else 0


if __name__ == "__main__":
    sys.exit(main())
