"""Plans, fleets and what was measured, as they are kept in data/goldens/fleets.json."""

import contextlib
import io

import goldens
import plans
import pytest
from golden_grids import CORE, PREFILL

import dsjax
from dsjax.accessor import page as notebook
from dsjax.accessor import words
from dsjax.commands.evidence import validate

DEMAND = {"requests_per_s": 5.0, "isl": 4096, "osl": 512}


def plan():
    return plans.asked(disaggregated=False)


def users():
    return plans.asked(requests_per_s=6.0, axes={"tp": [2, 4]})


def fleets():
    return dsjax.recommend(CORE, PREFILL, **DEMAND)


def servers():
    return dsjax.recommend(**DEMAND, axes={"hardware": ["H200"]}, fixed={"tp": 8})


ANSWERS = {"plan": plan, "plan of a demand": users, "fleets": fleets, "servers": servers}


def told(name):
    ds = ANSWERS[name]()
    rows = notebook.html(ds).partition("<details>")[0].splitlines()
    return {"answer": ds, "words": words.words(ds).splitlines(), "page": rows[:200]}


def validated():
    """Every system, what is said of all of them, and of each."""
    ds = dsjax.validate()
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        validate._show(ds, True, True, False)
    return {"answer": ds, "words": out.getvalue().splitlines()[:150]}


CASES = {name: (lambda name=name: told(name)) for name in ANSWERS} | {"validated": validated}


@pytest.mark.parametrize("name", CASES)
def test_an_answer_is_the_one_that_is_kept(name):
    goldens.check("fleets", name, CASES[name]())
