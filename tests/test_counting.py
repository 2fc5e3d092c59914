"""Counts against the published checkpoint's tensors, against einsums counted apart, and against a published chapter."""

import csv
import dataclasses
import io
import itertools
import json
import math
from fractions import Fraction

import numpy as np
import pytest
import xarray as xr
from click.testing import CliRunner

import dsjax
from dsjax import cli
from dsjax.analysis import count, tally
from dsjax.catalog import reader
from dsjax.specs import records

TP = (1, 2, 4, 8, 16, 32, 64, 128)
H, E, V = 7168, 256, 129280
WIDTHS = ("weight", "dense", "head", "embedding", "absorbed", "expert", "shared")
WIDTHS += ("activation", "kv", "dispatch", "combine")
MLA = {
    "input_layernorm": [7168],
    "self_attn.q_a_proj": [1536, 7168],
    "self_attn.q_a_layernorm": [1536],
    "self_attn.q_b_proj": [24576, 1536],
    "self_attn.kv_a_proj_with_mqa": [576, 7168],
    "self_attn.kv_a_layernorm": [512],
    "self_attn.kv_b_proj": [32768, 512],
    "self_attn.o_proj": [7168, 16384],
    "post_attention_layernorm": [7168],
}
EXPERT = {"gate_proj": [2048, 7168], "up_proj": [2048, 7168], "down_proj": [7168, 2048]}
MTP = {"enorm": [7168], "hnorm": [7168], "eh_proj": [7168, 14336], "shared_head.norm": [7168]}


def layer_tensors(n):
    """{tensor: shape} of layer n of the published checkpoint, without scales and the router's bias."""
    prefix = f"model.layers.{n}."
    tensors = {f"{prefix}{name}.weight": shape for name, shape in MLA.items()}
    if n < 3:
        dense = {"gate_proj": [18432, 7168], "up_proj": [18432, 7168], "down_proj": [7168, 18432]}
        return tensors | {f"{prefix}mlp.{name}.weight": shape for name, shape in dense.items()}
    tensors[f"{prefix}mlp.gate.weight"] = [256, 7168]
    for expert in ("shared_experts", *(f"experts.{i}" for i in range(256))):
        tensors |= {f"{prefix}mlp.{expert}.{name}.weight": shape for name, shape in EXPERT.items()}
    return tensors


def checkpoint():
    """{tensor: shape} of the main model."""
    tensors = {
        "model.embed_tokens.weight": [129280, 7168],
        "model.norm.weight": [7168],
        "lm_head.weight": [129280, 7168],
    }
    for n in range(61):
        tensors |= layer_tensors(n)
    return tensors


# operator of decode -> tensors that hold its weights
TENSORS = {
    "embedding": ["embed_tokens"],
    "attention_norm": ["input_layernorm"],
    "q_a_norm": ["q_a_layernorm"],
    "kv_a_norm": ["kv_a_layernorm"],
    "ffn_norm": ["post_attention_layernorm"],
    "q_a": ["q_a_proj"],
    "kv_a": ["kv_a_proj_with_mqa"],
    "q_b": ["q_b_proj"],
    "absorb_k+absorb_v": ["kv_b_proj"],
    "o": ["o_proj"],
    "dense_gate_up": ["mlp.gate_proj", "mlp.up_proj"],
    "dense_down": ["mlp.down_proj"],
    "router": ["mlp.gate"],
    "shared_gate_up": ["shared_experts.gate_proj", "shared_experts.up_proj"],
    "shared_down": ["shared_experts.down_proj"],
    "routed_gate_up": [f"experts.{i}.{side}_proj" for i in range(256) for side in ("gate", "up")],
    "routed_down": [f"experts.{i}.down_proj" for i in range(256)],
    "final_norm": ["model.norm"],
    "head": ["lm_head"],
}


@pytest.fixture(scope="module")
def decode():
    return dsjax.count("DeepSeek-V3", batch=64, context=4096)


@pytest.fixture(scope="module")
def model():
    return count.shape_of("DeepSeek-V3", reader.load()["model"])


def values(ds, name):
    return dict(zip(ds["operator"].values.tolist(), ds[name].values.tolist()))


# ---- parameters


