"""Conclusions of the SG2260E deployment study of DeepSeek-V3 (2025), each checked by a search.

Every search is one of the study's spaces, or the same with every whole batch, cut out of one sweep that holds them all.
"""

import dataclasses

from ..results.handle import Results
from ..search.ranking import best
from ..space import grid

SEARCHED = {"tp": [2, 4, 8], "batch": [6, 8, 10, 12, 16]}  # the study's 15 of 128 chips, moe_tp 1
TOP_5 = [(4, 10), (2, 10), (4, 8), (4, 6), (2, 8)]  # (tp, batch)
SLO = 10.0
TBO_CRITERION = 20.0


def conclusions(sweeps):
    """List of `Conclusion`; `sweeps`: the datasets `decode` and `prefill` of the study's file."""
    wide = sweeps["decode"]
    decode = {chips: within(wide, f"sg2260e_decode_{chips}") for chips in (64, 128, 256)}
    searched = within(wide, "sg2260e_decode_128", axes=SEARCHED, fixed={"moe_tp": 1})
    prefill = within(sweeps["prefill"], "sg2260e_prefill_16")
    return [
        best_decode(searched, decode[128]),
        best_tp(decode[128]),
        best_moe_tp(decode, prefill),
        more_experts_apart(decode),
        few_chips(decode),
        best_prefill(prefill),
        overlap_does_not_pay(wide, decode),
        batch_violates(decode[128]),
        feasible(searched),
        whole_batches(wide),
        few_chips_batch(decode[64]),
        penalty(decode),
        moe_tp_penalty(decode[128]),
        ranking(searched),
    ]


def within(ds, name, axes=None, fixed=None, pipeline="naive"):
    """The space of a grid, with `axes` and `fixed` in place of its own, as a dataset cut out of a wider one."""
    space = grid.load(grid.folder() / f"{name}.toml", axes=axes, fixed=(fixed or {}) | {"pipeline": pipeline})
    part = ds.sel({axis: list(values) for axis, values in space.axes.items()})
    part = part.sel({axis: value for axis, value in space.fixed.items() if axis in part.dims})
    return part.assign_attrs(dsjax_spec=space.to_json())


def best_decode(*spaces):
    """TP4 DP32 EP128 B10, in the study's 15 points and in the wider space."""
    found = [best for space in spaces for best in _best(space)]
    sizes = [(int(x.tp), int(x.dp), int(x.ep), int(x.batch)) for x in found]
    text = "; ".join(f"{_name(x)} {float(x.tps_per_chip):.1f}" for x in found[-2:])
    holds = sizes == [(4, 32, 128, 10)] * sum(space.sizes["nic"] for space in spaces)
    return Conclusion("best 128-chip decode is TP4 DP32 EP128 B10, on either network", text, holds)


def best_tp(space):
    """TP4 > TP2 > TP8 at batch 10."""
    values = space.tps_per_chip.sel(batch=10, moe_tp=1)
    four, two, eight = (values.sel(tp=tp) for tp in (4, 2, 8))
    text = "; ".join(
        f"{nic}: " + " > ".join(f"TP{tp} {float(values.sel(nic=nic, tp=tp)):.1f}" for tp in (4, 2, 8))
        for nic in values.nic.values
    )
    holds = bool(((four > two) & (two > eight)).all())
    return Conclusion("MLA TP4 > TP2 > TP8 at B10, on either network", text, holds)


def best_moe_tp(decode, prefill):
    """No other point beats MoE TP 1 at the same tp, batch and network."""
    possible = prefill.ok_chips & prefill.ok_ep & prefill.ok_sp & prefill.ok_prompts
    spaces = [*(space.tps_per_chip for space in decode.values()), prefill.tps_per_chip.where(possible)]
    gains = [float((values.drop_sel(moe_tp=1) / values.sel(moe_tp=1)).max()) - 1.0 for values in spaces]
    text = f"largest gain of MoE TP > 1 at equal tp, batch, network, chips: {100 * max(gains):+.2f} %"
    return Conclusion("MoE TP 1 is best everywhere", text, max(gains) < 0.0)


