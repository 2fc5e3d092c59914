"""The grid that is evaluated where none is named: its size, its answers, and that no axis ends too early unsaid."""

import itertools

import numpy as np
import pytest

import dsjax
from dsjax.analysis import wider
from dsjax.space import grid, provenance

NVLINK_72 = ("GB200", "GB300")


@pytest.fixture(scope="module")
def space():
    return grid.load("default")


@pytest.fixture(scope="module")
def ds():
    return dsjax.sweep("default")


@pytest.fixture(scope="module")
def ranked(ds):
    return dsjax.best(ds)


def test_a_page_of_answers(space, ranked):
    """At most a hundred thousand points; a line for every chip and network, none without an answer."""
    assert space.points <= 100_000
    pairs = [*zip(ranked["hardware"].values.tolist(), ranked["nic"].values.tolist(), strict=True)]
    assert sorted(pairs) == sorted(itertools.product(space.axes["hardware"], space.axes["nic"]))
    assert len(pairs) <= 22 and len(set(pairs)) == len(pairs)


def test_batches_are_geometric_and_small_instances_are_there(space):
    batches = np.array(space.axes["batch"], float)
    assert batches.max() == 512 and (batches[1:] / batches[:-1]).max() <= 2 and space.axes["ep"][0] == 8
    assert (batches[2:] / batches[1:-1]).max() <= 1.5


def test_no_best_point_stands_at_an_end_unsaid(space, ranked):
    """Every best point at an end of an axis: one further value, swept, is refused or worse, or the table marks it."""
    said = wider.ends(space, ranked, space.by)
    columns = {a: np.broadcast_to(ranked[a].values, ranked.sizes["rank"]).tolist() for a in space.axes}
    looked = 0
    for i in range(ranked.sizes["rank"]):
        point = {a: column[i] for a, column in columns.items()}
        for axis, beyond in {"batch": {8: 4, 512: 1024}, "ep": {8: 4, 320: 640}, "tp": {1: None, 8: 16}}.items():
            value = beyond.get(point[axis])
            if value is None:
                continue
            looked += 1
            other = dsjax.sweep("default", fixed=point | {axis: value})
            better = other["tps_per_chip"].item() > ranked["tps_per_chip"].values[i] * (1 + wider.LEAST)
            if other["feasible"].item() and better:
                assert [end for end in said.get(i, ()) if end.axis == axis], (point, axis, value)
    assert looked >= 8


def test_prices_are_of_one_source_or_marked(space):
    """Prices of one source and one date; whoever has none of it has a mark or no price."""
    found = provenance.prices(space)
    unlike = provenance.unlike(found)
    known = {source for chip, source in found.items() if source and chip not in unlike}
    assert known == {"3-year rental, SemiAnalysis AI Cloud TCO Model, July 2026"} and set(unlike) == {"H800"}
    assert {chip for chip, source in found.items() if not source} == {"H20", "A100", "L20"}


def test_blackwell_is_not_put_behind_hopper(ranked):
    """By 4-bit weights, small instances and large batches a newer chip serves more, at less a token."""
    rows = zip(*(ranked[x].values for x in ("hardware", "nic", "tps_per_chip", "cost_per_million_tokens")), strict=True)
    of = {chip: (tokens, cost) for chip, nic, tokens, cost in rows if nic == "CX7"}
    assert of["GB200"][0] > of["B200"][0] > of["H200"][0] > of["H100"][0] > of["H20"][0] > of["L20"][0]
    assert of["GB200"][1] < of["B200"][1] < of["H200"][1]
    one = dict(zip(ranked["hardware"].values.tolist(), ranked["ep"].values.tolist(), strict=True))
    assert all(one[chip] == 72 for chip in NVLINK_72)  # the whole scale-up domain


def busiest(**fixed):
    """Time of a step whose experts are loaded by chance and favour, over that of experts loaded evenly."""
    point = {"hardware": "H800", "nic": "CX7", "tp": 1, "ep": 64, "batch": 128, "precision": "fp8", "mtp": 0}
    point |= {"pipeline": "naive"} | fixed
    chance, even = (
        dsjax.sweep("default", fixed=point | x)["step_time"].item() for x in ({}, {"expert_imbalance": 1.0})
    )
    return chance / even


def test_experts_are_unlike_where_none_is_redundant():
    """The default has no redundant experts, and their load is that of none: +5 % and more, a third of it with 32."""
    assert busiest() > 1.05 and busiest(ep=16) < busiest()
    assert busiest(redundant_experts=32) - 1 < 0.6 * (busiest() - 1)


@pytest.mark.parametrize("engine", ["vllm", "sglang", "tensorrt-llm"])
def test_a_named_engine_takes_host_time(engine):
    """Of a step and of a draft, its own; a generic one takes none, and no factor is on any."""
    point = {"hardware": "H200", "nic": "CX7", "tp": 1, "ep": 16, "batch": 64, "precision": "fp8", "pipeline": "naive"}
    row = dsjax.rows("engines").loc[engine]

    def step(mtp, **fixed):
        return dsjax.sweep("default", fixed=point | {"mtp": mtp, "engine": engine} | fixed)["step_time"].item()

    assert row["step_s"] > 0 and row["draft_step_s"] > 0
    none = {"engine_step_s": 0.0, "engine_draft_step_s": 0.0}
    assert step(0) - step(0, **none) == pytest.approx(row["step_s"], rel=1e-9)
    assert step(1) - step(1, **none) == pytest.approx(row["step_s"] + row["draft_step_s"], rel=1e-9)
    assert grid.load("default").fixed["software_factor"] == 1