def test_every_operator_has_the_parameters_of_its_tensors(decode):
    counted, operator_of = values(decode, "parameters"), {x: name for name, ends in TENSORS.items() for x in ends}
    held = dict.fromkeys(TENSORS, 0)
    for name, shape in checkpoint().items():
        parts = name.removesuffix(".weight").split(".")
        ends = {".".join(parts[-n:]) for n in (1, 2, 3)} & operator_of.keys()
        assert len(ends) == 1, name  # every tensor belongs to one operator
        held[operator_of[ends.pop()]] += math.prod(shape)
    for operators, parameters in held.items():
        assert sum(counted[name] for name in operators.split("+")) == parameters, operators
    assert sum(counted.values()) == sum(held.values())


def test_totals_of_the_published_model(decode):
    assert decode["total_parameters"] == sum(math.prod(s) for s in checkpoint().values()) == 671_026_404_352
    assert decode["total_active_parameters"] == 37_551_276_032
    assert decode["active_parameters_without_embedding"] == 36_624_596_992
    layer = dict(zip(decode["layer"].values, decode["layer_parameters"].values))
    for kind, n in (("dense", 0), ("moe", 60)):
        assert layer[kind] == sum(math.prod(shape) for shape in layer_tensors(n).values())


def test_active_parameters_by_hand(decode):
    matrices = {k: v for k, v in checkpoint().items() if len(v) == 2}
    used = sum(
        math.prod(shape) for name, shape in matrices.items() if ".experts." not in name or int(name.split(".")[5]) < 8
    )
    assert decode["total_active_parameters"] == used


def test_mtp_module(decode):
    own = sum(math.prod(shape) for shape in MTP.values())
    assert decode["mtp_parameters"] == own + sum(math.prod(shape) for shape in layer_tensors(61).values())


# ---- FLOPs


def einsum_flops(equation, **sizes):
    """2 per multiplication of an einsum of two operands: 2 x the product of all its letters."""
    return 2 * math.prod(sizes[letter] for letter in {c for c in equation if c.isalpha()})


def test_decode_flops_are_those_of_the_einsums(decode):
    t, s, counted = 64, 4096, values(decode, "flops")
    size = {"t": t, "h": H, "q": 1536, "c": 512, "l": 576, "a": 128, "n": 128, "d": 192, "v": 128, "s": s}
    size |= {"i": 18432, "j": 2048, "k": 8, "e": E, "w": V, "u": 2}
    expected = {
        "q_a": 61 * einsum_flops("th,hq->tq", **size),
        "kv_a": 61 * einsum_flops("th,hl->tl", **size),
        "q_b": 61 * einsum_flops("tq,qad->tad", **size),
        "absorb_k": 61 * einsum_flops("tan,anc->tac", **size),
        "attention": 61 * (einsum_flops("tal,tsl->tas", **size) + einsum_flops("tas,tsc->tac", **size)),
        "absorb_v": 61 * einsum_flops("tac,acv->tav", **size),
        "o": 61 * einsum_flops("tav,avh->th", **size),
        "dense_gate_up": 3 * einsum_flops("th,uhi->uti", **size),
        "dense_down": 3 * einsum_flops("ti,ih->th", **size),
        "router": 58 * einsum_flops("th,he->te", **size),
        "shared_gate_up": 58 * einsum_flops("th,uhj->utj", **size),
        "shared_down": 58 * einsum_flops("tj,jh->th", **size),
        "routed_gate_up": 58 * einsum_flops("tkh,ukhj->utkj", **size),
        "routed_down": 58 * einsum_flops("tkj,kjh->tkh", **size),
        "head": einsum_flops("th,hw->tw", **size),
    }
    assert {name: n for name, n in counted.items() if n} == expected
    assert decode["total_flops"] == sum(expected.values())
    per_head = einsum_flops("tad,tsad->tas", **size) + einsum_flops("tas,tsav->tav", **size)
    assert decode["attention_flops_unfolded"] == 61 * per_head == 4_997_120 * t * s
    assert decode["attention_flops"] == 61 * 2 * t * 128 * s * (2 * 512 + 64)


