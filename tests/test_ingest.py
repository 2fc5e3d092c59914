"""`dsjax ingest`: result files of benchmarks, each format's figures read back, and what is refused.

The files of tests/data/benchmarks have the form of the tool and version that they are named after, and made-up figures.
"""

import copy
import json
import math
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from console import command

import dsjax
from dsjax.errors import Remark
from dsjax.validation import systems
from dsjax.validation.benchmarks import names, record

FILES = Path(__file__).parent / "data" / "benchmarks"
SERVER = dict(hardware="H200", precision="fp8", engine="vllm", tp=8, dp=1, ep=1)
# file: (options that it lacks, what a file of systems then says of each run, in SI)
CASES = {
    "vllm_0.11.json": (
        SERVER,
        [dict(date="2026-02-14", model="DeepSeek-R1", concurrency=32, isl=1024, osl=512, requests_per_user=10.0)],
        [dict(value=0.0305, ttft=0.4, tps_per_chip=128.0, chips=8, tp=8, ep=1)],
    ),
    "sglang_0.5.5.jsonl": (
        dict(hardware="H800", precision="fp8"),
        [
            dict(model="DeepSeek-V3", engine="sglang", engine_version="0.5.5", concurrency=64, max_prefill_tokens=4096),
            dict(chips=16, tp=4, ep=16, isl=2048, osl=1024, length_factor=0.75, concurrency=128, requests_per_user=8.0),
        ],
        [dict(value=0.024, ttft=0.52, tps_per_chip=150.0), dict(value=0.03125, ttft=0.84, tps_per_chip=240.0)],
    ),
    "tensorrt_llm_1.2.json": (
        dict(concurrency=32),
        [dict(model="DeepSeek-R1", hardware="H200", precision="fp8", engine="tensorrt-llm", engine_version="1.2.0")],
        [dict(value=0.0235, ttft=0.31, tps_per_chip=163.84, chips=8, tp=8, ep=8, max_batch=64, chunk_tokens=8192)],
    ),
    "aiperf_0.10.json": (
        dict(hardware="H200", precision="fp8-kv8", engine="vllm", tp=4, dp=2, ep=8),
        [dict(model="Qwen3-235B-A22B", date="2026-06-13", concurrency=16, isl=4096, osl=512, requests_per_user=10.0)],
        [dict(value=0.02, ttft=0.25, tps_per_chip=96.0, chips=8, tp=4)],
    ),
    "genai_perf_0.0.12.json": (
        dict(hardware="H100", precision="bf16", engine="tensorrt-llm", tp=8, chips=8),
        [dict(model="Llama-3.1-70B", concurrency=16, isl=4096, osl=512, ep=1)],
        [dict(value=0.02, ttft=0.25, tps_per_chip=96.0)],
    ),
    "inferencex_2026_06.json": (
        {},
        [
            dict(model="DeepSeek-R1", hardware="H200", precision="fp8", engine="sglang", engine_version="0.5.12"),
            dict(chips=8, tp=8, ep=1, concurrency=32, isl=8192, osl=1024, length_factor=0.9),
        ],
        [dict(value=0.02, ttft=0.68, tps_per_chip=94.0), dict(value=0.031, ttft=0.97, tps_per_chip=121.0)],
    ),
}
FORMATS = {"vllm": "vllm bench serve", "sglang": "SGLang bench_serving", "tensorrt": "TensorRT-LLM trtllm-bench"}
FORMATS |= {"aiperf": "AIPerf", "genai": "GenAI-Perf", "inferencex": "InferenceX"}


def data_of(name):
    """The runs of a file, to change."""
    text = (FILES / name).read_text()
    return [json.loads(line) for line in text.splitlines()] if name.endswith("l") else json.loads(text)


def written(path, data, **changes):
    """A file of one run, with keys changed, or removed (None); "a.b" is b of the table a."""
    data = copy.deepcopy(data)
    for key, value in changes.items():
        *tables, last = key.split(".")
        place = data
        for table in tables:
            place = place[table]
        if value is None:
            place.pop(last)
        else:
            place[last] = value
    path.write_text(json.dumps(data))
    return path


def rows_of(ds):
    """Rows of the file that was made, as `validate` completes them, first tokens aside."""
    found = systems.of_tables(tomllib.loads(ds.attrs["text"]), "made.toml").systems
    return [row for row in found if not row.used["id"].endswith("-first")]


