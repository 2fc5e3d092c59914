"""Outputs get their name in one step, once what is in them is on the disk."""

import os
import subprocess
import sys

import pytest

import dsjax
from dsjax.results import files


@pytest.fixture(params=["links", "no links"])
def links(request, monkeypatch):
    """A file system with links, and one without."""
    if request.param == "no links":
        monkeypatch.setattr(os, "link", lambda *args: (_ for _ in ()).throw(PermissionError(1, "not permitted")))


@pytest.mark.usefixtures("links")
def test_what_came_meanwhile_is_never_overwritten_without_force(tmp_path):
    path = tmp_path / "a.txt"
    refused = pytest.raises(dsjax.InputError, match=r"a\.txt: (exists by now|cannot be written \(File exists)")
    with refused, files.replacing(path, force=False) as temporary:
        temporary.write_text("mine")
        path.write_text("another's")
    assert path.read_text() == "another's" and [p.name for p in tmp_path.iterdir()] == ["a.txt"]
    files.write_text(path, "mine", force=True)
    assert path.read_text() == "mine" and [p.name for p in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.usefixtures("links")
def test_a_new_file_gets_its_name(tmp_path):
    files.write_text(tmp_path / "a.txt", "mine", force=False)
    assert (tmp_path / "a.txt").read_text() == "mine" and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("force", [False, True])
def test_contents_are_on_the_disk_before_the_name_and_the_name_after(tmp_path, monkeypatch, force):
    steps = []
    for name in ("fsync", "link", "replace"):
        real = getattr(os, name)

        def noted(*args, _real=real, _name=name):
            what = os.readlink(f"/proc/self/fd/{args[0]}") if _name == "fsync" else args[1]
            steps.append((_name, os.path.basename(what)))
            return _real(*args)

        monkeypatch.setattr(os, name, noted)
    files.write_text(tmp_path / "a.txt", "mine", force)
    (first, temporary), (second, target), (third, folder) = steps
    assert (first, second, third) == ("fsync", "replace" if force else "link", "fsync")
    assert temporary.endswith(".tmp") and (target, folder) == ("a.txt", tmp_path.name)


WRITER = """
import sys
from dsjax.errors import InputError
from dsjax.results import files

path, number = sys.argv[1:]
print("ready", flush=True)
sys.stdin.read()  # until all are
try:
    files.write_text(path, number * 1000, force=False)
    print("won")
except InputError as error:
    print(error)
"""


def test_of_many_processes_at_once_one_wins(tmp_path):
    """Processes that write one new file: one is told that it did, and it is its content that is there."""
    path = tmp_path / "a.txt"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, path, f"{i}"], **pipes) for i in range(4)]
    assert [writer.stdout.readline() for writer in writers] == ["ready\n"] * 4
    for writer in writers:
        writer.stdin.close()
    said = [writer.stdout.read() for writer in writers]
    for writer in writers:
        writer.stdout.close()
        assert writer.wait() == 0
    won = said.index("won\n")
    assert all("exists by now" in text for i, text in enumerate(said) if i != won)
    assert path.read_text() == f"{won}" * 1000 and [p.name for p in tmp_path.iterdir()] == ["a.txt"]
