"""Measurement files: CSV with one measured time per line -> shapes and seconds of one kind (`kinds.KINDS`).

Lines before the header that begin with # are comments. Columns that a kind needs (names in brackets are read too):

    gemm          m n k; quantised (1) where the time holds a pass that makes the rows' operands
    grouped-gemm  num_groups [num_local_experts] m_per_group [tokens_per_expert] n k; or with hidden_size and
                  intermediate_size in place of n and k, and up_proj_us, down_proj_us: two measurements in a line
    experts,      num_tokens (of all cards) hidden_size [hidden] inter_size num_experts ep_size [ep, moe_ep_size];
    fused-experts topk [num_topk] where it is not 8, moe_tp_size where an expert is split; rows spread evenly over the
                  experts; fused: the rows are put in order and the results summed in that time, without a dispatch
    mla-decode    batch [batch_size] kv_len [step + isl]; where they differ from 128, 1, 512, 64: heads [num_heads],
                  queries, kv_lora_rank, qk_rope_head_dim
    gqa-decode    batch kv_len heads kv_heads [num_key_value_heads, num_kv_heads] head_dim; queries where not 1
    mla-prefill   batch [batch_size; else 1] isl [seq_or_sq, seq_len]; heads, qk_nope_head_dim, qk_rope_head_dim,
                  v_head_dim; heads_per_kv where several heads read one key and value (128 where absorbed; else 1)
    gqa-prefill   batch [else 1] isl heads kv_heads head_dim
    dispatch,     ep_size [ep, moe_ep_size] num_token [tokens_per_rank, num_tokens] hidden_size [hidden];
    combine       topk [num_topk], node_num [1]
    all-reduce    num_gpus, bytes; or message_size, in elements of the precision measured
    recurrent     batch v_heads [num_v_heads] k_dim [head_k_dim] v_dim [head_v_dim]; queries [seq_len], state_bytes (4)
    scan,         batch isl k_heads [num_k_heads] v_heads k_dim v_dim; state_bytes (4); channel-scan: KDA; state-scan
    channel-scan, (Mamba-2): k_heads [n_groups] v_heads [nheads] k_dim [d_state] v_dim [head_dim], chunk [chunk_size]
    state-scan
    convolution   batch channels; isl (1), taps [d_conv] (4), is_prefill (0)
    mixing-pre,   num_tokens hidden_size; streams [hc_mult] (4), sites [num_sites] (1) in one time
    mixing-post
    compressed-decode, compressed-prefill   batch heads positions (entries of a token), new_tokens of a prompt

and a time whose name says its unit: latency_us (_s, _ms, _ns; also time_us, us, ms, us_derived, dispatch_us,
dispatch_avg_t_us). Other columns are labels: `where` picks lines by them; one that speaks of another
kernel (head_dim in a table of MLA, a sliding window) is an error. Lines without a time or a size are left out
and counted; lines of one shape are merged into their geometric mean where they agree within a factor of `APART`.
"""

import csv
import io
import math
import operator
import re
from typing import NamedTuple

import numpy as np

from .. import texts
from ..errors import InputError, unknown
from ..options import option
from . import precisions, times
from .kinds import KINDS

APART = 1.5  # largest over smallest time of one shape that are still the same measurement
LIMIT, LARGEST = 10**6, 2**28  # lines, bytes
_CHIPS = ("device", "hardware")
_WINDOWS = ("window_size", "sliding_window")
_ALSO = {
    "num_groups": ("num_local_experts",),
    "m_per_group": ("tokens_per_expert",),
    "batch": ("batch_size",),
    "heads": ("num_heads",),
    "kv_heads": ("num_key_value_heads", "num_kv_heads"),
    "isl": ("seq_or_sq", "seq_len"),
    "ep_size": ("ep", "moe_ep_size"),
    "num_token": ("tokens_per_rank", "num_tokens"),
    "hidden_size": ("hidden",),
    "topk": ("num_topk",),
    "bytes": ("message_size",),  # in elements: `in_bytes`
}
_SUMS = {"kv_len": ("step", "isl")}  # columns of aiconfigurator's tables: cached tokens, new ones
_BEFORE = ("step", "prefix")  # tokens before a prompt
_CONDITION = re.compile(r"\s*([^<>=]+?)\s*(>=|<=|=)\s*(.*?)\s*")
_COMPARE = {">=": operator.ge, "<=": operator.le, "=": operator.eq}


class Measurements(NamedTuple):
    """Shapes {column: [point]}, times [s], labels {column: the values that occur}, and what became of the lines."""

    shapes: dict
    seconds: np.ndarray
    labels: dict
    lines: int  # that `where` picks
    incomplete: int  # of them, without a time or a size
    merged: int  # of them, merged into another of the same shape
    in_elements: bool = False  # whether `bytes` are still elements (`in_bytes`)
    of_precision: str = ""  # how many lines `precision` picks, where some are of another


