"""Output of `dsjax plan`: sentences, a table of the best, the next commands."""

import json
import math

from ... import studies
from ...analysis import wider
from ...analysis.plan.disaggregated import settings_of_pools
from ...formats import milliseconds
from ...launching.engines import ENGINES
from ...options import entry, option
from ...space import grid
from .. import marks, output, steps, trust
from ..output import echo
from ..tables import records, rows_over, table

# A limit, or a mask, in words: what no more users find room in, and what would let more in.
BINDS = {
    "max_tpot": ("the time per output token", "less time a step: bandwidth and compute, or a looser LIMIT"),
    "max_ttft": ("the time to the first token", "faster prompts: compute, or a looser LIMIT"),
    "memory of the cache": ("the memory of the cache", "more memory a chip, or an 8-bit cache"),
    "max_batch": ("max_batch, the sequences that a group admits", "a larger one, --fix max_batch=0 of any number"),
    "exchange": ("the buffers of the low-latency exchange", "another dispatch mode"),
    "stable": ("throughput", "more chips"),
    "throughput": ("throughput", "more chips"),
    "max_utilisation": ("the load, of which some is left free without a limit on the first token", "more chips"),
}
# A pool that is full: more users only wait for it.
FULL = {
    "prefill pool": "the pool that computes prompts, which is full: compute, or a larger share of the chips for it",
    "decode pool": "the pool that decodes, which is full: bandwidth, or a larger share of the chips for it",
}
LEAST = 0.002  # a gain that is told
GAINED = {"tokens": "tokens/s", "speed": "faster", "chips": "requests/s"}
SHOWN = 12  # rows of the table
FEW = 8  # names of hardware that are listed
STARTED = "sglang"  # engine whose command lines are asked for where the one that was asked has none
AXES = ("tp", "moe_tp", "pp", "sp", "mtp", "pipeline", "dispatch_mode", "batching", "precision", "engine", "nic")


def show(ds, form, quiet):
    """The answer in words, the best few as a table, what to ask next."""
    rows, asked = rows_over(ds, "rank"), json.loads(ds.attrs["asked"])
    if form != "table":
        summary = {name: json.loads(ds.attrs[name]) for name in ("asked", "limits", "refused")}
        summary |= {name: ds.attrs[name] for name in ("model", "statistic", "checkpoint", "layouts", "possible")}
        summary |= {"without": json.loads(ds.attrs["without"]), "remarks": trust.told_by(ds)}
        records(rows, form, summary, ["rank", *(name for name in (*ds.coords, *ds.data_vars) if name != "rank")])
        return
    if not quiet:
        echo(_question(ds, asked))
    if not rows:
        echo(_none(ds, asked))
        return
    for line in [] if quiet else trust.slips(ds):
        echo(f"  remark  {line}")
    best = rows[0]
    echo(output.pairs(_answer(ds, best, asked).items()))
    echo("\n" + _table(rows[:SHOWN], ds.attrs["statistic"], json.loads(ds.attrs.get("ends", "{}"))))
    if len(rows) > SHOWN:
        echo(f"  ... {len(rows) - SHOWN:,} more: --format csv prints them all")
    if not quiet:
        for line in _ends(ds):
            echo(line)
        if without := json.loads(ds.attrs["without"]):
            echo(f"without: {_without(without)}")
        echo("")
        steps.say(*_next(ds, best, asked))


def _question(ds, asked):
    limits = json.loads(ds.attrs["limits"])
    of = {"p50": "for half of the requests", "p90": "for 90 % of the requests", "p99": "for 99 % of the requests"}
    times = {key: limit for key, limit in limits.items() if key != "max_utilisation"}
    words = [f"{key.split('_')[1].upper()} within {_seconds(limit)}" for key, limit in times.items()]
    held = f"{' and '.join(words)} {of.get(ds.attrs['statistic'], 'in the mean')}" if words else "no limits"
    held += f"; load within {limits['max_utilisation']:.0%}" if "max_utilisation" in limits else ""
    demand = f", {_demand(asked)}" if asked["wanted"] != "tokens" else ""
    chips = f" on {asked['chips']:,g} chips" if asked["chips"] else ""
    lengths = f"{asked['isl']:,g} prompt + {asked['osl']:,g} output tokens in the mean"
    return f"{ds.attrs['model']}{chips}{demand}: {lengths}; {held} ({ds.attrs['layouts']:,} splits looked at)"


def _demand(asked):
    """What is asked for, where it is a number."""
    if asked["wanted"] == "chips":
        return f"{asked['requests_per_s']:,g} requests/s"
    return "1 user" if asked["concurrency"] == 1 else f"{asked['concurrency']:,g} users"


