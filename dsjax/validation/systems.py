"""Published end-to-end measurements -> grids: read, checked, and completed from one table of defaults.

A file of systems is TOML. A `[[study]]` is one publication; each of its `[[study.system]]` tables is one measured
system, and takes from the study what it does not say itself. What both leave open comes from `[defaults]`, the same for
every system, and is counted: `System.assumed`. Nothing else is set for one system alone.
"""

import dataclasses
import functools
import math
from typing import NamedTuple

from .. import numerics
from ..catalog import reader
from ..errors import InputError, unknown
from ..space import inputs
from ..specs import fields, records
from ..units import number

FILE = reader.DATA / "systems.toml"


class Metric(NamedTuple):
    """What was measured."""

    phases: tuple  # that are evaluated
    rate: bool  # a rate; else a time
    units: str
    shown: str  # units in a table
    doc: str


METRICS = {
    "decode": Metric(("decode",), True, "token/s", "tok/s/chip", "output tokens per second and chip"),
    "prefill": Metric(("prefill",), True, "token/s", "tok/s/chip", "input tokens per second and chip"),
    "mixed": Metric(
        ("decode", "prefill"), True, "token/s", "tok/s/chip", "output tokens per second and chip, prefill included"
    ),
    "user": Metric(("decode",), True, "token/s", "tok/s/user", "output tokens per second and user"),
    "layer": Metric(("decode",), False, "s", "us/layer", "time of one MoE layer in decode"),
}
_TEXTS = ("id", "date", "source", "evidence", "metric", "model", "hardware", "nic", "precision", "pipeline", "balance")
_TEXTS += ("caveat", "why", "known")
_COUNTS = ("chips", "tp", "ep", "batch", "concurrency", "prefill_tokens", "mtp", "redundant_experts")
_LENGTHS = ("isl", "osl", "context")
_FLAGS = ("complete", "in_house")
_OTHERS = ("value", "acceptance", "tokens_per_step", "scale_out_bytes_per_s")
KEYS = (*_TEXTS, *_COUNTS, *_LENGTHS, *_FLAGS, *_OTHERS)
REQUIRED = ("id", "date", "source", "metric", "model", "hardware", "precision", "chips", "value")
DEFAULTS = ("nic", "tp", "ep", "pipeline", "balance", "mtp", "acceptance", "prefill_tokens", "isl", "batch")
BALANCES = ("perfect", "redundant", "none")
SECTIONS = ("defaults", "alternatives", "fixed", "roofline", "balance", "study", "not_described")
FILLS, ALL = "fills memory", "all chips"
_RULES = {"batch": FILLS, "ep": ALL}  # defaults that are no number
_METAS = {  # domain of a number
    **{key: fields.count(key).metadata for key in _COUNTS},
    **{key: fields.size("token", key).metadata for key in _LENGTHS},
    "mtp": fields.fields_of(records.Deployment)["mtp"],
    "redundant_experts": fields.fields_of(records.Deployment)["redundant_experts"],
    "acceptance": fields.fields_of(records.Workload)["acceptance"],
    "tokens_per_step": fields.size("token", "1 + accepted drafts").metadata,
    "scale_out_bytes_per_s": fields.fields_of(records.Nic)["scale_out_bytes_per_s"],
}


@dataclasses.dataclass(frozen=True)
class System:
    """One measured system, completed."""

    given: dict  # what its source says, {key: value}
    used: dict  # `given` and what comes from the defaults
    assumed: tuple  # keys that come from the defaults
    where: str  # what errors call it
    loads: dict  # {balance: rows of the busiest card over the mean}
    fixed: dict  # keys of a grid, the same for all systems

    @property
    def metric(self):
        """The `Metric` that was measured."""
        return METRICS[self.used["metric"]]

    @property
    def complete(self):
        """Whether its source gives all that matters."""
        return self.used.get("complete", True)

    def grid(self, phase, **more):
        """The system as a grid of dsjax's, a dict; `more` are axes. `batch` is `concurrency` where that is given."""
        x = self.used
        moe_tp = 1 if x["ep"] == ALL else x["chips"] // x["ep"]
        fixed = {name: x[name] for name in ("hardware", "nic", "precision", "pipeline", "tp", "chips")}
        fixed |= {"moe_tp": moe_tp, "expert_imbalance": self.loads[x["balance"]]}
        fixed |= {name: x[name] for name in (*_LENGTHS, "redundant_experts") if name in x}
        if "isl" in x:
            fixed.setdefault("osl", 0)
        if "scale_out_bytes_per_s" in x:
            fixed["nic_scale_out_bytes_per_s"] = x["scale_out_bytes_per_s"]
        if phase == "prefill":
            fixed["prompts"] = self.prompts
        else:
            fixed |= {"mtp": x["mtp"]} | self._acceptance()
            fixed["batch"] = x["concurrency"] if "concurrency" in x else x["batch"]
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
        if len(self.metric.phases) > 1:
            return x["chips"] // x["tp"]
        length = x.get("isl", x.get("context"))
        return x["chips"] // x["tp"] * max(1, math.floor(x["prefill_tokens"] * x["tp"] / length))

    def _acceptance(self):
        if "tokens_per_step" in self.used:
            return {"acceptance": acceptance_of(self.used["tokens_per_step"], self.used["mtp"])}
        return {"acceptance": self.used["acceptance"]} if "acceptance" in self.used else {}