def test_prefill_flops_are_those_of_the_einsums():
    ds = dsjax.count(phase="prefill", batch=3, context=1000)
    size = {"b": 3, "t": 1000, "s": 1000, "a": 128, "d": 192, "v": 128, "c": 512, "n": 128, "h": H, "w": V}
    pairs = einsum_flops("btad,bsad->btas", **size) + einsum_flops("btas,bsav->btav", **size)
    kv_b = einsum_flops("btc,can->btan", **size) + einsum_flops("btc,cav->btav", **size)
    counted = values(ds, "flops")
    assert (ds["attention_flops_unfolded"], ds["attention_flops"]) == (61 * pairs, 61 * pairs // 2)
    assert counted["kv_b"] == 61 * kv_b
    assert counted["head"] == einsum_flops("bh,hw->bw", **size)  # the last token of every prompt
    assert counted["o"] == 61 * einsum_flops("btav,avh->bth", **size)


@pytest.mark.parametrize("name", reader.load()["model"])
@pytest.mark.parametrize("batch", [1, 7])
def test_linear_flops_are_twice_tokens_times_active_parameters(name, batch):
    ds = dsjax.count(name, batch=batch)
    assert ds["linear_flops"] == 2 * batch * ds["active_parameters_without_embedding"]
    prefill = dsjax.count(name, phase="prefill", batch=batch, context=100)
    head = values(ds, "parameters")["head"]
    body = ds["active_parameters_without_embedding"] - head
    assert prefill["linear_flops"] == 2 * batch * (100 * body + head)
    assert prefill["total_parameters"] == ds["total_parameters"]


# ---- layouts


@pytest.mark.parametrize("phase", count.PHASES)
@pytest.mark.parametrize("tp", TP)
def test_tp_conserves_what_it_splits_and_multiplies_what_it_replicates(phase, tp):
    options = {"phase": phase, "batch": 3, "context": 500}
    one, many = dsjax.count(**options), dsjax.count(**options, tp=tp)
    replicated = values(many, "replicated")
    assert {"q_a", "kv_a", "router"} <= {name for name, flag in replicated.items() if flag}
    for name, flops in values(many, "flops").items():
        assert flops == values(one, "flops")[name] * (tp if replicated[name] else 1), name
    for name, stored in values(many, "stored_bytes").items():
        assert stored == values(one, "stored_bytes")[name] * (tp if replicated[name] else 1), name
    assert many["replicated_flops"] == many["total_flops"] - one["total_flops"]
    assert (many["parameters"] == one["parameters"]).all()
    assert many["kv_cache_bytes"] == one["kv_cache_bytes"]
    assert many["kv_cache_bytes_per_chip"] == many["kv_cache_bytes"]  # one group: every chip holds all of it
    read = values(many, "kv_bytes")["attention"]
    assert read == values(one, "kv_bytes")["attention"] * tp


@pytest.mark.parametrize(
    ("tp", "ep", "moe_tp"), [(1, 32, 1), (4, 64, 1), (8, 16, 2), (2, 32, 8), (1, 320, 1), (4, 72, 1)]
)
def test_layouts_conserve_work(tp, ep, moe_tp):
    one = dsjax.count(batch=640, precision="kv1-w1")
    many = dsjax.count(batch=640, precision="kv1-w1", tp=tp, ep=ep, moe_tp=moe_tp)
    chips = ep * moe_tp
    assert (many["chips"], many["dp"]) == (chips, chips // tp)
    assert many["total_flops"] - many["replicated_flops"] == one["total_flops"]
    stored, once = values(many, "stored_bytes"), values(one, "stored_bytes")
    assert stored["routed_down"] * E == once["routed_down"] * ep * math.ceil(E / ep)  # spare slots hold copies
    assert stored["o"] == once["o"] * chips // tp
    assert stored["q_a"] == once["q_a"] * chips
    assert many["kv_cache_bytes_per_chip"] == many["kv_cache_bytes"] * tp / chips


def test_default_layout_spreads_the_experts_over_the_group():
    assert [int(dsjax.count(tp=tp, moe_tp=m)["ep"]) for tp, m in ((1, 1), (8, 1), (8, 2), (2, 8))] == [1, 8, 4, 1]


# ---- bytes and volumes


def test_kv_cache(decode):
    assert decode["kv_cache_bytes"] == 61 * 64 * 4096 * 576 * 2
    assert dsjax.count(precision="kv1-w1")["kv_cache_bytes"] == 143_917_056
    assert values(decode, "kv_bytes") == dict.fromkeys(decode["operator"].values.tolist(), 0) | {
        "attention": 61 * 64 * 4096 * 576 * 2,
        "kv_a": 61 * 64 * 576 * 2,
    }
    prefill = dsjax.count(phase="prefill", batch=2, context=300)
    assert prefill["total_kv_bytes"] == prefill["kv_cache_bytes"] == 61 * 2 * 300 * 576 * 2


def test_activations_are_read_and_written_once_per_operator(decode):
    t, counted = 64, values(decode, "activation_bytes")
    assert counted["q_a"] == 61 * t * (7168 + 1536) * 2
    assert counted["absorb_k"] == 61 * t * 128 * (128 + 512) * 2
    assert counted["attention"] == 61 * t * 128 * (576 + 512) * 2
    assert counted["routed_gate_up"] == 58 * t * 8 * (7168 + 4096) * 2
    assert counted["routed_swiglu"] == 58 * t * 8 * 3 * 2048 * 2
    assert counted["attention_norm"] == 61 * t * 4 * 7168 * 2  # the residual stream is added in the same pass
    assert counted["embedding"] == t * 7168 * 2
    prefill = values(dsjax.count(phase="prefill", context=300), "activation_bytes")
    assert prefill["attention"] == 61 * 300 * (128 * (192 + 128 + 128 + 128) + 64) * 2


@pytest.mark.parametrize(("experts", "top_k", "tokens"), [(4, 1, 3), (5, 2, 3), (6, 3, 2)])
def test_expected_distinct_experts_by_enumeration(experts, top_k, tokens):
    choices = list(itertools.combinations(range(experts), top_k))
    hits = [len(set().union(*picked)) for picked in itertools.product(choices, repeat=tokens)]
    assert tally.expected_distinct(experts, top_k, tokens) == pytest.approx(np.mean(hits), rel=1e-14)


def test_experts_are_read_only_where_hit():
    one, all_hit = dsjax.count(precision="bf16"), dsjax.count(batch=10**6, precision="bf16")
    read = values(one, "weight_bytes")
    assert read["routed_down"] == 58 * 8 * H * 2048 * 2
    assert values(all_hit, "weight_bytes")["routed_down"] == 58 * 256 * H * 2048 * 2
    assert one["total_weight_bytes"] == 2 * (36_624_596_992 + 1_006_592 + H)
    assert read["embedding"] == H * 2


def test_every_weight_has_its_width():
    ds = dsjax.count(precision="kv2-w2", tp=2)
    stored, parameters, replicated = (values(ds, name) for name in ("stored_bytes", "parameters", "replicated"))
    for name, n in parameters.items():
        width = 1 if name.startswith(("shared", "routed")) else 2
        assert stored[name] == n * width * (2 if replicated[name] else 1), name
    assert values(ds, "weight_bytes")["embedding"] == H * 2  # one of the two chips has the row


def ring_all_reduce(chips, length):
    """Elements all chips send: every chip passes one chunk on, chips - 1 times in each of two rounds."""
    return sum(length // chips for _ in range(2) for _ in range(chips - 1) for _ in range(chips))


@pytest.mark.parametrize("tp", [1, 2, 8])
def test_all_reduce_volume(tp):
    ds = dsjax.count(batch=64, tp=tp, ep=16)
    counted, groups = values(ds, "communication_bytes"), 16 // tp
    group_bytes = 64 // groups * H * 2
    volume = groups * ring_all_reduce(tp, group_bytes)
    assert counted["embedding_all_reduce"] == volume
    assert counted["mla_all_reduce"] == 61 * volume
    assert counted["dense_all_reduce"] == 3 * volume
    assert counted["moe_all_reduce"] == 58 * volume
    assert counted["head_all_gather"] == groups * (tp - 1) * (64 // groups) * V * 2


def test_dispatch_and_combine_volume():
    ep, cards = 16, range(16)
    leaving = Fraction(sum(home != card for home in cards for card in cards), ep * ep)
    counted = values(dsjax.count(batch=48, ep=ep, precision="kv2-w2"), "communication_bytes")
    assert counted["dispatch"] == 58 * 48 * 8 * H * 1 * leaving
    assert counted["combine"] == 58 * 48 * 8 * H * 2 * leaving
    shared = values(dsjax.count(batch=48, ep=ep, moe_tp=4, precision="kv2-w2"), "communication_bytes")
    assert (shared["dispatch"], counted["dispatch_moe_tp"]) == (counted["dispatch"], 0)
    # One card of four chips, each with sequences of its own: every chip lacks the tokens of the three others.
    card = values(dsjax.count(batch=48, ep=1, moe_tp=4, precision="kv2-w2"), "communication_bytes")
    assert (card["dispatch"], card["dispatch_moe_tp"]) == (0, pytest.approx(58 * 48 * H * 1 * 3, rel=1e-12))
    # One group that shares its sequences: every chip has all tokens, and nothing is sent.
    for layout in ({"ep": 1, "moe_tp": 4}, {"ep": 4, "moe_tp": 1}, {"ep": 2, "moe_tp": 2}):
        group = values(dsjax.count(batch=48, tp=4, **layout, precision="kv2-w2"), "communication_bytes")
        assert not any(x for name, x in group.items() if name.startswith(("dispatch", "combine")))
    assert dsjax.count()["total_communication_bytes"] == 0


# ---- the Dataset


def test_sums(decode):
    for name in tally.COUNTS:
        assert decode[f"total_{name}"] == decode[name].sum()
        layer = dict(zip(decode["layer"].values, decode[f"layer_{name}"].values))
        once = float(decode[name].where(decode["layers"] == 1, 0).sum())
        assert 3 * layer["dense"] + 58 * layer["moe"] + once == pytest.approx(float(decode[f"total_{name}"]), rel=1e-14)
    assert decode["linear_flops"] + decode["attention_flops"] == decode["total_flops"]


def test_everything_is_described(decode, tmp_path):
    for name, variable in decode.data_vars.items():
        assert variable.attrs["long_name"], name
        assert "units" in variable.attrs or "flag_values" in variable.attrs, name
    assert decode["flops"].dtype == decode["parameters"].dtype == np.int64
    decode.to_netcdf(tmp_path / "count.nc", engine="netcdf4")
    with xr.open_dataset(tmp_path / "count.nc", engine="netcdf4") as back:
        assert back["total_parameters"] == decode["total_parameters"]
        assert back["operator"].values.tolist() == decode["operator"].values.tolist()


def test_beyond_int64_is_rounded_and_says_so(model):
    ds = dsjax.count(phase="prefill", batch=10**6, context=10**6)
    exact = tally.exact(model, "prefill", 10**6, 10**6, {f"{k}_bytes": 1 for k in WIDTHS}, tally.Layout())
    flops = sum(o.counts["flops"] for o in exact.values())
    assert flops > 2**63
    assert int(ds["total_flops"]) == pytest.approx(flops, rel=1e-15)
    assert "2^63" in ds["total_flops"].attrs["comment"]
    assert ds["total_parameters"].dtype == np.int64
    largest = dsjax.count(phase="prefill", batch=1, context=10**6)
    assert largest["total_flops"].dtype == np.int64  # exact up to there
    assert int(largest["attention_flops"]) == 61 * 128 * 320 * 10**12


@pytest.mark.parametrize("dense", [0, 1, 4])
def test_kinds_of_layers(dense):
    sizes = {f.name: 0 if "kind" in f.metadata else 8 for f in dataclasses.fields(records.Model)}
    model = records.Model(
        **sizes
        | {
            "num_hidden_layers": 4,
            "index_layers": 4,
            "first_k_dense_replace": dense,
            "num_experts_per_tok": 2,
            "tie_word_embeddings": 0,
        }
    )
    options = (model, "decode", 2, 16, {f"{k}_bytes": 1 for k in WIDTHS}, tally.Layout())
    operators = tally.exact(*options)
    fixed = {"model": "toy", "phase": "decode", "batch_total": 2, "context": 16}
    ds = count._dataset(operators, tally.scalars(operators, *options), fixed)
    assert ds["layer"].values.tolist() == [k for k, n in (("dense", dense), ("moe", 4 - dense)) if n]
    per = dict(zip(ds["layer"].values.tolist(), ds["layer_parameters"].values.tolist()))
    layers_sum = dense * per.get("dense", 0) + (4 - dense) * per.get("moe", 0)
    assert layers_sum + 2 * 64 + 8 == ds["total_parameters"]


# ---- bad input


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"model": "DeepSeek-V"}, ["model 'DeepSeek-V'", "did you mean 'DeepSeek-V3'"]),
        ({"model": ["DeepSeek-V3"]}, ["model"]),
        ({"phase": "training"}, ["phase 'training'", "decode, prefill"]),
        ({"precision": "fp9"}, ["precision 'fp9'", "did you mean 'fp8'"]),
        ({"tp": 3}, ["tp: 3", "num_attention_heads 128"]),
        ({"tp": 256}, ["tp: 256", "num_attention_heads 128"]),
        ({"tp": 4, "ep": 1}, ["tp: 4", "moe_tp x ep = 1"]),
        ({"moe_tp": 3}, ["moe_tp: 3", "moe_intermediate_size 2048"]),
        ({"batch": 0}, ["batch: 0", "at least 1"]),
        ({"batch": "many"}, ["batch: 'many'"]),
        ({"batch": 1.5}, ["batch: 1.5", "integer"]),
        ({"context": -1}, ["context: -1", "at least 1"]),
        ({"context": math.nan}, ["context: nan"]),
        ({"ep": 0}, ["ep: 0"]),
        ({"tp": True}, ["tp: True"]),
        ({"context": 10**20}, ["context: 100000000000000000000"]),
    ],
)
def test_bad_input_names_option_and_value(options, words):
    with pytest.raises(dsjax.InputError) as error:
        dsjax.count(**options)
    assert "\n" not in str(error.value)
    for word in words:
        assert word in str(error.value)


