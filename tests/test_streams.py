"""Streamed searches find what searches of the whole Dataset find; regrouped programs give the same up to rounding."""

import dataclasses
import math

import numpy as np
import pytest
from click.testing import CliRunner

import dsjax
from dsjax import arrays, cli, evaluation
from dsjax.evaluation import by_numpy, reassociate
from dsjax.evaluation.recording import Graph
from dsjax.search import best, cells, pareto, ranking, streaming
from dsjax.space import grid
from dsjax.sweeps import sweep

STUDY = "decode_gpu_2025"
LONG = {"batch": {"start": 8, "stop": 512, "step": 8}, "context": {"start": 512, "stop": 16384, "step": 512}}


@pytest.fixture(scope="module", params=["float32", "float64"])
def long(request):
    """A space of many cells, and its Dataset."""
    space = grid.load(STUDY, axes=LONG | {"nic_scale_out_bytes_per_s": [1e10, 5e10]}, fixed={"nic": "CX7"})
    return space, sweep.of_space(space, request.param, False), request.param


@pytest.fixture(autouse=True)
def small_cells(monkeypatch):
    """Cells and slabs small enough for several of them."""
    monkeypatch.setattr(cells, "CELL", 2**8)
    monkeypatch.setattr(cells, "SLAB", 2**15)


def assert_same(streamed, whole, space):
    """The same points in the same order; in float32 rounding may swap what is closer than the tolerance."""
    if streamed[space.objective].dtype == np.float32:
        order = [ds.isel(rank=np.lexsort([ds[axis] for axis in space.axes])) for ds in (streamed, whole)]
        streamed, whole = (ds.assign_coords(rank=np.arange(ds.sizes["rank"])) for ds in order)
    assert dict(streamed.sizes) == {"rank": whole.sizes["rank"]}
    for name in (*space.axes, "ties", "rank"):
        np.testing.assert_array_equal(streamed[name], whole[name], err_msg=name)
    for name in whole.data_vars:
        if whole[name].dtype.kind == "f":
            np.testing.assert_allclose(streamed[name], whole[name], rtol=1e-6, err_msg=name)
        else:
            np.testing.assert_array_equal(streamed[name], whole[name], err_msg=name)
        assert str(streamed[name].attrs) == str(whole[name].attrs), name
    assert set(streamed.variables) == set(whole.variables)
    assert streamed.attrs["dsjax_spec"] == whole.attrs["dsjax_spec"]


@pytest.mark.parametrize(
    ("by", "top", "objective"),
    [
        (None, 1, None),
        ((), 10, None),
        (("hardware", "batch"), 1, None),
        (("precision",), 40, "-tpot"),  # ties: what the NIC does not change
        (("kv_bytes", "mtp"), 3, "mfu"),
        ((), 3, "-memory_per_chip"),  # nearly everything is equal
    ],
)
def test_best_is_that_of_the_whole_dataset(long, by, top, objective):
    space, ds, dtype = long
    assert len(cells.layout_of(space, set(by or ())).kept) > 2
    streamed = streaming.best(space, by=by, top=top, objective=objective, dtype=dtype)
    assert_same(streamed, ranking.best(ds, by=by, top=top, objective=objective), space)


@pytest.mark.parametrize(
    ("x", "y", "by"),
    [
        ("tps_per_user", "tps_per_chip", ()),
        ("tps_per_user", "tps_per_chip", ("hardware", "mtp")),
        ("memory_per_chip", "tps_per_chip", ("ep",)),
        ("-batch_total", "+mfu", ()),
    ],
)
def test_fronts_are_those_of_the_whole_dataset(long, x, y, by):
    space, ds, dtype = long
    streamed, whole = streaming.pareto(space, x, y, by, dtype), pareto.of_dataset(ds, x, y, by)
    if dtype == "float64":
        assert_same(streamed, whole, space)
    else:  # of points that rounding alone separates, one more or one less
        assert abs(streamed.sizes["rank"] - whole.sizes["rank"]) <= 2
        for one, other in ((streamed, whole), (whole, streamed)):
            signs = [[[one.attrs["pareto_x_sense"]]], [[one.attrs["pareto_y_sense"]]]]
            a, b = (ds[[x.lstrip("+-"), y.lstrip("+-")]].to_array().values for ds in (one, other))
            behind = (
                signs * (a[:, :, None] / b[:, None, :] - 1.0) <= 2e-6
            )  # of one front, points not beyond the other's
            assert behind.all(0).any(1).all()
    assert {k: v for k, v in streamed.attrs.items() if k.startswith("pareto")} == {
        k: v for k, v in whole.attrs.items() if k.startswith("pareto")
    }


