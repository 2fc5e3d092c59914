"""Run every command and every line of Python that the pages show, and compare what is printed with what they show.

    python benchmarks/printed_outputs.py [PAGE ...]             # exit code 1 where a page differs
    python benchmarks/printed_outputs.py --write [PAGE ...]     # outputs on the pages become those of today

The pages are README.md, CONTRIBUTING.md and docs/**/*.md. Their fenced blocks run in order, page by page, in one
empty folder that keeps what earlier blocks of the page wrote, with `examples` and `grids` of the repository beside:

    console     `$ COMMAND`, then what it prints (stdout and stderr as a terminal shows them, 100 columns, no colour)
    sh          commands, one a line; what they print is not shown
    pycon       `>>> ...` and what it prints, in one namespace of the page
    python      statements in that namespace

Other blocks are shown alone, and may hold no command. An HTML comment above a block says more, several items with `;`:

    <!-- lines: 1-8, -2, /hopper/ -->   only these lines of every output, numbers from 1, -1 the last; `...` for others;
                                        /hopper/+ with the lines that follow it further in: folded to the width
    <!-- exit: 1 -->                    exit code of its commands
    <!-- file: my.toml -->              the block is a file of that name in the folder
    <!-- picture: front.png -->         its commands make this file, which --write takes into docs/pictures
    <!-- not run: REASON -->

Figures of the machine are equal to one another: `MACHINE` of page_blocks.py, which also cuts lines of more than
`LONGEST` columns. What no file of the folder goes into is asked once for all pages.
"""

import argparse
import contextlib
import difflib
import doctest
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from page_blocks import SHOWN, Wrong, blocks, cut, normal

ROOT = Path(__file__).parents[1]
INSTALLED = ("README.md",)  # pages whose commands are processes of their own; those of others run in this one
SHIPPED = ("examples", "grids")
COLUMNS = 100
TERMINAL = {"COLUMNS": str(COLUMNS), "NO_COLOR": "1", "MPLBACKEND": "agg", "XDG_CACHE_HOME": os.devnull}
TERMINAL |= {"JAX_COMPILATION_CACHE_DIR": str(Path(tempfile.gettempdir()) / "dsjax-tests")}  # the tests' own
PICTURES = ROOT / "docs" / "pictures"


def pages():
    """Paths of all pages."""
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def checked(path, write=False):
    """(the page as its blocks print it today, [what differs])."""
    page = path.read_text(encoding="utf-8")
    told, parts, done = [], [], 0
    installed = str(path.relative_to(ROOT)) in INSTALLED
    try:
        found = blocks(page)
    except Wrong as error:
        return page, [str(error)]
    with scratch() as folder:
        names = {"__name__": "__main__"}
        for block in found:
            text = block.text
            try:
                text = _ran(block, folder, installed, names)
                if "picture" in block.said:
                    _picture(Path(folder, block.said["picture"]), write)
            except Wrong as error:
                told.append(f"line {block.line}: {error}")
            if normal(text) != normal(block.text):
                lines = difflib.unified_diff(block.text.split("\n"), text.split("\n"), "shown", "printed", n=1)
                told.append(f"line {block.line}:\n" + "\n".join(lines))
                parts += [page[done : block.start], text]
                done = block.end
    return "".join([*parts, page[done:]]), told


def _picture(path, write):
    """A picture that a block made is one of the site's."""
    if not path.is_file():
        raise Wrong(f"{path.name}: is not made")
    if write:
        shutil.copy(path, PICTURES / path.name)
    elif not (PICTURES / path.name).is_file():
        raise Wrong(f"docs/pictures/{path.name}: is missing; expected --write")


@contextlib.contextmanager
def scratch():
    """An empty folder as the working directory and home; a terminal of `COLUMNS` columns without colour."""
    kept = dict(os.environ)
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        for name in SHIPPED:
            Path(folder, name).symlink_to(ROOT / name)
        for name in ("XDG_CONFIG_HOME", "FORCE_COLOR", "LINES"):
            os.environ.pop(name, None)
        os.environ |= TERMINAL | {"HOME": folder}
        for name, first in (("PATH", Path(sys.executable).parent), ("PYTHONPATH", ROOT)):
            os.environ[name] = os.pathsep.join(filter(None, [str(first), kept.get(name)]))
        try:
            yield folder
        finally:
            os.environ.clear()
            os.environ.update(kept)


