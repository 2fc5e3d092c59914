"""The core model against an oracle written from dsjax/MODEL.md, and the laws of that page."""

import contextlib
import itertools
import json

import numpy as np
import oracle_core as oracle
import pytest

import dsjax
from dsjax import evaluation
from dsjax.catalog import reader
from dsjax.formulas import attention_kernels
from dsjax.serving.core import CORE
from dsjax.specs import fields, records

DEPLOYMENT = dict.fromkeys(fields.fields_of(records.Deployment), 0)
ATTENTION = ("q_a", "kv_a", "q_b", "indexer", "core", "kv_exchange", "o")
EXPERTS = ("router", "dispatch", "combine", "shared", "routed")
# What most models lack.
NOTHING_MORE = {name: meta["default"] for name, meta in fields.fields_of(records.Model).items() if "default" in meta}
WORKLOAD = fields.fields_of(records.Workload)
WHOLE, HALVED = ("naive", "windows", "sbo"), ("dual-mbatch", "tbo")
MODES = ("auto", "low-latency", "layered", "normal", "all-gather")


def full(ds, name):
    return ds[name].broadcast_like(ds.step_time).transpose(*ds.step_time.dims).values


def expected(point, catalog):
    """The oracle at one point {axis or field: value}."""
    rows = {record: catalog[record][point[record]] for record in ("hardware", "nic", "precision", "model", "engine")}
    own = rows["hardware"]["curve"]
    own = rows["engine"].get("curves", {}).get(own, own)
    rows["curve"] = catalog["curve"][own if point["curve"] == "measured" else point["curve"]]
    given = {record: reader.numbers(row) for record, row in rows.items()}
    for record, numbers in given.items():
        given[record] = numbers | {f: point[f"{record}_{f}"] for f in numbers if f"{record}_{f}" in point}
    return oracle.evaluate(
        **given,
        workload={name: point.get(name, 0) for name in WORKLOAD},
        deployment=DEPLOYMENT | {k: point[k] for k in CORE.deployment if k in point},
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


def compare(ds, catalog, chosen, rtol=1e-12):
    """The chosen points of a dataset against the oracle."""
    names = ("step_time", "tps_per_user", "tps_per_chip", "ttft", "memory_per_chip", "chips", "dp", "ep")
    masks = [name for name in ds.data_vars if name.startswith("ok_")]
    assert {"ok_shared_tp", "ok_kv_split", "ok_memory", "ok_even_batch", "ok_pp", "ok_exchange"} <= set(masks)
    values = {name: full(ds, name) for name in (*names, *masks) if name in ds.data_vars}
    for index, point in points(ds, chosen):
        right = expected(point, catalog)
        for name, array in values.items():
            if name.startswith("ok_"):
                assert bool(array[index]) == right[name], (name, point)
            elif not (np.isnan(array[index]) and np.isnan(right[name])):
                assert abs(array[index] - right[name]) <= rtol * abs(right[name]), (name, point)


def compare_in_full(ds, catalog, chosen, count):
    """Memory by parts and the time of every kind of block, at some points of a whole batch of every model."""
    for name in ds.model.values:
        split = (
            x for _, x in points(ds, chosen) if x["model"] == name and x["pipeline"] in WHOLE and x["kv_split"] > 1
        )
        found = list(itertools.islice(split, count))
        assert len(found) == count, name
        for point in found:
            compare_one_in_full(ds, catalog, point)


def compare_one_in_full(ds, catalog, point):
    right = expected(point, catalog)
    one = dsjax.explain(ds, {name: point[name] for name in ds.step_time.dims})
    parts = {"state": 0.0} | dict(zip(one.part.values, one.memory_part.values, strict=True))  # shown where there is one
    assert parts == pytest.approx(right["memory"], rel=1e-12, abs=0), point
    model = catalog["model"][point["model"]]
    once, layers, dense = right["operators"], model["num_hidden_layers"], model["first_k_dense_replace"]
    seconds = {name: once[name] * layers for name in ATTENTION}
    seconds["indexer"] = once["indexer"] * model["index_layers"]
    seconds |= {name: once[name] * (layers - dense) for name in EXPERTS}
    seconds["dense"] = (once["dense"] + once["swiglu_dense"]) * dense
    seconds["kv_b"] = (once["absorb_k"] + once["absorb_v"] + once["kv_b"]) * layers  # one block in either phase
    seconds["all_reduce"] = once["all_reduce"] * 2 * layers
    seconds["send"] = once["send"] * (point.get("pp", 1) - 1)
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
    sparse["index_layers"] = int(rng.choice([1, 7, 24]))
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
            **NOTHING_MORE, "index_layers": 24, "num_nextn_predict_layers": 1,
            "moe_intermediate_size": size(768, 1536, 1408),
            "n_routed_experts": size(64, 160, 384), "n_shared_experts": 1, "num_experts_per_tok": size(2, 6, 8),
            "n_group": size(0, 16, 16), "topk_group": size(4, 8, 16),
            "vocab_size": size(49152, 102400, 153600), "tie_word_embeddings": size(0, 1),
        }  # fmt: skip

    return {name: numbers() | kind for name, kind in kinds.items()}


