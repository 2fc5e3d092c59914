"""Which axes each variable depends on."""

from .caches import remembered
from .trace_cache import outline


@remembered(256)
def layout(plan, dtype="float64"):
    """{variable: (axes its formula can depend on, dtype)}, axes in the order of the plan.

    The values and lengths of the axes do not matter, nor do the choices of a policy that is an axis.
    """
    known = outline(plan, dtype)
    of_inputs = (*plan.leaf_axes, *(axis for axis, _, _ in plan.policies))

    def over(sources):
        found = {axis for i, axis in enumerate(of_inputs) if sources >> i & 1}
        return tuple(axis for axis in plan.axes if axis in found)

    return {name: (over(known.sources[name]), dtype) for name, dtype in known.dtypes.items()}