def _ran(block, folder, installed, names):
    """The text of a block with the outputs of today."""
    if "file" in block.said:
        Path(folder, block.said["file"]).write_text(block.text, encoding="utf-8")
    if "not run" in block.said or block.language in SHOWN:
        return block.text
    if block.language == "pycon":
        return _session(block, names)
    if block.language == "python":
        _executed(compile(block.text, f"<line {block.line}>", "exec"), names)
        return block.text
    texts = []
    for command in _commands(block):
        printed = _command(re.sub(r"\\\n(> )?", "", command), folder, installed, int(block.said.get("exit", 0)))
        texts.append(f"$ {command}\n" + cut(printed, block.said.get("lines")))
    return "".join(texts) if block.language == "console" else block.text


def _commands(block):
    """Command lines of a block of console or sh, each with its continuations."""
    if block.language == "console":
        if not block.text.startswith("$ "):
            raise Wrong("begins with no command; expected '$ COMMAND'")
        return re.findall(r"^\$ ((?:[^\n]*\\\n)*[^\n]*)$", block.text, re.MULTILINE)
    lines = block.text.replace("\\\n", " ").splitlines()
    return [line for line in lines if line.strip() and not line.lstrip().startswith("#")]


_ASKED: dict = {}  # command line -> (what it prints, exit code), where that depends on nothing else


def _command(line, folder, installed, code):
    """What a command line prints."""
    words = shlex.split(line, comments=True)
    pure = "-o" not in words and not any(Path(folder, word).is_file() for word in words)
    if pure and line in _ASKED:
        printed, found = _ASKED[line]
    elif words[0] == "dsjax" and not re.search(r"""[|<>&;$`](?=([^"']|"[^"]*"|'[^']*')*$)""", line) and not installed:
        printed, found = _inside(words[1:])
    else:
        how = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "check": False}
        done = subprocess.run(["bash", "-c", f"set -o pipefail; {line}"], cwd=folder, **how)
        printed, found = done.stdout, done.returncode
    if pure and words[0] == "dsjax":
        _ASKED[line] = printed, found
    if found != code:
        raise Wrong(f"{line}: exit code {found}, expected {code}; printed\n{printed}")
    return printed.replace(f"{folder}/", "")


def _inside(words):
    """(what `dsjax WORDS` prints, exit code), in this process."""
    from dsjax import cli

    kept, text = sys.argv, io.StringIO()
    sys.argv = ["dsjax", *words]
    try:
        with contextlib.redirect_stdout(text), contextlib.redirect_stderr(text):
            cli.main(words, prog_name="dsjax")
    except SystemExit as stop:
        return text.getvalue(), stop.code or 0
    finally:
        sys.argv = kept
    return text.getvalue(), 0


def _session(block, names):
    """A block of pycon with the outputs of today."""
    texts = []
    for example in doctest.DocTestParser().get_examples(block.text):
        printed = _executed(compile(example.source, f"<line {block.line}>", "single"), names)
        source = example.source.rstrip("\n").split("\n")
        texts += [f"{'...' if i else '>>>'} {line}".rstrip() + "\n" for i, line in enumerate(source)]
        texts.append(cut(printed, block.said.get("lines")))
    return "".join(texts)


def _executed(code, names):
    """What statements print."""
    text = io.StringIO()
    try:
        with contextlib.redirect_stdout(text):
            exec(code, names)
    except Exception as error:
        raise Wrong(f"{type(error).__name__}: {error}") from error
    return text.getvalue()


def main():
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pages", nargs="*", type=Path, metavar="PAGE", help="(default: all)")
    parser.add_argument("--write", action="store_true", help="outputs become those of today")
    args, wrong = parser.parse_args(), 0
    for path in [page.resolve() for page in args.pages] or pages():
        start = sum(os.times()[:4])
        page, told = checked(path, args.write)
        print(f"{path.relative_to(ROOT)}: {len(told)} blocks differ, {sum(os.times()[:4]) - start:.1f} s of CPU")
        if args.write and page != path.read_text(encoding="utf-8"):
            path.write_text(page, encoding="utf-8")
            told = [text for text in told if not text.partition(":")[2].startswith("\n")]
        print(*told, sep="\n", end="\n" if told else "")
        wrong += len(told)
    sys.exit(int(wrong > 0))


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
