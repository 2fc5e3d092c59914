"""The 2025 GPU decode study: published tables, golden values, an independent oracle."""

import numpy as np
import oracle_decode_gpu_2025 as oracle
import pytest

import dsjax

SPACE = "decode_gpu_2025"
BYTES = {"kv2-w2": (2, 2), "kv1-w2": (1, 2), "kv1-w1": (1, 1)}  # precision -> kv, weight
GOLDEN_COLUMNS = (
    "q_down q_up q_absorb kv_compress flash_mla s_kv_up output shared moe dispatch combine layer tps_per_user "
    "tps_per_chip"
).split()
# Microseconds per layer and micro batch (layer: both micro batches), tokens/s.
GOLDEN = {
    (
        "H800",
        "CX7",
        320,
        128,
        "kv1-w1",
        1,
        "dual-mbatch",
    ): "0.240563 3.849008 10.264022 5.051823 174.497689 10.264022 94.615052 "
    "19.527298 73.914014 170.898438 170.898438 1048.378429 28.9283602 3702.83011",
    (
        "H800",
        "CX7",
        320,
        128,
        "kv2-w2",
        0,
        "dual-mbatch",
    ): "0.240563 3.849008 10.264022 5.051823 166.745127 10.264022 94.615052 "
    "17.702466 41.217695 85.449219 170.898438 796.582230 20.5797242 2634.20470",
    (
        "A100",
        "CX7",
        144,
        80,
        "kv1-w1",
        1,
        "naive",
    ): "0.953674 5.016103 14.543533 20.027161 773.202231 40.690104 375.086514 "
    "70.178647 326.802157 213.623047 213.623047 1983.567572 15.2895567 1223.16454",
    (
        "A100",
        "CX7",
        320,
        72,
        "kv1-w1",
        1,
        "dual-mbatch",
    ): "0.429153 6.866455 18.310547 9.012222 347.941004 18.310547 168.788931 "
    "63.160782 147.060971 96.130371 96.130371 1559.761225 19.4439177 1399.96207",
    (
        "H20",
        "CX7",
        72,
        16,
        "kv1-w1",
        1,
        "naive",
    ): "0.804179 12.866871 34.311655 16.887768 170.166016 34.311655 480.363176 "
    "118.355340 522.223286 42.724609 42.724609 1433.014555 21.1636852 338.61896",
    (
        "L20",
        "E810",
        320,
        24,
        "kv1-w1",
        1,
        "naive",
    ): "0.995971 15.935539 42.494770 20.915395 518.824072 42.494770 594.926778 "
    "146.582345 242.538848 256.347656 256.347656 1991.821455 15.2261985 365.42876",
    (
        "A100",
        "E810",
        320,
        32,
        "kv1-w2",
        1,
        "dual-mbatch",
    ): "0.762939 12.207031 32.552083 16.021729 277.232367 32.552083 455.729167 "
    "56.142917 73.124834 170.898438 341.796875 2019.073777 15.0206838 480.66188",
}


@pytest.mark.parametrize("key", GOLDEN, ids=lambda k: "-".join(map(str, k)))
def test_golden_operator_times(study, key):
    axes = ("hardware", "nic", "ep", "batch", "precision", "mtp", "pipeline")
    point = study.sel(dict(zip(axes, key)))
    golden = dict(zip(GOLDEN_COLUMNS, map(float, GOLDEN[key].split())))
    micro_batches = 2 if key[-1] == "dual-mbatch" else 1
    blocks = (point.block_time / point.layers / micro_batches * 1e6).to_series().to_dict()
    computed = blocks | {"layer": float(point.step_time) / 61 * 1e6} | {n: float(point[n]) for n in GOLDEN_COLUMNS[-2:]}
    for name, value in golden.items():
        np.testing.assert_allclose(computed[name], value, rtol=1e-6, atol=1e-6, err_msg=name)


