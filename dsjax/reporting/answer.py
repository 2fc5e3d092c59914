"""What was asked, and the answer in words and in a table."""

import dataclasses
import math

import numpy as np

from ..analysis import remedies, wider
from ..formats import heading, quantity, rounded
from ..options import entry
from ..pages.parts import Cell, Facts, Section, Words, table
from ..search import ranking
from ..space import limits, provenance
from ..space.space import load_of
from ..specs.variables import OUTSIDE, reasons
from . import evidence, words

HEADLINES = ("tps_per_user", "tps_per_chip", "tps_total", "tpot", "ttft", "memory_per_chip", "mfu", "mbu")
COST = "cost_per_million_tokens"
HEADLINES += (COST,)
OF_SERVERS = ("requests_per_s_served", "tps_total", "ttft_p90", "tpot_p90", "latency_p90", "utilisation")
OF_SERVERS += (COST,)
BESIDE = ("tps_per_user", "tps_per_chip", "memory_per_chip")  # of a server, in a table
MOST_ROWS = 500  # of the table of the best points


def question(results, counts):
    """Section on what was asked."""
    space = results.space
    sides = "largest" if space.sense > 0 else "smallest"
    pairs = [("space", f"{counts['points']:,} points, {counts['feasible']:,} of them feasible")]
    for axis in space.axes:
        units = results.ds[axis].attrs.get("units", "1")
        pairs.append((axis, words.values(space, axis, units)))
    pairs += [("limits", limits.words(space).removeprefix("limits: "))]
    pairs += [("asked for", f"the {sides} {space.objective} of every {', '.join(space.by) or 'group'}")]
    fixed = [(name, words.fixed(space, name)) for name in space.fixed]
    parts = [Facts(pairs), Facts(fixed, "pairs")]
    if space.chosen:
        parts.append(Words(list(dict.fromkeys(space.chosen.values())), "note"))
    return Section("The question", parts, "question")


def answer(results, one, moved, counts, doubted):
    """Section with the answer in words; `one`: the point explained, `moved`: its elasticities, None without."""
    space = results.space
    if not bool(one["feasible"]):
        why = Words(remedies.nothing_feasible(space), "list")
        return Section("The answer", [Words(["No point of the space is feasible."], "lead"), why], "answer")
    chips = f" ({words.scalar(one, 'chips'):,.0f} chips)"
    lead = f"Best: {words.configuration(space, one)}{chips}: {_serves(space, one)}."
    facts = _headlines(space, one)
    lines = [*_binds(space, one), *_sure(space, one), *helps(space, moved), *_costs(space, one)]
    ends = wider.sentences(space, wider.ends(space, ranking.best(results, by=())))
    lines += [f"The best is {line.lstrip('+- ')}." for line in ends]
    parts: list = [Words([lead], "lead"), Facts(facts, "big"), Words(lines, "list")]
    if doubted:
        text = f"Unverified numbers are behind this answer: {', '.join(doubted)} (see Assumptions)."
        parts.append(Words([text], "warn"))
    return Section("The answer", parts, "answer")


def _headlines(space, one):
    names = dict.fromkeys([space.objective, *(OF_SERVERS if space.study.requests else HEADLINES)])
    found = [(name, words.scalar(one, name)) for name in names if name in space.defined]
    facts = [(words.heading(name), words.amount(name, value)) for name, value in found if math.isfinite(value)]
    if errors := [error for _, error, _ in words.sure(one)]:
        facts.append(("kernel times, standard error", f"± {100 * max(errors):.0f} %"))
    return facts


def _serves(space, one):
    whole, chip = (words.amount(name, one[name]) for name in ("tps_total", "tps_per_chip"))
    whole = f"{whole} in all, {chip} per chip"
    if space.study.requests:
        each = f"{rounded(words.scalar(one, 'requests_per_s_served'))} requests/s, {whole}"
        times = ", ".join(f"{t.upper()} {quantity(words.scalar(one, f'{t}_p90'), 's', 4)}" for t in ("ttft", "tpot"))
        return f"{each}; 90 % of requests within {times}"
    if math.isfinite(user := words.scalar(one, "tps_per_user")):
        return f"{user:,.4g} token/s for each of {words.scalar(one, 'batch_total'):,.0f} users, {whole}"
    return f"first token after {words.amount('ttft', one['ttft'])}, {whole}"


def _binds(space, one):
    limit, share = words.bottleneck(one)
    yield f"Binds: {limit}, {share:.0%} of the critical path of a step."
    if "largest_feasible" in one:
        load, stopped = load_of(one.attrs["point"]), str(one["largest_stopped_by"].item())
        most, room = int(one["largest_feasible"]), int(one["largest_in_memory"])
        held = f", from {int(one['largest_stopped_at']):,} on refused by {stopped}" if stopped else ""
        yield f"Largest {load} here: {most:,} that nothing refuses{held}; {room:,} fit in memory."
    if "pool_load" in one:
        loads = {str(p): float(x) for p, x in zip(one["pool"].values, one["pool_load"].values, strict=True)}
        most = max(loads, key=loads.get)
        yield (
            f"Limited most by {most}: " + ", ".join(f"{p} {100 * x:.0f} % of its most" for p, x in loads.items()) + "."
        )
    if "resource" in one.dims:
        rates = dict(
            zip(one["resource"].values.tolist(), one["resource_requests_per_s_max"].values.tolist(), strict=True)
        )
        most, best = words.scalar(one, "requests_per_s_max"), max(rates, key=rates.get)
        yield (
            f"Takes at most {rounded(most)} requests/s; twice as much of {best} would make it {rounded(rates[best])}, "
            f"{100 * (rates[best] / most - 1):+.0f} %."
        )
    if "outside_validity" in one and (why := reasons(one["outside_validity"].item())):
        told = [f"{', '.join(OUTSIDE[x][1])}: {OUTSIDE[x][0]}" for x in why]
        yield f"Not to be trusted: {'; '.join(told)}."


