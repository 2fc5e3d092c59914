"""Servers of models whose layers keep a state for every sequence beside a cache of its positions."""

import pytest

import dsjax

HYBRID = {
    "hidden_size": 2048, "num_hidden_layers": 48, "num_attention_heads": 16, "num_key_value_heads": 2, "q_lora_rank": 0,
    "kv_lora_rank": 0, "qk_nope_head_dim": 256, "qk_rope_head_dim": 0, "v_head_dim": 256, "intermediate_size": 5120,
    "first_k_dense_replace": 0, "num_nextn_predict_layers": 0, "moe_intermediate_size": 512, "n_routed_experts": 512,
    "n_shared_experts": 1, "num_experts_per_tok": 10, "vocab_size": 151936, "tie_word_embeddings": 0, "qk_norm": 1,
    "attention_gate": 1, "linear_layers": 36, "linear_heads": 32, "linear_key_heads": 16, "linear_key_dim": 128,
    "linear_value_dim": 128, "linear_columns": 12352, "linear_conv": 4, "linear_conv_channels": 8192,
    "linear_chunk": 64, "linear_state_bytes": 4,
}  # fmt: skip
STATE = 36 * (32 * 128 * 128 * 4 + 3 * 8192 * 2)  # bytes of a sequence
POSITION = 12 * 2 * 2 * 256 * 2


@pytest.fixture(scope="module")
def catalog(tmp_path_factory):
    lines = [f"{name} = {value}" for name, value in HYBRID.items()]
    path = tmp_path_factory.mktemp("catalog") / "hybrid.toml"
    path.write_text("\n".join(["[model.Hybrid]", 'source = "sizes of Qwen3-Next"', *lines]))
    return path


def served(catalog, concurrency, **fixed):
    fixed = {"hardware": "H200", "nic": "CX7", "tp": 1, "chips": 8, "osl": 64, "precision": "bf16"} | fixed
    question = {"phase": "serve", "model": "Hybrid", "axes": {"concurrency": concurrency}, "fixed": fixed}
    return dsjax.sweep(question, catalogs=[catalog])


@pytest.mark.parametrize("isl", [64, 1024, 32_768])
def test_memory_of_sequences_is_their_states_and_their_positions(catalog, isl):
    """Between two numbers of users memory grows by what the sequences that decode keep."""
    ds = served(catalog, [16, 64], isl=isl, isl_cv=0.0, osl_cv=0.0)
    held = ds["decode_batch"].values / 8
    few, many = ds["memory_per_chip"].values
    each = STATE + POSITION * (isl + 32)
    assert many - few == pytest.approx((held[1] - held[0]) * each, rel=0.03)


def test_states_limit_how_many_sequences_fit(catalog):
    """Short requests: a chip holds as many as their states leave room for, not as their positions would."""
    ds = served(catalog, [100_000], isl=16, max_batch=0)
    weights = 27.1e9
    fits = (ds["memory_per_chip"].item() - weights) / (STATE + POSITION * 48)
    assert not ds["feasible"].item()
    assert ds["decode_batch"].item() / 8 == pytest.approx(fits, rel=0.05)