def test_every_published_row_comes_out():
    rows = dsjax.reproduce(SPACE)
    assert rows.sizes["row"] == 66
    assert [int((rows.table == t).sum()) for t in ("20", "15")] == [29, 37]
    for name in ("tps_per_user", "tps_per_chip"):
        assert float(abs(rows[f"{name}_error"]).max()) <= 1e-8
        assert float(abs(rows[name] / rows[f"{name}_published"] - 1).max()) <= 1e-8
    for name in ("same_choice", "among_ties", "ok"):
        assert bool(rows[name].all())
    assert (rows["rank"] == rows["rank_published"]).all()
    assert int((rows.batch_choices > 1).sum()) > 0 and int((rows.precision_choices > 1).sum()) > 0


@pytest.mark.parametrize(("change", "ok"), [({}, True), ({"nic.CX7.scale_out_bytes_per_s": "41 GiB/s"}, False)])
def test_reproduction_can_fail(monkeypatch, change, ok):
    from dsjax.reproduction import reproduce
    from dsjax.space import grid

    load = grid.load
    monkeypatch.setattr(reproduce.grid, "load", lambda name: load(name, settings=change))
    assert bool(reproduce.reproduce(SPACE).ok.all()) is ok


@pytest.mark.parametrize(("target", "feasible", "groups"), [(20, 659, 29), (15, 964, 37)])
def test_candidates_and_groups(study, target, feasible, groups):
    assert study.feasible.size == 4320
    assert int((study.ok_memory & (study.tps_per_user >= target)).sum()) == feasible
    raw = dsjax.load_grid(SPACE)
    ds = study if target == 20 else dsjax.sweep(_grid(raw, {"min_tps_per_user": target}))
    assert int(ds.feasible.sum()) == feasible
    assert dsjax.best(ds).sizes["rank"] == groups


def test_memory_removes_what_the_study_says(study):
    fast_enough = study.tps_per_user >= 15
    removed = fast_enough & ~study.ok_memory
    assert int(removed.sum()) == 7
    assert set(removed.precision[np.unique(np.nonzero(removed.values)[4])].values) == {"kv2-w2"}
    wide = study.ok_memory.sel(hardware="L20", precision=["kv2-w2", "kv1-w2"])
    assert not bool(wide.any())


def _grid(space, constraints):
    return {
        "study": space.study.name,
        "axes": {name: list(values) for name, values in space.axes.items()},
        "constraints": constraints,
        "objective": {"maximize": space.objective, "by": list(space.by)},
    }


COMPARED = (
    "step_time tps_per_user tps_per_chip memory_per_chip busy_compute busy_memory busy_network "
    "exposed_compute exposed_memory exposed_network exposed_latency"
).split()


def _against_oracle(ds, inputs, rtol=1e-12):
    """Compare every variable at every point; `inputs(labels)` -> keyword arguments of the oracle."""
    names = list(ds.step_time.dims)
    full = {name: ds[name].broadcast_like(ds.step_time).transpose(*names).values for name in COMPARED}
    blocks = ds.block_time.transpose("block", *names)
    layers = float(ds.layers[0])
    for index in np.ndindex(ds.step_time.shape):
        labels = {name: ds[name].values[i] for name, i in zip(names, index)}
        expected = oracle.evaluate(**inputs(labels))
        for name in COMPARED:
            scale = expected["step_time"] if name.startswith(("exposed", "busy")) else abs(expected[name])
            assert abs(full[name][index] - expected[name]) <= rtol * scale, (name, labels)
        count = 2 if inputs(labels)["pipeline"] == "dual-mbatch" else 1
        for block, value in zip(ds.block.values, blocks.values[(slice(None), *index)]):
            assert abs(value - layers * count * expected[block]) <= rtol * value, (block, labels)
    return ds.step_time.size


def test_oracle_on_the_published_space(study):
    def inputs(x):
        kv, weight = BYTES[x["precision"]]
        rest = {"context": 5120.0, "kv_bytes": kv, "weight_bytes": weight, "nic_bytes_per_s": oracle.NICS[x["nic"]]}
        return oracle.GPUS[x["hardware"]] | rest | {k: x[k] for k in ("batch", "ep", "mtp", "pipeline")}

    assert _against_oracle(study.isel(batch=slice(None, None, 5)), inputs) == 864


