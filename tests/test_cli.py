"""The command line: what it prints, what it writes, its exit codes."""

import contextlib
import csv
import io
import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
import xarray as xr

import dsjax
from dsjax import cli

SCRIPT = Path(sysconfig.get_path("scripts"), "dsjax")
SIZES = {"hardware": 4, "nic": 2, "ep": 3, "batch": 15, "precision": 3, "mtp": 2, "pipeline": 2}
REFUSALS = "659 of 4,320 points are feasible; refused by ok_memory 1,016, ok_tps_per_user 3,661"


@pytest.fixture(scope="module", autouse=True)
def no_compilation_cache():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", os.devnull)
        yield


def command(*args, code=0):
    """What the command prints; its exit code is `code` and stderr stays empty."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as stop:
        cli.main([str(arg) for arg in args], prog_name="dsjax")
    assert (stop.value.code, err.getvalue()) == (code, "")
    return out.getvalue()


def installed(*args):
    """What the installed command prints, in a process of its own."""
    run = subprocess.run([SCRIPT, *args], capture_output=True, text=True, timeout=60)
    assert (run.returncode, run.stderr) == (0, "")
    return run.stdout


def rows(*args, code=0):
    """The best points a command prints as JSON."""
    return json.loads(command(*args, "--format", "json", code=code))["rows"]


def labels(points, *keys):
    return [tuple(point[key] for key in keys) for point in points]


def same(points, others):
    """Two lists of rows hold the same numbers under the same names."""
    assert len(points) == len(others)
    for point, other in zip(points, others):
        assert point == pytest.approx(other, rel=1e-12)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Folder of one sweep's files, and what the sweep printed."""
    folder = tmp_path_factory.mktemp("sweep")
    outputs = ["-o", folder / "all.nc", "--csv-all", folder / "all.csv", "--csv-feasible", folder / "feasible.csv"]
    return folder, command("sweep", *outputs)


@pytest.fixture(scope="module")
def default():
    """Best points of the default grid."""
    return rows("sweep")


def test_help_does_not_import_jax():
    code = "import sys; from dsjax.cli import main; main(['--help'], standalone_mode=False); assert 'jax' not in sys.modules"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (run.returncode, run.stderr) == (0, "") and "Exit codes: 0; 1" in run.stdout
    for name in cli.main.commands:
        assert f"dsjax {name}" in command(name, "--help") and f"  {name} " in run.stdout


def test_version():
    assert installed("--version") == f"dsjax, version {dsjax.__version__}\n"


def test_module_is_the_command():
    run = subprocess.run([sys.executable, "-m", "dsjax", "--version"], capture_output=True, text=True, timeout=60)
    assert (run.returncode, run.stdout) == (0, f"dsjax, version {dsjax.__version__}\n"), run.stderr


def test_sweep_prints_the_ranked_table(files):
    folder, out = files
    ranked = [line.split() for line in out.splitlines() if line.split()[0].isdigit() and "points" not in line]
    assert [row[0] for row in ranked] == [str(i) for i in range(1, 30)]
    assert ranked[0][1:9] == ["H800", "CX7", "320", "128", "kv1-w1", "1", "dual-mbatch", "28.93"]
    assert REFUSALS in out and "4,320 points" in out and all(f"wrote {folder / name}" in out for name in ("all.nc", "all.csv"))
    assert installed("sweep", "--quiet").splitlines() == [line for line in out.splitlines() if line.startswith("  ")]


def test_sweep_files(files):
    folder, _ = files
    assert sorted(path.name for path in folder.iterdir()) == ["all.csv", "all.nc", "feasible.csv"]
    with xr.open_dataset(folder / "all.nc") as ds:
        assert {name: ds.sizes[name] for name in SIZES} == SIZES and set(ds.sizes) == {*SIZES, "block"}
        assert ds["tps_per_user"].dims == tuple(SIZES) and int(ds["feasible"].sum()) == 659
        assert ds["batch"].values.tolist() == list(range(16, 129, 8)) and ds["hardware"].values[0] == "H800"
        assert (ds["tpot"].attrs["units"], float(ds["context"]), ds.attrs["dsjax_version"]) == ("s", 5120, dsjax.__version__)
    points, feasible = (list(csv.reader((folder / f"{name}.csv").open(newline=""))) for name in ("all", "feasible"))
    assert (len(points), len(feasible)) == (4321, 660) and points[0] == feasible[0] and points[0][:7] == list(SIZES)
    assert [point for point in points[1:] if point[points[0].index("feasible")] == "1"] == feasible[1:]


