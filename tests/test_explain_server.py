"""One server in full: the numbers of the sweep, stages of a request, what limits the rate, memory, what is printed."""

import contextlib
import csv
import io
import itertools
import json
import shlex

import numpy as np
import pytest

import dsjax
from dsjax import cli, evaluation
from dsjax.space import grid

FIXED = {"hardware": "H200", "nic": "CX7", "chips": 8, "isl": 2048, "osl": 512, "engine": "sglang"}
CLOSED = {
    "title": "Users",
    "model": "DeepSeek-R1",
    "phase": "serve",
    "axes": {"batching": ["prefill-first", "chunked"], "tp": [8, 1], "concurrency": [1, 16, 2000]},
    "fixed": FIXED,
    "constraints": {"max_ttft_p90": 1.0, "min_tps_per_user": 10},
}
OPEN = CLOSED | {
    "axes": {"batching": ["prefill-first", "chunked"], "requests_per_s": [0.01, 2.0, 50.0]},
    "fixed": FIXED | {"tp": 8},
    "constraints": {},
}
POOLS = {
    "title": "Pools",
    "model": "DeepSeek-R1",
    "phase": "disaggregated",
    "axes": {"requests_per_s": [2.0, 200.0], "decode_instances": [1, 2]},
    "prefill": {"hardware": ["H20"], "tp": 8, "chips": 8, "nic": "CX7", "engine": "sglang"},
    "decode": {"hardware": ["H200"], "tp": 8, "chips": 8, "nic": "CX7", "engine": "vllm"},
    "fixed": {"isl": 2048, "osl": 512, "transfer_nic": "CX7"},
    "constraints": {"max_ttft_p90": 1.0},
}
POINTS = [
    (CLOSED, {"batching": "prefill-first", "tp": 8, "concurrency": 1}),
    (CLOSED, {"batching": "prefill-first", "tp": 8, "concurrency": 2000}),
    (CLOSED, {"batching": "chunked", "tp": 8, "concurrency": 16}),
    (CLOSED, {"batching": "chunked", "tp": 1, "concurrency": 16}),
    (OPEN, {"batching": "prefill-first", "requests_per_s": 2.0}),
    (OPEN, {"batching": "chunked", "requests_per_s": 0.01}),
]
SOME = {"batching": "prefill-first", "tp": 8, "concurrency": 16}


@pytest.fixture(scope="module")
def some():
    return dsjax.explain(CLOSED, SOME)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """A grid without anything that steps have not."""
    path = tmp_path_factory.mktemp("grids") / "users.toml"
    fixed = "\n".join(f"{name} = {json.dumps(value)}" for name, value in FIXED.items())
    axes = "[axes]\ntp = [8, 1]\nconcurrency = [1, 4, 16]"
    path.write_text(f'model = "DeepSeek-R1"\nphase = "serve"\n{axes}\n[fixed]\n{fixed}\n')
    return str(path)


