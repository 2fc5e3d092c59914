"""The command line: parses, calls the Python twin, prints. JAX is imported only by the commands that compute."""

import contextlib
import os
import shlex
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
        except BrokenPipeError:
            raise  # click's own: the reader has what it wanted
        except OSError as error:
            click.echo(f"error: output cannot be written ({error.strerror})", err=True)
            os._exit(2)  # nothing more can be flushed


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="dsjax")
def main():
    """The whole design space of serving a DeepSeek-V3-class model in one tensor pass.

    \b
    dsjax sweep                              the default grid: ranked table, refusals per constraint
    dsjax sweep -o space.nc                  the same, and every point in a NetCDF file
    dsjax best space.nc --by hardware,nic    the best feasible point of every group
    dsjax explain space.nc --at batch=64     one configuration in full
    dsjax reproduce                          published tables against computed ones
    dsjax count DeepSeek-V3                  parameters, FLOPs, bytes, volumes of one forward pass
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
    click.option("--model", metavar="MODEL", help="Shorthand of --fix model=MODEL."),
    click.option("--catalog", "catalogs", multiple=True, metavar="FILE.toml", help="Rows of your own, over dsjax's."),
    click.option(
        "--dtype",
        type=click.Choice(["float64", "float32"]),
        help="Floating-point type of the evaluation (default: float64).",
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
def sweep(
    grid, output, csv_all, csv_feasible, blocks, force, axes, fixed, settings, model, catalogs, dtype, form, quiet
):
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
    ds = _sweep(_space(grid, axes, fixed, settings, model, catalogs), dtype, blocks, quiet)
    ranked = search.best(ds)
    with _progress("writing", quiet):
        if output is not None:
            dataset.write_netcdf(ds, output, force)
        if csv_all is not None:
            dataset.write_csv(ds, csv_all, force=force)
        if csv_feasible is not None:
            dataset.write_csv(ds, csv_feasible, feasible_only=True, force=force)
    report.best(ds, ranked, form, quiet)
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
def best(source, by, top, objective, axes, fixed, settings, model, catalogs, dtype, form, quiet):
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
    if source.lower().endswith(".nc"):
        if axes or fixed or settings or model or catalogs or dtype:
            raise InputError(
                f"{source}: --axis, --fix, --set, ... change a grid; expected a grid, not a file of results"
            )
        ds = dataset.open_netcdf(source)
    else:
        space = _space(source, axes, fixed, settings, model, catalogs)
        search.check(space, groups, top, objective)
        ds = _sweep(space, dtype, False, quiet)
    report.best(ds, search.best(ds, by=groups, top=top, objective=objective), form, quiet, objective)
    _exit(ds)


@main.command()
@click.argument("source", default="default", metavar="GRID|FILE.nc")
@click.option(
    "--at", metavar="NAME=VALUE,...", help="Values of axes: batch=10,tp=4. The others are those of the best point."
)
@_GRID_OPTIONS
@_OUTPUT_OPTIONS
def explain(source, at, axes, fixed, settings, model, catalogs, dtype, form, quiet):
    """One configuration in full: the best feasible point, or the one that --at names, refused ones too.

    Metrics and their arithmetic, every block and what binds it, network, critical path, memory and the largest batch,
    why it is refused, whether TBO would pay, where the numbers come from. --format csv prints the blocks.

    \b
    dsjax explain
    dsjax explain space.nc --at hardware=H20,batch=64
    dsjax explain sg2260e_decode_128 --at nic=one-layer,tp=4,moe_tp=1,batch=10 --format json
    """
    from . import dataset, explained, explaining

    named = {name: _scalar(text) for name, text in _named("--at", at.split(",") if at else ()).items()}
    if source.lower().endswith(".nc"):
        if axes or fixed or settings or model or catalogs or dtype:
            raise InputError(
                f"{source}: --axis, --fix, --set, ... change a grid; expected a grid, not a file of results"
            )
        result, arguments = explaining.of_dataset, (dataset.open_netcdf(source), named)
    else:
        space = _space(source, axes, fixed, settings, model, catalogs)
        result, arguments = explaining.of_space, (space, named, dtype or "float64")
    with _progress("explaining", quiet), _compilation_cache():
        ds = result(*arguments)
    explained.show(ds, form, quiet)
    sys.exit(0 if named or ds["feasible"] else 1)


@main.command()
@click.argument("study", required=False)
@click.option(
    "--corrected", is_flag=True, help="Instead, every row with the study's slips corrected, and what each contributes."
)
@_OUTPUT_OPTIONS
def reproduce(study, corrected, form, quiet):
    """Published results against computed ones; exit code 1 if one is outside its tolerance.

    Row by row for one STUDY; one line each for all of them.

    \b
    dsjax reproduce
    dsjax reproduce decode_gpu_2025
    dsjax reproduce sg2260e --format csv > rows.csv
    dsjax reproduce decode_gpu_2025 --corrected
    """
    if corrected:
        from . import corrections

        with _progress("correcting", quiet), _compilation_cache():
            found = corrections.corrected(*([] if study is None else [study]))
        corrections.show(found, form, quiet)
        return
    from . import published, report, studies

    names = published.studies_of_results() if study is None else [studies.get(study).name]
    with _progress(f"reproducing {', '.join(names)}", quiet), _compilation_cache():
        results = [published.reproduce(name) for name in names]
    if study is None:
        report.summaries(results, form)
    else:
        report.reproduction(results[0], form, quiet)
    sys.exit(0 if all(map(published.passed, results)) else 1)


@main.command()
@click.argument("model", default="DeepSeek-V3")
@click.option("--phase", default="decode", show_default=True, help="decode or prefill.")
@click.option("--batch", default="1", show_default=True, help="Sequences in the whole instance.")
@click.option(
    "--context", default="4096", show_default=True, help="Tokens in the KV cache (decode), of a prompt (prefill)."
)
@click.option("--precision", default="bf16", show_default=True, help="Row of the precisions.")
@click.option("--tp", default="1", show_default=True, help="Chips that share attention and dense layers.")
@click.option("--ep", help="Cards that share the experts (default: as few as tp and MoE TP allow).")
@click.option("--moe-tp", default="1", show_default=True, help="Chips that share one expert: a card.")
@click.option(
    "--against-published", is_flag=True, help="Instead, the figures of a published formula chapter beside their counts."
)
@_OUTPUT_OPTIONS
def count(model, phase, batch, context, precision, tp, ep, moe_tp, against_published, form, quiet):
    """Parameters, FLOPs, bytes moved and bytes sent of one forward pass of MODEL, per operator, layer and in all.

    MODEL is a row of the models (default: DeepSeek-V3).

    \b
    dsjax count DeepSeek-V3
    dsjax count --batch 64 --tp 8 --ep 64 --precision fp8
    dsjax count --phase prefill --context 8192 --format csv > operators.csv
    dsjax count --against-published
    """
    from . import counting, formulas, listing

    if against_published:
        rows = formulas.against_published(model)
        listing.against_published(rows, form, quiet)
        sys.exit(0 if all(row["agrees"] or row["why"] for row in rows) else 1)
    options = {"phase": phase, "batch": batch, "context": context, "precision": precision}
    listing.counts(counting.count(model, **options, tp=tp, ep=ep, moe_tp=moe_tp), form, quiet)


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
        loaded = catalogs.load(*((study.records, (study.tables, study.path.name)) if study else ()))
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


def _space(grid, axes, fixed, settings, model, catalogs):
    from . import grid as grids

    axes, fixed, settings = (
        _named(option, texts) for option, texts in (("--axis", axes), ("--fix", fixed), ("--set", settings))
    )
    if both := axes.keys() & fixed.keys():
        raise InputError(f"--fix {min(both)}={fixed[min(both)]}: also given with --axis; expected one of the two")
    if model:
        fixed["model"] = model
    return grids.load(
        grid,
        axes={name: _values(name, text) for name, text in axes.items()},
        fixed={name: _scalar(text) for name, text in fixed.items()},
        settings=settings,
        catalogs=catalogs,
    )


def _sweep(space, dtype, blocks, quiet):
    from . import run

    with _progress(f"evaluating {space.points:,} points", quiet), _compilation_cache():
        return run.of_space(space, dtype or "float64", blocks, shlex.join(["dsjax", *sys.argv[1:]]))


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
