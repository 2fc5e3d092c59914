"""The errors of validation with one default changed at a time."""

import json

import numpy as np
import pytest
import xarray as xr
from click.testing import CliRunner

import dsjax
from dsjax.cli import main
from dsjax.validation import agreement, systems, validate

COMMON = """model = "DeepSeek-V3"
hardware = "H800"
precision = "fp8"
metric = "decode"
chips = 16
ep = 16
tp = 1
mtp = 0
nic = "CX7"
context = 4096
"""
FILE = """
[defaults]
pipeline = "naive"
[alternatives]
{alternatives}
[[study]]
id = "A"
date = "2026-01-01"
source = "a bench"
{common}[[study.system]]
id = "a"
value = 2000
batch = 64
[[study.system]]
id = "alone"
value = 30
batch = 1
[[study]]
id = "B"
date = "2026-01-01"
source = "another bench"
{common}balance = "none"
[[study.system]]
id = "b"
value = 1000
batch = 32
pipeline = "windows"
"""
NONE = "\n".join(f"{key} = []" for key in (*systems.DEFAULTS, "perfect", "redundant", "none"))


def written(path, **alternatives):
    lines = [f"{key} = {json.dumps(alternatives.get(key, []))}" for key in NONE.replace(" = []", "").split()]
    path.write_text(FILE.format(common=COMMON, alternatives="\n".join(lines)))
    return str(path)


def test_a_choice_is_a_run_with_that_default(tmp_path):
    path = written(tmp_path / "x.toml", none=[1.2], pipeline=["sbo"])
    ds = dsjax.validate_defaults(path)
    assert ds["choice"].values.tolist() == ["as they are", "pipeline = sbo", "balance none = 1.2"]
    assert ds["changed"].values.tolist() == [0, 2, 3]  # b says its pipeline; all have no load balancer
    text = (tmp_path / "x.toml").read_text()
    for i, changed in enumerate((text, text.replace('"naive"', '"sbo"'), "[balance]\nnone = 1.2\n" + text)):
        (tmp_path / "y.toml").write_text(changed)
        found = validate.validate(str(tmp_path / "y.toml"))
        summary = agreement.summary(found["left_out_error"].values)
        assert ds["median"].values[i] == pytest.approx(summary["median"], rel=1e-12)
        assert ds["p90"].values[i] == pytest.approx(summary["p90"], rel=1e-12)
        assert ds["software_factor"].values[i] == pytest.approx(found.attrs["software_factor"], rel=1e-12)


def test_a_system_keeps_a_default_whose_other_value_is_impossible(tmp_path):
    ds = dsjax.validate_defaults(written(tmp_path / "x.toml", pipeline=["dual-mbatch"]))
    assert ds["changed"].values.tolist() == [0, 1]  # not of the batch of one


def test_a_sequence_of_an_instance_cannot_be_halved(tmp_path):
    text = FILE.format(common=COMMON, alternatives="").replace('pipeline = "naive"', 'pipeline = "dual-mbatch"')
    text = text.replace("batch = 1\n", "concurrency = 8\ntp = 16\n").replace("batch = 64", "concurrency = 7\ntp = 16")
    (tmp_path / "x.toml").write_text(text)
    refused = validate.validate(str(tmp_path / "x.toml"))["refused"].values.tolist()
    assert ["ok_even_batch" in x for x in refused] == [True, False, False]


def test_alternatives_of_the_shipped_file():
    file = systems.read()
    assert file.alternatives.keys() <= file.defaults.keys()
    for key, values in file.alternatives.items():
        assert values and file.defaults[key] not in values and len(set(values)) == len(values)
    assert set(systems.DEFAULTS) - file.alternatives.keys() == {"ep"}


@pytest.mark.parametrize(
    "old, new, said",
    [
        ("pipeline = []", 'pipeline = "sbo"', "expected a list"),
        ("pipeline = []", "pipelin = []", "did you mean 'pipeline'"),
        ("none = []", "none = [-1]", "out of range"),
        ("mtp = []", "mtp = [0.5]", "not an integer"),
        ("balance = []", 'balance = ["bad"]', "perfect, redundant, none"),
        ("pipeline = []", 'pipeline = ["wndows"]', "did you mean 'windows'"),
    ],
)
def test_bad_alternatives(tmp_path, old, new, said):
    path = written(tmp_path / "bad.toml")
    text = (tmp_path / "bad.toml").read_text()
    assert f"\n{old}\n" in text
    (tmp_path / "bad.toml").write_text(text.replace(f"\n{old}\n", f"\n{new}\n"))
    with pytest.raises(dsjax.InputError) as error:
        dsjax.validate_defaults(path)
    assert said in str(error.value) and "bad.toml" in str(error.value) and "\n" not in str(error.value)


def test_command_line(tmp_path):
    def run(*arguments):
        result = CliRunner().invoke(main, ["validate", *arguments])
        return result.exit_code, result.output

    path, out = written(tmp_path / "x.toml", none=[1.2, 2]), str(tmp_path / "d.nc")
    code, text = run(path, "--defaults", "-o", out)
    assert code == 0 and "balance none = 1.2" in text and "one default" in text
    with xr.open_dataset(out) as ds:
        assert ds["median"].dims == ("choice",) and np.isfinite(ds["median"].values).all()
        assert all({"units", "long_name"} <= x.attrs.keys() for x in ds.data_vars.values())
    code, text = run(path, "--defaults", "--format", "json")
    found = json.loads(text)
    assert code == 0 and len(found["rows"]) == 3 and found["complete_systems"] == 3
    assert found["rows"][0]["open_median"] is None  # nothing is left open
    assert run(path, "--defaults", "--format", "csv")[0] == 0
    assert run(path, "--defaults", "--all")[0] == 2
