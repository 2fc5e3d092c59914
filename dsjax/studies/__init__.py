"""Published studies, slips included, and what the engine needs to know of one."""

import dataclasses
import functools
import importlib
from collections.abc import Callable
from pathlib import Path

from ..catalog.rows import DATA, KINDS, read_toml
from ..errors import unknown

FOLDER = Path(__file__).parent


@dataclasses.dataclass(frozen=True)
class Conclusion:
    """A statement of a study, and whether a search of its spaces bears it out."""

    says: str
    computed: str
    holds: bool
    expected: bool = True  # whether it is known to hold; what does not is shown, not fitted


@dataclasses.dataclass(frozen=True, eq=False)
class Study:
    """A model of one forward pass and its choices."""

    name: str
    title: str
    step: Callable  # (point, **policy functions) -> metrics.Step
    records: dict  # {record: class in `specs`, or the study's own}
    policies: dict  # {axis: ((label, {argument: function}), ...)}, e.g. of the pipeline
    deployment: tuple  # fields of the deployment it reads
    workload: tuple  # fields of the workload it reads
    blocks: dict  # {block of a step: model -> layers that hold it}, in the order of execution
    ties: tuple  # variables that order equal points: "-x" largest first, "x" smallest first, then the grid's order
    curve: tuple = ("gemm", "expert_gemm")  # functions of a curve that `step` takes; () if it has no curves
    conclusions: Callable | None = None  # ({sweep of its published figures: Dataset}) -> list of `Conclusion`

    @functools.cached_property
    def data(self):
        """The study's own file: catalog rows, defaults, accepted values, published rows."""
        return read_toml(self.path)

    @property
    def tables(self):
        """The catalog rows among the data: {record: {row: {field: value}}}."""
        return {name: table for name, table in self.data.items() if name in KINDS}

    @property
    def path(self):
        """The study's data file."""
        return (DATA if self.name == "core" else FOLDER) / f"{self.name}.toml"


def once(model):
    """Layers of a block that the model has once."""
    del model
    return 1.0


def every_layer(model):
    """Layers of a block that every layer holds."""
    return model.num_hidden_layers


def dense_layers(model):
    """Layers with a dense FFN."""
    return model.first_k_dense_replace


def moe_layers(model):
    """Layers with experts."""
    return model.num_hidden_layers - model.first_k_dense_replace


def names():
    """Names of all studies."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def get(name, where="study"):
    """The study called `name`; "core" is the core model."""
    if name == "core":
        return importlib.import_module("..serving.step", __name__).CORE
    if name not in names():
        raise unknown(where, "study", name, names())
    return importlib.import_module(f".{name}", __name__).STUDY
