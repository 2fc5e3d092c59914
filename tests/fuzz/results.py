"""Damaged files of results, stores, and folders that interrupted sweeps left."""

import contextlib
import json
import re

import netCDF4
import numpy as np

from . import damage
from .fixtures import STUDY

ASKED = [
    ("best",),
    ("best",),
    ("pareto",),
    ("explain",),
    ("sensitivity",),
    ("histogram",),
    ("solve",),
    ("uncertainty",),
]
MORE = {
    "solve": ("--vary", "context", "--until", "feasible"),
    "uncertainty": ("--samples", "4", "--error", "hardware=0.1"),
}
ASKS = ("vary: ", "launch: ", "--error ")  # what may be wrong for a file that is sound
SHARED = [("plot", "pareto", "-o", "y.svg"), ("report", "-o", "y.html"), ("compare", "best.nc"), ("launch",)]
TYPES = ["f8", "f4", "i1", "i8", "u2", "S1", str]


def asked(rng, name):
    """Words of a command that asks a file."""
    if rng.random() < 0.15:
        command, *more = rng.choice(SHARED)
        if command == "plot":
            return ("plot", "pareto", name, *more[1:])
        return (command, name, name) if command == "compare" else (command, name, *more)
    [command] = rng.choice(ASKED)
    return (command, name, *MORE.get(command, ()))


def netcdf(rng, base):
    """A NetCDF file with bytes flipped, or with another dsjax_spec, attribute, variable, type, dim or shape."""
    content = (base / f"{rng.choice(['core', 'core', 'serve', 'study'])}.nc").read_bytes()
    changes = ()
    if rng.random() < 0.3:
        content = damage.flipped(rng, content)
    else:
        seed = rng.random()
        changes = (lambda folder: changed(np.random.default_rng(int(seed * 2**32)), rng, folder / "x.nc"),)
    args = asked(rng, "x.nc")
    return {"args": args, "files": {"x.nc": content}, "named": ("x.nc", *ASKS), "changes": changes, "outputs": OUTPUTS}


OUTPUTS = ("y.svg", "y.html")


def changed(numbers, rng, path):
    """Change one to three things of a NetCDF file; what the library does not write is left as it was."""
    with netCDF4.Dataset(path, "a") as file:
        for i in range(rng.choice([1, 1, 2, 3])):
            with contextlib.suppress(RuntimeError, ValueError, TypeError, AttributeError, IndexError, OverflowError):
                change(numbers, rng, file, i)


def change(numbers, rng, file, i):
    """Change one thing of an open file: its spec, an attribute, a variable's type, name or value, a variable more."""
    what, names = rng.randrange(6), list(file.variables)
    variable = file[rng.choice(names)]
    if what == 0:
        spec = damage.tree(rng, json.loads(file.dsjax_spec))
        file.dsjax_spec = json.dumps(spec)
    elif what == 1:
        attribute(rng, rng.choice([file, variable]))
    elif what == 2:
        name = variable.name
        file.renameVariable(name, f"old_{i}")
        again(rng, numbers, file, name, variable)
    elif what == 3:
        file.renameVariable(variable.name, rng.choice(["new", "feasible2", "ok_new", "rank"]) + str(i))
    elif what == 4:
        variable.set_auto_maskandscale(False)
        values = np.array(variable[...])
        values.reshape(-1)[numbers.integers(values.size)] = rng.choice([np.nan, np.inf, -1.0, 0.0, 1.0, 7.0, 1e300])
        variable[...] = values
    else:
        dims = rng.sample(list(file.dimensions), min(len(file.dimensions), rng.randint(0, 3)))
        name = rng.choice(["extra", "ok_extra", "block", "rank", "parameter"])
        file.createVariable(name, rng.choice(TYPES), dims)


def attribute(rng, owner):
    """Set, change or take away an attribute."""
    names = list(owner.ncattrs())
    name = rng.choice([*names, "units", "dtype", "coordinates", "scale_factor", "flag_values", "calendar", "title"])
    if name in names and rng.random() < 0.4:
        owner.delncattr(name)
        return
    values = ["x", "", 5, -1.5, np.array([1, 2, 3]), "seconds since 1970-01-01", "bool", "\x1b[31m", "x" * 5000, np.nan]
    if name != "_FillValue":
        owner.setncattr(name, rng.choice(values))


def again(rng, numbers, file, name, old):
    """A variable under its name, of another type or other dims."""
    dims = rng.choice([old.dimensions, old.dimensions[:-1], old.dimensions[::-1], tuple(file.dimensions)[:2]])
    kind = rng.choice(TYPES)
    made = file.createVariable(name, kind, dims)
    if kind not in (str, "S1"):
        made[...] = numbers.integers(0, 3, made.shape)


def store(rng, base):
    """A Zarr store with metadata changed, chunks damaged, or files missing."""
    return {
        "args": asked(rng, "x.zarr"),
        "files": {"x.zarr": base / "core.zarr"},
        "named": ("x.zarr", *ASKS),
        "changes": (lambda folder: in_folder(rng, folder / "x.zarr"),),
        "outputs": OUTPUTS,
    }


def parts(rng, base):
    """The folder of an interrupted sweep, gone on with."""
    kind = rng.choice(["nc", "nc", "zarr"])
    output = f"x.{kind}"
    files = {f"{output}.parts": base / f"{output}.parts", "g.toml": damage.toml(STUDY).encode()}
    args = ("sweep", "g.toml", "-o", output, rng.choice(["--resume", "--resume", "--force", "--quiet"]))
    changes = (lambda folder: in_folder(rng, folder / f"{output}.parts"),)
    return {"args": args, "files": files, "named": (output,), "changes": changes, "outputs": (output,)}


def in_folder(rng, folder):
    """Damage one to three files of a folder: those of JSON as trees as well."""
    for _ in range(rng.choice([1, 1, 2, 3])):
        found = sorted(p for p in folder.rglob("*") if p.is_file())
        if not found:
            return
        path = rng.choice(found)
        what = rng.randrange(6)
        if what == 0:
            path.unlink()
        elif what == 1:
            path.write_bytes(damage.flipped(rng, path.read_bytes()))
        elif what == 2:
            path.write_bytes(b"")
        else:
            texts = [p for p in found if re.search(r"\.json$", p.name) and p.exists() and p.stat().st_size]
            path = rng.choice([p for p in texts if p.parent == folder] or texts or [path])
            try:
                data = json.loads(path.read_bytes())
            except ValueError:
                continue
            if isinstance(data, dict | list):
                path.write_bytes(json.dumps(damage.tree(rng, data)).encode("utf-8", "surrogatepass"))
