"""`dsjax catalog`: its tables, words, fields, sources; `dsjax.rows`: a catalog as a DataFrame."""

import csv
import io
import json

import numpy as np
import pytest
from click.testing import CliRunner

import dsjax
from dsjax import cli
from dsjax.analysis import count
from dsjax.catalog import reader
from dsjax.errors import CATALOGS
from dsjax.specs import fields, records

ROWS = reader.load()
OWN = """
    [hardware.Mine]
    base = "H800"
    source = "own"
    vendor = "Me"
    hbm_bytes_per_s = "4 TB/s"
    usd_per_hour = 3
    unverified = ["hbm_bytes_per_s"]
    [hardware.Plain]
    base = "H800"
    source = "own"
"""


@pytest.fixture
def own(tmp_path):
    (tmp_path / "own.toml").write_text(OWN)
    return str(tmp_path / "own.toml")


def command(*args, code=0):
    result = CliRunner().invoke(cli.main, ["catalog", *args])
    assert result.exit_code == code, result.output
    return result.output


def lines(*args):
    """{row: its cells} of a table."""
    text = command(*args).splitlines()
    rule = next(i for i, line in enumerate(text) if line.strip().startswith("--"))
    edges = np.flatnonzero([a == " " and b == "-" for a, b in zip(" " + text[rule], text[rule], strict=False)])
    cut = [slice(a, b) for a, b in zip(edges, [*edges[1:], None], strict=True)]
    heads = [text[rule - 1][part].strip() for part in cut]
    rows = [dict(zip(heads, (line[part].strip() for part in cut), strict=True)) for line in text[rule + 1 :]]
    return {row[heads[0]]: row for row in rows if row[heads[0]] in {**ROWS["hardware"], **ROWS["nic"], "Mine": 0}}


def test_hardware_is_one_table_in_units_that_people_use():
    found = lines("hardware")
    assert list(found) == list(ROWS["hardware"])
    h20, vr200, mi300x, trn2 = (found[name] for name in ("H20", "VR200", "MI300X", "Trainium2"))
    assert (h20["vendor"], h20["bf16"], h20["fp4"], h20["HBM TB/s"], h20["HBM GB"]) == (
        "NVIDIA",
        "148",
        "-",
        "4",
        "102",
    )
    assert (h20["link GB/s"], h20["chips"], h20["link"], h20["W"], h20["USD/h"]) == ("450", "8", "switch", "500", "-")
    assert h20["kernels"] == "hopper-small (fitted)" and vr200["kernels"] == "blackwell-ultra (assumed)"
    assert (vr200["fp8"], vr200["int8"], vr200["W"]) == ("17,500", "250?", "1,800?")  # ?: nobody has verified it
    assert (mi300x["link"], trn2["link"], found["GH200"]["link"]) == ("mesh", "3D torus", "-")
    assert (found["H800"]["USD/h"], found["H100"]["USD/h"], found["TPU-v5e"]["USD/h"]) == ("2 *", "2", "1.2?*")
    text = command("hardware")
    assert "TFLOP/s" in text and "* other sources" in text and "? nobody has verified it" in text
    assert "TFLOP/s" not in command("hardware", "--quiet")


_AT_80 = {  # headings that stay on a narrow terminal
    "hardware": ("bf16", "fp8", "HBM GB", "chips", "USD/h"),
    "nic": ("GB/s", "reached"),
    "model": ("parameters", "active", "attention", "routed"),
    "precision": ("attention", "experts", "cache", "rates"),
    "engine": ("step", "draft"),
    "curve": ("fitted to",),
}


@pytest.mark.parametrize(("record", "name"), CATALOGS.items())
def test_a_catalog_is_a_table_of_one_line_a_row(record, name, monkeypatch):
    rows = [line.split()[0] for line in command(name, "--quiet").splitlines() if line.startswith("  ")]
    named = [row for row in rows if row in ROWS[record]]
    assert named == list(ROWS[record])
    monkeypatch.setenv("COLUMNS", "80")
    text = command(name)
    most = 3 if record == "engine" else 1  # an engine has a curve for each family of chips
    assert len(text.splitlines()) <= most * len(named) + 16
    assert all(word in text for word in _AT_80[record])
    for option in ("--sources", "-v"):
        whole = command(name, named[0], option)
        field = next(iter(reader.numbers(ROWS[record][named[0]])), "form")
        assert field in whole and "published" in whole and field not in text


