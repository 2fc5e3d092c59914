"""`dsjax uncertainty`: the best configurations when inputs are uncertain."""

import sys

import click

from ...formats import heading, quantity, shown
from ...specs.variables import VARIABLES
from .. import steps
from ..common import grid_command, names_of, values_of
from ..help import command
from ..output import echo
from ..progress import progress
from ..tables import records, table

SMALL = 0.005  # shares of the variance below this have no line
NAMED = 8  # so many of them are named


@command()
@click.option(
    "--error",
    "errors",
    multiple=True,
    required=True,
    metavar="PARAMETER=SHARE",
    help="Relative error, one standard deviation: hardware.hbm_bytes_per_s=5%, nic=10%, curve=0.1, acceptance=3%.",
)
@click.option("--samples", type=int, default=1024, show_default=True, help="Number of samples.")
@click.option("--seed", type=int, default=0, show_default=True, help="The same seed gives the same numbers.")
@click.option("--of", "of", metavar="VARIABLE", help="Output that is explained (default: the grid's objective).")
@click.option("--objective", metavar="VARIABLE", help="What is the best, for the grid's own; '-name': less of it.")
@click.option("--top", type=int, default=10, show_default=True, help="Candidates: so many of the best.")
@click.option("--by", metavar="NAMES", help="Candidates are the best of every group; '' the best of all.")
@grid_command()
def uncertainty(request, errors, samples, seed, of, objective, top, by):
    """The best configurations when inputs are uncertain.

    An input x0 with error s becomes x0 exp(s z), z standard normal, every row of a catalog on its own; a share that
    would exceed 1 is set to 1. Candidates stay as they are while the inputs move.

    \b
    dsjax uncertainty --error hardware.hbm_bytes_per_s=5% --error nic=10%
    dsjax uncertainty --error curve=10% --by '' --top 20
    dsjax uncertainty space.nc --error hardware.H800.fp8_flops_per_s=8% --of tps_per_user --format json
    """
    from ...analysis import uncertainty

    given = {name: str(share) for name, share in values_of("--error", ",".join(errors)).items()}
    options = {"samples": samples, "seed": seed, "of": of, "top": top, "by": names_of(by), "objective": objective}
    asked = request.ask("uncertainty")
    named = uncertainty.check(asked.space, given, **options)
    results = request.swept(asked)
    with progress(f"evaluating {samples:,} samples", request.quiet):
        found = uncertainty.of_results(results, named, **options)
    show(asked.space, found, request.form, request.quiet, objective)
    steps.show(request, steps.of("sensitivity", request, *(["--of", of] if of else [])))
    sys.exit(0 if found.sizes["rank"] else 1)


def show(space, ds, form, quiet, objective=None):
    """Quantiles, chances and shares of the variance, as tables, as CSV or as JSON."""
    from ...results import files
    from .. import trust

    if form == "table":
        _tables(space, ds, quiet, objective)
        return
    columns = {"rank": ds["rank"].values} | {axis: ds[axis].values for axis in _axes(ds)}
    for name in ds.data_vars:
        if ds[name].dims == ("rank",):
            columns[name] = ds[name].values
        elif ds[name].dims == ("rank", "quantile"):
            columns |= {f"{name}_p{round(100 * q):02d}": ds[name].sel(quantile=q).values for q in ds["quantile"].values}
    summary = {name: ds.attrs[name] for name in ("title", "of", "objective", "samples", "seed")}
    summary |= {"limits": space.bounds, "remarks": trust.told_by(ds)}
    inputs = {name: ds[name].values for name in ds.variables if ds[name].dims == ("input",)}
    summary["inputs"] = files.records(inputs) if inputs else []
    summary["clipped"] = clipped(ds)
    records(files.records(columns), form, summary, list(columns))


def clipped(ds):
    """{input: share of the samples in which it is set to the upper bound of its domain}, of those that are."""
    if "clipped" not in ds:
        return {}
    return {name: share for name, share in zip(ds["drawn"].values, ds["clipped"].values.tolist()) if share > 0.0}


def _axes(ds):
    return [name for name in ds.coords if ds[name].dims == ("rank",) and name in ds.attrs["axes"]]


