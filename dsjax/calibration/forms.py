"""Forms of the time of a kernel or collective that `dsjax calibrate` can fit, and what bounds it.

A form is a scalar function (parameters, shape, peaks) -> seconds, three dicts of numbers in SI units: `parameters` are
fitted, `shape` comes from a measurement, `peaks` from the catalog: `flops_per_s` (P) at the precision measured,
`hbm_bytes_per_s` (BW), `scale_up_bytes_per_s` (U), `scale_out_bytes_per_s` (O), `weight_bytes` (of an element of a
weight), `operand_bytes` (of another element read), `result_bytes` (of one written), `kv_bytes`. Every fixed time is a
`*_s` parameter, so that all rates x a and all of these / a give time / a. A work function (shape, peaks) -> (s at peak
rate, s at peak bandwidth) is what no measurement can beat. The shares of peak of kernels are those of the `kernel`
curves (`efficiency.wide`, `grouped`, `filled`).
"""

from .. import arrays
from ..formulas import network
from ..formulas.efficiency import grouped, wide

POINTWISE = 0.7  # share of memory bandwidth, as in the core model's curves


def gemm_work(shape, peaks):
    """Seconds of (M, K) x (K, N) at peak: 2 M N K / P; (N K b_w + M K b + M N b') / BW."""
    m, n, k = shape["m"], shape["n"], shape["k"]
    moved = n * k * peaks["weight_bytes"] + m * k * peaks["operand_bytes"] + m * n * peaks["result_bytes"]
    return 2.0 * m * n * k / peaks["flops_per_s"], moved / peaks["hbm_bytes_per_s"]


def kernel(work, efficiency):
    """t0 + longest of c / e_c, d / e_m, l + loss x the other two, of work (c, d) [s] at the peaks: `roofline.kernel`
    with perfect overlap."""
    compute, moved = (seconds / reached for seconds, reached in zip(work, efficiency[:2], strict=True))
    longest = arrays.maximum(compute, moved)
    if efficiency.loss is None:
        return efficiency.start_s + longest
    longest = arrays.maximum(longest, efficiency.core_s)
    others = compute + moved + efficiency.core_s - longest
    return efficiency.start_s + longest + efficiency.loss * others


def gemm(parameters, shape, peaks):
    """t0 + longest of c, d, l + loss x the other two, c = 2 M N K / (P e_c) (1 + tail / (N (M + 128))), d = bytes /
    (BW e_m), l = K t1: few tiles leave cores idle, and one core works its way along K in l. Where `quantised` is 1 the
    time holds a pass that makes the rows' operands, M K (b' + b) / (0.7 BW)."""
    made = shape["m"] * shape["k"] * (peaks["result_bytes"] + peaks["operand_bytes"]) / peaks["hbm_bytes_per_s"]
    time = kernel(gemm_work(shape, peaks), wide(parameters, shape["m"], shape["k"], shape["n"]))
    return time + shape["quantised"] * made / POINTWISE


def grouped_work(shape, peaks):
    """Seconds of G products of m rows at peak, w = N K weights each: 2 G m w / P; (G w b_w + G m (K b + N b')) / BW."""
    rows = shape["num_groups"] * shape["m_per_group"]
    weights = shape["n"] * shape["k"]
    moved = shape["num_groups"] * weights * peaks["weight_bytes"] + rows * shape["k"] * peaks["operand_bytes"]
    moved = moved + rows * shape["n"] * peaks["result_bytes"]
    return 2.0 * rows * weights / peaks["flops_per_s"], moved / peaks["hbm_bytes_per_s"]


def grouped_gemm(parameters, shape, peaks):
    """t0 + s t1 + longest of c, d, l + loss x the other two, c = 2 G m N K / (P e_c) (1 + rows / (m + rows)) (1 + fill
    / K), d = bytes / (BW e_m), l = K t2: tiles of few rows are half empty, and each takes `fill` elements of K to start
    and finish. t1 of fused experts: s are held, of which G have rows."""
    knots, held = {"slot_s": 0.0} | parameters, shape.get("slots", shape["num_groups"])
    return kernel(grouped_work(shape, peaks), grouped(knots, shape["m_per_group"], shape["k"], held))


def _experts(shape):
    """Both products of the G experts of a card that have rows, spread evenly; (shapes, rows)."""
    rows = shape["num_tokens"] * shape["topk"] / shape["ep_size"]
    slots = shape["num_experts"] / shape["ep_size"]
    hit = arrays.minimum(slots, rows)
    hidden, width = shape["hidden_size"], shape["inter_size"] / shape["moe_tp_size"]
    both = {"num_groups": hit, "m_per_group": rows / hit, "slots": slots}
    return [both | {"n": 2.0 * width, "k": hidden}, both | {"n": hidden, "k": width}], rows


