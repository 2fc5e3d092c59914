"""The pages as a site, their names and commands, and a README of one screen. What they print: test_printed_outputs."""

import ast
import functools
import inspect
import os
import re
import shlex
import subprocess
import sys
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path

import click
import pytest

import dsjax
from dsjax.cli import COMMANDS, main
from dsjax.formulas.exchange import MODES
from dsjax.formulas.pipelines import PIPELINES
from dsjax.serving import constraints
from dsjax.serving.operators import BLOCKS

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
needs_site = pytest.mark.skipif(
    find_spec("mkdocs") is None or find_spec("material") is None or find_spec("mkdocstrings") is None,
    reason="the extra 'docs' is not installed",
)


def build(config, folder):
    """The site built into a folder; every warning is an error."""
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", config, "-d", folder],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(ROOT)},
    )


class Loaded(HTMLParser):
    """What a page makes a browser load."""

    def __init__(self):
        super().__init__()
        self.addresses, self.text = [], []

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        name = {"script": "src", "img": "src", "link": "href", "iframe": "src"}.get(tag)
        if name and given.get(name) and given.get("rel") != "canonical":
            self.addresses.append(given[name])

    def handle_data(self, data):
        self.text.append(data)


@needs_site
def test_the_site_is_built_without_a_warning_and_loads_nothing_from_elsewhere(tmp_path):
    done = build("mkdocs.yml", tmp_path / "site")
    assert done.returncode == 0, done.stdout + done.stderr
    pages = {str(path.relative_to(tmp_path / "site")): Loaded() for path in (tmp_path / "site").rglob("*.html")}
    for name, page in pages.items():
        page.feed((tmp_path / "site" / name).read_text(encoding="utf-8"))
        assert [x for x in page.addresses if re.match(r"(https?:)?//", x)] == [], name
    said = {name: " ".join(page.text) for name, page in pages.items()}
    assert "Evaluate a whole grid and return it" in said["reference/python.html"]
    assert "Replace or add an axis" in said["reference/commands.html"]
    assert "expert parallelism: groups of chips" in said["reference/nomenclature.html"]
    assert "What one chip computes, moves and sends" in said["model.html"]
    for sheet in (tmp_path / "site").rglob("*.css"):
        assert not re.search(r"url\(['\"]?(https?:)?//|@import", sheet.read_text(encoding="utf-8")), sheet.name


@needs_site
def test_a_broken_link_is_seen(tmp_path):
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    start = text.index("nav:")
    text = (
        text[:start].replace("docs_dir: docs", f"docs_dir: {tmp_path / 'docs'}").replace("extra_css: [extra.css]", "")
    )
    (tmp_path / "mkdocs.yml").write_text(text.replace("docs/hooks.py", str(ROOT / "docs" / "hooks.py")), "utf-8")
    (tmp_path / "docs").mkdir()
    for line, code in (("[there](index.md#here)", 0), ("[there](index.md#nowhere)", 1), ("[there](other.md)", 1)):
        (tmp_path / "docs" / "index.md").write_text(f"# Here\n\n{line}\n", encoding="utf-8")
        done = build(str(tmp_path / "mkdocs.yml"), tmp_path / "site")
        assert done.returncode == code, (line, done.stdout + done.stderr)


def test_the_readme_is_one_screen():
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 90
    assert [line for line in lines if len(line) > 120 and "pip install" not in line] == []


def commands_in(text):
    """Commands of spans of code in running text."""
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    return [" ".join(span.split()) for span in re.findall(r"`(dsjax [^`]+)`", prose)]


@pytest.mark.parametrize("path", PAGES, ids=[str(path.relative_to(ROOT)) for path in PAGES])
def test_commands_in_the_text_have_the_options_that_it_names(path):
    for line in commands_in(path.read_text(encoding="utf-8")):
        words = re.split(r"[\s|]+", line)[1:]
        if words[0] in ("COMMAND", "--help"):
            continue
        command = main.get_command(click.Context(main), words[0])
        assert command, f"{path.name}: {line}"
        known = {name for option in command.params for name in option.opts + option.secondary_opts} | {"--help", "-h"}
        asked = {word.partition("=")[0] for word in shlex.split(line.replace("'", "")) if word.startswith("-")}
        assert {option for option in asked if not re.match(r"-[a-z]{2}", option)} <= known, f"{path.name}: {line}"


@pytest.mark.parametrize("path", PAGES, ids=[str(path.relative_to(ROOT)) for path in PAGES])
def test_calls_have_the_arguments_that_they_are_given(path):
    """Of Python that is not run, too."""
    text = path.read_text(encoding="utf-8")
    codes = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    codes += [" ".join(span.split()) for span in re.findall(r"`(dsjax\.\w+\([^`]*\))`", text)]
    for call in (node for code in codes for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call)):
        name = ast.unparse(call.func)
        if name.startswith("dsjax.") and "..." not in ast.unparse(call):
            values = {word.arg: word.value for word in call.keywords}
            function = functools.reduce(getattr, name.split(".")[1:], dsjax)
            inspect.signature(function).bind_partial(*call.args, **values)
            options = inspect.signature(dsjax.sweep).parameters.keys() | inspect.signature(function).parameters.keys()
            assert name == "dsjax.plot" or values.keys() <= options, f"{path.name}: {ast.unparse(call)}"


def test_every_command_has_a_page():
    text = "\n".join(path.read_text(encoding="utf-8") for path in PAGES)
    assert [name for _, lines in COMMANDS.values() for name in lines if f"dsjax {name}" not in text] == []
    for name in COMMANDS["answers"][1] | COMMANDS["search"][1]:
        assert (ROOT / "docs" / "questions" / f"{'best' if name == 'sweep' else name}.md").is_file(), name


def test_every_public_function_is_in_the_reference():
    text = (ROOT / "docs" / "reference" / "python.md").read_text(encoding="utf-8")
    shown = re.findall(r"^::: dsjax\.(\w+)$|^ +heading: (\w+)$", text, re.MULTILINE)
    assert sorted({*dsjax.__all__} - {"__version__"}) == sorted(first or second for first, second in shown)


def test_every_name_of_tables_is_explained():
    text = (ROOT / "docs" / "reference" / "nomenclature.md").read_text(encoding="utf-8")
    names = [*BLOCKS, *PIPELINES, *MODES, *(f"ok_{name}" for name in constraints.NAMES)]
    assert [name for name in names if f"`{name}`" not in text] == []
