"""The space of a file: what dsjax wrote comes back, what it would not have written is refused by its key."""

import copy
import json
import random
from pathlib import Path

import pytest

import dsjax
from dsjax.space import grid, restoring

GRIDS = sorted(Path(__file__).parents[1].glob("grids/*.toml"))
CORE = dict(axes={"hardware": ["H800", "H20"], "batch": [16, 32]}, fixed={"precision": "fp8", "nic": "CX7"})
CORE["fixed"] |= {"tp": 1, "ep": 72, "mtp": 0, "pipeline": "naive", "context": 5120, "model": "DeepSeek-V3"}


@pytest.fixture(scope="module")
def spec():
    axes = CORE["axes"] | {"phase": ["decode", "prefill"], "isl": [4096, 8192], "prompts": [1]}
    fixed = {name: x for name, x in CORE["fixed"].items() if name != "context"} | {"osl": 1024}
    limits = {"max_ttft": {4096: 3, 8192: 5}, "min_tps_per_user": 20}
    return json.loads(grid.load(CORE | {"axes": axes, "fixed": fixed, "constraints": limits}).to_json())


@pytest.mark.parametrize("path", GRIDS, ids=lambda path: path.stem)
def test_what_was_written_comes_back(path):
    space = grid.load(path)
    assert restoring.space(space.to_json()) == space


def test_long_axes_come_back():
    space = grid.load(CORE | {"axes": {"batch": {"start": 1, "stop": 100_000, "step": 1}, "hardware": ["H20"]}})
    assert restoring.space(space.to_json()) == space


def changed(spec, path, value):
    """The spec with another value at a path of keys; `None` takes the key away."""
    spec = copy.deepcopy(spec)
    *keys, last = path.split(".")
    place = spec
    for key in keys:
        place = place[key]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return json.dumps(spec)


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("study", "x", "study: unknown study 'x'"),
        ("study", [], "study: '[]', a list; expected a text"),
        ("sense", "x", "sense: 'x', a str; expected a whole number"),
        ("sense", 0, "sense: 0; expected 1 or -1"),
        ("sense", True, "sense: 'True', a bool"),
        ("fixed", 5, "fixed: '5', a int; expected a table"),
        ("objective", [], "objective: '[]', a list"),
        ("objective", "speed", "objective: unknown variable 'speed'"),
        ("by", ["colour"], "by: unknown name 'colour'"),
        ("by", [[]], "by: unknown name '[]'"),
        ("defined", {}, "defined: '{}', a dict"),
        ("margin", -1, "margin: -1 is out of range"),
        ("colour", 1, "space: unknown key 'colour'"),
        ("title", None, "title: missing; expected a text"),
        ("rows.hardware", [], "rows.hardware: '[]', a list"),
        ("rows.hardware", None, "rows: hardware: missing"),
        ("rows.colour", {}, "rows: unknown record 'colour'"),
        ("rows.hardware.H20.hbm_bytes", -1.0, "rows.hardware.H20.hbm_bytes: -1.0 is out of range"),
        ("rows.hardware.H20.hbm_bytes", "80 GB", "rows.hardware.H20.hbm_bytes: '80 GB', a str"),
        ("rows.hardware.H20.hbm_bytes", None, "rows.hardware.H20.hbm_bytes: missing; expected a number above 0 [B]"),
        ("rows.hardware.H20.hbm_bytes", 1e300, "is beyond 1e-30 .. 1e30"),
        ("rows.hardware.H20.hbm_bytes", float("nan"), "rows.hardware.H20.hbm_bytes: nan is not finite"),
        ("rows.hardware.H20.source", 3, "rows.hardware.H20.source: '3', a int"),
        ("rows.hardware.H20.sources", {"watts": {}}, "sources.watts: '{}', a dict; expected a kind and a text"),
        ("axes.batch", [], "axes.batch: empty"),
        ("axes.batch", [16, 16], "axes.batch: a value twice"),
        ("axes.batch", [16, "x"], "axes.batch: 'x', a str"),
        ("axes.batch", [16, 0], "axes.batch: 0 is out of range"),
        ("axes.batch", list(range(1, 40)) + [1.5], "axes.batch: 1.5 is not an integer"),
        ("axes.batch", list(range(40)), "axes.batch: 0.0 is out of range"),
        ("axes.batch", [*range(1, 40), 10**400], "axes.batch: "),
        ("axes.batch", {"start": 1}, "axes.batch: "),
        ("axes.hardware", ["H20", "H99"], "axes.hardware: unknown hardware 'H99'"),
        ("axes.hardware", ["H20", []], "axes.hardware: '[]', a list; expected a text"),
        ("axes.phase", ["decode", "sleep"], "axes.phase: unknown phase 'sleep'"),
        ("axes.colour", [1], "axes.colour: unknown axis 'colour'"),
        ("fixed.tp", 0, "fixed.tp: 0 is out of range"),
        ("fixed.batch", 3, "axes: batch; expected axes, and what is fixed apart"),
        ("fixed.context", 5120, "axes: context: beside isl; expected one or the other"),
        ("fixed.concurrency", 64, "axes: concurrency: beside batch; expected one or the other"),
        ("fixed.pipeline", None, "axes: pipeline: missing; expected an axis, or a value in fixed"),
        ("fixed.model", None, "axes: model: missing"),
        ("fixed.osl", None, "axes: osl: missing"),
        ("axes.batch", None, "axes: batch: missing"),
        ("rows.hardware.H20.curve", None, "rows.hardware.H20.curve: unknown curve of form kernel 'None'"),
        ("fixed.curve_gemm_small_k", 0.5, "axes.curve_gemm_small_k: unknown knot of curve 'hopper'"),
        ("rows.hardware.H20.curve", "x", "rows.hardware.H20.curve: unknown curve of form kernel 'x'"),
        ("bounds.min_tps_per_user", "x", "bounds.min_tps_per_user: 'x', a str"),
        ("bounds.tps_per_user", 3, "bounds.tps_per_user: expected min_<variable>"),
        ("bounds.max_ttft", [[1, 2, 3]], "bounds.max_ttft: "),
    ],
)
def test_what_dsjax_would_not_write_is_named(spec, path, value, words):
    with pytest.raises(dsjax.InputError) as error:
        restoring.space(changed(spec, path, value))
    assert words in str(error.value) and len(str(error.value)) < 300


