"""On which hardware each kernel of a curve was measured: lists of rows, `on`, what is assumed, what a space runs."""

import pytest
from test_explain import CORE

import dsjax
from dsjax.catalog import reader
from dsjax.space import grid, provenance
from dsjax.specs import records
from dsjax.sweeps import sweep

OWN = """
    [curve.Family]
    base = "kernel-assumed"
    source = "own measurements"
    kind = "fitted"
    fitted = ["H100"]
    siblings = ["H800"]
    gemm_start_s = "3 us"
    gemm8_compute = 0.6
    gemm8_start_s = "3 us"
    expert8_start_s = "7 us"
    attention_start_s = "9 us"
    attention8_start_s = "9 us"
    [curve.Family.sources]
    expert8_start_s = { on = ["H200"], text = "of a friend" }
    attention8_start_s = { kind = "assumed", text = "as at 16 bit" }
    gemm8_compute = { kind = "assumed", text = "what nothing waits for" }
    [curve.Engine]
    base = "Family"
    source = "own measurements, one engine"
    kind = "fitted"
    fitted = ["H200"]
    gemm8_start_s = "2 us"
"""


def rows(tmp_path, text=OWN):
    path = tmp_path / "own.toml"
    path.write_text(text)
    return reader.load(records.RECORDS, *reader.users([path]))["curve"]


def test_a_kernel_is_measured_where_the_row_that_gives_its_start_says(tmp_path):
    found = rows(tmp_path)
    family, engine = found["Family"], found["Engine"]
    assert (family["fitted"], family["siblings"]) == (["H100"], ["H800"])
    assert "gemm8" not in family["kernels"]  # as the row's own lists: its start tells, not its share
    assert family["kernels"]["expert8"] == [["H200"], ["H100", "H800"]]
    for kernel in ("attention8", "prefill", "gqa", "pointwise", "scan"):  # assumed, of the base, left out
        assert family["kernels"][kernel] == [[], []], kernel
    assert "gemm8" not in engine["kernels"] and engine["kernels"]["gemm"] == [["H100"], ["H800"]]
    assert engine["kernels"]["expert8"] == [["H200"], ["H100", "H800"]]


def space(tmp_path, hardware="H100", **changes):
    path = tmp_path / "own.toml"
    path.write_text(OWN)
    given = CORE | {"fixed": CORE["fixed"] | {"hardware": hardware, "curve": "Family"} | changes}
    return grid.load(
        given | {"axes": {x: v for x, v in CORE["axes"].items() if x not in given["fixed"]}}, catalogs=[path]
    )


def test_a_space_says_which_of_its_kernels_were_measured(tmp_path):
    found = provenance.by_kernel(space(tmp_path), "Family", "H100")
    assert found == {"gemm": "fitted", "gemm8": "fitted", "attention": "fitted", "expert8": "sibling"}
    line = "kernel times by curve Family: fitted to H100 (+-8 %), but for expert8 to siblings (+-15 %)"
    assert provenance.remark(space(tmp_path)) == line
    narrow = provenance.by_kernel(space(tmp_path, precision="fp8-kv8"), "Family", "H100")
    assert narrow["attention_cast"] == "assumed" and "attention" not in narrow
    other = provenance.remark(space(tmp_path, "MI300X"))
    assert other == "kernel times by curve Family: MI300X, not measured (+-30 %)"


def test_one_calibrated_kernel_does_not_measure_the_chip(tmp_path):
    """A row of `dsjax calibrate` has one kernel of its own; the rest of its numbers stay what their rows say."""
    own = """
        [curve.MI300X-gemm-fp8]
        base = "kernel-assumed"
        source = "fitted by dsjax"
        kind = "fitted"
        fitted = ["MI300X"]
        gemm8_start_s = "5 us"
    """
    assert rows(tmp_path, own)["MI300X-gemm-fp8"]["kernels"]["expert8"] == [[], []]
    path = tmp_path / "own.toml"
    fixed = CORE["fixed"] | {"hardware": "MI300X", "curve": "MI300X-gemm-fp8", "precision": "fp8"}
    axes = {x: v for x, v in CORE["axes"].items() if x not in fixed}
    line = provenance.remark(grid.load(CORE | {"fixed": fixed, "axes": axes}, catalogs=[path]))
    assert "MI300X, not measured (+-30 %), but for gemm8 fitted (+-8 %)" in line


@pytest.mark.parametrize("value", ['"H100"', "[1]"])
def test_bad_lists_are_named(tmp_path, value):
    text = OWN.replace('on = ["H200"]', f"on = {value}")
    with pytest.raises(dsjax.errors.InputError, match="expert8_start_s on: .* expected a list of hardware"):
        rows(tmp_path, text)["Family"]


def test_rows_of_the_catalog_name_chips_of_their_family():
    catalog = reader.load()
    for name, row in catalog["curve"].items():
        for kernel, lists in row.get("kernels", {}).items():
            for chip in (x for names in lists for x in names):
                family = catalog["hardware"][chip]["curve"]
                assert name == family or name.startswith(f"{family}-") or family in ("hopper", "blackwell"), (
                    name,
                    kernel,
                )


def test_two_pools_are_told_by_the_kernels_of_each():
    line = provenance.remark(grid.load("disaggregated"))
    assert line.startswith("kernel times by curve") and "hopper" in line


def test_kernels_of_two_pools_are_said_of_their_chips():
    pool = {"hardware": "H200", "tp": 8, "chips": 8, "nic": "CX7", "engine": "sglang"}
    both = {"prefill": pool | {"hardware": "H20"}, "decode": pool, "fixed": {"isl": 2048, "osl": 512}}
    both["fixed"] |= {"transfer_nic": "CX7", "requests_per_s": 1.0}
    found = grid.load({"phase": "disaggregated", "model": "DeepSeek-V3.2", "axes": {"decode_instances": [1]}} | both)
    chips = {chip: curve for (chip, _), (curve, _) in provenance.of_space(found).items()}
    assert {*chips} == {"H20", "H200"}
    kernels = {chip: set(provenance.by_kernel(found, curve, chip)) for chip, curve in chips.items()}
    assert "sparse_prefill" in kernels["H20"] and "sparse" in kernels["H200"] and "sparse" not in kernels["H20"]
    assert "H20, not measured" in provenance.remark(found)
    assert sweep.of_space(found).prefill_curve_basis == "assumed"
