"""One strict JAX for all tests: no silent broadcasting, no silent promotion, no half-initialised defaults."""

import gc
import tempfile
from pathlib import Path

import jax
import pytest

import dsjax
from dsjax.evaluation import evaluate
from dsjax.search import cells

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")
# Workers share what takes long to compile.
jax.config.update("jax_compilation_cache_dir", str(Path(tempfile.gettempdir()) / "dsjax-tests"))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)


@pytest.fixture(scope="session")
def study():
    """The default space of the 2025 study in float64; not to be changed by a test."""
    return dsjax.sweep("decode_gpu_2025")


@pytest.fixture(autouse=True, scope="module")
def forget_compiled_programs():
    """What one file of tests compiled is of no use to the next, and takes gigabytes together."""
    yield
    evaluate._compiled.cache_clear()
    cells._kernel.cache_clear()
    jax.clear_caches()
    gc.collect()
