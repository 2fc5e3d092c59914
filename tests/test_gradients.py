"""Gradients through the whole model: finite everywhere, equal to differences away from kinks, homogeneous."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dsjax import evaluation
from dsjax.evaluation import stages
from dsjax.formulas.point import evaluate_point
from dsjax.space import grid
from dsjax.specs import fields, records
from dsjax.studies import decode_gpu_2025_chips

RECORDS = {"hardware": decode_gpu_2025_chips.Hardware, "nic": records.Link}
CONTINUOUS = [(r, f) for r, cls in RECORDS.items() for f in fields.fields_of(cls) if f.endswith(("_per_s", "_s"))]
STEP = 1e-5


def elasticities(step, point, bounds, **policies):
    """d ln y / d ln x of step time and throughput, by AD, and one-sided differences of the latter."""

    def logs(factors):
        changed = {
            record: dataclasses.replace(
                getattr(point, record),
                **{f: getattr(getattr(point, record), f) * x for (r, f), x in zip(CONTINUOUS, factors) if r == record},
            )
            for record in RECORDS
        }
        values = evaluate_point(step, dataclasses.replace(point, **changed), bounds, **policies)
        return jnp.log(jnp.stack([values["step_time"], values["tps_per_chip"]]))

    one = jnp.ones(len(CONTINUOUS), point.workload.context.dtype)
    time, throughput = jax.jacrev(logs)(one)
    nudges = STEP * jnp.eye(len(CONTINUOUS), dtype=one.dtype)
    middle, up, down = logs(one)[1], *(jax.vmap(lambda nudge: logs(one + nudge)[1])(s * nudges) for s in (1.0, -1.0))
    values = evaluate_point(step, point, bounds, **policies)
    result = {f"share:{x}": values[f"exposed_{x}"] / values["step_time"] for x in ("memory", "network", "latency")}
    for i, (record, field) in enumerate(CONTINUOUS):
        name = f"{record}.{field}"
        result |= {f"time:{name}": time[i], f"ad:{name}": throughput[i]}
        result |= {f"up:{name}": (up[i] - middle) / STEP, f"down:{name}": (middle - down[i]) / STEP}
    return result


@pytest.fixture(
    scope="module", params=[{}, {"curve": "a100-guide", "pipeline": "naive"}], ids=["published", "guide-naive"]
)
def gradients(request):
    space = grid.load("decode_gpu_2025", fixed=request.param)
    found = evaluation.evaluate(space, function=elasticities)
    sizes = space.sizes
    return {
        name: np.broadcast_to(array.reshape([sizes[a] if a in dims else 1 for a in sizes]), tuple(sizes.values()))
        for name, (dims, array) in found.items()
    }


def test_finite_everywhere(gradients):
    for name, values in gradients.items():
        assert np.isfinite(values).all(), name


def test_equal_to_differences_away_from_kinks(gradients):
    kept = total = 0
    gaps = []
    for record, field in CONTINUOUS:
        ad, up, down = (gradients[f"{kind}:{record}.{field}"] for kind in ("ad", "up", "down"))
        smooth = np.abs(up - down) <= 1e-4
        kept, total = kept + smooth.sum(), total + smooth.size
        gaps.append(np.abs((up + down) / 2 - ad)[smooth])
    assert kept >= 0.9 * total
    assert np.median(np.concatenate(gaps)) <= 1e-9
    assert np.concatenate(gaps).max() <= 1e-5


def test_rates_minus_latencies_sum_to_minus_one(gradients):
    rates = sum(gradients[f"time:{r}.{f}"] for r, f in CONTINUOUS if f.endswith("_per_s"))
    latencies = sum(gradients[f"time:{r}.{f}"] for r, f in CONTINUOUS if not f.endswith("_per_s"))
    np.testing.assert_allclose(rates - latencies, -1.0, atol=1e-12)


def test_exposed_parts_are_the_elasticities(gradients):
    """-exposed_network / step_time is the elasticity of the network's rate, and so for memory and latency."""
    time = gradients["time:nic.scale_out_bytes_per_s"]
    np.testing.assert_allclose(time, -gradients["share:network"], atol=1e-12)
    np.testing.assert_allclose(gradients["time:hardware.hbm_bytes_per_s"], -gradients["share:memory"], atol=1e-12)
    np.testing.assert_allclose(gradients["time:hardware.thread_all_reduce_s"], gradients["share:latency"], atol=1e-12)


def test_values_that_formulas_stack_are_of_an_early_stage(programs):
    """Three kernels of one axis are stacked, larger together than the limit: each is used in slices, so they wait for
    nothing; what is of full rank does, and so does what is made of it."""

    def function(a, b):
        kernels = jnp.exp(jnp.stack([a, a + 1.0, a + 2.0], 1))  # 3 x 40 x 30, of one pass over a
        total = kernels[:, 0] + kernels[:, 2]
        full = total[:, None] * b[None, :]  # of full rank
        return full, full[:1] + 1.0

    shapes = (jax.ShapeDtypeStruct((1200,), "float32"), jax.ShapeDtypeStruct((2,), "float32"))
    closed, results = jax.make_jaxpr(lambda operands: function(*operands), return_shape=True)(shapes)
    stages.staged(closed, results, [2000], apart=True)([jnp.ones(x.shape, x.dtype) for x in shapes])
    small, large = (jaxpr.eqns for jaxpr in programs)
    assert any(equation.outvars[0].aval.size == 3600 for equation in small)
    assert "exp" in [equation.primitive.name for equation in small]
    assert {equation.outvars[0].aval.shape for equation in large} <= {(1200, 2), (1, 2)}
    assert (1200, 2) in {equation.outvars[0].aval.shape for equation in large}
    assert len(small) + len(large) == len(closed.jaxpr.eqns)
