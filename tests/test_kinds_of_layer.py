"""Kinds of layer (dsjax/MODEL.md, 3.1) against an oracle written from that page: drawn models and published ones."""

import itertools

import numpy as np
import pytest
from test_core import (
    HALVED,
    MODES,
    NOTHING_MORE,
    WHOLE,
    compare,
    expected,
    own_catalog,
    points,
    random_axes,
    random_engine,
    random_numbers,
    random_precision,
)

import dsjax
from dsjax.catalog import reader
from dsjax.specs import records

LAYERS = 24
PUBLISHED = ("DeepSeek-V4-Flash", "Qwen3-Next-80B-A3B", "Nemotron-H-56B", "Nemotron-3-Super-120B-A12B")
PUBLISHED += ("Kimi-Linear-48B-A3B", "Kimi-K3", "Gemma-4-26B-A4B", "LongCat-Flash", "Llama-4-Maverick", "MiniMax-M3")
PUBLISHED += ("GLM-5.3-Flash", "MiniMax-M1", "MiMo-V2-Flash", "Step-3.7-Flash", "GLM-5.3")


def size(rng, *choice):
    return int(rng.choice(choice))


def base(rng):
    """Sizes of a model of one kind, MLA."""
    return {
        "hidden_size": size(rng, 2048, 5120), "num_hidden_layers": LAYERS, "num_attention_heads": size(rng, 48, 96),
        "num_key_value_heads": size(rng, 2, 6, 48), "q_lora_rank": size(rng, 0, 768),
        "kv_lora_rank": size(rng, 256, 448),
        "qk_nope_head_dim": size(rng, 64, 128), "qk_rope_head_dim": size(rng, 0, 64), "v_head_dim": size(rng, 64, 128),
        "intermediate_size": size(rng, 6144, 12288), "first_k_dense_replace": size(rng, 0, 1, 5),
        **NOTHING_MORE, "index_layers": LAYERS, "num_nextn_predict_layers": 1,
        "moe_intermediate_size": size(rng, 768, 1408), "n_routed_experts": size(rng, 64, 160), "n_shared_experts": 1,
        "num_experts_per_tok": size(rng, 2, 8), "n_group": size(rng, 0, 8), "topk_group": 4,
        "vocab_size": size(rng, 49152, 153600), "tie_word_embeddings": size(rng, 0, 1),
        "qk_norm": size(rng, 0, 1), "qkv_bias": size(rng, 0, 1), "o_bias": size(rng, 0, 1),
        "mlp_bias": size(rng, 0, 1), "attention_sinks": size(rng, 0, 1),
        "vector_parameters": size(rng, 0, 10**6), "vision_parameters": size(rng, 0, 10**8),
    }  # fmt: skip


def grouped(rng):
    width = size(rng, 64, 128, 256)
    sizes = {"q_lora_rank": 0, "kv_lora_rank": 0, "qk_rope_head_dim": 0, "qk_nope_head_dim": width}
    return sizes | {"v_head_dim": size(rng, 64, width)}


def indexer(rng):
    return {"index_topk": size(rng, 64, 3000), "index_n_heads": size(rng, 4, 32), "index_head_dim": size(rng, 64, 128)}


def window(rng):
    return {"sliding_window": size(rng, 64, 3000), "sliding_layers": size(rng, 4, 8)}


# ---- attention: one of these


def latent_is_value(rng, m):
    width = m["kv_lora_rank"] + m["qk_rope_head_dim"]
    return {"key_is_value": 1, "qk_nope_head_dim": m["kv_lora_rank"], "v_head_dim": width}


def keys_are_values(rng, m):
    sizes = grouped(rng)
    return sizes | {"v_head_dim": sizes["qk_nope_head_dim"], "key_is_value": 1}


def own_windows(rng, m):
    width, shared = size(rng, 64, 192), size(rng, 0, 1)
    sizes = {"sliding_heads": size(rng, 48, 96), "sliding_key_value_heads": size(rng, 2, 8), "sliding_head_dim": width}
    sizes |= {"sliding_v_head_dim": width if shared else size(rng, 64, 128), "sliding_key_is_value": shared}
    return sizes | window(rng) | {"sliding_chunked": size(rng, 0, 1)} | (grouped(rng) if rng.uniform() < 0.6 else {})


