"""vLLM: data parallelism of attention, experts over all chips of a stage."""

from .. import tools
from ..plan import OVERLAPPED
from . import common

NAME = "vLLM"


def unable(pool):
    """Why it cannot start the pool."""
    sizes, whole = (pool.moe_tp, pool.ep), pool.stage
    if pool.routed and sizes not in ((1, whole), (whole, 1)):
        yield (
            f"moe_tp = {pool.moe_tp}, ep = {pool.ep}: {NAME} splits experts over all {whole} chips of a stage, whole "
            f"ones (ep = {whole}) or each of them (moe_tp = {whole})"
        )
    if pool.sequences and pool.tokens and pool.tokens < pool.sequences:
        yield f"{pool.tokens} tokens of a step: {NAME} wants one for each of {pool.sequences} sequences at least"
    if pool.kv_split > 1 and not pool.latent:
        kv_heads = max(pool.kv_heads, 1)
        if pool.transfers or pool.kv_split > pool.tp // kv_heads or pool.heads // kv_heads % pool.kv_split:
            yield f"kv_split = {pool.kv_split}: {NAME} splits {kv_heads} KV heads over chips that hold copies of them"
    elif pool.kv_split not in (1, pool.tp) and pool.transfers:
        yield f"kv_split = {pool.kv_split}: {NAME} sends a cache that all of a group hold, or share (tp = {pool.tp})"
    if pool.mtp > pool.modules > 0 and pool.mtp % pool.modules:
        yield f"mtp = {pool.mtp}: {NAME} runs the {pool.modules} modules of the checkpoint a whole number of times"
    yield from common.no_drafts(pool)


def differs(pool):
    """What it does otherwise."""
    if _copied(pool) and pool.phase == "serve" and pool.modes[0] != pool.modes[1]:
        yield f"dispatch_mode = {pool.dispatch}: {NAME} has one mode for prompts and decode, here {pool.mode}"
    if _copied(pool) and pool.mode == "layered":
        yield f"dispatch_mode = layered: {NAME} has DeepEP's high-throughput kernels for it"
    if pool.copied and not _copied(pool):
        yield f"dispatch_mode = {pool.mode}: one group has all tokens, and {NAME} sends none"
    if pool.pipeline in OVERLAPPED and not _copied(pool):
        yield f"pipeline = {pool.pipeline}: {NAME} overlaps two micro batches with a dispatch by DeepEP alone; left out"
    if pool.chunked is False and pool.role == "serve" and pool.phase == "serve":
        yield f"batching = prefill-first: {NAME} cuts prompts and puts them into steps of decode (chunked)"
    if pool.shared and pool.routed and pool.ep > 1 and pool.dp > 1 and pool.shared_tp > 1:
        yield f"shared_tp = {pool.shared_tp}: {NAME} keeps shared experts whole where experts are whole and dp > 1"
    elif pool.shared and pool.shared_tp != pool.tp:
        yield f"shared_tp = {pool.shared_tp}: {NAME} splits shared experts as attention (tp = {pool.tp})"
    yield from common.no_sp(pool, NAME)
    yield from common.overlap(pool, NAME, OVERLAPPED)


def _copied(pool):
    return pool.copied and pool.dp > 1


def quantities(pool):
    """{quantity: value} of its flags."""
    spread = pool.routed and pool.ep > 1
    drafted, rows = (pool.sequences or 0) * (1 + pool.mtp), (pool.at_once or 0) * (1 + pool.mtp)
    return {
        "tp": pool.tp,
        "pp": pool.pp if pool.pp > 1 else None,
        "dp": pool.dp if pool.dp > 1 else None,
        "expert_parallel": spread or None,
        "dispatch": pool.mode if spread and pool.dp > 1 else None,
        "two_batches": (pool.pipeline in OVERLAPPED and _copied(pool)) or None,
        "eplb": pool.redundant > 0 or None,
        "eplb_config": {"num_redundant_experts": pool.redundant} if pool.redundant else None,
        "kv_split": pool.kv_split if pool.kv_split > 1 else None,
        "quantisation": pool.model.quantisation,
        "kv": pool.model.kv,
        "length": pool.length,
        "sequences": pool.sequences,
        "tokens": pool.tokens or (drafted if drafted > LEAST_TOKENS else None),
        "graphs": rows if rows > GRAPHS else None,
        "memory": common.share(1.0 - pool.reserve),
        "drafts": {"method": "mtp", "num_speculative_tokens": pool.mtp} if pool.mtp else None,
        "transfer": {"kv_connector": "NixlConnector", "kv_role": ROLES[pool.role]} if pool.transfers else None,
        "side_channel": "$(hostname -i)" if pool.transfers else None,
    }


LEAST_TOKENS = 2048  # of a step, its smallest default
GRAPHS = 512  # tokens of the largest step of decode that is recorded, its own default
ROLES = {"prefill": "kv_producer", "decode": "kv_consumer"}


def of_nodes(pool, head):
    """[(what the name of a line ends with, {quantity: value})] of the first node and of the others.

    Groups that fit into a node are counted there; a group of several nodes is one world of them.
    """
    server, group = {"host": "$HOST", "port": "$PORT"}, pool.tp * pool.pp
    if pool.nodes == 1:
        return [("", server)]
    if pool.per_node % group:
        every = {"nodes": pool.nodes, "head": head}
        first, other = {"node": 0}, {"node": "$NODE"}
    else:
        local = pool.per_node // group
        every = {"dp_local": local, "dp_address": head, "dp_port": "$RPC_PORT"}
        first, other = {}, {"dp_start": f"$(({local} * NODE))" if local > 1 else "$NODE"}
    return [("", every | first | server), ("-node", every | other | {"headless": True})]


def routed(pools, tool):
    """The proxy of its source that hands a prompt to one pool and its cache to the other."""
    if not pools[0].transfers:
        return None
    flags = [(tool.router["port"], "$ROUTER_PORT")]
    for pool in pools:
        hosts, ports = (tool.router[f"{pool.role}_{what}"] for what in ("hosts", "ports"))
        flags += [(hosts, *common.addresses(pool)), (ports, *["$PORT"] * pool.instances)]
    return tools.Command("router", {}, tuple(tool.router["program"].split()), tuple(flags))
