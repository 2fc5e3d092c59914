"""Command lines of engines: golden ones, laws of their sizes, what a shell makes of them, what cannot be started."""

import json
import math
import os
import re
import shutil
import subprocess
import tomllib

import pytest
from console import command

import dsjax
from dsjax.catalog import reader
from dsjax.launching import tools
from dsjax.launching.engines import ENGINES

BOX = {"hardware": "H200", "nic": "CX7", "engine": "sglang", "context": 4096, "chips": 8, "tp": 8, "concurrency": 64}
WIDE = {"engine": "sglang-deepep", "chips": 72, "tp": 1, "concurrency": 4608, "pipeline": "dual-mbatch", "mtp": 1}
POOLS = {
    "model": "DeepSeek-R1",
    "phase": "disaggregated",
    "axes": {"requests_per_s": [4.0]},
    "prefill": {"hardware": "H200", "tp": 8, "chips": 8, "nic": "CX7", "engine": "sglang"},
    "decode": {"hardware": "B200", "tp": 1, "chips": 16, "nic": "CX7", "engine": "sglang-deepep"},
    "fixed": {"isl": 4096, "osl": 1024, "transfer_nic": "CX7", "prefill_instances": 2, "decode_instances": 1},
}
SERVER = {"isl": 4096, "osl": 1024, "chips": 8, "tp": 8, "nic": "CX7", "hardware": "H200", "max_batch": 128}


def box(software, /, **changes):
    model = changes.pop("model", "DeepSeek-R1")
    kept = {key: value for key, value in (BOX | changes).items() if value is not None}
    return dsjax.launch(
        {"model": model, "phase": "decode", "axes": {"concurrency": [kept.pop("concurrency")]}, "fixed": kept},
        engine=software,
    )


def server(software, /, **changes):
    own = SERVER | {"engine": "sglang", "concurrency": 32} | changes
    grid = {"model": "DeepSeek-R1", "phase": "serve", "axes": {"concurrency": [own.pop("concurrency")]}, "fixed": own}
    return dsjax.launch(grid, engine=software)


def lines(found):
    """{name of a command: its words, program and placeholders of host and port left out}."""
    given = {}
    for line in found.commands:
        flags = [flag for flag in line.flags if "$HOST" not in flag and "$PORT" not in flag]
        given[line.name] = [*(" ".join(flag) for flag in flags)]
    return given


def of(found):
    [only] = lines(found).values()
    return only


# ---- golden lines


def test_vllm_box():
    assert of(box("vllm")) == [
        *("--tensor-parallel-size 8", "--enable-expert-parallel", "--max-num-seqs 64", "--gpu-memory-utilization 0.9")
    ]
    assert of(box("vllm", moe_tp=8)) == [
        *("--tensor-parallel-size 8", "--max-num-seqs 64", "--gpu-memory-utilization 0.9")
    ]


def test_sglang_box():
    want = ["--model-path deepseek-ai/DeepSeek-R1", "--tp-size 8", "--max-running-requests 64"]
    want += ["--cuda-graph-max-bs-decode 64", "--mem-fraction-static 0.9"]
    assert of(box("sglang", moe_tp=8)) == want
    assert of(box("sglang")) == [*want[:2], "--ep-size 8", *want[2:]]
    assert of(box("sglang", moe_tp=2)) == [*want[:2], "--ep-size 4", *want[2:]]


def test_tensorrt_llm_box():
    found = box("tensorrt-llm", engine="tensorrt-llm")
    assert found.commands[0].words[:2] == ["trtllm-serve", "deepseek-ai/DeepSeek-R1"] and not found.differs
    *sizes, memory = of(found)
    assert sizes == ["--tp_size 8", "--ep_size 8", "--max_batch_size 64"]
    # 0.1 of 139.81 GiB kept free, of what weights (about 671e9 / 8 B) and 12 GiB beside them leave
    capacity, held = 139.81 * 2**30, 671e9 / 8 + 12 * 2**30
    share = float(memory.removeprefix("--kv_cache_free_gpu_memory_fraction "))
    assert share == pytest.approx(1.0 - 0.1 * capacity / (capacity - held), abs=0.03)


def test_nothing_is_dispatched_within_one_card_of_experts():
    """Of experts that all chips share, ep 1 moe_tp 8, no library copies tokens, whatever mode is named."""
    for ep, moe_tp in ((1, 8), (8, 1)):
        found = of(box("sglang", tp=8, ep=ep, moe_tp=moe_tp, dispatch_mode="low-latency"))
        assert any(flag.startswith("--moe-a2a-backend") for flag in found) == (ep > 1), found


