"""`Work` of one chip: the sizes that the shapes of operators read."""

import dataclasses

from ..specs.fields import record


@record
class Work:
    """One layer of one micro batch on one chip, in tokens, sequences, rows and sizes of the deployment.

    Numbers of Python, and then exact (`count`), or arrays of one floating-point type (a step). Groups of `tp` chips
    share their sequences; cards of `moe_tp` chips share their experts.
    """

    sequences: float  # of a group
    queries: float  # tokens of a sequence in this pass
    tokens: float  # of a group: sequences x queries
    rows: float  # of a group, per chip under sequence parallelism
    all_tokens: float  # of all groups
    head_rows: float  # tokens whose logits are wanted
    context: float  # positions that a token may attend to
    routed_rows: float  # of the experts of a card, of the busiest one in a step
    experts: float  # of a card: those that are read (a step), or those that it holds (parameters)
    tp: float
    kv_split: float
    shared_tp: float
    moe_tp: float
    expert_tile: float | None  # sizes of a routed expert are filled up to a multiple of it; 0, None: they are not
    causal: bool = dataclasses.field(metadata={"static": True})  # whole prompts, keys and values unfolded; else decode