def more_experts_apart(decode):
    """256 chips against 128, per chip."""
    pairs = list(zip(_best(decode[256]), _best(decode[128])))
    gains = {str(x.nic.values): float(x.tps_per_chip / y.tps_per_chip) - 1.0 for x, y in pairs}
    text = "; ".join(
        f"{_name(x)} {float(x.tps_per_chip):.1f}, {100 * gains[str(x.nic.values)]:+.1f} %" for x, _ in pairs
    )
    holds = all(int(x.batch) == 12 for x, _ in pairs) and all(0.20 <= gain <= 0.22 for gain in gains.values())
    says = "EP256 is best at B12, 20 to 22 % better per chip than EP128 (the study: 28 %)"
    return Conclusion(says, text, holds)


def few_chips(decode):
    """64 chips against 128 at every point that both have."""
    worst = float((decode[64].tps_per_chip / decode[128].tps_per_chip).max())
    pairs = zip(_best(decode[64]), _best(decode[128]))
    ratios = [f"{x.nic.values}: {float(x.tps_per_chip / y.tps_per_chip):.2f} of the best" for x, y in pairs]
    text = f"{'; '.join(ratios)}; at most {worst:.2f} at equal deployment"
    return Conclusion("64 chips are worse per chip than 128", text, worst < 1.0)


def best_prefill(space):
    """TP4 SP4 EP16 B4, with SP free to be 1 or tp."""
    found = _best(space)
    sizes = [(int(x.tp), int(x.sp), int(x.ep), int(x.prompts)) for x in found]
    text = "; ".join(
        f"{x.nic.values} TP{tp} SP{sp} EP{ep} B{prompts} {float(x.tps_per_chip):.1f}"
        for x, (tp, sp, ep, prompts) in zip(found, sizes)
    )
    holds = sizes == [(4, 4, 16, 4)] * space.sizes["nic"]
    return Conclusion("best 16-chip prefill is TP4 SP4 EP16 B4, on either network", text, holds)


def overlap_does_not_pay(wide, decode):
    """Not the study's criterion alone: the time with TBO too.

    TPS/batch without all-to-all at B is twice that of TBO at 2 B, as T_TBO(2 B) = 2 T(B, no all-to-all).
    """
    ratios = {}
    for chips, space in decode.items():
        tbo = within(wide, f"sg2260e_decode_{chips}", pipeline="tbo")
        fast = (space.tps_per_user >= SLO) & tbo.ok_even_batch
        ratios[chips] = float((tbo.step_time / space.step_time).where(fast).min())
    criterion = 2.0 * float(wide.tps_per_user.sel(chips=128, nic="one-layer", tp=4, moe_tp=1, batch=20, pipeline="tbo"))
    slower = ", ".join(f">= {ratio:.2f} ({chips} chips)" for chips, ratio in ratios.items())
    text = (
        f"TPS/batch without all-to-all {criterion:.1f} < {TBO_CRITERION:.0f}; step with TBO / without, where TPS/batch "
    )
    text += f">= {SLO:.0f}: {slower}"
    return Conclusion("TBO is not worthwhile", text, criterion < TBO_CRITERION and min(ratios.values()) > 1.0)


def batch_violates(space):
    """No deployment of 128 chips meets the SLO at batch 12 or more."""
    fastest = float(space.tps_per_user.sel(batch=[b for b in space.batch.values if b >= 12]).max())
    return Conclusion("at 128 chips, B >= 12 violates the SLO", f"TPS/batch at most {fastest:.2f}", fastest < SLO)


def feasible(space):
    """Of the study's 15 points."""
    counts = {str(nic): int(space.feasible.sel(nic=nic).sum()) for nic in space.nic.values}
    points = space.feasible.size // space.sizes["nic"]
    text = ", ".join(f"{nic}: {n} of {points}" for nic, n in counts.items())
    says = "8 of the 15 points searched are feasible (one layer; 6 on two)"
    return Conclusion(says, text, points == 15 and counts == {"one-layer": 8, "two-layer": 6})


