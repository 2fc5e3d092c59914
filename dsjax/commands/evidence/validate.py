"""`dsjax validate`: measured systems against predictions."""

import click

from ...errors import InputError
from ..common import OUTPUT_OPTIONS, GridRequest
from ..progress import progress
from ..tables import records, table


@click.command()
@click.argument("systems", metavar="[SYSTEMS.toml]", required=False)
@click.option(
    "--all", "everything", is_flag=True, help="Also every choice made, every pair of a study, and what is left aside."
)
@click.option("--defaults", is_flag=True, help="What becomes of the errors where one default after the other changes.")
@click.option("--fix", "fixed", multiple=True, metavar="NAME=VALUE", help="For all systems: curve=mine.")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="ROW=NUMBER",
    help="Change a catalog number: hardware.H800.hbm_bytes_per_s=3e12.",
)
@click.option("--catalog", "catalogs", multiple=True, metavar="FILE.toml", help="Rows of your own, over dsjax's.")
@click.option("-o", "--output", metavar="FILE.nc", help="Write everything as NetCDF.")
@click.option("--force", is_flag=True, help="Overwrite FILE.nc.")
@OUTPUT_OPTIONS
def validate(systems, everything, defaults, fixed, settings, catalogs, output, force, form, quiet):
    """Measured end-to-end systems against predictions, with no number set for one system alone.

    What a source leaves open comes from one table of defaults. One software factor is fitted to all systems whose
    source gives all that matters; "left out" has the factor of the other studies alone. Beside it the roofline: peak
    rates, no launches, with a factor fitted in the same way. SYSTEMS.toml: measurements of your own; its form is that
    of dsjax/data/systems.toml.

    \b
    dsjax validate
    dsjax validate --defaults
    dsjax validate --catalog curve.toml --fix curve=mine
    dsjax validate --format csv > systems.csv
    """
    from ...results import files, netcdf
    from ...validation import validate
    from ...validation.defaults import validate_defaults
    from ...validation.systems import files_of

    if everything and defaults:
        raise InputError("--defaults: beside --all; expected one of the two")
    if output:
        files.apart([output], files_of(systems, catalogs))
        files.check_netcdf(output, force)
    changes = GridRequest(fixed=fixed, settings=settings, catalogs=catalogs).changes()
    changes.pop("axes")
    twin = validate_defaults if defaults else validate.validate
    with progress("predicting systems", quiet):
        ds = twin(systems, **changes)
    if output:
        netcdf.write_netcdf(ds, output, force)
    if form != "table":
        _records(ds, form)
    elif defaults:
        _defaults(ds, quiet)
    else:
        _show(ds, everything, quiet)


def _records(ds, form):
    """Systems, or choices, as CSV or JSON."""
    from ...results import files
    from ...validation import agreement

    dim = "choice" if "choice" in ds.dims else "system"
    columns = {name: x.values for name, x in ds.variables.items() if x.dims == (dim,)}
    rows = files.records({dim: columns.pop(dim)} | columns)
    summary = {name: x for name, x in ds.attrs.items() if name != "title"}
    records(rows, form, summary | (agreement.statistics(ds) if dim == "system" else {}))


def _defaults(ds, quiet):
    """The statistics of every choice, and how far they move."""
    from ...validation.agreement import FAR

    lines = []
    for i in range(ds.sizes["choice"]):
        x = ds.isel(choice=i)
        errors = [_percent(x[name], signed=False) for name in ("median", "p90", "open_median", "open_p90")]
        far = [str(int(x[name])) for name in ("far", "open_far")]
        counts = str(int(x["changed"])) if i else ""
        factor = f"{float(x['software_factor']):.3f}"
        lines.append(
            [x["choice"].item(), x["default"].item(), counts, factor, *errors[:2], far[0], *errors[2:], far[1]]
        )
    if not quiet:
        complete = ds.attrs["complete_systems"]
        click.echo(
            "|predicted / measured - 1| with one default changed at a time, the study itself left out of the fit:\n"
            f"of the {complete} systems whose source gives all that matters, then of the "
            f"{ds.attrs['systems'] - complete} whose source leaves something open"
        )
    heads = ["median %", "p90 %", f"> {100 * FAR:.0f} %"]
    click.echo(table(["defaults", "instead of", "systems", "factor", *heads, *(f"open {x}" for x in heads)], lines))
    if not quiet and ds["median"].notnull().all():
        spans = [(ds[name].values.min(), ds[name].values.max()) for name in ("median", "p90")]
        said = [f"{name} {100 * low:.1f} to {100 * high:.1f} %" for name, (low, high) in zip(("median", "p90"), spans)]
        far = ds["far"].values
        click.echo(
            f"Whichever of these values one default has: {said[0]}, {said[1]}, {far.min()} to {far.max()} systems more "
            f"than {FAR:.0%} off."
        )


