"""Tables of `dsjax validate`: statistics by class and engine, what was fitted to what, what is not counted."""

from ..output import echo
from ..tables import table


def percent(x, signed=True):
    """A share as text; "-" where it is unknown."""
    value = 100.0 * float(x)
    return "-" if value != value else f"{value:+.1f}" if signed else f"{value:.1f}"


def groups(lines, name, title, quiet):
    """Statistics of `agreement.by_group`."""
    shown = []
    for x in lines:
        bias = "-" if x["bias"] != x["bias"] else f"{x['bias']:.2f}"
        errors = [percent(x[key], signed=False) for key in _ERRORS]
        counts = [f"{x['counted']} of {x['rows']}", *errors[:2], bias, *errors[2:]]
        shown.append([x["group"], *counts, x["pairs"], *(percent(x[key], False) for key in ("ratio", "order"))])
    if not quiet:
        echo(title)
    echo(table([name, *_HEADS], shown, least=[1 + _HEADS.index(head) for head in _LEAST]))


_ERRORS = ("median", "p90", "one_median", "engine_median", "roofline_median", "within_1", "within_2")
_HEADS = ["counted", "median %", "p90 %", "time ratio", "one factor %", "by engine %", "roofline %", "in +- %"]
_HEADS += ["in 2 +- %", "pairs", "ratio %", "order %"]
# Left out first on a narrow terminal: what fits would make of it; how often it was right stays.
_LEAST = (
    "ratio %",
    "pairs",
    "by engine %",
    "one factor %",
    "order %",
    "roofline %",
    "in 2 +- %",
    "time ratio",
    "in +- %",
)


def uncounted(lines):
    """Systems that are not counted, by reason."""
    echo("\nNot counted:")
    echo(table(["class", "", "because"], [[x["class"] or "none", x["rows"], x["reason"]] for x in lines]))


def fits(ds):
    """What was fitted to how many systems."""
    a = ds.attrs
    fitted, bare, to = a["software_factor"], a["roofline_factor"], a["fitted_to"]
    echo(f"\nSoftware factor {fitted:.3f}, one number fitted to {to}; of the roofline {bare:.3f}.")
    own = [
        f"{name} {factor:.3f} (to {n})"
        for name, factor, n in zip(ds["fitted"].values, ds["engine_factor"].values, ds["engine_systems"].values)
    ]
    echo(f"Software factor by engine, one number each, to the complete systems in brackets: {', '.join(own)}.")


def engines(ds, quiet):
    """What was fitted to each engine, and what the fits are worth for studies that did not take part."""
    lines = []
    for x in (ds.isel(fit=i) for i in range(ds.sizes["fit"])):
        times = [_ms(x[name]) if f" {name} " in f" {x['fitted_names'].item()} " else "-" for name in _HOST]
        factor = f"{float(x['software_factor']):.3f}"
        errors = [percent(x[name], False) for name in ("error", "left_out_error")]
        lines.append([x["names"].item(), x["engine"].item(), int(x["systems"]), factor, *times, *errors])
    if not quiet:
        echo(
            "Numbers fitted to complete systems, at most one per 5 of them, by least squares of the logarithm of the "
            "time; median error of the systems, and with the numbers that other studies give the engine"
        )
    heads = [f"{name.removesuffix('_s').replace('_', ' ')} ms" for name in _HOST]
    echo(table(["numbers", "engine", "systems", "factor", *heads, "error %", "left out %"], lines))


_HOST = ("step_s", "draft_step_s", "request_s")


def _ms(seconds):
    return f"{1e3 * float(seconds):.2f}"
