"""Memory of one explained configuration: what takes it, and the largest load that fits."""

from ...analysis.headroom import MOST_SEQUENCES
from ...formats import memory
from .. import output
from ..tables import table

BAR = 48  # characters that stand for the memory of a chip
BESIDE = 42  # what stands beside them


def bar_of(x):
    """Parts of the memory of a chip as a table with bars, and the largest load that fits."""
    parts_of, largest = x["memory"], x["largest"]
    capacity, used = parts_of["capacity"], sum(parts_of["parts"].values())
    room = capacity - parts_of["kept_free"]
    length = max(min(BAR, (output.width() or BAR + BESIDE) - BESIDE), 1)
    scale = length / max(capacity, used)
    parts = parts_of["parts"] | ({"free": room - used} if used < room else {})
    if parts_of["kept_free"] and used <= room:
        parts |= {"kept free": parts_of["kept_free"]}
    rows, at = [], 0.0
    for name, n_bytes in parts.items():
        start, at = round(at * scale), at + n_bytes
        mark = "#" if name in parts_of["parts"] else "."
        bar = (" " * start + mark * max(round(at * scale) - start, 1 if n_bytes else 0)).ljust(length)
        sizes = [f"{n_bytes / 1e9:.2f}", f"{n_bytes / 2**30:.2f}", f"{100 * n_bytes / capacity:.1f}"]
        rows.append([name, *sizes, f"|{bar[: length + 1]}|"])
    heading = f"Memory of one chip, {memory(used)} of {memory(capacity)}:"
    text = f"{heading}\n{table(['', 'GB', 'GiB', '%', ''], rows)}\n"
    capped = largest["in_memory"] == MOST_SEQUENCES  # nothing larger was tried
    load = {"prompts": "number of prompts"}.get(largest["of"], largest["of"])
    chips = x["metrics"]["chips"] if largest["of"] == "batch" else 0

    def number(n):
        return f"{n:,}" + (f" a chip, {n * chips:,.0f} in the instance" if chips else "")

    text += f"  Largest {load} that fits in memory here: {'at least ' * capped}{number(largest['in_memory'])}"
    most = largest["feasible"]
    text += f"\n  that nothing refuses: {number(most)}" if most else "; every one is refused"
    if largest["stopped_by"]:
        text += f"; from {largest['stopped_at']:,} on refused by {largest['stopped_by']}"
    return text
