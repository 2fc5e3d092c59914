"""Best, top-k and the tie rule against a brute-force search in plain Python."""

import numpy as np
import pytest
import xarray as xr

import dsjax
from dsjax.results import dataset
from dsjax.search import ranking
from dsjax.space import grid
from dsjax.specs.variables import OF_POOLS, OF_SERVERS, undefined

AXES = {
    "hardware": ["H800", "A100"],
    "nic": ["CX7", "E810"],
    "batch": [8, 16, 24],
    "precision": ["kv2-w2", "kv1-w2", "kv1-w1"],
}
FIXED = {"ep": 72, "mtp": 0, "pipeline": "naive"}


def toy(seed, dtype="float64", levels=6):
    """A dataset of a real space with made-up throughputs (few levels, so many ties) and a made-up mask."""
    space = grid.load({"study": "decode_gpu_2025", "axes": AXES, "fixed": FIXED})
    rng = np.random.default_rng(seed)
    dims, shape = tuple(space.axes), tuple(space.sizes.values())
    values = rng.integers(1, levels, shape) * (1 + rng.uniform(-1, 1, shape) * 1e-13)
    arrays = {
        "tps_per_chip": (dims, values.astype(dtype)),
        "tps_per_user": (dims, rng.uniform(1, 2, shape).astype(dtype)),
        "bottleneck": (dims, np.zeros(shape, np.int8)),
        "ok_memory": (("hardware",), np.array([True, seed % 7 > 0])),
        "feasible": (dims, rng.uniform(size=shape) < rng.choice([0.0, 0.1, 0.5, 1.0])),
    }
    return dataset.to_dataset(space, arrays)


def brute_force(ds, by, top):
    """[(labels, equal points)] by sorting Python tuples, one group at a time."""
    tolerance = 1e-9 if ds.tps_per_chip.dtype == np.float64 else 1e-6
    groups = {}
    for position, index in enumerate(np.ndindex(ds.tps_per_chip.shape)):
        labels = {axis: ds[axis].values[i] for axis, i in zip(AXES, index)}
        weight = float(ds.weight_bytes.sel(precision=labels["precision"]))
        kv = float(ds.kv_bytes.sel(precision=labels["precision"]))
        if bool(ds.feasible.values[index]):
            key = tuple({**labels, "weight_bytes": weight}[name] for name in by)
            groups.setdefault(key, []).append(
                (float(ds.tps_per_chip.values[index]), -labels["batch"], kv, position, labels)
            )
    chosen = []
    for points in groups.values():
        for _ in range(min(top, len(points))):
            largest = max(p[0] for p in points)
            equal = [p for p in points if p[0] >= largest * (1 - tolerance)]
            pick = min(equal, key=lambda p: p[1:4])
            chosen.append((pick[0], pick[3], pick[4], len(equal)))
            points.remove(pick)
    chosen.sort(key=lambda p: (-p[0], p[1]))
    return [(labels, equal) for *_, labels, equal in chosen]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("by", [(), ("hardware",), ("nic", "weight_bytes"), ("batch", "precision", "hardware")])
def test_equals_brute_force(by, dtype):
    for seed in range(40):
        ds = toy(seed, dtype)
        for top in (1, 3, 100):
            found = ranking.best(ds, by=by, top=top)
            expected = brute_force(ds, by, top)
            assert found.sizes["rank"] == len(expected)
            for axis in AXES:
                assert found[axis].values.tolist() == [labels[axis] for labels, _ in expected], (seed, top, axis)
            assert found["ties"].values.tolist() == [equal for _, equal in expected]


def test_ties_take_the_largest_batch_then_the_smallest_kv(study):
    ranked = dsjax.best(study)
    tied = ranked.isel(rank=ranked.ties.values > 1)
    assert tied.sizes["rank"] > 5
    for i in range(tied.sizes["rank"]):
        point = tied.isel(rank=i)
        group = study.sel({axis: point[axis].item() for axis in ("hardware", "nic", "ep")})
        group = group.isel(precision=group.weight_bytes.values == float(point.weight_bytes))
        equal = group.feasible & (group.tps_per_chip >= float(point.tps_per_chip) * (1 - 1e-9))
        assert int(equal.sum()) == int(point.ties)
        assert int(point.batch) == int(group.batch.where(equal).max())


