"""GenAI-Perf's `profile_export_genai_perf.json` and AIPerf's `profile_export_aiperf.json`: one JSON object a run.

Sources: triton-inference-server/perf_analyzer, genai-perf/genai_perf/export_data/json_exporter.py (0.0.8 to 0.0.16);
ai-dynamo/aiperf, src/aiperf/common/models/export_models.py (schema 1.0 to 1.4). A metric is a table with its unit and
`avg`. What was asked for is `input_config`: flat, under `perf_analyzer.stimulus`, under `loadgen`, or a list `phases`.
`inter_token_latency` there is (latency - first token) / (output tokens - 1) of a request: the time of a token.
"""

from .record import AT_A_RATE, SECONDS, Format, Keys, Run

_CONFIGS = ("input_config", "input_config.perf_analyzer.stimulus", "input_config.loadgen")
_PER_S = ("tokens/sec", "tokens/s")


def _metrics(data):
    return all(isinstance(data.get(name), dict) for name in ("request_throughput", "request_latency"))


def holds_aiperf(data):
    """Whether a record is one of AIPerf's."""
    return "aiperf_version" in data or (_metrics(data) and "was_cancelled" in data)


def holds(data):
    """Whether a record is one of GenAI-Perf's."""
    return _metrics(data) and isinstance(data.get("input_config"), dict)


def read(record):
    """`Run` of a record."""
    if record.get("request_latency") is None:
        raise record.wrong("request_latency", None, "a table of a metric, as of schema 1")
    users, rate = _asked(record, "concurrency"), _rate_asked(record)
    requests = record.amount("request_count.avg", zero=True)
    requests = _asked(record, "request_count") if requests is None else requests
    said = {
        "concurrency": users,
        "isl": record.amount("input_sequence_length.avg"),
        "osl": record.amount("output_sequence_length.avg"),
        "date": record.text("start_time")[:10] or None,
    }
    failed = record.amount("error_request_count.avg", zero=True)
    for key, ended in (("was_cancelled", False), ("is_complete", True)):
        if record.get(key) is not None and record.flag(key) != ended:
            raise record.wrong(key, not ended, "a run that came to its end")
    return Run(
        None if requests is None else int(requests),
        said,
        {"model": _model(record)},
        ttft=_seconds(record, "time_to_first_token"),
        tpot=_seconds(record, "inter_token_latency"),
        tokens_per_s=_rate(record, "output_token_throughput"),
        failed=int(failed or 0),
        version=record.text("aiperf_version"),
        aside=AT_A_RATE.format(rate) if rate else "",
        answer="concurrency",
        counted_per_s=_counted(record, requests),
    )


def _phase(record):
    """The `Record` of the phase that was measured, of a list of them."""
    phases = record.get("input_config.phases") if isinstance(record.get("input_config"), dict) else None
    if not isinstance(phases, list):
        return None
    named = [x for x in phases if isinstance(x, dict) and "profiling" in (x.get("kind"), x.get("name"))]
    return record._replace(data=named[0]) if named else None


def _asked(record, name):
    """A number of what was asked for, wherever the version of the tool keeps it; None where nowhere, or 0."""
    phase = _phase(record)
    if phase is not None:
        return phase.count({"request_count": "requests"}.get(name, name), zero=True) or None
    for place in _CONFIGS:
        if isinstance(record.get(place), dict) and record.get(f"{place}.{name}") is not None:
            number = record.amount if name == "request_rate" else record.count
            return number(f"{place}.{name}", zero=True) or None
    return None


def _rate_asked(record):
    """The rate at which requests were sent, or how, None where users waited for their answers."""
    phase = _phase(record)
    kind = phase.text("type") if phase else ""
    return kind if kind not in ("", "concurrency") else _asked(record, "request_rate")


def _model(record):
    config = record.get("input_config") or {}
    items = record.get("input_config.models.items") if isinstance(config.get("models"), dict) else None
    named = config.get("model_names") or config.get("model") or items
    if not named and isinstance(config.get("endpoint"), dict):
        named = config["endpoint"].get("model_names")
    named = named[0] if isinstance(named, list) and named else named
    named = named.get("name") if isinstance(named, dict) else named
    return named if isinstance(named, str) else ""


def _seconds(record, name):
    """The mean of a time, in its own unit [s]."""
    units = record.text(f"{name}.unit") if record.get(name) is not None else ""
    if units and units not in SECONDS:
        raise record.wrong(f"{name}.unit", units, f"one of {', '.join(SECONDS)}")
    return record.seconds(f"{name}.avg", units or "ms", zero=True) or None


def _counted(record, requests):
    """Output tokens of all requests over the time of the run."""
    of = record.data.get("benchmark_duration")
    units = SECONDS.get(str(of.get("unit"))) if isinstance(of, dict) else None
    each = record.rate("output_sequence_length.avg", "benchmark_duration.avg")
    return requests * each * units if requests and each and units else None


def _rate(record, name):
    units = record.text(f"{name}.unit") if record.get(name) is not None else ""
    if units and units not in _PER_S:
        raise record.wrong(f"{name}.unit", units, f"one of {', '.join(_PER_S)}")
    return record.amount(f"{name}.avg", zero=True)


KEYS = Keys(
    "time_to_first_token.avg",
    "inter_token_latency.avg",
    "output_token_throughput.avg",
    "request_count x output_sequence_length / benchmark_duration",
    "",
)
AIPERF, GENAI_PERF = (Format(name, f, read, KEYS) for name, f in (("AIPerf", holds_aiperf), ("GenAI-Perf", holds)))
