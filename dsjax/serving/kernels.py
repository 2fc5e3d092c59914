"""Times of the kinds of kernel at one point (dsjax/MODEL.md, sections 4 and 5).

A kernel of the table of operators is a method of `Kernels`: (shape, operator, work) -> Time. Those of attention, and of
what is in its place, are methods of `cores.Cores`.
"""

import copy
import dataclasses
import functools
import operator

from .. import arrays
from ..formulas import exchange, network, roofline
from ..formulas.operators import kinds, layers
from ..formulas.operators.shapes import Gemm, Pointwise, chosen
from ..formulas.products import operands
from ..formulas.roofline import Cost, Time
from ..specs.records import WIDTHS
from .cores import Cores


def quantised_bytes(precision, index):
    """Bytes moved to make an element of an operand at `RATES[index]` from an activation: b_a + w where w < b_a, else 0.

    w: width of the operands of the rate, 2 B (bf16), 1 B (fp8, int8), 9/16 B (fp4).
    """
    width, read = _width(index), precision.activation_bytes
    return arrays.where(width < read, read + width, 0.0)


def operand_bytes(precision, index):
    """Bytes of an element that a GEMM at `RATES[index]` reads of its rows: min(b_a, w), w the width of its operands."""
    width, read = _width(index), precision.activation_bytes
    return arrays.where(width < read, width, read)


def _width(index):
    return arrays.choose(index, *WIDTHS)


