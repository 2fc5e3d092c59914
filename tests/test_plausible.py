"""Numbers that are likely slips: what is said of them, and that nothing is said of what is usual."""

import itertools
import json
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from console import command as run

import dsjax
from dsjax import templates
from dsjax.catalog import configs, reader
from dsjax.commands import common
from dsjax.errors import InputError
from dsjax.space import grid, plausible, restoring
from dsjax.specs.fields import fields_of

ROOT = Path(__file__).parents[1]
ONE = {"hardware": "H800", "nic": "CX7", "tp": 1, "ep": 16, "batch": 16, "precision": "fp8-kv8", "mtp": 0}
ONE |= {"pipeline": "naive"}
NIC, H800 = "nic.CX7.scale_out_bytes_per_s", "hardware.H800"
LARGEST = "times the largest known"
SLIPS = {  # (what is given): what is said of it
    (NIC, "400 GB/s"): "= 400 GB/s is 8 times 400 Gbit/s of CX7: bytes for bits?",
    (NIC, "400"): "= 400 B/s is what a number without a unit means: 400 Gbit/s?",
    (NIC, 400): "= 400 B/s is what a number without a unit means: 400 Gbit/s?",
    (NIC, "50"): "= 50 B/s is what a number without a unit means: 50 GB/s or 50 Gbit/s?",
    (NIC, "50 mB/s"): "= 50 mB/s is less than one B/s: m is milli, M is mega",
    (NIC, "50 TB/s"): f"= 50 TB/s is 167 {LARGEST}: 50 GB/s?",
    (NIC, "50 MB/s"): "= 50 MB/s is 0.016 of the smallest known: 50 GB/s?",
    ("nic.CX7.scale_out_utilisation", 0.0085): "= 0.0085 is below 1 %; a share of 85 % is 0.85",
    ("nic.CX7.scale_out_step_s", 5): "= 5 s is 3.57e+05 times the largest known: 5 us?",
    (
        f"{H800}.bf16_flops_per_s",
        "1979 TFLOP/s",
    ): "= 1.979 PFLOP/s is twice 989 TFLOP/s of H800: the rate with",
    (f"{H800}.fp8_flops_per_s", "500 TFLOP/s"): "= 500 TFLOP/s is below bf16_flops_per_s, 989 TFLOP/s",
    (f"{H800}.bf16_flops_per_s", 989): "= 989 FLOP/s is what a number without a unit means: 989 TFLOP/s?",
    (f"{H800}.hbm_bytes_per_s", "3350 TB/s"): f"= 3.35 PB/s is 144 {LARGEST}: 3.35 TB/s?",
    (f"{H800}.hbm_bytes", "80 TB"): f"= 80 TB is 185 {LARGEST}: 80 GB?",
    (f"{H800}.scale_up_domain", 7.5): "= 7.5 is not a whole number",
    (f"{H800}.scale_up_domain", 9217): "= 9,217 is beyond the largest known, 9,216 of TPU-v7",
    (f"{H800}.scale_up_bytes_per_s", "400 GB/s"): "= 400 GB/s is twice 200 GB/s of H800: both ways, for one way?",
    (f"{H800}.scale_up_utilisation", 0.0099): "= 0.0099 is below 1 %",
    (f"{H800}.usd_per_hour", 200): f"= 200 USD/h is 40 {LARGEST}, 5 USD/h of GB300",
    (f"{H800}.usd_per_hour", 0.002): "= 0.002 USD/h is 0.00167 times the smallest known, 1.2 USD/h of TPU-v5e",
    (f"{H800}.watts", 7): "= 7 W is 0.0972 times the smallest known, 72 W of L4",
    (f"{H800}.step_s", 5): "= 5 s is a long host time",
    ("precision.fp8-kv8.kv_bytes", 1e-9): "= 1e-09 B is less than a bit an element",
    ("precision.fp8-kv8.kv_bytes", 8): "= 8 B is many bytes an element: bits?",
    ("context", 0.5): "= 0.5 tokens is less than one token",
    ("context", 163841): "= 163,841 tokens is beyond the 163,840 positions that DeepSeek-V3 was made for",
    ("software_factor", 1e-20): "= 1e-20 is a factor on the time of a step, and far from 1",
    ("memory_reserve", 0.9): "= 0.9 is the share of the memory kept free, not the share used",
    ("expert_imbalance", 21): "= 21 is the busiest card over the mean",
    ("nic_scale_out_bytes_per_s", "400 GB/s"): "= 400 GB/s is 8 times 400 Gbit/s of CX7: bytes for bits?",
    ("hardware_scale_up_domain", 7.5): "= 7.5 is not a whole number",
}
SERVED = {
    ("isl", 0.5): "less than one token",
    ("isl_cv", 5): "more than three times the mean",
    ("osl", 0.5): "than one",
}
USUAL = [  # the same numbers, as they are meant, and the ends of what is usual
    (NIC, "400 Gbit/s"),
    (NIC, "100 GB/s"),
    (NIC, 3e12),
    (NIC, 3.125e8),
    (f"{H800}.bf16_flops_per_s", "989 TFLOP/s"),
    (f"{H800}.fp8_flops_per_s", 0),
    (f"{H800}.hbm_bytes", 4.32e12),
    (f"{H800}.scale_up_domain", 9216),
    (f"{H800}.scale_up_utilisation", 0.01),
    (f"{H800}.usd_per_hour", 50),
    (f"{H800}.usd_per_hour", 0.12),
    (f"{H800}.watts", 7.2),
    (f"{H800}.all_reduce_start_s", 0),
    ("precision.fp8-kv8.kv_bytes", 0.125),
    ("precision.fp8-kv8.kv_bytes", 4),
    ("context", 1),
    ("context", 163840),
    ("software_factor", 0.5),
    ("software_factor", 5),
    ("memory_reserve", 0.5),
    ("expert_imbalance", 0),
]


