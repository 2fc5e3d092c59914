"""Every figure of a published formula chapter agrees with its count, or says why not."""

import json

import pytest
from click.testing import CliRunner

from dsjax import cli
from dsjax.catalog import reader
from dsjax.reproduction import formula_chapter


@pytest.fixture(scope="module")
def figures():
    return formula_chapter.against_published()


def test_every_figure_agrees_or_says_why(figures):
    assert len(figures) > 100
    assert {row["article"] for row in figures} == {2, 3, 4, 5, 6, 7, 9}
    for row in figures:
        assert row["agrees"] != bool(row["why"]), row
    assert sum(row["agrees"] for row in figures) == 73


def test_values_are_the_printed_numbers(figures):
    scale = {"%": 0.01, "M": 1e6, "MB": 1e6, "B": 1e9, "GB": 1e9, "TFLOPs": 1e12, "": 1.0}
    for row in figures:
        if not row["formula"]:
            number = row["printed"].rstrip("%ABCDEFGHIJKLMNOPQRSTUVWXYZs ")
            unit = row["printed"][len(number) :].strip()
            assert row["published"] == pytest.approx(float(number.replace(",", "")) * scale[unit], rel=1e-12), row
    data = reader.read_toml(formula_chapter.FILE)
    assert {row[-1] for row in data["rows"]} - {""} == set(data["notes"])
    assert {row[-2] for row in data["rows"]} == set(data["at"])


@pytest.mark.parametrize(
    ("figure", "printed", "computed"),
    [
        ("attention, FLOPs of a pair of tokens", "5,013,504", 61 * 2 * 128 * 320),
        ("KV cache, 1 x 4096 tokens", "143.7MB", 61 * 4096 * 576),
        ("MoE, parameters", "657.7B", 58 * (257 * 3 * 7168 * 2048 + 7168 * 256)),
        ("MoE, parameters of a layer", "11.34B", 257 * 3 * 7168 * 2048 + 7168 * 256),
        ("parameters, sum of the printed rows", "0.93 + 11.4 + 1.19 + 657.7 + 0.93 + 0.001 B", 671_026_404_352),
        ("norms", "123", 4 * 61 + 1),
        ("FLOPs, decode", "5.98 TFLOPs", 2 * 64 * 36_624_596_992 + 61 * 2 * 64 * 128 * 4096 * 1088),
        ("dispatch, sent per chip and layer", "T H / MoE TP x FP8", 64 * 8 * 7168 * 127 / 128),
        ("MLA, sent per chip, TP 8", "2 L T H b", 61 * 2 * 7 / 8 * 64 * 7168 * 2),
        ("KV cache on one of 64 chips", "M / (TP DP)", 61 * 64 * 4096 * 576 / 8),
    ],
)
def test_slips_of_the_chapter(figures, figure, printed, computed):
    rows = [row for row in figures if (row["figure"], row["printed"]) == (figure, printed)]
    assert rows and all(row["computed"] == computed and not row["agrees"] for row in rows)


def test_command():
    result = CliRunner().invoke(cli.main, ["count", "--against-published"])
    assert result.exit_code == 0, result.output
    assert "73 of 125 published figures agree" in result.output
    assert "5,013,504" in result.output and "4,997,120" in result.output
    rows = CliRunner().invoke(cli.main, ["count", "--against-published", "--format", "json"])
    assert len(json.loads(rows.output)) == 125
    other = CliRunner().invoke(cli.main, ["count", "Nobody", "--against-published"])
    assert (other.exit_code, other.output.count("\n")) == (2, 1)
