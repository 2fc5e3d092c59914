"""Names, units and meanings of every variable of a result: data shared by grids, files and tables."""

# variable -> (units, long_name)
VARIABLES = {
    "step_time": ("s", "time of one forward pass"),
    "tpot": ("s", "time per output token of one user (TPOT)"),
    "ttft": ("s", "time to first token (TTFT)"),
    "tps_per_user": ("token/s", "tokens/s per user"),
    "tps_per_chip": ("token/s", "tokens/s per chip"),
    "tps_total": ("token/s", "tokens per second of all chips"),
    "memory_per_chip": ("B", "memory needed per chip"),
    "mfu": ("1", "model FLOP utilisation: needed flops at peak rate / step time"),
    "mbu": ("1", "memory bandwidth utilisation: needed bytes at peak bandwidth / step time"),
    "busy_compute": ("s", "busy time of the compute units per step"),
    "busy_memory": ("s", "busy time of the memory per step"),
    "busy_network": ("s", "busy time of the network per step"),
    "exposed_compute": ("s", "critical path spent on compute per step"),
    "exposed_memory": ("s", "critical path spent on memory per step"),
    "exposed_network": ("s", "critical path spent on the network per step"),
    "exposed_latency": ("s", "critical path spent on fixed latencies per step"),
    "bottleneck": ("1", "resource with the largest share of the critical path"),
    "chips": ("1", "chips of one instance"),
    "dp": ("1", "data-parallel groups of attention"),
    "ep": ("1", "expert parallelism: groups of chips that share the routed experts"),
    "batch_total": ("sequence", "sequences in flight on all chips"),
    "cost_per_million_tokens": ("USD", "price of the chips per million tokens"),
    "energy_per_token": ("J", "rated power of the chips per token: without host, network and cooling"),
    "block_time": ("s", "time of one kind of block per step, all layers, before overlap"),
    "feasible": ("1", "all constraints hold"),
}

# Of a server: {quantity: what it is}, of which there are a mean and percentiles, and the other variables.
_TIMES = {
    "ttft": "time to first token (TTFT)",
    "tpot": "time per output token of a request (TPOT)",
    "itl": "gap between two tokens of a request (ITL)",
    "latency": "time from the arrival of a request to its last token",
}
PERCENTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
OF_MEANS = {f"{name}_mean": ("s", f"{text}, mean") for name, text in _TIMES.items() if name != "itl"}
OF_QUANTILES = {
    f"{name}_{p}": ("s", f"{text}, {100 * level:.0f}th percentile")
    for name, text in _TIMES.items()
    for p, level in PERCENTILES.items()
}
OF_SERVERS = (
    OF_MEANS
    | OF_QUANTILES
    | {
        "requests_per_s_served": ("1/s", "requests that are finished per second"),
        "requests_per_s_max": ("1/s", "requests per second that the server can take at most"),
        "utilisation": ("1", "requests per second over the most that the server can take"),
        "decode_batch": ("sequence", "sequences that decode, mean"),
        "prefill_share": ("1", "share of the wall time that prompts take from decoding"),
        "mixed_share": ("1", "share of the gaps between tokens that prompts lengthen"),
        "kv_occupancy": ("1", "share of the cache that the requests inside hold, mean"),
        "goodput": ("1/s", "requests per second that keep the grid's limits on TTFT, TPOT and latency"),
        "outside_validity": ("1", "why percentiles are not to be trusted; 0: they are held against simulations"),
    }
)
OF_DISTRIBUTIONS = (*OF_QUANTILES, "goodput")
# Bits of `outside_validity`, in this order: {reason: (what is so, variables that are not to be trusted then)}.
MOST_LOAD = 0.85  # up to which waits are held against simulations
OUTSIDE = {
    f"load_above_{MOST_LOAD}": (
        f"a load above {MOST_LOAD} of the most that it can take, where no percentile of a wait is known",
        OF_DISTRIBUTIONS,
    ),
    "equal_outputs": ("users whose outputs are all equal, who keep the step that they start in", OF_DISTRIBUTIONS),
    "full_of_sequences": ("a server full of sequences, whose wait for room is empirical", OF_DISTRIBUTIONS),
    **{
        f"itl_{p}_at_jump": (
            "about as many gaps hold prompts as it leaves above it, so that it may be one of these or not",
            (f"itl_{p}",),
        )
        for p in PERCENTILES
    },
}
# And of two pools, one of which computes prompts and one decodes.
OF_POOLS = {
    "prefill_utilisation": ("1", "load of the pool that computes prompts over the most that it takes"),
    "decode_utilisation": ("1", "load of the pool that decodes over the most that it takes"),
    "transfer_share": ("1", "share of the time in which the links of the transfer are busy"),
    "transfer_time": ("s", "time to send the cache of a prompt, waiting for the link included"),
    "balanced_ratio": ("1", "prefill instances for each decode instance at which both pools are equally loaded"),
}
VARIABLES |= OF_SERVERS | OF_POOLS
LIMITS = ("compute", "memory", "network", "latency")  # values of `bottleneck`, in this order
# Variables with a value other than a number to order or bound.
FLAGS = ("bottleneck", "feasible", "outside_validity")
MEASURES = tuple(name for name in VARIABLES if name not in (*FLAGS, "block_time"))
COUNTS = ("chips", "dp", "ep", "batch_total")  # made of whole numbers alone

# Variables that need a number of the hardware which not every row has (0: unknown): {variable: (record, field)}.
NEEDS = {"cost_per_million_tokens": ("hardware", "usd_per_hour"), "energy_per_token": ("hardware", "watts")}

# Variables that a phase does not define.
LACKING = {
    "decode": ("ttft", *OF_SERVERS, *OF_POOLS),
    "prefill": ("tpot", "tps_per_user", *OF_SERVERS, *OF_POOLS),
    "serve": ("block_time", *OF_POOLS),
    "disaggregated": ("block_time", "dp", "ep"),
}


def undefined(phases):
    """Variables that none of these phases defines, in the order of `VARIABLES`."""
    return [name for name in VARIABLES if all(name in LACKING[phase] for phase in phases)]


# Which way is better: 1 more of it, -1 less. What is in neither (`dp`, `ep`) has no better side.
_MORE = ("tps_per_user", "tps_per_chip", "tps_total", "mfu", "mbu", "batch_total")
_LESS = ("step_time", "tpot", "ttft", "memory_per_chip", "chips", "cost_per_million_tokens", "energy_per_token")
SENSE = dict.fromkeys(_MORE, 1) | dict.fromkeys(_LESS, -1)
SENSE |= {name: -1 for name in VARIABLES if name.startswith(("busy_", "exposed_"))}
SENSE |= dict.fromkeys((*OF_MEANS, *OF_QUANTILES, "utilisation", "kv_occupancy"), -1)
SENSE |= {name: -1 for name in OF_POOLS if name != "balanced_ratio"}
SENSE |= dict.fromkeys(("requests_per_s_served", "requests_per_s_max", "decode_batch", "goodput"), 1)


def reasons(outside):
    """Reasons of a value of `outside_validity`, in the order of `OUTSIDE`."""
    return [name for i, name in enumerate(OUTSIDE) if int(outside) >> i & 1]


# Flags of several values, small whole numbers: {variable: its values in words}.
WORDED = {"bottleneck": LIMITS, "outside_validity": tuple(" ".join(reasons(i)) for i in range(2 ** len(OUTSIDE)))}
