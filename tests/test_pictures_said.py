"""What pictures say and mark beside the data: titles that answer, defaults left out, errors, the chip of today."""

import xml.etree.ElementTree

import numpy as np
import pytest
from test_pictures import legend
from test_pictures import test_no_text_covers_another_or_leaves_the_sheet as nothing_overlaps

import dsjax
from dsjax.pictures import canvas, selection
from dsjax.space import grid
from grids import SEVEN_CHIPS

AXES = {"hardware": ["H800", "L20", "B200"], "batch": [8, 16, 32, 64, 128, 256, 512], "ep": [72]}
NIC, HBM = "nic_scale_out_bytes_per_s", "hardware_hbm_bytes_per_s"
PARAMETERS = {NIC: [1e10, 5e10, 2e11], HBM: [2e12, 3e12, 4e12], "batch": [16, 32, 64], "tp": [1], "ep": [72]}
KINDS = {
    "pareto": {},
    "heatmap": {"x": "batch", "y": "hardware"},
    "roofline": {},
    "breakdown": {"by": ["hardware"], "blocks": True},
    "tornado": {},
    "response": {"x": "batch"},
}


@pytest.fixture(scope="module")
def ds():
    return dsjax.sweep(SEVEN_CHIPS, axes=AXES, fixed={"nic": "CX7", "precision": "fp8"})


@pytest.fixture(scope="module")
def parameters():
    return dsjax.sweep(SEVEN_CHIPS, axes=PARAMETERS, fixed={"hardware": "H800", "nic": "CX7", "precision": "fp8"})


