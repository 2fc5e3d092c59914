"""Names, units and meanings of every variable of a result: data shared by grids, files and tables."""

# variable -> (units, long_name)
VARIABLES = {
    "step_time": ("s", "time of one forward pass"),
    "tpot": ("s", "time per output token of one user (TPOT)"),
    "ttft": ("s", "time to first token (TTFT)"),
    "tps_per_user": ("token/s", "tokens per second and user"),
    "tps_per_chip": ("token/s", "tokens per second and chip"),
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
LIMITS = ("compute", "memory", "network", "latency")  # values of `bottleneck`, in this order
# Variables with a value other than a number to order or bound.
FLAGS = ("bottleneck", "feasible")
MEASURES = tuple(name for name in VARIABLES if name not in (*FLAGS, "block_time"))
COUNTS = ("chips", "dp", "ep", "batch_total")  # made of whole numbers alone

# Variables that need a number of the hardware which not every row has (0: unknown): {variable: (record, field)}.
NEEDS = {"cost_per_million_tokens": ("hardware", "usd_per_hour"), "energy_per_token": ("hardware", "watts")}

# Variables that a phase does not define.
LACKING = {"decode": ("ttft",), "prefill": ("tpot", "tps_per_user")}


def undefined(phases):
    """Variables that none of these phases defines, in the order of `VARIABLES`."""
    return [name for name in VARIABLES if all(name in LACKING[phase] for phase in phases)]


# Which way is better: 1 more of it, -1 less. What is in neither (`dp`, `ep`) has no better side.
_MORE = ("tps_per_user", "tps_per_chip", "tps_total", "mfu", "mbu", "batch_total")
_LESS = ("step_time", "tpot", "ttft", "memory_per_chip", "chips", "cost_per_million_tokens", "energy_per_token")
SENSE = dict.fromkeys(_MORE, 1) | dict.fromkeys(_LESS, -1)
SENSE |= {name: -1 for name in VARIABLES if name.startswith(("busy_", "exposed_"))}
