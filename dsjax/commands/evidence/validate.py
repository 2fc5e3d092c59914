"""`dsjax validate`: measured systems against predictions."""

import shlex

import click

from ...errors import InputError
from .. import steps
from ..common import OUTPUT_OPTIONS, GridRequest
from ..help import command
from ..output import echo
from ..progress import progress
from ..tables import records, table
from . import agreement_tables
from .agreement_tables import percent

MORE = ("--rows", "--defaults")  # what a reader may ask next


@command()
@click.argument("systems", metavar="[SYSTEMS.toml]", required=False)
@click.option("--rows", "each", is_flag=True, help="Also every system, and whichever is far off.")
@click.option(
    "--all", "everything", is_flag=True, help="Also every choice made, every pair of a study, and what is left aside."
)
@click.option("--engines", is_flag=True, help="Host times and factors of each engine that fit best, and their worth.")
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
def validate(systems, each, everything, engines, defaults, fixed, settings, catalogs, output, force, form, quiet):
    """Measured end-to-end systems against predictions.

    What a source leaves open comes from one table of defaults. Judged by class and by engine: without a factor, with
    one software factor fitted to all systems whose source gives all that matters, and with one for each engine; the
    system's own study is left out of both. Beside it the roofline: peak rates, no launches, with a factor fitted in
    the same way. SYSTEMS.toml: measurements of your own; its form is that of dsjax/data/systems.toml,
    and dsjax ingest writes it from result files of benchmarks.

    \b
    dsjax validate
    dsjax validate --rows
    dsjax validate --engines
    dsjax validate --defaults
    dsjax validate --catalog curve.toml --fix curve=mine
    dsjax validate --format csv > systems.csv
    """
    from ...results import files, netcdf
    from ...validation import validate
    from ...validation.defaults import validate_defaults
    from ...validation.engine_numbers import engine_numbers
    from ...validation.systems import files_of

    alone = [name for name, given in (("--defaults", defaults), ("--engines", engines)) if given]
    beside = [name for name, given in (("--rows", each), ("--all", everything)) if given] + alone[1:]
    if alone and beside:
        raise InputError(f"{alone[0]}: beside {beside[0]}; expected one of the two")
    if output:
        files.apart([output], files_of(systems, catalogs))
        files.check_netcdf(output, force)
    changes = GridRequest(fixed=fixed, settings=settings, catalogs=catalogs).changes()
    for name in ("axes", "limits"):  # a system is no grid to choose from
        changes.pop(name)
    twin = validate_defaults if defaults else engine_numbers if engines else validate.validate
    with progress("predicting systems", quiet):
        ds = twin(systems, **changes)
    if output:
        netcdf.write_netcdf(ds, output, force)
    if form != "table":
        _records(ds, form)
    elif defaults:
        _defaults(ds, quiet)
    elif engines:
        agreement_tables.engines(ds, quiet)
    else:
        _show(ds, each or everything, everything, quiet)
        if not quiet and not each and not everything:
            words = [f"dsjax validate{f' {shlex.quote(systems)}' * bool(systems)} {option}" for option in MORE]
            steps.say(*words)


def _records(ds, form):
    """Systems, or choices, as CSV or JSON."""
    from ...results import files
    from ...validation import agreement

    dim = next(name for name in ("choice", "fit", "system") if name in ds.dims)
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
        errors = [percent(x[name], signed=False) for name in ("median", "p90", "open_median", "open_p90")]
        far = [str(int(x[name])) for name in ("far", "open_far")]
        counts = str(int(x["changed"])) if i else ""
        factor = f"{float(x['software_factor']):.3f}"
        lines.append(
            [x["choice"].item(), x["default"].item(), counts, factor, *errors[:2], far[0], *errors[2:], far[1]]
        )
    if not quiet:
        complete = ds.attrs["complete_systems"]
        echo(
            "|predicted / measured - 1| with one default changed at a time, the study itself left out of the fit: "
            f"of the {complete} systems whose source gives all that matters, then of the "
            f"{ds.attrs['systems'] - complete} whose source leaves something open"
        )
    heads = ["median %", "p90 %", f"> {100 * FAR:.0f} %"]
    echo(table(["defaults", "instead of", "systems", "factor", *heads, *(f"open {x}" for x in heads)], lines))
    if not quiet and ds["median"].notnull().all():
        spans = [(ds[name].values.min(), ds[name].values.max()) for name in ("median", "p90")]
        said = [f"{name} {100 * low:.1f} to {100 * high:.1f} %" for name, (low, high) in zip(("median", "p90"), spans)]
        far = ds["far"].values
        echo(
            f"Whichever of these values one default has: {said[0]}, {said[1]}, {far.min()} to {far.max()} systems more "
            f"than {FAR:.0%} off."
        )


