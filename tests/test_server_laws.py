"""Laws of the analytic server: what must hold of any server and any load, on seeded random ones."""

import jax
import numpy as np
import pytest
import server_cases
from server_cases import BATCHINGS, LOOPS, drawn, means, most_requests, of_kind, outputs, prepared, stacked

from dsjax.serving.server import first_token, lengths, profiles, prompts, quantiles, rounds

KINDS = [(batching, loop) for batching in BATCHINGS for loop in LOOPS]
TIMES = ("weights_s", "start_s", "position_s", "pair_s")
close = np.testing.assert_allclose
pool_cases, means_of_pools, outputs_of_pools = (
    getattr(server_cases, name) for name in ("drawn_pools", "means_of_pools", "outputs_of_pools")
)


def listed(batching, loop, count=25, **given):
    rng = np.random.default_rng([11, BATCHINGS.index(batching), LOOPS.index(loop)])
    return [drawn(rng, batching, loop, **given) for _ in range(count)]


def cases(batching, loop, count=25, **given):
    """`Case` of arrays."""
    return of_kind(stacked(listed(batching, loop, count, **given)), batching)


def slower(case, factor, closed):
    """All times `factor` times as long."""
    step = case.step._replace(**{name: factor * getattr(case.step, name) for name in TIMES})
    step = step._replace(tokens_per_s=step.tokens_per_s / factor)
    return case._replace(step=step, amount=case.amount if closed else case.amount / factor)


def with_lengths(case, **changed):
    return case._replace(load=case.load._replace(**{name: x + 0.0 * case.load.isl for name, x in changed.items()}))


@pytest.mark.parametrize(("batching", "loop"), KINDS)
def test_requests_in_flight(batching, loop):
    """Little: those who decode are the rate times how long they do; of users, all are somewhere."""
    case = cases(batching, loop)
    m, _, sizes = means(case, loop == "closed")
    if loop == "closed":
        close(m.batch, m.rate * sizes.steps * m.tpot, rtol=1e-8)
        close(m.batch + m.rate * m.ttft, case.amount, rtol=1e-6)
    else:  # the mean over requests is the one over tokens where outputs are equal
        equal = case.load.osl_cv == 0.0
        close(m.batch[equal], (case.amount * sizes.steps * m.tpot)[equal], rtol=1e-6)
        assert equal.sum() > 2
    assert (m.prompts.share >= 0.0).all()
    assert (m.prompts.share < 1.0).all()


@pytest.mark.parametrize("loop", LOOPS)
def test_requests_in_flight_of_pools(loop):
    case, two = pool_cases(loop)
    m, sizes = means_of_pools(case, two, loop == "closed")
    close(m.decoding.mean, m.rate * sizes.steps * m.step_s, rtol=1e-6)
    assert (m.decoding.mean <= two.decode_instances * two.cap * (1 + 1e-9)).all()
    if loop == "closed":
        close(m.decoding.mean + m.rate * (m.ttft + 0.5 * m.step_s), case.amount, rtol=1e-6)


@pytest.mark.parametrize(("batching", "least"), [("prefill-first", 0.99), ("chunked", 0.75)])
def test_no_more_than_it_can_do(batching, least):
    """However many users there are: no more than the largest rate, and not far below it."""
    case = cases(batching, "closed", 60)
    most = most_requests(case)
    users = [np.maximum(share * case.server.cap, 1.0) for share in (0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0, 1.5, 10.0, 1e3)]
    largest = np.max([means(case._replace(amount=x), True)[0].rate for x in users], axis=0) / most
    assert (largest <= 1.002).all()
    assert (largest >= least).all()
    assert np.median(largest) > 0.99


