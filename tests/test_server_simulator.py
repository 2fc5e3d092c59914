"""The simulated server against schedules worked out by hand, laws of queues, and what is conserved."""

import math

import numpy as np
import pytest
from server_simulator import Load, Pools, Server, simulate

ANY = Load(1, 1)  # beside explicit requests
BATCHINGS = ("prefill-first", "chunked")


def recorded(step):
    """`step` and the list of the (B, S, n, p) it is asked for."""
    calls = []

    def tau(*numbers):
        calls.append(numbers)
        return step(*numbers)

    return tau, calls


def ten(B, S, n, p):
    return 10 + B + n


def usual(B, S, n, p):
    return 0.02 + 2e-4 * B + 1e-7 * B * S + 2e-5 * n + 1e-9 * p


def pools(step, prefill_instances=1, decode_instances=1, transfer=lambda L: 0.0, budget=4096, **limits):
    return Pools(step, step, prefill_instances, decode_instances, transfer, budget, **limits)


def seen(result):
    """{isl: (ttft, latency)}: a prompt length is a name here."""
    return {isl: pair for isl, *pair in zip(result.isl, result.ttft, result.latency)}


def gaps(result):
    return sorted(np.repeat(result.gaps, result.gap_weights.astype(int)))


@pytest.mark.parametrize("batching", BATCHINGS)
def test_one_request_alone(batching):
    tau, calls = recorded(lambda B, S, n, p: n + p / 4 + 8 * B + S / 2)
    result = simulate(Load(1, 1, cached_fraction=0.5), Server(tau, batching, 100), [(3.0, 4, 4)])
    assert calls == [(0, 0, 2, 6), (1, 5, 0, 0), (1, 6, 0, 0), (1, 7, 0, 0)]
    assert (result.arrival, result.ttft, result.latency, result.tpot) == (3.0, 3.5, 36.5, 11.0)
    assert gaps(result) == [10.5, 11.0, 11.5]
    assert result.throughput == 1 / 36.5
    assert result.decode_batch == 1
    assert result.prefill_share == 3.5 / 36.5


@pytest.mark.parametrize(("isl", "cached", "n"), [(10, 0.0, 10), (10, 0.25, 8), (10, 0.99, 1), (1, 0.5, 1)])
def test_new_tokens_of_a_prompt(isl, cached, n):
    tau, calls = recorded(ten)
    simulate(Load(1, 1, cached_fraction=cached), Server(tau, "chunked", 100), [(0.0, isl, 1)])
    assert calls == [(0, 0, n, n * (isl - n) + n * n / 2)]


def test_prompts_first():
    tau, calls = recorded(ten)
    result = simulate(ANY, Server(tau, "prefill-first", 100), [(0.0, 5, 3), (3.0, 7, 2)])
    assert calls == [(0, 0, 5, 12.5), (0, 0, 7, 24.5), (2, 7, 0, 0), (1, 7, 0, 0)]
    assert seen(result) == {5: [15, 55], 7: [29, 41]}
    assert gaps(result) == [11, 12, 29]  # between 15 and 44 there is the prompt of the other
    assert result.decode_batch == 1.5
    assert result.prefill_share == 32 / 55


def test_prompts_between_two_steps_of_decode():
    result = simulate(ANY, Server(ten, "prefill-first", 100), [(0.0, 5, 3), (16.0, 7, 2)])
    assert seen(result) == {5: [15, 55], 7: [27, 39]}
    assert gaps(result) == [11, 12, 29]


@pytest.mark.parametrize(("budget", "ends"), [(11, (36, 36)), (10, (32, 46)), (1, (32, 46))])
def test_budget_of_a_step_of_prompts(budget, ends):
    requests = [(0.0, 5, 1), (1.0, 7, 1), (2.0, 4, 1)]
    result = simulate(ANY, Server(ten, "prefill-first", budget), requests)
    assert seen(result) == {5: [15, 15], 7: [ends[0] - 1] * 2, 4: [ends[1] - 2] * 2}
    assert np.isnan(result.tpot).all()
    assert math.isnan(result.summary()["itl_p50"])


def test_chunks():
    tau, calls = recorded(ten)
    result = simulate(ANY, Server(tau, "chunked", 4), [(0.0, 6, 3), (1.0, 5, 2)])
    assert calls == [(0, 0, 4, 8), (0, 0, 4, 10 + 2), (1, 7, 3, 6 + 4.5), (2, 7, 0, 0)]
    assert seen(result) == {6: [28, 54], 5: [41, 53]}
    assert gaps(result) == [12, 12, 14]
    assert result.prefill_share == 42 / 54


