"""SGLang: `tp` counts all chips of a stage, groups of attention are a part of them."""

import math

from .. import tools
from ..plan import OVERLAPPED
from . import common

NAME = "SGLang"
PROMPTS = 16384  # new tokens of a step of prompts, its own default
DISPATCHED = 128  # tokens of a chip in a low-latency dispatch, its own default
PAGE = 128  # tokens of the largest page of its caches: a step of prompts is a multiple of the page


def unable(pool):
    """Why it cannot start the pool."""
    if pool.copied and pool.ep != pool.stage:
        yield (
            f"moe_tp = {pool.moe_tp}, ep = {pool.ep}: {NAME} with DeepEP has whole experts on every chip of a stage "
            f"(ep = {pool.stage})"
        )
    if not pool.routed and pool.dp > 1 and pool.nodes > 1:
        yield (
            f"dp = {pool.dp} on {pool.nodes} nodes: {NAME} has replicas of a dense model on one node; expected an "
            f"instance of {pool.tp * pool.pp} chips, several times (--instances)"
        )
    if pool.mtp and pool.pp > 1 and pool.role != "prefill" and (pool.dp > 1 or pool.transfers):
        yield f"mtp = {pool.mtp}, pp = {pool.pp}: {NAME} drafts in stages with one group of attention, in one pool"
    if pool.mtp and pool.pp > 1 and pool.modules > 1:
        yield f"mtp = {pool.mtp}, pp = {pool.pp}: {NAME} drafts in stages with one module, the model has {pool.modules}"
    if pool.pipeline in OVERLAPPED and pool.copied and pool.picks == "shared":
        yield f"pipeline = {pool.pipeline}: {NAME} has no two micro batches where layers share the picks of an indexer"
    if pool.kv_split > 1 and pool.picks and pool.transfers:
        yield f"kv_split = {pool.kv_split}: {NAME} splits no cache of sparse attention that goes from pool to pool"
    yield from common.no_drafts(pool)


def differs(pool):
    """What it does otherwise."""
    split = 1 if pool.copied else pool.stage
    if pool.copied and pool.mode == "layered":
        yield f"dispatch_mode = layered: {NAME} has no copies by domain in decode; DeepEP in mode auto"
    if pool.chunked and pool.mtp:
        yield f"mtp = {pool.mtp}, batching = chunked: {NAME} drafts nothing in steps with prompts, one token a sequence"
    if pool.tokens and pool.tokens % PAGE:
        whole = "whole pages of the cache"
        yield f"{pool.tokens} tokens of a step of prompts: {NAME} takes {whole}, here {_paged(pool.tokens)}"
    if pool.pipeline in (*OVERLAPPED, "sbo") and not pool.copied:
        yield f"pipeline = {pool.pipeline}: {NAME} overlaps a dispatch by DeepEP alone; left out"
    if pool.routed and pool.dense and pool.dp > 1 and pool.tp > 1:
        yield f"dense layers: {NAME} splits them over all {pool.stage} chips of a stage, the point over tp = {pool.tp}"
    if pool.shared and pool.shared_tp != split:
        way = "keeps them whole beside a dispatch" if split == 1 else f"splits them over all {split} chips of a stage"
        yield f"shared experts: {NAME} {way}, the point over shared_tp = {pool.shared_tp}"
    yield from common.no_sp(pool, NAME)
    yield from common.overlap(pool, NAME, (*OVERLAPPED, "sbo"))


def quantities(pool):
    """{quantity: value} of its flags."""
    groups = pool.dp if pool.routed else 1
    many = groups if groups > 1 else None
    tokens = _paged(pool.tokens) * groups if pool.tokens else None
    dispatched = math.ceil((pool.at_once or 0) * (1 + pool.mtp) / pool.tp) if pool.copied else 0
    drafts = {
        "draft_algorithm": "EAGLE",
        "draft_steps": pool.mtp,
        "draft_width": 1,
        "draft_tokens": pool.mtp + 1,
        "staged_drafts": 1 if pool.pp > 1 and not pool.transfers else None,
    }
    return (drafts if pool.mtp else {}) | {
        "model": common.model(pool),
        "tp": pool.tp * groups,
        "pp": pool.pp if pool.pp > 1 else None,
        "attention_dp": many,
        "replicas": pool.dp if pool.dp > groups else None,
        "ep": pool.ep if pool.routed and pool.ep > 1 else None,
        "dense_tp": 1 if many and pool.dense and pool.tp == 1 else None,
        "head_tp": True if many else None,
        "dispatch": "deepep" if pool.copied else None,
        "dispatch_mode": _mode(pool) if pool.copied else None,
        "two_batches": (pool.pipeline in OVERLAPPED and pool.copied) or None,
        "one_batch": (pool.pipeline == "sbo" and pool.copied) or None,
        "eplb": pool.redundant > 0 or None,
        "redundant": pool.redundant or None,
        "kv_split": pool.kv_split if pool.kv_split > 1 else None,
        "quantisation": pool.model.quantisation,
        "kv": pool.model.kv,
        "length": pool.length,
        "sequences": pool.sequences * groups if pool.sequences else None,
        "tokens": tokens,
        "prompt_tokens": _paged(pool.tokens) if (pool.tokens or 0) > PROMPTS else None,
        "mixed": pool.chunked or None,
        "graphs": math.ceil(pool.at_once / pool.pp) if pool.at_once else None,
        "dispatched": dispatched if dispatched > DISPATCHED else None,
        "memory": common.share(1.0 - pool.reserve - pool.beside),
        "role": pool.role if pool.transfers else None,
        "transfer": "mooncake" if pool.transfers else None,
        "host": "$HOST",
        "port": "$PORT",
    }


def _paged(tokens):
    """Tokens of a step of prompts, up to whole pages of the cache."""
    return PAGE * math.ceil(tokens / PAGE)


def _mode(pool):
    """Both modes where it serves both, the one of its pool or of all steps otherwise."""
    return "auto" if pool.dispatch == "auto" and not pool.transfers else pool.mode


def of_nodes(pool, head):
    """[(what the name of a line ends with, {quantity: value})]: one line for every node."""
    return [("", {"nodes": pool.nodes, "node": "$NODE", "head": f"{head}:$INIT_PORT"} if pool.nodes > 1 else {})]


def routed(pools, tool):
    """Its router: over pools, or over instances that are alike."""
    own, router = [(tool.router["host"], "$HOST"), (tool.router["port"], "$ROUTER_PORT")], tool.router
    if pools[0].transfers:
        flags = [(router["pools"],), *((router[pool.role], url) for pool in pools for url in common.urls(pool))]
    elif pools[0].instances > 1:
        flags = [(router["workers"], *common.urls(pools[0]))]
    else:
        return None
    return tools.Command("router", {}, tuple(router["program"].split()), (*flags, *own))
