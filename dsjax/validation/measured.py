"""One measured system: what was measured, of which deployment, its class, and the same as a grid of dsjax's."""

import dataclasses
import math
from typing import NamedTuple

from .. import numerics

FILLS, ALL = "fills memory", "all chips"  # defaults that are no number
LENGTHS = ("isl", "osl", "context")
FEW = 8.0  # tokens of others' prompts for each step of decode, up to which decode is nearly all of the time of a token


class Metric(NamedTuple):
    """What was measured."""

    phases: tuple  # that are evaluated
    rate: bool  # a rate; else a time
    units: str
    shown: str  # units in a table
    scale: float  # from `units` to `shown`
    doc: str


METRICS = {
    "decode": Metric(("decode",), True, "token/s", "tok/s/chip", 1.0, "output tokens per second and chip"),
    "prefill": Metric(("prefill",), True, "token/s", "tok/s/chip", 1.0, "input tokens per second and chip"),
    "mixed": Metric(
        ("decode", "prefill"), True, "token/s", "tok/s/chip", 1.0, "output tokens per second and chip, prefill included"
    ),
    "user": Metric(("decode",), True, "token/s", "tok/s/user", 1.0, "output tokens per second and user"),
    "tpot": Metric(
        ("decode", "prefill"), False, "s", "ms/token", 1e3, "mean time per output token, others' prompts included"
    ),
    "ttft": Metric(("prefill",), False, "s", "ms", 1e3, "mean time to the first token of a user who is alone"),
    "layer": Metric(("decode",), False, "s", "us/layer", 1e6, "time of one MoE layer in decode"),
}
# {class: its rule}; every system is of one, by its own fields.
CLASSES = {
    "wide EP": "decode of more than one user, attention in more than one group (tp < chips)",
    "prefill": "rates of prefill",
    "small TP decode": "decode of more than one user, attention in one group (tp = chips); of times of a token those"
    f" with at most {FEW:g} tokens of other users' prompts for each step, (concurrency - 1) isl / osl",
    "aggregated": "decode with more prompts than that between its steps, and output rates that include prefill",
    "one user": "decode, concurrency 1",
    "first token": "times to the first token",
}


@dataclasses.dataclass(frozen=True)
class System:
    """One measured system, completed."""

    given: dict  # what its source says, {key: value}
    used: dict  # `given` and what comes from the defaults
    assumed: tuple  # keys that come from the defaults
    where: str  # what errors call it
    loads: dict  # {balance: standard deviation over mean of how often experts are chosen}
    fixed: dict  # keys of a grid, the same for all systems

    @property
    def metric(self):
        """The `Metric` that was measured."""
        return METRICS[self.used["metric"]]

    @property
    def phases(self):
        """Phases that are evaluated; one user meets no other's prompt."""
        return ("decode",) if self._alone and "decode" in self.metric.phases else self.metric.phases

    @property
    def complete(self):
        """Whether its source gives all that matters."""
        return self.used.get("complete", True)

    @property
    def kind(self):
        """Its class, one of `CLASSES`, from its own fields alone."""
        x = self.used
        if self.metric.phases == ("prefill",):
            return "prefill" if self.metric.rate else "first token"
        if self._alone:
            return "one user"
        if len(self.metric.phases) > 1 and (self.metric.rate or (x["concurrency"] - 1) * x["isl"] > FEW * x["osl"]):
            return "aggregated"
        return "wide EP" if x["tp"] < x["chips"] else "small TP decode"

    @property
    def _alone(self):
        return self.used.get("concurrency") == 1

    @property
    def lengths(self):
        """{isl, osl or context: mean number of tokens}."""
        return {name: self.used[name] * self.used.get("length_factor", 1.0) for name in LENGTHS if name in self.used}

    def grid(self, phase, **more):
        """The system as a grid of dsjax's, a dict; `more` are axes."""
        x = self.used
        moe_tp = 1 if x["ep"] == ALL else x["chips"] // x["ep"]
        fixed = {name: x[name] for name in ("hardware", "nic", "precision", "pipeline", "tp", "chips")}
        fixed |= {"engine": x["engine"]}
        spread = self.loads[x["balance"]]
        fixed |= {"moe_tp": moe_tp, "expert_cv": spread, "expert_cv_placed": spread} | self.lengths
        fixed["expert_imbalance"] = 1 if x["balance"] == "perfect" else 0
        fixed |= {name: x[name] for name in ("redundant_experts",) if name in x}
        if "isl" in x:
            fixed.setdefault("osl", 0)
        if "scale_out_bytes_per_s" in x:
            fixed["nic_scale_out_bytes_per_s"] = x["scale_out_bytes_per_s"]
        if phase == "prefill":
            fixed["prompts"] = self.prompts
        else:
            fixed |= {"mtp": x["mtp"]} | self._acceptance()
            fixed |= {name: x[name] for name in ("concurrency", "batch") if name in x}
            if "concurrency" in x:
                fixed.pop("batch", None)
        fixed = self.fixed | fixed
        axes = {"software_factor": [1.0, 2.0], **more}
        fixed = {name: value for name, value in fixed.items() if name not in axes}
        return {"title": x["id"], "model": x["model"], "phase": phase, "axes": axes, "fixed": fixed}

    @property
    def prompts(self):
        """Whole prompts of the instance in one step of prefill, at least one for each group of `tp` chips.

        One for each group where prompts come as sequences end: `continuous_batching.step_time` says how many do.
        """
        x = self.used
        if len(self.metric.phases) > 1 or self._alone:
            return x["chips"] // x["tp"]
        length = self.lengths.get("isl", self.lengths.get("context"))
        return x["chips"] // x["tp"] * max(1, math.floor(x["prefill_tokens"] * x["tp"] / length))

    def _acceptance(self):
        if "tokens_per_step" in self.used:
            one = acceptance_of(self.used["tokens_per_step"], self.used["mtp"])
            return {"acceptance": one, "acceptance_decay": 1.0}
        return {"acceptance": self.used["acceptance"]} if "acceptance" in self.used else {}


def acceptance_of(tokens_per_step, drafts):
    """The a for which 1 + a + ... + a^drafts = tokens_per_step, by bisection."""

    def enough(acceptance):
        return sum(acceptance**i for i in range(drafts + 1)) >= tokens_per_step

    return numerics.bisect(enough, 1.0, 0.0, width=2.0**-60)[0]
