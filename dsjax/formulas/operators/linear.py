"""Shapes of a linear layer on one chip: a state for every sequence instead of a cache (dsjax/MODEL.md, 3.1).

Symbols as in `attention`; n_l heads of the state, n_k of its queries and keys, D_k and D_w widths of keys and values, C
columns of the projections that a layer begins with, X channels of a convolution over e positions. Sources: Yang et al.
(arXiv:2412.06464), gated delta rule; Kimi team (arXiv:2510.26692), a gate for each channel; Dao and Gu
(arXiv:2405.21060), state spaces by chunks; Qin et al. (arXiv:2401.04658), decay.
"""

from fractions import Fraction

from ... import arrays
from ...specs.model import LINEAR_RULES
from ..layer_kernels import recurrent
from .shapes import Attention, Pointwise, chosen, gemm, number, or_else, over

DELTA = LINEAR_RULES.index("channel-gated-delta")  # up to this one a rule corrects what the state says of the key


def projection(model, work):
    """All that is computed of the hidden state at once, but gates of low rank: (T, H, C / tp)."""
    return gemm(work.tokens, model.hidden_size, over(number(model.linear_columns), work.tp))


def gate_down(model, work):
    """First half of the gates of low rank: (T / sp, H, g r)."""
    return gemm(work.rows, model.hidden_size, number(model.linear_gates) * number(model.linear_gate_rank))


def gate_up(model, work):
    """Second half of the gates of low rank: (g; T, r, n_l D_w / tp)."""
    return gemm(work.tokens, number(model.linear_gate_rank), _values(model, work), number(model.linear_gates))


def convolution(model, work):
    """Short convolution: T X / tp elements read and written, and (e - 1) X / tp of every sequence; e X parameters."""
    channels = chosen(number(model.linear_conv), number(model.linear_conv_channels), 0)
    moved = over((work.tokens + work.sequences * _before(model)) * channels, work.tp)
    return Pointwise(weights=over(number(model.linear_conv) * channels, work.tp), inputs=moved, outputs=moved)


def core(model, work):
    """Change of the state, and what it says of the queries; `kv`: elements of the state that are read and written.

    Decode: m T n_l / tp D_k D_w [FLOP], m = 6 of delta rules (state with key, outer product, state with query), else 4;
    the state is read once and written after every token. Prefill by chunks of c tokens, of a token: c (n_k D_k + n_l
    D_w) + 4 n_l D_k D_w, delta rules c n_l (3 D_k + 2 D_w) + 6 n_l D_k D_w (over tp): half of what is inside a chunk.
    """
    width, values = number(model.linear_key_dim), number(model.linear_value_dim)
    own, keys = _heads(model, work), _key_heads(model, work)
    state, delta = own * width * values, _delta(model)
    inputs = work.tokens * (2 * keys * width + own * values)
    if not work.causal:
        flops = (4 + 2 * delta) * work.tokens * state
        kept = work.sequences * (1 + work.queries) * state
        return Attention(flops=flops, inputs=inputs, kv=kept, outputs=work.tokens * own * values)
    chunk = or_else(model.linear_chunk, 1)
    plain = recurrent.state_space_scan_flops(1, own, keys, values, width, chunk)
    corrected = recurrent.delta_scan_flops(1, own, width, values, chunk)
    return Attention(
        flops=work.tokens * (delta * corrected + (1 - delta) * plain),
        inputs=inputs,
        kv=2 * work.sequences * state,
        outputs=work.tokens * own * values,
    )


def gated_norm(model, work):
    """Norm of the result and its gate: reads 2 T n_l D_w / tp elements, writes half as many."""
    result = work.tokens * _values(model, work)
    return Pointwise(weights=0, inputs=2 * result, outputs=result)


def output(model, work):
    """Output projection (T, n_l D_w / tp, H)."""
    return gemm(work.tokens, _values(model, work), model.hidden_size)


def state_bytes(model, tp, activation_bytes):
    """State of a sequence in one layer on a chip [B]: (n_l D_k D_w b_S + (e - 1) X b_a) / tp."""
    elements = number(model.linear_heads) * number(model.linear_key_dim) * number(model.linear_value_dim)
    convolved = _before(model) * number(model.linear_conv_channels) * activation_bytes
    return over(elements * number(model.linear_state_bytes) + convolved, tp)


def _delta(model):
    """1 where the rule is a delta rule, else 0."""
    return chosen(number(model.linear_rule) - DELTA, 0, 1)


def _before(model):
    """Positions that the convolution keeps: e - 1."""
    return number(model.linear_conv) - chosen(number(model.linear_conv), 1, 0)


def _heads(model, work):
    return over(number(model.linear_heads), work.tp)


def _key_heads(model, work):
    own = over(number(model.linear_key_heads), work.tp)
    return max(1, own) if isinstance(own, int | Fraction) else arrays.maximum(1.0, own)


def _values(model, work):
    return over(number(model.linear_heads) * number(model.linear_value_dim), work.tp)
