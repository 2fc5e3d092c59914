"""One strict JAX for all tests: no silent broadcasting, no silent promotion, no half-initialised defaults."""

import jax
import pytest

import dsjax

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")


@pytest.fixture(scope="session")
def study():
    """The default space of the 2025 study in float64; not to be changed by a test."""
    return dsjax.sweep("decode_gpu_2025")
