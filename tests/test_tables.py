"""Numbers in tables: one form per column, values of axes as a reader writes them."""

import json

import pytest
import xarray as xr
from click.testing import CliRunner

import dsjax
from dsjax import cli, formats
from dsjax.commands import tables
from dsjax.commands.answers import solve
from dsjax.results import files
from grids import SEVEN_CHIPS

GRID = {
    "study": "decode_gpu_2025",
    "axes": {"nic_scale_out_bytes_per_s": [1e11, 2.5e10], "context": [2048.0, 4096.5], "batch": [16, 32]},
    "fixed": {"hardware": "H800", "nic": "CX7", "ep": 144, "precision": "kv1-w1", "mtp": 1, "pipeline": "naive"},
}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (39.5, "39.50"),
        (48.0, "48.00"),
        (9.738, "9.738"),
        (9.99996, "10.00"),
        (0.0012345, "0.001234"),
        (1634.4, "1,634"),
        (12345678.0, "12,345,678"),
        (3e-9, "3.000e-09"),
        (-2.5, "-2.500"),
        (0.0, "0"),
    ],
)
def test_significant_digits_keep_their_zeros(value, text):
    assert formats.significant(value) == text
    assert float(text.replace(",", "")) == pytest.approx(value, rel=1e-3)


def test_counts_and_unknowns():
    assert formats.shown("chips", 320.0) == "320" and formats.shown("cost_per_million_tokens", float("nan")) == "-"
    assert formats.shown("tpot", 0.048) == "48.00" and formats.shown("busy_compute", 0.5) == "0.5000"


def test_values_of_axes():
    assert (
        formats.label(2048.0, "token") == "2048"
        and formats.label(4096.5) == "4096.5"
        and formats.label("H800") == "H800"
    )
    assert formats.label(1e11) == "1e+11" and formats.label(1e11, "B/s") == "100 GB/s" and formats.label(4) == "4"
    assert formats.quantity(5.12e6, "token") == "5,120,000 token"


def test_numbers_in_sentences():
    assert formats.quantity(1.23456789e9, "B/s") == "1.23457 GB/s" and formats.quantity(0.0, "s") == "0 s"
    assert formats.quantity(1.23456789e9, "B/s", 4) == "1.235 GB/s" and formats.quantity(float("inf"), "1") == "-"
    assert (formats.rounded(4.32149), formats.rounded(12345.6)) == ("4.321", "12,346")
    assert (formats.milliseconds(0.0345678), formats.milliseconds(1.5)) == ("34.57 ms", "1,500 ms")


def test_what_is_not_finite_is_null():
    given = {"a": [float("nan"), (float("inf"), 1.5)], "b": {"c": -float("inf"), "d": "nan"}}
    assert json.loads(files.to_json(given)) == {"a": [None, [None, 1.5]], "b": {"c": None, "d": "nan"}}


def test_rows_over_one_dim():
    ds = xr.Dataset({"y": ("x", [1.0, float("nan")]), "z": (("x", "u"), [[1.0], [2.0]]), "w": 3.0}, {"x": ["a", "b"]})
    assert tables.rows_over(ds, "x") == [{"x": "a", "y": 1.0}, {"x": "b", "y": None}]


def test_quantities_are_set_right_like_numbers():
    lines = tables.table(["x", "y"], [["100 GB/s", "one"], ["2.5 GB/s", "two three"]]).splitlines()
    assert [line.index("GB/s") for line in lines[2:]] == [6, 6] and lines[2].endswith("one")


def test_the_ranked_table(tmp_path):
    dsjax.write_netcdf(dsjax.sweep(GRID), tmp_path / "x.nc")
    found = CliRunner().invoke(cli.main, ["best", str(tmp_path / "x.nc"), "--by", "", "--top", "8"])
    assert found.exit_code == 0, found.output
    rows = [line.split() for line in found.output.splitlines() if "GB/s" in line]
    assert len(rows) == 8 and "000000" not in found.output and "2048.0" not in found.output
    after = rows[0].index("GB/s") + 1
    assert {row[after] for row in rows} == {"2048", "4096.5"}
    headings = next(line for line in found.output.splitlines() if "TPOT" in line).replace("TPOT ms", "TPOT").split()
    places = [row[headings.index("TPOT") + 2] for row in rows]  # the rank has no heading, GB/s is a word of its own
    assert {len(text.replace(".", "")) for text in places} == {4}, places


def test_values_of_tokens_are_whole():
    axes = {name: values for name, values in GRID["axes"].items() if name == "batch"}
    found = dsjax.solve(
        GRID | {"axes": axes, "fixed": GRID["fixed"] | {"context": 5120}}, "context", "tps_per_user >= 40"
    )
    assert found["scan"].values[[0, -1]].tolist() == [5.0, 5_120_000.0]
    assert found["kind"].values.tolist() == ["largest"]
    assert f"(in whole tokens {int(found['value'][0]):,})" in solve.sentence(found)


def test_memory_in_both_units():
    assert formats.memory(85.02e9) == "85.02 GB (79.18 GiB)"


def test_heads_of_keys_in_the_refusal():
    fixed = {"hardware": "H200", "nic": "CX7", "tp": 12, "ep": 72, "mtp": 0, "precision": "bf16", "pipeline": "naive"}
    ds = dsjax.explain(SEVEN_CHIPS, axes={"batch": [12]}, fixed={"model": "GLM-4.5", **fixed})
    why = dict(zip(ds["constraint"].values.tolist(), ds["why"].values.tolist()))
    assert why["ok_tp"] == "tp = 12 neither divides the 8 heads of keys and values nor is a multiple of them"


@pytest.mark.parametrize("text", ["2 PFLOPS", "2 PFLOP/s", "2e15 OPS"])
def test_rates_as_data_sheets_write_them(text):
    space = dsjax.load_grid(SEVEN_CHIPS, fixed={"hardware_fp8_flops_per_s": text})
    assert space.fixed["hardware_fp8_flops_per_s"] == 2e15


@pytest.mark.parametrize(("width", "said"), [(21, False), (20, True)])
def test_what_is_the_same_in_all_rows_is_said_once_where_columns_do_not_fit(width, said):
    """Three columns of 5, 5 and 5, two spaces between them and before the first."""
    made = tables.Table(["first", "same", "third"], [["x", "alike", "1"], ["y", "alike", "2"]])
    lines = [text for text, _ in made.styled(width)]
    assert (lines[0] == "  all: same alike") == said and ("alike" in lines[-1]) != said
    assert max(map(len, lines)) <= width
