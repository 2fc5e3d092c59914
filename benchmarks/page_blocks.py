"""Fenced blocks of a page, what is said of them in a comment above, and how the output of a command is shown.

printed_outputs.py says what kinds of blocks and comments there are.
"""

import itertools
import re
from typing import NamedTuple

LONGEST = 120  # columns of a line that is shown
RUN = ("console", "sh", "pycon", "python")
SHOWN = ("toml", "text", "json", "csv", "yaml", "bibtex")
FENCE = re.compile(r"((?:^[ \t]*<!--[^\n]*-->\n)?)^```([^\n]*)\n(.*?)^```[ \t]*$", re.MULTILINE | re.DOTALL)
LEFT_OUT = "..."
MACHINE = (  # pattern -> what stands for it
    (re.compile(r"\d+(\.\d+)?(e[+-]?\d+)? points/s"), "RATE points/s"),
    (re.compile(r"^(wrote \S+) \(\d[\d,.]* [kMG]?B\)", re.MULTILINE), r"\1"),  # compression decides
    (re.compile(r"\bdsjax,? (version )?\d+\.\d+\.\d+\w*"), "dsjax VERSION"),
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?(Z|\+00:00)?"), "TIME"),
)


class Block(NamedTuple):
    """A fenced block of a page."""

    start: int  # of its text, in the page
    end: int
    language: str
    text: str
    said: dict  # directive -> value
    line: int


class Wrong(Exception):
    """A block that cannot be read, or does not do what it is shown to do."""


def blocks(page):
    """The fenced blocks of the text of a page."""
    found = []
    for match in FENCE.finditer(page):
        line = page.count("\n", 0, match.start(2)) + 1
        language = match[2].strip().split()[0] if match[2].strip() else ""
        found.append(Block(match.start(3), match.end(3), language, match[3], _said(match[1], line), line))
        if language not in RUN + SHOWN:
            raise Wrong(f"line {line}: a block of {language!r}; expected one of {', '.join(RUN + SHOWN)}")
        if language in SHOWN and "file" not in found[-1].said and re.search(r"^(\$ )?dsjax ", match[3], re.MULTILINE):
            raise Wrong(f"line {line}: a command in a block of {language}; expected console or sh")
    return found


DIRECTIVES = ("lines", "exit", "file", "picture", "not run")


def _said(comment, line):
    inside = re.fullmatch(r"<!--(.*)-->", comment.strip())
    items = [item.partition(":") for item in re.split(r";(?=[a-z ]+:)", inside[1])] if inside else []
    said = {name.strip(): value.strip() for name, _, value in items if name.strip() in DIRECTIVES}
    if inside and len(said) < len(items) and said:
        raise Wrong(f"line {line}: {comment.strip()}; expected {', '.join(DIRECTIVES)}")
    if "not run" in said and len(said["not run"]) < 10:
        raise Wrong(f"line {line}: not run; expected the reason")
    return said


def normal(text):
    """Text without figures of the machine."""
    for pattern, name in MACHINE:
        text = pattern.sub(name, text)
    return text


def cut(printed, wanted):
    """Lines of an output that a page shows, `LEFT_OUT` for runs of others."""
    lines = [line.rstrip() for line in printed.rstrip("\n").split("\n")] if printed.strip() else []
    lines = [line if len(line) <= LONGEST else line[: LONGEST - len(LEFT_OUT)] + LEFT_OUT for line in lines]
    if wanted is None:
        return "".join(f"{line}\n" for line in lines)
    kept = set()
    for item in re.findall(r"/(?:[^/\\]|\\.)*/\+?|[^,\s]+", wanted):
        if item.startswith("/"):
            found = [i for i, line in enumerate(lines) if re.search(item.rstrip("+")[1:-1], line)]
            found += [j for i in found if item.endswith("+") for j in _folded(lines, i)]
        else:
            ends = re.fullmatch(r"(-?\d+)(?:-(-?\d+))?", item)
            if not ends:
                raise Wrong(f"lines: {item}; expected a number, a range, or /a pattern/")
            first, last = (
                int(end) - 1 if int(end) > 0 else len(lines) + int(end) for end in (ends[1], ends[2] or ends[1])
            )
            found = range(max(first, 0), min(last, len(lines) - 1) + 1)
        if not found:
            raise Wrong(f"lines: {item} is in no line of\n{printed}")
        kept.update(found)
    texts, before = [], -1
    for i in [*sorted(kept), len(lines)]:
        if i > before + 1:
            texts.append(LEFT_OUT)
        texts += lines[i : i + 1]
        before = i
    return "".join(f"{line}\n" for line in texts)


def _folded(lines, first):
    """Lines after a line that continue it: those further in."""
    inside = len(lines[first]) - len(lines[first].lstrip())
    after = itertools.takewhile(lambda j: re.match(rf" {{{inside + 1}}}", lines[j]), range(first + 1, len(lines)))
    return list(after)
