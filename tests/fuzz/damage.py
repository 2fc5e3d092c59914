"""Damage, by a seeded generator: trees of values (of TOML, JSON), lines of text, bytes."""

import contextlib
import copy
import json
import math

LONG = "x" * 3000
VALUES = [None, -1, 0, 1, 2, 3, 7, 64, 0.5, 1.5, -0.0, 5e-324, 1e308, math.inf, -math.inf, math.nan, 10**12, 10**400]
VALUES += [True, False, [], {}, [1], ["foo"], [[]], [None], {"a": 1}, {"start": 1, "stop": 9, "step": 2}, [1, 1]]
VALUES += [{"start": 0, "stop": 1e300, "step": 1e-300}, {"start": 1, "stop": 2}, list(range(60)), [math.nan, math.nan]]
VALUES += ["", "foo", "1", "1e400", "nan", "all", "none", "400 GB/s", "50 mB/s", "-3 ms", "2 s", "H20", "fp8", "x.nc"]
VALUES += ["\u00e9" * 90, "\x1b[31mred", "a\nb", "a\u202eb", "\ud83d\ude00", "../../x", "a.b.c", "%s{}", "0x10", LONG]
KEYS = ["new_key", "hardware", "batch", "fixed", "base", "form", "curves", "sources", "title", "concurrency", "phase"]
KEYS += ["max_ttft", "by", "", "a b", "\x1b[1m", LONG]
TEXTS = [
    "",
    "nan",
    "inf",
    "-1",
    "0",
    "1e400",
    "foo",
    '"',
    ",",
    "\x00",
    "\n",
    "\r",
    "\ufeff",
    "\u00e9",
    "1_000",
    "9" * 400,
]


def places(tree, path=()):
    """Paths of all values of a tree of dicts and lists."""
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
        yield (*path, key)
        if isinstance(value, dict | list):
            yield from places(value, (*path, key))


def tree(rng, value):
    """A tree with one to three values, keys or items changed, added, moved or taken away."""
    value = copy.deepcopy(value)
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        found = list(places(value))
        if not found:
            return value
        *path, key = rng.choice(found)
        around = value
        for part in path:
            around = around[part]
        what = rng.randrange(6)
        if what == 0:
            del around[key]
        elif what == 1 and isinstance(around, list):
            around.insert(key, copy.deepcopy(rng.choice(VALUES)))
        elif what == 1:
            around[rng.choice(KEYS)] = copy.deepcopy(rng.choice(VALUES))
        elif what == 2:
            around[key] = copy.deepcopy(value_at(value, rng.choice(found)))
        elif what == 3 and isinstance(around[key], int | float):
            factor = rng.choice([-1, 0, 1e-9, 1e9, 1e30, 0.37])
            with contextlib.suppress(OverflowError):  # an integer of hundreds of digits stays as it is
                around[key] = around[key] * factor
        else:
            around[key] = copy.deepcopy(rng.choice(VALUES))
    return value


def value_at(value, path):
    """The value at a path of a tree."""
    for key in path:
        value = value[key] if not isinstance(value, dict) or key in value else None
        if not isinstance(value, dict | list):
            break
    return value


def toml(value):
    """TOML text of a dict of tables; what TOML has not (None) is left out."""
    return "".join(f"{json.dumps(str(key))} = {_inline(x)}\n" for key, x in value.items() if x is not None)


def _inline(value):
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(str(k))} = {_inline(x)}" for k, x in value.items() if x is not None) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_inline(x) for x in value if x is not None) + "]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return {"True": "true", "False": "false"}.get(str(value), str(value))


def written(rng, text):
    """Bytes of a text: as it is, or damaged as bytes."""
    data = text.encode("utf-8", "surrogatepass")
    return data if rng.random() < 0.8 else flipped(rng, data)


def flipped(rng, data):
    """Bytes with some changed, cut, doubled or put in."""
    data = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 4, 16])):
        at, what = rng.randrange(len(data) + 1), rng.randrange(5)
        if what == 0:
            del data[at : at + rng.choice([1, 8, 1000])]
        elif what == 1:
            data[at:at] = rng.choice(TEXTS).encode()
        elif what == 2:
            data[at:at] = data[at : at + rng.choice([1, 16, 256])]
        elif data and at < len(data):
            data[at] ^= 1 << rng.randrange(8)
    return bytes(data)


def cells(rng, rows):
    """Rows of a table with cells, columns or rows changed."""
    rows = copy.deepcopy(rows)
    for _ in range(rng.choice([1, 1, 2, 3])):
        row = rng.choice(rows)
        what = rng.randrange(6)
        if what == 0 and row:
            del row[rng.randrange(len(row))]
        elif what == 1:
            row.insert(rng.randrange(len(row) + 1), rng.choice(TEXTS))
        elif what == 2:
            rows.append(list(row))
        elif what == 3 and len(rows) > 1:
            rows.remove(row)
        elif row:
            row[rng.randrange(len(row))] = rng.choice([*TEXTS, str(10 ** rng.randrange(12)), str(rng.random())])
        if not rows:
            return [[]]
    return rows
