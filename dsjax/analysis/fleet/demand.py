"""What a fleet is asked: requests, their lengths, limits on what users feel, spare instances; all of it checked."""

import dataclasses

import numpy as np

from ...errors import InputError, unknown
from ...options import option
from ...specs.variables import PERCENTILES
from ...units import domain, number

# What the question sets itself, and in which unit.
ASKED = {
    "requests_per_s": "1/s",
    "concurrency": "1",
    "isl": "token",
    "osl": "token",
    "min_tps_per_user": "token/s",
    "max_tpot": "s",
    "max_ttft": "s",
    "max_chips": "1",
}
STATISTICS = ("mean", *PERCENTILES)
MINIMIZE = ("cost_per_hour", "chips")
# {what a limit is about: those that a limit which is given replaces in a grid}
ABOUT = {time: tuple(f"max_{time}{x}" for x in ("", *(f"_{s}" for s in STATISTICS))) for time in ("ttft", "tpot")}
ABOUT["tpot"] += ("min_tps_per_user",)
# What more instances never make worse, so that the fewest can be looked for.
FALLING = (
    *ABOUT["ttft"],
    *ABOUT["tpot"],
    *(f"max_{time}_{s}" for time in ("itl", "latency") for s in STATISTICS),
    *("max_memory_per_chip", "max_utilisation", "max_kv_occupancy"),
)


@dataclasses.dataclass(frozen=True)
class Question:
    """A demand: `requests_per_s` or `concurrency`, the other is None; lengths [token], limits at a `statistic`."""

    asked: dict  # {name of `ASKED`: SI number or None}
    statistic: str  # what the limits are about: "mean", "p50", "p90", "p99"
    spare: int  # instances of a pool that stand by
    minimize: str
    mixed: bool  # whether the pools may differ in their hardware
    own: dict  # {field of the requests: number}, given beside the lengths
    margins: dict = dataclasses.field(default_factory=dict)  # {grid: by how much its limits are tightened}

    @property
    def open(self):
        """Whether requests come at a rate."""
        return self.asked["requests_per_s"] is not None

    @property
    def amount(self):
        """Requests per second, or users."""
        return self.asked["requests_per_s" if self.open else "concurrency"]

    @property
    def limits(self):
        """{"max_<variable>": SI number} of the limits that are given, at the statistic."""
        found = {}
        if self.asked["max_ttft"] is not None:
            found[f"max_ttft_{self.statistic}"] = self.asked["max_ttft"]
        tpot = self.asked["max_tpot"]
        if self.asked["min_tps_per_user"] is not None:
            tpot = 1.0 / self.asked["min_tps_per_user"]
        return found if tpot is None else found | {f"max_tpot_{self.statistic}": tpot}

    @property
    def load(self):
        """{name: number} of what a grid of servers fixes."""
        load = {"requests_per_s": self.amount} if self.open else {"concurrency": max(round(self.amount), 1)}
        return {"isl": self.asked["isl"], "osl": self.asked["osl"]} | load | self.own

    def limits_of(self, space):
        """The limits, and those of the grid of a space about something else."""
        for key in space.bounds:
            if key not in FALLING:
                raise InputError(f"{key}: a limit that more instances may break; expected one of {', '.join(FALLING)}")
        given = self.limits
        replaced = {key for about in ABOUT.values() if given.keys() & set(about) for key in about}
        return {key: limit for key, limit in space.bounds.items() if key not in replaced} | given


def _domain(name):
    """Which numbers are good; less than one user asks nothing, and chips are whole."""
    low = {"low": 1.0, "open_low": False} if name == "concurrency" else {}
    return domain(ASKED[name], **low, integer=name == "max_chips")


def question(asked, percentile=90, spare=0, minimize="cost_per_hour", mixed=True, own=()):
    """`Question` of arguments as a user gives them; `asked` {name of `ASKED`: value}."""
    asked = dict.fromkeys(ASKED) | asked
    given = {name: None if x is None else number(name, x, _domain(name)) for name, x in asked.items()}
    for pair, both in ((("requests_per_s", "concurrency"), False), (("min_tps_per_user", "max_tpot"), True)):
        n = sum(given[name] is not None for name in pair)
        if n > 1 or (n == 0 and not both):
            raise InputError(f"{' and '.join(pair)}: {'both' if n else 'none'} given; expected one of the two")
    for name in ("isl", "osl"):
        if given[name] is None:
            raise InputError(f"{option(name)}: not given; expected a number [token]")
    statistic = str(percentile).removesuffix("th").removeprefix("p")
    statistic = statistic if statistic == "mean" else f"p{statistic}"
    if statistic not in STATISTICS:
        raise InputError(f"percentile: {percentile!r}; expected mean, 50, 90 or 99")
    if minimize not in MINIMIZE:
        raise unknown("minimize", "number to minimize", minimize, MINIMIZE)
    if isinstance(spare, np.integer):
        spare = int(spare)
    spare = number("spare", spare, domain("1", open_low=False, integer=True))
    own = {name: value for name, value in dict(own).items() if value is not None}
    return Question(given, statistic, spare, minimize, bool(mixed), own)