def _ends(ds):
    """One sentence for each axis at whose end the best stands."""
    for end in json.loads(ds.attrs.get("ends", "{}")).values():
        values = end.pop("values")
        yield wider.End(**end).sentence(values)


def _without(found):
    """Hardware, and precisions of other hardware, that have no answer, by the reason; whole chips first."""
    names = {why: sorted(several, key=lambda name: " " in name) for why, several in found.items()}
    return "; ".join(f"{', '.join(several[:FEW])}{_more(several)}: {why}" for why, several in names.items())


def _more(chips):
    return f" and {len(chips) - FEW} more" if len(chips) > FEW else ""


def _seconds(x):
    return milliseconds(x) if x < 1.0 else f"{x:,.4g} s"


def _of(row, pool):
    """The split of a pool of a row, by names without the pool's."""
    return {name.removeprefix(f"{pool}_"): x for name, x in row.items() if name.startswith(f"{pool}_")}


def _split(row, ends=()):
    """A layout in short, tp8 dp2 ep8 moe_tp2, with the mark of an axis at whose end it stands: mtp3+."""
    if row["kind"] == "disaggregated":
        pools = (("prefill", ()), ("decode", ends))
        return "; ".join(f"{pool} {_split(_of(row, pool) | {'kind': ''}, of)}" for pool, of in pools)
    ends = {axis: wider.MORE if end["beyond"] > end["value"] else wider.FEWER for axis, end in dict(ends).items()}
    named = [name for name in ("moe_tp", "pp", "sp") if row[name] > 1] + (["mtp"] if row["mtp"] else [])
    parts = [f"{name}{row[name]:g}{ends.get(name, '')}" for name in ("tp", "dp", "ep", *named)]
    parts += [row["pipeline"]] if row["pipeline"] != "naive" else []
    parts += [row["dispatch_mode"]] if row["dispatch_mode"] != "auto" else []
    return " ".join([*parts, *([row["batching"]] if row.get("batching") else [])])


def _sizes(row):
    """Instances and chips of each."""
    if row["kind"] == "disaggregated":
        each = (_of(row, pool) for pool in ("prefill", "decode"))
        return " + ".join(f"{of['instances']:g} x {of['chips_per_instance']:g}" for of in each)
    return f"{row['instances']:g} x {row['chips_per_instance']:g}"


def _answer(ds, row, asked):
    statistic = ds.attrs["statistic"]
    instances = f"{_sizes(row)} {row['hardware']}"
    chip, ends = row["hardware"], json.loads(ds.attrs.get("ends", "{}"))
    run = f"{instances}, {row['kind']}, {row['precision']}, engine {row['engine']}: {_split(row, ends)}"
    at_once = "requests in flight" if asked["wanted"] == "chips" else "users at once"
    users = (
        "1 user" if asked["wanted"] == "speed" and row["concurrency"] == 1 else f"{row['concurrency']:,.0f} {at_once}"
    )
    serves = f"{row['tps_per_user']:,.1f} tokens/s/user, {row['tps_per_chip']:,.0f} tokens/s/chip, "
    serves += f"{row['requests_per_s']:,.3g} requests/s, {users}"
    p = "mean" if statistic == "mean" else f"{statistic[1:]}th percentile"
    serves += f"; TTFT {_seconds(row[f'ttft_{statistic}'])}, TPOT {_seconds(row[f'tpot_{statistic}'])} ({p})"
    cost = f"no price is known: {entry('settings', f'hardware.{chip}.usd_per_hour', 2)}"
    if row["cost_per_hour"] is not None:
        cost = f"{row['cost_per_hour']:,.2f} USD/h, {row['cost_per_million_tokens']:,.3f} USD per million output tokens"
    binds = _binding(row, asked, json.loads(ds.attrs.get("helps", "{}")))
    binds = {"helps" if asked["wanted"] == "speed" else "binds": binds}
    return {"run": run, "serves": serves, "sure": _sure(row, statistic)} | binds | {"costs": cost}


def _sure(row, statistic):
    """How far off the times may be: by the kernels of the chip, and as measured systems of the kind were."""
    basis = {
        "fitted": "kernels of this chip measured",
        "sibling": "kernels measured on a sibling",
        "assumed": "kernels nobody has measured",
    }
    said = f"{trust.of_systems(row)}; kernel times +-{row['curve_uncertainty']:.0%} ({basis[row['curve_basis']]})"
    outside = marks.of(row["outside_validity"], [f"{x}_{statistic}" for x in ("ttft", "tpot")])
    return said + (f"; percentiles not to be trusted ({', '.join(outside).replace('_', ' ')})" if outside else "")


