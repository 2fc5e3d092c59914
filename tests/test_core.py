"""The core model against an oracle written from dsjax/MODEL.md, and the laws of that page."""

import contextlib
import functools
import itertools

import numpy as np
import oracle_core as oracle
import pytest

import dsjax
from dsjax import evaluation
from dsjax.catalog import reader
from dsjax.serving.core import CORE
from dsjax.specs import fields, records

MODEL = reader.numbers(reader.load()["model"]["DeepSeek-V3"])
NOT_GIVEN = {"ep": 0, "chips": 0, "batch": 1, "prompts": 1, "shared_tp": 0}
ATTENTION = ("q_a", "kv_a", "q_b", "indexer", "core", "kv_exchange", "o")
EXPERTS = ("router", "dispatch", "combine", "shared", "routed")
# What most models lack.
NOTHING_MORE = {name: meta["default"] for name, meta in fields.fields_of(records.Model).items() if "default" in meta}
WORKLOAD = fields.fields_of(records.Workload).keys() - {"isl", "osl"}


def full(ds, name):
    return ds[name].broadcast_like(ds.step_time).transpose(*ds.step_time.dims).values


@functools.cache
def row(record, name):
    return reader.numbers(reader.load()[record][name])


def expected(point, models):
    """The oracle at one point {axis or field: value}."""
    given = {record: row(record, point[record]) for record in ("hardware", "nic", "precision")}
    own = reader.load()["hardware"][point["hardware"]]["curve"]
    given["curve"] = row("curve", own if point["curve"] == "measured" else point["curve"])
    given["model"] = models[point["model"]]
    for record, numbers in given.items():
        given[record] = numbers | {f: point[f"{record}_{f}"] for f in numbers if f"{record}_{f}" in point}
    return oracle.evaluate(
        **given,
        workload={name: point[name] for name in WORKLOAD},
        deployment=NOT_GIVEN | {k: point[k] for k in CORE.deployment if k in point},
        phase=point["phase"],
        pipeline=point["pipeline"],
        mode=point["dispatch_mode"],
    )


def points(ds, chosen):
    """(index, {axis or field: value}) of the chosen points of a dataset."""
    dims = ds.step_time.dims
    along = {name: ds[name].values for name in dims}
    fixed = {name: ds[name].item() for name in ds.coords if ds[name].ndim == 0}
    for index in zip(*np.unravel_index(chosen, ds.step_time.shape), strict=True):
        yield index, fixed | {name: along[name][i].item() for name, i in zip(dims, index, strict=True)}


def compare(ds, models, chosen, rtol=1e-12):
    """The chosen points of a dataset against the oracle."""
    names = ("step_time", "tps_per_user", "tps_per_chip", "ttft", "memory_per_chip", "chips", "dp", "ep")
    masks = [name for name in ds.data_vars if name.startswith("ok_")]
    assert {"ok_shared_tp", "ok_kv_split", "ok_memory", "ok_even_batch"} <= set(masks)
    values = {name: full(ds, name) for name in (*names, *masks) if name in ds.data_vars}
    for index, point in points(ds, chosen):
        right = expected(point, models)
        for name, array in values.items():
            if name.startswith("ok_"):
                assert bool(array[index]) == right[name], (name, point)
            elif not (np.isnan(array[index]) and np.isnan(right[name])):
                assert abs(array[index] - right[name]) <= rtol * abs(right[name]), (name, point)


def compare_in_full(ds, models, chosen, count):
    """Memory by parts and the time of every kind of block, at some `windows` points of every model, the cache split."""
    for name, model in models.items():
        wanted = {"model": name, "pipeline": "windows"}
        split = (point for _, point in points(ds, chosen) if point["kv_split"] > 1 and wanted.items() <= point.items())
        found = list(itertools.islice(split, count))
        assert len(found) == count, name
        for point in found:
            compare_one_in_full(ds, models, model, point)


