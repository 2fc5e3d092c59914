"""The optimum as the SG2260E deployment study's own result file has it, with that file's keys."""

from ..results import files
from ..space import restoring

# Key of the study's file -> name here, by section.
_SECTIONS = {
    "optimal_config": {
        "MLA_TP": "tp",
        "MLA_DP": "dp",
        "MOE_TP": "moe_tp",
        "MOE_EP": "ep",
        "SP": "sp",
        "batch_per_chip": "batch",
        "prompts": "prompts",
        "total_batch": "batch_total",
    },
    "performance": {
        "tps_per_batch": "tps_per_user",
        "FTL": "ttft",
        "tps_per_chip": "tps_per_chip",
        "total_tps": "tps_total",
        "MFU": "mfu",
        "memory_bytes_per_chip": "memory_per_chip",
    },
}
_UNUSED = {"decode": ("sp", "prompts"), "prefill": ("batch",)}


def of(ranked):
    """The first of ranked points: {"chip_count", "model", "point", "optimal_config", "performance"}; {} if none.

    `point` is the whole configuration by dsjax's names. SI units, nothing rounded; what the phase does not define is
    left out.
    """
    if not ranked.sizes["rank"]:
        return {}
    point = ranked.isel(rank=0)
    phase = point["phase"].item() if "phase" in point else "decode"

    def value(name):
        number = point[name].item()
        whole = name in _SECTIONS["optimal_config"].values() and number == int(number)  # sequences of a server are not
        return int(number) if whole else number

    space = restoring.space(ranked.attrs["dsjax_spec"])
    named = {name: point[name].item() for name in ("hardware", "nic", "model", "precision", "phase") if name in point}
    result = {"chip_count": int(point["chips"].item()), **named}
    result["point"] = {name: point[name].item() for name in (*space.axes, *space.fixed)}
    for section, names in _SECTIONS.items():
        known = {key: name for key, name in names.items() if name in point and name not in _UNUSED.get(phase, ())}
        numbers = {key: value(name) for key, name in known.items() if point[name].item() == point[name].item()}
        result[section] = numbers
    return result


def write_json(ranked, path, force=False):
    """The optimum as a JSON file, written whole or not at all."""
    files.check_text(path, force)
    files.write_text(path, files.to_json(of(ranked)) + "\n", force)
