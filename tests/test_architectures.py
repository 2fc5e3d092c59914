"""Configs of every architecture: parameters as published or summed elsewhere, layers by hand, and what is refused."""

import json
from pathlib import Path

import pytest
from oracle_parameters import total

import dsjax
from dsjax.catalog import architectures, configs, reader
from dsjax.space import provenance

MODELS = {path.stem: json.loads(path.read_text()) for path in sorted((reader.DATA / "models").glob("*.json"))}
ROWS = reader.load()["model"]
OTHERS = json.loads((Path(__file__).parent / "data" / "architectures.json").read_text())
del OTHERS["_source"]
# Parameters of the text model, without drafts and towers. Of the safetensors of a checkpoint, as its page counts them:
PUBLISHED = {
    "Gemma-2-27B": 27_227_128_320,
    "Gemma-3-27B": 27_432_406_640 - 423_060_336,  # the tower is counted below
    "Gemma-3-4B": 4_300_079_472 - 419_816_304,
    "Llama-2-70B": 68_976_648_192,
    "Llama-2-7B": 6_738_415_616,
    "Llama-3.1-405B": 405_853_388_800,
    "Llama-3.1-70B": 70_553_706_496,
    "Llama-3.1-8B": 8_030_261_248,
    "Llama-3.2-1B": 1_235_814_400,
    "Llama-3.2-3B": 3_212_749_824,
    "Llama-3.3-Nemotron-Super-49B": 49_867_145_216,
    "Llama-4-Scout": 108_641_793_536 - 871_932_416,
    "MiniMax-M1": 456_089_655_296,
    "Mistral-7B": 7_241_732_096,
    "Mistral-Large-2411": 122_610_069_504,
    "Mistral-Nemo-12B": 12_247_782_400,
    "Mistral-Small-3.1-24B": 24_011_361_280 - 438_958_080,
    "Mixtral-8x22B": 140_620_634_112,
    "Mixtral-8x7B": 46_702_792_704,
    "Nemotron-Nano-9B-v2": 8_888_227_328,
    "Phi-4": 14_659_507_200,
    "Qwen2.5-32B": 32_763_876_352,
    "Qwen2.5-72B": 72_706_203_648,
    "Qwen2.5-7B": 7_615_616_512,
    "Qwen3-14B": 14_768_307_200,
    "Qwen3-235B-A22B": 235_093_634_560,
    "Qwen3-30B-A3B": 30_532_122_624,
    "Qwen3-32B": 32_762_123_264,
    "Qwen3-4B": 4_022_468_096,
    "Qwen3-8B": 8_190_735_360,
    "Qwen3-Coder-480B-A35B": 480_154_875_392,
    "gpt-oss-120b": 116_829_156_672,
}
# Of the tensors that the classes of Hugging Face transformers 5.24 make of the config, added up (buffers, such as the
# offsets of a router, are none): `sum(p.numel() for p in model.parameters())` on the meta device.
TRANSFORMERS = {
    "DeepSeek-V2": 235_741_434_880,
    "DeepSeek-V2-Lite": 15_706_484_224,
    "Phi-3.5-MoE": 41_873_153_344,
    "DeepSeek-R1": 671_026_404_352,
    "DeepSeek-V3": 671_026_404_352,
    "DeepSeek-V3.2": 671_877_929_216,
    "DeepSeek-V4-Flash": 284_332_230_231,
    "DeepSeek-V4-Pro": 1_572_997_179_491,
    "GLM-4-9B-0414": 9_400_094_720,
    "GLM-4.5": 352_797_814_784,
    "GLM-4.5-Air": 106_852_245_504,
    "GLM-4.6": 352_797_814_784,
    "GLM-5": 743_911_199_232,
    "GLM-5.1": 743_911_199_232,
    "GLM-5.2": 743_377_000_704,
    "GLM-5.3": 743_377_000_704,
    "GLM-5.3-Flash": 313_326_799_870,
    "Gemma-4-26B-A4B": 25_233_141_760 + 30,  # a scale of every layer, which is a buffer there
    "Kimi-K2": 1_026_408_209_408,
    "Kimi-K2.5": 1_026_408_209_408,
    "Kimi-Linear-48B-A3B": 49_122_675_072,
    "Llama-4-Maverick": 400_711_848_960,
    "MiMo-7B": 7_622_619_136,  # by the class of Qwen2, which it extends by drafts
    "MiMo-V2-Flash": 308_778_768_832,
    "MiniMax-M2.5": 228_689_748_992,
    "MiniMax-M3": 426_174_565_632,
    "Nemotron-3-Super-120B-A12B": 120_668_687_360,
    "Nemotron-3-Ultra-550B-A55B": 549_308_968_960,
    "Nemotron-3.5-Lightning-30B-A3B": 31_577_937_344,
    "Nemotron-H-56B": 56_324_350_464,
    "Qwen3-Next-80B-A3B": 79_674_391_296,
    "Qwen3-VL-235B-A22B": 235_093_634_560,
    "Qwen3-VL-30B-A3B": 30_532_122_624,
    "Qwen3.5-122B-A10B": 122_111_526_912,
    "Qwen3.5-27B": 26_895_998_464,
    "Qwen3.5-397B-A17B": 396_346_350_336,
    "Qwen3.8-2.4T-A95B": 2_419_804_697_984,
    "Step-3.7-Flash": 195_844_496_640,
    "gpt-oss-20b": 20_914_757_184,
}
# The same of what is for pictures and sound.
TOWERS = {
    "GLM-5.3-Flash": 563_627_008,
    "Gemma-3-27B": 423_060_336,
    "Gemma-3-4B": 419_816_304,
    "Gemma-4-26B-A4B": 572_792_112,
    "Kimi-K2.5": 471_143_920,
    "Llama-4-Maverick": 871_932_416,
    "Llama-4-Scout": 871_932_416,
    "Mistral-Small-3.1-24B": 438_958_080,
    "Qwen3-VL-235B-A22B": 576_388_336,
    "Qwen3-VL-30B-A3B": 538_631_408,
    "Qwen3.5-122B-A10B": 451_290_864,
    "Qwen3.5-27B": 460_730_096,
    "Qwen3.5-397B-A17B": 456_010_480,
}