class Kernels(Cores):
    """Times of kernels at one point: efficiencies of a `curve`, dispatch and combine of a `mode`.

    `collective`: function (block, Time) -> Time applied to every collective (`roofline.as_is`: unchanged).
    """

    def __init__(self, point, split, curve, mode, collective=roofline.as_is):
        self.point, self.split, self.hw, self.precision = point, split, point.hardware, point.precision
        self._curve, self._mode, self._collective = curve, mode, collective
        self._sent = {}  # {id of a `Work`: (it, its exchange)}
        self._share = None  # of the cores, and so of what is reached of the compute rates; None: all
        self._model = point.model
        self.module = False  # whether they are of the layer of an MTP module, which has attention and experts

    def with_share(self, share):
        """These kernels on a `share` of the cores, which scales the share of peak that is reached, not the peak."""
        other = copy.copy(self)
        other._share = share
        return other

    def seeing(self, model):
        """These kernels in layers that see another `model`: heads and widths of their own."""
        if model is self._model:
            return self
        other = copy.copy(self)
        other._model, other._sent = model, {}
        return other

    def of_module(self):
        """These kernels in the layer of an MTP module."""
        other = copy.copy(self)
        other.module = True
        return other

    def _time(self, flops, n_bytes, rate, efficiency):
        cost = Cost(flops=flops, charged_flops=flops, bytes=n_bytes)
        peak = roofline.flops_per_s(self.hw, rate)
        if self._share is not None:  # of what is reached, not of the peak: needed flops stay flops at the peak
            efficiency = efficiency._replace(compute=self._share * efficiency.compute)
        return roofline.kernel(cost, peak, self.hw.hbm_bytes_per_s, efficiency, self.hw.roofline_overlap)

    def _links(self):
        return network.links(self.hw, self.point.nic)

    # ---- products with weights

    def joined(self, shape, row, work=None):
        """A GEMM of the operand of the one before it, whose launch and ramp an engine that fuses them does not pay."""
        return self.gemm(shape, row, work, 1.0 - self.point.engine.fused_projections)

    def gemm(self, shape, row, work=None, paid=None):
        """A GEMM outside the routed experts, weights and rate of its operator; `paid` of its latency (None: all)."""
        del work
        rate = getattr(self.precision, row.weights.replace("_bytes", "_rate"))
        return self._product(shape, getattr(self.precision, row.weights), rate, self._curve.gemm, paid)

    def expert(self, shape, row, work=None):
        """A GEMM of the shared experts, launched beside the routed ones where the engine does so."""
        return self.gemm(shape, row, work, 1.0 - self.point.engine.shared_beside)

    def beside(self, shape, row, work=None):
        """SwiGLU of the shared experts, launched as they are."""
        made = self._made(self.precision.shared_rate, shape.outputs)
        time = self.pointwise(shape, row, work, made)
        if time.exposed_latency is None:
            return time
        paid = 1.0 - self.point.engine.shared_beside
        return dataclasses.replace(time, exposed_latency=paid * time.exposed_latency)

    def routed_up(self, shape, row=None, work=None):
        """Gate and up of the routed experts: one grouped GEMM."""
        del row, work
        return self._grouped(shape, "up")

    def routed_down(self, shape, row=None, work=None):
        """Down projection of the routed experts: one grouped GEMM."""
        del row, work
        return self._grouped(shape, "down")

    def _grouped(self, shape, side):
        def efficiency(knots, m, k, n, groups, operands):
            del groups
            return self._curve.expert_gemm(knots, side, m, k, n, operands, self.split.slots)

        return self._product(shape, self.precision.expert_bytes, self.precision.expert_rate, efficiency)

    def _product(self, shape, weight_bytes, rate, efficiency, paid=None):
        present, (g, m, k, n) = _present(shape.groups, shape.m, shape.k, shape.n)
        shape = Gemm(groups=g, m=m, k=k, n=n)
        n_bytes = shape.weights * weight_bytes + shape.inputs * operand_bytes(self.precision, rate)
        n_bytes = n_bytes + shape.outputs * self.precision.activation_bytes
        reached = efficiency(self.point.curve, m, k, n, g, operands(rate, weight_bytes))
        if paid is not None and reached.start_s is not None:
            reached = reached._replace(start_s=paid * reached.start_s)
            if reached.core_s is not None:
                reached = reached._replace(core_s=paid * reached.core_s)
        return present * self._time(shape.flops, n_bytes, rate, reached)

    # ---- pointwise work

    def pointwise(self, shape, row, work=None, n_bytes=0.0):
        """Elements read and written, and `n_bytes` more bytes [B]; no time where both are 0."""
        del work
        elements = shape.inputs + shape.outputs
        launches = row.launches if row.launches is None else row.launches * self.point.engine.pointwise_launches
        reached = self._curve.pointwise(self.point.curve, launches)
        n_bytes = n_bytes + elements * self.precision.activation_bytes
        return self._streamed(n_bytes, reached, elements)

    def lookup(self, shape, row, work=None):
        """Rows of a table: one read and one written for each, zeros too."""
        del work
        return self.pointwise(Pointwise(weights=0, inputs=shape.outputs, outputs=shape.outputs), row)

    def _made(self, index, elements):
        """Bytes of passes that make operands at `RATES[index]` after a norm or an activation, where not fused [B]."""
        return self.point.engine.quantising * quantised_bytes(self.precision, index) * elements

    def normed(self, shape, row, work):
        """Norms and rotation before the core of attention, and the operands of the GEMMs there."""
        model, unfolded = self.point.model, 0.0
        if work.causal:
            unfolded = work.tokens * model.kv_lora_rank
            if model.key_is_value is not None:
                unfolded = (1.0 - model.key_is_value) * unfolded
        latent = chosen(model.kv_lora_rank, work.rows * model.q_lora_rank + unfolded, 0.0)
        of, among = kinds.attentions(kinds.common(model)), kinds.mixers(model)
        if of is not among and not self.module:
            latent = of / arrays.where(among > 0.0, among, 1.0) * latent
        elements = work.rows * model.hidden_size + latent
        return self.pointwise(shape, row, n_bytes=self._made(self.precision.weight_rate, elements))

    def quantising(self, shape, row, work):
        """The norm before the FFN, the operands of its GEMMs, and that of the output projection of attention."""
        model, precision = self.point.model, self.precision
        operands = layers.output_operands(kinds.common(model) if self.module else model, work, self.module)
        results = operands * quantised_bytes(precision, precision.weight_rate)
        hidden = work.rows * model.hidden_size
        ffn = chosen(
            kinds.experts(model),
            self._made(precision.expert_rate, hidden),
            self._made(precision.dense_rate, hidden),
        )
        return self.pointwise(shape, row, n_bytes=results + ffn)

    def activated(self, shape, row, work):
        """SwiGLU of a dense FFN, and the operand of its second GEMM."""
        return self.pointwise(shape, row, work, self._made(self.precision.dense_rate, shape.outputs))

    def sorting(self, shape, row, work):
        """SwiGLU of the routed experts, the operand of their second GEMM, and the rows that have to move by expert."""
        made = self._made(self.precision.expert_rate, shape.outputs)
        return self.pointwise(shape, row, n_bytes=made + self._exchanged(work)[2])

    # ---- collectives

    def dispatch(self, shape, row, work):
        """Rows to their experts."""
        del shape
        return self._collective(row.block, self._exchanged(work)[0])

    def combine(self, shape, row, work):
        """Results of the experts back."""
        del shape
        return self._collective(row.block, self._exchanged(work)[1])

    def _exchanged(self, work):
        if id(work) not in self._sent:
            self._sent[id(work)] = work, self._exchange(work)
        return self._sent[id(work)][1]

    def _exchange(self, work):
        hidden = layers.expert_hidden(self.point.model)
        there, back = self.precision.dispatch_bytes, self.precision.combine_bytes
        rows, tokens = work.routed_rows * hidden, work.all_tokens * hidden
        traffic = exchange.Traffic(
            dispatch_rows=rows * there,
            combine_rows=rows * back,
            dispatch_tokens=tokens * there,
            combine_tokens=tokens * back,
        )
        return self._mode.send(self.point, self.split, traffic, work.causal)

    def all_reduce(self, shape, row, work):
        """Sum of the hidden states over a tensor-parallel group."""
        hw, n_bytes = self.hw, shape.outputs * self.precision.activation_bytes
        rise = hw.all_reduce_start_s, hw.all_reduce_rise_s, hw.all_reduce_direct
        peaks = hw.scale_up_bytes_per_s, hw.scale_up_peer_bytes_per_s
        return self._collective(row.block, network.all_reduce(n_bytes, work.tp, self._links(), *rise, *peaks))

    def send(self, work):
        """Hidden states of a micro batch to the next stage of the pipeline of layers."""
        n_bytes = work.tokens * self.point.model.hidden_size * self.precision.activation_bytes
        return self._collective("send", network.send(n_bytes, work.tp, self.split.chips, self._links()))

    def kv_exchange(self, shape, row, work):
        """All-gather of the queries and reduce-scatter of the results, over the chips of a split cache."""
        queries, results = (n * self.precision.activation_bytes for n in (shape.inputs, shape.outputs))
        both = network.all_gather(queries, work.kv_split, self._links())
        both = both + network.reduce_scatter(results, work.kv_split, self._links())
        starts = Time(exposed_latency=2.0 * arrays.where(work.kv_split > 1.0, self.hw.all_reduce_start_s, 0.0))
        return self._collective(row.block, both + starts)


def _present(*sizes):
    """(present, sizes): present is 0 for an operator that the model lacks (a size is 0), else 1.

    Sizes of an operator that is not present become 1, so that its time stays finite.
    """
    present = functools.reduce(operator.mul, sizes) > 0.0
    return arrays.where(present, 1.0, 0.0), [arrays.where(present, size, 1.0) for size in sizes]
