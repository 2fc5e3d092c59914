"""A variable that is asked for alone is what it is beside all others: in servers, in pools, in the core model."""

import numpy as np
import pytest
from golden_grids import GRIDS

import dsjax
from dsjax import evaluation


# Every so-manyth variable: each takes an evaluation.
@pytest.mark.parametrize(("name", "every_other"), [("rates", 1), ("pools", 3), ("prefill", 4), ("nothing", 4)])
def test_a_variable_alone_is_what_it_is_beside_all(name, every_other):
    space = dsjax.load_grid(GRIDS[name])
    every = evaluation.evaluate(space)
    for variable in [*every][::every_other]:
        found = evaluation.evaluate(space, names=(variable,))
        assert found.keys() == {variable}
        assert found[variable][0] == every[variable][0], variable
        np.testing.assert_allclose(found[variable][1], every[variable][1], rtol=1e-9, err_msg=variable)
