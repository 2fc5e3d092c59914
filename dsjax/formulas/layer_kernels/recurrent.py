"""Kernels of layers whose cache is a state of fixed size: linear attention, state space (dsjax/MODEL.md, section 4).

Three kernels: `recurrent_` one new token, or a few, of a sequence; a scan of whole prompts, in chunks; `convolution_`
the short convolution before either. The scans are those of `SCANS`: the gated delta rule, the one whose gates are those
of every channel (KDA), state space (Mamba-2). Their new tokens take the same time for the same bytes of state.
"""

from ... import arrays
from ...specs.fields import amount, feature, fraction, like, record, seconds, share

SCANS = ("scan", "channel_scan", "state_scan")
CHUNK = 64.0  # tokens of a chunk of the gated delta rule: FLA's, FlashInfer's and FlashKDA's kernels


@record
class RecurrentKnots:
    """Knots of recurrent layers."""

    recurrent_memory: float = like("attention_memory", share("decode of a state: share of memory bandwidth"))
    recurrent_start_s: float = like("attention_start_s", seconds("decode of a state: launch and ramp"))
    scan_compute: float = like("prefill_compute", share("scan of a prompt: share of peak compute of many"))
    scan_rows: float = like("prefill_rows", amount("token", "scan of a prompt: tokens that beginning one is worth"))
    scan_start_s: float = like("prefill_start_s", seconds("scan of a prompt: launches and ramp"))
    scan_depth_s: float = feature("s", "scan of a prompt: time of one core per token of a sequence")
    scan_loss: float = feature("1", "scan of a prompt: share of what is not longest that is not hidden", high=1.0)
    channel_scan_compute: float = like("scan_compute", share("scan, gates of every channel: share of peak compute"))
    channel_scan_rows: float = like("scan_rows", amount("token", "scan, gates of every channel: to begin a prompt"))
    channel_scan_start_s: float = like("scan_start_s", seconds("scan, gates of every channel: launches and ramp"))
    channel_scan_depth_s: float = like("scan_depth_s", amount("s", "scan, gates of every channel: one core, a token"))
    channel_scan_loss: float = like("scan_loss", fraction("scan, gates of every channel: share that is not hidden"))
    state_scan_compute: float = like("scan_compute", share("scan of a state space: share of peak compute"))
    state_scan_rows: float = like("scan_rows", amount("token", "scan of a state space: to begin a prompt"))
    state_scan_start_s: float = like("scan_start_s", seconds("scan of a state space: launches and ramp"))
    state_scan_depth_s: float = like("scan_depth_s", amount("s", "scan of a state space: one core, a token"))
    state_scan_loss: float = like("scan_loss", fraction("scan of a state space: share that is not hidden"))
    convolution_memory: float = like("pointwise_memory", share("short convolution: share of memory bandwidth"))
    convolution_start_s: float = like("pointwise_start_s", seconds("short convolution: launch and ramp"))


def state_bytes(elements, element_bytes, queries=1.0):
    """Bytes that a step moves of states of so many `elements` [1]: n b (1 + q), q new tokens of a sequence.

    The state is read once and written after every token: drafts that are refused are undone by an older one.
    """
    return elements * element_bytes * (1.0 + queries)


def delta_step_flops(elements):
    """Flops of one token of the gated delta rule on states of n elements: 7 n (decay, read, update, query)."""
    return 7.0 * elements


def delta_scan_flops(tokens, heads, key_width, value_width, chunk=CHUNK):
    """Flops of the gated delta rule on T tokens in chunks of C, h heads: T h (C (3 d_k + 2 d_v) + 6 d_k d_v).

    Of a chunk: K K^T, Q K^T and T K, triangular, of width d_k; T V and A U of width d_v; W S, Q S and K^T U with the
    state, d_k d_v each. Source: Yang et al., Gated Delta Networks (arXiv:2412.06464), the chunkwise form.
    """
    return tokens * heads * (chunk * (3 * key_width + 2 * value_width) + 6 * key_width * value_width)


def state_space_scan_flops(tokens, heads, groups, head_width, state_width, chunk):
    """Flops of a state space layer on T tokens in chunks of C: T (C (g d_s + h d_h) + 4 h d_h d_s).

    Of a chunk: C B^T of each group, triangular, of width d_s; its product with X, of width d_h; the state that a chunk
    leaves and what the one before it adds. Source: Dao and Gu, state space duality (arXiv:2405.21060), section 6.
    """
    within = chunk * (groups * state_width + heads * head_width)
    return tokens * (within + 4 * heads * head_width * state_width)


def recurrent(curve):
    """(share of peak compute, share of the memory bandwidth, start [s]) of new tokens: the state's bytes bind."""
    return 1.0, curve.recurrent_memory, curve.recurrent_start_s


def scan_shares(length, compute, rows, start_s, depth_s=0.0, loss=0.0):
    """(compute, memory, start, loss, core) of prompts of S `length`: e_c = compute / (1 + rows / S), l = S depth_s.

    The chunks of a sequence follow each other on one core, in l. The rows' bytes count at full bandwidth: the widths
    measured are all 128, so that what is slower, bytes or flops, cannot be told but by chips of other bandwidths (H100
    and H200 take equally long: flops).
    """
    return compute / (1.0 + rows / length), 1.0, start_s, loss, length * depth_s


def scan(curve, length, rule):
    """`scan_shares` of prompts of `length` tokens, with the knots of `SCANS[rule]`.

    What only decays (lightning attention) takes those of a state space, which is that with a decay of each token's own.
    """

    def knot(name):
        numbers = [getattr(curve, f"{kind}_{name}") for kind in SCANS]
        return numbers[0] if all(x is numbers[0] for x in numbers) else arrays.choose(rule, *numbers, numbers[-1])

    return scan_shares(length, *(knot(name) for name in ("compute", "rows", "start_s", "depth_s", "loss")))


def convolution(curve):
    """(share of peak compute, share of the memory bandwidth, start [s]) of a short convolution: bytes bind."""
    return 1.0, curve.convolution_memory, curve.convolution_start_s
