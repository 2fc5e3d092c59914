"""The command line: parses, calls the Python twin, prints. JAX is imported only by the commands that compute."""

import contextlib
import os
import sys
import threading
import time
from pathlib import Path

import click

from . import __version__
from .errors import InputError


class _Group(click.Group):
    """Turns bad input into one line and exit code 2."""

    def invoke(self, context):
        try:
            return super().invoke(context)
        except InputError as error:
            click.echo(f"error: {error}", err=True)
            context.exit(2)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="dsjax")
def main():
    """The whole design space of serving a DeepSeek-V3-class model in one tensor pass.

    \b
    dsjax sweep                              the default grid: ranked table, refusals per constraint
    dsjax sweep -o space.nc                  the same, and every point in a NetCDF file
    dsjax best space.nc --by hardware,nic    the best feasible point of every group
    dsjax reproduce                          published tables against computed ones
    dsjax catalog hardware                   the numbers behind a name, and their source

    Exit codes: 0; 1 no feasible point, or a reproduction outside its tolerance; 2 bad input.
    """


def _options(*options):
    def decorate(command):
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


_GRID_OPTIONS = _options(
    click.option(
        "--axis",
        "axes",
        multiple=True,
        metavar="NAME=VALUES",
        help="Replace or add an axis: batch=8:128:8 (start:stop:step, stop included) or nic=CX7,E810.",
    ),
    click.option("--fix", "fixed", multiple=True, metavar="NAME=VALUE", help="Fix an axis at one value: context=8192."),
    click.option(
        "--set",
        "settings",
        multiple=True,
        metavar="ROW=NUMBER",
        help='Change a catalog number: nic.CX7.scale_out_bytes_per_s=5e10, or ="50 GB/s".',
    ),
    click.option(
        "--dtype",
        type=click.Choice(["float64", "float32"]),
        default="float64",
        show_default=True,
        help="Floating-point type of the evaluation.",
    ),
)
_OUTPUT_OPTIONS = _options(
    click.option(
        "--format",
        "form",
        type=click.Choice(["table", "csv", "json"]),
        default="table",
        show_default=True,
        help="What is printed.",
    ),
    click.option("--quiet", is_flag=True, help="No progress and no remarks."),
)


@main.command()
@click.argument("grid", default="default")
@click.option("-o", "--output", metavar="FILE.nc", help="Write every point to a NetCDF file.")
@click.option("--csv-all", metavar="FILE.csv", help="Write every point to a CSV file.")
@click.option("--csv-feasible", metavar="FILE.csv", help="Write the feasible points to a CSV file.")
@click.option("--blocks/--no-blocks", default=None, help="Keep block_time (default: up to a million points).")
@click.option("--force", is_flag=True, help="Overwrite existing files.")
@_GRID_OPTIONS
@_OUTPUT_OPTIONS
def sweep(grid, output, csv_all, csv_feasible, blocks, force, axes, fixed, settings, dtype, form, quiet):
    """Evaluate a whole grid, print the best points and why the others are refused.

    GRID is the path of a grid file or the name of one of dsjax's own (default: "default").

    \b
    dsjax sweep
    dsjax sweep decode_gpu_2025 -o study.nc --csv-feasible feasible.csv
    dsjax sweep --axis batch=8:256:8 --fix nic=CX7 --fix context=8192
    dsjax sweep --set hardware.H20.hbm_bytes="141 GB" --format json
    """
    from . import dataset, report, search

    outputs = [path for path in (output, csv_all, csv_feasible) if path is not None]
    for path in outputs:
        dataset.check_output(path, force)
    if len({Path(path).resolve() for path in outputs}) < len(outputs):
        raise InputError(f"{outputs[-1]}: named for two outputs; expected a path of its own for each")
    ds = _sweep(grid, axes, fixed, settings, dtype, blocks, quiet)
    with _progress("writing", quiet):
        if output is not None:
            dataset.write_netcdf(ds, output, force)
        if csv_all is not None:
            dataset.write_csv(ds, csv_all, force=force)
        if csv_feasible is not None:
            dataset.write_csv(ds, csv_feasible, feasible_only=True, force=force)
    report.best(ds, search.best(ds), form, quiet)
    if form == "table" and not quiet:
        for path in outputs:
            click.echo(f"wrote {path} ({os.path.getsize(path) / 1e6:,.1f} MB)")
    _exit(ds)


@main.command()
@click.argument("source", default="default", metavar="GRID|FILE.nc")
@click.option(
    "--by",
    metavar="NAMES",
    help="Groups, separated by commas: axes or numbers of their rows; '' is one group. Default: the grid's.",
)
@click.option("--top", type=int, default=1, show_default=True, help="Points kept of every group.")
@click.option(
    "--objective", metavar="VARIABLE", help="Maximize this variable ('-name': minimize) instead of the grid's."
)
@_GRID_OPTIONS
@_OUTPUT_OPTIONS
def best(source, by, top, objective, axes, fixed, settings, dtype, form, quiet):
    """The best feasible points of a grid or of a file, per group.

    Equal values (within 1e-9; 1e-6 in float32) are ordered by the study's rule: largest batch first, then the
    earliest grid position.

    \b
    dsjax best space.nc --by hardware,nic
    dsjax best --by '' --top 10
    dsjax best --objective -step_time --by hardware
    """
    from . import dataset, report, search

    groups = None if by is None else [name for name in by.split(",") if name]
    if source.endswith(".nc"):
        if axes or fixed or settings:
            raise InputError(f"{source}: --axis, --fix and --set change a grid; expected a grid, not a file of results")
        ds = dataset.open_netcdf(source)
    else:
        ds = _sweep(source, axes, fixed, settings, dtype, False, quiet)
    report.best(ds, search.best(ds, by=groups, top=top, objective=objective), form, quiet, objective)
    _exit(ds)