def test_wide_ep_with_deepep():
    found = box("sglang", **WIDE)
    assert not found.differs and of(found) == [
        *("--model-path deepseek-ai/DeepSeek-R1", "--tp-size 72", "--attn-dp-size 72", "--ep-size 72"),
        *("--moe-dense-tp-size 1", "--enable-dp-lm-head", "--nnodes 9", "--node-rank $NODE"),
        *("--dist-init-addr $SERVE_0:$INIT_PORT", "--moe-a2a-backend deepep", "--deepep-mode auto"),
        *("--enable-two-batch-overlap", "--enable-eplb", "--ep-num-redundant-experts 32"),
        *("--max-running-requests 4608", "--cuda-graph-max-bs-decode 64", "--mem-fraction-static 0.885"),
        *("--speculative-algorithm EAGLE", "--speculative-num-steps 1", "--speculative-eagle-topk 1"),
        "--speculative-num-draft-tokens 2",
    ]
    assert found.placeholders["NODE"] == ("number of the node, 0 the first of 9", None)
    assert found.placeholders["SERVE_0"] == ("address of the instance, its first node", None)


def test_wide_ep_of_vllm_has_a_head_and_other_nodes():
    found = lines(box("vllm", **WIDE, dispatch_mode="normal"))
    every = [
        *("--enable-expert-parallel", "--all2all-backend deepep_high_throughput", "--enable-dbo", "--enable-eplb"),
        *('--eplb-config {"num_redundant_experts":32}', "--max-num-seqs 64", "--gpu-memory-utilization 0.9"),
        '--speculative-config {"method":"mtp","num_speculative_tokens":1}',
    ]
    first = ["--tensor-parallel-size 1", "--data-parallel-size 72", "--data-parallel-size-local 8"]
    net = ["--data-parallel-address $SERVE_0", "--data-parallel-rpc-port $RPC_PORT"]
    assert found["serve"] == [*first, *net, *every]
    assert found["serve-node"] == [*first, "--data-parallel-start-rank $((8 * NODE))", *net, "--headless", *every]


def test_low_latency_dispatches_of_more_tokens_than_buffers_are_for():
    [line] = box("sglang", **WIDE | {"concurrency": 72 * 96}).commands
    assert line.environment == {"SGLANG_DEEPEP_NUM_MAX_DISPATCH_TOKENS_PER_RANK": "192"}
    assert not box("sglang", **WIDE).commands[0].environment


def test_stages_on_two_nodes():
    found = lines(box("vllm", chips=16, pp=2))
    assert found["serve"][:5] == [
        *("--tensor-parallel-size 8", "--pipeline-parallel-size 2", "--nnodes 2", "--node-rank 0"),
        "--master-addr $SERVE_0",
    ]
    assert found["serve-node"][3] == "--node-rank $NODE" and "--headless" in found["serve-node"]
    assert of(box("sglang", chips=16, pp=2))[1:7] == [
        *("--tp-size 8", "--pp-size 2", "--ep-size 8", "--nnodes 2", "--node-rank $NODE"),
        "--dist-init-addr $SERVE_0:$INIT_PORT",
    ]
    [line] = box("tensorrt-llm", chips=16, pp=2).commands
    assert line.words[:11] == (
        "srun --nodes 2 --ntasks 16 --ntasks-per-node 8 --mpi=pmix trtllm-llmapi-launch trtllm-serve".split()
        + ["deepseek-ai/DeepSeek-R1"]
    )
    assert ("--max_batch_size", "32") in line.flags and ("--gpus_per_node", "8") in line.flags


def steps(software, **fixed):
    """Of a grid of steps: a batch of chips, or prompts of an instance."""
    kept = {"hardware": "H200", "nic": "CX7", "engine": "sglang", "context": 4096} | fixed
    grid = {"model": "DeepSeek-R1", "phase": kept.pop("phase"), "axes": {"chips": [kept.pop("chips")]}, "fixed": kept}
    return lines(dsjax.launch(grid, engine=software))["serve"]


