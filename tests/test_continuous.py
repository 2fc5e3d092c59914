"""Continuous batching: laws, and a simulation of the busiest of many chips."""

import math

import numpy as np
import pytest

from dsjax.validation import continuous_batching


@pytest.mark.parametrize("mean", [1e-6, 0.1, 1.0, 7.5, 300.0, 2000.0])
def test_one_group_is_no_busier_than_itself(mean):
    assert continuous_batching.busiest(mean, 1) == pytest.approx(mean, rel=1e-9)


@pytest.mark.parametrize("mean, groups", [(0.0625, 8), (0.19, 8), (0.5, 72), (2.0, 320), (30.0, 16)])
def test_busiest_against_simulation(mean, groups):
    counts = np.random.default_rng(1).poisson(mean, (2_000_000 // groups, groups))
    assert continuous_batching.busiest(mean, groups) == pytest.approx(counts.max(axis=1).mean(), rel=0.01)


@pytest.mark.parametrize("mean, groups, most", [(0.19, 8, 1), (0.5, 72, 2), (2.0, 32, 3), (7.5, 16, 8)])
def test_busiest_of_groups_that_let_prompts_wait(mean, groups, most):
    counts = np.random.default_rng(2).binomial(most, mean / most, (2_000_000 // groups, groups))
    found = continuous_batching.busiest(mean, groups, most)
    assert found == pytest.approx(counts.max(axis=1).mean(), rel=0.01)
    assert mean <= found < min(most, continuous_batching.busiest(mean, groups)) * (1.0 + 1e-12)
    assert continuous_batching.busiest(mean, groups, 10**7) == pytest.approx(
        continuous_batching.busiest(mean, groups), rel=1e-5
    )
    assert continuous_batching.busiest(most + 1.0, groups, most) == most  # more than can be served


def test_busiest_by_hand():
    assert continuous_batching.busiest(0.1875, 8, 1) == pytest.approx(1.0 - (1.0 - 0.1875) ** 8, rel=1e-12)
    assert [continuous_batching.most_prompts(1024, limit, 384) for limit in (1024, 1536, 2431, 2432)] == [1, 1, 1, 2]
    assert continuous_batching.busiest(0.0, 64) == 0.0
    mean, groups = 1e-5, 32  # hardly ever more than one prompt: the chance that there is one
    assert continuous_batching.busiest(mean, groups) == pytest.approx(1.0 - math.exp(-mean * groups), rel=1e-4)


def test_busiest_grows_with_groups_and_mean():
    by_groups = [continuous_batching.busiest(0.3, n) for n in (1, 2, 8, 64, 512, 4096)]
    by_mean = [continuous_batching.busiest(x, 8) for x in (0.0, 0.01, 0.1, 1.0, 10.0, 100.0)]
    assert (np.diff(by_groups) > 0.0).all() and (np.diff(by_mean) > 0.0).all()


def test_prompts_per_step():
    assert continuous_batching.prompts_per_step(128 * 1.8, 2048) == pytest.approx(0.1125)
    assert [continuous_batching.chunks(1024, limit) for limit in (16384, 1024, 1023, 512, 500)] == [1, 1, 2, 2, 3]


def test_shared_part():
    blocks = {"core": 2.0, "routed": 3.0, "dispatch": 1.0, "combine": 1.5, "o": 2.5}
    assert continuous_batching.shared_part(blocks) == pytest.approx(0.3)
    assert continuous_batching.shared_part({"core": 1.0}) == 0.0


def test_step_without_prompts_decodes_alone():
    assert continuous_batching.step_time(0.05, 0.13, 0.6, 0.0, 8) == 0.05
    assert continuous_batching.step_time(0.05, 0.13, 0.6, 1e-9, 8) == pytest.approx(0.05, rel=1e-6)


def test_step_of_one_group_waits_for_no_other():
    for shared in (0.0, 0.3, 1.0):
        assert continuous_batching.step_time(0.05, 0.13, shared, 0.4, 1) == pytest.approx(0.05 + 0.4 * 0.13, rel=1e-9)


def test_step_where_all_is_shared_waits_for_none():
    assert continuous_batching.step_time(0.05, 0.13, 1.0, 0.4, 64) == pytest.approx(0.05 + 0.4 * 0.13, rel=1e-12)


def test_step_grows_with_groups_and_shrinks_with_chunks():
    groups = [continuous_batching.step_time(0.05, 0.13, 0.5, 0.2, n) for n in (1, 2, 4, 8, 64)]
    pieces = [continuous_batching.step_time(0.05, 0.13, 0.5, 0.2, 8, n) for n in (1, 2, 4, 64, 4096)]
    assert (np.diff(groups) > 0.0).all() and (np.diff(pieces) < 0.0).all()
    assert pieces[-1] == pytest.approx(0.05 + 0.2 * 0.13, rel=0.03)  # evened out


def test_time_is_homogeneous():
    once = continuous_batching.step_time(0.05, 0.13, 0.5, 0.2, 8, 2)
    assert continuous_batching.step_time(0.1, 0.26, 0.5, 0.2, 8, 2) == pytest.approx(2.0 * once, rel=1e-12)
