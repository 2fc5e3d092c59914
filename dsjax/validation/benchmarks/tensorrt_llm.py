"""TensorRT-LLM's `trtllm-bench throughput|latency --report_json`: one JSON object a run.

Source: NVIDIA/TensorRT-LLM, tensorrt_llm/bench/dataclasses/reporting.py (v1.0 to v1.3); times in ms.
`streaming_metrics` are there with --streaming alone. The concurrency asked for is not in it, only the mean of requests
in flight, nor is whether attention is data parallel: its chips are `tp_size` where the user says nothing else.
"""

from .record import Format, Keys, Run


def holds(data):
    """Whether a record is one of `trtllm-bench`."""
    return {"engine", "world_info", "request_info", "performance"} <= data.keys()


def read(record):
    """`Run` of a record."""
    completed = record.count("request_info.num_requests", zero=True, needed=True)
    chips = record.count("world_info.world_size") or record.count("world_info.tp_size")
    said = {
        "chips": chips,
        "tp": record.count("world_info.tp_size"),
        "ep": record.count("world_info.ep_size"),
        "isl": record.amount("request_info.avg_input_length"),
        "osl": record.amount("request_info.avg_output_length"),
        "max_batch": record.count("world_info.max_batch_size"),
        "chunk_tokens": record.count("world_info.max_num_tokens"),
        "engine": "tensorrt-llm",
        "engine_version": record.text("engine.version"),
    }
    model = record.text("engine.model") or record.text("engine.model_path")
    called = {"model": model, "hardware": record.text("machine.name"), "precision": _precision(record)}
    users = record.amount("request_info.avg_num_concurrent_requests")
    if users:
        called["concurrency"] = f"{users:g} in flight on average"
    needs = ()
    if record.get("decoding_stats"):
        needs = ("mtp",)
        said["tokens_per_step"] = record.amount("decoding_stats.acceptance_length_percentiles.average")
    tokens_per_s = record.rate("request_info.avg_output_length", "performance.total_latency_ms", "ms")  # of one request
    staged = (record.count("world_info.pp_size") or 1) > 1
    return Run(
        completed,
        said,
        called,
        ttft=record.seconds("streaming_metrics.avg_ttft_ms"),
        tpot=record.seconds("streaming_metrics.avg_tpot_ms", zero=True),
        tokens_per_s=record.amount("performance.system_output_throughput_tok_s", zero=True),
        version=record.text("engine.version"),
        needs=needs,
        aside="pp_size: stages of layers, which a file of systems does not describe" if staged else "",
        counted_per_s=completed * (tokens_per_s or 0.0) or None,
        in_flight=users,
    )


def _precision(record):
    """What the report says of weights and cache: "fp8_block_scales, cache fp8"."""
    weights = record.text("engine.quantization") or record.text("engine.dtype")
    cache = record.text("engine.kv_cache_dtype").lower()
    return weights.lower() + (f", cache {cache}" if cache and cache != "auto" else "")


KEYS = Keys(
    "streaming_metrics.avg_ttft_ms",
    "streaming_metrics.avg_tpot_ms",
    "performance.system_output_throughput_tok_s",
    "num_requests x avg_output_length / total_latency_ms",
)
FORMAT = Format("TensorRT-LLM trtllm-bench", holds, read, KEYS)
