"""The table of operators: shapes exact in Python integers and the same under JAX."""

import dataclasses
from fractions import Fraction

import jax
import jax.numpy as jnp
import pytest

import dsjax
from dsjax.analysis import count, tally
from dsjax.catalog import reader
from dsjax.formulas.operators import layers
from dsjax.serving import operators
from dsjax.specs import records
from dsjax.specs.fields import fields_of


@pytest.fixture(scope="module")
def model():
    return count.shape_of("DeepSeek-V3", reader.load()["model"])


@pytest.mark.parametrize("phase", count.PHASES)
@pytest.mark.parametrize("name", ["DeepSeek-V3", "DeepSeek-V3.2", "Qwen3-30B-A3B"])
def test_replicated_is_what_does_not_shrink(name, phase):
    """The flags of the table against the shapes themselves."""
    model = count.shape_of(name, reader.load()["model"])
    one, two = (tally.work_of(model, phase, 4, 64, tally.Layout(tp=tp, ep=2)) for tp in (1, 2))
    for row in operators.of_phase(phase == "prefill", model):
        alone, split = (row.shape(model, work).weights for work in (one, two))
        if alone and not row.routed:
            assert row.replicated_in(model) == (alone == split), row.name


def test_names_are_those_of_one_operator():
    for causal in (True, False):
        rows = [row for row in operators.OPERATORS if row.causal in (None, causal)]
        names = [row.name for row in rows]
        assert len(set(names)) == len(names)
        fused = [row.fused for row in rows if row.kernel]
        assert any(fused) and not fused[0]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("phase", count.PHASES)
def test_shapes_are_the_same_under_jit(model, phase, dtype):
    rows = operators.of_phase(phase == "prefill", model)
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
        sizes = {k: jnp.asarray(float(v), dtype) for k, v in vars(work).items() if k != "causal" and v is not None}
        traced = jax.jit(numbers)(records.Model(**arrays), dataclasses.replace(work, **sizes))
    for name, value in numbers(model, work).items():
        if name.startswith("rotation"):  # half of what is moved, in floating point
            continue
        assert isinstance(value, int | Fraction), name
        assert float(traced[name]) == pytest.approx(float(value), rel=1e-15 if dtype == "float64" else 1e-6), name


def test_norms_of_heads_are_of_queries_and_of_keys():
    """Every query head and every key head is read and written once."""
    grouped = count.shape_of("Qwen3-8B", reader.load()["model"])
    heads, keys, width = 32, 8, 128
    norm = layers.head_norms(grouped, tally.work_of(grouped, "decode", 5, 1, tally.Layout()))
    assert norm.inputs == norm.outputs == 5 * (heads + keys) * width and norm.weights == 2 * width
    ds = dsjax.count("Qwen3-8B", batch=5, precision="bf16").sel(operator="qk_norm")
    assert int(ds.activation_bytes) == 36 * 2 * 2 * 5 * (heads + keys) * width


def test_sequence_parallelism_splits_rows_only(model):
    whole = tally.work_of(model, "prefill", 4, 128, tally.Layout(tp=4, ep=4))
    split = dataclasses.replace(whole, rows=whole.rows / 4)
    fewer = {
        row.name
        for row in operators.of_phase(True, model)
        if row.counted and row.shape(model, split).flops < row.shape(model, whole).flops
    }
    assert fewer == {"q_a", "kv_a", "router", "eh_proj"}
    for row in operators.of_phase(True, model):
        assert row.shape(model, split).weights == row.shape(model, whole).weights, row.name