def _show(ds, everything, quiet):
    """Systems, then statistics, then what is far off and why it may be."""
    from ...validation.agreement import statistics

    stats = statistics(ds)
    complete = ds["complete"].values
    _systems(ds.isel(system=complete), "Systems whose source gives all that matters:", quiet)
    if not complete.all():
        _systems(ds.isel(system=~complete), "\nSystems whose source leaves something open (they fit nothing):", quiet)
    _errors(stats["errors"])
    _agreement(stats)
    if not quiet:
        _remarks(ds)
    if everything:
        _everything(ds)


def _systems(ds, title, quiet):
    from ...validation.systems import METRICS

    lines = []
    for i in range(ds.sizes["system"]):
        x = ds.isel(system=i)
        metric = METRICS[x["metric"].item()]
        errors = [_percent(x[name]) for name in _ERRORS]
        values = [_value(float(x[name]), metric) for name in ("measured", "predicted")]
        lines.append([x["system"].item(), x["hardware"].item(), metric.shown, *values, *errors, int(x["assumed"])])
    if not quiet:
        click.echo(title)
    click.echo(table(["system", "chip", "", "measured", "predicted", *_ERRORS.values(), "assumed"], lines))


_ERRORS = {
    "error": "error %",
    "left_out_error": "left out %",
    "unfitted_error": "no factor %",
    "roofline_left_out_error": "roofline %",
}


def _percent(x, signed=True):
    value = 100.0 * float(x)
    return "-" if value != value else f"{value:+.1f}" if signed else f"{value:.1f}"


def _value(value, metric):
    return f"{value if metric.rate else 1e6 * value:,.1f}"


def _errors(lines):
    shown = []
    for x in lines:
        numbers = [_percent(x[f"{kind}_{name}"], signed=False) for kind in _KINDS for name in ("median", "p90")]
        far = [f"{x[f'{kind}_far']}" for kind in _KINDS]
        shown.append([x["group"], x["rows"], *numbers[:2], far[0], *numbers[2:4], far[1]])
    click.echo("\n|predicted / measured - 1|, the study itself left out of the fit:")
    heads = ["median %", "p90 %", "> 30 %"]
    click.echo(table(["", "systems", *heads, *(f"roofline {head}" for head in heads)], shown))


_KINDS = ("left_out", "roofline")


def _agreement(stats):
    ratios = {(x["by"], x["systems"]): x for x in stats["ratios"]}
    for among in ("complete", "all"):
        x, y = ratios["model", among], ratios["roofline", among]
        if x["pairs"]:
            click.echo(
                f"Ratios of two systems of one study ({among}): {x['pairs']} pairs, median error "
                f"{_percent(x['median'], False)} %, p90 {_percent(x['p90'], False)} % "
                f"(roofline {_percent(y['median'], False)} and {_percent(y['p90'], False)} %)"
            )
    for x in (x for x in stats["order"] if x["by"] == "model"):
        y = next(y for y in stats["order"] if y["by"] == "roofline" and y["metric"] == x["metric"])
        click.echo(
            f"Order, {x['metric']}: {x['agree']:.0%} of {x['pairs']} pairs as measured, Kendall's tau {x['tau']:+.2f} "
            f"(roofline {y['agree']:.0%}, {y['tau']:+.2f})"
        )
    for x in stats["bias"]:
        click.echo(
            f"Bias, {x['metric']}: predicted speed {x['predicted']:.2f} of the measured one, "
            f"{x['unfitted']:.2f} without the factor (geometric means)"
        )


