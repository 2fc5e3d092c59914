"""One configuration in full: the same numbers as the sweep, and what they are made of."""

import contextlib
import csv
import io
import json

import numpy as np
import pytest

import dsjax
from dsjax import cli, evaluation, studies
from dsjax.commands.answers import explain_tables
from dsjax.search import point as points

B10 = {"nic": "one-layer", "tp": 4, "moe_tp": 1, "batch": 10}
CORE = {
    "model": "DeepSeek-V3",
    "axes": {"hardware": ["H800", "A100"], "tp": [1, 3, 16], "batch": [63, 64]},
    "fixed": {
        "nic": "CX7",
        "precision": "fp8",
        "ep": 144,
        "mtp": 1,
        "context": 4096,
        "software_factor": 1.2,
        "hardware_step_s": 1e-3,
        "pipeline": "dual-mbatch",
    },
    "constraints": {"min_tps_per_user": 20},
}
H800 = {"hardware": "H800", "tp": 1, "batch": 64}
PREFILL = {
    "study": "sg2260e",
    "axes": {"tp": [4, 8], "sp": [1, 2, 4], "prompts": [4, 5, 16], "chips": [16, 24], "ep": [16, 24]},
    "fixed": {"phase": "prefill", "nic": "one-layer", "pipeline": "tbo"},
    "constraints": {"max_ttft": 10},
}
B4 = {"tp": 4, "sp": 4, "prompts": 4, "chips": 16, "ep": 16}


@pytest.fixture(scope="module")
def b10():
    """The deployment that the SG2260E study recommends."""
    return dsjax.explain("sg2260e_decode_128", B10)


@pytest.fixture(scope="module")
def core():
    """Sweep of a few points of the core model."""
    return dsjax.sweep(CORE)


@pytest.fixture(scope="module")
def dual(core):
    """One of them."""
    return dsjax.explain(core, H800)


