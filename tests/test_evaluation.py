"""The evaluator's face: what it gives, what it forgets, that nothing reaches behind it, what it leaves alone."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import dsjax
from dsjax import evaluation
from dsjax.search import cells
from dsjax.space import grid

ROOT = Path(__file__).parents[1]
STUDY = "decode_gpu_2025"
POINT = {
    "hardware": "H800",
    "nic": "CX7",
    "ep": 144,
    "batch": 64,
    "precision": "kv1-w1",
    "mtp": 1,
    "pipeline": "dual-mbatch",
}
RATE = ("nic", "scale_out_bytes_per_s")
# Tests of the evaluator's own parts.
INSIDE = {
    "test_pruning.py",
    "test_choice.py",
    "test_duals.py",
    "test_gradients.py",
    "test_kept_traces.py",
    "test_recording.py",
    "test_servers.py",
    "server_core_steps.py",
    "test_streams.py",
}


def taken(path):
    """(module of `evaluation`, "" its face, and name) of all that a file takes of the package."""
    modules = {"evaluation": ""}  # {what it is called in the file: its name}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            package, _, module = (node.module or "").removeprefix("dsjax.").partition(".")
            if package == "evaluation":
                modules |= {alias.asname or alias.name: alias.name for alias in node.names if not module}
                yield from ((module, alias.name) for alias in node.names)
        elif isinstance(node, ast.Attribute) and getattr(node.value, "id", None) in modules:
            yield modules[node.value.id], node.attr


def test_nothing_reaches_behind_the_face():
    face, seen = dsjax.evaluation.__all__, set()
    for path in (
        path for folder in ("dsjax", "benchmarks", "examples", "tests") for path in (ROOT / folder).rglob("*.py")
    ):
        if ROOT / "dsjax" / "evaluation" not in path.parents:
            for module, name in taken(path):
                seen.add(name)
                part = path.name in INSIDE and not name.startswith("_")
                part |= path.parent.name in ("fleet", "plan") and module.startswith("servers")  # at loads of its own
                assert part or (module == "" and name in face), f"{path}: {module}.{name}"
    assert seen.issuperset(face)


@pytest.mark.parametrize(
    "ask",
    [
        lambda space: evaluation.evaluate(space, names=("step_time",), compiled=True),
        lambda space: cells.largest(space, cells.layout_of(space), "tps_per_chip", 1),
    ],
    ids=["a grid", "cells"],
)
def test_compiled_programs_are_kept_until_forgotten(ask, compilations):
    space = grid.load(STUDY)
    ask(space)
    assert compilations
    compilations.clear()
    ask(space)
    assert not compilations
    evaluation.forget()
    ask(space)
    assert compilations


def test_points_of_several_spaces_are_those_of_each():
    """Spaces of two structures (decode, prefill), in any order, each with samples of its own."""
    at = {"nic": "CX7", "tp": 1, "chips": 32, "precision": "w8a8", "context": 4096}
    loads = [
        ("decode", {"batch": 8}),
        ("prefill", {"prompts": 32}),
        ("decode", {"batch": 64}),
        ("decode", {"batch": 9}),
    ]
    spaces = []
    for phase, load in loads:
        chip = "Ascend-910C" if load == {"batch": 64} else "H800"  # of unknown price
        fixed = at | load | {"pipeline": "naive", "hardware": chip}
        space = grid.load({"model": "DeepSeek-V3", "phase": phase, "axes": {"ep": [32]}, "fixed": fixed})
        spaces.append(space.only({"ep": 32}))
    values = [{RATE: [1e10, 5e10]}, {}, {("workload", "context"): [1024.0, 2048.0, 8192.0]}, {}]
    found = evaluation.points(spaces, values)
    assert [len(x["step_time"]) for x in found] == [2, 1, 3, 1]
    for space, moved, result in zip(spaces, values, found, strict=True):
        for i in range(len(result["step_time"])):
            same = space.with_fixed(**{_name(key): numbers[i] for key, numbers in moved.items()})
            wanted = evaluation.evaluate(same)
            assert result.keys() == wanted.keys()
            for name, (_, value) in wanted.items():
                assert np.array_equal(result[name][i], value.item(), equal_nan=True), name
    assert np.isnan(found[0]["ttft"]).all() and found[1]["ttft"] == found[1]["step_time"]


def _name(key):
    record, field = key
    return field if record == "workload" else f"{record}_{field}"


def test_samples_are_the_points_of_an_axis():
    """As many as do not fill a chunk, or fill several; operands that do not vary are those of the point."""
    space = grid.load(STUDY).only(POINT)
    assert evaluation.numbers(space)[RATE] == space.rows["nic"]["CX7"]["scale_out_bytes_per_s"]
    for n in (1, 1500):
        rates = np.geomspace(1e9, 1e11, n)
        names = ["step_time", "memory_per_chip", "ok_tps_per_user"]
        found = evaluation.samples(space, {RATE: rates}, n, names)
        lifted = grid.load(
            STUDY,
            axes={name: [value] for name, value in POINT.items()} | {"nic_scale_out_bytes_per_s": rates.tolist()},
        )
        for name, (_, array) in evaluation.evaluate(lifted, names=names).items():
            assert found[name].shape == (n,)
            np.testing.assert_allclose(found[name], np.broadcast_to(np.squeeze(array), (n,)), rtol=1e-13)


STATE = """
import json, os, warnings
import jax, scipy.sparse, scipy.special, xarray  # which have filters of their own
import jax.numpy as jnp

