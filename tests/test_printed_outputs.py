"""Every command, and every line of Python, that the pages show prints what they show."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))
import printed_outputs  # noqa: E402

PAGES = printed_outputs.pages()


@pytest.mark.parametrize("path", PAGES, ids=[str(path.relative_to(ROOT)) for path in PAGES])
def test_a_page_prints_what_it_shows(path):
    told = printed_outputs.checked(path)[1]
    assert not told, "\n".join([*told, f"python benchmarks/printed_outputs.py --write {path.relative_to(ROOT)}"])


PAGE = """\
```console
$ dsjax names axes pipeline
{}
```
<!-- file: own.toml -->
```toml
model = "DeepSeek-V3"
```
<!-- lines: 1, /two/+, -1 -->
```console
$ printf 'one\\nand\\ntwo\\n  folded\\nthree\\nfour\\n'; ls own.toml
one
...
two
  folded
...
own.toml
```
<!-- exit: 2; lines: /error/ -->
```console
$ dsjax best nothing.toml
error: nothing
```
```python
x = 6
```
```pycon
>>> for i in range(2):
...     print(x + i)
6
7
>>> x * 7
{}
```
"""


def told(tmp_path, monkeypatch, text):
    """(what differs, the page mended, what then differs) of a page of this text."""
    monkeypatch.setattr(printed_outputs, "ROOT", tmp_path)
    monkeypatch.setattr(printed_outputs, "SHIPPED", ())
    path = tmp_path / "page.md"
    path.write_text(text, encoding="utf-8")
    mended, before = printed_outputs.checked(path)
    path.write_text(mended, encoding="utf-8")
    return before, mended, printed_outputs.checked(path)[1]


def test_what_differs_is_seen_and_mended(tmp_path, monkeypatch):
    before, mended, after = told(tmp_path, monkeypatch, PAGE.format("something", 41))
    assert [text.split(":")[0] for text in before] == ["line 1", "line 20", "line 27"]
    assert (
        after == []
        and "something" not in mended
        and "\n42\n" in mended
        and "\n...\ntwo\n  folded\n...\nown.toml\n" in mended
    )


@pytest.mark.parametrize(
    "text, says",
    [
        ("```sh\ndsjax best nothing.toml\n```\n", "exit code 2, expected 0"),
        ("<!-- exit: 1 -->\n```sh\ntrue\n```\n", "exit code 0, expected 1"),
        ("```python\nsurely\n```\n", "NameError"),
        ("<!-- lines: 1, /nowhere/ -->\n```console\n$ echo one\n```\n", "is in no line"),
    ],
)
def test_what_fails_is_seen(tmp_path, monkeypatch, text, says):
    before, mended, _ = told(tmp_path, monkeypatch, text)
    assert len(before) == 1 and says in before[0] and mended == text


@pytest.mark.parametrize(
    "text",
    [
        "```\ndsjax best\n```\n",
        "```text\ndsjax best\n```\n",
        "<!-- not run: slow -->\n```sh\ntrue\n```\n",
        "<!-- exit: 1; ext: 2 -->\n```sh\ntrue\n```\n",
    ],
)
def test_a_block_that_nothing_runs_is_refused(text):
    with pytest.raises(printed_outputs.Wrong, match="expected"):
        printed_outputs.blocks(text)


def test_figures_of_the_machine_are_equal_and_others_are_not():
    normal = printed_outputs.normal
    assert normal("wrote a.nc (1.7 MB)") == normal("wrote a.nc (2.1 MB)")
    assert normal("3e8 points/s by dsjax 0.1.0") == normal("1.5e7 points/s by dsjax 0.2.0")
    assert normal("TPOT 1.2 s (3 GB)") != normal("TPOT 1.3 s (3 GB)") and normal("(3 GB)") != normal("(4 GB)")
