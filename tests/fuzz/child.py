"""A child of `running.Pool`: reads names of cases, runs them through the command line, answers with a line of JSON."""

import gc
import json
import os
import subprocess
import sys
import time
import traceback
import warnings
from pathlib import Path

from . import cases, running

COLLECTED = 25  # cases after which unreachable objects are freed: looking for them takes longer than most cases


def ended(case):
    """Exit code of a command in this process."""
    from dsjax import cli

    code = 0
    try:
        cli.main(list(case.args), prog_name="dsjax")
    except SystemExit as stop:
        code = stop.code or 0
    except BaseException:
        traceback.print_exc()
        code = -1
    return code


def subprocessed(case):
    """Exit code of a command in a process, and an environment, of its own."""
    own = {name: value for name, value in (os.environ | case.environ).items() if value is not None}
    return subprocess.run([sys.executable, "-m", "dsjax", *case.args], env=own, stdin=subprocess.DEVNULL).returncode


def run(case, place, base):
    """{"fault", "code", "seconds", "command"} of a case."""
    running.begun(case, place, base)
    before = dict(os.environ)
    kept = os.dup(1), os.dup(2)
    start = time.monotonic()
    for number, name in ((1, "out"), (2, "err")):
        file = os.open(place / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, number)
        os.close(file)
    os.chdir(place / "work")
    try:
        code = subprocessed(case) if case.environ else ended(case)
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        for number, copy in zip((1, 2), kept):
            os.dup2(copy, number)
            os.close(copy)
        os.environ.clear()
        os.environ.update(before)
    fault = running.judged(case, place, code)
    return {"fault": fault, "code": code, "seconds": time.monotonic() - start, "command": case.command}


def main():
    folder, seed = Path(sys.argv[1]), int(sys.argv[2])
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    warnings.simplefilter("ignore")
    for place, line in enumerate(sys.stdin, start=1):
        name, number = line.split()
        case = cases.case(name, seed, int(number), folder / "base")
        found = run(case, folder / "case", folder / "base")
        os.chdir(folder)
        if place % COLLECTED == 0:
            gc.collect()
        answers.write(json.dumps(found) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