def test_batches_of_chips_and_prompts_of_an_instance():
    decode = {"phase": "decode", "chips": 16, "tp": 8, "batch": 8}  # 64 sequences of each of two groups
    assert "--max-num-seqs 64" in steps("vllm", **decode)
    assert {"--max-running-requests 128", "--cuda-graph-max-bs-decode 64"} < {*steps("sglang", **decode)}
    staged = {*steps("tensorrt-llm", phase="decode", chips=16, pp=2, tp=8, batch=8)}  # 128 sequences in two batches
    assert "--max_batch_size 64" in staged
    prefill = {"phase": "prefill", "chips": 8, "tp": 1, "prompts": 16}  # two prompts of each of eight groups
    assert {"--max-num-seqs 2", "--max-num-batched-tokens 8192"} < {*steps("vllm", **prefill)}
    assert {"--max-running-requests 16", "--chunked-prefill-size 65536"} < {*steps("sglang", **prefill)}
    assert {"--max_batch_size 2", "--max_num_tokens 8192"} < {*steps("tensorrt-llm", **prefill)}


def test_caches_that_chips_share():
    assert "--decode-context-parallel-size 4" in of(box("vllm", kv_split=4))
    assert "--dcp-size 4" in of(box("sglang", kv_split=4))
    grouped = box("vllm", model="Llama-3.1-70B", tp=16, chips=16, kv_split=2)
    assert "--decode-context-parallel-size 2" in lines(grouped)["serve"]
    split = {**POOLS, "decode": POOLS["decode"] | {"tp": 8, "kv_split": 4}}
    assert "decode: kv_split = 4: vLLM sends a cache that all" in dsjax.launch(split, engine="vllm").unable[0]
    assert dsjax.launch(split, engine="sglang").commands


def test_graphs_are_of_micro_batches():
    assert "--cuda-graph-max-bs-decode 32" in of(box("sglang", chips=16, pp=2))
    assert "--max-cudagraph-capture-size 1024" in of(box("vllm", concurrency=512, mtp=1))
    assert not any("cudagraph" in flag for flag in of(box("vllm", concurrency=512)))


def test_drafts():
    assert '--speculative-config {"method":"mtp","num_speculative_tokens":3}' in of(box("vllm", mtp=3))
    steps = [flag for flag in of(box("sglang", mtp=3)) if "speculative" in flag]
    assert [flag.split()[1] for flag in steps] == ["EAGLE", "3", "1", "4"]
    [line] = box("tensorrt-llm", mtp=3).commands
    assert line.file == ("serve.yaml", "speculative_config:\n  decoding_type: MTP\n  max_draft_len: 3\n")
    assert ("--config", "serve.yaml") in line.flags


def test_attention_on_each_chip_in_tensorrt_llm():
    [line] = box("tensorrt-llm", tp=1, concurrency=2048, redundant_experts=8).commands
    assert tomlike(line.file[1]) == {
        "enable_attention_dp": "true",
        "moe_config": {"load_balancer": {"num_slots": "264", "layer_updates_per_iter": "1"}},
        "cuda_graph_config": {"max_batch_size": "256", "enable_padding": "true"},
    }


def tomlike(text):
    """A YAML of mappings alone, read by its indents."""
    tree = {}
    path = [(-1, tree)]
    for line in text.splitlines():
        indent, (key, _, value) = len(line) - len(line.lstrip()), line.strip().partition(":")
        while path[-1][0] >= indent:
            path.pop()
        at = path[-1][1]
        at[key] = value.strip() or {}
        path.append((indent, at[key]))
    return tree


@pytest.fixture(scope="module")
def pools():
    return {engine: dsjax.launch(POOLS, engine=engine) for engine in ENGINES}


def test_two_pools_of_sglang(pools):
    found = lines(pools["sglang"])
    assert list(found) == ["prefill-0", "prefill-1", "decode-0", "router"]
    assert (
        found["prefill-0"]
        == found["prefill-1"]
        == [
            *("--model-path deepseek-ai/DeepSeek-R1", "--tp-size 8", "--ep-size 8", "--chunked-prefill-size 8192"),
            *(
                "--mem-fraction-static 0.9",
                "--disaggregation-mode prefill",
                "--disaggregation-transfer-backend mooncake",
            ),
        ]
    )
    decode = found["decode-0"]
    assert {"--attn-dp-size 16", "--deepep-mode low_latency", "--max-running-requests 16384"} < {*decode}
    assert decode[-2:] == ["--disaggregation-mode decode", "--disaggregation-transfer-backend mooncake"]
    router = pools["sglang"].commands[-1].words
    want = ["--pd-disaggregation", "--prefill", "http://$PREFILL_0:$PORT", "--prefill", "http://$PREFILL_1:$PORT"]
    assert router[3:] == [*want, "--decode", "http://$DECODE_0:$PORT", "--host", "$HOST", "--port", "$ROUTER_PORT"]


