"""The folder where JAX keeps compiled programs: used where it is the user's alone, and what is damaged is replaced."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from dsjax import cli, machine
from dsjax.catalog import reader
from dsjax.commands import process

pytestmark = pytest.mark.skipif(not hasattr(os, "getuid"), reason="needs POSIX owners and modes")


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "dsjax"


@pytest.fixture
def settings(monkeypatch):
    """What the command line sets of JAX, which keeps what it has."""
    found = {}
    monkeypatch.setattr(process, "_set", found.__setitem__)
    return found


def test_it_is_made_for_its_user_alone(home, settings):
    assert machine.cache() == (home, "") and home.stat().st_mode & 0o777 == 0o700
    process.start()
    assert settings["jax_compilation_cache_dir"] == str(home)


@pytest.mark.parametrize("mode", [0o720, 0o702, 0o777])
@pytest.mark.parametrize("linked", [False, True])
def test_one_that_others_may_write_is_remarked_and_not_used(home, settings, tmp_path, mode, linked):
    home.parent.mkdir()
    there = tmp_path / "elsewhere" if linked else home
    there.mkdir()
    there.chmod(mode)
    if linked:
        home.symlink_to(there)
    done = CliRunner().invoke(cli.main, ["best", "decode_gpu_2025"])
    assert done.exit_code == 0 and "H800" in done.stdout and not settings
    said = f"{home}: others may write it; expected chmod go-w: compiled programs and traces are not kept\n"
    assert done.stderr == said


@pytest.mark.parametrize("mode", [0o770, 0o707])
@pytest.mark.parametrize("linked", [False, True])
def test_one_that_others_may_replace_is_not_used(home, tmp_path, mode, linked):
    """Who may write a folder on the way renames what is in it, unless it is sticky, as /tmp is."""
    way = tmp_path / "way" if linked else home.parent
    (way / "dsjax").mkdir(parents=True, mode=0o700)
    if linked:
        home.parent.mkdir()
        home.symlink_to(way / "dsjax")
    way.chmod(mode)
    said = f"{home}: others may replace it, as they may write {way}; expected chmod go-w {way}"
    assert machine.cache() == (None, said)
    way.chmod(mode | 0o1000)
    assert machine.cache() == (home, "")


def test_a_relative_path_is_ignored(tmp_path, monkeypatch):
    """Else the folder where a command is run, which may be anybody's, is that of programs and rows of catalogs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, "here")
    (tmp_path / "here" / "dsjax").mkdir(parents=True)
    (tmp_path / "here" / "dsjax" / "rows.toml").touch()
    assert machine.cache() == (tmp_path / "home" / ".cache" / "dsjax", "") and reader.user_files() == []
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "home").rglob("")} == {0o700}


@pytest.mark.parametrize("of", ["stat", "lstat"])
def test_one_of_another_user_is_not_used(home, monkeypatch, of):
    """Of a link both count: who owns the link may turn it."""
    home.mkdir(parents=True)
    plain = getattr(Path, of)

    def another(path, **more):
        found = plain(path, **more)
        return os.stat_result([*found[:4], os.getuid() + 1, *found[5:10]]) if path == home else found

    monkeypatch.setattr(Path, of, another)
    folder, reason = machine.cache()
    assert folder is None and reason == f"{home}: belongs to another user; expected a folder of one's own"


def test_a_folder_that_cannot_be_is_no_remark(monkeypatch, settings):
    monkeypatch.setenv("XDG_CACHE_HOME", os.devnull)
    done = CliRunner().invoke(cli.main, ["best", "decode_gpu_2025"])
    assert (done.exit_code, done.stderr, settings) == (0, "", {})


def test_a_damaged_program_is_replaced_in_silence(home):
    """JAX by itself warns at every run, and leaves it."""
    code = """
from dsjax.commands import output, process
process.start()
import jax
with output.remarks():
    print(jax.jit(lambda x: x * 3 + 1)(2))
"""

    def run():
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
        assert (done.stdout, done.stderr, done.returncode) == ("7\n", "", 0)
        return {path: path.read_bytes() for path in home.glob("*-cache")}

    whole = run()
    assert whole
    for path in whole:
        path.write_bytes(b"no program")
    again = run()
    assert again.keys() == whole.keys() and b"no program" not in again.values()
