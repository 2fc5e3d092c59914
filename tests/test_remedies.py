"""Where nothing is feasible: the nearest point, why it is refused, and values that would pass, checked by a sweep."""

import itertools
import json
import re

import pytest
from console import command

import dsjax
from dsjax import options
from dsjax.analysis import remedies
from dsjax.space import grid
from grids import SEVEN_CHIPS

SMALL = {"axes": {"batch": [16, 32], "hardware": ["H800", "H200"]}, "fixed": {"nic": "CX7", "tp": 1}}


def told(**given):
    changes = {part: SMALL.get(part, {}) | given.get(part, {}) for part in ("axes", "fixed", "limits")}
    changes["axes"] = {name: x for name, x in changes["axes"].items() if name not in given.get("fixed", {})}
    changes["fixed"] = {name: x for name, x in changes["fixed"].items() if name not in given.get("axes", {})}
    space = grid.load(SEVEN_CHIPS, **changes)
    assert not dsjax.sweep(SEVEN_CHIPS, **changes)["feasible"].any()
    return remedies.nothing_feasible(space), changes


def followed(line, changes):
    """Feasible points of each alternative that a line names."""
    counts = []
    for option in line.removeprefix("some are feasible with ").split(", or with "):
        named = dict(re.findall(r"--(?:axis|fix) (\w+)=(\S+)", option))
        named = {name: int(x) if x.isdigit() else x for name, x in named.items()}
        axes = {name: x for name, x in changes["axes"].items() if name not in named}
        fixed = changes["fixed"] | named
        ds = dsjax.sweep(SEVEN_CHIPS, axes=axes or {"batch": [16]}, fixed=fixed, limits=changes["limits"])
        counts.append(int(ds["feasible"].sum()))
    return counts


@pytest.mark.parametrize(
    ("given", "mask", "why", "option"),
    [
        ({"fixed": {"chips": 16}}, "ok_chips", "moe_tp 1 x ep 72 = 72 are not the 16 chips", "--axis ep=16"),
        ({"fixed": {"model": "Kimi-K2", "mtp": 1}}, "ok_mtp", "Kimi-K2 has no MTP module", "--fix mtp=0"),
        ({"fixed": {"tp": 3}}, "ok_tp", "tp = 3 does not divide the 128 heads", "--fix tp="),
        ({"fixed": {"precision": "nvfp4-kv8"}}, "ok_precision", "has not the compute rates", "--axis hardware="),
        ({"axes": {"batch": [1024]}}, "ok_memory", "do not fit into the", "--axis batch="),
        ({"fixed": {"chips": 16, "tp": 3}}, "ok_chips", "are not the 16 chips", "tp="),
    ],
    ids=lambda x: x if isinstance(x, str) else "",
)
def test_what_is_named_is_feasible(given, mask, why, option):
    with options.of_command_line():
        lines, changes = told(**given)
    assert lines[0].startswith("nearest to a feasible one: hardware H") and any(
        line.startswith(f"{mask}: ") and why in line for line in lines
    )
    assert option in lines[-1] and all(followed(lines[-1], changes))


def test_what_a_limited_variable_reaches():
    lines, changes = told(limits={"min_tps_per_user": 500})
    most = float(dsjax.sweep(SEVEN_CHIPS, **changes)["tps_per_user"].where(lambda x: x > 0).max())
    reached = float(re.search(r"; ([\d.]+) token/s is the most there is", lines[1])[1])
    assert 20 < reached <= most


def test_groups_without_a_point_stay():
    out = command("best", SEVEN_CHIPS, "--by", "hardware", "--axis", "hardware=H800,L20,A100", "--fix", "nic=CX7")
    rows = [line.split() for line in out.splitlines() if re.match(r" +\d  \w", line)]
    assert [row[:2] for row in rows] == [["1", "H800"], ["2", "A100"]]
    assert "\n  no feasible point: hardware L20: ok_tps_per_user\n" in out
    ds = dsjax.sweep(SEVEN_CHIPS, axes={"hardware": ["L20"]}, fixed={"nic": "CX7"})
    assert not ds["ok_tps_per_user"].any()  # which refuses all; each of the others lets some pass
    others = [name for name in ds if str(name).startswith("ok_") and name != "ok_tps_per_user"]
    assert all(ds[name].any() for name in others)


def test_groups_in_json_and_fronts():
    args = (SEVEN_CHIPS, "--axis", "hardware=H800,L20", "--fix", "nic=CX7", "--by", "hardware")
    found = json.loads(command("best", *args, "--format", "json"))
    assert found["infeasible_groups"] == [{"hardware": "L20", "why": "ok_tps_per_user"}] and "remedies" not in found
    assert "hardware L20: no feasible point: ok_tps_per_user\n" in command("pareto", *args)
    streamed = json.loads(command("best", *args, "--stream", "--dtype", "float64", "--format", "json"))
    assert streamed["infeasible_groups"] == found["infeasible_groups"]


def test_groups_by_a_number_of_a_row():
    args = (
        SEVEN_CHIPS,
        "--axis",
        "hardware=L20,H800",
        "--fix",
        "nic=CX7",
        "--fix",
        "precision=fp8",
        "--by",
        "hardware_hbm_bytes",
    )
    assert "\n  no feasible point: hardware_hbm_bytes 4" in command("best", *args)


def test_many_groups_are_counted():
    axes = {"batch": [16], "hardware": ["L20"], "ep": list(range(72, 112))}
    space = grid.load(SEVEN_CHIPS, axes=axes, fixed={"nic": "CX7"})
    rows, more = remedies.empty_groups(space, ("hardware", "ep"), set())
    assert len(rows) == remedies.GROUPS and more == 40 - remedies.GROUPS


def test_groups_are_told_in_the_order_of_the_grid():
    """Names in any order, also two of one axis: labels and numbers of its rows."""
    space = grid.load("decode_gpu_2025", limits={"min_tps_per_user": 1e6})
    rows = itertools.product(space.axes["precision"], space.axes["hardware"])
    bytes_of = {row: space.rows["precision"][row]["weight_bytes"] for row in space.axes["precision"]}
    every = [(bytes_of[precision], precision, hardware) for precision, hardware in rows]
    left = [every[-1], every[1]]
    found, more = remedies.empty_groups(space, ("weight_bytes", "precision", "hardware"), {*every} - {*left})
    order = [*space.axes["hardware"]]
    told = [tuple(row[name] for name in ("weight_bytes", "precision", "hardware")) for row in found]
    assert told == sorted(left, key=lambda group: order.index(group[2])) and not more
    assert all("ok_tps_per_user" in row["why"] for row in found)


def test_nothing_at_all_is_said_on_the_command_line():
    out = command("best", SEVEN_CHIPS, "--fix", "chips=16", "--axis", "hardware=H800", "--fix", "nic=CX7", code=1)
    assert "\n  ok_chips: moe_tp 1 x ep 72 = 72 are not the 16 chips\n  some are feasible with --axis ep=16\n" in out
    args = ("pareto", SEVEN_CHIPS, "--fix", "chips=16", "--axis", "hardware=H800", "--fix", "nic=CX7")
    assert "some are feasible with --axis ep=16" in command(*args, code=1)
