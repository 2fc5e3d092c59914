"""A gate for speed: two commits of this repository by paired runs on one machine; exit code 1 if a row is slower.

    python benchmarks/gate.py REVISION [REVISION2] [--rounds 5] [--rows first-sweep,stream] [--json FILE]

REVISION is the old side, REVISION2 the new one; where it is not given, the working tree as it is. Each side is checked
out into a temporary folder and run by this interpreter with caches of its own. `gate_rows.py` has the rows: small
workloads, in CPU seconds, by public functions and the command line, so that they run on any commit.

In every round both sides run, each in a process of its own, one right after the other; the next round begins with the
other side. The first round is not counted where a process leaves anything in its caches. A row is slower where
new / old is above 1.10 in 80 % of the rounds, faster where it is below 1 / 1.10 as often, else the same. It ends when
no further round could change that; before a row is called slower it has twice as many rounds.

Exit code 1 also where a row fails on the new side alone; 2: bad input.
"""

import argparse
import compileall
import contextlib
import json
import math
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import NamedTuple

import gate_rows

ROOT = Path(__file__).resolve().parents[1]
LIMIT = 1.10  # ratio above which a round counts
SHARE = 0.8  # of the rounds that must count
LONGEST = 600  # seconds of one process
ROWS = [row for work in gate_rows.WORKS for row in work.rows]


class Side(NamedTuple):
    name: str
    folder: Path
    caches: Path


def git(*arguments):
    command = ["git", "-C", str(ROOT), *arguments]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True).stdout.strip()


