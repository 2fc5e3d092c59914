"""An LLM server, request by request and step by step, in plain Python, written from dsjax/MODEL.md 11.1 and 11.2 alone.

`simulate` draws requests, or takes them as (arrival, isl, osl), and returns what they saw.  No work is done for each
sequence of a step: one leaves when the steps of decode of its instance reach a number that is known when it joins.

What the page leaves open, as read here:
  new tokens         (1 - h) L is rounded, and what is cached is the rest of L
  context            the prompt and the tokens that are there before the step: L + 1, ..., L + O - 1; S = 0 of nobody
  ties               what comes at the very end of a step takes part in the decision: a user's next request does
  prefill-first      the first in the queue has its step even if it alone is larger than the budget
  pools              K and Bmax hold where a request decodes only; it goes there once its cache has been sent, in the
                     order of that, to the one with the fewest of those where it fits; with O = 1 it does not go there
  out of step        users start at random within the mean latency of two rounds all at once; these two are not counted
"""

import heapq
import itertools
import math
from collections import deque, namedtuple
from dataclasses import dataclass

import numpy as np

MOST_MEANS = 4  # where lengths are cut
TAIL = 0.05  # share of an open loop's requests, the last to arrive, that are not counted

# `requests_per_s` of an open loop or `concurrency` of a closed one.
_CHOICES = "isl_cv osl_cv uniform cached_fraction requests_per_s concurrency"
Load = namedtuple("Load", f"isl osl {_CHOICES}", defaults=(0.0, 0.0, False, 0.0, None, None))
# `step(B, S, n, p)` is tau; `batching` is "prefill-first" or "chunked"; `budget` is b, in pools of a step of prompts.
Server = namedtuple("Server", "step batching budget kv_tokens max_batch", defaults=(math.inf, math.inf))
# `transfer(L)` in seconds; `kv_tokens` and `max_batch` of one instance.
_INSTANCES = "prefill_step decode_step prefill_instances decode_instances"
Pools = namedtuple("Pools", f"{_INSTANCES} transfer budget kv_tokens max_batch", defaults=(math.inf, math.inf))


@dataclass
class Result:
    """Arrays of the requests that count, in the order in which they ended, and of the gaps between tokens."""

    arrival: np.ndarray
    admitted: np.ndarray  # in pools to where it decodes, of one token to its prompt
    ttft: np.ndarray
    tpot: np.ndarray  # NaN of one token
    latency: np.ndarray
    isl: np.ndarray
    osl: np.ndarray
    gaps: np.ndarray
    gap_weights: np.ndarray  # sequences that waited so long
    throughput: float  # requests per second
    decode_batch: float  # mean of B over the steps in which somebody decodes
    prefill_share: float  # of the seconds of all steps, those of steps with tokens of prompts

    def summary(self):
        tpot = self.tpot[self.osl > 1]
        out = {"requests_per_s_served": self.throughput}
        out |= {"tpot_mean": mean(tpot), "ttft_mean": mean(self.ttft), "latency_mean": mean(self.latency)}
        for name, values in ("ttft", self.ttft), ("tpot", tpot), ("latency", self.latency):
            out |= percentiles(name, values, np.ones_like(values))
        return out | percentiles("itl", self.gaps, self.gap_weights)


def mean(values):
    return float(values.mean()) if len(values) else math.nan


def percentiles(name, values, weights):
    """The smallest value that so many percent of the weight do not exceed."""
    ranks = (50, 90, 99)
    found = np.percentile(values, ranks, weights=weights, method="inverted_cdf") if len(values) else [math.nan] * 3
    return {f"{name}_p{rank}": float(x) for rank, x in zip(ranks, found)}


@dataclass(slots=True)
class Request:
    number: int
    isl: int
    osl: int
    left: int  # new tokens of the prompt that are still to be computed
    arrival: float = math.nan
    admitted: float = math.nan
    first: float = math.nan
    last: float = math.nan
    instance: object = None  # that keeps room for it

    def pairs(self, x):
        """Of the next x tokens of the prompt, after those that are cached or computed."""
        return x * (self.isl - self.left) + x * x / 2