def test_a_nic_a_precision_and_a_model_in_a_line():
    found = lines("nics")
    assert found["CX7"]["GB/s"] == "50" and found["EFA-400"]["GB/s"] == "50?"
    text = command("precisions").splitlines()
    fp8 = next(line.split() for line in text if line.split()[:1] == ["fp8"])
    assert fp8 == "fp8 8 8 8 16 16 8 16 fp8 fp8 bf16".split()  # head and cache in 16 bit, as the row says
    (line,) = [line for line in command("models", "DeepSeek-V3").splitlines() if line.split()[:1] == ["DeepSeek-V3"]]
    assert "8 of 256" in line and "MLA" in line and "8 (fp8)" in line
    total = dsjax.count("DeepSeek-V3")
    whole, active = count.parameters("DeepSeek-V3", ROWS["model"])
    assert whole == total.total_parameters and active == total.active_parameters_without_embedding
    assert "671" in line.split() and "36.62" in line.split() and whole == 671_026_404_352
    assert "GQA 8, windows" in command("models", "gpt-oss-20b") and "MLA, picks" in command("models", "DeepSeek-V3.2")


def test_a_name_stands_alone_and_says_what_else_has_its_words():
    assert [row["row"] for row in json.loads(command("models", "kimi-k2", "--format", "json"))] == ["Kimi-K2"]
    text = command("models", "Kimi-K2")
    assert "more rows with Kimi-K2: Kimi-K2.5" in text and text.index("Kimi-K2.5") > text.index("parameters:")
    assert "more rows" not in command("models", "Kimi-K2", "--quiet") + command("models", "Kimi")
    assert {row["row"] for row in json.loads(command("hardware", "H20", "--format", "json"))} == {"H20"}


def test_words_keep_rows():
    assert {row["vendor"] for row in lines("hardware", "amd").values()} == {"AMD"}
    assert set(lines("hardware", "nvidia", "h100")) == {"H100", "H100-PCIe", "H100-NVL"}
    assert "H20" in lines("hardware", "hopper-small") and "H800" not in lines("hardware", "hopper-small")
    assert {row["row"] for row in json.loads(command("hardware", "gaudi", "--format", "json"))} == {"Gaudi3"}
    assert "no row with 'nothing'" in command("hardware", "nothing", code=2)
    assert "unknown catalog 'hardwares'" in command("hardwares", code=2)


def test_fields_have_a_unit_and_a_meaning():
    for record, name in CATALOGS.items():
        rows = list(csv.DictReader(io.StringIO(command(name, "--fields", "--format", "csv"))))
        known = fields.fields_of(records.RECORDS[record]) if record in records.RECORDS else {}
        assert all(row["meaning"] and row["unit"] and row["catalog"] == name for row in rows)
        assert not known or [row["field"] for row in rows] == list(known)
    told = {row["field"]: row for row in json.loads(command("hardware", "--fields", "--format", "json"))}
    assert (told["watts"]["unit"], told["watts"]["left out"]) == ("W", "unknown")
    assert told["combine_start_s"]["left out"] == "as exchange_start_s" and told["scale_up_torus"]["left out"] == "0"
    assert told["hbm_bytes"]["left out"] == "only with a base"
    assert "memory bandwidth" in command("hardware", "--fields") and "nics" in command("--fields")


def test_rows_of_your_own(own):
    found = lines("hardware", "--catalog", own)
    assert (found["Mine"]["vendor"], found["Mine"]["HBM TB/s"], found["Mine"]["USD/h"]) == ("Me", "4?", "3 *")
    assert "Mine  (" + own in command("hardware", "mine", "--sources", "--catalog", own)
    assert "vendor: 3; expected the name" in _refused(own, "vendor = 3")


def _refused(path, line):
    with open(path, "a") as file:
        file.write(f"    {line}\n")
    with pytest.raises(dsjax.InputError) as error:
        dsjax.rows("hardware", path)
    return str(error.value)


def test_a_catalog_as_a_frame(own):
    for record, name in CATALOGS.items():
        frame = dsjax.rows(name)
        assert list(frame.index) == list(ROWS[record]) and frame.index.name == record
        for field, unit in frame.attrs["units"].items():
            assert frame[field].dtype == float and unit and frame.attrs["meanings"][field]
    frame = dsjax.rows("hardware")
    for name, row in ROWS["hardware"].items():
        for field, x in reader.numbers(row).items():
            unknown = x == 0 and field in ("usd_per_hour", "watts", "hbm_advertised_bytes")
            assert np.isnan(frame.loc[name, field]) if unknown else frame.loc[name, field] == x, (name, field)
    assert frame.loc["H100", "kernels"] == "fitted" and frame.loc["VR200", "unverified"].split()[-1] == "watts"
    assert set(frame.query("vendor == 'Intel'").index) == {"Gaudi3"} and frame.attrs["units"]["watts"] == "W"
    mine = dsjax.rows("hardware", [own])
    assert mine.loc["Mine", "usd_per_hour"] == 3 and np.isnan(mine.loc["Plain", "usd_per_hour"])
    assert (mine.loc["Mine", "vendor"], mine.loc["Plain", "vendor"]) == ("Me", "")  # a base lends none
    with pytest.raises(dsjax.InputError, match="unknown catalog 'chips'"):
        dsjax.rows("chips")
