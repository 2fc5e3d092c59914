"""No output of a call is one of its inputs, or another of its outputs, however named; kinds are what names say."""

import os
import shutil
from pathlib import Path

import pytest
from console import command

import dsjax
from dsjax import texts
from dsjax.calibration import calibrate
from dsjax.catalog import configs, reader
from dsjax.results import netcdf

ROW = '[hardware.{}]\nbase = "H800"\nsource = "of a test"\n'
GRID = """
model = "config"
[axes]
hardware = ["Mine", "Own"]
batch = [32, 64]
[fixed]
nic = "CX7"
tp = 1
ep = 72
precision = "fp8"
mtp = 0
pipeline = "naive"
context = 4096
"""
SYSTEMS = """
[[study]]
id = "A"
date = "2026-01-01"
source = "a bench"
model = "other.json"
hardware = "Mine"
precision = "fp8"
chips = 16
ep = 16
context = 4096
[[study.system]]
id = "A0"
metric = "decode"
value = 2000
batch = 64
"""
SPECIAL = {"--csv-all": "x.csv", "--csv-feasible": "y.csv", "--json-best": "x.json"}
CALIBRATE = ("calibrate", "times.csv", "--kind", "mla-decode", "--hardware", "Mine", "--catalog", "mine.toml")
# (command without its outputs, {option of an output: a name of its kind}, files that it reads)
READ = {"grid.toml", "mine.toml", "config/config.json", "user/dsjax/own.toml"}
COMMANDS = {
    "sweep": (("sweep", "grid.toml", "--catalog", "mine.toml"), {"-o": "x.nc", **SPECIAL}, READ),
    "sweep of a model": (
        ("sweep", "grid.toml", "--catalog", "mine.toml", "--axis", "model=other.json,config"),
        {"-o": "y.nc"},
        READ | {"other.json"},
    ),
    "sensitivity": (("sensitivity", "grid.toml", "--catalog", "mine.toml"), {"-o": "x.nc"}, READ),
    "sensitivity of results": (("sensitivity", "results.nc"), {"-o": "x.nc"}, {"results.nc"}),
    "plot": (("plot", "pareto", "grid.toml", "--catalog", "mine.toml"), {"-o": "x.png"}, READ),
    "plot of results": (("plot", "pareto", "results.nc"), {"-o": "x.svg"}, {"results.nc"}),
    "plot, a page": (("plot", "pareto", "grid.toml", "--catalog", "mine.toml"), {"-o": "x.html"}, READ),
    "report": (("report", "grid.toml", "--catalog", "mine.toml"), {"-o": "x.html"}, READ),
    "report of results": (("report", "results.nc"), {"-o": "x.html"}, {"results.nc"}),
    "launch": (("launch", "grid.toml", "--catalog", "mine.toml", "--engine", "vllm"), {"-o": "x.sh"}, READ),
    "calibrate": (CALIBRATE, {"-o": "x.toml"}, {"times.csv", "mine.toml", "user/dsjax/own.toml"}),
    "validate": (
        ("validate", "systems.toml", "--catalog", "mine.toml"),
        {"-o": "x.nc"},
        {"systems.toml", "mine.toml", "other.json", "user/dsjax/own.toml"},
    ),
}
EACH = [
    pytest.param(name, option, file, id=f"{name} {option} {file}")
    for name, (_, outputs, inputs) in COMMANDS.items()
    for option in outputs
    for file in sorted(inputs)
]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    path = tmp_path_factory.mktemp("results") / "results.nc"
    dsjax.write_netcdf(dsjax.sweep("decode_gpu_2025", fixed={"nic": "CX7", "mtp": 1, "pipeline": "naive"}), path)
    return path


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch, results):
    """A folder with one of every input, which is the present one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "user"))
    for folder in ("config", "user/dsjax"):
        os.makedirs(folder)
    Path("grid.toml").write_text(GRID, "utf-8")
    Path("systems.toml").write_text(SYSTEMS, "utf-8")
    Path("mine.toml").write_text(ROW.format("Mine"), "utf-8")
    Path("user/dsjax/own.toml").write_text(ROW.format("Own"), "utf-8")
    for path in ("config/config.json", "other.json"):
        shutil.copy(reader.DATA / "models" / "DeepSeek-V3.json", path)
    shutil.copy(Path(__file__).parent / "data" / "mla_decode_h800.csv", "times.csv")
    shutil.copy(results, "results.nc")
    return tmp_path


def held():
    """{file of the present folder: its bytes}."""
    return {str(path): path.read_bytes() for path in Path().rglob("*") if path.is_file()}


def refused(*args):
    """The line with which a command is refused; nothing has changed."""
    before = held()
    line = command(*args, code=2)
    assert held() == before and line.count("\n") == 1
    return line


@pytest.mark.parametrize("way", [os.link, os.symlink], ids=lambda way: way.__name__)
@pytest.mark.parametrize(("name", "option", "file"), EACH)
def test_no_output_of_a_command_is_an_input(name, option, file, way):
    args, outputs, _ = COMMANDS[name]
    way(os.path.abspath(file), outputs[option])
    for force in ((), ("--force",)):
        line = refused(*args, option, outputs[option], *force)
        assert line.startswith(f"error: {outputs[option]}: would overwrite the input ") and file in line


@pytest.mark.parametrize("name", COMMANDS)
def test_these_are_the_files_that_a_command_reads(name, here, monkeypatch):
    """All of them, before anything is computed: the test above leaves none out."""
    found = set()

    def noted(path):
        if Path(os.path.realpath(path)).is_relative_to(here):
            found.add(os.path.relpath(os.path.realpath(path)))

    def computing(*_, **__):
        raise dsjax.InputError("computing")

    opener, text = netcdf.read, texts.read
    for function in (
        "evaluation.evaluate",
        "analysis.sensitivity.sensitivity",
        "calibration.fitting.cross_validate",
        "pictures.drawn",
    ):
        monkeypatch.setattr(f"dsjax.{function}", computing)
    monkeypatch.setattr(texts, "read", lambda path, *args: noted(path) or text(path, *args))
    monkeypatch.setattr(netcdf, "read", lambda path: noted(path) or opener(path))
    args, outputs, inputs = COMMANDS[name]
    line = command(*args, *(text for option in outputs.items() for text in option), "--quiet", code=2)
    assert line.endswith("computing\n") and found == inputs


@pytest.mark.parametrize("file", ["grid.toml", "./grid.toml", "config/../grid.toml"])
@pytest.mark.parametrize("option", SPECIAL)
def test_an_input_itself_is_no_output(option, file):
    sweep = ("sweep", "grid.toml", "--catalog", "mine.toml", option, file, "--force")
    assert refused(*sweep) == f"error: {file}: would overwrite the input grid.toml; expected another output\n"


@pytest.mark.parametrize(
    ("outputs", "word"),
    [
        ("-o x.nc --csv-all x.nc", "x.nc: named for two outputs"),
        ("--csv-all x.csv --csv-feasible config/../x.csv", "config/../x.csv: named for two outputs"),
        ("--csv-all x.csv --json-best soft", "soft: named for two outputs"),
        ("--csv-all x.csv --json-best hard", "hard: named for two outputs"),
        ("-o x.zarr --csv-all x.zarr/all.csv", "x.zarr/all.csv: named for two outputs"),
        ("-o x.nc --json-best x.nc.parts/best.json", "x.nc.parts/best.json: named for two outputs"),
    ],
)
def test_no_two_outputs_are_one_file(outputs, word):
    Path("x.csv").write_text("kept", "utf-8")
    os.symlink("x.csv", "soft")
    os.link("x.csv", "hard")
    assert refused("sweep", "decode_gpu_2025", *outputs.split(), "--force").startswith(f"error: {word}, also as x.")


@pytest.mark.parametrize("folder", ["x.zarr", "x.zarr.parts", "x.zarr/inside"])
def test_an_input_inside_a_store_or_its_parts_is_no_output(folder):
    os.makedirs(folder)
    shutil.move("mine.toml", folder)
    Path("x.zarr").mkdir(exist_ok=True)
    Path("x.zarr/zarr.json").write_text("{}", "utf-8")
    line = refused("sweep", "grid.toml", "--catalog", f"{folder}/mine.toml", "-o", "x.zarr", "--force")
    assert line.startswith(f"error: x.zarr: would overwrite the input {folder}/mine.toml; expected")


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ("sweep decode_gpu_2025 -o out", "out: unknown kind of output; expected a name ending in .nc or .zarr"),
        ("sweep decode_gpu_2025 -o out.csv", "out.csv: unknown kind of output; expected a name ending in .nc"),
        ("sweep decode_gpu_2025 --csv-all out.nc", "out.nc: suffix '.nc', of results; expected another"),
        ("sweep decode_gpu_2025 --csv-feasible out.ZARR", "out.ZARR: suffix '.ZARR', of results; expected another"),
        ("sweep decode_gpu_2025 --json-best out.nc", "out.nc: suffix '.nc', of results; expected another"),
        ("sensitivity decode_gpu_2025 -o out", "out: suffix ''; expected a name ending in .nc"),
        ("sensitivity decode_gpu_2025 -o out.zarr", "out.zarr: suffix '.zarr'; expected a name ending in .nc"),
        ("validate -o out.csv", "out.csv: suffix '.csv'; expected a name ending in .nc"),
        ("calibrate times.csv --kind mla-decode --hardware H800 -o out.nc", "out.nc: suffix '.nc', of results"),
        ("plot pareto decode_gpu_2025 -o out.jpg", "out.jpg: suffix '.jpg'; expected a path ending in .png"),
    ],
)
def test_a_name_says_the_kind_of_what_is_written(args, said, monkeypatch):
    def computed(*_, **__):
        raise AssertionError("computed first")

    monkeypatch.setattr("dsjax.evaluation.evaluate", computed)
    monkeypatch.setattr("dsjax.calibration.fitting.fit", computed)
    assert refused(*args.split()).startswith(f"error: {said}")


@pytest.mark.parametrize("file", ["grid.toml", "mine.toml", "config/config.json", "user/dsjax/own.toml"])
def test_a_sweep_of_python_too(file):
    os.link(file, "x.nc")
    before = held()
    with pytest.raises(dsjax.InputError, match=rf"x\.nc: would overwrite the input .*{file}"):
        dsjax.sweep("grid.toml", catalogs=["mine.toml"], output="x.nc", force=True)
    with pytest.raises(dsjax.InputError, match=rf"x\.svg: would overwrite the input .*{file}"):
        os.link(file, "x.svg")
        dsjax.plot("pareto", "grid.toml", "x.svg", catalogs=["mine.toml"], force=True)
    os.remove("x.svg")
    assert held() == before


def test_what_was_read_from_a_file_is_not_written_over_it():
    ds = dsjax.open_netcdf("results.nc")
    os.symlink("results.nc", "link.csv")
    before = held()
    for write, path in ((dsjax.write_netcdf, "results.nc"), (dsjax.write_csv, "link.csv")):
        with pytest.raises(dsjax.InputError, match=f"{path}: would overwrite the input .*results.nc; expected another"):
            write(ds, path, force=True)
    fitted = dsjax.calibrate("times.csv", "mla-decode", "H800")
    with pytest.raises(dsjax.InputError, match=r"times\.csv: would overwrite the input times\.csv"):
        calibrate.write_row(fitted, "times.csv", force=True)
    assert held() == before
    dsjax.write_netcdf(ds, "other.nc")


def test_a_name_that_is_no_path_is_left_to_the_grid():
    with pytest.raises(dsjax.InputError, match="model"):
        dsjax.sweep("default", fixed={"model": "x\0y"}, output="x.nc")
    assert configs.path_of("none") is None and not os.path.exists("x.nc")
