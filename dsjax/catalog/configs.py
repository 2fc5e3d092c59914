"""A Hugging Face `config.json` -> a row of the models: sizes read by name, checked against each other.

What an architecture calls things, and what all models of it have, is a row of `architectures.ARCHITECTURES`. A config
that contradicts itself, that is of an architecture that is not there, or that has a key which changes the model and is
not understood, is an `InputError`.
"""

import json
import os
from pathlib import Path

from .. import texts
from ..errors import InputError, unknown
from ..specs import fields, records
from . import checkpoints
from .architectures import ARCHITECTURES, REFUSED, TYPES
from .kinds import attention, towers
from .reading import Reader

LARGEST = 4_000_000  # bytes; those of real models have a few thousand


def path_of(name):
    """The path of a config that `name` means: a *.json, or a folder with a config.json; else None."""
    if not isinstance(name, str):
        return None
    path = Path(name)
    if path.suffix == ".json":
        return path
    return path / "config.json" if os.path.isfile(path / "config.json") else None  # also of what no path can be: False


def read(path):
    """The row of the model whose `config.json` is at `path`."""
    path = Path(path)
    text = texts.read(path, "a Hugging Face config.json", LARGEST)
    try:
        config = json.loads(text, object_pairs_hook=_unique(path))
    except InputError:
        raise
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not valid JSON ({error}); expected a Hugging Face config.json") from None
    return row(config, str(path), checkpoints.file_beside(path))


def longest(name, folder, own=True):
    """Positions that a model was made for, its `max_position_embeddings`; None where no config says.

    `name`: what means a config, or that of one in `folder`. `own`: the user of this process gave it; else, as in
    results of somebody else, it opens no path.
    """
    path = (path_of(name) if own else None) or folder / f"{Path(name).name}.json"
    config = json.loads(texts.read(path, "a Hugging Face config.json", LARGEST)) if path.is_file() else {}
    if not isinstance(config, dict):
        return None
    for of in (config, *(x for x in config.values() if isinstance(x, dict))):
        if isinstance(found := of.get("max_position_embeddings"), int) and found > 0:
            return found
    return None


def row(config, where, beside=None):
    """{field of `records.Model`: number} of a parsed config, with its `quantisation`, what the time leaves out
    (`left_out`), and where they come from.

    `beside`: (path, what it holds) of a `hf_quant_config.json`, None where there is none.
    """
    if not isinstance(config, dict):
        raise InputError(f"{where}: a {type(config).__name__}; expected an object of a Hugging Face config.json")
    text, remark, vision = towers.opened(config, where)
    name = architecture_of(config, text, where)
    kind = ARCHITECTURES[name]
    reader = Reader(text, where, kind.names, kind.defaults)
    numbers, layers = _numbers(reader, kind, vision)
    reader.finish(kind.ignored)
    source = config.get("_source")
    found = numbers | {"source": source if isinstance(source, str) and source.strip() else f"{where}, {name}"}
    said = [remark, *(text_ for key, text_ in kind.said.items() if not key or text.get(key))]
    if left_out := "; ".join(filter(None, said)):
        found |= {"left_out": left_out, "source": f"{found['source']}; {left_out}"}
    if stored := checkpoints.of(text, where, numbers, beside, layers):
        found["quantisation"] = stored
        found["source"] += f"; weights stored in {stored['method']}, {stored['bits']} bit"
    return found | {key: config[f"_{key}"] for key in ("kind", "sources", "unverified") if f"_{key}" in config}


def architecture_of(config, text, where):
    """The name of its architecture, by the config or by the `text` config in it; one that is not there is refused."""
    given = config.get("architectures")
    if given is None:
        kinds = (config.get("model_type"), text.get("model_type"))
        given = next((TYPES[kind] for kind in kinds if isinstance(kind, str) and kind in TYPES), kinds[0])
        if not isinstance(given, str) or given not in ARCHITECTURES:
            raise unknown(f"{where}: model_type", "architecture", given, TYPES)
        return given
    names = given if isinstance(given, list) else [given]
    if len(names) != 1 or not isinstance(names[0], str):
        raise InputError(f"{where}: architectures: {str(given)[:80]}; expected a list of one name")
    name = names[0]
    if name in REFUSED:
        raise InputError(f"{where}: architectures: {name}; expected an architecture that is read: {REFUSED[name]}")
    inside = _inside(config, text)
    if name not in ARCHITECTURES and inside is None:
        raise unknown(f"{where}: architectures", "architecture", name, ARCHITECTURES)
    kind = config.get("model_type")
    said = "" if kind == "minimax" else str(kind)  # which M2 calls itself too
    if name in ARCHITECTURES and ARCHITECTURES[TYPES.get(said, name)] is not ARCHITECTURES[name]:
        raise InputError(f"{where}: model_type: {kind!r} beside {name}; expected that of the same architecture")
    if inside and name in ARCHITECTURES and name not in ANY_TEXT and ARCHITECTURES[inside] is not ARCHITECTURES[name]:
        raise InputError(f"{where}: architectures: {name} with a text config of {inside}; expected that of the same")
    return inside or name


ANY_TEXT = ("Mistral3ForConditionalGeneration",)  # of Mistral Small 3 and 4, Ministral, Mistral Large 3


def _inside(config, text):
    """Architecture of a config inside another one, where it says it; None where there is none, or nothing said."""
    if text is config:
        return None
    names = text.get("architectures")
    if isinstance(names, list) and len(names) == 1 and isinstance(names[0], str) and names[0] in ARCHITECTURES:
        return names[0]
    kind = text.get("model_type")
    return TYPES.get(kind) if isinstance(kind, str) else None


def _numbers(reader, kind, vision):
    """({field: number} of every field of `records.Model`, (mixers, FFNs) of the layers)."""
    found = {key: reader.whole(key) for key in ("hidden_size", "num_attention_heads", "vocab_size")}
    found["num_nextn_predict_layers"] = reader.whole("num_nextn_predict_layers", 0, low=0)
    found["tie_word_embeddings"] = reader.flag("tie_word_embeddings")
    mixers, ffns, more = kind.layers(reader, kind)
    found |= {"mixers": mixers, "ffns": ffns, "num_hidden_layers": len(mixers)} | more
    found |= {"attention_free_layers": mixers.count("none")} if "none" in mixers else {}
    found |= kind.attention(reader, kind, found)
    beside = 0
    for part in (kind.linear, kind.indexer, attention.windows, kind.ffns):
        if part is None or (part is attention.windows and kind.attention is attention.compressed):
            continue
        fields_ = part(reader, kind, found)
        beside += fields_.pop("vector_parameters", 0)
        found |= fields_
    if kind.streams:
        found["residual_streams"] = reader.whole("residual_streams")
    beside += sum(vector(reader, found) for vector in kind.vectors)
    found |= {"vector_parameters": max(beside, 0), "vision_parameters": vision}  # what a family lacks is less than that
    known = fields.fields_of(records.Model)
    layers = (mixers, ffns)
    found = fields.completed(known, found)
    return {name: found[name] for name in known}, layers


def _unique(path):
    def pairs(items):
        found = dict(items)
        if len(found) < len(items):
            keys = [key for key, _ in items]
            twice = next(key for key in keys if keys.count(key) > 1)
            raise InputError(f"{path}: {twice}: there twice; expected every key once")
        return found

    return pairs
