"""Counts per range and quantiles: of a Dataset against NumPy, and the same from a grid that is never held."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from console import command

import dsjax
from dsjax import cli
from grids import SEVEN_CHIPS

STUDY = "decode_gpu_2025"


@pytest.mark.parametrize("of", ["tps_per_chip", "memory_per_chip"])
def test_a_streamed_histogram_is_that_of_the_dataset(study, of):
    values = study[of].broadcast_like(study.step_time).where(study.feasible).values
    values = np.sort(values[np.isfinite(values)])
    held = dsjax.histogram(study, of=of, bins=7)
    streamed = dsjax.histogram(STUDY, of=of, bins=7, stream=True)
    counts, edges = np.histogram(values, 7)
    np.testing.assert_array_equal(held["count"], counts)
    np.testing.assert_allclose(held["upper"], edges[1:])
    assert int(streamed["count"].sum()) == len(values) == int(study.feasible.sum())
    np.testing.assert_allclose(streamed["lower"], edges[:-1], rtol=1e-9)
    assert np.abs(streamed["count"] - counts).max() <= 8  # values at an edge, which rounding moves
    share = np.array([0.05, 0.25, 0.5, 0.75, 0.95])
    exact = values[np.ceil(share * len(values)).astype(int) - 1]
    np.testing.assert_array_equal(held["value"], exact)
    error, rounding = streamed["value"].attrs["error"], 1e-6 * exact  # streamed in float32
    assert error == pytest.approx(1e-4 * (values[-1] - values[0]), rel=1e-3) and "error" not in held["value"].attrs
    above = streamed["value"].values - exact
    assert (above >= -rounding).all() and (above <= error + rounding).all()
    assert held["value"].attrs["units"] == study[of].attrs["units"]


def test_where_a_variable_is_unknown_a_point_takes_no_part():
    axes = {"hardware": ["H800", "H20"], "batch": [16, 32], "tp": [1, 2]}  # H20 has no price
    for stream in (False, True):
        given = {"axes": axes, "fixed": {"pipeline": "naive", "mtp": 0, "precision": "fp8"}}
        found = dsjax.histogram(SEVEN_CHIPS, of="cost_per_million_tokens", bins=3, stream=stream, **given)
        ds = dsjax.sweep(SEVEN_CHIPS, **given)
        assert int(found["count"].sum()) == int(ds.feasible.sel(hardware="H800").sum())


def test_the_command(tmp_path, study):
    path = tmp_path / "study.nc"
    dsjax.write_netcdf(study, path)
    printed = CliRunner().invoke(cli.main, ["histogram", str(path), "--bins", "4"])
    assert printed.exit_code == 0 and "659 feasible points" in printed.output and "50 %" in printed.output
    found = json.loads(CliRunner().invoke(cli.main, ["histogram", str(path), "--format", "json"]).output)
    assert sum(row["count"] for row in found["rows"]) == 659 and found["of"] == "tps_per_chip"
    assert len(found["quantiles"]) == 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"of": "tps_per_chop"}, "did you mean 'tps_per_chip'"),
        ({"bins": 0}, "bins: 0 is out of range"),
        ({"quantiles": [1.5]}, "quantiles: 1.5 is out of range"),
    ],
)
def test_bad_input(options, message):
    with pytest.raises(dsjax.InputError, match=message):
        dsjax.histogram(STUDY, **options)


@pytest.mark.parametrize("stream", [(), ("--stream",)])
def test_nothing_feasible_is_an_answer(stream):
    with pytest.raises(dsjax.InputError, match="no feasible point has tps_per_chip"):
        dsjax.histogram(STUDY, axes={"batch": [100000]}, stream=bool(stream))
    said = command("histogram", STUDY, "--axis", "batch=100000", *stream, code=1)
    assert said == "histogram: no feasible point has tps_per_chip\n"


def test_quantiles_of_a_streamed_histogram_say_how_near_they_are():
    """The table and JSON say by how much they may be too high; of a held one, where they are exact, neither does."""
    held, streamed = (command("histogram", STUDY, "--of", "tpot", *more) for more in ((), ("--stream",)))
    error = dsjax.histogram(STUDY, of="tpot", stream=True)["value"].attrs["error"]
    assert f"Quantiles, TPOT ms (streamed: up to {1e3 * error:.2g} too high): 5 %: " in streamed
    assert "Quantiles, TPOT ms: 5 %: " in held
    said = json.loads(command("histogram", STUDY, "--of", "tpot", "--stream", "--format", "json"))
    assert said["quantiles_error"] == pytest.approx(error)
    assert "quantiles_error" not in json.loads(command("histogram", STUDY, "--of", "tpot", "--format", "json"))
