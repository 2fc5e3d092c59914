"""`dsjax reproduce`: published results against computed ones."""

import sys

import click

from .. import steps
from ..common import OUTPUT_OPTIONS
from ..help import command
from ..output import REFUSED, echo
from ..progress import progress
from ..tables import records, rows_over, table


@command()
@click.argument("study", required=False)
@click.option(
    "--corrected", is_flag=True, help="Instead, every row with the study's slips corrected, and what each contributes."
)
@OUTPUT_OPTIONS
def reproduce(study, corrected, form, quiet):
    """Published results against computed ones.

    Row by row for one STUDY; one line each for all of them.

    \b
    dsjax reproduce
    dsjax reproduce decode_gpu_2025
    dsjax reproduce sg2260e --format csv > rows.csv
    dsjax reproduce decode_gpu_2025 --corrected
    """
    if corrected:
        from ...reproduction.corrections import corrected

        with progress("correcting", quiet):
            found = corrected(*([] if study is None else [study]))
        _show_corrected(found, form, quiet)
        return
    from ... import studies
    from ...reproduction.reproduce import passed, reproduce, studies_of_results

    names = studies_of_results() if study is None else [studies.get(study).name]
    with progress(f"reproducing {', '.join(names)}", quiet):
        results = [reproduce(name) for name in names]
    if study is None:
        _summaries(results, form)
        if form == "table" and not quiet:
            steps.say(f"dsjax reproduce {names[0]}")
    else:
        _show(results[0], form, quiet)
    sys.exit(0 if all(map(passed, results)) else 1)


def _show(result, form, quiet):
    """Published rows beside the computed ones, and what was found beside them."""
    from ...reproduction.reproduce import details, summary

    rows, beside = rows_over(result, "row"), details(result)
    if form != "table":
        records(rows, form, beside)
    elif beside:
        _figures(rows, beside, summary(result), quiet)
    else:
        _searched_tables(result, rows, quiet)


def _summaries(results, form):
    """One line per study."""
    from ...reproduction.reproduce import passed, summary

    rows = [{"study": x.attrs["study"], "ok": passed(x), "summary": summary(x)} for x in results]
    if form != "table":
        records(rows, form)
    for row in rows if form == "table" else ():
        echo(f"{row['study']}: {'ok' if row['ok'] else 'NO'}: {row['summary']}", colour=None if row["ok"] else REFUSED)


def _figures(rows, details, summary, quiet):
    """Figures at their deployments; conclusions; contradictions of the source."""
    hidden = ("published", "computed", "error", "tolerance", "ok", "note")
    labels = [name for name in rows[0] if name not in hidden]
    lines = []
    for row in rows:
        numbers = [f"{row['published']:g}", f"{row['computed']:.5g}", f"{100 * row['error']:+.2f}"]
        within = ["shown", ""] if row["tolerance"] is None else ["ok" if row["ok"] else "NO", f"{row['tolerance']:.1%}"]
        lines.append([*(str(row[name]) for name in labels), *numbers, *reversed(within), row["note"]])
    echo(table([*labels, "published", "computed", "error %", "tolerance", "ok", ""], lines))
    if not quiet:
        echo("\nWhere the source contradicts itself:")
        for i, x in enumerate(details["contradictions"], start=1):
            echo(f"{i:3}. {x['contradiction']}")
            for check in x["arithmetic"]:
                expression = check["expression"] if len(check["expression"]) <= 60 else "..."
                printed = "" if check["printed"] is None else f"; printed {check['printed']:,g}"
                echo(f"     {check['what']}: {expression} = {check['computed']:,.6g}{printed}")
    echo("\nConclusions, each searched for again:")
    for x in details["conclusions"]:
        verdict = "comes out" if x["holds"] else "does not come out"
        echo(f"  {verdict}: {x['conclusion']}\n      {x['found']}")
    echo(f"\n{summary}")


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
    first = 1 + len(axes)
    least = [first + 3 * i + 1 for i in range(len(measured))]  # follows from what is published and the error
    least += [first + 3 * len(measured), *(first + 3 * i for i in range(len(measured)))]
    echo(table([*headings, "ties", "ok"], lines, least=least))
    worst = max(abs(row[f"{name}_error"]) for row in rows for name in measured)
    limit = result.attrs["tolerance"]
    echo(f"{sum(row['ok'] for row in rows)} of {len(rows)} rows reproduced; largest relative error {worst:.1e}")
    echo(f"(tolerance {limit:.0e}). In {len(free)} rows the best throughput is reached by several values of the axes")
    echo(f"named under 'ties' (axis:values); the published point is one of them in {sum(free)} of {len(free)}.")