def _binding(row, asked, gains):
    """What keeps it from more, or from fewer chips, and what would help first."""
    key, wanted = row["binds"], asked["wanted"]
    gains = [f"{what} (a tenth better: {gain:+.1%} {GAINED[wanted]})" for what, gain in gains.items() if gain > LEAST]
    if wanted == "speed":
        return ", ".join(gains[:2]) or "no number that is a tenth better: the links' and the host's times are fixed"
    if wanted == "chips":
        return _fewest(row, key)
    if key == "nothing":
        return "nothing: a user more keeps the limits"
    if key in FULL:
        what, helps = FULL[key].split(": ")
        return f"{what}: more users would only wait; what helps first: {helps}"
    what, helps = _bound(key)
    return f"{what}: a user more would break it; what helps first: {', '.join(gains[:2]) or helps}"


def _fewest(row, key):
    """What a demand would not keep with an instance less, or, of a single instance, with more requests."""
    one = f"{row['utilisation']:.0%} of the most that it takes is asked"
    if not key:
        return f"{one}; each pool is one instance, and no smaller one keeps the limits"
    if row["kind"] == "disaggregated":
        whats = [(pool, *_bound(what)) for pool, _, what in (part.partition(" ") for part in key.split("; "))]
        said = " and ".join(f"{what} in the {pool} pool" for pool, what, _ in whats)
        return f"{said}: an instance less would break it; {one}; what helps first: {whats[0][2]}"
    what, helps = _bound(key)
    less = "an instance less would break it" if row["instances"] > 1 else "with more requests it would be broken first"
    return f"{what}: {less}; {one}; what helps first: {helps}"


def _bound(key):
    """(A limit or a mask in words, what would let more in)."""
    name = next((of for of in BINDS if key.startswith(of)), "")
    what, helps = BINDS.get(name, (key.replace("_", " "), "another split"))
    return what, helps.replace("LIMIT", option(name.removeprefix("max_")))


def _table(rows, statistic, ends):
    columns = ["", "hardware", "kind", "precision", "instances x chips", "split", "users", "tok/s/user", "tok/s/chip"]
    columns += ["+-"]
    columns += ["requests/s", f"TTFT {statistic} s", f"TPOT {statistic} ms", "USD/Mtok"]
    lines = []
    for row in rows:
        cost = row["cost_per_million_tokens"]
        line = [str(row["rank"]), row["hardware"], row["kind"], row["precision"]]
        line += [_sizes(row), _split(row, ends if row is rows[0] else ()), f"{row['concurrency']:,.0f}"]
        line += [f"{row['tps_per_user']:,.1f}", f"{row['tps_per_chip']:,.0f}"]
        line += [f"{row['curve_uncertainty']:.0%}", f"{row['requests_per_s']:,.3g}"]
        line += [f"{row[f'ttft_{statistic}']:,.3g}", f"{1e3 * row[f'tpot_{statistic}']:,.1f}"]
        lines.append([*line, "-" if cost is None or math.isnan(cost) else f"{cost:,.3f}"])
    least = [columns.index(name) for name in ("split", "+-", "requests/s", f"TTFT {statistic} s")]
    return table(columns, lines, least=least)


def _next(ds, row, asked):
    """Questions about the best point."""
    if row["kind"] == "disaggregated":
        yield from _next_of_pools(ds, row, asked)
        return
    point = {name: row[name] for name in ("hardware", *AXES)} | {"chips": row["chips_per_instance"]}
    point |= {name: asked[name] for name in ("isl", "osl")}
    demanded = asked["wanted"] == "chips"
    each = row["requests_per_s"] / row["instances"] if demanded else math.ceil(row["concurrency"] / row["instances"])
    load = "requests_per_s" if demanded else "concurrency"
    given, at = _given(ds, "serve", point), ("fixed", {load: each})
    along = sorted({max(round(each * f), 1) for f in (0.25, 0.5, 0.75, 1.0, 1.25, 1.5)})
    if demanded:
        along = [float(f"{each * f:.4g}") for f in (0.25, 0.5, 0.75, 1.0)]
    yield steps.asked("explain", "serve", *given, at)
    yield steps.asked("plot latency", "serve", *given, ("axes", {load: along}), ("path", "plan.png"))
    if (engine := _launched(row["engine"])) is not None:
        several = [("instances", row["instances"])] if row["instances"] > 1 else []
        yield steps.asked("launch", "serve", *given, at, ("engine", engine), *several)
    else:
        yield _with_engine(ds, row, asked)


