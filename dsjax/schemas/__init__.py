"""JSON schemas (2020-12) of the files that users write, made from the records that read them."""

import json

from ..errors import unknown
from . import catalog, grid, systems

SCHEMAS = {"grid": grid.schema, "catalog": catalog.schema, "systems": systems.schema}


def file_of(kind):
    """Name of the file of a schema, as templates refer to it."""
    return f"dsjax-{kind}.schema.json"


def text(kind):
    """The schema of a kind of file, as JSON text."""
    if kind not in SCHEMAS:
        raise unknown("schema", "kind of file", kind, SCHEMAS)
    return json.dumps(SCHEMAS[kind](), allow_nan=False) + "\n"
