"""`dsjax calibrate`: efficiencies from measured times."""

import math
import shlex

import click

from .. import steps
from ..common import OUTPUT_OPTIONS
from ..help import command
from ..output import echo
from ..progress import progress
from ..tables import records, table

STRANGE_SHOWN = 10


@command()
@click.argument("measurements", metavar="MEASUREMENTS.csv")
@click.option(
    "--kind",
    required=True,
    help="gemm, grouped-gemm, experts, fused-experts, mla-decode, mla-prefill, gqa-decode, gqa-prefill, recurrent, "
    "scan, channel-scan, state-scan, convolution, mixing-pre, mixing-post, compressed-decode, compressed-prefill, "
    "dispatch, combine or all-reduce.",
)
@click.option("--hardware", required=True, metavar="ROW", help="The chip measured, a row of the hardware catalog.")
@click.option("--nic", default="CX7", show_default=True, metavar="ROW", help="Its NIC, for dispatch and combine.")
@click.option(
    "--precision",
    help="bf16, fp8, int8, fp4, nvfp4, of weights alone w8a16, int4-a16, mxfp4-a16, or the file's word for one: lines "
    "of another do not count.",
)
@click.option("--where", multiple=True, metavar="CONDITION", help='Lines that count: device=H100, "kv_len>=256".')
@click.option("--time", metavar="COLUMN[=UNIT]", help="Column of the time where it is not latency_us: latency=ms.")
@click.option(
    "--form",
    "model",
    default="kernel",
    show_default=True,
    help="kernel: what GEMMs and most files need; extended: more parameters of attention and exchanges, closer.",
)
@click.option("--peak", metavar="RATE", help='Peak rate in place of the catalog\'s, "9000 TFLOP/s".')
@click.option("--catalog", "catalogs", multiple=True, metavar="FILE.toml", help="Rows of your own, over dsjax's.")
@click.option("-o", "--output", metavar="FILE.toml", help="Write the fitted row, for --catalog.")
@click.option("--name", help="Name of the row (default: HARDWARE-KIND-PRECISION).")
@click.option(
    "--base", metavar="ROW", help="Row that the rest comes from (default: the chip's own curve, or the chip)."
)
@click.option("--force", is_flag=True, help="Overwrite FILE.toml.")
@OUTPUT_OPTIONS
def calibrate(measurements, kind, hardware, output, name, base, force, model, form, quiet, **options):
    """Efficiencies fitted to measured times of kernels.

    \b
    Columns, beside a time that names its unit (latency_us, latency_ms, latency_s):
      gemm                            m n k [quantised]
      grouped-gemm                    num_groups m_per_group n k
      experts (after a dispatch),     num_tokens hidden_size inter_size
        fused-experts (without one)     num_experts ep_size [topk, moe_tp_size]
      mla-decode; mla-prefill         batch kv_len; batch isl
      gqa-decode; gqa-prefill         likewise, and heads kv_heads head_dim
      recurrent                       batch v_heads k_dim v_dim [queries]
      scan (gated delta rule),        batch isl k_heads v_heads k_dim v_dim
        channel-scan (KDA),
        state-scan (Mamba-2)
      convolution                     batch channels [isl]
      mixing-pre, mixing-post         num_tokens hidden_size [streams, sites]
        (hyper-connections)
      compressed-decode,              batch heads positions [new_tokens]
        compressed-prefill
      dispatch, combine               ep_size num_token hidden_size
                                        [topk, node_num]
      all-reduce                      num_gpus bytes, or message_size in
                                        elements of the precision measured

    Other columns are labels for --where; those of another kernel are refused. Times faster than the peak rate are
    flagged and left out.

    \b
    dsjax calibrate gemm.csv --kind gemm --hardware H800 --precision fp8 -o curve.toml
    dsjax calibrate mla.csv --kind mla-decode --hardware H100 --where op_name=mla_generation --where "kv_len>=256"
    dsjax sweep --catalog curve.toml --fix curve=H800-gemm-fp8
    """
    from ...calibration import calibrate
    from ...results import files
    from ...space import inputs

    if output:
        files.apart([output], [measurements, *inputs.of_catalogs(options["catalogs"])])
        files.check_text(output, force)
    base = calibrate.named(kind, model, name, base, options["catalogs"])
    with progress(f"fitting {kind}", quiet):
        ds = calibrate.calibrate(measurements, kind, hardware, form=model, **options)
    if output:
        calibrate.write_row(ds, output, name, base, force, options["catalogs"])
    if form == "table":
        _tables(ds, quiet)
        if output and not quiet:
            line, next_ = _written(output, hardware)
            echo(f"\n{line}")
            steps.say(*next_)
        elif not quiet:
            echo("\n" + calibrate.row_of(ds, name, base).rstrip())
        return

    summary = {x: ds.attrs[x] for x in ("title", "kind", "hardware", "precision", "form", "folds", "left_out")}
    summary |= {x: float(ds[x]) for x in ("median_error", "p90_error", "cv_median_error", "cv_p90_error")}
    columns = {x: ds[x].values for x in ("parameter", "value", "units", "uncertainty", "meaning")}
    points = {x: v.values for x, v in ds.variables.items() if v.dims == ("point",)}
    if form == "json":
        summary["points"] = files.records(points)
    records(files.records(columns), form, summary, list(columns))


