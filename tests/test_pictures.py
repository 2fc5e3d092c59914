"""Pictures: what is drawn is what the results say, with its units; files; bad input."""

import itertools
import subprocess
import sys
import xml.etree.ElementTree

import matplotlib
import matplotlib.image
import numpy as np
import pytest
from click.testing import CliRunner

import dsjax
from dsjax import cli, errors
from dsjax.analysis import explain
from dsjax.pictures import canvas, labels, roofline
from dsjax.pictures.charts import roofline as charts_roofline
from dsjax.results.handle import Results

GRID = {
    "title": "A few points",
    "study": "sg2260e",
    "axes": {"nic": ["one-layer", "two-layer"], "tp": [1, 2, 4, 8], "moe_tp": [1, 2], "batch": [4, 8, 10, 12]},
    "fixed": {"phase": "decode", "chips": 128},
    "constraints": {"min_tps_per_user": 10, "max_memory_per_chip": "60 GiB"},
    "objective": {"maximize": "tps_per_chip", "by": ["nic"]},
}
OPTIONS = {
    "pareto": {},
    "heatmap": {"x": "batch", "y": "tp"},
    "roofline": {},
    "breakdown": {"by": ["nic"], "blocks": True},
    "tornado": {},
    "response": {"x": "batch", "y": "tps_per_user,tps_per_chip"},
}


@pytest.fixture(scope="module")
def ds():
    return dsjax.sweep(GRID)


@pytest.fixture(scope="module")
def file(ds, tmp_path_factory):
    path = tmp_path_factory.mktemp("results") / "space.nc"
    dsjax.write_netcdf(ds, path)
    return path


def line(ax, label):
    return next(x for x in ax.lines if x.get_label() == label)


