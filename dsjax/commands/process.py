"""Settings that the command line makes in its own process; the library makes none in its caller's."""

import contextlib
import os
import re
import sys
import warnings

from .. import machine
from ..errors import Remark

UNREADABLE = re.compile(r"Error reading persistent compilation cache entry for '(\w+)'")


def start():
    """Before any command: freed pages are kept, traces and JAX's compiled programs are in the user's cache folder.

    JAX takes its settings from the environment when it is imported, which `dsjax --help` does not wait for. A cache
    folder that is not the user's alone is remarked, and not used.
    """
    machine.keep_pages()
    folder, reason = machine.cache()
    machine.kept = folder
    if folder is None:
        if "expected" in reason:
            warnings.warn(f"{reason}: compiled programs and traces are not kept", Remark, stacklevel=2)
        return
    for name, value in (("compilation_cache_dir", str(folder)), ("persistent_cache_min_compile_time_secs", 0.0)):
        _set(f"jax_{name}", value)


def replaced(message):
    """Whether a warning is JAX's, of a damaged entry of its cache: it is removed, so that JAX writes it anew.

    JAX names the program, not the entry, and writes none where one is: all entries of that name are removed.
    """
    if not (found := UNREADABLE.match(message)):
        return False
    folder, _ = machine.cache()
    for path in folder.glob(f"{found[1]}-*-cache") if folder else ():
        path.unlink(missing_ok=True)
    return True


def split_cpu(devices):
    """A CPU has so many JAX devices from now on (None: one); where JAX has started, it keeps those it has."""
    if devices is not None and devices > 0:
        with contextlib.suppress(RuntimeError):
            _set("jax_num_cpu_devices", devices)


def _set(name, value):
    if "jax" in sys.modules:
        sys.modules["jax"].config.update(name, value)
    else:
        os.environ[name.upper()] = str(value)
