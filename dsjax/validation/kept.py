"""Statistics of `validate` as they were last computed, for those who cannot wait for them to be computed again."""

import json
from pathlib import Path


def file():
    """`accuracy.json`: inside the installed package, or among the documents of a checkout."""
    inside = Path(__file__).parents[1] / "data" / "accuracy.json"
    return inside if inside.exists() else inside.parents[2] / "docs" / "accuracy.json"


def statistics():
    """{"classes": [...], "engines": [...]} of `agreement.by_group`; {} where the file is not there."""
    path = file()
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def class_of(phase, point):
    """The class of `measured.CLASSES` that a point {name: number or label} of a phase is nearest to."""
    if phase in ("prefill", "serve", "disaggregated"):
        return "prefill" if phase == "prefill" else "aggregated"
    if point.get("concurrency") == 1:
        return "one user"
    return "wide EP" if point.get("tp", 1) < point.get("chips", 1) else "small TP decode"