def legend(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


@pytest.mark.parametrize("kind", tuple(OPTIONS))
def test_every_kind_is_a_png_and_an_svg_from_the_file_alone(kind, file, tmp_path):
    before = dict(matplotlib.rcParams)
    figure = dsjax.plot(kind, file, tmp_path / "x.png", size=(8, 5), dpi=50, **OPTIONS[kind])
    assert matplotlib.image.imread(tmp_path / "x.png").shape[:2] == (250, 400)
    dsjax.plot(kind, file, tmp_path / "x.svg", **OPTIONS[kind])
    root = xml.etree.ElementTree.parse(tmp_path / "x.svg").getroot()
    assert root.tag.endswith("svg") and len(list(root.iter())) > 100
    first = (tmp_path / "x.svg").read_bytes()
    dsjax.plot(kind, file, tmp_path / "x.svg", force=True, **OPTIONS[kind])
    assert (tmp_path / "x.svg").read_bytes() == first
    assert "A few points" in figure.axes[0].get_title(loc="left") and figure.get_suptitle()
    assert "Fixed: phase\N{NO-BREAK SPACE}decode" in figure.get_supxlabel()
    assert dict(matplotlib.rcParams) == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x.png", "x.svg"]


NIC = {"x": "nic.scale_out_bytes_per_s", "y": "tpot"}


@pytest.mark.parametrize("size", [(6, 4), (9, 6), (10, 6)], ids=str)
@pytest.mark.parametrize(("kind", "options"), [*OPTIONS.items(), ("response", NIC), ("response", {"x": "nic"})])
def test_no_text_covers_another_or_leaves_the_sheet(kind, options, size, ds):
    figure = dsjax.plot(kind, ds, size=size, **options)
    figure.draw_without_rendering()
    boxes = {}
    for text in figure.findobj(matplotlib.text.Text):
        if text.get_text() and text.get_visible() and not _off_scale(text):
            boxes[text] = text.get_window_extent().padded(-1.0)
    assert len(boxes) > 10
    texts = list(boxes)
    for i, a in enumerate(texts):
        assert figure.bbox.padded(1.0).containsx(boxes[a].x0) and figure.bbox.padded(1.0).containsx(boxes[a].x1), a
        assert figure.bbox.padded(1.0).containsy(boxes[a].y0) and figure.bbox.padded(1.0).containsy(boxes[a].y1), a
        for b in texts[i + 1 :]:
            assert not boxes[a].overlaps(boxes[b]), (a, b)


def _off_scale(text):
    """Whether a text is the label of a tick outside its axis, which is not drawn."""
    for ax in text.figure.axes:
        for axis in (ax.xaxis, ax.yaxis):
            low, high = sorted(axis.get_view_interval())
            for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
                if text in (tick.label1, tick.label2):
                    return not low <= tick.get_loc() <= high
    return False


def test_pareto_draws_the_fronts_of_the_groups(ds):
    ax = dsjax.plot("pareto", ds).axes[0]
    front = dsjax.pareto(ds, by=["nic"])
    for nic in ("one-layer", "two-layer"):
        picked = front["nic"].values == nic
        np.testing.assert_array_equal(line(ax, nic).get_xdata(), front["tps_per_user"].values[picked])
        np.testing.assert_array_equal(line(ax, nic).get_ydata(), front["tps_per_chip"].values[picked])
    assert legend(ax) == ["one-layer", "two-layer", "feasible points", "SLO: tps_per_user ≥ 10 token/s"]
    assert ax.get_xlabel() == "tokens/s per user (tps_per_user) [token/s]"
    assert ax.get_ylabel() == "tokens/s per chip (tps_per_chip) [token/s]"
    faint = {tuple(xy) for xy in np.asarray(ax.collections[0].get_offsets())}
    where = ds["feasible"].values
    assert faint == set(zip(ds["tps_per_user"].values[where], ds["tps_per_chip"].values[where]))
    labelled = {(t.xy, t.get_text()) for t in ax.texts if t.get_text()}
    points = zip(front["tps_per_user"].values, front["tps_per_chip"].values, front["batch"].values)
    assert labelled and labelled <= {((x, y), f"{n:g}") for x, y, n in points}


def test_heatmap_has_the_best_of_every_cell_and_hatches_the_rest(ds):
    figure = dsjax.plot("heatmap", ds, x="batch", y="tp")
    ax, bar = figure.axes
    values = ds["tps_per_chip"].where(ds["feasible"]).max(["nic", "moe_tp"]).transpose("tp", "batch").values
    assert np.isnan(values).any()
    drawn = ax.collections[0].get_array()
    np.testing.assert_array_equal(drawn.filled(np.nan), values)
    refused = [c for c in ax.collections[1:] if c.get_hatch()]
    assert sum(len(c.get_paths()) for c in refused) == np.isnan(values).sum()
    counts = {
        name: (~ds[name]).broadcast_like(ds["feasible"]).sum(["nic", "moe_tp"]).transpose("tp", "batch").values
        for name in ds.data_vars
        if name.startswith("ok_")
    }
    for patches in refused:
        for path in patches.get_paths():
            column, row = path.vertices.min(axis=0).astype(int)
            assert counts[patches.get_label()][row, column] == max(c[row, column] for c in counts.values())
    assert any("most are refused by tps_per_user" in text for text in legend(ax))
    assert bar.get_ylabel() == "tokens/s per chip (tps_per_chip) [token/s]"
    assert [t.get_text() for t in ax.get_xticklabels()] == ["4", "8", "10", "12"]
    assert ax.get_xlabel() == "sequences per chip in decode (batch) [sequence]"
    frame = next(p for p in ax.patches if p.get_label() == "best")
    row, column = np.unravel_index(np.nanargmax(values), values.shape)
    assert (frame.get_x(), frame.get_y()) == (column, row)


def test_heatmap_along_parameters_as_response_takes_them():
    """A number that is no axis is one, a tenth to ten times of it; what is drawn is what a sweep with that axis has."""
    fixed = {"hardware": "H800", "nic": "CX7", "precision": "fp8", "tp": 1, "ep": 72, "mtp": 0, "pipeline": "naive"}
    whole = dsjax.sweep("default", axes={"batch": [16, 32]}, fixed=fixed, limits={"min_tps_per_user": None})
    figure = dsjax.plot("heatmap", whole, x="hardware.hbm_bytes_per_s", y="batch")
    drawn = figure.axes[0].collections[0].get_array()
    assert drawn.shape == (2, 11)
    values = [3.35e11 * 10.0 ** (i / 5) for i in range(11)]  # 3.35 TB/s, what an H800 has, is among them
    axes = {"batch": [16, 32], "hardware_hbm_bytes_per_s": values}
    other = dsjax.sweep("default", axes=axes, fixed=fixed, limits={"min_tps_per_user": None})
    want = other.tps_per_chip.where(other.feasible).transpose("batch", ...).values
    np.testing.assert_allclose(np.ma.filled(drawn, np.nan).ravel(), want.ravel(), rtol=1e-9)
    both = {"x": "hardware.H800.hbm_bytes_per_s", "y": "nic.CX7.scale_out_bytes_per_s"}  # the only rows in use
    labels = [text.get_text() for text in dsjax.plot("heatmap", whole, **both).axes[0].get_yticklabels()]
    assert "50 GB/s" in labels and len(labels) == 11
    part = dsjax.plot("heatmap", whole, x="hardware.hbm_bytes_per_s", y="batch", between=("2 TB/s", "8 TB/s"))
    assert part.axes[0].get_xticklabels()[0].get_text() == "2 TB/s"


def test_heatmap_at_one_value_and_of_another_variable(ds):
    at = {"nic": "two-layer", "moe_tp": 1}
    drawn = dsjax.plot("heatmap", ds, x="tp", y="batch", of="tpot", at=at).axes[0].collections[0].get_array()
    cut = ds.sel(at)
    wanted = 1e3 * cut["tpot"].where(cut["feasible"]).transpose("batch", "tp").values
    np.testing.assert_allclose(drawn.filled(np.nan), wanted, rtol=1e-15)


def test_a_variable_that_is_better_smaller_is_minimized(ds):
    drawn = dsjax.plot("heatmap", ds, x="tp", y="batch", of="tpot").axes[0].collections[0].get_array()
    wanted = 1e3 * ds["tpot"].where(ds["feasible"]).min(["nic", "moe_tp"]).transpose("batch", "tp").values
    np.testing.assert_allclose(drawn.filled(np.nan), wanted, rtol=1e-15)


def test_roofline_shows_the_operators_under_the_roofs(ds):
    at = {"nic": "one-layer", "tp": 4, "moe_tp": 1, "batch": 10}
    ax = dsjax.plot("roofline", ds, at=at).axes[0]
    one = dsjax.explain(ds, at)
    flops, n_bytes, seconds = (one[f"block_{k}"].values for k in ("flops", "bytes", "time"))
    on = (flops > 0) & (n_bytes > 0) & (seconds > 0)
    points = np.vstack([np.asarray(c.get_offsets()) for c in ax.collections])
    wanted = np.column_stack([flops[on] / n_bytes[on], 1e-12 * flops[on] / seconds[on]])
    np.testing.assert_allclose(points[np.lexsort(points.T)], wanted[np.lexsort(wanted.T)], rtol=1e-12)
    assert (points[:, 1] <= 1.0001e-12 * np.minimum(64e12, 273e9 * points[:, 0])).all()
    labels = {t.get_text().rpartition(" ")[0] for t in ax.texts}
    assert labels - {"", "whole"} == set(one["block"].values[on])
    np.testing.assert_allclose(line(ax, "bf16 64 TFLOP/s,\nridge 234 FLOP/B").get_ydata(), 64.0)
    slope = line(ax, "memory 273 GB/s")
    np.testing.assert_allclose(slope.get_ydata() / slope.get_xdata(), 0.273)
    assert ax.get_xscale() == ax.get_yscale() == "log"
    assert "[FLOP/B]" in ax.get_xlabel() and "[TFLOP/s]" in ax.get_ylabel()


def test_breakdown_stacks_to_the_step_time(ds):
    ax = dsjax.plot("breakdown", ds, by=["nic"]).axes[0]
    best = dsjax.best(ds, by=["nic"])
    bars = {c.get_label(): np.array([bar.get_width() for bar in c]) for c in ax.containers}
    for limit, widths in bars.items():
        np.testing.assert_allclose(widths, 1e3 * best[f"exposed_{limit}"].values, rtol=1e-12)
    np.testing.assert_allclose(sum(bars.values()), 1e3 * best["step_time"].values, rtol=1e-12)
    assert legend(ax) == list(bars) == ["compute", "memory", "network", "latency"]
    assert ax.get_xlabel().endswith("[ms]")
    written = [t.get_text().strip() for t in ax.texts]
    assert written == [f"{1e3 * t:.4g} ms" for t in best["step_time"].values]
    names = [t.get_text().split("\n")[0] for t in ax.get_yticklabels()]
    assert names == best["nic"].values.tolist()


def test_breakdown_of_blocks_with_and_without_them_in_the_results(ds):
    widths = []
    for results in (ds, ds.drop_vars(["block_time"])):
        ax = dsjax.plot("breakdown", results, by=["nic"], blocks=True).axes[0]
        widths.append({c.get_label(): [bar.get_width() for bar in c] for c in ax.containers})
    best = dsjax.best(ds, by=["nic"])
    assert widths[0].keys() == widths[1].keys()
    for name, values in widths[0].items():
        np.testing.assert_allclose(values, widths[1][name], rtol=1e-9)
        if name in best["block"]:
            np.testing.assert_allclose(values, 1e3 * best["block_time"].sel(block=name).values, rtol=1e-12)
    total = 1e3 * best["block_time"].sum("block").values
    np.testing.assert_allclose(np.sum(list(widths[0].values()), axis=0), total, rtol=1e-12)


def test_tornado_sorts_the_elasticities(ds):
    ax = dsjax.plot("tornado", ds, wrt=["hardware", "nic"]).axes[0]
    found = dsjax.sensitivity(ds, of="tps_per_chip", wrt=["hardware", "nic"], at="best")["elasticity"]
    widths = np.array([bar.get_width() for bar in ax.containers[0]])
    names = [t.get_text().split()[0] for t in ax.get_yticklabels()]
    np.testing.assert_allclose(widths, found.sel(parameter=names).values, rtol=1e-9)
    assert (np.diff(np.abs(widths)) <= 0).all()
    left_out = found.drop_sel(parameter=names).values
    assert np.abs(left_out).max() <= np.abs(widths).min() and len(names) > 3
    assert ax.get_xlabel() == "elasticity: change of tps_per_chip in % per 1 % more of the parameter"


def test_response_along_an_axis_marks_what_is_refused(file, ds):
    user, chip = dsjax.plot("response", file, x="batch", y="tps_per_user,tps_per_chip").axes
    for nic in ("one-layer", "two-layer"):
        cut = ds.sel(nic=nic)
        best = cut["tps_per_user"].where(cut["feasible"]).max(["tp", "moe_tp"]).values
        assert np.isnan(best).any() and not np.isnan(best).all()
        np.testing.assert_array_equal(line(user, nic).get_ydata(), best)
        np.testing.assert_allclose(line(chip, nic).get_ydata(), best * ds["batch"].values, rtol=1e-12)
        hollow = line(user, f"_{nic} refused").get_ydata()
        assert np.isfinite(hollow[np.isnan(best)]).all() and (hollow[np.isnan(best)] < 10.0).all()
    assert "Hollow: refused by tps_per_user and memory_per_chip alone." in user.get_title(loc="left").replace("\n", " ")
    assert user.get_ylabel() == "tokens/s per user\n(tps_per_user) [token/s]"
    assert chip.get_ylabel() == "tokens/s per chip\n(tps_per_chip) [token/s]"
    assert chip.get_xlabel() == "sequences per chip in decode (batch) [sequence]" and user.get_xlabel() == ""
    assert legend(user) == ["one-layer", "two-layer", "SLO: tps_per_user ≥ 10 token/s"]


def test_response_does_not_show_what_is_impossible(ds):
    shown = [x.get_label() for x in dsjax.plot("response", ds, x="batch", by=[], y="tpot").axes[0].lines]
    assert "_all points refused" in shown
    impossible = ds.assign(ok_tp=ds["ok_tp"] & (ds["batch"] < 11))
    shown = [x.get_label() for x in dsjax.plot("response", impossible, x="batch", by=[], y="tpot").axes[0].lines]
    assert shown == ["all points"]


def test_response_rings_the_last_value_that_meets_a_target(ds):
    ax = dsjax.plot("response", ds, x="batch", until="tps_per_user >= 12").axes[0]
    best = ds["tps_per_user"].where(ds["feasible"]).max(["tp", "moe_tp"])
    rings = line(ax, "last batch with tps_per_user >= 12")
    wanted = [
        (int(best["batch"].values[(b.values >= 12.0).nonzero()[0][-1]]), b.values[b.values >= 12.0][-1])
        for b in best.transpose("nic", "batch")
    ]
    assert list(zip(rings.get_xdata(), rings.get_ydata())) == wanted
    assert "target: tps_per_user = 12 token/s" in legend(ax)


def test_response_along_a_parameter_marks_the_crossing(ds):
    name, between = "nic.scale_out_bytes_per_s", (8e9, 2e10)
    options = {"by": [], "until": "tps_per_chip >= 100", "at": {"tp": 4}, "between": between}
    ax = dsjax.plot("response", ds, x=name, **options).axes[0]
    xs, ys = 1e9 * line(ax, "all points").get_xdata(), line(ax, "all points").get_ydata()
    again = dsjax.sweep(GRID, settings={name: float(xs[7])}, fixed={"tp": 4})
    assert np.isclose(ys[7], float(again["tps_per_chip"].where(again["feasible"]).max()), rtol=1e-12)
    ring = line(ax, "crossing of tps_per_chip >= 100")
    solved = dsjax.solve(ds, name, "tps_per_chip >= 100", between=between, at={"tp": 4})["value"].values
    assert solved.shape == (1,)
    np.testing.assert_allclose(1e9 * np.asarray(ring.get_xdata()), solved, rtol=1e-9)
    assert ring.get_ydata()[0] == 100.0
    beside = np.searchsorted(xs, solved[0])
    assert ys[beside - 1] < 100.0 <= ys[beside] and np.isclose(xs[beside - 1], xs[beside], rtol=1e-5)
    assert ax.get_xlabel() == f"bandwidth outside the scale-up domain, per chip, one way ({name}) [GB/s]"


def test_response_marks_the_present_values_and_says_the_extreme_of_every_variable(ds, file, tmp_path):
    ax = dsjax.plot("response", ds, **NIC).axes[0]
    rows = dsjax.load_grid(GRID).rows["nic"]
    for name, row in rows.items():
        words = f"present: {canvas.quantity('B/s', row['scale_out_bytes_per_s'])}\n({name})"
        np.testing.assert_allclose(line(ax, words).get_xdata(), 1e-9 * row["scale_out_bytes_per_s"])
        assert words in legend(ax)
    command = ["plot", "response", str(file), "-o", str(tmp_path / "x.png"), "--x", "batch", "--y", "tpot,tps_per_chip"]
    said = CliRunner().invoke(cli.main, command).output
    tpot, chip = (ds[name].where(ds["feasible"]) for name in ("tpot", "tps_per_chip"))
    assert f"best tpot {canvas.quantity('s', float(tpot.min()))} at batch = 4" in said
    least = tpot.min(["tp", "moe_tp"])
    drawn = chip.where(tpot == least).max()
    assert f"; largest tps_per_chip {canvas.quantity('token/s', float(drawn))} at batch = 10" in said


def test_response_says_why_a_line_ends(ds):
    far = ds.assign(ok_tp=ds["ok_tp"] & ((ds["batch"] < 11) | (ds["nic"] == "one-layer")))
    ax = dsjax.plot("response", far, x="batch").axes[0]
    title = ax.get_title(loc="left").replace("\n", " ")
    assert "Impossible, so not drawn: two-layer above 10 (tp)." in title
    assert "Impossible" not in dsjax.plot("response", ds, x="batch").axes[0].get_title(loc="left")


def test_curves_on_one_another_are_all_seen(ds):
    same = dsjax.sweep(
        GRID, settings={"nic.two-layer.scale_out_bytes_per_s": 1.0001e10, "nic.one-layer.scale_out_bytes_per_s": 1e10}
    )
    ax = dsjax.plot("response", same, x="batch", y="tpot").axes[0]
    lower, upper = line(ax, "one-layer"), line(ax, "two-layer")
    np.testing.assert_allclose(lower.get_ydata(), upper.get_ydata(), rtol=0.01)
    assert lower.get_linewidth() >= 2 * upper.get_linewidth() and lower.get_markersize() > upper.get_markersize()
    apart = dsjax.plot("response", ds, x="batch", y="tpot").axes[0]
    assert line(apart, "one-layer").get_linewidth() == line(apart, "two-layer").get_linewidth()


def test_no_label_is_on_a_line_or_crossed_by_the_tie_of_another():
    figure = canvas.figure((5, 4), 100)
    ax = figure.add_subplot(xlim=(0, 10), ylim=(0, 10))
    roofs = ax.plot([0, 10], [6, 6]) + ax.plot([0, 10], [5, 5])
    spots = [(1 + 0.8 * i, 5.8 if i % 2 else 5.3) for i in range(10)]
    labels.annotate(ax, [labels.Note(x, y, f"operator {i}") for i, (x, y) in enumerate(spots)], roofs)
    texts = [text for text in ax.texts if text.get_text()]
    assert len(texts) == 10
    figure.draw_without_rendering()
    ties = [text.arrow_patch.get_path().vertices for text in ax.texts if not text.get_text()]
    assert ties
    share = np.linspace(0.0, 1.0, 1000)[:, None]
    for text in texts:
        box = text.get_window_extent()
        for roof in roofs:
            a, b = roof.get_transform().transform(roof.get_xydata())
            assert not box.count_contains(a + (b - a) * share), text


def test_roofs_of_a_chart_go_beyond_all_operators(ds):
    seen = roofline.gather(Results.of(ds))
    spec = charts_roofline.chart(Results.of(ds)).specs[0]
    roofs = spec["datasets"]["roofs"]
    roofs = [row["x_"] for row in roofs] if isinstance(roofs, list) else roofs["x_"]
    assert min(roofs) == pytest.approx(0.4 * seen.intensity.min())
    assert max(roofs) == pytest.approx(3.0 * max(seen.intensity.max(), max(seen.peaks.values()) / seen.bandwidth))


def test_what_takes_no_time_is_not_listed_in_the_roofline(ds, monkeypatch):
    one = dsjax.explain(ds)
    first, *others = one["block"].values[one["block_flops"].values == 0.0]
    absent = one.assign(block_time=one["block_time"].where(one["block"] != first, 0.0))
    monkeypatch.setattr(explain, "explain", lambda *_: absent)
    ax = dsjax.plot("roofline", ds).axes[0]
    listed = ax.get_title(loc="left").replace("\n", " ").partition("Without flops or bytes: ")[2].split(", ")
    assert others and listed[:-1] == others


def test_roofline_at_some_values_is_the_best_point_there(ds):
    at = {"nic": "one-layer", "batch": 4}
    best = dsjax.best(ds.assign(feasible=ds["feasible"] & (ds["nic"] == "one-layer") & (ds["batch"] == 4)), by=[])
    title = dsjax.plot("roofline", ds, at=at).axes[0].get_title(loc="left")
    assert f"one-layer, tp {best['tp'].item()}, moe_tp {best['moe_tp'].item()}, batch 4." in title.replace("\n", " ")


def test_more_groups_than_colours_are_the_best_ones(study):
    figure = dsjax.plot("pareto", study, by=["hardware", "nic", "ep"])
    ranked = dsjax.best(study, by=["hardware", "nic", "ep"])
    assert ranked.sizes["rank"] > 8
    wanted = {
        f"{p['hardware'].item()}, {p['nic'].item()}, ep {p['ep'].item()}"
        for _, p in ranked.isel(rank=slice(8)).groupby("rank")
    }
    assert set(legend(figure.axes[0])[:8]) == wanted
    assert f"the best 8 of {ranked.sizes['rank']} groups" in figure.axes[0].get_title(loc="left")


def test_many_bars_keep_their_names_apart(study):
    figure = dsjax.plot("breakdown", study, by=["hardware", "nic", "ep"])
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in figure.axes[0].get_yticklabels()]
    assert len(boxes) == 12 and not any(a.overlaps(b) for a, b in itertools.pairwise(boxes))
    assert "Best 12 of 18 groups." in figure.axes[0].get_title(loc="left")


