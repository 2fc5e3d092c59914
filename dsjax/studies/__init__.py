"""Published studies, slips included, and the core model, by name."""

import importlib
from pathlib import Path

from ..errors import unknown

FOLDER = Path(__file__).parent
SERVERS = {"server": "SERVER", "disaggregated": "POOLS"}


def names():
    """Names of all studies."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def get(name, where="study"):
    """The study called `name`; "core" is the core model, `SERVERS` are those made of its steps."""
    if name == "core":
        return importlib.import_module("..serving.core", __name__).CORE
    if name in (*SERVERS,):
        return getattr(importlib.import_module("..serving.instances.study", __name__), SERVERS[name])
    if name not in names():
        raise unknown(where, "study", name, names())
    return importlib.import_module(f".{name}", __name__).STUDY
