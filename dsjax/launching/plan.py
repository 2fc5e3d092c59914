"""Pools of servers of a configuration, in sizes that every engine knows: layout, budgets, memory, nodes."""

import dataclasses
import math
import types

from ..analysis import explain, explain_server
from ..analysis.refusals import numbers
from ..errors import InputError
from ..serving import deployment
from ..specs.records import Deployment
from . import checkpoint

HOST = 8  # chips of a server of today, at most
# (mode of prefill, mode of decode) of `dispatch_mode = "auto"`, by the library of the engine (`exchange.automatic`)
AUTOMATIC = (("all-gather", "all-gather"), ("normal", "low-latency"), ("normal", "layered"))
OVERLAPPED = ("dual-mbatch", "tbo")  # pipelines of two micro batches


@dataclasses.dataclass(frozen=True)
class Pool:
    """Instances that are alike: layout of one of them, what it admits, and the chips of its nodes."""

    role: str  # "serve"; of two pools "prefill" or "decode"
    phase: str  # that the point is of: "serve", "decode" or "prefill"; of a pool its role
    instances: int
    hardware: str
    vendor: str
    domain: int  # chips of a scale-up domain
    model: checkpoint.Checkpoint
    routed: bool  # the model has routed experts
    dense: bool  # and dense layers
    experts: int  # routed ones
    shared: bool  # it has shared experts
    latent: bool  # its cache is one latent vector for all heads
    heads: int
    kv_heads: int
    modules: int  # multi-token prediction modules of the model
    picks: str  # of its indexer: "" without one, "own" of every layer, "shared" by layers
    chips: int
    pp: int
    tp: int
    dp: int  # groups of attention
    moe_tp: int
    ep: int
    shared_tp: int
    kv_split: int
    sp: int
    redundant: int  # copies of experts that fill every slot
    mtp: int
    sequences: int | None  # of a group, over all stages; None: any number
    at_once: int | None  # sequences of a group that decode at a time; None: not known
    tokens: int | None  # new tokens of a step of a group; None: the phase does not say
    chunked: bool | None  # prompts are cut; None: the phase does not say
    length: int | None  # tokens of the longest request; None: not known
    pipeline: str
    dispatch: str  # mode as given
    modes: tuple  # those of prefill and of decode
    reserve: float  # share of the memory kept free
    beside: float  # share of the memory of buffers and activations beside weights and cache
    held: float  # share of the memory of all but the cache
    nodes: int

    @property
    def transfers(self) -> bool:
        """Whether the cache goes from one pool to the other."""
        return self.role != "serve"

    @property
    def stage(self) -> int:
        """Chips of a stage of the pipeline of layers."""
        return self.chips // self.pp

    @property
    def per_node(self) -> int:
        """Chips of a node."""
        return self.chips // self.nodes

    @property
    def copied(self) -> bool:
        """Whether tokens are copied to their experts by a library, and not gathered."""
        return self.routed and self.ep > 1 and self.mode != "all-gather"

    @property
    def mode(self) -> str:
        """Dispatch mode of the phase; of a server that does both the one of decode."""
        return self.modes[0 if self.phase == "prefill" else 1]

    @property
    def address(self) -> str:
        """Name of the placeholders of the addresses of its instances, without their number."""
        return self.role.upper()


def pools(space, dtype, per_host=None, instances=1):
    """[`Pool`] of a space of one point; `per_host`: chips of a host (None: of the scale-up domain, 8 at most)."""
    if not space.study.requests:
        return [_pool("serve", space.fixed["phase"], instances, space, space.fixed, per_host, dtype)]
    steps = explain_server.steps(space)
    if not space.study.pools:
        return [_pool("serve", "serve", instances, steps[0][1], space.fixed, per_host, dtype)]
    counts = {name: space.fixed[f"{name}_instances"] for name in space.pools}
    for name, n in counts.items():
        if n != int(n):
            raise InputError(f"launch: {name}_instances: {n:g}; expected a whole number of instances to start")
    roles = [prefix.removesuffix("_") for prefix, _ in steps]
    return [
        _pool(role, role, int(counts[role]), step, space.fixed, per_host, dtype)
        for role, (_, step) in zip(roles, steps)
    ]


