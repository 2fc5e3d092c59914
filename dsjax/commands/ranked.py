"""What the commands print: ranked tables, reproductions, CSV and JSON."""

import csv
import sys

import click
import numpy as np

from ..formats import heading, label, shown
from ..formulas.metrics import LIMITS
from ..reproduction import best_json, reproduce
from ..results import files
from ..space import provenance
from .tables import table

ROWS_SHOWN = 40
METRICS = ("tps_per_user", "tps_per_chip", "tpot", "ttft", "memory_per_chip", "mfu", "cost_per_million_tokens")


def best(space, ranked, counts, form, quiet, objective=None):
    """The ranked points of a space; as a table with the space before it and the refusals (`counts`) after it."""
    if form == "table":
        _best_table(space, ranked, counts, quiet, (objective or space.objective).removeprefix("-"))
        return
    names = [*space.axes, *(name for name in ranked.data_vars if "block" not in ranked[name].dims)]
    columns = {"rank": ranked["rank"].values}
    columns |= {name: ranked[name].broadcast_like(ranked["rank"]).values for name in names}
    columns["bottleneck"] = [LIMITS[i] for i in columns["bottleneck"]]
    counts = {"fixed": space.fixed, **counts}
    records(files.records(columns), form, {"title": space.title, **best_json.of(ranked), **counts}, list(columns))


def _best_table(space, ranked, counts, quiet, objective):
    metrics = [name for name in METRICS if name in space.defined]
    metrics += [objective] if objective not in metrics else []
    columns = [[label(x, ranked[axis].attrs.get("units", "1")) for x in _shown(ranked, axis)] for axis in space.axes]
    columns += [[shown(name, float(x)) for x in _shown(ranked, name)] for name in metrics]
    columns += [[LIMITS[i] for i in _shown(ranked, "bottleneck")]]
    rows = [[str(i), *row] for i, row in enumerate(zip(*columns, strict=True), 1)]
    if not quiet:
        axes = " x ".join(f"{n} {name}" for name, n in space.sizes.items())
        units = {name: ranked[name].attrs.get("units", "1") for name in space.fixed}
        fixed = ", ".join(f"{name} {label(value, units[name])}" for name, value in space.fixed.items())
        click.echo(f"{space.title}: {axes} = {space.points:,} points ({fixed})")
    if rows:
        click.echo(table(["", *space.axes, *map(heading, metrics), "bound by"], rows))
    if not quiet:
        if ranked.sizes["rank"] > ROWS_SHOWN:
            click.echo(f"  ... {ranked.sizes['rank'] - ROWS_SHOWN:,} more: --format csv prints them all")
        refused = ", ".join(f"{name} {n:,}" for name, n in counts["refused"].items() if n)
        feasible = f"{counts['feasible']:,} of {space.points:,} points are feasible"
        click.echo(f"{feasible}; refused by {refused or 'none'} (a point may fail several)")
        for line in provenance.remarks(space, metrics):
            click.echo(f"  {line}")


def _shown(ranked, name):
    """Values of a variable at the ranked points that are shown."""
    return np.broadcast_to(ranked[name].values, ranked.sizes["rank"])[:ROWS_SHOWN].tolist()


def records(rows, form, summary=None, names=None):
    """A list of dicts as CSV, or as JSON (inside `summary` where there is one)."""
    if form == "json":
        click.echo(files.to_json({**summary, "rows": rows} if summary else rows))
        return
    names = names or list(dict.fromkeys(name for row in rows for name in row))
    writer = csv.DictWriter(sys.stdout, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows({k: int(v) if isinstance(v, bool) else v for k, v in row.items()} for row in rows)


def reproduction(result, form, quiet):
    """Published rows beside the computed ones, and what was found beside them."""
    columns = {name: x.values for name, x in {**result.coords, **result.data_vars}.items() if x.dims == ("row",)}
    rows, details = files.records(columns), reproduce.details(result)
    if form != "table":
        records(rows, form, details)
    elif details:
        _figures(rows, details, reproduce.summary(result), quiet)
    else:
        _searched_tables(result, rows, quiet)


def summaries(results, form):
    """One line per study."""
    rows = [{"study": x.attrs["study"], "ok": reproduce.passed(x), "summary": reproduce.summary(x)} for x in results]
    if form != "table":
        records(rows, form)
    for row in rows if form == "table" else ():
        click.echo(f"{row['study']}: {'ok' if row['ok'] else 'NO'}: {row['summary']}")


def _figures(rows, details, summary, quiet):
    """Figures at their deployments; conclusions; contradictions of the source."""
    hidden = ("published", "computed", "error", "tolerance", "ok", "note")
    labels = [name for name in rows[0] if name not in hidden]
    lines = []
    for row in rows:
        numbers = [f"{row['published']:g}", f"{row['computed']:.5g}", f"{100 * row['error']:+.2f}"]
        within = ["shown", ""] if row["tolerance"] is None else ["ok" if row["ok"] else "NO", f"{row['tolerance']:.1%}"]
        lines.append([*(str(row[name]) for name in labels), *numbers, *reversed(within), row["note"]])
    click.echo(table([*labels, "published", "computed", "error %", "tolerance", "ok", ""], lines))
    if not quiet:
        click.echo("\nWhere the source contradicts itself:")
        for i, x in enumerate(details["contradictions"], start=1):
            click.echo(f"{i:3}. {x['contradiction']}")
            for check in x["arithmetic"]:
                expression = check["expression"] if len(check["expression"]) <= 60 else "..."
                printed = "" if check["printed"] is None else f"; printed {check['printed']:,g}"
                click.echo(f"     {check['what']}: {expression} = {check['computed']:,.6g}{printed}")
    click.echo("\nConclusions, each searched for again:")
    for x in details["conclusions"]:
        verdict = "comes out" if x["holds"] else "does not come out"
        click.echo(f"  {verdict}: {x['conclusion']}\n      {x['found']}")
    click.echo(f"\n{summary}")


def _searched_tables(result, rows, quiet):
    """Rows of ranked tables, and which of their choices are free."""
    axes = [name for name in result.coords if name != "table"]
    measured = [name.removesuffix("_error") for name in result.data_vars if name.endswith("_error")]
    headings = ["table", *axes]
    for name in measured:
        headings += [f"{name} published", "computed", "rel. error"]
    lines, free = [], []
    for row in rows:
        choices = {name.removesuffix("_choices"): n for name, n in row.items() if name.endswith("_choices") and n > 1}
        numbers = []
        for name in measured:
            numbers += [f"{row[f'{name}_published']:.9g}", f"{row[name]:.9g}", f"{row[f'{name}_error']:+.1e}"]
        tied = " ".join(f"{name}:{n}" for name, n in choices.items())
        lines.append([row["table"], *(str(row[a]) for a in axes), *numbers, tied, "ok" if row["ok"] else "NO"])
        if tied:
            free.append(row["among_ties"])
    click.echo(table([*headings, "ties", "ok"], lines))
    worst = max(abs(row[f"{name}_error"]) for row in rows for name in measured)
    limit = result.attrs["tolerance"]
    click.echo(f"{sum(row['ok'] for row in rows)} of {len(rows)} rows reproduced; largest relative error {worst:.1e}")
    click.echo(
        f"(tolerance {limit:.0e}). In {len(free)} rows the best throughput is reached by several values of the axes"
    )
    click.echo(f"named under 'ties' (axis:values); the published point is one of them in {sum(free)} of {len(free)}.")
