"""InferenceX (InferenceMAX): `agg_*.json` of one run, and lists of them as its site collects.

Source: SemiAnalysisAI/InferenceX, utils/process_result.py (2025-10 to 2026-06): a result of `vllm bench serve` with
times in seconds, rates for each chip, and the layout. Lengths are nominal: its benchmark draws them even between 80 and
100 % of that (benchmarks/benchmark_lib.sh), and sends 10 requests for each user.
"""

import re

from .record import Format, Run

LENGTH_FACTOR = 0.9  # mean over nominal length
_VERSION = re.compile(r":v?(\d+\.\d+[\w.]*)")
_NO_DRAFTS = ("", "none", "off")


def holds(data):
    """Whether a record is one of InferenceX."""
    return {"hw", "conc", "framework", "tput_per_gpu"} <= data.keys()


def read(record):
    """`Run` of a record."""
    users = record.count("conc", needed=True)
    chips = record.count("tp")
    shared = record.flag("dp_attention")
    version = _VERSION.search(record.text("image"))
    said = {
        "concurrency": users,
        "isl": record.count("isl"),
        "osl": record.count("osl"),
        "length_factor": LENGTH_FACTOR,
        "chips": chips,
        "tp": 1 if shared and chips else chips,
        "ep": record.count("ep"),
        "engine_version": version[1] if version else None,
    }
    hardware = re.split(r"[-_]", record.text("hw"))[0]  # the runner: h200-nb, b200-trt
    called = {"model": record.text("model"), "hardware": hardware, "precision": record.text("precision")}
    called["engine"] = record.text("framework")
    drafts = record.text("spec_decoding").lower() not in _NO_DRAFTS or bool(record.get("mtp"))
    rate = record.amount("output_tput_per_gpu", zero=True)
    aside = ""
    if record.flag("disagg") or record.flag("is_multinode"):
        aside = "disaggregated or on several nodes: a file of systems has one instance"
    return Run(
        None,
        said,
        called,
        ttft=record.seconds("mean_ttft", "s"),
        tpot=record.seconds("mean_tpot", "s", zero=True),
        tokens_per_s=rate * chips if rate and chips else None,
        needs=("mtp",) if drafts else (),
        aside=aside,
    )


FORMAT = Format("InferenceX", holds, read)
