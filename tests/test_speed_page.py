"""The speed page says what its records say."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "benchmarks" / "speed_page.py"


def test_the_tables_are_those_of_the_records():
    done = subprocess.run([sys.executable, SCRIPT, "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr or "the page differs; expected python benchmarks/speed_page.py"


def test_a_changed_figure_is_seen(tmp_path):
    """A copy of the page and its records, one of which is another."""
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "docs").mkdir()
    copy = tmp_path / "benchmarks" / SCRIPT.name
    copy.write_text(SCRIPT.read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "docs" / "speed.md").write_text((ROOT / "docs" / "speed.md").read_text("utf-8"), "utf-8")
    run = json.loads((ROOT / "docs" / "speed.json").read_text(encoding="utf-8"))
    record = next(record for record in run["results"] if record["row"].startswith("first "))
    record["wall"] += 1.0
    (tmp_path / "docs" / "speed.json").write_text(json.dumps(run), encoding="utf-8")
    assert subprocess.run([sys.executable, copy, "--check"], check=False).returncode == 1
    subprocess.run([sys.executable, copy], check=True)
    assert subprocess.run([sys.executable, copy, "--check"], check=False).returncode == 0
