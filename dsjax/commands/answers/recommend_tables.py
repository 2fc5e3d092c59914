"""Output of `dsjax recommend`: fleets as tables, their arithmetic line by line, as JSON or as CSV."""

import json
import shlex

from ...formats import label, milliseconds, rounded, shown
from ...options import entry
from ...space import provenance
from ...validation import kept
from .. import marks, output, trust
from ..output import echo
from ..tables import marked, records, rows_over, table
from . import recommend_trust as trusted

# Of a pool, what is not part of its layout.
SIZES = {"chips_per_instance", "instances", "spare", "chips", "tps_total", "tps_per_chip", "tokens_per_s"}
SIZES |= {"batch_total", "load", "binds", "hardware", "nic"}
HELD = {"p50": "for half of the requests", "p90": "for 90 % of the requests", "p99": "for 99 % of the requests"}
HELD["mean"] = "in the mean"


def show(ds, form, quiet):
    """A fleet of each kind for every hardware and NIC, arithmetic of the best, who has none."""
    asked, limits, margins, refused, counts = (
        json.loads(ds.attrs[name]) for name in ("asked", "limits", "margins", "refused", "configurations")
    )
    spaces = trusted.spaces_of(ds)
    prices = provenance.prices(*spaces.values())
    rows, largest = rows_over(ds, "rank"), json.loads(ds.attrs.get("largest", "{}"))
    notes = trusted.notes(rows, spaces)
    if form != "table":
        summary = {
            "model": ds.attrs["model"],
            "asked": asked,
            "statistic": ds.attrs["statistic"],
            "limits": limits,
            "margins": margins,
            "configurations": counts,
            "refused": refused,
            "largest": largest,
            "remarks": trust.told_by(ds),
            "notes": notes,
            "sure": kept.errors_of(trusted.system_class(rows[0], spaces, asked)) if rows else {},
        }
        records(rows, form, summary, ["rank", *(n for n in (*ds.coords, *ds.data_vars) if n != "rank")])
        return
    if not quiet:
        echo(_question(asked, limits, margins, ds.attrs))
        echo(f"({_looked_at(counts)})")
    if rows:
        echo(("" if quiet else "\n") + _summary(rows, spaces, ds.attrs["statistic"], {*provenance.unlike(prices)}))
        if not quiet and any(row["cost_per_hour"] is not None for row in rows):
            echo("\n".join(f"  {line}" for line in trust.of_prices(prices)))
        for line in () if quiet else notes:
            echo(f"  {line}")
        for why, row in _best(rows).items():
            echo(f"\n{why}: {_named(row, why)} with {row['nic']}\n{_arithmetic(row, asked)}")
    if refused and not quiet:
        columns = ["hardware", "nic", "kind", "pool", "layouts", "refused by", "an idle instance at best"]
        echo("\nNo fleet:")
        echo(table(columns, [_refusal(row) for row in refused]))
    if not quiet:
        echo("\n" + (_conclusion(rows) if rows else _none(asked, largest)))
        if rows:
            echo(f"sure: {trusted.sure(rows[0], spaces, asked, ds.attrs['statistic'])}")
        lines = [line for line in (_too_large(rows),) if line]
        for line in [*lines, *(f"  {line}" for line in trust.slips(ds))]:
            echo(line)


def after(ds, model):
    """Commands about the chips of the smallest fleet, under the same limits."""
    asked, statistic = json.loads(ds.attrs["asked"]), ds.attrs["statistic"]
    limits = {key: limit for of in json.loads(ds.attrs["limits"]).values() for key, limit in of.items()}
    best = rows_over(ds, "rank")[0]
    words = ["--model", model, "--hardware", best["hardware"]]
    precision = trusted.precision(best, trusted.spaces_of(ds))
    words += ["--precision", precision.replace(" / ", ",")] if precision != "-" else []
    demand = asked["requests_per_s"]
    words += ["--chips", f"{best['chips']:.0f}"] if demand is None else ["--requests-per-s", f"{demand:g}"]
    words += ["--isl", f"{asked['isl']:g}", "--osl", f"{asked['osl']:g}"]
    for key, limit in limits.items():
        words += [f"--{_time(key).lower()}", f"{limit:.6g}"] if _time(key) in ("TTFT", "TPOT") else []
    yield shlex.join(["dsjax", "plan", *words, "--percentile", statistic.removeprefix("p")])


