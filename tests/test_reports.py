"""Reports and pictures as pages, in a real browser: nothing is fetched, what is shown is what the Dataset says."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import browsing
import numpy as np
import pytest
from click.testing import CliRunner

import dsjax
from dsjax import cli, errors
from dsjax.pages import text
from dsjax.reporting import report as reporting
from dsjax.results.handle import Results
from dsjax.validation import kept, measured

GRID = {
    "title": "A few points",
    "model": "DeepSeek-V3",
    "phase": "decode",
    "axes": {
        "hardware": ["H800", "H20", "L20", "B200"],
        "tp": [1, 4],
        "ep": [16, 32],
        "batch": {"start": 16, "stop": 128, "step": 16},
        "precision": ["fp8"],
    },
    "fixed": {"context": 4096, "nic": "CX7"},
    "constraints": {"min_tps_per_user": 15},
    "objective": {"maximize": "tps_per_chip", "by": ["hardware"]},
}
SERVERS = {
    "title": "A few servers",
    "model": "DeepSeek-R1",
    "phase": "serve",
    "axes": {"hardware": ["H20", "H200"], "tp": [1, 8], "concurrency": [1, 8, 64, 256]},
    "fixed": {"nic": "CX7", "chips": 8, "isl": 4096, "osl": 1024, "engine": "sglang"},
    "constraints": {"max_ttft_p90": 2.0, "max_tpot_p90": 0.05},
    "objective": {"maximize": "tps_per_chip", "by": ["hardware"]},
}
KINDS = {
    "pareto": {},
    "heatmap": {"x": "batch", "y": "tp"},
    "roofline": {},
    "breakdown": {"blocks": True},
    "tornado": {},
    "response": {"x": "batch", "until": "tps_per_user >= 20", "y": "tps_per_user,tps_per_chip"},
}


@pytest.fixture(scope="module")
def ds():
    return dsjax.sweep(GRID)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("pages")


@pytest.fixture(scope="module")
def report(ds, folder):
    dsjax.report(ds, folder / "report.html")
    return folder / "report.html"


@pytest.fixture(scope="module")
def chrome():
    with browsing.browser() as found:
        yield found


@pytest.fixture(scope="module")
def servers(folder):
    dsjax.report(dsjax.sweep(SERVERS), folder / "servers.html")
    return folder / "servers.html"


# What is wider than its place: tables are cards then, texts of commands are folded.
WIDER = """() => [...document.querySelectorAll(".scroll, .chart")].filter((x) => x.scrollWidth > x.clientWidth + 1)
  .map((x) => [x.scrollWidth, x.clientWidth, x.textContent.trim().slice(0, 40)])"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1600])
@pytest.mark.parametrize("which", ["report", "servers"])
def test_a_report_is_quiet_fits_and_can_be_read(which, width, scheme, chrome, request):
    with browsing.opened(chrome, request.getfixturevalue(which), width, scheme) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        for details in page.locator("details").all():
            details.evaluate("x => { x.open = true }")
        assert page.evaluate(WIDER) == []
        seen, faint = page.evaluate(browsing.CONTRAST)
        assert seen > 400
        assert not faint


def test_a_page_follows_the_scheme_while_it_is_open(chrome, report):
    with browsing.opened(chrome, report) as page:
        page.emulate_media(color_scheme="dark")
        ink = "getComputedStyle(document.querySelector('.chart svg text')).fill"
        for _ in range(100):  # the page's policy lets no text be run, which is what waiting for it would do
            if page.evaluate(ink) == "rgb(232, 234, 238)":
                break
            page.wait_for_timeout(50)
        assert page.evaluate(ink) == "rgb(232, 234, 238)"
        assert not page.evaluate(browsing.CONTRAST)[1]


