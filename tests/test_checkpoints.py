"""What a checkpoint stores: read from its config and from NVIDIA's file beside it, it chooses the precision."""

import json

import pytest
from click.testing import CliRunner

import dsjax
from dsjax import cli
from dsjax.catalog import checkpoints, configs, reader
from dsjax.space import grid, restoring

ROWS = reader.load()
MODELS = {name: json.loads((reader.DATA / "models" / f"{name}.json").read_text()) for name in ROWS["model"]}
ALL_LAYERS = 128


def layers(*names):
    return [name.format(i) for i in range(ALL_LAYERS) for name in names]


def group(bits, kind, size=None, activations=None):
    weights = {"num_bits": bits, "type": kind, "group_size": size, "symmetric": True}
    return {"weights": weights, "input_activations": activations, "targets": ["Linear"]}


def compressed(weights, *ignored):
    return {
        "quant_method": "compressed-tensors",
        "config_groups": {"group_0": weights},
        "ignore": ["lm_head", *ignored],
    }


EIGHT = {"num_bits": 8, "type": "float"}
OF_KIMI = ("re:.*self_attn.*", "re:.*shared_experts.*", r"re:.*mlp\.(gate|up|gate_up|down)_proj.*")
NVFP4 = {"quant_algo": "NVFP4", "kv_cache_quant_algo": "FP8", "group_size": 16}
PROJECTIONS = layers(*("model.layers.{}.self_attn." + name for name in ("q_a_proj", "q_b_proj", "kv_b_proj")))
PROJECTIONS += layers("model.layers.{}.self_attn.kv_a_proj_with_mqa")
# (model, quantization_config, precision, whether the row says just that)
CHOICES = [
    ("Qwen3-8B", None, "bf16", True),
    ("DeepSeek-V3", {"quant_method": "fp8", "weight_block_size": [128, 128]}, "fp8", True),
    ("DeepSeek-V3", {"quant_method": "fp8", "modules_to_not_convert": ["gate", "lm_head"]}, "fp8", True),
    ("Llama-3.1-70B", compressed(group(8, "float", activations=EIGHT)), "fp8", True),
    ("Llama-3.1-70B", compressed(group(8, "int", activations={"num_bits": 8, "type": "int"})), "w8a8", True),
    ("Llama-3.1-70B", compressed(group(8, "float")), "w8a16", False),
    (
        "Llama-3.1-70B",
        {"quant_algo": "FP8", "kv_cache_scheme": "FP8", "producer": {"name": "modelopt"}},
        "fp8-kv8",
        True,
    ),
    ("Llama-3.1-70B", {"quant_method": "modelopt", "quant_algo": "FP8"}, "fp8", True),
    ("Llama-3.1-70B", {"quant_method": "awq", "bits": 4, "group_size": 128, "zero_point": True}, "w4a16", True),
    ("Llama-3.1-70B", {"quant_method": "gptq", "bits": 4, "group_size": 128, "sym": True}, "w4a16", True),
    ("Llama-3.1-70B", compressed(group(4, "int", 128)), "w4a16", True),
    ("Llama-3.1-70B", {"quant_method": "bitsandbytes", "load_in_4bit": True}, "w4a16", False),
    ("Kimi-K2", compressed(group(4, "int", 32), *OF_KIMI), "int4", True),
    ("gpt-oss-120b", {"quant_method": "mxfp4", "modules_to_not_convert": ["lm_head"]}, "mxfp4", True),
    ("Kimi-K2", compressed(group(4, "float", 32), *OF_KIMI), "int4", False),  # mxfp4 but for the shared expert
    ("Qwen3-235B-A22B", NVFP4 | {"exclude_modules": layers("model.layers.{}.mlp.gate")}, "fp4", True),
    ("DeepSeek-V3.2", NVFP4 | {"exclude_modules": PROJECTIONS}, "nvfp4-kv8", True),
    (
        "GLM-5",
        NVFP4 | {"ignore": [*layers("model.layers.{}.self_attn*", "model.layers.{}.mlp.shared_experts*")]},
        "nvfp4-kv8",
        False,  # its dense layers alone beside the routed experts
    ),
    (
        "GLM-5",
        NVFP4 | {"ignore": ["language_model.model.layers.*.self_attn*", "*.shared_experts*", "model.layers.[012].*"]},
        "nvfp4-routed",
        True,
    ),
    (
        "Qwen3-30B-A3B",
        {
            "quant_algo": "MIXED_PRECISION",
            "kv_cache_quant_algo": "FP8",
            "quantized_layers": {f"model.layers.{i}.mlp.experts": {"quant_algo": "NVFP4"} for i in range(48)}
            | {f"model.layers.{i}.self_attn": {"quant_algo": "FP8"} for i in range(48)},
        },
        "nvfp4-fp8",
        True,
    ),
]


def config(model, quantisation):
    own = {key: value for key, value in MODELS[model].items() if key != "quantization_config"}
    return own | ({"quantization_config": quantisation} if quantisation else {})


