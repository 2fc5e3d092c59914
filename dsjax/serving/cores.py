"""Times of the cores of attention, of an indexer, and of what is in the place of attention (dsjax/MODEL.md, 3, 3.1)."""

from collections.abc import Callable
from typing import Any

from .. import arrays
from ..formulas.attention_kernels import Core
from ..formulas.efficiency import either
from ..formulas.operators import attention, indexer, kinds
from ..formulas.operators.shapes import chosen, number
from ..formulas.roofline import Time

SCORE_BYTES = 4.0  # of a score of an indexer
BF16 = 0  # index into `RATES`


class Cores:
    """Kernels that are no products with weights, a part of `kernels.Kernels`, which has the fields."""

    point: Any
    hw: Any
    precision: Any
    _model: Any  # as the layers see it
    _curve: Any
    _time: Callable

    def attention(self, shape, row, work):
        """The core of attention, mean of all layers (section 3)."""
        del row
        model, causal, rate = self._model, work.causal, self.precision.attention_rate
        picked, gathered, element = self._picking(work)

        def time(kind):
            own = shape if kind.sparse or not causal else attention.prompt(model, work, sparse=False)
            cached, moved = own.kv, own.inputs + own.outputs
            if causal:  # keys and values are read as activations; the cache is written, and read where it has positions
                moved = moved + own.kv
                cached = work.attended * attention.cache_width(model, work.tp) / work.kv_split
            moved, cached = moved * self.precision.activation_bytes, cached * element
            choosing, gathering = (picked, gathered) if kind.sparse else (0.0 * picked, 1.0)
            pairs, read = (kind.pairs, 1.0) if causal else (kind.share, kind.share * gathering)
            call = self._core(work, kind, choosing, moved / (read * cached))
            reached = self._reached(call, kind, causal)
            if causal and not kind.compressed:  # as many picks are computed for every token, the first ones too
                half = arrays.where(choosing > 0.0, 1.0 - 0.5 * kind.share, 1.0)
                reached = reached._replace(compute=half * reached.compute)
            return self._time(pairs * own.flops, moved + read * cached, rate, reached)

        seen = kinds.seen(model, work.context)
        return kinds.mean(seen, [time(kind) for kind in seen])

    def _picking(self, work):
        """(whether kernels of sparse attention run (> 0), times that positions are gathered, bytes of an element)."""
        model = self._model
        picked, gathered = attention.picks(model, work), attention.gathers(model, work)
        # Picks of grouped queries are computed as any keys and values, compressed positions by kernels of their own.
        picked = chosen(model.kv_lora_rank, picked, 0.0 * picked)
        for other in (model.csa_layers, model.hca_layers):
            if other is not None:
                picked = chosen(other, 0.0 * picked, picked)
        return picked, gathered, attention.element_bytes(model, self.precision, self.point.engine)

    def _reached(self, call, kind, causal):
        """`Efficiency` of the core's kernel: of any attention, of compressed positions, or of blocks of a prompt."""
        model, curve = self._model, self.point.curve
        reached = self._curve.attention(curve, call, causal)
        if causal:  # of the others the mean
            call = call._replace(positions=0.5 * call.positions)
        for count in (model.csa_layers, model.hca_layers):
            if count is not None:
                reached = either(count > 0.0, self._curve.compressed(curve, call, causal), reached)
        if causal and kind.sparse and model.index_block is not None:
            reached = either(model.index_block > 0.0, self._curve.blocks(curve, call.positions), reached)
        return reached

    def _core(self, work, kind, picked, beside):
        """`Core` of a layer of a kind of attention (`kinds.Seen`)."""
        model, causal = self._model, work.causal
        own, keys = attention.heads(model, work.tp), attention.key_heads(model, work.tp)
        return Core(
            latent=model.kv_lora_rank,
            picked=picked,
            rate=self.precision.attention_rate,
            kv_bytes=self.precision.kv_bytes,
            positions=kind.pairs * work.context if causal else kind.share * work.context / work.kv_split,
            sequences=work.sequences if causal else work.sequences * keys,
            queries=own if causal else work.queries * work.kv_split * own / keys,
            length=work.context,
            width=attention.query_width(model) + model.v_head_dim,
            beside=beside,
        )

    def scores(self, shape, row, work):
        """The indexer's scores, whose keys have one byte an element and scales (section 3)."""
        del row
        model, curve = self._model, self.point.curve
        n_bytes = shape.inputs * self.precision.activation_bytes + indexer.key_bytes(shape.kv)
        reached = self._curve.scores(curve, indexer.positions(model, work.context), work.causal)
        if work.causal and model.index_block is not None:
            reached = either(model.index_block > 0.0, self._curve.block_scores(curve), reached)
        if reached.start_s is not None:  # nothing else takes time where there is no indexer
            reached = reached._replace(start_s=arrays.where(shape.flops > 0.0, reached.start_s, 0.0))
        return self._time(shape.flops, n_bytes, self.precision.index_rate, reached)

    def selection(self, shape, row, work):
        """The best scores of every token, each read once (section 3)."""
        del row
        positions = indexer.choices(self._model, work.context)
        positions = 0.5 * positions if work.causal else positions / work.kv_split
        n_bytes = SCORE_BYTES * shape.inputs
        return self._streamed(n_bytes, self._curve.selection(self.point.curve, work.rows, positions), n_bytes)

    def recurrent(self, shape, row, work):
        """What changes the state of a linear layer and reads it, and what a prompt makes of it by chunks (3.1)."""
        del row
        model, curve = self._model, self.point.curve
        moved = (shape.inputs + shape.outputs) * self.precision.activation_bytes
        n_bytes = moved + shape.kv * model.linear_state_bytes
        reached = self._curve.recurrent(curve)
        if work.causal:
            reached = self._curve.scan(curve, work.queries, number(model.linear_rule))
        return self._time(shape.flops, n_bytes, BF16, reached)

    def convolving(self, shape, row, work):
        """The short convolution of a linear layer (3.1)."""
        del row
        elements = shape.inputs + shape.outputs
        n_bytes = elements * self.precision.activation_bytes
        return self._streamed(n_bytes, self._curve.convolution(self.point.curve), elements)

    def mixing(self, shape, row, work):
        """Streams of the residual collapsed before a layer, and mixed with its result (3.1)."""
        del row, work
        elements = shape.inputs + shape.outputs
        # Collapsing reads all streams twice and writes one, mixing reads them and the result and writes them.
        half = 0.5 * elements * self.precision.activation_bytes
        sides = [self._streamed(half, self._curve.mixing(self.point.curve, side), elements) for side in ("pre", "post")]
        return sides[0] + sides[1]

    def _streamed(self, n_bytes, reached, some):
        """Time of a kernel that moves so many bytes and computes nothing that counts; no start where `some` is 0."""
        seconds = n_bytes / (self.hw.hbm_bytes_per_s * reached.memory)
        start = reached.start_s
        if start is not None:
            start = arrays.where(some > 0.0, start, 0.0)
        ideal = n_bytes / self.hw.hbm_bytes_per_s
        return Time(exposed_memory=seconds, busy_memory=seconds, ideal_memory=ideal, exposed_latency=start)