def kimi_k3(c):
    """Tensors of Kimi K3, as the names and shapes in its checkpoint are public; 896 experts in MXFP4."""
    h, kda, heads = c["hidden_size"], 96 * 128, 96
    linear = 3 * h * kda + 3 * 4 * kda + h * heads + heads + kda + 128 + 2 * h * kda + 128 * (h + kda)
    latent = h * 1536 + 1536 + 1536 * heads * 192 + h * 576 + 512 + 512 * heads * 256 + 2 * h * heads * 128
    shared = 3 * h * 2 * 3072
    experts = 896 * 3 * 3584 * 3072 + shared + 896 * h + 2 * h * 3584 + 3584
    layers = 69 * linear + 24 * latent + 92 * experts + 3 * h * c["intermediate_size"] + 93 * 6 * h
    return layers + 2 * c["vocab_size"] * h + 3 * h


def longcat(c):
    """Tensors of LongCat-Flash: two of everything but experts in a layer."""
    h, heads = c["hidden_size"], c["num_attention_heads"]
    latent = h * 1536 + 1536 + 1536 * heads * 192 + h * 576 + 512 + 512 * heads * 256 + h * heads * 128
    experts = 512 * 3 * h * 2048 + (512 + 256) * h
    return 28 * (2 * (latent + 3 * h * 12288 + 2 * h) + experts) + 2 * c["vocab_size"] * h + h


OWN = {
    "Kimi-K3": kimi_k3(MODELS["Kimi-K3"]["text_config"]),
    "LongCat-Flash": longcat(MODELS["LongCat-Flash"]),
}
TOTALS = PUBLISHED | TRANSFORMERS | OWN