def chunks(rng, m):
    return window(rng) | {"sliding_chunked": 1} | (grouped(rng) if rng.uniform() < 0.6 else {})


def unpicked(rng, m):
    left_out = size(rng, 1, 3)
    return indexer(rng) | {"unpicked_layers": left_out, "index_layers": size(rng, 4, 8)}


def blocks(rng, m):
    picks = {"index_topk": size(rng, 128, 2048), "index_block": size(rng, 16, 128)}
    return grouped(rng) | unpicked(rng, m) | picks


def pooled(rng, m):
    return indexer(rng) | {"index_pool": size(rng, 2, 4), "index_layers": size(rng, 4, 8)}


def compressed(rng, m):
    own = {"csa_layers": size(rng, 3, 5), "csa_ratio": 4, "hca_layers": size(rng, 0, 4), "hca_ratio": 128}
    own |= {"q_lora_rank": 768, "index_layers": own["csa_layers"]}
    own |= {"sliding_window": 128, "sliding_layers": LAYERS}
    out = {"o_groups": 8, "o_lora_rank": 512} if rng.uniform() < 0.7 else {}
    return latent_is_value(rng, m) | indexer(rng) | {"index_topk": size(rng, 64, 512)} | own | out


# ---- beside it


def with_a_state(rng, m):
    heads, rule, gates = size(rng, 32, 96), size(rng, 0, 1, 2, 3), size(rng, 0, 1, 2)
    return {
        "linear_layers": size(rng, 6, 10), "linear_rule": rule, "linear_heads": heads,
        "linear_key_heads": size(rng, 4, heads), "linear_key_dim": size(rng, 64, 128),
        "linear_value_dim": size(rng, 64, 128), "linear_columns": size(rng, 8192, 12352), "linear_gates": gates,
        "linear_gate_rank": 128 if gates else 0, "linear_conv": size(rng, 0, 4), "linear_conv_channels": 6144,
        "linear_chunk": size(rng, 64, 128), "linear_state_bytes": size(rng, 2, 4),
    }  # fmt: skip


def attention_free(rng, m):
    return {"attention_free_layers": size(rng, 1, 6)}


def streams(rng, m):
    return {"residual_streams": size(rng, 2, 4)}


def gated(rng, m):
    return {"attention_gate": float(rng.choice([1, 1 / 128]))}


def ffn_free(rng, m):
    return {"ffn_free_layers": size(rng, 2, 9)}


def dense_beside(rng, m):
    return {"dense_beside_layers": size(rng, 2, 9)}


def ungated(rng, m):
    return {"ungated": 1}


def narrow_experts(rng, m):
    return {"expert_hidden_size": size(rng, 1024, 1500)}


def zero_experts(rng, m):
    return {"zero_experts": size(rng, 16, 100)}


ATTENTION = (latent_is_value, keys_are_values, own_windows, chunks, unpicked, blocks, pooled, compressed)
BESIDE = (with_a_state, attention_free, streams, gated, ffn_free, dense_beside, ungated, narrow_experts, zero_experts)


def one_kind(rng, kind):
    m = base(rng)
    return m | kind(rng, m)


def mixture(rng):
    """A model of several kinds."""
    m = base(rng)
    m |= rng.choice(ATTENTION)(rng, m)
    for kind in rng.choice(BESIDE, size(rng, 3, 5), replace=False):
        m |= kind(rng, m)
    # Windows, states and layers without attention are no more than there are layers.
    if m["csa_layers"]:
        m["sliding_layers"] = LAYERS - m["linear_layers"] - m["attention_free_layers"]
    return m


def layer_knots(rng):
    """{knot of a kernel of a kind of layer: a number of its own}."""
    kinds = ("recurrent", "scan", "channel", "state", "convolution", "mixing", "compressed", "block")
    names = reader.numbers(reader.load(records.RECORDS)["curve"]["hopper"])
    found = {}
    for knot in names:
        if knot.split("_")[0] in kinds:
            shares = knot.endswith(("compute", "memory", "loss"))
            typical = 1e-5 if knot.endswith("start_s") else 1e-8 if knot.endswith("depth_s") else 100.0
            found[f"curve_{knot}"] = float(rng.uniform(0.2, 1) if shares else typical * np.exp(rng.uniform(-1, 1)))
    return found