def random_precision(rng):
    """Widths and rates that differ by kind of weight; a row may leave out some, and name a rate that a chip lacks."""
    kinds = ("weight", "dense", "head", "embedding", "absorbed", "shared", "expert")
    left_out = set(rng.choice(kinds[1:6], 1))
    widths = {f"{kind}_bytes": float(rng.choice([0.5625, 1, 2])) for kind in kinds if kind not in left_out}
    widths |= {f"{kind}_bytes": float(rng.choice([1, 2])) for kind in ("activation", "kv", "dispatch", "combine")}
    some = ["bf16", "fp8", "int8", "fp4"] if rng.uniform() < 0.3 else ["bf16", "int8"]
    rated = [kind for kind in (*kinds, "attention") if kind not in left_out | {"embedding"}]
    widths["expert_tile"] = float(rng.choice([0, 96, 128]))
    return widths | {f"{kind}_rate": str(rng.choice(some)) for kind in rated}


def random_engine(rng, library):
    return {
        "step_s": 1e-3 * rng.uniform(), "draft_step_s": 1e-3 * rng.uniform(), "request_s": 1e-3 * rng.uniform(),
        "pointwise_launches": rng.uniform(0.1, 1), "fused_projections": rng.uniform(), "shared_beside": rng.uniform(),
        "quantising": rng.uniform(), "fewest_groups": int(rng.choice([0, 3])),
        "library": library, "exchange_share": rng.uniform(0.1, 1), "exchange_buffers": float(rng.choice([0, 2.5])),
        "exchange_tokens": int(rng.choice([0, 100, 2000])), "memory_bytes": 1e10 * rng.uniform(),
        "cache_scale_bytes": 16 * rng.uniform(), "cache_rope_bytes": float(rng.choice([0, 2])),
        "logit_bytes": 1e4 * rng.uniform(),
    }  # fmt: skip


def own_catalog(path, rows):
    """A catalog of `rows` {record: {row: {field: number or text}}}."""
    lines = []
    for record, own in rows.items():
        for name, row in own.items():
            lines += [f"[{record}.{name}]", 'source = "drawn"']
            lines += [f"{field} = {json.dumps(x)}" for field, x in row.items() if field != "curves"]
            lines += [f"curves = {{ {a} = {json.dumps(b)} }}" for a, b in row.get("curves", {}).items()]
    path.write_text("\n".join(lines), encoding="utf-8")
    return [path]


def random_axes(rng, seed, phase):
    """The axes of a deployment."""

    def some(n, *choice):
        return sorted(rng.choice(choice, n, replace=False).tolist())

    tp = sorted({1, *some(2, 2, 3, 4, 8, 16, 32)}) if seed % 4 < 2 else some(3, 1, 2, 3, 4, 8, 16, 32)
    axes = {"tp": tp, "moe_tp": [1, *some(1, 2, 3, 4, 8, 16)], "pp": [1, *some(1, 2, 3, 5, 24, 70)]}
    # Of chips and cards: the one, the other, or both, which need not agree.
    if seed % 3 < 2:
        axes["ep"] = some(2, 1, 2, 8, 16, 36, 64, 72, 144, 256, 320)
    if seed % 3 > 0:
        axes["chips"] = some(2, 4, 8, 48, 64, 72, 144, 320, 640)
    if phase == "decode":
        axes["mtp"] = [0, *some(1, 1, 2, 3)]
        load = {"batch": some(1, *range(1, 200))} if seed % 2 else {"concurrency": some(2, 1, 7, 64, 600, 8192)}
        axes |= load
    else:
        axes |= {"prompts": [64, *some(1, *range(1, 65))], "sp": [1, 2]}
    # Splits of every kind: none, dividing tp, not dividing it, wider than it or than the domain.
    axes["kv_split"] = [1, *some(1, 2, 3, 4, 8)]
    if seed % 2 == 0:  # an odd seed does not give it: as tp
        axes["shared_tp"] = some(2, 1, 2, 3, 4, 8, 16)
    else:  # over what the rows say
        axes["model_num_key_value_heads"] = [1, tp[1]]
    return axes


