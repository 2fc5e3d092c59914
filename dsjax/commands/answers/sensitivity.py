"""`dsjax sensitivity`: which number would help."""

import json
import math
import sys

import click

from ...errors import InputError
from ...formats import DIGITS, heading, quantity, shown
from ...options import by_reader
from ...specs.variables import LIMITS, SENSE
from .. import steps
from ..common import grid_command, values_of
from ..help import command
from ..output import echo, verbose
from ..progress import progress
from ..tables import records, table


@command()
@click.option(
    "--of", metavar="VARIABLE", help="Variable y. Default: tps_per_chip; with --envelope the grid's objective."
)
@click.option(
    "--wrt",
    metavar="NAMES",
    help="Parameters x, separated by commas: names, also of one row (nic.CX7.latency_s), "
    "records (hardware, nic, curve, precision, workload), or 'all'. "
    "Default: rates, times and utilisations.",
)
@click.option(
    "--at",
    default="best",
    show_default=True,
    metavar="best|grid|NAME=VALUE,...",
    help="The best point, the whole grid, or a point: axes that are not named are those of the best one there.",
)
@click.option(
    "--envelope", is_flag=True, help="Also choose the batch anew: limits, their prices, neighbours, switches."
)
@click.option("-o", "--output", metavar="FILE.nc", help="Write the elasticities to a NetCDF file.")
@click.option("--force", is_flag=True, help="Overwrite an existing file.")
@grid_command()
def sensitivity(request, of, wrt, at, envelope, output, force):
    """Which hardware number would help most: elasticities.

    An elasticity of 0.3: 1 % more x gives 0.3 % more y. "1 % better buys" counts in the direction that improves y. A
    kink is marked where less and more of x count differently. --envelope adds how the optimum moves when the batch may
    be any real number.

    \b
    dsjax sensitivity
    dsjax sensitivity space.nc --of tpot --wrt all --at hardware=H20,tp=2
    dsjax sensitivity decode_gpu_2025 --wrt curve,nic.scale_out_bytes_per_s
    dsjax sensitivity sg2260e_decode_128 --envelope
    dsjax sensitivity --at grid -o elasticities.nc
    """
    from ...analysis import sensitivity
    from ...results import files, netcdf

    whole = at == "grid"
    if whole and envelope:
        raise InputError("--at grid: with --envelope; expected 'best' or a point NAME=VALUE,...")
    if output is not None:
        request.keep_inputs([output])
        files.check_netcdf(output, force)
    point = None if whole else "best" if at == "best" else values_of("--at", at)
    asked = request.ask("sensitivity", needs="space")
    with progress("differentiating", request.quiet):
        result = sensitivity.sensitivity(asked, of, wrt, point, envelope=envelope)
    if output is not None:
        netcdf.write_netcdf(result, output, force)
    show(asked.space, result, request.form, request.quiet)
    if output is not None and request.form == "table" and not request.quiet:
        echo(f"wrote {output}")
    if point is not None and (target := _target(result)):
        steps.show(request, steps.of("solve", request, *target, at=None if at == "best" else point))
    sys.exit(1 if point == "best" and not result["feasible"] else 0)


def show(space, ds, form, quiet):
    """Elasticities at a point or over a grid, as a table, as CSV or as JSON."""
    from ...results import files
    from ...space import limits
    from .. import trust

    over_grid = "parameter_value" not in ds
    rows = _grid_rows(ds) if over_grid else rows_at_point(ds)
    if form == "table":
        echo("\n".join((_grid_text if over_grid else _point_text)(ds, rows, quiet, limits.words(space))))
        for line in [] if quiet else trust.slips(ds):
            echo(f"  {line}")
    elif form == "csv":
        records(rows, "csv")
    else:
        found = {"limits": space.bounds, "remarks": trust.told_by(ds), "parameters": rows}
        click.echo(files.to_json(summary(ds) | found))


def summary(ds):
    """Values of a result that are not of a parameter, as plain values."""
    result = {"title": ds.attrs["title"], "of": ds.attrs["of"]}
    if "parameter_value" not in ds:
        return result | {"points": math.prod(n for name, n in ds.sizes.items() if name != "parameter")}
    of = ds.attrs["of"]
    result |= {"point": json.loads(ds.attrs["dsjax_spec"])["fixed"], "value": float(ds[of])}
    result |= {"feasible": bool(ds["feasible"]), "bottleneck": LIMITS[int(ds["bottleneck"])]}
    if "relaxed_load" in ds:
        result["envelope"] = {
            "relaxed": ds.attrs["load"],
            "held_by": ds["relaxed_kind"].item(),
            "load": float(ds["relaxed_load"]),
            "value": float(ds["relaxed_value"]),
            "limits": _columns(ds, "limit", "active", "slack", "shadow_price"),
            "neighbours": _columns(ds, "neighbour", *(n for n in ds.data_vars if n.startswith("neighbour_"))),
        }
    return result


