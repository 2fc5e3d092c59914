"""Small faults that can be put into the code of dsjax, each at one place; drawn by seed for `mutations.py`."""

import ast
import functools
import random
import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
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


@functools.cache
def by_folder():
    """{folder of dsjax/: its faults}, all that can be made."""
    folders = {}
    for file in sorted((ROOT / "dsjax").rglob("*.py")):
        path = file.relative_to(ROOT)
        if found := Sites(str(path), file.read_text()).found:
            folders.setdefault(str(path.parent), []).extend(found)
    return folders


def draw(seed, number):
    """Faults by seed: folders of dsjax/ in turn, so that all have their share; no place twice."""
    folders = {name: list(found) for name, found in by_folder().items()}
    source = random.Random(seed)
    faults = []
    while len(faults) < number and folders:
        for folder in source.sample(sorted(folders), len(folders)):
            faults.append(folders[folder].pop(source.randrange(len(folders[folder]))))
            if not folders[folder]:
                del folders[folder]
    return faults[:number]