def test_two_pools_of_vllm(pools):
    found = lines(pools["vllm"])
    assert list(found) == ["prefill-0", "prefill-1", "decode-0", "decode-0-node", "router"]
    roles = {name: flag for name, flags in found.items() for flag in flags if "kv_role" in flag}
    assert [roles[name].split("kv_")[-1] for name in roles] == ['producer"}'] * 2 + ['consumer"}'] * 2
    assert pools["vllm"].commands[0].environment == {"VLLM_NIXL_SIDE_CHANNEL_HOST": "$(hostname -i)"}
    assert "--prefiller-hosts $PREFILL_0 $PREFILL_1" in found["router"]


def test_two_pools_of_tensorrt_llm(pools):
    prefill, _, decode, router = pools["tensorrt-llm"].commands
    assert tomlike(prefill.file[1]) == {
        "disable_overlap_scheduler": "true",
        "cache_transceiver_config": {"backend": "DEFAULT"},
    }
    assert "enable_attention_dp: true" in decode.file[1] and "serial" not in decode.file[1]
    assert router.words == ["trtllm-serve", "disaggregated", "-c", "router.yaml"]
    assert '- "$PREFILL_1:$PORT"\ngeneration_servers:\n  num_instances: 1' in router.file[1].replace("    ", "")


def test_names_stay_in_their_comment(tmp_path, monkeypatch):
    """A model of a folder called as no shell should read it."""
    monkeypatch.chdir(tmp_path)
    name = "a\ntouch $(x)"
    (tmp_path / name).mkdir()
    shutil.copy(reader.DATA / "models" / "DeepSeek-R1.json", tmp_path / name / "config.json")
    found = box("vllm", model=name)
    assert "\n# a?touch $(x) on 8 H200" in found.script.replace(f"# {tmp_path}/", "# ")
    text = (tmp_path / name / "config.json").read_text().replace("deepseek-ai/DeepSeek-R1", "$(x)/$(y)")
    (tmp_path / name / "config.json").write_text(text)
    assert box("vllm", model=name).commands[0].words[2] == "$MODEL"


def test_prompts_whole_or_cut():
    assert "--max-num-batched-tokens 8192" in of(server("vllm", batching="chunked", engine="vllm"))
    whole, cut = (of(server("sglang", batching=batching)) for batching in ("prefill-first", "chunked"))
    assert [flag for flag in cut if flag not in whole] == ["--enable-mixed-chunk"]
    wide = of(server("sglang", tp=1, concurrency=1024, max_prefill_tokens=32768, engine="sglang"))
    assert {"--chunked-prefill-size 262144", "--max-prefill-tokens 32768", "--max-running-requests 1024"} < {*wide}
    assert "--enable_chunked_prefill" in of(server("tensorrt-llm", batching="chunked"))
    assert any(text.startswith("batching = prefill-first") for text in server("vllm").differs)


def test_sglang_cuts_prompts_into_whole_pages():
    """`chunked_prefill_size` of a group is a multiple of the page of its cache, of 128 tokens at most."""
    odd = server("sglang", tp=4, batching="chunked", chunk_tokens=1000, concurrency=64)
    assert "--chunked-prefill-size 2048" in of(odd)  # 1,024 of each of two groups
    assert "1000 tokens of a step of prompts: SGLang takes whole pages of the cache, here 1024" in odd.differs
    even = server("sglang", tp=4, batching="chunked", chunk_tokens=1024, concurrency=64)
    assert of(even) == of(odd) and not any("pages" in text for text in even.differs)
    assert "--max-num-batched-tokens 1000" in of(server("vllm", batching="chunked", chunk_tokens=1000))


def test_drafts_beside_prompts_are_said():
    """0.5.23 starts EAGLE with mixed chunks, and decodes one token a sequence in them."""
    drafted = server("sglang", batching="chunked", mtp=1)
    assert {"--enable-mixed-chunk", "--speculative-algorithm EAGLE"} < {*of(drafted)}
    assert any("SGLang drafts nothing in steps with prompts" in text for text in drafted.differs)
    for other in (server("sglang", batching="chunked"), server("sglang", mtp=1), server("vllm", mtp=1)):
        assert not any("drafts nothing" in text for text in other.differs)


