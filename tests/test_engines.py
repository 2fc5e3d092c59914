"""Engines: every row of the catalog, their host time in explanations, layouts and chips that they are not for."""

import math

import pytest

import dsjax
from dsjax.catalog import reader, sources
from dsjax.commands.answers import explain_tables
from dsjax.space import provenance

ROWS = reader.load()
ENGINES = list(ROWS["engine"])
ONE_USER = {"hardware": "H200", "nic": "CX7", "tp": 8, "moe_tp": 8, "ep": 1, "concurrency": 1, "pipeline": "naive"}
ONE_USER |= {"model": "DeepSeek-R1", "phase": "decode", "mtp": 1, "precision": "fp8", "context": 5120.0}


def explained(**changes):
    return dsjax.explain({"axes": {"unhidden": [0.1]}, "fixed": ONE_USER | changes})


@pytest.mark.parametrize("name", ENGINES)
def test_a_row_has_sources_and_kernels_of_the_catalog(name):
    row = ROWS["engine"][name]
    families = {chip["curve"] for chip in ROWS["hardware"].values()}
    for family, own in row.get("curves", {}).items():
        assert family in families and own.startswith(f"{family}-") and own in ROWS["curve"]
    for field, value in reader.numbers(row).items():
        kind = sources.of_field(row, field)["kind"]
        assert kind in sources.KINDS or (kind, value) == ("none", 0), field


@pytest.mark.parametrize("name", [name for name in ENGINES if not ROWS["engine"][name].get("fewest_groups")])
def test_blocks_and_host_time_make_the_step(name):
    """What is printed as a calculation can be done again, and no all-to-all is taken away where none is."""
    ds, row = explained(engine=name), ROWS["engine"][name]
    host = row.get("step_s", 0.0) + row.get("draft_step_s", 0.0)
    assert float(ds.time_of_pipeline) == pytest.approx(math.fsum(ds.block_time.values), rel=1e-9)
    assert float(ds.step_time) == pytest.approx(float(ds.time_of_pipeline) + host, rel=1e-9)
    assert "step_time_without_all_to_all" not in ds
    assert ("with software and host time" in explain_tables.as_dict(ds)["arithmetic"][0]) == (host > 0.0)


def test_without_an_all_to_all_the_host_takes_as_long():
    two_groups = {"tp": 4, "moe_tp": 1, "ep": 8, "concurrency": 64}
    free = {"precision_dispatch_bytes": 1e-9, "precision_combine_bytes": 1e-9}
    for name in ("generic", "tensorrt-llm"):
        found = explain_tables.as_dict(explained(engine=name, **two_groups))["tbo"]
        time, step = found["step_time_without_all_to_all"], found["step_time_naive"]
        without = float(explained(engine=name, **two_groups, **free).step_time)
        assert 0.9 * without < time < step


def test_stages_of_layers_are_part_of_the_sum():
    ds = explained(pp=4, concurrency=64, mtp=0)
    line = explain_tables.as_dict(ds)["arithmetic"][0]
    made, waiting = math.fsum(ds.block_time.values), float(ds.time_of_pipeline) - math.fsum(ds.block_time.values)
    assert waiting > 0.0 and float(ds.hidden_time) == 0.0
    assert f"{1e3 * made:.4g} ms of blocks + {1e3 * waiting:.4g} ms of other micro batches in the slowest stage" in line


@pytest.mark.parametrize("name", ["sglang-deepep", "vllm-deepep"])
def test_kernels_that_follow_a_dispatch_are_for_layouts_that_dispatch(name):
    refused = explained(engine=name)
    assert not bool(refused.ok_engine) and not bool(refused.feasible)
    why = dict(zip(refused.constraint.values.tolist(), refused.why.values.tolist(), strict=True))
    assert why["ok_engine"] == f"engine {name} is for 2 groups of attention or more, and dp = 1"
    assert bool(explained(engine=name, tp=4, moe_tp=1, ep=8, concurrency=64).ok_engine)


def test_chips_without_kernels_of_an_engine_are_named():
    grid = {"axes": {"hardware": ["H200", "H20"], "engine": ["generic", "sglang"]}}
    fixed = {name: x for name, x in ONE_USER.items() if name != "hardware"}
    space = dsjax.load_grid(grid | {"fixed": fixed})
    line = "engine sglang: no kernels of its own measured on H20 (curve hopper-small), whose row stands for them"
    assert provenance.of_engines(space) == [line]


def test_dense_models_keep_no_buffers_of_an_exchange():
    dense = {"model": "Qwen3-8B", "tp": 1, "moe_tp": 1, "ep": 64, "mtp": 0, "concurrency": 64 * 1025, "context": 512.0}
    ds = explained(**dense, hardware="B200")
    held = dict(zip(ds.part.values.tolist(), ds.memory_part.values.tolist(), strict=True))
    assert held["exchange"] == 0.0 and bool(ds.ok_exchange)
    moe = explained(**dense | {"model": "DeepSeek-V3"}, hardware="B200")
    assert not bool(moe.ok_exchange)
