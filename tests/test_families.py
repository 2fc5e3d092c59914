"""Curves by hardware: the forms of calibration, one row for a family of chips, files, settings, bad input."""

import dataclasses
import itertools
import json
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import test_cli
from click.testing import CliRunner

import dsjax
from dsjax import cli, evaluation
from dsjax.analysis import sensitivity
from dsjax.calibration import calibrate, forms, kinds
from dsjax.catalog import reader
from dsjax.errors import InputError
from dsjax.formulas import efficiency as curves
from dsjax.formulas.operators import shapes
from dsjax.results import netcdf
from dsjax.serving.kernels import Kernels
from dsjax.space import grid, provenance, restoring
from dsjax.specs import fields, records

command = test_cli.command
ROWS = reader.load()
CHIPS = {"H800": "hopper", "H200": "hopper", "H20": "hopper-small", "B200": "blackwell", "MI300X": "hopper"}
GRID = {
    "axes": {"hardware": list(CHIPS), "batch": [16, 64], "precision": ["bf16", "kv1-w1"]},
    "fixed": {"nic": "CX7", "tp": 1, "ep": 144, "context": 4096},
}
NAMES = ("step_time", "tps_per_chip")


def space(**options):
    return grid.load(GRID, **options)


def values(of, names=NAMES):
    return {name: array for name, (_, array) in evaluation.evaluate(of, names=names, compiled=False).items()}


def kernels(hardware, width, rate):
    """`Kernels` of a chip whose operands have `width` bytes and results 2, and the peaks as calibration has them."""
    chip, row = ROWS["hardware"][hardware], ROWS["curve"][CHIPS[hardware]]
    index = records.RATES.index(rate)
    precision = dict.fromkeys(fields.fields_of(records.Precision), width) | dict.fromkeys(
        ("weight_rate", "expert_rate", "attention_rate"), jnp.int32(index)
    )
    precision["activation_bytes"] = 2.0
    point = records.Point(
        hardware=records.Hardware(**{f: chip[f] for f in fields.fields_of(records.Hardware)}),
        nic=None,
        precision=records.Precision(**precision),
        model=None,
        curve=curves.Kernel(**{f: row[f] for f in fields.fields_of(curves.Kernel)}),
        workload=None,
        deployment=None,
    )
    peaks = {"flops_per_s": chip[f"{rate}_flops_per_s"], "hbm_bytes_per_s": chip["hbm_bytes_per_s"]}
    peaks |= dict.fromkeys(("weight_bytes", "operand_bytes", "kv_bytes"), width) | {"result_bytes": 2.0}
    return Kernels(point, SimpleNamespace(slots=12.0), curves.FORMS["kernel"], None), row, peaks


def knots(row, kind, names):
    return {name: row[f"{kind}_{name}"] for name in names}


@pytest.mark.parametrize(
    ("hardware", "rate", "width", "gemm"),
    [
        ("H800", "bf16", 2.0, "gemm"),
        ("H20", "fp8", 1.0, "gemm8"),
        ("H800", "int8", 1.0, "gemm8"),
        ("B200", "fp4", 0.5625, "gemm4"),
    ],
)
def test_kernels_take_what_the_forms_of_calibration_say(hardware, rate, width, gemm):
    with jax.enable_x64(True):
        of, row, peaks = kernels(hardware, width, rate)
        row_of = SimpleNamespace(weights="weight_bytes")
        for m, k, n in ((16, 7168, 2112), (4096, 2048, 7168), (64, 512, 576)):
            time = of.gemm(shapes.Gemm(groups=1.0, m=float(m), k=float(k), n=float(n)), row_of).total
            parameters = knots(row, gemm, kinds.KINDS["gemm"].parameters)
            expected = forms.gemm(parameters, {"m": m, "k": k, "n": n, "quantised": 0.0}, peaks)
            assert float(time) == pytest.approx(float(expected), rel=1e-12), (m, k, n)
        shape = shapes.Gemm(groups=9.0, m=70.0, k=7168.0, n=4096.0)
        parameters = knots(
            row, gemm.replace("gemm", "expert"), kinds.KINDS["fused-experts"].parameters.keys() - {"idle"}
        )
        shape_of = {"num_groups": 9.0, "m_per_group": 70.0, "n": 4096.0, "k": 7168.0, "slots": 12.0}
        expected = forms.grouped_gemm(parameters, shape_of, peaks)
        assert float(of.routed_up(shape).total) == pytest.approx(float(expected), rel=1e-12)


@pytest.fixture(scope="module")
def measured():
    return values(space())


@pytest.mark.parametrize("row", ["hopper", "blackwell"])
def test_a_family_is_its_row(measured, row):
    alone = values(space(fixed={"curve": row}))
    for i, (chip, own) in enumerate(CHIPS.items()):
        for name in NAMES:
            same = np.array_equal(alone[name][i], measured[name][i])
            assert same == (own == row), (chip, name)


