"""Gradients through the whole model: finite everywhere, equal to differences away from kinks, homogeneous."""

import dataclasses

import numpy as np
import pytest

from dsjax import arrays, evaluation
from dsjax.formulas.point import evaluate_point
from dsjax.space import grid
from dsjax.specs import fields, records
from dsjax.studies import decode_gpu_2025_chips

RECORDS = {"hardware": decode_gpu_2025_chips.Hardware, "nic": records.Link}
CONTINUOUS = [(r, f) for r, cls in RECORDS.items() for f in fields.fields_of(cls) if f.endswith(("_per_s", "_s"))]
STEP = 1e-5


def elasticities(step, point, bounds, **policies):
    """d ln y / d ln x of step time and throughput, and one-sided differences of the latter."""

    def logs(factors):
        changed = {
            record: dataclasses.replace(
                getattr(point, record),
                **{f: getattr(getattr(point, record), f) * x for (r, f), x in zip(CONTINUOUS, factors) if r == record},
            )
            for record in RECORDS
        }
        values = evaluate_point(step, dataclasses.replace(point, **changed), bounds, **policies)
        return arrays.log(values["step_time"]), arrays.log(values["tps_per_chip"])

    n = len(CONTINUOUS)
    time, throughput = logs([evaluation.along(1.0, i) for i in range(n)])
    middle = evaluation.value(throughput)
    values = evaluate_point(step, point, bounds, **policies)
    result = {f"share:{x}": values[f"exposed_{x}"] / values["step_time"] for x in ("memory", "network", "latency")}
    for i, (record, field) in enumerate(CONTINUOUS):
        name = f"{record}.{field}"
        up, down = (logs([1.0 + s * STEP * (i == j) for j in range(n)])[1] for s in (1.0, -1.0))
        result |= {f"time:{name}": evaluation.tangent(time, i), f"ad:{name}": evaluation.tangent(throughput, i)}
        result |= {f"up:{name}": (up - middle) / STEP, f"down:{name}": (middle - down) / STEP}
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