def options(name, value):
    """A number as an option of `grid.load`."""
    return {"settings" if "." in name else "fixed": {name: value}}


def space_of(name, value, of="default"):
    given = options(name, value)
    return grid.load(of, **given | ({"fixed": ONE | given.get("fixed", {})} if of == "default" else {}))


@pytest.mark.parametrize(("given", "said"), SLIPS.items(), ids=str)
def test_a_slip_is_told_and_answered(given, said):
    space = space_of(*given)
    (found,) = plausible.remarks(space)
    assert found.startswith(f"{given[0]} {said}")
    ds = dsjax.sweep("default", fixed=ONE | options(*given).get("fixed", {}), settings=options(*given).get("settings"))
    assert ds.attrs["remarks"] == found
    assert np.isfinite(ds["step_time"]).all()


@pytest.mark.parametrize(("given", "said"), SERVED.items(), ids=str)
def test_slips_of_requests(given, said):
    (found,) = plausible.remarks(space_of(*given, of="serve"))
    assert found.startswith(f"{given[0]} = ") and said in found


@pytest.mark.parametrize(
    ("limit", "value", "said"),
    [
        ("max_tpot_p90", 40.0, "max_tpot_p90 = 40 s is a second or more for a token: ms?"),
        ("max_itl_p99", 1e-5, "max_itl_p99 = 10 us is less than 0.1 ms a token"),
        ("max_ttft", 2000.0, "max_ttft = 2 ks is more than ten minutes: ms?"),
        ("max_latency_mean", 1e-4, "max_latency_mean = 100 us is less than a millisecond"),
        ("max_tpot_p90", 0.04, ""),
        ("max_ttft_p99", 600.0, ""),
        ("min_tps_per_user", 40.0, ""),
        ("max_max_batch", 4000, ""),
    ],
)
def test_limits_in_another_unit(limit, value, said):
    found = plausible.remarks(grid.load("serve", limits={limit: value}))
    assert found == ([said] if said else [])


@pytest.mark.parametrize("name", ["prefill_instances", "decode_instances", "max_batch", "requests_per_user"])
def test_a_part_of_an_instance_or_of_a_sequence_is_told(name):
    of = "serve" if name == "requests_per_user" else "disaggregated"
    (found,) = plausible.remarks(grid.load(of, fixed={name: 1.5}))
    assert found.replace(" sequences", "") == f"{name} = 1.5 is not a whole number"
    assert plausible.remarks(grid.load(of, fixed={name: 2})) == []


