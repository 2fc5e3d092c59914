"""Where numbers come from: kinds and sources field by field, inheritance, what the user set, files, bad catalogs."""

import json

import numpy as np
import pytest
from test_explain import CORE, H800, command

import dsjax
from dsjax.analysis import explain
from dsjax.catalog import reader, sources
from dsjax.results import netcdf
from dsjax.space import grid, provenance, restoring
from dsjax.specs import records
from grids import SEVEN_CHIPS

ROWS = reader.load()
OWN = """
    [hardware.Mine]
    base = "H800"
    source = "data sheet of Mine"
    hbm_bytes = "96 GB"
    watts = 650
    scale_up_step_s = "1 us"
    all_reduce_start_s = "3 us"
    int8_flops_per_s = 0
    [hardware.Mine.sources]
    watts = { kind = "measured", text = "a meter" }
    "all_reduce_* scale_up_step_s" = { kind = "fitted", text = "own log" }
    all_reduce_rise_s = "as H800"
    step_s = { kind = "assumed" }
    usd_per_hour = "not for rent"
    [hardware.Other]
    base = "Mine"
    hbm_bytes = "80 GB"
    [hardware.Other.sources]
    base = { kind = "assumed", text = "taken from Mine" }
    watts = "no meter"
    [hardware.Old]
    base = "H800"
    source = "as users wrote it before there were kinds"
    hbm_bytes = "80 GB"
    watts = 700
    unverified = ["watts", "hbm_bytes_per_s"]
    [nic.Mine]
    source = "own"
    kind = "measured"
    scale_out_bytes_per_s = "50 GB/s"
    scale_out_utilisation = 0.8
    scale_out_step_s = "5 us"
"""


def load(text, tmp_path):
    path = tmp_path / "own.toml"
    path.write_text(text)
    return reader.load(records.RECORDS, *reader.users([path]))


@pytest.fixture
def own(tmp_path):
    return load(OWN, tmp_path)


def entry(row, field):
    """(kind, text, base that the number is of) of a number."""
    found = sources.of_field(row, field)
    return found["kind"], found["text"], found.get("row", "")


@pytest.mark.parametrize(
    ("row", "field", "kind", "text", "of"),
    [
        ("Mine", "hbm_bytes", "published", "data sheet of Mine", ""),
        ("Mine", "watts", "measured", "a meter", ""),
        ("Mine", "scale_up_step_s", "fitted", "own log", ""),
        ("Mine", "all_reduce_direct", "fitted", "own log", ""),
        (
            "Mine",
            "all_reduce_rise_s",
            "assumed",
            "as H800",
            "",
        ),  # the plain name before the pattern, the kind as it was
        ("Mine", "step_s", "assumed", "no host time", ""),  # the text as it was
        ("Mine", "usd_per_hour", "unknown", "not for rent", ""),  # left out, and never taken from a base
        ("Mine", "exchange_cores", "derived", "24 of 132 cores", "H800"),  # as the base says it
        ("Mine", "combine_hidden_s", "derived", "left out: as exchange_hidden_s", ""),
        ("Mine", "fp4_flops_per_s", "none", "left out", ""),
        ("Other", "hbm_bytes", "unverified", "none given", ""),  # without a source
        ("Other", "exchange_cores", "assumed", "taken from Mine", "H800"),
        ("Other", "all_reduce_start_s", "assumed", "taken from Mine", "Mine"),
        ("Other", "watts", "unknown", "no meter", ""),
        ("Old", "watts", "unverified", "as users wrote it before there were kinds", ""),
        (
            "Old",
            "hbm_bytes_per_s",
            "unverified",
            "LMSYS and Ant blog of 2025-09-26; FlashMLA documentation of 2025-04-22",
            "",
        ),
    ],
)
def test_a_number_has_the_kind_and_source_that_the_nearest_row_says(own, row, field, kind, text, of):
    assert entry(own["hardware"][row], field) == (kind, text, of)


def test_a_row_has_a_kind_of_its_own(own):
    nic = own["nic"]["Mine"]
    assert {entry(nic, field)[0] for field in ("scale_out_bytes_per_s", "scale_out_utilisation")} == {"measured"}
    assert entry(nic, "exchange_start_s") == ("derived", "left out: as scale_out_step_s", "")


def test_every_number_of_the_catalogs_has_a_kind_and_a_text():
    kinds = {*sources.KINDS, "unknown", "none"}
    for record, rows in ROWS.items():
        for name, row in rows.items():
            for field in reader.numbers(row):
                kind, text, of = entry(row, field)
                assert kind in kinds and text.strip() and (not of or of in rows), (record, name, field)
                assert kind not in ("unknown", "none") or row[field] == 0, (record, name, field)
    assert set(sources.of_kind(ROWS["hardware"]["H800"], "unverified")) == {"watts"}
    assert "roofline_overlap" in sources.of_kind(ROWS["hardware"]["H100"], "assumed")
    assert not sources.of_kind(ROWS["hardware"]["MI300X"], "fitted")  # H800's network is measured, not on this one