# ---- the command


def command(*args, code=0):
    result = CliRunner().invoke(cli.main, ["count", *args])
    assert result.exit_code == code, result.output
    return result.output


def test_command_prints_the_count():
    out = command("DeepSeek-V3", "--batch", "64", "--tp", "8", "--ep", "64")
    assert "64 x 4,096 tokens in fp8 on 64 chips (tp 8 x dp 8 = moe_tp 1 x ep 64)" in out
    assert "parameters 671,026,404,352" in out
    assert "tp multiplies q_a, kv_a, router, norms" in out
    rows = list(csv.DictReader(io.StringIO(command("--batch", "64", "--tp", "8", "--ep", "64", "--format", "csv"))))
    whole = json.loads(command("--batch", "64", "--tp", "8", "--ep", "64", "--format", "json"))
    ds = dsjax.count(batch=64, tp=8, ep=64)
    assert [int(row["flops"]) for row in rows] == ds["flops"].values.tolist()
    assert whole["total_flops"] == ds["total_flops"] == sum(row["flops"] for row in whole["rows"])
    assert [row["layer"] for row in whole["layers"]] == ["dense", "moe"]


@pytest.mark.parametrize("args", [["Nobody"], ["--tp", "3"], ["--batch", "x"]])
def test_command_refuses_bad_input(args):
    out = command(*args, code=2)
    assert out.startswith("error: count: ") and out.count("\n") == 1