@pytest.mark.parametrize("name", CASES)
def test_figures_of_each_format(name):
    options, says, measured = CASES[name]
    ds = dsjax.ingest(FILES / name, **options)
    rows = rows_of(ds)
    assert len(rows) == len(measured) == ds.sizes["system"]
    for i, (row, wanted) in enumerate(zip(rows, measured, strict=True)):
        said = says[min(i, len(says) - 1)] | wanted
        assert {key: row.given.get(key) for key in said if key not in ("ttft",)} == pytest.approx(
            {key: value for key, value in said.items() if key != "ttft"}
        )
        assert ds["ttft"].values[i] == pytest.approx(wanted["ttft"])
        assert (
            row.given["source"].startswith(name)
            and next(x for k, x in FORMATS.items() if name.startswith(k)) in (row.given["source"])
        )
    assert row.phase == "serve"


def test_first_tokens_are_systems_of_their_own():
    ds = dsjax.ingest(FILES / "vllm_0.11.json", **SERVER)
    token, first = systems.of_tables(tomllib.loads(ds.attrs["text"]), "made.toml").systems
    assert (token.used["metric"], token.used["value"]) == ("tpot", 0.0305)
    assert (first.used["metric"], first.used["value"]) == ("ttft", 0.4)


def test_several_files_are_one_study(tmp_path):
    base = data_of("vllm_0.11.json")
    paths = [written(tmp_path / f"c{n}.json", base, max_concurrency=n, num_prompts=320) for n in (16, 64)]
    ds = dsjax.ingest(paths, study="mine", **SERVER)
    assert ds["system"].values.tolist() == ["c16-1024-512-C16", "c64-1024-512-C64"]
    assert [row.used["study"] for row in rows_of(ds)] == ["mine", "mine"]
    (tmp_path / "other").mkdir()
    alike = written(tmp_path / "other" / "c16.json", base, max_concurrency=16)
    ds = dsjax.ingest([paths[0], alike], **SERVER)
    assert ds["system"].values.tolist() == ["c16-1024-512-C16", "c16-1024-512-C16-2"]


def test_a_file_counts_once(tmp_path):
    """Whatever it is called: under its own name again, by a link, and around a folder."""
    path, out = written(tmp_path / "a.json", data_of("vllm_0.11.json")), tmp_path / "s.toml"
    (tmp_path / "link.json").symlink_to(path)
    for other in (path, tmp_path / "link.json", f"{tmp_path}/../{tmp_path.name}/a.json"):
        with pytest.raises(dsjax.InputError, match="given twice.*; expected each result file once") as error:
            dsjax.ingest([path, other], output=out, **SERVER)
        assert (f"also as {path}" in str(error.value)) == (other is not path) and not out.exists()


def test_lines_and_lists_are_runs(tmp_path):
    """Objects one after the other, without a line between them too, and a list."""
    base, path = data_of("vllm_0.11.json"), tmp_path / "runs.json"
    for text in (json.dumps(base) * 2, f"{json.dumps(base)}\n\n{json.dumps(base, indent=1)}\n", json.dumps([base] * 2)):
        path.write_text("\ufeff" + text)
        assert dsjax.ingest(path, **SERVER).sizes["system"] == 2


def test_options_win_over_the_file_and_are_named(tmp_path):
    ds = dsjax.ingest(FILES / "tensorrt_llm_1.2.json", concurrency=32, tp=1, hardware="H100")
    assert (ds["tp"].item(), ds["hardware"].item()) == (1, "H100")
    caveat = ds["caveat"].item()
    assert "not in the file: concurrency" in caveat and "not as there: hardware, tp" in caveat


@pytest.mark.parametrize(
    ("key", "text", "row"),
    [
        ("model", "deepseek-ai/DeepSeek-R1-0528", "DeepSeek-R1"),
        ("model", "/models/DeepSeek-V3-0324/", "DeepSeek-V3"),
        ("model", "nvidia/DeepSeek-R1-0528-FP4-v2", "DeepSeek-R1"),
        ("model", "meta-llama/Meta-Llama-3.1-405B-Instruct-FP8", "Llama-3.1-405B"),
        ("model", "deepseek-ai/DeepSeek-R1-Distill-Qwen-32B", None),
        ("model", "deepseek-ai/DeepSeek-V3.1", None),
        ("hardware", "NVIDIA H100 80GB HBM3", "H100"),
        ("hardware", "NVIDIA H100 PCIe", None),
        ("hardware", "NVIDIA H20-3e", None),
        ("hardware", "AMD Instinct MI300X", "MI300X"),
        ("hardware", "gb200", "GB200"),
        ("precision", "fp4", None),  # nvfp4 or mxfp4: dsjax's own fp4 is neither
        ("precision", "fp8_block_scales, cache fp8", "fp8-kv8"),
        ("precision", "nvfp4, cache fp8", None),
        ("engine", "trt", "tensorrt-llm"),
        ("engine", "dynamo-sglang", None),
    ],
)
def test_names(key, text, row):
    rows = dsjax.catalog.reader.load()
    assert names.row(key, text, rows[key]) == row


