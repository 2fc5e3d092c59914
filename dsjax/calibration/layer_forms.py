"""Forms of the time of kernels beside attention and GEMMs that `dsjax calibrate` can fit (see `forms`).

The shares of peak are those of the `kernel` curves (`formulas.layer_kernels`).
"""

from ..formulas.attention_kernels import Core, decode, prompts
from ..formulas.efficiency import Efficiency
from ..formulas.layer_kernels.mixing import mixing_bytes, mixing_flops
from ..formulas.layer_kernels.recurrent import (
    delta_scan_flops,
    delta_step_flops,
    scan_shares,
    state_bytes,
    state_space_scan_flops,
)
from .forms import kernel

ENTRY_BYTES, ENTRY = 584.0, 512.0  # of DeepSeek-V4's cache (448 B, 64 of 2 B, scales), and elements of a key


def _reached(parameters):
    return Efficiency(1.0, parameters["memory"], parameters["start_s"])


def recurrent_work(shape, peaks):
    """Seconds of q new tokens of a sequence at peak, n = B h d_k d_v: 7 n q / P; n b_s (1 + q) / BW of the state."""
    elements = shape["batch"] * shape["v_heads"] * shape["k_dim"] * shape["v_dim"]
    flops = shape["queries"] * delta_step_flops(elements)
    moved = state_bytes(elements, shape["state_bytes"], shape["queries"])
    return flops / peaks["flops_per_s"], moved / peaks["hbm_bytes_per_s"]


def recurrent(parameters, shape, peaks):
    """t0 + max(flops / P, bytes / (BW e_m)): a state is read once and written after every token."""
    return kernel(recurrent_work(shape, peaks), _reached(parameters))


def scan_work(shape, peaks):
    """Seconds of B prompts at peak: B S h (C (3 d_k + 2 d_v) + 6 d_k d_v) / P, C = 64; Q, K, V, O and a state / BW."""
    tokens = shape["batch"] * shape["isl"]
    flops = delta_scan_flops(tokens, shape["v_heads"], shape["k_dim"], shape["v_dim"])
    rows = 2.0 * tokens * (shape["k_heads"] * shape["k_dim"] + shape["v_heads"] * shape["v_dim"])
    elements = shape["batch"] * shape["v_heads"] * shape["k_dim"] * shape["v_dim"]
    moved = rows * peaks["result_bytes"] + state_bytes(elements, shape["state_bytes"])
    return flops / peaks["flops_per_s"], moved / peaks["hbm_bytes_per_s"]


def scan(parameters, shape, peaks):
    """t0 + longest of c, d, l + loss x the other two, c = flops / (P e_c) (1 + rows / S), d = bytes / BW, l = S t1:
    the chunks of a sequence follow each other on one core."""
    return kernel(scan_work(shape, peaks), Efficiency(*scan_shares(shape["isl"], **parameters)))


def state_scan_work(shape, peaks):
    """Seconds of B prompts at peak: B S (C (g d_s + h d_h) + 4 h d_h d_s) / P; X, B, C, Y and a state / BW."""
    tokens, heads, groups = shape["batch"] * shape["isl"], shape["v_heads"], shape["k_heads"]
    flops = state_space_scan_flops(tokens, heads, groups, shape["v_dim"], shape["k_dim"], shape["chunk"])
    rows = 2.0 * tokens * (groups * shape["k_dim"] + heads * shape["v_dim"])
    elements = shape["batch"] * heads * shape["k_dim"] * shape["v_dim"]
    moved = rows * peaks["result_bytes"] + state_bytes(elements, shape["state_bytes"])
    return flops / peaks["flops_per_s"], moved / peaks["hbm_bytes_per_s"]


def state_scan(parameters, shape, peaks):
    """t0 + longest of c, d, l + loss x the other two, c = flops / (P e_c) (1 + rows / S), d = bytes / BW, l = S t1: of
    a state space layer, as `scan` of the gated delta rule."""
    return kernel(state_scan_work(shape, peaks), Efficiency(*scan_shares(shape["isl"], **parameters)))


