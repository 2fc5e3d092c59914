"""What engines have in common: shares of the memory, addresses, sentences."""

import math

MODEL = "$MODEL"
NVIDIA = "NVIDIA"


def addresses(pool):
    """Placeholders of the first nodes of its instances."""
    return [f"${pool.address}_{i}" for i in range(pool.instances)]


def urls(pool):
    """Placeholders of where its instances listen."""
    return [f"http://{address}:$PORT" for address in addresses(pool)]


def share(value):
    """A share of the memory, rounded down to 0.001."""
    return math.floor(1e3 * value + 1e-6) / 1e3


def model(pool):
    """What is loaded: a name at Hugging Face, or a placeholder."""
    return pool.model.path or MODEL


def no_drafts(pool):
    """Why there is nothing to draft with."""
    if pool.mtp and not pool.modules:
        yield f"mtp = {pool.mtp}: the checkpoint has no module for multi-token prediction"


def no_sp(pool, name):
    """That sequence parallelism is not there."""
    if pool.sp > 1:
        yield f"sp = {pool.sp}: {name} has no sequence parallelism of a group's prompts; left out"


def overlap(pool, name, known):
    """That a pipeline is not among the `known` ones."""
    if pool.pipeline not in ("naive", *known):
        yield f"pipeline = {pool.pipeline}: {name} has no such overlap; left out"