@pytest.mark.parametrize(("model", "quantisation", "precision", "exact"), CHOICES)
def test_the_checkpoint_chooses_its_row(model, quantisation, precision, exact):
    row = configs.row(config(model, quantisation), "it")
    found, why = checkpoints.row_of("it", row, ROWS["precision"])
    assert found == precision and ("nearest" not in why) == exact, why
    assert why.startswith(f"precision {precision}") and "the checkpoint of it stores " in why


def test_mean_widths_of_what_is_left_out():
    excluded = NVFP4 | {"exclude_modules": PROJECTIONS}
    held = configs.row(config("DeepSeek-V3.2", excluded), "it")["quantisation"]["holds"]
    left, o = 7168 * (1536 + 576) + 1536 * 24576 + 512 * 32768, 16384 * 7168
    assert held["weight"] == ["bf16", pytest.approx((2 * left + 0.5625 * o) / (left + o), rel=1e-12), "bf16"]
    assert held["expert"] == held["dense"] == held["shared"] == ["nvfp4", 0.5625, "fp4"]
    assert held["head"] == held["embedding"] == ["bf16", 2.0, "bf16"]


def test_only_whole_names_are_left_out():
    kept = {"quant_method": "fp8", "modules_to_not_convert": ["gate", "model.layers.1", "o_proj"]}
    held = configs.row(config("Qwen3-8B", kept), "it")["quantisation"]["holds"]
    assert held["dense"][1] == pytest.approx(1 + 1 / 36)  # gate is no gate_proj, layer 1 not layer 11
    sizes = [4096 * 4096, 4096 * 1024, 4096 * 1024, 4096 * 4096]
    left = sizes[-1] * 35 + sum(sizes)
    assert held["weight"][1] == pytest.approx(1 + left / (36 * sum(sizes)))


# ---- NVIDIA's file beside a config


def written(folder, name, content):
    path = folder / name
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


@pytest.mark.parametrize("prefix", ["", "my-model_"])
def test_a_file_beside_the_config_is_read(prefix, tmp_path):
    path = written(tmp_path, f"{prefix}config.json", config("Qwen3-235B-A22B", None))
    assert configs.read(path).get("quantisation") is None
    written(tmp_path, f"{prefix}hf_quant_config.json", {"quantization": NVFP4 | {"exclude_modules": ["lm_head"]}})
    assert configs.read(path)["quantisation"]["holds"]["expert"] == ["nvfp4", 0.5625, "fp4"]
    assert configs.read(path)["quantisation"]["kv_bytes"] == 1.0
    written(tmp_path, path.name, config("Qwen3-235B-A22B", NVFP4 | {"ignore": ["lm_head"]}))
    assert configs.read(path)["quantisation"]["method"] == "modelopt"


BESIDE = [
    ({"quantization": NVFP4}, {"quant_method": "fp8"}, "nvfp4 cache 8 bit quantization_config fp8 16 bit same in both"),
    (
        {"quantization": {"quant_algo": "FP8", "kv_cache_quant_algo": "FP8"}},
        {"quant_algo": "FP8"},
        "cache 8 bit 16 bit",
    ),
    ({"quantization": {"quant_algo": "FP3"}}, None, "quant_algo 'FP3' FP8"),
    ({"quantization": "FP8"}, None, "quantization missing quant_algo"),
    ([], None, "quantization missing"),
]


@pytest.mark.parametrize(("beside", "own", "words"), BESIDE)
def test_a_file_that_contradicts_is_refused(beside, own, words, tmp_path):
    path = written(tmp_path, "config.json", config("Llama-3.1-70B", own))
    other = written(tmp_path, "hf_quant_config.json", beside)
    result = CliRunner().invoke(cli.main, ["count", str(path)])
    assert result.exit_code == 2 and result.output.count("\n") == 1
    for word in (str(other), *words.split()):
        assert word in result.output, result.output
    other.write_text("{", encoding="utf-8")
    assert CliRunner().invoke(cli.main, ["count", str(path)]).exit_code == 2


# ---- the default precision


GRID = {"axes": {"batch": [8, 16]}, "fixed": {"hardware": "H200", "nic": "CX7", "ep": 32, "context": 4096, "mtp": 0}}


def load(axes=None, **fixed):
    return grid.load({"axes": GRID["axes"] | (axes or {}), "fixed": GRID["fixed"] | fixed})


def test_a_space_without_a_precision_has_that_of_the_checkpoint():
    space = load()
    assert space.fixed["precision"] == "fp8" and list(space.rows["precision"]) == ["fp8"]
    line = space.chosen["precision"]
    assert (
        line.startswith("precision fp8: ")
        and "DeepSeek-V3" in line
        and "routed experts" in line
        and "in fp8, the rest in bf16" in line
    )
    assert load(model="gpt-oss-120b").fixed["precision"] == "mxfp4"
    assert load(model="Qwen3-30B-A3B").fixed["precision"] == "bf16"
    again = restoring.space(space.to_json())
    assert again == space and again.chosen == space.chosen


