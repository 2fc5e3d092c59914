"""Where the numbers of a space come from, and whose kernels its curves are fitted to."""

import numpy as np

from ..catalog import measured, sources
from ..formulas import products
from ..options import entry
from ..specs.fields import fields_of
from ..specs.variables import NEEDS

CHIPS = ("hardware", "prefill_hardware", "decode_hardware")  # axes whose rows are chips
UNMEASURED = "~"
UNMEASURED_NOTE = f"{UNMEASURED} kernels of this chip are not measured: those of another design stand for them"
# Relative standard error of the time of one kernel. Shapes left out: median 2 to 13 %, most 4 to 7 %. A sibling with
# its own peaks: 2 to 18 %. Another vendor's chip: nobody has measured; what separates tuned from untuned kernels.
UNCERTAINTY = {"fitted": 0.08, "sibling": 0.15, "assumed": 0.30}
_ARITHMETIC = ("weight", "dense", "shared", "head")  # products with weights but those of routed experts

FACTORS = (1e-3, 1e3)  # what hides behind a slower resource is the slower one itself once it is so much slower
ROUNDING = 1e-4  # of float32, between two evaluations of a step


def of_space(space):
    """{(hardware, engine): (row of the curves, "fitted" | "sibling" | "assumed")} where a space has a curve for each.

    A curve of its own holds under every engine; that of a chip may be another under each.
    """
    if not space.study.curve:
        return {}
    if space.study.pools:
        return {key: found for pool in _pools(space).values() for key, found in of_space(pool).items()}
    labels, chips = space.labels("curve"), space.labels("hardware")
    both = [(chip, engine) for chip in chips for engine in space.labels("engine")]
    if all(label in space.rows["curve"] for label in labels):
        one = len(labels) == 1 and space.rows["curve"][labels[0]]["form"] == "kernel"
        return {(chip, engine): (labels[0], _basis(space, labels[0], chip)) for chip, engine in both if one}
    curves = {(chip, engine): space.curve_of(chip, engine) for chip, engine in both}
    return {key: (curve, _basis(space, curve, key[0])) for key, curve in curves.items()}


def _basis(space, curve, hardware):
    """Of the kernels that the space runs, what holds for most: the worse of two that hold for as many."""
    found = list(by_kernel(space, curve, hardware).values())
    return max(reversed(UNCERTAINTY), key=found.count) if found else "assumed"


def by_kernel(space, curve, hardware):
    """{kernel that the space runs: "fitted", "sibling" or "assumed" on this hardware} of a row of the curves.

    Of two pools, what those run that have the hardware.
    """
    if space.study.pools:
        having = [pool for pool in _pools(space).values() if (hardware, curve) in _curves(pool)]
        return {kernel: basis for pool in having for kernel, basis in by_kernel(pool, curve, hardware).items()}
    row, chip = space.rows["curve"][curve], space.rows["hardware"][hardware]
    own, other = [row.get(key, ()) for key in measured.LISTS], row.get("kernels", {})
    if row["form"] != "kernel":
        return {}
    run = sorted(kernels_run(space))
    return {kernel: measured.basis(other.get(kernel, own), chip, hardware) for kernel in run}


def _pools(space):
    """{name of a pool: its space, which runs the kernels of that phase}."""
    return {name: pool.with_fixed(phase=name) for name, pool in space.pools.items()}


def _curves(space):
    return {(chip, curve) for (chip, _), (curve, _) in of_space(space).items()}


def kernels_run(space):
    """Names of the kernels of products and attention that the models, precisions and phases of a space run."""
    found: set = set()
    models, precisions = (space.rows.get(record, {}).values() for record in ("model", "precision"))
    for precision in precisions:
        found |= {_of_product("gemm", precision, name) for name in _ARITHMETIC}
        if any(model.get("n_routed_experts", 0) for model in models):
            found.add(_of_product("expert", precision, "expert"))
        at_8 = "8" if precision["attention_rate"] else ""
        narrow = at_8 or ("_cast" if precision["kv_bytes"] < 2.0 else "")
        for model in models:
            decode, prefill = _of_model(model, at_8, narrow)
            found |= decode if "decode" in space.phases else set()
            found |= prefill if "prefill" in space.phases else set()
            found |= decode | prefill if set(space.phases) - {"decode", "prefill"} else set()
    return found


_SCANS = ("scan", "channel_scan", "state_scan", "scan")  # of every rule of linear layers


def _of_model(model, at_8, narrow):
    """(kernels of decode, of prefill) that stand between the products of a model."""
    picks, latent = model.get("index_topk", 0), model.get("kv_lora_rank", 0)
    core = "attention" if latent else "gqa"
    decode, prefill = {f"{core}{narrow}"}, {f"{'' if latent else 'gqa_'}prefill{at_8}"}
    if picks and latent:
        decode, prefill = {f"sparse{at_8}", "index", "select"}, {f"sparse_prefill{at_8}", "index_prefill", "select"}
    if model.get("index_block"):
        decode, prefill = decode | {"index", "select"}, {"block_prefill", "block_index", "select"}
    if model.get("csa_layers") or model.get("hca_layers"):
        decode, prefill = {"compressed", "index", "select"}, {"compressed_prefill", "index_prefill", "select"}
    if model.get("linear_layers"):
        decode |= {"recurrent", "convolution"}
        prefill |= {_SCANS[int(model.get("linear_rule", 0))], "convolution"}
    streams = {"mixing_pre", "mixing_post"} if model.get("residual_streams") else set()
    return decode | streams, prefill | streams


