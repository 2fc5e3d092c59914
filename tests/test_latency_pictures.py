"""Latency against load: what is drawn is what the sweep says, the knee, limits and capacity; files; bad input."""

import itertools
import xml.etree.ElementTree

import matplotlib.image
import matplotlib.text
import numpy as np
import pytest
from click.testing import CliRunner

import dsjax
from dsjax import cli, errors
from dsjax.pictures import response_curves

USERS = {
    "title": "Users",
    "model": "DeepSeek-R1",
    "phase": "serve",
    "axes": {
        "hardware": ["H20", "H200"],
        "batching": ["prefill-first", "chunked"],
        "tp": [8, 1],
        "concurrency": [1, 4, 16, 64, 1000],
    },
    "fixed": {"nic": "CX7", "chips": 8, "isl": 4096, "osl": 1024, "engine": "sglang"},
    "constraints": {"max_ttft_p90": 2.0, "max_tpot_p90": 0.045, "max_ttft_mean": 1.5},
    "objective": {"maximize": "tps_per_chip", "by": ["hardware"]},
}
RATES = USERS | {
    "title": "Rates",
    "axes": {"hardware": ["H20", "H200"], "batching": ["chunked"], "requests_per_s": [0.05, 0.2, 1.0, 3.0]},
    "fixed": USERS["fixed"] | {"tp": 8},
    "constraints": {"max_tpot_p90": 0.045},
}


@pytest.fixture(scope="module")
def users():
    return dsjax.sweep(USERS)


@pytest.fixture(scope="module")
def rates():
    return dsjax.sweep(RATES)


def line(ax, label):
    return next(x for x in ax.lines if x.get_label() == f"_{label}")


def labels(ax):
    return [x.get_label() for x in ax.lines]