class Instance:
    """Room for sequences, those that decode, and the step under way."""

    def __init__(self, step, batching, kv_tokens=math.inf, max_batch=math.inf):
        self.step, self.batching, self.tokens, self.places = step, batching, kv_tokens, max_batch
        self.entering, self.fresh = [], []  # they join at the next step; they have no token of a step of decode yet
        self.decoding = []  # heap of (steps when it leaves, number, request)
        self.begun = None  # a prompt that was cut
        self.steps = self.contexts = 0  # of decode; of all that decode, summed
        self.last_step = math.nan  # of decode: its end
        self.under_way = None  # (B, [(request, tokens of its prompt)])

    def fits(self, request):
        return request.isl + request.osl <= self.tokens and self.places > 0

    def hold(self, request, sign=1):
        """Take the room of a request, or with -1 give it back."""
        self.tokens -= sign * (request.isl + request.osl)
        self.places -= sign

    def admit(self, now, request):
        self.hold(request)
        request.admitted, request.instance = now, self
        return request

    def join(self):
        for request in self.entering:
            heapq.heappush(self.decoding, (self.steps + request.osl - 1, request.number, request))
            self.contexts += request.isl + 1
        self.fresh += self.entering
        self.entering = []

    def advance(self, now, gaps):
        """The end of a step of decode: a token for everybody; returns those for whom it was the last."""
        if older := len(self.decoding) - len(self.fresh):
            gaps.append((now, now - self.last_step, older))
        gaps.extend((now, now - request.first, 1) for request in self.fresh)
        self.fresh, self.last_step = [], now
        self.steps += 1
        self.contexts += len(self.decoding)
        ended = []
        while self.decoding and self.decoding[0][0] == self.steps:
            ended.append(heapq.heappop(self.decoding)[-1])
            self.contexts -= ended[-1].isl + ended[-1].osl
        return ended


class Simulation:
    """Events in order of time; all of one time are handled, then idle instances decide what to do."""

    def __init__(self, server, requests, arrivals):
        """The first requests come at `arrivals`, any other when one has ended."""
        self.server, self.queue, self.sent = server, deque(), deque()
        self.events, self.ties = [], itertools.count()
        self.finished, self.steps, self.gaps = [], [], []
        self.coming = iter(requests)
        for arrival in arrivals:
            self.schedule(arrival, self.arrive, next(self.coming))
        limits = server.kv_tokens, server.max_batch
        self.decode = []  # instances of pools, that take requests from `sent`
        if isinstance(server, Pools):
            prefill = [Instance(server.prefill_step, "prefill-first") for _ in range(server.prefill_instances)]
            self.decode = [Instance(server.decode_step, "none", *limits) for _ in range(server.decode_instances)]
            self.instances = prefill + self.decode
        else:
            self.instances = [Instance(server.step, server.batching, *limits)]
        self.prompts = {"prefill-first": self.whole, "chunked": self.chunked, "none": lambda now, instance, B: (B, [])}

    def schedule(self, time, handle, subject):
        heapq.heappush(self.events, (time, next(self.ties), handle, subject))

    def run(self, until):
        """To the end of at least so many requests."""
        while len(self.finished) < until:
            if not self.events:
                raise ValueError("the first in the queue can never be admitted")
            now = self.events[0][0]
            while self.events and self.events[0][0] == now:
                _, _, handle, subject = heapq.heappop(self.events)
                handle(now, subject)
            self.decide(now)
        return self

    def arrive(self, now, request):
        request.arrival = now
        self.queue.append(request)

    def decide(self, now):
        while self.sent and (able := [one for one in self.decode if one.fits(self.sent[0])]):
            emptiest = min(able, key=lambda one: len(one.decoding) + len(one.entering))
            emptiest.entering.append(emptiest.admit(now, self.sent.popleft()))
            emptiest.entering[-1].first = now
        for instance in self.instances:
            if instance.under_way is None:
                instance.join()
                B, chunks = self.prompts[instance.batching](now, instance, len(instance.decoding))
                if B or chunks:
                    self.begin(now, instance, B, chunks)

    def whole(self, now, instance, B):
        """B and whole prompts of the next step, of which one is 0."""
        chunks, room = [], self.server.budget
        while self.queue and instance.fits(self.queue[0]) and (not chunks or self.queue[0].left <= room):
            request = instance.admit(now, self.queue.popleft())
            chunks.append((request, request.left))
            room -= request.left
        return (0 if chunks else B), chunks

    def chunked(self, now, instance, B):
        chunks, room = [], self.server.budget - B
        while room > 0 and (instance.begun or (self.queue and instance.fits(self.queue[0]))):
            request = instance.begun or instance.admit(now, self.queue.popleft())
            x = min(room, request.left)
            instance.begun = request if x < request.left else None
            chunks.append((request, x))
            room -= x
        return B, chunks

    def begin(self, now, instance, B, chunks):
        S = instance.contexts / B if B else 0.0
        n, p = sum(x for _, x in chunks), sum(request.pairs(x) for request, x in chunks)
        seconds = instance.step(B, S, n, p)
        instance.under_way = B, chunks
        self.steps.append((now + seconds, seconds, B, n))
        self.schedule(now + seconds, self.end, instance)

    def end(self, now, instance):
        (B, chunks), instance.under_way = instance.under_way, None
        for request in instance.advance(now, self.gaps) if B else ():
            self.finish(now, request)
        for request, x in chunks:
            request.left -= x
            if not request.left:
                transfer = self.server.transfer(request.isl) if self.decode else 0.0
                self.schedule(now + transfer, self.answer, request)

    def answer(self, now, request):
        """The first token; in pools once there is room to decode."""
        request.first, joins = now, self.sent if self.decode else request.instance.entering
        joins.append(request) if request.osl > 1 else self.finish(now, request)

    def finish(self, now, request):
        request.last = now
        request.instance.hold(request, -1)
        self.finished.append(request)
        if following := next(self.coming, None):
            self.schedule(now, self.arrive, following)

    def seen(self, begin=None, end=None, by_arrival=False):
        """From `begin` to `end`, or at any time: requests that ended, or arrived, and tokens and steps that ended."""
        begin = min(r.arrival for r in self.finished) if begin is None else begin
        end = self.finished[-1].last if end is None else end
        ended = [r for r in self.finished if begin < r.last <= end]
        counted = [r for r in self.finished if begin <= r.arrival < end] if by_arrival else ended
        columns = [(r.arrival, r.admitted, r.first, r.last, r.isl, r.osl) for r in counted]
        arrival, admitted, first, last, isl, osl = np.array(columns).T
        gaps, steps = np.array(self.gaps).reshape(-1, 3), np.array(self.steps)
        gaps = gaps[(begin < gaps[:, 0]) & (gaps[:, 0] <= end)]
        _, seconds, batch, new = steps[(begin < steps[:, 0]) & (steps[:, 0] <= end)].T
        tpot = np.where(osl > 1, (last - first) / np.maximum(osl - 1, 1), math.nan)
        per_request = arrival, admitted, first - arrival, tpot, last - arrival, isl, osl
        share = float(seconds[new > 0].sum() / seconds.sum())
        return Result(*per_request, gaps[:, 1], gaps[:, 2], len(ended) / (end - begin), mean(batch[batch > 0]), share)