@pytest.mark.parametrize("name", MODELS)
def test_parameters_of_the_record(name):
    assert total(ROWS[name]) == TOTALS[name]
    counted = dsjax.count(name)
    assert int(counted["total_parameters"]) - ROWS[name]["vision_parameters"] == TOTALS[name]
    assert ROWS[name]["vision_parameters"] == TOWERS.get(name, 0)


@pytest.mark.parametrize("name", OTHERS)
def test_parameters_of_other_architectures(name):
    config = OTHERS[name]["config"]
    assert total(configs.row(config, "c")) == OTHERS[name]["parameters"]
    by_type = {key: value for key, value in config.items() if key != "architectures"}
    assert total(configs.row(by_type, "c")) == OTHERS[name]["parameters"]


def test_what_is_left_out_is_said():
    left_out = {name for name, row in ROWS.items() if "left out of the time: vision" in row["source"]}
    assert left_out == {*TOWERS, "Kimi-K3"}
    assert "vision (parameters of vision not counted)" in ROWS["Kimi-K3"]["source"]
    assert "attention residuals" in ROWS["Kimi-K3"]["source"]
    assert "attention residuals" not in ROWS["Kimi-Linear-48B-A3B"]["source"]
    assert "gates of heads" in ROWS["Step-3.7-Flash"]["source"]
    assert "left out" not in ROWS["Qwen3.8-2.4T-A95B"]["source"]
    axes = {"model": ["Qwen3.5-27B", "Qwen3-8B"], "hardware": ["H200"], "precision": ["bf16"], "tp": [1], "batch": [1]}
    fixed = {"nic": "CX7", "phase": "decode", "context": 4096, "ep": 1}
    lines = provenance.remarks(dsjax.load_grid({"axes": axes, "fixed": fixed}), [])
    assert [line for line in lines if "left out" in line] == ["Qwen3.5-27B: left out of the time: vision"]


def some(name, *keys):
    return tuple(ROWS[name][key] for key in keys)


def test_layers_by_hand():
    layers = ("num_hidden_layers", "attention_free_layers", "ffn_free_layers", "linear_layers", "first_k_dense_replace")
    assert some("Nemotron-3-Super-120B-A12B", *layers) == (88, 40, 48, 40, 0)
    assert some("Nemotron-H-56B", *layers) == (118, 54, 64, 54, 54)
    assert some("Qwen3.5-397B-A17B", *layers) == (60, 0, 0, 45, 0)
    assert some("Kimi-K3", *layers) == (93, 0, 0, 69, 1)
    assert some("MiniMax-M1", *layers) == (80, 0, 0, 70, 0)
    assert some("Llama-3.3-Nemotron-Super-49B", *layers) == (80, 31, 0, 0, 80)
    assert some("LongCat-Flash", *layers, "dense_beside_layers") == (56, 0, 0, 0, 28, 28)
    assert some("Gemma-4-26B-A4B", *layers, "dense_beside_layers") == (30, 0, 0, 0, 0, 30)
    assert some("DeepSeek-V4-Pro", "csa_layers", "hca_layers", "sliding_layers", "index_layers") == (30, 31, 61, 30)
    assert some("DeepSeek-V4-Flash", "csa_layers", "hca_layers", "csa_ratio", "hca_ratio") == (21, 20, 4, 128)
    assert some("MiniMax-M3", "unpicked_layers", "index_layers", "index_topk", "index_block") == (3, 57, 16 * 128, 128)
    assert some("GLM-5.3-Flash", "index_layers", "index_pool", "linear_layers", "residual_streams") == (11, 4, 34, 4)
    assert some("Llama-4-Maverick", "sliding_layers", "sliding_window", "sliding_chunked") == (36, 8192, 1)
    assert some("Step-3.7-Flash", "sliding_layers", "sliding_window", "num_nextn_predict_layers") == (33, 512, 3)
    assert some("Gemma-3-27B", "sliding_layers", "sliding_window", "qk_norm") == (52, 1024, 1)