def test_all_at_once_are_users_with_one_request_each(tmp_path):
    path = written(tmp_path / "a.json", data_of("vllm_0.11.json"), max_concurrency=None)
    [row] = rows_of(dsjax.ingest(path, **SERVER))
    assert (row.used["concurrency"], row.used["requests_per_user"]) == (320, 1.0)
    path = written(tmp_path / "a.json", data_of("vllm_0.11.json"), max_concurrency=1000)
    [row] = rows_of(dsjax.ingest(path, **SERVER))
    assert row.used["concurrency"] == 320


def test_without_streaming_the_rate_is_measured(tmp_path):
    path = written(tmp_path / "a.json", data_of("tensorrt_llm_1.2.json"), streaming_metrics=None)
    [row] = rows_of(dsjax.ingest(path, concurrency=32))
    assert (row.used["metric"], row.used["value"], row.phase) == ("mixed", 163.84, "serve")


def test_one_token_a_request_is_a_first_token(tmp_path):
    changes = {"total_output_tokens": 320, "output_throughput": 2.0, "mean_tpot_ms": 0.0}
    ds = dsjax.ingest(written(tmp_path / "a.json", data_of("vllm_0.11.json"), **changes), **SERVER)
    assert (ds["metric"].item(), ds["value"].item(), ds["ttft"].item()) == ("ttft", 0.4, 0.4)


def test_drafts(tmp_path):
    drafts = {"num_drafts": 1000, "draft_tokens": 3000, "accepted_tokens": 1500, "acceptance_length": 2.5}
    changes = {f"spec_decode_{key}": value for key, value in drafts.items()}
    [row] = rows_of(dsjax.ingest(written(tmp_path / "a.json", data_of("vllm_0.11.json"), **changes), **SERVER))
    assert (row.used["mtp"], row.used["tokens_per_step"]) == (3, 2.5)
    base = data_of("sglang_0.5.5.jsonl")[0] | {"accept_length": 1.8}
    server = {"speculative_algorithm": "EAGLE", "speculative_num_steps": 1, "speculative_eagle_topk": 1}
    base["server_info"] |= server | {"moe_a2a_backend": "deepep"}
    [row] = rows_of(dsjax.ingest(written(tmp_path / "b.json", base), hardware="H800", precision="fp8"))
    assert (row.used["mtp"], row.used["tokens_per_step"], row.used["engine"]) == (1, 1.8, "sglang-deepep")
    base["server_info"] = None
    with pytest.raises(dsjax.InputError, match=r"leaves open model, chips, tp, ep, mtp; expected .*, ep, mtp$"):
        dsjax.ingest(written(tmp_path / "b.json", base), hardware="H800", precision="fp8")


def test_units_of_genai_perf(tmp_path):
    base = data_of("genai_perf_0.0.12.json")
    metric = {"unit": "us", "avg": 250000.0}
    ds = dsjax.ingest(
        written(tmp_path / "a.json", base, time_to_first_token=metric), **CASES["genai_perf_0.0.12.json"][0]
    )
    assert ds["ttft"].item() == 0.25


def test_concurrency_of_every_version_of_genai_perf_and_aiperf(tmp_path):
    base, options = data_of("genai_perf_0.0.12.json"), CASES["genai_perf_0.0.12.json"][0]
    nested = {"model_names": ["Llama-3.1-70B"], "perf_analyzer": {"stimulus": {"concurrency": 8}}}
    old = {"endpoint": {"model_names": ["Llama-3.1-70B"]}, "loadgen": {"concurrency": 8}}
    for config, more in ((nested, {}), (old, {"aiperf_version": "0.3.0"})):
        ds = dsjax.ingest(written(tmp_path / "a.json", base | more, input_config=config), **options)
        assert (ds["concurrency"].item(), ds["model"].item()) == (8, "Llama-3.1-70B")


