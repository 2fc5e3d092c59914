"""Validation against measured systems: statistics by hand, leaving out, grids, bad input, the command line."""

import csv
import io
import json
import math
import tomllib

import numpy as np
import pytest
import xarray as xr
from click.testing import CliRunner

import dsjax
from dsjax.cli import main
from dsjax.validation import agreement, measured, predict, systems, validate

# What a grid of a server has beside that of its step.
OF_REQUESTS = ("batching", "length_law", "isl_cv", "osl_cv", "mtp", *measured.OF_SERVERS)
STUDY = """
[[study]]
id = "{study}"
date = "2026-01-01"
source = "a bench"
model = "DeepSeek-V3"
hardware = "H800"
precision = "fp8"
chips = 16
ep = 16
context = 4096
"""
SYSTEM = """
[[study.system]]
id = "{id}"
metric = "decode"
value = {value}
batch = {batch}
"""


def file_of(path, values):
    """A file of studies A, B, ...: [(value, batch), ...] of each."""
    text = ""
    for study, rows in zip("ABCDEFGH", values):
        text += STUDY.format(study=study)
        text += "".join(SYSTEM.format(id=f"{study}{i}", value=v, batch=b) for i, (v, b) in enumerate(rows))
    path.write_text(text)
    return str(path)


@pytest.fixture(scope="module")
def own():
    """dsjax's own systems, predicted."""
    return validate.validate()


@pytest.fixture(scope="module")
def file():
    return systems.read()


# Statistics


def test_factor_by_hand():
    # (1 + f 1) (1 + f 2) = 2 3 at f = 1; without a fixed part f = geometric mean of measured / scaled
    assert agreement.fitted_factor([1.0, 1.0], [1.0, 2.0], [2.0, 3.0]) == pytest.approx(1.0, rel=1e-12)
    assert agreement.fitted_factor([0.0, 0.0], [1.0, 1.0], [2.0, 8.0]) == pytest.approx(4.0, rel=1e-12)
    assert math.isnan(agreement.fitted_factor([], [], []))
    assert math.isnan(agreement.fitted_factor([5.0], [1.0], [2.0]))  # no factor makes less of 5 s


def test_left_out_by_hand():
    def rows_in(which):
        return float(which.sum())

    found = agreement.left_out(rows_in, ["a", "a", "b", "c"], [True, True, True, False])
    assert found.tolist() == [1.0, 1.0, 2.0, 3.0]


def test_summary_by_hand():
    found = agreement.summary([0.1, -0.2, 0.4, math.nan])
    assert found == pytest.approx({"rows": 3, "median": 0.2, "p90": 0.36, "far": 1, "worst": 0.4})
    assert agreement.summary([math.nan])["rows"] == 0


def test_ratios_and_order_by_hand():
    measured, predicted = np.array([4.0, 2.0, 1.0, 1.0]), np.array([3.0, 2.0, 2.5, 9.0])
    which = agreement.pairs(["x", "x", "x", "y"])
    assert which == [(0, 1), (0, 2), (1, 2)]
    x, y = agreement.ratios(measured, predicted, [(1, 0), (1, 2)])
    assert x.tolist() == [2.0, 2.0] and y.tolist() == [1.5, 0.8]
    found = agreement.order(measured, predicted, which)  # two of three as measured
    assert found == pytest.approx({"pairs": 3, "agree": 2 / 3, "tau": 1 / 3})
    assert agreement.order(measured, predicted, [(2, 3)])["pairs"] == 0  # measured equal


def test_acceptance():
    for drafts, a in ((1, 0.85), (2, 0.8), (4, 0.5)):
        tokens = sum(a**i for i in range(drafts + 1))
        assert measured.acceptance_of(tokens, drafts) == pytest.approx(a, rel=1e-12)


# Fit and leaving out


def fitted(path):
    rows = systems.read(path).systems
    return np.array([row.used["value"] for row in rows]), validate.fit(rows, predict.predictions(rows))


