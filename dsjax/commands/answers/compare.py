"""`dsjax compare`: two design spaces side by side."""

import dataclasses
import json
import math
import sys

import click

from ...errors import InputError
from ...formats import heading, shown
from ...specs.variables import LIMITS, VARIABLES
from .. import steps
from ..common import GridRequest, grid_command, names_of, options_of
from ..help import command
from ..output import echo
from ..tables import records, table

ROWS_SHOWN = 40
SMALL = 0.01  # parts of the time that change by less of the whole are not worth a word
PER_TOKEN = ("tps_per_chip", "tps_total", "cost_per_million_tokens")  # objectives that time per token and chip makes


def _changes(side):
    """--axis, --fix, --set, --limit for one side only."""
    texts = (("axis", "axes", "NAME=VALUES"), ("fix", "fixed", "NAME=VALUE"), ("set", "settings", "ROW=NUMBER"))
    texts = (*texts, ("limit", "limits", "NAME=VALUE"))
    return options_of(
        *(
            click.option(
                f"--{option}-{side}",
                f"{name}_{side}",
                multiple=True,
                metavar=metavar,
                help=f"--{option} for {side.upper()} only.",
            )
            for option, name, metavar in texts
        )
    )


@command()
@click.argument("a", default="default", metavar="[A]")
@click.argument("b", required=False, metavar="[B]")
@click.option("--by", metavar="NAMES", help="Groups, separated by commas; '' is one group. Default: those of A's grid.")
@grid_command(_changes("a"), _changes("b"), source=None)
def compare(request, a, b, by, **changes):
    """The optimum of every group in A and in B, and why they differ.

    A and B are grids or files of results; B is A where it is left out, so that --set-b, --fix-b and --axis-b ask
    "what if". Beside the two optima stands A's optimum evaluated in B: the change at a fixed configuration, before
    the choice is made anew.

    \b
    dsjax compare before.nc after.nc
    dsjax compare --set-b nic.CX7.scale_out_bytes_per_s="100 GB/s"
    dsjax compare --fix-a precision=fp8 --fix-b precision=w8a8 --by hardware
    dsjax compare default decode_gpu_2025 --by hardware,nic --fix context=5120
    """
    from ...analysis import compare
    from ...sweeps.sources import is_results

    if b is None and not any(changes.values()):
        raise InputError("compare: A and B are the same; expected B, or a change of one side such as --set-b")
    if b is None and is_results(a):
        raise InputError(f"{a}: a file of results cannot be changed; expected a grid in its place, or B")
    sources, sides = (a, a if b is None else b), []
    files = [is_results(source) for source in sources]
    for side, source, file in zip("ab", sources, files, strict=True):
        own = {name: changes[f"{name}_{side}"] for name in ("axes", "fixed", "settings", "limits")}
        if file and not all(files):  # the common changes are for the grid beside it
            sides.append(GridRequest(source, **own, quiet=request.quiet, told=request.told))
        else:
            merged = {name: _merged(getattr(request, name), texts) for name, texts in own.items()}
            sides.append(dataclasses.replace(request, source=source, **merged))
    asked = [side.ask("compare", needs="sweep") for side in sides]
    ds = compare.of_results(*map(request.swept, asked), by=names_of(by))
    show(ds, request.form, request.quiet)
    steps.show(request, *(steps.of("explain", side) for side in sides))
    sys.exit(0 if ds.attrs["feasible_a"] or ds.attrs["feasible_b"] else 1)


def _merged(common, own):
    """The changes of both sides, and those of one, which win."""
    named = {text.partition("=")[0] for text in own}
    return (*(text for text in common if text.partition("=")[0] not in named), *own)


def show(ds, form, quiet):
    """The optimum of every group on both sides, as a table with its conclusion, as CSV or as JSON."""
    from ...results import files
    from .. import trust

    if form == "table":
        _table(ds, quiet)
        return
    columns = {name: ds[name].values for name in ds.coords if ds[name].dims == ("group",)}
    for name in ds.data_vars:
        two = "side" in ds[name].dims
        columns |= {f"{name}_{s}": ds[name].sel(side=s).values for s in "ab"} if two else {name: ds[name].values}
    summary = {name: value for name, value in ds.attrs.items() if not name.startswith("dsjax_spec")}
    summary |= {"remarks": trust.told_by(ds)}
    records(files.records(columns), form, summary, list(columns))