def _with_engine(ds, row, asked):
    """The same question of the splits that an engine starts."""
    changes, load = json.loads(ds.attrs["changes"]), {"chips": ["requests_per_s"], "speed": ["concurrency"]}
    names = ["chips", "isl", "osl", *load.get(asked["wanted"], [])]
    of = [("model", ds.attrs["model"]), ("hardware", row["hardware"])]
    of += [(name, asked[name]) for name in names if asked[name] is not None]
    limits = {"tps_per_user": "min_tps_per_user", "tpot": "max_tpot", "ttft": "max_ttft"}
    of += [(name, asked[key]) for name, key in limits.items() if asked[key] is not None]
    of += [] if ds.attrs["statistic"] == "p90" else [("percentile", ds.attrs["statistic"].removeprefix("p"))]
    layout = changes.pop("layout")
    of += [(name, x) for name, x in (changes | layout | {"fixed": changes["fixed"] | layout["fixed"]}).items() if x]
    return steps.asked("plan", None, *of, ("engine", STARTED))


def _given(ds, name, point):
    """(argument, value) that make one of dsjax's grids that of a point, its limits those asked for: no others."""
    data, changes = grid.read(name)[0], json.loads(ds.attrs["changes"])
    defaults = studies.get("server" if name == "serve" else name).data["defaults"] | {"pp": 1}
    known, varied = defaults | data["fixed"], {*data["axes"]}
    for pool in ("prefill", "decode"):
        of = data.get(pool, {})
        known |= {f"{pool}_{axis}": x for axis, x in (defaults | of).items()}
        varied |= {f"{pool}_{axis}" for axis, x in of.items() if isinstance(x, list)}
    model = [] if ds.attrs["model"] == data["model"] else [("model", ds.attrs["model"])]
    fixed = (point | changes["fixed"]).items()
    fixed = {key: x for key, x in fixed if key in varied or x != known.get(key)}
    settings = settings_of_pools(changes["settings"]) if name == "disaggregated" else changes["settings"]
    limits, own = json.loads(ds.attrs["limits"]), data["constraints"]
    limits = {key: limits.get(key) for key in (limits | own) if limits.get(key) != own.get(key)}
    return *model, ("fixed", fixed), ("settings", settings), ("catalogs", changes["catalogs"]), ("limits", limits)


def _launched(engine):
    """The engine whose command lines `dsjax launch` has, of an engine's row; None: of none."""
    return next((name for name in ENGINES if engine == name or engine.startswith(f"{name}-")), None)


def _next_of_pools(ds, row, asked):
    point = {f"{pool}_hardware": row["hardware"] for pool in ("prefill", "decode")}
    point |= {f"{pool}_precision": row["precision"] for pool in ("prefill", "decode")}
    for pool in ("prefill", "decode"):
        of = _of(row, pool)
        names = ("nic", "engine", "tp", "moe_tp", "pp", "sp", "mtp", "pipeline", "dispatch_mode", "instances")
        point |= {f"{pool}_{name}": of[name] for name in names} | {f"{pool}_chips": of["chips_per_instance"]}
    point |= {"transfer_nic": row["nic"], "isl": asked["isl"], "osl": asked["osl"]}
    demanded = asked["wanted"] == "chips"
    load = {"requests_per_s": asked["requests_per_s"]} if demanded else {"concurrency": row["concurrency"]}
    given = *_given(ds, "disaggregated", point), ("fixed", load)
    yield steps.asked("explain", "disaggregated", *given)
    if (engine := _launched(row["engine"])) is not None:
        yield steps.asked("launch", "disaggregated", *given, ("engine", engine))
    else:
        yield _with_engine(ds, row, asked)


def _none(ds, asked):
    refused, near = json.loads(ds.attrs["refused"]), json.loads(ds.attrs.get("nearest", "{}"))
    if not near:
        most = sorted(refused.items(), key=lambda x: -x[1])[:4]
        said = ", ".join(f"{name.removeprefix('ok_').replace('_', ' ')} {n:,}" for name, n in most) or "nothing"
        of = f"Nothing fits: of {ds.attrs['layouts']:,} splits refused by {said}"
        return "\n".join([of, *(f"  {line}" for line in json.loads(ds.attrs.get("why", "[]")))])
    limits = {key.split("_")[1]: limit for key, limit in json.loads(ds.attrs["limits"]).items()}
    late = {time: (x, chip) for time, (x, chip) in near.items() if x > limits.get(time, math.inf)}
    if not late:
        each = "one user" if asked["wanted"] == "tokens" else _demand(asked)
        chips = f" on {asked['chips']:,g} chips" if asked["chips"] else ""
        return f"Nothing keeps the limits: no split serves {each}{chips}, and keeps them all"
    said = [
        f"{time.upper()} {_seconds(x)} ({chip}) beside {_seconds(limits[time])}" for time, (x, chip) in late.items()
    ]
    return f"Nothing keeps the limits: {' and '.join(said)} is the least of a request that is alone"
