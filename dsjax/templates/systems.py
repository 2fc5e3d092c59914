"""Template of a file of measured systems: one of dsjax's own as the example, and every key that it leaves out."""

from ..catalog import reader
from ..schemas import systems as schemas
from ..validation import keys, systems
from ..validation.measured import METRICS
from .lines import head, joined, line

OF_RUN = ("id", "metric", "value", "chips")  # required keys that differ between the systems of a study


def text(use):
    """A file of one study with one system, complete, of a rate of decode; `use`: the command that reads it."""
    file = systems.read()
    example = next(x.given for x in file.systems if x.complete and x.used["metric"] == "decode")
    study = ["id", *(key for key in keys.REQUIRED if key not in OF_RUN)]
    run = [*OF_RUN, *(key for key in example if key not in (*study, *OF_RUN, "study"))]
    left = [key for key in keys.KEYS if key not in (*study, *run)]
    own = reader.read_toml(systems.FILE)["defaults"]
    said = (
        "Measured systems, an example to replace by one's own; what a source leaves open is left out.",
        f"Then {use}",
    )
    return joined(
        *head("systems", *said),
        "",
        "[[study]]".ljust(41) + f"# {keys.SECTIONS['study']}",
        *(line(key, example["study"] if key == "id" else example[key], _meaning(key)) for key in study),
        "",
        "[[study.system]]",
        *(line(key, example[key], _meaning(key)) for key in run),
        "",
        "# What may be left out, with its default where it has one.",
        *(line(key, own.get(key, _blank(key)), _meaning(key), off=True) for key in left),
        "",
        "# [defaults]".ljust(41) + f"# {keys.SECTIONS['defaults']}: any key that has a default above",
    )


def _meaning(key):
    if key == "metric":
        return "; ".join(f"{name}: {x.doc} [{x.units}]" for name, x in METRICS.items())
    if key == "value":
        return keys.NUMBERS[key]["doc"]
    found = schemas.value(key)
    return found["description"] + (f": {', '.join(found['enum'])}" if "enum" in found else "")


def _blank(key):
    if key in keys.FLAGS:
        return key == "complete"
    return "?"