def test_a_part_of_the_hardware_is_a_slice_and_a_fixed_one_too(measured):
    some = values(space(axes={"hardware": ["B200", "H20"]}))
    one = values(space(fixed={"hardware": "B200"}))
    for name in NAMES:
        np.testing.assert_array_equal(some[name], measured[name][[3, 2]])
        np.testing.assert_array_equal(one[name], measured[name][3])


def test_settings_and_axes_move_every_row_or_one_family(measured):
    every = values(space(settings={"curve.gemm_memory": 0.1}))["step_time"]
    assert (every > measured["step_time"])[:, :, 0].all()  # bf16 reads the knots of 16 bit
    np.testing.assert_array_equal(every[:2, :, 1], measured["step_time"][:2, :, 1])  # all in fp8 those of 8 bit
    one = values(space(settings={"curve.hopper.gemm8_memory": 0.1}))["step_time"]
    slower = np.array([own == "hopper" for own in CHIPS.values()])
    assert (one[slower, :, 1] > measured["step_time"][slower, :, 1]).all()
    np.testing.assert_array_equal(one[~slower], measured["step_time"][~slower])
    axis = values(space(axes={"curve_gemm_memory": [0.1, 0.5]}))["step_time"]
    np.testing.assert_array_equal(axis[..., 0][..., 0], every[..., 0])
    own = space(fixed={"curve": "kernel-assumed"})
    assert "gemm_loss" in own.rows["curve"]["kernel-assumed"] and list(own.rows["curve"]) == ["kernel-assumed"]


def test_the_space_is_rebuilt_and_an_older_one_completed(measured):
    text = space().to_json()
    again = restoring.space(text)
    assert again == space() and list(again.rows["curve"]) == ["hopper", "hopper-small", "blackwell"]
    data = json.loads(space(fixed={"curve": "kernel-assumed"}).to_json())
    older = data["rows"]["curve"]["kernel-assumed"]
    for name in [name for name in older if name.startswith(("prefill", "gemm8", "gemm4", "gemm_loss", "expert8"))]:
        del older[name]
    row = restoring.space(json.dumps(data)).rows["curve"]["kernel-assumed"]
    assert row["prefill_rows"] == row["attention_rows"] and row["gemm4_start_s"] == row["gemm_start_s"]
    assert row["gemm4_loss"] == 0.0


def test_sensitivity_to_a_family_is_that_of_its_chips():
    names = ["curve.hopper.attention_compute", "curve.attention_compute", "curve.gemm_start_s"]
    at = space(axes={"batch": [64], "precision": ["bf16"]})
    ds = sensitivity.sensitivity(at, "step_time", names, at="grid", kinks=True)
    found = ds.elasticity.sel(parameter=names).isel(batch=0, precision=0).transpose("parameter", "hardware").values
    own = np.array([row == "hopper" for row in CHIPS.values()])
    np.testing.assert_array_equal(found[0], np.where(own, found[1], 0.0))
    assert np.isfinite(found).all() and found[1][0] < 0.0 and (found[2] > 0.0).all()
    moved = dataclasses.replace(
        at,
        rows=at.rows
        | {
            "curve": {
                name: row | {"gemm_start_s": 1.000001 * row["gemm_start_s"]} for name, row in at.rows["curve"].items()
            }
        },
    )
    ratio = values(moved)["step_time"] / values(at)["step_time"] - 1.0
    np.testing.assert_allclose(found[2], 1e6 * ratio.ravel(), rtol=1e-4)


def test_files_and_tables_say_what_was_measured(tmp_path):
    options = ["--axis", "hardware=H800,H200,MI300X", "--axis", "batch=16,64", "--axis", "precision=bf16,fp8"]
    for name, value in GRID["fixed"].items():
        options += ["--fix", f"{name}={value}"]
    options += ["--fix", "pipeline=naive", "--fix", "mtp=0", "-v"]
    text = command("sweep", *options, "-o", tmp_path / "x.nc")
    line = (
        "kernel times by curve hopper: fitted to H200 (+-8 %); hopper: its siblings H800 (+-15 %); hopper: MI300X, not"
    )
    assert line in text
    ds = netcdf.open_netcdf(tmp_path / "x.nc")
    assert ds.curve_basis.values.tolist() == ["sibling", "fitted", "assumed"]
    assert ds.curve_uncertainty.values.tolist() == [provenance.UNCERTAINTY[x] for x in ds.curve_basis.values]
    assert ds.curve_row.values.tolist() == ["hopper"] * 3 and ds.curve_uncertainty.attrs["units"] == "1"
    assert line in command("sweep", *options, "--fix", "curve=hopper")
    other = command("sweep", *options, "--fix", "curve=kernel-assumed")
    assert "kernel times by curve kernel-assumed: H800, H200, MI300X, not measured (+-30 %)" in other


ENGINES = ("", "-sglang", "-vllm", "-tensorrt-llm")


