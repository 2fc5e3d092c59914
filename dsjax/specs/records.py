"""The records a formula reads: one scalar per field, SI units, no numbers and no names.

A record is a frozen dataclass of numbers, or of what formulas take for numbers. The unit and the meaning of every
field live in its metadata; the catalog validates against them and the dataset writes them to file. Names of
devices, NICs and models are labels of axes and stay out of the records.
"""

from .fields import amount, count, factor, feature, fraction, like, optional, rate, record, seconds, share, size
from .model import Model


@record
class Chip:
    """Numbers of an accelerator that every model reads. A study extends it with fields of its own."""

    hbm_bytes_per_s: float = rate("B/s", "memory bandwidth")
    hbm_bytes: float = size("B", "memory capacity, what a process can have")
    bf16_flops_per_s: float = rate("FLOP/s", "dense peak rate, bf16")
    fp8_flops_per_s: float = amount("FLOP/s", "dense peak rate, fp8 (0: the chip has none)")
    int8_flops_per_s: float = amount("FLOP/s", "dense peak rate, int8 (0: the chip has none)")
    fp4_flops_per_s: float = feature("FLOP/s", "dense peak rate, fp4 (0: the chip has none)")
    usd_per_hour: float = optional("USD/h", "price of one chip for an hour, as rented (0: unknown)")
    watts: float = optional("W", "rated power of one chip, without host, network and cooling (0: unknown)")


@record
class Hardware(Chip):
    """An accelerator and its scale-up network, as the core model reads them."""

    hbm_advertised_bytes: float = optional("B", "memory capacity as sold, which no formula reads (0: not given)")
    scale_up_bytes_per_s: float = rate("B/s", "bandwidth inside the scale-up domain, per chip, one way")
    scale_up_domain: float = size("1", "chips of one scale-up domain")
    scale_up_utilisation: float = share("share of the scale-up bandwidth that transfers reach")
    scale_up_step_s: float = seconds("one step of a collective inside the scale-up domain")
    scale_up_peer_bytes_per_s: float = feature(
        "B/s", "link to one other chip of a mesh or torus, one way: two chips share one (0: a switch)"
    )
    scale_up_torus: float = feature("1", "dimensions of the torus that the domain is (0: none)")
    all_reduce_start_s: float = feature("s", "fixed time of an all-reduce, a gather or a scatter")
    all_reduce_rise_s: float = feature("s", "how slowly the bandwidth of an all-reduce rises with the message")
    all_reduce_direct: float = feature(
        "1", "share of the scale-up bandwidth when each chip sends all to all others, where sooner (0: never)", 1.0
    )
    exchange_utilisation: float = like(
        "scale_up_utilisation", share("share of the scale-up bandwidth that a low-latency dispatch reaches")
    )
    exchange_start_s: float = like("scale_up_step_s", seconds("fixed time of a low-latency dispatch"))
    exchange_hidden_s: float = feature("s", "part of that time in which data moves already")
    combine_utilisation: float = like(
        "exchange_utilisation", share("share of the scale-up bandwidth that a low-latency combine reaches")
    )
    combine_start_s: float = like("exchange_start_s", seconds("fixed time of a low-latency combine"))
    combine_hidden_s: float = like("exchange_hidden_s", amount("s", "part of that time in which data moves already"))
    normal_utilisation: float = like(
        "exchange_utilisation", share("share of the scale-up bandwidth that a normal dispatch or combine reaches")
    )
    normal_start_s: float = like("exchange_start_s", seconds("fixed time of a normal dispatch or combine"))
    exchange_cores: float = feature(
        "1", "share of the cores that a normal dispatch or combine takes, from compute too where they overlap", 0.9
    )
    exchange_cores_bytes_per_s: float = feature(
        "B/s", "what all cores together could copy in a normal dispatch or combine (0: no limit)"
    )
    roofline_overlap: float = fraction("share of the smaller of compute and memory time hidden behind the larger")
    step_s: float = seconds("host time of one step")


@record
class Link:
    """Numbers per chip of a network between chips that every model reads. A study extends it with fields of its own."""

    scale_out_bytes_per_s: float = rate("B/s", "bandwidth outside the scale-up domain, per chip, one way")