@pytest.mark.parametrize("size", [(6, 4), (10, 6)], ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_no_text_covers_another(kind, size, ds):
    nothing_overlaps(kind, KINDS[kind], size, ds)


@pytest.mark.parametrize("size", [(6, 4), (10, 6)], ids=str)
def test_nor_over_two_parameters(size, parameters):
    nothing_overlaps("heatmap", {"x": NIC, "y": HBM}, size, parameters)


@pytest.mark.parametrize("kind", KINDS)
def test_the_title_answers_and_the_foot_has_no_default(kind, ds, tmp_path):
    figure = dsjax.plot(kind, ds, tmp_path / "x.svg", **KINDS[kind])
    title, foot = figure.get_suptitle(), figure.get_supxlabel()
    best = dsjax.best(ds, by=())
    rate = canvas.text(float(f"{best['tps_per_chip'].item():.4g}"))
    answers = {"pareto": rate, "heatmap": rate, "tornado": " % ", "roofline": "bounds", "breakdown": "before overlap"}
    assert answers.get(kind, "at best, at batch") in title.replace("\n", " ") and "tps_per" not in title
    assert "expert_cv" not in foot and "context\N{NO-BREAK SPACE}5,120" in foot
    written = (tmp_path / "x.svg").read_text(encoding="utf-8")
    assert "expert_cv\N{NO-BREAK SPACE}0.7" in written  # all of it is in the file


def test_a_value_that_is_no_default_is_said(ds):
    space = grid.load(SEVEN_CHIPS, fixed={"expert_cv": 0.5})
    assert "expert_cv\N{NO-BREAK SPACE}0.5" in selection.fixed(space) and "acceptance" not in selection.fixed(space)


def test_names_with_control_characters_reach_no_svg(tmp_path):
    own = tmp_path / "own.toml"
    own.write_text('[hardware."A\\u001bB"]\nbase = "H800"\nsource = "own"\n', encoding="utf-8")
    axes = AXES | {"hardware": ["A\x1bB"]}
    fixed = {"nic": "CX7", "precision": "fp8"}
    found = dsjax.sweep(SEVEN_CHIPS, axes=axes, fixed=fixed, catalogs=[own])
    dsjax.plot("response", found, tmp_path / "x.svg", x="hardware")
    assert "\x1b" not in (tmp_path / "x.svg").read_text(encoding="utf-8")
    xml.etree.ElementTree.parse(tmp_path / "x.svg")


def test_control_characters_are_taken_out_of_a_file(tmp_path):
    figure = canvas.figure((4, 3), 50)
    figure.add_subplot().set_xlabel("plain")
    canvas.save(figure, tmp_path / "x.svg", False, "a\x1bb\x00c")
    text = (tmp_path / "x.svg").read_text(encoding="utf-8")
    assert "a b c" in text and xml.etree.ElementTree.parse(tmp_path / "x.svg") is not None


def test_bands_are_the_error_of_the_kernels(ds):
    """Throughput over 1 -+ the relative error of the curve of the chip, where a point is feasible."""
    ax = dsjax.plot("response", ds, x="batch", y="tps_per_chip").axes[0]
    bands = {c.get_label(): c for c in ax.collections if c.get_label().endswith(" band")}
    assert bands.keys() == {f"_{chip} band" for chip in AXES["hardware"]}
    for chip in AXES["hardware"]:
        line = next(x for x in ax.lines if x.get_label() == chip)
        share = ds["curve_uncertainty"].sel(hardware=chip).item()
        assert 0 < share < 1
        x, y = np.transpose([(x, y) for x, y in zip(*line.get_data(), strict=True) if np.isfinite(y)])
        path = np.concatenate([path.vertices for path in bands[f"_{chip} band"].get_paths()])
        for at, value in zip(x, y, strict=True):
            ys = path[np.isclose(path[:, 0], at), 1]
            assert ys.min() == pytest.approx(value / (1 + share)) and ys.max() == pytest.approx(value / (1 - share))
    assert "Bands: +-8 to " in ax.get_title(loc="left").replace("\n", " ")


def test_the_front_has_the_error_at_its_best(ds):
    ax = dsjax.plot("pareto", ds, by=["hardware"]).axes[0]
    for chip in ("H800", "B200"):
        line, band = (next(x for x in ax.lines if x.get_label() == name) for name in (chip, f"_{chip} band"))
        at, share = np.argmax(line.get_ydata()), ds["curve_uncertainty"].sel(hardware=chip).item()
        for ends, all_ in ((band.get_xdata(), line.get_xdata()), (band.get_ydata(), line.get_ydata())):
            np.testing.assert_allclose(ends, all_[at] / np.array([1 + share, 1 - share]))


def test_heatmap_ends_where_nothing_is_feasible(ds):
    figure = dsjax.plot("heatmap", ds, x="batch", y="hardware", at={"tp": 1})
    ax = figure.axes[0]
    there = ds["feasible"].sel(tp=1).any([d for d in ds["feasible"].dims if d not in ("batch", "tp")]).values
    last = int(np.flatnonzero(there)[-1])
    shown = [t.get_text() for t in ax.get_xticklabels()]
    assert shown == [str(b) for b in AXES["batch"][: last + 2]] and last + 2 < len(AXES["batch"])
    assert "so not shown: batch 512" in ax.get_title(loc="left").replace("\n", " ")


def test_two_parameters_have_units_values_and_the_present_chip(parameters):
    figure = dsjax.plot("heatmap", parameters, x=NIC, y=HBM)
    ax = figure.axes[0]
    assert [t.get_text() for t in ax.get_xticklabels()] == ["10 GB/s", "50 GB/s", "200 GB/s"]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["2 TB/s", "3 TB/s", "4 TB/s"]
    best = parameters["tps_per_chip"].where(parameters["feasible"])
    best = best.max([d for d in best.dims if d not in (NIC, HBM)]).transpose(HBM, NIC).values
    np.testing.assert_array_equal(ax.collections[0].get_array().filled(np.nan), best)
    marks = {x.get_label(): x.get_xydata()[0] for x in ax.lines if x.get_label().startswith("present: ")}
    assert marks["present: CX7"][0] == 1.5  # 50 GB/s, the second
    assert marks["present: H800"][1] == pytest.approx(1.5 + 0.35)  # 3.35 of 3 and 4 TB/s
    assert {"present: CX7", "present: H800"} <= set(legend(ax))


def test_what_is_not_in_a_bar_of_its_own_is_a_twentieth_at_most(ds):
    ax = dsjax.plot("breakdown", ds, by=["hardware"], blocks=True).axes[0]
    widths = {c.get_label(): np.array([bar.get_width() for bar in c]) for c in ax.containers}
    (others,) = (values for name, values in widths.items() if name.endswith(" others"))
    assert (others <= 0.05 * np.sum([*widths.values()], axis=0)).all()


def test_roofline_lists_what_it_cannot_draw(ds):
    ax = dsjax.plot("roofline", ds).axes[0]
    assert any("without flops or bytes:" in words and "combine" in words for words in legend(ax))
    assert "attention over the cache" in ax.figure.get_supxlabel().replace("\n", " ")


def test_a_bar_that_would_not_be_seen_is_counted(ds):
    ax = dsjax.plot("tornado", ds).axes[0]
    widths = np.abs([bar.get_width() for bar in ax.containers[0]])
    assert widths.min() >= 0.01 * widths.max()
    assert "smaller ones are not shown" in ax.get_title(loc="left").replace("\n", " ")


def test_ticks_are_round():
    assert [[*range(1, 129)][i] for i in canvas.few([*range(1, 129)], 24)] == [*range(8, 129, 8)]
    assert canvas.few([8, 16, 24, 512], 16) == [0, 1, 2, 3] and canvas.few([*"abcdef"], 3) == [0, 2, 4]
    geometric = [8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512]
    assert canvas.few(geometric, 8) == [*range(0, 12, 2)]