def test_tests_without_a_browser_are_named_at_the_end(folder):
    """Where the browser cannot be installed a run is green, and says which pages nobody looked at."""
    name = f"tests/test_reports.py::{test_a_page_follows_the_scheme_while_it_is_open.__name__}"
    run = [sys.executable, "-m", "pytest", "-n", "0", "-p", "no:cacheprovider", name]
    env = os.environ | {"PATH": str(folder)}
    done = subprocess.run(run, cwd=Path(__file__).parents[1], env=env, capture_output=True, text=True, timeout=300)
    *_, named, said, _ = done.stdout.splitlines()
    assert named == f"SKIPPED {name}"
    assert (done.returncode, said) == (0, f"1 tests of pages were skipped; expected {browsing.WANTED}"), done


def quantities(shown):
    """{title: number in SI} of what hover shows."""
    prefixes = {"": 1.0, "m": 1e-3, "u": 1e-6, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
    found = {}
    for name, words in shown.items():
        if match := re.fullmatch(r"(-?\d[\d,.e+-]*)(?: ([mukMGT]?)(s|B|token/s|USD|token|1/s))?", words):
            prefix = match[2] if match[3] in ("s", "B") else ""
            found[name] = float(match[1].replace(",", "")) * prefixes[prefix or ""]
    return found


def at(ds, shown):
    """The point of a Dataset that hover names; axes of one value are not named."""
    named = {}
    for axis in (axis for axis in GRID["axes"] if axis in shown):
        named[axis] = shown[axis] if axis == "hardware" else int(shown[axis].replace(",", ""))
    return ds.sel(named).squeeze()


def test_hovering_over_the_front_shows_the_numbers_of_the_dataset(chrome, report, ds):
    front = dsjax.pareto(ds, by=["hardware"])
    with browsing.opened(chrome, report) as page:
        marks = page.locator("#front .chart").first.locator("g.mark-symbol").nth(1).locator("path").all()
        assert len(marks) == front.sizes["rank"]
        for mark in marks[:: max(1, len(marks) // 6)]:
            shown = browsing.hover(page, mark)
            point, numbers = at(ds, shown), quantities(shown)
            assert bool(point["feasible"])
            assert {"tps_per_user", "tps_per_chip", "tpot", "memory_per_chip"} <= numbers.keys()
            for name in ("tps_per_user", "tps_per_chip", "tpot", "memory_per_chip"):
                assert numbers[name] == pytest.approx(float(point[name]), rel=1e-5)


def others(variable):
    """Its dims that the map does not show."""
    return [dim for dim in variable.dims if dim not in ("hardware", "batch")]


def test_hovering_over_a_refused_cell_tells_what_refuses_it(chrome, report, ds):
    with browsing.opened(chrome, report) as page:
        cells = page.locator("#map g.mark-rect").nth(1).locator("path").all()
        sums = {
            name: (~ds[name]).sum([d for d in ds[name].dims if d not in ("hardware", "batch")])
            for name in ds
            if name.startswith("ok_")
        }
        best = ds["feasible"].any([d for d in ds["feasible"].dims if d not in ("hardware", "batch")])
        assert len(cells) == int((~best).sum()) > 3
        for cell in cells[::5]:
            shown = browsing.hover(page, cell)
            where = {"hardware": shown["hardware"], "batch": int(shown["batch"])}
            told = dict(part.rsplit(" ", 1) for part in shown["refused by"].split(", "))
            points = int(shown["points of the cell"])
            for name, count in told.items():
                of = sums[name]
                here = int(of.sel({d: where[d] for d in of.dims}))
                missing = points // int(np.prod([ds[name].sizes.get(d, 1) for d in GRID["axes"] if d not in where]))
                assert int(count) == here * missing
            assert "ok_tps_per_user" in told or "ok_memory" in told


def test_tables_sort_by_their_numbers(chrome, report):
    with browsing.opened(chrome, report) as page:
        button = page.locator("table", has_text="Operators of a step").get_by_role("button", name="ms per step")
        for way in ("ascending", "descending"):
            button.click()
            heads, rows = browsing.table(page, "Operators of a step")
            times = [float(row[heads.index("ms per step")].replace(",", "")) for row in rows]
            assert times == sorted(times, reverse=way == "descending")
            assert button.locator("..").get_attribute("aria-sort") == way


def test_the_tables_are_those_of_the_dataset(chrome, report, ds):
    ranked, one, counts = dsjax.best(ds), dsjax.explain(ds), {n: int((~ds[n]).sum()) for n in ds if n.startswith("ok_")}
    with browsing.opened(chrome, report) as page:
        heads, rows = browsing.table(page, "The best point of every")
        assert [row[heads.index("hardware")] for row in rows] == ranked["hardware"].values.tolist()
        for heading, name, digits in (("tok/s/user", "tps_per_user", 2), ("tok/s/chip", "tps_per_chip", 1)):
            shown = [float(row[heads.index(heading)].replace(",", "")) for row in rows]
            assert shown == [round(float(v), digits) for v in ranked[name].values]
        heads, rows = browsing.table(page, "Operators of a step")
        seconds = dict(zip(one["block"].values, one["block_time"].values, strict=True))
        assert {row[0]: float(row[2].replace(",", "")) for row in rows} == {
            name: round(1e3 * float(s), 3) for name, s in seconds.items() if s
        }
        _, rows = browsing.table(page, "Constraints and the points")
        assert {row[0]: int(row[1].replace(",", "")) for row in rows}.keys() == {n for n, k in counts.items() if k}
        rows = [row.locator("td").all_text_contents() for row in page.locator("#sources tbody tr").all()]
        assert [row[0] for row in rows] == one["number"].values.tolist()
        assert [row[2:] for row in rows] == [
            list(x) for x in zip(one["number_kind"].values, one["number_source"].values)
        ]
        assert rows[0][:2] == ["hardware.B200.hbm_bytes_per_s", "7.7 TB/s"]


def test_the_answer_says_what_the_dataset_says(report, ds):
    one, found = dsjax.explain(ds), report.read_text("utf-8")
    lead = re.search(r'<p class="lead">(.*?)</p>', found)[1]
    assert f"{float(one['tps_per_user']):,.4g} token/s for each of {float(one['batch_total']):,.0f} users" in lead
    assert one["hardware"].item() in lead
    assert f"{int(ds['feasible'].sum()):,} of them feasible" in found
    strongest = dsjax.sensitivity(ds)
    i = int(np.abs(strongest["elasticity"].values).argmax())
    assert f"1 % more {strongest['parameter'].values[i]}" in found
    assert f"{abs(float(strongest['elasticity'][i])):.2f} %" in found
    helps = re.search(r"Helps first: .*?%\.", found)[0]
    assert helps.count("1 % ") == helps.count(" improves ") == 3
    assert f"Costs {float(one['cost_per_million_tokens']):,.3f} USD" in found


def test_a_page_forbids_whatever_would_leave_it(report):
    found = report.read_text("utf-8")
    policy = re.search(r'http-equiv="Content-Security-Policy" content="(.*?)"', found)[1].replace("&#39;", "'")
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe-eval" not in policy
    assert "http" not in policy
    markup = re.sub(r"<script.*?</script>", "", found, flags=re.DOTALL)
    assert re.findall(r"(?:src|href|action)\s*=\s*(.)(.)", markup).count(('"', "#")) == len(
        re.findall(r"(?:src|href|action)\s*=", markup)
    )
    assert len(found) < 5e6


EVIL = '<img src=x onerror="window.hit=1">\x1b[31m\u202e</script><b>bold</b> {{ 7 * 7 }}'


def test_texts_of_users_are_shown_as_texts(chrome, tmp_path):
    name = "<b>H800</b>\u202e"
    rows = tmp_path / "mine.toml"
    rows.write_text(f"[hardware.{json.dumps(name)}]\nbase = 'H800'\nsource = {json.dumps(EVIL)}\n", encoding="utf-8")
    axes = GRID["axes"] | {"hardware": [name, "H20"]}
    grid = GRID | {"title": EVIL, "axes": axes, "constraints": {"min_tps_per_user": 1}}
    found = dsjax.report(grid, tmp_path / "evil.html", catalogs=[rows])
    own = found[: found.index("<script>")]  # before Vega's
    assert not {c for c in own if c not in "\n\u00a0" and not c.isprintable()}
    with browsing.opened(chrome, tmp_path / "evil.html") as page:
        assert page.evaluate("window.hit") is None
        heading = page.locator("h1").inner_text()
        assert heading == text.plain(EVIL)
        assert "\\x1b[31m\\u202e" in heading
        assert page.locator("h1 *").count() == 0
        assert page.locator("b, img").count() == 0
        mark = page.locator("#front .chart").first.locator("g.mark-symbol").nth(1).locator("path").first
        shown = browsing.hover(page, mark)
        assert shown["hardware"] in ("<b>H800</b>\\u202e", "H20")
        assert page.locator("#vg-tooltip-element b").count() == 0
        assert "<b>H800</b>\\u202e" in page.locator("#front svg").first.text_content()


@pytest.mark.parametrize("kind", tuple(KINDS))
def test_every_kind_of_picture_is_a_page(kind, ds, chrome, tmp_path):
    chart = dsjax.plot(kind, ds, tmp_path / "x.html", **KINDS[kind])
    assert chart.says.rstrip(".") in dsjax_conclusion(kind, ds)
    for width, scheme in ((400, "dark"), (1600, "light")):
        with browsing.opened(chrome, tmp_path / "x.html", width, scheme) as page:
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            assert page.locator(".chart svg").count() == len(chart.specs)
            assert not page.evaluate(browsing.CONTRAST)[1]


def dsjax_conclusion(kind, ds):
    """What the same picture says as a PNG, with what a map says before it."""
    from dsjax import pictures

    return "Framed: " + pictures.drawn(kind, ds, None, (9, 6), 50, False, dict(KINDS[kind]))[1]


def test_latency_is_a_page(chrome, tmp_path):
    found = dsjax.sweep(SERVERS)
    dsjax.plot("latency", found, tmp_path / "x.html")
    with browsing.opened(chrome, tmp_path / "x.html") as page:
        mark = page.locator(".chart").first.locator("g.mark-symbol").first.locator("path").first
        shown = browsing.hover(page, mark)
        point = found.sel(hardware=shown["server"].partition(",")[0], concurrency=int(shown["concurrency"]))
        numbers = quantities(shown)
        assert any(numbers["ttft_p90"] == pytest.approx(float(v), rel=1e-5) for v in point["ttft_p90"].values.ravel())


def test_a_server_tells_percentiles_and_what_is_not_to_be_trusted(chrome, servers):
    one = dsjax.explain(dsjax.sweep(SERVERS))
    with browsing.opened(chrome, servers) as page:
        heads, rows = browsing.table(page, "Times of requests")
        assert heads == ["time", "mean", "p50", "p90", "p99"]
        numbers = quantities(dict(zip(heads[1:], (x.rstrip("*") for x in rows[0][1:]))))
        assert numbers["p90"] == pytest.approx(float(one["ttft_p90"]), rel=1e-3)
        assert page.locator("#front .chart").count() == 4  # two fronts, two panels of latency


def test_nothing_feasible_is_a_page_that_says_why(chrome, tmp_path):
    done = CliRunner().invoke(cli.main, ["report", "--limit", "min_tps_per_user=4000", "-o", str(tmp_path / "x.html")])
    assert done.exit_code == 1, done.output
    assert done.output.startswith("No point of the space is feasible.")
    with browsing.opened(chrome, tmp_path / "x.html") as page:
        assert "ok_tps_per_user" in page.locator("#answer").inner_text()
        assert page.locator("#front").count() == 0


def test_a_file_of_results_and_its_grid_make_the_same_report(tmp_path):
    path = tmp_path / "grid.toml"
    path.write_text(
        'title = "x"\nmodel = "DeepSeek-V3"\n[axes]\nhardware = ["H800"]\ntp = [1, 2]\n[fixed]\nep = 32\nbatch = 16\n'
        'nic = "CX7"\nprecision = "fp8"\ncontext = 4096\n',
        encoding="utf-8",
    )
    runner, out = CliRunner(), tmp_path / "x.html"
    assert runner.invoke(cli.main, ["sweep", str(path), "-o", str(tmp_path / "x.nc")]).exit_code == 0
    done = runner.invoke(cli.main, ["report", str(tmp_path / "x.nc"), "-o", str(out)])
    assert done.exit_code == 0, done.output
    assert out.stat().st_size < 5e6
    first = re.search(r'<p class="lead">(.*?)</p>', out.read_text("utf-8"))[1]
    assert runner.invoke(cli.main, ["report", str(path), "-o", str(out)]).exit_code == 2  # exists
    assert runner.invoke(cli.main, ["report", str(path), "-o", str(out), "--force"]).exit_code == 0
    assert re.search(r'<p class="lead">(.*?)</p>', out.read_text("utf-8"))[1] == first
    assert sorted(p.name for p in tmp_path.iterdir()) == ["grid.toml", "x.html", "x.nc"]


BAD = [
    (["report", "-o", "x.htm"], "x.htm: suffix '.htm'; expected a path ending in .html"),
    (["report", "nowhere", "-o", "x.html"], "grid: unknown grid 'nowhere'"),
    (["plot", "heatmap", "-o", "x.html", "--until", "tpot<=1"], "plot heatmap: until"),
]


@pytest.mark.parametrize(("arguments", "says"), BAD)
def test_bad_input_is_one_line(arguments, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(cli.main, arguments)
    assert done.exit_code == 2
    assert says in done.output
    assert not list(tmp_path.iterdir())


def test_an_output_that_is_the_input_is_refused(tmp_path):
    path = tmp_path / "grid.html"
    path.write_text("title = 'x'", encoding="utf-8")
    with pytest.raises(errors.InputError, match="would overwrite the input"):
        dsjax.report(path, path, force=True)


def test_what_is_missing_is_said():
    code = "import sys; sys.modules['vl_convert'] = None\nimport dsjax\ndsjax.report('prefill')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "vl-convert-python is not installed; expected the extra: pip install 'dsjax[report]'" in done.stderr


@pytest.mark.parametrize(
    ("given", "shown"),
    [("a b\u00e9\u4e2d", "a b\u00e9\u4e2d"), ("\x1b[1m\n", "\\x1b[1m\\n"), ("\u202ea\x9b", "\\u202ea\\x9b")],
)
def test_controls_are_written_out(given, shown):
    assert text.plain(given) == shown


def test_the_classes_kept_are_those_of_measured_systems():
    groups = [row["group"] for row in kept.statistics()["classes"]]
    assert groups == [*measured.CLASSES, "all"]
    assert kept.class_of("decode", {"tp": 1, "chips": 16}) == "wide EP"
    assert kept.class_of("decode", {"tp": 16, "chips": 16}) == "small TP decode"
    assert kept.class_of("decode", {"tp": 8, "chips": 8, "concurrency": 1}) == "one user"
    assert kept.class_of("serve", {}) == "aggregated"
    assert kept.class_of("prefill", {}) == "prefill"


def test_tables_of_a_page_have_the_marks_of_those_of_the_command_line():
    """Kernels that nobody has measured, and a price of another source, are marked in the row, with a note below."""
    chips = {"hardware": ["MI355X", "H800", "H200", "H100"]}
    fixed = {"nic": "CX7", "tp": 1, "ep": 72, "precision": "fp8-kv8", "mtp": 1, "pipeline": "sbo"}
    ds = dsjax.sweep("default", axes=chips | {"batch": [16, 32]}, fixed=fixed)
    page = reporting.page(Results.of(ds), "dsjax report")
    table = next(part for section in page.sections for part in section.parts if "best point of every" in str(part))
    cells = {row[1].text: dict(zip(table.columns, (x.text for x in row), strict=True)) for row in table.rows}
    assert {chip for chip, row in cells.items() if row["tok/s/chip"].endswith("~")} == {"MI355X"}
    assert {chip for chip, row in cells.items() if row["USD/Mtok"].endswith("*")} == {"H800"}
    assert table.note.startswith("~ kernels of this chip are not measured") and "prices: H800" in table.note