def test_sizes_by_hand():
    linear = ("linear_heads", "linear_key_heads", "linear_key_dim", "linear_value_dim", "linear_columns")
    assert some("Qwen3-Next-80B-A3B", *linear) == (32, 16, 128, 128, 12288 + 64)
    assert some("Nemotron-3-Super-120B-A12B", *linear) == (128, 8, 128, 64, 18560)
    assert some("Kimi-K3", *linear) == (96, 96, 128, 128, 4 * 12288 + 96)
    assert some("Kimi-Linear-48B-A3B", *linear) == (32, 32, 128, 128, 3 * 4096 + 32)
    assert some("MiniMax-M1", *linear) == (64, 64, 128, 128, 4 * 8192)
    gates = ("linear_gates", "linear_gate_rank", "linear_conv", "linear_conv_channels", "linear_chunk", "linear_rule")
    assert some("Kimi-K3", *gates) == (1, 128, 4, 36864, 64, 1)
    assert some("GLM-5.3-Flash", *gates) == (2, 128, 4, 24576, 64, 1)
    assert some("Nemotron-3-Super-120B-A12B", *gates) == (0, 0, 4, 10240, 128, 2)
    assert some("Qwen3-Next-80B-A3B", *gates) == (0, 0, 4, 8192, 64, 0)
    assert some("MiniMax-M1", *gates) == (0, 0, 0, 0, 256, 3)
    experts = ("expert_hidden_size", "n_shared_experts", "ungated", "zero_experts")
    assert some("Nemotron-3-Super-120B-A12B", *experts) == (1024, 2, 1, 0)
    assert some("Kimi-K3", *experts) == (3584, 2, 0, 0)
    assert some("LongCat-Flash", *experts) == (0, 0, 0, 256)
    latent = ("kv_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim", "key_is_value", "o_groups")
    assert some("DeepSeek-V4-Flash", *latent) == (448, 448, 64, 512, 1, 8)
    own = ("sliding_heads", "sliding_key_value_heads", "sliding_head_dim", "sliding_v_head_dim", "key_is_value")
    assert some("Gemma-4-26B-A4B", *own, "qk_nope_head_dim", "num_key_value_heads") == (16, 8, 256, 256, 1, 512, 2)
    assert some("MiMo-V2-Flash", *own, "v_head_dim", "num_key_value_heads") == (64, 8, 192, 128, 0, 128, 4)
    assert some("Qwen3.5-27B", "attention_gate", "qk_norm") == (1, 1)
    assert {row["linear_state_bytes"] for row in ROWS.values() if row["linear_layers"]} == {4}


def test_enough_models_and_every_name_has_an_architecture():
    assert len(MODELS) >= 60
    assert set(architectures.TYPES.values()) <= architectures.ARCHITECTURES.keys()
    assert not architectures.REFUSED.keys() & architectures.ARCHITECTURES.keys()


@pytest.mark.parametrize("inside", ["text_config", "language_config", "llm_config"])
def test_text_models_inside_others(inside):
    own = {key: value for key, value in MODELS["Qwen3-8B"].items() if not key.startswith("_")}
    vision = {
        "vision_config": {"hidden_size": 1},
        "image_token_id": 3,
        "model_type": "new",
        "architectures": ["NewModel"],
    }
    row = configs.row({inside: own} | vision, "c")
    assert reader.numbers(row) == reader.numbers(ROWS["Qwen3-8B"])
    assert "left out of the time: vision (parameters of vision not counted)" in row["source"]
    assert configs.row({inside: own, "tie_word_embeddings": True} | vision, "c")["tie_word_embeddings"] == 1


