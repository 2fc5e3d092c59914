"""One configuration asked for by its names, loads by theirs: commands, files, pictures."""

import numpy as np
import pytest
import xarray as xr
from click.testing import CliRunner

import dsjax
from dsjax import cli

ONE_USER = {"hardware": "H200", "nic": "CX7", "tp": 8, "moe_tp": 8, "ep": 1, "concurrency": 1, "pipeline": "naive"}
ONE_USER |= {"model": "DeepSeek-R1", "phase": "decode", "mtp": 0, "precision": "fp8", "context": 5120}


def ran(*args, code=0):
    found = CliRunner().invoke(cli.main, [str(arg) for arg in args])
    assert found.exit_code == code, found.output
    return found.output


def fixes(given=ONE_USER):
    return [word for name, value in given.items() for word in ("--fix", f"{name}={value}")]


def test_a_grid_of_one_point_is_a_grid(tmp_path):
    text = ran("explain", *fixes())
    assert "tokens/s/user x 1 sequences / 8 chips" in text and "feasible" in text
    file = tmp_path / "one.nc"
    assert "1 of 1 points are feasible" in ran("sweep", *fixes(), "-o", file)
    with xr.open_dataset(file, engine="netcdf4") as ds:
        assert ds.sizes["hardware"] == 1 and float(ds.step_time.item()) > 0.0
    of_file, of_grid = (x.split("next:")[0].splitlines()[-5:] for x in (ran("explain", file), text))
    assert of_file == of_grid
    direct = dsjax.sweep({"axes": {"mtp": [0]}, "fixed": {k: x for k, x in ONE_USER.items() if k != "mtp"}})
    assert dsjax.sweep({"fixed": ONE_USER}).step_time.item() == direct.step_time.item()
    assert "at least one axis" in ran("sweep", write(tmp_path / "none.toml", ""), code=2)


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (["prefill", "--fix", "concurrency=8"], "--fix concurrency: prefill does not read it; expected prompts"),
        (["prefill", "--axis", "batch=8,16"], "--axis batch: prefill does not read it; expected prompts"),
        (["--fix", "prompts=8"], "--fix prompts: decode does not read it; expected concurrency or batch"),
    ],
)
def test_a_load_that_the_phase_does_not_read_is_refused(args, text):
    found = ran("best", *args, code=2)
    assert text in found and found.count("\n") == 1


def test_the_load_of_an_option_takes_the_place_of_the_other_in_groups_too():
    fixed = {name: x for name, x in ONE_USER.items() if name != "concurrency"}
    grid = {"axes": {"batch": [1, 2]}, "fixed": fixed, "objective": {"maximize": "tps_per_chip", "by": ["batch"]}}
    assert dsjax.load_grid(grid, axes={"concurrency": [1, 8]}).by == ("concurrency",)
    assert dsjax.load_grid(grid).by == ("batch",)


def test_systems_keep_their_own_loads_and_stages():
    for name in ("concurrency", "pp", "batch"):
        assert f"--fix {name}: differs from system to system" in ran("validate", "--fix", f"{name}=1", code=2)


def test_a_front_is_labelled_with_the_load_of_the_grid():
    fixed = {name: x for name, x in ONE_USER.items() if name != "concurrency"}
    grid = {"axes": {"concurrency": [1, 8, 64, 200], "engine": ["sglang", "vllm"]}, "fixed": fixed}
    ds = dsjax.sweep(grid | {"objective": {"maximize": "tps_per_chip", "by": ["engine"]}})
    axes = dsjax.plot("pareto", ds, by=["engine"]).axes[0]
    assert {"1", "8", "64"} <= {text.get_text() for text in axes.texts}
    response = dsjax.plot("response", ds).axes[-1]
    assert "concurrency" in response.get_xlabel() and np.isfinite(response.dataLim.bounds).all()


def test_a_count_has_no_rows_of_what_a_model_lacks():
    text = ran("count", "gpt-oss-120b")
    assert "shared" not in text and "MTP module" not in text and "absorbed" not in text and "attention 1," in text
    assert "shared_down" in ran("count", "DeepSeek-V3") and "absorbed" in ran("count", "DeepSeek-V3")
