"""Cases one after the other in a child process: it may die, hang or fill its memory, and the next case goes on."""

import contextlib
import json
import os
import resource
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from . import cases

SECONDS, MEMORY = 30.0, 4e9  # of one case: of the clock while none of its threads waits for a core; bytes
PER_CHILD = 400  # cases: what libraries keep for each adds up
LONGEST = 300


class Pool:
    """A child at a time; `folder` holds what all cases begin with, and the folder of each."""

    def __init__(self, folder, seed):
        self.folder, self.seed, self.child, self.left = Path(folder), seed, None, 0

    def __enter__(self):
        (self.folder / "base").mkdir()
        command = [sys.executable, "-m", "tests.fuzz.fixtures", str(self.folder / "base")]
        subprocess.run(command, check=True, env=environment(), stdout=subprocess.DEVNULL)
        return self

    def __exit__(self, *error):
        self._end()

    def _end(self):
        if self.child is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.child.pid, signal.SIGKILL)  # what it has started too
            self.child.wait()
            self.child.stdin.close()
            self.child.stdout.close()
            self.child = None

    def run(self, name, number):
        """{"fault": what is wrong or "", "code", "seconds", "command"} of a case."""
        if self.child is None or not self.left:
            self._end()
            command = [sys.executable, "-m", "tests.fuzz.child", str(self.folder), str(self.seed)]
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "process_group": 0}
            self.child, self.left = subprocess.Popen(command, env=environment(), **pipes), PER_CHILD
        self.left -= 1
        start = time.monotonic()
        self.child.stdin.write(f"{name} {number}\n")
        self.child.stdin.flush()
        found = self._answer()
        if isinstance(found, dict):
            return found
        code = self.child.poll()
        self._end()
        case = cases.case(name, self.seed, number, self.folder / "base")
        place = self.folder / "case"
        fault = found if code is None else judged(case, place, code)
        return {"fault": fault, "code": code, "seconds": time.monotonic() - start, "command": case.command}

    def _answer(self):
        """What the child says of a case; a text where it says nothing."""
        text, pipe = b"", self.child.stdout.fileno()
        own, delays, before = 0.0, waited(self.child.pid), time.monotonic()
        while own < SECONDS:
            if select.select([pipe], [], [], 0.2)[0]:
                more = os.read(pipe, 2**16)
                if not more:
                    self.child.wait()
                    return "died"
                text += more
                if text.endswith(b"\n"):
                    return json.loads(text)
            if memory(self.child.pid) > MEMORY:
                return f"more than {MEMORY / 1e9:g} GB"
            last, now = delays, time.monotonic()
            delays = waited(self.child.pid)
            longest = max((delay - last.get(thread, 0.0) for thread, delay in delays.items()), default=0.0)
            own, before = own + now - before - longest, now  # a wait is told when it ends
        return f"more than {SECONDS:g} s"


def memory(pid):
    """Resident bytes of a process; 0 where the system does not tell."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()
    except (OSError, IndexError):
        return 0


def waited(pid):
    """{thread of a process or of its children: seconds it has waited for a core}; {} where the system does not tell."""
    delays = {}
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            delays[int(task.name)] = int((task / "schedstat").read_text().split()[1]) / 1e9
            for child in (task / "children").read_text().split():
                delays |= waited(child)
    return delays


def environment():
    """The environment of children: nothing of the user's own."""
    root = str(Path(__file__).parents[2])
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    own = {"PYTHONPATH": path, "XDG_CACHE_HOME": os.devnull, "XDG_CONFIG_HOME": os.devnull, "JAX_PLATFORMS": "cpu"}
    return os.environ | own | {"COLUMNS": "120", "PYTHONFAULTHANDLER": ""}


def begun(case, place, base):
    """The folder of a case with its files."""
    shutil.rmtree(place, ignore_errors=True)
    (place / "work").mkdir(parents=True)
    for name, content in case.files.items():
        path = place / "work" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, Path):
            shutil.copytree(content, path)
        else:
            path.write_bytes(content)
    for change in case.changes:
        change(place / "work")


def judged(case, place, code):
    """What is wrong with how a case ended; "" where nothing is."""
    out, err = ((place / name).read_text(errors="replace") for name in ("out", "err"))
    if "Traceback (most recent" in out + err:
        return "traceback: " + " | ".join(line for line in err.strip().split("\n")[-4:])
    if code not in (0, 1, 2):
        return f"exit code {code}: {err[-200:]}"
    there = {str(p.relative_to(place / "work")): p for p in (place / "work").rglob("*") if p.is_file()}
    for name, content in case.files.items():
        changed = isinstance(content, bytes) and name in there and there[name].read_bytes() != content
        if not case.changes and (changed or (isinstance(content, bytes) and name not in there)):
            return f"{name} is changed"
    if partial := [name for name in there if name.endswith((".tmp", ".partial"))]:
        return f"partial: {partial}"
    if code == 2:
        if new := [name for name in there if name in case.outputs and name not in case.files]:
            return f"written with exit code 2: {new}"
        lines = [line for line in err.split("\n") if line.lower().startswith("error: ")]
        if len(lines) != 1 or out:
            return f"{len(lines)} lines of errors, {len(out)} characters of answers: {(err + out)[-300:]}"
        if len(lines[0]) > LONGEST + 7:
            return f"{len(lines[0])} characters: {lines[0][:400]}"
        if case.named and not any(name in lines[0] for name in case.named):
            return f"names none of {case.named}: {lines[0]}"
    return ""