def test_minimize_and_objective(study):
    slowest_first = dsjax.best(study, by=(), objective="tpot")
    fastest = dsjax.best(study, by=(), objective="-tpot")
    assert float(slowest_first.tpot[0]) == float(study.tpot.where(study.feasible).max())
    assert float(fastest.tpot[0]) == float(study.tpot.where(study.feasible).min())
    axes = {"hardware": ["H800"], "nic": ["CX7"], "ep": [72, 144], "batch": [8, 16], "precision": ["kv1-w1"]}
    minimized = dsjax.best({"study": "decode_gpu_2025", "axes": axes, "objective": {"minimize": "step_time"}})
    assert minimized.sizes["rank"] == 1 and int(minimized.batch[0]) == 8


def test_a_file_a_dataset_and_a_grid_give_the_same(study, tmp_path):
    dsjax.write_netcdf(study, tmp_path / "study.nc")
    by = ["hardware", "nic"]
    results = [
        dsjax.best(x, by=by, top=2) for x in (study, dsjax.open_netcdf(tmp_path / "study.nc"), "decode_gpu_2025")
    ]
    for other in results[1:]:
        xr.testing.assert_equal(
            results[0].drop_vars(["block", "block_time", "layers"]),
            other.drop_vars(["block", "block_time", "layers"], errors="ignore"),
        )


def test_refusals_count_points_not_cells(study):
    assert ranking.refusals(study) == {
        "ok_memory": 1016,
        "ok_tps_per_user": 4320 - 659 - int((study.tps_per_user.where(~study.ok_memory) >= 20).sum()),
    }
    assert ranking.count_feasible(study) == 659


def test_no_feasible_point_is_an_empty_answer():
    ds = dsjax.sweep(
        {"study": "decode_gpu_2025", "axes": AXES, "fixed": FIXED, "constraints": {"min_tps_per_user": 1e9}}
    )
    assert dsjax.best(ds).sizes["rank"] == 0
    assert ranking.refusals(ds)["ok_tps_per_user"] == ds.feasible.size


def test_constraints_on_any_measure_one_mask_per_variable():
    bounds = {
        "min_tps_per_user": 10, "max_tps_per_user": 30, "max_memory_per_chip": 4e10, "max_weight_bytes": 1,
        "min_hardware_hbm_bytes": 9e10, "max_context": 1e4, "max_batch": 64,
    }  # fmt: skip
    ds = dsjax.sweep("decode_gpu_2025", blocks=False)
    raw = {
        "study": "decode_gpu_2025",
        "axes": {n: ds[n].values.tolist() for n in ds.step_time.dims},
        "constraints": bounds,
    }
    bounded = dsjax.sweep(raw, blocks=False)
    masks = {name for name in bounded.data_vars if name.startswith("ok_")}
    assert masks == {f"ok_{k.split('_', 1)[1]}" for k in bounds} | {"ok_memory"}
    assert bool(bounded.ok_context)
    assert bounded.ok_weight_bytes.dims == ("precision",)
    expected = (
        ds.ok_memory & (ds.tps_per_user >= 10) & (ds.tps_per_user <= 30) & (ds.memory_per_chip <= 4e10)
        & (ds.weight_bytes <= 1) & (ds.hardware_hbm_bytes >= 9e10) & (ds.batch <= 64)
    )  # fmt: skip
    assert bool((bounded.feasible == expected).all())
    assert 0 < int(expected.sum()) < expected.size


