"""The core model: its policies, blocks and what it reads."""

from ..catalog.reader import DATA
from ..formulas import network, pipelines
from ..specs import records
from . import definition, phases
from .step import step


def _definition():
    once, every, dense, moe = (getattr(definition, n) for n in ("once", "every_layer", "dense_layers", "moe_layers"))
    blocks = {"embedding": once} | dict.fromkeys(
        "pointwise q_a kv_a q_b kv_b indexer core kv_exchange o all_reduce".split(), every
    )
    blocks |= dict.fromkeys("router dispatch shared routed combine".split(), moe)
    return definition.Study(
        name="core",
        path=DATA / "core.toml",
        title="DeepSeek-V3-class model",
        step=step,
        records=records.RECORDS,
        policies={
            "phase": (
                ("decode", phases.DECODE),
                ("prefill", phases.PREFILL),
            ),
            "pipeline": (
                ("naive", {"pipeline": pipelines.naive, "splits": pipelines.whole}),
                ("dual-mbatch", {"pipeline": pipelines.dual_micro_batch, "splits": pipelines.halves}),
                ("windows", {"pipeline": pipelines.windows, "splits": pipelines.whole}),
                ("tbo", {"pipeline": pipelines.two_batch_overlap, "splits": pipelines.halves}),
                ("sbo", {"pipeline": pipelines.single_batch_overlap, "splits": pipelines.whole}),
            ),
            "dispatch_mode": network.MODES,
        },
        deployment=("tp", "moe_tp", "shared_tp", "kv_split", "ep", "redundant_experts", "sp", "chips", "batch")
        + ("prompts", "mtp"),
        workload=(
            "context",
            "isl",
            "osl",
            "acceptance",
            "expert_imbalance",
            "unhidden",
            "software_factor",
            "memory_reserve",
        ),
        blocks=blocks | {"dense": dense, "head": once, "mtp": once},
        ties=("-batch",),
        curve=("gemm", "expert_gemm", "attention", "pointwise"),
    )


CORE = _definition()
