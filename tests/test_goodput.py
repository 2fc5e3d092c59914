"""Requests that keep limits: against the simulator, and what any server's share of them must be."""

import numpy as np
import pytest
from server_cases import BATCHINGS, LOOPS, drawn, lone, of_kind, outputs, result_of, seen_of, stacked
from test_server_agreement import of_kind as simulable

import dsjax
from dsjax.serving.server import goodput

KINDS = [(batching, loop) for batching in BATCHINGS for loop in LOOPS]
LEVELS = {"p50": 0.5, "p90": 0.9, "p99": 0.99}


def share(case, closed, **limits):
    """Share of the requests of a case that keep limits."""
    seen, _, sizes = seen_of(case, closed)
    limits = {name: limit + 0.0 * seen.ttft for name, limit in limits.items()}
    return goodput.share(seen, sizes, goodput.Limits(**limits))


def random_servers(batching, loop):
    rng = np.random.default_rng([31, BATCHINGS.index(batching), LOOPS.index(loop)])
    return of_kind(stacked([drawn(rng, batching, loop) for _ in range(25)]), batching)


@pytest.mark.parametrize(("batching", "loop"), KINDS)
def test_the_share_of_one_limit_is_its_quantile(batching, loop):
    case, closed = random_servers(batching, loop), loop == "closed"
    found = outputs(case, closed)
    np.testing.assert_allclose(share(case, closed), 1.0)
    np.testing.assert_allclose(share(case, closed, ttft=0.0), 0.0, atol=1e-9)
    for name, level in LEVELS.items():
        ttft, tpot, latency = (found[f"{time}_{name}"] for time in ("ttft", "tpot", "latency"))
        np.testing.assert_allclose(share(case, closed, ttft=ttft), level, rtol=1e-5)
        np.testing.assert_allclose(share(case, closed, tpot=tpot), level, rtol=1e-5)
        both = share(case, closed, ttft=ttft, tpot=tpot)
        np.testing.assert_allclose(both, level * level, rtol=1e-5)
        np.testing.assert_allclose(share(case, closed, latency=latency), level, rtol=1e-5)
        assert (share(case, closed, ttft=ttft, tpot=tpot, latency=latency) <= both).all()


@pytest.mark.parametrize(("batching", "loop"), KINDS)
def test_more_time_is_kept_by_more(batching, loop):
    case, closed = random_servers(batching, loop), loop == "closed"
    found = outputs(case, closed)
    limits = {time: found[f"{time}_p50"] for time in ("ttft", "tpot", "latency")}
    for time in limits:
        fewer, more = (share(case, closed, **limits | {time: x * limits[time]}) for x in (0.9, 1.2))
        assert (fewer <= more + 1e-12).all()
        assert (fewer < more).mean() > 0.5


def test_a_request_of_one_token_keeps_any_limit_on_the_time_of_a_token():
    case = random_servers("prefill-first", "closed")
    case = case._replace(load=case.load._replace(osl=np.full(25, 1.0), osl_cv=np.zeros(25)))
    np.testing.assert_allclose(share(case, True, tpot=1e-9), 1.0)


@pytest.mark.parametrize(("batching", "loop"), KINDS)
def test_the_share_of_a_simulation(batching, loop):
    """What keeps limits at high percentiles of a simulation is what keeps limits 15 % beside them here."""
    closed = loop == "closed"
    for (case, _), seed in zip(simulable(batching, loop), range(4), strict=False):
        result = result_of(case, closed, 4000, seed)
        summary = result.summary()
        for level in ("p90", "p99"):
            limits = {time: summary[f"{time}_{level}"] for time in ("ttft", "tpot", "latency")}
            kept = (result.ttft <= limits["ttft"]) & ~(result.tpot > limits["tpot"])
            for here, there in ((("ttft", "tpot"), kept), (limits, kept & (result.latency <= limits["latency"]))):
                low, high = (
                    share(lone(case), closed, **{name: factor * limits[name] for name in here}).item()
                    for factor in (0.85, 1.15)
                )
                assert low - 0.025 <= there.mean() <= high + 0.025, (seed, level, here)


def test_without_limits_all_requests_are_good_and_limits_take_some_away():
    given = {
        "model": "DeepSeek-R1",
        "phase": "serve",
        "axes": {"requests_per_s": [0.5, 2.0, 4.0]},
        "fixed": {"hardware": "H200", "nic": "CX7", "isl": 2048, "osl": 512, "tp": 8, "chips": 8, "engine": "sglang"},
    }
    free = dsjax.sweep(given)
    np.testing.assert_allclose(free["goodput"], free["requests_per_s_served"])
    limits = {"max_ttft_p90": 0.15, "min_tps_per_user": 25.0}
    some = dsjax.sweep(given | {"constraints": limits})
    assert some["goodput"].attrs["units"] == "1/s"
    assert (some["goodput"] <= some["requests_per_s_served"]).all()
    assert 0.5 * 2.0 < float(some["goodput"][1]) < 0.95 * 2.0
    # By the percentiles: at a limit that 90 % keep, and at another that 50 % keep, 45 % of the rate.
    limits = {"max_ttft_p50": float(free["ttft_p90"][1]), "max_tpot_p99": float(free["tpot_p50"][1])}
    held = dsjax.sweep(given | {"constraints": limits})
    assert float(held["goodput"][1]) == pytest.approx(0.45 * 2.0, rel=1e-4)
    assert float(dsjax.best(given | {"constraints": limits}, objective="goodput")["goodput"][0]) > 0.0


def test_goodput_of_pools():
    pool = {"hardware": "H200", "nic": "CX7", "tp": 8, "chips": 8, "engine": "sglang"}
    given = {
        "model": "DeepSeek-R1",
        "phase": "disaggregated",
        "axes": {"requests_per_s": [1.0, 3.0]},
        "fixed": {"isl": 2048, "osl": 512, "transfer_nic": "CX7"},
        "prefill": pool,
        "decode": pool,
    }
    free = dsjax.sweep(given)
    np.testing.assert_allclose(free["goodput"], free["requests_per_s_served"])
    limits = {f"max_{time}_p90": float(free[f"{time}_p90"][1]) for time in ("ttft", "tpot")}
    held = dsjax.sweep(given | {"constraints": limits})
    assert float(held["goodput"][1]) == pytest.approx(0.81 * float(free["requests_per_s_served"][1]), rel=1e-4)
