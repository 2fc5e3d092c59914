"""What commands print: no line wider than the terminal, plain text in a pipe, names without control characters."""

import fcntl
import itertools
import os
import pty
import re
import shlex
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

import dsjax
from dsjax import cli
from dsjax.commands import output
from dsjax.commands.tables import Table
from grids import SEVEN_CHIPS

WIDTHS = (80, 120, 200)
DATA = Path(__file__).parent / "data"
SMALL = ["--fix", "nic=CX7", "--axis", "ep=72,320", "--axis", "batch=16,64,96", "--fix", "pipeline=naive"]
LENGTHS = ["--isl", "1024", "--osl", "256"]
FEW = ["--fix", "pipeline=naive", "--axis", "tp=4", "--precision", "fp8", "--no-disaggregated"]
BENCH = DATA / "benchmarks" / "vllm_0.11.json"
FILES = ("init", "schema", "launch")  # what they print, or write


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("output")
    axes = {"ep": [72, 320], "batch": [16, 64, 96], "hardware": ["H800", "A100", "B200", "H100", "L20"]}
    dsjax.write_netcdf(dsjax.sweep(SEVEN_CHIPS, axes=axes, fixed={"nic": "CX7"}), folder / "space.nc")
    sizes = itertools.product((64, 512), (2048, 7168), (512, 4096))
    lines = [f"{m},{n},{k},{(m * n * k * 2 / 4e14 + 5e-6) * 1e6}" for m, n, k in sizes]
    (folder / "gemm.csv").write_text("\n".join(["m,n,k,latency_us", *lines, *lines]))
    return folder


def calls(folder):
    """{command: its cheap call} of every command of the registry."""
    space = str(folder / "space.nc")
    return {
        "sweep": [*SMALL, "--axis", "hardware=H800,A100,L20", "-o", str(folder / "sweep.nc"), "--force"],
        "best": [space, "--by", "hardware,ep"],
        "pareto": [space, "--by", "hardware"],
        "histogram": [space],
        "plan": ["--hardware", "H20", "--chips", "8", *LENGTHS, "--tps-per-user", "20", *FEW],
        "explain": [space],
        "sensitivity": [space, "--envelope"],
        "solve": [*SMALL, "--vary", "nic.CX7.scale_out_bytes_per_s", "--until", "tps_per_chip >= 2000"],
        "compare": [*SMALL, "--set-b", "nic.CX7.scale_out_bytes_per_s=1e11"],
        "uncertainty": [space, "--error", "nic=10%", "--samples", "16"],
        "recommend": ["--requests-per-s", "5", *LENGTHS, "--axis", "hardware=H800,L20", "--fix", "nic=CX7"],
        "report": [space, "-o", str(folder / "x.html"), "--force"],
        "launch": ["serve", "--at", "hardware=H200", "--engine", "vllm"],
        "plot": ["pareto", space, "-o", str(folder / "x.png"), "--force"],
        "validate": [],
        "ingest": [str(BENCH), "--hardware", "H200", "--tp", "8", "--chips", "8", "--ep", "1", "--engine", "vllm"]
        + ["--precision", "fp8", "-o", str(folder / "systems.toml"), "--force"],
        "calibrate": [str(folder / "gemm.csv"), "--kind", "gemm", "--hardware", "H800", "--precision", "bf16"]
        + ["-o", str(folder / "curve.toml"), "--force"],
        "reproduce": ["decode_gpu_2025"],
        "count": [],
        "names": ["axes"],
        "catalog": ["hardware"],
        "init": ["grid", "-o", str(folder / "grid.toml"), "--force"],
        "schema": ["grid", "-o", str(folder / "grid.json"), "--force"],
    }


NAMES = cli.main.list_commands(None)


def printed(*args, columns=None, code=(0, 1)):
    """Standard output of a command in a pipe, with COLUMNS or without."""
    env = {"COLUMNS": None if columns is None else str(columns)}
    run = CliRunner().invoke(cli.main, [str(arg) for arg in args], env=env, prog_name="dsjax", catch_exceptions=False)
    assert run.exit_code in code, run.output
    return run.stdout


def too_wide(text, columns):
    return [line for line in text.splitlines() if output.cells(line) > columns]


