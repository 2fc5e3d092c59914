"""`dsjax recommend`: the fewest chips for a demand."""

import json
import sys

import click

from ...formats import label, rounded, shown
from ..common import grid_command
from ..progress import progress
from ..tables import records, rows_over, table

# of a pool, what is not part of its configuration
_SIZED = (
    "instances",
    "chips",
    "chips_per_instance",
    "tps_total",
    "tps_per_chip",
    "batch_total",
    "tokens_per_s",
    "load",
)


@click.command()
@click.option("--prefill", default="prefill", show_default=True, metavar="GRID", help="Grid of the prefill pool.")
@click.option("--requests-per-s", metavar="R", help="Demand: requests per second.")
@click.option("--concurrency", metavar="USERS", help="Or: users who are being answered at once.")
@click.option("--isl", metavar="TOKENS", help="Tokens of a prompt (input sequence length).")
@click.option("--osl", metavar="TOKENS", help="Tokens of an answer (output sequence length).")
@click.option(
    "--min-tps-per-user",
    metavar="RATE",
    help="Least tokens per second of a user, for the grid's own; its slo_margin is kept.",
)
@click.option("--max-tpot", metavar="TIME", help='Or: longest time per output token, 0.05 or "50 ms".')
@click.option("--max-ttft", metavar="TIME", help="Longest time to the first token, for the grid's own.")
@grid_command(source="[GRID]")
def recommend(request, prefill, **asked):
    """The fewest chips for a demand: pools of decode and of prefill, sized apart.

    GRID is the grid of the decode pool. Every pool is a number of whole instances of one configuration; the one with
    the fewest chips is taken, of equals the fastest for a user. Prints a fleet for every hardware and NIC, and the
    arithmetic of the smallest and of the cheapest one, line by line. --axis and --fix go to the grid that names the
    axis, to both where none does.

    \b
    dsjax recommend --requests-per-s 10 --isl 4096 --osl 1024
    dsjax recommend --concurrency 5000 --isl 2000 --osl 500 --max-tpot "50 ms" --max-ttft 1
    dsjax recommend --requests-per-s 10 --isl 4096 --osl 1024 --set hardware.H20.usd_per_hour=1.2
    """
    from ...analysis import demand, recommend

    spaces = demand.spaces_of(request.source, prefill, asked, request.changes())
    request.say_chosen(spaces[0])
    points = sum(space.points for space in spaces)
    with progress(f"evaluating {points:,} points", request.quiet):
        ds = recommend.of_spaces(*spaces, asked, request.dtype or "float64")
    show(ds, request.form, request.quiet)
    sys.exit(0 if ds.sizes["rank"] else 1)


def show(ds, form, quiet):
    """A fleet for every hardware and NIC, the arithmetic of the smallest and the cheapest, and who has none."""
    from ...analysis.recommend import ASSUMPTIONS

    asked, bounds, margins, refused = (json.loads(ds.attrs[n]) for n in ("asked", "bounds", "margins", "refused"))
    rows = rows_over(ds, "rank")
    if form != "table":
        summary = {
            "asked": asked,
            "constraints": bounds,
            "margins": margins,
            "assumptions": ASSUMPTIONS,
            "refused": _as_dicts(refused),
        }
        records(rows, form, summary, ["rank", *(n for n in (*ds.coords, *ds.data_vars) if n != "rank")])
        return
    if not quiet:
        limits = ", ".join(f"{name} {_limit(x)}" for name, x in bounds.items())
        click.echo(f"{_demand(asked)}; {limits or 'no SLO'}{_margins(margins)}")
        click.echo(f"(assumed: {ASSUMPTIONS})\n")
    if rows:
        click.echo(_summary(rows))
        for why, row in _best(rows).items():
            click.echo(f"\n{why}: {row['hardware']} with {row['nic']}\n{_arithmetic(row, asked)}")
    if refused and not quiet:
        click.echo("\nNo fleet where a pool has no feasible point:")
        click.echo(table(["hardware", "nic", "pool", "points", "refused by"], [_refusal(*row) for row in refused]))
    if not quiet:
        click.echo("\n" + _conclusion(rows))
        if rows and rows[0]["decode_instances"] == 1.0 and rows[0]["decode_load"] < 0.5:
            size = rows[0]["decode_chips_per_instance"]
            click.echo(
                f"(the decode grid has no feasible instance below {size:,.0f} {rows[0]['hardware']}: try --axis ep=...)"
            )