@pytest.mark.parametrize("batching", BATCHINGS)
def test_one_user(batching):
    """Nobody else is there: exact."""
    case = cases(batching, "closed")
    case = case._replace(amount=np.ones(25))
    m, step, sizes = means(case, True)
    room, one = case.server.budget - 0.0, np.ones(25)
    if batching == "chunked":
        from_nobody = [lengths.mean(x) for x in alone(step, 0.0 * one, room, sizes)]
        close(m.ttft, from_nobody[0], rtol=1e-6)
    else:
        close(m.ttft, lengths.mean(step.prompts(sizes.new, sizes.pairs)), rtol=1e-6)
        ttft, tpot = rounds.means(m, step, sizes, case.server, one, one)
        close(tpot, m.tpot, rtol=1e-8)
        close(ttft, step.prompts(sizes.mean_new, sizes.mean_pairs), rtol=1e-9)
    close(m.tpot, step.decode(one), rtol=1e-6)
    close(m.rate, 1.0 / (m.ttft + sizes.steps * step.decode(one)), rtol=1e-6)


def alone(step, sequences, room, sizes):
    """(time of prompts in chunks, number of them), one by one."""
    times, chunks = np.zeros(sizes.new.shape), np.zeros(sizes.new.shape)
    for i, j in np.ndindex(*times.shape):
        own = type(step)(*(x[i] for x in step))
        left, density = sizes.new[i, j], sizes.pairs[i, j] / sizes.new[i, j]
        while left > 0.0:
            part = min(left, room[i])
            times[i, j] += own.mixed(sequences[i], part, part * density)
            chunks[i, j] += 1.0
            left = left - part if left - part > 1e-6 else 0.0
    return times, chunks


@pytest.mark.parametrize("batching", BATCHINGS)
def test_nobody_else(batching):
    """A rate near 0: a request is alone."""
    case = cases(batching, "open")
    m, step, _ = means(case._replace(amount=np.full(25, 1e-9)), False)
    close(m.ttft, m.prompts.own_mean, rtol=1e-5)
    close(m.tpot, step.decode(np.ones(25)), rtol=1e-5)


@pytest.mark.parametrize("batching", BATCHINGS)
def test_both_loops_agree(batching):
    """At the rate of many users a token takes as long as where requests come at random, but for what chance adds."""
    case = cases(batching, "closed", 60)
    case = case._replace(amount=np.full(60, 50.0))
    users, *_ = means(case, True)
    random = case._replace(amount=users.rate)
    there, *_ = means(random, False)
    free = (
        (users.rate < 0.7 * most_requests(case)) & (users.prompts.share < 0.3) & (there.batch < 0.8 * case.server.cap)
    )
    assert free.sum() > 5
    apart = np.abs(there.tpot / users.tpot - 1.0)[free]
    assert np.median(apart) < 0.01 and np.max(apart) < 0.2


def test_nobody_else_in_pools():
    case, two = pool_cases("open")
    for closed, amount in ((False, 1e-9), (True, 1.0)):
        m, _ = means_of_pools(case._replace(amount=np.full(20, amount)), two, closed)
        step, _ = prepared(case)
        close(m.ttft, m.prefill.own_mean + two.transfer_s, rtol=1e-5)
        close(m.step_s, step.decode(np.ones(20)), rtol=1e-5)


@pytest.mark.parametrize(("batching", "loop"), KINDS)
def test_everything_is_cached(batching, loop):
    """One token is computed: one step."""
    case = with_lengths(cases(batching, loop), cached_fraction=1.0, isl_cv=0.0)
    case = case._replace(amount=np.full(25, 1.0 if loop == "closed" else 1e-9))
    m, step, sizes = means(case, loop == "closed")
    close(sizes.mean_new, 1.0)
    close(m.ttft, step.mixed(np.zeros(25), np.ones(25), sizes.mean_pairs), rtol=1e-4)


