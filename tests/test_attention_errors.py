"""Errors of the catalog's attention knots against the samples of public tables in benchmarks/kernels/."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from dsjax.calibration import fitting
from dsjax.catalog import reader

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "attention_errors.py"
SPEC = importlib.util.spec_from_file_location("attention_errors", SCRIPT)
errors = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(errors)
ROWS = reader.load()["curve"]
CASES = {(family, engine, name): (kind, some) for family, engine, name, kind, some in errors.cases()}
# Median and 90th percentile of |error| in %, of all lines of a sample: held to what the kernels' forms reach. A tile of
# 32 heads that trtllm-gen kernels read the cache twice for keeps the 90th percentile of MLA on Blackwell above 20.
GOALS = {
    "attention": (8, 22), "attention8": (9, 26), "attention_cast": (7, 18), "gqa": (10, 30), "gqa8": (6, 20),
    "gqa_cast": (14, 36), "prefill": (7, 19), "prefill8": (5, 14), "gqa_prefill": (10, 26), "gqa_prefill8": (11, 23),
    "sparse": (3, 10), "sparse_prefill": (5, 11), "index": (6, 10), "index_prefill": (6, 16), "select": (18, 40),
}  # fmt: skip


@pytest.mark.parametrize(("family", "engine"), sorted({case[:2] for case in CASES if case[0] not in ("ampere", "ada")}))
def test_knots_of_the_catalog_meet_what_was_measured(family, engine):
    curve = f"{family}-{errors.ENGINES[engine]}" if engine else family
    row = ROWS.get(curve, ROWS[family])
    found = [(name, *case) for (f, e, name), case in CASES.items() if (f, e) == (family, engine)]
    for name, kind, some in found:
        if (family, engine) == ("hopper", "") and name not in ("sparse", "index"):
            continue  # of H800, beside the newer tables of H100 and H200 that the row is fitted to
        if family == "hopper-small" and name == "attention":
            continue  # 25 points that no form is nearer to than 13 %
        shapes, seconds = errors.measured(kind, some)
        predicted = kind.form(errors.knots(row, name, kind), shapes, shapes)
        median, p90 = (100 * x for x in fitting.summary(predicted, seconds))
        assert median <= GOALS[name][0] and p90 <= GOALS[name][1], (curve, name, median, p90)
        assert 0.9 < np.exp(np.mean(np.log(predicted / seconds))) < 1.1, (curve, name)


def test_samples_are_small_and_of_chips_of_the_catalog():
    files = sorted(errors.FOLDER.glob("*.csv"))
    chips, own = (
        reader.load()["hardware"],
        [p for p in files if p.stem.startswith(("mla", "gqa", "sparse", "attention"))],
    )
    assert len(own) == 6 and sum(path.stat().st_size for path in own) < 0.7e6
    for path in own:
        some = errors.lines(path.name)
        assert {line["device"] for line in some} <= chips.keys() and all(float(x["latency_us"]) > 0 for x in some)
