"""What a row of the table of operators holds, and the kinds of row that it has (`operators`)."""

import dataclasses
from collections.abc import Callable

from ..formulas.operators import kinds
from ..formulas.operators import layers as ffns
from .definition import attention_layers, dense_layers, index_layers, linear_layers, moe_layers, windowed_layers
from .kernels import Kernels


def whole(model):
    """All of an operator's weights are its own."""
    del model
    return 1


def untied(model):
    """The embedding has a table of its own, unless it is the head's."""
    return 1 - model.tie_word_embeddings


def lent(model):
    """The head of the MTP module is the model's."""
    del model
    return 0


@dataclasses.dataclass(frozen=True)
class Operator:
    """One operator of the core model: a row of the table."""

    name: str
    section: str  # of the model, as counts and memory group it: one of SECTIONS
    block: str  # of a step, as `block_time` shows it
    part: str  # of a MoE layer, as pipelines overlap it (a field of `pipelines.LayerTimes`); REST outside of layers
    kernel: Callable | None  # method of `Kernels`: (shape, operator, work) -> Time; None: no time of its own
    shape: Callable  # (model, work) -> shape of one layer on one chip
    layers: Callable = attention_layers  # model -> layers that hold it
    weights: str = "weight_bytes"  # field of the precision: bytes of a parameter
    replicated: bool = False  # every chip of a tensor-parallel group does the whole of it, so tp multiplies it
    causal: bool | None = None  # in prefill alone (True), in decode alone (False), in both
    launches: float | None = None  # share of a layer's launches of pointwise kernels; None: one launch of its own
    fused: bool = False  # into the launch of the pointwise row before it
    counted: bool = True  # as work of the model; what only moves data about is not
    active: bool = True  # whether its parameters count among those that a token uses; norms and biases do not
    routed: bool = False  # weights of the routed experts, of which a token uses top-k
    stored: Callable = whole  # model -> share of its weights that no other operator stores
    grouped: str = ""  # its name in a model of grouped-query attention
    needs: str = ""  # field of the model without which there is no such operator
    view: Callable = kinds.common  # model -> the model that its layers see

    def name_in(self, model):
        """Name of the operator in a model, by the kind of attention."""
        return self.grouped if self.grouped and not model.kv_lora_rank else self.name

    def replicated_in(self, model):
        """Whether every chip of a group does the whole operator: MLA shares a latent, grouped queries split heads."""
        return self.replicated and self.name_in(model) != self.grouped


EMBEDDING, NORM, ATTENTION, LINEAR, DENSE, MOE, HEAD, DRAFT = SECTIONS = (
    "embedding",
    "norm",
    "attention",
    "linear",
    "dense",
    "moe",
    "head",
    "mtp",
)
REST = "rest"


def norm(name, shape, layers, part="before", kernel=Kernels.pointwise, **options):
    """A norm, or other work on the residual stream before a product."""
    return Operator(name, NORM, "pointwise", part, kernel, shape, layers, replicated=True, active=False, **options)


def mix(name, part, layers):
    """Hyper-connections around a layer: streams collapsed before it, mixed with its result."""
    return norm(name, ffns.mix, layers, part, Kernels.mixing, weights="head_bytes", needs="residual_streams")


def bias(name, section, block, shape, layers, **options):
    """Parameters that are added in passing: counted and stored, never timed."""
    return Operator(name, section, block, REST, None, shape, layers, active=False, **options)


def projection(name, part, shape, block=None, kernel=Kernels.gemm, **options):
    """A product with weights of attention."""
    return Operator(name, ATTENTION, block or name, part, kernel, shape, **options)


def compression(name, shape, layers, needs):
    """The product that makes compressed positions."""
    return projection(name, "before", shape, "indexer", layers=layers, replicated=True, needs=needs)


def positions(name, shape, layers, needs):
    """Parameters of positions of compressed or pooled keys: counted and stored, never timed."""
    return Operator(name, NORM, "indexer", REST, None, shape, layers, replicated=True, active=False, needs=needs)


def dense(name, shape):
    """A product of a dense FFN."""
    return Operator(name, DENSE, "dense", REST, Kernels.gemm, shape, dense_layers, "dense_bytes")


def indexer(name, kernel, shape, **options):
    """A kernel of the indexer of sparse attention."""
    return Operator(name, ATTENTION, "indexer", "before", kernel, shape, index_layers, replicated=True, **options)


def experts(name, block, part, kernel, shape, **options):
    """A kernel of a MoE FFN."""
    return Operator(name, MOE, block, part, kernel, shape, moe_layers, **{"weights": "expert_bytes"} | options)


def collective(name, part, kernel, shape, layers, block=None, **options):
    """What moves hidden states between chips."""
    return Operator(name, ATTENTION, block or name, part, kernel, shape, layers, counted=False, **options)


def linear(name, part, kernel, shape, **options):
    """A kernel of a layer with a state instead of a cache."""
    options = {"needs": "linear_layers"} | options
    return Operator(name, LINEAR, "linear", part, kernel, shape, linear_layers, **options)


def windowed(row):
    """An operator of attention in layers with a window and sizes of their own."""
    name = f"sliding_{row.grouped or row.name}"
    return dataclasses.replace(
        row, name=name, layers=windowed_layers, needs="sliding_head_dim", view=kinds.windowed, grouped=name
    )


LATENT = {"weights": "shared_bytes", "replicated": True, "needs": "expert_hidden_size"}