def test_no_room_for_prompts_beside_those_who_decode():
    tau, calls = recorded(ten)
    simulate(ANY, Server(tau, "chunked", 2), [(0.0, 1, 3), (0.0, 1, 3), (0.0, 1, 1)])
    assert [(B, n) for B, _, n, _ in calls] == [(0, 2), (2, 0), (2, 0), (0, 1)]


ROOM = [
    ({"kv_tokens": 10}, {4: [14, 36], 2: [48, 81], 1: [47, 47]}),  # 1 + 1 would fit at once, and does not overtake
    ({"kv_tokens": 13}, {4: [14, 50], 2: [25, 71], 1: [59, 59]}),  # 4 + 3 and 2 + 4 fit together, to the token
    ({"max_batch": 1}, {4: [14, 36], 2: [47, 80], 1: [90, 90]}),
    ({"max_batch": 3}, {4: [14, 51], 2: [26, 61], 1: [25, 25]}),
]


@pytest.mark.parametrize(("limits", "expected"), ROOM)
def test_room(limits, expected):
    requests = [(0.0, 4, 3), (1.0, 2, 4), (2.0, 1, 1)]
    assert seen(simulate(ANY, Server(ten, "prefill-first", 100, **limits), requests)) == expected


def test_a_request_that_never_fits():
    with pytest.raises(ValueError, match="never be admitted"):
        simulate(ANY, Server(ten, "chunked", 100, kv_tokens=10), [(0.0, 2, 2), (1.0, 8, 3)])


IN_POOLS = [  # instances that decode, places there, {isl: (ttft, latency)}, gaps
    (1, 9, {5: [20, 43], 2: [28, 54], 3: [41, 53]}, [11, 12, 12, 12, 14]),
    (2, 9, {5: [20, 42], 2: [28, 50], 3: [41, 52]}, [11] * 5),
    (1, 1, {5: [20, 42], 2: [41, 63], 3: [62, 73]}, [11] * 5),  # the first token is there when there is room
]


@pytest.mark.parametrize(("instances", "places", "expected", "between"), IN_POOLS)
def test_pools(instances, places, expected, between):
    server = pools(ten, 1, instances, float, budget=4, max_batch=places)
    result = simulate(ANY, server, [(0.0, 5, 3), (1.0, 2, 3), (2.0, 3, 2)])
    assert seen(result) == expected
    assert gaps(result) == between


TO_DECODE = [  # tokens of an instance, requests, latencies by isl; a prompt takes 1, a step 10 + B
    (99, [(0.0, 1, 3), (0.0, 2, 3)], {1: 23, 2: 23}),  # each to its own, though neither has joined yet
    (99, [(0.0, 1, 2), (0.0, 2, 2), (12.0, 3, 2), (12.0, 4, 2)], {1: 12, 2: 12, 3: 12, 4: 12}),  # where somebody left
    (99, [(0.0, 1, 9), (0.0, 2, 2), (12.0, 3, 2)], {1: 89, 2: 12, 3: 12}),
    (22, [(0.0, 9, 9), (0.0, 2, 4), (2.0, 3, 4), (4.0, 4, 4)], {9: 89, 2: 38, 3: 48, 4: 46}),  # only where it fits
    (13, [(0.0, 7, 3), (0.0, 6, 4), (1.0, 5, 4), (2.0, 1, 2)], {7: 23, 6: 34, 5: 56, 1: 33}),  # nobody overtakes
]


@pytest.mark.parametrize(("kv_tokens", "requests", "expected"), TO_DECODE)
def test_where_it_decodes(kv_tokens, requests, expected):
    server = Pools(lambda *_: 1.0, ten, 1, 2, lambda L: 0.0, 99, kv_tokens)
    assert {isl: latency for isl, (_, latency) in seen(simulate(ANY, server, requests)).items()} == expected


def test_prompts_of_pools_do_not_see_the_decode():
    load = Load(800, 50, 1.0, 0.5, requests_per_s=20.0)
    alone = simulate(load._replace(osl=1, osl_cv=0), Server(usual, "prefill-first", 4096), 2000)
    apart = simulate(load, pools(usual), 2000)
    order = np.argsort(apart.arrival)
    assert (apart.ttft[order] == alone.ttft).all()
    full = simulate(load, pools(usual, max_batch=30), 2000)
    order = np.argsort(full.arrival)
    assert (full.ttft[order] >= alone.ttft).all()
    assert (full.ttft[order] > alone.ttft).any()
    sent = simulate(load, pools(usual, transfer=lambda L: L / 1000), 2000)
    order = np.argsort(sent.arrival)
    assert sent.ttft[order] == pytest.approx(alone.ttft + alone.isl / 1000, rel=1e-9)