@pytest.mark.parametrize("text", ["", "[]", "3", "null", "{", "[" * 10**5, '{"a": ' * 10**5, '{"study": 1e999}'])
def test_no_space_at_all(text):
    with pytest.raises(dsjax.InputError):
        restoring.space(text)


@pytest.mark.parametrize("name", ["decode_gpu_2025", "default", "prefill", "serve", "disaggregated", "sg2260e"])
def test_a_spec_that_lacks_a_key_is_whole_or_refused(name):
    """Every key taken away, one at a time: what is read has a row for every label, and a value for every name."""
    [path] = [path for path in GRIDS if path.stem == name]
    whole = grid.load(path)
    spec, refused = json.loads(whole.to_json()), 0
    keys = [path for path in places(spec) if len(path) <= 3 or path[-1] in ("curve", "curves", "form")]
    for *where, last in keys:
        data = copy.deepcopy(spec)
        place = data
        for key in where:
            place = place[key]
        del place[last]
        try:
            space = restoring.space(json.dumps(data))
        except dsjax.InputError:
            refused += 1
            continue
        names = {*whole.axes, *whole.fixed}
        assert {*space.axes, *space.fixed} == names, (*where, last)
        for each in (space, *space.pools.values()):
            each.with_rows_in_use()
            labels = each.labels("curve") if "curve" in each.rows else ()
            assert all(row for label in labels for row in each.rows_of_curve(label))
    assert refused > len(spec["axes"]) + len(whole.study.kinds)


@pytest.mark.parametrize(
    ("name", "path", "value", "words"),
    [
        ("serve", "axes.concurrency", None, "axes: concurrency or requests_per_s: missing; expected one of the two"),
        ("serve", "fixed.requests_per_s", 2.0, "axes: concurrency: beside requests_per_s; expected one or the other"),
        ("serve", "fixed.host_fraction", 0.9, "fixed.host_fraction: up to 0.9 beside cached_fraction up to "),
        ("disaggregated", "axes.prefill_tp", None, "axes: prefill_tp: missing"),
        ("disaggregated", "fixed.decode_engine", None, "axes: decode_engine: missing"),
        ("decode_gpu_2025", "fixed.curve", None, "axes: curve: missing"),
    ],
)
def test_what_a_server_would_not_have_is_named(name, path, value, words):
    [file] = [path for path in GRIDS if path.stem == name]
    spec = json.loads(grid.load(file).to_json())
    if path == "fixed.host_fraction":
        spec["fixed"]["cached_fraction"] = 0.5
    with pytest.raises(dsjax.InputError) as error:
        restoring.space(changed(spec, path, value))
    assert words in str(error.value)


STRANGE = [
    None,
    True,
    -1,
    0,
    1e300,
    1e-300,
    2**63,
    0.5,
    "",
    "x",
    "nan",
    [],
    [1],
    [[]],
    {},
    {"a": 1},
    "\x1b[31m",
    "a" * 5000,
]


def places(data, path=()):
    """Every key, of tables and of lists, all the way down."""
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in items:
        yield (*path, key)
        yield from places(value, (*path, key))


def test_a_changed_spec_is_read_or_refused(spec):
    """300 changes by seed: a space that is as good as any, or one line; never another error."""
    rng, every, read = random.Random(0), list(places(spec)), 0
    for _ in range(300):
        data, (*keys, last) = copy.deepcopy(spec), rng.choice(every)
        place = data
        for key in keys:
            place = place[key]
        place[last] = rng.choice(STRANGE)
        try:
            space = restoring.space(json.dumps(data))
        except dsjax.InputError as error:
            assert "\n" not in str(error) and len(str(error)) < 400, str(error)
            continue
        read += 1
        assert space.points == 16, (keys, last)
    assert 10 < read < 200
