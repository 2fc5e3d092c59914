"""The study of a server: what it reads, its policies and masks."""

import dataclasses

from ...catalog.reader import DATA
from ...formulas.constraints import Constraint
from ..constraints import NAMES
from ..core import CORE
from ..definition import Policy
from . import steps

BATCHING = {"prefill-first": False, "chunked": True}  # whether prompts are cut
LENGTH_LAWS = {"lognormal": False, "uniform": True}
# Stages of a request, in their order, and what it does in each.
STAGES = {
    "room": "waits for room in the cache",
    "queue": "waits for its prompt to begin",
    "prompt": "its own prompt",
    "decode": "its steps of decode",
    "interruptions": "prompts of others between its steps",
}
STAGES_OF_POOLS = {"room": STAGES["room"], "queue": STAGES["queue"], "prompt": STAGES["prompt"]}
STAGES_OF_POOLS |= {"transfer": "its cache is sent to where it decodes", "decode": STAGES["decode"]}
LENGTHS = ("isl", "osl", "isl_cv", "osl_cv", "cached_fraction", "host_fraction", "max_prefill_tokens", "chunk_tokens")


def _says_room(v):
    reserve = v.get("memory_reserve", 0.0)
    return (
        f"weights and activations leave no room for a cache in the {v['hardware_hbm_bytes'] / 1e9:,.2f} GB of a chip"
        + (f", of which {reserve:.0%} are kept free" if reserve else "")
    )


def _says_stable(v):
    rate, most = v["requests_per_s"], v["requests_per_s_max"]
    if rate < most:
        sequences = f"{v['decode_batch']:,.4g} sequences would decode at a time, which do not fit"
        return f"{sequences}: {rate:,.4g} requests/s, near the {most:,.4g} that the server can take"
    loads = {" pool that computes prompts": "prefill_utilisation", " pool that decodes": "decode_utilisation"}
    loads = {by: v[name] for by, name in loads.items() if name in v} or {" server": 1.0}
    if "transfer_share" in v and max(loads.values()) * most < 0.999 * rate:
        loads = {" links between the pools": 1.0}
    return f"{rate:,.4g} requests/s are more than the {most:,.4g} that the{max(loads, key=loads.get)} can take"


def _says_kv(v):
    return f"not one request of {v['isl']:,.0f} and {v['osl']:,.0f} tokens fits into the cache"


def _says_budget(v):
    return f"chunk_tokens = {v['chunk_tokens']:,.0f} leaves no room for prompts beside the sequences that decode"


OWN = tuple(
    Constraint(name, None, says)
    for name, says in (("memory", _says_room), ("stable", _says_stable), ("kv", _says_kv), ("budget", _says_budget))
)
OF_STEPS = tuple(name for name in NAMES if name not in steps.WITHOUT)  # masks that a step of the server has
_STEPS = {name: c for name, c in CORE.constraints.items() if name in OF_STEPS}

SERVER = dataclasses.replace(
    CORE,
    name="server",
    path=DATA / "server.toml",
    title="Server of a DeepSeek-V3-class model",
    policies={
        "phase": CORE.policies["phase"]._replace(choices={"serve": None}),
        **{name: policy for name, policy in CORE.policies.items() if name != "phase"},
        "batching": Policy("batching", BATCHING, "whether prompts go before steps of decode or, cut, inside them"),
        "length_law": Policy("length_law", LENGTH_LAWS, "how the lengths of requests are distributed"),
    },
    deployment=tuple(name for name in CORE.deployment if name not in ("batch", "prompts")),
    workload=tuple(name for name in CORE.workload if name not in ("context", "context_cv")),
    requests=(
        *(
            "isl_cv",
            "osl_cv",
            "cached_fraction",
            "host_fraction",
            "host_bytes_per_s",
            "prefix_tokens",
            "reserved_output",
        ),
        *("requests_per_s", "requests_per_user"),
        *("max_batch", "max_prefill_tokens", "chunk_tokens"),
    ),
    blocks={},
    constraints=_STEPS | {c.name: c for c in OWN},
    ties=("-requests_per_s", "-concurrency"),
    extends=CORE,
)


# ---- two pools

PREFILL, DECODE = POOL_NAMES = ("prefill", "decode")
ONE_POOL = ("batching", "length_law", "phase")  # policies that are not of a pool


def _of_pools(*names):
    return tuple(f"{pool}_{name}" for pool in POOL_NAMES for name in names)


def _said_of(pool, says):
    """A sentence about numbers that have the name of their pool before them."""

    def said(v):
        return f"{pool}: " + says(
            v | {name.removeprefix(f"{pool}_"): x for name, x in v.items() if name.startswith(pool)}
        )

    return said


def _says_transfer(v):
    return f"caches of {v['requests_per_s_served']:,.4g} prompts/s are more than the links of the transfer can carry"


_OWN = {c.name: c for c in OWN if c.name in ("stable", "kv")} | {
    "transfer": Constraint("transfer", None, _says_transfer)
}

POOLS = dataclasses.replace(
    SERVER,
    name="disaggregated",
    path=DATA / "pools.toml",
    title="Prefill and decode pools of a DeepSeek-V3-class model",
    records={
        **{f"{pool}_{kind}": cls for pool in POOL_NAMES for kind, cls in CORE.records.items() if kind != "model"},
        "model": CORE.records["model"],
        "transfer_nic": CORE.records["nic"],
    },
    policies={
        "phase": CORE.policies["phase"]._replace(choices={"disaggregated": None}),
        **{
            f"{pool}_{name}": policy
            for pool in POOL_NAMES
            for name, policy in SERVER.policies.items()
            if name not in ONE_POOL
        },
        "length_law": SERVER.policies["length_law"],
    },
    deployment=(*_of_pools(*(name for name in SERVER.deployment if name != "concurrency")), "concurrency"),
    requests=(
        *(name for name in SERVER.requests if name not in ("requests_per_user", "chunk_tokens")),
        *("prefill_instances", "decode_instances"),
    ),
    constraints={
        **{
            f"{pool}_{name}": c._replace(name=f"{pool}_{name}", says=_said_of(pool, c.says))
            for pool in POOL_NAMES
            for name, c in (_STEPS | {"memory": OWN[0]}).items()
        },
        **_OWN,
    },
    pools=POOL_NAMES,
)