def commit_of(revision):
    try:
        return git("rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
    except subprocess.CalledProcessError:
        print(f"{revision}: no commit of this repository; expected a revision that git knows", file=sys.stderr)
        sys.exit(2)


@contextlib.contextmanager
def checked_out(name, commit, parent):
    """A side in a folder of its own: a commit, or a copy of the working tree (None), which may change meanwhile."""
    side = Side(name, parent / name, parent / f"{name}-caches")
    side.caches.mkdir()
    try:
        if commit:
            git("worktree", "add", "--quiet", "--detach", str(side.folder), commit)
        else:
            for file in git("ls-files", "-z", "-co", "--exclude-standard", "dsjax", "grids").split("\0"):
                if file and (ROOT / file).is_file():
                    (side.folder / file).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy2(ROOT / file, side.folder / file)
        compileall.compile_dir(side.folder / "dsjax", quiet=2)
        yield side
    finally:
        if commit and side.folder.exists():
            git("worktree", "remove", "--force", str(side.folder))


def measured(work, side, seed):
    """({row: CPU seconds}, what went wrong or None) of one figure of a side."""
    function = callable(work.run)
    command = [str(side.folder.parent / "gate_rows.py"), work.run.__name__] if function else ["-m", "dsjax", *work.run]
    env = {key: value for key, value in os.environ.items() if not key.startswith(("JAX_COMPILATION", "JAX_PERSISTENT"))}
    env |= {"PYTHONPATH": str(side.folder), "XDG_CACHE_HOME": str(side.caches), "PYTHONHASHSEED": str(seed)}
    if work.keeps:
        env["JAX_COMPILATION_CACHE_DIR"] = str(side.caches / "jax")
        env["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    total, found = 0.0, {}
    for _ in range(work.times):
        seconds, code, out, err = process([sys.executable, "-W", "ignore", *command], env, side.folder)
        total += seconds
        for line in out.splitlines() if function else ():
            found |= json.loads(line)
        if code:
            last = (err.strip().splitlines() or [f"exit code {code}"])[-1]
            return found, f"killed after {LONGEST} s" if code == -signal.SIGKILL else last
    return found or {work.rows[0]: total}, None


def process(command, env, folder):
    """(CPU seconds, exit code, output, errors) of a process; the seconds also of those it has waited for."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        started = subprocess.Popen(command, env=env, cwd=folder, stdin=subprocess.DEVNULL, stdout=out, stderr=err)
        timer = threading.Timer(LONGEST, started.kill)
        timer.start()
        try:
            _, status, usage = os.wait4(started.pid, 0)
            started.returncode = os.waitstatus_to_exitcode(status)
        finally:
            timer.cancel()
            if started.returncode is None:  # interrupted
                started.kill()
                started.wait()
        out.seek(0)
        err.seek(0)
        return usage.ru_utime + usage.ru_stime, started.returncode, out.read(), err.read()


def verdict(ratios, rounds):
    """slower, faster or same; None where further rounds of so many could still change it."""
    need, left = math.ceil(SHARE * rounds), rounds - len(ratios)
    counts = {"slower": sum(x > LIMIT for x in ratios), "faster": sum(x < 1 / LIMIT for x in ratios)}
    for word, count in counts.items():
        if count >= need:
            return word
    return "same" if max(counts.values()) + left < need else None


class Row:
    """The figures of one row, and what they say so far."""

    def __init__(self, name, rounds):
        self.name, self.rounds, self.most = name, rounds, 2 * rounds
        self.seconds, self.failed, self.verdict = ([], []), {}, None

    @property
    def ratios(self):
        return [new / old for old, new in zip(*self.seconds)]

    def add(self, found):
        """The figures {side: ({row: seconds}, error)} of one round."""
        errors = {side: error or "it gave no figure" for side, (row, error) in found.items() if self.name not in row}
        if errors:
            self.failed = errors
            self.verdict = "fails on " + " and ".join(f"the {side} side: {error}" for side, error in errors.items())
            return
        for seconds, side in zip(self.seconds, ("old", "new")):
            seconds.append(found[side][0][self.name])
        self.verdict = verdict(self.ratios, self.rounds)
        if self.verdict == "slower" and self.rounds < self.most:
            self.rounds = self.most
            self.verdict = verdict(self.ratios, self.rounds)

    def record(self):
        old, new = self.seconds
        slower = sum(x > LIMIT for x in self.ratios)
        return {"row": self.name, "verdict": self.verdict, "slower": slower, "old": old, "new": new}

    def __str__(self):
        if not self.ratios:
            return f"{self.name:17} {self.verdict}"
        middle = [statistics.median(values) for values in (*self.seconds, self.ratios)]
        rounds = f"{sum(x > LIMIT for x in self.ratios)}/{len(self.ratios)}"
        return f"{self.name:17} {middle[0]:9.3f} {middle[1]:9.3f} {middle[2]:7.3f} {rounds:>8}  {self.verdict}"


def judged(work, rows, sides):
    """Run rounds of one process a side until nothing is open about its rows."""
    number, sides = 0, list(sides)
    while any(row.verdict is None for row in rows):
        before = kept(sides)
        found = {side.name: measured(work, side, number) for side in sides}
        sides.reverse()
        number += 1
        if number == 1 and kept(sides) != before:
            continue
        for row in rows:
            if row.verdict is None:
                row.add(found)


def kept(sides):
    return {path for side in sides for path in side.caches.rglob("*")}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", metavar="REVISION")
    parser.add_argument("new", metavar="REVISION2", nargs="?")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", type=lambda text: text.split(","), default=ROWS)
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    if unknown := set(options.rows) - set(ROWS):
        parser.error(f"--rows: {', '.join(sorted(unknown))}; expected some of {', '.join(ROWS)}")
    if options.rounds < 1:
        parser.error("--rounds: expected at least 1")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # worktrees are removed then too
    commits = [each and commit_of(each) for each in (options.old, options.new)]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    loads, began, rows = [os.getloadavg()], time.perf_counter(), []
    names = [commit[:12] if commit else "the working tree" for commit in commits]
    print(f"old: {names[0]}, new: {names[1]}; {cores} cores, load {loads[0][0]:.2f}; CPU seconds, medians")
    print(f"{'row':17} {'old':>9} {'new':>9} {'new/old':>7} {'slower':>8}  verdict", flush=True)
    with tempfile.TemporaryDirectory() as parent, contextlib.ExitStack() as stack:
        shutil.copy2(gate_rows.__file__, parent)
        both = zip(("old", "new"), commits)
        sides = [stack.enter_context(checked_out(name, commit, Path(parent))) for name, commit in both]
        for work in gate_rows.WORKS:
            of_work = [Row(name, options.rounds) for name in work.rows if name in options.rows]
            judged(work, of_work, sides)
            rows += of_work
            print("\n".join(map(str, of_work)), end="\n" if of_work else "", flush=True)
    loads.append(os.getloadavg())
    bad = [row.name for row in rows if row.verdict == "slower" or list(row.failed) == ["new"]]
    print(f"{time.perf_counter() - began:.0f} s, load {loads[1][0]:.2f}; slower or failing: {', '.join(bad) or 'none'}")
    if options.json:
        about = {"platform": platform.platform(), "python": platform.python_version(), "cores": cores, "load": loads}
        record = dict(zip(("old", "new"), commits)) | about | {"rows": [row.record() for row in rows]}
        Path(options.json).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