def compare_one_in_full(ds, models, model, point):
    right = expected(point, models)
    one = dsjax.explain(ds, {name: point[name] for name in ds.step_time.dims})
    parts = dict(zip(one.part.values, one.memory_part.values, strict=True))
    assert parts == pytest.approx(right["memory"], rel=1e-12, abs=0), point
    once, layers, dense = right["operators"], model["num_hidden_layers"], model["first_k_dense_replace"]
    seconds = {name: once[name] * layers for name in ATTENTION}
    seconds |= {name: once[name] * (layers - dense) for name in EXPERTS}
    seconds["dense"] = (once["dense"] + once["swiglu_dense"]) * dense
    seconds["kv_b"] = (once["absorb_k"] + once["absorb_v"] + once["kv_b"]) * layers  # one block in either phase
    seconds["all_reduce"] = once["all_reduce"] * 2 * layers
    blocks = {name: one.block_time.sel(block=name).item() for name in seconds}
    assert blocks == pytest.approx(seconds, rel=1e-12, abs=0), point


def random_models(rng, tp, seed):
    """{row: numbers} of models of every kind and of any sizes; MLA where not said otherwise."""
    unshared = {"n_shared_experts": 0}
    dense = unshared | {
        "n_group": 0,
        "topk_group": 0,
        "first_k_dense_replace": 24,
        "n_routed_experts": 1,
        "num_experts_per_tok": 1,
    }
    grouped = {"q_lora_rank": 0, "kv_lora_rank": 0}
    # Contexts are drawn on both sides of these.
    window = {"sliding_window": int(rng.choice([50, 4000])), "sliding_layers": int(rng.choice([7, 24]))}
    sparse = {"index_topk": int(rng.choice([60, 3000])), "index_n_heads": 5, "index_head_dim": 96}
    some_tp = sorted(tp)[1]  # of the three of `tp` one is below that many KV heads and one above
    kinds = {
        "whole-queries": {"q_lora_rank": 0, "n_shared_experts": 2} | (sparse if seed % 2 else {}),
        "grouped": grouped | {"num_key_value_heads": some_tp} | ({} if seed % 2 else window),
        "unshared": unshared | (grouped | {"num_nextn_predict_layers": 0} if seed % 2 else sparse | window),
        "dense": dense | ({} if seed % 2 else grouped),
    }

    def size(*choice):
        return int(rng.choice(choice))

    def numbers():
        return {
            "hidden_size": size(2048, 5120, 6144), "num_hidden_layers": 24, "num_attention_heads": size(48, 96, 144),
            "num_key_value_heads": size(1, 6, 48), "q_lora_rank": size(768, 1000), "kv_lora_rank": size(256, 500),
            "qk_nope_head_dim": size(64, 128, 192), "qk_rope_head_dim": size(0, 32, 64), "v_head_dim": size(64, 128),
            "intermediate_size": size(6144, 12288), "first_k_dense_replace": size(0, 1, 5),
            **NOTHING_MORE, "num_nextn_predict_layers": 1, "moe_intermediate_size": size(768, 1536, 1408),
            "n_routed_experts": size(64, 160, 384), "n_shared_experts": 1, "num_experts_per_tok": size(2, 6, 8),
            "n_group": 16, "topk_group": size(4, 8, 16),
            "vocab_size": size(49152, 102400, 153600), "tie_word_embeddings": size(0, 1),
        }  # fmt: skip

    return {"DeepSeek-V3": MODEL} | {name: numbers() | kind for name, kind in kinds.items()}


def own_catalog(path, models):
    """A catalog of all models but the package's own."""
    lines = []
    for name in models.keys() - {"DeepSeek-V3"}:
        lines += [f"[model.{name}]", 'source = "drawn"', *(f"{field} = {x}" for field, x in models[name].items())]
    path.write_text("\n".join(lines), encoding="utf-8")
    return [path]