def convolution_work(shape, peaks):
    """Seconds of the bytes at peak, w channels, k taps: none to compute; B w b' (2 S + (k - 1) 2 in decode) / BW."""
    state = 2.0 * (shape["taps"] - 1.0) * (1.0 - shape["is_prefill"])
    moved = shape["batch"] * shape["channels"] * peaks["result_bytes"] * (2.0 * shape["isl"] + state)
    return 0.0 * moved, moved / peaks["hbm_bytes_per_s"]


def convolution(parameters, shape, peaks):
    """t0 + bytes / (BW e_m)."""
    return kernel(convolution_work(shape, peaks), _reached(parameters))


def mixing_work(shape, peaks):
    """Seconds of one side of hyper-connections at peak: 2 T n D (n^2 + 2 n) / P; T D b' (2 n + 1) / BW; of `sites`."""
    tokens, hidden, streams = shape["num_tokens"] * shape["sites"], shape["hidden_size"], shape["streams"]
    moved = mixing_bytes(tokens, hidden, streams, peaks["result_bytes"])
    return mixing_flops(tokens, hidden, streams) / peaks["flops_per_s"], moved / peaks["hbm_bytes_per_s"]


def mixing(parameters, shape, peaks):
    """s (t0 + max(flops / P, bytes / (BW e_m))) of s sites."""
    seconds = kernel(mixing_work(shape, peaks), _reached(parameters))
    return seconds + (shape["sites"] - 1.0) * parameters["start_s"]


def _compressed(shape, is_decode):
    """(`Core`, flops, bytes) of a call on x entries."""
    tokens = shape["batch"] * shape["new_tokens"]
    results = 4.0 * tokens * shape["heads"] * ENTRY  # queries and results of 2 bytes
    entries = shape["positions"] * (tokens if is_decode else shape["batch"])
    flops = 4.0 * tokens * shape["heads"] * ENTRY * shape["positions"]
    one = dict.fromkeys(("latent", "picked", "rate", "kv_bytes"), 0.0)
    sizes = {"positions": shape["positions"], "queries": shape["heads"], "width": 2.0 * ENTRY}
    sizes |= {"sequences": shape["batch"], "length": shape["new_tokens"]}
    beside = results / (entries * ENTRY_BYTES)
    return Core(**one, **sizes, beside=beside), flops, results + entries * ENTRY_BYTES


def compressed_decode_work(shape, peaks):
    """Seconds of a token of each sequence at peak, keys 512 wide: 4 B h 512 x / P; B (x 584 + h 512 4) / BW."""
    _, flops, moved = _compressed(shape, True)
    return flops / peaks["flops_per_s"], moved / peaks["hbm_bytes_per_s"]


def compressed_decode(parameters, shape, peaks):
    """t0 + max(flops / (P e_c) max(1, tile / h) (1 + s0 / x), bytes with s0 entries more / (BW e_m))."""
    call = _compressed(shape, True)[0]
    return kernel(compressed_decode_work(shape, peaks), Efficiency(*decode(call, **parameters)))


def compressed_prefill_work(shape, peaks):
    """Seconds of prompts at peak: 4 T h 512 x / P; (T h 512 4 + entries once a sequence) / BW."""
    _, flops, moved = _compressed(shape, False)
    return flops / peaks["flops_per_s"], moved / peaks["hbm_bytes_per_s"]


def compressed_prefill(parameters, shape, peaks):
    """t0 + max(flops / (P e_c) max(1, tile / h) (1 + s0 / x + f / (T h)), bytes / (BW e_m))."""
    call = _compressed(shape, False)[0]
    return kernel(compressed_prefill_work(shape, peaks), Efficiency(*prompts(call, **parameters)))
