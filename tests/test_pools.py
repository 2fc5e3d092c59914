"""`phase = "disaggregated"`: grids of two pools, each of any chip; laws of the answers, files, bad input."""

import numpy as np
import pytest
import xarray as xr

import dsjax
from dsjax import evaluation
from dsjax.errors import InputError
from dsjax.serving.instances.study import STAGES_OF_POOLS
from dsjax.space import grid, restoring
from dsjax.specs.variables import OF_POOLS, OF_SERVERS

POOL = {"nic": "CX7", "engine": "sglang", "tp": 8, "chips": 8}


def given(axes=None, prefill=None, decode=None, **fixed):
    """A grid of two pools of DeepSeek-R1 on H200."""
    return {
        "model": "DeepSeek-R1",
        "phase": "disaggregated",
        "axes": {"requests_per_s": [0.5, 1.0]} if axes is None else axes,
        "prefill": {"hardware": "H200"} | POOL | (prefill or {}),
        "decode": {"hardware": "H200"} | POOL | (decode or {}),
        "fixed": {"isl": 4096, "osl": 1024} | fixed,
    }


def test_every_pair_of_chips_is_a_point_and_a_pool_knows_its_own():
    chips = ["H20", "H200", "B200"]
    ds = dsjax.sweep(given(axes={"requests_per_s": [1.0]}, prefill={"hardware": chips}, decode={"hardware": chips}))
    assert ds.sizes == {"requests_per_s": 1, "prefill_hardware": 3, "decode_hardware": 3}
    at = ds.isel(requests_per_s=0)
    for name in ("prefill_utilisation", "decode_utilisation"):
        other = "decode_hardware" if name.startswith("prefill") else "prefill_hardware"
        np.testing.assert_allclose(at[name], at[name].isel({other: [0, 0, 0]}).drop_vars(other), rtol=1e-9)
    assert (at["decode_utilisation"].diff("decode_hardware") < 0.0).all()
    assert (at["prefill_utilisation"].diff("prefill_hardware") < 0.0).all()


def test_a_pool_is_the_same_as_a_server_where_it_does_the_same():
    """Few requests: the first token comes after the prompt alone and its transfer, tokens as of one who is alone."""
    rate = 1e-4
    pools = dsjax.sweep(given(axes={"requests_per_s": [rate]}, isl_cv=0.0)).isel(requests_per_s=0)
    fixed = {"hardware": "H200", "isl": 4096, "osl": 1024, "isl_cv": 0.0} | POOL
    server = {"model": "DeepSeek-R1", "phase": "serve", "axes": {"requests_per_s": [rate]}, "fixed": fixed}
    one = dsjax.sweep(server).isel(requests_per_s=0)
    assert float(pools["ttft_mean"] - pools["transfer_time"]) == pytest.approx(float(one["ttft_mean"]), rel=2e-3)
    assert float(pools["tpot_mean"]) == pytest.approx(float(one["tpot_mean"]), rel=5e-3)


def test_the_parts_of_a_step_of_few_requests_are_those_of_one_sequence():
    """Less than one sequence in the mean: a step has one where there is a step, of the core model's parts."""
    given_ = given(axes={"requests_per_s": [1e-4]}, isl_cv=0.0, osl_cv=0.0)
    found = dsjax.sweep(given_).isel(requests_per_s=0)
    fixed = {"hardware": "H200", "context": 4096 + 512, "context_cv": 0.0, "concurrency": 1} | POOL
    del fixed["tp"]
    step = dsjax.sweep({"model": "DeepSeek-R1", "axes": {"tp": [8]}, "fixed": fixed}).isel(tp=0)
    shares = {name: float(step[f"exposed_{name}"] / step["step_time"]) for name in ("compute", "memory", "network")}
    for name, share in shares.items():
        assert float(found[f"exposed_{name}"] / found["step_time"]) == pytest.approx(share, rel=5e-3), name
    for name in ("mfu", "mbu"):
        assert float(found[name]) == pytest.approx(float(step[name]), rel=5e-3), name