def _remarks(ds):
    """Factors, choices, in-house systems, and every system that is far off, with the reason where it is known."""
    from ...validation.agreement import FAR

    a = ds.attrs
    fitted, bare, to = a["software_factor"], a["roofline_factor"], a["fitted_to"]
    click.echo(f"\nSoftware factor {fitted:.3f}, one number fitted to {to}; of the roofline {bare:.3f}.")
    chosen = [key for keys in ds["assumed_keys"].values for key in keys.split()]
    counts = {key: chosen.count(key) for key in sorted(set(chosen), key=lambda key: (-chosen.count(key), key))}
    said = ", ".join(f"{key} {n}" for key, n in counts.items())
    click.echo(
        f"Choices from the table of defaults: {len(chosen)} in {ds.sizes['system']} systems"
        + f" ({said})." * bool(said)
    )
    for x in _each(ds, ds["in_house"].values):
        click.echo(f"Without any factor, {x['system'].item()}: {_percent(x['unfitted_error'])} %.")
    left_out = ds["left_out_error"].where(ds["left_out_error"].notnull(), ds["error"])
    far = [(float(left_out[i]), ds.isel(system=i)) for i in (abs(left_out) > FAR).values.nonzero()[0]]
    for error, x in sorted(far, key=lambda item: -abs(item[0])):
        parts = ", ".join(f"{name} {share:.0%}" for name, share in _largest(x))
        click.echo(
            f"More than {FAR:.0%} off: {x['system'].item()}, {_percent(error)} %; predicted to be bound by "
            f"{x['bottleneck'].item()}; of its work {parts}"
        )
        reasons = [("left open", "why"), ("noted", "caveat"), ("reason", "known")]
        for said, name in reasons:
            if x[name].item():
                click.echo(f"    {said}: {x[name].item()}")
    for x in _each(ds, ds["refused"].values != ""):
        caveat = f" ({x['caveat'].item()})" if x["caveat"].item() else ""
        click.echo(f"Measured, but refused by the model: {x['system'].item()}, {x['refused'].item()}{caveat}")
    if ds.sizes.get("left_aside"):
        click.echo(f"{ds.sizes['left_aside']} more measurements are left aside: dsjax validate --all names them.")


def _each(ds, which):
    return [ds.isel(system=i) for i, chosen in enumerate(which) if chosen]


def _largest(x, most=3):
    times = x["block_time"]
    total = float(times.sum())
    found = sorted(zip(times["block"].values.tolist(), times.values.tolist(), strict=True), key=lambda item: -item[1])
    return [(name, seconds / total) for name, seconds in found[:most]]


def _everything(ds):
    from ...validation.agreement import pair_rows

    click.echo("\nWhat each system took from the defaults, and what its source leaves open:")
    columns = ("system", "study", "load", "assumed_keys", "why", "caveat")
    lines = [[str(x[name].item()) for name in columns] for x in _each(ds, [True] * ds.sizes["system"])]
    click.echo(table(["system", "study", "load", "from the defaults", "left open", ""], lines))
    click.echo("\nPairs of one study, the faster over the slower, without a factor:")
    pairs = [
        [x["faster"], x["slower"], f"{x['measured']:.3f}", f"{x['predicted']:.3f}", _percent(x["error"])]
        for x in pair_rows(ds)
    ]
    click.echo(table(["faster", "slower", "measured", "predicted", "error %"], pairs))
    if ds.sizes["left_aside"]:
        click.echo("\nLeft aside:")
        lines = zip(ds["left_aside"].values.tolist(), ds["left_aside_why"].values.tolist(), strict=True)
        click.echo(table(["measurement", "because"], [list(line) for line in lines]))
