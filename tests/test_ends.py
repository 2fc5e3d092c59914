"""How commands end where no answer ends them: one line on what happened, what is kept, and how to go on."""

import errno
import os
import signal
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import netCDF4
import numpy as np
import pytest
import xarray as xr
from xarray.core import indexing

import dsjax
from dsjax import cli, machine
from dsjax.catalog import reader
from dsjax.results import netcdf, patience
from dsjax.search import ranking
from dsjax.sweeps import outputs, resume

FIXED = 'nic = "CX7"\ntp = 1\nep = 72\nmtp = 0\npipeline = "naive"\ncontext = 5120\nprecision = "fp8"\n'
SWEEP = ("sweep", "decode_gpu_2025", "-o", "x.nc", "--quiet", "--resume")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(outputs, "POINTS", 400)


@pytest.fixture
def run(capsys):
    """(exit code, stderr) of a command."""

    def called(*args):
        with pytest.raises(SystemExit) as stop:
            cli.main(list(args), prog_name="dsjax")
        return stop.value.code, capsys.readouterr().err

    return called


def child(code, *args, **how):
    """What Python does with a program, in a process of its own."""
    how = {"capture_output": True, "text": True, "timeout": 60} | how
    return subprocess.run([sys.executable, "-c", code, *args], **how)


def small(path):
    """A file of results of six points."""
    space = {"study": "decode_gpu_2025", "axes": {"batch": [16, 32, 48], "mtp": [0, 1]}}
    space["fixed"] = {"hardware": "H800", "nic": "CX7", "ep": 144, "precision": "kv1-w1", "pipeline": "naive"}
    dsjax.write_netcdf(dsjax.sweep(space), path)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full")
@pytest.mark.parametrize("args", [["--help"], ["sweep", "--help"], ["names", "axes"]])
def test_a_full_disk_is_one_line(args):
    with open("/dev/full", "w") as full:
        found = child("from dsjax.cli import main; main()", *args, stdout=full, stderr=-1, capture_output=False)
    assert found.returncode == 2 and found.stderr == "error: output cannot be written (No space left on device)\n"


def test_a_process_that_is_interrupted_ends_at_once():
    """Nothing of a library is waited for, or taken down: threads that still wrote a store crashed one at its end."""
    code = "import atexit; from dsjax import cli; from dsjax.search import ranking; atexit.register(print, 'late')\n"
    code += "def best(*x, **y): print('begun'); raise KeyboardInterrupt('x.nc is kept')\n"
    code += "ranking.best = best; cli.main()"
    found = child(code, "best", "decode_gpu_2025", "--no-stream", "--quiet")
    assert (found.returncode, found.stdout, found.stderr) == (130, "begun\n", "error: interrupted; x.nc is kept\n")


def test_an_error_of_a_file_that_nobody_told_names_it():
    """Of a path inside of a file, say: the output has nothing to do with it."""
    code = "from dsjax import cli; from dsjax.search import ranking; import os; "
    code += "ranking.best = lambda *x, **y: os.stat('x' * 5000); cli.main()"
    found = child(code, "best", "decode_gpu_2025", "--no-stream", "--quiet")
    assert found.returncode == 2 and found.stdout == "" and found.stderr.count("\n") == 1
    assert found.stderr.startswith("error: xxxx") and "cannot be used (File name too long)" in found.stderr
    assert len(found.stderr) <= 310


@pytest.mark.parametrize("args", [["--help"], ["best", "--help"], ["names", "axes"], ["best", "decode_gpu_2025"]])
def test_a_reader_that_goes_away_is_no_answer(args):
    """As behind `head`: without a word, and with the code that shells have for it, where 1 is "nothing is feasible"."""
    reader, writer = os.pipe()
    os.close(reader)
    found = child("from dsjax.cli import main; main()", *args, stdout=writer, stderr=-1, capture_output=False)
    os.close(writer)
    assert found.returncode == 141 and found.stderr == ""


@pytest.mark.parametrize("name", ["a\udcff.nc", "a\udcff.zarr", "a\0b.nc"])
def test_a_name_that_no_library_can_write_is_refused_before_anything_is_computed(name, run, monkeypatch):
    monkeypatch.setattr(outputs, "write", None)
    code, said = run("sweep", "decode_gpu_2025", "-o", name)
    assert code == 2 and ("is not UTF-8" in said or "null byte" in said) and said.count("\n") == 1


def test_a_pipe_is_no_file_of_results(run):
    os.mkfifo("x.nc")
    os.mkfifo("x.zarr")
    assert run("best", "x.nc") == (2, "error: x.nc: is no regular file; expected a NetCDF file that dsjax wrote\n")
    assert run("best", "x.zarr") == (2, "error: x.zarr: is no folder; expected a Zarr store that dsjax wrote\n")


