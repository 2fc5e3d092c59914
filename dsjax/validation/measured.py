"""One measured system: what was measured, of which deployment, its class, and the same as a grid of dsjax's."""

import dataclasses
import math
from typing import NamedTuple

from .. import numerics

FILLS, ALL = "fills memory", "all chips"  # defaults that are no number
LENGTHS = ("isl", "osl", "context")
FEW = 8.0  # tokens of others' prompts for each step of decode, up to which decode is nearly all of the time of a token


# Engines whose prompts share the steps of decode; the others run prompts first.
CHUNKED = ("vllm", "vllm-deepep", "tensorrt-llm")
EVEN = 0.9  # mean over nominal length of lengths that are even between 80 and 100 % of it
# Keys of a row that a grid of a server has under the same name.
OF_SERVERS = ("max_batch", "max_prefill_tokens", "chunk_tokens", "requests_per_user")


class Metric(NamedTuple):
    """What was measured."""

    phases: tuple  # of the steps that it is made of, that of most of its time first
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
    "ttft": Metric(("prefill",), False, "s", "ms", 1e3, "mean time to the first token, waits for others included"),
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


def decode_kind(alone, others, tp, chips):
    """The class of what decodes: for a user who is `alone`; `others` tokens of others' prompts for each step."""
    if alone:
        return "one user"
    if others > FEW:
        return "aggregated"
    return "wide EP" if tp < chips else "small TP decode"


def served_kind(users, tp, chips, mixed=0.0):
    """The class of an instance with so many users, whose steps compute `mixed` prompt tokens for each of an answer."""
    alone = users < 1.0 + 1e-6  # of a rate times a latency
    return decode_kind(alone, max(users - 1.0, 0.0) * mixed, tp, chips)


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
        """Phases of the steps that it is made of, that of most of its time first; one user meets no other's prompt."""
        first = self.metric.phases[0]
        if self.phase != "serve":
            return (first,)
        return first, "prefill" if first == "decode" else "decode"

    @property
    def phase(self):
        """Phase of a grid that gives what was measured: "serve" where others' prompts are in it."""
        first = self.metric.phases[0]
        if self.alone:
            return first
        return "serve" if len(self.metric.phases) > 1 or self.used["metric"] == "ttft" else first

    @property
    def complete(self):
        """Whether its source gives all that matters."""
        return self.used.get("complete", True)

    @property
    def fits(self):
        """Whether factors are fitted to it: complete, and no first token, most of which is the host's work."""
        return self.complete and self.used["metric"] != "ttft"

    @property
    def kind(self):
        """Its class, one of `CLASSES`, from its own fields alone."""
        x = self.used
        if self.metric.phases == ("prefill",):
            return "prefill" if self.metric.rate else "first token"
        others = math.inf if self.metric.rate else 0.0
        if not self.alone and len(self.metric.phases) > 1 and not self.metric.rate:
            others = (x["concurrency"] - 1) * x["isl"] / x["osl"]
        return decode_kind(self.alone, others if len(self.metric.phases) > 1 else 0.0, x["tp"], x["chips"])

    @property
    def alone(self):
        """Whether there is one user, who meets no other's prompt."""
        return self.used.get("concurrency") == 1

    @property
    def lengths(self):
        """{isl, osl or context: mean number of tokens}."""
        return {name: self.used[name] * self.used.get("length_factor", 1.0) for name in LENGTHS if name in self.used}

    def grid(self, phase, **more):
        """The system as a grid of dsjax's, a dict: a step of a phase, or the whole server; `more` are axes."""
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
        if phase == "serve":
            fixed = self._requests(fixed)
        fixed |= {name: x[name] for name in ("memory_reserve",) if name in x}
        fixed = self.fixed | fixed
        axes = {"software_factor": [1.0, 2.0], **more}
        fixed = {name: value for name, value in fixed.items() if name not in axes}
        return {"title": x["id"], "model": x["model"], "phase": phase, "axes": axes, "fixed": fixed}

    def _requests(self, fixed):
        """Keys of a grid of a server from those of its step: users, lengths, and how prompts are taken up.

        `length_factor` f: lengths are even between 2 f - 1 and 1 of nominal ones, of standard deviation over mean
        (1 - f) / (sqrt(3) f); without one all are of one length.
        """
        x = self.used
        factor, batch = x.get("length_factor", 1.0), fixed.pop("batch", None)
        if batch is not None:
            fixed["concurrency"] = batch if batch == FILLS else batch * x["chips"]
        if math.isclose(factor, EVEN):
            fixed |= {name: x[name] for name in ("isl", "osl")} | {"length_law": "uniform"}
        else:
            fixed |= dict.fromkeys(("isl_cv", "osl_cv"), (1.0 - factor) / (math.sqrt(3.0) * factor))
        chunked = x["engine"].casefold() in CHUNKED
        fixed["batching"] = x.get("batching", "chunked" if chunked else "prefill-first")
        if "prefill_tokens" in x:
            tokens = "chunk_tokens" if fixed["batching"] == "chunked" else "max_prefill_tokens"
            fixed[tokens] = x["prefill_tokens"] * x["tp"]
        return fixed | {name: x[name] for name in OF_SERVERS if name in x}

    @property
    def prompts(self):
        """Whole prompts of the instance in one step of prefill, at least one for each group of `tp` chips.

        One for each group where a server takes up prompts as sequences end.
        """
        x = self.used
        if self.phase == "serve" or self.alone:
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