def test_two_pools_of_prompts_are_faster():
    load = Load(800, 1, 1.0, requests_per_s=20.0)
    one, two = (simulate(load, pools(usual, n, budget=1), 3000).ttft.mean() for n in (1, 2))
    assert two < one


def test_two_instances_from_one_queue():
    """M/D/2 is bounded by M/M/2 from above, and by the wait of one that is twice as fast from below."""
    lam, s = 1.5, 1.0
    server = pools(lambda B, S, n, p: s, prefill_instances=2, budget=1)
    wait = simulate(Load(10, 1, requests_per_s=lam), server, 50_000).ttft.mean() - s
    rho = lam * s / 2
    assert rho / (1 - rho) / lam / 2 * rho / (1 + rho) < wait < rho**2 * s / (1 - rho**2)


def test_wait_of_one_prompt_at_a_time():
    """Pollaczek and Khinchine, with the moments of the lengths drawn."""
    lam, c = 0.6, 0.001
    server = Server(lambda B, S, n, p: c * n, "prefill-first", 1)
    result = simulate(Load(1000, 1, 0.8, requests_per_s=lam), server, 200_000, seed=1)
    service = c * result.isl
    assert service.mean() == pytest.approx(1, rel=0.02)
    wait = lam * (service**2).mean() / 2 / (1 - lam * service.mean())
    assert (result.ttft - service).mean() == pytest.approx(wait, rel=0.03)
    assert result.prefill_share == 1


@pytest.mark.parametrize("cv", [0.0, 1.0])
def test_decode_in_equal_shares(cv):
    """A step that takes a B is a processor shared evenly: rho / (1 - rho) decode, whatever the lengths."""
    a, lam, osl = 0.01, 0.8, 61
    server = Server(lambda B, S, n, p: a * B + 1e-9 * (n > 0), "prefill-first", 10**6)
    result = simulate(Load(10, osl, 0, cv, requests_per_s=lam), server, 20_000)
    rho = lam * a * (result.osl - 1).mean()
    decoding = (result.latency - result.ttft).mean()
    assert lam * decoding == pytest.approx(rho / (1 - rho), rel=0.04)
    assert result.ttft.mean() == pytest.approx(a * lam * decoding / 2, rel=0.04)  # what is left of a step
    assert result.decode_batch == pytest.approx(-rho / (1 - rho) / math.log(1 - rho), rel=0.04)  # a step is 1 / (a B)
    if cv == 0:
        assert result.summary()["tpot_mean"] == pytest.approx(a / (1 - rho), rel=0.04)


SERVERS = {
    "prefill-first": Server(usual, "prefill-first", 2000),
    "chunked": Server(usual, "chunked", 256),
    "tight": Server(usual, "prefill-first", 2000, 20_000, 12),
    "tight chunked": Server(usual, "chunked", 256, 20_000, 12),
    "pools": pools(usual, 2, 3, lambda L: 1e-5 * L, 2000, kv_tokens=20_000, max_batch=5),
}
MIXED = Load(600, 60, 0.8, 0.8, cached_fraction=0.3)


@pytest.mark.parametrize("name", SERVERS)
def test_littles_law(name):
    result = simulate(MIXED._replace(concurrency=20), SERVERS[name], 4000)
    assert result.throughput * result.latency.mean() == pytest.approx(20, rel=0.02)
    assert len(result.ttft) == pytest.approx(3600, abs=20)
    open_loop = MIXED._replace(requests_per_s=0.8 * result.throughput)
    result = simulate(open_loop, SERVERS[name], 4000)
    assert result.throughput == pytest.approx(open_loop.requests_per_s, rel=0.03)
    assert len(result.ttft) == 3400


