"""Products with weights: laws of the times of GEMMs and grouped GEMMs on every row of the catalog, numbers by hand."""

import itertools

import numpy as np
import pytest

import dsjax
from dsjax.catalog import reader
from dsjax.formulas import efficiency, products, roofline
from dsjax.formulas.operators.shapes import Gemm
from dsjax.specs import records

ROWS = reader.load(records.RECORDS)
CURVES = {
    name: efficiency.Kernel(**reader.numbers(row)) for name, row in ROWS["curve"].items() if row["form"] == "kernel"
}
WIDTHS = {"": (2.0, 2.0), "8": (1.0, 1.0), "4": (0.5625, 0.5625), "_w8": (1.0, 2.0), "_w4": (0.53125, 2.0)}
CHIP = {"flops_per_s": 1e15, "bytes_per_s": 4e12}


def time_of(curve, suffix, shape, slots=None, overlap=1.0, weight_bytes=None, **peaks):
    """`roofline.Time` of a GEMM, grouped where `slots` are given."""
    g, m, k, n = shape
    peaks, (weights, inputs) = CHIP | peaks, WIDTHS[suffix]
    moved = g * k * n * (weight_bytes or weights) + g * m * k * inputs + 2.0 * g * m * n
    cost = roofline.Cost(flops=2.0 * g * m * k * n, charged_flops=2.0 * g * m * k * n, bytes=moved)
    index = list(products.SETS).index(suffix)
    if slots is None:
        reached = efficiency.kernel_gemm(curve, m, k, n, g, index)
    else:
        reached = efficiency.kernel_expert_gemm(curve, "up", m, k, n, index, slots)
    return roofline.kernel(cost, peaks["flops_per_s"], peaks["bytes_per_s"], reached, overlap)


def test_a_gemm_by_hand():
    """64 rows, 7168 x 2048, 8 bit at 1979 TFLOP/s and 3350 GB/s."""
    knots = {"compute": 0.7, "tail": 1e5, "memory": 0.8, "start_s": 4e-6, "depth_s": 1e-9}
    reached = efficiency.wide(knots | {"loss": 0.25}, 64.0, 7168.0, 2048.0)
    cost = roofline.Cost(flops=1.879048e9, charged_flops=1.879048e9, bytes=15_400_960)
    time = roofline.kernel(cost, 1979e12, 3350e9, reached, 1.0)
    assert time.busy_compute == pytest.approx(1.70138e-6, rel=1e-5)  # 1.35642 us at 0.7 of the peak, 1.25431 times
    assert time.busy_memory == pytest.approx(5.74663e-6, rel=1e-5)
    assert time.exposed_latency == pytest.approx(4e-6 + 7.168e-6)  # one core takes longest
    assert time.total == pytest.approx(11.168e-6 + 0.25 * (1.70138e-6 + 5.74663e-6), rel=1e-5)


def test_a_grouped_gemm_by_hand():
    """32 of 36 experts with 4 rows each, 2048 x 7168, 4 bit at 9 PFLOP/s and 8 TB/s."""
    knots = {"compute": 0.6, "rows": 30.0, "fill": 512.0, "memory": 0.8, "start_s": 9e-6, "slot_s": 5e-8}
    reached = efficiency.grouped(knots | {"depth_s": 2e-10, "loss": 0.2}, 4.0, 2048.0, 36.0)
    shape = Gemm(groups=32.0, m=4.0, k=2048.0, n=7168.0)
    moved = 0.5625 * (shape.weights + shape.inputs) + 2.0 * shape.outputs
    cost = roofline.Cost(flops=shape.flops, charged_flops=shape.flops, bytes=moved)
    time = roofline.kernel(cost, 9e15, 8e12, reached, 1.0)
    assert time.busy_compute == pytest.approx(6.95944e-7 * (1 + 30 / 34) * 1.25, rel=1e-5)
    assert time.exposed_latency == pytest.approx(9e-6 + 1.8e-6 + 0.2 * 0.4096e-6)
    assert time.total == pytest.approx(10.8e-6 + 41.5974e-6 + 0.2 * (1.637515e-6 + 0.4096e-6), rel=1e-5)


@pytest.mark.parametrize("name", CURVES)
def test_times_grow_with_every_size_and_width_and_fall_with_every_rate(name):
    curve, sizes = CURVES[name], (1.0, 3.0, 16.0, 130.0, 1024.0, 9000.0)
    for suffix, slots in itertools.product(WIDTHS, (None, 32.0)):
        for m, k, n in itertools.product(sizes, (256.0, 7168.0), (256.0, 4096.0)):
            shape = (1.0 if slots is None else 8.0, m, k, n)
            time = time_of(curve, suffix, shape, slots).total
            for i, more in itertools.product(range(4), (1.01, 2.0)):
                larger = tuple(x * more if i == j else x for j, x in enumerate(shape))
                grown = time_of(curve, suffix, larger, slots).total
                assert grown >= time * (1.0 - 1e-12), (suffix, shape, i)
            assert time_of(curve, suffix, shape, slots, weight_bytes=1.1 * WIDTHS[suffix][0]).total >= time
            for rate in CHIP:
                assert time_of(curve, suffix, shape, slots, **{rate: 2.0 * CHIP[rate]}).total <= time