def read(path, kind, where=(), time=None, precision=None):
    """`Measurements` of a file. `where`: conditions ("device=H100", "kv_len>=256"); `time`: COLUMN or COLUMN=UNIT.

    `precision`: lines of another do not count, where a column says it.

    Raises InputError naming the file, the line and the column.
    """
    if kind not in KINDS:
        raise unknown("calibrate", "kind", kind, KINDS)
    header, lines = _lines(path)
    chosen, of_precision = precisions.chosen(path, header, _chosen(path, header, lines, where), precision)
    header, chosen = _with_sums(header, chosen, kind)
    _own(path, kind, header, chosen)
    of_times = times.columns(path, header, kind, time, _sizes(kind))
    points = [point for line in chosen for point in _points(path, header, line, kind, of_times)]
    complete = [(shape, seconds) for shape, seconds in points if seconds is not None and None not in shape.values()]
    if not complete:
        raise InputError(f"{path}: no line has a time and a shape; expected {_wanted(kind)}")
    labels = {name: sorted({line[name] for _, line in chosen}) for name in header}
    for name in _CHIPS:
        if len(labels.get(name, ())) > 1:
            several, how = ", ".join(labels[name]), option("where", f"{name}={labels[name][0]}")
            raise InputError(f"{path}: column {name} has {several}; expected one chip ({how})")
    shapes, seconds, merged = _merge(path, header, complete, chosen)
    in_elements = "bytes" in shapes and "bytes" not in header
    incomplete = len(points) - len(complete)
    return Measurements(shapes, seconds, labels, len(chosen), incomplete, merged, in_elements, of_precision)


def in_bytes(found, element_bytes):
    """`Measurements` with messages in bytes, where the file has them in elements of `element_bytes`."""
    if not found.in_elements:
        return found
    return found._replace(shapes=found.shapes | {"bytes": element_bytes * found.shapes["bytes"]}, in_elements=False)


def _lines(path):
    """(header, [(number of the line, {column: text})])."""
    text = texts.read(path, "a CSV file", LARGEST)
    try:
        with io.StringIO(text, newline="") as file:
            reader = csv.reader(file)
            first = (cells for cells in reader if cells and not cells[0].startswith("#"))
            header = [name.strip() for name in next(first, [])]
            if len(set(header)) < len(header):
                twice = next(name for name in header if header.count(name) > 1)
                raise InputError(f"{path}: column {twice!r} is there twice; expected it once")
            lines = []
            for cells in reader:
                if not any(cells):
                    continue
                if len(cells) != len(header):
                    raise InputError(
                        f"{path} line {reader.line_num}: {len(cells)} values; expected {len(header)}, as in the header"
                    )
                lines.append((reader.line_num, dict(zip(header, map(str.strip, cells), strict=True))))
                if len(lines) > LIMIT:
                    raise InputError(f"{path}: more than {LIMIT:,} lines; expected fewer measurements")
    except csv.Error as error:
        raise InputError(f"{path}: not a CSV file ({error}); expected a line of values for each measurement") from None
    if not lines:
        raise InputError(f"{path}: no measurements; expected a header and a line for each of them")
    return header, lines


def _chosen(path, header, lines, where):
    """The lines that meet every condition."""
    for condition in where:
        match, given = _CONDITION.fullmatch(condition), option("where", condition)
        if not match:
            raise InputError(f"{given}: expected COLUMN=VALUE, COLUMN>=NUMBER or COLUMN<=NUMBER")
        column, sign, value = match.groups()
        if column not in header:
            raise unknown(f"{path}: {given}", "column", column, header)
        values = sorted({line[column] for _, line in lines})
        if sign == "=":
            lines = [(i, line) for i, line in lines if line[column] == value]
        else:
            limit = _number(given, value)
            compare = _COMPARE[sign]
            lines = [
                (i, line)
                for i, line in lines
                if line[column] and compare(_number(f"{path} line {i}", line[column]), limit)
            ]
        if not lines:
            shown = ", ".join(values[:8]) + (", ..." if len(values) > 8 else "")
            raise InputError(f"{path}: {given}: no line is left; {column} has {shown}")
    return lines


def _with_sums(header, chosen, kind):
    """(header, lines) with the columns that a table has in parts."""
    for name, parts in _SUMS.items():
        if name in KINDS[kind].columns and name not in header and set(parts) <= set(header):
            header = [*header, name]
            chosen = [(i, line | {name: _sum([line[part] for part in parts])}) for i, line in chosen]
    return header, chosen


def _sum(texts):
    """A sum of whole numbers; empty where one of them is none."""
    return str(sum(map(int, texts))) if all(text.isdecimal() for text in texts) else ""


