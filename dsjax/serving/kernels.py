"""Times of the kinds of kernel at one point (dsjax/MODEL.md, section 4)."""

import copy
import functools
import operator

import jax
import jax.numpy as jnp

from ..formulas import attention, roofline
from ..formulas.roofline import Cost
from ..formulas.shapes import Gemm
from ..specs.records import WIDTHS


def quantised_bytes(precision):
    """Bytes moved to make an operand of a GEMM outside the experts from an activation: b_a + w where w < b_a, else 0.

    w: width of the operands of the rate, 2 B (bf16), 1 B (fp8, int8), 1/2 B (fp4).
    """
    width = jax.lax.select_n(precision.weight_rate, *(jnp.asarray(x, jnp.result_type(float)) for x in WIDTHS))
    read = precision.activation_bytes
    return jnp.where(width < read, read + width, 0.0)


class Kernels:
    """Times of the kinds of kernels at one point (section 4)."""

    def __init__(self, point, gemm, expert_gemm, attention, pointwise):
        self.point, self.curve, self.hw, self.precision = point, point.curve, point.hardware, point.precision
        self._gemm, self._expert_gemm, self._attention, self._pointwise = gemm, expert_gemm, attention, pointwise
        self._share = None  # of the cores, and so of what is reached of the compute rates; None: all

    def with_share(self, share):
        """The same on a share of the cores: that share of the compute rates is reached, the peak stays."""
        other = copy.copy(self)
        other._share = share
        return other

    def _time(self, flops, n_bytes, rate, efficiency):
        cost = Cost(flops=flops, charged_flops=flops, bytes=n_bytes)
        peak = roofline.flops_per_s(self.hw, rate)
        if self._share is not None:  # of what is reached, not of the peak: needed flops stay flops at the peak
            efficiency = efficiency._replace(compute=self._share * efficiency.compute)
        return roofline.kernel(cost, peak, self.hw.hbm_bytes_per_s, efficiency, self.hw.roofline_overlap)

    def gemms(self, shapes):
        """{operator: Time} of GEMMs outside the experts."""

        def time(g, m, k, n):
            present, (g, m, k, n) = _present(g, m, k, n)
            shape = Gemm(groups=g, m=m, k=k, n=n)
            n_bytes = shape.weights * self.precision.weight_bytes
            n_bytes += (shape.inputs + shape.outputs) * self.precision.activation_bytes
            curve = self._gemm(self.curve, m, k, n, g, self.precision.weight_rate)
            return present * self._time(shape.flops, n_bytes, self.precision.weight_rate, curve)

        return roofline.each(time, {name: (x.groups, x.m, x.k, x.n) for name, x in shapes.items()})

    def expert(self, shape, side=None):
        """Time of one GEMM of an expert; `side` of the routed ones, which are grouped."""
        present, (g, m, k, n) = _present(shape.groups, shape.m, shape.k, shape.n)
        shape = Gemm(groups=g, m=m, k=k, n=n)
        n_bytes = shape.weights * self.precision.expert_bytes
        n_bytes += (shape.inputs + shape.outputs) * self.precision.activation_bytes
        rate = self.precision.expert_rate
        if side is None:
            curve = self._gemm(self.curve, m, k, n, g, rate)
        else:
            curve = self._expert_gemm(self.curve, side, m, k, n, rate)
        return present * self._time(shape.flops, n_bytes, rate, curve)

    def core(self, load):
        """Time of the attention core, mean of all layers (section 3)."""
        shape, precision, model = load.core, self.precision, self.point.model
        moved = (shape.inputs + shape.outputs + load.kv_as_activations) * precision.activation_bytes
        cached = load.kv_elements * precision.kv_bytes

        def time(share):  # of the positions
            pairs, read = (attention.causal_pairs(share), 1.0) if load.causal else (share, share)
            curve = self._attention(self.curve, share * load.positions, load.sequences, load.positions, load.causal)
            return self._time(pairs * shape.flops, moved + read * cached, precision.attention_rate, curve)

        # Not stacked, as GEMMs are: these have the most elements of all that is evaluated before the last stage.
        whole, window = (time(share) for share in attention.shares(model, self.point.workload.context))
        sliding = attention.sliding_share(model)
        return (1.0 - sliding) * whole + sliding * window

    def scores(self, shape, load):
        """Time of the indexer's scores, whose keys have one byte an element (section 3)."""
        n_bytes = shape.inputs * self.precision.activation_bytes + shape.kv
        curve = self._attention(self.curve, load.positions, load.sequences, load.positions, load.causal)
        if curve.start_s is not None:  # nothing else takes time where there is no indexer
            curve = curve._replace(start_s=jnp.where(shape.flops > 0.0, curve.start_s, 0.0))
        return self._time(shape.flops, n_bytes, self.precision.attention_rate, curve)

    def pointwise(self, elements, layers=None, n_bytes=0.0):
        """Time of pointwise work that reads and writes `elements` of activations and `n_bytes` beside them.

        `layers`: its share of a layer's launches.
        """
        efficiency = self._pointwise(self.curve, layers)
        n_bytes = n_bytes + elements * self.precision.activation_bytes
        seconds = n_bytes / (self.hw.hbm_bytes_per_s * efficiency.memory)
        ideal = n_bytes / self.hw.hbm_bytes_per_s
        start = efficiency.start_s
        return roofline.Time(exposed_memory=seconds, busy_memory=seconds, ideal_memory=ideal, exposed_latency=start)


def _present(*sizes):
    """(1.0 or 0.0, sizes) of a shape; one without work, which the model does not have, gets finite stand-ins."""
    present = functools.reduce(operator.mul, sizes) > 0.0
    return jnp.where(present, 1.0, 0.0), [jnp.where(present, size, 1.0) for size in sizes]
