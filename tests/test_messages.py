"""Messages of Python speak of arguments, those of the command line of options: the same places, in both words."""

import ast
import concurrent.futures
import re
from pathlib import Path

import pytest
from console import command

import dsjax
from dsjax import options

FIX = ("--fix", "nic=CX7", "--axis", "batch=16,32", "--axis", "hardware=H800")
GIVEN = {"fixed": {"nic": "CX7"}, "axes": {"batch": [16, 32], "hardware": ["H800"]}}


def with_(part, **values):
    """The small grid with more entries of one argument."""
    return GIVEN | {part: {**GIVEN.get(part, {}), **values}}


CASES = {
    "axis": (
        lambda path: dsjax.sweep("default", **with_("axes", tp=["x"])),
        ("best", *FIX, "--axis", "tp=x"),
        "axes['tp']: ",
        "--axis tp: ",
    ),
    "fixed": (
        lambda path: dsjax.sweep("default", **with_("fixed", tp="x")),
        ("best", *FIX, "--fix", "tp=x"),
        "fixed['tp']: ",
        "--fix tp: ",
    ),
    "settings": (
        lambda path: dsjax.best("default", **with_("settings", **{"nic.CX7.latency": 1})),
        ("best", *FIX, "--set", "nic.CX7.latency=1"),
        "settings['nic.CX7.latency']: ",
        "--set nic.CX7.latency: ",
    ),
    "limits": (
        lambda path: dsjax.sweep("default", **with_("limits", min_tps=1)),
        ("best", *FIX, "--limit", "min_tps=1"),
        "limits['min_tps']: ",
        "--limit min_tps: ",
    ),
    "a limit that is given as an axis": (
        lambda path: dsjax.sweep("default", **with_("fixed", max_tpot=1)),
        ("best", *FIX, "--fix", "max_tpot=1"),
        "expected it with limits={'max_tpot': ...}, or in [constraints]",
        "expected it with --limit max_tpot=..., or in [constraints]",
    ),
    "a number that an axis varies": (
        lambda path: dsjax.solve("default", "context", "feasible", **with_("axes", context=[4096, 8192])),
        ("solve", *FIX, "--vary", "context", "--until", "feasible", "--axis", "context=4096,8192"),
        "fixed={'context': 4096}",
        "--fix context=4096",
    ),
    "a file that is there": (
        lambda path: dsjax.sweep("default", **GIVEN, output=path),
        ("sweep", *FIX, "-o", "PATH"),
        "or force=True to overwrite",
        "or --force to overwrite",
    ),
    "memory": (
        lambda path: dsjax.best("default", **GIVEN, max_memory="1 MB"),
        ("best", *FIX, "--max-memory", "1 MB"),
        "max_memory='1 MB': ",
        "--max-memory 1 MB: ",
    ),
    "a model": (
        lambda path: dsjax.plan(model="x", hardware="H20", chips=8, isl=1, osl=2, tps_per_user=25),
        *(("plan", *"--model x --hardware H20 --chips 8 --isl 1 --osl 2 --tps-per-user 25".split()),),
        "config.json: model='PATH'",
        "config.json: --model PATH",
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_each_front_end_has_its_words(case, tmp_path):
    ask, args, of_python, of_command_line = case
    (tmp_path / "there.nc").write_text("x")
    with pytest.raises(dsjax.InputError) as error:
        ask(tmp_path / "there.nc")
    assert of_python in str(error.value) and not re.search(r"(^|\s)--[a-z]", str(error.value)), str(error.value)
    line = command(*(str(tmp_path / "there.nc") if x == "PATH" else x for x in args), code=2)
    assert of_command_line in line and of_python not in line, line


def test_what_python_says_may_be_pasted():
    """An entry with a value is one that Python reads; that of the command line has the same numbers."""
    found = {}
    for name, value in (("axes", "8:128:8"), ("axes", "H800,H20"), ("fixed", "16"), ("fixed", "auto")):
        (key, entry), *rest = eval(f"dict({options.entry(name, 'x', value)})").items()
        assert key == name and not rest
        found[value] = entry["x"]
    assert found == {
        "8:128:8": {"start": 8, "stop": 128, "step": 8},
        "H800,H20": ["H800", "H20"],
        "16": 16,
        "auto": "auto",
    }
    with options.of_command_line():
        assert options.entry("axes", "x", "8:128:8") == "--axis x=8:128:8"
    with options.of_page():
        assert options.together([options.entry("fixed", "tp", "8"), options.entry("fixed", "ep")]) == "tp = 8, ep"


def test_threads_have_words_of_their_own():
    """A server may run commands beside questions of Python."""
    with options.of_command_line(), concurrent.futures.ThreadPoolExecutor(1) as pool:
        assert options.option("wrt") == "--wrt"
        assert pool.submit(options.option, "wrt").result() == "wrt"
    assert options.option("wrt") == "wrt"


def test_no_error_of_the_library_names_an_option_by_itself():
    """Outside of the command line, its templates and launched engines, options stand in `options` alone."""
    package, found = Path(dsjax.__file__).parent, []
    for path in package.rglob("*.py"):
        if (own := str(path.relative_to(package))).startswith(("commands", "launching", "templates", "cli.py")):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            texts = (
                [x.value for x in ast.walk(node) if isinstance(x, ast.Constant)] if isinstance(node, ast.Raise) else ()
            )
            found += [f"{own}: {x}" for x in texts if isinstance(x, str) and re.search(r"(^|[\s(])--[a-z]", x)]
    assert not [line for line in found if not line.startswith("sweeps/workers.py")]  # which speak of a scheduler's own