def _own(path, kind, header, chosen):
    """Refuses a table of another kernel: a column that this one does not have, a sliding window."""
    for column, other in KINDS[kind].foreign.items():
        if column in header:
            raise InputError(f"{path}: column {column} is of {other}, not of {kind}; expected a table of {kind}")
    for column in _WINDOWS:
        found = {line.get(column, "") for _, line in chosen} - {"", "0"}
        if found and KINDS[kind].foreign:
            value, how = min(found), option("where", f"{column}=0")
            raise InputError(f"{path}: column {column} has {value}; expected attention to all ({how})")
    for column in _BEFORE if kind.endswith(("-prefill", "scan")) else ():
        if found := {line.get(column, "") for _, line in chosen} - {"", "0"}:
            how = option("where", f"{column}=0")
            raise InputError(f"{path}: column {column} has {min(found)}; expected whole prompts ({how})")


def _sizes(kind):
    """Names of the columns that a kind takes as sizes, and parts of them."""
    of = KINDS[kind]
    found = {*of.columns, *of.optional}
    parts = (_SUMS.get(name, ()) for name in found)
    also = ((*_ALSO.get(name, ()), *of.also.get(name, ())) for name in found)
    return found.union(*parts, *also, ("hidden_size", "intermediate_size") if kind == "grouped-gemm" else ())


def _points(path, header, line, kind, of_times):
    """[({column of the shape: number or None}, seconds or None)] of a line."""
    number, values = line
    where = f"{path} line {number}"
    columns = KINDS[kind].columns | dict.fromkeys(KINDS[kind].optional)
    of = KINDS[kind].also
    names = {name: (name, *_ALSO.get(name, ()), *of.get(name, ())) for name in columns}
    aliases = {name: next((x for x in several if x in header), None) for name, several in names.items()}
    pair = len(of_times) == 2
    if pair:
        aliases |= {"n": "intermediate_size", "k": "hidden_size"}
    optional = KINDS[kind].optional | ({"batch": 1.0} if kind.endswith("-prefill") else {})
    for name, column in aliases.items():
        if (column is None and name not in optional) or (column and column not in header):
            raise InputError(f"{path}: column {column or name} is missing; expected {_wanted(kind)}")
    shape = {
        name: _positive(f"{where} {column}", values[column], optional.get(name) == 0.0) if column else optional[name]
        for name, column in aliases.items()
    }
    shape = {name: optional.get(name) if x is None else x for name, x in shape.items()}
    points = []
    for column, factor in of_times:
        seconds = _positive(f"{where} {column}", values[column])
        of = shape
        if pair and None not in (shape["n"], shape["k"]):
            width, hidden = shape["n"], shape["k"]
            of = shape | ({"n": 2.0 * width, "k": hidden} if column == "up_proj_us" else {"n": hidden, "k": width})
        points.append((of, None if seconds is None else seconds * factor))
    return points


def _wanted(kind):
    return f"the columns {', '.join(KINDS[kind].columns)} and a time such as latency_us"


def _number(where, text):
    try:
        value = float(text)
    except ValueError:
        raise InputError(f"{where}: {text[:40]!r} is not a number; expected a number") from None
    if not math.isfinite(value):
        raise InputError(f"{where}: {text[:40]!r} is not finite; expected a number")
    return value


def _positive(where, text, or_zero=False):
    """A positive number, `or_zero`; None where the cell is empty."""
    if not text:
        return None
    value = _number(where, text)
    if not (1e-12 < value < 1e18 or (or_zero and value == 0.0)):
        raise InputError(f"{where}: {text[:40]} is out of range; expected a positive number, in the unit of its name")
    return value


def _merge(path, header, points, chosen):
    """(shapes, seconds, number of merged points): points of equal shape become one."""
    by_shape = {}
    for shape, seconds in points:
        by_shape.setdefault(tuple(shape.items()), []).append(seconds)
    for shape, seconds in by_shape.items():
        if max(seconds) > APART * min(seconds):
            apart = [name for name in header if 1 < len({line[name] for _, line in chosen}) <= 12]
            sizes, how = ", ".join(f"{name} {x:g}" for name, x in shape), option("where")
            raise InputError(
                f"{path}: {sizes}: measured {len(seconds)} times, from {min(seconds):.4g} to {max(seconds):.4g} s; "
                f"expected one thing measured ({how} COLUMN=VALUE; with several values: {', '.join(apart) or 'none'})"
            )
    names = [name for name, _ in next(iter(by_shape))]
    shapes = {name: np.array([dict(shape)[name] for shape in by_shape]) for name in names}
    seconds = np.array([math.exp(sum(map(math.log, x)) / len(x)) for x in by_shape.values()])
    return shapes, seconds, len(points) - len(seconds)