def state():
    settings = {name: repr(value) for name, value in jax.config.values.items()}
    return [settings, dict(os.environ), [repr(each) for each in warnings.filters]]

before = state()
import dsjax
for name in dsjax.__all__:
    getattr(dsjax, name)
imported = state()
ds = dsjax.sweep("decode_gpu_2025")
with dsjax.compiled():
    dsjax.sweep("decode_gpu_2025", dtype="float32")
dsjax.sweep("decode_gpu_2025", devices=1, max_memory="8 GB")
dsjax.best("decode_gpu_2025", stream=True, dtype="float32")
try:
    dsjax.sweep("decode_gpu_2025", devices=2)
except dsjax.InputError as error:
    said = str(error)
print(json.dumps([before, imported, state(), said, len(jax.devices())]))
"""


def test_a_sweep_leaves_the_process_as_it_is():
    """In a process of its own: JAX's settings, the environment, the filters of warnings; devices are the user's."""
    done = subprocess.run([sys.executable, "-c", STATE], capture_output=True, text=True, check=True, timeout=600)
    before, imported, after, said, devices = json.loads(done.stdout)
    assert imported == before
    assert after == before
    assert devices == 1 and "JAX_NUM_CPU_DEVICES=2 in the environment before JAX starts" in said


def test_the_command_line_sets_its_own_process(tmp_path):
    """As many devices as are asked for, and a cache of compiled programs."""
    code = """
import sys
from dsjax import cli
try:
    cli.main(sys.argv[1:])
finally:
    import jax
    print(jax.local_device_count(), jax.config.jax_compilation_cache_dir)
"""
    command = ["sweep", STUDY, "--devices", "2", "--max-memory", "8 GB", "--axis", "ep=72,144"]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *command],
        env=os.environ | {"XDG_CACHE_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"2 {tmp_path / 'dsjax'}"


@pytest.mark.parametrize(
    ("given", "beyond"),
    [
        ({"hardware": ["H200", "B200"], "nic": ["CX7", "E810"], "precision": ["fp8", "bf16"]}, {"batch": 96, "ep": 16}),
        ({"engine": ["sglang", "vllm"], "hardware": ["H200"], "nic": ["CX7"]}, {"batch": 96}),
    ],
)
def test_a_list_of_points_is_that_of_their_grids(given, beyond):
    """Numbers that an axis lacks too; each point alone in a grid of its own."""
    axes = given | {"pipeline": ["naive", "dual-mbatch", "sbo"], "tp": [1, 2], "batch": [32, 64], "ep": [64, 72]}
    space = grid.load({"axes": axes, "fixed": {"context": 4096}})
    rng = np.random.default_rng(0)
    points = [{axis: values[rng.integers(len(values))] for axis, values in space.axes.items()} for _ in range(8)]
    points += [points[0] | {axis: value} for axis, value in beyond.items()]
    found = evaluation.at(space, points, ("tps_per_chip", "feasible", "ok_precision"))
    for i, point in enumerate(points):
        ds = dsjax.sweep({"axes": {axis: [value] for axis, value in point.items()}, "fixed": {"context": 4096}})
        assert found["tps_per_chip"][i] == pytest.approx(ds["tps_per_chip"].item(), rel=1e-12)
        assert (
            found["feasible"][i] == bool(ds["feasible"].item())
            and found["ok_precision"][i] == ds["ok_precision"].item()
        )


def test_a_list_of_servers_is_that_of_their_grids(monkeypatch):
    monkeypatch.setattr("dsjax.evaluation.lift.MOST", 2)
    space = grid.load("serve", axes={"hardware": ["H200"], "concurrency": [4, 16], "engine": ["sglang"]})
    points = [{axis: values[0] for axis, values in space.axes.items()} | {"concurrency": n} for n in (4, 16, 24)]
    found = evaluation.at(space, points, ("tps_per_chip",))["tps_per_chip"]
    for x, point in zip(found, points, strict=True):
        assert x == pytest.approx(dsjax.sweep("serve", fixed=point)["tps_per_chip"].item(), rel=1e-12)