def test_all_that_is_missing_is_named_at_once():
    with pytest.raises(dsjax.InputError) as error:
        dsjax.ingest(FILES / "vllm_0.11.json")
    wanted = "hardware, precision, engine, chips, tp, ep"
    assert str(error.value).endswith(f"leaves open hardware, precision, engine, chips, tp, ep; expected {wanted}")
    with pytest.raises(dsjax.InputError, match="concurrency .'31.2 in flight on average' there.; expected concurr"):
        dsjax.ingest(FILES / "tensorrt_llm_1.2.json")


RATE = {"request_rate": 4.0}
VLLM, SGLANG, TRT = "vllm_0.11.json", "sglang_0.5.5.jsonl", "tensorrt_llm_1.2.json"
AIPERF, GENAI, INFERENCEX = "aiperf_0.10.json", "genai_perf_0.0.12.json", "inferencex_2026_06.json"
BAD = [
    (VLLM, {"completed": 0}, "no request was answered"),
    (
        VLLM,
        {"completed": 300, "failed": 20},
        "requests failed; expected a run without, or allow_failures=True",
    ),
    (VLLM, {"completed": 300, "failed": None}, "20 of 320 requests failed"),
    (VLLM, {"mean_ttft_ms": float("nan")}, "mean_ttft_ms: nan is not finite"),
    (VLLM, {"mean_tpot_ms": float("inf")}, "mean_tpot_ms: inf is not finite"),
    (VLLM, {"mean_tpot_ms": "30.5"}, "mean_tpot_ms: '30.5'; expected a number"),
    (VLLM, {"mean_tpot_ms": -1.0}, "mean_tpot_ms: -1.0 is out of range"),
    (VLLM, {"completed": True}, "completed: 'True'; expected a number"),
    (VLLM, {"completed": 10**400}, "completed: "),
    (VLLM, {"max_concurrency": 2.5}, "max_concurrency: 2.5 is not an integer"),
    (VLLM, {"model_id": ["a"]}, "model_id: .*; expected a text"),
    (VLLM, {"total_output_tokens": 0}, "total_output_tokens: 0 is out of range"),
    (VLLM, RATE, "requests come at a rate .4.0.*; expected a run .* or concurrency"),
    (VLLM, {"ramp_up_strategy": "linear"}, "requests come at a rate .linear."),
    (VLLM, {"mean_tpot_ms": None, "output_throughput": None}, "neither a time of a token nor a rate"),
    (SGLANG, RATE, "requests come at a rate"),
    (SGLANG, {"server_info.pp_size": 2}, "stages of layers, which a file of systems does not describe; expected a run"),
    (SGLANG, {"server_info.enable_dp_attention": False}, "dp_size 4 without enable_dp_attention"),
    (SGLANG, {"server_info.dp_size": 3}, "dp_size: '3'; expected a divisor of tp_size = 16"),
    (SGLANG, {"server_info": "x"}, "server_info: 'x'; expected a table"),
    (SGLANG, {"errors": ["", "timed out"]}, "1 of 513 requests failed"),
    (TRT, {"request_info.num_requests": 0}, "no request was answered"),
    (TRT, {"world_info.pp_size": 2}, "stages of layers"),
    (TRT, {"world_info": []}, "world_info: .*; expected a table"),
    (AIPERF, {"was_cancelled": True}, "was_cancelled: 'True'; expected a run that came to its end"),
    (AIPERF, {"is_complete": False}, "is_complete: 'False'; expected a run that came to its end"),
    (AIPERF, {"error_request_count": {"unit": "requests", "avg": 3.0}}, "3 of 163 requests failed"),
    (AIPERF, {"time_to_first_token.unit": "fortnight"}, "time_to_first_token.unit: 'fortnight'; expected one of s, "),
    (AIPERF, {"request_latency": None, "metrics": {}}, "request_latency: missing; expected .* schema 1"),
    (AIPERF, {"input_config.phases": [{"name": "profiling", "type": "poisson", "rate": 3.0}]}, "at a rate .poisson."),
    (GENAI, {"request_count.avg": 0.0}, "no request was answered"),
    (GENAI, {"input_config.request_rate": 2.0, "input_config.concurrency": None}, "requests come at a rate .2.0."),
    (INFERENCEX, {"disagg": True}, "a pool of prompts and one of decode.*; expected a run of one instance"),
    (INFERENCEX, {"is_multinode": True, "num_decode_gpu": 8}, "a pool of prompts and one of decode"),
    (INFERENCEX, {"is_multinode": True, "prefill_num_workers": 2}, "several servers behind one address"),
    (INFERENCEX, {"dcp_size": 8}, "dcp_size: a split that a file of systems does not describe"),
    (INFERENCEX, {"spec_decoding": "mtp"}, r"leaves open mtp; expected mtp$"),
    (INFERENCEX, {"dp_attention": "maybe"}, "dp_attention: 'maybe'; expected true or false"),
    (INFERENCEX, {"conc": None, "conc2": 1}, "of no format that is read"),
]


