"""Hugging Face configs: sums over the tensors they describe, published totals, any order of keys, and bad input."""

import json
import math

import pytest
from click.testing import CliRunner

import dsjax
from dsjax import cli
from dsjax.catalog import configs, reader
from dsjax.space import provenance

FOLDER = reader.DATA / "models"
MODELS = {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}
# Attention, an FFN or experts in every layer; the others are in test_architectures.
PLAIN = [
    name
    for name, config in MODELS.items()
    if config["model_type"]
    in (
        "deepseek_v3",
        "deepseek_v32",
        "kimi_k2",
        "glm4_moe",
        "glm_moe_dsa",
        "qwen3",
        "qwen3_moe",
        "gpt_oss",
        "mixtral",
        "llama",
    )
    and "indexer_types" not in config
]
# Parameters of the published checkpoints (safetensors), to the last one.
PUBLISHED = {
    "Llama-3.1-70B": 70_553_706_496,
    "Llama-3.1-405B": 405_853_388_800,
    "Mixtral-8x22B": 140_620_634_112,
    "Qwen3-235B-A22B": 235_093_634_560,
    "Qwen3-30B-A3B": 30_532_122_624,
    "Qwen3-8B": 8_190_735_360,
    "gpt-oss-120b": 116_829_156_672,
}
# Billions as their papers and model cards round them: main model, without MTP module.
ROUNDED = {"DeepSeek-V3": 671, "DeepSeek-R1": 671, "Kimi-K2": 1026, "GLM-5": 744}
TOY = {
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "intermediate_size": 96,
    "vocab_size": 100,
}
TOY_MOE = TOY | {
    "architectures": ["Qwen3MoeForCausalLM"],
    "num_experts": 6,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 32,
}
TOY_MLA = TOY | {
    "architectures": ["DeepseekV3ForCausalLM"],
    "num_key_value_heads": 8,
    "n_routed_experts": 6,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 32,
    "kv_lora_rank": 16,
    "q_lora_rank": None,
    "qk_nope_head_dim": 8,
    "qk_rope_head_dim": 4,
    "v_head_dim": 8,
}


# ---- tensors of a checkpoint, written from its config alone


def latent_attention(c):
    h, heads, rank = c["hidden_size"], c["num_attention_heads"], c["kv_lora_rank"]
    query = heads * (c["qk_nope_head_dim"] + c["qk_rope_head_dim"])
    yield from ([rank + c["qk_rope_head_dim"], h], [rank], [heads * (c["qk_nope_head_dim"] + c["v_head_dim"]), rank])
    yield [h, heads * c["v_head_dim"]]
    q_rank = c.get("q_lora_rank")
    yield from ([q_rank, h], [q_rank], [query, q_rank]) if q_rank else ([query, h],)
    if "index_topk" in c:
        index = c["index_n_heads"], c["index_head_dim"]
        yield from ([math.prod(index), q_rank], [index[1], h], [index[0], h], [index[1]], [index[1]])


