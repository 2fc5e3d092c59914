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