@pytest.mark.parametrize(("name", "changes", "says"), BAD, ids=[f"{x[0].split('_')[0]}-{i}" for i, x in enumerate(BAD)])
def test_runs_that_are_refused(tmp_path, name, changes, says):
    data = data_of(name)
    path = written(tmp_path / "a.json", data[0] if isinstance(data, list) else data, **changes)
    options = CASES[name][0] | ({"engine": "sglang"} if name == SGLANG else {})
    with pytest.raises(dsjax.InputError, match=says) as error:
        dsjax.ingest(path, **options)
    assert str(error.value).startswith(f"{path}: ") and "\n" not in str(error.value)


def keys_of(table, above=()):
    for key, value in table.items():
        yield (*above, key)
        if isinstance(value, dict):
            yield from keys_of(value, (*above, key))


@pytest.mark.parametrize("name", CASES)
def test_whatever_stands_under_a_key(tmp_path, name):
    """It is read, or refused in one line: nothing else is raised."""
    data, refused = data_of(name), 0
    data = data[0] if isinstance(data, list) else data
    for keys in keys_of(data):
        for value in ("\ud800", [], float("nan")):
            made = copy.deepcopy(data)
            place = made
            for key in keys[:-1]:
                place = place[key]
            place[keys[-1]] = value
            (tmp_path / "a.json").write_text(json.dumps(made))
            try:
                dsjax.ingest(tmp_path / "a.json", **CASES[name][0])
            except dsjax.InputError as error:
                assert "\n" not in str(error)
                refused += 1
    assert refused > 20


def test_runs_of_a_list(tmp_path):
    """Conditions choose runs; drafts that are said are for the runs with drafts; one server on two nodes."""
    ds = dsjax.ingest(FILES / INFERENCEX, where=["conc=32"])
    assert ds["concurrency"].values.tolist() == [32]
    with pytest.raises(dsjax.InputError, match="no run with hw=b200; expected keys"):
        dsjax.ingest(FILES / INFERENCEX, where=["hw=b200"])
    with pytest.raises(dsjax.InputError, match="where: .'hw'.; expected conditions KEY=VALUE"):
        dsjax.ingest(FILES / INFERENCEX, where=["hw"])
    first, second, _ = data_of(INFERENCEX)
    layout = {"prefill_tp": 16, "prefill_ep": 16, "prefill_dp_attention": "true", "num_prefill_gpu": 16}
    nodes = first | layout | {"is_multinode": True, "num_decode_gpu": 0, "prefill_num_workers": 1}
    (tmp_path / "a.json").write_text(json.dumps([first, second | {"spec_decoding": "mtp"}, nodes]))
    rows = rows_of(dsjax.ingest(tmp_path / "a.json", mtp=1))
    assert [row.used["mtp"] for row in rows] == [0, 1, 0]
    assert {key: rows[2].used[key] for key in ("chips", "tp", "ep")} == {"chips": 16, "tp": 1, "ep": 16}


def test_a_run_at_a_rate_with_users_said(tmp_path):
    path = written(tmp_path / "a.json", data_of(VLLM), **RATE)
    [row] = rows_of(dsjax.ingest(path, concurrency=12, **SERVER))
    assert row.used["concurrency"] == 12 and "requests come at a rate" in row.used["caveat"]
    assert "requests_per_user" not in row.given


def test_failures_are_taken_where_they_are_allowed(tmp_path):
    path = written(tmp_path / "a.json", data_of(VLLM), completed=300, failed=20)
    ds = dsjax.ingest(path, allow_failures=True, **SERVER)
    assert "20 requests failed" in ds["caveat"].item()


FILES_REFUSED = {
    "": "empty",
    " \n": "empty",
    "[]": "empty",
    "hello": "line 1: Expecting value; expected JSON",
    '{"a": 1}\n{"b": ': "line 2: ",
    "3": "'3'; expected a table of results",
    '{"a": 1, "b": [2]}': "keys a, b: of no format that is read; expected one of InferenceX, TensorRT-LLM",
    "{}": "keys none: of no format",
    "[" * 100_000: "expected JSON",
}