def test_force_overwrites(files, tmp_path):
    (tmp_path / "old.csv").write_text("old", encoding="utf-8")
    command("sweep", "--csv-feasible", tmp_path / "old.csv", "--force", "--quiet")
    assert (tmp_path / "old.csv").read_bytes() == (files[0] / "feasible.csv").read_bytes()


def test_formats_agree(default):
    table = json.loads(command("sweep", "--format", "json"))
    assert (table["points"], table["feasible"], table["refused"]) == (4320, 659, {"ok_memory": 1016, "ok_tps_per_user": 3661})
    assert len(default) == 29 and table["rows"] == default
    for row, point in zip(csv.DictReader(io.StringIO(command("sweep", "--format", "csv"))), default, strict=True):
        assert list(row) == list(point)
        for name, value in point.items():
            assert row[name] == ("" if value is None else str(value)), name


def test_a_pipe_gets_rows_only():
    lines = installed("best", "--format", "csv", "--by", "hardware").splitlines()
    assert len(lines) == 5 and lines[0].startswith("rank,hardware,nic") and lines[1].startswith("1,H800,CX7")


@pytest.mark.parametrize("args", [["--by", "hardware,nic"], ["--by", ""], ["--by", "nic", "--top", "3"], ["--objective", "-tpot"]])
def test_best_of_a_file_is_best_of_its_grid(files, args):
    same(rows("best", files[0] / "all.nc", *args), rows("best", *args))


def test_best_options(default):
    assert rows("best") == default
    assert labels(rows("best", "--by", ""), "rank", "hardware", "nic", "ep") == [(1, "H800", "CX7", 320)]
    top = rows("best", "--by", "", "--top", "5")
    assert [p["rank"] for p in top] == [1, 2, 3, 4, 5] and top[0]["tps_per_chip"] == default[0]["tps_per_chip"]
    assert [p["tps_per_chip"] for p in top] == sorted((p["tps_per_chip"] for p in top), reverse=True)
    assert sorted(labels(rows("best", "--by", "hardware", "--top", "2"), "hardware")) == [
        (name,) for name in ("A100", "A100", "H20", "H20", "H800", "H800", "L20", "L20")]
    assert len(rows("best", "--by", "", "--top", "100000")) == 659
    fastest = rows("best", "--objective", "-step_time", "--by", "hardware")
    assert [p["step_time"] for p in fastest] == sorted(p["step_time"] for p in fastest) and fastest[0]["batch"] == 16
    assert "step_time" not in command("best") and "step ms" in command("best", "--objective", "-step_time")


@pytest.mark.parametrize(("name", "value"), [("nic", "CX7"), ("hardware", "H20"), ("precision", "kv1-w1"), ("ep", 72)])
def test_fix_one_value(name, value):
    """A fixed axis and an axis of one value give the same points, and the grid's groups go on to work."""
    fixed, axis = (rows("sweep", option, f"{name}={value}") for option in ("--fix", "--axis"))
    assert {point.pop(name) for point in axis} == {value}
    same(fixed, axis)


def test_axis(default):
    command("sweep", "--axis", "batch=8:256:8", "--fix", "nic=CX7", "--fix", "context=8192")
    assert {point["batch"] for point in rows("sweep", "--axis", "batch=16:32:16")} == {16, 32}
    few = rows("sweep", "--axis", "nic=CX7")
    assert labels(few, "hardware", "ep") == labels([p for p in default if p["nic"] == "CX7"], "hardware", "ep")
    assert {point["context"] for point in rows("best", "--axis", "context=1024,4096", "--by", "context")} == {1024, 4096}
    one, other = (rows("best", "--fix", f"context={n}", "--by", "")[0] for n in (1024, 65536))
    assert one["tps_per_chip"] > other["tps_per_chip"]


