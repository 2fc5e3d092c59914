"""InferenceX (InferenceMAX): `agg_*.json` of one run, and lists of them as its site collects.

Source: SemiAnalysisAI/InferenceX, utils/process_result.py (2025-10 to 2026-06): a result of `vllm bench serve` with
times in seconds, rates for each chip, and the layout. Lengths are nominal: its benchmark draws them even between 80 and
100 % of that (benchmarks/benchmark_lib.sh), and sends 10 requests for each user.
"""

import re

from .record import Format, Keys, Run

LENGTH_FACTOR = 0.9  # mean over nominal length
_VERSION = re.compile(r":v?(\d+\.\d+[\w.]*)")
_NO_DRAFTS = ("", "none", "off")


def holds(data):
    """Whether a record is one of InferenceX."""
    return {"hw", "conc", "framework", "tput_per_gpu"} <= data.keys()


def read(record):
    """`Run` of a record."""
    users = record.count("conc", needed=True)
    layout, aside = _layout(record)
    version = _VERSION.search(record.text("image"))
    said = layout | {
        "concurrency": users,
        "isl": record.count("isl"),
        "osl": record.count("osl"),
        "length_factor": LENGTH_FACTOR,
        "engine_version": version[1] if version else None,
    }
    drafts = record.text("spec_decoding").lower() not in _NO_DRAFTS or bool(record.get("mtp"))
    if not drafts:
        said["mtp"] = 0
    hardware = re.split(r"[-_]", record.text("hw"))[0]  # the runner: h200-nb, b200-trt
    called = {"model": record.text("model"), "hardware": hardware, "precision": record.text("precision")}
    called["engine"] = record.text("framework")
    rate, chips = record.amount("output_tput_per_gpu", zero=True), layout.get("chips")
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


def _layout(record):
    """({chips, tp, ep}, why no system can have it); one server on several nodes is written as workers of prompts."""
    nodes = record.flag("is_multinode")
    if record.flag("disagg") or (nodes and record.count("num_decode_gpu", zero=True)):
        return {}, "a pool of prompts and one of decode: a file of systems has one instance"
    if nodes and (record.count("prefill_num_workers") or 1) > 1:
        return {}, "several servers behind one address: a file of systems has one instance"
    prefix = "prefill_" if nodes else ""
    for split in ("pp", "dcp_size", "pcp_size"):
        if (record.count(f"{prefix}{split}") or 1) > 1:
            return {}, f"{prefix}{split}: a split that a file of systems does not describe"
    chips = record.count("num_prefill_gpu") if nodes else record.count("tp")
    tp = 1 if record.flag(f"{prefix}dp_attention") else record.count(f"{prefix}tp")
    return {"chips": chips, "tp": tp, "ep": record.count(f"{prefix}ep")}, ""


FORMAT = Format("InferenceX", holds, read, Keys("mean_ttft", "mean_tpot", "output_tput_per_gpu", units="s"))
