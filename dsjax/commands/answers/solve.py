"""`dsjax solve`: the value of an input that reaches a target."""

import json
import math
import sys

import click

from ...errors import InputError
from ...formats import PREFIXED, heading, label, quantity, shown
from .. import completion, marks, steps
from ..common import between, grid_command, values_of
from ..help import command
from ..output import echo
from ..progress import progress
from ..tables import records, table


@command()
@click.option(
    "--vary",
    required=True,
    metavar="PARAMETER",
    shell_complete=completion.names("parameters"),
    help="Input: nic.CX7.scale_out_bytes_per_s, context, ... (dsjax names parameters).",
)
@click.option("--until", metavar="TARGET", help="'<variable> >= <number>', '<variable> <= <number>', or 'feasible'.")
@click.option("--break-even", metavar="AXIS=A,B", help="Instead: where the best of two labels are equally good.")
@click.option("--from", "low", metavar="NUMBER", help="Smallest value (default: a thousandth of the present one).")
@click.option("--to", "high", metavar="NUMBER", help="Largest value (default: a thousand times the present one).")
@click.option("--at", metavar="NAME=VALUE,...", help="Fix axes at one of their values: tp=4,batch=64.")
@grid_command()
def solve(request, vary, until, break_even, low, high, at):
    """The value of an input at which a target is reached.

    The configuration is chosen anew at every value. A target on the grid's objective is about the best configuration;
    on another variable, about whether a feasible configuration has it. The answer is verified at x (1 +- 1e-6).
    Exit code 1 if no value does.

    \b
    dsjax solve --fix hardware=H800 --vary nic.CX7.scale_out_bytes_per_s --until "tps_per_chip >= 2500"
    dsjax solve --vary context --until "tps_per_user >= 25" --at hardware=H800
    dsjax solve space.nc --vary hardware.H20.hbm_bytes --until "tps_per_chip >= 600" --at hardware=H20
    dsjax solve --vary nic.scale_out_bytes_per_s --break-even hardware=B200,H200
    """
    from ...analysis import solve

    chosen = values_of("--at", at)
    ends = between(low, high)
    labels = _labels(break_even)
    if (until is None) == (labels is None):
        raise InputError("solve: expected one of --until and --break-even")
    asked = request.ask("solve", needs="space")
    with progress(f"solving for {vary}", request.quiet):
        ds = solve.solve(asked, vary, until, break_even=labels, between=ends, at=chosen)
    show(asked.space, ds, request.form, request.quiet)
    if until is not None and ds.attrs["answered"]:
        options = ["--x", vary, "--until", until, "-o", "response.png"]
        steps.show(request, steps.of("plot response", request, *options, at=chosen))
    sys.exit(0 if ds.attrs["answered"] else 1)


def _labels(text):
    if text is None:
        return None
    axis, equals, labels = text.partition("=")
    if not equals or len(labels.split(",")) != 2 or not all(labels.split(",")):
        raise InputError(f"--break-even {text}: expected AXIS=A,B")
    return {axis: tuple(labels.split(","))}


def show(space, ds, form, quiet):
    """Where a target is met, and the configurations there, as a table, as CSV or as JSON."""
    from ...results import files
    from ...space import limits
    from .. import trust

    if form == "table":
        echo(f"{ds.attrs['title']}: {ds.attrs['vary']} at which {ds.attrs['until']}")
        if not quiet:
            echo(*trust.chosen(space), limits.words(space), _configurations(ds))
        echo(sentence(ds))
        for line in [] if quiet else trust.slips(ds):
            echo(f"  {line}")
        return
    rows, crossings = (
        {name: ds[name].values for name in ds.data_vars if ds[name].dims == (dim,)} for dim in ("row", "crossing")
    )
    summary = {name: ds.attrs[name] for name in ("title", "vary", "units", "until", "present")} | {
        "limits": space.bounds,
        "remarks": trust.told_by(ds),
    }
    summary |= {"answered": bool(ds.attrs["answered"]), "answer": sentence(ds), "crossings": files.records(crossings)}
    records(files.records(rows if form == "json" else crossings), form, summary, list(crossings))