def test_a_model_of_ones_own(tmp_path):
    own = tmp_path / "mine.toml"
    own.write_text('[model.Mine]\nbase = "DeepSeek-V3"\nsource = "a wish"\nvocab_size = 1000\n', encoding="utf-8")
    mine, published = count.count("Mine", catalogs=[own]), count.count("DeepSeek-V3")
    assert int(published.total_parameters - mine.total_parameters) == 2 * 7168 * (129280 - 1000)
    result = CliRunner().invoke(cli.main, ["count", "Mine", "--catalog", str(own)])
    assert result.exit_code == 0, result.output
    assert CliRunner().invoke(cli.main, ["count", "Mine"]).exit_code == 2


def test_states_and_what_is_left_out_are_said():
    """States of linear layers by hand; towers for pictures are named."""
    ds = dsjax.count("Qwen3.5-397B-A17B", batch=3, context=100)
    assert ds["state_bytes"].item() == 3 * 45 * (64 * 128 * 128 * 4 + 3 * 12_288 * 2)
    assert "vision" in ds.attrs["left_out"]
    text = CliRunner().invoke(cli.main, ["count", "Qwen3.5-397B-A17B"]).output
    assert "states of linear layers 192,061,440" in text and "left out of the time" in text
    assert dsjax.count("DeepSeek-V3")["state_bytes"].item() == 0