def _tables(ds, quiet):
    from ...calibration.fitting import STRANGE

    a = ds.attrs
    if not quiet:
        echo(f"{a['title']}\n  time = {' '.join(a['equation'].split())}")
        left = [
            (a["incomplete"], "points without a time or a size"),
            (a["merged"], "merged into others of their shape"),
        ]
        left.append((int((ds["used"] == 0).sum()), "faster than the peak rate of the chip: left out"))
        said = "".join(f"; {n} {text}" for n, text in left if n)
        echo(f"  {int(ds['used'].sum())} points from {a['lines']} lines{said}")
        if a["of_precision"]:
            echo(f"  {a['of_precision']}, the others are of another precision")
        if cached := int(((ds["faster_than_memory"] == 1) & (ds["used"] == 1)).sum()):
            echo(f"  {cached} points beat the peak bandwidth (operands in a cache?): kept")
    echo(table(["parameter", "value", "", "+- %", "meaning"], [_line(ds.sel(parameter=x)) for x in ds["parameter"]]))
    quality = [
        [text, *(f"{100 * float(ds[f'{which}{x}_error']):.1f}" for x in ("median", "p90"))]
        for text, which in (
            ("all points fitted", ""),
            (f"shapes left out ({a['left_out']}; {a['folds']} fits)", "cv_"),
        )
    ]
    echo("\n" + table(["|predicted / measured - 1|", "median %", "90th percentile %"], quality))
    strange = ds.isel(point=(abs(ds["predicted"] / ds["measured"] - 1.0) > STRANGE).values & (ds["used"] == 1).values)
    if strange.sizes["point"]:
        _strange(strange, int(ds["used"].sum()))
    for warning in _warnings(ds):
        echo(warning)


def _line(x):
    """One parameter; its uncertainty in words where it has none."""
    error = float(x["uncertainty"])
    words = "at its bound" if math.isnan(error) else "not determined" if math.isinf(error) else f"{100 * error:.1f}"
    factor, units = (1e6, "us") if x["units"].item() == "s" else (1.0, x["units"].item().removeprefix("1"))
    return [x["parameter"].item(), f"{factor * float(x['value']):,.4g}", units, words, x["meaning"].item()]


def _strange(ds, points):
    error = (ds["predicted"] / ds["measured"] - 1.0).values
    varying = [name for name in ds.coords if ds[name].dims == ("point",)]
    lines = []
    for i in sorted(range(len(error)), key=lambda i: -abs(error[i]))[:STRANGE_SHOWN]:
        x = ds.isel(point=i)
        us = [f"{1e6 * float(x[name]):.4g}" for name in ("measured", "predicted")]
        lines.append([*(f"{float(x[name]):g}" for name in varying), *us, f"{100 * error[i]:+.0f}"])
    echo(f"\n{len(error)} of {points} points that the form cannot explain (more than 50 % off), the worst first:")
    echo(table([*varying, "measured us", "predicted us", "error %"], lines))


def _warnings(ds):
    from ...calibration.calibrate import SLOW

    for x in ds["parameter"].values:
        value = float(ds["value"].sel(parameter=x))
        if x in ("compute", "memory", "inside", "outside") and value < SLOW:
            yield f"{x} reaches {value:.1%} of peak: are the times in the unit that their column names?"


def _written(output, hardware):
    """(What was written, the commands that use it), on the hardware that was measured."""
    from ...catalog.reader import read_toml

    rows = {record: next(iter(table)) for record, table in read_toml(output).items()}
    if "fit" in rows:
        return f"wrote {output}: parameters of a form that the core model does not read", []
    words = ["--catalog", output, *(word for record, name in rows.items() for word in ("--fix", f"{record}={name}"))]
    words += [] if "hardware" in rows else ["--fix", f"hardware={hardware}"]
    return f"wrote {output}", [shlex.join(["dsjax", name, *words]) for name in ("sweep", "explain")]
