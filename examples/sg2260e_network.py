"""What a slower network costs SG2260E, and what 256 chips are worth.

    python examples/sg2260e_network.py

The SG2260E study says that scale-out at 16 instead of 64 GB/s costs 10 to 15 %. Computed from the study's own spaces
(grids sg2260e_decode_128 and _256): once as the finite change, once from the elasticities at 64 GB/s alone. Where
everything adds, T = a + b / bandwidth, so that the share e of the network in T tells the whole curve: a quarter of the
bandwidth gives T (1 + 3 e).
"""

import dsjax

BANDWIDTH = "nic.scale_out_bytes_per_s"


def main():
    best = {}
    for chips in (128, 256):
        ds = dsjax.sweep(f"sg2260e_decode_{chips}")
        top = dsjax.best(ds, by=["nic"])
        best[chips] = {str(x.nic.values): x for x in (top.isel(rank=i) for i in range(top.sizes["rank"]))}
        x = best[chips]["one-layer"]
        at = {name: int(x[name]) for name in ("tp", "moe_tp", "batch")}
        fast, slow = (float(ds.tps_per_chip.sel(nic=nic, **at)) for nic in ("one-layer", "two-layer"))
        e = {
            nic: float(dsjax.sensitivity(ds, wrt=BANDWIDTH, at={"nic": nic, **at}).elasticity.item())
            for nic in ("one-layer", "two-layer")
        }
        print(f"{chips} chips, tp {at['tp']}, batch {at['batch']}")
        change = f"{100 * (slow / fast - 1):+.1f} %"
        print(f"  64 GB/s {fast:.1f} tok/s/chip, 16 GB/s {slow:.1f}: {change} (the study: -10 to -15 %)")
        print(f"  elasticity {e['one-layer']:.4f} at 64 GB/s, {e['two-layer']:.4f} at 16 GB/s")
        share, power = (f"{100 * (x - 1):+.1f} %" for x in (1 / (1 + 3 * e["one-layer"]), 4 ** -e["one-layer"]))
        print(f"  from the elasticity at 64 GB/s: 1 / (1 + 3 e) {share}, as a power law {power}")
        needed = (1.0 / 0.90 - 1.0) / 3.0
        print(f"  -10 % would need an elasticity of {needed:.3f}: {needed / e['one-layer']:.1f} times the computed one")
        if best[chips]["one-layer"].batch != best[chips]["two-layer"].batch:
            print(f"  (the best batch on 16 GB/s is {int(best[chips]['two-layer'].batch)})")
    print("\nWhat 256 chips are worth, per chip")
    for nic in ("one-layer", "two-layer"):
        small, large = best[128][nic], best[256][nic]
        gain = float(large.tps_per_chip / small.tps_per_chip) - 1.0
        rates = f"{float(small.tps_per_chip):.1f} -> {float(large.tps_per_chip):.1f} tok/s/chip"
        print(f"  {nic}: {rates}, {100 * gain:+.1f} % (batch {int(small.batch)} -> {int(large.batch)})")


if __name__ == "__main__":
    main()
