"""Engines' flags, read from `data/launch`, and the commands that they make."""

import functools
import json
import shlex
from typing import NamedTuple

from ..catalog.reader import DATA, read_toml

FOLDER = DATA / "launch"


class Tool(NamedTuple):
    """An engine's command line, as its file in `data/launch` has it."""

    name: str
    version: str  # that the flags were checked against
    checked: str  # where they were read
    engines: tuple  # rows of the catalog that are this software
    program: str
    port: int  # its own default
    flags: dict  # {quantity: flag}, in the order of the line
    router: dict  # what spreads requests over pools, or over instances
    config: dict = {}  # {quantity: key of its configuration file}
    environment: dict = {}  # {quantity: variable}
    values: dict = {}  # {quantity: {what dsjax calls it: what the flag calls it}}
    vendors: tuple = ()  # of the chips that it runs on; (): of any
    read_for: tuple = ()  # vendors of the chips that its flags were read for; (): `vendors`
    several_nodes: str = ""  # what starts one command on all nodes; "": each node has a command


@functools.cache
def read(name):
    """The `Tool` called `name`."""
    return Tool(**read_toml(FOLDER / f"{name}.toml"))


class Command(NamedTuple):
    """A line that starts a process, on one node or by a launcher on several."""

    name: str
    environment: dict  # {variable: text}
    program: tuple  # its words
    flags: tuple  # ((flag, *values), ...)
    file: tuple | None = None  # (name, text) that the line reads

    @property
    def words(self):
        """All words of the line."""
        return [*self.program, *(word for flag in self.flags for word in flag)]

    @property
    def text(self):
        """Shell text of it."""
        first = [*(f"{name}={quoted(value)}" for name, value in self.environment.items()), *map(quoted, self.program)]
        lines = [" ".join(first), *(" ".join(map(quoted, flag)) for flag in self.flags)]
        text = " \\\n  ".join(lines)
        return f"cat > {self.file[0]} <<END\n{self.file[1]}END\n{text}" if self.file else text


def quoted(word):
    """A word as a shell reads it; placeholders ($NAME) and what is run ($(...)) stay what they are."""
    return f'"{word}"' if "$" in word else shlex.quote(word)


def command(tool, name, quantities, positional=()):
    """`Command` of `quantities` {quantity: value}: None is left out, True is a flag alone, a dict is JSON."""
    given = {key: tool.values.get(key, {}).get(x, x) if isinstance(x, str) else x for key, x in quantities.items()}
    given = {key: value for key, value in given.items() if value is not None}
    config = {key: given[quantity] for quantity, key in tool.config.items() if quantity in given}
    file = (f"{name}.yaml", yaml(nested(config))) if config else None
    if file:
        given["config"] = file[0]
    here = {key: flag for key, flag in tool.flags.items() if key in given}
    flags = [(flag,) if given[key] is True else (flag, worded(given[key])) for key, flag in here.items()]
    environment = {variable: worded(given[key]) for key, variable in tool.environment.items() if key in given}
    if unknown := given.keys() - {*tool.flags, *tool.config, *tool.environment}:
        raise KeyError(f"{tool.name}: no flag for {', '.join(sorted(unknown))}")
    return Command(name, environment, (*tool.program.split(), *positional), tuple(flags), file)


def worded(value):
    """A value as one word."""
    if isinstance(value, dict):
        return json.dumps(value, separators=(",", ":"))
    return f"{value:g}" if isinstance(value, float) else str(value)


def nested(config):
    """{"a.b": value} as {"a": {"b": value}}."""
    tree = {}
    for key, value in config.items():
        *path, last = key.split(".")
        functools.reduce(lambda at, part: at.setdefault(part, {}), path, tree)[last] = value
    return tree


def yaml(tree, indent=""):
    """Text of nested dicts and lists of words, numbers and truth values."""
    lines = []
    for key, value in tree.items():
        if isinstance(value, dict):
            lines.append(f"{indent}{key}:\n{yaml(value, indent + '  ')}")
        elif isinstance(value, list):
            lines.append(f"{indent}{key}:\n" + "".join(f'{indent}  - "{x}"\n' for x in value))
        else:
            lines.append(f"{indent}{key}: {str(value).lower() if isinstance(value, bool) else value}\n")
    return "".join(lines)
