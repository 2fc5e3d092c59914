"""Keys of a measured system in a file of systems: meaning, unit and domain of each; tables beside them."""

from ..serving.instances.study import BATCHING
from ..specs import fields, records
from .measured import ALL, FILLS, METRICS, OF_SERVERS

_OF_DEPLOYMENT = fields.fields_of(records.Deployment)
_OF_WORKLOAD = fields.fields_of(records.Workload)
TEXTS = {
    "id": "name of the system, distinct in its file",
    "date": "day of the publication or of the run",
    "source": "where the measurement is published, or which log it is from",
    "evidence": "how the source gives it: text, table, read from a figure",
    "metric": "what was measured",
    "model": "row of the models, or path of a Hugging Face config.json",
    "hardware": "row of the hardware",
    "nic": "row of the NICs",
    "precision": "row of the precisions",
    "pipeline": "what runs beside what",
    "balance": "how evenly experts are chosen: a key of [balance]",
    "engine": "row of the engines",
    "engine_version": "version of the engine, as its log says it",
    "batching": "how a server takes up prompts",
    "caveat": "what to know before the number is used",
    "why": "what the source leaves open, where complete = false",
    "known": "reason of a prediction that is far off, where it is known",
}
FLAGS = {
    "complete": "whether the source gives all that matters",
    "in_house": "whether the engine is its publisher's own",
}
BALANCES = ("perfect", "redundant", "none")
CHOICES = {"metric": METRICS, "balance": BALANCES, "batching": BATCHING}
NUMBERS = {  # domain of each
    "value": {"units": "of the metric", "doc": "the measured number: token/s, or s"},
    "chips": fields.count("chips of the instance").metadata,
    "tp": fields.count("tensor parallelism of attention and dense layers").metadata,
    "ep": fields.count("expert parallelism: groups of chips that share the routed experts").metadata,
    "batch": fields.count("sequences per chip in decode", units="1").metadata,
    "concurrency": fields.count("users, or sequences in flight, in the whole instance").metadata,
    "prefill_tokens": fields.count("prompt tokens of one chip in one step").metadata,
    "mtp": _OF_DEPLOYMENT["mtp"],
    "redundant_experts": _OF_DEPLOYMENT["redundant_experts"],
    "isl": fields.size("token", "input sequence length").metadata,
    "osl": fields.size("token", "output sequence length").metadata,
    "context": fields.size("token", "tokens in the cache of one sequence, instead of isl and osl").metadata,
    "length_factor": fields.share("mean over nominal length").metadata,
    "acceptance": _OF_WORKLOAD["acceptance"],
    "tokens_per_step": fields.size("token", "1 + accepted drafts").metadata,
    "ttft": fields.size("s", "mean time to the first token of the same run").metadata,
    "tps_per_chip": fields.rate("token/s", "output tokens per second and chip of the same run").metadata,
    "memory_reserve": _OF_WORKLOAD["memory_reserve"],
    **{key: fields.fields_of(records.Requests)[key] for key in OF_SERVERS},
    "scale_out_bytes_per_s": fields.fields_of(records.Nic)["scale_out_bytes_per_s"],
}
KEYS = (*TEXTS, *NUMBERS, *FLAGS)
REQUIRED = ("id", "date", "source", "metric", "model", "hardware", "precision", "chips", "value")
DEFAULTS = ("nic", "tp", "ep", "pipeline", "balance", "engine", "mtp", "acceptance", "prefill_tokens", "isl", "batch")
DEFAULTS += ("requests_per_user",)
RULES = {"batch": FILLS, "ep": ALL}  # defaults that are no number
SECTIONS = {
    "defaults": "what systems leave open",
    "alternatives": "other values of the defaults and of the balance: dsjax validate --defaults",
    "fixed": "keys of a grid, the same for all systems that do not say them",
    "roofline": "keys of a grid without efficiencies, for comparison",
    "balance": "standard deviation over mean of how often experts are chosen",
    "study": "one publication or one set of runs; what it says holds for all its systems",
    "not_described": "systems that a source gives too little of: id = why",
}