@pytest.mark.parametrize("spec", [False, True])
def test_what_dsjax_did_not_write_is_not_read(spec, run):
    small("x.nc")
    with netCDF4.Dataset("x.nc", "a") as file:
        file.createDimension("x", 2**27)
        file.createVariable("x", "f8", ("x",), zlib=True)
        file.createVariable("y", "f8", ("x",), zlib=True)
        if not spec:
            file.delncattr("dsjax_spec")
    tracemalloc.start()
    code, said = run("best", "x.nc")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert code == 2 and peak < 1e8, said
    assert (": 134,217,728 values over x" if spec else "attribute dsjax_spec: missing") in said


@pytest.mark.parametrize("units", ["seconds since 1970-01-01", "days", "s"])
def test_no_number_is_a_date(units, run):
    """Whatever its units say: such numbers were read as dates, and could not be compared."""
    small("x.nc")
    said = run("pareto", "x.nc", "--format", "json", "--quiet")
    with netCDF4.Dataset("x.nc", "a") as file:
        for name in ("tps_per_user", "tps_per_chip", "step_time"):
            file[name].units = units
    for command in ("pareto", "best", "explain"):
        assert run(command, "x.nc", "--quiet")[0] == 0
    assert said[0] == 0 and run("pareto", "x.nc", "--format", "json", "--quiet") == said


@pytest.mark.parametrize(("kind", "holds"), [("S1", "|S1"), (str, "<U1")])
def test_a_variable_of_texts_is_named(kind, holds, run):
    small("x.nc")
    with netCDF4.Dataset("x.nc", "a") as file:
        file.renameVariable("tps_per_user", "old")
        file.createVariable("tps_per_user", kind, file["old"].dimensions)
    wanted = f"variable tps_per_user: holds {holds}; expected the numbers of a NetCDF file that dsjax wrote\n"
    for command in ("best", "pareto", "uncertainty --error nic=0.1", "explain", "sensitivity", "histogram"):
        name, *more = command.split()
        assert run(name, "x.nc", *more) == (2, f"error: x.nc: {wanted}")


