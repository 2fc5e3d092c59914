"""Whose kernels a curve by hardware is fitted to: the chip's own, a sibling's of other rates, or another design's."""

from ..catalog.reader import MEASURED

# Relative standard error of the time of one kernel. Shapes left out: median 2 to 13 %, most 4 to 7 %. A sibling with
# its own peaks: 2 to 18 %. Another vendor's chip: nobody has measured; what separates tuned from untuned kernels.
UNCERTAINTY = {"fitted": 0.08, "sibling": 0.15, "assumed": 0.30}


def of_space(space):
    """{hardware: (row of the curves, "fitted" | "sibling" | "assumed")} where a space has one curve for each."""
    labels = space.axes.get("curve", (space.fixed.get("curve"),))
    if not space.study.curve:
        return {}
    names = space.axes.get("hardware", (space.fixed.get("hardware"),))
    if all(label in space.rows["curve"] for label in labels):
        one = len(labels) == 1 and space.rows["curve"][labels[0]]["form"] == "kernel"
        return {name: (labels[0], _basis(space, labels[0], name)) for name in names if one}
    return {name: (curve := space.rows["hardware"][name]["curve"], _basis(space, curve, name)) for name in names}


def _basis(space, curve, hardware):
    lists = [space.rows["curve"][curve].get(key, ()) for key in MEASURED]
    chips = {hardware, *space.rows["hardware"][hardware].get("same_chip", ())}
    return next((basis for basis, names in zip(UNCERTAINTY, lists) if chips.intersection(names)), "assumed")


def remark(space):
    """A sentence: which hardware has which curve, measured or not; empty without a curve by hardware."""
    chips = {}
    for hardware, found in of_space(space).items():
        chips.setdefault(found, []).append(hardware)
    said = {"fitted": "fitted to {}", "sibling": "its siblings {}", "assumed": "{}, not measured"}
    parts = [
        f"{curve}: {said[basis].format(', '.join(names))} (+-{100 * UNCERTAINTY[basis]:.0f} %)"
        for (curve, basis), names in sorted(chips.items(), key=lambda x: (list(UNCERTAINTY).index(x[0][1]), x[0][0]))
    ]
    return f"kernel times by curve {'; '.join(parts)}" if parts else ""


def coordinates(space):
    """Coordinates that say the same of each hardware of a dataset."""
    found = of_space(space)
    dims = ("hardware",) if "hardware" in space.axes else ()
    columns = {
        "curve_row": ([row for row, _ in found.values()], {"long_name": "curve of the hardware"}),
        "curve_basis": (
            [basis for _, basis in found.values()],
            {"long_name": "fitted to this hardware, to a sibling, or assumed of another design"},
        ),
        "curve_uncertainty": (
            [UNCERTAINTY[basis] for _, basis in found.values()],
            {"units": "1", "long_name": "relative standard error of the time of a kernel"},
        ),
    }
    return {name: (dims, x if dims else x[0], attrs) for name, (x, attrs) in columns.items() if found}


def tag(source, changed=(), unverified=()):
    """Kind of a source: published, assumed, or set by the user, from its text; `changed` fields were given apart.

    `unverified` fields of the row are published somewhere, and nobody has checked them.
    """
    tags = []
    if source.startswith("assumed"):
        tags.append("assumed")
    elif source.startswith("fitted"):
        tags.append("fitted")
    else:
        guessed = any(word in source.lower() for word in ("assum", "effective:", "stands for", "stands in"))
        parts = ["partly assumed"] * guessed + ["partly unverified"] * bool(unverified)
        tags.append(", ".join(["published", *parts]))
    if "set by the user" in source or changed:
        tags.append("set by the user")
    return "; ".join(tags)


def of_checkpoints(space):
    """Sentences about models whose checkpoint stores other weights than the precisions of a space reckon with."""
    lines = []
    for name, model in space.rows.get("model", {}).items():
        stored = model.get("quantisation")
        if not stored:
            continue
        widths = {label: int(8 * row["expert_bytes"]) for label, row in space.rows.get("precision", {}).items()}
        other = [f"{label} ({bits} bit)" for label, bits in widths.items() if bits != stored["bits"]]
        if other:
            text = f"{name}: the checkpoint stores {stored['bits']}-bit weights ({stored['method']})"
            lines.append(f"{text}; precision {', '.join(other)} evaluates other ones")
    return lines