class File(NamedTuple):
    """Content of a file of systems."""

    systems: tuple
    not_described: dict  # {id: why}
    roofline: dict  # keys of a grid
    defaults: dict  # [defaults] and [balance]
    alternatives: dict  # {key of `defaults`: (values, ...)}


def acceptance_of(tokens_per_step, drafts):
    """The a for which 1 + a + ... + a^drafts = tokens_per_step, by bisection."""

    def enough(acceptance):
        return sum(acceptance**i for i in range(drafts + 1)) >= tokens_per_step

    return numerics.bisect(enough, 1.0, 0.0, width=2.0**-60)[0]


def files_of(path, catalogs=()):
    """Paths that measured systems, dsjax's own without a `path`, and the rows they name are read from."""
    own = [] if path is None else [path]
    return [*own, *inputs.of_catalogs(catalogs), *inputs.of_models([reader.read_toml(each) for each in own])]


def read(path=None, replaced=None):
    """A file of systems, dsjax's own without a path: `File`.

    One of a user's may leave out [defaults], [alternatives], [fixed], [roofline] and [balance], or any key of them:
    dsjax's own hold there. `replaced` {key: value}: of [defaults] and [balance], for this reading only.
    """
    own = reader.read_toml(FILE)
    data, file = (own, FILE.name) if path is None else (reader.read_toml(path), str(path))
    for key in data:
        if key not in SECTIONS:
            raise unknown(file, "key", key, SECTIONS)
    defaults = own["defaults"] | _table(data, file, "defaults", DEFAULTS)
    defaults |= own["balance"] | _table(data, file, "balance", BALANCES) | (replaced or {})
    for key, value in defaults.items():
        defaults[key] = _default(f"{file}: [{'balance' if key in BALANCES else 'defaults'}]", key, value)
    alternatives = own["alternatives"] | _table(data, file, "alternatives", (*DEFAULTS, *BALANCES))
    alternatives = {key: _alternatives(f"{file}: [alternatives]", key, found) for key, found in alternatives.items()}
    fixed, ideal = (own[name] | _table(data, file, name) for name in ("fixed", "roofline"))
    studies = data.get("study")
    if not isinstance(studies, list) or not all(isinstance(x, dict) for x in studies):
        raise InputError(f"{file}: study: {'missing' if studies is None else repr(studies)[:40]}; expected [[study]]")
    rows = [row for study in studies for row in _rows(file, study)]
    seen = set()
    for row in rows:
        if row["id"] in seen:
            raise InputError(f"{file}: id: {row['id']!r} is there twice; expected distinct ids")
        seen.add(row["id"])
    loads = {name: defaults[name] for name in BALANCES}
    completed = tuple(_completed(file, row, defaults, loads, fixed) for row in rows)
    return File(completed, _table(data, file, "not_described"), ideal, defaults, alternatives)


def _default(where, key, value):
    """One checked value of [defaults] or of [balance]."""
    if key in BALANCES:
        return number(f"{where} {key}", value, fields.fields_of(records.Workload)["expert_imbalance"])
    return value if _RULES.get(key) == value else _value(where, key, value)


def _alternatives(where, key, values):
    if not isinstance(values, list):
        raise InputError(f"{where} {key}: {values!r}; expected a list of values")
    return tuple(_default(where, key, value) for value in values)


