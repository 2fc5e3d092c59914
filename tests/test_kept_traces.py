"""Traces on disk: the same answers without tracing, other code or another question another file, damage made anew."""

import functools
import marshal
import os
import subprocess
import sys

import pytest
import xarray as xr

import dsjax
from dsjax import evaluation, machine
from dsjax.evaluation import caches, pruning, traces

GRIDS = ("decode_gpu_2025", "default", "prefill", "sg2260e", "serve", "disaggregated")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder for this process."""
    monkeypatch.setattr(machine, "kept", tmp_path)
    evaluation.forget()
    yield tmp_path / "traces"
    evaluation.forget()


@pytest.fixture
def nothing_is_traced(monkeypatch):
    """Calling it makes tracing, and pruning, a fault from then on."""

    def forbid():
        evaluation.forget()
        for module, name in ((traces, "_recorded"), (pruning, "without")):
            monkeypatch.setattr(module, name, lambda *_: pytest.fail("traced"))

    return forbid


@pytest.mark.parametrize("grid", GRIDS)
def test_another_process_answers_the_same_and_traces_nothing(grid, folder, nothing_is_traced, monkeypatch):
    monkeypatch.setattr(machine, "kept", None)
    own = dsjax.sweep(grid)
    evaluation.forget()
    monkeypatch.setattr(machine, "kept", folder.parent)
    dsjax.sweep(grid)
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert before and all(path.stat().st_mode & 0o777 == 0o600 for path in before)
    nothing_is_traced()
    xr.testing.assert_identical(dsjax.sweep(grid).drop_attrs(), own.drop_attrs())
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before


@pytest.mark.parametrize("damage", [lambda data: data[:40], lambda data: data[:-1] + b"x", lambda data: b""])
def test_a_damaged_file_is_made_anew(folder, damage):
    own = dsjax.best("decode_gpu_2025")
    kept = {path: path.read_bytes() for path in folder.iterdir()}
    for path, data in kept.items():
        path.write_bytes(damage(data))
    evaluation.forget()
    xr.testing.assert_identical(dsjax.best("decode_gpu_2025").drop_attrs(), own.drop_attrs())
    assert {path: path.read_bytes() for path in folder.iterdir()} == kept


def test_other_code_finds_nothing(folder, nothing_is_traced, monkeypatch):
    dsjax.best("decode_gpu_2025")
    monkeypatch.setattr(caches, "stamp", lambda: "edited")
    nothing_is_traced()
    with pytest.raises(pytest.fail.Exception, match="traced"):
        dsjax.best("decode_gpu_2025")


def test_the_stamp_is_of_every_file_of_dsjax(tmp_path, monkeypatch):
    own = tmp_path / "dsjax" / "evaluation" / "caches.py"
    own.parent.mkdir(parents=True)
    (data := tmp_path / "dsjax" / "data.toml").write_text("a = 1")
    (compiled := tmp_path / "dsjax" / "__pycache__").mkdir()
    monkeypatch.setattr(caches, "__file__", str(own))

    def fresh():
        caches.stamp.cache_clear()
        return caches.stamp()

    first = fresh()
    (compiled / "x.pyc").write_text("")
    assert fresh() == first
    os.utime(data, ns=(1, 1))
    assert fresh() != first
    caches.stamp.cache_clear()


def test_keys_are_told_apart():
    f, g = caches.described, caches.forget
    made = [functools.partial(g, 1), functools.partial(g, 2), functools.partial(caches.remembered, 1), g]
    made += [
        caches.remembered(2),
        caches.remembered(3),
        (1, "a"),
        (1, b"a"),
        (1.0, "a"),
        (True, "a"),
        [1, "a"],
        {"a": 1},
    ]
    assert len({repr(f(x)) for x in made}) == len(made)
    assert f(caches.remembered(2)) == f(caches.remembered(2))  # the same function with the same inside
    for foreign in (os.path.join, object(), lambda: 0, [{"a": (os.getcwd,)}]):
        with pytest.raises(caches.Foreign):
            f(foreign)


def test_nothing_is_kept_of_functions_that_are_not_of_dsjax(folder):
    assert caches.stored(("key", os.getcwd), lambda: 3, lambda x: x, lambda x: x) == 3
    assert not folder.exists()
    assert caches.stored(("key", caches.forget), lambda: 3, lambda x: x, lambda x: x) == 3
    assert caches.stored(("key", caches.forget), lambda: 4, lambda x: x, lambda x: x) == 3
    (path,) = folder.iterdir()
    assert marshal.loads(path.read_bytes()[32:]) == 3


def test_the_oldest_go(folder, monkeypatch):
    monkeypatch.setattr(caches, "MOST", 3)
    for i in range(5):
        caches.stored(("key", i), lambda i=i: i, lambda x: x, lambda x: x)
        for path in folder.iterdir():
            os.utime(path, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns - 10**9))
    assert sorted(marshal.loads(path.read_bytes()[32:]) for path in folder.iterdir()) == [2, 3, 4]


def test_a_folder_that_takes_nothing_is_no_fault(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(machine, "kept", tmp_path / "file")
    assert caches.stored(("key",), lambda: 3, lambda x: x, lambda x: x) == 3


def test_the_command_line_keeps_traces_and_answers_the_same(tmp_path):
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path), "JAX_PLATFORMS": "cpu"}
    said = []
    for _ in range(2):
        line = [sys.executable, "-m", "dsjax", "best", "decode_gpu_2025", "--format", "json"]
        said.append(subprocess.run(line, env=environment, capture_output=True, check=True).stdout)
        kept = sorted((tmp_path / "dsjax" / "traces").iterdir())
    assert said[0] == said[1] and kept