def test_units_are_scaled_for_the_reader():
    assert canvas.quantity("s", 0.0709) == "70.9 ms" and canvas.quantity("s", 2.5) == "2.5 s"
    assert canvas.quantity("B/s", 3.35e12) == "3.35 TB/s" and canvas.quantity("token/s", 3341.4) == "3,341 token/s"
    assert canvas.text(0.1) == "0.1" and canvas.text(12345.6) == "12,346" and canvas.text("H800") == "H800"


def test_command_writes_and_says_what_is_seen(file, tmp_path):
    out = tmp_path / "heat.svg"
    command = ["plot", "heatmap", str(file), "-o", str(out), "--x", "batch", "--y", "tp", "--at", "nic=one-layer"]
    result = CliRunner().invoke(cli.main, command)
    assert result.exit_code == 0, result.output
    assert "best tps_per_chip 108 token/s at tp 4, batch 10, moe_tp 1" in result.output and "wrote" in result.output
    result = CliRunner().invoke(cli.main, command)
    assert result.exit_code == 2 and "exists; expected a new path, or --force to overwrite" in result.output
    assert CliRunner().invoke(cli.main, [*command, "--force", "--quiet"]).output == ""


def test_pyplot_is_not_loaded(file, tmp_path):
    code = (
        f"import sys, dsjax; dsjax.plot('heatmap', {str(file)!r}, {str(tmp_path / 'x.png')!r}, x='tp', y='batch'); "
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("paretto", {}, r"plot: unknown kind 'paretto' \(did you mean 'pareto'\?\)"),
        (
            "pareto",
            {"x": "tps_per_usr"},
            r"x: unknown variable of this phase 'tps_per_usr' \(did you mean 'tps_per_user'",
        ),
        ("pareto", {"x": "tps_per_chip"}, "y: 'tps_per_chip' is x too"),
        ("pareto", {"by": ["nick"]}, r"by: unknown group 'nick' \(did you mean 'nic'\?\)"),
        ("pareto", {"of": "tpot"}, "plot pareto: of: 'tpot' is an option of heatmap, breakdown, tornado, response"),
        ("pareto", {"byy": "nic"}, r"plot pareto: unknown option 'byy' \(did you mean 'by'\?\)"),
        ("heatmap", {"x": "bach"}, r"x: unknown axis 'bach' \(did you mean 'batch'\?\)"),
        ("heatmap", {"x": "tp", "y": "tp"}, "y: 'tp' is x too"),
        ("heatmap", {"x": "hardware.hbm"}, r"x: unknown parameter 'hardware.hbm' \(did you mean"),
        ("heatmap", {"x": "tp", "between": (1, 2)}, "from, to: tp is an axis|from, to: 0 parameters"),
        ("heatmap", {"x": "tp", "at": {"tp": 4}}, "at: tp: is"),
        ("heatmap", {"of": "tpoot"}, r"of: unknown variable of this phase 'tpoot' \(did you mean 'tpot'\?\)"),
        ("heatmap", {"at": {"tp": 3}}, "at: unknown value of axis tp '3'"),
        ("response", {"y": "mfu,mbu,tpot,tps_per_user,tps_per_chip"}, "y: .* expected 1 to 4 different variables"),
        ("response", {"x": "bach"}, r"x: unknown axis 'bach' \(did you mean 'batch'\?\)"),
        ("response", {"x": "nic.scale_out_byte_per_s"}, "scale_out_bytes_per_s"),
        ("response", {"x": "batch", "between": (1, 2)}, "from, to: batch is an axis with values of its own"),
        ("response", {"x": "nic.scale_out_bytes_per_s", "between": (2e9, 1e9)}, "expected 0 < from < to"),
        ("response", {"until": "feasible"}, "until: "),
        ("response", {"until": "tpot <= 0.1", "y": "mfu"}, r"until: tpot is not among y \(mfu\)"),
        ("response", {"until": "tpot <= 0.1", "of": "mfu"}, "of: 'mfu' beside a target of tpot"),
        ("tornado", {"wrt": "hardware.hbm_byte_per_s"}, "did you mean 'hardware.hbm_bytes_per_s'"),
        ("pareto", {"size": (1, 5)}, r"size: \(1, 5\); expected width and height from 3 to 60"),
        ("pareto", {"dpi": 5}, "dpi: 5; expected a number from 30 to 1200"),
        ("pareto", {"path": "x.pdf"}, r"x.pdf: suffix '.pdf'; expected a path ending in .png, .svg or .html"),
        ("pareto", {"path": "nowhere/x.png"}, "folder nowhere does not exist"),
        ("pareto", {"fixed": {"tp": 4}}, "fixed change a grid; expected a grid, not results"),
    ],
)
def test_bad_input_is_one_line(ds, kind, options, message):
    with pytest.raises(dsjax.InputError, match=message) as error:
        dsjax.plot(kind, ds, **options)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", ["pareto", "heatmap", "breakdown", "response"])