def test_thinker_of_an_omni_model():
    own = {key: value for key, value in MODELS["Qwen3-30B-A3B"].items() if not key.startswith("_")}
    own |= {"model_type": "qwen3_omni_moe_text", "architectures": None}
    thinker = {"text_config": own, "audio_config": {"a": 1}, "vision_config": {"b": 1}, "model_type": "x"}
    whole = {"architectures": ["Qwen3OmniMoeForConditionalGeneration"], "model_type": "qwen3_omni_moe"}
    row = configs.row(whole | {"thinker_config": thinker, "talker_config": {"c": 1}}, "c")
    assert total(row) == PUBLISHED["Qwen3-30B-A3B"] and "talker, audio, vision" in row["source"]


def test_windows_by_letters():
    config = OTHERS["exaone4"]["config"] | {"sliding_window_pattern": "LLLG"}
    config = {key: value for key, value in config.items() if key != "layer_types"}
    assert configs.row(config, "c")["sliding_layers"] == 24


def test_sizes_of_windows_of_their_own():
    other = {"num_attention_heads": 96, "num_attention_groups": 8, "head_dim": 128}
    changes = {"attention_other_setting": {"attention_type": "sliding_attention"} | other}
    row = configs.row(MODELS["Step-3.7-Flash"] | changes, "c")
    assert (row["sliding_heads"], row["sliding_key_value_heads"], row["num_attention_heads"]) == (96, 8, 64)
    more = 33 * 32 * (2 * 128 * 4096 + 4096)  # queries and output, a gate
    assert total(row) == TOTALS["Step-3.7-Flash"] + more


# ---- what is refused

