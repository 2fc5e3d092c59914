"""One bit of a file of results is flipped: what a reader says, and what changes unnoticed.

    python benchmarks/flips.py [--flips N] [--seed S] [--only .zarr] [GRID]

A grid is written as a NetCDF file and as a Zarr store; each is read N times with one bit flipped somewhere, by a
process of its own (the HDF5 library may hang or crash on what is damaged). "unnoticed" are reads that say nothing and
have another value, or another attribute, than what was written.
"""

import argparse
import collections
import contextlib
import os
import random
import signal
import tempfile
import warnings
from pathlib import Path

import numpy as np

from dsjax.errors import InputError
from dsjax.results import netcdf
from dsjax.space import grid
from dsjax.sweeps import sources, sweep

KINDS = (".nc", ".zarr")
LIMIT_S = 60
OUTCOMES = ("same", "refused", "remarked", "attribute unnoticed", "value unnoticed", "crashed", "hung", "other error")


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("grid", nargs="?", default="decode_gpu_2025")
    parser.add_argument("--flips", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--each", action="store_true", help="a line for each flip that is unnoticed")
    parser.add_argument("--only", nargs="+", choices=KINDS, default=KINDS)
    given = parser.parse_args(arguments)
    print(f"{'':6}" + "".join(f"{outcome:>21}" for outcome in OUTCOMES))
    with tempfile.TemporaryDirectory() as folder:
        for kind in given.only:
            path = Path(folder) / f"x{kind}"
            sweep.write(grid.load(given.grid), path)
            found = collections.Counter()
            with contextlib.suppress(KeyboardInterrupt):  # what was found is printed
                for place, outcome, said in outcomes(path, given.flips, given.seed):
                    found[outcome] += 1
                    if (given.each and "unnoticed" in outcome) or outcome == "other error":
                        print(f"{place[0].relative_to(folder)}, byte {place[1]:,}, bit {place[2]}: {outcome}: {said}")
            print(f"{kind:6}" + "".join(f"{found[outcome]:21}" for outcome in OUTCOMES))


def outcomes(path, number, seed):
    """[((file, byte, bit), one of OUTCOMES, what was said)] of so many flips at random places of a file or a store."""
    whole = netcdf.read(path)
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    sizes, rng = [file.stat().st_size for file in files], random.Random(seed)
    for _ in range(number):
        file = rng.choices(files, sizes)[0]
        place = file, rng.randrange(file.stat().st_size), rng.randrange(8)
        yield place, *_flipped(path, whole, *place)


def _flipped(path, whole, file, byte, bit):
    """(one of OUTCOMES, what was said), with one bit of a file flipped meanwhile."""
    content = file.read_bytes()
    file.write_bytes(content[:byte] + bytes([content[byte] ^ 1 << bit]) + content[byte + 1 :])
    try:
        return _in_a_process(lambda: _read(path, whole))
    finally:
        file.write_bytes(content)


def _read(path, whole):
    with warnings.catch_warnings(record=True) as remarks:
        warnings.simplefilter("always")
        try:
            found = sources.ask(path, "best", {}).results.ds
        except InputError as error:
            return "refused", str(error)
        except Exception as error:
            return "other error", repr(error)[:200]
    if remarks:
        return "remarked", str(remarks[0].message)
    for name in {*whole.variables, *found.variables}:
        one, other = (ds.variables.get(name) for ds in (whole, found))
        if one is None or other is None or not _equal(one.values, other.values):
            return "value unnoticed", str(name)
        if any(not _equal(one.attrs.get(key), other.attrs.get(key)) for key in {*one.attrs, *other.attrs}):
            return "attribute unnoticed", str(name)
    for key in {*whole.attrs, *found.attrs}:
        if not _equal(whole.attrs.get(key), found.attrs.get(key)):
            return "attribute unnoticed", key
    return "same", ""


def _equal(one, other):
    one, other = np.asarray(one), np.asarray(other)
    return (
        one.dtype == other.dtype
        and one.shape == other.shape
        and (one.astype(str) if one.dtype == object else one).tobytes()
        == (other.astype(str) if other.dtype == object else other).tobytes()
    )


def _in_a_process(function):
    """The texts that a function returns in a process of its own."""
    read, write = os.pipe()
    if not (child := os.fork()):
        try:
            signal.alarm(LIMIT_S)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # the compression library prints of its own
            os.write(write, "\0".join(function()).encode("utf-8", "replace")[:4000])
        finally:
            os._exit(0)
    os.close(write)
    with open(read, "rb") as pipe:
        said = pipe.read().decode("utf-8", "replace")
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return ("hung" if os.WTERMSIG(status) == signal.SIGALRM else "crashed"), ""
    outcome, _, text = said.partition("\0")
    return outcome, text


if __name__ == "__main__":
    main()