def test_rows_name_their_hardware_and_every_hardware_a_row():
    for name, row in ROWS["hardware"].items():
        assert ROWS["curve"][row["curve"]]["form"] == "kernel", name
    for name, row in ROWS["curve"].items():
        for chip in (*row.get("fitted", ()), *row.get("siblings", ())):
            family = ROWS["hardware"][chip]["curve"]
            assert name == family or name.startswith(f"{family}-")  # an engine's own
        if row.get("fitted"):
            texts = [entry["text"] for entry in row["sources"].values() if entry["kind"] == "fitted"]
            assert row["kind"] == "fitted" and texts and all(".csv" in text for text in texts), name


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('curve = "hoper"', "curve 'hoper' did you mean 'hopper'"),
        ('curve = "a100-guide"', "curve a100-guide form kernel"),
        ("curve = 3", "curve 3 name of a curve"),
    ],
)
def test_bad_curves_of_hardware(line, words, tmp_path):
    path = tmp_path / "own.toml"
    path.write_text(f'[hardware.Mine]\nbase = "H800"\nsource = "own"\n{line}\n')
    result = CliRunner().invoke(cli.main, ["sweep", "--axis", "hardware=Mine", "--catalog", str(path)])
    out = result.output
    assert result.exit_code == 2
    assert out.count("\n") == 1
    for word in ("Mine", *words.split()):
        assert word in out, out


def test_the_hardware_of_a_study_names_no_curve():
    with pytest.raises(InputError, match="study decode_gpu_2025 names none; expected a curve"):
        grid.load("decode_gpu_2025", fixed={"curve": "measured"})


def test_a_chip_of_ones_own_has_its_bases_curve_measured_where_it_has_its_rates(tmp_path):
    path = tmp_path / "own.toml"
    network = '[hardware.Rewired]\nbase = "B200"\nsource = "own"\nexchange_start_s = 1e-5\n'
    memory = '[hardware.Mine]\nbase = "Rewired"\nsource = "own"\nhbm_bytes_per_s = 9e12\n'
    path.write_text(f'{network}{memory}[curve.mine]\nbase = "hopper"\nsource = "own"\n')
    found = provenance.of_space(space(axes={"hardware": ["Mine", "Rewired", "B200"]}, catalogs=[path]))
    basis = {"Mine": "assumed", "Rewired": "fitted", "B200": "fitted"}
    assert found == {(name, "generic"): ("blackwell", what) for name, what in basis.items()}
    row = reader.load(records.RECORDS, *reader.users([path]))["curve"]["mine"]
    assert "fitted" not in row and row["gemm8_compute"] == ROWS["curve"]["hopper"]["gemm8_compute"]


@pytest.mark.parametrize(
    ("precision", "knot"),
    [
        ("bf16", "gemm"),
        ("fp8", "gemm8"),
        ("int8", "gemm8"),
        ("nvfp4", "gemm4"),
        ("w8a16", "gemm_w8"),
        ("int4-a16", "gemm_w4"),
        ("mxfp4-a16", "gemm_w4"),
    ],
)
def test_a_fit_fills_the_knots_of_its_width(precision, knot):
    attrs = {"precision": precision, "kind": "mla-decode", "kv_bytes": 2.0}
    assert calibrate._knot("gemm_tail", attrs) == f"{knot}_tail"
    assert calibrate._knot("expert_rows", attrs) == knot.replace("gemm", "expert") + "_rows"
    width = "" if calibrate.PRECISIONS[precision][0] == "bf16" else "8"
    assert calibrate._knot("attention_rows", attrs) == f"attention{width}_rows"
    assert calibrate._knot("gqa_prefill_fill", attrs) == f"gqa_prefill{width}_fill"


def test_experts_of_a_card_are_found_again(tmp_path):
    """Both products, and the activation between them."""
    path, true = tmp_path / "experts.csv", {"compute": 0.6, "rows": 80.0, "fill": 500.0, "memory": 0.75}
    true |= {"start_s": 9e-6, "depth_s": 2e-9, "loss": 0.25}
    lines = ["num_tokens,hidden_size,inter_size,num_experts,moe_ep_size,latency_us,dtype"]
    sizes = [(7168, 2048), (4096, 1536), (2048, 768)]
    for (h, width), ep, tokens in itertools.product(sizes, (4, 16, 64), (16, 64, 256, 1024, 8192, 65536)):
        groups, rows = min(256 / ep, 8 * tokens / ep), 8 * tokens / ep
        seconds = 3 * rows * width * 2 / (0.7 * 3350e9)
        for n, k in ((2 * width, h), (h, width)):
            c = 2 * rows * n * k / (1979e12 * 0.6) * (1 + 80 / (rows / groups + 80)) * (1 + 500 / k)
            d = (groups * n * k + rows * (k + 2 * n)) / (3350e9 * 0.75)
            roofs = c, d, k * 2e-9
            seconds += 9e-6 + max(roofs) + 0.25 * (sum(roofs) - max(roofs))
        lines.append(f"{tokens},{h},{width},256,{ep},{1e6 * seconds!r},fp8")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    ds = dsjax.calibrate(path, "experts", "H800")
    for name, value in true.items():
        assert float(ds["value"].sel(parameter=name)) == pytest.approx(value, rel=1e-2), name
    assert (
        "expert8_fill = 500" in ds.attrs["row"]
        and "expert8_slot_s = 0\n" in ds.attrs["row"] + "\n"
        and 'fitted = ["H800"]' in ds.attrs["row"]
    )