def _question(asked, limits, margins, attrs):
    if asked["requests_per_s"] is not None:
        demand = f"{asked['requests_per_s']:,g} requests/s"
    else:
        demand = f"{asked['concurrency']:,g} users"
    lengths = f"{asked['isl']:,g} prompt + {asked['osl']:,g} output tokens each in the mean"
    limits = {key: limit for of in limits.values() for key, limit in of.items()}
    words = [f"{_time(key)} within {_quantity(limit)}" for key, limit in limits.items() if _time(key)]
    words += [f"{key} {limit:,.4g}" for key, limit in limits.items() if not _time(key)]
    given = [f"{100 * share:g} % of the {phase} grid" for phase, share in margins.items() if share]
    margin = f" (with the SLO margin: {', '.join(given)})" if given else ""
    spare = f"; {attrs['spare']:g} spare instance{'s' if attrs['spare'] > 1 else ''} a pool" if attrs["spare"] else ""
    held = f" {HELD[attrs['statistic']]}" if words else ""
    return f"{attrs['model']}: {demand}, {lengths}; {' and '.join(words) or 'no SLO'}{held}{margin}{spare}"


def _time(key):
    name = key.removeprefix("max_").partition("_")[0]
    return name.upper() if key.startswith("max_") and name in ("ttft", "tpot", "itl") else ""


def _quantity(seconds):
    return milliseconds(seconds) if seconds < 1.0 else f"{seconds:,.4g} s"


def _looked_at(counts):
    words = {"aggregated": "layouts of aggregated instances", "disaggregated": "pairs of pools"}
    return "of " + " and ".join(f"{n:,} {words[kind]}" for kind, n in counts.items()) + ", with any number of instances"


def _refusal(row):
    counts = row["refused"]
    most = [f"{name} {n:,}" if n else name for name, n in list(counts.items())[:3]]
    most = ", ".join(most) + (", ..." if len(counts) > 3 else "") if counts else "more chips than there may be"
    best = ", ".join(f"{name.replace('_', ' ').upper()} {_quantity(x)}" for name, x in row["best"].items())
    pool = "-" if row["kind"] == "aggregated" else row["pool"]
    return [row["hardware"], row["nic"], row["kind"], pool, f"{row['layouts']:,}", most, best or "-"]


def _best(rows):
    """{why it is shown: row} of the smallest fleet, that of the other kind, and the cheapest where it is a third."""
    shows = {"Fewest chips": rows[0]}
    other = next((row for row in rows if row["kind"] != rows[0]["kind"]), None)
    if other:
        shows[f"Fewest chips, {other['kind']}"] = other
    priced = [row for row in rows if row["cost_per_hour"] is not None]
    if priced:
        cheapest = min(priced, key=lambda row: row["cost_per_hour"])
        if cheapest not in shows.values():
            shows["Cheapest of those with a price"] = cheapest
    return shows


def _named(row, why):
    """Hardware of a fleet, and its kind where the reason it is shown does not tell."""
    return row["hardware"] if why.endswith("aggregated") else f"{row['hardware']}, {row['kind']},"


