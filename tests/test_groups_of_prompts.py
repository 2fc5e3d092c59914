"""Prompts in several chunks of data-parallel groups: first tokens against a simulation, never sooner with load."""

import groups_simulator
import numpy as np
import pytest
import server_cases

from dsjax.serving.server import lengths, open_loop

# groups, tokens of a step of one, of a prompt and their variation, output; tokens/s at which steps are computed
CASES = [
    (8, 2048, 8192, 0.0, 64, 6e4),
    (8, 2048, 8192, 0.0, 64, 6e5),
    (16, 2048, 8192, 0.5, 64, 6e4),
    (32, 1024, 8192, 0.3, 32, 6e4),
    (32, 1024, 8192, 0.3, 32, 6e5),
    (64, 4096, 32768, 0.0, 128, 6e4),
]


def prepared(groups, budget, isl, variation, osl, compute):
    """(case, step, sizes, the rate at which it is full)."""
    step = server_cases.Step(0.012, 40.0, compute, 0.003, 4e-10, 2e-12)
    load = lengths.Load(float(isl), float(osl), variation, 0.0, 0.0)
    case = server_cases.lone(server_cases.Case(step, load, open_loop.Server(float(budget), 1000.0 * groups, True), 0.0))
    case = case._replace(server=case.server._replace(groups=np.array([float(groups)])))
    return case, *server_cases.prepared(case), float(server_cases.most_requests(case)[0])


@pytest.mark.parametrize("of", CASES)
@pytest.mark.parametrize(("load", "within"), [(0.1, 0.06), (0.35, 0.15), (0.6, 0.25)])
def test_the_first_token_of_groups_is_that_of_a_simulation(of, load, within):
    groups, budget, isl, variation, osl, compute = of
    case, step, sizes, most = prepared(*of)
    rng = np.random.default_rng(7)
    spread = np.sqrt(np.log(1.0 + variation**2))
    prompts = (
        np.minimum(isl * np.exp(spread * rng.standard_normal(1500) - 0.5 * spread**2), 4 * isl).round().astype(int)
    )
    plain = server_cases.Step(0.012, 40.0, compute, 0.003, 4e-10, 2e-12)
    context = float(np.ravel(sizes.context)[0])
    seen = groups_simulator.times_to_first_token(
        plain.tau, context, groups, budget, prompts.tolist(), osl, load * most, rng
    )
    found = open_loop.means(step, sizes, case.server, np.array([load * most])).ttft[0]
    np.testing.assert_allclose(found, seen[150:-150].mean(), rtol=within)


@pytest.mark.parametrize("of", CASES)
def test_the_first_token_is_never_sooner_with_load(of):
    case, step, sizes, most = prepared(*of)
    shares = np.linspace(0.01, 0.99, 60)
    first = [open_loop.means(step, sizes, case.server, np.array([share * most])).ttft[0] for share in shares]
    assert (np.diff(first) > 0.0).all()