@pytest.mark.parametrize("text", FILES_REFUSED, ids=range(len(FILES_REFUSED)))
def test_files_that_are_refused(tmp_path, text):
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(dsjax.InputError) as error:
        dsjax.ingest(path)
    said = str(error.value)
    assert said.startswith(str(path)) and FILES_REFUSED[text] in said and len(said) < 400 and "\n" not in said


def test_large_files_are_not_read(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    path.touch()
    os.truncate(path, 100_000_000)  # nothing on the disk
    monkeypatch.setattr("builtins.open", None)
    with pytest.raises(
        dsjax.InputError, match="100,000,000 bytes; expected .* of at most 67,108,864 bytes, without the details"
    ):
        dsjax.ingest(path)
    assert record.LARGEST == 64 * 2**20


def test_what_is_no_file(tmp_path):
    with pytest.raises(dsjax.InputError, match="cannot be read .No such file"):
        dsjax.ingest(tmp_path / "none.json")
    with pytest.raises(dsjax.InputError, match="is a folder"):
        dsjax.ingest(tmp_path)
    (tmp_path / "a").write_bytes(b"\xff\xfe")
    with pytest.raises(dsjax.InputError, match="not UTF-8"):
        dsjax.ingest(tmp_path / "a")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"hardware": "H2000"}, "hardware: unknown hardware 'H2000' .did you mean 'H200'"),
        ({"precision": "fp7"}, "unknown precision 'fp7'"),
        ({"tp": 0}, "tp: 0 is out of range"),
        ({"tp": "many"}, "tp: 'many' is not a number"),
        ({"dp": 2, "tp": None}, "dp: without tp"),
        ({"chips": 4}, "chips: 4; expected tp dp = 8"),
        ({"isl": float("nan")}, "isl: nan"),
        ({"caveat": ["a"]}, "caveat: .'a'.; expected a text or a finite number"),
        ({"batching": "none"}, "unknown batching 'none'"),
        ({"ep": 3}, "ep: 3; expected a divisor of chips = 8"),
        ({"tp": 16, "chips": 8, "dp": None}, "tp: 16; expected a divisor of chips = 8"),
        ({"tp": 8, "chips": 12, "dp": None}, "tp: 8; expected a divisor of chips = 12"),
        ({"date": "foo"}, "ingest: date: 'foo'; expected a date, YYYY-MM-DD, YYYY-MM or YYYY"),
        ({"date": "20260214"}, "date: '20260214'; expected a date"),
        ({"frequency": 3}, "unknown option 'frequency'"),
        ({"value": 3}, "unknown option 'value'"),
        ({"study": ""}, "study: ''; expected a text"),
    ],
)
def test_options_that_are_refused(options, says):
    with pytest.raises(dsjax.InputError, match=says) as error:
        dsjax.ingest(FILES / VLLM, **(SERVER | options))
    assert "\n" not in str(error.value)


def test_texts_that_toml_cannot_hold(tmp_path):
    path = written(tmp_path / 'a "b".json', data_of(VLLM))
    [row] = rows_of(dsjax.ingest(path, engine_version="x\ud800\x7f\n\U0001f600", **SERVER))
    assert row.used["engine_version"] == "x?  \U0001f600" and 'a "b".json' in row.used["source"]


def test_dates(tmp_path):
    """A day, a month or a year; a date of the file that is none, too, where none is said."""
    for date in ("2026-02-14", "2026-02", 2026):
        [row] = rows_of(dsjax.ingest(FILES / VLLM, date=date, **SERVER))
        assert row.used["date"] == str(date)
    path = written(tmp_path / "a.json", data_of(VLLM), date="20261345-093000")
    with pytest.raises(dsjax.InputError, match="a.json: date: '2026-13-45'; expected a date, .* or YYYY, there or by"):
        dsjax.ingest(path, **SERVER)
    assert rows_of(dsjax.ingest(path, date="2026-12", **SERVER))[0].used["date"] == "2026-12"
    assert rows_of(dsjax.ingest(FILES / GENAI, date="2026-12", **CASES[GENAI][0]))[0].used["date"] == "2026-12"


