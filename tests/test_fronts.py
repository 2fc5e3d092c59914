"""Pareto fronts and top-k against brute force in plain Python; senses, files, bad input, the command line."""

import dataclasses
import json

import numpy as np
import pytest
from console import command

import dsjax
from dsjax.results import dataset
from dsjax.search import pareto, ranking
from dsjax.space import grid
from dsjax.specs.variables import MEASURES, SENSE

AXES = {"hardware": ["H800", "A100"], "nic": ["CX7", "E810"], "batch": [8, 16, 24], "precision": ["kv2-w2", "kv1-w1"]}
FIXED = {"ep": 72, "mtp": 0, "pipeline": "naive"}
BATCH, KV = AXES["batch"], [2.0, 1.0]  # and the bytes of the KV cache of these precisions
TOLERANCE = {"float64": 1e-9, "float32": 1e-6}


@pytest.fixture(scope="module")
def space():
    return grid.load({"study": "decode_gpu_2025", "axes": AXES, "fixed": FIXED})


@pytest.fixture(scope="module")
def toys(space):
    return [toy(space, seed) for seed in range(1000)]


def toy(space, seed):
    """A dataset of a real space with made-up values: few levels, so ties, exact and up to rounding; some unknown."""
    rng = np.random.default_rng(seed)
    dtype = "float32" if seed % 3 == 0 else "float64"
    dims, shape = tuple(space.axes), tuple(space.sizes.values())
    levels, noise = rng.choice([2, 4, 30]), rng.choice([0.0, 1e-13, 3e-10])

    def made_up():
        return (rng.integers(1, levels + 1, shape) * (1 + noise * rng.uniform(-1, 1, shape))).astype(dtype)

    arrays = {"tps_per_chip": (dims, made_up()), "tps_per_user": (dims, made_up()), "step_time": (dims, made_up())}
    if seed % 5 == 0:
        arrays["tps_per_user"][1][rng.uniform(size=shape) < 0.2] = np.nan
    arrays["feasible"] = (dims, rng.uniform(size=shape) < rng.choice([0.0, 0.2, 0.6, 1.0]))
    ds = dataset.to_dataset(space, arrays)
    return ds.drop_vars([name for name in ds.coords if name not in (*AXES, "kv_bytes")])  # the rest only takes time


def listed(ds, x, y, by):
    """{group: [(x, y, tie key, label)]} of the feasible points where both are known."""
    groups = {}
    for position, index in enumerate(np.ndindex(ds.feasible.shape)):
        values = [float(ds[name].values[index]) for name in (x, y)]
        if ds.feasible.values[index] and not np.isnan(values).any():
            key = (-BATCH[index[2]], KV[index[3]], position)
            groups.setdefault(tuple(index[list(AXES).index(name)] for name in by), []).append((*values, key, index))
    return groups


def equal(a, b, tolerance):
    return all(abs(p - q) <= tolerance * max(abs(p), abs(q)) for p, q in zip(a[:2], b[:2]))


def brute_force(ds, x, y, senses, by):
    """[(index of the point, equals)] by comparing every point with every other one."""
    chosen, tolerance = [], TOLERANCE[str(ds[x].dtype)]
    for _, points in sorted(listed(ds, x, y, by).items()):
        points = [(senses[0] * a, senses[1] * b, *rest) for a, b, *rest in points]
        front = [p for p in points if not any(q[0] >= p[0] and q[1] >= p[1] and q[:2] != p[:2] for q in points)]
        heads, found = [], []
        for p in sorted(front, key=lambda p: -p[0]):
            if not heads or not equal(p, heads[-1], tolerance):
                heads.append(p)
        for i, head in enumerate(heads):
            near = [p for p in points if equal(p, head, tolerance)]
            near = [p for p in near if not any(equal(p, earlier, tolerance) for earlier in heads[:i])]
            found.append((min(near, key=lambda p: p[2])[3], len(near)))
        chosen += found[::-1] if senses[0] > 0 else found
    return chosen


def test_equals_brute_force(toys):
    points = tied = 0
    for seed, ds in enumerate(toys):
        y, senses, text = [("tps_per_chip", (1, 1), "tps_per_chip"), ("step_time", (1, -1), "step_time")][seed % 2]
        by = [(), ("hardware",), ("nic", "batch")][seed % 3]
        found = pareto.of_dataset(ds, "tps_per_user", text, by)
        expected = brute_force(ds, "tps_per_user", y, senses, by)
        labels = [tuple(values[i] for values, i in zip(AXES.values(), index)) for index, _ in expected]
        assert list(zip(*(found[axis].values.tolist() for axis in AXES))) == labels, seed
        assert found["ties"].values.tolist() == [n for _, n in expected], seed
        points += len(expected)
        tied += sum(n > 1 for _, n in expected)
    assert points > 2000 and tied > 500


