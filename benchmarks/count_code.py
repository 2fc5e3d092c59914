"""Lines of code of a checkout or a revision, package by package: what a reader has to read to know what is computed.

python benchmarks/count_code.py [PATH] [--rev REVISION] [--package dsjax]

A line counts where a token of code stands on it. Not counted: blank lines, comments, docstrings, imports (inside
functions too) and annotations (a line that holds nothing else; a field that has no value is code).
"""

import argparse
import ast
import io
import subprocess
import tarfile
import tokenize
from pathlib import Path

NO_CODE = {
    *(tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT),
    *(tokenize.ENCODING, tokenize.ENDMARKER),
}
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def files_of(path, revision, package):
    """{path inside the package: text} of its Python files, in a folder or at a revision of its repository."""
    if revision is None:
        root = path / package
        return {str(file.relative_to(root)): file.read_text() for file in root.rglob("*.py")}
    command = ["git", "-C", str(path), "archive", revision, package]
    with tarfile.open(fileobj=io.BytesIO(subprocess.run(command, check=True, capture_output=True).stdout)) as archive:
        members = [m for m in archive.getmembers() if m.isfile() and m.name.endswith(".py")]
        return {m.name.removeprefix(f"{package}/"): archive.extractfile(m).read().decode() for m in members}


def skipped(tree):
    """Docstrings, imports and annotations of a module."""
    for node in ast.walk(tree):
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            yield node.body[0]
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            yield node
        for name in ("annotation", "returns"):
            if not isinstance(node, ast.AnnAssign) and (annotation := getattr(node, name, None)) is not None:
                yield annotation


def lines_of_code(text):
    """Number of lines of a module on which code stands."""
    spans = [((n.lineno, n.col_offset), (n.end_lineno, n.end_col_offset)) for n in skipped(ast.parse(text))]
    hidden = {}  # line: spans of columns, in bytes as `ast` counts
    for (first, start), (last, end) in spans:
        for line in range(first, last + 1):
            hidden.setdefault(line, []).append((start if line == first else 0, end if line == last else 1 << 30))
    counted = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type in NO_CODE:
            continue
        column = len(token.line[: token.start[1]].encode())
        if not any(start <= column < end for start, end in hidden.get(token.start[0], ())):
            counted.update(range(token.start[0], token.end[0] + 1))
    return len(counted)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("path", nargs="?", type=Path, default=Path(__file__).parent.parent, help="a checkout")
    parser.add_argument("--rev", help="a revision of the checkout's repository, not its files")
    parser.add_argument("--package", default="dsjax")
    given = parser.parse_args()
    rows = {}
    for name, text in sorted(files_of(given.path, given.rev, given.package).items()):
        row = rows.setdefault(name.split("/")[0] if "/" in name else "(modules)", [0, 0, 0])
        for i, n in enumerate((1, len(text.splitlines()), lines_of_code(text))):
            row[i] += n
    rows["total"] = [sum(column) for column in zip(*rows.values(), strict=True)]
    print(f"{given.package:14} {'modules':>8} {'lines':>8} {'code':>8}")
    for name, row in rows.items():
        print(f"{name:14} " + " ".join(f"{n:8,}" for n in row))


if __name__ == "__main__":
    main()
