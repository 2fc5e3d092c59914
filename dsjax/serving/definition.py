"""`Study`: a model of a step, its function, records, policies, blocks and constraints."""

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from ..catalog import reader
from ..formulas.operators import kinds
from ..formulas.operators.shapes import number


class Policy(NamedTuple):
    """An axis of choices: functions, or records of functions, that a step takes as one argument."""

    argument: str
    choices: dict  # {label: function or NamedTuple of functions}
    doc: str = ""  # what is chosen


@dataclasses.dataclass(frozen=True, eq=False)
class Study:
    """A model of one forward pass and its choices."""

    name: str
    title: str
    path: Path  # its data file: catalog rows, defaults, accepted values, published rows
    step: Callable  # (point, **policies) -> metrics.Step
    records: dict  # {record: class of `specs.records`, or the study's own}
    policies: dict  # {axis: Policy}, e.g. of the pipeline
    deployment: tuple  # fields of the deployment it reads
    workload: tuple  # fields of the workload it reads
    blocks: dict  # {block of a step: model -> layers that hold it}, in the order of execution
    constraints: dict  # {name: `formulas.constraints.Constraint`}, those of a grid's bounds apart
    ties: tuple  # variables that order equal points: "-x" largest first, "x" smallest first, then the grid's order
    curve: bool = True  # whether `step` takes a curve, an `efficiency.Form`
    general: bool = False  # the core model, or a server of its steps; else a published study
    requests: tuple = ()  # of a server: fields of the requests that it reads
    extends: "Study | None" = None  # of a server: the model of its steps, whose defaults are also its own
    pools: tuple = ()  # of a server of several pools: their names, before those of what each has of its own

    @functools.cached_property
    def data(self):
        """The study's own file: catalog rows, defaults, accepted values, published rows."""
        own = reader.read_toml(self.path)
        if self.extends is None:
            return own
        read = {*self.workload, *self.deployment, *self.policies, *self.kinds}
        lent = {
            name: value
            for default, value in self.extends.data["defaults"].items()
            for name in (default, *(f"{pool}_{default}" for pool in self.pools))
            if name in read
        }
        return self.extends.data | own | {"defaults": lent | own["defaults"]}

    @functools.cached_property
    def kinds(self):
        """{name of what a label chooses: kind of the catalog's row}: the records, and the curves of each pool."""
        curves = {f"{pool}_curve": "curve" for pool in self.pools} if self.pools else {"curve": "curve"}
        kinds = {f"{pool}_{kind}": kind for pool in (*self.pools, "transfer") for kind in reader.KINDS}
        return {name: kinds.get(name, name) for name in self.records} | (curves if self.curve else {})

    def row_class(self, name, row):
        """The class that a row of a record, or of a curve, fills."""
        return reader.record_class(self.records, "curve" if self.kinds[name] == "curve" else name, row)

    @property
    def tables(self):
        """The catalog rows among the data: {record: {row: {field: value}}}."""
        return {name: table for name, table in self.data.items() if name in reader.KINDS}


def once(model):
    """Layers of a block that the model has once."""
    del model
    return 1


def every_layer(model):
    """Layers of a block that every layer holds."""
    return model.num_hidden_layers


def index_layers(model):
    """Layers with an indexer of their own, where attention is sparse."""
    return model.index_layers


def attention_layers(model):
    """Layers with attention of the sizes that most layers have."""
    return kinds.attentions(kinds.common(model))


def windowed_layers(model):
    """Layers with a window and sizes of their own."""
    return kinds.own_sized(model)


def compressed_layers(model):
    """Layers with compressed positions among which an indexer picks."""
    return number(model.csa_layers)


def more_compressed_layers(model):
    """Layers with more compressed positions, all attended to."""
    return number(model.hca_layers)


def linear_layers(model):
    """Layers with a state instead of a cache."""
    return number(model.linear_layers)


# Layers with attention, or what is in its place; with an FFN; with a dense one; with experts.
mixer_layers, ffn_layers, dense_layers, moe_layers = kinds.mixers, kinds.ffns, kinds.dense, kinds.experts


# What the one layer of an MTP module holds: it is a MoE layer, with an indexer of its own.
OF_A_LAYER = (mixer_layers, attention_layers, index_layers, ffn_layers, moe_layers)