def _summary(rows, spaces, statistic, unlike):
    priced = any(row["cost_per_hour"] is not None for row in rows)
    columns = ["", "hardware", "nic", "kind", "precision", "instances x chips", "chips", "more", "TTFT s", "TPOT ms"]
    columns.append("binds")
    least, lines = rows[0]["chips"], []
    for row in rows:
        pools = trusted.pools(row)
        sizes = [_size(row, pool) + (f" {pool}" if len(pools) > 1 else "") for pool in pools]
        more = row["chips"] / least - 1.0
        binds = ", ".join(f"{_binds(row, pool)}" for pool in pools)
        line = [
            str(row["rank"]),
            row["hardware"],
            row["nic"],
            row["kind"],
            trusted.precision(row, spaces),
            " + ".join(sizes),
        ]
        line += [
            f"{row['chips']:,.0f}" + provenance.UNMEASURED * trusted.unmeasured(row, spaces),
            f"+{more:.0%}" if more else "-",
            shown("ttft", row["ttft"]),
            shown("tpot", row["tpot"]),
            binds,
        ]
        if priced:
            line += [_usd(row["cost_per_hour"], ",.2f"), _usd(row["cost_per_million_tokens"], ",.3f")]
        lines.append(line)
    if priced:
        unmatched = [
            bool(unlike.intersection(row.get(f"{pool}_hardware") for pool in trusted.pools(row))) for row in rows
        ]
        for line, cost in zip(lines, marked([line[-1] for line in lines], unmatched), strict=True):
            line[-1] = cost
    columns += ["USD/h", "USD/Mtok out"] if priced else []
    outside, concerned = [row["outside_validity"] for row in rows], [f"{time}_{statistic}" for time in ("ttft", "tpot")]
    if beside := marks.column(outside, concerned):
        columns, lines = [*columns, ""], [[*line, mark] for line, mark in zip(lines, beside, strict=True)]
    least = [
        columns.index(name)
        for name in ("binds", "USD/Mtok out", "TTFT s", "more", "TPOT ms", "precision")
        if name in columns
    ]
    return "\n".join([table(columns, lines, least=least), *(f"  {line}" for line in marks.remarks(outside, concerned))])


def _size(row, pool):
    spare = f"+{row[f'{pool}_spare']:,.0f}" if row[f"{pool}_spare"] else ""
    return f"{row[f'{pool}_instances']:,.0f}{spare} x {row[f'{pool}_chips_per_instance']:,.0f}"


def _binds(row, pool):
    return row[f"{pool}_binds"].removeprefix("max_").replace("_", " ")


def _usd(value, form):
    return "-" if value is None else format(value, form)


def _arithmetic(row, asked):
    """The numbers of one fleet, each line a formula with its numbers in."""
    rate, isl, osl = row["requests_per_s"], asked["isl"], asked["osl"]
    latency, users = row["latency_mean"], row["concurrency"]
    if asked["requests_per_s"] is not None:
        law = f"{rounded(rate)} requests/s x {latency:,.4g} s = {rounded(users)} requests in flight"
    else:
        law = f"{rounded(users)} users / {latency:,.4g} s = {rounded(rate)} requests/s"
    lines = [["demand", f"{law} (Little's law, {latency:,.4g} s from the request to its last token in the mean)"]]
    pools = trusted.pools(row)
    for pool in pools:
        lines += _pool(row, pool, isl if pool == "prefill" else osl, len(pools) == 1)
    if len(pools) > 1:
        decode, prefill = row["decode_chips"], row["prefill_chips"]
        lines.append(["total", f"{prefill:,.0f} prefill + {decode:,.0f} decode = {row['chips']:,.0f} chips"])
        ratio = f"({isl:,g} / {row['prefill_tps_per_chip']:,.1f}) / ({osl:,g} / {row['decode_tps_per_chip']:,.1f})"
        ratio += f" = {row['chips_ratio']:.3f} prefill chips per decode chip keep both equally busy"
        lines.append(["ratio", ratio])
        lines.append(["", f"of whole instances: {prefill:,.0f} / {decode:,.0f} = {prefill / decode:.3f}"])
    lines += _money(row, rate, osl)
    return output.pairs(lines)