def _pool(role, phase, instances, step, asked, per_host, dtype):
    """`step`: the point as one of the core model; `asked` {name: value}: what is fixed of the server, or of it."""
    given, fixed = numbers(step, {}), step.fixed
    names = [field.name for field in dataclasses.fields(Deployment)]
    split = deployment.split(
        Deployment(**{name: None if fixed.get(name) is None else int(fixed[name]) for name in names} | _loads(fixed)),
        types.SimpleNamespace(n_routed_experts=given["model_n_routed_experts"]),
        "float64",
    )
    d, dp, pp = split.counts, int(split.groups), int(fixed.get("pp") or 1)
    dense, layers = given["model_first_k_dense_replace"], given["model_num_hidden_layers"]
    routed = dense < layers
    row = step.rows["model"][fixed["model"]]
    sequences, tokens, chunked = _budget(phase, asked, int(d.chips), dp, pp)
    at_most = step.with_fixed(batch=max(1, math.ceil(sequences * dp / d.chips))) if sequences else step
    parts = _parts(at_most if "batch" in fixed and phase != "prefill" else step, dtype)
    capacity, chip = given["hardware_hbm_bytes"], step.rows["hardware"][fixed["hardware"]]
    held = sum(parts.values()) - parts["kv_cache"]
    mode = fixed["dispatch_mode"]
    return Pool(
        role=role,
        phase=phase,
        instances=instances,
        hardware=fixed["hardware"],
        vendor=chip.get("vendor", ""),
        domain=int(given["hardware_scale_up_domain"]),
        model=checkpoint.of(fixed["model"], row, fixed["precision"], given),
        routed=routed,
        dense=dense > 0,
        experts=int(given["model_n_routed_experts"]),
        shared=routed and given["model_n_shared_experts"] > 0,
        latent=given["model_kv_lora_rank"] > 0,
        heads=int(given["model_num_attention_heads"]),
        kv_heads=int(given["model_num_key_value_heads"]),
        modules=int(given["model_num_nextn_predict_layers"]),
        picks=_picks(given),
        chips=int(d.chips),
        pp=pp,
        tp=d.tp,
        dp=dp,
        moe_tp=d.moe_tp,
        ep=int(d.ep),
        shared_tp=d.shared_tp,
        kv_split=d.kv_split,
        sp=d.sp,
        redundant=max(int(d.ep * split.slots - given["model_n_routed_experts"]), 0) if routed and d.ep > 1 else 0,
        mtp=d.mtp,
        sequences=sequences,
        at_once=_at_once(role, phase, asked, dp, sequences),
        tokens=tokens,
        chunked=chunked,
        length=_length(asked, phase),
        pipeline=fixed["pipeline"],
        dispatch=mode,
        modes=AUTOMATIC[int(given["engine_library"])] if mode == "auto" else (mode, mode),
        reserve=given["memory_reserve"],
        beside=(parts["exchange"] + (0.0 if given["engine_activations_reserved"] else parts["activations"])) / capacity,
        held=held / capacity,
        nodes=_nodes(int(d.chips), per_host or min(HOST, int(given["hardware_scale_up_domain"]))),
    )


def _picks(given):
    """Whether an indexer picks what latent attention reads, in every layer or in those whose picks others share."""
    if not given["model_index_topk"] or not given["model_kv_lora_rank"]:
        return ""
    return "own" if given["model_index_layers"] == given["model_num_hidden_layers"] else "shared"


def _loads(fixed):
    """Loads of the record that no size of the layout depends on."""
    return {"concurrency": None} | {name: int(fixed.get(name) or 1) for name in ("batch", "prompts")}


def _parts(step, dtype):
    """{part: bytes} of the memory of a chip in a step."""
    values = explain.values_of(step, dtype)
    return {name.removeprefix("memory/"): x for name, x in values.items() if name.startswith("memory/")}


def _budget(phase, asked, chips, dp, pp):
    """(sequences of a group, new tokens of a step of it, whether prompts are cut)."""
    if phase == "serve":
        chunked = asked["batching"] == "chunked"
        return _most(asked), int(asked["chunk_tokens" if chunked else "max_prefill_tokens"]), chunked
    if "osl_cv" in asked:  # of two pools
        return (None, int(asked["max_prefill_tokens"]), False) if phase == "prefill" else (_most(asked), None, None)
    if phase == "prefill":
        prompts = math.ceil(asked["prompts"] / dp)
        at_once = math.ceil(prompts / min(pp, prompts))
        return prompts, math.ceil(at_once * (asked.get("isl") or asked["context"])), False
    if asked.get("concurrency"):
        return math.ceil(asked["concurrency"] / dp), None, None
    return math.ceil(asked["batch"] * chips / dp), None, None


def _at_once(role, phase, asked, dp, sequences):
    """Sequences of a group that decode at a time: those of a step, or of a server whose users are counted."""
    if role == "serve" and phase == "decode":
        return sequences
    if phase == "serve" and asked.get("concurrency"):
        return min(sequences or math.inf, math.ceil(asked["concurrency"] / dp))
    return None


def _most(asked):
    return int(asked["max_batch"]) or None


def _length(asked, phase):
    """Tokens of the longest request, where the lengths are exact."""
    if not asked.get("isl") or not asked.get("osl") or phase == "prefill":
        return None
    spread = max(asked.get(name) or 0.0 for name in ("isl_cv", "osl_cv", "context_cv"))
    return math.ceil(asked["isl"] + asked["osl"]) if not spread or asked.get("length_law") == "uniform" else None


def _nodes(chips, per_host):
    """The fewest nodes of as many chips each, no more than `per_host`."""
    return next(n for n in range(max(1, math.ceil(chips / per_host)), chips + 1) if chips % n == 0)