def test_a_study_does_not_fit_its_own_factor(tmp_path):
    values = [[(2000, 64), (1500, 32)], [(900, 64)], [(1200, 128)]]
    measured, before = fitted(file_of(tmp_path / "before.toml", values))
    values[1] = [(90, 64)]
    _, after = fitted(file_of(tmp_path / "after.toml", values))
    assert before.unfitted.tolist() == after.unfitted.tolist()
    assert (before.others == after.others).tolist() == [False, False, True, False]  # A0, A1, B0, C0
    # step_s of H800 is 0: the factor is the geometric mean of predicted over measured of the other studies
    ratio = before.unfitted / measured
    assert before.others[2] == pytest.approx(np.exp(np.log(ratio[[0, 1, 3]]).mean()), rel=1e-9)
    assert before.left_out[2] == pytest.approx(before.unfitted[2] / before.others[2])


def test_systems_of_ones_own_do_not_fit_their_factor(own, tmp_path):
    ds = validate.validate(file_of(tmp_path / "one.toml", [[(2000, 64)]]))
    assert ds.attrs["software_factor"] == own.attrs["software_factor"] == ds["left_out_factor"].item()
    assert ds.attrs["roofline_factor"] == own.attrs["roofline_factor"] and abs(ds["error"].item()) > 0.01
    assert ds.attrs["fitted_to"] != own.attrs["fitted_to"]


def test_the_factor_removes_the_bias(own):
    for name, factor in (("predicted", "software_factor"), ("roofline", "roofline_factor")):
        ratio = agreement.seconds(own, name) / agreement.seconds(own, "measured")
        fits = own["complete"].values & (own["class"].values != "first token")
        assert np.log(ratio[fits]).mean() == pytest.approx(0.0, abs=1e-9)
        assert own.attrs[factor] > 0.5
    assert own["error"].values == pytest.approx((own["predicted"] / own["measured"] - 1.0).values)


def test_incomplete_systems_fit_nothing(own):
    incomplete = own.isel(system=~own["complete"].values & (own["study"] == "vLLM-GB300").values)
    assert (incomplete["left_out_factor"] == own.attrs["software_factor"]).all()


# Each system is a grid of dsjax's


def swept(grid, **fixed):
    return dsjax.sweep(grid, fixed=fixed).sel(software_factor=1.0)


def one(file, name):
    return next(row for row in file.systems if row.used["id"] == name)


@pytest.mark.parametrize("name", ["DS-PROFILE-PF", "SGL-H100-DEC-2K", "ANT-H20-DEC-EP16-bs12-2", "CM384-PF-DEF"])
def test_a_system_is_a_point_of_a_sweep(own, file, name):
    row = one(file, name)
    point = swept(row.grid(row.metric.phases[0]))
    assert own["unfitted"].sel(system=name).item() == pytest.approx(point["tps_per_chip"].item(), rel=1e-12)


def of_server(row, **fixed):
    """Variables of the server of a system, a sweep of its own."""
    grid = row.grid("serve")
    grid["fixed"] |= fixed
    return swept(grid)


def test_output_with_its_prefill(own, file):
    """1,024 users of eight groups: slower than decode alone, and than a batch that prefills all at once."""
    row = one(file, "TRT-H200-MAXTP")
    assert row.grid("serve")["fixed"]["batching"] == "chunked" and row.grid("serve")["fixed"]["concurrency"] == 1024
    assert row.grid("serve")["fixed"]["chunk_tokens"] == 1151 and row.grid("serve")["fixed"]["isl_cv"] == 0.0
    found = own["unfitted"].sel(system="TRT-H200-MAXTP").item()
    assert found == pytest.approx(of_server(row)["tps_per_chip"].item(), rel=1e-9)
    alone, prefill = (swept(row.grid(phase))["tps_per_chip"].item() for phase in ("decode", "prefill"))
    assert found < 2048 / (2048 / alone + 1024 / prefill) < alone


def test_concurrency_of_the_instance(tmp_path):
    text = STUDY.format(study="A") + SYSTEM.format(id="a", value=10, batch=4).replace('"decode"', '"user"')
    (tmp_path / "a.toml").write_text(text)
    (tmp_path / "b.toml").write_text(text.replace("batch = 4", "concurrency = 64"))  # 4 of each of 16 chips
    a, b = (validate.validate(str(tmp_path / name))["unfitted"].item() for name in ("a.toml", "b.toml"))
    assert a == pytest.approx(b, rel=1e-12)