@pytest.mark.parametrize("name", NAMES)
def test_no_line_is_wider_than_the_terminal(name, folder):
    args = [name, *calls(folder)[name]]
    texts = {columns: printed(*args, columns=columns) for columns in WIDTHS}
    for columns, text in texts.items():
        assert name == "launch" or not too_wide(text, columns), too_wide(text, columns)
        assert "\x1b" not in text and not any(line != line.rstrip() for line in text.splitlines())
    assert name in (*FILES, "plot") or too_wide(texts[200], 80)  # a narrow terminal makes a difference


# What a command is asked for stays on a narrow terminal: the headings of its first table at 80 columns.
STAYS = {
    "compare": (["--by", "hardware,nic", "--set-b", "nic.CX7.scale_out_bytes_per_s=100 GB/s"], ("B/A", "why")),
    "validate": ([], ("median", "ratio", "in", "+- %", "in 2")),
}


@pytest.mark.parametrize("name", STAYS)
def test_what_decides_stays_on_a_narrow_terminal(name):
    args, words = STAYS[name]
    text = printed(name, *args, columns=80)
    heads = text[: text.index("\n  ---")].splitlines()[-3:]
    assert all(any(word in line for line in heads) for word in words), heads
    if name == "compare":  # what tells the groups apart stays whatever their number
        assert heads[-1].split()[:2] == ["hardware", "nic"] and " now binds alone" in " ".join(text.split())


@pytest.mark.parametrize("name", NAMES)
def test_help_fits_and_lists_its_options_by_what_they_are_about(name):
    for columns in WIDTHS:
        text = printed(name, "--help", columns=columns)
        assert not too_wide(text, columns) and "\nOptions:" not in text
    command = cli.main.get_command(None, name)
    options = [option for parameter in command.params for option in parameter.opts if option.startswith("--")]
    assert all(re.search(rf"{option}\b", text) for option in options)
    if "--axis" in options:
        assert "\nGrid and catalogs:\n" in text and "dsjax names axes|variables|limits|parameters" in text


def test_help_of_dsjax_is_a_page():
    text = printed("--help", columns=80)
    assert len(text.splitlines()) <= 40 and not too_wide(text, 80)


def test_examples_of_help_are_commands_however_narrow():
    wide, narrow = (printed("sweep", "--help", columns=columns) for columns in (200, 60))
    wide, narrow = (text.replace("\\\n", "").splitlines() for text in (wide, narrow))
    wide, narrow = ([shlex.split(x) for x in lines if x.startswith("  dsjax ")] for lines in (wide, narrow))
    assert wide == narrow and len(wide) > 3


# ---- tables

ROWS = [["1", "H800", "CX7", "1", "1,983.8", "48.4", "network"], ["2", "H20", "CX7", "2", "563.0", "42.6", "compute"]]
HEADS = ["", "hardware", "nic", "tp", "tok/s/chip", "TPOT ms", "bound by"]


def lines_of(columns, **how):
    return [text for text, _ in Table(HEADS, ROWS, **how).styled(columns)]


def test_a_table_says_constants_once_and_what_it_leaves_out():
    assert lines_of(None, constant=(2,))[0].split() == [*" ".join(HEADS).split()]
    assert lines_of(200, constant=(2,))[0] == "  all: nic CX7"
    assert "CX7" in lines_of(200)[2]  # fits, and nobody asked
    found = lines_of(40, constant=(2,), least=(6, 5))
    assert found[0] == "  all: nic CX7" and "network" not in "".join(found) and "1,983.8" in "".join(found)
    assert (
        found[-2:] == ["  left out at this width: bound by;", "    --wide shows them"]
        and max(map(len, lines_of(38, least=(6, 5)))) <= 38
    )


@pytest.mark.parametrize("columns", [20, 30, 60, 80])
def test_sentences_of_a_table_are_folded_and_none_of_their_words_is_lost(columns):
    words = "every word of a long sentence is there in its order, none is cut where it fits".split()
    found = [line for line, _ in Table(["name", "meaning"], [["a", " ".join(words)], ["b", "short"]]).styled(columns)]
    assert max(map(len, found)) <= columns
    assert " ".join(" ".join(found[2:-1]).split()) == " ".join(["a", *words])


