"""Laws of kinds of layer (dsjax/MODEL.md, 3.1): homogeneous, monotone, independent of context and of the grid."""

import numpy as np
import pytest
from test_core import NOTHING_MORE, expected, own_catalog
from test_core_laws import time_elasticities
from test_kinds_of_layer import ATTENTION, BESIDE, LAYERS, base, indexer, mixture, one_kind, with_a_state

import dsjax
from dsjax import evaluation
from dsjax.catalog import reader
from dsjax.specs import fields, records

FIXED = {"hardware": "H800", "nic": "CX7", "precision": "fp8", "engine": "generic", "context": 5000, "ep": 16}
FIXED |= {"pipeline": "naive", "dispatch_mode": "auto", "tp": 2, "moe_tp": 1}
PHASES = {"decode": {"batch": 16, "mtp": 1}, "prefill": {"prompts": 32}}
KINDS = [*ATTENTION, *BESIDE]
SIZES = list(fields.fields_of(records.Model))
# Fields of section 3.1 that are amounts, not choices.
AMOUNTS = [
    name
    for name in SIZES[SIZES.index("attention_sinks") + 1 :]
    if name not in ("linear_rule", "ungated", "key_is_value", "sliding_chunked", "sliding_key_is_value")
]


def drawn():
    """A model of every kind, and mixtures."""
    models = {kind.__name__: one_kind(np.random.default_rng(i), kind) for i, kind in enumerate(KINDS)}
    return models | {f"mixture-{i}": mixture(np.random.default_rng(200 + i)) for i in range(4)}


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kinds")
    return own_catalog(folder / "own.toml", {"model": drawn()})


def space(phase, axes, **fixed):
    given = FIXED | PHASES[phase] | fixed
    fixed = {name: x for name, x in given.items() if name not in axes and x is not None}
    return {"phase": phase, "axes": axes, "fixed": fixed}


def held(part, own, **fixed):
    """Bytes of a part of the memory at one point."""
    given = space("decode", {"model": ["with_a_state"]}, **fixed)
    ds = dsjax.sweep(given, catalogs=own)
    one = dsjax.explain(ds, {"model": "with_a_state"})
    return dict(zip(one.part.values, one.memory_part.values, strict=True))[part]


@pytest.mark.parametrize("phase", PHASES)
def test_time_is_homogeneous_and_its_slopes_are_finite(phase, own):
    given = space(phase, {"model": list(drawn()), "pipeline": ["naive", "windows", "dual-mbatch"]})
    found = evaluation.evaluate(dsjax.load_grid(given, catalogs=own), function=time_elasticities)
    total = 0.0
    for name, (_, array) in found.items():
        assert np.isfinite(array).all(), name
        total = total + (array if name.endswith("_per_s") else -array)
    np.testing.assert_allclose(total, -1.0, atol=1e-9)


@pytest.mark.parametrize("phase", PHASES)
def test_a_model_of_a_grid_gives_what_it_gives_alone(phase, own):
    together = dsjax.sweep(space(phase, {"model": list(drawn())}), catalogs=own)
    for name in drawn():
        alone = dsjax.sweep(space(phase, {"model": [name]}), catalogs=own)
        for variable in ("step_time", "memory_per_chip"):
            both = together[variable].sel(model=name).item(), alone[variable].item()
            assert both[0] == both[1], (name, variable)


@pytest.mark.parametrize("phase", PHASES)
def test_fields_that_are_0_change_nothing(phase, tmp_path):
    """To the bit, alone and beside models that have them."""
    row = reader.load(records.RECORDS)["model"]["DeepSeek-V3.2"]
    zeros = dict.fromkeys((x for x in NOTHING_MORE if x in AMOUNTS or x == "linear_rule"), 0)
    plain = {name: row[name] for name in SIZES}
    path = own_catalog(tmp_path / "own.toml", {"model": {"zeros": plain | zeros}})
    ds = dsjax.sweep(space(phase, {"model": ["DeepSeek-V3.2", "zeros"], "tp": [1, 4]}), catalogs=path)
    for variable in ("step_time", "memory_per_chip"):
        assert (ds[variable].sel(model="zeros").values == ds[variable].sel(model="DeepSeek-V3.2").values).all()


def slopes(step, point, bounds, **policies):
    """x d step_time / dx of every amount of section 3.1."""
    time = step(point, **policies).time.total
    numbers = {("model", name): getattr(point.model, name) for name in AMOUNTS}
    numbers = {name: x for name, x in numbers.items() if x is not None}
    moved = evaluation.substituted({"time": time}, {x: x * evaluation.along(1.0, name) for name, x in numbers.items()})
    return {name: evaluation.tangent(moved["time"], ("model", name)) / time for _, name in numbers}


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("name", ["mixture-0", "mixture-1", "mixture-2", "compressed", "own_windows", "with_a_state"])
def test_slopes_of_the_fields_are_those_of_differences(name, phase, own):
    given = space(phase, {"model": [name]}, mtp=0) if phase == "decode" else space(phase, {"model": [name]})
    found = evaluation.evaluate(dsjax.load_grid(given, catalogs=own), function=slopes)
    sizes, step, checked = drawn()[name], 1e-6, 0
    for field, (_, array) in found.items():
        assert np.isfinite(array).all(), field
        x = sizes[field]
        if x == 0:
            continue
        around = [x * (1 - step), x, x * (1 + step)]
        moved = space(phase, {"model": [name], f"model_{field}": around}, **({"mtp": 0} if phase == "decode" else {}))
        times = np.resize(
            dsjax.sweep(moved, catalogs=own, blocks=False).step_time.values, 3
        )  # one where it is not read
        down, up = np.diff(times) / step / times[1]
        if abs(up - down) < 1e-3 * max(abs(up), abs(down), 1e-3):  # no kink
            assert np.ravel(array)[0] == pytest.approx((up + down) / 2, rel=1e-4, abs=1e-7), field
            checked += 1
    assert checked >= 3


