"""Results that version 0.1.0 wrote are opened, and asked again, with the answers 0.1.0 gave.

data/results_0_1_0.tar.gz holds core.nc (the core model: decode on three chips, ep x batch x precision) and study.zarr
(the 2025 study), data/answers_0_1_0.json what `answers` returned of them under 0.1.0. Best points, fronts and
histograms read the files. `explain` and `sensitivity` evaluate the records in the files again, at points that no
mended fault touches (bf16, one scale-up domain, no normal dispatch): no number of the study may change. The core
model's kernels of attention have other forms since, which read the file's knots: it is answered, with today's times.
"""

import json
import tarfile
from pathlib import Path

import numpy as np
import pytest

import dsjax

DATA = Path(__file__).parent / "data"
AGAIN = ("explain", "sensitivity")  # questions that evaluate records again
POINTS = {
    "core.nc": {"hardware": "H800", "ep": 8, "batch": 16, "precision": "bf16"},
    "study.zarr": {"hardware": "H20", "ep": 72, "precision": "kv1-w1"},
}
NORMS = {"memory_per_chip": 5e-5, "memory_part": 2e-4}  # relative: at most what the weights of norms add
RETIMED = {"core.nc": ("explain", "sensitivity")}  # questions that time kernels again
COMPUTE = ("busy_compute", "block_compute", "exposed_compute")  # of few rows: at most what they were
NEW = ("transfer_time", "transfer_exposed", "transfer_hidden")  # 0.1.0 took them from slopes, today from the blocks


def answers(path):
    """{question: {variable: {"dims", "values"}}}: numbers, masks, and the labels of every dim; `null` is unknown."""
    ds, point = dsjax.open_netcdf(path), POINTS[path.name]
    found = {
        "best": dsjax.best(ds, by=["hardware", "precision"], top=2),
        "pareto": dsjax.pareto(ds),
        "explain": dsjax.explain(ds, at=point),
        "sensitivity": dsjax.sensitivity(ds, at=point),
        "histogram": dsjax.histogram(ds, bins=5),
    }
    return {question: plain(answer, [*ds.sizes, *answer.dims]) for question, answer in found.items()}


def plain(ds, labels):
    """Numbers and masks of a Dataset, and its labels, as JSON holds them."""
    named = {name: ds[name] for name in labels if name in ds.coords} | dict(ds.data_vars)
    kept = {name: x for name, x in named.items() if name in ds.coords or x.dtype.kind in "biuf"}
    return {
        name: {"dims": list(x.dims), "values": x.astype(object).where(x.notnull(), None).values.tolist()}
        for name, x in kept.items()
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    pytest.importorskip("zarr")
    folder = tmp_path_factory.mktemp("results")
    with tarfile.open(DATA / "results_0_1_0.tar.gz") as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.mark.parametrize("name", POINTS)
def test_answers_are_those_of_0_1_0(folder, name):
    then, now = json.loads((DATA / "answers_0_1_0.json").read_text())[name], answers(folder / name)
    assert dsjax.open_netcdf(folder / name).attrs["dsjax_version"] == "0.1.0"
    assert sum(len(variables) for variables in then.values()) > 150
    for question, variables in then.items():
        if name == "core.nc" and question in AGAIN:
            assert variables.keys() - set(NEW) <= now[question].keys()
            continue
        for variable in variables.keys() - set(NEW):
            retimed = question in RETIMED.get(name, ())
            assert_same(variables, now[question], variable, f"{name}: {question}: {variable}", retimed)


def assert_same(then, now, name, said, retimed=False):
    """Equal at every label of then: tables may have got rows (a constraint, a block) since."""
    assert now[name]["dims"] == then[name]["dims"], said
    was, found = (np.array(side[name]["values"], dtype=object) for side in (then, now))
    for axis, dim in enumerate(then[name]["dims"]):
        if dim in then:
            rows = [now[dim]["values"].index(label) for label in then[dim]["values"]]
            found = np.take(found, rows, axis)
    known = np.not_equal(was, None)
    assert np.array_equal(known, np.not_equal(found, None)), said
    if all(isinstance(x, str) for x in was[known].flat):
        assert was.tolist() == found.tolist(), said
    else:
        close = 1e-7 if name in ("elasticity_below", "elasticity_above") else 1e-9  # those are differences
        close, found, was = NORMS.get(name, close), found[known].astype(float), was[known].astype(float)
        if retimed and name in COMPUTE:
            assert (found <= was * (1.0 + 1e-9)).all(), said
            return
        least = 0.025 * np.abs(was).max(initial=0.0) if retimed else 1e-15
        np.testing.assert_allclose(found, was, close, least, err_msg=said)