def _of_product(kind, precision, name):
    index = products.operands(precision[f"{name}_rate"], precision[f"{name}_bytes"])
    return f"{kind}{list(products.SETS)[int(index)]}"


def remark(space):
    """A sentence: which hardware has which curve, measured or not; empty without a curve by hardware."""
    chips: dict = {}
    for (hardware, _), found in of_space(space).items():
        chips.setdefault(found, {})[hardware] = None
    said = {"fitted": "fitted to {}", "sibling": "its siblings {}", "assumed": "{}, not measured"}
    parts = [
        f"{curve}: {said[basis].format(', '.join(names))} (+-{100 * UNCERTAINTY[basis]:.0f} %)"
        + _but(space, curve, basis, names)
        for (curve, basis), names in sorted(chips.items(), key=lambda x: (list(UNCERTAINTY).index(x[0][1]), x[0][0]))
    ]
    return f"kernel times by curve {'; '.join(parts)}" if parts else ""


def _but(space, curve, basis, names):
    """Words for the kernels of which another basis holds; empty where none does."""
    other: dict = {}
    for pool in space.pools.values() if space.study.pools else (space,):
        there = [x for x in names if x in pool.rows["hardware"]] if curve in pool.rows["curve"] else []
        for kernel, of in (pair for name in there for pair in by_kernel(pool, curve, name).items()):
            if of != basis:
                other.setdefault(of, {})[kernel] = None
    words = {"fitted": "fitted", "sibling": "to siblings", "assumed": "not measured"}
    parts = [f"{', '.join(kernels)} {words[of]} (+-{100 * UNCERTAINTY[of]:.0f} %)" for of, kernels in other.items()]
    return f", but for {' and '.join(parts)}" if parts else ""


def coordinates(space):
    """Coordinates over `hardware`, and `engine` where that decides: the basis of the curve, and its relative error."""
    if space.study.pools:
        of = {name: coordinates(pool) for name, pool in _pools(space).items()}
        return {
            f"{name}_{key}": (tuple(f"{name}_{dim}" for dim in dims), x, attrs)
            for name, found in of.items()
            for key, (dims, x, attrs) in found.items()
        }
    found = of_space(space)
    engines = {chip: {found[key] for key in found if key[0] == chip} for chip, _ in found}
    by_engine = "engine" in space.axes and any(len(several) > 1 for several in engines.values())
    dims = tuple(axis for axis in ("hardware", "engine") if axis in space.axes and (axis == "hardware" or by_engine))
    shape = [space.sizes[axis] for axis in dims]
    kept = list(found.values())
    if not by_engine:  # the same under every engine
        kept = kept[:: len(space.labels("engine"))] if found else []
    columns = {
        "curve_row": ([row for row, _ in kept], {"long_name": "curve of the hardware"}),
        "curve_basis": (
            [basis for _, basis in kept],
            {"long_name": "fitted to this hardware, to a sibling, or assumed of another design"},
        ),
        "curve_uncertainty": (
            [UNCERTAINTY[basis] for _, basis in kept],
            {"units": "1", "long_name": "relative standard error of the time of a kernel, of most that run"},
        ),
    }
    return {name: (dims, np.reshape(x, shape) if dims else x[0], attrs) for name, (x, attrs) in columns.items() if kept}


def of_field(space, record, name, field):
    """{"kind", "text"} of a number of a row as a space has it, and "row", the base that it is taken from."""
    axis = f"{record}_{field}"
    if axis in space.axes or axis in space.fixed:
        return {
            "kind": sources.USER,
            "text": f"axis {axis}" if axis in space.axes else f"{axis} = {space.fixed[axis]!r}",
        }
    return sources.of_field(space.rows[record][name], field)


def numbers_read(space, numbers, sampled):
    """[(<record>.<row>, field, entry of `of_field`)] of the numbers that a variable of the one point depends on.

    A number is read where some variable changes, by more than rounding, once it is a thousand times smaller or larger,
    or 1 in place of 0; whole numbers count as read. `numbers` {(record, field): number}; `sampled({(record, field): n
    numbers}, n)`: {variable: n values}.
    """
    fields = [
        (record, name, field, meta)
        for record, rows in space.rows.items()
        for name, row in rows.items()
        for field, meta in fields_of(space.study.row_class(record, row)).items()
    ]
    probes = []  # (the number that is moved, the value that it moves to); before all of them, a sample that moves none
    for record, _, field, meta in fields:
        if (record, field) in numbers and not meta["integer"]:
            x = float(numbers[record, field])
            probes += [((record, field), f * x) for f in FACTORS] if x else [((record, field), 1.0)]
    moved = {key: np.full(1 + len(probes), float(numbers[key])) for key, _ in probes}
    for i, (key, x) in enumerate(probes, start=1):
        moved[key][i] = x
    changed = np.zeros(1 + len(probes), bool)
    for values in sampled(moved, len(changed)).values():
        values = values.astype(float)
        changed |= ~np.isclose(values, values[0], rtol=ROUNDING, atol=0.0, equal_nan=True)
    read = {key for (key, _), some in zip(probes, changed[1:], strict=True) if some}
    return [
        (f"{record}.{name}", field, of_field(space, record, name, field))
        for record, name, field, meta in fields
        if meta["integer"] or (record, field) in read
    ]