def command(*args, code=0):
    """What the command prints, on stdout and stderr together."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out), pytest.raises(SystemExit) as stop:
        cli.main(["explain", *map(str, args)], prog_name="dsjax")
    assert stop.value.code == code, out.getvalue()
    return out.getvalue()


def agrees(ds, sweep):
    """Every variable of the sweep is the same in the explanation of its point."""
    point = sweep.sel({axis: ds[axis].item() for axis in sweep.step_time.dims})
    for name in point.data_vars:
        expected = point[name].values
        assert ds[name].values == pytest.approx(expected, rel=1e-12, nan_ok=True), name
    assert ds.layers.values.tolist() == sweep.layers.values.tolist()


@pytest.mark.parametrize("at", [None, {"hardware": "L20", "batch": 128, "precision": "kv2-w2", "pipeline": "naive"}])
def test_same_as_the_sweep(study, at):
    ds = dsjax.explain(study, at)
    agrees(ds, study)
    assert bool(ds.feasible) is (at is None)


def test_same_as_the_sweep_of_the_core(core, dual):
    agrees(dual, core)
    space = json.loads(dual.attrs["dsjax_spec"])
    assert space["axes"] == {} and space["fixed"]["batch"] == 64


def test_default_is_the_best_point(study):
    ds, best = dsjax.explain(study), dsjax.best(study, by=()).isel(rank=0)
    assert all(ds[axis].item() == best[axis].item() for axis in study.step_time.dims)
    lines = explain_tables.as_dict(ds)["arithmetic"]
    total = "28.9284 tokens/s/user x 128 sequences = 3,702.83 tokens/s/chip x 320 chips = 1,184,906 tokens/s"
    assert lines[-1] == total and lines[0] == (
        "89.55 ms of blocks - 25.6 ms hidden by pipeline dual-mbatch = 63.95 ms per step"
    )


def test_cut_and_ranked_datasets(study):
    best = dsjax.best(study, by=["hardware"])
    a100 = dsjax.explain(study.sel(hardware="A100"))
    assert a100.hardware == "A100" and float(a100.tps_per_chip) == float(best.tps_per_chip[best.hardware == "A100"][0])
    assert dsjax.explain(best).hardware == best.hardware[0]
    assert dsjax.explain(best.isel(rank=1)).hardware == best.hardware[1]


def test_at_leaves_the_points_among_which_the_best_is_taken(core, study):
    best = dsjax.best(study, by=["hardware"])
    for i, name in enumerate(best.hardware.values):
        found, point = dsjax.explain(study, {"hardware": name}), best.isel(rank=i)
        assert bool(found.feasible) and all(found[axis].item() == point[axis].item() for axis in study.step_time.dims)
    # A100 has no fp8: nothing is feasible there, and the fewest constraints refuse.
    there = core.sel(hardware="A100")
    point = there.sel({k: v for k, v in points.best(core, at={"hardware": "A100"}).items() if k != "hardware"})
    masks = [name for name in there if name.startswith("ok_")]
    refusals = sum((~there[name]).astype(int) for name in masks)
    assert sum(not point[name] for name in masks) == int(refusals.min()) > 0
    fewest = there["tps_per_chip"].where(refusals == refusals.min())
    assert float(point["tps_per_chip"]) == float(fewest.max())


def test_sensitivity_at_some_values_is_of_the_best_point_there(study):
    found = dsjax.sensitivity(study, at={"hardware": "A100"}, wrt="nic.scale_out_bytes_per_s")
    best = study["tps_per_chip"].where(study["feasible"]).sel(hardware="A100").max()
    assert found["hardware"] == "A100" and bool(found["feasible"])
    assert float(found["tps_per_chip"]) == pytest.approx(float(best))


def test_time_adds_up(b10, core, dual):
    for ds in (b10, dual, dsjax.explain(core, H800 | {"tp": 16})):
        assert float(ds.block_time.sum() - ds.hidden_time) == pytest.approx(float(ds.time_of_pipeline), rel=1e-12)
        exposed = sum(ds[f"block_{limit}"] for limit in ("compute", "memory", "network", "latency"))
        assert exposed.values == pytest.approx(ds.block_time.values, rel=1e-12)
        assert float(ds.memory_part.sum()) == pytest.approx(float(ds.memory_per_chip), rel=1e-12)
        factor, host = (float(ds[n]) if n in ds else x for n, x in (("software_factor", 1.0), ("hardware_step_s", 0.0)))
        assert float(ds.step_time) == pytest.approx(factor * float(ds.time_of_pipeline) + host, rel=1e-12)
        # Rows are slopes over each collective's own seconds, the sums are the blocks' and the step's.
        assert float(ds.transfer_time.sum()) == pytest.approx(float(ds.block_network.sum()), rel=1e-12)
        assert factor * float(ds.transfer_exposed.sum()) == pytest.approx(float(ds.exposed_network), rel=1e-12)
        assert (ds.transfer_exposed >= 0.0).all()
        assert (ds.transfer_time * (1 + 1e-12) >= ds.transfer_exposed).all()
        assert (ds.block_ideal.fillna(0.0) <= ds.block_time).all()


def test_network_of_the_pipelines(core, dual):
    tbo = dsjax.explain("sg2260e_decode_128", B10, fixed={"pipeline": "tbo"})
    assert tbo.transfer_exposed.values[:2].tolist() == [0.0, 0.0] and float(tbo.transfer_hidden[1]) > 0.0
    dispatch, combine, all_reduce = dual.transfer_time.values
    assert combine == pytest.approx(2.0 * dispatch) and all_reduce == 0.0
    assert float(dsjax.explain(core, H800 | {"tp": 16}).transfer_time[2]) > 0.0


def test_work_of_a_block(dual):
    row = {row["block"]: row for row in explain_tables.blocks(dual)}["q_a"]
    model = dsjax.load_grid(CORE).rows["model"]["DeepSeek-V3"]
    hidden, rank, tokens = model["hidden_size"], model["q_lora_rank"], 128
    assert row["flops"] == pytest.approx(61 * 2 * tokens * hidden * rank)
    n_bytes = hidden * rank + tokens * (hidden + 2 * rank)  # of each half batch: the weights, at half the rows
    assert row["bytes"] == pytest.approx(61 * (n_bytes + hidden * rank))
    assert row["seconds_per_layer"] == row["seconds"] / 61 and 0.0 < row["of_light"] < 1.0
    assert sum(x["share"] for x in explain_tables.blocks(dual)) == pytest.approx(1.0)
    assert {x["bound_by"] for x in explain_tables.blocks(dual)} >= {"network", "latency", "compute"}


def test_largest_batch(b10):
    largest, most = int(b10.largest_feasible), int(b10.largest_in_memory)
    assert (largest, int(b10.largest_stopped_at), b10.largest_stopped_by.item()) == (11, 12, "ok_tps_per_user")
    axes = {"batch": [11, 12, most, most + 1]}
    found = [dsjax.explain("sg2260e_decode_128", B10 | {"batch": batch}, axes=axes) for batch in axes["batch"]]
    assert [bool(ds.feasible) for ds in found] == [True, False, False, False]
    assert [bool(ds.ok_memory & ds.ok_memory_per_chip) for ds in found] == [True, True, True, False]


def test_largest_number_of_prompts():
    ds = dsjax.explain(PREFILL, B4)
    # TBO halves the prompts of each of 4 groups: only multiples of 8 will do.
    assert int(ds.largest_feasible) % 8 == 0 and ds.largest_stopped_by.item() == "ok_ttft"
    assert int(ds.largest_in_memory) > int(ds.largest_stopped_at) > int(ds.largest_feasible) > 0


def test_would_tbo_pay(b10):
    found = explain_tables.as_dict(b10)["tbo"]
    assert found["tps_per_user_without_all_to_all"] == pytest.approx(11.0, abs=0.05)
    assert (found["criterion"], found["criterion_met"], found["pays"]) == (20.0, False, False)
    assert found["step_time_without_all_to_all"] == pytest.approx(
        float(b10.step_time - b10.transfer_time[:2].sum()) - 68.44e-6, rel=1e-9
    )
    assert found["step_time_tbo"] / found["step_time_naive"] == pytest.approx(1.476, abs=1e-3)


REFUSED = [
    (CORE, H800 | {"tp": 3}, "ok_tp", "tp = 3 does not divide the 128 heads"),
    (
        CORE,
        H800 | {"tp": 3},
        "ok_topology",
        "tp = 3 is neither a part of a scale-up domain of 8 chips nor whole ones",
    ),
    (
        CORE,
        H800 | {"hardware": "A100"},
        "ok_precision",
        "A100 has not the compute rates that precision fp8 asks for: fp8 for weight, fp8 for dense, fp8 for expert, "
        "fp8 for shared",
    ),
    (
        CORE,
        H800 | {"tp": 3, "batch": 63},
        "ok_even_batch",
        "batch = 63: the sequences of a group do not make the two equal halves of pipeline dual-mbatch",
    ),
    (PREFILL, B4 | {"sp": 2}, "ok_sp", "sp = 2 with tp = 4 is not a split this model has in prefill"),
    (PREFILL, B4 | {"chips": 24, "ep": 24}, "ok_ep", "ep = 24 does not divide the 256 experts, and none is held twice"),
    (PREFILL, B4 | {"chips": 24}, "ok_chips", "moe_tp 1 x ep 16 = 16 are not the 24 chips"),
    (
        PREFILL,
        B4 | {"prompts": 5},
        "ok_prompts",
        "5 prompts are not the same whole number in each of 4 groups",
    ),
]


@pytest.mark.parametrize(("grid", "at", "mask", "why"), REFUSED, ids=lambda x: x if isinstance(x, str) else "")
def test_why(grid, at, mask, why):
    refused = explain_tables.as_dict(dsjax.explain(grid, at))["refused"]
    assert refused[mask] == why


def test_why_of_bounds_and_memory(study, b10):
    refused = explain_tables.as_dict(dsjax.explain(study, {"hardware": "L20", "nic": "E810", "precision": "kv2-w2"}))[
        "refused"
    ]
    assert refused["ok_memory"].endswith("GiB) do not fit into the 32.00 GB (29.80 GiB) of a chip")
    assert refused["ok_tps_per_user"].startswith("tps_per_user = ") and refused["ok_tps_per_user"].endswith(
        " token/s is below 20 token/s"
    )
    assert set(b10.why.values) == {""}


@pytest.mark.parametrize("name", ["core", *studies.names()])
def test_every_mask_has_a_sentence(name):
    """Of every phase, and says what the point is refused for."""
    grids = {"core": ("default", "prefill"), "sg2260e": ("sg2260e_decode_64", "sg2260e_prefill_16")}
    constraints = studies.get(name).constraints
    for source in grids.get(name, (name,)):
        space = dsjax.load_grid(source)
        limits = {key.partition("_")[2] for key in space.bounds}
        masks = {key.removeprefix("ok_") for key in evaluation.variables(space) if key.startswith("ok_")}
        assert masks - limits == constraints.keys() and all(c.name == key for key, c in constraints.items())


@pytest.mark.parametrize(
    ("at", "text"),
    [
        ({"tq": 4}, "at: unknown axis 'tq'; expected one of nic, tp, moe_tp, batch"),
        ({"chips": 64}, "at: chips: is fixed at 128; expected one of nic, tp, moe_tp, batch"),
        ({"tp": 5}, "at: unknown value of axis tp '5'; expected one of 1, 2, 4, 8, 16, 32"),
        ({"tp": "four"}, "at: tp: 'four' is not a number"),
        ({"nic": "CX7"}, "at: unknown value of axis nic 'CX7'"),
        ("tp=4", "at: 'tp=4'; expected {axis: value}"),
    ],
)
def test_bad_point(at, text):
    with pytest.raises(dsjax.InputError) as error:
        dsjax.explain("sg2260e_decode_128", at)
    assert str(error.value).startswith(text)


def test_bad_source(study):
    with pytest.raises(dsjax.InputError, match="option 'colour'"):
        dsjax.explain("default", colour=1)
    with pytest.raises(dsjax.InputError, match="expected a grid, not results"):
        dsjax.explain(study, axes={"batch": [1]})
    with pytest.raises(dsjax.InputError, match="dsjax_spec: missing"):
        dsjax.explain(study.drop_attrs())


def test_command(tmp_path, study):
    at = ",".join(f"{name}={value}" for name, value in B10.items())
    text = command("sg2260e_decode_128", "--at", at)
    assert "10.7956 tokens/s/user x 10 sequences = 107.956 tokens/s/chip x 128 chips = 13,818 tokens/s" in text
    largest = "Largest batch that fits in memory here: 186 a chip, 23,808 in the instance\n"
    assert f"{largest}  that nothing refuses: 11 a chip, 1,408 in the instance; from 12 on refused by ok_tps" in text
    assert "11.0 tokens/s/user" in text and "is not met" in text and "it does not pay" in text
    assert "kernel times" not in text and "Numbers from" in command("sg2260e_decode_128", "--at", at, "-v")
    found = json.loads(command("sg2260e_decode_128", "--at", at, "--format", "json"))
    assert found["point"]["tp"] == 4 and found["feasible"] and found["tbo"]["pays"] is False
    assert found["metrics"]["ttft"] is None and len(found["sources"]) == 4
    rows = list(csv.DictReader(io.StringIO(command("sg2260e_decode_128", "--at", at, "--format", "csv"))))
    assert [row["block"] for row in rows] == [row["block"] for row in found["blocks"]]
    dsjax.write_netcdf(study, tmp_path / "space.nc")
    at = "batch=64,ep=144,pipeline=naive"
    of_file, of_grid = (command(x, "--at", at).split("next:")[0] for x in (tmp_path / "space.nc", "decode_gpu_2025"))
    assert of_file == of_grid


def test_command_exit_codes(tmp_path, study):
    strict = "refused by ok_tps_per_user"
    grid = tmp_path / "strict.toml"
    grid.write_text(study.attrs["grid"].replace("min_tps_per_user = 20", "min_tps_per_user = 1e6"), encoding="utf-8")
    assert strict in command(grid, "--quiet", code=1) and strict in command(grid, "--at", "batch=16", "--quiet")
    assert "error: at: unknown axis 'speed'" in command("decode_gpu_2025", "--at", "speed=1", code=2)
    assert "error: --at batch: expected NAME=VALUE" in command("decode_gpu_2025", "--at", "batch", code=2)


def test_float32(b10):
    ds = dsjax.explain("sg2260e_decode_128", B10, dtype="float32")
    for name in ("step_time", "block_time", "transfer_time", "memory_part"):
        assert np.allclose(ds[name], b10[name], rtol=1e-5, atol=1e-9), name