DOUBTS = [
    (VLLM, {"completed": 50, "num_prompts": 64}, "completed = 50 of num_prompts = 64, failed 0: 14 are in neither"),
    (SGLANG, {"num_prompts": 600}, "completed = 512 of num_prompts = 600, failed 0: 88 are in neither"),
    (VLLM, {"mean_tpot_ms": 0.0305}, "mean_tpot_ms = 0.0305 ms is 1/.* of what 32 users.*: seconds for milliseconds"),
    (VLLM, {"mean_tpot_ms": 30500.0}, "mean_tpot_ms = 30500 ms is 999 times what.*: microseconds for milliseconds"),
    (VLLM, {"mean_tpot_ms": 305.0}, "mean_tpot_ms = 305 ms is 9.99 times what 32 users and 1,024 tokens/s give$"),
    (VLLM, {"mean_ttft_ms": 4e5}, "mean_ttft_ms = 400000 ms is 25 times the whole time of a request by 32 users"),
    (
        VLLM,
        {"output_throughput": 10240.0},
        "output_throughput = 10240 is 10 times total_output_tokens / duration = 1,024",
    ),
    (VLLM, {"output_throughput": 900.0}, "output_throughput = 900 is 1/1.14 of total_output_tokens"),
    (VLLM, {"duration": 160000.0}, "output_throughput = 1024 is 1,000 times total_output_tokens / duration = 1.02"),
    (SGLANG, {"mean_tpot_ms": 0.024}, "mean_tpot_ms = 0.024 ms is 1/.*: seconds for milliseconds"),
    (SGLANG, {"mean_tpot_ms": 240.0}, "mean_tpot_ms = 240 ms is .* times what 59.15 users"),
    (TRT, {"streaming_metrics.avg_tpot_ms": 0.0235}, "avg_tpot_ms = 0.0235 ms is 1/.* of what 31.2 users"),
    (
        TRT,
        {"performance.total_latency_ms": 250.0},
        "is 1/1,000 of num_requests x avg_output_length / total_latency_ms",
    ),
    (AIPERF, {"inter_token_latency.unit": "us"}, "inter_token_latency.avg = 20 us is 1/.*: milliseconds for microsec"),
    (AIPERF, {"benchmark_duration.avg": 10.67}, "output_token_throughput.avg = 768 is 1/10 of request_count x output"),
    (GENAI, {"inter_token_latency.avg": 0.02}, "inter_token_latency.avg = 0.02 ms is 1/.*: seconds for milliseconds"),
    (
        INFERENCEX,
        {"mean_tpot": 20.0},
        "mean_tpot = 20 s is .* times what 16 users and 752 .*: milliseconds for seconds",
    ),
]


@pytest.mark.parametrize(("name", "changes", "says"), DOUBTS, ids=range(len(DOUBTS)))
def test_figures_that_contradict_each_other_are_remarked(tmp_path, name, changes, says):
    """One sentence on each, and the run is taken."""
    data = data_of(name)
    lengths = (
        {"total_input_tokens": 51200, "total_output_tokens": 25600, "duration": 25.0} if 50 in changes.values() else {}
    )
    path = written(tmp_path / "a.json", data[0] if isinstance(data, list) else data, **lengths, **changes)
    with pytest.warns(Remark) as told:
        ds = dsjax.ingest(path, **CASES[name][0])
    [text] = [str(one.message) for one in told]
    assert text.startswith(f"{path}: ") and re.search(says, text) and ds.sizes["system"] == 1


@pytest.mark.parametrize("changes", [{"mean_tpot_ms": 12.0}, {"mean_tpot_ms": 80.0}, {"output_throughput": 1100.0}])
def test_figures_that_differ_a_little_are_not_remarked(tmp_path, changes):
    dsjax.ingest(written(tmp_path / "a.json", data_of(VLLM), **changes), **SERVER)


def test_requests_all_at_once_may_end_far_apart(tmp_path):
    """The longest of them runs alone; a slip of a unit is seen all the same."""
    at_once = {"max_concurrency": None, "num_prompts": 320}
    dsjax.ingest(written(tmp_path / "a.json", data_of(VLLM), **at_once), **SERVER)
    with pytest.warns(Remark, match="mean_tpot_ms = 0.0305 ms"):
        slip = {"mean_tpot_ms": 0.0305}
        dsjax.ingest(written(tmp_path / "a.json", data_of(VLLM), **at_once, **slip), **SERVER)


