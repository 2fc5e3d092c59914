"""Queues: the wait of many servers, sequences that share a decode step (dsjax/MODEL.md, 11.4)."""

from typing import NamedTuple

import numpy as np

from ... import arrays
from .lengths import column

POINTS = 96  # of a birth-death process between its likely ends, half of them at its lowest numbers
REACH = 5.5  # standard deviations to the likely ends
FULLEST = 0.9995  # load at which a queue is cut: a server that is overloaded is masked, its numbers stay finite


def wait(servers, load, service, variation):
    """Mean wait of a queue of `servers`: s / M rho^(sqrt(2 (M + 1)) - 1) / (1 - rho) (1 + c^2) / 2.

    `service` s [s] of squared standard deviation over mean c^2; exact for one server (Pollaczek and Khinchine).
    Source: H. Sakasegawa, Ann. Inst. Statist. Math. 29 (1977).
    """
    load = arrays.clip(load, 1e-12, FULLEST)
    power = arrays.sqrt(2.0 * (servers + 1.0)) - 1.0
    return service / servers * load**power / (1.0 - load) * 0.5 * (1.0 + variation)


class Decoding(NamedTuple):
    """How many sequences decode."""

    mean: np.ndarray
    variance: np.ndarray
    waits: np.ndarray  # chance that a request finds no room
    queue: np.ndarray  # mean requests that wait for room
    nobody: np.ndarray  # chance that nobody decodes


def birth_and_death(work, middle, slope, cap, beyond, mates):
    """`Decoding` of requests that come in clumps, where k sequences end at k / work(k) of the rate of requests.

    `work` is a function of k (arrays with one axis more), work(`middle`) = `middle`, its `slope` there. Clumps have a
    geometric size, P(size > i) = theta^i: a request has 2 theta / (1 - theta) = 2 `mates` others in its own, who stay
    half as long beside it as lives of exponential length do. What rises from below k comes down from k:

        P(k) = (1 - theta) r(k) A(k - 1),  A(k) = P(k) + theta A(k - 1) = (theta + (1 - theta) r(k)) A(k - 1)
        A(0) = P(0)

    r(k) = work(k) / k up to `cap`, then `beyond`: requests wait. Sums over all k where `POINTS` reach. Else half of the
    points stand at the lowest numbers and half on longer steps s; ln A by the middle of every step and its curvature,
    sums by trapezoids less (s^2 - 1) / 12 of the growth of the derivative.
    """
    theta = column(mates / (1.0 + mates))
    k, middles, step, high, low = _numbers(middle, slope, cap, beyond, mates)
    j, inside = np.arange(1.0, POINTS + 1.0), k <= column(high) + 1e-6
    rise = arrays.log(theta + (1.0 - theta) * work(middles) / middles)
    curved = (1.0 - 1.0 / (step * step)) / 24.0 * _curvature(rise)
    rise = arrays.where(inside, step * (rise + curved), 0.0)
    logarithm, came = rise.cumsum(-1), (1.0 - theta) * work(k)
    above = column(arrays.maximum(logarithm.max(-1), 0.0))
    density = arrays.where(inside, arrays.exp(logarithm - above) * came / (theta * k + came), 0.0)
    first, full = arrays.exp(-above)[..., 0], high >= cap
    at_cap = arrays.exp(arrays.minimum(rise.sum(-1) - above[..., 0], 50.0))
    last = arrays.where(full, at_cap, 0.0)  # A(cap)
    beyond = arrays.clip(beyond, 0.0, FULLEST)
    tail = last * beyond / (1.0 - beyond)
    at_end = inside & (k + step > column(high) + 1e-6)
    short, long = step[..., 0], step[..., -1]
    right = arrays.where(at_end, 1.0, arrays.where(j < POINTS // 2, column(short), column(long)))
    weight, half = 0.5 * (step + right), POINTS // 2

    def total(at_first, values, at_cap):
        part = density * values
        found = 0.5 * (short + 1.0) * first * at_first + (weight * part).sum(-1) + tail * at_cap
        lowest, highest = (part[..., 0] - first * at_first) / short, part[..., 1:] - part[..., :-1]
        highest = arrays.where(at_end[..., 1:], highest, 0.0).sum(-1) / long
        between = (part[..., half] - part[..., half - 2]) / (short + long)
        found = found - (short * short - 1.0) / 12.0 * (between - lowest)
        return found - (long * long - 1.0) / 12.0 * (highest - between)

    mass = total(1.0, arrays.ones_like(k), 1.0)
    mean = total(low, k, cap) / mass
    second = total(low * low, k * k, cap * cap) / mass
    at_cap = arrays.where(full, arrays.where(at_end, density, 0.0).sum(-1), 0.0)
    return Decoding(
        mean=mean,
        variance=arrays.maximum(second - mean * mean, 0.0),
        waits=(at_cap + tail) / mass,
        queue=tail * (1.0 + mates) / (1.0 - beyond) / mass,
        nobody=arrays.where(low <= 0.0, first / mass, 0.0),
    )


def _numbers(middle, slope, cap, beyond, mates):
    """(k, middle of the step before it, that step) of every point; the highest and the lowest number."""
    fall = (1.0 + mates) / arrays.clip(
        1.0 - arrays.maximum(slope, beyond), 0.02, 1.0
    )  # numbers in which a tail falls to 1 / e
    deviation = arrays.sqrt((middle + 1.0) * (1.0 + mates) / arrays.clip(1.0 - slope, 0.02, 1.0))
    high = arrays.minimum(arrays.ceil(middle + REACH * deviation + 0.5 * REACH**2 * fall + 4.0), cap)
    low = arrays.floor(arrays.maximum(middle - REACH * deviation, 0.0))
    low = arrays.where(high <= POINTS, 0.0, low)
    numbers, half = high - low, POINTS // 2
    few = numbers <= POINTS
    short = arrays.where(few | (low <= 0.0), 1.0, numbers / POINTS)
    long = arrays.where(few, 1.0, (numbers - half * short) / (POINTS - half))
    j = np.arange(1.0, POINTS + 1.0)
    step = arrays.where(j <= half, column(short), column(long))
    k = column(low) + arrays.where(j <= half, j * column(short), half * column(short) + (j - half) * column(long))
    return k, k - 0.5 * step + 0.5, step, high, low


def _curvature(values):
    """Second difference of values at equal steps along the last axis; at ends, and where steps change, the next one."""
    inner = values[..., 2:] - 2.0 * values[..., 1:-1] + values[..., :-2]
    half = POINTS // 2
    own = arrays.namespace(values)
    left, right = inner[..., : half - 2], inner[..., half:]
    return own.concatenate([left[..., :1], left, left[..., -1:], right[..., :1], right, right[..., -1:]], axis=-1)
