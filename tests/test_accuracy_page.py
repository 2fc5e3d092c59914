"""The accuracy page and README.md say what the statistics that are kept say."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "benchmarks" / "accuracy_page.py"


def check(script=SCRIPT):
    return subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True, check=False)


def test_the_tables_are_those_of_the_statistics():
    done = check()
    assert done.returncode == 0, done.stderr or "a page differs; expected python benchmarks/accuracy_page.py"


def test_a_changed_figure_is_seen(tmp_path):
    """A copy of the pages and their statistics, one of which is another."""
    for folder, names in (
        ("benchmarks", (SCRIPT.name, "speed_page.py")),
        ("docs", ("accuracy.md",)),
        (".", ("README.md",)),
        ("dsjax/data", ("accuracy.json",)),
    ):
        (tmp_path / folder).mkdir(exist_ok=True, parents=True)
        for name in names:
            (tmp_path / folder / name).write_text((ROOT / folder / name).read_text("utf-8"), "utf-8")
    copy = tmp_path / "benchmarks" / SCRIPT.name
    assert check(copy).returncode == 0
    kept = tmp_path / "dsjax" / "data" / "accuracy.json"
    run = json.loads(kept.read_text(encoding="utf-8"))
    run["classes"][0]["median"] += 0.1
    kept.write_text(json.dumps(run), encoding="utf-8")
    assert check(copy).returncode == 1
