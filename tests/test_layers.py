"""The table of operators: shapes exact in Python integers and the same under JAX, read alike by time, memory and counts."""

import dataclasses
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dsjax
from dsjax.analysis import count, tally
from dsjax.catalog import reader
from dsjax.evaluation import evaluate
from dsjax.formulas import attention, layers
from dsjax.serving import operators
from dsjax.specs import records
from dsjax.specs.fields import fields_of

MODELS = sorted(reader.load()["model"])


@pytest.fixture(scope="module")
def model():
    return count.shape_of("DeepSeek-V3", reader.load()["model"])


@pytest.mark.parametrize("phase", count.PHASES)
@pytest.mark.parametrize("name", ["DeepSeek-V3", "DeepSeek-V3.2", "Qwen3-30B-A3B"])
def test_replicated_is_what_does_not_shrink(name, phase):
    """The flags of the table against the shapes themselves."""
    model = count.shape_of(name, reader.load()["model"])
    one, two = (tally.work_of(model, phase, 4, 64, tally.Layout(tp=tp, ep=2)) for tp in (1, 2))
    for row in operators.of_phase(phase == "prefill"):
        alone, split = (row.shape(model, work).weights for work in (one, two))
        if alone and not row.routed:
            assert row.replicated_in(model) == (alone == split), row.name


def test_names_are_those_of_one_operator():
    for causal in (True, False):
        names = [row.name for row in operators.of_phase(causal)]
        assert len(set(names)) == len(names)
        fused = [row.fused for row in operators.of_phase(causal) if row.kernel]
        assert any(fused) and not fused[0]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("phase", count.PHASES)
def test_shapes_are_the_same_under_jit(model, phase, dtype):
    rows = operators.of_phase(phase == "prefill")
    work = tally.work_of(model, phase, 40, 4096, tally.Layout(tp=4, ep=32))

    def numbers(model, work):
        return {
            f"{row.name}/{key}": getattr(row.shape(model, work), key)
            for row in rows
            for key in ("flops", "weights", "inputs", "outputs")
        }

    with jax.enable_x64(dtype == "float64"):
        fields = fields_of(records.Model)
        arrays = {k: jnp.asarray(v, jnp.int32 if fields[k]["integer"] else dtype) for k, v in vars(model).items()}
        sizes = {k: jnp.asarray(float(v), dtype) for k, v in vars(work).items() if k != "causal"}
        traced = jax.jit(numbers)(records.Model(**arrays), dataclasses.replace(work, **sizes))
    for name, value in numbers(model, work).items():
        if name.startswith("rotation"):  # half of what is moved, in floating point
            continue
        assert isinstance(value, int | Fraction), name
        assert float(traced[name]) == pytest.approx(float(value), rel=1e-15 if dtype == "float64" else 1e-6), name


def test_sequence_parallelism_splits_rows_only(model):
    whole = tally.work_of(model, "prefill", 4, 128, tally.Layout(tp=4, ep=4))
    split = dataclasses.replace(whole, rows=whole.rows / 4)
    fewer = {
        row.name
        for row in operators.of_phase(True)
        if row.counted and row.shape(model, split).flops < row.shape(model, whole).flops
    }
    assert fewer == {"q_a", "kv_a", "router", "eh_proj"}
    for row in operators.of_phase(True):
        assert row.shape(model, split).weights == row.shape(model, whole).weights, row.name


# ---- one table: what a step holds and does is what is counted


@pytest.mark.parametrize("phase", count.PHASES)
def test_counts_memory_and_step_agree_for_every_model(phase):
    """Weights, KV cache and needed flops of one chip, of every model of the catalog, under tp 4, ep 8 and moe_tp 1."""
    layout = tally.Layout(tp=4, ep=8)
    load = {"decode": {"batch": 2, "prompts": 1}, "prefill": {"batch": 1, "prompts": 16}}[phase]
    sequences = 16  # of the whole instance: 2 per chip in decode
    space = dsjax.load_grid(
        {
            "phase": phase,
            "axes": {"model": MODELS},
            "fixed": {"hardware": "H200", "nic": "CX7", "precision": "bf16", "context": 4096, "mtp": 0}
            | {"tp": layout.tp, "ep": layout.ep, "pipeline": "naive", "expert_imbalance": 1.0}
            | load,
        }
    )
    found = evaluate.evaluate(space, names=("memory_per_chip", "mfu", "step_time"), interpret=True)
    peak = space.rows["hardware"]["H200"]["bf16_flops_per_s"]
    names = ("memory_per_chip", "mfu", "step_time")
    memory, mfu, seconds = (np.broadcast_to(found[name][1], len(MODELS)) for name in names)
    precision = space.rows["precision"]["bf16"]
    for i, name in enumerate(MODELS):
        shape = count.shape_of(name, {name: space.rows["model"][name]})
        ds = dsjax.count(name, phase=phase, batch=sequences, context=4096, tp=layout.tp, ep=layout.ep)
        work = tally.work_of(shape, phase, sequences, 4096, layout)
        live = _largest_operator(shape, work)
        held = ds["stored_bytes_per_chip"].item() + ds["kv_cache_bytes_per_chip"].item()
        assert memory[i] == pytest.approx(held + 2 * precision["activation_bytes"] * live, rel=1e-12), name
        flops = ds["total_flops"].item() / layout.chips
        # `count` splits the shared experts over tp, as a step does; the routed rows of a card are the mean.
        assert mfu[i] * peak * seconds[i] == pytest.approx(flops, rel=1e-12), name


def _largest_operator(model, work):
    """Elements that live at once, of the core, the routed experts, a norm and the logits (MODEL.md, section 8)."""
    core = (attention.unfolded if work.causal else attention.absorbed)(model, work)
    moved = core.inputs + core.outputs + (core.kv if work.causal else 0)
    hidden = model.hidden_size
    routed = work.routed_rows * (hidden + model.moe_intermediate_size / work.moe_tp)
    logits = layers.head(model, work).outputs
    return max(work.rows * hidden + moved, routed, 4 * work.rows * hidden, logits)
