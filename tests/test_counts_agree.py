"""Counts, memory and the step of the core model count the same weights, cache and flops of every model."""

import itertools

import numpy as np
import pytest

import dsjax
from dsjax import evaluation
from dsjax.analysis import explain
from dsjax.catalog import reader
from dsjax.space import grid

TIED = """[model.tied]
base = "Qwen3-8B"
tie_word_embeddings = 1
source = "a test"
"""
ROWS = reader.load()["model"]


def splits(row):
    """Whether 8 chips can share its layers."""
    sizes = [row[key] for key in ("num_attention_heads", "intermediate_size", "vocab_size")]
    return all(size % 8 == 0 for size in [*sizes, row["n_shared_experts"] * row["moe_intermediate_size"]])


MODELS = [*(name for name in ROWS if splits(ROWS[name])), "tied"]
FIXED = {
    "hardware": "H800",
    "nic": "CX7",
    "precision": "bf16",
    "context": 4096,
    "expert_imbalance": 1.0,
    "expert_cv": 0.0,
}
FIXED |= {"pipeline": "naive", "mtp": 0, "precision_index_rate": 0}  # one rate: flops are seconds at its peak
LOADS = {"decode": {"batch": 32}, "prefill": {"prompts": 64}}
LAYOUTS = {"tp": [1, 2, 8], "ep": [8, 16]}
WIDE = 1e9  # bytes of an element, beside which all other bytes are few
# Width of a precision -> what is counted with it.
KINDS = {"weight": "weight", "dense": "weight", "head": "weight", "absorbed": "weight"}
KINDS |= {"expert": "expert", "shared": "expert", "kv": "kv"}
WIDTHS = {f"precision_{name}_bytes": [2.0, WIDE] for name in KINDS}
# Endings of names of operators whose weights are no operands of a product, and take no time of their own.
BESIDE = ("norm", "bias", "mix", "positions", "vectors", "towers", "conv")
TIGHT = 1e-12


@pytest.fixture
def own(tmp_path):
    path = tmp_path / "own.toml"
    path.write_text(TIED, encoding="utf-8")
    return [str(path)]


def step_of(phase, own):
    """{quantity: DataArray} of all chips: needed flops; elements of weights and of cache moved, by their widths."""
    given = {"phase": phase, "axes": {"model": MODELS, **LAYOUTS, **WIDTHS}, "fixed": FIXED | LOADS[phase]}
    ds = dsjax.sweep(given, catalogs=own)
    hw = dsjax.load_grid(given, catalogs=own).rows["hardware"]["H800"]
    moved = ds.mbu * ds.step_time * hw["hbm_bytes_per_s"] * ds.chips
    result = {"flops": (ds.mfu * ds.step_time * hw["bf16_flops_per_s"] * ds.chips)}
    narrow = {name: 2.0 for name in WIDTHS if name in moved.dims}
    result["flops"] = result["flops"].sel({name: 2.0 for name in narrow if name in result["flops"].dims})
    for name, kind in zip(WIDTHS, KINDS.values(), strict=True):
        if name in narrow:  # prefill absorbs nothing
            more = moved.sel(narrow | {name: WIDE}, drop=True) - moved.sel(narrow, drop=True)
            result[kind] = result.get(kind, 0.0) + more / (WIDE - 2.0)
    return result


def counted(phase, model, tp, ep, own):
    """{quantity: number} of `dsjax count`, without what the step and memory leave out (dsjax/MODEL.md, 1 and 10)."""
    sequences = LOADS["decode"]["batch"] * ep if phase == "decode" else LOADS["prefill"]["prompts"]
    ds = dsjax.count(
        model, phase=phase, batch=sequences, context=FIXED["context"], tp=tp, ep=ep, precision="bf16", catalogs=own
    )
    names = ds.operator.values.tolist()

    def total(variable, keep):
        return sum(float(x) for name, x in zip(names, ds[variable].values, strict=True) if keep(name))

    products = {name for name in names if not name.endswith(BESIDE)}
    experts = {name for name in products if name.startswith(("shared", "routed", "latent"))}
    # Decode reads its cache, and leaves its writes out.
    cache = {"attention", "sliding_attention"} if phase == "decode" else {"kv_a", "kv", "sliding_kv"}
    return {
        "flops": float(ds.total_flops),
        "weight": total("weight_bytes", (products - experts - {"embedding"}).__contains__) / 2.0,
        "expert": total("weight_bytes", experts.__contains__) / 2.0,
        "kv": total("kv_bytes", cache.__contains__) / 2.0,
        "stored": total("stored_bytes", names.__contains__),
        "cache": float(ds.kv_cache_bytes_per_chip) * ep,
    }


@pytest.mark.parametrize("phase", LOADS)
def test_count_memory_and_step_agree(phase, own):
    step = step_of(phase, own)
    space = grid.load(
        {"phase": phase, "axes": {"model": MODELS, **LAYOUTS}, "fixed": FIXED | LOADS[phase]}, catalogs=own
    )
    parts = ("attention", "dense", "experts", "embedding", "kv_cache")
    memory = evaluation.evaluate(space, "float64", [f"memory/{x}" for x in parts], explain.everything, False)
    sizes = [len(space.axes[axis]) for axis in space.axes]

    def of_memory(*names):
        whole = 0.0
        for dims, array in (memory[f"memory/{name}"] for name in names):
            whole = whole + array.reshape([n if axis in dims else 1 for axis, n in zip(space.axes, sizes, strict=True)])
        return np.broadcast_to(whole, sizes)

    weights, cache = of_memory(*parts[:-1]), of_memory("kv_cache")
    for (i, model), (j, tp), (k, ep) in itertools.product(*map(enumerate, space.axes.values())):
        found = {name: float(x.sel({a: v for a, v in (("model", model), ("tp", tp), ("ep", ep)) if a in x.dims}))
               for name, x in step.items()}  # fmt: skip
        found |= {"stored": weights[i, j, k] * ep, "cache": cache[i, j, k] * ep}
        for name, expected in counted(phase, model, tp, ep, own).items():
            assert found[name] == pytest.approx(expected, rel=TIGHT, abs=0.0), (model, tp, ep, name)