def whole_batches(wide):
    """The study's batches leave out 11 and 13."""
    axes, best = {"batch": wide.batch.values.tolist()}, {}
    for chips in (128, 256):
        best[chips] = _best(within(wide, f"sg2260e_decode_{chips}", axes=axes))
    text = "; ".join(
        f"{chips} chips {_name(x)} {float(x.tps_per_chip):.1f}" for chips, found in best.items() for x in found
    )
    holds = all(int(x.batch) == batch for chips, batch in ((128, 10), (256, 12)) for x in best[chips])
    says = "B10 on 128 and B12 on 256 chips are best of all whole batches too"
    return Conclusion(says, text, holds, expected=False)


def few_chips_batch(space):
    """64 chips: the study finds 9.3 at B6."""
    values = space.tps_per_user.sel(nic="two-layer", tp=4, moe_tp=1)
    passing = [int(b) for b in values.batch.values if float(values.sel(batch=b)) >= SLO and b >= 4]
    text = f"B6 {float(values.sel(batch=6)):.2f} (the study: 9.3); B4 and up that pass: {passing}"
    return Conclusion("on 64 chips only B4 meets the SLO", text, passing == [4], expected=False)


def penalty(decode):
    """Two switch layers against one, at the optima."""
    losses = []
    for chips, batch in ((128, 10), (256, 12)):
        values = decode[chips].tps_per_chip.sel(tp=4, moe_tp=1, batch=batch)
        losses.append(100.0 * (1.0 - float(values.sel(nic="two-layer") / values.sel(nic="one-layer"))))
    text = ", ".join(f"{loss:.1f} % on {chips} chips" for loss, chips in zip(losses, (128, 256)))
    holds = all(10.0 <= loss <= 15.0 for loss in losses)
    return Conclusion("two switch layers cost 10 to 15 %", text, holds, expected=False)


def moe_tp_penalty(space):
    """The study compares two layers with one."""
    values = space.tps_per_chip.sel(tp=4, batch=10)
    losses = (1.0 - values.sel(moe_tp=[2, 4]) / values.sel(moe_tp=1)).transpose("nic", "moe_tp")
    found = dict(zip(values.nic.values.tolist(), losses.values.tolist()))
    text = "; ".join(f"{nic}: {two:.1%} and {four:.1%}" for nic, (two, four) in found.items())
    holds = all(two > 0.09 and four > 0.13 for two, four in found.values())
    return Conclusion("MoE TP 2 and 4 cost 9.3 and 13.9 %", text, holds, expected=False)


def ranking(space):
    """The study's five best, on one switch layer."""
    ranked = best(space, by=["nic"], top=8)
    ranked = ranked.isel(rank=ranked.nic.values == "one-layer")
    found = list(zip(ranked.tp.values.tolist(), ranked.batch.values.tolist()))[:5]
    text = ", ".join(f"TP{tp} B{batch}" for tp, batch in found)
    return Conclusion(f"the five best are {_deployments(TOP_5)}", text, found == TOP_5, expected=False)


def _deployments(pairs):
    return ", ".join(f"TP{tp} B{batch}" for tp, batch in pairs)


def _best(space):
    """The best feasible point of every network, in the order of the axis."""
    ranked = best(space, by=["nic"])
    found = {str(ranked.nic.values[i]): ranked.isel(rank=i) for i in range(ranked.sizes["rank"])}
    return [found[nic] for nic in Results.of(space).space.axes["nic"] if nic in found]


def _name(x):
    return f"{x.nic.values} TP{int(x.tp)} DP{int(x.dp)} EP{int(x.ep)} B{int(x.batch)}"


@dataclasses.dataclass(frozen=True)
class Conclusion:
    """A statement of a study, and whether a search of its spaces bears it out."""

    says: str
    computed: str
    holds: bool
    expected: bool = True  # whether it is known to hold; what does not is shown, not fitted