def test_sparse_attention_splits_no_cache_that_is_sent():
    split = POOLS | {"model": "DeepSeek-V3.2", "decode": POOLS["decode"] | {"tp": 8, "kv_split": 8}}
    assert "decode: kv_split = 8: SGLang splits no cache of sparse" in dsjax.launch(split, engine="sglang").unable[0]
    assert dsjax.launch(split | {"model": "DeepSeek-R1"}, engine="sglang").commands


def test_length_of_requests_that_do_not_differ():
    assert "--max-model-len 5120" in of(server("vllm", length_law="uniform"))
    assert "--context-length 5120" in of(server("sglang", isl_cv=0, osl_cv=0))
    assert not any("len" in flag for flag in of(server("vllm")))


# ---- what is loaded


def test_checkpoint_decides_the_precision():
    assert box("vllm", precision="fp8").commands == box("vllm").commands
    assert "--kv-cache-dtype fp8" in of(box("vllm", precision="fp8-kv8"))
    assert "--kv-cache-dtype fp8_e4m3" in of(box("sglang", precision="fp8-mla8"))
    assert not any("quant" in flag for flag in of(box("vllm", precision="fp8-mla8")))
    other = box("vllm", hardware="B200", precision="nvfp4-kv8")
    assert other.commands[0].words[2] == "$MODEL" and "--kv-cache-dtype fp8" in of(other)
    assert other.placeholders["MODEL"] == ("checkpoint of DeepSeek-R1 with weights as in precision nvfp4-kv8", None)
    dense = {"model": "Llama-3.1-70B", "precision": "fp8", "tp": 8, "concurrency": 8}
    assert "--quantization fp8" in of(box("vllm", **dense)) and "--quantization fp8" in of(box("sglang", **dense))
    assert "loads a checkpoint as it is" in box("tensorrt-llm", **dense).unable[0]
    [line] = box("tensorrt-llm", hardware="B200", precision="nvfp4-kv8").commands
    assert "kv_cache_config:\n  dtype: fp8\n" in line.file[1]


# ---- laws

LAYOUTS = [
    {"tp": 8},
    {"tp": 8, "moe_tp": 8},
    {"tp": 1, "concurrency": 1024},
    {"tp": 1, "chips": 16, "concurrency": 1024},
    {"tp": 8, "chips": 32, "pp": 2, "concurrency": 1024},
    {"tp": 4, "chips": 12, "concurrency": 128, "ep": 12},
    {"tp": 8, "chips": 16, "kv_split": 4, "concurrency": 256},
    {"model": "Llama-3.1-70B", "tp": 2, "chips": 8},
    {"model": "Qwen3-235B-A22B", "tp": 4, "chips": 16, "precision": None, "engine": "vllm"},
]


# {engine: (flags whose product is the world, that of the sequences)}
SIZES = {
    "vllm": (("--tensor-parallel-size", "--pipeline-parallel-size", "--data-parallel-size"), "--max-num-seqs"),
    "sglang": (("--tp-size", "--pp-size", "--dp-size"), "--max-running-requests"),
    "tensorrt-llm": (("--tp_size", "--pp_size"), "--max_batch_size"),
}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: " ".join(f"{k}={v}" for k, v in layout.items()))
def test_sizes_make_the_chips(engine, layout):
    """World of the engine, from its own words, is the point's; so are the sequences in flight."""
    found, chips, stages = box(engine, **layout), layout.get("chips", 8), layout.get("pp", 1)
    if not found.commands:
        assert found.unable and engine == "tensorrt-llm"
        return
    flags = dict(flag if len(flag) > 1 else (*flag, "") for flag in found.commands[0].flags)
    names, most = SIZES[engine]
    assert math.prod(int(flags.get(name, 1)) for name in names) == chips
    groups = chips // (layout["tp"] * stages)
    counted_by = {"vllm": groups, "sglang": int(flags.get("--dp-size", 1)), "tensorrt-llm": groups * stages}
    inside = int(flags[most]) * counted_by[engine]
    assert inside >= layout.get("concurrency", 64) > inside - groups * stages
    if chips > 8 and engine == "sglang":
        assert flags["--nnodes"] == str(math.ceil(chips / 8))