# {block of a step: operators of the oracle}; others are one operator, and the one of layers with a window of their own.
BLOCKS = {"indexer": ("indexer", "compress", "compress_more"), "kv_b": ("kv_b", "absorb_k", "absorb_v")}
BLOCKS |= {"o": ("o", "o_a", "sliding_o"), "latent": ("latent_down", "latent_up")}
BLOCKS |= {"linear": tuple(f"linear_{x}" for x in ("in", "gate_a", "gate_b", "conv", "core", "norm", "out"))}
PLAIN = ("q_a", "kv_a", "q_b", "gate", "core", "kv_exchange", "router", "dispatch", "combine", "shared", "routed")


def compare_in_full(ds, catalog, chosen, count):
    """Memory by parts, and the time of blocks, at some points of a whole batch."""
    whole = (x for _, x in points(ds, chosen) if x["pipeline"] in WHOLE)
    for point in itertools.islice(whole, count):
        right = expected(point, catalog)
        one = dsjax.explain(ds, {name: point[name] for name in ds.step_time.dims})
        parts = {"state": 0.0} | dict(zip(one.part.values, one.memory_part.values, strict=True))
        assert parts == pytest.approx(right["memory"], rel=1e-9, abs=0), point
        layers, once = right["layers"], right["operators"]
        for block in one.block.values:
            if block in BLOCKS or block in PLAIN:
                names = BLOCKS.get(block, (block, f"sliding_{block}"))
                seconds = sum(once[name] * layers[name] for name in names if name in once)
                assert one.block_time.sel(block=block).item() == pytest.approx(seconds, rel=1e-9, abs=0), (block, point)


def agree(tmp_path, models, seed, phase, count, in_full=1):
    """Models {name: sizes} at random points of a random space."""
    rng = np.random.default_rng(seed)
    axes = random_axes(rng, seed, phase)
    axes |= {
        "hardware": ["H800"], "model": list(models), "precision": ["fp8", "drawn"], "engine": ["drawn"],
        "pipeline": [str(rng.choice(WHOLE)), str(rng.choice(HALVED))], "dispatch_mode": [str(rng.choice(MODES))],
    }  # fmt: skip
    own = {"precision": {"drawn": random_precision(rng)}, "engine": {"drawn": random_engine(rng, seed % 3)}}
    drawn = {name: sizes for name, sizes in models.items() if sizes}
    path = own_catalog(tmp_path / "own.toml", own | ({"model": drawn} if drawn else {}))
    fixed = {"nic": "CX7", "phase": phase, **random_numbers(rng, seed, phase), **layer_knots(rng)}
    ds = dsjax.sweep({"axes": axes, "fixed": fixed}, catalogs=path, blocks=False)
    catalog = reader.load(records.RECORDS, *reader.users(path))
    chosen = rng.permutation(ds.step_time.size)
    compare(ds, catalog, chosen[:count], rtol=1e-9)
    compare_in_full(ds, catalog, chosen, in_full)


@pytest.mark.parametrize("phase", ["decode", "prefill"])
@pytest.mark.parametrize("kind", [*ATTENTION, *BESIDE], ids=lambda kind: kind.__name__)
def test_oracle_agrees_on_each_kind(kind, phase, tmp_path):
    seed = [*ATTENTION, *BESIDE].index(kind)
    agree(tmp_path, {"one": one_kind(np.random.default_rng(seed), kind)}, seed, phase, 40)


@pytest.mark.parametrize("phase", ["decode", "prefill"])
@pytest.mark.parametrize("seed", range(4))
def test_oracle_agrees_on_mixtures(seed, phase, tmp_path):
    rng = np.random.default_rng(100 + seed)
    agree(tmp_path, {f"mixture-{i}": mixture(rng) for i in range(3)}, seed, phase, 100)


@pytest.mark.parametrize("phase", ["decode", "prefill"])
def test_oracle_agrees_on_published_models(phase, tmp_path):
    agree(tmp_path, dict.fromkeys(PUBLISHED), 1, phase, 300, in_full=5)
