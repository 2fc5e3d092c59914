"""The command line: what it prints, what it writes, its exit codes."""

import contextlib
import csv
import io
import json
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
STUDY = "decode_gpu_2025"
REFUSALS = "659 of 4,320 points are feasible; refused by ok_memory 1,016, ok_tps_per_user 3,661"


def command(*args, code=0):
    """What the command prints; its exit code is `code` and stderr stays empty."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as stop:
        cli.main([str(arg) for arg in args], prog_name="dsjax")
    assert (stop.value.code, err.getvalue()) == (code, "")
    return out.getvalue()


def rows(*args, code=0):
    """The best points a command prints as JSON."""
    return json.loads(command(*args, "--format", "json", code=code))["rows"]


def labels(points, *keys):
    return [tuple(point[key] for key in keys) for point in points]


def same(points, others):
    """Two lists of rows hold the same values under the same names."""
    for point, other in zip(points, others, strict=True):
        assert list(point) == list(other)
        for name, value in point.items():
            assert value == (pytest.approx(other[name], rel=1e-12) if isinstance(value, float) else other[name]), name


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Folder of one sweep's files, and what the sweep printed."""
    folder = tmp_path_factory.mktemp("sweep")
    outputs = ["-o", folder / "all.nc", "--csv-all", folder / "all.csv", "--csv-feasible", folder / "feasible.csv"]
    return folder, command("sweep", STUDY, *outputs)


@pytest.fixture
def default():
    """Best points of the default grid."""
    return rows("sweep", STUDY)