def prices(*spaces):
    """{chip: source of its price, None where it has none} of spaces, without those whose price is an axis or fixed."""
    known: dict = {}
    for space in spaces:
        if space.study.pools:
            known |= prices(*space.pools.values())
        elif "hardware_usd_per_hour" not in {*space.axes, *space.fixed}:
            known |= {chip: sources.price(space.rows["hardware"][chip]) for chip in space.labels("hardware")}
    return known


def unlike(known):
    """The chips of `prices` whose price has another source than that of most, which costs are not comparable with."""
    return [chip for chip, text in known.items() if text not in (None, sources.most(known.values()))]


def of_prices(known):
    """Sentences about `prices`: the source of most, the chips (*) that have another one, those without a price."""
    lines, usual = [], sources.most(known.values())
    if usual:
        others = ", ".join(f"{chip} ({known[chip]})" for chip in unlike(known))
        marked = f"; * another source, not to be compared with them: {others}" if others else ""
        yours = entry("settings", "hardware.H800.usd_per_hour", 2)
        lines.append(f"prices: {usual}{marked} (yours: {yours})")
    lacking = [chip for chip, text in known.items() if text is None]
    if usual and lacking:
        lines.append(f"no price, so no cost and no rank by it: {', '.join(lacking)}")
    return lines


def remarks(space, shown):
    """Sentences: what is `doubted`; prices that are unlike where a cost is shown; kernels measured; checkpoints of
    other widths.
    """
    lines = doubted(space, shown)
    lines += of_prices(prices(space)) if "cost_per_million_tokens" in shown else []
    return [*lines, *filter(None, [remark(space)]), *of_engines(space), *of_checkpoints(space), *of_models(space)]


def doubted(space, shown):
    """Sentences: which numbers nobody has verified, which the user set.

    Numbers that only a variable which is not `shown` needs (rated power) are left out.
    """
    unread = {field for variable, (_, field) in NEEDS.items() if variable not in shown}
    lines = []
    for kind, text in (("unverified", "unverified numbers"), (sources.USER, sources.USER)):
        found = [
            f"{record}.{name} {fields[0] if len(fields) == 1 else f'({len(fields)})'}"
            for record, rows in space.rows.items()
            for name, row in rows.items()
            if (fields := [field for field in sources.of_kind(row, kind) if field not in unread])
        ]
        lines += [f"{text}: {', '.join(found)}"] if found else []
    return lines


def of_engines(space):
    """Sentences about chips on which nobody measured the kernels of an engine that has kernels of its own."""
    if space.study.pools:
        return list(dict.fromkeys(line for pool in space.pools.values() for line in of_engines(pool)))
    lines = []
    for engine, row in space.rows.get("engine", {}).items():
        own = row.get("curves", {})
        found = {
            chip: curve
            for (chip, name), (curve, _) in of_space(space).items()
            if own and name == engine and curve not in own.values() and curve == space.curve_of(chip, engine)
        }
        if found:
            chips = ", ".join(f"{chip} (curve {curve})" for chip, curve in found.items())
            lines.append(f"engine {engine}: no kernels of its own measured on {chips}, whose row stands for them")
    return lines


def of_checkpoints(space, precisions=None):
    """Sentences about models whose checkpoint stores other weights than a space, in these precisions, reckons with."""
    if space.study.pools:
        pools = space.pools.values()
        return list(dict.fromkeys(line for pool in pools for line in of_checkpoints(pool, precisions)))
    lines = []
    for name, model in space.rows.get("model", {}).items():
        stored = model.get("quantisation")
        if not stored:
            continue
        widths = {label: int(8 * row["expert_bytes"]) for label, row in space.rows.get("precision", {}).items()}
        own = widths.keys() if precisions is None else widths.keys() & precisions
        other = [
            f"{label} ({widths[label]} bit)" for label in widths if label in own and widths[label] != stored["bits"]
        ]
        if other:
            text = f"{name}: the checkpoint stores {stored['bits']}-bit weights ({stored['method']})"
            lines.append(f"{text}; precision {', '.join(other)} evaluates other ones")
    return lines


def of_models(space):
    """Sentences about parts of models that the time leaves out."""
    if space.study.pools:
        return list(dict.fromkeys(line for pool in space.pools.values() for line in of_models(pool)))
    models = space.rows.get("model", {}).items()
    return [f"{name}: {row['left_out']}" for name, row in models if row.get("left_out")]
