"""Runs of pytest, each in a fork of one process that has imported what the tests do: `mutations.py` starts it.

python benchmarks/forks.py, in a copy of the tree. A line on stdin {"arguments": [...], "seconds": 120} is answered by a
line {"code": exit code of pytest, "out": what it printed} on stdout; the code is negative where it ended by a signal.
"""

import importlib
import json
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings

# Nothing of dsjax: its modules are those with the fault.
IMPORTED = "_pytest.pytester jax jax.numpy xarray pandas scipy.optimize netCDF4 matplotlib.backends.backend_agg"
IMPORTED += " matplotlib.pyplot click.testing rich.console jinja2 jsonschema"


def child(arguments, seconds, out):
    """Run pytest, and end."""
    os.setsid()
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 5))
    for number in (1, 2):
        os.dup2(out, number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    code = 4
    try:
        import pytest

        code = int(pytest.main(arguments))
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def ended(pid, seconds):
    """Exit code of a child, which is killed where it takes ten times its seconds on the clock."""
    end = time.monotonic() + 10 * seconds
    while True:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > end:
            os.killpg(pid, signal.SIGKILL)
        time.sleep(0.02)


def main():
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    warnings.filterwarnings("ignore", category=RuntimeWarning, message=".*fork.*")
    for name in IMPORTED.split():
        importlib.import_module(name)
    for line in sys.stdin:
        asked = json.loads(line)
        with tempfile.TemporaryFile() as out:
            pid = os.fork()
            if not pid:
                child(asked["arguments"], asked["seconds"], out.fileno())
            code = ended(pid, asked["seconds"])
            out.seek(0)
            answer = {"code": code, "out": out.read().decode(errors="replace")[-20000:]}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