def drawn(rng):
    """(grid, its points -> arguments of the oracle): random contexts, odd batches, EPs, acceptance, and hardware."""

    def log_uniform(low, high, n=1):
        return [float(x) for x in np.exp(rng.uniform(np.log(low), np.log(high), n))]

    numbers = {
        "hbm_bytes_per_s": log_uniform(2e11, 8e12, 2),
        "bf16_flops_per_s": log_uniform(5e13, 2e15),
        "fp8_flops_per_s": log_uniform(1e14, 5e15, 2),
        "sms": [float(rng.integers(30, 200))],
        "clock_cycles_per_s": log_uniform(5e8, 3e9),
        "softmax_overlap": [0.0, 1.0, 2.0],
        "thread_all_reduce_s": log_uniform(1e-8, 1e-5),
        "hbm_bytes": log_uniform(2e10, 2e11),
        "attention_128_rows": log_uniform(0.2, 1.0),
        "attention_256_rows": log_uniform(0.2, 1.0),
    }
    several = {f"hardware_{k}": v for k, v in numbers.items() if len(v) > 1}
    single = {f"hardware_{k}": v[0] for k, v in numbers.items() if len(v) == 1}
    axes = several | {
        "context": [float(rng.integers(1, 200_000)) for _ in range(2)],
        "batch": sorted(int(b) for b in rng.choice(np.arange(1, 700), 2, replace=False)),
        "precision": ["kv2-w2", "kv1-w1"],
        "curve": ["deepgemm-table", "a100-guide"],
        "mtp": [0, 1],
        "pipeline": ["naive", "dual-mbatch"],
        "ep": sorted(int(e) for e in rng.choice(np.arange(1, 400), 3, replace=False)),
    }
    fixed = single | {
        "hardware": "H800",
        "nic": "CX7",
        "nic_scale_out_bytes_per_s": log_uniform(1e9, 1e12)[0],
        "acceptance": rng.uniform(),
    }
    vector_ops_per_s = 16 * numbers["sms"][0] * numbers["clock_cycles_per_s"][0]
    names = {"attention_128_rows": "flash_mla_m128", "attention_256_rows": "flash_mla_m256"}

    def inputs(x):
        kv, weight = BYTES[x["precision"]]
        chip = {
            names.get(k, k): x.get(f"hardware_{k}", v[0])
            for k, v in numbers.items()
            if k not in ("sms", "clock_cycles_per_s")
        }
        return chip | {
            "vector_ops_per_s": vector_ops_per_s,
            "nic_bytes_per_s": fixed["nic_scale_out_bytes_per_s"],
            "acceptance": fixed["acceptance"],
            "kv_bytes": kv,
            "weight_bytes": weight,
            "deepgemm": x["curve"] == "deepgemm-table",
            **{k: x[k] for k in ("context", "batch", "ep", "mtp", "pipeline")},
        }

    return {"study": SPACE, "axes": axes, "fixed": fixed}, inputs


@pytest.mark.parametrize("seed", range(3))
def test_oracle_off_the_published_values(seed):
    """On both curves: 2,304 points a seed."""
    given, inputs = drawn(np.random.default_rng(seed))
    assert _against_oracle(dsjax.sweep(given), inputs) == 2304


def test_mfu_counts_the_flops_that_are_needed(study):
    """Counted by hand for H800, all in fp8: every token passes 9 experts once, not once per expert of the card."""
    tokens, h = 128 * 2, 128
    projections = 1536 * 128 + 128 * h * 192 + 7168 * 576 + 2 * h * 128 * 512 + h * 128 * 7168
    experts = 9 * 3 * 7168 * 2048
    attention = h * (576 + 512) * 5120
    needed = 61 * 2 * tokens * (projections + experts + attention)
    for ep in (72, 320):
        point = study.sel(
            hardware="H800", nic="CX7", ep=ep, batch=128, precision="kv1-w1", mtp=1, pipeline="dual-mbatch"
        )
        assert float(point.mfu) == pytest.approx(needed / (1979 * 2**40) / float(point.step_time), rel=1e-12)
