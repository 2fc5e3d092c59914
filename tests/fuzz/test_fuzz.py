"""A few damaged inputs of every format; `python -m tests.fuzz` has as many as there is time for."""

import os
import select
import subprocess
import sys
from pathlib import Path

import pytest

from . import cases, running

CASES = 40


def test_every_case_ends_in_an_answer_or_in_one_line(tmp_path):
    faults = []
    with running.Pool(tmp_path, seed=0) as pool:
        for name, number in cases.jobs(CASES, list(cases.FORMATS)):
            found = pool.run(name, number)
            if found["fault"]:
                faults.append(f"{name}:{number} --seed 0: {found['fault']}\n    {found['command']}")
    assert not faults, "\n".join(faults)


def test_a_case_that_hangs_is_ended(tmp_path, monkeypatch):
    """With what it has started: nobody holds its pipe any more."""
    monkeypatch.setattr(running, "SECONDS", 1.0)
    sleeper = "s.run([sys.executable, '-c', 'import time; time.sleep(99)'], close_fds=False)"
    read, write = os.pipe()
    pool, pipes = running.Pool(tmp_path, seed=0), {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    command = [sys.executable, "-c", f"import subprocess as s, sys; input(); {sleeper}"]
    pool.child, pool.left = subprocess.Popen(command, **pipes, process_group=0, pass_fds=[write]), 1
    os.close(write)
    found = pool.run("grid", 0)
    assert found["fault"] == "more than 1 s" and found["command"].startswith("dsjax ") and pool.child is None
    assert select.select([read], [], [], 30)[0] and not os.read(read, 1)
    os.close(read)


@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="not told by this system")
def test_waiting_for_a_core_is_told_for_every_thread():
    assert os.getpid() in running.waited(os.getpid())


@pytest.mark.parametrize(
    ("out", "err", "code", "word"),
    [
        ("", "error: g.toml: bad\n", 2, ""),
        ("rows", "", 0, ""),
        ("", "Traceback (most recent call last):\nKeyError\n", 1, "traceback"),
        ("", "", -9, "exit code -9"),
        ("rows", "error: g.toml: bad\n", 2, "characters of answers"),
        ("", "error: g.toml: bad\nerror: g.toml: bad\n", 2, "2 lines"),
        ("", f"error: g.toml: {'x' * 300}\n", 2, "characters"),
        ("", "error: bad\n", 2, "names none of"),
    ],
)
def test_what_is_wrong_is_seen(tmp_path, out, err, code, word):
    case = cases.Case(args=("best", "g.toml"), files={"g.toml": b"x = 1"}, named=("g.toml",), outputs=("y.nc",))
    running.begun(case, tmp_path, tmp_path)
    (tmp_path / "out").write_text(out)
    (tmp_path / "err").write_text(err)
    assert word in running.judged(case, tmp_path, code)
    assert bool(running.judged(case, tmp_path, code)) == bool(word)


@pytest.mark.parametrize(("name", "word"), [("g.toml", "changed"), (".y.nc.ab.tmp", "partial"), ("y.nc", "written")])
def test_files_that_should_not_be_there_are_seen(tmp_path, name, word):
    case = cases.Case(args=("best", "g.toml"), files={"g.toml": b"x = 1"}, outputs=("y.nc",))
    running.begun(case, tmp_path, tmp_path)
    (tmp_path / "out").write_text("")
    (tmp_path / "err").write_text("error: x\n")
    (tmp_path / "work" / name).write_text("y")
    assert word in running.judged(case, tmp_path, 2)
