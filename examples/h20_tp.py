"""Would tensor parallelism help H20? The 2025 GPU study says so without computing it; here it is computed.

    python examples/h20_tp.py

H20 on the default grid of the core model (decode, at least 20 tokens/s per user): the best feasible point of every tp,
and what limits each of them. Efficiencies of GEMMs, experts and attention are fitted to measurements of H20, those
of the network assumed: read the ranking.
"""

import dsjax
from dsjax.formulas.metrics import LIMITS

GRID = {
    "hardware": "H20",
    "nic": "CX7",
    "precision": "fp8",
    "pipeline": "sbo",
}  # the pipeline that is best at every tp


def main():
    ds = dsjax.sweep("default", fixed=GRID, blocks=False)
    ranked = dsjax.best(ds, by=["tp"])
    best = {int(point.tp): point for point in (ranked.isel(rank=i) for i in range(ranked.sizes["rank"]))}
    print("H20, CX7, fp8, context 5120, single batch overlap: the best feasible point of every tp")
    for tp in ds.tp.values.tolist():
        if tp not in best:
            print(f"  tp {tp}: no feasible point")
            continue
        x = best[tp]
        rates = f"{float(x.tps_per_chip):6.1f} tok/s/chip, {float(x.tps_per_user):5.1f} tok/s/user"
        choices = f"ep {int(x.ep)}, batch {int(x.batch):3}, mtp {int(x.mtp)}"
        print(f"  tp {tp}: {rates}, {choices}, bound by {LIMITS[int(x.bottleneck)]}")
    top = max(best, key=lambda tp: float(best[tp].tps_per_chip))
    if 1 in best:
        gain = float(best[top].tps_per_chip / best[1].tps_per_chip) - 1.0
        print(f"tp {top} is best: {100 * gain:+.1f} % against the best of tp 1")

    print("\nd ln(tok/s/chip) / d ln x there, and with the batch chosen anew under the same bounds")
    result = dsjax.sensitivity(ds, envelope=True)
    order = abs(result.elasticity).argsort().values[::-1][:6]
    for x in (result.isel(parameter=i) for i in order):
        print(f"  {x.parameter.item():30} {float(x.elasticity):+.3f}   {float(x.elasticity_reoptimised):+.3f}")
    held = [str(name) for name, active in zip(result.limit.values, result.active.values) if active]
    print(f"best real batch {float(result.relaxed_load):.1f}, held by {', '.join(held) or 'nothing'}")
    for x in (result.isel(neighbour=i) for i in range(result.sizes["neighbour"])):
        if x.neighbour_axis.item() == "tp":
            refused = x.neighbour_refused_by.item() or "nothing"
            change = f"{100 * float(x.neighbour_change):+.1f} %"
            print(f"  {x.neighbour.item()} at the same batch: {change}, refused by {refused}")


if __name__ == "__main__":
    main()
