"""Answers to small questions, kept as JSON in data/goldens: a change of any of them is seen, number by number.

Laws and oracles say what is right; these say what has changed. `python tests/goldens.py [NAME ...]` writes those of
test_golden_NAME.py again (all without a name): the difference is to be read like code.
"""

import dataclasses
import difflib
import importlib
import json
import math
import re
import sys
import zlib
from pathlib import Path

import numpy as np
import xarray as xr

FOLDER = Path(__file__).parent / "data" / "goldens"
CLOSE = 1e-6  # relative: root finding and solvers of linear systems end a little elsewhere on another machine
PIXEL = 0.51  # places of texts
MOST = 120  # numbers of an array that are kept one by one; of larger ones their sums
LONG = 1000  # letters of a list of texts that are kept as they are; of a longer one their checksum
LEFT_OUT = ("dsjax_version", "created", "history")  # attributes
WIDTH = 110
MADE = re.compile(r"\d{4}-\d\d-\d\dT[\d:]+Z|dsjax (ingest )?\d+\.\d+\.\d+")  # when and by which version


# What is kept


def plain(x):
    """Any answer as JSON holds it."""
    if isinstance(x, xr.Dataset):
        return _of_dataset(x)
    if isinstance(x, (xr.DataArray, np.ndarray)):
        return _of_array(np.asarray(x))
    if isinstance(x, dict):
        return {_name(key): plain(value) for key, value in x.items()}
    if dataclasses.is_dataclass(x):
        return {"": type(x).__name__} | {f.name: plain(getattr(x, f.name)) for f in dataclasses.fields(x)}
    if isinstance(x, (set, frozenset)):
        return sorted(map(plain, x))
    if isinstance(x, (list, tuple, range)):
        return _of_list([plain(value) for value in x])
    if isinstance(x, np.generic):
        return plain(x.item())
    if isinstance(x, float):
        return float(f"{x:.10g}") if math.isfinite(x) else str(x)
    return x if isinstance(x, (int, bool, type(None))) else MADE.sub("()", str(x))


def _name(key):
    return key if isinstance(key, str) else " ".join(map(str, key)) if isinstance(key, tuple) else str(key)


def _of_list(values):
    texts = [x for x in values if isinstance(x, str)]
    if len(values) == len(texts) > 8 and sum(map(len, texts)) > LONG:
        return {"texts": len(texts), "first": texts[:4], "crc32": zlib.crc32("\n".join(texts).encode())}
    return values


def _of_array(array):
    if array.size <= MOST:
        return plain(array.tolist())
    if array.dtype.kind in "OUS":
        return _of_list(list(map(str, array.ravel().tolist())))
    values = array.astype(float).ravel()
    known = np.isfinite(values)
    values = np.where(known, values, 0.0)
    places = np.arange(1.0, values.size + 1.0) / values.size
    sums = {"known": int(known.sum()), "sum": float(values.sum()), "placed": float(values @ places)}
    return plain({"shape": list(array.shape), **sums})


def _of_dataset(ds):
    told = {name: x for name, x in ds.attrs.items() if name not in LEFT_OUT and "spec" not in name}
    variables = {}
    for name in (*ds.coords, *ds.data_vars):
        x = ds[name]
        variables[name] = [" ".join(map(str, x.dims)), x.attrs.get("units", ""), plain(x)]
    return {"attrs": plain(told), "variables": variables}


# Comparing


def differences(then, now, place=""):
    """Lines: where two answers differ, and how."""
    if isinstance(then, dict) and isinstance(now, dict):
        for key in [*then, *(key for key in now if key not in then)]:
            if key not in now or key not in then:
                yield f"{place}.{key}: {'is gone' if key in then else f'is new: {_short(now[key])}'}"
            else:
                yield from differences(then[key], now[key], f"{place}.{key}")
        if then.keys() == now.keys() and [*then] != [*now]:
            yield f"{place}: in another order: {', '.join(now)}"
    elif isinstance(then, list) and isinstance(now, list) and len(then) == len(now):
        for i, (a, b) in enumerate(zip(then, now)):
            yield from differences(a, b, f"{place}[{i}]")
    elif not _same(then, now, PIXEL if place.partition("[")[0].endswith("_px") else 1e-12):
        if isinstance(then, str) and isinstance(now, str) and "\n" in then:
            lines = difflib.unified_diff(then.splitlines(), now.splitlines(), lineterm="", n=0)
            yield f"{place}:\n  " + "\n  ".join(list(lines)[2:12])
        else:
            yield f"{place}: was {_short(then)}, is {_short(now)}"


def _same(a, b, least):
    numbers = all(isinstance(x, (int, float)) and not isinstance(x, bool) for x in (a, b))
    return math.isclose(a, b, rel_tol=CLOSE, abs_tol=least) if numbers else type(a) is type(b) and a == b


def _short(x):
    text = json.dumps(x)
    return text if len(text) < 200 else text[:200] + "..."


def kept(group):
    """{question: answer} of a group."""
    return json.loads((FOLDER / f"{group}.json").read_text(encoding="utf-8"))


def check(group, case, answer):
    """Fail where the answer to a question is not the one that is kept."""
    then = kept(group)
    now = json.loads(json.dumps(plain(answer)))
    found = list(differences(then.get(case), now, case))
    more = [f"and {len(found) - 20} more"] * (len(found) > 20)
    assert not found, "\n".join([*found[:20], *more, f"meant? python tests/goldens.py {group}"])


# Writing


def dumped(x, indent=0):
    """JSON whose short parts, and whose lists of numbers, are on one line."""
    text = json.dumps(x, ensure_ascii=False)
    inner = x.values() if isinstance(x, dict) else x if isinstance(x, list) else ()
    if len(text) + indent <= WIDTH or not any(isinstance(part, (dict, list, str)) for part in inner):
        return text
    pad, end = " " * (indent + 1), " " * indent
    if isinstance(x, list):
        return "[\n" + ",\n".join(pad + dumped(part, indent + 1) for part in x) + f"\n{end}]"
    rows = (f"{pad}{json.dumps(key, ensure_ascii=False)}: {dumped(part, indent + 1)}" for key, part in x.items())
    return "{\n" + ",\n".join(rows) + f"\n{end}}}"


def write(group):
    """Keep the answers to all questions of a file of tests."""

    def kept(case):
        print(f"{group}: {case}", flush=True)
        return json.loads(json.dumps(plain(cases[case]())))

    cases = importlib.import_module(f"test_golden_{group}").CASES
    FOLDER.mkdir(exist_ok=True)
    text = dumped({case: kept(case) for case in cases}) + "\n"
    (FOLDER / f"{group}.json").write_text(text, encoding="utf-8")
    print(f"{group}: {len(cases)} answers, {len(text) / 1e3:,.0f} kB")


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent.parent))
    names = sys.argv[1:] or sorted(
        path.stem.removeprefix("test_golden_") for path in FOLDER.parent.parent.glob("test_golden_*.py")
    )
    for name in names:
        write(name)