@pytest.mark.parametrize(
    ("phases", "limits", "message"),
    [
        (
            ["decode"],
            {"max_ttft": 1e-6},
            r"\[constraints\] max_ttft: ttft is not defined in decode; expected a limit on one of .* tpot, ",
        ),
        (["prefill"], {"min_tps_per_user": 20}, "tps_per_user is not defined in prefill; expected a limit on one of "),
        (["prefill"], {"max_tpot": 0.1, "slo_margin": 0.1}, "max_tpot: tpot is not defined in prefill"),
        (["decode", "prefill"], {"max_ttft": 3, "max_tpot": 0.1, "min_tps_per_user": 1}, None),
    ],
)
def test_a_limit_that_no_phase_defines_is_an_error(phases, limits, message):
    raw = {"study": "sg2260e", "axes": {"phase": phases, "chips": [32]}, "constraints": limits}
    raw["fixed"] = {"nic": "one-layer", "tp": 4, "moe_tp": 1, "sp": 1, "batch": 8, "prompts": 8, "pipeline": "naive"}
    if message:
        with pytest.raises(dsjax.InputError, match=message):
            dsjax.load_grid(raw)
        return
    space = dsjax.load_grid(raw)
    assert space.bounds.keys() == limits.keys()
    # A phase chosen by an option leaves the limits of the others; a phase the file does not have does not.
    assert dsjax.load_grid(raw, fixed={"phase": "decode"}).bounds == space.bounds
    with pytest.raises(dsjax.InputError, match="max_ttft: ttft is not defined in decode"):
        dsjax.load_grid("prefill", fixed={"phase": "decode", "batch": 8, "ep": 8})


def test_what_no_phase_defines():
    of_servers = [*OF_SERVERS, *OF_POOLS]
    assert undefined(["decode"]) == ["ttft", *of_servers]
    assert undefined(["prefill"]) == ["tpot", "tps_per_user", *of_servers]
    assert undefined(["decode", "prefill"]) == of_servers
    assert undefined(["serve"]) == ["block_time", *OF_POOLS]
    assert undefined(["disaggregated"]) == ["dp", "ep", "block_time"]


KNOTS = {
    "curve_gemm_compute": ({"curve_gemm_compute": [0.5, 0.7]}, {"min_curve_gemm_compute": 0.6}, [False, True]),
    "precision_kv_bytes": ({"precision_kv_bytes": [1.0, 2.0]}, {"max_precision_kv_bytes": 1.5}, [True, False]),
}


@pytest.mark.parametrize("name", KNOTS)
def test_constraints_on_a_knot_and_on_a_number_of_a_precision(name):
    """As axes, and fixed; with the reason in words."""
    axes, limits, expected = KNOTS[name]
    fixed = {"hardware": "H800", "nic": "CX7", "ep": 72, "precision": "fp8", "context": 4096, "batch": 64}
    ds = dsjax.sweep({"axes": axes, "fixed": fixed, "constraints": limits})
    assert ds[f"ok_{name}"].values.tolist() == expected == ds.feasible.values.tolist()
    for value, ok in zip(axes[name], expected, strict=True):
        one = dsjax.sweep({"axes": {"tp": [1]}, "fixed": fixed | {name: value}, "constraints": limits})
        assert bool(one[f"ok_{name}"].item()) is ok
    refused = dsjax.explain(ds, {name: axes[name][expected.index(False)]})
    assert str(refused.why.sel(constraint=f"ok_{name}").item()).startswith(f"{name} = ")


def test_a_dataset_in_another_order_of_dims_gives_the_same(study, tmp_path):
    turned = study.transpose(*reversed(study.step_time.dims), "block")
    xr.testing.assert_equal(dsjax.best(turned), dsjax.best(study).transpose(*dsjax.best(turned).dims))
    for name, ds in (("a.csv", study), ("b.csv", turned)):
        dsjax.write_csv(ds, tmp_path / name, feasible_only=True)
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


def test_ranked_points_are_no_points_to_choose_from(study):
    with pytest.raises(dsjax.InputError, match="points over rank; expected a sweep"):
        dsjax.best(dsjax.best(study))


def test_what_the_phase_does_not_define_is_no_objective(study, tmp_path):
    with pytest.raises(dsjax.InputError, match="ttft"):
        dsjax.best(study, objective="ttft")
    raw = {
        "axes": {"batch": [1]},
        "fixed": {"hardware": "H800", "nic": "CX7", "ep": 64, "precision": "fp8", "context": 1},
    }
    with pytest.raises(dsjax.InputError, match="ttft"):
        dsjax.sweep(raw | {"objective": {"maximize": "ttft"}})