def _table(ds, quiet):
    from ...space import limits, provenance, restoring
    from .. import trust

    name = ds.attrs["objective"]
    spaces = {side: restoring.space(ds.attrs[f"dsjax_spec_{side}"]) for side in "ab"}
    if not quiet:
        for side in "ab":
            share = f"{ds.attrs[f'feasible_{side}']:,} of {ds.attrs[f'points_{side}']:,} points feasible"
            echo(f"{side.upper()}: {ds.attrs[f'title_{side}']}: {share}{_fixed(ds, side)}")
        own = {side: limits.words(space) for side, space in spaces.items()}
        for side, line in own.items() if own["a"] != own["b"] else [("", own["a"])]:
            echo(f"{side.upper()}{': ' * bool(side)}{line}")
    by, rows = [key for key in ds.coords if ds[key].dims == ("group",)], []
    for i in range(min(ds.sizes.get("group", 0), ROWS_SHOWN)):
        row = ds.isel(group=i)
        values = row["objective"].values
        numbers = ["infeasible" if math.isnan(v) else shown(name, float(v)) for v in values]
        ratio = _only(values) if math.isnan(float(row["ratio"])) else f"{float(row['ratio']):.3f}"
        rows.append(
            [*(str(row[key].values) for key in by), *numbers, ratio, _kept(row), _changed(ds, row), _why(ds, row)]
        )
    heads = [*(key.removeprefix("group_") for key in by), f"{heading(name)} A", "B", "B/A", "A's in B"]
    if rows:
        a, b, _, kept = range(len(by), len(by) + 4)  # what changed and why is the answer, in B/A are both optima
        echo(table([*heads, "changed", "why"], rows, least=[kept, b, a, len(heads)], kept=len(by)))
    if ds.sizes.get("group", 0) > ROWS_SHOWN:
        echo(f"  ... {ds.sizes['group'] - ROWS_SHOWN:,} more: --format csv prints them all")
    echo(conclusion(ds))
    if name == "cost_per_million_tokens" and not quiet:
        of = [line for space in spaces.values() for line in trust.of_prices(provenance.prices(space))]
        for line in dict.fromkeys(of):
            echo(f"  {line}")
    for line in [] if quiet else trust.slips(ds):
        echo(f"  {line}")


def _only(values):
    """The side that has a feasible point, where the other has none."""
    return next((f"only {side}" for side, value in zip("AB", values, strict=True) if not math.isnan(value)), "-")


def _fixed(ds, side):
    """What is fixed on one side, where it is not on the other or differs."""
    from ...catalog import reader

    specs = {s: json.loads(ds.attrs[f"dsjax_spec_{s}"]) for s in "ab"}
    other = specs["b" if side == "a" else "a"]["fixed"]
    own = {name: value for name, value in specs[side]["fixed"].items() if other.get(name) != value}
    numbers = []
    for record, rows in specs[side]["rows"].items():
        for row, fields in rows.items():
            there = specs["b" if side == "a" else "a"]["rows"].get(record, {}).get(row, {})
            differ = [f for f in reader.numbers(fields) if f in there and there[f] != fields[f]]
            numbers += [f"{record}.{row}.{field} {fields[field]:,.6g}" for field in differ]
    differ = [f"{name} {value}" for name, value in own.items()] + numbers
    shown = ", ".join(differ[:8]) + (f" and {len(differ) - 8} more" if len(differ) > 8 else "")
    return f"; {shown}" if differ else ""


def _kept(row):
    """The change at a fixed configuration."""
    if math.isnan(float(row["kept_ratio"])):
        return row["kept_missing"].item() if not math.isnan(float(row["objective"][0])) else "-"
    refused = row["kept_refused"].item()
    return f"{float(row['kept_ratio']):.3f}" + (f", refused by {refused}" if refused else "")


def _changed(ds, row):
    names = [name for name in row["changed"].item().split(", ") if name]
    return ", ".join(f"{name} {row[name].values[0]} -> {row[name].values[1]}" for name in names) or "-"


def _why(ds, row):
    """The parts of the time that changed most, and the constraints that came and went."""
    per_token = ds.attrs["objective"] in PER_TOKEN
    prefix, factor, units = ("chip_time_", 1e6, "us/token") if per_token else ("exposed_", 1e3, "ms/step")
    parts = {limit: [factor * float(v) for v in row[prefix + limit].values] for limit in LIMITS}
    total = sum(before for before, _ in parts.values())
    moved = sorted(parts, key=lambda limit: -abs(parts[limit][1] - parts[limit][0]))
    said = [
        f"{limit} {parts[limit][0]:,.4g} -> {parts[limit][1]:,.4g}"
        for limit in moved
        if abs(parts[limit][1] - parts[limit][0]) > SMALL * total
    ]
    words = [f"{', '.join(said)} {units}"] if said else []
    if not math.isnan(total) and not any(math.isnan(after) for _, after in parts.values()):
        words += [f"{row[key].item()} {text}" for key, text in _BINDING if row[key].item()]
    return "; ".join(words) or "-"


_BINDING = (("newly_binding", "now binds alone"), ("no_longer_binding", "no longer binds alone"))


def conclusion(ds):
    """The comparison in a few sentences."""
    n = ds.sizes.get("group", 0)
    if not n:
        return "no point is feasible in A or in B"
    ratio, values = ds["ratio"].values, ds["objective"].values
    both = ratio[~(ratio != ratio)]
    lines = []
    if len(both):
        changed = sum(bool(text) for text in ds["changed"].values)
        span = f"{both.min():.3f}" + (f" to {both.max():.3f}" if both.max() > both.min() else "")
        groups = f"{len(both)} group{'s' * (len(both) > 1)}"
        lines.append(f"B / A: {span} over {groups}; the best configuration changes in {changed} of them")
    sense = ds.attrs["sense"]
    tops = [sense * max((sense * v for v in of if not math.isnan(v)), default=math.nan) for of in values]
    if not any(map(math.isnan, tops)):
        name, (a, b) = ds.attrs["objective"], tops
        lines.append(f"best {name} of all: {a:,.6g} -> {b:,.6g} {VARIABLES[name][0]} (B / A {b / a:.3f})")
    for side, i in (("A", 0), ("B", 1)):
        only = sum(not math.isnan(x) and math.isnan(y) for x, y in zip(values[i], values[1 - i]))
        if only:
            lines.append(f"{only} {'group is' if only == 1 else 'groups are'} feasible in {side} only")
    return "\n".join(lines)
