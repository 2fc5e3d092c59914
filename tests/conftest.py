"""One strict JAX for all tests: no silent broadcasting, no silent promotion, no half-initialised defaults."""

import gc
import os
import tempfile
from pathlib import Path

import browsing
import jax
import pytest

import dsjax
from dsjax import evaluation
from dsjax.specs import fields

fields.register_with_jax()  # tests map over records, and differentiate, with JAX itself
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")
# Workers share what takes long to compile.
jax.config.update("jax_compilation_cache_dir", str(Path(tempfile.gettempdir()) / "dsjax-tests"))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
# The command line keeps nothing of what tests ask it, and leaves JAX's own cache where it is.
os.environ["XDG_CACHE_HOME"] = os.devnull
os.environ.pop("COLUMNS", None)  # lines of any length, as in a pipe


@pytest.fixture(scope="session")
def study():
    """The default space of the 2025 study in float64; not to be changed by a test."""
    return dsjax.sweep("decode_gpu_2025")


@pytest.fixture(autouse=True, scope="module")
def forget_compiled_programs():
    """What one file of tests compiled is of no use to the next, and takes gigabytes together."""
    yield
    evaluation.forget()
    jax.clear_caches()
    gc.collect()


@pytest.fixture
def compilations():
    """Seconds of every program that JAX compiles, or takes from its cache on disk, in the meantime."""
    seen = []

    def listen(event, seconds, **_):
        if event == "/jax/core/compile/backend_compile_duration":
            seen.append(seconds)

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield seen
    jax.monitoring.unregister_event_duration_listener(listen)


def pytest_terminal_summary(terminalreporter):
    """Tests that were skipped for want of a browser are named at the end: pages are not tested then."""
    found = [(report.nodeid, str(report.longrepr)) for report in terminalreporter.stats.get("skipped", [])]
    if names := [name for name, why in found if browsing.WANTED in why]:
        terminalreporter.section("no browser")
        for name in names:
            terminalreporter.line(f"SKIPPED {name}")
        terminalreporter.line(f"{len(names)} tests of pages were skipped; expected {browsing.WANTED}")
