"""Work x hardware -> seconds, and which resource those seconds wait for."""

import dataclasses
import functools
import operator

from .. import arrays
from ..specs import trees
from ..specs.fields import record
from ..specs.records import RATES


@record
class Time:
    """Seconds of a stretch of work; None where a resource takes no part.

    `exposed_*`: seconds on the critical path, given wholly to the resource that binds; their sum is the duration, and
    -exposed_x / duration is the elasticity of the duration with respect to every rate of resource x together.
    `busy_*`: seconds each resource works, hidden or not.
    `ideal_*`: busy seconds if every flop and byte that is needed ran at the peak of the chip.
    """

    exposed_compute: float | None = None
    exposed_memory: float | None = None
    exposed_network: float | None = None
    exposed_latency: float | None = None
    busy_compute: float | None = None
    busy_memory: float | None = None
    busy_network: float | None = None
    ideal_compute: float | None = None
    ideal_memory: float | None = None

    @property
    def total(self):
        """Duration [s]."""
        return functools.reduce(operator.add, (t for t in map(self.__getattribute__, EXPOSED) if t is not None))

    def __add__(self, other):
        """Sum of two stretches, one after the other."""
        return Time(**{name: _plus(getattr(self, name), getattr(other, name)) for name in vars(self)})

    def __rmul__(self, factor):
        """This stretch `factor` times, one after the other."""
        return trees.mapped(lambda seconds: factor * seconds, self)

    __array_ufunc__ = None  # a NumPy number times a stretch is `__rmul__`, not an array of stretches


EXPOSED = ("exposed_compute", "exposed_memory", "exposed_network", "exposed_latency")


def _plus(a, b):
    return b if a is None else a if b is None else a + b


def alongside(a, b, unhidden=None):
    """Two stretches `a`, `b` [s] at once: max(a, b) + unhidden min(a, b) on the critical path; both are busy."""
    a_longer = a.total >= b.total

    def exposed(x, y):
        if x is y is None:
            return None
        x, y = 0.0 if x is None else x, 0.0 if y is None else y
        longer = arrays.where(a_longer, x, y)
        return longer if unhidden is None else longer + unhidden * arrays.where(a_longer, y, x)

    return dataclasses.replace(a + b, **{name: exposed(getattr(a, name), getattr(b, name)) for name in EXPOSED})


def chosen(index, *times):
    """The `Time` of an index, field by field; a resource takes part where it does in any of them."""
    present = {name for time in times for name, x in vars(time).items() if x is not None}

    def of(name):
        values = [getattr(time, name) for time in times]
        return arrays.choose(index, *(0.0 if x is None else x for x in values))

    return Time(**{name: of(name) for name in vars(times[0]) if name in present})


def longest(*times):
    """The longest of several `Time`s, the first of equals."""
    found = times[0]
    for time in times[1:]:
        found = chosen(arrays.where(time.total > found.total, 1, 0), found, time)
    return found


def of_use(time, share):
    """`time` of which a `share` [1] of the flops is needed: its ideal compute seconds shrink, its duration stays."""
    return dataclasses.replace(time, ideal_compute=share * time.ideal_compute)


def kernel(cost, flops_per_s, bytes_per_s, efficiency, overlap):
    """Time of one kernel: start + longest of c, d, l + (1 - overlap (1 - loss)) x the other two.

    c = charged flops [FLOP] / (flops_per_s [FLOP/s] x efficiency.compute [1]), d = bytes [B] / (bytes_per_s [B/s] x
    efficiency.memory [1]), l = efficiency.core_s [s] of one core, start = efficiency.start_s [s], loss =
    efficiency.loss [1]; overlap 1 [1] of the chip and loss 0 of the kernel are the roofline (Williams et al., CACM
    52(4), 2009), either end of the other the sum. dsjax/MODEL.md, section 4.
    """
    c = cost.charged_flops / (flops_per_s * efficiency.compute)
    d = cost.bytes / (bytes_per_s * efficiency.memory)
    unhidden = 1.0 - (overlap if efficiency.loss is None else overlap * (1.0 - efficiency.loss))
    latency, core = efficiency.start_s, efficiency.core_s
    if core is None:
        by_compute = by_others = c >= d
    else:
        by_core = core > d
        by_compute = c >= arrays.maximum(d, core)
        by_others = by_compute | by_core
        others = unhidden * core
        latency = _plus(latency, arrays.where(by_compute, others, arrays.where(by_core, core, others)))
    return Time(
        exposed_compute=arrays.where(by_compute, c, unhidden * c),
        exposed_memory=arrays.where(by_others, unhidden * d, d),
        busy_compute=c,
        busy_memory=d,
        exposed_latency=latency,
        ideal_compute=cost.flops / flops_per_s,
        ideal_memory=cost.bytes / bytes_per_s,
    )


def transfer(n_bytes, bytes_per_s, latency_s=None):
    """Time of a transfer over one link: n_bytes / bytes_per_s [B, B/s], and its start `latency_s` [s]."""
    seconds = n_bytes / bytes_per_s
    return Time(exposed_network=seconds, exposed_latency=latency_s, busy_network=seconds)


def scaled_network(time, factor):
    """`time` with `factor` times its seconds on the network."""
    return dataclasses.replace(
        time, exposed_network=factor * time.exposed_network, busy_network=factor * time.busy_network
    )


def as_is(collective, time):
    """Time of a collective of this name (`dispatch`, `combine`, `all_reduce`, `kv_exchange`), unchanged."""
    del collective
    return time


def hidden(time):
    """`time` hidden behind something longer: busy seconds only, none on the critical path."""
    return dataclasses.replace(time, **dict.fromkeys(EXPOSED))


@record
class Cost:
    """Work of one operator."""

    flops: float  # needed [FLOP]
    charged_flops: float  # executed, padding to full tiles included [FLOP]
    bytes: float  # moved to and from memory [B]


def flops_per_s(hardware, index):
    """Peak rate `RATES[index]` of the chip [FLOP/s].

    The bf16 rate stands in for one that the chip lacks, so that the point stays finite and time homogeneous in the
    rates; `ok_precision` masks it.
    """
    rate = arrays.choose(index, *(getattr(hardware, f"{name}_flops_per_s") for name in RATES))
    return arrays.where(rate > 0.0, rate, hardware.bf16_flops_per_s)


def has_rate(hardware, index):
    """Whether the chip computes at `RATES[index]`."""
    return arrays.choose(index, *(getattr(hardware, f"{name}_flops_per_s") > 0.0 for name in RATES))