def _show(ds, each, everything, quiet):
    """By class and engine, what was fitted, what is not counted; then systems, what is far off and why it may be."""
    from ...validation.agreement import statistics
    from .. import trust

    stats = statistics(ds)
    agreement_tables.groups(stats["classes"], "class", _TITLE, quiet)
    agreement_tables.groups(stats["engines"], "engine", "\nBy engine:", quiet)
    if not quiet:
        agreement_tables.uncounted(stats["excluded"])
        agreement_tables.fits(ds)
    if each:
        _each_system(ds, stats, quiet)
    if not quiet:
        for line in trust.slips(ds):
            echo(f"remark: {line}")
        _remarks(ds, each)
    if everything:
        _everything(ds)


_TITLE = (
    "|predicted / measured - 1| of the systems whose source gives all that matters, predicted over measured time "
    "(geometric mean) and the share that lies within the +- of kernel times, without a factor; medians with one "
    "software factor, with one by engine and of the roofline, the study itself left out; pairs of one study:"
)


def _each_system(ds, stats, quiet):
    agreement_tables.groups(stats["studies"], "study", "\nBy study:", quiet)
    complete = ds["complete"].values
    _systems(ds.isel(system=complete), "\nSystems whose source gives all that matters:", quiet)
    if not complete.all():
        _systems(ds.isel(system=~complete), "\nSystems whose source leaves something open (they fit nothing):", quiet)
    _errors(stats["errors"])
    _agreement(stats)


def _systems(ds, title, quiet):
    from ...validation.systems import METRICS

    lines = []
    for i in range(ds.sizes["system"]):
        x = ds.isel(system=i)
        metric = METRICS[x["metric"].item()]
        errors = [percent(x[name]) for name in _ERRORS]
        values = [_value(float(x[name]), metric) for name in ("measured", "predicted")]
        lines.append([x["system"].item(), x["hardware"].item(), metric.shown, *values, *errors, int(x["assumed"])])
    if not quiet:
        echo(title)
    echo(table(["system", "chip", "", "measured", "predicted", *_ERRORS.values(), "assumed"], lines))


_ERRORS = {
    "error": "error %",
    "left_out_error": "left out %",
    "unfitted_error": "no factor %",
    "roofline_left_out_error": "roofline %",
}


def _value(value, metric):
    return f"{value * metric.scale:,.{2 if metric.shown == 'ms/token' else 1}f}"


def _errors(lines):
    shown = []
    for x in lines:
        numbers = [percent(x[f"{kind}_{name}"], signed=False) for kind in _KINDS for name in ("median", "p90")]
        far = [f"{x[f'{kind}_far']}" for kind in _KINDS]
        shown.append([x["group"], x["rows"], *numbers[:2], far[0], *numbers[2:4], far[1]])
    echo("\n|predicted / measured - 1|, the study itself left out of the fit:")
    heads = ["median %", "p90 %", "> 30 %"]
    echo(table(["", "systems", *heads, *(f"roofline {head}" for head in heads)], shown))


_KINDS = ("left_out", "roofline")
MOST = 8  # systems that are far off are named


def _agreement(stats):
    ratios = {(x["by"], x["systems"]): x for x in stats["ratios"]}
    for among in ("complete", "all"):
        x, y = ratios["model", among], ratios["roofline", among]
        if x["pairs"]:
            echo(
                f"Ratios of two systems of one study ({among}): {x['pairs']} pairs, median error "
                f"{percent(x['median'], False)} %, p90 {percent(x['p90'], False)} % "
                f"(roofline {percent(y['median'], False)} and {percent(y['p90'], False)} %)"
            )
    for x in (x for x in stats["order"] if x["by"] == "model"):
        y = next(y for y in stats["order"] if y["by"] == "roofline" and y["metric"] == x["metric"])
        echo(
            f"Order, {x['metric']}: {x['agree']:.0%} of {x['pairs']} pairs as measured, Kendall's tau {x['tau']:+.2f} "
            f"(roofline {y['agree']:.0%}, {y['tau']:+.2f})"
        )
    for x in stats["bias"]:
        echo(
            f"Bias, {x['metric']}: predicted speed {x['predicted']:.2f} of the measured one, "
            f"{x['unfitted']:.2f} without the factor (geometric means)"
        )


