"""Numbers that are likely slips, bits for bytes or milli for mega: a remark on what a user gave, never a refusal.

What a user gave are the values of axes, those that are fixed, and numbers of rows that the shipped catalog does not
have so. What is usual is what its rows have: a remark is made beyond `FACTOR` times the largest of them or below the
smallest over `FACTOR`, and where a number is what a known slip makes of a known one.
"""

import contextlib
import fnmatch
import functools
import math
from typing import NamedTuple

from .. import studies
from ..catalog import configs, reader, sources
from ..formats import quantity
from ..specs.fields import fields_of
from ..specs.records import RATES
from .parameters import ALONE, Parameter

FACTOR = 10.0
EXACT = 0.01  # relative: a number is twice, or eight times, another one
ALIKE = 0.1  # relative: numbers of two chips that may be the same one
MANY = 64  # values of an axis of which only the ends are looked at


class Bounds(NamedTuple):
    """Fields of a kind of record that are seldom less than `low` or more than `high`, and what is said of those."""

    record: str
    fields: str  # names or patterns, with blanks between them
    low: float
    high: float
    below: str
    beyond: str


_FACTOR = "is a factor on the time of a step, and far from 1"
_SHARE = "is below 1 %; a share of 85 % is 0.85"
_HOST = "is a long host time; milliseconds are usual"
BOUNDS = (
    Bounds("workload", "context isl osl", 1.0, math.inf, "is less than one token", ""),
    Bounds("workload", "*_cv", 0.0, 3.0, "", "is a standard deviation of more than three times the mean"),
    Bounds("workload", "software_factor", 0.5, 5.0, _FACTOR, _FACTOR),
    Bounds("workload", "expert_imbalance", 0.0, 20.0, "", "is the busiest card over the mean of all"),
    Bounds("workload", "memory_reserve", 0.0, 0.5, "", "is the share of the memory kept free, not the share used"),
    Bounds("workload", "max_prefill_tokens chunk_tokens", 16.0, 1e7, "is a small step", "is a large step"),
    Bounds("hardware", "*_utilisation", 0.01, 1.0, _SHARE, ""),
    Bounds("nic", "*_utilisation", 0.01, 1.0, _SHARE, ""),
    Bounds("hardware", "step_s", 0.0, 0.1, "", _HOST),
    Bounds("engine", "request_s", 0.0, 0.1, "", _HOST),
    Bounds("limit", "tpot* itl*", 1e-4, 1.0, "is less than 0.1 ms a token", "is a second or more for a token: ms?"),
    Bounds("limit", "ttft* latency*", 1e-3, 600.0, "is less than a millisecond", "is more than ten minutes: ms?"),
    Bounds("precision", "*_bytes", 0.125, 4.0, "is less than a bit an element", "is many bytes an element: bits?"),
)


class Known(NamedTuple):
    """Fields whose usual numbers are those of the shipped rows; `factor`: how far beyond the largest is unusual."""

    record: str
    fields: str
    factor: float = FACTOR


KNOWN = (
    Known("hardware", "scale_up_domain", 1.0),
    Known("hardware", "*_s hbm_bytes hbm_advertised_bytes usd_per_hour watts"),
    Known("nic", "*_s"),
    Known("engine", "*_s memory_bytes logit_bytes"),
    Known("model", "*hidden_size num_* *intermediate_size n_routed_experts vocab_size kv_lora_rank *_head_dim"),
)


class Slip(NamedTuple):
    """Fields that are often given as `times` what they are of a row of the catalog, and what that is then."""

    record: str
    fields: str
    times: float
    said: str
    alike: tuple = ("hbm_bytes_per_s",)  # numbers that two chips which may be the same have alike


SLIPS = (
    Slip("nic", "scale_out_bytes_per_s", 8.0, "bytes for bits?"),
    Slip("hardware", "scale_up_bytes_per_s", 8.0, "bytes for bits?", ("hbm_bytes_per_s", "bf16_flops_per_s")),
    Slip("hardware", "scale_up_bytes_per_s", 2.0, "both ways, for one way?", ("hbm_bytes_per_s", "bf16_flops_per_s")),
    Slip("hardware", "*_flops_per_s", 2.0, "the rate with sparsity, for the dense one?"),
)
# (record, rate, rate of wider numbers that it is not below)
ORDER = (("hardware", "fp8_flops_per_s", "bf16_flops_per_s"), ("hardware", "fp4_flops_per_s", "fp8_flops_per_s"))
# (record, fields that one chip has together): of which some are seldom another's while the rest stay
TOGETHER = (("hardware", tuple(f"{rate}_flops_per_s" for rate in RATES)),)
# Counts that are kept as real numbers, so that they can vary a little.
PARTS = ("scale_up_domain", "prefill_instances", "decode_instances", "max_batch", "requests_per_user")


class Given(NamedTuple):
    """A number that a user gave."""

    name: str
    record: str  # kind of the record
    field: str
    value: float
    units: str
    label: str = ""  # of its row; "" of an axis or of what is fixed
    row: dict = {}  # its row, as the space has it