@pytest.mark.parametrize(("batching", "loop"), KINDS)
def test_one_token(batching, loop):
    """Nobody decodes: the whole is the first token."""
    case = with_lengths(cases(batching, loop), osl=1.0, osl_cv=0.0)
    if loop == "open":
        case = case._replace(amount=0.5 * most_requests(case))
    out = outputs(case, loop == "closed")
    close(out["latency_mean"], out["ttft_mean"], rtol=1e-6)
    assert all(np.isfinite(x).all() for x in out.values())


@pytest.mark.parametrize("load", [0.2, 0.5, 0.8])
def test_one_queue_of_prompts(load):
    """One pool of one instance, one prompt in a step, one token: Pollaczek and Khinchine."""
    case, two = pool_cases("open")
    case = with_lengths(case, osl=1.0, osl_cv=0.0, isl_cv=0.0)
    two = two._replace(budget=np.ones(20), prefill_instances=np.ones(20), transfer_s=np.zeros(20))
    step, sizes = prepared(case)
    own = step.prompts(sizes.mean_new, sizes.mean_pairs)
    m, _ = means_of_pools(case._replace(amount=load / own), two, False)
    close(m.ttft, own * (1.0 + load / (2.0 * (1.0 - load))), rtol=1e-6)


@pytest.mark.parametrize(("batching", "loop"), KINDS)
def test_equal_lengths_are_one_node(batching, loop, monkeypatch):
    case = with_lengths(cases(batching, loop), isl_cv=0.0, osl_cv=0.0)
    many = outputs(case, loop == "closed")
    with monkeypatch.context() as patch:
        patch.setattr(lengths, "NODES", np.zeros(1))
        patch.setattr(lengths, "EDGES", np.zeros(2))
        for module in (lengths, quantiles, first_token):
            patch.setattr(module, "WEIGHTS", np.ones(1))
        one = outputs(case, loop == "closed")
    for name in many:
        close(one[name], many[name], rtol=1e-7, err_msg=name)


def assert_twice(once, twice):
    for name, value in once.items():
        expected = value / 2.0 if "per_s" in name else 2.0 * value
        close(twice[name], expected, rtol=1e-4, err_msg=name)


@pytest.mark.parametrize(("batching", "loop"), KINDS)
def test_all_times_twice_as_long(batching, loop):
    closed = loop == "closed"
    case = cases(batching, loop)
    assert_twice(outputs(case, closed), outputs(slower(case, 2.0, closed), closed))


@pytest.mark.parametrize("loop", LOOPS)
def test_all_times_of_pools_twice_as_long(loop):
    case, two = pool_cases(loop)
    slow, sent = slower(case, 2.0, loop == "closed"), two._replace(transfer_s=2.0 * two.transfer_s)
    assert_twice(*(outputs_of_pools(*x, loop == "closed") for x in ((case, two), (slow, sent))))


def assert_in_order(out):
    for name in ("ttft", "tpot", "itl", "latency"):
        p50, p90, p99 = (out[f"{name}_{p}"] for p in ("p50", "p90", "p99"))
        assert (p50 > 0.0).all(), name
        assert (p50 <= p90 * (1 + 1e-9)).all(), name
        assert (p90 <= p99 * (1 + 1e-9)).all(), name
    assert all(np.isfinite(x).all() for x in out.values())


@pytest.mark.parametrize(("batching", "loop"), KINDS)
def test_quantiles_are_in_order(batching, loop):
    assert_in_order(outputs(cases(batching, loop, 60), loop == "closed"))


@pytest.mark.parametrize("loop", LOOPS)
def test_quantiles_of_pools_are_in_order(loop):
    case, two = pool_cases(loop)
    assert_in_order(outputs_of_pools(case, two, loop == "closed"))


def assert_means(m, seen, sizes):
    """The distributions of the first token and of the time of a token have nearly the means."""
    for mixture, expected in ((quantiles.first_tokens(seen), m.ttft), (quantiles.token_times(seen, sizes)[0], m.tpot)):
        found = (mixture.weight * (mixture.shift + 0.5 * mixture.width + mixture.mean)).sum(-1)
        off = np.abs(found / expected - 1.0)
        assert np.quantile(off, 0.8) < 0.01
        assert off.max() < 0.2