def _columns(ds, dim, *names):
    return [dict(zip((dim, *names), row)) for row in zip(*(ds[name].values.tolist() for name in (dim, *names)))]


def rows_at_point(ds):
    """One dict per parameter, the largest elasticity first."""
    sense = ds.attrs.get("sense", SENSE.get(ds.attrs["of"], 1))
    names = ["parameter", "parameter_value", "parameter_units", "elasticity", "elasticity_below", "elasticity_above"]
    names += ["kink", *(n for n in ("elasticity_reoptimised", "switch_less", "switch_more") if n in ds)]
    rows = []
    for values in zip(*(ds[name].values.tolist() for name in names)):
        row = {name.removeprefix("parameter_"): value for name, value in zip(names, values)}
        row |= {"kink": bool(row["kink"])} | {k: v + 0.0 for k, v in row.items() if k.startswith("elasticity")}
        more, less = sense * row["elasticity_above"], -sense * row["elasticity_below"]
        row["better"] = "" if max(abs(more), abs(less)) < 1e-9 else "more" if more >= less else "less"
        row["buys_percent"] = 100.0 * math.expm1(max(more, less, 0.0) * math.log(1.01))
        rows.append(row)
    return sorted(rows, key=lambda row: -abs(row["elasticity"]))


def _point_text(ds, rows, quiet, asked):
    from ...space import restoring
    from .. import trust

    of, lines = ds.attrs["of"], []
    if not quiet:
        fixed = trust.values(restoring.space(ds.attrs["dsjax_spec"]))
        allowed = "feasible" if bool(ds["feasible"]) else "not feasible"
        lines += [f"{ds.attrs['title']}: {fixed}", asked]
        lines += [f"{heading(of)} {shown(of, float(ds[of]))}, {allowed}, bound by {LIMITS[int(ds['bottleneck'])]}", ""]
    moving = [
        row for row in rows if abs(row["elasticity"]) > 1e-9 or abs(row.get("elasticity_reoptimised") or 0) > 1e-9
    ]
    envelope = "elasticity_reoptimised" in ds
    relaxed = envelope and math.isfinite(float(ds["relaxed_load"]))
    columns = ["parameter x", "now", "d ln y / d ln x", "better is", "1 % better buys %", "kink"]
    columns += [f"{ds.attrs['load']} chosen anew", "the grid's best, 1 % of x"] if relaxed else []
    cells = []
    for row in moving:
        kink = f"{row['elasticity_below']:.3f} | {row['elasticity_above']:.3f}" if row["kink"] else ""
        cell = [row["parameter"], quantity(row["value"], row["units"], DIGITS), f"{row['elasticity']:+.4f}"]
        cell += [row["better"], f"{row['buys_percent']:.3f}", kink]
        if relaxed:
            switch = [f"{word}: {row[f'switch_{word}']}" for word in ("less", "more") if row[f"switch_{word}"]]
            cell += [f"{row['elasticity_reoptimised']:+.4f}", "; ".join(switch)]
        cells.append(cell)
    empty = [i for i in range(len(columns)) if columns[i] == "kink" and not any(cell[i] for cell in cells)]
    keep = [i for i in range(len(columns)) if i not in empty]
    if cells:
        lines.append(table([columns[i] for i in keep], [[cell[i] for i in keep] for cell in cells]))
    still = [row["parameter"] for row in rows if row not in moving]
    if still and not quiet:
        few = f"{len(still)} others ({by_reader('-v names', '.dsjax.table() has')} them)"
        lines.append(f"no effect here: {', '.join(still) if verbose() else few}")
    if envelope:
        lines += ["", *_envelope_text(ds)]
    return [*lines, "", conclusion(ds, rows)]


def _envelope_text(ds):
    of, load, best = ds.attrs["of"], ds.attrs["load"], float(ds["relaxed_load"])
    if not math.isfinite(best):
        return [f"{load} as a real number: none is feasible here"]
    held = {"limit": "held by a limit", "interior": "inside: no limit holds it", "kink": "at a kink of the objective"}
    held |= {"jump": "at a jump of the model", "end": "at the end of the search"}
    lines = [
        f"{load} as a real number: best {best:,.4g}, {heading(of)} {shown(of, float(ds['relaxed_value']))}, "
        f"{held[str(ds['relaxed_kind'].item())]}"
    ]
    limits = [
        [
            row["limit"],
            "active" if row["active"] else f"{100 * -math.expm1(-row['slack']):.3g} % left",
            f"{row['shadow_price']:+.4f}",
        ]
        for row in _columns(ds, "limit", "active", "slack", "shadow_price")
    ]
    lines += [table(["limit", "", "d ln y / d ln bound"], limits), "", "the next values of the axes:"]
    names = ("neighbour_of", "neighbour_change", "neighbour_refused_by")
    rows = [
        [
            row["neighbour"],
            shown(of, row["neighbour_of"]),
            f"{100 * row['neighbour_change']:+.2f}",
            row["neighbour_refused_by"] or "-",
        ]
        for row in _columns(ds, "neighbour", *names)
    ]
    return [*lines, table(["", heading(of), "change %", "refused by"], rows)] if rows else lines[:-2]