def test_counts_are_those_of_the_whole_dataset(long, monkeypatch):
    space, ds, dtype = long
    monkeypatch.setattr(streaming, "MOST_CANDIDATES", 1000)  # so that masks are counted slab by slab
    assert streaming.counted(space, dtype) == ranking.counted(ds)


def test_a_cell_is_bounded_by_what_it_holds_at_most(long):
    space, ds, dtype = long
    layout = cells.layout_of(space)
    most = cells.largest(space, layout, "tps_per_chip", 1, dtype)
    value = ds.tps_per_chip.where(ds.feasible, -np.inf).broadcast_like(ds.step_time)
    truth = value.max([axis for axis in layout.inner if axis != layout.long])
    if layout.long:
        truth = truth.coarsen({layout.long: layout.length(layout.long)}, boundary="pad").max()
    truth = truth.transpose(*layout.policies, *layout.kept).values
    assert (most >= truth).all()
    near = np.isfinite(truth)
    np.testing.assert_allclose(most[near], truth[near], rtol=5 * cells.ROUNDING[dtype])


@pytest.mark.parametrize("name", ["sg2260e", "prefill"])
def test_other_models_and_phases(name):
    cut = {"nic": ["one-layer"], "chips": [32, 128]} if name == "sg2260e" else {"hardware": ["H800", "L20"]}
    space = grid.load(name, axes=cut)
    assert_same(streaming.best(space, top=2), ranking.best(sweep.of_space(space, "float32", False), top=2), space)


def test_nothing_feasible_is_nothing_found():
    space = dataclasses.replace(grid.load(STUDY), bounds={"min_tps_per_user": 1e9})
    found, held = streaming.best(space), ranking.best(sweep.of_space(space, "float32", False))
    assert set(found.variables) == set(held.variables)
    assert found.sizes["rank"] == 0 and streaming.counted(space)["feasible"] == 0
    assert streaming.pareto(space).sizes["rank"] == 0


def test_too_many_equals_are_refused(monkeypatch):
    monkeypatch.setattr(streaming, "MOST_CANDIDATES", 10)
    with pytest.raises(dsjax.InputError, match="more than 10 points are as good as the best"):
        streaming.best(grid.load(STUDY), by=(), objective="-memory_per_chip")


def test_from_python_and_the_command_line_the_same(tmp_path):
    whole, streamed = (dsjax.best(STUDY, by=["hardware"], top=2, stream=stream) for stream in (False, True))
    assert_same(streamed, whole, grid.load(STUDY))
    assert "dsjax.best(dtype=float64)" in streamed.attrs["history"]
    whole, streamed = (dsjax.pareto(STUDY, by=["hardware"], stream=stream) for stream in (False, True))
    assert_same(streamed, whole, grid.load(STUDY))
    for args in (["best", STUDY, "--by", "hardware"], ["pareto", STUDY]):
        printed = [CliRunner().invoke(cli.main, [*args, how]) for how in ("--stream", "--no-stream")]
        assert printed[0].exit_code == 0 and printed[0].output == printed[1].output, args
    path = tmp_path / "x.nc"
    dsjax.write_netcdf(dsjax.sweep(STUDY), path)
    refused = CliRunner().invoke(cli.main, ["best", str(path), "--stream"])
    assert refused.exit_code == 2 and "expected a grid" in refused.output
    with pytest.raises(dsjax.InputError, match="stream change a grid"):
        dsjax.best(dsjax.sweep(STUDY), stream=True)


def test_what_does_not_fit_is_streamed(monkeypatch):
    space = grid.load(STUDY)
    monkeypatch.setattr(best.machine, "available_memory", lambda: 30_000.0)
    assert not best.fits(space, "float64")
    found = dsjax.best(STUDY, by=())
    assert found["tps_per_chip"].values[0] == pytest.approx(3702.8, rel=1e-4)
    with pytest.raises(dsjax.InputError, match="is free"):
        dsjax.best(STUDY, by=(), stream=False)


def random_function(rng, depth):
    """A scalar function of six positive numbers: sums, products, selects, quotients."""
    steps = rng.integers(0, 6, (depth, 4))

    def function(*x):
        values = list(x)
        for kind, i, j, k in steps:
            a, b, c = (values[n % len(values)] for n in (i, j + 1, k + 2))
            chosen = arrays.where(a >= b, b, c), arrays.where(a >= b, a, b) + c
            made = (a + b, 0.5 * a, chosen[0], a / (b + c), chosen[1], a * b)[kind]
            values.append(made / (1.0 + made))
        return [sum(values[6:]), values[-1] >= values[-2]]

    return function