def _sure(space, one):
    for chip, error, basis in words.sure(one):
        yield f"How sure: kernel times of {chip} are {basis} (± {100 * error:.0f} % each)."
    if known := evidence.of_class(space, one):
        yield (
            f"Of {known['counted']} measured systems of this class ({known['group']}), the predicted time was off by "
            f"{100 * known['median']:.0f} % in the median, {100 * known['p90']:.0f} % at the 90th percentile."
        )


def helps(space, moved):
    """A sentence: which parameter, 1 % better, improves the objective most."""
    if moved is None:
        return
    sense, told = ranking.sense_of(space, moved.of), []
    for i in moved.order[:3]:
        better = "more" if sense * moved.values[i] > 0 else "less"
        name, value = str(moved.found["parameter"].values[i]), float(moved.found["parameter_value"][i])
        now = quantity(value, str(moved.found["parameter_units"].values[i]))
        told.append(f"1 % {better} {name} (now {now}) improves {moved.of} by {abs(moved.values[i]):.2f} %")
    yield f"Helps first: {'; '.join(told)}."


def _costs(space, one):
    if math.isfinite(cost := words.scalar(one, COST)):
        chips = {str(one[name].item()) for name in provenance.CHIPS if name in one.coords}
        known = {chip: text for chip, text in provenance.prices(space).items() if chip in chips}
        source = "; ".join(dict.fromkeys(f"price of {chip}: {text}" for chip, text in known.items() if text))
        yield f"Costs {cost:,.3f} USD per million tokens{f' ({source})' * bool(source)}."
    elif not space.study.pools and COST not in space.known_variables:
        yield f"No price is known, so no cost; {entry('settings', 'hardware.<chip>.usd_per_hour', 2)} gives one."


def best(results, counts):
    """Section with the best point of every group, and what refuses the others."""
    space = results.space
    ranked = ranking.best(results)
    n = min(ranked.sizes["rank"], MOST_ROWS)
    ranked, found = ranked.isel(rank=slice(n)), []
    axes = [axis for axis, k in space.sizes.items() if k > 1]
    named = (*BESIDE, *OF_SERVERS) if space.study.requests else HEADLINES
    metrics = [name for name in named if name in ranked and name in space.known_variables]
    metrics += [space.objective] if space.objective not in metrics else []
    metrics += ["bottleneck"]
    if n:
        columns = dict(zip([*axes, *metrics], words.columns(ranked, [*axes, *metrics]), strict=True))
        notes = _mark(columns, space.objective, ranking.unmeasured(ranked), provenance.UNMEASURED_NOTE)
        unlike = {*provenance.unlike(provenance.prices(space))}
        chips = [np.broadcast_to(ranked[name].values, n).tolist() for name in provenance.CHIPS if name in ranked.coords]
        others = [bool(unlike.intersection(own)) for own in zip(*chips, strict=True)] or [False] * n
        notes += _mark(columns, COST, others, f"* another source of prices: {', '.join(sorted(unlike))}")
        cells = zip([Cell(str(i), i) for i in range(1, n + 1)], *columns.values(), strict=True)
        caption = f"The best point of every {', '.join(space.by) or 'space'}, best first"
        found.append(table(["rank", *axes, *map(heading, metrics)], cells, caption=caption, note="; ".join(notes)))
    rows = [[name, (f"{k:,}", k), (f"{k / counts['points']:.1%}", k)] for name, k in counts["refused"].items() if k]
    rows.sort(key=lambda row: -row[1][1])
    caption = "Constraints and the points that they refuse (a point may fail several)"
    found += [table(["constraint", "points", "share"], rows, caption=caption)] if rows else []
    title = "The best points" if n else "What refuses them"
    return Section(title, found + (_empty(space, ranked) if n else []), "best")


def _mark(columns, name, which, note):
    """The note, in a list, where one of the cells of a column has its mark, the note's first letter."""
    if name in columns and any(which):
        cells = zip(columns[name], which, strict=True)
        columns[name] = [cell._replace(text=cell.text + note[0]) if marked else cell for cell, marked in cells]
        return [note]
    return []


def _empty(space, ranked):
    """Table of the groups without a feasible point, and why; none where each has one."""
    by, empty, more = remedies.empty_beside(space, ranked, space.by)
    lines = [[*(str(row[name]) for name in by), row["why"]] for row in empty]
    note = f"and {more:,} more" if more else ""
    caption = "Groups without a feasible point"
    return [table([*by, "refused by"], lines, caption=caption, note=note)] if lines else []


def without_fixed(chart):
    """A chart of a report, whose question names what is fixed."""
    return dataclasses.replace(chart, fixed="")
