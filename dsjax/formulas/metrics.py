"""Metrics of a step: times per token, rates, utilisation, memory, cost (dsjax/MODEL.md, section 7)."""

import dataclasses
import math

import numpy as np

from .. import arrays
from ..specs.fields import record
from ..specs.variables import LIMITS
from .roofline import Time


@record
class Step:
    """Result of one forward pass on one chip, of every study and the core model."""

    time: Time
    blocks: dict  # {block: Time of a step}, before overlap
    memory: dict  # {part: B per chip}
    masks: dict  # {constraint: bool} of the model; a grid's bounds are apart
    tokens_per_user: float  # tokens one sequence gains per step; NaN in prefill
    tokens_per_chip: float  # tokens produced (decode) or read (prefill) per step and chip
    ttft: float  # s; NaN in decode
    batch_total: float  # sequences or prompts in flight
    chips: float
    dp: float
    ep: float


def of(step):
    """{variable: value} of one step, units as in `specs.variables`.

    tpot = step_time / tokens_per_user; tps_per_user = 1 / tpot; tps_per_chip = tokens_per_chip / step_time;
    tps_total = chips tps_per_chip; mfu, mbu = seconds at peak rate / step_time; bottleneck = the largest exposed part
    (the first of equals). A variable that the phase does not define is NaN.
    """
    step_time = step.time.total
    none = arrays.zeros_like(step_time)
    time = dataclasses.replace(step.time, **{k: none for k, v in vars(step.time).items() if v is None})
    tps_per_chip = step.tokens_per_chip / step_time
    exposed = [getattr(time, f"exposed_{name}") for name in LIMITS]
    return {
        "step_time": step_time,
        "tpot": step_time / step.tokens_per_user,
        "ttft": step.ttft,
        "tps_per_user": step.tokens_per_user / step_time,
        "tps_per_chip": tps_per_chip,
        "tps_total": step.chips * tps_per_chip,
        "memory_per_chip": sum(step.memory.values()),
        "mfu": time.ideal_compute / step_time,
        "mbu": time.ideal_memory / step_time,
        "busy_compute": time.busy_compute,
        "busy_memory": time.busy_memory,
        "busy_network": time.busy_network,
        "exposed_compute": time.exposed_compute,
        "exposed_memory": time.exposed_memory,
        "exposed_network": time.exposed_network,
        "exposed_latency": time.exposed_latency,
        "bottleneck": largest(exposed),
        "chips": step.chips,
        "dp": step.dp,
        "ep": step.ep,
        "batch_total": step.batch_total,
    }


def per_token(hardware, tps_per_chip):
    """{variable: value} of the cost and the energy of a token, NaN where price or power is unknown (0).

    cost_per_million_tokens [USD] = usd_per_hour / (3600 tps_per_chip) 1e6;  energy_per_token [J] = watts /
    tps_per_chip. A token is one of `tps_per_chip`: generated in decode, read in prefill.
    """
    return {
        "cost_per_million_tokens": _where_known(
            hardware.usd_per_hour, hardware.usd_per_hour / (3600.0 * tps_per_chip) * 1e6
        ),
        "energy_per_token": _where_known(hardware.watts, hardware.watts / tps_per_chip),
    }


def _where_known(number, value):
    """`value`, NaN where `number` is 0; the slopes of `value` are finite at 0 and so stay finite through `where`."""
    return arrays.where(number > 0.0, value, math.nan)


def largest(values):
    """Index of the largest of a few scalars, the first of equals (a chain of selects: XLA's argmax is far slower)."""
    best, index = values[0], np.int8(0)
    for i, candidate in enumerate(values[1:], start=1):
        index = arrays.where(candidate > best, np.int8(i), index)
        best = arrays.maximum(best, candidate)
    return index


def accepted_tokens(acceptance, drafts, decay=1.0, most=8):
    """Draft tokens accepted per step: sum over i = 1..drafts of acceptance^i decay^(i (i - 1) / 2).

    Drafts are checked in order, so the i-th counts only if all before it did; each is accepted with `decay` times the
    chance of the one before it. `most` bounds the static sum.
    Source: DeepSeek-V3 (arXiv:2412.19437), multi-token prediction; 0.85 to 0.90 for the second token.
    """
    total, power, chance = arrays.zeros_like(acceptance), arrays.ones_like(acceptance), acceptance
    for i in range(1, most + 1):
        power, chance = power * chance, chance * decay
        total = total + arrays.where(i <= drafts, power, 0.0)
    return total
