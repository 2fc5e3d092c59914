"""Models, templates, schemas, result files of benchmarks, launches, as they are kept in data/goldens/files.json."""

import functools
import json
import zlib

import goldens
import pytest
from test_ingest import CASES as BENCHMARKS
from test_ingest import FILES
from test_launch import POOLS, WIDE, box, server

import dsjax
from dsjax import errors, formats, schemas, templates
from dsjax.catalog import reader
from dsjax.launching.engines import ENGINES
from dsjax.specs.variables import VARIABLES

NUMBERS = (0.0, 1e-10, 9.9996e-5, 0.00123456, 0.99996, 39.5, 999.96, 1234.5, 123456.0, 2.0**30, 9.99996e8, 1e11, -7.25)


def models():
    """{model: its numbers that are not the default, and its weights in counts}."""
    rows = reader.load()["model"]
    return {
        name: {key: x for key, x in row.items() if key != "sources" and x not in (None, 0)}
        for name, row in rows.items()
    }


def counts(*names):
    """{model: parameters, bytes and flops of every operator}."""
    kept = ("parameters", "weight_bytes", "flops", "rows", "layers")
    return {name: {key: x for key, x in dsjax.count(name).items() if key in kept} for name in names}


def outline(node, depth=3):
    """A schema down to a depth, and checksums of what is below."""
    if isinstance(node, dict) and depth:
        return {key: outline(value, depth - 1) for key, value in node.items()}
    return zlib.crc32(json.dumps(node).encode())


def ingested(name):
    return dsjax.ingest(FILES / name, **BENCHMARKS[name][0])


def launched():
    """Command lines of every engine for boxes, wide expert parallelism, servers, and two pools."""
    found = {}
    changes = {
        "box": {},
        "wide": WIDE,
        "tp 4": {"tp": 4, "moe_tp": 4},
        "pp": {"pp": 2, "chips": 16},
        "B200": {"hardware": "B200"},
    }
    for software in ENGINES:
        for name, how in changes.items():
            found[f"{software} {name}"] = told(lambda how=how, software=software: box(software, **how))
        found[f"{software} served"] = told(lambda software=software: server(software, tp=4, chips=8))
        found[f"{software} dense"] = told(lambda software=software: box(software, model="Llama-3.1-70B", tp=4, chips=4))
    found["pools"] = told(lambda: dsjax.launch(POOLS))
    return found


def told(ask):
    """What is launched, or the line that refuses it."""
    try:
        return ask()
    except errors.InputError as error:
        return str(error)


def written():
    """Numbers as readers see them, of every unit and of every variable."""
    shown = {
        name: [formats.shown(name, x) for x in NUMBERS] for name in ("tpot", "ttft", "mfu", "memory_per_chip", "dp")
    }
    units = sorted({unit for unit, _ in VARIABLES.values()} | {"Hz", "FLOP/s"})
    return {
        "shown": shown,
        "significant": [formats.significant(x, digits) for x in NUMBERS for digits in (2, 4)],
        "quantity": {unit: [formats.quantity(x, unit, 4) for x in NUMBERS] for unit in units},
        "label": {unit: [formats.label(x, unit) for x in NUMBERS] for unit in units},
        "rounded": [formats.rounded(x) for x in NUMBERS],
        "headings": {name: formats.heading(name) for name in VARIABLES},
    }


CASES = {
    "models": models,
    "counts": functools.partial(counts, "DeepSeek-V3", "Qwen3-Next-80B-A3B", "MiniMax-M1", "gpt-oss-120b", "Kimi-K3"),
    "launches": launched,
    "numbers": written,
    "schemas": lambda: {kind: outline(json.loads(schemas.text(kind))) for kind in schemas.SCHEMAS},
}
CASES |= {
    f"template: {kind} {of or ''}": functools.partial(templates.text, kind, of)
    for kind in templates.KINDS
    for of in templates.OF.get(kind, (None,))
}
CASES |= {f"ingested: {name}": functools.partial(ingested, name) for name in BENCHMARKS}


@pytest.mark.parametrize("name", CASES)
def test_what_is_read_and_written_is_what_is_kept(name):
    goldens.check("files", name, CASES[name]())