def random_numbers(rng, seed, phase):
    """{axis: number} of what a space fixes."""

    def around(number):
        return float(number * np.exp(rng.uniform(-1, 1)))

    mesh = around(2e10) if seed % 2 else 0.0
    lengths = {"context": float(rng.integers(100, 20000))}
    if seed % 4 > 1:
        lengths = {"isl": float(rng.integers(100, 9000)), "osl": float(rng.integers(10, 9000))}
    return lengths | {
        "hardware_hbm_bytes_per_s": around(2e12), "hardware_scale_up_bytes_per_s": around(2e11),
        "hardware_scale_up_peer_bytes_per_s": mesh, "hardware_scale_up_torus": float(rng.choice([0, 2, 3])),
        "hardware_step_s": 1e-4,
        "hardware_roofline_overlap": rng.uniform(), "hardware_scale_up_domain": float(rng.choice([4, 8, 32])),
        "nic_scale_out_step_s": 1e-5, "nic_scale_out_bytes_per_s": around(3e10),
        "context_cv": float(rng.choice([0, 0.7])), "acceptance": rng.uniform(), "acceptance_decay": rng.uniform(),
        "expert_imbalance": float(rng.choice([0, 0, 1.0 + around(0.5)])),
        "expert_cv": rng.uniform(), "expert_cv_placed": 0.3 * rng.uniform(),
        "redundant_experts": int(rng.choice([0, rng.integers(1, 65)])), "software_factor": 1.2,
        "memory_reserve": 0.07, "unhidden": 0.3 * rng.uniform(),
        "hardware_all_reduce_start_s": around(1e-5), "hardware_all_reduce_rise_s": around(1e-5),
        "hardware_all_reduce_direct": float(rng.choice([0, 0.2, 0.9])),
        "hardware_exchange_cores_bytes_per_s": float(rng.choice([0, around(2e11)])),
        "hardware_exchange_hidden_s": around(5e-6), "hardware_combine_hidden_s": around(2e-5),
        "curve_gemm_tail": around(1e5), "curve_pointwise_kernels": 11.0,
        "precision_index_rate": int(rng.integers(0, 3)), **attention_knots(rng),
    }  # fmt: skip


def attention_knots(rng):
    """{knot of a kernel of attention: a number of its own}."""
    found = {}
    for knot, meta in fields.fields_of(attention_kernels.AttentionKnots).items():
        typical = 1e-5 if knot.endswith("_s") else 40.0 if knot.endswith("_tile") else 300.0
        number = rng.uniform(0.2, 1.0) if meta["high"] == 1.0 else typical * np.exp(rng.uniform(-1, 1))
        found[f"curve_{knot}"] = float(number)
    return found


def random_space(seed, phase):
    """The axes of a sweep, and the rows of its own catalog."""
    rng = np.random.default_rng(seed)
    axes = {
        "hardware": ["H800", "SG2260E"],
        "pipeline": [str(rng.choice(WHOLE)), str(rng.choice(HALVED))],
        "dispatch_mode": rng.choice(MODES, 2, replace=False).tolist(),
        "precision": ["fp8", "drawn"],
        "engine": ["generic", "drawn"],
        **random_axes(rng, seed, phase),
    }
    models = random_models(rng, axes["tp"], seed)
    axes["model"] = ["DeepSeek-V3", *rng.choice(list(models), 3, replace=False).tolist()]
    engine = random_engine(rng, seed % 3) | ({"curves": {"hopper": "blackwell"}} if seed % 2 else {})
    own = {"model": models, "precision": {"drawn": random_precision(rng)}, "engine": {"drawn": engine}}
    return {"axes": axes, "fixed": {"nic": "CX7", "phase": phase, **random_numbers(rng, seed, phase)}}, own


def test_chips_that_no_cards_divide_are_as_many_in_a_gather():
    """8 chips of a stage are one domain, 9.6 are more, though two cards of 4 are all that they hold."""
    axes = {"chips": [40, 48], "pipeline": ["naive"], "precision": ["fp8"]}
    numbers = {"tp": 1, "moe_tp": 4, "pp": 5, "prompts": 64, "isl": 2048, "osl": 1, "hardware_scale_up_domain": 8.0}
    names = {
        "hardware": "H800",
        "nic": "CX7",
        "dispatch_mode": "all-gather",
        "model": "DeepSeek-V3",
        "phase": "prefill",
    }
    ds = dsjax.sweep({"axes": axes, "fixed": names | numbers | {"model": "DeepSeek-V3"}})
    assert ds.ok_chips.values.ravel().tolist() == [True, False]
    compare(ds, reader.load(), [0, 1])


@pytest.mark.parametrize("phase", ["decode", "prefill"])
@pytest.mark.parametrize("seed", range(6))
def test_oracle_agrees_at_random_points(seed, phase, tmp_path):
    given, own = random_space(seed, phase)
    path = own_catalog(tmp_path / "own.toml", own)
    catalog = reader.load(records.RECORDS, *reader.users(path))
    with (
        evaluation.compiled() if (seed, phase) == (1, "decode") else contextlib.nullcontext()
    ):  # the same formulas either way
        ds = dsjax.sweep(given, catalogs=path, blocks=False)
    chosen = np.random.default_rng(seed).permutation(ds.step_time.size)
    compare(ds, catalog, chosen[:350])
    if seed < 3:
        compare_in_full(ds, catalog, chosen, 1)
