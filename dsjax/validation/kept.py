"""Statistics of `validate` as they were last computed, for those who cannot wait for them to be computed again."""

import functools
import json

from ..catalog import reader
from . import measured

FILE = reader.DATA / "accuracy.json"  # benchmarks/accuracy_page.py writes it


@functools.cache
def statistics():
    """{"classes": [...], "engines": [...], ...}: errors are |predicted / measured - 1| of the systems that count."""
    return json.loads(FILE.read_text(encoding="utf-8"))


def of_class(name):
    """The statistics of a class of `measured.CLASSES`: "counted", "median", "p90", ..."""
    return next(x for x in statistics()["classes"] if x["group"] == name)


def errors_of(name):
    """{variable of a plan: how far off the measured systems of a class were, and first tokens}."""
    own, first = of_class(name), of_class("first token")
    row = {"system_class": name, "systems": float(own["counted"])}
    row |= {f"error_{of}": own[of] for of in ("median", "p90")}
    return row | {f"ttft_error_{of}": first[of] for of in ("median", "p90")}


def class_of(phase, point):
    """The class that a point {name: number or label} of a phase is nearest to."""
    if phase in ("prefill", "serve", "disaggregated"):
        return "prefill" if phase == "prefill" else "aggregated"
    return measured.decode_kind(point.get("concurrency") == 1, 0.0, point.get("tp", 1), point.get("chips", 1))