def random_space(seed, phase):
    """The axes of a sweep, and the models in it."""
    rng = np.random.default_rng(seed)

    def around(number):
        return float(number * np.exp(rng.uniform(-1, 1)))

    axes = {
        "hardware": ["H800", "SG2260E"],
        "pipeline": ["naive", "dual-mbatch", "windows", "tbo", "sbo"],
        "precision": ["fp8", "w8a8"],
        "tp": [int(x) for x in rng.choice([1, 2, 3, 4, 8, 16], 3, replace=False)],
        "moe_tp": [1, int(rng.choice([2, 3, 4]))],
        "ep": [int(x) for x in rng.choice([8, 16, 36, 64, 72, 144, 256, 320], 2, replace=False)],
        "nic_scale_out_bytes_per_s": [around(2e10), around(5e10)],
        "expert_imbalance": [0.0 if seed % 2 else 1.0 + around(0.5)],
    }
    if phase == "decode":
        axes |= {"batch": [int(rng.integers(1, 200))], "mtp": [0, int(rng.integers(1, 4))]}
    else:
        axes |= {"prompts": [int(rng.integers(1, 65)), 64], "sp": [1, 2]}
    # Splits of every kind: none, dividing tp, not dividing it, wider than it or than the domain.
    axes["kv_split"] = [1, int(rng.choice([2, 3])), 4, 8]
    if seed % 2 == 0:  # an odd seed does not give it: as tp
        axes["shared_tp"] = [int(x) for x in rng.choice([1, 2, 3, 4, 8, 16], 3, replace=False)]
    models = random_models(rng, axes["tp"], seed)
    axes["model"] = list(models)
    if seed % 2:  # over what the rows say
        axes["model_num_key_value_heads"] = [1, sorted(axes["tp"])[1]]
    numbers = {
        "hardware_hbm_bytes_per_s": around(2e12), "hardware_scale_up_bytes_per_s": around(2e11),
        "hardware_step_s": 1e-4,
        "hardware_roofline_overlap": rng.uniform(), "hardware_scale_up_domain": float(rng.choice([4, 8, 32])),
        "nic_scale_out_step_s": 1e-5, "context": float(rng.integers(100, 20000)), "acceptance": rng.uniform(),
        "redundant_experts": int(rng.integers(0, 65)), "software_factor": 1.2, "memory_reserve": 0.07,
        "unhidden": 0.3 * rng.uniform(),
        "hardware_all_reduce_start_s": around(1e-5), "hardware_all_reduce_rise_s": around(1e-5),
        "hardware_all_reduce_direct": 0.2,
        "dispatch_mode": "normal" if seed % 2 else "auto",
        "hardware_exchange_hidden_s": around(5e-6), "hardware_combine_hidden_s": around(2e-5),
        "curve_gemm_tail": around(1e5), "curve_pointwise_kernels": 11.0, "curve_prefill_short": around(90.0),
        "curve_attention_split_s": around(1e-5), "curve_attention_split_tokens": around(1e3),
    }  # fmt: skip
    return {"axes": axes, "fixed": {"nic": "CX7", "phase": phase, **numbers}}, models


@pytest.mark.parametrize(("seed", "phase"), [(0, "decode"), (1, "decode"), (2, "prefill"), (3, "prefill")])
def test_oracle_agrees_at_random_points(seed, phase, tmp_path):
    given, models = random_space(seed, phase)
    with evaluation.compiled() if seed % 2 else contextlib.nullcontext():  # the same formulas either way
        ds = dsjax.sweep(given, catalogs=own_catalog(tmp_path / "models.toml", models), blocks=False)
    chosen = np.random.default_rng(seed).permutation(ds.step_time.size)
    compare(ds, models, chosen[:1000])
    assert ds.ok_kv_split.any() and not ds.ok_kv_split.all()
    if "shared_tp" in ds.dims:
        assert ds.ok_shared_tp.any() and not ds.ok_shared_tp.all()
        compare_in_full(ds, models, chosen, 2)
