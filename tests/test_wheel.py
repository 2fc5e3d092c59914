"""The wheel and the sdist, built from the tree: all that a user needs is inside, and nothing else."""

import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email import message_from_string
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
pytest.importorskip("hatchling", reason="hatchling builds the wheel; it is of the extra `test`")


def built(kind, root, folder):
    """The archive that the project's own build backend makes of a tree, offline; (path, names in it)."""
    code = f"import hatchling.build as b, sys; print(b.build_{kind}(sys.argv[1]))"
    done = subprocess.run([sys.executable, "-c", code, str(folder)], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    path = folder / done.stdout.split()[-1]
    if kind == "wheel":
        return path, zipfile.ZipFile(path).namelist()
    return path, tarfile.open(path).getnames()


@pytest.fixture(scope="module")
def sdist(tmp_path_factory):
    return built("sdist", ROOT, tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    return built("wheel", ROOT, tmp_path_factory.mktemp("wheel"))


def shipped():
    """Files of the package as a wheel has them: the tree's, without caches, and the grids."""
    found = {str(p.relative_to(ROOT)) for p in (ROOT / "dsjax").rglob("*") if p.is_file()}
    found |= {f"dsjax/grids/{p.name}" for p in (ROOT / "grids").glob("*.toml")}
    return {name for name in found if "__pycache__" not in name}


def test_a_wheel_has_the_package_and_nothing_else(wheel):
    _, names = wheel
    assert {name for name in names if ".dist-info/" not in name} == shipped()
    inside = (
        "py.typed MODEL.md data/hardware.toml data/launch/vllm.toml data/models/DeepSeek-R1.json grids/default.toml"
    )
    assert {f"dsjax/{name}" for name in [*inside.split(), "studies/sg2260e.toml"]} <= set(names)
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


def test_a_wheel_says_what_it_is(wheel):
    path, names = wheel
    with zipfile.ZipFile(path) as file:
        read = {
            part: file.read(next(n for n in names if n.endswith(part))).decode() for part in ("METADATA", "points.txt")
        }
    said = message_from_string(read["METADATA"])
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert said["Requires-Python"] == ">=3.11" and said["License-Expression"] == "Apache-2.0"
    assert set(project["classifiers"]) == set(said.get_all("Classifier"))
    assert set(project["optional-dependencies"]) == set(said.get_all("Provides-Extra"))
    assert "dsjax = dsjax.cli:main" in read["points.txt"]


def test_an_installed_wheel_answers_away_from_the_tree(wheel, tmp_path):
    """Unpacked where nothing of the checkout is: grids, templates, flags of engines are found."""
    path, _ = wheel
    zipfile.ZipFile(path).extractall(tmp_path / "site")
    env = os.environ | {"PYTHONPATH": str(tmp_path / "site"), "JAX_PLATFORMS": "cpu", "XDG_CACHE_HOME": os.devnull}

    def said(*args):
        done = subprocess.run(
            [sys.executable, "-m", "dsjax", *args], cwd=tmp_path, capture_output=True, text=True, env=env
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    small = ("--fix", "nic=CX7", "--axis", "hardware=H800", "--axis", "batch=16,32")
    assert "H800" in said("best", *small)
    assert "vllm serve" in said("launch", "serve", "--at", "hardware=H200,concurrency=64,tp=8,engine=vllm")
    said("init", "chip", "-o", "chip.toml")
    assert "66 of 66 rows reproduced" in said("reproduce")
    assert "min_tps_per_user" in said("schema", "grid")
    where = "import dsjax; print(dsjax.__file__)"
    done = subprocess.run([sys.executable, "-c", where], cwd=tmp_path, capture_output=True, text=True, env=env)
    assert done.stdout.startswith(str(tmp_path))


def test_an_sdist_builds_the_same_wheel_and_has_its_tests(sdist, wheel, tmp_path):
    path, names = sdist
    root = names[0].split("/")[0]
    kept = (
        "tests/conftest.py tests/data/answers_0_1_0.json examples/h20_tp.py docs/accuracy.md benchmarks/count_code.py"
    )
    assert {f"{root}/{name}" for name in [*kept.split(), "CHANGELOG.md", "requirements-tested.txt"]} <= set(names)
    assert not [name for name in names if re.search(r"__pycache__|\.nc$|\.venv|\.git/", name)]
    with tarfile.open(path) as file:
        file.extractall(tmp_path, filter="data")
    assert sorted(built("wheel", tmp_path / root, tmp_path)[1]) == sorted(wheel[1])


def test_versions_are_one():
    """Of the package and of the citation."""
    import dsjax

    cited = re.search(r"^version: (\S+)$", (ROOT / "CITATION.cff").read_text(), re.M)
    assert cited[1] == dsjax.__version__


def test_ignored_by_an_image_is_what_it_does_not_need():
    """What the Dockerfile installs from is what pyproject reads."""
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {"dsjax", "grids", "pyproject.toml", project["readme"], *project["license-files"]} <= kept
    assert "requirements-tested.txt" in kept and all((ROOT / name).exists() for name in kept)