def _demand(asked):
    if asked["requests_per_s"] is not None:
        demand = f"{asked['requests_per_s']:,g} requests/s"
    else:
        demand = f"{asked['concurrency']:,g} users being answered at once"
    return f"{demand}, {asked['isl']:,g} prompt + {asked['osl']:,g} output tokens each"


def _margins(margins):
    """The margins that the limits include."""
    given = [f"{100 * share:g} % of the {phase} grid" for phase, share in margins.items() if share]
    return f" (with the SLO margin: {', '.join(given)})" if given else ""


def _limit(bound):
    return f"{bound:,.4g}" if isinstance(bound, int | float) else str(bound)


def _as_dicts(refused):
    return [dict(zip(("hardware", "nic", "pool", "points", "refused"), row)) for row in refused]


def _refusal(hardware, nic, phase, points, counts):
    most = [f"{name} {n:,}" if n else name for name, n in list(counts.items())[:3]]
    return [hardware, nic, phase, f"{points:,}", ", ".join(most) + (", ..." if len(counts) > 3 else "")]


def _best(rows):
    """{why it is shown: row} of the smallest fleet, and of the cheapest where it is another one."""
    priced = [row for row in rows if row["cost_per_hour"] is not None]
    shows = {"Fewest chips": rows[0]}
    if priced:
        cheapest = min(priced, key=lambda row: row["cost_per_hour"])
        if cheapest is rows[0]:
            shows = {"Fewest chips, and cheapest of those with a price": rows[0]}
        else:
            shows["Cheapest of those with a price"] = cheapest
    return shows


def _summary(rows):
    priced = any(row["cost_per_hour"] is not None for row in rows)
    columns = ["", "hardware", "nic", "decode", "chips", "prefill", "chips", "total", "tok/s/user", "TTFT s"]
    lines = []
    for row in rows:
        pools = []
        for phase in ("decode", "prefill"):
            n, size, chips = (row[f"{phase}_{name}"] for name in ("instances", "chips_per_instance", "chips"))
            pools += [f"{n:,.0f} x {size:,.0f}", f"{chips:,.0f}"]
        line = [str(row["rank"]), row["hardware"], row["nic"], *pools, f"{row['chips']:,.0f}"]
        line += [shown(name, row[name]) for name in ("tps_per_user", "ttft")]
        if priced:
            line += [_usd(row["cost_per_hour"], ",.2f"), _usd(row["cost_per_million_tokens"], ",.3f")]
        lines.append(line)
    return table(columns + (["USD/h", "USD/Mtok out"] if priced else []), lines)


def _usd(value, form):
    return "-" if value is None else format(value, form)