@pytest.mark.parametrize(("batching", "loop"), KINDS)
def test_distributions_have_their_means(batching, loop):
    case = cases(batching, loop, 60)
    m, _, sizes = means(case, loop == "closed")
    of = profiles.of_closed_loop if loop == "closed" else profiles.of_open_loop
    assert_means(m, of(m, sizes, case.server, case.amount), sizes)


@pytest.mark.parametrize("loop", LOOPS)
def test_distributions_of_pools_have_their_means(loop):
    case, two = pool_cases(loop)
    m, sizes = means_of_pools(case, two, loop == "closed")
    assert_means(m, profiles.of_pools(m, sizes, two, loop == "closed"), sizes)


@pytest.mark.parametrize("batching", BATCHINGS)
def test_more_requests_wait_longer(batching):
    """Inside its capacity, and while it is not full of sequences, a server is slower at a higher rate."""
    case = cases(batching, "open", 40, load=1.0)
    at = [case._replace(amount=load * case.amount) for load in (0.1, 0.3, 0.5, 0.7, 0.85)]
    found = [outputs(x, False) for x in at]
    free = [means(x, False)[0].batch < 0.9 * case.server.cap for x in at]
    assert np.mean(free) > 0.9
    for name in ("ttft_mean", "ttft_p90", "tpot_mean", "latency_mean"):
        for fewer, more, here in zip(found, found[1:], free[1:], strict=False):
            assert (more[name] >= fewer[name] * (1 - 1e-2))[here].all(), name


@pytest.mark.parametrize(("batching", "loop"), KINDS)
def test_a_faster_server_is_faster(batching, loop):
    case = cases(batching, loop, 40)
    fast, slow = outputs(slower(case, 0.9, True), loop == "closed"), outputs(case, loop == "closed")
    for name in ("ttft_mean", "ttft_p90", "tpot_mean", "latency_mean"):
        assert (fast[name] < slow[name]).all(), name


@pytest.mark.parametrize(("batching", "loop"), KINDS)
def test_tokens_per_step(batching, loop):
    """Two tokens in a step are half as many steps, where context takes no time; a token takes half of one."""
    case = with_lengths(cases(batching, loop), osl_cv=0.0)
    case = case._replace(step=case.step._replace(position_s=np.zeros(25)))
    two = outputs(with_lengths(case, tokens_per_step=2.0), loop == "closed")
    one = outputs(with_lengths(case, osl=1.0 + (case.load.osl - 1.0) / 2.0), loop == "closed")
    for name, value in one.items():
        close(two[name], value / 2.0 if "tpot" in name else value, rtol=1e-5, err_msg=name)


@pytest.mark.parametrize(("batching", "loop"), KINDS)
def test_groups(batching, loop):
    """Groups of a budget each take together what one of their common budget does, where prompts fit into them."""
    case = cases(batching, loop, 60)
    _, sizes = prepared(case)
    # Whole prompts leave some of a budget unused, in every group.
    spread = lengths.mean(sizes.new**2) / sizes.mean_new**2 - 1.0
    unused = 0.5 * np.maximum(1.0 - spread, 0.0) * sizes.mean_new if batching == "prefill-first" else 0.0
    apart = case.server._replace(budget=(case.server.budget + 3.0 * unused) / 4.0, groups=np.full(60, 4.0))
    one, four = (outputs(x, loop == "closed") for x in (case, case._replace(server=apart)))
    fit = sizes.new_edges.max(-1) < (case.server.budget - case.server.cap) / 4.0
    fit = fit if batching == "chunked" else np.full(60, True)
    assert fit.sum() > 5
    for name in one:
        close(four[name][fit], one[name][fit], rtol=1e-6, err_msg=name)


