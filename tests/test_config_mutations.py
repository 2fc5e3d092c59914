"""Configs with something wrong in them: a row of good numbers, or one line that names the file; never a traceback."""

import copy
import json
import math
import random

import pytest

import dsjax
from dsjax.catalog import configs, reader
from dsjax.specs import fields, records

MODELS = {path.stem: json.loads(path.read_text()) for path in sorted((reader.DATA / "models").glob("*.json"))}
FIELDS = fields.fields_of(records.Model)
VALUES = [None, -1, 0, 1, 2, 3, 7, 64, 1.5, math.inf, math.nan, 10**12, 10**400, "", "foo", "full_attention", True]
VALUES += [False, [], {}, [1], ["foo"], [[]], [None], {"a": 1}, "\u00e9" * 90]
KEYS = ["new_key", "layer_types", "head_dim", "num_experts", "index_topk", "sliding_window", "attn_type_list"]
KEYS += [
    "moe_layer_freq",
    "mlp_only_layers",
    "text_config",
    "linear_attn_config",
    "quantization_config",
    "architectures",
]


def places(config, path=()):
    """(keys of the objects around, key) of every value, and of every item of a list."""
    for key, value in config.items():
        yield path, key
        if isinstance(value, dict):
            yield from places(value, (*path, key))
        elif isinstance(value, list):
            yield from (((*path, key), i) for i in range(len(value)))


def mutated(config, rng):
    config = copy.deepcopy(config)
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        path, key = rng.choice(list(places(config)))
        around = config
        for part in path:
            around = around[part]
        what = rng.randrange(4)
        if what == 0:
            del around[key]
        elif what == 1 and isinstance(around, list):
            around.insert(key, rng.choice(VALUES))
        elif what == 1:
            around[rng.choice(KEYS)] = rng.choice(VALUES)
        else:
            around[key] = rng.choice(VALUES)
    return config


@pytest.mark.parametrize("seed", range(400))
def test_a_row_or_one_line(seed):
    rng = random.Random(seed)
    config = mutated(MODELS[rng.choice(list(MODELS))], rng)
    try:
        row = configs.row(config, "c.json")
        numbers = {key: reader.value("c.json", "model", key, row[key], FIELDS) for key in FIELDS}
    except dsjax.InputError as error:
        assert str(error).startswith("c.json") and "\n" not in str(error) and len(str(error)) < 700
    else:
        assert all(math.isfinite(number) and number >= 0 for number in numbers.values())