@pytest.mark.parametrize("given", USUAL, ids=str)
def test_what_is_usual_and_the_ends_of_it(given):
    assert plausible.remarks(space_of(*given)) == []


def test_lengths_of_a_prompt_and_its_answer_count_together():
    space = grid.load("serve", axes={"isl": [4096, 100_000]}, fixed={"osl": 63_841})
    assert plausible.remarks(space) == [
        "isl + osl = 163,841 tokens is beyond the 163,840 positions that DeepSeek-R1 was made for"
    ]


HALF = """
    [hardware.Half]
    base = "B200"
    source = "own"
    bf16_flops_per_s = "1125 TFLOP/s"
    fp8_flops_per_s = "2250 TFLOP/s"
"""


def test_rates_that_a_row_keeps_beside_others_are_named(tmp_path):
    (tmp_path / "own.toml").write_text(HALF)
    of = {"fixed": ONE | {"hardware": "Half"}, "catalogs": [str(tmp_path / "own.toml")]}
    said = "hardware.Half: bf16_flops_per_s, fp8_flops_per_s changed, beside them {} kept of B200"
    assert plausible.remarks(grid.load("default", **of)) == []  # no precision of the space computes at another rate
    of["fixed"] = of["fixed"] | {"precision": "nvfp4-kv8"}
    assert plausible.remarks(grid.load("default", **of)) == [said.format("fp4_flops_per_s 9 PFLOP/s")]
    del of["fixed"]["precision"]
    (found,) = plausible.remarks(grid.load("default", axes={"precision": ["w8a8", "fp4", "bf16"]}, **of))
    assert found == said.format("int8_flops_per_s 4.5 PFLOP/s, fp4_flops_per_s 9 PFLOP/s")
    set_ = {"hardware.H800.fp8_flops_per_s": "1 PFLOP/s"}
    (found,) = plausible.remarks(grid.load("default", fixed=ONE, settings=set_))
    assert found == "hardware.H800: fp8_flops_per_s changed, beside them bf16_flops_per_s 989 TFLOP/s kept of H800"
    for other in ("0", "1979 TFLOP/s", "500 TFLOP/s"):  # none, as it is, and what is remarked otherwise
        lines = plausible.remarks(grid.load("default", fixed=ONE, settings=dict.fromkeys(set_, other)))
        assert not any("kept of" in line for line in lines)


def test_pools_have_names_of_their_own():
    space = grid.load("disaggregated", settings={"decode_hardware.H20.hbm_bytes": "96 TB"})
    (found,) = plausible.remarks(space)
    assert found.startswith("decode_hardware.H20.hbm_bytes = 96 TB")
    both = {f"{pool}_nic.CX7.scale_out_bytes_per_s": "400 GB/s" for pool in ("prefill", "decode", "transfer")}
    (found,) = plausible.remarks(grid.load("disaggregated", settings=both))
    assert found == f"{NIC} = 400 GB/s is 8 times 400 Gbit/s of CX7: bytes for bits?"


@pytest.mark.parametrize("name", sorted(path.stem for path in grid.folder().glob("*.toml")))
def test_grids_of_dsjax_have_none(name):
    assert plausible.remarks(grid.load(name)) == []


@pytest.mark.parametrize("phase", templates.OF["grid"])
def test_templates_have_none(phase, tmp_path):
    path = tmp_path / "grid.toml"
    text = templates.text("grid", phase)
    for own in (text, re.sub(r"^# (?=[\w.-]+ = )(?!slo_margin)", "", text, flags=re.MULTILINE)):
        path.write_text(own)
        assert plausible.remarks(grid.load(path)) == []


