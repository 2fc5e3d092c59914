"""Chunked prompts of data-parallel groups, request by request, in plain Python: dsjax/MODEL.md, 11.1, with d groups.

A request goes to the group with the fewest tokens of prompts ahead of it (of equals with the fewest that decode), where
its prompt and its decoding stay. All groups step together.
"""

import heapq
from collections import deque

import numpy as np


def times_to_first_token(tau, context, groups, budget, prompts, osl, rate, rng):
    """Seconds of requests at random times whose `prompts` [token] are in order; `tau(B, S, n, p)` of a step."""
    arrival, left = np.cumsum(rng.exponential(1.0 / rate, len(prompts))), list(prompts)
    queues, ends = [deque() for _ in range(groups)], [[] for _ in range(groups)]
    ahead, decoding, found = [0] * groups, [0] * groups, np.full(len(prompts), np.nan)
    now, steps, come = 0.0, 0, 0
    while True:
        while come < len(prompts) and arrival[come] <= now:
            own = min(range(groups), key=lambda g: (ahead[g], decoding[g]))
            queues[own].append(come)
            ahead[own] += left[come]
            come += 1
        if not any(queues) and not any(decoding):
            if come == len(prompts):
                return found
            now = arrival[come]
            continue
        tokens, pairs, done = 0, 0.0, []
        for g in range(groups):
            room = max(budget - decoding[g], 1)
            while room and queues[g]:
                request = queues[g][0]
                x, y = min(room, left[request]), prompts[request] - left[request]
                tokens, pairs, room = tokens + x, pairs + x * y + 0.5 * x * x, room - x
                left[request] -= x
                ahead[g] -= x
                if not left[request]:
                    done.append((queues[g].popleft(), g))
        now, steps = now + tau(sum(decoding), context, tokens, pairs), steps + 1
        for g, heap in enumerate(ends):
            while heap and heap[0] <= steps:
                heapq.heappop(heap)
                decoding[g] -= 1
        for request, g in done:
            found[request] = now - arrival[request]
            heapq.heappush(ends[g], steps + osl - 1)
            decoding[g] += 1