def remarks(space):
    """Sentences on the numbers of a space that are likely slips, each with the number as it was read."""
    shipped, found, names = _shipped(space.study.name), {}, {}
    for number in given(space):
        if number.name not in found and (said := _of_number(number, shipped)):
            found[number.name] = f"{_words(number.value, number.units)} {said}"
            one = str(Parameter(number.record, number.field, number.label)) if number.label else number.name
            names.setdefault((one, found[number.name]), []).append(number.name)
    # One number that is the same in several pools is told once.
    lines = [f"{one if several[1:] else several[0]} = {said}" for (one, said), several in names.items()]
    ordered = list(_of_order(space, found))
    return [*lines, *ordered, *_of_kept(space, [*found, *ordered]), *_of_lengths(space)]


def given(space):
    """The numbers of a space that its user may have given: axes, what is fixed, limits, rows that are not shipped."""
    shipped, of_axes = _shipped(space.study.name), _numbers_of_axes(space.study)
    for axis, values in [*space.axes.items(), *((name, (value,)) for name, value in space.fixed.items())]:
        if axis in of_axes:
            record, field, units = of_axes[axis]
            some = values if len(values) <= MANY else (values[0], values[len(values) - 1])
            yield from (Given(axis, record, field, float(value), units) for value in some)
    for key, bound in space.bounds.items():
        for value in [limit for _, limit in bound] if isinstance(bound, tuple) else [bound]:
            yield Given(key, "limit", key.partition("_")[2], float(value), "s")
    for record, rows in space.rows.items():
        kind = space.study.kinds[record]
        for label, row in rows.items():
            usual = shipped[kind].get(label, {})
            for field, meta in fields_of(space.study.row_class(record, row)).items():
                if row.get(field) == usual.get(field) or not _is_own(row, field, shipped[kind]):
                    continue
                name = Parameter(record, field, label)
                if name.axis not in space.axes and name.axis not in space.fixed:
                    yield Given(str(name), kind, field, float(row[field]), meta["units"], label, row)


def _is_own(row, field, shipped):
    """Whether a row gives a number itself: it is neither left out nor that of a shipped row."""
    entry = sources.of_field(row, field)
    base = entry.get("row")
    borrowed = base in shipped and shipped[base].get(field) == row.get(field)
    return field in row and not borrowed and not entry["text"].startswith(sources.LEFT_OUT)


@functools.cache
def _shipped(name):
    """{kind: rows} of the catalog as it comes with dsjax, and of a study."""
    study = studies.get(name)
    return reader.load(study.extends.records if study.pools else study.records, (study.tables, study.path.name))


def _numbers_of_axes(study):
    """{axis: (kind of record, field, units)} of the numeric axes that are fields of the workload or of rows."""
    found = {name: ("workload", name, meta["units"]) for name, meta in ALONE["workload"].items()}
    for record, cls in study.records.items():
        kind = study.kinds[record]
        found |= {f"{record}_{field}": (kind, field, meta["units"]) for field, meta in fields_of(cls).items()}
    return found


def _words(value, units):
    """A number as it was read."""
    if units in ("token", "sequence"):
        return f"{quantity(value, '1')} {units}s"
    return f"{value:g} B" if units == "B" and value < 1.0 else quantity(value, units)


def _of(rules, number):
    """The rules that are about a number."""
    return [x for x in rules if x.record == number.record and _matches(number.field, x.fields)]


def _matches(field, patterns):
    return any(fnmatch.fnmatchcase(field, pattern) for pattern in patterns.split())


def _of_number(number, shipped):
    """What is said of a number; "" of one that is usual."""
    if number.field in PARTS and number.value != round(number.value):
        return "is not a whole number"
    for rule in _of(BOUNDS, number):
        if number.value < rule.low:
            return rule.below
        if number.value > rule.high:
            return rule.beyond
    rows = shipped.get(number.record, {})
    for slip in _of(SLIPS, number):
        if said := _of_slip(slip, number, rows):
            return said
    for rule in _of(KNOWN, number):
        return _beyond_known(rule, number, rows)
    return ""


def _of_slip(slip, number, rows):
    """What a slip makes of a row: the same row, that of a chip alike, or, of networks, any that is known."""
    own, units = [number.label] if number.label in rows else [], number.units
    largest = max((row[number.field] for row in rows.values()), default=math.inf)
    others = [name for name, row in rows.items() if _alike(row, number.row, slip.alike)]
    others = [*rows] if slip.record == "nic" and number.value > largest and not own else others
    for name in [*own, *others]:
        usual = rows[name][number.field]
        if usual and abs(number.value - slip.times * usual) <= EXACT * number.value:
            amount = f"8 times {8.0 * usual / 1e9:g} Gbit/s" if slip.times == 8.0 else f"twice {quantity(usual, units)}"
            return f"is {amount} of {name}: {slip.said}"
    return ""


def _alike(one, other, fields):
    """Whether two rows may be the same chip: these numbers differ little."""
    pairs = [(one.get(field, 0.0), other.get(field, 0.0)) for field in fields]
    return all(a and b and abs(a - b) <= ALIKE * a for a, b in pairs)


