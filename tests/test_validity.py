"""Percentiles outside of the range in which they are held against simulations: marked, each for its reason."""

import json

import numpy as np
import pytest
import xarray as xr
from console import command

import dsjax
from dsjax.commands import marks
from dsjax.serving.instances import validity
from dsjax.serving.server import lengths
from dsjax.specs.variables import OF_DISTRIBUTIONS, OUTSIDE, WORDED, reasons

LOAD, EQUAL, FULL, *JUMPS = OUTSIDE
LAYOUT = {"hardware": "H200", "nic": "CX7", "tp": 8, "chips": 8, "engine": "sglang", "precision": "fp8"}
FIXED = LAYOUT | {"isl": 2048, "osl": 64, "batching": "chunked"}


def given(axes, constraints=None, **fixed):
    fixed = {name: value for name, value in (FIXED | fixed).items() if name not in axes}
    return {
        "model": "DeepSeek-R1",
        "phase": "serve",
        "axes": axes,
        "fixed": fixed,
        "constraints": constraints or {},
    }


def found(ds):
    """Reasons of every point, without those of gaps."""
    return [{*reasons(x)} - {*JUMPS} for x in ds["outside_validity"].values.ravel()]


def test_a_high_load():
    ds = dsjax.sweep(given({"requests_per_s": [0.5, 8.0, 14.4]}))
    assert ((ds["utilisation"] > 0.85).values.tolist()) == [False, False, True]
    assert found(ds)[:2] == [set(), set()] and LOAD in found(ds)[2]
    assert bool(ds["feasible"][1])  # nothing is refused for it


@pytest.mark.parametrize("batching", ["prefill-first", "chunked"])
def test_users_whose_outputs_are_equal(batching):
    ds = dsjax.sweep(given({"osl_cv": [0.0, 1e-4, 0.1], "concurrency": [1, 16]}, batching=batching))
    assert found(ds) == [set(), {EQUAL}, set(), {EQUAL}, set(), set()]  # one user has nobody to keep step with
    assert found(dsjax.sweep(given({"requests_per_s": [1.0]}, osl_cv=0.0))) == [set()]
    uniform = given({"concurrency": [16]}, osl_cv=0.0, length_law="uniform", batching=batching)
    assert found(dsjax.sweep(uniform)) == [set()]  # of 80 to 100 % of the nominal length


def test_a_server_full_of_sequences():
    ds = dsjax.sweep(given({"concurrency": [16, 20]}, max_batch=17, osl=512, batching="prefill-first"))
    assert found(ds) == [set(), {FULL}]
    ds = dsjax.sweep(given({"requests_per_s": [0.5, 1.5]}, max_batch=24, osl=512, batching="prefill-first"))
    assert found(ds) == [set(), {FULL}]
    assert float(ds["utilisation"][1]) < 0.85


def test_pools():
    def swept(axes, **fixed):
        pools = {"prefill": LAYOUT, "decode": LAYOUT}
        fixed = {"isl": 2048, "osl": 64, "transfer_nic": "CX7"} | fixed
        return dsjax.sweep(given(axes) | {"phase": "disaggregated", "fixed": fixed} | pools)

    ds = swept({"requests_per_s": [1.0, 15.0]})
    assert found(ds)[0] == set() and LOAD in found(ds)[1]
    assert found(swept({"concurrency": [16], "osl_cv": [0.0, 0.5]})) == [{EQUAL}, set()]
    ds = swept({"concurrency": [8, 64]}, max_batch=16, osl=512)
    assert found(ds) == [set(), {FULL}]
    free = swept({"requests_per_s": [1.0]}, transfer_nic_scale_out_bytes_per_s=1e9)
    slow = 1e9 * float(free["transfer_share"][0]) / 0.9
    ds = swept({"requests_per_s": [1.0]}, transfer_nic_scale_out_bytes_per_s=slow)
    assert found(free) == [set()]
    assert float(ds["transfer_share"][0]) > 0.85 and ds["ok_stable"].item() and found(ds) == [{LOAD}]


def test_gaps_at_the_jump_to_those_with_prompts():
    mixed = np.array([1e-4, 0.008, 0.02, 0.09, 0.2, 0.6, 0.9])
    at = validity.outside(0.0 * mixed, 0.0 * mixed, mixed)
    p50, p90, p99 = JUMPS
    assert [reasons(x) for x in at] == [[], [p99], [], [p90], [], [p50], []]


