"""Servers with steps of a simple time, and random cases of them: for tests and for `benchmarks/bench_serving.py`.

`Step` is what the analytic model takes; its `tau` is the same in plain Python, for the simulator.  `drawn` draws a
case: lengths, a server and its load, from ranges as wide as those of servers of today.
"""

import math
from typing import NamedTuple

import numpy as np
import server_core_steps
import server_simulator

from dsjax import arrays
from dsjax.serving.instances import answer
from dsjax.serving.server import closed_loop, lengths, open_loop, pools, profiles, quantiles

BATCHINGS = ("prefill-first", "chunked")
LOOPS = ("open", "closed")
POOLS = "two pools"
MOST_LOAD = 0.85  # of the rate at which a server of a case is full


def beside(x, other):
    """A number of a point, with one axis more where `other` has one."""
    return arrays.asarray(x)[..., None] if np.ndim(other) > np.ndim(x) else x


class Step(NamedTuple):
    """t_0 + max(w (1 - e^(-x / h)), x / r) + a B S + b p [s], x = B + n: weights that are read, then computation."""

    weights_s: float  # w
    half: float  # h: tokens
    tokens_per_s: float  # r
    start_s: float  # t_0
    position_s: float  # a: of a position that a sequence attends to
    pair_s: float  # b
    context: float = 0.0  # S

    def tau(self, B, S, n, p):
        tokens = B + n
        read = self.weights_s * (1.0 - math.exp(-tokens / self.half))
        return self.start_s + max(read, tokens / self.tokens_per_s) + self.position_s * B * S + self.pair_s * p

    def mixed(self, B, n, p):
        own = Step(*(beside(x, B + n) for x in self))
        tokens = B + n
        read = -own.weights_s * arrays.expm1(-tokens / own.half)
        longest = arrays.maximum(read, tokens / own.tokens_per_s)
        return own.start_s + longest + own.position_s * B * own.context + own.pair_s * p

    def decode(self, B):
        return self.mixed(B, 0.0, 0.0)

    def prompts(self, n, p):
        return self.mixed(0.0, n, p)

    alone = prompts  # one group


class Case(NamedTuple):
    """A server, its requests and how they come."""

    step: Step
    load: lengths.Load
    server: open_loop.Server
    amount: float  # requests per second of an open loop, users of a closed one