def test_one_remark_for_runs_alike(tmp_path):
    path, run = tmp_path / "a.json", data_of(VLLM) | {"mean_tpot_ms": 305.0}
    path.write_text(json.dumps([run] * 3))
    with pytest.warns(Remark, match=r"record 1: mean_tpot_ms.* \(likewise 2 more\)$") as told:
        dsjax.ingest(path, **SERVER)
    assert len(told) == 1


def test_output(tmp_path):
    out = tmp_path / "s.toml"
    ds = dsjax.ingest(FILES / VLLM, output=out, **SERVER)
    assert out.read_text() == ds.attrs["text"] and len(systems.read(out).systems) == 2
    with pytest.raises(dsjax.InputError, match=r"exists; expected a new path, or force=True"):
        dsjax.ingest(FILES / VLLM, output=out, **SERVER)
    out.write_text("old")
    with pytest.raises(dsjax.InputError, match="leaves open"):
        dsjax.ingest(FILES / VLLM, output=out, force=True)
    assert out.read_text() == "old" and os.listdir(tmp_path) == ["s.toml"]
    dsjax.ingest(FILES / VLLM, output=out, force=True, **SERVER)
    own = written(tmp_path / "run.json", data_of(VLLM))
    with pytest.raises(dsjax.InputError, match="would overwrite the input"):
        dsjax.ingest(own, output=own, force=True, **SERVER)


def dsjax_process(*args):
    """The command in a process of its own."""
    env = os.environ | {"XDG_CACHE_HOME": os.devnull, "JAX_PLATFORMS": "cpu"}
    run = [sys.executable, "-m", "dsjax", *map(str, args)]
    return subprocess.run(run, capture_output=True, text=True, timeout=300, env=env)


def test_command_in_a_process_of_its_own(tmp_path):
    out = tmp_path / "systems.toml"
    options = [text for key, value in SERVER.items() for text in (f"--{key}", value)]
    run = dsjax_process("ingest", FILES / VLLM, *options, "--fix", "nic=CX7", "-o", out)
    assert (run.returncode, run.stderr) == (0, "")
    assert (
        "vllm_0.11-1024-512-C32  H200  vllm" in run.stdout and f"wrote {out}\nnext: dsjax validate {out}" in run.stdout
    )
    assert systems.read(out).systems[0].used["nic"] == "CX7"
    slip = written(tmp_path / "slip.json", data_of(VLLM), output_throughput=10240.0)
    run = dsjax_process("ingest", slip, *options, "-o", tmp_path / "slip.toml")
    said = f"{slip}: output_throughput = 10240 is 10 times total_output_tokens / duration = 1,024\n"
    assert (run.returncode, run.stderr) == (0, said) and (tmp_path / "slip.toml").exists()
    run = dsjax_process("ingest", FILES / VLLM, "-o", tmp_path / "none.toml")
    assert (run.returncode, run.stdout) == (2, "") and run.stderr.startswith("error: ") and run.stderr.count("\n") == 1
    assert not (tmp_path / "none.toml").exists()


def test_what_the_command_prints():
    out = command("ingest", FILES / INFERENCEX)
    [(name, why)] = tomllib.loads(out)["not_described"].items()
    assert name == "inferencex_2026_06" and why.startswith("inferencex_2026_06.json, record 3: a pool of prompts")
    rows = json.loads(command("ingest", FILES / INFERENCEX, "--format", "json"))
    assert [row["value"] for row in rows] == [0.02, 0.031]
    assert "ingest: tp: 'x' is not a number" in command("ingest", FILES / VLLM, "--tp", "x", code=2)
    assert "also given as --tp" in command("ingest", FILES / VLLM, "--tp", 8, "--fix", "tp=8", code=2)


def test_validate_predicts_what_was_ingested(tmp_path):
    """A fixture of each kind, ingested and predicted: measured as in the file, and of that order predicted."""
    for name, (options, _, _) in CASES.items():
        dsjax.ingest(FILES / name, output=tmp_path / f"{name}.toml", **options)
    studies = [(tmp_path / f"{name}.toml").read_text().partition("[not_described]")[0] for name in CASES]
    (tmp_path / "all.toml").write_text("\n".join(studies))
    found = json.loads(command("validate", tmp_path / "all.toml", "--format", "json", "--quiet"))["rows"]
    wanted = [x[key] for _, _, measured in CASES.values() for x in measured for key in ("value", "ttft")]
    assert [row["measured"] for row in found] == pytest.approx(wanted)
    assert max(abs(math.log(row["unfitted"] / row["measured"])) for row in found) < math.log(2.5)