def conclusion(ds, rows):
    """One line: the single most valuable parameter."""
    of = ds.attrs["of"]
    best = max(rows, key=lambda row: row["buys_percent"], default=None)
    if best is None or best["buys_percent"] < 1e-7:
        demand = json.loads(ds.attrs["dsjax_spec"])["fixed"].get("requests_per_s")
        served = f": the demand binds, and all of it is served, {demand:,.4g} requests/s" if demand else ""
        return f"none of the {len(rows)} parameters improves {of} here{served * bool(ds['feasible'])}"
    ties = [row["parameter"] for row in rows if math.isclose(row["buys_percent"], best["buys_percent"], rel_tol=1e-6)]
    also = f" (as much as {', '.join(ties[1:])})" if len(ties) > 1 else ""
    return f"Most valuable: {ties[0]}{also}: 1 % {best['better']} improves {of} by {best['buys_percent']:.2f} %."


def _target(ds):
    """Options of `dsjax solve`: how much of the most valuable parameter makes the variable a tenth better."""
    best = max(rows_at_point(ds), key=lambda row: row["buys_percent"], default=None)
    if best is None or best["buys_percent"] < 1e-7:
        return []
    of, now = ds.attrs["of"], float(ds[ds.attrs["of"]])
    more = ds.attrs.get("sense", SENSE.get(of, 1)) * now > 0
    return ["--vary", best["parameter"], "--until", f"{of} {'>=' if more else '<='} {now * (1.1 if more else 0.9):.4g}"]


def _grid_rows(ds):
    """One dict per parameter: spread of its elasticity over the feasible points, and where it is the largest."""
    import numpy as np

    dims = [dim for dim in ds["elasticity"].dims if dim != "parameter"]
    feasible = ds["feasible"].broadcast_like(ds["elasticity"].isel(parameter=0)).transpose(*dims, ...)
    feasible = (
        feasible.values
        if set(feasible.dims) == set(dims)
        else feasible.any([dim for dim in feasible.dims if dim not in dims]).values
    )
    values = ds["elasticity"].transpose("parameter", *dims).values[:, feasible.astype(bool)]
    n = values.shape[1]
    largest = np.bincount(np.abs(values).argmax(0), minlength=len(values)) if n else np.zeros(len(values))
    kinks = ds["kink"].values.reshape(len(values), -1).mean(1) if "kink" in ds else np.full(len(values), math.nan)
    rows = []
    for i, name in enumerate(ds["parameter"].values.tolist()):
        row = {"parameter": name, "points": n}
        spread = np.quantile(values[i].astype(float), (0.0, 0.5, 1.0)) if n else (math.nan,) * 3
        row |= {f"elasticity_{k}": float(x) + 0.0 for k, x in zip(("least", "median", "most"), spread)}
        row |= {"largest_share": float(largest[i] / n) if n else 0.0, "kink_share": float(kinks[i])}
        rows.append(row)
    return sorted(rows, key=lambda row: -abs(row["elasticity_median"]) if n else 0.0)


def _grid_text(ds, rows, quiet, asked):
    of, n = ds.attrs["of"], rows[0]["points"]
    lines = [f"{ds.attrs['title']}: d ln {of} / d ln x at {n:,} feasible points", asked]
    lines = [] if quiet else lines
    cells = []
    for row in rows:
        kinks = "not asked" if math.isnan(row["kink_share"]) else f"{100 * row['kink_share']:.2f}"
        spread = [f"{row[f'elasticity_{k}']:+.4f}" for k in ("least", "median", "most")]
        cells.append([row["parameter"], *spread, f"{100 * row['largest_share']:.1f}", kinks])
    lines.append(table(["parameter x", "least", "median", "most", "largest of all at %", "kinks, % of all"], cells))
    if not n:
        return [*lines, "no point is feasible"]
    best = max(rows, key=lambda row: row["largest_share"])
    share = f"{100 * best['largest_share']:.1f} %"
    return [*lines, f"Counts most: {best['parameter']} has the largest elasticity at {share} of the feasible points."]