@pytest.mark.parametrize("name", SERVERS)
def test_what_is_conserved(name):
    """Tokens, pairs, contexts and time between tokens, summed over steps and over requests."""
    tau, calls = recorded(usual)
    server = SERVERS[name]
    names = ("prefill_step", "decode_step") if isinstance(server, Pools) else ("step",)
    server = server._replace(**dict.fromkeys(names, tau))
    result = simulate(MIXED._replace(concurrency=20), server, 500, start="all at once")
    B, S, n, p = np.array(calls).T
    L, steps, new = result.isl, result.osl - 1, np.maximum(1, np.rint(0.7 * result.isl))
    assert len(L) == 500
    assert B.sum() == steps.sum() == result.gap_weights.sum()
    assert n.sum() == new.sum()
    assert p.sum() == (new * (L - new) + new**2 / 2).sum()
    assert (B * S).sum() == pytest.approx((steps * (L + result.osl / 2)).sum(), rel=1e-12)
    between = (result.gaps * result.gap_weights).sum()
    assert between == pytest.approx((result.latency - result.ttft).sum(), rel=1e-9)
    assert between == pytest.approx(np.nansum(result.tpot * steps), rel=1e-9)
    assert result.decode_batch == B[B > 0].mean()
    if "chunked" in name:
        assert (B + n).max() == server.budget
        assert ((B + n)[n > 0] == server.budget).mean() > 0.1
    else:
        assert not (B * n).any()
        assert n[n > new.max()].max(initial=0) <= server.budget


def most(result, amounts):
    """The largest sum of `amounts` that were admitted and had not ended."""
    moments = [(time, 1, x) for time, x in zip(result.admitted, amounts)]
    moments += [(time, 0, -x) for time, x in zip(result.arrival + result.latency, amounts)]  # ends are first
    return np.cumsum([x for _, _, x in sorted(moments)]).max()


@pytest.mark.parametrize("batching", BATCHINGS)
@pytest.mark.parametrize(("kv_tokens", "max_batch"), [(6000, math.inf), (math.inf, 7), (8000, 9)])
def test_never_more_than_there_is_room_for(batching, kv_tokens, max_batch):
    """Times are multiples of 1/64, so that arrival + latency is the very end."""
    server = Server(lambda B, S, n, p: 1 + B / 64 + n / 64, batching, 700, kv_tokens, max_batch)
    result = simulate(Load(500, 50, 0.5, 1.0, concurrency=40), server, 1000, start="all at once")
    tokens, places = most(result, result.isl + result.osl), most(result, np.ones(1000))
    assert tokens <= kv_tokens
    assert places <= max_batch
    assert tokens > 0.9 * kv_tokens or places == max_batch
    order = np.lexsort((result.admitted, result.arrival))
    assert (np.diff(result.admitted[order]) >= 0).all()


def doubled(step):
    return lambda *numbers: 2 * step(*numbers)


def twice_as_slow(server):
    if isinstance(server, Pools):
        steps = {name: doubled(getattr(server, name)) for name in ("prefill_step", "decode_step", "transfer")}
        return server._replace(**steps)
    return server._replace(step=doubled(server.step))


LOADS = (MIXED._replace(concurrency=20), MIXED._replace(requests_per_s=4.0))


@pytest.mark.parametrize("name", SERVERS)
@pytest.mark.parametrize("load", LOADS)
def test_all_times_twice_as_long(name, load):
    once = simulate(load, SERVERS[name], 500)
    slow = load._replace(requests_per_s=load.requests_per_s and load.requests_per_s / 2)
    twice = simulate(slow, twice_as_slow(SERVERS[name]), 500)
    for field in ("arrival", "ttft", "tpot", "latency", "gaps"):
        assert np.array_equal(getattr(twice, field), 2 * getattr(once, field), equal_nan=True), field
    for field in ("isl", "osl", "gap_weights", "decode_batch", "prefill_share"):
        assert np.array_equal(getattr(twice, field), getattr(once, field)), field
    assert twice.throughput == once.throughput / 2
    for name, value in once.summary().items():
        assert twice.summary()[name] == (value / 2 if "per_s" in name else 2 * value)


@pytest.mark.parametrize("load", LOADS)
def test_a_seed_is_a_run(load):
    first, same, other = (simulate(load, SERVERS["tight"], 300, seed).summary() for seed in (1, 1, 2))
    assert first == same
    assert first["latency_mean"] != other["latency_mean"]


@pytest.mark.parametrize("start", ["all at once", "out of step"])
def test_one_user(start):
    result = simulate(Load(5, 3, concurrency=1), Server(ten, "prefill-first", 100), 50, start=start)
    assert np.ptp(result.latency) == pytest.approx(0, abs=1e-9)
    assert result.summary()["latency_mean"] == pytest.approx(37)
    assert result.throughput == pytest.approx(1 / 37)
    assert result.prefill_share == pytest.approx(15 / 37)


