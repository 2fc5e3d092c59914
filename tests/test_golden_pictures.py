"""Every mark, text and place of pictures, and every chart of pages, as they are kept in data/goldens/pictures.json."""

import functools

import goldens
import numpy as np
import pytest
from golden_grids import swept
from matplotlib.text import Text

from dsjax import pictures
from dsjax.results.handle import Results

NIC = "nic.scale_out_bytes_per_s"
KINDS = {
    "pareto": ("pareto", "core", {}),
    "pareto of all": ("pareto", "core", {"by": [], "x": "memory_per_chip", "y": "tpot"}),
    "pareto of many loads": ("pareto", "wide", {"by": ["hardware", "context"]}),
    "pareto of costs": ("pareto", "wide", {"x": "tpot", "y": "cost_per_million_tokens"}),
    "heatmap of many loads": ("heatmap", "wide", {"x": "batch", "y": "context", "of": "tps_per_user"}),
    "response of many loads": ("response", "wide", {"x": "batch", "y": "tps_per_chip,memory_per_chip"}),
    "response to lengths": ("response", "wide", {"x": "context", "y": "tps_per_user", "by": ["hardware"]}),
    "heatmap of many chips": ("heatmap", "chips", {"x": "batch", "y": "hardware"}),
    "heatmap of prompts": ("heatmap", "prefill", {"x": "tp", "y": "hardware"}),
    "roofline of prompts": ("roofline", "prefill", {"at": {"hardware": "H20"}}),
    "breakdown of servers": ("breakdown", "users", {}),
    "breakdown of prompts": ("breakdown", "prefill", {"by": ["hardware", "tp"]}),
    "tornado of a server": ("tornado", "users", {"of": "ttft_p90", "at": {"hardware": "H200", "tp": 8}}),
    "latency of rates": ("latency", "rates", {}),
    "latency of pools": ("latency", "pools", {}),
    "load of pools": ("response", "pools", {"x": "requests_per_s", "y": "tpot_p90"}),
    "heatmap": ("heatmap", "core", {"x": "batch", "y": "tp"}),
    "heatmap of chips": ("heatmap", "core", {"x": "batch", "y": "hardware", "of": "tpot", "at": {"ep": 16}}),
    "roofline": ("roofline", "core", {}),
    "roofline at a point": ("roofline", "core", {"at": {"hardware": "L20", "batch": 256}}),
    "breakdown": ("breakdown", "core", {}),
    "breakdown of blocks": ("breakdown", "core", {"blocks": True, "by": ["hardware", "batch"]}),
    "tornado": ("tornado", "core", {}),
    "tornado of a time": ("tornado", "core", {"of": "tpot", "wrt": ["hardware", "nic"]}),
    "response": ("response", "core", {"x": "batch"}),
    "response of two": (
        "response",
        "core",
        {"x": "batch", "y": "tps_per_user,tps_per_chip", "until": "tps_per_user >= 20"},
    ),
    "response to chips": ("response", "core", {"x": "hardware", "by": []}),
    "response to a parameter": ("response", "core", {"x": NIC, "y": "tpot", "until": "tpot <= 0.05"}),
    "latency": ("latency", "users", {}),
    "latency of H20": ("latency", "users", {"at": {"hardware": "H20"}, "by": ["tp"], "of": "-ttft_p90"}),
    "front of servers": ("pareto", "users", {"x": "ttft_p90", "y": "tps_per_chip"}),
    "load of servers": ("response", "users", {"x": "concurrency", "y": "ttft_p90,tps_per_chip"}),
}


def pixels(box):
    return [round(float(x), 1) for x in (box.x0, box.y0, box.x1, box.y1)]


def described(figure):
    """Texts with their places, and the data of all marks."""
    figure.draw_without_rendering()
    texts = [x for x in figure.findobj(Text) if x.get_text() and x.get_visible()]
    return {
        "size": figure.get_size_inches().tolist(),
        "texts": [x.get_text() for x in texts],
        "texts_px": [pixels(x.get_window_extent()) for x in texts],
        "axes": [_of_axes(ax) for ax in figure.axes],
    }


def _of_axes(ax):
    return {
        "scales": [ax.get_xscale(), ax.get_yscale()],
        "limits": [*ax.get_xlim(), *ax.get_ylim()],
        "lines": [[x.get_label(), *(np.asarray(xy) for xy in x.get_data())] for x in ax.lines],
        "looks": [[x.get_linewidth(), x.get_markersize(), str(x.get_marker())] for x in ax.lines],
        "patches": [[x.get_label(), np.asarray(x.get_extents().bounds).round(1)] for x in ax.patches],
        "collections": [_of_collection(x) for x in ax.collections],
    }


def _of_collection(x):
    paths = [np.asarray(path.vertices) for path in x.get_paths()]
    sums = [[len(p), float(np.nansum(p)), float(np.nansum(p[:, 0]))] for p in paths[:60]]
    array = x.get_array()
    values = None if array is None else np.ma.filled(array.astype(float), np.nan)
    return [x.get_label(), len(paths), sums, np.ma.filled(x.get_offsets(), np.nan), values, x.get_hatch()]


def drawn(kind, grid, options, size):
    figure, says = pictures.drawn(kind, swept(grid), None, size, 100, False, dict(options))
    return {"says": says} | described(figure)


def case(name):
    kind, grid, options = KINDS[name]
    size = (10, 6) if len(options) % 2 else (6, 4)
    return drawn(kind, grid, options, size)


def chart(name):
    kind, grid, options = KINDS[name]
    options = {key: value.split(",") if key == "y" and "," in value else value for key, value in options.items()}
    return pictures.charted(kind, Results.of(swept(grid)), **options)


CASES = {name: functools.partial(case, name) for name in KINDS}
CASES |= {f"chart: {name}": functools.partial(chart, name) for name in KINDS}


@pytest.mark.parametrize("name", CASES)
def test_a_picture_is_the_one_that_is_kept(name):
    goldens.check("pictures", name, CASES[name]())