@pytest.mark.parametrize("batching", BATCHINGS)
def test_many_rounds_are_steady(batching):
    case = cases(batching, "closed")
    m, step, sizes = means(case, True)
    apart = sizes.spread * sizes.steps**2 > 100.0
    found = rounds.means(m, step, sizes, case.server, case.amount, np.full(25, 1e9))
    for x, steady in zip(found, (m.ttft, m.tpot), strict=True):
        close(x[apart], steady[apart], rtol=1e-2)
    found = rounds.means(m, step, sizes, case.server, case.amount, np.zeros(25))
    for x, steady in zip(found, (m.ttft, m.tpot), strict=True):
        close(x, steady, rtol=1e-12)


# NumPy, JAX, and derivatives: one program of all cases of a kind, point by point.


@pytest.mark.parametrize(("batching", "loop"), KINDS)
def test_numpy_equals_jax(batching, loop):
    case = stacked(listed(batching, loop, 60))
    numpy = outputs(of_kind(case, batching), loop == "closed")
    with jax.enable_x64(True):
        compiled = jax.jit(jax.vmap(lambda x: outputs(of_kind(x, batching), loop == "closed")))(case)
    for name, value in numpy.items():
        close(compiled[name], value, rtol=1e-6, err_msg=name)


@pytest.mark.parametrize(("batching", "loop"), KINDS)
def test_gradients(batching, loop):
    """By the rate and by a speed: finite, and those of central differences."""
    data = stacked(listed(batching, loop, 100))
    data = data._replace(amount=np.maximum(data.amount, 1.1 if loop == "closed" else 0.0))  # no less than one user

    def changed(x, case):
        step = case.step._replace(**{name: getattr(case.step, name) * x[1] for name in TIMES})
        step = step._replace(tokens_per_s=case.step.tokens_per_s / x[1])
        out = outputs(of_kind(case._replace(step=step, amount=case.amount * x[0]), batching), loop == "closed")
        return jax.numpy.stack([out["ttft_p90"], out["tpot_mean"]])

    with jax.enable_x64(True):
        both = jax.vmap(lambda x, way, case: jax.jvp(lambda x: changed(x, case), (x,), (way,)), (None, None, 0))
        both, one, h = jax.jit(both), np.ones(2), 1e-5
        ways = np.eye(2)
        middle, exact = np.array([both(one, way, data) for way in ways]).swapaxes(0, 1)  # of an x, a case, an output
        sides = [[np.array(both(one + s * h * way, way, data)[0]) for s in (1.0, -1.0)] for way in ways]
    assert np.isfinite(exact).all()
    for i, (up, down) in enumerate(sides):
        differences = (up - down) / (2.0 * h)
        error = np.abs(exact[i] - differences) / np.maximum(np.abs(differences), 1e-3 * middle[i])
        assert np.median(error) < 1e-5
        assert np.quantile(error, 0.8) < 1e-3


@pytest.mark.parametrize("groups", [1.0, 4.0])
def test_the_rate_of_so_many_prompts_a_step_is_that_at_which_so_many_come(groups):
    several = [drawn(np.random.default_rng([3, i]), "chunked", "open") for i in range(200)]
    case = of_kind(stacked(several), "chunked")
    step, sizes = prepared(case)
    held = np.full(200, 20.0)
    decode_s, found = step.decode(held), prompts.chunks(step, sizes, held, case.server.budget, groups)
    came = np.geomspace(0.01, 3.0, 200)
    rate = prompts.rate_of(step, sizes, found, held, decode_s, came)
    whole = prompts.sharing(step, sizes, found, held, decode_s, lambda whole: rate + 0.0 * whole).whole
    below = (rate * found.service < 0.99) & (whole < 0.99 * np.maximum(found.full_s, decode_s))
    assert below.sum() > 50 and (~found.fits & below).sum() > 10
    np.testing.assert_allclose((rate * whole)[below], came[below], rtol=1e-8)
