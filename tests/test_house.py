"""The house: which module may import which, how large modules and folders are, and what they say of themselves."""

import ast
from pathlib import Path

import pytest

import dsjax

PACKAGE = Path(dsjax.__file__).parent
TESTS = Path(__file__).parent
# From the ground up: a package imports only from itself and from those before it.
ORDER = (
    *(
        "errors",
        "scoped",
        "options",
        "types",
        "arguments",
        "units",
        "machine",
        "texts",
        "advance",
        "numerics",
        "arrays",
        "specs",
        "formats",
        "formulas",
        "catalog",
        "serving",
        "studies",
        "space",
    ),
    *("evaluation", "results", "sweeps", "search", "calibration", "validation", "schemas", "templates"),
    *(
        "analysis",
        "launching",
        "reproduction",
        "pages",
        "pictures",
        "reporting",
        "commands",
        "accessor",
        "cli",
        "__main__",
    ),
)
# Imports by name, each from a table that is complete there; `sweeps.storage` is the one table of kinds of storage.
BY_NAME = {"dsjax", "dsjax.cli", "dsjax.pictures", "dsjax.studies", "dsjax.sweeps.storage"}
MOST_LINES, MOST_MODULES, MOST_COLUMNS = 320, 15, 120


def module_name(path):
    """ "dsjax.space.grid" of its path; a package is called like its folder."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def parsed(folder):
    return {path: ast.parse(path.read_text(), str(path)) for path in sorted(folder.rglob("*.py"))}


TREES = parsed(PACKAGE)
MODULES = {module_name(path): tree for path, tree in TREES.items()}
PACKAGES = {module_name(path) for path in TREES if path.name == "__init__.py"}


def nodes(tree):
    """All nodes that run: those inside functions too, not those under `if TYPE_CHECKING`."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            node = ast.Module(node.orelse, [])
        yield node
        yield from nodes(node)


def imports(tree, module=None):
    """(bound name, dotted name, line) of every name that a file imports; `module` resolves the dots of its imports."""
    for node in nodes(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                bound = alias.asname or alias.name.split(".")[0]
                yield bound, alias.name if alias.asname else bound, node.lineno
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level and module is None:
                continue  # between files of tests
            if node.level:
                parts = module.split(".")[: len(module.split(".")) - node.level + (module in PACKAGES)]
                base = ".".join([*parts, base] if base else parts)
            for alias in node.names:
                yield alias.asname or alias.name, f"{base}.{alias.name}", node.lineno


def module_of(name):
    """The longest part of a dotted name that is a module of the package, or None."""
    parts = name.split(".")
    return next((n for i in range(len(parts), 0, -1) if (n := ".".join(parts[:i])) in MODULES), None)


def graph():
    """{module: the modules it imports}."""
    targets = {name: {module_of(full) for _, full, _ in imports(tree, name)} for name, tree in MODULES.items()}
    return {name: found - {None, name} for name, found in targets.items()}


def place(module):
    """Where in `ORDER` a module stands; the root holds the version, below everything."""
    return -1 if module == "dsjax" else ORDER.index(module.split(".")[1])


def test_every_package_has_its_place():
    found = {name.split(".")[1] for name in MODULES if name != "dsjax"}
    assert found == set(ORDER)


def test_imports_point_down():
    wrong = [f"{own} imports {to}" for own, found in graph().items() for to in found if place(to) > place(own)]
    assert not wrong


def test_no_circles():
    left = graph()
    while ends := {name for name, found in left.items() if not found or not any(name in x for x in left.values())}:
        left = {name: found - ends for name, found in left.items() if name not in ends}
    assert not left, f"modules of circles and between them: {sorted(left)}"


def test_imports_by_name_stand_where_the_tables_are():
    wrong = {name for name, tree in MODULES.items() for node in nodes(tree) if is_import_by_name(node)} - BY_NAME
    assert not wrong


def is_import_by_name(node):
    named = isinstance(node, ast.Attribute) and node.attr == "import_module"
    return named or (isinstance(node, ast.Name) and node.id in ("import_module", "__import__"))


def test_no_package_bears_a_public_name():
    """A package `sweep` would hide the function `dsjax.sweep`."""
    assert not {path.name for path in PACKAGE.iterdir() if path.is_dir()} & set(dsjax.__all__)


def test_every_module_says_what_it_holds():
    wrong = []
    for path, tree in TREES.items():
        said, first = ast.get_docstring(tree, clean=False), path.read_text().split("\n")[0]
        summary = said.split("\n")[0] if said else ""
        if not first.startswith('"""') or not summary.endswith((".", "!", "?", ":")) or len(first) > MOST_COLUMNS:
            wrong.append(f"{module_name(path)}: {first}")
    assert not wrong


def test_modules_are_short():
    lengths = {module_name(path): len(path.read_text().splitlines()) for path in TREES}
    assert not {name: n for name, n in lengths.items() if n > MOST_LINES}


def test_folders_are_small():
    folders = [path.parent for path in TREES if path.name != "__init__.py"]
    assert not {str(path): n for path in folders if (n := folders.count(path)) > MOST_MODULES}


def private(name):
    return name.startswith("_") and not name.endswith("__")


def private_uses(tree, module=None):
    """(line, dotted name) of each private name of another module of the package that a file imports or reads."""
    bound = {}
    for name, full, line in imports(tree, module):
        bound[name] = full
        yield from reached(full, module, line)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and private(node.attr):
            yield from reached(full_name(node, bound), module, node.lineno)
        elif isinstance(node, ast.Call) and len(node.args) > 1 and isinstance(node.args[1], ast.Constant):
            named, name = full_name(node.args[0], bound), node.args[1].value  # getattr, setattr, monkeypatch.setattr
            yield from reached(f"{named}.{name}" if named and isinstance(name, str) else "", module, node.lineno)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("dsjax."):
            yield from reached(node.value, module, node.lineno)


def full_name(node, bound):
    """Dotted name of an expression like `module.part.name`, or ""."""
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([bound[node.id], *reversed(parts)]) if isinstance(node, ast.Name) and node.id in bound else ""


def reached(full, module, line):
    """(line, name) where a dotted name is a private one of another module than `module`."""
    owner = module_of(full)
    if owner and owner != module and private(full.removeprefix(f"{owner}.").split(".")[0]):
        yield line, full


def test_private_names_stay_in_their_module():
    wrong = [f"{name}:{line}: {full}" for name, tree in MODULES.items() for line, full in private_uses(tree, name)]
    assert not wrong


def test_tests_use_no_private_name_of_the_evaluator():
    uses = {path.name: private_uses(tree) for path, tree in parsed(TESTS).items()}
    assert not [f"{name}:{line}: {x}" for name, found in uses.items() for line, x in found if ".evaluation." in x]


SEEN = [
    ("from dsjax.evaluation import lift\nlift._compiled(1)", True),
    ("from dsjax.evaluation.lift import _compiled", True),
    ("import dsjax.evaluation.lift\ndsjax.evaluation.lift._compiled", True),
    ("from dsjax.evaluation import lift\nmonkeypatch.setattr(lift, '_compiled', 1)", True),
    ("monkeypatch.setattr('dsjax.evaluation.lift._compiled', 1)", True),
    ("from dsjax.evaluation import lift\nlift.evaluate(1)._replace(x=1)", False),
    ("from dsjax.evaluation import lift\nlift.__doc__", False),
]


@pytest.mark.parametrize(("code", "seen"), SEEN)
def test_private_names_are_seen(code, seen):
    assert bool(list(private_uses(ast.parse(code)))) == seen