def test_rows_are_a_mapping():
    rows = ROWS["nic"]
    assert len(rows) == len(list(rows)) == len(dict(rows)) and "CX7" in rows and "nothing" not in rows
    with pytest.raises(KeyError):
        rows["nothing"]
    with pytest.raises(TypeError):
        rows["CX7"] = {}
    with pytest.raises(TypeError):
        del rows["CX7"]


def test_a_row_is_validated_when_it_is_read(tmp_path):
    rows = load('[nic.Bad]\nbase = "CX7"\nsource = "own"\nscale_out_step_s = -1\n', tmp_path)["nic"]
    assert "Bad" in rows and rows["CX7"]
    with pytest.raises(dsjax.InputError, match=r"\[nic.Bad\] scale_out_step_s"):
        rows["Bad"]


# ---- what the user sets


def test_what_the_user_sets_is_said_of_the_number_and_of_no_other():
    settings = {"nic.CX7.scale_out_step_s": "2 us", "curve.gemm_memory": 0.5}
    space = grid.load(CORE, settings=settings, fixed={"nic_scale_out_utilisation": 0.9})
    row = space.rows["nic"]["CX7"]
    assert entry(row, "scale_out_step_s") == ("set by the user", "settings={'nic.CX7.scale_out_step_s': '2 us'}", "")
    assert row["source"] == ROWS["nic"]["CX7"]["source"] and sources.of_kind(row, "set by the user") == [
        "scale_out_step_s"
    ]
    fixed = provenance.of_field(space, "nic", "CX7", "scale_out_utilisation")
    assert fixed == {"kind": "set by the user", "text": "nic_scale_out_utilisation = 0.9"}
    for curve in space.rows["curve"].values():
        assert sources.of_kind(curve, "set by the user") == ["gemm_memory"]
    lines = provenance.remarks(space, ())
    assert "set by the user: nic.CX7 scale_out_step_s, curve.hopper gemm_memory" in lines[0]


def test_remarks_name_what_nobody_verified():
    space = grid.load(CORE | {"axes": CORE["axes"] | {"hardware": ["H800", "Ascend-910B"]}})
    assert provenance.remarks(space, ())[0] == "unverified numbers: hardware.Ascend-910B (6)"
    lines = provenance.remarks(space, ("energy_per_token",))
    assert lines[0] == "unverified numbers: hardware.H800 watts, hardware.Ascend-910B (6)"


# ---- files


def test_a_file_knows_the_kinds(tmp_path):
    space = grid.load(CORE, settings={"nic.CX7.scale_out_step_s": 0})
    assert restoring.space(space.to_json()) == space
    dsjax.write_netcdf(dsjax.sweep(CORE, settings={"nic.CX7.scale_out_step_s": 0}), tmp_path / "x.nc")
    found = json.loads(netcdf.open_netcdf(tmp_path / "x.nc").attrs["dsjax_spec"])["rows"]
    assert found["nic"]["CX7"]["sources"]["scale_out_step_s"]["kind"] == "set by the user"
    assert found["hardware"]["H800"]["sources"]["watts"]["text"] == "one FlashMLA log, no data sheet at hand"


def test_a_file_older_than_kinds_opens_and_says_so():
    text = dsjax.sweep(CORE).attrs["dsjax_spec"]
    data = json.loads(text)
    for rows in data["rows"].values():
        for row in rows.values():
            del row["kind"], row["sources"]
    data["rows"]["hardware"]["H800"]["unverified"] = ["watts"]
    old, new = restoring.space(json.dumps(data)), restoring.space(text)
    row = old.rows["hardware"]["H800"]
    assert entry(row, "watts")[0] == "unverified" and entry(row, "hbm_bytes")[0] == "unstated"
    for name, value in reader.numbers(new.rows["hardware"]["H800"]).items():
        assert row[name] == value
    data["rows"]["hardware"]["H800"]["sources"] = {"watts": {"kind": 3, "text": ""}}
    with pytest.raises(ValueError, match="expected a kind and a text"):
        restoring.space(json.dumps(data))


# ---- explain


def test_explain_names_the_numbers_that_the_step_reads():
    ds = dsjax.explain(CORE, H800, settings={"nic.CX7.exchange_start_s": 0})
    kinds = dict(zip(ds.number.values.tolist(), ds.number_kind.values.tolist()))
    assert kinds["nic.CX7.exchange_start_s"] == "set by the user"
    assert kinds["hardware.H800.fp8_flops_per_s"] == "published" and kinds["hardware.H800.watts"] == "unverified"
    assert kinds["curve.hopper.gemm8_compute"] == "fitted" and kinds["curve.hopper.pointwise_memory"] == "assumed"
    for unread in (
        "hardware.H800.fp4_flops_per_s",
        "hardware.H800.normal_start_s",
        "curve.hopper.gemm4_compute",
        "nic.CX7.scale_out_step_s",
    ):
        assert unread not in kinds
    assert not any(name.startswith("curve.hopper.prefill") for name in kinds)  # decode
    tags = dict(zip(ds.row.values.tolist(), ds.tag.values.tolist()))
    assert tags["model.DeepSeek-V3"] == "published" and "set by the user" in tags["nic.CX7"]
    assert all(ds.source.values) and all(ds.number_source.values)
    text = dict(zip(ds.number.values.tolist(), ds.number_source.values.tolist()))["curve.hopper.pointwise_memory"]
    assert text.startswith("of kernel-assumed: ")