@pytest.mark.parametrize("name", CURVES)
@pytest.mark.parametrize("overlap", [1.0, 0.6])
def test_exposed_shares_are_the_elasticities(name, overlap):
    """d ln t / d ln rate is minus the share of the resource, and with the absolute times they are all of the time."""
    step = 1e-5
    for suffix, m, slots in itertools.product(WIDTHS, (1.0, 40.0, 5000.0), (None, 32.0)):
        shape = (8.0, m, 2048.0, 7168.0)
        time = time_of(CURVES[name], suffix, shape, slots, overlap)
        shares = {"flops_per_s": time.exposed_compute, "bytes_per_s": time.exposed_memory}
        for rate, seconds in shares.items():
            ends = [
                time_of(CURVES[name], suffix, shape, slots, overlap, **{rate: CHIP[rate] * (1.0 + sign * step)}).total
                for sign in (1, -1)
            ]
            assert np.log(ends[0] / ends[1]) / (2.0 * step) == pytest.approx(-seconds / time.total, abs=1e-6)
        assert sum(shares.values()) + time.exposed_latency == pytest.approx(time.total, rel=1e-12)


@pytest.mark.parametrize("name", CURVES)
def test_experts_of_few_rows_wait_for_memory(name):
    """Also where the rates are those of a chip with little bandwidth for its arithmetic; twice the bandwidth, half."""
    for suffix in WIDTHS:
        peaks = {"flops_per_s": {"": 1e15, "8": 2e15, "4": 4e15}.get(suffix, 1e15), "bytes_per_s": 4.8e12}
        for n, k in ((4096.0, 7168.0), (7168.0, 2048.0)):
            one = time_of(CURVES[name], suffix, (64.0, 2.0, k, n), 64.0, **peaks)
            two = time_of(CURVES[name], suffix, (64.0, 2.0, k, n), 64.0, **peaks | {"bytes_per_s": 9.6e12})
            assert one.exposed_memory > 5.0 * one.exposed_compute, (suffix, n)
            assert two.exposed_memory == pytest.approx(0.5 * one.exposed_memory)
            assert 0.45 < (two.total - two.exposed_latency) / (one.total - one.exposed_latency) < 0.6


def test_half_the_bytes_of_weights_take_half_the_time_of_few_rows():
    """Of kernels that are as good: 4 bit against 8, with 8- and with 16-bit arithmetic."""
    for curve in (CURVES["kernel-assumed"], CURVES["blackwell"], CURVES["blackwell-sglang"], CURVES["blackwell-vllm"]):
        shape, peaks = (64.0, 2.0, 7168.0, 4096.0), {"flops_per_s": 4.5e15, "bytes_per_s": 8e12}
        eight = time_of(curve, "8", shape, 64.0, **peaks).total
        assert time_of(curve, "4", shape, 64.0, **peaks | {"flops_per_s": 9e15}).total < 0.75 * eight
    shape = (64.0, 2.0, 7168.0, 4096.0)
    curve = CURVES["kernel-assumed"]
    assert time_of(curve, "_w4", shape, 64.0).total < 0.75 * time_of(curve, "_w8", shape, 64.0).total
    assert time_of(curve, "_w8", shape, 64.0).total < 0.75 * time_of(curve, "", shape, 64.0).total


@pytest.mark.parametrize(
    ("precision", "suffix"),
    [("bf16", ""), ("fp8", "8"), ("w8a8", "8"), ("nvfp4", "4"), ("w8a16", "_w8"), ("mxfp4", "_w4"), ("w4a16", "_w4")],
)
def test_a_precision_picks_the_set_of_its_experts(precision, suffix):
    if precision not in ROWS["precision"]:
        pytest.skip("no such row")
    row = ROWS["precision"][precision]
    index = products.operands(row["expert_rate"], row["expert_bytes"])
    assert list(products.SETS)[int(index)] == suffix
    indices = products.operands(np.array([0, 0, 0, 1, 2, 3]), np.array([2.0, 1.0, 0.5, 1.0, 1.0, 0.5625]))
    assert indices.tolist() == [0, 3, 4, 1, 1, 2]


def test_an_architect_is_told_that_few_rows_need_bandwidth():
    """H200, TP8, EP8, batch 8, fp8: a step at an MFU of 2 %."""
    fixed = {"hardware": "H200", "nic": "CX7", "tp": 8, "ep": 8, "precision": "fp8", "mtp": 0, "pipeline": "naive"}
    grid = {"model": "DeepSeek-V3", "phase": "decode", "axes": {"batch": [8]}, "fixed": fixed | {"context": 4096}}
    ds = dsjax.sweep(grid)
    names = ["hardware.fp8_flops_per_s", "hardware.bf16_flops_per_s", "hardware.hbm_bytes_per_s"]
    found = dsjax.sensitivity(ds, "tps_per_chip", names, at="grid")["elasticity"].squeeze()
    fp8, bf16, memory = (float(found.sel(parameter=name)) for name in names)
    assert float(ds["mfu"].squeeze()) < 0.05 and memory > 3.0 * (fp8 + bf16) and memory > 0.3


BAD = [
    ("num_tokens,hidden_size,inter_size,ep_size,us\n1,2,3,4,5\n", {}, "column num_experts is missing"),
    ("num_tokens,hidden_size,inter_size,num_experts,ep_size,moe_tp_size,us\n1,2,3,4,1,0,5\n", {}, "0 is out of range"),
    ("num_tokens,hidden_size,inter_size,num_experts,ep_size,us\n1,2,3,4,1,5\n", {"precision": "w4"}, "precision 'w4'"),
    ("num_tokens,hidden_size,inter_size,num_experts,ep_size,us\n1,2,3,4,1,5\n", {"kind": "fused"}, "kind 'fused'"),
]


@pytest.mark.parametrize(("text", "options", "message"), BAD, ids=[m for _, _, m in BAD])
def test_bad_measurements_of_experts(text, options, message, tmp_path):
    path = tmp_path / "moe.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(dsjax.InputError) as error:
        dsjax.calibrate(path, **{"kind": "fused-experts", "hardware": "H200", "precision": "mxfp4-a16"} | options)
    assert message in str(error.value) and "\n" not in str(error.value)
