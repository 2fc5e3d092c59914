"""Cases: a command, its files, and what may come of it; each follows from its format, a seed and a number."""

import dataclasses
import random
import shlex
from collections.abc import Callable
from pathlib import Path

from . import arguments, results, texts


@dataclasses.dataclass(frozen=True)
class Case:
    """A command and its files; `named`: what a line of error names, one of them."""

    args: tuple
    files: dict  # {name: bytes, or a folder to copy}
    named: tuple = ()
    outputs: tuple = ()
    changes: tuple = ()  # functions of the folder, after the files
    environ: dict = dataclasses.field(default_factory=dict)

    @property
    def command(self):
        return shlex.join(["dsjax", *(arg if len(arg) < 200 else f"{arg[:200]}..." for arg in self.args)])


# format -> (cases of it in a hundred, function of a generator and of the folder of fixtures)
FORMATS: dict[str, tuple[int, Callable]] = {
    "grid": (14, texts.grid),
    "catalog": (12, texts.catalog),
    "config": (14, texts.config),
    "measurements": (12, texts.measurements),
    "systems": (4, texts.systems),
    "benchmarks": (12, texts.benchmarks),
    "results": (10, results.netcdf),
    "store": (5, results.store),
    "parts": (5, results.parts),
    "arguments": (10, arguments.arguments),
    "environment": (2, arguments.environment),
}


def case(name, seed, number, base):
    """One case of a format."""
    rng = random.Random(f"{seed}/{name}/{number}")
    return Case(**FORMATS[name][1](rng, Path(base)))


def jobs(number, names):
    """(format, number) of so many cases, formats in turn, each as often as it weighs."""
    weight = sum(FORMATS[name][0] for name in names)
    done = dict.fromkeys(names, 0)
    for i in range(number):
        name = max(names, key=lambda n: FORMATS[n][0] * (i + 1) / weight - done[n])
        yield name, done[name]
        done[name] += 1