CELLS = st.text("ab 12,.-*\x1b\u202e\u65e5\u0301[]/", max_size=20)


@given(st.lists(st.lists(CELLS, min_size=3, max_size=3), min_size=1, max_size=4), st.integers(24, 90))
def test_no_table_is_wider_than_asked(rows, columns):
    lines = [text for text, _ in Table(["one", "two/three", "four five"], rows).styled(columns)]
    assert all(output.cells(line) <= columns for line in lines)
    assert not {*"".join(lines)} & {chr(code) for code in output._SHOWN}


def test_wide_shows_all_columns_at_any_width(folder):
    args = ["best", folder / "space.nc", "--by", "hardware,ep"]
    whole = printed(*args)
    heads = next(line for line in whole.splitlines() if "TPOT" in line)
    narrow = printed(*args, "--wide", columns=80)
    assert heads in narrow and "left out at this width" not in narrow
    assert "left out at this width" in printed(*args, columns=80) and "left out" not in whole


@pytest.mark.parametrize("form", ["csv", "json"])
def test_data_is_the_same_whatever_the_terminal(folder, form):
    args = ["best", folder / "space.nc", "--by", "hardware,ep", "--format", form]
    assert printed(*args) == printed(*args, "--wide", "-v", columns=40)


# ---- what decides, and what to ask next


def test_headers_have_defaults_only_with_verbose(folder):
    short, long = (printed("best", folder / "space.nc", *more) for more in ([], ["-v"]))
    assert "acceptance_decay" not in short and "acceptance_decay 0.725" in long
    assert "fixed: context 5120, model DeepSeek-V3, phase decode" in short.replace("nic CX7, ", "")
    assert "limits: tps_per_user at least 20" in short and "limits: tps_per_user at least 20" in long
    assert "kernel times by curve" in long and "kernel times: +-8 %" in short and "-v shows" in short
    assert max(map(len, short.split("next:")[0].splitlines())) < 200


def test_rows_of_unmeasured_kernels_and_of_other_prices_are_marked(folder):
    text = printed("best", folder / "space.nc", "--by", "hardware")
    rows = {line.split()[1]: line for line in text.splitlines() if re.match(r" +\d+ ", line)}
    assert {name for name, line in rows.items() if "~" in line} == {"A100"} and "~ kernels of this chip" in text
    assert {name for name, line in rows.items() if "*" in line} == {"H800"} and "* another source: H800" in text
    assert "no feasible point: hardware L20: ok_" in text


def test_next_commands_run(folder, monkeypatch):
    monkeypatch.chdir(folder)
    for name in ("sweep", "best", "explain", "histogram", "calibrate", "pareto", "count"):
        text = printed(name, *calls(folder)[name], columns=80).replace("\\\n", "")
        found = [line for line in text.splitlines() if line.startswith("next: ")]
        assert found, name
        for line in found:
            words = shlex.split(line)[1:]
            assert words[0] == "dsjax"
            if words[1] not in ("validate", name):
                printed(*words[1:], code=(0,))


@pytest.mark.parametrize("more", [["--quiet"], ["--format", "json"], ["--format", "csv"]])
def test_next_commands_stand_below_tables_alone(folder, more):
    assert "next:" not in printed("best", folder / "space.nc", *more)


COMMAND = "dsjax explain serve --at hardware=H20,concurrency=115 --set 'hardware.H20.hbm_bytes=141 GB' -o \"a b.nc\""


@pytest.mark.parametrize("columns", [34, 50, 80, 200])
def test_a_folded_command_is_the_same_command(columns):
    text = output.command(COMMAND, columns)
    run = subprocess.run(["sh", "-c", "printf '%s\\n' " + text], capture_output=True, text=True)
    assert run.stdout.splitlines() == shlex.split(COMMAND)
    assert all(len(line) <= max(columns, 40) for line in text.splitlines())  # quoted words are whole


# ---- control characters


