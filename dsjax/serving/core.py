"""The core model: its policies, blocks and what it reads."""

from ..catalog.reader import DATA
from ..formulas.exchange import MODES
from ..formulas.pipelines import PIPELINES
from ..specs.records import RECORDS
from .constraints import CONSTRAINTS
from .definition import Policy, Study
from .operators import BLOCKS
from .phases import DECODE, PREFILL
from .step import step

CORE = Study(
    name="core",
    path=DATA / "core.toml",
    title="DeepSeek-V3-class model",
    step=step,
    records=RECORDS,
    policies={
        "phase": Policy("phase", {"decode": DECODE, "prefill": PREFILL}, "what a step does, or a server"),
        "pipeline": Policy("pipeline", PIPELINES, "what runs beside what"),
        "dispatch_mode": Policy("exchange", MODES, "how tokens go to the experts and back"),
    },
    deployment=(
        "tp",
        "moe_tp",
        "shared_tp",
        "kv_split",
        "ep",
        "redundant_experts",
        "sp",
        "pp",
        "chips",
        "batch",
        "concurrency",
        "prompts",
        "mtp",
    ),
    workload=(
        "context",
        "isl",
        "osl",
        "context_cv",
        "acceptance",
        "acceptance_decay",
        "expert_imbalance",
        "expert_cv",
        "expert_cv_placed",
        "unhidden",
        "software_factor",
        "memory_reserve",
    ),
    blocks=BLOCKS,
    constraints=CONSTRAINTS,
    ties=("-batch", "-concurrency"),
    general=True,
)