def _remarks(ds, each):
    """Choices, in-house systems, and systems that are far off, with the reason where it is known; all by `each`."""
    from ...validation.agreement import FAR

    chosen = [key for keys in ds["assumed_keys"].values for key in keys.split()]
    counts = {key: chosen.count(key) for key in sorted(set(chosen), key=lambda key: (-chosen.count(key), key))}
    said = ", ".join(f"{key} {n}" for key, n in counts.items())
    echo(
        f"Choices from the table of defaults: {len(chosen)} in {ds.sizes['system']} systems"
        + f" ({said})." * bool(said)
    )
    for x in _each(ds, ds["in_house"].values):
        echo(f"Without any factor, {x['system'].item()}: {percent(x['unfitted_error'])} %.")
    left_out = ds["left_out_error"].where(ds["left_out_error"].notnull(), ds["error"])
    far = [(float(left_out[i]), ds.isel(system=i)) for i in (abs(left_out) > FAR).values.nonzero()[0]]
    far = sorted(far, key=lambda item: -abs(item[0]))
    for error, x in far if each else far[:MOST]:
        parts = ", ".join(f"{name} {share:.0%}" for name, share in _largest(x))
        echo(
            f"More than {FAR:.0%} off: {x['system'].item()}, {percent(error)} %; predicted to be bound by "
            f"{x['bottleneck'].item()}; of its work {parts}"
        )
        reasons = [("left open", "why"), ("noted", "caveat"), ("reason", "known")]
        for said, name in reasons:
            if x[name].item():
                echo(f"    {said}: {x[name].item()}")
    if len(far) > MOST and not each:
        echo(f"More than {FAR:.0%} off: {len(far) - MOST} systems more; dsjax validate --rows names them.")
    _refused(ds, each)
    if ds.sizes.get("left_aside"):
        echo(f"{ds.sizes['left_aside']} more measurements are left aside: dsjax validate --all names them.")


def _refused(ds, each):
    """Systems that the model refuses, by constraint, or each of them."""
    names: dict = {}
    for x in _each(ds, ds["refused"].values != ""):
        caveat = f" ({x['caveat'].item()})" if x["caveat"].item() and each else ""
        names.setdefault(x["refused"].item(), []).append(x["system"].item() + caveat)
    for masks, some in names.items():
        known = some if each or len(some) <= MOST else [f"{len(some)} systems"]
        echo(f"Measured, but refused by the model, {masks}: {', '.join(known)}")


def _each(ds, which):
    return [ds.isel(system=i) for i, chosen in enumerate(which) if chosen]


def _largest(x, most=3):
    times = x["block_time"]
    total = float(times.sum())
    found = sorted(zip(times["block"].values.tolist(), times.values.tolist(), strict=True), key=lambda item: -item[1])
    return [(name, seconds / total) for name, seconds in found[:most]]


def _everything(ds):
    from ...validation.agreement import pair_rows

    echo("\nWhat each system took from the defaults, and what its source leaves open:")
    columns = ("system", "study", "load", "assumed_keys", "why", "caveat")
    lines = [[str(x[name].item()) for name in columns] for x in _each(ds, [True] * ds.sizes["system"])]
    echo(table(["system", "study", "load", "from the defaults", "left open", ""], lines))
    echo("\nPairs of one study, the faster over the slower, without a factor:")
    pairs = [
        [x["faster"], x["slower"], f"{x['measured']:.3f}", f"{x['predicted']:.3f}", percent(x["error"])]
        for x in pair_rows(ds)
    ]
    echo(table(["faster", "slower", "measured", "predicted", "error %"], pairs))
    if ds.sizes["left_aside"]:
        echo("\nLeft aside:")
        lines = zip(ds["left_aside"].values.tolist(), ds["left_aside_why"].values.tolist(), strict=True)
        echo(table(["measurement", "because"], [list(line) for line in lines]))
