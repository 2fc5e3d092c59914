"""Engines: what each cannot start, what it does otherwise, and the quantities of its flags."""

from collections.abc import Callable
from typing import NamedTuple

from . import sglang, tensorrt_llm, vllm


class Engine(NamedTuple):
    """Rules of an engine: functions of a `plan.Pool`."""

    unable: Callable  # sentences: why it cannot start the pool at all
    differs: Callable  # sentences: what it does otherwise than the point
    quantities: Callable  # {quantity of its file: value; None: left out}
    of_nodes: Callable | None  # (pool, address of its first node) -> [(end of a name, quantities)]; None: a launcher's
    routed: Callable  # (pools, tool) -> `tools.Command` of what spreads the requests; None: it has nothing for it
    positional: bool  # the model has no flag


ENGINES = {
    "vllm": Engine(vllm.unable, vllm.differs, vllm.quantities, vllm.of_nodes, vllm.routed, True),
    "sglang": Engine(sglang.unable, sglang.differs, sglang.quantities, sglang.of_nodes, sglang.routed, False),
    "tensorrt-llm": Engine(
        tensorrt_llm.unable, tensorrt_llm.differs, tensorrt_llm.quantities, None, tensorrt_llm.routed, True
    ),
}
