"""What `dsjax histogram` prints."""

import click

from ..formats import heading, shown
from . import ranked
from .tables import table

BAR = 40  # characters of the longest bar


def show(found, form, quiet):
    """Print counts per range with bars, and quantiles."""
    name, total = found.attrs["of"], int(found["count"].sum())
    edges = list(zip(found["lower"].values.tolist(), found["upper"].values.tolist(), found["count"].values.tolist()))
    quantiles = dict(zip(found["quantile"].values.tolist(), found["value"].values.tolist()))
    if form != "table":
        rows = [{"lower": low, "upper": high, "count": n} for low, high, n in edges]
        summary = {"title": found.attrs["title"], "of": name, "feasible": total}
        summary["quantiles"] = [{"share": q, "value": x} for q, x in quantiles.items()]
        ranked.records(rows, form, summary)
        return
    if not quiet:
        click.echo(f"{found.attrs['title']}: {name} of {total:,} feasible points")
    most = max(n for *_, n in edges)
    rows = [
        [shown(name, low), shown(name, high), f"{n:,}", f"{100 * n / total:.1f}", "#" * round(BAR * n / most)]
        for low, high, n in edges
    ]
    click.echo(table([f"{heading(name)} from", "to", "points", "%", ""], rows))
    texts = [f"{100 * q:g} %: {shown(name, x)}" for q, x in quantiles.items()]
    click.echo(f"Quantiles, {heading(name)}: {', '.join(texts)}")