def test_the_time_of_a_layer(own, file):
    x = swept(one(file, "CM384-DEC-LAYER").grid("decode"))
    layer = {name: (x.block_time / x.layers).sel(block=name).item() for name in x.block.values}
    outside = {"embedding", "head", "mtp", "dense", "indexer", "kv_exchange"}
    total = sum(seconds for name, seconds in layer.items() if name not in outside)
    hidden = min(layer["dispatch"], layer["shared"])  # naive: one beside the other, the activation of the latter too
    found = own["unfitted"].sel(system="CM384-DEC-LAYER").item()
    assert total - 1.2 * hidden < found <= total


def test_a_batch_that_fills_the_memory(own, file):
    name = "VLLM-GB200-DEC-2000-100"
    batch, grid = int(own["load"].sel(system=name)), one(file, name).grid("decode")
    grid["fixed"]["batch"] = batch
    assert bool(swept(grid)["ok_memory"].all())
    grid["fixed"]["batch"] = batch + 8
    assert not swept(grid)["ok_memory"].any()


def test_the_roofline_is_no_slower(own):
    bare = agreement.seconds(own, "roofline") / own.attrs["roofline_factor"]
    assert (bare < agreement.seconds(own, "unfitted")).all()


# The shipped file


def test_no_system_has_a_number_of_its_own(file):
    for row in file.systems:
        assert row.given.keys() <= {*systems.KEYS, "study"}
        assert row.used.keys() - row.given.keys() <= set(systems.DEFAULTS)
        assert row.fixed == file.systems[0].fixed and row.loads == file.systems[0].loads
        grid = row.grid(row.metric.phases[0])["fixed"]
        assert not grid.keys() & {"curve", "software_factor", "curve_gemm_compute", "hardware_hbm_bytes_per_s"}
        if row.phase == "serve":
            assert row.grid("serve")["fixed"].keys() - grid.keys() <= {*OF_REQUESTS, "concurrency"}
        assert row.complete or row.used["why"]
    assert len(file.systems) == 210 and len(file.not_described) == 6


def test_choices_are_counted(file):
    assert one(file, "SGL-H100-PF-1K").assumed == ()
    assert one(file, "TRT-B200-MTP-no").assumed == ("pipeline", "balance")  # a NIC is of no use inside a domain
    assert one(file, "ANT-H20-DEC-EP16-bs8-1").assumed == ("nic", "balance", "acceptance")


def test_how_far_off(own):
    """DeepSeek's own profile, without any factor; what becomes of the classes is in dsjax/data/accuracy.json."""
    stats = agreement.statistics(own)
    assert stats["errors"][0]["rows"] == stats["classes"][-1]["counted"]
    in_house = own["unfitted_error"].values[own["in_house"].values]
    assert in_house.size == 2 and (abs(in_house) < 0.20).all()
    assert next(x for x in stats["order"] if x["by"] == "model" and x["metric"] == "decode")["agree"] > 0.9


# What is the same for all


def test_what_is_fixed_and_set_for_all(tmp_path):
    path = file_of(tmp_path / "x.toml", [[(2000, 64)], [(900, 32)]])
    before = validate.validate(path)
    slower = validate.validate(path, settings={"hardware.H800.hbm_bytes_per_s": "1 TB/s"})
    hidden = validate.validate(path, fixed={"pipeline": "windows"})
    assert (slower["unfitted"] < before["unfitted"]).all() and (hidden["unfitted"] > before["unfitted"]).all()


def test_the_defaults_of_a_users_file(tmp_path):
    path = tmp_path / "x.toml"
    text = STUDY.format(study="A") + SYSTEM.format(id="a", value=2000, batch=64)
    path.write_text(text)
    before = validate.validate(str(path))["unfitted"].item()
    path.write_text('[defaults]\npipeline = "windows"\n[balance]\nnone = 1\n' + text)
    assert validate.validate(str(path))["unfitted"].item() > before


