"""A Dataset that was cut is asked as the grid of its points would be: `.sel`, `.isel`, `.where`, in any order."""

import csv
import dataclasses
import json

import numpy as np
import pytest
import xarray as xr
from click.testing import CliRunner

import dsjax
from dsjax import cli
from dsjax.results.handle import Results
from dsjax.search import point, ranking

GRID = {
    "study": "decode_gpu_2025",
    "axes": {
        "hardware": ["H800", "H20", "L20"],
        "ep": [72, 144],
        "batch": [32, 64, 128],
        "precision": ["kv2-w2", "kv1-w1"],
    },
    "fixed": {"nic": "CX7", "mtp": 1, "pipeline": "naive", "context": 5120},
    "constraints": {"min_tps_per_user": 20},
    "objective": {"maximize": "tps_per_chip", "by": ["hardware", "weight_bytes"]},
}


def changed(axes=None, fixed=None):
    """The grid with other values of its axes, and some fixed."""
    kept = {name: values for name, values in (GRID["axes"] | (axes or {})).items() if name not in (fixed or {})}
    return GRID | {"axes": kept, "fixed": GRID["fixed"] | (fixed or {})}


@pytest.fixture(scope="module", autouse=True)
def interpreted():
    yield


@pytest.fixture(scope="module")
def ds():
    return dsjax.sweep(GRID)


CUTS = {
    "sel": (lambda ds: ds.sel(ep=144), changed(fixed={"ep": 144})),
    "sel a row": (lambda ds: ds.sel(hardware="H20"), changed(fixed={"hardware": "H20"})),
    "sel two": (lambda ds: ds.sel(precision="kv1-w1", ep=72), changed(fixed={"ep": 72, "precision": "kv1-w1"})),
    "sel all but one": (
        lambda ds: ds.sel(hardware="H800", ep=72, precision="kv1-w1"),
        changed(fixed={"hardware": "H800", "ep": 72, "precision": "kv1-w1"}),
    ),
    "isel": (lambda ds: ds.isel(batch=1), changed(fixed={"batch": 64})),
    "slice": (lambda ds: ds.isel(batch=slice(0, 2)), changed({"batch": [32, 64]})),
    "list": (lambda ds: ds.sel(hardware=["H20", "H800"]), changed({"hardware": ["H20", "H800"]})),
    "backwards": (
        lambda ds: ds.isel(ep=[1, 0], batch=slice(None, None, -1)),
        changed({"ep": [144, 72], "batch": [128, 64, 32]}),
    ),
    "where": (lambda ds: ds.where(ds.batch < 100, drop=True), changed({"batch": [32, 64]})),
    "where and sel": (
        lambda ds: ds.where(ds.hardware != "L20", drop=True).sel(ep=72).transpose(),
        changed({"hardware": ["H800", "H20"]}, {"ep": 72}),
    ),
}


@pytest.fixture(scope="module", params=CUTS)
def pair(request, ds):
    """(a Dataset that was cut, the sweep of the grid of the same points)."""
    cut, grid = CUTS[request.param]
    return cut(ds), dsjax.sweep(grid)


def same(found, truth):
    """The same variables over the same dims, where both have them; a cut leaves more coordinates."""
    assert found.sizes == truth.sizes and set(found.data_vars) == set(truth.data_vars)
    for name in truth.variables:
        a, b = found[name].broadcast_like(truth), truth[name].broadcast_like(truth)
        np.testing.assert_array_equal(a.transpose(*b.dims).values, b.values, err_msg=name)


def test_the_space_is_that_of_the_grid(pair):
    found, truth = (dataclasses.asdict(Results.of(ds).space) for ds in pair)
    assert {**found, "text": ""} == {**truth, "text": ""}


@pytest.mark.parametrize(
    "options", [{}, {"by": (), "top": 5}, {"by": ["batch"], "objective": "-tpot"}], ids=["default", "top", "objective"]
)
def test_best_points_are_those_of_the_grid(pair, options):
    same(*(dsjax.best(ds, **options) for ds in pair))


def test_fronts_counts_and_quantiles_are_those_of_the_grid(pair):
    same(*(dsjax.pareto(ds, by=["batch"]) for ds in pair))
    same(*(dsjax.histogram(ds, bins=3) for ds in pair))
    cut, whole = map(ranking.counted, pair)
    assert cut == whole


def test_lines_of_csv_are_those_of_the_grid(pair, tmp_path):
    rows = []
    for i, ds in enumerate(pair):
        dsjax.write_csv(ds, tmp_path / f"{i}.csv")
        rows.append(list(csv.DictReader((tmp_path / f"{i}.csv").read_text().splitlines())))
    assert [set(row.items()) for row in rows[0]] == [set(row.items()) for row in rows[1]]


def test_a_file_of_it_is_read_back(pair, tmp_path):
    dsjax.write_netcdf(pair[0], tmp_path / "cut.nc")
    same(dsjax.best(tmp_path / "cut.nc"), dsjax.best(pair[1]))