@pytest.mark.parametrize("engine", ENGINES)
def test_every_flag_is_in_the_data_with_its_version(engine, pools):
    tool = tools.read(engine)
    data = tomllib.loads((tools.FOLDER / f"{engine}.toml").read_text("utf-8"))
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*", data["version"]) and data["checked"]
    known = {*data["flags"].values(), *data["router"].values()}
    found = [pools[engine], box(engine, **WIDE), server(engine, batching="chunked")]
    for launched in found:
        used = {flag[0] for line in launched.commands for flag in line.flags}
        assert used and used <= known
        assert f"# {tool.name}, flags of {tool.version}: {tool.checked}\n" in launched.script
        assert launched.version == data["version"]
    assert len({*data["flags"].values()}) == len(data["flags"])


def test_a_quantity_without_a_flag_is_a_fault_of_the_data():
    with pytest.raises(KeyError, match="no flag for draft"):
        tools.command(tools.read("vllm"), "serve", {"draft": 1})


# ---- the shell's own reading


STUB = '#!/bin/sh\nprintf "%s\\n" "$@"\n'


@pytest.fixture
def shell(tmp_path):
    """Runs a script with programs that print their arguments, one a line."""
    for name in ("vllm", "python", "trtllm-serve", "srun"):
        (tmp_path / name).write_text(STUB)
        os.chmod(tmp_path / name, 0o755)

    def run(found, *args, **variables):
        path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            ["sh", "-c", found.script, "start.sh", *args],
            env={"PATH": path, **variables},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=30,
        )
        return done.returncode, done.stdout.splitlines(), done.stderr

    return run


def test_a_shell_reads_the_words(shell):
    found = box("vllm", **WIDE)
    code, words, _ = shell(found, "serve-node", SERVE_0="10.0.0.1", NODE="3", RPC_PORT="1234")
    assert code == 0 and words[words.index("--data-parallel-start-rank") + 1] == "24"
    assert words[words.index("--data-parallel-address") + 1] == "10.0.0.1" and "1234" in words
    assert json.loads(words[words.index("--speculative-config") + 1]) == {"method": "mtp", "num_speculative_tokens": 1}
    code, words, _ = shell(found, "serve", SERVE_0="10.0.0.1")
    assert code == 0 and words[-4:] == ["--host", "0.0.0.0", "--port", "8000"]


def test_a_shell_asks_for_what_is_missing(shell):
    found = box("vllm", **WIDE)
    for args, variables, words in (
        (["serve"], {}, "SERVE_0: address of the instance, its first node"),
        (["serve-node"], {"SERVE_0": "x"}, "NODE: number of the node, 0 the first of 9"),
        ([], {}, "expected serve | serve-node"),
        (["other"], {}, "other: expected serve | serve-node"),
    ):
        code, printed, error = shell(found, *args, **variables)
        assert code != 0 and not printed and words in error


def test_a_shell_writes_the_files(shell, tmp_path, pools):
    code, words, _ = shell(pools["tensorrt-llm"], "router", PREFILL_0="a", PREFILL_1="b", DECODE_0="c")
    assert code == 0 and words == ["disaggregated", "-c", "router.yaml"]
    assert (tmp_path / "router.yaml").read_text() == (
        "hostname: 0.0.0.0\nport: 8080\nbackend: pytorch\ncontext_servers:\n  num_instances: 2\n  urls:\n"
        '    - "a:8000"\n    - "b:8000"\ngeneration_servers:\n  num_instances: 1\n  urls:\n    - "c:8000"\n'
    )


# ---- what an engine cannot do

CANNOT = [
    ("vllm", {"moe_tp": 2}, "moe_tp = 2, ep = 4: vLLM splits experts over all 8 chips of a stage"),
    ("sglang", {"moe_tp": 2, "tp": 1, "dispatch_mode": "low-latency"}, "SGLang with DeepEP has whole experts on every"),
    ("tensorrt-llm", {"tp": 2}, "tp = 2, dp = 4: TensorRT-LLM has attention over all 8 chips"),
    ("tensorrt-llm", {"hardware": "MI300X", "precision": "fp8"}, "chips of AMD: TensorRT-LLM runs on those of NVIDIA"),
    ("vllm", {"model": "Llama-3.1-70B", "mtp": 1}, "mtp = 1: the checkpoint has no module"),
    ("sglang", {"tp": 4, "chips": 16, "pp": 2, "mtp": 1}, "drafts in stages with one group of attention"),
    ("sglang", {"model": "Llama-3.1-70B", "tp": 4, "chips": 16}, "replicas of a dense model on one node"),
    ("vllm", {"model": "Llama-3.1-70B", "kv_split": 2}, "kv_split = 2: vLLM splits 8 KV heads over chips that hold"),
    ("vllm", {"chips": 12, "ep": 8}, "are not the 12 chips"),
    ("sglang", {"model": "MiniMax-M2.5", "tp": 4, "chips": 8, "pp": 2, "mtp": 1}, "with one module, the model has 3"),
    ("sglang", WIDE | {"model": "GLM-5.2", "hardware": "B200"}, "no two micro batches where layers share the picks"),
]