@pytest.mark.parametrize(
    "old, new, said",
    [
        ('hardware = "H800"\n', "", "missing hardware"),
        ('hardware = "H800"', 'hardware = "H801"', "did you mean 'H800'"),
        ('model = "DeepSeek-V3"', 'model = "DeepSeek-V9"', "DeepSeek-V9"),
        ('precision = "fp8"', "precision = 8", "expected a text"),
        ("value = 2000", "value = 0", "out of range"),
        ("value = 2000", 'value = "fast"', "not a number"),
        ("value = 2000\n", "", "missing value"),
        ("batch = 64", "batch = 1.5", "not an integer"),
        ("batch = 64", "batch = 64\nconcurrency = 8", "expected one of the two"),
        ("batch = 64", "bach = 64", "did you mean 'batch'"),
        ("batch = 64", "batch = 64\nefficiency = 0.7", "unknown key 'efficiency'"),
        ("batch = 64", 'batch = 64\nbalance = "bad"', "perfect, redundant, none"),
        ("batch = 64", "batch = 64\nmtp = 1\ntokens_per_step = 3", "expected 1 to 1 + mtp = 2"),
        ("batch = 64", "batch = 64\ncomplete = false", "why: missing"),
        ("batch = 64", 'batch = 64\ncomplete = "no"', "expected true or false"),
        ("batch = 64", "batch = 64\nisl = 100", "beside isl or osl"),
        ("ep = 16", "ep = 5", "expected a divisor of chips = 16"),
        ('metric = "decode"', 'metric = "decoding"', "did you mean 'decode'"),
        ('metric = "decode"', 'metric = "mixed"', "expected isl and osl"),
        (
            'date = "2026-01-01"',
            'date = "2025-13-45"',
            "date: '2025-13-45'; expected a date, YYYY-MM-DD, YYYY-MM or YYYY",
        ),
        ('date = "2026-01-01"', 'date = "yesterday"', "date: 'yesterday'; expected a date"),
        ('id = "B0"', 'id = "A0"', "there twice"),
        ('id = "A0"', "id = []", "id"),
        ('id = "A0"', "id = {}", "id"),
        ("[[study.system]]", "[[study.sytem]]", "no system"),
        ("[[study]]", "[[stdy]]", "did you mean 'study'"),
        ('id = "A"\n', "", "[[study]] id"),
    ],
)
def test_bad_files(tmp_path, old, new, said):
    path = tmp_path / "bad.toml"
    file_of(path, [[(2000, 64)], [(900, 32)]])
    text = path.read_text()
    assert old in text
    text = text.replace(old, new) if old.startswith("[[") else text.replace(old, new, 1)
    path.write_text(text if "[[stdy" not in text else text.replace("study.system", "stdy.system"))
    with pytest.raises(dsjax.InputError, match="bad.toml") as error:
        validate.validate(str(path))
    assert said in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["study = []\n", "[defaults]\nmtp = 1\n", ""])
def test_a_file_of_no_system_is_refused(tmp_path, text):
    path = tmp_path / "none.toml"
    path.write_text(text)
    with pytest.raises(dsjax.InputError, match=r"none\.toml: (no system|study: missing); expected .*\[\[study"):
        dsjax.validate(path)


def test_bad_options():
    for options, said in (
        ({"fixed": {"batch": 3}}, "differs from system to system"),
        ({"fixed": {"curve": "nothing"}}, "fixed['curve']"),
        ({"settings": {"hardware.H802.watts": 3}}, "did you mean 'hardware.H800"),
        ({"settings": {"hardware.H800.watt": 3}}, "did you mean 'watts'"),
    ):
        with pytest.raises(dsjax.InputError) as error:
            dsjax.validate(**options)
        assert said in str(error.value)


# The command line


def run(*arguments):
    result = CliRunner().invoke(main, ["validate", *arguments])
    return result.exit_code, result.output


def test_table(own):
    code, text = run("--all")
    assert code == 0
    for name in [*own["system"].values, *own["left_aside"].values]:
        assert str(name) in text
    assert f"Software factor {own.attrs['software_factor']:.3f}" in text
    assert f"Choices from the table of defaults: {int(own['assumed'].sum())} in 210 systems" in text
    assert "Without any factor, DS-PROFILE-DEC" in text and "874.0" in text
    error = own["left_out_error"].where(own["complete"], own["error"])
    far = own["system"].values[(abs(error) > 0.30).values]
    assert far.size and all(f"More than 30% off: {name}, " in text for name in far)
    assert all(known in text for known in own["known"].values if known)


