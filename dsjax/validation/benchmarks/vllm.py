"""`vllm bench serve --save-result`: one JSON object a run, lines of them with --append-result.

Source: vllm-project/vllm, vllm/benchmarks/serve.py (v0.8, as benchmarks/benchmark_serving.py, to v0.11); times in ms.
It names no server: chips, layout, engine and version are the user's to say.
"""

from .record import AT_A_RATE, Format, Run


def closed(record, requests):
    """(users, why the run has none) of a client that knows --request-rate and --max-concurrency.

    All requests at once (no rate, no limit) are as many users with one request each.
    """
    rate, users = record.get("request_rate"), record.count("max_concurrency")
    if record.get("ramp_up_strategy"):
        rate = record.text("ramp_up_strategy")
    if rate not in (None, "inf", float("inf")):
        return None, AT_A_RATE.format(rate)
    return users or requests, ""


def lengths(record, completed):
    """{isl, osl: mean tokens of the requests that were answered}."""
    totals = {name: record.count(f"total_{key}_tokens") for name, key in (("isl", "input"), ("osl", "output"))}
    return {name: total / completed for name, total in totals.items() if total}


def holds(data):
    """Whether a record is one of `vllm bench serve`."""
    return {"model_id", "completed", "duration", "total_input_tokens", "request_throughput"} <= data.keys()


def read(record):
    """`Run` of a record."""
    completed = record.count("completed", zero=True, needed=True)
    requests = record.count("num_prompts") or completed
    failed = record.count("failed", zero=True)
    users, aside = closed(record, requests)
    said = {"concurrency": users, "date": _day(record.text("date"))}
    if completed:
        said |= lengths(record, completed)
    # Drafts are counted by the server: all of a step, and those accepted beside the token of its own.
    drafts, tokens = record.count("spec_decode_num_drafts"), record.count("spec_decode_draft_tokens")
    if drafts and tokens:
        said |= {"mtp": round(tokens / drafts), "tokens_per_step": record.amount("spec_decode_acceptance_length")}
    return Run(
        completed,
        said,
        {"model": record.text("model_id")},
        ttft=record.seconds("mean_ttft_ms"),
        tpot=record.seconds("mean_tpot_ms", zero=True),
        tokens_per_s=record.amount("output_throughput", zero=True),
        failed=max(requests - completed, 0) if failed is None else failed,
        aside=aside,
        answer="concurrency",
        asked=record.count("num_prompts"),
        counted_per_s=record.rate("total_output_tokens", "duration"),
    )


def _day(text):
    """ "20250919-123456" -> "2025-09-19"; any other text stays."""
    day = text[:8]
    return f"{day[:4]}-{day[4:6]}-{day[6:]}" if len(day) == 8 and day.isdigit() else text or None


FORMAT = Format("vllm bench serve", holds, read)