def test_top_k_equals_brute_force(space, toys):
    ranked = 0
    for seed, ds in enumerate(toys):
        by, top = [(), ("hardware",), ("nic", "batch")][seed % 3], [1, 2, 5, 100][seed % 4]
        tolerance, expected = TOLERANCE[str(ds.tps_per_chip.dtype)], []
        for points in listed(ds, "tps_per_chip", "tps_per_chip", by).values():
            for _ in range(min(top, len(points))):
                best = max(p[0] for p in points)
                near = [p for p in points if p[0] >= best - tolerance * best]
                pick = min(near, key=lambda p: p[2])
                expected.append((-pick[0], pick[2][-1], len(near)))
                points.remove(pick)
        found = ranking.best(ds, by=by, top=top)
        places = [np.array([AXES[a].index(v) for v in found[a].values.tolist()], int) for a in AXES]
        flat = np.ravel_multi_index(places, tuple(space.sizes.values())).tolist() if places[0].size else []
        assert list(zip(flat, found.ties.values.tolist())) == [p[1:] for p in sorted(expected)], seed
        ranked += len(flat)
    assert ranked > 5000


@pytest.mark.parametrize("n, noise", [(300, 0.0), (300, 1e-12), (20_000, 0.0)])
def test_long_fronts_and_many_points(n, noise):
    rng = np.random.default_rng(1)
    u = rng.permutation(np.arange(n) // 3 + 1.0) * (1 + noise * rng.uniform(-1, 1, n))
    v = (n - np.round(u)) * (1 + noise * rng.uniform(-1, 1, n))
    picks, equals = pareto.front(u, v, [], 1e-9)
    assert equals.tolist() == [n % 3] * (n % 3 > 0) + [3] * (n // 3)
    assert (np.diff(u[picks]) < 0).all() and (np.diff(v[picks]) > 0).all()
    behind = np.concatenate([u, u * 0.999]), np.concatenate([v, v * 0.999])
    again, equals_again = pareto.front(*behind, [], 1e-9)
    assert again.tolist() == picks.tolist() and equals_again.tolist() == equals.tolist()


def test_no_point_of_the_sample_hides_one():
    """The best point alone in 200,000, wherever it stands."""
    u = np.random.default_rng(2).uniform(1, 2, 200_000)
    for i in (0, 1, 77_777, 199_999):
        v = u.copy()
        u_i, u[i], v[i] = u[i], 3.0, 3.0
        assert [x.tolist() for x in pareto.front(u, v, [], 1e-9)] == [[i], [1]]
        u[i] = u_i


def test_many_equal_points_are_ranked_in_a_moment(space):
    axes = {"batch": {"start": 1, "stop": 60_000, "step": 1}, "nic": ["CX7", "E810"]}
    fixed = FIXED | {"hardware": "H800", "precision": "kv2-w2"}
    many = grid.load({"study": "decode_gpu_2025", "axes": axes, "fixed": fixed})
    shape = tuple(many.sizes.values())
    ones = {name: (tuple(many.axes), np.ones(shape)) for name in ("tps_per_chip", "tps_per_user")}
    ds = dataset.to_dataset(many, ones | {"feasible": (tuple(many.axes), np.ones(shape, bool))})
    found = ranking.best(ds, by=(), top=3000)
    assert sorted(found.ties.values.tolist()) == list(range(117_001, 120_001))
    assert found.batch.values.tolist() == [b for b in range(58_501, 60_001) for _ in "ab"]  # of equals the grid's order
    one = pareto.of_dataset(ds)
    assert (one.sizes["rank"], one.ties.item(), one.batch.item(), one.nic.item()) == (1, 120_000, 60_000, "CX7")


@pytest.fixture(scope="module")
def sweep(study):
    return study


def test_front_of_the_study_is_what_best_finds_at_its_ends(sweep):
    found = dsjax.pareto(sweep, by=["hardware"])
    assert {"H800", "H20"} <= set(found.hardware.values.tolist())
    for hardware in set(found.hardware.values.tolist()):
        front = found.isel(rank=found.hardware.values == hardware)
        assert (np.diff(front.tps_per_user) > 0).all() and (np.diff(front.tps_per_chip) < 0).all()
        for objective, i in (("tps_per_user", -1), ("tps_per_chip", 0)):
            ends = dsjax.best(sweep, by=["hardware"], objective=objective)
            end = ends[objective].values[ends.hardware.values == hardware].item()
            assert front[objective].values[i] == pytest.approx(end, rel=1e-9)
        group = sweep.sel(hardware=hardware)
        for i in range(front.sizes["rank"]):
            u, v = (float(front[name][i]) for name in ("tps_per_user", "tps_per_chip"))
            better = (group.tps_per_user > u * (1 + 1e-9)) & (group.tps_per_chip > v * (1 + 1e-9)) & group.feasible
            assert not bool(better.any())


def test_senses_are_those_of_the_variables_and_can_be_turned(sweep):
    assert {name for name in MEASURES if name not in SENSE} == {
        *("dp", "ep", "balanced_ratio", "prefill_share", "mixed_share")
    }
    assert SENSE["cost_per_million_tokens"] == SENSE["tpot"] == SENSE["memory_per_chip"] == -SENSE["mfu"] == -1
    by_time, by_rate = dsjax.pareto(sweep, x="tpot"), dsjax.pareto(sweep)
    assert by_time.tps_per_chip.values.tolist() == by_rate.tps_per_chip.values[::-1].tolist()
    assert (np.diff(by_time.tpot) > 0).all()
    worst = dsjax.pareto(sweep, x="-tps_per_user", y="-tps_per_chip")
    feasible = sweep.tps_per_chip.where(sweep.feasible)
    assert worst.tps_per_chip.min() == feasible.min() and worst.attrs["pareto_x_sense"] == -1
    fewest, most = (dsjax.pareto(sweep, x=f"{sign}dp") for sign in "-+")
    assert fewest.dp.values.tolist() == [72, 144, 320] and most.dp.values.tolist() == [320]


def test_grid_file_and_dataset_agree(tmp_path, sweep):
    found = dsjax.pareto("decode_gpu_2025", by=["nic"])
    dsjax.write_netcdf(sweep, tmp_path / "study.nc")
    for other in (dsjax.pareto(tmp_path / "study.nc", by=["nic"]), dsjax.pareto(sweep, by=["nic"])):
        for name in (*dataclasses.asdict(grid.load("decode_gpu_2025"))["axes"], "tps_per_user", "ties"):
            assert found[name].values.tolist() == other[name].values.tolist()


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"x": "tps_per_usr"}, "x: unknown variable 'tps_per_usr' tps_per_user"),
        ({"x": "--tpot"}, "x: unknown '-tpot'"),
        ({"y": ""}, "y: unknown variable"),
        ({"y": "ttft"}, "y: unknown variable 'ttft'"),
        ({"y": "cost_per_million_tokens"}, "y: unknown variable"),
        ({"x": "dp"}, "x: 'dp' '+dp' '-dp'"),
        ({"x": "tps_per_chip"}, "y: 'tps_per_chip' two different"),
        ({"x": "bottleneck"}, "x: unknown 'bottleneck'"),
        ({"by": ["hardwear"]}, "by: unknown group 'hardwear' hardware"),
        ({"by": 5}, "by: 5 list"),
        ({"axis": {}}, "pareto: option 'axis'"),
        ({"source": "nowhere.nc"}, "nowhere.nc cannot be read"),
        ({"source": "study.nc", "axes": {}}, "axes change a grid"),
    ],
)
def test_bad_input(changes, words):
    with pytest.raises(dsjax.InputError) as error:
        dsjax.pareto(**{"source": "decode_gpu_2025"} | changes)
    message = str(error.value)
    assert "\n" not in message and all(word in message for word in words.split()), message


