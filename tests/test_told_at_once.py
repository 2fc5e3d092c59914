"""What is wrong with a row, a grid or a system is told in one line, all of it, as far as 300 characters go."""

import re

import pytest

import dsjax
from dsjax.catalog import reader
from dsjax.errors import LONGEST, Faults, InputError
from dsjax.specs import fields, records
from dsjax.validation import systems

REQUIRED = [name for name, meta in fields.fields_of(records.Nic).items() if not {"default", "like"} & meta.keys()]


def line_of(call, *args, **given):
    with pytest.raises(InputError) as error:
        call(*args, **given)
    text = str(error.value)
    assert len(text) <= LONGEST == 300 and "\n" not in text
    return text


def row_of(**row):
    return reader.load(records.RECORDS, ({"nic": {"Mine": row}}, "my.toml"))["nic"]["Mine"]


def test_a_row_of_nothing_names_every_field():
    line = line_of(row_of)
    assert line.startswith("my.toml: [nic.Mine]: missing ") and line.endswith("; expected every field of nic")
    assert all(name in line for name in [*REQUIRED, "source"])


def test_a_row_with_several_faults():
    line = line_of(row_of, source="a note", scale_out_bytes_per_s="fast", scale_out_utilisaton=0.9, kind="heard")
    assert line == (
        "my.toml: [nic.Mine]: unknown key 'scale_out_utilisaton' (did you mean 'scale_out_utilisation'?); "
        "scale_out_bytes_per_s: 'fast' is not a number (expected a number [B/s]); "
        "kind: unknown kind 'heard' (did you mean 'measured'?); missing scale_out_step_s, scale_out_utilisation"
    )


def test_one_fault_is_told_in_its_own_words():
    line = line_of(row_of, base="CX7", source="a note", scale_out_step_s="-1 s")
    assert line == "my.toml: [nic.Mine] scale_out_step_s: '-1 s' is out of range; expected a number of at least 0 [s]"


def test_a_base_that_is_not_there_hides_what_it_would_give():
    line = line_of(row_of, base="CX99", scale_out_step_s=0, colour="red")
    assert "unknown nic 'CX99'" in line and "unknown key 'colour'" in line and "missing" not in line


def test_what_goes_beyond_is_counted():
    keys = {f"{letter}_of_no_record": 1 for letter in "abcdefghijklmnopqrst"}
    line = line_of(row_of, **keys)
    said = len(re.findall("unknown key", line))
    assert int(line.rpartition(" and ")[2].removesuffix(" more")) == len(keys) + len(REQUIRED) + 1 - said
    assert said >= 5


GRID = {
    "colour": 1,
    "title": 3,
    "axes": {"hardware": ["H80"], "ep": [0], "mttp": [2]},
    "fixed": {"context": "long"},
    "constraints": {"min_tps_per_user": "fast", "min_tpss": 3, "max_ep": 8},
    "objective": {"maximise": "tpot"},
}


def test_a_grid():
    faults = {"unknown key 'colour'", "title: 3", "unknown axis 'mttp'", "'H80'", "ep: 0", "'long'"}
    line = line_of(dsjax.sweep, GRID)
    assert all(text in line for text in faults)
    assert line.endswith(" and 4 more")  # nic, batch, 'min_tpss', 'maximise'
    few = {key: GRID[key] for key in ("constraints",)} | {"axes": {"hardware": ["H80"], "tp": [8]}}
    line = line_of(dsjax.sweep, few)
    assert line.endswith("missing nic, context (or isl and osl), ep (or chips), batch (or concurrency)")
    assert "'min_tpss'" in line and "'fast'" in line and "max_ep" not in line


def test_a_wrong_phase_hides_what_it_would_need():
    line = line_of(dsjax.sweep, {"phase": "decoding", "axes": {"hardware": ["H800"], "tp": ["x"]}})
    assert "'decoding'" in line and "'x'" in line and "missing nic" in line and "batch" not in line


def test_a_system(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(
        '[[study]]\nid = "A"\n[[study.system]]\nid = "A1"\nmetric = "decoding"\nchips = 1.5\nbach = 3\nvalue = 3\n'
        'model = "DeepSeek-V3"\n'
    )
    line = line_of(systems.read, path).removeprefix(f"{path}: ")
    assert line == (
        "A1: unknown key 'bach' (did you mean 'batch'?); metric: unknown metric 'decoding' (did you mean 'decode'?); "
        "chips: 1.5 is not an integer (expected an integer of at least 1); missing date, source, hardware, precision"
    )


def test_contradictions_of_a_system_are_told_together(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(
        '[[study]]\nid = "A"\ndate = "2026"\nsource = "a log"\n[[study.system]]\nid = "A1"\nmetric = "tpot"\n'
        'chips = 8\nvalue = "3 GB"\nmodel = "DeepSeek-V3"\nhardware = "H800"\nprecision = "fp8"\n'
        "ep = 3\ncontext = 3\nisl = 3\n"
    )
    line = line_of(systems.read, path)
    assert all(f"{key}: " in line for key in ("ep", "context", "concurrency", "value"))


def test_no_fault_is_none():
    faults = Faults("here")
    faults.lacks([], "anything")
    assert not faults
    faults.tell()


def test_rows_that_take_from_each_other_are_told_so():
    rows = {"A": {"base": "B", "source": "a note"}, "B": {"base": "A", "source": "a note"}}
    with pytest.raises(InputError, match=r"\[nic.A\] base: 'A' takes its numbers from this row; expected a row"):
        reader.load(reader.RECORDS, ({"nic": rows}, "my.toml"))["nic"]["A"]
