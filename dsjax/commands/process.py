"""Settings that the command line makes in its own process; the library makes none in its caller's."""

import contextlib
import os
import sys
from pathlib import Path

from .. import machine


def cache():
    """The user's cache folder."""
    return Path(os.environ.get("XDG_CACHE_HOME") or machine.home() / ".cache") / "dsjax"


def start():
    """Before any command: freed pages are kept, and JAX keeps its compiled programs in the user's cache folder.

    JAX takes its settings from the environment when it is imported, which `dsjax --help` does not wait for.
    """
    machine.keep_pages()
    folder = cache()
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        for name, value in (("compilation_cache_dir", str(folder)), ("persistent_cache_min_compile_time_secs", 0.0)):
            _set(f"jax_{name}", value)


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