def test_a_file_that_is_never_read_to_its_end_is_given_up():
    small("x.nc")
    code = """
import sys, time
from dsjax import cli
from dsjax.results import netcdf, patience
patience.SECONDS = 0.5
netcdf._opened = lambda *args, **how: time.sleep(60)
cli.main(["best", "x.nc"])
"""
    found = child(code)
    assert found.returncode == 2 and found.stdout == ""
    assert found.stderr == "error: x.nc: cannot be read (not done after 1 s); expected a NetCDF file that dsjax wrote\n"


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="needs POSIX signals")
def test_the_time_of_a_stopped_process_is_not_counted():
    code = """
import os, signal, time
from dsjax.commands import ends
with ends.watch("given up", 1.5):
    os.kill(os.getpid(), signal.SIGSTOP)
    for _ in range(5):
        time.sleep(0.05)
print("read")
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=-1, stderr=-1, text=True) as process:
        os.waitpid(process.pid, os.WUNTRACED)  # until it stops itself
        time.sleep(2)
        process.send_signal(signal.SIGCONT)
        assert (*process.communicate(timeout=60), process.returncode) == ("read\n", "", 0)


@pytest.mark.parametrize("name", ["y" * 4000, "\x1b" * 250, "word " * 300, "a; expected " + "b " * 400])
def test_every_error_is_a_line_of_300_characters(name, run):
    code, said = run("best", "--fix", f"hardware={name}")
    assert code == 2 and len(said.removeprefix("error: ").rstrip("\n")) <= 300 and said.count("\n") == 1
    assert "--fix hardware: unknown hardware" in said and said.count("...")


def test_refusals_name_the_file_or_the_option(run):
    Path("m.toml").write_text('[hardware.Mine]\nbase = "H20"\nsource = "x"\ncurve = "nope"\n')
    Path("g.toml").write_text(f'model = "DeepSeek-V3"\n[axes]\nhardware = ["Mine"]\nbatch = [16]\n[fixed]\n{FIXED}')
    code, said = run("best", "g.toml", "--catalog", "m.toml")
    assert code == 2 and said.startswith("error: g.toml: hardware Mine: curve: unknown curve 'nope'")
    assert run("pareto", "decode_gpu_2025", "--x", "tps")[1].startswith("error: --x: unknown variable")
    same = ("pareto", "decode_gpu_2025", "--x", "tpot", "--y", "tpot")
    assert run(*same)[1].startswith("error: --y: 'tpot' is --x too")


def test_a_damaged_chunk_of_the_parts_is_told(run, monkeypatch):
    evaluate = interrupted_after(monkeypatch, 3)
    sweep = [*SWEEP[:3], "x.zarr", *SWEEP[4:]]
    assert run(*sweep)[0] == 130
    monkeypatch.setattr(outputs, "evaluate_slab", evaluate)
    chunk = next(
        p for p in sorted(Path("x.zarr.parts/store/tps_per_chip").rglob("*")) if p.is_file() and p.name != "zarr.json"
    )
    chunk.write_bytes(b"damaged")
    code, said = run(*sweep)
    assert code == 2 and said.startswith("error: x.zarr: variable tps_per_chip: chunk ") and said.count("\n") == 1


def test_a_source_that_cannot_be_read_is_not_the_fault_of_the_output():
    class Stale(xr.backends.BackendArray):
        shape, dtype = (2,), np.dtype("float64")

        def __getitem__(self, key):
            raise OSError(errno.ESTALE, "Stale file handle")

    small("x.nc")
    with xr.open_dataset("x.nc") as ds:
        ds["lazy"] = xr.Variable("mtp", indexing.LazilyIndexedArray(Stale()))
        with pytest.raises(dsjax.InputError) as error:
            dsjax.write_netcdf(ds, "y.nc")
    assert "x.nc: cannot be read (Stale file handle); expected" in str(error.value) and not os.path.exists("y.nc")


def test_python_waits():
    with patience.of("x.nc", 0, ""):
        pass


def test_raw_lines_of_libraries_are_dropped(capfd, monkeypatch):
    small("x.nc")
    opened = netcdf._opened

    def loud(*args, **how):
        os.write(1, b"raw\n")
        os.write(2, b"raw\n")
        return opened(*args, **how)

    monkeypatch.setattr(netcdf, "_opened", loud)
    with pytest.raises(SystemExit):
        cli.main(["best", "x.nc"], prog_name="dsjax")
    said = capfd.readouterr()
    assert "raw" not in said.out + said.err and "H800" in said.out
    dsjax.open_netcdf("x.nc")  # Python's own streams are its caller's
    assert capfd.readouterr().err


def test_a_user_without_a_home_has_no_files(monkeypatch):
    def unknown():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", unknown)
    assert reader.user_files() == [] and machine.cache()[0] is None and machine.home() == Path(os.devnull)


@pytest.mark.parametrize(
    ("error", "said"), [(MemoryError, "no memory is left; expected fewer values"), (RecursionError, "too many levels")]
)
def test_a_question_that_is_too_large_is_one_line(error, said, run, monkeypatch):
    def fails(*args, **how):
        raise error

    monkeypatch.setattr(ranking, "best", fails)
    code, line = run("best", "decode_gpu_2025", "--no-stream", "--quiet")
    assert code == 2 and line.startswith("error: ") and said in line and "expected" in line and line.count("\n") == 1


def interrupted_after(monkeypatch, slabs):
    evaluate, left = outputs.evaluate_slab, [slabs]

    def one(*args):
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        return evaluate(*args)

    monkeypatch.setattr(outputs, "evaluate_slab", one)
    return evaluate


def test_an_interrupt_says_what_is_kept(run, monkeypatch):
    evaluate = interrupted_after(monkeypatch, 1)
    said = "error: interrupted; 1 of 16 slabs are kept in x.nc.parts: --resume goes on\n"
    assert run(*SWEEP) == (130, said)
    monkeypatch.setattr(outputs, "evaluate_slab", evaluate)
    assert run(*SWEEP)[0] == 0 and not os.path.exists("x.nc.parts")


def test_an_interrupt_of_what_keeps_nothing_is_one_line(run, monkeypatch):
    def stopped(*args, **how):
        raise KeyboardInterrupt

    monkeypatch.setattr(ranking, "best", stopped)
    assert run("best", "decode_gpu_2025", "--no-stream", "--quiet") == (130, "error: interrupted\n")
    said = "error: interrupted; x.nc is complete: dsjax best x.nc ranks it\n"
    assert run(*SWEEP) == (130, said) and os.path.exists("x.nc")


@pytest.mark.parametrize("name", ["x.nc", "x.zarr"])
def test_a_sweep_killed_with_its_output_complete_goes_on_to_its_end(run, monkeypatch, name):
    again, close = [*SWEEP[:3], name, *SWEEP[4:]], resume.Parts.close
    monkeypatch.setattr(resume.Parts, "close", lambda parts: None)
    assert run(*again)[0] == 0
    monkeypatch.setattr(resume.Parts, "close", close)
    whole = np.array(dsjax.open_netcdf(name).tps_per_chip)
    monkeypatch.setattr(outputs, "evaluate_slab", None)
    assert run(*again)[0] == 0 and not os.path.exists(f"{name}.parts")
    np.testing.assert_array_equal(dsjax.open_netcdf(name).tps_per_chip, whole)
    assert "exists" in run(*again)[1]


def test_another_output_is_not_taken_for_that_of_the_parts(run, monkeypatch):
    interrupted_after(monkeypatch, 1)
    assert run(*SWEEP)[0] == 130
    small("x.nc")
    before = Path("x.nc").read_bytes()
    code, said = run(*SWEEP)
    assert code == 2 and "x.nc: exists; expected a new path, or --force" in said and Path("x.nc").read_bytes() == before
