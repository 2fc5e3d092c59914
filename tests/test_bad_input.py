"""Bad input: one line that names file, key, value and what was expected; exit code 2; nothing written."""

import contextlib
import io
import os
import resource
import signal
from pathlib import Path

import pytest
import xarray as xr

import dsjax
from dsjax import errors
from dsjax.cli import main
from dsjax.space import grid

HUGE = "1" + "0" * 400
GRID = {
    "study": '"decode_gpu_2025"',
    "axes.hardware": '["H800", "H20"]',
    "axes.nic": '["CX7"]',
    "axes.ep": "[72, 144]",
    "axes.batch": "{ start = 16, stop = 64, step = 16 }",
    "axes.precision": '["kv1-w1"]',
    "axes.mtp": "[0, 1]",
    "fixed.context": "5120",
    "constraints.min_tps_per_user": "20",
    "objective.maximize": '"tps_per_chip"',
}


def write_grid(path, changes):
    """The grid with keys replaced, removed (None), or whole sections replaced."""
    kept = {key: value for key, value in GRID.items() if key.partition(".")[0] not in changes}
    lines = [f"{key} = {value}\n" for key, value in (kept | changes).items() if value is not None]
    Path(path).write_text("".join(lines), encoding="utf-8")


def refused(words, *args):
    """The one line a command refuses bad input with; it holds every word. A traceback fails as what it is."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as stop:
        main(list(args), prog_name="dsjax")
    line = err.getvalue().removesuffix("\n")
    assert (stop.value.code, out.getvalue()) == (2, ""), line or out.getvalue()
    assert line.startswith("error: ") and "\n" not in line, line
    assert [word for word in words.split() if word not in line] == [], line
    return line.removeprefix("error: ")


def names(path="."):
    return sorted(entry.name for entry in Path(path).iterdir())


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty current folder, and no cache of compiled programs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", os.devnull)


# {key of the grid: {value (None: no such key): words of the message beside the file, the key and "expected"}}
GRIDS = {
    "study": {'"decode_tpu"': "'decode_tpu' decode_gpu_2025", "3": "'3'", "[]": "[]"},
    "color": {"3": "'color' axes objective"},
    "axis": {"{ batch = [16] }": "did you mean 'axes'"},
    "title": {"3": "3 text", "2025-03-16": "2025 text", "[]": "[] text"},
    "axes": {None: "missing axis", "{}": "axis", "3": "3 table", "[3]": "[3] table"},
    "fixed": {"2025-03-16": "2025 table"},
    "constraints": {'"fast"': "'fast' table"},
    "objective": {"[]": "[] table", '"tpot"': "'tpot' table"},
    "axes.hardware": {
        None: "missing axis",
        "[]": "empty",
        '["H801"]': "'H801' did you mean 'H800'",
        '["H20", "H20"]': "'H20' twice",
        '"H800"': "'H800' list",
        '[["H800"]]': "['H800'] H20",
        "[true]": "'True' H20",
        "[inf]": "'inf' H20",
        "{ start = 1, stop = 2, step = 1 }": "list",
    },
    "axes.nic": {None: "missing axis", '["CX8"]': "'CX8' CX7 E810"},
    "axes.precision": {None: "missing axis", '["kv3-w3"]': "'kv3-w3' kv1-w1"},
    "axes.ep": {None: "missing axis", "[0]": "0 from 1", "[72.5]": "72.5 integer"},
    "axes.mtp": {"[2]": "2 [0, 1]", "[0, -1]": "-1 from 0"},
    "axes.model": {'["DeepSeek-V4"]': "'DeepSeek-V4' 'DeepSeek-V3'"},
    "axes.curve": {'["ideal"]': "'ideal' a100-guide"},
    "axes.pipeline": {'["triple"]': "'triple' dual-mbatch naive"},
    "axes.colour": {"[1]": "'colour' nearest"},
    'axes."line\\nbreak"': {"[1]": "nearest"},
    "axes.context": {"[4096]": "axis"},
    "axes.acceptance": {"[1.5]": "1.5 from 0 to 1", "[nan]": "nan from 0 to 1"},
    "axes.precision_weight_rate": {"[5]": "5"},
    "axes.hardware_hbm_bytes": {'["80 GB/s"]': "'GB/s' B"},
    "axes.hardware_hbm_bytes_per_s": {'["1/0 TB/s"]': "1/0 number", f'["{HUGE}/1"]': "1000 number"},
    "axes.batch": {
        None: "missing axis",
        "[]": "empty",
        "[16, 32, 16]": "16 twice",
        "[16, 16.0]": "16 twice",
        "[0]": "0 at least",
        "[-8]": "-8 at least 1",
        "[16.5]": "16.5 integer",
        "[3000000000]": "3000000000",
        f"[{HUGE}]": "1000",
        "[nan]": "nan",
        "[inf]": "inf",
        "[true]": "True",
        "[[16]]": "[16]",
        '["many"]': "'many'",
        "16": "16 list",
        '"16"': "'16' list",
        "[2025-03-16]": "2025",
        "{}": "{}",
        "{ start = 16, stop = 64 }": "16 64 step",
        "{ start = 16, stop = 60, step = 16 }": "60 16 48 64",
        "{ start = 16, stop = 64, step = 0 }": "64 0 step > 0",
        "{ start = 16, stop = 64, step = -8 }": "-8 step > 0",
        "{ start = 64, stop = 16, step = 8 }": "stop >= start",
        "{ start = 16, stop = 64, step = 8, last = 3 }": "last",
        "{ start = nan, stop = 64, step = 8 }": "nan finite",
        "{ start = 16, stop = inf, step = 8 }": "inf finite",
        "{ start = 16, stop = 64, step = nan }": "nan finite",
        "{ start = 16, stop = 64, step = true }": "True",
        '{ start = "16", stop = 64, step = 8 }': "start '16' number",
        "{ start = 16, stop = 17, step = 0.5 }": "16.5 integer",
        "{ start = 0, stop = 8, step = 8 }": "0 at least 1",
        f"{{ start = 1, stop = {HUGE}, step = 1 }}": "stop",
        "{ start = 1.0, stop = 1e308, step = 1e-308 }": "step",
    },
    "fixed.model": {'"DeepSeek-V4"': "'DeepSeek-V4' 'DeepSeek-V3'"},
    "fixed.colour": {"1": "'colour' nearest"},
    "fixed.batch": {"16": "axis"},
    "fixed.context": {
        "0": "0 above 0",
        "-1": "-1 above 0",
        "nan": "nan above 0",
        "-inf": "-inf above 0",
        "[5120]": "[5120] number",
        "true": "True number",
        '"long"': "'long' number",
        "2025-03-16": "2025 number",
    },
    "constraints.tps_per_user": {"20": "min_tps_per_user"},
    "constraints.min_colour": {"20": "nearest min_"},
    "constraints.min_tps_per_user": {
        "nan": "nan number",
        "inf": "inf number",
        "true": "True number",
        "[20]": "[20] number",
        '"20 ms"': "'ms' token/s",
        '"fast"': "'fast' number",
    },
    "objective.maximize": {
        '"tps"': "'tps' tps_per_chip",
        "[]": "[] nearest",
        "3": "'3' nearest",
        '"feasible"': "'feasible'",
    },
    "objective.minimize": {'"tpot"': "maximize"},
    "objective.maximise": {'"tpot"': "'maximise' maximize"},
    "objective.by": {'["colour"]': "'colour' nearest", '"colour"': "'colour' nearest", "[3]": "'3' nearest"},
}


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        pytest.param(key, value, words, id=f"{key}={value}"[:60])
        for key, cases in GRIDS.items()
        for value, words in cases.items()
    ],
)
def test_grid(key, value, words):
    write_grid("bad.toml", {key: value})
    leaf = key.rpartition(".")[2].strip('"').partition("\\")[0]
    line = refused(f"bad.toml {leaf} expected {words}", "sweep", "bad.toml", "-o", "out.nc", "--csv-all", "out.csv")
    assert names() == ["bad.toml"]
    with pytest.raises(dsjax.InputError) as error:
        dsjax.sweep("bad.toml")
    assert str(error.value) == line


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read No such file"),
        ("folder", "is a folder"),
        (b"study = \xff", "byte 8 UTF-8"),
        (b"study: decode", "TOML line 1"),
        (b"study = 1\nstudy = 2\n", "TOML line 2"),
        (b"axes.batch = [" + b"9" * 5000 + b"]", "TOML"),
        (b"axes.batch = " + b"[" * 5000 + b"]" * 5000, "TOML"),
        (b"", "axes missing expected"),
    ],
    ids=["absent", "folder", "latin-1", "yaml", "twice", "digits", "nested", "empty"],
)
def test_grid_file(content, words):
    if content == "folder":
        Path("bad.toml").mkdir()
    elif content is not None:
        Path("bad.toml").write_bytes(content)
    before = names()
    refused(f"bad.toml {words}", "sweep", "bad.toml", "-o", "out.nc")
    assert names() == before


# {option: {its text: words of the message beside the option}}
OPTIONS = {
    "--axis": {
        "batch": "batch NAME=VALUE",
        "batch=": "batch NAME=VALUE",
        "=8": "=8 NAME=VALUE",
        "batch=8:64": "8:64 expected",
        "batch=a:b:c": "a:b:c start:stop:step",
        "batch=8:64:": "8:64: start:stop:step",
        "batch=8:65:8": "65 64",
        "batch=8,,16": "batch '' expected",
        "batch=8,8": "batch 8 twice",
        "batch=nan": "batch nan expected",
        "batch=8:inf:8": "batch inf expected",
        f"batch={HUGE}": "batch expected",
        "nic=CX7,CX9": "nic 'CX9' E810",
        "colour=1": "'colour' nearest",
        "colo\nur=1": "nearest",
        "batch=8 --axis batch=16": "batch expected",
        "batch=8,16 --fix batch=8": "batch expected",
    },
    "--fix": {
        "context": "context NAME=VALUE",
        "context=inf": "context inf above 0",
        "context=0": "context 0 above 0",
        "mtp=2": "mtp 2 [0, 1]",
        "pipeline=triple": "'triple' naive",
    },
    "--set": {
        "nic.CX7.scale_out_bytes_per_s": "CX7 NAME=VALUE",
        "nic=1": "nic.<row>.<field>",
        "hub.CX7.rate=1": "nic.<row>",
        "nic.CX9.scale_out_bytes_per_s=1": "'CX9' CX7",
        "nic.CX7.source=me": "scale_out_bytes_per_s",
        "nic.CX7.bytes=1": "'bytes' scale_out_bytes_per_s",
        "precision.kv1-w1.weight_rate=fp6": "weight_rate 'fp6' fp8",
        **{
            f"nic.CX7.scale_out_bytes_per_s={value}": f"scale_out_bytes_per_s {value} expected B/s"
            for value in ("-1", "0", "nan", "inf", "1e999", "fast", "50GB")
        },
    },
}


@pytest.mark.parametrize(
    ("option", "text", "words"),
    [
        pytest.param(option, text, words, id=text[:50])
        for option, cases in OPTIONS.items()
        for text, words in cases.items()
    ],
)
def test_option(option, text, words):
    refused(f"{option} {words}", "sweep", "decode_gpu_2025", option, *text.split(" "), "-o", "out.nc")
    refused(f"{option} {words}", "best", "decode_gpu_2025", option, *text.split(" "))
    assert names() == []


@pytest.mark.parametrize("name", ["prefill", "default", "serve", "disaggregated"])
def test_a_prompt_has_tokens(name):
    """Of no tokens a pass takes no time, and what is a share of it is no number."""
    refused("--fix isl 0 above 0 token", "sweep", name, "--fix", "isl=0", "--fix", "osl=8", "-o", "out.nc")


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ("-o old", "old exists --force"),
        ("--csv-all old", "old exists --force"),
        ("--csv-feasible old", "old exists --force"),
        ("-o new.nc --csv-all old", "old exists --force"),
        ("absent.toml -o old --force", "absent.toml expected"),
        ("-o inside --force", "inside folder expected"),
        ("-o absent/new.nc", "absent does not exist expected"),
        ("-o old/new.nc", "old/new.nc expected"),
        ("--csv-all pipe --force", "pipe expected"),
        ("-o ", "expected"),
        (f"-o {'x' * 300}.nc", "xxx.nc too long"),
        ("-o new --csv-all new", "new two outputs expected"),
        ("--csv-all new --csv-feasible inside/../new", "new two outputs expected"),
    ],
    ids=lambda text: text[:40],
)
def test_output(args, words):
    Path("old").write_text("kept", encoding="utf-8")
    Path("inside").mkdir()
    os.mkfifo("pipe")
    refused(words, "sweep", *args.split(" "))
    assert names() == ["inside", "old", "pipe"] and names("inside") == [] and Path("pipe").is_fifo()
    assert Path("old").read_text(encoding="utf-8") == "kept"


@contextlib.contextmanager
def limits(seconds=5, megabytes=300):
    """Stop with an error after some seconds; fail when the process has grown."""

    def expired(*_):
        raise TimeoutError(f"still running after {seconds} s")

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    handler = signal.signal(signal.SIGALRM, expired)
    signal.setitimer(signal.ITIMER_REAL, seconds, 1)  # repeated: a callback of the garbage collector may swallow it
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 < megabytes


@pytest.mark.parametrize(
    "stops",
    [
        {"batch": 99_999_999},
        {"batch": 2_000_000_000},
        {"batch": 1e300},
        {"batch": 5_000_000, "context": 5_000_000},
        {"batch": 20_000, "ep": 20_000, "context": 20_000},
        dict.fromkeys(("batch", "ep", "context", "hardware_sms", "hardware_hbm_bytes"), 1000),
    ],
    ids=str,
)
def test_grid_larger_than_memory(stops):
    ranges = {f"axes.{name}": f"{{ start = 1, stop = {stop}, step = 1 }}" for name, stop in stops.items()}
    write_grid("huge.toml", ranges | {"fixed": None})
    with limits():
        line = refused("memory expected", "sweep", "huge.toml", "-o", "out.nc")
    assert ("GB" in line or "values" in line) and ("smaller" in line or "larger step" in line)
    assert any(name in line for name in stops) and names() == ["huge.toml"]


@pytest.mark.parametrize(
    ("args", "words"),
    [
        *[
            (f"best {name}.nc", f"{name}.nc expected NetCDF dsjax")
            for name in ("absent", "text", "empty", "cut", "smear", "folder", "foreign", "unreadable", "partial")
        ],
        ("best good.nc --by hardwear", "'hardwear' hardware"),
        ("best good.nc --objective per_chip", "'per_chip' tps_per_chip"),
        ("best good.nc --objective -", "tps_per_chip"),
        ("best good.nc --objective ttft", "ttft expected"),
        ("best good.nc --top 0", "top 0 positive"),
        ("best good.nc --top -1", "top -1 positive"),
        ("best good.nc --fix batch=16", "good.nc --fix expected grid"),
        ("best absent", "'absent' default"),
        (f"best {'x' * 300}", "xxx expected"),
        ("reproduce tpu", "study 'tpu' decode_gpu_2025"),
        ("catalog tpu", "'tpu' nics"),
    ],
    ids=lambda text: text[:40],
)
def test_other_commands(study, args, words):
    dsjax.write_netcdf(study, "good.nc")
    good = Path("good.nc").read_bytes()
    third = len(good) // 3
    smear = good[:third] + b"\xa5" * 4000 + good[third + 4000 :]
    for name, content in {"text": b"study = 3", "empty": b"", "cut": good[:third], "smear": smear}.items():
        Path(f"{name}.nc").write_bytes(content)
    Path("folder.nc").mkdir()
    spec = study.attrs["dsjax_spec"]
    for name, attrs in {"foreign": {}, "unreadable": {"dsjax_spec": "{"}, "partial": {"dsjax_spec": spec}}.items():
        xr.Dataset({"x": 1}, attrs=attrs).to_netcdf(f"{name}.nc")
    refused(words, *args.split(" "))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda ds: dsjax.sweep(3), "3 expected"),
        (lambda ds: dsjax.sweep({}), "grid axes missing"),
        (lambda ds: dsjax.sweep(dtype="float16"), "dtype 'float16' float32"),
        (lambda ds: dsjax.sweep(axes={"batch": 16}), "batch 16 list"),
        (lambda ds: dsjax.sweep(fixed={"context": None}), "context None number"),
        (lambda ds: dsjax.sweep(settings={"precision.fp8-kv8.weight_rate": 5}), "weight_rate 5 expected"),
        (lambda ds: dsjax.best(ds, top=1.5), "top 1.5 positive"),
        (lambda ds: dsjax.best(ds, top=True), "top True positive"),
        (lambda ds: dsjax.best(ds, by=5), "by 5 list"),
        (lambda ds: dsjax.best(ds.isel(batch=[0, 0])), "batch twice expected"),
        (lambda ds: dsjax.best(xr.Dataset()), "dsjax_spec missing"),
        (lambda ds: dsjax.write_netcdf(ds, "."), "folder expected"),
        (lambda ds: dsjax.write_csv(ds, "absent/x.csv"), "absent does not exist"),
    ],
)
def test_python(study, call, words):
    with pytest.raises(dsjax.InputError) as error:
        call(study)
    assert [word for word in words.split() if word not in str(error.value)] == [], error.value
    assert "\n" not in str(error.value) and names() == []


ASKED = {
    "best": [],
    "pareto": [],
    "histogram": [],
    "explain": [],
    "sensitivity": [],
    "solve": ["--vary", "context", "--until", "feasible"],
    "uncertainty": ["--error", "nic=1%"],
    "plot": ["-o", "x.png"],
    "compare": [],
}


@pytest.mark.parametrize("command", ASKED)
def test_results_take_no_changes(study, command):
    """A file of results refuses every option of a grid, whatever the command."""
    dsjax.write_netcdf(study, "good.nc")
    files = {"plot": ["pareto", "good.nc"], "compare": ["good.nc", "good.nc"]}.get(command, ["good.nc"])
    options = ["--axis batch=16", "--fix batch=16", "--set nic.CX7.latency_s=1", "--model x", "--catalog x"]
    options += ["--dtype float32", *(["--stream"] if command in ("best", "pareto", "histogram") else [])]
    options += ["--max-memory 1GB", "--scheduler tcp://127.0.0.1:1"] if command in ("best", "pareto") else []
    for option in options:
        refused("good.nc --axis expected grid", command, *files, *option.split(), *ASKED[command])


def test_an_unknown_name_gets_the_nearest():
    """Few names are listed; of many the three nearest: those that hold it, those like it, of numbers the closest."""
    many = [f"{kind}_{name}" for kind in ("busy", "exposed", "ok") for name in ("compute", "memory", "network", "time")]
    assert str(errors.unknown("x", "part", "bad", many)).endswith(f"expected one of {', '.join(many)}")
    many += ["chips", "time_to_first"]
    said = str(errors.unknown("x", "part", "time", many))
    assert said.startswith("x: unknown part 'time' (did you mean 'ok_time'?); expected one of 14, the nearest ")
    assert said.endswith("nearest ok_time, busy_time, exposed_time")
    said = str(errors.unknown("x", "part", "busy_tme", many))
    assert "(did you mean 'busy_time'?)" in said and said.endswith(
        " of 14, the nearest busy_time, busy_memory, busy_compute"
    )
    rates = ["tps_per_user", "tps_per_chip", "tps_total"]
    said = str(errors.unknown("x", "part", "tps", [*many, "tpot", *rates]))
    assert "tpot" not in said and all(rate in said for rate in rates)
    assert str(errors.unknown("x", "batch", 70.2, range(16, 512, 16))).endswith("one of 31, the nearest 64, 80, 48")
    assert "(dsjax catalog nics lists them)" in str(errors.unknown("x", "nic", "CX8", many))
    assert str(errors.unknown("x", "part", "a", [])).endswith("expected one of none")


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: dsjax.best({"tps_per_chip": 1}), ["grid: unknown key 'tps_per_chip'"]),
        (lambda: dsjax.best(xr.DataArray([1])), ["DataArray", "expected"]),
        (lambda: dsjax.load_grid("default", catalogs=3), ["catalogs: 3", "expected paths of catalog files"]),
        (lambda: dsjax.plot(["pareto"], "default", "p.png"), ["kind: ['pareto']", "expected a text"]),
    ],
)
def test_arguments_of_a_wrong_type_are_named(call, words):
    with pytest.raises(errors.InputError) as error:
        call()
    assert all(word in str(error.value) for word in words), error.value


def test_a_scheduler_is_an_address(tmp_path):
    refused(
        "--scheduler nonsense: is no address; expected one like tcp://host:8786",
        *("sweep", "decode_gpu_2025", "-o", str(tmp_path / "r.zarr"), "--scheduler", "nonsense"),
    )


@pytest.mark.parametrize(("by", "means"), [("batch", ("batch",)), ("hardware, batch", ("hardware", "batch")), ("", ())])
def test_groups_of_a_grid_may_be_a_text(by, means):
    """As in Python and on the command line: there is but one thing that it can mean."""
    fixed = {"nic": "CX7", "precision": "fp8"}
    given = {"model": "DeepSeek-V3", "axes": {"hardware": ["H20", "H800"], "batch": [1, 2]}, "objective": {"by": by}}
    read = grid.load({**given, "fixed": fixed | {"tp": 1, "ep": 72, "mtp": 0, "pipeline": "naive", "context": 512}})
    assert read.by == means


def test_an_axis_is_no_objective(study):
    with pytest.raises(errors.InputError) as error:
        dsjax.best(study, objective="batch")
    said = "objective: batch is an axis; expected a variable (by='batch' ranks the best point of each)"
    assert str(error.value) == said
