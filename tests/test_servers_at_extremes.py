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
