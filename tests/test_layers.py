"""Shapes of the operators: exact in Python integers, the same under JAX, split as they say."""

from fractions import Fraction

import jax
import jax.numpy as jnp
import pytest

from dsjax.analysis import count, tally
from dsjax.catalog import reader
from dsjax.formulas import attention as attentions
from dsjax.formulas import layers
from dsjax.specs import records
from dsjax.specs.fields import fields_of


@pytest.fixture(scope="module")
def model():
    return count.shape_of("DeepSeek-V3", reader.load()["model"])


@pytest.mark.parametrize("phase", count.PHASES)
def test_replicated_is_what_does_not_shrink(model, phase):
    """The list of replicated operators against the shapes themselves."""
    one, two = (tally._shapes(model, phase, 4, 64, tally.Layout(tp=tp, ep=2)) for tp in (1, 2))
    same = {name for name, (_, _, shape) in one.items() if shape.weights and two[name][2].weights == shape.weights}
    held_by_experts = {name for name in one if name.startswith("routed")}
    assert same - held_by_experts == layers.REPLICATED & one.keys()
    module = [layers.mtp_module(model, 1, 1, {}, tp) for tp in (1, 2)]
    kept = {name for name in module[0] if module[0][name].weights == module[1][name].weights}
    assert kept == layers.REPLICATED & module[0].keys()


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_shapes_are_the_same_under_jit(model, dtype):
    def shapes(model, batch, queries, context, tp, ep):
        attention = attentions.mla_decode(model, batch, queries, context, tp)
        moe = layers.router(model, batch) | layers.shared_expert(model, batch, tp) | layers.norms(model, batch)
        moe |= layers.routed_experts(model, batch, ep, tp)
        others = attentions.mla_prefill(model, batch, context, tp, tp), layers.dense_ffn(model, batch, tp)
        ends = layers.embedding(model, batch, tp), layers.head(model, batch, tp)
        return attention, *others, *ends, layers.mtp_module(model, batch, batch, attention | moe, tp)

    def numbers(groups):
        return {
            f"{i}/{name}/{key}": getattr(shape, key)
            for i, group in enumerate(groups)
            for name, shape in group.items()
            for key in ("flops", "weights", "inputs", "outputs")
        }

    with jax.enable_x64(dtype == "float64"):
        fields = fields_of(records.Model)
        arrays = {k: jnp.asarray(v, jnp.int32 if fields[k]["integer"] else dtype) for k, v in vars(model).items()}
        sizes = [jnp.int32(x) for x in (40, 2)] + [jnp.asarray(4096, dtype)] + [jnp.int32(x) for x in (4, 32)]
        traced = jax.jit(lambda *a: numbers(shapes(*a)))(records.Model(**arrays), *sizes)
    exact = numbers(shapes(model, 40, 2, 4096, 4, 32))
    for name, value in exact.items():
        assert isinstance(value, int | Fraction), name
        assert float(traced[name]) == pytest.approx(float(value), rel=1e-15 if dtype == "float64" else 1e-6), name


def test_sequence_parallelism_splits_rows_only(model):
    one, four = (attentions.mla_prefill(model, 4, 128, 4, sp) for sp in (1, 4))
    for name, shape in one.items():
        split = name in ("q_a", "kv_a")
        assert shape.flops == four[name].flops * (4 if split else 1)
        assert shape.weights == four[name].weights
    assert layers.router(model, 512)["router"].flops == 4 * layers.router(model, 512, 4)["router"].flops
