"""Commented templates of the files that users write, made from the records that read them."""

from ..errors import InputError, unknown
from . import chip, grid, measurements, systems

KINDS: dict = {"chip": chip.text, "grid": grid.text, "systems": systems.text, "measurements": measurements.text}
OF = {"grid": tuple(grid.GRIDS), "measurements": tuple(measurements.KINDS)}  # what `of` may be
USE = {
    "chip": "dsjax sweep --catalog {file} --fix hardware={name}",
    "grid": "dsjax sweep {file}",
    "systems": "dsjax validate {file}",
    "measurements": "dsjax calibrate {file} --kind {of} --hardware H800 --precision fp8",
}


def text(kind, of=None, name=None, file="FILE"):
    """The template of a kind of file: `of` the phase of a grid or the kind of kernel, `name` of the row of a chip."""
    if kind not in KINDS:
        raise unknown("init", "kind of file", kind, KINDS)
    if of is None and kind == "measurements":
        raise InputError(f"init measurements: --kind: missing; expected one of {', '.join(OF[kind])}")
    if of is not None and kind not in OF:
        raise InputError(f"init {kind}: --kind {of}: there is one kind of it; expected no --kind")
    of = OF[kind][0] if of is None and kind in OF else of
    if of is not None and of not in OF[kind]:
        raise unknown(f"init {kind}: --kind", "kind", of, OF[kind])
    if name is not None and kind != "chip":
        raise InputError(f"init {kind}: --name {name}: a chip has a name; expected no --name")
    use = use_of(kind, of, name, file)
    use = "".join(x if x.isprintable() else "?" for x in use)  # in a comment
    return KINDS[kind](use=use, **_given(kind, of, name))


def use_of(kind, of=None, name=None, file="FILE"):
    """The command that reads a file of such a kind."""
    return USE[kind].format(file=file, **_given(kind, of, name))


def _given(kind, of, name):
    if kind == "chip":
        return {"name": name or chip.NAME}
    return {"of": of or OF[kind][0]} if kind in OF else {}