def _show_corrected(ds, form, quiet):
    """Print what `corrected` found: as tables, as CSV with a line per row, or as JSON with the medians beside."""
    from ...reproduction.corrections import NAMES
    from ...results import files

    rows, medians = (
        files.records({name: x.values for name, x in ds.variables.items() if x.dims == (dim,)})
        for dim in ("row", "correction")
    )
    if form == "table":
        _corrected_tables(ds, rows, quiet)
        return
    both = [name for name in ds.data_vars if ds[name].dims == ("row", "correction")]
    columns = {f"{name}:{c}": ds[name].sel(correction=c).values for name in both for c in NAMES}
    lines = [row | numbers for row, numbers in zip(rows, files.records(columns))]
    records(lines, form, {"corrections": medians})


def _corrected_tables(ds, rows, quiet):
    """Rates of every row, what every correction contributes to them, medians."""
    import numpy as np

    from ...reproduction.corrections import NAMES, RATES, STAGES

    labels = [name for name in ds.coords if ds[name].dims == ("row",)]
    columns = [f"{unit} {stage}" for unit in ("user", "chip") for stage in ("publ.", "corr.", "core 1", "core 2")]
    lines = []
    for i, row in enumerate(rows):
        numbers = []
        for name, form in zip(RATES, (".2f", ",.1f")):
            stages = ds[name].sel(correction=list(STAGES)).values[i]
            numbers += [format(x, form) for x in (row[f"{name}_published"], *stages)]
        numbers += [f"{x:.3f}" for x in ds["ratio"].sel(correction=list(STAGES)).values[i]]
        remarks = [text for text, holds in (("1", row["borrowed_rate"]), ("2", not row["ok_memory"])) if holds]
        lines.append([str(i + 1), *(str(row[name]) for name in labels), *numbers, " ".join(remarks)])
    echo("Tokens per second of a user and of a chip; ratios to those published:")
    echo(table(["", *labels, *columns, "corr. x", "core 1 x", "core 2 x", ""], lines))
    if not quiet:
        echo("  corr.: the study with all its slips corrected; core 1: the core model with the study's curve; core 2:")
        echo("  with its own. [1] no fp8 on this chip: core takes the int8 rate, as the study does; [2] does not fit")
        echo("  into the memory by the core model.")
    for name, says in (("alone", "only this slip corrected"), ("in_order", "each after those to its left")):
        values = ds[name].dropna("correction", how="all")
        echo(f"\nChange of the step time in %, {says}:")
        lines = [[str(i + 1), *(_percent(x) for x in line)] for i, line in enumerate(values.values)]
        echo(table(["", *values["correction"].values.tolist()], lines))
    lines = []
    for name, says in zip(NAMES, ds["says"].values.tolist()):
        alone, chain = (ds[x].sel(correction=name).values for x in ("alone", "in_order"))
        spread = [_percent(f(chain)) for f in (np.median, np.min, np.max)]
        lines.append([name, _percent(np.median(alone)), *spread, str(int((np.abs(chain) > 1e-9).sum())), says])
    echo(f"\nChange of the step time in %, over the {len(rows)} rows:")
    echo(table(["", "alone, median", "in order, median", "least", "most", "rows", ""], lines))
    ratios = ", ".join(f"{says} {ds['ratio'].sel(correction=c).median().item():.3f}" for c, says in STAGES.items())
    echo(f"\nMedian ratio to the published rates: {ratios}")
    if not quiet:
        echo("The order is that of the columns; another one gives other shares. Single changes do not add up: slips")
        echo("act on the same time, and what hides behind the network costs nothing. In order they multiply.")
        echo("padding overstates: tiles of 64 rows are real, and the study's shares of peak stay constant below.")


def _percent(x):
    return "" if x != x else f"{100.0 * x:+.2f}" if abs(x) > 1e-9 else "0"