@pytest.mark.parametrize("name", ["default", "decode_gpu_2025", "sg2260e"])
def test_rows_of_dsjax_have_none(name):
    """Every row as if it was a user's: no rule is about what the catalog has."""
    space = grid.load(name)
    shipped = plausible._shipped(space.study.name)
    looked_at = 0
    for record, cls in space.study.records.items():
        for label, row in shipped[record].items():
            for field, meta in fields_of(cls).items():
                number = plausible.Given("x", record, field, row[field], meta["units"], "mine", row)
                assert plausible._of_number(number, shipped) == "", (record, label, field)
                looked_at += 1
            for kind, narrow, wide in plausible.ORDER:
                assert kind != record or not 0.0 < row.get(narrow, 0.0) < row[wide], (label, narrow)
    assert looked_at > 20


def commands():
    """[(words of a command)] of README, docs and help that change numbers."""
    texts = [ROOT / "README.md", *ROOT.glob("docs/**/*.md"), *ROOT.glob("dsjax/commands/**/*.py")]
    lines = {line.strip() for path in texts for line in path.read_text(encoding="utf-8").splitlines()}
    for line in sorted(lines):
        if line.startswith("dsjax ") and re.search(r"--(set|fix|axis)\b", line):
            yield line.partition(" > ")[0].partition("#")[0]


@pytest.mark.parametrize("line", list(commands()))
def test_examples_of_the_documents_have_none(line):
    """What they set, fix and vary, on the grid that they name, or on one that has it."""
    words = shlex.split(line)
    given = {"--axis": {}, "--fix": {}, "--set": {}}
    for option, text in itertools.pairwise(words):
        if option in given:
            name, _, value = text.partition("=")
            given[option][name] = value
    named = [word for word in words[2:] if word in {path.stem for path in grid.folder().glob("*.toml")}]
    for name in named or ("default", "serve", "disaggregated", "prefill"):
        try:
            axes = {axis: common._values(axis, text) for axis, text in given["--axis"].items()}
            space = grid.load(name, axes=axes, fixed=given["--fix"], settings=given["--set"])
        except InputError:  # of another grid, or of rows that the reader has to write first
            continue
        assert plausible.remarks(space) == []


CATALOG = """
[hardware.Mine]
base = "H800"
source = "a data sheet"
bf16_flops_per_s = "1979 TFLOP/s"
fp8_flops_per_s = "3958 TFLOP/s"
[nic.Fast]
base = "CX7"
source = "a data sheet"
scale_out_bytes_per_s = "400 GB/s"
[precision.mine]
base = "fp8-kv8"
source = "a guess"
kv_bytes = 8
"""


def test_rows_of_ones_own(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(CATALOG)
    fixed = ONE | {"hardware": "Mine", "nic": "Fast", "precision": "mine"}
    found = plausible.remarks(grid.load("default", fixed=fixed, catalogs=[path]))
    names = ["hardware.Mine.bf16_flops_per_s", "hardware.Mine.fp8_flops_per_s", "nic.Fast.scale_out_bytes_per_s"]
    assert sorted(line.partition(" = ")[0] for line in found) == [*names, "precision.mine.kv_bytes"]
    assert plausible.remarks(grid.load("default", fixed=ONE, catalogs=[path])) == []  # those that are in use


def test_sizes_of_a_config(tmp_path):
    config = json.loads((reader.DATA / "models" / "Llama-3.2-1B.json").read_text())
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config))
    changes = {"model": str(path), "precision": "bf16", "context": 2048}
    assert plausible.remarks(grid.load("default", fixed=ONE | {"ep": 1} | changes)) == []
    path.write_text(json.dumps(config | {"vocab_size": 128_256_000}))
    (found,) = plausible.remarks(grid.load("default", fixed=ONE | {"ep": 1} | changes))
    assert found == f"model.{path}.vocab_size = 128,256,000 is 489 times the largest known, 262,208 of Gemma-3-27B"


def test_numbers_at_random_are_read_or_refused():
    """Whatever dsjax takes, what is said of it is a text of one line."""
    random = np.random.default_rng(11)
    space = grid.load("default", fixed=ONE)
    names = [
        f"{record}.{field}"
        for record in ("hardware", "nic", "precision", "engine", "model")
        for field in fields_of(space.study.records[record])
    ]
    told = 0
    for _ in range(300):
        name, value = str(random.choice(names)), float(10.0 ** random.uniform(-30, 30) * random.integers(0, 2))
        try:
            found = plausible.remarks(grid.load("default", fixed=ONE, settings={name: value}))
        except InputError:
            continue
        assert all("\n" not in line and " = " in line for line in found)
        told += bool(found)
    assert told > 30