def test_command_line(sweep):
    found = dsjax.pareto("decode_gpu_2025", by=["hardware"])
    text = command("pareto", "decode_gpu_2025", "--by", "hardware")
    lines = [line.split() for line in text.splitlines()]
    rows = [line for line in lines if len(line) > 3 and line[0].isdigit() and line[1] in ("H800", "H20", "A100", "L20")]
    assert [row[1] for row in rows] == found.hardware.values.tolist()
    assert "659 of 4,320 points are feasible" in text
    for hardware in set(found.hardware.values.tolist()):
        assert f"hardware {hardware}: {[row[1] for row in rows].count(hardware)} point" in text
    parsed = json.loads(command("pareto", "decode_gpu_2025", "--by", "hardware", "--format", "json"))
    assert [row["tps_per_chip"] for row in parsed["rows"]] == found.tps_per_chip.values.tolist()
    assert (parsed["x"], parsed["y"]) == ("tps_per_user", "tps_per_chip")
    csv_text = command("pareto", "decode_gpu_2025", "--y=-step_time", "--format", "csv", "--quiet")
    assert csv_text.splitlines()[0].startswith("rank,hardware,nic,ep,batch")
    assert len(csv_text.splitlines()) == dsjax.pareto(sweep, y="-step_time").sizes["rank"] + 1
    assert "unknown" in command("pareto", "decode_gpu_2025", "--x", "speed", code=2)


def test_nothing_feasible_is_exit_1():
    text = command("pareto", "decode_gpu_2025", "--axis", "hardware=L20", "--fix", "context=100000", code=1)
    assert "0 of" in text and "ok_memory" in text


@pytest.mark.parametrize(("name", "x"), [("prefill", "ttft"), ("sg2260e", "step_time"), ("default", "tps_per_user")])
@pytest.mark.parametrize("how", ["held", "streamed", "command"])
def test_every_grid_has_a_front_that_nobody_names(name, x, how):
    """Prompts alone have no tokens of users: their first token is the other side."""
    fixed = {"nic": "two-layer"} if name == "sg2260e" else {"nic": "CX7", "tp": 2}
    if how == "command":
        args = [part for axis, value in fixed.items() for part in ("--fix", f"{axis}={value}")]
        found = json.loads(command("pareto", name, *args, "--format", "json"))
        assert f"--x {x} --y tps_per_chip" in command("pareto", name, *args)
        assert len(found["rows"]) > 1 and found["x"] == x
        return
    front = dsjax.pareto(name, fixed=fixed, stream=how == "streamed")
    assert front.attrs["pareto_x"] == x and front.sizes["rank"] > 1
    xs = front[x].values
    assert (np.diff(xs) > 0).all()