def test_other_formats_and_file(tmp_path, own):
    out = tmp_path / "v.nc"
    code, text = run("--format", "json", "-o", str(out))
    found = json.loads(text)
    assert code == 0 and len(found["rows"]) == 210 and found["classes"][-1]["counted"] == found["errors"][0]["rows"]
    assert found["software_factor"] == own.attrs["software_factor"]
    with xr.open_dataset(out) as ds:
        assert ds["predicted"].values.tolist() == own["predicted"].values.tolist()
        assert ds["error"].attrs["units"] == "1" and all("long_name" in x.attrs for x in ds.data_vars.values())
    assert run("-o", str(out))[0] == 2  # exists
    code, text = run("--format", "csv")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert code == 0 and float(rows[3]["measured"]) == own["measured"].values[3]


def test_a_known_reason_is_printed_with_what_is_far_off(tmp_path):
    path = file_of(tmp_path / "far.toml", [[(2000, 64)], [(200, 64)]])
    text = (tmp_path / "far.toml").read_text()
    (tmp_path / "far.toml").write_text(text.replace("value = 200\n", 'value = 200\nknown = "it was throttled"\n'))
    code, text = run(path)
    assert code == 0 and "More than 30% off: B0" in text and "reason: it was throttled" in text


def test_a_file_of_ones_own_on_the_command_line(tmp_path):
    path = file_of(tmp_path / "mine.toml", [[(2000, 64)], [(900, 32)]])
    assert run(path)[0] == 0
    (tmp_path / "mine.toml").write_text("study = 3")
    code, text = run(path)
    assert code == 2 and "mine.toml" in text and text.count("\n") == 1
    code, text = run(str(tmp_path / "none.toml"))
    assert code == 2 and "cannot be read" in text


def test_the_shipped_file_is_the_form_of_a_users(tmp_path):
    copy = tmp_path / "copy.toml"
    copy.write_text(systems.FILE.read_text(encoding="utf-8"), encoding="utf-8")
    mine, own = systems.read(str(copy)).systems, systems.read().systems
    assert [x.used for x in mine] == [x.used for x in own[: len(mine)]] and len(mine) == 32
    assert tomllib.loads(copy.read_text())["defaults"].keys() == set(systems.DEFAULTS)
    assert systems.read(str(copy)).alternatives == systems.read().alternatives


def test_a_model_whose_name_no_path_can_have_is_unknown(tmp_path):
    """A name is a folder with a config.json where there is one: of 3,000 characters there is none to look for."""
    path = tmp_path / "mine.toml"
    rows = systems.FILE.read_text(encoding="utf-8").partition('model = "')
    path.write_text(rows[0] + rows[1] + "x" * 3000 + rows[2], encoding="utf-8")
    with pytest.raises(dsjax.InputError, match="mine.toml: .*unknown model") as error:
        dsjax.validate(str(path))
    assert len(str(error.value)) < 400


def test_a_slip_of_a_setting_is_remarked(tmp_path):
    """A link in bytes that looks like one in bits, as everywhere else; also one of a catalog."""
    slip = {"hardware.H800.scale_up_bytes_per_s": "1600 GB/s"}
    ds = dsjax.validate(settings=slip)
    said = "hardware.H800.scale_up_bytes_per_s = 1.6 TB/s is 8 times 1600 Gbit/s of H800: bytes for bits?"
    assert ds.attrs["remarks"] == said
    own = tmp_path / "own.toml"
    rows = (
        'source = "a slip"',
        'scale_out_bytes_per_s = "400 GB/s"',
        "scale_out_step_s = 0",
        "scale_out_utilisation = 0.8",
    )
    own.write_text("\n".join(("[nic.CX7]", *rows)))
    said = dsjax.validate(catalogs=[str(own)]).attrs["remarks"]
    assert said.startswith("nic.CX7.scale_out_bytes_per_s = 400 GB/s is ")
    assert "remarks" not in dsjax.validate().attrs