@record
class Nic(Link):
    """The network between scale-up domains, as the core model reads it."""

    scale_out_utilisation: float = share("share of the scale-out bandwidth that transfers reach")
    scale_out_step_s: float = seconds("one step of a collective outside the scale-up domain")
    exchange_utilisation: float = like(
        "scale_out_utilisation", share("share of the scale-out bandwidth that a dispatch or combine reaches")
    )
    exchange_start_s: float = like(
        "scale_out_step_s", seconds("fixed time of a dispatch or combine on top, where tokens leave the domain")
    )


@record
class Engine:
    """What the software that serves adds, fuses and keeps; its kernels are curves of its own (`curves` of a row)."""

    step_s: float = seconds("host time of one step that nothing hides")
    draft_step_s: float = feature("s", "host time of each draft token of a step")
    request_s: float = feature("s", "host time of each prompt that a step of prefill admits")
    prompt_layer_s: float = feature("s", "host time of a layer in a server's step of prompts: it takes no less")
    pointwise_launches: float = share("share of the launches of pointwise kernels that it makes; it fuses the others")
    fused_projections: float = feature("1", "1: the GEMMs that read the hidden state before attention are one", 1.0)
    shared_beside: float = feature("1", "1: launches of the shared experts are hidden beside the routed ones", 1.0)
    quantising: float = feature("1", "share of 8- and 4-bit operands that passes of their own make after a norm", 1.0)
    library: int = count("what dispatches: 0 gathers, 1 a copy per expert, 2 a copy per domain", low=0, high=2)
    fewest_groups: int = count("groups of attention that its kernels are for, at the least (0: any)", low=0, default=0)
    exchange_share: float = share("share that a dispatch takes of the cores that a chip's `exchange_cores` counts")
    exchange_buffers: float = feature("1", "buffers for tokens of every expert that a low-latency dispatch keeps")
    exchange_tokens: float = feature("token", "most tokens of a chip in a low-latency dispatch (0: no limit)")
    activations_reserved: float = feature("1", "1: activations of its steps are in the memory that is kept free", 1.0)
    memory_bytes: float = feature("B", "memory kept beside weights, cache, activations and exchange buffers")
    logit_bytes: float = feature("B", "memory kept for a token of the vocabulary: logits of many sequences at once")
    cache_scale_bytes: float = feature("B", "scale of each block of 128 elements of an 8-bit latent cache")
    cache_rope_bytes: float = feature("B", "bytes per element of the rotary part of such a cache (0: as the rest)")


# What a `*_rate` of a precision may name, in the order of its index.
RATES = ("bf16", "fp8", "int8", "fp4")
WIDTHS = (2.0, 1.0, 1.0, 0.5625)  # bytes of their operands; of 4 bit with a scale of one byte for 16


def _rate(doc, default=None):
    return count(doc, low=0, high=len(RATES) - 1, default=default)


@record
class Precision:
    """Bytes of one element by use, and the rate (index into `RATES`) its GEMMs run at."""

    weight_bytes: float = size("B", "bytes per weight of attention and whatever has no field of its own")
    dense_bytes: float = like("weight_bytes", size("B", "bytes per weight of dense FFNs"))
    head_bytes: float = like("weight_bytes", size("B", "bytes per weight of head and router"))
    embedding_bytes: float = like("head_bytes", size("B", "bytes per weight of the embedding"))
    absorbed_bytes: float = like("weight_bytes", size("B", "bytes per weight of kv_b where decode absorbs it (MLA)"))
    expert_bytes: float = size("B", "bytes per weight of the experts")
    shared_bytes: float = like("expert_bytes", size("B", "bytes per weight of shared experts"))
    expert_tile: float = feature("1", "kernels fill the sizes of a routed expert up to a multiple of it (0: of none)")
    activation_bytes: float = size("B", "bytes per element of activations")
    kv_bytes: float = size("B", "bytes per element of the KV cache")
    dispatch_bytes: float = size("B", "bytes per element sent to the experts")
    combine_bytes: float = size("B", "bytes per element sent back from the experts")
    weight_rate: int = _rate("compute rate of the GEMMs of attention")
    dense_rate: int = like("weight_rate", _rate("compute rate of dense FFNs"))
    head_rate: int = like("weight_rate", _rate("compute rate of head and router"))
    absorbed_rate: int = like("weight_rate", _rate("compute rate of the products with an absorbed kv_b"))
    expert_rate: int = _rate("compute rate of the expert GEMMs")
    shared_rate: int = like("expert_rate", _rate("compute rate of shared experts"))
    attention_rate: int = _rate("compute rate of attention")
    index_rate: int = _rate("compute rate of the scores of an indexer; bf16 where the chip lacks it", default=1)