def grouped_attention(c):
    h, heads, kv = c["hidden_size"], c["num_attention_heads"], c["num_key_value_heads"]
    width = c.get("head_dim", h // heads)
    yield from ([heads * width, h], [kv * width, h], [kv * width, h], [h, heads * width])
    if c.get("attention_bias"):
        yield from ([heads * width], [kv * width], [kv * width])
    if c["model_type"] == "gpt_oss":
        yield from ([heads], [h])  # sinks, bias of the output
    if c.get("use_qk_norm") or c["model_type"].startswith("qwen3"):
        yield from ([width], [width])


def swiglu(c, width):
    yield from ([width, c["hidden_size"]], [width, c["hidden_size"]], [c["hidden_size"], width])


def ffn(c, layer):
    experts = c.get("n_routed_experts") or c.get("num_experts") or c.get("num_local_experts")
    if not experts or layer < c.get("first_k_dense_replace", 0):
        yield from swiglu(c, c["intermediate_size"])
        return
    width, h = c.get("moe_intermediate_size", c["intermediate_size"]), c["hidden_size"]
    yield [experts, h]
    for _ in range(experts + c.get("n_shared_experts", 0)):
        yield from swiglu(c, width)
    if c["model_type"] == "gpt_oss":
        yield from ([experts], [experts, 2 * width], [experts, h])


def parameters(c):
    h = c["hidden_size"]
    total = (1 if c.get("tie_word_embeddings") else 2) * c["vocab_size"] * h + h
    attention = latent_attention if "kv_lora_rank" in c else grouped_attention
    for layer in range(c["num_hidden_layers"]):
        total += 2 * h + sum(math.prod(shape) for shape in (*attention(c), *ffn(c, layer)))
    return total


@pytest.mark.parametrize("name", PLAIN)
def test_count_is_the_sum_of_the_tensors(name):
    ds = dsjax.count(name)
    assert ds["total_parameters"] == parameters(MODELS[name])
    if name in PUBLISHED:
        assert ds["total_parameters"] == PUBLISHED[name]
    if name in ROUNDED:
        assert round(int(ds["total_parameters"]) / 1e9) == ROUNDED[name]


def test_totals_with_their_mtp_module():
    ds = dsjax.count("GLM-4.6")
    offsets = (89 + 1) * 160  # of the router, one per expert, which no count has
    assert ds["total_parameters"] + ds["mtp_parameters"] + offsets == 356_785_898_816  # published checkpoint
    sparse, full = dsjax.count("DeepSeek-V3.2"), dsjax.count("DeepSeek-V3")
    indexer = 61 * (1536 * 64 * 128 + 7168 * 128 + 7168 * 64 + 2 * 128)
    assert sparse["total_parameters"] - full["total_parameters"] == indexer
    assert dsjax.count("Llama-3.1-70B")["mtp_parameters"] == 0


def test_active_parameters_as_published():
    active = {"gpt-oss-120b": 5.13e9, "Kimi-K2": 32e9, "Qwen3-30B-A3B": 3.3e9, "GLM-5": 40e9, "DeepSeek-V3": 37e9}
    for name, published in active.items():
        ds = dsjax.count(name)
        near = [int(ds[k]) for k in ("total_active_parameters", "active_parameters_without_embedding")]
        assert min(abs(x - published) for x in near) < 0.03 * published, name


# ---- FLOPs of attention that does not see everything


def attention_flops(name, **options):
    return int(dsjax.count(name, **options)["attention_flops"])


def test_sliding_window_by_enumeration():
    per_pair = 4 * 64 * 64  # two products, 64 heads of width 64
    for context in (100, 128, 5000):
        assert attention_flops("gpt-oss-120b", context=context) == 18 * per_pair * (context + min(context, 128))
    context = 1000
    full, windowed = (sum(min(i, w) for i in range(context)) for w in (context, 128))  # without the diagonal
    pairs = 18 * (full + windowed + context)  # half a pair of each diagonal counts
    counted = attention_flops("gpt-oss-120b", phase="prefill", context=context)
    assert counted == pytest.approx(per_pair * pairs, rel=1e-3)
    cache = dsjax.count("gpt-oss-120b", context=context)["kv_cache_bytes"]
    assert cache == 18 * (context + 128) * 2 * 8 * 64 * 2


def test_sparse_attention_reads_what_the_indexer_picks():
    core, score = 2 * 128 * (2 * 512 + 64), 2 * 64 * 128
    for context in (1000, 2048, 50_000):
        expected = 61 * (core * min(context, 2048) + score * context)
        assert attention_flops("DeepSeek-V3.2", context=context) == expected
    ds = dsjax.count("DeepSeek-V3.2", context=50_000)
    assert ds["kv_cache_bytes"] == 61 * 50_000 * (576 * 2 + 132)
    read = dict(zip(ds["operator"].values.tolist(), ds["kv_bytes"].values.tolist()))
    assert read["attention"] == 61 * 2048 * 576 * 2 and read["index_scores"] == 61 * 50_000 * 132


# ---- configs as users have them


def written(folder, config, name="config.json"):
    path = folder / name
    path.write_text(config if isinstance(config, str) else json.dumps(config), encoding="utf-8")
    return path


@pytest.mark.parametrize("name", MODELS)
def test_any_order_and_extra_keys(name, tmp_path):
    own = {key: value for key, value in MODELS[name].items() if not key.startswith("_")}
    extra = {"auto_map": {"AutoConfig": "x"}, "rope_theta": 1e6, "rope_scaling": None, "bos_token_id": [1, 2], "": 3}
    path = written(tmp_path, extra | dict(reversed(own.items())) | {"use_cache": True})
    row, rows = reader.numbers(configs.read(path)), reader.load()["model"]
    assert row == reader.numbers(rows[name])


def test_model_path_on_the_command_line(tmp_path):
    folder = tmp_path / "my-model"
    folder.mkdir()
    path = written(folder, MODELS["DeepSeek-R1"])
    args = ["sweep", "decode_gpu_2025", "--axis", "batch=32", "--format", "csv", "--model"]
    by_name, by_path, by_folder = (
        CliRunner().invoke(cli.main, [*args, str(model)]) for model in ("DeepSeek-R1", path, folder)
    )
    assert by_name.exit_code == 0, by_name.output
    assert by_name.output.replace("DeepSeek-R1", "") == by_path.output.replace(str(path), "")
    assert by_folder.exit_code == 0
    counted = CliRunner().invoke(cli.main, ["count", str(path)])
    assert "parameters 671,026,404,352" in counted.output
    ds = dsjax.sweep("decode_gpu_2025", axes={"batch": [32]}, fixed={"model": str(path)})
    dsjax.best(ds)  # the file is no longer needed
    assert "fp8, 8 bit" in ds.attrs["dsjax_spec"]


def test_kinds_of_heads_and_tied_embeddings():
    def row(**changes):
        return configs.row(TOY | changes, "toy")

    assert row(num_key_value_heads=1)["num_key_value_heads"] == 1
    assert row(num_key_value_heads=None)["num_key_value_heads"] == 8
    assert row(head_dim=24)["qk_nope_head_dim"] == row(head_dim=24)["v_head_dim"] == 24
    assert row()["qk_nope_head_dim"] == 8 and row()["first_k_dense_replace"] == 3
    assert row(tie_word_embeddings=True)["tie_word_embeddings"] == 1
    by_type = {k: v for k, v in TOY.items() if k != "architectures"} | {"model_type": "llama"}
    assert reader.numbers(configs.row(by_type, "toy")) == reader.numbers(row())


@pytest.mark.parametrize(
    ("config", "changes", "dense"),
    [
        (TOY_MOE, {}, 0),
        (TOY_MOE, {"decoder_sparse_step": 2, "num_hidden_layers": 7}, 4),  # layers 1, 3, 5 have experts
        (TOY_MOE, {"mlp_only_layers": [0, 2]}, 2),
        (TOY_MLA, {"first_k_dense_replace": 1}, 1),
        (TOY_MLA, {"first_k_dense_replace": 1, "moe_layer_freq": 2, "num_hidden_layers": 6}, 4),  # 2 and 4
    ],
)
def test_layers_without_experts(config, changes, dense):
    assert configs.row(config | changes, "toy")["first_k_dense_replace"] == dense


def test_sliding_layers():
    def of(**changes):
        row = configs.row(TOY_MOE | {"architectures": ["MixtralForCausalLM"], "num_local_experts": 6} | changes, "toy")
        return row["sliding_window"], row["sliding_layers"]

    assert of(sliding_window=None) == of(sliding_window=32, use_sliding_window=False) == (0, 0)
    assert of(sliding_window=32) == (32, 3)
    assert of(sliding_window=32, max_window_layers=2, use_sliding_window=True) == (32, 1)
    assert of(sliding_window=32, layer_types=["sliding_attention", "full_attention", "full_attention"]) == (32, 1)


# ---- what the checkpoint stores


@pytest.mark.parametrize(
    ("given", "bits"),
    [
        ({"quant_method": "fp8", "fmt": "e4m3"}, 8),
        ({"quant_method": "mxfp4", "modules_to_not_convert": []}, 4),
        ({"quant_method": "gptq", "bits": 4, "group_size": 128}, 4),
        ({"quant_method": "modelopt", "quant_algo": "NVFP4"}, 4),
        ({"quant_method": "bitsandbytes", "load_in_8bit": True}, 8),
        (
            {
                "quant_method": "compressed-tensors",
                "kv_cache_scheme": {"num_bits": 8},
                "config_groups": {"a": {"input_activations": {"num_bits": 8}, "weights": {"num_bits": 4}}},
            },
            4,
        ),
    ],
)
def test_bits_of_a_checkpoint(given, bits):
    row = configs.row(TOY | {"quantization_config": given}, "toy")
    assert (row["quantisation"]["method"], row["quantisation"]["bits"]) == (given["quant_method"], bits)
    assert f"{bits} bit" in row["source"]


def test_a_precision_of_other_weights_is_said(tmp_path):
    def remarks(model, precisions):
        grid = {"axes": {"precision": precisions, "hardware": ["H200"], "tp": [1], "ep": [8], "batch": [8]}}
        fixed = {"nic": "CX7", "model": model, "phase": "decode", "context": 4096}
        return provenance.of_checkpoints(dsjax.load_grid(grid | {"fixed": fixed}))

    assert remarks("DeepSeek-V3", ["fp8", "w8a8"]) == remarks("Qwen3-8B", ["bf16", "fp8"]) == []
    (line,) = remarks("Kimi-K2", ["fp8", "bf16", "nvfp4"])
    for word in ("Kimi-K2", "8-bit", "fp8", "bf16 (16 bit)", "nvfp4 (4 bit)"):
        assert word in line
    assert remarks("gpt-oss-120b", ["mxfp4"]) == []


# ---- bad input

COMPRESSED = {"quant_method": "compressed-tensors", "config_groups": {"a": {"weights": {"num_bits": 8}}}}
BAD = [
    (TOY, {"architectures": ["MambaForCausalLM"]}, "architectures 'MambaForCausalLM' LlamaForCausalLM"),
    (TOY, {"architectures": ["LlamaForCausalM"]}, "did you mean 'LlamaForCausalLM'"),
    (TOY, {"architectures": []}, "architectures [] list of one name"),
    (TOY, {"architectures": None, "model_type": "rwkv"}, "model_type 'rwkv' nearest"),
    (TOY, {"architectures": None}, "model_type 'None'"),
    (TOY, {"architectures": None, "model_type": ["llama"]}, "model_type ['llama']"),
    (TOY, {"num_key_value_heads": 3}, "num_key_value_heads 3 divisor num_attention_heads 8"),
    (TOY, {"num_key_value_heads": 16}, "num_key_value_heads 16 divisor"),
    (TOY, {"num_attention_heads": 6}, "num_attention_heads 6 hidden_size 64 head_dim"),
    (TOY, {"hidden_size": None}, "hidden_size null whole number"),
    (TOY, {"hidden_size": -64}, "hidden_size -64 at least 1"),
    (TOY, {"hidden_size": 64.5}, "hidden_size 64.5 whole"),
    (TOY, {"hidden_size": "64"}, "hidden_size '64' whole"),
    (TOY, {"hidden_size": True}, "hidden_size True whole"),
    (TOY, {"hidden_size": math.nan}, "hidden_size nan whole"),
    (TOY, {"hidden_size": 10**12}, "hidden_size 1000000000000 at most"),
    (TOY, {"vocab_size": 2**31}, "vocab_size 2147483648 at most 2,147,483,647"),
    (TOY, {"num_hidden_layers": 0}, "num_hidden_layers 0 at least 1"),
    (TOY, {"num_hidden_layers": 10**9}, "num_hidden_layers 1000000000 at most 10,000"),
    (TOY, {"tie_word_embeddings": "yes"}, "tie_word_embeddings 'yes' true or false"),
    (TOY_MOE, {"num_experts_per_tok": 7}, "num_experts_per_tok 7 at most num_experts 6"),
    (TOY_MOE, {"num_experts": None}, "num_experts null"),
    (TOY_MOE, {"mlp_only_layers": [3]}, "mlp_only_layers [3] 0 to 2"),
    (TOY_MLA, {"first_k_dense_replace": 4}, "first_k_dense_replace 4 at most num_hidden_layers 3"),
    (TOY_MLA, {"num_key_value_heads": 2}, "num_key_value_heads 2 8 query heads"),
    (TOY_MLA, {"attention_bias": True}, "attention_bias True false"),
    (TOY_MLA, {"architectures": ["DeepseekV32ForCausalLM"]}, "index_topk missing"),
    (TOY_MOE, {"sliding_window": 8, "layer_types": ["full_attention"]}, "layer_types num_hidden_layers 3"),
    (TOY_MOE, {"sliding_window": 8, "layer_types_summary": {"full_attention": 1}}, "layer_types_summary add up"),
    (TOY, {"quantization_config": {"quant_method": "magic"}}, "quant_method 'magic' fp8"),
    (TOY, {"quantization_config": {"quant_method": "gptq"}}, "bits missing"),
    (TOY, {"quantization_config": {"quant_method": "awq", "bits": 5}}, "bits 5"),
    (TOY, {"quantization_config": {"quant_method": "awq", "bits": 4}}, "group_size missing q_group_size"),
    (TOY, {"quantization_config": {"quant_method": "bitsandbytes"}}, "bits missing load_in_4bit"),
    (TOY, {"quantization_config": {"quant_method": "modelopt"}}, "quant_algo 'None' NVFP4"),
    (TOY, {"quantization_config": {"quant_algo": "FP5"}}, "quant_algo 'FP5' FP8"),
    (TOY, {"quantization_config": {"quant_algo": "FP8", "kv_cache_quant_algo": "FP6"}}, "cache FP6 num_bits"),
    (TOY, {"quantization_config": {"quant_algo": "MIXED_PRECISION"}}, "quantized_layers None quant_algo"),
    (TOY, {"quantization_config": {"quant_method": "compressed-tensors"}}, "config_groups None weights"),
    (TOY, {"quantization_config": COMPRESSED | {"config_groups": {"a": {}}}}, "weights None num_bits"),
    (TOY, {"quantization_config": COMPRESSED | {"ignore": ["re:(.*"]}}, "re:(.* regular expression"),
    (TOY, {"quantization_config": "fp8"}, "quantization_config fp8 object"),
]


@pytest.mark.parametrize(("config", "changes", "words"), BAD)
def test_bad_config_names_file_key_and_value(config, changes, words, tmp_path):
    path = written(tmp_path, config | changes)
    with pytest.raises(dsjax.InputError) as error:
        configs.read(path)
    message = str(error.value)
    assert "\n" not in message and message.startswith(str(path)) and len(message) < 600
    for word in words.split():
        assert word in message, message


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "JSON"),
        ("[1, 2]", "list object"),
        ('{"hidden_size": 1,', "JSON"),
        ('{"hidden_size": 1, "hidden_size": 2}', "hidden_size twice"),
        ('{"a":' * 100_000, "JSON"),
        ('{"a": "' + "x" * 5_000_000 + '"}', "bytes at most"),
    ],
)
def test_bad_file(content, words, tmp_path):
    path = written(tmp_path, content)
    result = CliRunner().invoke(cli.main, ["sweep", "decode_gpu_2025", "--model", str(path)])
    assert result.exit_code == 2 and result.output.count("\n") == 1
    for word in (str(path), *words.split()):
        assert word in result.output, result.output[:300]


def test_no_file(tmp_path):
    for model in (tmp_path / "no.json", tmp_path):  # a folder without a config is a name that nobody knows
        result = CliRunner().invoke(cli.main, ["count", str(model)])
        assert result.exit_code == 2 and str(model) in result.output
    (tmp_path / "bad.json").write_bytes(b"\xff\xfe{}")
    with pytest.raises(dsjax.InputError, match="UTF-8"):
        configs.read(tmp_path / "bad.json")
