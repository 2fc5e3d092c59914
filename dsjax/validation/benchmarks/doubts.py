"""Figures of one run that contradict each other: remarks on what is taken as it is, never a refusal."""

from .record import SECONDS

FACTOR = 3.0  # by which a time of a token and a rate may disagree: users start and end apart, lengths differ
ALONE = 30.0  # likewise where users send one request or little more: the longest may run alone for most of the time
COUNTED = 0.1  # relative: a rate and what it is counted from
_SLIP = 2.0  # a factor of 1,000 within this factor is a prefix of a unit
_UNITS = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}


def found(record, form, run):
    """{what is contradicted: a sentence on it} of a run."""
    said = {
        "requests": _of_requests(run),
        "rate": _of_rate(record, form.keys, run),
        "time": _of_times(record, form, run),
    }
    return {what: f"{record.where}: {text}" for what, text in said.items() if text}


def _of_requests(run):
    """Requests that were neither answered nor failed."""
    lost = (run.asked or 0) - (run.requests or 0) - run.failed
    if lost <= 0 or run.requests is None:
        return ""
    return f"completed = {run.requests} of num_prompts = {run.asked:g}, failed {run.failed}: {lost:g} are in neither"


def _of_rate(record, keys, run):
    """A rate that is not what its own tokens and time give."""
    rate, counted = run.tokens_per_s, run.counted_per_s
    if not rate or not counted or abs(rate / counted - 1.0) <= COUNTED:
        return ""
    return f"{keys.rate} = {record.get(keys.rate):.10g} is {_times(rate / counted)} {keys.counted} = {_figure(counted)}"


def _of_times(record, form, run):
    """A time that is far from what the requests in flight and the rate of their tokens give (Little's law)."""
    requests, osl = run.requests, run.said.get("osl")
    users = None if run.aside else run.said.get("concurrency")
    users = min(users, requests) if users and requests else users
    flight = run.in_flight or users
    rates = [rate for rate in (run.counted_per_s, run.tokens_per_s) if rate]
    if not (run.tpot and osl and osl > 1 and flight and rates):
        return ""
    tokens, ttft = osl * run.said.get("length_factor", 1.0), run.ttft or 0.0
    wholes = [flight * tokens / rate for rate in rates]  # time of a request
    least = 1.0 / (ALONE if requests and not run.in_flight and requests < 2 * flight else FACTOR)
    ratios = [(ttft + (tokens - 1.0) * run.tpot) / whole for whole in wholes]
    if tokens <= 1.0 or any(least <= ratio <= FACTOR for ratio in ratios):
        return ""
    whole, decoding = wholes[0], (tokens - 1.0) * run.tpot
    by = f"{flight:g} users and {_figure(rates[0])} tokens/s"
    if ttft > max(whole, decoding):
        key, text = form.keys.ttft, f"is {_times(ttft / whole)} the whole time of a request by {by}"
    else:
        ratio = decoding / max(whole - ttft, whole / FACTOR)
        key = form.keys.tpot
        text = f"is {_times(ratio)} what {by} give{_slip(_units(record, key, form), ratio)}"
    return f"{key} = {record.get(key):.10g} {_units(record, key, form)} {text}"


def _units(record, key, form):
    return form.keys.units or record.text(key.replace(".avg", ".unit")) or "ms"


def _times(ratio):
    return f"{_figure(ratio)} times" if ratio >= 1.0 else f"1/{_figure(1.0 / ratio)} of"


def _figure(x):
    return f"{x:,.0f}" if 999.5 <= x < 1e9 else f"{x:.3g}"


def _slip(units, ratio):
    """The unit that may be meant: a thousandth is one of the next larger."""
    words = {SECONDS[name]: word for name, word in _UNITS.items()}
    for factor in (1e-3, 1e3):
        meant = words.get(SECONDS[units] * factor)
        if meant and 1.0 / _SLIP <= ratio / factor <= _SLIP:
            return f": {meant} for {words[SECONDS[units]]}?"
    return ""