def test_laws():
    axes = {"requests_per_s": [0.1, 0.5, 2.0, 30.0], "prefill_instances": [1, 2], "decode_instances": [1, 2, 4]}
    ds = dsjax.sweep(given(axes=axes, decode={"tp": [1, 8]}))
    assert all(np.isfinite(ds[name]).all() for name in (*OF_SERVERS, *OF_POOLS))
    ok = ds["feasible"]
    assert ok.any() and not ok.all()
    for name in ("ttft", "tpot", "itl", "latency"):
        low, middle, high = (ds[f"{name}_{p}"].where(ok) for p in ("p50", "p90", "p99"))
        assert not ((low > middle * 1.0001) | (middle > high * 1.0001)).any(), name
    for name in ("ttft_mean", "tpot_mean"):
        assert not (ds[name].where(ok).diff("requests_per_s") < -1e-6 * ds[name]).any(), name
        assert not (ds[name].where(ok).diff("decode_instances") > 1e-3 * ds[name]).any(), name
    most = np.minimum(ds["requests_per_s"] / ds["prefill_utilisation"], ds["requests_per_s"] / ds["decode_utilisation"])
    np.testing.assert_allclose(ds["requests_per_s_max"], most.transpose(*ds["requests_per_s_max"].dims), rtol=1e-9)
    chips = 8 * (ds["prefill_instances"] + ds["decode_instances"])
    np.testing.assert_allclose(ds["chips"], (chips + 0.0 * ds["chips"]).transpose(*ds["chips"].dims))


def test_the_memory_of_a_pool_of_prompts_is_that_of_its_weights_and_of_a_full_step():
    """Beside a decode pool with next to no requests it is the larger one, and grows with the tokens of a step."""
    tokens = np.array([4096.0, 16384.0, 65536.0])
    axes = {"requests_per_s": [1e-3], "max_prefill_tokens": tokens.tolist()}
    split = {"tp": 1, "ep": 8, "engine": "generic"}
    pools = given(axes, prefill=split, decode=split | {"chips": [8, 32], "ep": [8, 32]})
    memory = dsjax.sweep(pools)["memory_per_chip"].isel(requests_per_s=0)
    wide, narrow = (memory.sel(decode_chips=n, decode_ep=n).values for n in (32, 8))
    np.testing.assert_array_equal(wide, narrow)
    each = np.diff(wide) / np.diff(tokens)
    weights = wide - each[0] * tokens  # a step holds so much for each of its tokens
    assert each[0] > 7168 and each[1] == pytest.approx(each[0], rel=1e-6)
    assert 671e9 / 8 < weights[0] < 1.4 * 671e9 / 8 and np.ptp(weights) < 1e-6 * weights[0]


def test_the_ratio_that_balances_the_pools():
    ds = dsjax.sweep(given(axes={"requests_per_s": [0.5]})).isel(requests_per_s=0)
    ratio = float(ds["balanced_ratio"])
    even = dsjax.sweep(given(axes={"requests_per_s": [0.5]}, prefill_instances=4 * ratio, decode_instances=4.0))
    np.testing.assert_allclose(even["prefill_utilisation"], even["decode_utilisation"], rtol=1e-9)


def test_the_cache_takes_the_longer_the_slower_the_link():
    nics = dsjax.sweep(given(axes={"transfer_nic_scale_out_bytes_per_s": [1e9, 5e9, 5e10], "requests_per_s": [0.5]}))
    slow, middle, fast = nics["transfer_time"].isel(requests_per_s=0).values
    assert slow > 4.5 * middle > 40.0 * fast * 0.9
    quick = dsjax.sweep(given(), fixed={"transfer_nic": "CX7"})
    assert (quick["transfer_share"] < 0.1).all()
    lost = dsjax.sweep(given(axes={"transfer_nic_scale_out_bytes_per_s": [1e7], "requests_per_s": [1.0]}))
    assert not lost["ok_transfer"].item() and np.isfinite(lost["ttft_p99"]).all()


def test_the_stages_of_a_request_add_up():
    at = grid.load(given()).only({"requests_per_s": 1.0})
    stages = evaluation.request_stages(at)
    assert list(stages) == list(STAGES_OF_POOLS)
    latency = evaluation.evaluate(at, names=("latency_mean",))["latency_mean"][1].item()
    assert sum(stages.values()) == pytest.approx(latency, rel=1e-9)


