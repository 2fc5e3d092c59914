"""Models, templates, schemas, result files of benchmarks, launches, as they are kept in data/goldens/files.json."""

import dataclasses
import functools
import itertools
import json
import zlib

import goldens
import pytest
from test_architectures import OTHERS
from test_ingest import CASES as BENCHMARKS
from test_ingest import FILES
from test_launch import POOLS, WIDE, box, server

import dsjax
from dsjax import errors, formats, schemas, templates
from dsjax.catalog import configs, quantisation, reader
from dsjax.formulas import efficiency
from dsjax.launching.engines import ENGINES
from dsjax.specs import records
from dsjax.specs.variables import VARIABLES
from dsjax.units import expected

CONFIGS = {name: other["config"] for name, other in OTHERS.items()}
CONFIGS |= {
    file.stem: json.loads(file.read_text(encoding="utf-8")) for file in sorted((reader.DATA / "models").glob("*.json"))
}
DOMAIN = ("units", "low", "high", "open_low", "integer", "or_zero", "default")
NUMBERS = (0.0, 1e-10, 9.9996e-5, 0.00123456, 0.99996, 39.5, 999.96, 1234.5, 123456.0, 2.0**30, 9.99996e8, 1e11, -7.25)


def models():
    """{model: its numbers that are not the default, and its weights in counts}."""
    rows = reader.load()["model"]
    return {
        name: {key: x for key, x in row.items() if key != "sources" and x not in (None, 0)}
        for name, row in rows.items()
    }


def configs_with(change):
    """{architecture: {key: checksum of the row, or the error, that another value makes}} of every config."""
    found = {}
    for name, config in CONFIGS.items():
        inner = config.get("text_config", config)
        found[name] = {}
        for key in [None, *inner]:
            own = dict(inner)
            if key is not None and not change(own, key):
                continue
            try:
                row = configs.row(own if inner is config else config | {"text_config": own}, "c")
            except errors.InputError as error:
                row = str(error)
            number = zlib.crc32(json.dumps(goldens.plain(row), sort_keys=True).encode())
            if number != found[name].get("as it is"):
                found[name][key or "as it is"] = number
    return found


def without(given, key):
    """A config that lacks a key."""
    return given.pop(key) is not None


def with_null(given, key):
    """A config in which a key is null."""
    return given.update({key: None}) is None


def with_another(given, key):
    """A config with a number that is greater by one, a flag that is not so."""
    x = given[key]
    is_number = isinstance(x, (int, float)) and not isinstance(x, bool)
    given[key] = x + 1 if is_number else not x
    return is_number or isinstance(x, bool)


def quantised():
    """How weights are stored, of every method and size of groups, or the error."""
    sizes = itertools.product((3, 4, 8), (-1, 0, 1, 64), (False, True))
    grouped = [{"bits": bits, "group_size": n, "sym": sym} for bits, n, sym in sizes]
    sizes = itertools.product((4, 8), ("int", "float"), (None, 16, 32, 64))
    weights = [{"num_bits": bits, "type": kind, "group_size": n} for bits, kind, n in sizes]
    given = [{"quant_method": method} | how for method in ("gptq", "awq") for how in grouped]
    given += [{"quant_method": "compressed-tensors", "config_groups": {"g": {"weights": how} | beside}}
              for how in weights for beside in ({}, {"input_activations": {"num_bits": 8}})]  # fmt: skip
    given += [{"quant_method": "bitsandbytes", key: True} for key in ("load_in_4bit", "load_in_8bit")]
    given += [{"quant_method": method} for method in quantisation.METHODS]
    algorithms = itertools.product(quantisation._ALGORITHMS, (None, "FP8"))
    given += [{"quant_algo": name, "kv_cache_quant_algo": cache} for name, cache in algorithms]
    config = CONFIGS["Llama-3.1-8B"]

    def kept(how):
        return configs.row(config | {"quantization_config": how}, "c").get("quantisation")

    return {json.dumps(how): told(lambda how=how: kept(how)) for how in given}


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
        "w8a16": {"precision": "w8a16"},
        "bf16": {"precision": "bf16", "chips": 32},
        "nvfp4": {"precision": "nvfp4-kv8", "hardware": "B200"},
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


def records_of():
    """{record: {field: [domain and unit, default, what else is known of it]}} of all records."""
    kinds = {name: kind for name, kind in vars(records).items() if dataclasses.is_dataclass(kind)}
    kinds |= {f"curve {name}": form.record for name, form in efficiency.FORMS.items()}
    return {name: {field.name: of_field(field) for field in dataclasses.fields(kind)} for name, kind in kinds.items()}


def of_field(field):
    meta = {key: x for key, x in field.metadata.items() if key != "doc"}
    default = "-" if field.default is dataclasses.MISSING else field.default
    domain = expected(meta) if "low" in meta else ""
    return [domain, default, " ".join(f"{key} {x}" for key, x in sorted(meta.items()) if key not in DOMAIN)]


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
    "configs without a key": functools.partial(configs_with, without),
    "configs with a null": functools.partial(configs_with, with_null),
    "configs with another number": functools.partial(configs_with, with_another),
    "quantised": quantised,
    "counts": functools.partial(counts, "DeepSeek-V3", "Qwen3-Next-80B-A3B", "MiniMax-M1", "gpt-oss-120b", "Kimi-K3"),
    "launches": launched,
    "numbers": written,
    "records": records_of,
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