def _arithmetic(row, asked):
    """The numbers of one fleet, each line a formula with its numbers in."""
    rate, osl, isl = row["requests_per_s"], asked["osl"], asked["isl"]
    tpot, users = 1e3 * row["tpot"], row["concurrency"]
    if asked["requests_per_s"] is not None:
        law = f"{rounded(rate)} requests/s x {osl:,g} tokens x {tpot:,.4g} ms = {rounded(users)} users at once"
    else:
        law = f"{rounded(users)} users / ({osl:,g} tokens x {tpot:,.4g} ms) = {rounded(rate)} requests/s"
    lines = [["demand", f"{law} (Little's law, at the TPOT of a full batch)"]]
    for phase, length, what in (("decode", osl, "output"), ("prefill", isl, "prompt")):
        lines += _pool(row, phase, length, what, rate, asked)
    decode, prefill = row["decode_chips"], row["prefill_chips"]
    lines.append(["total", f"{decode:,.0f} decode + {prefill:,.0f} prefill = {row['chips']:,.0f} chips"])
    ratio = f"({isl:,g} / {row['prefill_tps_per_chip']:,.1f}) / ({osl:,g} / {row['decode_tps_per_chip']:,.1f})"
    lines.append(["ratio", f"{ratio} = {row['chips_ratio']:.3f} prefill chips per decode chip keep both equally busy"])
    lines.append(["", f"of whole instances: {prefill:,.0f} / {decode:,.0f} = {prefill / decode:.3f}"])
    lines += _money(row, rate, osl)
    width = max(len(name) for name, _ in lines)
    return "\n".join(f"  {name.ljust(width)}  {text}" for name, text in lines)


def _pool(row, phase, length, what, rate, asked):
    size, n, chips = (row[f"{phase}_{name}"] for name in ("chips_per_instance", "instances", "chips"))
    total, each, load = (row[f"{phase}_{name}"] for name in ("tps_total", "tps_per_chip", "load"))
    flights = row[f"{phase}_batch_total"]
    prefix = f"{phase}_"
    axes = [name for name in row if name.startswith(prefix) and name.removeprefix(prefix) not in _SIZED]
    labels = ", ".join(f"{name.removeprefix(prefix)} {label(row[name])}" for name in axes)
    demand = row[f"{phase}_tokens_per_s"]
    instances = f"instance{'s' if n > 1 else ''}"
    if phase == "decode":
        speed = f"{row['tps_per_user']:,.2f} tok/s/user, TPOT {1e3 * row['tpot']:,.4g} ms; {flights:,.0f} sequences"
    else:
        speed = f"TTFT {row['ttft']:,.3g} s; {flights:,.0f} prompt{'s' if flights > 1 else ''}"
    needed = f"{rounded(demand)} / {rounded(total)} = {demand / total:,.3f}"
    if phase == "decode" and asked["concurrency"] is not None:
        needed = f"{asked['concurrency']:,g} users / {flights:,.0f} sequences = {asked['concurrency'] / flights:,.3f}"
    return [
        [phase, f"{rounded(rate)} requests/s x {length:,g} = {rounded(demand)} {what} tokens/s"],
        ["", f"fewest chips: {labels}"],
        ["", f"{size:,.0f} chips an instance x {each:,.1f} tokens/s = {rounded(total)} tokens/s; {speed} in flight"],
        [
            "",
            f"{needed} -> {n:,.0f} {instances} x {size:,.0f} = {chips:,.0f} chips, {load:.0%} of their tokens/s asked",
        ],
    ]


def _money(row, rate, osl):
    lines = []
    if row["cost_per_hour"] is not None:
        hour, price = row["cost_per_hour"], row["cost_per_hour"] / row["chips"]
        lines.append(["cost", f"{row['chips']:,.0f} chips x {price:,.4g} USD/h = {hour:,.2f} USD/h"])
        per_token = f"{hour:,.2f} / (3600 s x {rounded(rate * osl)} output tokens/s) x 1e6"
        lines.append(["", f"{per_token} = {row['cost_per_million_tokens']:,.3f} USD per million output tokens"])
    if row["power"] is not None:
        lines.append(["power", f"{row['power'] / 1e3:,.1f} kW rated, chips alone"])
    return lines


def _conclusion(rows):
    if not rows:
        return "No fleet: no hardware has a feasible point in both pools"
    parts = []
    for why, row in _best(rows).items():
        cost = "" if row["cost_per_hour"] is None else f", {row['cost_per_hour']:,.2f} USD/h"
        parts.append(f"{why.lower()}: {row['chips']:,.0f} {row['hardware']} ({row['nic']}){cost}")
    text = "; ".join(parts)
    return text[:1].upper() + text[1:]