def test_all_at_once():
    server, load = Server(ten, "prefill-first", 100), Load(5, 2, concurrency=2)
    result = simulate(load, server, 4, start="all at once")
    assert result.arrival.tolist() == [0, 0, 32, 32]
    assert result.latency.tolist() == [32] * 4
    assert result.throughput == 4 / 64
    assert simulate(load, server, 3, start="all at once").throughput == 3 / 58
    assert simulate(load, server, 1, start="all at once").throughput == 1 / 26


def test_out_of_step():
    """With equal lengths those that start together stay together, and have their prompts in one step."""
    server, load = Server(usual, "prefill-first", 10**6), Load(1000, 100, concurrency=20)
    together = simulate(load, server, 1000, start="all at once")
    apart = simulate(load, server, 1000)
    assert together.ttft == pytest.approx(usual(0, 0, 20_000, 20 * 1000**2 / 2), rel=1e-9)
    assert apart.ttft.max() < together.ttft.min() / 2
    assert apart.throughput * apart.latency.mean() == pytest.approx(20, rel=0.02)
    assert apart.gap_weights.sum() == pytest.approx(99 * len(apart.ttft), rel=0.01)
    few = simulate(load, server, 30)
    assert len(few.ttft) == pytest.approx(27, abs=3)
    assert few.arrival.min() > few.latency.min()


def test_arrivals_of_an_open_loop():
    result = simulate(Load(1, 1, requests_per_s=50.0), Server(lambda *_: 1e-6, "chunked", 100), 20_000)
    assert len(result.arrival) == 17_000
    apart = np.diff(result.arrival)
    assert apart.mean() == pytest.approx(1 / 50, rel=0.03)
    assert apart.std() == pytest.approx(1 / 50, rel=0.03)
    assert result.arrival[0] == pytest.approx(2000 / 50, rel=0.05)
    assert result.throughput == pytest.approx(50, rel=0.03)


def drawn(load):
    at_once = load._replace(concurrency=40_000)
    result = simulate(at_once, Server(lambda *_: 1.0, "chunked", 10**9), 40_000, start="all at once")
    return result.isl, result.osl


def test_lognormal_lengths():
    isl, osl = drawn(Load(3000, 200, 0.3, 1.2))
    assert isl.mean() == pytest.approx(3000, rel=0.01)
    assert isl.std() == pytest.approx(900, rel=0.02)
    assert np.median(isl) == pytest.approx(3000 / math.sqrt(1.09), rel=0.01)
    assert np.median(osl) == pytest.approx(200 / math.sqrt(2.44), rel=0.02)
    assert osl.max() == 800
    assert 0.005 < (osl == 800).mean() < 0.05
    assert np.corrcoef(isl, osl)[0, 1] == pytest.approx(0, abs=0.02)


def test_other_lengths():
    isl, osl = drawn(Load(3000, 200, 0.5, 0.5, uniform=True))
    for length, nominal in ((isl, 3000), (osl, 200)):
        assert (length.min(), length.max()) == (0.8 * nominal, nominal)
        assert length.mean() == pytest.approx(0.9 * nominal, rel=0.005)
        assert length.std() == pytest.approx(0.2 / math.sqrt(12) * nominal, rel=0.02)
    assert np.corrcoef(isl, osl)[0, 1] == pytest.approx(0, abs=0.02)
    isl, osl = drawn(Load(7.4, 1.2, 0, 0))
    assert set(isl) == {7}
    assert set(osl) == {1}
    assert min(drawn(Load(1, 1, 2.0, 2.0))[0]) == 1


def test_summary():
    """Gaps count by sequences: 7 of 16 s and 5 of 36 s."""
    result = simulate(ANY, Server(ten, "prefill-first", 100), [(0.0, 5, 3)] * 5 + [(3.0, 7, 3), (4.0, 3, 1)])
    expected = {"requests_per_s_served": 7 / 87, "itl_p50": 16, "itl_p90": 36, "itl_p99": 36}
    expected |= {"tpot_mean": (5 * 26 + 16) / 6, "tpot_p50": 26, "tpot_p90": 26, "tpot_p99": 26}
    expected |= {"ttft_mean": (5 * 35 + 52 + 51) / 7, "ttft_p50": 35, "ttft_p90": 52, "ttft_p99": 52}
    expected |= {"latency_mean": (5 * 87 + 84 + 51) / 7, "latency_p50": 87, "latency_p90": 87, "latency_p99": 87}
    assert result.summary() == expected


@pytest.mark.parametrize("wrong", [{}, {"requests_per_s": 1.0, "concurrency": 2}])
def test_exactly_one_kind_of_load(wrong):
    with pytest.raises(ValueError):
        simulate(Load(1, 1, **wrong), SERVERS["chunked"], 10)
