"""TensorRT-LLM, its PyTorch backend: attention over all chips of a stage, or on each of them."""

import math

from .. import tools
from . import common

NAME = "TensorRT-LLM"
TOKENS = 8192  # of a step, its own default
GRAPHS = 128  # sequences of the largest step of decode that is recorded, its own default


def unable(pool):
    """Why it cannot start the pool."""
    if pool.dp > 1 and not (pool.routed and pool.tp == 1):
        yield (
            f"tp = {pool.tp}, dp = {pool.dp}: {NAME} has attention over all {pool.stage} chips of a stage (tp = "
            f"{pool.stage}) or, of a model with experts, on each of them (tp = 1)"
        )
    if pool.model.quantisation:
        yield f"weights in {pool.model.quantisation}: {NAME} loads a checkpoint as it is; expected one of them"
    yield from common.no_drafts(pool)


def differs(pool):
    """What it does otherwise."""
    if pool.dispatch != "auto" and pool.routed and pool.ep > 1:
        yield f"dispatch_mode = {pool.dispatch}: {NAME} takes the way of an exchange by itself"
    if pool.chunked is False and pool.phase == "serve":
        yield f"batching = prefill-first: {NAME} puts whole prompts into steps of decode"
    if pool.kv_split > 1:
        yield f"kv_split = {pool.kv_split}: {NAME} splits a cache in a layout of its own (Helix); left out"
    yield from common.no_sp(pool, NAME)
    yield from common.overlap(pool, NAME, ())


def quantities(pool):
    """{quantity: value} of its flags and of the keys of its configuration.

    Batches are those of a micro batch, of a rank where attention is on each of them. Its share of the memory is that of
    what all but the cache leaves: f = 1 - r / (1 - o), r kept free and o held by the rest, of the whole memory.
    """
    at_once = math.ceil(pool.sequences / pool.pp) if pool.sequences else None
    graphs = math.ceil((pool.at_once or 0) / pool.pp)
    drafted = (at_once or 0) * (1 + pool.mtp)
    return {
        "tp": pool.stage,
        "pp": pool.pp if pool.pp > 1 else None,
        "ep": pool.ep if pool.routed and pool.ep > 1 else None,
        "per_node": pool.per_node if pool.nodes > 1 else None,
        "sequences": at_once,
        "tokens": pool.tokens or (drafted if drafted > TOKENS else None),
        "length": pool.length,
        "chunked": pool.chunked or None,
        "memory": common.share(max(1.0 - pool.reserve / max(1.0 - pool.held, pool.reserve or 1.0), 0.0)),
        "host": "$HOST",
        "port": "$PORT",
        "attention_dp": True if pool.dp > 1 else None,
        "graphs": graphs if graphs > GRAPHS else None,
        "padding": True if graphs > GRAPHS else None,
        "slots": pool.experts + pool.redundant if pool.redundant else None,
        "updates": 1 if pool.redundant else None,
        "draft_algorithm": "MTP" if pool.mtp else None,
        "drafts": pool.mtp or None,
        "kv": pool.model.kv,
        "serial": True if pool.role == "prefill" else None,
        "transfer": "DEFAULT" if pool.transfers else None,
    }


def routed(pools, tool):
    """Its server in front of both pools."""
    if not pools[0].transfers:
        return None
    names = {"prefill": "context_servers", "decode": "generation_servers"}
    tree = {"hostname": "$HOST", "port": "$ROUTER_PORT", "backend": "pytorch"}
    for pool in pools:
        listening = [f"{address}:$PORT" for address in common.addresses(pool)]
        tree[names[pool.role]] = {"num_instances": pool.instances, "urls": listening}
    file = ("router.yaml", tools.yaml(tree))
    return tools.Command("router", {}, tuple(tool.router["program"].split()), ((tool.router["config"], file[0]),), file)