BAD = [
    ("Qwen3-8B", {"hc_mult": 4}, "hc_mult 4 not understood"),
    ("Qwen3-8B", {"some_new_thing": [1, 2]}, "some_new_thing [1, 2] not understood"),
    ("Qwen3-8B", {"text_config": "foo"}, "text_config str object"),
    ("Qwen3-8B", {"vision_config": 3}, "vision_config int object"),
    ("Kimi-K3", {"text_config.attn_new": 3}, "attn_new 3 not understood"),
    ("Kimi-K3", {"text_config.linear_attn_config.decay": 3}, "linear_attn_config.decay 3 not understood"),
    ("Kimi-K3", {"text_config.linear_attn_config.kda_layers": [1, 2]}, "linear_attn_config.kda_layers 93 layers once"),
    ("Kimi-K3", {"text_config.linear_attn_config": [1]}, "linear_attn_config [1] object"),
    ("Kimi-K3", {"text_config.linear_attn_config.num_heads": -1}, "linear_attn_config.num_heads -1 at least 1"),
    ("Qwen3.5-27B", {"text_config.layer_types": ["foo"] * 64}, "layer_types foo full_attention linear_attention"),
    ("Qwen3.5-27B", {"text_config.full_attention_interval": 3}, "layer_types full_attention_interval 3"),
    ("Qwen3.5-27B", {"text_config.mamba_ssm_dtype": "float8"}, "mamba_ssm_dtype float8 float32"),
    ("Qwen3.5-27B", {"text_config.linear_num_key_heads": 7}, "linear_num_value_heads 48 multiple 7"),
    ("Nemotron-H-56B", {"hybrid_override_pattern": "M-X"}, "hybrid_override_pattern M-X letters"),
    ("Nemotron-H-56B", {"hybrid_override_pattern": "M-*"}, "num_hidden_layers 118 3 blocks"),
    ("Nemotron-H-56B", {"hybrid_override_pattern": None}, "layers_block_type missing mamba"),
    ("Nemotron-H-56B", {"mamba_proj_bias": True}, "mamba_proj_bias True false"),
    ("Nemotron-3-Ultra-550B-A55B", {"layers_block_type": ["mamba", "conv"]}, "layers_block_type list of blocks"),
    ("DeepSeek-V4-Flash", {"compress_ratios": [4] * 40}, "compress_ratios num_hidden_layers 43"),
    ("DeepSeek-V4-Flash", {"compress_ratios": [8] * 43}, "compress_ratios 4 or 128"),
    ("DeepSeek-V4-Flash", {"num_key_value_heads": 2}, "num_key_value_heads 2 all heads share"),
    ("DeepSeek-V4-Flash", {"o_groups": 7}, "o_groups 7 divisor"),
    ("DeepSeek-V4-Flash", {"expert_dtype": "fp3"}, "expert_dtype fp3 fp4"),
    ("DeepSeek-V4-Flash", {"architectures": ["DeepseekV41ForCausalLM"]}, "DeepseekV41ForCausalLM engram share"),
    ("Gemma-4-26B-A4B", {"text_config.hidden_size_per_layer_input": 256}, "hidden_size_per_layer_input 256"),
    ("Gemma-4-26B-A4B", {"text_config.num_kv_shared_layers": 10}, "num_kv_shared_layers 10 share"),
    ("Gemma-4-26B-A4B", {"text_config.layer_types": ["full_attention"]}, "layer_types num_hidden_layers 30"),
    ("MiniMax-M2.5", {"qk_norm_type": "none"}, "qk_norm_type none per_layer"),
    ("MiniMax-M2.5", {"attn_type_list": [0] * 62}, "attn_type_list 62 1"),
    ("MiniMax-M3", {"moe_layer_freq": [1] * 60}, "moe_layer_freq first_k_dense_replace"),
    (
        "MiniMax-M3",
        {"sparse_attention_config.sparse_attention_freq": [1]},
        "sparse_attention_config.sparse_attention_freq 60",
    ),
    ("MiniMax-M3", {"sparse_attention_config.new": 4}, "sparse_attention_config.new 4 not understood"),
    ("Llama-4-Scout", {"text_config.moe_layers": [1, 3]}, "moe_layers 48 layers with experts"),
    ("Llama-4-Scout", {"text_config.no_rope_layers": [1, 0]}, "no_rope_layers 48"),
    ("Llama-3.3-Nemotron-Super-49B", {"block_configs": [{}] * 80}, "block_configs object attention"),
    ("Llama-3.3-Nemotron-Super-49B", {"block_configs": 3}, "block_configs 3 num_hidden_layers 80"),
    ("LongCat-Flash", {"moe_topk": 999}, "moe_topk 999 at most n_routed_experts 768"),
    ("Phi-3.5-MoE", {"lm_head_bias": 1}, "lm_head_bias 1 true or false"),
    ("GLM-4.5-Air", {"num_experts": 64}, "num_experts 64 not understood"),
    ("DeepSeek-V3", {"num_experts": 64}, "num_experts 64 n_routed_experts 256 same"),
    ("Qwen3-8B", {"layer_types": ["foo"] * 36}, "layer_types foo full_attention sliding_attention"),
    ("Qwen3-8B", {"layer_types": ["sliding_attention"] * 36}, "layer_types no sliding_window in use"),
    ("GLM-5.3-Flash", {"text_config.model_type": "llama"}, "Glm5NextForConditionalGeneration LlamaForCausalLM same"),
    ("GLM-5.3-Flash", {"hidden_size": 8}, "hidden_size 8 4096 text_config"),
    ("Nemotron-H-56B", {"sliding_window": 512}, "sliding_window 512 not understood"),
]


def changed(name, changes):
    config = json.loads(json.dumps(MODELS[name]))
    for path, value in changes.items():
        *outer, key = path.split(".")
        inner = config
        for part in outer:
            inner = inner[part]
        inner[key] = value
    return config


@pytest.mark.parametrize(("name", "changes", "words"), BAD)
def test_refused_by_name(name, changes, words):
    with pytest.raises(dsjax.InputError) as error:
        configs.row(changed(name, changes), "c.json")
    message = str(error.value)
    assert message.startswith("c.json") and "\n" not in message and len(message) < 600
    for word in words.split():
        assert word in message, message


@pytest.mark.parametrize("value", [None, False, 0, 0.0, 1.0, "", [], {}])
def test_keys_with_a_neutral_value_change_nothing(value):
    row = configs.row(MODELS["Qwen3-8B"] | {"some_new_thing": value}, "c")
    assert reader.numbers(row) == reader.numbers(ROWS["Qwen3-8B"])