@pytest.mark.parametrize("name", ["sel a row", "where and sel"])
def test_questions_that_evaluate_again_are_answered_alike(ds, name):
    cut, whole = CUTS[name][0](ds), dsjax.sweep(CUTS[name][1])
    vary = "nic.CX7.scale_out_bytes_per_s"
    asked = {
        "explain": lambda ds: dsjax.explain(ds)[["step_time", "tps_per_chip", "block_time"]],
        "sensitivity": lambda ds: dsjax.sensitivity(ds, wrt=vary, at="best")[["elasticity", "tps_per_chip"]],
        "over the grid": lambda ds: dsjax.sensitivity(ds, wrt=vary, kinks=False, at="grid")[["elasticity", "feasible"]],
        "envelope": lambda ds: dsjax.sensitivity(ds, wrt=vary, envelope=True)[["neighbour_of", "relaxed_load"]],
        "solve": lambda ds: dsjax.solve(ds, vary, "tps_per_chip >= 300", between=(1e9, 1e11))[["value", "feasible"]],
        "uncertainty": lambda ds: dsjax.uncertainty(ds, {vary: 0.1}, samples=8, by=["batch"])[
            ["tps_per_chip", "p_best"]
        ],
        "compare": lambda ds: dsjax.compare(ds, whole)[["objective", "ratio", "kept_ratio", "feasible"]],
    }
    for question in asked.values():
        same(question(cut), question(whole))
    np.testing.assert_array_equal(dsjax.compare(cut, whole)["ratio"], 1.0)


@pytest.mark.parametrize("kind", ["pareto", "heatmap", "breakdown", "response"])
def test_pictures_are_those_of_the_grid(ds, kind):
    cut, whole = (dsjax.plot(kind, one).axes[0] for one in (ds.sel(ep=72), dsjax.sweep(changed(fixed={"ep": 72}))))
    for title in ("left", "center", "right"):  # what is fixed may come in another order
        assert sorted(cut.get_title(title).split()) == sorted(whole.get_title(title).split())
    assert [text.get_text() for text in cut.texts] == [text.get_text() for text in whole.texts]
    assert cut.dataLim.bounds == whole.dataLim.bounds and len(cut.get_children()) == len(whole.get_children())


def test_one_point_is_its_own_best(ds):
    best = dsjax.best(ds, by=())
    one = dsjax.best(best.isel(rank=0), by=())  # ranked points are taken apart by hand
    assert one.sizes["rank"] == 1 and one.tps_per_chip.item() == best.tps_per_chip.item()
    assert dsjax.explain(best).step_time.item() == best.step_time.values[0]


@pytest.fixture(scope="module")
def holes(ds):
    """(Dataset with holes in its box of axes, mask of the points that are there)."""
    there = (ds.batch != 64) | (ds.hardware == "H20")
    return ds.where(there, drop=True), there.broadcast_like(ds.feasible).transpose(*ds.feasible.dims)


def test_masks_that_became_numbers_are_read_right(ds, holes):
    cut, there = holes
    assert cut.feasible.dtype.kind == "f" and cut.ok_memory.dtype.kind == "f"
    results = Results.of(cut)
    np.testing.assert_array_equal(results.in_grid_order("feasible"), (ds.feasible & there).values)
    counts = ranking.counted(cut)
    assert counts["points"] == int(there.sum()) and counts["feasible"] == int((ds.feasible & there).sum())
    refused = {name: int((~ds[name] & there).sum()) for name in ds if name.startswith("ok_")}
    assert counts["refused"] == refused and 0 < refused["ok_tps_per_user"] < ranking.refusals(ds)["ok_tps_per_user"]


def test_holes_are_never_chosen(ds, holes):
    cut, there = holes
    every = dsjax.best(cut, by=(), top=100)
    assert every.sizes["rank"] == int((ds.feasible & there).sum())
    assert not ((every.batch == 64) & (every.hardware != "H20")).any()
    front = dsjax.pareto(cut, by=["hardware"])
    assert not ((front.batch == 64) & (front.hardware != "H20")).any()
    assert int(dsjax.histogram(cut)["count"].sum()) == every.sizes["rank"]
    refused = cut.assign(feasible=cut.feasible.where(cut.feasible.isnull(), 0.0))  # nothing is feasible
    chosen = point.best(refused)
    assert chosen["batch"] != 64 or chosen["hardware"] == "H20"
    with pytest.raises(dsjax.InputError, match="is no point of the dataset"):
        dsjax.explain(refused, {"batch": 64, "hardware": "L20"})


