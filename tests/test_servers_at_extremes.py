"""Servers at the ends of what may be asked: outputs of a token, long prompts, users by the hundred thousand."""

import numpy as np
import pytest

import dsjax

FIXED = {"nic": "CX7", "tp": 8, "chips": 8, "engine": "sglang", "hardware": "H200"}
USERS = [1, 2, 8, 64, 512, 100_000]


def served(phase="serve", model="DeepSeek-R1", axes=None, **fixed):
    """Servers on eight H200 each."""
    return dsjax.sweep({"model": model, "phase": phase, "axes": axes or {}, "fixed": FIXED | fixed})


@pytest.mark.parametrize("batching", ["prefill-first", "chunked"])
@pytest.mark.parametrize("cv", [0.0, 1.0])
def test_users_of_few_tokens_get_no_more_than_prompts_allow(batching, cv):
    """Whoever wants a token or two waits for prompts alone: Little's law, a rate below the largest, never falling."""
    axes = {"isl": [1, 128, 4096, 100_000], "osl": [1, 2, 4], "concurrency": USERS}
    ds = served(axes=axes, batching=batching, isl_cv=cv, osl_cv=0.0)
    rate = ds.requests_per_s_served
    assert bool(ds.feasible.all())
    np.testing.assert_allclose((rate * ds.latency_mean / ds.concurrency).values, 1.0, rtol=1e-6)
    assert float((rate / ds.requests_per_s_max).max()) <= 1.0 + 1e-6
    growth = (rate / rate.shift(concurrency=1)).isel(concurrency=slice(1, None))
    assert float(growth.min()) > 0.98


def pools(axes, link=5e10, **fixed):
    """Two pools of eight H200 each, whose links take so many bytes per second."""
    layout = dict(FIXED)
    given = {"transfer_nic": "CX7", "transfer_nic_scale_out_bytes_per_s": link} | fixed
    return dsjax.sweep(
        {"model": "DeepSeek-R1", "phase": "disaggregated", "axes": axes, "prefill": layout, "decode": layout}
        | {"fixed": given}
    )


@pytest.mark.parametrize("cv", [0.0, 1.0])
def test_users_of_two_pools_get_no_more_than_prompts_allow(cv):
    axes = {"isl": [1, 4096, 100_000], "osl": [1, 2, 1024], "prefill_instances": [1, 3], "concurrency": USERS}
    ds = pools(axes, isl_cv=cv, osl_cv=0.0)
    rate = ds.requests_per_s_served
    assert bool(ds.feasible.all())
    np.testing.assert_allclose((rate * ds.latency_mean / ds.concurrency).values, 1.0, rtol=1e-6)
    assert float((rate / ds.requests_per_s_max).max()) <= 1.0 + 1e-6


def test_users_wait_for_links_that_are_full_and_one_user_waits_for_none():
    """The transfer is a queue at the rate that users reach, not at the largest of the pools."""
    ds = pools({"concurrency": USERS}, link=1e8, isl=4096, osl=1024, isl_cv=0.0, osl_cv=0.0)
    alone = float(ds.transfer_share[0] / ds.requests_per_s_served[0])  # a pair of groups: seconds on its link
    assert float(ds.transfer_time[0]) == pytest.approx(alone, rel=1e-3)
    np.testing.assert_allclose((ds.requests_per_s_served * ds.latency_mean / ds.concurrency).values, 1.0, rtol=1e-6)
    assert bool((ds.transfer_share < 1.0).all())
    assert float(ds.requests_per_s_served[-1]) == pytest.approx(1.0 / alone, rel=1e-3)
    assert bool((ds.transfer_time.diff("concurrency") > 0.0).all())


def _linked(bytes_per_s, load):
    pool = {"hardware": "H200", "tp": 8, "chips": 8, "nic": "CX7", "engine": "sglang"}
    fixed = {"transfer_nic": "CX7", "isl": 4096, "osl": 256, "transfer_nic_scale_out_bytes_per_s": bytes_per_s}
    shape = {"model": "DeepSeek-R1", "phase": "disaggregated", "prefill": pool, "decode": pool, "fixed": fixed}
    return shape | {"axes": {name: [value] for name, value in load.items()}}


@pytest.mark.parametrize("load", [{"requests_per_s": 1.0}, {"concurrency": 1}])
def test_the_link_between_pools_has_an_elasticity(load):
    found = dsjax.sensitivity(_linked(1e9, load), of="ttft_mean", at="best")
    here = float(found["elasticity"].sel(parameter="transfer_nic.scale_out_bytes_per_s"))
    low, high = (float(dsjax.sweep(_linked(1e9 * x, load))["ttft_mean"].item()) for x in (1.0, 1.001))
    assert here == pytest.approx(np.log(high / low) / np.log(1.001), rel=5e-3)
    assert here < -0.5


def test_the_largest_rate_of_pools_is_no_more_than_their_links_take():
    most = float(dsjax.sweep(_linked(1e8, {"requests_per_s": 0.1}))["requests_per_s_max"].item())
    below, above = (dsjax.sweep(_linked(1e8, {"requests_per_s": x * most})) for x in (0.99, 1.01))
    assert below["ok_transfer"].item() and below["ok_stable"].item()
    assert not above["ok_stable"].item()
    assert most < 0.5
