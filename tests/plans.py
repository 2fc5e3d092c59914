"""A small plan that tests ask for, and the spaces that its axes make."""

import dsjax
from dsjax.analysis.plan import pieces

MODEL, HARDWARE, CHIPS = "Qwen3-30B-A3B", "H20", 4
LENGTHS = {"isl": 1024, "osl": 256}
FIXED = {"pipeline": "naive", "sp": 1}
LIMITS = {"max_tpot_p90": 0.008, "max_ttft_p90": 1.0}


def asked(**changes):
    given = {"hardware": HARDWARE, "chips": CHIPS, "tpot": "8ms", "ttft": "1 s", "fixed": FIXED} | LENGTHS | changes
    return dsjax.plan(MODEL, given.pop("hardware"), given.pop("chips"), **given)


def spaces_of(chips, **fixed):
    chosen, catalog = pieces.choice(MODEL, HARDWARE, "CX7", "generic", None, fixed=FIXED | fixed)
    shape = pieces.shape_of(chosen)
    has, _ = pieces.precisions(chosen, shape, catalog)
    return chosen, pieces.of(chosen, shape, has, catalog["engine"], lambda chip: shape.sizes(chip, chips))