def test_users_of_a_closed_loop_wait_for_room():
    ds = dsjax.sweep(given(axes={"concurrency": [1, 16, 64, 4096]}))
    inside = ds["requests_per_s_served"] * ds["latency_mean"]
    np.testing.assert_allclose(inside, ds["concurrency"], rtol=0.02)
    assert (ds["requests_per_s_served"] <= ds["requests_per_s_max"] * 1.001).all()


def test_more_users_are_never_served_less_up_to_what_the_pools_take():
    """Groups whose prompts come at once take steps that hardly grow with them: few prompts in a step do not keep up."""
    pool = {
        "hardware": "H200",
        "precision": "fp8",
        "nic": "CX7",
        "tp": [1, 4],
        "moe_tp": 1,
        "chips": 8,
        "instances": [1, 3],
    }
    grid = {"model": "DeepSeek-R1", "phase": "disaggregated", "prefill": pool, "decode": pool | {"tp": 1, "mtp": 2}}
    users = [2**i for i in range(4, 15)]
    axes = {"isl": [512, 4096], "concurrency": users}
    ds = dsjax.sweep(grid | {"axes": axes, "fixed": {"osl": 1024, "transfer_nic": "CX7"}})
    served, most, first = (
        ds[name].transpose(..., "concurrency").values.reshape(-1, len(users))
        for name in ("requests_per_s_served", "requests_per_s_max", "ttft_mean")
    )
    assert (np.diff(served) >= -1e-9 * served[:, 1:]).all() and (np.diff(first) >= 0.0).all()
    assert (served <= most * (1.0 + 1e-9)).all()
    np.testing.assert_allclose(served[:, -1], most[:, -1], rtol=1e-6)


def test_a_file_answers_as_its_grid(tmp_path):
    path = tmp_path / "pools.nc"
    wanted = given(prefill={"hardware": ["H200", "B200"]}, decode={"hardware": ["H20", "H200"]})
    wanted["constraints"] = {"max_ttft_p99": 2.0}
    dsjax.sweep(wanted, output=path)
    for answer in (dsjax.best, dsjax.pareto):
        xr.testing.assert_allclose(answer(wanted).drop_attrs(), answer(path).drop_attrs())
    space = grid.load(wanted)
    again = restoring.space(space.to_json())
    assert again.axes == space.axes and again.rows == space.rows and again.study is space.study


def test_what_a_user_sets_is_set_where_it_is_named():
    base = dsjax.sweep(given(axes={"requests_per_s": [1.0]}))
    slow = {"decode_hardware.H200.hbm_bytes_per_s": 1e12}
    decode = dsjax.sweep(given(axes={"requests_per_s": [1.0]}), settings=slow)
    assert float(decode["decode_utilisation"][0]) > 2.0 * float(base["decode_utilisation"][0])
    assert float(decode["prefill_utilisation"][0]) == float(base["prefill_utilisation"][0])
    both = dsjax.sweep(given(), fixed={"engine": "vllm"})
    assert both["prefill_engine"].item() == both["decode_engine"].item() == "vllm"
    one = dsjax.sweep(given(), fixed={"decode_hardware": "H20"})
    assert (one["prefill_hardware"].item(), one["decode_hardware"].item()) == ("H200", "H20")


def test_the_solve_of_a_pool():
    wanted = given(axes={"decode_tp": [8]}, requests_per_s=0.5)
    wanted["decode"].pop("tp")
    wanted["constraints"] = {"max_tpot_p90": 0.05}
    ds = dsjax.solve(wanted, vary="requests_per_s", until="feasible", between=(0.01, 100.0))
    assert ds["value"].size == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"phase": "serve"}, "prefill: .* expected phase 'disaggregated'"),
        ({"prefill": 3}, "prefill: 3; expected a table"),
        ({"decode": {"hardware": "H999"} | POOL}, "\\[decode\\] hardware: unknown"),
        ({"decode": {"hardwear": "H200"} | POOL}, "hardwear"),
        ({"axes": {"decode_instances": [1]}}, "concurrency or requests_per_s: missing"),
        ({"constraints": {"max_dp": 3}}, "dp is not defined in disaggregated"),
    ],
)
def test_bad_input(change, words):
    with pytest.raises(InputError, match=words):
        grid.load(given() | change)