def _table(data, file, name, known=None):
    table = data.get(name, {})
    if not isinstance(table, dict):
        raise InputError(f"{file}: {name}: {table!r}; expected a table [{name}]")
    for key in table if known else ():
        if key not in known:
            raise unknown(f"{file}: [{name}]", "key", key, known)
    return table


def _rows(file, study):
    """Systems of a study, each with what the study says of all of them."""
    common = dict(study)
    name, systems = common.pop("id", None), common.pop("system", None)
    where = f"{file}: study {name!r}"
    if not isinstance(name, str) or not name:
        raise InputError(f"{file}: [[study]] id: {name!r}; expected a text")
    if not isinstance(systems, list) or not systems or not all(isinstance(x, dict) for x in systems):
        raise InputError(f"{where}: no system; expected tables [[study.system]]")
    for row in (common, *systems):
        for key in row:
            if key not in KEYS:
                raise unknown(f"{where} {row.get('id', '')}".rstrip(), "key", key, KEYS)
    return [common | row | {"study": name} for row in systems]


def _completed(file, row, defaults, loads, fixed):
    """The `System` of one row: checked, and what it leaves open taken from the defaults."""
    where = f"{file}: {row.get('id') or row['study']}"
    for key in REQUIRED:
        if key not in row:
            raise InputError(f"{where}: {key}: missing; expected {', '.join(REQUIRED)}")
    given = {key: value if key == "study" else _value(where, key, value) for key, value in row.items()}
    metric = METRICS[given["metric"]]
    positive = fields.size(metric.units, "").metadata
    given["value"] = number(f"{where} value", given["value"], positive)
    if not given.get("complete", True) and "why" not in given:
        raise InputError(f"{where}: why: missing; expected what its source leaves open, as complete = false")
    if given["chips"] % given.get("ep", 1):
        raise InputError(f"{where} ep: {given['ep']}; expected a divisor of chips = {given['chips']}")
    if "batch" in given and "concurrency" in given:
        raise InputError(f"{where} concurrency: beside batch; expected one of the two")
    if "context" in given and given.keys() & {"isl", "osl"}:
        raise InputError(f"{where} context: beside isl or osl; expected one or the other")
    if len(metric.phases) > 1 and not {"isl", "osl"} <= given.keys():
        raise InputError(f"{where} osl: missing; expected isl and osl, as its output includes prefill")
    open_ = [key for key in _needed(given, metric, defaults) if key not in given]
    chosen = {key: defaults[key] for key in open_}
    if "mtp" in given | chosen and "tokens_per_step" in given:
        tokens, most = given["tokens_per_step"], 1 + (given | chosen)["mtp"]
        if not 1.0 <= tokens <= most:
            raise InputError(f"{where} tokens_per_step: {tokens:g}; expected 1 to 1 + mtp = {most}")
    # Where nothing leaves the scale-up domain the choice of a NIC is none.
    counted = tuple(key for key in open_ if key != "nic" or given["chips"] > _domain(given["hardware"]))
    return System(given, given | chosen, counted, where, loads, fixed)


def _needed(given, metric, defaults):
    """Keys that must be known to predict what was measured."""
    needed = ["nic", "tp", "ep", "pipeline", "balance"]
    if "decode" in metric.phases:
        needed += ["mtp"]
        if given.get("mtp", defaults["mtp"]) and "tokens_per_step" not in given:
            needed += ["acceptance"]
        if "concurrency" not in given:
            needed += ["batch"]
    if metric.phases == ("prefill",):
        needed += ["prefill_tokens"]
    if "context" not in given:
        needed += ["isl"]
    return needed


@functools.cache
def _domain(hardware):
    """Chips of a scale-up domain of dsjax's own rows; those of others are taken to use their NIC."""
    rows = reader.load()["hardware"]
    return rows[hardware]["scale_up_domain"] if hardware in rows else 1


def _value(where, key, value):
    """One checked value of a row or of the defaults."""
    if key in _FLAGS:
        if not isinstance(value, bool):
            raise InputError(f"{where} {key}: {value!r}; expected true or false")
        return value
    if key in _TEXTS:
        if not isinstance(value, str) or not value.strip():
            raise InputError(f"{where} {key}: {value!r}; expected a text")
        known = {"metric": METRICS, "balance": BALANCES}.get(key, (value,))
        if value not in known:
            raise unknown(f"{where} {key}", key, value, known)
        return value
    return number(f"{where} {key}", value, _METAS[key]) if key in _METAS else value
