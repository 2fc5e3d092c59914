"""Outlines of traces kept in files: the same numbers without a trace, and never those of another program."""

import concurrent.futures
import dataclasses
import functools
import importlib.util
import os
import subprocess
import sys

import jax
import numpy as np
import pytest
from click.testing import CliRunner

from dsjax import cli
from dsjax.evaluation import dims, evaluate, numpy_programs, operands, trace, trace_cache
from dsjax.evaluation import program as jaxprs
from dsjax.formulas import constraints
from dsjax.search import cells
from dsjax.space import grid

FAST = "decode_gpu_2025"


@pytest.fixture
def folder(tmp_path):
    """Where outlines are kept; nothing is known of a trace before, or after."""
    clear()
    with trace_cache.kept(tmp_path / "outlines"):
        yield tmp_path / "outlines"
    clear()


@pytest.fixture
def traced(monkeypatch):
    """The functions that were traced, in order."""
    seen, tracer = [], trace.traced
    monkeypatch.setattr(trace, "traced", lambda plan, dtype: seen.append(plan.function) or tracer(plan, dtype))
    return seen


def clear():
    """As in another process."""
    for function in (trace_cache._outline, dims.layout, evaluate._interpreted):
        function.cache_clear()


def asked(space, dtype="float64", **options):
    clear()
    return evaluate.evaluate(space, dtype, interpret=True, **options)


def assert_same(found, expected):
    assert list(found) == list(expected)
    for name, (dims, array) in expected.items():
        assert (found[name][0], found[name][1].dtype) == (dims, array.dtype), name
        np.testing.assert_array_equal(found[name][1], array, err_msg=name)


@pytest.mark.parametrize("name, dtype", [(FAST, "float64"), (FAST, "float32"), ("sg2260e_prefill_16", "float64")])
def test_a_second_process_does_not_trace(folder, traced, name, dtype):
    space = grid.load(name)
    first = asked(space, dtype)
    (file,) = folder.iterdir()
    assert len(traced) == 1 and file.suffix == ".json"
    assert_same(asked(space, dtype), first)
    assert_same(asked(grid.load(name, axes={"batch": [3, 5, 8]}), dtype), asked_anew(folder, name, dtype))
    assert len(traced) == 2  # one of them where nothing is kept
    assert list(folder.iterdir()) == [file]


def asked_anew(folder, name, dtype):
    with trace_cache.kept(None):
        return asked(grid.load(name, axes={"batch": [3, 5, 8]}), dtype)


def test_an_outline_is_the_same_read_back(folder):
    how, _ = operands.plan(grid.load("default", axes={"batch": [7, 64]}))
    written = trace_cache.outline(how, "float64")
    trace_cache._outline.cache_clear()
    read = trace_cache.outline(how, "float64")
    assert read is not written and list(read.dtypes) == list(written.dtypes)
    assert read._replace(program=None) == written._replace(program=None)
    assert read.program.equations == written.program.equations
    assert list(read.program.constants) == list(written.program.constants)
    for slot, constant in written.program.constants.items():
        np.testing.assert_array_equal(read.program.constants[slot], constant)
        assert read.program.constants[slot].dtype == constant.dtype


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
    assert_same(asked(space), first)
    assert len(traced) == 2
    assert damage == "a folder" or file.read_bytes() == content


def test_another_program_has_another_file(folder, traced, monkeypatch):
    """Changed source text, versions, settings, types, functions, or constraints: each is traced."""
    space = grid.load(FAST)
    asked(space)
    asked(space, "float32")
    asked(dataclasses.replace(space, bounds={"max_tpot": 0.03}))
    monkeypatch.setattr(trace_cache, "_sources", lambda: "other text")
    asked(space)
    monkeypatch.setattr(np, "__version__", "0")
    asked(space)
    with jax.numpy_rank_promotion("warn"):
        asked(space)
    assert len(traced) == len(list(folder.iterdir())) == 6