def experts_work(shape, peaks):
    """Seconds at peak of both grouped GEMMs, `grouped_work`."""
    (up, read_up), (down, read_down) = (grouped_work(product, peaks) for product in _experts(shape)[0])
    return up + down, read_up + read_down


def experts(parameters, shape, peaks):
    """`grouped_gemm` of gate + up and of down, and 3 R I b' / (0.7 BW) of the activation between them."""
    products, rows = _experts(shape)
    between = 3.0 * rows * shape["inter_size"] / shape["moe_tp_size"]
    activation = between * peaks["result_bytes"] / (POINTWISE * peaks["hbm_bytes_per_s"])
    return sum(grouped_gemm(parameters, product, peaks) for product in products) + activation


def fused_experts(parameters, shape, peaks):
    """`experts` + R H b' / (0.7 BW) of the results' sum + idle (T k - R) (H + 3 I) b' / BW: without a dispatch, a card
    sees the T tokens of all, and walks over the rows of other cards' experts."""
    width, hidden = shape["inter_size"] / shape["moe_tp_size"], shape["hidden_size"]
    all_rows = shape["num_tokens"] * shape["topk"]
    rows = all_rows / shape["ep_size"]
    summed = rows * hidden / POINTWISE + parameters["idle"] * (all_rows - rows) * (hidden + 3.0 * width)
    return experts(parameters, shape, peaks) + summed * peaks["result_bytes"] / peaks["hbm_bytes_per_s"]


def exchange_volumes(shape, element_bytes):
    """(bytes inside the domain, bytes that leave it) of one chip: T k H b, of which 1 / ep stays on the chip."""
    volume = shape["num_token"] * shape["topk"] * shape["hidden_size"] * element_bytes
    inside = shape["ep_size"] / shape["node_num"]
    return volume * (inside - 1.0) / shape["ep_size"], volume * (1.0 - inside / shape["ep_size"])


def exchange_work(shape, peaks):
    """Seconds of the bytes sent at peak: none to compute; max(V_in / U, V_out / O)."""
    inside, outside = exchange_volumes(shape, peaks["operand_bytes"])
    slower = arrays.maximum(inside / peaks["scale_up_bytes_per_s"], outside / peaks["scale_out_bytes_per_s"])
    return 0.0 * slower, slower


def exchange(parameters, shape, peaks):
    """t0 + t1 [leaves the domain] + max(V_in / (U u_in), V_out / (O u_out)), V_in and V_out one copy per expert."""
    return exchange_extended(parameters | {"hidden_s": 0.0}, shape, peaks)


def exchange_extended(parameters, shape, peaks):
    """t0 + t1 [leaves the domain] + sqrt(t2^2 + v^2) - t2, v = max(V_in / (U u_in), V_out / (O u_out)): data moves in
    a part t2 of the fixed time already."""
    inside, outside = exchange_volumes(shape, peaks["operand_bytes"])
    slower = arrays.maximum(
        inside / (peaks["scale_up_bytes_per_s"] * parameters["inside"]),
        outside / (peaks["scale_out_bytes_per_s"] * parameters["outside"]),
    )
    leaves = arrays.where(shape["node_num"] > 1.0, parameters["outside_s"], 0.0)
    return parameters["start_s"] + leaves + sum(network.partly_hidden(slower, parameters["hidden_s"]))


def all_reduce_work(shape, peaks):
    """Seconds of a ring at peak: none to compute; 2 (n - 1) / n b / U."""
    n = shape["num_gpus"]
    sent = 2.0 * (n - 1.0) / n * shape["bytes"]
    return 0.0 * sent, sent / peaks["scale_up_bytes_per_s"]


def all_reduce(parameters, shape, peaks):
    """t0 + 2 t1 (n - 1) + v / u + sqrt(t2 v), v = 2 (n - 1) / n b / U: the root is the rise to full bandwidth."""
    _, ring = all_reduce_work(shape, peaks)
    steps = parameters["start_s"] + 2.0 * parameters["step_s"] * (shape["num_gpus"] - 1.0)
    return steps + ring / parameters["inside"] + arrays.sqrt(parameters["rise_s"] * ring)


def all_reduce_extended(parameters, shape, peaks):
    """t0 + min(2 t1 (n - 1) + v / u + sqrt(t2 v), (n - 1) b / (U u1)): small ones are sent whole to all others."""
    whole = (shape["num_gpus"] - 1.0) * shape["bytes"] / peaks["scale_up_bytes_per_s"] / parameters["direct"]
    ring = all_reduce(parameters, shape, peaks) - parameters["start_s"]
    return parameters["start_s"] + arrays.minimum(ring, whole)
