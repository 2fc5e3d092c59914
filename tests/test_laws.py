"""What must hold of any grid: axes are independent, more is never slower, numbers do not recompile."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dsjax
from dsjax.space import grid

TIGHT = {"float64": 1e-13, "float32": 1e-6}
AXES = {
    "hardware": ["H800", "A100", "L20"],
    "nic": ["CX7", "E810"],
    "ep": [72, 144],
    "batch": [8, 33, 64, 128],
    "precision": ["kv2-w2", "kv1-w1"],
    "mtp": [0, 1],
    "pipeline": ["naive", "dual-mbatch"],
}
# Policy axes are stacked by other code than the lifted ones, so they are tried in a space of their own.
POLICIES = {
    "curve": ["deepgemm-table", "a100-guide"],
    "batch": [33, 64],
    "pipeline": ["naive", "dual-mbatch"],
    "ep": [72, 144],
}
FIXED = {"hardware": "A100", "nic": "E810", "precision": "kv2-w2"}


def space(axes, **more):
    return {"study": "decode_gpu_2025", "axes": axes, "constraints": {"min_tps_per_user": 20}, **more}


def assert_same(a, b, dtype="float64", policy_fixed=False):
    """Two datasets hold the same numbers over the same labels, dims in any order."""
    assert set(a.data_vars) == set(b.data_vars)
    for name in a.data_vars:
        missing = set(b[name].dims) - set(a[name].dims)  # what a fixed policy does not depend on, the others may
        assert set(a[name].dims) <= set(b[name].dims) and (policy_fixed or not missing), name
        other = b[name].transpose(*a[name].dims, ...)
        if missing:
            a = a.assign({name: a[name].broadcast_like(other).transpose(*other.dims)})
        for dim in a[name].dims:
            assert list(a[dim].values) == list(other[dim].values), (name, dim)
        if a[name].dtype.kind == "f":
            np.testing.assert_allclose(a[name].values, other.values, rtol=TIGHT[dtype], err_msg=name)
        else:
            assert (a[name].values == other.values).all(), name


@pytest.fixture(scope="module")
def whole():
    return {dtype: dsjax.sweep(space(AXES), dtype=dtype) for dtype in TIGHT}


@pytest.mark.parametrize(
    ("dtype", "axis"), [*(("float64", axis) for axis in AXES), ("float32", "batch"), ("float32", "pipeline")]
)
def test_sub_grid_is_the_slice(whole, dtype, axis):
    keep = AXES[axis][-1:]
    assert_same(dsjax.sweep(space(AXES | {axis: keep}), dtype=dtype), whole[dtype].sel({axis: keep}), dtype)


@pytest.mark.parametrize("dtype", TIGHT)
def test_permuted_axes_permute_the_result(whole, dtype):
    axes = {name: AXES[name] for name in ("batch", "nic", "pipeline", "mtp", "hardware", "precision", "ep")}
    other = dsjax.sweep(space(axes), dtype=dtype)
    assert tuple(other.step_time.dims) == tuple(axes)
    assert_same(other, whole[dtype], dtype)


@pytest.mark.parametrize(
    ("dtype", "axis", "value"), [("float64", "batch", 40), ("float64", "hardware", "H20"), ("float32", "ep", 320)]
)
def test_adding_a_value_changes_no_other(whole, dtype, axis, value):
    more = dsjax.sweep(space(AXES | {axis: [AXES[axis][0], value, *AXES[axis][1:]]}), dtype=dtype)
    assert_same(more.sel({axis: AXES[axis]}), whole[dtype], dtype)


def test_fixed_value_is_the_axis_of_length_one(whole):
    fixed = {"nic": "E810", "pipeline": "naive", "ep": 144}
    axes = {name: values for name, values in AXES.items() if name not in fixed}
    part = dsjax.sweep(space(axes, fixed=fixed))
    assert_same(part, whole["float64"].sel(fixed), policy_fixed=True)
    assert {name: part[name].item() for name in fixed} == fixed


def test_policy_axes_obey_the_same_laws():
    ds = dsjax.sweep(space(POLICIES), fixed=FIXED)
    assert ds.step_time.dims == tuple(POLICIES)
    turned = {name: list(reversed(POLICIES[name])) for name in reversed(POLICIES)}
    assert_same(dsjax.sweep(space(turned), fixed=FIXED).sel(POLICIES), ds)
    for name in ("curve", "pipeline"):
        others = {key: values for key, values in POLICIES.items() if key != name}
        for value in POLICIES[name]:
            fixed = dsjax.sweep(space(others), fixed=FIXED | {name: value})
            assert_same(fixed, ds.sel({name: value}), policy_fixed=True)


def test_float32_agrees_with_float64(study):
    single = dsjax.sweep("decode_gpu_2025", dtype="float32")
    assert single.step_time.dtype == np.float32
    for name in study.data_vars:
        if study[name].dtype.kind == "f":
            np.testing.assert_allclose(single[name], study[name], rtol=2e-6, err_msg=name)
        else:
            assert (single[name] == study[name]).all(), name


def test_float32_ceilings_are_exact():
    """ceil(E / ep) in floating point with a reciprocal is wrong for multiples; it must be done in integers."""
    axes = {"ep": list(range(1, 300))}
    fixed = {"hardware": "H800", "nic": "CX7", "precision": "kv1-w1", "batch": 32}
    ds = dsjax.sweep(space(axes, fixed=fixed), dtype="float32")
    experts = 3 * 7168 * 2048 * 61.0
    slots = (ds.memory_per_chip.values.astype(float) - ds.memory_per_chip.values[-1].astype(float)) / experts + 1
    assert (np.round(slots) == [-(-256 // ep) for ep in axes["ep"]]).all()


def test_a_variable_has_only_the_dims_it_can_depend_on(study):
    for name, dims in {
        "chips": ("ep",),
        "batch_total": ("ep", "batch"),
        "memory_per_chip": ("ep", "batch", "precision"),
        "ok_memory": ("hardware", "ep", "batch", "precision"),
        "busy_network": ("nic", "batch", "precision", "mtp", "pipeline"),
        "step_time": tuple(study.sizes)[:7],
        "ttft": (),
    }.items():
        assert study[name].dims == dims
    short = dsjax.sweep("decode_gpu_2025", axes={"pipeline": ["naive"], "ep": [72], "hardware": ["H20"]})
    for name in study.data_vars:
        assert short[name].dims == study[name].dims, name


def test_exposed_parts_sum_to_the_step_and_name_the_bottleneck(study):
    parts = [study[f"exposed_{name}"] for name in ("compute", "memory", "network", "latency")]
    np.testing.assert_allclose(sum(parts).transpose(*study.step_time.dims), study.step_time, rtol=1e-13)
    full = np.stack([part.broadcast_like(study.step_time).transpose(*study.step_time.dims) for part in parts])
    assert (full.argmax(0) == study.bottleneck.values).all()
    for name in ("compute", "memory", "network"):
        assert bool((study[f"busy_{name}"] >= study[f"exposed_{name}"] * (1 - 1e-12)).all()), name
    assert bool(((study.mfu > 0) & (study.mfu <= 1) & (study.mbu > 0) & (study.mbu <= 1)).all())
    assert bool((study.step_time <= study.block_time.sum("block") * (1 + 1e-12)).all())
    assert bool((study.step_time >= study.block_time.max("block") * (1 - 1e-12)).all())


RATES = [
    "hardware_hbm_bytes_per_s",
    "hardware_bf16_flops_per_s",
    "hardware_fp8_flops_per_s",
    "hardware_clock_cycles_per_s",
]


@settings(max_examples=20, deadline=None, derandomize=True)
@given(
    factor=st.floats(1.01, 100),
    rate=st.sampled_from([*RATES, "nic_scale_out_bytes_per_s"]),
    context=st.floats(1, 3e5),
    batch=st.integers(1, 1024),
)
def test_more_of_any_rate_never_slows(factor, rate, context, batch):
    record = rate.split("_")[0]
    fixed = {"context": context, "batch": batch, "ep": 144, "nic": "E810", "hardware": "A100"}
    base = grid.load("decode_gpu_2025").rows[record][fixed[record]][rate.removeprefix(f"{record}_")]
    axes = {
        rate: [base / factor, base, base * factor],
        "precision": ["kv2-w2", "kv1-w1"],
        "mtp": [0, 1],
        "pipeline": ["naive", "dual-mbatch"],
    }
    time = dsjax.sweep(space(axes, fixed=fixed), blocks=False).step_time.values
    assert (np.diff(time, axis=0) <= 1e-12 * time[1:]).all()


def test_longer_context_never_speeds_up_nor_shrinks():
    axes = POLICIES | {"context": [1.0, 128.0, 5120.0, 131072.0]}
    ds = dsjax.sweep(space(axes), fixed=FIXED, blocks=False)
    assert bool((ds.step_time.diff("context") >= 0).all())
    assert bool((ds.memory_per_chip.diff("context") > 0).all())


@pytest.mark.parametrize("factor", [0.5, 3.0])
def test_time_is_homogeneous(study, factor):
    """All rates times a and all absolute times divided by a: every time is divided by a."""
    settings_ = {}
    for record, rows in grid.load("decode_gpu_2025").rows.items():
        for row, fields in rows.items():
            for field, number in fields.items():
                if field.endswith("_per_s"):
                    settings_[f"{record}.{row}.{field}"] = number * factor
                elif field.endswith("_s"):
                    settings_[f"{record}.{row}.{field}"] = number / factor
    scaled = dsjax.sweep("decode_gpu_2025", settings=settings_)
    np.testing.assert_allclose(scaled.step_time * factor, study.step_time, rtol=1e-13)


def test_new_numbers_do_not_recompile(compilations):
    axes = {name: AXES[name] for name in ("hardware", "batch", "nic")}
    fixed = {"ep": 72, "precision": "kv1-w1"}
    with dsjax.compiled():
        dsjax.sweep(space(axes), fixed=fixed)
        compilations.clear()
        dsjax.sweep(space(axes | {"batch": [9, 10, 11, 12], "hardware": ["H20", "H800", "L20"]}), fixed=fixed)
        dsjax.sweep(space(axes), fixed=fixed | {"context": 77, "ep": 5, "precision": "kv2-w2"})
        dsjax.sweep(
            space(axes, objective={"minimize": "tpot"}), fixed=fixed, settings={"nic.CX7.scale_out_bytes_per_s": 1e9}
        )
        dsjax.sweep(space(axes) | {"constraints": {"min_tps_per_user": 3}}, fixed=fixed)
        assert not compilations
        dsjax.sweep(space(axes | {"batch": [9, 10]}), fixed=fixed)
        assert compilations


@pytest.mark.parametrize("dtype", TIGHT)
def test_halves_of_a_grid_are_those_of_the_whole(compilations, dtype):
    """The second half is of the program of the first; the whole has a program of its own."""
    axes = {name: AXES[name] for name in ("hardware", "pipeline", "nic", "precision")}
    batch, fixed = list(range(1, 4097)), {"ep": 72, "mtp": 1}
    halves = []
    with dsjax.compiled():
        for part in (batch[:2048], batch[2048:]):
            compilations.clear()
            halves.append(dsjax.sweep(space(axes | {"batch": part}), fixed=fixed, dtype=dtype, blocks=False))
        assert not compilations
        whole = dsjax.sweep(space(axes | {"batch": batch}), fixed=fixed, dtype=dtype, blocks=False)
        assert compilations
    for i, half in enumerate(halves):
        assert_same(whole.isel(batch=slice(2048 * i, 2048 * (i + 1))), half, dtype)


def test_importing_and_sweeping_leaves_the_users_jax_alone(study):
    assert study.step_time.dtype == np.float64
    assert not jax.config.jax_enable_x64