def test_the_source_text_is_that_of_every_module(monkeypatch, tmp_path):
    package = tmp_path / "dsjax"
    (package / "studies").mkdir(parents=True)
    for name in ("outlines.py", "core.py", "studies/one.py"):
        (package / name).write_text("x = 1\n")
    monkeypatch.setattr(trace_cache, "__file__", str(package / "evaluation" / "trace_cache.py"))
    seen = {trace_cache._sources.__wrapped__()}
    for change in (
        lambda: (package / "core.py").write_text("x = 2\n"),
        lambda: (package / "studies/one.py").write_text("x = 3\n"),
        lambda: (package / "studies/two.py").write_text(""),
        lambda: (package / "studies/one.py").rename(package / "studies/three.py"),
    ):
        change()
        seen.add(trace_cache._sources.__wrapped__())
    assert len(seen) == 5


def local(step, point, bounds, **policies):
    return {"value": step(point, **policies).time.total}


def test_functions_without_a_name_in_the_package_are_traced_each_time(folder, traced):
    space = grid.load(FAST)
    for function in (local, cells.function_of("step_time", 1.0, 0.0)):
        for _ in range(2):
            asked(space, function=function)
    assert len(traced) == 4
    assert not folder.exists()


def test_names():
    named = trace_cache._named
    assert named((constraints.check, "x", (1, None))) == ("dsjax.constraints:check", "x", (1, None))
    assert named(functools.partial(constraints.check, 1)) != named(functools.partial(constraints.check, 2))
    for nameless in (lambda: 0, np.sum, object(), functools.partial(local), cells.mask_of("memory")):
        with pytest.raises(trace_cache._Nameless):
            named(nameless)


def test_several_writers_at_once(folder):
    how, _ = operands.plan(grid.load(FAST))
    found = trace_cache.outline(how, "float64")
    path = folder / "one.json"
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for _ in pool.map(lambda _: trace_cache._write(path, found), range(24)):
            read = trace_cache._read(path)
            assert read is not None and read.program.equations == found.program.equations
    assert {each.suffix for each in folder.iterdir()} == {".json"}


def test_no_more_than_some_files_are_kept(folder, monkeypatch):
    monkeypatch.setattr(trace_cache, "MOST_FILES", 3)
    how, _ = operands.plan(grid.load(FAST))
    found = trace_cache.outline(how, "float64")
    next(folder.iterdir()).unlink()
    for i in range(5):
        trace_cache._write(folder / f"{i}.json", found)
        os.utime(folder / f"{i}.json", (i, i))
    assert sorted(path.name for path in folder.iterdir()) == ["2.json", "3.json", "4.json"]


def test_a_folder_that_takes_no_file_is_no_error(tmp_path):
    (tmp_path / "file").write_text("")
    with trace_cache.kept(tmp_path / "file"):
        asked(grid.load(FAST))
    clear()
    assert (tmp_path / "file").read_text() == ""


def test_an_equation_of_an_unknown_kind_is_unknown_read_back():
    closed = jaxprs.inlined(lambda x: jax.lax.cumsum(x.reshape(1))[0] * 2.0, jax.ShapeDtypeStruct((), "float32"))
    program = jaxprs.Program(1)
    ((slot, _),) = program.add(closed)
    plain = numpy_programs.without_jax(program)
    for each in (plain, numpy_programs.Program.from_plain(plain.plain())):
        assert numpy_programs.prepared(each, (slot,), 0) is None


def test_the_command_line_keeps_them(tmp_path, monkeypatch):
    clear()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(jax.config, "update", lambda *_: None)
    texts = []
    for _ in range(2):
        clear()
        result = CliRunner().invoke(cli.main, ["sweep", FAST])
        assert result.exit_code == 0
        texts.append(result.output)
    assert texts[0] == texts[1]
    assert len(list((tmp_path / "dsjax" / "outlines").iterdir())) == 1
    clear()


def test_a_sweep_does_not_import_dask():
    """Where dask is installed, xarray imports it to ask whether an array is one of its own: 0.3 s."""
    if importlib.util.find_spec("dask") is None:
        pytest.skip("without dask")
    code = "import sys; from dsjax.cli import main; main(['sweep', sys.argv[1]], standalone_mode=False); "
    code += "assert 'dask.array' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code, FAST], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