def _beyond_known(rule, number, rows):
    """What is said of a number far from those of all rows."""
    found = {name: row[number.field] for name, row in rows.items() if row.get(number.field)}
    if not found or not number.value:
        return ""
    least, most = min(found, key=found.get), max(found, key=found.get)
    low, high = found[least] / FACTOR, found[most] * rule.factor
    if number.units == "s" or rule.factor < FACTOR:
        low = 0.0  # no time at all is asked for too
    if low <= number.value <= high:
        return ""
    if guess := _meant(number, found[least], found[most]):
        return guess
    end, word = (most, "largest") if number.value > high else (least, "smallest")
    text = f"is {number.value / found[end]:,.3g} times the {word} known, {quantity(found[end], number.units)} of {end}"
    return text if rule.factor > 1.0 else f"is beyond the largest known, {quantity(found[end], number.units)} of {end}"


def _meant(number, least, most):
    """What may be meant by an amount whose unit is missing or has another prefix; "" where nothing usual is."""
    value, units = number.value, number.units
    if units not in ("B/s", "FLOP/s", "B", "s"):
        return ""
    if units != "s" and value < 1.0:
        return f"is less than one {units}: m is milli, M is mega"
    shifts = [factor for factor in (1e9, 1e12, 1e6) if least <= value * factor <= most]
    if units != "s" and value < 1e6:
        usual = quantity(value * shifts[0], units) if shifts else ""
        if units == "B/s" and least <= value * 1e9 / 8.0 <= most:
            usual += f"{' or ' * bool(usual)}{value:g} Gbit/s"
        return f"is what a number without a unit means{': ' * bool(usual)}{usual}{'?' * bool(usual)}"
    shifts = [factor for factor in (1e-3, 1e-6, 1e-9, 1e3, 1e6) if least <= value * factor <= most]
    far = f"is {value / most:,.3g} times the largest" if value > most else f"is {value / least:,.3g} of the smallest"
    return f"{far} known: {quantity(value * shifts[0], units)}?" if shifts else ""


def _of_order(space, found):
    """Sentences on rates below those of wider numbers, where one of the two is a user's and nothing is said of it."""
    own = {(number.label, number.field): number for number in given(space) if number.label}
    for record, rows in space.rows.items():
        for label, row in rows.items():
            for kind, narrow, wide in ORDER:
                names = [str(Parameter(record, field, label)) for field in (narrow, wide)]
                if space.study.kinds[record] != kind or any(name in found for name in names):
                    continue
                if {(label, narrow), (label, wide)} & own.keys() and 0.0 < row.get(narrow, 0.0) < row[wide]:
                    rates = [quantity(row[field], "FLOP/s") for field in (narrow, wide)]
                    yield f"{names[0]} = {rates[0]} is below {wide}, {rates[1]}"


def _of_kept(space, said):
    """Sentences on rates that a user's row keeps of another one, or of itself, beside some that its user gave.

    Of those alone that the precisions of the space compute at; none where something is `said` of a rate of the row.
    """
    own: dict = {}
    for number in given(space):
        if number.label and number.value > 0.0:
            own.setdefault((number.record, number.label), (number.row, {}))[1][number.field] = number.value
    for (kind, label), (row, fields) in own.items():
        for record, together in TOGETHER:
            of, used = f"{record}.{label}", _rates_used(space)
            changed = [field for field in together if field in fields]
            kept = [field for field in together if field in used and field not in fields and row.get(field)]
            if kind == record and changed and kept and not any(f"{of}.{field}" in x for x in said for field in changed):
                rates = ", ".join(f"{field} {quantity(row[field], 'FLOP/s')}" for field in kept)
                base = next((x["row"] for field in kept if "row" in (x := sources.of_field(row, field))), label)
                yield f"{of}: {', '.join(changed)} changed, beside them {rates} kept of {base}"


def _rates_used(space):
    """Names of the rates that the precisions of a space compute at, those of an indexer apart."""
    rows = [row for record, of in space.rows.items() if space.study.kinds[record] == "precision" for row in of.values()]
    rates = {int(x) for row in rows for field, x in row.items() if field.endswith("_rate") and field != "index_rate"}
    return {f"{RATES[i]}_flops_per_s" for i in rates}


def _of_lengths(space):
    """Sentences on sequences that are longer than a model was made for."""
    lengths = {name: max(space.labels(name)[:: max(len(space.labels(name)) - 1, 1)]) for name in _lengths(space)}
    total = sum(lengths.values())
    for record, rows in space.rows.items() if lengths else ():
        for label in rows if space.study.kinds[record] == "model" else ():
            longest = None
            with contextlib.suppress(OSError, ValueError, RecursionError):  # a file that is no longer as it was
                longest = configs.longest(label, reader.DATA / "models", own=not space.restored)
            if longest is not None and total > longest:
                said = f"is beyond the {longest:,} positions that {label} was made for"
                yield f"{' + '.join(lengths)} = {_words(total, 'token')} {said}"


def _lengths(space):
    """Names of what makes the length of a sequence, as a space has it."""
    values = space.axes | space.fixed
    return [name for name in (("isl", "osl") if values.get("isl") is not None else ("context",)) if name in values]