@pytest.mark.parametrize(("engine", "changes", "words"), CANNOT, ids=lambda x: str(x)[:40])
def test_impossible(engine, changes, words):
    found = box(engine, **changes)
    assert not found.commands and any(words in text for text in found.unable)
    assert f"# cannot be started: {found.unable[0]}\n" in found.script


DIFFERS = [
    ("vllm", {"pipeline": "sbo"}, "pipeline = sbo: vLLM has no such overlap"),
    ("vllm", {"tp": 1, "pipeline": "dual-mbatch", "concurrency": 512}, "overlaps two micro batches with a dispatch by"),
    ("tensorrt-llm", {"kv_split": 2}, "kv_split = 2: TensorRT-LLM splits a cache in a layout of its own"),
    ("tensorrt-llm", {"dispatch_mode": "low-latency"}, "dispatch_mode = low-latency: TensorRT-LLM takes the way"),
    ("vllm", {"dispatch_mode": "low-latency"}, "one group has all tokens"),
    ("sglang", {"tp": 4, "concurrency": 512}, "dense layers: SGLang splits them over all 8 chips"),
    ("vllm", {"hardware": "MI300X"}, "chips of AMD: flags were read for those of NVIDIA"),
    ("vllm", {"sp": 2}, "sp = 2: vLLM has no sequence parallelism"),
]


@pytest.mark.parametrize(("engine", "changes", "words"), DIFFERS, ids=lambda x: str(x)[:40])
def test_what_differs_is_said(engine, changes, words):
    found = box(engine, **changes)
    assert found.commands and any(words in text for text in found.differs)
    assert not any("dbo" in flag for flags in lines(found).values() for flag in flags)


def test_the_engine_is_that_of_the_point():
    assert box(None).engine == "sglang" and box(None, engine="vllm-deepep", tp=1, concurrency=512).engine == "vllm"
    assert not box(None).differs
    assert box("vllm").differs == ("engine = sglang: the point was computed with another engine than vLLM",)


def test_instances_that_are_alike():
    grid = {
        "model": "DeepSeek-R1",
        "axes": {"concurrency": [64]},
        "fixed": {k: v for k, v in BOX.items() if k != "concurrency"},
    }
    found = dsjax.launch(grid, engine="sglang", instances=3)
    assert [line.name for line in found.commands] == ["serve-0", "serve-1", "serve-2", "router"]
    assert found.commands[-1].flags[0] == ("--worker-urls", *(f"http://$SERVE_{i}:$PORT" for i in range(3)))
    alone = dsjax.launch(grid, engine="vllm", instances=2)
    assert [line.name for line in alone.commands] == ["serve-0", "serve-1"] and "no router" in alone.differs[-1]


def test_hosts_of_fewer_chips():
    grid = {
        "model": "DeepSeek-R1",
        "axes": {"concurrency": [64]},
        "fixed": {k: v for k, v in BOX.items() if k != "concurrency"},
    }
    assert "--nnodes 2" in of(dsjax.launch(grid, engine="sglang", per_host=4))
    large = box("sglang", hardware="GB200", chips=16, tp=1, concurrency=1024)
    assert "hosts of GB200: 8 chips each, where nothing says it (--per-host)" in large.differs
    assert "--nnodes 4" in of(dsjax.launch(grid, engine="sglang", per_host=3))  # as many on each


# ---- the command

GRID = """
model = "DeepSeek-R1"
phase = "decode"
[axes]
concurrency = [16, 64]
[fixed]
hardware = "H200"
nic = "CX7"
engine = "sglang"
precision = "fp8"
context = 4096
chips = 8
tp = 8
"""


@pytest.fixture
def grid(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "grid.toml").write_text(GRID)
    return "grid.toml"