def drawn(mu, cv, uniform, count, rng):
    if uniform:
        lengths = mu * (0.8 + 0.2 * rng.random(count))
    else:
        sigma = math.sqrt(math.log1p(cv**2))
        lengths = np.minimum(mu * np.exp(sigma * rng.standard_normal(count) - sigma**2 / 2), MOST_MEANS * mu)
    return np.maximum(1, np.rint(lengths)).astype(int).tolist()


def simulate(load, server, requests, seed=0, warm_up=0.1, start="out of step"):
    """`requests`: how many, or a list of (arrival, isl, osl), of which all count; of `load`, only `cached_fraction`.

    Open loop: the first share `warm_up` of all requests and the last 5 % do not count.  Closed loop: `start` is
    "all at once", where all users start at 0 and `requests` are sent and count, or "out of step".
    """
    rng = np.random.default_rng(seed)

    def play(lengths, arrivals, until):
        cached = load.cached_fraction
        listed = [Request(i, isl, osl, max(1, round((1 - cached) * isl))) for i, (isl, osl) in enumerate(lengths)]
        return Simulation(server, listed, arrivals).run(until)

    def lengths(count):
        prompts = drawn(load.isl, load.isl_cv, load.uniform, count, rng)
        return zip(prompts, drawn(load.osl, load.osl_cv, load.uniform, count, rng))

    if not isinstance(requests, int):
        return play([pair for _, *pair in requests], [time for time, _, _ in requests], len(requests)).seen()
    users, skipped = load.concurrency, int(warm_up * requests)
    if (load.requests_per_s is None) == (users is None) or start not in ("out of step", "all at once"):
        raise ValueError((load, start))
    if users is None:
        of_all = lengths(requests)
        times = rng.exponential(1 / load.requests_per_s, requests).cumsum().tolist()
        return play(of_all, times, requests).seen(times[skipped], times[int((1 - TAIL) * requests)], by_arrival=True)
    if start == "all at once":
        return play(lengths(requests), [0.0] * min(users, requests), requests).seen()
    pilot = play(lengths(2 * users), [0.0] * users, 2 * users).seen()
    first = max(skipped, 2 * users)
    until = first + requests - skipped
    times = rng.uniform(0, pilot.latency.mean(), users).tolist()
    simulation = play(lengths(until + users), times, until)
    return simulation.seen(simulation.finished[first - 1].last, simulation.finished[-1].last)
