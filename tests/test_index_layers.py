"""Sparse attention whose layers share the picks of an indexer: what a config says, what is counted, timed, kept."""

import json

import pytest
from test_configs import TOY_MLA

import dsjax
from dsjax.catalog import configs, reader

SPARSE = TOY_MLA | {
    "architectures": ["GlmMoeDsaForCausalLM"],
    "num_hidden_layers": 10,
    "first_k_dense_replace": 3,
    "index_topk": 8,
    "index_n_heads": 2,
    "index_head_dim": 4,
}
FULL, SHARED = ["full"], ["shared"]
TYPES = 3 * FULL + 3 * SHARED + FULL + 3 * SHARED  # layers 0, 1, 2 and 6
BY_FREQUENCY = {"index_topk_freq": 4, "index_skip_topk_offset": 3, "index_topk_pattern": None}


@pytest.mark.parametrize(
    ("given", "layers"),
    [
        ({}, 10),
        ({"indexer_types": None, "index_topk_freq": 1}, 10),
        ({"indexer_types": TYPES}, 4),
        ({"index_topk_pattern": "FFFSSSFSSS"}, 4),
        (BY_FREQUENCY, 4),
        (BY_FREQUENCY | {"indexer_types": TYPES, "index_share_for_mtp_iteration": True}, 4),
        ({"mlp_layer_types": ["dense"] * 3 + ["sparse"] * 7}, 10),
        ({"layer_types": ["deepseek_sparse_attention"] * 10}, 10),
    ],
)
def test_layers_that_a_config_names(given, layers):
    row = configs.row(SPARSE | given, "toy")
    assert (row["index_layers"], row["first_k_dense_replace"]) == (layers, 3)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"indexer_types": TYPES[1:]}, "indexer_types num_hidden_layers 10"),
        ({"indexer_types": ["half", *TYPES[1:]]}, "indexer_types full shared"),
        ({"indexer_types": SHARED + FULL * 9}, "indexer_types first layer"),
        ({"indexer_types": [1] * 10}, "indexer_types full or shared"),
        ({"index_topk_pattern": "FFSS"}, "index_topk_pattern 10 letters"),
        ({"index_topk_pattern": "XFFSSSFSSS"}, "index_topk_pattern F or S"),
        (BY_FREQUENCY | {"indexer_types": FULL * 10}, "index_topk_freq indexer_types"),
        ({"index_topk_freq": 4}, "index_skip_topk_offset missing"),
        ({"index_topk_freq": 0}, "index_topk_freq 0 at least 1"),
        ({"index_kpool": 4}, "index_kpool 4 index_topk"),
        ({"layer_types": ["linear_attention"] * 10}, "layer_types deepseek_sparse_attention"),
        ({"mlp_layer_types": ["dense"] * 4 + ["sparse"] * 6}, "mlp_layer_types 3 dense layers"),
        ({"mlp_layer_types": ["sparse"] * 3 + ["dense"] * 3 + ["sparse"] * 4}, "mlp_layer_types 3 dense layers"),
        ({"mlp_layer_types": "dense"}, "mlp_layer_types list"),
    ],
)
def test_what_contradicts_or_is_not_understood_is_refused_by_name(given, words):
    with pytest.raises(dsjax.InputError) as error:
        configs.row(SPARSE | given, "toy")
    for word in words.split():
        assert word in str(error.value), str(error.value)


# GLM-5.2 as published (zai-org/GLM-5.2): the sizes of GLM-5, indexers on 21 of 78 layers.
GLM = json.loads((reader.DATA / "models" / "GLM-5.json").read_text())
LATER = {"indexer_types": [("full" if i < 3 or i % 4 == 2 else "shared") for i in range(78)]} | BY_FREQUENCY


@pytest.fixture
def models(tmp_path):
    """Paths of GLM-5 and of GLM-5.2."""
    paths = [tmp_path / "glm5.json", tmp_path / "glm52.json"]
    for path, config in zip(paths, (GLM, GLM | LATER), strict=True):
        path.write_text(json.dumps(config), encoding="utf-8")
    return [str(path) for path in paths]


def test_counts_and_cache_by_hand(models):
    before, after = (dsjax.count(model, context=131_072) for model in models)
    indexer = 2048 * 32 * 128 + 6144 * (128 + 32) + 2 * 128  # queries, key and weights, norm of the key
    assert before["total_parameters"] - after["total_parameters"] == 57 * indexer
    assert 57 * indexer == pytest.approx(0.53e9, rel=0.01)
    assert before["mtp_parameters"] == after["mtp_parameters"]  # the module has an indexer of its own
    keys = 131_072 * 128 * 21  # 672 MiB at two bytes an element (ik_llama.cpp pull request 2093)
    assert 2 * keys == 672 * 2**20
    assert after["kv_cache_bytes"] == 131_072 * 78 * 576 * 2 + keys * 33 / 32  # a byte an element, and scales
    held = dict(zip(after["operator"].values.tolist(), after["layers"].values.tolist(), strict=True))
    assert {held[name] for name in ("index_q", "index_k", "index_scores", "index_k_norm")} == {21}
    assert held["attention"] == 78


def test_the_time_of_indexers_goes_with_the_layers_that_have_one(models):
    def step(mtp, pipeline):
        axes = {"model": models, "batch": [8], "mtp": [mtp], "pipeline": [pipeline]}
        fixed = {"hardware": "B200", "nic": "CX7", "tp": 1, "moe_tp": 1, "chips": 16, "context": 131_072}
        grid = {"axes": axes, "fixed": fixed | {"precision": "fp8-kv8", "phase": "decode"}}
        return dsjax.sweep(grid).squeeze()

    for pipeline in ("naive", "tbo"):
        ds = step(0, pipeline)
        indexers = ds.block_time.sel(block="indexer").values
        assert indexers[1] == pytest.approx(21 / 78 * indexers[0], rel=1e-12)
        assert ds.step_time.values[0] - ds.step_time.values[1] == pytest.approx(indexers[0] - indexers[1], rel=1e-9)
    plain, drafted = step(0, "naive"), step(1, "naive")
    assert (drafted.memory_per_chip - plain.memory_per_chip).values[1] > 0
    assert drafted.block_time.sel(block="mtp").values[0] == drafted.block_time.sel(block="mtp").values[1]