def test_command_prints_a_script_or_json(grid):
    script = command("launch", grid, "--at", "concurrency=64", "--quiet")
    assert script == dsjax.launch(grid, {"concurrency": 64}).script and script.startswith("#!/bin/sh\n")
    found = json.loads(command("launch", grid, "--at", "concurrency=64", "--format", "json", "--quiet"))
    assert found["point"] == {"concurrency": 64} and found["commands"][0]["words"][:3] == [
        "python",
        "-m",
        "sglang.launch_server",
    ]
    assert found["placeholders"]["PORT"] == {"meaning": "port of an instance", "usual": "30000"}


def test_command_takes_the_best_point_of_a_grid_and_of_a_file(grid):
    best = dsjax.best(grid, top=1).isel(rank=0)
    assert f"--max-running-requests {int(best.concurrency)}" in command("launch", grid, "--quiet")
    dsjax.write_netcdf(dsjax.sweep(grid), "x.nc")
    assert command("launch", "x.nc", "--quiet") == command("launch", grid, "--quiet")


def test_command_writes_a_script(grid, tmp_path):
    assert command("launch", grid, "-o", "start.sh", "--engine", "vllm").splitlines()[-1] == "wrote start.sh"
    text = (tmp_path / "start.sh").read_text()
    assert text == dsjax.launch(grid, engine="vllm").script
    assert "exists" in command("launch", grid, "-o", "start.sh", code=2)
    assert "would overwrite the input grid.toml" in command("launch", grid, "-o", "grid.toml", "--force", code=2)
    command("launch", grid, "-o", "start.sh", "--force", "--quiet")
    assert (tmp_path / "start.sh").read_text() != text


def test_command_says_that_an_engine_cannot(grid, tmp_path):
    change = ("--fix", "moe_tp=2", "--engine", "vllm")
    assert "# cannot be started: moe_tp = 2" in command("launch", grid, *change, "--quiet", code=1)
    assert command("launch", grid, *change, "-o", "x.sh", code=1).startswith("cannot be started: moe_tp = 2")
    assert not (tmp_path / "x.sh").exists()


def test_a_refused_point_is_said(grid):
    found = dsjax.launch(grid, {"concurrency": 64}, fixed={"context": 4_000_000})
    assert "memory" in found.refused and "# refused by dsjax: memory: " in found.script and found.commands
    command("launch", grid, "--fix", "context=4000000", "--quiet", code=1)
    command("launch", grid, "--fix", "context=4000000", "--at", "concurrency=64", "--quiet")


BAD = [
    (("--engine", "vlm"), "launch: unknown engine 'vlm'", "vllm"),
    (("--fix", "engine=generic"), "launch: engine: missing, and the point's is generic; expected one of vllm, sglang"),
    (("--per-host", "0"), "launch: per_host: 0; expected a whole number from 1"),
    (("--instances", "-1"), "launch: instances: -1; expected a whole number from 1"),
    (("--at", "concurrency=7"), "concurrency"),
]


@pytest.mark.parametrize(("args", "words"), [(args, words) for args, *words in BAD], ids=lambda x: " ".join(x)[:30])
def test_bad_input_is_one_line(grid, args, words):
    said = command("launch", grid, *args, code=2)
    assert said.startswith("error: ") and said.count("\n") == 1 and all(word in said for word in words)


def test_studies_have_layouts_of_their_own():
    with pytest.raises(dsjax.InputError, match="study decode_gpu_2025: has layouts of its own"):
        dsjax.launch("decode_gpu_2025", engine="vllm")
    with pytest.raises(dsjax.InputError, match="pools have instances of their own"):
        dsjax.launch(POOLS, engine="vllm", instances=2)


@pytest.mark.parametrize("pool", ["prefill", "decode"])
def test_a_part_of_an_instance_cannot_be_started(pool):
    """Of half an instance of prompts there was a script without one."""
    with pytest.raises(dsjax.InputError, match=f"launch: {pool}_instances: 0.5; expected a whole number"):
        dsjax.launch(POOLS, fixed={f"{pool}_instances": 0.5})


def test_a_script_of_a_refused_point_says_so_beside_its_name(tmp_path):
    args = ("--fix", "hardware=H200", "--fix", "precision=fp8", "--axis", "tp=8", "--axis", "concurrency=64")
    args += ("--limit", "min_tps_per_user=1e9")
    lines = command("launch", "serve", *args, "--engine", "sglang", "-o", tmp_path / "s.sh", code=1).splitlines()
    said = "refused by dsjax: tps_per_user: tps_per_user = "
    assert lines[-2].startswith(said) and lines[-1] == f"wrote {tmp_path / 's.sh'}"
    assert f"# {said}" in (tmp_path / "s.sh").read_text()