def test_nothing_feasible_says_what_refuses(ds, kind):
    none = ds.assign(feasible=ds["feasible"] & False, ok_tps_per_user=ds["ok_tps_per_user"] & False)
    with pytest.raises(errors.NothingFeasible, match="no feasible point to show .*ok_tps_per_user 64"):
        dsjax.plot(kind, none)


def test_nothing_feasible_is_an_answer(ds, tmp_path):
    """Exit code 1, the reason on stdout, no picture; bad input stays 2."""
    path, picture = tmp_path / "none.nc", tmp_path / "none.svg"
    none = ds.assign(feasible=ds["feasible"] & False, ok_tps_per_user=ds["ok_tps_per_user"] & False)
    dsjax.write_netcdf(none, path)
    found = CliRunner().invoke(cli.main, ["plot", "pareto", str(path), "-o", str(picture)])
    assert found.exit_code == 1 and found.stdout.startswith("plot: no feasible point") and not found.stderr
    assert not picture.exists()
    bad = CliRunner().invoke(cli.main, ["plot", "pareto", str(path), "-o", str(picture), "--x", "tps"])
    assert bad.exit_code == 2 and bad.stderr.startswith("error: ")


@pytest.mark.parametrize("kind", tuple(OPTIONS))
def test_nothing_feasible_exits_with_1(kind, ds, tmp_path):
    none = ds.assign(feasible=ds["feasible"] & False, ok_tps_per_user=ds["ok_tps_per_user"] & False)
    dsjax.write_netcdf(none, tmp_path / "none.nc")
    found = CliRunner().invoke(cli.main, ["plot", kind, str(tmp_path / "none.nc"), "-o", str(tmp_path / "x.png")])
    assert found.exit_code == 1, found.output
    drawn = kind in ("roofline", "tornado")  # of the best of the refused
    assert (tmp_path / "x.png").exists() == drawn and ("no feasible point to show" in found.output) != drawn


def test_what_refuses_is_counted_among_the_points_asked_for(ds):
    none = ds.assign(feasible=ds["feasible"] & False, ok_tps_per_user=ds["ok_tps_per_user"] & False)
    with pytest.raises(dsjax.InputError, match="of 16 points refused by ok_tps_per_user 16"):
        dsjax.plot("breakdown", none, at={"batch": 4})


def test_without_matplotlib_it_says_what_to_install(ds, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(dsjax.InputError, match=r"pip install dsjax\[plot\]"):
        dsjax.plot("pareto", ds)


def test_a_front_of_prefill_and_decode_together_is_of_the_time_of_a_step():
    figure = dsjax.plot("pareto", "sg2260e", size=(8, 5), dpi=50)
    assert figure.axes[0].get_xlabel().startswith("time of one forward pass (step_time)")
