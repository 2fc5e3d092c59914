"""Traces kept in files: the same numbers without tracing again, and never those of another program."""

import concurrent.futures
import contextvars
import dataclasses
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from click.testing import CliRunner

import dsjax
from dsjax import cli, evaluation
from dsjax.evaluation import numpy_programs, trace_cache
from dsjax.evaluation import program as jaxprs
from dsjax.search import cells
from dsjax.space import grid

FAST = "decode_gpu_2025"


@pytest.fixture
def folder(tmp_path):
    """Where traces are kept; nothing is known of one before, or after."""
    evaluation.forget()
    with evaluation.traces_kept(tmp_path / "outlines"):
        yield tmp_path / "outlines"
    evaluation.forget()


@pytest.fixture
def traced(monkeypatch):
    """A function that tells whether anything was traced since it was called last."""
    seen, tracer = [], jax.make_jaxpr
    monkeypatch.setattr(jax, "make_jaxpr", lambda *args, **how: seen.append(args) or tracer(*args, **how))

    def since():
        found = bool(seen)
        seen.clear()
        return found

    return since


def asked(space, dtype="float64", **options):
    """As in another process."""
    evaluation.forget()
    return evaluation.evaluate(space, dtype, interpret=True, **options)


def assert_same(found, expected):
    assert list(found) == list(expected)
    for name, (axes, array) in expected.items():
        assert (found[name][0], found[name][1].dtype) == (axes, array.dtype), name
        np.testing.assert_array_equal(found[name][1], array, err_msg=name)


@pytest.mark.parametrize(
    "name, dtype", [(FAST, "float64"), (FAST, "float32"), ("sg2260e_prefill_16", "float64"), ("default", "float64")]
)
def test_a_second_process_does_not_trace(folder, traced, name, dtype):
    space, other = grid.load(name), grid.load(name, axes={"hardware_hbm_bytes_per_s": [1e12, 2e12]})
    first = asked(space, dtype)
    (file,) = folder.iterdir()
    assert traced() and file.suffix == ".json"
    assert_same(asked(space, dtype), first)
    found = asked(other, dtype)
    assert not traced()
    with evaluation.traces_kept(None):
        assert_same(found, asked(other, dtype))
    assert traced()
    assert list(folder.iterdir()) == [file]


@pytest.mark.parametrize("damage", ["cut", "changed", "empty", "not text", "a folder"])
def test_a_damaged_file_is_not_read(folder, traced, damage):
    space = grid.load(FAST)
    first = asked(space)
    (file,) = folder.iterdir()
    content = file.read_bytes()
    if damage == "a folder":
        file.unlink()
        file.mkdir()
    else:
        one = content.replace(b'"mul"', b'"add"', 1)
        file.write_bytes({"cut": content[:-1000], "changed": one, "empty": b"", "not text": b"\xff\xfe"}[damage])
    traced()
    assert_same(asked(space), first)
    assert traced()
    assert damage == "a folder" or file.read_bytes() == content


def test_another_program_has_another_file(folder, traced, monkeypatch):
    """Changed versions, settings, types, functions, or constraints: each is traced."""
    space = grid.load(FAST)

    def anew(*args):
        asked(*args)
        assert traced()

    anew(space)
    anew(space, "float32")
    anew(dataclasses.replace(space, bounds={"max_tpot": 0.03}))
    monkeypatch.setattr(np, "__version__", "0")
    anew(space)
    with jax.numpy_rank_promotion("warn"):
        anew(space)
    assert len(list(folder.iterdir())) == 5


def test_another_source_text_is_another_program(tmp_path):
    """A copy of the package in processes of its own: a changed line, a new module."""
    package = tmp_path / "dsjax"
    shutil.copytree(Path(dsjax.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    (package.parent / "grids").symlink_to(Path(dsjax.__file__).parents[1] / "grids")
    layers = package / "formulas" / "layers.py"
    environment = os.environ | {"PYTHONPATH": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    for change in (
        lambda: None,
        lambda: layers.write_text(layers.read_text() + "# a line\n"),
        lambda: (package / "studies" / "another.py").write_text(""),
    ):
        change()
        call = [sys.executable, "-m", "dsjax", "sweep", FAST, "--quiet", "--format", "csv"]
        subprocess.run(call, env=environment, cwd=tmp_path, check=True, capture_output=True, timeout=300)
    assert len(list((tmp_path / "cache" / "dsjax" / "outlines").iterdir())) == 3


def local(step, point, bounds, **policies):
    return {"value": step(point, **policies).time.total}


def test_functions_without_a_name_in_the_package_are_traced_each_time(folder, traced):
    space = grid.load(FAST)
    for function in (local, cells.function_of("step_time", 1.0, 0.0)):
        for _ in range(2):
            asked(space, function=function)
            assert traced()
    assert not folder.exists()


def test_several_writers_at_once(folder, traced):
    space, contexts = grid.load(FAST), [contextvars.copy_context() for _ in range(4)]
    with concurrent.futures.ThreadPoolExecutor(len(contexts)) as pool:
        found = list(pool.map(lambda own: own.run(evaluation.evaluate, space, interpret=True), contexts))
    assert traced()
    for each in (*found, asked(space)):
        assert_same(each, found[0])
    assert not traced()
    assert [path.suffix for path in folder.iterdir()] == [".json"]


def test_no_more_than_some_files_are_kept(folder, monkeypatch):
    monkeypatch.setattr(trace_cache, "MOST_FILES", 3)
    seen = []
    for i in range(5):
        monkeypatch.setattr(np, "__version__", str(i))
        asked(grid.load(FAST))
        (new,) = set(folder.iterdir()).difference(seen)
        os.utime(new, (i, i))
        seen.append(new)
    assert set(folder.iterdir()) == set(seen[2:])


def test_a_folder_that_takes_no_file_is_no_error(tmp_path):
    (tmp_path / "file").write_text("")
    with evaluation.traces_kept(tmp_path / "file"):
        asked(grid.load(FAST))
    evaluation.forget()
    assert (tmp_path / "file").read_text() == ""


def test_an_equation_of_an_unknown_kind_is_unknown_read_back():
    closed = jaxprs.inlined(lambda x: jax.lax.cumsum(x.reshape(1))[0] * 2.0, jax.ShapeDtypeStruct((), "float32"))
    program = jaxprs.Program(1)
    ((slot, _),) = program.add(closed)
    plain = numpy_programs.without_jax(program)
    for each in (plain, numpy_programs.Program.from_plain(plain.plain())):
        assert numpy_programs.prepared(each, (slot,), 0) is None


def test_the_command_line_keeps_them(tmp_path, monkeypatch):
    evaluation.forget()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(jax.config, "update", lambda *_: None)
    texts = []
    for _ in range(2):
        evaluation.forget()
        result = CliRunner().invoke(cli.main, ["sweep", FAST])
        assert result.exit_code == 0
        texts.append(result.output)
    assert texts[0] == texts[1]
    assert len(list((tmp_path / "dsjax" / "outlines").iterdir())) == 1
    evaluation.forget()


def test_a_sweep_does_not_import_dask():
    """Where dask is installed, xarray imports it to ask whether an array is one of its own: 0.3 s."""
    if importlib.util.find_spec("dask") is None:
        pytest.skip("without dask")
    code = "import sys; from dsjax.cli import main; main(['sweep', sys.argv[1]], standalone_mode=False); "
    code += "assert 'dask.array' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code, FAST], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