def command(*args, code=0):
    """What a command prints, on stdout and stderr apart."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as stop:
        cli.main([*map(str, args)], prog_name="dsjax")
    assert stop.value.code == code, out.getvalue() + err.getvalue()
    return out.getvalue()


def at(ds, name, **where):
    return ds[name].sel(where).item()


@pytest.mark.parametrize(("asked", "point"), POINTS)
def test_same_as_the_sweep(asked, point):
    ds, swept = dsjax.explain(asked, point), dsjax.sweep(asked).sel(point)
    for name in swept.data_vars:
        assert ds[name].values == pytest.approx(swept[name].values, rel=1e-9, nan_ok=True), name


@pytest.mark.parametrize(("asked", "point"), POINTS)
def test_stages_add_up(asked, point):
    ds = dsjax.explain(asked, point)
    assert ds.stage_time.sum().item() == pytest.approx(ds.latency_mean.item(), rel=1e-9)
    assert ds.stage_share.sum().item() == pytest.approx(1.0, rel=1e-12)
    first = ds.stage_time.sel(stage=["room", "queue", "prompt"]).sum().item()
    assert first == pytest.approx(ds.ttft_mean.item(), rel=1e-9)
    assert (ds.stage_time >= -1e-9).all() and all(ds.stage_meaning.values.tolist())


def test_time_of_a_server_in_a_closed_loop():
    alone, many = (dsjax.explain(CLOSED, SOME | {"concurrency": n}) for n in (1, 2000))
    assert at(alone, "activity_share", activity="prompts") == pytest.approx(
        (alone.ttft_mean / alone.latency_mean).item()
    )
    assert at(many, "activity_share", activity="prompts") == pytest.approx(many.prefill_share.item(), rel=0.05)
    for ds in (alone, many):
        assert ds.activity_share.sum().item() == pytest.approx(1.0)


def test_nobody_is_told_how_often_an_open_loop_is_idle():
    ds = dsjax.explain(OPEN, {"batching": "chunked", "requests_per_s": 2.0})
    assert ds.activity.values.tolist() == ["prompts", "decode or idle"]
    assert at(ds, "activity_share", activity="prompts") == ds.prefill_share.item()


def test_limits_of_the_grid(some):
    assert at(some, "bound_reached", bound="max_ttft_p90") == some.ttft_p90.item()
    assert (
        at(some, "bound_value", bound="min_tps_per_user") == 10 and at(some, "bound_units", bound="max_ttft_p90") == "s"
    )
    late = dsjax.explain(CLOSED, SOME | {"concurrency": 2000})
    assert not at(late, "bound_met", bound="max_ttft_p90") and at(some, "bound_met", bound="max_ttft_p90")
    assert "is above 1 s" in at(late, "why", constraint="ok_ttft_p90")


def test_memory_of_a_chip(some):
    parts = some.memory_part
    used = parts.sel(part=["weights, engine", "activations", "cache in use"]).sum().item()
    assert used == pytest.approx(some.memory_per_chip.item(), rel=1e-9)
    assert (parts.sum() + some.memory_kept_free).item() == pytest.approx(some.memory_capacity.item(), rel=1e-6)
    cache = parts.sel(part=["cache in use", "cache free"])
    assert (cache[0] / cache.sum()).item() == pytest.approx(some.kv_occupancy.item(), rel=1e-9)
    one = dsjax.explain(CLOSED, SOME | {"concurrency": 1})  # the weights are the same, whatever the load
    assert parts[0].item() == pytest.approx(one.memory_part[0].item(), rel=1e-6)


def test_resources_of_the_rate(some):
    most = some.requests_per_s_max.item()
    prompts, steps, room = some.resource_requests_per_s_max.values
    assert 1.0 / prompts + 1.0 / steps == pytest.approx(1.5 / most, rel=1e-6) and min(prompts, steps, room) > most
    # Room for twice as many: as much memory again as the whole cache has.
    space = grid.load(CLOSED).only(SOME)
    cache = some.memory_part.sel(part=["cache in use", "cache free"]).sum().item()
    more = some.memory_capacity.item() + cache / (1.0 - space.fixed["memory_reserve"])
    larger = space.with_fixed(hardware_hbm_bytes=more, max_batch=2.0 * space.fixed["max_batch"])
    found = {name: x.item() for name, (_, x) in evaluation.evaluate(larger).items()}
    assert room == pytest.approx(found["requests_per_s_max"], rel=1e-6)
    assert found["decode_batch"] / found["kv_occupancy"] == pytest.approx(
        2.0 * some.requests_inside_max.item() + 1.0, rel=1e-3
    )


def seconds(ds):
    """Seconds of the server for a request at the most that it can take: of its prompt, and of its steps of decode."""
    most, rates = ds.requests_per_s_max.item(), ds.resource_requests_per_s_max.values[:2].tolist()
    return [2.0 * (1.0 / most - 1.0 / rate) for rate in rates]


def test_longer_prompts_and_outputs_take_their_part_of_the_rate(some):
    prompts, steps = seconds(some)
    assert seconds(dsjax.explain(CLOSED, SOME, fixed={"isl": 4096}))[0] == pytest.approx(2.0 * prompts, rel=0.15)
    long = seconds(dsjax.explain(CLOSED, SOME, fixed={"osl": 1024}))
    # Fewer sequences end in a step of decode, so that fewer prompts share a step.
    assert prompts < long[0] < 1.15 * prompts and long[1] > 1.9 * steps


def test_parts_of_the_rate_are_those_of_a_full_server():
    """Prompts come as sequences end, one or more in a step, and all who fit decode together: by the core model."""
    even = {"isl_cv": 0, "osl_cv": 0, "max_batch": 64}
    ds = dsjax.explain(CLOSED, SOME, fixed=even)
    inside = ds.requests_inside_max.item()

    def step(phase, **load):
        fixed = FIXED | {"phase": phase, "context_cv": 0.0} | load
        del fixed["isl"], fixed["osl"]
        at = grid.load({"model": "DeepSeek-R1", "axes": {"tp": [8]}, "fixed": fixed})
        return evaluation.evaluate(at)["step_time"][1].item()

    prompts, steps = seconds(ds)
    full = int(ds.max_prefill_tokens.item() / 2048)
    together, alone = (step("prefill", context=2048, prompts=n) / n for n in (full, 1))
    assert 0.98 * together < prompts < 1.02 * alone
    decode = step("decode", context=2048 + 256, concurrency=round(inside))
    assert steps == pytest.approx(511 * decode / inside, rel=0.02)


@pytest.mark.parametrize(("most", "by", "inside"), [(0, "cache", None), (32, "max_batch", 32.0)])
def test_what_holds_no_more(some, most, by, inside):
    ds = dsjax.explain(CLOSED, SOME, fixed={"max_batch": most})
    assert ds.held_by.item() == by
    assert ds.requests_inside_max.item() == pytest.approx(inside or some.requests_inside_max.item(), rel=1e-9)


def test_numbers_that_the_steps_read(some):
    read = some.number.values.tolist()
    assert "hardware.H200.hbm_bytes_per_s" in read and "hardware.H200.fp8_flops_per_s" in read
    assert [name for name in read if name.startswith("engine.sglang.")]
    assert dict(zip(some.row.values.tolist(), some.tag.values.tolist()))["hardware.H200"] != "not read"
    rows = [name.rpartition(".")[0] for name in read]
    assert len(set(read)) == len(read) and len(set(rows)) == 1 + sum(a != b for a, b in itertools.pairwise(rows))


def test_text(file):
    text = command("explain", file, "--at", "tp=8,concurrency=16", "--fix", "isl_cv=0", "--fix", "osl_cv=0")
    ds = dsjax.explain(file, {"tp": 8, "concurrency": 16}, fixed={"isl_cv": 0, "osl_cv": 0})
    assert f"A request of 2,048 + 512 tokens takes {ds.latency_mean.item():.4g} s" in text
    assert f"interruptions {ds.stage_time[-1].item():8.4f}" in text and "prompts of others between its steps" in text
    assert f"{1e3 * ds.ttft_p99.item():,.2f}" in text and f"{1e3 * ds.itl_p50.item():,.2f}" in text
    assert "limited most by steps of decode" in text and "room for twice as many" in text
    assert "Limits" not in text and "Numbers from" not in text
    assert "Numbers from" in command("explain", file, "-v") and "next:" not in command("explain", file, "--quiet")
    said = command("explain", file, "--at", "tp=8,concurrency=16", "--fix", "length_law=uniform")
    assert "A request of 80 to 100 % of 2,048 + 512 tokens takes" in said


def test_commands_that_come_next(file, tmp_path):
    def commands(*args):
        lines = command("explain", file, *args).splitlines()
        return [shlex.split(line)[2:] for line in lines if line.startswith("next: dsjax ")]

    change = ("--set", "hardware.H200.hbm_bytes_per_s=5e12", "--fix", "engine=vllm")
    found = commands("--at", "tp=8", *change)
    assert [x[0] for x in found] == ["sensitivity", "plot", "explain", "explain"]
    assert all(set(change) <= set(x) for x in found)
    assert "hbm_bytes_per_s" in command(*found[0])
    command(*[str(tmp_path / word) if word.endswith(".png") else word for word in found[1]])
    assert (tmp_path / "latency.png").exists()
    assert "phase decode" in command(*found[2]) and "phase prefill" in command(*found[3])
    assert [x[0] for x in commands("--axis", "batching=chunked")] == ["sensitivity", "plot"]  # steps know no batching


def test_json_and_csv(file):
    args = ("explain", file, "--at", "tp=8,concurrency=16")
    x = json.loads(command(*args, "--format", "json"))
    assert x["feasible"] and x["point"]["concurrency"] == 16
    assert x["percentiles"]["itl"]["mean"] is None and x["percentiles"]["ttft"]["p90"] == x["metrics"]["ttft_p90"]
    total = sum(row["seconds"] for row in x["stages"])
    assert total == pytest.approx(x["metrics"]["latency_mean"], rel=1e-9)
    step = sum(part["exposed_s"] for part in x["step"].values())
    assert step == pytest.approx(x["metrics"]["step_time"], rel=1e-9)
    assert sum(x["activities"].values()) == pytest.approx(1.0)
    assert set(x["capacity"]["with_twice"]) == {"prompts", "steps of decode", "room"}
    rows = list(csv.DictReader(io.StringIO(command(*args, "--format", "csv"))))
    assert [row["stage"] for row in rows] == ["room", "queue", "prompt", "decode", "interruptions"]
    assert float(rows[3]["seconds"]) == x["stages"][3]["seconds"]


def test_a_server_that_holds_no_request_shows_no_times(file):
    text = command("explain", file, "--at", "tp=8,concurrency=16", "--fix", "hardware_hbm_bytes=8e10", code=0)
    assert "refused by ok_memory" in text and "leave no room for a cache" in text
    assert "Percentiles" not in text and "stage" not in text
    ds = dsjax.explain(file, {"tp": 8, "concurrency": 16}, fixed={"hardware_hbm_bytes": 8e10})
    assert "resource" not in ds.dims and np.isfinite(ds.latency_mean)


def test_pools_that_hold_no_request_say_which_chip():
    ds = dsjax.explain(POOLS, fixed={"prefill_hardware_hbm_bytes": 8e10, "decode_hardware_hbm_bytes": 7e10})
    said = " ".join(ds.why.values)
    assert "prefill: weights and activations leave no room for a cache in the 80.00 GB of a chip" in said
    assert "decode: weights and activations leave no room for a cache in the 70.00 GB of a chip" in said


def test_more_requests_than_it_takes_show_no_times(file):
    point = "--at", "tp=8", "--axis", "requests_per_s=50"
    text = command("explain", file, *point)
    most = float(json.loads(command("explain", file, *point, "--format", "json"))["metrics"]["requests_per_s_max"])
    assert f"50 requests/s are more than the {most:,.4g} that the server can take" in text
    assert "Percentiles" not in text and f"The most that it can take: {most:.4g} requests/s" in text


def test_two_pools():
    ds = dsjax.explain(POOLS, {"requests_per_s": 2.0, "decode_instances": 2})
    swept = dsjax.sweep(POOLS).sel(requests_per_s=2.0, decode_instances=2).squeeze()
    for name in swept.data_vars:
        assert ds[name].values == pytest.approx(swept[name].values, rel=1e-9, nan_ok=True), name
    assert ds.stage_time.sum().item() == pytest.approx(ds.latency_mean.item(), rel=1e-9)
    assert at(ds, "stage_time", stage="transfer") == pytest.approx(ds.transfer_time.item(), rel=0.05)
    loads = dict(zip(ds.pool.values.tolist(), ds.pool_load.values.tolist()))
    assert loads["prefill"] == ds.prefill_utilisation.item() and loads["decode"] == ds.decode_utilisation.item()
    rows = {name.rpartition(".")[0] for name in ds.number.values.tolist()}
    assert {"prefill_hardware.H20", "decode_hardware.H200", "transfer_nic.CX7"} <= rows
    assert {"prefill_engine.sglang", "decode_engine.vllm", "model.DeepSeek-R1"} <= rows


def test_text_of_two_pools(tmp_path):
    def line(value):
        return json.dumps(value)

    parts = {"axes": POOLS["axes"], "prefill": POOLS["prefill"], "decode": POOLS["decode"], "fixed": POOLS["fixed"]}
    tables = ["\n".join([f"[{part}]", *(f"{k} = {line(v)}" for k, v in of.items())]) for part, of in parts.items()]
    path = tmp_path / "pools.toml"
    path.write_text("\n".join([f'model = "{POOLS["model"]}"', f'phase = "{POOLS["phase"]}"', *tables]))
    text = command("explain", path, "--at", "requests_per_s=2,decode_instances=1")
    assert "its cache is sent to where it decodes" in text and "limited most by" in text and "next: dsjax" in text
    over = command("explain", path, "--at", "requests_per_s=200,decode_instances=1")
    assert "Percentiles" not in over and "200 requests/s are more than" in over