def test_holes_stay_out_of_what_is_evaluated_again(ds, holes):
    cut, there = holes
    only = ds.where(ds.hardware == "H20", drop=False)  # all others are holes
    truth = dsjax.sweep(changed(fixed={"hardware": "H20"}))
    vary = "nic.CX7.scale_out_bytes_per_s"
    solved = [dsjax.solve(x, vary, "tps_per_chip >= 300", between=(1e9, 1e11)) for x in (only, truth)]
    for name in ("value", "response", "feasible"):
        np.testing.assert_allclose(solved[0][name], solved[1][name], rtol=1e-9)
    assert dsjax.explain(only).step_time.item() == dsjax.explain(truth).step_time.item()
    found = dsjax.sensitivity(cut, wrt=vary, kinks=False, at="grid")
    np.testing.assert_array_equal(found.feasible, ds.feasible & there)
    assert found.elasticity.dims[0] == "parameter"
    known = found.elasticity.isel(parameter=0).notnull().transpose(*there.dims)
    np.testing.assert_array_equal(known, there)
    moves = dsjax.sensitivity(only, wrt=vary, envelope=True)
    assert not any(name.startswith("hardware=") for name in moves.neighbour.values)
    assert (
        moves.switch_less.values.tolist()
        == dsjax.sensitivity(truth, wrt=vary, envelope=True).switch_less.values.tolist()
    )
    both = dsjax.compare(ds, cut)
    assert "it was cut away" in both.kept_missing.values.tolist()
    assert both.attrs["points_b"] == int(there.sum()) and both.attrs["feasible_b"] == int((ds.feasible & there).sum())


def test_pictures_leave_holes_out(ds):
    """A cell without any point is neither coloured nor hatched."""
    gone = ds.where((ds.ep == 72) | (ds.batch != 64))
    axes = dsjax.plot("heatmap", gone, x="ep", y="batch", dpi=50).axes[0]
    hatched = [path for collection in axes.collections[1:] for path in collection.get_paths()]
    empty = np.ma.getmaskarray(axes.collections[0].get_array()).sum()
    assert empty == len(hatched) + 1
    for kind in ("pareto", "breakdown", "response"):
        dsjax.plot(kind, gone, dpi=50)


def test_csv_and_files_leave_holes_out(ds, holes, tmp_path):
    cut, there = holes
    dsjax.write_csv(cut, tmp_path / "x.csv")
    rows = list(csv.DictReader((tmp_path / "x.csv").read_text().splitlines()))
    assert len(rows) == int(there.sum()) and {row["feasible"] for row in rows} == {"0", "1"}
    assert {row["bottleneck"] for row in rows} <= {"compute", "memory", "network", "latency"}
    dsjax.write_netcdf(cut, tmp_path / "x.nc")
    same(dsjax.best(tmp_path / "x.nc", by=(), top=100), dsjax.best(cut, by=(), top=100))
    found = CliRunner().invoke(cli.main, ["best", str(tmp_path / "x.nc"), "--format", "json"])
    summary = json.loads(found.output)
    assert summary["points"] == int(there.sum()) and summary["feasible"] == int((ds.feasible & there).sum())


@pytest.mark.parametrize(
    ("cut", "words"),
    [
        (lambda ds: ds.assign_attrs(dsjax_spec="{}"), "attribute dsjax_spec: study: missing; expected a dataset"),
        (lambda ds: xr.Dataset(ds.data_vars, ds.coords), "attribute dsjax_spec: missing"),
        (lambda ds: ds.sel(ep=72, drop=True), "coordinate ep: missing"),
        (lambda ds: ds.mean("ep", keep_attrs=True), "coordinate ep: missing"),
        (lambda ds: ds.drop_vars("batch"), "coordinate batch: missing"),
        (lambda ds: ds.assign_coords(batch=[32, 64, 96]), "unknown value of axis batch '96'"),
        (lambda ds: ds.isel(batch=[0, 0]), "axis batch: has a value twice"),
        (lambda ds: ds.where(ds.batch > 1e9, drop=True), "has no value left"),
        (lambda ds: ds.stack(point=("ep", "batch")).reset_index("point"), "coordinate ep: over point"),
        (lambda ds: xr.concat([ds, ds], "copy"), "variable feasible: over copy"),
        (lambda ds: ds.drop_vars("feasible"), "variable feasible: missing"),
        (lambda ds: ds.drop_vars("tps_per_chip"), "variable tps_per_chip: missing"),
        (lambda ds: ds.sel(ep=72).isel(batch=[]), "has no value left"),
        (lambda ds: dsjax.best(ds).isel(rank=[]), "no ranked point is left"),
    ],
)
def test_what_cannot_be_used_is_one_line(ds, cut, words):
    for question in (dsjax.best, dsjax.pareto, dsjax.histogram):
        with pytest.raises(dsjax.InputError) as error:
            question(cut(ds))
        assert words in str(error.value) and str(error.value).count("\n") == 0, str(error.value)


@pytest.mark.parametrize("kind", ["int64", "int8", "float16"])
def test_measures_of_another_type_are_numbers(ds, kind):
    """What rounding or a smaller file made of them is ranked as it is."""
    name = "mfu" if kind == "float16" else "tps_per_user"  # that the type holds
    rounded = ds.assign({name: ds[name].clip(max=100).astype(kind)})
    as_floats = rounded.assign({name: rounded[name].astype(float)})
    found, wanted = (dsjax.best(of, by=(), objective=name)[name] for of in (rounded, as_floats))
    assert found.dtype == np.float64 and found.attrs["units"] == ds[name].attrs["units"]
    assert found.values.tolist() == wanted.values.tolist() != [0.0]
    assert dsjax.pareto(rounded, x=name).sizes["rank"] and dsjax.histogram(rounded, of=name)["count"].sum()