def _tables(space, ds, quiet, objective):
    from ...search import ranking
    from ...space import limits
    from .. import trust

    of = ds.attrs["of"]
    if not ds.sizes["rank"]:
        echo("no feasible point: nothing to be uncertain about")
        return
    if not quiet:
        echo(f"{ds.attrs['title']}: {ds.attrs['samples']:,} samples, seed {ds.attrs['seed']}")
        echo(*trust.chosen(space), limits.words(space), *ranking.worst_first(space, objective))
        for name, share in clipped(ds).items():
            echo(f"  {name}: set to the upper bound of its domain in {share:.1%} of the samples")
    lines, moved = [], _moved(ds)
    for i in [i for i, moves in enumerate(moved) if moves]:
        row = ds.isel(rank=i)
        numbers = [shown(of, float(x)) for x in (row[f"nominal_{of}"], *row[of].values)]
        chances = [f"{100 * float(row[name]):.1f}" for name in ("p_feasible", "p_best")]
        refused = {name: float(p) for name, p in zip(ds["constraint"].values, row["p_refused"].values) if p > 0.0}
        why = ", ".join(f"{name} {100 * p:.1f} %" for name, p in refused.items())
        lines.append([str(i + 1), *(str(row[axis].values) for axis in _axes(ds)), *numbers, *chances, why])
    quantiles = [f"{100 * q:g} %" for q in ds["quantile"].values]
    heads = ["", *_axes(ds), heading(of), *quantiles, "feasible %", "best %", "refused by"]
    n, several = len(_axes(ds)), len(quantiles)
    inner = [n + 2 + i for i, q in enumerate(ds["quantile"].values.tolist()) if 0.05 < q < 0.95]
    least = [n + several + 4, *inner]  # what refuses them, then the quantiles inside
    if lines:
        echo(table(heads, lines, constant=tuple(range(1, n + 1)), least=least))
    if still := [str(i + 1) for i, moves in enumerate(moved) if not moves]:
        echo(
            f"  {', '.join(still)}: none of what is uncertain moves {of} or a limit of {'them' if still[1:] else 'it'}"
        )
    if not lines:
        return
    tied = ds["tied"].values.tolist()
    for text in dict.fromkeys(filter(None, tied)):
        ranks = ", ".join(str(i + 1) for i, other in enumerate(tied) if other == text)
        echo(f"  {ranks}: the same in every sample with {text}")
    echo(f"\nShare of the variance of {of} of configuration 1, by input:")
    echo(_inputs(ds))
    echo(conclusion(ds))
    for line in [] if quiet else trust.slips(ds):
        echo(f"  {line}")


def _moved(ds):
    """Whether the samples of each configuration differ at all, or are refused now and then."""
    values = ds[ds.attrs["of"]].values
    same = (values == values[:, :1]).all(axis=1) & (ds["p_feasible"].values == 1.0)
    return (~same).tolist()


def _inputs(ds):
    shares = [max(float(ds[name][i]) for name in ("linear", "sobol", "sobol_total")) for i in range(ds.sizes["input"])]
    order = sorted(range(len(shares)), key=lambda i: -shares[i])
    lines = []
    for i in (i for i in order if shares[i] >= SMALL):
        x = ds.isel(input=i)
        percent = [f"{100 * float(x['linear']):.1f}"]
        for name in ("sobol", "sobol_total"):
            percent.append(f"{100 * float(x[name]):.1f} +- {100 * float(x[name + '_error']):.1f}")
        lines.append([x["input"].item(), f"{100 * float(x['error']):g}", f"{float(x['elasticity']):+.3f}", *percent])
    total = [f"{100 * float(ds[name].sum()):.1f}" for name in ("linear", "sobol")]
    lines.append(["sum of all", "", "", *total, ""])
    linear = "linear %, unclipped" if clipped(ds).keys() & set(ds["input"].values) else "linear %"
    text = table(["input", "error %", "elasticity", linear, "Sobol %", "Sobol total %"], lines)
    text += "\n  (Sobol: +- one standard error of its samples)" if len(lines) > 1 else ""
    small = [ds["input"].values[i] for i in order if 0.0 < shares[i] < SMALL]
    named = ", ".join(small[:NAMED]) + (f" and {len(small) - NAMED} more" if len(small) > NAMED else "")
    text += f"\n  below {SMALL:.1%} each: {named}" if small else ""
    still = shares.count(0.0)
    return text + (f"\n  without effect: {still} more" if still else "")


def conclusion(ds):
    """What the samples say, in a few sentences."""
    of, first = ds.attrs["of"], ds.isel(rank=0)
    low, high = (float(first[of].sel(quantile=q)) for q in (0.05, 0.95))
    nominal = float(first[f"nominal_{of}"])
    units = VARIABLES[of][0]
    lines = [
        f"Configuration 1: {of} {quantity(nominal, units)}, in 90 % of the samples between {low:,.5g} and {high:,.5g} "
        f"({low / nominal - 1.0:+.1%}, {high / nominal - 1.0:+.1%}); feasible in {float(first['p_feasible']):.1%}."
    ]
    winner, none = int(ds["p_best"].values.argmax()), 1.0 - float(ds["p_best"].sum())
    if float(ds["p_best"][winner]) > 0.0:
        word, chance = "stays" if winner == 0 else "is", float(ds["p_best"][winner])
        lines.append(
            f"Configuration {winner + 1} {word} the best of the {ds.sizes['rank']} in {chance:.1%} "
            f"of the samples (equals share)" + (f"; none of them is feasible in {none:.1%}." if none > 1e-9 else ".")
        )
    return "\n".join(lines)