def test_a_row_that_no_number_is_read_of():
    """One chip sends nothing."""
    fixed = {
        "hardware": "H20",
        "nic": "E810",
        "model": "Qwen3-8B",
        "precision": "bf16",
        "context": 4096,
        "tp": 1,
        "ep": 1,
    }
    ds = dsjax.explain({"axes": {"batch": [8]}, "fixed": fixed})
    assert dict(zip(ds.row.values.tolist(), ds.tag.values.tolist()))["nic.E810"] == "not read"
    assert not any(name.startswith("nic.") for name in ds.number.values)
    assert np.isfinite(ds.step_time)


def test_the_text_counts_kinds_of_each_row():
    at = ",".join(f"{name}={value}" for name, value in {"tp": 4, "nic": "one-layer", "moe_tp": 1, "batch": 10}.items())
    lines = command("sg2260e_decode_128", "--at", at, "-v").partition("Numbers from")[2].splitlines()
    assert any(line.split()[:2] == ["hardware.SG2260E", "published"] for line in lines), lines
    assert any("fitted" in line and "effective: matched" in line for line in lines), lines


# ---- bad catalogs


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('unverified = ["wats"]', "unverified 'wats' did you mean 'watts'"),
        ('unverified = "watts"', "unverified 'watts' list of fields"),
        ("unverified = [1]", "unverified [1] list of fields"),
        ("unverified = 3", "unverified 3 list of fields"),
        ("fp4_flops_per_s = -1", "fp4_flops_per_s -1"),
        ("sources = 5", "sources 5 table of fields"),
        ('sources = { wats = "x" }', "sources 'wats' did you mean 'watts'"),
        ('sources = { "wats_*" = "x" }', "sources 'wats_*' expected one of"),
        ('sources = { "" = "x" }', "sources field ''"),
        ("sources = { watts = 5 }", "sources watts 5 expected a text"),
        ('sources = { watts = " " }', "sources watts expected a text"),
        ("sources = { watts = {} }", "sources watts {} expected a text"),
        ('sources = { watts = { kind = "guessed" } }', "sources watts kind 'guessed' one of published, measured"),
        ("sources = { watts = { text = 3 } }", "sources watts 3 expected a text"),
        ('sources = { watts = { kind = "fitted", of = "x" } }', "sources watts { kind, text }"),
        ('sources = { base = { kind = "guessed" } }', "sources base kind 'guessed'"),
        ("kind = 3", "kind '3' one of published"),
        ('kind = ["fitted"]', "kind one of published"),
    ],
)
def test_bad_rows(line, words, tmp_path):
    path = tmp_path / "own.toml"
    path.write_text(f'[hardware.Mine]\nbase = "H800"\nsource = "own"\n{line}\n')
    with pytest.raises(dsjax.InputError) as error:
        grid.load(SEVEN_CHIPS, axes={"hardware": ["Mine"]}, catalogs=[path])
    for word in (f"{path}: ", "[hardware.Mine]", "expected", *words.split()):
        assert word in str(error.value), str(error.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[hardware.Mine]\nsource = "own"\nbase = []\n', f"base '[]' expected one of {len(ROWS['hardware'])}"),
        ('[hardware.Mine]\nsource = "own"\nbase = {}\n', "[hardware.Mine] base '{}'"),
        ('[curve.Mine]\nsource = "own"\nform = {}\n', "[curve.Mine] form '{}' expected one of"),
        ('[curve.Mine]\nsource = "own"\n', "[curve.Mine] form 'None' expected one of"),
        ('[nic.Mine]\nbase = "CX7"\nsource = 3\n', "[nic.Mine] source 3 text that names the source"),
        ("[nic.Mine]\nscale_out_bytes_per_s = 1e9\n", "[nic.Mine] missing scale_out_step_s source"),
    ],
)
def test_bad_bases_forms_and_sources(text, words, tmp_path):
    (record,) = (name for name in reader.KINDS if f"[{name}." in text)
    with pytest.raises(dsjax.InputError) as error:
        load(text, tmp_path)[record]["Mine"]
    for word in words.split():
        assert word in str(error.value), str(error.value)


def test_words_of_a_source_say_nothing_of_its_kind(tmp_path):
    text = '[nic.Mine]\nbase = "CX7"\nsource = "assumed, effective: stands for nothing, fitted"\n'
    text += "scale_out_bytes_per_s = 1e9\n"
    row = load(text, tmp_path)["nic"]["Mine"]
    assert entry(row, "scale_out_bytes_per_s")[0] == "published"
    assert explain.said(sources.of_field(row, "exchange_start_s")).startswith("of CX7: deepep_ll.csv")