def test_set():
    by = ["--by", "hardware,nic,ep"]
    points = rows("best", *by, "--set", "nic.CX7.scale_out_bytes_per_s=10 GiB/s")
    slow, e810 = ([p for p in points if p["nic"] == name] for name in ("CX7", "E810"))
    assert labels(slow, "hardware", "ep", "tps_per_chip") == labels(e810, "hardware", "ep", "tps_per_chip")
    same(points, rows("best", *by, "--set", f"nic.CX7.scale_out_bytes_per_s={10 * 2**30}"))
    assert "H800" not in {p["hardware"] for p in rows("sweep", "--set", "hardware.H800.hbm_bytes=10 GB")}


def test_float32(default):
    for point, other in zip(rows("sweep", "--dtype", "float32"), default, strict=True):
        assert point["tps_per_chip"] == pytest.approx(other["tps_per_chip"], rel=1e-5)


def test_reproduce():
    assert "66 of 66 rows reproduced" in command("reproduce")
    table = json.loads(command("reproduce", "--format", "json"))
    assert len(table) == 66 and all(row["ok"] for row in table)
    assert [row["hardware"] for row in csv.DictReader(io.StringIO(command("reproduce", "--format", "csv")))] == [
        row["hardware"] for row in table]


def test_catalog():
    table, out = json.loads(command("catalog", "--format", "json")), command("catalog")
    assert {row["catalog"] for row in table} == {"hardware", "nic", "precision", "model", "curve"}
    for row in table:
        assert row["source"] and any(line.split()[1] == row["row"] and row["source"] in line for line in out.splitlines())
    read = list(csv.DictReader(io.StringIO(command("catalog", "--format", "csv"))))
    assert [{k: v for k, v in row.items() if v} for row in read] == [{k: str(v) for k, v in row.items()} for row in table]
    nics = json.loads(command("catalog", "nics", "--format", "json"))
    assert {row["row"]: row["scale_out_bytes_per_s"] for row in nics} == {"CX7": 40 * 2**30, "E810": 10 * 2**30}
    assert all(row["source"] in command("catalog", "nics") for row in nics)


def test_no_feasible_point(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = dsjax.sweep("default", fixed={"context": 4096}).attrs["grid"]
    Path("strict.toml").write_text(text.replace("min_tps_per_user = 20", "min_tps_per_user = 1e6"), encoding="utf-8")
    out = command("sweep", "strict.toml", "-o", "out.nc", "--csv-feasible", "out.csv", code=1)
    assert "0 of 4,320 points are feasible" in out and "ok_tps_per_user 4,320" in out
    assert len(Path("out.csv").read_text(encoding="utf-8").splitlines()) == 1
    assert rows("best", "out.nc", code=1) == [] and not dsjax.open_netcdf("out.nc")["feasible"].any()
    assert command("best", "out.nc", "--format", "csv", code=1).startswith("rank,hardware,nic")


@pytest.mark.parametrize("args", ["best --top x", "sweep --dtype float16", "sweep --colour", "search"])
def test_usage(args, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(args.split())
    out, err = capsys.readouterr()
    assert (stop.value.code, out) == (2, "") and args.split()[-1] in err


@pytest.mark.parametrize("shell", [
    'exec "$0" sweep --fix context=-1 -o out.nc',
    'ulimit -f 8; exec "$0" sweep -o out.nc',
    'ulimit -f 8; exec "$0" sweep --csv-all out.csv',
], ids=["bad value", "NetCDF file too large", "CSV file too large"])
def test_failure(shell, tmp_path):
    run = subprocess.run(["sh", "-c", shell, SCRIPT], capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert (run.returncode, run.stdout, len(run.stderr.splitlines())) == (2, "", 1), run.stderr
    assert run.stderr.startswith("error: ") and "expected" in run.stderr and list(tmp_path.iterdir()) == []