def recorded(function, n, dtype="float64"):
    graph = Graph([dtype] * n, dtype)
    return graph, [symbol.node for symbol in function(*graph.symbols())]


def size_of(sizes):
    """Points over axes given as bits."""
    return lambda bits: math.prod(n for i, n in enumerate(sizes) if bits >> i & 1)


@pytest.mark.parametrize("seed", range(8))
def test_regrouped_sums_give_the_same(seed):
    rng = np.random.default_rng(seed)
    graph, wanted = recorded(random_function(rng, 12), 6)
    sizes, axes = (7, 5, 3), [0, 1, 2, None, 0, 1]
    shapes = [[n if axis == i else 1 for i, n in enumerate(sizes)] for axis in axes]
    operands = {i: rng.uniform(0.5, 2.0, shape) for i, shape in enumerate(shapes)}
    supports = [0 if axis is None else 1 << axis for axis in axes]
    other, nodes = reassociate.regrouped(graph, wanted, supports, size_of(sizes))
    one, two = by_numpy.Prepared(graph, wanted)(operands), by_numpy.Prepared(other, nodes)(operands)
    np.testing.assert_allclose(two[0], one[0], rtol=1e-13)
    assert (two[1] != one[1]).mean() < 0.01


def test_regrouping_keeps_small_terms_out_of_the_full_rank():
    """a + b + c + d over axes a, b, a, b: one sum of full rank instead of three."""
    graph, wanted = recorded(lambda a, b, c, d: [(a + b) + c + d], 4)
    supports = [1, 2, 1, 2]

    def full(graph, wanted):
        sums = [graph.nodes[node] for node in graph.needed(wanted) if graph.nodes[node].name == "add"]
        return sum(bool(node.sources & 0b0101 and node.sources & 0b1010) for node in sums)

    assert full(graph, wanted) == 3
    assert full(*reassociate.regrouped(graph, wanted, supports, size_of((100, 100)))) == 1


@pytest.mark.parametrize("by", [(), ("hardware", "precision"), ("batch",)])
def test_axes_of_one_value_in_a_slab_keep_their_place(by):
    """Cells are numbered over all kept axes, whichever of them a slab has one value of."""
    axes = {"ep": [144], "hardware": ["H800", "H20"], "context": [4096], "batch": [16, 64, 128]}
    space = grid.load(STUDY, axes=axes, fixed={"pipeline": "naive"})
    layout = cells.layout_of(space, by, "float64")
    found = cells.largest(space, layout, "tps_per_chip", 1.0, "float64")
    ds = sweep.of_space(space)
    order = (*layout.kept, *layout.inner)
    values = ds.tps_per_chip.where(ds.feasible, -np.inf).broadcast_like(ds.feasible).transpose(*order).values
    shape = [space.sizes[axis] for axis in layout.kept]
    np.testing.assert_allclose(found, values.reshape(*shape, -1).max(-1), rtol=1e-11)


def test_axes_that_few_equations_see_go_into_a_slab_first(monkeypatch):
    """Of a slab that has no room for all of them, the NIC's rate comes before the precision, which all pieces see."""
    monkeypatch.setattr(cells, "CELL", 2**6)
    monkeypatch.setattr(cells, "SLAB", 2**15)
    axes = {"nic_scale_out_bytes_per_s": [1e10 * i for i in range(1, 17)]} | LONG
    space = grid.load(STUDY, axes={"ep": [144], **axes}, fixed={"nic": "CX7", "pipeline": "naive"})
    sizes = dict(cells.layout_of(space).sizes)
    assert sizes["nic_scale_out_bytes_per_s"] == 16 and sizes["hardware"] == 1
    seen = evaluation.equations_along(space)
    assert 0 < seen["nic_scale_out_bytes_per_s"] < seen["hardware"] and seen["ep"] < seen["batch"]


def test_layouts_cut_every_axis_into_whole_slabs():
    space = grid.load(STUDY, axes=LONG)
    layout = cells.layout_of(space, {"hardware"})
    assert "hardware" in layout.kept and layout.policies == ("pipeline",)
    sizes = dict(layout.sizes)
    assert all(space.sizes[axis] % n == 0 for axis, n in sizes.items())
    assert 2 * 4 * np.prod(list(sizes.values())) <= cells.SLAB
    assert all(sizes[axis] == space.sizes[axis] or axis == layout.long for axis in layout.inner)
    assert {*layout.policies, *layout.kept, *layout.inner} == set(space.axes)