def _pool(row, pool, length, alone):
    size, n, chips, spare = (row[f"{pool}_{name}"] for name in ("chips_per_instance", "instances", "chips", "spare"))
    most, tokens, load = (row[f"{pool}_{name}"] for name in ("tps_total", "tokens_per_s", "load"))
    work, prefix = row[f"{pool}_batch_total"], f"{pool}_"
    axes = [name for name in row if name.startswith(prefix) and name.removeprefix(prefix) not in SIZES]
    layout = ", ".join(
        f"{name.removeprefix(prefix)} {label(row[name])}" for name in axes if row[name] not in (None, "")
    )
    what = "prompt" if pool == "prefill" else "output"
    speed = f"{work:,.3g} prompts at work in it"
    if pool == "decode":
        tpot = f"TPOT {milliseconds(row['tpot'])}, {row['tps_per_user']:,.2f} tok/s/user"
        speed = f"{work:,.1f} sequences decode in it: {tpot}"
    ttft = f"; TTFT {row['ttft']:,.3g} s" if alone or pool == "prefill" else ""
    asked = f"{rounded(row['requests_per_s'])} requests/s x {length:,g} = {rounded(tokens)} {what} tokens/s"
    work = f"{n:,.0f} instance{'s' if n > 1 else ''} of {size:,.0f} chips"
    work += f" + {spare:,.0f} spare" if spare else ""
    bound = row[f"{pool}_binds"]
    less = "" if n == 1 else f"; one less would not keep {bound.replace('throughput', 'up')}"
    return [
        ["instances" if alone else pool, asked],
        ["", f"fewest chips: {layout}" if layout else f"{size:,.0f} chips"],
        ["", f"an instance takes {rounded(most)} tokens/s at most; {speed}{ttft}"],
        ["", f"{work} = {chips:,.0f} chips, {load:.0%} of what they take at most{less}"],
    ]


def _money(row, rate, osl):
    lines = []
    if row["cost_per_hour"] is not None:
        hour = row["cost_per_hour"]
        lines.append(["cost", f"{row['chips']:,.0f} chips x {hour / row['chips']:,.4g} USD/h = {hour:,.2f} USD/h"])
        per_token = f"{hour:,.2f} / (3600 s x {rounded(rate * osl)} output tokens/s) x 1e6"
        lines.append(["", f"{per_token} = {row['cost_per_million_tokens']:,.3f} USD per million output tokens"])
    if row["power"] is not None:
        lines.append(["power", f"{row['power'] / 1e3:,.1f} kW rated, chips alone"])
    return lines


def _conclusion(rows):
    parts = []
    for why, row in _best(rows).items():
        cost = "" if row["cost_per_hour"] is None else f", {row['cost_per_hour']:,.2f} USD/h"
        more = row["chips"] / rows[0]["chips"] - 1.0
        more = f", {more:.0%} more" if more else ""
        kind = "" if why.endswith("aggregated") else f" {row['kind']}"
        parts.append(f"{why.lower()}: {row['chips']:,.0f} {row['hardware']} ({row['nic']}){kind}{more}{cost}")
    text = "; ".join(parts)
    return text[:1].upper() + text[1:]


def _none(asked, largest):
    text = "No fleet: no hardware keeps the limits"
    if not largest:
        return f"{text}, however many instances there are"
    what = "requests/s" if asked["requests_per_s"] is not None else "users"
    chips = f" of at most {asked['max_chips']:,g} chips" if asked["max_chips"] is not None else ""
    return (
        f"No fleet{chips} serves that: {largest['chips']:,.0f} {largest['hardware']}, {largest['kind']}, serve "
        f"{largest['amount']:,.4g} {what} at most; {largest['binds']} limits them"
    )


def _too_large(rows):
    """A remark where one instance is already far too much: the grid has no smaller ones."""
    if rows and rows[0]["decode_instances"] == 1.0 and rows[0]["decode_load"] < 0.5:
        size, hardware = rows[0]["decode_chips_per_instance"], rows[0]["decode_hardware"]
        return (
            f"(the decode grid has no feasible instance below {size:,.0f} {hardware}: try {entry('axes', 'ep', '...')})"
        )
    return ""
