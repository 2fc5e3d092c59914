"""The command line inside a test."""

import contextlib
import io
import os

import pytest

from dsjax import cli


def command(*args, code=0):
    """What the command prints; its exit code is `code`, and only bad input has something on stderr."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        patch.setenv("XDG_CACHE_HOME", os.devnull)
        with pytest.raises(SystemExit) as stop:
            cli.main([str(arg) for arg in args], prog_name="dsjax")
    assert stop.value.code == code and bool(err.getvalue()) == (code == 2), err.getvalue()
    return out.getvalue() or err.getvalue()