def test_a_precision_that_is_given_stays():
    for space in (load(precision="bf16"), load({"precision": ["bf16", "fp8"]})):
        assert not space.chosen


def test_checkpoints_that_differ_need_an_axis():
    same = load({"model": ["DeepSeek-V3", "Kimi-K2"]})
    assert same.fixed["precision"] == "fp8" and "Kimi-K2" in same.chosen["precision"]
    with pytest.raises(dsjax.InputError, match=r"precision: missing.*fp8 of DeepSeek-V3, bf16 of Qwen3-8B.*axis"):
        load({"model": ["DeepSeek-V3", "Qwen3-8B"]})


def test_every_command_says_what_the_checkpoint_has(tmp_path):
    path = written(tmp_path, "grid.toml", {})
    lines = ["[axes]", "batch = [8, 16]", "[fixed]", *(f"{key} = {json.dumps(x)}" for key, x in GRID["fixed"].items())]
    path.write_text("\n".join([*lines, 'model = "gpt-oss-120b"', "tp = 1", ""]), encoding="utf-8")
    for command in ("best", "sweep", "explain", "pareto"):
        result = CliRunner().invoke(cli.main, [command, str(path), "--fix", "ep=8"])
        assert "precision mxfp4: the checkpoint of gpt-oss-120b stores routed experts in mxfp4" in result.output, (
            command
        )


# ---- counts


def test_count_by_the_widths_of_the_checkpoint():
    ds = dsjax.count("gpt-oss-120b")
    assert ds["precision"] == "mxfp4" and "stores routed experts in mxfp4" in ds.attrs["checkpoint"]
    experts = 36 * 128 * 3 * 2880 * 2880
    assert ds["checkpoint_bytes"] == 2 * (ds["total_parameters"] - experts) + 0.53125 * experts
    other = dsjax.count("gpt-oss-120b", precision="bf16")
    assert (
        other["checkpoint_bytes"] == ds["checkpoint_bytes"] and other["total_stored_bytes"] > ds["total_stored_bytes"]
    )
    assert other.attrs["checkpoint"].startswith("the checkpoint of gpt-oss-120b")
    plain = dsjax.count("Qwen3-8B")
    assert plain["checkpoint_bytes"] == 2 * plain["total_parameters"] and plain["precision"] == "bf16"
    v3 = dsjax.count("DeepSeek-V3")
    wide = 2 * 129280 * 7168 + 58 * 7168 * 256  # embedding and head, router
    norms = 61 * (2 * 7168 + 1536 + 512) + 7168
    assert v3["checkpoint_bytes"] == v3["total_parameters"] + wide + norms


def test_words_of_the_count_by_kind_of_attention():
    def said(*args):
        result = CliRunner().invoke(cli.main, ["count", *args])
        assert result.exit_code == 0, result.output
        return result.output

    grouped, latent = said("Qwen3-8B", "--tp", "4"), said("DeepSeek-V3", "--tp", "4")
    assert "split over tp chips" in grouped and "tp multiplies norms:" in grouped
    assert "a copy on each of tp chips" in latent and "tp multiplies q_a, kv_a, router, norms:" in latent


# ---- rows


def test_a_row_without_a_width_that_it_needs_is_refused(tmp_path):
    own = tmp_path / "own.toml"
    own.write_text('[precision.Mine]\nsource = "a test"\nweight_bytes = 1\nexpert_bytes = 1\n', encoding="utf-8")
    with pytest.raises(dsjax.InputError, match=r"precision.Mine.*missing activation_bytes, .*kv_bytes, weight_rate"):
        dsjax.count("Qwen3-8B", precision="Mine", catalogs=[own])


def test_rows_as_engines_have_them():
    rows = ROWS["precision"]
    for name in (
        "w8a8",
        "fp8",
        "fp8-kv8",
        "fp8-mla8",
        "fp4",
        "nvfp4",
        "nvfp4-fp8",
        "w4a16",
        "int4",
        "mxfp4",
        "fp8-ffn",
    ):
        assert rows[name]["head_bytes"] == rows[name]["embedding_bytes"] == rows[name]["absorbed_bytes"] == 2.0, name
        assert rows[name]["head_rate"] == rows[name]["absorbed_rate"] == 0, name
    for name in ("kv2-w2", "kv1-w2", "kv1-w1", "bf16", "w8a16"):  # of the studies: all of a kind
        row = rows[name]
        assert row["head_bytes"] == row["dense_bytes"] == row["absorbed_bytes"] == row["weight_bytes"], name
        assert row["shared_bytes"] == row["expert_bytes"] and row["expert_tile"] == 0.0, name


def test_checkpoints_that_differ_are_told_by_precision():
    given = {"axes": {"model": ["DeepSeek-R1", "Kimi-K3", "Llama-3.1-8B", "Phi-4"]}, "fixed": {"hardware": "H200"}}
    with pytest.raises(dsjax.InputError, match="fp8 of DeepSeek-R1, int4 of Kimi-K3, bf16 of Llama-3.1-8B and 1 more;"):
        grid.load("serve", **given)