def _configurations(ds):
    """The best configuration at the ends, at present and at both sides of every crossing."""
    single, space = ds.sizes["contender"] == 1, json.loads(ds.attrs["dsjax_spec"])
    axes = list(space["axes"])
    rows = [name for name in ds.data_vars if ds[name].dims == ("row",)]
    measures = [n for n in rows if ds[n].dtype.kind == "f" and n != "at" and not n.startswith("exposed_")]
    lines = []
    for i in range(ds.sizes["row"]):
        row = ds.isel(row=i)
        x = float(row["at"])
        value = "as it is" if x != x else quantity(x, ds.attrs["units"])
        numbers = ["-" if float(row[n]) != float(row[n]) else shown(n, float(row[n])) for n in measures]
        who = [] if single else [row["of"].item()]
        labels = [_axis(row[a].item()) for a in axes]
        end = [row["bottleneck"].item() or "none feasible", f"{int(row['feasible']):,}"]
        lines.append([row["place"].item(), value, *who, *labels, *numbers, *end])
    heads = ["", "x", *([] if single else ["best of"]), *axes, *map(heading, measures), "bound by", "feasible"]
    outside = ds["outside_validity"].values.tolist() if "outside_validity" in ds else []
    concerned = marks.concerned(space["bounds"], [*measures, ds.attrs["variable"]])
    if marked := marks.column(outside, concerned):
        heads, lines = [*heads, ""], [[*line, mark] for line, mark in zip(lines, marked, strict=True)]
    first = 2 if single else 3
    last = first + len(axes) + len(measures)
    others = [last - len(measures) + i for i, name in enumerate(measures) if name != ds.attrs["variable"]]
    least = [last + 1, *others, *range(first + len(axes) - 1, first - 1, -1)]
    which = {"constant": tuple(range(first, first + len(axes))), "least": tuple(least)}
    return "\n".join([table(heads, lines, **which), *(f"  {line}" for line in marks.remarks(outside, concerned))])


def _axis(text):
    """A value of an axis, which the results hold as text."""
    try:
        return label(float(text))
    except ValueError:
        return text or "-"


def sentence(ds):
    """The answer in words: the conclusion of what `solve` returned."""
    units, name, until = ds.attrs["units"], ds.attrs["vary"], ds.attrs["until"]
    ends = " to ".join(quantity(x, units) for x in ds["scan"].values[[0, -1]])
    lines = [_crossing(ds, ds.isel(crossing=i)) for i in range(ds.sizes["crossing"])]
    if len(lines) > 1:
        lines.insert(0, f"The answer changes {len(lines)} times from {ends}; smallest value first:")
    if not lines and ds.attrs["answered"]:
        return f"At every value of {name} from {ends}: {until}."
    if not ds.attrs["answered"]:
        lines.append(f"At no value of {name} from {ends}: {until}.")
        lines += _why(ds)
    elif set(ds["state"].values) == {"equal", "none feasible"}:
        lines.append(f"Equal wherever one is feasible: {_where_met(ds)}.")
    return "\n".join(lines)


def _where_met(ds):
    """The ranges of the input between the smallest and the largest values that the crossings are."""
    words = {"smallest": "from {} on", "largest": "up to {}"}
    found = zip(ds["kind"].values, ds["value"].values)
    text = ", ".join(words[kind].format(quantity(float(x), ds.attrs["units"])) for kind, x in found)
    return text.replace(" on, up to", " to")


_KINDS = {"smallest": "smallest value", "largest": "largest value", "break-even": "break-even", "change": "change"}


_WHOLE = {"smallest": math.ceil, "largest": math.floor}  # towards the side that meets the target


def _crossing(ds, one):
    units, value, present = ds.attrs["units"], float(one["value"]), ds.attrs["present"]
    number = f"{value:.10g}" + ("" if units == "1" else f" {units}")
    short = quantity(value, units)
    if units == "token" and one["kind"].item() in _WHOLE:
        number += f" (in whole tokens {_WHOLE[one['kind'].item()](value):,})"
    number += f" ({short})" if units in PREFIXED else ""
    if len(present) == 1 and present[0]:
        number += f" = {value / present[0]:.6g} x the present {quantity(present[0], units)}"
    sides = f"{one['state_below'].item()} at x (1 - 1e-6), {one['state_above'].item()} at x (1 + 1e-6)"
    checked = "verified" if one["verified"] else "NOT verified: the answer changes again within 1e-6"
    return f"{_KINDS[one['kind'].item()]}: x = {number}\n  {sides}: {checked}"


def _why(ds):
    """What stops it, at both ends."""
    for i in range(ds.sizes["row"]):
        row = ds.isel(row=i)
        if row["place"].item() not in ("from", "to"):
            continue
        who = "" if row["of"].item() == "best" else f", {row['of'].item()}"
        where = f"  at {quantity(float(row['at']), ds.attrs['units'])}{who}:"
        if int(row["feasible"]) == 0:
            yield f"{where} no point is feasible; refused by {row['refused'].item()}"
            continue
        name, limit = ds.attrs["variable"], row["bottleneck"].item()
        share = float(row[f"exposed_{limit}"] / row["step_time"])
        best = "" if name == "feasible" else f"best {name} {float(row[name]):,.6g}, "
        yield f"{where} {best}bound by {limit} ({share:.0%} of the step)"
        yield f"    constraints that alone keep better points away: {row['binding'].item()}"