MORE = {  # {count of layers: (model, whether more of them take more time)}
    "attention_free_layers": ({}, False),
    "ffn_free_layers": ({}, False),
    "dense_beside_layers": ({}, True),
    "unpicked_layers": ({"index_layers": 4, "index_topk": 64, "index_n_heads": 16, "index_head_dim": 64}, True),
    "sliding_layers": ({"sliding_window": 64, "q_lora_rank": 768}, False),
    "csa_layers": (None, True),
    "hca_layers": (None, True),
    "linear_layers": ("with_a_state", True),
    "num_hidden_layers": ("with_a_state", True),
}


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("count", MORE)
def test_time_is_monotone_in_each_count_of_layers(count, phase, tmp_path):
    """More layers of a kind in place of those without it; a linear layer more in place of one without attention."""
    sizes, more = MORE[count]
    rng = np.random.default_rng(3)
    if sizes is None:
        m = one_kind(rng, next(kind for kind in ATTENTION if kind.__name__ == "compressed"))
    elif sizes == "with_a_state":
        m = base(rng)
        m |= with_a_state(rng, m)
    else:
        m = base(rng) | sizes
    if count == "unpicked_layers":
        m |= indexer(rng) | {"index_topk": 64}
    models = {}
    for n in (2, 4, 6):
        models[f"n{n}"] = m | {count: LAYERS + n if count == "num_hidden_layers" else n}
        if count == "linear_layers":
            models[f"n{n}"]["attention_free_layers"] = 10 - n
        if count == "csa_layers":
            models[f"n{n}"]["index_layers"] = n
    path = own_catalog(tmp_path / "own.toml", {"model": models})
    fixed = {"context": 20000} | ({"mtp": 0} if phase == "decode" else {})
    pipelines = ["naive", "windows", "sbo"]
    ds = dsjax.sweep(space(phase, {"model": list(models), "pipeline": pipelines}, **fixed), catalogs=path)
    steps = ds.step_time.transpose("model", "pipeline").values
    change = np.diff(steps, axis=0) * (1 if more else -1)
    assert (change >= 0).all(), steps  # the network alone counts where `windows` hide all else
    assert (change[:, 0] > 0).all(), steps


def test_a_state_does_not_grow_with_the_context_and_tp_splits_it(own):
    sizes = drawn()["with_a_state"]
    one = held("state", own, mtp=0)
    assert held("state", own, mtp=0, context=500000) == one
    assert held("kv_cache", own, mtp=0, context=500000) > held("kv_cache", own, mtp=0)
    heads = sizes["linear_heads"] * sizes["linear_key_dim"] * sizes["linear_value_dim"] * sizes["linear_state_bytes"]
    convolved = max(sizes["linear_conv"] - 1, 0) * sizes["linear_conv_channels"] * 2
    assert one == 16 * sizes["linear_layers"] * (heads + convolved)  # 16 sequences a chip, 2 tp of them over tp
    for tp in (1, 2, 4):  # one user
        alone = held("state", own, mtp=0, batch=None, concurrency=1, tp=tp)
        assert alone == pytest.approx(sizes["linear_layers"] * (heads + convolved) / tp, rel=1e-14)


def test_a_state_is_of_all_micro_batches_of_a_pipeline(own):
    """pp stages of a pp-th of the layers each, pp micro batches in flight."""
    both = [held("state", own, mtp=0, pp=pp, ep=16 // pp) for pp in (1, 2)]
    assert both[0] == pytest.approx(both[1], rel=1e-14)


def test_count_and_memory_have_the_parameters_of_the_page(own):
    """A byte each, on one chip: the weights of the oracle's memory are the parameters that `count` finds."""
    catalog = reader.load(records.RECORDS, *reader.users(own))
    kinds_of_weight = ("weight", "dense", "head", "embedding", "absorbed", "expert", "shared")
    point = FIXED | PHASES["prefill"] | {"tp": 1, "ep": 1, "sp": 1, "curve": "measured", "phase": "prefill"}
    point |= {"software_factor": 1.0}
    point |= {f"precision_{name}_bytes": 1.0 for name in kinds_of_weight}
    for name in drawn():
        memory = expected(point | {"model": name}, catalog)["memory"]
        weights = sum(memory[part] for part in ("attention", "dense", "experts", "embedding"))
        assert weights == dsjax.count(name, catalogs=own)["total_parameters"], name