def test_bits_of_several_reasons():
    one = np.ones(1)
    sizes = lengths.lengths(lengths.Load(*(np.array([x]) for x in (100.0, 50.0, 0.0, 0.0))))
    everything = validity.outside(0.9 * one, 0.5 * one, 0.1 * one, sizes, 2.0 * one)
    assert reasons(everything[0]) == [LOAD, EQUAL, FULL, JUMPS[1]]
    assert WORDED["outside_validity"][int(everything[0])] == " ".join([LOAD, EQUAL, FULL, JUMPS[1]])


def test_a_file_says_why(tmp_path):
    path = tmp_path / "s.nc"
    ds = dsjax.sweep(given({"requests_per_s": [0.5, 14.4]}), output=path)
    file = xr.open_dataset(path)
    names = dict(zip(file["outside_validity"].flag_meanings.split(), file["outside_validity"].flag_masks, strict=True))
    assert list(names) == list(OUTSIDE)
    assert (file["outside_validity"].values & names[LOAD] > 0).tolist() == [False, True]
    assert file["outside_validity"].dtype == np.int8 and ds["outside_validity"].attrs["long_name"]
    cut = dsjax.best(ds.where(ds["requests_per_s"] > 1.0))
    assert int(cut["outside_validity"][0]) == int(ds["outside_validity"][1])


@pytest.mark.parametrize("names", [{"tps_per_user"}, {"ttft_mean"}, {"ttft_p90"}, {"goodput"}])
def test_only_rows_about_percentiles_are_marked(names):
    about = bool(names & {*OF_DISTRIBUTIONS})
    assert marks.column([0, 1], names) == (["", marks.MARK] if about else None)
    assert len(marks.remarks([0, 1, 5], names)) == 2 * about
    assert marks.remarks([0], names) == []


def test_jumps_concern_their_own_percentile():
    (value,) = [1 << i for i, name in enumerate(OUTSIDE) if name == "itl_p90_at_jump"]
    assert marks.of(value, {"ttft_p90", "itl_p99"}) == []
    (line,) = marks.remarks([value], {"itl_p90"})
    assert line.startswith(f"{marks.MARK} itl_p90 not to be trusted: ")


def test_tables_mark_rows(tmp_path):
    def file(name, constraints):
        lines = ['model = "DeepSeek-R1"', 'phase = "serve"', "[axes]", "requests_per_s = [3.0, 14.4]", "[fixed]"]
        lines += [f"{key} = {json.dumps(value)}" for key, value in FIXED.items()]
        lines += ["[constraints]", *(f"{key} = {value}" for key, value in constraints.items())]
        path = tmp_path / name
        path.write_text("\n".join(lines), "utf-8")
        return path

    why = f"not to be trusted: {OUTSIDE[LOAD][0]}"
    limited, free = file("limited.toml", {"max_ttft_p90": 30}), file("free.toml", {})
    for of in (("sweep",), ("best", "--by", "", "--top", 2), ("pareto",)):
        text = command(*of, limited)
        assert text.count(why) == 1 and sum(line.endswith(f" {marks.MARK}") for line in text.splitlines()) == 1
        assert why not in command(*of, free)
    assert why in command("pareto", free, "--x", "itl_p99") and why in command("best", free, "--objective", "goodput")
    (row,) = json.loads(command("best", limited, "--format", "json"))["rows"]
    assert LOAD in row["outside_validity"].split()
    explained = command("explain", free, "--at", "requests_per_s=14.4")
    assert f"Percentiles{marks.MARK}:" in explained and why in explained
    assert "Percentiles:" in command("explain", free, "--at", "requests_per_s=3")
    solved = command("solve", limited, "--vary", "osl", "--until", "feasible", "--at", "requests_per_s=14.4")
    assert why in solved
    assert why not in command("solve", free, "--vary", "osl", "--until", "tpot <= 10", "--at", "requests_per_s=14.4")


def test_fleets_are_marked():
    pool = {name: [value] for name, value in LAYOUT.items() if name in ("hardware", "nic")}
    grid = {
        "model": "DeepSeek-R1",
        "phase": "serve",
        "axes": pool | {"tp": [8]},
        "fixed": {name: value for name, value in FIXED.items() if name not in (*pool, "tp", "isl", "osl")},
    }
    loads = {}
    for limit in (0.25, 60.0):
        asked = {"requests_per_s": 14.4, "isl": 2048, "osl": 64, "max_ttft": limit, "percentile": 50}
        ds = dsjax.fleets(grid, **asked)
        loads[float(ds["decode_load"][0])] = ds["outside_validity"].values[0].split()
    assert len(loads) == 2
    assert all((LOAD in why) == (load > 0.85) for load, why in loads.items())
