"""Public names as type checkers and editors see them: all of them, with a type for everything given and returned."""

import ast
import inspect
from pathlib import Path

import pytest

import dsjax

FUNCTIONS = [name for name in dsjax.__all__ if name not in ("InputError", "__version__")]


def test_checkers_see_the_names_that_are_imported_on_first_use():
    """The block under `if TYPE_CHECKING` and the table say the same, and every name is said to be public."""
    file = ast.parse(Path(dsjax.__file__).read_text())
    table = next(x.value for x in file.body if isinstance(x, ast.Assign) and x.targets[0].id == "_PUBLIC")
    block = next(x.body for x in file.body if isinstance(x, ast.If))
    seen = {}
    for line in block:
        if isinstance(line, ast.ImportFrom):
            seen |= {alias.asname: line.module for alias in line.names}
        else:
            seen[line.targets[0].id] = seen.pop(line.value.id)
    assert seen == ast.literal_eval(table)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_everything_public_has_a_type(name):
    signature = inspect.signature(getattr(dsjax, name))
    assert signature.return_annotation is not inspect.Signature.empty
    assert not [p.name for p in signature.parameters.values() if p.annotation is inspect.Parameter.empty]


def test_the_package_says_that_it_is_typed():
    assert (Path(dsjax.__file__).parent / "py.typed").is_file()