@record
class Workload:
    """Requests and their lengths, and assumptions about the software that serves them."""

    context: float = size("token", "context of a sequence: tokens in its KV cache")
    isl: float | None = size("token", "input sequence length, instead of a context")
    osl: float | None = amount("token", "output sequence length, with `isl`")
    context_cv: float = amount("1", "spread of the lengths that decode: standard deviation over mean")
    acceptance: float = fraction("probability that the first draft token is accepted")
    acceptance_decay: float = fraction(
        "the same of a later one, given that all before were, over that of the one before"
    )
    expert_imbalance: float = factor("rows of the busiest card over the mean (0: what chance and favour make of it)")
    expert_cv: float = amount("1", "spread of how often experts are chosen: standard deviation over mean")
    expert_cv_placed: float = amount("1", "the same where slots are left for copies, placed by load")
    unhidden: float = fraction("share of the shorter of two overlapped stretches that stays unhidden", 0.9)
    software_factor: float = size("1", "what schedulers and frameworks add to the time of a step, as a factor")
    memory_reserve: float = fraction("share of the memory kept free")


@record
class Requests:
    """Requests as they come to a server, and how it takes them up."""

    isl_cv: float = amount("1", "spread of the input lengths: standard deviation over mean")
    osl_cv: float = amount("1", "spread of the output lengths: standard deviation over mean")
    cached_fraction: float = fraction("share of an input that is found in the prefix cache")
    host_fraction: float = fraction("share of an input that is found in the memory of the host, and read back")
    host_bytes_per_s: float = rate("B/s", "bandwidth of a chip from the memory of its host")
    prefix_tokens: float = amount("token", "positions of the cache of a data-parallel group that prefixes keep")
    requests_per_s: float = rate("1/s", "requests that come to the instance, at random, instead of a concurrency")
    requests_per_user: float = amount("1", "requests of each user of a benchmark that starts all at once (0: for ever)")
    reserved_output: float = fraction("share of an output whose positions are reserved when it is admitted")
    max_batch: float = amount("sequence", "sequences that a data-parallel group admits at once (0: any number)")
    max_prefill_tokens: float = size("token", "new tokens of a step of prompts, of a data-parallel group")
    chunk_tokens: float = size("token", "tokens of a step where prompts are cut, of a data-parallel group")
    prefill_instances: float = size("1", "instances that compute prompts")
    decode_instances: float = size("1", "instances that decode")


@record
class Deployment:
    """How the model is laid out on the chips, and what runs at once."""

    # Bounds keep products of two sizes inside 32 bits.
    tp: int = count("tensor parallelism of attention and dense layers", high=2**15)
    moe_tp: int = count("tensor parallelism inside one expert", high=2**15)
    shared_tp: int | None = count("tensor parallelism of the shared expert (not given: tp; 1: replicated)", high=2**15)
    kv_split: int = count("chips of a tensor-parallel group that share the positions of the KV cache", high=2**15)
    ep: int | None = count("expert parallelism: groups of chips that share the routed experts", high=2**15)
    redundant_experts: int = count("copies of routed experts beyond one of each", low=0, high=2**15)
    sp: int = count("sequence parallelism inside a tensor-parallel group, in prefill", high=2**15)
    pp: int | None = count("pipeline parallelism: stages of layers, each on chips of its own", high=2**10)
    chips: int | None = count("chips of one instance", high=2**30)
    batch: int | None = count("sequences per chip in decode", units="sequence")
    concurrency: int | None = count(
        "sequences in flight in the whole instance in decode, instead of a batch", high=2**24, units="sequence"
    )
    prompts: int = count("prompts in the whole instance in prefill", units="sequence")
    mtp: int = count("draft tokens per step (multi-token prediction)", low=0, high=8, units="token")


@record
class Point:
    """Everything a formula may read at one point of the design space."""

    hardware: Hardware
    nic: Nic
    precision: Precision
    model: Model
    curve: object  # a record of knots of `formulas.efficiency`
    workload: Workload
    deployment: Deployment
    engine: Engine | None = None  # of the core model; a study has none


# Records that rows of a catalog fill, and their classes; a curve's class is that of its form. A study extends those it
# reads.
STUDIED = {"hardware": Hardware, "nic": Nic, "precision": Precision, "model": Model}
RECORDS = STUDIED | {"engine": Engine}