def between(rng, low, high):
    """Even in the logarithm."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def drawn(rng, batching, loop, load=None, core=False):
    """`Case`, at a share of what its server can do that is drawn too where `load` is None.

    `core`: with steps of the core model.
    """
    step = Step(
        between(rng, 0.003, 0.06), between(rng, 4, 80), between(rng, 4e3, 8e4), between(rng, 5e-4, 0.01),
        between(rng, 2e-10, 4e-9), between(rng, 2e-12, 4e-11),
    )  # fmt: skip
    isl, osl = between(rng, 256, 5e4), between(rng, 64, 6e3)
    variations = [float(rng.choice([0.0, rng.uniform()], p=[0.25, 0.75])) for _ in range(2)]
    hit = float(rng.choice([0.0, rng.uniform(0.0, 0.9)]))
    requests = lengths.Load(isl, osl, *variations, hit)
    places = 1000.0 if rng.random() < 0.8 else math.floor(between(rng, 24, 256))
    budget = round(between(rng, 1024, 32768))
    if batching == "chunked":
        budget = max(budget, places + 512)
    server = open_loop.Server(float(budget), float(places), batching == "chunked")
    share, users = rng.uniform(0.2, MOST_LOAD), round(between(rng, 1, 400))
    if core:
        step = server_core_steps.drawn(rng, requests, server)
    if loop == "closed":
        return Case(step, requests, server, float(users))
    share = share if load is None else load
    return Case(step, requests, server, share * float(most_requests(lone(Case(step, requests, server, 0.0)))[0]))


def prepared(case):
    """(step at the mean context, `Lengths`)."""
    sizes = lengths.lengths(case.load)
    return case.step._replace(context=sizes.context), sizes


def lone(case):
    """A `Case` of arrays of one element."""
    load, server = (type(x)(*(np.array([float(y)]) for y in x)) for x in (case.load, case.server))
    step = case.step
    step = type(step)(*(np.array([x]) for x in step)) if isinstance(step, Step) else step
    server = server._replace(chunked=case.server.chunked)
    load = load._replace(uniform=load.uniform > 0.5)
    return Case(step, load, server, np.array([float(case.amount)]))


def stacked(several):
    """One `Case` of arrays; all of one batching."""
    several = [case._replace(server=case.server._replace(chunked=0.0)) for case in several]
    parts = [zip(*(getattr(case, name) for case in several), strict=True) for name in ("step", "load", "server")]
    step, load, server = ([np.array(column, float) for column in part] for part in parts)
    load, server = lengths.Load(*load), open_loop.Server(*server)
    return Case(Step(*step), load, server, np.array([case.amount for case in several]))


def of_kind(case, batching):
    """A `Case` of arrays with what decides its equations."""
    server = case.server._replace(chunked=batching == "chunked")
    return case._replace(load=case.load._replace(uniform=arrays.asarray(case.load.uniform) > 0.5), server=server)


def most_requests(case):
    """Requests per second that a server can do."""
    return answer.largest_rate(*prepared(case), case.server)


def means(case, closed):
    """(`Means` of the loop, step, `Lengths`)."""
    step, sizes = prepared(case)
    found = closed_loop.means if closed else open_loop.means
    return found(step, sizes, case.server, arrays.asarray(case.amount)), step, sizes


def seen_of(case, closed):
    """(`Seen`, `Means`, `Lengths`)."""
    m, _, sizes = means(case, closed)
    profile = profiles.of_closed_loop if closed else profiles.of_open_loop
    return profile(m, sizes, case.server, arrays.asarray(case.amount)), m, sizes


def outputs(case, closed):
    """{variable: value} of the analytic model, under the names of `server_simulator.Result.summary`."""
    seen, m, sizes = seen_of(case, closed)
    served = m.rate if closed else case.amount
    own = {"requests_per_s_served": served, "ttft_mean": m.ttft, "tpot_mean": m.tpot}
    return own | quantiles.outputs(seen, sizes)


def seeded(kind, loop, count, seed=2026):
    """Cases of a kind, of `BATCHINGS` or pools: every second one with steps of the core model.

    (`Case`, `Pools` or None) of each.
    """
    rng = np.random.default_rng([seed, (*BATCHINGS, POOLS).index(kind), LOOPS.index(loop)])
    for i in range(count):
        if kind == POOLS:
            yield drawn_pool(rng, loop, i % 2 == 1)
        else:
            yield drawn(rng, kind, loop, core=i % 2 == 1), None


def drawn_pool(rng, loop, core):
    """(`Case`, `Pools`) at a share of what the smaller one of two pools can do."""
    case = drawn(rng, "prefill-first", loop, core=core)
    n_p, n_d = (float(rng.integers(1, 5)) for _ in range(2))
    two = pools.Pools(case.server.budget, case.server.cap, n_p, n_d, 0.01 * rng.random())
    share = rng.uniform(0.2, MOST_LOAD)
    return case if loop == "closed" else case._replace(amount=share * float(most_of_pools(lone(case), two)[0])), two


def most_of_pools(case, two):
    """Requests per second that the smaller one of two pools can do."""
    step, sizes = prepared(case)
    most = arrays.maximum(1.0, two.budget / sizes.mean_new)
    filled = step.prompts(most * sizes.mean_new, most * sizes.mean_pairs)
    decoded = two.decode_instances * two.cap / (sizes.steps * step.decode(two.cap + 0.0 * most))
    return arrays.minimum(two.prefill_instances * most / filled, decoded)


def drawn_pools(loop, count=20):
    """(`Case`, `Pools`) of arrays, at a share of what the smaller one of the two pools can do."""
    rng = np.random.default_rng([12, LOOPS.index(loop)])
    case = of_kind(stacked([drawn(rng, "prefill-first", loop) for _ in range(count)]), "prefill-first")
    n_p, n_d = (rng.integers(1, 5, count).astype(float) for _ in range(2))
    two = pools.Pools(case.server.budget, case.server.cap, n_p, n_d, 0.01 * rng.random(count))
    if loop == "open":
        case = case._replace(amount=rng.uniform(0.2, 0.8, count) * most_of_pools(case, two))
    return case, two


def means_of_pools(case, two, closed):
    """(`Means` of pools, `Lengths`)."""
    step, sizes = prepared(case)
    found = pools.closed_means if closed else pools.open_means
    return found(step, step, sizes, two, case.amount), sizes


def outputs_of_pools(case, two, closed):
    """As `outputs`, of pools."""
    m, sizes = means_of_pools(case, two, closed)
    seen = profiles.of_pools(m, sizes, two, closed)
    own = {"requests_per_s_served": m.rate, "ttft_mean": m.ttft, "tpot_mean": m.tpot}
    return own | quantiles.outputs(seen, sizes)


def simulated(case, closed, requests, seed=0):
    """As `outputs`, of the simulator."""
    return result_of(case, closed, requests, seed).summary()


def result_of(case, closed, requests, seed=0):
    """`server_simulator.Result` of a case."""
    server, limits = case.server, (math.inf, int(case.server.cap))
    one = server_simulator.Server(case.step.tau, BATCHINGS[server.chunked], int(server.budget), *limits)
    return _simulated(case, one, closed, requests, seed)


def simulated_pools(case, two, closed, requests, seed=0):
    """As `outputs_of_pools`, of the simulator."""
    limits = int(two.budget), math.inf, int(two.cap)
    instances = int(two.prefill_instances), int(two.decode_instances)
    one = server_simulator.Pools(case.step.tau, case.step.tau, *instances, lambda _: float(two.transfer_s), *limits)
    return _simulated(case, one, closed, requests, seed).summary()


def compared(case, two, closed, requests, seed=0):
    """{variable: analytic over simulated value, less 1}, an open loop at the rate of the requests that came."""
    if two is None:
        expected = simulated(case, closed, requests, seed)
    else:
        expected = simulated_pools(case, two, closed, requests, seed)
    if not closed:
        case = case._replace(amount=expected["requests_per_s_served"])
    here = outputs(lone(case), closed) if two is None else outputs_of_pools(lone(case), two, closed)
    return {name: float(np.ravel(x)[0]) / expected[name] - 1.0 for name, x in here.items() if name in expected}


def analysed(case, two, closed):
    """(`Means` of a case of any kind, `Lengths`)."""
    if two is not None:
        return means_of_pools(lone(case), two, closed)
    m, _, sizes = means(lone(case), closed)
    return m, sizes


def _simulated(case, server, closed, requests, seed):
    load = case.load
    amount = {"concurrency": int(case.amount)} if closed else {"requests_per_s": float(case.amount)}
    own = load.isl, load.osl, load.isl_cv, load.osl_cv, load.uniform, load.cached_fraction
    return server_simulator.simulate(server_simulator.Load(*own, **amount), server, requests, seed)