def test_names_and_titles_are_text(tmp_path):
    path = tmp_path / "grid.toml"
    path.write_text(
        'title = "A \\u001b[31m[red]title\\u202e\\u009b\\u0007"\nmodel = "DeepSeek-V3"\nphase = "decode"\n'
        '[axes]\nhardware = ["x\\u001b[2J"]\nbatch = [16, 32]\n[fixed]\n'
        'context = 4096\nep = 72\nnic = "CX7"\nprecision = "fp8"\n'
    )
    chip = tmp_path / "chip.toml"
    chip.write_text('[hardware."x\\u001b[2J"]\nbase = "H800"\nsource = "mine \\u001b]0;t\\u0007"\n')
    for name in ("sweep", "best", "explain", "pareto"):
        for more in ([], ["-v"]):
            text = printed(name, path, "--catalog", chip, *more, columns=80)
            assert not {*text} & {chr(code) for code in output._SHOWN if code != 10}
            assert r"\x1b[31m[red]title\u202e\x9b\x07" in text and r"x\x1b[2J" in text


@pytest.mark.parametrize("args", [["best", "no\x1b[2J.nc"], ["best", "--no\x1b[2J"], ["no\x1b[2J"], ["--no\x1b[2J"]])
def test_errors_show_what_they_repeat(args):
    run = CliRunner().invoke(cli.main, args, prog_name="dsjax")
    assert run.exit_code == 2 and r"no\x1b[2J" in run.stderr and "\x1b" not in run.stderr


@pytest.mark.parametrize("args", [["best", "--dtype", "9" * 3000], ["best", "--" + "x" * 3000], ["y" * 3000]])
def test_errors_of_a_command_line_are_short(args):
    run = CliRunner().invoke(cli.main, args, prog_name="dsjax")
    assert run.exit_code == 2 and len(run.stderr.splitlines()[-1]) < 320 and "..." in run.stderr


# ---- on a terminal


def on_terminal(*args, columns=80, **env):
    """What a command writes to a terminal of so many columns."""
    primary, secondary = pty.openpty()
    fcntl.ioctl(secondary, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    env = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "NO_COLOR")} | {"TERM": "xterm-256color"} | env
    args = [sys.executable, "-m", "dsjax", *map(str, args)]
    with subprocess.Popen(args, stdin=secondary, stdout=secondary, stderr=secondary, env=env) as run:
        os.close(secondary)
        chunks = []
        while True:
            try:
                chunk = os.read(primary, 65536)
            except OSError:  # the other side is closed
                break
            if not chunk:
                break
            chunks.append(chunk)
    os.close(primary)
    return run.returncode, b"".join(chunks).decode().replace("\r\n", "\n")


def test_a_terminal_has_its_width_and_colours(folder):
    code, text = on_terminal("best", folder / "space.nc", "--by", "hardware", "--quiet", columns=90)
    green, red = (re.findall(rf"\x1b\[{colour}m(.*?)\x1b\[0m", text) for colour in (32, 31))
    assert code == 0 and [line.split()[:2] for line in green] == [["1", "B200"]]
    assert red == ["  no feasible point: hardware L20: ok_tps_per_user"]
    plain = re.sub(r"\x1b\[\d+m", "", text)
    assert "\x1b" not in plain and not too_wide(plain, 90)
    assert plain == printed("best", folder / "space.nc", "--by", "hardware", "--quiet", columns=90)


@pytest.mark.parametrize("env", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_no_colour_where_none_is_wanted(folder, env):
    _, text = on_terminal("best", folder / "space.nc", "--quiet", **env)
    assert "\x1b" not in text and "hardware" in text


def test_errors_on_a_terminal():
    code, text = on_terminal("best", "nosuch.nc")
    assert code == 2 and text.startswith("\x1b[31merror: \x1b[0m")


def test_columns_win_over_the_terminal(folder):
    _, text = on_terminal("catalog", "hardware", COLUMNS="60", columns=200)
    assert not too_wide(text, 60)


def test_a_pipe_waits_for_no_console(folder):
    code = (
        "import sys; from dsjax import cli\n"
        f"try: cli.main(['best', {str(folder / 'space.nc')!r}], 'dsjax')\n"
        "finally: print('rich' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert run.stdout.splitlines()[-1] == "False"


@pytest.mark.parametrize("columns", [1, 2, 5])
def test_a_command_ends_at_any_width(columns):
    text = output.command("dsjax best space.nc --by hardware,nic --fix precision=fp8", columns)
    assert "".join(text.replace("\\\n", "").split()) == "dsjaxbestspace.nc--byhardware,nic--fixprecision=fp8"
