"""The notebooks of `examples/`: kept without outputs, and run as a newcomer would, warnings being errors."""

import json
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).parents[1] / "examples").glob("*.ipynb"))
SECONDS = 60  # of each, on a machine of its own
SLOWEST = 6  # times as long where the cores are shared


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_kept_without_outputs(path):
    book = json.loads(path.read_text())
    code = [cell for cell in book["cells"] if cell["cell_type"] == "code"]
    assert code and not [cell for cell in code if cell["outputs"] or cell["execution_count"]]
    assert book["cells"][0]["cell_type"] == "markdown" and "".join(book["cells"][0]["source"]).startswith("# ")
    assert path.stat().st_size < 20_000 and len(NOTEBOOKS) == 2


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path, tmp_path, monkeypatch):
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    monkeypatch.setenv("PYTHONPATH", str(path.parents[1]))
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "MPLCONFIGDIR", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
    book = nbformat.read(path, as_version=4)
    strict, lax = "import warnings; warnings.simplefilter('error')", "warnings.simplefilter('ignore')"
    book.cells.insert(0, nbformat.v4.new_code_cell(strict))
    book.cells.append(nbformat.v4.new_code_cell(lax))  # the kernel shuts down by itself
    client = nbclient.NotebookClient(book, timeout=SLOWEST * SECONDS, resources={"metadata": {"path": str(tmp_path)}})
    client.execute()
    shown = [output for cell in book.cells for output in cell.get("outputs", [])]
    assert not [output for output in shown if output.get("name") == "stderr"]
    kinds = {kind for output in shown for kind in output.get("data", {})}
    assert {"text/html", "image/png"} <= kinds