@pytest.mark.parametrize("args", [[], *([name] for name in cli.main.list_commands(None))], ids=" ".join)
def test_help_is_quick(args):
    """Help, of `dsjax` and of a command, waits for none of the packages that compute."""
    code = (
        f"import sys; from dsjax import cli; cli.main([*{args}, '-h'], 'dsjax', standalone_mode=False); "
        "sys.exit(' '.join({'numpy', 'xarray', 'jax'} & sys.modules.keys()) or 0)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (run.returncode, run.stderr) == (0, "") and f"Usage: {' '.join(['dsjax', *args])} [" in run.stdout


def test_help_lists_the_commands_under_their_task_groups():
    out = " ".join(command("--help").split())
    assert "Exit codes: 0; 1" in out
    places, named = [], set()
    for group, lines in cli.COMMANDS.values():
        places += [] if group in named else [out.index(f" {group}: ")]  # two packages share one
        places += [out.index(f" {name} {line}") for name, line in lines.items()]
        named.add(group)
    assert places == sorted(places)


@pytest.mark.parametrize("name", cli.main.list_commands(None))
def test_the_registry_says_what_the_command_says(name):
    [line] = [lines[name] for _, lines in cli.COMMANDS.values() if name in lines]
    asked = cli.main.get_command(None, name)
    assert (asked.name, asked.help.splitlines()[0]) == (name, line)
    assert f"dsjax {name}" in command(name, "--help")


def test_version():
    assert command("--version") == f"dsjax, version {dsjax.__version__}\n"


def test_sweep_prints_the_ranked_table(files):
    folder, out = files
    ranked = [line.split() for line in out.splitlines() if line.split()[0].isdigit() and "points" not in line]
    assert [row[0] for row in ranked] == [str(i) for i in range(1, 30)]
    assert ranked[0][1:9] == ["H800", "CX7", "320", "128", "kv1-w1", "1", "dual-mbatch", "28.93"]
    assert REFUSALS in out and "= 4,320 points" in out
    assert all(f"wrote {folder / name}" in out for name in ("all.nc", "all.csv", "feasible.csv"))


REMARKS = ("unverified numbers", "-v shows defaults and sources")  # not with --quiet


def test_installed_command_prints_the_same(files):
    run = subprocess.run([SCRIPT, "sweep", STUDY, "--quiet"], capture_output=True, text=True, timeout=60)
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout.splitlines() == [
        line for line in files[1].splitlines() if line.startswith("  ") and not any(x in line for x in REMARKS)
    ]


def test_sweep_files(files):
    folder, _ = files
    assert sorted(path.name for path in folder.iterdir()) == ["all.csv", "all.nc", "feasible.csv"]
    with xr.open_dataset(folder / "all.nc") as ds:
        assert {name: ds.sizes[name] for name in SIZES} == SIZES and set(ds.sizes) == {*SIZES, "block"}
        assert ds["tps_per_user"].dims == tuple(SIZES) and int(ds["feasible"].sum()) == 659
        assert ds["batch"].values.tolist() == list(range(16, 129, 8)) and ds["hardware"].values[0] == "H800"
        assert (ds["tpot"].attrs["units"], float(ds["context"])) == ("s", 5120)
    points, feasible = ((folder / name).read_text("utf-8").splitlines() for name in ("all.csv", "feasible.csv"))
    assert (len(points), len(feasible)) == (4321, 660) and set(feasible) <= set(points)
    assert points[0] == feasible[0] and points[0].split(",")[:7] == list(SIZES)
    column = points[0].split(",").index("feasible")
    assert {point.split(",")[column] for point in feasible[1:]} == {"1"}


def test_force_overwrites(files, tmp_path):
    (tmp_path / "old.csv").write_text("old", encoding="utf-8")
    command("sweep", STUDY, "--csv-feasible", tmp_path / "old.csv", "--force", "--quiet")
    assert (tmp_path / "old.csv").read_bytes() == (files[0] / "feasible.csv").read_bytes()


def test_formats_agree(default):
    table = json.loads(command("sweep", STUDY, "--format", "json"))
    assert (table["points"], table["feasible"]) == (4320, 659) and len(default) == 29 and table["rows"] == default
    assert table["refused"] == {"ok_memory": 1016, "ok_tps_per_user": 3661}
    for row, point in zip(
        csv.DictReader(io.StringIO(command("sweep", STUDY, "--format", "csv"))), default, strict=True
    ):
        assert list(row) == list(point)
        for name, value in point.items():
            assert row[name] == ("" if value is None else str(int(value) if isinstance(value, bool) else value)), name


@pytest.mark.parametrize("args", ["--by hardware,nic", "--by ", "--by nic --top 3", "--objective -tpot"])
def test_best_of_a_file_is_best_of_its_grid(files, args):
    same(rows("best", files[0] / "all.nc", *args.split(" ")), rows("best", STUDY, *args.split(" ")))


def test_best_options(default):
    assert rows("best", STUDY) == default
    assert labels(rows("best", STUDY, "--by", ""), "rank", "hardware", "nic", "ep") == [(1, "H800", "CX7", 320)]
    top = rows("best", STUDY, "--by", "", "--top", "5")
    assert [p["rank"] for p in top] == [1, 2, 3, 4, 5] and top[0]["tps_per_chip"] == default[0]["tps_per_chip"]
    assert [p["tps_per_chip"] for p in top] == sorted((p["tps_per_chip"] for p in top), reverse=True)
    two = [point["hardware"] for point in rows("best", STUDY, "--by", "hardware", "--top", "2")]
    assert sorted(two) == ["A100", "A100", "H20", "H20", "H800", "H800", "L20"]
    assert len(rows("best", STUDY, "--by", "", "--top", "100000")) == 659
    fastest = rows("best", STUDY, "--objective", "-step_time", "--by", "hardware")
    assert [p["step_time"] for p in fastest] == sorted(p["step_time"] for p in fastest) and fastest[0]["batch"] == 16
    assert "step ms" in command("best", STUDY, "--objective", "-step_time", "--by", "hardware")


@pytest.mark.parametrize(
    ("objective", "says"),
    [
        ("step_time", "the largest step_time is first, as asked: --objective -step_time has the smallest first"),
        (
            "-tps_per_chip",
            "the smallest tps_per_chip is first, as asked: --objective tps_per_chip has the largest first",
        ),
        ("-step_time", None),
        ("tps_per_chip", None),
        ("batch_total", None),
    ],
)
def test_the_worst_first_is_said(objective, says):
    """A user who names what is to be small, and forgets the sign, gets the worst point: told before the table."""
    for args in ([], ["--error", "nic=0.1", "--samples", "16"]):
        name = "uncertainty" if args else "best"
        printed = command(name, STUDY, "--by", "", "--objective", objective, *args)
        assert printed.count("first, as asked") == (says is not None), printed
        assert says is None or says in " ".join(printed.split())


@pytest.mark.parametrize(("name", "value"), [("nic", "CX7"), ("precision", "kv1-w1")])
def test_fix(default, name, value):
    """The points of the default grid that have the value, although the grid groups by what is fixed."""
    expected = [point for point in default if point[name] == value]
    for rank, point in enumerate(expected, 1):
        assert point.pop(name) == value
        point["rank"] = rank
    same(rows("sweep", STUDY, "--fix", f"{name}={value}"), expected)


def test_axis():
    command("sweep", STUDY, "--axis", "batch=8:256:8", "--fix", "nic=CX7", "--fix", "context=8192")
    points = rows("best", STUDY, "--axis", "batch=16:32:16", "--axis", "context=1024,4096", "--by", "batch,context")
    found = {(point["batch"], point["context"]): point["tps_per_chip"] for point in points}
    assert set(found) == {(16, 1024), (16, 4096), (32, 1024), (32, 4096)}
    assert found[32, 1024] > found[32, 4096]


def test_set():
    by = ["--by", "hardware,nic,ep"]
    points = rows("best", STUDY, *by, "--set", "nic.CX7.scale_out_bytes_per_s=10 GiB/s")
    slow, e810 = ([p for p in points if p["nic"] == name] for name in ("CX7", "E810"))
    assert labels(slow, "hardware", "ep", "tps_per_chip") == labels(e810, "hardware", "ep", "tps_per_chip")
    same(points, rows("best", STUDY, *by, "--set", f"nic.CX7.scale_out_bytes_per_s={10 * 2**30}"))
    assert "H800" not in {p["hardware"] for p in rows("sweep", STUDY, "--set", "hardware.H800.hbm_bytes=10 GB")}


def test_float32(default):
    for point, other in zip(rows("sweep", STUDY, "--dtype", "float32"), default, strict=True):
        assert point["tps_per_chip"] == pytest.approx(other["tps_per_chip"], rel=1e-5)


def test_reproduce():
    assert "66 of 66 rows reproduced" in command("reproduce", "decode_gpu_2025")
    table = json.loads(command("reproduce", "decode_gpu_2025", "--format", "json"))
    assert len(table) == 66 and all(row["ok"] for row in table)
    read = list(csv.DictReader(io.StringIO(command("reproduce", "decode_gpu_2025", "--format", "csv"))))
    assert labels(read, "table", "hardware", "nic") == labels(table, "table", "hardware", "nic")


def test_catalog():
    table, out = json.loads(command("catalog", "--format", "json")), command("catalog")
    assert {row["catalog"] for row in table} == {"hardware", "nic", "precision", "model", "engine", "curve"}
    lines = out.splitlines()
    for row in table:
        assert row["source"] and any(line.split()[1] == row["row"] and row["source"] in line for line in lines)
    read = list(csv.DictReader(io.StringIO(command("catalog", "--format", "csv"))))
    for row, other in zip(read, table, strict=True):
        assert json.loads(row.pop("sources")) == other.pop("sources")
        assert {key: text for key, text in row.items() if text} == {key: str(value) for key, value in other.items()}
    nics = json.loads(command("catalog", "nics", "--format", "json"))
    study = {row["row"]: row["scale_out_bytes_per_s"] for row in nics if row["of"] == "decode_gpu_2025"}
    assert study == {"CX7": 40 * 2**30, "E810": 10 * 2**30}
    for option in ((), ("--sources",)):
        printed = command("catalog", "nics", *option)
        assert all(row["source"] in printed for row in nics if option or row["of"] == "dsjax")


def test_no_feasible_point(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = dsjax.sweep(STUDY, fixed={"context": 4096}).attrs["grid"]
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


@pytest.mark.parametrize(
    "shell",
    [
        'exec "$0" sweep --fix context=-1 -o out.nc',
        'ulimit -f 8; exec "$0" sweep -o out.nc',
    ],
    ids=["bad value", "file too large"],
)
def test_failure(shell, tmp_path):
    run = subprocess.run(["sh", "-c", shell, SCRIPT], capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert (run.returncode, run.stdout, len(run.stderr.splitlines())) == (2, "", 1), run.stderr
    assert run.stderr.startswith("error: ") and "expected" in run.stderr and list(tmp_path.iterdir()) == []