SET = ["--set", f"{NIC}=400 GB/s", "--set", f"{H800}.hbm_bytes=80 TB", "--set", f"{H800}.watts=7"]
SET += ["--fix", "memory_reserve=0.9"]
SMALL = [word for name, value in ONE.items() if name != "batch" for word in ("--fix", f"{name}={value}")]
SMALL += ["--axis", "batch=16,32"]
ASKED = {
    "sweep": [],
    "best": [],
    "pareto": [],
    "histogram": [],
    "explain": [],
    "sensitivity": [],
    "solve": ["--vary", "context", "--until", "tps_per_user >= 30"],
    "uncertainty": ["--error", "nic=10%", "--samples", "16"],
}


@pytest.mark.parametrize("command", ASKED)
def test_commands_tell_three_and_count(command):
    words = [command, *ASKED[command], *SMALL, *SET]
    told = run(*words)
    assert told.count("hardware.H800.hbm_bytes = 80 TB is 185 times the largest known: 80 GB?") == 1
    assert "and 1 more such remarks (-v tells them)" in told
    everything = run(*words, "-v")
    assert "more such remarks" not in everything
    assert everything.count("is 8 times 400 Gbit/s of CX7: bytes for bits?") == 1
    assert "times the largest known" not in run(*words, "--quiet")
    assert len(json.loads(run(*words, "--format", "json"))["remarks"]) == 4


TOLD = "hardware.H20.hbm_bytes = 96 TB is 222 times the largest known: 96 GB?"
MORE = ["--set", "hardware.H20.hbm_bytes=96 TB"]
LENGTHS = ["--isl", "4096", "--osl", "1024"]
OTHERS = {
    "plan": ["--model", "Qwen3-4B", "--chips", "1", "--no-disaggregated", "--fix", "pipeline=naive", *LENGTHS, *MORE],
    "recommend": ["--requests-per-s", "1", "--axis", "hardware=H20", "--fix", "nic=CX7", *LENGTHS, *MORE],
    "compare": ["--fix", "hardware=H20", "--fix", "nic=CX7", "--set-b", MORE[1]],
    "explain": ["serve", *(f"--fix={x}" for x in ("precision=fp8", "hardware=H20", "tp=8", "concurrency=8")), *MORE],
}


@pytest.mark.parametrize("command", OTHERS)
def test_other_answers_tell_them(command):
    assert run(command, *OTHERS[command]).count(TOLD) == 1
    assert json.loads(run(command, *OTHERS[command], "--format", "json"))["remarks"] == [TOLD]


def test_a_file_and_a_report_tell_them(tmp_path):
    path = tmp_path / "x.nc"
    run("sweep", *SMALL, "--set", f"{NIC}=400 GB/s", "-o", str(path))
    (said,) = plausible.remarks(space_of(NIC, "400 GB/s"))
    with xr.open_dataset(path) as ds:
        assert ds.attrs["remarks"] == said
    assert said in run("best", str(path))
    assert said in dsjax.report(str(path))


def test_results_open_no_path_that_they_name(tmp_path, monkeypatch):
    """Who sends a file of results chooses the names in it: reading it opens nothing else."""
    path = tmp_path / "own.json"
    shutil.copy(reader.DATA / "models" / "DeepSeek-V3.json", path)
    space = grid.load("default", fixed={"model": str(path), "context": 400_000})
    assert any("positions that" in line for line in plausible.remarks(space))
    opened = []
    monkeypatch.setattr(configs.texts, "read", lambda of, *args: opened.append(of))
    for name in (str(path), "../own.json", "../../own"):
        text = space.to_json().replace(json.dumps(str(path)), json.dumps(name))
        plausible.remarks(restoring.space(text))
    assert not opened
