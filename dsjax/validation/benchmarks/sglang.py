"""SGLang's `python -m sglang.bench_serving`: lines of JSON, one a run.

Source: sgl-project/sglang, python/sglang/bench_serving.py (v0.4 to v0.5); times in ms. `server_info`, where the server
gave it, has its arguments (python/sglang/srt/server_args.py) and its version.
"""

from .record import Format, Run
from .vllm import closed, lengths


def holds(data):
    """Whether a record is one of SGLang's."""
    return {"completed", "duration", "total_output_tokens_retokenized", "output_throughput"} <= data.keys()


def read(record):
    """`Run` of a record."""
    completed = record.count("completed", zero=True, needed=True)
    users, aside = closed(record, completed)
    answer = "concurrency" if aside else ""
    said = {"concurrency": users}
    if completed:
        said |= _lengths(record, completed)
    called, needs = {}, ()
    if record.text("backend").startswith("sglang"):
        called["engine"] = "sglang"
    if record.get("server_info.tp_size") is not None:
        layout, unfit = _layout(record)
        said |= layout
        aside, answer = (unfit, "") if unfit else (aside, answer)
        called["model"] = record.text("server_info.model_path")
        if record.text("server_info.moe_a2a_backend") == "deepep":
            called.pop("engine", None)
            said["engine"] = "sglang-deepep"
    tokens = record.amount("accept_length")
    if tokens and tokens > 1.0:
        said["tokens_per_step"], needs = tokens, ("mtp",)
    errors = record.get("errors")  # with --output-details, "" for a request that was answered
    return Run(
        completed,
        said,
        called,
        ttft=record.seconds("mean_ttft_ms"),
        tpot=record.seconds("mean_tpot_ms", zero=True),
        tokens_per_s=record.amount("output_throughput", zero=True),
        failed=sum(map(bool, errors)) if isinstance(errors, list) else 0,
        version=record.text("server_info.version"),
        needs=needs,
        aside=aside,
        answer=answer,
        asked=record.figure("num_prompts"),
        counted_per_s=record.rate("total_output_tokens", "duration"),
        in_flight=record.figure("concurrency"),
    )


def _lengths(record, completed):
    """Lengths of the requests; of random ones even between `random_range_ratio` and 1 of the longest."""
    found = lengths(record, completed)
    ratio = record.amount("random_range_ratio", zero=True)
    if ratio is None or ratio >= 1.0 or not record.text("dataset_name").startswith("random"):
        return found
    factor = (1.0 + ratio) / 2.0
    return {name: mean / factor for name, mean in found.items()} | {"length_factor": factor}


def _layout(record):
    """({key: value} that the server's arguments say, why no system can have it).

    `tp_size` are all chips; under `enable_dp_attention` groups of tp_size / dp_size of them share an attention.
    Prompts of a step: `chunked_prefill_size`, which the server has divided among the groups.
    """
    chips, groups = record.count("server_info.tp_size"), record.count("server_info.dp_size") or 1
    if (record.count("server_info.pp_size") or 1) > 1:
        return {}, "pp_size: stages of layers, which a file of systems does not describe"
    if groups > 1 and not record.flag("server_info.enable_dp_attention"):
        return {}, f"dp_size {groups} without enable_dp_attention: instances of their own behind one address"
    if chips % groups:
        raise record.wrong("server_info.dp_size", groups, f"a divisor of tp_size = {chips}")
    deepep = record.text("server_info.moe_a2a_backend") == "deepep"
    ep = chips if deepep else record.count("server_info.ep_size") or record.count("server_info.moe_ep_size")
    found = {"chips": chips, "tp": chips // groups, "ep": ep, "engine_version": record.text("server_info.version")}
    if record.get("server_info.chunked_prefill_size") not in (None, -1):
        found["max_prefill_tokens"] = record.count("server_info.chunked_prefill_size")
    if not record.text("server_info.speculative_algorithm"):
        found["mtp"] = 0
    elif record.get("server_info.speculative_eagle_topk") in (None, 1):
        found["mtp"] = record.count("server_info.speculative_num_steps")
    return found, ""


FORMAT = Format("SGLang bench_serving", holds, read)