@main.command()
@click.argument("study", default="decode_gpu_2025")
@_OUTPUT_OPTIONS
def reproduce(study, form, quiet):
    """Published tables against computed ones, row by row; exit code 1 if a row is outside its tolerance.

    \b
    dsjax reproduce decode_gpu_2025
    dsjax reproduce --format csv > rows.csv
    """
    from . import dataset, published, report, studies

    studies.get(study)
    with _progress(f"reproducing {study}", quiet), _compilation_cache():
        result = published.reproduce(study)
    columns = {name: result[name].values for name in [*result.coords, *result.data_vars]}
    if form != "table":
        report.records(dataset.records(columns), form)
    else:
        report.reproduction(result, dataset.records(columns))
    sys.exit(0 if bool(result["ok"].all()) else 1)


@main.command()
@click.argument("record", required=False)
@_OUTPUT_OPTIONS
def catalog(record, form, quiet):
    """Rows of the catalogs (hardware, nics, models, precisions, curves) in SI units, with their source.

    \b
    dsjax catalog
    dsjax catalog hardware --format csv
    """
    from . import catalog as catalogs
    from . import report, studies
    from .errors import unknown
    from .tables import table

    names = {"nics": "nic", "models": "model", "precisions": "precision", "curves": "curve"}
    record = names.get(record, record)
    if record is not None and record not in catalogs.KINDS:
        raise unknown("catalog", "catalog", record, ["hardware", *names])
    rows = []
    for origin, study in [("dsjax", None), *((name, studies.get(name)) for name in studies.names())]:
        loaded = catalogs.load(*((study.records, study.tables, study.path.name) if study else ()))
        for kind in [record] if record else catalogs.KINDS:
            for name, row in loaded[kind].items():
                if study is None or name in study.tables.get(kind, {}):
                    rows.append({"catalog": kind, "row": name, "of": origin, **row})
    if form != "table":
        report.records(rows, form)
    elif record is None:
        click.echo(
            table(["catalog", "row", "of", "source"], [[r["catalog"], r["row"], r["of"], r["source"]] for r in rows])
        )
    else:
        for row in rows:
            click.echo(f"{row['row']}  ({row['of']}: {row['source']})")
            numbers = {k: v for k, v in row.items() if k not in ("catalog", "row", "of", "source")}
            click.echo(table(["field", "value"], [[k, v] for k, v in numbers.items()]) + "\n")


def _sweep(grid, axes, fixed, settings, dtype, blocks, quiet):
    from . import grid as grids
    from . import run

    axes, fixed, settings = (
        _named(option, texts) for option, texts in (("--axis", axes), ("--fix", fixed), ("--set", settings))
    )
    if both := axes.keys() & fixed.keys():
        raise InputError(f"--fix {min(both)}={fixed[min(both)]}: also given with --axis; expected one of the two")
    space = grids.load(
        grid,
        axes={name: _values(name, text) for name, text in axes.items()},
        fixed={name: _scalar(text) for name, text in fixed.items()},
        settings=settings,
    )
    with _progress(f"evaluating {space.points:,} points", quiet), _compilation_cache():
        return run.of_space(space, dtype, blocks)


def _named(option, texts):
    """["name=value", ...] -> {name: value}."""
    given = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name or not value:
            raise InputError(f"{option} {text}: expected NAME=VALUE")
        if name in given:
            raise InputError(f"{option} {text}: {name} is given twice; expected it once")
        given[name] = value
    return given


def _values(name, text):
    if ":" in text:
        parts = [_scalar(part) for part in text.split(":")]
        if len(parts) != 3 or any(isinstance(part, str) for part in parts):
            raise InputError(f"--axis {name}={text}: expected numbers start:stop:step")
        return dict(zip(("start", "stop", "step"), parts, strict=True))
    if not all(text.split(",")):
        raise InputError(f"--axis {name}={text}: has the empty value ''; expected values separated by commas")
    return [_scalar(part) for part in text.split(",")]


def _scalar(text):
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text)
    return text


@contextlib.contextmanager
def _compilation_cache():
    """Compiled programs are kept in the user's cache folder between commands."""
    import jax

    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dsjax"
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        jax.config.update("jax_compilation_cache_dir", str(folder))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    yield


@contextlib.contextmanager
def _progress(what, quiet):
    """A line on stderr that counts seconds, for what takes longer than one."""
    if quiet or not sys.stderr.isatty():
        yield
        return
    start, done = time.perf_counter(), threading.Event()

    def tick():
        while not done.wait(1.0):
            click.echo(f"\r{what} ... {time.perf_counter() - start:.0f} s", err=True, nl=False)

    ticker = threading.Thread(target=tick, daemon=True)
    ticker.start()
    try:
        yield
    finally:
        done.set()
        ticker.join()
        if time.perf_counter() - start > 1.0:
            click.echo(f"\r{what} ... {time.perf_counter() - start:.1f} s", err=True)


def _exit(ds):
    sys.exit(0 if bool(ds["feasible"].any()) else 1)


if __name__ == "__main__":
    main()