def legend(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def server(ds, hardware):
    """The best server of a chip, at every load."""
    best = dsjax.best(ds, by=["hardware"])
    i = best["hardware"].values.tolist().index(hardware)
    return ds.sel(hardware=hardware, batching=best["batching"].values[i], tp=best["tp"].values[i])


@pytest.mark.parametrize("hardware", ["H20", "H200"])
def test_one_server_per_group_at_every_load(users, hardware):
    ttft, tpot = dsjax.plot("latency", users).axes
    of = server(users, hardware)
    for ax, name, factor in ((ttft, "ttft", 1.0), (tpot, "tpot", 1e3)):
        for statistic in ("mean", "p50", "p90", "p99"):
            drawn = line(ax, f"{hardware} {statistic}")
            np.testing.assert_array_equal(drawn.get_xdata(), of["requests_per_s_served"].values)
            np.testing.assert_allclose(drawn.get_ydata(), factor * of[f"{name}_{statistic}"].values, rtol=1e-12)
        assert line(ax, f"{hardware} mean").get_linestyle() == "--"
        assert line(ax, f"{hardware} p50").get_linestyle() == "-"
        most = line(ax, f"{hardware} most").get_xdata()
        np.testing.assert_allclose(most, of["requests_per_s_max"].values.max())
        assert ax.get_yscale() == "log"
    assert ttft.get_ylabel() == "TTFT [s]" and tpot.get_ylabel() == "TPOT [ms]"
    assert tpot.get_xlabel() == "requests that are finished per second (requests_per_s_served) [1/s]"


@pytest.mark.parametrize("hardware", ["H20", "H200"])
def test_refused_loads_are_hollow_and_the_last_that_is_not_is_the_knee(users, hardware):
    of, axes = server(users, hardware), dsjax.plot("latency", users).axes
    feasible = of["feasible"].values
    assert feasible.any() and not feasible.all()
    rate = of["requests_per_s_served"].values
    for ax in axes:
        hollow = line(ax, f"{hardware} refused")
        assert hollow.get_markerfacecolor() == "white"
        np.testing.assert_array_equal(hollow.get_xdata(), rate[~feasible])
        assert line(ax, f"{hardware} knee").get_xdata() == [rate[np.flatnonzero(feasible)[-1]]]


def test_limits_are_lines_of_their_panel(users):
    ttft, tpot = dsjax.plot("latency", users).axes
    at = {x.get_label(): x.get_ydata()[0] for ax in (ttft, tpot) for x in ax.lines if x.get_label().startswith("SLO")}
    assert at == {"SLO: ttft_p90 ≤ 2 s": 2.0, "SLO: ttft_mean ≤ 1.5 s": 1.5, "SLO: tpot_p90 ≤ 45 ms": 45.0}
    assert "SLO: tpot_p90 ≤ 45 ms" not in labels(ttft) and "SLO: ttft_p90 ≤ 2 s" not in labels(tpot)


def test_legend_and_words(users):
    figure = dsjax.plot("latency", users)
    ttft, tpot = figure.axes
    best = dsjax.best(users, by=["hardware"]).sortby("hardware")
    named = [label.partition("\n") for label in legend(ttft)[:2]]
    assert [label for label, _, _ in named] == [
        "H20",
        "H200",
    ] and ttft.get_legend().get_title().get_text() == "hardware"
    title = ttft.get_title(loc="left").replace("\n", " ")
    assert title.startswith("Users. Each group: the server with the best tps_per_chip over batching, tp")
    for axis in ("batching", "tp"):  # what they have in common is said once
        values = [f"{axis} {v}" if axis == "tp" else v for v in best[axis].values.tolist()]
        where = [words for _, _, words in named] if values[0] != values[1] else [title, title]
        assert all(value in words for value, words in zip(values, where, strict=True))
    assert legend(tpot)[:4] == ["p90 of requests", "p50 and p99", "mean", "most that it can take"]
    assert {"refused by a limit", "last load within all limits"} <= set(legend(tpot))
    assert (
        figure.get_suptitle().startswith("last load within all limits: H20: ")
        and "Fixed: nic\N{NO-BREAK SPACE}CX7" in figure.get_supxlabel()
    )


def test_heights_far_beyond_the_limits_are_cut(users):
    ttft, tpot = dsjax.plot("latency", users).axes
    assert users["ttft_p99"].max() > 100.0 and ttft.get_ylim()[1] == pytest.approx(20.0 * 2.0)
    assert "Not shown: TTFT above 40 s." in ttft.get_title(loc="left").replace("\n", " ")
    assert tpot.get_ylim()[1] < 1e3 and ttft.get_ylim()[0] > 0.01


def test_numbers_at_the_points_are_users(users):
    tpot = dsjax.plot("latency", users).axes[1]
    said = {(note.xy, note.get_text()) for note in tpot.texts if note.get_text()}
    points = set()
    for hardware in ("H20", "H200"):
        of = server(users, hardware)
        x, y = of["requests_per_s_served"].values.tolist(), (1e3 * of["tpot_p90"]).values.tolist()
        points |= {((a, b), f"{n:,}") for a, b, n in zip(x, y, USERS["axes"]["concurrency"], strict=True)}
    assert len(said) >= 6 and said <= points


def test_rates_beyond_what_the_server_takes_are_not_drawn(rates):
    ttft, _ = dsjax.plot("latency", rates).axes
    for hardware in ("H20", "H200"):
        of = rates.sel(hardware=hardware, batching="chunked")
        stable = of["ok_stable"].values
        assert not stable.all()
        drawn = line(ttft, f"{hardware} p90").get_xdata()
        np.testing.assert_array_equal(drawn, np.array(RATES["axes"]["requests_per_s"])[stable])
        assert drawn.max() < line(ttft, f"{hardware} most").get_xdata()[0]
        assert line(ttft, f"{hardware} knee").get_xdata() == [drawn[of["feasible"].values[stable]][-1]]


def test_no_knee_where_every_load_is_within_limits():
    few = {"concurrency": [1, 2], "tp": [8]}
    figure = dsjax.plot("latency", USERS | {"axes": USERS["axes"] | few, "constraints": {}})
    assert not [label for ax in figure.axes for label in labels(ax) if label.endswith("knee")]
    assert "last load within all limits" not in legend(figure.axes[1]) and "refused by a limit" not in legend(
        figure.axes[1]
    )


def test_groups_and_chosen_values(users):
    figure = dsjax.plot("latency", users, by=["hardware", "batching"], at={"tp": 8})
    assert legend(figure.axes[0])[:4] == [
        f"{chip}, {batching}" for chip, batching in itertools.product(("H20", "H200"), ("prefill-first", "chunked"))
    ]
    assert "tp\N{NO-BREAK SPACE}8" in figure.get_supxlabel()
    one = dsjax.plot("latency", users, by=[], of="-ttft_p90").axes[0]
    quick = dsjax.best(users, by=(), objective="-ttft_p90").isel(rank=0)
    of = users.sel({axis: quick[axis].item() for axis in ("hardware", "batching", "tp")})
    np.testing.assert_array_equal(line(one, "all points p90").get_xdata(), of["requests_per_s_served"].values)


def test_most_of_many_groups_are_left_out(users):
    ax = dsjax.plot("latency", users, by=["hardware", "batching", "tp"]).axes[0]
    count = len(dsjax.best(users, by=["hardware", "batching", "tp"])["rank"])
    assert count > 4 and f"The best 4 of {count} groups." in ax.get_title(loc="left").replace("\n", " ")


@pytest.mark.parametrize(
    "options", [{}, {"by": ["hardware", "batching", "tp"]}, {"size": (7.0, 5.0)}, {"size": (6.0, 4.0)}]
)
@pytest.mark.parametrize("grid", ["users", "rates"])
def test_no_text_covers_another_or_leaves_the_sheet(grid, options, request):
    if grid == "rates":
        options = {name: value for name, value in options.items() if name != "by"}
    figure = dsjax.plot("latency", request.getfixturevalue(grid), **options)
    figure.draw_without_rendering()
    texts = [x for x in figure.findobj(matplotlib.text.Text) if x.get_text() and x.get_visible() and not off_scale(x)]
    boxes = [x.get_window_extent().padded(-1.0) for x in texts]
    sheet = figure.bbox.padded(1.0)
    assert len(boxes) > 20
    for box, text in zip(boxes, texts, strict=True):
        assert sheet.x0 <= box.x0 and box.x1 <= sheet.x1 and sheet.y0 <= box.y0 and box.y1 <= sheet.y1, text
    for (a, one), (b, other) in itertools.combinations(zip(boxes, texts, strict=True), 2):
        assert not a.overlaps(b), (one, other)


def off_scale(text):
    """Whether a text is the label of a tick outside its axis, which is not drawn."""
    for axis in (axis for ax in text.figure.axes for axis in (ax.xaxis, ax.yaxis)):
        low, high = sorted(axis.get_view_interval())
        for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
            if text in (tick.label1, tick.label2):
                return not low <= tick.get_loc() <= high
    return False


def test_command_writes_a_picture_and_says_the_knee(users, tmp_path):
    file, png = tmp_path / "users.nc", tmp_path / "x.png"
    dsjax.write_netcdf(users, file)
    said = CliRunner().invoke(cli.main, ["plot", "latency", str(file), "-o", str(png), "--dpi", "50", "--size", "8x5"])
    assert said.exit_code == 0, said.output
    assert matplotlib.image.imread(png).shape[:2] == (250, 400)
    of = server(users, "H200")
    last = of.isel(concurrency=np.flatnonzero(of["feasible"].values)[-1])
    rate, most = last["requests_per_s_served"].item(), last["requests_per_s_max"].item()
    words = (
        f"H200: {rate:,.4g} requests/s at concurrency = {last['concurrency'].item()}, {100 * rate / most:.0f} % of the"
    )
    assert said.stdout.startswith("limits: ttft_p90 at most 2 s; ")
    assert "\nlast load within all limits: H20: " in said.stdout and words in said.stdout
    dsjax.plot("latency", users, tmp_path / "x.svg")
    root = xml.etree.ElementTree.parse(tmp_path / "x.svg").getroot()
    assert root.tag.endswith("svg") and len(list(root.iter())) > 100


def test_servers_that_miss_a_limit_everywhere_are_drawn_hollow(users, tmp_path):
    slow = USERS | {"axes": USERS["axes"] | {"tp": [8]}, "constraints": {"max_tpot_p90": 1e-3}}
    ds = dsjax.sweep(slow)
    for ax in dsjax.plot("latency", ds).axes:
        assert len(line(ax, "H200 refused").get_xdata()) == 5 and "_H200 knee" not in labels(ax)
    dsjax.write_netcdf(ds, tmp_path / "slow.nc")
    found = CliRunner().invoke(cli.main, ["plot", "latency", str(tmp_path / "slow.nc"), "-o", str(tmp_path / "x.png")])
    assert found.exit_code == 1 and "H200: at none" in found.output


def test_nothing_that_fits_is_an_answer(users):
    with pytest.raises(errors.NothingFeasible, match="no feasible point to show .*ok_memory 10"):
        dsjax.plot("latency", users, at={"hardware": "H20", "tp": 1})


STEPS = {
    "model": "DeepSeek-V3",
    "axes": {"batch": [8, 16]},
    "fixed": {"hardware": "H200", "nic": "CX7", "tp": 8, "chips": 8, "context": 4096, "phase": "decode"},
}


@pytest.mark.parametrize(
    ("kind", "source", "options", "message"),
    [
        ("latency", STEPS, {}, "plot latency: phase decode has no requests; expected phase serve"),
        ("latency", USERS, {"fixed": {"concurrency": 4}}, "plot latency: concurrency or requests_per_s is not an axis"),
        ("latency", USERS, {"at": {"concurrency": 4}}, "at: concurrency: is an axis of the picture"),
        ("latency", USERS, {"x": "tp"}, "plot latency: x: 'tp' is an option of .*; expected one of at, by, of"),
        ("latency", USERS, {"by": ["hardwar"]}, r"by: unknown group 'hardwar' \(did you mean 'hardware'\?\)"),
        (
            "latency",
            USERS,
            {"of": "tpott_p90"},
            r"of: unknown variable of this phase 'tpott_p90' \(did you mean 'tpot_p90'",
        ),
        ("roofline", USERS, {}, "plot roofline: phase serve: its operators are those of steps"),
        ("breakdown", USERS, {"blocks": True}, "plot breakdown: phase serve: its operators are those of steps"),
    ],
)
def test_bad_input_is_one_line(kind, source, options, message):
    with pytest.raises(dsjax.InputError, match=message) as error:
        dsjax.plot(kind, source, **options)
    assert "\n" not in str(error.value)


def test_an_axis_is_logarithmic_where_every_step_is_a_factor():
    geometric = response_curves._geometric
    assert geometric([1, 2, 4]) and geometric([8, 16, 24, 32]) and not geometric([10, 11, 22]) and not geometric([5, 6])
